/*
 * What many messages of the queue have in common, kept once and counted:
 * tenants, last results, next hops. For the parts of queue_state.
 */
#ifndef MTA_QUEUE_INTERN_H
#define MTA_QUEUE_INTERN_H

#include "mta/queue_state.h"

/* NULL: no memory. */
struct tenant *tenant_ref(struct queue *q, struct str name);
void tenant_unref(struct queue *q, struct tenant *t);
/* Those without mail that are remembered. */
void tenants_done(struct queue *q);

struct reason *reason_ref(struct queue *q, const struct rcpt_result *r);
void reason_unref(struct queue *q, struct reason **r);

/* Where mail for address goes that routing gave this next hop. */
struct hop *hop_ref(struct queue *q, enum rcpt_route route, struct str next_hop,
    struct str address);
/* A hop that nobody refers to is kept for a while, and with it what is known of its
 * site. */
void hop_unref(struct queue *q, struct hop **h);
void hops_done(struct queue *q);

/* What stands behind the last @; empty without one. */
struct str queue_domain_of(struct str address);

/* A message without recipients' data: room for them and the strings. */
struct qmsg *qmsg_alloc(size_t n_rcpts, size_t strings);

#endif
