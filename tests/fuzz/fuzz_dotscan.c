/*
 * The text of DATA and BDAT: whatever the cuts (the first byte says how), the end,
 * the faults and the content are the same, and text that was made clean has none.
 */
#include <stdlib.h>

#include "lib/base/buf.h"
#include "mta/dotscan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Scans in pieces of that size, taking content out as smtpd does. Where it ended. */
static size_t
scan(struct str in, size_t step, struct buf *content, unsigned *faults)
{
	char *p = malloc(in.n + 1);
	struct dotscan d = { .line_max = 100 };
	size_t at = 0, len = 0;
	bool end = false;

	while (at < in.n && !end) {
		size_t n = in.n - at < step ? in.n - at : step;

		memcpy(p + len, in.p + at, n);
		at += n;
		len += n;
		end = dotscan(&d, p, len);
		if (end)
			at -= len - d.line;
		else if (at % 3 == 0)
			dotscan_cut(&d, p, len);
		buf_put(content, p, d.out);
		len = dotscan_take(&d, p, len);
	}
	*faults = d.faults;
	free(p);
	return end ? at : 0;
}

static void
octets(struct str in, size_t step)
{
	char *out = malloc(2 * in.n + 1);
	unsigned faults = 0, whole;
	bool cr = false, none = false;
	size_t line = 0, len = 0;

	whole = dotscan_text(in.p, in.n, 100, &none, &len);
	for (size_t at = 0; at < in.n; at += step)
		faults |= dotscan_text(in.p + at, in.n - at < step ? in.n - at : step, 100, &cr, &line);
	if (faults != whole || cr != none || line != len)
		abort();
	len = dotscan_normalize(in.p, in.n, out);
	cr = false, line = 0;
	if (dotscan_text(out, len, 0, &cr, &line) || cr)
		abort();
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf a = { 0 }, b = { 0 };
	struct str in;
	unsigned fa, fb;
	size_t ea, eb;

	if (size < 2)
		return 0;
	in = str_from(data + 1, size - 1);
	ea = scan(in, in.n, &a, &fa);
	eb = scan(in, 1 + data[0] % 8, &b, &fb);
	if (ea != eb || (ea && (fa != fb || !str_eq(buf_view(&a), buf_view(&b)))))
		abort();
	octets(in, 1 + data[0] % 8);
	buf_done(&a);
	buf_done(&b);
	return 0;
}
