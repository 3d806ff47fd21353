/* Sealing; see seal.h. */
#include "plugins/arc/seal.h"

#include <stdlib.h>

#include "plugins/dkim/key.h"

/* "NAME: value" as a field in *f; text has room for it. */
static int
as_field(const char *name, const char *value, char *text, size_t room, struct canon_field *f)
{
	int n = snprintf(text, room, "%s: %s", name, value);

	if (n < 0 || (size_t)n >= room)
		return -1;
	f->name = ph_c(name);
	f->whole = ph_bytes(text, (size_t)n);
	f->value = ph_bytes(text + strlen(name) + 1, (size_t)n - strlen(name) - 1);
	return 0;
}

/* Finishes the hash with the field so far, and appends its signature. */
static int
sign(EVP_MD_CTX *md, const char *name, enum canon_form form, EVP_PKEY *key, char *value, size_t room,
    char *text, size_t text_room)
{
	unsigned char hash[CANON_HASH];
	char b64[KEY_SIGNATURE_MAX];
	struct canon_field f;

	if (as_field(name, value, text, text_room, &f))
		return -1;
	canon_header(md, f.whole, form, 0);
	if (EVP_DigestFinal_ex(md, hash, NULL) != 1 || key_sign(key, hash, b64, sizeof b64) < 0)
		return -1;
	return sign_fold(value, room, b64, 10);
}

static int
make_message(const struct canon_message *m, const struct sign_rules *r, const struct keys_one *k, unsigned i,
    uint64_t now, EVP_MD_CTX *md, char *out, char *text)
{
	char names[SIGN_FIELD_MAX] = "", bh[64];
	unsigned char body[CANON_HASH];
	int n;

	if (canon_body(m->body, r->body, body) || sign_names(m, r, names, sizeof names, 10))
		return -1;
	key_base64(body, CANON_HASH, bh);
	n = snprintf(out, SEAL_FIELD_MAX, "i=%u; a=%s; c=%s/%s;\r\n\td=%s; s=%s;\r\n\tt=%llu;\r\n\th=%s;\r\n\tbh=%s;\r\n\tb=",
	    i, key_algorithm(k->key), r->header == CANON_RELAXED ? "relaxed" : "simple",
	    r->body == CANON_RELAXED ? "relaxed" : "simple", k->domain, k->selector, (unsigned long long)now, names, bh);
	if (n < 0 || n >= SEAL_FIELD_MAX || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		return -1;
	canon_signed(md, m, ph_c(names), r->header);
	return sign(md, "ARC-Message-Signature", r->header, k->key, out, SEAL_FIELD_MAX, text, SEAL_FIELD_MAX + 64);
}

/* Covers all sets before, and the two other fields of this one. */
static int
make_seal(struct chain *all, const struct keys_one *k, unsigned i, uint64_t now, EVP_MD_CTX *md, char *out,
    char *text)
{
	int n = snprintf(out, SEAL_FIELD_MAX, "i=%u; a=%s; t=%llu; cv=%s;\r\n\td=%s; s=%s;\r\n\tb=", i,
	    key_algorithm(k->key), (unsigned long long)now, i == 1 ? "none" : "pass", k->domain, k->selector);

	if (n < 0 || n >= SEAL_FIELD_MAX || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		return -1;
	chain_feed(md, all, i);
	return sign(md, "ARC-Seal", CANON_RELAXED, k->key, out, SEAL_FIELD_MAX, text, SEAL_FIELD_MAX + 64);
}

static int
make_all(const struct canon_message *m, const struct chain *c, const struct sign_rules *rules,
    const struct keys_one *k, uint64_t now, EVP_MD_CTX *md, struct seal *ret, char *text)
{
	unsigned i = c->n + 1;
	struct canon_field results, message;
	char *first = text + SEAL_FIELD_MAX + 64, *second = first + SEAL_FIELD_MAX + 64;
	struct chain *all = (struct chain *)(void *)(second + SEAL_FIELD_MAX + 64);

	if (as_field("ARC-Authentication-Results", ret->results, first, SEAL_FIELD_MAX + 64, &results) ||
	    make_message(m, rules, k, i, now, md, ret->message, text) ||
	    as_field("ARC-Message-Signature", ret->message, second, SEAL_FIELD_MAX + 64, &message))
		return -1;
	*all = *c;
	all->set[i].results = &results;
	all->set[i].message = &message;
	return make_seal(all, k, i, now, md, ret->seal, text);
}

int
seal_make(const struct canon_message *m, const struct chain *c, const struct sign_rules *rules,
    const struct keys_one *key, const char *results, uint64_t now, struct seal *ret)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	char *text = malloc(3 * (SEAL_FIELD_MAX + 64) + sizeof(struct chain));
	int n = snprintf(ret->results, sizeof ret->results, "i=%u; %s", c->n + 1, results);
	int r = -1;

	if (md && text && n > 0 && n < SEAL_FIELD_MAX && c->n < CHAIN_MAX)
		r = make_all(m, c, rules, key, now, md, ret, text);
	EVP_MD_CTX_free(md);
	free(text);
	return r;
}
