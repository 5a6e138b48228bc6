/* observe.h - observation datagrams: a peer asks its coordinator how it sees
 * one of the peer's sockets, and from where the answer is to come.
 *
 * Layer:  proto
 * Owner:  values of the caller
 * Time:   none
 * Spec:   docs/protocol.md section 7; RFC 5780 for what it is good for
 *
 * Layout (64 bytes, fixed): type, version, flags, delay (seconds), token[8],
 * sequence u32, cookie u64, family, port u16, ip[16], zero[5], mac[16]. Port
 * and IP are XORed with the cookie, so that no gateway rewrites them. An answer
 * is as long as the question and goes to where it came from, and nobody but a
 * registered peer is answered: nothing can be reflected or amplified.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_OBSERVE_H
#define AQ_PROTO_OBSERVE_H

#include "proto/punch.h"

#define AQ_OBSERVE_LEN 64
#define AQ_OBSERVE_TOKEN_LEN AQ_CTL_TOKEN_LEN
#define AQ_OBSERVE_KEY_LEN AQ_PUNCH_KEY_LEN

typedef enum aq_observe_type {
  AQ_OBSERVE_ASK = 0x04,
  AQ_OBSERVE_TELL = 0x05
} aq_observe_type;

/* Of an ASK: who answers. The coordinator's other port, its other address, or
 * both; without a flag the socket that was asked. A coordinator that lacks such
 * a one is silent. */
#define AQ_OBSERVE_OTHER_PORT 0x01u
#define AQ_OBSERVE_OTHER_ADDR 0x02u
#define AQ_OBSERVE_FLAGS (AQ_OBSERVE_OTHER_PORT | AQ_OBSERVE_OTHER_ADDR)
/* The longest delay of an answer, in seconds. */
#define AQ_OBSERVE_MAX_DELAY 180u

typedef struct aq_observe {
  uint8_t type;
  uint8_t flags;
  uint8_t delay;                       /* seconds until the answer */
  uint8_t token[AQ_OBSERVE_TOKEN_LEN]; /* of the registration, from C */
  uint32_t seq;
  uint64_t cookie; /* the asker's; the answer repeats it */
  aq_addr addr;    /* of a TELL: where the ASK came from; else family 0 */
} aq_observe;

/* aq_observe_format writes AQ_OBSERVE_LEN bytes. Returns 0 or the MAC's
 * error. */
int aq_observe_format(uint8_t out[AQ_OBSERVE_LEN], const aq_observe *o,
                      const uint8_t key[AQ_OBSERVE_KEY_LEN], aq_mac_fn mac);
/* 1 when |data| may be one: its first byte says so. */
int aq_observe_is(const uint8_t *data, size_t len);
/* aq_observe_peek reads the fields without checking the MAC, so that the token
 * can be looked up. Returns 0 or AQ_ERR_FORMAT. */
int aq_observe_peek(aq_observe *o, const uint8_t *data, size_t len);
/* aq_observe_verify checks the MAC in constant time.
 * Returns 0 or AQ_ERR_WRONG_KEY. */
int aq_observe_verify(const uint8_t *data, size_t len,
                      const uint8_t key[AQ_OBSERVE_KEY_LEN], aq_mac_fn mac);

#endif
