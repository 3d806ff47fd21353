/*
 * The envelope block: made from a header, checked, taken apart. Its text is the
 * ENVELOPE of RFC 3501 section 7.4.2; facts_get admits nothing else, so it goes to
 * clients as it is.
 */
#include <errno.h>

#include "lib/base/text.h"
#include "lib/mail/address.h"
#include "lib/mail/facts_private.h"
#include "lib/mail/header.h"

static const char empty_envelope[] = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";

void
facts_nstring(struct buf *out, struct str s)
{
	bool plain = true, literal = false;

	if (!s.p) {
		buf_put(out, "NIL", 3);
		return;
	}
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 0x80 || c == '\r' || c == '\n' || c == '\0')
			literal = true;
		else if (c == '"' || c == '\\')
			plain = false;
	}
	if (literal)
		buf_printf(out, "{%zu}\r\n", s.n);
	else
		buf_putc(out, '"');
	if (literal || plain) {
		size_t start = out->n;

		buf_str(out, s);
		for (size_t i = start; literal && i < out->n; i++)
			if (out->p[i] == '\0')
				out->p[i] = ' ';
	} else {
		for (size_t i = 0; i < s.n; i++) {
			if (s.p[i] == '"' || s.p[i] == '\\')
				buf_putc(out, '\\');
			buf_putc(out, s.p[i]);
		}
	}
	if (!literal)
		buf_putc(out, '"');
}

enum { E_DATE, E_SUBJECT, E_FROM, E_SENDER, E_REPLY, E_TO, E_CC, E_BCC, E_IN_REPLY, E_ID, E_N };

static const struct str names[E_N] = {
	STR_INIT("Date"), STR_INIT("Subject"), STR_INIT("From"), STR_INIT("Sender"),
	STR_INIT("Reply-To"), STR_INIT("To"), STR_INIT("Cc"), STR_INIT("Bcc"),
	STR_INIT("In-Reply-To"), STR_INIT("Message-ID"),
};

static void
put_address(const struct address *ad, struct buf *out)
{
	struct str nil = STR_NULL;

	buf_putc(out, '(');
	facts_nstring(out, ad->kind == ADDRESS_MAILBOX ? ad->name : nil);
	buf_putc(out, ' ');
	facts_nstring(out, ad->route);
	buf_putc(out, ' ');
	if (ad->kind == ADDRESS_GROUP)
		facts_nstring(out, ad->name.p ? ad->name : STR(""));
	else if (ad->kind == ADDRESS_MAILBOX)
		facts_nstring(out, ad->local.p ? ad->local : STR(""));
	else
		facts_nstring(out, nil);
	buf_putc(out, ' ');
	/* NIL would make a group of it */
	if (ad->kind == ADDRESS_MAILBOX)
		facts_nstring(out, ad->domain.p ? ad->domain : STR(""));
	else
		facts_nstring(out, nil);
	buf_putc(out, ')');
}

/* As many addresses as fit room bytes. False: the field has none. */
static bool
put_addresses(struct str raw, struct arena *a, size_t room, struct buf *out, uint32_t *problems)
{
	struct addresses list;
	size_t start = out->n;

	if (!raw.p)
		return false;
	address_parse(raw, a, &list);
	if (list.bad)
		*problems |= FACTS_P_BAD_ADDRESS;
	if (list.cut)
		*problems |= FACTS_P_CUT;
	if (list.n == 0)
		return false;
	buf_putc(out, '(');
	for (size_t i = 0; i < list.n; i++) {
		size_t before = out->n;

		put_address(&list.v[i], out);
		if (out->n - start > room) {
			buf_truncate(out, before);
			*problems |= FACTS_P_CUT;
			break;
		}
	}
	if (out->n == start + 1) {
		buf_truncate(out, start);
		return false;
	}
	buf_putc(out, ')');
	return true;
}

/* The first occurrence of each field; of To, Cc and Bcc all. */
static void
collect(struct str header, struct arena *a, struct str v[E_N], uint32_t *problems)
{
	struct header_field f;

	while (header_next(&header, &f))
		for (int i = 0; i < E_N && f.name.n; i++) {
			if (!str_ieq(f.name, names[i]))
				continue;
			if (!v[i].p) {
				v[i] = f.raw.p ? f.raw : STR("");
			} else {
				*problems |= FACTS_P_DUPLICATE;
				if (i >= E_TO && i <= E_BCC && v[i].n + f.raw.n < FACTS_MAX_ENVELOPE)
					v[i] = arena_printf(a, "%.*s,%.*s", STR_ARG(v[i]), STR_ARG(f.raw));
			}
		}
}

static void
put_text(struct str raw, struct arena *a, size_t room, struct buf *out, uint32_t *problems)
{
	struct str s = raw.p ? header_unfold(raw, a) : raw;

	if (s.n > room) {
		s = str_head(s, room);
		*problems |= FACTS_P_CUT;
	}
	if (!ascii_only(s) && !utf8_valid(s))
		*problems |= FACTS_P_RAW_8BIT;
	facts_nstring(out, s);
}

void
facts_envelope_make(struct str header, struct arena *a, struct buf *out, uint32_t *problems)
{
	const size_t text_room = 4000, list_room = 7000;
	struct str v[E_N] = { { 0 } };
	size_t from, from_n;

	collect(header, a, v, problems);
	buf_putc(out, '(');
	put_text(v[E_DATE], a, text_room, out, problems);
	buf_putc(out, ' ');
	put_text(v[E_SUBJECT], a, text_room, out, problems);
	buf_putc(out, ' ');
	from = out->n;
	if (!put_addresses(v[E_FROM], a, list_room, out, problems))
		buf_puts(out, "NIL");
	from_n = out->n - from;
	for (int i = E_SENDER; i <= E_BCC; i++) {
		buf_putc(out, ' ');
		if (put_addresses(v[i], a, list_room, out, problems))
			continue;
		if (i > E_REPLY)
			buf_puts(out, "NIL");
		else if (buf_room(out, from_n)) /* Sender and Reply-To default to From */
			buf_put(out, out->p + from, from_n);
	}
	for (int i = E_IN_REPLY; i <= E_ID; i++) {
		buf_putc(out, ' ');
		put_text(v[i], a, text_room, out, problems);
	}
	buf_putc(out, ')');
}

/* ---- reading ---- */

struct reader {
	struct str s;
	struct arena *a; /* NULL: only check */
	bool bad;
};

static bool
take(struct reader *r, char c)
{
	if (r->bad || !r->s.n || r->s.p[0] != c) {
		r->bad = true;
		return false;
	}
	r->s = str_skip(r->s, 1);
	return true;
}

static struct str
read_literal(struct reader *r)
{
	ptrdiff_t end = str_chr(str_head(r->s, 12), '}');
	uint32_t n;
	struct str v;

	if (end < 0 || !str_u32(str_from(r->s.p + 1, (size_t)end - 1), FACTS_MAX_ENVELOPE, &n) ||
	    !str_starts(str_skip(r->s, (size_t)end + 1), STR("\r\n"))) {
		r->bad = true;
		return STR_NULL;
	}
	r->s = str_skip(r->s, (size_t)end + 3);
	v = str_head(r->s, n);
	if (v.n != n || (n && memchr(v.p, 0, n)))
		r->bad = true;
	r->s = str_skip(r->s, n);
	return v;
}

static struct str
read_quoted(struct reader *r)
{
	size_t i = 1, n = 0;
	bool escaped = false;
	struct str v;
	char *q;

	for (; i < r->s.n && r->s.p[i] != '"'; i++) {
		unsigned char c = (unsigned char)r->s.p[i];

		if (c == '\\' && ++i < r->s.n && (r->s.p[i] == '"' || r->s.p[i] == '\\'))
			escaped = true;
		else if (c == '\\' || c >= 0x80 || c == '\r' || c == '\n' || c == '\0')
			r->bad = true;
	}
	if (i >= r->s.n || r->bad) {
		r->bad = true;
		return STR_NULL;
	}
	v = str_from(r->s.p + 1, i - 1);
	r->s = str_skip(r->s, i + 1);
	if (!escaped || !r->a || !(q = arena_alloc(r->a, v.n)))
		return v;
	for (i = 0; i < v.n; i++)
		q[n++] = v.p[v.p[i] == '\\' ? ++i : i];
	return str_from(q, n);
}

static struct str
read_nstring(struct reader *r)
{
	if (r->bad || !r->s.n)
		r->bad = true;
	else if (r->s.p[0] == '"')
		return read_quoted(r);
	else if (r->s.p[0] == '{')
		return read_literal(r);
	else if (str_starts(r->s, STR("NIL")))
		r->s = str_skip(r->s, 3);
	else
		r->bad = true;
	return STR_NULL;
}

static void
read_addresses(struct reader *r, struct facts_addrs *ret)
{
	size_t cap = 0;

	*ret = (struct facts_addrs){ 0 };
	if (str_starts(r->s, STR("NIL"))) {
		r->s = str_skip(r->s, 3);
		return;
	}
	take(r, '(');
	do {
		struct facts_addr ad;

		take(r, '(');
		ad.name = read_nstring(r), take(r, ' ');
		ad.adl = read_nstring(r), take(r, ' ');
		ad.mailbox = read_nstring(r), take(r, ' ');
		ad.host = read_nstring(r), take(r, ')');
		if (r->a && ret->n == cap) {
			struct facts_addr *v = ARENA_ARRAY(r->a, struct facts_addr, cap = cap * 2 + 2);

			if (!v) {
				r->bad = true;
				return;
			}
			if (ret->n)
				memcpy(v, ret->v, ret->n * sizeof *v);
			ret->v = v;
		}
		if (r->a)
			ret->v[ret->n++] = ad;
	} while (!r->bad && r->s.n && r->s.p[0] == '(');
	take(r, ')');
}

int
facts_envelope_get(struct str block, struct arena *a, struct facts_envelope *ret)
{
	struct reader r = { str_skip(block, 1), a, block.n == 0 || block.p[0] != FACTS_VERSION };
	struct facts_envelope e = { 0 };
	struct facts_addrs *lists[] = { &e.from, &e.sender, &e.reply_to, &e.to, &e.cc, &e.bcc };

	take(&r, '(');
	e.date = read_nstring(&r), take(&r, ' ');
	e.subject = read_nstring(&r), take(&r, ' ');
	for (size_t i = 0; i < 6; i++) {
		read_addresses(&r, lists[i]);
		take(&r, ' ');
	}
	e.in_reply_to = read_nstring(&r), take(&r, ' ');
	e.message_id = read_nstring(&r), take(&r, ')');
	if (r.bad || r.s.n)
		return -EPROTO;
	*ret = e;
	return 0;
}

void
facts_envelope_imap(struct str block, struct buf *out)
{
	if (block.n > 2 && block.p[0] == FACTS_VERSION)
		buf_str(out, str_skip(block, 1));
	else
		buf_puts(out, empty_envelope);
}
