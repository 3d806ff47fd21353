/* The streaming JSON writer; see json.h. Each level remembers whether it has a
 * member yet: that alone decides commas, line breaks and closing brackets. */
#include "lib/base/json.h"

#include "lib/base/log.h"
#include "lib/base/text.h"

#define DEPTH_MAX 32

void
json_init(struct json *j, struct buf *out, bool indent)
{
	*j = (struct json){ .out = out, .indent = indent };
}

static void
new_line(struct json *j)
{
	if (!j->indent)
		return;
	buf_putc(j->out, '\n');
	for (unsigned i = 0; i < j->depth; i++)
		buf_puts(j->out, "  ");
}

/* What stands before a value or a key: a comma, a line break. */
static void
separate(struct json *j, bool key)
{
	if (j->after_key) {
		if (key)
			panic("json: a key after a key");
		j->after_key = false;
		return;
	}
	if (j->depth && j->level[j->depth].object != key)
		panic("json: %s", key ? "a key in an array" : "a value without a key");
	if (!j->depth)
		return;
	if (j->level[j->depth].any)
		buf_putc(j->out, ',');
	j->level[j->depth].any = true;
	new_line(j);
}

static void
begin(struct json *j, bool object)
{
	separate(j, false);
	if (j->depth == DEPTH_MAX)
		panic("json: nested too deeply");
	buf_putc(j->out, object ? '{' : '[');
	j->depth++;
	j->level[j->depth].object = object;
	j->level[j->depth].any = false;
}

void
json_object(struct json *j)
{
	begin(j, true);
}

void
json_array(struct json *j)
{
	begin(j, false);
}

void
json_end(struct json *j)
{
	bool object, any;

	if (!j->depth || j->after_key)
		panic("json: nothing to end");
	object = j->level[j->depth].object;
	any = j->level[j->depth].any;
	j->depth--;
	if (any)
		new_line(j);
	buf_putc(j->out, object ? '}' : ']');
}

void
json_key(struct json *j, const char *key)
{
	separate(j, true);
	json_quote(j->out, str_c(key));
	buf_puts(j->out, j->indent ? ": " : ":");
	j->after_key = true;
}

void
json_str(struct json *j, struct str v)
{
	separate(j, false);
	json_quote(j->out, v);
}

void
json_u64(struct json *j, uint64_t v)
{
	separate(j, false);
	buf_u64(j->out, v);
}

void
json_i64(struct json *j, int64_t v)
{
	separate(j, false);
	buf_printf(j->out, "%lld", (long long)v);
}

void
json_bool(struct json *j, bool v)
{
	separate(j, false);
	buf_puts(j->out, v ? "true" : "false");
}

void
json_null(struct json *j)
{
	separate(j, false);
	buf_puts(j->out, "null");
}

static void
quote_ascii(struct buf *out, unsigned char c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *at = c ? strchr(from, c) : NULL;

	if (at) {
		buf_putc(out, '\\');
		buf_putc(out, to[at - from]);
	} else if (c < 0x20 || c == 0x7f) {
		buf_printf(out, "\\u%04x", c);
	} else {
		buf_putc(out, (char)c);
	}
}

void
json_quote(struct buf *out, struct str v)
{
	buf_putc(out, '"');
	while (v.n) {
		unsigned char c = (unsigned char)v.p[0];
		uint32_t cp;
		size_t n = 1;

		if (c < 0x80) {
			quote_ascii(out, c);
		} else if ((n = utf8_next(v, &cp)) != 0) {
			buf_put(out, v.p, n);
		} else {
			utf8_put(out, c);
			n = 1;
		}
		v = str_skip(v, n);
	}
	buf_putc(out, '"');
}
