/*
 * The part for programs: message/delivery-status (RFC 3464 section 2), or
 * message/global-delivery-status (RFC 6533 section 4.1). A block of fields for the
 * message, and one for each recipient, in the order of the RFC's grammar.
 *
 * Addresses are written with their type: rfc822 where they are ASCII; else utf-8,
 * as they are in the global form and with \x{HEX} in the other (RFC 6533 section 3).
 */
#include <stdio.h>

#include "lib/base/text.h"
#include "lib/mail/date.h"
#include "lib/mail/path.h"
#include "mta/report_private.h"

#define ADDRESS_SHOWN 600u

static const char *const action_words[BOUNCE_ACTION_MAX] = {
	[BOUNCE_FAILED] = "failed",
	[BOUNCE_DELAYED] = "delayed",
	[BOUNCE_DELIVERED] = "delivered",
	[BOUNCE_RELAYED] = "relayed",
	[BOUNCE_EXPANDED] = "expanded",
};

/* ---- addresses ---- */

static void
put_embedded(struct buf *b, struct str s)
{
	uint32_t cp;

	while (s.n) {
		size_t n = utf8_next(s, &cp);

		if (!n)
			buf_putc(b, '?');
		else if (cp > 0x7e || cp == '\\' || cp == '+' || cp == '=' || cp <= ' ')
			buf_printf(b, "\\x{%02X}", (unsigned)cp);
		else
			buf_putc(b, (char)cp);
		s = str_skip(s, n ? n : 1);
	}
}

/* "type; address" of an address that is ours to write. */
static void
put_address(struct buf *b, struct str address, bool global)
{
	address = str_head(address, ADDRESS_SHOWN);
	if (ascii_only(address)) {
		buf_puts(b, "rfc822; ");
		safe_put(b, address, false, ADDRESS_SHOWN);
	} else if (global) {
		buf_puts(b, "utf-8; ");
		safe_put(b, address, true, ADDRESS_SHOWN);
	} else {
		buf_puts(b, "utf-8; ");
		put_embedded(b, address);
	}
}

static bool
is_type(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_isalnum(s.p[i]) && s.p[i] != '-')
			return false;
	return s.n && s.n <= 32;
}

/* One "\x{HEX}" at the beginning of s: its length, or 0. */
static size_t
embedded(struct str s, uint32_t *ret)
{
	ptrdiff_t end = str_chr(s, '}');
	uint32_t cp = 0;

	if (!str_starts(s, STR("\\x{")) || end < 5 || end > 9)
		return 0;
	for (ptrdiff_t i = 3; i < end; i++) {
		char c = ascii_lower(s.p[i]);
		bool digit = ascii_isdigit(c);

		if (!digit && (c < 'a' || c > 'f'))
			return 0;
		cp = cp << 4 | (uint32_t)(digit ? c - '0' : c - 'a' + 10);
	}
	if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
		return 0;
	*ret = cp;
	return (size_t)end + 1;
}

static struct str
without_embedded(struct arena *a, struct str s)
{
	struct buf b = { 0 };
	struct str ret;
	uint32_t cp;

	while (s.n) {
		size_t n = embedded(s, &cp);

		if (n)
			utf8_put(&b, cp);
		else
			buf_putc(&b, s.p[0]);
		s = str_skip(s, n ? n : 1);
	}
	ret = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return ret;
}

/* ORCPT as the client gave it, or what RCPT said when that is no longer the address. */
static void
original_recipient(struct buf *out, const struct bounce_rcpt *r, bool global, struct arena *a)
{
	struct str address = r->orcpt, type = str_cut(&address, ';');
	struct buf b = { 0 };

	address = str_trim(address);
	if (str_ieq(type, STR("utf-8")) && address.n) {
		put_address(&b, without_embedded(a, address), global);
	} else if (is_type(type) && address.n) {
		safe_put(&b, type, false, 32);
		buf_puts(&b, "; ");
		safe_put(&b, address, global, ADDRESS_SHOWN);
	} else if (r->original.n && !str_eq(r->original, r->address)) {
		put_address(&b, r->original, global);
	}
	if (b.n)
		field_put(out, "Original-Recipient", buf_view(&b));
	buf_done(&b);
}

/* ---- the other fields ---- */

static void
date_field(struct buf *out, const char *name, uint64_t ms)
{
	struct buf b = { 0 };

	if (ms)
		date_put_rfc5322(&b, (int64_t)(ms / 1000), 0);
	if (ms)
		field_put(out, name, buf_view(&b));
	buf_done(&b);
}

/* "dns; name": names that may stand in a trace header, and the address beside them. */
static void
received_from(struct buf *out, const struct bounce_request *r)
{
	bool named = r->client_name.n && path_is_host(r->client_name);
	struct buf b = { 0 };

	if (r->flags & ENV_LOCAL || (!named && !r->client_ip.n))
		return;
	buf_puts(&b, "dns; ");
	safe_put(&b, named ? r->client_name : r->client_ip, false, 255);
	if (named && r->client_ip.n) {
		buf_puts(&b, " (");
		safe_put(&b, r->client_ip, false, 64);
		buf_putc(&b, ')');
	}
	field_put(out, "Received-From-MTA", buf_view(&b));
	buf_done(&b);
}

static void
diagnostic(struct buf *out, const struct bounce_rcpt *r, bool global)
{
	struct buf b = { 0 };
	bool theirs = r->mta.n && r->smtp;

	if (!r->text.n)
		return;
	buf_puts(&b, theirs ? "smtp; " : "x-posthorn; ");
	if (r->smtp)
		buf_printf(&b, "%u ", r->smtp);
	if (r->enhanced.n) {
		safe_put(&b, r->enhanced, false, 16);
		buf_putc(&b, ' ');
	}
	safe_put(&b, r->text, global, REPORT_TEXT_MAX);
	field_put(out, "Diagnostic-Code", buf_view(&b));
	buf_done(&b);
}

static void
remote_mta(struct buf *out, const struct bounce_rcpt *r)
{
	struct buf b = { 0 };

	if (!r->mta.n)
		return;
	buf_puts(&b, "dns; ");
	safe_put(&b, r->mta, false, 255);
	field_put(out, "Remote-MTA", buf_view(&b));
	buf_done(&b);
}

static void
rcpt_fields(struct buf *out, const struct bounce_rcpt *r, bool global, struct arena *a)
{
	struct buf b = { 0 };

	buf_puts(out, "\r\n");
	original_recipient(out, r, global, a);
	put_address(&b, r->address, global);
	field_put(out, "Final-Recipient", buf_view(&b));
	buf_done(&b);
	field_put(out, "Action", str_c(action_words[r->action]));
	field_put(out, "Status", report_status(r, a));
	remote_mta(out, r);
	diagnostic(out, r, global);
	date_field(out, "Last-Attempt-Date", r->last_attempt_ms);
	if (r->action == BOUNCE_DELAYED)
		date_field(out, "Will-Retry-Until", r->will_retry_until_ms);
}

static void
message_fields(struct buf *out, const struct report *r, struct arena *a)
{
	const struct bounce_request *q = r->request;
	struct buf b = { 0 };

	if (q->envid.n)
		field_put(out, "Original-Envelope-Id", safe_text(a, q->envid, false, 200));
	field_put(out, "Reporting-MTA", arena_printf(a, "dns; %.*s", STR_ARG(r->hostname)));
	received_from(out, q);
	date_field(out, "Arrival-Date", q->arrived_us / 1000);
	buf_printf(out, "X-Posthorn-Queue-Id: %016llx\r\n", (unsigned long long)q->spool_id);
	if (q->sender.n) {
		put_address(&b, q->sender, report_utf8(r));
		field_put(out, "X-Posthorn-Sender", buf_view(&b));
	}
	buf_done(&b);
}

void
report_fields(struct buf *out, const struct report *r, struct arena *a)
{
	message_fields(out, r, a);
	for (size_t i = 0; i < r->request->n_rcpts; i++)
		rcpt_fields(out, &r->request->rcpts[i], report_utf8(r), a);
}
