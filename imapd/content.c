/* A message's bytes; see content.h. */
#include "imapd/content.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imapd/view.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

enum { PARSE_MAX = 64 << 20, PARSE_US = 500000 };

int
content_open(struct imap *c, uint32_t uid, struct content *ret, struct wire_error *we)
{
	struct stat st;
	int r;

	*ret = (struct content){ .fd = -1 };
	r = store_content(c->acct, c->view->mailbox, uid, &ret->fd, &ret->size, we);
	if (r < 0 || (fstat(ret->fd, &st) == 0 && (uint64_t)st.st_size >= ret->size))
		return r;
	LOG_ERROR("imap.message_short", L_C("user", c->user), L_U64("mailbox", c->view->mailbox),
	    L_U64("uid", uid), L_U64("size", ret->size));
	content_close(ret);
	return -EIO;
}

void
content_close(struct content *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

int
content_read(const struct content *m, uint64_t off, size_t n, struct buf *out)
{
	char *p = buf_room(out, n);
	size_t got = 0;
	ssize_t r;

	if (!p)
		return -ENOMEM;
	while (got < n) {
		r = pread(m->fd, p + got, n - got, (off_t)(off + got));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -ENODATA;
		got += (size_t)r;
	}
	buf_grown(out, n);
	return 0;
}

int
content_parse(struct content *m, struct arena *ar)
{
	struct buf bytes = { 0 }, blob = { 0 };
	struct facts f;
	struct str kept;
	int r = -ENOMEM;

	buf_init(&bytes, PARSE_MAX);
	if (m->size <= PARSE_MAX && content_read(m, 0, m->size, &bytes) == 0)
		r = facts_make(buf_view(&bytes), 0, clock_us() + PARSE_US, &blob);
	if (r < 0) {
		buf_clear(&blob);
		facts_opaque(m->size, &blob);
	}
	kept = arena_dup(ar, buf_view(&blob));
	r = kept.p && facts_get(kept, &f) == 0 ? 0 : -ENOMEM;
	if (r == 0) {
		m->envelope = f.envelope;
		m->structure = f.structure;
	}
	buf_done(&bytes);
	buf_done(&blob);
	return r;
}

int
content_parts(struct content *m, struct str structure, struct arena *ar)
{
	int r;

	if (structure.n && facts_structure_get(structure, ar, &m->mime, &m->parts) == 0 &&
	    m->mime.size == m->size)
		return 0;
	if (!m->structure.n && (r = content_parse(m, ar)) < 0)
		return r;
	return facts_structure_get(m->structure, ar, &m->mime, &m->parts) < 0 ? -ENOMEM : 0;
}
