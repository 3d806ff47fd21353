/*
 * Metrics; see metrics.h. Registered ones stand in a list that only grows: a
 * metric is pushed with a compare-and-swap on first use and never leaves, so
 * updates and metrics_put need no lock. `labelled_lock` guards only the search
 * for a metric made at run time.
 */
#include "lib/proc/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/map.h"

static _Atomic(struct metric *) all;
static pthread_mutex_t labelled_lock = PTHREAD_MUTEX_INITIALIZER;

static void
metric_register(struct metric *m)
{
	int none = 0;

	if (!atomic_compare_exchange_strong(&m->registered, &none, 1))
		return;
	m->next = atomic_load(&all);
	while (!atomic_compare_exchange_weak(&all, &m->next, m))
		;
}

static inline void
metric_touch(struct metric *m)
{
	if (!atomic_load_explicit(&m->registered, memory_order_relaxed))
		metric_register(m);
}

void
metric_add(struct metric *m, uint64_t n)
{
	metric_touch(m);
	atomic_fetch_add_explicit(&m->v, n, memory_order_relaxed);
}

void
metric_set(struct metric *m, int64_t v)
{
	metric_touch(m);
	atomic_store_explicit(&m->v, (uint64_t)v, memory_order_relaxed);
}

void
metric_observe_us(struct metric *m, uint64_t us)
{
	uint64_t bound = 100;
	unsigned i = 0;

	metric_touch(m);
	while (i < METRIC_BUCKETS - 1 && us > bound)
		bound *= 4, i++;
	atomic_fetch_add_explicit(&m->bucket[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&m->sum_us, us, memory_order_relaxed);
	atomic_fetch_add_explicit(&m->v, 1, memory_order_relaxed);
}

static bool
same(const struct metric *m, const char *name, const char *labels)
{
	return !strcmp(m->name, name) && str_eq(str_c(m->labels), str_c(labels));
}

struct metric *
metric_labelled(enum metric_kind kind, const char *name, const char *labels, const char *help)
{
	struct metric *m;

	pthread_mutex_lock(&labelled_lock);
	for (m = atomic_load(&all); m; m = m->next)
		if (same(m, name, labels))
			break;
	if (!m && (m = calloc(1, sizeof *m))) {
		m->name = strdup(name);
		m->labels = labels && *labels ? strdup(labels) : NULL;
		m->help = strdup(help);
		m->kind = kind;
		if (m->name && m->help)
			metric_register(m);
	}
	pthread_mutex_unlock(&labelled_lock);
	return m;
}

static void
put_line(struct buf *b, const struct metric *m, const char *suffix, const char *who,
    const char *more, const char *value)
{
	buf_printf(b, "posthorn_%s%s{%s", m->name, suffix, who);
	if (m->labels && *m->labels)
		buf_printf(b, ",%s", m->labels);
	buf_printf(b, "%s} %s\n", more, value);
}

static void
put_histogram(struct buf *b, const struct metric *m, const char *who)
{
	uint64_t n = 0, bound = 100;
	char more[48], value[32];

	for (unsigned i = 0; i < METRIC_BUCKETS; i++, bound *= 4) {
		n += atomic_load_explicit(&m->bucket[i], memory_order_relaxed);
		if (i == METRIC_BUCKETS - 1)
			snprintf(more, sizeof more, ",le=\"+Inf\"");
		else
			snprintf(more, sizeof more, ",le=\"%g\"", (double)bound / 1e6);
		snprintf(value, sizeof value, "%" PRIu64, n);
		put_line(b, m, "_bucket", who, more, value);
	}
	put_line(b, m, "_count", who, "", value);
	snprintf(value, sizeof value, "%.6f",
	    (double)atomic_load_explicit(&m->sum_us, memory_order_relaxed) / 1e6);
	put_line(b, m, "_sum", who, "", value);
}

static void
put_samples(struct buf *b, const struct metric *m, const char *who)
{
	uint64_t v = atomic_load_explicit(&m->v, memory_order_relaxed);
	char value[32];

	if (m->kind == METRIC_K_HISTOGRAM) {
		put_histogram(b, m, who);
		return;
	}
	if (m->kind == METRIC_K_GAUGE)
		snprintf(value, sizeof value, "%" PRId64, (int64_t)v);
	else
		snprintf(value, sizeof value, "%" PRIu64, v);
	put_line(b, m, "", who, "", value);
}

/* Whether a metric of this name stands before m in the list. */
static bool
seen_before(const struct metric *head, const struct metric *m)
{
	for (; head != m; head = head->next)
		if (!strcmp(head->name, m->name))
			return true;
	return false;
}

void
metrics_put(struct buf *b, const char *proc, unsigned instance)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };
	const struct metric *head = atomic_load(&all), *m, *o;
	char who[64];

	snprintf(who, sizeof who, "proc=\"%s.%u\"", proc, instance);
	for (m = head; m; m = m->next) {
		if (seen_before(head, m))
			continue;
		buf_printf(b, "# HELP posthorn_%s %s\n# TYPE posthorn_%s %s\n", m->name, m->help,
		    m->name, types[m->kind]);
		for (o = m; o; o = o->next)
			if (!strcmp(o->name, m->name))
				put_samples(b, o, who);
	}
}

/* ---- merging ---- */

/* The family that a line belongs to: the third word of a remark, else the name
 * without what a histogram appends to it. */
static struct str
family(struct str line)
{
	static const struct str tails[] = { STR_INIT("_bucket"), STR_INIT("_count"),
		STR_INIT("_sum") };
	struct str name;

	if (line.n && line.p[0] == '#') {
		str_word(&line);
		str_word(&line);
		return str_word(&line);
	}
	name = str_cut(&line, '{');
	for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
		if (str_ends(name, tails[i]))
			return str_head(name, name.n - tails[i].n);
	return name;
}

struct line {
	struct str text, family;
	size_t order;  /* of the family's first appearance */
	size_t n;
	bool remark;
};

static int
line_cmp(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	if (x->remark != y->remark)
		return x->remark ? -1 : 1;
	return x->n < y->n ? -1 : x->n > y->n;
}

static size_t
count_lines(const struct str *texts, size_t n)
{
	size_t lines = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < texts[i].n; j++)
			lines += texts[i].p[j] == '\n';
	return lines + n;
}

/* Fills v with the lines of text; families remembers the first line of each. */
static size_t
split_lines(struct str text, struct line *v, size_t used, struct strmap *families)
{
	while (text.p) {
		struct line *l = &v[used], *first;

		l->text = str_cut(&text, '\n');
		if (!l->text.n)
			continue;
		l->family = family(l->text);
		l->remark = l->text.p[0] == '#';
		first = strmap_get(families, l->family);
		if (!first && !strmap_set(families, l->family, l))
			first = l;
		l->order = first ? (size_t)(first - v) : used;
		l->n = used++;
	}
	return used;
}

void
metrics_merge(struct buf *b, const struct str *texts, size_t n)
{
	struct line *v = calloc(count_lines(texts, n) + 1, sizeof *v);
	struct strmap families = { 0 };
	size_t used = 0, remarks = 0;

	if (!v)
		return;
	for (size_t i = 0; i < n; i++)
		used = split_lines(texts[i], v, used, &families);
	qsort(v, used, sizeof *v, line_cmp);
	for (size_t i = 0; i < used; i++) {
		if (!i || v[i].order != v[i - 1].order)
			remarks = 0;
		/* each process brings the family's HELP and TYPE */
		if (v[i].remark && remarks++ >= 2)
			continue;
		buf_str(b, v[i].text);
		buf_putc(b, '\n');
	}
	strmap_done(&families);
	free(v);
}
