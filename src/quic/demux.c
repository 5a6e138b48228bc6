/* SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"
#include "quic/token.h"

#include <string.h>

#define AQ_MIN_INITIAL 1200 /* RFC 9000 section 14.1 */
/* RFC 9000 10.3: a reset has 21 bytes or more, and is always smaller than what
 * it answers, so that two nodes that know nothing fall silent. Small packets
 * are answered too, since all that a quiet peer sends is a PING. */
#define AQ_MIN_RESET_TRIGGER 22
#define AQ_MAX_RESET 64
#define AQ_MIN_RESET 21

/* An answer without a connection, over a tunnel. */
static int out_over_tunnel(aq_endpoint *ep, uint32_t socket,
                           const uint8_t *data, size_t len) {
  uint8_t buf[AQ_OUT_LEN];
  aq_transmit t = {.socket = socket, .len = len};
  if (len > sizeof(buf) - AQ_TUNNEL_HEAD) {
    return 0;
  }
  memcpy(buf, data, len);
  return aq_tunnel_send(ep, &t, buf) &&
         aq_demux_out(ep, t.socket, &t.local, &t.remote, 0, buf, t.len);
}

int aq_demux_out(aq_endpoint *ep, uint32_t socket, const aq_addr *local,
                 const aq_addr *to, uint8_t ttl, const uint8_t *data,
                 size_t len) {
  if (aq_tunnel_is_socket(socket)) {
    return out_over_tunnel(ep, socket, data, len);
  }
  if (ep->out == NULL) {
    /* Not zeroed: an entry is written whole before it is read. */
    ep->out = aq_mem_resize(&ep->mem, NULL, AQ_OUT_RING * sizeof(*ep->out));
  }
  if (ep->out == NULL || len > AQ_OUT_LEN || aq_ring_is_full(&ep->out_ring)) {
    ep->stats.datagrams_dropped_limit++;
    return 0;
  }
  aq_out *o = &ep->out[aq_ring_push(&ep->out_ring)];
  memset(&o->t, 0, sizeof(o->t));
  o->t.socket = socket;
  o->t.remote = *to;
  if (local != NULL) {
    o->t.local = *local;
  }
  o->t.ttl = ttl;
  o->t.len = len;
  o->t.segment = len;
  memcpy(o->data, data, len);
  return 1;
}

static void answer(aq_endpoint *ep, const aq_datagram *d, const uint8_t *data,
                   size_t len) {
  AQ_RECORD(ep, aq_record_quic(ep, AQ_RECORD_QUIC_SENT, NULL, d->socket,
                               &d->remote, data, len, 0));
  aq_demux_out(ep, d->socket, &d->local, &d->remote, 0, data, len);
}

/* ---- answers without a connection
 * ---------------------------------------------- */

static void send_version_negotiation(aq_endpoint *ep, const aq_datagram *d,
                                     const ngtcp2_version_cid *vc, size_t len) {
  if (len < AQ_MIN_INITIAL || !ep->shared.params.accept ||
      !aq_limits_version(&ep->limits, ep->now, &d->remote)) {
    ep->stats.datagrams_dropped_unknown++;
    return;
  }
  uint8_t buf[AQ_OUT_LEN];
  uint32_t versions[2] = {0x1a2a3a4a, NGTCP2_PROTO_VER_V1}; /* RFC 9000 15 */
  ngtcp2_ssize n = ngtcp2_pkt_write_version_negotiation(
      buf, sizeof(buf), (uint8_t)aq_rand_u64(&ep->rand), vc->scid, vc->scidlen,
      vc->dcid, vc->dcidlen, versions, 2);
  if (n > 0) {
    ep->stats.version_negotiations_sent++;
    answer(ep, d, buf, (size_t)n);
  }
}

static void send_stateless_reset(aq_endpoint *ep, const aq_datagram *d,
                                 const uint8_t *data, size_t len) {
  if (len < AQ_MIN_RESET_TRIGGER) {
    ep->stats.datagrams_dropped_unknown++;
    return;
  }
  if (!aq_limits_reset(&ep->limits, ep->now, &d->remote)) {
    AQ_LIMIT_HIT(ep, limit_stateless_reset);
    return;
  }
  ngtcp2_cid cid;
  ngtcp2_cid_init(&cid, data + 1, AQ_CID_LEN);
  ngtcp2_stateless_reset_token token;
  uint8_t raw[NGTCP2_STATELESS_RESET_TOKENLEN];
  uint8_t random[AQ_MAX_RESET];
  size_t size = len - 1 < AQ_MAX_RESET ? len - 1 : AQ_MAX_RESET;
  if (aq_crypto_reset_token(raw, &ep->shared.secrets, &cid) != 0 ||
      aq_crypto_random(&ep->env, random, sizeof(random)) != 0) {
    return;
  }
  memcpy(token.data, raw, sizeof(raw));
  uint8_t buf[AQ_MAX_RESET];
  ngtcp2_ssize n = ngtcp2_pkt_write_stateless_reset2(
      buf, size, &token, random, size - NGTCP2_STATELESS_RESET_TOKENLEN);
  if (n > 0) {
    ep->stats.stateless_resets_sent++;
    answer(ep, d, buf, (size_t)n);
  }
}

static void send_retry(aq_endpoint *ep, const aq_datagram *d,
                       const ngtcp2_pkt_hd *hd) {
  ngtcp2_cid scid;
  uint8_t buf[AQ_OUT_LEN];
  scid.datalen = AQ_CID_LEN;
  if (aq_crypto_random(&ep->env, scid.data, AQ_CID_LEN) != 0) {
    return;
  }
  ngtcp2_ssize n = aq_token_write_retry(buf, sizeof(buf), &ep->shared, hd,
                                        &d->remote, &scid, ep->now);
  if (n > 0) {
    ep->stats.retries_sent++;
    answer(ep, d, buf, (size_t)n);
  }
}

static void send_invalid_token(aq_endpoint *ep, const aq_datagram *d,
                               const ngtcp2_pkt_hd *hd) {
  uint8_t buf[AQ_OUT_LEN];
  ngtcp2_ssize n = aq_token_write_refusal(buf, sizeof(buf), &ep->shared, hd);
  ep->stats.handshakes_refused++;
  if (n > 0) {
    answer(ep, d, buf, (size_t)n);
  }
}

/* ---- new handshakes
 * -------------------------------------------------------------- */

/* Returns 1 when the newcomer may get a connection. */
static int admit(aq_endpoint *ep, const aq_datagram *d, const ngtcp2_pkt_hd *hd,
                 aq_token_verdict token) {
  const aq_endpoint_params *p = &ep->shared.params;
  if (ep->nlinks >= p->max_connections) {
    AQ_LIMIT_HIT(ep, limit_connections);
    ep->stats.datagrams_dropped_limit++;
    return 0;
  }
  int proven = token == AQ_TOKEN_RETRY || token == AQ_TOKEN_NEW;
  aq_admit verdict =
      aq_limits_admit(&ep->limits, &d->remote, proven, p->max_half_open);
  if (verdict == AQ_ADMIT_YES && p->always_retry && !proven) {
    verdict = AQ_ADMIT_RETRY;
  }
  switch (verdict) {
  case AQ_ADMIT_YES:
    return 1;
  case AQ_ADMIT_RETRY:
    send_retry(ep, d, hd);
    return 0;
  case AQ_ADMIT_HALF_OPEN:
    AQ_LIMIT_HIT(ep, limit_half_open);
    break;
  case AQ_ADMIT_PREFIX:
    AQ_LIMIT_HIT(ep, limit_prefix_half_open);
    break;
  }
  ep->stats.datagrams_dropped_limit++;
  return 0;
}

static void feed(aq_link *l, const aq_datagram *d, const uint8_t *data,
                 size_t len, const ngtcp2_pkt_hd *hd) {
  aq_endpoint *ep = l->ep;
  AQ_RECORD(ep, aq_record_quic(ep, AQ_RECORD_QUIC_RECEIVED, l, d->socket,
                               &d->remote, data, len, 0));
  /* A client's own address is the kernel's choice, so its socket names the
   * path; a server answers from the address that was asked. */
  const aq_local_socket *s = aq_ep_socket(ep, d->socket);
  const aq_addr *local = l->client && s != NULL ? &s->bound : &d->local;
  aq_conn_verdict v = aq_conn_handle_packet(l->c, ep->now, d->socket, local,
                                            &d->remote, d->ecn, data, len);
  if (l->unproven) { /* it knows the connection ID that we chose */
    l->unproven = 0;
    aq_guard_answered(&ep->guard, &l->remote);
  }
  if (v == AQ_CONN_OK || l->state != AQ_LINK_ARRIVING) {
    aq_link_touch(l);
    return;
  }
  /* The second half of a ClientHello came first. A peer that we know to be on
   * its way sends both again sooner than it would hear of a Retry. */
  if (v == AQ_CONN_SEND_RETRY && hd != NULL &&
      aq_session_expecting(ep, d->socket, &d->remote) == NULL) {
    send_retry(ep, d, hd);
  }
  aq_link_drop(l);
}

static void on_initial(aq_endpoint *ep, const aq_datagram *d,
                       const uint8_t *data, size_t len) {
  ngtcp2_pkt_hd hd;
  if (len < AQ_MIN_INITIAL || ngtcp2_accept(&hd, data, len) != 0) {
    ep->stats.datagrams_dropped_unknown++;
    return;
  }
  if (!ep->shared.params.accept || ep->closing) {
    ep->stats.handshakes_refused++;
    return;
  }
  ngtcp2_cid odcid;
  aq_token_verdict token =
      aq_token_check(&ep->shared, &hd, &d->remote, ep->now, &odcid);
  if (token == AQ_TOKEN_BAD) {
    send_invalid_token(ep, d, &hd);
    return;
  }
  if (!admit(ep, d, &hd, token)) {
    return;
  }
  int type = token == AQ_TOKEN_RETRY ? NGTCP2_TOKEN_TYPE_RETRY
             : token == AQ_TOKEN_NEW ? NGTCP2_TOKEN_TYPE_NEW_TOKEN
                                     : NGTCP2_TOKEN_TYPE_UNKNOWN;
  if (token == AQ_TOKEN_NONE) {
    hd.token = NULL;
    hd.tokenlen = 0;
  }
  aq_link *l =
      aq_link_accept(ep, d, &hd, token == AQ_TOKEN_RETRY ? &odcid : NULL, type);
  if (l == NULL) {
    ep->stats.datagrams_dropped_limit++;
    return;
  }
  feed(l, d, data, len, &hd);
}

/* ---- one datagram
 * ----------------------------------------------------------------- */

static void on_long(aq_endpoint *ep, const aq_datagram *d, const uint8_t *data,
                    size_t len) {
  ngtcp2_version_cid vc;
  int rv = ngtcp2_pkt_decode_version_cid(&vc, data, len, AQ_CID_LEN);
  if (rv == NGTCP2_ERR_VERSION_NEGOTIATION ||
      (rv == 0 && vc.version != 0 && vc.version != NGTCP2_PROTO_VER_V1)) {
    send_version_negotiation(ep, d, &vc, len);
    return;
  }
  if (rv != 0) {
    ep->stats.datagrams_dropped_malformed++;
    return;
  }
  aq_link *l = vc.dcidlen <= AQ_HASH_MAX_KEY
                   ? aq_hash_get(&ep->cids, vc.dcid, vc.dcidlen)
                   : NULL;
  if (l != NULL && !l->doomed && l->c != NULL) {
    feed(l, d, data, len, NULL);
  } else {
    on_initial(ep, d, data, len);
  }
}

/* A stateless reset carries no ID of ours: its token belongs to the connection
 * with that address (RFC 9000 10.3.1). Returns 1 when it was one. */
static int is_reset(aq_endpoint *ep, const aq_datagram *d, const uint8_t *data,
                    size_t len) {
  aq_link *l = aq_place_get(ep, &d->remote);
  if (l == NULL || len < AQ_MIN_RESET || aq_conn_is_closed(l->c)) {
    return 0;
  }
  feed(l, d, data, len, NULL);
  return l->doomed || aq_conn_is_closed(l->c);
}

static void on_short(aq_endpoint *ep, const aq_datagram *d, const uint8_t *data,
                     size_t len) {
  if (len < 1 + AQ_CID_LEN) {
    ep->stats.datagrams_dropped_malformed++;
    return;
  }
  aq_link *l = aq_hash_get(&ep->cids, data + 1, AQ_CID_LEN);
  if (l == NULL || l->doomed || l->c == NULL) {
    if (is_reset(ep, d, data, len)) {
      return;
    }
    send_stateless_reset(ep, d, data, len);
    return;
  }
  feed(l, d, data, len, NULL);
}

void aq_demux_handle(aq_endpoint *ep, const aq_datagram *d, const uint8_t *data,
                     size_t len) {
  if (len == 0) {
    ep->stats.datagrams_dropped_malformed++;
    return;
  }
  if (data[0] & 0x80) {
    on_long(ep, d, data, len);
  } else if (data[0] & 0x40) {
    on_short(ep, d, data, len);
  } else if (aq_observe_is(data, len)) {
    aq_observe_datagram(ep, d, data, len);
  } else if (aq_tunnel_is(data, len)) {
    aq_tunnel_datagram(ep, d, data, len);
  } else {
    aq_session_punched(ep, d, data, len);
  }
}
