/*
 * The data of DNS records, from wire form (names uncompressed, as dnsd hands them on).
 * It comes from strangers: each reader looks at every length, and takes a record whole
 * or not at all (-EPROTO; -ENOMEM when the arena is full).
 */
#ifndef LIB_CLIENT_DNS_RDATA_H
#define LIB_CLIENT_DNS_RDATA_H

#include "lib/client/dns.h"

/* Cuts a name off *s (RFC 1035 section 3.1; no compression): lower-case text without a final
 * dot, "" for the root; dots and backslashes within a label and all that is not printable
 * come as \DDD. Bytes in the arena. */
int dns_name_get(struct str *s, struct arena *a, struct str *ret);
/* The name in wire form, for a question or an answer that is made here: 0, or -EINVAL for an empty or
 * long label or a name over 255 bytes. Understands \DDD. */
int dns_name_put(struct buf *b, struct str name);
/* Whether the name can be that of a host: letters, digits, hyphens, underscores. */
bool dns_name_is_host(struct str name);

/* RFC 1035 section 3.3.9. The root as name makes the host "". */
int dns_mx_get(struct str rdata, struct arena *a, struct dns_host *ret);
/* RFC 1035 section 3.4.1, RFC 3596 section 2.2; type is DNS_A or DNS_AAAA. */
int dns_address_get(struct str rdata, uint16_t type, struct sockaddr_storage *ret);
/* RFC 1035 section 3.3.14: one string or more, joined. */
int dns_txt_get(struct str rdata, struct arena *a, struct str *ret);
/* RFC 6698 section 2.1. data points into rdata. */
int dns_tlsa_get(struct str rdata, struct dns_tlsa *ret);

/* The record's data as a zone file writes it, for people; types that are not known as
 * RFC 3597 section 5 has it. */
void dns_rdata_text(struct buf *b, uint16_t type, struct str rdata);
/* "MX" and "TYPE257"; 0 for what is not a type. */
uint16_t dns_type_by_name(struct str name);
void dns_type_text(struct buf *b, uint16_t type);

#endif
