/*
 * The files of a mailbox as they stand in its directory, for recovery, check and
 * rebuild.
 */
#ifndef MAILDIR_INDEX_TREE_H
#define MAILDIR_INDEX_TREE_H

#include "maildir/index_private.h"

struct tree_file {
	struct str name;
	struct msg_name n;
	uint64_t size;   /* of the file itself */
	int64_t mtime;
	bool seen;       /* the caller's mark */
};
struct tree {
	struct tree_file *v;
	size_t n, cap;
	struct strmap by_name;
};

/* Reads dir/sub; what is no message file's name is passed over. */
int tree_read(int dirfd, const char *dir, const char *sub, struct arena *ar, struct tree *ret,
    struct err *e);
void tree_done(struct tree *t);
/* Whether the file is as long as its name says. */
bool tree_whole(const struct tree_file *f);
/* Names of the folder directories (".Sent"), NUL after each. */
int tree_folders(int dirfd, struct buf *out, struct err *e);

#endif
