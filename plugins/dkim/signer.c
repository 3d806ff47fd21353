/*
 * Signing mail of users; see signer.h.
 *
 * The domain that signs is the author's (field From): its keys, else those of the domain above it
 * where `subdomains` is on. Unless `sign-for any`, the envelope sender must be of the author's domain
 * too, so that who has an account in one domain of the house cannot have mail of another signed.
 */
#include "plugins/dkim/signer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "plugins/dkim/author.h"
#include "plugins/dkim/sign.h"

enum { FOR_SENDER, FOR_ANY };

static const char *const usual_sign[] = {
	"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "List-Id",
	"List-Unsubscribe", "List-Unsubscribe-Post", NULL,
};
static const char *const usual_over[] = { "From", "To", "Subject", "Date", NULL };

/* Keys that calls may still use while newer ones have taken their place. */
struct held {
	struct keys *keys;
	unsigned users;
};

struct signer {
	struct sign_rules rules;
	int sign_for, subdomains;
	char folder[4096];
	uint64_t stamp;
	pthread_mutex_t lock;       /* of held and of its users */
	struct held *held;
};

/* ---- keys ---- */

static struct held *
take(struct signer *s)
{
	struct held *h;

	pthread_mutex_lock(&s->lock);
	h = s->held;
	h->users++;
	pthread_mutex_unlock(&s->lock);
	return h;
}

static void
give(struct signer *s, struct held *h)
{
	unsigned left;

	pthread_mutex_lock(&s->lock);
	left = --h->users;
	pthread_mutex_unlock(&s->lock);
	if (left)
		return;
	keys_free(&h->keys);
	free(h);
}

static struct held *
load(struct signer *s)
{
	struct held *h = calloc(1, sizeof *h);

	if (!h || keys_load(s->folder, &h->keys)) {
		free(h);
		return NULL;
	}
	h->users = 1;
	if (h->keys->broken)
		ph_log(PH_WARN, "%u files hold no key, such as %.300s", h->keys->broken, h->keys->first_broken);
	ph_log(PH_INFO, "%u keys", h->keys->n);
	return h;
}

void
signer_refresh(struct signer *s)
{
	uint64_t stamp = keys_stamp(s->folder);
	struct held *h = stamp == s->stamp ? NULL : load(s), *old;

	if (!h)
		return;
	s->stamp = stamp;
	pthread_mutex_lock(&s->lock);
	old = s->held;
	s->held = h;
	pthread_mutex_unlock(&s->lock);
	give(s, old);
}

/* The keys of the domain, or of one above it. */
static unsigned
find(const struct signer *s, const struct keys *k, const char *domain, const struct keys_one **ret)
{
	uint64_t now = (uint64_t)time(NULL);
	unsigned n = keys_of(k, domain, now, ret);

	while (!n && s->subdomains && (domain = strchr(domain, '.')) && strchr(++domain, '.'))
		n = keys_of(k, domain, now, ret);
	return n;
}

/* ---- the message ---- */

static int
is_of(struct ph_str address, const char *domain)
{
	size_t n = strlen(domain);

	return address.n > n && address.p[address.n - n - 1] == '@' &&
	    ph_ieq(ph_bytes(address.p + address.n - n, n), ph_c(domain));
}

/* Whose mail it is: its domain, or NULL: nobody's that may be signed. */
static const char *
author_of(const struct signer *s, struct ph_call *c, const struct canon_message *m, struct author *a)
{
	struct ph_str sender = ph_text(c, PH_SENDER);
	const struct canon_field *from = NULL;

	for (unsigned i = 0; i < m->n; i++)
		if (ph_ieq(m->fields[i].name, ph_c("From"))) {
			if (from)
				return NULL;
			from = &m->fields[i];
		}
	if (!from)
		return NULL;
	author_parse(from->value, a);
	if (a->n != 1 || a->more)
		return NULL;
	if (s->sign_for == FOR_ANY || (!sender.n && ph_number(c, PH_FLAGS) & PH_F_LOCAL))
		return a->domain[0];
	return is_of(sender, a->domain[0]) ? a->domain[0] : NULL;
}

/* 0 or -1. */
static int
add(struct signer *s, struct ph_call *c, const struct canon_message *m, const struct keys_one *key,
    const unsigned char *body)
{
	char *value = ph_alloc(c, SIGN_FIELD_MAX);
	long n = value ? sign_field(m, &s->rules, key, body, (uint64_t)time(NULL), value, SIGN_FIELD_MAX) : -1;

	if (n < 0 || ph_header_add(c, PH_TOP, ph_c("DKIM-Signature"), ph_bytes(value, (size_t)n)))
		return -1;
	ph_count("signed", 1);
	ph_log(PH_INFO, "txn=%.*s signed: %s %s", PH_ARG(ph_text(c, PH_TRANSACTION)), key->domain, key->selector);
	return 0;
}

static enum ph_action
sign_with(struct signer *s, struct ph_call *c, const struct canon_message *m, const struct keys *k,
    const char *domain)
{
	const struct keys_one *v[KEYS_OF_DOMAIN_MAX];
	unsigned n = find(s, k, domain, v);
	unsigned char body[CANON_HASH];

	if (!n) {
		ph_count("unsigned", 1);
		return PH_CONTINUE;
	}
	if (canon_body(m->body, s->rules.body, body))
		return PH_TEMPFAIL;
	for (unsigned i = 0; i < n; i++)
		if (add(s, c, m, v[i], body)) {
			ph_log(PH_ERROR, "cannot sign with %s/%s", v[i]->domain, v[i]->selector);
			return PH_TEMPFAIL;
		}
	return PH_CONTINUE;
}

enum ph_action
signer_sign(struct signer *s, struct ph_call *c)
{
	struct canon_message *m = ph_alloc(c, sizeof *m);
	struct author *a = ph_alloc(c, sizeof *a);
	enum ph_action r = PH_CONTINUE;
	const char *domain;
	struct held *h;

	if (!m || !a)
		return PH_TEMPFAIL;
	if (canon_split(ph_message(c), m) || !(domain = author_of(s, c, m, a))) {
		ph_count("unsigned", 1);
		return PH_CONTINUE;
	}
	h = take(s);
	r = sign_with(s, c, m, h->keys, domain);
	give(s, h);
	return r;
}

/* ---- options ---- */

static unsigned
read_names(struct ph_conf *conf, const char *option, const char *const *usual, struct ph_str *ret)
{
	struct ph_str name;
	unsigned n = 0;

	while (n < SIGN_NAMES_MAX && (name = ph_option_item(conf, option, n)).p) {
		if (!name.n || memchr(name.p, ':', name.n) || memchr(name.p, ' ', name.n) ||
		    memchr(name.p, ';', name.n))
			ph_conf_error(conf, option, "names of header fields are needed");
		ret[n++] = name;
	}
	if (n)
		return n;
	while (usual[n]) {
		ret[n] = ph_c(usual[n]);
		n++;
	}
	return n;
}

int
signer_new(struct ph_conf *conf, struct signer **ret)
{
	struct ph_str data = ph_conf_text(conf, PH_DATA_DIR);
	struct signer *s = calloc(1, sizeof *s);
	int64_t form = ph_option_number(conf, "canonicalization");

	if (!s)
		return -ENOMEM;
	s->rules.header = form < 2 ? CANON_RELAXED : CANON_SIMPLE;
	s->rules.body = form == 0 || form == 2 ? CANON_RELAXED : CANON_SIMPLE;
	s->rules.n_sign = read_names(conf, "sign-fields", usual_sign, s->rules.sign);
	s->rules.n_over = read_names(conf, "oversign-fields", usual_over, s->rules.over);
	s->rules.lifetime = (uint64_t)ph_option_number(conf, "lifetime") / 1000;
	s->sign_for = (int)ph_option_number(conf, "sign-for");
	s->subdomains = (int)ph_option_number(conf, "subdomains");
	snprintf(s->folder, sizeof s->folder, "%.*s/keys", PH_ARG(data));
	pthread_mutex_init(&s->lock, NULL);
	s->stamp = keys_stamp(s->folder);
	s->held = load(s);
	if (!s->held) {
		ph_conf_error(conf, NULL, "the keys cannot be read");
		signer_free(&s);
		return -EIO;
	}
	*ret = s;
	return 0;
}

void
signer_free(struct signer **s)
{
	if (!*s)
		return;
	if ((*s)->held)
		give(*s, (*s)->held);
	pthread_mutex_destroy(&(*s)->lock);
	free(*s);
	*s = NULL;
}
