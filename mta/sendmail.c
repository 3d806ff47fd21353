/*
 * sendmail, mailq, newaliases: the commands by which other programs send mail, as every
 * Unix mail system has them. Options that this one has no use for are taken and ignored.
 *
 * A message goes into the maildrop (lib/client/drop.h), from where pickupd takes it at
 * once, or when the instance is started: so the command needs no privilege, works for root
 * and for everybody, and its status 0 means that the message survives a power cut. Recipients
 * that do not exist are told to the sender by mail.
 */
#include "mta/sendmail.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/text.h"
#include "lib/mail/address.h"
#include "lib/mail/envelope.h"

#define DEFAULT_SIZE (50u << 20)
#define OPTIONS "A:B:b:C:cD:d:e:F:f:Gh:IiL:mN:nO:o:p:Q:q::R:r:stUV:vX:x"

enum mode { MODE_SEND, MODE_SMTP, MODE_LIST, MODE_FLUSH, MODE_ALIASES, MODE_VERIFY, MODE_DAEMON,
	MODE_UNKNOWN };

int
sendmail_fail(const struct sendmail *s, int status, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", s->program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return status;
}

/* ---- addresses ---- */

static bool
is_dot_atom(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_isalnum(s.p[i]) && !((unsigned char)s.p[i] & 0x80) &&
		    !strchr(".!#$%&'*+-/=?^_`{|}~", s.p[i]))
			return false;
	return s.n > 0 && s.p[0] != '.' && s.p[s.n - 1] != '.' && str_find(s, STR("..")) < 0;
}

/* local@domain as SMTP says it (RFC 5321 section 4.1.2). */
static struct str
address_text(struct arena *a, const struct address *x)
{
	struct buf b = { 0 };
	struct str out;

	if (is_dot_atom(x->local)) {
		buf_str(&b, x->local);
	} else {
		buf_putc(&b, '"');
		for (size_t i = 0; i < x->local.n; i++) {
			if (strchr("\"\\", x->local.p[i]))
				buf_putc(&b, '\\');
			buf_putc(&b, x->local.p[i]);
		}
		buf_putc(&b, '"');
	}
	if (x->domain.n) {
		buf_putc(&b, '@');
		buf_str(&b, x->domain);
	}
	out = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return out;
}

static int
add_one(struct sendmail *s, struct str address)
{
	if (ascii_has_control(address))
		return sendmail_fail(s, EX_DATAERR_, "an address has a control character");
	if (s->n_rcpts == DROP_RCPTS)
		return sendmail_fail(s, EX_DATAERR_, "more than %u recipients", DROP_RCPTS);
	if (s->n_rcpts == s->rcpts_cap) {
		size_t cap = s->rcpts_cap ? s->rcpts_cap * 2 : 16;
		struct str *v = ARENA_ARRAY(s->arena, struct str, cap);

		if (!v)
			return sendmail_fail(s, EX_TEMPFAIL_, "out of memory");
		if (s->n_rcpts)
			memcpy(v, s->rcpts, s->n_rcpts * sizeof *v);
		s->rcpts = v;
		s->rcpts_cap = cap;
	}
	s->rcpts[s->n_rcpts++] = address;
	return 0;
}

int
sendmail_add(struct sendmail *s, struct str list)
{
	struct addresses all;
	int rc = 0;

	address_parse(list, s->arena, &all);
	for (size_t i = 0; i < all.n && !rc; i++)
		if (all.v[i].kind == ADDRESS_MAILBOX)
			rc = add_one(s, address_text(s->arena, &all.v[i]));
	return rc;
}

int
sendmail_address(const struct sendmail *s, struct str text, struct str *ret)
{
	struct addresses all;

	text = str_trim(text);
	if (!text.n || str_eq(text, STR("<>"))) {
		*ret = STR("");
		return 0;
	}
	address_parse(text, s->arena, &all);
	if (all.n != 1 || all.v[0].kind != ADDRESS_MAILBOX || all.cut)
		return sendmail_fail(s, EX_USAGE_, "'%.*s' is no address", STR_ARG(str_head(text, 200)));
	*ret = address_text(s->arena, &all.v[0]);
	return ascii_has_control(*ret) ? sendmail_fail(s, EX_USAGE_, "an address has a control character") : 0;
}

/* ---- the maildrop ---- */

const char *
sendmail_folder(const struct sendmail *s)
{
	if (s->settings)
		return arena_printf(s->arena, "%.*s/new", STR_ARG(s->settings->maildrop_dir)).p;
	return LOCALSTATEDIR "/lib/posthorn/maildrop/new";
}

int
sendmail_drop(const struct sendmail *s, const struct drop *d)
{
	struct err e = { 0 };
	int rc = drop_write(sendmail_folder(s), d, &e);

	if (!rc)
		return 0;
	if (rc == -ENOENT)
		return sendmail_fail(s, EX_TEMPFAIL_, "%s (the instance makes it when it is started)", e.text);
	return sendmail_fail(s, rc == -EACCES || rc == -EPERM ? EX_NOPERM_ : EX_TEMPFAIL_, "%s", e.text);
}

/* ---- who sends ---- */

static struct str
full_name(const struct passwd *pw)
{
	struct str gecos = str_c(pw->pw_gecos);

	return str_trim(str_cut(&gecos, ','));
}

/* The login name, and a full name unless -F gave one. What a passwd file has with control
 * characters is not used. */
static void
who_am_i(struct sendmail *s)
{
	const struct passwd *pw = getpwuid(getuid());
	const char *name = getenv("NAME");

	if (pw && !ascii_has_control(str_c(pw->pw_name)))
		s->drop.login = arena_dup(s->arena, str_c(pw->pw_name));
	else
		s->drop.login = arena_printf(s->arena, "uid%u", (unsigned)getuid());
	if (s->drop.name.p)
		return;
	if (name && *name)
		s->drop.name = str_c(name);
	else if (pw)
		s->drop.name = arena_dup(s->arena, full_name(pw));
	if (ascii_has_control(s->drop.name))
		s->drop.name = STR_NULL;
}

/* ---- options ---- */

static int
set_notify(struct sendmail *s, const char *arg)
{
	static const struct {
		const char *word;
		uint32_t bit;
	} words[] = {
		{ "never", NOTIFY_NEVER }, { "success", NOTIFY_SUCCESS },
		{ "failure", NOTIFY_FAILURE }, { "delay", NOTIFY_DELAY },
	};
	struct str rest = str_c(arg);
	uint32_t bits = 0, one;

	while (rest.p) {
		struct str w = str_trim(str_cut(&rest, ','));

		one = 0;
		for (size_t i = 0; i < sizeof words / sizeof *words; i++)
			if (str_ieq(w, str_c(words[i].word)))
				one = words[i].bit;
		if (!one)
			return sendmail_fail(s, EX_USAGE_, "-N %s: never, or of success,failure,delay", arg);
		bits |= one;
	}
	if ((bits & NOTIFY_NEVER) && bits != NOTIFY_NEVER)
		return sendmail_fail(s, EX_USAGE_, "-N never stands alone");
	s->drop.notify = bits;
	return 0;
}

static int
set_ret(struct sendmail *s, const char *arg)
{
	if (!strcasecmp(arg, "full"))
		s->drop.ret = 1;
	else if (!strcasecmp(arg, "hdrs"))
		s->drop.ret = 2;
	else
		return sendmail_fail(s, EX_USAGE_, "-R is full or hdrs");
	return 0;
}

static int
set_text(struct sendmail *s, int option, const char *arg, struct str *ret)
{
	*ret = str_c(arg);
	if (!ascii_has_control(*ret) && ret->n <= 1000)
		return 0;
	return sendmail_fail(s, EX_USAGE_, "-%c: a short line is wanted", option);
}

static int
set_sender(struct sendmail *s, const char *arg)
{
	s->drop.has_sender = true;
	return sendmail_address(s, str_c(arg), &s->drop.sender);
}

/* -bX; 'm' is what the command does anyway. */
static enum mode
mode_of(char c)
{
	switch (c) {
	case 'm':
		return MODE_SEND;
	case 's':
		return MODE_SMTP;
	case 'p':
		return MODE_LIST;
	case 'i':
		return MODE_ALIASES;
	case 'v':
		return MODE_VERIFY;
	case 'd':
	case 'D':
	case 'l':
		return MODE_DAEMON;
	default:
		return MODE_UNKNOWN;
	}
}

struct wanted {
	enum mode mode;
	const char *queue;       /* behind -q, or NULL */
	bool flush;
};

/* One option. 0 or a status. Those without a row here are of no use to this program. */
static int
option(struct sendmail *s, struct wanted *w, int c, const char *arg)
{
	switch (c) {
	case 'b':
		w->mode = mode_of(*arg);
		return w->mode == MODE_UNKNOWN ?
		    sendmail_fail(s, EX_USAGE_, "-b%s is not supported", arg) : 0;
	case 'B':
		s->drop.body = !strcasecmp(arg, "8BITMIME");
		return 0;
	case 'C':
		s->config_path = arg;
		return 0;
	case 'F':
		return set_text(s, c, arg, &s->drop.name);
	case 'f':
	case 'r':
		return set_sender(s, arg);
	case 'I':
		w->mode = MODE_ALIASES;
		return 0;
	case 'i':
		s->dots = true;
		return 0;
	case 'N':
		return set_notify(s, arg);
	case 'o':
		s->dots = s->dots || !strcmp(arg, "i");
		return 0;
	case 'q':
		w->flush = true;
		w->queue = arg;
		return 0;
	case 'R':
		return set_ret(s, arg);
	case 't':
		s->from_header = true;
		return 0;
	case 'V':
		return set_text(s, c, arg, &s->drop.envid);
	case 'v':
		s->verbose = true;
		return 0;
	case '?':
		return sendmail_fail(s, EX_USAGE_, "usage: %s [option ...] [recipient ...]; see sendmail(1)",
		    s->program);
	default:
		return 0;
	}
}

/* -O and -o that begin with "i" alone mean -i; "Option=value" is ignored. */
static int
options(struct sendmail *s, struct wanted *w, int argc, char **argv)
{
	int c, rc = 0;

	opterr = 0;
	while (!rc && (c = getopt(argc, argv, OPTIONS)) != -1)
		rc = option(s, w, c, optarg);
	return rc;
}

/* ---- running ---- */

/* What root or the admin of the instance told; without it the built-in places hold. */
static void
load_settings(struct sendmail *s)
{
	struct conf_errors errors;
	struct stat st;
	const char *path = s->config_path;

	if (path && !stat(path, &st) && S_ISDIR(st.st_mode))
		path = arena_printf(s->arena, "%s/posthorn.conf", path).p;
	s->settings = settings_load(path ? path : SYSCONFDIR "/posthorn/posthorn.conf", s->arena, &errors);
	s->size_limit = s->settings ? s->settings->message_size_limit : DEFAULT_SIZE;
}

static enum mode
mode_by_name(const char *name)
{
	if (!strcmp(name, "mailq"))
		return MODE_LIST;
	return !strcmp(name, "newaliases") ? MODE_ALIASES : MODE_SEND;
}

static int
run(struct sendmail *s, const struct wanted *w, int argc, char **argv)
{
	int rc = 0;

	if (w->mode == MODE_DAEMON || (w->flush && w->queue && isdigit((unsigned char)*w->queue)))
		return sendmail_fail(s, EX_USAGE_, "the mail system is not started by this command, but by "
		    "'posthorn start' or 'systemctl start posthorn'");
	for (int i = optind; i < argc && !rc && w->mode != MODE_LIST; i++)
		rc = sendmail_add(s, str_c(argv[i]));
	if (rc)
		return rc;
	if (w->flush && w->mode == MODE_SEND)
		return sendmail_flush(s, w->queue);
	switch (w->mode) {
	case MODE_LIST:
		return sendmail_list(s);
	case MODE_ALIASES:
		return 0; /* files of aliases are watched: there is nothing to build */
	case MODE_VERIFY:
		return sendmail_verify(s);
	case MODE_SMTP:
		return sendmail_session(s, stdin, stdout);
	default:
		return sendmail_send(s);
	}
}

int
main(int argc, char **argv)
{
	const char *slash = argc ? strrchr(argv[0], '/') : NULL;
	struct sendmail s = { .program = slash ? slash + 1 : argc ? argv[0] : "sendmail",
		.arena = arena_new(0) };
	struct wanted w = { .mode = mode_by_name(s.program) };
	struct settings *settings;
	int rc;

	if (!s.arena)
		return EX_TEMPFAIL_;
	rc = options(&s, &w, argc, argv);
	if (!rc) {
		load_settings(&s);
		who_am_i(&s);
		rc = run(&s, &w, argc, argv);
	}
	settings = (struct settings *)(uintptr_t)s.settings;
	settings_free(&settings);
	arena_free(&s.arena);
	return rc;
}
