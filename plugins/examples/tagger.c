/*
 * Header tagger: adds a header field to every message.
 *
 *	plugin tagger {
 *		file "tagger.so"
 *		grant headers
 *		field X-Checked
 *		value "by example.org"
 *	}
 */
#include <posthorn/plugin.h>

#include <stdlib.h>

struct tagger {
	struct ph_str field, value;
};

static enum ph_action
message(struct ph_call *c)
{
	const struct tagger *t = ph_self(c);

	/* One that the sender put there himself would be taken for ours. */
	for (int i = -1; (i = ph_header_find(c, t->field.p, (uint32_t)(i + 1))) >= 0;)
		ph_header_remove(c, (uint32_t)i);
	return ph_header_add(c, PH_TOP, t->field, t->value) < 0 ? PH_TEMPFAIL : PH_CONTINUE;
}

static int
init(struct ph_conf *conf, void **self)
{
	struct tagger *t = calloc(1, sizeof *t);

	if (!t)
		return -1;
	t->field = ph_option_text(conf, "field");
	t->value = ph_option_text(conf, "value");
	*self = t;
	return 0;
}

static const struct ph_option options[] = {
	{ .name = "field", .type = PH_OPT_TEXT, .preset = "X-Tagged", .help = "The field's name." },
	{ .name = "value", .type = PH_OPT_TEXT, .preset = "yes", .help = "The field's value." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("tagger", "1.0"),
	.license = "MIT",
	.flags = PH_THREADSAFE,
	.wants = PH_CAP_HEADERS,
	.options = options,
	.init = init,
	.fini = free,
	.message = message,
};
PH_PLUGIN(plugin)
