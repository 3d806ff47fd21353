/*
 * The PROXY protocol, versions 1 and 2: the header that a load balancer puts in
 * front of a connection's bytes to say who the client is. Whether to expect one,
 * and whom to believe it from, is the caller's business (lib/proc/front.h).
 */
#ifndef LIB_IO_PROXY_H
#define LIB_IO_PROXY_H

#include <sys/socket.h>

#include "lib/io/stream.h"

enum {
	PROXY_V1_MAX = 107,            /* the text line, CRLF included */
	PROXY_V2_HEAD = 16,
	PROXY_MAX = PROXY_V2_HEAD + 2048,
};

struct proxy_header {
	bool local;                    /* the proxy speaks for itself, or cannot say for whom
	                                * (LOCAL, UNKNOWN, UNSPEC): the socket's own addresses count */
	struct sockaddr_storage client, server;
};

/* Reads the header that `in` begins with. Its length; 0: it is not whole, and at
 * least *ret_more further bytes belong to it; -EPROTO: no header. */
ssize_t proxy_parse(struct str in, struct proxy_header *ret, size_t *ret_more);

/* Reads the header from the stream and not one byte more, since what follows may
 * be a TLS handshake. 0; -EPROTO: no header; -ETIMEDOUT: it was not whole after
 * that many milliseconds; or as stream_read. */
int proxy_read(struct stream *s, uint64_t within_ms, struct proxy_header *ret);

#endif
