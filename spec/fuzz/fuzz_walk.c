/* fuzz_walk.c - the frame walker over hostile plaintext.
 *
 * Beyond memory safety: the walk always moves on; what it finds parses to just
 * that length; and once it is overwritten as the carrier does, a second walk
 * agrees with the first about every other frame.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/walk.h"

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  if (len > 65536) {
    return 0;
  }
  uint8_t *copy = malloc(len > 0 ? len : 1);
  if (copy == NULL) {
    return 0;
  }
  if (len > 0) {
    memcpy(copy, data, len);
  }
  aq_walk w = {.data = data, .len = len};
  size_t off = 0;
  size_t n = 0;
  size_t end = 0;
  int r;
  while ((r = aq_walk_next(&w, &off, &n)) == 1) {
    aq_frame f;
    size_t used = 0;
    check(off >= end && n > 0 && n <= len - off);
    check(aq_frame_parse(AQ_DIALECT_SEEMANN02, &f, data + off, n, &used) == 0);
    check(used == n);
    end = off + n;
    memset(copy + off, 0, n);
    copy[off] = 1;
  }
  check(r == 0 || r == AQ_ERR_FORMAT || r == AQ_ERR_UNSUPPORTED);
  check(w.off <= len && (r != 0 || w.off == len));
  aq_walk again = {.data = copy, .len = len};
  check(aq_walk_next(&again, &off, &n) == r && again.off == w.off);

  /* The first half, as if it were ours, is looked for in the second. */
  size_t plen = len > 0 ? data[0] % 32 : 0;
  if (plen < len) {
    size_t at = 0;
    size_t hdr = 0;
    size_t rest = len - plen;
    const uint8_t *pt = data + plen;
    if (aq_walk_find_datagram(pt, rest, data, plen, &at, &hdr) == 1) {
      check(at < rest && hdr >= 1 && hdr <= 9 && at + hdr + plen <= rest);
      check(pt[at] == 0x30 || pt[at] == 0x31);
      check(memcmp(pt + at + hdr, data, plen) == 0);
    }
  }
  free(copy);
  return 0;
}
