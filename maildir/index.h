/*
 * The index of one account: mailboxes, UIDs, flags, Emails, threads, change
 * counters. The only door to index.db; SQLite is seen nowhere else.
 *
 * An account is a directory: index.db, index.snap (the last snapshot), tmp/, and a
 * Maildir++ tree (new/ cur/ of INBOX, .Sent/{tmp,new,cur} ...), each folder with
 * a file `posthorn-folder` (posthorn-store(5)).
 *
 * One struct index per account and process, used by one thread at a time. The
 * caller (an account's actor) owns the order of things:
 *
 *	index_begin                        in memory and in SQLite's transaction
 *	index_add / index_flags / ...      any number
 *	index_commit -> number             committed, survives kill -9, not a power cut
 *	... volume sync that began after the commit ...
 *	index_settle(number)               now the world may see it: settle gives the
 *	                                   taken-in files their names in cur/, removes
 *	                                   expunged files. Then answer and announce.
 *
 * Reads (list, view, sync, facts, path) see what is committed; they may run
 * between commit and settle of another request's changes, so a caller that
 * answers them before the settle must not show UIDs at or above
 * index_shown_uidnext(): view, sync, facts, list and status keep to that by themselves.
 *
 * Results: 0; a negative errno with e filled. -ESTALE means lost: whether the
 * commit happened is unknown, or the index was abandoned; every further call
 * gives -ESTALE, close it and open it anew. -EUCLEAN: the database is damaged
 * (index_rebuild). Other errors inside a transaction leave it usable only for
 * index_rollback. -ENOENT: no such mailbox or message. -EEXIST: such a mailbox
 * exists. -EDQUOT: over the quota given. -E2BIG: a limit of this file.
 */
#ifndef MAILDIR_INDEX_H
#define MAILDIR_INDEX_H

#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/client/store.h"
#include "maildir/name.h"

struct index;

enum {
	INDEX_MAX_MAILBOXES = 10000,
	INDEX_MAX_NAME = 1000,          /* bytes of a mailbox name */
	INDEX_MAX_LEVELS = 50,
	INDEX_MAX_KEYWORDS = 4096,      /* of a mailbox */
	INDEX_MAX_KEYWORD = 255,        /* bytes of one */
	INDEX_MAX_MEMBERSHIPS = 1000,   /* of an Email */
	INDEX_MAX_THREAD = 100,
	INDEX_MAX_REFERENCES = 50,      /* of a message, that count for its thread */
	INDEX_UID_STEP = 1000,          /* UIDNEXT reservation */
	INDEX_UID_GAP = 10000,          /* UIDNEXT's jump after an unclean stop */
	INDEX_MODSEQ_GAP = 1000000,
	INDEX_MODSEQ_ROWS = 512,        /* rows that share a modseq in a bulk change */
	INDEX_TOMB_DAYS = 30,
};

/* ---- process-wide ---- */

/* Once per process, before threads: SQLite's settings. */
int index_init(struct err *e);

/* ---- opening ---- */

/* What recovery, check and rebuild found, one call each. path is relative to the
 * account's directory or empty. */
enum index_finding {
	FOUND_ROW_WITHOUT_FILE = 1, /* dropped by recovery */
	FOUND_SHORT_FILE,           /* the file's length is not its name's */
	FOUND_FILE_WITHOUT_ROW,     /* recovery: taken in again under a new UID */
	FOUND_TORN_NEW,             /* a file in new/ of the wrong length: removed */
	FOUND_LINK_OF_NOTHING,      /* link of an unfinished copy: removed */
	FOUND_COUNTS,               /* kept counts differ from the rows */
	FOUND_CHECKSUM,
	FOUND_FOLDER,               /* folder directory missing or unknown */
	FOUND_DAMAGE,               /* SQLite's integrity check or an impossible row */
	FOUND_FLAGS_LOST,           /* rebuild: the snapshot knows no flags for it */
};
typedef void index_report(void *arg, enum index_finding what, const char *mailbox, uint32_t uid,
    const char *path, const char *text);

struct index_options {
	const char *dir;       /* the account's directory; made if missing and create */
	bool create;
	uint64_t run;          /* id of the volume's run: the same after a clean stop, fresh
	                        * after an unclean one; an account last opened in another run
	                        * is recovered. 0: never recover (tests) */
	uint64_t uidvalidity;  /* seed for new folders; 0: the clock */
	bool recover;          /* in any case: the account was lost. All that stands in the
	                        * directory must be on stable storage */
	index_report *report;  /* may be NULL */
	void *report_arg;
};

/* Opens, upgrades the schema, recovers if need be. *ret_recovered (may be NULL)
 * says that it did: then index_unparsed() may have work, and nothing of this
 * recovery is durable before a commit's settle. */
int index_open(const struct index_options *o, struct index **ret, bool *ret_recovered,
    struct err *e);
/* Who gets the findings from now on. */
void index_set_report(struct index *x, index_report *fn, void *arg);
/* Checkpoints and closes; an open transaction is rolled back. */
void index_close(struct index **x);
/* The volume failed or the lease is gone: every later call gives -ESTALE. */
void index_abandon(struct index *x);
/* Whether it is lost. */
bool index_lost(const struct index *x);
/* Returns memory (page cache) of an idle account; checkpoints a long WAL. */
void index_idle(struct index *x);

struct index_stat {
	uint64_t epoch;        /* new after a rebuild or restore */
	uint64_t modseq;       /* the account's counter */
	uint64_t bytes;        /* quota usage: every membership counts in full */
	uint64_t messages;     /* memberships */
	uint64_t changes_since_snapshot, snapshot_time;
	uint64_t unlinks;      /* waiting */
};
void index_stat(const struct index *x, struct index_stat *ret);

/* ---- transactions ---- */

int index_begin(struct index *x, struct err *e);
/* Undoes rows and removes the files and links that this transaction made. */
void index_rollback(struct index *x);
/* *ret_no: the number for index_settle. On failure rolled back, or lost. */
int index_commit(struct index *x, uint64_t *ret_no, struct err *e);
/* Everything up to commit `no` is on stable storage. Idempotent. */
int index_settle(struct index *x, uint64_t no, struct err *e);
/* The latest commit, and the latest settled one. */
uint64_t index_commit_no(const struct index *x);
uint64_t index_settled_no(const struct index *x);

/* ---- mailboxes ---- */

/* Strings of store_mailbox live until the next transaction (or in ar if given). */
int index_list(struct index *x, struct arena *ar, struct store_mailbox **ret, size_t *ret_n,
    struct err *e);
int index_status(struct index *x, uint32_t mailbox, struct arena *ar, struct store_mailbox *ret,
    struct err *e);
/* Counts as JMAP has them: without messages that have \Deleted. */
struct index_jmap_counts {
	uint32_t total, unread, threads, unread_threads;
};
int index_jmap_counts(struct index *x, uint32_t mailbox, struct index_jmap_counts *ret,
    struct err *e);
/* 0 when there is none. Names compare bytewise but for INBOX (ASCII case). */
uint32_t index_find(const struct index *x, struct str name);
uint32_t index_find_role(const struct index *x, struct str role);

/* In a transaction. Parents that are missing are made. role: "" or a role that
 * no other mailbox has. */
int index_create(struct index *x, struct str name, struct str role, uint32_t *ret_id,
    struct err *e);
/* With its messages. INBOX: -EPERM. A mailbox with children stays as noselect
 * parent; -EBUSY when it is one already. */
int index_delete(struct index *x, uint32_t mailbox, struct err *e);
/* Children go with it. INBOX: its messages move to the new mailbox. */
int index_rename(struct index *x, uint32_t mailbox, struct str name, struct err *e);
int index_subscribe(struct index *x, struct str name, bool on, struct err *e);

/* ---- messages in (in a transaction) ---- */

struct index_new {
	uint32_t mailbox;
	uint32_t sysflags;             /* F_SEEN ... F_DRAFT */
	const struct str *keywords;
	size_t n_keywords;
	uint64_t size;                 /* of the file */
	int64_t internal_date;
	int32_t internal_zone;
	struct str base;               /* name_base(); empty: made from the Email id (append) */
	const uint32_t *crc;           /* then: of the content, for the name; NULL: not known */
	uint64_t spool_id;             /* delivery id with the account; 0: not a delivery */
	bool in_new;                   /* the file stands in the folder's new/ as `base`: settle
	                                * renames it. Else the caller puts it at *ret_path
	                                * before index_commit */
	struct str facts;              /* lib/mail/facts.h; empty: not parsed yet (index_unparsed) */
	bool opaque;                   /* mimed gave up on it: never ask again */
	uint64_t quota;                /* 0: none. -EDQUOT when it would be passed */
};
struct index_added {
	uint32_t uid, uidvalidity;
	uint64_t email, thread, modseq;
	struct str path;               /* in cur/, relative to the account's directory; in ar */
};
/* 0 added; 1 this account has taken in spool_id before (ret: uid and email of
 * then, uid 0 when gone since; with in_new, settle finishes the rename or
 * removes the double). */
int index_add(struct index *x, const struct index_new *n, struct arena *ar,
    struct index_added *ret, struct err *e);
/* Whether spool_id was taken in: 1, 0, negative. */
int index_delivered(struct index *x, uint64_t spool_id, uint64_t *ret_email, struct err *e);
/* queued's low-water mark of local deliveries and the open ones below it: forgets
 * the other rows. In a transaction. */
int index_prune_delivered(struct index *x, uint64_t low, const uint64_t *open, size_t n_open,
    struct err *e);

/* Emails without facts, ascending ids above `after`: path of one of its files. */
struct index_unparsed {
	uint64_t email, size;
	struct str path;
};
int index_unparsed(struct index *x, uint64_t after, size_t limit, struct arena *ar,
    struct index_unparsed **ret, size_t *ret_n, struct err *e);
/* In a transaction. facts empty: opaque. -ENOENT: it has facts, or is gone. */
int index_set_facts(struct index *x, uint64_t email, struct str facts, struct err *e);

/* ---- messages: changes (in a transaction) ---- */

int index_flags(struct index *x, uint32_t mailbox, const struct uid_set *set,
    enum store_flag_op op, uint32_t sysflags, const struct str *keywords, size_t n_keywords,
    uint64_t unchanged_since, struct arena *ar, struct uid_set *ret_modified,
    uint64_t *ret_modseq, struct err *e);
/* Links the files (link(2); a copy where the file has too many links). UIDs that
 * are not there are passed over. */
int index_copy(struct index *x, uint32_t mailbox, const struct uid_set *set, uint32_t dest,
    bool move, uint64_t quota, struct arena *ar, struct store_copied *ret, struct err *e);
int index_expunge(struct index *x, uint32_t mailbox, const struct uid_set *set, struct arena *ar,
    struct uid_set *ret_gone, uint64_t *ret_modseq, struct err *e);

/* ---- messages: reading ---- */

/* A sealed memfd as lib/client/view.h says; the caller's. claim_recent works on
 * counters in memory and is written with the next commit. */
int index_view(struct index *x, uint32_t mailbox, bool claim_recent, int *ret_fd,
    size_t *ret_size, struct err *e);
int index_sync(struct index *x, uint32_t mailbox, uint64_t since, bool claim_recent,
    struct arena *ar, struct store_delta *ret, struct err *e);
/* Calls fn for each message of set with UID >= from, ascending; strings are valid
 * during the call. fn returns 0 to go on, 1 when the row did not fit (*ret_next
 * becomes its UID), negative to stop. *ret_next 0: all done. */
int index_facts(struct index *x, uint32_t mailbox, const struct uid_set *set, uint32_t from,
    unsigned want, int (*fn)(void *arg, const struct store_fact *f), void *arg,
    uint32_t *ret_next, struct err *e);
/* The file of a message, relative to the account's directory, and its size. */
int index_path(struct index *x, uint32_t mailbox, uint32_t uid, struct arena *ar,
    struct str *ret_path, uint64_t *ret_size, struct err *e);
/* The directory of a mailbox, relative ("" for INBOX, ".Sent"). */
int index_folder(struct index *x, uint32_t mailbox, struct arena *ar, struct str *ret_dir,
    struct err *e);

/* ---- upkeep ---- */

/* Tombstones by age, the view's chunks. In a transaction; at most `limit` rows. 1:
 * more to do. */
int index_upkeep(struct index *x, size_t limit, struct err *e);
/* Whether a snapshot is due (N changes, a day since the last one). */
bool index_snapshot_due(const struct index *x);
/* Copies some pages; 1 more to do, 0 done (index.snap is durable and in place).
 * Outside a transaction. */
int index_snapshot_step(struct index *x, unsigned pages, struct err *e);

/* Compares the index with the tree; every difference is one report. Returns how
 * many, or negative. deep: SQLite's own check too. */
int index_check(struct index *x, bool deep, struct err *e);
/* Makes index.db anew from names and the snapshot. The account must be closed. A
 * new epoch; Email ids and UIDs stay; Emails that the snapshot does not know are
 * unparsed. The old database stays as index.db.bad. Durable on return. */
int index_rebuild(const struct index_options *o, struct err *e);

#endif
