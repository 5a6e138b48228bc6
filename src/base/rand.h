/* rand.h - jitter and cookies that need no secrecy: xoshiro256**.
 *
 * Layer:  base
 * Owner:  the state is the caller's
 * Time:   none
 * Spec:   none; never use it for keys, tokens or connection ids
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_RAND_H
#define AQ_BASE_RAND_H

#include <stdint.h>

typedef struct aq_rand {
  uint64_t s[4];
} aq_rand;

/* aq_rand_init: any seed, 0 too. The same seed gives the same numbers. */
void aq_rand_init(aq_rand *r, uint64_t seed);
uint64_t aq_rand_u64(aq_rand *r);
/* Uniform in [0, n), without bias; 0 when |n| is 0. */
uint64_t aq_rand_below(aq_rand *r, uint64_t n);
/* Uniform in [0, 1). */
double aq_rand_double(aq_rand *r);

#endif
