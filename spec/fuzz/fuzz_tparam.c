/* fuzz_tparam.c - transport parameters: what is taken comes out the same after
 * writing and reading it again.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/tparam.h"

#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  aq_tparams t;
  int r = aq_tparams_scan(&t, data, len);
  check(r == 0 || r == AQ_ERR_FORMAT);
  if (r != 0) {
    return 0;
  }
  uint8_t out[AQ_TPARAMS_MAX];
  size_t n = aq_tparams_format(out, sizeof(out), &t);
  int some = t.has_nat || t.has_rfc || t.has_discovery || t.has_control ||
             t.has_max_datagram;
  check((n > 0) == some);
  aq_tparams u;
  check(aq_tparams_scan(&u, out, n) == 0);
  check(u.has_nat == t.has_nat && u.nat_empty == t.nat_empty);
  check(u.nat_limit == t.nat_limit && u.has_rfc == t.has_rfc);
  check(u.has_discovery == t.has_discovery && u.discovery == t.discovery);
  check(u.has_control == t.has_control);
  check(u.control_version == t.control_version);
  check(u.control_flags == t.control_flags);
  check(u.has_max_datagram == t.has_max_datagram);
  check(u.max_datagram == t.max_datagram);
  return 0;
}
