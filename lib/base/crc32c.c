/*
 * CRC32C; the processor's instruction where there is one, else a table. The
 * instruction can begin every cycle but takes three, so long input is summed in
 * three parts side by side: the sum of A, B and C behind each other is that of A
 * shifted over the length of B and C, that of B shifted over C's, and C's, added
 * without carry. Shifting over PART bytes is linear: one look-up a byte.
 */
#include "lib/base/crc32c.h"

#include <string.h>

#define PART 1024u

static uint32_t table[256];

__attribute__((constructor(199))) static void
table_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
		table[i] = c;
	}
}

static uint32_t
soft(uint32_t c, const unsigned char *p, size_t n)
{
	while (n--)
		c = table[(c ^ *p++) & 255] ^ c >> 8;
	return c;
}

#if defined(__x86_64__)
static uint32_t over_part[4][256]; /* what each byte of a sum becomes behind PART bytes */

__attribute__((constructor(200))) static void
over_part_init(void)
{
	static const unsigned char zeros[PART];

	for (unsigned k = 0; k < 4; k++)
		for (unsigned bit = 1; bit < 256; bit <<= 1) {
			over_part[k][bit] = soft((uint32_t)bit << 8 * k, zeros, PART);
			for (unsigned low = 1; low < bit; low++)
				over_part[k][bit | low] = over_part[k][bit] ^ over_part[k][low];
		}
}

static uint32_t
shift(uint32_t c)
{
	return over_part[0][c & 255] ^ over_part[1][c >> 8 & 255] ^ over_part[2][c >> 16 & 255] ^
	    over_part[3][c >> 24];
}

__attribute__((target("sse4.2"))) static uint64_t
step(uint64_t c, const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return __builtin_ia32_crc32di(c, v);
}

__attribute__((target("sse4.2"))) static uint32_t
hard(uint32_t c, const unsigned char *p, size_t n)
{
	uint64_t x = c;

	for (; n >= 3 * PART; n -= 3 * PART, p += 3 * PART) {
		uint64_t y = 0, z = 0;

		for (size_t i = 0; i < PART; i += 8) {
			x = step(x, p + i);
			y = step(y, p + PART + i);
			z = step(z, p + 2 * PART + i);
		}
		x = shift(shift((uint32_t)x) ^ (uint32_t)y) ^ (uint32_t)z;
	}
	for (; n >= 8; n -= 8, p += 8)
		x = step(x, p);
	c = (uint32_t)x;
	for (; n; n--, p++)
		c = __builtin_ia32_crc32qi(c, *p);
	return c;
}
#endif

uint32_t
crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~hard(~crc, p, n);
#endif
	return ~soft(~crc, p, n);
}
