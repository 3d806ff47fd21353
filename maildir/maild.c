/*
 * maild: the mail store's daemon. The loop's thread takes frames, checks tickets
 * and handles, and posts; what touches files runs on the workers (actor.h,
 * deliver.h). This file is the skeleton: set-up, handles, upkeep, the way out.
 * The mailbox calls are in maildir/calls.c.
 */
#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/client/auth.h"
#include "lib/client/store_wire.h"
#include "lib/proc/service.h"
#include "maildir/admin.h"
#include "maildir/calls.h"
#include "maildir/deliver.h"
#include "maildir/inquiry.h"
#include "maildir/purge.h"
#include "maildir/takein.h"
#include "maildir/upkeep.h"

enum {
	THREADS = 16,
	FDS_PER_ACCOUNT = 6,
	FDS_SPARE = 500,        /* for messages that are on their way in and out */
	OPEN_MIN = 50,
	OPEN_MAX = 4000,        /* for the sake of memory */
	TICK_MS = 1000,
	STOP_TICK_MS = 20,
	STOP_MS = 20 * 1000,
	EXPIRY_GRACE_MS = 60 * 1000,
	HANDLES_PER_PEER = 100000,
	VOLUMES_MAX = 64,
	SWEEPS_PER_TICK = 8,
	SWEEP_QUIET_MS = 500,   /* without deliveries, before new/ is swept, */
	SWEEP_ANYWAY = 10,      /* unless that many times the bound of files wait */
};

/* The program's state. seats: of the volumes, which are the directories of store_dir
 * whose name is a number; 0 is always there. */
static struct {
	struct service *service;
	struct sched *sched;
	struct actors *actors;
	struct volume_seat seats[VOLUMES_MAX];
	size_t n_seats;
	struct timer tick;
	uint64_t delivered_at;     /* clock_ms() of the last deliver frame */
	uint64_t stop_by;
	bool stopping;
} maild;

/* A front end's handles: number -> struct handle. */
struct front {
	struct map handles;
};

/* NULL: there is no such volume here. */
static struct volume_seat *
seat_of(uint32_t number)
{
	for (size_t i = 0; i < maild.n_seats; i++)
		if (volume_number(maild.seats[i].volume) == number)
			return &maild.seats[i];
	return NULL;
}

static bool
is_mine(uint32_t slot)
{
	return slot % service_instances(maild.service) == service_instance(maild.service);
}

static void
answer_code(struct peer *p, const struct frame *f, int code, struct str text)
{
	struct wire_error we = { .code = code, .text = text };

	if (f->fd >= 0)
		close(f->fd);
	chan_answer_error(p, f->id, f->type, &we);
}

/* ---- handles ---- */

static void
drop_handle(struct front *fr, struct handle *h)
{
	map_del(&fr->handles, h->number);
	actor_detach(maild.actors, h);
	chan_peer_unref(&h->peer);
	free(h);
}

static void
on_peer(struct service *s, struct peer *p, bool up)
{
	struct front *fr = chan_peer_user(p);
	struct handle *h;
	size_t pos = 0;

	if (up) {
		chan_peer_set_user(p, calloc(1, sizeof *fr));
		return;
	}
	chan_peer_set_user(p, NULL);
	if (!fr)
		return;
	while ((h = map_next(&fr->handles, &pos, NULL)))
		drop_handle(fr, h);
	map_done(&fr->handles);
	free(fr);
}

static struct handle *
handle_of(struct peer *p, uint64_t number)
{
	struct front *fr = chan_peer_user(p);

	return fr ? map_get(&fr->handles, number) : NULL;
}

/* 0 and the ticket when it is good for mail of an account that lives here. */
static int
check_ticket(struct peer *p, struct str sealed, struct ticket *ret)
{
	int r = ticket_open(sealed, service_ticket_key(maild.service), chan_peer_number(p), ret);

	if (r < 0)
		return r;
	if (!(ret->rights & TICKET_MAIL))
		return -EACCES;
	return seat_of(ret->volume) && is_mine(ret->slot) ? 0 : -EXDEV;
}

static int
new_handle(struct peer *p, uint64_t number, const struct ticket *t, struct handle **ret)
{
	struct front *fr = chan_peer_user(p);
	struct handle *h;
	int r;

	if (!fr || !number || map_get(&fr->handles, number))
		return -EPROTO;
	if (fr->handles.n >= HANDLES_PER_PEER)
		return -EAGAIN;
	h = calloc(1, sizeof *h);
	if (!h)
		return -ENOMEM;
	h->number = number;
	h->generation = t->generation;
	h->expires_ms = t->expires_ms;
	h->peer = chan_peer_ref(p);
	r = actor_attach(maild.actors, seat_of(t->volume), t->account, h);
	if (r == 0 && (r = map_set(&fr->handles, number, h)) < 0)
		actor_detach(maild.actors, h);
	if (r < 0) {
		chan_peer_unref(&h->peer);
		free(h);
		return r;
	}
	*ret = h;
	return 0;
}

/* On a coroutine: authd says what the account may hold. */
static void
on_attach(struct peer *p, struct frame *f)
{
	struct arena *a = arena_new(1 << 20);
	struct account_record rec = { 0 };
	struct store_request q;
	struct handle *h;
	struct ticket t;
	uint64_t id = f->id;
	int r = a ? store_request_get(f->body, f->fd, a, &q) : -ENOMEM;

	if (r == 0)
		r = maild.stopping ? -EAGAIN : check_ticket(p, q.ticket, &t);
	if (r == 0)
		r = auth_account(t.account, a, &rec);
	if (r == 0 && (!rec.enabled || rec.generation > t.generation))
		r = -EACCES;
	if (r == 0)
		r = new_handle(p, q.handle, &t, &h);
	if (r == 0) {
		actor_set_quota(h->actor, rec.quota);
		r = call_attach(h, id, f->type);
		if (r < 0)
			drop_handle(chan_peer_user(p), h);
	}
	if (r < 0)
		answer_code(p, f, r, STR("The account cannot be opened"));
	else if (f->fd >= 0)
		close(f->fd);
	arena_free(&a);
}

static void
on_detach(struct peer *p, struct frame *f)
{
	struct arena *a = arena_new(1 << 20);
	struct store_request q;
	struct handle *h = NULL;

	if (a && store_request_get(f->body, f->fd, a, &q) == 0)
		h = handle_of(p, q.handle);
	if (h)
		drop_handle(chan_peer_user(p), h);
	if (f->fd >= 0)
		close(f->fd);
	chan_answer(p, f->id, f->type, &(struct buf){ 0 }, -1);
	arena_free(&a);
}

static void
on_renew(struct peer *p, struct frame *f)
{
	struct arena *a = arena_new(1 << 20);
	struct store_request q;
	struct handle *h = NULL;
	struct ticket t;
	int r = a ? store_request_get(f->body, f->fd, a, &q) : -ENOMEM;

	if (r == 0) {
		h = handle_of(p, q.handle);
		r = !h || atomic_load(&h->is_void) ? -ESTALE : check_ticket(p, q.ticket, &t);
	}
	if (r == 0 && t.account != handle_account(h))
		r = -EACCES;
	if (r < 0) {
		answer_code(p, f, r, STR("The ticket cannot be renewed"));
	} else {
		h->expires_ms = t.expires_ms;
		h->generation = t.generation;
		if (f->fd >= 0)
			close(f->fd);
		chan_answer(p, f->id, f->type, &(struct buf){ 0 }, -1);
	}
	arena_free(&a);
}

/* Every call on a handle. */
static void
on_call(struct peer *p, struct frame *f)
{
	struct arena *a = arena_new(64 << 20);
	struct store_request q;
	struct handle *h;
	struct str body = a ? arena_dup(a, f->body) : STR_NULL;
	int r = body.p ? store_request_get(body, f->fd, a, &q) : -ENOMEM;

	if (r == 0) {
		h = handle_of(p, q.handle);
		if (!h || atomic_load(&h->is_void) || maild.stopping ||
		    h->expires_ms + EXPIRY_GRACE_MS < clock_real_us() / 1000)
			r = -ESTALE;
		else
			r = call_post(h, f, a, &q);
	}
	if (r == 0)
		return;
	answer_code(p, f, r, r == -ESTALE ? STR("The handle is void") :
	    STR("The request cannot be taken"));
	arena_free(&a);
}

/* ---- queued and smtpd ---- */

static void
on_deliver(struct peer *p, struct frame *f)
{
	if (maild.stopping) {
		answer_code(p, f, -EAGAIN, STR("The mail store is stopping"));
		return;
	}
	maild.delivered_at = clock_ms();
	deliver_frame(maild.actors, maild.sched, seat_of, p, f);
}

static void
on_low_water(struct peer *p, struct frame *f)
{
	struct arena *a = arena_new(0);
	struct low_water w;

	if (a && low_water_get(f->body, a, &w) == 0)
		actors_low_water(maild.actors, &w);
	if (f->fd >= 0)
		close(f->fd);
	chan_answer(p, f->id, f->type, &(struct buf){ 0 }, -1);
	arena_free(&a);
}

/* Unknown accounts have room, and so have those of other places: the delivery itself
 * counts exactly. */
static void
on_room(struct peer *p, struct frame *f)
{
	struct wire_error we = { 0 };
	struct room_request q;
	struct volume_seat *seat;
	int r = room_request_get(f->body, &q);

	if (f->fd >= 0)
		close(f->fd);
	seat = r == 0 ? seat_of(q.volume) : NULL;
	if (seat && q.quota && q.size > q.quota)
		r = -EFBIG;
	else if (seat)
		r = ledger_room(volume_ledger(seat->volume), q.account, q.quota, q.size);
	if (seat && (r == 0 || r == -EAGAIN))
		r = volume_fits(seat->volume, q.size);
	if (r < 0) {
		deliver_refusal(r, &we);
		chan_answer_error(p, f->id, f->type, &we);
	} else {
		chan_answer(p, f->id, f->type, &(struct buf){ 0 }, -1);
	}
}

static void
on_admin(struct peer *p, struct frame *f)
{
	struct volume_seat *seat = NULL;
	struct store_admin q;
	int r = maild.stopping ? -EAGAIN : store_admin_get(f->body, &q);

	if (r == 0 && q.account && (!is_mine(account_slot(q.account)) || !(seat = seat_of(q.volume))))
		r = -EXDEV;
	if (r == 0 && !q.account)
		admin_stat_all(maild.actors, maild.seats, maild.n_seats, p, f);
	else if (r == 0)
		r = admin_post(maild.actors, seat, p, f, &q);
	if (r < 0)
		answer_code(p, f, r, STR("The account is not of this maild"));
	else if (f->fd >= 0)
		close(f->fd);
}

/* On a coroutine: a session goes by the quota of today. */
static void
learn_quota(void *arg)
{
	uint64_t *account = arg;
	struct arena *a = arena_new(1 << 20);
	struct account_record rec;

	if (a && auth_account(*account, a, &rec) == 0)
		actors_set_quota(maild.actors, *account, rec.quota);
	arena_free(&a);
	free(account);
}

static void
ask_quota(uint64_t account)
{
	uint64_t *arg = malloc(sizeof *arg);

	if (!arg)
		return;
	*arg = account;
	if (co_spawn(service_loop(maild.service), "quota", learn_quota, arg) < 0)
		free(arg);
}

static void
on_changed(void *arg, struct chan *c, const struct frame *f)
{
	struct auth_changed ch;
	struct volume_seat *seat;

	if (auth_changed_get(f->body, &ch) < 0 || !ch.account || !is_mine(ch.slot))
		return;
	actors_revoke(maild.actors, ch.account, ch.enabled && !ch.deleted ? ch.generation : UINT64_MAX);
	if (!ch.deleted && actors_know_quota(maild.actors, ch.account))
		ask_quota(ch.account);
	seat = ch.deleted && ch.purge ? seat_of(ch.volume) : NULL;
	if (seat && !maild.stopping)
		purge_post(maild.actors, seat, ch.account);
}

/* ---- upkeep and the way out ---- */

static void
on_fail(void *arg, int code)
{
	struct volume_seat *seat = arg;

	LOG_ERROR("store.volume_failed", L_C("path", volume_path(seat->volume)), L_I64("code", code));
	actors_lose_volume(maild.actors, seat->volume, code);
}

/* On a worker: the disk may take its time. */
static void
revive(struct work *w)
{
	struct volume_seat *seat = LIST_ENTRY(w, struct volume_seat, revival);
	struct err e = { 0 };

	if (volume_revive(seat->volume, &e) == 0)
		LOG_WARN("store.volume_revived", L_C("path", volume_path(seat->volume)));
	else
		LOG_ERROR("store.volume_failed", L_C("path", volume_path(seat->volume)),
		    L_C("text", e.text));
	atomic_store(&seat->reviving, false);
}

static void
look_after(struct volume_seat *seat, uint64_t now)
{
	if (!volume_failed(seat->volume)) {
		seat->failed_at = 0;
		return;
	}
	if (!seat->failed_at)
		seat->failed_at = now;
	if (now - seat->failed_at < VOLUME_REVIVE_MS || atomic_exchange(&seat->reviving, true))
		return;
	seat->failed_at = now;
	seat->revival.run = revive;
	sched_post(maild.sched, &seat->lane, &seat->revival);
}

/* While mail streams in, a sweep would only take the disk's time from it. */
static void
sweep(struct volume_seat *seat, uint64_t now)
{
	const struct settings *st = service_settings(maild.service);
	bool busy = now < maild.delivered_at + SWEEP_QUIET_MS;
	uint32_t files = (uint32_t)st->take_in_files * (busy ? SWEEP_ANYWAY : 1);
	uint64_t age = st->take_in_after_ms, account;

	for (int i = 0; i < SWEEPS_PER_TICK && ledger_due(volume_ledger(seat->volume), files,
	    now > age ? now - age : 0, &account); i++)
		call_sweep(maild.actors, seat, account);
}

static void
upkeep(uint64_t now)
{
	struct volume_seat *seat;
	uint64_t account;

	actors_tick(maild.actors, now);
	for (size_t i = 0; i < maild.n_seats; i++) {
		look_after(&maild.seats[i], now);
		sweep(&maild.seats[i], now);
	}
	while (actors_unasked(maild.actors, now, &seat, &account))
		call_sweep(maild.actors, seat, account);
	while (actors_quiet(maild.actors, now, &seat, &account))
		if (!upkeep_post(maild.actors, seat, account))
			break;
}

/* True when all is closed, or the time for that is over. */
static bool
closed(void)
{
	bool clean = actors_close_all(maild.actors), recovered;

	if (!clean && clock_ms() <= maild.stop_by)
		return false;
	recovered = actors_all_recovered(maild.actors);
	sched_free(&maild.sched);
	for (size_t i = 0; i < maild.n_seats; i++)
		volume_close(&maild.seats[i].volume, clean && recovered);
	return true;
}

static void
on_tick(void *arg)
{
	if (maild.stopping && closed()) {
		service_stopped(maild.service);
		return;
	}
	if (!maild.stopping)
		upkeep(clock_ms());
	loop_timer(service_loop(maild.service), &maild.tick, maild.stopping ? STOP_TICK_MS : TICK_MS,
	    on_tick, NULL);
}

static void
on_stop(struct service *s)
{
	maild.stopping = true;
	maild.stop_by = clock_ms() + STOP_MS;
	loop_timer(service_loop(s), &maild.tick, 1, on_tick, NULL);
}

static void
on_config(struct service *s, const struct settings *st)
{
	calls_flags_durable_now(st->flag_durability_now);
}

static struct confine_spec confinement = { .kind = CONFINE_STORE };
static char store_dir[4096];

static int
init(struct service *s, struct err *e)
{
	const struct settings *st = service_settings(s);
	int n = snprintf(store_dir, sizeof store_dir, "%.*s", STR_ARG(st->store_dir));

	if (n < 1 || (size_t)n >= sizeof store_dir)
		return err_set(e, -ENAMETOOLONG, "the store's path is too long");
	if (mkdir(store_dir, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "%s", store_dir);
	confinement.paths[0] = (struct confine_path){ store_dir, true };
	maild.service = s;
	return index_init(e);
}

static int
open_volume(struct service *s, uint32_t number, struct err *e)
{
	struct volume_options o = { .store_dir = store_dir, .number = number,
		.instance = service_instance(s), .instances = service_instances(s) };
	struct volume_seat *seat = &maild.seats[maild.n_seats];
	int r = volume_open(&o, &seat->volume, e);

	if (r < 0)
		return r;
	maild.n_seats++;
	sched_lane(maild.sched, &seat->lane);
	volume_on_fail(seat->volume, on_fail, seat);
	volume_on_group(seat->volume, deliver_group_synced, NULL);
	purge_left(maild.actors, seat);
	LOG_INFO("store.started", L_C("path", volume_path(seat->volume)),
	    L_HEX("run", volume_run(seat->volume)),
	    L_C("last_stop", volume_was_unclean(seat->volume) ? "unclean" : "clean"));
	return 0;
}

/* Further volumes. One that cannot be opened is reported, and the rest is served: its
 * mail waits in the spool. */
static void
open_volumes(struct service *s)
{
	DIR *d = opendir(store_dir);
	struct dirent *de;

	while (d && (de = readdir(d)) && maild.n_seats < VOLUMES_MAX) {
		struct err e = { 0 };
		char *end;
		unsigned long n = strtoul(de->d_name, &end, 10);

		if (de->d_name[0] < '1' || de->d_name[0] > '9' || *end || n > UINT32_MAX)
			continue;
		if (open_volume(s, (uint32_t)n, &e) < 0)
			LOG_ERROR("store.volume_failed", L_C("path", de->d_name), L_C("text", e.text));
	}
	if (d)
		closedir(d);
}

/* Accounts that may be open at once: set by the admin, or what descriptors allow. */
static unsigned
open_limit(const struct settings *st)
{
	struct rlimit l;

	if (st->open_accounts)
		return (unsigned)st->open_accounts;
	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur > FDS_SPARE + OPEN_MAX * FDS_PER_ACCOUNT)
		return OPEN_MAX;
	return l.rlim_cur > FDS_SPARE + OPEN_MIN * FDS_PER_ACCOUNT ?
	    (unsigned)(l.rlim_cur - FDS_SPARE) / FDS_PER_ACCOUNT : OPEN_MIN;
}

static int
start(struct service *s, struct err *e)
{
	const struct settings *st = service_settings(s);
	int r;

	maild.sched = sched_new(st->store_threads ? st->store_threads : THREADS, e);
	maild.actors = actors_new(maild.sched, open_limit(st));
	if (!maild.sched || !maild.actors)
		return err_set(e, -ENOMEM, "out of memory");
	calls_flags_durable_now(st->flag_durability_now);
	actors_on_take_in(maild.actors, takein_new);
	inquiry_init(service_loop(s));
	actors_on_inquiry(maild.actors, inquire);
	r = open_volume(s, 0, e);
	if (r < 0)
		return r;
	open_volumes(s);
	chan_on_event(ROLE_AUTHD, MSG_AUTH_EV_CHANGED, on_changed, NULL);
	loop_timer(service_loop(s), &maild.tick, TICK_MS, on_tick, NULL);
	return 0;
}

static const struct msg_handler handlers[] = {
	{ MSG_STORE_DELIVER, "deliver", on_deliver, 0 },
	{ MSG_STORE_ROOM, "room", on_room, 0 },
	{ MSG_STORE_LOW_WATER, "low_water", on_low_water, 0 },
	{ MSG_STORE_ATTACH, "attach", on_attach, MSG_CO },
	{ MSG_STORE_DETACH, "detach", on_detach, 0 },
	{ MSG_STORE_RENEW, "renew", on_renew, 0 },
	{ MSG_STORE_LIST, "list", on_call, 0 },
	{ MSG_STORE_CREATE, "create", on_call, 0 },
	{ MSG_STORE_DELETE, "delete", on_call, 0 },
	{ MSG_STORE_RENAME, "rename", on_call, 0 },
	{ MSG_STORE_SUBSCRIBE, "subscribe", on_call, 0 },
	{ MSG_STORE_SELECT, "select", on_call, 0 },
	{ MSG_STORE_SYNC, "sync", on_call, 0 },
	{ MSG_STORE_FACTS, "facts", on_call, 0 },
	{ MSG_STORE_CONTENT, "content", on_call, 0 },
	{ MSG_STORE_FLAGS, "flags", on_call, 0 },
	{ MSG_STORE_COPY, "copy", on_call, 0 },
	{ MSG_STORE_EXPUNGE, "expunge", on_call, 0 },
	{ MSG_STORE_APPEND, "append", on_call, 0 },
	{ MSG_STORE_STATUS, "status", on_call, 0 },
	{ MSG_STORE_QUOTA, "quota", on_call, 0 },
	{ MSG_STORE_ADMIN, "admin", on_admin, 0 },
};

static const struct service_spec spec = {
	.role = ROLE_MAILD,
	.handlers = handlers,
	.n_handlers = sizeof handlers / sizeof *handlers,
	.init = init,
	.start = start,
	.peer = on_peer,
	.config = on_config,
	.stop = on_stop,
	.confine = &confinement,
};

int
main(int argc, char **argv)
{
	return service_run(&spec, argc, argv);
}
