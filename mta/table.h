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

/*
 * What tabled has said for one request (a recipient that is routed, say). Nothing here
 * waits: table_find answers -EINPROGRESS for what must be asked of tabled, and notes it;
 * whoever called asks, puts the answers in, and does the same again from the start, by
 * which time more is known. What was said once stays so for the request.
 */
struct table_answers;
struct table_answers *table_answers_new(void); /* NULL without memory */
void table_answers_free(struct table_answers **a);
/* The next that must be asked and was not taken by this function yet: its number and
 * name, valid as long as a. False: none. */
bool table_answers_next(struct table_answers *a, size_t *ret_number, struct str *ret_table,
    struct str *ret_key);
/* What came: 1 and the value, 0, or negative. */
void table_answers_put(struct table_answers *a, size_t number, int code, struct str value);

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
/* The request that table_find is called for from now on; NULL: none, and tables that tabled
 * answers for cannot say. */
void tables_use(struct tables *t, struct table_answers *a);
/* 1 and *ret (in a); 0: no such key; -EINPROGRESS: tabled must be asked; other negative: it
 * cannot say now, or the value is longer than TABLE_VALUE_MAX. */
int table_find(struct table *t, struct str key, struct arena *a, struct str *ret);
/* What tabled said goes into the table's cache too: code 1 or 0. */
void tables_remember(struct tables *t, struct str table, struct str key, int code, struct str value);
/* Whether it is asked for whole addresses only, not for their parts (regexp, static). */
bool table_whole(const struct table *t);
/* Whether commands and files of its values are believed (aliases files). */
bool table_is_aliases(const struct table *t);

#endif
