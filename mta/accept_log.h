/* How smtpd and submitd log what lib/accept notes of a message. */
#ifndef MTA_ACCEPT_LOG_H
#define MTA_ACCEPT_LOG_H

#include "lib/accept/accept.h"

void accept_log(const struct accept_request *r, const struct accept_note *n);

#endif
