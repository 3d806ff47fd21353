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
	bool torn;       /* its content is not what its name says: tree_look */
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
/* Reads the files of dir/sub that were changed at `since` or later and marks those that
 * are torn; a file that cannot be read is not. */
void tree_look(int dirfd, const char *dir, const char *sub, struct tree *t, int64_t since);
/* Whether the file at path, named like that, has its name's length and content. */
bool tree_good(int dirfd, const char *path, const struct msg_name *n);
/* When a file of it was changed last. */
int64_t tree_newest(const struct tree *t);
/* Whether the file is as long as its name says, and not known to be torn. */
bool tree_whole(const struct tree_file *f);
/* Names of the folder directories (".Sent"), NUL after each. */
int tree_folders(int dirfd, struct buf *out, struct err *e);

#endif
