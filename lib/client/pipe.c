/* The codecs of piped's messages, and its targets; see pipe.h. */
#include "lib/client/pipe.h"

#include <errno.h>

#include "lib/base/text.h"

enum {
	P_SPOOL_ID = 1, P_ARRIVED, P_SENDER, P_TRACE, P_CLIENT_NAME, P_CLIENT_IP, P_USER,
	P_ADDRESS, P_ORIGINAL, P_ORCPT, P_DETAIL, P_TARGET, P_SIZE,
	P_CONTENT = 100,
};
enum { A_OUTCOME = 1, A_SMTP, A_ENHANCED, A_TEXT };

/* ---- targets ---- */

/* Absolute, and each name between the slashes a plain one. */
static bool
path_is_plain(struct str path)
{
	struct str names = str_skip(path, 1);

	if (names.n && names.p[names.n - 1] == '/')
		names.n--;
	while (names.p) {
		struct str name = str_cut(&names, '/');

		if (!name.n || str_eq(name, STR(".")) || str_eq(name, STR("..")))
			return false;
	}
	return true;
}

int
pipe_target_parse(struct str s, struct pipe_target *ret)
{
	struct pipe_target t = { .what = s };

	if (!s.n || s.n > PIPE_TARGET_MAX || ascii_has_control(s))
		return -EINVAL;
	if (t.what.p[0] == '|') {
		t.kind = PIPE_COMMAND;
		t.what = str_trim(str_skip(t.what, 1));
		if (!t.what.n)
			return -EINVAL;
	} else if (t.what.p[0] != '/' || !path_is_plain(t.what)) {
		return -EINVAL;
	} else {
		t.kind = t.what.p[t.what.n - 1] == '/' ? PIPE_MAILDIR : PIPE_MBOX;
	}
	*ret = t;
	return 0;
}

/* ---- codecs ---- */

void
pipe_request_put(struct buf *b, const struct pipe_request *r)
{
	wire_u64(b, P_SPOOL_ID, r->spool_id);
	wire_u64(b, P_ARRIVED, r->arrived_us);
	wire_opt_str(b, P_SENDER, r->sender);
	wire_opt_str(b, P_TRACE, r->trace);
	wire_opt_str(b, P_CLIENT_NAME, r->client_name);
	wire_opt_str(b, P_CLIENT_IP, r->client_ip);
	wire_opt_str(b, P_USER, r->user);
	wire_opt_str(b, P_ADDRESS, r->address);
	wire_opt_str(b, P_ORIGINAL, r->original);
	wire_opt_str(b, P_ORCPT, r->orcpt);
	wire_opt_str(b, P_DETAIL, r->detail);
	wire_opt_str(b, P_TARGET, r->target);
	wire_u64(b, P_SIZE, r->size);
	wire_opt_str(b, P_CONTENT, r->content);
}

int
pipe_request_get(struct str body, struct pipe_request *ret)
{
	struct pipe_request q = { 0 };
	struct wire_field f;
	int rc;

	while ((rc = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case P_SPOOL_ID: q.spool_id = wire_int(&f); break;
		case P_ARRIVED: q.arrived_us = wire_int(&f); break;
		case P_SENDER: q.sender = f.v; break;
		case P_TRACE: q.trace = f.v; break;
		case P_CLIENT_NAME: q.client_name = f.v; break;
		case P_CLIENT_IP: q.client_ip = f.v; break;
		case P_USER: q.user = f.v; break;
		case P_ADDRESS: q.address = f.v; break;
		case P_ORIGINAL: q.original = f.v; break;
		case P_ORCPT: q.orcpt = f.v; break;
		case P_DETAIL: q.detail = f.v; break;
		case P_TARGET: q.target = f.v; break;
		case P_SIZE: q.size = wire_int(&f); break;
		case P_CONTENT: q.content = f.v; break;
		}
	}
	if (rc < 0 || !q.address.n || !q.target.n)
		return -EPROTO;
	*ret = q;
	return 0;
}

void
pipe_answer_put(struct buf *b, const struct pipe_answer *r)
{
	wire_u64(b, A_OUTCOME, r->outcome);
	wire_u64(b, A_SMTP, r->smtp);
	wire_opt_str(b, A_ENHANCED, r->enhanced);
	wire_opt_str(b, A_TEXT, r->text);
}

int
pipe_answer_get(struct str body, struct pipe_answer *ret)
{
	struct pipe_answer r = { 0 };
	struct wire_field f;
	int rc;

	while ((rc = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case A_OUTCOME: r.outcome = (enum pipe_outcome)wire_int(&f); break;
		case A_SMTP: r.smtp = (unsigned)wire_int(&f); break;
		case A_ENHANCED: r.enhanced = f.v; break;
		case A_TEXT: r.text = f.v; break;
		}
	}
	if (rc < 0 || r.outcome < PIPE_DONE || r.outcome > PIPE_REJECT)
		return -EPROTO;
	*ret = r;
	return 0;
}
