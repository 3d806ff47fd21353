/* Reports about TLS, written down; see tlsrpt.h. */
#include "mta/tlsrpt.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <zlib.h>

#include "lib/base/clock.h"
#include "lib/base/json.h"
#include "lib/base/text.h"

#define BASE64_LINE 76

/* ---- the record ---- */

bool
tlsrpt_record_is(struct str txt)
{
	struct str version = str_cut(&txt, ';');

	return txt.p && str_eq(str_trim(version), STR("v=TLSRPTv1"));
}

static bool
is_uri(struct str uri)
{
	bool plain = uri.n <= TLSRPT_URI_MAX &&
	    (str_istarts(uri, STR("mailto:")) || str_istarts(uri, STR("https:")));

	for (size_t i = 0; plain && i < uri.n; i++)
		plain = uri.p[i] > ' ' && uri.p[i] < 127;
	return plain;
}

int
tlsrpt_record_get(struct str txt, struct str ret[static TLSRPT_RUA_MAX], size_t *ret_n)
{
	size_t n = 0;

	if (!tlsrpt_record_is(txt))
		return -EINVAL;
	str_cut(&txt, ';');
	while (txt.p) {
		struct str value = str_trim(str_cut(&txt, ';')), name = str_trim(str_cut(&value, '='));

		while (str_eq(name, STR("rua")) && value.p && n < TLSRPT_RUA_MAX) {
			struct str uri = str_trim(str_cut(&value, ','));

			if (is_uri(uri))
				ret[n++] = uri;
		}
	}
	*ret_n = n;
	return n ? 0 : -EINVAL;
}

int
tlsrpt_mailto(struct str uri, struct arena *a, struct str *ret)
{
	struct str rest = str_istarts(uri, STR("mailto:")) ? str_skip(uri, 7) : STR_NULL;
	struct str text = str_cut(&rest, '?');
	struct buf b = { .max = TLSRPT_URI_MAX };
	int r = text.n ? 0 : -EINVAL;

	for (size_t i = 0; !r && i < text.n; i++) {
		if (text.p[i] != '%')
			buf_putc(&b, text.p[i]);
		else if (hex_get(&b, str_head(str_skip(text, i + 1), 2)) || i + 2 >= text.n)
			r = -EINVAL;
		else
			i += 2;
	}
	*ret = arena_dup(a, buf_view(&b));
	if (!r && (b.over || ascii_has_control(*ret) || str_chr(*ret, '@') < 1 ||
	    str_chr(*ret, ' ') >= 0 || str_chr(*ret, '<') >= 0 || str_chr(*ret, '>') >= 0))
		r = -EINVAL;
	buf_done(&b);
	return r;
}

/* ---- JSON ---- */

static void
put_time(struct json *j, const char *key, uint64_t s)
{
	time_t t = (time_t)s;
	char text[40];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	json_key(j, key);
	json_str(j, str_c(text));
}

static void
put_text(struct json *j, const char *key, struct str v)
{
	if (!v.n)
		return;
	json_key(j, key);
	json_str(j, v);
}

static void
put_array(struct json *j, const char *key, struct str list, char sep)
{
	if (!list.n)
		return;
	json_key(j, key);
	json_array(j);
	while (list.p) {
		struct str one = str_cut(&list, sep);

		if (one.n)
			json_str(j, one);
	}
	json_end(j);
}

static void
put_failure(struct json *j, const struct tlsrpt_failure *f)
{
	json_object(j);
	put_text(j, "result-type", str_c(tls_result_name(f->result)));
	put_text(j, "sending-mta-ip", f->sending_ip);
	put_text(j, "receiving-mx-hostname", f->host);
	put_text(j, "receiving-ip", f->receiving_ip);
	json_key(j, "failed-session-count");
	json_u64(j, f->n);
	put_text(j, "failure-reason-code", f->why);
	json_end(j);
}

static void
put_policy(struct json *j, const struct tlsrpt_report *r, const struct tlsrpt_policy *p)
{
	json_object(j);
	json_key(j, "policy");
	json_object(j);
	put_text(j, "policy-type", str_c(tls_policy_kind_name(p->kind)));
	put_array(j, "policy-string", p->text, '\n');
	put_text(j, "policy-domain", r->domain);
	put_array(j, "mx-host", p->mx, ' ');
	json_end(j);
	json_key(j, "summary");
	json_object(j);
	json_key(j, "total-successful-session-count");
	json_u64(j, p->good);
	json_key(j, "total-failure-session-count");
	json_u64(j, p->bad);
	json_end(j);
	if (p->n_failures) {
		json_key(j, "failure-details");
		json_array(j);
		for (size_t i = 0; i < p->n_failures; i++)
			put_failure(j, &p->failures[i]);
		json_end(j);
	}
	json_end(j);
}

void
tlsrpt_json(struct buf *b, const struct tlsrpt_report *r)
{
	struct json j;

	json_init(&j, b, false);
	json_object(&j);
	put_text(&j, "organization-name", r->organization);
	json_key(&j, "date-range");
	json_object(&j);
	put_time(&j, "start-datetime", r->begin_s);
	put_time(&j, "end-datetime", r->end_s);
	json_end(&j);
	put_text(&j, "contact-info", r->contact);
	put_text(&j, "report-id", r->id);
	json_key(&j, "policies");
	json_array(&j);
	for (size_t i = 0; i < r->n_policies; i++)
		put_policy(&j, r, &r->policies[i]);
	json_end(&j);
	json_end(&j);
}

int
tlsrpt_gzip(struct buf *b, const struct tlsrpt_report *r)
{
	struct buf text = { 0 };
	z_stream z = { 0 };
	int rc = -ENOMEM;
	char *room;
	size_t n;

	tlsrpt_json(&text, r);
	if (!text.over && deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
	    Z_DEFAULT_STRATEGY) == Z_OK) {
		n = deflateBound(&z, text.n);
		room = buf_room(b, n);
		z.next_in = (unsigned char *)text.p;
		z.avail_in = (unsigned)text.n;
		z.next_out = (unsigned char *)room;
		z.avail_out = (unsigned)n;
		if (room && deflate(&z, Z_FINISH) == Z_STREAM_END) {
			buf_grown(b, z.total_out);
			rc = 0;
		}
		deflateEnd(&z);
	}
	buf_done(&text);
	return rc;
}

/* ---- the message ---- */

/* "submitter!domain!begin!end!id.json.gz" (section 5.1) */
static void
put_file_name(struct buf *b, const struct tlsrpt_report *r)
{
	buf_printf(b, "%.*s!%.*s!%llu!%llu.json.gz", STR_ARG(r->submitter), STR_ARG(r->domain),
	    (unsigned long long)r->begin_s, (unsigned long long)r->end_s);
}

static void
put_base64(struct buf *b, struct str data)
{
	struct buf all = { 0 };
	struct str rest;

	base64_put(&all, data);
	for (rest = buf_view(&all); rest.n; rest = str_skip(rest, BASE64_LINE)) {
		buf_str(b, str_head(rest, BASE64_LINE));
		buf_puts(b, "\r\n");
	}
	buf_done(&all);
}

static void
put_header(struct buf *b, const struct tlsrpt_report *r, struct str from, struct str to,
    struct str boundary)
{
	buf_printf(b, "From: <%.*s>\r\nTo: <%.*s>\r\n", STR_ARG(from), STR_ARG(to));
	buf_printf(b, "Date: %s\r\nMessage-ID: <%.*s>\r\n", clock_rfc5322(), STR_ARG(r->id));
	buf_printf(b, "Subject: Report Domain: %.*s\r\n Submitter: %.*s\r\n Report-ID: <%.*s>\r\n",
	    STR_ARG(r->domain), STR_ARG(r->submitter), STR_ARG(r->id));
	buf_printf(b, "TLS-Report-Domain: %.*s\r\nTLS-Report-Submitter: %.*s\r\n",
	    STR_ARG(r->domain), STR_ARG(r->submitter));
	buf_puts(b, "TLS-Required: No\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
	buf_printf(b, "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n"
	    " boundary=\"%.*s\"\r\n\r\n", STR_ARG(boundary));
}

void
tlsrpt_message(struct buf *b, const struct tlsrpt_report *r, struct str from, struct str to,
    struct str boundary, struct str gzip)
{
	put_header(b, r, from, to, boundary);
	buf_printf(b, "--%.*s\r\nContent-Type: text/plain; charset=us-ascii\r\n"
	    "Content-Transfer-Encoding: 7bit\r\n\r\n", STR_ARG(boundary));
	buf_printf(b, "This is an aggregate TLS report about %.*s from %.*s.\r\n"
	    "The attached file tells how TLS went when mail was sent to this domain (RFC 8460).\r\n"
	    "\r\n", STR_ARG(r->domain), STR_ARG(r->submitter));
	buf_printf(b, "--%.*s\r\nContent-Type: application/tlsrpt+gzip\r\n"
	    "Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n filename=\"",
	    STR_ARG(boundary));
	put_file_name(b, r);
	buf_puts(b, "\"\r\n\r\n");
	put_base64(b, gzip);
	buf_printf(b, "\r\n--%.*s--\r\n", STR_ARG(boundary));
}
