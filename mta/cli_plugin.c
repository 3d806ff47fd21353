/*
 * posthorn plugin: what authors of plugins and those who run them need. A plugin is loaded in
 * a process of its own here too, so that one that crashes is reported.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/accept/filtered.h"
#include "lib/base/clock.h"
#include "lib/base/fd.h"
#include "mta/cli_tables.h"
#include "mta/plugin_file.h"
#include "mta/plugin_host.h"

#define FILE_MAX (64u << 20)
#define CRASHED 70

static const char *const actions[FILTER_ACTIONS] = {
	[FILTER_CONTINUE] = "continue", [FILTER_ACCEPT] = "accept", [FILTER_REJECT] = "reject",
	[FILTER_TEMPFAIL] = "tempfail", [FILTER_DISCARD] = "discard",
	[FILTER_QUARANTINE] = "quarantine",
};

static void
say_mistake(void *arg, const struct conf_error *e)
{
	struct buf b = { 0 };

	(void)arg;
	conf_error_put(&b, e);
	fprintf(stderr, "%.*s", STR_ARG(buf_view(&b)));
	buf_done(&b);
}

/* Runs fn in a process of its own; its exit status, or CLI_FAILED after a crash was told. */
static int
apart(struct cli *c, const char *what, int (*fn)(struct cli *c, void *arg), void *arg)
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		status = fn(c, arg);
		fflush(NULL);
		_exit(status);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return cli_fail(c, CLI_TEMPORARY, "cannot start a process");
	if (WIFSIGNALED(status))
		return cli_fail(c, CLI_FAILED, "%s crashed: signal %d", what, WTERMSIG(status));
	return WEXITSTATUS(status);
}

static int
read_file(struct cli *c, const char *path, struct str *ret)
{
	struct buf b = { .max = FILE_MAX };
	int r = fd_read_file(path, &b);

	*ret = r ? STR_NULL : arena_dup(c->arena, buf_view(&b));
	buf_done(&b);
	if (r)
		return cli_fail(c, CLI_FAILED, "cannot read %s", path);
	return ret->p ? CLI_OK : cli_fail(c, CLI_TEMPORARY, "out of memory");
}

/* ---- plugin list ---- */

static const struct cli_opt list_opts[] = {
	{ "hooks", OPT_FLAG, NULL, "for each hook, which plugins are asked, in their order" },
	{ 0 },
};

/* What a plugin's process tells its parent: the hooks, then "NAME VERSION" or what is wrong. */
struct told {
	uint32_t hooks;
	int code;
	char text[320];
};

struct look {
	const struct conf_plugin *conf;
	int fd;
};

static int
look_inside(struct cli *c, void *arg)
{
	const struct look *l = arg;
	struct told t = { 0 };
	struct plugin *p;
	struct err e = { 0 };

	t.code = plugin_open(arena_cstr(c->arena, plugin_file(l->conf, c->arena)), &p, &e);
	if (!t.code && plugin_configure(p, l->conf, say_mistake, NULL))
		t.code = err_set(&e, -EINVAL, "its block has mistakes");
	if (!t.code) {
		t.hooks = plugin_hooks(p);
		snprintf(t.text, sizeof t.text, "%s %s", p->d.name, p->d.version);
	} else {
		snprintf(t.text, sizeof t.text, "%s", e.text);
	}
	return fd_write_all(l->fd, str_from(&t, sizeof t)) ? CLI_FAILED : CLI_OK;
}

static struct told
look(struct cli *c, const struct conf_plugin *conf)
{
	struct told t = { .code = -EFAULT, .text = "it crashed while it was loaded" };
	int fds[2];

	if (pipe(fds) < 0)
		return t;
	apart(c, arena_cstr(c->arena, conf->name), look_inside, &(struct look){ conf, fds[1] });
	close(fds[1]);
	if (read(fds[0], &t, sizeof t) != sizeof t)
		t.code = -EFAULT;
	close(fds[0]);
	return t;
}

static void
list_hooks(struct cli *c, const struct told *told)
{
	static const struct cli_col cols[] = { { "hook" }, { "plugins" } };
	struct cli_table *t = cli_table_new(c, cols, 2);
	struct buf names = { 0 };

	for (enum filter_hook h = FILTER_CONNECT; h < FILTER_HOOKS; h++) {
		buf_clear(&names);
		for (size_t i = 0; i < c->settings->n_plugins; i++)
			if (told[i].hooks & 1u << h)
				buf_printf(&names, "%s%.*s", names.n ? ", " : "",
				    STR_ARG(c->settings->plugins[i].name));
		cli_cell(t, str_c(filter_hook_name(h)));
		cli_cell(t, buf_view(&names));
	}
	cli_table_end(&t);
	buf_done(&names);
}

static int
plugin_list(struct cli *c)
{
	static const struct cli_col cols[] = { { "name" }, { "plugin" }, { "file" }, { "state" } };
	const struct settings *s = c->settings;
	struct told *told = ARENA_ARRAY(c->arena, struct told, s->n_plugins + 1);
	struct cli_table *t;
	int status = CLI_OK;

	if (!told)
		return cli_fail(c, CLI_TEMPORARY, "out of memory");
	for (size_t i = 0; i < s->n_plugins; i++) {
		told[i] = look(c, &s->plugins[i]);
		status = told[i].code ? CLI_FAILED : status;
	}
	if (cli_flag(c, "hooks")) {
		list_hooks(c, told);
		return status;
	}
	t = cli_table_new(c, cols, 4);
	for (size_t i = 0; i < s->n_plugins; i++) {
		cli_cell(t, s->plugins[i].name);
		cli_cell(t, told[i].code ? STR_NULL : str_c(told[i].text));
		cli_cell(t, s->plugins[i].file);
		cli_cell(t, told[i].code ? str_c(told[i].text) : STR("ok"));
	}
	cli_table_end(&t);
	return status;
}

/* ---- plugin test ---- */

static const struct cli_opt test_opts[] = {
	{ "session", OPT_STRING, "SCRIPT", "what happens, and what is expected of the plugin" },
	{ "message", OPT_STRING, "FILE", "the message of the script's line message" },
	{ "crash-at", OPT_STRING, "HOOK", "end the process at this hook, as if the plugin crashed" },
	{ "slow", OPT_NUMBER, "MS", "let every DNS answer take so long" },
	{ "show", OPT_FLAG, NULL, "print the message as the plugin leaves it" },
	{ 0 },
};

static struct rehearsal {
	struct cli *c;
	struct plugin *plugin;
	struct conf_plugin conf;
	struct filter_ask ask;
	struct filter_rcpt rcpts[100];
	struct filter_note notes[FILTER_NOTES_MAX];
	struct plugin_data session, txn;
	struct str message;
	unsigned line, wrong, steps;
	uint64_t slow_ms;
	const char *crash_at;
	struct dns_row {
		struct str name;
		uint16_t type;
		struct str rdata;
	} dns[200];
	size_t n_dns;
} run;

/* The script's own records, and nothing else. */
static int
scripted_dns(struct str name, uint16_t type, uint64_t limit_ms, struct arena *a,
    struct dns_answer *ret)
{
	struct dns_answer v = { .status = DNS_NXDOMAIN, .canonical = name };

	usleep((useconds_t)(run.slow_ms < limit_ms ? run.slow_ms : limit_ms) * 1000);
	if (run.slow_ms > limit_ms)
		return -ETIMEDOUT;
	v.rdata = ARENA_ARRAY(a, struct str, run.n_dns + 1);
	for (size_t i = 0; v.rdata && i < run.n_dns; i++) {
		if (!str_ieq(run.dns[i].name, name))
			continue;
		v.status = v.n ? DNS_OK : DNS_NODATA;
		if (run.dns[i].type != type)
			continue;
		v.rdata[v.n++] = run.dns[i].rdata;
		v.status = DNS_OK;
	}
	if (v.n)
		v.status = DNS_OK;
	*ret = v;
	return 0;
}

static void
add_dns(struct str rest)
{
	struct str name = str_word(&rest), type = str_word(&rest), value = str_trim(rest);
	struct dns_row *r = &run.dns[run.n_dns];
	char text[64], addr[16];

	if (run.n_dns == sizeof run.dns / sizeof *run.dns)
		return;
	snprintf(text, sizeof text, "%.*s", STR_ARG(str_head(value, 60)));
	r->name = name;
	if (str_ieq(type, STR("A")) && inet_pton(AF_INET, text, addr) == 1) {
		r->type = DNS_A;
		r->rdata = arena_dup(run.c->arena, str_from(addr, 4));
	} else if (str_ieq(type, STR("AAAA")) && inet_pton(AF_INET6, text, addr) == 1) {
		r->type = DNS_AAAA;
		r->rdata = arena_dup(run.c->arena, str_from(addr, 16));
	} else {
		r->type = DNS_TXT;
		value = str_head(value, 255);
		r->rdata = arena_printf(run.c->arena, "%c%.*s", (int)value.n, STR_ARG(value));
	}
	run.n_dns++;
}

static void
add_option(struct str rest)
{
	struct conf_plugin *p = &run.conf;
	struct conf_option *o = ARENA_NEW(run.c->arena, struct conf_option), *v;

	v = ARENA_ARRAY(run.c->arena, struct conf_option, p->n_options + 1);
	if (!o || !v)
		return;
	o->name = str_word(&rest);
	o->v = ARENA_NEW(run.c->arena, struct str);
	o->v[0] = str_trim(rest);
	o->n = 1;
	o->file = STR("script");
	o->line = run.line;
	o->col = 1;
	if (p->n_options)
		memcpy(v, p->options, p->n_options * sizeof *v);
	v[p->n_options++] = *o;
	p->options = v;
}

static void
add_grant(struct str rest)
{
	struct conf_plugin *p = &run.conf;

	p->grants = ARENA_ARRAY(run.c->arena, struct str, 32);
	for (p->n_grants = 0; rest.p && p->n_grants < 32;) {
		struct str one = str_trim(str_cut(&rest, ','));

		if (one.n)
			p->grants[p->n_grants++] = one;
	}
}

/* The plugin starts with the first line that is no option, grant or dns. */
static int
get_ready(void)
{
	if (run.plugin->started)
		return 0;
	run.plugin->dns = scripted_dns;
	run.plugin->hostname = STR("mail.example.test");
	if (plugin_configure(run.plugin, &run.conf, say_mistake, NULL))
		return -EINVAL;
	return plugin_start(run.plugin, say_mistake, NULL);
}

static void
show_edits(const struct filter_answer *r)
{
	static const char *const ops[FILTER_OPS] = {
		[FILTER_HEADER_ADD] = "header-add", [FILTER_HEADER_SET] = "header-set",
		[FILTER_HEADER_REMOVE] = "header-remove", [FILTER_RCPT_ADD] = "rcpt-add",
		[FILTER_RCPT_REMOVE] = "rcpt-remove", [FILTER_SENDER_SET] = "sender-set",
		[FILTER_BODY_SET] = "body-set",
	};

	for (size_t i = 0; i < r->n_edits; i++)
		cli_say(run.c, "    %s %.*s%s%.*s", ops[r->edits[i].op], STR_ARG(r->edits[i].name),
		    r->edits[i].name.n ? ": " : "", STR_ARG(str_head(r->edits[i].value, 200)));
	for (size_t i = 0; i < r->n_notes; i++)
		cli_say(run.c, "    note %.*s=%.*s", STR_ARG(r->notes[i].key), STR_ARG(r->notes[i].value));
}

static void
keep_notes(const struct filter_answer *r)
{
	for (size_t i = 0; i < r->n_notes && run.ask.n_notes < FILTER_NOTES_MAX; i++) {
		run.notes[run.ask.n_notes].key = arena_dup(run.c->arena, r->notes[i].key);
		run.notes[run.ask.n_notes++].value = arena_dup(run.c->arena, r->notes[i].value);
	}
}

/* "reject 550": whether that is what came; an empty one is always right. */
static bool
as_expected(struct str want, const struct filter_answer *r)
{
	struct str action = str_word(&want), code = str_trim(want);
	uint32_t smtp;

	if (!action.n)
		return true;
	if (!str_eq(action, str_c(actions[r->action])))
		return false;
	return !code.n || (str_u32(code, 599, &smtp) && smtp == r->smtp);
}

static void
hook(enum filter_hook h, struct str want)
{
	struct arena *a = arena_new(PLUGIN_CALL_MEMORY);
	struct ph_call call = { .plugin = run.plugin, .ask = &run.ask, .arena = a,
		.deadline_ms = clock_ms() + 60000, .session = &run.session,
		.txn = run.ask.txn ? &run.txn : NULL, .message = run.message };
	struct buf out = { .max = FILE_MAX };

	run.ask.hook = h;
	if (run.crash_at && !strcmp(run.crash_at, filter_hook_name(h)))
		abort();
	plugin_call(&call);
	run.steps++;
	cli_say(run.c, "%s: %s%s%.0u%.*s%.*s", filter_hook_name(h), actions[call.answer.action],
	    call.answer.smtp ? " " : "", call.answer.smtp, call.answer.text.n ? 1 : 0, " ",
	    STR_ARG(call.answer.text));
	show_edits(&call.answer);
	if (!as_expected(want, &call.answer)) {
		run.wrong++;
		fprintf(stderr, "line %u: expected '%.*s'\n", run.line, STR_ARG(want));
	}
	keep_notes(&call.answer);
	if (h == FILTER_MESSAGE && cli_flag(run.c, "show")) {
		filtered_edit(run.message, call.answer.edits, call.answer.n_edits, STR_NULL, &out);
		fwrite(out.p, 1, out.n, stdout);
		buf_done(&out);
	}
	arena_free(&a);
}

static void
step(struct str verb, struct str arg, struct str want)
{
	struct filter_ask *q = &run.ask;

	if (str_eq(verb, STR("connect"))) {
		q->client_ip = arg;
		hook(FILTER_CONNECT, want);
	} else if (str_eq(verb, STR("helo"))) {
		q->helo = arg;
		hook(FILTER_HELO, want);
	} else if (str_eq(verb, STR("auth"))) {
		q->user = arg;
		q->flags |= FILTER_F_SUBMITTED;
		hook(FILTER_AUTH, want);
	} else if (str_eq(verb, STR("mail"))) {
		plugin_data_free(&run.txn);
		q->txn++;
		q->sender = arg;
		q->n_rcpts = 0;
		hook(FILTER_MAIL, want);
	} else if (str_eq(verb, STR("rcpt"))) {
		if (q->n_rcpts < sizeof run.rcpts / sizeof *run.rcpts)
			q->rcpts[q->n_rcpts++] = (struct filter_rcpt){ arg, arg };
		hook(FILTER_RCPT, want);
	} else if (str_eq(verb, STR("data"))) {
		hook(FILTER_DATA, want);
	} else if (str_eq(verb, STR("message"))) {
		hook(FILTER_MESSAGE, want);
	} else if (str_eq(verb, STR("end"))) {
		q->outcome = 250;
		hook(FILTER_END, want);
		plugin_data_free(&run.txn);
	} else if (str_eq(verb, STR("close"))) {
		hook(FILTER_CLOSE, want);
		plugin_data_free(&run.txn);
		plugin_data_free(&run.session);
	} else {
		run.wrong++;
		fprintf(stderr, "line %u: unknown word '%.*s'\n", run.line, STR_ARG(verb));
	}
}

static int
script_line(struct str line)
{
	struct str rest = str_trim(line), want = STR_NULL, verb;
	ptrdiff_t arrow;

	run.line++;
	if (!rest.n || rest.p[0] == '#')
		return 0;
	verb = str_word(&rest);
	rest = str_trim(rest);
	if (str_eq(verb, STR("option")))
		add_option(rest);
	else if (str_eq(verb, STR("grant")))
		add_grant(rest);
	else if (str_eq(verb, STR("dns")))
		add_dns(rest);
	else if (get_ready())
		return -EINVAL;
	else {
		arrow = str_find(rest, STR("->"));
		if (arrow >= 0) {
			want = str_trim(str_skip(rest, (size_t)arrow + 2));
			rest = str_trim(str_head(rest, (size_t)arrow));
		}
		step(verb, arena_dup(run.c->arena, rest), want);
	}
	return 0;
}

static const char any_session[] = "connect 192.0.2.1\nhelo client.example.test\n"
	"mail sender@example.test\nrcpt user1@example.test\ndata\nmessage\nend\nclose\n";
static const char any_message[] = "Received: from client.example.test by mail.example.test\r\n"
	"From: sender@example.test\r\nTo: user1@example.test\r\nSubject: a test\r\n\r\nHello.\r\n";

/* Lines as the house has them. */
static struct str
with_crlf(struct str s, struct arena *a)
{
	char *p = arena_alloc(a, 2 * s.n + 2);
	size_t n = 0;

	for (size_t i = 0; p && i < s.n; i++) {
		if (s.p[i] == '\n' && (!i || s.p[i - 1] != '\r'))
			p[n++] = '\r';
		p[n++] = s.p[i];
	}
	return str_from(p, p ? n : 0);
}

static int
open_it(struct cli *c)
{
	struct err e = { 0 };
	const char *path = c->args[0];
	struct str message = str_c(any_message);
	int r;

	run.c = c;
	run.conf = (struct conf_plugin){ .name = STR("test"), .file = str_c(path), .timeout_ms = 60000,
		.sandbox = CONF_PLUGIN_NET };
	run.ask = (struct filter_ask){ .session = 1, .flags = FILTER_F_DRY_RUN | FILTER_F_ESMTP,
		.listener = STR("smtp"), .session_id = STR("test"), .trace = STR("test.1"),
		.rcpts = run.rcpts, .notes = run.notes };
	if (!strchr(path, '/'))
		path = arena_printf(c->arena, "./%s", path).p;
	if (cli_opt(c, "message") && (r = read_file(c, cli_opt(c, "message"), &message)))
		return r;
	run.message = with_crlf(message, c->arena);
	run.ask.size = run.message.n;
	if (plugin_open(path, &run.plugin, &e))
		return cli_fail(c, CLI_FAILED, "%s: %s", path, e.text);
	return CLI_OK;
}

static int
test_inside(struct cli *c, void *arg)
{
	struct str script = str_c(any_session);
	const char *path = cli_opt(c, "session");
	int r;

	(void)arg;
	if (path && (r = read_file(c, path, &script)))
		return r;
	r = open_it(c);
	if (r)
		return r;
	run.slow_ms = cli_opt_u64(c, "slow", 0);
	run.crash_at = cli_opt(c, "crash-at");
	while (script.p && !r)
		r = script_line(str_cut(&script, '\n'));
	plugin_close(&run.plugin);
	if (r)
		return CLI_FAILED;
	cli_say(c, "%u steps, %u not as expected", run.steps, run.wrong);
	return run.wrong ? CLI_FAILED : CLI_OK;
}

static int
plugin_test(struct cli *c)
{
	return apart(c, c->args[0], test_inside, NULL);
}

/* ---- plugin bench ---- */

static const struct cli_opt bench_opts[] = {
	{ "message", OPT_STRING, "FILE", "the message it is asked about" },
	{ "grant", OPT_STRING, "NAMES", "what it may do" },
	{ "count", OPT_NUMBER, "N", "how often; 10,000 unless said otherwise" },
	{ 0 },
};

static int
bench_inside(struct cli *c, void *arg)
{
	uint64_t n = cli_opt_u64(c, "count", 10000), start;
	int r = open_it(c);

	(void)arg;
	if (r)
		return r;
	add_grant(str_c(cli_opt(c, "grant")));
	if (get_ready())
		return CLI_FAILED;
	run.ask.hook = FILTER_MESSAGE;
	run.ask.txn = 1;
	run.ask.sender = STR("sender@example.test");
	run.ask.rcpts[run.ask.n_rcpts++] = (struct filter_rcpt){ STR("user1@example.test"),
		STR("user1@example.test") };
	start = clock_us();
	for (uint64_t i = 0; i < n; i++) {
		struct arena *a = arena_new(PLUGIN_CALL_MEMORY);
		struct ph_call call = { .plugin = run.plugin, .ask = &run.ask, .arena = a,
			.deadline_ms = clock_ms() + 60000, .session = &run.session, .txn = &run.txn,
			.message = run.message };

		plugin_call(&call);
		arena_free(&a);
	}
	start = clock_us() - start;
	cli_say(c, "%llu messages of %zu bytes, %.2f us each", (unsigned long long)n, run.message.n,
	    n ? (double)start / (double)n : 0.0);
	return CLI_OK;
}

static int
plugin_bench(struct cli *c)
{
	return apart(c, c->args[0], bench_inside, NULL);
}

/* ---- plugin new ---- */

static const char new_source[] =
	"/*\n * NAME: a plugin for Posthorn; see posthorn-plugin(7).\n */\n"
	"#include <posthorn/plugin.h>\n\n"
	"static enum ph_action\nmessage(struct ph_call *c)\n{\n"
	"\tph_header_add(c, PH_TOP, ph_c(\"X-NAME\"), ph_c(\"seen\"));\n"
	"\treturn PH_CONTINUE;\n}\n\n"
	"static const struct ph_plugin plugin = {\n"
	"\tPH_PLUGIN_HEAD(\"NAME\", \"0.1\"),\n"
	"\t.wants = PH_CAP_HEADERS,\n"
	"\t.message = message,\n"
	"};\nPH_PLUGIN(plugin)\n";
static const char new_makefile[] =
	"CFLAGS = -O2 -g -Wall -Wextra\n"
	"PLUGIN_CFLAGS = $$(pkg-config --cflags posthorn-plugin)\n\n"
	"NAME.so: NAME.c\n\t$(CC) $(CFLAGS) $(PLUGIN_CFLAGS) -fPIC -shared -o $@ NAME.c\n\n"
	"check: NAME.so\n\tposthorn plugin test ./NAME.so --session NAME.session\n\n"
	"clean:\n\trm -f NAME.so\n\n.PHONY: check clean\n";
static const char new_session[] =
	"# What happens, and (behind ->) what the plugin is expected to answer.\n"
	"grant headers\n"
	"mail sender@example.test -> continue\nrcpt user1@example.test -> continue\n"
	"message -> continue\nend\nclose\n";

/* The text with NAME replaced. 0 or an exit status. */
static int
write_new(struct cli *c, const char *path, const char *text, struct str name)
{
	struct str rest = str_c(text);
	struct buf b = { 0 };
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666), r;
	ptrdiff_t at;

	while ((at = str_find(rest, STR("NAME"))) >= 0) {
		buf_str(&b, str_head(rest, (size_t)at));
		buf_str(&b, name);
		rest = str_skip(rest, (size_t)at + 4);
	}
	buf_str(&b, rest);
	r = fd < 0 ? -errno : fd_write_all(fd, buf_view(&b));
	if (fd >= 0)
		close(fd);
	buf_done(&b);
	return r ? cli_fail(c, CLI_FAILED, "cannot write %s: %s", path, strerror(-r)) : CLI_OK;
}

static int
plugin_new(struct cli *c)
{
	static const struct {
		const char *suffix, *text;
	} files[] = { { ".c", new_source }, { ".session", new_session } };
	struct str name = str_c(c->args[0]);
	int r;

	for (size_t i = 0; i < name.n; i++)
		if (!ascii_isalnum(name.p[i]) && name.p[i] != '-' && name.p[i] != '_')
			return cli_fail(c, CLI_USAGE, "a name has letters, digits, '-' and '_'");
	if (mkdir(name.p, 0777) < 0)
		return cli_fail(c, CLI_FAILED, "cannot make the folder %s: %s", name.p, strerror(errno));
	r = write_new(c, arena_printf(c->arena, "%s/Makefile", name.p).p, new_makefile, name);
	for (size_t i = 0; i < sizeof files / sizeof *files && !r; i++)
		r = write_new(c, arena_printf(c->arena, "%s/%s%s", name.p, name.p, files[i].suffix).p,
		    files[i].text, name);
	if (!r)
		cli_say(c, "%s/: a plugin that adds a header field. Try: cd %s && make check", name.p, name.p);
	return r;
}

const struct verb cli_plugin[] = {
	{ "plugin", "list", "", "show the plugins of the configuration", list_opts, plugin_list,
	    .more = "Loads each of them in a process of its own and reads its block, as the instance would.",
	    .examples = "plugin list\nplugin list --hooks\n" },
	{ "plugin", "test", "FILE", "let a plugin live through a scripted session", test_opts, plugin_test,
	    VERB_NO_CONFIG,
	    .more = "A script has a line for each step: connect ADDRESS, helo NAME, auth USER, mail ADDRESS,\n"
		    "rcpt ADDRESS, data, message, end, close; behind -> may stand the answer that is expected,\n"
		    "such as 'reject 550'. Before them: option KEY VALUE, grant NAMES, dns NAME TYPE VALUE.",
	    .examples = "plugin test ./seen.so --session seen.session --message mail.eml\n" },
	{ "plugin", "bench", "FILE", "measure what a plugin costs for a message", bench_opts, plugin_bench,
	    VERB_NO_CONFIG, .examples = "plugin bench ./seen.so --grant headers --message mail.eml\n" },
	{ "plugin", "new", "NAME", "make a folder with a new plugin that builds and tests", NULL, plugin_new,
	    VERB_NO_CONFIG, .examples = "plugin new seen\n" },
	{ 0 },
};
