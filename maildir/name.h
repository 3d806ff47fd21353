/*
 * Names of message files.
 *
 *	1732440000.M123456D00000000000000ab.ph,S=5120,C=0123abcd              in new/
 *	1732440000.M123456D00000000000000ab.ph,S=5120,C=0123abcd,U=17,E=00000000000004d2:2,
 *	                                                                      in cur/
 *
 * The base (up to and with C=) is a pure function of where the message came from:
 * time in seconds and microseconds, then D + spool id of a delivery, or N + Email
 * id of what a client appended; S is the file's size, C the CRC32C of its content
 * (a power cut may leave a file with its length and without its bytes). U is the UID in the folder
 * that holds the file, E the Email id. Nothing after ":2,": flags live in the
 * index alone. Foreign names (of a tree that others wrote to) parse as far as
 * they go.
 */
#ifndef MAILDIR_NAME_H
#define MAILDIR_NAME_H

#include "lib/base/buf.h"

#define NAME_MAX_LEN 200 /* of a whole name */

enum name_origin { NAME_FOREIGN, NAME_DELIVERED, NAME_APPENDED };

struct msg_name {
	struct str base;         /* without ,U= and what follows */
	enum name_origin origin;
	uint64_t id;             /* spool id, or Email id at birth */
	uint64_t time_us;        /* 0 when the name says none */
	uint64_t size;
	bool has_size, has_crc;
	uint32_t crc;            /* CRC32C of the content */
	uint32_t uid;            /* 0: none */
	uint64_t email;          /* 0: none */
};

/* Appends the base. crc NULL: it says nothing of the content. */
void name_base(struct buf *b, uint64_t time_us, enum name_origin origin, uint64_t id,
    uint64_t size, const uint32_t *crc);
/* Appends the name that a file has in cur/. */
void name_cur(struct buf *b, struct str base, uint32_t uid, uint64_t email);
/* False for what is no message file: a name with '/', a leading dot, too long. */
bool name_parse(struct str name, struct msg_name *ret);

#endif
