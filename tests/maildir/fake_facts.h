/*
 * Facts for the store's tests without a MIME parser: a stand-in for the three calls
 * of lib/mail/facts.h that the index makes, with a format of its own.
 */
#ifndef TESTS_MAILDIR_FAKE_FACTS_H
#define TESTS_MAILDIR_FAKE_FACTS_H

#include "lib/mail/facts.h"

/* refs: ids separated by newlines, nearest first. */
void fake_facts(struct buf *out, const char *id, const char *subject, const char *refs);

#endif
