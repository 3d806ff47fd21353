/*
 * What the files of tabled share: tabled.c (the service), tabled_pool.c (a table's threads,
 * connections and state), tabled_text.c (servers, queries), tabled_names.c (host names), and
 * one file for each kind of server: tabled_pgsql.c, tabled_mysql.c, tabled_ldap.c.
 */
#ifndef MTA_TABLED_H
#define MTA_TABLED_H

#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/client/table.h"
#include "lib/conf/settings.h"
#include "lib/proc/service.h"

/* ---- servers and queries ---- */

/* One server of a table. host: a name or address, or with port 0 the path of a socket. */
struct table_server {
	char host[256];
	unsigned port;
	bool implicit_tls;            /* ldaps: */
	enum conf_table_tls tls;      /* never AUTO */
};
/* 0 or -EINVAL. port: what it is when the text names none. */
int table_server_parse(struct str text, unsigned port, unsigned tls_port, unsigned tls,
    struct table_server *ret);

/* The parts of a key: %s, %u, %d. */
enum { PART_KEY, PART_LOCAL, PART_DOMAIN, PARTS };
#define QUERY_PLACES 32
struct table_query {
	char *text;                   /* with placeholders in the server's way; NUL at its end */
	unsigned char places[QUERY_PLACES]; /* which part stands at each, in order */
	unsigned n_places;
	bool wants_domain;            /* %u or %d: other keys are not asked for */
};
enum query_style {
	QUERY_DOLLAR,                 /* $1 for the first place, and the same for the same part */
	QUERY_MARK,                   /* ? for each place */
};
/* Makes *ret of the text of a setting. A part may stand within a quoted string, which then
 * becomes a concatenation. 0, -ENOMEM, or -EINVAL and e says why. */
int table_query_make(struct str text, enum query_style style, struct table_query *ret, struct err *e);
void table_query_done(struct table_query *q);
/* Appends the filter of LDAP with the parts of the key escaped (RFC 4515 section 3). 0, or
 * -EINVAL: there is a % that stands for nothing. */
int table_filter_put(struct buf *b, struct str filter, const struct str parts[static PARTS]);
/* Whether the filter asks for parts of an address. */
bool table_filter_wants_domain(struct str filter);

/* ---- values, gathered ---- */

/* Bounded by the table's result-limit and TABLE_ANSWER_MAX. */
struct table_values {
	struct buf bytes;
	size_t *ends;
	size_t n, max;
};
/* Empty ones are left out. 0, or -EMSGSIZE: more than the limits. */
int table_values_add(struct table_values *v, struct str value);

/* ---- kinds of servers ---- */

/* Functions run on a thread of the table, and may block until until_ms (clock_ms), not longer. */
struct table_driver {
	enum conf_table_type type;
	const char *name;
	unsigned port, tls_port;
	enum query_style style;
	/* Before confinement. May be NULL. */
	void (*preload)(void);
	/* 0 and *ret; negative, and e says why. */
	int (*connect)(const struct conf_table *t, const struct table_server *s, uint64_t until_ms,
	    void **ret, struct err *e);
	/* 0 and values (none: no such key). -EMSGSIZE: too many or too long; -EBADMSG: the server
	 * refused the query; after both the connection may be used again if `usable` says so. */
	int (*find)(void *conn, const struct conf_table *t, const struct table_query *q,
	    const struct str parts[static PARTS], uint64_t until_ms, struct table_values *v, struct err *e);
	/* Whether the connection can be asked again. */
	bool (*usable)(void *conn);
	void (*close)(void *conn);
};
extern const struct table_driver table_pgsql, table_mysql, table_ldap;

/* Waits until the descriptor can be read or written (POLLIN, POLLOUT). 0, -ETIMEDOUT. */
int table_wait(int fd, short events, uint64_t until_ms);

/* ---- a table ---- */

struct pool;
/* t must live as long as the process. NULL, and e says why. */
struct pool *pool_new(const struct conf_table *t, const struct table_driver *d, struct err *e);
/* No more questions; ends when those that were begun have. */
void pool_retire(struct pool **p);
/* Answers the caller now or later. */
void pool_ask(struct pool *p, struct peer *from, const struct frame *f, struct str key);
/* Called a few times a second: questions whose time is up are answered, and a thread that
 * does not come back from its library ends the process. */
void pool_watch(struct pool *p);
bool pool_is_down(struct pool *p);

#endif
