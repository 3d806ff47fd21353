/* Six strings, each after its u32 length: the blocks, id, subject, references. */
#include "tests/maildir/fake_facts.h"

#include <errno.h>

static void
put(struct buf *out, const char *s)
{
	buf_le32(out, (uint32_t)strlen(s));
	buf_puts(out, s);
}

void
fake_facts(struct buf *out, const char *id, const char *subject, const char *refs)
{
	put(out, "\001envelope");
	put(out, "\001structure");
	put(out, "\001preview");
	put(out, id);
	put(out, subject);
	put(out, refs);
}

void
facts_opaque(uint64_t size, struct buf *out)
{
	fake_facts(out, "", "", "");
}

static bool
take(struct str *s, struct str *ret)
{
	uint32_t n;

	if (s->n < 4 || (n = le32_get(s->p)) > s->n - 4)
		return false;
	*ret = str_from(s->p + 4, n);
	*s = str_skip(*s, 4 + n);
	return true;
}

int
facts_get(struct str b, struct facts *ret)
{
	*ret = (struct facts){ 0 };
	return take(&b, &ret->envelope) && take(&b, &ret->structure) && take(&b, &ret->preview) &&
	        take(&b, &ret->message_id) && take(&b, &ret->base_subject) &&
	        take(&b, &ret->references) && !b.n ?
	    0 : -EPROTO;
}

bool
facts_ref_next(struct str *refs, struct str *ret_id)
{
	if (!refs->n)
		return false;
	*ret_id = str_cut(refs, '\n');
	return true;
}
