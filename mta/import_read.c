/*
 * Reading main.cf and master.cf (postconf(5), master(5)).
 *
 * A logical line begins with a character that is no blank; lines that begin with one
 * continue it. Comments and empty lines may stand between a line and its continuation.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mta/import.h"

static int
read_all(int fd, char *p, size_t n)
{
	size_t at = 0;

	while (at < n) {
		ssize_t r = read(fd, p + at, n - at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
		at += (size_t)r;
	}
	return 0;
}

int
import_file(struct import *m, const char *path, struct str *ret, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0;
	struct stat st;
	char *p = NULL;

	if (fd < 0)
		return err_sys(e, -errno, "cannot read %s", path);
	if (fstat(fd, &st))
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = -EINVAL;
	else if (st.st_size > IMPORT_FILE_MAX)
		rc = -EFBIG;
	else if (!(p = arena_alloc(m->arena, (size_t)st.st_size + 1)))
		rc = -ENOMEM;
	else
		rc = read_all(fd, p, (size_t)st.st_size);
	close(fd);
	if (rc)
		return err_sys(e, rc, "cannot read %s", path);
	*ret = str_from(p, (size_t)st.st_size);
	return 0;
}

static bool
is_comment(struct str line)
{
	struct str t = str_trim(line);

	return !t.n || t.p[0] == '#';
}

static bool
is_continuation(struct str line)
{
	return line.n && (line.p[0] == ' ' || line.p[0] == '\t');
}

bool
import_line(struct import *m, struct str *rest, unsigned *line, struct str *ret)
{
	struct buf b = { 0 };
	bool begun = false;

	while (rest->p && rest->n) {
		struct str after = *rest, l = str_cut(&after, '\n');

		if (begun && !is_comment(l) && !is_continuation(l))
			break;
		*rest = after;
		(*line)++;
		if (is_comment(l))
			continue;
		if (begun)
			buf_putc(&b, ' ');
		buf_str(&b, str_trim(l));
		begun = true;
	}
	*ret = arena_dup(m->arena, buf_view(&b));
	buf_done(&b);
	return begun && ret->p;
}

static struct import_param *
add_param(struct import *m)
{
	if (m->n_params == m->cap_params) {
		if (m->n_params)
			return NULL;
		m->params = ARENA_ARRAY(m->arena, struct import_param, IMPORT_PARAMS);
		m->cap_params = m->params ? IMPORT_PARAMS : 0;
		if (!m->params)
			return NULL;
	}
	return &m->params[m->n_params++];
}

int
import_main_cf(struct import *m, struct str text, struct err *e)
{
	unsigned line = 0;
	struct str l;

	while (import_line(m, &text, &line, &l)) {
		struct str value = l, name = str_trim(str_cut(&value, '='));
		struct import_param *p = strmap_get(&m->by_name, name);

		if (!value.p)
			return err_set(e, -EINVAL, "main.cf:%u: no '=' in '%.*s'", line, STR_ARG(str_head(l, 60)));
		if (!p && !(p = add_param(m)))
			return err_set(e, -E2BIG, "main.cf has more than %d parameters", IMPORT_PARAMS);
		*p = (struct import_param){ .name = name, .value = str_trim(value), .line = line };
		if (strmap_set(&m->by_name, name, p))
			return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

/* ---- master.cf ---- */

static void
add_opt(struct import_service *s, struct str text)
{
	struct str value = text, name = str_trim(str_cut(&value, '='));

	if (value.p && s->n_opts < 64)
		s->opts[s->n_opts++] = (struct import_param){ .name = name, .value = str_trim(value),
			.line = s->line };
}

/* The command's arguments: -o NAME=VALUE, -o {NAME = VALUE}; the others are kept as text. */
static void
take_args(struct import *m, struct import_service *s, struct str rest)
{
	struct buf others = { 0 };
	struct str w;

	while (import_word(&rest, &w)) {
		if (str_eq(w, STR("-o")) && import_word(&rest, &w)) {
			add_opt(s, w);
		} else if (str_starts(w, STR("-o")) && w.n > 2) {
			add_opt(s, str_skip(w, 2));
		} else {
			if (others.n)
				buf_putc(&others, ' ');
			buf_str(&others, w);
		}
	}
	s->args = arena_dup(m->arena, buf_view(&others));
	buf_done(&others);
}

int
import_master_cf(struct import *m, struct str text, struct err *e)
{
	unsigned line = 0;
	struct str l, w;

	while (import_line(m, &text, &line, &l)) {
		struct import_service *s;
		struct str rest = l;

		if (m->n_services == IMPORT_SERVICES)
			return err_set(e, -E2BIG, "master.cf has more than %d services", IMPORT_SERVICES);
		s = &m->services[m->n_services++];
		*s = (struct import_service){ .line = line };
		s->opts = ARENA_ARRAY(m->arena, struct import_param, 64);
		if (!s->opts)
			return err_set(e, -ENOMEM, "out of memory");
		s->name = str_word(&rest);
		s->type = str_word(&rest);
		for (int i = 0; i < 5; i++)
			w = str_word(&rest);
		s->command = str_word(&rest);
		if (!s->command.n)
			return err_set(e, -EINVAL, "master.cf:%u: a service has eight fields: '%.*s'", line,
			    STR_ARG(str_head(l, 60)));
		(void)w;
		take_args(m, s, rest);
	}
	return 0;
}
