/*
 * piped as queued sees it: delivers one message for one recipient to a command or
 * appends it to a file. Where to is the recipient's next hop with ROUTE_PIPE:
 *
 *	|command and its arguments
 *	/path/of/an/mbox
 *	/path/of/a/maildir/
 *
 * All have the uid of the setting pipe.user.
 */
#ifndef LIB_CLIENT_PIPE_H
#define LIB_CLIENT_PIPE_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/proc/chan.h"

enum { MSG_PIPE_DELIVER = MSG_TYPE(ROLE_PIPED, 1) };

enum { PIPE_TARGET_MAX = 4096 };

enum pipe_kind { PIPE_COMMAND = 1, PIPE_MBOX, PIPE_MAILDIR };
struct pipe_target {
	enum pipe_kind kind;
	struct str what;    /* the command line, or the absolute path */
};

/* Cuts a next hop of the form above. 0, or -EINVAL: neither command nor file, longer
 * than PIPE_TARGET_MAX, a control character, or a path with ".." or an empty name. The
 * strings point into s. */
int pipe_target_parse(struct str s, struct pipe_target *ret);

struct pipe_request {
	uint64_t spool_id, arrived_us;
	struct str sender;                /* empty: the null sender */
	struct str trace;
	struct str client_name, client_ip, user; /* of the envelope */
	struct str address;               /* the recipient that led to the target */
	struct str original, orcpt;       /* as RCPT said it, when it differs; ORCPT */
	struct str detail;                /* behind the delimiter of user+detail */
	struct str target;
	uint64_t size;
	struct str content;               /* inline up to WIRE_INLINE, or empty with a descriptor */
};

enum pipe_outcome { PIPE_DONE = 1, PIPE_TEMPFAIL, PIPE_REJECT };
struct pipe_answer {
	enum pipe_outcome outcome;
	unsigned smtp;                    /* 250, 4xx, 5xx */
	struct str enhanced, text;        /* text is UTF-8 of one line */
};

/* Strings of what the getters return point into body. 0 or -EPROTO. */
void pipe_request_put(struct buf *b, const struct pipe_request *r);
int pipe_request_get(struct str body, struct pipe_request *ret);
void pipe_answer_put(struct buf *b, const struct pipe_answer *r);
int pipe_answer_get(struct str body, struct pipe_answer *ret);

#endif
