/*
 * Facts: all that the house wants to know of a message, found once, where there
 * is little to steal (mimed; imapd and jmapd for what they append), and kept by
 * the store, so that later nobody opens the file to list a mailbox.
 *
 * One blob carries them (facts_make, facts_get). Its blocks are opaque to the
 * store, which keeps each by itself; every block begins with a version byte, so
 * that blocks of several versions may stand in one index. Blocks:
 *
 *   envelope   version 1, then the ENVELOPE of RFC 3501 section 7.4.2 as it goes
 *              over the wire, parentheses included. Values are raw header text
 *              (unfolded, RFC 2047 words not decoded, NULs gone); Sender and
 *              Reply-To default to From already; 8-bit text stands in literals. So
 *              FETCH ENVELOPE is one copy, and the text parses back for JMAP.
 *   structure  version 1, then the part table in preorder: types, parameters,
 *              sizes, lines, and the offsets of each part's header, body and end,
 *              so that FETCH BODY[1.2] is one pread. Layout: structure.c.
 *   preview    version 1, then at most 200 characters of UTF-8 (RFC 8970).
 *
 * A blob comes from a process that may be hijacked. facts_get checks the limits below,
 * the envelope's grammar and the structure's tree, so that a block that passed it
 * can go to a client as it is. What a block says may be wrong, but only about that
 * message.
 */
#ifndef LIB_MAIL_FACTS_H
#define LIB_MAIL_FACTS_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/mail/mime.h"

enum {
	FACTS_VERSION = 1,
	FACTS_MAX_ENVELOPE = 64 << 10,   /* bytes of a block */
	FACTS_MAX_STRUCTURE = 256 << 10,
	FACTS_MAX_PREVIEW = 1024,
	FACTS_MAX_SEARCH = 512 << 10,
	FACTS_MAX_ID = 512,              /* of a Message-ID; a longer one is cut */
	FACTS_MAX_REFS = 50,
	FACTS_MAX_SUBJECT = 512,         /* of the base subject, UTF-8 */
	FACTS_MAX = 900 << 10,           /* of a blob */
	FACTS_PREVIEW_CHARS = 200,
};

/* What is wrong with a message; none of it keeps the message out. */
enum {
	FACTS_P_OPAQUE = 1,        /* nobody could parse it: facts_opaque made this */
	FACTS_P_DEPTH = 2,         /* parts beyond a cap are not looked into */
	FACTS_P_PARTS = 4,
	FACTS_P_HEADER_SIZE = 8,
	FACTS_P_NO_CLOSE = 16,     /* a multipart without its closing boundary */
	FACTS_P_NO_BOUNDARY = 32,  /* a multipart without boundary parameter, or that never occurs */
	FACTS_P_BARE_LF = 64,      /* lines end in LF: octet counts are those of the file */
	FACTS_P_NUL = 128,
	FACTS_P_RAW_8BIT = 256,    /* 8-bit bytes in a header that are not UTF-8 */
	FACTS_P_BAD_HEADER = 512,  /* a line in a header that is no field */
	FACTS_P_BAD_ADDRESS = 1024,
	FACTS_P_BAD_DATE = 2048,   /* Date is missing or cannot be read */
	FACTS_P_DUPLICATE = 4096,  /* a field that may occur once occurs again */
	FACTS_P_CUT = 8192,        /* something was cut to the limits above */
};

struct facts {
	struct str envelope, structure, preview; /* blocks */
	struct str search;       /* UTF-8 text of the body parts; empty unless asked for */
	struct str message_id;   /* without angle brackets; empty: none */
	struct str references;   /* packed; see facts_ref_next */
	size_t n_references;
	struct str base_subject; /* RFC 5256 section 2.1; UTF-8, upper case folded to lower */
	bool is_reply;           /* the subject said Re: or Fwd: */
	int64_t date;            /* of the Date field, seconds since 1970 UTC; 0: none */
	int32_t date_zone;       /* minutes east of UTC, as written */
	uint32_t problems;       /* FACTS_P_* */
	uint64_t size;           /* of the message that was looked at */
};

enum { FACTS_WANT_SEARCH = 1 };

/* Looks at a whole message and appends the blob. -ENOMEM. deadline: clock_us()
 * after which -ETIME; 0: none. */
int facts_make(struct str message, unsigned want, uint64_t deadline, struct buf *out);
/* The blob of a message of that size that nobody could parse: an empty envelope
 * and one text/plain part (7BIT) that spans the message. */
void facts_opaque(uint64_t size, struct buf *out);

/* 0 or -EPROTO (not a blob, or over a limit). Strings point into blob. */
int facts_get(struct str blob, struct facts *ret);

/* The ids that In-Reply-To and References name, without angle brackets, no
 * double, nearest ancestor first, at most FACTS_MAX_REFS:
 *	struct str r = f.references, id; while (facts_ref_next(&r, &id)) ... */
bool facts_ref_next(struct str *refs, struct str *ret_id);

/* ---- what imapd sends ---- */

/* Appends the ENVELOPE (RFC 3501 section 7.4.2); an unreadable block gives ten NILs. */
void facts_envelope_imap(struct str block, struct buf *out);
/* Appends the BODY (extended false) or BODYSTRUCTURE; an unreadable block gives
 * a text/plain of no bytes. */
void facts_structure_imap(struct str block, struct buf *out, bool extended);
/* The text of a preview block. */
struct str facts_preview(struct str block);

/* ---- reading blocks ---- */

/* As in an ENVELOPE: a group begins with {mailbox = its name, host.p NULL} and
 * ends with all NULL. Absent (NIL) strings have p NULL. */
struct facts_addr {
	struct str name, adl, mailbox, host;
};
struct facts_addrs {
	struct facts_addr *v;
	size_t n;
};
struct facts_envelope {
	struct str date, subject;
	struct facts_addrs from, sender, reply_to, to, cc, bcc;
	struct str in_reply_to, message_id;
};
/* Strings point into the block where nothing had to be unescaped. a NULL: only
 * checks. 0 or -EPROTO. */
int facts_envelope_get(struct str block, struct arena *a, struct facts_envelope *ret);

struct facts_param {
	struct str name, value;
};
struct facts_part {
	const struct mime_part *range;  /* kind, offsets, lines, tree: lib/mail/mime.h */
	struct str type, subtype;
	struct facts_param *params;
	size_t n_params;
	struct str id, description, encoding, md5, location; /* p NULL: NIL */
	struct str disposition;
	struct facts_param *disposition_params;
	size_t n_disposition_params;
	struct str *languages;
	size_t n_languages;
	struct str envelope;            /* of a message/rfc822: an envelope block */
};
/* Part i of *ret_parts belongs to ret_mime->parts[i], which mime_section takes. 0
 * or -EPROTO. */
int facts_structure_get(struct str block, struct arena *a, struct mime *ret_mime,
    struct facts_part **ret_parts);

#endif
