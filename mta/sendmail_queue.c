/*
 * mailq, sendmail -q and sendmail -bv: the queue in the form that people and scripts know from
 * other mail systems, and questions to the running instance. Only its admin may ask.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "lib/client/control.h"
#include "lib/client/queue_admin.h"
#include "lib/client/resolve_ask.h"
#include "mta/sendmail.h"

#define ANSWER_MS 60000u

static int
failed(struct sendmail *s, int code, const struct err *e)
{
	int status = code == -EACCES ? EX_NOPERM_ : code == -ENOTCONN ? EX_UNAVAILABLE_ : EX_TEMPFAIL_;

	return sendmail_fail(s, status, "%s", e->text);
}

static int
need_settings(struct sendmail *s)
{
	return s->settings ? 0 : sendmail_fail(s, EX_CONFIG_, "the configuration cannot be read");
}

/* ---- the list ---- */

struct listing {
	uint64_t n, bytes;
};

static void
print_row(const struct queue_row *r)
{
	char when[64];
	time_t t = (time_t)(r->arrived_us / 1000000);
	struct tm tm;
	char mark = str_eq(r->state, STR("held")) ? '!' : str_eq(r->state, STR("active")) ? '*' : ' ';

	strftime(when, sizeof when, "%a %b %d %H:%M:%S", localtime_r(&t, &tm));
	printf("%016llX%c %8llu %s  %s%.*s\n", (unsigned long long)r->id, mark,
	    (unsigned long long)r->size, when, r->sender.n ? "" : "MAILER-DAEMON", STR_ARG(r->sender));
	for (size_t i = 0; i < r->n; i++) {
		const struct queue_row_rcpt *p = &r->rcpts[i];

		if (p->text.n)
			printf("%*s(%.*s%s%.*s)\n", p->text.n < 74 ? 76 - (int)p->text.n : 2, "",
			    STR_ARG(p->enhanced), p->enhanced.n ? " " : "", STR_ARG(p->text));
		printf("%*s%.*s\n", 46, "", STR_ARG(p->address));
	}
	putchar('\n');
}

static int
take_rows(void *arg, struct frame *f)
{
	struct listing *l = arg;
	struct arena *a = arena_new(0);
	struct queue_row r;
	int rc = a ? 0 : -ENOMEM;

	while (!rc && (rc = queue_row_next(&f->body, a, &r)) > 0) {
		if (!l->n++)
			printf("----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n");
		l->bytes += r.size;
		print_row(&r);
		rc = 0;
	}
	arena_free(&a);
	return rc;
}

int
sendmail_list(struct sendmail *s)
{
	struct queue_admin q = { .verb = QUEUE_LIST };
	struct listing l = { 0 };
	struct control *ctl = NULL;
	struct buf b = { 0 };
	struct err e = { 0 };
	int rc = need_settings(s);

	if (rc)
		return rc;
	rc = control_open(s->settings, ROLE_QUEUED, 0, &ctl, &e);
	queue_admin_put(&b, &q);
	if (!rc)
		rc = control_stream(ctl, MSG_QUEUE_ADMIN, &b, ANSWER_MS, take_rows, &l, &e);
	buf_done(&b);
	control_close(&ctl);
	if (rc)
		return failed(s, rc, &e);
	if (!l.n)
		printf("Mail queue is empty\n");
	else
		printf("-- %llu Kbytes in %llu Request%s.\n", (unsigned long long)(l.bytes + 1023) / 1024,
		    (unsigned long long)l.n, l.n == 1 ? "" : "s");
	return 0;
}

/* ---- trying now ---- */

/* -q: all; -qI id, -qR recipient or domain, -qS sender. */
static int
flush_request(struct sendmail *s, const char *arg, struct queue_admin *q)
{
	static uint64_t id;
	char *end;

	*q = (struct queue_admin){ .verb = QUEUE_RETRY };
	switch (arg ? *arg : '\0') {
	case '\0':
		q->all = true;
		return 0;
	case 'I':
		id = strtoull(arg + 1, &end, 16);
		if (!id || *end)
			return sendmail_fail(s, EX_USAGE_, "'%s' is no queue id", arg + 1);
		q->ids = &id;
		q->n_ids = 1;
		return 0;
	case 'R':
		if (strchr(arg, '@') && arg[1] != '@')
			q->rcpt = str_c(arg + 1);
		else
			q->domain = str_c(arg + (arg[1] == '@' ? 2 : 1));
		return 0;
	case 'S':
		q->sender = str_c(arg + 1);
		return 0;
	default:
		return sendmail_fail(s, EX_USAGE_, "-q%s is not supported", arg);
	}
}

int
sendmail_flush(struct sendmail *s, const char *arg)
{
	struct queue_admin q;
	struct buf b = { 0 };
	struct frame f;
	struct err e = { 0 };
	int rc = need_settings(s);

	if (!rc)
		rc = flush_request(s, arg, &q);
	if (rc)
		return rc;
	queue_admin_put(&b, &q);
	rc = control_ask(s->settings, ROLE_QUEUED, 0, MSG_QUEUE_ADMIN, &b, s->arena, &f, &e);
	buf_done(&b);
	return rc ? failed(s, rc, &e) : 0;
}

/* ---- where would it go? ---- */

/* "deliverable: mailer local, user user1@example.test", in the words of other systems. */
static void
print_ways(struct str address, const struct resolve_answer *r)
{
	size_t n = resolve_deliveries(r);
	struct buf b = { 0 };

	for (size_t i = 0; i < n; i++) {
		struct envelope_rcpt p = { 0 };

		resolve_rcpt(r, i, address, &p);
		buf_clear(&b);
		resolve_way_put(&b, r, i);
		printf("%.*s... deliverable: mailer %s, user %.*s, by %.*s\n", STR_ARG(address),
		    p.route == ROUTE_LOCAL ? "local" : p.route == ROUTE_PIPE ? "prog" :
		    str_starts(p.next_hop, STR("lmtp:")) ? "lmtp" : "esmtp", STR_ARG(p.address),
		    STR_ARG(buf_view(&b)));
	}
	buf_done(&b);
	if (n)
		return;
	printf("%.*s... %s", STR_ARG(address), r->kind == RESOLVE_NO_USER ? "User unknown" :
	    r->kind == RESOLVE_DISABLED ? "Mailbox disabled" : "Refused");
	if (r->kind == RESOLVE_REJECT)
		printf(": %u %.*s %.*s", r->smtp, STR_ARG(r->enhanced), STR_ARG(r->text));
	putchar('\n');
}

static int
verify_one(struct sendmail *s, struct control *ctl, struct str address)
{
	struct resolve_answer r = { 0 };
	struct str full = address;
	struct err e = { 0 };
	int rc;

	if (str_rchr(address, '@') < 0)
		full = arena_printf(s->arena, "%.*s@%.*s", STR_ARG(address),
		    STR_ARG(s->settings->origin_domain));
	rc = resolve_ask(ctl, full, s->drop.sender, s->arena, &r, &e);
	if (rc)
		return failed(s, rc, &e);
	print_ways(address, &r);
	return resolve_deliveries(&r) ? 0 : r.kind == RESOLVE_REJECT && r.smtp < 500 ? EX_TEMPFAIL_ :
	    EX_NOUSER_;
}

int
sendmail_verify(struct sendmail *s)
{
	struct control *ctl = NULL;
	struct err e = { 0 };
	int rc = need_settings(s), one;

	if (rc)
		return rc;
	if (!s->n_rcpts)
		return sendmail_fail(s, EX_USAGE_, "name the addresses to verify");
	rc = control_open(s->settings, ROLE_AUTHD, 0, &ctl, &e);
	if (rc)
		return failed(s, rc, &e);
	for (size_t i = 0; i < s->n_rcpts; i++)
		if ((one = verify_one(s, ctl, s->rcpts[i])))
			rc = one;
	control_close(&ctl);
	return rc;
}
