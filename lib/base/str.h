/*
 * Borrowed bytes: a pointer and a length. A struct str never owns memory and
 * need not end in NUL; whoever hands one out says how long it stays valid.
 * Passed by value. Comparisons without case fold ASCII only, as the mail
 * protocols do.
 */
#ifndef LIB_BASE_STR_H
#define LIB_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t n;
};

/* A literal as a struct str; also usable in static initialisers. */
#define STR(lit) ((struct str){ "" lit, sizeof(lit) - 1 })
#define STR_INIT(lit) { "" lit, sizeof(lit) - 1 }
#define STR_NULL ((struct str){ NULL, 0 })
/* For printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) (int)(s).n, (s).n ? (s).p : ""

static inline struct str
str_from(const void *p, size_t n)
{
	return (struct str){ p, n };
}

/* The C string c (NULL counts as empty). */
static inline struct str
str_c(const char *c)
{
	return (struct str){ c, c ? strlen(c) : 0 };
}

/* s without its first n bytes (n is clipped). */
static inline struct str
str_skip(struct str s, size_t n)
{
	if (n > s.n)
		n = s.n;
	return (struct str){ s.p ? s.p + n : s.p, s.n - n };
}

/* The first n bytes of s (n is clipped). */
static inline struct str
str_head(struct str s, size_t n)
{
	return (struct str){ s.p, n < s.n ? n : s.n };
}

bool str_eq(struct str a, struct str b);
bool str_ieq(struct str a, struct str b);
/* Whether two lists have the same texts in the same order. */
bool strs_eq(const struct str *a, size_t n_a, const struct str *b, size_t n_b);
/* Like memcmp over the common length, then by length. */
int str_cmp(struct str a, struct str b);
int str_icmp(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_iends(struct str s, struct str suffix);

/* Index of the first byte c (str_chr), the last byte c (str_rchr), the first
 * needle (str_find, str_ifind: ASCII case folded), or -1. */
ptrdiff_t str_chr(struct str s, char c);
ptrdiff_t str_rchr(struct str s, char c);
ptrdiff_t str_find(struct str s, struct str needle);
ptrdiff_t str_ifind(struct str s, struct str needle);

/* Without leading and trailing spaces, tabs, CRs and LFs. */
struct str str_trim(struct str s);

/* Cuts *s at the first sep: returns what stands before it and leaves in *s
 * what stands after. Without sep returns all and leaves *s empty with p NULL,
 * so that `while (s.p)` walks every field, empty ones too. */
struct str str_cut(struct str *s, char sep);

/* Cuts the next word of *s, words being separated by spaces and tabs. Empty
 * when none is left. */
struct str str_word(struct str *s);

/* Whole-string decimal numbers without sign or blank. False (and *ret is left
 * alone) when s is empty, has another character, or is over max. */
bool str_u64(struct str s, uint64_t max, uint64_t *ret);
bool str_u32(struct str s, uint32_t max, uint32_t *ret);

/* 64-bit hashes for tables in memory (keyed at start of the process, never
 * written to disk). str_ihash folds ASCII case. */
uint64_t str_hash(struct str s);
uint64_t str_ihash(struct str s);

static inline char
ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static inline char
ascii_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

static inline bool
ascii_isalpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool
ascii_isdigit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
ascii_isalnum(char c)
{
	return ascii_isalpha(c) || ascii_isdigit(c);
}

static inline bool
ascii_isspace(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

#endif
