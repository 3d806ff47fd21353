/*
 * What a plugin may call (struct ph_api), and how its hooks are run; see plugin_host.h.
 *
 * Nothing here trusts its arguments: a number that is out of range, text that cannot stand in a
 * header field, or a call in the wrong hook gets an error code. What a plugin can break is its own
 * process.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/mail/body.h"
#include "lib/mail/path.h"
#include "lib/mail/word.h"
#include "mta/plugin_host.h"

#define HEADERS_MAX 4096
#define VALUE_MAX (64u << 10)
#define REPLY_MAX 400

_Static_assert(PH_CONTINUE == (int)FILTER_CONTINUE && PH_QUARANTINE == (int)FILTER_QUARANTINE,
    "actions of the interface and of the wire");
_Static_assert(PH_F_DRY_RUN == (int)FILTER_F_DRY_RUN && PH_F_SUBMITTED == (int)FILTER_F_SUBMITTED,
    "flags of the interface and of the wire");
_Static_assert(PH_DNS_OK == (int)DNS_OK && PH_DNS_BOGUS == (int)DNS_BOGUS,
    "states of the interface and of dnsd");

struct plugin *plugin_current;

static struct ph_str
out(struct str s)
{
	return (struct ph_str){ s.p, s.n };
}

static struct str
in(struct ph_str s)
{
	return (struct str){ s.p, s.n };
}

/* The bytes with a NUL behind them, in the call's memory. */
static struct ph_str
keep(struct ph_call *c, struct str s)
{
	return out(arena_dup(c->arena, s));
}

/* ---- facts ---- */

static void *
api_self(struct ph_call *c)
{
	return c->plugin->self;
}

static struct ph_str
api_text(struct ph_call *c, uint32_t what)
{
	const struct filter_ask *q = c->ask;

	switch (what) {
	case PH_CLIENT_IP: return keep(c, q->client_ip);
	case PH_CLIENT_NAME: return keep(c, q->client_name);
	case PH_HELO: return keep(c, q->helo);
	case PH_USER: return keep(c, q->user);
	case PH_LISTENER: return keep(c, q->listener);
	case PH_TLS: return keep(c, q->tls);
	case PH_SESSION: return keep(c, q->session_id);
	case PH_TRANSACTION: return keep(c, q->trace);
	case PH_HOSTNAME: return keep(c, c->plugin->hostname);
	case PH_SENDER: return keep(c, q->sender);
	case PH_ENVID: return keep(c, q->envid);
	case PH_NAME: return keep(c, c->plugin->conf->name);
	case PH_DATA_DIR: return keep(c, c->plugin->data_dir);
	default: return (struct ph_str){ NULL, 0 };
	}
}

static void split(struct ph_call *c);
static int parse(struct ph_call *c);

static uint64_t
time_left(const struct ph_call *c)
{
	uint64_t now = clock_ms();

	return c->deadline_ms > now ? c->deadline_ms - now : 0;
}

static uint64_t
api_number(struct ph_call *c, uint32_t what)
{
	const struct filter_ask *q = c->ask;

	switch (what) {
	case PH_RCPTS: return q->n_rcpts;
	case PH_SIZE: return q->hook == FILTER_MESSAGE ? c->message.n : q->size;
	case PH_FLAGS: return q->flags;
	case PH_DEADLINE_MS: return time_left(c);
	case PH_NOW_MS: return clock_real_us() / 1000;
	case PH_HEADERS: return split(c), c->n_headers;
	case PH_PARTS: return parse(c) ? 0 : c->mime.n;
	case PH_OUTCOME: return q->outcome;
	case PH_SPOOL_ID: return q->spool_id;
	default: return 0;
	}
}

static void *
api_alloc(struct ph_call *c, size_t n)
{
	return arena_zalloc(c->arena, n ? n : 1);
}

static void
api_log(uint32_t level, const char *text)
{
	if (plugin_current && plugin_current->log)
		plugin_current->log(plugin_current, level, text);
}

static void
api_count(const char *name, uint64_t n)
{
	if (plugin_current && plugin_current->count)
		plugin_current->count(plugin_current, name, n);
}

static uint32_t
api_granted(void)
{
	return plugin_current ? plugin_current->granted : 0;
}

/* One line of it: what cannot stand there becomes '?'. */
static void
api_reply(struct ph_call *c, uint32_t smtp, const char *enhanced, struct ph_str text)
{
	char *t = arena_cstr(c->arena, str_head(in(text), REPLY_MAX));

	for (char *x = t; x && *x; x++)
		if ((unsigned char)*x < ' ' || *x == 0x7f)
			*x = '?';
	c->answer.smtp = smtp;
	c->answer.enhanced = arena_dup(c->arena, str_c(enhanced));
	c->answer.text = str_c(t);
}

/* ---- the message ---- */

/* Copies as much of *from as both sides know. */
static void
give(void *ret, size_t size, const void *from, size_t known)
{
	memset(ret, 0, size);
	memcpy(ret, from, size < known ? size : known);
}

static int
api_rcpt(struct ph_call *c, uint32_t i, struct ph_rcpt *ret, size_t size)
{
	struct ph_rcpt r;

	if (i >= c->ask->n_rcpts)
		return -ENOENT;
	r.address = keep(c, c->ask->rcpts[i].address);
	r.said = keep(c, c->ask->rcpts[i].said);
	give(ret, size, &r, sizeof r);
	return 0;
}

static struct ph_str
api_message(struct ph_call *c)
{
	return out(c->message);
}

/* Where the fields are. */
static void
split(struct ph_call *c)
{
	struct str rest = c->message;
	struct header_field f;
	size_t room = 0;

	if (c->split)
		return;
	c->split = true;
	while (c->n_headers < HEADERS_MAX && header_next(&rest, &f)) {
		if (c->n_headers == room) {
			struct header_field *v;

			room = room ? room * 2 : 32;
			v = ARENA_ARRAY(c->arena, struct header_field, room);
			if (!v)
				return;
			if (c->n_headers)
				memcpy(v, c->headers, c->n_headers * sizeof *v);
			c->headers = v;
		}
		c->headers[c->n_headers++] = f;
	}
	c->body = str_skip(rest, header_blank(rest));
}

static int
api_header(struct ph_call *c, uint32_t i, struct ph_header *ret, size_t size)
{
	struct ph_header h;

	split(c);
	if (i >= c->n_headers)
		return -ENOENT;
	h.name = keep(c, c->headers[i].name);
	h.value = keep(c, str_trim(c->headers[i].raw));
	if (!h.name.p || !h.value.p)
		return -ENOMEM;
	give(ret, size, &h, sizeof h);
	return 0;
}

static struct ph_str
api_decode(struct ph_call *c, struct ph_str raw)
{
	struct buf b = { .max = PLUGIN_CALL_MEMORY };
	struct ph_str r;

	word_decode(in(raw), &b);
	r = keep(c, buf_view(&b));
	buf_done(&b);
	return r;
}

static int
parse(struct ph_call *c)
{
	int r;

	if (c->parsed)
		return c->mime.n ? 0 : -ENOENT;
	c->parsed = true;
	if (!c->message.n)
		return -ENOENT;
	r = mime_parse(c->message, c->arena, clock_us() + time_left(c) * 1000, &c->mime);
	if (r)
		c->mime.n = 0;
	return r;
}

static struct str
part_type(struct ph_call *c, const struct mime_part *m, const struct mime_value *v)
{
	if (v->type.n && v->subtype.n)
		return arena_lower(c->arena, arena_printf(c->arena, "%.*s/%.*s",
		    STR_ARG(str_head(v->type, 200)), STR_ARG(str_head(v->subtype, 200))));
	return m->flags & MIME_F_DIGEST_CHILD ? STR("message/rfc822") : STR("text/plain");
}

static uint32_t
part_depth(const struct mime *m, uint32_t i)
{
	uint32_t n = 0;

	for (; i && m->parts[i].parent != MIME_NONE; i = m->parts[i].parent)
		n++;
	return n;
}

static int
api_part(struct ph_call *c, uint32_t i, struct ph_part *ret, size_t size)
{
	struct mime_value type, disposition;
	const struct mime_part *m;
	struct ph_part p = { 0 };
	struct str name;

	if (parse(c) || i >= c->mime.n)
		return -ENOENT;
	m = &c->mime.parts[i];
	mime_value_parse(c->mime.fields[i].type, c->arena, &type);
	mime_value_parse(c->mime.fields[i].disposition, c->arena, &disposition);
	name = mime_value_get(&disposition, STR("filename"));
	if (!name.p)
		name = mime_value_get(&type, STR("name"));
	p.type = out(part_type(c, m, &type));
	p.charset = out(arena_lower(c->arena, mime_value_get(&type, STR("charset"))));
	p.name = keep(c, name);
	p.depth = part_depth(&c->mime, i);
	p.flags = (m->kind != MIME_LEAF ? PH_PART_MULTI : 0u) |
	    (str_ieq(disposition.type, STR("attachment")) ? PH_PART_ATTACHMENT : 0u);
	p.size = m->end - m->body;
	give(ret, size, &p, sizeof p);
	return 0;
}

/* Lets the call own what was decoded. It is not of the call's memory, but bounded beside it: twice
 * the message and a little. */
static int
give_body(struct ph_call *c, struct buf *b, struct ph_str *ret)
{
	size_t n = b->n;

	buf_put(b, "", 1);
	if (b->over || c->decoded + n > 2 * c->message.n + PLUGIN_CALL_MEMORY) {
		buf_done(b);
		return -ENOMEM;
	}
	if (arena_defer(c->arena, free, b->p))
		return -ENOMEM;
	c->decoded += n;
	*ret = (struct ph_str){ b->p, n };
	return 0;
}

static int
api_part_body(struct ph_call *c, uint32_t i, uint32_t how, struct ph_str *ret)
{
	struct buf b = { .max = c->message.n + PLUGIN_CALL_MEMORY };
	const struct mime_fields *f;
	struct mime_value type;
	struct str body;

	if (parse(c) || i >= c->mime.n)
		return -ENOENT;
	f = &c->mime.fields[i];
	body = str_from(c->message.p + c->mime.parts[i].body,
	    c->mime.parts[i].end - c->mime.parts[i].body);
	if (how == PH_BODY_RAW) {
		*ret = out(body);
		return 0;
	}
	mime_value_parse(f->type, c->arena, &type);
	if (how == PH_BODY_TEXT)
		body_text(body, str_trim(f->encoding), mime_value_get(&type, STR("charset")), &b);
	else
		body_decode(body, str_trim(f->encoding), &b);
	return give_body(c, &b, ret);
}

/* ---- edits ---- */

static int
edit(struct ph_call *c, uint32_t cap, struct filter_edit e)
{
	struct filter_answer *r = &c->answer;
	struct filter_edit *v = r->edits;

	if (c->ask->hook != FILTER_MESSAGE || !(c->plugin->granted & cap))
		return -EPERM;
	if (r->n_edits == FILTER_EDITS_MAX)
		return -ENOSPC;
	if (!(r->n_edits & (r->n_edits - 1))) { /* full: it has room for the next power of two */
		v = ARENA_ARRAY(c->arena, struct filter_edit, r->n_edits ? r->n_edits * 2 : 1);
		if (!v)
			return -ENOMEM;
		if (r->n_edits)
			memcpy(v, r->edits, r->n_edits * sizeof *v);
		r->edits = v;
	}
	if (e.name.n)
		e.name = arena_dup(c->arena, e.name);
	if (e.value.n && e.op != FILTER_BODY_SET)
		e.value = arena_dup(c->arena, e.value);
	if ((e.name.n && !e.name.p) || (e.value.n && !e.value.p))
		return -ENOMEM;
	v[r->n_edits++] = e;
	return 0;
}

/* RFC 5322 section 2.2. */
static bool
is_field_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == ':')
			return false;
	return s.n && s.n <= 998;
}

/* One line, or lines each of which but the first begins with a blank. */
static bool
is_field_value(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!s.p[i])
			return false;
		if (s.p[i] == '\n' && (!i || s.p[i - 1] != '\r'))
			return false;
		if (s.p[i] != '\r')
			continue;
		if (i + 2 >= s.n || s.p[i + 1] != '\n' || (s.p[i + 2] != ' ' && s.p[i + 2] != '\t'))
			return false;
	}
	return s.n <= VALUE_MAX;
}

static int
api_header_add(struct ph_call *c, uint32_t at, struct ph_str name, struct ph_str value)
{
	if (!is_field_name(in(name)) || !is_field_value(in(value)))
		return -EINVAL;
	return edit(c, PH_CAP_HEADERS, (struct filter_edit){ FILTER_HEADER_ADD, at, in(name), in(value) });
}

static int
api_header_set(struct ph_call *c, uint32_t i, struct ph_str value)
{
	split(c);
	if (i >= c->n_headers)
		return -ENOENT;
	if (!is_field_value(in(value)))
		return -EINVAL;
	return edit(c, PH_CAP_HEADERS, (struct filter_edit){ FILTER_HEADER_SET, i, STR_NULL, in(value) });
}

static int
api_header_remove(struct ph_call *c, uint32_t i)
{
	split(c);
	if (i >= c->n_headers)
		return -ENOENT;
	return edit(c, PH_CAP_HEADERS, (struct filter_edit){ FILTER_HEADER_REMOVE, i, STR_NULL, STR_NULL });
}

/* An edit with an address; empty only where that means the null sender. */
static int
edit_address(struct ph_call *c, uint32_t cap, enum filter_op op, struct ph_str address)
{
	struct path p = { .text = STR("") };

	if ((address.n || op != FILTER_SENDER_SET) &&
	    path_parse_address(in(address), PATH_UTF8, c->arena, &p))
		return -EINVAL;
	return edit(c, cap, (struct filter_edit){ op, 0, STR_NULL, p.text });
}

static int
api_rcpt_add(struct ph_call *c, struct ph_str address)
{
	return edit_address(c, PH_CAP_RCPTS, FILTER_RCPT_ADD, address);
}

static int
api_rcpt_remove(struct ph_call *c, uint32_t i)
{
	if (i >= c->ask->n_rcpts)
		return -ENOENT;
	return edit(c, PH_CAP_RCPTS, (struct filter_edit){ FILTER_RCPT_REMOVE, i, STR_NULL, STR_NULL });
}

static int
api_sender_set(struct ph_call *c, struct ph_str address)
{
	return edit_address(c, PH_CAP_SENDER, FILTER_SENDER_SET, address);
}

/* Lines end in CRLF, the last one too. */
static bool
is_text(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] == '\n' && (!i || s.p[i - 1] != '\r')) ||
		    (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n')))
			return false;
	return !s.n || s.p[s.n - 1] == '\n';
}

static int
api_body_set(struct ph_call *c, struct ph_str body)
{
	struct str copy = arena_dup(c->arena, in(body));

	if (!is_text(in(body)))
		return -EINVAL;
	if (!copy.p)
		return -ENOMEM;
	return edit(c, PH_CAP_BODY, (struct filter_edit){ FILTER_BODY_SET, 0, STR_NULL, copy });
}

/* ---- notes and data ---- */

static int
api_note_set(struct ph_call *c, const char *key, struct ph_str value)
{
	struct filter_answer *r = &c->answer;
	struct filter_note n = { arena_printf(c->arena, "%s", key),
		arena_dup(c->arena, in(value)) };

	if (value.n > FILTER_NOTE_MAX || n.key.n > 256)
		return -EINVAL;
	if (!n.key.p || !n.value.p)
		return -ENOMEM;
	if (!r->notes)
		r->notes = ARENA_ARRAY(c->arena, struct filter_note, FILTER_NOTES_MAX);
	if (!r->notes)
		return -ENOMEM;
	for (size_t i = 0; i < r->n_notes; i++)
		if (str_eq(r->notes[i].key, n.key)) {
			r->notes[i] = n;
			return 0;
		}
	if (r->n_notes == FILTER_NOTES_MAX)
		return -ENOSPC;
	r->notes[r->n_notes++] = n;
	return 0;
}

/* Those of this call first, then the latest: a transaction's stand behind its connection's. */
static struct ph_str
api_note(struct ph_call *c, const char *key)
{
	for (size_t i = c->answer.n_notes; i-- > 0;)
		if (str_eq(c->answer.notes[i].key, str_c(key)))
			return out(c->answer.notes[i].value);
	for (size_t i = c->ask->n_notes; i-- > 0;)
		if (str_eq(c->ask->notes[i].key, str_c(key)))
			return keep(c, c->ask->notes[i].value);
	return (struct ph_str){ NULL, 0 };
}

static struct plugin_data *
data_of(struct ph_call *c, uint32_t of)
{
	return of == PH_OF_SESSION ? c->session : of == PH_OF_TRANSACTION ? c->txn : NULL;
}

static void *
api_data(struct ph_call *c, uint32_t of)
{
	struct plugin_data *d = data_of(c, of);

	return d ? d->p : NULL;
}

void
plugin_data_free(struct plugin_data *d)
{
	if (d->p && d->done)
		d->done(d->p);
	*d = (struct plugin_data){ 0 };
}

static int
api_data_set(struct ph_call *c, uint32_t of, void *p, void (*done)(void *))
{
	struct plugin_data *d = data_of(c, of);

	if (!d)
		return -EPERM;
	plugin_data_free(d);
	*d = (struct plugin_data){ p, done };
	return 0;
}

/* ---- waiting ---- */

static bool
locks(const struct plugin *p)
{
	return !(p->d.flags & PH_THREADSAFE);
}

static bool
lets_others_in(const struct plugin *p)
{
	return locks(p) && !(p->d.flags & PH_NO_INTERLEAVE);
}

static void
wait_begin(struct plugin *p)
{
	if (lets_others_in(p))
		pthread_mutex_unlock(&p->lock);
}

static void
wait_end(struct plugin *p)
{
	if (lets_others_in(p))
		pthread_mutex_lock(&p->lock);
}

/* A character-string after the other, joined (RFC 7208 section 3.3 and its like). */
static struct ph_str
joined_strings(struct ph_call *c, struct str rdata)
{
	struct buf b = { .max = 65536 };
	struct ph_str r;

	for (size_t i = 0; i < rdata.n;) {
		size_t n = (unsigned char)rdata.p[i++];

		if (n > rdata.n - i)
			n = rdata.n - i;
		buf_put(&b, rdata.p + i, n);
		i += n;
	}
	r = keep(c, buf_view(&b));
	buf_done(&b);
	return r;
}

static int
api_dns(struct ph_call *c, struct ph_str name, uint32_t type, struct ph_dns *ret, size_t size)
{
	struct dns_answer v = { .status = DNS_FAILED };
	struct ph_dns d = { .status = PH_DNS_FAILED };
	struct ph_str *rdata;
	int r;

	if (!(c->plugin->granted & PH_CAP_DNS))
		return -EPERM;
	if (!type || type > UINT16_MAX)
		return -EINVAL;
	wait_begin(c->plugin);
	r = c->plugin->dns(in(name), (uint16_t)type, time_left(c) / 2, c->arena, &v);
	wait_end(c->plugin);
	if (r == -EINVAL)
		return r;
	rdata = ARENA_ARRAY(c->arena, struct ph_str, v.n + 1);
	if (!rdata)
		return -ENOMEM;
	if (r == 0) {
		d = (struct ph_dns){ v.status, v.ttl, v.secure, (uint32_t)v.n, rdata };
		for (size_t i = 0; i < v.n; i++)
			rdata[i] = type == DNS_TXT ? joined_strings(c, v.rdata[i]) : out(v.rdata[i]);
	}
	give(ret, size, &d, sizeof d);
	return 0;
}

static void
api_sleep(struct ph_call *c, uint64_t ms)
{
	struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	wait_begin(c->plugin);
	nanosleep(&t, NULL);
	wait_end(c->plugin);
}

/* ---- while it starts ---- */

static const struct plugin_value *
value_of(struct ph_conf *conf, const char *name)
{
	static const struct plugin_value none;
	const struct plugin *p = conf->plugin;

	for (size_t i = 0; i < p->n_options; i++)
		if (!strcmp(p->options[i].name, name))
			return &p->values[i];
	return &none;
}

static int64_t
api_option_number(struct ph_conf *conf, const char *name)
{
	return value_of(conf, name)->number;
}

static struct ph_str
api_option_text(struct ph_conf *conf, const char *name, uint32_t i)
{
	const struct plugin_value *v = value_of(conf, name);

	return i < v->n_texts ? out(v->texts[i]) : (struct ph_str){ NULL, 0 };
}

static void
api_conf_error(struct ph_conf *conf, const char *name, const char *text)
{
	const struct conf_plugin *c = conf->plugin->conf;
	const struct conf_option *at = NULL;

	for (size_t i = 0; name && i < c->n_options; i++)
		if (str_eq(c->options[i].name, str_c(name)))
			at = &c->options[i];
	plugin_mistake(conf, at, text);
}

static struct ph_str
api_conf_text(struct ph_conf *conf, uint32_t what)
{
	const struct plugin *p = conf->plugin;

	return what == PH_HOSTNAME ? out(p->hostname) : what == PH_NAME ? out(p->conf->name) :
	    what == PH_DATA_DIR ? out(p->data_dir) : (struct ph_str){ NULL, 0 };
}

const struct ph_api plugin_api = {
	.size = sizeof plugin_api, .abi = PH_ABI,
	.self = api_self, .text = api_text, .number = api_number, .alloc = api_alloc,
	.log = api_log, .count = api_count, .granted = api_granted, .reply = api_reply,
	.rcpt = api_rcpt, .message = api_message, .header = api_header, .decode = api_decode,
	.part = api_part, .part_body = api_part_body,
	.header_add = api_header_add, .header_set = api_header_set,
	.header_remove = api_header_remove, .rcpt_add = api_rcpt_add,
	.rcpt_remove = api_rcpt_remove, .sender_set = api_sender_set, .body_set = api_body_set,
	.note_set = api_note_set, .note = api_note, .data = api_data, .data_set = api_data_set,
	.dns = api_dns, .sleep = api_sleep,
	.option_number = api_option_number, .option_text = api_option_text,
	.conf_error = api_conf_error, .conf_text = api_conf_text,
};

/* ---- hooks ---- */

static enum ph_action (*
answering(const struct plugin *p, enum filter_hook h))(struct ph_call *)
{
	switch (h) {
	case FILTER_CONNECT: return p->d.connect;
	case FILTER_HELO: return p->d.helo;
	case FILTER_AUTH: return p->d.auth;
	case FILTER_MAIL: return p->d.mail;
	case FILTER_RCPT: return p->d.rcpt;
	case FILTER_DATA: return p->d.data;
	case FILTER_MESSAGE: return p->d.message;
	default: return NULL;
	}
}

static void (*
reporting(const struct plugin *p, enum filter_hook h))(struct ph_call *)
{
	return h == FILTER_END ? p->d.end : h == FILTER_CLOSE ? p->d.close : NULL;
}

bool
plugin_has_hook(const struct plugin *p, enum filter_hook h)
{
	return answering(p, h) || reporting(p, h);
}

uint32_t
plugin_hooks(const struct plugin *p)
{
	uint32_t bits = 0;

	for (enum filter_hook h = FILTER_CONNECT; h < FILTER_HOOKS; h++)
		if (plugin_has_hook(p, h))
			bits |= 1u << h;
	return bits;
}

void
plugin_data_drop(struct plugin *p, struct plugin_data *d)
{
	if (!d->p)
		return;
	if (locks(p))
		pthread_mutex_lock(&p->lock);
	plugin_data_free(d);
	if (locks(p))
		pthread_mutex_unlock(&p->lock);
}

/* An answer that this host does not know is no answer: the plugin is newer. */
static enum filter_action
action_of(enum ph_action a)
{
	return (unsigned)a < FILTER_ACTIONS ? (enum filter_action)a : FILTER_CONTINUE;
}

void
plugin_call(struct ph_call *c)
{
	enum ph_action (*ask)(struct ph_call *) = answering(c->plugin, c->ask->hook);
	void (*tell)(struct ph_call *) = reporting(c->plugin, c->ask->hook);

	if (locks(c->plugin))
		pthread_mutex_lock(&c->plugin->lock);
	if (ask)
		c->answer.action = action_of(ask(c));
	else if (tell)
		tell(c);
	if (locks(c->plugin))
		pthread_mutex_unlock(&c->plugin->lock);
}
