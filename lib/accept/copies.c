/* Copies of messages; see copies.h. */
#include "lib/accept/copies.h"

#include <errno.h>

#include "lib/accept/rcpt.h"
#include "lib/client/rewrite.h"

bool
accept_copies_add(struct accept_copies *c, struct str address)
{
	for (size_t i = 0; i < c->n; i++)
		if (str_ieq(c->v[i], address))
			return true;
	if (c->n == ACCEPT_COPIES_MAX)
		return false;
	c->v[c->n++] = address;
	return true;
}

/* The questions: the sender's, and each recipient's as the client said it. */
static size_t
questions(const struct settings *s, const struct envelope *e, struct rewrite_ask *v)
{
	const char *said = NULL;
	size_t n = 0;

	if (e->sender.n && rewrite_wanted(s, REWRITE_COPY_SENDER))
		v[n++] = (struct rewrite_ask){ REWRITE_COPY_SENDER, e->sender };
	for (size_t i = 0; rewrite_wanted(s, REWRITE_COPY_RCPT) && i < e->n_rcpts; i++) {
		struct str original = e->rcpts[i].original.n ? e->rcpts[i].original : e->rcpts[i].address;

		if (original.p != said)
			v[n++] = (struct rewrite_ask){ REWRITE_COPY_RCPT, original };
		said = original.p;
	}
	return n;
}

static int
add_list(struct accept_copies *c, struct str list)
{
	while (list.p) {
		struct str one = str_trim(str_cut(&list, ','));

		if (one.n && !accept_copies_add(c, one))
			return -E2BIG;
	}
	return 0;
}

int
accept_copies_find(const struct settings *s, const struct envelope *e, struct arena *a,
    struct accept_copies *c)
{
	struct rewrite_ask *asks;
	struct str *answers;
	size_t n;
	int r;

	if (s->always_bcc.n && !accept_copies_add(c, s->always_bcc))
		return -E2BIG;
	if (!s->sender_bcc.n && !s->recipient_bcc.n)
		return 0;
	asks = ARENA_ARRAY(a, struct rewrite_ask, e->n_rcpts + 1);
	answers = ARENA_ARRAY(a, struct str, e->n_rcpts + 1);
	if (!asks || !answers)
		return -ENOMEM;
	n = questions(s, e, asks);
	r = n ? auth_rewrite(asks, n, a, answers) : 0;
	for (size_t i = 0; !r && i < n; i++)
		r = add_list(c, answers[i]);
	return r;
}

int
accept_copies_rcpt(struct envelope *e, size_t *cap, struct str address, struct arena *a)
{
	const struct envelope_rcpt said = { .notify = NOTIFY_NEVER };
	struct resolve_answer who = { 0 };
	size_t from = e->n_rcpts;
	int r = auth_resolve(address, e->sender, a, &who);

	if (r < 0)
		return r;
	if (!resolve_deliveries(&who))
		return 0;
	r = accept_rcpt(e, cap, &who, address, &said, a);
	for (size_t i = from; i < e->n_rcpts; i++)
		e->rcpts[i].notify = NOTIFY_NEVER;
	return r ? r : (int)(e->n_rcpts - from);
}
