/*
 * What the command prints. A table for people keeps rows back until WINDOW of
 * them are there, takes the columns' widths from those, and lets later rows that
 * are wider stand out: so memory is bounded whatever the list's length.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/conf/value.h"
#include "mta/cli_private.h"

#define WINDOW 500
#define COLS_MAX 16
#define SECRET_MAX 1024

static struct {
	struct buf out;
	struct json json;
	bool open;
} js;

struct json *
cli_json(struct cli *c)
{
	buf_clear(&js.out);
	json_init(&js.json, &js.out, true);
	js.open = true;
	return &js.json;
}

void
cli_json_end(struct cli *c)
{
	if (js.json.depth)
		panic("cli: JSON left open");
	fwrite(js.out.p, 1, js.out.n, stdout);
	putchar('\n');
	buf_done(&js.out);
	js.open = false;
}

int
cli_fail(struct cli *c, int status, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (c->json && !js.open) {
		struct json *j = cli_json(c);

		json_object(j);
		json_key(j, "error");
		json_str(j, str_c(text));
		json_key(j, "status");
		json_u64(j, (uint64_t)status);
		json_end(j);
		cli_json_end(c);
	} else {
		fprintf(stderr, "posthorn: %s\n", text);
	}
	return status;
}

int
cli_fail_err(struct cli *c, int code, const struct err *e)
{
	int status = CLI_FAILED;

	if (code == -ENOTCONN)
		status = CLI_NOT_RUNNING;
	else if (code == -EAGAIN || code == -ETIMEDOUT || code == -EPIPE)
		status = CLI_TEMPORARY;
	return cli_fail(c, status, "%s", e->text);
}

void
cli_say(struct cli *c, const char *fmt, ...)
{
	va_list ap;

	if (c->quiet || c->json)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

struct cli_table {
	struct cli *c;
	const struct cli_col *cols;
	size_t n;
	size_t width[COLS_MAX];
	size_t col;             /* of the next cell */
	bool any, headed;
	struct buf cells;       /* of the rows kept back: each ends in NUL */
	size_t rows;
	struct buf out;         /* JSON of one row */
	struct json json;
};

struct cli_table *
cli_table_new(struct cli *c, const struct cli_col *cols, size_t n)
{
	struct cli_table *t = calloc(1, sizeof *t);

	if (!t || n > COLS_MAX)
		panic("cli: table of %zu columns", n);
	t->c = c;
	t->cols = cols;
	t->n = n;
	for (size_t i = 0; i < n; i++)
		t->width[i] = strlen(cols[i].name);
	if (c->json)
		fputs("[", stdout);
	return t;
}

/* Characters, as a terminal shows them. */
static size_t
width_of(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void
print_cell(const struct cli_table *t, size_t i, const char *text, bool heading)
{
	size_t w = width_of(text), pad = w < t->width[i] ? t->width[i] - w : 0;

	if (i)
		fputs("  ", stdout);
	if (t->cols[i].right)
		printf("%*s", (int)pad, "");
	for (const char *p = text; *p; p++)
		putchar(heading ? ascii_upper(*p) : *p);
	if (!t->cols[i].right && i + 1 < t->n)
		printf("%*s", (int)pad, "");
	if (i + 1 == t->n)
		putchar('\n');
}

/* Prints the rows kept back, with the heading before the first. */
static void
flush_rows(struct cli_table *t)
{
	const char *p = t->cells.p;

	if (!t->headed && !t->c->quiet && t->rows)
		for (size_t i = 0; i < t->n; i++)
			print_cell(t, i, t->cols[i].name, true);
	t->headed |= t->rows > 0;
	for (size_t r = 0; r < t->rows; r++)
		for (size_t i = 0; i < t->n; i++) {
			print_cell(t, i, p, false);
			p += strlen(p) + 1;
		}
	t->rows = 0;
	buf_clear(&t->cells);
}

/* A cell for people: control characters never reach the terminal. */
static void
text_cell(struct cli_table *t, struct str v)
{
	size_t at = t->cells.n, w;

	for (size_t i = 0; i < v.n; i++) {
		unsigned char ch = (unsigned char)v.p[i];

		buf_putc(&t->cells, ch < 0x20 || ch == 0x7f ? '?' : (char)ch);
	}
	if (v.n == 0)
		buf_putc(&t->cells, '-');
	buf_putc(&t->cells, 0);
	if (t->cells.over)
		panic("cli: a row is too large");
	w = width_of(t->cells.p + at);
	if (!t->headed && w > t->width[t->col])
		t->width[t->col] = w;
}

static void
json_row_begin(struct cli_table *t)
{
	if (t->col)
		return;
	buf_clear(&t->out);
	json_init(&t->json, &t->out, false);
	json_object(&t->json);
}

static void
json_row_end(struct cli_table *t)
{
	json_end(&t->json);
	printf("%s\n  %.*s", t->any ? "," : "", (int)t->out.n, t->out.p);
}

static void
cell_end(struct cli_table *t)
{
	if (++t->col < t->n)
		return;
	if (t->c->json)
		json_row_end(t);
	else if (++t->rows == WINDOW)
		flush_rows(t);
	t->any = true;
	t->col = 0;
}

void
cli_cell(struct cli_table *t, struct str v)
{
	if (t->c->json) {
		json_row_begin(t);
		json_key(&t->json, t->cols[t->col].name);
		json_str(&t->json, v);
	} else {
		text_cell(t, v);
	}
	cell_end(t);
}

/* A number in JSON, its text for people. */
static void
number_cell(struct cli_table *t, uint64_t v, struct str text)
{
	if (t->c->json) {
		json_row_begin(t);
		json_key(&t->json, t->cols[t->col].name);
		json_u64(&t->json, v);
	} else {
		text_cell(t, text);
	}
	cell_end(t);
}

void
cli_cell_u64(struct cli_table *t, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)v);
	number_cell(t, v, str_c(text));
}

void
cli_cell_size(struct cli_table *t, uint64_t bytes)
{
	static const char units[] = "BKMGTP";
	double v = (double)bytes;
	char text[24];
	size_t u = 0;

	while (v >= 1024 && u + 2 < sizeof units)
		v /= 1024, u++;
	if (u == 0)
		snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
	else
		snprintf(text, sizeof text, v < 10 ? "%.1f%c" : "%.0f%c", v, units[u]);
	number_cell(t, bytes, str_c(text));
}

void
cli_cell_age(struct cli_table *t, uint64_t ms)
{
	uint64_t s = ms / 1000;
	char text[24];

	if (s < 120)
		snprintf(text, sizeof text, "%llus", (unsigned long long)s);
	else if (s < 7200)
		snprintf(text, sizeof text, "%llum", (unsigned long long)(s / 60));
	else if (s < 172800)
		snprintf(text, sizeof text, "%lluh", (unsigned long long)(s / 3600));
	else
		snprintf(text, sizeof text, "%llud", (unsigned long long)(s / 86400));
	number_cell(t, s, str_c(text));
}

void
cli_table_end(struct cli_table **tp)
{
	struct cli_table *t = *tp;

	if (!t)
		return;
	if (t->c->json)
		puts(t->any ? "\n]" : "]");
	else
		flush_rows(t);
	buf_done(&t->cells);
	buf_done(&t->out);
	free(t);
	*tp = NULL;
}

/* One line of standard input without its newline. */
static int
read_line(struct cli *c, struct str *ret)
{
	char line[SECRET_MAX + 2];

	if (!fgets(line, sizeof line, stdin))
		return cli_fail(c, CLI_USAGE, "a secret is expected on standard input");
	line[strcspn(line, "\n")] = 0;
	if (!*line || strlen(line) > SECRET_MAX)
		return cli_fail(c, CLI_USAGE, "the secret is %s", *line ? "too long" : "empty");
	*ret = arena_dup(c->arena, str_c(line));
	explicit_bzero(line, sizeof line);
	return ret->p ? 0 : CLI_TEMPORARY;
}

static int
ask(struct cli *c, const char *prompt, struct str *ret)
{
	struct termios old, quiet;
	int r;

	fprintf(stderr, "%s: ", prompt);
	fflush(stderr);
	if (tcgetattr(0, &old))
		return read_line(c, ret);
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(0, TCSAFLUSH, &quiet);
	r = read_line(c, ret);
	tcsetattr(0, TCSAFLUSH, &old);
	fputc('\n', stderr);
	return r;
}

int
cli_secret(struct cli *c, const char *prompt, struct str *ret)
{
	struct str first, again;
	int r;

	if (!isatty(0))
		return read_line(c, ret);
	r = ask(c, prompt, &first);
	if (r == 0)
		r = ask(c, "again", &again);
	if (r)
		return r;
	if (!str_eq(first, again))
		return cli_fail(c, CLI_USAGE, "the two are not equal");
	*ret = first;
	return 0;
}
