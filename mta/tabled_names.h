/*
 * Names of servers, for the client libraries of tabled: this program has a getaddrinfo and
 * a freeaddrinfo of its own, which the libraries find before libc's. Names are looked up
 * by dnsd, like all names of the house, after those of /etc/hosts as it was when
 * table_names_init ran. Services are numbers.
 */
#ifndef MTA_TABLED_NAMES_H
#define MTA_TABLED_NAMES_H

/* Before confinement, and again at a reload. */
void table_names_init(void);

#endif
