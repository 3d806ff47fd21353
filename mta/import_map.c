/*
 * Lookup tables of Postfix, read from the text that they are made of: hash, btree, lmdb,
 * cdb, dbm, texthash (the file without its suffix), aliases(5) files, regexp and pcre, cidr,
 * inline, static, unionmap of these. Tables that ask somebody else (mysql, ldap, tcp ...)
 * cannot be read here and are told.
 */
#include <errno.h>
#include <stdlib.h>

#include "mta/import.h"

#define ROWS_MAX 2000000u

struct rows {
	struct import_row *v;
	size_t n, cap;
};

static int
add(struct rows *r, struct str key, struct str value)
{
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 64;
		struct import_row *v = cap > ROWS_MAX ? NULL : realloc(r->v, cap * sizeof *v);

		if (!v)
			return -ENOMEM;
		r->v = v;
		r->cap = cap;
	}
	r->v[r->n++] = (struct import_row){ key, value };
	return 0;
}

/* KEY blanks VALUE; the key may stand in quotes (postmap(1)). */
static void
split_blank(struct str line, struct str *key, struct str *value)
{
	if (line.n && line.p[0] == '"') {
		*value = str_skip(line, 1);
		*key = str_cut(value, '"');
	} else {
		*value = line;
		*key = str_word(value);
	}
	*value = str_trim(*value);
}

/* NAME: VALUE (aliases(5)); the name may stand in quotes. */
static void
split_colon(struct str line, struct str *key, struct str *value)
{
	*value = line;
	if (line.n && line.p[0] == '"') {
		*value = str_skip(line, 1);
		*key = str_cut(value, '"');
		str_cut(value, ':');
	} else {
		*key = str_trim(str_cut(value, ':'));
	}
	*value = str_trim(*value);
}

/* /pattern/flags RESULT: the pattern with its delimiters and flags is the key. `if` and
 * `endif` come as rows of their own. */
static void
split_pattern(struct str line, struct str *key, struct str *value)
{
	size_t at = 0, i;
	char end;

	*key = line;
	*value = STR("");
	if (str_istarts(line, STR("if ")) || str_ieq(line, STR("endif")))
		return;
	if (line.n && line.p[0] == '!')
		at++;
	if (at >= line.n)
		return;
	end = line.p[at];
	for (i = at + 1; i < line.n && line.p[i] != end; i++)
		if (line.p[i] == '\\')
			i++;
	for (i++; i < line.n && !ascii_isspace(line.p[i]); i++)
		;
	*key = str_head(line, i);
	*value = str_trim(str_skip(line, i));
}

static int
read_rows(struct import *m, struct str text, void (*split)(struct str, struct str *, struct str *),
    struct rows *rows)
{
	unsigned line = 0;
	struct str l, key, value;
	int rc = 0;

	while (!rc && import_line(m, &text, &line, &l)) {
		split(l, &key, &value);
		if (key.n)
			rc = add(rows, key, value);
	}
	return rc;
}

/* {key = value, {key = value}, ...} */
static int
read_inline(struct str in, struct rows *rows)
{
	struct str list = in, w;
	int rc = 0;

	if (list.n && list.p[0] == '{')
		list = str_from(list.p + 1, list.n - (list.p[list.n - 1] == '}' ? 2 : 1));
	while (!rc && import_word(&list, &w)) {
		struct str value = w, key = str_trim(str_cut(&value, '='));

		/* blanks around '=' make three words: "a = b" */
		if (!value.p && str_starts(str_trim(list), STR("="))) {
			import_word(&list, &value);
			if (value.n == 1)
				import_word(&list, &value);
			else
				value = str_skip(value, 1);
		} else if (value.p && !value.n) {
			import_word(&list, &value);
		}
		rc = add(rows, key, str_trim(value));
	}
	return rc;
}

static const struct {
	const char *type;
	enum import_map_kind kind;
} types[] = {
	{ "hash", IMPORT_MAP_TEXT }, { "btree", IMPORT_MAP_TEXT }, { "lmdb", IMPORT_MAP_TEXT },
	{ "cdb", IMPORT_MAP_TEXT }, { "dbm", IMPORT_MAP_TEXT }, { "sdbm", IMPORT_MAP_TEXT },
	{ "texthash", IMPORT_MAP_TEXT }, { "regexp", IMPORT_MAP_PATTERNS },
	{ "pcre", IMPORT_MAP_PATTERNS }, { "cidr", IMPORT_MAP_CIDR },
	{ "static", IMPORT_MAP_STATIC }, { "inline", IMPORT_MAP_TEXT },
};

static int
read_file_map(struct import *m, bool aliases, struct import_map *map, struct rows *rows)
{
	struct err e = { 0 };
	struct str text;
	int rc = import_file(m, arena_cstr(m->arena, map->name), &text, &e);

	if (rc) {
		map->kind = IMPORT_MAP_OTHER;
		map->why = arena_dup(m->arena, str_c(e.text));
		return rc == -ENOMEM ? rc : 0;
	}
	if (map->kind == IMPORT_MAP_PATTERNS)
		return read_rows(m, text, split_pattern, rows);
	if (aliases) {
		map->kind = IMPORT_MAP_ALIASES;
		return read_rows(m, text, split_colon, rows);
	}
	return read_rows(m, text, split_blank, rows);
}

static void
take_rows(struct import *m, struct rows *rows, struct import_map *map)
{
	map->rows = ARENA_ARRAY(m->arena, struct import_row, rows->n + 1);
	if (map->rows && rows->n)
		memcpy(map->rows, rows->v, rows->n * sizeof *rows->v);
	map->n = map->rows ? rows->n : 0;
	free(rows->v);
}

int
import_map(struct import *m, struct str spec, bool aliases, struct import_map *ret)
{
	struct import_map map = { .kind = IMPORT_MAP_OTHER };
	struct rows rows = { 0 };
	int rc = 0;

	while (str_starts(spec, STR("proxy:")))
		spec = str_skip(spec, 6);
	map.name = spec;
	map.type = str_cut(&map.name, ':');
	if (!map.name.p) { /* a bare path: the default type */
		map.name = map.type;
		map.type = STR("hash");
	}
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (str_eq(map.type, str_c(types[i].type)))
			map.kind = types[i].kind;
	if (map.kind == IMPORT_MAP_OTHER)
		map.why = STR("a table of this type cannot be read here");
	else if (map.kind == IMPORT_MAP_STATIC)
		rc = add(&rows, STR("*"), map.name);
	else if (str_eq(map.type, STR("inline")))
		rc = read_inline(map.name, &rows);
	else
		rc = read_file_map(m, aliases, &map, &rows);
	take_rows(m, &rows, &map);
	*ret = map;
	return rc;
}
