/* The macros that a milter is told of; see macros.h. */
#include "plugins/milter/macros.h"

#include <stdio.h>

/* What each stage has when the milter asks for nothing else. */
static const char *const usual[MILTER_STAGES] = {
	[MS_CONNECT] = "j _ {daemon_name} {client_addr} {client_name} v",
	[MS_HELO] = "{tls_version} {cipher} {cipher_bits}",
	[MS_MAIL] = "i {auth_type} {auth_authen} {mail_addr} {mail_host} {mail_mailer}",
	[MS_RCPT] = "i {rcpt_addr} {rcpt_host} {rcpt_mailer}",
	[MS_DATA] = "i",
	[MS_EOH] = "i",
	[MS_END] = "i",
};

struct scope {
	const struct milter_session *s;
	struct ph_call *c;
	struct ph_str rcpt;
};

static struct str
text(const struct scope *k, enum ph_text what)
{
	struct ph_str s = ph_text(k->c, what);

	return str_from(s.p, s.n);
}

static struct str
host_part(struct str address)
{
	ptrdiff_t at = str_rchr(address, '@');

	return at < 0 ? STR_NULL : str_skip(address, (size_t)at + 1);
}

static void
put_client(struct buf *b, const struct scope *k)
{
	struct str ip = text(k, PH_CLIENT_IP), name = text(k, PH_CLIENT_NAME);

	if (name.n)
		buf_str(b, name);
	else if (ip.n)
		buf_printf(b, "[%.*s]", STR_ARG(ip));
	else
		buf_puts(b, "localhost");
}

static void
put_origin(struct buf *b, const struct scope *k)
{
	struct str ip = text(k, PH_CLIENT_IP);

	put_client(b, k);
	buf_printf(b, " [%.*s]", STR_ARG(ip.n ? ip : STR("127.0.0.1")));
}

static void
put_address(struct buf *b, const struct scope *k)
{
	struct str ip = text(k, PH_CLIENT_IP);

	buf_str(b, ip.n ? ip : STR("127.0.0.1"));
}

static void
put_daemon(struct buf *b, const struct scope *k)
{
	struct ph_str name = k->s->o->daemon;

	buf_str(b, name.n ? str_from(name.p, name.n) : text(k, PH_LISTENER));
}

static void
put_hostname(struct buf *b, const struct scope *k)
{
	buf_str(b, text(k, PH_HOSTNAME));
}

static void
put_version(struct buf *b, const struct scope *k)
{
	(void)k;
	buf_puts(b, "Posthorn");
}

/* "TLSv1.3 with cipher X (256 bits)": word 0, 3, 4. */
static void
put_tls_word(struct buf *b, const struct scope *k, int at)
{
	struct str rest = text(k, PH_TLS), word = STR_NULL;

	for (int i = 0; i <= at; i++)
		word = str_word(&rest);
	buf_str(b, word.n && word.p[0] == '(' ? str_skip(word, 1) : word);
}

static void
put_tls_version(struct buf *b, const struct scope *k)
{
	put_tls_word(b, k, 0);
}

static void
put_cipher(struct buf *b, const struct scope *k)
{
	put_tls_word(b, k, 3);
}

static void
put_bits(struct buf *b, const struct scope *k)
{
	put_tls_word(b, k, 4);
}

static void
put_id(struct buf *b, const struct scope *k)
{
	buf_str(b, text(k, PH_TRANSACTION));
}

static void
put_user(struct buf *b, const struct scope *k)
{
	buf_str(b, text(k, PH_USER));
}

/* How somebody logged in is not told to plugins; milters look whether there is any word. */
static void
put_auth_type(struct buf *b, const struct scope *k)
{
	if (text(k, PH_USER).n)
		buf_puts(b, "SASL");
}

static void
put_sender(struct buf *b, const struct scope *k)
{
	buf_str(b, text(k, PH_SENDER));
}

static void
put_sender_host(struct buf *b, const struct scope *k)
{
	buf_str(b, host_part(text(k, PH_SENDER)));
}

static void
put_mailer(struct buf *b, const struct scope *k)
{
	(void)k;
	buf_puts(b, "smtp");
}

static void
put_rcpt(struct buf *b, const struct scope *k)
{
	buf_str(b, str_from(k->rcpt.p, k->rcpt.n));
}

static void
put_rcpt_host(struct buf *b, const struct scope *k)
{
	buf_str(b, host_part(str_from(k->rcpt.p, k->rcpt.n)));
}

static void
put_size(struct buf *b, const struct scope *k)
{
	uint64_t n = ph_number(k->c, PH_SIZE);

	if (n)
		buf_u64(b, n);
}

static void
put_rcpts(struct buf *b, const struct scope *k)
{
	buf_u64(b, ph_number(k->c, PH_RCPTS));
}

static const struct known {
	const char *name;
	void (*put)(struct buf *b, const struct scope *k);
} known[] = {
	{ "_", put_origin }, { "j", put_hostname }, { "v", put_version }, { "i", put_id },
	{ "{if_name}", put_hostname }, { "{daemon_name}", put_daemon },
	{ "{client_addr}", put_address }, { "{client_name}", put_client }, { "{client_ptr}", put_client },
	{ "{tls_version}", put_tls_version }, { "{cipher}", put_cipher }, { "{cipher_bits}", put_bits },
	{ "{auth_type}", put_auth_type }, { "{auth_authen}", put_user },
	{ "{mail_addr}", put_sender }, { "{mail_host}", put_sender_host }, { "{mail_mailer}", put_mailer },
	{ "{rcpt_addr}", put_rcpt }, { "{rcpt_host}", put_rcpt_host }, { "{rcpt_mailer}", put_mailer },
	{ "{msg_size}", put_size }, { "{nrcpts}", put_rcpts },
};

static void
put_value(struct buf *b, const struct scope *k, struct str name)
{
	const struct milter_options *o = k->s->o;

	for (size_t i = 0; i < o->n_macros; i++)
		if (str_eq(name, str_from(o->macros[i].name.p, o->macros[i].name.n))) {
			buf_str(b, str_from(o->macros[i].value.p, o->macros[i].value.n));
			return;
		}
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (str_eq(name, str_c(known[i].name)))
			known[i].put(b, k);
}

/* Milters ask for "{i}" and "i", both are the same; long names have braces. */
static struct str
plain(struct str name)
{
	return name.n == 3 && name.p[0] == '{' ? str_from(name.p + 1, 1) : name;
}

static bool
put_macro(struct buf *b, const struct scope *k, struct str name)
{
	struct buf value = { .max = 4096 };
	bool any;

	put_value(&value, k, plain(name));
	any = value.n > 0;
	if (any) {
		milter_put_string(b, name);
		milter_put_string(b, buf_view(&value));
	}
	buf_done(&value);
	return any;
}

void
milter_put_macros(struct buf *b, const struct milter_session *s, struct ph_call *c,
    enum milter_stage stage, struct ph_str rcpt)
{
	static const char commands[MILTER_STAGES] = { [MS_CONNECT] = MC_CONNECT, [MS_HELO] = MC_HELO,
		[MS_MAIL] = MC_MAIL, [MS_RCPT] = MC_RCPT, [MS_DATA] = MC_DATA, [MS_EOH] = MC_EOH,
		[MS_END] = MC_END };
	const char *names = s->terms.macros[stage] ? s->terms.macros[stage] : usual[stage];
	struct scope k = { s, c, rcpt };
	size_t start = b->n, at = milter_begin(b, MC_MACRO);
	bool any = false;

	buf_putc(b, commands[stage]);
	for (struct str rest = str_c(names); rest.n;) {
		struct str name = str_word(&rest);

		if (name.n)
			any |= put_macro(b, &k, name);
	}
	for (size_t i = 0; stage == MS_CONNECT && i < s->o->n_macros; i++)
		any |= put_macro(b, &k, str_from(s->o->macros[i].name.p, s->o->macros[i].name.n));
	if (any)
		milter_end(b, at);
	else
		buf_truncate(b, start);
}
