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

/* What a client asks of the server's certificate. */
enum tls_verify {
	TLS_VERIFY_NONE,  /* any will do */
	TLS_VERIFY_NAME,  /* from an authority of the context, for one of the names */
	TLS_VERIFY_DANE,  /* as the TLSA records say: usages 2 and 3 (RFC 7672 section 3.1) */
};
struct tls_tlsa {
	unsigned char usage, selector, matching;
	struct str data;
};
struct tls_session; /* what a later connection resumes; its owner's */
struct tls_peer {
	const char *name;              /* for SNI; NULL or "": none */
	enum tls_verify verify;
	const char *const *names;      /* that the certificate may be for; none: name alone */
	size_t n_names;
	const struct tls_tlsa *tlsa;   /* at least one that tls_tlsa_usable() likes */
	size_t n_tlsa;
	bool tls13;                    /* nothing older than TLS 1.3 */
	bool san_only;                 /* the subject's common name is no name (RFC 8461 section 4.2) */
	const struct tls_session *resume; /* of a connection with equal demands; or NULL */
};
/* Why a certificate was refused. */
enum tls_refusal {
	TLS_NOT_REFUSED,
	TLS_REFUSED_NAME,    /* it is for other names */
	TLS_REFUSED_TIME,    /* it has expired, or is not valid yet */
	TLS_REFUSED_ISSUER,  /* no known authority vouches for it, or no TLSA record */
	TLS_REFUSED_OTHER,
};
/* Whether a TLSA record can be used towards a mail server: usage, selector, matching type
 * known, data of the right length. Others are as if they were not there. */
bool tls_tlsa_usable(const struct tls_tlsa *r);
void tls_session_free(struct tls_session **s);

#endif
