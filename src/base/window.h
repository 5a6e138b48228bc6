/* window.h - which of the last 64 sequence numbers came: replays are told.
 *
 * Layer:  base
 * Owner:  the caller holds the window; zeroed it has seen nothing
 * Time:   none
 * Spec:   docs/protocol.md sections 4 and 7
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_WINDOW_H
#define AQ_BASE_WINDOW_H

#include <stdint.h>

#define AQ_WINDOW_LEN 64

typedef struct aq_window {
  uint32_t newest;
  uint64_t seen; /* bit n: newest - n came */
} aq_window;

/* aq_window_take: 1 when |seq| is new and now known, 0 when it came before or
 * is too old to tell. */
static inline int aq_window_take(aq_window *w, uint32_t seq) {
  if (seq > w->newest) {
    uint32_t step = seq - w->newest;
    w->seen = step < AQ_WINDOW_LEN ? w->seen << step | 1 : 1;
    w->newest = seq;
    return 1;
  }
  uint32_t back = w->newest - seq;
  if (back >= AQ_WINDOW_LEN || (w->seen >> back & 1)) {
    return 0;
  }
  w->seen |= (uint64_t)1 << back;
  return 1;
}

#endif
