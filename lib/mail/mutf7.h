/*
 * Mailbox names in modified UTF-7 (RFC 3501 section 5.1.3).
 */
#ifndef LIB_MAIL_MUTF7_H
#define LIB_MAIL_MUTF7_H

#include "lib/base/buf.h"

/* Appends the UTF-8 of a name. Strict, so that a name has one spelling: -EINVAL
 * for 8-bit or control bytes, an unclosed or empty-shifted run, printable ASCII
 * inside base64, stray bits, lone surrogates, runs that could be one. Nothing is
 * appended then. */
int mutf7_decode(struct str s, struct buf *out);
/* Appends the modified UTF-7 of well-formed UTF-8; -EINVAL (nothing appended) for
 * other bytes and for control characters below U+0020 and U+007F. */
int mutf7_encode(struct str s, struct buf *out);

#endif
