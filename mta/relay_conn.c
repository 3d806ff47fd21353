/*
 * Connections to servers: made, greeted (EHLO, else HELO; LHLO), secured (STARTTLS, or TLS
 * from the start), logged in, kept for the next message of their key, ended.
 *
 * What is kept: a connection that is idle belongs to nobody and has a timer; whoever takes
 * it looks first whether the server has said something meanwhile (421, or closed).
 *
 * TLS sessions are kept by address and by what was asked of the certificate, so that a
 * session never stands in for a check that it did not pass.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/io/co.h"
#include "lib/proc/metrics.h"
#include "mta/relayd.h"

#define QUIT_MS 2000u
#define SESSIONS_MAX 2000
#define SESSION_LIFE_MS (3600u * 1000)

static struct metric made = METRIC_COUNTER("relay_connections_total", "result=\"made\"",
    "Connections to other servers");
static struct metric unmade = METRIC_COUNTER("relay_connections_total", "result=\"failed\"",
    "Connections to other servers");
static struct metric reused = METRIC_COUNTER("relay_connections_total", "result=\"reused\"",
    "Connections to other servers");
static struct metric tls_good = METRIC_COUNTER("relay_tls_total", "result=\"verified\"",
    "TLS handshakes with other servers");
static struct metric tls_plain = METRIC_COUNTER("relay_tls_total", "result=\"unverified\"",
    "TLS handshakes with other servers");
static struct metric tls_resumed = METRIC_COUNTER("relay_tls_total", "result=\"resumed\"",
    "TLS handshakes with other servers");
static struct metric tls_failed = METRIC_COUNTER("relay_tls_total", "result=\"failed\"",
    "TLS handshakes with other servers");

struct kept_session {
	struct tls_session *session;
	uint64_t until_ms;
};
static struct {
	struct list idle;
	unsigned n_idle;
	struct strmap sessions;
} kept = { .idle = LIST_INIT(kept.idle) };

/* ---- reading ---- */

int
relay_read(struct relay_conn *c, uint64_t ms, struct reply *ret)
{
	uint64_t until = clock_ms() + ms, now;

	if (until > c->deadline_ms)
		until = c->deadline_ms;
	for (;;) {
		ssize_t n = reply_parse(stream_peek(c->s), ret);

		if (n > 0) {
			/* the text stays where it is until the buffer is filled again */
			stream_consume(c->s, (size_t)n);
			return 0;
		}
		now = clock_ms();
		if (n == 0 && now >= until)
			n = -ETIMEDOUT;
		if (n == 0) {
			stream_timeout(c->s, until - now);
			n = stream_fill(c->s);
			if (n == 0)
				n = -EPIPE;
		}
		if (n < 0 && n != -EINTR) {
			c->dead = true;
			return (int)n;
		}
	}
}

enum fault_kind
relay_read_fault(struct fault *f, struct relay_conn *c, int code, const char *stage,
    struct arena *a)
{
	switch (code) {
	case -ETIMEDOUT:
		return fault_set(f, FAULT_HOST, a, 451, "4.4.1", "%s did not answer in time (%s)",
		    c->host, stage);
	case -EPROTO:
	case -E2BIG:
	case -ENOBUFS:
		return fault_set(f, FAULT_HOST, a, 451, "4.5.0", "%s sent what is no reply (%s)",
		    c->host, stage);
	default:
		return fault_set(f, FAULT_HOST, a, 451, "4.4.2", "lost the connection to %s (%s)%s%s",
		    c->host, stage, *stream_why(c->s) ? ": " : "", stream_why(c->s));
	}
}

/* Says a command and reads its reply. */
static enum fault_kind
ask(struct relay_conn *c, const char *stage, uint64_t ms, struct arena *a, struct reply *ret,
    struct fault *f)
{
	int rc = relay_read(c, ms, ret);

	return rc ? relay_read_fault(f, c, rc, stage, a) : FAULT_NONE;
}

/* ---- hello ---- */

static const struct {
	const char *word;
	unsigned cap;
} words[] = {
	{ "PIPELINING", CAP_PIPELINING }, { "SIZE", CAP_SIZE }, { "8BITMIME", CAP_8BITMIME },
	{ "SMTPUTF8", CAP_SMTPUTF8 }, { "DSN", CAP_DSN }, { "CHUNKING", CAP_CHUNKING },
	{ "BINARYMIME", CAP_BINARYMIME }, { "STARTTLS", CAP_STARTTLS },
	{ "REQUIRETLS", CAP_REQUIRETLS }, { "DELIVERBY", CAP_DELIVERBY },
	{ "MT-PRIORITY", CAP_PRIORITY }, { "ENHANCEDSTATUSCODES", CAP_ENHANCED },
	{ "AUTH", CAP_AUTH },
};

static void
take_auth(struct relay_conn *c, struct str mechs)
{
	static const struct {
		const char *name;
		unsigned bit;
	} known[] = { { "PLAIN", AUTH_PLAIN }, { "LOGIN", AUTH_LOGIN },
		{ "SCRAM-SHA-256", AUTH_SCRAM_SHA_256 }, { "XOAUTH2", AUTH_XOAUTH2 } };
	struct str w;

	while ((w = str_word(&mechs)).n)
		for (size_t i = 0; i < sizeof known / sizeof *known; i++)
			if (str_ieq(w, str_c(known[i].name)))
				c->auth |= known[i].bit;
}

/* "LIMITS RCPTMAX=100 MAILMAX=50" (RFC 9422). */
static void
take_limits(struct relay_conn *c, struct str text)
{
	struct str w;

	while ((w = str_word(&text)).n) {
		struct str value = w, name = str_cut(&value, '=');
		uint32_t n;

		if (!str_u32(value, 1000000, &n) || !n)
			continue;
		if (str_ieq(name, STR("RCPTMAX")))
			c->rcpt_limit = n;
		else if (str_ieq(name, STR("MAILMAX")))
			c->mail_limit = n;
	}
}

static void
take_keyword(struct relay_conn *c, struct str line)
{
	struct str word = str_word(&line);

	if (str_istarts(word, STR("AUTH="))) { /* as servers said it before RFC 2554 */
		struct str first = str_skip(word, 5);

		c->caps |= CAP_AUTH;
		take_auth(c, first);
		word = STR("AUTH");
	}
	if (str_ieq(word, STR("LIMITS")))
		take_limits(c, line);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_ieq(word, str_c(words[i].word)))
			c->caps |= words[i].cap;
	if (str_ieq(word, STR("AUTH")))
		take_auth(c, line);
	if (str_ieq(word, STR("SIZE")) && !str_u64(str_trim(line), UINT64_MAX, &c->size_limit))
		c->size_limit = 0;
}

static void
take_ehlo(struct relay_conn *c, const struct reply *r)
{
	struct str raw = r->raw, line;

	c->caps = c->auth = c->rcpt_limit = c->mail_limit = 0;
	c->size_limit = 0;
	reply_line(&raw, &line); /* the greeting */
	while (reply_line(&raw, &line))
		take_keyword(c, line);
}

/* EHLO, and HELO where that is not known (RFC 5321 section 3.2). */
static enum fault_kind
hello(struct relay_conn *c, struct arena *a, struct fault *f)
{
	uint64_t ms = relayd.s->relay_hello_timeout_ms;
	const char *verb = c->lmtp ? "LHLO" : "EHLO";
	struct reply r;

	stream_printf(c->s, "%s %.*s\r\n", verb, STR_ARG(relayd.s->relay_hello));
	if (ask(c, verb, ms, a, &r, f))
		return f->kind;
	if (reply_class(&r) == 2) {
		take_ehlo(c, &r);
		return FAULT_NONE;
	}
	if (reply_class(&r) != 5 || c->lmtp || r.code == 521 || r.code == 554)
		return fault_reply(f, FAULT_HOST, a, &r, c->host);
	c->caps = c->auth = 0;
	stream_printf(c->s, "HELO %.*s\r\n", STR_ARG(relayd.s->relay_hello));
	if (ask(c, "HELO", ms, a, &r, f))
		return f->kind;
	return reply_class(&r) == 2 ? FAULT_NONE : fault_reply(f, FAULT_HOST, a, &r, c->host);
}

static enum fault_kind
greeting(struct relay_conn *c, struct arena *a, struct fault *f)
{
	struct reply r;

	if (ask(c, "greeting", relayd.s->relay_greeting_timeout_ms, a, &r, f))
		return f->kind;
	f->reached = true;
	return r.code == 220 ? FAULT_NONE : fault_reply(f, FAULT_HOST, a, &r, c->host);
}

/* ---- TLS ---- */

static void
forget_session(struct str key, struct kept_session *k)
{
	strmap_del(&kept.sessions, key);
	tls_session_free(&k->session);
	free(k);
}

static void
forget_old_sessions(void)
{
	uint64_t now = clock_ms();
	struct kept_session *k;
	struct str key;
	size_t pos = 0;

	while ((k = strmap_next(&kept.sessions, &pos, &key)))
		if (k->until_ms <= now || kept.sessions.n >= SESSIONS_MAX)
			forget_session(key, k);
}

/* What the server gave for the next connection; called when this one has been used. */
static void
keep_session(struct relay_conn *c)
{
	struct str key = str_c(c->session_key);
	struct tls_session *s = c->session_key && !c->dead ? stream_tls_session(c->s) : NULL;
	struct kept_session *k;

	if (!s)
		return;
	k = strmap_get(&kept.sessions, key);
	if (k)
		forget_session(key, k);
	if (kept.sessions.n >= SESSIONS_MAX)
		forget_old_sessions();
	k = malloc(sizeof *k);
	if (!k || strmap_set(&kept.sessions, key, k)) {
		free(k);
		tls_session_free(&s);
		return;
	}
	*k = (struct kept_session){ s, clock_ms() + SESSION_LIFE_MS };
}

static const struct tls_session *
kept_session(const char *session_key)
{
	struct kept_session *k = session_key ?
	    strmap_get(&kept.sessions, str_c(session_key)) : NULL;

	return k && k->until_ms > clock_ms() ? k->session : NULL;
}

static void
count_handshake(const struct relay_conn *c)
{
	metric_add(stream_tls(c->s)->resumed ? &tls_resumed : c->verified ? &tls_good : &tls_plain, 1);
}

static const enum tls_result refusals[] = {
	[TLS_NOT_REFUSED] = TLS_SEEN_VALIDATION_FAILURE,
	[TLS_REFUSED_NAME] = TLS_SEEN_HOST_MISMATCH,
	[TLS_REFUSED_TIME] = TLS_SEEN_EXPIRED,
	[TLS_REFUSED_ISSUER] = TLS_SEEN_NOT_TRUSTED,
	[TLS_REFUSED_OTHER] = TLS_SEEN_VALIDATION_FAILURE,
};

static enum fault_kind
handshake(struct relay_conn *c, const struct relay_policy *p, struct arena *a, struct fault *f)
{
	char address[RELAY_ADDRESS_TEXT];
	struct tls_peer peer = { .name = p->name, .names = p->names, .n_names = p->n_names,
		.tlsa = p->tlsa, .n_tlsa = p->n_tlsa, .tls13 = p->tls13, .san_only = p->sts };
	int rc;

	relay_address_text(&c->addr, address);
	if (asprintf(&c->session_key, "%s:%u %.*s", address, relay_get_port(&c->addr),
	    STR_ARG(p->digest)) < 0)
		c->session_key = NULL;
	if (p->level == CONF_RELAY_TLS_VERIFY)
		peer.verify = TLS_VERIFY_NAME;
	else if (p->level == CONF_RELAY_TLS_DANE)
		peer.verify = TLS_VERIFY_DANE;
	peer.resume = kept_session(c->session_key);
	stream_timeout(c->s, relayd.s->relay_hello_timeout_ms);
	rc = relayd.tls ? stream_tls_connect_as(c->s, relayd.tls, &peer) : -ENOTSUP;
	if (!rc) {
		c->verified = peer.verify != TLS_VERIFY_NONE;
		count_handshake(c);
		return FAULT_NONE;
	}
	c->dead = true;
	f->tls = true;
	f->seen = refusals[stream_tls_refusal(c->s)];
	metric_add(&tls_failed, 1);
	return fault_set(f, FAULT_HOST, a, 451, "4.7.5", "TLS with %s failed: %s", c->host,
	    *stream_why(c->s) ? stream_why(c->s) : "TLS cannot be used");
}

/* The server has no TLS; text says so where there must be some. */
__attribute__((format(printf, 4, 5)))
static enum fault_kind
no_tls(const struct relay_policy *p, struct arena *a, struct fault *f, const char *fmt, ...)
{
	char text[RELAY_TEXT_MAX];
	va_list ap;

	f->seen = TLS_SEEN_NO_STARTTLS;
	if (p->level == CONF_RELAY_TLS_OPTIONAL)
		return FAULT_NONE;
	f->tls = true;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return fault_set(f, FAULT_HOST, a, 451, "4.7.4", "%s", text);
}

/* STARTTLS when the policy wants it and the server has it. */
static enum fault_kind
secure(struct relay_conn *c, const struct relay_policy *p, struct arena *a, struct fault *f)
{
	struct reply r;

	if (p->level == CONF_RELAY_TLS_OFF)
		return FAULT_NONE;
	if (!(c->caps & CAP_STARTTLS))
		return no_tls(p, a, f, "%s offers no TLS, which is required (%.*s)", c->host,
		    STR_ARG(p->source));
	stream_puts(c->s, "STARTTLS\r\n");
	if (ask(c, "STARTTLS", relayd.s->relay_hello_timeout_ms, a, &r, f))
		return f->kind;
	if (r.code == 421)
		return fault_reply(f, FAULT_HOST, a, &r, c->host);
	if (r.code != 220)
		return no_tls(p, a, f, "%s refuses TLS, which is required (%.*s): %u", c->host,
		    STR_ARG(p->source), r.code);
	/* what was sent behind the 220 in plaintext is dropped by the handshake */
	if (handshake(c, p, a, f))
		return f->kind;
	return hello(c, a, f);
}

/* ---- making ---- */

static const struct sockaddr_storage *
source_of(const struct sockaddr_storage *to, struct sockaddr_storage *room)
{
	struct str text = to->ss_family == AF_INET6 ? relayd.s->relay_source_ipv6 :
	    relayd.s->relay_source_ipv4;

	return text.n && relay_address_parse(text, room) ? room : NULL;
}

static void
conn_free(struct relay_conn **cp)
{
	struct relay_conn *c = *cp;

	*cp = NULL;
	loop_timer_clear(relayd.loop, &c->idle);
	keep_session(c);
	stream_free(&c->s);
	free(c->key);
	free(c->host);
	free(c->session_key);
	free(c);
}

static enum fault_kind
conn_new(const struct relay_host *h, const struct sockaddr_storage *addr, struct arena *a,
    struct relay_conn **ret, struct fault *f)
{
	struct relay_conn *c = calloc(1, sizeof *c);
	struct sockaddr_storage source;
	char text[RELAY_ADDRESS_TEXT];
	struct err e = { 0 };

	relay_address_text(addr, text);
	if (!c || !(c->host = strndup(h->name.p, h->name.n))) {
		free(c);
		return fault_set(f, FAULT_MESSAGE, a, 451, "4.3.0", "out of memory");
	}
	c->addr = *addr;
	c->born_ms = clock_ms();
	c->deadline_ms = c->born_ms + relayd.s->relay_time_limit_ms;
	c->s = stream_connect(relayd.loop, addr, source_of(addr, &source),
	    relayd.s->relay_connect_timeout_ms, REPLY_MAX + REPLY_LINE_MAX, &e);
	if (!c->s) {
		free(c->host);
		free(c);
		metric_add(&unmade, 1);
		return fault_set(f, FAULT_HOST, a, 451, "4.4.1", "no connection to %.*s (%s): %s",
		    STR_ARG(h->name), text, e.text);
	}
	metric_add(&made, 1);
	*ret = c;
	return FAULT_NONE;
}

static enum fault_kind
begin(struct relay_conn *c, const struct relay_request *q, const struct relay_policy *p,
    struct arena *a, struct fault *f)
{
	if (p->implicit && handshake(c, p, a, f))
		return f->kind;
	if (greeting(c, a, f) || hello(c, a, f))
		return f->kind;
	if (!p->implicit && secure(c, p, a, f))
		return f->kind;
	if (q->credential.user.n && relay_login(c, &q->credential, p->cleartext_auth, a, f))
		return f->kind;
	return FAULT_NONE;
}

/* As MTA-STS would have it, of a policy that is only tried (RFC 8461 section 5). */
static struct relay_policy
strict_of(const struct relay_policy *p, const char *const *name)
{
	struct relay_policy strict = *p;

	strict.level = CONF_RELAY_TLS_VERIFY;
	strict.sts = true;
	strict.names = (const char **)(uintptr_t)name;
	strict.n_names = 1;
	strict.digest = STR("mta-sts, tried");
	return strict;
}

/* What is tried one after the other while TLS is what fails: up to three policies. */
static unsigned
attempts_of(const struct relay_policy *p, struct relay_policy v[static 3])
{
	unsigned n = 0;

	if (p->sts_tested && relayd.has_authorities)
		v[n++] = strict_of(p, &p->name);
	v[n++] = *p;
	if (p->level != CONF_RELAY_TLS_OPTIONAL || p->implicit)
		return n;
	v[n] = *p;
	v[n++].level = CONF_RELAY_TLS_OFF;
	return n;
}

static void
local_address(const struct relay_conn *c, char out[static RELAY_ADDRESS_TEXT])
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof ss;

	*out = '\0';
	if (!getsockname(stream_fd(c->s), (struct sockaddr *)&ss, &n))
		relay_address_text(&ss, out);
}

/* One connection: FAULT_NONE and *ret, or why not. */
static enum fault_kind
attempt(const struct relay_request *q, const struct relay_route *r, const struct relay_host *h,
    const struct sockaddr_storage *addr, const struct relay_policy *p, struct arena *a,
    struct relay_conn **ret, struct fault *f)
{
	struct relay_conn *c = NULL;

	f->tls = false;
	f->seen = TLS_SEEN_GOOD;
	if (conn_new(h, addr, a, &c, f))
		return f->kind;
	c->lmtp = r->hop.lmtp;
	local_address(c, f->local);
	if (begin(c, q, p, a, f)) {
		relay_conn_close(&c);
		return f->kind;
	}
	*ret = c;
	return FAULT_NONE;
}

/* Only the first attempt says how TLS with the host is: those behind it ask for less. */
enum fault_kind
relay_connect(const struct relay_request *q, const struct relay_route *r,
    const struct relay_host *h, const struct sockaddr_storage *addr, const struct relay_policy *p,
    struct arena *a, struct relay_conn **ret, struct fault *f)
{
	struct relay_policy v[3];
	unsigned n = attempts_of(p, v);

	for (unsigned i = 0; i < n; i++) {
		enum fault_kind k = attempt(q, r, h, addr, &v[i], a, ret, f);

		if (!i && v[i].level != CONF_RELAY_TLS_OFF && (!k || f->tls))
			relay_report(r, h, addr, p, f);
		if (!k || !f->tls || i + 1 == n)
			return k;
		LOG_INFO(v[i + 1].level == CONF_RELAY_TLS_OFF ? "relay.plaintext" : "relay.sts_failed",
		    L_HEX("qid", q->spool_id), L_STR("host", h->name), L_STR("why", f->result.text));
	}
	return f->kind;
}

/* ---- keeping ---- */

static void
quit(void *arg)
{
	struct relay_conn *c = arg;
	struct reply r;

	c->deadline_ms = clock_ms() + QUIT_MS;
	stream_puts(c->s, "QUIT\r\n");
	stream_timeout(c->s, QUIT_MS);
	if (!stream_flush(c->s) && !relayd.stopping)
		relay_read(c, QUIT_MS, &r);
	conn_free(&c);
	relayd.farewells--;
	relayd_done();
}

void
relay_conn_close(struct relay_conn **cp)
{
	struct relay_conn *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	relayd.farewells++;
	if (c->dead || co_spawn(relayd.loop, "quit", quit, c)) {
		relayd.farewells--;
		conn_free(&c);
	}
}

static void
unlink_idle(struct relay_conn *c)
{
	list_remove(&c->link);
	loop_timer_clear(relayd.loop, &c->idle);
	kept.n_idle--;
}

static void
idle_over(void *arg)
{
	struct relay_conn *c = arg;

	unlink_idle(c);
	relay_conn_close(&c);
}

static bool
worn(const struct relay_conn *c)
{
	const struct settings *s = relayd.s;

	return c->dead || (s->relay_reuse_limit && c->messages >= s->relay_reuse_limit) ||
	    (c->mail_limit && c->messages >= c->mail_limit) ||
	    clock_ms() - c->born_ms >= s->relay_reuse_age_ms;
}

void
relay_conn_done(struct relay_conn **cp, struct str key)
{
	struct relay_conn *c = *cp;

	*cp = NULL;
	if (!c)
		return;
	if (!c->key)
		c->key = strndup(key.p, key.n);
	if (!c->key || worn(c) || !relayd.s->relay_idle_ms || relayd.stopping ||
	    kept.n_idle >= relayd.s->relay_idle_limit) {
		relay_conn_close(&c);
		return;
	}
	stream_trim(c->s);
	list_push_front(&kept.idle, &c->link);
	kept.n_idle++;
	loop_timer(relayd.loop, &c->idle, relayd.s->relay_idle_ms, idle_over, c);
}

/* Whether the server has closed it or said something (421) while it was idle. */
static bool
is_stale(struct relay_conn *c)
{
	ssize_t n;

	if (stream_peek(c->s).n)
		return true;
	n = stream_try_fill(c->s);
	return n != -EAGAIN;
}

struct relay_conn *
relay_conn_take(struct str key)
{
	struct relay_conn *c, *tmp;

	LIST_FOREACH_SAFE(c, tmp, &kept.idle, struct relay_conn, link) {
		if (!str_eq(str_c(c->key), key))
			continue;
		unlink_idle(c);
		if (!worn(c) && !is_stale(c)) {
			metric_add(&reused, 1);
			return c;
		}
		c->dead |= stream_peek(c->s).n == 0;
		relay_conn_close(&c);
	}
	return NULL;
}

unsigned
relay_conn_open(struct str key)
{
	struct relay_conn *c;
	unsigned n = 0;

	LIST_FOREACH(c, &kept.idle, struct relay_conn, link)
		n += str_eq(str_c(c->key), key);
	return n;
}

void
relay_conn_close_all(void)
{
	while (!list_empty(&kept.idle)) {
		struct relay_conn *c = LIST_ENTRY(kept.idle.next, struct relay_conn, link);

		unlink_idle(c);
		relay_conn_close(&c);
	}
}
