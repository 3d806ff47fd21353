/* posthorn send: a message from the admin into a running instance, by submitd. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/client/control.h"
#include "lib/client/submit.h"
#include "mta/cli_tables.h"
#include "mta/dotscan.h"

#define ANSWER_MS 120000u

static const struct cli_opt opts[] = {
	{ "from", OPT_STRING, "ADDRESS", "the sender; <> for none" },
	{ "to", OPT_STRING, "ADDRESS", "a recipient; may be given several times" },
	{ "file", OPT_STRING, "FILE", "read the message from FILE, not from standard input" },
	{ "subject", OPT_STRING, "TEXT", "what is read is only the text: add From, To and Subject" },
	{ "dedup-key", OPT_STRING, "KEY", "send at most once a day for the same KEY" },
	{ 0 },
};

/* ---- the message ---- */

static int
open_input(struct cli *c)
{
	const char *path = cli_opt(c, "file");
	int fd;

	if (!path && isatty(0))
		fprintf(stderr, "Type the message, then Ctrl-D.\n");
	if (!path)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		cli_fail(c, CLI_FAILED, "cannot read %s: %s", path, strerror(errno));
	return fd;
}

/* All of fd. 0 or an exit status. */
static int
read_all(struct cli *c, int fd, struct buf *b)
{
	uint64_t max = c->settings->message_size_limit;
	ssize_t n;

	do {
		char *room = buf_room(b, 65536);

		if (!room)
			return cli_fail(c, CLI_TEMPORARY, "out of memory");
		n = read(fd, room, 65536);
		if (n > 0)
			buf_grown(b, (size_t)n);
		if (b->n > max)
			return cli_fail(c, CLI_FAILED, "the message is longer than message-size-limit (%llu bytes)",
			    (unsigned long long)max);
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		return cli_fail(c, CLI_FAILED, "cannot read the message: %s", strerror(errno));
	return b->n ? CLI_OK : cli_fail(c, CLI_USAGE, "the message is empty: give it on standard "
	    "input or with --file");
}

static bool
has_break(const char *s)
{
	return s && s[strcspn(s, "\r\n")];
}

/* The header of a message of which only the text was given. */
static void
put_header(struct cli *c, const char *subject, struct buf *b)
{
	const char *from = cli_opt(c, "from"), *to;

	buf_printf(b, "From: <%s>\n", strcmp(from, "<>") ? from : "");
	for (size_t i = 0; (to = cli_opt_nth(c, "to", i)); i++)
		buf_printf(b, "%s<%s>", i ? ",\n\t" : "To: ", to);
	buf_printf(b, "\nSubject: %s\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
	    "Content-Transfer-Encoding: 8bit\n\n", subject);
}

/* Every line ends in CRLF, the last one too. */
static int
to_crlf(struct cli *c, const struct buf *in, struct str *ret)
{
	char *p = malloc(2 * in->n + 2);
	size_t n;

	if (!p)
		return cli_fail(c, CLI_TEMPORARY, "out of memory");
	if (arena_defer(c->arena, free, p))
		return cli_fail(c, CLI_TEMPORARY, "out of memory");
	n = dotscan_normalize(in->p, in->n, p);
	if (n && p[n - 1] != '\n') {
		p[n++] = '\r';
		p[n++] = '\n';
	}
	*ret = str_from(p, n);
	return CLI_OK;
}

static int
get_content(struct cli *c, struct str *ret)
{
	const char *subject = cli_opt(c, "subject");
	struct buf b = { 0 };
	int fd, status;

	if (has_break(subject))
		return cli_fail(c, CLI_USAGE, "a subject is one line");
	fd = open_input(c);
	if (fd < 0)
		return CLI_FAILED;
	if (subject)
		put_header(c, subject, &b);
	status = read_all(c, fd, &b);
	if (fd)
		close(fd);
	if (!status)
		status = to_crlf(c, &b, ret);
	buf_done(&b);
	return status;
}

/* ---- the request ---- */

static int
get_addresses(struct cli *c, struct submit_request *q)
{
	const char *from = cli_opt(c, "from"), *to;

	while (cli_opt_nth(c, "to", q->n_rcpts))
		q->n_rcpts++;
	if (!from || !q->n_rcpts)
		return cli_fail(c, CLI_USAGE, "who to whom? Give --from ADDRESS and --to ADDRESS");
	q->rcpts = ARENA_ARRAY(c->arena, struct str, q->n_rcpts);
	if (!q->rcpts)
		return cli_fail(c, CLI_TEMPORARY, "out of memory");
	for (size_t i = 0; (to = cli_opt_nth(c, "to", i)); i++) {
		if (has_break(to))
			return cli_fail(c, CLI_USAGE, "an address is one line");
		q->rcpts[i] = str_c(to);
	}
	if (has_break(from))
		return cli_fail(c, CLI_USAGE, "an address is one line");
	q->sender = strcmp(from, "<>") ? str_c(from) : STR_NULL;
	q->dedup_key = str_c(cli_opt(c, "dedup-key"));
	return CLI_OK;
}

static int
ask(struct cli *c, const struct submit_request *q, struct submit_answer *ret)
{
	struct control *ctl;
	struct buf b = { 0 };
	struct frame f;
	struct err e = { 0 };
	int fd = -1, rc = submit_pack(q, &b, &fd);

	if (rc)
		return cli_fail(c, CLI_FAILED, "the request cannot be made: %s", strerror(-rc));
	rc = control_open(c->settings, ROLE_SUBMITD, 0, &ctl, &e);
	if (!rc) {
		rc = control_call(ctl, MSG_SUBMIT_ADMIN, &b, fd, ANSWER_MS, c->arena, &f, &e);
		control_close(&ctl);
	}
	buf_done(&b);
	if (fd >= 0)
		close(fd);
	if (rc)
		return cli_fail_err(c, rc, &e);
	if (submit_answer_get(f.body, c->arena, ret))
		return cli_fail(c, CLI_FAILED, "submitd gave an answer that cannot be read");
	return CLI_OK;
}

/* What the admin can do about a refusal. */
static const char *
advice(const struct submit_answer *a)
{
	static const struct {
		const char *enhanced, *text;
	} table[] = {
		{ "5.1.1", "; 'posthorn user list' shows the accounts, 'posthorn user add' adds one" },
		{ "5.2.1", "; 'posthorn user resume' lets the account take mail again" },
		{ "5.3.4", "; see message-size-limit and header-size-limit in posthorn.conf(5)" },
		{ "4.3.1", "; 'posthorn queue summary' shows what fills the queue" },
		{ "5.2.2", "; 'posthorn user quota' gives the account more room" },
		{ "4.2.2", "; 'posthorn user quota' gives the account more room" },
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (str_eq(a->enhanced, str_c(table[i].enhanced)))
			return table[i].text;
	return a->smtp < 500 ? "; try again later" : "";
}

static void
say_json(struct cli *c, const struct submit_answer *a)
{
	struct json *j = cli_json(c);

	json_object(j);
	json_key(j, "id");
	json_str(j, arena_printf(c->arena, "%016llx", (unsigned long long)a->spool_id));
	json_key(j, "duplicate");
	json_bool(j, a->duplicate);
	json_end(j);
	cli_json_end(c);
}

static int
run_send(struct cli *c)
{
	struct submit_request q = { 0 };
	struct submit_answer a;
	int status = get_addresses(c, &q);

	if (!status)
		status = get_content(c, &q.content);
	if (!status)
		status = ask(c, &q, &a);
	if (status)
		return status;
	if (a.smtp != 250)
		return cli_fail(c, a.smtp < 500 ? CLI_TEMPORARY : CLI_FAILED, "refused: %u %.*s %.*s%s",
		    a.smtp, STR_ARG(a.enhanced), STR_ARG(a.text), advice(&a));
	if (c->json)
		say_json(c, &a);
	cli_say(c, a.duplicate ? "%016llx (was sent before with this key)" : "%016llx",
	    (unsigned long long)a.spool_id);
	return CLI_OK;
}

const struct verb cli_send[] = {
	{ "send", NULL, "", "send a message from standard input", opts, run_send,
	    .more = "The message is a header and a text as they will arrive; Date and Message-ID are "
	            "added when they are missing. It is in the spool when the command ends with 0; what "
	            "is printed is its queue id.",
	    .examples = "send --from user1@example.test --to user2@example.test --subject Hello "
	                "< text\n" },
	{ 0 },
};
