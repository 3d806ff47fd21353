/*
 * Group commit: the loop's thread gathers records into a batch; the committer
 * thread writes and syncs one batch after the other and answers the clients of
 * it with one send each. A batch is whatever arrived while the one before was
 * being synced; nothing waits for company.
 *
 * Committed batches stay in memory for a while: what is delivered soon after
 * its acceptance is taken from there and not read from disk.
 */
#ifndef MTA_QUEUE_COMMIT_H
#define MTA_QUEUE_COMMIT_H

#include "lib/proc/chan.h"
#include "mta/queue_state.h"

struct commit;
struct commit_entry;

struct commit_entry {
	/* Answered by the committer thread when peer is set. */
	struct peer *peer;
	uint64_t request;
	uint64_t id;
	struct qmsg *m;           /* of `done`; the committer thread reads its strings */
	/* On the loop's thread after the commit; may be NULL. */
	void (*done)(struct commit_entry *e, int code, const struct spool_place *at);
	void *arg;
	uint32_t at, len;         /* of the record in the batch */
};

struct commit *commit_new(struct loop *l, struct spool *s, struct err *e);
/* Commits what is gathered, ends the thread. */
void commit_free(struct commit **c);

/* Pieces of a record: meta first (n_meta of them), then content. Lengths are
 * summed by the callee. 0 or negative: -EAGAIN when too much waits, -EMSGSIZE.
 * urgent: hand over at the end of this turn; otherwise within 20 ms. */
struct commit_record {
	enum spool_type type;
	uint64_t seq, id;
	struct str meta[4];
	struct str content;
	bool mail;                /* new mail: not for the reserve */
	bool urgent;
};
int commit_add(struct commit *c, const struct commit_record *r, const struct commit_entry *e);

/* Bytes gathered and not durable yet. */
size_t commit_pending(const struct commit *c);
/* The last sequence whose commit has been applied on the loop's thread. */
uint64_t commit_applied(const struct commit *c);
/* The record's bytes when they are still in memory; valid until the loop's turn
 * ends. */
const unsigned char *commit_hot(const struct commit *c, uint32_t seg, uint64_t off, uint32_t len);

#endif
