/* A recursive reader; see json_read.h. Depth and members are bounded. */
#include "lib/base/json_read.h"

#include <errno.h>
#include <string.h>

#include "lib/base/text.h"

struct reader {
	struct str in;         /* what is left */
	struct arena *a;
	unsigned depth;
};

static int value(struct reader *r, struct json_node *n);

static void
blanks(struct reader *r)
{
	while (r->in.n && memchr(" \t\r\n", r->in.p[0], 4))
		r->in = str_skip(r->in, 1);
}

/* Takes the character if it stands next, behind blanks. */
static bool
take(struct reader *r, char c)
{
	blanks(r);
	if (!r->in.n || r->in.p[0] != c)
		return false;
	r->in = str_skip(r->in, 1);
	return true;
}

/* ---- strings ---- */

static int
hex4(struct reader *r, uint32_t *ret)
{
	uint32_t v = 0;

	if (r->in.n < 4)
		return -EINVAL;
	for (size_t i = 0; i < 4; i++) {
		char c = r->in.p[i];
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
		    : c >= 'A' && c <= 'F'                                ? c - 'A' + 10 : -1;

		if (d < 0)
			return -EINVAL;
		v = v << 4 | (uint32_t)d;
	}
	r->in = str_skip(r->in, 4);
	*ret = v;
	return 0;
}

/* \uXXXX, or two of them that make one character. */
static int
unicode(struct reader *r, struct buf *out)
{
	uint32_t c, low;

	if (hex4(r, &c) || (c >= 0xdc00 && c <= 0xdfff))
		return -EINVAL;
	if (c >= 0xd800 && c <= 0xdbff) {
		if (!str_starts(r->in, STR("\\u")))
			return -EINVAL;
		r->in = str_skip(r->in, 2);
		if (hex4(r, &low) || low < 0xdc00 || low > 0xdfff)
			return -EINVAL;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	utf8_put(out, c);
	return 0;
}

static int
escape(struct reader *r, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	char c;

	if (!r->in.n)
		return -EINVAL;
	c = r->in.p[0];
	r->in = str_skip(r->in, 1);
	if (c == 'u')
		return unicode(r, out);
	at = c ? strchr(from, c) : NULL;
	if (!at)
		return -EINVAL;
	buf_put(out, &to[at - from], 1);
	return 0;
}

/* Behind its opening quote, to the closing one. */
static int
characters(struct reader *r, struct buf *out)
{
	while (r->in.n) {
		char c = r->in.p[0];

		r->in = str_skip(r->in, 1);
		if (c == '"')
			return out->over ? -ENOMEM : utf8_valid(buf_view(out)) ? 0 : -EINVAL;
		if ((unsigned char)c < 32)
			return -EINVAL;
		if (c != '\\')
			buf_put(out, &c, 1);
		else if (escape(r, out))
			return -EINVAL;
	}
	return -EINVAL;
}

static int
string(struct reader *r, struct str *ret)
{
	struct buf b = { 0 };
	int code = characters(r, &b);

	if (!code) {
		*ret = b.n ? arena_dup(r->a, buf_view(&b)) : STR("");
		code = ret->p ? 0 : -ENOMEM;
	}
	buf_done(&b);
	return code;
}

/* ---- numbers and words ---- */

static size_t
digits(struct reader *r)
{
	size_t n = 0;

	while (n < r->in.n && r->in.p[n] >= '0' && r->in.p[n] <= '9')
		n++;
	r->in = str_skip(r->in, n);
	return n;
}

static bool
take_now(struct reader *r, char c)
{
	if (!r->in.n || r->in.p[0] != c)
		return false;
	r->in = str_skip(r->in, 1);
	return true;
}

static int
number(struct reader *r, struct json_node *n)
{
	struct str all = r->in;

	take_now(r, '-');
	if (!take_now(r, '0') && !digits(r))
		return -EINVAL;
	if (take_now(r, '.') && !digits(r))
		return -EINVAL;
	if (take_now(r, 'e') || take_now(r, 'E')) {
		if (!take_now(r, '-'))
			take_now(r, '+');
		if (!digits(r))
			return -EINVAL;
	}
	n->type = JSON_NUMBER;
	n->text = str_head(all, all.n - r->in.n);
	return 0;
}

static int
word(struct reader *r, struct json_node *n)
{
	static const struct {
		struct str text;
		enum json_type type;
	} words[] = {
		{ STR_INIT("null"), JSON_NULL }, { STR_INIT("true"), JSON_TRUE },
		{ STR_INIT("false"), JSON_FALSE },
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_starts(r->in, words[i].text)) {
			n->type = words[i].type;
			r->in = str_skip(r->in, words[i].text.n);
			return 0;
		}
	return number(r, n);
}

/* ---- arrays and objects ---- */

static int
key(struct reader *r, const struct json_node *in, struct str *ret)
{
	int code = take(r, '"') ? string(r, ret) : -EINVAL;

	if (code)
		return code;
	for (const struct json_node *m = in->first; m; m = m->next)
		if (str_eq(m->key, *ret))
			return -EINVAL;
	return take(r, ':') ? 0 : -EINVAL;
}

/* Members or elements, behind the opening bracket, through the closing one. */
static int
members(struct reader *r, struct json_node *in, char close)
{
	struct json_node **end = &in->first;
	unsigned n = 0;
	int code;

	if (take(r, close))
		return 0;
	do {
		struct json_node *m = ARENA_NEW(r->a, struct json_node);

		if (!m)
			return -ENOMEM;
		if (in->type == JSON_OBJECT && (n++ == JSON_MEMBERS_MAX || key(r, in, &m->key)))
			return -EINVAL;
		code = value(r, m);
		if (code)
			return code;
		*end = m;
		end = &m->next;
	} while (take(r, ','));
	return take(r, close) ? 0 : -EINVAL;
}

static int
nested(struct reader *r, struct json_node *n, enum json_type type, char close)
{
	int code;

	n->type = type;
	if (r->depth == JSON_DEPTH_MAX)
		return -EINVAL;
	r->depth++;
	code = members(r, n, close);
	r->depth--;
	return code;
}

static int
value(struct reader *r, struct json_node *n)
{
	if (take(r, '{'))
		return nested(r, n, JSON_OBJECT, '}');
	if (take(r, '['))
		return nested(r, n, JSON_ARRAY, ']');
	if (take(r, '"')) {
		n->type = JSON_STRING;
		return string(r, &n->text);
	}
	return word(r, n);
}

int
json_read(struct str text, struct arena *a, const struct json_node **ret)
{
	struct reader r = { .in = text, .a = a };
	struct json_node *n = ARENA_NEW(a, struct json_node);
	int code = n ? value(&r, n) : -ENOMEM;

	if (code)
		return code;
	blanks(&r);
	if (r.in.n)
		return -EINVAL;
	*ret = n;
	return 0;
}

/* ---- what is in it ---- */

const struct json_node *
json_member(const struct json_node *n, struct str key)
{
	if (!n || n->type != JSON_OBJECT)
		return NULL;
	for (const struct json_node *m = n->first; m; m = m->next)
		if (str_eq(m->key, key))
			return m;
	return NULL;
}

struct str
json_member_str(const struct json_node *n, struct str key)
{
	const struct json_node *m = json_member(n, key);

	return m && m->type == JSON_STRING ? m->text : STR_NULL;
}

bool
json_member_u64(const struct json_node *n, struct str key, uint64_t *ret)
{
	const struct json_node *m = json_member(n, key);
	struct str whole;

	if (!m || m->type != JSON_NUMBER || str_chr(m->text, 'e') >= 0 || str_chr(m->text, 'E') >= 0)
		return false;
	whole = m->text;
	return str_u64(str_cut(&whole, '.'), UINT64_MAX, ret);
}
