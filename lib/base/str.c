/* Borrowed bytes; see str.h. */
#include "lib/base/str.h"

#include <sys/random.h>

bool
str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
strs_eq(const struct str *a, size_t n_a, const struct str *b, size_t n_b)
{
	bool same = n_a == n_b;

	for (size_t i = 0; same && i < n_a; i++)
		same = str_eq(a[i], b[i]);
	return same;
}

bool
str_ieq(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
			return false;
	return true;
}

int
str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int r = n ? memcmp(a.p, b.p, n) : 0;

	if (r)
		return r;
	return a.n < b.n ? -1 : a.n > b.n;
}

int
str_icmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;

	for (size_t i = 0; i < n; i++) {
		unsigned char x = (unsigned char)ascii_lower(a.p[i]);
		unsigned char y = (unsigned char)ascii_lower(b.p[i]);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return a.n < b.n ? -1 : a.n > b.n;
}

bool
str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq(str_head(s, prefix.n), prefix);
}

bool
str_istarts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_ieq(str_head(s, prefix.n), prefix);
}

bool
str_ends(struct str s, struct str suffix)
{
	return s.n >= suffix.n && str_eq(str_skip(s, s.n - suffix.n), suffix);
}

bool
str_iends(struct str s, struct str suffix)
{
	return s.n >= suffix.n && str_ieq(str_skip(s, s.n - suffix.n), suffix);
}

ptrdiff_t
str_chr(struct str s, char c)
{
	const char *q = s.n ? memchr(s.p, c, s.n) : NULL;

	return q ? q - s.p : -1;
}

ptrdiff_t
str_rchr(struct str s, char c)
{
	const char *q = s.n ? memrchr(s.p, c, s.n) : NULL;

	return q ? q - s.p : -1;
}

ptrdiff_t
str_find(struct str s, struct str needle)
{
	const char *q;

	if (needle.n == 0)
		return 0;
	q = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
	return q ? q - s.p : -1;
}

ptrdiff_t
str_ifind(struct str s, struct str needle)
{
	if (needle.n == 0)
		return 0;
	for (size_t i = 0; i + needle.n <= s.n; i++)
		if (ascii_lower(s.p[i]) == ascii_lower(needle.p[0]) &&
		    str_ieq(str_from(s.p + i, needle.n), needle))
			return (ptrdiff_t)i;
	return -1;
}

struct str
str_trim(struct str s)
{
	while (s.n && ascii_isspace(s.p[0]))
		s = str_skip(s, 1);
	while (s.n && ascii_isspace(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct str
str_cut(struct str *s, char sep)
{
	ptrdiff_t i = str_chr(*s, sep);
	struct str r = *s;

	if (i < 0) {
		*s = STR_NULL;
		return r;
	}
	r.n = (size_t)i;
	*s = str_skip(*s, (size_t)i + 1);
	return r;
}

struct str
str_word(struct str *s)
{
	size_t i = 0;
	struct str r;

	while (s->n && (s->p[0] == ' ' || s->p[0] == '\t'))
		*s = str_skip(*s, 1);
	while (i < s->n && s->p[i] != ' ' && s->p[i] != '\t')
		i++;
	r = str_head(*s, i);
	*s = str_skip(*s, i);
	return r;
}

bool
str_u64(struct str s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned)(s.p[i] - '0');

		if (!ascii_isdigit(s.p[i]))
			return false;
		if (v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	if (v > max)
		return false;
	*ret = v;
	return true;
}

bool
str_u32(struct str s, uint32_t max, uint32_t *ret)
{
	uint64_t v;

	if (!str_u64(s, max, &v))
		return false;
	*ret = (uint32_t)v;
	return true;
}

static uint64_t
hash_seed(void)
{
	static uint64_t seed;
	uint64_t s = __atomic_load_n(&seed, __ATOMIC_RELAXED), zero = 0;

	if (s)
		return s;
	if (getrandom(&s, sizeof s, 0) != sizeof s)
		s = (uint64_t)(uintptr_t)&seed;
	s |= 1;
	if (!__atomic_compare_exchange_n(&seed, &zero, s, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		s = zero;
	return s;
}

static inline uint64_t
mix(uint64_t h, uint64_t v)
{
	__uint128_t m = (__uint128_t)(h ^ v) * 0x9e3779b97f4a7c15u;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t
hash(struct str s, bool fold)
{
	uint64_t h = hash_seed() ^ s.n, v;
	unsigned char t[8];

	for (size_t i = 0; i < s.n; i += 8) {
		size_t n = s.n - i < 8 ? s.n - i : 8;

		memset(t, 0, sizeof t);
		memcpy(t, s.p + i, n);
		if (fold)
			for (size_t k = 0; k < n; k++)
				t[k] = (unsigned char)ascii_lower((char)t[k]);
		memcpy(&v, t, 8);
		h = mix(h, v);
	}
	return mix(h, 0x2545f4914f6cdd1du);
}

uint64_t
str_hash(struct str s)
{
	return hash(s, false);
}

uint64_t
str_ihash(struct str s)
{
	return hash(s, true);
}
