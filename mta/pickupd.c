/*
 * pickupd: takes in what local users left in the maildrop (sendmail(1)).
 *
 *	sendmail --file--> maildrop/new --> pickupd --> submitd (--> queued)
 *	                        |                  \--> bounced: who was refused
 *	                        +--> maildrop/bad: what is no message
 *
 * A pass walks over the folder and hands each finished file to a coroutine. A message
 * goes through these steps, each of which may be repeated after a crash: submitted under
 * a deduplication key made of the file's name and time; refused recipients told to the
 * sender, under a key of bounced's; file removed. What cannot be taken now stays in the
 * folder, with a growing wait kept in memory.
 *
 * A file is read on the loop: nobody waits for this program.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/client/bounce.h"
#include "lib/client/drop.h"
#include "lib/client/submit.h"
#include "lib/mail/header.h"
#include "lib/proc/metrics.h"
#include "lib/proc/service.h"
#include "mta/maildrop.h"

#define ACTIVE_MAX 16u
#define PASS_MS 30000u           /* also without a sign that something came */
#define SETTLE_MS 5u             /* from a sign to a pass: several come at a time */
#define WAIT_MIN_MS 2000u
#define WAIT_MAX_MS 300000u
#define WAITING_MAX 100000u      /* names remembered */
#define ARENA_MAX (16u << 20)
#define BOUNCE_WAIT_MS 600000u
/* Events of a message as bounced knows them, beside those of queued (small numbers). */
#define EVENT_REFUSED (UINT64_C(1) << 48)
#define EVENT_POSTMASTER (UINT64_C(1) << 49)

static struct metric taken = METRIC_COUNTER("pickup_messages_total", "result=\"accepted\"",
    "Messages from the maildrop");
static struct metric failed = METRIC_COUNTER("pickup_messages_total", "result=\"refused\"",
    "Messages from the maildrop");
static struct metric deferred = METRIC_COUNTER("pickup_messages_total", "result=\"deferred\"",
    "Messages from the maildrop");
static struct metric bad = METRIC_COUNTER("pickup_bad_files_total", NULL,
    "Files in the maildrop that are no messages");

/* A name that was looked at: in work, or to be tried again later. */
struct seen {
	bool active;
	bool dead;               /* cannot even be set aside: left alone */
	uint64_t due_ms, wait_ms;
	unsigned pass;           /* the last one that saw it */
};

static struct {
	struct service *service;
	struct maildrop drop;
	struct strmap seen;
	struct watch notify;
	struct timer pass_timer;
	uint64_t content_bytes;
	unsigned active, pass;
	bool walking, again;     /* a pass runs; another is to follow */
	bool stopping;
} pickupd;

/* One message on its way. */
struct job {
	char name[256];
	struct arena *arena;
	struct buf text;
	size_t counted;          /* of it, in pickupd.content_bytes */
	struct maildrop_file file;
	struct drop drop;
};

static const struct settings *
settings(void)
{
	return service_settings(pickupd.service);
}

static void schedule(uint64_t ms);

/* ---- what becomes of a file ---- */

static void
set_aside(const char *name, const struct maildrop_file *f, const char *why)
{
	int rc = maildrop_set_aside(&pickupd.drop, name);
	struct seen *s = strmap_get(&pickupd.seen, str_c(name));

	metric_add(&bad, 1);
	LOG_WARN("pickup.bad_file", L_C("file", name), L_U64("uid", f->uid), L_U64("size", f->size),
	    L_C("why", why), L_C("now", rc > 0 ? "in bad/" : rc ? "left where it is" : "removed"));
	if (s && rc < 0)
		s->dead = true;
}

static void
remove_file(const struct job *j)
{
	int rc = maildrop_remove(&pickupd.drop, j->name);

	if (rc && rc != -ENOENT)
		LOG_ERROR("pickup.not_removed", L_C("file", j->name), L_C("error", strerror(-rc)));
}

/* ---- the message ---- */

/* An address of this site when it has no domain. */
static struct str
qualified(struct job *j, struct str address)
{
	if (!address.n || str_rchr(address, '@') >= 0)
		return address;
	return arena_printf(j->arena, "%.*s@%.*s", STR_ARG(address), STR_ARG(settings()->origin_domain));
}

/* The login name as the file says it (any sender may be claimed, so this needs no proof), or
 * the number. */
static struct str
owner(struct job *j)
{
	if (j->drop.login.n)
		return j->drop.login;
	return arena_printf(j->arena, "uid%u", (unsigned)j->file.uid);
}

static bool
has_from(struct str header)
{
	struct str raw;

	return header_find(header, STR("From"), &raw) || header_find(header, STR("Resent-From"), &raw);
}

static bool
is_atom_text(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_isalnum(s.p[i]) && !strchr(" !#$%&'*+-/=?^_`{|}~", s.p[i]))
			return false;
	return true;
}

/* `From: Full Name <address>` in front of a message that has none. */
static struct str
with_from(struct job *j, struct str from)
{
	struct str name = str_trim(j->drop.name);
	struct buf b = { 0 };
	struct str out;

	if (has_from(j->drop.content) || !from.n)
		return j->drop.content;
	buf_puts(&b, "From: ");
	if (name.n && !is_atom_text(name)) {
		buf_putc(&b, '"');
		for (size_t i = 0; i < name.n; i++) {
			if (name.p[i] == '"' || name.p[i] == '\\')
				buf_putc(&b, '\\');
			buf_putc(&b, name.p[i]);
		}
		buf_puts(&b, "\" ");
	} else if (name.n) {
		buf_printf(&b, "%.*s ", STR_ARG(name));
	}
	buf_printf(&b, "<%.*s>\r\n", STR_ARG(from));
	buf_str(&b, j->drop.content);
	out = str_from(b.p, b.n);
	if (b.over || arena_defer(j->arena, free, b.p))
		return j->drop.content;
	return out;
}

static int
request(struct job *j, struct submit_request *q)
{
	const struct drop *d = &j->drop;
	struct str sender = d->has_sender ? d->sender : owner(j);

	*q = (struct submit_request){ .sender = qualified(j, sender), .n_rcpts = d->n_rcpts,
		.envid = d->envid, .ret = d->ret, .notify = d->notify, .body = d->body, .partial = true };
	q->client = arena_printf(j->arena, "userid %u", (unsigned)j->file.uid);
	q->dedup_key = arena_printf(j->arena, "drop %s %llu", j->name,
	    (unsigned long long)j->file.mtime_ms);
	q->rcpts = ARENA_ARRAY(j->arena, struct str, d->n_rcpts);
	if (!q->rcpts || !q->client.p || !q->dedup_key.p)
		return -ENOMEM;
	for (size_t i = 0; i < d->n_rcpts; i++)
		q->rcpts[i] = qualified(j, d->rcpts[i]);
	q->content = with_from(j, d->has_sender && !d->sender.n ? qualified(j, owner(j)) : q->sender);
	return 0;
}

/* ---- who was refused ---- */

static void
log_refused(const struct job *j, const struct submit_request *q, const struct submit_refused *r)
{
	LOG_INFO("pickup.refused", L_C("file", j->name), L_U64("uid", j->file.uid),
	    L_STR("from", q->sender), L_STR("to", r->address), L_U64("smtp", r->smtp),
	    L_STR("enhanced", r->enhanced), L_STR("text", r->text));
}

/* The sender may have said that he does not want to know (RFC 3461 section 4.1). */
static bool
wants_to_know(const struct job *j)
{
	return !j->drop.notify || (j->drop.notify & NOTIFY_FAILURE);
}

static int
ask_bounced(struct job *j, const struct bounce_request *r, struct bounce_answer *ret)
{
	struct chan *c = chan_to(ROLE_BOUNCED, 0);
	struct bounce_request q = *r;
	struct wire_error we;
	struct buf b = { 0 };
	struct frame f;
	int fd = -1, rc = c ? 0 : -ENOTCONN;

	if (!rc && q.content.n > WIRE_INLINE) {
		q.content = STR_NULL;
		rc = fd = submit_sealed(r->content);
		rc = rc < 0 ? rc : 0;
	}
	if (!rc) {
		struct iovec iov;

		bounce_request_put(&b, &q);
		iov = (struct iovec){ b.p, b.n };
		rc = b.over ? -ENOMEM : chan_call(c, MSG_BOUNCE_NOTIFY, &iov, 1, fd, BOUNCE_WAIT_MS, j->arena,
		    &f, &we);
	}
	buf_done(&b);
	if (fd >= 0)
		close(fd);
	return rc ? rc : bounce_answer_get(f.body, ret);
}

/* To the sender; when he cannot be told, to the postmaster. 0, or negative: not now. */
static int
notify(struct job *j, struct bounce_request *r)
{
	struct bounce_answer a = { 0 };
	int rc = ask_bounced(j, r, &a);

	if (!rc && a.outcome == BOUNCE_REFUSED && r->kind == BOUNCE_SENDER) {
		r->kind = BOUNCE_POSTMASTER;
		r->event |= EVENT_POSTMASTER;
		rc = ask_bounced(j, r, &a);
	}
	return rc ? rc : a.outcome == BOUNCE_TEMPFAIL ? -EAGAIN : 0;
}

/* Tells who was refused, in as many notices as they take; each comes once however often this is
 * asked again. 0, or negative: not now. */
static int
tell_refused(struct job *j, const struct submit_request *q, uint64_t spool_id,
    const struct submit_refused *v, size_t n)
{
	struct bounce_request r = { .sender = q->sender, .envid = q->envid, .ret = q->ret,
		.flags = ENV_LOCAL, .arrived_us = j->file.mtime_ms * 1000, .size = q->content.n,
		.client_name = q->client, .content = q->content,
		.spool_id = spool_id ? spool_id : j->file.mtime_ms * 1000 };
	int rc = 0;

	r.rcpts = n ? ARENA_ARRAY(j->arena, struct bounce_rcpt, n) : NULL;
	if (n && !r.rcpts)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		log_refused(j, q, &v[i]);
		r.rcpts[i] = (struct bounce_rcpt){ .address = v[i].address, .action = BOUNCE_FAILED,
			.smtp = v[i].smtp, .enhanced = v[i].enhanced, .text = v[i].text };
	}
	while (n && !rc && wants_to_know(j)) {
		r.n_rcpts = n < BOUNCE_RCPTS_MAX ? n : BOUNCE_RCPTS_MAX;
		r.kind = q->sender.n ? BOUNCE_SENDER : BOUNCE_POSTMASTER;
		r.event = EVENT_REFUSED + n;
		rc = notify(j, &r);
		r.rcpts += r.n_rcpts;
		n -= r.n_rcpts;
	}
	return rc;
}

/* The whole message was refused: so was each recipient. */
static int
tell_all_refused(struct job *j, const struct submit_request *q, const struct submit_answer *a)
{
	struct submit_refused *v = ARENA_ARRAY(j->arena, struct submit_refused, q->n_rcpts);

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < q->n_rcpts; i++)
		v[i] = (struct submit_refused){ q->rcpts[i], a->smtp, a->enhanced, a->text };
	return tell_refused(j, q, 0, v, q->n_rcpts);
}

/* ---- handing over ---- */

static bool
lived_long_enough(const struct job *j)
{
	return clock_real_us() / 1000 > j->file.mtime_ms + settings()->queue_lifetime_ms;
}

/* Submits it. True when the file has had its end. */
static bool
submit(struct job *j)
{
	struct submit_request q;
	struct submit_answer a = { 0 };
	int rc = request(j, &q);

	if (!rc)
		rc = submit_message(&q, j->arena, &a);
	if (!rc && a.smtp == 250 && !(rc = tell_refused(j, &q, a.spool_id, a.refused, a.n_refused))) {
		if (a.spool_id)
			LOG_INFO("pickup.accepted", L_C("file", j->name), L_HEX("qid", a.spool_id),
			    L_U64("uid", j->file.uid), L_STR("from", q.sender),
			    L_U64("rcpts", q.n_rcpts - a.n_refused), L_U64("size", q.content.n));
		metric_add(a.spool_id ? &taken : &failed, 1);
		remove_file(j);
		return true;
	}
	if (!rc && (a.smtp >= 500 || lived_long_enough(j)) && !(rc = tell_all_refused(j, &q, &a))) {
		metric_add(&failed, 1);
		set_aside(j->name, &j->file, arena_printf(j->arena, "refused: %u %.*s %.*s", a.smtp,
		    STR_ARG(a.enhanced), STR_ARG(a.text)).p);
		return true;
	}
	metric_add(&deferred, 1);
	LOG_INFO("pickup.deferred", L_C("file", j->name), L_U64("uid", j->file.uid),
	    L_U64("smtp", a.smtp), L_STR("text", rc ? str_c(strerror(-rc)) : a.text));
	return false;
}

/* ---- a file ---- */

/* True when there is nothing more to do with it. */
static bool
take(struct job *j)
{
	int rc;

	switch (maildrop_read(&pickupd.drop, j->name, &j->text, &j->file)) {
	case MAILDROP_READY:
		break;
	case MAILDROP_BAD:
		set_aside(j->name, &j->file, j->file.why);
		return true;
	case MAILDROP_UNREADABLE:
		LOG_WARN("pickup.unreadable", L_C("file", j->name), L_C("why", j->file.why));
		return false;
	case MAILDROP_UNFINISHED:
		return false;
	case MAILDROP_GONE:
		return true;
	}
	j->counted = j->text.n;
	pickupd.content_bytes += j->counted;
	rc = drop_get(buf_view(&j->text), j->arena, &j->drop);
	if (rc == -ENOMEM)
		return false;
	if (!rc)
		return submit(j);
	set_aside(j->name, &j->file, rc == -ENOTSUP ? "of another version" : rc == -E2BIG ?
	    "too many recipients" : "damaged");
	return true;
}

static void
later(struct seen *s)
{
	s->wait_ms = s->wait_ms ? s->wait_ms * 2 : WAIT_MIN_MS;
	if (s->wait_ms > WAIT_MAX_MS)
		s->wait_ms = WAIT_MAX_MS;
	s->due_ms = clock_ms() + s->wait_ms;
	schedule(s->wait_ms);
}

static void
run(void *arg)
{
	struct job *j = arg;
	struct seen *s = strmap_get(&pickupd.seen, str_c(j->name));
	bool done;

	buf_init(&j->text, settings()->message_size_limit + DROP_HEAD_MAX + 65536);
	done = take(j);
	pickupd.content_bytes -= j->counted;
	pickupd.active--;
	s->active = false;
	if (!done) {
		later(s);
	} else if (!s->dead) {
		strmap_del(&pickupd.seen, str_c(j->name));
		free(s);
	}
	buf_done(&j->text);
	arena_free(&j->arena);
	free(j);
	if (pickupd.again)
		schedule(SETTLE_MS);
}

static void
begin(const char *name, struct seen *s)
{
	struct job *j = calloc(1, sizeof *j);

	if (!j || !(j->arena = arena_new(ARENA_MAX))) {
		free(j);
		return;
	}
	snprintf(j->name, sizeof j->name, "%s", name);
	s->active = true;
	pickupd.active++;
	if (co_spawn(service_loop(pickupd.service), "pickup", run, j)) {
		s->active = false;
		pickupd.active--;
		arena_free(&j->arena);
		free(j);
	}
}

/* ---- the folder ---- */

static struct seen *
remember(const char *name)
{
	struct seen *s = strmap_get(&pickupd.seen, str_c(name));

	if (s || pickupd.seen.n >= WAITING_MAX)
		return s;
	s = calloc(1, sizeof *s);
	if (s && strmap_set(&pickupd.seen, str_c(name), s)) {
		free(s);
		return NULL;
	}
	return s;
}

/* Names that are gone. */
static void
forget(void)
{
	struct str name;
	struct seen *s;
	size_t at = 0;

	while ((s = strmap_next(&pickupd.seen, &at, &name)))
		if (!s->active && s->pass != pickupd.pass) {
			strmap_del(&pickupd.seen, name);
			free(s);
		}
}

static bool
is_busy(void)
{
	return pickupd.active >= ACTIVE_MAX ||
	    (pickupd.active && pickupd.content_bytes > settings()->smtp_memory_limit / 2);
}

/* False when no more can be begun now. */
static bool
look_at(const char *name)
{
	struct seen *s = remember(name);

	if (!s)
		return true;
	s->pass = pickupd.pass;
	if (s->active || s->dead || s->due_ms > clock_ms())
		return true;
	if (is_busy())
		return false;
	begin(name, s);
	return true;
}

static void
walk(DIR *d)
{
	const struct dirent *f;
	bool all = true;

	pickupd.pass++;
	while (all && (f = readdir(d)))
		if (f->d_name[0] != '.')
			all = look_at(f->d_name);
	pickupd.again = !all;
	if (all)
		forget();
}

static void
pass(void *arg)
{
	int fd = openat(pickupd.drop.new_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	schedule(PASS_MS);
	if (pickupd.stopping || pickupd.walking || !d) {
		if (!d && fd >= 0)
			close(fd);
	} else {
		pickupd.walking = true;
		walk(d);
		pickupd.walking = false;
	}
	if (d)
		closedir(d);
}

/* A pass in ms milliseconds, or sooner when one is due sooner. */
static void
schedule(uint64_t ms)
{
	struct timer *t = &pickupd.pass_timer;

	if (!t->pos || t->due > clock_ms() + ms)
		loop_timer(service_loop(pickupd.service), t, ms, pass, NULL);
}

static void
on_notify(struct watch *w, uint32_t events)
{
	char mem[4096];

	while (read(w->fd, mem, sizeof mem) > 0)
		;
	schedule(SETTLE_MS);
}

/* ---- the process ---- */

static struct confine_spec confinement = { .kind = CONFINE_STORE };

static int
watch_folder(struct str dir, struct err *e)
{
	char path[4096];
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	snprintf(path, sizeof path, "%.*s/new", STR_ARG(dir));
	if (fd < 0 || inotify_add_watch(fd, path, IN_CLOSE_WRITE | IN_MOVED_TO) < 0)
		return err_sys(e, -errno, "cannot watch %s", path);
	pickupd.notify = (struct watch){ .fd = fd, .fn = on_notify };
	return 0;
}

static int
pickupd_init(struct service *s, struct err *e)
{
	static char path[4096];
	struct str dir = service_settings(s)->maildrop_dir;
	int rc = maildrop_open(&pickupd.drop, dir, e);

	pickupd.service = s;
	snprintf(path, sizeof path, "%.*s", STR_ARG(dir));
	confinement.paths[0] = (struct confine_path){ path, true };
	return rc ? rc : watch_folder(dir, e);
}

static int
pickupd_start(struct service *s, struct err *e)
{
	schedule(SETTLE_MS);
	return loop_watch_level(service_loop(s), &pickupd.notify, e);
}

static void
let_go(void)
{
	maildrop_close(&pickupd.drop);
}

/* What was begun is finished; the rest waits in the folder. */
static void
pickupd_stop(struct service *s)
{
	pickupd.stopping = true;
	service_finish(s, &pickupd.active, let_go);
}

int
main(int argc, char **argv)
{
	static const struct service_spec spec = {
		.role = ROLE_PICKUPD,
		.init = pickupd_init,
		.start = pickupd_start,
		.stop = pickupd_stop,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
