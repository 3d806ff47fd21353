/* posthorn dns: what the running instance finds in the DNS, by dnsd. */
#include <errno.h>

#include "lib/client/control.h"
#include "lib/client/dns_rdata.h"
#include "mta/cli_tables.h"

#define ANSWER_MS 60000u

static const struct cli_col cols[] = { { "name" }, { "type" }, { "ttl" }, { "data" } };

/* One answer of dnsd. 0, or an exit status after an error was shown. */
static int
ask(struct cli *c, struct str name, uint16_t type, struct dns_answer *ret)
{
	struct dns_question q = { name, type };
	struct control *ctl = NULL;
	struct buf b = { 0 };
	struct frame f;
	struct err e = { 0 };
	int r = control_open(c->settings, ROLE_DNSD, 0, &ctl, &e);

	dns_questions_put(&b, &q, 1);
	if (r == 0)
		r = control_call(ctl, MSG_DNS_ASK, &b, -1, ANSWER_MS, c->arena, &f, &e);
	if (r == 0) {
		r = dns_answers_get(f.body, c->arena, ret, 1);
		if (r)
			err_set(&e, r, "dnsd's answer cannot be read");
	}
	control_close(&ctl);
	buf_done(&b);
	return r ? cli_fail_err(c, r, &e) : CLI_OK;
}

static void
show_text(struct cli *c, uint16_t type, const struct dns_answer *v)
{
	struct cli_table *t = cli_table_new(c, cols, 4);
	struct buf kind = { 0 }, data = { 0 };

	dns_type_text(&kind, type);
	for (size_t i = 0; i < v->n; i++) {
		buf_clear(&data);
		dns_rdata_text(&data, type, v->rdata[i]);
		cli_cell(t, v->canonical);
		cli_cell(t, buf_view(&kind));
		cli_cell_u64(t, v->ttl);
		cli_cell(t, buf_view(&data));
	}
	cli_table_end(&t);
	cli_say(c, "%s%s%s%.*s", dns_status_name(v->status), v->secure ? ", validated" : "",
	    v->why.n ? ": " : "", STR_ARG(v->why));
	buf_done(&kind);
	buf_done(&data);
}

static void
show_json(struct cli *c, uint16_t type, const struct dns_answer *v)
{
	struct json *j = cli_json(c);
	struct buf data = { 0 };

	json_object(j);
	json_key(j, "status");
	json_str(j, str_c(dns_status_name(v->status)));
	json_key(j, "validated");
	json_bool(j, v->secure);
	json_key(j, "ttl");
	json_u64(j, v->ttl);
	json_key(j, "name");
	json_str(j, v->canonical);
	json_key(j, "why");
	json_str(j, v->why);
	json_key(j, "data");
	json_array(j);
	for (size_t i = 0; i < v->n; i++) {
		buf_clear(&data);
		dns_rdata_text(&data, type, v->rdata[i]);
		json_str(j, buf_view(&data));
	}
	json_end(j);
	json_end(j);
	cli_json_end(c);
	buf_done(&data);
}

static int
dns_ask_verb(struct cli *c)
{
	struct str name = str_c(c->args[0]);
	uint16_t type = c->n_args > 1 ? dns_type_by_name(str_c(c->args[1])) : DNS_A;
	struct dns_answer v;
	int r;

	if (!type)
		return cli_fail(c, CLI_USAGE, "'%s' is not a record type", c->args[1]);
	r = ask(c, name, type, &v);
	if (r)
		return r;
	if (c->json)
		show_json(c, type, &v);
	else
		show_text(c, type, &v);
	return v.status >= DNS_FAILED ? CLI_TEMPORARY : CLI_OK;
}

const struct verb cli_dns[] = {
	{ "dns", "ask", "NAME [TYPE]", "look a name up as the instance does", NULL, dns_ask_verb,
	    .more = "The answer comes from dnsd, with its cache and the records of the configuration. TYPE is A,\n"
		    "MX, TXT, TLSA and so on, or TYPE257. Ends with status 75 when there is no usable answer.",
	    .examples = "dns ask example.test MX\ndns ask _25._tcp.mx.example.test TLSA --json\n" },
	{ 0 },
};
