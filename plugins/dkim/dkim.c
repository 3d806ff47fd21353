/*
 * dkim: DKIM signatures of mail that comes in are verified (verify.h), and told to the plugins
 * behind by the notes `dkim` and `auth.dkim`; mail that users submit is signed (signer.h).
 *
 * Nothing is refused for a signature that does not verify (RFC 6376 section 6.3): mail breaks
 * them on its way. What a site may ask for is that authors of certain domains (`require`) come
 * with a signature of their domain's; `mode enforce` refuses what has none.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "plugins/dkim/author.h"
#include "plugins/dkim/signer.h"
#include "plugins/dkim/verify.h"

#define NOTE_MAX 4000  /* of the host's 4096 */
#define REFRESH_MS 5000

enum mode { MODE_MARK, MODE_ENFORCE };

struct dkim_plugin {
	struct verifier *verifier;
	struct signer *signer; /* NULL: does not sign */
	int verifies;
	enum mode mode;
	char (*require)[254];
	unsigned n_require;
};

/* ---- notes ---- */

struct text {
	char p[NOTE_MAX + 1];
	size_t n;
};

/* Appends all of it, or nothing when there is no room. */
__attribute__((format(printf, 2, 3))) static void
put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->p + t->n, sizeof t->p - t->n, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < sizeof t->p - t->n)
		t->n += (size_t)n;
	t->p[t->n] = '\0';
}

static void
put_property(char *out, size_t room, const char *name, const char *value, int quoted)
{
	size_t n = strlen(out);

	if (value[0])
		snprintf(out + n, room - n, quoted ? " header.%s=\"%s\"" : " header.%s=%s", name, value);
}

/* resinfo (RFC 8601 section 2.2), with the properties of section 2.7.1 and of RFC 6008. */
static void
put_resinfo(struct text *t, const struct verify_signature *s)
{
	char props[1200] = "";

	put_property(props, sizeof props, "d", s->domain, 0);
	put_property(props, sizeof props, "s", s->selector, 0);
	put_property(props, sizeof props, "i", s->identity, 1);
	put_property(props, sizeof props, "a", s->algorithm, 0);
	put_property(props, sizeof props, "b", s->b, 1);
	put(t, "%sdkim=%s%s%s%s%s", t->n ? "; " : "", verify_result_name(s->result),
	    s->reason[0] ? " reason=\"" : "", s->reason, s->reason[0] ? "\"" : "", props);
}

static void
set_notes(struct ph_call *c, const struct verify_signature *sig, int n)
{
	struct text *results = ph_alloc(c, sizeof *results), *words = ph_alloc(c, sizeof *words);

	if (!results || !words)
		return;
	for (int i = 0; i < n; i++) {
		put_resinfo(results, &sig[i]);
		put(words, "%s%s %s %s", words->n ? ";" : "", verify_result_name(sig[i].result),
		    sig[i].domain[0] ? sig[i].domain : "-", sig[i].selector[0] ? sig[i].selector : "-");
	}
	if (!n)
		put(results, "dkim=none");
	ph_note_set(c, "dkim", ph_bytes(words->p, words->n));
	ph_note_set(c, "auth.dkim", ph_bytes(results->p, results->n));
	if (n)
		ph_log(PH_INFO, "txn=%.*s verified: %.700s", PH_ARG(ph_text(c, PH_TRANSACTION)), words->p);
}

static void
count(const struct verify_signature *sig, int n)
{
	char name[40];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof name, "verify_%s", verify_result_name(sig[i].result));
		ph_count(name, 1);
	}
	if (!n)
		ph_count("verify_none", 1);
}

/* ---- domains that must sign ---- */

/* PASS: one of the domain's signatures does; TEMPERROR: one might. */
static enum verify_result
signed_by(const char *domain, const struct verify_signature *sig, int n)
{
	enum verify_result r = VERIFY_FAIL;

	for (int i = 0; i < n; i++) {
		if (!author_below(sig[i].domain, domain))
			continue;
		if (sig[i].result == VERIFY_PASS)
			return VERIFY_PASS;
		if (sig[i].result == VERIFY_TEMPERROR)
			r = VERIFY_TEMPERROR;
	}
	return r;
}

static void
read_authors(struct ph_call *c, struct author *a)
{
	struct author one;
	struct ph_header h;
	int i = -1;

	a->n = 0;
	while ((i = ph_header_find(c, "From", (uint32_t)(i + 1))) >= 0 && !ph_header(c, (uint32_t)i, &h)) {
		author_parse(h.value, &one);
		for (unsigned k = 0; k < one.n && a->n < AUTHOR_MAX; k++)
			memcpy(a->domain[a->n++], one.domain[k], sizeof one.domain[k]);
	}
}

static enum ph_action
refuse(struct ph_call *c, enum verify_result r, const char *domain)
{
	char *text = ph_alloc(c, 400);

	ph_count(r == VERIFY_TEMPERROR ? "deferred" : "refused", 1);
	if (text)
		snprintf(text, 400, "Mail of %s needs a valid DKIM signature", domain);
	if (r == VERIFY_TEMPERROR)
		ph_reply(c, 451, "4.7.5", ph_c(text));
	else
		ph_reply(c, 550, "5.7.20", ph_c(text)); /* RFC 7372 section 3.1 */
	return r == VERIFY_TEMPERROR ? PH_TEMPFAIL : PH_REJECT;
}

static enum ph_action
enforce(struct ph_call *c, const struct dkim_plugin *p, const struct verify_signature *sig, int n)
{
	struct author a;

	read_authors(c, &a);
	for (unsigned i = 0; i < a.n; i++)
		for (unsigned k = 0; k < p->n_require; k++) {
			enum verify_result r;

			if (!author_below(a.domain[i], p->require[k]))
				continue;
			r = signed_by(p->require[k], sig, n);
			if (r != VERIFY_PASS)
				return refuse(c, r, p->require[k]);
		}
	return PH_CONTINUE;
}

static enum ph_action
verify(struct ph_call *c, const struct dkim_plugin *p)
{
	struct verify_signature *sig = ph_alloc(c, VERIFY_SIGNATURES_MAX * sizeof *sig);
	int n = sig ? verify_message(p->verifier, ph_message(c), record_fetch, c, sig) : -1;

	if (n < 0)
		return PH_TEMPFAIL;
	set_notes(c, sig, n);
	count(sig, n);
	return p->mode == MODE_ENFORCE && p->n_require ? enforce(c, p, sig, n) : PH_CONTINUE;
}

static enum ph_action
message(struct ph_call *c)
{
	const struct dkim_plugin *p = ph_self(c);

	if (ph_number(c, PH_FLAGS) & PH_F_SUBMITTED)
		return p->signer ? signer_sign(p->signer, c) : PH_CONTINUE;
	return p->verifies ? verify(c, p) : PH_CONTINUE;
}

/* ---- start ---- */

static int
read_require(struct ph_conf *conf, struct dkim_plugin *p)
{
	struct ph_str d;
	unsigned n = 0;

	while (ph_option_item(conf, "require", n).p)
		n++;
	p->require = calloc(n + 1, sizeof *p->require);
	if (!p->require)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		d = ph_option_item(conf, "require", i);
		if (!d.n || d.n >= sizeof p->require[i])
			ph_conf_error(conf, "require", "a domain name is needed");
		else
			memcpy(p->require[p->n_require++], d.p, d.n);
	}
	return 0;
}

static void
fini(void *self)
{
	struct dkim_plugin *p = self;

	if (!p)
		return;
	verifier_free(&p->verifier);
	signer_free(&p->signer);
	free(p->require);
	free(p);
}

static uint64_t
timer(void *self, uint64_t now_ms)
{
	struct dkim_plugin *p = self;

	(void)now_ms;
	if (!p->signer)
		return 0;
	signer_refresh(p->signer);
	return REFRESH_MS;
}

/* Needs what only mail that comes in, or only keys, ask for. */
static int
begin(struct ph_conf *conf, struct dkim_plugin *p)
{
	if (p->verifies && !ph_granted(PH_CAP_DNS))
		ph_conf_error(conf, "verify", "needs 'grant dns'");
	if (!ph_option_number(conf, "sign"))
		return 0;
	if (ph_granted(PH_CAP_FILES | PH_CAP_HEADERS))
		return signer_new(conf, &p->signer);
	ph_conf_error(conf, "sign", "needs 'grant files, headers'");
	return -EINVAL;
}

static int
init(struct ph_conf *conf, void **self)
{
	struct dkim_plugin *p = calloc(1, sizeof *p);
	struct verify_rules rules = {
		.signatures = (unsigned)ph_option_number(conf, "signatures"),
		.min_bits = (unsigned)ph_option_number(conf, "key-bits"),
		.length = (int)ph_option_number(conf, "body-length"),
		.drift = (uint64_t)ph_option_number(conf, "clock-skew") / 1000,
	};

	if (!p)
		return -ENOMEM;
	p->verifies = (int)ph_option_number(conf, "verify");
	p->mode = (enum mode)ph_option_number(conf, "mode");
	p->verifier = verifier_new(&rules);
	if (!p->verifier || read_require(conf, p) || begin(conf, p)) {
		fini(p);
		return -EINVAL;
	}
	*self = p;
	return 0;
}

static const struct ph_option options[] = {
	{ .name = "mode", .type = PH_OPT_CHOICE, .preset = "mark", .words = "mark|enforce",
	    .help = "Whether mail is only marked, or refused where require asks for it." },
	{ .name = "verify", .type = PH_OPT_SWITCH, .preset = "on",
	    .help = "Whether signatures of mail that comes in are verified." },
	{ .name = "signatures", .type = PH_OPT_NUMBER, .preset = "10", .min = 1, .max = VERIFY_SIGNATURES_MAX,
	    .help = "How many signatures of a message are verified, the topmost first." },
	{ .name = "key-bits", .type = PH_OPT_NUMBER, .preset = "1024", .min = 1024, .max = 4096,
	    .help = "The shortest RSA key whose signatures count." },
	{ .name = "body-length", .type = PH_OPT_CHOICE, .preset = "refuse", .words = "refuse|accept",
	    .help = "Whether signatures of a part of the body (l=) count." },
	{ .name = "clock-skew", .type = PH_OPT_TIME, .preset = "5m", .min = 0, .max = 86400000,
	    .help = "How far a signer's clock may be from ours." },
	{ .name = "require", .type = PH_OPT_LIST, .preset = "",
	    .help = "Domains whose mail (From) must bear a valid signature of theirs." },
	{ .name = "sign", .type = PH_OPT_SWITCH, .preset = "off",
	    .help = "Whether mail that users submit is signed." },
	{ .name = "sign-for", .type = PH_OPT_CHOICE, .preset = "sender", .words = "sender|any",
	    .help = "Whether the envelope sender must be of the author's domain." },
	{ .name = "subdomains", .type = PH_OPT_SWITCH, .preset = "off",
	    .help = "Whether keys of a domain sign for authors of domains below it that have none." },
	{ .name = "canonicalization", .type = PH_OPT_CHOICE, .preset = "relaxed/relaxed",
	    .words = "relaxed/relaxed|relaxed/simple|simple/relaxed|simple/simple",
	    .help = "Which changes on the way signatures bear, in the header and in the body." },
	{ .name = "sign-fields", .type = PH_OPT_LIST, .preset = "", .help = "Header fields that are signed." },
	{ .name = "oversign-fields", .type = PH_OPT_LIST, .preset = "",
	    .help = "Header fields that are signed once more than they are there." },
	{ .name = "lifetime", .type = PH_OPT_TIME, .preset = "0", .min = 0, .max = INT64_C(31536000000),
	    .help = "How long a signature is valid." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("dkim", "1.0"),
	.flags = PH_THREADSAFE,
	.may_use = PH_CAP_DNS | PH_CAP_FILES | PH_CAP_HEADERS,
	.options = options,
	.init = init,
	.fini = fini,
	.message = message,
	.timer = timer,
};
PH_PLUGIN(plugin)
