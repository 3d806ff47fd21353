/* "Did you mean": the candidate with the smallest edit distance, counting an
 * exchange of neighbours as one edit, when that is a third of the word at most. */
#include "lib/conf/table.h"

#define LEN_MAX 40

static unsigned
min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Optimal string alignment distance; both at most LEN_MAX long. */
static unsigned
distance(struct str a, struct str b)
{
	unsigned d[LEN_MAX + 1][LEN_MAX + 1];

	for (unsigned i = 0; i <= a.n; i++)
		d[i][0] = i;
	for (unsigned k = 0; k <= b.n; k++)
		d[0][k] = k;
	for (size_t i = 1; i <= a.n; i++) {
		for (size_t k = 1; k <= b.n; k++) {
			char x = ascii_lower(a.p[i - 1]), y = ascii_lower(b.p[k - 1]);
			unsigned swap;

			d[i][k] = min3(d[i - 1][k] + 1, d[i][k - 1] + 1, d[i - 1][k - 1] + (x != y));
			if (i < 2 || k < 2 || x != ascii_lower(b.p[k - 2]) ||
			    ascii_lower(a.p[i - 2]) != y)
				continue;
			swap = d[i - 2][k - 2] + 1;
			d[i][k] = swap < d[i][k] ? swap : d[i][k];
		}
	}
	return d[a.n][b.n];
}

const char *
conf_near(struct str word, const char *(*next)(void *arg, size_t i), void *arg)
{
	unsigned best = (unsigned)(word.n < 3 ? 1 : (word.n + 2) / 3) + 1;
	const char *candidate;
	size_t found = 0;
	bool any = false;

	if (word.n == 0 || word.n > LEN_MAX)
		return NULL;
	for (size_t i = 0; (candidate = next(arg, i)); i++) {
		struct str c = str_c(candidate);
		unsigned d = c.n > LEN_MAX ? best : distance(word, c);

		if (d < best) {
			best = d;
			found = i;
			any = true;
		}
	}
	return any ? next(arg, found) : NULL;
}
