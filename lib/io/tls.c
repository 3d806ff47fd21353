/*
 * TLS contexts; see tls.h. A server context holds one SSL_CTX per certificate;
 * the servername callback switches a handshake to the one whose certificate
 * covers the name. All of them share one ticket key ring, which turns every
 * TICKET_KEY_LIFE seconds and keeps the key before, so that resumption works
 * across reloads. Sessions keep the SSL_CTX they began with (it is counted by
 * OpenSSL), so a reload drops nobody.
 */
#include "lib/io/tls.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/io/tls_private.h"

#define TICKET_KEY_LIFE_MS (12 * 3600 * 1000)
#define ALPN_MAX 128

struct ticket_key {
	unsigned char name[16], aes[32], mac[32];
	uint64_t born_ms;
};

struct tls_server {
	SSL_CTX **ctx; /* the first is the default */
	size_t n;
	unsigned char alpn[ALPN_MAX]; /* as ALPN sends it: length, name, ... */
	size_t alpn_n;
	pthread_mutex_t lock;         /* keys */
	struct ticket_key keys[2];    /* the current one, and the one before */
};

struct tls_client {
	SSL_CTX *ctx;
};

static int
ssl_err(struct err *e, const char *what)
{
	char text[256] = "unknown reason";
	unsigned long code = ERR_get_error();

	if (code)
		ERR_error_string_n(code, text, sizeof text);
	ERR_clear_error();
	return err_set(e, -EINVAL, "%s: %s", what, text);
}

/* ---- session tickets ---- */

static int
ticket_key_new(struct ticket_key *k)
{
	if (RAND_bytes(k->name, sizeof k->name) != 1 || RAND_bytes(k->aes, sizeof k->aes) != 1 ||
	    RAND_bytes(k->mac, sizeof k->mac) != 1)
		return -EIO;
	k->born_ms = clock_ms();
	return 0;
}

static void
ticket_keys_turn(struct tls_server *t)
{
	struct ticket_key fresh;

	if (clock_ms() - t->keys[0].born_ms < TICKET_KEY_LIFE_MS || ticket_key_new(&fresh))
		return;
	t->keys[1] = t->keys[0];
	t->keys[0] = fresh;
}

/* Returns 1: use it, 2: use it and send a fresh ticket, 0: no such key. */
static int
ticket_cb(SSL *ssl, unsigned char name[16], unsigned char iv[EVP_MAX_IV_LENGTH],
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
	struct tls_server *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	struct ticket_key k;
	OSSL_PARAM params[3];
	int which = 0;

	pthread_mutex_lock(&t->lock);
	ticket_keys_turn(t);
	if (!enc) {
		while (which < 2 && memcmp(name, t->keys[which].name, 16) != 0)
			which++;
	}
	if (which < 2)
		k = t->keys[which];
	pthread_mutex_unlock(&t->lock);
	if (which == 2)
		return 0;
	if (enc) {
		memcpy(name, k.name, 16);
		if (RAND_bytes(iv, 16) != 1 ||
		    !EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k.aes, iv))
			return -1;
	} else if (!EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k.aes, iv)) {
		return -1;
	}
	params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k.mac, sizeof k.mac);
	params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
	    (char[]){ "SHA256" }, 0);
	params[2] = OSSL_PARAM_construct_end();
	if (!EVP_MAC_CTX_set_params(mac, params))
		return -1;
	return enc || which == 0 ? 1 : 2;
}

/* ---- ALPN and SNI ---- */

static int
alpn_cb(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in,
    unsigned inlen, void *arg)
{
	struct tls_server *t = arg;
	unsigned char *sel;

	if (!t->alpn_n)
		return SSL_TLSEXT_ERR_NOACK;
	if (SSL_select_next_proto(&sel, outlen, t->alpn, (unsigned)t->alpn_n, in, inlen) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 section 3.2 */
	*out = sel;
	return SSL_TLSEXT_ERR_OK;
}

static int
sni_cb(SSL *ssl, int *alert, void *arg)
{
	struct tls_server *t = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	if (!name)
		return SSL_TLSEXT_ERR_NOACK;
	for (size_t i = 0; i < t->n; i++) {
		X509 *cert = SSL_CTX_get0_certificate(t->ctx[i]);

		if (cert && X509_check_host(cert, name, 0, 0, NULL) == 1) {
			SSL_set_SSL_CTX(ssl, t->ctx[i]);
			break;
		}
	}
	return SSL_TLSEXT_ERR_OK; /* an unknown name gets the first certificate */
}

/* ---- server contexts ---- */

static int
use_chain(SSL_CTX *ctx, struct str pem, struct err *e)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	int r = 0;

	if (!cert || !SSL_CTX_use_certificate(ctx, cert)) {
		r = ssl_err(e, "cannot read the certificate");
		goto out;
	}
	for (;;) {
		X509 *ca = PEM_read_bio_X509(bio, NULL, NULL, NULL);

		if (!ca)
			break;
		if (!SSL_CTX_add0_chain_cert(ctx, ca)) {
			X509_free(ca);
			r = ssl_err(e, "cannot use the certificate chain");
			break;
		}
	}
	ERR_clear_error(); /* the end of the file is an error to PEM_read */
out:
	X509_free(cert);
	BIO_free(bio);
	return r;
}

static int
use_key(SSL_CTX *ctx, struct str pem, struct err *e)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
	int r = 0;

	if (!key || !SSL_CTX_use_PrivateKey(ctx, key))
		r = ssl_err(e, "cannot read the private key");
	else if (!SSL_CTX_check_private_key(ctx))
		r = ssl_err(e, "the private key does not belong to the certificate");
	EVP_PKEY_free(key);
	BIO_free(bio);
	return r;
}

static SSL_CTX *
server_ctx(struct tls_server *t, const struct tls_pair *p, struct err *e)
{
	static const unsigned char sid[] = "posthorn";
	SSL_CTX *c = SSL_CTX_new(TLS_server_method());

	if (!c) {
		ssl_err(e, "cannot make a TLS context");
		return NULL;
	}
	SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
	SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION |
	    SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(c, sid, sizeof sid - 1);
	SSL_CTX_set_num_tickets(c, 1);
	SSL_CTX_set_app_data(c, t);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(c, ticket_cb);
	SSL_CTX_set_alpn_select_cb(c, alpn_cb, t);
	SSL_CTX_set_tlsext_servername_callback(c, sni_cb);
	SSL_CTX_set_tlsext_servername_arg(c, t);
	if (use_chain(c, p->cert_pem, e) || use_key(c, p->key_pem, e)) {
		SSL_CTX_free(c);
		return NULL;
	}
	return c;
}

static void
free_ctxs(SSL_CTX **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		SSL_CTX_free(v[i]);
	free(v);
}

int
tls_server_reload(struct tls_server *t, const struct tls_pair *pairs, size_t n, struct err *e)
{
	SSL_CTX **v;

	if (!n)
		return err_set(e, -EINVAL, "TLS needs a certificate");
	v = calloc(n, sizeof *v);
	if (!v)
		return err_set(e, -ENOMEM, "out of memory for TLS");
	for (size_t i = 0; i < n; i++)
		if (!(v[i] = server_ctx(t, &pairs[i], e))) {
			free_ctxs(v, i);
			return -EINVAL;
		}
	free_ctxs(t->ctx, t->n);
	t->ctx = v;
	t->n = n;
	return 0;
}

struct tls_server *
tls_server_new(const struct tls_pair *pairs, size_t n, struct err *e)
{
	struct tls_server *t = calloc(1, sizeof *t);

	if (!t) {
		err_set(e, -ENOMEM, "out of memory for TLS");
		return NULL;
	}
	pthread_mutex_init(&t->lock, NULL);
	if (ticket_key_new(&t->keys[0]) || ticket_key_new(&t->keys[1])) {
		err_set(e, -EIO, "no random bytes for TLS");
		tls_server_free(&t);
		return NULL;
	}
	if (tls_server_reload(t, pairs, n, e))
		tls_server_free(&t);
	return t;
}

int
tls_server_alpn(struct tls_server *t, const char *const *protos, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(protos[i]);

		if (len == 0 || len > 255 || at + len + 1 > ALPN_MAX)
			return -EINVAL;
		t->alpn[at++] = (unsigned char)len;
		memcpy(t->alpn + at, protos[i], len);
		at += len;
	}
	t->alpn_n = at;
	return 0;
}

void
tls_server_free(struct tls_server **tp)
{
	struct tls_server *t = *tp;

	if (!t)
		return;
	free_ctxs(t->ctx, t->n);
	OPENSSL_cleanse(t->keys, sizeof t->keys);
	pthread_mutex_destroy(&t->lock);
	free(t);
	*tp = NULL;
}

/* ---- client contexts ---- */

static int
trust(SSL_CTX *c, struct str pem, struct err *e)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509_STORE *store = SSL_CTX_get_cert_store(c);
	X509 *ca;
	int n = 0;

	while (bio && (ca = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		n += X509_STORE_add_cert(store, ca) == 1;
		X509_free(ca);
	}
	ERR_clear_error();
	BIO_free(bio);
	return n ? 0 : err_set(e, -EINVAL, "no CA certificate could be read");
}

struct tls_client *
tls_client_new(struct str ca_pem, bool verify, struct err *e)
{
	struct tls_client *t = calloc(1, sizeof *t);

	if (!t || !(t->ctx = SSL_CTX_new(TLS_client_method()))) {
		ssl_err(e, "cannot make a TLS context");
		free(t);
		return NULL;
	}
	SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
	SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(t->ctx, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	SSL_CTX_dane_enable(t->ctx);
	if (ca_pem.n ? trust(t->ctx, ca_pem, e)
	             : !SSL_CTX_set_default_verify_paths(t->ctx) && ssl_err(e, "no CA bundle"))
		tls_client_free(&t);
	return t;
}

void
tls_client_free(struct tls_client **tp)
{
	struct tls_client *t = *tp;

	if (!t)
		return;
	SSL_CTX_free(t->ctx);
	free(t);
	*tp = NULL;
}

/* ---- connections ---- */

static struct tls_conn *
conn_new(SSL_CTX *ctx)
{
	struct tls_conn *c = calloc(1, sizeof *c);

	if (!c || !(c->ssl = SSL_new(ctx))) {
		ERR_clear_error();
		free(c);
		return NULL;
	}
	return c;
}

struct tls_conn *
tls_conn_accept(struct tls_server *t)
{
	return conn_new(t->ctx[0]);
}

struct tls_conn *
tls_conn_connect(struct tls_client *t, const char *name)
{
	struct tls_conn *c = conn_new(t->ctx);

	if (c && name && *name) {
		SSL_set_tlsext_host_name(c->ssl, name);
		SSL_set1_host(c->ssl, name);
	}
	return c;
}

bool
tls_tlsa_usable(const struct tls_tlsa *r)
{
	static const size_t lengths[] = { 0, 32, 64 }; /* whole, SHA-256, SHA-512 */

	if ((r->usage != 2 && r->usage != 3) || r->selector > 1 || r->matching > 2)
		return false;
	return lengths[r->matching] ? r->data.n == lengths[r->matching] : r->data.n > 0;
}

/* The base domain of DANE is the name that certificates of usage 2 must be for. */
static int
use_dane(SSL *ssl, const struct tls_peer *p)
{
	int usable = 0;

	if (SSL_dane_enable(ssl, p->name) <= 0)
		return -EINVAL;
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	for (size_t i = 0; i < p->n_tlsa; i++)
		if (tls_tlsa_usable(&p->tlsa[i]))
			usable += SSL_dane_tlsa_add(ssl, p->tlsa[i].usage, p->tlsa[i].selector,
			    p->tlsa[i].matching, (const unsigned char *)p->tlsa[i].data.p,
			    p->tlsa[i].data.n) > 0;
	return usable ? 0 : -EINVAL;
}

static int
use_peer(SSL *ssl, const struct tls_peer *p)
{
	if (p->tls13)
		SSL_set_min_proto_version(ssl, TLS1_3_VERSION);
	if (p->resume)
		SSL_set_session(ssl, (SSL_SESSION *)(uintptr_t)p->resume);
	SSL_set_verify(ssl, p->verify == TLS_VERIFY_NONE ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
	    (p->san_only ? X509_CHECK_FLAG_NEVER_CHECK_SUBJECT : 0));
	if (p->verify == TLS_VERIFY_DANE && use_dane(ssl, p))
		return -EINVAL;
	if (p->name && *p->name)
		SSL_set_tlsext_host_name(ssl, p->name);
	if (p->verify == TLS_VERIFY_NONE)
		return 0;
	if (p->verify == TLS_VERIFY_NAME && !p->n_names && !SSL_set1_host(ssl, p->name))
		return -EINVAL;
	for (size_t i = 0; i < p->n_names; i++)
		if (!SSL_add1_host(ssl, p->names[i]))
			return -EINVAL;
	return 0;
}

struct tls_conn *
tls_conn_connect_as(struct tls_client *t, const struct tls_peer *p)
{
	struct tls_conn *c = conn_new(t->ctx);

	if (c && use_peer(c->ssl, p)) {
		ERR_clear_error();
		tls_conn_free(&c);
	}
	return c;
}

const char *
tls_conn_refused(const struct tls_conn *c)
{
	long why = SSL_get_verify_result(c->ssl);

	if (SSL_get_verify_mode(c->ssl) == SSL_VERIFY_NONE || why == X509_V_OK)
		return NULL;
	return X509_verify_cert_error_string(why);
}

enum tls_refusal
tls_conn_refusal(const struct tls_conn *c)
{
	if (!tls_conn_refused(c))
		return TLS_NOT_REFUSED;
	switch (SSL_get_verify_result(c->ssl)) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
		return TLS_REFUSED_NAME;
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_REFUSED_TIME;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_UNTRUSTED:
	case X509_V_ERR_DANE_NO_MATCH:
		return TLS_REFUSED_ISSUER;
	default:
		return TLS_REFUSED_OTHER;
	}
}

void
tls_session_free(struct tls_session **s)
{
	SSL_SESSION_free((SSL_SESSION *)*s);
	*s = NULL;
}

void
tls_conn_describe(struct tls_conn *c)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(c->ssl);
	const char *sni = SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name);
	const unsigned char *alpn;
	unsigned alpn_n;
	X509 *peer = SSL_get0_peer_certificate(c->ssl);
	struct tls_info *i = &c->info;

	snprintf(i->version, sizeof i->version, "%s", SSL_get_version(c->ssl));
	if (cipher) {
		snprintf(i->cipher, sizeof i->cipher, "%s", SSL_CIPHER_get_name(cipher));
		i->bits = (unsigned)SSL_CIPHER_get_bits(cipher, NULL);
	}
	snprintf(i->sni, sizeof i->sni, "%s", sni ? sni : "");
	SSL_get0_alpn_selected(c->ssl, &alpn, &alpn_n);
	snprintf(i->alpn, sizeof i->alpn, "%.*s", (int)alpn_n, alpn ? (const char *)alpn : "");
	i->resumed = SSL_session_reused(c->ssl);
	if (peer) {
		i->peer_verified = SSL_get_verify_result(c->ssl) == X509_V_OK;
		X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, i->peer_cn,
		    sizeof i->peer_cn);
	}
}

void
tls_conn_free(struct tls_conn **cp)
{
	struct tls_conn *c = *cp;

	if (!c)
		return;
	SSL_free(c->ssl);
	ERR_clear_error();
	free(c);
	*cp = NULL;
}

/* ---- channel bindings ---- */

static size_t
bind_exporter(SSL *ssl, unsigned char *out, size_t max)
{
	static const char label[] = "EXPORTER-Channel-Binding";

	if (max < 32 || (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1) ||
	    SSL_export_keying_material(ssl, out, 32, label, sizeof label - 1, NULL, 0, 0) != 1)
		return 0;
	return 32;
}

/* The certificate's digest by the hash of its signature, MD5 and SHA-1 raised to SHA-256. */
static size_t
bind_end_point(SSL *ssl, unsigned char *out, size_t max)
{
	X509 *cert = SSL_is_server(ssl) ? SSL_get_certificate(ssl) : NULL;
	int md_nid = NID_undef;
	const EVP_MD *md;
	unsigned n = 0;

	if (!cert || OBJ_find_sigid_algs(X509_get_signature_nid(cert), &md_nid, NULL) != 1)
		return 0;
	if (md_nid == NID_md5 || md_nid == NID_sha1)
		md_nid = NID_sha256;
	md = EVP_get_digestbynid(md_nid);
	if (!md || (size_t)EVP_MD_get_size(md) > max || X509_digest(cert, md, out, &n) != 1)
		return 0;
	return n;
}

size_t
tls_conn_binding(const struct tls_conn *c, const char *type, unsigned char *out, size_t max)
{
	if (!strcmp(type, "tls-exporter"))
		return bind_exporter(c->ssl, out, max);
	return strcmp(type, "tls-server-end-point") ? 0 : bind_end_point(c->ssl, out, max);
}
