/* Plugins and a whole message; see filtered.h. */
#include "lib/accept/filtered.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/accept/rcpt.h"
#include "lib/base/fd.h"
#include "lib/base/log.h"
#include "lib/mail/header.h"

/* ---- header and body ---- */

static void
put_field(struct buf *out, struct str name, struct str value)
{
	buf_str(out, name);
	buf_puts(out, ": ");
	buf_str(out, value);
	buf_puts(out, "\r\n");
}

/* What is added before field number at. */
static void
put_added(struct buf *out, const struct filter_edit *edits, size_t n, uint32_t at)
{
	for (size_t i = 0; i < n; i++)
		if (edits[i].op == FILTER_HEADER_ADD && edits[i].at == at)
			put_field(out, edits[i].name, edits[i].value);
}

/* What is added behind the last of `fields` fields, wherever behind. */
static void
put_bottom(struct buf *out, const struct filter_edit *edits, size_t n, uint32_t fields)
{
	for (size_t i = 0; i < n; i++)
		if (edits[i].op == FILTER_HEADER_ADD && edits[i].at >= fields)
			put_field(out, edits[i].name, edits[i].value);
}

/* The last edit of that field: none, one that sets it, one that removes it. */
static const struct filter_edit *
edit_of(const struct filter_edit *edits, size_t n, uint32_t at)
{
	for (size_t i = n; i-- > 0;)
		if ((edits[i].op == FILTER_HEADER_SET || edits[i].op == FILTER_HEADER_REMOVE) &&
		    edits[i].at == at)
			return &edits[i];
	return NULL;
}

static void
put_body(struct buf *out, struct str rest, const struct filter_edit *edits, size_t n,
    struct str body)
{
	for (size_t i = n; i-- > 0;) {
		if (edits[i].op != FILTER_BODY_SET)
			continue;
		buf_puts(out, "\r\n");
		buf_str(out, edits[i].at ? body : edits[i].value);
		return;
	}
	buf_str(out, rest);
}

void
filtered_edit(struct str message, const struct filter_edit *edits, size_t n, struct str body,
    struct buf *out)
{
	struct str rest = message;
	struct header_field f;
	uint32_t at = 0;

	for (; header_next(&rest, &f); at++) {
		const struct filter_edit *e = edit_of(edits, n, at);

		put_added(out, edits, n, at);
		if (!e)
			buf_str(out, f.whole);
		else if (e->op == FILTER_HEADER_SET)
			put_field(out, f.name, e->value);
	}
	put_bottom(out, edits, n, at);
	put_body(out, rest, edits, n, body);
}

/* ---- the envelope ---- */

static bool
is_removed(const struct filter_answer *r, size_t i)
{
	for (size_t k = 0; k < r->n_edits; k++)
		if (r->edits[k].op == FILTER_RCPT_REMOVE && r->edits[k].at == i)
			return true;
	return false;
}

static bool
has_rcpt(const struct envelope *env, struct str address)
{
	for (size_t i = 0; i < env->n_rcpts; i++)
		if (str_ieq(env->rcpts[i].address, address) || str_ieq(env->rcpts[i].original, address))
			return true;
	return false;
}

/* 0; 1: there is no such recipient; negative: it cannot be looked up now. */
static int
add_rcpt(struct envelope *env, size_t *cap, struct str address, struct arena *a)
{
	const struct envelope_rcpt said = { .notify = NOTIFY_NEVER };
	struct resolve_answer who = { 0 };
	int r;

	if (has_rcpt(env, address))
		return 0;
	r = auth_resolve(address, env->sender, a, &who);
	if (r < 0)
		return r;
	if (!resolve_deliveries(&who))
		return 1;
	return accept_rcpt(env, cap, &who, arena_dup(a, address), &said, a);
}

/* A copy of the array without those that were removed, then those that were added. */
static int
edit_rcpts(struct envelope *env, const struct filter_answer *r, struct arena *a)
{
	struct envelope e = *env;
	size_t cap = e.n_rcpts + 1;
	int code = 0;

	e.rcpts = ARENA_ARRAY(a, struct envelope_rcpt, cap);
	e.n_rcpts = 0;
	if (!e.rcpts)
		return -ENOMEM;
	for (size_t i = 0; i < env->n_rcpts; i++)
		if (!is_removed(r, i))
			e.rcpts[e.n_rcpts++] = env->rcpts[i];
	for (size_t i = 0; i < r->n_edits && code >= 0; i++)
		if (r->edits[i].op == FILTER_RCPT_ADD)
			code = add_rcpt(&e, &cap, r->edits[i].value, a);
	if (code < 0)
		return code;
	e.flags &= ~(uint32_t)ENV_LMTP; /* one answer for all: theirs are no longer those of RCPT */
	*env = e;
	return 0;
}

static int
edit_envelope(struct envelope *env, const struct filter_answer *r, struct arena *a)
{
	bool rcpts = false;

	for (size_t i = 0; i < r->n_edits; i++) {
		rcpts |= r->edits[i].op == FILTER_RCPT_ADD || r->edits[i].op == FILTER_RCPT_REMOVE;
		if (r->edits[i].op == FILTER_SENDER_SET)
			env->sender = r->edits[i].value;
	}
	return rcpts ? edit_rcpts(env, r, a) : 0;
}

/* ---- one plugin ---- */

static int
body_map(int fd, struct str *ret)
{
	struct stat st;
	void *p;

	*ret = STR_NULL;
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0 || st.st_size < 0 || st.st_size > INT32_MAX)
		return -EINVAL;
	if (!st.st_size)
		return 0;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*ret = str_from(p, (size_t)st.st_size);
	return 0;
}

static int
edit_message(struct buf *message, const struct filter_answer *r, int fd)
{
	struct buf out = { .max = message->max };
	struct str body;
	int code = body_map(fd, &body);

	if (code)
		return code;
	filtered_edit(buf_view(message), r->edits, r->n_edits, body, &out);
	if (body.n)
		munmap((void *)(uintptr_t)body.p, body.n);
	if (out.over) {
		buf_done(&out);
		return -ENOMEM;
	}
	buf_done(message);
	*message = out;
	return 0;
}

/* The message as a memory file that nobody can change any more. */
static int
as_file(struct str message, int *ret)
{
	int fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;

	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, message);
	if (r) {
		close(fd);
		return r;
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	*ret = fd;
	return 0;
}

static bool
edits_content(const struct filter_answer *r)
{
	for (size_t i = 0; i < r->n_edits; i++)
		if (r->edits[i].op <= FILTER_HEADER_REMOVE || r->edits[i].op == FILTER_BODY_SET)
			return true;
	return false;
}

static int
take_edits(const struct filter_answer *r, int body_fd, struct envelope *env, struct buf *message,
    struct arena *a)
{
	int code = r->n_edits ? edit_envelope(env, r, a) : 0;

	if (!code && edits_content(r))
		code = edit_message(message, r, body_fd);
	return code;
}

/* The message goes inline or as a file, which is kept for the next plugin while nobody edits it. */
static int
ask(const struct conf_plugin *p, struct filter_session *s, struct filter_txn *t,
    struct envelope *env, struct buf *message, int *file, struct arena *a,
    struct filter_answer *ret)
{
	struct filter_ask q;
	int code = 0, body;

	t->env = env;
	filter_ask_init(s, t, FILTER_MESSAGE, a, &q);
	q.size = message->n;
	if (message->n <= WIRE_INLINE)
		q.content = buf_view(message);
	else if (*file < 0)
		code = as_file(buf_view(message), file);
	if (code)
		return code;
	filter_ask_one(p, s, t, &q, q.content.n ? -1 : *file, a, ret, &body);
	if (ret->action <= FILTER_ACCEPT || ret->action == FILTER_QUARANTINE)
		code = take_edits(ret, body, env, message, a);
	if (body >= 0)
		close(body);
	if (*file >= 0 && edits_content(ret)) {
		close(*file);
		*file = -1;
	}
	return code;
}

static struct filter_verdict
no_memory(const struct conf_plugin *p)
{
	return (struct filter_verdict){ FILTER_TEMPFAIL, 451, "4.3.0", "A filter's answer cannot be carried out",
		p->name };
}

static void
note(const struct envelope *env, const struct filter_verdict *v)
{
	static const char *const names[FILTER_ACTIONS] = {
		[FILTER_REJECT] = "reject", [FILTER_TEMPFAIL] = "tempfail", [FILTER_DISCARD] = "discard",
		[FILTER_QUARANTINE] = "quarantine",
	};

	LOG_INFO("filter.verdict", L_STR("txn", env->trace), L_STR("plugin", v->plugin),
	    L_C("action", names[v->action]), L_STR("from", env->sender), L_C("reason", v->text));
}

struct filter_verdict
filtered_message(const struct settings *c, struct filter_session *s, struct filter_txn *t,
    struct envelope *env, struct buf *message, struct arena *a)
{
	const struct conf_plugin *v[CONF_PLUGINS_MAX];
	size_t n = filter_plugins(c, s, v);
	struct filter_verdict held = { 0 }, said;
	const struct envelope *before = t->env;
	struct filter_answer r;
	int file = -1;

	filter_begin(s, t);
	for (size_t i = 0; i < n; i++) {
		if (!filter_asks(v[i], s, t, FILTER_MESSAGE))
			continue;
		said = ask(v[i], s, t, env, message, &file, a, &r) ? no_memory(v[i]) :
		    filter_verdict_of(v[i], &r, a);
		if (said.action > FILTER_ACCEPT)
			note(env, &said);
		if (said.action == FILTER_QUARANTINE)
			held = said;
		else if (said.action > FILTER_ACCEPT) {
			held = said;
			break;
		}
		if (!env->n_rcpts) {
			held = (struct filter_verdict){ FILTER_DISCARD, 0, "", "no recipient is left", v[i]->name };
			note(env, &held);
			break;
		}
	}
	if (file >= 0)
		close(file);
	t->env = before;
	return held;
}
