/* Validating chains; see chain.h. */
#include "plugins/arc/chain.h"

#include "plugins/dkim/key.h"
#include "plugins/dkim/tags.h"

const char *
chain_state_name(enum chain_state s)
{
	static const char *const names[] = { "none", "pass", "fail" };

	return names[s];
}

static int
fail(struct chain *c, unsigned set, const char *why)
{
	c->state = CHAIN_FAIL;
	c->set_wrong = set;
	c->why = why;
	return -1;
}

/* ---- sets ---- */

/* The number of a field's set; of ARC-Authentication-Results it stands first, then anything. */
static int
number_of(struct ph_str value, int is_list, uint64_t *ret)
{
	const char *end = value.n ? memchr(value.p, ';', value.n) : NULL;
	struct tags t;

	if (!is_list)
		value.n = end ? (size_t)(end - value.p) : 0;
	if (value.n > CHAIN_FIELD_MAX || tags_parse(value, &t) || tags_number(tags_get(&t, "i"), ret))
		return -1;
	return *ret >= 1 ? 0 : -1;
}

/* Which of the three a field is: 0 none. */
static const struct canon_field **
place_of(struct chain_set *s, struct ph_str name)
{
	if (ph_ieq(name, ph_c("ARC-Authentication-Results")))
		return &s->results;
	if (ph_ieq(name, ph_c("ARC-Message-Signature")))
		return &s->message;
	return ph_ieq(name, ph_c("ARC-Seal")) ? &s->seal : NULL;
}

static int
collect_field(struct chain *c, const struct canon_field *f)
{
	const struct canon_field **place = place_of(&c->set[0], f->name);
	uint64_t i;

	if (!place)
		return 0;
	if (number_of(f->value, place != &c->set[0].results, &i))
		return fail(c, 0, "a field is malformed");
	if (i > CHAIN_MAX)
		return fail(c, 0, "too many sets");
	place = place_of(&c->set[i], f->name);
	if (*place)
		return fail(c, (unsigned)i, "a field comes twice");
	*place = f;
	if (i > c->n)
		c->n = (unsigned)i;
	return 0;
}

/* All fields in their sets, none missing (section 5.2, steps 1 and 3). */
static int
collect(const struct canon_message *m, struct chain *c)
{
	for (unsigned i = 0; i < m->n; i++)
		if (collect_field(c, &m->fields[i]))
			return -1;
	for (unsigned i = 1; i <= c->n; i++)
		if (!c->set[i].results || !c->set[i].message || !c->set[i].seal)
			return fail(c, i, "a field is missing");
	return 0;
}

static void
take_domain(struct ph_str d, char *out, size_t room)
{
	size_t n = d.n < room ? d.n : 0;

	for (size_t i = 0; i < n; i++) {
		unsigned char x = (unsigned char)d.p[i];

		out[i] = (char)(x >= 'A' && x <= 'Z' ? x + 32 : x);
		if (!(x >= 0x80 || x == '.' || x == '-' || x == '_' || (x >= '0' && x <= '9') ||
		    ((x | 32) >= 'a' && (x | 32) <= 'z')))
			n = 0;
	}
	out[n] = '\0';
}

/* What each seal says of the chain before it. */
static int
check_states(struct chain *c)
{
	struct tags t;

	for (unsigned i = c->n; i >= 1; i--) {
		struct ph_str cv;

		if (tags_parse(c->set[i].seal->value, &t))
			return fail(c, i, "the seal is malformed");
		cv = tags_get(&t, "cv");
		take_domain(tags_get(&t, "d"), c->set[i].domain, sizeof c->set[i].domain);
		if (ph_eq(cv, ph_c("fail")))
			return fail(c, i, "a sealer says that it fails");
		if (!ph_eq(cv, ph_c(i == 1 ? "none" : "pass")))
			return fail(c, i, "the seal's cv= does not fit");
		if (tags_get(&t, "h").p)
			return fail(c, i, "the seal has h=");
		if (!c->set[i].domain[0])
			return fail(c, i, "the seal is malformed");
	}
	return 0;
}

/* ---- signatures ---- */

struct asker {
	verify_key_fn *key;
	void *arg;
};

/* The key of a field's d=, s= and a=. NULL with the reason in *why. */
static EVP_PKEY *
find_key(const struct asker *ask, const struct tags *t, const char **why)
{
	struct ph_str a = tags_get(t, "a"), d = tags_get(t, "d"), s = tags_get(t, "s");
	char name[600], record[RECORD_MAX];
	const char *algorithm = ph_eq(a, ph_c("rsa-sha256")) ? "rsa-sha256" :
	    ph_eq(a, ph_c("ed25519-sha256")) ? "ed25519-sha256" : NULL;

	*why = !algorithm ? "unknown algorithm" : !d.n || !s.n || d.n > 253 || s.n > 253 ? "malformed" : NULL;
	if (*why)
		return NULL;
	snprintf(name, sizeof name, "%.*s._domainkey.%.*s", PH_ARG(s), PH_ARG(d));
	switch (ask->key(ask->arg, name, record, sizeof record)) {
	case VERIFY_KEY_FOUND: return key_public(ph_c(record), algorithm, why);
	case VERIFY_KEY_LATER: *why = "the key cannot be asked for"; return NULL;
	case VERIFY_KEY_TWO: *why = "several keys"; return NULL;
	default: *why = "no key"; return NULL;
	}
}

/* "relaxed/simple": the forms; 0 or -1. */
static int
read_forms(struct ph_str c, enum canon_form *header, enum canon_form *body)
{
	const char *slash = c.n ? memchr(c.p, '/', c.n) : NULL;
	struct ph_str h = ph_bytes(c.p, slash ? (size_t)(slash - c.p) : c.n);
	struct ph_str b = slash ? ph_bytes(slash + 1, c.n - h.n - 1) : ph_c("simple");

	if (!c.n)
		h = ph_c("simple");
	*header = ph_eq(h, ph_c("relaxed")) ? CANON_RELAXED : CANON_SIMPLE;
	*body = ph_eq(b, ph_c("relaxed")) ? CANON_RELAXED : CANON_SIMPLE;
	return (*header == CANON_RELAXED || ph_eq(h, ph_c("simple"))) &&
	    (*body == CANON_RELAXED || ph_eq(b, ph_c("simple"))) ? 0 : -1;
}

static int
names_seal(struct ph_str h)
{
	for (size_t i = 0; i + 8 <= h.n; i++)
		if (ph_ieq(ph_bytes(h.p + i, 8), ph_c("ARC-Seal")))
			return 1;
	return 0;
}

/* What is signed, hashed; the caller's `feed` has gone before. */
static int
check_hash(const struct asker *ask, EVP_MD_CTX *md, const struct canon_field *f, const struct tags *t,
    enum canon_form form, const char **why)
{
	unsigned char hash[CANON_HASH];
	EVP_PKEY *key = find_key(ask, t, why);
	int ok = 0;

	if (!key)
		return -1;
	canon_without_b(md, f->whole, form);
	if (EVP_DigestFinal_ex(md, hash, NULL) == 1)
		ok = key_verify(key, hash, tags_get(t, "b"));
	EVP_PKEY_free(key);
	*why = ok ? NULL : "does not verify";
	return ok ? 0 : -1;
}

static int
check_message(const struct asker *ask, const struct canon_message *m, const struct chain_set *s,
    EVP_MD_CTX *md, const char **why)
{
	enum canon_form header, body;
	unsigned char hash[CANON_HASH];
	struct tags t;

	*why = "malformed";
	if (tags_parse(s->message->value, &t) || read_forms(tags_get(&t, "c"), &header, &body) ||
	    names_seal(tags_get(&t, "h")) || !tags_get(&t, "h").n)
		return -1;
	*why = "signs only a part of the body";
	if (tags_get(&t, "l").p)
		return -1;
	*why = "the body was changed";
	if (canon_body(m->body, body, hash) || !key_is_hash(hash, tags_get(&t, "bh")))
		return -1;
	canon_signed(md, m, tags_get(&t, "h"), header);
	return check_hash(ask, md, s->message, &t, header, why);
}

static int
check_seal(const struct asker *ask, const struct chain *c, unsigned i, EVP_MD_CTX *md, const char **why)
{
	struct tags t;

	*why = "malformed";
	if (tags_parse(c->set[i].seal->value, &t))
		return -1;
	chain_feed(md, c, i);
	return check_hash(ask, md, c->set[i].seal, &t, CANON_RELAXED, why);
}

void
chain_feed(EVP_MD_CTX *md, const struct chain *c, unsigned n)
{
	for (unsigned i = 1; i <= n; i++) {
		canon_header(md, c->set[i].results->whole, CANON_RELAXED, 1);
		canon_header(md, c->set[i].message->whole, CANON_RELAXED, 1);
		if (i < n)
			canon_header(md, c->set[i].seal->whole, CANON_RELAXED, 1);
	}
}

/* Reasons with what they are about, which the parts above do not know. */
static const char *
reason(int is_seal, const char *why)
{
	static const struct {
		const char *why, *message, *seal;
	} v[] = {
		{ "malformed", "the message signature is malformed", "the seal is malformed" },
		{ "does not verify", "the message signature does not verify", "the seal does not verify" },
		{ "no key", "the message signature has no key", "the seal has no key" },
	};

	for (size_t i = 0; i < sizeof v / sizeof *v; i++)
		if (!strcmp(v[i].why, why))
			return is_seal ? v[i].seal : v[i].message;
	return why;
}

static void
check_signatures(const struct asker *ask, const struct canon_message *m, struct chain *c)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	const char *why = "out of memory";

	if (!md || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1 ||
	    check_message(ask, m, &c->set[c->n], md, &why)) {
		fail(c, c->n, reason(0, why));
	} else {
		c->state = CHAIN_PASS;
		for (unsigned i = c->n; i >= 1 && c->state == CHAIN_PASS; i--)
			if (EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1 || check_seal(ask, c, i, md, &why))
				fail(c, i, reason(1, why));
	}
	EVP_MD_CTX_free(md);
}

void
chain_verify(const struct canon_message *m, verify_key_fn *key, void *arg, struct chain *ret)
{
	const struct asker ask = { key, arg };

	memset(ret, 0, sizeof *ret);
	ret->why = "";
	if (collect(m, ret) || !ret->n || check_states(ret))
		return;
	check_signatures(&ask, m, ret);
}

/* "dmarc=pass" as a word of the results. */
const char *
chain_dmarc(const struct chain *c)
{
	struct ph_str v = c->n && c->set[1].results ? c->set[1].results->value : ph_c("");

	for (size_t i = 1; i + 10 <= v.n; i++) {
		if (!strchr("; \t\r\n", v.p[i - 1]) || !ph_ieq(ph_bytes(v.p + i, 6), ph_c("dmarc=")))
			continue;
		if (ph_ieq(ph_bytes(v.p + i + 6, 4), ph_c("pass")))
			return "pass";
		return ph_ieq(ph_bytes(v.p + i + 6, 4), ph_c("fail")) ? "fail" : "";
	}
	return "";
}
