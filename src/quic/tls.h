/* tls.h - TLS 1.3 with mutual raw public keys (RFC 7250), by wolfSSL.
 *
 * Layer:  quic
 * Owner:  aq_tls_ctx: one per endpoint; aq_tls: embedded in a connection
 * Time:   none
 * Spec:   RFC 9001, RFC 7250; docs/protocol.md section 1
 *
 * Identity is decided here and nowhere else: the key that the handshake
 * proves is compared inside wolfSSL's verify callback.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_TLS_H
#define AQ_QUIC_TLS_H

#include <ngtcp2/ngtcp2.h>

#include "base/mem.h"

typedef struct aq_tls_ctx aq_tls_ctx;
typedef struct aq_tls_null aq_tls_null;

/* aq_tls_ctx_new: |params| gives identity, ALPN list, pqc and allow-list; all
 * copied. Returns 0, AQ_ERR_TLS or AQ_ERR_NOMEM. */
int aq_tls_ctx_new(aq_tls_ctx **pctx, const aq_endpoint_params *params);
void aq_tls_ctx_del(aq_tls_ctx *ctx);
/* aq_tls_ctx_new_null: the handshakes of this context prove nothing and its
 * packets are clear (tls_null.c): for aq_endpoint_new_null only. */
int aq_tls_ctx_new_null(aq_tls_ctx **pctx, const aq_endpoint_params *params,
                        const aq_mem *mem);
int aq_tls_ctx_is_null(const aq_tls_ctx *ctx);
/* The packet protection that fits: encrypt, decrypt, hp_mask and both deletes.
 */
void aq_tls_set_callbacks(const aq_tls_ctx *ctx, ngtcp2_callbacks *cb);

/* The endpoint's protocols as a comma-separated list, borrowed; with |all| also
 * AQ_ALPN_COORDINATION. */
const char *aq_tls_ctx_alpn(const aq_tls_ctx *ctx, int all);
/* 1 when |alpn| is one of the endpoint's own. */
int aq_tls_ctx_has_alpn(const aq_tls_ctx *ctx, const char *alpn);

/* What a connection gives and hears, all called inside aq_tls_*. */
typedef struct aq_tls_hooks {
  /* Encode the local transport parameters, ours included. Returns the length
   * or 0 on error. */
  size_t (*local_params)(void *owner, uint8_t *out, size_t cap);
  /* The peer's blob is here (borrowed). Returns 0 or an aq_error. */
  int (*remote_params)(void *owner, const uint8_t *blob, size_t len);
  /* A 1-RTT packet's plaintext is about to be sealed / was just opened; it may
   * be rewritten in place, same length. opened() returns 0; anything else
   * makes the packet undecryptable. */
  void (*sealing)(void *owner, uint8_t *plaintext, size_t len);
  int (*opened)(void *owner, uint8_t *plaintext, size_t len);
} aq_tls_hooks;

typedef struct aq_tls {
  struct WOLFSSL *ssl; /* NULL once shrunk */
  aq_tls_null *null;   /* in its place, of a null context; NULL otherwise */
  aq_tls_ctx *ctx;
  ngtcp2_conn *conn;
  void *owner;
  const aq_tls_hooks *hooks;
  uint8_t server, have_expect, have_peer, post_quantum, params_done;
  int error; /* why the handshake failed, an aq_error; 0 */
  aq_peer_id expect, peer;
  uint8_t peer_key[AQ_ED25519_KEY_LEN];
  char alpn[AQ_MAX_ALPN_LEN];
} aq_tls;

/* aq_tls_init: |conn| may be set later through t->conn, before the first
 * packet. |alpn| is what a client offers, comma-separated; NULL for a server,
 * which takes any of the context's and AQ_ALPN_COORDINATION. Returns 0,
 * AQ_ERR_TLS, AQ_ERR_NOMEM. */
int aq_tls_init(aq_tls *t, aq_tls_ctx *ctx, int server, const char *alpn,
                const aq_peer_id *expect, const aq_tls_hooks *hooks,
                void *owner);
void aq_tls_free(aq_tls *t);
/* aq_tls_shrink frees what only the handshake needs; call it once the
 * handshake is confirmed. Later CRYPTO frames are ignored. */
void aq_tls_shrink(aq_tls *t);

/* The ngtcp2 callbacks that are TLS's; each returns 0 or an NGTCP2_ERR_*. The
 * connection's own callbacks call these with its |t|. */
int aq_tls_client_initial(aq_tls *t);
int aq_tls_recv_client_initial(aq_tls *t, const ngtcp2_cid *dcid);
int aq_tls_recv_retry(aq_tls *t, const ngtcp2_pkt_hd *hd);
int aq_tls_recv_crypto_data(aq_tls *t, ngtcp2_encryption_level level,
                            const uint8_t *data, size_t len);
int aq_tls_version_negotiation(aq_tls *t, uint32_t version,
                               const ngtcp2_cid *dcid);
int aq_tls_update_key(aq_tls *t, uint8_t *rx_secret, uint8_t *tx_secret,
                      ngtcp2_crypto_aead_ctx *rx_aead, uint8_t *rx_iv,
                      ngtcp2_crypto_aead_ctx *tx_aead, uint8_t *tx_iv,
                      const uint8_t *current_rx, const uint8_t *current_tx,
                      size_t secretlen);
/* aq_tls_alert gives the TLS alert that was raised, 0 when none. */
uint8_t aq_tls_alert(const aq_tls *t);

#endif
