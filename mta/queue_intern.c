/*
 * Tenants, results and next hops, each kept once; see queue_intern.h. A result's
 * key is its code and its three strings, a hop's the next hop as routing gave it
 * and, when that leaves the way to the MX of the domain, the domain.
 */
#include "mta/queue_intern.h"

#include <stdlib.h>

#include "lib/base/clock.h"

#define HOPS_IDLE 10000u    /* hops without mail that are remembered */
#define TENANTS_IDLE 10000u /* tenants without mail that are, while their rate holds them back */

/* It is idle no more, if it was. */
static void
tenant_wanted(struct queue *q, struct tenant *t)
{
	if (list_linked(&t->idle)) {
		list_remove(&t->idle);
		q->n_idle_tenants--;
	}
}

struct tenant *
tenant_ref(struct queue *q, struct str name)
{
	struct tenant *t = strmap_get(&q->tenants, name);

	if (!t) {
		t = calloc(1, sizeof *t + name.n);
		if (!t)
			return NULL;
		t->name = str_from(t + 1, name.n);
		if (name.n)
			memcpy(t + 1, name.p, name.n);
		t->no = ++q->tenant_no;
		if (strmap_set(&q->tenants, name, t)) {
			free(t);
			return NULL;
		}
	}
	tenant_wanted(q, t);
	t->refs++;
	return t;
}

static void
tenant_free(struct queue *q, struct tenant *t)
{
	tenant_wanted(q, t);
	strmap_del(&q->tenants, t->name);
	free(t);
}

/* A tenant that sends one message after the other would else have no rate. */
void
tenant_unref(struct queue *q, struct tenant *t)
{
	uint64_t now;

	if (!t || --t->refs)
		return;
	now = clock_us();
	if (t->next_us <= now) {
		tenant_free(q, t);
		return;
	}
	list_push(&q->idle_tenants, &t->idle);
	q->n_idle_tenants++;
	while (!list_empty(&q->idle_tenants)) {
		t = LIST_ENTRY(q->idle_tenants.next, struct tenant, idle);
		if (q->n_idle_tenants <= TENANTS_IDLE && t->next_us > now)
			break;
		tenant_free(q, t);
	}
}

void
tenants_done(struct queue *q)
{
	while (!list_empty(&q->idle_tenants))
		tenant_free(q, LIST_ENTRY(q->idle_tenants.next, struct tenant, idle));
}

/* ---- results ---- */

enum { ENHANCED_MAX = 16, TEXT_MAX = 512, MTA_MAX = 255 };
#define REASON_HEAD 6u /* code, lengths of enhanced and mta */

static size_t
put_bytes(char *out, size_t at, struct str s)
{
	if (s.n)
		memcpy(out + at, s.p, s.n);
	return at + s.n;
}

static struct reason *
reason_new(struct queue *q, struct str key)
{
	struct reason *r = calloc(1, sizeof *r + key.n);
	size_t en, mn;

	if (!r)
		return NULL;
	memcpy(r + 1, key.p, key.n);
	r->key = str_from(r + 1, key.n);
	r->smtp = (uint16_t)le32_get(key.p);
	en = (unsigned char)key.p[4];
	mn = (unsigned char)key.p[5];
	r->enhanced = str_head(str_skip(r->key, REASON_HEAD), en);
	r->mta = str_head(str_skip(r->key, REASON_HEAD + en), mn);
	r->text = str_skip(r->key, REASON_HEAD + en + mn);
	if (strmap_set(&q->reasons, r->key, r)) {
		free(r);
		return NULL;
	}
	return r;
}

struct reason *
reason_ref(struct queue *q, const struct rcpt_result *res)
{
	char key[REASON_HEAD + ENHANCED_MAX + MTA_MAX + TEXT_MAX];
	struct str en = str_head(res->enhanced, ENHANCED_MAX), mta = str_head(res->mta, MTA_MAX);
	size_t n = REASON_HEAD;
	struct reason *r;

	le32_put(key, res->smtp);
	key[4] = (char)en.n;
	key[5] = (char)mta.n;
	n = put_bytes(key, n, en);
	n = put_bytes(key, n, mta);
	n = put_bytes(key, n, str_head(res->text, TEXT_MAX));
	r = strmap_get(&q->reasons, str_from(key, n));
	if (!r)
		r = reason_new(q, str_from(key, n));
	if (r)
		r->refs++;
	return r;
}

void
reason_unref(struct queue *q, struct reason **rp)
{
	struct reason *r = *rp;

	*rp = NULL;
	if (r && !--r->refs) {
		strmap_del(&q->reasons, r->key);
		free(r);
	}
}

/* ---- next hops ---- */

struct str
queue_domain_of(struct str address)
{
	ptrdiff_t at = str_rchr(address, '@');

	return at < 0 ? STR_NULL : str_skip(address, (size_t)at + 1);
}

static void
hop_free(struct queue *q, struct hop *h)
{
	if (q->on_hop_free)
		q->on_hop_free(q->arg, h);
	list_remove(&h->idle);
	strmap_del(&q->hops, h->key);
	free(h);
}

static struct hop *
hop_new(struct queue *q, struct str key, enum rcpt_route route, size_t next_hop_n)
{
	struct hop *h = calloc(1, sizeof *h + key.n);

	if (!h)
		return NULL;
	memcpy(h + 1, key.p, key.n);
	h->key = str_from(h + 1, key.n);
	h->next_hop = str_head(str_skip(h->key, 1), next_hop_n);
	h->domain = str_skip(h->key, 1 + next_hop_n);
	h->route = (uint8_t)route;
	if (strmap_set(&q->hops, h->key, h)) {
		free(h);
		return NULL;
	}
	return h;
}

struct hop *
hop_ref(struct queue *q, enum rcpt_route route, struct str next_hop, struct str address)
{
	char key[1 + HOP_MAX + 256];
	struct str hop = str_head(next_hop, HOP_MAX);
	struct str domain = hop.n ? STR_NULL : str_head(queue_domain_of(address), 255);
	size_t n = 1;
	struct hop *h;

	key[0] = (char)route;
	n = put_bytes(key, n, hop);
	for (size_t i = 0; i < domain.n; i++)
		key[n++] = ascii_lower(domain.p[i]);
	h = strmap_get(&q->hops, str_from(key, n));
	if (!h)
		h = hop_new(q, str_from(key, n), route, hop.n);
	if (h && !h->refs++ && list_linked(&h->idle)) {
		list_remove(&h->idle);
		q->n_idle_hops--;
	}
	return h;
}

void
hop_unref(struct queue *q, struct hop **hp)
{
	struct hop *h = *hp;

	*hp = NULL;
	if (!h || --h->refs)
		return;
	list_push(&q->idle_hops, &h->idle);
	if (++q->n_idle_hops <= HOPS_IDLE)
		return;
	q->n_idle_hops--;
	hop_free(q, LIST_ENTRY(q->idle_hops.next, struct hop, idle));
}

void
hops_done(struct queue *q)
{
	struct hop *h;
	size_t at = 0;

	while ((h = strmap_next(&q->hops, &at, NULL))) {
		if (q->on_hop_free)
			q->on_hop_free(q->arg, h);
		free(h);
	}
	strmap_done(&q->hops);
}
