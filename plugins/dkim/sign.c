/* Making signatures; see sign.h. */
#include "plugins/dkim/sign.h"

#include "plugins/dkim/key.h"

#define COLUMNS 76
#define OCCURRENCES_MAX 20

/* ---- text ---- */

__attribute__((format(printf, 3, 4))) static int
put(char *out, size_t room, const char *fmt, ...)
{
	size_t n = strlen(out);
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vsnprintf(out + n, room - n, fmt, ap);
	va_end(ap);
	return r < 0 || (size_t)r >= room - n ? -1 : 0;
}

int
sign_fold(char *out, size_t room, const char *b64, size_t col)
{
	size_t left = strlen(b64);

	while (left) {
		size_t n = col < COLUMNS ? COLUMNS - col : 1;

		n = n < left ? n : left;
		if (put(out, room, "%.*s", (int)n, b64))
			return -1;
		b64 += n;
		left -= n;
		if (left && put(out, room, "\r\n\t "))
			return -1;
		col = 9;
	}
	return 0;
}

/* ---- what is signed ---- */

static unsigned
occurrences(const struct canon_message *m, struct ph_str name)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->n; i++)
		n += (unsigned)ph_ieq(m->fields[i].name, name);
	return n < OCCURRENCES_MAX ? n : OCCURRENCES_MAX;
}

static int
lists(const struct ph_str *v, unsigned n, struct ph_str name)
{
	for (unsigned i = 0; i < n; i++)
		if (ph_ieq(v[i], name))
			return 1;
	return 0;
}

struct names {
	char *out;
	size_t room, col;
	int any;
};

static int
put_name(struct names *t, struct ph_str name, unsigned times)
{
	for (; times; times--) {
		size_t n = name.n + (t->any != 0);

		if (t->col + n > COLUMNS && t->any) {
			if (put(t->out, t->room, ":\r\n\t %.*s", PH_ARG(name)))
				return -1;
			t->col = 9 + name.n;
			continue;
		}
		if (put(t->out, t->room, "%s%.*s", t->any ? ":" : "", PH_ARG(name)))
			return -1;
		t->col += n;
		t->any = 1;
	}
	return 0;
}

int
sign_names(const struct canon_message *m, const struct sign_rules *r, char *out, size_t room, size_t col)
{
	const struct ph_str from = ph_c("from");
	struct names t = { out, room, col, 0 };
	int bad = put_name(&t, from, occurrences(m, from) + 1);

	for (unsigned i = 0; i < r->n_sign && !bad; i++)
		if (!ph_ieq(r->sign[i], from) && !lists(r->sign, i, r->sign[i]))
			bad = put_name(&t, r->sign[i], occurrences(m, r->sign[i]) +
			    (unsigned)lists(r->over, r->n_over, r->sign[i]));
	for (unsigned i = 0; i < r->n_over && !bad; i++)
		if (!ph_ieq(r->over[i], from) && !lists(r->over, i, r->over[i]) &&
		    !lists(r->sign, r->n_sign, r->over[i]))
			bad = put_name(&t, r->over[i], occurrences(m, r->over[i]) + 1);
	return bad;
}

/* The list h= of a field that is being made. */
static struct ph_str
listed(const char *field)
{
	const char *h = strstr(field, "\r\n\th="), *end;

	if (!h)
		return ph_c("");
	h += 5;
	end = strchr(h, ';');
	return ph_bytes(h, end ? (size_t)(end - h) : strlen(h));
}

/* ---- the field ---- */

static const char *
form_name(enum canon_form f)
{
	return f == CANON_RELAXED ? "relaxed" : "simple";
}

/* All of it but what stands behind b=. */
static int
put_head(const struct canon_message *m, const struct sign_rules *r, const struct keys_one *key,
    const unsigned char *body, uint64_t now, char *out, size_t room)
{
	char hash[64];

	key_base64(body, CANON_HASH, hash);
	out[0] = '\0';
	if (put(out, room, "v=1; a=%s; c=%s/%s;\r\n\td=%s; s=%s;\r\n\tt=%llu;", key_algorithm(key->key),
	    form_name(r->header), form_name(r->body), key->domain, key->selector, (unsigned long long)now))
		return -1;
	if (r->lifetime && put(out, room, " x=%llu;", (unsigned long long)(now + r->lifetime)))
		return -1;
	return put(out, room, "\r\n\th=") || sign_names(m, r, out, room, 10) ||
	    put(out, room, ";\r\n\tbh=%s;\r\n\tb=", hash) ? -1 : 0;
}

/* The hash of the fields, and of this one without its signature. */
static int
hash_header(const struct canon_message *m, enum canon_form form, const char *value, unsigned char *ret)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	char whole[SIGN_FIELD_MAX + 32];
	int ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;

	if (ok) {
		snprintf(whole, sizeof whole, "DKIM-Signature: %s", value);
		canon_signed(md, m, listed(value), form);
		canon_header(md, ph_c(whole), form, 0);
		ok = EVP_DigestFinal_ex(md, ret, NULL) == 1;
	}
	EVP_MD_CTX_free(md);
	return ok ? 0 : -1;
}

long
sign_field(const struct canon_message *m, const struct sign_rules *r, const struct keys_one *key,
    const unsigned char body[CANON_HASH], uint64_t now, char *out, size_t room)
{
	unsigned char hash[CANON_HASH];
	char b64[KEY_SIGNATURE_MAX];

	if (room > SIGN_FIELD_MAX)
		room = SIGN_FIELD_MAX;
	if (put_head(m, r, key, body, now, out, room) || hash_header(m, r->header, out, hash) ||
	    key_sign(key->key, hash, b64, sizeof b64) < 0 || sign_fold(out, room, b64, 10))
		return -1;
	return (long)strlen(out);
}
