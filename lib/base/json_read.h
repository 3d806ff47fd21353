/*
 * A reader of JSON texts (RFC 8259) for what others made: tokens, sets of keys. The text
 * becomes a tree in an arena, whose limit bounds it; nesting is bounded at JSON_DEPTH_MAX.
 * Stricter than the RFC where looseness would let two readers differ: a name that stands
 * twice in an object is an error, and so are lone surrogates and text that is not UTF-8.
 */
#ifndef LIB_BASE_JSON_READ_H
#define LIB_BASE_JSON_READ_H

#include "lib/base/arena.h"

#define JSON_DEPTH_MAX 16
#define JSON_MEMBERS_MAX 256 /* of one object */

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_node {
	enum json_type type;
	struct str text;               /* of a string, decoded; of a number, as it stands */
	struct str key;                /* within an object */
	struct json_node *first, *next; /* elements or members; the next one beside it */
};

/* 0, -EINVAL (not one JSON text) or -ENOMEM. Strings are in the arena or point into text. */
int json_read(struct str text, struct arena *a, const struct json_node **ret);

/* The member of an object; NULL: n is none, or has none of that name. */
const struct json_node *json_member(const struct json_node *n, struct str key);
/* The text of a member that is a string; p NULL: there is none. */
struct str json_member_str(const struct json_node *n, struct str key);
/* A member that is a number not below 0, without its fraction. False: it is none. */
bool json_member_u64(const struct json_node *n, struct str key, uint64_t *ret);

#endif
