/* Recent successes; see recent.h. */
#include "mta/recent.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

struct entry {
	struct list link; /* in `added`, oldest first */
	struct recent_key key;
	uint64_t until_ms;
};

struct recent {
	unsigned char secret[32];
	struct map by_key; /* by hi */
	struct list added;
	size_t max_entries;
	uint64_t life_ms;
};

struct recent *
recent_new(size_t max_entries, uint64_t life_ms)
{
	struct recent *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	list_init(&r->added);
	r->max_entries = max_entries;
	r->life_ms = life_ms;
	if (RAND_bytes(r->secret, sizeof r->secret) != 1) {
		free(r);
		return NULL;
	}
	return r;
}

static void
drop(struct recent *r, struct entry *e)
{
	map_del(&r->by_key, e->key.hi);
	list_remove(&e->link);
	free(e);
}

void
recent_clear(struct recent *r)
{
	while (!list_empty(&r->added))
		drop(r, LIST_ENTRY(r->added.next, struct entry, link));
}

void
recent_free(struct recent **r)
{
	if (!*r)
		return;
	recent_clear(*r);
	map_done(&(*r)->by_key);
	free(*r);
	*r = NULL;
}

struct recent_key
recent_key(const struct recent *r, uint64_t account, uint64_t generation, struct str what)
{
	unsigned char mac[32] = { 0 };
	struct buf b = { .max = 4096 };
	unsigned n;

	buf_le64(&b, account);
	buf_le64(&b, generation);
	buf_str(&b, str_head(what, 2048));
	HMAC(EVP_sha256(), r->secret, sizeof r->secret, (const unsigned char *)b.p, b.n, mac, &n);
	buf_done(&b);
	return (struct recent_key){ le64_get(mac), le64_get(mac + 8) };
}

bool
recent_has(const struct recent *r, struct recent_key k, uint64_t now_ms)
{
	const struct entry *e = map_get(&r->by_key, k.hi);

	return e && e->key.lo == k.lo && now_ms < e->until_ms;
}

void
recent_add(struct recent *r, struct recent_key k, uint64_t now_ms)
{
	struct entry *e = map_get(&r->by_key, k.hi);

	if (e)
		drop(r, e);
	else if (r->by_key.n >= r->max_entries)
		drop(r, LIST_ENTRY(r->added.next, struct entry, link));
	e = calloc(1, sizeof *e);
	if (!e || map_set(&r->by_key, k.hi, e)) {
		free(e);
		return;
	}
	e->key = k;
	e->until_ms = now_ms + r->life_ms;
	list_push(&r->added, &e->link);
}
