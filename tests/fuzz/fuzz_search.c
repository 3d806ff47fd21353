/* A message that SEARCH scans: the first line is the text that is looked for. */
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imapd/search.h"
#include "lib/mail/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct imap *
imap_once(void)
{
	static struct imap c;
	int pair[2];
	struct err e;

	if (!c.st && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0)
		c.st = stream_new(NULL, pair[0], 0, &e);
	return &c;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str message = str_from(data, size), text = str_cut(&message, '\n');
	struct content m = { .fd = memfd_create("message", MFD_CLOEXEC), .size = message.n };
	struct search_key k = { .type = SK_TEXT }, *keys[] = { &k };
	struct search s = { .c = imap_once(), .texts = keys, .n_texts = 1 };
	struct arena *ar = arena_new(0);
	struct buf folded = { 0 };

	text_fold(text, &folded);
	k.folded = buf_view(&folded);
	s.longest = folded.n;
	k.name = text;
	if (s.c->st && message.n && write(m.fd, message.p, message.n) == (ssize_t)message.n &&
	    content_parts(&m, STR_NULL, ar) == 0) {
		struct str header = str_head(message, m.mime.parts[0].body);

		search_in_header(header, &k);
		search_scan(&s, &m, header);
	}
	content_close(&m);
	buf_done(&folded);
	arena_free(&ar);
	return 0;
}
