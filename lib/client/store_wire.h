/*
 * The frames of lib/client/store.h between front ends and maild, as structs.
 * One request struct serves every mailbox call (each type uses the fields that
 * it needs; what is not set reads as zero), one answer struct every answer that
 * is not a list, a delta or facts.
 *
 * A set of UIDs or an answer that is too long for a frame goes as a memfd beside
 * it: the field then says how many bytes the memfd has. Getters copy such bytes
 * into the arena: a peer cannot change them afterwards.
 */
#ifndef LIB_CLIENT_STORE_WIRE_H
#define LIB_CLIENT_STORE_WIRE_H

#include "lib/client/store.h"

enum {
	STORE_FRAME_MAX = 512 << 10,    /* longer bodies go in a memfd */
	STORE_RANGES_MAX = 1 << 20,     /* ranges in a set */
	STORE_KEYWORDS_MAX = 4096,      /* keywords in a request */
	STORE_BIG_MAX = 256 << 20,      /* bytes of a memfd's body */
};

struct store_request {
	uint64_t handle;        /* chosen by the front end at attach; one per process life */
	uint32_t mailbox, dest; /* dest: of copy */
	uint32_t uid;           /* of content; where facts go on */
	uint32_t op;            /* enum store_flag_op */
	uint32_t sysflags;
	uint32_t want;          /* FACT_* */
	bool on;                /* claim_recent, move, subscribe */
	bool all;               /* expunge: every message, not set */
	uint64_t since;         /* sync; unchanged_since of flags */
	struct str name, role, ticket, facts;
	struct str *keywords;
	size_t n_keywords;
	struct uid_set set;
	int64_t internal_date;
	int32_t internal_zone;
	uint64_t size;          /* append: of the descriptor's content */
};

/* Appends q's fields; *ret_fd: -1, or a memfd that goes beside the frame (the
 * caller closes it). 0; -E2BIG, -ENOMEM. An append's own descriptor is not
 * here: its set is empty. */
int store_request_put(struct buf *b, const struct store_request *q, int *ret_fd);
/* fd: the frame's, or -1; stays the caller's. -EPROTO, -E2BIG, -ENOMEM. */
int store_request_get(struct str body, int fd, struct arena *a, struct store_request *ret);

struct store_answer {
	uint32_t id;            /* a new mailbox; how many handles an account has */
	uint32_t uidvalidity, uid;
	uint64_t email, modseq;
	uint64_t used, limit;   /* quota */
	uint64_t size;          /* content; of a view's memfd */
	struct uid_set set;     /* modified, gone */
	uint32_t *from, *to;    /* copied */
	size_t n;
};
void store_answer_put(struct buf *b, const struct store_answer *r);
int store_answer_get(struct str body, struct arena *a, struct store_answer *ret);

void store_mailboxes_put(struct buf *b, const struct store_mailbox *v, size_t n);
int store_mailboxes_get(struct str body, struct arena *a, struct store_mailbox **ret, size_t *ret_n);

void store_delta_put(struct buf *b, const struct store_delta *d);
int store_delta_get(struct str body, struct arena *a, struct store_delta *ret);

/* Facts: rows first, any number, then the end. */
void store_fact_put(struct buf *b, const struct store_fact *f);
void store_facts_end(struct buf *b, uint32_t next);
int store_facts_get(struct str body, struct arena *a, struct store_fact **ret, size_t *ret_n,
    uint32_t *ret_next);

/* A change event: of this handle's account. mailbox 0: the handle is void. */
struct store_event {
	uint64_t handle;
	uint32_t mailbox;
	uint64_t modseq;
};
void store_event_put(struct buf *b, const struct store_event *e);
int store_event_get(struct str body, struct store_event *ret);

/* ROOM: no ticket, no handle. */
struct room_request {
	uint64_t account, quota, size;
	uint32_t volume;
};
void room_request_put(struct buf *b, const struct room_request *r);
int room_request_get(struct str body, struct room_request *ret);

/* A body that is too long for a frame: replaces b by a field that says so and
 * returns a sealed memfd with the bytes; -1 in *ret_fd when b may go as it is.
 * 0 or negative. */
int store_big_put(struct buf *b, int *ret_fd);
/* The twin: the body that is meant (in a, when it came by fd). */
int store_big_get(struct str body, int fd, struct arena *a, struct str *ret);

#endif
