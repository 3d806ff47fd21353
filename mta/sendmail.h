/* What the files of the sendmail command share. */
#ifndef MTA_SENDMAIL_H
#define MTA_SENDMAIL_H

#include <stdio.h>

#include "lib/base/arena.h"
#include "lib/client/drop.h"
#include "lib/conf/settings.h"

/* Exit statuses of sysexits(3). */
enum {
	EX_OK_ = 0, EX_USAGE_ = 64, EX_DATAERR_ = 65, EX_NOUSER_ = 67, EX_UNAVAILABLE_ = 69,
	EX_SOFTWARE_ = 70, EX_OSERR_ = 71, EX_IOERR_ = 74, EX_TEMPFAIL_ = 75, EX_NOPERM_ = 77,
	EX_CONFIG_ = 78,
};

struct sendmail {
	const char *program;           /* as called: "sendmail", "mailq", "newaliases" */
	struct arena *arena;
	const char *config_path;
	const struct settings *settings; /* NULL when this user cannot read them */
	uint64_t size_limit;

	bool from_header;              /* -t: recipients of the header too */
	bool dots;                     /* -i: a dot alone does not end the message */
	bool verbose;
	struct drop drop;              /* sender, name, parameters of the command line */
	struct str *rcpts;             /* growing */
	size_t n_rcpts, rcpts_cap;
};

/* "sendmail: TEXT" on standard error; returns status. */
__attribute__((format(printf, 3, 4)))
int sendmail_fail(const struct sendmail *s, int status, const char *fmt, ...);

/* Adds the addresses of a list as a header or a command line has it. 0, or an exit status. */
int sendmail_add(struct sendmail *s, struct str list);
/* The one address that text is, without names and brackets; empty for <>. 0 or a status. */
int sendmail_address(const struct sendmail *s, struct str text, struct str *ret);
/* The maildrop's folder for new files. */
const char *sendmail_folder(const struct sendmail *s);
/* The message d, whose content has CRLF lines, into the maildrop. 0 or a status. */
int sendmail_drop(const struct sendmail *s, const struct drop *d);

/* sendmail_message.c: the message on standard input to s's recipients. */
int sendmail_send(struct sendmail *s);
/* sendmail_smtp.c: a session of SMTP over in and out (-bs). */
int sendmail_session(struct sendmail *s, FILE *in, FILE *out);
/* sendmail_queue.c: mailq (-bp); -q, with what of -qI, -qR, -qS; -bv. */
int sendmail_list(struct sendmail *s);
int sendmail_flush(struct sendmail *s, const char *arg);
int sendmail_verify(struct sendmail *s);

#endif
