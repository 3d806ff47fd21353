/*
 * Deliveries to commands and files, by two processes:
 *
 *	piped    its own uid, empty root, system call filter. Reads requests and messages,
 *	         makes the text to hand over, the environment, the words; reads what
 *	         commands print.
 *	runner   the deliveries' uid, taken before it reads anything, and nothing of root's
 *	         since. Gets an order and three descriptors from piped, forks a keeper
 *	         for it; the keeper forks the command (or the writer of the file), ends it
 *	         when its time is over or piped is gone, and reports how it ended.
 *
 * The result is made of that end and of what the child printed, at most PIPE_OUTPUT_MAX
 * bytes (pipe_exit). File deliveries speak the same language: they end with a code
 * of sysexits.h and print the reason.
 */
#ifndef MTA_PIPE_H
#define MTA_PIPE_H

#include <sys/types.h>

#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/client/pipe.h"

enum { PIPE_OUTPUT_MAX = 4096 };

/* ---- the message as it is handed over (pipe_text.c) ---- */

/* How a target wants it. All: LF lines, Return-Path, X-Original-To and Delivered-To
 * on top. */
enum pipe_form {
	PIPE_FORM_PLAIN,    /* maildir */
	PIPE_FORM_FROM,     /* commands: a "From " line before the header */
	PIPE_FORM_MBOX,     /* "From " lines within are quoted by '>', an empty line ends it */
};
/* A sealed memfd with the message at its beginning; yields now and then. Negative errno. */
int pipe_message(const struct pipe_request *r, struct str content, enum pipe_form form,
    uint64_t now_us);
/* Whether the message was delivered to this address before (its Delivered-To). */
bool pipe_loops(struct str content, struct str address);

/* ---- from piped to the runner (pipe_order.c) ---- */

enum { PIPE_ORDER_MAX = 64 << 10, PIPE_WORDS_MAX = 256, PIPE_ENV_MAX = 32 };

/* What a child does. An order is one message of a SOCK_SEQPACKET socket; with it come the
 * message (the child's standard input), where its output goes, and a socket that takes
 * a struct pipe_end_report and whose other end ends the child by being closed. */
struct pipe_order {
	enum pipe_kind kind;
	struct str what;                       /* the command line, or the path */
	struct str words[PIPE_WORDS_MAX];      /* of a command that needs no shell; else none */
	size_t n_words;
	struct str env[PIPE_ENV_MAX];          /* "NAME=value" */
	size_t n_env;
	struct str home, hostname;
	uint64_t time_limit_ms;
	uint64_t memory_limit;                 /* bytes of address space of a command; 0: none */
};
enum pipe_order_fd { PIPE_FD_MESSAGE, PIPE_FD_OUTPUT, PIPE_FD_CONTROL, PIPE_N_FDS };
struct pipe_end_report {
	int32_t status;                        /* of waitpid */
	uint32_t timed_out;
};
/* Strings of what get returns point into body. 0, or -EPROTO. */
void pipe_order_put(struct buf *b, const struct pipe_order *o);
int pipe_order_get(struct str body, struct pipe_order *ret);

/* ---- the runner (pipe_runner.c) ---- */

/* Starts it from this program's file as a process of user, or of the same uid where user
 * is NULL. new_privileges: commands may gain some by the mode of a program's file. The
 * socket for orders, which reads as ended when the runner is gone; or negative. */
int pipe_runner_start(const char *user, bool new_privileges, struct err *e);
/* main() of the runner, when argv is what pipe_runner_start gave it; else returns. */
void pipe_runner_main(int argc, char **argv);

/* Becomes the child that the order describes (pipe_child.c). */
__attribute__((noreturn))
void pipe_child(const struct pipe_order *o, struct arena *a, const int fds[PIPE_N_FDS]);

/* ---- a delivery as piped sees it (pipe_run.c) ---- */

/* Whose deliveries are. */
struct pipe_user {
	const char *name, *home, *shell;
};
struct pipe_job {
	const struct pipe_request *request;
	struct pipe_target target;
	const struct pipe_user *user;
	int runner;               /* the socket for orders */
	int message;              /* descriptor */
	struct str hostname;
	uint64_t time_limit_ms;
	uint64_t memory_limit;
};
struct pipe_end {
	int status;               /* of waitpid */
	bool timed_out;
	char output[PIPE_OUTPUT_MAX];
	size_t n_output;
};
/* Has the runner do the job, and waits for its end on a coroutine. 0 or negative errno: it
 * could not be begun. */
int pipe_run(const struct pipe_job *j, struct arena *a, struct pipe_end *ret);

/* What a command finds in its environment; values have letters, digits and
 * "!@%-_=+:,./", everything else becomes '_'. 0, or -ENOMEM. */
int pipe_environment(const struct pipe_job *j, struct arena *a, struct pipe_order *ret);
/* Whether the command must be run by a shell: it has more than words. */
bool pipe_needs_shell(struct str command);

/* ---- files, within the child (pipe_file.c) ---- */

/* Appends to the mbox, or adds to the maildir: 0, or a code of sysexits.h and the reason
 * in *why. Relies on the process's uid; the file must be its own. */
int pipe_mbox(const char *path, int message, struct err *why);
int pipe_maildir(const char *path, int message, const char *hostname, struct err *why);

/* ---- the result (pipe_exit.c) ---- */

/* From the end of the child to an answer; strings in a. */
struct pipe_answer pipe_answer_of(const struct pipe_end *e, enum pipe_kind kind, struct arena *a);

#endif
