/*
 * A session from greeting to goodbye: gathers commands, runs them, writes what
 * changed and the tagged line. A command that is not whole yet waits in `cmd`
 * while the session is parked, so that slow clients hold no coroutine.
 *
 * Parked, a session wakes for input, for news while IDLE runs, and every TICK_MS
 * at least: then it renews its ticket, lets go of a large mailbox that it does
 * not use, and counts the idle time (RFC 3501 section 5.4).
 */
#include <errno.h>
#include <stdlib.h>

#include "imapd/imap.h"
#include "imapd/view.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/io/co.h"

enum {
	CMD_MAX_NONAUTH = 16 << 10,
	ARENA_MAX = 64 << 20,
	BADS_MAX = 20,
	SESSIONS_MAX = 1000000,    /* the setting is the limit */
	ACTIVE_MAX = 2048,
	SKIP_MAX = 256 << 20,
	TICK_MS = 4 * 60 * 1000,
	STALL_MS = 60 * 1000,      /* without progress while it is waited for */
	RETRY_MS = 3 * 1000,       /* to have the store again while IDLE runs */
	FREEZE_ROWS = 256,
	BREATH_US = 3000,
};

const struct settings *imap_settings;
static struct list sessions = LIST_INIT(sessions);
static struct metric sessions_now = METRIC_GAUGE("imap_sessions", NULL, "Open IMAP sessions");
static struct metric bad_commands = METRIC_COUNTER("imap_bad_commands_total", NULL,
    "IMAP commands answered with BAD, unknown ones among them");
static unsigned n_sessions;

/* ---- birth and death ---- */

static void *
imap_open(struct session *s)
{
	struct imap *c = calloc(1, sizeof *c);
	const struct imap_listener *on = session_listener_user(s);

	if (!c)
		return NULL;
	*c = (struct imap){ .s = s, .st = session_stream(s), .on = *on, .state = IN_NONAUTH };
	c->opened_ms = c->last_input_ms = clock_ms();
	cmdbuf_init(&c->cmd, CMD_MAX_NONAUTH);
	buf_init(&c->ticket, 4096);
	list_push(&sessions, &c->link);
	metric_set(&sessions_now, ++n_sessions);
	return c;
}

static void
imap_close(struct session *s)
{
	struct imap *c = session_state(s);

	front_leave(&c->front);
	list_remove(&c->link);
	view_close(&c->view);
	append_free(&c->append);
	store_detach(&c->acct);
	arena_free(&c->ar);
	cmdbuf_done(&c->cmd);
	buf_done(&c->out);
	buf_done(&c->ticket);
	free(c->user);
	free(c->idle_tag);
	free(c->late_tag);
	free(c);
	metric_set(&sessions_now, --n_sessions);
}

void
account_changed(uint64_t account)
{
	struct imap *c;

	LIST_FOREACH(c, &sessions, struct imap, link)
		if (c->user && (!account || c->account == account)) {
			c->recheck = true;
			if (account)
				session_poke(c->s);
		}
}

/* ---- answers ---- */

static enum result
answer(struct imap *c, enum result r, const char *text)
{
	c->text = str_c(text);
	return r;
}

enum result
ok(struct imap *c, const char *text)
{
	return answer(c, IMAP_OK, text);
}

enum result
no(struct imap *c, const char *text)
{
	return answer(c, IMAP_NO, text);
}

enum result
bad(struct imap *c, const char *text)
{
	return answer(c, IMAP_BAD, text);
}

enum result
bad_args(struct imap *c, const struct parse *p)
{
	return bad(c, p->why ? p->why : "Invalid arguments");
}

enum result
bye(struct imap *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	out_c(c, "* BYE ");
	buf_vprintf(&c->out, fmt, ap);
	out_c(c, "\r\n");
	va_end(ap);
	c->bye = true;
	return IMAP_BYE;
}

enum result
no_store(struct imap *c, int code, const struct wire_error *we)
{
	static const struct {
		int code;
		const char *text;
	} t[] = {
		{ -ENOENT, "[NONEXISTENT] No such mailbox" },
		{ -EEXIST, "[ALREADYEXISTS] Mailbox exists already" },
		{ -EDQUOT, "[OVERQUOTA] Not enough room" },
		{ -EPERM, "[CANNOT] Not possible with this mailbox" },
		{ -EINVAL, "[CANNOT] Not a possible mailbox name" },
		{ -EBUSY, "[HASCHILDREN] Mailbox has children and is none itself" },
		{ -EACCES, "[NOPERM] Permission denied" },
		{ -E2BIG, "[LIMIT] Limit reached" },
		{ -EUCLEAN, "[CORRUPTION] Mailbox is damaged" },
	};
	size_t i;

	if (code == -ESTALE)
		c->acct_void = true;
	for (i = 0; i < sizeof t / sizeof *t; i++)
		if (t[i].code == code)
			return no(c, t[i].text);
	LOG_WARN("imap.store_failed", L_I64("code", code), L_STR("text", we->text),
	    L_C("user", c->user));
	return no(c, "[UNAVAILABLE] Mail store is not available, try again");
}

int
continuation(struct imap *c, const char *text)
{
	out_printf(c, "+ %s\r\n", text);
	out_flush(c);
	return stream_flush(c->st);
}

int
read_line(struct imap *c, size_t max, struct str *ret)
{
	struct str in;
	ptrdiff_t lf;
	ssize_t r;

	while ((lf = str_chr(in = stream_peek(c->st), '\n')) < 0) {
		if (in.n > max)
			return -EMSGSIZE;
		if ((r = stream_fill(c->st)) <= 0)
			return r ? (int)r : -EPIPE;
	}
	*ret = arena_dup(c->ar, str_head(in, (size_t)lf));
	stream_consume(c->st, (size_t)lf + 1);
	if (!ret->p || ret->n > max)
		return -EMSGSIZE;
	if (ret->n && ret->p[ret->n - 1] == '\r')
		ret->n--;
	return 0;
}

void
breathe(struct imap *c)
{
	uint64_t now = clock_us();

	if (now - c->breath_us < BREATH_US)
		return;
	co_yield();
	c->breath_us = clock_us();
}

void
close_mailbox(struct imap *c)
{
	view_close(&c->view);
	if (c->state == IN_SELECTED)
		c->state = IN_AUTH;
}

void
enable_condstore(struct imap *c)
{
	if (c->condstore)
		return;
	c->condstore = true;
	if (c->view && c->view->box)
		out_printf(c, "* OK [HIGHESTMODSEQ %llu] Highest\r\n",
		    (unsigned long long)c->view->box->modseq);
}

/* ---- one command ---- */

/* What others changed, before the tagged line. */
static enum result
news(struct imap *c, enum result r)
{
	struct wire_error we = { 0 };
	bool expunge = !(c->def->flags & CMD_NO_EXPUNGE) || c->uid;
	int code;

	if (!c->view || !c->view->box || c->acct_void)
		return r;
	code = view_sync(c, c->def->flags & CMD_SYNC, &we);
	if (code == -ENOENT || c->view->lost_ghosts)
		return bye(c, "Selected mailbox is gone");
	if (code == -ESTALE)
		c->acct_void = true;
	view_announce(c, expunge, NULL);
	return r;
}

static void
count(struct imap *c, enum result r, uint64_t began)
{
	static const char *const words[] = { "ok", "no", "bad" };
	struct command *d = c->def;
	struct str labels;

	if (!d || r == IMAP_BYE)
		return;
	if (!d->count[r]) {
		labels = arena_printf(c->ar, "cmd=\"%s\",result=\"%s\"", d->name, words[r]);
		d->count[r] = metric_labelled(METRIC_K_COUNTER, "imap_commands_total", labels.p,
		    "IMAP commands by name and result");
	}
	if (!d->seconds) {
		labels = arena_printf(c->ar, "cmd=\"%s\"", d->name);
		d->seconds = metric_labelled(METRIC_K_HISTOGRAM, "imap_command_seconds", labels.p,
		    "Time that IMAP commands took");
	}
	if (d->count[r])
		metric_add(d->count[r], 1);
	if (d->seconds)
		metric_observe_us(d->seconds, clock_us() - began);
}

static void
tagged(struct imap *c, enum result r)
{
	static const char *const words[] = { " OK ", " NO ", " BAD " };

	if (r == IMAP_BYE)
		return;
	if (c->tag.p)
		out_str(c, c->tag);
	else
		out_c(c, "*");
	out_c(c, words[r]);
	out_str(c, c->text);
	out_c(c, "\r\n");
	if (r == IMAP_BAD)
		metric_add(&bad_commands, 1);
	c->bads = r == IMAP_BAD ? c->bads + 1 : 0;
	if (c->bads > BADS_MAX)
		bye(c, "Too many bad commands");
}

static bool
begin(struct imap *c)
{
	c->tag = STR_NULL;
	c->def = NULL;
	c->uid = false;
	c->text = STR("Done");
	c->breath_us = clock_us();
	return c->ar || (c->ar = arena_new(ARENA_MAX));
}

static void
end(struct imap *c)
{
	append_free(&c->append);
	out_flush(c);
	cmdbuf_reset(&c->cmd);
	arena_reset(c->ar);
}

/* The state of a command that runs: whether this one may, and the account is there. */
static enum result
admitted(struct imap *c)
{
	if (!(c->def->states & c->state))
		return bad(c, c->state == IN_NONAUTH ? "Log in first" :
			c->def->states == IN_SELECTED ? "Select a mailbox first" :
							"Not possible after log-in");
	if (!account_renew(c))
		return bye(c, "[UNAVAILABLE] Account is not available any more");
	return c->user && c->def->states != IN_ANY ? store_ready(c) : IMAP_OK;
}

static enum result
run_command(struct imap *c, struct parse *p)
{
	struct str name;
	enum result r;

	if (!parse_sp(p) || !parse_atom(p, &name))
		return bad(c, "Missing command");
	if (str_ieq(name, STR("UID"))) {
		c->uid = true;
		if (!parse_sp(p) || !parse_atom(p, &name))
			return bad(c, "Missing command behind UID");
	}
	if (!(c->def = command_find(name, c->uid)))
		return bad(c, "Unknown command");
	if ((r = admitted(c)) != IMAP_OK)
		return r;
	r = c->def->run(c, p);
	return r == IMAP_OK || r == IMAP_NO ? news(c, r) : r;
}

static void
serve(struct imap *c)
{
	uint64_t began = clock_us();
	struct parse p;
	enum result r;

	if (!begin(c)) {
		c->bye = true;
		return;
	}
	parse_init(&p, buf_view(&c->cmd.b), c->ar);
	r = parse_tag(&p, &c->tag) ? run_command(c, &p) : bad(c, "Invalid tag");
	tagged(c, r);
	count(c, r, began);
	end(c);
}

/* ---- commands that do not come to their end ---- */

/* The answer to a command that was refused on its way. */
static void
answer_late(struct imap *c)
{
	char *tag = c->late_tag;

	if (!begin(c) || !tag) {
		c->bye = true;
		return;
	}
	c->late_tag = NULL;
	c->tag = str_c(tag);
	c->text = str_c(c->late_text);
	tagged(c, c->late);
	end(c);
	free(tag);
}

/* More of a refused command comes if its literal is non-synchronizing. */
static void
await_end(struct imap *c)
{
	if (!c->cmd.plus) {
		answer_late(c);
		return;
	}
	c->skip = c->cmd.literal;
	append_free(&c->append);
	cmdbuf_reset(&c->cmd);
	if (c->skip > SKIP_MAX)
		bye(c, "[TOOBIG] Literal is too large");
}

/* Refuses the command in cmd, with answer r and c->text, when it has come to its end. */
static void
refuse(struct imap *c, enum result r)
{
	struct str tag = STR_NULL;
	struct parse p;

	parse_init(&p, buf_view(&c->cmd.b), c->ar);
	if (!parse_tag(&p, &tag))
		tag = STR("*");
	free(c->late_tag);
	c->late_tag = strndup(tag.p, tag.n);
	c->late = r;
	c->late_text = c->text.p;
	await_end(c);
}

static void
refuse_bad(struct imap *c, const char *why)
{
	if (begin(c))
		refuse(c, bad(c, why));
	else
		c->bye = true;
}

/* The message of an APPEND is announced. */
static void
serve_append(struct imap *c)
{
	struct parse p;
	struct str name;
	enum result r;

	if (!begin(c)) {
		c->bye = true;
		return;
	}
	parse_init(&p, buf_view(&c->cmd.b), c->ar);
	parse_tag(&p, &c->tag);
	parse_sp(&p);
	parse_atom(&p, &name);
	c->def = command_find(name, false);
	r = admitted(c);
	if (r == IMAP_OK)
		r = append_begin(c, &p, c->cmd.literal);
	if (r != IMAP_OK && r != IMAP_BYE)
		refuse(c, r);
	else if (r == IMAP_OK && !c->cmd.plus)
		continuation(c, "OK");
	out_flush(c);
}

/* A literal is announced: asks for it, or refuses. */
static void
serve_literal(struct imap *c)
{
	if (c->append)
		refuse_bad(c, "Only one message at a time");
	else if (append_announced(&c->cmd))
		serve_append(c);
	else if (!cmdbuf_accept(&c->cmd))
		refuse_bad(c, "[TOOBIG] Literal is too large");
	else if (!c->cmd.plus)
		continuation(c, "OK");
}

static void
serve_idle_end(struct imap *c, bool done)
{
	char *tag = c->idle_tag;

	if (!begin(c))
		return;
	c->idle_tag = NULL;
	c->tag = str_c(tag);
	tagged(c, done ? ok(c, "IDLE completed") : bad(c, "Expected DONE"));
	end(c);
	free(tag);
}

/* What the client sent so far is a command, or part of one. */
static void
served(struct imap *c, enum cmdbuf_state st)
{
	if (st == CMDBUF_MORE)
		return;
	if (c->idle_tag)
		serve_idle_end(c, st == CMDBUF_DONE &&
		    str_ieq(buf_view(&c->cmd.b), STR("DONE")));
	else if (c->late_tag)
		await_end(c);
	else if (st == CMDBUF_LITERAL)
		serve_literal(c);
	else if (st == CMDBUF_REFUSED)
		refuse_bad(c, c->cmd.why);
	else
		serve(c);
}

/* ---- the session ---- */

static enum session_next
goodbye(struct imap *c, const char *text)
{
	bye(c, "%s", text);
	out_flush(c);
	return SESSION_CLOSE;
}

static uint64_t
left(uint64_t limit, uint64_t since)
{
	uint64_t gone = clock_ms() - since;

	return gone >= limit ? 1 : limit - gone;
}

/* How long the session may be parked before it has something to do. */
static uint64_t
park_ms(const struct imap *c)
{
	const struct settings *st = imap_settings;
	uint64_t ms = TICK_MS, idle;

	if (c->state == IN_NONAUTH)
		return left(st->imap_login_timeout_ms, c->opened_ms);
	idle = left(st->imap_idle_limit_ms, c->last_input_ms);
	if (c->idle_tag && st->imap_keepalive_ms && st->imap_keepalive_ms < ms)
		ms = st->imap_keepalive_ms;
	if (c->idle_tag && store_lost(c) && RETRY_MS < ms)
		ms = RETRY_MS;
	return idle < ms ? idle : ms;
}

static enum session_next
park(struct imap *c)
{
	if (c->bye)
		return SESSION_CLOSE;
	session_idle_limit(c->s, park_ms(c));
	if (c->cmd.b.n == 0)
		cmdbuf_done(&c->cmd);
	if (c->out.n == 0)
		buf_done(&c->out);
	arena_free(&c->ar);
	return SESSION_PARK;
}

/* Takes from the front of *in what belongs to a literal that is not gathered. */
static bool
literal_take(struct imap *c, struct str *in)
{
	size_t n = c->skip < in->n ? (size_t)c->skip : in->n;

	if (c->skip == 0)
		return append_take(c, in);
	c->skip -= n;
	*in = str_skip(*in, n);
	return true;
}

static enum session_next
input(struct imap *c)
{
	enum cmdbuf_state st;
	struct str in, rest;

	c->last_input_ms = clock_ms();
	while (!c->bye && (in = stream_peek(c->st)).n) {
		rest = in;
		st = literal_take(c, &rest) ? CMDBUF_MORE : cmdbuf_feed(&c->cmd, &rest);
		stream_consume(c->st, in.n - rest.n);
		served(c, st);
	}
	out_flush(c);
	return park(c);
}

/* What changed, while IDLE runs. False: the session ends. */
static bool
idle_news(struct imap *c)
{
	struct wire_error we = { 0 };
	enum result ready = store_ready(c);
	int r;

	if (ready != IMAP_OK || !c->view)
		return ready != IMAP_BYE;
	r = view_sync(c, false, &we);
	if (r == -ENOENT || c->view->lost_ghosts)
		return bye(c, "Selected mailbox is gone") != IMAP_BYE;
	if (r == -ESTALE)
		c->acct_void = true;
	if (r == 0)
		view_announce(c, true, NULL);
	return true;
}

/* The store or authd has something to say. */
static enum session_next
poked(struct imap *c)
{
	if (!begin(c) || !account_renew(c))
		return goodbye(c, "[UNAVAILABLE] Account is not available any more");
	if (c->idle_tag)
		idle_news(c);
	out_flush(c);
	return park(c);
}

static enum session_next
idled(struct imap *c)
{
	const struct settings *st = imap_settings;
	uint64_t now = clock_ms();

	if (c->state == IN_NONAUTH)
		return now - c->opened_ms >= st->imap_login_timeout_ms
		    ? goodbye(c, "[UNAVAILABLE] Log-in took too long") : park(c);
	if (now - c->last_input_ms >= st->imap_idle_limit_ms)
		return goodbye(c, "Autologout; idle for too long");
	if (!begin(c) || !account_renew(c))
		return goodbye(c, "[UNAVAILABLE] Account is not available any more");
	if (c->idle_tag && store_lost(c))
		idle_news(c);
	else if (c->idle_tag)
		out_c(c, "* OK Still here\r\n");
	else if (c->view && c->view->box && c->view->box->n > FREEZE_ROWS)
		view_freeze(c->view);
	out_flush(c);
	return park(c);
}

/* What comes before the greeting: PROXY, limits, TLS. False: close. */
static bool
arrive(struct imap *c)
{
	const struct settings *st = imap_settings;

	switch (front_arrive(&c->front, c->s, st, c->on.conf, st->imap_sessions, 0)) {
	case FRONT_OK:
		break;
	case FRONT_BAD_PROXY:
		return false;
	default:
		if (!c->on.implicit_tls)
			bye(c, "[UNAVAILABLE] Too many connections");
		out_flush(c);
		return false;
	}
	c->on.plaintext_auth |= front_client_in(c->s, &st->plaintext_auth_from);
	if (!c->on.implicit_tls)
		return true;
	stream_timeout(c->st, st->imap_login_timeout_ms);
	c->tls = stream_tls_accept(c->st, c->on.tls) == 0;
	return c->tls;
}

static enum session_next
greet(struct imap *c)
{
	struct buf b = { 0 };

	if (!arrive(c))
		return SESSION_CLOSE;
	stream_timeout(c->st, STALL_MS);
	capabilities(c, &b);
	out_c(c, "* OK [CAPABILITY ");
	out_str(c, buf_view(&b));
	out_c(c, "] Posthorn ready\r\n");
	buf_done(&b);
	out_flush(c);
	return park(c);
}

static enum session_next
imap_run(struct session *s, enum session_reason why)
{
	struct imap *c = session_state(s);

	switch (why) {
	case SESSION_NEW:
		return greet(c);
	case SESSION_POKED:
		return poked(c);
	case SESSION_IDLE:
		return idled(c);
	case SESSION_DRAIN:
		return goodbye(c, "[UNAVAILABLE] Server is stopping");
	case SESSION_INPUT:
		break;
	}
	return input(c);
}

const struct session_kind imap_session_kind = {
	.name = "imap",
	.max_sessions = SESSIONS_MAX,
	.max_active = ACTIVE_MAX,
	.busy_reply = "* BYE [UNAVAILABLE] Too many connections\r\n",
	.open = imap_open,
	.run = imap_run,
	.close = imap_close,
};
