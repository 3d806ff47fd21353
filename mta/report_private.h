/* What the files of report share: foreign bytes made safe, and fields. */
#ifndef MTA_REPORT_PRIVATE_H
#define MTA_REPORT_PRIVATE_H

#include "mta/report.h"

/* Appends s as one line: line ends and blanks become one blank, other controls and
 * bytes that are no UTF-8 become '?'; without utf8 so does all that is not ASCII. At
 * most max bytes of s. */
void safe_put(struct buf *out, struct str s, bool utf8, size_t max);
/* The same as a string in a. */
struct str safe_text(struct arena *a, struct str s, bool utf8, size_t max);

/* Appends "name: value" with its line end, folded at blanks. The value is safe. */
void field_put(struct buf *out, const char *name, struct str value);

/* Appends a paragraph of words, in lines of at most 72 columns where the words allow,
 * each behind `indent` blanks; lines end in LF. Foreign words are safe already. */
void wrap_put(struct buf *out, unsigned indent, struct str words);

/* Whether the message wants the types and addresses of RFC 6533. */
static inline bool
report_utf8(const struct report *r)
{
	return r->request->flags & ENV_SMTPUTF8;
}

/* The part for people, UTF-8, lines by LF (report_text.c). returned: all, the header,
 * or nothing of the message. */
enum report_return { RETURN_NOTHING, RETURN_HEADER, RETURN_ALL };
void report_text(struct buf *out, const struct report *r, enum report_return ret, struct arena *a);
/* The fields for programs (report_fields.c). */
void report_fields(struct buf *out, const struct report *r, struct arena *a);

#endif
