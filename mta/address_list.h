/*
 * Lists of where mail goes, as alias files have them:
 *
 *	user1, user2@example.test, "|/usr/bin/program argument", /var/mail/archive,
 *	:include:/etc/mail/list
 *
 * Items are parted by commas, or by line ends. One that is quoted as a whole loses
 * its quotes; `Name <address>` stands for the address, and \user for user.
 */
#ifndef MTA_ADDRESS_LIST_H
#define MTA_ADDRESS_LIST_H

#include "lib/base/arena.h"

enum address_kind { ADDRESS_MAIL = 1, ADDRESS_COMMAND, ADDRESS_FILE, ADDRESS_INCLUDE };

struct address_item {
	enum address_kind kind;
	struct str text;     /* an address, maybe without domain; a command without its bar; a path */
};

/* The next item of *list: 1 and *ret (in the list or in a); 0 at the end; -EINVAL
 * for one that is malformed, with it in ret->text; -ENOMEM. */
int address_list_next(struct str *list, struct arena *a, struct address_item *ret);

/* Whether every item is sound; *ret_bad (may be NULL): the first that is not. */
bool address_list_valid(struct str list, struct arena *a, struct str *ret_bad);

#endif
