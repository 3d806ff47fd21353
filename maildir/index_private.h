/*
 * Innards that the index's own files share. index_db.c owns the connection, the
 * transaction and the mailboxes in memory; the others do one thing each through it.
 *
 * In memory: the account's counters (x->acc) and every mailbox row (struct box). They
 * are ahead of the database inside a transaction and equal to it after a commit; a
 * rollback reads them again.
 */
#ifndef MAILDIR_INDEX_PRIVATE_H
#define MAILDIR_INDEX_PRIVATE_H

#include <sqlite3.h>

#include "lib/base/map.h"
#include "lib/mail/facts.h"
#include "maildir/index.h"

#define INDEX_APPLICATION 0x50486978 /* "PHix" */
#define INDEX_SCHEMA 1

/* member.flags: bit 5 is the index's own and never leaves it. */
enum {
	F_LINKED = 32, /* the Email has, or had, another membership */
	F_SYSTEM = F_SEEN | F_ANSWERED | F_FLAGGED | F_DELETED | F_DRAFT,
};
#define F_OWN ((uint32_t)F_LINKED)
#define F_PUBLIC (~F_OWN)

/* Every statement, prepared at first use; the SQL stands in index_sql.c. */
enum query {
	Q_BEGIN, Q_COMMIT, Q_ROLLBACK, Q_ACCOUNT_GET, Q_ACCOUNT_PUT, Q_BOX_ALL,
	Q_BOX_PUT, Q_BOX_DEL, Q_BOX_GONE, Q_SUB_ALL, Q_SUB_PUT, Q_SUB_DEL, Q_KEYWORD_ALL,
	Q_KEYWORD_PUT, Q_KEYWORD_DEL, Q_MEMBER_PUT, Q_MEMBER_GET, Q_MEMBER_RANGE,
	Q_MEMBER_DELETED, Q_MEMBER_DEL, Q_MEMBER_FLAGS, Q_MEMBER_SET, Q_MEMBER_LINK,
	Q_MEMBER_SINCE, Q_MEMBER_FILES, Q_MORE_PUT, Q_MORE_DEL, Q_MORE_DEL_ONE, Q_MORE_RANGE,
	Q_EMAIL_PUT, Q_EMAIL_GET, Q_EMAIL_PLACES, Q_EMAIL_THREAD, Q_MEMBER_THREAD, Q_EMAIL_DEL,
	Q_FACTS_PUT, Q_FACTS_DEL, Q_UNPARSED_PUT, Q_UNPARSED_DEL, Q_UNPARSED_LIST, Q_READ_DATES,
	Q_READ_FACTS, Q_READ_ALL, Q_DELIVERED_GET, Q_DELIVERED_PUT, Q_DELIVERED_LIST,
	Q_DELIVERED_DEL, Q_THREAD_GET, Q_THREAD_RANGE, Q_THREAD_PUT, Q_THREAD_SET, Q_THREAD_DEL, Q_KEY_GET,
	Q_KEY_PUT, Q_KEY_SWEEP, Q_KEY_NEXT, Q_GONE_PUT, Q_GONE_SINCE, Q_GONE_OLD, Q_GONE_DEL,
	Q_UNLINK_PUT, Q_UNLINK_LIST, Q_UNLINK_DEL, Q_UNLINK_MAX, Q_CHUNK_ALL, Q_CHUNK_PUT,
	Q_CHUNK_DEL,
	Q_COUNT
};
extern const char index_schema[];
extern const char *const index_sql[Q_COUNT];

struct account_row {
	uint64_t epoch, modseq, next_email, next_thread, run;
	uint64_t delivered_low, snap_time, changes; /* changes: since the snapshot */
	uint64_t salt[2];
	uint32_t next_mailbox;
	uint32_t next_uidvalidity; /* above every one that was given; the clock may be above it */
};

/* A mailbox as its row has it, and what is known beside. */
struct box {
	uint32_t id;
	char *name, *role, *dir; /* malloc */
	bool subscribed, noselect;
	uint32_t uidvalidity, uidnext, first_recent, reserved;
	uint64_t modseq, created, keyword_modseq, tomb_floor;
	uint32_t total, unseen, deleted;
	uint64_t bytes;
	struct index_jmap_counts jmap;
	uint64_t checksum;
	uint64_t view_stamp, view_lag;

	bool dirty, dead;     /* dead: deleted in this transaction */
	bool dir_moved;       /* dir is newer than the row */
	bool rename;          /* posthorn-folder is to be written: name, role or the like changed */
	uint64_t renamed_no;  /* the commit after which the directory follows the name */
	bool seen_in_load;
	bool keywords_loaded;
	char **keywords;
	size_t n_keywords, cap_keywords;
	/* What a reader may see: UIDs below shown. hold: lowest modseq of an arrival or
	 * removal that is committed but not settled, 0 none; txn_hold: of this transaction. */
	uint32_t shown;
	uint64_t hold, txn_hold;
};

/* Arrivals and removals of a commit in one mailbox, until it is settled. */
struct hold {
	uint64_t no, modseq;
	uint32_t mailbox, uidnext;
};

/* A file to be named after its commit is durable. */
struct settle_name {
	uint64_t no;
	uint32_t mailbox, uid;
	uint64_t email;
	char *file; /* its name in new/; malloc. uid 0: a double, to be removed */
};

/* Changes of a thread in this transaction, written at its end. */
struct thread_delta {
	uint64_t thread;
	int n;             /* Emails more or less */
	bool fresh;        /* no row yet */
	struct thread_box {
		uint32_t mailbox;
		int vis, unread;
	} *boxes;          /* in the transaction's arena */
	uint32_t n_boxes, cap_boxes;
};

struct index {
	sqlite3 *db;
	int dirfd;
	char *dir;
	sqlite3_stmt *q[Q_COUNT];
	index_report *report;
	void *report_arg;
	bool lost, in_txn, trouble; /* trouble: an error inside this transaction */
	bool after_crash;            /* recovery from one: files may be torn */
	struct account_row acc;
	struct box **boxes;
	size_t n_boxes, cap_boxes;
	struct map by_id;
	uint64_t uidvalidity;        /* seed, 0: the clock */
	size_t n_found;

	uint64_t commit_no, settled_no;
	struct settle_name *names;
	size_t n_names, cap_names;
	size_t names_at_begin;
	struct hold *holds;
	size_t n_holds, cap_holds;
	struct buf made;             /* paths made by this transaction, each ended by NUL */
	uint64_t unlinked;           /* pending_unlink ids up to here are unlinked, ... */
	uint64_t unlinked_no;        /* ... in the settle when this was the last commit */
	uint64_t clear_to;           /* ... and these may be cleared */
	uint64_t unlink_ids;         /* highest pending_unlink id given */
	struct unlink_mark { uint64_t no, id; } *marks; /* per commit: ids it made */
	size_t n_marks, cap_marks;

	struct map threads;          /* thread -> struct thread_delta */
	struct arena *txn;           /* memory of the transaction */
	sqlite3_backup *backup;      /* a snapshot in the making */
	sqlite3 *backup_db;
	int64_t key_sweep;           /* where the sweep of thread keys stands */
};

/* ---- index_db.c ---- */

#define DB_I(v) ((sqlite3_int64)(v))

/* The statement, reset and with its values bound: one letter each: i
 * sqlite3_int64 (write DB_I()), t struct str as text, b struct str as blob (valid
 * until the statement is done). NULL: failed, e is filled. */
sqlite3_stmt *db_q(struct index *x, enum query q, struct err *e, const char *fmt, ...);
/* 1 a row; 0 no more (reset); negative. */
int db_step(struct index *x, sqlite3_stmt *s, struct err *e);
/* db_q and all its steps. */
int db_run(struct index *x, enum query q, struct err *e, const char *fmt, ...);
int db_exec(sqlite3 *db, const char *sql, struct err *e);
/* The pragmas of every connection of the index. */
int db_setup(sqlite3 *db, struct err *e);
int db_schema(sqlite3 *db, struct err *e);
/* What an SQLite result code means as errno value. */
int db_errno(int rc);
int db_fail(struct index *x, const char *what, struct err *e);
struct str db_text(sqlite3_stmt *s, int col);
static inline uint64_t
db_u64(sqlite3_stmt *s, int col)
{
	return (uint64_t)sqlite3_column_int64(s, col);
}
static inline uint32_t
db_u32(sqlite3_stmt *s, int col)
{
	return (uint32_t)sqlite3_column_int64(s, col);
}

/* -ESTALE when lost, -EINVAL outside (inside) a transaction. */
int index_need_txn(struct index *x, struct err *e);
int index_need_read(struct index *x, struct err *e);
/* Gives the next modseq. */
uint64_t index_next_modseq(struct index *x);
void index_found(struct index *x, enum index_finding what, const struct box *b, uint32_t uid,
    const char *path, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* Notes a path that a rollback must remove. */
int index_made(struct index *x, struct str path, struct err *e);

/* ---- index_box.c ---- */

int box_load_all(struct index *x, struct err *e);
int box_write_dirty(struct index *x, struct err *e);
void box_free_all(struct index *x);
/* The mailbox, or NULL with e (-ENOENT). */
struct box *box_get(struct index *x, uint32_t id, struct err *e);
struct box *box_named(const struct index *x, struct str name);
/* A new row and its directory; dir NULL: chosen from the name. */
int box_make(struct index *x, struct str name, struct str role, const char *dir, bool noselect,
    struct box **ret, struct err *e);
/* Index of a keyword in the mailbox's list, added when add. -ENOENT; -E2BIG. */
int box_keyword(struct index *x, struct box *b, struct str name, bool add, struct err *e);
int box_keywords_load(struct index *x, struct box *b, struct err *e);
/* Takes the next UID. -E2BIG when the mailbox has none left. */
int box_next_uid(struct box *b, uint32_t *ret, struct err *e);
/* A change of the mailbox with this modseq: rows changed, arrivals or removals to hold. */
void box_touch(struct index *x, struct box *b, uint64_t modseq, uint64_t rows, bool hold);
uint64_t box_row_sum(uint32_t uid, uint64_t email, uint32_t flags);
/* Highest modseq a reader may be told. */
uint64_t box_shown_modseq(const struct box *b);

/* ---- index_folder.c: directories and posthorn-folder ---- */

struct folder_file {
	uint32_t mailbox, uidvalidity, reserved;
	uint64_t sequence;
	char name[INDEX_MAX_NAME + 1];
	char role[32];
	bool subscribed;
};
enum { FOLDER_SLOT = 4096 }; /* bytes of one of the file's two slots */
bool folder_slot_get(const unsigned char *p, struct folder_file *f);
void folder_slot_put(unsigned char *p, const struct folder_file *f);
int folder_make(struct index *x, const char *dir, struct err *e);
int folder_remove(int dirfd, const char *dir, struct err *e);
/* 0; -ENOENT; -EBADMSG when neither slot is valid. */
int folder_read(int dirfd, const char *dir, struct folder_file *ret, struct err *e);
int folder_write(struct index *x, struct box *b, struct err *e);
/* The directory name that a mailbox name asks for. */
void folder_name(struct buf *out, struct str mailbox);
/* "cur/..." under a mailbox's directory. */
void folder_path(struct buf *out, const char *dir, const char *sub, struct str file);

/* ---- index_thread.c ---- */

/* The thread of a new Email, which counts there from now on. f NULL: its own. */
int thread_assign(struct index *x, const struct facts *f, uint64_t *ret, struct err *e);
/* One Email more (or less) in its thread. */
int thread_count(struct index *x, uint64_t thread, int n, struct err *e);
/* The thread's visible and unread Emails in a mailbox change. */
int thread_shift(struct index *x, uint64_t thread, uint32_t mailbox, int vis, int unread,
    struct err *e);
int thread_flush(struct index *x, struct err *e);

/* ---- index_email.c: Email rows, memberships of an Email, JMAP's counts ---- */

struct place { /* a membership */
	uint32_t mailbox, uid;
};
struct email_row {
	uint64_t id, thread, size;
	int64_t received;
	int32_t zone;
	struct str base;   /* in ar */
	struct place *places;
	size_t n_places;
};
int email_get(struct index *x, uint64_t id, struct arena *ar, struct email_row *ret, struct err *e);
int email_put_places(struct index *x, uint64_t id, const struct place *p, size_t n, struct err *e);
/* Adds sign times what the Email with this one membership counts in JMAP. */
int email_count_single(struct index *x, struct box *b, uint64_t thread, uint32_t flags, int sign,
    struct err *e);
/* The same Email's flags have changed. */
int email_count_flags(struct index *x, struct box *b, uint64_t thread, uint32_t old, uint32_t flags,
    struct err *e);
/* The same for an Email with several memberships, as the rows are now. */
int email_count_linked(struct index *x, uint64_t id, int sign, struct err *e);
/* IMAP's counts and the checksum of one membership, times sign. */
void member_count(struct box *b, uint32_t uid, uint64_t email, uint32_t flags, uint64_t size,
    int sign);

struct str places_pack(struct arena *ar, const struct place *p, size_t n);

/* ---- index_add.c ---- */

struct keyword_set {
	uint32_t bits;     /* of the first 24 */
	uint32_t *more;    /* indexes of rarer ones, in the transaction's arena */
	size_t n_more;
};
int keywords_resolve(struct index *x, struct box *b, const struct str *v, size_t n, bool add,
    struct keyword_set *ret, struct err *e);
int more_put(struct index *x, struct box *b, uint32_t uid, uint32_t keyword, struct err *e);
int member_put(struct index *x, struct box *b, uint32_t uid, uint64_t email, uint64_t thread,
    uint32_t flags, uint64_t modseq, struct err *e);
uint64_t index_used(const struct index *x);

/* ---- index_change.c ---- */

/* Removes memberships; file: their files too, after the settle. */
int member_remove_all(struct index *x, struct box *b, bool file, struct err *e);
int member_remove(struct index *x, struct box *b, const struct uid_set *set, struct err *e);

struct gone_list { /* one bulk removal in a mailbox */
	struct box *b;
	struct buf data;
	uint64_t modseq;
};
/* last: the Email is gone with it. */
int gone_add(struct index *x, struct gone_list *g, uint64_t modseq, uint32_t uid, uint64_t email,
    bool last, struct err *e);
int gone_end(struct index *x, struct gone_list *g, struct err *e);
/* Calls fn with every UID removed after since and up to `upto`. */
int gone_each(struct index *x, uint32_t mailbox, uint64_t since, uint64_t upto,
    int (*fn)(void *arg, uint32_t uid), void *arg, struct err *e);

/* ---- others ---- */

/* mailbox 0: name is a folder's directory. */
int unlink_later(struct index *x, uint32_t mailbox, struct str name, struct err *e);
/* uid 0: the file in new/ is a double. */
int settle_later(struct index *x, uint32_t mailbox, uint32_t uid, uint64_t email, struct str file,
    struct err *e);
void settle_forget(struct index *x, size_t keep);
/* recover: a recovery follows, which needs what is to be unlinked. */
int settle_load(struct index *x, bool recover, struct err *e);
/* Notes what the commit just made wants unlinked. */
int unlink_mark(struct index *x);
void snapshot_stop(struct index *x);
#define VIEW_LAG_MAX 8192 /* changed rows before a commit folds the view */
#define NAME_BASE_MAX 150
/* Appends a zeroed element to a list (a pointer to its malloc'd array). */
void *index_grow(void *list, size_t *n, size_t *cap, size_t size);
/* Opens dir/file with its schema and nothing loaded; NULL with e. */
struct index *index_bare(const struct index_options *o, const char *file, struct err *e);
int index_new_account(struct index *x, uint64_t run, struct err *e);
/* After a commit: deleted mailboxes leave memory. */
void box_drop_dead(struct index *x);
int view_fold(struct index *x, struct box *b, struct err *e);
int index_recover(struct index *x, uint64_t run, struct err *e);
int recover_boxes(struct index *x, struct err *e);
/* Sorted list of UIDs as ranges. */
int uids_to_set(struct arena *ar, const uint32_t *uid, size_t n, struct uid_set *ret);

#endif
