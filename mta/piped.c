/*
 * piped: deliveries that leave the mail system on this machine: a command that reads
 * the message, an mbox or a maildir. Aliases and forwards lead here.
 *
 *	queued --deliver--> piped --order--> runner: the child, as pipe.user
 *
 * This process reads the requests, the messages and what commands print, and can do
 * nothing else: it has a uid of its own, an empty root and a filter. The runner, started
 * before anything is read, has the uid of the deliveries and reads no more than orders.
 * Neither has anything of root's.
 *
 * A command is run at least once: one whose result is lost with this process is run
 * again.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proc/metrics.h"
#include "lib/proc/service.h"
#include "mta/pipe.h"

#define ARENA_MAX (1u << 20)
#define WAIT_MS 60000u      /* for a place among the processes */
#define WAITING_MAX 1000u

#define HELP "Deliveries to commands and files by result"
static struct metric done = METRIC_COUNTER("pipe_deliveries_total", "result=\"delivered\"", HELP);
static struct metric deferred = METRIC_COUNTER("pipe_deliveries_total", "result=\"deferred\"", HELP);
static struct metric rejected = METRIC_COUNTER("pipe_deliveries_total", "result=\"rejected\"", HELP);
static struct metric timeouts = METRIC_COUNTER("pipe_timeouts_total", NULL, "Commands ended by the time limit");
static struct metric bad_frames = METRIC_COUNTER("pipe_bad_frames_total", NULL, "Malformed requests");
static struct metric seconds = METRIC_HISTOGRAM("pipe_seconds", NULL, "Time of a delivery");

static struct {
	struct service *service;
	struct pipe_user user;
	int runner;               /* -1: there is no such user */
	struct watch runner_gone;
	unsigned running, waiting;
	bool stopping;
} piped = { .runner = -1 };

struct delivery {
	struct arena *arena;
	struct pipe_request req;
	struct str content;
	void *map;
	struct pipe_job job;
	struct pipe_end *end;
	struct pipe_answer answer;
};

static const struct settings *
settings(void)
{
	return service_settings(piped.service);
}

static bool
end(struct delivery *d, enum pipe_outcome outcome, unsigned smtp, struct str enhanced, struct str text)
{
	d->answer = (struct pipe_answer){ outcome, smtp, enhanced, text };
	return false;
}

static bool
defer(struct delivery *d, struct str enhanced, struct str text)
{
	return end(d, PIPE_TEMPFAIL, 451, enhanced, text);
}

/* ---- the steps: each goes on, or has filled the answer ---- */

static bool
step_target(struct delivery *d)
{
	if (pipe_target_parse(d->req.target, &d->job.target))
		return defer(d, STR("4.3.5"), STR("The target is no command or file"));
	if (d->job.target.kind == PIPE_MBOX && str_eq(d->job.target.what, STR("/dev/null")))
		return end(d, PIPE_DONE, 250, STR("2.0.0"), STR("Discarded"));
	return true;
}

static bool
step_content(struct delivery *d, int fd)
{
	struct stat st;
	void *p;

	d->content = d->req.content;
	if (fd >= 0) {
		if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0)
			return defer(d, STR("4.3.0"), STR("The message cannot be read"));
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (p == MAP_FAILED)
			return defer(d, STR("4.3.0"), STR("The message cannot be read"));
		d->map = p;
		d->content = str_from(p, (size_t)st.st_size);
	}
	if (pipe_loops(d->content, d->req.address))
		return end(d, PIPE_REJECT, 550, STR("5.4.6"),
		    STR("Mail loop: the message was delivered to this address before"));
	return true;
}

static bool
step_user(struct delivery *d)
{
	if (piped.runner < 0)
		return defer(d, STR("4.3.5"), STR("The user of deliveries does not exist: see pipe.user"));
	d->job.user = &piped.user;
	d->job.runner = piped.runner;
	return true;
}

/* A place among the processes, or a wait for one. */
static bool
step_place(struct delivery *d)
{
	uint64_t until = clock_ms() + WAIT_MS;

	if (piped.waiting >= WAITING_MAX)
		return defer(d, STR("4.3.2"), STR("Too many commands are waiting"));
	piped.waiting++;
	while (piped.running >= settings()->pipe_processes && !piped.stopping && clock_ms() < until)
		co_sleep(50);
	piped.waiting--;
	if (piped.stopping || piped.running >= settings()->pipe_processes)
		return defer(d, STR("4.3.2"), STR("Too many commands are running"));
	return true;
}

static bool
step_message(struct delivery *d)
{
	static const enum pipe_form forms[] = {
		[PIPE_COMMAND] = PIPE_FORM_FROM,
		[PIPE_MBOX] = PIPE_FORM_MBOX,
		[PIPE_MAILDIR] = PIPE_FORM_PLAIN,
	};

	d->job.message = pipe_message(&d->req, d->content, forms[d->job.target.kind], clock_real_us());
	if (d->job.message < 0)
		return defer(d, STR("4.3.1"), STR("No memory for the message"));
	return true;
}

static bool
step_run(struct delivery *d)
{
	const struct settings *s = settings();
	int rc;

	d->job.request = &d->req;
	d->job.hostname = s->hostname;
	d->job.time_limit_ms = s->pipe_timeout_ms;
	d->job.memory_limit = s->pipe_memory_limit;
	d->end = ARENA_NEW(d->arena, struct pipe_end);
	if (!d->end)
		return defer(d, STR("4.3.1"), STR("Out of memory"));
	piped.running++;
	rc = pipe_run(&d->job, d->arena, d->end);
	piped.running--;
	if (rc)
		return defer(d, STR("4.3.0"), arena_printf(d->arena, "The delivery cannot be begun: %s",
		    strerror(-rc)));
	d->answer = pipe_answer_of(d->end, d->job.target.kind, d->arena);
	return true;
}

/* ---- a request ---- */

static void
note(const struct delivery *d, uint64_t us)
{
	const struct pipe_answer *a = &d->answer;
	static const struct {
		struct metric *count;
		const char *event;
	} kinds[] = {
		[PIPE_DONE] = { &done, "pipe.delivered" },
		[PIPE_TEMPFAIL] = { &deferred, "pipe.deferred" },
		[PIPE_REJECT] = { &rejected, "pipe.rejected" },
	};

	metric_observe_us(&seconds, us);
	metric_add(kinds[a->outcome].count, 1);
	if (d->end && d->end->timed_out)
		metric_add(&timeouts, 1);
	LOG_INFO(kinds[a->outcome].event, L_HEX("qid", d->req.spool_id), L_STR("sid", d->req.trace),
	    L_STR("to", str_head(d->req.address, 256)), L_STR("target", str_head(d->req.target, 256)),
	    L_STR("enhanced", a->enhanced),
	    L_STR("text", str_head(a->text, 512)), L_U64("ms", us / 1000));
}

static void
run(struct delivery *d, struct peer *p, struct frame *f)
{
	uint64_t start = clock_us();
	struct buf b = { 0 };

	d->job.message = -1;
	if (step_target(d) && step_content(d, f->fd) && step_user(d) && step_place(d) && step_message(d))
		step_run(d);
	if (d->job.message >= 0)
		close(d->job.message);
	if (d->map)
		munmap(d->map, d->content.n);
	note(d, clock_us() - start);
	pipe_answer_put(&b, &d->answer);
	chan_answer(p, f->id, f->type, &b, -1);
	buf_done(&b);
}

static void
refuse(struct peer *p, const struct frame *f, int code)
{
	struct wire_error we = { .code = code, .text = STR("the request cannot be served") };

	metric_add(&bad_frames, 1);
	LOG_WARN("pipe.bad_frame", L_C("from", role_name(chan_peer_role(p))), L_I64("code", code));
	chan_answer_error(p, f->id, f->type, &we);
}

static void
deliver(struct peer *p, struct frame *f)
{
	struct delivery d = { .arena = arena_new(ARENA_MAX) };
	int rc = d.arena ? pipe_request_get(f->body, &d.req) : -ENOMEM;

	if (rc)
		refuse(p, f, rc);
	else
		run(&d, p, f);
	arena_free(&d.arena);
	if (f->fd >= 0)
		close(f->fd);
}

/* ---- the process ---- */

/* Of the setting, or of the role; NULL where everything has one uid anyway. */
static const char *
user_name(const struct settings *s, struct arena *a)
{
	if (getuid())
		return NULL;
	if (s->pipe_user.n)
		return arena_cstr(a, s->pipe_user);
	return s->user_prefix.n ? arena_printf(a, "%.*s-piped", STR_ARG(s->user_prefix)).p : "nobody";
}

/* A user of another of our programs could read what that program keeps. */
static bool
is_ours(const struct settings *s, const char *name)
{
	struct str n = str_c(name), prefix = s->user_prefix;

	return prefix.n && str_starts(n, prefix) && str_starts(str_skip(n, prefix.n), STR("-")) &&
	    !str_eq(str_skip(n, prefix.n), STR("-piped"));
}

static int
keep_user(const struct passwd *pw, struct err *e)
{
	piped.user = (struct pipe_user){ "nobody", "/", "/bin/sh" };
	if (pw)
		piped.user = (struct pipe_user){ strdup(pw->pw_name), strdup(pw->pw_dir),
			strdup(pw->pw_shell) };
	return piped.user.name && piped.user.home && piped.user.shell ? 0 :
	    err_set(e, -ENOMEM, "out of memory");
}

static int
start_runner(const struct settings *s, const char *name, struct err *e)
{
	const struct passwd *pw = name ? getpwnam(name) : getpwuid(getuid());
	int rc;

	if (name && !pw) {
		LOG_WARN("pipe.no_user", L_C("user", name));
		return 0;
	}
	if (name && (!pw->pw_uid || is_ours(s, name)))
		return err_set(e, -EPERM, "pipe.user: nothing is delivered as '%s'", name);
	rc = keep_user(pw, e);
	if (!rc)
		rc = piped.runner = pipe_runner_start(name, s->pipe_new_privileges, e);
	return rc < 0 ? rc : 0;
}

static int
piped_init(struct service *s, struct err *e)
{
	struct arena *a = arena_new(ARENA_MAX);
	int rc;

	piped.service = s;
	if (!a)
		return err_set(e, -ENOMEM, "out of memory");
	rc = start_runner(settings(), user_name(settings(), a), e);
	arena_free(&a);
	return rc;
}

/* The master starts both again. */
static void
runner_gone(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	fatal("pipe.runner_gone", "the runner of commands has ended");
}

static int
piped_start(struct service *s, struct err *e)
{
	piped.runner_gone = (struct watch){ .fd = piped.runner, .fn = runner_gone };
	return piped.runner < 0 ? 0 : loop_watch_level(service_loop(s), &piped.runner_gone, e);
}

/* What runs may end, for a while; what then still runs is ended with this process. */
static void
piped_stop(struct service *s)
{
	piped.stopping = true;
	service_finish(s, &piped.running, NULL);
}

int
main(int argc, char **argv)
{
	static const struct msg_handler handlers[] = {
		{ MSG_PIPE_DELIVER, "deliver", deliver, MSG_CO },
	};
	static const struct confine_spec confinement = { .kind = CONFINE_PURE, .max_fds = 8192 };
	static const struct service_spec spec = {
		.role = ROLE_PIPED,
		.handlers = handlers,
		.n_handlers = sizeof handlers / sizeof *handlers,
		.init = piped_init,
		.start = piped_start,
		.stop = piped_stop,
		.confine = &confinement,
	};

	pipe_runner_main(argc, argv);
	return service_run(&spec, argc, argv);
}
