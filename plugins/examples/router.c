/*
 * Recipient router: mail for one address goes to another one, by the words of its subject.
 *
 *	plugin router {
 *		file "router.so"
 *		grant recipients
 *		address support@example.org
 *		rule "invoice billing@example.org", "outage oncall@example.org"
 *	}
 */
#include <posthorn/plugin.h>

#include <stdlib.h>

#define RULES 100

struct router {
	struct ph_str address;
	struct rule {
		struct ph_str word, to;
	} rules[RULES];
	unsigned n;
};

/* Whether text has the word, whatever the case. */
static int
has_word(struct ph_str text, struct ph_str word)
{
	for (size_t i = 0; i + word.n <= text.n; i++)
		if (ph_ieq(ph_bytes(text.p + i, word.n), word))
			return 1;
	return 0;
}

static const struct rule *
rule_for(const struct router *r, struct ph_str subject)
{
	for (unsigned i = 0; i < r->n; i++)
		if (has_word(subject, r->rules[i].word))
			return &r->rules[i];
	return NULL;
}

static enum ph_action
message(struct ph_call *c)
{
	const struct router *r = ph_self(c);
	uint64_t n = ph_number(c, PH_RCPTS);
	int subject = ph_header_find(c, "Subject", 0);
	const struct rule *rule;
	struct ph_header h;
	struct ph_rcpt to;

	if (subject < 0 || ph_header(c, (uint32_t)subject, &h) < 0)
		return PH_CONTINUE;
	rule = rule_for(r, ph_decode(c, h.value));
	for (uint32_t i = 0; rule && i < n; i++) {
		if (ph_rcpt(c, i, &to) < 0 || !ph_ieq(to.said, r->address))
			continue;
		if (ph_rcpt_remove(c, i) < 0 || ph_rcpt_add(c, rule->to) < 0)
			return PH_TEMPFAIL;
	}
	return PH_CONTINUE;
}

/* "WORD ADDRESS". */
static int
read_rule(struct ph_str s, struct rule *ret)
{
	const char *blank = s.n ? memchr(s.p, ' ', s.n) : NULL;

	if (!blank || blank == s.p)
		return -1;
	ret->word = ph_bytes(s.p, (size_t)(blank - s.p));
	ret->to = ph_c(blank + 1);
	return ret->to.n && memchr(ret->to.p, '@', ret->to.n) ? 0 : -1;
}

static int
init(struct ph_conf *conf, void **self)
{
	struct router *r = calloc(1, sizeof *r);
	struct ph_str s;

	if (!r)
		return -1;
	r->address = ph_option_text(conf, "address");
	while (r->n < RULES && (s = ph_option_item(conf, "rule", r->n)).p) {
		if (read_rule(s, &r->rules[r->n]) < 0) {
			ph_conf_error(conf, "rule", "a rule is a word, a blank and an address");
			break;
		}
		r->n++;
	}
	*self = r;
	return 0;
}

static const struct ph_option options[] = {
	{ .name = "address", .type = PH_OPT_TEXT, .help = "Whose mail is routed." },
	{ .name = "rule", .type = PH_OPT_LIST, .preset = "", .help = "A word of the subject, and the address." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("router", "1.0"),
	.license = "MIT",
	.flags = PH_THREADSAFE,
	.wants = PH_CAP_RCPTS,
	.options = options,
	.init = init,
	.fini = free,
	.message = message,
};
PH_PLUGIN(plugin)
