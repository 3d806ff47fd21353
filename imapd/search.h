/*
 * SEARCH: the keys as a tree (parse_search.c) and how they are answered
 * (search.c, search_text.c). RFC 3501 section 6.4.4, RFC 4731, 7162.
 */
#ifndef IMAPD_SEARCH_H
#define IMAPD_SEARCH_H

#include "imapd/parse.h"

enum { SEARCH_KEYS_MAX = 1024 };

enum search_type {
	SK_ALL,
	SK_FLAG,        /* flag; want */
	SK_KEYWORD,     /* text; want */
	SK_RECENT,      /* want */
	SK_SEQ, SK_UID, /* set */
	SK_MODSEQ,      /* number: this or above */
	/* from here on the stored facts are needed */
	SK_LARGER, SK_SMALLER,                   /* number */
	SK_BEFORE, SK_ON, SK_SINCE,              /* number: a day since 1970 */
	SK_SENTBEFORE, SK_SENTON, SK_SENTSINCE,
	/* facts or content */
	SK_HEADER,      /* name, text */
	/* content */
	SK_BODY, SK_TEXT, /* text */
	/* trees */
	SK_NOT, SK_AND, SK_OR, /* kids */
};

struct search_key {
	enum search_type type;
	bool want;
	uint32_t flag;
	int64_t number;
	struct str name, text; /* text is UTF-8 */
	struct str folded;     /* text as search_text.c compares it; set by search.c */
	struct seq_set set;
	struct search_key *kids, *next; /* kids: the first; next: its sibling */
};

enum { RETURN_MIN = 1, RETURN_MAX = 2, RETURN_ALL = 4, RETURN_COUNT = 8 };

struct search_args {
	bool extended;         /* RETURN was given: answer by ESEARCH */
	unsigned returns;      /* RETURN_* */
	bool modseq;           /* a MODSEQ key is among the keys */
	bool badcharset;
	struct search_key key;
};

/* Everything behind "SEARCH SP". */
bool parse_search(struct parse *p, struct search_args *ret);

#endif
