/*
 * The ledger: a table of entries that live until the end, and a list of those
 * with files in new/ in the order of their first waiting file, so that the sweep
 * looks at heads only.
 */
#include "maildir/ledger.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/base/crc32c.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

enum { HEAD = 24, ENTRY = 32, LEDGER_VERSION = 1 };
#define MAGIC 0x474c4850u /* "PHLG" */

struct entry {
	uint64_t account;
	uint64_t bytes;         /* of what is in the index */
	uint64_t new_bytes;     /* of what was published and not taken in */
	uint64_t since_ms;      /* when the first of those came */
	uint32_t new_files;
	uint32_t flags;
	uint32_t connected;
	bool known, gone;
	struct list waiting;
};

struct ledger {
	pthread_mutex_t lock;   /* of all below */
	struct map entries;
	struct list waiting, many; /* many: with enough files to be swept now */
};

struct ledger *
ledger_new(void)
{
	struct ledger *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	pthread_mutex_init(&l->lock, NULL);
	list_init(&l->waiting);
	list_init(&l->many);
	return l;
}

void
ledger_free(struct ledger **lp)
{
	struct ledger *l = *lp;
	struct entry *x;
	size_t pos = 0;

	if (!l)
		return;
	while ((x = map_next(&l->entries, &pos, NULL)))
		free(x);
	map_done(&l->entries);
	pthread_mutex_destroy(&l->lock);
	free(l);
	*lp = NULL;
}

static void
forget(struct entry *x)
{
	x->known = false;
	x->bytes = x->new_bytes = 0;
	x->new_files = 0;
	list_remove(&x->waiting);
}

void
ledger_forget(struct ledger *l)
{
	struct entry *x;
	size_t pos = 0;

	pthread_mutex_lock(&l->lock);
	while ((x = map_next(&l->entries, &pos, NULL)))
		forget(x);
	pthread_mutex_unlock(&l->lock);
}

/* The entry, made if missing; NULL when there are too many. Locked. */
static struct entry *
entry(struct ledger *l, uint64_t account)
{
	struct entry *x = map_get(&l->entries, account);

	if (x || l->entries.n >= LEDGER_MAX)
		return x;
	x = calloc(1, sizeof *x);
	if (!x)
		return NULL;
	x->account = account;
	if (map_set(&l->entries, account, x) < 0) {
		free(x);
		return NULL;
	}
	return x;
}

/* ---- the file ---- */

void
ledger_save(const struct ledger *l, uint64_t run, struct buf *out)
{
	const struct entry *x;
	size_t pos = 0, at = out->n;
	uint64_t n = 0;

	while ((x = map_next(&l->entries, &pos, NULL)))
		n += x->known;
	buf_le32(out, MAGIC);
	buf_le32(out, LEDGER_VERSION);
	buf_le64(out, run);
	buf_le64(out, n);
	for (pos = 0; (x = map_next(&l->entries, &pos, NULL));) {
		if (!x->known)
			continue;
		buf_le64(out, x->account);
		buf_le64(out, x->bytes);
		buf_le64(out, x->new_bytes);
		buf_le32(out, x->new_files);
		buf_le32(out, x->flags);
	}
	if (!out->over)
		buf_le32(out, crc32c(0, out->p + at, out->n - at));
}

static int
entry_load(struct ledger *l, const char *p)
{
	struct entry *x = entry(l, le64_get(p));

	if (!x)
		return -ENOMEM;
	x->known = true;
	x->bytes = le64_get(p + 8);
	x->new_bytes = le64_get(p + 16);
	x->new_files = le32_get(p + 24);
	x->flags = le32_get(p + 28);
	if (x->new_files && !list_linked(&x->waiting))
		list_push(&l->waiting, &x->waiting);
	return 0;
}

int
ledger_load(struct ledger *l, struct str file, uint64_t run)
{
	uint64_t n;
	int r = 0;

	if (file.n < HEAD + 4 || le32_get(file.p) != MAGIC || le32_get(file.p + 4) != LEDGER_VERSION)
		return -EBADMSG;
	n = le64_get(file.p + 16);
	if (n > LEDGER_MAX || file.n != HEAD + n * ENTRY + 4 ||
	    crc32c(0, file.p, file.n - 4) != le32_get(file.p + file.n - 4))
		return -EBADMSG;
	if (le64_get(file.p + 8) != run)
		return -ESTALE;
	pthread_mutex_lock(&l->lock);
	for (uint64_t i = 0; i < n && r == 0; i++)
		r = entry_load(l, file.p + HEAD + i * ENTRY);
	pthread_mutex_unlock(&l->lock);
	return r;
}

/* ---- deliveries ---- */

/* Near its quota an account is the actor's, which counts exactly. */
static bool
far_from_quota(const struct entry *x, uint64_t quota, uint64_t size)
{
	return quota == 0 || x->bytes + x->new_bytes + size <= quota - quota / 16;
}

bool
ledger_promise(struct ledger *l, uint64_t account, uint64_t quota, uint64_t size)
{
	struct entry *x;
	bool ok;

	pthread_mutex_lock(&l->lock);
	x = map_get(&l->entries, account);
	ok = x && x->known && !x->flags && !x->connected && far_from_quota(x, quota, size);
	if (ok)
		x->new_bytes += size;
	pthread_mutex_unlock(&l->lock);
	return ok;
}

static void
less(uint64_t *v, uint64_t by)
{
	*v -= by < *v ? by : *v;
}

void
ledger_unpromise(struct ledger *l, uint64_t account, uint64_t size)
{
	struct entry *x;

	pthread_mutex_lock(&l->lock);
	x = map_get(&l->entries, account);
	if (x)
		less(&x->new_bytes, size);
	pthread_mutex_unlock(&l->lock);
}

bool
ledger_published(struct ledger *l, uint64_t account, uint64_t now_ms)
{
	struct entry *x;
	bool connected = true;

	pthread_mutex_lock(&l->lock);
	x = map_get(&l->entries, account);
	if (x) {
		if (x->new_files++ == 0 || !list_linked(&x->waiting)) {
			x->since_ms = now_ms;
			list_remove(&x->waiting);
			list_push(&l->waiting, &x->waiting);
		}
		connected = x->connected > 0;
	}
	pthread_mutex_unlock(&l->lock);
	return connected;
}

int
ledger_room(struct ledger *l, uint64_t account, uint64_t quota, uint64_t size)
{
	struct entry *x;
	int r;

	if (quota == 0)
		return 0;
	pthread_mutex_lock(&l->lock);
	x = map_get(&l->entries, account);
	if (!x || !x->known)
		r = -EAGAIN;
	else
		r = x->bytes + x->new_bytes + size <= quota ? 0 : -EDQUOT;
	pthread_mutex_unlock(&l->lock);
	return r;
}

/* ---- the actor's reports ---- */

void
ledger_taken(struct ledger *l, uint64_t account, uint64_t bytes, uint32_t files, uint64_t size)
{
	struct entry *x;

	pthread_mutex_lock(&l->lock);
	x = map_get(&l->entries, account);
	if (x) {
		x->bytes = bytes;
		less(&x->new_bytes, size);
		x->new_files -= files < x->new_files ? files : x->new_files;
		if (!x->new_files)
			list_remove(&x->waiting);
	}
	pthread_mutex_unlock(&l->lock);
}

void
ledger_known(struct ledger *l, uint64_t account, uint64_t bytes, uint32_t flags)
{
	struct entry *x;

	pthread_mutex_lock(&l->lock);
	x = entry(l, account);
	if (x) {
		x->known = true;
		x->bytes = bytes;
		x->flags = flags;
	}
	pthread_mutex_unlock(&l->lock);
}

void
ledger_unknown(struct ledger *l, uint64_t account)
{
	struct entry *x;

	pthread_mutex_lock(&l->lock);
	x = map_get(&l->entries, account);
	if (x)
		forget(x);
	pthread_mutex_unlock(&l->lock);
}

void
ledger_gone(struct ledger *l, uint64_t account)
{
	struct entry *x;

	pthread_mutex_lock(&l->lock);
	x = entry(l, account);
	if (x) {
		forget(x);
		x->gone = true;
	}
	pthread_mutex_unlock(&l->lock);
}

bool
ledger_is_gone(struct ledger *l, uint64_t account)
{
	struct entry *x;
	bool gone;

	pthread_mutex_lock(&l->lock);
	x = map_get(&l->entries, account);
	gone = x && x->gone;
	pthread_mutex_unlock(&l->lock);
	return gone;
}

void
ledger_connect(struct ledger *l, uint64_t account, int by)
{
	struct entry *x;

	pthread_mutex_lock(&l->lock);
	x = entry(l, account);
	if (x)
		x->connected = (uint32_t)((int)x->connected + by);
	pthread_mutex_unlock(&l->lock);
}

uint32_t
ledger_waiting(struct ledger *l, uint64_t account)
{
	struct entry *x;
	uint32_t n;

	pthread_mutex_lock(&l->lock);
	x = map_get(&l->entries, account);
	n = x ? x->new_files : 0;
	pthread_mutex_unlock(&l->lock);
	return n;
}

bool
ledger_due(struct ledger *l, uint32_t files, uint64_t before_ms, uint64_t *ret)
{
	struct entry *x, *found = NULL;

	pthread_mutex_lock(&l->lock);
	LIST_FOREACH(x, &l->waiting, struct entry, waiting) {
		if (x->new_files < files && x->since_ms > before_ms)
			continue;
		found = x;
		break;
	}
	if (found) {
		list_remove(&found->waiting);
		*ret = found->account;
	}
	pthread_mutex_unlock(&l->lock);
	return found != NULL;
}

size_t
ledger_count(struct ledger *l)
{
	size_t n;

	pthread_mutex_lock(&l->lock);
	n = l->entries.n;
	pthread_mutex_unlock(&l->lock);
	return n;
}
