/*
 * submitd as its callers see it: the inner door into the spool for mail that
 * the house's own programs make (law 3). The caller shows a ticket with
 * TICKET_SUBMIT; maild (redirects, vacation) and bounced are allowed by the
 * table and show none.
 */
#ifndef LIB_CLIENT_SUBMIT_H
#define LIB_CLIENT_SUBMIT_H

#include "lib/client/queue.h"

enum {
	MSG_SUBMIT = MSG_TYPE(ROLE_SUBMITD, 1),
	MSG_SUBMIT_ADMIN = MSG_TYPE(ROLE_SUBMITD, 16), /* CLI: `posthorn sendmail`-like submission by the admin */
};

struct submit_request {
	struct str ticket;          /* sealed; empty for callers the table trusts */
	struct str sender;
	struct str *rcpts;
	size_t n_rcpts;
	struct str dedup_key;       /* kept 24 h: the same key is the same message */
	struct str envid;
	uint32_t ret, notify;
	uint64_t hold_until_ms;
	uint32_t body, flags;       /* as in struct envelope */
};
struct submit_answer {
	uint64_t spool_id;
	bool duplicate;             /* dedup_key was known: spool_id is the first one's */
	unsigned smtp;              /* 250, or the refusal */
	struct str enhanced, text;
};

/* The content goes as a descriptor (a sealed memfd) that stays the caller's. */
int submit_message(const struct submit_request *r, int content_fd, struct arena *a,
    struct submit_answer *ret);

void submit_request_put(struct buf *b, const struct submit_request *r);
int submit_request_get(struct str body, struct arena *a, struct submit_request *ret);
void submit_answer_put(struct buf *b, const struct submit_answer *r);
int submit_answer_get(struct str body, struct submit_answer *ret);

#endif
