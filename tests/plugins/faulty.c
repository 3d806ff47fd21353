/*
 * A plugin that does what the message's X-Do fields ask for: the misbehaviours that the
 * host must survive, and every action and edit, for tests. Where: `hook: message` unless the
 * sender's local part begins with the hook's name and '-', such as rcpt-crash@example.test.
 */
#include <posthorn/plugin.h>

#include <stdlib.h>
#include <unistd.h>

struct faulty {
	struct ph_str greeting;
	int64_t limit;
};

static volatile int *volatile crash_at; /* NULL */

static void
hang(void)
{
	for (;;)
		sleep(1);
}

static void
corrupt(void)
{
	char *volatile p = malloc(64), *volatile q = malloc(64);

	memset(p, 0x41, 4096);
	free(q);
	free(p);
	abort();
}

static void
leak(void)
{
	for (;;) {
		char *volatile p = malloc(1 << 20);

		if (!p)
			abort();
		memset(p, 1, 1 << 20);
	}
}

static enum ph_action
do_it(struct ph_call *c, struct ph_str what)
{
	if (ph_eq(what, ph_c("crash")))
		*crash_at = 1;
	else if (ph_eq(what, ph_c("exit")))
		exit(0);
	else if (ph_eq(what, ph_c("hang")))
		hang();
	else if (ph_eq(what, ph_c("corrupt")))
		corrupt();
	else if (ph_eq(what, ph_c("leak")))
		leak();
	else if (ph_eq(what, ph_c("reject")))
		return ph_reply(c, 552, "5.2.2", ph_c("no\nway")), PH_REJECT;
	else if (ph_eq(what, ph_c("tempfail")))
		return PH_TEMPFAIL;
	else if (ph_eq(what, ph_c("discard")))
		return PH_DISCARD;
	else if (ph_eq(what, ph_c("quarantine")))
		return ph_reply(c, 0, NULL, ph_c("looks odd")), PH_QUARANTINE;
	else if (ph_eq(what, ph_c("sender")))
		ph_sender_set(c, ph_c("other@elsewhere.test"));
	else if (ph_eq(what, ph_c("body")))
		ph_body_set(c, ph_c("Another body.\r\n"));
	else if (ph_eq(what, ph_c("drop-first")))
		ph_rcpt_remove(c, 0);
	else if (ph_eq(what, ph_c("sleep")))
		ph_sleep(c, 300);
	else if (ph_eq(what, ph_c("results")))
		ph_note_set(c, "auth.spf", ph_c("spf=pass smtp.mailfrom=elsewhere.test; x-odd=none"));
	return PH_CONTINUE;
}

/* "crash" of "rcpt-crash@..." for the hook rcpt. */
static enum ph_action
by_sender(struct ph_call *c, const char *hook)
{
	struct ph_str s = ph_text(c, PH_SENDER);
	size_t n = strlen(hook);
	const char *at = s.n ? memchr(s.p, '@', s.n) : NULL;

	if (!at || s.n <= n || memcmp(s.p, hook, n) || s.p[n] != '-')
		return PH_CONTINUE;
	return do_it(c, ph_bytes(s.p + n + 1, (size_t)(at - s.p) - n - 1));
}

static enum ph_action
on_connect(struct ph_call *c)
{
	ph_note_set(c, "faulty.client", ph_text(c, PH_CLIENT_IP));
	return PH_CONTINUE;
}

static enum ph_action
on_helo(struct ph_call *c)
{
	return ph_eq(ph_text(c, PH_HELO), ph_c("bad.test")) ? PH_REJECT : PH_CONTINUE;
}

static enum ph_action
on_mail(struct ph_call *c)
{
	char *mine = malloc(5);

	memcpy(mine, "mail", 5);
	ph_data_set(c, PH_OF_TRANSACTION, mine, free);
	return by_sender(c, "mail");
}

static enum ph_action
on_rcpt(struct ph_call *c)
{
	return by_sender(c, "rcpt");
}

static enum ph_action
on_data(struct ph_call *c)
{
	return by_sender(c, "data");
}

static enum ph_action
on_message(struct ph_call *c)
{
	const struct faulty *f = ph_self(c);
	enum ph_action a = PH_CONTINUE;
	struct ph_header h;
	struct ph_str s;
	char *line = ph_alloc(c, 512);

	for (int i = -1; (i = ph_header_find(c, "X-Do", (uint32_t)(i + 1))) >= 0;) {
		ph_header(c, (uint32_t)i, &h);
		a = a ? a : do_it(c, h.value);
	}
	s = ph_note(c, "faulty.client");
	snprintf(line, 512, "%.*s; client=%.*s; data=%s; rcpts=%u; helo=%.*s", PH_ARG(f->greeting), PH_ARG(s),
	    ph_data(c, PH_OF_TRANSACTION) ? "kept" : "lost", (unsigned)ph_number(c, PH_RCPTS),
	    PH_ARG(ph_text(c, PH_HELO)));
	ph_header_add(c, PH_BOTTOM, ph_c("X-Faulty"), ph_c(line));
	ph_count("messages", 1);
	return a;
}

/* Slower than a client that says MAIL again at once. */
static void
on_end(struct ph_call *c)
{
	ph_sleep(c, 50);
	ph_log(PH_INFO, "end %u", (unsigned)ph_number(c, PH_OUTCOME));
}

static void
fini(void *self)
{
	ph_log(PH_INFO, "fini");
	free(self);
}

static int
init(struct ph_conf *conf, void **self)
{
	struct faulty *f = calloc(1, sizeof *f);

	f->greeting = ph_option_text(conf, "greeting");
	f->limit = ph_option_number(conf, "limit");
	if (f->limit == 13)
		ph_conf_error(conf, "limit", "13 is no good");
	*self = f;
	return 0;
}

static const struct ph_option options[] = {
	{ .name = "greeting", .type = PH_OPT_TEXT, .preset = "hello", .help = "What X-Faulty begins with." },
	{ .name = "limit", .type = PH_OPT_NUMBER, .preset = "7", .min = 1, .max = 100, .help = "A number." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("faulty", "1.0"),
	.wants = PH_CAP_HEADERS,
	.may_use = PH_CAP_SENDER | PH_CAP_RCPTS | PH_CAP_BODY,
	.options = options,
	.init = init,
	.fini = fini,
	.connect = on_connect, .helo = on_helo, .mail = on_mail, .rcpt = on_rcpt, .data = on_data,
	.message = on_message, .end = on_end,
};
PH_PLUGIN(plugin)
