/*
 * Tag lists (RFC 6376 section 3.2): "v=1; a=rsa-sha256; d=example.org; ...", as DKIM and ARC header
 * fields and key records have them. Nothing is copied.
 */
#ifndef PLUGINS_DKIM_TAGS_H
#define PLUGINS_DKIM_TAGS_H

#include "plugins/plugin.h"

#define TAGS_MAX 64

struct tags {
	struct {
		struct ph_str name, value;
	} v[TAGS_MAX];
	unsigned n;
};

/* 0, or -1: not a tag list, a tag that comes twice, or more than TAGS_MAX. Values are without the
 * blanks and line ends around them. */
int tags_parse(struct ph_str text, struct tags *ret);
/* The value; p is NULL when there is no such tag. Names are case-sensitive. */
struct ph_str tags_get(const struct tags *t, const char *name);

/* s without blanks and line ends anywhere (as base64 values are read), into out of `room` bytes,
 * NUL-terminated: its length, or -1 when it does not fit. */
long tags_squeeze(struct ph_str s, char *out, size_t room);
/* A decimal number of at most 18 digits: 0, or -1. */
int tags_number(struct ph_str s, uint64_t *ret);
/* s without blanks and line ends around it. */
struct ph_str tags_trim(struct ph_str s);

#endif
