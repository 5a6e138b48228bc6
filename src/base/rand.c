/* rand.c - xoshiro256** (Blackman and Vigna), seeded by SplitMix64.
 *
 * SPDX-License-Identifier: MIT */
#include "base/rand.h"

#include "base/hash.h"

static uint64_t rand_rotl(uint64_t x, unsigned n) {
  return x << n | x >> (64 - n);
}

void aq_rand_init(aq_rand *r, uint64_t seed) {
  for (int i = 0; i < 4; i++) {
    seed += UINT64_C(0x9e3779b97f4a7c15);
    r->s[i] = aq_mix64(seed);
  }
}

uint64_t aq_rand_u64(aq_rand *r) {
  uint64_t *s = r->s;
  uint64_t out = rand_rotl(s[1] * 5, 7) * 9;
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rand_rotl(s[3], 45);
  return out;
}

uint64_t aq_rand_below(aq_rand *r, uint64_t n) {
  if (n == 0) {
    return 0;
  }
  /* Numbers under 2^64 mod n would make the small results likelier. */
  uint64_t floor = (0 - n) % n;
  uint64_t x;
  do {
    x = aq_rand_u64(r);
  } while (x < floor);
  return x % n;
}

double aq_rand_double(aq_rand *r) {
  return (double)(aq_rand_u64(r) >> 11) * 0x1.0p-53;
}
