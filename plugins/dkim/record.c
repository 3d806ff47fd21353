/* Key records; see record.h. */
#include "plugins/dkim/record.h"

#include "plugins/dkim/tags.h"

static int
is_key(struct ph_str txt)
{
	struct tags t;

	return !tags_parse(txt, &t) && tags_get(&t, "p").p;
}

int
record_pick(const struct ph_str *txt, unsigned n)
{
	int found = -1;

	for (unsigned i = 0; i < n; i++) {
		if (!is_key(txt[i]))
			continue;
		if (found >= 0)
			return -2;
		found = (int)i;
	}
	return found;
}
