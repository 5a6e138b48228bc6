/* endpoint_tunnel.c - as an end of tunnels: each is a socket of the endpoint's,
 * with an address for the peer, that exists nowhere else. A connection over it
 * knows nothing of the relay; its datagrams get the header on their way out and
 * lose it on their way in, and moving to a direct path is QUIC's migration.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <string.h>

#define FIRST (AQ_MAX_SOCKETS + AQ_MAX_EXTRA_SOCKETS)
/* What is under way when a connection has moved may still arrive. */
#define LINGER (3 * AQ_S)

int aq_tunnel_is_socket(uint32_t index) {
  return index >= FIRST && index < FIRST + AQ_MAX_TUNNELS;
}

aq_tunnel *aq_tunnel_get(const aq_endpoint *ep, uint32_t index) {
  if (ep->tunnel == NULL || !aq_tunnel_is_socket(index)) {
    return NULL;
  }
  aq_tunnel *t = &ep->tunnel[index - FIRST];
  return t->used ? t : NULL;
}

int aq_tunnel_is_over(const aq_endpoint *ep, uint32_t index) {
  const aq_tunnel *t = aq_tunnel_get(ep, index);
  return t != NULL && t->over;
}

aq_tunnel *aq_tunnel_find(const aq_endpoint *ep,
                          const uint8_t id[AQ_TUNNEL_ID_LEN]) {
  for (size_t i = 0; ep->ntunnel > 0 && i < AQ_MAX_TUNNELS; i++) {
    aq_tunnel *t = &ep->tunnel[i];
    if (t->used && memcmp(t->id, id, sizeof(t->id)) == 0) {
      return t;
    }
  }
  return NULL;
}

/* May the coordinator |boot| have one more of what it offers? */
static int has_share(aq_endpoint *ep, uint32_t boot) {
  uint32_t held = 0;
  for (size_t i = 0; i < AQ_MAX_TUNNELS; i++) {
    const aq_tunnel *t = &ep->tunnel[i];
    held += t->used && t->offered && t->via_boot == boot;
  }
  return aq_offer_fits(ep, boot, held, ep->ntunnel, AQ_MAX_TUNNELS);
}

int aq_tunnel_open(aq_endpoint *ep, aq_id via,
                   const uint8_t id[AQ_TUNNEL_ID_LEN], uint64_t owner,
                   int offered, aq_tunnel **out) {
  const aq_link *l = aq_link_get(ep, via);
  if (l == NULL || l->c == NULL || aq_tunnel_is_socket(l->socket)) {
    return AQ_ERR_PEER_NOT_CONNECTED;
  }
  if (ep->tunnel == NULL) {
    ep->tunnel = aq_mem_array(&ep->mem, AQ_MAX_TUNNELS, sizeof(*ep->tunnel));
    if (ep->tunnel == NULL) {
      return AQ_ERR_NOMEM;
    }
  }
  if (aq_tunnel_find(ep, id) != NULL) {
    return AQ_ERR_INVAL; /* a relay that gives out one id twice */
  }
  if (ep->ntunnel == AQ_MAX_TUNNELS) {
    AQ_LIMIT_HIT(ep, limit_tunnels);
    return AQ_ERR_LIMIT;
  }
  if (offered && !has_share(ep, aq_boot_number(l))) {
    return AQ_ERR_LIMIT;
  }
  uint32_t i = 0;
  while (ep->tunnel[i].used) {
    i++;
  }
  aq_tunnel *t = &ep->tunnel[i];
  memset(t, 0, sizeof(*t));
  t->used = 1;
  t->offered = (uint8_t)offered;
  memcpy(t->id, id, sizeof(t->id));
  t->owner = owner;
  t->via = l->id;
  t->via_boot = aq_boot_number(l);
  t->relay = l->remote;
  t->local = l->local;
  t->sock.index = FIRST + i;
  /* Of its own: who migrates changes the local address (ngtcp2). */
  t->sock.bound = aq_tunnel_addr(id, 2);
  t->peer = aq_tunnel_addr(id, 1);
  t->close_at = AQ_NEVER;
  ep->ntunnel++;
  *out = t;
  return 0;
}

static void end(aq_endpoint *ep, aq_tunnel *t) {
  t->used = 0;
  ep->ntunnel--;
  if (!t->over) {
    aq_relay_tell_over(ep, t->via, t->id);
  }
}

/* Nobody needs it: at once when nothing ever went over it. */
static void give_back(aq_endpoint *ep, aq_tunnel *t) {
  if (t->owner != 0 || t->links != 0) {
    return;
  }
  if (t->carried) {
    t->close_at = aq_time_add(ep->now, LINGER);
  } else {
    end(ep, t);
  }
}

void aq_tunnel_release(aq_endpoint *ep, uint64_t owner, const aq_trav *but) {
  for (size_t i = 0; ep->ntunnel > 0 && i < AQ_MAX_TUNNELS; i++) {
    aq_tunnel *t = &ep->tunnel[i];
    if (t->used && t->owner == owner &&
        (but == NULL || aq_trav_key(but, t->id) == NULL)) {
      t->owner = 0;
      give_back(ep, t);
    }
  }
}

void aq_tunnel_hold(aq_endpoint *ep, uint32_t index) {
  aq_tunnel *t = aq_tunnel_get(ep, index);
  if (t != NULL) {
    t->links++;
    t->carried = 1;
    t->close_at = AQ_NEVER;
  }
}

void aq_tunnel_drop(aq_endpoint *ep, uint32_t index) {
  aq_tunnel *t = aq_tunnel_get(ep, index);
  if (t != NULL && t->links > 0) {
    t->links--;
    give_back(ep, t);
  }
}

aq_tstamp aq_tunnel_next(const aq_endpoint *ep) {
  aq_tstamp at = AQ_NEVER;
  for (size_t i = 0; ep->ntunnel > 0 && i < AQ_MAX_TUNNELS; i++) {
    if (ep->tunnel[i].used) {
      at = aq_time_min(at, ep->tunnel[i].close_at);
    }
  }
  return at;
}

void aq_tunnel_timeout(aq_endpoint *ep) {
  for (size_t i = 0; ep->ntunnel > 0 && i < AQ_MAX_TUNNELS; i++) {
    aq_tunnel *t = &ep->tunnel[i];
    if (t->used && t->close_at <= ep->now) {
      end(ep, t);
    }
  }
}

/* ---- its relay is gone, or says that it is over ----------------------------
 */

/* The connections over it look for another path: at once, or if nothing was
 * heard on them for long when they are used next. A relay ends what is idle,
 * and may have its peace. */
static void broken(aq_endpoint *ep, const aq_tunnel *t) {
  aq_list_each(node, &ep->links) {
    aq_link *l = aq_list_entry(node, aq_link, all_node);
    if (l->c == NULL || l->socket != t->sock.index) {
      continue;
    }
    if (aq_time_since(ep->now, aq_conn_heard_at(l->c)) < AQ_RELAY_IDLE / 2) {
      aq_repair_hurry(l);
    }
    aq_link_touch(l);
  }
}

void aq_tunnel_cancelled(aq_link *via, const uint8_t id[AQ_TUNNEL_ID_LEN]) {
  aq_tunnel *t = aq_tunnel_find(via->ep, id);
  if (t != NULL && t->via == via->id) {
    t->over = 1;
    broken(via->ep, t);
  }
}

void aq_tunnel_lost(aq_endpoint *ep, const aq_link *via) {
  for (size_t i = 0; ep->ntunnel > 0 && i < AQ_MAX_TUNNELS; i++) {
    aq_tunnel *t = &ep->tunnel[i];
    if (t->used && t->via == via->id) {
      t->over = 1;
      broken(ep, t);
    }
  }
}

/* ---- datagrams -------------------------------------------------------------
 */

int aq_tunnel_send(aq_endpoint *ep, aq_transmit *t, uint8_t *buf) {
  aq_tunnel *tun = aq_tunnel_get(ep, t->socket);
  const aq_link *l =
      tun != NULL && !tun->over ? aq_link_get(ep, tun->via) : NULL;
  if (l == NULL || l->c == NULL || l->doomed ||
      aq_tunnel_is_socket(l->socket)) {
    return 0;
  }
  tun->relay = l->remote;
  tun->local = l->local;
  t->socket = l->socket;
  t->remote = l->remote;
  t->local = l->local;
  t->ecn = 0; /* a relay doesn't pass it on */
  t->len = aq_tunnel_wrap(buf, t->len, &t->segment, tun->id);
  return 1;
}

void aq_tunnel_datagram(aq_endpoint *ep, const aq_datagram *d,
                        const uint8_t *data, size_t len) {
  const uint8_t *id, *packet;
  size_t packet_len;
  if (aq_tunnel_read(data, len, &id, &packet, &packet_len) != 0) {
    ep->stats.datagrams_dropped_malformed++;
    return;
  }
  aq_tunnel *t = aq_tunnel_find(ep, id);
  if (t == NULL) {
    aq_relay_datagram(ep, d, id, data, len);
    return;
  }
  const aq_link *l = aq_link_get(ep, t->via);
  if (l == NULL || d->socket != l->socket ||
      !aq_addr_equal(&d->remote, &l->remote)) {
    ep->stats.datagrams_dropped_unknown++;
    return;
  }
  t->carried = 1;
  aq_datagram in = {
      .socket = t->sock.index, .remote = t->peer, .local = t->sock.bound};
  aq_demux_handle(ep, &in, packet, packet_len);
}

/* ---- what is told of it ----------------------------------------------------
 */

int aq_tunnel_show(const aq_link *l, aq_addr *remote, aq_addr *local) {
  const aq_tunnel *t = aq_tunnel_get(l->ep, l->socket);
  *remote = t != NULL ? t->relay : l->remote;
  *local = t != NULL ? t->local : l->local;
  return t != NULL;
}
