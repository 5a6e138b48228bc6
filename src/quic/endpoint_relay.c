/* endpoint_relay.c - as a relay: tunnels between two peers that are connected
 * to us, and the datagrams in them.
 *
 * A datagram passes only when it comes from where an end's connection to us is
 * proven to be, and goes to where the other one's is, as long as it came: so
 * nothing is amplified, nobody can aim us at a third one, and a rebinding is
 * followed as soon as the connection's is.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <string.h>

int aq_relay_init(aq_endpoint *ep) {
  const aq_endpoint_params *p = &ep->shared.params;
  aq_ring_init(&ep->relay_ring, AQ_RELAY_RING);
  return p->can_relay ? aq_relay_new(&ep->relay, p->relay_rate,
                                     p->relay_total_rate, &ep->env)
                      : 0;
}

/* ---- tunnels ---------------------------------------------------------------
 */

uint64_t aq_relay_asked(aq_endpoint *ep, const aq_link *from,
                        const aq_link *to) {
  uint64_t error = ep->relay == NULL || aq_tunnel_is_socket(from->socket) ||
                           aq_tunnel_is_socket(to->socket)
                       ? AQ_CTL_ERR_NOT_ALLOWED
                       : aq_relay_admit(ep->relay, from->id, to->id);
  if (error != 0) {
    ep->stats.relay_tunnels_refused++;
  }
  if (error == AQ_CTL_ERR_OVERLOADED || error == AQ_CTL_ERR_RATE_LIMITED) {
    AQ_LIMIT_HIT(ep, limit_relay_tunnels);
  }
  return error;
}

void aq_relay_agreed(aq_endpoint *ep, const aq_link *from, const aq_link *to,
                     const uint8_t id[AQ_TUNNEL_ID_LEN]) {
  uint32_t before = aq_relay_count(ep->relay);
  if (aq_relay_open(ep->relay, ep->now, id, from->id, to->id) == 0) {
    ep->stats.relay_tunnels_opened += aq_relay_count(ep->relay) - before;
  }
}

void aq_relay_tell_over(aq_endpoint *ep, aq_id conn,
                        const uint8_t id[AQ_TUNNEL_ID_LEN]) {
  aq_ctl m;
  memset(&m, 0, sizeof(m));
  m.type = AQ_CTL_CANCEL;
  memcpy(m.session, id, sizeof(m.session));
  (void)aq_ctl_send(aq_link_get(ep, conn), &m);
}

void aq_relay_over(aq_link *l, const uint8_t id[AQ_TUNNEL_ID_LEN]) {
  aq_endpoint *ep = l->ep;
  aq_id other = ep->relay != NULL ? aq_relay_close(ep->relay, id, l->id) : 0;
  if (other != 0) {
    aq_relay_tell_over(ep, other, id);
  }
}

void aq_relay_gone(aq_link *l) {
  aq_endpoint *ep = l->ep;
  uint8_t id[AQ_TUNNEL_ID_LEN];
  aq_id other;
  while (ep->relay != NULL &&
         (other = aq_relay_forget(ep->relay, l->id, id)) != 0) {
    aq_relay_tell_over(ep, other, id);
  }
}

void aq_relay_idle(aq_endpoint *ep) {
  uint8_t id[AQ_TUNNEL_ID_LEN];
  aq_id end[2];
  while (ep->relay != NULL && aq_relay_expire(ep->relay, ep->now, id, end)) {
    aq_relay_tell_over(ep, end[0], id);
    aq_relay_tell_over(ep, end[1], id);
  }
}

/* ---- datagrams -------------------------------------------------------------
 */

/* Not where its last packet came from: anybody can write a sender's address. */
static int is_from(const aq_link *l, const aq_datagram *d) {
  return l != NULL && l->c != NULL && !l->doomed && d->socket == l->socket &&
         aq_addr_equal(&d->remote, aq_conn_proven(l->c));
}

static int queue(aq_endpoint *ep, const aq_link *to, const uint8_t *data,
                 size_t len) {
  if (ep->relay_out == NULL) {
    /* Not zeroed: an entry is written whole before it is read. */
    ep->relay_out =
        aq_mem_resize(&ep->mem, NULL, AQ_RELAY_RING * sizeof(*ep->relay_out));
  }
  if (ep->relay_out == NULL || aq_ring_is_full(&ep->relay_ring)) {
    return 0;
  }
  aq_relay_out *o = &ep->relay_out[aq_ring_push(&ep->relay_ring)];
  o->socket = to->socket;
  o->local = to->local;
  o->remote = *aq_conn_proven(to->c);
  o->len = len;
  memcpy(o->data, data, len);
  return 1;
}

static int may_pass(aq_endpoint *ep, aq_relay_tunnel *t, int from, size_t len) {
  switch (aq_relay_take(ep->relay, ep->now, t, from, len)) {
  case AQ_RELAY_OK:
    return 1;
  case AQ_RELAY_OVER_TUNNEL:
    AQ_LIMIT_HIT(ep, limit_relay_rate);
    break;
  case AQ_RELAY_OVER_PEER:
    AQ_LIMIT_HIT(ep, limit_relay_peer_rate);
    break;
  case AQ_RELAY_OVER_TOTAL:
    AQ_LIMIT_HIT(ep, limit_relay_total_rate);
    break;
  }
  return 0;
}

void aq_relay_datagram(aq_endpoint *ep, const aq_datagram *d,
                       const uint8_t id[AQ_TUNNEL_ID_LEN], const uint8_t *data,
                       size_t len) {
  aq_id end[2];
  if (ep->relay == NULL) {
    ep->stats.datagrams_dropped_unknown++;
    return;
  }
  aq_relay_tunnel *t =
      len <= AQ_RELAY_LEN ? aq_relay_find(ep->relay, id, end) : NULL;
  if (t == NULL) {
    ep->stats.relay_dropped++;
    return;
  }
  const aq_link *l[2] = {aq_link_get(ep, end[0]), aq_link_get(ep, end[1])};
  int from = is_from(l[1], d);
  const aq_link *to = l[!from];
  if ((!from && !is_from(l[0], d)) || to == NULL || to->c == NULL ||
      to->doomed || aq_tunnel_is_socket(to->socket)) {
    ep->stats.relay_dropped++;
    return;
  }
  if (!may_pass(ep, t, from, len)) {
    return;
  }
  if (!queue(ep, to, data, len)) {
    AQ_LIMIT_HIT(ep, limit_relay_rate);
    return;
  }
  ep->stats.relay_datagrams++;
  ep->stats.relay_bytes += len;
}

int aq_relay_poll(aq_endpoint *ep, aq_transmit *t, uint8_t *buf) {
  if (aq_ring_is_empty(&ep->relay_ring)) {
    return 0;
  }
  const aq_relay_out *o = &ep->relay_out[aq_ring_pop(&ep->relay_ring)];
  memset(t, 0, sizeof(*t));
  t->socket = o->socket;
  t->remote = o->remote;
  t->local = o->local;
  t->segment = t->len = o->len;
  memcpy(buf, o->data, o->len);
  /* Those of one burst have one length, but for the last. */
  for (int n = 1; n < AQ_RELAY_BATCH && !aq_ring_is_empty(&ep->relay_ring) &&
                  t->len == n * t->segment;
       n++) {
    o = &ep->relay_out[aq_ring_at(&ep->relay_ring, 0)];
    if (o->len > t->segment || o->socket != t->socket ||
        !aq_addr_equal(&o->remote, &t->remote) ||
        !aq_addr_equal(&o->local, &t->local)) {
      break;
    }
    (void)aq_ring_pop(&ep->relay_ring);
    memcpy(buf + t->len, o->data, o->len);
    t->len += o->len;
  }
  return 1;
}
