/* Descriptors of files. */
#ifndef LIB_BASE_FD_H
#define LIB_BASE_FD_H

#include "lib/base/buf.h"

/* Writes all of s: 0 or negative errno. */
int fd_write_all(int fd, struct str s);
/* Appends what is left of a file to b: 0, -EFBIG when that is over (longer than b->max, or no
 * memory), or negative errno. What was read before a failure is there. */
int fd_read_all(int fd, struct buf *b);
/* The same of a whole file by its name. */
int fd_read_file(const char *path, struct buf *b);

#endif
