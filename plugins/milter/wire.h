/*
 * The milter protocol, version 6, as the mail server's side speaks it: packets, negotiation,
 * answers. A packet is a length (4 bytes, big-endian, of what follows), a byte that says what it is,
 * and its data; strings in it end with a NUL.
 *
 * What a milter sends is foreign: every answer is judged here, before anything is made of it.
 */
#ifndef PLUGINS_MILTER_WIRE_H
#define PLUGINS_MILTER_WIRE_H

#include <sys/socket.h>
#include <sys/un.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

enum {
	MILTER_VERSION = 6,
	MILTER_CHUNK = 65535,             /* of a body, in one packet */
	MILTER_PACKET_MAX = (1 << 20) + 64, /* of what a milter sends: a body chunk of the largest kind */
};

/* Commands. */
enum { MC_ABORT = 'A', MC_BODY = 'B', MC_CONNECT = 'C', MC_MACRO = 'D', MC_END = 'E', MC_HELO = 'H',
	MC_HEADER = 'L', MC_MAIL = 'M', MC_EOH = 'N', MC_NEGOTIATE = 'O', MC_QUIT = 'Q', MC_RCPT = 'R',
	MC_DATA = 'T' };

/* What a milter may do (SMFIF_*). */
enum { MA_ADD_HEADERS = 0x1, MA_BODY = 0x2, MA_ADD_RCPT = 0x4, MA_DEL_RCPT = 0x8,
	MA_CHANGE_HEADERS = 0x10, MA_QUARANTINE = 0x20, MA_SENDER = 0x40, MA_ADD_RCPT_ARGS = 0x80,
	MA_MACROS = 0x100 };

/* What it does not want to hear (NO), what it does not answer (NR), and more (SMFIP_*). */
enum { MP_NO_CONNECT = 0x1, MP_NO_HELO = 0x2, MP_NO_MAIL = 0x4, MP_NO_RCPT = 0x8, MP_NO_BODY = 0x10,
	MP_NO_HEADERS = 0x20, MP_NO_EOH = 0x40, MP_NR_HEADER = 0x80, MP_NO_UNKNOWN = 0x100,
	MP_NO_DATA = 0x200, MP_SKIP = 0x400, MP_NR_CONNECT = 0x1000, MP_NR_HELO = 0x2000,
	MP_NR_MAIL = 0x4000, MP_NR_RCPT = 0x8000, MP_NR_DATA = 0x10000, MP_NR_UNKNOWN = 0x20000,
	MP_NR_EOH = 0x40000, MP_NR_BODY = 0x80000, MP_LEAD_SPACE = 0x100000 };

/* Where macros go. */
enum milter_stage { MS_CONNECT, MS_HELO, MS_MAIL, MS_RCPT, MS_DATA, MS_END, MS_EOH, MILTER_STAGES };

/* What each side can do. */
struct milter_terms {
	uint32_t version, actions, protocol;
	char *macros[MILTER_STAGES]; /* names that it asked for, blanks between; NULL: the usual ones */
};
/* What a server of that version of the protocol may offer of the given bits. */
void milter_terms_limit(struct milter_terms *t, uint32_t version);
void milter_put_offer(struct buf *b, const struct milter_terms *t);
/* The milter's answer to offer: what both can do into *ret, which milter_terms_done frees. 0, -EPROTO or
 * -ENOMEM, with e saying what is wrong. */
int milter_terms_read(struct str data, const struct milter_terms *offer, struct milter_terms *ret,
    struct err *e);
void milter_terms_done(struct milter_terms *t);

/* A packet: begin gives what end is to be told. */
size_t milter_begin(struct buf *b, char command);
void milter_end(struct buf *b, size_t at);
/* A string and its NUL; NULs within it become '?'. */
void milter_put_string(struct buf *b, struct str s);

/* ---- answers ---- */

enum milter_answer {
	MR_CONTINUE, MR_ACCEPT, MR_DISCARD, MR_REJECT, MR_TEMPFAIL, MR_REPLY, MR_SKIP,
	MR_FINAL_LAST = MR_SKIP,          /* those above end the wait for an answer */
	MR_PROGRESS,
	MR_ADD_HEADER, MR_INSERT_HEADER, MR_CHANGE_HEADER, MR_SENDER, MR_ADD_RCPT, MR_DEL_RCPT,
	MR_BODY, MR_QUARANTINE,
};

struct milter_reply {
	enum milter_answer what;
	uint32_t needs;        /* MA_*: one of these must have been agreed on; 0: none */
	uint32_t index;        /* of a header: insert: 0 is the top; change: 1 is the first */
	struct str name, value; /* of a header; value: an address without brackets, a body, a reason */
	struct str args;       /* ESMTP arguments of a recipient or sender */
	unsigned smtp;         /* of a reply: 400 to 599 */
	char enhanced[12];     /* "5.7.1", or empty */
	struct str text;       /* of a reply: its lines joined by blanks, in place */
};
/* Judges a packet's command and data (which it may write to). 0, or -EPROTO and e says what is wrong. */
int milter_reply_read(char command, char *data, size_t n, struct milter_reply *ret, struct err *e);

/* ---- sockets ---- */

struct milter_address {
	union {
		struct sockaddr any;
		struct sockaddr_storage storage;
		struct sockaddr_un un;
	} at;
	socklen_t n;
};
/* "unix:/path", "local:/path", "/path", "inet:port@host", "inet6:port@host", "inet:host:port". Names of
 * hosts are looked up. 0, -EINVAL, -EHOSTUNREACH. */
int milter_address_parse(struct str text, struct milter_address *ret);

/* A connection. Calls wait until `until_ms` (clock_ms); -ETIMEDOUT after it. */
struct milter_wire {
	int fd;
	struct buf in;         /* what came */
	size_t taken;          /* of in: the packet handed out last */
};
int milter_wire_connect(const struct milter_address *a, uint64_t until_ms, struct milter_wire *ret);
void milter_wire_close(struct milter_wire *w);
int milter_wire_send(struct milter_wire *w, struct str bytes, uint64_t until_ms);
/* The next packet, valid until the next call. -EPIPE: the connection is over. -EPROTO: no packet. */
int milter_wire_recv(struct milter_wire *w, uint64_t until_ms, char *ret_command, char **ret_data,
    size_t *ret_n);

#endif
