/*
 * What the verbs of users and domains share: a request goes to the running
 * authd; while the instance is down, the command does it itself on the database,
 * under the same lock.
 */
#ifndef MTA_CLI_DIRECTORY_H
#define MTA_CLI_DIRECTORY_H

#include "lib/client/auth_admin.h"
#include "mta/cli.h"

/* row (may be NULL) for each row of the answer. An exit status; a failure has
 * been printed. */
int cli_directory(struct cli *c, const struct auth_admin *q,
    void (*row)(void *arg, const struct auth_row *r), void *arg);
/* A request about the verb's first argument; says "ARGUMENT done" when it worked. */
int cli_directory_change(struct cli *c, struct auth_admin q, const char *done);

/* The verb's arguments behind the first, joined by commas. */
struct str cli_directory_targets(struct cli *c);

#endif
