/*
 * Bodies: transfer encodings (RFC 2045 section 6), text as UTF-8, HTML as text,
 * case folding. Lenient: what cannot be decoded stays or is left out.
 */
#ifndef LIB_MAIL_BODY_H
#define LIB_MAIL_BODY_H

#include "lib/base/buf.h"

/* Appends a body decoded by its Content-Transfer-Encoding ("base64", "quoted-
 * printable"; any other leaves it as it is). */
void body_decode(struct str body, struct str encoding, struct buf *out);
/* The same, and converted from charset to UTF-8. */
void body_text(struct str body, struct str encoding, struct str charset, struct buf *out);
/* Appends the text of UTF-8 HTML: tags, scripts and styles dropped, character
 * references resolved. */
void html_text(struct str html, struct buf *out);
/* Appends UTF-8 with its letters folded to lower case (Latin, Greek, Cyrillic,
 * Armenian, full-width), for substring compares. */
void text_fold(struct str utf8, struct buf *out);

/* Appends the base subject of a raw Subject value (RFC 5256 section 2.1) in UTF-8,
 * folded. True when it was a reply or a forward. */
bool subject_base(struct str raw, struct buf *out);

#endif
