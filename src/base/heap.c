/* heap.c - deadlines of many things.
 *
 * SPDX-License-Identifier: MIT */
#include "base/heap.h"

void aq_timer_heap_init(aq_timer_heap *h, const aq_mem *mem) {
  *h = (aq_timer_heap){.mem = *mem};
}

void aq_timer_heap_free(aq_timer_heap *h) {
  aq_mem_free(&h->mem, h->at);
  h->at = NULL;
  h->cap = 0;
  h->count = 0;
}

int aq_timer_heap_reserve(aq_timer_heap *h, size_t n) {
  void *table = h->at;
  int err = aq_mem_grow(&h->mem, &table, &h->cap, n, sizeof(aq_timer *),
                        SIZE_MAX / sizeof(aq_timer *));
  h->at = table;
  return err != 0 ? AQ_ERR_NOMEM : 0;
}

static void heap_place(aq_timer_heap *h, size_t i, aq_timer *t) {
  h->at[i] = t;
  t->pos = i + 1;
}

/* Moves the timer at |i| up and then down to where it belongs. */
static void heap_fix(aq_timer_heap *h, size_t i) {
  aq_timer *t = h->at[i];
  while (i > 0 && h->at[(i - 1) / 2]->deadline > t->deadline) {
    heap_place(h, i, h->at[(i - 1) / 2]);
    i = (i - 1) / 2;
  }
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= h->count) {
      break;
    }
    if (child + 1 < h->count &&
        h->at[child + 1]->deadline < h->at[child]->deadline) {
      child++;
    }
    if (h->at[child]->deadline >= t->deadline) {
      break;
    }
    heap_place(h, i, h->at[child]);
    i = child;
  }
  heap_place(h, i, t);
}

int aq_timer_set(aq_timer_heap *h, aq_timer *t, aq_tstamp deadline) {
  if (deadline == AQ_NEVER) {
    aq_timer_remove(h, t);
    return 0;
  }
  if (t->pos == 0) {
    int err = aq_timer_heap_reserve(h, h->count + 1);
    if (err != 0) {
      return err;
    }
    heap_place(h, h->count++, t);
  } else if (t->deadline == deadline) {
    return 0;
  }
  t->deadline = deadline;
  heap_fix(h, t->pos - 1);
  return 0;
}

void aq_timer_remove(aq_timer_heap *h, aq_timer *t) {
  if (t->pos == 0) {
    return;
  }
  size_t i = t->pos - 1;
  aq_timer *last = h->at[--h->count];
  t->pos = 0;
  t->deadline = AQ_NEVER;
  if (last != t) {
    heap_place(h, i, last);
    heap_fix(h, i);
  }
}

aq_tstamp aq_timer_heap_next(const aq_timer_heap *h) {
  return h->count > 0 ? h->at[0]->deadline : AQ_NEVER;
}

aq_timer *aq_timer_heap_first(const aq_timer_heap *h, aq_tstamp now) {
  return h->count > 0 && h->at[0]->deadline <= now ? h->at[0] : NULL;
}
