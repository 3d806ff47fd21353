/*
 * What was seen of TLS and is not reported yet: an SQLite database, tls.db in reports-dir.
 * One row a day (UTC), domain and policy with its counts, rows of failures below it, and one row for
 * each report that is planned. A change is durable within seconds: what a power cut takes
 * is missing in a report.
 */
#ifndef MTA_TLSRPT_STORE_H
#define MTA_TLSRPT_STORE_H

#include "lib/base/err.h"
#include "mta/tlsrpt.h"

enum {
	TLSRPT_POLICIES_MAX = 200000,  /* rows of policies; more are not counted */
	TLSRPT_FAILURES_MAX = 100,     /* kinds of failure told of one policy; the rest is summed up */
};

struct tlsrpt_store;

int tlsrpt_store_open(const char *dir, struct tlsrpt_store **ret, struct err *e);
void tlsrpt_store_close(struct tlsrpt_store **s);

/* Counts a session; it is kept with tlsrpt_store_commit. day: since 1970. 0 or negative;
 * -ENOSPC: there is no room for another policy. */
int tlsrpt_store_add(struct tlsrpt_store *s, int64_t day, const struct tls_seen *v);
int tlsrpt_store_commit(struct tlsrpt_store *s);

/* Plans the reports of the days before `before` that are not planned: each at a random
 * moment within spread_s from from_s on. */
int tlsrpt_store_plan(struct tlsrpt_store *s, int64_t before, int64_t from_s, uint64_t spread_s);
/* All that are planned become due now. */
int tlsrpt_store_hurry(struct tlsrpt_store *s, int64_t now_s);

struct tlsrpt_due {
	int64_t day;
	struct str domain;
	int64_t due_s;
	unsigned tries;
};
/* The report that is due first, if its time has come: 1, 0 or negative. */
int tlsrpt_store_due(struct tlsrpt_store *s, int64_t now_s, struct arena *a, struct tlsrpt_due *ret);
/* What the report says; fills the policies. */
int tlsrpt_store_read(struct tlsrpt_store *s, const struct tlsrpt_due *d, struct arena *a,
    struct tlsrpt_report *ret);
/* Not now: again at due_s. */
int tlsrpt_store_later(struct tlsrpt_store *s, const struct tlsrpt_due *d, int64_t due_s);
/* It is sent, or nobody wants it. */
int tlsrpt_store_drop(struct tlsrpt_store *s, const struct tlsrpt_due *d);
/* How many are planned. */
int tlsrpt_store_planned(struct tlsrpt_store *s, uint64_t *ret);

#endif
