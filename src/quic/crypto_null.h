/* crypto_null.h - packet protection that protects nothing: for endpoints that
 * live in virtual time only (src/sim).
 *
 * Layer:  quic
 * Owner:  contexts belong to ngtcp2 until its delete callback runs
 * Time:   only for tokens, passed in
 * Spec:   none
 *
 * A packet has the sizes and the form of a real one. Its payload is clear, the
 * header mask is zero and the tag is a keyed check of 16 bytes: it finds
 * another key or a changed byte, and anybody could forge it. Nothing here is
 * reached but through a context of aq_tls_ctx_new_null.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_CRYPTO_NULL_H
#define AQ_QUIC_CRYPTO_NULL_H

#include "base/mem.h"
#include "quic/crypto.h"

#define AQ_NULL_SECRET_LEN 32

/* As aq_crypto_set_callbacks. */
void aq_null_set_callbacks(ngtcp2_callbacks *cb);

/* A secret from any bytes: the same ones give the same secret. */
void aq_null_secret(uint8_t out[AQ_NULL_SECRET_LEN], const uint8_t *data,
                    size_t len, uint64_t label);

/* As their namesakes of crypto.h. |mem| is copied into what is made. */
void aq_null_fill_ctx(ngtcp2_crypto_ctx *ctx);
int aq_null_install_initial(ngtcp2_conn *conn, const aq_mem *mem, int server,
                            const ngtcp2_cid *client_dcid);
int aq_null_install_key(ngtcp2_conn *conn, const aq_mem *mem,
                        ngtcp2_encryption_level level, int rx,
                        const uint8_t secret[AQ_NULL_SECRET_LEN],
                        const aq_crypto_tap *tap);
int aq_null_next_key(const aq_mem *mem, uint8_t *next_secret,
                     const uint8_t *secret, size_t len,
                     ngtcp2_crypto_aead_ctx *ctx, uint8_t *iv,
                     const aq_crypto_tap *tap);
void aq_null_drop_key(ngtcp2_crypto_aead_ctx *ctx);

/* A token of the same form as ngtcp2's: without |scid| a NEW_TOKEN, with it one
 * for a Retry whose source that is, made for |odcid|. Returns its length, at
 * most NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN or ..._RETRY_TOKENLEN2. */
size_t aq_null_token(uint8_t *out, const uint8_t secret[32],
                     const ngtcp2_cid *scid, const aq_addr *remote,
                     const ngtcp2_cid *odcid, aq_tstamp now);
/* Returns 0, AQ_ERR_FORMAT (not one of these of ours, or not with that |scid|),
 * AQ_ERR_ADDRESS (made for another). *odcid is set with |scid|. */
int aq_null_token_read(const uint8_t *token, size_t len,
                       const uint8_t secret[32], const ngtcp2_cid *scid,
                       const aq_addr *remote, aq_tstamp now, ngtcp2_cid *odcid,
                       aq_duration *age);
/* As ngtcp2_crypto_write_retry and ngtcp2_crypto_write_connection_close. */
ngtcp2_ssize aq_null_write_retry(uint8_t *out, size_t cap,
                                 const ngtcp2_pkt_hd *hd,
                                 const ngtcp2_cid *scid, const uint8_t *token,
                                 size_t len);
ngtcp2_ssize aq_null_write_close(uint8_t *out, size_t cap,
                                 const ngtcp2_pkt_hd *hd, uint64_t code);

#endif
