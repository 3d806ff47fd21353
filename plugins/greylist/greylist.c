/*
 * greylist: strangers are told to come again; senders that keep a queue do, and are let in.
 *
 *	plugin greylist {
 *		file "greylist.so"
 *		grant files
 *		delay 1m
 *		skip spf, dnswl
 *	}
 *
 * An attempt is a triplet: the client's network, the sender, the recipient (triplets.h says how
 * they are compared). The first is put off; one within `window` that comes after `delay` passes, and
 * the triplet with it for `expire`. A network of which `allow-after` triplets have passed is
 * not put off any more.
 *
 * Clients that logged in, the house's own mail and private addresses are never put off. While the
 * database cannot be used nobody is.
 */
#include <stdlib.h>

#include "plugins/common/net.h"
#include "plugins/common/text.h"
#include "plugins/greylist/triplets.h"

#define TIMER_MS 600000

struct greylist {
	struct triplets *seen;
	struct nets trust;
	struct texts exempt, skip;
	unsigned bits4, bits6;
	int enforce;
};

/* ---- whom it concerns ---- */

/* What other plugins found out that may spare a client the delay. */
static const struct reason {
	const char *word, *note, *begins;
} reasons[] = {
	{ "spf", "spf", "pass" },
	{ "dnswl", "auth.dnswl", "dnswl=pass" },
};
#define N_REASONS (sizeof reasons / sizeof *reasons)

static int
is_skipped(struct ph_call *c, const struct greylist *g)
{
	for (unsigned i = 0; i < g->skip.n; i++)
		for (size_t k = 0; k < N_REASONS; k++)
			if (ph_ieq(g->skip.v[i], ph_c(reasons[k].word)) &&
			    text_begins(ph_note(c, reasons[k].note), reasons[k].begins))
				return 1;
	return 0;
}

static int
concerns_us(struct ph_call *c, const struct greylist *g, struct ph_str rcpt)
{
	struct ph_str ip = ph_text(c, PH_CLIENT_IP);

	if (ph_number(c, PH_FLAGS) & (PH_F_SUBMITTED | PH_F_LOCAL))
		return 0;
	if (net_is_private(ip) || nets_have(&g->trust, ip) || texts_have_address(&g->exempt, rcpt) ||
	    is_skipped(c, g)) {
		ph_count("skipped", 1);
		return 0;
	}
	return 1;
}

/* ---- the hook ---- */

static enum ph_action
put_off(struct ph_call *c, const struct greylist *g, uint64_t wait_ms)
{
	char text[120];

	if (!g->enforce)
		return PH_CONTINUE;
	snprintf(text, sizeof text, "Greylisted: please try again in %u seconds",
	    (unsigned)((wait_ms + 999) / 1000));
	ph_reply(c, 451, "4.7.1", ph_c(text));
	return PH_TEMPFAIL;
}

static enum ph_action
rcpt(struct ph_call *c)
{
	static const char *const counters[] = { [TRIPLETS_NEW] = "new", [TRIPLETS_EARLY] = "early",
		[TRIPLETS_PASSED] = "passed", [TRIPLETS_SEEN] = "seen", [TRIPLETS_KNOWN] = "known" };
	const struct greylist *g = ph_self(c);
	char net[TRIPLETS_NET_MAX], from[TRIPLETS_ADDRESS_MAX], to[TRIPLETS_ADDRESS_MAX];
	struct ph_str sender, address = ph_rcpt_now(c);
	enum triplets_answer answer;
	uint64_t wait_ms;

	if (!concerns_us(c, g, address) ||
	    triplets_net(ph_text(c, PH_CLIENT_IP), g->bits4, g->bits6, net))
		return PH_CONTINUE;
	sender = ph_bytes(from, triplets_sender(ph_text(c, PH_SENDER), from));
	if (triplets_try(g->seen, ph_c(net), sender, ph_bytes(to, triplets_rcpt(address, to)),
	    ph_number(c, PH_NOW_MS), &answer, &wait_ms)) {
		ph_count("failed", 1);
		ph_log(PH_ERROR, "the database cannot be used: nobody is put off");
		return PH_CONTINUE;
	}
	ph_count(counters[answer], 1);
	if (answer != TRIPLETS_NEW && answer != TRIPLETS_EARLY)
		return PH_CONTINUE;
	return put_off(c, g, wait_ms);
}

/* ---- upkeep ---- */

static uint64_t
timer(void *self, uint64_t now_ms)
{
	struct greylist *g = self;
	uint64_t gone = 0;

	if (triplets_expire(g->seen, now_ms, &gone))
		ph_log(PH_ERROR, "the database cannot be used: nothing of it is forgotten");
	ph_count("forgotten", gone);
	return TIMER_MS;
}

static void
check_skip(struct ph_conf *conf, const struct greylist *g)
{
	for (unsigned i = 0; i < g->skip.n; i++) {
		size_t k = 0;

		while (k < N_REASONS && !ph_ieq(g->skip.v[i], ph_c(reasons[k].word)))
			k++;
		if (k == N_REASONS)
			ph_conf_error(conf, "skip", "what spares a client the delay is spf or dnswl");
	}
}

/* The file in the plugin's folder; in memory where there is none (`posthorn plugin test`). */
static int
open_database(struct ph_conf *conf, struct greylist *g)
{
	struct ph_str dir = ph_conf_text(conf, PH_DATA_DIR);
	struct triplets_policy p = {
		.delay_ms = (uint64_t)ph_option_number(conf, "delay"),
		.window_ms = (uint64_t)ph_option_number(conf, "window"),
		.expire_ms = (uint64_t)ph_option_number(conf, "expire"),
		.allow_after = (uint64_t)ph_option_number(conf, "allow-after"),
		.rows_max = (uint64_t)ph_option_number(conf, "max-entries"),
	};
	char path[4096], why[300] = "out of memory";
	int lost = 0, r;

	if (dir.n + 16 > sizeof path)
		return -1;
	snprintf(path, sizeof path, dir.n ? "%.*s/greylist.db" : "%.*s:memory:", PH_ARG(dir));
	r = triplets_open(path, &p, &g->seen, &lost, why, sizeof why);
	if (r)
		ph_conf_error(conf, NULL, why);
	if (lost)
		ph_log(PH_ERROR, "%s was damaged: it was moved to %s.damaged, all are strangers again",
		    path, path);
	return r;
}

static int
init(struct ph_conf *conf, void **self)
{
	struct greylist *g = calloc(1, sizeof *g);

	if (!g)
		return -1;
	nets_read(conf, "trust", &g->trust);
	texts_read(conf, "exempt", &g->exempt);
	texts_read(conf, "skip", &g->skip);
	check_skip(conf, g);
	g->bits4 = (unsigned)ph_option_number(conf, "network-bits");
	g->bits6 = (unsigned)ph_option_number(conf, "network-bits6");
	g->enforce = ph_option_number(conf, "mode") == 1;
	*self = g;
	return open_database(conf, g);
}

static void
fini(void *self)
{
	struct greylist *g = self;

	triplets_close(&g->seen);
	free(g);
}

static const struct ph_option options[] = {
	{ .name = "delay", .type = PH_OPT_TIME, .preset = "1m", .max = 86400000,
	    .help = "How long a stranger has to wait." },
	{ .name = "window", .type = PH_OPT_TIME, .preset = "2d", .min = 1000, .max = 31536000000,
	    .help = "A stranger who does not come again within this time is one the next time too." },
	{ .name = "expire", .type = PH_OPT_TIME, .preset = "35d", .min = 1000, .max = 31536000000,
	    .help = "Who was let in is a stranger again after so long without mail." },
	{ .name = "allow-after", .type = PH_OPT_NUMBER, .preset = "5", .max = 1000000,
	    .help = "A network is not put off any more after so many triplets of it; 0: never." },
	{ .name = "network-bits", .type = PH_OPT_NUMBER, .preset = "24", .min = 8, .max = 32,
	    .help = "How much of an IPv4 address counts." },
	{ .name = "network-bits6", .type = PH_OPT_NUMBER, .preset = "64", .min = 16, .max = 128,
	    .help = "How much of an IPv6 address counts." },
	{ .name = "skip", .type = PH_OPT_LIST, .preset = "",
	    .help = "What spares a client the delay, found out by plugins before this one: spf, dnswl." },
	{ .name = "trust", .type = PH_OPT_LIST, .preset = "",
	    .help = "Networks that are never put off, beside private ones." },
	{ .name = "exempt", .type = PH_OPT_LIST, .preset = "postmaster",
	    .help = "Recipients, or local parts of theirs, whose mail is never put off." },
	{ .name = "max-entries", .type = PH_OPT_NUMBER, .preset = "500000", .min = 10, .max = 100000000,
	    .help = "How many triplets and how many networks are remembered; the oldest go." },
	{ .name = "mode", .type = PH_OPT_CHOICE, .preset = "enforce", .words = "mark|enforce",
	    .help = "mark: nobody is put off, but all is counted and learned." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("greylist", "1.0"),
	.wants = PH_CAP_FILES,
	.options = options,
	.init = init,
	.fini = fini,
	.rcpt = rcpt,
	.timer = timer,
};
PH_PLUGIN(plugin)
