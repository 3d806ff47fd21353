/*
 * Verifying DKIM signatures; see verify.h.
 *
 *	header --> each DKIM-Signature: taken apart, judged by the rules --> libopendkim
 *	body   --> libopendkim --> on_final: each signature, its key by the caller's function
 *
 * What the library has been given is in its list in the same order as in `fed`. Kept from it:
 * fields that are not fields, signatures that break a rule, those beyond the number. It parses its
 * key records out of a string of RECORD_MAX bytes, so longer ones are no keys.
 */
#include "plugins/dkim/verify.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

#include <opendkim/dkim.h>

#include "plugins/dkim/tags.h"

struct verifier {
	DKIM_LIB *lib;
	struct verify_rules rules;
};

/* One message at work. */
struct work {
	const struct verifier *v;
	verify_key_fn *key;
	void *arg;
	struct verify_signature *sig;
	int n;                            /* signatures of the message */
	int fed[VERIFY_SIGNATURES_MAX];   /* index in sig of each that the library has */
	int n_fed;
	enum verify_key last;             /* what the key function said */
};

static const char *const names[VERIFY_RESULTS] = {
	[VERIFY_NONE] = "none", [VERIFY_PASS] = "pass", [VERIFY_FAIL] = "fail",
	[VERIFY_POLICY] = "policy", [VERIFY_NEUTRAL] = "neutral", [VERIFY_TEMPERROR] = "temperror",
	[VERIFY_PERMERROR] = "permerror",
};

const char *
verify_result_name(enum verify_result r)
{
	return names[r];
}

static void
say(struct verify_signature *s, enum verify_result r, const char *reason)
{
	s->result = r;
	s->reason = reason;
}

/* ---- key records ---- */

/* libopendkim asks for the key of one signature. */
static DKIM_CBSTAT
on_key(DKIM *dkim, DKIM_SIGINFO *sig, unsigned char *buf, size_t n)
{
	struct work *w = dkim_get_user_context(dkim);
	const unsigned char *domain = dkim_sig_getdomain(sig), *selector = dkim_sig_getselector(sig);
	char name[600];

	if (!domain || !selector)
		return DKIM_CBSTAT_NOTFOUND;
	snprintf(name, sizeof name, "%.253s._domainkey.%.253s", (const char *)selector,
	    (const char *)domain);
	w->last = w->key(w->arg, name, (char *)buf, n);
	switch (w->last) {
	case VERIFY_KEY_FOUND: return DKIM_CBSTAT_CONTINUE;
	case VERIFY_KEY_LATER: return DKIM_CBSTAT_TRYAGAIN;
	default: return DKIM_CBSTAT_NOTFOUND;
	}
}

/* ---- results ---- */

static const struct {
	int error;
	enum verify_result result;
	const char *reason;
} errors[] = {
	{ DKIM_SIGERROR_VERSION, VERIFY_NEUTRAL, "unknown version" },
	{ DKIM_SIGERROR_DOMAIN, VERIFY_PERMERROR, "i= is not within d=" },
	{ DKIM_SIGERROR_EXPIRED, VERIFY_PERMERROR, "signature has expired" },
	{ DKIM_SIGERROR_FUTURE, VERIFY_PERMERROR, "signature is from the future" },
	{ DKIM_SIGERROR_TIMESTAMPS, VERIFY_PERMERROR, "x= is before t=" },
	{ DKIM_SIGERROR_INVALID_H, VERIFY_PERMERROR, "From is not signed" },
	{ DKIM_SIGERROR_NOKEY, VERIFY_PERMERROR, "no key" },
	{ DKIM_SIGERROR_MULTIREPLY, VERIFY_PERMERROR, "several keys" },
	{ DKIM_SIGERROR_KEYFAIL, VERIFY_TEMPERROR, "the key cannot be asked for" },
	{ DKIM_SIGERROR_DNSSYNTAX, VERIFY_PERMERROR, "the key record is broken" },
	{ DKIM_SIGERROR_KEYDECODE, VERIFY_PERMERROR, "the key is broken" },
	{ DKIM_SIGERROR_KEYREVOKED, VERIFY_PERMERROR, "the key is revoked" },
	{ DKIM_SIGERROR_KEYTYPEMISSING, VERIFY_PERMERROR, "the key record is broken" },
	{ DKIM_SIGERROR_KEYTYPEUNKNOWN, VERIFY_PERMERROR, "unknown type of key" },
	{ DKIM_SIGERROR_KEYHASHMISMATCH, VERIFY_PERMERROR, "the key is not for this algorithm" },
	{ DKIM_SIGERROR_NOTEMAILKEY, VERIFY_PERMERROR, "the key is not for mail" },
	{ DKIM_SIGERROR_KEYVERSION, VERIFY_PERMERROR, "the key record is of another version" },
	{ DKIM_SIGERROR_SUBDOMAIN, VERIFY_PERMERROR, "the key is not for subdomains" },
	{ DKIM_SIGERROR_TOOLARGE_L, VERIFY_PERMERROR, "the body is shorter than l=" },
	{ DKIM_SIGERROR_KEYTOOSMALL, VERIFY_POLICY, "the key is too short" },
};

static void
failed(struct verify_signature *s, int error, int body)
{
	if (error == DKIM_SIGERROR_BADSIG) {
		say(s, VERIFY_FAIL, body == DKIM_SIGBH_MISMATCH ? "body hash did not verify" :
		    "signature did not verify");
		return;
	}
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
		if (errors[i].error == error) {
			say(s, errors[i].result, errors[i].reason);
			return;
		}
	say(s, VERIFY_NEUTRAL, "the signature is malformed");
}

/* What came of one signature that the library has processed. */
static void
conclude(const struct work *w, DKIM_SIGINFO *sig, struct verify_signature *s)
{
	unsigned flags = dkim_sig_getflags(sig), bits = 0;
	int error = dkim_sig_geterror(sig);
	dkim_alg_t alg = DKIM_SIGN_UNKNOWN;

	dkim_sig_getsignalg(sig, &alg);
	if (alg == DKIM_SIGN_RSASHA256 && !dkim_sig_getkeysize(sig, &bits))
		s->bits = bits;
	s->test = (flags & DKIM_SIGFLAG_TESTKEY) != 0;
	if (error != DKIM_SIGERROR_OK || !(flags & DKIM_SIGFLAG_PASSED) ||
	    dkim_sig_getbh(sig) != DKIM_SIGBH_MATCH)
		failed(s, error, dkim_sig_getbh(sig));
	else if (alg == DKIM_SIGN_RSASHA256 && bits < w->v->rules.min_bits)
		say(s, VERIFY_POLICY, "the key is too short");
	else
		say(s, VERIFY_PASS, "");
}

static void
process(struct work *w, DKIM *dkim, DKIM_SIGINFO *sig, struct verify_signature *s)
{
	w->last = VERIFY_KEY_FOUND;
	if (dkim_sig_process(dkim, sig) == DKIM_STAT_OK) {
		conclude(w, sig, s);
		if (w->last == VERIFY_KEY_TWO)
			say(s, VERIFY_PERMERROR, "several keys");
	} else if (w->last == VERIFY_KEY_LATER) {
		say(s, VERIFY_TEMPERROR, "the key cannot be asked for");
	} else {
		say(s, VERIFY_TEMPERROR, "the signature cannot be verified now");
	}
}

/* At the end of the message: all signatures, once, and nothing of the library's own choice. */
static DKIM_CBSTAT
on_final(DKIM *dkim, DKIM_SIGINFO **sigs, int n)
{
	struct work *w = dkim_get_user_context(dkim);

	for (int i = 0; i < n && i < w->n_fed; i++)
		process(w, dkim, sigs[i], &w->sig[w->fed[i]]);
	return DKIM_CBSTAT_REJECT;
}

/* ---- the header ---- */

/* Copies what may stand in a result without quotes; empty when there is anything else. */
static void
take(struct ph_str v, char *out, size_t room)
{
	long n = tags_squeeze(v, out, room);

	for (long i = 0; i < n; i++) {
		unsigned char c = (unsigned char)out[i];

		if (!(c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("0123456789.-_@+=", c)))
			n = -1;
	}
	if (n < 0)
		out[0] = '\0';
}

static void
take_b(struct ph_str v, char *out, size_t room)
{
	char all[VERIFY_FIELD_MAX];
	long n = tags_squeeze(v, all, sizeof all), i;

	for (i = 0; i < n && (size_t)i + 1 < room; i++)
		out[i] = strchr("\"\\", all[i]) || (unsigned char)all[i] <= ' ' ||
		    (unsigned char)all[i] >= 0x7f ? '?' : all[i];
	out[i] = '\0';
}

/* Whether the signature is one to verify; else says what is wrong. */
static bool
judge(const struct work *w, struct ph_str value, struct verify_signature *s)
{
	struct tags t;

	if (value.n > VERIFY_FIELD_MAX)
		return say(s, VERIFY_POLICY, "the signature is too long"), false;
	if (tags_parse(value, &t))
		return say(s, VERIFY_NEUTRAL, "the signature is malformed"), false;
	take(tags_get(&t, "d"), s->domain, sizeof s->domain);
	take(tags_get(&t, "s"), s->selector, sizeof s->selector);
	take(tags_get(&t, "a"), s->algorithm, sizeof s->algorithm);
	take(tags_get(&t, "i"), s->identity, sizeof s->identity);
	take_b(tags_get(&t, "b"), s->b, sizeof s->b);
	if (!s->domain[0] || !s->selector[0])
		return say(s, VERIFY_NEUTRAL, "the signature is malformed"), false;
	if (!strcmp(s->algorithm, "rsa-sha1"))
		return say(s, VERIFY_PERMERROR, "rsa-sha1 is no longer valid"), false;
	if (tags_get(&t, "l").p && !w->v->rules.length)
		return say(s, VERIFY_POLICY, "only a part of the body is signed"), false;
	if (w->n > (int)w->v->rules.signatures)
		return say(s, VERIFY_POLICY, "too many signatures"), false;
	return true;
}

/* One field: [at, at + n), its name being the first `name` bytes. */
static void
field(struct work *w, DKIM *dkim, struct ph_str f, size_t name)
{
	struct verify_signature *s;

	if (!ph_ieq(tags_trim(ph_bytes(f.p, name)), ph_c("DKIM-Signature"))) {
		dkim_header(dkim, (unsigned char *)(uintptr_t)f.p, f.n);
		return;
	}
	if (w->n == VERIFY_SIGNATURES_MAX)
		return;
	s = &w->sig[w->n++];
	*s = (struct verify_signature){ .reason = "" };
	if (!judge(w, ph_bytes(f.p + name + 1, f.n - name - 1), s))
		return;
	if (dkim_header(dkim, (unsigned char *)(uintptr_t)f.p, f.n) == DKIM_STAT_OK)
		w->fed[w->n_fed++] = w->n - 1;
	else
		say(s, VERIFY_NEUTRAL, "the signature is malformed");
	return;
}

/* The end of the field that begins at i: behind its last line, CRLF excluded. */
static size_t
field_end(struct ph_str m, size_t i)
{
	for (; i + 1 < m.n; i++)
		if (m.p[i] == '\r' && m.p[i + 1] == '\n' &&
		    (i + 2 == m.n || (m.p[i + 2] != ' ' && m.p[i + 2] != '\t')))
			return i;
	return m.n;
}

/* Where the body begins; *whole is whether all fields were looked at. */
static size_t
header(struct work *w, DKIM *dkim, struct ph_str m, bool *whole)
{
	unsigned fields = 0;
	size_t i = 0;

	*whole = true;
	while (i < m.n && !(m.p[i] == '\r' && i + 1 < m.n && m.p[i + 1] == '\n')) {
		size_t end = field_end(m, i);
		const char *colon = memchr(m.p + i, ':', end - i);

		if (++fields > VERIFY_FIELDS_MAX || end > VERIFY_HEADER_MAX)
			*whole = false;
		if (colon && *whole)
			field(w, dkim, ph_bytes(m.p + i, end - i), (size_t)(colon - m.p) - i);
		i = end + 2 < m.n ? end + 2 : m.n;
	}
	return i + 2 < m.n ? i + 2 : m.n;
}

static void
say_all(struct work *w, enum verify_result r, const char *reason)
{
	for (int i = 0; i < w->n_fed; i++)
		if (w->sig[w->fed[i]].result == VERIFY_NONE)
			say(&w->sig[w->fed[i]], r, reason);
}

/* 0 or -1: no memory. */
static int
run(struct work *w, DKIM *dkim, struct ph_str m)
{
	bool whole;
	size_t body = header(w, dkim, m, &whole);
	DKIM_STAT r;

	if (!w->n_fed)
		return 0;
	if (!whole) {
		say_all(w, VERIFY_POLICY, "the header is too long");
		return 0;
	}
	r = dkim_eoh(dkim);
	if (r == DKIM_STAT_OK && body < m.n)
		r = dkim_body(dkim, (unsigned char *)(uintptr_t)m.p + body, m.n - body);
	if (r == DKIM_STAT_OK)
		dkim_eom(dkim, NULL);
	if (r == DKIM_STAT_NORESOURCE)
		return -1;
	say_all(w, VERIFY_PERMERROR, "the header is malformed");
	return 0;
}

int
verify_message(struct verifier *v, struct ph_str message, verify_key_fn *key, void *arg,
    struct verify_signature *ret)
{
	struct work w = { .v = v, .key = key, .arg = arg, .sig = ret };
	DKIM_STAT status = DKIM_STAT_OK;
	DKIM *dkim = dkim_verify(v->lib, (const unsigned char *)"-", NULL, &status);
	int r;

	if (!dkim)
		return -1;
	dkim_set_user_context(dkim, &w);
	r = run(&w, dkim, message);
	dkim_free(dkim);
	return r ? r : w.n;
}

/* ---- the library ---- */

/* It asks for nothing by itself. */
static int
set_up(DKIM_LIB *lib, uint64_t drift)
{
	uint64_t fixed = drift;
	unsigned flags = DKIM_LIBFLAGS_DELAYSIGPROC, bits = 0;

	return dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_FLAGS, &flags, sizeof flags) ||
	    dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_CLOCKDRIFT, &fixed, sizeof fixed) ||
	    dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_MINKEYBITS, &bits, sizeof bits) ||
	    dkim_set_key_lookup(lib, on_key) || dkim_set_final(lib, on_final);
}

struct verifier *
verifier_new(const struct verify_rules *rules)
{
	struct verifier *v = calloc(1, sizeof *v);

	if (!v)
		return NULL;
	v->rules = *rules;
	v->lib = dkim_init(NULL, NULL);
	if (!v->lib || set_up(v->lib, rules->drift))
		verifier_free(&v);
	return v;
}

void
verifier_free(struct verifier **v)
{
	if (!*v)
		return;
	if ((*v)->lib)
		dkim_close((*v)->lib);
	free(*v);
	*v = NULL;
}
