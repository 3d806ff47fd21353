/*
 * Encoded words (RFC 2047) and charsets. All output is well-formed UTF-8; what
 * cannot be converted becomes U+FFFD, never an error.
 *
 * Converters come from iconv, which loads files: a program calls charset_preload
 * before it is confined and holds every converter of the table open from then on.
 */
#ifndef LIB_MAIL_WORD_H
#define LIB_MAIL_WORD_H

#include "lib/base/buf.h"

/* Opens every converter once, for the life of the process. Returns how many of
 * the table the system lacks. */
int charset_preload(void);
/* Appends bytes of that charset as UTF-8. An unknown or empty charset: UTF-8 where
 * the bytes are, else windows-1252. */
void charset_to_utf8(struct str charset, struct str bytes, struct buf *out);
/* Whether the table has the name (RFC 3501: SEARCH's BADCHARSET). */
bool charset_known(struct str charset);

/* Appends the value of an unstructured field: unfolded, words decoded, blanks
 * between adjacent words dropped. */
void word_decode(struct str raw, struct buf *out);

#endif
