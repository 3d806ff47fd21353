#ifndef PH_IO_CO_CONTEXT_H
#define PH_IO_CO_CONTEXT_H
/*
 * Where a stack stands that is not running: what co.c switches between. Own
 * code where there is some (co_switch.S), since swapcontext() makes two system
 * calls for a signal mask that never differs here; ucontext elsewhere. Floating
 * point modes and the signal mask are not part of it.
 */
#include <stddef.h>

#if defined(__x86_64__) || defined(__aarch64__)
#define CO_OWN_SWITCH 1
struct co_context {
	void *sp; /* below it the registers that a called function must keep */
};
#else
#include <ucontext.h>
struct co_context {
	ucontext_t uc;
};
#endif

/* The first switch to `c` calls entry, which must never return, at the top of the
 * `size` bytes at `stack`. */
void co_context_make(struct co_context *c, void *stack, size_t size, void (*entry)(void));

/* Goes on at `to`; returns when something switches back to `from`. */
void co_context_switch(struct co_context *from, struct co_context *to);

#endif
