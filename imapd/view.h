/*
 * A session's view of its selected mailbox: which messages it has been told of
 * and under which numbers (RFC 3501 sections 2.3.1.2, 5.5 and 7.4.1).
 *
 * It stands on the process's shared box. Told of are the messages of the box up to
 * UID `known`, and the ghosts: messages that are gone but whose EXPUNGE has not been
 * sent. So a view costs next to nothing, and numbers stay right whatever the box
 * learns meanwhile. Changes with a modseq above `modseq` are still to be shown.
 *
 * A view can be frozen: it lets go of the box and keeps the UIDs it has told, as
 * ranges. view_thaw loads the box again and finds the ghosts by comparing.
 */
#ifndef IMAPD_VIEW_H
#define IMAPD_VIEW_H

#include "imapd/box.h"
#include "imapd/parse.h"

struct imap;

struct view {
	struct list link;        /* in box->views */
	struct box *box;         /* NULL while frozen */
	uint64_t account;
	uint32_t mailbox, uidvalidity;
	bool readonly;
	bool news;               /* an event said that the store has more */
	uint32_t known;
	uint64_t modseq;
	size_t n_keywords;       /* how many were shown in FLAGS */
	uint32_t *ghosts;        /* ascending */
	size_t n_ghosts, cap_ghosts;
	struct uid_range *recent; /* messages that are \Recent here */
	size_t n_recent;
	struct uid_range *frozen; /* UIDs told of, ghosts included */
	size_t n_frozen;
	bool lost_ghosts;        /* out of memory once: the session must end */
};

/* Selects. A negative code as of store_select. */
int view_open(struct imap *c, uint32_t mailbox, bool readonly, struct view **ret,
    struct wire_error *we);
void view_close(struct view **v);

void view_freeze(struct view *v);
int view_thaw(struct imap *c, struct view *v, struct wire_error *we);

/* From box.c: this message is gone. */
void view_add_ghost(struct view *v, uint32_t uid);

/* Messages told of; the number of those that are \Recent. */
size_t view_count(const struct view *v);
size_t view_recent_count(const struct view *v);
bool view_is_recent(const struct view *v, uint32_t uid);
/* The UID of the last message told of, 0 without one. */
uint32_t view_last_uid(const struct view *v);

/* Number <-> UID. seq is 1..view_count. view_seq gives 0 for one not told of. */
uint32_t view_uid(const struct view *v, uint32_t seq);
uint32_t view_seq(const struct view *v, uint32_t uid);
/* Where the message of this number stands in the box, or -1 for a ghost. */
ptrdiff_t view_pos(const struct view *v, uint32_t seq, uint32_t uid, size_t *hint);

/* Turns the set of a command into ascending ranges of numbers, in place. uid:
 * the set names UIDs; those that are not there are passed over. Otherwise false
 * when a number is not in the mailbox (RFC 3501 section 9, seq-number). */
bool view_resolve(const struct view *v, bool uid, struct seq_set *set, struct arena *ar);
/* The UIDs of ranges of numbers; ghosts too. */
int view_uids(const struct view *v, const struct seq_set *seqs, struct arena *ar,
    struct uid_set *ret);
/* Whether a ghost is among the numbers. */
bool view_has_ghost(const struct view *v, const struct seq_set *seqs);

/* Asks the store for news if there may be any (always: in any case). */
int view_sync(struct imap *c, bool always, struct wire_error *we);

/* What a STORE has to say by itself; rows of `seqs` are left out of the ordinary
 * announcement when their flags are as expected. */
struct view_echo {
	struct seq_set seqs;
	const uint32_t *expected;   /* flags expected, one for each number of seqs in order */
	bool silent;                /* show MODSEQ at most */
	bool all;                   /* show every row of seqs, changed or not */
	bool shown;                 /* rows that are as expected have been shown already */
	const struct uid_set *refused; /* UIDs that were not changed */
};

/* Writes what changed: FLAGS, EXPUNGE (if expunge), EXISTS and RECENT, FETCH. */
void view_announce(struct imap *c, bool expunge, const struct view_echo *echo);
/* "FLAGS (\Seen ...)" of the message at pos. */
void view_put_flags(struct imap *c, size_t pos);
/* The FLAGS and PERMANENTFLAGS lines. */
void view_put_keywords(struct imap *c);

#endif
