/* One message as FETCH shows it (RFC 3501 section 7.4.2). */
#include "imapd/fetch.h"

#include <errno.h>

#include "lib/mail/date.h"

unsigned
fetch_want(const struct fetch_args *a)
{
	unsigned want = 0;

	if (a->items & (FETCH_INTERNALDATE | FETCH_SIZE))
		want |= FACT_DATES;
	if (a->items & FETCH_ENVELOPE)
		want |= FACT_ENVELOPE;
	if (a->items & (FETCH_BODY | FETCH_BODYSTRUCTURE) || fetch_needs_parts(a))
		want |= FACT_STRUCTURE;
	return want;
}

/* What has to be read before the first byte of the answer: then it is known whether the
 * message is there. */
static int
prepare(struct fetch *f, const struct row *row, struct content *m, struct wire_error *we)
{
	const struct store_fact *fact = row->fact;
	bool no_envelope = f->want & FACT_ENVELOPE && !fact->envelope.n;
	bool no_structure = f->want & FACT_STRUCTURE && !fact->structure.n;
	int r;

	*m = (struct content){ .fd = -1 };
	if (!f->args->n_sections && !no_envelope && !no_structure)
		return 0;
	if ((r = content_open(f->c, row->uid, m, we)) < 0)
		return r;
	if (no_envelope || no_structure)
		r = content_parse(m, f->ar);
	if (r == 0 && f->args->n_sections && fetch_needs_parts(f->args))
		r = content_parts(m, no_structure ? STR_NULL : fact->structure, f->ar);
	if (r < 0)
		content_close(m);
	return r;
}

static void
put_date(struct buf *o, const struct store_fact *fact)
{
	buf_puts(o, "INTERNALDATE \"");
	date_put_imap(o, fact->internal_date, fact->internal_zone);
	buf_putc(o, '"');
}

/* The items that are no sections; each but the first behind a blank. */
static void
put_items(struct fetch *f, unsigned items, const struct row *row, size_t pos,
    const struct content *m)
{
	const struct store_fact *fact = row->fact;
	struct buf *o = &f->c->out;
	size_t start = o->n;
	unsigned bit;

	for (bit = 1; bit <= FETCH_MODSEQ; bit <<= 1) {
		if (!(items & bit))
			continue;
		if (o->n != start)
			buf_putc(o, ' ');
		switch (bit) {
		case FETCH_FLAGS:
			view_put_flags(f->c, pos);
			break;
		case FETCH_UID:
			buf_put(o, "UID ", 4);
			buf_u64(o, row->uid);
			break;
		case FETCH_INTERNALDATE:
			put_date(o, fact);
			break;
		case FETCH_SIZE:
			buf_puts(o, "RFC822.SIZE ");
			buf_u64(o, fact->size);
			break;
		case FETCH_ENVELOPE:
			buf_puts(o, "ENVELOPE ");
			facts_envelope_imap(fact->envelope.n ? fact->envelope : m->envelope, o);
			break;
		case FETCH_BODY:
		case FETCH_BODYSTRUCTURE:
			buf_puts(o, bit == FETCH_BODY ? "BODY " : "BODYSTRUCTURE ");
			facts_structure_imap(fact->structure.n ? fact->structure : m->structure, o,
			    bit == FETCH_BODYSTRUCTURE);
			break;
		case FETCH_MODSEQ:
			buf_puts(o, "MODSEQ (");
			buf_u64(o, f->c->view->box->mod[pos]);
			buf_putc(o, ')');
			break;
		}
	}
}

int
fetch_message(struct fetch *f, const struct row *row, unsigned more, struct wire_error *we)
{
	unsigned items = f->args->items | more;
	struct buf *o = &f->c->out;
	struct content m;
	ptrdiff_t pos;
	size_t i;
	int r;

	if (f->want && !row->fact)
		return -ENOENT;
	if ((r = prepare(f, row, &m, we)) < 0)
		return r;
	if ((pos = view_pos(f->c->view, row->seq, row->uid, NULL)) < 0) {
		content_close(&m);
		return -ENOENT;
	}
	buf_put(o, "* ", 2);
	buf_u64(o, row->seq);
	buf_put(o, " FETCH (", 8);
	put_items(f, items, row, (size_t)pos, &m);
	for (i = 0; i < f->args->n_sections && r == 0; i++) {
		if (items || i)
			buf_putc(o, ' ');
		r = fetch_section_put(f, &m, &f->args->sections[i]);
	}
	buf_put(o, ")\r\n", 3);
	content_close(&m);
	return r;
}
