/*
 * APPEND (RFC 3501 section 6.3.11, RFC 4315, 7888).
 *
 * The message is not gathered with its command. When the line that announces it is
 * there, append_begin looks whether it can be taken; its bytes go to a memfd as they
 * come, while the session may be parked between them; and when the end of the
 * command is there cmd_append hands the memfd, with the facts that are found here
 * (lib/mail/facts.h), to the store.
 *
 *	tag APPEND mailbox [(flags)] ["date-time"] {n}CRLF   append_begin
 *	n bytes                                              append_take
 *	CRLF                                                 cmd_append
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "imapd/commands.h"
#include "imapd/view.h"
#include "lib/base/clock.h"
#include "lib/mail/facts.h"

enum { FACTS_TIME_US = 1000000 };
#define MEMORY_MAX (UINT64_C(512) << 20) /* of all messages on their way, a process */

struct append {
	int fd;
	uint64_t size, left;
	bool nul;              /* has a NUL, which RFC 3501 does not allow */
	const char *failed;    /* the rest is read and dropped; this is the answer */
};

static uint64_t memory;
static struct metric appended_bytes =
    METRIC_COUNTER("imap_append_bytes_total", NULL, "Bytes of messages appended by clients");

struct append_args {
	struct str name;
	struct flag_args flags;
	int64_t time;
	int32_t zone;
};

/* SP mailbox SP [flags SP] [date SP], up to the brace. */
static bool
append_args(struct parse *p, struct append_args *a)
{
	*a = (struct append_args){ .time = (int64_t)(clock_real_us() / 1000000) };
	if (!parse_sp(p) || !parse_mailbox(p, &a->name) || !parse_sp(p))
		return false;
	if (parse_is(p, '(') && (!parse_flag_list(p, &a->flags) || !parse_sp(p)))
		return false;
	if (parse_is(p, '"') && (!parse_date_time(p, &a->time, &a->zone) || !parse_sp(p)))
		return false;
	return parse_is(p, '{') || parse_fail(p, "Expected the message as a literal");
}

static int
destination(struct imap *c, struct str name, struct store_mailbox *ret, struct wire_error *we)
{
	int r = mailbox_find(c, name, ret, we);

	return r == 0 && ret->noselect ? -ENOENT : r;
}

static enum result
not_taken(struct imap *c, int code, const struct wire_error *we)
{
	if (code == -ENOENT)
		return no(c, "[TRYCREATE] No such mailbox");
	return no_store(c, code, we);
}

/* ---- the message comes in ---- */

void
append_free(struct append **ap)
{
	struct append *a = *ap;

	*ap = NULL;
	if (!a)
		return;
	memory -= a->size - a->left;
	if (a->fd >= 0)
		close(a->fd);
	free(a);
}

static enum result
start(struct imap *c, uint64_t size)
{
	struct append *a = calloc(1, sizeof *a);

	if (!a)
		return no(c, "[UNAVAILABLE] Out of memory");
	*a = (struct append){ .size = size, .left = size };
	a->fd = memfd_create("append", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (a->fd < 0) {
		free(a);
		return no(c, "[UNAVAILABLE] No room for the message now");
	}
	c->append = a;
	return IMAP_OK;
}

bool
append_announced(const struct cmdbuf *cmd)
{
	struct parse p;
	struct str tag;

	parse_init(&p, str_head(buf_view(&cmd->b), cmd->head), NULL);
	/* with nothing in front of it the literal is the name of the mailbox */
	return parse_tag(&p, &tag) && parse_sp(&p) && parse_word(&p, "APPEND") && parse_sp(&p) &&
	    p.in.n > 0;
}

enum result
append_begin(struct imap *c, struct parse *p, uint64_t size)
{
	struct wire_error we = { 0 };
	struct store_mailbox m;
	struct append_args a;
	int r;

	if (!append_args(p, &a))
		return bad_args(c, p);
	if (size > imap_settings->imap_append_limit)
		return no(c, "[TOOBIG] Message is too large");
	if ((r = destination(c, a.name, &m, &we)) < 0)
		return not_taken(c, r, &we);
	return start(c, size);
}

static void
keep(struct append *a, struct str s)
{
	if (a->failed)
		return;
	if (memory + s.n > MEMORY_MAX) {
		a->failed = "[UNAVAILABLE] Too many messages are being appended";
		return;
	}
	a->nul = a->nul || memchr(s.p, '\0', s.n);
	/* a memfd takes all or nothing */
	if (write(a->fd, s.p, s.n) != (ssize_t)s.n)
		a->failed = "[UNAVAILABLE] No room for the message now";
}

bool
append_take(struct imap *c, struct str *in)
{
	struct append *a = c->append;
	struct str s;

	if (!a || a->left == 0)
		return false;
	s = str_head(*in, a->left < in->n ? (size_t)a->left : in->n);
	keep(a, s);
	memory += s.n;
	a->left -= s.n;
	*in = str_skip(*in, s.n);
	return true;
}

/* ---- the end of the command ---- */

/* The facts of the message, in the arena; opaque ones when it takes too long. */
static struct str
facts_of(struct imap *c, const struct append *a)
{
	void *map = mmap(NULL, a->size, PROT_READ, MAP_PRIVATE, a->fd, 0);
	struct buf b;
	struct str facts = STR_NULL;

	buf_init(&b, FACTS_MAX);
	if (map == MAP_FAILED || facts_make(str_from(map, a->size), 0, clock_us() + FACTS_TIME_US, &b) < 0) {
		buf_clear(&b);
		facts_opaque(a->size, &b);
	}
	if (map != MAP_FAILED)
		munmap(map, a->size);
	if (!b.over)
		facts = arena_dup(c->ar, buf_view(&b));
	buf_done(&b);
	return facts;
}

static enum result
store_it(struct imap *c, const struct append_args *args, const struct append *a, uint32_t mailbox)
{
	struct wire_error we = { 0 };
	struct store_append ap = { .mailbox = mailbox, .sysflags = args->flags.sysflags,
		.keywords = args->flags.keywords, .n_keywords = args->flags.n,
		.internal_date = args->time, .internal_zone = args->zone, .fd = a->fd,
		.size = a->size, .facts = facts_of(c, a) };
	uint32_t uidvalidity, uid;
	uint64_t email;
	int r;

	if (!ap.facts.p)
		return no(c, "[LIMIT] Out of memory");
	fcntl(a->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	r = store_append(c->acct, &ap, &uidvalidity, &uid, &email, &we);
	if (r < 0)
		return not_taken(c, r, &we);
	metric_add(&appended_bytes, a->size);
	if (c->view && c->view->mailbox == mailbox)
		c->view->news = true;
	c->text = arena_printf(c->ar, "[APPENDUID %u %u] APPEND completed", uidvalidity, uid);
	return IMAP_OK;
}

/* "{n}CRLF" and nothing behind it: one message a command. */
static bool
append_end(struct parse *p)
{
	ptrdiff_t lf = str_chr(p->in, '\n');

	p->in = str_skip(p->in, lf < 0 ? p->in.n : (size_t)lf + 1);
	return p->in.n == 0 || parse_fail(p, "Only one message at a time");
}

enum result
cmd_append(struct imap *c, struct parse *p)
{
	struct append *a = c->append;
	struct wire_error we = { 0 };
	struct append_args args;
	struct store_mailbox m;
	int r;

	if (!append_args(p, &args) || !append_end(p))
		return bad_args(c, p);
	if (!a || a->left)
		return bad(c, "Expected the message as a literal");
	if (a->failed)
		return no(c, a->failed);
	if (a->size == 0)
		return no(c, "[CANNOT] A message of no bytes cannot be appended");
	if (a->nul)
		return no(c, "[CANNOT] A message with NUL bytes cannot be appended");
	if ((r = destination(c, args.name, &m, &we)) < 0)
		return not_taken(c, r, &we);
	return store_it(c, &args, a, m.id);
}
