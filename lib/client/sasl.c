/*
 * SASL of the front ends; see sasl.h. PLAIN (RFC 4616) and LOGIN are taken apart here;
 * SCRAM (RFC 5802) and what holds a token (RFC 7628) pass through: authd alone knows what
 * their messages mean.
 */
#include "lib/client/sasl.h"

struct dialogue {
	const struct sasl_client *client;
	struct arena *arena;
	struct login_request q;
	struct login_answer *answer;
	struct str initial;
	unsigned char exporter[STREAM_BINDING_MAX], end_point[STREAM_BINDING_MAX];
};

/* The client's next answer: the initial response first. */
static int
answer(struct dialogue *d, struct str challenge, struct str *ret)
{
	if (d->initial.p) {
		*ret = d->initial;
		d->initial = STR_NULL;
		return 0;
	}
	return d->client->ask(d->client->arg, challenge, d->arena, ret);
}

static enum sasl_end
log_in(struct dialogue *d)
{
	if (auth_login(&d->q, d->arena, d->answer) < 0)
		*d->answer = (struct login_answer){ .temporary = true, .text = STR("no answer") };
	return SASL_ANSWERED;
}

/* authzid NUL authcid NUL password. */
static enum sasl_end
plain(struct dialogue *d)
{
	struct str rest;

	if (answer(d, STR(""), &rest) < 0)
		return SASL_ENDED;
	d->q.authzid = str_cut(&rest, '\0');
	d->q.user = str_cut(&rest, '\0');
	d->q.password = rest;
	if (!rest.p || !d->q.user.n || str_chr(rest, '\0') >= 0)
		return SASL_MALFORMED;
	return log_in(d);
}

static enum sasl_end
login(struct dialogue *d)
{
	if (answer(d, STR("Username:"), &d->q.user) < 0 ||
	    answer(d, STR("Password:"), &d->q.password) < 0)
		return SASL_ENDED;
	return log_in(d);
}

/* The server's last word is a challenge, to which the client says nothing. */
static enum sasl_end
scram(struct dialogue *d)
{
	enum sasl_end end;
	struct str nothing;

	if (answer(d, STR(""), &d->q.message) < 0)
		return SASL_ENDED;
	end = log_in(d);
	if (!d->answer->more)
		return end;
	d->q.state = d->answer->state;
	if (answer(d, d->answer->message, &d->q.message) < 0)
		return SASL_ENDED;
	end = log_in(d);
	if (d->answer->ok && answer(d, d->answer->message, &nothing) < 0)
		return SASL_ENDED;
	return end;
}

/* A token that is no good gets an error, to which the client says something, before the
 * end (RFC 7628 section 3.2.3); XOAUTH2 does the same. */
static enum sasl_end
token(struct dialogue *d)
{
	enum sasl_end end;
	struct str nothing;

	if (answer(d, STR(""), &d->q.message) < 0)
		return SASL_ENDED;
	end = log_in(d);
	if (!d->answer->ok && !d->answer->temporary &&
	    answer(d, STR("{\"status\":\"invalid_token\"}"), &nothing) < 0)
		return SASL_ENDED;
	return end;
}

enum { NEEDS_BINDING = 1, NEEDS_KEYS = 2 };

static const struct mechanism {
	struct str name;
	unsigned flags;
	enum sasl_end (*run)(struct dialogue *d);
} mechanisms[] = {
	{ STR_INIT("PLAIN"), 0, plain },
	{ STR_INIT("LOGIN"), 0, login },
	{ STR_INIT("SCRAM-SHA-256"), 0, scram },
	{ STR_INIT("SCRAM-SHA-256-PLUS"), NEEDS_BINDING, scram },
	{ STR_INIT("OAUTHBEARER"), NEEDS_KEYS, token },
	{ STR_INIT("XOAUTH2"), NEEDS_KEYS, token },
};
#define N_MECHANISMS (sizeof mechanisms / sizeof *mechanisms)

static struct str
binding(const struct stream *s, const char *type, unsigned char out[static STREAM_BINDING_MAX])
{
	return str_from(out, stream_tls_binding(s, type, out));
}

static bool
offered(const struct mechanism *m, const struct settings *set, const struct stream *s)
{
	unsigned char data[STREAM_BINDING_MAX];

	if (m->flags & NEEDS_KEYS && (!set->auth_token_keys.n || !stream_tls(s)))
		return false; /* RFC 6750 section 5.3: within TLS only */
	return !(m->flags & NEEDS_BINDING) || binding(s, "tls-exporter", data).n ||
	    binding(s, "tls-server-end-point", data).n;
}

enum sasl_end
sasl_log_in(struct str mech, struct str initial, const struct sasl_client *c, struct arena *a,
    struct login_answer *ret, struct str *ret_user)
{
	struct dialogue d = { .client = c, .arena = a, .answer = ret, .initial = initial };
	enum sasl_end end;
	size_t i = 0;

	*ret_user = STR_NULL;
	while (i < N_MECHANISMS && !str_ieq(mech, mechanisms[i].name))
		i++;
	if (i == N_MECHANISMS || !offered(&mechanisms[i], c->settings, c->stream))
		return SASL_UNKNOWN;
	d.q = (struct login_request){ .mech = mechanisms[i].name, .service = c->service,
		.client_ip = c->client_ip, .tls = stream_tls(c->stream) != NULL,
		.bind_exporter = binding(c->stream, "tls-exporter", d.exporter),
		.bind_end_point = binding(c->stream, "tls-server-end-point", d.end_point) };
	end = mechanisms[i].run(&d);
	*ret_user = d.q.user;
	return end;
}

void
sasl_names_put(struct buf *b, const struct settings *set, const struct stream *s,
    const char *before)
{
	for (size_t i = 0; i < N_MECHANISMS; i++)
		if (offered(&mechanisms[i], set, s))
			buf_printf(b, "%s%.*s", before, STR_ARG(mechanisms[i].name));
}
