/*
 * What a milter changes in a message: kept in the order in which it comes, made into edits of the
 * host when the milter has accepted the message.
 *
 * The fields that a milter counts are those of the message as it came in: our own trace field on top is
 * not shown to it. Only where it inserts a field does that one count (place 0 is above it). A field that it
 * removed still counts, and so do those that it added.
 */
#ifndef PLUGINS_MILTER_EDITS_H
#define PLUGINS_MILTER_EDITS_H

#include "lib/base/arena.h"
#include "plugins/milter/wire.h"
#include "plugins/plugin.h"

struct milter_field {
	struct str name, raw;  /* raw: behind the colon, blanks included, lines ended by CRLF */
	struct str value;      /* what it becomes */
	int32_t number;        /* the host's; -1: the milter made it */
	bool hidden, changed, removed;
};

struct milter_message {
	struct arena *arena;
	struct milter_field *fields;
	size_t n_fields, room;
	struct str body;
	struct buf new_body;
	bool has_body;
	const char *quarantine; /* the reason, in the arena; NULL: it is not held */
	struct milter_rcpt_edit {
		struct str address;
		bool add;
		struct milter_rcpt_edit *next;
	} *rcpts, **rcpts_end;
	struct str sender;
	bool has_sender;
	unsigned n_edits;
};

/* Splits the message. 0 or -ENOMEM; milter_message_done either way. */
int milter_message_init(struct milter_message *m, struct str message, struct str hostname);
void milter_message_done(struct milter_message *m);
/* A field's value as a milter is to see it: lines ended by LF; without the blank behind the colon
 * unless it wants that. In the arena. */
struct str milter_field_value(struct milter_message *m, const struct milter_field *f, bool lead_space);

/* Takes an answer that changes something. 0; -EPROTO: it cannot be meant; -ENOMEM, -ENOSPC. */
int milter_message_edit(struct milter_message *m, const struct milter_reply *r);
/* Tells the host of all of them. 0, or what it says of the first that it does not take. */
int milter_message_apply(struct milter_message *m, struct ph_call *c);

#endif
