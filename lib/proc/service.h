/*
 * The skeleton of every daemon: main() is a table and service_run().
 *
 * service_run reads the set-up that the master sends on descriptor 3 (config
 * text, listeners, channels, certificates), calls init, confines the process,
 * and runs the loop until the master says stop. New channels, listeners and
 * configs keep coming on descriptor 3 while it runs.
 */
#ifndef LIB_PROC_SERVICE_H
#define LIB_PROC_SERVICE_H

#include "lib/conf/settings.h"
#include "lib/io/session.h"
#include "lib/proc/chan.h"
#include "lib/proc/confine.h"

struct service;

struct msg_handler {
	uint16_t type;
	const char *name; /* for metrics and logs: "accept" */
	/* On the loop's thread, on a coroutine when flags has MSG_CO. The frame's
	 * body is valid until fn returns (for MSG_CO: until the coroutine ends);
	 * fd belongs to fn. fn answers now or later by chan_answer. */
	void (*fn)(struct peer *p, struct frame *f);
	unsigned flags;
};
enum { MSG_CO = 1 };

struct service_spec {
	enum role role;
	const struct msg_handler *handlers;
	size_t n_handlers;
	/* Before confinement, with the config: open files, start nothing. */
	int (*init)(struct service *s, struct err *e);
	/* After confinement: start threads. May be NULL. */
	int (*start)(struct service *s, struct err *e);
	/* A listening socket named as in the config ("smtp", "submission", ...):
	 * call session_listen. `ls` stays valid until unlisten or the next
	 * config. NULL for programs without listeners. */
	int (*listen)(struct service *s, const struct conf_listen *ls, int fd, struct err *e);
	/* A new config (reload): take what can change; the old one is freed
	 * after. May be NULL. */
	void (*config)(struct service *s, const struct settings *new_settings);
	/* A caller connected or went. May be NULL. */
	void (*peer)(struct service *s, struct peer *p, bool up);
	/* Stop: finish what must be finished, then call service_stopped. NULL:
	 * sessions are drained and the process ends. */
	void (*stop)(struct service *s);
	const struct confine_spec *confine;
};

int service_run(const struct service_spec *spec, int argc, char **argv);

struct loop *service_loop(struct service *s);
const struct settings *service_settings(struct service *s); /* the current ones */
unsigned service_instance(const struct service *s);
unsigned service_instances(const struct service *s); /* of this role */
/* The key of tickets (authd, maild, submitd only), 32 bytes. */
const unsigned char *service_ticket_key(const struct service *s);
/* The TLS context of a listener's certificates (front ends only): reloaded in
 * place. */
struct tls_server *service_tls(struct service *s);
void service_stopped(struct service *s);
/* For `stop`: what was begun gets its answer. Ends the process when *active is 0, or after 8
 * seconds; last (may be NULL) is called right before. */
void service_finish(struct service *s, const unsigned *active, void (*last)(void));

#endif
