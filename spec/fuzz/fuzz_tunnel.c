/* fuzz_tunnel.c - tunnel datagrams: what is read is inside, is QUIC, and is
 * what was wrapped, whole batches too.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/tunnel.h"

#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  static uint8_t buf[4096];
  const uint8_t *id, *packet, *again;
  size_t n, m;
  if (aq_tunnel_read(data, len, &id, &packet, &n) != 0) {
    return 0;
  }
  check(aq_tunnel_is(data, len));
  check(packet + n == data + len && n > 0 && (packet[0] & 0xc0) != 0);
  if (n > 1000) {
    return 0;
  }
  /* As one, and in pieces of a length that the input chooses. */
  size_t steps[] = {0, n, 1 + id[0] % n};
  for (size_t i = 0; i < 3; i++) {
    size_t segment = steps[i], step = segment > 0 ? segment : n, off = 0;
    if (n + (n + step - 1) / step * AQ_TUNNEL_HEAD > sizeof(buf)) {
      continue;
    }
    memcpy(buf, packet, n);
    size_t all = aq_tunnel_wrap(buf, n, &segment, id);
    for (size_t at = 0; at < all; at += step + AQ_TUNNEL_HEAD) {
      size_t part =
          all - at < step + AQ_TUNNEL_HEAD ? all - at : step + AQ_TUNNEL_HEAD;
      check(buf[at] == AQ_TUNNEL_TYPE);
      check(memcmp(buf + at + 1, id, AQ_TUNNEL_ID_LEN) == 0);
      check(memcmp(buf + at + AQ_TUNNEL_HEAD, packet + off,
                   part - AQ_TUNNEL_HEAD) == 0);
      off += part - AQ_TUNNEL_HEAD;
    }
    check(off == n);
  }
  check(aq_tunnel_read(buf, 0, &id, &again, &m) != 0);
  return 0;
}
