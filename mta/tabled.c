/*
 * tabled: asks the servers of tables (PostgreSQL, MySQL, LDAP) for authd. Their client
 * libraries hang, leak and crash here, where that costs temporary failures and nothing
 * else: this process holds the passwords of those servers, and no mail, no passwords of
 * users and no keys.
 *
 *	frame -> loop -> the table's questions -> a thread with a connection -> the server
 *	      <--------------------------------- answer
 *
 * The loop never waits. A reload makes every table anew; what was asked of the old ones is
 * still answered by them.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "mta/tabled.h"
#include "mta/tabled_names.h"

#define WATCH_MS 250

static const struct table_driver *const drivers[] = {
#ifdef HAVE_PGSQL
	&table_pgsql,
#endif
#ifdef HAVE_MYSQL
	&table_mysql,
#endif
#ifdef HAVE_LDAP
	&table_ldap,
#endif
	NULL,
};

/* One table of the configuration that is ours. */
struct entry {
	const struct conf_table *conf;
	struct pool *pool;           /* NULL: cannot be asked, why says why */
	struct err why;
};

static struct {
	struct service *service;
	struct entry *v;
	size_t n;
	struct timer timer;
} tabled;

static const struct table_driver *
driver_of(enum conf_table_type type)
{
	for (size_t i = 0; drivers[i]; i++)
		if (drivers[i]->type == type)
			return drivers[i];
	return NULL;
}

/* ---- the tables ---- */

static void
open_entry(struct entry *en, const struct conf_table *t)
{
	const struct table_driver *d = driver_of(t->type);

	en->conf = t;
	if (d)
		en->pool = pool_new(t, d, &en->why);
	else
		err_set(&en->why, -ENOTSUP, "tabled was built without the library of this kind");
	if (!en->pool)
		LOG_ERROR("table.unusable", L_STR("table", t->name), L_C("why", en->why.text));
}

static int
take(const struct settings *s)
{
	struct entry *v = calloc(s->n_tables + 1, sizeof *v);
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_tables; i++)
		if (conf_table_is_foreign(&s->tables[i]))
			open_entry(&v[n++], &s->tables[i]);
	for (size_t i = 0; i < tabled.n; i++)
		pool_retire(&tabled.v[i].pool);
	free(tabled.v);
	tabled.v = v;
	tabled.n = n;
	return 0;
}

static struct entry *
find_entry(struct str name)
{
	for (size_t i = 0; i < tabled.n; i++)
		if (str_ieq(tabled.v[i].conf->name, name))
			return &tabled.v[i];
	return NULL;
}

/* ---- questions ---- */

static void
refuse(struct peer *p, const struct frame *f, int code, const char *text)
{
	struct wire_error e = { .code = code, .smtp = 451, .enhanced = STR("4.3.5"), .text = str_c(text) };

	chan_answer_error(p, f->id, f->type, &e);
}

static void
on_find(struct peer *p, struct frame *f)
{
	struct table_question q;
	struct entry *en;

	if (table_question_get(f->body, &q)) {
		refuse(p, f, -EPROTO, "not a question");
		return;
	}
	en = find_entry(q.table);
	if (!en)
		refuse(p, f, -ENOENT, "no such table");
	else if (!en->pool)
		refuse(p, f, en->why.code, en->why.text);
	else
		pool_ask(en->pool, p, f, q.key);
}

static void
watch(void *arg)
{
	for (size_t i = 0; i < tabled.n; i++)
		if (tabled.v[i].pool)
			pool_watch(tabled.v[i].pool);
	loop_timer(service_loop(tabled.service), &tabled.timer, WATCH_MS, watch, NULL);
}

/* ---- the service ---- */

static struct confine_spec confinement = { .kind = CONFINE_TABLE, .max_fds = 4096 };

/* The folders of the files that the libraries read. */
static void
allow_files(const struct settings *s)
{
	size_t room = sizeof confinement.paths / sizeof *confinement.paths - 1, n = 0;

	for (size_t i = 0; i < s->n_tables && n < room; i++) {
		const struct conf_table *t = &s->tables[i];
		char *path = conf_table_is_foreign(t) && t->ca_file.n ?
		    strndup(t->ca_file.p, t->ca_file.n) : NULL;

		for (size_t k = 0; k < n && path; k++)
			if (!strcmp(confinement.paths[k].path, path)) {
				free(path);
				path = NULL;
			}
		if (path && !access(path, R_OK))
			confinement.paths[n++] = (struct confine_path){ path, false }; /* kept */
		else
			free(path);
	}
}

static void
preload(void)
{
	for (size_t i = 0; drivers[i]; i++)
		if (drivers[i]->preload)
			drivers[i]->preload();
}

static int
init(struct service *s, struct err *e)
{
	tabled.service = s;
	confinement.preload = preload;
	table_names_init();
	allow_files(service_settings(s));
	return take(service_settings(s)) ? err_set(e, -ENOMEM, "no memory") : 0;
}

static int
start(struct service *s, struct err *e)
{
	watch(NULL);
	return 0;
}

static void
config(struct service *s, const struct settings *st)
{
	if (take(st))
		LOG_ERROR("table.unusable", L_C("why", "no memory: the old tables stay"));
}

/* Whoever waits is told by the end of the channel. */
static void
stop(struct service *s)
{
	loop_timer_clear(service_loop(s), &tabled.timer);
	service_stopped(s);
}

int
main(int argc, char **argv)
{
	static const struct msg_handler handlers[] = {
		{ MSG_TABLE_FIND, "find", on_find, 0 },
	};
	static const struct service_spec spec = {
		.role = ROLE_TABLED,
		.handlers = handlers,
		.n_handlers = sizeof handlers / sizeof *handlers,
		.init = init,
		.start = start,
		.config = config,
		.stop = stop,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
