/*
 * filterd: one plugin in a process of its own, asked by smtpd and submitd.
 *
 *	MSG_FILTER_ASK --> call --> a worker thread runs the hook --> answer
 *	MSG_FILTER_OVER -> call --> end or close hook; what hung on it is let go
 *
 * The settings say by slot which plugin is this process's. It is loaded and started before
 * confinement, under the uid that the process keeps; the sandbox is the one that its block names.
 *
 * A call has a deadline, which its caller keeps too. A watchdog thread ends the process
 * when a hook runs for GRACE_MS beyond its own: what hangs cannot be stopped in any
 * other way, and the master starts a new process. The loop itself never runs plugin code.
 *
 * Of each connection that was asked about there is a struct held, in its caller's map, until the
 * caller says that it is over, or goes. While a hook runs for it no second one does: what comes
 * meanwhile (the caller has given a call up that is still at work, or does not wait for the end
 * hook) waits in the order in which it came.
 */
#include <errno.h>
#include <grp.h>
#include <malloc.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/mail/word.h"
#include "lib/proc/metrics.h"
#include "lib/proc/service.h"
#include "mta/plugin_file.h"
#include "mta/plugin_host.h"
#include "mta/workers.h"

#define CALLS_MAX 4096       /* waiting at a time */
#define GRACE_MS 2000
#define WATCH_MS 200
#define DEFAULT_MS 10000
#define THREADS_MAX 256
#define STATUS_HUNG 76

static struct metric waiting = METRIC_GAUGE("plugin_waiting", NULL,
    "Calls of plugins that were not answered yet");

static const char *const action_names[FILTER_ACTIONS] = {
	[FILTER_CONTINUE] = "continue", [FILTER_ACCEPT] = "accept", [FILTER_REJECT] = "reject",
	[FILTER_TEMPFAIL] = "tempfail", [FILTER_DISCARD] = "discard",
	[FILTER_QUARANTINE] = "quarantine",
};

/* One connection that the plugin was asked about. */
struct held {
	struct job release;      /* first; lets go what hangs on it where there is no memory for a call */
	struct plugin_data session, txn;
	uint64_t txn_number;     /* of the call that came last */
	bool busy;
	bool over;               /* to be let go when nothing runs for it any more */
	struct call *first, *last; /* that wait */
};

/* A process that asks. */
struct caller {
	struct map held;         /* by session number */
};

struct call {
	struct job job;
	struct ph_call ph;
	struct filter_ask ask;
	struct arena *arena;
	struct peer *peer;       /* NULL: nobody waits (a caller went, a timer) */
	uint64_t id;
	uint16_t type;
	struct held *held;       /* whose; let go after the call when it is over */
	uint64_t begun_us;
	void *mapped;
	bool new_txn;            /* what hangs on the one before goes first */
	bool drop_txn, drop_session;
	bool late;               /* its time had passed when its turn came */
	struct call *next;       /* that waits for the same connection */
};

static struct {
	struct service *service;
	struct plugin *plugin;
	const struct conf_plugin *conf;
	struct workers *workers;
	unsigned active;
	bool stopping;
	struct metric *calls[FILTER_HOOKS][FILTER_ACTIONS];
	struct metric *seconds[FILTER_HOOKS];
	struct timer timer;      /* of the timer hook */
	char data_dir[4096];     /* or empty */

	pthread_mutex_t lock;    /* of all below */
	uint64_t deadlines[THREADS_MAX + 1]; /* of hooks that run, clock_ms(); 0: none */
} filterd;

/* ---- the watchdog ---- */

static size_t
at_work(uint64_t deadline_ms)
{
	size_t i = 0;

	pthread_mutex_lock(&filterd.lock);
	while (i < THREADS_MAX && filterd.deadlines[i])
		i++;
	filterd.deadlines[i] = deadline_ms;
	pthread_mutex_unlock(&filterd.lock);
	return i;
}

static void
done_work(size_t place)
{
	pthread_mutex_lock(&filterd.lock);
	filterd.deadlines[place] = 0;
	pthread_mutex_unlock(&filterd.lock);
}

static bool
somebody_hangs(uint64_t now)
{
	bool hangs = false;

	pthread_mutex_lock(&filterd.lock);
	for (size_t i = 0; i < THREADS_MAX; i++)
		hangs = hangs || (filterd.deadlines[i] && now > filterd.deadlines[i] + GRACE_MS);
	pthread_mutex_unlock(&filterd.lock);
	return hangs;
}

static void *
watch_over(void *arg)
{
	(void)arg;
	for (;;) {
		usleep(WATCH_MS * 1000);
		if (!somebody_hangs(clock_ms()))
			continue;
		LOG_ERROR("plugin.hangs", L_STR("plugin", filterd.conf->name));
		log_flush();
		_exit(STATUS_HUNG);
	}
	return NULL;
}

static int
watchdog_start(struct err *e)
{
	pthread_t t;
	sigset_t all, old;
	int r;

	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&t, NULL, watch_over, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r ? err_sys(e, -r, "cannot start a thread") : 0;
}

/* ---- what the plugin says ---- */

static void
plugin_log(struct plugin *p, unsigned level, const char *text)
{
	enum log_level l = level > LOG_L_ERROR ? LOG_L_ERROR : (enum log_level)level;

	LOG_AT(l, "plugin.log", L_STR("plugin", p->conf->name), L_C("text", text));
}

static void
plugin_count(struct plugin *p, const char *name, uint64_t n)
{
	char label[200];
	struct metric *m;

	for (const char *c = name; *c; c++)
		if (!ascii_isalnum(*c) && *c != '_')
			return;
	snprintf(label, sizeof label, "plugin=\"%.*s\",event=\"%.64s\"",
	    STR_ARG(str_head(p->conf->name, 64)), name);
	m = metric_labelled(METRIC_K_COUNTER, "plugin_events_total", label,
	    "What plugins count by themselves");
	if (m)
		metric_add(m, n);
}

static void
tell_mistake(void *arg, const struct conf_error *e)
{
	(void)arg;
	LOG_ERROR("plugin.refused", L_STR("plugin", filterd.conf->name), L_STR("file", e->file),
	    L_U64("line", e->line), L_U64("col", e->col), L_STR("text", e->text));
}

/* ---- connections ---- */

static struct caller *
caller_of(struct peer *p)
{
	return chan_peer_user(p);
}

static struct held *
held_of(struct peer *p, uint64_t session, bool make)
{
	struct caller *c = caller_of(p);
	struct held *h = c ? map_get(&c->held, session) : NULL;

	if (h || !make || !c)
		return h;
	h = calloc(1, sizeof *h);
	if (h && map_set(&c->held, session, h)) {
		free(h);
		h = NULL;
	}
	return h;
}

/* ---- calls ---- */

static void
call_free(struct call *k)
{
	if (k->mapped)
		munmap(k->mapped, k->ph.message.n);
	if (k->peer)
		chan_peer_unref(&k->peer);
	arena_free(&k->arena);
}

/* Runs the hook, or finds that nobody waits for it any more. The end of something is told always. */
static void
call_work(struct job *j)
{
	struct call *k = (struct call *)j;
	struct plugin *p = filterd.plugin;
	bool ends = k->drop_txn || k->drop_session;
	size_t place;

	if (ends)
		k->ph.deadline_ms = clock_ms() + DEFAULT_MS;
	k->late = clock_ms() >= k->ph.deadline_ms;
	place = at_work(k->late ? clock_ms() : k->ph.deadline_ms);
	if (k->new_txn)
		plugin_data_drop(p, &k->held->txn);
	if (!k->late)
		plugin_call(&k->ph);
	if (ends)
		plugin_data_drop(p, &k->held->txn);
	if (k->drop_session)
		plugin_data_drop(p, &k->held->session);
	done_work(place);
}

static void
note_call(const struct call *k)
{
	enum filter_hook h = k->ask.hook;

	metric_add(filterd.calls[h][k->ph.answer.action], 1);
	metric_observe_us(filterd.seconds[h], clock_us() - k->begun_us);
}

/* The answer. A body that is too long for a frame goes as a memory file. */
static void
call_answer(struct call *k)
{
	struct filter_answer *r = &k->ph.answer;
	struct buf b = { .max = WIRE_MAX - WIRE_HEAD };
	int fd = -1;

	for (size_t i = 0; i < r->n_edits; i++) {
		struct str *v = &r->edits[i].value;

		if (r->edits[i].op != FILTER_BODY_SET || v->n <= WIRE_INLINE)
			continue;
		if (fd >= 0)
			close(fd);
		fd = memfd_create("body", MFD_CLOEXEC);
		if (fd >= 0 && write(fd, v->p, v->n) != (ssize_t)v->n) {
			close(fd);
			fd = -1;
		}
		*v = STR_NULL;
		r->edits[i].at = 1; /* as a descriptor */
	}
	filter_answer_put(&b, r);
	chan_answer(k->peer, k->id, k->type, &b, fd);
	buf_done(&b);
}

static void
refuse(struct peer *p, uint64_t id, uint16_t type, int code, const char *text)
{
	struct wire_error e = { .code = code, .text = str_c(text) };

	chan_answer_error(p, id, type, &e);
}

static void next_call(struct held *h);

static void
release_work(struct job *j)
{
	struct held *h = (struct held *)j;
	size_t place = at_work(clock_ms() + DEFAULT_MS);

	plugin_data_drop(filterd.plugin, &h->txn);
	plugin_data_drop(filterd.plugin, &h->session);
	done_work(place);
}

static void
release_done(struct job *j)
{
	filterd.active--;
	free((struct held *)j);
}

static void
call_done(struct job *j)
{
	struct call *k = (struct call *)j;
	struct held *h = k->held;

	filterd.active--;
	metric_set(&waiting, filterd.active);
	if (k->peer && k->late) {
		refuse(k->peer, k->id, k->type, -ETIMEDOUT, "its time has passed");
	} else if (k->peer) {
		if (plugin_has_hook(filterd.plugin, k->ask.hook))
			note_call(k);
		call_answer(k);
	}
	if (k->drop_session)
		free(h);
	else
		next_call(h);
	call_free(k);
}

/* The queue of jobs has no limit that these could reach: calls and connections have. */
static void
run(struct call *k)
{
	k->held->busy = true;
	workers_add(filterd.workers, &k->job, false);
}

static void
enqueue(struct call *k)
{
	struct held *h = k->held;

	if (!h->busy) {
		run(k);
		return;
	}
	if (h->last)
		h->last->next = k;
	else
		h->first = k;
	h->last = k;
}

/* The one before has ended. */
static void
next_call(struct held *h)
{
	struct call *k = h->first;

	h->busy = false;
	if (k) {
		h->first = k->next;
		if (!h->first)
			h->last = NULL;
		run(k);
	} else if (h->over) {
		h->busy = true;
		filterd.active++;
		h->release = (struct job){ .work = release_work, .done = release_done };
		workers_add(filterd.workers, &h->release, false);
	}
}

static struct call *
call_new(struct held *h)
{
	struct arena *a = arena_new(PLUGIN_CALL_MEMORY + sizeof(struct call));
	struct call *k = a ? ARENA_NEW(a, struct call) : NULL;

	if (!k) {
		arena_free(&a);
		return NULL;
	}
	k->arena = k->ph.arena = a;
	k->job.work = call_work;
	k->job.done = call_done;
	k->held = h;
	k->begun_us = clock_us();
	k->ph.plugin = filterd.plugin;
	k->ph.ask = &k->ask;
	k->ph.deadline_ms = clock_ms() + DEFAULT_MS;
	k->ph.session = h ? &h->session : NULL;
	filterd.active++;
	metric_set(&waiting, filterd.active);
	return k;
}

static void
call_drop(struct call *k)
{
	filterd.active--;
	metric_set(&waiting, filterd.active);
	call_free(k);
}

/* The content: inline, or the memory file that came. */
static int
take_content(struct call *k, int fd)
{
	struct stat st;
	void *p;

	k->ph.message = k->ask.content;
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > INT32_MAX)
		return -EINVAL;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	k->mapped = p;
	k->ph.message = str_from(p, (size_t)st.st_size);
	return 0;
}

/* A new transaction of the connection begins: what hung on the one before goes. */
static void
choose_txn(struct call *k)
{
	struct held *h = k->held;

	if (!k->ask.txn)
		return;
	k->new_txn = h->txn_number != k->ask.txn;
	h->txn_number = k->ask.txn;
	k->ph.txn = &h->txn;
}

/* 0, or a negative code with nothing begun. */
static int
begin(struct peer *p, struct frame *f, struct str body, struct call *k)
{
	int r = filter_ask_get(body, k->arena, &k->ask);

	if (!r)
		r = take_content(k, f->fd);
	if (r)
		return r;
	k->held = held_of(p, k->ask.session, true);
	if (!k->held)
		return -ENOMEM;
	k->ph.session = &k->held->session;
	choose_txn(k);
	if (k->ask.timeout_ms)
		k->ph.deadline_ms = clock_ms() + k->ask.timeout_ms;
	return 0;
}

static void
start(struct peer *p, const struct frame *f, struct call *k)
{
	k->peer = chan_peer_ref(p);
	k->id = f->id;
	k->type = f->type;
	enqueue(k);
}

/* A call for this frame, its body copied, since the hook runs after this turn of the loop. */
static struct call *
call_of(struct peer *p, struct frame *f)
{
	struct call *k = filterd.active < CALLS_MAX && !filterd.stopping ? call_new(NULL) : NULL;
	struct str body = k ? arena_dup(k->arena, f->body) : STR_NULL;
	int r = !k ? -EAGAIN : !body.p ? -ENOMEM : begin(p, f, body, k);

	if (f->fd >= 0)
		close(f->fd);
	if (!r)
		return k;
	refuse(p, f->id, f->type, r, "the call cannot be begun");
	if (k)
		call_drop(k);
	return NULL;
}

static void
on_ask(struct peer *p, struct frame *f)
{
	struct call *k = call_of(p, f);

	if (k)
		start(p, f, k);
}

/* k is the last call for this connection, which has left its caller's map. NULL, without memory:
 * what hangs on it is let go all the same. */
static void
let_go(struct held *h, struct call *k)
{
	if (!k) {
		h->over = true;
		if (!h->busy)
			next_call(h);
		return;
	}
	k->ask.hook = FILTER_CLOSE;
	k->drop_session = true;
	enqueue(k);
}

/* A call that tells what the frame says is over; NULL without memory. */
static struct call *
over_call(struct held *h, struct peer *p, const struct frame *f)
{
	struct call *k = call_new(h);
	struct str body = k ? arena_dup(k->arena, f->body) : STR_NULL;

	if (!k)
		return NULL;
	if (!body.p || filter_ask_get(body, k->arena, &k->ask)) {
		call_drop(k);
		return NULL;
	}
	k->ph.txn = k->ask.txn ? &h->txn : NULL;
	k->peer = chan_peer_ref(p);
	k->id = f->id;
	k->type = f->type;
	return k;
}

/* The session leaves the map at once; its data goes on a worker, with the plugin's own code. */
static void
on_over(struct peer *p, struct frame *f)
{
	struct filter_ask q = { 0 };
	struct arena *a = arena_new(1u << 20);
	struct held *h = NULL;
	struct call *k;

	if (a && !filter_ask_get(f->body, a, &q))
		h = held_of(p, q.session, false);
	arena_free(&a);
	if (f->fd >= 0)
		close(f->fd);
	k = h ? over_call(h, p, f) : NULL;
	if (!k)
		refuse(p, f->id, f->type, h ? -ENOMEM : -ENOENT, "nothing is held for it");
	if (h && q.hook == FILTER_CLOSE) {
		map_del(&caller_of(p)->held, q.session);
		let_go(h, k);
	} else if (k) {
		k->drop_txn = true;
		enqueue(k);
	}
}

static void
tell_hooks(struct peer *p)
{
	struct buf b = { 0 };

	wire_u64(&b, 1, plugin_hooks(filterd.plugin));
	chan_event(p, MSG_FILTER_EV_HOOKS, &b, -1);
	buf_done(&b);
}

static void
on_peer(struct service *s, struct peer *p, bool up)
{
	struct caller *c = up ? calloc(1, sizeof *c) : caller_of(p);
	struct held *h;
	size_t pos = 0;

	(void)s;
	if (up) {
		chan_peer_set_user(p, c);
		tell_hooks(p);
		return;
	}
	while (c && (h = map_next(&c->held, &pos, NULL)))
		let_go(h, call_new(h));
	if (c)
		map_done(&c->held);
	free(c);
	chan_peer_set_user(p, NULL);
}

/* ---- the timer hook ---- */

struct timer_job {
	struct job job;
	uint64_t again_ms;
	size_t place;
};

static void timer_due(void *arg);

static void
timer_work(struct job *j)
{
	struct timer_job *t = (struct timer_job *)j;
	struct plugin *p = filterd.plugin;
	bool locks = !(p->d.flags & PH_THREADSAFE);
	size_t place = at_work(clock_ms() + FILTER_TOTAL_MS);

	if (locks)
		pthread_mutex_lock(&p->lock);
	t->again_ms = p->d.timer(p->self, clock_real_us() / 1000);
	if (locks)
		pthread_mutex_unlock(&p->lock);
	done_work(place);
}

static void
timer_done(struct job *j)
{
	struct timer_job *t = (struct timer_job *)j;

	filterd.active--;
	if (t->again_ms && !filterd.stopping)
		loop_timer(service_loop(filterd.service), &filterd.timer,
		    t->again_ms < INT32_MAX ? t->again_ms : INT32_MAX, timer_due, NULL);
	free(t);
}

static void
timer_due(void *arg)
{
	struct timer_job *t = filterd.stopping ? NULL : calloc(1, sizeof *t);

	(void)arg;
	if (!t)
		return;
	filterd.active++;
	t->job.work = timer_work;
	t->job.done = timer_done;
	workers_add(filterd.workers, &t->job, false);
}

/* ---- the process ---- */

static void
make_metrics(void)
{
	char label[200];

	for (enum filter_hook h = FILTER_CONNECT; h < FILTER_HOOKS; h++) {
		if (!plugin_has_hook(filterd.plugin, h))
			continue;
		snprintf(label, sizeof label, "plugin=\"%.*s\",hook=\"%s\"",
		    STR_ARG(str_head(filterd.conf->name, 64)), filter_hook_name(h));
		filterd.seconds[h] = metric_labelled(METRIC_K_HISTOGRAM, "plugin_seconds", label,
		    "Time that plugins took to answer, by hook");
		for (enum filter_action a = 0; a < FILTER_ACTIONS; a++) {
			snprintf(label, sizeof label, "plugin=\"%.*s\",hook=\"%s\",result=\"%s\"",
			    STR_ARG(str_head(filterd.conf->name, 64)), filter_hook_name(h), action_names[a]);
			filterd.calls[h][a] = metric_labelled(METRIC_K_COUNTER, "plugin_calls_total", label,
			    "Calls of plugins by hook and answer");
		}
	}
}

static const struct conf_plugin *
own_block(const struct settings *c, unsigned instance)
{
	for (size_t i = 0; i < c->n_plugins; i++)
		if (c->plugins[i].slot == instance + 1)
			return &c->plugins[i];
	return NULL;
}

static bool
is_granted(const struct conf_plugin *c, uint32_t cap)
{
	for (size_t i = 0; i < c->n_grants; i++)
		if (plugin_cap(c->grants[i]) == cap)
			return true;
	return false;
}

/* The plugin's own folder, below the instance's: made while this is still root. */
static int
make_data_dir(const struct settings *c, const struct passwd *pw, struct err *e)
{
	char *path = filterd.data_dir;
	size_t n = sizeof filterd.data_dir;

	if (!is_granted(filterd.conf, PH_CAP_FILES))
		return 0;
	snprintf(path, n, "%.*s/plugins", STR_ARG(c->base_dir));
	if (mkdir(path, 0711) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "cannot make %s", path);
	snprintf(path, n, "%.*s/plugins/%.*s", STR_ARG(c->base_dir), STR_ARG(filterd.conf->name));
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "cannot make %s", path);
	if (pw && chown(path, pw->pw_uid, pw->pw_gid) < 0)
		return err_sys(e, -errno, "cannot give %s to %s", path, pw->pw_name);
	return 0;
}

/* For good: a plugin never runs as root. The parent's death is to be heard of after it too. */
static int
leave_root(const struct passwd *pw, struct err *e)
{
	int sig = 0;

	prctl(PR_GET_PDEATHSIG, &sig, 0, 0, 0);
	if (setgroups(0, NULL) || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid))
		return err_sys(e, -errno, "uid of %s", pw->pw_name);
	prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0);
	return 0;
}

static int
find_user(const struct settings *c, const struct passwd **ret, struct err *e)
{
	char name[64];

	*ret = NULL;
	if (getuid() || !c->user_prefix.n)
		return 0;
	snprintf(name, sizeof name, "%.*s-%s", STR_ARG(c->user_prefix), role_name(ROLE_FILTERD));
	*ret = getpwnam(name);
	return *ret ? 0 : err_set(e, -ENOENT, "no system user %s", name);
}

static void
limit_memory(uint64_t bytes)
{
#ifndef PH_SANITIZE
	struct rlimit r = { bytes, bytes };

	if (bytes)
		setrlimit(RLIMIT_DATA, &r);
#else
	(void)bytes;
#endif
}

static void
load_charsets(void)
{
	charset_preload();
}

static struct confine_spec confinement = { .kind = CONFINE_PURE, .max_fds = 4096,
	.preload = load_charsets };

static void
choose_sandbox(const struct plugin *p)
{
	static const enum confine_kind kinds[] = {
		[CONF_PLUGIN_STRICT] = CONFINE_PURE, [CONF_PLUGIN_NET] = CONFINE_PLUGIN_NET,
		[CONF_PLUGIN_NONE] = CONFINE_PLUGIN_NONE,
	};

	confinement.kind = kinds[p->conf->sandbox];
	if (!(p->granted & PH_CAP_FILES))
		return;
	if (confinement.kind == CONFINE_PURE)
		confinement.kind = CONFINE_STORE;
	confinement.paths[0] = (struct confine_path){ filterd.data_dir, true };
}

/* Loads the shared object, under the uid that the process keeps. */
static int
load(const struct settings *c, struct err *e)
{
	const struct passwd *pw;
	struct arena *a = arena_new(64u << 10);
	struct str path = a ? plugin_file(filterd.conf, a) : STR_NULL;
	int r = path.p ? find_user(c, &pw, e) : err_set(e, -ENOMEM, "out of memory");

	if (!r)
		r = make_data_dir(c, pw, e);
	if (!r && pw)
		r = leave_root(pw, e);
	if (!r) {
		limit_memory(filterd.conf->memory_limit);
		r = plugin_open(path.p, &filterd.plugin, e);
	}
	arena_free(&a);
	return r ? err_prefix(e, "plugin %.*s", STR_ARG(filterd.conf->name)) : 0;
}

static int
judge(const struct settings *c, struct err *e)
{
	struct plugin *p = filterd.plugin;
	unsigned wrong;

	p->log = plugin_log;
	p->count = plugin_count;
	p->hostname = c->hostname;
	p->data_dir = str_c(filterd.data_dir);
	wrong = plugin_configure(p, filterd.conf, tell_mistake, NULL);
	if (wrong || plugin_start(p, tell_mistake, NULL))
		return err_set(e, -EINVAL, "plugin %.*s: its block is refused", STR_ARG(filterd.conf->name));
	return 0;
}

static int
filterd_init(struct service *s, struct err *e)
{
	const struct settings *c = service_settings(s);
	int r;

	filterd.service = s;
	mallopt(M_ARENA_MAX, 1); /* one that shrinks reads a file, which the sandbox has not */
	pthread_mutex_init(&filterd.lock, NULL);
	filterd.conf = own_block(c, service_instance(s));
	if (!filterd.conf)
		return err_set(e, -ENOENT, "there is no plugin for this process");
	r = load(c, e);
	if (!r)
		r = judge(c, e);
	if (r)
		return r;
	choose_sandbox(filterd.plugin);
	make_metrics();
	LOG_INFO("plugin.loaded", L_STR("plugin", filterd.conf->name), L_C("name", filterd.plugin->d.name),
	    L_C("version", filterd.plugin->d.version));
	return 0;
}

static int
filterd_start(struct service *s, struct err *e)
{
	unsigned threads = filterd.conf->threads < THREADS_MAX ? filterd.conf->threads : THREADS_MAX;
	int r = watchdog_start(e);

	if (r)
		return r;
	filterd.workers = workers_new(service_loop(s), threads, SIZE_MAX, e);
	if (!filterd.workers)
		return e->code;
	if (filterd.plugin->d.timer)
		timer_due(NULL);
	return 0;
}

/* Nobody is in the plugin any more, unless it took too long. */
static void
end_plugin(void)
{
	if (filterd.active)
		return;
	at_work(clock_ms());
	plugin_close(&filterd.plugin);
}

/* What was begun gets its answer, then the plugin may tidy up. */
static void
filterd_stop(struct service *s)
{
	filterd.stopping = true;
	service_finish(s, &filterd.active, end_plugin);
}

int
main(int argc, char **argv)
{
	static const struct msg_handler handlers[] = {
		{ MSG_FILTER_ASK, "ask", on_ask, 0 },
		{ MSG_FILTER_OVER, "over", on_over, 0 },
	};
	static const struct service_spec spec = {
		.role = ROLE_FILTERD,
		.handlers = handlers,
		.n_handlers = sizeof handlers / sizeof *handlers,
		.init = filterd_init,
		.start = filterd_start,
		.peer = on_peer,
		.stop = filterd_stop,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
