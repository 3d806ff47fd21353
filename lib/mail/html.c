/*
 * HTML as text, for previews and search: not a parser, a filter. Tags become
 * blanks where they end a block, comments, scripts and styles vanish.
 */
#include "lib/mail/body.h"

#include "lib/base/text.h"

static const struct {
	struct str name;
	uint32_t cp;
} entities[] = {
	{ STR_INIT("amp"), '&' }, { STR_INIT("lt"), '<' }, { STR_INIT("gt"), '>' },
	{ STR_INIT("quot"), '"' }, { STR_INIT("apos"), '\'' }, { STR_INIT("nbsp"), ' ' },
	{ STR_INIT("auml"), 0xe4 }, { STR_INIT("ouml"), 0xf6 }, { STR_INIT("uuml"), 0xfc },
	{ STR_INIT("Auml"), 0xc4 }, { STR_INIT("Ouml"), 0xd6 }, { STR_INIT("Uuml"), 0xdc },
	{ STR_INIT("szlig"), 0xdf }, { STR_INIT("eacute"), 0xe9 }, { STR_INIT("egrave"), 0xe8 },
	{ STR_INIT("agrave"), 0xe0 }, { STR_INIT("ccedil"), 0xe7 }, { STR_INIT("euro"), 0x20ac },
	{ STR_INIT("copy"), 0xa9 }, { STR_INIT("reg"), 0xae }, { STR_INIT("hellip"), 0x2026 },
	{ STR_INIT("ndash"), 0x2013 }, { STR_INIT("mdash"), 0x2014 },
	{ STR_INIT("lsquo"), 0x2018 }, { STR_INIT("rsquo"), 0x2019 },
	{ STR_INIT("ldquo"), 0x201c }, { STR_INIT("rdquo"), 0x201d }, { STR_INIT("shy"), 0xad },
	{ STR_INIT("zwnj"), 0x200c }, { STR_INIT("bull"), 0x2022 }, { STR_INIT("middot"), 0xb7 },
};

/* A character reference at s ("&...;"): its length, 0 when it is none. */
static size_t
entity(struct str s, struct buf *out)
{
	struct str t = str_head(s, 12);
	ptrdiff_t end = str_chr(t, ';');
	uint32_t cp = 0;

	if (end < 2)
		return 0;
	t = str_from(s.p + 1, (size_t)end - 1);
	if (t.p[0] == '#') {
		bool hex = t.n > 1 && (t.p[1] | 32) == 'x';

		for (size_t i = hex ? 2 : 1; i < t.n; i++) {
			char c = ascii_lower(t.p[i]);
			uint32_t d = ascii_isdigit(c) ? (uint32_t)(c - '0') :
			    hex && c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10) : 99;

			if (d == 99 || cp > 0x10ffff)
				return 0;
			cp = cp * (hex ? 16 : 10) + d;
		}
		if (cp < 32 || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
			cp = ' ';
	} else {
		for (size_t i = 0; i < sizeof entities / sizeof *entities; i++)
			if (str_eq(t, entities[i].name))
				cp = entities[i].cp;
		if (!cp)
			return 0;
	}
	utf8_put(out, cp);
	return (size_t)end + 1;
}

static bool
is_tag(struct str s, struct str name)
{
	return str_istarts(s, name) && (s.n == name.n || !ascii_isalnum(s.p[name.n]));
}

/* Tags inside a line of text. */
static bool
is_inline(struct str tag)
{
	static const struct str names[] = { STR_INIT("a"), STR_INIT("b"), STR_INIT("i"),
		STR_INIT("u"), STR_INIT("em"), STR_INIT("strong"), STR_INIT("span"),
		STR_INIT("font"), STR_INIT("small"), STR_INIT("big"), STR_INIT("sup"),
		STR_INIT("sub"), STR_INIT("code"), STR_INIT("tt") };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (is_tag(tag, names[i]))
			return true;
	return false;
}

/* The length of the markup that s begins with ('<'). */
static size_t
markup(struct str s, struct buf *out)
{
	static const struct str hidden[][2] = { { STR_INIT("script"), STR_INIT("</script") },
		{ STR_INIT("style"), STR_INIT("</style") }, { STR_INIT("title"), STR_INIT("</title") } };
	struct str tag = str_skip(s, 1);
	ptrdiff_t end;

	if (str_starts(tag, STR("!--"))) {
		end = str_find(s, STR("-->"));
		return end < 0 ? s.n : (size_t)end + 3;
	}
	for (size_t i = 0; i < 3; i++)
		if (is_tag(tag, hidden[i][0])) {
			end = str_ifind(s, hidden[i][1]);
			return end < 0 ? s.n : (size_t)end;
		}
	if (!tag.n || (!ascii_isalpha(tag.p[0]) && tag.p[0] != '/' && tag.p[0] != '!' && tag.p[0] != '?'))
		return 0;
	end = str_chr(s, '>');
	if (!is_inline(tag.p[0] == '/' ? str_skip(tag, 1) : tag))
		buf_putc(out, '\n');
	return end < 0 ? s.n : (size_t)end + 1;
}

void
html_text(struct str s, struct buf *out)
{
	while (s.n && !out->over) {
		size_t n = s.p[0] == '<' ? markup(s, out) : s.p[0] == '&' ? entity(s, out) : 0;

		if (!n) {
			buf_putc(out, s.p[0]);
			n = 1;
		}
		s = str_skip(s, n);
	}
}
