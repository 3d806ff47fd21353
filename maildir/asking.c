/* Groups of inquiries; see asking.h. */
#include "maildir/asking.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* Contents that go inline, and the answers, of one group. */
enum { ASKING_ARENA = 32 << 20 };

struct member {
	struct inquiry q;
	struct asking *group;
};

struct asking {
	struct arena *arena;
	struct job *job;
	_Atomic unsigned pending;
	size_t n;
	struct member v[ASKING_MAX];
};

struct asking *
asking_new(void)
{
	struct asking *g = calloc(1, sizeof *g);

	if (g && !(g->arena = arena_new(ASKING_ARENA))) {
		free(g);
		g = NULL;
	}
	return g;
}

static void
close_files(struct asking *g)
{
	for (size_t i = 0; i < g->n; i++) {
		if (g->v[i].q.fd >= 0)
			close(g->v[i].q.fd);
		g->v[i].q.fd = -1;
	}
}

void
asking_clear(struct asking *g)
{
	close_files(g);
	g->n = 0;
	arena_reset(g->arena);
}

void
asking_free(struct asking **gp)
{
	struct asking *g = *gp;

	if (!g)
		return;
	close_files(g);
	arena_free(&g->arena);
	free(g);
	*gp = NULL;
}

size_t
asking_count(const struct asking *g)
{
	return g->n;
}

/* The whole of a small file. */
static int
read_small(struct asking *g, int fd, uint64_t size, struct str *ret)
{
	char *p = arena_alloc(g->arena, size + 1);
	size_t have = 0;

	if (!p)
		return -ENOMEM;
	while (have < size) {
		ssize_t n = pread(fd, p + have, size - have, (off_t)have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	*ret = str_from(p, have);
	return 0;
}

void
asking_add(struct asking *g, struct actor *a, struct str path, uint64_t size)
{
	struct member *m = &g->v[g->n++];
	struct str full = arena_printf(g->arena, "%s/%.*s", actor_dir(a), STR_ARG(path));
	int fd = !full.p ? -ENOMEM : !path.n ? -ENOENT :
	    blob_open(volume_blobs(actor_volume(a)), full.p);
	int r = 0;

	*m = (struct member){ .q = { .fd = -1, .size = size, .arena = g->arena }, .group = g };
	if (fd < 0) {
		m->q.code = fd;
		return;
	}
	if (size > INQUIRY_INLINE) {
		m->q.fd = fd;
		return;
	}
	r = read_small(g, fd, size, &m->q.content);
	close(fd);
	m->q.code = r;
}

static void
answered(struct inquiry *q)
{
	struct asking *g = LIST_ENTRY(&q->link, struct member, q.link)->group;

	if (atomic_fetch_sub(&g->pending, 1) == 1)
		actor_resume(g->job);
}

enum job_next
asking_go(struct asking *g, struct actor *a, struct job *j,
    enum job_next (*next)(struct job *, struct actor *))
{
	unsigned n = 0;

	for (size_t i = 0; i < g->n; i++) {
		g->v[i].q.fn = answered;
		n += g->v[i].q.code == 0;
	}
	j->step = next;
	if (n == 0 || !actor_can_inquire(a))
		return next(j, a);
	g->job = j;
	atomic_store(&g->pending, n);
	/* the last answer may come before this loop ends: g is the job's then */
	for (size_t i = 0, all = g->n; i < all && n; i++)
		if (g->v[i].q.code == 0) {
			n--;
			actor_inquire(a, &g->v[i].q);
		}
	return JOB_WAIT;
}

int
asking_result(const struct asking *g, size_t i, struct str *ret_facts)
{
	const struct inquiry *q = &g->v[i].q;

	if (q->code < 0)
		return q->code;
	if (!q->facts.n)
		return -EAGAIN;
	*ret_facts = q->facts;
	return q->code;
}
