/*
 * authd's router: the question, the tables that it stands on, and the key of return
 * paths. Files of tables are looked at every second; when one changed, every caller
 * forgets what it remembers.
 *
 * The key is directory/srs.key, 32 random bytes made at the first start: return paths
 * that were sent out must be read after a restart.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proc/metrics.h"
#include "mta/authd.h"
#include "mta/route.h"

#define LOOK_MS 1000
#define ARENA_BYTES (8u << 20)
#define DAY_MS (24ull * 3600 * 1000)

static struct metric resolved = METRIC_COUNTER("auth_resolves_total", NULL, "Addresses looked up");
static struct metric lookups = METRIC_COUNTER("route_lookups_total", NULL, "Questions to tables");
static struct metric failures = METRIC_COUNTER("route_failures_total", NULL,
    "Addresses that could not be routed now, since a table or the directory gave no answer");
static struct metric loops = METRIC_COUNTER("route_loops_total", NULL,
    "Addresses that led back to themselves or over too many aliases");
static struct metric bad_tables = METRIC_COUNTER("route_table_errors_total", NULL,
    "Tables that could not be read, or had mistakes");

static struct {
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

void
authd_resolve(struct peer *p, struct frame *f)
{
	struct router *r = &state.router;
	struct resolve_request q;
	struct resolve_answer ans;
	int code = resolve_request_get(f->body, &q);

	metric_add(&resolved, 1);
	r->why.text[0] = '\0';
	r->lookups = 0;
	r->loop = false;
	r->day = clock_real_us() / 1000 / DAY_MS;
	if (!code)
		code = route_resolve(r, &q, state.arena, &ans);
	metric_add(&lookups, r->lookups);
	if (r->loop) {
		metric_add(&loops, 1);
		LOG_WARN("routing.loop", L_STR("address", str_head(q.address, 256)));
	}
	if (code) {
		metric_add(&failures, 1);
		authd_answer_failed(p, f, code == -ENOENT ? -EIO : code, r->why.text);
	} else {
		answer(p, f, &ans);
	}
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
