/* fuzz_ctl.c - a stream of control messages: it is eaten message by message,
 * and what is taken comes out the same after writing and reading it again.
 *
 * SPDX-License-Identifier: MIT */
#include "base/addr.h"
#include "proto/ctl.h"

#include "fuzz.h"

#include <string.h>

static void check_again(const aq_ctl *m) {
  static aq_ctl back;
  uint8_t out[AQ_CTL_MAX];
  size_t used = 0;
  size_t n = aq_ctl_format(out, sizeof(out), m);
  check(n > 0);
  check(aq_ctl_parse(&back, out, n, &used) == 1 && used == n);
  check(memcmp(&back, m, sizeof(back)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  static aq_ctl m;
  size_t off = 0;
  for (;;) {
    size_t used = 0;
    int r = aq_ctl_parse(&m, data + off, len - off, &used);
    if (r <= 0) {
      check(r == 0 || r == AQ_ERR_FORMAT || r == AQ_ERR_TOO_LARGE);
      return 0;
    }
    check(used >= 2 && used <= len - off && used <= AQ_CTL_MAX);
    check(m.cand_count <= AQ_MAX_CANDIDATES);
    if (r == 1) {
      check_again(&m);
    }
    off += used;
  }
}
