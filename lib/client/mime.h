/*
 * mimed as maild sees it: the facts of a message (lib/mail/facts.h), found by a
 * process that holds nothing else.
 */
#ifndef LIB_CLIENT_MIME_H
#define LIB_CLIENT_MIME_H

#include "lib/proc/chan.h"

enum { MSG_MIME_TAKE_IN = MSG_TYPE(ROLE_MIMED, 1) };

/* Fields of the request: the message is inline or comes as a descriptor; the
 * answer's one field is the blob. */
enum { MIME_T_WANT = 1, MIME_T_SIZE = 2, MIME_T_CONTENT = 3, MIME_T_FACTS = 4 };

enum {
	MIME_TIME_LIMIT_MS = 10000, /* of one message */
	MIME_INLINE = 64 << 10,
};

/* The facts of the message: content (up to MIME_INLINE bytes), or fd and size when
 * content.p is NULL (a read-only descriptor, which stays the caller's). Blocks a worker
 * thread, yields on a coroutine. The blob is in the arena and has passed facts_get.
 *   0: facts; 1: opaque facts, since mimed died or ran out of time on it twice;
 *   negative: no mimed can be reached, try later. */
int mime_take_in(struct str content, int fd, uint64_t size, unsigned want, struct arena *a,
    struct str *ret_facts);

#endif
