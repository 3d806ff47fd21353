/*
 * From a command's end to a delivery's result: the codes of sysexits.h, signals, the
 * time limit. A command that prints an enhanced status code first ("5.7.1 not you",
 * RFC 3463) says more than its exit code and is believed.
 */
#include <stdio.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "lib/base/text.h"
#include "mta/pipe.h"

static const struct code {
	int status;
	const char *enhanced, *text;
} codes[] = {
	{ EX_USAGE, "5.3.0", "command line usage error" },
	{ EX_DATAERR, "5.6.0", "data format error" },
	{ EX_NOINPUT, "5.3.0", "cannot open input" },
	{ EX_NOUSER, "5.1.1", "user unknown" },
	{ EX_NOHOST, "5.1.2", "host name unknown" },
	{ EX_UNAVAILABLE, "5.3.0", "service unavailable" },
	{ EX_SOFTWARE, "5.3.0", "internal software error" },
	{ EX_OSERR, "4.3.0", "system error" },
	{ EX_OSFILE, "5.3.0", "system file missing" },
	{ EX_CANTCREAT, "5.2.0", "cannot create output" },
	{ EX_IOERR, "4.3.0", "input/output error" },
	{ EX_TEMPFAIL, "4.3.0", "temporary failure" },
	{ EX_PROTOCOL, "5.5.0", "remote error in protocol" },
	{ EX_NOPERM, "5.7.0", "permission denied" },
	{ EX_CONFIG, "5.3.5", "configuration error" },
	{ 126, "4.3.5", "command cannot be run" }, /* the admin's to mend: it is tried again */
	{ 127, "4.3.5", "command not found" },
};

static const struct code *
code_of(int status)
{
	static const struct code other = { -1, "5.3.0", "unknown failure" };
	static const struct code signalled = { -1, "4.3.0", "ended by a signal" };

	if (status > 128 && status <= 128 + 64) /* as a shell tells of what it ran */
		return &signalled;

	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (codes[i].status == status)
			return &codes[i];
	return &other;
}

/* The output as one line of UTF-8. */
static struct str
one_line(const struct pipe_end *e, struct arena *a)
{
	struct str s = str_trim(str_from(e->output, e->n_output)), ret;
	struct buf b = { 0 };
	uint32_t cp;

	while (s.n) {
		size_t n = utf8_next(s, &cp);

		if (ascii_isspace(s.p[0])) {
			if (b.n && b.p[b.n - 1] != ' ')
				buf_putc(&b, ' ');
		} else if (!n || cp < ' ' || (cp > '~' && cp < 0xa0)) {
			buf_putc(&b, '?');
		} else {
			buf_put(&b, s.p, n);
		}
		s = str_skip(s, n ? n : 1);
	}
	ret = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return ret;
}

/* "5.7.1 text" at the beginning of *text: cuts the code off. */
static struct str
own_code(struct str *text)
{
	struct str rest = *text, code = str_word(&rest), numbers = code;
	struct str class = str_cut(&numbers, '.'), subject = str_cut(&numbers, '.');
	uint64_t n;

	if (class.n != 1 || (class.p[0] != '4' && class.p[0] != '5') || !str_u64(subject, 999, &n) ||
	    !str_u64(numbers, 999, &n) || subject.n > 3 || numbers.n > 3)
		return STR_NULL;
	*text = str_trim(rest);
	return code;
}

static struct pipe_answer
failure(struct str enhanced, struct str text)
{
	bool temp = enhanced.p[0] == '4';

	return (struct pipe_answer){ .outcome = temp ? PIPE_TEMPFAIL : PIPE_REJECT,
		.smtp = temp ? 451 : 550, .enhanced = enhanced, .text = text };
}

static struct pipe_answer
exited(const struct pipe_end *e, enum pipe_kind kind, struct arena *a)
{
	struct str output = one_line(e, a), own = own_code(&output);
	const struct code *c = code_of(WEXITSTATUS(e->status));
	struct str enhanced = own.n ? own : str_c(c->enhanced);

	if (kind != PIPE_COMMAND)
		return failure(enhanced, output.n ? output : str_c(c->text));
	return failure(enhanced, output.n ?
	    arena_printf(a, "The command failed (%d, %s): %.*s", WEXITSTATUS(e->status), c->text,
	    STR_ARG(output)) :
	    arena_printf(a, "The command failed (%d, %s)", WEXITSTATUS(e->status), c->text));
}

struct pipe_answer
pipe_answer_of(const struct pipe_end *e, enum pipe_kind kind, struct arena *a)
{
	if (e->timed_out)
		return failure(STR("4.3.0"), STR("The time limit of the delivery was exceeded"));
	if (WIFSIGNALED(e->status))
		return failure(STR("4.3.0"), arena_printf(a, "The command was ended by signal %d",
		    WTERMSIG(e->status)));
	if (WEXITSTATUS(e->status))
		return exited(e, kind, a);
	return (struct pipe_answer){ .outcome = PIPE_DONE, .smtp = 250, .enhanced = STR("2.0.0"),
		.text = kind == PIPE_COMMAND ? STR("Delivered to the command") :
		    STR("Delivered to the file") };
}
