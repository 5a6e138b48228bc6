/* fuzz_punch.c - punch datagrams under a known key: what is read is what was
 * written, and nothing is verified that was not signed.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/punch.h"

#include <stdlib.h>
#include <string.h>

static void check(int ok) {
  if (!ok) {
    abort();
  }
}

static int mac(uint8_t out[AQ_PUNCH_MAC_LEN], const uint8_t *key, size_t keylen,
               const uint8_t *data, size_t len) {
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < keylen + len; i++) {
    h = (h ^ (i < keylen ? key[i] : data[i - keylen])) *
        UINT64_C(0x100000001b3);
  }
  memset(out, 0, AQ_PUNCH_MAC_LEN);
  memcpy(out, &h, sizeof(h));
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  static const uint8_t key[AQ_PUNCH_KEY_LEN] = {1, 2, 3};
  aq_punch p;
  if (aq_punch_peek(&p, data, len) != 0) {
    return 0;
  }
  check(len == AQ_PUNCH_LEN);
  uint8_t out[AQ_PUNCH_LEN];
  check(aq_punch_format(out, &p, key, mac) == 0);
  check(memcmp(out, data, AQ_PUNCH_LEN - AQ_PUNCH_MAC_LEN) == 0);
  check(aq_punch_verify(out, sizeof(out), key, mac) == 0);
  int same = memcmp(out, data, AQ_PUNCH_LEN) == 0;
  check((aq_punch_verify(data, len, key, mac) == 0) == same);
  return 0;
}
