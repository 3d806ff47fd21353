/* Descriptors of files. */
#ifndef LIB_BASE_FD_H
#define LIB_BASE_FD_H

#include "lib/base/str.h"

/* Writes all of s: 0 or negative errno. */
int fd_write_all(int fd, struct str s);

#endif
