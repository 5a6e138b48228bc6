/* fuzz_observe.c - observation datagrams under a known key: what is read is
 * what was written, and nothing is verified that was not signed.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/observe.h"

#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  static const uint8_t key[AQ_OBSERVE_KEY_LEN] = {1, 2, 3};
  aq_observe o, again;
  if (aq_observe_peek(&o, data, len) != 0) {
    return 0;
  }
  check(len == AQ_OBSERVE_LEN && aq_observe_is(data, len));
  check(o.delay <= AQ_OBSERVE_MAX_DELAY);
  check((o.type == AQ_OBSERVE_TELL) == (o.addr.family != 0));
  uint8_t out[AQ_OBSERVE_LEN];
  check(aq_observe_format(out, &o, key, fuzz_mac) == 0);
  check(aq_observe_peek(&again, out, sizeof(out)) == 0);
  check(memcmp(&o, &again, sizeof(o)) == 0);
  check(aq_observe_verify(out, sizeof(out), key, fuzz_mac) == 0);
  /* The bytes that an address has no use for are signed too. */
  size_t body = AQ_OBSERVE_LEN - AQ_PUNCH_MAC_LEN;
  check(fuzz_mac(out, key, sizeof(key), data, body) == 0);
  int same = memcmp(out, data + body, AQ_PUNCH_MAC_LEN) == 0;
  check((aq_observe_verify(data, len, key, fuzz_mac) == 0) == same);
  return 0;
}
