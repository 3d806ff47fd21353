/*
 * Rules on lines; see check.h.
 *
 *	text --boundary--> part's header --empty line--> text
 *	                        |  message/rfc822: header of the message inside --> text
 *
 * A line is held back until its end has come, a header field until the next line shows
 * that it does not go on. Patterns see a line of more than LINE_HELD bytes in pieces of
 * that length, wherever the stream was cut; a boundary stands at the begin of a line. A
 * field of more than FIELD_HELD bytes is passed over unchecked.
 *
 * Time is measured around each match. When a message has had its share, or a match takes
 * too many steps, the message gets 451: a check that was not made is not passed.
 */
#include "lib/accept/check.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/text.h"
#include "lib/io/co.h"
#include "lib/mail/header.h"
#include "lib/mail/mime.h"

#define STEPS_MAX 300000u
#define TURN_US 3000u        /* others get their turn after so much matching */
#define LINE_HELD 8192u
#define FIELD_HELD 65536u
#define BOUNDARIES_MAX 20

enum where { IN_TEXT, IN_PART_HEADER, IN_NESTED_HEADER };

struct check {
	struct accept_request request;
	struct arena *arena;
	struct matcher *matcher;
	struct check_result result;
	uint64_t spent_us, turn_us;
	/* the body */
	enum where where;
	struct str boundaries[BOUNDARIES_MAX];
	size_t n_boundaries;
	struct str type;           /* Content-Type of the header that is read now */
	bool encoded;              /* its Content-Transfer-Encoding hides lines */
	uint64_t seen;             /* bytes of text of this part */
	bool within;               /* of a line: its begin was looked at before */
	bool passing;              /* the rest of a field that is too long to be checked */
	struct buf cut;            /* a line whose end has not come */
	struct buf held;           /* a header field that may go on */
	struct buf subject;        /* what a pattern sees */
};

/* ---- rules ---- */

static const struct conf_rules *
or_header(const struct settings *s, const struct conf_rules *r)
{
	return r->n ? r : &s->check_header;
}

static bool
has_rules(const struct conf_rules *r)
{
	return r->n && !rules_none(r);
}

bool
check_wanted(const struct accept_request *r)
{
	const struct settings *s = r->settings;

	return !(r->env->flags & ENV_EXEMPT) && (has_rules(&s->check_header) || has_rules(&s->check_body) ||
	    has_rules(&s->check_mime_header) || has_rules(&s->check_nested_header));
}

static void
check_free(void *arg)
{
	struct check *c = arg;

	matcher_free(&c->matcher);
	buf_done(&c->cut);
	buf_done(&c->held);
	buf_done(&c->subject);
}

struct check *
check_new(const struct accept_request *r, struct arena *a)
{
	struct check *c = ARENA_NEW(a, struct check);

	if (!c || arena_defer(a, check_free, c))
		return NULL;
	c->request = *r;
	c->request.with = NULL;
	c->arena = a;
	c->matcher = matcher_new(STEPS_MAX);
	return c->matcher ? c : NULL;
}

const struct check_result *
check_result(const struct check *c)
{
	return &c->result;
}

static void
verdict(struct check *c, unsigned smtp, const char *enhanced, const char *text)
{
	if (!c->result.verdict.smtp)
		c->result.verdict = (struct accept_verdict){ smtp, enhanced, text };
}

static void
too_costly(struct check *c, const struct rule *r)
{
	const struct accept_note n = { .kind = ACCEPT_CHECK_COSTLY, .what = r->text };

	verdict(c, 451, "4.3.0", "The message's checks take too long");
	if (c->request.note)
		c->request.note(&c->request, &n);
}

/* regex_match, with its time counted. */
static int
match(struct check *c, const struct rule *r, struct str line)
{
	uint64_t start = clock_us(), took;
	int hit = regex_match(c->matcher, r->pattern, line);

	took = clock_us() - start;
	c->spent_us += took;
	c->turn_us += took;
	if (hit < 0 || c->spent_us > c->request.settings->check_time_ms * 1000) {
		too_costly(c, r);
		return -E2BIG;
	}
	return hit;
}

/* The rule that fits the line, or NULL. */
static const struct rule *
find(struct check *c, const struct conf_rules *rules, struct str line)
{
	unsigned skipping = 0;

	if (rules_none(rules) || c->result.verdict.smtp)
		return NULL;
	if (c->turn_us > TURN_US) {
		co_yield();
		c->turn_us = 0;
	}
	for (size_t i = 0; i < rules->n; i++) {
		const struct rule *r = &rules->rules[i];
		int hit;

		if (r->action == RULE_ENDIF) {
			skipping -= skipping > 0;
			continue;
		}
		if (skipping) {
			skipping += r->action == RULE_IF;
			continue;
		}
		hit = match(c, r, line);
		if (hit < 0)
			return NULL;
		if (r->action == RULE_IF)
			skipping = !hit;
		else if (hit)
			return r;
	}
	return NULL;
}

/* ---- actions ---- */

/* The rule's text with the groups of the match; line ends that would begin a line of their
 * own become blanks. */
static struct str
text_of(struct check *c, const struct rule *r, struct str line)
{
	struct buf b = { .max = 65536 }, out = { .max = 2 * 65536 };
	struct str text;

	regex_expand(c->matcher, line, r->text, &b);
	for (size_t i = 0; i < b.n; i++) {
		bool fold = b.p[i] == '\n' && i + 1 < b.n && (b.p[i + 1] == ' ' || b.p[i + 1] == '\t');

		if (b.p[i] == '\n')
			buf_puts(&out, fold ? "\r\n" : " ");
		else if (b.p[i] != '\r' && b.p[i] != '\0')
			buf_putc(&out, b.p[i]);
	}
	text = out.over ? STR_NULL : arena_dup(c->arena, buf_view(&out));
	buf_done(&b);
	buf_done(&out);
	return text;
}

/* As a reply may carry it. */
static const char *
reply_text(struct check *c, struct str text)
{
	char *p = arena_cstr(c->arena, str_head(text, 400));

	for (char *q = p; q && *q; q++)
		if (*q < 32 || *q > 126)
			*q = '?';
	return p;
}

/* Whether a word is an enhanced code of a refusal (RFC 3463 section 2). */
static bool
is_enhanced(struct str word)
{
	struct str class = str_cut(&word, '.'), subject = str_cut(&word, '.');

	if (class.n != 1 || (class.p[0] != '4' && class.p[0] != '5'))
		return false;
	for (int i = 0; i < 2; i++, subject = word) {
		if (!subject.n || subject.n > 3)
			return false;
		for (size_t k = 0; k < subject.n; k++)
			if (!ascii_isdigit(subject.p[k]))
				return false;
	}
	return true;
}

/* "5.7.1 text", "4.7.1 text" (to be tried again), "text" or nothing. */
static void
reject(struct check *c, struct str text)
{
	struct str rest = text, word = str_word(&rest);
	const char *enhanced = "5.7.1", *why;

	if (is_enhanced(word)) {
		enhanced = arena_cstr(c->arena, word);
		text = str_trim(rest);
	}
	why = reply_text(c, text.n ? text : STR("Message content rejected"));
	verdict(c, enhanced && enhanced[0] == '4' ? 450 : 550, enhanced ? enhanced : "5.7.1",
	    why ? why : "Message content rejected");
}

/* The line as it becomes; a line end of its own belongs to it. */
static void
put_line(struct buf *out, struct str text)
{
	if (!text.n)
		return;
	buf_str(out, text);
	buf_puts(out, "\r\n");
}

/* Whether a text can stand among header fields. */
static bool
is_field(struct str text)
{
	struct header_field f;

	return header_next(&text, &f) && f.name.n && !text.n;
}

/* Does what the rule says. whole: the line with its end, which goes on unless the rule says
 * otherwise. False: the line was changed. */
static bool
act(struct check *c, const struct rule *r, struct str line, struct str whole, bool field,
    struct buf *out)
{
	struct str text = text_of(c, r, line);
	const struct accept_note n = { .kind = ACCEPT_CHECK, .action = r->action, .what = text,
		.line = line };
	bool fits = !field || is_field(text);

	if (c->request.note && r->action != RULE_DUNNO && r->action != RULE_IGNORE)
		c->request.note(&c->request, &n);
	switch (r->action) {
	case RULE_REJECT: reject(c, text); break;
	case RULE_DISCARD: verdict(c, 250, "2.0.0", "Ok"); break;
	case RULE_HOLD: c->result.hold = true; break;
	case RULE_REDIRECT: c->result.redirect = text; break;
	case RULE_BCC: accept_copies_add(&c->result.copies, text); break;
	case RULE_PREPEND:
		if (!fits || !text.n)
			break;
		put_line(out, text);
		buf_str(out, whole);
		return false;
	case RULE_REPLACE:
		if (!fits || !text.n)
			break;
		put_line(out, text);
		return false;
	case RULE_IGNORE:
	case RULE_STRIP:
		return false;
	default:
		break;
	}
	buf_str(out, whole);
	return true;
}

/* What a pattern sees of a line: no line end behind it, and LF alone within. */
static struct str
subject_of(struct check *c, struct str whole)
{
	struct str s = whole;

	if (s.n && s.p[s.n - 1] == '\n')
		s.n--;
	if (s.n && s.p[s.n - 1] == '\r')
		s.n--;
	if (str_chr(s, '\n') < 0)
		return s;
	buf_clear(&c->subject);
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '\r' || i + 1 == s.n || s.p[i + 1] != '\n')
			buf_putc(&c->subject, s.p[i]);
	return buf_view(&c->subject);
}

static bool
run(struct check *c, const struct conf_rules *rules, struct str whole, bool field, struct buf *out)
{
	struct str line = subject_of(c, whole);
	const struct rule *r = has_rules(rules) ? find(c, rules, line) : NULL;

	if (r)
		return act(c, r, line, whole, field, out);
	buf_str(out, whole);
	return true;
}

/* ---- header fields ---- */

static bool
is_mime(struct str name)
{
	return str_istarts(name, STR("Content-")) || str_ieq(name, STR("MIME-Version"));
}

/* What the structure is told by. */
static void
note_field(struct check *c, const struct header_field *f)
{
	struct str v = header_unfold(f->raw, c->arena);

	if (str_ieq(f->name, STR("Content-Type")) && !c->type.p)
		c->type = arena_dup(c->arena, v);
	else if (str_ieq(f->name, STR("Content-Transfer-Encoding")))
		c->encoded = !str_istarts(v, STR("7bit")) && !str_istarts(v, STR("8bit")) &&
		    !str_istarts(v, STR("binary"));
}

static bool
check_field(struct check *c, const struct header_field *f, bool nested, struct buf *out)
{
	const struct settings *s = c->request.settings;
	const struct conf_rules *rules = is_mime(f->name) ? or_header(s, &s->check_mime_header) :
	    nested ? or_header(s, &s->check_nested_header) : &s->check_header;

	note_field(c, f);
	if (!f->name.n) {
		buf_str(out, f->whole);
		return true;
	}
	return run(c, rules, f->whole, true, out);
}

/* Behind a header section: what follows it. */
static void
enter_body(struct check *c)
{
	struct mime_value v = { 0 };
	struct str boundary = STR_NULL;
	bool message;

	if (c->type.p)
		mime_value_parse(c->type, c->arena, &v);
	message = str_ieq(v.type, STR("message")) && !c->encoded &&
	    (str_ieq(v.subtype, STR("rfc822")) || str_ieq(v.subtype, STR("global")));
	if (str_ieq(v.type, STR("multipart")))
		boundary = mime_value_get(&v, STR("boundary"));
	if (boundary.n && boundary.n <= MIME_MAX_BOUNDARY && c->n_boundaries < BOUNDARIES_MAX)
		c->boundaries[c->n_boundaries++] = arena_dup(c->arena, boundary);
	c->where = message ? IN_NESTED_HEADER : IN_TEXT;
	c->type = STR_NULL;
	c->encoded = false;
	c->seen = 0;
}

int
check_header(struct check *c, struct str header, struct buf *out, bool *ret_same)
{
	struct str rest = header;
	struct header_field f;

	*ret_same = true;
	while (header_next(&rest, &f))
		*ret_same &= check_field(c, &f, false, out);
	buf_str(out, rest);
	enter_body(c);
	return out->over ? -ENOMEM : 0;
}

/* ---- the body ---- */

bool
check_has_body(const struct check *c)
{
	const struct settings *s = c->request.settings;

	return has_rules(&s->check_body) || ((c->n_boundaries || c->where != IN_TEXT) &&
	    (has_rules(or_header(s, &s->check_mime_header)) ||
	    has_rules(or_header(s, &s->check_nested_header))));
}

/* Whether a line is the boundary of a multipart that is open; then what is inside of it
 * ends. *ret_last: the multipart does too. */
static bool
is_boundary(struct check *c, struct str line, bool *ret_last)
{
	if (!str_starts(line, STR("--")))
		return false;
	line = str_skip(line, 2);
	for (size_t i = c->n_boundaries; i-- > 0;) {
		struct str b = c->boundaries[i], rest;

		if (!str_starts(line, b))
			continue;
		rest = str_skip(line, b.n);
		*ret_last = str_starts(rest, STR("--"));
		if (str_trim(*ret_last ? str_skip(rest, 2) : rest).n)
			continue;
		c->n_boundaries = *ret_last ? i : i + 1;
		return true;
	}
	return false;
}

/* The field that was held back goes on. */
static void
end_field(struct check *c, struct buf *out)
{
	struct str rest = buf_view(&c->held);
	struct header_field f;

	c->passing = false;
	if (header_next(&rest, &f))
		check_field(c, &f, c->where == IN_NESTED_HEADER, out);
	buf_str(out, rest);
	buf_clear(&c->held);
}

/* A line of a header section, or a piece of one: held back, unless its field got too long. */
static void
field_line(struct check *c, struct str line, bool goes_on, struct buf *out)
{
	if (!goes_on)
		end_field(c, out);
	if (!c->passing && c->held.n + line.n <= FIELD_HELD) {
		buf_str(&c->held, line);
		return;
	}
	c->passing = true;
	buf_str(out, buf_view(&c->held));
	buf_clear(&c->held);
	buf_str(out, line);
}

static void
text_line(struct check *c, struct str line, struct buf *out)
{
	const struct settings *s = c->request.settings;
	bool within = !s->check_body_limit || c->seen < s->check_body_limit;

	c->seen += line.n;
	if (within)
		run(c, &s->check_body, line, false, out);
	else
		buf_str(out, line);
}

/* One line with its end, or a piece of it. */
static void
body_line(struct check *c, struct str line, struct buf *out)
{
	bool begins = !c->within, last;

	c->within = line.p[line.n - 1] != '\n';
	if (begins && is_boundary(c, line, &last)) {
		end_field(c, out);
		c->where = last ? IN_TEXT : IN_PART_HEADER;
		c->type = STR_NULL;
		c->encoded = false;
		c->seen = 0;
		buf_str(out, line);
	} else if (c->where == IN_TEXT) {
		text_line(c, line, out);
	} else if (begins && header_blank(line)) {
		end_field(c, out);
		enter_body(c);
		buf_str(out, line);
	} else {
		field_line(c, line, !begins || line.p[0] == ' ' || line.p[0] == '\t', out);
	}
}

int
check_body(struct check *c, struct str piece, bool last, struct buf *out)
{
	struct buf whole = { 0 };

	if (c->cut.n) {
		buf_str(&whole, buf_view(&c->cut));
		buf_str(&whole, piece);
		piece = buf_view(&whole);
		buf_clear(&c->cut);
	}
	while (piece.n) {
		struct str line = str_head(piece, LINE_HELD);
		ptrdiff_t end = str_chr(line, '\n');

		if (end >= 0)
			line.n = (size_t)end + 1;
		else if (!last && line.n < LINE_HELD) {
			buf_str(&c->cut, line);
			break;
		}
		body_line(c, line, out);
		piece = str_skip(piece, line.n);
	}
	if (last)
		end_field(c, out);
	buf_done(&whole);
	return out->over || c->cut.over || c->held.over ? -ENOMEM : 0;
}
