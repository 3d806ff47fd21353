/* The tables of the configuration: reading, watching, looking up; see table.h. */
#include "mta/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mta/table_private.h"

#define FILE_MAX ((size_t)64 << 20)
#define MEMORY_MAX ((size_t)256 << 20)

struct tables {
	struct table *v;
	size_t n;
	struct table_answers *answers; /* of the request that is worked on, or NULL */
};

static void
content_free(struct table_content **c)
{
	if (!*c)
		return;
	strmap_done(&(*c)->map);
	arena_free(&(*c)->arena);
	free(*c);
	*c = NULL;
}

static struct table_content *
content_new(void)
{
	struct table_content *c = calloc(1, sizeof *c);

	if (c && !(c->arena = arena_new(MEMORY_MAX)))
		content_free(&c);
	return c;
}

/* The file's bytes into b, and what it was into *st. */
static int
read_file(const char *path, struct buf *b, struct stat *st, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = 1;

	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	if (fstat(fd, st) || !S_ISREG(st->st_mode)) {
		close(fd);
		return err_set(e, -EINVAL, "%s is not a file", path);
	}
	while (n > 0 && !b->over) {
		char *room = buf_room(b, 65536);

		n = room ? read(fd, room, 65536) : 0;
		if (n > 0)
			buf_grown(b, (size_t)n);
	}
	close(fd);
	if (n < 0)
		return err_sys(e, -EIO, "%s", path);
	return b->over ? err_set(e, -EFBIG, "%s is larger than %zu bytes", path, FILE_MAX) : 0;
}

static int
read_text(const struct table *t, struct table_content *c, struct str text, struct err *e)
{
	switch (t->conf->type) {
	case CONF_TABLE_FILE: return table_read_pairs(c, text, t->path, e);
	case CONF_TABLE_ALIASES: return table_read_aliases(c, text, t->path, e);
	default: return table_read_rules(c, text, t->path, e);
	}
}

/* Reads the file into a new content; the old one stays when that fails. */
static int
reread(struct table *t, struct err *e)
{
	struct table_content *c = content_new();
	struct buf text = { .max = FILE_MAX };
	int r = c ? read_file(t->path, &text, &t->seen, e) : err_set(e, -ENOMEM, "no memory");

	if (!r)
		r = read_text(t, c, buf_view(&text), e);
	buf_done(&text);
	if (r) {
		content_free(&c);
		return r;
	}
	content_free(&t->content);
	t->content = c;
	return 0;
}

static int
read_inline(struct table *t, struct err *e)
{
	struct table_content *c = content_new();
	int r = c ? 0 : err_set(e, -ENOMEM, "no memory");

	for (size_t i = 0; !r && i < t->conf->n_entries; i++) {
		r = table_add_pair(c, str_trim(t->conf->entries[i]), e);
		if (r)
			err_prefix(e, "entry %zu: ", i + 1);
	}
	if (r)
		content_free(&c);
	t->content = c;
	return r;
}

static bool
has_file(const struct table *t)
{
	return t->conf->type == CONF_TABLE_FILE || t->conf->type == CONF_TABLE_ALIASES ||
	    t->conf->type == CONF_TABLE_REGEXP;
}

static void
tell(const struct table *t, int r, const struct err *e, table_note_fn *note, void *arg)
{
	struct table_note n = { .name = t->conf->name, .path = str_c(t->path), .failed = r < 0,
		.text = r < 0 ? e->text : "", .entries = r < 0 || !t->content ? 0 : t->content->n };

	if (note)
		note(arg, &n);
}

static void
open_one(struct table *t, const struct conf_table *conf, table_note_fn *note, void *arg)
{
	struct err e = { 0 };
	int r = 0;

	t->conf = conf;
	if (conf->path.n < sizeof t->path)
		memcpy(t->path, conf->path.n ? conf->path.p : "", conf->path.n);
	t->looked = true;
	if (conf->type == CONF_TABLE_INLINE)
		r = read_inline(t, &e);
	else if (conf->type == CONF_TABLE_SQLITE)
		r = table_db_new(conf, t->path, &t->db, &e);
	else if (conf_table_is_foreign(conf))
		r = (t->cache = table_cache_new(conf)) ? 0 : err_set(&e, -ENOMEM, "no memory");
	else if (has_file(t))
		r = reread(t, &e);
	tell(t, r, &e, note, arg);
}

int
tables_open(const struct settings *s, table_note_fn *note, void *arg, struct tables **ret)
{
	struct tables *t = calloc(1, sizeof *t);

	if (t)
		t->v = calloc(s->n_tables + 1, sizeof *t->v);
	if (!t || !t->v) {
		free(t);
		return -ENOMEM;
	}
	t->n = s->n_tables;
	for (size_t i = 0; i < t->n; i++) {
		t->v[i].of = t;
		open_one(&t->v[i], &s->tables[i], note, arg);
	}
	*ret = t;
	return 0;
}

void
tables_close(struct tables **t)
{
	if (!*t)
		return;
	for (size_t i = 0; i < (*t)->n; i++) {
		content_free(&(*t)->v[i].content);
		table_db_free(&(*t)->v[i].db);
		table_cache_free(&(*t)->v[i].cache);
	}
	free((*t)->v);
	free(*t);
	*t = NULL;
}

static bool
file_changed(const struct table *t)
{
	struct stat st = { 0 };

	if (stat(t->path, &st))
		return t->seen.st_ino != 0;
	return st.st_ino != t->seen.st_ino || st.st_size != t->seen.st_size ||
	    st.st_mtim.tv_sec != t->seen.st_mtim.tv_sec || st.st_mtim.tv_nsec != t->seen.st_mtim.tv_nsec;
}

bool
tables_refresh(struct tables *t, table_note_fn *note, void *arg)
{
	bool changed = false;

	for (size_t i = 0; i < t->n; i++) {
		struct table *one = &t->v[i];
		struct err e;
		int r;

		if (one->db)
			changed |= table_db_changed(one->db);
		if (!has_file(one) || !file_changed(one))
			continue;
		one->seen = (struct stat){ 0 };
		r = reread(one, &e);
		tell(one, r, &e, note, arg);
		changed |= !r;
	}
	return changed;
}

struct table *
tables_get(struct tables *t, struct str name)
{
	for (size_t i = 0; t && i < t->n; i++)
		if (str_ieq(t->v[i].conf->name, name))
			return &t->v[i];
	return NULL;
}

void
tables_use(struct tables *t, struct table_answers *a)
{
	if (t)
		t->answers = a;
}

void
tables_remember(struct tables *t, struct str table, struct str key, int code, struct str value)
{
	struct table *one = tables_get(t, table);

	if (one && one->cache)
		table_cache_put(one->cache, key, code, value);
}

bool
table_whole(const struct table *t)
{
	return t->conf->type == CONF_TABLE_REGEXP || t->conf->type == CONF_TABLE_STATIC;
}

bool
table_is_aliases(const struct table *t)
{
	return t->conf->type == CONF_TABLE_ALIASES;
}

int
table_find(struct table *t, struct str key, struct arena *a, struct str *ret)
{
	char folded[TABLE_KEY_MAX];
	const struct str *v;

	if (key.n > sizeof folded)
		return 0;
	if (t->conf->type == CONF_TABLE_STATIC) {
		*ret = t->conf->value;
		return ret->n > 0;
	}
	for (size_t i = 0; i < key.n; i++)
		folded[i] = ascii_lower(key.p[i]);
	key = str_from(folded, key.n);
	if (conf_table_is_foreign(t->conf))
		return table_foreign_find(t, t->of->answers, key, a, ret);
	if (t->conf->type == CONF_TABLE_SQLITE)
		return t->db ? table_db_find(t->db, key, a, ret) : -EIO;
	if (!t->content)
		return -EAGAIN;
	if (t->conf->type == CONF_TABLE_REGEXP)
		return table_rules_find(t->content, key, a, ret);
	v = strmap_get(&t->content->map, key);
	if (!v)
		return 0;
	*ret = arena_dup(a, *v);
	return ret->p ? 1 : -ENOMEM;
}
