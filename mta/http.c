/*
 * libcurl behind http.h. What a request asks for is copied into its job, since the
 * thread reads it; what came is copied into the asker's arena when it is over.
 */
#include "mta/http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/io/co.h"
#include "lib/io/ip.h"

#define HEADERS_MAX (64u << 10)  /* bytes of an answer's header */
#define CONNECT_MS 15000L
#define ADDRESSES_MAX 8
#define IDLE_CONNECTIONS 16L

struct http {
	CURLM *multi;
	X509_STORE *store;
	struct loop *loop;
	pthread_t thread;

	pthread_mutex_t lock;    /* of jobs */
	struct list jobs;        /* to be begun */
};

struct http_job {
	struct list link;
	struct http *http;
	CURL *easy;
	CURLU *url;
	struct curl_slist *headers, *resolve;
	char *content;           /* of a POST */
	bool (*may)(void *arg, const struct sockaddr *addr);
	void *arg;
	size_t header_bytes;
	bool too_long, forbidden;
	struct buf body;
	CURLcode code;
	char why[CURL_ERROR_SIZE];

	struct co *co;           /* that waits */
	bool done;
};

/* ---- what libcurl calls back ---- */

static size_t
take_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_job *j = arg;

	buf_put(&j->body, p, size * n);
	j->too_long |= j->body.over;
	return j->body.over ? 0 : size * n;
}

static size_t
take_header(char *p, size_t size, size_t n, void *arg)
{
	struct http_job *j = arg;

	(void)p;
	j->header_bytes += size * n;
	return j->header_bytes > HEADERS_MAX ? 0 : size * n;
}

static curl_socket_t
make_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct http_job *j = arg;

	(void)purpose;
	if (!j->may(j->arg, &to->addr)) {
		j->forbidden = true;
		return CURL_SOCKET_BAD;
	}
	return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

static CURLcode
use_store(CURL *easy, void *ctx, void *arg)
{
	struct http_job *j = arg;

	(void)easy;
	SSL_CTX_set1_cert_store(ctx, j->http->store);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	return CURLE_OK;
}

/* ---- the thread ---- */

static void
wake(void *arg)
{
	struct http_job *j = arg;

	j->done = true;
	co_wake(j->co);
}

static void
job_over(struct http_job *j, CURLcode code)
{
	j->code = code;
	loop_post(j->http->loop, wake, j);
}

static void
begin_jobs(struct http *h)
{
	struct list *l;

	pthread_mutex_lock(&h->lock);
	while ((l = list_pop(&h->jobs))) {
		struct http_job *j = LIST_ENTRY(l, struct http_job, link);

		if (curl_multi_add_handle(h->multi, j->easy))
			job_over(j, CURLE_OUT_OF_MEMORY);
	}
	pthread_mutex_unlock(&h->lock);
}

static void
end_jobs(struct http *h)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left))) {
		CURLcode code = m->data.result;
		struct http_job *j = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&j);
		curl_multi_remove_handle(h->multi, m->easy_handle);
		job_over(j, code);
	}
}

static void *
run(void *arg)
{
	struct http *h = arg;
	int running;

	for (;;) {
		begin_jobs(h);
		curl_multi_perform(h->multi, &running);
		end_jobs(h);
		ERR_clear_error();
		curl_multi_poll(h->multi, NULL, 0, 60000, NULL);
	}
	return NULL;
}

/* ---- making ---- */

/* Every certificate of the text that can be read. */
static X509_STORE *
store_new(struct str pem)
{
	X509_STORE *s = X509_STORE_new();
	BIO *b = BIO_new_mem_buf(pem.n ? pem.p : "", (int)pem.n);
	X509 *x;

	while (s && b && (x = PEM_read_bio_X509(b, NULL, NULL, NULL))) {
		X509_STORE_add_cert(s, x);
		X509_free(x);
	}
	ERR_clear_error();
	BIO_free(b);
	return s;
}

struct http *
http_new(struct str ca_pem, struct err *e)
{
	struct http *h = calloc(1, sizeof *h);
	CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);

	if (code || !h) {
		err_set(e, -ENOMEM, "libcurl: %s", curl_easy_strerror(code));
		free(h);
		return NULL;
	}
	h->multi = curl_multi_init();
	h->store = store_new(ca_pem);
	list_init(&h->jobs);
	pthread_mutex_init(&h->lock, NULL);
	if (h->multi && h->store &&
	    !curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS))
		return h;
	err_set(e, -ENOMEM, "libcurl: out of memory");
	X509_STORE_free(h->store);
	curl_multi_cleanup(h->multi);
	free(h);
	return NULL;
}

int
http_start(struct http *h, struct loop *l, struct err *e)
{
	sigset_t all, old;
	int r;

	h->loop = l;
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* confine.h */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&h->thread, NULL, run, h);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r ? err_sys(e, -r, "cannot start a thread") : 0;
}

/* ---- URLs ---- */

static struct str
url_part(CURLU *u, CURLUPart part, unsigned flags, struct arena *a)
{
	char *text = NULL;
	struct str s = STR_NULL;

	if (!curl_url_get(u, part, &text, flags))
		s = arena_lower(a, str_c(text));
	curl_free(text);
	return s;
}

static bool
is_literal(struct str host)
{
	struct sockaddr_storage any;

	return ip_parse(host, &any);
}

static bool
is_plain(struct str url)
{
	bool plain = url.n && url.n <= FETCH_URL_MAX;

	for (size_t i = 0; plain && i < url.n; i++)
		plain = url.p[i] > ' ' && url.p[i] < 127;
	return plain;
}

int
http_target(struct str url, bool plain_ok, struct arena *a, struct http_target *ret)
{
	struct http_target t = { 0 };
	CURLU *u = is_plain(url) ? curl_url() : NULL;
	char *c = arena_cstr(a, url);
	struct str scheme, port;
	uint32_t n = 0;

	if (!u || !c || curl_url_set(u, CURLUPART_URL, c, 0)) {
		curl_url_cleanup(u);
		return -EINVAL;
	}
	scheme = url_part(u, CURLUPART_SCHEME, 0, a);
	port = url_part(u, CURLUPART_PORT, 0, a);
	t.host = url_part(u, CURLUPART_HOST, 0, a);
	t.tls = str_eq(scheme, STR("https"));
	if (t.host.n > 2 && t.host.p[0] == '[')
		t.host = arena_dup(a, str_head(str_skip(t.host, 1), t.host.n - 2));
	t.literal = is_literal(t.host);
	if (url_part(u, CURLUPART_USER, 0, a).p || !t.host.n || (port.n && !str_u32(port, 65535, &n)) ||
	    (!t.tls && !(plain_ok && str_eq(scheme, STR("http"))))) {
		curl_url_cleanup(u);
		return -EINVAL;
	}
	t.port = n; /* 0: none is named */
	curl_url_cleanup(u);
	*ret = t;
	return 0;
}

/* ---- a request ---- */

static void
job_free(struct http_job **jp)
{
	struct http_job *j = *jp;

	*jp = NULL;
	curl_easy_cleanup(j->easy);
	curl_url_cleanup(j->url);
	curl_slist_free_all(j->headers);
	curl_slist_free_all(j->resolve);
	free(j->content);
	buf_done(&j->body);
	free(j);
}

static bool
slist_add(struct curl_slist **at, const char *line)
{
	struct curl_slist *l = line ? curl_slist_append(*at, line) : NULL;

	if (l)
		*at = l;
	return l != NULL;
}

/* "+host:port:address,address": the only addresses that the host has for this request. */
static bool
set_addresses(struct http_job *j, const struct http_call *c, unsigned port)
{
	struct buf b = { 0 };
	bool good;

	if (c->to->literal)
		return true;
	buf_printf(&b, "+%.*s:%u:", STR_ARG(c->to->host), port);
	for (size_t i = 0; i < c->n_addresses && i < ADDRESSES_MAX; i++) {
		const struct sockaddr_storage *ss = &c->addresses[i];
		bool six = ss->ss_family == AF_INET6;
		char text[INET6_ADDRSTRLEN] = "";

		inet_ntop(ss->ss_family, six ? (const void *)&((const struct sockaddr_in6 *)ss)->sin6_addr :
		    (const void *)&((const struct sockaddr_in *)ss)->sin_addr, text, sizeof text);
		buf_printf(&b, six ? "%s[%s]" : "%s%s", i ? "," : "", text);
	}
	good = slist_add(&j->resolve, buf_cstr(&b)) &&
	    !curl_easy_setopt(j->easy, CURLOPT_RESOLVE, j->resolve);
	buf_done(&b);
	return good;
}

static bool
set_url(struct http_job *j, const struct http_call *c, unsigned port, struct arena *a)
{
	const char *url = arena_cstr(a, c->q->url), *port_text = arena_printf(a, "%u", port).p;

	j->url = curl_url();
	return j->url && url && port_text && !curl_url_set(j->url, CURLUPART_URL, url, 0) &&
	    !curl_url_set(j->url, CURLUPART_PORT, port_text, 0) &&
	    !curl_easy_setopt(j->easy, CURLOPT_CURLU, j->url);
}

static bool
set_headers(struct http_job *j, const struct fetch_request *q, struct arena *a)
{
	bool good = slist_add(&j->headers, "Expect:");

	for (size_t i = 0; good && i < q->n_headers; i++)
		good = slist_add(&j->headers, arena_cstr(a, q->headers[i]));
	if (good && q->post && q->type.n)
		good = slist_add(&j->headers, arena_printf(a, "Content-Type: %.*s", STR_ARG(q->type)).p);
	return good && !curl_easy_setopt(j->easy, CURLOPT_HTTPHEADER, j->headers);
}

static bool
set_content(struct http_job *j, const struct fetch_request *q)
{
	if (!q->post)
		return !curl_easy_setopt(j->easy, CURLOPT_HTTPGET, 1L);
	j->content = malloc(q->body.n + 1);
	if (!j->content)
		return false;
	if (q->body.n)
		memcpy(j->content, q->body.p, q->body.n);
	return !curl_easy_setopt(j->easy, CURLOPT_POST, 1L) &&
	    !curl_easy_setopt(j->easy, CURLOPT_POSTFIELDSIZE, (long)q->body.n) &&
	    !curl_easy_setopt(j->easy, CURLOPT_POSTFIELDS, j->content);
}

/* What holds for every request. A connection is used again only where the settings named
 * the server. */
static void
set_rules(struct http_job *j, const struct http_call *c)
{
	CURL *e = j->easy;

	curl_easy_setopt(e, CURLOPT_PRIVATE, j);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, j->why);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, c->q->trusted ? "https,http" : "https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_HTTP09_ALLOWED, 0L);
	curl_easy_setopt(e, CURLOPT_USERAGENT, PACKAGE_NAME "/" PACKAGE_VERSION);
	curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)c->q->timeout_ms);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, c->q->trusted ? 0L : 1L);
	curl_easy_setopt(e, CURLOPT_FORBID_REUSE, c->q->trusted ? 0L : 1L);
	curl_easy_setopt(e, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(e, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, use_store);
	curl_easy_setopt(e, CURLOPT_SSL_CTX_DATA, j);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, make_socket);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, j);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, j);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, j);
}

static struct http_job *
job_new(struct http *h, const struct http_call *c, struct arena *a)
{
	struct http_job *j = calloc(1, sizeof *j);
	unsigned port = c->to->port ? c->to->port : c->to->tls ? c->default_port : 80;

	if (!j)
		return NULL;
	j->http = h;
	j->may = c->may;
	j->arg = c->arg;
	j->body.max = (size_t)c->q->max_bytes;
	j->co = co_self();
	j->easy = curl_easy_init();
	if (j->easy && set_url(j, c, port, a) && set_addresses(j, c, port) &&
	    set_headers(j, c->q, a) && set_content(j, c->q)) {
		set_rules(j, c);
		return j;
	}
	job_free(&j);
	return NULL;
}

static enum fetch_status
status_of(const struct http_job *j)
{
	switch (j->code) {
	case CURLE_OK:
		return FETCH_OK;
	case CURLE_OPERATION_TIMEDOUT:
		return FETCH_TIMEOUT;
	case CURLE_COULDNT_CONNECT:
		return j->forbidden ? FETCH_REFUSED : FETCH_NO_CONNECTION;
	case CURLE_COULDNT_RESOLVE_HOST:
		return FETCH_NO_HOST;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CERTPROBLEM:
		return FETCH_TLS;
	case CURLE_WRITE_ERROR:
		return j->too_long ? FETCH_TOO_LONG : FETCH_BROKEN;
	case CURLE_OUT_OF_MEMORY:
		return FETCH_REFUSED;
	default:
		return FETCH_BROKEN;
	}
}

static void
answer_of(const struct http_job *j, struct arena *a, struct fetch_answer *ret)
{
	struct fetch_answer v = { .status = status_of(j) };
	char *type = NULL, *location = NULL;
	long http = 0;

	curl_easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &http);
	curl_easy_getinfo(j->easy, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(j->easy, CURLINFO_REDIRECT_URL, &location);
	v.http = http > 0 && http < 1000 ? (unsigned)http : 0;
	v.type = arena_dup(a, str_c(type));
	v.location = arena_dup(a, str_c(location));
	if (v.status == FETCH_OK)
		v.body = arena_dup(a, buf_view(&j->body));
	else
		v.why = arena_dup(a, str_c(j->forbidden ? "the address is not public" :
		    j->too_long ? "longer than it may be" :
		    *j->why ? j->why : curl_easy_strerror(j->code)));
	if (j->body.n && v.status == FETCH_OK && !v.body.p)
		v = (struct fetch_answer){ .status = FETCH_REFUSED, .why = STR("out of memory") };
	*ret = v;
}

void
http_run(struct http *h, const struct http_call *c, struct arena *a, struct fetch_answer *ret)
{
	struct http_job *j = job_new(h, c, a);

	if (!j) {
		*ret = (struct fetch_answer){ .status = FETCH_REFUSED, .why = STR("out of memory") };
		return;
	}
	pthread_mutex_lock(&h->lock);
	list_push(&h->jobs, &j->link);
	pthread_mutex_unlock(&h->lock);
	curl_multi_wakeup(h->multi);
	while (!j->done)
		co_wait(-1);
	answer_of(j, a, ret);
	job_free(&j);
}
