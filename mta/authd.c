/*
 * authd: who an address belongs to, who may log in, and what an admin changes
 * about it. It alone touches the directory, and with maild and submitd holds the
 * key of tickets.
 *
 * The loop answers questions from its own connection to the database (tens of
 * microseconds); what hashes or waits for the disk runs on workers. A change is
 * told to every connected caller as soon as it is durable.
 */
#include "mta/authd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proc/metrics.h"

#define PEERS_MAX 256
#define WAITING_MAX 8192
#define PASSWORD_LIFE_MS 60000
#define NETWORK_LIFE_MS (24 * 3600 * 1000)
/* A maild that connects is told of the accounts that were deleted with their mail within this time. */
#define PURGED_TOLD_MS (90ull * 24 * 3600 * 1000)

struct authd authd = { .lock_fd = -1 };

static struct {
	struct peer *v[PEERS_MAX]; /* connected callers, for events */
	size_t n;
} peers;

static struct metric renewed = METRIC_COUNTER("auth_renewals_total", NULL, "Tickets renewed");
static struct metric dir_failed = METRIC_COUNTER("auth_directory_failures_total", NULL,
    "Questions that the directory database could not answer");

static uint64_t
quota_of(const struct directory_account *a)
{
	return a->quota == AUTH_QUOTA_DEFAULT ? service_settings(authd.service)->default_quota
	                                      : a->quota;
}

void
authd_answer_failed(struct peer *p, const struct frame *f, int code, const char *why)
{
	struct wire_error we = { .code = code, .enhanced = STR("4.3.0"),
		.text = STR("the directory cannot answer") };

	if (code != -ENOENT && code != -EPROTO) {
		metric_add(&dir_failed, 1);
		LOG_ERROR("auth.directory", L_I64("code", code), L_C("text", why));
	}
	chan_answer_error(p, f->id, f->type, &we);
}

/* ---- questions ---- */

static void
handle_account(struct peer *p, struct frame *f)
{
	struct directory_account a;
	struct account_record rec;
	struct buf b = { 0 };
	uint64_t id;
	int r = auth_ask_id_get(f->body, &id);

	if (!r)
		r = directory_account(authd.questions, id, &a);
	if (r) {
		authd_answer_failed(p, f, r, "");
		return;
	}
	rec = (struct account_record){ .account = a.id, .generation = a.generation,
		.volume = a.volume, .slot = account_slot(a.id), .quota = quota_of(&a),
		.enabled = a.state == AUTH_ACTIVE, .address = str_c(a.address) };
	account_record_put(&b, &rec);
	chan_answer(p, f->id, f->type, &b, -1);
	buf_done(&b);
}

void
authd_grant(struct peer *p, const struct directory_account *a, uint32_t rights, struct buf *keep,
    struct login_answer *ans)
{
	struct ticket t = { .account = a->id, .generation = a->generation,
		.channel = chan_peer_number(p), .volume = a->volume, .slot = account_slot(a->id),
		.expires_ms = clock_real_us() / 1000 + TICKET_LIFE_MS, .rights = rights,
		.user = str_c(a->address) };

	ticket_seal(keep, service_ticket_key(authd.service), &t);
	*ans = (struct login_answer){ .ok = !keep->over, .temporary = keep->over, .account = t.account,
		.volume = t.volume, .slot = t.slot, .user = t.user, .ticket = buf_view(keep),
		.ticket_expires_ms = t.expires_ms };
}

/* A ticket that still holds, of an account that has not changed since. */
static const char *
renewable(struct peer *p, struct str sealed, struct ticket *t, struct directory_account *a)
{
	int r = ticket_open(sealed, service_ticket_key(authd.service), chan_peer_number(p), t);

	if (r)
		return r == -ETIME ? "the ticket has expired" : "not a ticket of this channel";
	r = directory_account(authd.questions, t->account, a);
	if (r && r != -ENOENT)
		return ""; /* cannot say */
	if (r || a->state != AUTH_ACTIVE || a->generation != t->generation)
		return "revoked";
	return NULL;
}

static void
handle_renew(struct peer *p, struct frame *f)
{
	struct login_answer ans = { 0 };
	struct directory_account a;
	struct buf b = { 0 }, keep = { 0 };
	struct str sealed;
	struct ticket t;
	const char *why;

	metric_add(&renewed, 1);
	if (auth_ask_get(f->body, &sealed)) {
		authd_answer_failed(p, f, -EPROTO, "");
		return;
	}
	why = renewable(p, sealed, &t, &a);
	if (!why)
		authd_grant(p, &a, t.rights, &keep, &ans);
	else
		ans = (struct login_answer){ .temporary = !*why, .text = str_c(why) };
	login_answer_put(&b, &ans);
	chan_answer(p, f->id, f->type, &b, -1);
	buf_done(&keep);
	buf_done(&b);
}

/* ---- events ---- */

void
authd_tell(const struct auth_changed *c)
{
	struct buf b = { 0 };

	recent_clear(authd.passwords);
	auth_changed_put(&b, c);
	for (size_t i = 0; i < peers.n; i++)
		chan_event(peers.v[i], MSG_AUTH_EV_CHANGED, &b, -1);
	buf_done(&b);
	LOG_INFO("auth.changed", L_HEX("account", c->account), L_STR("user", c->address),
	    L_U64("generation", c->generation), L_U64("enabled", c->enabled),
	    L_U64("deleted", c->deleted));
}

static void
tell_purged(void *arg, const struct auth_changed *c)
{
	struct buf b = { 0 };

	auth_changed_put(&b, c);
	chan_event(arg, MSG_AUTH_EV_CHANGED, &b, -1);
	buf_done(&b);
}

static void
peer_changed(struct service *s, struct peer *p, bool up)
{
	if (chan_peer_role(p) == ROLE_CLI)
		return;
	if (up && chan_peer_role(p) == ROLE_MAILD) /* it may have been away when that happened */
		directory_purged(authd.questions, clock_real_us() / 1000 - PURGED_TOLD_MS, tell_purged, p);
	if (up && peers.n < PEERS_MAX)
		peers.v[peers.n++] = p;
	for (size_t i = 0; !up && i < peers.n; i++)
		if (peers.v[i] == p)
			peers.v[i--] = peers.v[--peers.n];
}

/* ---- the service ---- */

static struct confine_spec confinement = { .kind = CONFINE_STORE };

static int
open_directory(const struct settings *st, struct err *e)
{
	static char dir[4096];
	int r;

	if (st->dir_dir.n >= sizeof dir)
		return err_set(e, -ENAMETOOLONG, "directory folder");
	memcpy(dir, st->dir_dir.p, st->dir_dir.n);
	confinement.paths[0] = (struct confine_path){ dir, true };
	r = directory_lock(dir, &authd.lock_fd, e);
	if (!r)
		r = authd_scram_init(dir, e);
	if (!r)
		r = directory_open(dir, &authd.changes, e);
	if (!r)
		r = directory_configured(authd.changes, st->domains, st->n_domains, e);
	if (!r)
		r = directory_open(dir, &authd.questions, e);
	if (!r)
		r = authd_route_init(dir, st, e);
	authd_route_paths(st, confinement.paths + 1, sizeof confinement.paths / sizeof *confinement.paths - 1);
	return r;
}

static int
init(struct service *s, struct err *e)
{
	const struct settings *st = service_settings(s);
	uint64_t max_ms = st->auth_delay_max_ms;
	int r;

	authd.service = s;
	authd.by_account = penalty_new(65536, 3, max_ms);
	authd.by_network = penalty_new(65536, 20, max_ms);
	authd.passwords = recent_new(65536, PASSWORD_LIFE_MS);
	authd.networks = recent_new(262144, NETWORK_LIFE_MS);
	if (!authd.by_account || !authd.by_network || !authd.passwords || !authd.networks)
		return err_set(e, -ENOMEM, "no memory");
	authd_oauth_config(st);
	r = open_directory(st, e);
	return r ? r : authd_login_init(st->password_cost ? st->password_cost : 5, e);
}

static int
start(struct service *s, struct err *e)
{
	unsigned n = service_settings(s)->auth_threads;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	authd.workers = workers_new(service_loop(s), n ? n : cores > 0 ? (unsigned)cores : 2,
	    WAITING_MAX, e);
	authd_route_start();
	return authd.workers ? 0 : -EAGAIN;
}

/* The domains of a new configuration; hashing costs and delays are read anew at
 * each use. Reloads are rare: the loop may wait for this one write. */
static void
config(struct service *s, const struct settings *st)
{
	struct auth_changed all = { .enabled = true };
	struct err e;

	authd_oauth_config(st);
	penalty_max(authd.by_account, st->auth_delay_max_ms);
	penalty_max(authd.by_network, st->auth_delay_max_ms);
	if (directory_configured(authd.questions, st->domains, st->n_domains, &e))
		LOG_ERROR("auth.directory", L_C("text", e.text));
	authd_route_config(st);
	authd_tell(&all);
}

static void
stopped(void *arg)
{
	authd_route_stop();
	directory_close(&authd.questions);
	directory_close(&authd.changes);
	service_stopped(arg);
}

/* What the workers have finished was posted to the loop before `stopped` is. */
static void
stop(struct service *s)
{
	workers_free(&authd.workers);
	loop_post(service_loop(s), stopped, s);
}

static const struct msg_handler handlers[] = {
	{ MSG_AUTH_RESOLVE, "resolve", authd_resolve, 0 },
	{ MSG_AUTH_REWRITE, "rewrite", authd_rewrite, 0 },
	{ MSG_AUTH_LOGIN, "login", authd_login, 0 },
	{ MSG_AUTH_RENEW, "renew", handle_renew, 0 },
	{ MSG_AUTH_ACCOUNT, "account", handle_account, 0 },
	{ MSG_AUTH_ADMIN, "admin", authd_admin, 0 },
};

int
main(int argc, char **argv)
{
	static const struct service_spec spec = {
		.role = ROLE_AUTHD,
		.handlers = handlers,
		.n_handlers = sizeof handlers / sizeof *handlers,
		.init = init,
		.start = start,
		.config = config,
		.peer = peer_changed,
		.stop = stop,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
