/* The codecs of questions for MTA-STS policies, and their caller; see sts.h. */
#include "lib/client/sts.h"

#include <errno.h>

/* fetchd gives up on the DNS and on the policy's server before this. */
#define ASK_MS (180 * 1000)
#define DOMAIN_MAX 1024

enum { Q_DOMAIN = 1 };
enum { A_FOUND = 1, A_ID, A_MODE, A_MAX_AGE, A_MX, A_TTL, A_FAULT, A_WHY };

void
sts_question_put(struct buf *b, struct str domain)
{
	wire_str(b, Q_DOMAIN, domain);
}

int
sts_question_get(struct str body, struct str *ret_domain)
{
	struct str domain = STR_NULL;
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0)
		if (f.tag == Q_DOMAIN)
			domain = f.v;
	if (r < 0 || !domain.n || domain.n > DOMAIN_MAX)
		return -EPROTO;
	*ret_domain = domain;
	return 0;
}

void
sts_answer_put(struct buf *b, const struct sts_answer *v)
{
	wire_opt_u64(b, A_FOUND, v->found);
	wire_opt_str(b, A_ID, v->id);
	wire_opt_u64(b, A_MODE, v->policy.mode);
	wire_opt_u64(b, A_MAX_AGE, v->policy.max_age);
	for (size_t i = 0; i < v->policy.n_mx; i++)
		wire_str(b, A_MX, v->policy.mx[i]);
	wire_opt_u64(b, A_TTL, v->ttl_ms);
	wire_opt_u64(b, A_FAULT, v->fault);
	wire_opt_str(b, A_WHY, v->why);
}

static bool
in_range(const struct sts_answer *v)
{
	return v->policy.mode <= STS_MODE_ENFORCE && v->fault <= STS_FAULT_WEBPKI;
}

int
sts_answer_get(struct str body, struct arena *a, struct sts_answer *ret)
{
	struct sts_answer v = { 0 };
	struct wire_field f;
	size_t n = 0;
	int r = wire_count(body, A_MX, &n);

	if (r || n > STS_MX_MAX)
		return -EPROTO;
	v.policy.mx = ARENA_ARRAY(a, struct str, n + 1);
	if (!v.policy.mx)
		return -ENOMEM;
	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case A_FOUND: v.found = wire_int(&f) != 0; break;
		case A_ID: v.id = f.v; break;
		case A_MODE: v.policy.mode = (enum sts_mode)wire_int(&f); break;
		case A_MAX_AGE: v.policy.max_age = (uint32_t)wire_int(&f); break;
		case A_MX: v.policy.mx[v.policy.n_mx++] = f.v; break;
		case A_TTL: v.ttl_ms = wire_int(&f); break;
		case A_FAULT: v.fault = (enum sts_fault)wire_int(&f); break;
		case A_WHY: v.why = f.v; break;
		}
	}
	if (r < 0 || !in_range(&v))
		return -EPROTO;
	*ret = v;
	return 0;
}

int
sts_ask(struct str domain, struct arena *a, struct sts_answer *ret)
{
	struct chan *c = chan_to(ROLE_FETCHD, CHAN_ANY);
	struct wire_error we = { 0 };
	struct buf b = { 0 };
	struct frame f;
	int r = -ENOTCONN;

	sts_question_put(&b, domain);
	if (c)
		r = chan_call_buf(c, MSG_FETCH_STS, &b, ASK_MS, a, &f, &we);
	buf_done(&b);
	return r < 0 ? r : sts_answer_get(f.body, a, ret);
}
