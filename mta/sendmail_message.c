/* sendmail: the message on standard input. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/mail/header.h"
#include "mta/dotscan.h"
#include "mta/sendmail.h"

/* All of standard input. 0 or a status. */
static int
read_all(const struct sendmail *s, struct buf *b)
{
	ssize_t n;

	do {
		char *room = buf_room(b, 65536);

		if (!room)
			return sendmail_fail(s, EX_TEMPFAIL_, "out of memory");
		n = read(0, room, 65536);
		if (n > 0)
			buf_grown(b, (size_t)n);
		if (b->n > s->size_limit)
			return sendmail_fail(s, EX_DATAERR_, "the message is longer than %llu bytes",
			    (unsigned long long)s->size_limit);
	} while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? sendmail_fail(s, EX_IOERR_, "cannot read the message: %s", strerror(errno)) : 0;
}

/* What stands before a line that is a dot alone. */
static struct str
up_to_dot(struct str text)
{
	struct str rest = text;

	while (rest.p) {
		const char *at = rest.p;
		struct str line = str_cut(&rest, '\n');

		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (str_eq(line, STR(".")))
			return str_from(text.p, (size_t)(at - text.p));
	}
	return text;
}

/* A mailbox file's "From " line is no part of the message. */
static struct str
without_mbox_line(struct str text)
{
	struct str rest = text;

	if (!str_starts(text, STR("From ")) && !str_starts(text, STR(">From ")))
		return text;
	str_cut(&rest, '\n');
	return rest.p ? rest : STR("");
}

static int
to_crlf(const struct sendmail *s, struct str in, struct str *ret)
{
	char *p = malloc(2 * in.n + 2);
	size_t n;

	if (!p || arena_defer(s->arena, free, p))
		return sendmail_fail(s, EX_TEMPFAIL_, "out of memory");
	n = dotscan_normalize(in.p, in.n, p);
	if (!n || p[n - 1] != '\n') {
		p[n++] = '\r';
		p[n++] = '\n';
	}
	*ret = str_from(p, n);
	return 0;
}

/* Whether the field names recipients; those of a resent message count alone (RFC 5322
 * section 3.6.6). */
static bool
names_recipients(struct str name, bool resent)
{
	static const char *const fields[] = { "to", "cc", "bcc" };

	if (resent) {
		if (!str_istarts(name, STR("resent-")))
			return false;
		name = str_skip(name, 7);
	}
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (str_ieq(name, str_c(fields[i])))
			return true;
	return false;
}

static bool
is_resent(struct str text)
{
	struct header_field f;

	while (header_next(&text, &f))
		if (str_istarts(f.name, STR("resent-")) && names_recipients(f.name, true))
			return true;
	return false;
}

static int
add_from_header(struct sendmail *s, struct str text)
{
	bool resent = is_resent(text);
	struct header_field f;
	int rc = 0;

	while (!rc && header_next(&text, &f))
		if (f.name.n && names_recipients(f.name, resent))
			rc = sendmail_add(s, f.raw);
	return rc;
}

static int
send_text(struct sendmail *s, struct str text)
{
	struct drop d = s->drop;
	int rc = 0;

	if (!s->dots)
		text = up_to_dot(text);
	text = without_mbox_line(text);
	if (s->from_header)
		rc = add_from_header(s, text);
	if (!rc && !s->n_rcpts)
		rc = sendmail_fail(s, EX_USAGE_, "nobody to send to: %s", s->from_header ?
		    "the header names no recipient" : "name recipients, or use -t");
	if (!rc)
		rc = to_crlf(s, text, &d.content);
	if (rc)
		return rc;
	d.rcpts = s->rcpts;
	d.n_rcpts = s->n_rcpts;
	return sendmail_drop(s, &d);
}

int
sendmail_send(struct sendmail *s)
{
	struct buf b = { 0 };
	int rc = 0;

	if (!s->from_header && !s->n_rcpts)
		return sendmail_fail(s, EX_USAGE_, "nobody to send to: name recipients, or use -t");
	rc = read_all(s, &b);
	if (!rc)
		rc = send_text(s, buf_view(&b));
	buf_done(&b);
	return rc;
}
