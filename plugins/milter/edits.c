/* What a milter changes in a message; see edits.h. */
#include "plugins/milter/edits.h"

#include <errno.h>

#include "lib/mail/header.h"

#define EDITS_MAX 2000
#define BODY_MAX (64u << 20)
#define MEMORY_MAX (48u << 20)

static struct ph_str
out(struct str s)
{
	return (struct ph_str){ s.p, s.n };
}

/* ---- the message as it came ---- */

static struct milter_field *
field_new(struct milter_message *m)
{
	struct milter_field *v;

	if (m->n_fields == m->room) {
		size_t room = m->room ? m->room * 2 : 64;

		v = ARENA_ARRAY(m->arena, struct milter_field, room);
		if (!v)
			return NULL;
		if (m->n_fields)
			memcpy(v, m->fields, m->n_fields * sizeof *v);
		m->fields = v;
		m->room = room;
	}
	v = &m->fields[m->n_fields++];
	*v = (struct milter_field){ .number = -1 };
	return v;
}

/* The value as it stands, the blank behind the colon included, without the last line end. */
static struct str
raw_of(const struct header_field *f)
{
	ptrdiff_t colon = str_chr(f->whole, ':');
	struct str raw = colon < 0 ? STR_NULL : str_skip(f->whole, (size_t)colon + 1);

	while (raw.n && (raw.p[raw.n - 1] == '\n' || raw.p[raw.n - 1] == '\r'))
		raw.n--;
	return raw;
}

/* The topmost Received field, if it is ours. */
static void
hide_trace(struct milter_message *m, struct str hostname)
{
	for (size_t i = 0; i < m->n_fields; i++) {
		struct milter_field *f = &m->fields[i];
		ptrdiff_t by;

		if (!str_ieq(f->name, STR("Received")))
			continue;
		by = str_find(f->raw, STR("by "));
		f->hidden = by >= 0 && str_istarts(str_skip(f->raw, (size_t)by + 3), hostname);
		return;
	}
}

int
milter_message_init(struct milter_message *m, struct str message, struct str hostname)
{
	struct header_field f;
	int32_t number = 0;

	*m = (struct milter_message){ .new_body = { .max = BODY_MAX } };
	m->rcpts_end = &m->rcpts;
	m->arena = arena_new(MEMORY_MAX);
	if (!m->arena)
		return -ENOMEM;
	for (; header_next(&message, &f); number++) {
		struct milter_field *v = field_new(m);

		if (!v)
			return -ENOMEM;
		v->name = f.name;
		v->raw = raw_of(&f);
		v->number = number;
		v->hidden = !f.name.n; /* no field: nothing that could be shown */
	}
	m->body = str_skip(message, header_blank(message));
	hide_trace(m, hostname);
	return 0;
}

void
milter_message_done(struct milter_message *m)
{
	buf_done(&m->new_body);
	arena_free(&m->arena);
}

struct str
milter_field_value(struct milter_message *m, const struct milter_field *f, bool lead_space)
{
	struct str s = f->raw;
	char *p;
	size_t n = 0;

	if (!lead_space && s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = str_skip(s, 1);
	p = arena_alloc(m->arena, s.n + 1);
	for (size_t i = 0; p && i < s.n; i++)
		if (s.p[i] != '\r' || i + 1 == s.n || s.p[i + 1] != '\n')
			p[n++] = s.p[i];
	return str_from(p, p ? n : 0);
}

/* ---- edits ---- */

/* As it can stand in a header: lines ended by CRLF, each but the first begun by a blank; what cannot
 * stand there becomes '?'. */
static struct str
clean_value(struct arena *a, struct str s)
{
	struct buf b = { .max = 4 * s.n + 16 };
	struct str r;

	s = str_trim(s);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n')
			continue;
		if (s.p[i] == '\n') {
			buf_puts(&b, "\r\n");
			if (i + 1 < s.n && s.p[i + 1] != ' ' && s.p[i + 1] != '\t')
				buf_putc(&b, '\t');
		} else {
			buf_putc(&b, s.p[i] == '\r' || !s.p[i] ? '?' : s.p[i]);
		}
	}
	r = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return r;
}

static int
add_header(struct milter_message *m, struct str name, struct str value)
{
	struct milter_field *f = field_new(m);

	if (!f)
		return -ENOMEM;
	f->name = arena_dup(m->arena, name);
	f->value = clean_value(m->arena, value);
	return f->name.p && f->value.p ? 0 : -ENOMEM;
}

/* Place 0 is the top; removed fields have none. */
static int
insert_header(struct milter_message *m, const struct milter_reply *r)
{
	size_t at = 0, place = 0;
	struct milter_field f;
	int code = add_header(m, r->name, r->value);

	if (code)
		return code;
	f = m->fields[m->n_fields - 1];
	for (; at + 1 < m->n_fields && place < r->index; at++)
		if (!m->fields[at].removed)
			place++;
	memmove(&m->fields[at + 1], &m->fields[at], (m->n_fields - 1 - at) * sizeof f);
	m->fields[at] = f;
	return 0;
}

/* The n-th field of that name, from 1; an empty value takes it out. One that is not there is added. */
static int
change_header(struct milter_message *m, const struct milter_reply *r)
{
	uint32_t left = r->index ? r->index : 1;

	for (size_t i = 0; i < m->n_fields; i++) {
		struct milter_field *f = &m->fields[i];

		if (f->hidden || !str_ieq(f->name, r->name) || --left)
			continue;
		f->removed = !r->value.n;
		f->changed = true;
		f->value = clean_value(m->arena, r->value);
		return f->value.p || !r->value.n ? 0 : -ENOMEM;
	}
	return r->value.n ? add_header(m, r->name, r->value) : 0;
}

static int
edit_rcpt(struct milter_message *m, const struct milter_reply *r)
{
	struct milter_rcpt_edit *e = ARENA_NEW(m->arena, struct milter_rcpt_edit);

	if (!e)
		return -ENOMEM;
	e->address = arena_dup(m->arena, r->value);
	e->add = r->what == MR_ADD_RCPT;
	*m->rcpts_end = e;
	m->rcpts_end = &e->next;
	return e->address.p ? 0 : -ENOMEM;
}

static int
set_sender(struct milter_message *m, const struct milter_reply *r)
{
	m->sender = arena_dup(m->arena, r->value);
	m->has_sender = true;
	return m->sender.p ? 0 : -ENOMEM;
}

static int
more_body(struct milter_message *m, const struct milter_reply *r)
{
	m->has_body = true;
	buf_str(&m->new_body, r->value);
	return m->new_body.over ? -ENOSPC : 0;
}

int
milter_message_edit(struct milter_message *m, const struct milter_reply *r)
{
	if (r->what != MR_BODY && ++m->n_edits > EDITS_MAX)
		return -ENOSPC;
	switch (r->what) {
	case MR_ADD_HEADER: return add_header(m, r->name, r->value);
	case MR_INSERT_HEADER: return insert_header(m, r);
	case MR_CHANGE_HEADER: return change_header(m, r);
	case MR_ADD_RCPT:
	case MR_DEL_RCPT: return edit_rcpt(m, r);
	case MR_SENDER: return set_sender(m, r);
	case MR_BODY: return more_body(m, r);
	case MR_QUARANTINE:
		m->quarantine = arena_cstr(m->arena, r->value);
		return m->quarantine ? 0 : -ENOMEM;
	default: return -EPROTO;
	}
}

/* ---- telling the host ---- */

/* Before which of the host's fields a new one stands. */
static uint32_t
place_of(const struct milter_message *m, size_t i)
{
	for (; i < m->n_fields; i++)
		if (m->fields[i].number >= 0)
			return (uint32_t)m->fields[i].number;
	return PH_BOTTOM;
}

static int
apply_field(struct milter_message *m, size_t i, struct ph_call *c)
{
	struct milter_field *f = &m->fields[i];

	if (f->number < 0)
		return f->removed ? 0 : ph_header_add(c, place_of(m, i), out(f->name), out(f->value));
	if (f->removed)
		return ph_header_remove(c, (uint32_t)f->number);
	return f->changed ? ph_header_set(c, (uint32_t)f->number, out(f->value)) : 0;
}

/* All recipients that are, or were called, so. */
static int
remove_rcpt(struct ph_call *c, struct str address)
{
	struct ph_rcpt r;
	int code = 0;

	for (uint32_t i = 0; !code && !ph_rcpt(c, i, &r); i++)
		if (ph_ieq(r.said, out(address)) || ph_ieq(r.address, out(address)))
			code = ph_rcpt_remove(c, i);
	return code;
}

/* Bare line ends become CRLF, and the last line gets one. */
static int
apply_body(struct milter_message *m, struct ph_call *c)
{
	struct buf b = { .max = BODY_MAX };
	struct str s = buf_view(&m->new_body);
	int r;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n')
			i++;
		if (s.p[i] == '\n' || s.p[i] == '\r')
			buf_puts(&b, "\r\n");
		else
			buf_putc(&b, s.p[i]);
	}
	if (b.n && b.p[b.n - 1] != '\n')
		buf_puts(&b, "\r\n");
	r = b.over ? -ENOSPC : ph_body_set(c, out(buf_view(&b)));
	buf_done(&b);
	return r;
}

int
milter_message_apply(struct milter_message *m, struct ph_call *c)
{
	int r = 0;

	for (size_t i = 0; !r && i < m->n_fields; i++)
		r = apply_field(m, i, c);
	for (struct milter_rcpt_edit *e = m->rcpts; !r && e; e = e->next)
		r = e->add ? ph_rcpt_add(c, out(e->address)) : remove_rcpt(c, e->address);
	if (!r && m->has_sender)
		r = ph_sender_set(c, out(m->sender));
	if (!r && m->has_body)
		r = apply_body(m, c);
	return r;
}
