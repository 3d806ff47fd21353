/* Time: monotonic for deadlines, real for what is written down. */
#ifndef LIB_BASE_CLOCK_H
#define LIB_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

uint64_t clock_ms(void);      /* monotonic milliseconds */
uint64_t clock_us(void);      /* monotonic microseconds */
uint64_t clock_real_us(void); /* microseconds since 1970, UTC */

/* "Tue, 24 Nov 2026 08:49:51 +0000" (RFC 5322 section 3.3) in local time;
 * cached per second and thread. Valid until the thread's next call. */
const char *clock_rfc5322(void);
/* "2026-11-24T08:49:51.123Z" into out[25]. */
void clock_iso(uint64_t real_us, char out[static 25]);

#endif
