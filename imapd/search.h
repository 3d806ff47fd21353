/*
 * SEARCH: the keys as a tree (parse_search.c), how a message is held against them
 * (search.c, search_text.c) and how the result is shown (cmd_search.c). RFC 3501
 * section 6.4.4, RFC 4731, 7162.
 *
 * Keys are tried where they cost least: first what the session knows (flags, numbers,
 * mod-sequences), then stored facts in batches, then the header, then the whole message. A
 * message is looked at only as far as its answer is still open.
 */
#ifndef IMAPD_SEARCH_H
#define IMAPD_SEARCH_H

#include "imapd/content.h"
#include "imapd/parse.h"
#include "imapd/rows.h"

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
	struct str folded;     /* text as it is compared; set by search_prepare */
	unsigned cost;         /* enum search_level; set by search_prepare */
	bool found;            /* SK_BODY, SK_TEXT: in the message that is scanned */
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

/* What is known of a message: each level has those below it. */
enum search_level { KNOWN_BY_VIEW, KNOWN_BY_FACTS, KNOWN_BY_HEADER, KNOWN_BY_TEXT };

struct search {
	struct imap *c;
	struct search_args *args;
	unsigned want;              /* FACT_* that keys look at */
	enum search_level highest;  /* that a key needs */
	struct search_key **texts;  /* the keys SK_BODY and SK_TEXT */
	size_t n_texts, longest;    /* longest: bytes of their longest text */
	bool broken;                /* a message could not be read */
	uint64_t began_us, told_us;
};

/* A message that is held against the keys. */
struct search_row {
	uint32_t seq, uid;
	size_t pos;
	enum search_level level;
	const struct store_fact *fact;
	struct facts_envelope envelope;
	bool has_envelope;
	struct str header;
	struct arena *ar;
};

/* Folds texts, resolves sets, orders keys by cost. 0 or -ENOMEM. */
int search_prepare(struct search *s);
/* Holds a message against a key: 1, 0, or -1: more must be known. */
int search_match(struct search *s, const struct search_key *k, struct search_row *row);
/* Finds the messages that match, as numbers in the command's arena. 0; -EPIPE: the client is
 * gone; -ETIME; another code: no_store was called. */
int search_run(struct search *s, struct seq_set *ret);

/* search_text.c: whether a header's or envelope's values have k's text. */
bool search_in_header(struct str header, const struct search_key *k);
bool search_in_value(struct str raw, const struct search_key *k);
bool search_in_addresses(const struct facts_addrs *list, const struct search_key *k);
/* Sets `found` of every key of s->texts. 0 or a code when the message cannot be read. Lets
 * other sessions run. */
int search_scan(struct search *s, const struct content *m, struct str header);

#endif
