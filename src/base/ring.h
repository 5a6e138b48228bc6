/* ring.h - indices of a ring in an array that somebody else holds.
 *
 * Layer:  base
 * Owner:  the caller holds the array
 * Time:   none
 * Spec:   none
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_RING_H
#define AQ_BASE_RING_H

#include <stddef.h>

typedef struct aq_ring {
  size_t head; /* oldest */
  size_t count;
  size_t cap;
} aq_ring;

static inline void aq_ring_init(aq_ring *r, size_t cap) {
  r->head = 0;
  r->count = 0;
  r->cap = cap;
}

static inline int aq_ring_is_full(const aq_ring *r) {
  return r->count == r->cap;
}

static inline int aq_ring_is_empty(const aq_ring *r) {
  return r->count == 0;
}

/* aq_ring_push gives the index to write to; the ring must not be full. */
static inline size_t aq_ring_push(aq_ring *r) {
  size_t at = r->head + r->count++;
  return at >= r->cap ? at - r->cap : at;
}

/* aq_ring_pop gives the index of the oldest; the ring must not be empty. */
static inline size_t aq_ring_pop(aq_ring *r) {
  size_t at = r->head;
  r->head = at + 1 == r->cap ? 0 : at + 1;
  r->count--;
  return at;
}

/* aq_ring_at gives the index of the |i|-th oldest, i < count. */
static inline size_t aq_ring_at(const aq_ring *r, size_t i) {
  size_t at = r->head + i;
  return at >= r->cap ? at - r->cap : at;
}

#endif
