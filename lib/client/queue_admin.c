/* Codecs of the admin's requests to queued; see queue_admin.h. */
#include "lib/client/queue_admin.h"

#include <errno.h>

#include "lib/io/wire.h"

enum { Q_VERB = 1, Q_ID, Q_SENDER, Q_RCPT, Q_DOMAIN, Q_STATE, Q_OLDER, Q_LIMIT, Q_ALL, Q_DRY, Q_ON,
	Q_SITE };

void
queue_admin_put(struct buf *b, const struct queue_admin *q)
{
	wire_u64(b, Q_VERB, q->verb);
	for (size_t i = 0; i < q->n_ids; i++)
		wire_u64(b, Q_ID, q->ids[i]);
	wire_str(b, Q_SENDER, q->sender);
	wire_str(b, Q_RCPT, q->rcpt);
	wire_str(b, Q_DOMAIN, q->domain);
	wire_str(b, Q_STATE, q->state);
	wire_u64(b, Q_OLDER, q->older_ms);
	wire_u64(b, Q_LIMIT, q->limit);
	wire_u64(b, Q_ALL, q->all);
	wire_u64(b, Q_DRY, q->dry_run);
	wire_u64(b, Q_ON, q->on);
	wire_str(b, Q_SITE, q->site);
}

static size_t
count(struct str body, uint16_t tag)
{
	struct wire_field f;
	size_t n = 0;

	while (wire_next(&body, &f) > 0)
		n += f.tag == tag;
	return n;
}

static void
admin_field(struct queue_admin *q, const struct wire_field *f)
{
	switch (f->tag) {
	case Q_VERB:
		q->verb = (enum queue_verb)wire_int(f);
		break;
	case Q_ID:
		q->ids[q->n_ids++] = wire_int(f);
		break;
	case Q_SENDER:
		q->sender = f->v;
		break;
	case Q_RCPT:
		q->rcpt = f->v;
		break;
	case Q_DOMAIN:
		q->domain = f->v;
		break;
	case Q_STATE:
		q->state = f->v;
		break;
	case Q_OLDER:
		q->older_ms = wire_int(f);
		break;
	case Q_LIMIT:
		q->limit = wire_int(f);
		break;
	case Q_ALL:
		q->all = wire_int(f);
		break;
	case Q_DRY:
		q->dry_run = wire_int(f);
		break;
	case Q_ON:
		q->on = wire_int(f);
		break;
	case Q_SITE:
		q->site = f->v;
		break;
	}
}

int
queue_admin_get(struct str body, struct arena *a, struct queue_admin *ret)
{
	struct queue_admin q = { 0 };
	struct wire_field f;
	int rc;

	q.ids = ARENA_ARRAY(a, uint64_t, count(body, Q_ID) + 1);
	if (!q.ids)
		return -ENOMEM;
	while ((rc = wire_next(&body, &f)) > 0)
		admin_field(&q, &f);
	if (!rc)
		*ret = q;
	return rc;
}

/* ---- rows ---- */

enum { ANSWER_ROW = 1, ANSWER_PIECE = 2, ANSWER_SITE = 3 };
enum { R_ID = 1, R_SIZE, R_ARRIVED, R_NEXT, R_ATTEMPTS, R_STATE, R_SENDER, R_TENANT, R_RCPTS, R_OPEN,
	R_UNCERTAIN, R_RCPT };
enum { RR_ADDRESS = 1, RR_STATE, RR_SMTP, RR_ENHANCED, RR_TEXT, RR_MTA, RR_SITE, RR_WHY };

static void
row_rcpt_put(struct buf *b, const struct queue_row_rcpt *r)
{
	size_t at = wire_begin(b, R_RCPT);

	wire_str(b, RR_ADDRESS, r->address);
	wire_str(b, RR_STATE, r->state);
	wire_u64(b, RR_SMTP, r->smtp);
	wire_str(b, RR_ENHANCED, r->enhanced);
	wire_str(b, RR_TEXT, r->text);
	if (r->mta.n)
		wire_str(b, RR_MTA, r->mta);
	if (r->why.n) {
		wire_str(b, RR_SITE, r->site);
		wire_str(b, RR_WHY, r->why);
	}
	wire_end(b, at);
}

void
queue_row_put(struct buf *b, const struct queue_row *r)
{
	size_t at = wire_begin(b, ANSWER_ROW);

	wire_u64(b, R_ID, r->id);
	wire_u64(b, R_SIZE, r->size);
	wire_u64(b, R_ARRIVED, r->arrived_us);
	wire_u64(b, R_NEXT, r->next_ms);
	wire_u64(b, R_ATTEMPTS, r->attempts);
	wire_str(b, R_STATE, r->state);
	wire_str(b, R_SENDER, r->sender);
	wire_str(b, R_TENANT, r->tenant);
	wire_u64(b, R_RCPTS, r->n_rcpts);
	wire_u64(b, R_OPEN, r->n_open);
	wire_u64(b, R_UNCERTAIN, r->uncertain);
	for (size_t i = 0; i < r->n; i++)
		row_rcpt_put(b, &r->rcpts[i]);
	wire_end(b, at);
}

static int
row_rcpt_get(struct str body, struct queue_row_rcpt *r)
{
	struct wire_field f;
	int rc;

	*r = (struct queue_row_rcpt){ 0 };
	while ((rc = wire_next(&body, &f)) > 0) {
		if (f.tag == RR_ADDRESS)
			r->address = f.v;
		else if (f.tag == RR_STATE)
			r->state = f.v;
		else if (f.tag == RR_SMTP)
			r->smtp = (unsigned)wire_int(&f);
		else if (f.tag == RR_ENHANCED)
			r->enhanced = f.v;
		else if (f.tag == RR_TEXT)
			r->text = f.v;
		else if (f.tag == RR_MTA)
			r->mta = f.v;
		else if (f.tag == RR_SITE)
			r->site = f.v;
		else if (f.tag == RR_WHY)
			r->why = f.v;
	}
	return rc;
}

static int
row_field(struct queue_row *r, const struct wire_field *f)
{
	uint64_t *const n[] = { [R_ID] = &r->id, [R_SIZE] = &r->size, [R_ARRIVED] = &r->arrived_us,
		[R_NEXT] = &r->next_ms, [R_ATTEMPTS] = &r->attempts, [R_RCPTS] = &r->n_rcpts,
		[R_OPEN] = &r->n_open };
	struct str *const s[] = { [R_STATE] = &r->state, [R_SENDER] = &r->sender,
		[R_TENANT] = &r->tenant };

	if (f->tag == R_RCPT)
		return row_rcpt_get(f->v, &r->rcpts[r->n++]);
	if (f->tag == R_UNCERTAIN)
		r->uncertain = wire_int(f);
	else if (f->tag < sizeof n / sizeof *n && n[f->tag])
		*n[f->tag] = wire_int(f);
	else if (f->tag < sizeof s / sizeof *s && s[f->tag])
		*s[f->tag] = f->v;
	return 0;
}

static int
row_get(struct str body, struct arena *a, struct queue_row *ret)
{
	struct queue_row r = { 0 };
	struct wire_field f;
	int rc;

	r.rcpts = ARENA_ARRAY(a, struct queue_row_rcpt, count(body, R_RCPT) + 1);
	if (!r.rcpts)
		return -ENOMEM;
	while ((rc = wire_next(&body, &f)) > 0)
		if ((rc = row_field(&r, &f)))
			return rc;
	if (!rc)
		*ret = r;
	return rc;
}

int
queue_row_next(struct str *body, struct arena *a, struct queue_row *ret)
{
	struct wire_field f;
	int rc;

	while ((rc = wire_next(body, &f)) > 0)
		if (f.tag == ANSWER_ROW) {
			rc = row_get(f.v, a, ret);
			return rc ? rc : 1;
		}
	return rc;
}

/* ---- sites ---- */

enum { SI_NAME = 1, SI_RCPTS, SI_WAITING, SI_RUNNING, SI_LIMIT, SI_FAILURES, SI_PAUSED, SI_GAP, SI_TEXT };

void
queue_site_put(struct buf *b, const struct queue_site *s)
{
	size_t at = wire_begin(b, ANSWER_SITE);

	wire_str(b, SI_NAME, s->name);
	wire_u64(b, SI_RCPTS, s->recipients);
	wire_u64(b, SI_WAITING, s->waiting);
	wire_u64(b, SI_RUNNING, s->running);
	wire_u64(b, SI_LIMIT, s->limit);
	wire_u64(b, SI_FAILURES, s->failures);
	wire_u64(b, SI_PAUSED, s->paused_until_ms);
	wire_u64(b, SI_GAP, s->gap_ms);
	wire_str(b, SI_TEXT, s->text);
	wire_end(b, at);
}

static int
site_get(struct str body, struct queue_site *ret)
{
	struct queue_site s = { 0 };
	uint64_t *const n[] = { [SI_RCPTS] = &s.recipients, [SI_WAITING] = &s.waiting,
		[SI_RUNNING] = &s.running, [SI_LIMIT] = &s.limit, [SI_FAILURES] = &s.failures,
		[SI_PAUSED] = &s.paused_until_ms, [SI_GAP] = &s.gap_ms };
	struct wire_field f;
	int rc;

	while ((rc = wire_next(&body, &f)) > 0) {
		if (f.tag == SI_NAME)
			s.name = f.v;
		else if (f.tag == SI_TEXT)
			s.text = f.v;
		else if (f.tag < sizeof n / sizeof *n && n[f.tag])
			*n[f.tag] = wire_int(&f);
	}
	if (!rc)
		*ret = s;
	return rc;
}

int
queue_site_next(struct str *body, struct queue_site *ret)
{
	struct wire_field f;
	int rc;

	while ((rc = wire_next(body, &f)) > 0)
		if (f.tag == ANSWER_SITE) {
			rc = site_get(f.v, ret);
			return rc ? rc : 1;
		}
	return rc;
}

void
queue_piece_put(struct buf *b, struct str piece)
{
	wire_str(b, ANSWER_PIECE, piece);
}

int
queue_piece_get(struct str body, struct str *ret)
{
	struct wire_field f;
	int rc;

	*ret = STR_NULL;
	while ((rc = wire_next(&body, &f)) > 0)
		if (f.tag == ANSWER_PIECE)
			*ret = f.v;
	return rc;
}

/* ---- summary: numbers in the order of this list, tags from 1 ---- */

#define SUMMARY_N 16
static void
summary_fields(struct queue_summary *s, uint64_t *v[SUMMARY_N])
{
	uint64_t *const all[SUMMARY_N] = { &s->touched, &s->messages, &s->recipients, &s->bytes,
		&s->active, &s->deferred, &s->held, &s->undeliverable, &s->oldest_ms, &s->segments,
		&s->ready, &s->disk_bytes, &s->disk_free, &s->tenants };

	memcpy(v, all, sizeof all);
}
enum { S_HOLD_NEW = 32, S_FAILED, S_PRESSURE };

void
queue_summary_put(struct buf *b, const struct queue_summary *s)
{
	struct queue_summary copy = *s;
	uint64_t *v[SUMMARY_N];

	summary_fields(&copy, v);
	for (uint16_t i = 0; i < SUMMARY_N && v[i]; i++)
		wire_u64(b, (uint16_t)(i + 1), *v[i]);
	wire_u64(b, S_HOLD_NEW, s->hold_new);
	wire_u64(b, S_FAILED, s->failed);
	wire_u64(b, S_PRESSURE, s->pressure);
}

int
queue_summary_get(struct str body, struct queue_summary *ret)
{
	struct queue_summary s = { 0 };
	uint64_t *v[SUMMARY_N];
	struct wire_field f;
	int rc;

	summary_fields(&s, v);
	while ((rc = wire_next(&body, &f)) > 0) {
		if (f.tag >= 1 && f.tag <= SUMMARY_N && v[f.tag - 1])
			*v[f.tag - 1] = wire_int(&f);
		else if (f.tag == S_HOLD_NEW)
			s.hold_new = wire_int(&f);
		else if (f.tag == S_FAILED)
			s.failed = wire_int(&f);
		else if (f.tag == S_PRESSURE)
			s.pressure = (unsigned)wire_int(&f);
	}
	if (!rc)
		*ret = s;
	return rc;
}
