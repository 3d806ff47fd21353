/* Which names, types and contents of attachments a site does not want. Pure. */
#ifndef PLUGINS_ATTACH_POLICY_H
#define PLUGINS_ATTACH_POLICY_H

#include "plugins/common/text.h"

struct policy {
	struct texts extensions;   /* "exe" */
	struct texts names;        /* patterns of whole names */
	struct texts types;        /* patterns of MIME types */
	int hidden;                /* extensions before others, and marks of direction, too */
	int archives;              /* names in zip archives too */
	int encrypted, broken;     /* archives with a password; that cannot be read */
	int sniff;                 /* programs by their content */
	uint64_t entries_max;      /* of an archive: more are as broken */
};

#define POLICY_NAME_MAX 1024

/* Whether the text matches a pattern of '*' and '?', whatever the case. At most n_text * n_pattern
 * steps. */
int policy_matches(struct ph_str pattern, struct ph_str text);

/* The last part of a path, without blanks and dots at its end. */
struct ph_str policy_base_name(struct ph_str name);

/* Each: NULL, or in a few words what is not wanted about it. */
const char *policy_name(const struct policy *p, struct ph_str name);
const char *policy_type(const struct policy *p, struct ph_str type);
/* Of the decoded content; *ret_inside: of an archive, the name that it is about, else empty. */
const char *policy_content(const struct policy *p, struct ph_str content, struct ph_str *ret_inside);

#endif
