/*
 * What libspf2 says about the same question, to be compared with our own result. It is asked
 * only about records that our parser let pass whole and that needed no more lookups than are
 * allowed: what it is known to read wrongly it does not see.
 */
#ifndef PLUGINS_SPF_CROSS_H
#define PLUGINS_SPF_CROSS_H

#include "plugins/spf/eval.h"

/* Whether this was built with libspf2. */
int spf_cross_built(void);

/* 1 with *ret, or 0: it was not asked, or gave no result. v is our own verdict. */
int spf_cross_check(const struct spf_query *q, const struct spf_verdict *v, enum spf_result *ret);

#endif
