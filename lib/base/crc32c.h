/* CRC32C (Castagnoli), the check of every on-disk record. */
#ifndef LIB_BASE_CRC32C_H
#define LIB_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of n more bytes after those that gave crc; start with 0 (or with a
 * secret seed, so that foreign bytes cannot carry a valid sum). */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
