/*
 * The master: reads no network and parses nothing but the config. It opens the
 * listening sockets, starts the house's processes, makes the channels between
 * them, restarts what dies, and stops everything in order.
 */
#ifndef MTA_MASTER_H
#define MTA_MASTER_H

#include "lib/conf/settings.h"
#include "lib/proc/peers.h"

struct master_opts {
	const char *config_path; /* for reload */
	bool foreground;         /* started on a terminal: SIGINT stops */
	int ready_fd;            /* -1, or where to write "ok\n" when every process is up
	                          * and every listener accepts, or one line of error text;
	                          * closed after. "ok, but ...": a plugin cannot start */
};

/* Runs until stopped; returns the exit status. Takes the settings. -EALREADY is
 * reported as a text on ready_fd when another master holds run_dir/posthorn.pid. */
int master_run(struct settings *s, const struct master_opts *opts);

/* The roles that it starts, one after the other; ROLE_MAX behind the last. */
enum role master_role(size_t i);

#endif
