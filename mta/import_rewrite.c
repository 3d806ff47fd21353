/*
 * What Postfix's cleanup does, as the blocks rewrite and checks: canonical and generic maps,
 * masquerading, rules for header and body lines.
 */
#include <errno.h>

#include "lib/conf/rules.h"
#include "lib/conf/value.h"
#include "mta/import.h"

/* ---- rewrite ---- */

/* A list of words, each made fit for the language. */
static void
put_list(struct import *m, const char *param, const char *key, bool classes, struct buf *out)
{
	struct str list = import_get(m, NULL, param), w;
	size_t n = 0;

	if (!import_is_set(m, param))
		return;
	while (import_word(&list, &w)) {
		char *p = arena_cstr(m->arena, w);

		for (char *q = p; classes && p && *q; q++)
			if (*q == '_')
				*q = '-';
		buf_printf(out, "%s", n++ ? ", " : arena_printf(m->arena, "\t%s ", key).p);
		conf_quote(out, str_c(p));
	}
	if (!n && classes)
		buf_printf(out, "\t%s none", key);
	if (n || classes)
		buf_putc(out, '\n');
	import_say(m, param, n || classes ? IMPORT_CARRIED : IMPORT_NEEDLESS, "rewrite.%s", key);
}

/* Whose header is rewritten. */
static void
put_headers(struct import *m, struct buf *out)
{
	struct str clients = import_get(m, NULL, "local_header_rewrite_clients"), w;
	bool all = import_get(m, NULL, "remote_header_rewrite_domain").n > 0;

	while (import_word(&clients, &w)) {
		all |= str_eq(w, STR("static:all"));
		if (!str_starts(w, STR("permit_")) && !str_eq(w, STR("static:all")))
			import_say(m, "local_header_rewrite_clients", IMPORT_LOST, "%.*s", STR_ARG(w));
	}
	if (all)
		buf_puts(out, "\theaders all\n");
	if (import_is_set(m, "local_header_rewrite_clients"))
		import_say(m, "local_header_rewrite_clients", IMPORT_CARRIED, "rewrite.headers");
	if (import_is_set(m, "remote_header_rewrite_domain"))
		import_say(m, "remote_header_rewrite_domain", all ? IMPORT_LOST : IMPORT_NEEDLESS,
		    "headers of strangers are rewritten (rewrite.headers), but no domain is added");
}

static void
put_rewrite(struct import *m)
{
	struct buf b = { 0 };

	import_maps(m, "sender_canonical_maps", "rewrite.sender-canonical", &b, false, NULL);
	import_maps(m, "recipient_canonical_maps", "rewrite.recipient-canonical", &b, false, NULL);
	import_maps(m, "canonical_maps", "rewrite.canonical", &b, false, NULL);
	import_maps(m, "smtp_generic_maps", "rewrite.generic", &b, false, NULL);
	put_list(m, "canonical_classes", "canonical-classes", true, &b);
	put_list(m, "sender_canonical_classes", "sender-canonical-classes", true, &b);
	put_list(m, "recipient_canonical_classes", "recipient-canonical-classes", true, &b);
	put_list(m, "masquerade_domains", "masquerade-domains", false, &b);
	put_list(m, "masquerade_exceptions", "masquerade-exceptions", false, &b);
	put_list(m, "masquerade_classes", "masquerade-classes", true, &b);
	put_headers(m, &b);
	if (b.n)
		buf_printf(&m->conf, "rewrite {\n%.*s}\n", STR_ARG(buf_view(&b)));
	buf_done(&b);
}

/* ---- checks ---- */

/* Without the flag x of regexp tables, which means something else in Perl's. */
static struct str
pattern_text(struct import *m, const struct import_map *map, struct str key)
{
	size_t n = key.n;
	struct buf b = { 0 };
	struct str text;

	while (n && ascii_isalpha(key.p[n - 1]))
		n--;
	buf_str(&b, str_head(key, n));
	for (size_t i = n; i < key.n; i++)
		if (key.p[i] != 'x' || !str_eq(map->type, STR("regexp")))
			buf_putc(&b, key.p[i]);
	text = arena_dup(m->arena, buf_view(&b));
	buf_done(&b);
	return text;
}

/* The row as a rule; one that cannot be had ends the search as it did, and does nothing. */
static void
put_rule(struct import *m, const char *param, const struct import_map *map,
    const struct import_row *row, struct buf *out)
{
	struct str value = row->value, word = str_word(&value), line;
	struct conf_rules probe = { 0 };
	struct err e = { 0 };

	if (!row->value.n) { /* if, endif */
		buf_printf(out, "%.*s\n", STR_ARG(row->key));
		return;
	}
	if (str_ieq(word, STR("OK")) || str_ieq(word, STR("PASS")) || str_ieq(word, STR("DUNNO")))
		line = arena_printf(m->arena, "%.*s DUNNO", STR_ARG(pattern_text(m, map, row->key)));
	else
		line = arena_printf(m->arena, "%.*s %.*s", STR_ARG(pattern_text(m, map, row->key)),
		    STR_ARG(row->value));
	if (rules_add(&probe, line, m->arena, &e)) {
		import_say(m, param, IMPORT_LOST, "%.*s: %s", STR_ARG(str_head(line, 200)), e.text);
		line = arena_printf(m->arena, "%.*s DUNNO", STR_ARG(row->key));
		if (rules_add(&probe, line, m->arena, &e))
			return;
	}
	buf_printf(out, "%.*s\n", STR_ARG(line));
}

static void
put_checks_of(struct import *m, const char *param, const char *key, struct buf *conf, struct err *e)
{
	struct str list = import_get(m, NULL, param), w;
	struct import_map map;
	struct buf rules = { 0 };
	size_t n = 0;

	if (!import_is_set(m, param))
		return;
	while (import_word(&list, &w)) {
		if (import_map(m, w, false, &map) || map.kind != IMPORT_MAP_PATTERNS) {
			import_say(m, param, IMPORT_LOST, "%.*s: %.*s", STR_ARG(w), STR_ARG(map.why.n ? map.why :
			    STR("only regexp and pcre tables can be checks")));
			continue;
		}
		for (size_t i = 0; i < map.n; i++, n++)
			put_rule(m, param, &map, &map.rows[i], &rules);
	}
	if (!n) {
		buf_printf(conf, "\t%s none\n", key);
		import_say(m, param, IMPORT_CARRIED, "checks.%s", key);
	} else if (!import_table(m, param, buf_view(&rules), e)) {
		buf_printf(conf, "\t%s file \"tables/%s\"\n", key, param);
		import_say(m, param, IMPORT_CARRIED, "checks.%s, %zu rules", key, n);
	}
	buf_done(&rules);
}

static void
put_checks(struct import *m, struct err *e)
{
	struct buf b = { 0 };

	put_checks_of(m, "header_checks", "header", &b, e);
	put_checks_of(m, "mime_header_checks", "mime-header", &b, e);
	put_checks_of(m, "nested_header_checks", "nested-header", &b, e);
	put_checks_of(m, "body_checks", "body", &b, e);
	if (b.n)
		buf_printf(&m->conf, "checks {\n%.*s}\n", STR_ARG(buf_view(&b)));
	buf_done(&b);
}

void
import_rewriting(struct import *m, struct err *e)
{
	put_rewrite(m);
	put_checks(m, e);
}
