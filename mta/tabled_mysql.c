/*
 * Tables in MySQL and MariaDB, by libmariadb: its calls that do not wait are driven here,
 * so that everything ends in time. The query is a prepared statement, parts of the key are
 * its parameters. A connection on which anything failed is not used again.
 *
 * The library runs such calls on stacks of its own; it loads ways of logging in from files,
 * which happens before confinement.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "lib/base/clock.h"
#include "mta/tabled.h"

/* behind ours, since it has a macro list_push */
#include <mysql.h>

#define PORT 3306
#define STACK_BYTES ((size_t)256 << 10)
#define PACKET_MAX (1ul << 20)
#define COLUMNS_MAX 16
#define AUTHENTICATION 2 /* the kind of plugin; its header lacks one that it includes */

struct my {
	MYSQL *conn;
	MYSQL_STMT *stmt;
	unsigned columns;
	char *room;                   /* TABLE_ANSWER_MAX + 1 bytes for each column */
	MYSQL_BIND bind[COLUMNS_MAX];
	unsigned long length[COLUMNS_MAX];
	my_bool null[COLUMNS_MAX];
	bool broken;
};

static void
preload(void)
{
	static const char *const plugins[] = { "caching_sha2_password", "sha256_password",
		"client_ed25519" };
	MYSQL *m;

	unsetenv("MARIADB_PLUGIN_DIR");
	unsetenv("LIBMYSQL_ENABLE_CLEARTEXT_PLUGIN");
	mysql_library_init(0, NULL, NULL);
	m = mysql_init(NULL);
	for (size_t i = 0; m && i < sizeof plugins / sizeof *plugins; i++)
		mysql_load_plugin(m, plugins[i], AUTHENTICATION, 0);
	if (m)
		mysql_close(m);
}

/* Waits for what the library waits for, and says what came, in its bits. 0: time is up. */
static int
wait_for(struct my *g, int what, uint64_t until_ms)
{
	struct pollfd p = { .fd = (int)mysql_get_socket(g->conn),
		.events = (short)((what & MYSQL_WAIT_READ ? POLLIN : 0) | (what & MYSQL_WAIT_WRITE ? POLLOUT : 0) |
		    (what & MYSQL_WAIT_EXCEPT ? POLLPRI : 0)) };
	uint64_t now;
	int r;

	do {
		now = clock_ms();
		r = now < until_ms ? poll(&p, 1, (int)(until_ms - now)) : 0;
	} while (r < 0 && errno == EINTR);
	if (r <= 0)
		return 0;
	return (p.revents & (POLLIN | POLLHUP | POLLERR) ? MYSQL_WAIT_READ : 0) |
	    (p.revents & (POLLOUT | POLLHUP | POLLERR) ? MYSQL_WAIT_WRITE : 0) |
	    (p.revents & POLLPRI ? MYSQL_WAIT_EXCEPT : 0);
}

/* Runs one of the library's calls to its end: start and cont are its two halves. */
#define RUN(g, until_ms, start, cont)                                                              \
	({                                                                                         \
		int came_, status_ = (start);                                                      \
		while (status_ && (came_ = wait_for((g), status_, (until_ms))))                    \
			status_ = (cont);                                                          \
		status_ ? -ETIMEDOUT : 0;                                                          \
	})

static int
failed(struct my *g, struct err *e, int code, const char *text)
{
	g->broken = true;
	if (code == -ETIMEDOUT)
		return err_set(e, code, "no answer in time");
	return err_set(e, code, "%s", text);
}

/* ---- connecting ---- */

static void
my_close(void *conn)
{
	struct my *g = conn;

	/* what it would still say to the server must not wait for it */
	if (g->broken && mysql_get_socket(g->conn) != (my_socket)-1)
		shutdown((int)mysql_get_socket(g->conn), SHUT_RDWR);
	if (g->stmt)
		mysql_stmt_close(g->stmt);
	mysql_close(g->conn);
	free(g->room);
	free(g);
}

static void
options(MYSQL *m, const struct conf_table *t, const struct table_server *s)
{
	my_bool enforce = s->tls != CONF_TABLE_TLS_OFF, verify = s->tls == CONF_TABLE_TLS_VERIFY;
	unsigned long packet = PACKET_MAX;
	size_t stack = STACK_BYTES;
	unsigned local_files = 0;
	char ca[4096];

	mysql_options(m, MYSQL_OPT_NONBLOCK, &stack);
	mysql_options(m, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	mysql_options(m, MYSQL_OPT_LOCAL_INFILE, &local_files);
	mysql_options(m, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet);
	mysql_options(m, MYSQL_OPT_SSL_ENFORCE, &enforce);
	mysql_options(m, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
	if (verify) {
		snprintf(ca, sizeof ca, "%.*s", STR_ARG(t->ca_file));
		mysql_options(m, MYSQL_OPT_SSL_CA, ca);
	}
}

static int
log_in(struct my *g, const struct conf_table *t, const struct table_server *s, uint64_t until_ms,
    struct err *e)
{
	char database[256], user[256], password[1024];
	const char *host = s->port ? s->host : NULL, *path = s->port ? NULL : s->host;
	MYSQL *got = NULL;
	int r;

	snprintf(database, sizeof database, "%.*s", STR_ARG(t->database));
	snprintf(user, sizeof user, "%.*s", STR_ARG(t->user));
	snprintf(password, sizeof password, "%.*s", STR_ARG(t->password));
	r = RUN(g, until_ms, mysql_real_connect_start(&got, g->conn, host, user, password,
	    *database ? database : NULL, s->port, path, 0), mysql_real_connect_cont(&got, g->conn, came_));
	explicit_bzero(password, sizeof password);
	if (!r && !got)
		r = -ENOTCONN;
	return r ? failed(g, e, r, mysql_error(g->conn)) : 0;
}

static int
my_connect(const struct conf_table *t, const struct table_server *s, uint64_t until_ms, void **ret,
    struct err *e)
{
	struct my *g = calloc(1, sizeof *g);
	int r;

	if (!g || !(g->conn = mysql_init(NULL))) {
		free(g);
		return err_set(e, -ENOMEM, "no memory");
	}
	options(g->conn, t, s);
	r = log_in(g, t, s, until_ms, e);
	if (r)
		my_close(g);
	else
		*ret = g;
	return r;
}

/* ---- asking ---- */

/* The statement, and room for what it answers; once a connection. */
static int
prepare(struct my *g, const struct table_query *q, uint64_t until_ms, struct err *e)
{
	int got = 0, r;

	if (g->room)
		return 0;
	g->stmt = mysql_stmt_init(g->conn);
	if (!g->stmt)
		return failed(g, e, -ENOMEM, "no memory");
	r = RUN(g, until_ms, mysql_stmt_prepare_start(&got, g->stmt, q->text, strlen(q->text)),
	    mysql_stmt_prepare_cont(&got, g->stmt, came_));
	if (r || got)
		return failed(g, e, r ? r : -EBADMSG, mysql_stmt_error(g->stmt));
	g->columns = mysql_stmt_field_count(g->stmt);
	if (!g->columns || g->columns > COLUMNS_MAX)
		return failed(g, e, -EBADMSG, g->columns ? "the query gives too many columns" :
		    "the query gives no rows");
	if (mysql_stmt_param_count(g->stmt) != q->n_places)
		return failed(g, e, -EBADMSG, "the query has a ? of its own, or a key in a quoted name");
	g->room = malloc((size_t)g->columns * (TABLE_ANSWER_MAX + 1));
	if (!g->room)
		return failed(g, e, -ENOMEM, "no memory");
	for (unsigned i = 0; i < g->columns; i++)
		g->bind[i] = (MYSQL_BIND){ .buffer_type = MYSQL_TYPE_STRING,
			.buffer = g->room + (size_t)i * (TABLE_ANSWER_MAX + 1),
			.buffer_length = TABLE_ANSWER_MAX + 1, .length = &g->length[i],
			.is_null = &g->null[i] };
	return mysql_stmt_bind_result(g->stmt, g->bind) ?
	    failed(g, e, -EBADMSG, mysql_stmt_error(g->stmt)) : 0;
}

static int
execute(struct my *g, const struct table_query *q, const struct str parts[static PARTS],
    uint64_t until_ms, struct err *e)
{
	MYSQL_BIND in[QUERY_PLACES] = { 0 };
	unsigned long length[QUERY_PLACES];
	int got = 0, r;

	for (unsigned i = 0; i < q->n_places; i++) {
		struct str part = parts[q->places[i]];

		length[i] = part.n;
		in[i] = (MYSQL_BIND){ .buffer_type = MYSQL_TYPE_STRING, .buffer = (void *)(uintptr_t)part.p,
			.buffer_length = part.n, .length = &length[i] };
	}
	if (q->n_places && mysql_stmt_bind_param(g->stmt, in))
		return failed(g, e, -EBADMSG, mysql_stmt_error(g->stmt));
	r = RUN(g, until_ms, mysql_stmt_execute_start(&got, g->stmt),
	    mysql_stmt_execute_cont(&got, g->stmt, came_));
	return r || got ? failed(g, e, r ? r : -EBADMSG, mysql_stmt_error(g->stmt)) : 0;
}

static int
take_row(struct my *g, struct table_values *v)
{
	int r = 0;

	for (unsigned i = 0; i < g->columns && !r; i++) {
		if (g->length[i] > TABLE_ANSWER_MAX && !g->null[i])
			r = -EMSGSIZE;
		else if (!g->null[i])
			r = table_values_add(v, str_from(g->bind[i].buffer, g->length[i]));
	}
	return r;
}

static int
my_find(void *conn, const struct conf_table *t, const struct table_query *q,
    const struct str parts[static PARTS], uint64_t until_ms, struct table_values *v, struct err *e)
{
	struct my *g = conn;
	int got = 0, r = prepare(g, q, until_ms, e);
	my_bool freed = 0;

	if (!r)
		r = execute(g, q, parts, until_ms, e);
	if (r)
		return r;
	for (;;) {
		r = RUN(g, until_ms, mysql_stmt_fetch_start(&got, g->stmt),
		    mysql_stmt_fetch_cont(&got, g->stmt, came_));
		if (r || got == 1)
			return failed(g, e, r ? r : -EPIPE, mysql_stmt_error(g->stmt));
		if (got == MYSQL_NO_DATA)
			break;
		r = take_row(g, v);
		if (r)
			return failed(g, e, r, "the answer is too long");
	}
	r = RUN(g, until_ms, mysql_stmt_free_result_start(&freed, g->stmt),
	    mysql_stmt_free_result_cont(&freed, g->stmt, came_));
	g->broken |= r || freed;
	return 0;
}

static bool
my_usable(void *conn)
{
	return !((struct my *)conn)->broken;
}

const struct table_driver table_mysql = {
	.type = CONF_TABLE_MYSQL,
	.name = "mysql",
	.port = PORT,
	.style = QUERY_MARK,
	.preload = preload,
	.connect = my_connect,
	.find = my_find,
	.usable = my_usable,
	.close = my_close,
};
