/* getaddrinfo by dnsd; see tabled_names.h. */
#include "mta/tabled_names.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/client/dns.h"
#include "lib/io/ip.h"

#define HOSTS_PATH "/etc/hosts"
#define HOSTS_MAX (256u << 10)
#define ADDRESSES_MAX 64

static struct {
	pthread_mutex_t lock;
	char text[HOSTS_MAX];        /* of /etc/hosts */
	size_t n;
} hosts = { .lock = PTHREAD_MUTEX_INITIALIZER };

void
table_names_init(void)
{
	FILE *f = fopen(HOSTS_PATH, "re");

	pthread_mutex_lock(&hosts.lock);
	hosts.n = f ? fread(hosts.text, 1, sizeof hosts.text, f) : 0;
	pthread_mutex_unlock(&hosts.lock);
	if (f)
		fclose(f);
}

static size_t
from_hosts(struct str name, struct sockaddr_storage v[static ADDRESSES_MAX])
{
	struct str text, line, word, address;
	size_t n = 0;

	pthread_mutex_lock(&hosts.lock);
	text = str_from(hosts.text, hosts.n);
	while (text.p && n < ADDRESSES_MAX) {
		line = str_cut(&text, '\n');
		line = str_cut(&line, '#');
		address = str_word(&line);
		while ((word = str_word(&line)).n)
			if (str_ieq(word, name) && ip_parse(address, &v[n])) {
				n++;
				break;
			}
	}
	pthread_mutex_unlock(&hosts.lock);
	return n;
}

/* EAI_*; 0 and the count. */
static int
from_dns(struct str name, struct sockaddr_storage v[static ADDRESSES_MAX], size_t *ret_n)
{
	struct arena *a = arena_new(0);
	struct dns_addresses got = { 0 };
	int r = a ? dns_addresses(name, DNS_IPV4 | DNS_IPV6, a, &got) : -ENOMEM, code = 0;

	if (r == -EINVAL)
		code = EAI_NONAME;
	else if (r || got.from.status >= DNS_FAILED)
		code = EAI_AGAIN;
	else if (got.from.status != DNS_OK)
		code = EAI_NONAME;
	*ret_n = code ? 0 : got.n < ADDRESSES_MAX ? got.n : ADDRESSES_MAX;
	if (*ret_n)
		memcpy(v, got.v, *ret_n * sizeof *v);
	arena_free(&a);
	return code;
}

static int
look_up(struct str name, bool only_numeric, struct sockaddr_storage v[static ADDRESSES_MAX],
    size_t *ret_n)
{
	*ret_n = 1;
	if (ip_parse(name, &v[0]))
		return 0;
	if (only_numeric)
		return EAI_NONAME;
	*ret_n = from_hosts(name, v);
	if (*ret_n)
		return 0;
	if (str_ieq(name, STR("localhost")) || str_iends(name, STR(".localhost"))) { /* RFC 6761 section 6.3 */
		*ret_n = 2;
		return ip_parse(STR("127.0.0.1"), &v[0]) && ip_parse(STR("::1"), &v[1]) ? 0 : EAI_FAIL;
	}
	return from_dns(name, v, ret_n);
}

/* One element of the result, in one piece of memory. */
static struct addrinfo *
element(const struct sockaddr_storage *a, uint16_t port, const struct addrinfo *hints)
{
	struct { struct addrinfo ai; struct sockaddr_storage a; } *e = calloc(1, sizeof *e);

	if (!e)
		return NULL;
	e->a = *a;
	if (a->ss_family == AF_INET)
		((struct sockaddr_in *)&e->a)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)&e->a)->sin6_port = htons(port);
	e->ai = (struct addrinfo){ .ai_family = a->ss_family,
		.ai_socktype = hints && hints->ai_socktype ? hints->ai_socktype : SOCK_STREAM,
		.ai_protocol = hints ? hints->ai_protocol : 0, .ai_addr = (struct sockaddr *)&e->a,
		.ai_addrlen = a->ss_family == AF_INET ? sizeof(struct sockaddr_in) :
		    sizeof(struct sockaddr_in6) };
	return &e->ai;
}

void
freeaddrinfo(struct addrinfo *ai)
{
	while (ai) {
		struct addrinfo *next = ai->ai_next;

		free(ai->ai_canonname);
		free(ai);
		ai = next;
	}
}

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
    struct addrinfo **ret)
{
	struct sockaddr_storage v[ADDRESSES_MAX];
	struct addrinfo *first = NULL, **at = &first;
	uint32_t port = 0;
	size_t n = 0;
	int r;

	if (!node || (service && !str_u32(str_c(service), 65535, &port)))
		return node ? EAI_SERVICE : EAI_NONAME;
	r = look_up(str_c(node), hints && hints->ai_flags & AI_NUMERICHOST, v, &n);
	for (size_t i = 0; i < n && !r; i++) {
		if (hints && hints->ai_family && hints->ai_family != v[i].ss_family)
			continue;
		*at = element(&v[i], (uint16_t)port, hints);
		if (*at)
			at = &(*at)->ai_next;
		else
			r = EAI_MEMORY;
	}
	if (!r && first && hints && hints->ai_flags & AI_CANONNAME)
		first->ai_canonname = strdup(node);
	if (!r && !first)
		r = EAI_NONAME;
	if (r)
		freeaddrinfo(first);
	else
		*ret = first;
	return r;
}
