/* conn_info.c - what others may know of a connection.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/conn_int.h"

#include "base/addr.h"

#include <string.h>

/* Short header, the longest packet number, the AEAD's tag. */
#define PACKET_OVERHEAD (1 + 4 + 16)

aq_id aq_conn_id(const aq_conn *c) {
  return c->id;
}

const aq_tparams *aq_conn_remote_params(const aq_conn *c) {
  return &c->remote_params;
}

int aq_conn_is_open(const aq_conn *c) {
  return c->phase == AQ_CONN_HANDSHAKE || c->phase == AQ_CONN_OPEN;
}

int aq_conn_is_closed(const aq_conn *c) {
  return !aq_conn_is_open(c);
}

const aq_peer_id *aq_conn_peer(const aq_conn *c) {
  return c->established != 0 && c->tls.have_peer ? &c->tls.peer : NULL;
}

uint64_t aq_conn_take_frames_lost(aq_conn *c) {
  uint64_t n = c->carrier.overflow;
  c->carrier.overflow = 0;
  return n;
}

const aq_addr *aq_conn_proven(const aq_conn *c) {
  return &c->proven;
}

int aq_conn_is_migrating(const aq_conn *c) {
  return c->phase == AQ_CONN_OPEN &&
         (c->moving || !aq_addr_equal(&c->remote, &c->proven));
}

const uint8_t *aq_conn_get_token(const aq_conn *c, size_t *len) {
  *len = c->token_len;
  return c->token;
}

uint32_t aq_conn_path_socket(const aq_conn *c, const ngtcp2_path *path) {
  return path->user_data != NULL ? (uint32_t)((uintptr_t)path->user_data - 1)
                                 : c->socket;
}

void aq_conn_read_path(aq_conn *c, const ngtcp2_path *path) {
  c->socket = aq_conn_path_socket(c, path);
  aq_addr_from_sockaddr(&c->remote, (const struct sockaddr *)path->remote.addr,
                        path->remote.addrlen);
  aq_addr_from_sockaddr(&c->local, (const struct sockaddr *)path->local.addr,
                        path->local.addrlen);
}

size_t aq_conn_max_datagram(const aq_conn *c) {
  if (c->phase != AQ_CONN_OPEN || !c->dgram_supported) {
    return 0;
  }
  size_t packet = ngtcp2_conn_get_path_max_tx_udp_payload_size2(c->q);
  size_t used = PACKET_OVERHEAD + ngtcp2_conn_get_dcid2(c->q)->datalen;
  uint64_t frame = packet > used ? packet - used : 0;
  if (frame > c->remote_params.max_datagram) {
    frame = c->remote_params.max_datagram;
  }
  /* Type and length, RFC 9221 section 4. */
  uint64_t head = 1 + (frame <= 64 ? 1 : frame <= 16386 ? 2 : 4);
  return frame > head ? (size_t)(frame - head) : 0;
}

int aq_conn_flushed(const aq_conn *c) {
  if (!aq_conn_is_open(c)) {
    return 1;
  }
  uint64_t dgrams = c->dgram_sent - c->dgram_acked;
  uint64_t lost = c->dgram_lost;
  return c->tx_unacked == 0 && c->dgram_tx.count == 0 && dgrams <= lost &&
         c->carrier.out_count == 0;
}

static aq_state state_of(const aq_conn *c) {
  switch ((aq_conn_phase)c->phase) {
  case AQ_CONN_HANDSHAKE:
    return AQ_STATE_CONNECTING;
  case AQ_CONN_OPEN:
    return aq_conn_is_migrating(c) ? AQ_STATE_MIGRATING : AQ_STATE_CONNECTED;
  default:
    return AQ_STATE_CLOSED;
  }
}

void aq_conn_get_info_of(const aq_conn *c, aq_tstamp now, aq_conn_info *out) {
  ngtcp2_conn_info i;
  (void)now;
  memset(out, 0, sizeof(*out));
  ngtcp2_conn_get_conn_info2(c->q, &i);
  if (c->tls.have_peer) {
    out->peer = c->tls.peer;
    memcpy(out->public_key, c->tls.peer_key, sizeof(out->public_key));
  }
  memcpy(out->alpn, c->tls.alpn, sizeof(out->alpn));
  out->state = state_of(c);
  out->outgoing = c->client;
  out->post_quantum = c->tls.post_quantum;
  out->extensions = c->carrier.tx_kinds != 0;
  out->control = c->has_control;
  out->remote = c->remote;
  out->local = c->local;
  out->rtt = i.smoothed_rtt;
  out->min_rtt = i.min_rtt == UINT64_MAX ? 0 : i.min_rtt;
  out->rttvar = i.rttvar;
  out->bytes_sent = i.bytes_sent;
  out->bytes_received = i.bytes_recv;
  out->packets_sent = i.pkt_sent;
  out->packets_received = i.pkt_recv;
  out->packets_lost = i.pkt_lost;
  out->cwnd = i.cwnd;
  out->bytes_in_flight = i.bytes_in_flight;
  out->datagrams_sent = c->dgram_sent;
  out->datagrams_acked = c->dgram_acked;
  out->datagrams_lost = c->dgram_lost;
  out->datagrams_received = c->dgram_received;
  out->datagrams_dropped = c->dgram_dropped;
  out->max_datagram = aq_conn_max_datagram(c);
  out->max_udp_payload = ngtcp2_conn_get_path_max_tx_udp_payload_size2(c->q);
  out->established = c->established;
  out->last_activity = c->last_activity;
  out->memory = sizeof(*c) + c->chunk_bytes + c->dgram_tx.bytes +
                c->dgram_rx.bytes + c->control_cap +
                c->pool_count * AQ_CHUNK_MAX;
}

size_t aq_conn_get_cids(const aq_conn *c, ngtcp2_cid *out, size_t max) {
  ngtcp2_cid all[AQ_CONN_CID_NOTICES];
  size_t n = ngtcp2_conn_get_scid2(c->q, NULL);
  if (n >= AQ_CONN_CID_NOTICES) {
    return 0; /* ngtcp2 keeps 8 and those being retired */
  }
  n = ngtcp2_conn_get_scid2(c->q, all);
  if (c->odcid.datalen > 0) {
    all[n++] = c->odcid;
  }
  for (size_t i = 0; i < n && i < max; i++) {
    out[i] = all[i];
  }
  return n;
}

uint32_t aq_conn_socket(const aq_conn *c) {
  return c->socket;
}
