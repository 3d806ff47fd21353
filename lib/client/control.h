/*
 * Control sockets as the command line sees them: run_dir/<role>.ctl, or
 * run_dir/<role>.<n>.ctl for roles of which several run (smtpd, maild, mimed,
 * imapd). The master makes them and hands them to the daemons, which see a peer
 * with role ROLE_CLI and the frames of lib/io/wire.h. All calls here block.
 *
 * A long answer is several answer frames with the request's id; each but the
 * last ends with the field CONTROL_MORE. The daemon writes it by control_more()
 * and sends each part by chan_answer.
 */
#ifndef LIB_CLIENT_CONTROL_H
#define LIB_CLIENT_CONTROL_H

#include "lib/conf/settings.h"
#include "lib/io/wire.h"
#include "lib/proc/peers.h"

/* Tag of the last field in every part of an answer but the last one. */
#define CONTROL_MORE 0xffff
static inline void
control_more(struct buf *b)
{
	wire_u64(b, CONTROL_MORE, 1);
}

/* Whether sockets of this role carry the instance number. */
bool control_numbered(enum role r);
/* The socket's path, NUL-terminated, in a. */
const char *control_path(const struct settings *s, enum role r, unsigned n, struct arena *a);

struct control;

/* Connects to instance n of a role. 0; -ENOTCONN: it does not run (e says so for
 * people); -EACCES: this user may not. */
int control_open(const struct settings *s, enum role r, unsigned n, struct control **ret,
    struct err *e);
void control_close(struct control **c);

/* Sends a request (fields may be NULL) and takes its one answer, copied into a.
 * fd: -1, or a descriptor to pass (stays the caller's). 0; -ETIMEDOUT or -EPIPE;
 * or the code of the daemon's wire_error, whose text e has. */
int control_call(struct control *c, uint16_t type, const struct buf *fields, int fd,
    uint64_t timeout_ms, struct arena *a, struct frame *ret, struct err *e);

/* The same for a long answer: part() for each frame in turn (its body is valid
 * during the call; a descriptor belongs to part), which returns 0 or a negative
 * value that ends it. timeout_ms is for the wait for each part. */
int control_stream(struct control *c, uint16_t type, const struct buf *fields, uint64_t timeout_ms,
    int (*part)(void *arg, struct frame *f), void *arg, struct err *e);

/* Open, call, close in one. */
int control_ask(const struct settings *s, enum role r, unsigned n, uint16_t type,
    const struct buf *fields, struct arena *a, struct frame *ret, struct err *e);

#endif
