/*
 * The backlog of an account: messages that have no facts yet, since they were found
 * by a recovery or a rebuild, or came while no mimed could be asked. A job of the
 * actor's gives them theirs, a group at a time, while other jobs go on.
 */
#ifndef MAILDIR_BACKLOG_H
#define MAILDIR_BACKLOG_H

#include "maildir/actor.h"

struct backlog;

struct backlog *backlog_new(void);
void backlog_free(struct backlog **b);
/* Starts the work unless it runs already. On the actor's thread, the index open. */
void backlog_run(struct backlog *b, struct actor *a);

#endif
