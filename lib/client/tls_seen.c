/* The codec of what relayd tells reportd; see tls_seen.h. */
#include "lib/client/tls_seen.h"

#include <errno.h>

enum { S_DOMAIN = 1, S_KIND, S_POLICY, S_MX, S_RESULT, S_HOST, S_SENDING_IP, S_RECEIVING_IP, S_WHY };
#define DOMAIN_MAX 255
#define POLICY_MAX (64u << 10)

const char *
tls_policy_kind_name(enum tls_policy_kind k)
{
	static const char *const names[] = { [TLS_POLICY_NONE] = "no-policy-found",
		[TLS_POLICY_TLSA] = "tlsa", [TLS_POLICY_STS] = "sts" };

	return k <= TLS_POLICY_STS ? names[k] : "unknown";
}

const char *
tls_result_name(enum tls_result r)
{
	static const char *const names[TLS_SEEN_N] = {
		[TLS_SEEN_GOOD] = "",
		[TLS_SEEN_NO_STARTTLS] = "starttls-not-supported",
		[TLS_SEEN_HOST_MISMATCH] = "certificate-host-mismatch",
		[TLS_SEEN_EXPIRED] = "certificate-expired",
		[TLS_SEEN_NOT_TRUSTED] = "certificate-not-trusted",
		[TLS_SEEN_VALIDATION_FAILURE] = "validation-failure",
		[TLS_SEEN_TLSA_INVALID] = "tlsa-invalid",
		[TLS_SEEN_DNSSEC_INVALID] = "dnssec-invalid",
		[TLS_SEEN_DANE_REQUIRED] = "dane-required",
		[TLS_SEEN_STS_FETCH] = "sts-policy-fetch-error",
		[TLS_SEEN_STS_INVALID] = "sts-policy-invalid",
		[TLS_SEEN_STS_WEBPKI] = "sts-webpki-invalid",
	};

	return r < TLS_SEEN_N ? names[r] : "validation-failure";
}

void
tls_seen_put(struct buf *b, const struct tls_seen *v)
{
	wire_str(b, S_DOMAIN, v->domain);
	wire_opt_u64(b, S_KIND, v->kind);
	wire_opt_str(b, S_POLICY, v->policy);
	wire_opt_str(b, S_MX, v->mx);
	wire_opt_u64(b, S_RESULT, v->result);
	wire_opt_str(b, S_HOST, v->host);
	wire_opt_str(b, S_SENDING_IP, v->sending_ip);
	wire_opt_str(b, S_RECEIVING_IP, v->receiving_ip);
	wire_opt_str(b, S_WHY, str_head(v->why, TLS_SEEN_TEXT_MAX));
}

int
tls_seen_get(struct str body, struct tls_seen *ret)
{
	struct tls_seen v = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case S_DOMAIN: v.domain = f.v; break;
		case S_KIND: v.kind = (enum tls_policy_kind)wire_int(&f); break;
		case S_POLICY: v.policy = f.v; break;
		case S_MX: v.mx = f.v; break;
		case S_RESULT: v.result = (enum tls_result)wire_int(&f); break;
		case S_HOST: v.host = f.v; break;
		case S_SENDING_IP: v.sending_ip = f.v; break;
		case S_RECEIVING_IP: v.receiving_ip = f.v; break;
		case S_WHY: v.why = f.v; break;
		}
	}
	if (r < 0 || !v.domain.n || v.domain.n > DOMAIN_MAX || v.kind > TLS_POLICY_STS ||
	    v.result >= TLS_SEEN_N || v.policy.n > POLICY_MAX || v.mx.n > POLICY_MAX ||
	    v.host.n > DOMAIN_MAX || v.why.n > TLS_SEEN_TEXT_MAX)
		return -EPROTO;
	*ret = v;
	return 0;
}
