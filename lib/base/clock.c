/* Time; see clock.h. */
#include "lib/base/clock.h"

#include <stdio.h>
#include <string.h>

static uint64_t
read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t
clock_us(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t
clock_ms(void)
{
	return clock_us() / 1000;
}

uint64_t
clock_real_us(void)
{
	return read_clock(CLOCK_REALTIME);
}

const char *
clock_rfc5322(void)
{
	/* names of our own: strftime's follow the locale */
	static const char day[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char mon[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
		"Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	static _Thread_local time_t last;
	static _Thread_local char text[64];
	time_t now = time(NULL);
	struct tm t;
	long off;

	if (now == last)
		return text;
	localtime_r(&now, &t);
	off = t.tm_gmtoff / 60;
	snprintf(text, sizeof text, "%s, %d %s %04d %02d:%02d:%02d %c%02ld%02ld", day[t.tm_wday],
	    t.tm_mday, mon[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec,
	    off < 0 ? '-' : '+', (off < 0 ? -off : off) / 60, (off < 0 ? -off : off) % 60);
	last = now;
	return text;
}

void
clock_iso(uint64_t real_us, char out[static 25])
{
	/* every log line asks: the calendar part is made once a second */
	static _Thread_local time_t last = -1;
	static _Thread_local char text[64];
	time_t s = (time_t)(real_us / 1000000);
	unsigned ms = (unsigned)(real_us / 1000 % 1000);
	struct tm t;

	if (s != last) {
		gmtime_r(&s, &t);
		snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.000Z",
		    t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
		last = s;
	}
	memcpy(out, text, 24);
	out[20] = (char)('0' + ms / 100);
	out[21] = (char)('0' + ms / 10 % 10);
	out[22] = (char)('0' + ms % 10);
	out[24] = '\0';
}
