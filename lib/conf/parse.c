/*
 * The grammar of posthorn.conf:
 *
 *	file      = "config" "1" { statement }
 *	statement = KEY value { "," value }
 *	          | BLOCK [ args ] "{" { statement } "}"
 *	          | "include" PATTERN
 *	value     = WORD | STRING | "env" NAME | "file" STRING
 *
 * A value begins on the line of its key (or behind a comma), so that a missing
 * value is found where it is missing. Several statements may share a line. After
 * a mistake the parser goes on with the next line, brace or semicolon, so one run
 * shows all.
 */
#include <stdarg.h>
#include <stdio.h>

#include "lib/conf/parse_private.h"

/* Where statements stand: in the file itself, in a plain block, or in one that
 * fills a struct of its own. */
struct scope {
	const char *block;
	struct str title;            /* "listen smtp", for messages */
	void *base;
	struct conf_origin *origin;  /* one per row of the table */
	struct str addresses[16];    /* of a listen block */
	size_t n_addresses;
};

struct conf_origin
conf_here(const struct parser *p, const struct conf_token *t)
{
	return (struct conf_origin){ p->file, t->line, t->col, t->source };
}

void
conf_mistake(struct parser *p, const struct conf_origin *at, bool warning, const char *fmt, ...)
{
	struct conf_errors *errors = p->errors;
	struct conf_error *room = errors->v, *e;
	char text[400];
	va_list ap;

	p->failed |= !warning;
	if (p->stop)
		return;
	if (errors->n % 16 == 0) {
		room = ARENA_ARRAY(p->errors_arena, struct conf_error, errors->n + 16);
		if (room && errors->n)
			memcpy(room, errors->v, errors->n * sizeof *room);
	}
	if (!room) {
		p->stop = p->failed = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	errors->v = room;
	e = &errors->v[errors->n++];
	*e = (struct conf_error){ .line = at->line, .col = at->col, .warning = warning };
	e->file = arena_dup(p->errors_arena, at->file);
	e->text = arena_dup(p->errors_arena, str_c(text));
	e->source = arena_dup(p->errors_arena, str_head(at->source, 1000));
	if (errors->n == CONF_ERRORS_MAX) {
		p->stop = p->failed = true;
		e->text = STR("too many mistakes: the rest is not shown");
		e->warning = false;
	}
}

#define MISTAKE(p, t, ...)                                                                         \
	do {                                                                                       \
		struct conf_origin at_ = conf_here((p), (t));                                      \
		conf_mistake((p), &at_, false, __VA_ARGS__);                                       \
	} while (0)

static void
advance(struct parser *p)
{
	if (p->stop)
		p->tok.kind = TOK_END;
	else
		p->tok = conf_lex_next(p->lex);
}

/* The next token, when it goes on with the statement that the line began. */
static bool
more_on_line(const struct parser *p)
{
	return !p->tok.first && (p->tok.kind == TOK_WORD || p->tok.kind == TOK_STRING);
}

/* To where the next statement can begin. A block that is skipped is skipped whole. */
static void
skip_statement(struct parser *p)
{
	unsigned open = 0;

	while (p->tok.kind != TOK_END) {
		if (!open && (p->tok.first || p->tok.kind == TOK_CLOSE))
			return;
		if (p->tok.kind == TOK_BAD)
			MISTAKE(p, &p->tok, "%.*s", STR_ARG(p->tok.text));
		if (p->tok.kind == TOK_OPEN)
			open++;
		else if (p->tok.kind == TOK_CLOSE)
			open--;
		else if (p->tok.kind == TOK_SEMI && !open)
			return;
		advance(p);
	}
}

/* Candidates for "did you mean": keys of a block, then, at the top, block names. */
static const char *
nth_key(void *arg, size_t i)
{
	const char *block = arg;

	for (size_t k = 0; k < conf_n_rows; k++)
		if (strcmp(conf_rows[k].block, block) == 0 && i-- == 0)
			return conf_rows[k].name;
	if (*block)
		return NULL;
	if (i < conf_n_blocks)
		return conf_blocks[i].name;
	return i == conf_n_blocks ? "include" : NULL;
}

static const char *
nth_listen_kind(void *arg, size_t i)
{
	return i < conf_n_listen_kinds ? conf_listen_kinds[i].name : NULL;
}

/* A block that has a key of this name, or NULL. */
static const struct conf_row *
row_elsewhere(struct str name)
{
	for (size_t i = 0; i < conf_n_rows; i++)
		if (str_eq(name, str_c(conf_rows[i].name)))
			return &conf_rows[i];
	return NULL;
}

static void
unknown_key(struct parser *p, const struct scope *sc, const struct conf_token *key)
{
	const char *near = conf_near(key->text, nth_key, (void *)(uintptr_t)sc->block);
	const struct conf_row *other = row_elsewhere(key->text);
	struct str name = str_head(key->text, 80);
	char in[120] = "";

	if (sc->title.n)
		snprintf(in, sizeof in, " in '%.*s'", STR_ARG(sc->title));
	if (other && *other->block)
		MISTAKE(p, key, "unknown key '%.*s'%s (it belongs in the block '%s')", STR_ARG(name),
		    in, other->block);
	else if (other)
		MISTAKE(p, key, "unknown key '%.*s'%s (it belongs outside of the block)",
		    STR_ARG(name), in);
	else if (near)
		MISTAKE(p, key, "unknown key '%.*s'%s (did you mean '%s'?)", STR_ARG(name), in, near);
	else
		MISTAKE(p, key, "unknown key '%.*s'%s", STR_ARG(name), in);
}

/* One value into *ret; false when there is none (a mistake was noted). secret: as in
 * conf_from_file. */
static bool
take_value(struct parser *p, bool secret, struct str *ret)
{
	struct conf_token t = p->tok;
	struct conf_origin at = conf_here(p, &t);
	bool env, file;

	advance(p);
	*ret = t.text;
	if (t.kind != TOK_WORD)
		return true;
	env = str_eq(t.text, STR("env")) && more_on_line(p);
	file = str_eq(t.text, STR("file")) && more_on_line(p) && p->tok.kind == TOK_STRING;
	if (!env && !file)
		return true;
	t = p->tok;
	advance(p);
	return env ? conf_from_env(p, &at, t.text, ret) :
	    conf_from_file(p, &at, t.text, secret, ret);
}

static bool
is_list(const struct conf_row *row)
{
	return row->type == CONF_T_NETS || row->type == CONF_T_ADDRESS || row->type == CONF_T_FLAGS ||
	    conf_type_repeats(row->type);
}

static int
set_value(struct parser *p, struct scope *sc, const struct conf_row *row, struct str text,
    struct err *e)
{
	int r = conf_value_set(sc->base, row, text, p->dir, p->s->arena, e);

	if (r || row->type != CONF_T_ADDRESS)
		return r;
	if (sc->n_addresses == sizeof sc->addresses / sizeof *sc->addresses)
		return err_set(e, -1, "too many addresses");
	sc->addresses[sc->n_addresses++] = *(struct str *)((char *)sc->base + row->offset);
	return 0;
}

/* The values behind a key. */
static void
setting_values(struct parser *p, struct scope *sc, const struct conf_row *row,
    const struct conf_token *key)
{
	bool again = true;

	for (bool after_comma = false; again; after_comma = true) {
		struct conf_token at = p->tok;
		struct str text;
		struct err e;

		if ((at.kind != TOK_WORD && at.kind != TOK_STRING) || (at.first && !after_comma)) {
			if (at.kind != TOK_BAD)
				MISTAKE(p, key, "'%s' needs a value", row->name);
			skip_statement(p);
			return;
		}
		if (take_value(p, row->type != CONF_T_RULES, &text) && set_value(p, sc, row, text, &e))
			MISTAKE(p, &at, "%s", e.text);
		again = p->tok.kind == TOK_COMMA;
		if (again && !is_list(row)) {
			MISTAKE(p, &p->tok, "'%s' takes one value", row->name);
			skip_statement(p);
			return;
		}
		if (again)
			advance(p);
	}
}

static void
setting(struct parser *p, struct scope *sc, const struct conf_row *row,
    const struct conf_token *key)
{
	struct conf_origin *origin = &sc->origin[row - conf_rows];

	if (origin->file.p && !conf_type_repeats(row->type)) {
		MISTAKE(p, key, "'%s' is set twice (first at %.*s:%u)", row->name,
		    STR_ARG(origin->file), origin->line);
		skip_statement(p);
		return;
	}
	*origin = conf_here(p, key);
	setting_values(p, sc, row, key);
}

static void statement(struct parser *p, struct scope *sc);

/* ---- options of plugins: any key, its values as texts ---- */

static struct conf_option *
option_add(struct parser *p, struct conf_plugin *pl, const struct conf_token *key)
{
	struct conf_option *v = pl->options;

	for (size_t i = 0; i < pl->n_options; i++)
		if (str_eq(v[i].name, key->text))
			return &v[i];
	if (pl->n_options % 8 == 0) {
		v = ARENA_ARRAY(p->s->arena, struct conf_option, pl->n_options + 8);
		if (!v) {
			p->stop = p->failed = true;
			return NULL;
		}
		if (pl->n_options)
			memcpy(v, pl->options, pl->n_options * sizeof *v);
		pl->options = v;
	}
	v = &v[pl->n_options++];
	v->name = arena_dup(p->s->arena, key->text);
	v->file = arena_dup(p->s->arena, p->file);
	v->line = key->line;
	v->col = key->col;
	return v;
}

static void
option_value(struct parser *p, struct conf_option *o, struct str text)
{
	struct str *v = o->v;

	if (o->n % 8 == 0) {
		v = ARENA_ARRAY(p->s->arena, struct str, o->n + 8);
		if (v && o->n)
			memcpy(v, o->v, o->n * sizeof *v);
		o->v = v;
	}
	if (v)
		v[o->n++] = arena_dup(p->s->arena, text);
	else
		p->stop = p->failed = true;
}

static void
plugin_option(struct parser *p, struct conf_plugin *pl, const struct conf_token *key)
{
	struct conf_option *o = option_add(p, pl, key);
	bool again = o != NULL;

	for (bool after_comma = false; again; after_comma = true) {
		struct str text;

		if ((p->tok.kind != TOK_WORD && p->tok.kind != TOK_STRING) ||
		    (p->tok.first && !after_comma)) {
			if (p->tok.kind != TOK_BAD)
				MISTAKE(p, key, "'%.*s' needs a value", STR_ARG(str_head(key->text, 80)));
			skip_statement(p);
			return;
		}
		if (take_value(p, true, &text))
			option_value(p, o, text);
		again = p->tok.kind == TOK_COMMA && !p->stop;
		if (again)
			advance(p);
	}
}

/* What only a flattened text has: "@slot N", and "@at FILE LINE COL" behind an option. */
static bool
plugin_mark(struct parser *p, struct conf_plugin *pl, const struct conf_token *key)
{
	struct conf_option *o = pl->n_options ? &pl->options[pl->n_options - 1] : NULL;
	struct str v[3] = { { 0 } };
	uint32_t a = 0, b = 0;

	if (p->files || !str_starts(key->text, STR("@")))
		return false;
	for (int i = 0; i < 3 && more_on_line(p); i++) {
		v[i] = arena_dup(p->s->arena, p->tok.text);
		advance(p);
	}
	if (str_eq(key->text, STR("@slot")) && str_u32(v[0], CONF_PLUGINS_MAX, &a)) {
		pl->slot = a;
	} else if (o && str_u32(v[1], UINT32_MAX, &a) && str_u32(v[2], UINT32_MAX, &b)) {
		o->file = v[0];
		o->line = a;
		o->col = b;
	}
	return true;
}

/* "{" statements "}". A block may be left out where its line ends. */
static void
block_body(struct parser *p, struct scope *sc, const struct conf_token *key)
{
	if (p->tok.kind != TOK_OPEN) {
		if (p->tok.first || p->tok.kind == TOK_SEMI)
			return;
		MISTAKE(p, &p->tok, "expected '{' after '%.*s'", STR_ARG(sc->title));
		skip_statement(p);
		return;
	}
	advance(p);
	while (p->tok.kind != TOK_CLOSE && p->tok.kind != TOK_END)
		statement(p, sc);
	if (p->tok.kind == TOK_END && !p->stop)
		MISTAKE(p, key, "the block '%.*s' is not closed", STR_ARG(sc->title));
	advance(p);
}

void
conf_defaults(struct parser *p, const char *block, void *base, const struct conf_origin *origin)
{
	for (size_t i = 0; i < conf_n_rows; i++) {
		const struct conf_row *row = &conf_rows[i];
		struct str rest = str_c(row->def);

		if (origin[i].file.p || strcmp(row->block, block))
			continue;
		while (rest.p) {
			struct str one = str_trim(str_cut(&rest, ','));

			if (conf_value_set(base, row, one, STR_NULL, p->s->arena, NULL))
				p->failed = true;
		}
	}
}

static void
add_listener(struct parser *p, const struct conf_listen *ls, struct str address,
    const struct listen_origin *at)
{
	if (p->n_listen == CONF_LISTEN_MAX) {
		conf_mistake(p, &at->at, false, "too many listeners (at most %d)", CONF_LISTEN_MAX);
		return;
	}
	p->listen[p->n_listen] = *ls;
	p->listen[p->n_listen].address = address;
	p->listen_at[p->n_listen++] = *at;
}

/* Reads a block's optional NAME. */
static struct str
block_name(struct parser *p, struct str without)
{
	struct str name = without;

	if (more_on_line(p)) {
		name = p->tok.text;
		if (!conf_is_name(name))
			MISTAKE(p, &p->tok, "'%.*s' is not a name", STR_ARG(str_head(name, 80)));
		advance(p);
	}
	return arena_dup(p->s->arena, name);
}

static struct str
title(struct parser *p, const char *block, struct str arg)
{
	return arena_printf(p->s->arena, "%s%s%.*s", block, arg.n ? " " : "",
	    STR_ARG(str_head(arg, 60)));
}

static void
listen_block(struct parser *p, const struct conf_token *key)
{
	const struct conf_row *address = conf_row_find(STR("listen"), STR("address"));
	const struct conf_row *tls = conf_row_find(STR("listen"), STR("tls"));
	const struct conf_listen_kind *kind;
	struct conf_origin *origin = ARENA_ARRAY(p->s->arena, struct conf_origin, conf_n_rows);
	struct listen_origin at = { conf_here(p, key) };
	struct conf_listen ls = { 0 };
	struct scope sc = { "listen", .base = &ls, .origin = origin };
	struct conf_token proto = p->tok;
	const char *near;

	if (!more_on_line(p) || !origin) {
		MISTAKE(p, key, "'listen' needs a protocol, such as 'listen smtp'");
		skip_statement(p);
		return;
	}
	kind = conf_listen_kind_find(proto.text);
	near = kind ? NULL : conf_near(proto.text, nth_listen_kind, NULL);
	if (!kind)
		MISTAKE(p, &proto, "unknown protocol '%.*s'%s%s%s", STR_ARG(str_head(proto.text, 80)),
		    near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
	advance(p);
	sc.title = title(p, "listen", proto.text);
	ls.name = block_name(p, proto.text);
	if (kind) {
		ls.proto = kind->proto;
		ls.port = kind->port;
		ls.auth = kind->auth;
		ls.tls = kind->implicit_tls ? CONF_TLS_IMPLICIT : CONF_TLS_OPTIONAL;
	}
	block_body(p, &sc, key);
	at.tls_given = origin[tls - conf_rows].file.p || (kind && kind->implicit_tls);
	if (!origin[address - conf_rows].file.p)
		for (struct str rest = str_c(address->def); rest.p;)
			sc.addresses[sc.n_addresses++] = str_trim(str_cut(&rest, ','));
	for (size_t i = 0; i < sc.n_addresses; i++)
		add_listener(p, &ls, sc.addresses[i], &at);
}

static void
tls_block(struct parser *p, const struct conf_token *key)
{
	const struct conf_row *cert = conf_row_find(STR("tls"), STR("certificate"));
	struct conf_origin *origin = ARENA_ARRAY(p->s->arena, struct conf_origin, conf_n_rows);
	struct conf_tls_pair pair = { 0 };
	struct scope sc = { "tls", .base = &pair, .origin = origin };

	if (!origin) {
		p->stop = p->failed = true;
		return;
	}
	sc.title = title(p, "tls", block_name(p, STR("")));
	block_body(p, &sc, key);
	if (!origin[cert - conf_rows].file.p)
		MISTAKE(p, key, "'%.*s' needs 'certificate'", STR_ARG(sc.title));
	if (!pair.key_file.p)
		pair.key_file = pair.cert_file;
	if (p->n_tls == CONF_TLS_MAX)
		MISTAKE(p, key, "too many certificates (at most %d)", CONF_TLS_MAX);
	else
		p->tls[p->n_tls++] = pair;
}

/* One more element of a list of blocks, zeroed; NULL without room (noted). */
static void *
list_add(struct parser *p, const struct conf_block *block, const struct conf_token *key)
{
	char **v = (char **)((char *)p->s + block->list);
	size_t *n = (size_t *)(v + 1);
	char *more = *v;

	if (*n == CONF_LIST_MAX) {
		MISTAKE(p, key, "too many blocks '%s' (at most %d)", block->name, CONF_LIST_MAX);
		return NULL;
	}
	if (!(*n & (*n - 1))) { /* full: it has room for the next power of two */
		more = arena_zalloc(p->s->arena, block->size * (*n ? *n * 2 : 1));
		if (!more) {
			p->stop = p->failed = true;
			return NULL;
		}
		if (*n)
			memcpy(more, *v, *n * block->size);
		*v = more;
	}
	return more + (*n)++ * block->size;
}

static void
list_required(struct parser *p, const struct scope *sc, const struct conf_token *key)
{
	for (size_t i = 0; i < conf_n_rows; i++)
		if (conf_rows[i].required && !strcmp(conf_rows[i].block, sc->block) &&
		    !sc->origin[i].file.p)
			MISTAKE(p, key, "'%.*s' needs '%s'", STR_ARG(sc->title), conf_rows[i].name);
}

static void
list_block(struct parser *p, const struct conf_block *block, const struct conf_token *key)
{
	struct conf_origin *origin = ARENA_ARRAY(p->s->arena, struct conf_origin, conf_n_rows);
	struct scope sc = { block->name, .origin = origin };
	struct conf_token arg = p->tok;
	const struct str *other;
	struct str *name;

	if (!more_on_line(p) || !origin) {
		MISTAKE(p, key, "'%s' needs %s", block->name, block->args);
		skip_statement(p);
		return;
	}
	for (size_t i = 0; (other = conf_list_at(p->s, block, i)); i++)
		if (str_ieq(*other, arg.text))
			MISTAKE(p, &arg, "'%s %.*s' is there twice", block->name,
			    STR_ARG(str_head(arg.text, 80)));
	advance(p);
	name = list_add(p, block, key);
	if (!name)
		return;
	sc.base = name;
	sc.title = title(p, block->name, arg.text);
	*name = arena_dup(p->s->arena, arg.text);
	block_body(p, &sc, key);
	list_required(p, &sc, key);
	conf_defaults(p, block->name, name, origin);
}

static void
plain_block(struct parser *p, const struct conf_block *block, const struct conf_token *key)
{
	struct scope sc = { block->name, title(p, block->name, STR("")), p->s, p->s->origin };

	if (p->tok.kind != TOK_OPEN) {
		MISTAKE(p, key, "expected '{' after '%s'", block->name);
		skip_statement(p);
		return;
	}
	block_body(p, &sc, key);
}

static void
version(struct parser *p, const struct conf_token *key)
{
	struct conf_token t = p->tok;

	if (p->version_seen) {
		MISTAKE(p, key, "'config' is said twice");
		skip_statement(p);
		return;
	}
	p->version_seen = true;
	if (more_on_line(p) && str_eq(t.text, STR("1"))) {
		advance(p);
		return;
	}
	if (more_on_line(p))
		MISTAKE(p, &t, "this posthorn reads the language 'config 1', not 'config %.*s'",
		    STR_ARG(str_head(t.text, 20)));
	else
		MISTAKE(p, key, "'config' needs the version of the language: write 'config 1'");
	p->stop = true;
}

static void
include(struct parser *p, const struct conf_token *key)
{
	struct conf_token t = p->tok;
	struct conf_origin at = conf_here(p, key);

	if (!more_on_line(p)) {
		MISTAKE(p, key, "'include' needs a file");
		skip_statement(p);
		return;
	}
	conf_include(p, &at, t.text);
	advance(p);
}

/* A statement that only stands outside of blocks; false when key is none. */
static bool
top_statement(struct parser *p, const struct conf_token *key)
{
	const struct conf_block *block = conf_block_find(key->text);

	if (!p->version_seen && !str_eq(key->text, STR("config"))) {
		MISTAKE(p, key, "the first statement must be 'config 1'");
		p->version_seen = true;
	}
	if (str_eq(key->text, STR("config")))
		version(p, key);
	else if (str_eq(key->text, STR("include")))
		include(p, key);
	else if (block && block->kind == CONF_B_LISTEN)
		listen_block(p, key);
	else if (block && block->kind == CONF_B_TLS)
		tls_block(p, key);
	else if (block && block->kind == CONF_B_LIST)
		list_block(p, block, key);
	else if (block)
		plain_block(p, block, key);
	else
		return false;
	return true;
}

static void
statement(struct parser *p, struct scope *sc)
{
	struct conf_token key = p->tok;
	const struct conf_row *row;

	advance(p);
	if (key.kind == TOK_SEMI)
		return;
	if (key.kind != TOK_WORD) {
		if (key.kind == TOK_BAD)
			MISTAKE(p, &key, "%.*s", STR_ARG(key.text));
		else
			MISTAKE(p, &key, "expected a setting, not %s%.*s%s",
			    key.kind == TOK_STRING ? "\"" : "'", STR_ARG(str_head(key.text, 40)),
			    key.kind == TOK_STRING ? "\"" : "'");
		skip_statement(p);
		return;
	}
	if (!*sc->block && top_statement(p, &key))
		return;
	row = conf_row_find(str_c(sc->block), key.text);
	if (row) {
		setting(p, sc, row, &key);
		return;
	}
	if (!strcmp(sc->block, "plugin")) {
		if (!plugin_mark(p, sc->base, &key))
			plugin_option(p, sc->base, &key);
		return;
	}
	unknown_key(p, sc, &key);
	skip_statement(p);
}

void
conf_parse_text(struct parser *p, struct str text)
{
	struct scope top = { "", STR_NULL, p->s, p->s->origin };
	struct conf_lex lex, *outer_lex = p->lex;
	struct conf_token outer_tok = p->tok;

	conf_lex_init(&lex, text, p->s->arena);
	p->lex = &lex;
	advance(p);
	while (p->tok.kind != TOK_END)
		statement(p, &top);
	p->lex = outer_lex;
	p->tok = outer_tok;
}
