/*
 * What EHLO and LHLO offer, one row each. An extension that is not offered to this
 * client, on this listener, now, is not there: its parameters are not recognized.
 */
#include "mta/smtpd.h"

#include "lib/base/clock.h"
#include "lib/client/sasl.h"
#include "lib/mail/date.h"

static bool
always(struct smtp *s)
{
	return true;
}

static bool
trusted(struct smtp *s)
{
	return s->trusted;
}

/* RFC 3030 section 3: BINARYMIME is of no use without. */
static bool
chunking(struct smtp *s)
{
	return smtp_offers(s, EXT_CHUNKING);
}

/* RFC 8689 section 2: within TLS only. */
static bool
tls_is_on(struct smtp *s)
{
	return stream_tls(s->io) != NULL;
}

/* RFC 4865 is for submission. */
static bool
future_release(struct smtp *s)
{
	return s->listen->proto == CONF_SUBMISSION && smtp_settings()->future_release_max_ms;
}

static void
put_size(struct smtp *s, struct buf *b)
{
	buf_printf(b, " %llu", (unsigned long long)smtp_settings()->message_size_limit);
}

static void
put_auth(struct smtp *s, struct buf *b)
{
	sasl_names_put(b, smtp_settings(), s->io, " ");
}

/* The longest interval, and the date and time that it is now. */
static void
put_future_release(struct smtp *s, struct buf *b)
{
	uint64_t seconds = smtp_settings()->future_release_max_ms / 1000;

	buf_printf(b, " %llu ", (unsigned long long)seconds);
	date_put_rfc3339(b, (int64_t)(clock_real_us() / 1000000 + seconds));
}

/* RFC 9422 section 3. */
static void
put_limits(struct smtp *s, struct buf *b)
{
	buf_printf(b, " RCPTMAX=%u", smtp_settings()->recipient_limit);
}

static const struct extension {
	struct str keyword;
	bool (*offered)(struct smtp *s);
	void (*put)(struct smtp *s, struct buf *b); /* what stands behind the keyword */
} extensions[EXT_MAX] = {
	[EXT_PIPELINING] = { STR_INIT("PIPELINING"), always, NULL },
	[EXT_SIZE] = { STR_INIT("SIZE"), always, put_size },
	[EXT_STARTTLS] = { STR_INIT("STARTTLS"), smtp_tls_offered, NULL },
	[EXT_AUTH] = { STR_INIT("AUTH"), smtp_auth_offered, put_auth },
	[EXT_XCLIENT] = { STR_INIT(XCLIENT_EHLO), trusted, NULL },
	[EXT_XFORWARD] = { STR_INIT(XFORWARD_EHLO), trusted, NULL },
	[EXT_ENHANCEDSTATUSCODES] = { STR_INIT("ENHANCEDSTATUSCODES"), always, NULL },
	[EXT_8BITMIME] = { STR_INIT("8BITMIME"), always, NULL },
	[EXT_BINARYMIME] = { STR_INIT("BINARYMIME"), chunking, NULL },
	[EXT_DSN] = { STR_INIT("DSN"), always, NULL },
	[EXT_CHUNKING] = { STR_INIT("CHUNKING"), always, NULL },
	[EXT_REQUIRETLS] = { STR_INIT("REQUIRETLS"), tls_is_on, NULL },
	[EXT_DELIVERBY] = { STR_INIT("DELIVERBY"), always, NULL },
	[EXT_FUTURERELEASE] = { STR_INIT("FUTURERELEASE"), future_release, put_future_release },
	[EXT_MT_PRIORITY] = { STR_INIT("MT-PRIORITY"), always, NULL },
	[EXT_LIMITS] = { STR_INIT("LIMITS"), always, put_limits },
	[EXT_ETRN] = { STR_INIT("ETRN"), smtp_etrn_offered, NULL },
	[EXT_SMTPUTF8] = { STR_INIT("SMTPUTF8"), always, NULL },
};

/* Whether the setting discard-extensions names it. */
static bool
discarded(struct str keyword)
{
	struct str list = smtp_settings()->smtp_discard_extensions, word;
	struct str name = str_cut(&keyword, ' ');

	while ((word = str_word(&list)).n)
		if (str_ieq(word, name))
			return true;
	return false;
}

bool
smtp_offers(struct smtp *s, enum smtp_extension x)
{
	const struct extension *e = &extensions[x];

	return e->offered(s) && !discarded(e->keyword);
}

void
smtp_extensions_put(struct smtp *s, struct buf *b)
{
	for (unsigned x = 0; x < EXT_MAX; x++) {
		if (!smtp_offers(s, (enum smtp_extension)x))
			continue;
		buf_printf(b, "250-%.*s", STR_ARG(extensions[x].keyword));
		if (extensions[x].put)
			extensions[x].put(s, b);
		buf_puts(b, "\r\n");
	}
}
