/*
 * The maildrop's files; see drop.h.
 *
 * Durability: fsync of a new file makes its name durable too on the file systems that
 * Linux servers use (ext4, XFS, btrfs commit the creation with it); where the user may
 * open the directory, which is asked for first, that is synced as well.
 */
#include "lib/client/drop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/crc32c.h"
#include "lib/base/fd.h"
#include "lib/base/text.h"

#define MAGIC "posthorn-drop "
#define FIRST_LINE (sizeof MAGIC - 1 + 2 + 8 + 1) /* "posthorn-drop 1 01234567\n" */
#define OPEN_MODE 0600
#define DONE_MODE 0740

/* ---- the format ---- */

static void
put_line(struct buf *b, const char *key, struct str v)
{
	buf_puts(b, key);
	if (v.n)
		buf_putc(b, ' ');
	buf_str(b, v);
	buf_putc(b, '\n');
}

static void
put_number(struct buf *b, const char *key, uint32_t v)
{
	if (v)
		buf_printf(b, "%s %u\n", key, v);
}

void
drop_put(struct buf *b, const struct drop *d)
{
	size_t at = b->n;
	char first[FIRST_LINE + 1];

	buf_printf(b, MAGIC "1 %08x\n", 0u);
	if (d->login.n)
		put_line(b, "login", d->login);
	if (d->has_sender)
		put_line(b, "sender", d->sender);
	if (d->name.n)
		put_line(b, "name", d->name);
	for (size_t i = 0; i < d->n_rcpts; i++)
		put_line(b, "rcpt", d->rcpts[i]);
	put_number(b, "notify", d->notify);
	put_number(b, "ret", d->ret);
	put_number(b, "body", d->body);
	if (d->envid.n)
		put_line(b, "envid", d->envid);
	buf_putc(b, '\n');
	buf_str(b, d->content);
	if (b->over)
		return;
	snprintf(first, sizeof first, MAGIC "1 %08x\n",
	    crc32c(0, b->p + at + FIRST_LINE, b->n - at - FIRST_LINE));
	memcpy(b->p + at, first, FIRST_LINE);
}

/* Whether the first line fits what follows it. */
static int
check_first(struct str line, struct str rest)
{
	struct str version, crc = STR_NULL;
	struct buf b = { .max = 16 };
	uint32_t want = 0;

	if (!str_starts(line, STR(MAGIC)))
		return -EPROTO;
	crc = str_skip(line, sizeof MAGIC - 1);
	version = str_cut(&crc, ' ');
	if (!str_eq(version, STR("1")))
		return -ENOTSUP;
	if (crc.n != 8 || hex_get(&b, crc)) {
		buf_done(&b);
		return -EPROTO;
	}
	for (size_t i = 0; i < 4; i++)
		want = want << 8 | (unsigned char)b.p[i];
	buf_done(&b);
	return want == crc32c(0, rest.p, rest.n) ? 0 : -EPROTO;
}

/* The head: up to and with the empty line. Counts recipients when d->rcpts is NULL, else
 * fills them in. */
static int
get_head(struct str *text, struct drop *d)
{
	struct str line, *rest = text;

	d->n_rcpts = 0;
	while (rest->p) {
		struct str v, key;

		line = str_cut(rest, '\n');
		if (!line.n)
			return rest->p ? 0 : -EPROTO;
		v = line;
		key = str_cut(&v, ' ');
		if (ascii_has_control(line))
			return -EPROTO;
		if (str_eq(key, STR("sender"))) {
			d->has_sender = true;
			d->sender = v;
		} else if (str_eq(key, STR("rcpt"))) {
			if (!v.n || d->n_rcpts == DROP_RCPTS)
				return v.n ? -E2BIG : -EPROTO;
			if (d->rcpts)
				d->rcpts[d->n_rcpts] = v;
			d->n_rcpts++;
		} else if (str_eq(key, STR("name"))) {
			d->name = v;
		} else if (str_eq(key, STR("login"))) {
			d->login = v;
		} else if (str_eq(key, STR("envid"))) {
			d->envid = v;
		} else if ((str_eq(key, STR("notify")) && !str_u32(v, 15, &d->notify)) ||
		    (str_eq(key, STR("ret")) && !str_u32(v, 2, &d->ret)) ||
		    (str_eq(key, STR("body")) && !str_u32(v, 2, &d->body))) {
			return -EPROTO;
		}
	}
	return -EPROTO;
}

int
drop_get(struct str text, struct arena *a, struct drop *ret)
{
	struct drop d = { 0 };
	struct str rest = text, again;
	struct str first = str_cut(&rest, '\n');
	int rc = check_first(first, rest);

	if (rc)
		return rc;
	again = rest;
	rc = get_head(&rest, &d);
	if (rc)
		return rc;
	if (again.n - rest.n > DROP_HEAD_MAX)
		return -E2BIG;
	d.rcpts = d.n_rcpts ? ARENA_ARRAY(a, struct str, d.n_rcpts) : NULL;
	if (!d.rcpts)
		return d.n_rcpts ? -ENOMEM : -EPROTO;
	rc = get_head(&again, &d);
	d.content = again;
	if (!rc)
		*ret = d;
	return rc;
}

/* ---- the file ---- */

/* Sorts by time; cannot be guessed. */
static int
new_name(char out[static 64])
{
	unsigned char r[12];

	if (getrandom(r, sizeof r, 0) != sizeof r)
		return -EIO;
	snprintf(out, 64, "%014llx.%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x",
	    (unsigned long long)clock_real_us(), r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8],
	    r[9], r[10], r[11]);
	return 0;
}

/* Content, then the bit that says it is all there, then both to the disk. */
static int
fill(int fd, struct str text)
{
	int rc = fd_write_all(fd, text);

	if (!rc && fchmod(fd, DONE_MODE))
		rc = -errno;
	if (!rc && fsync(fd))
		rc = -errno;
	return rc;
}

static int
write_named(int dirfd, const char *name, struct str text)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, OPEN_MODE);
	int rc = fd < 0 ? -errno : fill(fd, text);

	if (fd >= 0 && close(fd) && !rc)
		rc = -errno;
	if (rc && fd >= 0)
		unlinkat(dirfd, name, 0);
	return rc;
}

static int
write_synced(int dirfd, bool may_sync, struct str text)
{
	char name[64];
	int rc = new_name(name);

	if (!rc)
		rc = write_named(dirfd, name, text);
	if (!rc && may_sync && fsync(dirfd)) {
		rc = -errno;
		unlinkat(dirfd, name, 0);
	}
	return rc;
}

int
drop_write(const char *dir, const struct drop *d, struct err *e)
{
	struct buf b = { 0 };
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	bool may_sync = fd >= 0;

	if (fd < 0)
		fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "cannot open the maildrop %s", dir);
	drop_put(&b, d);
	rc = b.over ? -ENOMEM : write_synced(fd, may_sync, buf_view(&b));
	close(fd);
	buf_done(&b);
	return rc ? err_sys(e, rc, "cannot write a message into the maildrop %s", dir) : 0;
}
