/* token.h - tokens that prove an address (RFC 9000 section 8.1), and the
 * packets that bring or refuse them.
 *
 * Layer:  quic
 * Owner:  values of the caller
 * Time:   passed in
 * Spec:   RFC 9000 section 8.1
 *
 * The real ones are ngtcp2's. An endpoint with a null TLS has its own, because
 * real ones take the system's entropy, which is not the seed's, and a key that
 * its peer hasn't.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_TOKEN_H
#define AQ_QUIC_TOKEN_H

#include <ngtcp2/ngtcp2_crypto.h>

#include "quic/conn.h"

#define AQ_RETRY_LIFE (10 * AQ_S)
#define AQ_TOKEN_LIFE (24 * 3600 * AQ_S)

typedef enum aq_token_verdict {
  AQ_TOKEN_NONE, /* none, or one that can't be read: RFC 9000 8.1.3 */
  AQ_TOKEN_RETRY,
  AQ_TOKEN_NEW,
  AQ_TOKEN_BAD /* a Retry token that is wrong */
} aq_token_verdict;

/* aq_token_make writes a NEW_TOKEN for |remote|, at most
 * NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN bytes. Returns its length, <= 0: none. */
ngtcp2_ssize aq_token_make(uint8_t *out, const aq_conn_shared *shared,
                           const aq_addr *remote, aq_tstamp now);
/* aq_token_check judges the token of |hd|. *odcid is set with AQ_TOKEN_RETRY.
 */
aq_token_verdict aq_token_check(const aq_conn_shared *shared,
                                const ngtcp2_pkt_hd *hd, const aq_addr *remote,
                                aq_tstamp now, ngtcp2_cid *odcid);
/* A Retry packet whose source is |scid|, and an Initial that closes with
 * INVALID_TOKEN. Return the length, or < 0. */
ngtcp2_ssize aq_token_write_retry(uint8_t *out, size_t cap,
                                  const aq_conn_shared *shared,
                                  const ngtcp2_pkt_hd *hd,
                                  const aq_addr *remote, const ngtcp2_cid *scid,
                                  aq_tstamp now);
ngtcp2_ssize aq_token_write_refusal(uint8_t *out, size_t cap,
                                    const aq_conn_shared *shared,
                                    const ngtcp2_pkt_hd *hd);

#endif
