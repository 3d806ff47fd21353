/*
 * Asking mimed for the facts of a message, from threads that must not wait. An
 * inquiry stands in a line; a few coroutines on the loop's thread take it from
 * there, ask, and call its fn. How many ask at once is bounded, so that the memory
 * of a thousand accounts that are taken in at once is too.
 */
#ifndef MAILDIR_INQUIRY_H
#define MAILDIR_INQUIRY_H

#include "lib/base/arena.h"
#include "lib/base/list.h"
#include "lib/base/str.h"
#include "lib/io/loop.h"

enum {
	INQUIRY_INLINE = 64 << 10, /* bytes; a larger message goes as a descriptor */
	INQUIRY_ASKERS = 16,       /* coroutines */
};

struct inquiry {
	struct list link;
	struct str content;    /* the message, up to INQUIRY_INLINE; or p NULL and: */
	int fd;
	uint64_t size;
	struct arena *arena;   /* gets the facts; nobody else may use it until fn */
	struct str facts;
	/* 0: facts; 1: facts of an opaque message, since mimed died or ran out of time
	 * on it twice; negative: nobody could be asked, facts is empty. */
	int code;
	void (*fn)(struct inquiry *q); /* on the loop's thread; may free q */
};

/* Once, before threads. */
void inquiry_init(struct loop *l);
/* From any thread; never blocks. */
void inquire(struct inquiry *q);

#endif
