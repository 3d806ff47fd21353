/* The text of a message on its way in; see smtpd_text.h. */
#include "mta/smtpd_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "mta/accept_log.h"

#define BUFFER_FIRST (32u << 10)
#define BUFFER_MAX (256u << 10)  /* a header section beyond it is let grow to its own limit */
#define BUFFERS_KEPT 64          /* of the first size, in all 2 MiB */
#define RATE_MIN 64              /* bytes a second, from the data timeout on */

/* ---- buffers: those of the first size stay around ---- */

static struct {
	char *v[BUFFERS_KEPT];
	unsigned n;
} kept;

static bool
memory_left(size_t more)
{
	return smtpd.content_bytes + more <= smtp_settings()->smtp_memory_limit;
}

static bool
buffer_first(struct smtp_text *t)
{
	if (!memory_left(BUFFER_FIRST))
		return false;
	t->p = kept.n ? kept.v[--kept.n] : malloc(BUFFER_FIRST);
	if (!t->p)
		return false;
	t->cap = BUFFER_FIRST;
	smtpd.content_bytes += t->cap;
	return true;
}

static bool
buffer_double(struct smtp_text *t)
{
	char *p;

	if (!memory_left(t->cap) || !(p = realloc(t->p, t->cap * 2)))
		return false;
	smtpd.content_bytes += t->cap;
	t->cap *= 2;
	t->p = p;
	return true;
}

static void
buffer_done(struct smtp_text *t)
{
	smtpd.content_bytes -= t->cap;
	if (t->cap == BUFFER_FIRST && kept.n < BUFFERS_KEPT)
		kept.v[kept.n++] = t->p;
	else
		free(t->p);
	t->p = NULL;
	t->cap = 0;
}

struct smtp_text *
text_new(struct smtp *s, bool octets)
{
	struct smtp_text *t = ARENA_NEW(s->txn->arena, struct smtp_text);

	if (!t || !buffer_first(t))
		return NULL;
	t->smtp = s;
	t->octets = octets;
	t->binary = octets && s->txn->env.body == ENV_BINARYMIME;
	t->whole = smtp_filters(s, s->txn->arena) != NULL;
	t->scan.line_max = smtp_settings()->smtp_line_limit;
	return t;
}

void
text_free(struct smtp_text **tp)
{
	struct smtp_text *t = *tp;

	*tp = NULL;
	if (!t)
		return;
	accept_abort(&t->stream);
	buffer_done(t);
}

/* ---- content ---- */

static void
refuse(struct smtp_text *t, unsigned code, const char *enhanced, const char *why)
{
	if (t->refused.smtp)
		return;
	t->refused = (struct accept_verdict){ code, enhanced, why };
	accept_abort(&t->stream);
}

/* Content at the front of the buffer that may leave it. A CR at the end of octets
 * waits for what follows. */
static size_t
content_length(const struct smtp_text *t)
{
	if (!t->octets)
		return t->scan.out;
	return t->len - (t->cr ? 1 : 0);
}

uint64_t
text_size(const struct smtp_text *t)
{
	return t->ahead + (t->octets ? t->len : t->scan.out);
}

/* What is to be refused of what has come so far. */
static void
judge(struct smtp_text *t)
{
	bool convert = smtp_settings()->smtp_bare_newlines == CONF_BARE_CONVERT;

	if (text_size(t) > smtp_settings()->message_size_limit)
		refuse(t, 552, "5.3.4", "Message too big");
	else if (!convert && t->scan.faults & (DOT_BARE_CR | DOT_BARE_LF))
		refuse(t, 550, "5.6.11", "Lone CR or LF in the message");
	else if (t->scan.faults & DOT_LONG_LINE)
		refuse(t, 554, "5.6.0", "Line too long");
}

/* RFC 3848 and RFC 6531 section 4.3. */
static void
with_protocol(const struct smtp *s, char out[static 16])
{
	bool utf8 = s->txn->env.flags & ENV_SMTPUTF8, lmtp = smtp_is_lmtp(s);

	if (!lmtp && !s->esmtp)
		snprintf(out, 16, "SMTP");
	else
		snprintf(out, 16, "%s%s%s%s", utf8 ? "UTF8" : lmtp ? "" : "E", lmtp ? "LMTP" : "SMTP",
		    stream_tls(s->io) ? "S" : "", s->user ? "A" : "");
}

static struct accept_request
request(struct smtp_text *t, struct str content, char with[static 16])
{
	struct smtp *s = t->smtp;
	const struct tls_info *tls = stream_tls(s->io);
	struct accept_request r = { .settings = smtp_settings(), .env = &s->txn->env,
		.content = content, .with = with, .host = str_c(s->host), .note = accept_log,
		.ours = smtp_may_relay(s),
		.hello = s->txn->hello, .client_ip = s->txn->client_ip,
		.submitted = s->listen->proto == CONF_SUBMISSION };

	with_protocol(s, with);
	if (t->whole && (r.filters = smtp_filters(s, s->txn->arena))) {
		r.filter_txn = &s->txn->filters;
		r.filter_txn->env = r.env;
		r.filter_txn->arena = s->txn->arena;
	}
	if (tls)
		r.tls = arena_printf(s->txn->arena, "%s with cipher %s (%u bits)", tls->version,
		    tls->cipher, tls->bits);
	return r;
}

/* The first n bytes as they go on: with CRLFs only. *ret_copy is to be freed. */
static struct str
clean(struct smtp_text *t, size_t n, char **ret_copy)
{
	*ret_copy = NULL;
	if (!(t->scan.faults & (DOT_BARE_CR | DOT_BARE_LF)))
		return str_from(t->p, n);
	*ret_copy = malloc(2 * n + 1);
	return *ret_copy ? str_from(*ret_copy, dotscan_normalize(t->p, n, *ret_copy)) : STR_NULL;
}

/* Of a binary message too the header section, which is in the buffer before anything goes
 * ahead, is lines (RFC 3030 section 3). */
static void
judge_header(struct smtp_text *t)
{
	ptrdiff_t end = str_find(str_from(t->p, t->len), STR("\r\n\r\n"));
	size_t n = end < 0 ? t->len : (size_t)end + 2, line = 0;
	bool cr = false;
	unsigned faults;

	if (!t->binary || t->stream || t->refused.smtp)
		return;
	faults = dotscan_text(t->p, n, t->scan.line_max, &cr, &line);
	if (cr || faults & (DOT_BARE_CR | DOT_BARE_LF))
		refuse(t, 550, "5.6.11", "Lone CR or LF in the header");
}

/* Sends the content ahead and makes room for more. False: refused. */
static bool
go_ahead(struct smtp_text *t)
{
	struct accept_verdict v = { 0 };
	char with[16], *copy;
	struct str part;
	size_t n;
	int code;

	if (!t->octets)
		dotscan_cut(&t->scan, t->p, t->len);
	n = content_length(t);
	judge_header(t);
	if (t->refused.smtp)
		return false;
	part = clean(t, n, &copy);
	if (!part.p) {
		code = -ENOMEM;
	} else if (t->stream) {
		code = accept_more(&t->stream, part, &v);
	} else {
		struct accept_request r = request(t, part, with);

		code = accept_open(&r, t->smtp->txn->arena, &v, &t->stream);
	}
	free(copy);
	if (code)
		refuse(t, 451, "4.3.0", "Queue gave no answer, try later");
	else if (v.smtp)
		refuse(t, v.smtp, v.enhanced, v.text);
	t->ahead += n;
	if (t->octets) {
		memmove(t->p, t->p + n, t->len - n);
		t->len -= n;
	} else {
		t->len = dotscan_take(&t->scan, t->p, t->len);
	}
	return !t->refused.smtp;
}

/* A full buffer whose header section has not ended cannot go ahead. */
static bool
header_whole(struct smtp_text *t)
{
	if (t->stream)
		return true;
	if (!t->octets)
		dotscan_cut(&t->scan, t->p, t->len);
	return accept_header_whole(str_from(t->p, content_length(t)));
}

static void
forget(struct smtp_text *t)
{
	if (t->octets)
		t->len = 0;
	else
		t->len = dotscan_discard(&t->scan, t->p, t->len);
}

/* Room behind what is there. */
static void
make_room(struct smtp_text *t)
{
	bool ahead = t->cap >= BUFFER_MAX && !t->whole;

	if (!t->refused.smtp && t->len == t->cap && (ahead || !buffer_double(t))) {
		if (!t->whole && header_whole(t))
			go_ahead(t);
		else if (!t->whole && t->len > smtp_settings()->header_size_limit)
			refuse(t, 552, "5.3.4", "Message header too large");
		else if (!buffer_double(t))
			refuse(t, 452, "4.3.1", "Out of memory, try later");
	}
	if (t->refused.smtp)
		forget(t);
}

/* A client that sends a little now and then holds its session as long as one that
 * sends nothing. */
static bool
trickles(const struct smtp_text *t)
{
	uint64_t ms = clock_ms() - t->begun_ms;

	return ms > smtp_settings()->smtp_data_timeout_ms && t->came * 1000 / ms < RATE_MIN;
}

/* Reads what comes next, at most max bytes: their count, or negative. */
static ssize_t
read_more(struct smtp_text *t, uint64_t max)
{
	size_t room;
	ssize_t n;

	make_room(t);
	room = t->cap - t->len;
	n = stream_read(t->smtp->io, t->p + t->len, max < room ? (size_t)max : room);
	if (n <= 0)
		return n < 0 ? n : -EPIPE;
	if (t->refused.smtp) {
		t->dropped += (uint64_t)n;
		if (t->dropped > 4 * smtp_settings()->message_size_limit)
			return -ENOBUFS;
	}
	t->len += (size_t)n;
	t->came += (uint64_t)n;
	return trickles(t) ? -ETIMEDOUT : n;
}

static void
begin(struct smtp_text *t)
{
	t->begun_ms = clock_ms();
	t->came = 0;
}

int
text_read_dots(struct smtp_text *t)
{
	ssize_t n;
	bool end;

	begin(t);
	do {
		n = read_more(t, UINT64_MAX);
		if (n < 0)
			return (int)n;
		end = dotscan(&t->scan, t->p, t->len);
		judge(t);
	} while (!end);
	if (t->len > t->scan.line)
		stream_unread(t->smtp->io, t->p + t->scan.line, t->len - t->scan.line);
	return 0;
}

int
text_read_octets(struct smtp_text *t, uint64_t left)
{
	begin(t);
	while (left) {
		ssize_t n = read_more(t, left);

		if (n < 0)
			return (int)n;
		left -= (uint64_t)n;
		if (!t->binary)
			t->scan.faults |= dotscan_text(t->p + t->len - n, (size_t)n, t->scan.line_max,
			    &t->cr, &t->line_len);
		judge(t);
	}
	return 0;
}

/* Octets may end anywhere: a lone CR, and a line that has no end, are ended here,
 * since only whole lines can be sent on and stored, unless they are binary. */
static void
end_octets(struct smtp_text *t)
{
	if (t->cr)
		t->scan.faults |= DOT_BARE_CR;
	judge(t);
	t->cr = false;
	make_room(t);
	judge_header(t);
	if (!t->refused.smtp && t->line_len && t->cap - t->len >= 2) {
		if (!t->len || t->p[t->len - 1] != '\r')
			t->p[t->len++] = '\r';
		t->p[t->len++] = '\n';
	}
}

int
text_finish(struct smtp_text *t, struct accept_verdict *ret_verdict, struct queue_answer *ret)
{
	char with[16], *copy = NULL;
	struct accept_request r;
	struct str part;
	int code;

	if (t->octets)
		end_octets(t);
	*ret_verdict = t->refused;
	if (t->refused.smtp)
		return 0;
	part = clean(t, content_length(t), &copy);
	if (!part.p) {
		code = -ENOMEM;
	} else if (t->stream) {
		code = accept_close(&t->stream, part, ret_verdict, ret);
	} else {
		r = request(t, part, with);
		code = accept_message(&r, t->smtp->txn->arena, ret_verdict, ret);
	}
	free(copy);
	return code;
}
