/* The log; see log.h. */
#include "lib/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/log_postfix.h"

#define LINE_MAX_BYTES 8192
#define BATCH_MAX (32u << 10)

_Atomic enum log_level log_threshold = LOG_L_INFO;

_Atomic enum log_style log_style = LOG_S_LOGFMT;

static struct {
	char hostname[256];
	char program[32];
	unsigned instance;
	int fd;
} self = { "localhost", "posthorn", 0, 2 };

static _Thread_local struct {
	bool on;
	struct buf b;
} batch;

void
log_init(const char *program, unsigned instance, int fd)
{
	snprintf(self.program, sizeof self.program, "%s", program);
	self.instance = instance;
	self.fd = fd < 0 ? 2 : fd;
}

void
log_set_style(enum log_style style, const char *hostname)
{
	snprintf(self.hostname, sizeof self.hostname, "%s", hostname);
	log_style = style;
}

static void
write_all(struct str s)
{
	while (s.n) {
		ssize_t w = write(self.fd, s.p, s.n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return; /* nobody to complain to */
		s = str_skip(s, (size_t)w);
	}
}

static bool
needs_quotes(struct str s)
{
	if (!s.n)
		return true;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
			return true;
	}
	return false;
}

static void
put_value(struct buf *b, struct str s)
{
	if (s.n > 2048)
		s.n = 2048;
	if (!needs_quotes(s)) {
		buf_str(b, s);
		return;
	}
	buf_putc(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\') {
			buf_putc(b, '\\');
			buf_putc(b, (char)c);
		} else if (c == '\n') {
			buf_puts(b, "\\n");
		} else if (c < ' ' || c == 0x7f) {
			buf_printf(b, "\\x%02x", c);
		} else {
			buf_putc(b, (char)c);
		}
	}
	buf_putc(b, '"');
}

static void
put_logfmt(struct buf *b, enum log_level level, const char *ev, size_t n, const struct log_field *f)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	char ts[25];

	clock_iso(clock_real_us(), ts);
	buf_puts(b, "ts=");
	buf_puts(b, ts);
	buf_puts(b, " lvl=");
	buf_puts(b, names[level]);
	buf_puts(b, " p=");
	buf_puts(b, self.program);
	buf_putc(b, '.');
	buf_u64(b, self.instance);
	buf_puts(b, " ev=");
	buf_puts(b, ev);
	for (size_t i = 0; i < n; i++) {
		buf_putc(b, ' ');
		buf_puts(b, f[i].key);
		buf_putc(b, '=');
		switch (f[i].kind) {
		case LF_STR:
			put_value(b, f[i].s);
			break;
		case LF_U64:
			buf_u64(b, f[i].u);
			break;
		case LF_I64:
			if ((int64_t)f[i].u < 0)
				buf_putc(b, '-');
			buf_u64(b, (int64_t)f[i].u < 0 ? -f[i].u : f[i].u);
			break;
		case LF_HEX:
			buf_printf(b, "%016llx", (unsigned long long)f[i].u);
			break;
		}
	}
	buf_putc(b, '\n');
}

/* The line of an event, or the two. */
static void
put_line(struct buf *b, enum log_level level, const char *ev, size_t n, const struct log_field *f)
{
	char name[48];
	bool put = false;

	if (log_style != LOG_S_LOGFMT)
		put = log_postfix_put(b, self.hostname, ev, n, f);
	if (put && log_style == LOG_S_POSTFIX)
		return;
	if (log_style == LOG_S_POSTFIX) {
		snprintf(name, sizeof name, "posthorn/%s", self.program);
		log_postfix_head(b, self.hostname, name);
	}
	put_logfmt(b, level, ev, n, f);
}

void
log_event(enum log_level level, const char *ev, size_t n, const struct log_field *f)
{
	struct buf b = { .max = LINE_MAX_BYTES };

	if (batch.on && level < LOG_L_WARN) {
		batch.b.max = BATCH_MAX + LINE_MAX_BYTES;
		put_line(&batch.b, level, ev, n, f);
		if (batch.b.n >= BATCH_MAX || batch.b.over)
			log_flush();
		return;
	}
	log_flush();
	put_line(&b, level, ev, n, f);
	if (b.over && b.n)
		b.p[b.n - 1] = '\n'; /* cut, still one line */
	write_all(buf_view(&b));
	buf_done(&b);
}

static size_t
put_word(char *line, size_t at, size_t max, const char *word)
{
	while (*word && at < max)
		line[at++] = *word++;
	return at;
}

void
log_signal(const char *ev, const char *key, unsigned long n)
{
	char line[256], digits[24], *d = digits + sizeof digits;
	const char *words[] = { "lvl=warn p=", self.program, " ev=", ev, " ", key, "=", NULL };
	size_t at = 0;

	*--d = '\0';
	do
		*--d = (char)('0' + n % 10);
	while (n /= 10);
	for (size_t i = 0; words[i]; i++)
		at = put_word(line, at, sizeof line - sizeof digits - 1, words[i]);
	at = put_word(line, at, sizeof line - 1, d);
	line[at++] = '\n';
	write_all(str_from(line, at));
}

void
log_batch(bool on)
{
	batch.on = on;
	if (!on) {
		log_flush();
		buf_done(&batch.b);
	}
}

void
log_flush(void)
{
	if (!batch.b.n)
		return;
	write_all(buf_view(&batch.b));
	buf_clear(&batch.b);
}

void
fatal(const char *ev, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	LOG_ERROR(ev, L_C("text", text));
	exit(75);
}

void
panic(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	LOG_ERROR("panic", L_C("text", text));
	abort();
}
