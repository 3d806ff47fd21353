/* The message as a command or file gets it; see pipe.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/fd.h"
#include "lib/io/co.h"
#include "lib/mail/header.h"
#include "mta/pipe.h"

#define PIECE (64u << 10) /* written at once */
#define SLICE (1u << 20)  /* written before others get their turn */

struct sink {
	int fd;
	int code;            /* first failure */
	size_t since_yield;
	struct buf buf;
};

static void
flush(struct sink *s)
{
	if (!s->code)
		s->code = fd_write_all(s->fd, buf_view(&s->buf));
	if (s->buf.over)
		s->code = -ENOMEM;
	s->since_yield += s->buf.n;
	buf_clear(&s->buf);
	if (s->since_yield < SLICE)
		return;
	s->since_yield = 0;
	co_yield();
}

static void
put(struct sink *s, struct str v)
{
	if (s->buf.n + v.n > PIECE)
		flush(s);
	buf_str(&s->buf, v);
}

/* A value that stands in a header line: without controls. */
static void
put_value(struct sink *s, const char *name, struct str v, bool brackets)
{
	buf_puts(&s->buf, name);
	buf_puts(&s->buf, brackets ? ": <" : ": ");
	for (size_t i = 0; i < v.n; i++)
		buf_putc(&s->buf, (unsigned char)v.p[i] < ' ' || v.p[i] == 0x7f ? '?' : v.p[i]);
	buf_puts(&s->buf, brackets ? ">\n" : "\n");
}

/* "From sender date": the sender without blanks, the time in UTC as asctime writes it. */
static void
put_from(struct sink *s, struct str sender, uint64_t now_us)
{
	time_t t = (time_t)(now_us / 1000000);
	struct tm tm;
	char when[32];

	buf_puts(&s->buf, "From ");
	for (size_t i = 0; i < sender.n; i++)
		buf_putc(&s->buf, (unsigned char)sender.p[i] <= ' ' ? '_' : sender.p[i]);
	if (!sender.n)
		buf_puts(&s->buf, "MAILER-DAEMON");
	gmtime_r(&t, &tm);
	if (asctime_r(&tm, when)) /* ends in LF */
		buf_printf(&s->buf, " %s", when);
}

static void
put_top(struct sink *s, const struct pipe_request *r, enum pipe_form form, uint64_t now_us)
{
	if (form != PIPE_FORM_PLAIN)
		put_from(s, r->sender, now_us);
	put_value(s, "Return-Path", r->sender, true);
	if (r->original.n && !str_eq(r->original, r->address))
		put_value(s, "X-Original-To", r->original, false);
	put_value(s, "Delivered-To", r->address, false);
}

/* A line that an mbox reader would take for the beginning of a message, quoted or not. */
static bool
looks_like_from(struct str line)
{
	while (line.n && line.p[0] == '>')
		line = str_skip(line, 1);
	return str_starts(line, STR("From "));
}

static void
put_lines(struct sink *s, struct str rest, bool quote)
{
	while (rest.n && !s->code) {
		ptrdiff_t end = str_chr(rest, '\n');
		struct str line = end < 0 ? rest : str_head(rest, (size_t)end);

		rest = end < 0 ? STR_NULL : str_skip(rest, (size_t)end + 1);
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (quote && looks_like_from(line))
			put(s, STR(">"));
		put(s, line);
		put(s, STR("\n"));
	}
}

int
pipe_message(const struct pipe_request *r, struct str content, enum pipe_form form, uint64_t now_us)
{
	struct sink s = { .fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING) };

	if (s.fd < 0)
		return -errno;
	put_top(&s, r, form, now_us);
	put_lines(&s, content, form == PIPE_FORM_MBOX);
	if (form == PIPE_FORM_MBOX)
		put(&s, STR("\n"));
	flush(&s);
	buf_done(&s.buf);
	if (!s.code && (lseek(s.fd, 0, SEEK_SET) < 0 ||
	    fcntl(s.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0))
		s.code = -errno;
	if (!s.code)
		return s.fd;
	close(s.fd);
	return s.code;
}

bool
pipe_loops(struct str content, struct str address)
{
	struct header_field f;

	while (header_next(&content, &f))
		if (str_ieq(f.name, STR("Delivered-To")) && str_ieq(str_trim(f.raw), address))
			return true;
	return false;
}
