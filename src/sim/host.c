/* host.c - hosts: their sockets, what they send and receive, bare sockets.
 *
 * SPDX-License-Identifier: MIT */
#include "sim/sim_int.h"

#include <string.h>

/* Linux's net.ipv4.ip_local_port_range */
#define PORT_FIRST 32768
#define PORT_COUNT 28232

/* ---- sockets ---------------------------------------------------------------
 */

static uint64_t port_hash(const aq_vnode *host, uint8_t family, uint16_t port) {
  return aq_vhash_two((uint64_t)host->id << 24 | (uint64_t)family << 16 | port,
                      1);
}

static int is_any(const aq_addr *a) {
  return aq_addr_classify(a) == AQ_ADDR_UNSPECIFIED;
}

/* The socket for |to|; one with just that address goes before one with any. */
static aq_vsock *find_sock(const aq_vnode *host, const aq_addr *to) {
  aq_vsock *any = NULL;
  aq_ventry *e =
      aq_vtable_first(&host->s->ports, port_hash(host, to->family, to->port));
  for (; e != NULL; e = aq_vtable_next(e)) {
    aq_vsock *k = aq_owner_of(e, aq_vsock, by_port);
    if (k->host != host || k->bound.port != to->port ||
        k->bound.family != to->family) {
      continue;
    }
    if (aq_addr_same_ip(&k->bound, to)) {
      return k;
    }
    if (is_any(&k->bound)) {
      any = k;
    }
  }
  return any;
}

static const aq_addr *first_addr(const aq_vnode *host, uint8_t family) {
  for (size_t i = 0; i < host->naddr; i++) {
    if (host->addr[i].family == family) {
      return &host->addr[i];
    }
  }
  return NULL;
}

/* Would |bind| and another socket of the host hear the same datagrams? */
static int is_taken(const aq_vnode *host, const aq_addr *bind) {
  const aq_vsock *k = find_sock(host, bind);
  if (k != NULL || !is_any(bind)) {
    return k != NULL;
  }
  for (size_t i = 0; i < host->naddr; i++) {
    aq_addr a = host->addr[i];
    a.port = bind->port;
    if (a.family == bind->family && find_sock(host, &a) != NULL) {
      return 1;
    }
  }
  return 0;
}

static int choose_port(aq_vnode *host, aq_addr *bound) {
  uint32_t start = (uint32_t)aq_rand_below(&host->rand, PORT_COUNT);
  if (bound->port != 0) {
    return is_taken(host, bound) ? AQ_ERR_ADDRESS : 0;
  }
  for (uint32_t i = 0; i < PORT_COUNT; i++) {
    bound->port = (uint16_t)(PORT_FIRST + (start + i) % PORT_COUNT);
    if (!is_taken(host, bound)) {
      return 0;
    }
  }
  return AQ_ERR_ADDRESS;
}

int aq_vsock_open(aq_vnode *host, const aq_addr *bind, aq_vsock **out) {
  aq_sim *s = host->s;
  aq_addr bound = *bind;
  if (is_any(&bound) ? first_addr(host, bound.family) == NULL
                     : !aq_vnode_has_addr(host, &bound)) {
    return AQ_ERR_ADDRESS;
  }
  int rv = choose_port(host, &bound);
  if (rv != 0) {
    return rv;
  }
  aq_vsock *k = aq_mem_alloc(&s->mem, sizeof(*k));
  if (k == NULL || s->ports.count >= AQ_SIM_MAX_SOCKETS ||
      aq_vtable_reserve(&s->ports) != 0) {
    aq_mem_free(&s->mem, k);
    return AQ_ERR_NOMEM;
  }
  k->host = host;
  k->bound = bound;
  aq_list_push_back(&host->socks, &k->of_host);
  aq_vtable_add(&s->ports, &k->by_port,
                port_hash(host, bound.family, bound.port));
  *out = k;
  return 0;
}

void aq_vsock_close(aq_vsock *k) {
  aq_sim *s = k->host->s;
  aq_list_remove(&k->of_host);
  aq_vtable_remove(&s->ports, &k->by_port);
  if (k->udp != NULL) {
    k->udp->sock = NULL;
  }
  aq_mem_free(&s->mem, k);
}

/* ---- sending
 * -----------------------------------------------------------------
 */

/* The source of a datagram from |k|: what is asked, what it is bound to, or the
 * host's first address. */
static int source_of(const aq_vsock *k, const aq_addr *local, const aq_addr *to,
                     aq_addr *from) {
  const aq_vnode *host = k->host;
  const aq_addr *ip = NULL;
  if (k->bound.family != to->family) {
    return AQ_ERR_ADDRESS;
  }
  if (!is_any(&k->bound)) {
    ip = &k->bound;
  } else if (local != NULL && local->family == to->family && !is_any(local)) {
    ip = local;
  }
  if (ip != NULL && !aq_vnode_has_addr(host, ip)) {
    return AQ_ERR_ADDRESS; /* it had that address once */
  }
  if (ip == NULL) {
    ip = first_addr(host, to->family);
  }
  if (ip == NULL) {
    return AQ_ERR_ADDRESS;
  }
  *from = *ip;
  from->port = k->bound.port;
  return 0;
}

int aq_vsock_send(aq_vsock *k, const aq_addr *local, const aq_addr *to,
                  uint8_t ttl, uint8_t ecn, const uint8_t *data, size_t len) {
  aq_vnode *host = k->host;
  aq_sim *s = host->s;
  aq_addr from;
  int rv = source_of(k, local, to, &from);
  if (rv != 0) {
    return rv;
  }
  if (len > AQ_SIM_LARGE) {
    return AQ_ERR_TOO_LARGE;
  }
  aq_vpacket *p = aq_vpacket_new(s, len);
  if (p == NULL) {
    return AQ_ERR_NOMEM;
  }
  p->id = ++s->ids;
  p->from = from;
  p->to = *to;
  p->len = (uint16_t)len;
  p->ttl = ttl > 0 ? ttl : AQ_SIM_TTL;
  p->ecn = ecn;
  p->kind = aq_vtrace_kind(data, len);
  p->from_child = host;
  memcpy(p->data, data, len);
  aq_vtrace(host, p, AQ_SIM_FATE_SENT);
  if (aq_vnode_has_addr(host, to)) {
    p->node = host; /* to itself: no link */
    p->at = s->now;
    aq_vpacket_fly(s, p);
  } else {
    aq_vlink_send(host, &host->up, p, host->parent, host);
  }
  return 0;
}

/* ---- bare sockets
 * -------------------------------------------------------------
 */

static aq_vudp *udp_get(const aq_sim *s, uint32_t id) {
  return id > 0 && id <= s->nudp && s->udp[id - 1]->sock != NULL
             ? s->udp[id - 1]
             : NULL;
}

int aq_sim_udp_open(aq_sim *s, aq_sim_node node, const aq_addr *bind,
                    uint32_t *id) {
  aq_vnode *host = aq_vnode_get(s, node);
  if (host == NULL || host->kind != AQ_VNODE_HOST) {
    return AQ_ERR_INVAL;
  }
  void *table = s->udp;
  int rv = aq_mem_grow(&s->mem, &table, &s->udpcap, s->nudp + 1,
                       sizeof(*s->udp), AQ_SIM_MAX_SOCKETS);
  s->udp = table;
  if (rv != 0) {
    return rv;
  }
  aq_vudp *u = aq_mem_alloc(&s->mem, sizeof(*u));
  if (u == NULL) {
    return AQ_ERR_NOMEM;
  }
  aq_ring_init(&u->ring, AQ_SIM_UDP_QUEUE);
  rv = aq_vsock_open(host, bind, &u->sock);
  if (rv != 0) {
    aq_mem_free(&s->mem, u);
    return rv;
  }
  u->sock->udp = u;
  s->udp[s->nudp++] = u;
  *id = (uint32_t)s->nudp;
  return 0;
}

int aq_sim_udp_close(aq_sim *s, uint32_t id) {
  aq_vudp *u = udp_get(s, id);
  if (u == NULL) {
    return AQ_ERR_INVAL;
  }
  s->udp_waiting -= !aq_ring_is_empty(&u->ring);
  aq_vsock_close(u->sock);
  aq_mem_free(&s->mem, u->in);
  u->in = NULL;
  return 0;
}

int aq_sim_udp_bound(const aq_sim *s, uint32_t id, aq_addr *out) {
  const aq_vudp *u = udp_get(s, id);
  if (u == NULL) {
    return AQ_ERR_INVAL;
  }
  *out = u->sock->bound;
  return 0;
}

int aq_sim_udp_send(aq_sim *s, uint32_t id, const aq_addr *to, uint8_t ttl,
                    const uint8_t *data, size_t len) {
  aq_vudp *u = udp_get(s, id);
  if (u == NULL) {
    return AQ_ERR_INVAL;
  }
  return aq_vsock_send(u->sock, NULL, to, ttl, 0, data, len);
}

int aq_sim_udp_receive(aq_sim *s, uint32_t id, aq_addr *from, uint8_t *buf,
                       size_t *len) {
  aq_vudp *u = udp_get(s, id);
  if (u == NULL) {
    return AQ_ERR_INVAL;
  }
  if (aq_ring_is_empty(&u->ring)) {
    return AQ_ERR_AGAIN;
  }
  const aq_vdgram *d = &u->in[aq_ring_pop(&u->ring)];
  s->udp_waiting -= aq_ring_is_empty(&u->ring);
  *from = d->from;
  *len = d->len;
  memcpy(buf, d->data, d->len);
  return 0;
}

static aq_sim_fate udp_receive(aq_sim *s, aq_vudp *u, const aq_vpacket *p) {
  if (u->in == NULL) {
    u->in = aq_mem_array(&s->mem, AQ_SIM_UDP_QUEUE, sizeof(*u->in));
  }
  if (u->in == NULL) {
    return AQ_SIM_FATE_NO_MEMORY;
  }
  if (aq_ring_is_full(&u->ring)) {
    return AQ_SIM_FATE_OVERFLOW;
  }
  s->udp_waiting += aq_ring_is_empty(&u->ring);
  aq_vdgram *d = &u->in[aq_ring_push(&u->ring)];
  d->from = p->from;
  d->len = p->len;
  memcpy(d->data, p->data, p->len);
  return AQ_SIM_FATE_DELIVERED;
}

/* ---- receiving
 * -----------------------------------------------------------------
 */

void aq_vhost_receive(aq_vnode *host, aq_vpacket *p) {
  aq_sim *s = host->s;
  aq_sim_fate fate = AQ_SIM_FATE_DELIVERED;
  aq_vsock *k = NULL;
  if (host->dead) {
    fate = AQ_SIM_FATE_DEAD;
  } else if (!aq_vnode_has_addr(host, &p->to)) {
    fate = AQ_SIM_FATE_NO_ROUTE; /* it was renumbered meanwhile */
  } else if ((k = find_sock(host, &p->to)) == NULL) {
    fate = AQ_SIM_FATE_NO_SOCKET;
  } else if (k->udp != NULL) {
    fate = udp_receive(s, k->udp, p);
  }
  aq_vtrace(host, p, fate);
  if (fate == AQ_SIM_FATE_DELIVERED && k->ep != NULL) {
    aq_vend_receive(k->ep, k->index, p);
  }
  aq_vpacket_free(s, p);
}
