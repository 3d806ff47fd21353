/*
 * A mailbox's directory and its `posthorn-folder`: what a rebuild must know and
 * names of files cannot say. The file is two slots of 4 KB, written in turn in
 * place, so that one is whole whenever the other is torn:
 *
 *	"PHFOLD01" | u32 CRC32C of all that follows | u32 version 1 | u64 sequence |
 *	u32 mailbox | u32 uidvalidity | u32 reserved | u8 subscribed | u8 length of
 *	role | u16 length of name | role | name | zeros
 *
 * All little-endian. Every UID of the folder is below `reserved`: it is raised in
 * steps before the commit that needs it, and one volume sync covers both. The valid
 * slot with the higher sequence counts.
 */
#include "maildir/index_private.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/crc32c.h"
#include "lib/mail/mutf7.h"

#define MAGIC "PHFOLD01"
#define FILE_NAME "posthorn-folder"

static const char *const subs[] = { "cur", "new", "tmp" };

void
folder_path(struct buf *out, const char *dir, const char *sub, struct str file)
{
	buf_puts(out, dir);
	if (*dir)
		buf_putc(out, '/');
	buf_puts(out, sub);
	if (file.n) {
		buf_putc(out, '/');
		buf_str(out, file);
	}
}

void
folder_name(struct buf *out, struct str mailbox)
{
	struct buf level;

	buf_init(&level, 0);
	if (str_eq(mailbox, STR("INBOX")))
		return;
	while (mailbox.p) {
		struct str s = str_cut(&mailbox, '/');

		buf_putc(out, '.');
		buf_clear(&level);
		if (mutf7_encode(s, &level))
			buf_puts(&level, "-");
		for (size_t i = 0; i < level.n; i++)
			buf_putc(out, level.p[i] == '.' ? '_' : level.p[i]);
	}
	buf_truncate(out, 180);
	buf_done(&level);
}

int
folder_make(struct index *x, const char *dir, struct err *e)
{
	struct buf b;
	int fd, r = 0;

	buf_init(&b, 4096);
	if (*dir && !mkdirat(x->dirfd, dir, 0700))
		r = index_made(x, str_c(dir), e);
	for (size_t i = 0; !r && i < 3; i++) {
		buf_clear(&b);
		folder_path(&b, dir, subs[i], STR_NULL);
		if (!mkdirat(x->dirfd, buf_cstr(&b), 0700))
			r = index_made(x, buf_view(&b), e);
		else if (errno != EEXIST)
			r = err_sys(e, -errno, "%s/%s", x->dir, buf_cstr(&b));
	}
	if (!r && *dir) {
		buf_clear(&b);
		folder_path(&b, dir, "maildirfolder", STR_NULL);
		fd = openat(x->dirfd, buf_cstr(&b), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			r = err_sys(e, -errno, "%s/%s", x->dir, buf_cstr(&b));
		else
			close(fd), r = index_made(x, buf_view(&b), e);
	}
	buf_done(&b);
	return r;
}

/* Removes the files of one directory, then itself. */
static int
remove_flat(int at, const char *dir)
{
	int fd = openat(at, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct dirent *d;
	DIR *p;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!(p = fdopendir(fd))) {
		close(fd);
		return -ENOMEM;
	}
	while ((d = readdir(p)))
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			unlinkat(fd, d->d_name, 0);
	closedir(p);
	return unlinkat(at, dir, AT_REMOVEDIR) && errno != ENOENT ? -errno : 0;
}

int
folder_remove(int dirfd, const char *dir, struct err *e)
{
	char path[400];
	int r = 0;

	if (!*dir || *dir != '.' || strchr(dir, '/'))
		return err_set(e, -EINVAL, "'%s' is no folder", dir);
	for (size_t i = 0; !r && i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, subs[i]);
		r = remove_flat(dirfd, path);
	}
	if (!r)
		r = remove_flat(dirfd, dir);
	return r ? err_sys(e, r, "removing %s", dir) : 0;
}

/* ---- the file ---- */

static int
folder_open(int dirfd, const char *dir, int flags)
{
	struct buf b;
	int fd;

	buf_init(&b, 4096);
	folder_path(&b, dir, FILE_NAME, STR_NULL);
	fd = openat(dirfd, buf_cstr(&b), flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	buf_done(&b);
	return fd < 0 ? -errno : fd;
}

bool
folder_slot_get(const unsigned char *p, struct folder_file *f)
{
	size_t role = p[37], name = p[38] | (size_t)p[39] << 8;

	if (memcmp(p, MAGIC, 8) || crc32c(0, p + 12, FOLDER_SLOT - 12) != le32_get(p + 8) ||
	    le32_get(p + 12) != 1 || role >= sizeof f->role || name >= sizeof f->name ||
	    40 + role + name > FOLDER_SLOT)
		return false;
	f->sequence = le64_get(p + 16);
	f->mailbox = le32_get(p + 24);
	f->uidvalidity = le32_get(p + 28);
	f->reserved = le32_get(p + 32);
	f->subscribed = p[36] & 1;
	memcpy(f->role, p + 40, role);
	f->role[role] = 0;
	memcpy(f->name, p + 40 + role, name);
	f->name[name] = 0;
	return true;
}

void
folder_slot_put(unsigned char *p, const struct folder_file *f)
{
	size_t role = strlen(f->role), name = strlen(f->name);

	memset(p, 0, FOLDER_SLOT);
	memcpy(p, MAGIC, 8);
	le32_put(p + 12, 1);
	le64_put(p + 16, f->sequence);
	le32_put(p + 24, f->mailbox);
	le32_put(p + 28, f->uidvalidity);
	le32_put(p + 32, f->reserved);
	p[36] = f->subscribed;
	p[37] = (unsigned char)role;
	p[38] = (unsigned char)name, p[39] = (unsigned char)(name >> 8);
	memcpy(p + 40, f->role, role);
	memcpy(p + 40 + role, f->name, name);
	le32_put(p + 8, crc32c(0, p + 12, FOLDER_SLOT - 12));
}

static int
slots_get(int fd, struct folder_file *ret)
{
	unsigned char slot[FOLDER_SLOT];
	bool any = false;

	for (int i = 0; i < 2; i++) {
		struct folder_file f;

		if (pread(fd, slot, FOLDER_SLOT, (off_t)i * FOLDER_SLOT) != FOLDER_SLOT ||
		    !folder_slot_get(slot, &f))
			continue;
		if (!any || f.sequence > ret->sequence)
			*ret = f;
		any = true;
	}
	return any ? 0 : -EBADMSG;
}

int
folder_read(int dirfd, const char *dir, struct folder_file *ret, struct err *e)
{
	int fd = folder_open(dirfd, dir, O_RDONLY), r;

	if (fd < 0)
		return err_sys(e, fd, "%s/" FILE_NAME, dir);
	r = slots_get(fd, ret);
	close(fd);
	return r ? err_set(e, r, "%s/" FILE_NAME ": neither copy is whole", dir) : 0;
}

int
folder_write(struct index *x, struct box *b, struct err *e)
{
	struct folder_file f = { 0 };
	unsigned char slot[FOLDER_SLOT];
	int fd = folder_open(x->dirfd, b->dir, O_RDWR | O_CREAT), r = 0;

	if (fd < 0)
		return err_sys(e, fd, "%s/%s/" FILE_NAME, x->dir, b->dir);
	slots_get(fd, &f);
	f.sequence++;
	f.mailbox = b->id;
	f.uidvalidity = b->uidvalidity;
	f.reserved = b->reserved;
	f.subscribed = b->subscribed;
	snprintf(f.name, sizeof f.name, "%s", b->name);
	snprintf(f.role, sizeof f.role, "%s", b->role);
	folder_slot_put(slot, &f);
	if (pwrite(fd, slot, FOLDER_SLOT, (off_t)(f.sequence & 1) * FOLDER_SLOT) != FOLDER_SLOT)
		r = err_sys(e, errno ? -errno : -EIO, "%s/%s/" FILE_NAME, x->dir, b->dir);
	close(fd);
	return r;
}
