/* list.h - intrusive circular list, doubly linked.
 *
 * Layer:  base
 * Owner:  the caller owns the elements; a list only links them
 * Time:   none
 * Spec:   none
 *
 * An aq_list is both the head and the link inside an element. A link that is
 * in no list points at itself, so removing it twice is harmless. Zeroed memory
 * is not a list: call aq_list_init first.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_LIST_H
#define AQ_BASE_LIST_H

#include "base/owner.h"

typedef struct aq_list {
  struct aq_list *prev;
  struct aq_list *next;
} aq_list;

/* aq_list_entry gives the |type| whose member |field| is the link |node|. */
#define aq_list_entry(node, type, field) aq_owner_of(node, type, field)

/* aq_list_each walks; the current element must not be removed. */
#define aq_list_each(it, list)                                                 \
  for (aq_list *it = (list)->next; it != (list); it = it->next)

/* aq_list_each_safe walks; the current element, and no other, may go. */
#define aq_list_each_safe(it, list)                                            \
  for (aq_list *it = (list)->next, *it##_next = it->next; it != (list);        \
       it = it##_next, it##_next = it->next)

static inline void aq_list_init(aq_list *l) {
  l->prev = l;
  l->next = l;
}

static inline int aq_list_is_empty(const aq_list *l) {
  return l->next == l;
}

/* aq_list_is_linked: is this element's link in some list? */
static inline int aq_list_is_linked(const aq_list *node) {
  return node->next != node;
}

static inline void aq_list_insert_between(aq_list *node, aq_list *prev,
                                          aq_list *next) {
  node->prev = prev;
  node->next = next;
  prev->next = node;
  next->prev = node;
}

static inline void aq_list_push_back(aq_list *l, aq_list *node) {
  aq_list_insert_between(node, l->prev, l);
}

static inline void aq_list_remove(aq_list *node) {
  node->prev->next = node->next;
  node->next->prev = node->prev;
  aq_list_init(node);
}

/* aq_list_first gives the first link, NULL when empty. */
static inline aq_list *aq_list_first(const aq_list *l) {
  return l->next == l ? NULL : l->next;
}

/* aq_list_pop_front removes and gives the first link, NULL when empty. */
static inline aq_list *aq_list_pop_front(aq_list *l) {
  aq_list *node = aq_list_first(l);
  if (node != NULL) {
    aq_list_remove(node);
  }
  return node;
}

#endif
