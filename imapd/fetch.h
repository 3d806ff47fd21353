/*
 * FETCH: what a client asked for (parse_fetch.c), and how a message is shown
 * (fetch.c, fetch_body.c). RFC 3501 sections 6.4.5 and 7.4.2, RFC 7162.
 */
#ifndef IMAPD_FETCH_H
#define IMAPD_FETCH_H

#include "imapd/content.h"
#include "imapd/rows.h"

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

/* A FETCH that runs. */
struct fetch {
	struct imap *c;
	const struct fetch_args *args;
	unsigned want;         /* FACT_* that the items need */
	struct arena *ar;      /* of one message */
};

/* The facts that the items need. */
unsigned fetch_want(const struct fetch_args *a);
/* Writes "* n FETCH (...)" with args' items and `more` (FETCH_*). 0; -ENOENT: the message
 * is gone; -EPIPE: an answer is torn, the connection must end; another code: the
 * message cannot be read. Nothing is written then. */
int fetch_message(struct fetch *f, const struct row *row, unsigned more, struct wire_error *we);

/* Writes " LABEL value" of one section (fetch_body.c). 0 or -EPIPE. */
int fetch_section_put(struct fetch *f, const struct content *m, const struct fetch_section *s);
/* Whether the sections need the table of parts. */
bool fetch_needs_parts(const struct fetch_args *a);

#endif
