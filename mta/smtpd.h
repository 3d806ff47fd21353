/* A session of smtpd, as its files share it. */
#ifndef MTA_SMTPD_H
#define MTA_SMTPD_H

#include "lib/accept/accept.h"
#include "lib/mail/path.h"
#include "lib/proc/front.h"
#include "lib/proc/metrics.h"
#include "lib/proc/service.h"
#include "mta/xclient.h"

#define SMTP_LINE_MAX 12288 /* AUTH (RFC 4954 section 4) */

struct smtp_text;

struct smtp_forward {             /* whose the next message is, by XFORWARD */
	struct arena *arena;
	struct xclient said;
};

struct smtp_txn {                 /* from MAIL until its end */
	struct arena *arena;
	struct envelope env;
	size_t rcpts_cap;
	struct str client_ip, hello; /* of this session, whatever XFORWARD said */
	struct str ident;         /* how the log of who forwards it names it, or empty */
	struct smtp_text *text;   /* between the first BDAT and the last (RFC 3030) */
	bool bdat_failed;         /* a chunk was refused: so are the others */
	bool priority_lowered;
	struct filter_txn filters;
	unsigned outcome;         /* the reply to the message; 0: none */
	uint64_t spool_id;
};

struct smtp {                     /* one connection */
	struct session *session;
	struct stream *io;
	const struct conf_listen *listen;
	struct front front;
	struct smtp_txn *txn;     /* NULL outside a transaction */
	struct smtp_forward *forward; /* NULL before XFORWARD and behind its transaction */
	char *helo;               /* NULL before EHLO, HELO, LHLO */
	char *host;               /* the client's name by XCLIENT, or NULL */
	char *user;               /* address that logged in, or NULL */
	uint64_t account;
	bool trusted;             /* may say XCLIENT and XFORWARD: decided for the connection's own peer */
	bool esmtp, closing;
	unsigned errors, commands, mails;
	struct filter_session filters;
	char id[20];              /* session id of the log */
};

extern struct smtpd {
	struct service *service;
	size_t content_bytes;     /* message content in memory now */
	int64_t sessions;
} smtpd;

static inline const struct settings *
smtp_settings(void)
{
	return service_settings(smtpd.service);
}

static inline bool
smtp_is_lmtp(const struct smtp *s)
{
	return s->listen->proto == CONF_LMTP;
}

enum session_next smtp_run(struct session *s, enum session_reason why);

/* One reply line. 4xx and 5xx count as errors; after 421 the session ends. */
__attribute__((format(printf, 4, 5)))
void smtp_reply(struct smtp *s, unsigned code, const char *enhanced, const char *fmt, ...);
/* The same for what the session refuses of a message: logged (address: of whom, may
 * be empty) and counted. */
void smtp_refuse(struct smtp *s, unsigned code, const char *enhanced, struct str address,
    const char *text);
void smtp_refused(struct smtp *s, unsigned code, const char *enhanced, struct str address,
    const char *text); /* without the reply */
/* The next line without its CRLF, in *ret until the next read. 1; 0: none is
 * there yet (park) unless wait; negative: gone. A line that breaks the rules is
 * answered here and skipped; with wait that is -EBADMSG (RFC 4954 section 4). */
int smtp_line(struct smtp *s, bool wait, size_t max, struct str *ret);
/* Whether EHLO was said, and STARTTLS where it must be; answers when not. */
bool smtp_in_order(struct smtp *s);
void smtp_txn_end(struct smtp *s); /* and forgets what XFORWARD said */
/* Forgets all that the client said: what STARTTLS and XCLIENT do. */
void smtp_forget(struct smtp *s);
bool smtp_auth_offered(struct smtp *s);
bool smtp_tls_offered(struct smtp *s);
/* Who may send to other domains: those that logged in, and relay-from. */
bool smtp_may_relay(struct smtp *s);

/* smtpd_extensions.c: what EHLO offers, in its order. */
enum smtp_extension {
	EXT_PIPELINING, EXT_SIZE, EXT_STARTTLS, EXT_AUTH, EXT_XCLIENT, EXT_XFORWARD,
	EXT_ENHANCEDSTATUSCODES, EXT_8BITMIME, EXT_BINARYMIME, EXT_DSN, EXT_CHUNKING, EXT_REQUIRETLS,
	EXT_DELIVERBY, EXT_FUTURERELEASE, EXT_MT_PRIORITY, EXT_LIMITS, EXT_ETRN, EXT_SMTPUTF8,
	EXT_MAX
};
/* Whether it is there for this client, on this listener, now. */
bool smtp_offers(struct smtp *s, enum smtp_extension x);
/* Appends a line "250-KEYWORD ..." for each that is offered. */
void smtp_extensions_put(struct smtp *s, struct buf *b);

/* smtpd_param.c: what stands behind the path, into the envelope of the transaction and
 * into *r (notify, orcpt); false: one was answered with an error. */
bool smtp_mail_params(struct smtp *s, struct str rest);
bool smtp_rcpt_params(struct smtp *s, struct envelope_rcpt *r, struct str rest);

/* smtpd_hello.c: the limits, TLS and the greeting of a new connection; false: it ends. welcome: the
 * plugins and the greeting alone. */
bool smtp_greet(struct smtp *s);
bool smtp_welcome(struct smtp *s);
/* Answers when the client has one session too many: false. */
bool smtp_within_limits(struct smtp *s, enum front_answer a);
void cmd_ehlo(struct smtp *s, struct str arg);
void cmd_helo(struct smtp *s, struct str arg);
void cmd_starttls(struct smtp *s, struct str arg);

/* smtpd_proxy.c */
void cmd_xclient(struct smtp *s, struct str arg);
void cmd_xforward(struct smtp *s, struct str arg);
void smtp_forward_free(struct smtp_forward **f);
/* Into the envelope and the transaction: whose the message is. */
void smtp_forward_note(const struct smtp *s, struct smtp_txn *t);

/* smtpd_filter.c: asks the plugins about this step; false: one objected, which was answered
 * (address: about whom, for the log). Yields. */
bool smtp_filter(struct smtp *s, enum filter_hook hook, struct str address);
/* The session as plugins are told of it, with text in a; NULL: nobody is to be asked. */
struct filter_session *smtp_filters(struct smtp *s, struct arena *a);
/* The transaction, the connection is over. */
void smtp_filter_txn_over(struct smtp *s);
void smtp_filter_over(struct smtp *s);

void cmd_mail(struct smtp *s, struct str arg);
void cmd_rcpt(struct smtp *s, struct str arg);
void cmd_data(struct smtp *s, struct str arg);
void cmd_bdat(struct smtp *s, struct str arg);
void cmd_auth(struct smtp *s, struct str arg);
void cmd_etrn(struct smtp *s, struct str arg);
bool smtp_etrn_offered(struct smtp *s);

#endif
