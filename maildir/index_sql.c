/*
 * The schema of index.db and every statement that runs on it (posthorn-store(5)
 * describes the tables). All integers of 64 bits are stored as SQLite's signed ones.
 *
 * Shapes that matter for speed: `member` is what flag changes touch, so it is narrow
 * and has one further index (changes since a modseq); an Email's places stand packed in
 * its own row instead of an index over member; facts have a table that only take-in
 * writes; tombstones are packed, one row per modseq step.
 *
 * Kept free for later schema versions: seen(mailbox, uid, user) for \Seen of shared
 * mailboxes; acl(mailbox, identifier, rights); script(name, ...) and responded(...) for
 * Sieve; what is searched lives in search.db.
 */
#include "maildir/index_private.h"

const char index_schema[] =
	"CREATE TABLE account(id INTEGER PRIMARY KEY CHECK(id=1), epoch INTEGER NOT NULL,"
	" modseq INTEGER NOT NULL, next_email INTEGER NOT NULL, next_thread INTEGER NOT NULL,"
	" next_mailbox INTEGER NOT NULL, run INTEGER NOT NULL, delivered_low INTEGER NOT NULL,"
	" snap_time INTEGER NOT NULL, changes INTEGER NOT NULL, salt0 INTEGER NOT NULL,"
	" salt1 INTEGER NOT NULL, next_uidvalidity INTEGER NOT NULL);"
	"CREATE TABLE mailbox(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
	" role TEXT NOT NULL, dir TEXT NOT NULL UNIQUE, subscribed INTEGER NOT NULL,"
	" noselect INTEGER NOT NULL, uidvalidity INTEGER NOT NULL, uidnext INTEGER NOT NULL,"
	" first_recent INTEGER NOT NULL, reserved INTEGER NOT NULL, modseq INTEGER NOT NULL,"
	" created INTEGER NOT NULL, keyword_modseq INTEGER NOT NULL, tomb_floor INTEGER NOT NULL,"
	" total INTEGER NOT NULL, unseen INTEGER NOT NULL, deleted INTEGER NOT NULL,"
	" bytes INTEGER NOT NULL, jmap_total INTEGER NOT NULL, jmap_unread INTEGER NOT NULL,"
	" jmap_threads INTEGER NOT NULL, jmap_unread_threads INTEGER NOT NULL,"
	" checksum INTEGER NOT NULL, view_stamp INTEGER NOT NULL, view_lag INTEGER NOT NULL);"
	"CREATE TABLE mailbox_gone(modseq INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL,"
	" at INTEGER NOT NULL);"
	"CREATE TABLE subscription(name TEXT PRIMARY KEY) WITHOUT ROWID;"
	"CREATE TABLE keyword(mailbox INTEGER, idx INTEGER, name TEXT NOT NULL,"
	" PRIMARY KEY(mailbox, idx)) WITHOUT ROWID;"
	"CREATE TABLE member(mailbox INTEGER, uid INTEGER, email INTEGER NOT NULL,"
	" thread INTEGER NOT NULL, flags INTEGER NOT NULL, modseq INTEGER NOT NULL,"
	" saved INTEGER NOT NULL, PRIMARY KEY(mailbox, uid)) WITHOUT ROWID;"
	"CREATE INDEX member_change ON member(mailbox, modseq);"
	"CREATE TABLE member_more(mailbox INTEGER, uid INTEGER, keyword INTEGER,"
	" PRIMARY KEY(mailbox, uid, keyword)) WITHOUT ROWID;"
	"CREATE TABLE email(id INTEGER PRIMARY KEY, thread INTEGER NOT NULL, size INTEGER NOT NULL,"
	" received INTEGER NOT NULL, zone INTEGER NOT NULL, base TEXT NOT NULL,"
	" places BLOB NOT NULL);"
	"CREATE TABLE facts(email INTEGER PRIMARY KEY, envelope BLOB, structure BLOB, preview BLOB);"
	"CREATE TABLE unparsed(email INTEGER PRIMARY KEY);"
	"CREATE TABLE thread(id INTEGER PRIMARY KEY, n INTEGER NOT NULL, boxes BLOB NOT NULL);"
	"CREATE TABLE thread_key(hash INTEGER PRIMARY KEY, thread INTEGER NOT NULL);"
	"CREATE TABLE gone(mailbox INTEGER, modseq INTEGER, at INTEGER NOT NULL, data BLOB NOT NULL,"
	" PRIMARY KEY(mailbox, modseq)) WITHOUT ROWID;"
	"CREATE TABLE pending_unlink(id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL,"
	" name TEXT NOT NULL);"
	"CREATE TABLE delivered(spool INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL,"
	" uid INTEGER NOT NULL, email INTEGER NOT NULL);"
	"CREATE TABLE view_chunk(id INTEGER PRIMARY KEY, data BLOB NOT NULL);";

#define READ_HEAD "SELECT m.uid, m.email, m.thread, m.saved, e.size, e.received, e.zone"
#define READ_FROM " FROM member m CROSS JOIN email e ON e.id=m.email"
#define READ_WHERE " WHERE m.mailbox=?1 AND m.uid BETWEEN ?2 AND ?3 ORDER BY m.uid"

const char *const index_sql[Q_COUNT] = {
	[Q_BEGIN] = "BEGIN IMMEDIATE",
	[Q_COMMIT] = "COMMIT",
	[Q_ROLLBACK] = "ROLLBACK",
	[Q_ACCOUNT_GET] = "SELECT epoch, modseq, next_email, next_thread, next_mailbox, run,"
	    " delivered_low, snap_time, changes, salt0, salt1, next_uidvalidity FROM account",
	[Q_ACCOUNT_PUT] = "REPLACE INTO account VALUES(1,?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,"
	    "?11,?12)",
	[Q_BOX_ALL] = "SELECT * FROM mailbox ORDER BY id",
	[Q_BOX_PUT] = "REPLACE INTO mailbox VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,"
	    "?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25)",
	[Q_BOX_DEL] = "DELETE FROM mailbox WHERE id=?1",
	[Q_BOX_GONE] = "REPLACE INTO mailbox_gone VALUES(?1,?2,?3)",
	[Q_SUB_ALL] = "SELECT name FROM subscription",
	[Q_SUB_PUT] = "REPLACE INTO subscription VALUES(?1)",
	[Q_SUB_DEL] = "DELETE FROM subscription WHERE name=?1",
	[Q_KEYWORD_ALL] = "SELECT idx, name FROM keyword WHERE mailbox=?1 ORDER BY idx",
	[Q_KEYWORD_PUT] = "INSERT INTO keyword VALUES(?1,?2,?3)",
	[Q_KEYWORD_DEL] = "DELETE FROM keyword WHERE mailbox=?1",
	[Q_MEMBER_PUT] = "INSERT INTO member VALUES(?1,?2,?3,?4,?5,?6,?7)",
	[Q_MEMBER_GET] = "SELECT uid, email, thread, flags, modseq, saved FROM member"
	    " WHERE mailbox=?1 AND uid=?2",
	[Q_MEMBER_RANGE] = "SELECT uid, email, thread, flags, modseq FROM member"
	    " WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3",
	[Q_MEMBER_DELETED] = "SELECT uid, email, thread, flags, modseq FROM member"
	    " WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3 AND flags & 8",
	[Q_MEMBER_DEL] = "DELETE FROM member WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3",
	[Q_MEMBER_FLAGS] = "UPDATE member SET flags=(flags & ?4)|?5, modseq=?6"
	    " WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3 AND modseq<=?7"
	    " AND ((flags & ?4)|?5)<>flags",
	[Q_MEMBER_SET] = "UPDATE member SET flags=?3, modseq=?4 WHERE mailbox=?1 AND uid=?2",
	[Q_MEMBER_LINK] = "UPDATE member SET flags=flags|32 WHERE mailbox=?1 AND uid=?2",
	[Q_MEMBER_SINCE] = "SELECT uid, flags, modseq FROM member INDEXED BY member_change"
	    " WHERE mailbox=?1 AND modseq>?2",
	[Q_MEMBER_FILES] = "SELECT m.uid, m.email, e.size, e.base, m.flags, m.thread, m.modseq"
	    " FROM member m LEFT JOIN email e ON e.id=m.email WHERE m.mailbox=?1 ORDER BY m.uid",
	[Q_MORE_PUT] = "INSERT OR IGNORE INTO member_more VALUES(?1,?2,?3)",
	[Q_MORE_DEL] = "DELETE FROM member_more WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3",
	[Q_MORE_DEL_ONE] = "DELETE FROM member_more WHERE mailbox=?1 AND uid=?2 AND keyword=?3",
	[Q_MORE_RANGE] = "SELECT uid, keyword FROM member_more"
	    " WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3",
	[Q_EMAIL_PUT] = "INSERT INTO email VALUES(?1,?2,?3,?4,?5,?6,?7)",
	[Q_EMAIL_GET] = "SELECT thread, size, received, zone, base, places FROM email WHERE id=?1",
	[Q_EMAIL_PLACES] = "UPDATE email SET places=?2 WHERE id=?1",
	[Q_EMAIL_THREAD] = "UPDATE email SET thread=?2 WHERE id=?1",
	[Q_MEMBER_THREAD] = "UPDATE member SET thread=?3 WHERE mailbox=?1 AND uid=?2",
	[Q_EMAIL_DEL] = "DELETE FROM email WHERE id=?1",
	[Q_FACTS_PUT] = "REPLACE INTO facts VALUES(?1,?2,?3,?4)",
	[Q_FACTS_DEL] = "DELETE FROM facts WHERE email=?1",
	[Q_UNPARSED_PUT] = "REPLACE INTO unparsed VALUES(?1)",
	[Q_UNPARSED_DEL] = "DELETE FROM unparsed WHERE email=?1",
	[Q_UNPARSED_LIST] = "SELECT email FROM unparsed WHERE email>?1 ORDER BY email LIMIT ?2",
	[Q_READ_DATES] = READ_HEAD READ_FROM READ_WHERE,
	[Q_READ_FACTS] = "SELECT m.uid, m.email, m.thread, m.saved, 0, 0, 0, f.envelope,"
	    " f.structure, f.preview FROM member m LEFT JOIN facts f ON f.email=m.email" READ_WHERE,
	[Q_READ_ALL] = READ_HEAD ", f.envelope, f.structure, f.preview" READ_FROM
	    " LEFT JOIN facts f ON f.email=m.email" READ_WHERE,
	[Q_DELIVERED_GET] = "SELECT mailbox, uid, email FROM delivered WHERE spool=?1",
	[Q_DELIVERED_PUT] = "INSERT INTO delivered VALUES(?1,?2,?3,?4)",
	[Q_DELIVERED_LIST] = "SELECT spool FROM delivered WHERE spool<?1 ORDER BY spool",
	[Q_DELIVERED_DEL] = "DELETE FROM delivered WHERE spool BETWEEN ?1 AND ?2",
	[Q_THREAD_GET] = "SELECT n, boxes FROM thread WHERE id=?1",
	[Q_THREAD_RANGE] = "SELECT id, n, boxes FROM thread WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
	[Q_THREAD_PUT] = "REPLACE INTO thread VALUES(?1,?2,?3)",
	[Q_THREAD_SET] = "UPDATE thread SET n=?2, boxes=?3 WHERE id=?1",
	[Q_THREAD_DEL] = "DELETE FROM thread WHERE id=?1",
	[Q_KEY_GET] = "SELECT thread FROM thread_key WHERE hash=?1",
	[Q_KEY_PUT] = "REPLACE INTO thread_key VALUES(?1,?2)",
	[Q_KEY_SWEEP] = "DELETE FROM thread_key WHERE hash IN (SELECT k.hash FROM thread_key k"
	    " WHERE k.hash>?1 AND k.hash<=?2 AND NOT EXISTS"
	    " (SELECT 1 FROM thread t WHERE t.id=k.thread))",
	[Q_KEY_NEXT] = "SELECT max(hash), count(*) FROM (SELECT hash FROM thread_key WHERE hash>?1"
	    " ORDER BY hash LIMIT ?2)",
	[Q_GONE_PUT] = "INSERT INTO gone VALUES(?1,?2,?3,?4)",
	[Q_GONE_SINCE] = "SELECT modseq, data FROM gone WHERE mailbox=?1 AND modseq>?2"
	    " AND modseq<=?3 ORDER BY modseq",
	[Q_GONE_OLD] = "SELECT max(modseq) FROM (SELECT modseq FROM gone WHERE mailbox=?1 AND at<?2"
	    " ORDER BY modseq LIMIT ?3)",
	[Q_GONE_DEL] = "DELETE FROM gone WHERE mailbox=?1 AND modseq<=?2",
	[Q_UNLINK_PUT] = "INSERT INTO pending_unlink VALUES(?1,?2,?3)",
	[Q_UNLINK_LIST] = "SELECT id, mailbox, name FROM pending_unlink WHERE id>?1 AND id<=?2"
	    " ORDER BY id",
	[Q_UNLINK_DEL] = "DELETE FROM pending_unlink WHERE id<=?1",
	[Q_UNLINK_MAX] = "SELECT max(id), count(*) FROM pending_unlink",
	[Q_CHUNK_ALL] = "SELECT id, data FROM view_chunk WHERE id BETWEEN ?1 AND ?2",
	[Q_CHUNK_PUT] = "REPLACE INTO view_chunk VALUES(?1,?2)",
	[Q_CHUNK_DEL] = "DELETE FROM view_chunk WHERE id BETWEEN ?1 AND ?2",
};
