/*
 * Asking the plugins, one after the other; see filter.h. What this process knows of a
 * plugin's own process is kept by slot: which hooks it has (told by an event each time it
 * starts; until then it is asked about all) and the state of the circuit breaker.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/filter.h"
#include "lib/proc/metrics.h"

#define SESSION_ARENA (512u << 10)
#define NOTES_STEP 8

static struct slot {
	bool hooks_known;
	uint32_t hooks;          /* bits by enum filter_hook */
	unsigned failures;       /* in a row */
	uint64_t open_until_ms;  /* of the breaker; 0: closed */
	uint64_t break_ms;
} slots[CONF_PLUGINS_MAX + 1];

static uint64_t numbers;
static bool listening;

static const char *const hook_names[FILTER_HOOKS] = {
	[FILTER_CONNECT] = "connect", [FILTER_HELO] = "helo", [FILTER_AUTH] = "auth",
	[FILTER_MAIL] = "mail", [FILTER_RCPT] = "rcpt", [FILTER_DATA] = "data",
	[FILTER_MESSAGE] = "message", [FILTER_END] = "end", [FILTER_CLOSE] = "close",
};

const char *
filter_hook_name(enum filter_hook h)
{
	return h < FILTER_HOOKS && hook_names[h] ? hook_names[h] : "unknown";
}

/* ---- what the processes say of themselves ---- */

static struct slot *
slot_of_chan(const struct chan *c)
{
	for (unsigned i = 0; i < chan_instances(ROLE_FILTERD) && i < CONF_PLUGINS_MAX; i++)
		if (chan_to(ROLE_FILTERD, i) == c)
			return &slots[i + 1];
	return NULL;
}

static void
on_hooks(void *arg, struct chan *c, const struct frame *f)
{
	struct slot *s = slot_of_chan(c);
	struct str body = f->body;
	struct wire_field v;

	(void)arg;
	while (s && wire_next(&body, &v) > 0)
		if (v.tag == 1) {
			s->hooks = (uint32_t)wire_int(&v);
			s->hooks_known = true;
		}
}

static void
on_state(void *arg, struct chan *c, bool up)
{
	struct slot *s = slot_of_chan(c);

	(void)arg;
	if (s && !up)
		s->hooks_known = false;
}

static void
listen_to_them(void)
{
	if (listening)
		return;
	listening = true;
	chan_on_event(ROLE_FILTERD, MSG_FILTER_EV_HOOKS, on_hooks, NULL);
	chan_on_state(ROLE_FILTERD, on_state, NULL);
}

void
filter_init(void)
{
	listen_to_them();
}

/* ---- which plugins ---- */

static const struct conf_plugin *
plugin_find(const struct settings *c, struct str name)
{
	for (size_t i = 0; i < c->n_plugins; i++)
		if (str_ieq(c->plugins[i].name, name))
			return &c->plugins[i];
	return NULL;
}

static bool
usable(const struct conf_plugin *p, const struct filter_session *s)
{
	return p && p->slot && p->slot <= CONF_PLUGINS_MAX &&
	    (p->local || !(s->flags & FILTER_F_LOCAL));
}

size_t
filter_plugins(const struct settings *c, const struct filter_session *s,
    const struct conf_plugin *ret[static CONF_PLUGINS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_plugins && n < CONF_PLUGINS_MAX; i++) {
		const struct conf_plugin *p = plugin_find(c, s->plugins[i]);

		if (usable(p, s))
			ret[n++] = p;
	}
	for (size_t i = 0; !s->n_plugins && i < c->n_plugins && n < CONF_PLUGINS_MAX; i++)
		if (usable(&c->plugins[i], s))
			ret[n++] = &c->plugins[i];
	return n;
}

bool
filter_wanted(const struct settings *c, const struct filter_session *s)
{
	const struct conf_plugin *v[CONF_PLUGINS_MAX];

	return c->n_plugins && filter_plugins(c, s, v);
}

static uint64_t
bit(const struct conf_plugin *p)
{
	return UINT64_C(1) << p->slot;
}

bool
filter_asks(const struct conf_plugin *p, const struct filter_session *s,
    const struct filter_txn *t, enum filter_hook hook)
{
	const struct slot *k = &slots[p->slot];

	if ((s->passed & bit(p)) || (t && t->passed & bit(p)))
		return false;
	return !k->hooks_known || k->hooks & 1u << hook;
}

/* ---- the circuit breaker ---- */

/* Whether the plugin may be asked now. */
static bool
breaker_lets(struct slot *k)
{
	return !k->open_until_ms || clock_ms() >= k->open_until_ms;
}

static void
count_failure(const struct conf_plugin *p, const char *why)
{
	struct metric *m;
	char label[160];

	snprintf(label, sizeof label, "plugin=\"%.*s\",why=\"%s\"", STR_ARG(str_head(p->name, 64)), why);
	m = metric_labelled(METRIC_K_COUNTER, "plugin_failures_total", label,
	    "Calls of plugins that got no answer, by why");
	if (m)
		metric_add(m, 1);
}

static void
failed(const struct conf_plugin *p, struct slot *k, enum filter_hook hook, const char *why)
{
	bool trying = k->open_until_ms != 0;

	count_failure(p, why);
	LOG_WARN("filter.failed", L_STR("plugin", p->name), L_C("hook", filter_hook_name(hook)),
	    L_C("why", why));
	if (++k->failures < FILTER_BREAK_AFTER && !trying)
		return;
	k->break_ms = !trying ? FILTER_BREAK_MS : k->break_ms * 2 < FILTER_BREAK_MAX_MS ?
	    k->break_ms * 2 : FILTER_BREAK_MAX_MS;
	k->open_until_ms = clock_ms() + k->break_ms;
	LOG_ERROR("filter.breaker_open", L_STR("plugin", p->name), L_U64("failures", k->failures),
	    L_U64("ms", k->break_ms));
}

static void
answered(const struct conf_plugin *p, struct slot *k)
{
	if (k->open_until_ms)
		LOG_INFO("filter.breaker_closed", L_STR("plugin", p->name));
	k->failures = 0;
	k->open_until_ms = k->break_ms = 0;
}

static void
answer_for_it(const struct conf_plugin *p, struct filter_answer *ret)
{
	*ret = (struct filter_answer){ .action = FILTER_CONTINUE };
	if (p->on_error == CONF_PLUGIN_ACCEPT)
		return;
	ret->action = p->on_error == CONF_PLUGIN_REJECT ? FILTER_REJECT : FILTER_TEMPFAIL;
	ret->smtp = ret->action == FILTER_REJECT ? 554 : 451;
	ret->enhanced = ret->action == FILTER_REJECT ? STR("5.3.0") : STR("4.3.0");
	ret->text = ret->action == FILTER_REJECT ? STR("A filter gave no answer") :
	    STR("A filter gave no answer, try later");
}

/* ---- notes ---- */

static int
note_set(struct filter_notes *n, struct arena *a, const struct filter_note *note)
{
	struct filter_note *v = n->v, copy = { arena_dup(a, note->key), arena_dup(a, note->value) };

	if (!copy.key.p)
		return -ENOMEM;
	for (size_t i = 0; i < n->n; i++)
		if (str_eq(v[i].key, copy.key)) {
			v[i].value = copy.value;
			return 0;
		}
	if (n->n == FILTER_NOTES_MAX)
		return -ENOSPC;
	if (n->n % NOTES_STEP == 0) {
		v = ARENA_ARRAY(a, struct filter_note, n->n + NOTES_STEP);
		if (!v)
			return -ENOMEM;
		if (n->n)
			memcpy(v, n->v, n->n * sizeof *v);
		n->v = v;
	}
	n->v[n->n++] = copy;
	return 0;
}

/* Of the transaction where there is one. */
static void
keep_notes(struct filter_session *s, struct filter_txn *t, const struct filter_answer *r)
{
	if (r->n_notes && !t && !s->arena)
		s->arena = arena_new(SESSION_ARENA);
	for (size_t i = 0; i < r->n_notes; i++)
		if (t)
			note_set(&t->notes, t->arena, &r->notes[i]);
		else if (s->arena)
			note_set(&s->notes, s->arena, &r->notes[i]);
}

/* ---- asking ---- */

static void
add_rcpts(const struct envelope *e, struct arena *a, struct filter_ask *q)
{
	q->rcpts = ARENA_ARRAY(a, struct filter_rcpt, e->n_rcpts + 1);
	for (size_t i = 0; q->rcpts && i < e->n_rcpts; i++)
		q->rcpts[q->n_rcpts++] = (struct filter_rcpt){ e->rcpts[i].address,
			e->rcpts[i].original.n ? e->rcpts[i].original : e->rcpts[i].address };
}

static void
add_notes(const struct filter_notes *n, struct filter_ask *q)
{
	if (n->n)
		memcpy(q->notes + q->n_notes, n->v, n->n * sizeof *n->v);
	q->n_notes += n->n;
}

void
filter_ask_init(const struct filter_session *s, const struct filter_txn *t,
    enum filter_hook hook, struct arena *a, struct filter_ask *ret)
{
	*ret = (struct filter_ask){ .hook = hook, .session = s->number, .flags = s->flags,
		.client_ip = s->client_ip, .client_name = s->client_name, .helo = s->helo,
		.user = s->user, .listener = s->listener, .tls = s->tls, .session_id = s->id };
	ret->notes = ARENA_ARRAY(a, struct filter_note, s->notes.n + (t ? t->notes.n : 0) + 1);
	if (ret->notes)
		add_notes(&s->notes, ret);
	if (!t)
		return;
	if (ret->notes)
		add_notes(&t->notes, ret);
	ret->txn = t->number;
	ret->trace = t->env->trace;
	ret->sender = t->env->sender;
	ret->envid = t->env->envid;
	ret->size = t->env->size;
	if (t->env->flags & ENV_SMTPUTF8)
		ret->flags |= FILTER_F_SMTPUTF8;
	if (t->env->flags & ENV_REQUIRETLS)
		ret->flags |= FILTER_F_REQUIRETLS;
	if (t->env->body)
		ret->flags |= FILTER_F_8BIT;
	add_rcpts(t->env, a, ret);
}

/* What is left of the time for a message; 0: nothing. */
static uint64_t
time_for(const struct conf_plugin *p, const struct filter_txn *t)
{
	uint64_t left = t && t->used_ms >= FILTER_TOTAL_MS ? 0 :
	    FILTER_TOTAL_MS - (t ? t->used_ms : 0);

	return p->timeout_ms < left ? p->timeout_ms : left;
}

static int
call(const struct conf_plugin *p, struct filter_ask *q, int fd, struct arena *a,
    struct filter_answer *ret, int *ret_body)
{
	struct chan *c = chan_to(ROLE_FILTERD, p->slot - 1);
	struct frame f = { .fd = -1 };
	struct buf b = { .max = WIRE_MAX - WIRE_HEAD };
	struct iovec iov;
	int r;

	filter_ask_put(&b, q);
	iov = (struct iovec){ b.p, b.n };
	r = b.over ? -EMSGSIZE : chan_call(c, MSG_FILTER_ASK, &iov, 1, fd, q->timeout_ms, a, &f, NULL);
	buf_done(&b);
	if (r == 0)
		r = filter_answer_get(f.body, a, ret);
	if (r == 0 && ret_body)
		*ret_body = f.fd;
	else if (f.fd >= 0)
		close(f.fd);
	return r;
}

static const char *
why(int code)
{
	return code == -ETIMEDOUT ? "timeout" : code == -EPIPE ? "crash" : code == -ENOTCONN ?
	    "down" : code == -EAGAIN ? "busy" : "error";
}

void
filter_ask_one(const struct conf_plugin *p, struct filter_session *s, struct filter_txn *t,
    struct filter_ask *q, int fd, struct arena *a, struct filter_answer *ret, int *ret_body)
{
	struct slot *k = &slots[p->slot];
	uint64_t start = clock_ms();
	int r;

	if (ret_body)
		*ret_body = -1;
	q->timeout_ms = time_for(p, t);
	if (!q->timeout_ms || !breaker_lets(k)) {
		count_failure(p, q->timeout_ms ? "breaker" : "no time left");
		answer_for_it(p, ret);
		return;
	}
	s->asked |= bit(p);
	if (t)
		t->asked |= bit(p);
	r = call(p, q, fd, a, ret, ret_body);
	if (t)
		t->used_ms += clock_ms() - start;
	if (r) {
		failed(p, k, q->hook, why(r));
		answer_for_it(p, ret);
		return;
	}
	answered(p, k);
	keep_notes(s, t, ret);
	if (ret->action == FILTER_ACCEPT && q->hook <= FILTER_AUTH)
		s->passed |= bit(p);
	else if (ret->action == FILTER_ACCEPT && q->hook != FILTER_RCPT && t)
		t->passed |= bit(p);
}

static unsigned
code_of(const struct filter_answer *r, unsigned class, unsigned usual)
{
	return r->smtp / 100 == class && r->smtp % 100 < 60 ? r->smtp : usual;
}

/* "4.7.1": of the class that the code has. */
static bool
enhanced_fits(struct str e, unsigned class)
{
	return e.n >= 5 && e.n <= 9 && e.p[0] == (char)('0' + class) && e.p[1] == '.';
}

struct filter_verdict
filter_verdict_of(const struct conf_plugin *p, const struct filter_answer *r, struct arena *a)
{
	struct filter_verdict v = { .action = r->action, .plugin = p->name, .enhanced = "",
		.text = "" };
	unsigned class = r->action == FILTER_TEMPFAIL ? 4 : r->action == FILTER_REJECT ? 5 : 2;
	char *text = r->text.n ? arena_cstr(a, str_head(r->text, 400)) : NULL;

	v.text = text ? text : class == 4 ? "Refused by a filter, try later" :
	    class == 5 ? "Refused by a filter" : "";
	if (class == 2)
		return v;
	v.smtp = code_of(r, class, class == 4 ? 451 : 550);
	v.enhanced = enhanced_fits(r->enhanced, class) ? arena_cstr(a, r->enhanced) : NULL;
	if (!v.enhanced)
		v.enhanced = class == 4 ? "4.7.1" : "5.7.1";
	return v;
}

static void
number_them(struct filter_session *s, struct filter_txn *t)
{
	if (!s->number)
		s->number = ++numbers;
	if (t && !t->number)
		t->number = ++numbers;
}

void
filter_begin(struct filter_session *s, struct filter_txn *t)
{
	number_them(s, t);
}

void
filter_ask_all(const struct settings *c, struct filter_session *s, struct filter_txn *t,
    enum filter_hook hook, struct arena *a, struct filter_verdict *ret)
{
	const struct conf_plugin *v[CONF_PLUGINS_MAX];
	size_t n = c->n_plugins ? filter_plugins(c, s, v) : 0;
	struct filter_answer answer;
	struct filter_ask q;

	*ret = (struct filter_verdict){ .action = FILTER_CONTINUE };
	number_them(s, t);
	for (size_t i = 0; i < n; i++) {
		if (!filter_asks(v[i], s, t, hook))
			continue;
		filter_ask_init(s, t, hook, a, &q);
		filter_ask_one(v[i], s, t, &q, -1, a, &answer, NULL);
		if (answer.action == FILTER_CONTINUE || answer.action == FILTER_ACCEPT)
			continue;
		if (answer.action != FILTER_TEMPFAIL)
			answer.action = FILTER_REJECT;
		*ret = filter_verdict_of(v[i], &answer, a);
		return;
	}
}

/* ---- the end ---- */

static void
nobody_waits(void *arg, int code, const struct frame *f)
{
	(void)arg;
	(void)code;
	(void)f;
}

static void
tell(uint64_t asked, const struct filter_ask *q)
{
	struct buf b = { .max = WIRE_MAX - WIRE_HEAD };

	filter_ask_put(&b, q);
	for (unsigned slot = 1; slot <= CONF_PLUGINS_MAX; slot++) {
		struct chan *c = asked & UINT64_C(1) << slot ? chan_to(ROLE_FILTERD, slot - 1) : NULL;

		if (c && chan_alive(c))
			chan_send(c, MSG_FILTER_OVER, &b, -1, FILTER_TOTAL_MS, nobody_waits, NULL);
	}
	buf_done(&b);
}

void
filter_txn_over(struct filter_session *s, struct filter_txn *t, unsigned outcome,
    uint64_t spool_id)
{
	struct filter_ask q;

	if (!t->asked)
		return;
	filter_ask_init(s, t, FILTER_END, t->arena, &q);
	q.outcome = outcome;
	q.spool_id = spool_id;
	tell(t->asked, &q);
	t->asked = 0;
}

void
filter_session_over(struct filter_session *s)
{
	struct filter_ask q = { .hook = FILTER_CLOSE, .session = s->number, .flags = s->flags,
		.client_ip = s->client_ip, .helo = s->helo, .user = s->user, .listener = s->listener,
		.session_id = s->id };

	if (s->asked)
		tell(s->asked, &q);
	s->asked = 0;
	arena_free(&s->arena);
	s->notes = (struct filter_notes){ 0 };
}
