/*
 * Perl's regular expressions by PCRE2, as tables and checks write them:
 *
 *	[!]/PATTERN/FLAGS
 *
 * Matching takes no notice of case unless the flag i says so; a dot matches line ends
 * too unless the flag s says so; m x A E U as in pcre_table(5). What a match may cost is
 * bounded, and nothing is compiled to machine code.
 */
#ifndef LIB_BASE_REGEX_H
#define LIB_BASE_REGEX_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

struct regex;

/* Reads a pattern off *line (blanks around it too) into the arena. 0, or negative and e
 * says what is wrong with it. */
int regex_take(struct str *line, struct arena *a, struct regex **ret, struct err *e);

/* The memory of matching; one at a time may use it. NULL without memory. steps: how many
 * a match may take. */
struct matcher;
struct matcher *matcher_new(unsigned steps);
void matcher_free(struct matcher **m);

/* 1: the pattern fits (or, behind !, does not), 0: not so, -E2BIG: that is too costly to
 * find out. */
int regex_match(struct matcher *m, const struct regex *p, struct str subject);
/* Appends text, with $1 to $99, ${1} and $(1) replaced by groups of the last match and $$
 * by a dollar. subject: as matched. */
void regex_expand(const struct matcher *m, struct str subject, struct str text, struct buf *out);

#endif
