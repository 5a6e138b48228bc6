/* tunnel.c - tunnel datagrams.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/tunnel.h"

#include "base/addr.h"

#include <string.h>

int aq_tunnel_is(const uint8_t *data, size_t len) {
  return len > 0 && data[0] == AQ_TUNNEL_TYPE;
}

int aq_tunnel_read(const uint8_t *data, size_t len, const uint8_t **id,
                   const uint8_t **packet, size_t *packet_len) {
  /* A long header, or a short one with its fixed bit. */
  if (!aq_tunnel_is(data, len) || len <= AQ_TUNNEL_HEAD ||
      (data[AQ_TUNNEL_HEAD] & 0xc0) == 0) {
    return AQ_ERR_FORMAT;
  }
  *id = data + 1;
  *packet = data + AQ_TUNNEL_HEAD;
  *packet_len = len - AQ_TUNNEL_HEAD;
  return 0;
}

size_t aq_tunnel_wrap(uint8_t *buf, size_t len, size_t *segment,
                      const uint8_t id[AQ_TUNNEL_ID_LEN]) {
  size_t step = *segment > 0 && *segment < len ? *segment : len;
  size_t n = step > 0 ? (len + step - 1) / step : 0;
  /* From the end, so that nothing is overwritten before it was moved. */
  for (size_t i = n; i-- > 0;) {
    uint8_t *to = buf + i * (step + AQ_TUNNEL_HEAD);
    size_t part = i + 1 == n ? len - i * step : step;
    memmove(to + AQ_TUNNEL_HEAD, buf + i * step, part);
    to[0] = AQ_TUNNEL_TYPE;
    memcpy(to + 1, id, AQ_TUNNEL_ID_LEN);
  }
  if (*segment > 0) {
    *segment += AQ_TUNNEL_HEAD;
  }
  return len + n * AQ_TUNNEL_HEAD;
}

static const uint8_t discard[8] = {0x01};

aq_addr aq_tunnel_addr(const uint8_t id[AQ_TUNNEL_ID_LEN], uint16_t port) {
  uint8_t ip[16];
  memcpy(ip, discard, sizeof(discard));
  memcpy(ip + sizeof(discard), id, AQ_TUNNEL_ID_LEN);
  return aq_addr_v6(ip, port);
}

int aq_tunnel_is_addr(const aq_addr *a) {
  return a->family == 6 && memcmp(a->ip, discard, sizeof(discard)) == 0;
}
