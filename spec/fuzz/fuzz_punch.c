/* fuzz_punch.c - punch datagrams under a known key: what is read is what was
 * written, and nothing is verified that was not signed.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/punch.h"

#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  static const uint8_t key[AQ_PUNCH_KEY_LEN] = {1, 2, 3};
  aq_punch p;
  if (aq_punch_peek(&p, data, len) != 0) {
    return 0;
  }
  check(len == AQ_PUNCH_LEN);
  uint8_t out[AQ_PUNCH_LEN];
  check(aq_punch_format(out, &p, key, fuzz_mac) == 0);
  check(memcmp(out, data, AQ_PUNCH_LEN - AQ_PUNCH_MAC_LEN) == 0);
  check(aq_punch_verify(out, sizeof(out), key, fuzz_mac) == 0);
  int same = memcmp(out, data, AQ_PUNCH_LEN) == 0;
  check((aq_punch_verify(data, len, key, fuzz_mac) == 0) == same);
  return 0;
}
