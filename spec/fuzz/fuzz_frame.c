/* fuzz_frame.c - bodies of the extension frames: what is taken comes out the
 * same after writing and reading it again.
 *
 * SPDX-License-Identifier: MIT */
#include "base/addr.h"
#include "proto/frame.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  aq_frame f;
  size_t used = 0;
  int r = aq_frame_parse(AQ_DIALECT_SEEMANN02, &f, data, len, &used);
  check(r == 0 || r == AQ_ERR_FORMAT || r == AQ_ERR_UNSUPPORTED);
  if (r != 0) {
    return 0;
  }
  check(used >= 5 && used <= len && used <= AQ_FRAME_MAX);
  uint8_t out[AQ_FRAME_MAX];
  size_t n = aq_frame_format(AQ_DIALECT_SEEMANN02, out, sizeof(out), &f);
  check(n >= 5);
  aq_frame g;
  size_t again = 0;
  check(aq_frame_parse(AQ_DIALECT_SEEMANN02, &g, out, n, &again) == 0);
  check(again == n && g.kind == f.kind && g.seq == f.seq);
  check(g.paired == f.paired && aq_addr_equal(&g.addr, &f.addr));
  /* Every shorter piece is refused. */
  for (size_t cut = 0; cut < used; cut++) {
    check(aq_frame_parse(AQ_DIALECT_SEEMANN02, &g, data, cut, &again) != 0);
  }
  return 0;
}
