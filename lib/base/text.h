/*
 * Text codings that more than one protocol uses: base64 (RFC 4648 section 4),
 * hexadecimal, the xtext of SMTP parameters, UTF-8 (RFC 3629).
 */
#ifndef LIB_BASE_TEXT_H
#define LIB_BASE_TEXT_H

#include "lib/base/buf.h"

/* Appends the base64 of s, padded, without line breaks. */
void base64_put(struct buf *b, struct str s);
/* Appends what s decodes to. Strict: padding required, no blanks, no bits left
 * over. 0, or -EINVAL (nothing is then appended). */
int base64_get(struct buf *b, struct str s);

void hex_put(struct buf *b, struct str s); /* lower case */
int hex_get(struct buf *b, struct str s);  /* 0 or -EINVAL */
/* xtext (RFC 3461 section 4): printable ASCII, "+2B" for any other. 0 or -EINVAL. */
int xtext_get(struct buf *b, struct str s);
void xtext_put(struct buf *b, struct str s);

/* Whether s is well-formed UTF-8 (no overlong forms, surrogates or code points
 * over U+10FFFF). */
bool utf8_valid(struct str s);
/* Whether every byte is below 128. */
bool ascii_only(struct str s);
/* Whether a byte is a control character of ASCII. */
bool ascii_has_control(struct str s);
/* Decodes the first character of s: its length in bytes (1 to 4) and the code
 * point, or 0 when s does not begin with a well-formed one. */
size_t utf8_next(struct str s, uint32_t *ret_cp);
void utf8_put(struct buf *b, uint32_t cp);

#endif
