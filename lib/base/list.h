/*
 * Intrusive doubly linked lists. A struct list is both the head and the link
 * inside an element; a zeroed link is 'in no list' (list_linked is false).
 */
#ifndef LIB_BASE_LIST_H
#define LIB_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

#define LIST_INIT(name) { &(name), &(name) }
#define LIST_ENTRY(l, type, member) ((type *)((char *)(l)-offsetof(type, member)))
/* it is a `type *` declared by the caller. The SAFE form lets the body remove it. */
#define LIST_FOREACH(it, head, type, member)                                                       \
	for (it = LIST_ENTRY((head)->next, type, member); &it->member != (head);                   \
	     it = LIST_ENTRY(it->member.next, type, member))
#define LIST_FOREACH_SAFE(it, tmp, head, type, member)                                             \
	for (it = LIST_ENTRY((head)->next, type, member),                                          \
	    tmp = LIST_ENTRY(it->member.next, type, member);                                       \
	     &it->member != (head); it = tmp, tmp = LIST_ENTRY(tmp->member.next, type, member))

static inline void
list_init(struct list *h)
{
	h->prev = h->next = h;
}

static inline bool
list_empty(const struct list *h)
{
	return h->next == h || !h->next;
}

static inline bool
list_linked(const struct list *l)
{
	return l->next != NULL;
}

static inline void
list_insert_after(struct list *at, struct list *l)
{
	l->prev = at;
	l->next = at->next;
	at->next->prev = l;
	at->next = l;
}

static inline void
list_push(struct list *h, struct list *l) /* to the end */
{
	list_insert_after(h->prev, l);
}

static inline void
list_push_front(struct list *h, struct list *l)
{
	list_insert_after(h, l);
}

static inline void
list_remove(struct list *l) /* fine when in no list */
{
	if (!l->next)
		return;
	l->prev->next = l->next;
	l->next->prev = l->prev;
	l->prev = l->next = NULL;
}

static inline struct list *
list_pop(struct list *h) /* the first, or NULL */
{
	struct list *l = h->next;

	if (list_empty(h))
		return NULL;
	list_remove(l);
	return l;
}

#endif
