/*
 * The maildrop as pickupd keeps it (lib/client/drop.h tells the files): DIR/new, where
 * users put files, and DIR/bad, where those go that are no messages.
 */
#ifndef MTA_MAILDROP_H
#define MTA_MAILDROP_H

#include <sys/types.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

struct maildrop {
	int new_fd, bad_fd;
	unsigned n_bad;           /* files in bad/ */
};

/* Makes what is missing and opens both folders; closes them. */
int maildrop_open(struct maildrop *m, struct str dir, struct err *e);
void maildrop_close(struct maildrop *m);

enum maildrop_state {
	MAILDROP_READY,           /* *ret_text and *ret_uid are set */
	MAILDROP_UNFINISHED,      /* still being written */
	MAILDROP_GONE,
	MAILDROP_BAD,             /* *ret_why says what is wrong with it */
	MAILDROP_UNREADABLE,      /* by an error of ours, *ret_why: try again */
};
struct maildrop_file {
	uid_t uid;                /* of the owner: who sent it */
	uint64_t mtime_ms;        /* when it was finished */
	uint64_t size;
	const char *why;
};
/* Looks at the file and, when it is ready, appends all of it to text (bounded by its
 * limit: longer files are bad). */
enum maildrop_state maildrop_read(const struct maildrop *m, const char *name, struct buf *text,
    struct maildrop_file *ret);

/* 0, or negative errno. */
int maildrop_remove(const struct maildrop *m, const char *name);
/* Moves it into bad/; above MAILDROP_BAD_MAX files there it is removed instead.
 * 1: moved, 0: removed, negative errno: it stays where it is. */
#define MAILDROP_BAD_MAX 1000u
int maildrop_set_aside(struct maildrop *m, const char *name);

#endif
