/* What a session writes; see imap.h. Nothing here waits but out_flush. */
#include <stdarg.h>

#include "imapd/imap.h"
#include "lib/mail/mutf7.h"

void
out_mem(struct imap *c, const void *p, size_t n)
{
	buf_put(&c->out, p, n);
}

void
out_flush(struct imap *c)
{
	stream_put(c->st, c->out.p, c->out.n);
	buf_clear(&c->out);
	if (*stream_why(c->st))
		c->bye = true; /* nobody listens */
}

void
out_u64(struct imap *c, uint64_t v)
{
	buf_u64(&c->out, v);
}

void
out_printf(struct imap *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&c->out, fmt, ap);
	va_end(ap);
}

/* Whether a quoted string can hold s: no CR, LF, NUL or 8-bit bytes. */
static bool
fits_quoted(struct str s)
{
	size_t i;

	for (i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 128 || s.p[i] == '\r' || s.p[i] == '\n' || !s.p[i])
			return false;
	return s.n <= 1000;
}

static void
put_string(struct imap *c, struct str s)
{
	size_t i;

	if (!fits_quoted(s)) {
		out_c(c, "{");
		out_u64(c, s.n);
		out_c(c, "}\r\n");
		out_str(c, s);
		return;
	}
	buf_putc(&c->out, '"');
	for (i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_putc(&c->out, '\\');
		buf_putc(&c->out, s.p[i]);
	}
	buf_putc(&c->out, '"');
}

void
out_nstring(struct imap *c, struct str s)
{
	if (!s.p)
		out_c(c, "NIL");
	else
		put_string(c, s);
}

void
out_astring(struct imap *c, struct str s)
{
	size_t i;

	for (i = 0; i < s.n; i++)
		if (!ascii_isalnum(s.p[i]) && !strchr("-_.,/&+$#@!:;=?", s.p[i]))
			break;
	if (s.n && i == s.n && !str_ieq(s, STR("NIL")))
		out_str(c, s);
	else
		put_string(c, s);
}

void
out_mailbox(struct imap *c, struct str utf8)
{
	struct buf b;

	buf_init(&b, 8 * utf8.n + 16);
	if (mutf7_encode(utf8, &b) < 0)
		put_string(c, utf8);
	else
		out_astring(c, buf_view(&b));
	buf_done(&b);
}

void
out_uid_set(struct imap *c, const struct uid_range *v, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (i)
			buf_putc(&c->out, ',');
		out_u64(c, v[i].lo);
		if (v[i].hi != v[i].lo) {
			buf_putc(&c->out, ':');
			out_u64(c, v[i].hi);
		}
	}
}
