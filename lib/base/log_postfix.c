/*
 * Lines of the log as Postfix has them; see log_postfix.h.
 *
 * The shapes are those of the patterns that other programs match:
 *
 *	smtpd    connect from NAME[IP] | QID: client=NAME[IP], sasl_... |
 *	         NOQUEUE: reject: RCPT from NAME[IP]: CODE DSN <ADDR>: TEXT; from=<> to=<> ...
 *	         warning: NAME[IP]: SASL MECH authentication failed: ...
 *	pickup   QID: uid=N from=<ADDR>
 *	qmgr     QID: from=<ADDR>, size=N, nrcpt=N (queue active) | QID: removed
 *	AGENT    QID: to=<ADDR>, relay=R, delay=S, delays=a/b/c/d, dsn=D, status=W (TEXT)
 */
#include "lib/base/log_postfix.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

struct event {
	const char *name;
	const struct log_field *f;
	size_t n;
};

static const struct log_field *
field(const struct event *e, const char *key)
{
	for (size_t i = 0; i < e->n; i++)
		if (!strcmp(e->f[i].key, key))
			return &e->f[i];
	return NULL;
}

static struct str
text(const struct event *e, const char *key)
{
	const struct log_field *f = field(e, key);

	return f && f->kind == LF_STR ? f->s : STR_NULL;
}

static uint64_t
number(const struct event *e, const char *key)
{
	const struct log_field *f = field(e, key);

	return f && f->kind != LF_STR ? f->u : 0;
}

/* Text on one line: what came from afar has no say in the log's form. */
static void
put_clean(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n && i < 1000; i++)
		buf_putc(b, (unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ? '?' : s.p[i]);
}

/* An address between angle brackets: it cannot close them early. */
static void
put_address(struct buf *b, struct str s)
{
	buf_putc(b, '<');
	for (size_t i = 0; i < s.n && i < 500; i++)
		buf_putc(b, (unsigned char)s.p[i] < ' ' || strchr("<>\177", s.p[i]) ? '?' : s.p[i]);
	buf_putc(b, '>');
}

static void
put_client(struct buf *b, const struct event *e)
{
	struct str name = text(e, "name");

	if (name.n)
		put_clean(b, name);
	else
		buf_puts(b, "unknown");
	buf_putc(b, '[');
	put_clean(b, text(e, "ip"));
	buf_putc(b, ']');
}

static void
put_id(struct buf *b, const struct event *e)
{
	buf_printf(b, "%016llX: ", (unsigned long long)number(e, "qid"));
}

/* ---- one function per shape ---- */

static void
put_connect(struct buf *b, const struct event *e)
{
	buf_puts(b, "connect from ");
	put_client(b, e);
}

static void
put_disconnect(struct buf *b, const struct event *e)
{
	buf_puts(b, "disconnect from ");
	put_client(b, e);
}

static void
put_accepted(struct buf *b, const struct event *e)
{
	struct str user = text(e, "user"), ident = text(e, "ident");

	put_id(b, e);
	buf_puts(b, "client=");
	put_client(b, e);
	if (ident.n) {
		buf_puts(b, ", orig_queue_id=");
		put_clean(b, ident);
	}
	if (user.n) {
		buf_puts(b, ", sasl_username=");
		put_clean(b, user);
	}
}

static void
put_reject(struct buf *b, const struct event *e)
{
	struct str about = text(e, "address"), reason = text(e, "reason");

	buf_puts(b, "NOQUEUE: reject: RCPT from ");
	put_client(b, e);
	buf_printf(b, ": %llu ", (unsigned long long)number(e, "code"));
	put_clean(b, text(e, "enhanced"));
	buf_putc(b, ' ');
	if (about.n) {
		put_address(b, about);
		buf_puts(b, ": ");
	}
	put_clean(b, reason);
	buf_puts(b, "; from=");
	put_address(b, text(e, "from"));
	buf_puts(b, " to=");
	put_address(b, about);
	buf_puts(b, " proto=ESMTP helo=");
	put_address(b, text(e, "helo"));
}

static void
put_auth_failed(struct buf *b, const struct event *e)
{
	buf_puts(b, "warning: ");
	put_client(b, e);
	buf_puts(b, ": SASL ");
	put_clean(b, text(e, "mech"));
	buf_puts(b, " authentication failed: authentication failure, sasl_username=");
	put_clean(b, text(e, "user"));
}

static void
put_pickup(struct buf *b, const struct event *e)
{
	put_id(b, e);
	buf_printf(b, "uid=%llu from=", (unsigned long long)number(e, "uid"));
	put_address(b, text(e, "from"));
}

static void
put_queued(struct buf *b, const struct event *e)
{
	put_id(b, e);
	buf_puts(b, "from=");
	put_address(b, text(e, "from"));
	buf_printf(b, ", size=%llu, nrcpt=%llu (queue active)", (unsigned long long)number(e, "size"),
	    (unsigned long long)number(e, "rcpts"));
}

static void
put_removed(struct buf *b, const struct event *e)
{
	put_id(b, e);
	buf_puts(b, "removed");
}

static void
put_seconds(struct buf *b, uint64_t ms)
{
	if (ms < 1000)
		buf_printf(b, "0.%02llu", (unsigned long long)ms / 10);
	else
		buf_printf(b, "%llu.%llu", (unsigned long long)ms / 1000, (unsigned long long)ms / 100 % 10);
}

static void
put_delivery(struct buf *b, const struct event *e, const char *dsn, const char *status,
    const char *otherwise)
{
	struct str relay = text(e, "mta"), code = text(e, "enhanced"), said = text(e, "text");
	uint64_t ms = number(e, "ms");

	put_id(b, e);
	buf_puts(b, "to=");
	put_address(b, text(e, "to"));
	buf_puts(b, ", relay=");
	if (relay.n)
		put_clean(b, relay);
	else
		buf_puts(b, number(e, "account") ? "local" : "none");
	buf_puts(b, ", delay=");
	put_seconds(b, ms);
	buf_puts(b, ", delays=0/0/0/");
	put_seconds(b, ms);
	buf_puts(b, ", dsn=");
	put_clean(b, code.n ? code : str_c(dsn));
	buf_printf(b, ", status=%s (", status);
	if (number(e, "smtp"))
		buf_printf(b, "%llu ", (unsigned long long)number(e, "smtp"));
	put_clean(b, said.n ? said : str_c(otherwise));
	buf_putc(b, ')');
}

static void
put_sent(struct buf *b, const struct event *e)
{
	put_delivery(b, e, "2.0.0", "sent", number(e, "account") ? "delivered to mailbox" : "Ok");
}

static void
put_failed(struct buf *b, const struct event *e)
{
	bool last = number(e, "smtp") >= 500;

	put_delivery(b, e, last ? "5.0.0" : "4.0.0", last ? "bounced" : "deferred", "no text");
}

/* ---- the table ---- */

/* What a message's arrival says is two lines there, and readers want the client's first; queued
 * logs before smtpd has its answer, so both come from who brought the message. */
static const struct row {
	const char *ev, *program; /* "": by the way of the delivery */
	void (*put)(struct buf *b, const struct event *e);
	void (*then)(struct buf *b, const struct event *e); /* a second line, qmgr's */
} table[] = {
	{ "smtp.connected", "smtpd", put_connect, NULL },
	{ "smtp.ended", "smtpd", put_disconnect, NULL },
	{ "smtp.accepted", "smtpd", put_accepted, put_queued },
	{ "smtp.rejected", "smtpd", put_reject, NULL },
	{ "smtp.auth_failed", "smtpd", put_auth_failed, NULL },
	{ "submit.accepted", "pickup", put_pickup, put_queued },
	{ "pickup.accepted", "pickup", put_pickup, put_queued },
	{ "queue.delivered", "", put_sent, NULL },
	{ "queue.sent", "", put_sent, NULL },
	{ "queue.not_delivered", "", put_failed, NULL },
	{ "queue.deleted", "qmgr", put_removed, NULL },
};

void
log_postfix_head(struct buf *b, const char *hostname, const char *name)
{
	char when[32];
	time_t now = time(NULL);
	struct tm tm;

	strftime(when, sizeof when, "%b %e %H:%M:%S", localtime_r(&now, &tm));
	buf_printf(b, "%s %s %s[%d]: ", when, hostname, name, (int)getpid());
}

/* Who delivers: by what the event tells of the way. */
static const char *
agent(const struct event *e)
{
	struct str via = text(e, "via");

	if (number(e, "account"))
		return "local";
	return str_eq(via, STR("lmtp")) ? "lmtp" : str_eq(via, STR("pipe")) ? "pipe" : "smtp";
}

static void
put_line(struct buf *b, const char *hostname, const char *program, const struct event *e,
    void (*put)(struct buf *b, const struct event *e))
{
	char name[32];

	snprintf(name, sizeof name, "postfix/%s", program);
	log_postfix_head(b, hostname, name);
	put(b, e);
	buf_putc(b, '\n');
}

bool
log_postfix_put(struct buf *b, const char *hostname, const char *ev, size_t n,
    const struct log_field *f)
{
	const struct event e = { ev, f, n };
	const struct row *r = table, *end = table + sizeof table / sizeof *table;

	while (r < end && strcmp(r->ev, ev))
		r++;
	/* pickupd tells more of its messages than submitd, which it gives them to */
	if (r == end || (!strcmp(ev, "submit.accepted") && str_eq(text(&e, "caller"), STR("pickupd"))))
		return false;
	put_line(b, hostname, *r->program ? r->program : agent(&e), &e, r->put);
	if (r->then)
		put_line(b, hostname, "qmgr", &e, r->then);
	return true;
}
