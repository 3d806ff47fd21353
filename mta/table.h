/*
 * The tables of the configuration (`table NAME { ... }`; posthorn-tables(5)): a key
 * is looked up, a text is found. Keys take no notice of ASCII case.
 *
 * Files are read whole and kept in memory. tables_refresh reads one anew when it
 * changed; one with a mistake is not taken, and what was read before stays. A table
 * that could never be read, or whose database does not answer, is down: it answers
 * with a failure, never with 'no such key'.
 */
#ifndef MTA_TABLE_H
#define MTA_TABLE_H

#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/conf/settings.h"

#define TABLE_KEY_MAX 512
#define TABLE_VALUE_MAX 65536

struct tables;
struct table;

/* What is to be told of a table: read, or not. */
struct table_note {
	struct str name;
	struct str path;
	bool failed;
	const char *text;    /* "/etc/aliases:12: ..." */
	size_t entries;
};
typedef void table_note_fn(void *arg, const struct table_note *n);

/* Reads every table of s, whose strings must outlive them. note (may be NULL) hears
 * of each. 0 or -ENOMEM. */
int tables_open(const struct settings *s, table_note_fn *note, void *arg, struct tables **ret);
void tables_close(struct tables **t);
/* Whether anything changed since the last call. */
bool tables_refresh(struct tables *t, table_note_fn *note, void *arg);

/* By name; NULL when the configuration has none. */
struct table *tables_get(struct tables *t, struct str name);
/* 1 and *ret (in a); 0: no such key; negative: it cannot say now, or the value is
 * longer than TABLE_VALUE_MAX. */
int table_find(struct table *t, struct str key, struct arena *a, struct str *ret);
/* Whether it is asked for whole addresses only, not for their parts (regexp, static). */
bool table_whole(const struct table *t);
/* Whether commands and files of its values are believed (aliases files). */
bool table_is_aliases(const struct table *t);

#endif
