/* Key records by the host's resolver; see record.h. */
#include <errno.h>

#include "plugins/dkim/record.h"

#define MARGIN_MS 500
#define TXT 16

static enum verify_key
copy(struct ph_str txt, char *buf, size_t n)
{
	if (txt.n >= n || memchr(txt.p, '\0', txt.n))
		return VERIFY_KEY_MISSING;
	memcpy(buf, txt.p, txt.n);
	buf[txt.n] = '\0';
	return VERIFY_KEY_FOUND;
}

enum verify_key
record_fetch(void *arg, const char *name, char *buf, size_t n)
{
	struct ph_call *c = arg;
	struct ph_dns d;
	int r, i;

	if (ph_number(c, PH_DEADLINE_MS) < MARGIN_MS)
		return VERIFY_KEY_LATER;
	r = ph_dns(c, ph_c(name), TXT, &d);
	if (r == -EINVAL)
		return VERIFY_KEY_MISSING;
	if (r || d.status == PH_DNS_FAILED || d.status == PH_DNS_BOGUS)
		return VERIFY_KEY_LATER;
	if (d.status != PH_DNS_OK)
		return VERIFY_KEY_MISSING;
	i = record_pick(d.rdata, d.n);
	return i >= 0 ? copy(d.rdata[i], buf, n) : i == -2 ? VERIFY_KEY_TWO : VERIFY_KEY_MISSING;
}
