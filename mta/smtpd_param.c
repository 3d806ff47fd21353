/*
 * The parameters of MAIL and RCPT, one row each: RFC 1870 (SIZE), 6152 and 3030 (BODY),
 * 6531 (SMTPUTF8), 4954 (AUTH), 3461 (RET, ENVID, NOTIFY, ORCPT), 8689 (REQUIRETLS), 2852
 * (BY), 4865 (HOLDFOR, HOLDUNTIL), 6710 (MT-PRIORITY).
 */
#include "mta/smtpd.h"

#include "lib/base/clock.h"
#include "lib/base/text.h"
#include "lib/mail/esmtp.h"

static bool
bad(struct smtp *s, const char *name)
{
	smtp_reply(s, 501, "5.5.4", "Bad %s", name);
	return false;
}

static bool
take_size(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	struct envelope *env = &s->txn->env;
	size_t digits = 0;

	while (digits < value.n && ascii_isdigit(value.p[digits]))
		digits++;
	if (!value.n || digits < value.n || value.n > 20) /* RFC 1870 section 4 */
		return bad(s, "SIZE");
	if (str_u64(value, smtp_settings()->message_size_limit, &env->size))
		return true;
	smtp_refuse(s, 552, "5.3.4", STR_NULL, "Message size exceeds the limit");
	return false;
}

static bool
take_body(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	static const struct str words[] = { STR_INIT("7BIT"), STR_INIT("8BITMIME"),
		STR_INIT("BINARYMIME") };
	uint32_t i = 0, n = smtp_offers(s, EXT_BINARYMIME) ? 3 : 2;

	while (i < n && !str_ieq(value, words[i]))
		i++;
	s->txn->env.body = i;
	return i < n || bad(s, "BODY");
}

static bool
take_smtputf8(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	s->txn->env.flags |= ENV_SMTPUTF8;
	return !value.p || bad(s, "SMTPUTF8: it takes no value");
}

/* RFC 4954 section 5: looked at, then as if it said <>. */
static bool
take_auth(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	struct buf b;
	bool ok;

	buf_init(&b, 1024);
	ok = value.n && xtext_get(&b, value) == 0 && !b.over;
	buf_done(&b);
	return ok || bad(s, "AUTH");
}

static bool
take_ret(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	return esmtp_ret(value, &s->txn->env.ret) == 0 || bad(s, "RET");
}

static bool
take_envid(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	return esmtp_envid(value, s->txn->arena, &s->txn->env.envid) == 0 || bad(s, "ENVID");
}

static bool
take_requiretls(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	s->txn->env.flags |= ENV_REQUIRETLS;
	return !value.p || bad(s, "REQUIRETLS: it takes no value");
}

static bool
take_by(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	struct envelope *env = &s->txn->env;
	struct esmtp_by by;

	if (esmtp_by(value, &by) < 0)
		return bad(s, "BY");
	env->deliver_by_ms = clock_real_us() / 1000 + (uint64_t)((int64_t)by.seconds * 1000);
	env->flags |= (by.notify ? ENV_BY_NOTIFY : 0) | (by.trace ? ENV_BY_TRACE : 0);
	return true;
}

/* RFC 4865 section 4: one of the two, within what EHLO said. */
static bool
hold(struct smtp *s, uint64_t until_ms)
{
	struct envelope *env = &s->txn->env;
	uint64_t now = clock_real_us() / 1000;

	if (env->hold_until_ms)
		smtp_reply(s, 501, "5.5.4", "Either HOLDFOR or HOLDUNTIL");
	else if (until_ms <= now)
		smtp_reply(s, 501, "5.5.4", "The time of release is over");
	else if (until_ms - now > smtp_settings()->future_release_max_ms)
		smtp_reply(s, 501, "5.5.4", "The time of release is too far away");
	else
		env->hold_until_ms = until_ms;
	return env->hold_until_ms == until_ms;
}

static bool
take_holdfor(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	uint64_t seconds;

	if (esmtp_hold_for(value, &seconds) < 0)
		return bad(s, "HOLDFOR");
	return hold(s, clock_real_us() / 1000 + seconds * 1000);
}

static bool
take_holduntil(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	int64_t time;

	if (esmtp_hold_until(value, &time) < 0)
		return bad(s, "HOLDUNTIL");
	return hold(s, time < 0 ? 0 : (uint64_t)time * 1000);
}

/* Strangers gain nothing by it; what a message loses by it is its sender's choice. */
static bool
take_priority(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	struct envelope *env = &s->txn->env;

	if (esmtp_priority(value, &env->priority) < 0) {
		smtp_reply(s, 501, "5.5.2", "Bad MT-PRIORITY"); /* RFC 6710 section 4.1 */
		return false;
	}
	if (env->priority > 0 && !smtp_may_relay(s)) {
		env->priority = 0;
		s->txn->priority_lowered = true;
	}
	return true;
}

static bool
take_notify(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	return esmtp_notify(value, &r->notify) == 0 || bad(s, "NOTIFY");
}

static bool
take_orcpt(struct smtp *s, struct envelope_rcpt *r, struct str value)
{
	bool utf8 = s->txn->env.flags & ENV_SMTPUTF8;

	return esmtp_orcpt(value, utf8, s->txn->arena, &r->orcpt) == 0 || bad(s, "ORCPT");
}

struct param {
	struct str name;
	enum smtp_extension of;
	bool (*take)(struct smtp *s, struct envelope_rcpt *r, struct str value); /* false: answered */
};

static const struct param mail_params[] = {
	{ STR_INIT("SIZE"), EXT_SIZE, take_size },
	{ STR_INIT("BODY"), EXT_8BITMIME, take_body },
	{ STR_INIT("SMTPUTF8"), EXT_SMTPUTF8, take_smtputf8 },
	{ STR_INIT("AUTH"), EXT_AUTH, take_auth },
	{ STR_INIT("RET"), EXT_DSN, take_ret },
	{ STR_INIT("ENVID"), EXT_DSN, take_envid },
	{ STR_INIT("REQUIRETLS"), EXT_REQUIRETLS, take_requiretls },
	{ STR_INIT("BY"), EXT_DELIVERBY, take_by },
	{ STR_INIT("HOLDFOR"), EXT_FUTURERELEASE, take_holdfor },
	{ STR_INIT("HOLDUNTIL"), EXT_FUTURERELEASE, take_holduntil },
	{ STR_INIT("MT-PRIORITY"), EXT_MT_PRIORITY, take_priority },
};

static const struct param rcpt_params[] = {
	{ STR_INIT("NOTIFY"), EXT_DSN, take_notify },
	{ STR_INIT("ORCPT"), EXT_DSN, take_orcpt },
};

static bool
take_params(struct smtp *s, const struct param *v, size_t n, struct envelope_rcpt *r, struct str rest)
{
	struct str word;
	unsigned seen = 0;

	while ((word = str_word(&rest)).n) {
		struct str value = word, name = str_cut(&value, '=');
		size_t i = 0;

		while (i < n && !str_ieq(name, v[i].name))
			i++;
		if (i == n || !smtp_offers(s, v[i].of)) {
			smtp_reply(s, 555, "5.5.4", "Parameter not recognized");
			return false;
		}
		if (seen & 1u << i) {
			smtp_reply(s, 501, "5.5.4", "Parameter given twice");
			return false;
		}
		seen |= 1u << i;
		if (!v[i].take(s, r, value))
			return false;
	}
	return true;
}

bool
smtp_mail_params(struct smtp *s, struct str rest)
{
	return take_params(s, mail_params, sizeof mail_params / sizeof *mail_params, NULL, rest);
}

bool
smtp_rcpt_params(struct smtp *s, struct envelope_rcpt *r, struct str rest)
{
	return take_params(s, rcpt_params, sizeof rcpt_params / sizeof *rcpt_params, r, rest);
}
