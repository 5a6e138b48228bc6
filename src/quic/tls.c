/* tls.c - wolfSSL set-up and the handshake's driving.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/tls_int.h"

#include <stdio.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "quic/crypto.h"
#include "quic/crypto_null.h"
#include "quic/identity.h"

#define PARAMS_MAX 512

/* ---- the handshake's callbacks --------------------------------------------
 */

static ngtcp2_encryption_level from_wolf(WOLFSSL_ENCRYPTION_LEVEL level) {
  switch (level) {
  case wolfssl_encryption_initial:
    return NGTCP2_ENCRYPTION_LEVEL_INITIAL;
  case wolfssl_encryption_early_data:
    return NGTCP2_ENCRYPTION_LEVEL_0RTT;
  case wolfssl_encryption_handshake:
    return NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE;
  case wolfssl_encryption_application:
    break;
  }
  return NGTCP2_ENCRYPTION_LEVEL_1RTT;
}

static WOLFSSL_ENCRYPTION_LEVEL to_wolf(ngtcp2_encryption_level level) {
  switch (level) {
  case NGTCP2_ENCRYPTION_LEVEL_INITIAL:
    return wolfssl_encryption_initial;
  case NGTCP2_ENCRYPTION_LEVEL_0RTT:
    return wolfssl_encryption_early_data;
  case NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE:
    return wolfssl_encryption_handshake;
  case NGTCP2_ENCRYPTION_LEVEL_1RTT:
    break;
  }
  return wolfssl_encryption_application;
}

static int take_remote_params(aq_tls *t) {
  const uint8_t *blob = NULL;
  size_t len = 0;
  int rv;
  if (t->params_done) {
    return 0;
  }
  wolfSSL_get_peer_quic_transport_params(t->ssl, &blob, &len);
  if (!blob) {
    /* RFC 9001 section 8.2: missing_extension */
    ngtcp2_conn_set_tls_alert(t->conn, 109);
    t->error = AQ_ERR_PROTOCOL;
    return -1;
  }
  t->params_done = 1;
  rv = t->hooks->remote_params(t->owner, blob, len);
  if (rv != 0) {
    t->error = rv;
    return -1;
  }
  return 0;
}

static int give_local_params(aq_tls *t) {
  uint8_t buf[PARAMS_MAX];
  size_t len = t->hooks->local_params(t->owner, buf, sizeof(buf));
  return len && wolfSSL_set_quic_transport_params(t->ssl, buf, len) ==
                     WOLFSSL_SUCCESS
             ? 0
             : -1;
}

static int set_suite(aq_tls *t) {
  ngtcp2_crypto_ctx ctx;
  const WOLFSSL_CIPHER *cipher;
  if (ngtcp2_conn_get_crypto_ctx2(t->conn)->aead.native_handle) {
    return 0;
  }
  cipher = wolfSSL_get_current_cipher(t->ssl);
  if (!cipher || aq_crypto_ctx_for_suite(
                     &ctx, (uint16_t)wolfSSL_CIPHER_get_id(cipher)) != 0) {
    return -1;
  }
  ngtcp2_conn_set_crypto_ctx(t->conn, &ctx);
  return 0;
}

static aq_crypto_tap tap_of(aq_tls *t) {
  aq_crypto_tap tap = {t->hooks->sealing, t->hooks->opened, t->owner};
  return tap;
}

/* The server sends its parameters in EncryptedExtensions, which wolfSSL writes
 * right after this at the handshake level; and it must know the client's before
 * it installs keys (their version information). */
static int on_secrets(WOLFSSL *ssl, WOLFSSL_ENCRYPTION_LEVEL wl,
                      const uint8_t *rx, const uint8_t *tx, size_t len) {
  aq_tls *t = wolfSSL_get_app_data(ssl);
  ngtcp2_encryption_level level = from_wolf(wl);
  aq_crypto_tap tap = tap_of(t);

  if (level == NGTCP2_ENCRYPTION_LEVEL_0RTT) {
    return 1; /* not offered, not accepted */
  }
  if (t->server && level == NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE &&
      take_remote_params(t) != 0) {
    return 0;
  }
  if (set_suite(t) != 0) {
    return 0;
  }
  if (rx) {
    if (!t->server && level == NGTCP2_ENCRYPTION_LEVEL_1RTT &&
        take_remote_params(t) != 0) {
      return 0;
    }
    if (aq_crypto_install_key(t->conn, level, 1, rx, len, &tap) != 0) {
      return 0;
    }
  }
  if (tx) {
    if (aq_crypto_install_key(t->conn, level, 0, tx, len, &tap) != 0) {
      return 0;
    }
    if (t->server && level == NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE &&
        give_local_params(t) != 0) {
      return 0;
    }
  }
  return 1;
}

static int on_handshake_data(WOLFSSL *ssl, WOLFSSL_ENCRYPTION_LEVEL level,
                             const uint8_t *data, size_t len) {
  aq_tls *t = wolfSSL_get_app_data(ssl);
  int rv = ngtcp2_conn_submit_crypto_data(t->conn, from_wolf(level), data, len);
  if (rv != 0) {
    ngtcp2_conn_set_tls_error(t->conn, rv);
    return 0;
  }
  return 1;
}

static int on_flush(WOLFSSL *ssl) {
  (void)ssl;
  return 1;
}

static int on_alert(WOLFSSL *ssl, WOLFSSL_ENCRYPTION_LEVEL level,
                    uint8_t alert) {
  aq_tls *t = wolfSSL_get_app_data(ssl);
  (void)level;
  ngtcp2_conn_set_tls_alert(t->conn, alert);
  if (!t->error) {
    t->error = alert == 120 ? AQ_ERR_ALPN : AQ_ERR_TLS;
  }
  return 1;
}

static const WOLFSSL_QUIC_METHOD quic_method = {on_secrets, on_handshake_data,
                                                on_flush, on_alert};

static int is_allowed(const aq_tls_ctx *ctx, const aq_peer_id *id) {
  size_t i;
  if (!ctx->allow) {
    return 1;
  }
  for (i = 0; i < ctx->allow_count; i++) {
    if (aq_peer_id_compare(&ctx->allow[i], id) == 0) {
      return 1;
    }
  }
  return 0;
}

int aq_tls_take_key(aq_tls *t, const uint8_t key[AQ_ED25519_KEY_LEN]) {
  aq_peer_id id;
  if (aq_peer_id_from_key(&id, key, AQ_ED25519_KEY_LEN) != 0) {
    t->error = AQ_ERR_TLS;
    return 0;
  }
  if (t->have_expect && aq_peer_id_compare(&t->expect, &id) != 0) {
    t->error = AQ_ERR_WRONG_KEY;
    return 0;
  }
  if (t->server && !is_allowed(t->ctx, &id)) {
    t->error = AQ_ERR_NOT_ALLOWED;
    return 0;
  }
  t->peer = id;
  memcpy(t->peer_key, key, AQ_ED25519_KEY_LEN);
  t->have_peer = 1;
  return 1;
}

/* wolfSSL calls it with the SubjectPublicKeyInfo whose key CertificateVerify
 * has to match; DER leaves one encoding for an Ed25519 key, so comparing bytes
 * can't disagree with wolfSSL's own decoding. |preverify| is 0 here: a raw key
 * has no chain. */
static int on_verify(int preverify, WOLFSSL_X509_STORE_CTX *store) {
  aq_tls *t = store->userCtx;
  const uint8_t *key;

  (void)preverify;
  if (!t || store->totalCerts != 1 ||
      !(key = aq_identity_spki_key(store->certs[0].buffer,
                                   store->certs[0].length))) {
    if (t) {
      t->error = AQ_ERR_TLS;
    }
    return 0;
  }
  return aq_tls_take_key(t, key);
}

/* ---- contexts ---------------------------------------------------------------
 */

static int use_identity(WOLFSSL_CTX *c, const aq_identity *id) {
  uint8_t spki[AQ_SPKI_LEN], key[AQ_TLS_KEY_LEN];
  int rv;
  aq_identity_spki(spki, id->public_key);
  aq_identity_tls_key(key, id);
  rv = wolfSSL_CTX_use_certificate_buffer(c, spki, sizeof(spki),
                                          WOLFSSL_FILETYPE_ASN1);
  if (rv == WOLFSSL_SUCCESS) {
    rv = wolfSSL_CTX_use_PrivateKey_buffer(c, key, sizeof(key),
                                           WOLFSSL_FILETYPE_ASN1);
  }
  aq_crypto_wipe(key, sizeof(key));
  return rv == WOLFSSL_SUCCESS ? 0 : -1;
}

/* Every call's failure is fatal: a context with one of them missing would
 * accept what it must not. */
static int setup(WOLFSSL_CTX *c, const aq_endpoint_params *p) {
  static const char rpk[1] = {WOLFSSL_CERT_TYPE_RPK};
  int hybrid[2] = {WOLFSSL_X25519MLKEM768, WOLFSSL_ECC_X25519};
  int classic[1] = {WOLFSSL_ECC_X25519};
  int off = p->pqc == AQ_PQC_OFF;

  wolfSSL_CTX_set_verify(
      c, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
  return wolfSSL_CTX_set_quic_method(c, &quic_method) == WOLFSSL_SUCCESS &&
                 wolfSSL_CTX_set_client_cert_type(c, rpk, 1) ==
                     WOLFSSL_SUCCESS &&
                 wolfSSL_CTX_set_server_cert_type(c, rpk, 1) ==
                     WOLFSSL_SUCCESS &&
                 use_identity(c, p->identity) == 0 &&
                 wolfSSL_CTX_set_cipher_list(
                     c, "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:"
                        "TLS13-CHACHA20-POLY1305-SHA256") == WOLFSSL_SUCCESS &&
                 wolfSSL_CTX_set_groups(c, off ? classic : hybrid,
                                        off ? 1 : 2) == WOLFSSL_SUCCESS &&
                 wolfSSL_CTX_set1_sigalgs_list(c, "ED25519") == WOLFSSL_SUCCESS
             ? 0
             : -1;
}

static void append_alpn(char *list, const char *name) {
  if (*list) {
    strcat(list, ",");
  }
  strcat(list, name);
}

void aq_tls_ctx_fill(aq_tls_ctx *ctx, const aq_endpoint_params *p) {
  size_t i;
  ctx->pqc = p->pqc;
  for (i = 0; i < p->alpn_count; i++) {
    append_alpn(ctx->alpn, p->alpn[i]);
  }
  strcpy(ctx->alpn_all, ctx->alpn);
  if (!aq_tls_ctx_has_alpn(ctx, AQ_ALPN_COORDINATION)) {
    append_alpn(ctx->alpn_all, AQ_ALPN_COORDINATION);
  }
}

const char *aq_tls_ctx_alpn(const aq_tls_ctx *ctx, int all) {
  return all ? ctx->alpn_all : ctx->alpn;
}

int aq_tls_ctx_has_alpn(const aq_tls_ctx *ctx, const char *alpn) {
  size_t len = strlen(alpn);
  const char *p = ctx->alpn;
  while (*p) {
    size_t n = strcspn(p, ",");
    if (n == len && memcmp(p, alpn, n) == 0) {
      return 1;
    }
    p += n + (p[n] == ',');
  }
  return 0;
}

int aq_tls_ctx_new(aq_tls_ctx **pctx, const aq_endpoint_params *p) {
  aq_tls_ctx *ctx;
  *pctx = NULL;
  if (wolfSSL_Init() != WOLFSSL_SUCCESS) {
    return AQ_ERR_TLS;
  }
  ctx = XMALLOC(sizeof(*ctx), NULL, DYNAMIC_TYPE_CTX);
  if (!ctx) {
    wolfSSL_Cleanup();
    return AQ_ERR_NOMEM;
  }
  memset(ctx, 0, sizeof(*ctx));
  aq_tls_ctx_fill(ctx, p);
  if (p->allow) {
    ctx->allow = XMALLOC((p->allow_count + 1) * sizeof(*ctx->allow), NULL,
                         DYNAMIC_TYPE_CTX);
    if (!ctx->allow) {
      aq_tls_ctx_del(ctx);
      return AQ_ERR_NOMEM;
    }
    ctx->allow_count = p->allow_count;
    if (p->allow_count) {
      memcpy(ctx->allow, p->allow, p->allow_count * sizeof(*ctx->allow));
    }
  }
  ctx->client = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
  ctx->server = wolfSSL_CTX_new(wolfTLSv1_3_server_method());
  if (!ctx->client || !ctx->server || setup(ctx->client, p) != 0 ||
      setup(ctx->server, p) != 0 ||
      wolfSSL_CTX_no_ticket_TLSv13(ctx->server) != 0) {
    aq_tls_ctx_del(ctx);
    return AQ_ERR_TLS;
  }
  *pctx = ctx;
  return 0;
}

void aq_tls_ctx_del(aq_tls_ctx *ctx) {
  if (!ctx) {
    return;
  }
  if (ctx->is_null) {
    aq_tls_null_ctx_del(ctx);
    return;
  }
  wolfSSL_CTX_free(ctx->client);
  wolfSSL_CTX_free(ctx->server);
  XFREE(ctx->allow, NULL, DYNAMIC_TYPE_CTX);
  XFREE(ctx, NULL, DYNAMIC_TYPE_CTX);
  wolfSSL_Cleanup();
}

int aq_tls_init(aq_tls *t, aq_tls_ctx *ctx, int server, const char *alpn,
                const aq_peer_id *expect, const aq_tls_hooks *hooks,
                void *owner) {
  const char *protocols = alpn ? alpn : ctx->alpn_all;
  memset(t, 0, sizeof(*t));
  t->ctx = ctx;
  t->server = (uint8_t)(server != 0);
  t->hooks = hooks;
  t->owner = owner;
  if (expect) {
    t->have_expect = 1;
    t->expect = *expect;
  }
  if (ctx->is_null) {
    return aq_tls_null_init(t, protocols);
  }
  t->ssl = wolfSSL_new(server ? ctx->server : ctx->client);
  if (!t->ssl) {
    return AQ_ERR_NOMEM;
  }
  wolfSSL_SetCertCbCtx(t->ssl, t);
  if (wolfSSL_set_app_data(t->ssl, t) != WOLFSSL_SUCCESS ||
      wolfSSL_UseALPN(t->ssl, (char *)(uintptr_t)protocols,
                      (unsigned)strlen(protocols),
                      WOLFSSL_ALPN_FAILED_ON_MISMATCH) != WOLFSSL_SUCCESS) {
    aq_tls_free(t);
    return AQ_ERR_TLS;
  }
  if (server) {
    wolfSSL_set_accept_state(t->ssl);
    return 0;
  }
  wolfSSL_set_connect_state(t->ssl);
  if ((ctx->pqc != AQ_PQC_OFF &&
       wolfSSL_UseKeyShare(t->ssl, WOLFSSL_X25519MLKEM768) !=
           WOLFSSL_SUCCESS) ||
      wolfSSL_UseKeyShare(t->ssl, WOLFSSL_ECC_X25519) != WOLFSSL_SUCCESS) {
    aq_tls_free(t);
    return AQ_ERR_TLS;
  }
  return 0;
}

void aq_tls_free(aq_tls *t) {
  aq_tls_shrink(t);
  t->conn = NULL;
}

void aq_tls_shrink(aq_tls *t) {
  if (t->null) {
    aq_tls_null_shrink(t);
  }
  wolfSSL_free(t->ssl);
  t->ssl = NULL;
}

/* ---- driving
 * ------------------------------------------------------------------ */

static int finish(aq_tls *t) {
  char *name = NULL;
  unsigned short len = 0;
  const char *group = wolfSSL_get_curve_name(t->ssl);

  if (!t->have_peer || !t->params_done) {
    t->error = AQ_ERR_TLS;
    return -1;
  }
  /* RFC 9001 section 8.1: no agreement is no_application_protocol. */
  if (wolfSSL_ALPN_GetProtocol(t->ssl, &name, &len) != WOLFSSL_SUCCESS ||
      !name || len >= sizeof(t->alpn)) {
    ngtcp2_conn_set_tls_alert(t->conn, 120);
    t->error = AQ_ERR_ALPN;
    return -1;
  }
  memcpy(t->alpn, name, len);
  t->alpn[len] = 0;
  t->post_quantum = group && strstr(group, "MLKEM") != NULL;
  ngtcp2_conn_tls_handshake_completed(t->conn);
  return 0;
}

static int drive(aq_tls *t) {
  int rv = wolfSSL_quic_do_handshake(t->ssl);
  int err;
  if (rv > 0) {
    return finish(t);
  }
  err = wolfSSL_get_error(t->ssl, rv);
  if (err == WOLFSSL_ERROR_WANT_READ || err == WOLFSSL_ERROR_WANT_WRITE) {
    return 0;
  }
  if (!t->error) {
    t->error = AQ_ERR_TLS;
  }
  return -1;
}

/* Initial keys come from |dcid|, a connection ID that is no secret. */
static int install_initial(aq_tls *t, const ngtcp2_cid *dcid) {
  if (t->ctx->is_null) {
    return aq_null_install_initial(t->conn, &t->ctx->mem, t->server, dcid);
  }
  return aq_crypto_install_initial(t->conn, t->server, dcid);
}

int aq_tls_client_initial(aq_tls *t) {
  if (install_initial(t, ngtcp2_conn_get_dcid2(t->conn)) != 0) {
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  if (t->ctx->is_null) {
    return aq_tls_null_client_initial(t);
  }
  if (give_local_params(t) != 0 || drive(t) != 0) {
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  return 0;
}

int aq_tls_recv_client_initial(aq_tls *t, const ngtcp2_cid *dcid) {
  return install_initial(t, dcid) == 0 ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
}

int aq_tls_recv_retry(aq_tls *t, const ngtcp2_pkt_hd *hd) {
  return install_initial(t, &hd->scid) == 0 ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
}

int aq_tls_recv_crypto_data(aq_tls *t, ngtcp2_encryption_level level,
                            const uint8_t *data, size_t len) {
  int rv;
  if (t->ctx->is_null) {
    return aq_tls_null_recv_crypto_data(t, level, data, len);
  }
  if (!t->ssl) {
    return 0; /* shrunk: nothing after the handshake matters to us */
  }
  if (len && wolfSSL_provide_quic_data(t->ssl, to_wolf(level), data, len) !=
                 WOLFSSL_SUCCESS) {
    t->error = t->error ? t->error : AQ_ERR_TLS;
    return NGTCP2_ERR_CRYPTO;
  }
  if (!ngtcp2_conn_get_handshake_completed2(t->conn)) {
    return drive(t) == 0 ? 0 : NGTCP2_ERR_CRYPTO;
  }
  rv = wolfSSL_process_quic_post_handshake(t->ssl);
  if (rv == WOLFSSL_SUCCESS) {
    return 0;
  }
  rv = wolfSSL_get_error(t->ssl, rv);
  return rv == WOLFSSL_ERROR_WANT_READ || rv == WOLFSSL_ERROR_WANT_WRITE
             ? 0
             : NGTCP2_ERR_CRYPTO;
}

int aq_tls_version_negotiation(aq_tls *t, uint32_t version,
                               const ngtcp2_cid *dcid) {
  (void)t;
  (void)version;
  (void)dcid;
  return NGTCP2_ERR_CALLBACK_FAILURE; /* only version 1 is ever offered */
}

int aq_tls_update_key(aq_tls *t, uint8_t *rx_secret, uint8_t *tx_secret,
                      ngtcp2_crypto_aead_ctx *rx_aead, uint8_t *rx_iv,
                      ngtcp2_crypto_aead_ctx *tx_aead, uint8_t *tx_iv,
                      const uint8_t *current_rx, const uint8_t *current_tx,
                      size_t len) {
  aq_crypto_tap tap = tap_of(t);
  if (t->ctx->is_null) {
    const aq_mem *mem = &t->ctx->mem;
    if (aq_null_next_key(mem, rx_secret, current_rx, len, rx_aead, rx_iv,
                         &tap) != 0) {
      return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    if (aq_null_next_key(mem, tx_secret, current_tx, len, tx_aead, tx_iv,
                         &tap) != 0) {
      aq_null_drop_key(rx_aead);
      return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
  }
  if (aq_crypto_next_key(t->conn, rx_secret, current_rx, len, rx_aead, rx_iv,
                         &tap) != 0) {
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  if (aq_crypto_next_key(t->conn, tx_secret, current_tx, len, tx_aead, tx_iv,
                         &tap) != 0) {
    aq_crypto_drop_key(rx_aead);
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  return 0;
}

void aq_tls_set_callbacks(const aq_tls_ctx *ctx, ngtcp2_callbacks *cb) {
  if (ctx->is_null) {
    aq_null_set_callbacks(cb);
  } else {
    aq_crypto_set_callbacks(cb);
  }
}

int aq_tls_ctx_is_null(const aq_tls_ctx *ctx) {
  return ctx->is_null;
}

uint8_t aq_tls_alert(const aq_tls *t) {
  return t->conn ? ngtcp2_conn_get_tls_alert(t->conn) : 0;
}
