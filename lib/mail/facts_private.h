/* What the files of facts share. */
#ifndef LIB_MAIL_FACTS_PRIVATE_H
#define LIB_MAIL_FACTS_PRIVATE_H

#include "lib/mail/facts.h"

/* An nstring of IMAP (RFC 3501 section 9): NIL for p NULL; quoted where 7-bit bytes
 * allow it, else a literal; NULs become blanks. */
void facts_nstring(struct buf *out, struct str s);

/* The ENVELOPE of a header, without version; problems gains FACTS_P_*. */
void facts_envelope_make(struct str header, struct arena *a, struct buf *out,
    uint32_t *problems);
/* The structure block of a parsed message. 0 or -ENOMEM. */
int facts_structure_make(struct str message, const struct mime *m, struct arena *a,
    struct buf *out, uint32_t *problems);

#endif
