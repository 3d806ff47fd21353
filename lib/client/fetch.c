/* The codecs of fetchd's messages, and its caller; see fetch.h. */
#include "lib/client/fetch.h"

#include <errno.h>

/* Beside the request's own timeout: the DNS, and the way. */
#define GRACE_MS (60 * 1000)
#define TIMEOUT_MS (30 * 1000)

enum { Q_POST = 1, Q_TRUSTED, Q_URL, Q_HEADER, Q_TYPE, Q_BODY, Q_MAX_BYTES, Q_TIMEOUT };
enum { A_STATUS = 1, A_HTTP, A_TYPE, A_LOCATION, A_BODY, A_WHY };

const char *
fetch_status_name(enum fetch_status s)
{
	static const char *const names[] = {
		[FETCH_OK] = "ok", [FETCH_REFUSED] = "refused", [FETCH_NO_HOST] = "no-host",
		[FETCH_NO_CONNECTION] = "no-connection", [FETCH_TLS] = "tls",
		[FETCH_TIMEOUT] = "timeout", [FETCH_TOO_LONG] = "too-long",
		[FETCH_BROKEN] = "broken",
	};

	return s >= FETCH_OK && s <= FETCH_BROKEN ? names[s] : "unknown";
}

void
fetch_request_put(struct buf *b, const struct fetch_request *q)
{
	wire_opt_u64(b, Q_POST, q->post);
	wire_opt_u64(b, Q_TRUSTED, q->trusted);
	wire_str(b, Q_URL, q->url);
	for (size_t i = 0; i < q->n_headers; i++)
		wire_str(b, Q_HEADER, q->headers[i]);
	wire_opt_str(b, Q_TYPE, q->type);
	wire_opt_str(b, Q_BODY, q->body);
	wire_opt_u64(b, Q_MAX_BYTES, q->max_bytes);
	wire_opt_u64(b, Q_TIMEOUT, q->timeout_ms);
}

/* Numbers out of range become the nearest that is in it. */
static void
request_bound(struct fetch_request *q)
{
	if (!q->max_bytes || q->max_bytes > FETCH_BODY_MAX)
		q->max_bytes = FETCH_BODY_MAX;
	if (!q->timeout_ms)
		q->timeout_ms = TIMEOUT_MS;
	if (q->timeout_ms > FETCH_TIMEOUT_MAX_MS)
		q->timeout_ms = FETCH_TIMEOUT_MAX_MS;
}

int
fetch_request_get(struct str body, struct arena *a, struct fetch_request *ret)
{
	struct fetch_request q = { 0 };
	struct wire_field f;
	size_t n = 0;
	int r = wire_count(body, Q_HEADER, &n);

	if (r || n > FETCH_HEADERS_MAX)
		return -EPROTO;
	q.headers = ARENA_ARRAY(a, struct str, n + 1);
	if (!q.headers)
		return -ENOMEM;
	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case Q_POST: q.post = wire_int(&f) != 0; break;
		case Q_TRUSTED: q.trusted = wire_int(&f) != 0; break;
		case Q_URL: q.url = f.v; break;
		case Q_HEADER: q.headers[q.n_headers++] = f.v; break;
		case Q_TYPE: q.type = f.v; break;
		case Q_BODY: q.body = f.v; break;
		case Q_MAX_BYTES: q.max_bytes = wire_int(&f); break;
		case Q_TIMEOUT: q.timeout_ms = wire_int(&f); break;
		}
	}
	if (r < 0 || !q.url.n || q.url.n > FETCH_URL_MAX || q.body.n > FETCH_BODY_MAX)
		return -EPROTO;
	request_bound(&q);
	*ret = q;
	return 0;
}

void
fetch_answer_put(struct buf *b, const struct fetch_answer *v)
{
	wire_u64(b, A_STATUS, v->status);
	wire_opt_u64(b, A_HTTP, v->http);
	wire_opt_str(b, A_TYPE, v->type);
	wire_opt_str(b, A_LOCATION, v->location);
	wire_opt_str(b, A_BODY, v->body);
	wire_opt_str(b, A_WHY, v->why);
}

int
fetch_answer_get(struct str body, struct fetch_answer *ret)
{
	struct fetch_answer v = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case A_STATUS: v.status = (enum fetch_status)wire_int(&f); break;
		case A_HTTP: v.http = (unsigned)wire_int(&f); break;
		case A_TYPE: v.type = f.v; break;
		case A_LOCATION: v.location = f.v; break;
		case A_BODY: v.body = f.v; break;
		case A_WHY: v.why = f.v; break;
		}
	}
	if (r < 0 || v.status < FETCH_OK || v.status > FETCH_BROKEN)
		return -EPROTO;
	*ret = v;
	return 0;
}

int
fetch(const struct fetch_request *q, struct arena *a, struct fetch_answer *ret)
{
	struct chan *c = chan_to(ROLE_FETCHD, CHAN_ANY);
	struct fetch_request bounded = *q;
	struct wire_error we = { 0 };
	struct buf b = { .max = WIRE_MAX - WIRE_HEAD };
	struct frame f;
	int r = -ENOTCONN;

	request_bound(&bounded);
	fetch_request_put(&b, &bounded);
	if (c)
		r = b.over ? -E2BIG :
		    chan_call_buf(c, MSG_FETCH, &b, bounded.timeout_ms + GRACE_MS, a, &f, &we);
	buf_done(&b);
	return r < 0 ? r : fetch_answer_get(f.body, ret);
}
