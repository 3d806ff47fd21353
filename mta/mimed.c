/*
 * mimed: looks at messages, so that maild need not. A frame brings a message,
 * inline or as a descriptor of its file; the answer is the blob of lib/mail/facts.h.
 * It opens no file and no connection and keeps nothing between two messages, so
 * who takes it over through a hostile message gains that message.
 *
 * Requests are served one after the other in the loop: each takes far below a
 * millisecond, and the master runs several processes. A message has
 * MIME_TIME_LIMIT_MS; the parser looks at the clock, and behind it stands an alarm
 * whose signal ends the process: its callers see -EPIPE, ask once more, and then
 * do without (mime_take_in).
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/mime.h"
#include "lib/mail/facts.h"
#include "lib/mail/word.h"
#include "lib/proc/metrics.h"
#include "lib/proc/service.h"

static struct metric taken = METRIC_COUNTER("mime_messages_total", "result=\"facts\"",
    "Messages looked at");
static struct metric failed = METRIC_COUNTER("mime_messages_total", "result=\"failed\"",
    "Messages looked at");
static struct metric seconds = METRIC_HISTOGRAM("mime_seconds", NULL, "Time per message");

struct request {
	uint64_t want, size;
	struct str content;
};

static int
request_get(struct str body, struct request *ret)
{
	struct request r = { 0 };
	struct wire_field f;
	int rc;

	while ((rc = wire_next(&body, &f)) > 0) {
		if (f.tag == MIME_T_WANT)
			r.want = wire_int(&f);
		else if (f.tag == MIME_T_SIZE)
			r.size = wire_int(&f);
		else if (f.tag == MIME_T_CONTENT)
			r.content = f.v;
	}
	*ret = r;
	return rc;
}

static void
refuse(struct peer *p, const struct frame *f, int code)
{
	struct wire_error e = { .code = code, .text = STR("the message cannot be looked at") };

	metric_add(&failed, 1);
	LOG_WARN("mime.failed", L_I64("code", code), L_U64("id", f->id));
	chan_answer_error(p, f->id, f->type, &e);
}

static int
make(struct str message, unsigned want, struct buf *out)
{
	size_t start = wire_begin(out, MIME_T_FACTS);
	uint64_t t = clock_us();
	int r;

	alarm(MIME_TIME_LIMIT_MS / 1000 + 1);
	r = facts_make(message, want, t + (uint64_t)MIME_TIME_LIMIT_MS * 1000, out);
	alarm(0);
	wire_end(out, start);
	metric_observe_us(&seconds, clock_us() - t);
	return r;
}

/* The file behind the descriptor, mapped for the time of one look. */
static int
make_mapped(int fd, unsigned want, struct buf *out)
{
	struct stat st;
	void *p;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size == 0)
		return make(STR(""), want, out);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	r = make(str_from(p, (size_t)st.st_size), want, out);
	munmap(p, (size_t)st.st_size);
	return r;
}

static void
take_in(struct peer *p, struct frame *f)
{
	struct request req;
	struct buf out = { .max = WIRE_MAX - 64 };
	int r = request_get(f->body, &req);

	if (r == 0)
		r = f->fd >= 0 ? make_mapped(f->fd, (unsigned)req.want, &out)
			       : make(req.content, (unsigned)req.want, &out);
	if (f->fd >= 0)
		close(f->fd);
	if (r == 0 && !out.over) {
		metric_add(&taken, 1);
		chan_answer(p, f->id, f->type, &out, -1);
	} else {
		refuse(p, f, r ? r : -EMSGSIZE);
	}
	buf_done(&out);
}

static int
mimed_init(struct service *s, struct err *e)
{
	int missing = charset_preload();

	(void)s;
	(void)e;
	if (missing)
		LOG_WARN("mime.charsets_missing", L_I64("count", missing));
	return 0;
}

int
main(int argc, char **argv)
{
	static const struct msg_handler handlers[] = {
		{ MSG_MIME_TAKE_IN, "take-in", take_in, 0 },
	};
	static const struct confine_spec confinement = { .kind = CONFINE_PURE, .max_fds = 1024 };
	static const struct service_spec spec = {
		.role = ROLE_MIMED,
		.handlers = handlers,
		.n_handlers = sizeof handlers / sizeof *handlers,
		.init = mimed_init,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
