/*
 * A streaming JSON writer (RFC 8259): values go straight into a buffer, commas
 * and colons come by themselves. Text that is not UTF-8 is carried as Latin-1
 * so that the output always parses. Misuse (a value where a key must stand)
 * panics; nesting is bounded at 32.
 *
 *	json_object(&j);
 *	json_key(&j, "id");   json_str(&j, id);
 *	json_key(&j, "rows"); json_array(&j); json_u64(&j, 1); json_end(&j);
 *	json_end(&j);
 */
#ifndef LIB_BASE_JSON_H
#define LIB_BASE_JSON_H

#include "lib/base/buf.h"

struct json {
	struct buf *out;
	unsigned depth;
	bool indent;          /* a line per member, for people */
	bool after_key;
	struct {
		bool object, any;
	} level[33];
};

void json_init(struct json *j, struct buf *out, bool indent);
void json_object(struct json *j);
void json_array(struct json *j);
void json_end(struct json *j); /* of the innermost object or array */
void json_key(struct json *j, const char *key);
void json_str(struct json *j, struct str v);
void json_u64(struct json *j, uint64_t v);
void json_i64(struct json *j, int64_t v);
void json_bool(struct json *j, bool v);
void json_null(struct json *j);

/* Appends v as a quoted JSON string. */
void json_quote(struct buf *out, struct str v);

#endif
