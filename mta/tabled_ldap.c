/*
 * Tables in LDAP (RFC 4511), by libldap: the query is a search filter (RFC 4515) in which the
 * parts of the key are escaped, the answer is the values of the attributes, in the order of
 * the settings. With TLS, ldaps: begins with it; else StartTLS (RFC 4511 section 4.14) comes
 * first, before any password.
 *
 * The connection is made here, so that it ends in time, and then given to the library, whose
 * calls that do not wait are used; its descriptor never blocks. Referrals are not followed.
 */
#include <errno.h>
#include <ldap.h>
#include <netdb.h>
#include <openldap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "mta/tabled.h"

#define PORT 389
#define TLS_PORT 636
#define ANSWER_BYTES_MAX (1 << 20) /* of one message of the server */
#define ATTRIBUTES_MAX 32

struct dir {
	LDAP *ld;
	int fd;                       /* the library's: closed by it */
	bool broken;
};

/* The library reads no files and no environment. */
static void
preload(void)
{
	LDAP *ld = NULL;

	setenv("LDAPNOINIT", "1", 1);
	if (!ldap_create(&ld) && ld)
		ldap_unbind_ext(ld, NULL, NULL);
}

static int
failed(struct dir *g, struct err *e, int rc, const char *what)
{
	char *more = NULL;

	g->broken = true;
	if (rc == LDAP_TIMEOUT)
		return err_set(e, -ETIMEDOUT, "%s: no answer in time", what);
	if (g->ld)
		ldap_get_option(g->ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more);
	err_set(e, rc > 0 ? -EBADMSG : -EPIPE, "%s: %s%s%s", what, ldap_err2string(rc),
	    more && *more ? ", " : "", more ? more : "");
	ldap_memfree(more);
	return e->code;
}

static struct timeval
left(uint64_t until_ms)
{
	uint64_t now = clock_ms(), ms = until_ms > now ? until_ms - now : 1;

	return (struct timeval){ (time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000) };
}

/* The answer to a request as a result message; LDAP_SUCCESS or what went wrong. */
static int
wait_result(struct dir *g, int id, uint64_t until_ms, LDAPMessage **ret)
{
	struct timeval tv = left(until_ms);
	int rc = ldap_result(g->ld, id, LDAP_MSG_ALL, &tv, ret);

	if (rc == 0)
		return LDAP_TIMEOUT;
	if (rc > 0)
		return LDAP_SUCCESS;
	ldap_get_option(g->ld, LDAP_OPT_RESULT_CODE, &rc);
	return rc == LDAP_SUCCESS ? LDAP_SERVER_DOWN : rc;
}

/* The code of a request that has only one answer. */
static int
wait_done(struct dir *g, int id, uint64_t until_ms)
{
	LDAPMessage *m = NULL;
	int code = LDAP_OTHER, rc = wait_result(g, id, until_ms, &m);

	if (rc == LDAP_SUCCESS)
		rc = ldap_parse_result(g->ld, m, &code, NULL, NULL, NULL, NULL, 0);
	ldap_msgfree(m);
	return rc == LDAP_SUCCESS ? code : rc;
}

/* ---- connecting ---- */

static int
connect_to(const struct sockaddr *a, socklen_t n, uint64_t until_ms)
{
	int fd = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), why = 0;
	socklen_t size = sizeof why;

	if (fd < 0)
		return -errno;
	if (connect(fd, a, n) && errno != EINPROGRESS)
		why = errno;
	else if (table_wait(fd, POLLOUT, until_ms))
		why = ETIMEDOUT;
	else
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &size);
	if (why)
		close(fd);
	return why ? -why : fd;
}

static int
connect_server(const struct table_server *s, uint64_t until_ms)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char port[16];
	int fd = -EHOSTUNREACH;

	if (!s->port) {
		if (strlen(s->host) >= sizeof un.sun_path)
			return -ENAMETOOLONG;
		strcpy(un.sun_path, s->host);
		return connect_to((struct sockaddr *)&un, sizeof un, until_ms);
	}
	snprintf(port, sizeof port, "%u", s->port);
	if (getaddrinfo(s->host, port, &hints, &list))
		return -EHOSTUNREACH;
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
		fd = connect_to(a->ai_addr, a->ai_addrlen, until_ms);
	freeaddrinfo(list);
	return fd;
}

static int
options(struct dir *g, const struct conf_table *t, const struct table_server *s, uint64_t until_ms)
{
	int version = LDAP_VERSION3, rc, check = s->tls == CONF_TABLE_TLS_VERIFY ? LDAP_OPT_X_TLS_DEMAND :
	    LDAP_OPT_X_TLS_NEVER, client = 0;
	ber_len_t most = ANSWER_BYTES_MAX;
	struct timeval tv = left(until_ms);
	Sockbuf *sb = NULL;
	char ca[4096];

	snprintf(ca, sizeof ca, "%.*s", STR_ARG(t->ca_file));
	rc = ldap_set_option(g->ld, LDAP_OPT_PROTOCOL_VERSION, &version);
	if (!rc)
		rc = ldap_set_option(g->ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
	if (!rc)
		rc = ldap_set_option(g->ld, LDAP_OPT_NETWORK_TIMEOUT, &tv);
	if (!rc && !ldap_get_option(g->ld, LDAP_OPT_SOCKBUF, &sb) && sb)
		ber_sockbuf_ctrl(sb, LBER_SB_OPT_SET_MAX_INCOMING, &most);
	if (rc || s->tls == CONF_TABLE_TLS_OFF)
		return rc;
	rc = ldap_set_option(g->ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &check);
	if (!rc && s->tls == CONF_TABLE_TLS_VERIFY)
		rc = ldap_set_option(g->ld, LDAP_OPT_X_TLS_CACERTFILE, ca);
	return rc ? rc : ldap_set_option(g->ld, LDAP_OPT_X_TLS_NEWCTX, &client);
}

static int
start_tls(struct dir *g, const struct table_server *s, uint64_t until_ms)
{
	int id = 0, rc;

	if (!s->implicit_tls) {
		rc = ldap_start_tls(g->ld, NULL, NULL, &id);
		if (!rc)
			rc = wait_done(g, id, until_ms);
		if (rc)
			return rc;
	}
	return ldap_install_tls(g->ld);
}

static int
log_in(struct dir *g, const struct conf_table *t, uint64_t until_ms)
{
	char dn[1024], password[1024];
	struct berval cred = { .bv_val = password };
	int id = 0, rc;

	if (!t->user.n)
		return LDAP_SUCCESS;
	snprintf(dn, sizeof dn, "%.*s", STR_ARG(t->user));
	snprintf(password, sizeof password, "%.*s", STR_ARG(t->password));
	cred.bv_len = strlen(password);
	rc = ldap_sasl_bind(g->ld, dn, LDAP_SASL_SIMPLE, &cred, NULL, NULL, &id);
	explicit_bzero(password, sizeof password);
	return rc ? rc : wait_done(g, id, until_ms);
}

static void
dir_close(void *conn)
{
	struct dir *g = conn;

	if (g->broken && g->fd >= 0)
		shutdown(g->fd, SHUT_RDWR); /* what it would still say must not wait */
	if (g->ld)
		ldap_unbind_ext(g->ld, NULL, NULL);
	else if (g->fd >= 0)
		close(g->fd);
	free(g);
}

static int
dir_connect(const struct conf_table *t, const struct table_server *s, uint64_t until_ms, void **ret,
    struct err *e)
{
	struct dir *g = calloc(1, sizeof *g);
	char url[300];
	int rc, r = 0;

	if (!g)
		return err_set(e, -ENOMEM, "no memory");
	g->fd = connect_server(s, until_ms);
	if (g->fd < 0) {
		r = err_sys(e, g->fd, "cannot connect");
		dir_close(g);
		return r;
	}
	snprintf(url, sizeof url, "%s://%s%s%s", !s->port ? "ldapi" : s->implicit_tls ? "ldaps" : "ldap",
	    strchr(s->host, ':') ? "[" : "", s->port ? s->host : "", strchr(s->host, ':') ? "]" : "");
	rc = ldap_init_fd(g->fd, s->port ? LDAP_PROTO_TCP : LDAP_PROTO_IPC, url, &g->ld);
	if (rc)
		g->ld = NULL;
	if (!rc)
		rc = options(g, t, s, until_ms);
	if (rc) {
		r = failed(g, e, rc, "connection");
	} else if (s->tls != CONF_TABLE_TLS_OFF && (rc = start_tls(g, s, until_ms))) {
		r = failed(g, e, rc, "TLS");
	} else if ((rc = log_in(g, t, until_ms))) {
		r = failed(g, e, rc, "log-in");
	}
	if (r)
		dir_close(g);
	else
		*ret = g;
	return r;
}

/* ---- asking ---- */

static int
take_entry(struct dir *g, LDAPMessage *m, char *const *attributes, struct table_values *v)
{
	int r = 0;

	for (size_t i = 0; attributes[i] && !r; i++) {
		struct berval **values = ldap_get_values_len(g->ld, m, attributes[i]);

		for (size_t k = 0; values && values[k] && !r; k++)
			r = table_values_add(v, str_from(values[k]->bv_val, values[k]->bv_len));
		ldap_value_free_len(values);
	}
	return r;
}

/* One message of the answer: 1 to go on, 0 at the end, negative. */
static int
take_message(struct dir *g, LDAPMessage *m, char *const *attributes, struct table_values *v,
    struct err *e)
{
	int code = LDAP_OTHER, r;

	switch (ldap_msgtype(m)) {
	case LDAP_RES_SEARCH_ENTRY:
		r = take_entry(g, m, attributes, v);
		if (r)
			g->broken = true;
		return r ? err_set(e, r, "the answer is too long") : 1;
	case LDAP_RES_SEARCH_RESULT:
		r = ldap_parse_result(g->ld, m, &code, NULL, NULL, NULL, NULL, 0);
		if (!r && code == LDAP_SIZELIMIT_EXCEEDED)
			return err_set(e, -EMSGSIZE, "the answer is too long");
		if (!r && (code == LDAP_SUCCESS || code == LDAP_NO_SUCH_OBJECT))
			return 0;
		return failed(g, e, r ? r : code, "search");
	default:
		return 1; /* a reference to another server */
	}
}

static int
take_answer(struct dir *g, int id, char *const *attributes, uint64_t until_ms,
    struct table_values *v, struct err *e)
{
	int r = 1;

	while (r == 1) {
		struct timeval tv = left(until_ms);
		LDAPMessage *m = NULL;
		int rc = clock_ms() < until_ms ? ldap_result(g->ld, id, LDAP_MSG_ONE, &tv, &m) : 0;

		if (rc == 0)
			return failed(g, e, LDAP_TIMEOUT, "search");
		if (rc < 0) {
			ldap_get_option(g->ld, LDAP_OPT_RESULT_CODE, &rc);
			return failed(g, e, rc ? rc : LDAP_SERVER_DOWN, "search");
		}
		r = take_message(g, m, attributes, v, e);
		ldap_msgfree(m);
	}
	return r;
}

static int
dir_find(void *conn, const struct conf_table *t, const struct table_query *q,
    const struct str parts[static PARTS], uint64_t until_ms, struct table_values *v, struct err *e)
{
	static const int scopes[] = { [CONF_SCOPE_SUB] = LDAP_SCOPE_SUBTREE,
		[CONF_SCOPE_ONE] = LDAP_SCOPE_ONELEVEL, [CONF_SCOPE_BASE] = LDAP_SCOPE_BASE };
	struct dir *g = conn;
	struct arena *a = arena_new(0);
	struct buf filter = { .max = 65536 };
	char *attributes[ATTRIBUTES_MAX + 1] = { 0 }, *base;
	int id = 0, rc;

	if (!a)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_attributes && i < ATTRIBUTES_MAX; i++)
		attributes[i] = arena_cstr(a, t->attributes[i]);
	base = arena_cstr(a, t->base);
	table_filter_put(&filter, t->query, parts);
	rc = base && buf_cstr(&filter) ? ldap_search_ext(g->ld, base, scopes[t->scope], filter.p,
	    attributes, 0, NULL, NULL, NULL, (int)t->result_limit + 1, &id) : LDAP_NO_MEMORY;
	rc = rc ? failed(g, e, rc, "search") : take_answer(g, id, attributes, until_ms, v, e);
	buf_done(&filter);
	arena_free(&a);
	return rc;
}

static bool
dir_usable(void *conn)
{
	return !((struct dir *)conn)->broken;
}

const struct table_driver table_ldap = {
	.type = CONF_TABLE_LDAP,
	.name = "ldap",
	.port = PORT,
	.tls_port = TLS_PORT,
	.preload = preload,
	.connect = dir_connect,
	.find = dir_find,
	.usable = dir_usable,
	.close = dir_close,
};
