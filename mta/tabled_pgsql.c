/*
 * Tables in PostgreSQL, by libpq. Its calls that do not wait are driven here, so that
 * everything ends in time. Parts of the key are parameters of the query. Rows come one
 * by one, and what has come without making a row is counted: a server cannot fill the
 * memory.
 *
 * The library reads files and the environment for what it is not told (passwords,
 * certificates, services); it is told everything.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "lib/base/clock.h"
#include "mta/tabled.h"

#define PORT 5432
#define UNREAD_MAX (4u << 20) /* bytes that made no row yet */

struct pg {
	PGconn *conn;
	bool broken;
	size_t unread;
};

static void
preload(void)
{
	PQinitOpenSSL(0, 0);
	unsetenv("PGSERVICE");
	unsetenv("PGSERVICEFILE");
	unsetenv("PGOPTIONS");
	unsetenv("PGREQUIREPEER");
	setenv("PGSYSCONFDIR", "/nonexistent", 1);
}

/* The library's text on one line. */
static int
failed(struct err *e, int code, const char *text)
{
	struct str s = str_trim(str_c(text));
	int r = err_set(e, code, "%.*s", STR_ARG(s));

	for (char *c = e->text; *c; c++)
		if (*c == '\n' || *c == '\t')
			*c = ' ';
	return r;
}

/* ---- connecting ---- */

/* A setting as a C string; "" when it is too long, which the server then refuses. */
static const char *
text_of(struct str s, char *room, size_t n)
{
	snprintf(room, n, "%.*s", STR_ARG(s));
	return room;
}

static PGconn *
begin(const struct conf_table *t, const struct table_server *s)
{
	static const char *const modes[] = { [CONF_TABLE_TLS_OFF] = "disable",
		[CONF_TABLE_TLS_REQUIRED] = "require", [CONF_TABLE_TLS_VERIFY] = "verify-full" };
	char database[256], user[256], password[1024], ca[4096], port[16];
	const char *const keys[] = { "host", "port", "dbname", "user", "password", "sslmode",
		"sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile", "gssencmode", "client_encoding",
		"application_name", "options", "target_session_attrs", NULL };
	const char *const values[] = { s->host, port, text_of(t->database, database, sizeof database),
		text_of(t->user, user, sizeof user), text_of(t->password, password, sizeof password),
		modes[s->tls], s->tls == CONF_TABLE_TLS_VERIFY ? text_of(t->ca_file, ca, sizeof ca) : "/nonexistent",
		"/nonexistent", "/nonexistent", "/nonexistent", "/dev/null", "disable", "UTF8", "posthorn",
		"", "any", NULL };
	PGconn *c;

	snprintf(port, sizeof port, "%u", s->port ? s->port : PORT);
	c = PQconnectStartParams(keys, values, 0);
	explicit_bzero(password, sizeof password);
	return c;
}

static int
wait_connected(PGconn *c, uint64_t until_ms, struct err *e)
{
	PostgresPollingStatusType s = PGRES_POLLING_WRITING;

	while (s != PGRES_POLLING_OK) {
		if (s == PGRES_POLLING_FAILED || PQstatus(c) == CONNECTION_BAD)
			return failed(e, -ENOTCONN, PQerrorMessage(c));
		if (table_wait(PQsocket(c), s == PGRES_POLLING_READING ? POLLIN : POLLOUT, until_ms))
			return err_set(e, -ETIMEDOUT, "the server does not answer");
		s = PQconnectPoll(c);
	}
	return 0;
}

/* Takes the results of a command that gives no rows. */
static int pg_simple(struct pg *g, const char *sql, uint64_t until_ms, struct err *e);

static void
pg_close(void *conn)
{
	struct pg *g = conn;

	PQfinish(g->conn);
	free(g);
}

static void
ignore_notice(void *arg, const PGresult *r)
{
}

static int
pg_connect(const struct conf_table *t, const struct table_server *s, uint64_t until_ms, void **ret,
    struct err *e)
{
	struct pg *g = calloc(1, sizeof *g);
	char limit[80];
	int r;

	if (!g || !(g->conn = begin(t, s))) {
		free(g);
		return err_set(e, -ENOMEM, "no memory");
	}
	r = wait_connected(g->conn, until_ms, e);
	if (!r) {
		PQsetNoticeReceiver(g->conn, ignore_notice, NULL);
		PQsetnonblocking(g->conn, 1);
		snprintf(limit, sizeof limit, "SET statement_timeout = %llu", (unsigned long long)t->timeout_ms);
		r = pg_simple(g, limit, until_ms, e);
	}
	if (r)
		pg_close(g);
	else
		*ret = g;
	return r;
}

/* ---- asking ---- */

static int
flush(struct pg *g, uint64_t until_ms, struct err *e)
{
	int r;

	while ((r = PQflush(g->conn)) > 0) {
		if (table_wait(PQsocket(g->conn), POLLIN | POLLOUT, until_ms))
			return err_set(e, -ETIMEDOUT, "no answer in time");
		if (!PQconsumeInput(g->conn))
			return failed(e, -EPIPE, PQerrorMessage(g->conn));
	}
	return r ? failed(e, -EPIPE, PQerrorMessage(g->conn)) : 0;
}

/* The next result, or NULL at the end of them. */
static int
next_result(struct pg *g, uint64_t until_ms, PGresult **ret, struct err *e)
{
	int waiting = 0;

	while (PQisBusy(g->conn)) {
		if (table_wait(PQsocket(g->conn), POLLIN, until_ms))
			return err_set(e, -ETIMEDOUT, "no answer in time");
		if (!ioctl(PQsocket(g->conn), FIONREAD, &waiting) && waiting > 0)
			g->unread += (size_t)waiting < UNREAD_MAX ? (size_t)waiting : UNREAD_MAX;
		if (g->unread > UNREAD_MAX)
			return err_set(e, -EMSGSIZE, "the answer is too long");
		if (!PQconsumeInput(g->conn))
			return failed(e, -EPIPE, PQerrorMessage(g->conn));
	}
	g->unread = 0;
	*ret = PQgetResult(g->conn);
	return 0;
}

static int
take_rows(const PGresult *r, struct table_values *v, struct err *e)
{
	for (int row = 0; row < PQntuples(r); row++)
		for (int col = 0; col < PQnfields(r); col++) {
			struct str one = str_from(PQgetvalue(r, row, col), (size_t)PQgetlength(r, row, col));
			int code = table_values_add(v, one);

			if (code)
				return err_set(e, code, "the answer is too long");
		}
	return 0;
}

static int
take_result(const PGresult *r, struct table_values *v, struct err *e)
{
	switch (PQresultStatus(r)) {
	case PGRES_SINGLE_TUPLE:
	case PGRES_TUPLES_OK:
		return v ? take_rows(r, v, e) : 0;
	case PGRES_COMMAND_OK:
		return v ? err_set(e, -EBADMSG, "the query gives no rows") : 0;
	default:
		return failed(e, -EBADMSG, PQresultErrorMessage(r));
	}
}

/* All results of what was sent. */
static int
take_all(struct pg *g, uint64_t until_ms, struct table_values *v, struct err *e)
{
	PGresult *res = NULL;
	int r = flush(g, until_ms, e), bad = 0;

	while (!r && !(r = next_result(g, until_ms, &res, e)) && res) {
		if (!bad)
			bad = take_result(res, v, e);
		PQclear(res);
		if (bad == -EMSGSIZE)
			r = bad; /* the rest is not worth reading */
	}
	g->broken |= r != 0 || PQstatus(g->conn) != CONNECTION_OK;
	return r ? r : bad;
}

static int
pg_simple(struct pg *g, const char *sql, uint64_t until_ms, struct err *e)
{
	if (!PQsendQuery(g->conn, sql))
		return failed(e, -EPIPE, PQerrorMessage(g->conn));
	return take_all(g, until_ms, NULL, e);
}

static int
pg_find(void *conn, const struct conf_table *t, const struct table_query *q,
    const struct str parts[static PARTS], uint64_t until_ms, struct table_values *v, struct err *e)
{
	struct pg *g = conn;
	char text[PARTS][TABLE_ASK_MAX + 1];
	const char *values[QUERY_PLACES];

	for (unsigned i = 0; i < PARTS; i++)
		snprintf(text[i], sizeof text[i], "%.*s", STR_ARG(parts[i]));
	for (unsigned i = 0; i < q->n_places; i++)
		values[i] = text[q->places[i]];
	if (!PQsendQueryParams(g->conn, q->text, (int)q->n_places, NULL, values, NULL, NULL, 0)) {
		g->broken = true;
		return failed(e, -EPIPE, PQerrorMessage(g->conn));
	}
	PQsetSingleRowMode(g->conn);
	return take_all(g, until_ms, v, e);
}

static bool
pg_usable(void *conn)
{
	return !((struct pg *)conn)->broken;
}

const struct table_driver table_pgsql = {
	.type = CONF_TABLE_PGSQL,
	.name = "pgsql",
	.port = PORT,
	.style = QUERY_DOLLAR,
	.preload = preload,
	.connect = pg_connect,
	.find = pg_find,
	.usable = pg_usable,
	.close = pg_close,
};
