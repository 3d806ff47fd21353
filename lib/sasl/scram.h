/*
 * The server's half of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): reads
 * what the client says and judges its proof. Who has which keys is the caller's.
 */
#ifndef LIB_SASL_SCRAM_H
#define LIB_SASL_SCRAM_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"

enum {
	SCRAM_KEY = 32,        /* bytes of a key of SHA-256 */
	SCRAM_MESSAGE_MAX = 2048,
};

/* client-first-message. Strings point into it or are in the arena. */
struct scram_first {
	struct str gs2;        /* the header, "n,," */
	struct str binding;    /* "tls-exporter" of "p=tls-exporter"; empty: none */
	bool could_bind;       /* "y": the client can bind, and thinks that the server cannot */
	struct str authzid, user; /* without their quoting */
	struct str nonce;
	struct str bare;       /* client-first-message-bare */
};
/* 0 or -EINVAL (an extension that must be understood is one reason). */
int scram_first(struct str message, struct arena *a, struct scram_first *ret);

/* client-final-message. */
struct scram_final {
	struct str binding;    /* what "c=" decodes to: the gs2 header and binding data */
	struct str nonce;
	struct str proof;      /* SCRAM_KEY bytes */
	struct str without_proof;
};
int scram_final(struct str message, struct arena *a, struct scram_final *ret);

/* Whether the proof fits the stored key; in any case fills the signature by which the
 * server shows that it has the server key. 1, 0, or -EIO. */
int scram_verify(const unsigned char stored[static SCRAM_KEY], const unsigned char server[static SCRAM_KEY],
    struct str auth_message, struct str proof, unsigned char ret_signature[static SCRAM_KEY]);

#endif
