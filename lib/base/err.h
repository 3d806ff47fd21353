/*
 * What went wrong, for people. Library code returns 0 or a negative errno
 * value, fills a struct err when it was given one, and never logs.
 */
#ifndef LIB_BASE_ERR_H
#define LIB_BASE_ERR_H

struct err {
	int code;        /* negative errno value */
	char text[320];  /* one line without a final full stop or newline */
};

/* Fills e (which may be NULL) and returns code, so that
 * `return err_set(e, -EINVAL, "...")` reads well. code is negative. */
__attribute__((format(printf, 3, 4)))
int err_set(struct err *e, int code, const char *fmt, ...);

/* The same with ": " and the text of errno value -code appended. */
__attribute__((format(printf, 3, 4)))
int err_sys(struct err *e, int code, const char *fmt, ...);

/* Puts a prefix before what e says already. Returns e's code. */
__attribute__((format(printf, 2, 3)))
int err_prefix(struct err *e, const char *fmt, ...);

#endif
