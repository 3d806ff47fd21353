/*
 * The MIME parser (RFC 2045, 2046): one pass over the bytes of a message, no
 * copies. The result is a table of parts in preorder; part 0 is the message. All
 * positions are offsets into the bytes that were parsed, and
 *
 *	head <= body <= end <= size,   end of a part <= end of its parent
 *
 * A header spans [head, body), its closing empty line included; a body spans
 * [body, end). The line break before a boundary belongs to the boundary (RFC
 * 2046 section 5.1.1). A message/rfc822 part has one child, the message inside;
 * its head is the part's body.
 *
 * Lines end in LF, with or without CR before it. Beyond a cap (depth, parts,
 * header size) the rest is opaque: a leaf of its declared type, never a failure.
 */
#ifndef LIB_MAIL_MIME_H
#define LIB_MAIL_MIME_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"

enum {
	MIME_MAX_DEPTH = 100,
	MIME_MAX_PARTS = 1000,
	MIME_MAX_HEADER = 1 << 20,  /* bytes of one part's header; the rest is body */
	MIME_MAX_BOUNDARY = 1000,   /* RFC 2046 says 70; what is longer than this never matches */
	MIME_NONE = 0xffffffff,     /* no part */
};

enum mime_kind { MIME_LEAF, MIME_MULTIPART, MIME_MESSAGE /* message/rfc822, looked into */ };

enum {                         /* of a part */
	MIME_F_DIGEST_CHILD = 1,   /* default type message/rfc822 (RFC 2046 section 5.1.5) */
	MIME_F_DIGEST = 2,         /* a multipart/digest */
};
enum {                         /* of a message: what was found wrong */
	MIME_P_DEPTH = 1, MIME_P_PARTS = 2, MIME_P_HEADER_SIZE = 4, MIME_P_NO_CLOSE = 8,
	MIME_P_NO_BOUNDARY = 16, MIME_P_BARE_LF = 32, MIME_P_NUL = 64, MIME_P_BAD_HEADER = 128,
};

/* Raw values of the fields that MIME looks at (first occurrence; still folded;
 * p NULL: absent). They point into the message. */
struct mime_fields {
	struct str type, encoding, id, description, disposition, md5, language, location;
};

struct mime_part {
	enum mime_kind kind;
	unsigned flags;
	uint64_t head, body, end;
	uint32_t lines;             /* line ends in the body */
	uint32_t parent, child, next; /* indexes; MIME_NONE */
	uint32_t n_children;
	uint32_t first_line;        /* LFs before body */
	uint32_t last_child;        /* when n_children */
};

struct mime {
	struct mime_part *parts;    /* in the arena */
	struct mime_fields *fields; /* of each part; NULL in a table read from facts */
	uint32_t n;
	unsigned problems;          /* MIME_P_* */
	uint64_t size;
};

/* 0, -ENOMEM (the arena's limit), or -ETIME once clock_us() passes deadline (0:
 * none). message must outlive *ret. */
int mime_parse(struct str message, struct arena *a, uint64_t deadline, struct mime *ret);

/* ---- BODY[section] (RFC 3501 section 6.4.5) ---- */

enum mime_what {
	MIME_W_ALL,         /* BODY[] or BODY[1.2]: of a part its body */
	MIME_W_HEADER, MIME_W_FIELDS, MIME_W_FIELDS_NOT, MIME_W_TEXT, MIME_W_MIME,
};
struct mime_section {
	enum mime_what what;
	uint32_t part;      /* index in the table */
	uint64_t off, len;  /* W_FIELDS*: the header to be filtered by mime_header_fields */
};
/* spec is what stands in the brackets without a header list: "", "1.2", "HEADER",
 * "1.HEADER.FIELDS", "2.MIME" ... (case does not matter). 0; -ENOENT: there is no
 * such part (the answer is NIL or ""); -EINVAL: not a section. */
int mime_section(const struct mime *m, struct str spec, struct mime_section *ret);
/* Whether spec could be a section of some message: 0 or -EINVAL. */
int mime_section_check(struct str spec, enum mime_what *ret_what);

/* Appends the fields of `header` (bytes up to and with the empty line) that are
 * named (or, `not`: are not), as they stand, and the empty line that ends the
 * header if there is one (RFC 3501 section 6.4.5). */
void mime_header_fields(struct str header, const struct str *names, size_t n, bool not,
    struct buf *out);

/* The part number of part i as IMAP writes it ("1.2"), appended; the message
 * itself gives "". */
void mime_part_number(const struct mime *m, uint32_t i, struct buf *out);

/* ---- parameters (RFC 2045 section 5.1, RFC 2231) ---- */

/* One `name=value`. For the fetch data of IMAP a continuation (name*0, name*1) is
 * put together under `name`, or under `name*` with the charset'lang' prefix kept
 * when any piece was percent-encoded: clients decode RFC 2231 there themselves, few
 * of them put pieces together. `decoded` is UTF-8. */
struct mime_param {
	struct str name;     /* lower case */
	struct str value;    /* as IMAP shows it */
	struct str decoded;  /* UTF-8; RFC 2231 and (as many senders write) RFC 2047 undone */
};
enum { MIME_MAX_PARAMS = 64, MIME_MAX_PARAM_VALUE = 8192 };

/* A structured value: "text/plain; charset=x" or "attachment; filename=y". */
struct mime_value {
	struct str type, subtype; /* as written; subtype empty without '/' */
	struct mime_param *params;
	size_t n;
};
/* Best effort, never fails: what cannot be read is left out. Strings point into raw
 * or the arena. */
void mime_value_parse(struct str raw, struct arena *a, struct mime_value *ret);
/* The decoded parameter, or p NULL. */
struct str mime_value_get(const struct mime_value *v, struct str name);

#endif
