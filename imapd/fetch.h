/*
 * FETCH: what a client asked for (parse_fetch.c), and how a message is shown
 * (fetch.c, fetch_body.c, fetch_struct.c). RFC 3501 section 6.4.5, RFC 7162.
 */
#ifndef IMAPD_FETCH_H
#define IMAPD_FETCH_H

#include "imapd/parse.h"

enum {
	FETCH_FLAGS = 1,
	FETCH_UID = 2,
	FETCH_INTERNALDATE = 4,
	FETCH_SIZE = 8,
	FETCH_ENVELOPE = 16,
	FETCH_BODY = 32,
	FETCH_BODYSTRUCTURE = 64,
	FETCH_MODSEQ = 128,
};

enum {
	FETCH_SECTIONS_MAX = 256, /* BODY[...] items of one command */
	FETCH_PATH_MAX = 64,      /* levels of a part number */
};

enum section_what { SEC_ALL, SEC_HEADER, SEC_FIELDS, SEC_FIELDS_NOT, SEC_TEXT, SEC_MIME };

/* One BODY[...], BODY.PEEK[...], RFC822, RFC822.HEADER or RFC822.TEXT. */
struct fetch_section {
	struct str label;      /* how the answer names it: "BODY[1.TEXT]<0>" */
	struct str spec;       /* what stands in the brackets, without a header list */
	enum section_what what;
	uint32_t *path;        /* part numbers, outermost first */
	size_t n_path;
	struct str *fields;
	size_t n_fields;
	bool sees;             /* sets \Seen */
	bool partial;
	uint32_t offset, count;
};

struct fetch_args {
	struct seq_set set;
	unsigned items;        /* FETCH_* */
	struct fetch_section *sections;
	size_t n_sections;
	bool changed_since_given;
	uint64_t changed_since;
};

/* Everything behind "FETCH SP". */
bool parse_fetch(struct parse *p, struct fetch_args *ret);

#endif
