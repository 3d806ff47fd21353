/* The base subject of RFC 5256 section 2.1, its steps by number. */
#include "lib/mail/body.h"
#include "lib/mail/word.h"

/* subj-blob: "[" *BLOBCHAR "]" *WSP at the begin of s; 0 when there is none. */
static size_t
blob(struct str s)
{
	size_t i = 1;

	if (!s.n || s.p[0] != '[')
		return 0;
	while (i < s.n && s.p[i] != '[' && s.p[i] != ']')
		i++;
	if (i >= s.n || s.p[i] != ']')
		return 0;
	for (i++; i < s.n && s.p[i] == ' ';)
		i++;
	return i;
}

/* subj-refwd: ("re" / "fw" / "fwd") *WSP [subj-blob] ":". */
static size_t
refwd(struct str s)
{
	size_t n = str_istarts(s, STR("fwd")) ? 3 :
	    str_istarts(s, STR("re")) || str_istarts(s, STR("fw")) ? 2 : 0;

	if (!n)
		return 0;
	while (n < s.n && s.p[n] == ' ')
		n++;
	n += blob(str_skip(s, n));
	return n < s.n && s.p[n] == ':' ? n + 1 : 0;
}

/* Step 3: a leader, *subj-blob subj-refwd. */
static size_t
leader(struct str s)
{
	size_t n = 0, k;

	while ((k = blob(str_skip(s, n))))
		n += k;
	k = refwd(str_skip(s, n));
	return k ? n + k : 0;
}

static struct str
strip(struct str s, bool *ret_reply)
{
	for (;;) {
		size_t before = s.n, n;

		s = str_trim(s);
		while (str_iends(s, STR("(fwd)"))) { /* step 2 */
			*ret_reply = true;
			s = str_trim(str_head(s, s.n - 5));
		}
		while ((n = leader(s))) { /* steps 3 and 5 */
			*ret_reply = true;
			s = str_trim(str_skip(s, n));
		}
		if ((n = blob(s)) && str_trim(str_skip(s, n)).n) /* step 4 */
			s = str_skip(s, n);
		if (str_istarts(s, STR("[fwd:")) && str_ends(s, STR("]"))) { /* step 6 */
			*ret_reply = true;
			s = str_from(s.p + 5, s.n - 6);
		}
		if (s.n == before)
			return s;
	}
}

bool
subject_base(struct str raw, struct buf *out)
{
	struct buf text = { 0 };
	bool reply = false;
	size_t n = 0;

	word_decode(str_head(raw, 4096), &text);
	for (size_t i = 0; i < text.n; i++) { /* step 1 */
		char c = ascii_isspace(text.p[i]) ? ' ' : text.p[i];

		if (c != ' ' || (n && text.p[n - 1] != ' '))
			text.p[n++] = c;
	}
	buf_truncate(&text, n);
	text_fold(strip(buf_view(&text), &reply), out);
	buf_done(&text);
	return reply;
}
