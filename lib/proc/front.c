/* A new connection of a front end; see front.h. */
#include "lib/proc/front.h"

#include <errno.h>

#include "lib/base/log.h"
#include "lib/io/proxy.h"
#include "lib/proc/census.h"
#include "lib/proc/metrics.h"

#define PROXY_WITHIN_MS 10000

static struct metric proxied = METRIC_COUNTER("proxy_headers_total", "result=\"taken\"",
    "PROXY headers by what became of them");
static struct metric proxy_bad = METRIC_COUNTER("proxy_headers_total", "result=\"bad\"",
    "PROXY headers by what became of them");
static struct metric over_limit = METRIC_COUNTER("sessions_refused_total", "limit=\"all\"",
    "Connections refused by a limit on sessions");
static struct metric over_address = METRIC_COUNTER("sessions_refused_total", "limit=\"address\"",
    "Connections refused by a limit on sessions");

bool
front_client_in(const struct session *s, const struct conf_nets *nets)
{
	unsigned char addr[16];

	return conf_addr_of(session_peer(s), addr) && conf_nets_has(nets, addr);
}

/* Lets the proxy say who the client is. */
static bool
read_header(struct session *s)
{
	struct proxy_header h;
	int r = proxy_read(session_stream(s), PROXY_WITHIN_MS, &h);

	if (r < 0) {
		metric_add(&proxy_bad, 1);
		LOG_WARN("proxy.bad_header", L_C("proxy", session_peer_text(s)),
		    L_C("why", r == -EPROTO ? "no PROXY header" : r == -ETIMEDOUT ? "it did not come in time" :
		    "the connection broke"));
		return false;
	}
	metric_add(&proxied, 1);
	if (!h.local) {
		session_set_peer(s, &h.client);
		session_set_local(s, &h.server);
	}
	return true;
}

static enum front_answer
count(struct front *f, struct session *s, unsigned limit, unsigned limit_per_address)
{
	if (!conf_addr_of(session_peer(s), f->addr))
		memset(f->addr, 0, sizeof f->addr);
	switch (census_enter(f->addr, limit, limit_per_address)) {
	case CENSUS_FULL:
		metric_add(&over_limit, 1);
		return FRONT_FULL;
	case CENSUS_ADDRESS_FULL:
		metric_add(&over_address, 1);
		return FRONT_ADDRESS_FULL;
	case CENSUS_OK:
		break;
	}
	f->counted = true;
	return FRONT_OK;
}

enum front_answer
front_arrive(struct front *f, struct session *s, const struct settings *set,
    const struct conf_listen *listen, unsigned limit, unsigned limit_per_address)
{
	if (listen->proxy && front_client_in(s, &set->trust_proxy) && !read_header(s))
		return FRONT_BAD_PROXY;
	return count(f, s, limit, limit_per_address);
}

enum front_answer
front_move(struct front *f, struct session *s, unsigned limit, unsigned limit_per_address)
{
	front_leave(f);
	return count(f, s, limit, limit_per_address);
}

void
front_leave(struct front *f)
{
	if (f->counted)
		census_leave(f->addr);
	f->counted = false;
}
