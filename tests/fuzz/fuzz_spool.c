/* A segment whose first batch is ours and whose rest is hostile: exactly our
 * record is believed. The same bytes also as a whole segment, as an update and
 * as a checkpoint entry. */
#include <stdlib.h>

#include "mta/queue_state.h"
#include "mta/spool_scan.h"

static int
on_record(void *arg, const struct spool_record *r, uint64_t off)
{
	if (r->id != 7 || off != SPOOL_HEADER_SIZE + SPOOL_BATCH_HEAD)
		abort();
	++*(int *)arg;
	return 0;
}

static int
ignore_record(void *arg, const struct spool_record *r, uint64_t off)
{
	return queue_visit_record(arg, r, &(struct spool_place){ 0, 0, off });
}

static void
after_ours(const uint8_t *p, size_t n)
{
	struct spool_header h = { .use = 3, .first_batch = 9, .salt = "fifteen secret" };
	struct spool_batch_head b = { .number = 9, .use = 3, .count = 1, .len = SPOOL_BATCH_HEAD + 40 };
	size_t size = (SPOOL_HEADER_SIZE + SPOOL_BLOCK + n + SPOOL_BLOCK - 1) & ~(size_t)(SPOOL_BLOCK - 1);
	unsigned char *m = calloc(1, size);
	int seen = 0;
	struct spool_scan_spec spec = { .mem = m, .size = size, .arg = &seen, .record = on_record };
	struct spool_scan_result r;

	spool_header_put(m, &h);
	spool_record_head_put(m + SPOOL_HEADER_SIZE + SPOOL_BATCH_HEAD, SPOOL_FINAL, 0, 7, 7, 0, 8);
	spool_batch_seal(m + SPOOL_HEADER_SIZE, &b, spool_seed(h.salt));
	memcpy(m + SPOOL_HEADER_SIZE + SPOOL_BLOCK, p, n);
	if (spool_scan(&spec, &r) || seen != 1)
		abort();
	free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct spool_scan_spec spec = { .mem = p, .size = n };
	struct spool_scan_result r;
	struct queue q;

	if (n > 1u << 20)
		return 0;
	after_ours(p, n);
	queue_init(&q, 0);
	spec.arg = &q;
	spec.record = ignore_record;
	spool_scan(&spec, &r);
	queue_visit_entry(&q, str_from(p, n));
	queue_visit_record(&q, &(struct spool_record){ .type = n & 1 ? SPOOL_MESSAGE : SPOOL_UPDATE,
	    .id = 1, .seq = 1, .meta = str_from(p, n) }, &(struct spool_place){ 0 });
	queue_done(&q);
	return 0;
}
