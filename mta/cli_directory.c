/* Requests of the command line to the directory; see cli_directory.h. */
#include "mta/cli_directory.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/client/control.h"
#include "mta/directory.h"

#define WAIT_MS 60000

struct rows {
	void (*fn)(void *arg, const struct auth_row *r);
	void *arg;
};

static int
take_part(void *arg, struct frame *f)
{
	struct rows *rows = arg;
	struct str body = f->body;
	struct auth_row r;
	int got;

	if (f->fd >= 0)
		close(f->fd);
	while ((got = auth_row_next(&body, &r)) > 0)
		if (rows->fn)
			rows->fn(rows->arg, &r);
	return got;
}

static int
ask_authd(struct cli *c, const struct auth_admin *q, struct rows *rows, struct err *e)
{
	struct control *k;
	struct buf b = { 0 };
	int r = control_open(c->settings, ROLE_AUTHD, 0, &k, e);

	if (r)
		return r;
	auth_admin_put(&b, q);
	r = control_stream(k, MSG_AUTH_ADMIN, &b, WAIT_MS, take_part, rows, e);
	control_close(&k);
	buf_done(&b);
	return r;
}

static void
take_row(void *arg, const struct auth_row *r)
{
	struct rows *rows = arg;

	if (rows->fn)
		rows->fn(rows->arg, r);
}

/* Root works as the folder's owner, so that authd can open what is made. */
static int
as_owner(const char *dir, struct err *e)
{
	struct stat st;

	if (geteuid() || stat(dir, &st) || !st.st_uid)
		return 0;
	return setegid(st.st_gid) || seteuid(st.st_uid) ? err_sys(e, -errno, "owner of %s", dir) : 0;
}

static int
do_offline(struct cli *c, const struct auth_admin *q, struct rows *rows, struct err *e)
{
	const struct settings *s = c->settings;
	const char *dir = arena_cstr(c->arena, s->dir_dir);
	char name[DIRECTORY_NAME_MAX + 1];
	struct directory *d = NULL;
	struct auth_changed changed;
	int fd = -1, r = as_owner(dir, e);

	if (!r)
		r = directory_lock(dir, &fd, e);
	if (!r)
		r = directory_open(dir, &d, e);
	if (!r)
		r = directory_configured(d, s->domains, s->n_domains, e);
	if (!r)
		r = directory_admin(d, q, s->password_cost, take_row, rows, &changed, name, e);
	directory_close(&d);
	if (fd >= 0)
		close(fd);
	return r < 0 ? r : 0;
}

int
cli_directory(struct cli *c, const struct auth_admin *q,
    void (*row)(void *arg, const struct auth_row *r), void *arg)
{
	struct rows rows = { row, arg };
	struct err e = { 0 };
	int r = ask_authd(c, q, &rows, &e);

	if (r == -ENOTCONN)
		r = do_offline(c, q, &rows, &e);
	return r ? cli_fail_err(c, r, &e) : CLI_OK;
}

int
cli_directory_change(struct cli *c, struct auth_admin q, const char *done)
{
	int status;

	q.name = str_c(c->args[0]);
	status = cli_directory(c, &q, NULL, NULL);
	if (!status)
		cli_say(c, "%s %s", c->args[0], done);
	return status;
}

struct str
cli_directory_targets(struct cli *c)
{
	struct str all = STR_NULL;

	for (size_t i = 1; i < c->n_args; i++)
		all = arena_printf(c->arena, "%.*s%s%s", STR_ARG(all), i > 1 ? "," : "", c->args[i]);
	return all;
}
