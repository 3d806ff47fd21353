/*
 * DNS lists as names, answers and entries of the configuration; see zone.h.
 *
 * All that comes from outside (addresses, HELO names, answers) has a length and is copied into
 * arrays of fixed sizes, or refused.
 */
#include "plugins/dnsbl/zone.h"

#include <stdio.h>
#include <stdlib.h>

#include "plugins/common/net.h"
#include "plugins/common/text.h"

#define LABEL_MAX 63

/* ---- names ---- */

static int
is_name_byte(char c)
{
	c = text_lower(c);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Two labels or more of letters, digits, '-' and '_', the last with a letter: so no address. */
static int
is_host_name(struct ph_str s)
{
	size_t label = 0, dots = 0;
	int letter = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.') {
			if (!label)
				return 0;
			label = 0;
			letter = 0;
			dots++;
		} else if (!is_name_byte(s.p[i]) || ++label > LABEL_MAX) {
			return 0;
		} else {
			letter |= text_lower(s.p[i]) >= 'a' && text_lower(s.p[i]) <= 'z';
		}
	}
	return dots && label && letter;
}

static struct ph_str
without_dot(struct ph_str s)
{
	if (s.n && s.p[s.n - 1] == '.')
		s.n--;
	return s;
}

int
zone_ask_domain(const struct zone *z, struct ph_str domain, char ret[ZONE_NAME_MAX])
{
	struct ph_str d = without_dot(domain);
	size_t n = d.n + 1 + strlen(z->name);

	if (n >= ZONE_NAME_MAX || !is_host_name(d))
		return -1;
	for (size_t i = 0; i < d.n; i++)
		ret[i] = text_lower(d.p[i]);
	snprintf(ret + d.n, ZONE_NAME_MAX - d.n, ".%s", z->name);
	return 0;
}

/* ---- addresses ---- */

int
zone_ask_address(const struct zone *z, struct ph_str ip, char ret[ZONE_NAME_MAX])
{
	unsigned char a[16];
	char text[ZONE_NAME_MAX] = "";
	size_t n = 0;

	if (net_address(ip, a))
		return -1;
	if (net_is_ip4(a))
		n = (size_t)snprintf(text, sizeof text, "%u.%u.%u.%u.", a[15], a[14], a[13], a[12]);
	else
		for (int i = 15; i >= 0; i--)
			n += (size_t)snprintf(text + n, sizeof text - n, "%x.%x.", a[i] & 15u, a[i] >> 4);
	if (n + strlen(z->name) >= ZONE_NAME_MAX)
		return -1;
	memcpy(ret, text, n);
	snprintf(ret + n, ZONE_NAME_MAX - n, "%s", z->name);
	return 0;
}

/* ---- entries of the configuration ---- */

/* "2", "2-11" or "*". */
static int
read_octet(struct ph_str s, unsigned char *low, unsigned char *high)
{
	unsigned v[2] = { 0, 0 }, k = 0, digits = 0;

	if (s.n == 1 && *s.p == '*') {
		*low = 0;
		*high = 255;
		return 0;
	}
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '-' && !k && digits) {
			k = 1;
			digits = 0;
		} else if (s.p[i] < '0' || s.p[i] > '9' || ++digits > 3) {
			return -1;
		} else {
			v[k] = v[k] * 10 + (unsigned)(s.p[i] - '0');
		}
	}
	if (!k)
		v[1] = v[0];
	if (!digits || v[0] > v[1] || v[1] > 255)
		return -1;
	*low = (unsigned char)v[0];
	*high = (unsigned char)v[1];
	return 0;
}

static int
read_pattern(struct ph_str s, struct zone_pattern *ret)
{
	for (int i = 0; i < 4; i++) {
		const char *dot = s.n ? memchr(s.p, '.', s.n) : NULL;
		size_t n = dot ? (size_t)(dot - s.p) : s.n;

		if (!dot == (i < 3) || read_octet(ph_bytes(s.p, n), &ret->low[i], &ret->high[i]))
			return -1;
		s = dot ? ph_bytes(dot + 1, s.n - n - 1) : ph_bytes(s.p + n, 0);
	}
	return 0;
}

static int
read_weight(struct ph_str s, int *ret)
{
	char text[8], *end;
	long v;

	if (!s.n || s.n >= sizeof text)
		return -1;
	memcpy(text, s.p, s.n);
	text[s.n] = 0;
	v = strtol(text, &end, 10);
	if (*end || v < -ZONE_WEIGHT_MAX || v > ZONE_WEIGHT_MAX)
		return -1;
	*ret = (int)v;
	return 0;
}

static int
read_name(struct ph_str s, struct zone *ret)
{
	s = without_dot(s);
	if (s.n + LABEL_MAX + 1 >= sizeof ret->name || !is_host_name(s))
		return -1;
	for (size_t i = 0; i < s.n; i++)
		ret->name[i] = text_lower(s.p[i]);
	ret->name[s.n] = 0;
	return 0;
}

int
zone_parse(struct ph_str text, int weight, struct zone *ret, const char **why)
{
	struct zone z = { .weight = weight };
	struct ph_str rest = text, w;

	if (read_name(text_word(&rest), &z)) {
		*why = "it begins with the name of a zone, such as list.example.org";
		return -1;
	}
	while ((w = text_word(&rest)).n) {
		if (!read_weight(w, &z.weight))
			continue;
		if (z.n_patterns == ZONE_PATTERNS_MAX) {
			*why = "it has too many addresses";
			return -1;
		}
		if (read_pattern(w, &z.patterns[z.n_patterns])) {
			*why = "behind the zone stand addresses (127.0.0.2-11, 127.0.*.1) and a weight";
			return -1;
		}
		z.n_patterns++;
	}
	*ret = z;
	return 0;
}

/* ---- answers ---- */

static int
fits(const struct zone_pattern *p, const unsigned char a[4])
{
	for (int i = 0; i < 4; i++)
		if (a[i] < p->low[i] || a[i] > p->high[i])
			return 0;
	return 1;
}

enum zone_answer
zone_judge(const struct zone *z, struct ph_str rdata)
{
	unsigned char a[4];

	if (rdata.n != sizeof a)
		return ZONE_FOREIGN;
	memcpy(a, rdata.p, sizeof a);
	if (a[0] != 127)
		return ZONE_FOREIGN;
	for (unsigned i = 0; i < z->n_patterns; i++)
		if (fits(&z->patterns[i], a))
			return ZONE_LISTED;
	if (a[1] == 255 && a[2] == 255)
		return ZONE_REFUSED;
	return z->n_patterns ? ZONE_OTHER : ZONE_LISTED;
}
