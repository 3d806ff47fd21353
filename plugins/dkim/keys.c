/* The keys of a folder; see keys.h. */
#include "plugins/dkim/keys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/dkim/key.h"
#include "plugins/dkim/tags.h"

#define FILE_MAX 8192

/* "from 123" at the beginning of the text: the number, or 0. */
static uint64_t
number_line(struct ph_str text, const char *word)
{
	size_t n = strlen(word);
	uint64_t v = 0;

	while (text.n) {
		const char *nl = memchr(text.p, '\n', text.n);
		size_t len = nl ? (size_t)(nl - text.p) : text.n;

		if (len && text.p[0] == '-')
			return 0;
		if (len > n && !memcmp(text.p, word, n) && text.p[n] == ' ') {
			tags_number(tags_trim(ph_bytes(text.p + n, len - n)), &v);
			return v;
		}
		len += nl != NULL;
		text.p += len;
		text.n -= len;
	}
	return 0;
}

int
keys_parse(struct ph_str text, struct keys_one *ret)
{
	ret->from = number_line(text, "from");
	ret->until = number_line(text, "until");
	ret->key = key_private(text);
	return ret->key ? 0 : -1;
}

/* Runs fn for each DOMAIN/SELECTOR.pem, with the folder of the domain open; stops at non-zero. */
typedef int file_fn(void *arg, int dir, const char *domain, const char *file);

static int
each_file(int dir, const char *domain, file_fn *fn, void *arg)
{
	DIR *d = fdopendir(dir);
	struct dirent *e;
	int r = 0;

	if (!d) {
		close(dir);
		return -errno;
	}
	while (!r && (e = readdir(d))) {
		size_t n = strlen(e->d_name);

		if (n > 4 && n < 64 + 4 && e->d_name[0] != '.' && !strcmp(e->d_name + n - 4, ".pem"))
			r = fn(arg, dirfd(d), domain, e->d_name);
	}
	closedir(d);
	return r;
}

static int
each(const char *folder, file_fn *fn, void *arg)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while (!r && (e = readdir(d))) {
		int fd;

		if (e->d_name[0] == '.' || strlen(e->d_name) > 253)
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0)
			r = each_file(fd, e->d_name, fn, arg);
	}
	closedir(d);
	return r;
}

/* ---- stamp ---- */

static int
stamp_file(void *arg, int dir, const char *domain, const char *file)
{
	uint64_t *h = arg;
	struct stat st;

	(void)domain;
	if (fstatat(dir, file, &st, 0) < 0)
		return 0;
	/* order does not matter: a folder may be read in any */
	*h += ((uint64_t)st.st_ino * 31 + (uint64_t)st.st_mtim.tv_sec * 1000003 + (uint64_t)st.st_mtim.tv_nsec +
	    (uint64_t)st.st_size) * UINT64_C(0x9e3779b97f4a7c15);
	return 0;
}

uint64_t
keys_stamp(const char *folder)
{
	uint64_t h = 1;

	each(folder, stamp_file, &h);
	return h;
}

/* ---- loading ---- */

static int
read_file(int dir, const char *file, char *buf, struct ph_str *ret)
{
	int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, FILE_MAX);

	if (fd >= 0)
		close(fd);
	*ret = ph_bytes(buf, n > 0 ? (size_t)n : 0);
	return n > 0 ? 0 : -1;
}

static int
load_file(void *arg, int dir, const char *domain, const char *file)
{
	struct keys *k = arg;
	struct keys_one one = { .key = NULL };
	char buf[FILE_MAX];
	struct ph_str text;

	if (read_file(dir, file, buf, &text) || keys_parse(text, &one)) {
		if (!k->broken++)
			snprintf(k->first_broken, sizeof k->first_broken, "%s/%s", domain, file);
		return 0;
	}
	OPENSSL_cleanse(buf, sizeof buf);
	snprintf(one.domain, sizeof one.domain, "%s", domain);
	memcpy(one.selector, file, strlen(file) - 4);
	if (!(k->n & (k->n - 1))) { /* full: it has room for the next power of two */
		struct keys_one *v = realloc(k->v, (k->n ? k->n * 2 : 1) * sizeof *v);

		if (!v || k->n == KEYS_MAX) {
			EVP_PKEY_free(one.key);
			k->v = v ? v : k->v;
			return -ENOMEM;
		}
		k->v = v;
	}
	k->v[k->n++] = one;
	return 0;
}

static int
by_name(const void *x, const void *y)
{
	const struct keys_one *a = x, *b = y;
	int r = strcmp(a->domain, b->domain);

	return r ? r : strcmp(a->selector, b->selector);
}

int
keys_load(const char *folder, struct keys **ret)
{
	struct keys *k = calloc(1, sizeof *k);
	int r = k ? each(folder, load_file, k) : -ENOMEM;

	if (r) {
		keys_free(&k);
		return r;
	}
	if (k->n)
		qsort(k->v, k->n, sizeof *k->v, by_name);
	*ret = k;
	return 0;
}

void
keys_free(struct keys **k)
{
	if (!*k)
		return;
	for (unsigned i = 0; i < (*k)->n; i++)
		EVP_PKEY_free((*k)->v[i].key);
	free((*k)->v);
	free(*k);
	*k = NULL;
}

unsigned
keys_of(const struct keys *k, const char *domain, uint64_t now, const struct keys_one **ret)
{
	unsigned low = 0, high = k->n, n = 0;

	while (low < high) { /* the first that is not before the domain */
		unsigned mid = low + (high - low) / 2;

		if (strcmp(k->v[mid].domain, domain) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < k->n && !strcmp(k->v[low].domain, domain) && n < KEYS_OF_DOMAIN_MAX; low++)
		if (k->v[low].from <= now && (!k->v[low].until || now < k->v[low].until))
			ret[n++] = &k->v[low];
	return n;
}
