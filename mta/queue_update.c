/* Updates as TLV; see queue_update.h. */
#include "mta/queue_update.h"

#include <errno.h>

#include "lib/io/wire.h"

enum {
	U_NEXT = 1,
	U_ATTEMPTS = 2,
	U_SET = 3,
	U_CLEAR = 4,
	U_RESULT = 5, /* group */
	R_INDEX = 1,
	R_STATE = 2,
	R_SMTP = 3,
	R_ENHANCED = 4,
	R_TEXT = 5,
	R_EMAIL = 6,
	R_EVENT = 7,
	R_MTA = 8,
};

#define TEXT_MAX 512
#define MTA_MAX 255

static void
result_put(struct buf *b, const struct rcpt_result *r)
{
	size_t at = wire_begin(b, U_RESULT);

	wire_opt_u64(b, R_INDEX, r->index);
	wire_opt_u64(b, R_STATE, r->state);
	wire_opt_u64(b, R_SMTP, r->smtp);
	wire_opt_str(b, R_ENHANCED, str_head(r->enhanced, 16));
	wire_opt_str(b, R_TEXT, str_head(r->text, TEXT_MAX));
	wire_opt_u64(b, R_EMAIL, r->email);
	wire_opt_u64(b, R_EVENT, r->event);
	wire_opt_str(b, R_MTA, str_head(r->mta, MTA_MAX));
	wire_end(b, at);
}

void
queue_update_put(struct buf *b, const struct queue_update *u)
{
	if (u->has_next)
		wire_u64(b, U_NEXT, u->next_ms);
	wire_opt_u64(b, U_ATTEMPTS, u->attempts);
	wire_opt_u64(b, U_SET, u->set);
	wire_opt_u64(b, U_CLEAR, u->clear);
	for (size_t i = 0; i < u->n_results; i++)
		result_put(b, &u->results[i]);
}

static void
result_field(struct rcpt_result *r, const struct wire_field *f, bool *ret_unknown)
{
	uint64_t v;

	switch (f->tag) {
	case R_INDEX:
		r->index = wire_int_max(f, UINT32_MAX, &v) ? (uint32_t)v : UINT32_MAX;
		break;
	case R_STATE:
		*ret_unknown = !wire_int_max(f, RCPT_STATES - 1, &v);
		r->state = *ret_unknown ? RCPT_WAITING : (enum rcpt_state)v;
		break;
	case R_SMTP:
		r->smtp = wire_int_max(f, 999, &v) ? (uint32_t)v : 0;
		break;
	case R_ENHANCED:
		r->enhanced = str_head(f->v, 16);
		break;
	case R_TEXT:
		r->text = str_head(f->v, TEXT_MAX);
		break;
	case R_EMAIL:
		r->email = wire_int(f);
		break;
	case R_EVENT:
		r->event = wire_int_max(f, UINT16_MAX, &v) ? (uint32_t)v : 0;
		break;
	case R_MTA:
		r->mta = str_head(f->v, MTA_MAX);
		break;
	}
}

static int
result_get(struct str body, struct rcpt_result *r, uint32_t *set)
{
	struct wire_field f;
	bool unknown = false;
	int rc;

	*r = (struct rcpt_result){ 0 };
	while ((rc = wire_next(&body, &f)) > 0)
		result_field(r, &f, &unknown);
	if (unknown)
		*set |= MSG_HELD | MSG_UNCERTAIN;
	return rc;
}

static size_t
count_results(struct str body)
{
	struct wire_field f;
	size_t n = 0;

	while (wire_next(&body, &f) > 0)
		n += f.tag == U_RESULT;
	return n;
}

int
queue_update_get(struct str body, struct arena *a, struct queue_update *ret)
{
	struct queue_update u = { 0 };
	struct wire_field f;
	uint64_t v;
	size_t n = count_results(body);
	int rc;

	if (n && !(u.results = ARENA_ARRAY(a, struct rcpt_result, n)))
		return -ENOMEM;
	while ((rc = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case U_NEXT:
			u.has_next = true;
			u.next_ms = wire_int(&f);
			break;
		case U_ATTEMPTS:
			u.attempts = wire_int_max(&f, UINT16_MAX, &v) ? (uint32_t)v : UINT16_MAX;
			break;
		case U_SET:
			u.set |= (uint32_t)wire_int(&f);
			break;
		case U_CLEAR:
			u.clear = (uint32_t)wire_int(&f);
			break;
		case U_RESULT:
			rc = result_get(f.v, &u.results[u.n_results++], &u.set);
			if (rc)
				return rc;
			break;
		}
	}
	if (rc)
		return rc;
	*ret = u;
	return 0;
}
