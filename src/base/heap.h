/* heap.h - deadlines of many things: a binary heap that knows where each is.
 *
 * Layer:  base
 * Owner:  entries are embedded in the caller's objects and borrowed
 * Time:   deadlines are the caller's
 * Spec:   none
 *
 * Setting, moving and removing a deadline is O(log n), the earliest is O(1).
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_HEAP_H
#define AQ_BASE_HEAP_H

#include "base/mem.h"
#include "base/owner.h"

/* aq_timer is embedded in what has a deadline. Zeroed memory is a timer that
 * is not set. */
typedef struct aq_timer {
  aq_tstamp deadline;
  size_t pos; /* in the heap + 1; 0: not set */
} aq_timer;

typedef struct aq_timer_heap {
  aq_mem mem;
  aq_timer **at;
  size_t cap;
  size_t count;
} aq_timer_heap;

void aq_timer_heap_init(aq_timer_heap *h, const aq_mem *mem);
/* aq_timer_heap_free forgets the table; timers must not be used after. */
void aq_timer_heap_free(aq_timer_heap *h);
/* aq_timer_heap_reserve makes room for |n| timers, so that the following
 * aq_timer_set calls for at most |n| set timers can't fail.
 * Returns 0 or AQ_ERR_NOMEM. */
int aq_timer_heap_reserve(aq_timer_heap *h, size_t n);
/* aq_timer_set sets or moves; AQ_NEVER removes.
 * Returns 0 or AQ_ERR_NOMEM (only when it was not set before). */
int aq_timer_set(aq_timer_heap *h, aq_timer *t, aq_tstamp deadline);
void aq_timer_remove(aq_timer_heap *h, aq_timer *t);
/* The earliest deadline, AQ_NEVER when none is set. */
aq_tstamp aq_timer_heap_next(const aq_timer_heap *h);
/* aq_timer_heap_first gives the earliest when due at |now|, else NULL. It
 * stays in the heap: set or remove it. */
aq_timer *aq_timer_heap_first(const aq_timer_heap *h, aq_tstamp now);

#endif
