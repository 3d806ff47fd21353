/* Codecs of the master's answers; see master.h. */
#include "lib/client/master.h"

#include <errno.h>

enum { TAG_PID = 1, TAG_UPTIME, TAG_VERSION, TAG_CONFIG, TAG_PROC, TAG_LISTEN };
enum { PROC_ROLE = 1, PROC_INSTANCE, PROC_STATE, PROC_PID, PROC_UPTIME, PROC_RESTARTS, PROC_USER,
	PROC_EXIT };
enum { LISTEN_NAME = 1, LISTEN_ADDRESS, LISTEN_PORT };

#define LIST_MAX 4096

static void
proc_put(struct buf *b, const struct master_proc *p)
{
	size_t start = wire_begin(b, TAG_PROC);

	wire_str(b, PROC_ROLE, p->role);
	wire_u64(b, PROC_INSTANCE, p->instance);
	wire_u64(b, PROC_STATE, p->state);
	wire_u64(b, PROC_PID, p->pid);
	wire_u64(b, PROC_UPTIME, p->uptime_ms);
	wire_u64(b, PROC_RESTARTS, p->restarts);
	wire_str(b, PROC_USER, p->user);
	wire_str(b, PROC_EXIT, p->last_exit);
	wire_end(b, start);
}

static int
proc_get(struct str body, struct arena *a, struct master_proc *ret)
{
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case PROC_ROLE: ret->role = arena_dup(a, f.v); break;
		case PROC_INSTANCE: ret->instance = (unsigned)wire_int(&f); break;
		case PROC_STATE: ret->state = (enum proc_state)wire_int(&f); break;
		case PROC_PID: ret->pid = wire_int(&f); break;
		case PROC_UPTIME: ret->uptime_ms = wire_int(&f); break;
		case PROC_RESTARTS: ret->restarts = (unsigned)wire_int(&f); break;
		case PROC_USER: ret->user = arena_dup(a, f.v); break;
		case PROC_EXIT: ret->last_exit = arena_dup(a, f.v); break;
		}
	}
	return r;
}

static void
listen_put(struct buf *b, const struct master_listen *l)
{
	size_t start = wire_begin(b, TAG_LISTEN);

	wire_str(b, LISTEN_NAME, l->name);
	wire_str(b, LISTEN_ADDRESS, l->address);
	wire_u64(b, LISTEN_PORT, l->port);
	wire_end(b, start);
}

static int
listen_get(struct str body, struct arena *a, struct master_listen *ret)
{
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case LISTEN_NAME: ret->name = arena_dup(a, f.v); break;
		case LISTEN_ADDRESS: ret->address = arena_dup(a, f.v); break;
		case LISTEN_PORT: ret->port = (unsigned)wire_int(&f); break;
		}
	}
	return r;
}

void
master_status_put(struct buf *b, const struct master_status *s)
{
	wire_u64(b, TAG_PID, s->pid);
	wire_u64(b, TAG_UPTIME, s->uptime_ms);
	wire_str(b, TAG_VERSION, s->version);
	wire_str(b, TAG_CONFIG, s->config_path);
	for (size_t i = 0; i < s->n_procs; i++)
		proc_put(b, &s->procs[i]);
	for (size_t i = 0; i < s->n_listens; i++)
		listen_put(b, &s->listens[i]);
}

/* How many fields of each list the body has. */
static int
count(struct str body, struct master_status *s)
{
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		s->n_procs += f.tag == TAG_PROC;
		s->n_listens += f.tag == TAG_LISTEN;
	}
	return r ? r : s->n_procs > LIST_MAX || s->n_listens > LIST_MAX ? -EPROTO : 0;
}

int
master_status_get(struct str body, struct arena *a, struct master_status *ret)
{
	struct master_status s = { 0 };
	size_t procs = 0, listens = 0;
	struct wire_field f;
	int r = count(body, &s);

	if (r)
		return r;
	s.procs = ARENA_ARRAY(a, struct master_proc, s.n_procs + 1);
	s.listens = ARENA_ARRAY(a, struct master_listen, s.n_listens + 1);
	if (!s.procs || !s.listens)
		return -ENOMEM;
	while (r == 0 && wire_next(&body, &f) > 0) {
		switch (f.tag) {
		case TAG_PID: s.pid = wire_int(&f); break;
		case TAG_UPTIME: s.uptime_ms = wire_int(&f); break;
		case TAG_VERSION: s.version = arena_dup(a, f.v); break;
		case TAG_CONFIG: s.config_path = arena_dup(a, f.v); break;
		case TAG_PROC: r = proc_get(f.v, a, &s.procs[procs++]); break;
		case TAG_LISTEN: r = listen_get(f.v, a, &s.listens[listens++]); break;
		}
	}
	if (r == 0)
		*ret = s;
	return r;
}

void
master_config_put(struct buf *b, struct str text)
{
	wire_str(b, TAG_CONFIG, text);
}

int
master_config_get(struct str body, struct str *ret)
{
	struct wire_field f;
	int r;

	*ret = STR_NULL;
	while ((r = wire_next(&body, &f)) > 0)
		if (f.tag == TAG_CONFIG)
			*ret = f.v;
	return r;
}
