/* The callers' side of submitd, and the codecs of its messages; see submit.h. */
#include "lib/client/submit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/fd.h"

#define ANSWER_MS 600000u /* as long as queued may take, and the look-ups before */

enum {
	Q_TICKET = 1, Q_SENDER, Q_RCPT, Q_CONTENT, Q_DEDUP, Q_ENVID, Q_RET, Q_NOTIFY, Q_HOLD,
	Q_BODY, Q_FLAGS, Q_CLIENT, Q_PARTIAL,
};
enum { A_ID = 1, A_DUPLICATE, A_SMTP, A_ENHANCED, A_TEXT, A_REFUSED };
enum { F_ADDRESS = 1, F_SMTP, F_ENHANCED, F_TEXT }; /* within A_REFUSED */

void
submit_request_put(struct buf *b, const struct submit_request *r)
{
	wire_opt_str(b, Q_TICKET, r->ticket);
	wire_opt_str(b, Q_SENDER, r->sender);
	for (size_t i = 0; i < r->n_rcpts; i++)
		wire_str(b, Q_RCPT, r->rcpts[i]);
	wire_opt_str(b, Q_CONTENT, r->content);
	wire_opt_str(b, Q_DEDUP, r->dedup_key);
	wire_opt_str(b, Q_ENVID, r->envid);
	wire_opt_u64(b, Q_RET, r->ret);
	wire_opt_u64(b, Q_NOTIFY, r->notify);
	wire_opt_u64(b, Q_HOLD, r->hold_until_ms);
	wire_opt_u64(b, Q_BODY, r->body);
	wire_opt_u64(b, Q_FLAGS, r->flags);
	wire_opt_str(b, Q_CLIENT, r->client);
	wire_opt_u64(b, Q_PARTIAL, r->partial);
}

int
submit_request_get(struct str body, struct arena *a, struct submit_request *ret)
{
	struct submit_request r = { 0 };
	struct wire_field f;
	size_t n = 0;
	int rc = wire_count(body, Q_RCPT, &n);

	if (rc)
		return rc;
	if (n && !(r.rcpts = ARENA_ARRAY(a, struct str, n)))
		return -ENOMEM;
	while ((rc = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case Q_TICKET: r.ticket = f.v; break;
		case Q_SENDER: r.sender = f.v; break;
		case Q_RCPT: r.rcpts[r.n_rcpts++] = f.v; break;
		case Q_CONTENT: r.content = f.v; break;
		case Q_DEDUP: r.dedup_key = f.v; break;
		case Q_ENVID: r.envid = f.v; break;
		case Q_RET: r.ret = (uint32_t)wire_int(&f); break;
		case Q_NOTIFY: r.notify = (uint32_t)wire_int(&f); break;
		case Q_HOLD: r.hold_until_ms = wire_int(&f); break;
		case Q_BODY: r.body = (uint32_t)wire_int(&f); break;
		case Q_FLAGS: r.flags = (uint32_t)wire_int(&f); break;
		case Q_CLIENT: r.client = f.v; break;
		case Q_PARTIAL: r.partial = wire_int(&f) != 0; break;
		}
	}
	if (!rc)
		*ret = r;
	return rc;
}

static void
refused_put(struct buf *b, const struct submit_refused *r)
{
	size_t at = wire_begin(b, A_REFUSED);

	wire_opt_str(b, F_ADDRESS, r->address);
	wire_opt_u64(b, F_SMTP, r->smtp);
	wire_opt_str(b, F_ENHANCED, r->enhanced);
	wire_opt_str(b, F_TEXT, r->text);
	wire_end(b, at);
}

static int
refused_get(struct str body, struct submit_refused *ret)
{
	struct wire_field f;
	int rc;

	while ((rc = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case F_ADDRESS: ret->address = f.v; break;
		case F_SMTP: ret->smtp = (unsigned)wire_int(&f); break;
		case F_ENHANCED: ret->enhanced = f.v; break;
		case F_TEXT: ret->text = f.v; break;
		}
	}
	return rc;
}

void
submit_answer_put(struct buf *b, const struct submit_answer *r)
{
	wire_opt_u64(b, A_ID, r->spool_id);
	wire_opt_u64(b, A_DUPLICATE, r->duplicate);
	wire_u64(b, A_SMTP, r->smtp);
	wire_opt_str(b, A_ENHANCED, r->enhanced);
	wire_opt_str(b, A_TEXT, r->text);
	for (size_t i = 0; i < r->n_refused; i++)
		refused_put(b, &r->refused[i]);
}

int
submit_answer_get(struct str body, struct arena *a, struct submit_answer *ret)
{
	struct submit_answer r = { 0 };
	struct wire_field f;
	size_t n = 0;
	int rc = wire_count(body, A_REFUSED, &n);

	if (rc)
		return rc;
	if (n && !(r.refused = ARENA_ARRAY(a, struct submit_refused, n)))
		return -ENOMEM;
	while ((rc = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case A_ID: r.spool_id = wire_int(&f); break;
		case A_DUPLICATE: r.duplicate = wire_int(&f) != 0; break;
		case A_SMTP: r.smtp = (unsigned)wire_int(&f); break;
		case A_ENHANCED: r.enhanced = f.v; break;
		case A_TEXT: r.text = f.v; break;
		case A_REFUSED:
			if ((rc = refused_get(f.v, &r.refused[r.n_refused++])))
				return rc;
			break;
		}
	}
	if (rc < 0 || r.smtp < 200 || r.smtp > 599)
		return -EPROTO;
	*ret = r;
	return 0;
}

/* ---- calls ---- */

int
submit_sealed(struct str content)
{
	int fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING), rc;

	if (fd < 0)
		return -errno;
	rc = fd_write_all(fd, content);
	if (!rc && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		rc = -errno;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

int
submit_pack(const struct submit_request *r, struct buf *b, int *ret_fd)
{
	struct submit_request q = *r;
	int fd = -1;

	if (q.content.n > WIRE_INLINE) {
		fd = submit_sealed(q.content);
		if (fd < 0)
			return fd;
		q.content = STR_NULL;
	}
	submit_request_put(b, &q);
	if (!b->over && b->n <= WIRE_MAX - WIRE_HEAD) {
		*ret_fd = fd;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	return b->over ? -ENOMEM : -EMSGSIZE;
}

int
submit_message(const struct submit_request *r, struct arena *a, struct submit_answer *ret)
{
	struct chan *c = chan_to(ROLE_SUBMITD, 0);
	struct buf b = { 0 };
	struct wire_error we;
	struct frame f;
	int fd = -1, rc = c ? submit_pack(r, &b, &fd) : -ENOTCONN;

	if (!rc) {
		struct iovec iov = { b.p, b.n };

		rc = chan_call(c, MSG_SUBMIT, &iov, 1, fd, ANSWER_MS, a, &f, &we);
	}
	buf_done(&b);
	if (fd >= 0)
		close(fd);
	return rc ? rc : submit_answer_get(f.body, a, ret);
}
