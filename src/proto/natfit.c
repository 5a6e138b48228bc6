/* SPDX-License-Identifier: MIT */
#include "proto/natfit.h"

static int is_preserving(const aq_natfit *f) {
  size_t same = 0;
  for (size_t i = 0; i < f->n; i++) {
    same += f->port[i].own == f->port[i].outer;
  }
  /* Where the port is taken, another one is given: that much is forgiven. */
  return f->n > 0 && same * 4 >= f->n * 3;
}

/* How many of the differences are one step and at most |NOISE| of others. */
static size_t steps_of(const aq_natfit *f, int step) {
  size_t hits = 0;
  for (size_t i = 1; i < f->n; i++) {
    int d = f->port[i].outer - f->port[i - 1].outer;
    hits += d % step == 0 && d / step >= 1 && d / step <= 1 + AQ_NATFIT_NOISE;
  }
  return hits;
}

/* The largest step that explains what can be explained; 0: none does. */
static int find_step(const aq_natfit *f) {
  int best = 0;
  size_t most = 0;
  for (int size = 1; size <= AQ_NATFIT_MAX_STEP; size++) {
    for (int sign = 1; sign >= -1; sign -= 2) {
      size_t hits = steps_of(f, sign * size);
      /* A larger step explains no more than its divisors do, so an equal one
       * is the better account. */
      if (hits > most || (hits == most && hits > 0)) {
        most = hits;
        best = sign * size;
      }
    }
  }
  /* The range ends once, and one datagram overtakes another once. */
  return most + (f->n > 8 ? 2 : 1) >= f->n - 1 ? best : 0;
}

static uint32_t power_above(uint32_t v) {
  uint32_t p = 64;
  while (p < v) {
    p *= 2;
  }
  return p;
}

/* A block that holds all: aligned to its size, as carriers cut them, or else
 * around what was seen. Returns 0 when they are spread too far. */
static int find_block(const aq_natfit *f, aq_nat_profile *out) {
  uint32_t lo = UINT16_MAX, hi = 0;
  for (size_t i = 0; i < f->n; i++) {
    lo = f->port[i].outer < lo ? f->port[i].outer : lo;
    hi = f->port[i].outer > hi ? f->port[i].outer : hi;
  }
  uint32_t span = hi - lo + 1;
  /* The expected range of |n| random picks is (n - 1) / (n + 1) of it all. */
  uint32_t whole = span * (uint32_t)(f->n + 1) / (uint32_t)(f->n - 1);
  if (span > AQ_NATFIT_MAX_BLOCK) {
    return 0;
  }
  uint32_t size = power_above(whole * 7 / 8);
  uint32_t base = lo / size * size;
  if (hi / size != lo / size) {
    uint32_t margin = (size - (span < size ? span : size)) / 2;
    base = lo > 1024 + margin ? lo - margin : 1024;
    base = base > lo ? lo : base;
  }
  if (base + size > 65536) {
    size = 65536 - base;
  }
  out->block_base = (uint16_t)base;
  out->block_size = (uint16_t)size;
  return 1;
}

void aq_natfit_judge(const aq_natfit *f, aq_nat_profile *out) {
  out->allocation = AQ_NAT_ALLOC_UNKNOWN;
  out->step = 0;
  out->block_base = out->block_size = 0;
  if (is_preserving(f)) {
    out->allocation = AQ_NAT_ALLOC_PRESERVING;
    return;
  }
  if (f->n < AQ_NATFIT_MIN) {
    return;
  }
  int step = find_step(f);
  if (step != 0) {
    out->allocation = AQ_NAT_ALLOC_SEQUENTIAL;
    out->step = (int16_t)step;
  } else if (find_block(f, out)) {
    out->allocation = AQ_NAT_ALLOC_BLOCK;
  } else {
    out->allocation = AQ_NAT_ALLOC_RANDOM;
  }
}
