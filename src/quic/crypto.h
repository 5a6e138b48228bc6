/* crypto.h - packet protection on wolfCrypt, key derivation, MACs, tokens.
 *
 * Layer:  quic
 * Owner:  AEAD and header-protection contexts belong to ngtcp2 until its
 *         delete callbacks run
 * Time:   only for tokens, passed in
 * Spec:   RFC 9001 sections 5 and 6; RFC 5869; RFC 9000 sections 8.1, 10.3
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_CRYPTO_H
#define AQ_QUIC_CRYPTO_H

#include <ngtcp2/ngtcp2.h>

#include "antquic.h"

/* aq_crypto_set_callbacks fills encrypt, decrypt, hp_mask,
 * delete_crypto_aead_ctx and delete_crypto_cipher_ctx. */
void aq_crypto_set_callbacks(ngtcp2_callbacks *cb);

/* Entropy: env.random when given, else wolfSSL's generator. Returns 0 or
 * AQ_ERR_INTERNAL. */
int aq_crypto_random(const aq_env *env, uint8_t *out, size_t len);

/* HMAC-SHA-256 cut to 16 bytes: an aq_mac_fn for proto/punch.h. */
int aq_crypto_mac16(uint8_t out[16], const uint8_t *key, size_t keylen,
                    const uint8_t *data, size_t len);
int aq_crypto_sha256(uint8_t out[32], const uint8_t *a, size_t alen,
                     const uint8_t *b, size_t blen);

/* Node secrets: made once per endpoint. */
typedef struct aq_crypto_secrets {
  uint8_t reset[32]; /* stateless reset tokens */
  uint8_t token[32]; /* Retry and NEW_TOKEN */
} aq_crypto_secrets;
int aq_crypto_secrets_init(aq_crypto_secrets *s, const aq_env *env);
/* token = HMAC(reset key, CID), RFC 9000 section 10.3.2 */
int aq_crypto_reset_token(uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN],
                          const aq_crypto_secrets *s, const ngtcp2_cid *cid);

#endif
