/*
 * Rules of the block checks: what is done to a message one of whose lines fits a
 * pattern. One rule a line:
 *
 *	[!]/PATTERN/FLAGS ACTION [TEXT]
 *	if [!]/PATTERN/FLAGS
 *	endif
 *
 * The first rule that fits counts, whatever it does. $1 and ${1} in TEXT are groups of
 * its pattern.
 */
#ifndef LIB_CONF_RULES_H
#define LIB_CONF_RULES_H

#include "lib/base/regex.h"
#include "lib/conf/settings.h"

#define RULES_MAX 2000       /* of one kind of line */

enum rule_action {
	RULE_IF, RULE_ENDIF,
	RULE_REJECT,    /* 550 5.7.1, or the code that TEXT begins with; 450 for 4.x.x */
	RULE_DISCARD,   /* taken and thrown away */
	RULE_HOLD,      /* kept in the queue until somebody looks at it */
	RULE_REDIRECT,  /* to TEXT instead of its recipients */
	RULE_BCC,       /* a copy to TEXT */
	RULE_PREPEND,   /* TEXT as a line before */
	RULE_REPLACE,   /* TEXT in place of the line */
	RULE_IGNORE,    /* without the line */
	RULE_STRIP,     /* the same, logged */
	RULE_WARN,      /* logged as a warning */
	RULE_INFO,      /* logged */
	RULE_DUNNO,     /* nothing: later rules do not count */
};

struct rule {
	enum rule_action action;
	struct regex *pattern;  /* not of ENDIF */
	struct str text;
};

/* Whether it is the word none. */
bool rules_none(const struct conf_rules *r);
/* Adds the rules of a text, which may have several lines (comments, empty and continued
 * ones as in files of tables). 0, or negative and e says what is wrong, by line when
 * there are several. */
int rules_add(struct conf_rules *r, struct str text, struct arena *a, struct err *e);
/* "REJECT" and the like. */
const char *rule_action_name(enum rule_action a);

#endif
