/*
 * Tables that are files of lines: KEY blanks VALUE, as postmap(1) reads them, and
 * NAME: LIST, as aliases(5) has them. Of several entries with one key the first
 * counts.
 */
#include <errno.h>

#include "mta/address_list.h"
#include "mta/table_private.h"

#define LINE_MAX_BYTES TABLE_VALUE_MAX

int
table_lines(struct str text, table_line_fn *fn, void *arg, struct err *e)
{
	struct buf line = { .max = LINE_MAX_BYTES };
	unsigned number = 0, start = 0;
	int r = 0;

	while (!r && text.p) {
		struct str raw = str_cut(&text, '\n');
		struct str s = str_trim(raw);

		number++;
		if (!s.n || s.p[0] == '#')
			continue;
		if (raw.p[0] != ' ' && raw.p[0] != '\t') {
			if (line.n)
				r = fn(arg, start, buf_view(&line), e);
			buf_clear(&line);
			start = number;
		} else if (!line.n) {
			r = err_set(e, -EINVAL, "%u: the first line cannot continue another", number);
		} else {
			buf_putc(&line, ' ');
		}
		buf_str(&line, s);
		if (line.over)
			r = err_set(e, -EINVAL, "%u: the line is longer than %d bytes", start, LINE_MAX_BYTES);
	}
	if (!r && line.n)
		r = fn(arg, start, buf_view(&line), e);
	buf_done(&line);
	return r;
}

/* Cuts a key, which may stand in quotes, off *line. */
static struct str
cut_key(struct str *line)
{
	struct str s = *line, key;
	size_t n = 0;

	if (s.n && s.p[0] == '"') {
		for (n = 1; n < s.n && s.p[n] != '"'; n++)
			if (s.p[n] == '\\' && n + 1 < s.n)
				n++;
		key = str_from(s.p + 1, n > 0 ? n - 1 : 0);
		*line = str_skip(s, n + 1);
		return key;
	}
	while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t')
		n++;
	key = str_head(s, n);
	*line = str_skip(s, n);
	return key;
}

static int
add(struct table_content *c, struct str key, struct str value, struct err *e)
{
	char folded[TABLE_KEY_MAX];
	struct str *v;

	if (!key.n || key.n > sizeof folded)
		return err_set(e, -EINVAL, "a key is 1 to %d bytes", TABLE_KEY_MAX);
	for (size_t i = 0; i < key.n; i++)
		folded[i] = ascii_lower(key.p[i]);
	key = str_from(folded, key.n);
	if (strmap_get(&c->map, key))
		return 0;
	v = ARENA_NEW(c->arena, struct str);
	if (v)
		*v = arena_dup(c->arena, value);
	if (!v || !v->p || strmap_set(&c->map, key, v))
		return err_set(e, -ENOMEM, "the table is too large");
	c->n++;
	return 0;
}

int
table_add_pair(struct table_content *c, struct str line, struct err *e)
{
	struct str key = cut_key(&line);
	struct str value = str_trim(line);

	if (!value.n)
		return err_set(e, -EINVAL, "expected KEY and VALUE, parted by blanks");
	return add(c, key, value, e);
}

struct reading {
	struct table_content *c;
	const char *path;
};

static int
at_line(const struct reading *rd, unsigned number, int r, struct err *e)
{
	return r ? err_prefix(e, "%s:%u: ", rd->path, number) : 0;
}

static int
pair_line(void *arg, unsigned number, struct str line, struct err *e)
{
	struct reading *rd = arg;

	return at_line(rd, number, table_add_pair(rd->c, line, e), e);
}

int
table_read_pairs(struct table_content *c, struct str text, const char *path, struct err *e)
{
	return table_lines(text, pair_line, &(struct reading){ c, path }, e);
}

/* NAME ":" LIST, where NAME may stand in quotes. */
static int
add_alias(struct table_content *c, struct str line, struct err *e)
{
	struct str rest = line, name, bad;
	struct arena *a;
	bool valid;

	if (line.n && line.p[0] == '"') {
		name = cut_key(&rest);
		rest = str_trim(rest);
		if (!rest.n || rest.p[0] != ':')
			rest = STR_NULL;
		rest = str_skip(rest, 1);
	} else {
		name = str_trim(str_cut(&rest, ':'));
	}
	rest = str_trim(rest);
	if (!name.n || !rest.n)
		return err_set(e, -EINVAL, "expected NAME: and where its mail goes");
	a = arena_new(1u << 20);
	valid = a && address_list_valid(rest, a, &bad);
	arena_free(&a);
	if (!valid)
		return err_set(e, -EINVAL, "the alias '%.*s' goes to something that is no address",
		    STR_ARG(str_head(name, 64)));
	return add(c, name, rest, e);
}

static int
alias_line(void *arg, unsigned number, struct str line, struct err *e)
{
	struct reading *rd = arg;

	return at_line(rd, number, add_alias(rd->c, line, e), e);
}

int
table_read_aliases(struct table_content *c, struct str text, const char *path, struct err *e)
{
	return table_lines(text, alias_line, &(struct reading){ c, path }, e);
}
