/*
 * Loading a plugin and judging its block; see plugin_host.h.
 *
 * What a plugin says of itself may be shorter or longer than what this host knows: the part
 * that both know is copied, the rest is zero or left.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/conf/table.h"
#include "mta/plugin_host.h"

#define OPTIONS_MAX 256
#define NAME_LEN 64
/* Up to the field behind options: what any plugin of ABI 1 has. */
#define SIZE_MIN offsetof(struct ph_plugin, timer)

static const struct cap {
	const char *name;
	uint32_t bit;
} caps[] = {
	{ "headers", PH_CAP_HEADERS }, { "recipients", PH_CAP_RCPTS }, { "sender", PH_CAP_SENDER },
	{ "body", PH_CAP_BODY }, { "dns", PH_CAP_DNS }, { "network", PH_CAP_NET },
	{ "files", PH_CAP_FILES },
};
#define N_CAPS (sizeof caps / sizeof *caps)

uint32_t
plugin_cap(struct str name)
{
	for (size_t i = 0; i < N_CAPS; i++)
		if (str_eq(name, str_c(caps[i].name)))
			return caps[i].bit;
	return 0;
}

void
plugin_caps_put(struct buf *b, uint32_t set)
{
	bool first = true;

	for (size_t i = 0; i < N_CAPS; i++)
		if (set & caps[i].bit) {
			buf_printf(b, "%s%s", first ? "" : ", ", caps[i].name);
			first = false;
		}
}

/* ---- loading ---- */

/* Letters, digits, '-' and '_': what can stand in labels and keys. */
static bool
name_fits(const char *name)
{
	struct str s = str_c(name);

	for (size_t i = 0; i < s.n; i++)
		if (!ascii_isalnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	return s.n && s.n <= NAME_LEN;
}

static int
copy_options(struct plugin *p, struct err *e)
{
	const char *at = (const char *)p->d.options;
	size_t stride = p->d.option_size, known = sizeof(struct ph_option), n = 0;

	if (!at)
		return 0;
	if (stride < offsetof(struct ph_option, help) || stride > 4096)
		return err_set(e, -EINVAL, "its options have a size that cannot be");
	while (n < OPTIONS_MAX && *(const char *const *)(at + n * stride))
		n++;
	p->options = ARENA_ARRAY(p->arena, struct ph_option, n + 1);
	if (!p->options)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		memcpy(&p->options[i], at + i * stride, stride < known ? stride : known);
		if (!name_fits(p->options[i].name) ||
		    conf_row_find(STR("plugin"), str_c(p->options[i].name)))
			return err_set(e, -EINVAL, "its option '%.64s' cannot have that name",
			    p->options[i].name);
	}
	p->n_options = n;
	return 0;
}

static int
take(struct plugin *p, const struct ph_plugin *d, struct err *e)
{
	if (!d)
		return err_set(e, -EINVAL, "it does not want to be loaded by this version");
	if (d->abi != PH_ABI)
		return err_set(e, -EINVAL, "it was made for interface %u; this version has %u", d->abi, PH_ABI);
	if (d->size < SIZE_MIN || d->size > 65536)
		return err_set(e, -EINVAL, "it was not made with posthorn/plugin.h");
	memcpy(&p->d, d, d->size < sizeof p->d ? d->size : sizeof p->d);
	if (!p->d.name || !name_fits(p->d.name))
		return err_set(e, -EINVAL, "its name is none (letters, digits, '-' and '_')");
	if (!p->d.version)
		p->d.version = "0";
	return copy_options(p, e);
}

int
plugin_open(const char *path, struct plugin **ret, struct err *e)
{
	struct plugin *p = calloc(1, sizeof *p);
	pthread_mutexattr_t attr;
	ph_entry_fn *entry;
	int r;

	if (!p || !(p->arena = arena_new(0))) {
		free(p);
		return err_set(e, -ENOMEM, "out of memory");
	}
	pthread_mutexattr_init(&attr);
	pthread_mutex_init(&p->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	p->dns = dns_ask_within;
	plugin_current = p;
	p->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	*(void **)&entry = p->handle ? dlsym(p->handle, "ph_plugin_entry") : NULL;
	if (!p->handle)
		r = err_set(e, -ENOENT, "%s", dlerror());
	else if (!entry)
		r = err_set(e, -EINVAL, "it is no plugin: it has no ph_plugin_entry");
	else
		r = take(p, entry(&plugin_api), e);
	if (r)
		plugin_close(&p);
	else
		*ret = p;
	return r;
}

void
plugin_close(struct plugin **pp)
{
	struct plugin *p = *pp;

	*pp = NULL;
	if (!p)
		return;
	if (p->started && p->d.fini)
		p->d.fini(p->self);
	pthread_mutex_destroy(&p->lock);
	arena_free(&p->arena);
	if (plugin_current == p)
		plugin_current = NULL;
	free(p);
}

/* ---- options ---- */

void
plugin_mistake(struct ph_conf *conf, const struct conf_option *at, const char *text)
{
	struct conf_error e = { .text = str_c(text), .file = STR("posthorn.conf") };

	if (at) {
		e.file = at->file;
		e.line = at->line;
		e.col = at->col;
	}
	conf->mistakes++;
	if (conf->fn)
		conf->fn(conf->arg, &e);
}

__attribute__((format(printf, 3, 4)))
static void
mistake(struct ph_conf *conf, const struct conf_option *at, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	plugin_mistake(conf, at, text);
}

static const char *
nth_option(void *arg, size_t i)
{
	const struct plugin *p = arg;

	if (i < p->n_options)
		return p->options[i].name;
	i -= p->n_options;
	for (size_t k = 0; k < conf_n_rows; k++)
		if (!strcmp(conf_rows[k].block, "plugin") && i-- == 0)
			return conf_rows[k].name;
	return NULL;
}

/* The word's place in "low|middle|high", or -1. */
static int
word_index(const char *words, struct str word)
{
	struct str rest = str_c(words);

	for (int i = 0; rest.p; i++)
		if (str_eq(str_cut(&rest, '|'), word))
			return i;
	return -1;
}

/* NULL, or what the text is not. */
static const char *
read_number(const struct ph_option *o, struct str text, int64_t *ret)
{
	uint64_t v = 0;
	int r = 0;

	switch (o->type) {
	case PH_OPT_SWITCH:
		*ret = str_eq(text, STR("on"));
		return *ret || str_eq(text, STR("off")) ? NULL : "on or off";
	case PH_OPT_CHOICE:
		r = word_index(o->words, text);
		*ret = r;
		return r < 0 ? o->words : NULL;
	case PH_OPT_SIZE:
		r = conf_size_parse(text, &v);
		break;
	case PH_OPT_TIME:
		r = conf_time_parse(text, &v);
		break;
	default:
		r = str_u64(text, INT64_MAX, &v) ? 0 : -EINVAL;
		break;
	}
	*ret = (int64_t)v;
	if (!r && v <= INT64_MAX)
		return NULL;
	return o->type == PH_OPT_SIZE ? "a size (write 25M, or bytes)" :
	    o->type == PH_OPT_TIME ? "a time (write 5m)" : "a number";
}

static bool
is_text(const struct ph_option *o)
{
	return o->type == PH_OPT_TEXT || o->type == PH_OPT_LIST;
}

/* Behind those that stand there: a list may be given several times. */
static void
add_texts(struct plugin *p, struct plugin_value *v, const struct str *texts, size_t n)
{
	struct str *all = ARENA_ARRAY(p->arena, struct str, v->n_texts + n + 1);

	if (!all)
		return;
	if (v->n_texts)
		memcpy(all, v->texts, v->n_texts * sizeof *all);
	for (size_t i = 0; i < n; i++)
		all[v->n_texts++] = arena_dup(p->arena, texts[i]);
	v->texts = all;
}

/* What was said; at NULL: the option's own preset. */
static void
set_value(struct ph_conf *conf, size_t i, const struct conf_option *at, const struct str *texts,
    size_t n)
{
	struct plugin *p = conf->plugin;
	const struct ph_option *o = &p->options[i];
	struct plugin_value *v = &p->values[i];
	const char *what;

	if (n != 1 && o->type != PH_OPT_LIST) {
		mistake(conf, at, "'%s' takes one value", o->name);
		return;
	}
	if (is_text(o)) {
		if (o->type != PH_OPT_LIST)
			v->n_texts = 0;
		add_texts(p, v, texts, n);
		return;
	}
	what = read_number(o, texts[0], &v->number);
	if (what)
		mistake(conf, at, "'%.*s' is not %s%s", STR_ARG(str_head(texts[0], 80)),
		    o->type == PH_OPT_CHOICE ? "one of " : "", what);
	else if ((o->min || o->max) && o->type != PH_OPT_CHOICE && o->type != PH_OPT_SWITCH &&
	    (v->number < o->min || (o->max && v->number > o->max)))
		mistake(conf, at, "'%.*s' is out of range for '%s'", STR_ARG(str_head(texts[0], 80)), o->name);
}

static void
preset(struct ph_conf *conf, size_t i)
{
	const struct ph_option *o = &conf->plugin->options[i];
	struct str text = str_c(o->preset);

	if (!o->preset)
		mistake(conf, NULL, "'plugin %.*s' needs '%s'", STR_ARG(conf->plugin->conf->name), o->name);
	else if (o->type != PH_OPT_LIST || text.n)
		set_value(conf, i, NULL, &text, 1);
}

static void
read_options(struct ph_conf *conf)
{
	struct plugin *p = conf->plugin;
	bool given[OPTIONS_MAX] = { false };

	for (size_t k = 0; k < p->conf->n_options; k++) {
		const struct conf_option *at = &p->conf->options[k];
		size_t i = 0;
		const char *near;

		while (i < p->n_options && !str_eq(at->name, str_c(p->options[i].name)))
			i++;
		if (i < p->n_options) {
			given[i] = true;
			set_value(conf, i, at, at->v, at->n);
			continue;
		}
		near = conf_near(at->name, nth_option, p);
		mistake(conf, at, "unknown key '%.*s' in 'plugin %.*s'%s%s%s",
		    STR_ARG(str_head(at->name, 80)), STR_ARG(str_head(p->conf->name, 64)),
		    near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
	}
	for (size_t i = 0; i < p->n_options; i++)
		if (!given[i])
			preset(conf, i);
}

static void
read_grants(struct ph_conf *conf)
{
	struct plugin *p = conf->plugin;
	struct buf b = { 0 };

	for (size_t i = 0; i < p->conf->n_grants; i++) {
		uint32_t cap = plugin_cap(p->conf->grants[i]);

		if (!cap && !str_eq(p->conf->grants[i], STR("none")))
			mistake(conf, NULL, "'plugin %.*s': nothing called '%.*s' can be granted",
			    STR_ARG(p->conf->name), STR_ARG(str_head(p->conf->grants[i], 80)));
		p->granted |= cap;
	}
	if (p->granted & PH_CAP_NET && p->conf->sandbox == CONF_PLUGIN_STRICT)
		mistake(conf, NULL, "'plugin %.*s': 'grant network' needs 'sandbox net'",
		    STR_ARG(p->conf->name));
	if (!(p->d.wants & ~p->granted))
		return;
	plugin_caps_put(&b, p->d.wants & ~p->granted);
	mistake(conf, NULL, "'plugin %.*s' needs 'grant %.*s'", STR_ARG(p->conf->name),
	    STR_ARG(buf_view(&b)));
	buf_done(&b);
}

unsigned
plugin_configure(struct plugin *p, const struct conf_plugin *c,
    void (*fn)(void *, const struct conf_error *), void *arg)
{
	struct ph_conf conf = { p, fn, arg, 0 };

	p->conf = c;
	p->granted = 0;
	p->values = ARENA_ARRAY(p->arena, struct plugin_value, p->n_options + 1);
	if (!p->values)
		return 1;
	read_options(&conf);
	read_grants(&conf);
	return conf.mistakes;
}

int
plugin_start(struct plugin *p, void (*fn)(void *, const struct conf_error *), void *arg)
{
	struct ph_conf conf = { p, fn, arg, 0 };
	int r = p->d.init ? p->d.init(&conf, &p->self) : 0;

	if (r >= 0 && !conf.mistakes) {
		p->started = true;
		return 0;
	}
	if (!conf.mistakes)
		mistake(&conf, NULL, "'plugin %.*s' cannot start", STR_ARG(p->conf->name));
	return r < 0 ? r : -EINVAL;
}
