/* limits.h - how much strangers may cost: half-open handshakes and the answers
 * that are sent without any state.
 *
 * Layer:  quic
 * Owner:  one aq_limits per endpoint, embedded; no allocation
 * Time:   |now| is passed in
 * Spec:   RFC 9000 sections 8.1, 10.3 and 21.11; docs/protocol.md section 6
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_LIMITS_H
#define AQ_QUIC_LIMITS_H

#include "base/addr.h"
#include "base/rate.h"

/* Above this many half-open handshakes every newcomer must prove its address
 * with a Retry token first. */
#define AQ_LIMIT_RETRY_ABOVE 64
/* Half-open handshakes of one /24 or /48: above the first figure a Retry is
 * asked for, above the second nothing is accepted. */
#define AQ_LIMIT_PREFIX_UNPROVEN 32
#define AQ_LIMIT_PREFIX 512
/* ... and over one tunnel, at whose other end is one peer. */
#define AQ_LIMIT_TUNNEL 8
/* RFC 9000 21.11: answers without state, per second. */
#define AQ_LIMIT_RESET_PER_IP 10
#define AQ_LIMIT_RESET_ALL 100
#define AQ_LIMIT_VN_PER_IP 10
#define AQ_LIMIT_VN_ALL 100

#define AQ_LIMIT_SLOTS 4096
#define AQ_LIMIT_IP_SLOTS 512

typedef struct aq_limits {
  uint64_t salt; /* random: nobody can choose who shares a slot with whom */
  uint32_t half_open;
  uint16_t prefix[AQ_LIMIT_SLOTS];
  aq_rate reset_all, vn_all;
  aq_rate reset_ip[AQ_LIMIT_IP_SLOTS];
  aq_rate vn_ip[AQ_LIMIT_IP_SLOTS];
} aq_limits;

void aq_limits_init(aq_limits *l, uint64_t salt);

typedef enum aq_admit {
  AQ_ADMIT_YES,
  AQ_ADMIT_RETRY,     /* after a Retry */
  AQ_ADMIT_HALF_OPEN, /* no: too many half-open */
  AQ_ADMIT_PREFIX     /* no: too many of this prefix */
} aq_admit;
/* aq_limits_admit judges a new handshake of |from|; |proven|: a token showed
 * that it owns the address. Nothing is counted yet. */
aq_admit aq_limits_admit(const aq_limits *l, const aq_addr *from, int proven,
                         uint32_t max_half_open);
void aq_limits_open(aq_limits *l, const aq_addr *from);
void aq_limits_done(aq_limits *l, const aq_addr *from);

/* May a stateless reset or a version negotiation go to |to|? Each yes pays. */
int aq_limits_reset(aq_limits *l, aq_tstamp now, const aq_addr *to);
int aq_limits_version(aq_limits *l, aq_tstamp now, const aq_addr *to);

#endif
