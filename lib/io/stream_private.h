/* Innards of a stream that the session layer shares. */
#ifndef LIB_IO_STREAM_PRIVATE_H
#define LIB_IO_STREAM_PRIVATE_H

#include "lib/io/stream.h"

struct co;
struct tls_conn;

struct stream {
	struct watch watch;
	struct loop *loop;
	struct co *waiter;
	void (*idle_fn)(void *); /* input while no coroutine waits here */
	void *idle_arg;
	struct tls_conn *tls;
	struct buf in, out;
	size_t in_off;
	uint64_t timeout_ms;
	char *why;
	int fd;
	int failed;
	bool readable, writable, hup;
	bool wants_read, wants_write, poked;
};

/* fn(arg) when input comes while nothing waits for it (a parked session). */
void stream_on_idle_input(struct stream *s, void (*fn)(void *), void *arg);

#endif
