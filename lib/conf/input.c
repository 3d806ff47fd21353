/* What the configuration takes from elsewhere: included files, secrets in files
 * of their own and in the environment. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/text.h"
#include "lib/conf/parse_private.h"

#define SECRET_MAX ((size_t)64 << 10)
#define RULES_FILE_MAX ((size_t)1 << 20)

/* All of fd into p; the count, or negative. */
static ssize_t
read_all(int fd, char *p, size_t max)
{
	size_t n = 0;

	for (;;) {
		ssize_t r = read(fd, p + n, max - n);

		if (r == 0 || (r > 0 && n + (size_t)r == max))
			return (ssize_t)(n + (size_t)r);
		if (r < 0 && errno != EINTR)
			return -errno;
		n += r > 0 ? (size_t)r : 0;
	}
}

int
conf_read_file(const char *path, size_t max, struct arena *a, struct str *ret, unsigned *ret_mode,
    struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *p = NULL;
	ssize_t n;

	if (fd < 0)
		return err_sys(e, -errno, "cannot open '%s'", path);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(e, -EINVAL, "'%s' is not a file", path);
	}
	if ((uint64_t)st.st_size <= max)
		p = arena_alloc(a, (size_t)st.st_size + 1);
	n = p ? read_all(fd, p, (size_t)st.st_size) : -EFBIG;
	close(fd);
	if (n < 0)
		return err_sys(e, (int)n, "cannot read '%s'", path);
	p[n] = 0;
	*ret = str_from(p, (size_t)n);
	if (ret_mode)
		*ret_mode = st.st_mode & 07777;
	return 0;
}

/* path from where the file that names it stands, NUL-terminated; NULL after a
 * mistake was noted. */
static const char *
place(struct parser *p, const struct conf_origin *at, const char *what, struct str path)
{
	struct str full = path;

	if (!p->files) {
		conf_mistake(p, at, false, "'%s' is not allowed here", what);
		return NULL;
	}
	if (path.n == 0 || path.n > 4000 || memchr(path.p, 0, path.n)) {
		conf_mistake(p, at, false, "'%s' needs a path", what);
		return NULL;
	}
	if (path.p[0] != '/')
		full = arena_printf(p->s->arena, "%.*s/%.*s", STR_ARG(p->dir), STR_ARG(path));
	return full.p ? arena_cstr(p->s->arena, full) : NULL;
}

static void
include_file(struct parser *p, const struct conf_origin *at, const char *path)
{
	struct str outer_file = p->file, outer_dir = p->dir, text;
	ptrdiff_t slash;
	struct err e;

	if (++p->n_files > CONF_FILES_MAX) {
		conf_mistake(p, at, false, "too many files are included (at most %d)",
		    CONF_FILES_MAX);
		p->stop = true;
		return;
	}
	if (conf_read_file(path, CONF_FILE_MAX, p->s->arena, &text, NULL, &e)) {
		conf_mistake(p, at, false, "%s", e.text);
		return;
	}
	p->file = arena_dup(p->s->arena, str_c(path));
	slash = str_rchr(p->file, '/');
	p->dir = slash > 0 ? str_head(p->file, (size_t)slash) : STR("/");
	conf_parse_text(p, text);
	p->file = outer_file;
	p->dir = outer_dir;
}

void
conf_include(struct parser *p, const struct conf_origin *at, struct str pattern)
{
	const char *path = place(p, at, "include", pattern);
	glob_t g;
	int r;

	if (!path)
		return;
	if (p->depth == CONF_DEPTH_MAX) {
		conf_mistake(p, at, false, "files include each other too deeply (at most %d)",
		    CONF_DEPTH_MAX);
		return;
	}
	r = glob(path, 0, NULL, &g);
	if (r == GLOB_NOMATCH && strpbrk(path, "*?["))
		return; /* an empty conf.d */
	p->depth++;
	if (r)
		include_file(p, at, path);
	else
		for (size_t i = 0; i < g.gl_pathc && !p->stop; i++)
			include_file(p, at, g.gl_pathv[i]);
	p->depth--;
	if (r == 0)
		globfree(&g);
}

bool
conf_from_file(struct parser *p, const struct conf_origin *at, struct str path, bool secret,
    struct str *ret)
{
	const char *full = place(p, at, "file", path);
	struct str text;
	unsigned mode;
	struct err e;

	if (!full)
		return false;
	if (conf_read_file(full, secret ? SECRET_MAX : RULES_FILE_MAX, p->s->arena, &text, &mode, &e)) {
		conf_mistake(p, at, false, "%s", e.text);
		return false;
	}
	while (text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
		text.n--;
	if (memchr(text.p, 0, text.n) || !utf8_valid(text)) {
		conf_mistake(p, at, false, "'%s' is not text", full);
		return false;
	}
	if (secret && mode & 007)
		conf_mistake(p, at, true, "every user of this machine may read '%s' (chmod o= it)",
		    full);
	*ret = text;
	return true;
}

bool
conf_from_env(struct parser *p, const struct conf_origin *at, struct str name, struct str *ret)
{
	const char *c = p->files ? arena_cstr(p->s->arena, name) : NULL;
	const char *v = c ? getenv(c) : NULL;

	if (!p->files)
		conf_mistake(p, at, false, "'env' is not allowed here");
	else if (!v)
		conf_mistake(p, at, false, "the environment has no variable '%.*s'",
		    STR_ARG(str_head(name, 80)));
	else if (!utf8_valid(str_c(v)))
		conf_mistake(p, at, false, "the variable '%.*s' is not text",
		    STR_ARG(str_head(name, 80)));
	else
		*ret = str_c(v);
	return v && utf8_valid(str_c(v));
}
