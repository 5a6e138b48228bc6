/* time.h - arithmetic on deadlines that can't wrap around.
 *
 * Layer:  base
 * Owner:  none; values only
 * Time:   nothing reads a clock
 * Spec:   none
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_TIME_H
#define AQ_BASE_TIME_H

#include "antquic.h"

/* aq_time_add gives t + d, and AQ_NEVER when either is or the sum wraps. */
static inline aq_tstamp aq_time_add(aq_tstamp t, aq_duration d) {
  return d > AQ_NEVER - t ? AQ_NEVER : t + d;
}

/* aq_time_since gives now - then, 0 when |then| lies ahead. */
static inline aq_duration aq_time_since(aq_tstamp now, aq_tstamp then) {
  return now > then ? now - then : 0;
}

/* aq_time_until gives how long to wait for |t|: 0 when it is due, AQ_NEVER
 * when it never comes. */
static inline aq_duration aq_time_until(aq_tstamp now, aq_tstamp t) {
  if (t == AQ_NEVER) {
    return AQ_NEVER;
  }
  return t > now ? t - now : 0;
}

static inline aq_tstamp aq_time_min(aq_tstamp a, aq_tstamp b) {
  return a < b ? a : b;
}

static inline aq_tstamp aq_time_max(aq_tstamp a, aq_tstamp b) {
  return a > b ? a : b;
}

/* aq_time_mul gives d * n, AQ_NEVER when it wraps. */
static inline aq_duration aq_time_mul(aq_duration d, uint64_t n) {
  if (n != 0 && d > AQ_NEVER / n) {
    return AQ_NEVER;
  }
  return d * n;
}

/* aq_time_clamp moves |d| into [lo, hi]. */
static inline aq_duration aq_time_clamp(aq_duration d, aq_duration lo,
                                        aq_duration hi) {
  return d < lo ? lo : d > hi ? hi : d;
}

#endif
