/* A session of smtpd, as its files share it. */
#ifndef MTA_SMTPD_H
#define MTA_SMTPD_H

#include "lib/accept/accept.h"
#include "lib/mail/path.h"
#include "lib/proc/service.h"

#define SMTP_LINE_MAX 12288 /* AUTH (RFC 4954 section 4) */

struct smtp_txn {                 /* from MAIL until its end */
	struct arena *arena;
	struct envelope env;
	size_t rcpts_cap;
};

struct smtp {                     /* one connection */
	struct session *session;
	struct stream *io;
	const struct conf_listen *listen;
	struct smtp_txn *txn;     /* NULL outside a transaction */
	char helo[256];           /* "" before EHLO, HELO, LHLO */
	bool esmtp, closing;
	char *user;               /* address that logged in, or NULL */
	uint64_t account;
	unsigned errors, commands, mails;
	char id[20];              /* session id of the log */
};

extern struct smtpd {
	struct service *service;
	size_t content_bytes;     /* message content in memory now */
} smtpd;

static inline const struct settings *
smtp_settings(void)
{
	return service_settings(smtpd.service);
}

enum session_next smtp_run(struct session *s, enum session_reason why);

/* One reply line. 4xx and 5xx count as errors. */
__attribute__((format(printf, 4, 5)))
void smtp_reply(struct smtp *s, unsigned code, const char *enhanced, const char *fmt, ...);
/* The next line without its CRLF, in *ret until the next read. 1; 0: none is
 * there yet (park) unless wait; negative: gone. A line that breaks the rules is
 * answered here and skipped. */
int smtp_line(struct smtp *s, bool wait, size_t max, struct str *ret);
void smtp_txn_end(struct smtp *s);
/* The address range check's form of the client's address. */
bool smtp_client_in(struct smtp *s, const struct conf_nets *nets);
bool smtp_auth_offered(struct smtp *s);
bool smtp_tls_offered(struct smtp *s);

void cmd_mail(struct smtp *s, struct str arg);
void cmd_rcpt(struct smtp *s, struct str arg);
void cmd_data(struct smtp *s, struct str arg);
void cmd_auth(struct smtp *s, struct str arg);

#endif
