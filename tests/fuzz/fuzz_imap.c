/* IMAP commands: gathered from bytes, then parsed by each grammar. */
#include "imapd/cmdbuf.h"
#include "imapd/fetch.h"
#include "imapd/pattern.h"
#include "imapd/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_from(data, size), s;
	struct arena *ar = arena_new(0);
	struct search_args search;
	struct fetch_args fetch;
	struct flag_args flags;
	struct pattern pat;
	struct cmdbuf c;
	struct parse p, q;

	cmdbuf_init(&c, 65536);
	while (in.n) {
		enum cmdbuf_state st = cmdbuf_feed(&c, &in);

		if (st == CMDBUF_MORE || (st == CMDBUF_LITERAL && cmdbuf_accept(&c)))
			continue;
		parse_init(&p, buf_view(&c.b), ar);
		if (parse_tag(&p, &s) && parse_sp(&p) && parse_atom(&p, &s) && parse_sp(&p)) {
			q = p, parse_fetch(&q, &fetch);
			q = p, parse_search(&q, &search);
			q = p, parse_flags_loose(&q, &flags);
			q = p, parse_mailbox(&q, &s);
			q = p;
			if (parse_list_mailbox(&q, &s) && pattern_make(&pat, STR_NULL, s, ar))
				pattern_match(&pat, str_head(q.in, 64));
		}
		cmdbuf_reset(&c);
		arena_reset(ar);
	}
	cmdbuf_done(&c);
	arena_free(&ar);
	return 0;
}
