/*
 * The grammar of IMAP commands (RFC 3501 section 9, RFC 4466, 7888): one whole
 * command in one piece of memory, literals in place behind their "{n}CRLF",
 * without the CRLF that ends it.
 *
 * Each parse_ function takes what it names from the front of `in` and returns
 * true, or returns false and says why in `why` (the first reason stays; it is
 * the text of the BAD reply). Results borrow from the command or live in its
 * arena. Limits: PARSE_ATOM_MAX bytes an atom, PARSE_DEPTH_MAX nested parentheses,
 * PARSE_RANGES_MAX ranges of a set, PARSE_ITEMS_MAX elements of any list.
 */
#ifndef IMAPD_PARSE_H
#define IMAPD_PARSE_H

#include "lib/base/arena.h"
#include "lib/base/str.h"

enum {
	PARSE_ATOM_MAX = 8192,
	PARSE_DEPTH_MAX = 50,
	PARSE_RANGES_MAX = 65536,
	PARSE_ITEMS_MAX = 4096,
	PARSE_KEYWORD_MAX = 255,
};

struct parse {
	struct str in;
	struct arena *ar;
	const char *why;
	bool syntax_no; /* the command is well-formed but cannot be: NO, not BAD */
	unsigned depth;
};

void parse_init(struct parse *p, struct str in, struct arena *ar);
/* Sets the reason (unless there is one) and returns false. */
bool parse_fail(struct parse *p, const char *why);

bool parse_is(const struct parse *p, char c); /* whether c comes next */
bool parse_char(struct parse *p, char c);
bool parse_sp(struct parse *p);
bool parse_end(struct parse *p);
/* Takes the word (ASCII case folded) if it comes next and no atom character
 * follows it; never sets a reason. */
bool parse_word(struct parse *p, const char *word);

bool parse_tag(struct parse *p, struct str *ret);
bool parse_atom(struct parse *p, struct str *ret);
bool parse_astring(struct parse *p, struct str *ret);
bool parse_string(struct parse *p, struct str *ret);  /* quoted or literal */
bool parse_nstring(struct parse *p, struct str *ret); /* NIL: p NULL */
bool parse_number(struct parse *p, uint32_t *ret);
bool parse_nz_number(struct parse *p, uint32_t *ret);
bool parse_modseq(struct parse *p, uint64_t *ret); /* 63 bits (RFC 7162 section 7) */

/* A mailbox name, decoded to UTF-8; every spelling of INBOX becomes "INBOX". */
bool parse_mailbox(struct parse *p, struct str *ret);
/* The same where a trailing hierarchy separator is allowed, and is cut (CREATE). */
bool parse_mailbox_dir(struct parse *p, struct str *ret);
/* A LIST pattern: as sent, in modified UTF-7. */
bool parse_list_mailbox(struct parse *p, struct str *ret);

/* A sequence set. `*` is SEQ_STAR until seq_resolve. */
#define SEQ_STAR 0
struct seq_range {
	uint32_t lo, hi;
};
struct seq_set {
	struct seq_range *v;
	size_t n;
};
bool parse_seq_set(struct parse *p, struct seq_set *ret);
/* Puts max where `*` stands, orders and merges: ascending disjoint ranges. */
void seq_resolve(struct seq_set *s, uint32_t max);

/* A list of flags: system flags as bits of lib/client/store.h, the rest names. */
struct flag_args {
	uint32_t sysflags;
	struct str *keywords;
	size_t n;
};
bool parse_flag_list(struct parse *p, struct flag_args *ret);  /* parenthesised */
bool parse_flags_loose(struct parse *p, struct flag_args *ret); /* or bare, as in STORE */
bool parse_keyword(struct parse *p, struct str *ret);

/* "1-Feb-1994", quoted or not: days since 1970. */
bool parse_date(struct parse *p, int64_t *ret_days);
/* The quoted date-time of APPEND. */
bool parse_date_time(struct parse *p, int64_t *ret_time, int32_t *ret_zone_minutes);

/* Skips one parenthesised list of anything, or one astring or NIL. */
bool parse_skip_value(struct parse *p);

/* Days since 1970 of a civil date, and back. */
int64_t days_from_civil(int year, int month, int day);
void civil_from_days(int64_t days, int *ret_year, int *ret_month, int *ret_day);
extern const char month_names[12][4];

#endif
