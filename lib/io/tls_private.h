/* One TLS connection, between tls.c and stream.c. */
#ifndef LIB_IO_TLS_PRIVATE_H
#define LIB_IO_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "lib/io/tls.h"

struct tls_conn {
	SSL *ssl;
	bool want_write; /* the last EAGAIN was for output */
	struct tls_info info;
};

struct tls_conn *tls_conn_accept(struct tls_server *t);
struct tls_conn *tls_conn_connect(struct tls_client *t, const char *name);
struct tls_conn *tls_conn_connect_as(struct tls_client *t, const struct tls_peer *p);
/* Why the peer's certificate was refused, or NULL when it was not. */
const char *tls_conn_refused(const struct tls_conn *c);
enum tls_refusal tls_conn_refusal(const struct tls_conn *c);
void tls_conn_describe(struct tls_conn *c); /* fills info after the handshake */
/* See stream_tls_binding. */
size_t tls_conn_binding(const struct tls_conn *c, const char *type, unsigned char *out, size_t max);
void tls_conn_free(struct tls_conn **c);

#endif
