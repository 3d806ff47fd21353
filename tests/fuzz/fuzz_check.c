/*
 * Messages under rules of every kind, their text fed whole and in pieces: both become the
 * same. The first byte is the length of the pieces. Without rules that change anything no
 * byte is lost.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/accept/check.h"
#include "lib/mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct settings *
rules(const char *more)
{
	struct arena *a = arena_new(0);
	struct conf_errors errors;
	struct buf b = { 0 };
	struct settings *s;

	buf_printf(&b, "config 1\nhostname a.example.test\nbase-dir /tmp\nlisten smtp { address 127.0.0.1 }\n"
	    "checks {\ntime-limit 1m\nheader \"/^a/ HOLD\"%s\nbody \"/never seen/ HOLD\"%s\n}\n",
	    more, more);
	s = settings_parse(buf_view(&b), "f", a, &errors);
	if (!s) {
		fprintf(stderr, "%.*s\n", STR_ARG(errors.v[0].text));
		abort();
	}
	buf_done(&b);
	arena_free(&a);
	return s;
}

static unsigned
feed(const struct settings *s, struct str text, size_t step, struct buf *out)
{
	static const struct envelope env;
	struct accept_request r = { .settings = s, .env = &env };
	struct arena *a = arena_new(0);
	struct check *c = check_new(&r, a);
	struct str rest = text;
	struct header_field f;
	unsigned smtp;
	bool same;

	while (header_next(&rest, &f))
		;
	rest = str_skip(rest, header_blank(rest));
	check_header(c, str_head(text, text.n - rest.n), out, &same);
	for (; rest.n; rest = str_skip(rest, step))
		check_body(c, str_head(rest, step), false, out);
	check_body(c, STR(""), true, out);
	smtp = check_result(c)->verdict.smtp;
	arena_free(&a);
	return smtp;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct settings *change, *look;
	struct str text = str_from(data + (size > 0), size - (size > 0));
	size_t step = size && data[0] ? data[0] : 1;
	struct buf whole = { 0 }, pieces = { 0 }, same = { 0 };
	unsigned one, two;

	if (!change)
		change = rules(", \"/^x-(.)/ REPLACE y-$1: $1\", \"/^y/ PREPEND z: 1\", \"/^z/ IGNORE\", "
			       "\"/^reject/ REJECT\"");
	if (!look)
		look = rules("");
	one = feed(change, text, SIZE_MAX, &whole);
	two = feed(change, text, step, &pieces);
	feed(look, text, step, &same);
	if (one != two || !str_eq(buf_view(&whole), buf_view(&pieces)) || !str_eq(buf_view(&same), text))
		abort();
	buf_done(&whole);
	buf_done(&pieces);
	buf_done(&same);
	return 0;
}
