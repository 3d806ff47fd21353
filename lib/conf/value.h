/*
 * Values of settings: from text to a field of a struct and back. What is printed
 * parses to the same value.
 */
#ifndef LIB_CONF_VALUE_H
#define LIB_CONF_VALUE_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

enum conf_type {
	CONF_T_TEXT,      /* struct str: anything */
	CONF_T_NAME,      /* struct str: a host or domain name */
	CONF_T_PATH,      /* struct str: made absolute */
	CONF_T_FILE,      /* struct str: a path, or `none` */
	CONF_T_USER,      /* struct str: beginning of a system user's name */
	CONF_T_DELIMITER, /* struct str: one character, or `none` */
	CONF_T_ENDPOINT,  /* struct str: ADDRESS:PORT, a path, or `none` */
	CONF_T_MAILBOX,   /* struct str: a mail address, `postmaster`, or `none` */
	CONF_T_WORD,      /* struct str: one of words */
	CONF_T_ADDRESS,   /* struct str: an IP address; of listen, several */
	CONF_T_IP,        /* struct str: an IP address, or `none` */
	CONF_T_CHOICE,    /* unsigned: place in words */
	CONF_T_SWITCH,    /* bool: on, off */
	CONF_T_NUMBER,    /* unsigned */
	CONF_T_SIZE,      /* uint64_t: bytes; 25M */
	CONF_T_TIME,      /* uint64_t: milliseconds; 5m */
	CONF_T_NETS,      /* struct conf_nets: a list, or `none` */
	CONF_T_FLAGS,     /* unsigned: bit i is place i in words; a list, or `none` */
	CONF_T_RULES,     /* struct conf_rules: a list, or `none` */
	CONF_T_NAMES,     /* struct str * and, right behind it, size_t: a list */
	CONF_T_TEXTS,     /* the same, of anything */
	CONF_T_SERVERS,   /* the same, of ADDRESS or ADDRESS:PORT, made ADDRESS:PORT; or `none` */
};

struct conf_row;

/* "25M" (powers of 1,024: B K M G T) or "5m" (ms s m h d w) as a number. -EINVAL:
 * not one; -ERANGE: too large for 64 bits. */
int conf_size_parse(struct str text, uint64_t *ret);
int conf_time_parse(struct str text, uint64_t *ret);
/* The shortest form without loss: "25M", "90s". */
void conf_size_put(struct buf *out, uint64_t bytes);
void conf_time_put(struct buf *out, uint64_t ms);

/* Whether text can name a host or a domain. */
bool conf_is_name(struct str text);

/* Sets the row's field of the struct at base from one word (for the list types:
 * adds to the list). dir: where a relative path starts, or empty. Memory comes
 * from a. 0, or -EINVAL and e says what is wrong, such as "'x' is not a size
 * (write 25M, or bytes)". */
int conf_value_set(void *base, const struct conf_row *row, struct str text, struct str dir,
    struct arena *a, struct err *e);

/* Appends the value as the language writes it: words bare, text in quotes. */
void conf_value_put(struct buf *out, const void *base, const struct conf_row *row);

/* What stands for a secret where it is not shown. */
#define CONF_HIDDEN "\"(hidden)\""
/* Whether text is what CONF_T_SERVERS takes as one server. */
bool conf_is_server(struct str text);
/* Whether a setting of this type may be given several times, each adding to a list. */
bool conf_type_repeats(enum conf_type t);
/* Whether the row's value is such a list and has nothing in it. */
bool conf_value_empty(const void *base, const struct conf_row *row);

/* Appends s in double quotes with the language's escapes. */
void conf_quote(struct buf *out, struct str s);

#endif
