/*
 * The store as front ends call it: each call is one chan_call to the maild that
 * owns the account's slot.
 *
 * A handle is a number that this process chooses; it is in the table before the
 * attach is sent, so no event can come before its handle. A handle is void from
 * the moment that its maild is seen to die, that maild says so (mailbox 0), or
 * that a call ends with an unknown outcome; its owner is told once by `fn`, and
 * every later call gives -ESTALE. All of this is for the loop's thread.
 */
#include "lib/client/store.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/map.h"
#include "lib/client/store_wire.h"
#include "lib/client/view.h"

enum { CALL_MS = 60 * 1000, ATTACH_MS = 30 * 1000, ROOM_MS = 10 * 1000 };

struct store_account {
	uint64_t handle;
	struct chan *chan;
	bool is_void;
	void (*fn)(void *arg, uint32_t mailbox, uint64_t modseq);
	void *arg;
	char text[256];   /* of the last error of a call without an arena */
};

/* This process as a client of the store. */
static struct {
	struct map handles;
	uint64_t last;
	bool listening;
} client;

static void
make_void(struct store_account *a)
{
	if (a->is_void)
		return;
	a->is_void = true;
	map_del(&client.handles, a->handle);
	if (a->fn)
		a->fn(a->arg, 0, 0);
}

static void
on_event(void *arg, struct chan *c, const struct frame *f)
{
	struct store_account *a;
	struct store_event e;

	if (store_event_get(f->body, &e) < 0)
		return;
	a = map_get(&client.handles, e.handle);
	if (!a || a->chan != c)
		return;
	if (e.mailbox == 0)
		make_void(a);
	else if (a->fn)
		a->fn(a->arg, e.mailbox, e.modseq);
}

/* The owner's fn may detach its handle: make_void has then removed it from the
 * table already, which the walk allows. */
static void
on_state(void *arg, struct chan *c, bool up)
{
	struct store_account *a;
	size_t pos = 0;

	if (up)
		return;
	while ((a = map_next(&client.handles, &pos, NULL)))
		if (a->chan == c)
			make_void(a);
}

static void
listen_once(void)
{
	if (client.listening)
		return;
	client.listening = true;
	chan_on_event(ROLE_MAILD, MSG_STORE_EV_CHANGED, on_event, NULL);
	chan_on_state(ROLE_MAILD, on_state, NULL);
}

static int
fail(struct wire_error *we, int code, struct str text)
{
	if (we)
		*we = (struct wire_error){ .code = code, .text = text };
	return code;
}

/* One call with a frame's fields in b and perhaps a descriptor. The answer's
 * descriptor is the caller's when ret_fd is given; else it is read into the
 * arena when the body says so, and closed. */
static int
call_raw(struct chan *c, uint16_t type, const struct buf *b, int fd, uint64_t ms, struct arena *ar,
    struct str *ret_body, int *ret_fd, struct wire_error *we)
{
	struct iovec iov = { b->p, b->n };
	struct wire_error theirs = { 0 };
	struct frame f = { .fd = -1 };
	int r;

	if (b->over)
		return fail(we, -E2BIG, STR("the request is too long"));
	r = chan_call(c, type, &iov, 1, fd, ms, ar, &f, &theirs);
	if (r < 0) {
		if (theirs.code)
			return *(we ? we : &theirs) = theirs, r;
		return fail(we, r, STR("the mail store does not answer"));
	}
	if (ret_fd) {
		*ret_fd = f.fd;
		*ret_body = f.body;
		return 0;
	}
	r = store_big_get(f.body, f.fd, ar, ret_body);
	if (f.fd >= 0)
		close(f.fd);
	return r < 0 ? fail(we, r, STR("an answer of the mail store cannot be read")) : 0;
}

/* A call on a handle: with an unknown outcome the handle is void. */
static int
call(struct store_account *a, uint16_t type, struct store_request *q, int fd, struct arena *ar,
    struct str *ret_body, int *ret_fd, struct wire_error *we)
{
	struct wire_error own = { 0 };
	struct buf b = { 0 };
	int r, set_fd = -1;

	if (!we)
		we = &own;
	if (a->is_void)
		return fail(we, -ESTALE, STR("the mail store was restarted"));
	q->handle = a->handle;
	r = store_request_put(&b, q, &set_fd);
	if (r < 0)
		fail(we, r, STR("the request is too long"));
	else
		r = call_raw(a->chan, type, &b, fd >= 0 ? fd : set_fd, CALL_MS, ar, ret_body, ret_fd, we);
	if (set_fd >= 0)
		close(set_fd);
	buf_done(&b);
	if (r == -EPIPE || r == -ENOTCONN || r == -ETIMEDOUT)
		r = fail(we, -ESTALE, STR("the mail store was interrupted"));
	if (r == -ESTALE)
		make_void(a);
	return r;
}

/* A call whose answer is a struct store_answer (or nothing). The scratch arena
 * serves callers that hand out only numbers. */
static int
call_answer(struct store_account *a, uint16_t type, struct store_request *q, int fd,
    struct arena *ar, struct store_answer *ret, struct wire_error *we)
{
	struct str body;
	int r = call(a, type, q, fd, ar, &body, NULL, we);

	if (r < 0)
		return r;
	r = store_answer_get(body, ar, ret);
	return r < 0 ? fail(we, r, STR("an answer of the mail store cannot be read")) : 0;
}

/* Moves an error's strings into the handle: they last until its next call. */
static void
keep_error(struct store_account *a, struct wire_error *we)
{
	size_t n = we->text.n < sizeof a->text - 16 ? we->text.n : sizeof a->text - 16;
	size_t m = we->enhanced.n < 16 ? we->enhanced.n : 0;

	if (n)
		memcpy(a->text, we->text.p, n);
	if (m)
		memcpy(a->text + n, we->enhanced.p, m);
	we->text = str_from(a->text, n);
	we->enhanced = str_from(a->text + n, m);
}

/* The same for callers without an arena. */
static int
call_numbers(struct store_account *a, uint16_t type, struct store_request *q, int fd,
    struct store_answer *ret, struct wire_error *we)
{
	struct arena *ar = arena_new(1 << 20);
	int r;

	if (!ar)
		return fail(we, -ENOMEM, STR("out of memory"));
	r = call_answer(a, type, q, fd, ar, ret, we);
	if (r < 0 && we)
		keep_error(a, we);
	arena_free(&ar);
	return r;
}

/* ---- attaching ---- */

int
store_attach(struct str ticket, uint32_t slot, void (*fn)(void *, uint32_t, uint64_t), void *arg,
    struct store_account **ret, unsigned *ret_handles, struct err *e)
{
	unsigned n = chan_instances(ROLE_MAILD);
	struct store_request q = { .ticket = ticket };
	struct store_answer ans = { 0 };
	struct wire_error we = { 0 };
	struct store_account *a;
	int r;

	if (n == 0)
		return err_set(e, -ENOTCONN, "there is no mail store");
	listen_once();
	a = calloc(1, sizeof *a);
	if (!a)
		return err_set(e, -ENOMEM, "out of memory");
	a->handle = ++client.last;
	a->chan = chan_to(ROLE_MAILD, slot % n);
	r = a->chan ? map_set(&client.handles, a->handle, a) : -ENOTCONN;
	if (r == 0)
		r = call_numbers(a, MSG_STORE_ATTACH, &q, -1, &ans, &we);
	if (r < 0) {
		store_detach(&a);
		return err_set(e, r, "%.*s", STR_ARG(we.text));
	}
	a->fn = fn;
	a->arg = arg;
	if (a->is_void) {
		store_detach(&a);
		return err_set(e, -ESTALE, "the mail store was restarted");
	}
	if (ret_handles)
		*ret_handles = ans.id;
	*ret = a;
	return 0;
}

static void
ignore(void *arg, int code, const struct frame *f)
{
}

void
store_detach(struct store_account **ap)
{
	struct store_account *a = *ap;
	struct store_request q = { 0 };
	struct buf b = { 0 };
	int fd;

	if (!a)
		return;
	*ap = NULL;
	map_del(&client.handles, a->handle);
	q.handle = a->handle;
	if (!a->is_void && a->chan && store_request_put(&b, &q, &fd) == 0)
		chan_send(a->chan, MSG_STORE_DETACH, &b, -1, ATTACH_MS, ignore, NULL);
	buf_done(&b);
	free(a);
}

int
store_renew(struct store_account *a, struct str ticket, struct wire_error *we)
{
	struct store_request q = { .ticket = ticket };
	struct store_answer ans;

	return call_numbers(a, MSG_STORE_RENEW, &q, -1, &ans, we);
}

/* ---- mailboxes ---- */

int
store_list(struct store_account *a, struct arena *ar, struct store_mailbox **ret, size_t *ret_n,
    struct wire_error *we)
{
	struct store_request q = { 0 };
	struct str body;
	int r = call(a, MSG_STORE_LIST, &q, -1, ar, &body, NULL, we);

	if (r < 0)
		return r;
	r = store_mailboxes_get(body, ar, ret, ret_n);
	return r < 0 ? fail(we, r, STR("an answer of the mail store cannot be read")) : 0;
}

int
store_status(struct store_account *a, uint32_t mailbox, struct arena *ar, struct store_mailbox *ret,
    struct wire_error *we)
{
	struct store_request q = { .mailbox = mailbox };
	struct store_mailbox *v;
	struct str body;
	size_t n = 0;
	int r = call(a, MSG_STORE_STATUS, &q, -1, ar, &body, NULL, we);

	if (r < 0)
		return r;
	r = store_mailboxes_get(body, ar, &v, &n);
	if (r < 0 || n != 1)
		return fail(we, -EPROTO, STR("an answer of the mail store cannot be read"));
	*ret = v[0];
	return 0;
}

int
store_create(struct store_account *a, struct str name, struct str role, uint32_t *ret_id,
    struct wire_error *we)
{
	struct store_request q = { .name = name, .role = role };
	struct store_answer ans = { 0 };
	int r = call_numbers(a, MSG_STORE_CREATE, &q, -1, &ans, we);

	if (r == 0 && ret_id)
		*ret_id = ans.id;
	return r;
}

int
store_delete(struct store_account *a, uint32_t mailbox, struct wire_error *we)
{
	struct store_request q = { .mailbox = mailbox };
	struct store_answer ans;

	return call_numbers(a, MSG_STORE_DELETE, &q, -1, &ans, we);
}

int
store_rename(struct store_account *a, uint32_t mailbox, struct str name, struct wire_error *we)
{
	struct store_request q = { .mailbox = mailbox, .name = name };
	struct store_answer ans;

	return call_numbers(a, MSG_STORE_RENAME, &q, -1, &ans, we);
}

int
store_subscribe(struct store_account *a, struct str name, bool on, struct wire_error *we)
{
	struct store_request q = { .name = name, .on = on };
	struct store_answer ans;

	return call_numbers(a, MSG_STORE_SUBSCRIBE, &q, -1, &ans, we);
}

int
store_quota(struct store_account *a, uint64_t *ret_used, uint64_t *ret_limit, struct wire_error *we)
{
	struct store_request q = { 0 };
	struct store_answer ans = { 0 };
	int r = call_numbers(a, MSG_STORE_QUOTA, &q, -1, &ans, we);

	if (r == 0) {
		*ret_used = ans.used;
		*ret_limit = ans.limit;
	}
	return r;
}

/* ---- views ---- */

static int
view_keyword_list(const struct view_head *h, struct arena *ar, struct store_view *v)
{
	struct str rest = str_from(view_keywords(h), h->keywords_len);

	v->keywords = ARENA_ARRAY(ar, struct str, (size_t)h->n_keywords + 1);
	if (!v->keywords)
		return -ENOMEM;
	for (; v->n_keywords < h->n_keywords; v->n_keywords++) {
		uint16_t len;

		if (rest.n < 2)
			return -EPROTO;
		memcpy(&len, rest.p, 2);
		rest = str_skip(rest, 2);
		if (len > rest.n)
			return -EPROTO;
		v->keywords[v->n_keywords] = str_head(rest, len);
		rest = str_skip(rest, len);
	}
	return 0;
}

/* The arrays of a mapped view, once they are known to lie inside it. */
static int
view_open(struct store_view *v, struct arena *ar)
{
	const struct view_head *h = v->map;

	if (v->map_size < sizeof *h || view_size(h) == 0 || view_size(h) > v->map_size ||
	    h->n_keywords > h->keywords_len / 2)
		return -EPROTO;
	v->uidvalidity = h->uidvalidity;
	v->uidnext = h->uidnext;
	v->first_recent = h->first_recent;
	v->modseq = h->modseq;
	v->n = h->n;
	v->mod = view_mod(h);
	v->uid = view_uid(h);
	v->flags = view_flags(h);
	v->more = (struct view_more *)view_more_pairs(h);
	v->n_more = h->n_more;
	return view_keyword_list(h, ar, v);
}

static int
view_map(int fd, struct arena *ar, struct store_view *ret)
{
	struct store_view v = { 0 };
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0)
		return -EPROTO;
	v.map_size = (size_t)st.st_size;
	v.map = mmap(NULL, v.map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (v.map == MAP_FAILED)
		return -errno;
	r = view_open(&v, ar);
	if (r < 0)
		store_view_done(&v);
	else
		*ret = v;
	return r;
}

int
store_select(struct store_account *a, uint32_t mailbox, bool claim_recent, struct arena *ar,
    struct store_view *ret, struct wire_error *we)
{
	struct store_request q = { .mailbox = mailbox, .on = claim_recent };
	struct str body;
	int fd = -1, r;

	r = call(a, MSG_STORE_SELECT, &q, -1, ar, &body, &fd, we);
	if (r < 0)
		return r;
	r = view_map(fd, ar, ret);
	if (fd >= 0)
		close(fd);
	return r < 0 ? fail(we, r, STR("a view of the mail store cannot be mapped")) : 0;
}

void
store_view_done(struct store_view *v)
{
	if (v->map)
		munmap(v->map, v->map_size);
	*v = (struct store_view){ 0 };
}

int
store_sync(struct store_account *a, uint32_t mailbox, uint64_t since, bool claim_recent,
    struct arena *ar, struct store_delta *ret, struct wire_error *we)
{
	struct store_request q = { .mailbox = mailbox, .since = since, .on = claim_recent };
	struct str body;
	int r = call(a, MSG_STORE_SYNC, &q, -1, ar, &body, NULL, we);

	if (r < 0)
		return r;
	r = store_delta_get(body, ar, ret);
	return r < 0 ? fail(we, r, STR("an answer of the mail store cannot be read")) : 0;
}

/* ---- messages ---- */

int
store_facts(struct store_account *a, uint32_t mailbox, const struct uid_set *set, uint32_t from,
    unsigned want, struct arena *ar, struct store_fact **ret, size_t *ret_n, uint32_t *ret_next,
    struct wire_error *we)
{
	struct store_request q = { .mailbox = mailbox, .set = *set, .uid = from, .want = want };
	struct str body;
	int r = call(a, MSG_STORE_FACTS, &q, -1, ar, &body, NULL, we);

	if (r < 0)
		return r;
	r = store_facts_get(body, ar, ret, ret_n, ret_next);
	return r < 0 ? fail(we, r, STR("an answer of the mail store cannot be read")) : 0;
}

int
store_content(struct store_account *a, uint32_t mailbox, uint32_t uid, int *ret_fd,
    uint64_t *ret_size, struct wire_error *we)
{
	struct store_request q = { .mailbox = mailbox, .uid = uid };
	struct arena *ar = arena_new(1 << 20);
	struct store_answer ans = { 0 };
	struct str body;
	int fd = -1, r;

	if (!ar)
		return fail(we, -ENOMEM, STR("out of memory"));
	r = call(a, MSG_STORE_CONTENT, &q, -1, ar, &body, &fd, we);
	if (r == 0 && (fd < 0 || store_answer_get(body, ar, &ans) < 0)) {
		if (fd >= 0)
			close(fd);
		r = -EPROTO;
	}
	if (r < 0)
		fail(we, r, r == -ENOENT ? STR("no such message") : STR("the message cannot be read"));
	arena_free(&ar);
	if (r == 0) {
		*ret_fd = fd;
		*ret_size = ans.size;
	}
	return r;
}

int
store_flags(struct store_account *a, uint32_t mailbox, const struct uid_set *set,
    enum store_flag_op op, uint32_t sysflags, const struct str *keywords, size_t n_keywords,
    uint64_t unchanged_since, struct arena *ar, struct uid_set *ret_modified, uint64_t *ret_modseq,
    struct wire_error *we)
{
	struct store_request q = { .mailbox = mailbox, .set = *set, .op = op, .sysflags = sysflags,
		.keywords = (struct str *)keywords, .n_keywords = n_keywords };
	struct store_answer ans = { 0 };
	int r;

	/* 0 on the wire is 'no condition': a condition travels as its value + 1 */
	q.since = unchanged_since == UINT64_MAX ? 0 : unchanged_since + 1;
	r = call_answer(a, MSG_STORE_FLAGS, &q, -1, ar, &ans, we);
	if (r < 0)
		return r;
	*ret_modified = ans.set;
	*ret_modseq = ans.modseq;
	return 0;
}

int
store_copy(struct store_account *a, uint32_t mailbox, const struct uid_set *set, uint32_t dest,
    bool move, struct arena *ar, struct store_copied *ret, struct wire_error *we)
{
	struct store_request q = { .mailbox = mailbox, .set = *set, .dest = dest, .on = move };
	struct store_answer ans = { 0 };
	int r = call_answer(a, MSG_STORE_COPY, &q, -1, ar, &ans, we);

	if (r < 0)
		return r;
	*ret = (struct store_copied){ ans.uidvalidity, ans.from, ans.to, ans.n };
	return 0;
}

int
store_expunge(struct store_account *a, uint32_t mailbox, const struct uid_set *set,
    struct arena *ar, struct uid_set *ret_gone, uint64_t *ret_modseq, struct wire_error *we)
{
	struct store_request q = { .mailbox = mailbox, .all = set == NULL };
	struct store_answer ans = { 0 };
	int r;

	if (set)
		q.set = *set;
	r = call_answer(a, MSG_STORE_EXPUNGE, &q, -1, ar, &ans, we);
	if (r < 0)
		return r;
	*ret_gone = ans.set;
	*ret_modseq = ans.modseq;
	return 0;
}

int
store_append(struct store_account *a, const struct store_append *ap, uint32_t *ret_uidvalidity,
    uint32_t *ret_uid, uint64_t *ret_email, struct wire_error *we)
{
	struct store_request q = { .mailbox = ap->mailbox, .sysflags = ap->sysflags,
		.keywords = (struct str *)ap->keywords, .n_keywords = ap->n_keywords,
		.internal_date = ap->internal_date, .internal_zone = ap->internal_zone,
		.size = ap->size, .facts = ap->facts };
	struct store_answer ans = { 0 };
	int r = call_numbers(a, MSG_STORE_APPEND, &q, ap->fd, &ans, we);

	if (r < 0)
		return r;
	*ret_uidvalidity = ans.uidvalidity;
	*ret_uid = ans.uid;
	*ret_email = ans.email;
	return 0;
}

/* ---- smtpd ---- */

/* What a client is told at once; with every other code the mail waits in the spool. */
static void
no_room(struct wire_error *we, int code)
{
	static const struct wire_error told[] = {
		{ -EDQUOT, 452, STR_INIT("4.2.2"), STR_INIT("Mailbox full") },
		{ -EFBIG, 552, STR_INIT("5.2.3"), STR_INIT("Larger than the mailbox may be") },
		{ -ENOSPC, 452, STR_INIT("4.3.1"), STR_INIT("The mail store is full") },
	};

	fail(we, code, STR("the mail store does not answer"));
	for (size_t i = 0; we && i < sizeof told / sizeof *told; i++)
		if (told[i].code == code)
			*we = told[i];
}

int
store_room(uint64_t account, uint32_t volume, uint32_t slot, uint64_t quota, uint64_t size,
    struct wire_error *we)
{
	struct room_request q = { .account = account, .volume = volume, .quota = quota, .size = size };
	unsigned n = chan_instances(ROLE_MAILD);
	struct chan *c = n ? chan_to(ROLE_MAILD, slot % n) : NULL;
	struct arena *ar = arena_new(64 << 10);
	struct buf b = { 0 };
	struct str body;
	int r;

	if (!c || !ar) {
		arena_free(&ar);
		return fail(we, -ENOTCONN, STR("there is no mail store"));
	}
	room_request_put(&b, &q);
	r = call_raw(c, MSG_STORE_ROOM, &b, -1, ROOM_MS, ar, &body, NULL, we);
	if (r < 0)
		no_room(we, r);
	buf_done(&b);
	arena_free(&ar);
	return r;
}
