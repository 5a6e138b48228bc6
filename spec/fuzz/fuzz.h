/* fuzz.h - what the fuzz targets share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef FUZZ_H
#define FUZZ_H

#include "proto/punch.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What doesn't hold is a finding. */
static inline void check(int ok) {
  if (!ok) {
    abort();
  }
}

/* FNV-1a for a MAC: nothing is secret here, and it is fast. */
static inline int fuzz_mac(uint8_t out[AQ_PUNCH_MAC_LEN], const uint8_t *key,
                           size_t keylen, const uint8_t *data, size_t len) {
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < keylen + len; i++) {
    h = (h ^ (i < keylen ? key[i] : data[i - keylen])) *
        UINT64_C(0x100000001b3);
  }
  memset(out, 0, AQ_PUNCH_MAC_LEN);
  memcpy(out, &h, sizeof(h));
  return 0;
}

#endif
