/* Names of accounts and domains; see mailname.h. */
#include "mta/mailname.h"

#include <errno.h>
#include <idn2.h>
#include <stdlib.h>

#include "lib/base/text.h"

static bool
domain_ascii(struct str d, char out[static MAILNAME_DOMAIN_MAX + 1])
{
	bool dot = true;

	for (size_t i = 0; i < d.n; i++) {
		char c = ascii_lower(d.p[i]);

		if (c == '.' ? dot : !(ascii_isalnum(c) || c == '-' || c == '_'))
			return false;
		dot = c == '.';
		out[i] = c;
	}
	out[d.n] = '\0';
	return !dot;
}

int
mailname_domain(struct str domain, char out[static MAILNAME_DOMAIN_MAX + 1])
{
	char text[MAILNAME_DOMAIN_MAX + 1];
	char *ascii = NULL;
	bool ok;

	if (domain.n && domain.p[domain.n - 1] == '.')
		domain.n--;
	if (!domain.n || domain.n > MAILNAME_DOMAIN_MAX)
		return -EINVAL;
	if (ascii_only(domain))
		return domain_ascii(domain, out) ? 0 : -EINVAL;
	if (!utf8_valid(domain) || memchr(domain.p, '\0', domain.n))
		return -EINVAL;
	memcpy(text, domain.p, domain.n);
	text[domain.n] = '\0';
	if (idn2_to_ascii_8z(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return -EINVAL;
	ok = strlen(ascii) <= MAILNAME_DOMAIN_MAX && domain_ascii(str_c(ascii), out);
	idn2_free(ascii);
	return ok ? 0 : -EINVAL;
}

/* The local part without quotes and backslashes, in lower case. */
static int
local_part(struct str l, char out[static MAILNAME_LOCAL_MAX + 1])
{
	bool quoted = l.n >= 2 && l.p[0] == '"' && l.p[l.n - 1] == '"';
	size_t n = 0;

	if (quoted)
		l = str_from(l.p + 1, l.n - 2);
	for (size_t i = 0; i < l.n; i++) {
		if (quoted && l.p[i] == '\\' && ++i == l.n)
			return -EINVAL;
		if ((unsigned char)l.p[i] < ' ' || l.p[i] == 0x7f || n == MAILNAME_LOCAL_MAX)
			return -EINVAL;
		out[n++] = ascii_lower(l.p[i]);
	}
	out[n] = '\0';
	return n && utf8_valid(str_from(out, n)) ? 0 : -EINVAL;
}

int
mailname_parse(struct str address, struct mailname *ret)
{
	ptrdiff_t at = str_rchr(address, '@');
	int r;

	ret->domain[0] = '\0';
	if (at < 0)
		return local_part(address, ret->local);
	r = local_part(str_head(address, (size_t)at), ret->local);
	return r ? r : mailname_domain(str_skip(address, (size_t)at + 1), ret->domain);
}

bool
mailname_plain(const struct mailname *m)
{
	bool dot = true;

	for (const char *p = m->local; *p; p++) {
		if (*p == '.' ? dot : !(ascii_isalnum(*p) || (unsigned char)*p >= 0x80 ||
		                         strchr("!#$%&'*+-/=?^_`{|}~", *p)))
			return false;
		dot = *p == '.';
	}
	return !dot;
}
