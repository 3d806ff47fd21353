/*
 * The facts of a group of message files, for a job: files are added, then the job
 * parks until all are answered.
 */
#ifndef MAILDIR_ASKING_H
#define MAILDIR_ASKING_H

#include "maildir/actor.h"
#include "maildir/inquiry.h"

enum { ASKING_MAX = 16 };

struct asking;

struct asking *asking_new(void);
void asking_free(struct asking **g);
/* Forgets the group and its memory. */
void asking_clear(struct asking *g);
/* Adds the file at a path below the account's directory. Blocks for the disk. A file
 * that cannot be read is a member of the group too: its code says why. The group
 * must have fewer than ASKING_MAX. */
void asking_add(struct asking *g, struct actor *a, struct str path, uint64_t size);
size_t asking_count(const struct asking *g);
/* Asks; the job goes on with `next`. JOB_WAIT, or what next gives when there is
 * nothing to wait for. */
enum job_next asking_go(struct asking *g, struct actor *a, struct job *j,
    enum job_next (*next)(struct job *j, struct actor *a));
/* Of member i, after the answers: 0 or 1 with its facts (valid until asking_clear);
 * negative: none, now (-ENOENT: there is no such file). */
int asking_result(const struct asking *g, size_t i, struct str *ret_facts);

#endif
