/* Addresses of IPv4 and IPv6 as text. */
#ifndef LIB_IO_IP_H
#define LIB_IO_IP_H

#include <stdbool.h>
#include <sys/socket.h>

#include "lib/base/str.h"

/* "192.0.2.1", "2001:db8::1", without brackets, zone or port: the address, port 0. False:
 * it is none, and *ret is as before. */
bool ip_parse(struct str text, struct sockaddr_storage *ret);

#endif
