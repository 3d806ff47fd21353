/*
 * filterd as its callers see it: plugins (posthorn-plugin(7)) that are asked about
 * connections and messages. One process a plugin; an instance of the settings' block
 * `plugin` has a slot, and instance slot - 1 of filterd runs it.
 *
 * A caller has a struct filter_session for a connection and a struct filter_txn for a
 * transaction, and asks by filter_ask_all at each step. Without plugins nothing is sent, nothing
 * allocated. What a plugin fails to answer (a crash, its time, a circuit breaker that is
 * open) becomes what `on-error` of its block says.
 *
 * The circuit breaker, one a plugin in each calling process: FILTER_BREAK_AFTER failures in a
 * row open it, for FILTER_BREAK_MS, doubled up to FILTER_BREAK_MAX_MS while the call that tries
 * again fails too. While it is open the plugin is not asked.
 */
#ifndef LIB_CLIENT_FILTER_H
#define LIB_CLIENT_FILTER_H

#include "lib/conf/settings.h"
#include "lib/mail/envelope.h"
#include "lib/proc/chan.h"

enum {
	MSG_FILTER_ASK = MSG_TYPE(ROLE_FILTERD, 1),    /* a hook; answer: filter_answer */
	MSG_FILTER_OVER = MSG_TYPE(ROLE_FILTERD, 2),   /* a transaction or connection is over; empty answer */
	MSG_FILTER_EV_HOOKS = MSG_TYPE(ROLE_FILTERD, 32), /* event: which hooks the plugin has */
};

/* Numbers of the interface of plugins, which has them under other names. */
enum filter_hook {
	FILTER_CONNECT = 1, FILTER_HELO, FILTER_AUTH, FILTER_MAIL, FILTER_RCPT, FILTER_DATA,
	FILTER_MESSAGE, FILTER_END, FILTER_CLOSE, FILTER_HOOKS
};
enum filter_action {
	FILTER_CONTINUE, FILTER_ACCEPT, FILTER_REJECT, FILTER_TEMPFAIL, FILTER_DISCARD,
	FILTER_QUARANTINE, FILTER_ACTIONS
};
enum { FILTER_F_ESMTP = 1, FILTER_F_SMTPUTF8 = 2, FILTER_F_8BIT = 4, FILTER_F_REQUIRETLS = 8,
	FILTER_F_SUBMITTED = 16, FILTER_F_LOCAL = 32, FILTER_F_DRY_RUN = 64 };

enum {
	FILTER_NOTES_MAX = 64, FILTER_NOTE_MAX = 4096, /* bytes of a value */
	FILTER_EDITS_MAX = 4096,
	FILTER_TOTAL_MS = 60000,          /* all plugins for one message */
	FILTER_BREAK_AFTER = 5, FILTER_BREAK_MS = 5000, FILTER_BREAK_MAX_MS = 60000,
};

struct filter_note {
	struct str key, value;
};
struct filter_rcpt {
	struct str address, said;
};

/* One call of one hook. Strings may be empty where the hook comes too early for them. */
struct filter_ask {
	enum filter_hook hook;
	uint64_t session, txn;            /* numbers of the calling process; txn 0 before MAIL */
	uint64_t timeout_ms;
	uint32_t flags;                   /* FILTER_F_* */
	struct str client_ip, client_name, helo, user, listener, tls, session_id, trace;
	struct str sender, envid;
	uint64_t size;
	struct filter_rcpt *rcpts;
	size_t n_rcpts;
	struct filter_note *notes;
	size_t n_notes;
	struct str content;               /* inline up to WIRE_INLINE, or empty with a descriptor */
	unsigned outcome;                 /* END: the reply's code, 0: given up */
	uint64_t spool_id;                /* END */
};
void filter_ask_put(struct buf *b, const struct filter_ask *q);
/* Strings point into body, arrays are in a. 0, -EPROTO, -ENOMEM. */
int filter_ask_get(struct str body, struct arena *a, struct filter_ask *ret);

enum filter_op {
	FILTER_HEADER_ADD = 1, /* name, value before field `at` */
	FILTER_HEADER_SET, FILTER_HEADER_REMOVE, /* of field `at` */
	FILTER_RCPT_ADD, FILTER_RCPT_REMOVE, /* value; at */
	FILTER_SENDER_SET, FILTER_BODY_SET, /* value */
	FILTER_OPS
};
struct filter_edit {
	enum filter_op op;
	uint32_t at;
	struct str name, value;
};
struct filter_answer {
	enum filter_action action;
	unsigned smtp;                    /* 0: the usual one of the action */
	struct str enhanced, text;
	struct filter_edit *edits;        /* as the plugin made them, fields numbered as it saw them */
	size_t n_edits;
	struct filter_note *notes;        /* set by it, with their whole keys */
	size_t n_notes;
};
/* A body that is replaced and does not fit into a frame travels as the frame's descriptor. */
void filter_answer_put(struct buf *b, const struct filter_answer *r);
int filter_answer_get(struct str body, struct arena *a, struct filter_answer *ret);

/* ---- the caller's side ---- */

/* What plugins told each other. */
struct filter_notes {
	struct filter_note *v;
	size_t n;
};

/* A connection. Zeroed, then filled by the caller, whose the strings stay; they may change from
 * call to call. */
struct filter_session {
	struct str client_ip, client_name, helo, user, tls, id;
	struct str listener;              /* "smtp", "submission", "lmtp", "local" */
	uint32_t flags;
	const struct str *plugins;        /* of the listener (struct conf_listen) */
	size_t n_plugins;
	/* kept by this module */
	uint64_t number;
	uint64_t asked, passed;           /* slots that know of it; that want to hear no more */
	struct arena *arena;
	struct filter_notes notes;
};
struct filter_txn {
	const struct envelope *env;
	struct arena *arena;              /* the transaction's */
	/* kept by this module */
	uint64_t number;
	uint64_t asked, passed;
	uint64_t used_ms;
	struct filter_notes notes;
};

/* What the plugins together say; action FILTER_CONTINUE: go on. */
struct filter_verdict {
	enum filter_action action;
	unsigned smtp;
	const char *enhanced, *text;      /* in the arena, or static */
	struct str plugin;                /* whose it is */
};

/* "connect", "message": static. */
const char *filter_hook_name(enum filter_hook h);

/* At the start of a program that asks: listens to what the processes say of themselves. */
void filter_init(void);
/* Gives s and t (which may be NULL) their numbers: before filter_ask_one. */
void filter_begin(struct filter_session *s, struct filter_txn *t);

/* The plugins that s is to be asked about by, in order, into ret; their number. */
size_t filter_plugins(const struct settings *c, const struct filter_session *s,
    const struct conf_plugin *ret[static CONF_PLUGINS_MAX]);
/* Whether there is any, so that a caller can leave all else out. */
bool filter_wanted(const struct settings *c, const struct filter_session *s);

/* Asks one plugin, on a coroutine. *ret, in a, is its answer, or what on-error says; what it
 * noted is kept. fd: of the content, or -1. *ret_body (may be NULL): the descriptor that came
 * with the answer, the caller's, or -1. t may be NULL. */
void filter_ask_one(const struct conf_plugin *p, struct filter_session *s, struct filter_txn *t,
    struct filter_ask *q, int fd, struct arena *a, struct filter_answer *ret, int *ret_body);
/* Whether the plugin has to be asked about this step: it has the hook (as far as is known) and has not
 * said that it wants to hear no more. */
bool filter_asks(const struct conf_plugin *p, const struct filter_session *s,
    const struct filter_txn *t, enum filter_hook hook);
/* Fills a request from what the caller knows. */
void filter_ask_init(const struct filter_session *s, const struct filter_txn *t,
    enum filter_hook hook, struct arena *a, struct filter_ask *ret);
/* An answer as a verdict. */
struct filter_verdict filter_verdict_of(const struct conf_plugin *p, const struct filter_answer *r,
    struct arena *a);

/* Asks all of them, one after the other, until one objects. Any hook but MESSAGE, which is
 * lib/accept's. *ret lives in a. */
void filter_ask_all(const struct settings *c, struct filter_session *s, struct filter_txn *t,
    enum filter_hook hook, struct arena *a, struct filter_verdict *ret);

/* The transaction, or the connection, is over: tells who was asked. Never waits. */
void filter_txn_over(struct filter_session *s, struct filter_txn *t, unsigned outcome,
    uint64_t spool_id);
void filter_session_over(struct filter_session *s);

#endif
