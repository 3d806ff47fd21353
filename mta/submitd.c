/*
 * submitd: the door into the spool for mail that comes from inside. It has no
 * network, opens no file and reads mail only to count its header fields.
 *
 *	imapd, pop3d, sieved, jmapd ---ticket---+
 *	maild, bounced -------------------------+--> submitd --> authd: whose address?
 *	posthorn send (control socket) ---------+            --> maild: room?
 *	                                                     --> queued: accept
 *
 * Each request runs on a coroutine through the steps of `steps`; the first that
 * refuses has filled the answer. A front end's ticket names the user: the sender
 * must be an address of his unless the configuration says otherwise, and the
 * account is looked up anew, since a password change revokes at once. What maild
 * and bounced bring is mail that was accepted already in another shape: it is
 * neither held back by pressure nor by full mailboxes, which would make the
 * store wait for the queue and the queue for the store.
 *
 * A deduplication key goes on as SHA-256 over tenant and key: a fixed size, and
 * no user can name another's.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/accept/accept.h"
#include "lib/accept/rcpt.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/auth.h"
#include "lib/client/rewrite.h"
#include "lib/client/store.h"
#include "lib/client/submit.h"
#include "lib/mail/path.h"
#include "lib/proc/metrics.h"
#include "lib/proc/service.h"
#include "mta/accept_log.h"
#include "mta/dotscan.h"

#define ARENA_MAX (8u << 20)
#define ACTIVE_MAX 256u       /* submissions at a time */
#define SCAN_SLICE (1u << 20)  /* about a millisecond */
#define NO_LAST_END 256u       /* beside dotscan's faults */
#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK)

#define HELP "Messages submitted by the house's own programs"
static struct metric accepted = METRIC_COUNTER("submit_messages_total", "result=\"accepted\"", HELP);
static struct metric duplicates = METRIC_COUNTER("submit_messages_total", "result=\"duplicate\"", HELP);
static struct metric deferred = METRIC_COUNTER("submit_messages_total", "result=\"deferred\"", HELP);
static struct metric rejected = METRIC_COUNTER("submit_messages_total", "result=\"rejected\"", HELP);
static struct metric bytes = METRIC_COUNTER("submit_accepted_bytes_total", NULL, "Bytes of accepted submissions");
static struct metric bad_frames = METRIC_COUNTER("submit_bad_frames_total", NULL, "Malformed requests");
static struct metric seconds = METRIC_HISTOGRAM("submit_seconds", NULL, "Time from request to answer");

static struct {
	struct service *service;
	unsigned active;
	size_t content_bytes;     /* content that is mapped now */
	unsigned long count;
	bool stopping;
} submitd;

/* One request on its way. */
struct submission {
	struct peer *peer;
	struct arena *arena;
	struct submit_request req;
	struct str content;
	int fd;                   /* of the content, or -1 */
	bool mapped;
	struct ticket ticket;     /* of a front end */
	bool exempt;              /* maild, bounced */
	struct envelope env;
	struct submit_answer answer;
	struct filter_session filters;
	struct filter_txn filter_txn;
};

static const struct settings *
settings(void)
{
	return service_settings(submitd.service);
}

static bool
refuse(struct submission *s, unsigned smtp, struct str enhanced, struct str text)
{
	s->answer.smtp = smtp;
	s->answer.enhanced = enhanced;
	s->answer.text = text;
	return false;
}

static bool
refuse_address(struct submission *s, unsigned smtp, struct str enhanced, struct str address,
    const char *text)
{
	return refuse(s, smtp, enhanced,
	    arena_printf(s->arena, "<%.*s>: %s", STR_ARG(str_head(address, 256)), text));
}

/* ---- who asks ---- */

static bool
ticket_holds(struct submission *s)
{
	struct account_record rec;
	int rc = ticket_open(s->req.ticket, service_ticket_key(submitd.service),
	    chan_peer_number(s->peer), &s->ticket);

	if (rc < 0 || !(s->ticket.rights & TICKET_SUBMIT))
		return refuse(s, 530, STR("5.7.0"), STR("No valid ticket: log in again"));
	rc = auth_account(s->ticket.account, s->arena, &rec);
	if (rc == -ENOENT || (!rc && (!rec.enabled || rec.generation != s->ticket.generation)))
		return refuse(s, 530, STR("5.7.0"), STR("The log-in was revoked"));
	if (rc < 0)
		return refuse(s, 451, STR("4.3.0"), STR("The account cannot be looked up now"));
	s->env.user = s->env.tenant = s->ticket.user;
	return true;
}

static bool
step_caller(struct submission *s)
{
	enum role r = chan_peer_role(s->peer);

	s->env.client_name = str_c(role_name(r));
	if (r != ROLE_CLI && r != ROLE_MAILD && r != ROLE_BOUNCED && r != ROLE_PICKUPD &&
	    r != ROLE_REPORTD)
		return ticket_holds(s);
	if (r == ROLE_PICKUPD && s->req.client.n)
		s->env.client_name = s->req.client;
	s->env.tenant = s->env.client_name;
	s->exempt = r == ROLE_MAILD || r == ROLE_BOUNCED;
	return true;
}

static bool
step_pressure(struct submission *s)
{
	uint64_t delay = 0;
	int level = s->exempt ? 0 : queue_pressure(&delay);

	if (level == 2)
		return refuse(s, 452, STR("4.3.1"), STR("Queue is full, try later"));
	if (level == 1)
		co_sleep(delay);
	return true;
}

/* ---- the content ---- */

/* Maps the memfd: its seals say that nobody writes it or makes it shorter while
 * it is read. */
static bool
map_content(struct submission *s)
{
	const uint64_t limit = settings()->message_size_limit;
	int seals = fcntl(s->fd, F_GET_SEALS);
	struct stat st;
	void *p;

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(s->fd, &st) < 0 || !st.st_size)
		return refuse(s, 554, STR("5.6.0"), STR("The message is no sealed memory file"));
	if ((uint64_t)st.st_size > limit)
		return refuse(s, 552, STR("5.3.4"), STR("Message too big"));
	if (submitd.content_bytes + (size_t)st.st_size > settings()->smtp_memory_limit)
		return refuse(s, 452, STR("4.3.1"), STR("Out of memory, try later"));
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, s->fd, 0);
	if (p == MAP_FAILED)
		return refuse(s, 451, STR("4.3.0"), STR("The message cannot be read"));
	s->content = str_from(p, (size_t)st.st_size);
	s->mapped = true;
	submitd.content_bytes += s->content.n;
	return true;
}

static bool
has_8bit(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] & 0x80)
			return true;
	return false;
}

/* What is wrong with the lines, and whether there are 8-bit characters; slice by
 * slice, so that others get their turn. */
static unsigned
scan_content(struct str text, size_t line_max, bool *ret_8bit)
{
	size_t line = 0;
	bool cr = false;
	unsigned faults = 0;

	*ret_8bit = false;
	for (size_t at = 0; at < text.n && !faults; at += SCAN_SLICE) {
		struct str s = str_head(str_skip(text, at), SCAN_SLICE);

		if (at)
			co_yield();
		faults = dotscan_text(s.p, s.n, line_max, &cr, &line);
		*ret_8bit = *ret_8bit || has_8bit(s.p, s.n);
	}
	return faults | (cr ? DOT_BARE_CR : 0u) | (line ? NO_LAST_END : 0u);
}

static bool
step_content(struct submission *s)
{
	const struct settings *set = settings();
	unsigned faults;
	bool eight;

	s->content = s->req.content;
	if (s->fd >= 0 && !map_content(s))
		return false;
	if (s->content.n > set->message_size_limit)
		return refuse(s, 552, STR("5.3.4"), STR("Message too big"));
	faults = scan_content(s->content, set->smtp_line_limit, &eight);
	if (faults & (DOT_BARE_CR | DOT_BARE_LF))
		return refuse(s, 550, STR("5.6.11"), STR("Lone CR or LF in the message"));
	if (faults & DOT_LONG_LINE)
		return refuse(s, 554, STR("5.6.0"), STR("Line too long"));
	if (faults)
		return refuse(s, 554, STR("5.6.0"), STR("The message's last line has no end"));
	s->env.body = s->req.body ? s->req.body : eight;
	return true;
}

/* ---- from and to whom ---- */

static bool
parse_address(struct submission *s, struct str address, unsigned smtp, struct str enhanced,
    unsigned flags, struct path *ret)
{
	int code = path_parse_address(address, PATH_UTF8 | flags, s->arena, ret);

	if (code < 0)
		return refuse_address(s, smtp, enhanced, address, "Bad address syntax");
	if (ret->utf8)
		s->env.flags |= ENV_SMTPUTF8;
	return true;
}

/* As the house knows the sender; what was accepted once already has it so. */
static bool
rewrite_sender(struct submission *s)
{
	const struct rewrite_ask ask = { REWRITE_SENDER, s->env.sender };
	struct str becomes;

	if (s->exempt || !rewrite_wanted(settings(), REWRITE_SENDER))
		return true;
	if (auth_rewrite(&ask, 1, s->arena, &becomes))
		return refuse(s, 451, STR("4.3.0"), STR("The sender cannot be looked up now"));
	if (becomes.p)
		s->env.sender = becomes;
	return true;
}

static bool
step_sender(struct submission *s)
{
	struct resolve_answer who = { 0 };
	struct path from;
	int code;

	if (!s->req.sender.n)
		return true;
	if (!parse_address(s, s->req.sender, 501, STR("5.1.7"), 0, &from))
		return false;
	s->env.sender = from.text;
	if (!s->ticket.account || settings()->submission_sender == CONF_SENDER_ANY)
		return rewrite_sender(s);
	code = auth_resolve(from.text, STR_NULL, s->arena, &who);
	if (code < 0)
		return refuse(s, 451, STR("4.3.0"), STR("The sender cannot be checked now"));
	if (who.kind != RESOLVE_ACCOUNT || who.account != s->ticket.account)
		return refuse_address(s, 553, STR("5.7.1"), from.text, "Sender address is not yours");
	return rewrite_sender(s);
}

static bool
not_deliverable(struct submission *s, struct str address, const struct resolve_answer *who)
{
	if (who->kind == RESOLVE_NO_USER)
		return refuse_address(s, 550, STR("5.1.1"), address, "User unknown");
	if (who->kind == RESOLVE_DISABLED)
		return refuse_address(s, 550, STR("5.2.1"), address, "Mailbox disabled");
	return refuse(s, who->smtp, who->enhanced, arena_printf(s->arena, "<%.*s>: %.*s",
	    STR_ARG(str_head(address, 256)), STR_ARG(who->text)));
}

/* Advisory: without an answer the mail waits in the spool. */
static bool
has_room(struct submission *s, const struct resolve_answer *who)
{
	struct wire_error we = { 0 };

	if (s->exempt || who->kind != RESOLVE_ACCOUNT || !store_room(who->account, who->volume, who->slot, who->quota,
	    s->content.n, &we) || !we.smtp)
		return true;
	return refuse_address(s, we.smtp, we.smtp >= 500 ? STR("5.2.2") : STR("4.2.2"), who->address,
	    "Mailbox full");
}

/* All its callers may send to other domains. */
static bool
take_rcpt(struct submission *s, struct str address, size_t *cap)
{
	const struct envelope_rcpt said = { .notify = s->req.notify };
	struct resolve_answer who = { 0 };
	struct path to;

	if (!parse_address(s, address, 501, STR("5.1.3"), PATH_POSTMASTER, &to))
		return false;
	if (!to.domain.n)
		to.text = STR("postmaster"); /* the house's */
	if (auth_resolve(to.text, s->env.sender, s->arena, &who) < 0)
		return refuse_address(s, 451, STR("4.3.0"), to.text, "Cannot be looked up now");
	if (!resolve_deliveries(&who))
		return not_deliverable(s, to.text, &who);
	if (!has_room(s, &who))
		return false;
	return accept_rcpt(&s->env, cap, &who, to.text, &said, s->arena) == 0 ||
	    refuse(s, 451, STR("4.3.0"), STR("Out of memory"));
}

/* Notes a refused recipient of a `partial` request, so that the others get theirs. */
static bool
pass_over(struct submission *s, struct str address)
{
	struct submit_answer *a = &s->answer;

	if (!s->req.partial || a->smtp < 500)
		return false;
	if (!a->refused)
		a->refused = ARENA_ARRAY(s->arena, struct submit_refused, s->req.n_rcpts);
	if (!a->refused)
		return refuse(s, 451, STR("4.3.0"), STR("Out of memory"));
	a->refused[a->n_refused++] = (struct submit_refused){ address, a->smtp, a->enhanced, a->text };
	a->smtp = 0;
	return true;
}

/* Nobody is left to send to: no message, and yet an answer that says all. */
static bool
nobody_left(struct submission *s)
{
	return refuse(s, 250, STR("2.0.0"), STR("Every recipient was refused"));
}

static bool
step_rcpts(struct submission *s)
{
	size_t cap = 0;

	if (!s->req.n_rcpts)
		return refuse(s, 554, STR("5.5.1"), STR("No recipients"));
	if (s->req.n_rcpts > settings()->recipient_limit)
		return refuse(s, 550, STR("5.5.3"), STR("Too many recipients"));
	for (size_t i = 0; i < s->req.n_rcpts; i++)
		if (!take_rcpt(s, s->req.rcpts[i], &cap) && !pass_over(s, s->req.rcpts[i]))
			return false;
	return s->env.n_rcpts || nobody_left(s);
}

/* ---- into the spool ---- */

static bool
step_dedup_key(struct submission *s)
{
	struct str key = s->req.dedup_key, tenant = s->env.tenant;
	unsigned char *md = arena_alloc(s->arena, 32);
	struct buf b = { 0 };
	bool made;

	if (!key.n)
		return true;
	if (key.n > SUBMIT_DEDUP_MAX)
		return refuse(s, 554, STR("5.5.4"), STR("The deduplication key is too long"));
	buf_printf(&b, "%zu:", tenant.n);
	buf_str(&b, tenant);
	buf_str(&b, key);
	made = md && !b.over && EVP_Digest(b.p, b.n, md, NULL, EVP_sha256(), NULL) == 1;
	buf_done(&b);
	if (!made)
		return refuse(s, 451, STR("4.3.0"), STR("Out of memory"));
	s->env.dedup_key = str_from(md, 32);
	return true;
}

/* The plugins that are asked about the house's own mail: no connection, all at once. */
static bool
filters_ask(struct submission *s)
{
	static const enum filter_hook hooks[] = { FILTER_MAIL, FILTER_DATA };
	struct filter_verdict v = { 0 };

	s->filters = (struct filter_session){ .flags = FILTER_F_LOCAL | FILTER_F_SUBMITTED,
		.listener = STR("local"), .user = s->env.user, .id = s->env.trace,
		.client_name = s->env.client_name };
	s->filter_txn = (struct filter_txn){ .env = &s->env, .arena = s->arena };
	if (!filter_wanted(settings(), &s->filters))
		return true;
	for (size_t i = 0; i < sizeof hooks / sizeof *hooks && v.action == FILTER_CONTINUE; i++)
		filter_ask_all(settings(), &s->filters, &s->filter_txn, hooks[i], s->arena, &v);
	if (v.action != FILTER_CONTINUE)
		return refuse(s, v.smtp, str_c(v.enhanced), str_c(v.text));
	return true;
}

static bool
step_filters(struct submission *s)
{
	return !settings()->n_plugins || filters_ask(s);
}

static bool
step_hand_over(struct submission *s)
{
	struct envelope *e = &s->env;
	struct accept_verdict verdict = { 0 };
	struct queue_answer q = { 0 };
	struct accept_request r = { .settings = settings(), .env = e, .content = s->content,
		.submitted = !s->exempt, .note = accept_log,
		.ours = true };
	int code;

	if (settings()->n_plugins && filter_wanted(settings(), &s->filters)) {
		r.filters = &s->filters;
		r.filter_txn = &s->filter_txn;
	}

	e->flags |= ENV_LOCAL | (s->exempt ? ENV_EXEMPT : 0) |
	    (s->req.flags & (ENV_SMTPUTF8 | ENV_REQUIRETLS)) |
	    (chan_peer_role(s->peer) == ROLE_BOUNCED ? s->req.flags & ENV_NOTICE : 0);
	e->envid = s->req.envid;
	e->ret = s->req.ret;
	e->hold_until_ms = s->req.hold_until_ms;
	code = accept_message(&r, s->arena, &verdict, &q);
	if (code < 0)
		return refuse(s, 451, STR("4.3.0"), STR("The queue gave no answer, try later"));
	if (verdict.smtp) /* 250 when a rule throws it away */
		return refuse(s, verdict.smtp, str_c(verdict.enhanced), str_c(verdict.text));
	if (q.outcome != QUEUE_ACCEPTED)
		return refuse(s, q.smtp >= 400 ? q.smtp : 451, q.enhanced, q.text);
	s->answer.spool_id = q.spool_id;
	s->answer.duplicate = q.duplicate;
	refuse(s, 250, STR("2.0.0"), STR("Ok"));
	return true;
}

static bool (*const steps[])(struct submission *) = {
	step_caller, step_pressure, step_content, step_sender, step_rcpts, step_dedup_key,
	step_filters, step_hand_over,
};

/* ---- a request ---- */

static void
note(const struct submission *s, uint64_t us)
{
	const struct submit_answer *a = &s->answer;
	const struct envelope *e = &s->env;
	struct str first = s->req.n_rcpts ? s->req.rcpts[0] : STR_NULL;

	metric_observe_us(&seconds, us);
	metric_add(a->smtp >= 500 ? &rejected : a->smtp >= 400 ? &deferred : a->duplicate ?
	    &duplicates : &accepted, 1);
	if (a->smtp >= 400) {
		LOG_INFO(a->smtp >= 500 ? "submit.rejected" : "submit.deferred", L_STR("txn", e->trace),
		    L_C("caller", role_name(chan_peer_role(s->peer))), L_STR("user", e->user),
		    L_STR("from", str_head(s->req.sender, 256)), L_STR("to", str_head(first, 256)),
		    L_U64("code", a->smtp), L_STR("enhanced", a->enhanced), L_STR("reason", a->text));
		return;
	}
	if (!a->duplicate)
		metric_add(&bytes, s->content.n);
	LOG_INFO(a->duplicate ? "submit.duplicate" : "submit.accepted", L_STR("txn", e->trace),
	    L_HEX("qid", a->spool_id), L_C("caller", role_name(chan_peer_role(s->peer))),
	    L_STR("user", e->user), L_STR("from", e->sender), L_STR("to", first),
	    L_U64("rcpts", e->n_rcpts), L_U64("size", s->content.n), L_U64("us", us));
}

static void
answer(struct peer *p, const struct frame *f, const struct submit_answer *a)
{
	struct buf b = { 0 };

	submit_answer_put(&b, a);
	chan_answer(p, f->id, f->type, &b, -1);
	buf_done(&b);
}

static void
bad_frame(struct peer *p, const struct frame *f, int code)
{
	struct wire_error we = { .code = code, .text = STR("malformed request") };

	metric_add(&bad_frames, 1);
	LOG_WARN("submit.bad_frame", L_C("from", role_name(chan_peer_role(p))),
	    L_U64("instance", chan_peer_instance(p)));
	chan_answer_error(p, f->id, f->type, &we);
}

static void
run(struct submission *s, const struct frame *f)
{
	uint64_t start = clock_us();
	size_t i = 0;

	s->env.trace = arena_printf(s->arena, "%08x.s%lu", (unsigned)(clock_real_us() / 1000000),
	    ++submitd.count);
	while (i < sizeof steps / sizeof *steps && steps[i](s))
		i++;
	if (s->filter_txn.env) {
		filter_txn_over(&s->filters, &s->filter_txn, s->answer.smtp, s->answer.spool_id);
		filter_session_over(&s->filters);
	}
	note(s, clock_us() - start);
	answer(s->peer, f, &s->answer);
	if (s->mapped) {
		submitd.content_bytes -= s->content.n;
		munmap((void *)(uintptr_t)s->content.p, s->content.n);
	}
}

static void
submit(struct peer *p, struct frame *f)
{
	struct submission s = { .peer = p, .fd = f->fd };
	int rc;

	if (submitd.active >= ACTIVE_MAX || submitd.stopping ||
	    !(s.arena = arena_new(ARENA_MAX))) {
		refuse(&s, 451, STR("4.3.2"), STR("Too busy, try later"));
		metric_add(&deferred, 1);
		answer(p, f, &s.answer);
	} else if ((rc = submit_request_get(f->body, s.arena, &s.req))) {
		bad_frame(p, f, rc);
	} else {
		submitd.active++;
		run(&s, f);
		submitd.active--;
	}
	arena_free(&s.arena);
	if (s.fd >= 0)
		close(s.fd);
}

/* ---- the process ---- */

static int
submitd_init(struct service *s, struct err *e)
{
	(void)e;
	submitd.service = s;
	filter_init();
	return 0;
}

/* What was begun gets its answer. */
static void
submitd_stop(struct service *s)
{
	submitd.stopping = true;
	service_finish(s, &submitd.active, NULL);
}

int
main(int argc, char **argv)
{
	static const struct msg_handler handlers[] = {
		{ MSG_SUBMIT, "submit", submit, MSG_CO },
		{ MSG_SUBMIT_ADMIN, "admin", submit, MSG_CO },
	};
	static const struct confine_spec confinement = { .kind = CONFINE_PURE, .max_fds = 2048 };
	static const struct service_spec spec = {
		.role = ROLE_SUBMITD,
		.handlers = handlers,
		.n_handlers = sizeof handlers / sizeof *handlers,
		.init = submitd_init,
		.stop = submitd_stop,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
