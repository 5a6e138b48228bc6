/* tls_int.h - the context behind both handshakes, the real and the null one.
 *
 * Layer:  quic
 * Owner:  see tls.h
 * Time:   none
 * Spec:   none
 *
 * Only tls.c and tls_null.c include it. A context is a null one from the
 * moment it is made (aq_tls_ctx_new_null), or never.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_TLS_INT_H
#define AQ_QUIC_TLS_INT_H

#include "base/mem.h"
#include "quic/tls.h"

struct aq_tls_ctx {
  struct WOLFSSL_CTX *client, *server;            /* NULL in a null context */
  char alpn[AQ_MAX_ALPN * (AQ_MAX_ALPN_LEN + 1)]; /* "a,b" */
  char alpn_all[(AQ_MAX_ALPN + 1) * (AQ_MAX_ALPN_LEN + 1)]; /* "a,b,antquic" */
  aq_peer_id *allow;                                        /* NULL: any */
  size_t allow_count;
  aq_pqc pqc;
  uint8_t is_null;
  aq_mem mem;                             /* of a null context */
  uint8_t public_key[AQ_ED25519_KEY_LEN]; /* of a null context */
};

/* The protocols and the like; allocates nothing. */
void aq_tls_ctx_fill(aq_tls_ctx *ctx, const aq_endpoint_params *params);

/* The only place where a peer becomes somebody: |key| is what the handshake
 * shows. Returns 1, or 0 with t->error. */
int aq_tls_take_key(aq_tls *t, const uint8_t key[AQ_ED25519_KEY_LEN]);

/* tls_null.c: what the functions of tls.h do for a null context. */
void aq_tls_null_ctx_del(aq_tls_ctx *ctx);
int aq_tls_null_init(aq_tls *t, const char *protocols);
void aq_tls_null_shrink(aq_tls *t);
int aq_tls_null_client_initial(aq_tls *t);
int aq_tls_null_recv_crypto_data(aq_tls *t, ngtcp2_encryption_level level,
                                 const uint8_t *data, size_t len);

#endif
