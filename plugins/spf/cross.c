/*
 * libspf2 with a DNS layer of its own that asks as our evaluator does. A server object is made for
 * each question: libspf2 keeps what it asks about in it, and calls come from several threads.
 */
#include "plugins/spf/cross.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/types.h>

#include <spf2/spf.h>

enum { RECORDS_MAX = 64, NAME_MAX_TEXT = 256 };

int
spf_cross_built(void)
{
	return 1;
}

/* A name in wire form as text; 0 when it is none. */
static size_t
name_text(struct ph_str w, size_t at, char *buf)
{
	size_t n = 0;

	while (at < w.n && w.p[at]) {
		size_t label = (unsigned char)w.p[at++];

		if (label > 63 || label > w.n - at || n + label + 1 > NAME_MAX_TEXT)
			return 0;
		memcpy(buf + n, w.p + at, label);
		at += label;
		n += label;
		buf[n++] = '.';
	}
	return n ? n - 1 : 0;
}

/* The i-th record as libspf2 keeps it: addresses as they are, all else as text with a NUL. */
static int
put_record(SPF_dns_rr_t *rr, int i, ns_type type, struct ph_str w)
{
	char name[NAME_MAX_TEXT];
	struct ph_str text = w;

	if (type == ns_t_mx || type == ns_t_ptr)
		text = ph_bytes(name, name_text(w, type == ns_t_mx ? 2 : 0, name));
	if ((type == ns_t_a && w.n != 4) || (type == ns_t_aaaa && w.n != 16) ||
	    SPF_dns_rr_buf_realloc(rr, i, text.n + 1) != SPF_E_SUCCESS)
		return -1;
	if (text.n)
		memcpy(rr->rr[i], text.p, text.n);
	if (type != ns_t_a && type != ns_t_aaaa)
		((char *)rr->rr[i])[text.n] = '\0';
	return 0;
}

static SPF_dns_rr_t *
layer_lookup(SPF_dns_server_t *layer, const char *domain, ns_type type, int should_cache)
{
	const struct spf_query *q = layer->hook;
	struct ph_dns d = { .status = PH_DNS_FAILED };
	SPF_dns_stat_t status = TRY_AGAIN;
	struct ph_str name = ph_c(domain);
	SPF_dns_rr_t *rr;

	(void)should_cache;
	if (name.n && name.p[name.n - 1] == '.')
		name.n--;
	if (!name.n || name.n > SPF_DOMAIN_MAX || type == ns_t_spf)
		status = HOST_NOT_FOUND;
	else if (!q->dns(q->arg, name, (uint32_t)type, &d))
		status = d.status == PH_DNS_OK ? NETDB_SUCCESS : d.status == PH_DNS_NODATA ? NO_DATA :
		    d.status == PH_DNS_NXDOMAIN ? HOST_NOT_FOUND : TRY_AGAIN;
	rr = SPF_dns_rr_new_init(layer, domain, type, 0, status);
	for (uint32_t i = 0; rr && status == NETDB_SUCCESS && i < d.n && i < RECORDS_MAX; i++)
		if (!put_record(rr, rr->num_rr, type, d.rdata[i]))
			rr->num_rr++;
	return rr;
}

static int
set_address(SPF_request_t *request, struct ph_str ip)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char raw[16];
	int n = spf_ip_parse(ip, raw);

	if (n < 0 || !inet_ntop(n == 4 ? AF_INET : AF_INET6, raw, text, sizeof text))
		return -1;
	return n == 4 ? SPF_request_set_ipv4_str(request, text) : SPF_request_set_ipv6_str(request, text);
}

/* Strings of a query, each with a NUL; 0, or negative when libspf2 does not take them. */
static int
set_facts(SPF_request_t *request, const struct spf_query *q)
{
	char *helo = strndup(q->helo.p ? q->helo.p : "", q->helo.n);
	char *sender = strndup(q->sender.p ? q->sender.p : "", q->sender.n);
	int r = helo && sender ? set_address(request, q->ip) : -1;

	if (!r)
		r = SPF_request_set_helo_dom(request, helo);
	if (!r && q->sender.n)
		r = SPF_request_set_env_from(request, sender);
	free(helo);
	free(sender);
	return r;
}

static int
result_of(SPF_response_t *response, enum spf_result *ret)
{
	static const struct {
		SPF_result_t theirs;
		enum spf_result ours;
	} results[] = {
		{ SPF_RESULT_NEUTRAL, SPF_NEUTRAL }, { SPF_RESULT_PASS, SPF_PASS },
		{ SPF_RESULT_FAIL, SPF_FAIL }, { SPF_RESULT_SOFTFAIL, SPF_SOFTFAIL },
		{ SPF_RESULT_NONE, SPF_NONE }, { SPF_RESULT_TEMPERROR, SPF_TEMPERROR },
		{ SPF_RESULT_PERMERROR, SPF_PERMERROR }, { SPF_RESULT_INVALID, SPF_PERMERROR },
	};

	for (size_t i = 0; i < sizeof results / sizeof *results; i++)
		if (SPF_response_result(response) == results[i].theirs) {
			*ret = results[i].ours;
			return 1;
		}
	return 0;
}

static int
query(SPF_server_t *server, const struct spf_query *q, enum spf_result *ret)
{
	SPF_request_t *request = SPF_request_new(server);
	SPF_response_t *response = NULL;
	int done = 0;

	if (request && !set_facts(request, q)) {
		SPF_request_query_mailfrom(request, &response);
		done = response && result_of(response, ret);
	}
	if (response)
		SPF_response_free(response);
	if (request)
		SPF_request_free(request);
	return done;
}

int
spf_cross_check(const struct spf_query *q, const struct spf_verdict *v, enum spf_result *ret)
{
	SPF_dns_server_t layer = { .lookup = layer_lookup, .name = "posthorn", .hook = (void *)(uintptr_t)q };
	SPF_server_t *server;
	int done;

	if (v->result == SPF_NONE || v->result == SPF_TEMPERROR || v->result == SPF_PERMERROR)
		return 0;
	SPF_warning_handler = NULL;
	SPF_info_handler = NULL;
	SPF_debug_handler = NULL;
	server = SPF_server_new_dns(&layer, 0);
	if (!server)
		return 0;
	SPF_server_set_rec_dom(server, q->host.n ? q->host.p : "unknown");
	done = query(server, q, ret);
	SPF_server_free(server);
	return done;
}
