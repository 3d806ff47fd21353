/*
 * Take-in: giving the files that stand in an account's new/ directories their
 * rows. A batch of files becomes one transaction; after the group sync the index
 * settles (files get their names in cur/), and only then the handles hear of it.
 */
#ifndef MAILDIR_TAKEIN_H
#define MAILDIR_TAKEIN_H

#include "maildir/actor.h"

enum { TAKEIN_BATCH = 200 }; /* files in a transaction */

struct takein;

struct takein *takein_new(struct actor *a);
void takein_free(struct takein **t);
/* On the actor's thread: everything that stands in new/ at this moment is taken in,
 * then waiter is resumed. One take-in runs at a time; who comes while one runs
 * waits for the next. */
void takein_run(struct takein *t, struct job *waiter);

#endif
