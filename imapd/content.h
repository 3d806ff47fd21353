/*
 * One message's bytes: the descriptor that the store handed over, and where its parts
 * lie. The parts come from the facts that were stored when the message came in; one
 * whose facts are missing or of other bytes is parsed here.
 */
#ifndef IMAPD_CONTENT_H
#define IMAPD_CONTENT_H

#include "imapd/imap.h"
#include "lib/mail/facts.h"

struct content {
	int fd;
	uint64_t size;
	struct mime mime;          /* n is 0 until content_parts */
	struct facts_part *parts;
	struct str envelope, structure; /* blocks; of what was parsed here */
};

/* Opens message uid of the selected mailbox. -ENOENT: it is gone; -EIO: its file is
 * shorter than it was. May yield. */
int content_open(struct imap *c, uint32_t uid, struct content *ret, struct wire_error *we);
/* Reads the table of parts: from the structure block if it is of this message. The
 * block must outlive the content. 0, or -ENOMEM. */
int content_parts(struct content *m, struct str structure, struct arena *ar);
/* Fills envelope and structure from the bytes. 0 or -ENOMEM. */
int content_parse(struct content *m, struct arena *ar);
/* Appends n bytes from off: 0, -ENODATA when the file ends before, or what the system
 * says. */
int content_read(const struct content *m, uint64_t off, size_t n, struct buf *out);
void content_close(struct content *m);

#endif
