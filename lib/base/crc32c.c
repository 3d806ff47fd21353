/* CRC32C; the processor's instruction where there is one, else a table. */
#include "lib/base/crc32c.h"

#include <string.h>

static uint32_t table[256];

__attribute__((constructor)) static void
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
__attribute__((target("sse4.2"))) static uint32_t
hard(uint32_t c, const unsigned char *p, size_t n)
{
	uint64_t x = c, v;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&v, p, 8);
		x = __builtin_ia32_crc32di(x, v);
	}
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
