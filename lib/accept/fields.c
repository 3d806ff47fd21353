/* Addresses in header fields; see fields.h. */
#include "lib/accept/fields.h"

#include <errno.h>

#include "lib/client/rewrite.h"
#include "lib/mail/address.h"
#include "lib/mail/header.h"
#include "lib/mail/path.h"

static const struct field {
	struct str name;
	enum rewrite_kind kind;
} fields[] = {
	{ STR_INIT("From"), REWRITE_HEADER_SENDER },
	{ STR_INIT("Sender"), REWRITE_HEADER_SENDER },
	{ STR_INIT("Reply-To"), REWRITE_HEADER_SENDER },
	{ STR_INIT("Errors-To"), REWRITE_HEADER_SENDER },
	{ STR_INIT("Return-Receipt-To"), REWRITE_HEADER_SENDER },
	{ STR_INIT("Disposition-Notification-To"), REWRITE_HEADER_SENDER },
	{ STR_INIT("Mail-Followup-To"), REWRITE_HEADER_SENDER },
	{ STR_INIT("Resent-From"), REWRITE_HEADER_SENDER },
	{ STR_INIT("Resent-Sender"), REWRITE_HEADER_SENDER },
	{ STR_INIT("Resent-Reply-To"), REWRITE_HEADER_SENDER },
	{ STR_INIT("To"), REWRITE_HEADER_RCPT },
	{ STR_INIT("Cc"), REWRITE_HEADER_RCPT },
	{ STR_INIT("Bcc"), REWRITE_HEADER_RCPT },
	{ STR_INIT("Apparently-To"), REWRITE_HEADER_RCPT },
	{ STR_INIT("Resent-To"), REWRITE_HEADER_RCPT },
	{ STR_INIT("Resent-Cc"), REWRITE_HEADER_RCPT },
	{ STR_INIT("Resent-Bcc"), REWRITE_HEADER_RCPT },
};

/* Addresses found, and where. */
struct found {
	struct rewrite_ask *asks;
	struct place { size_t at, n; } *places;
	size_t n, cap;
};

static const struct field *
field_find(struct str name)
{
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (str_ieq(name, fields[i].name))
			return &fields[i];
	return NULL;
}

static int
make_room(struct found *f, struct arena *a)
{
	size_t cap = f->cap ? 2 * f->cap : 16;
	struct rewrite_ask *asks;
	struct place *places;

	if (f->n < f->cap)
		return 0;
	asks = ARENA_ARRAY(a, struct rewrite_ask, cap);
	places = ARENA_ARRAY(a, struct place, cap);
	if (!asks || !places)
		return -ENOMEM;
	if (f->n) {
		memcpy(asks, f->asks, f->n * sizeof *asks);
		memcpy(places, f->places, f->n * sizeof *places);
	}
	f->asks = asks;
	f->places = places;
	f->cap = cap;
	return 0;
}

/* The address in the house's spelling; p NULL: it is none that could be looked up. One
 * without a domain is of the origin domain. */
static struct str
spelled(const struct settings *s, const struct address *ad, struct arena *a)
{
	struct buf b = { .max = 1024 };
	struct path p;
	struct str text;

	buf_putc(&b, '"');
	for (size_t i = 0; i < ad->local.n; i++) {
		if (ad->local.p[i] == '"' || ad->local.p[i] == '\\')
			buf_putc(&b, '\\');
		buf_putc(&b, ad->local.p[i]);
	}
	buf_puts(&b, "\"@");
	buf_str(&b, ad->domain.p ? ad->domain : s->origin_domain);
	text = buf_view(&b);
	if (b.over || path_parse_address(text, PATH_UTF8, a, &p))
		p.text = STR_NULL;
	buf_done(&b);
	return p.text;
}

static int
take_field(const struct settings *s, struct str header, const struct header_field *f,
    enum rewrite_kind kind, struct arena *a, struct found *found)
{
	struct addresses list;

	address_parse(f->raw, a, &list);
	for (size_t i = 0; i < list.n; i++) {
		const struct address *ad = &list.v[i];
		struct str text = ad->kind == ADDRESS_MAILBOX && ad->spec.p ? spelled(s, ad, a) : STR_NULL;

		if (!text.p)
			continue;
		if (make_room(found, a))
			return -ENOMEM;
		found->asks[found->n] = (struct rewrite_ask){ kind, text };
		found->places[found->n++] = (struct place){ (size_t)(ad->spec.p - header.p), ad->spec.n };
	}
	return 0;
}

int
fields_rewrite(const struct settings *s, struct str header, bool generic, struct arena *a,
    struct edits *ret)
{
	struct found found = { 0 };
	struct edits edits = { 0 };
	struct str rest = header, *becomes;
	struct header_field f;
	int r = 0;

	while (!r && header_next(&rest, &f)) {
		const struct field *known = f.name.n ? field_find(f.name) : NULL;
		enum rewrite_kind kind = generic || !known ? REWRITE_GENERIC : known->kind;

		if (known && rewrite_wanted(s, kind))
			r = take_field(s, header, &f, kind, a, &found);
	}
	becomes = r || !found.n ? NULL : ARENA_ARRAY(a, struct str, found.n);
	if (!r && found.n)
		r = becomes ? auth_rewrite(found.asks, found.n, a, becomes) : -ENOMEM;
	for (size_t i = 0; !r && i < found.n; i++)
		if (becomes[i].p)
			r = edits_add(&edits, a, found.places[i].at, found.places[i].n, becomes[i]);
	if (!r)
		*ret = edits;
	return r;
}
