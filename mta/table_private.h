/* What the files of tables share: table.c (opening, watching, looking up),
 * table_text.c (files of lines), table_regexp.c, table_sqlite.c, table_foreign.c (tabled). */
#ifndef MTA_TABLE_PRIVATE_H
#define MTA_TABLE_PRIVATE_H

#include <sys/stat.h>

#include "lib/base/map.h"
#include "mta/table.h"

struct table_rule;

/* What was read of a file; replaced whole. */
struct table_content {
	struct arena *arena;
	struct strmap map;          /* key in lower case -> struct str */
	struct table_rule *rules;
	size_t n_rules, n;          /* n: entries */
};

struct table_db;
struct table_cache;

struct table {
	const struct conf_table *conf;
	char path[4096];
	struct table_content *content; /* NULL: down */
	struct stat seen;              /* of the file that was read, or could not be */
	bool looked;                   /* seen is set */
	struct table_db *db;
	struct table_cache *cache;     /* of one that tabled answers for */
	struct tables *of;
};

/* Splits a text into logical lines: a line that begins with a blank goes on with the
 * one before; empty lines and those that begin with # are left out. Each goes to fn
 * without surrounding blanks, until it returns other than 0. */
typedef int table_line_fn(void *arg, unsigned number, struct str line, struct err *e);
int table_lines(struct str text, table_line_fn *fn, void *arg, struct err *e);

/* Reads a text of the given kind into c. 0, or negative and e says where. */
int table_read_pairs(struct table_content *c, struct str text, const char *path, struct err *e);
int table_read_aliases(struct table_content *c, struct str text, const char *path, struct err *e);
int table_read_rules(struct table_content *c, struct str text, const char *path, struct err *e);
/* "KEY VALUE" into c; an earlier entry of the key stays. */
int table_add_pair(struct table_content *c, struct str line, struct err *e);

int table_rules_find(const struct table_content *c, struct str key, struct arena *a,
    struct str *ret);

/* table_foreign.c: what tabled said, remembered for the table's times. */
struct table_cache *table_cache_new(const struct conf_table *t);
void table_cache_free(struct table_cache **c);
void table_cache_put(struct table_cache *c, struct str key, int code, struct str value);
/* table_find for such a table. */
int table_foreign_find(struct table *t, struct table_answers *answers, struct str key,
    struct arena *a, struct str *ret);

/* SQLite: opens at the first question, and again after a failure. */
int table_db_new(const struct conf_table *t, const char *path, struct table_db **ret, struct err *e);
void table_db_free(struct table_db **d);
int table_db_find(struct table_db *d, struct str key, struct arena *a, struct str *ret);
/* Whether somebody changed the database since the last call. */
bool table_db_changed(struct table_db *d);

#endif
