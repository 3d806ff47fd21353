/*
 * The log: one logfmt line per event, to standard error (journald or the
 * master collects it). Every event has a stable name such as `smtp.accepted`,
 * listed in posthorn-events(7). Programs log; library code does not.
 *
 *	LOG_INFO("smtp.accepted", L_STR("qid", qid), L_U64("size", n));
 *
 * One write(2) per line, so that lines of several processes do not mix. Values
 * are quoted where logfmt needs it and control bytes are escaped.
 */
#ifndef LIB_BASE_LOG_H
#define LIB_BASE_LOG_H

#include "lib/base/str.h"

enum log_level { LOG_L_DEBUG, LOG_L_INFO, LOG_L_WARN, LOG_L_ERROR };

struct log_field {
	const char *key;
	enum { LF_STR, LF_U64, LF_I64, LF_HEX } kind;
	struct str s;
	uint64_t u;
};

#define L_STR(k, v) { (k), LF_STR, (v), 0 }
#define L_C(k, v) { (k), LF_STR, str_c(v), 0 }
#define L_U64(k, v) { (k), LF_U64, { 0 }, (uint64_t)(v) }
#define L_I64(k, v) { (k), LF_I64, { 0 }, (uint64_t)(int64_t)(v) }
#define L_HEX(k, v) { (k), LF_HEX, { 0 }, (uint64_t)(v) } /* 16 hexadecimal digits */

#define LOG_AT(level, ev, ...)                                                                     \
	do {                                                                                       \
		if ((level) >= log_threshold) {                                                    \
			const struct log_field log_f_[] = { __VA_ARGS__ };                         \
			log_event((level), (ev), sizeof log_f_ / sizeof *log_f_, log_f_);          \
		}                                                                                  \
	} while (0)
#define LOG_DEBUG(ev, ...) LOG_AT(LOG_L_DEBUG, ev, __VA_ARGS__)
#define LOG_INFO(ev, ...) LOG_AT(LOG_L_INFO, ev, __VA_ARGS__)
#define LOG_WARN(ev, ...) LOG_AT(LOG_L_WARN, ev, __VA_ARGS__)
#define LOG_ERROR(ev, ...) LOG_AT(LOG_L_ERROR, ev, __VA_ARGS__)

extern _Atomic enum log_level log_threshold; /* a reload sets it while threads log */

/* In which forms: logfmt, lines as Postfix has them (log_postfix.h; an event without a
 * counterpart there keeps its logfmt behind a syslog head), or both. hostname is copied. */
enum log_style { LOG_S_LOGFMT, LOG_S_POSTFIX, LOG_S_BOTH };
void log_set_style(enum log_style style, const char *hostname);
extern _Atomic enum log_style log_style;
/* What only Postfix's form has a line for. */
#define LOG_POSTFIX(ev, ...)                                                                       \
	do {                                                                                       \
		if (log_style != LOG_S_LOGFMT)                                                     \
			LOG_INFO(ev, __VA_ARGS__);                                                 \
	} while (0)

/* Who speaks: the program's name and instance number; fd -1 is standard error. */
void log_init(const char *program, unsigned instance, int fd);
void log_event(enum log_level level, const char *ev, size_t n, const struct log_field *f);

/* A WARN line from a signal handler: no time stamp, one number, no locks and no
 * memory taken. */
void log_signal(const char *ev, const char *key, unsigned long n);

/* Lines are gathered until log_flush (or 32 KiB) when batching is on: the event
 * loop turns it on and flushes at the end of each turn. WARN and ERROR are
 * written at once. Per thread. */
void log_batch(bool on);
void log_flush(void);

/* The world is wrong: logs `ev` at ERROR and exits with status 75 (the master
 * restarts). */
__attribute__((noreturn, format(printf, 2, 3)))
void fatal(const char *ev, const char *fmt, ...);
/* We are wrong: logs and aborts. */
__attribute__((noreturn, format(printf, 1, 2)))
void panic(const char *fmt, ...);

#endif
