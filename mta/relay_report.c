/*
 * What reportd is told of TLS with other servers (RFC 8460): one frame for the first attempt at
 * each address, and for hosts that a policy forbids. Nothing waits for it, and what gets lost
 * on the way is not missed.
 */
#include "lib/base/text.h"
#include "mta/relayd.h"

#define TOLD_MS 30000

/* A policy that is announced and cannot be had: that is what its domain must hear. */
static enum tls_result
policy_fault(const struct relay_route *r)
{
	static const enum tls_result faults[] = {
		[STS_FAULT_NONE] = TLS_SEEN_GOOD, [STS_FAULT_FETCH] = TLS_SEEN_STS_FETCH,
		[STS_FAULT_INVALID] = TLS_SEEN_STS_INVALID, [STS_FAULT_WEBPKI] = TLS_SEEN_STS_WEBPKI,
	};

	return r->sts.found ? TLS_SEEN_GOOD : faults[r->sts.fault];
}

static enum tls_policy_kind
kind_of(const struct relay_route *r, const struct relay_policy *p, enum tls_result result)
{
	if ((p && p->n_tlsa) || (result >= TLS_SEEN_TLSA_INVALID && result <= TLS_SEEN_DANE_REQUIRED))
		return TLS_POLICY_TLSA;
	return r->sts.found || policy_fault(r) ? TLS_POLICY_STS : TLS_POLICY_NONE;
}

static void
put_tlsa(struct buf *b, const struct relay_policy *p)
{
	for (size_t i = 0; p && i < p->n_tlsa; i++) {
		const struct tls_tlsa *t = &p->tlsa[i];

		buf_printf(b, "%u %u %u ", t->usage, t->selector, t->matching);
		hex_put(b, t->data);
		buf_putc(b, '\n');
	}
}

/* The policy's text, and the hosts that it names. */
static void
put_policy(const struct relay_route *r, const struct relay_host *h, const struct relay_policy *p,
    enum tls_policy_kind kind, struct buf *text, struct buf *mx)
{
	if (kind == TLS_POLICY_TLSA) {
		put_tlsa(text, p);
		buf_str(mx, h->name);
	} else if (kind == TLS_POLICY_STS && r->sts.found) {
		sts_policy_put(text, &r->sts.policy, "\n");
		for (size_t i = 0; i < r->sts.policy.n_mx; i++)
			buf_printf(mx, "%s%.*s", i ? " " : "", STR_ARG(r->sts.policy.mx[i]));
	}
}

static void
told(void *arg, int code, const struct frame *f)
{
	(void)arg;
	(void)code;
	(void)f;
}

static void
tell(const struct tls_seen *v)
{
	struct chan *c = chan_to(ROLE_REPORTD, CHAN_ANY);
	struct buf b = { 0 };

	tls_seen_put(&b, v);
	if (c && chan_alive(c) && !b.over)
		chan_send(c, MSG_TLS_SEEN, &b, -1, TOLD_MS, told, NULL);
	buf_done(&b);
}

void
relay_report(const struct relay_route *r, const struct relay_host *h,
    const struct sockaddr_storage *addr, const struct relay_policy *p, const struct fault *f)
{
	char address[RELAY_ADDRESS_TEXT] = "";
	struct buf text = { 0 }, mx = { 0 };
	struct tls_seen v = { .domain = r->hop.host, .host = h->name, .sending_ip = str_c(f->local) };

	if (!relayd.s->tls_report || !r->hop.mx || r->hop.lmtp)
		return;
	if (addr)
		relay_address_text(addr, address);
	v.receiving_ip = str_c(address);
	v.result = f->seen;
	if (!v.result && p && p->sts_stranger)
		v.result = TLS_SEEN_VALIDATION_FAILURE;
	v.kind = kind_of(r, p, v.result);
	if (v.kind == TLS_POLICY_STS && policy_fault(r))
		v.result = policy_fault(r);
	if (v.result)
		v.why = v.result == policy_fault(r) ? r->sts.why : f->result.text;
	put_policy(r, h, p, v.kind, &text, &mx);
	v.policy = buf_view(&text);
	v.mx = buf_view(&mx);
	tell(&v);
	buf_done(&text);
	buf_done(&mx);
}
