/* The macros that a milter is told of: those that Sendmail and Postfix send, from the facts of a call. */
#ifndef PLUGINS_MILTER_MACROS_H
#define PLUGINS_MILTER_MACROS_H

#include "plugins/milter/session.h"

/* Appends the packet of that stage's macros, if there are any: those that the milter asked for, else
 * the usual ones. Macros without a value are left out. */
void milter_put_macros(struct buf *b, const struct milter_session *s, struct ph_call *c,
    enum milter_stage stage, struct ph_str rcpt);

#endif
