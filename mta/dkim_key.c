/* Keys of the plugin dkim; see dkim_key.h. */
#include "mta/dkim_key.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fd.h"

#define FILE_MAX 8192

/* ---- a key ---- */

const char *
dkim_key_type(const struct dkim_key *k)
{
	return EVP_PKEY_get_base_id(k->key) == EVP_PKEY_RSA ? "rsa" : "ed25519";
}

unsigned
dkim_key_bits(const struct dkim_key *k)
{
	return (unsigned)EVP_PKEY_get_bits(k->key);
}

const char *
dkim_key_state(const struct dkim_key *k, uint64_t now)
{
	if (now < k->from)
		return "waiting";
	if (!k->until || now < k->until)
		return "signing";
	return now < k->until + DKIM_OVERLAP_S ? "published" : "over";
}

EVP_PKEY *
dkim_key_make(bool rsa, unsigned bits)
{
	return rsa ? EVP_RSA_gen(bits) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

static void
put_base64(struct buf *out, const unsigned char *p, size_t n)
{
	char *room = buf_room(out, (n + 2) / 3 * 4 + 1);

	if (room)
		buf_grown(out, (size_t)EVP_EncodeBlock((unsigned char *)room, p, (int)n));
}

void
dkim_key_record(struct buf *out, const struct dkim_key *k)
{
	unsigned char raw[32], *der = NULL;
	size_t n = sizeof raw;
	int len;

	buf_printf(out, "v=DKIM1; k=%s; p=", dkim_key_type(k));
	if (EVP_PKEY_get_base_id(k->key) == EVP_PKEY_ED25519) {
		if (EVP_PKEY_get_raw_public_key(k->key, raw, &n) == 1)
			put_base64(out, raw, n);
		return;
	}
	len = i2d_PUBKEY(k->key, &der);
	if (len > 0)
		put_base64(out, der, (size_t)len);
	OPENSSL_free(der);
}

/* ---- reading ---- */

static uint64_t
number_line(struct str text, struct str word)
{
	uint64_t v = 0;

	while (text.p && text.n) {
		struct str line = str_cut(&text, '\n'), first = str_word(&line);

		if (str_starts(first, STR("-")))
			break;
		if (str_eq(first, word) && str_u64(str_trim(line), UINT64_MAX, &v))
			break;
	}
	return v;
}

static void
free_key(void *arg)
{
	EVP_PKEY_free(arg);
}

/* 0, or negative: it holds no key. */
static int
parse(struct str text, struct arena *a, struct dkim_key *ret)
{
	BIO *b = BIO_new_mem_buf(text.p, (int)text.n);

	ret->from = number_line(text, STR("from"));
	ret->until = number_line(text, STR("until"));
	ret->key = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)(uintptr_t)"") : NULL;
	BIO_free(b);
	if (!ret->key)
		return -EINVAL;
	if (arena_defer(a, free_key, ret->key)) {
		EVP_PKEY_free(ret->key);
		return -ENOMEM;
	}
	return 0;
}

static int
read_key(const char *folder, struct arena *a, struct dkim_key *k, struct err *e)
{
	struct str path = arena_printf(a, "%s/%.*s/%.*s.pem", folder, STR_ARG(k->domain), STR_ARG(k->selector));
	char *text = arena_alloc(a, FILE_MAX);
	int fd = path.p ? open(path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	ssize_t n = fd >= 0 && text ? read(fd, text, FILE_MAX) : -1;
	int r = n < 0 ? err_sys(e, -errno, "cannot read %s", path.p ? path.p : folder) : 0;

	if (fd >= 0)
		close(fd);
	if (!r && parse(str_from(text, (size_t)n), a, k))
		r = err_set(e, -EINVAL, "%s holds no private key", path.p);
	if (text)
		OPENSSL_cleanse(text, FILE_MAX);
	return r;
}

struct list {
	struct arena *arena;
	struct dkim_key *v;
	size_t n, room;
};

static struct dkim_key *
grow(struct list *l)
{
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 8;
		struct dkim_key *v = ARENA_ARRAY(l->arena, struct dkim_key, room);

		if (!v)
			return NULL;
		if (l->n)
			memcpy(v, l->v, l->n * sizeof *v);
		l->v = v;
		l->room = room;
	}
	return &l->v[l->n++];
}

static int
read_domain(const char *folder, struct str domain, struct list *l, struct err *e)
{
	struct str path = arena_printf(l->arena, "%s/%.*s", folder, STR_ARG(domain));
	DIR *d = path.p ? opendir(path.p) : NULL;
	struct dirent *f;
	int r = 0;

	if (!d)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(e, -errno, "cannot read %s", path.p);
	while (!r && (f = readdir(d))) {
		struct str name = str_c(f->d_name);
		struct dkim_key *k;

		if (name.p[0] == '.' || !str_ends(name, STR(".pem")))
			continue;
		k = grow(l);
		if (!k) {
			r = err_set(e, -ENOMEM, "out of memory");
			break;
		}
		k->domain = arena_dup(l->arena, domain);
		k->selector = arena_dup(l->arena, str_head(name, name.n - 4));
		r = read_key(folder, l->arena, k, e);
	}
	closedir(d);
	return r;
}

static int
read_all(const char *folder, struct list *l, struct err *e)
{
	DIR *d = opendir(folder);
	struct dirent *f;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "cannot read %s", folder);
	while (!r && (f = readdir(d)))
		if (f->d_name[0] != '.')
			r = read_domain(folder, arena_dup(l->arena, str_c(f->d_name)), l, e);
	closedir(d);
	return r;
}

static int
by_name(const void *x, const void *y)
{
	const struct dkim_key *a = x, *b = y;
	int r = str_cmp(a->domain, b->domain);

	return r ? r : str_cmp(a->selector, b->selector);
}

int
dkim_keys_read(const char *folder, struct str domain, struct arena *a, struct dkim_key **ret, size_t *ret_n,
    struct err *e)
{
	struct list l = { .arena = a };
	int r = domain.n ? read_domain(folder, domain, &l, e) : read_all(folder, &l, e);

	if (r)
		return r;
	if (l.n)
		qsort(l.v, l.n, sizeof *l.v, by_name);
	*ret = l.v;
	*ret_n = l.n;
	return 0;
}

/* ---- writing ---- */

static int
make_folder(const char *path, uid_t owner, gid_t group, struct err *e)
{
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : err_sys(e, -errno, "cannot make %s", path);
	if (owner != (uid_t)-1 && chown(path, owner, group) < 0)
		return err_sys(e, -errno, "cannot give %s to its user", path);
	return 0;
}

/* The file's text. 0 or negative. */
static int
put_file(struct buf *out, const struct dkim_key *k)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *p;
	long n;

	buf_printf(out, "from %llu\nuntil %llu\n", (unsigned long long)k->from, (unsigned long long)k->until);
	if (!b || PEM_write_bio_PKCS8PrivateKey(b, k->key, NULL, NULL, 0, NULL, NULL) != 1) {
		BIO_free(b);
		return -EIO;
	}
	n = BIO_get_mem_data(b, &p);
	buf_put(out, p, (size_t)n);
	BIO_free(b);
	return 0;
}

/* A new file of that name, durable. */
static int
write_file(const char *path, struct str text, uid_t owner, gid_t group, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), r;

	if (fd < 0)
		return err_sys(e, -errno, "cannot write %s", path);
	r = fd_write_all(fd, text);
	if (!r && owner != (uid_t)-1 && fchown(fd, owner, group) < 0)
		r = -errno;
	if (!r && fsync(fd) < 0)
		r = -errno;
	close(fd);
	return r ? err_sys(e, r, "cannot write %s", path) : 0;
}

int
dkim_key_write(const char *folder, const struct dkim_key *k, uid_t owner, gid_t group, struct err *e)
{
	struct buf text = { 0 };
	char dir[2048], path[2400], tmp[2410];
	int r;

	snprintf(dir, sizeof dir, "%s/%.*s", folder, STR_ARG(k->domain));
	snprintf(path, sizeof path, "%s/%.*s.pem", dir, STR_ARG(k->selector));
	snprintf(tmp, sizeof tmp, "%s.new", path);
	r = make_folder(folder, owner, group, e);
	if (!r)
		r = make_folder(dir, owner, group, e);
	if (!r && put_file(&text, k))
		r = err_set(e, -EIO, "the key cannot be written as PEM");
	if (!r)
		r = write_file(tmp, buf_view(&text), owner, group, e);
	if (!r && rename(tmp, path) < 0)
		r = err_sys(e, -errno, "cannot write %s", path);
	if (text.n)
		OPENSSL_cleanse(text.p, text.n);
	buf_done(&text);
	return r;
}

int
dkim_key_delete(const char *folder, const struct dkim_key *k, struct err *e)
{
	char path[2400];

	snprintf(path, sizeof path, "%s/%.*s/%.*s.pem", folder, STR_ARG(k->domain), STR_ARG(k->selector));
	if (unlink(path) < 0)
		return err_sys(e, -errno, "cannot delete %s", path);
	snprintf(path, sizeof path, "%s/%.*s", folder, STR_ARG(k->domain));
	rmdir(path); /* stays while other keys are in it */
	return 0;
}
