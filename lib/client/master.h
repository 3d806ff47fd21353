/*
 * The master as the command line sees it: state, stop, reload. Message structs
 * with their put and get.
 */
#ifndef LIB_CLIENT_MASTER_H
#define LIB_CLIENT_MASTER_H

#include "lib/io/wire.h"
#include "lib/proc/peers.h"

enum {
	MSG_MASTER_STATUS = MSG_TYPE(ROLE_MASTER, 1), /* -> struct master_status */
	MSG_MASTER_STOP = MSG_TYPE(ROLE_MASTER, 2),   /* -> empty answer; then everything ends */
	MSG_MASTER_RELOAD = MSG_TYPE(ROLE_MASTER, 3), /* -> empty answer when all have the new
	                                                 config, or a wire_error: the old one stays */
	MSG_MASTER_METRICS = MSG_TYPE(ROLE_MASTER, 4), /* -> Prometheus text, in parts */
	MSG_MASTER_CONFIG = MSG_TYPE(ROLE_MASTER, 5), /* -> the settings that run, flattened */
	MSG_MASTER_UPGRADE = MSG_TYPE(ROLE_MASTER, 6), /* -> empty answer: the new program was tried,
	                                                 and takes over */
};

enum proc_state { PROC_STARTING = 1, PROC_RUNNING, PROC_BACKOFF, PROC_STOPPING };

struct master_proc {
	struct str role;
	unsigned instance;
	enum proc_state state;
	uint64_t pid;
	uint64_t uptime_ms;
	unsigned restarts;     /* since the master started */
	struct str user;       /* whose rights it has */
	struct str last_exit;  /* "signal 11", "status 75"; empty: never died */
};
struct master_listen {
	struct str name, address;
	unsigned port;
};
struct master_status {
	uint64_t pid, uptime_ms;
	struct str version, config_path;
	struct master_proc *procs;
	size_t n_procs;
	struct master_listen *listens;
	size_t n_listens;
};

void master_status_put(struct buf *b, const struct master_status *s);
int master_status_get(struct str body, struct arena *a, struct master_status *ret);

/* The text of settings_text(). */
void master_config_put(struct buf *b, struct str text);
int master_config_get(struct str body, struct str *ret);

#endif
