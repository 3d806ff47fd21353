/* The ways into the parser and out of it again; see settings.h. */
#include <stdlib.h>

#include "lib/conf/parse_private.h"

static struct settings *
settings_new(void)
{
	struct arena *a = arena_new(0);
	struct settings *s = a ? ARENA_NEW(a, struct settings) : NULL;

	if (s) {
		s->arena = a;
		s->origin = ARENA_ARRAY(a, struct conf_origin, conf_n_rows);
	}
	if (!s || !s->origin) {
		arena_free(&a);
		return NULL;
	}
	return s;
}

void
settings_free(struct settings **s)
{
	struct arena *a;

	if (!*s)
		return;
	a = (*s)->arena;
	*s = NULL;
	arena_free(&a);
}

static struct parser *
parser_new(const char *name, struct arena *errors_arena, struct conf_errors *errors)
{
	struct parser *p = calloc(1, sizeof *p);
	struct settings *s = settings_new();

	*errors = (struct conf_errors){ 0 };
	if (!p || !s) {
		free(p);
		settings_free(&s);
		return NULL;
	}
	p->s = s;
	p->errors_arena = errors_arena;
	p->errors = errors;
	p->file = arena_dup(s->arena, str_c(name));
	return p;
}

/* The settings, or NULL after a mistake. Frees p. */
static struct settings *
parser_end(struct parser *p)
{
	struct settings *s = p->s;

	if (p->failed)
		settings_free(&s);
	free(p);
	return s;
}

/* An error that has no place in any line. */
static void
without_place(struct parser *p, const char *text)
{
	struct conf_origin at = { .file = p->file };

	conf_mistake(p, &at, false, "%s", text);
}

static void
parse(struct parser *p, struct str text)
{
	conf_parse_text(p, text);
	if (!p->stop && !p->version_seen)
		without_place(p, "the first statement must be 'config 1'");
	if (!p->stop)
		conf_finish(p);
}

struct settings *
settings_parse(struct str text, const char *name, struct arena *errors_arena,
    struct conf_errors *ret_errors)
{
	struct parser *p = parser_new(name, errors_arena, ret_errors);

	if (!p)
		return NULL;
	parse(p, text);
	return parser_end(p);
}

struct settings *
settings_load(const char *path, struct arena *errors_arena, struct conf_errors *ret_errors)
{
	struct parser *p = parser_new(path, errors_arena, ret_errors);
	char *real = realpath(path, NULL);
	ptrdiff_t slash = str_rchr(str_c(real), '/');
	struct str text;
	struct err e;

	if (!p) {
		free(real);
		return NULL;
	}
	p->files = true;
	p->dir = arena_dup(p->s->arena, slash > 0 ? str_from(real, (size_t)slash) : STR("/"));
	free(real);
	if (conf_read_file(path, CONF_FILE_MAX, p->s->arena, &text, NULL, &e))
		without_place(p, e.text);
	else
		parse(p, text);
	return parser_end(p);
}

static void
put_row(struct buf *out, const struct conf_row *row, const void *base, unsigned secrets,
    const char *before)
{
	buf_printf(out, "%s%s ", before, row->name);
	if (row->secret & ~secrets)
		buf_puts(out, CONF_HIDDEN);
	else
		conf_value_put(out, base, row);
	buf_putc(out, '\n');
}

/* An empty list has no way to be said. */
static void
put_rows(struct buf *out, const void *base, const char *block, unsigned secrets, const char *before)
{
	for (size_t i = 0; i < conf_n_rows; i++)
		if (strcmp(conf_rows[i].block, block) == 0 && !conf_value_empty(base, &conf_rows[i]))
			put_row(out, &conf_rows[i], base, secrets, before);
}

static void
put_options(struct buf *out, const struct conf_plugin *pl)
{
	for (size_t i = 0; i < pl->n_options; i++) {
		const struct conf_option *o = &pl->options[i];

		buf_printf(out, "\t%.*s ", STR_ARG(o->name));
		for (size_t k = 0; k < o->n; k++) {
			buf_puts(out, k ? ", " : "");
			conf_quote(out, o->v[k]);
		}
		buf_puts(out, "\n\t@at ");
		conf_quote(out, o->file);
		buf_printf(out, " %u %u\n", o->line, o->col);
	}
}

static void
put_block(struct buf *out, const char *block, const char *arg, struct str name, const void *base,
    unsigned secrets)
{
	buf_printf(out, "%s%s%s", block, arg ? " " : "", arg ? arg : "");
	if (name.n) {
		buf_putc(out, ' ');
		conf_quote(out, name);
	}
	buf_puts(out, " {\n");
	put_rows(out, base, block, secrets, "\t");
	buf_puts(out, "}\n");
}

/* The word of `listen` that gives this protocol. */
static const char *
listen_word(const struct conf_listen *ls)
{
	const struct conf_listen_kind *named = conf_listen_kind_find(ls->name);

	if (named && named->proto == ls->proto)
		return named->name;
	for (size_t i = 0; i < conf_n_listen_kinds; i++)
		if (conf_listen_kinds[i].proto == ls->proto)
			return conf_listen_kinds[i].name;
	return "smtp";
}

/* Whose options are said: nobody's, one slot's, everybody's (slot 0). */
struct whose {
	bool any;
	unsigned slot;
};

static void
put_plugin(struct buf *out, const struct conf_plugin *pl, struct whose whose)
{
	buf_puts(out, "plugin ");
	conf_quote(out, pl->name);
	buf_puts(out, " {\n");
	put_rows(out, pl, "plugin", 0, "\t");
	if (pl->slot)
		buf_printf(out, "\t@slot %u\n", pl->slot);
	if (whose.any && (!whose.slot || whose.slot == pl->slot))
		put_options(out, pl);
	buf_puts(out, "}\n");
}

static void
put_list(struct buf *out, const struct settings *s, const struct conf_block *block,
    unsigned secrets, struct whose whose)
{
	const void *element;

	for (size_t i = 0; i < s->n_plugins && !strcmp(block->name, "plugin"); i++)
		put_plugin(out, &s->plugins[i], whose);
	if (!strcmp(block->name, "plugin"))
		return;
	for (size_t i = 0; (element = conf_list_at(s, block, i)); i++)
		put_block(out, block->name, NULL, *(const struct str *)element, element, secrets);
}

static void
put_all(const struct settings *s, unsigned secrets, struct whose whose, struct buf *out)
{
	buf_puts(out, "config 1\n");
	put_rows(out, s, "", secrets, "");
	for (size_t i = 0; i < conf_n_blocks; i++) {
		if (conf_blocks[i].kind == CONF_B_LIST)
			put_list(out, s, &conf_blocks[i], secrets, whose);
		if (conf_blocks[i].kind != CONF_B_PLAIN)
			continue;
		buf_printf(out, "%s {\n", conf_blocks[i].name);
		put_rows(out, s, conf_blocks[i].name, secrets, "\t");
		buf_puts(out, "}\n");
	}
	for (size_t i = 0; i < s->n_tls; i++)
		put_block(out, "tls", NULL, STR_NULL, &s->tls[i], secrets);
	for (size_t i = 0; i < s->n_listen; i++)
		put_block(out, "listen", listen_word(&s->listen[i]), s->listen[i].name,
		    &s->listen[i], secrets);
}

void
settings_text(const struct settings *s, unsigned secrets, struct buf *out)
{
	put_all(s, secrets, (struct whose){ false, 0 }, out);
}

void
settings_text_plugin(const struct settings *s, unsigned slot, struct buf *out)
{
	put_all(s, 0, (struct whose){ true, slot }, out);
}

void
conf_error_put(struct buf *out, const struct conf_error *e)
{
	buf_str(out, e->file);
	if (e->line)
		buf_printf(out, ":%u:%u", e->line, e->col);
	buf_printf(out, ": %s: %.*s\n", e->warning ? "warning" : "error", STR_ARG(e->text));
	if (!e->line || !e->source.n)
		return;
	buf_printf(out, "    %.*s\n    ", STR_ARG(e->source));
	for (size_t i = 0, col = 1; i < e->source.n && col < e->col; i++) {
		if (((unsigned char)e->source.p[i] & 0xc0) == 0x80)
			continue;
		buf_putc(out, e->source.p[i] == '\t' ? '\t' : ' ');
		col++;
	}
	buf_puts(out, "^\n");
}
