/* Making and switching stacks; see co_context.h. */
#include "lib/io/co_context.h"

#include <stdint.h>
#include <string.h>

#ifdef CO_OWN_SWITCH

/* Registers that co_switch takes off a stack, and the address that it returns to. */
#ifdef __x86_64__
#define SAVED 6u        /* r15 r14 r13 r12 rbx rbp, then the address */
#define RETURN_AT SAVED
#define FRAME (SAVED + 2u) /* the zero ends a debugger's walk; a call leaves sp at 8 mod 16 */
#else
#define SAVED 20u       /* x19-x30, d8-d15 */
#define RETURN_AT 11u   /* x30 */
#define FRAME SAVED
#endif

void co_switch(void **save, void *load);

void
co_context_make(struct co_context *c, void *stack, size_t size, void (*entry)(void))
{
	uintptr_t top = ((uintptr_t)stack + size) & ~(uintptr_t)15;
	void **sp = (void **)top - FRAME;

	memset(sp, 0, FRAME * sizeof *sp);
	sp[RETURN_AT] = (void *)(uintptr_t)entry;
	c->sp = sp;
}

void
co_context_switch(struct co_context *from, struct co_context *to)
{
	co_switch(&from->sp, to->sp);
}

#else

void
co_context_make(struct co_context *c, void *stack, size_t size, void (*entry)(void))
{
	getcontext(&c->uc);
	c->uc.uc_stack.ss_sp = stack;
	c->uc.uc_stack.ss_size = size;
	makecontext(&c->uc, entry, 0);
}

void
co_context_switch(struct co_context *from, struct co_context *to)
{
	swapcontext(&from->uc, &to->uc);
}

#endif
