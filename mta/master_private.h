/* What the files of the master share. */
#ifndef MTA_MASTER_PRIVATE_H
#define MTA_MASTER_PRIVATE_H

#include <sys/types.h>

#include "lib/client/master.h"
#include "lib/io/loop.h"
#include "lib/proc/conn.h"
#include "lib/proc/setup.h"
#include "mta/master.h"

#define MASTER_PROCS 256
#define MASTER_LISTENERS 64

/* One row per program the house has; the order is that of starting. */
struct program {
	enum role role;
	const char *dir;         /* in the build tree: "mta" */
	bool listens;            /* takes network listeners: gets TLS keys */
	bool ticket_key;
	unsigned stop_phase;     /* 0 stops first */
	unsigned secrets;        /* the passwords of the configuration that it sees: CONF_FOR_* */
};
extern const struct program programs[];
extern const size_t n_programs;

struct master_child {
	const struct program *program;
	unsigned instance;
	bool idle;               /* a slot of filterd that no plugin has now: not to be started */
	bool fresh;              /* of filterd: started for a reload that is not done yet */
	struct file_id {
		uint64_t dev, ino, size, sec, nsec;
	} file;                  /* of filterd: the shared object as it was at the start */
	pid_t pid;               /* 0: not running */
	struct conn conn;
	bool connected;          /* conn is open */
	bool ready;
	unsigned restarts;
	uint64_t started_ms;
	uint64_t backoff_ms;
	uint64_t number;         /* its channel number: for its whole life */
	struct timer restart;
	char last_exit[48];
	int control_fd;          /* listening control socket, or -1 */
	/* a reload or metrics request in flight */
	struct buf metrics;
	bool waiting, asked;
};

struct master_listener {
	char name[64];
	char address[64];
	unsigned port;
	enum role role;
	int fd;
	bool keep;
	bool fresh;              /* opened by this reload: the children do not have it yet */
	bool changed;            /* the same socket with other options */
	struct conf_listen options; /* its strings are not looked at */
	uint64_t plugins;        /* a digest of their names */
};

struct master {
	struct loop *loop;
	struct settings *settings;
	struct master_opts opts;
	struct master_child children[MASTER_PROCS];
	size_t n_children;
	struct master_listener listeners[MASTER_LISTENERS];
	size_t n_listeners;
	unsigned char key[SETUP_KEY];
	uint64_t started_ms;
	int pid_fd;
	bool ready, stopping;
	bool upgrading;          /* stopping, to become the new program: listeners stay open */
	unsigned phase;          /* of stopping */
	struct timer kill_timer;
	int status;              /* to exit with */
};

extern struct master master;

/* master_listen.c */
enum role listen_role(enum conf_proto proto);
/* Opens the sockets that the settings name and are not open yet; marks those to
 * keep. 0, or negative with a text that names address and port. */
int listeners_open(const struct settings *s, struct err *e);
void listeners_close_unkept(void);
int control_socket(const struct settings *s, enum role r, unsigned n, struct err *e);

/* master_child.c */
/* The system user that a role runs under; "" when the uid is kept. */
void role_user(enum role r, char out[static 64]);
int children_plan(const struct settings *s, struct err *e);
/* Does nothing for one that the settings have no use for. */
int child_start(struct master_child *c, struct err *e);
void child_exited(pid_t pid, int status);
void child_send(struct master_child *c, uint16_t type, uint64_t id, const struct buf *b, int fd);
/* But for plugins that cannot start. */
bool children_all_ready(void);
/* A plugin that has ended before it was ready. */
bool children_ill(const struct master_child *c);
unsigned children_count(void); /* those that are to run */
/* CONFIG, TLS and changed listeners to every child, then RELOADED; done(arg,
 * err) once all have answered (err NULL: fine). */
void children_reload(void (*done)(void *arg, const struct err *e), void *arg);
/* master_filter.c */
/* Before a reload to n: gives each plugin its slot, and starts a process for those that are
 * new or have changed; done(arg, err) when they are ready, or one of them is not (err; then
 * none of them runs any more). */
void filters_prepare(struct settings *n, void (*done)(void *arg, const struct err *e), void *arg);
void filters_abandon(void);
/* Whether a plugin cannot start. */
bool filters_ill(void);
/* A process that filters_prepare started is ready; has ended before it was. */
void filters_ready(struct master_child *c);
void filters_died(struct master_child *c);
/* What a process of filterd is told: the new settings while a reload is being prepared. */
const struct settings *filters_settings(const struct master_child *c);
/* After it: those that the settings no longer name finish what they have begun and end. */
void filters_retire(void);
/* The slots at the start. 0, or -E2BIG. */
int filters_plan(struct settings *s, struct err *e);
void children_metrics(void (*done)(void *arg, struct buf *text), void *arg);
int tls_read(const struct settings *s, struct buf *out, struct err *e);

/* master_control.c */
int control_start(struct err *e);
int metrics_start(struct err *e);

/* master_upgrade.c */
/* At the very start: the path of this program; what an older one handed on. */
void upgrade_remember(void);
void upgrade_inherit(void);
/* Tries the program that stands in this one's place; done(arg, err) when that was so: err
 * NULL, and the upgrade begins. Negative: not even that. */
int master_upgrade(struct err *e, void (*done)(void *arg, const struct err *e), void *arg);
/* Whether pid was the trial's, which ended. */
bool upgrade_checked(pid_t pid, int status);
/* All children have ended: becomes the new program. Returns when that cannot be. */
void upgrade_exec(void);

/* master.c */
void master_child_ready(void);
void master_stop(void);
int master_reload(struct err *e, void (*done)(void *arg, const struct err *e), void *arg);

#endif
