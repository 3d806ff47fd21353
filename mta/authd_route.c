/*
 * authd's router: the question, the tables that it stands on, and the key of return
 * paths. Files of tables are looked at every second; when one changed, every caller
 * forgets what it remembers.
 *
 * What tabled must be asked parks the question: it is routed anew, from the start, each
 * time all that was asked has been answered, until nothing is left to ask. So many members
 * of a list are looked up side by side, and routing itself never waits.
 *
 *	resolve -> route -> known: answer
 *	             ^  \-> not known: ask tabled for all of it, park
 *	             +---------------- answers
 *
 * The key is directory/srs.key, 32 random bytes made at the first start: return paths
 * that were sent out must be read after a restart.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/table.h"
#include "lib/proc/metrics.h"
#include "mta/authd.h"
#include "mta/rewrite.h"

#define LOOK_MS 1000
#define ARENA_BYTES (8u << 20)
#define ASK_AT_ONCE 256    /* questions to tabled for one address */
#define PARKED_MAX 4096    /* addresses that wait for tabled */
#define DAY_MS (24ull * 3600 * 1000)

static struct metric resolved = METRIC_COUNTER("auth_resolves_total", NULL, "Addresses looked up");
static struct metric lookups = METRIC_COUNTER("route_lookups_total", NULL, "Questions to tables");
static struct metric failures = METRIC_COUNTER("route_failures_total", NULL,
    "Addresses that could not be routed now, since a table or the directory gave no answer");
static struct metric loops = METRIC_COUNTER("route_loops_total", NULL,
    "Addresses that led back to themselves or over too many aliases");
static struct metric waiting = METRIC_GAUGE("route_waiting", NULL,
    "Addresses that wait for an answer of tabled");
static struct metric rewritten = METRIC_COUNTER("route_rewrites_total", NULL,
    "Addresses that became others by canonical, generic or masquerading, or got copies");
static struct metric bad_tables = METRIC_COUNTER("route_table_errors_total", NULL,
    "Tables that could not be read, or had mistakes");

static struct {
	unsigned parked;
	struct router router;
	struct arena *arena;   /* of one answer */
	struct timer timer;
} state;

static void
note_table(void *arg, const struct table_note *n)
{
	if (n->failed) {
		metric_add(&bad_tables, 1);
		LOG_ERROR("routing.table", L_STR("table", n->name), L_C("text", n->text));
	} else if (n->path.n) {
		LOG_INFO("routing.table_read", L_STR("table", n->name), L_STR("file", n->path),
		    L_U64("entries", n->entries));
	}
}

/* ---- the question ---- */

static void
answer(struct peer *p, struct frame *f, const struct resolve_answer *ans)
{
	struct buf b = { .max = WIRE_MAX - WIRE_HEAD };

	resolve_answer_put(&b, ans);
	if (b.over)
		authd_answer_failed(p, f, -E2BIG, "the answer is too large");
	else
		chan_answer(p, f->id, f->type, &b, -1);
	buf_done(&b);
}

/* One try. 0 and *ans (in the arena of answers), or negative. */
static int
route_once(const struct resolve_request *q, struct table_answers *told, struct resolve_answer *ans)
{
	struct router *r = &state.router;
	int code;

	r->why.text[0] = '\0';
	r->lookups = 0;
	r->loop = false;
	r->day = clock_real_us() / 1000 / DAY_MS;
	tables_use(r->tables, told);
	code = route_resolve(r, q, state.arena, ans);
	tables_use(r->tables, NULL);
	metric_add(&lookups, r->lookups);
	return code;
}

static void
finish(struct peer *p, struct frame *f, const struct resolve_request *q, int code,
    const struct resolve_answer *ans)
{
	if (state.router.loop) {
		metric_add(&loops, 1);
		LOG_WARN("routing.loop", L_STR("address", str_head(q->address, 256)));
	}
	if (code) {
		metric_add(&failures, 1);
		authd_answer_failed(p, f, code == -ENOENT ? -EIO : code, state.router.why.text);
	} else {
		answer(p, f, ans);
	}
	arena_reset(state.arena);
}

/* ---- what waits for tabled ---- */

struct parked {
	struct peer *peer;
	struct frame frame;          /* its body is ours */
	struct table_answers *told;
	unsigned asking;
	bool sending;                /* answers that come at once do not go on yet */
};

struct asked {
	struct parked *of;
	size_t number;
	uint64_t timeout_ms;
	struct table_question q;
};

static void go_on(struct parked *k);

static void
parked_free(struct parked *k)
{
	metric_set(&waiting, --state.parked);
	table_answers_free(&k->told);
	chan_peer_unref(&k->peer);
	free((void *)(uintptr_t)k->frame.body.p);
	free(k);
}

/* All values as one, by commas, as they stand in files. */
static int
join_values(struct str body, struct arena *a, struct str *ret)
{
	struct buf b = { .max = TABLE_VALUE_MAX };
	struct table_answer v;
	int r = table_answer_get(body, a, &v);

	for (size_t i = 0; !r && i < v.n; i++) {
		if (i)
			buf_putc(&b, ',');
		buf_str(&b, v.values[i]);
	}
	if (!r && b.over)
		r = -EMSGSIZE;
	if (!r)
		*ret = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return r ? r : v.n > 0;
}

static void
told(void *arg, int code, const struct frame *f)
{
	struct asked *d = arg;
	struct parked *k = d->of;
	struct arena *a = arena_new(0);
	struct str value = STR_NULL;

	if (!a)
		code = -ENOMEM;
	if (!code)
		code = join_values(f->body, a, &value);
	if (code >= 0)
		tables_remember(state.router.tables, d->q.table, d->q.key, code, value);
	table_answers_put(k->told, d->number, code, value);
	arena_free(&a);
	free(d);
	if (--k->asking == 0 && !k->sending)
		go_on(k);
}

static uint64_t
timeout_of(struct str table)
{
	const struct settings *st = state.router.settings;

	for (size_t i = 0; i < st->n_tables; i++)
		if (str_ieq(st->tables[i].name, table))
			return st->tables[i].timeout_ms + 1000;
	return 1000;
}

static void
ask_one(struct parked *k, const struct asked *what)
{
	struct asked *d = malloc(sizeof *d);
	struct buf b = { .max = WIRE_MAX - WIRE_HEAD };
	int r = d ? 0 : -ENOMEM;

	if (d)
		*d = *what;
	table_question_put(&b, &what->q);
	k->asking++;
	if (!r)
		r = chan_send(chan_to(ROLE_TABLED, 0), MSG_TABLE_FIND, &b, -1, timeout_of(what->q.table),
		    told, d);
	buf_done(&b);
	if (r) {
		table_answers_put(k->told, what->number, r, STR_NULL);
		k->asking--;
		free(d);
	}
}

/* Asks what is not known yet, and says whether there was anything. */
static bool
ask_all(struct parked *k)
{
	struct asked d = { .of = k };
	unsigned n = 0;

	k->sending = true;
	while (n < ASK_AT_ONCE && table_answers_next(k->told, &d.number, &d.q.table, &d.q.key)) {
		ask_one(k, &d);
		n++;
	}
	k->sending = false;
	return n > 0;
}

/* Routes with what is known by now, as often as that leads on without waiting. */
static void
go_on(struct parked *k)
{
	struct resolve_request q;
	struct resolve_answer ans = { 0 };
	int code = resolve_request_get(k->frame.body, &q);

	while (!code && (code = route_once(&q, k->told, &ans)) == -EINPROGRESS) {
		arena_reset(state.arena);
		if (!ask_all(k)) {
			code = -EIO; /* it wants what was asked already */
		} else if (k->asking) {
			return;
		} else {
			code = 0;
		}
	}
	finish(k->peer, &k->frame, &q, code, &ans);
	parked_free(k);
}

/* -EAGAIN, -ENOMEM; else told is the parked question's. */
static int
park(struct peer *p, const struct frame *f, struct table_answers *answers)
{
	struct parked *k = state.parked < PARKED_MAX ? calloc(1, sizeof *k) : NULL;
	char *body = k ? malloc(f->body.n) : NULL;

	if (!body) {
		free(k);
		return k ? -ENOMEM : -EAGAIN;
	}
	memcpy(body, f->body.p, f->body.n);
	k->frame = *f;
	k->frame.body = str_from(body, f->body.n);
	k->peer = chan_peer_ref(p);
	k->told = answers;
	state.parked++;
	metric_set(&waiting, state.parked);
	go_on(k);
	return 0;
}

void
authd_resolve(struct peer *p, struct frame *f)
{
	struct table_answers *answers = NULL;
	struct resolve_request q;
	struct resolve_answer ans;
	int code = resolve_request_get(f->body, &q);

	metric_add(&resolved, 1);
	state.router.loop = false;
	if (!code && conf_wants_tabled(state.router.settings) && !(answers = table_answers_new()))
		code = -ENOMEM;
	if (!code)
		code = route_once(&q, answers, &ans);
	if (code == -EINPROGRESS) {
		arena_reset(state.arena);
		code = park(p, f, answers);
		if (!code)
			return;
	}
	finish(p, f, &q, code, &ans);
	table_answers_free(&answers);
}

static int
rewrite_all(struct router *r, const struct rewrite_ask *v, size_t n, struct str *ret)
{
	for (size_t i = 0; i < n; i++) {
		int code = rewrite_address(r, &v[i], state.arena, &ret[i]);

		if (code < 0)
			return code;
		if (!code)
			ret[i] = STR_NULL;
		metric_add(&rewritten, code);
	}
	return 0;
}

void
authd_rewrite(struct peer *p, struct frame *f)
{
	static struct rewrite_ask asks[REWRITE_ASKS_MAX];
	static struct str texts[REWRITE_ASKS_MAX];
	struct router *r = &state.router;
	struct buf b = { .max = WIRE_MAX - WIRE_HEAD };
	size_t n;
	int code = rewrite_request_get(f->body, asks, &n);

	r->why.text[0] = '\0';
	r->lookups = 0;
	tables_use(r->tables, NULL);
	if (!code)
		code = rewrite_all(r, asks, n, texts);
	metric_add(&lookups, r->lookups);
	if (!code) {
		rewrite_answer_put(&b, texts, n);
		code = b.over ? -E2BIG : 0;
	}
	if (code) {
		metric_add(&failures, 1);
		authd_answer_failed(p, f, code == -ENOENT ? -EIO : code, r->why.text);
	} else {
		chan_answer(p, f->id, f->type, &b, -1);
	}
	buf_done(&b);
	arena_reset(state.arena);
}

/* ---- the tables ---- */

static void
look_after(void *arg)
{
	struct auth_changed all = { .enabled = true };

	if (state.router.tables && tables_refresh(state.router.tables, note_table, NULL))
		authd_tell(&all);
	loop_timer(service_loop(authd.service), &state.timer, LOOK_MS, look_after, NULL);
}

static int
load(const struct settings *st)
{
	struct tables *t;
	int r = tables_open(st, note_table, NULL, &t);

	if (r)
		return r;
	tables_close(&state.router.tables);
	state.router.tables = t;
	state.router.settings = st;
	state.router.directory = authd.questions;
	return 0;
}

static bool
listed(const struct confine_path *paths, const char *dir)
{
	for (; paths->path; paths++)
		if (!strcmp(paths->path, dir))
			return true;
	return false;
}

void
authd_route_paths(const struct settings *st, struct confine_path *paths, size_t n)
{
	size_t used = 0;

	for (size_t i = 0; i < st->n_tables && used + 1 < n; i++) {
		struct str path = st->tables[i].path;
		ptrdiff_t slash = str_rchr(path, '/');
		char *dir = slash < 0 ? NULL : strndup(path.p, slash ? (size_t)slash : 1);

		if (!dir || access(dir, R_OK | X_OK) || listed(paths, dir)) {
			free(dir);
			continue;
		}
		paths[used++] = (struct confine_path){ dir, false }; /* kept as long as the process */
	}
}

static int
read_key(const char *dir, struct err *e)
{
	unsigned char *key = state.router.srs_key;
	char path[4096];
	ssize_t n;
	int fd;

	if (snprintf(path, sizeof path, "%s/srs.key", dir) >= (int)sizeof path)
		return err_set(e, -ENAMETOOLONG, "%s", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	n = read(fd, key, SRS_KEY_BYTES);
	if (n != SRS_KEY_BYTES && RAND_bytes(key, SRS_KEY_BYTES) == 1 && !lseek(fd, 0, SEEK_SET))
		n = write(fd, key, SRS_KEY_BYTES) == SRS_KEY_BYTES && !fsync(fd) ? SRS_KEY_BYTES : -1;
	close(fd);
	return n == SRS_KEY_BYTES ? 0 : err_set(e, -EIO, "%s cannot be read or made", path);
}

int
authd_route_init(const char *dir, const struct settings *st, struct err *e)
{
	int r = read_key(dir, e);

	if (r)
		return r;
	state.arena = arena_new(ARENA_BYTES);
	return state.arena && !load(st) ? 0 : err_set(e, -ENOMEM, "no memory");
}

void
authd_route_start(void)
{
	loop_timer(service_loop(authd.service), &state.timer, LOOK_MS, look_after, NULL);
}

void
authd_route_config(const struct settings *st)
{
	if (load(st))
		LOG_ERROR("routing.table", L_C("text", "no memory: the old tables stay"));
}

void
authd_route_stop(void)
{
	loop_timer_clear(service_loop(authd.service), &state.timer);
	tables_close(&state.router.tables);
	arena_free(&state.arena);
}
