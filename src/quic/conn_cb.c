/* conn_cb.c - ngtcp2's callbacks: each translates and queues, no more.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/conn_int.h"

#include "base/addr.h"

#include <string.h>

#define FAILED NGTCP2_ERR_CALLBACK_FAILURE

/* RFC 9000 section 20.1 */
#define ERROR_INTERNAL 0x01

void aq_conn_fault(aq_conn *c, int err, uint64_t code, const char *text) {
  if (c->fault == 0) {
    c->fault = err;
    c->fault_code = code;
    c->fault_text = text;
  }
}

static int fail_memory(aq_conn *c) {
  aq_conn_fault(c, AQ_ERR_NOMEM, ERROR_INTERNAL, "out of memory");
  return FAILED;
}

/* ---- TLS ---------------------------------------------------------------- */

static int on_client_initial(ngtcp2_conn *q, void *user) {
  (void)q;
  return aq_tls_client_initial(&((aq_conn *)user)->tls);
}

static int on_recv_client_initial(ngtcp2_conn *q, const ngtcp2_cid *dcid,
                                  void *user) {
  (void)q;
  return aq_tls_recv_client_initial(&((aq_conn *)user)->tls, dcid);
}

static int on_recv_retry(ngtcp2_conn *q, const ngtcp2_pkt_hd *hd, void *user) {
  (void)q;
  return aq_tls_recv_retry(&((aq_conn *)user)->tls, hd);
}

static int on_crypto_data(ngtcp2_conn *q, ngtcp2_encryption_level level,
                          uint64_t offset, const uint8_t *data, size_t len,
                          void *user) {
  (void)q;
  (void)offset;
  ((aq_conn *)user)->answered = 1;
  return aq_tls_recv_crypto_data(&((aq_conn *)user)->tls, level, data, len);
}

static int on_version_negotiation(ngtcp2_conn *q, uint32_t version,
                                  const ngtcp2_cid *dcid, void *user) {
  (void)q;
  return aq_tls_version_negotiation(&((aq_conn *)user)->tls, version, dcid);
}

static int on_update_key(ngtcp2_conn *q, uint8_t *rx_secret, uint8_t *tx_secret,
                         ngtcp2_crypto_aead_ctx *rx, uint8_t *rx_iv,
                         ngtcp2_crypto_aead_ctx *tx, uint8_t *tx_iv,
                         const uint8_t *now_rx, const uint8_t *now_tx,
                         size_t len, void *user) {
  (void)q;
  return aq_tls_update_key(&((aq_conn *)user)->tls, rx_secret, tx_secret, rx,
                           rx_iv, tx, tx_iv, now_rx, now_tx, len);
}

static int on_completed(ngtcp2_conn *q, void *user) {
  (void)q;
  ((aq_conn *)user)->completed = 1;
  return 0;
}

static int on_confirmed(ngtcp2_conn *q, void *user) {
  (void)q;
  ((aq_conn *)user)->confirmed = 1;
  return 0;
}

/* ---- streams ------------------------------------------------------------ */

static int on_stream_open(ngtcp2_conn *q, int64_t id, void *user) {
  aq_conn *c = user;
  aq_stream *s = aq_conn_stream_opened(c, id);
  if (s == NULL) {
    return fail_memory(c);
  }
  return ngtcp2_conn_set_stream_user_data(q, id, s) == 0 ? 0 : FAILED;
}

static int on_stream_data(ngtcp2_conn *q, uint32_t flags, int64_t id,
                          uint64_t offset, const uint8_t *data, size_t len,
                          void *user, void *stream) {
  aq_conn *c = user;
  (void)q;
  (void)id;
  (void)offset;
  if (stream == NULL) {
    c->give_data += len;
    return 0;
  }
  if (!((aq_stream *)stream)->control) {
    c->flows |= AQ_CONN_FLOW_STREAM;
  }
  int fin = (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0;
  return aq_stream_on_data(stream, data, len, fin) == 0 ? 0 : fail_memory(c);
}

static int on_stream_acked(ngtcp2_conn *q, int64_t id, uint64_t offset,
                           uint64_t len, void *user, void *stream) {
  (void)q;
  (void)id;
  (void)user;
  if (stream != NULL) {
    aq_stream_on_acked(stream, offset + len, (size_t)len);
  }
  return 0;
}

static int on_stream_close(ngtcp2_conn *q, uint32_t flags, int64_t id,
                           uint64_t code, void *user, void *stream) {
  (void)q;
  (void)flags;
  (void)code;
  aq_conn *c = user;
  if (stream != NULL) {
    aq_conn_stream_closed(c, stream);
  } else {
    aq_conn_give_stream(c, id);
  }
  return 0;
}

static int on_stream_reset(ngtcp2_conn *q, int64_t id, uint64_t size,
                           uint64_t code, void *user, void *stream) {
  (void)q;
  (void)id;
  (void)size;
  (void)user;
  if (stream != NULL) {
    aq_stream_on_reset(stream, code);
  }
  return 0;
}

static int on_stop_sending(ngtcp2_conn *q, int64_t id, uint64_t code,
                           void *user, void *stream) {
  (void)q;
  (void)id;
  (void)user;
  if (stream != NULL) {
    aq_stream_on_stopped(stream, code);
  }
  return 0;
}

static int on_max_stream_data(ngtcp2_conn *q, int64_t id, uint64_t max,
                              void *user, void *stream) {
  (void)q;
  (void)id;
  (void)max;
  (void)user;
  if (stream != NULL) {
    aq_stream_unblock(stream);
  }
  return 0;
}

static int on_max_streams_bidi(ngtcp2_conn *q, uint64_t max, void *user) {
  aq_conn *c = user;
  (void)q;
  (void)max;
  c->say_streams |= c->want_bidi;
  c->want_bidi = 0;
  return 0;
}

static int on_max_streams_uni(ngtcp2_conn *q, uint64_t max, void *user) {
  aq_conn *c = user;
  (void)q;
  (void)max;
  c->say_streams |= c->want_uni;
  c->want_uni = 0;
  return 0;
}

/* ---- datagrams ---------------------------------------------------------- */

static int on_datagram(ngtcp2_conn *q, uint32_t flags, const uint8_t *data,
                       size_t len, void *user) {
  aq_conn *c = user;
  (void)q;
  (void)flags;
  c->dgram_received++;
  c->flows |= AQ_CONN_FLOW_DATAGRAM;
  if (c->dgram_rx.count >= c->dgram_rx.max && c->dgram_rx.count > 0) {
    aq_dgram_pop(&c->dgram_rx);
    c->dgram_dropped++;
  }
  if (aq_dgram_push(&c->dgram_rx, data, len) != 0) {
    c->dgram_dropped++;
    return 0;
  }
  c->say_dgram_rx = 1;
  return 0;
}

static int on_datagram_acked(ngtcp2_conn *q, uint64_t id, void *user) {
  aq_conn *c = user;
  (void)q;
  if (id & AQ_CARRIER_ID) {
    aq_carrier_acked(&c->carrier, id);
  } else {
    c->dgram_acked++;
  }
  return 0;
}

static int on_datagram_lost(ngtcp2_conn *q, uint64_t id, void *user) {
  aq_conn *c = user;
  (void)q;
  if (id & AQ_CARRIER_ID) {
    c->dirty |= (uint8_t)aq_carrier_lost(&c->carrier, id);
  } else {
    c->dgram_lost++;
  }
  return 0;
}

/* ---- connection IDs, paths, tokens, random bytes ------------------------ */

static void on_rand(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx) {
  const aq_conn *c = ctx->native_handle;
  if (aq_crypto_random(&c->shared->env, dest, len) != 0) {
    memset(dest, 0, len); /* used where nothing must be secret */
  }
}

static int on_new_cid(ngtcp2_conn *q, ngtcp2_cid *cid,
                      ngtcp2_stateless_reset_token *token, size_t len,
                      void *user) {
  aq_conn *c = user;
  (void)q;
  if (c->cid_count >= AQ_CONN_CID_NOTICES ||
      aq_crypto_random(&c->shared->env, cid->data, len) != 0) {
    return FAILED;
  }
  cid->datalen = len;
  if (aq_crypto_reset_token(token->data, &c->shared->secrets, cid) != 0) {
    return FAILED;
  }
  aq_conn_cid_notify(c, cid, 1);
  return 0;
}

static int on_remove_cid(ngtcp2_conn *q, const ngtcp2_cid *cid, void *user) {
  aq_conn *c = user;
  (void)q;
  if (c->cid_count >= AQ_CONN_CID_NOTICES) {
    return FAILED;
  }
  aq_conn_cid_notify(c, cid, 0);
  return 0;
}

static int on_path_challenge(ngtcp2_conn *q, ngtcp2_path_challenge_data *data,
                             void *user) {
  aq_conn *c = user;
  (void)q;
  return aq_crypto_random(&c->shared->env, data->data, sizeof(data->data)) == 0
             ? 0
             : FAILED;
}

static int on_path_validation(ngtcp2_conn *q, uint32_t flags,
                              const ngtcp2_path *path,
                              const ngtcp2_path *fallback,
                              ngtcp2_path_validation_result res, void *user) {
  aq_conn *c = user;
  (void)q;
  (void)fallback;
  if (res != NGTCP2_PATH_VALIDATION_RESULT_ABORTED) {
    c->moving = 0;
  }
  if (res == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS) {
    aq_addr remote;
    aq_addr_from_sockaddr(&remote, (const struct sockaddr *)path->remote.addr,
                          path->remote.addrlen);
    aq_conn_note_proven(c, &remote);
  }
  if (flags & NGTCP2_PATH_VALIDATION_FLAG_NEW_TOKEN) {
    c->new_token = 1;
  }
  return 0;
}

static int on_new_token(ngtcp2_conn *q, const uint8_t *token, size_t len,
                        void *user) {
  aq_conn *c = user;
  (void)q;
  if (len <= sizeof(c->token)) {
    memcpy(c->token, token, len);
    c->token_len = len;
    c->say_token = 1;
  }
  return 0;
}

static int on_stateless_reset(ngtcp2_conn *q,
                              const ngtcp2_pkt_stateless_reset2 *sr,
                              void *user) {
  (void)q;
  (void)sr;
  ((aq_conn *)user)->stateless_reset = 1;
  return 0;
}

void aq_conn_set_callbacks(ngtcp2_callbacks *cb) {
  memset(cb, 0, sizeof(*cb));
  cb->client_initial = on_client_initial;
  cb->recv_client_initial = on_recv_client_initial;
  cb->recv_retry = on_recv_retry;
  cb->recv_crypto_data = on_crypto_data;
  cb->version_negotiation = on_version_negotiation;
  cb->update_key = on_update_key;
  cb->handshake_completed = on_completed;
  cb->handshake_confirmed = on_confirmed;
  cb->stream_open = on_stream_open;
  cb->recv_stream_data = on_stream_data;
  cb->acked_stream_data_offset = on_stream_acked;
  cb->stream_close = on_stream_close;
  cb->stream_reset = on_stream_reset;
  cb->recv_stop_sending = on_stop_sending;
  cb->extend_max_stream_data = on_max_stream_data;
  cb->extend_max_local_streams_bidi = on_max_streams_bidi;
  cb->extend_max_local_streams_uni = on_max_streams_uni;
  cb->recv_datagram = on_datagram;
  cb->ack_datagram = on_datagram_acked;
  cb->lost_datagram = on_datagram_lost;
  cb->rand = on_rand;
  cb->get_new_connection_id2 = on_new_cid;
  cb->remove_connection_id = on_remove_cid;
  cb->get_path_challenge_data2 = on_path_challenge;
  cb->path_validation = on_path_validation;
  cb->recv_new_token = on_new_token;
  cb->recv_stateless_reset2 = on_stateless_reset;
}
