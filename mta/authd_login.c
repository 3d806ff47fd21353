/*
 * Log-ins.
 *
 *	request -> found in the directory -> fitted a moment ago? -> answer at once
 *	        -> wait as failures demand -> hash on a worker -> answer
 *
 * There is no user oracle: a name that nobody has waits and hashes like any
 * other (against a decoy), and so does a suspended one; the client is told the
 * same. Delays are counted by the name as given and by the client's network
 * (IPv4 /24, IPv6 /48); an account that logged in from a network within a day is
 * not delayed there by what others do to its name. Waiting log-ins are bounded
 * in all, by name and by network: above, the answer is 'temporary' at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proc/metrics.h"
#include "mta/authd.h"

#define LOGINS_MAX 4096
#define LOGINS_PER_NAME 64
#define LOGINS_PER_NETWORK 256
#define NAME_MAX_BYTES 1024

static struct metric ok_total = METRIC_COUNTER("auth_logins_total", "result=\"ok\"", "Log-ins by result");
static struct metric cached_total = METRIC_COUNTER("auth_logins_total", "result=\"cached\"", "Log-ins by result");
static struct metric failed_total = METRIC_COUNTER("auth_logins_total", "result=\"failed\"", "Log-ins by result");
static struct metric refused_total = METRIC_COUNTER("auth_logins_total", "result=\"refused\"", "Log-ins by result");
static struct metric waiting = METRIC_GAUGE("auth_logins_waiting", NULL, "Log-ins that wait or are being checked");
static struct metric hash_time = METRIC_HISTOGRAM("auth_hash_seconds", NULL, "Time to check one password");

struct login {
	struct job job;
	struct timer timer;
	struct peer *peer;
	uint64_t id;
	struct directory_account account; /* id 0: nobody */
	char prepared[PASSWORD_MAX + 1];
	bool usable;                      /* prepared holds a password, the account may log in */
	bool proven;                      /* no password to hash: `fits` was judged before */
	char final[LOGIN_FINAL_MAX + 1];  /* for the client, when it fits */
	int fits;                         /* by the worker */
	uint64_t hash_us;
	uint64_t name_key, network_key;   /* 0: not counted */
	struct recent_key password, network;
	char user[NAME_MAX_BYTES + 1], service[16], client[64];
};

/* The client's network as a number; 0 when it is not counted (no address, or a
 * sandbox, whose clients all come from loopback). */
static uint64_t
network_of(const char *ip)
{
	unsigned char a[16];
	size_t n = 0;

	if (service_settings(authd.service)->sandbox)
		return 0;
	if (inet_pton(AF_INET, ip, a) == 1)
		n = 3;
	else if (inet_pton(AF_INET6, ip, a) == 1)
		n = 6;
	return n ? str_hash(str_from(a, n)) | 1 : 0;
}

static void
answer(struct peer *p, uint64_t id, const struct login_answer *ans)
{
	struct buf b = { 0 };

	login_answer_put(&b, ans);
	chan_answer(p, id, MSG_AUTH_LOGIN, &b, -1);
	buf_done(&b);
}

static void
answer_no(struct peer *p, uint64_t id, bool temporary, const char *why)
{
	answer(p, id, &(struct login_answer){ .temporary = temporary, .text = str_c(why) });
}

static void
login_free(struct login *l)
{
	chan_peer_unref(&l->peer);
	password_wipe(l->prepared, sizeof l->prepared);
	free(l);
}

static void
leave(const struct login *l, enum penalty_end how)
{
	uint64_t now = clock_ms();

	if (l->name_key)
		penalty_leave(authd.by_account, l->name_key, how, now);
	if (l->network_key)
		/* one right password does not clear a network of its guesses */
		penalty_leave(authd.by_network, l->network_key,
		    how == PENALTY_PASSED ? PENALTY_UNKNOWN : how, now);
	metric_set(&waiting, --authd.logins);
}

static void
grant(struct login *l, bool cached)
{
	struct login_answer ans = { 0 };
	struct buf keep = { 0 };

	metric_add(cached ? &cached_total : &ok_total, 1);
	LOG_INFO("auth.ok", L_C("user", l->account.address), L_C("service", l->service),
	    L_C("ip", l->client), L_U64("cached", cached));
	authd_grant(l->peer, &l->account, TICKET_MAIL | TICKET_SUBMIT, &keep, &ans);
	ans.message = str_c(l->final);
	answer(l->peer, l->id, &ans);
	buf_done(&keep);
}

static void
deny(struct login *l)
{
	const char *why = !l->account.id ? "no such user" : !l->account.hash[0] ? "no password"
	    : l->account.state != AUTH_ACTIVE                                   ? "suspended"
	    : l->proven                                                         ? "wrong proof"
	                                                                        : "wrong password";

	metric_add(&failed_total, 1);
	LOG_WARN("auth.failed", L_C("user", l->user), L_C("service", l->service),
	    L_C("ip", l->client), L_C("why", why));
	answer_no(l->peer, l->id, false, why);
}

/* On a worker. */
static void
check(struct job *j)
{
	struct login *l = LIST_ENTRY(j, struct login, job);
	uint64_t start = clock_us();
	bool real = l->usable && l->account.hash[0];

	l->fits = password_verify(l->prepared, real ? l->account.hash : authd.decoy) == 1 && real;
	l->hash_us = clock_us() - start;
}

/* Back on the loop. The account may have changed while the hash was made. */
static void
checked(struct job *j)
{
	struct login *l = LIST_ENTRY(j, struct login, job);
	struct directory_account now;
	int r = 0;

	if (!l->proven)
		metric_observe_us(&hash_time, l->hash_us);
	if (l->fits)
		r = directory_account(authd.questions, l->account.id, &now);
	if (r && r != -ENOENT) {
		leave(l, PENALTY_UNKNOWN);
		answer_no(l->peer, l->id, true, "directory failed");
	} else if (l->fits && !r && now.generation == l->account.generation &&
	    now.state == AUTH_ACTIVE) {
		leave(l, PENALTY_PASSED);
		if (!l->proven)
			recent_add(authd.passwords, l->password, clock_ms());
		recent_add(authd.networks, l->network, clock_ms());
		grant(l, false);
	} else {
		leave(l, PENALTY_FAILED);
		deny(l);
	}
	login_free(l);
}

static void
start_check(void *arg)
{
	struct login *l = arg;

	if (l->proven) {
		checked(&l->job);
		return;
	}
	l->job.work = check;
	l->job.done = checked;
	if (authd.workers && !workers_add(authd.workers, &l->job, false))
		return;
	leave(l, PENALTY_UNKNOWN);
	metric_add(&refused_total, 1);
	answer_no(l->peer, l->id, true, "too many log-ins");
	login_free(l);
}

static void
copy(char *out, size_t max, struct str s)
{
	s = str_head(s, max - 1);
	memcpy(out, s.n ? s.p : "", s.n);
	out[s.n] = '\0';
}

/* What the name says for delays: every spelling of an address is one key. */
static uint64_t
name_key(struct str user)
{
	struct mailname m;

	if (mailname_parse(user, &m))
		return str_ihash(user) | 1;
	return ((str_hash(str_c(m.local)) * 31) ^ str_hash(str_c(m.domain))) | 1;
}

/* Whether authzid asks to be somebody else than the user (RFC 4616 section 2). */
static bool
other_identity(const struct login_request *q)
{
	struct mailname a, b;

	if (!q->authzid.n || str_ieq(q->authzid, q->user))
		return false;
	return mailname_parse(q->authzid, &a) || mailname_parse(q->user, &b) ||
	    strcmp(a.local, b.local) || strcmp(a.domain, b.domain);
}

static void
note_client(struct login *l, const struct login_request *q)
{
	copy(l->user, sizeof l->user, q->user);
	copy(l->service, sizeof l->service, q->service);
	copy(l->client, sizeof l->client, q->client_ip);
}

/* An app password is long and random: a plain hash of it is looked up, on the loop. What
 * has its form and is none is looked at as any password. Negative when the directory
 * cannot say. */
static int
app_password(struct login *l, const struct login_request *q)
{
	char hash[PASSWORD_HASH_MAX];
	int r;

	if (!l->usable || !password_app_hash(q->password, hash))
		return 0;
	r = directory_app_password(authd.questions, l->account.id, str_c(hash));
	l->fits = r == 1;
	l->proven = r == 1;
	return r;
}

/* Looks up and prepares: 0, or negative when the directory cannot say. */
static int
prepare(struct login *l, const struct login_request *q)
{
	int r = directory_login(authd.questions, q->user, &l->account);

	if (r && r != -ENOENT)
		return r;
	if (r)
		l->account.id = 0;
	l->usable = !r && l->account.state == AUTH_ACTIVE && !other_identity(q);
	note_client(l, q);
	r = app_password(l, q);
	if (r)
		return r < 0 ? r : 0;
	if (password_prepare(q->password, l->prepared)) {
		l->usable = false;
		strcpy(l->prepared, "?"); /* hashed all the same */
	}
	l->password = recent_key(authd.passwords, l->account.id, l->account.generation,
	    str_c(l->prepared));
	return 0;
}

/* Enters the delay tables: how long to wait, or -EAGAIN when too many wait. */
static int64_t
enter(struct login *l, const struct login_request *q)
{
	uint64_t now = clock_ms(), network = network_of(l->client), by_name = 0, by_network = 0;
	uint64_t name = name_key(q->user);

	if (authd.logins >= LOGINS_MAX || penalty_running(authd.by_account, name) >= LOGINS_PER_NAME ||
	    (network && penalty_running(authd.by_network, network) >= LOGINS_PER_NETWORK))
		return -EAGAIN;
	l->network = recent_key(authd.networks, l->account.id, 0,
	    network ? str_from(&network, sizeof network) : str_c(l->client));
	if (!l->account.id || !recent_has(authd.networks, l->network, now)) {
		l->name_key = name;
		by_name = penalty_enter(authd.by_account, name, now);
	}
	l->network_key = network;
	if (network)
		by_network = penalty_enter(authd.by_network, network, now);
	metric_set(&waiting, ++authd.logins);
	return (int64_t)(by_name > by_network ? by_name : by_network);
}

/* To be checked, after the delay that failures demand. */
static void
wait_for_check(struct login *l, const struct login_request *q)
{
	int64_t ms = enter(l, q);

	if (ms < 0) {
		metric_add(&refused_total, 1);
		answer_no(l->peer, l->id, true, "too many log-ins wait");
		login_free(l);
	} else if (ms) {
		loop_timer(service_loop(authd.service), &l->timer, (uint64_t)ms, start_check, l);
	} else {
		start_check(l);
	}
}

static void
login_begin(struct login *l, const struct login_request *q)
{
	if (prepare(l, q)) {
		answer_no(l->peer, l->id, true, "directory failed");
		login_free(l);
		return;
	}
	if (l->usable && recent_has(authd.passwords, l->password, clock_ms())) {
		grant(l, true);
		login_free(l);
		return;
	}
	wait_for_check(l, q);
}

void
authd_login_no(struct peer *p, uint64_t id, bool temporary, const char *why)
{
	answer_no(p, id, temporary, why);
}

static struct login *
login_new(struct peer *p, uint64_t id)
{
	struct login *l = calloc(1, sizeof *l);

	if (!l) {
		answer_no(p, id, true, "no memory");
		return NULL;
	}
	l->peer = chan_peer_ref(p);
	l->id = id;
	return l;
}

void
authd_login_proven(struct peer *p, uint64_t id, const struct login_request *q,
    const struct directory_account *a, bool fits, struct str final)
{
	struct login *l = login_new(p, id);

	if (!l)
		return;
	l->account = *a;
	l->proven = true;
	l->fits = fits && a->state == AUTH_ACTIVE && !other_identity(q);
	note_client(l, q);
	copy(l->final, sizeof l->final, final);
	wait_for_check(l, q);
}

void
authd_login(struct peer *p, struct frame *f)
{
	struct login_request q;
	struct login *l;

	if (login_request_get(f->body, &q) || q.user.n > NAME_MAX_BYTES) {
		answer_no(p, f->id, false, "malformed request");
		return;
	}
	if (str_istarts(q.mech, STR("SCRAM-SHA-256"))) {
		authd_scram(p, f->id, &q);
		return;
	}
	if (str_ieq(q.mech, STR("OAUTHBEARER")) || str_ieq(q.mech, STR("XOAUTH2"))) {
		authd_oauth(p, f->id, &q);
		return;
	}
	l = login_new(p, f->id);
	if (l)
		login_begin(l, &q);
}

int
authd_login_init(unsigned cost, struct err *e)
{
	return password_hash("nobody", cost, authd.decoy, e);
}
