/* The functions behind the table of commands. */
#ifndef IMAPD_COMMANDS_H
#define IMAPD_COMMANDS_H

#include "imapd/imap.h"

typedef enum result command_fn(struct imap *c, struct parse *p);

command_fn cmd_capability, cmd_noop, cmd_logout, cmd_id, cmd_starttls, cmd_login,
    cmd_authenticate, cmd_enable, cmd_namespace, cmd_select, cmd_examine, cmd_create, cmd_delete,
    cmd_rename, cmd_subscribe, cmd_unsubscribe, cmd_status, cmd_idle, cmd_check, cmd_close,
    cmd_unselect, cmd_expunge, cmd_copy, cmd_move, cmd_store;

#endif
