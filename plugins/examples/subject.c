/*
 * Subject rewriter: puts a word before the subject of mail that comes from outside.
 *
 *	plugin subject {
 *		file "subject.so"
 *		grant headers
 *		prefix "[external]"
 *	}
 */
#include <posthorn/plugin.h>

#include <stdio.h>
#include <stdlib.h>

struct subject {
	struct ph_str prefix;
};

static int
has_prefix(struct ph_call *c, const struct subject *s, struct ph_str value)
{
	struct ph_str text = ph_decode(c, value);

	return text.n >= s->prefix.n && !memcmp(text.p, s->prefix.p, s->prefix.n);
}

static enum ph_action
message(struct ph_call *c)
{
	const struct subject *s = ph_self(c);
	struct ph_header h;
	int i = ph_header_find(c, "Subject", 0), r;
	size_t room;
	char *value;

	if (ph_number(c, PH_FLAGS) & PH_F_SUBMITTED)
		return PH_CONTINUE;
	if (i < 0) {
		r = ph_header_add(c, PH_BOTTOM, ph_c("Subject"), s->prefix);
		return r < 0 ? PH_TEMPFAIL : PH_CONTINUE;
	}
	if (ph_header(c, (uint32_t)i, &h) < 0 || has_prefix(c, s, h.value))
		return PH_CONTINUE;
	room = s->prefix.n + h.value.n + 2;
	value = ph_alloc(c, room);
	if (!value)
		return PH_TEMPFAIL;
	/* The value as it came, encoded words and all, behind the prefix. */
	snprintf(value, room, "%.*s %.*s", PH_ARG(s->prefix), PH_ARG(h.value));
	return ph_header_set(c, (uint32_t)i, ph_c(value)) < 0 ? PH_TEMPFAIL : PH_CONTINUE;
}

static int
init(struct ph_conf *conf, void **self)
{
	struct subject *s = calloc(1, sizeof *s);

	if (!s)
		return -1;
	s->prefix = ph_option_text(conf, "prefix");
	*self = s;
	return 0;
}

static const struct ph_option options[] = {
	{ .name = "prefix", .type = PH_OPT_TEXT, .preset = "[external]", .help = "What is put before it." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("subject", "1.0"),
	.license = "MIT",
	.flags = PH_THREADSAFE,
	.wants = PH_CAP_HEADERS,
	.options = options,
	.init = init,
	.fini = free,
	.message = message,
};
PH_PLUGIN(plugin)
