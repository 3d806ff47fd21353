/*
 * One plugin in this process (plugins/plugin.h is what the plugin sees): loading it,
 * judging what its block says, running its hooks. filterd serves the house with it, the
 * verbs `posthorn plugin test|bench` their user.
 *
 * A hook runs on the calling thread. Unless the plugin is thread-safe one thread at a time is
 * in it; host functions that wait let others in, but for PH_NO_INTERLEAVE.
 */
#ifndef MTA_PLUGIN_HOST_H
#define MTA_PLUGIN_HOST_H

#include <pthread.h>

#include "lib/client/dns.h"
#include "lib/client/filter.h"
#include "lib/mail/header.h"
#include "lib/mail/mime.h"
#include "plugins/plugin.h"

#define PLUGIN_CALL_MEMORY (16u << 20)

/* An option as the host has read it. */
struct plugin_value {
	int64_t number;
	struct str *texts;
	size_t n_texts;
};

struct plugin {
	void *handle;                  /* of dlopen */
	struct ph_plugin d;            /* what it says of itself; absent fields are 0 */
	struct ph_option *options;     /* n_options, copied: absent fields are 0 */
	size_t n_options;
	struct arena *arena;           /* of all that lives as long */

	const struct conf_plugin *conf;
	struct plugin_value *values;   /* one per option */
	uint32_t granted;
	struct str hostname, data_dir;
	void *self;
	bool started;
	pthread_mutex_t lock;          /* who is in the plugin */

	/* How it gets its DNS answers: dns_ask_within, or a test's. */
	int (*dns)(struct str name, uint16_t type, uint64_t limit_ms, struct arena *a,
	    struct dns_answer *ret);
	/* What it logs and counts. */
	void (*log)(struct plugin *p, unsigned level, const char *text);
	void (*count)(struct plugin *p, const char *name, uint64_t n);
};

/* Loads the shared object: 0, or negative and e says what is wrong with it (not a plugin,
 * another ABI, a name or an option that cannot be). One plugin a process at a time. */
int plugin_open(const char *path, struct plugin **ret, struct err *e);
/* Calls fini if it was started; the shared object stays in memory. */
void plugin_close(struct plugin **p);


/* Judges the options and grants of its block: each mistake is told by fn with its place. The number
 * of mistakes. */
unsigned plugin_configure(struct plugin *p, const struct conf_plugin *c,
    void (*fn)(void *arg, const struct conf_error *e), void *arg);
/* Runs init, with what it says told as above. 0 or negative. */
int plugin_start(struct plugin *p, void (*fn)(void *arg, const struct conf_error *e), void *arg);

bool plugin_has_hook(const struct plugin *p, enum filter_hook h);
uint32_t plugin_hooks(const struct plugin *p); /* bits by enum filter_hook */
/* "headers" of PH_CAP_HEADERS ...; 0 when there is none of that name. */
uint32_t plugin_cap(struct str name);
void plugin_caps_put(struct buf *b, uint32_t caps); /* "headers, dns" */

/* What a plugin hung on a connection or a transaction. */
struct plugin_data {
	void *p;
	void (*done)(void *p);
};
void plugin_data_free(struct plugin_data *d);
/* The same from outside of a call: waits for the plugin's lock. */
void plugin_data_drop(struct plugin *p, struct plugin_data *d);

/* One call. */
struct ph_call {
	struct plugin *plugin;
	const struct filter_ask *ask;
	struct arena *arena;           /* PLUGIN_CALL_MEMORY */
	struct str message;            /* of the message hook */
	uint64_t deadline_ms;          /* clock_ms() */
	struct plugin_data *session, *txn; /* where data stands; txn NULL outside of one */
	struct filter_answer answer;
	/* the message, looked at when first asked about */
	struct header_field *headers;
	size_t n_headers;
	struct str body;
	bool split, parsed;
	struct mime mime;
	size_t decoded;                /* bytes of bodies that were handed out */
};

/* Runs the hook that c->ask names, and leaves its answer in c->answer. Waits for the plugin's lock. */
void plugin_call(struct ph_call *c);

/* plugin_api.c */
extern const struct ph_api plugin_api;
extern struct plugin *plugin_current; /* this process's */
/* The options while init runs. */
struct ph_conf {
	struct plugin *plugin;
	void (*fn)(void *arg, const struct conf_error *e);
	void *arg;
	unsigned mistakes;
};
void plugin_mistake(struct ph_conf *conf, const struct conf_option *at, const char *text);

#endif
