/*
 * Counters, gauges and histograms of this process, named posthorn_*. The master
 * collects them from every process and serves Prometheus text on the private
 * listener. A metric is a static struct, registered on first use; updating one
 * is an atomic add.
 *
 *	static struct metric accepted = METRIC_COUNTER("smtp_messages_total", "result=\"accepted\"", "Messages by result");
 *	metric_add(&accepted, 1);
 */
#ifndef LIB_PROC_METRICS_H
#define LIB_PROC_METRICS_H

#include "lib/base/buf.h"

enum metric_kind { METRIC_K_COUNTER, METRIC_K_GAUGE, METRIC_K_HISTOGRAM };
#define METRIC_BUCKETS 16

struct metric {
	const char *name, *labels, *help; /* labels: `verb="mail"` or NULL */
	enum metric_kind kind;
	_Atomic uint64_t v;               /* gauges: int64_t in two's complement */
	_Atomic uint64_t bucket[METRIC_BUCKETS]; /* histograms: seconds, 100 us * 4^i */
	_Atomic uint64_t sum_us;
	_Atomic int registered;
	struct metric *next;
};

#define METRIC_COUNTER(n, l, h) { .name = (n), .labels = (l), .help = (h), .kind = METRIC_K_COUNTER }
#define METRIC_GAUGE(n, l, h) { .name = (n), .labels = (l), .help = (h), .kind = METRIC_K_GAUGE }
#define METRIC_HISTOGRAM(n, l, h) { .name = (n), .labels = (l), .help = (h), .kind = METRIC_K_HISTOGRAM }

void metric_add(struct metric *m, uint64_t n);
void metric_set(struct metric *m, int64_t v);
void metric_observe_us(struct metric *m, uint64_t us);
/* A metric with labels made at run time; kept for the life of the process
 * (labels must be of a small closed set). */
struct metric *metric_labelled(enum metric_kind kind, const char *name, const char *labels,
    const char *help);

/* All registered metrics as text lines with a proc="NAME.N" label added. */
void metrics_put(struct buf *b, const char *proc, unsigned instance);
/* The texts of several processes as one: the lines of each family together,
 * its HELP and TYPE once, as Prometheus demands. */
void metrics_merge(struct buf *b, const struct str *texts, size_t n);

#endif
