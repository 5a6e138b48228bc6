/* rate.h - a token bucket: so much at once, and so much a second.
 *
 * Layer:  base
 * Owner:  the caller holds the bucket; a zeroed one is full
 * Time:   |now| is passed in
 * Spec:   none
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_RATE_H
#define AQ_BASE_RATE_H

#include "antquic.h"

typedef struct aq_rate {
  double tokens;
  aq_tstamp last;
} aq_rate;

/* aq_rate_left adds what came since the last call to a bucket that gains
 * |per_second| and holds |burst|, and gives what is in it. */
static inline double aq_rate_left(aq_rate *r, aq_tstamp now, double per_second,
                                  double burst) {
  if (r->last == 0) {
    r->tokens = burst;
  } else if (now > r->last) {
    r->tokens += (double)(now - r->last) / (double)AQ_S * per_second;
    r->tokens = r->tokens < burst ? r->tokens : burst;
  }
  if (now > r->last) {
    r->last = now;
  } else if (r->last == 0) {
    r->last = 1; /* time 0 must not read as a fresh bucket */
  }
  return r->tokens;
}

/* aq_rate_take takes one token. Returns 1, or 0 when there is none. */
static inline int aq_rate_take(aq_rate *r, aq_tstamp now, double per_second,
                               double burst) {
  if (aq_rate_left(r, now, per_second, burst) < 1.0) {
    return 0;
  }
  r->tokens -= 1.0;
  return 1;
}

#endif
