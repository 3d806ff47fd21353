/*
 * maild as its callers see it: the store. Front ends attach with a ticket and
 * get an account handle bound to their channel; all mailbox calls name the
 * handle. queued delivers and smtpd asks for room without tickets.
 *
 * Ids: an account is a u64; a mailbox a u32 that is never reused within the
 * account; an Email a u64 (shown as 'M' + 16 hexadecimal digits: EMAILID, JMAP
 * id); a membership is (mailbox, UID). modseq is a u64, one counter an account.
 *
 * A front end keeps, per IMAP session, its own view of a mailbox: the packed
 * snapshot that store_select returns, brought up to date by store_sync whenever
 * an event says that the mailbox has a newer modseq. All calls name messages by
 * UID; sequence numbers exist only in the front end.
 *
 * Commit has three results (ARCHITECTURE, "Durability order"): 0 done; a wire_error failed;
 * -ESTALE lost (outcome unknown or the handle is void: attach and select anew).
 * The strings of a wire_error are in the call's arena; without one they last until
 * the next call on the handle.
 */
#ifndef LIB_CLIENT_STORE_H
#define LIB_CLIENT_STORE_H

#include "lib/mail/envelope.h"
#include "lib/proc/chan.h"

enum {
	MSG_STORE_DELIVER = MSG_TYPE(ROLE_MAILD, 1),  /* queued */
	MSG_STORE_ROOM = MSG_TYPE(ROLE_MAILD, 2),     /* smtpd, submitd */
	MSG_STORE_LOW_WATER = MSG_TYPE(ROLE_MAILD, 3), /* queued: delivered rows no longer needed */
	MSG_STORE_ATTACH = MSG_TYPE(ROLE_MAILD, 16),
	MSG_STORE_DETACH = MSG_TYPE(ROLE_MAILD, 17),
	MSG_STORE_LIST = MSG_TYPE(ROLE_MAILD, 18),
	MSG_STORE_CREATE = MSG_TYPE(ROLE_MAILD, 19),
	MSG_STORE_DELETE = MSG_TYPE(ROLE_MAILD, 20),
	MSG_STORE_RENAME = MSG_TYPE(ROLE_MAILD, 21),
	MSG_STORE_SUBSCRIBE = MSG_TYPE(ROLE_MAILD, 22),
	MSG_STORE_SELECT = MSG_TYPE(ROLE_MAILD, 23),
	MSG_STORE_SYNC = MSG_TYPE(ROLE_MAILD, 24),
	MSG_STORE_FACTS = MSG_TYPE(ROLE_MAILD, 25),
	MSG_STORE_CONTENT = MSG_TYPE(ROLE_MAILD, 26),
	MSG_STORE_FLAGS = MSG_TYPE(ROLE_MAILD, 27),
	MSG_STORE_COPY = MSG_TYPE(ROLE_MAILD, 28),    /* copy and move */
	MSG_STORE_EXPUNGE = MSG_TYPE(ROLE_MAILD, 29),
	MSG_STORE_APPEND = MSG_TYPE(ROLE_MAILD, 30),
	MSG_STORE_STATUS = MSG_TYPE(ROLE_MAILD, 31),
	MSG_STORE_QUOTA = MSG_TYPE(ROLE_MAILD, 32),
	MSG_STORE_RENEW = MSG_TYPE(ROLE_MAILD, 33),
	MSG_STORE_ADMIN = MSG_TYPE(ROLE_MAILD, 128),  /* CLI: store check, rebuild, stats */
	MSG_STORE_EV_CHANGED = MSG_TYPE(ROLE_MAILD, 192),
};

/* System flags and the first 24 keywords of a mailbox as one word. */
enum {
	F_SEEN = 1, F_ANSWERED = 2, F_FLAGGED = 4, F_DELETED = 8, F_DRAFT = 16,
	F_MORE = 128, /* has keywords of index 24 and above: see view_row_more */
	F_KEYWORD0 = 256, /* keyword i of the mailbox's list is F_KEYWORD0 << i, i < 24 */
};

/* A set of UIDs as ascending, disjoint ranges. */
struct uid_range {
	uint32_t lo, hi; /* inclusive */
};
struct uid_set {
	struct uid_range *v;
	size_t n;
};

struct store_account; /* an attached account in a front end */

/* Attaches with a sealed ticket. fn is called (loop's thread) for each change
 * of the account, and once with mailbox 0 when the handle became void (maild died,
 * account revoked): attach again or say goodbye; fn may be called while a call on
 * the handle waits, which then gives -ESTALE. A handle lives as long as its
 * ticket: store_renew with a fresh one (auth_renew) keeps it; -EACCES when the
 * ticket is not of this account. *ret_handles (may be NULL): how many handles the
 * account has now, this one included, over all front ends. */
int store_attach(struct str ticket, uint32_t slot,
    void (*fn)(void *arg, uint32_t mailbox, uint64_t modseq), void *arg,
    struct store_account **ret, unsigned *ret_handles, struct err *e);
void store_detach(struct store_account **a);
int store_renew(struct store_account *a, struct str ticket, struct wire_error *we);

struct store_mailbox {
	uint32_t id;
	struct str name;       /* UTF-8, levels separated by '/' ; "INBOX" */
	struct str role;       /* "inbox", "sent", "drafts", "trash", "junk", "archive", "" */
	bool subscribed;
	bool noselect;         /* exists only as a parent (or only as a subscription) */
	uint32_t uidvalidity, uidnext, first_recent;
	uint64_t modseq;       /* highest of the mailbox */
	uint32_t total, unseen, deleted; /* deleted: messages with \Deleted */
	uint64_t bytes;
};
/* All mailboxes (with their counters), in no order. */
int store_list(struct store_account *a, struct arena *ar, struct store_mailbox **ret, size_t *ret_n,
    struct wire_error *we);
int store_create(struct store_account *a, struct str name, struct str role, uint32_t *ret_id,
    struct wire_error *we);
int store_delete(struct store_account *a, uint32_t mailbox, struct wire_error *we);
/* Renames children too; renaming INBOX moves its messages (RFC 3501 section 6.3.5). */
int store_rename(struct store_account *a, uint32_t mailbox, struct str name, struct wire_error *we);
int store_subscribe(struct store_account *a, struct str name, bool on, struct wire_error *we);
int store_status(struct store_account *a, uint32_t mailbox, struct arena *ar,
    struct store_mailbox *ret, struct wire_error *we);
int store_quota(struct store_account *a, uint64_t *ret_used, uint64_t *ret_limit,
    struct wire_error *we);

/* A packed view: parallel arrays, ascending UIDs. */
struct store_view {
	uint32_t uidvalidity, uidnext, first_recent;
	uint64_t modseq;
	size_t n;
	uint32_t *uid;
	uint32_t *flags;
	uint64_t *mod;          /* modseq of each message */
	struct str *keywords;   /* the mailbox's list; index i */
	size_t n_keywords;
	struct view_more {      /* rows with rare keywords, ascending UID */
		uint32_t uid, keyword;
	} *more;
	size_t n_more;
	void *map;              /* private mapping of the memfd that maild handed over */
	size_t map_size;
};
/* claim_recent: a read-write SELECT takes \Recent from the messages it shows: the
 * answer's first_recent is the value before the claim. */
int store_select(struct store_account *a, uint32_t mailbox, bool claim_recent, struct arena *ar,
    struct store_view *ret, struct wire_error *we);
void store_view_done(struct store_view *v); /* unmaps */

/* What changed after `since`: new and changed rows (ascending UID), and UIDs
 * expunged. gone_unknown: `since` is older than the tombstones: select anew. */
struct store_delta {
	uint32_t uidnext, first_recent;
	uint64_t modseq;
	size_t n;
	uint32_t *uid, *flags;
	uint64_t *mod;
	struct str *keywords;   /* the whole list, when it grew; else NULL */
	size_t n_keywords;
	struct view_more *more;
	size_t n_more;
	struct uid_set gone;
	bool gone_unknown;
};
int store_sync(struct store_account *a, uint32_t mailbox, uint64_t since, bool claim_recent,
    struct arena *ar, struct store_delta *ret, struct wire_error *we);

/* Stored facts of messages, in UID order, as many as fit a frame: ask again from
 * *ret_next (0: done). `want` bits choose what each row carries. */
enum {
	FACT_DATES = 1,     /* internal date, size, Email id, thread id, savedate */
	FACT_ENVELOPE = 2,  /* lib/mail/facts.h: the envelope block */
	FACT_STRUCTURE = 4, /* the structure block */
	FACT_PREVIEW = 8,
};
struct store_fact {
	uint32_t uid;
	uint64_t size;
	uint64_t email, thread;
	int64_t internal_date;  /* seconds since 1970, UTC */
	int32_t internal_zone;  /* minutes east of UTC */
	int64_t save_date;
	struct str envelope, structure, preview;
};
int store_facts(struct store_account *a, uint32_t mailbox, const struct uid_set *set, uint32_t from,
    unsigned want, struct arena *ar, struct store_fact **ret, size_t *ret_n, uint32_t *ret_next,
    struct wire_error *we);

/* The message's bytes: a read-only descriptor (the caller's), its size. What a
 * file begins with that the client must not see: nothing (Return-Path is part
 * of the message). -ENOENT: expunged. */
int store_content(struct store_account *a, uint32_t mailbox, uint32_t uid, int *ret_fd,
    uint64_t *ret_size, struct wire_error *we);

enum store_flag_op { FLAGS_SET, FLAGS_ADD, FLAGS_REMOVE };
/* Changes flags and keywords. unchanged_since: UINT64_MAX or CONDSTORE's.
 * *ret_modified: UIDs refused by unchanged_since. *ret_modseq: the account's
 * counter after. The new rows come by store_sync. -ENOBUFS-like limits come as
 * wire_error. */
int store_flags(struct store_account *a, uint32_t mailbox, const struct uid_set *set,
    enum store_flag_op op, uint32_t sysflags, const struct str *keywords, size_t n_keywords,
    uint64_t unchanged_since, struct arena *ar, struct uid_set *ret_modified, uint64_t *ret_modseq,
    struct wire_error *we);

/* Copies (or moves) to another mailbox of the account; all or nothing. The
 * answer pairs old UIDs with new ones, both ascending in source order. */
struct store_copied {
	uint32_t uidvalidity;
	uint32_t *from, *to;
	size_t n;
};
int store_copy(struct store_account *a, uint32_t mailbox, const struct uid_set *set, uint32_t dest,
    bool move, struct arena *ar, struct store_copied *ret, struct wire_error *we);

/* Removes those of set that have \Deleted (set NULL: every one that has it). */
int store_expunge(struct store_account *a, uint32_t mailbox, const struct uid_set *set,
    struct arena *ar, struct uid_set *ret_gone, uint64_t *ret_modseq, struct wire_error *we);

struct store_append {
	uint32_t mailbox;
	uint32_t sysflags;
	const struct str *keywords;
	size_t n_keywords;
	int64_t internal_date;
	int32_t internal_zone;
	int fd;                 /* the content: a sealed memfd */
	uint64_t size;
	struct str facts;       /* from lib/mail/facts.h: made by the front end */
};
int store_append(struct store_account *a, const struct store_append *ap, uint32_t *ret_uidvalidity,
    uint32_t *ret_uid, uint64_t *ret_email, struct wire_error *we);

/* ---- queued and smtpd ---- */

/* Whether an account has room for size more bytes. 0; a wire_error 452/552. */
int store_room(uint64_t account, uint32_t volume, uint32_t slot, uint64_t quota, uint64_t size,
    struct wire_error *we);

/* One deliver frame: the recipients of one message that live with one maild and
 * volume. The content goes inline up to WIRE_INLINE, else as a descriptor (of
 * the large file, or a memfd). Results in the same order, each after the group
 * sync that covers it. */
struct deliver_rcpt {
	uint64_t account;
	uint64_t quota;
	struct str address, detail;
	bool maybe_done;       /* an earlier try may have delivered: go through the actor and look */
};
struct deliver_request {
	uint64_t spool_id;     /* with the account: the delivery id */
	uint64_t arrived_us;
	struct str sender;
	struct str trace;
	uint32_t volume;
	struct deliver_rcpt *rcpts;
	size_t n_rcpts;
	uint64_t size;
	struct str content;    /* inline, or empty with a descriptor */
};
enum deliver_outcome { DELIVER_DONE = 1, DELIVER_TEMPFAIL, DELIVER_REJECT, DELIVER_NOT_HERE };
struct deliver_result {
	enum deliver_outcome outcome;
	unsigned smtp;
	struct str enhanced, text;
	uint64_t email;        /* 0 by the fast way: not known yet */
};
/* Strings of what the getters return point into body; arrays are in the arena. */
void deliver_request_put(struct buf *b, const struct deliver_request *r);
int deliver_request_get(struct str body, struct arena *a, struct deliver_request *ret);
void deliver_results_put(struct buf *b, const struct deliver_result *r, size_t n);
int deliver_results_get(struct str body, struct arena *a, struct deliver_result **ret, size_t *ret_n);

/* MSG_STORE_LOW_WATER: a `delivered` row whose spool id is below mark and not in
 * open (ascending) is needed no longer: its result is durable in the spool. */
struct low_water {
	uint64_t mark;
	uint64_t *open;
	size_t n;
};
void low_water_put(struct buf *b, const struct low_water *w);
int low_water_get(struct str body, struct arena *a, struct low_water *ret);

#endif
