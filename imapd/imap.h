/*
 * An IMAP session as its commands see it. Commands (cmd_*.c) are rows of the
 * table in commands.c; each parses its arguments, does its work, writes untagged
 * data with the out_ calls, and returns how the tagged answer reads. The loop in
 * session.c writes what changed in the selected mailbox and then the tagged
 * line, so that order holds everywhere.
 */
#ifndef IMAPD_IMAP_H
#define IMAPD_IMAP_H

#include "imapd/cmdbuf.h"
#include "imapd/parse.h"
#include "lib/base/list.h"
#include "lib/client/store.h"
#include "lib/conf/settings.h"
#include "lib/io/session.h"
#include "lib/proc/front.h"
#include "lib/proc/metrics.h"

struct append;
struct tree;
struct view;

enum { IMAP_COMMAND_MAX = 1 << 20 }; /* bytes of a command after log-in, without an APPEND's message */

enum { IN_NONAUTH = 1, IN_AUTH = 2, IN_SELECTED = 4, IN_ANY = 7 };

/* The answer of a command. */
enum result { IMAP_OK, IMAP_NO, IMAP_BAD, IMAP_BYE /* no tagged line: it is out already, comes later, or the connection ends */ };

enum {
	CMD_NO_EXPUNGE = 1,  /* no EXPUNGE while it runs (RFC 3501 section 7.4.1) */
	CMD_SYNC = 2,        /* asks the store for news even when none was announced */
	CMD_SECRET = 4,      /* arguments never reach a log */
	CMD_UID = 8,         /* has a UID form too */
	CMD_ONLY_UID = 16,   /* a row for the UID form alone */
};

struct imap;

struct command {
	const char *name;
	unsigned states, flags;
	enum result (*run)(struct imap *c, struct parse *p);
	struct metric *count[3], *seconds; /* by result; made on first use */
};

/* The row of a command, or NULL. uid: the form behind "UID". */
struct command *command_find(struct str name, bool uid);

/* What a listener lets its sessions do; kept as long as a session needs it. */
struct imap_listener {
	const struct conf_listen *conf;
	struct tls_server *tls;
	bool implicit_tls, starttls, tls_required, plaintext_auth;
	struct imap_listener *next; /* of all that ever were */
};

struct login_answer;

struct imap {
	struct session *s;
	struct stream *st;
	struct imap_listener on;
	struct front front;

	unsigned state;            /* one of IN_* */
	bool bye;                  /* said goodbye: close */
	bool tls;
	bool condstore;            /* a CONDSTORE enabling command was given */
	unsigned bads;             /* commands refused as BAD, in a row */
	unsigned failures;         /* log-ins that were refused */
	uint64_t opened_ms, last_input_ms;
	bool recheck;              /* authd says that the account changed */
	struct list link;          /* in the process's list of sessions */

	/* after log-in */
	struct store_account *acct;
	bool acct_void;            /* the handle is void: attach anew */
	uint64_t account;
	uint32_t slot;
	char *user;
	struct buf ticket;
	uint64_t ticket_expires_ms;

	struct view *view;         /* the selected mailbox */

	char *idle_tag;            /* IDLE is running */
	struct append *append;     /* APPEND's message is on its way in */

	/* A command that is refused before all of it has come: the answer waits for
	 * its end, since the client sends the rest unasked (RFC 7888 section 4). */
	uint64_t skip;             /* bytes of its literal still to come */
	char *late_tag;
	enum result late;
	const char *late_text;

	/* while a command runs */
	struct arena *ar;
	struct cmdbuf cmd;
	struct str tag;
	struct command *def;
	bool uid;                  /* the UID form */
	struct str text;           /* of the tagged answer */
	struct buf out;
	uint64_t breath_us;
};

extern const struct session_kind imap_session_kind;

/* ---- output ---- */

/* Gathered in memory without ever waiting, so that positions in the selected
 * mailbox hold; loops hand it over by out_flush whenever out_full says so. Only
 * out_flush may yield (back-pressure). */
void out_mem(struct imap *c, const void *p, size_t n);
void out_flush(struct imap *c);

static inline bool
out_full(const struct imap *c)
{
	return c->out.n >= 24 << 10;
}

static inline void
out_str(struct imap *c, struct str s)
{
	out_mem(c, s.p, s.n);
}

static inline void
out_c(struct imap *c, const char *s)
{
	out_mem(c, s, strlen(s));
}

void out_u64(struct imap *c, uint64_t v);
/* A string as quoted or literal, whichever can hold it; NIL for p NULL. */
void out_nstring(struct imap *c, struct str s);
/* The same; an empty string for p NULL; an atom where it may be one. */
void out_astring(struct imap *c, struct str s);
void out_mailbox(struct imap *c, struct str utf8); /* as modified UTF-7 */
__attribute__((format(printf, 2, 3)))
void out_printf(struct imap *c, const char *fmt, ...);
/* "4:7,9" */
void out_uid_set(struct imap *c, const struct uid_range *v, size_t n);

/* ---- answers ---- */

enum result ok(struct imap *c, const char *text);
/* text may begin with a response code: "[TRYCREATE] No such mailbox". */
enum result no(struct imap *c, const char *text);
enum result bad(struct imap *c, const char *text);
__attribute__((format(printf, 2, 3)))
enum result bye(struct imap *c, const char *fmt, ...);
/* The parser's reason. */
enum result bad_args(struct imap *c, const struct parse *p);
/* What a store call said: RFC 5530 code and text. -ESTALE marks the handle void. */
enum result no_store(struct imap *c, int code, const struct wire_error *we);

/* ---- shared by commands ---- */

/* Lets other sessions run when this one has computed for a while. */
void breathe(struct imap *c);
void capabilities(struct imap *c, struct buf *b);
/* authd's event: its sessions ask whether they may go on, at once; account 0: all
 * sessions do, when they wake the next time. */
void account_changed(uint64_t account);
/* After a good password: takes the account. */
enum result log_in(struct imap *c, struct str user, struct str password);
/* authd's answer becomes the session's account, or a NO. user: for the log. */
enum result logged_in(struct imap *c, struct str user, const struct login_answer *a);
bool login_allowed(const struct imap *c);
/* A fresh ticket when the old one ends soon or authd has news. False: revoked. */
bool account_renew(struct imap *c);
/* Whether the store must be had again first. */
static inline bool
store_lost(const struct imap *c)
{
	return c->user && (!c->acct || c->acct_void);
}
/* Attaches again when the handle is void; IMAP_OK or an answer. */
enum result store_ready(struct imap *c);
/* Finds a mailbox by name: its row in *ret (strings in the command's arena). */
int mailbox_find(struct imap *c, struct str name, struct store_mailbox *ret,
    struct wire_error *we);
/* All names; IMAP_OK or an answer. */
enum result mailbox_tree(struct imap *c, struct tree *ret);
/* cmd_append.c. Whether the literal just announced is the message of an APPEND; IMAP_OK:
 * its bytes go to append_take, which takes from the front of *in, false: it has all. */
bool append_announced(const struct cmdbuf *cmd);
enum result append_begin(struct imap *c, struct parse *p, uint64_t size);
bool append_take(struct imap *c, struct str *in);
void append_free(struct append **a);
/* Sends "+ text CRLF" and flushes. 0 or negative. */
int continuation(struct imap *c, const char *text);
/* Reads one line into the arena, without its CRLF; at most max bytes. */
int read_line(struct imap *c, size_t max, struct str *ret);
/* The first CONDSTORE enabling command shows HIGHESTMODSEQ (RFC 7162 section 3.1). */
void enable_condstore(struct imap *c);
void close_mailbox(struct imap *c);

/* ---- process-wide ---- */

extern const struct settings *imap_settings; /* the current ones */

#endif
