/*
 * submitd as its callers see it: the inner door into the spool for mail that
 * the house's own programs make (law 3). The caller shows a ticket with
 * TICKET_SUBMIT; maild (redirects, vacation), bounced, reportd and the admin's command
 * are allowed by the table and show none.
 *
 * One request, one answer, which comes when the message is durable. The content
 * goes inline in the frame up to WIRE_INLINE, above that as the descriptor of a
 * memfd that is sealed against writing and shrinking, so that submitd reads it
 * in place. All or nothing: a recipient that is refused refuses the message, unless
 * the request says `partial`.
 */
#ifndef LIB_CLIENT_SUBMIT_H
#define LIB_CLIENT_SUBMIT_H

#include "lib/client/queue.h"

enum {
	MSG_SUBMIT = MSG_TYPE(ROLE_SUBMITD, 1),
	MSG_SUBMIT_ADMIN = MSG_TYPE(ROLE_SUBMITD, 16), /* the same, from `posthorn send` */
};

#define SUBMIT_DEDUP_MAX 512     /* bytes of a deduplication key */

struct submit_request {
	struct str ticket;          /* sealed; empty for callers the table trusts */
	struct str sender;          /* without brackets; empty: the null sender */
	struct str *rcpts;
	size_t n_rcpts;
	struct str content;         /* CRLF lines; unless a descriptor goes with it */
	struct str dedup_key;       /* kept 24 h: the same key of the same user is the same message */
	struct str envid;
	uint32_t ret, notify;
	uint64_t hold_until_ms;
	uint32_t body, flags;       /* as in struct envelope */
	/* believed from pickupd only: who brought it, such as "userid 1000"; stands in the
	 * trace header and is the tenant */
	struct str client;
	/* recipients that are refused for good (5xx) do not refuse the message for the
	 * others; the answer names them. A temporary refusal is still one of all. */
	bool partial;
};
/* A recipient that was refused. */
struct submit_refused {
	struct str address;         /* as the request said it */
	unsigned smtp;
	struct str enhanced, text;
};
struct submit_answer {
	uint64_t spool_id;
	bool duplicate;             /* dedup_key was known: spool_id is the first one's */
	unsigned smtp;              /* 250, or the refusal; 250 with spool_id 0: every
	                             * recipient of a `partial` request was refused */
	struct str enhanced, text;
	struct submit_refused *refused;
	size_t n_refused;
};

/* Submits r->content, of any size. 0 and *ret (strings in a), or negative: no
 * answer, whether it was taken is not known (ask again with the same dedup_key). */
int submit_message(const struct submit_request *r, struct arena *a, struct submit_answer *ret);

/* The two halves, for a caller that is no daemon: writes the request's fields and,
 * for long content, makes the memfd that goes beside them (*ret_fd, the caller's;
 * else -1). 0 or negative errno. */
int submit_pack(const struct submit_request *r, struct buf *b, int *ret_fd);

/* A memfd with the content, sealed as a callee wants it: the descriptor, or negative errno. */
int submit_sealed(struct str content);

void submit_request_put(struct buf *b, const struct submit_request *r);
/* Strings point into body; 0, -EPROTO, -ENOMEM. */
int submit_request_get(struct str body, struct arena *a, struct submit_request *ret);
void submit_answer_put(struct buf *b, const struct submit_answer *r);
int submit_answer_get(struct str body, struct arena *a, struct submit_answer *ret);

#endif
