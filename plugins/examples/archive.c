/*
 * Archive copy: every message goes to one more address too.
 *
 *	plugin archive {
 *		file "archive.so"
 *		grant recipients, headers
 *		address archive@example.org
 *		local on
 *	}
 */
#include <posthorn/plugin.h>

#include <stdlib.h>

struct archive {
	struct ph_str address;
};

/* Who else gets it is not to be lost with the envelope: the copy's header says it. */
static int
note_recipients(struct ph_call *c)
{
	uint64_t n = ph_number(c, PH_RCPTS);
	struct ph_rcpt r;

	for (uint32_t i = 0; i < n && i < 100; i++)
		if (!ph_rcpt(c, i, &r) && ph_header_add(c, PH_TOP, ph_c("X-Archived-To"), r.said) < 0)
			return -1;
	return 0;
}

static enum ph_action
message(struct ph_call *c)
{
	const struct archive *a = ph_self(c);

	if (note_recipients(c) < 0 || ph_rcpt_add(c, a->address) < 0)
		return PH_TEMPFAIL;
	return PH_CONTINUE;
}

static int
init(struct ph_conf *conf, void **self)
{
	struct archive *a = calloc(1, sizeof *a);

	if (!a)
		return -1;
	a->address = ph_option_text(conf, "address");
	if (!a->address.n || !memchr(a->address.p, '@', a->address.n))
		ph_conf_error(conf, "address", "an address is needed, such as archive@example.org");
	*self = a;
	return 0;
}

static const struct ph_option options[] = {
	{ .name = "address", .type = PH_OPT_TEXT, .help = "Who gets the copies." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("archive", "1.0"),
	.license = "MIT",
	.flags = PH_THREADSAFE,
	.wants = PH_CAP_RCPTS | PH_CAP_HEADERS,
	.options = options,
	.init = init,
	.fini = free,
	.message = message,
};
PH_PLUGIN(plugin)
