/* The functions behind the table of commands (cmd_NAME.c), and what some share. */
#ifndef IMAPD_COMMANDS_H
#define IMAPD_COMMANDS_H

#include "imapd/imap.h"

typedef enum result command_fn(struct imap *c, struct parse *p);

command_fn cmd_append, cmd_authenticate, cmd_capability, cmd_check, cmd_close, cmd_copy,
    cmd_create, cmd_delete, cmd_enable, cmd_examine, cmd_expunge, cmd_fetch, cmd_id, cmd_idle,
    cmd_list, cmd_login, cmd_logout, cmd_lsub, cmd_move, cmd_namespace, cmd_noop, cmd_rename,
    cmd_search, cmd_select, cmd_starttls, cmd_status, cmd_store, cmd_subscribe, cmd_unselect, cmd_unsubscribe;

/* cmd_select.c: SELECT, or EXAMINE. */
enum result select_mailbox(struct imap *c, struct parse *p, bool readonly);
/* cmd_subscribe.c: SUBSCRIBE, or UNSUBSCRIBE. */
enum result subscribe(struct imap *c, struct parse *p, bool on);
/* cmd_copy.c: COPY, or MOVE. */
enum result copy_messages(struct imap *c, struct parse *p, bool move);

/* args.c: SP mailbox, and nothing more. */
bool parse_one_mailbox(struct parse *p, struct str *ret);
/* args.c: a set of numbers or (UID form) UIDs as ranges of numbers, in place, and as
 * UIDs. False: *ret_answer says why not. */
bool messages_of(struct imap *c, struct seq_set *set, struct uid_set *ret, enum result *ret_answer);

/* args.c: the answer to a log-in that login_allowed refuses. */
enum result not_in_plaintext(struct imap *c);

#endif
