/*
 * Reading the log's own lines (log.h): key=value pairs, values with blanks in quotes.
 */
#ifndef LIB_BASE_LOGFMT_H
#define LIB_BASE_LOGFMT_H

#include "lib/base/buf.h"

/* Cuts the next pair off *line: its key, and its value with quotes and escapes undone into
 * value (cleared first). False at the end of the line; words without '=' are passed over. */
bool logfmt_next(struct str *line, struct str *ret_key, struct buf *value);

#endif
