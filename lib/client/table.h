/*
 * tabled as its callers see it: keys looked up in the tables of the configuration that a
 * server holds (PostgreSQL, MySQL, LDAP). The table's own settings say where and how; a
 * question names the table and the key alone.
 *
 * An error (a wire_error, enhanced code 4.3.x, or no answer) says that the table cannot say
 * now: it is never 'no such key'.
 */
#ifndef LIB_CLIENT_TABLE_H
#define LIB_CLIENT_TABLE_H

#include "lib/io/wire.h"
#include "lib/proc/peers.h"

enum {
	MSG_TABLE_FIND = MSG_TYPE(ROLE_TABLED, 1),
};

enum {
	TABLE_NAME_MAX = 255,     /* bytes of a table's name */
	TABLE_ASK_MAX = 512,      /* of a key */
	TABLE_ANSWER_MAX = 65536, /* of all values of an answer */
	TABLE_VALUES_MAX = 10000, /* in an answer */
};

struct table_question {
	struct str table;
	struct str key;
};

/* No values: there is no such key. */
struct table_answer {
	struct str *values;
	size_t n;
};

/* The codecs. Strings of what a getter returns point into body, arrays into a. 0, -EPROTO,
 * -ENOMEM. */
void table_question_put(struct buf *b, const struct table_question *q);
int table_question_get(struct str body, struct table_question *ret);
void table_answer_put(struct buf *b, const struct table_answer *v);
int table_answer_get(struct str body, struct arena *a, struct table_answer *ret);

#endif
