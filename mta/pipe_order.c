/* The codec of orders to the runner; see pipe.h. */
#include <errno.h>

#include "lib/io/wire.h"
#include "mta/pipe.h"

enum { O_KIND = 1, O_WHAT, O_WORD, O_ENV, O_HOME, O_HOSTNAME, O_TIME, O_MEMORY };

void
pipe_order_put(struct buf *b, const struct pipe_order *o)
{
	wire_u64(b, O_KIND, o->kind);
	wire_str(b, O_WHAT, o->what);
	for (size_t i = 0; i < o->n_words; i++)
		wire_str(b, O_WORD, o->words[i]);
	for (size_t i = 0; i < o->n_env; i++)
		wire_str(b, O_ENV, o->env[i]);
	wire_str(b, O_HOME, o->home);
	wire_str(b, O_HOSTNAME, o->hostname);
	wire_u64(b, O_TIME, o->time_limit_ms);
	wire_opt_u64(b, O_MEMORY, o->memory_limit);
}

static int
add(struct str *list, size_t *n, size_t max, struct str s)
{
	if (*n == max)
		return -EPROTO;
	list[(*n)++] = s;
	return 0;
}

int
pipe_order_get(struct str body, struct pipe_order *ret)
{
	struct pipe_order o = { 0 };
	struct wire_field f;
	int rc, bad = 0;

	while (!bad && (rc = wire_next(&body, &f)) != 0) {
		if (rc < 0)
			return rc;
		switch (f.tag) {
		case O_KIND: o.kind = (enum pipe_kind)wire_int(&f); break;
		case O_WHAT: o.what = f.v; break;
		case O_WORD: bad = add(o.words, &o.n_words, PIPE_WORDS_MAX, f.v); break;
		case O_ENV: bad = add(o.env, &o.n_env, PIPE_ENV_MAX, f.v); break;
		case O_HOME: o.home = f.v; break;
		case O_HOSTNAME: o.hostname = f.v; break;
		case O_TIME: o.time_limit_ms = wire_int(&f); break;
		case O_MEMORY: o.memory_limit = wire_int(&f); break;
		}
	}
	if (bad || !o.what.n || o.kind < PIPE_COMMAND || o.kind > PIPE_MAILDIR)
		return -EPROTO;
	*ret = o;
	return 0;
}
