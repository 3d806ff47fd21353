/* maild's side of the take-in; see mime.h. */
#include "lib/client/mime.h"

#include <errno.h>

#include "lib/mail/facts.h"

/* One try: 0, or negative. *ret_guilty: the message may be what broke it. */
static int
ask(const struct iovec *iov, size_t n, int fd, struct arena *a, struct str *ret, bool *ret_guilty)
{
	struct chan *c = chan_to(ROLE_MIMED, CHAN_ANY);
	struct wire_error we = { 0 };
	struct wire_field f;
	struct frame fr;
	struct facts facts;
	int r = c ? chan_call(c, MSG_MIME_TAKE_IN, iov, n, fd, MIME_TIME_LIMIT_MS + 5000, a, &fr, &we)
		  : -ENOTCONN;

	*ret_guilty = r != -ENOTCONN;
	if (r < 0)
		return r;
	while (wire_next(&fr.body, &f) > 0)
		if (f.tag == MIME_T_FACTS && facts_get(f.v, &facts) == 0) {
			*ret = f.v;
			return 0;
		}
	return -EPROTO;
}

static int
opaque(uint64_t size, struct arena *a, struct str *ret)
{
	struct buf b = { 0 };

	facts_opaque(size, &b);
	*ret = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return ret->p ? 1 : -ENOMEM;
}

int
mime_take_in(struct str content, int fd, uint64_t size, unsigned want, struct arena *a,
    struct str *ret_facts)
{
	struct buf b = { 0 };
	struct iovec iov[1];
	bool guilty = false;
	int r = 0, tries = 0;

	wire_u64(&b, MIME_T_WANT, want);
	wire_u64(&b, MIME_T_SIZE, size);
	if (content.p)
		wire_str(&b, MIME_T_CONTENT, content);
	if (b.over || (content.p && content.n > MIME_INLINE)) {
		buf_done(&b);
		return b.over ? -ENOMEM : -EMSGSIZE;
	}
	iov[0] = (struct iovec){ b.p, b.n };
	do
		r = ask(iov, 1, content.p ? -1 : fd, a, ret_facts, &guilty);
	while (r < 0 && guilty && ++tries < 2);
	buf_done(&b);
	return r < 0 && guilty ? opaque(size, a, ret_facts) : r;
}
