/*
 * The processes of plugins. filterd has a fixed number of slots; most are idle. A plugin of
 * the settings has one while it stays as it is.
 *
 * A reload gives each plugin that is new or changed (its block, or the file itself) another
 * slot and starts a process there first. Only when all of these are ready do the callers get the new
 * settings, which name the new slots; then the old processes finish what they have begun and
 * end. When one of the new ones does not become ready, the reload is refused and all stays.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "mta/master_private.h"
#include "mta/plugin_file.h"

#define READY_MS 15000

static struct {
	struct settings *next;
	unsigned waiting;
	bool failed;
	struct err why;
	struct timer limit;
	void (*done)(void *, const struct err *);
	void *arg;
} prepare;

static struct master_child *
slot_child(unsigned slot)
{
	for (size_t i = 0; i < master.n_children; i++)
		if (master.children[i].program->role == ROLE_FILTERD &&
		    master.children[i].instance + 1 == slot)
			return &master.children[i];
	return NULL;
}

const struct settings *
filters_settings(const struct master_child *c)
{
	return c->fresh && prepare.next ? prepare.next : master.settings;
}

/* ---- whether a plugin is still the same ---- */

static struct file_id
file_id(const struct conf_plugin *p)
{
	struct arena *a = arena_new(0);
	struct str path = a ? plugin_file(p, a) : STR_NULL;
	struct file_id id = { 0 };
	struct stat st;

	if (path.n && stat(path.p, &st) == 0)
		id = (struct file_id){ st.st_dev, st.st_ino, st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec };
	arena_free(&a);
	return id;
}

static bool
same_file(const struct file_id *a, const struct file_id *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->sec == b->sec &&
	    a->nsec == b->nsec;
}

static bool
same_options(const struct conf_plugin *a, const struct conf_plugin *b)
{
	bool same = a->n_options == b->n_options;

	for (size_t i = 0; same && i < a->n_options; i++)
		same = str_eq(a->options[i].name, b->options[i].name) &&
		    strs_eq(a->options[i].v, a->options[i].n, b->options[i].v, b->options[i].n);
	return same;
}

/* As far as its process is concerned: when it is asked, and what its silence means, is its callers'
 * business. */
static bool
same_plugin(const struct conf_plugin *a, const struct conf_plugin *b)
{
	return str_ieq(a->name, b->name) && str_eq(a->file, b->file) && a->sandbox == b->sandbox &&
	    a->threads == b->threads && a->memory_limit == b->memory_limit &&
	    strs_eq(a->grants, a->n_grants, b->grants, b->n_grants) && same_options(a, b);
}

/* The slot of a running process that serves p as it is now, or 0. */
static unsigned
slot_of_same(const struct conf_plugin *p)
{
	struct file_id now = file_id(p);

	for (size_t i = 0; i < master.settings->n_plugins; i++) {
		const struct conf_plugin *o = &master.settings->plugins[i];
		const struct master_child *c = slot_child(o->slot);

		if (same_plugin(o, p) && c && !c->idle && same_file(&c->file, &now))
			return o->slot;
	}
	return 0;
}

/* ---- the start ---- */

static int
too_many(const struct settings *s, struct err *e)
{
	if (s->n_plugins <= CONF_PLUGINS_MAX)
		return 0;
	return err_set(e, -E2BIG, "too many plugins: more than %d", CONF_PLUGINS_MAX);
}

int
filters_plan(struct settings *s, struct err *e)
{
	if (too_many(s, e))
		return e->code;
	for (size_t i = 0; i < master.n_children; i++)
		if (master.children[i].program->role == ROLE_FILTERD)
			master.children[i].idle = true;
	for (size_t i = 0; i < s->n_plugins; i++) {
		struct master_child *c = slot_child((unsigned)i + 1);

		s->plugins[i].slot = (unsigned)i + 1;
		c->idle = false;
		c->file = file_id(&s->plugins[i]);
	}
	return 0;
}

bool
filters_ill(void)
{
	for (size_t i = 0; i < master.n_children; i++)
		if (!master.children[i].idle && children_ill(&master.children[i]))
			return true;
	return false;
}

/* ---- a reload ---- */

static void
let_end(struct master_child *c)
{
	c->idle = true;
	c->fresh = false;
	loop_timer_clear(master.loop, &c->restart);
	child_send(c, SETUP_STOP, 0, NULL, -1);
}

/* The new processes are not wanted after all. */
void
filters_abandon(void)
{
	for (size_t i = 0; i < master.n_children; i++)
		if (master.children[i].fresh)
			let_end(&master.children[i]);
	prepare.next = NULL;
}

static void
finish(void)
{
	void (*done)(void *, const struct err *) = prepare.done;

	loop_timer_clear(master.loop, &prepare.limit);
	prepare.done = NULL;
	if (prepare.failed)
		filters_abandon();
	done(prepare.arg, prepare.failed ? &prepare.why : NULL);
}

/* One process less to wait for. */
static void
step(void)
{
	if (prepare.done && prepare.waiting && --prepare.waiting == 0)
		finish();
}

static void
fail(const struct conf_plugin *p, const char *why)
{
	if (!prepare.failed)
		err_set(&prepare.why, -EINVAL, "plugin %.*s %s", STR_ARG(p->name), why);
	prepare.failed = true;
}

static const struct conf_plugin *
next_plugin(const struct master_child *c)
{
	for (size_t i = 0; prepare.next && i < prepare.next->n_plugins; i++)
		if (prepare.next->plugins[i].slot == c->instance + 1)
			return &prepare.next->plugins[i];
	return NULL;
}

void
filters_ready(struct master_child *c)
{
	if (c->fresh)
		step();
}

void
filters_died(struct master_child *c)
{
	const struct conf_plugin *p = next_plugin(c);

	c->fresh = false;
	c->idle = true;
	if (!p)
		return;
	fail(p, "cannot start; the log says why");
	step();
}

static void
took_too_long(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < master.n_children; i++) {
		struct master_child *c = &master.children[i];
		const struct conf_plugin *p = c->fresh && !c->ready ? next_plugin(c) : NULL;

		if (!p)
			continue;
		fail(p, "does not get ready");
		kill(c->pid, SIGKILL);
	}
	prepare.waiting = 0;
	if (prepare.done)
		finish();
}

static void
start_fresh(struct conf_plugin *p)
{
	struct master_child *c = NULL;
	struct err e;

	for (unsigned slot = 1; slot <= CONF_PLUGINS_MAX && !p->slot; slot++) {
		c = slot_child(slot);
		if (c->idle && !c->pid)
			p->slot = slot;
	}
	if (!p->slot) {
		fail(p, "has no slot yet: those of an earlier reload are still ending");
		return;
	}
	c->idle = false;
	c->fresh = true;
	c->file = file_id(p);
	if (child_start(c, &e)) {
		c->idle = true;
		c->fresh = false;
		fail(p, e.text);
		return;
	}
	prepare.waiting++;
}

void
filters_prepare(struct settings *n, void (*done)(void *, const struct err *), void *arg)
{
	prepare.next = n;
	prepare.waiting = 1;
	prepare.failed = too_many(n, &prepare.why) != 0;
	prepare.done = done;
	prepare.arg = arg;
	for (size_t i = 0; !prepare.failed && i < n->n_plugins; i++)
		n->plugins[i].slot = slot_of_same(&n->plugins[i]);
	for (size_t i = 0; !prepare.failed && i < n->n_plugins; i++)
		if (!n->plugins[i].slot)
			start_fresh(&n->plugins[i]);
	loop_timer(master.loop, &prepare.limit, READY_MS, took_too_long, NULL);
	step();
}

void
filters_retire(void)
{
	for (size_t i = 0; i < master.n_children; i++) {
		struct master_child *c = &master.children[i];
		bool named = false;

		if (c->program->role != ROLE_FILTERD || c->idle)
			continue;
		c->fresh = false;
		for (size_t k = 0; k < master.settings->n_plugins; k++)
			named = named || master.settings->plugins[k].slot == c->instance + 1;
		if (!named)
			let_end(c);
	}
	prepare.next = NULL;
}
