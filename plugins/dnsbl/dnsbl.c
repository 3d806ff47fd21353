/*
 * dnsbl: what DNS lists (RFC 5782) say of a client's address, of the domain of its HELO and of the
 * sender's domain.
 *
 *	plugin dnsbl {
 *		file "dnsbl.so"
 *		grant dns, headers
 *		list "zen.example.org 127.0.0.2-11 3", "other.example.net 1"
 *		allow-list "white.example.org 127.0.*.2-3"
 *		domain-list "dbl.example.org 127.0.1.2-99 2"
 *		threshold 3
 *	}
 *
 * The weights of the lists that have the client are added up when its first recipient is named, and
 * kept for the connection; those of domains belong to the transaction. An allow-list without a
 * weight ends it: nothing else is asked.
 *
 * A list that is gone may answer everything, or nothing. Each is asked now and then for what
 * no list may have and for what each must have (RFC 5782 section 5); while it has the former it
 * is not used. Answers that no list gives are never listings.
 *
 * Clients that logged in and mail of the house are not looked at.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "plugins/common/net.h"
#include "plugins/common/text.h"
#include "plugins/dnsbl/zone.h"

#define LISTS_MAX 48
#define BY_MAX 600
#define REASON_MAX 360
#define TXT_MAX 200
#define LEAVE_MS 300      /* of a call's time for the answer */
#define AGAIN_MS 60000    /* after a check that got no answer */
#define REST_MS 30000     /* after a question that got none */

enum kind { DENY, ALLOW, DOMAIN };

struct list {
	struct zone zone;
	enum kind kind;
	_Atomic uint64_t next_check_ms;
	_Atomic uint64_t next_word_ms; /* of warnings about its answers */
	_Atomic uint64_t rest_until_ms; /* not asked: it did not answer */
	atomic_bool dead, silent;
};

struct dnsbl {
	struct list lists[LISTS_MAX];
	unsigned n;
	struct nets trust;
	struct texts exempt;
	struct ph_str header;
	int64_t threshold, check_ms;
	int enforce, of_helo, of_sender;
};

/* What was found out about a connection, or about a transaction too. */
struct found {
	char ip[64];              /* whose: a trusted proxy may tell another one later */
	int score;
	int allowed, incomplete;
	char by[BY_MAX];          /* "zone=127.0.0.2, ..." */
	char reason[REASON_MAX];  /* of the first list that counts against it */
	char white[2 * ZONE_NAME_MAX]; /* RFC 8904: of an allow-list */
};

/* ---- asking ---- */

static void
warn_of(struct list *l, uint64_t now, const char *what)
{
	if (now < atomic_load(&l->next_word_ms))
		return;
	atomic_store(&l->next_word_ms, now + 3600000);
	ph_log(PH_WARN, "list %s %s", l->zone.name, what);
}

/* The records, or none at all: of failures it is said that they are. */
static int
ask(struct ph_call *c, const char *name, uint32_t type, struct ph_dns *ret)
{
	if (ph_number(c, PH_DEADLINE_MS) < LEAVE_MS || ph_dns(c, ph_c(name), type, ret))
		return -1;
	ph_count("asked", 1);
	if (ret->status == PH_DNS_OK && ret->n)
		return 1;
	if (ret->status == PH_DNS_NODATA || ret->status == PH_DNS_NXDOMAIN)
		return 0;
	ph_count("failed", 1);
	return -1;
}

/* What no list may have, and what each must. */
static void
check(struct ph_call *c, struct list *l, uint64_t now, uint64_t every)
{
	const char *never = l->kind == DOMAIN ? "invalid" : "1.0.0.127";
	const char *always = l->kind == DOMAIN ? "test" : "2.0.0.127";
	char name[ZONE_NAME_MAX + 16];
	struct ph_dns d;
	int r;

	snprintf(name, sizeof name, "%s.%s", never, l->zone.name);
	r = ask(c, name, 1, &d);
	atomic_store(&l->next_check_ms, now + (r < 0 ? AGAIN_MS : every));
	if (r < 0) {
		atomic_store(&l->rest_until_ms, now + REST_MS);
		return;
	}
	if (atomic_exchange(&l->dead, r > 0) != (r > 0))
		ph_log(PH_WARN, "list %s %s", l->zone.name,
		    r > 0 ? "has what no list may have: it is not used" : "is used again");
	snprintf(name, sizeof name, "%s.%s", always, l->zone.name);
	r = ask(c, name, 1, &d);
	if (r >= 0 && atomic_exchange(&l->silent, !r) != !r)
		ph_log(PH_WARN, "list %s %s", l->zone.name,
		    r ? "has its test entry again" : "has no test entry: it may be gone");
}

/* Whether the list answers and may be believed. One caller checks it when that is due. */
static int
is_alive(struct ph_call *c, const struct dnsbl *s, struct list *l)
{
	uint64_t now = ph_number(c, PH_NOW_MS), due = atomic_load(&l->next_check_ms);

	if (now < atomic_load(&l->rest_until_ms))
		return 0;
	if (now >= due && atomic_compare_exchange_strong(&l->next_check_ms, &due, now + AGAIN_MS))
		check(c, l, now, (uint64_t)s->check_ms);
	if (!atomic_load(&l->dead))
		return 1;
	ph_count("dead", 1);
	return 0;
}

/* The first answer that is a listing, as text. 1: listed, 0: not, -1: not known. */
static int
is_listed(struct ph_call *c, struct list *l, const char *name, char ret[16])
{
	uint64_t now = ph_number(c, PH_NOW_MS);
	struct ph_dns d;
	int r = ask(c, name, 1, &d);

	for (uint32_t i = 0; r > 0 && i < d.n; i++) {
		const unsigned char *a = (const unsigned char *)d.rdata[i].p;

		switch (zone_judge(&l->zone, d.rdata[i])) {
		case ZONE_LISTED:
			snprintf(ret, 16, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
			return 1;
		case ZONE_FOREIGN:
			ph_count("foreign", 1);
			warn_of(l, now, "gives answers outside of 127.0.0.0/8: they are passed over");
			break;
		case ZONE_REFUSED:
			ph_count("foreign", 1);
			warn_of(l, now, "says that it does not serve this resolver");
			break;
		case ZONE_OTHER:
			break;
		}
	}
	return r < 0 ? -1 : 0;
}

/* ---- what is found ---- */

static void
add_reason(struct ph_call *c, struct found *f, const struct list *l, const char *asked,
    struct ph_str who)
{
	char clean[100], text[TXT_MAX] = "";
	struct ph_dns d;

	if (ask(c, asked, 16, &d) > 0)
		text_clean(d.rdata[0], text, sizeof text);
	text_clean(who, clean, sizeof clean);
	snprintf(f->reason, sizeof f->reason, "%s %s is listed by %.100s%s%s",
	    l->kind == DOMAIN ? "domain" : "client", clean, l->zone.name, *text ? ": " : "", text);
}

static void
add_by(struct found *f, const struct list *l, const char *answer)
{
	size_t n = strlen(f->by);

	snprintf(f->by + n, sizeof f->by - n, "%s%s=%s", n ? ", " : "", l->zone.name, answer);
}

static void
look_up(struct ph_call *c, struct dnsbl *s, struct list *l, const char *asked, struct ph_str who,
    struct found *f)
{
	char answer[16];
	int r = is_alive(c, s, l) ? is_listed(c, l, asked, answer) : 0;

	if (r < 0) {
		f->incomplete = 1;
		atomic_store(&l->rest_until_ms, ph_number(c, PH_NOW_MS) + REST_MS);
		warn_of(l, ph_number(c, PH_NOW_MS), "does not answer: mail goes on without it");
	}
	if (r <= 0)
		return;
	ph_count(l->kind == ALLOW ? "allowed" : "listed", 1);
	add_by(f, l, answer);
	if (l->kind == ALLOW) {
		snprintf(f->white, sizeof f->white, "dnswl=pass dns.zone=%s policy.ip=%s", l->zone.name, answer);
		f->allowed |= !l->zone.weight;
		f->score -= l->zone.weight;
		return;
	}
	f->score += l->zone.weight;
	if (!*f->reason && l->zone.weight > 0)
		add_reason(c, f, l, asked, who);
}

/* Lists of addresses: those that allow first. */
static void
look_at_address(struct ph_call *c, struct dnsbl *s, struct ph_str ip, struct found *f)
{
	static const enum kind order[] = { ALLOW, DENY };
	char asked[ZONE_NAME_MAX];

	for (unsigned k = 0; k < 2; k++)
		for (unsigned i = 0; i < s->n && !f->allowed; i++)
			if (s->lists[i].kind == order[k] && !zone_ask_address(&s->lists[i].zone, ip, asked))
				look_up(c, s, &s->lists[i], asked, ip, f);
}

static void
look_at_domain(struct ph_call *c, struct dnsbl *s, struct ph_str domain, struct found *f)
{
	char asked[ZONE_NAME_MAX];

	for (unsigned i = 0; i < s->n && !f->allowed; i++)
		if (s->lists[i].kind == DOMAIN && !zone_ask_domain(&s->lists[i].zone, domain, asked))
			look_up(c, s, &s->lists[i], asked, domain, f);
}

/* ---- of a connection, of a transaction ---- */

static int
concerns_us(struct ph_call *c)
{
	const struct dnsbl *s = ph_self(c);
	struct ph_str ip = ph_text(c, PH_CLIENT_IP);

	return !(ph_number(c, PH_FLAGS) & (PH_F_SUBMITTED | PH_F_LOCAL)) && !net_is_private(ip) &&
	    !nets_have(&s->trust, ip);
}

/* Of the client's address: asked once a connection, unless answers were missing. NULL: no memory. */
static const struct found *
of_session(struct ph_call *c)
{
	struct ph_str ip = ph_text(c, PH_CLIENT_IP);
	struct found *f = ph_data(c, PH_OF_SESSION);

	if (f && !f->incomplete && ph_eq(ip, ph_c(f->ip)))
		return f;
	f = calloc(1, sizeof *f);
	if (!f)
		return NULL;
	text_clean(ip, f->ip, sizeof f->ip);
	look_at_address(c, ph_self(c), ip, f);
	if (ph_data_set(c, PH_OF_SESSION, f, free)) {
		free(f);
		return NULL;
	}
	return f;
}

/* For the plugins behind this one, from the first recipient on. */
static void
write_notes(struct ph_call *c, const struct found *f)
{
	char note[BY_MAX + 20];

	if (!*f->by)
		return;
	snprintf(note, sizeof note, "%d %s", f->score, f->by);
	ph_note_set(c, "dnsbl", ph_c(note));
	if (*f->white)
		ph_note_set(c, "auth.dnswl", ph_c(f->white));
}

/* Of all that is known when the first recipient is. */
static const struct found *
of_transaction(struct ph_call *c)
{
	struct dnsbl *s = ph_self(c);
	struct ph_str helo = ph_text(c, PH_HELO), sender = text_domain(ph_text(c, PH_SENDER));
	struct found *f = ph_data(c, PH_OF_TRANSACTION);
	const struct found *client;

	if (f)
		return f;
	client = of_session(c);
	f = client ? malloc(sizeof *f) : NULL;
	if (!f)
		return NULL;
	*f = *client;
	if (s->of_helo)
		look_at_domain(c, s, helo, f);
	if (s->of_sender && !(s->of_helo && ph_ieq(helo, sender)))
		look_at_domain(c, s, sender, f);
	if (ph_data_set(c, PH_OF_TRANSACTION, f, free)) {
		free(f);
		return NULL;
	}
	write_notes(c, f);
	return f;
}

/* ---- hooks ---- */

static int
is_too_much(const struct dnsbl *s, const struct found *f)
{
	return f && !f->allowed && f->score >= s->threshold;
}

static struct ph_str
rcpt_said(struct ph_call *c)
{
	struct ph_rcpt r = { { NULL, 0 }, { NULL, 0 } };
	uint64_t n = ph_number(c, PH_RCPTS);

	if (n)
		ph_rcpt(c, (uint32_t)(n - 1), &r);
	return r.said.n ? r.said : r.address;
}

static enum ph_action
rcpt(struct ph_call *c)
{
	const struct dnsbl *s = ph_self(c);
	const struct found *f = concerns_us(c) ? of_transaction(c) : NULL;

	if (!s->enforce || !is_too_much(s, f) || texts_have_address(&s->exempt, rcpt_said(c)))
		return PH_CONTINUE;
	ph_count("rejected", 1);
	ph_log(PH_INFO, "session=%.*s client=%s score=%d by=%s action=reject",
	    PH_ARG(ph_text(c, PH_SESSION)), f->ip, f->score, f->by);
	ph_reply(c, 554, "5.7.1", ph_c(f->reason));
	return PH_REJECT;
}

static void
write_header(struct ph_call *c, const struct dnsbl *s, const struct found *f)
{
	size_t size = BY_MAX + 80;
	char *value = ph_alloc(c, size);
	int at = -1;

	while ((at = ph_header_find(c, s->header.p, (uint32_t)(at + 1))) >= 0)
		ph_header_remove(c, (uint32_t)at);
	if (!value || !f || !*f->by)
		return;
	snprintf(value, size, "%s; score=%d; %s",
	    f->allowed ? "allowed" : is_too_much(s, f) ? "listed" : "below", f->score, f->by);
	ph_header_add(c, PH_TOP, s->header, ph_c(value));
}

static enum ph_action
message(struct ph_call *c)
{
	const struct dnsbl *s = ph_self(c);
	const struct found *f = concerns_us(c) ? of_transaction(c) : NULL;

	if (ph_number(c, PH_FLAGS) & (PH_F_SUBMITTED | PH_F_LOCAL))
		return PH_CONTINUE;
	if (s->header.n && ph_granted(PH_CAP_HEADERS))
		write_header(c, s, f);
	if (is_too_much(s, f))
		ph_count("marked", 1);
	return PH_CONTINUE;
}

/* ---- the block ---- */

static void
read_lists(struct ph_conf *conf, struct dnsbl *s, const char *option, enum kind kind, int weight)
{
	const char *why = NULL;
	struct ph_str text;

	for (uint32_t i = 0; (text = ph_option_item(conf, option, i)).p; i++) {
		if (s->n == LISTS_MAX) {
			ph_conf_error(conf, option, "there are too many lists");
			return;
		}
		if (zone_parse(text, weight, &s->lists[s->n].zone, &why)) {
			ph_conf_error(conf, option, why);
			return;
		}
		s->lists[s->n++].kind = kind;
	}
}

static int
init(struct ph_conf *conf, void **self)
{
	struct dnsbl *s = calloc(1, sizeof *s);
	int64_t domains;

	if (!s)
		return -1;
	read_lists(conf, s, "list", DENY, 1);
	read_lists(conf, s, "allow-list", ALLOW, 0);
	read_lists(conf, s, "domain-list", DOMAIN, 1);
	nets_read(conf, "trust", &s->trust);
	texts_read(conf, "exempt", &s->exempt);
	domains = ph_option_number(conf, "domains");
	s->of_helo = domains != 1;
	s->of_sender = domains != 2;
	s->threshold = ph_option_number(conf, "threshold");
	s->check_ms = ph_option_number(conf, "check-every");
	s->enforce = ph_option_number(conf, "mode") == 1;
	s->header = ph_option_text(conf, "header");
	if (!s->n)
		ph_conf_error(conf, NULL, "no list is named: give 'list', 'allow-list' or 'domain-list'");
	*self = s;
	return 0;
}

static const struct ph_option options[] = {
	{ .name = "list", .type = PH_OPT_LIST, .preset = "",
	    .help = "A list of addresses: its zone, the answers that count (127.0.0.2-11; else all), its weight (1)." },
	{ .name = "allow-list", .type = PH_OPT_LIST, .preset = "",
	    .help = "A list of good addresses; its weight is taken away, without one nothing else is asked." },
	{ .name = "domain-list", .type = PH_OPT_LIST, .preset = "",
	    .help = "A list of domains, asked about the client's HELO name and the sender's domain." },
	{ .name = "domains", .type = PH_OPT_CHOICE, .preset = "both", .words = "both|sender|helo",
	    .help = "Which names the lists of domains are asked about." },
	{ .name = "threshold", .type = PH_OPT_NUMBER, .preset = "1", .min = 1, .max = 100000,
	    .help = "The sum of weights from which on mail is refused." },
	{ .name = "mode", .type = PH_OPT_CHOICE, .preset = "enforce", .words = "mark|enforce",
	    .help = "mark: nothing is refused, results are written." },
	{ .name = "trust", .type = PH_OPT_LIST, .preset = "",
	    .help = "Networks that are never asked about, beside private ones." },
	{ .name = "exempt", .type = PH_OPT_LIST, .preset = "postmaster",
	    .help = "Recipients, or local parts of theirs, that get mail from anybody." },
	{ .name = "header", .type = PH_OPT_TEXT, .preset = "X-DNSBL",
	    .help = "The field that tells what was found, if headers are granted; empty: none." },
	{ .name = "check-every", .type = PH_OPT_TIME, .preset = "1h", .min = 1000, .max = 604800000,
	    .help = "How often lists are asked for their test entries." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("dnsbl", "1.0"),
	.flags = PH_THREADSAFE,
	.wants = PH_CAP_DNS,
	.may_use = PH_CAP_HEADERS,
	.options = options,
	.init = init,
	.fini = free,
	.rcpt = rcpt,
	.message = message,
};
PH_PLUGIN(plugin)
