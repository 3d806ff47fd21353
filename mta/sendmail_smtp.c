/*
 * sendmail -bs: SMTP over standard input and output, for programs that would rather speak
 * than write. Every message goes into the maildrop, so recipients are looked at only for
 * their form. The caller is a local user, like any other of this command.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/mail/path.h"
#include "mta/dotscan.h"
#include "mta/sendmail.h"

#define LINE_MAX_BYTES 4096
#define ERRORS_MAX 20

struct talk {
	struct sendmail *s;
	FILE *in, *out;
	struct arena *arena;      /* of the transaction */
	bool hello, mail;
	struct str sender;
	struct str *rcpts;
	size_t n_rcpts;
	unsigned errors;
	bool quit;
};

__attribute__((format(printf, 2, 3)))
static void
say(struct talk *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (*fmt == '5')
		t->errors++;
	vfprintf(t->out, fmt, ap);
	va_end(ap);
	fputs("\r\n", t->out);
	fflush(t->out);
}

static void
reset(struct talk *t)
{
	arena_reset(t->arena);
	t->mail = false;
	t->rcpts = NULL;
	t->n_rcpts = 0;
}

/* The path behind "FROM:" or "TO:". False after a reply. */
static bool
get_path(struct talk *t, struct str arg, struct str word, unsigned flags, struct path *ret)
{
	struct str rest;

	if (!str_istarts(arg, word)) {
		say(t, "501 5.5.4 Syntax: %.*s<address>", STR_ARG(word));
		return false;
	}
	if (path_parse(str_trim(str_skip(arg, word.n)), flags | PATH_UTF8, t->arena, ret, &rest)) {
		say(t, "501 5.1.3 Bad address syntax");
		return false;
	}
	return true;
}

static void
do_mail(struct talk *t, struct str arg)
{
	struct path from;

	if (t->mail) {
		say(t, "503 5.5.1 Sender already specified");
	} else if (get_path(t, arg, STR("FROM:"), PATH_NULL, &from)) {
		t->mail = true;
		t->sender = from.text;
		say(t, "250 2.1.0 Ok");
	}
}

static void
do_rcpt(struct talk *t, struct str arg)
{
	struct path to;

	if (!t->mail) {
		say(t, "503 5.5.1 MAIL first");
		return;
	}
	if (t->n_rcpts == DROP_RCPTS) {
		say(t, "452 4.5.3 Too many recipients");
		return;
	}
	if (!get_path(t, arg, STR("TO:"), PATH_POSTMASTER, &to))
		return;
	if (!t->rcpts)
		t->rcpts = ARENA_ARRAY(t->arena, struct str, DROP_RCPTS);
	if (!t->rcpts) {
		say(t, "451 4.3.0 Out of memory");
		return;
	}
	t->rcpts[t->n_rcpts++] = to.domain.n ? to.text : to.local;
	say(t, "250 2.1.5 Ok");
}

/* Reads up to the line that is a dot alone. -EIO: the input ended; -EFBIG: too long (read to
 * its end). */
static int
get_text(struct talk *t, struct buf *b)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int rc = -EIO;

	while ((n = getline(&line, &cap, t->in)) > 0) {
		struct str l = str_from(line, (size_t)n);
		size_t dot = str_starts(l, STR(".")) ? 1 : 0;

		if (str_eq(l, STR(".\r\n")) || str_eq(l, STR(".\n"))) {
			rc = b->over ? -EFBIG : 0;
			break;
		}
		buf_str(b, str_skip(l, dot));
	}
	free(line);
	return rc;
}

static int
drop(struct talk *t, struct str text)
{
	struct drop d = t->s->drop;
	char *p = malloc(2 * text.n + 2);
	size_t n = p ? dotscan_normalize(text.p, text.n, p) : 0;
	int rc;

	if (!p)
		return sendmail_fail(t->s, EX_TEMPFAIL_, "out of memory");
	if (!n || p[n - 1] != '\n') {
		p[n++] = '\r';
		p[n++] = '\n';
	}
	d.has_sender = true;
	d.sender = t->sender;
	d.rcpts = t->rcpts;
	d.n_rcpts = t->n_rcpts;
	d.content = str_from(p, n);
	rc = sendmail_drop(t->s, &d);
	free(p);
	return rc;
}

static void
do_data(struct talk *t)
{
	struct buf b = { 0 };
	int rc;

	if (!t->n_rcpts) {
		say(t, "%s", t->mail ? "554 5.5.1 No valid recipients" : "503 5.5.1 MAIL and RCPT first");
		return;
	}
	buf_init(&b, t->s->size_limit);
	say(t, "354 End data with <CR><LF>.<CR><LF>");
	rc = get_text(t, &b);
	if (rc == -EIO)
		t->quit = true;
	else if (rc)
		say(t, "552 5.3.4 Message too big");
	else if ((rc = drop(t, buf_view(&b))))
		say(t, "%s", rc == EX_TEMPFAIL_ ? "451 4.3.0 Cannot be kept now" : "554 5.3.0 Cannot be kept");
	else
		say(t, "250 2.0.0 Ok: queued in the maildrop");
	buf_done(&b);
	reset(t);
}

static void
do_hello(struct talk *t, bool extended)
{
	reset(t);
	t->hello = true;
	if (!extended) {
		say(t, "250 localhost");
		return;
	}
	fputs("250-localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
	    "250-ENHANCEDSTATUSCODES\r\n", t->out);
	say(t, "250 SIZE %llu", (unsigned long long)t->s->size_limit);
}

static void
command(struct talk *t, struct str line)
{
	struct str arg = line, verb = str_word(&arg);

	arg = str_trim(arg);
	if (str_ieq(verb, STR("EHLO")) || str_ieq(verb, STR("HELO")))
		do_hello(t, str_ieq(verb, STR("EHLO")));
	else if (str_ieq(verb, STR("MAIL")))
		do_mail(t, arg);
	else if (str_ieq(verb, STR("RCPT")))
		do_rcpt(t, arg);
	else if (str_ieq(verb, STR("DATA")))
		do_data(t);
	else if (str_ieq(verb, STR("RSET"))) {
		reset(t);
		say(t, "250 2.0.0 Ok");
	} else if (str_ieq(verb, STR("NOOP")))
		say(t, "250 2.0.0 Ok");
	else if (str_ieq(verb, STR("VRFY")))
		say(t, "252 2.1.5 Send some mail, and see");
	else if (str_ieq(verb, STR("QUIT"))) {
		say(t, "221 2.0.0 Bye");
		t->quit = true;
	} else {
		say(t, "502 5.5.2 Command not known");
	}
}

int
sendmail_session(struct sendmail *s, FILE *in, FILE *out)
{
	struct talk t = { .s = s, .in = in, .out = out, .arena = arena_new(0) };
	char line[LINE_MAX_BYTES];

	if (!t.arena)
		return sendmail_fail(s, EX_TEMPFAIL_, "out of memory");
	say(&t, "220 localhost ESMTP Posthorn");
	while (!t.quit && fgets(line, sizeof line, in)) {
		struct str l = str_c(line);

		if (!str_ends(l, STR("\n")))
			break; /* over-long, or cut: what follows has no sure beginning */
		command(&t, str_trim(l));
		if (t.errors > ERRORS_MAX)
			break;
	}
	arena_free(&t.arena);
	return ferror(in) || ferror(out) ? EX_IOERR_ : 0;
}
