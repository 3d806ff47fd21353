/*
 * dnsd as its callers see it: questions to the DNS, answered by a validating resolver
 * (RFC 4033 to 4035), and what the answers hold, decoded (dns_rdata.h).
 *
 * A call may be made on a coroutine (it yields) or by a thread that may block. One
 * frame carries up to DNS_QUESTIONS_MAX questions, which dnsd asks side by side. Names
 * are text without a final dot, U-labels or A-labels; those in answers are lower case
 * and ASCII, an odd byte as \DDD (RFC 1035 section 5.1).
 *
 * Nothing of an answer is true longer than its ttl. `secure` says that every part of
 * the answer, the CNAMEs that led to it and the proof that there is nothing included,
 * was validated up to a trust anchor. An answer that should have been and was not is
 * DNS_BOGUS and has no records: for a caller it is a failure like DNS_FAILED, to be
 * tried again later, and never 'there is no such record'.
 */
#ifndef LIB_CLIENT_DNS_H
#define LIB_CLIENT_DNS_H

#include <sys/socket.h>

#include "lib/proc/chan.h"

enum { MSG_DNS_ASK = MSG_TYPE(ROLE_DNSD, 1) };

enum {
	DNS_QUESTIONS_MAX = 8,
	DNS_RECORDS_MAX = 256, /* of one answer; the rest is left out */
	DNS_HOSTS_MAX = 64,    /* of dns_mx, the best ones */
	DNS_NAME_MAX = 1024,   /* as text, with escapes */
	DNS_TTL_MAX = 86400,
};

enum dns_type {
	DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_SOA = 6, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16,
	DNS_AAAA = 28, DNS_SRV = 33, DNS_DNSKEY = 48, DNS_TLSA = 52,
};

enum dns_status {
	DNS_OK = 1,   /* there are records */
	DNS_NODATA,   /* the name exists, without records of this type */
	DNS_NXDOMAIN, /* no such name */
	DNS_FAILED,   /* no usable answer now: no server, a refusal, time ran out */
	DNS_BOGUS,    /* an answer that does not pass its DNSSEC check */
};
/* "ok", "nodata", "nxdomain", "failed", "bogus". Static. */
const char *dns_status_name(enum dns_status s);

struct dns_question {
	struct str name;
	uint16_t type;
};

struct dns_answer {
	enum dns_status status;
	bool secure;
	uint32_t ttl;          /* seconds; 0: use it now and forget it */
	struct str canonical;  /* the name behind the CNAMEs; the name itself without any */
	struct str *rdata;     /* wire form, names in it uncompressed */
	size_t n;
	struct str why;        /* of DNS_FAILED and DNS_BOGUS, for the log */
};

/* Asks dnsd; ret and what it points to live in the arena. 0 when dnsd answered, whatever
 * the status. Negative: -EINVAL for what cannot be a name; else no dnsd can be
 * reached now, which a caller treats as DNS_FAILED. */
int dns_ask(struct str name, uint16_t type, struct arena *a, struct dns_answer *ret);
/* The same for callers with less time: -ETIMEDOUT after limit_ms. */
int dns_ask_within(struct str name, uint16_t type, uint64_t limit_ms, struct arena *a,
    struct dns_answer *ret);
/* The same for n questions at once (at most DNS_QUESTIONS_MAX), ret[i] answering q[i]. */
int dns_ask_many(const struct dns_question *q, size_t n, struct arena *a, struct dns_answer *ret);

/* Which records a result rests on, at the head of each result below. */
struct dns_source {
	enum dns_status status;
	bool secure;
	uint32_t ttl;
	struct str canonical;
	struct str why;
};

struct dns_host {
	unsigned preference;
	struct str name;
};
struct dns_mx {
	struct dns_source from;
	bool null_mx;           /* the domain takes no mail (RFC 7505): 556 5.1.10 */
	bool implicit;          /* no MX records: the domain is its own host (RFC 5321 section 5.1) */
	struct dns_host *hosts; /* best first, those of one preference in random order */
	size_t n;
};
/* The hosts of a mail domain. from.status is DNS_OK when there are hosts or a null MX,
 * DNS_NXDOMAIN when there is no such domain; DNS_FAILED and DNS_BOGUS: try later. An implicit
 * host is not looked up here: it may have no address. */
int dns_mx(struct str domain, struct arena *a, struct dns_mx *ret);

enum { DNS_IPV4 = 1, DNS_IPV6 = 2 };
struct dns_addresses {
	struct dns_source from;      /* secure: all that was asked for is */
	struct sockaddr_storage *v;  /* port 0; the order is random, IPv6 and IPv4 taking turns */
	size_t n;
};
/* The addresses of a host, of the families asked for (DNS_IPV4|DNS_IPV6). DNS_OK when there
 * is one at least, even if the other family could not be found out. */
int dns_addresses(struct str host, unsigned families, struct arena *a, struct dns_addresses *ret);

struct dns_texts {
	struct dns_source from;
	struct str *v;               /* a record each, its strings joined */
	size_t n;
};
int dns_txt(struct str name, struct arena *a, struct dns_texts *ret);

struct dns_names {
	struct dns_source from;
	struct str *v;
	size_t n;
};
/* The names of an IPv4 or IPv6 address. They prove nothing until dns_addresses of one
 * gives the address again. */
int dns_ptr(const struct sockaddr_storage *address, struct arena *a, struct dns_names *ret);

struct dns_tlsa {
	uint8_t usage, selector, matching; /* RFC 6698 section 2.1, as they came */
	struct str data;
};
struct dns_tlsas {
	struct dns_source from;
	struct dns_tlsa *v;
	size_t n;
};
/* The TLSA records of a TCP service, "_PORT._tcp.HOST". They count only when from.secure
 * (RFC 7672 section 2.2); DNS_FAILED and DNS_BOGUS mean that the host must not be used now. */
int dns_tlsa(struct str host, unsigned port, struct arena *a, struct dns_tlsas *ret);

/* "1.2.0.192.in-addr.arpa" of an address; a must have room for 80 bytes. -EAFNOSUPPORT. */
int dns_reverse_name(const struct sockaddr_storage *address, struct arena *a, struct str *ret);

/* The codecs, for dnsd and the tests. get: arrays in the arena, bytes in body. */
void dns_questions_put(struct buf *b, const struct dns_question *q, size_t n);
int dns_questions_get(struct str body, struct dns_question ret[static DNS_QUESTIONS_MAX], size_t *ret_n);
void dns_answers_put(struct buf *b, const struct dns_answer *v, size_t n);
/* Exactly n answers, or -EPROTO. */
int dns_answers_get(struct str body, struct arena *a, struct dns_answer *ret, size_t n);

#endif
