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

/* aq_crypto_wipe zeroes memory in a way that is not optimised away. */
void aq_crypto_wipe(void *p, size_t len);

/* HMAC-SHA-256 cut to 16 bytes: an aq_mac_fn for proto/punch.h. */
int aq_crypto_mac16(uint8_t out[16], const uint8_t *key, size_t keylen,
                    const uint8_t *data, size_t len);
int aq_crypto_sha256(uint8_t out[32], const uint8_t *a, size_t alen,
                     const uint8_t *b, size_t blen);

/* ---- keys of a connection: used by tls.c --------------------------------- */

/* A hook sees the plaintext of 1-RTT packets; see aq_tls_hooks. */
typedef struct aq_crypto_tap {
  void (*sealing)(void *owner, uint8_t *plaintext, size_t len);
  int (*opened)(void *owner, uint8_t *plaintext, size_t len);
  void *owner;
} aq_crypto_tap;

/* The three suites of RFC 9001 by their TLS number: 0x1301, 0x1302, 0x1303.
 * Returns 0 or AQ_ERR_UNSUPPORTED. */
int aq_crypto_ctx_for_suite(ngtcp2_crypto_ctx *ctx, uint16_t suite);
/* aq_crypto_install_initial derives and installs the Initial keys of QUIC v1,
 * and for a client the Retry key. Returns 0 or -1. */
int aq_crypto_install_initial(ngtcp2_conn *conn, int server,
                              const ngtcp2_cid *client_dcid);
/* aq_crypto_make_keys derives a direction's contexts and IV from its secret;
 * the caller owns them. Returns 0 or -1. */
int aq_crypto_make_keys(const ngtcp2_crypto_ctx *ctx, const uint8_t *secret,
                        size_t len, const aq_crypto_tap *tap,
                        ngtcp2_crypto_aead_ctx *aead,
                        ngtcp2_crypto_cipher_ctx *hp, uint8_t iv[12]);
/* aq_crypto_put_key gives such keys to |conn|, which owns them from then on.
 * Returns 0, or not: then they are still the caller's. */
int aq_crypto_put_key(ngtcp2_conn *conn, ngtcp2_encryption_level level, int rx,
                      const uint8_t *secret, size_t len,
                      const ngtcp2_crypto_aead_ctx *aead, const uint8_t iv[12],
                      const ngtcp2_crypto_cipher_ctx *hp);
/* aq_crypto_install_key: one direction of Handshake or 1-RTT keys. |tap| is
 * copied, NULL for none. Returns 0 or -1. */
int aq_crypto_install_key(ngtcp2_conn *conn, ngtcp2_encryption_level level,
                          int rx, const uint8_t *secret, size_t len,
                          const aq_crypto_tap *tap);
/* aq_crypto_next_key: the next generation (RFC 9001 section 6). Writes the
 * secret and the IV, makes the context. Returns 0 or -1. */
int aq_crypto_next_key(ngtcp2_conn *conn, uint8_t *next_secret,
                       const uint8_t *secret, size_t len,
                       ngtcp2_crypto_aead_ctx *ctx, uint8_t *iv,
                       const aq_crypto_tap *tap);

/* aq_crypto_drop_key frees a context that ngtcp2 did not take. */
void aq_crypto_drop_key(ngtcp2_crypto_aead_ctx *ctx);

/* Node secrets: made once per endpoint. The one for stateless resets comes from
 * the identity's private key, so that a node that restarts can still reset what
 * it has forgotten; the one for tokens is drawn. */
typedef struct aq_crypto_secrets {
  uint8_t reset[32]; /* stateless reset tokens */
  uint8_t token[32]; /* Retry and NEW_TOKEN */
} aq_crypto_secrets;
int aq_crypto_secrets_init(aq_crypto_secrets *s, const aq_env *env,
                           const uint8_t seed[32]);
/* token = HMAC(reset key, CID), RFC 9000 section 10.3.2 */
int aq_crypto_reset_token(uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN],
                          const aq_crypto_secrets *s, const ngtcp2_cid *cid);

#endif
