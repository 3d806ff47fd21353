/*
 * What addresses become, by the tables of the block rewrite (and who gets copies, by
 * those of route):
 *
 *	sender-canonical or recipient-canonical, then canonical, then masquerade-domains;
 *	generic alone for what leaves
 *
 * In each table an address is looked up as user+detail@domain, user@domain, user+detail
 * and user (in alias-domains), @domain. What is found may be an address, a local part
 * (of the origin domain) or @domain, which keeps the local part; it is looked up again in
 * the same tables until it stays as it is. A detail that was no part of the key is
 * carried over (propagate-extensions; never by generic).
 */
#ifndef MTA_REWRITE_H
#define MTA_REWRITE_H

#include "lib/client/rewrite.h"
#include "mta/route.h"

#define REWRITE_ROUNDS 10 /* through the same tables */

/* 1 and *ret (in a) when the address becomes another one, or has copies; 0: it stays, or
 * is no address that could be looked up; negative: nobody can say now, r->why says why. */
int rewrite_address(struct router *r, const struct rewrite_ask *ask, struct arena *a,
    struct str *ret);

#endif
