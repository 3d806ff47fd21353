/*
 * check_index DIR...: compares the index of each account with its tree, deeply, and
 * writes what differs; the crash tests' judge of 'index equals tree'. No maild may run
 * there. Ends with 1 when there is a difference.
 */
#include <stdio.h>

#include "maildir/index.h"

static void
found(void *arg, enum index_finding what, const char *mailbox, uint32_t uid, const char *path,
    const char *text)
{
	printf("%s: finding %d, mailbox '%s' uid %u '%s': %s\n", (const char *)arg, what,
	    mailbox ? mailbox : "", uid, path ? path : "", text);
}

static int
check(char *dir)
{
	struct index_options o = { .dir = dir, .report = found, .report_arg = dir };
	struct index *x;
	struct err e = { 0 };
	int r = index_open(&o, &x, NULL, &e);

	if (r < 0) {
		printf("%s: %s\n", dir, e.text);
		return r;
	}
	r = index_check(x, true, &e);
	if (r < 0)
		printf("%s: %s\n", dir, e.text);
	index_close(&x);
	return r;
}

int
main(int argc, char **argv)
{
	struct err e = { 0 };
	int bad = index_init(&e);

	for (int i = 1; i < argc && bad >= 0; i++)
		bad |= check(argv[i]) != 0;
	return bad != 0;
}
