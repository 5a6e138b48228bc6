/* punch.c - punch datagrams.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/punch.h"

#include "base/wire.h"

#include <string.h>

#define PUNCH_SIGNED (AQ_PUNCH_LEN - AQ_PUNCH_MAC_LEN)

const char *aq_punch_name(uint8_t type) {
  switch (type) {
  case AQ_PUNCH_PROBE:
    return "probe";
  case AQ_PUNCH_ANSWER:
    return "answer";
  case AQ_PUNCH_OPENER:
    return "opener";
  default:
    return "unknown";
  }
}

int aq_punch_format(uint8_t out[AQ_PUNCH_LEN], const aq_punch *p,
                    const uint8_t key[AQ_PUNCH_KEY_LEN], aq_mac_fn mac) {
  aq_writer w;
  aq_writer_init(&w, out, PUNCH_SIGNED);
  aq_write_u8(&w, p->type);
  aq_write_u8(&w, AQ_PUNCH_VERSION);
  aq_write_u8(&w, p->flags);
  aq_write_u8(&w, 0);
  aq_write_bytes(&w, p->session, sizeof(p->session));
  aq_write_u32(&w, p->seq);
  aq_write_u64(&w, p->echo);
  return mac(out + PUNCH_SIGNED, key, AQ_PUNCH_KEY_LEN, out, PUNCH_SIGNED);
}

int aq_punch_peek(aq_punch *p, const uint8_t *data, size_t len) {
  memset(p, 0, sizeof(*p));
  if (len != AQ_PUNCH_LEN || data[0] < AQ_PUNCH_PROBE ||
      data[0] > AQ_PUNCH_OPENER || data[1] != AQ_PUNCH_VERSION ||
      data[3] != 0) {
    return AQ_ERR_FORMAT;
  }
  aq_reader r;
  aq_reader_init(&r, data, len);
  p->type = aq_read_u8(&r);
  aq_read_skip(&r, 1);
  p->flags = aq_read_u8(&r);
  aq_read_skip(&r, 1);
  aq_read_bytes(&r, p->session, sizeof(p->session));
  p->seq = aq_read_u32(&r);
  p->echo = aq_read_u64(&r);
  return 0;
}

int aq_mac_verify(const uint8_t *data, size_t len, size_t want_len,
                  const uint8_t key[AQ_PUNCH_KEY_LEN], aq_mac_fn mac) {
  uint8_t want[AQ_PUNCH_MAC_LEN];
  size_t body = want_len - AQ_PUNCH_MAC_LEN;
  if (len != want_len || mac(want, key, AQ_PUNCH_KEY_LEN, data, body) != 0) {
    return AQ_ERR_WRONG_KEY;
  }
  /* No early end: the time must not tell how much was right. */
  unsigned differ = 0;
  for (size_t i = 0; i < AQ_PUNCH_MAC_LEN; i++) {
    differ |= want[i] ^ data[body + i];
  }
  return differ == 0 ? 0 : AQ_ERR_WRONG_KEY;
}

int aq_punch_verify(const uint8_t *data, size_t len,
                    const uint8_t key[AQ_PUNCH_KEY_LEN], aq_mac_fn mac) {
  return aq_mac_verify(data, len, AQ_PUNCH_LEN, key, mac);
}
