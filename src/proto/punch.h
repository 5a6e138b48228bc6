/* punch.h - punch datagrams: the small, authenticated, non-QUIC datagrams that
 * open NATs and prove that an address answers.
 *
 * Layer:  proto
 * Owner:  values of the caller
 * Time:   none
 * Spec:   docs/protocol.md section 4
 *
 * Layout (40 bytes, fixed): type, version, flags, zero, session[8], sequence
 * u32, echo u64 (an answer repeats the probe's cookie, a probe carries its
 * own), mac[16]. Bits 0x40 and 0x80 of the type are clear, so it is never taken
 * for QUIC.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_PUNCH_H
#define AQ_PROTO_PUNCH_H

#include "proto/ctl.h"

#define AQ_PUNCH_LEN 40
#define AQ_PUNCH_VERSION 1
#define AQ_PUNCH_MAC_LEN 16

typedef enum aq_punch_type {
  AQ_PUNCH_PROBE = 0x01,
  AQ_PUNCH_ANSWER = 0x02,
  AQ_PUNCH_OPENER = 0x03 /* low TTL: meant to die before the peer */
} aq_punch_type;

#define AQ_PUNCH_FLAG_INITIATOR 0x01u

typedef struct aq_punch {
  uint8_t type;
  uint8_t flags;
  uint8_t session[AQ_CTL_SESSION_LEN];
  uint32_t seq;
  uint64_t echo;
} aq_punch;

/* "probe", "answer", "opener"; "unknown". */
const char *aq_punch_name(uint8_t type);

/* aq_mac_fn computes a 16-byte MAC (HMAC-SHA-256 cut to 16 bytes in the
 * product). Returns 0 or an error. */
typedef int (*aq_mac_fn)(uint8_t out[AQ_PUNCH_MAC_LEN], const uint8_t *key,
                         size_t keylen, const uint8_t *data, size_t len);

/* aq_mac_verify: |data| has |want_len| bytes of which the last
 * AQ_PUNCH_MAC_LEN are the MAC of those before, compared in constant time.
 * Returns 0 or AQ_ERR_WRONG_KEY. */
int aq_mac_verify(const uint8_t *data, size_t len, size_t want_len,
                  const uint8_t key[AQ_PUNCH_KEY_LEN], aq_mac_fn mac);

/* aq_punch_format writes AQ_PUNCH_LEN bytes. Returns 0 or the MAC's error. */
int aq_punch_format(uint8_t out[AQ_PUNCH_LEN], const aq_punch *p,
                    const uint8_t key[AQ_PUNCH_KEY_LEN], aq_mac_fn mac);
/* aq_punch_peek reads the fields without checking the MAC, so that the session
 * can be found. Returns 0 or AQ_ERR_FORMAT (length, type, version, zero). */
int aq_punch_peek(aq_punch *p, const uint8_t *data, size_t len);
/* aq_punch_verify checks the MAC in constant time.
 * Returns 0 or AQ_ERR_WRONG_KEY. */
int aq_punch_verify(const uint8_t *data, size_t len,
                    const uint8_t key[AQ_PUNCH_KEY_LEN], aq_mac_fn mac);

#endif
