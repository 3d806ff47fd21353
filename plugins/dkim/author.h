/* The domains of a From field: whose mail it says it is. */
#ifndef PLUGINS_DKIM_AUTHOR_H
#define PLUGINS_DKIM_AUTHOR_H

#include "plugins/plugin.h"

#define AUTHOR_MAX 16

struct author {
	char domain[AUTHOR_MAX][254]; /* lower case, each once */
	unsigned n;
	int more;                     /* there were more than AUTHOR_MAX, or one that is no domain */
};

/* Of a From field's value (RFC 5322 section 3.6.2), still folded: every domain behind an @ that
 * stands neither in a quoted string nor in a comment. */
void author_parse(struct ph_str from, struct author *ret);
/* Whether name is domain, or below it. ASCII case does not matter. */
int author_below(const char *name, const char *domain);

#endif
