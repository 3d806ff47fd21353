/*
 * A notification as a whole:
 *
 *	header                     From MAILER-DAEMON, Auto-Submitted (RFC 3834)
 *	multipart/report
 *	 |- text/plain             report_text.c
 *	 |- message/delivery-status or message/global-delivery-status: report_fields.c
 *	 `- the message: message/rfc822 or message/global; or its header alone:
 *	    text/rfc822-headers or message/global-headers
 *
 * The whole message goes back only with a failure, when RET allows it (RFC 3461
 * section 6.2), it is not longer than the limit and its lines can stand in a mail. A
 * message that asked for REQUIRETLS is returned by its header (RFC 8689 section 5).
 */
#include "mta/report.h"

#include <stdio.h>

#include "lib/base/text.h"
#include "lib/mail/date.h"
#include "lib/mail/header.h"
#include "mta/report_private.h"

#define LINE_MAX_BYTES 998u
#define QP_LINE 72u
#define MESSAGE_ID_MAX 700u

/* ---- status and action ---- */

enum bounce_action
report_action(const struct bounce_request *r)
{
	enum bounce_action worst = BOUNCE_ACTION_MAX;

	for (size_t i = 0; i < r->n_rcpts; i++)
		if (r->rcpts[i].action < worst)
			worst = r->rcpts[i].action;
	return worst;
}

/* "5.1.1": a class and two numbers of up to three digits. */
static bool
is_status(struct str s)
{
	struct str rest = s, class = str_cut(&rest, '.');
	struct str subject = str_cut(&rest, '.');
	uint64_t n;

	return class.n == 1 && strchr("245", class.p[0]) && rest.p && subject.n <= 3 && rest.n <= 3 &&
	    str_u64(subject, 999, &n) && str_u64(rest, 999, &n);
}

struct str
report_status(const struct bounce_rcpt *r, struct arena *a)
{
	char class = r->action == BOUNCE_FAILED ? '5' : r->action == BOUNCE_DELAYED ? '4' : '2';

	if (is_status(r->enhanced) && (r->enhanced.p[0] == class ||
	    (class == '5' && r->enhanced.p[0] == '4')))
		return r->enhanced;
	if (class == '5' && r->smtp / 100 == 4)
		class = '4';
	return arena_printf(a, "%c.0.0", class);
}

/* ---- the message that is returned ---- */

static struct str
header_of(struct str message)
{
	struct str rest = message;
	struct header_field f;

	while (header_next(&rest, &f))
		;
	return str_head(message, message.n - rest.n);
}

/* Whether its lines are such that they can stand in another message as they are. */
static bool
lines_are_plain(struct str s)
{
	size_t line = 0;

	for (size_t i = 0; i < s.n; i++, line++) {
		if (!s.p[i] || line > LINE_MAX_BYTES || (s.p[i] == '\n' && (!i || s.p[i - 1] != '\r')) ||
		    (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n')))
			return false;
		if (s.p[i] == '\n')
			line = (size_t)-1;
	}
	return !s.n || s.p[s.n - 1] == '\n';
}

static enum report_return
what_to_return(const struct report *r)
{
	const struct bounce_request *q = r->request;

	if (r->bare)
		return RETURN_NOTHING;
	if (report_action(q) == BOUNCE_FAILED && q->ret != 2 && r->message.n <= r->return_limit &&
	    !(q->flags & ENV_REQUIRETLS) && lines_are_plain(r->message))
		return RETURN_ALL;
	return RETURN_HEADER;
}

/* Lines in CRLF, none too long, without NUL, as far as REPORT_HEADER_MAX. */
static void
put_header_lines(struct buf *out, struct str header)
{
	size_t line = 0;

	header = str_head(header, REPORT_HEADER_MAX);
	for (size_t i = 0; i < header.n; i++) {
		char c = header.p[i];

		if (c == '\r')
			continue;
		if (c == '\n' || line == LINE_MAX_BYTES - 2) {
			buf_puts(out, "\r\n");
			line = 0;
		}
		if (c == '\n')
			continue;
		if (!line && i && header.p[i - 1] != '\n') { /* cut here: goes on as a folded line */
			buf_putc(out, ' ');
			line++;
		}
		buf_putc(out, c ? c : '?');
		line++;
	}
	if (line)
		buf_puts(out, "\r\n");
}

static void
put_returned(struct buf *out, const struct report *r, enum report_return ret)
{
	struct str part = ret == RETURN_ALL ? r->message : str_head(header_of(r->message), REPORT_HEADER_MAX);
	const char *eight = ascii_only(part) ? "7bit" : "8bit";
	const char *type;

	if (ret == RETURN_ALL)
		type = report_utf8(r) ? "message/global" : "message/rfc822";
	else
		type = report_utf8(r) ? "message/global-headers" : "text/rfc822-headers";
	buf_printf(out, "\r\n--%.*s\r\nContent-Description: Returned message%s\r\n"
	    "Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n", STR_ARG(r->boundary),
	    ret == RETURN_ALL ? "" : " header", type, eight);
	if (ret == RETURN_ALL)
		buf_str(out, part);
	else
		put_header_lines(out, part);
}

/* ---- the part for people, encoded ---- */

static void
put_quoted(struct buf *out, struct str text)
{
	size_t column = 0;

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		bool last = i + 1 == text.n || text.p[i + 1] == '\n';

		if (c == '\n') {
			buf_puts(out, "\r\n");
			column = 0;
			continue;
		}
		if (column >= QP_LINE) {
			buf_puts(out, "=\r\n");
			column = 0;
		}
		if (c == '=' || c < ' ' || c > '~' || (c == ' ' && last)) {
			buf_printf(out, "=%02X", c);
			column += 3;
		} else {
			buf_putc(out, (char)c);
			column++;
		}
	}
}

static void
put_text_part(struct buf *out, const struct report *r, enum report_return ret, struct arena *a)
{
	struct buf text = { 0 };
	bool ascii;

	report_text(&text, r, ret, a);
	ascii = ascii_only(buf_view(&text));
	buf_printf(out, "--%.*s\r\nContent-Description: Notification\r\nContent-Type: text/plain; "
	    "charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n", STR_ARG(r->boundary),
	    ascii ? "us-ascii" : "utf-8", ascii ? "7bit" : "quoted-printable");
	if (ascii)
		put_header_lines(out, buf_view(&text));
	else
		put_quoted(out, buf_view(&text));
	buf_done(&text);
}

static void
put_fields_part(struct buf *out, const struct report *r, struct arena *a)
{
	struct buf fields = { 0 };

	report_fields(&fields, r, a);
	buf_printf(out, "\r\n--%.*s\r\nContent-Description: Delivery report\r\nContent-Type: "
	    "message/%sdelivery-status\r\nContent-Transfer-Encoding: %s\r\n\r\n", STR_ARG(r->boundary),
	    report_utf8(r) ? "global-" : "", ascii_only(buf_view(&fields)) ? "7bit" : "8bit");
	buf_str(out, buf_view(&fields));
	buf_done(&fields);
}

/* ---- the header ---- */

static const char *
subject(const struct bounce_request *q)
{
	if (q->kind == BOUNCE_POSTMASTER)
		return "Postmaster notice: undeliverable mail that cannot be returned";
	switch (report_action(q)) {
	case BOUNCE_FAILED:
		return "Undelivered Mail Returned to Sender";
	case BOUNCE_DELAYED:
		return "Delayed Mail (still being tried)";
	default:
		return "Mail Delivery Report";
	}
}

/* The original's Message-ID when it is one that may be repeated: "<...>" of printable
 * ASCII. */
static bool
original_id(const struct report *r, struct arena *a, struct str *ret)
{
	struct str raw, id;

	if (!header_find(r->message, STR("Message-ID"), &raw))
		return false;
	id = str_trim(header_unfold(raw, a));
	if (id.n < 3 || id.n > MESSAGE_ID_MAX || id.p[0] != '<' || id.p[id.n - 1] != '>')
		return false;
	for (size_t i = 1; i < id.n - 1; i++)
		if (id.p[i] <= ' ' || id.p[i] > '~' || id.p[i] == '<' || id.p[i] == '>')
			return false;
	*ret = id;
	return true;
}

static void
put_header(struct buf *out, const struct report *r, bool eight, struct arena *a)
{
	const struct bounce_request *q = r->request;
	struct str id;

	buf_puts(out, "Date: ");
	date_put_rfc5322(out, (int64_t)(r->now_us / 1000000), 0);
	buf_printf(out, "\r\nFrom: Mail Delivery System <MAILER-DAEMON@%.*s>\r\n",
	    STR_ARG(r->hostname));
	field_put(out, "To", arena_printf(a, "<%.*s>", STR_ARG(safe_text(a, r->to, true, 600))));
	field_put(out, "Subject", str_c(subject(q)));
	buf_printf(out, "Message-ID: <%016llx.%llx.%llx@%.*s>\r\n", (unsigned long long)q->spool_id,
	    (unsigned long long)q->event, (unsigned long long)r->now_us, STR_ARG(r->hostname));
	if (original_id(r, a, &id)) {
		field_put(out, "In-Reply-To", id);
		field_put(out, "References", id);
	}
	buf_printf(out, "Auto-Submitted: %s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; "
	    "report-type=delivery-status;\r\n boundary=\"%.*s\"\r\nContent-Transfer-Encoding: %s\r\n\r\n"
	    "This is a delivery report in MIME format.\r\n\r\n",
	    q->kind == BOUNCE_POSTMASTER ? "auto-generated" : "auto-replied", STR_ARG(r->boundary),
	    eight ? "8bit" : "7bit");
}

void
report_put(struct buf *out, const struct report *r, struct arena *a)
{
	enum report_return ret = what_to_return(r);
	struct buf parts = { .max = out->max };

	put_text_part(&parts, r, ret, a);
	put_fields_part(&parts, r, a);
	if (ret != RETURN_NOTHING)
		put_returned(&parts, r, ret);
	buf_printf(&parts, "\r\n--%.*s--\r\n", STR_ARG(r->boundary));
	put_header(out, r, !ascii_only(buf_view(&parts)), a);
	buf_str(out, buf_view(&parts));
	if (parts.over)
		out->over = true;
	buf_done(&parts);
}
