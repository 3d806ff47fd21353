/*
 * A whole SMTP session over a pair of sockets. The first byte picks the listener;
 * the rest is what the client says, all at once. The peers (authd, maild, queued) and
 * the session engine are played here. Whatever is said: what reaches the queue has
 * recipients, is of the size that was announced, and has no line end but CRLF.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/client/auth.h"
#include "lib/client/queue_flush.h"
#include "lib/client/store.h"
#include "lib/proc/census.h"
#include "mta/smtpd_cache.h"
#include "mta/smtpd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct smtpd smtpd;

/* ---- the engine ---- */

static struct {
	struct settings settings;
	struct sockaddr_storage peer, local;
	struct smtp *state;
	struct stream *io;
} engine;

const struct settings *service_settings(struct service *s) { return &engine.settings; }
struct tls_server *service_tls(struct service *s) { return NULL; }
void *session_state(struct session *s) { return engine.state; }
struct stream *session_stream(struct session *s) { return engine.io; }
const struct sockaddr_storage *session_peer(const struct session *s) { return &engine.peer; }
const struct sockaddr_storage *session_local(const struct session *s) { return &engine.local; }
const char *session_peer_text(const struct session *s) { return "192.0.2.1"; }
void session_set_peer(struct session *s, const struct sockaddr_storage *p) { engine.peer = *p; }
void session_set_local(struct session *s, const struct sockaddr_storage *l) { engine.local = *l; }
void session_idle_limit(struct session *s, uint64_t ms) { }

/* ---- the peers ---- */

int
auth_resolve(struct str address, struct str sender, struct arena *a, struct resolve_answer *ret)
{
	static const struct resolve_answer known = { .kind = RESOLVE_ACCOUNT, .account = 1,
		.address = STR_INIT("user1@example.test") };

	*ret = known;
	if (!str_ieq(address, STR("user1@example.test")))
		ret->kind = address.n % 2 ? RESOLVE_NO_USER : RESOLVE_NOT_LOCAL;
	return address.n == 33 ? -EPIPE : 0;
}

int
auth_login(const struct login_request *r, struct arena *a, struct login_answer *ret)
{
	*ret = (struct login_answer){ .ok = r->password.n > 0, .account = 1,
		.user = STR("user1@example.test") };
	return 0;
}

int
cache_resolve(struct str s, struct str sender, struct arena *a, struct resolve_answer *r)
{
	return auth_resolve(s, sender, a, r);
}
int cache_room(const struct resolve_answer *w, uint64_t n, struct wire_error *e) { return 0; }
void cache_init(void) { }
void cache_clear(void) { }
int queue_flush(const struct queue_flush *q, struct arena *a, uint64_t *ret) { *ret = 1; return 0; }
int queue_pressure(uint64_t *ret) { *ret = 0; return 0; }

/* Between two pieces, as within one, only CRLF may end a line. */
static void
judge(const struct iovec *v, size_t n, char *last)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < v[i].iov_len; k++) {
			char c = ((char *)v[i].iov_base)[k];

			if ((c == '\n') != (*last == '\r'))
				abort();
			*last = c;
		}
}

static size_t
length(const struct iovec *v, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += v[i].iov_len;
	return sum;
}

static int
take(const struct envelope *env, uint64_t size, char last, struct queue_answer *ret)
{
	if (!env->n_rcpts || env->size != size || last != '\n')
		abort();
	*ret = (struct queue_answer){ .spool_id = 1, .outcome = QUEUE_ACCEPTED, .smtp = 250 };
	return 0;
}

int
queue_accept(const struct envelope *env, const struct iovec *v, size_t n, struct arena *a,
    struct queue_answer *ret)
{
	char last = 0;

	judge(v, n, &last);
	return take(env, length(v, n), last, ret);
}

int
queue_stream_put(struct queue_stream *s, const struct iovec *v, size_t n, struct arena *a,
    struct wire_error *e)
{
	char last = (char)s->id;

	*e = (struct wire_error){ 0 };
	judge(v, n, &last);
	s->id = (unsigned char)last;
	s->size += length(v, n);
	return 0;
}

int
queue_stream_accept(const struct envelope *env, struct queue_stream *s, struct arena *a,
    struct queue_answer *ret)
{
	return take(env, s->size, (char)s->id, ret);
}

void queue_stream_abort(struct queue_stream *s) { *s = (struct queue_stream){ 0 }; }

/* ---- a session ---- */

static void
set_up(unsigned how)
{
	static struct conf_net all = { .prefix = 0 };

	engine.settings = (struct settings){ .hostname = STR("mail.example.test"),
		.message_size_limit = 300000, .recipient_limit = 100, .hop_limit = 10, .error_limit = 20,
		.command_limit = 200, .header_size_limit = 16384, .header_count_limit = 100,
		.smtp_timeout_ms = 1000, .smtp_data_timeout_ms = 1000, .smtp_line_limit = 70000,
		.smtp_memory_limit = 200000, .smtp_bare_newlines = how & 8 ? CONF_BARE_CONVERT : CONF_BARE_REFUSE,
		.trust_proxy = { how & 16 ? &all : NULL, how & 16 ? 1 : 0 } };
	engine.peer = (struct sockaddr_storage){ .ss_family = AF_INET };
	engine.local = engine.peer;
}

static struct conf_listen
listener(unsigned how)
{
	static const enum conf_proto protos[4] = { CONF_SMTP, CONF_SUBMISSION, CONF_LMTP, CONF_SMTP };

	return (struct conf_listen){ .proto = protos[how & 3], .auth = (how & 3) == 1,
		.plaintext_auth = true, .proxy = how & 4 };
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned how = size ? data[0] : 0;
	const struct conf_listen listen = listener(how);
	struct smtp state = { .listen = &listen, .id = "fuzz" };
	static bool counting;
	int sv[2], big = 1 << 20;

	if (!size || size > 100000 || socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		return 0;
	if (!counting)
		counting = census_open(-1, 0, 1, NULL) == 0;
	setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
	setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
	if (send(sv[1], data + 1, size - 1, MSG_DONTWAIT) < 0)
		shutdown(sv[1], SHUT_RD);
	shutdown(sv[1], SHUT_WR);
	set_up(how);
	engine.state = &state;
	engine.io = state.io = stream_new(NULL, sv[0], 0, NULL);
	if (how & 32 || smtp_run(NULL, SESSION_NEW) == SESSION_PARK)
		while (smtp_run(NULL, SESSION_INPUT) == SESSION_PARK && stream_fill(state.io) > 0)
			;
	smtp_forget(&state);
	front_leave(&state.front);
	free(state.host);
	stream_free(&engine.io);
	close(sv[1]);
	if (smtpd.content_bytes)
		abort();
	return 0;
}
