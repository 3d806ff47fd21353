/* Text as the plugins that ship cut, compare and clean it. */
#ifndef PLUGINS_COMMON_TEXT_H
#define PLUGINS_COMMON_TEXT_H

#include "plugins/plugin.h"

char text_lower(char c); /* of ASCII letters alone */

/* Cuts the next word off, by blanks and tabs; empty at the end. */
struct ph_str text_word(struct ph_str *rest);
/* Whether s begins with word, ends with it, whatever the case. */
int text_begins(struct ph_str s, const char *word);
int text_ends(struct ph_str s, struct ph_str word);

/* What stands behind the last '@': p is NULL when there is none. And what before it, or all. */
struct ph_str text_domain(struct ph_str address);
struct ph_str text_local(struct ph_str address);

/* Foreign text as it may stand in a reply, a field or a log line: what is no printable ASCII becomes
 * '?', at most size - 1 bytes. The length. */
size_t text_clean(struct ph_str text, char *ret, size_t size);

#define TEXTS_MAX 256
/* The texts of a list option, at most TEXTS_MAX; they live as long as the plugin. */
struct texts {
	struct ph_str v[TEXTS_MAX];
	unsigned n;
};
void texts_read(struct ph_conf *conf, const char *option, struct texts *ret);
/* Whether an address stands in the list, or its local part does; whatever the case. */
int texts_have_address(const struct texts *t, struct ph_str address);

#endif
