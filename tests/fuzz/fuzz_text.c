/* Dates, encoded words, bodies, HTML and subjects; all text that comes out is UTF-8. */
#include "lib/base/text.h"
#include "lib/mail/body.h"
#include "lib/mail/date.h"
#include "lib/mail/word.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const encodings[] = { "base64", "quoted-printable", "7bit", "" };
	static const char *const charsets[] = { "utf-8", "iso-2022-jp", "shift_jis", "none" };
	struct str in = str_from(data, size);
	struct buf out = { 0 };
	struct date d;

	if (date_parse(in, &d) == 0 && (d.month < 1 || d.month > 12 || d.day < 1 || d.day > 31))
		abort();
	(void)date_parse_imap(in, &d);
	(void)date_parse_imap_day(in, &d);
	word_decode(in, &out);
	(void)subject_base(in, &out);
	if (size)
		body_text(str_skip(in, 1), str_c(encodings[data[0] & 3]),
		    str_c(charsets[data[0] >> 2 & 3]), &out);
	if (!utf8_valid(buf_view(&out)))
		abort();
	buf_clear(&out);
	if (utf8_valid(in)) {
		html_text(in, &out);
		text_fold(in, &out);
		if (!utf8_valid(buf_view(&out)))
			abort();
	}
	buf_done(&out);
	return 0;
}
