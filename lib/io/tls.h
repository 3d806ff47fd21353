/*
 * TLS by OpenSSL: TLS 1.2 and newer, SNI, ALPN, certificates replaced without
 * dropping sessions, stateless tickets with rotating keys.
 */
#ifndef LIB_IO_TLS_H
#define LIB_IO_TLS_H

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct tls_server;
struct tls_client;

struct tls_info {
	char version[16];  /* "TLSv1.3" */
	char cipher[48];   /* OpenSSL's name */
	unsigned bits;
	char sni[256];     /* the name the client asked for, "" without */
	char alpn[32];
	bool resumed;
	bool peer_verified; /* the peer's certificate chain was checked and good */
	char peer_cn[128];
};

/* A certificate chain and its key in PEM form; names come from the
 * certificate's SANs. The first one added answers where no name fits. */
struct tls_pair {
	struct str cert_pem, key_pem;
};

struct tls_server *tls_server_new(const struct tls_pair *pairs, size_t n, struct err *e);
/* Replaces the certificates for new handshakes; on failure the old ones stay. */
int tls_server_reload(struct tls_server *t, const struct tls_pair *pairs, size_t n, struct err *e);
/* ALPN protocols offered, such as "imap"; a client without ALPN is welcome. */
int tls_server_alpn(struct tls_server *t, const char *const *protos, size_t n);
void tls_server_free(struct tls_server **t);

/* A client context; ca_pem empty: the system's CA bundle; verify false:
 * opportunistic. */
struct tls_client *tls_client_new(struct str ca_pem, bool verify, struct err *e);
void tls_client_free(struct tls_client **t);

#endif
