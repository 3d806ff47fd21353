/*
 * arc: the chain of ARC (RFC 8617) of mail that comes in is validated, and told to the plugins behind by
 * the notes `arc`, `arc.dmarc` and `auth.arc`; mail that goes on to somewhere else is sealed.
 *
 * A set is made of what the plugins before have found (their notes auth.*), and covers the message as
 * it then is: plugins that change it must stand before this one. A chain that fails is not
 * continued: nobody would believe it.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "plugins/arc/chain.h"
#include "plugins/arc/seal.h"
#include "plugins/dkim/key.h"

#define NOTE_MAX 4000
#define RESULTS_MAX 8192

enum seal_what { SEAL_OFF, SEAL_FORWARDED, SEAL_ALL };

struct arc_plugin {
	enum seal_what seal;
	struct keys_one key;
	struct sign_rules rules;
};

/* What a message takes while it is looked at. */
struct work {
	struct canon_message m;
	struct chain chain;
	struct seal seal;
	char results[RESULTS_MAX];
};

static const char *const signed_fields[] = {
	"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "DKIM-Signature", "List-Id",
};

/* ---- notes ---- */

static void
set_notes(struct ph_call *c, const struct chain *chain)
{
	const char *state = chain_state_name(chain->state);
	char *text = ph_alloc(c, NOTE_MAX);
	int n = text ? snprintf(text, NOTE_MAX, "%s", state) : 0;

	if (!text)
		return;
	for (unsigned i = chain->n; i >= 1 && n < NOTE_MAX - 260; i--)
		if (chain->set[i].domain[0])
			n += snprintf(text + n, NOTE_MAX - (size_t)n, " %s", chain->set[i].domain);
	ph_note_set(c, "arc", ph_bytes(text, (size_t)n));
	ph_note_set(c, "arc.dmarc", ph_c(chain->state == CHAIN_PASS ? chain_dmarc(chain) : ""));
	if (chain->state == CHAIN_FAIL)
		n = snprintf(text, NOTE_MAX, "arc=fail reason=\"%s\"", chain->why);
	else
		n = snprintf(text, NOTE_MAX, "arc=%s", state);
	ph_note_set(c, "auth.arc", ph_bytes(text, (size_t)n));
}

static void
tell(struct ph_call *c, const struct chain *chain)
{
	char name[32];

	snprintf(name, sizeof name, "chain_%s", chain_state_name(chain->state));
	ph_count(name, 1);
	if (chain->state == CHAIN_FAIL)
		ph_log(PH_INFO, "txn=%.*s chain of %u fails at %u: %s", PH_ARG(ph_text(c, PH_TRANSACTION)), chain->n,
		    chain->set_wrong, chain->why);
	else if (chain->state == CHAIN_PASS)
		ph_log(PH_INFO, "txn=%.*s chain of %u passes", PH_ARG(ph_text(c, PH_TRANSACTION)), chain->n);
}

/* ---- sealing ---- */

/* Whether somebody gets it whom RCPT has not named: an alias, a forwarding. */
static int
is_forwarded(struct ph_call *c)
{
	struct ph_rcpt r;

	for (uint32_t i = 0; !ph_rcpt(c, i, &r); i++)
		if (!ph_ieq(r.address, r.said))
			return 1;
	return 0;
}

/* "mx.example.org; spf=pass ...; dkim=pass ...", one method a line. */
static void
compose(struct ph_call *c, char *out, size_t room)
{
	static const char *const notes[] = { "auth.iprev", "auth.spf", "auth.dkim", "auth.dmarc", "auth.arc" };
	size_t n = (size_t)snprintf(out, room, "%.*s", PH_ARG(ph_text(c, PH_HOSTNAME))), before = n;

	for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
		struct ph_str v = ph_note(c, notes[i]);

		if (v.n && n + v.n + 8 < room)
			n += (size_t)snprintf(out + n, room - n, ";\r\n\t%.*s", PH_ARG(v));
	}
	if (n == before)
		snprintf(out + n, room - n, "; none");
}

static enum ph_action
seal(struct ph_call *c, const struct arc_plugin *p, struct work *w)
{
	compose(c, w->results, sizeof w->results);
	if (seal_make(&w->m, &w->chain, &p->rules, &p->key, w->results, (uint64_t)time(NULL), &w->seal)) {
		ph_count("unsealed", 1);
		ph_log(PH_WARN, "txn=%.*s cannot be sealed", PH_ARG(ph_text(c, PH_TRANSACTION)));
		return PH_CONTINUE;
	}
	if (ph_header_add(c, PH_TOP, ph_c("ARC-Seal"), ph_c(w->seal.seal)) ||
	    ph_header_add(c, PH_TOP, ph_c("ARC-Message-Signature"), ph_c(w->seal.message)) ||
	    ph_header_add(c, PH_TOP, ph_c("ARC-Authentication-Results"), ph_c(w->seal.results)))
		return PH_TEMPFAIL;
	ph_count("sealed", 1);
	return PH_CONTINUE;
}

static int
wants_seal(struct ph_call *c, const struct arc_plugin *p, const struct chain *chain)
{
	if (chain->state == CHAIN_FAIL || p->seal == SEAL_OFF)
		return 0;
	return p->seal == SEAL_ALL || is_forwarded(c);
}

static enum ph_action
message(struct ph_call *c)
{
	const struct arc_plugin *p = ph_self(c);
	struct work *w;

	if (ph_number(c, PH_FLAGS) & PH_F_SUBMITTED)
		return PH_CONTINUE;
	w = ph_alloc(c, sizeof *w);
	if (!w)
		return PH_TEMPFAIL;
	if (canon_split(ph_message(c), &w->m)) {
		w->chain.state = CHAIN_FAIL;
		w->chain.why = "the header is too long";
	} else {
		chain_verify(&w->m, record_fetch, c, &w->chain);
	}
	set_notes(c, &w->chain);
	tell(c, &w->chain);
	return wants_seal(c, p, &w->chain) ? seal(c, p, w) : PH_CONTINUE;
}

/* ---- start ---- */

static void
copy_name(struct ph_conf *conf, const char *option, char *out, size_t room)
{
	struct ph_str s = ph_option_text(conf, option);

	for (size_t i = 0; i < s.n; i++)
		if (strchr("; \t\r\n\"", s.p[i]))
			s.n = 0;
	if (!s.n || s.n >= room)
		ph_conf_error(conf, option, "a name is needed to seal");
	else
		memcpy(out, s.p, s.n);
}

/* What sealing needs. */
static int
read_seal(struct ph_conf *conf, struct arc_plugin *p)
{
	struct ph_str pem = ph_option_text(conf, "key");

	if (!ph_granted(PH_CAP_HEADERS))
		ph_conf_error(conf, "seal", "needs 'grant headers'");
	copy_name(conf, "domain", p->key.domain, sizeof p->key.domain);
	copy_name(conf, "selector", p->key.selector, sizeof p->key.selector);
	p->key.key = pem.n ? key_private(pem) : NULL;
	if (p->key.key)
		return ph_granted(PH_CAP_HEADERS) && p->key.domain[0] && p->key.selector[0] ? 0 : -EINVAL;
	ph_conf_error(conf, "key", "a private key in PEM is needed: key file \"PATH\"");
	return -EINVAL;
}

static void
fini(void *self)
{
	struct arc_plugin *p = self;

	if (p)
		EVP_PKEY_free(p->key.key);
	free(p);
}

static int
init(struct ph_conf *conf, void **self)
{
	struct arc_plugin *p = calloc(1, sizeof *p);

	if (!p)
		return -ENOMEM;
	p->seal = (enum seal_what)ph_option_number(conf, "seal");
	p->rules.header = p->rules.body = CANON_RELAXED;
	for (size_t i = 0; i < sizeof signed_fields / sizeof *signed_fields; i++)
		p->rules.sign[p->rules.n_sign++] = ph_c(signed_fields[i]);
	if (p->seal != SEAL_OFF && read_seal(conf, p)) {
		fini(p);
		return -EINVAL;
	}
	*self = p;
	return 0;
}

static const struct ph_option options[] = {
	{ .name = "seal", .type = PH_OPT_CHOICE, .preset = "off", .words = "off|forwarded|all",
	    .help = "Which mail is sealed." },
	{ .name = "domain", .type = PH_OPT_TEXT, .preset = "", .help = "The domain that seals." },
	{ .name = "selector", .type = PH_OPT_TEXT, .preset = "", .help = "The name of its key in the DNS." },
	{ .name = "key", .type = PH_OPT_TEXT, .preset = "", .help = "The private key, PEM." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("arc", "1.0"),
	.flags = PH_THREADSAFE,
	.wants = PH_CAP_DNS,
	.may_use = PH_CAP_HEADERS,
	.options = options,
	.init = init,
	.fini = fini,
	.message = message,
};
PH_PLUGIN(plugin)
