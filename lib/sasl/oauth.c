/* Messages with bearer tokens; see oauth.h. */
#include "lib/sasl/oauth.h"

#include <errno.h>

#include "lib/base/buf.h"
#include "lib/base/text.h"

#define AWAY "\001"

/* "Bearer TOKEN" (RFC 6750 section 2.1). */
static int
bearer(struct str value, struct str *ret)
{
	if (!str_istarts(value, STR("Bearer ")))
		return -EINVAL;
	value = str_trim(str_skip(value, 7));
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] <= 32 || value.p[i] >= 127)
			return -EINVAL;
	*ret = value;
	return value.n ? 0 : -EINVAL;
}

/* The pairs "key=value", each ended by ^A, and the ^A behind them all. */
static int
pairs(struct str s, struct str *ret_token)
{
	struct str token = STR_NULL;

	while (s.n > 1) {
		struct str value, name;

		if (str_chr(s, '\001') < 0)
			return -EINVAL;
		value = str_cut(&s, '\001');
		name = str_cut(&value, '=');
		if (!name.n || !value.p)
			return -EINVAL;
		if (str_ieq(name, STR("auth")) && (token.p || bearer(value, &token)))
			return -EINVAL;
	}
	if (!str_eq(s, STR(AWAY)) || !token.p)
		return -EINVAL;
	*ret_token = token;
	return 0;
}

/* saslname: "=2C" and "=3D" stand for ',' and '=' (RFC 5801 section 4). */
static int
sasl_name(struct str s, struct arena *a, struct str *ret)
{
	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;

	if (!out)
		return -ENOMEM;
	while (s.n) {
		bool comma = str_starts(s, STR("=2C")), equals = str_starts(s, STR("=3D"));

		if (s.p[0] == '=' && !comma && !equals)
			return -EINVAL;
		out[n++] = comma ? ',' : equals ? '=' : s.p[0];
		s = str_skip(s, comma || equals ? 3 : 1);
	}
	*ret = str_from(out, n);
	return ascii_has_control(*ret) ? -EINVAL : 0;
}

int
oauth_bearer(struct str message, struct arena *a, struct oauth_message *ret)
{
	struct oauth_message m = { 0 };
	struct str rest = message, flag = str_cut(&rest, ','), name = str_cut(&rest, ',');

	/* no channel binding: "p=" would ask for one */
	if (!rest.p || (!str_eq(flag, STR("n")) && !str_eq(flag, STR("y"))))
		return -EINVAL;
	if (name.n && (!str_starts(name, STR("a=")) || sasl_name(str_skip(name, 2), a, &m.user)))
		return -EINVAL;
	if (!str_starts(rest, STR(AWAY)) || pairs(str_skip(rest, 1), &m.token))
		return -EINVAL;
	*ret = m;
	return 0;
}

int
oauth_x2(struct str message, struct oauth_message *ret)
{
	struct oauth_message m = { 0 };
	struct str rest = message;

	if (!str_starts(rest, STR("user=")))
		return -EINVAL;
	rest = str_skip(rest, 5);
	m.user = str_cut(&rest, '\001');
	if (!rest.p || ascii_has_control(m.user) || pairs(rest, &m.token))
		return -EINVAL;
	*ret = m;
	return 0;
}
