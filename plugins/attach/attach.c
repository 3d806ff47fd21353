/*
 * attach: attachments that a site does not want, by type, name, extension, and by the names in zip
 * archives.
 *
 *	plugin attach {
 *		file "attach.so"
 *		grant headers
 *		action reject
 *		names "*.docm", "invoice*.zip"
 *		encrypted-archives block
 *	}
 *
 * Each MIME part is judged, those of messages inside the message too. The first that is not
 * wanted decides. Parts are looked into only when something could be found there.
 */
#include <stdlib.h>

#include "plugins/attach/policy.h"

#define LEAVE_MS 300

enum { ACT_REJECT, ACT_QUARANTINE, ACT_MARK };

struct attach {
	struct policy policy;
	struct ph_str header;
	int action, submitted;
};

/* What was found: of which part, what about it. */
struct found {
	const char *what;
	char name[120];
	char inside[120];
};

static int
looks_inside(const struct policy *p, const struct ph_part *part)
{
	if (part->flags & PH_PART_MULTI || part->size < 22)
		return 0;
	return p->archives || p->encrypted || p->broken || p->sniff;
}

/* A name whose sender wrote it in the way of header text (RFC 2047), as many programs do. */
static struct ph_str
plain_name(struct ph_call *c, struct ph_str name)
{
	for (size_t i = 0; i + 1 < name.n; i++)
		if (name.p[i] == '=' && name.p[i + 1] == '?')
			return ph_decode(c, name);
	return name;
}

/* 1: *f says what is not wanted; 0; -1: it cannot be judged now. */
static int
judge(struct ph_call *c, const struct policy *p, uint32_t i, struct found *f)
{
	struct ph_str name, body, inside = { NULL, 0 };
	struct ph_part part;
	int r;

	if (ph_part(c, i, &part))
		return -1;
	name = plain_name(c, part.name);
	f->what = policy_name(p, name);
	if (!f->what)
		f->what = policy_type(p, part.type);
	if (!f->what && looks_inside(p, &part)) {
		r = ph_part_body(c, i, PH_BODY_DECODED, &body);
		if (r)
			return -1;
		f->what = policy_content(p, body, &inside);
	}
	text_clean(name.n ? name : part.type, f->name, sizeof f->name);
	text_clean(inside, f->inside, sizeof f->inside);
	return f->what != NULL;
}

static void
write_header(struct ph_call *c, const struct attach *s, const struct found *f)
{
	char value[400];
	int at = -1;

	if (!s->header.n || !ph_granted(PH_CAP_HEADERS))
		return;
	while ((at = ph_header_find(c, s->header.p, (uint32_t)(at + 1))) >= 0)
		ph_header_remove(c, (uint32_t)at);
	if (!f->what)
		return;
	snprintf(value, sizeof value, "%s; part=\"%s\"%s%s%s", f->what, f->name, *f->inside ? "; inside=\"" : "",
	    f->inside, *f->inside ? "\"" : "");
	for (char *x = value; *x; x++)
		if (*x == '\\')
			*x = '/';
	ph_header_add(c, PH_TOP, s->header, ph_c(value));
}

static enum ph_action
act(struct ph_call *c, const struct attach *s, const struct found *f)
{
	static const char *const counters[] = { "rejected", "quarantined", "marked" };
	static const char *const words[] = { "reject", "quarantine", "mark" };
	char text[400];

	ph_count(counters[s->action], 1);
	ph_log(PH_INFO, "txn=%.*s action=%s what=\"%s\" part=\"%s\" inside=\"%s\"",
	    PH_ARG(ph_text(c, PH_TRANSACTION)), words[s->action], f->what, f->name, f->inside);
	snprintf(text, sizeof text, "An attachment has %s: %s%s%s", f->what, f->name,
	    *f->inside ? ", in it " : "", f->inside);
	if (s->action == ACT_MARK)
		return PH_CONTINUE;
	ph_reply(c, s->action == ACT_REJECT ? 554 : 0, s->action == ACT_REJECT ? "5.7.1" : NULL, ph_c(text));
	return s->action == ACT_REJECT ? PH_REJECT : PH_QUARANTINE;
}

static enum ph_action
message(struct ph_call *c)
{
	const struct attach *s = ph_self(c);
	uint64_t n = ph_number(c, PH_PARTS), flags = ph_number(c, PH_FLAGS);
	struct found f = { NULL, "", "" };
	int r = n ? 0 : -1;

	if (flags & PH_F_LOCAL || (flags & PH_F_SUBMITTED && !s->submitted))
		return PH_CONTINUE;
	for (uint32_t i = 0; i < n && !r; i++)
		r = ph_number(c, PH_DEADLINE_MS) < LEAVE_MS ? -1 : judge(c, &s->policy, i, &f);
	if (r < 0) {
		ph_count("failed", 1);
		ph_reply(c, 451, "4.3.0", ph_c("The attachments cannot be judged now"));
		return PH_TEMPFAIL;
	}
	ph_count("judged", 1);
	write_header(c, s, &f);
	return f.what ? act(c, s, &f) : PH_CONTINUE;
}

/* ---- the block ---- */

/* "exe" and ".exe" are the same. */
static void
without_dots(struct texts *t)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->v[i].n && *t->v[i].p == '.')
			t->v[i] = ph_bytes(t->v[i].p + 1, t->v[i].n - 1);
}

/* The preset of extensions is one text: it is cut at its commas and blanks here. */
static void
cut_preset(struct texts *t)
{
	struct ph_str rest = t->n == 1 ? t->v[0] : ph_c(""), w;

	if (!rest.n || !memchr(rest.p, ' ', rest.n))
		return;
	t->n = 0;
	while ((w = text_word(&rest)).n && t->n < TEXTS_MAX)
		t->v[t->n++] = w;
}

static int
init(struct ph_conf *conf, void **self)
{
	struct attach *s = calloc(1, sizeof *s);
	struct policy *p = s ? &s->policy : NULL;

	if (!s)
		return -1;
	texts_read(conf, "extensions", &p->extensions);
	cut_preset(&p->extensions);
	without_dots(&p->extensions);
	texts_read(conf, "names", &p->names);
	texts_read(conf, "types", &p->types);
	p->hidden = ph_option_number(conf, "hidden-extensions") != 0;
	p->archives = ph_option_number(conf, "archives") != 0;
	p->encrypted = ph_option_number(conf, "encrypted-archives") == 1;
	p->broken = ph_option_number(conf, "broken-archives") == 1;
	p->sniff = ph_option_number(conf, "programs") != 0;
	p->entries_max = (uint64_t)ph_option_number(conf, "max-entries");
	s->action = ph_option_number(conf, "mode") ? (int)ph_option_number(conf, "action") : ACT_MARK;
	s->submitted = ph_option_number(conf, "submitted") != 0;
	s->header = ph_option_text(conf, "header");
	*self = s;
	return 0;
}

static const struct ph_option options[] = {
	{ .name = "extensions", .type = PH_OPT_LIST,
	    .preset = "ade adp apk app appx bat chm cmd com cpl dll exe hta img ins iso isp jar js jse lib lnk mde "
		"msc msi msix msp mst nsh pif ps1 reg scf scr sct shb shs sys vb vbe vbs vhd vhdx vxd wsc wsf wsh",
	    .help = "Extensions of names that are not wanted." },
	{ .name = "names", .type = PH_OPT_LIST, .preset = "",
	    .help = "Names that are not wanted; '*' is anything, '?' any byte." },
	{ .name = "types", .type = PH_OPT_LIST, .preset = "",
	    .help = "MIME types that are not wanted, such as application/x-msdownload or video/*." },
	{ .name = "hidden-extensions", .type = PH_OPT_SWITCH, .preset = "on",
	    .help = "Extensions that stand before another one (a.exe.txt) count too, and marks that turn names around." },
	{ .name = "programs", .type = PH_OPT_SWITCH, .preset = "on",
	    .help = "Programs for Windows are known by their content too, while exe is not wanted." },
	{ .name = "archives", .type = PH_OPT_SWITCH, .preset = "on",
	    .help = "Names in zip archives count too." },
	{ .name = "encrypted-archives", .type = PH_OPT_CHOICE, .preset = "allow", .words = "allow|block",
	    .help = "Zip archives with a password." },
	{ .name = "broken-archives", .type = PH_OPT_CHOICE, .preset = "allow", .words = "allow|block",
	    .help = "Zip archives whose directory cannot be read, or is too long." },
	{ .name = "max-entries", .type = PH_OPT_NUMBER, .preset = "10000", .min = 1, .max = 1000000,
	    .help = "How many names of an archive are looked at." },
	{ .name = "action", .type = PH_OPT_CHOICE, .preset = "reject", .words = "reject|quarantine|mark",
	    .help = "What is done with the message." },
	{ .name = "mode", .type = PH_OPT_CHOICE, .preset = "enforce", .words = "mark|enforce",
	    .help = "mark: nothing is refused or held, results are written." },
	{ .name = "submitted", .type = PH_OPT_SWITCH, .preset = "on",
	    .help = "Mail of clients that logged in is judged too." },
	{ .name = "header", .type = PH_OPT_TEXT, .preset = "X-Attachment-Policy",
	    .help = "The field that tells what was found, if headers are granted; empty: none." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("attach", "1.0"),
	.flags = PH_THREADSAFE,
	.may_use = PH_CAP_HEADERS,
	.options = options,
	.init = init,
	.fini = free,
	.message = message,
};
PH_PLUGIN(plugin)
