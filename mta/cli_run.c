/*
 * posthorn start|stop|status|reload: an instance as a whole.
 *
 * `start` makes the master in a session of its own and waits on a pipe until
 * it says that every process is up and every listener accepts, or why not.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/client/control.h"
#include "lib/client/master.h"
#include "mta/cli.h"
#include "mta/master.h"

#define CALL_MS 60000
#define STOP_WAIT_MS 90000

/* ---- start ---- */

static int
open_log(const struct settings *s)
{
	char path[4096];

	if (!s->log_file.n)
		return -1;
	snprintf(path, sizeof path, "%.*s", STR_ARG(s->log_file));
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

static int
become_master(struct cli *c, int ready, bool foreground)
{
	struct master_opts opts = { c->config_path, foreground, ready };
	struct settings *s = (struct settings *)(uintptr_t)c->settings;
	int log = open_log(s), null;

	c->settings = NULL; /* the master's now */
	if (log >= 0) {
		dup2(log, 2);
		close(log);
	}
	if (!foreground) {
		setsid();
		null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		if (log < 0)
			dup2(null, 2);
		if (null > 2)
			close(null);
	}
	return master_run(s, &opts);
}

static int
wait_ready(struct cli *c, int fd)
{
	char text[512];
	size_t n = 0;
	ssize_t r;

	while (n < sizeof text - 1 && (r = read(fd, text + n, sizeof text - 1 - n)) != 0) {
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			break;
		n += (size_t)r;
	}
	text[n] = '\0';
	if (n && text[n - 1] == '\n')
		text[n - 1] = '\0';
	if (!strncmp(text, "ok", 2)) {
		cli_say(c, "started%s", text + 2);
		return CLI_OK;
	}
	return cli_fail(c, CLI_FAILED, "%s", n ? text : "the master ended without a word; the log says why");
}

static int
run_start(struct cli *c)
{
	int p[2], r = cli_load_settings(c);
	pid_t pid;

	if (r)
		return r;
	if (cli_flag(c, "foreground"))
		return become_master(c, -1, true);
	if (pipe2(p, O_CLOEXEC) < 0)
		return cli_fail(c, CLI_TEMPORARY, "cannot make a pipe: %s", strerror(errno));
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return cli_fail(c, CLI_TEMPORARY, "cannot start the master: %s", strerror(errno));
	if (pid == 0) {
		close(p[0]);
		_exit(become_master(c, p[1], false));
	}
	close(p[1]);
	return wait_ready(c, p[0]);
}

/* ---- stop, reload ---- */

static int
ask_master(struct cli *c, uint16_t type, struct frame *ret)
{
	struct err e = { 0 };
	int r = control_ask(c->settings, ROLE_MASTER, 0, type, NULL, c->arena, ret, &e);

	return r ? cli_fail_err(c, r, &e) : CLI_OK;
}

static int
run_stop(struct cli *c)
{
	struct control *k;
	struct frame f;
	struct err e = { 0 };
	int r = ask_master(c, MSG_MASTER_STOP, &f);

	if (r)
		return r;
	for (unsigned ms = 0; ms < STOP_WAIT_MS; ms += 20) {
		r = control_open(c->settings, ROLE_MASTER, 0, &k, &e);
		if (r == -ENOTCONN) {
			cli_say(c, "stopped");
			return CLI_OK;
		}
		if (r == 0)
			control_close(&k);
		usleep(20000);
	}
	return cli_fail(c, CLI_TEMPORARY, "it has not ended after %d seconds; the log says what it waits "
	    "for", STOP_WAIT_MS / 1000);
}

static int
run_reload(struct cli *c)
{
	struct frame f;
	int r = ask_master(c, MSG_MASTER_RELOAD, &f);

	if (r == CLI_OK)
		cli_say(c, "reloaded");
	return r;
}

/* ---- upgrade ---- */

/* Whether the master answers and all its processes run, `since` milliseconds at most. */
static bool
is_up(struct cli *c, uint64_t since)
{
	struct master_status s;
	struct frame f;
	struct err e = { 0 };

	if (control_ask(c->settings, ROLE_MASTER, 0, MSG_MASTER_STATUS, NULL, c->arena, &f, &e) ||
	    master_status_get(f.body, c->arena, &s) || s.uptime_ms > since)
		return false;
	for (size_t i = 0; i < s.n_procs; i++)
		if (s.procs[i].state != PROC_RUNNING)
			return false;
	return true;
}

static int
run_upgrade(struct cli *c)
{
	struct frame f;
	uint64_t began;
	int r = ask_master(c, MSG_MASTER_UPGRADE, &f);

	if (r)
		return r;
	began = clock_ms();
	for (unsigned ms = 0; ms < STOP_WAIT_MS; ms += 50) {
		usleep(50000);
		if (is_up(c, clock_ms() - began)) {
			cli_say(c, "upgraded");
			return CLI_OK;
		}
	}
	return cli_fail(c, CLI_TEMPORARY, "the new program is not up after %d seconds; the log says why",
	    STOP_WAIT_MS / 1000);
}

/* ---- status ---- */

static const char *
state_name(enum proc_state s)
{
	switch (s) {
	case PROC_STARTING:
		return "starting";
	case PROC_RUNNING:
		return "running";
	case PROC_BACKOFF:
		return "waits to restart";
	case PROC_STOPPING:
		return "stopping";
	}
	return "unknown";
}

/* "3d 4h", "2m 10s". */
static const char *
age_text(uint64_t ms, char out[static 32])
{
	unsigned long long s = ms / 1000;

	if (s >= 86400)
		snprintf(out, 32, "%llud %lluh", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		snprintf(out, 32, "%lluh %llum", s / 3600, s / 60 % 60);
	else if (s >= 60)
		snprintf(out, 32, "%llum %llus", s / 60, s % 60);
	else
		snprintf(out, 32, "%llus", s);
	return out;
}

static void
status_json(struct cli *c, const struct master_status *s)
{
	struct json *j = cli_json(c);

	json_object(j);
	json_key(j, "pid");
	json_u64(j, s->pid);
	json_key(j, "uptime_ms");
	json_u64(j, s->uptime_ms);
	json_key(j, "version");
	json_str(j, s->version);
	json_key(j, "config");
	json_str(j, s->config_path);
	json_key(j, "processes");
	json_array(j);
	for (size_t i = 0; i < s->n_procs; i++) {
		const struct master_proc *p = &s->procs[i];

		json_object(j);
		json_key(j, "role");
		json_str(j, p->role);
		json_key(j, "instance");
		json_u64(j, p->instance);
		json_key(j, "state");
		json_str(j, str_c(state_name(p->state)));
		json_key(j, "pid");
		json_u64(j, p->pid);
		json_key(j, "uptime_ms");
		json_u64(j, p->uptime_ms);
		json_key(j, "user");
		json_str(j, p->user);
		json_key(j, "restarts");
		json_u64(j, p->restarts);
		json_key(j, "last_exit");
		json_str(j, p->last_exit);
		json_end(j);
	}
	json_end(j);
	json_key(j, "listeners");
	json_array(j);
	for (size_t i = 0; i < s->n_listens; i++) {
		json_object(j);
		json_key(j, "name");
		json_str(j, s->listens[i].name);
		json_key(j, "address");
		json_str(j, s->listens[i].address);
		json_key(j, "port");
		json_u64(j, s->listens[i].port);
		json_end(j);
	}
	json_end(j);
	json_end(j);
	cli_json_end(c);
}

static void
status_text(struct cli *c, const struct master_status *s)
{
	char age[32];

	cli_say(c, "posthorn %.*s runs since %s, process %llu, with %.*s", STR_ARG(s->version),
	    age_text(s->uptime_ms, age), (unsigned long long)s->pid, STR_ARG(s->config_path));
	for (size_t i = 0; i < s->n_procs; i++) {
		const struct master_proc *p = &s->procs[i];

		cli_say(c, "  %-8.*s %2u  %-16s %6s  pid %-7llu %.*s%srestarts %u%s%.*s",
		    STR_ARG(p->role), p->instance, state_name(p->state), age_text(p->uptime_ms, age),
		    (unsigned long long)p->pid, STR_ARG(p->user), p->user.n ? "  " : "", p->restarts,
		    p->last_exit.n ? ", last ended with " : "", STR_ARG(p->last_exit));
	}
	for (size_t i = 0; i < s->n_listens; i++)
		cli_say(c, "  %-12.*s %.*s port %u", STR_ARG(s->listens[i].name),
		    STR_ARG(s->listens[i].address), s->listens[i].port);
}

static int
run_status(struct cli *c)
{
	struct master_status s;
	struct frame f;
	int r = ask_master(c, MSG_MASTER_STATUS, &f);

	if (r)
		return r;
	if (master_status_get(f.body, c->arena, &s))
		return cli_fail(c, CLI_FAILED, "the master's answer cannot be read");
	if (c->json)
		status_json(c, &s);
	else
		status_text(c, &s);
	return CLI_OK;
}

static const struct cli_opt start_opts[] = {
	{ "foreground", OPT_FLAG, NULL, "stay in the foreground; Ctrl-C stops" },
	{ 0 },
};

const struct verb cli_run[] = {
	{ "start", NULL, "", "start the instance; returns when it accepts connections", start_opts,
	    run_start, .flags = VERB_OPT_CONFIG, .examples = "-C /srv/mail start\n" },
	{ "stop", NULL, "", "stop the instance; returns when it has ended", NULL, run_stop },
	{ "status", NULL, "", "show processes and listeners", NULL, run_status },
	{ "upgrade", NULL, "", "become the program that was installed meanwhile, with every port open", NULL,
	    run_upgrade, .more = "The new program is tried on the configuration first; then the processes end and are "
	    "started anew. Clients that connect meanwhile wait." },
	{ "reload", NULL, "", "take the changed configuration without dropping anything", NULL,
	    run_reload },
	{ 0 },
};
