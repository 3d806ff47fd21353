/*
 * Blobs: the bytes of messages, immutable, by name. A name is a path relative to
 * the volume. The back end on one machine is files; another may keep them
 * elsewhere (objects), so nobody opens a message file but through here.
 *
 * Nothing is durable before blob_sync has returned 0 for a sync that began after
 * the call: callers gather in groups (maildir/volume.h). Every call may take
 * seconds; hold nothing across it that others need. A negative answer to a put,
 * link or move of -EIO or -ETIMEDOUT leaves open whether it happened.
 */
#ifndef MAILDIR_BLOB_H
#define MAILDIR_BLOB_H

#include <sys/uio.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct blob_store;

/* What a blob is made of: pieces in memory, then fd_size bytes of fd from its
 * offset 0 (fd -1: none; its file offset is not touched). */
struct blob_source {
	const struct iovec *iov;
	size_t n;
	int fd;
	uint64_t fd_size;
};

/* A blob under a name that nobody looks at: "tmp/..." . */
struct blob_draft {
	char name[48];
	int fd; /* open for reading and writing; the owner's */
	uint32_t crc; /* CRC32C of the bytes */
};

struct blob_ops {
	int (*draft)(struct blob_store *b, const struct blob_source *src, struct blob_draft *ret);
	int (*move)(struct blob_store *b, const char *from, const char *to);
	int (*link)(struct blob_store *b, const char *from, const char *to);
	int (*open)(struct blob_store *b, const char *name);
	int (*remove)(struct blob_store *b, const char *name);
	int (*sync)(struct blob_store *b, int fd);
};

struct blob_store {
	const struct blob_ops *ops;
	int dirfd;                /* the volume's directory */
	unsigned instance;        /* of maild: begins the names of its drafts */
	_Atomic uint64_t serial;  /* of drafts */
	void *user;               /* a test back end's */
};

extern const struct blob_ops blob_files;

/* Writes a draft. On failure nothing is left behind. */
static inline int
blob_draft(struct blob_store *b, const struct blob_source *src, struct blob_draft *ret)
{
	return b->ops->draft(b, src, ret);
}
/* Gives a draft its name. -EEXIST: there is a blob of that name (and the draft
 * stays); -ENOENT: the directory of `to` is missing. */
static inline int
blob_move(struct blob_store *b, const char *from, const char *to)
{
	return b->ops->move(b, from, to);
}
/* Another name for the same bytes. -EEXIST; -EMLINK, -EXDEV: put a copy. */
static inline int
blob_link(struct blob_store *b, const char *from, const char *to)
{
	return b->ops->link(b, from, to);
}
/* A read-only descriptor, or negative. */
static inline int
blob_open(struct blob_store *b, const char *name)
{
	return b->ops->open(b, name);
}
static inline int
blob_remove(struct blob_store *b, const char *name)
{
	return b->ops->remove(b, name);
}
/* Everything that was done before this call is durable. fd: a file of the group,
 * or -1: asked too, for the errors that a whole sync may miss. */
static inline int
blob_sync(struct blob_store *b, int fd)
{
	return b->ops->sync(b, fd);
}

#endif
