/* observe.c - observation datagrams.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/observe.h"

#include "base/addr.h"
#include "base/wire.h"

#include <string.h>

#define SIGNED (AQ_OBSERVE_LEN - AQ_PUNCH_MAC_LEN)
#define PADDING 5

/* Port and IP as they go over the wire; the same again gives them back. */
static void mask(uint8_t port[2], uint8_t ip[16], uint64_t cookie) {
  for (unsigned i = 0; i < 16; i++) {
    ip[i] ^= (uint8_t)(cookie >> (8 * (i % 8)));
  }
  port[0] ^= (uint8_t)(cookie >> 56);
  port[1] ^= (uint8_t)(cookie >> 48);
}

int aq_observe_format(uint8_t out[AQ_OBSERVE_LEN], const aq_observe *o,
                      const uint8_t key[AQ_OBSERVE_KEY_LEN], aq_mac_fn mac) {
  uint8_t port[2] = {(uint8_t)(o->addr.port >> 8), (uint8_t)o->addr.port};
  uint8_t ip[16];
  static const uint8_t zero[PADDING];
  memcpy(ip, o->addr.ip, sizeof(ip));
  mask(port, ip, o->cookie);
  aq_writer w;
  aq_writer_init(&w, out, SIGNED);
  aq_write_u8(&w, o->type);
  aq_write_u8(&w, AQ_PUNCH_VERSION);
  aq_write_u8(&w, o->flags);
  aq_write_u8(&w, o->delay);
  aq_write_bytes(&w, o->token, sizeof(o->token));
  aq_write_u32(&w, o->seq);
  aq_write_u64(&w, o->cookie);
  aq_write_u8(&w, o->addr.family);
  aq_write_bytes(&w, port, sizeof(port));
  aq_write_bytes(&w, ip, sizeof(ip));
  aq_write_bytes(&w, zero, sizeof(zero));
  return mac(out + SIGNED, key, AQ_OBSERVE_KEY_LEN, out, SIGNED);
}

int aq_observe_is(const uint8_t *data, size_t len) {
  return len > 0 && (data[0] == AQ_OBSERVE_ASK || data[0] == AQ_OBSERVE_TELL);
}

int aq_observe_peek(aq_observe *o, const uint8_t *data, size_t len) {
  uint8_t port[2], ip[16], zero[PADDING];
  memset(o, 0, sizeof(*o));
  if (len != AQ_OBSERVE_LEN || !aq_observe_is(data, len) ||
      data[1] != AQ_PUNCH_VERSION) {
    return AQ_ERR_FORMAT;
  }
  aq_reader r;
  aq_reader_init(&r, data, len);
  o->type = aq_read_u8(&r);
  aq_read_skip(&r, 1);
  o->flags = aq_read_u8(&r);
  o->delay = aq_read_u8(&r);
  aq_read_bytes(&r, o->token, sizeof(o->token));
  o->seq = aq_read_u32(&r);
  o->cookie = aq_read_u64(&r);
  o->addr.family = aq_read_u8(&r);
  aq_read_bytes(&r, port, sizeof(port));
  aq_read_bytes(&r, ip, sizeof(ip));
  aq_read_bytes(&r, zero, sizeof(zero));
  static const uint8_t none[PADDING];
  if (memcmp(zero, none, sizeof(zero)) != 0 ||
      o->delay > AQ_OBSERVE_MAX_DELAY) {
    return AQ_ERR_FORMAT;
  }
  if (o->type == AQ_OBSERVE_ASK) {
    return o->addr.family == 0 ? 0 : AQ_ERR_FORMAT;
  }
  mask(port, ip, o->cookie);
  o->addr.port = (uint16_t)(port[0] << 8 | port[1]);
  if (o->addr.family == 4) {
    memcpy(o->addr.ip, ip, 4);
  } else if (o->addr.family == 6) {
    memcpy(o->addr.ip, ip, 16);
    aq_addr_normalize(&o->addr);
  } else {
    return AQ_ERR_FORMAT;
  }
  return o->addr.port != 0 ? 0 : AQ_ERR_FORMAT;
}

int aq_observe_verify(const uint8_t *data, size_t len,
                      const uint8_t key[AQ_OBSERVE_KEY_LEN], aq_mac_fn mac) {
  return aq_mac_verify(data, len, AQ_OBSERVE_LEN, key, mac);
}
