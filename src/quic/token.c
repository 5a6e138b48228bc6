/* token.c - see token.h.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/token.h"

#include "base/addr.h"
#include "quic/crypto_null.h"

#include <string.h>

typedef struct sockaddr_of {
  struct sockaddr_storage ss;
  ngtcp2_socklen len;
} sockaddr_of;

/* Call it on its own: as an argument it may come after |a->len| was read. */
static const ngtcp2_sockaddr *to_sockaddr(sockaddr_of *a, const aq_addr *addr) {
  a->len = (ngtcp2_socklen)aq_addr_to_sockaddr(&a->ss, addr, 0);
  return (const ngtcp2_sockaddr *)&a->ss;
}

ngtcp2_ssize aq_token_make(uint8_t *out, const aq_conn_shared *shared,
                           const aq_addr *remote, aq_tstamp now) {
  const uint8_t *secret = shared->secrets.token;
  size_t len = sizeof(shared->secrets.token);
  sockaddr_of a;
  if (aq_tls_ctx_is_null(shared->tls)) {
    return (ngtcp2_ssize)aq_null_token(out, secret, NULL, remote, NULL, now);
  }
  const ngtcp2_sockaddr *sa = to_sockaddr(&a, remote);
  return ngtcp2_crypto_generate_regular_token2(out, secret, len, sa, a.len,
                                               NULL, 0, now);
}

static aq_token_verdict check_null(const aq_conn_shared *shared,
                                   const ngtcp2_pkt_hd *hd,
                                   const aq_addr *remote, aq_tstamp now,
                                   ngtcp2_cid *odcid) {
  aq_duration age = 0;
  int retry = hd->token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2;
  int rv =
      aq_null_token_read(hd->token, hd->tokenlen, shared->secrets.token,
                         retry ? &hd->dcid : NULL, remote, now, odcid, &age);
  if (rv == AQ_ERR_FORMAT || (!retry && (rv != 0 || age > AQ_TOKEN_LIFE))) {
    return AQ_TOKEN_NONE;
  }
  if (!retry) {
    return AQ_TOKEN_NEW;
  }
  return rv == 0 && age <= AQ_RETRY_LIFE ? AQ_TOKEN_RETRY : AQ_TOKEN_BAD;
}

aq_token_verdict aq_token_check(const aq_conn_shared *shared,
                                const ngtcp2_pkt_hd *hd, const aq_addr *remote,
                                aq_tstamp now, ngtcp2_cid *odcid) {
  const uint8_t *secret = shared->secrets.token;
  size_t len = sizeof(shared->secrets.token);
  sockaddr_of a;
  if (hd->tokenlen == 0) {
    return AQ_TOKEN_NONE;
  }
  if (aq_tls_ctx_is_null(shared->tls)) {
    return check_null(shared, hd, remote, now, odcid);
  }
  const ngtcp2_sockaddr *sa = to_sockaddr(&a, remote);
  if (hd->token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2) {
    int rv = ngtcp2_crypto_verify_retry_token2(
        odcid, hd->token, hd->tokenlen, secret, len, hd->version, sa, a.len,
        &hd->dcid, AQ_RETRY_LIFE, now);
    if (rv == 0) {
      return AQ_TOKEN_RETRY;
    }
    /* A token of another server, or of us before a restart: RFC 9000 8.1.3
     * treats what can't be read as none. */
    return rv == NGTCP2_CRYPTO_ERR_VERIFY_TOKEN ? AQ_TOKEN_BAD : AQ_TOKEN_NONE;
  }
  if (hd->token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_REGULAR &&
      ngtcp2_crypto_verify_regular_token(hd->token, hd->tokenlen, secret, len,
                                         sa, a.len, AQ_TOKEN_LIFE, now) == 0) {
    return AQ_TOKEN_NEW;
  }
  return AQ_TOKEN_NONE;
}

ngtcp2_ssize aq_token_write_retry(uint8_t *out, size_t cap,
                                  const aq_conn_shared *shared,
                                  const ngtcp2_pkt_hd *hd,
                                  const aq_addr *remote, const ngtcp2_cid *scid,
                                  aq_tstamp now) {
  uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2];
  const uint8_t *secret = shared->secrets.token;
  sockaddr_of a;
  ngtcp2_ssize n;
  if (aq_tls_ctx_is_null(shared->tls)) {
    size_t len = aq_null_token(token, secret, scid, remote, &hd->dcid, now);
    return aq_null_write_retry(out, cap, hd, scid, token, len);
  }
  const ngtcp2_sockaddr *sa = to_sockaddr(&a, remote);
  n = ngtcp2_crypto_generate_retry_token2(
      token, secret, sizeof(shared->secrets.token), hd->version, sa, a.len,
      scid, &hd->dcid, now);
  if (n < 0) {
    return n;
  }
  return ngtcp2_crypto_write_retry(out, cap, hd->version, &hd->scid, scid,
                                   &hd->dcid, token, (size_t)n);
}

ngtcp2_ssize aq_token_write_refusal(uint8_t *out, size_t cap,
                                    const aq_conn_shared *shared,
                                    const ngtcp2_pkt_hd *hd) {
  if (aq_tls_ctx_is_null(shared->tls)) {
    return aq_null_write_close(out, cap, hd, NGTCP2_INVALID_TOKEN);
  }
  return ngtcp2_crypto_write_connection_close(out, cap, hd->version, &hd->scid,
                                              &hd->dcid, NGTCP2_INVALID_TOKEN,
                                              NULL, 0);
}
