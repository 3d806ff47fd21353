/* What is kept of MTA-STS policies; see sts_cache.h. */
#include "mta/sts_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/crc32c.h"
#include "lib/base/fd.h"

#define MAGIC "posthorn-mta-sts"
#define FORMAT "1"
#define FILE_MAX (2 * STS_CACHE_BYTES)
#define POLICY_ARENA (64u << 10)
#define LINE_EXTRA 80 /* of a policy's line, beside the names */

/* ---- in memory ---- */

static size_t
cost_of(struct str domain, const struct sts_policy *p)
{
	size_t n = domain.n + LINE_EXTRA;

	for (size_t i = 0; i < p->n_mx; i++)
		n += p->mx[i].n + 1;
	return n;
}

static void
kept_free(struct sts_kept *k)
{
	arena_free(&k->arena);
	free(k->id);
	free(k);
}

static void
forget(struct sts_cache *c, struct str domain, struct sts_kept *k)
{
	c->bytes -= cost_of(domain, &k->policy);
	strmap_del(&c->domains, domain);
	kept_free(k);
}

static bool
is_over(const struct sts_kept *k, uint64_t now_s)
{
	return now_s >= k->fetched_s + k->policy.max_age;
}

const struct sts_kept *
sts_cache_get(const struct sts_cache *c, struct str domain, uint64_t now_s)
{
	const struct sts_kept *k = strmap_get(&c->domains, domain);

	return k && !is_over(k, now_s) ? k : NULL;
}

static struct sts_kept *
kept_new(struct str id, const struct sts_policy *p, uint64_t fetched_s)
{
	struct sts_kept *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	k->arena = arena_new(POLICY_ARENA);
	k->id = strndup(id.p, id.n);
	k->policy = *p;
	k->fetched_s = fetched_s;
	k->policy.mx = k->arena ? ARENA_ARRAY(k->arena, struct str, p->n_mx + 1) : NULL;
	for (size_t i = 0; k->policy.mx && i < p->n_mx; i++) {
		k->policy.mx[i] = arena_dup(k->arena, p->mx[i]);
		if (!k->policy.mx[i].p)
			k->policy.mx = NULL;
	}
	if (k->id && k->policy.mx)
		return k;
	kept_free(k);
	return NULL;
}

int
sts_cache_put(struct sts_cache *c, struct str domain, struct str id, const struct sts_policy *p,
    uint64_t fetched_s)
{
	struct sts_kept *old = strmap_get(&c->domains, domain), *k;

	if (old)
		forget(c, domain, old);
	if (c->domains.n >= STS_CACHE_DOMAINS || c->bytes + cost_of(domain, p) > STS_CACHE_BYTES)
		return -ENOSPC;
	k = kept_new(id, p, fetched_s);
	if (!k)
		return -ENOMEM;
	if (strmap_set(&c->domains, domain, k)) {
		kept_free(k);
		return -ENOMEM;
	}
	c->bytes += cost_of(domain, p);
	return 0;
}

void
sts_cache_sweep(struct sts_cache *c, uint64_t now_s)
{
	struct sts_kept *k;
	struct str domain;
	size_t pos = 0;

	while ((k = strmap_next(&c->domains, &pos, &domain)))
		if (is_over(k, now_s))
			forget(c, domain, k);
}

/* ---- the text ---- */

static void
put_policy(struct buf *b, struct str domain, const struct sts_kept *k)
{
	buf_printf(b, "policy %.*s %s %s %u %llu ", STR_ARG(domain), k->id,
	    sts_mode_name(k->policy.mode), k->policy.max_age, (unsigned long long)k->fetched_s);
	for (size_t i = 0; i < k->policy.n_mx; i++)
		buf_printf(b, "%s%.*s", i ? "," : "", STR_ARG(k->policy.mx[i]));
	buf_puts(b, k->policy.n_mx ? "\n" : "-\n");
}

void
sts_cache_text(struct sts_cache *c, struct buf *out)
{
	struct sts_kept *k;
	struct str domain;
	size_t pos = 0;

	buf_printf(out, MAGIC " " FORMAT " %llu\n", (unsigned long long)++c->sequence);
	while ((k = strmap_next(&c->domains, &pos, &domain)))
		put_policy(out, domain, k);
	buf_printf(out, "end %zu %08x\n", c->domains.n, crc32c(0, out->p, out->n));
}

/* A whole file's sequence, or 0; *ret_lines has its policies, *ret_n their number. */
static uint64_t
check(struct str text, struct str *ret_lines, uint64_t *ret_n)
{
	struct str all = text, head = str_cut(&text, '\n'), end, word;
	uint64_t sequence;
	char sum[16];
	ptrdiff_t at;

	if (!all.n || all.p[all.n - 1] != '\n' ||
	    (at = str_rchr(str_head(all, all.n - 1), '\n')) < 0)
		return 0;
	end = str_trim(str_skip(all, (size_t)at + 1));
	snprintf(sum, sizeof sum, "%08x", crc32c(0, all.p, (size_t)at + 1));
	if (!str_eq(str_word(&head), STR(MAGIC)) || !str_eq(str_word(&head), STR(FORMAT)) ||
	    !str_u64(str_word(&head), UINT64_MAX - 1, &sequence))
		return 0;
	word = str_word(&end);
	if (!str_eq(word, STR("end")) || !str_u64(str_word(&end), STS_CACHE_DOMAINS, ret_n) ||
	    !str_eq(str_word(&end), str_c(sum)))
		return 0;
	*ret_lines = str_head(text, (size_t)(all.p + at + 1 - text.p));
	return sequence;
}

static bool
read_mode(struct str word, enum sts_mode *ret)
{
	for (*ret = STS_MODE_NONE; *ret <= STS_MODE_ENFORCE; ++*ret)
		if (str_eq(word, str_c(sts_mode_name(*ret))))
			return true;
	return false;
}

static int
read_policy(struct sts_cache *c, struct str line)
{
	struct str hosts[STS_MX_MAX], domain, id, list;
	struct sts_policy p = { .mx = hosts };
	uint64_t fetched;

	if (!str_eq(str_word(&line), STR("policy")))
		return -EINVAL;
	domain = str_word(&line);
	id = str_word(&line);
	if (!domain.n || !id.n || !read_mode(str_word(&line), &p.mode) ||
	    !str_u32(str_word(&line), STS_MAX_AGE, &p.max_age) ||
	    !str_u64(str_word(&line), UINT64_MAX >> 1, &fetched))
		return -EINVAL;
	list = str_word(&line);
	while (list.p && p.n_mx < STS_MX_MAX && !str_eq(list, STR("-")))
		p.mx[p.n_mx++] = str_cut(&list, ',');
	return sts_cache_put(c, domain, id, &p, fetched);
}

int
sts_cache_read(struct sts_cache *c, struct str text)
{
	struct str lines;
	uint64_t n, sequence = check(text, &lines, &n);
	int r = 0;

	if (!sequence)
		return -EINVAL;
	for (; n && !r; n--)
		r = read_policy(c, str_cut(&lines, '\n'));
	c->sequence = sequence;
	return r == -ENOMEM ? r : 0;
}

/* ---- the files ---- */

/* Reads the newer of the two that are whole. */
static int
read_newest(struct sts_cache *c)
{
	struct buf text[2] = { { .max = FILE_MAX }, { .max = FILE_MAX } };
	uint64_t sequence[2] = { 0 }, n;
	struct str lines;
	int r = 0;

	for (int i = 0; i < 2; i++)
		if (!fd_read_all(c->fd[i], &text[i]))
			sequence[i] = check(buf_view(&text[i]), &lines, &n);
	if (sequence[0] || sequence[1])
		r = sts_cache_read(c, buf_view(&text[sequence[1] > sequence[0]]));
	buf_done(&text[0]);
	buf_done(&text[1]);
	return r;
}

int
sts_cache_open(struct sts_cache *c, const char *dir, struct err *e)
{
	char path[4096];

	*c = (struct sts_cache){ .fd = { -1, -1 } };
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/mta-sts.%d", dir, i);
		c->fd[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (c->fd[i] < 0)
			return err_sys(e, -errno, "cannot open %s", path);
	}
	return read_newest(c) ? err_set(e, -ENOMEM, "out of memory") : 0;
}

void
sts_cache_close(struct sts_cache *c)
{
	struct sts_kept *k;
	struct str domain;
	size_t pos = 0;

	while ((k = strmap_next(&c->domains, &pos, &domain)))
		kept_free(k);
	strmap_done(&c->domains);
	for (int i = 0; i < 2; i++)
		if (c->fd[i] >= 0)
			close(c->fd[i]);
}

int
sts_cache_write(const struct sts_cache *c, struct str text, uint64_t sequence)
{
	int fd = c->fd[sequence % 2];
	off_t at = 0;

	while (text.n) {
		ssize_t n = pwrite(fd, text.p, text.n, at);

		if (n < 0)
			return -errno;
		text = str_skip(text, (size_t)n);
		at += n;
	}
	return ftruncate(fd, at) || fdatasync(fd) ? -errno : 0;
}
