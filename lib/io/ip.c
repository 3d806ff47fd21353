#include "lib/io/ip.h"

#include <arpa/inet.h>
#include <string.h>

bool
ip_parse(struct str text, struct sockaddr_storage *ret)
{
	struct sockaddr_storage a = { 0 };
	char c[INET6_ADDRSTRLEN];

	if (!text.n || text.n >= sizeof c || memchr(text.p, 0, text.n))
		return false;
	memcpy(c, text.p, text.n);
	c[text.n] = '\0';
	if (inet_pton(AF_INET, c, &((struct sockaddr_in *)&a)->sin_addr) == 1)
		a.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, c, &((struct sockaddr_in6 *)&a)->sin6_addr) == 1)
		a.ss_family = AF_INET6;
	else
		return false;
	*ret = a;
	return true;
}
