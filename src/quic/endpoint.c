/* endpoint.c - life of an endpoint, its sockets, the five verbs, and settling.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include "proto/natlife.h"
#include "quic/identity.h"

#include <stddef.h>
#include <string.h>

void aq_ep_enter(aq_endpoint *ep, aq_tstamp now) {
  if (now > ep->now) {
    ep->now = now;
  }
}

static void free_doomed(aq_endpoint *ep) {
  aq_list *node;
  while ((node = aq_list_pop_front(&ep->doomed)) != NULL) {
    aq_link_free(aq_list_entry(node, aq_link, doom_node));
  }
}

void aq_ep_settle(aq_endpoint *ep) {
  if (ep->settling) {
    return;
  }
  ep->settling = 1;
  for (;;) {
    aq_list *node = aq_list_pop_front(&ep->dirty);
    if (node != NULL) {
      aq_link *l = aq_list_entry(node, aq_link, dirty_node);
      aq_link_settle(l);
      continue;
    }
    node = aq_list_pop_front(&ep->dirty_sessions);
    if (node != NULL) {
      aq_session_drive(aq_list_entry(node, aq_session, dirty_node));
    } else if (!aq_profile_turn(ep)) {
      break;
    }
  }
  free_doomed(ep);
  ep->settling = 0;
}

/* ---- life ------------------------------------------------------------------
 */

static int copy_params(aq_endpoint *ep, const aq_endpoint_params *params) {
  aq_endpoint_params *p = &ep->shared.params;
  *p = *params;
  p->allow = NULL;
  if (params->allow != NULL) {
    size_t len = params->allow_count * sizeof(*params->allow);
    aq_peer_id *allow = aq_mem_alloc(&ep->mem, len);
    if (allow == NULL) {
      return AQ_ERR_NOMEM;
    }
    if (len > 0) {
      memcpy(allow, params->allow, len);
    }
    p->allow = allow;
  }
  return 0;
}

static void init_lists(aq_endpoint *ep) {
  aq_list *lists[] = {&ep->links,  &ep->tombs,    &ep->sessions,
                      &ep->ready,  &ep->dirty,    &ep->dirty_sessions,
                      &ep->doomed, &ep->readable, &ep->loose};
  for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
    aq_list_init(lists[i]);
  }
}

static int init_random(aq_endpoint *ep) {
  uint64_t seed[6];
  int rv = aq_crypto_random(&ep->env, (uint8_t *)seed, sizeof(seed));
  if (rv != 0) {
    return rv;
  }
  aq_rand_init(&ep->rand, seed[0]);
  ep->salt[0] = seed[1];
  ep->salt[1] = seed[2];
  aq_limits_init(&ep->limits, seed[3]);
  aq_guard_init(&ep->guard, seed[4]);
  aq_guard_init(&ep->answer_guard, seed[5]);
  return 0;
}

static int init_coordinator(aq_endpoint *ep) {
  const aq_endpoint_params *p = &ep->shared.params;
  if (p->role != AQ_ROLE_BOOTSTRAP && !p->can_coordinate) {
    return 0;
  }
  aq_coord_params cp;
  aq_coord_params_init(&cp);
  cp.allow_reserved = p->allow_reserved;
  ep->shared.coordinates = 1;
  int rv = aq_relay_init(ep);
  cp.relays = ep->relay != NULL;
  return rv != 0 ? rv : aq_coord_new(&ep->coord, &cp, &ep->env);
}

static int init_all(aq_endpoint *ep, const aq_endpoint_params *params,
                    int is_null) {
  int rv = copy_params(ep, params);
  if (rv != 0) {
    return rv;
  }
  ep->self = *aq_identity_peer_id(params->identity);
  rv = is_null ? aq_tls_ctx_new_null(&ep->shared.tls, params, &ep->mem)
               : aq_tls_ctx_new(&ep->shared.tls, params);
  if (rv != 0) {
    return rv;
  }
  rv = aq_crypto_secrets_init(&ep->shared.secrets, &ep->env,
                              params->identity->seed);
  if (rv != 0) {
    return rv;
  }
  ep->shared.params.identity = NULL; /* the TLS context has its own copy */
  rv = init_random(ep);
  if (rv != 0) {
    return rv;
  }
  ep->shared.env = ep->env;
  ep->shared.keep_alive = aq_natlife_keep_alive(0, 0);
  ep->shared.streams = &ep->ids;
  aq_idmap_init(&ep->ids, &ep->mem);
  aq_hash_init(&ep->cids, &ep->mem, ep->salt);
  aq_hash_init(&ep->contacts, &ep->mem, ep->salt);
  aq_hash_init(&ep->places, &ep->mem, ep->salt);
  aq_hash_init(&ep->watches, &ep->mem, ep->salt);
  aq_hash_init(&ep->punches, &ep->mem, ep->salt);
  aq_hash_init(&ep->readies, &ep->mem, ep->salt);
  aq_timer_heap_init(&ep->link_timers, &ep->mem);
  aq_timer_heap_init(&ep->session_timers, &ep->mem);
  aq_disc_init(&ep->disc, params->max_candidates, params->allow_reserved);
  aq_punch_step_init(&ep->punch);
  /* Not zeroed: each event is, when it is taken. */
  ep->event =
      aq_mem_resize(&ep->mem, NULL, (AQ_EVENT_RING + 1) * sizeof(*ep->event));
  if (ep->event == NULL) {
    return AQ_ERR_NOMEM;
  }
  aq_ring_init(&ep->ring, AQ_EVENT_RING);
  aq_ring_init(&ep->out_ring, AQ_OUT_RING);
  rv = init_coordinator(ep);
  if (rv != 0) {
    return rv;
  }
  for (size_t i = 0; i < params->bootstrap_count; i++) {
    rv = aq_endpoint_add_bootstrap(ep, ep->now, &params->bootstrap[i]);
    if (rv != 0) {
      return rv;
    }
  }
  return 0;
}

static int make(aq_endpoint **pep, const aq_endpoint_params *params,
                const aq_env *env, aq_tstamp now, int is_null) {
  *pep = NULL;
  int rv = aq_endpoint_params_check(params, NULL, 0);
  if (rv != 0) {
    return rv;
  }
  if (params->identity == NULL) {
    return AQ_ERR_CONFIG;
  }
  aq_mem mem;
  aq_mem_init(&mem, env);
  aq_endpoint *ep = aq_mem_alloc(&mem, sizeof(*ep));
  if (ep == NULL) {
    return AQ_ERR_NOMEM;
  }
  ep->mem = mem;
  if (env != NULL) {
    ep->env = *env;
  }
  ep->now = now;
  ep->cand_gen = 1;
  ep->publish_at = AQ_NEVER;
  ep->later_at = AQ_NEVER;
  init_lists(ep);
  rv = init_all(ep, params, is_null);
  if (rv != 0) {
    aq_endpoint_del(ep);
    return rv;
  }
  *pep = ep;
  return 0;
}

int aq_endpoint_new(aq_endpoint **pep, const aq_endpoint_params *params,
                    const aq_env *env, aq_tstamp now) {
  return make(pep, params, env, now, 0);
}

int aq_endpoint_new_null(aq_endpoint **pep, const aq_endpoint_params *params,
                         const uint8_t key[32], const aq_env *env,
                         aq_tstamp now) {
  aq_endpoint_params copy = *params;
  aq_identity *id;
  int rv = aq_identity_from_seed_null(&id, key);
  *pep = NULL;
  if (rv != 0) {
    return rv;
  }
  copy.identity = id;
  rv = make(pep, &copy, env, now, 1);
  aq_identity_del(id);
  return rv;
}

int aq_endpoint_null_id(aq_peer_id *out, const uint8_t key[32]) {
  aq_identity *id;
  int rv = aq_identity_from_seed_null(&id, key);
  if (rv == 0) {
    *out = *aq_identity_peer_id(id);
    aq_identity_del(id);
  }
  return rv;
}

void aq_endpoint_del(aq_endpoint *ep) {
  if (ep == NULL) {
    return;
  }
  aq_mem mem = ep->mem;
  ep->settling = 1; /* nothing is told any more */
  aq_list *lists[] = {&ep->sessions, &ep->tombs};
  for (size_t i = 0; i < 2; i++) {
    aq_list_each_safe(node, lists[i]) {
      aq_session_free(aq_list_entry(node, aq_session, node));
    }
  }
  aq_list_each_safe(node, &ep->links) {
    aq_link *l = aq_list_entry(node, aq_link, all_node);
    aq_list_init(&l->forwards); /* they go too */
    aq_list_init(&l->fwd_node);
    l->target = 0;
    aq_link_free(l);
  }
  size_t cursor = 0;
  aq_contact *k;
  while ((k = aq_hash_next(&ep->contacts, &cursor)) != NULL) {
    aq_mem_free(&mem, k);
  }
  aq_coord_del(ep->coord);
  aq_relay_del(ep->relay);
  aq_tls_ctx_del(ep->shared.tls);
  aq_timer_heap_free(&ep->link_timers);
  aq_timer_heap_free(&ep->session_timers);
  aq_hash_free(&ep->cids);
  aq_hash_free(&ep->contacts);
  aq_hash_free(&ep->places);
  aq_hash_free(&ep->watches);
  aq_hash_free(&ep->punches);
  aq_hash_free(&ep->readies);
  aq_idmap_free(&ep->ids);
  aq_mem_free(&mem, ep->event);
  aq_mem_free(&mem, ep->out);
  aq_mem_free(&mem, ep->record);
  aq_mem_free(&mem, ep->token);
  aq_mem_free(&mem, ep->extra);
  aq_mem_free(&mem, ep->tunnel);
  aq_mem_free(&mem, ep->relay_out);
  aq_mem_free(&mem, ep->later);
  aq_mem_free(&mem, ep->ask);
  aq_profile_del(ep);
  aq_mem_free(&mem, (void *)(uintptr_t)ep->shared.params.allow);
  aq_mem_wipe(ep, offsetof(aq_endpoint, limits));
  aq_mem_free(&mem, ep);
}

const aq_peer_id *aq_endpoint_peer_id(const aq_endpoint *ep) {
  return &ep->self;
}

/* ---- sockets and interfaces -------------------------------------------------
 */

const aq_local_socket *aq_ep_socket(const aq_endpoint *ep, uint32_t index) {
  for (size_t i = 0; i < ep->nsock; i++) {
    if (ep->sock[i].index == index) {
      return &ep->sock[i];
    }
  }
  const aq_tunnel *t = aq_tunnel_get(ep, index);
  return t != NULL ? &t->sock : aq_extra_get(ep, index);
}

const aq_local_socket *aq_ep_socket_for(const aq_endpoint *ep,
                                        const aq_addr *to) {
  const aq_local_socket *best = NULL;
  int to_loopback = aq_addr_classify(to) == AQ_ADDR_LOOPBACK;
  for (size_t i = 0; i < ep->nsock; i++) {
    const aq_local_socket *s = &ep->sock[i];
    if (s->bound.family != to->family) {
      continue;
    }
    aq_addr_kind kind = aq_addr_classify(&s->bound);
    if (kind == AQ_ADDR_LOOPBACK && !to_loopback) {
      if (best == NULL) {
        best = s;
      }
      continue;
    }
    return s;
  }
  return best;
}

int aq_endpoint_add_socket(aq_endpoint *ep, aq_tstamp now,
                           const aq_local_socket *s) {
  if (s->index >= AQ_MAX_SOCKETS || s->bound.port == 0 ||
      (s->bound.family != 4 && s->bound.family != 6)) {
    return AQ_ERR_INVAL;
  }
  aq_ep_enter(ep, now);
  if (aq_ep_socket(ep, s->index) != NULL) {
    return AQ_ERR_INVAL;
  }
  if (ep->nsock == AQ_MAX_SOCKETS) {
    return AQ_ERR_LIMIT;
  }
  ep->sock[ep->nsock++] = *s;
  if (aq_addr_classify(&s->bound) == AQ_ADDR_LOOPBACK) {
    ep->loopback = 1;
  }
  aq_disc_add_socket(&ep->disc, ep->now, s);
  aq_ep_disc_changed(ep);
  aq_boot_timeout(ep);
  aq_ep_settle(ep);
  return 0;
}

int aq_endpoint_set_local_addrs(aq_endpoint *ep, aq_tstamp now,
                                const aq_addr *v, size_t n) {
  aq_ep_enter(ep, now);
  int first = ep->disc.nlocal == 0;
  if (!aq_disc_set_local(&ep->disc, ep->now, v, n)) {
    return 0;
  }
  aq_ep_disc_changed(ep);
  if (!first) {
    aq_ep_event(ep, AQ_EVENT_INTERFACES_CHANGED)->value = n;
    aq_profile_moved(ep);
    /* Whether the paths still carry anything shows only when they are used. */
    aq_repair_moved(ep);
  }
  aq_ep_settle(ep);
  return 0;
}

/* ---- the five verbs
 * ---------------------------------------------------------- */

int aq_endpoint_handle_datagram(aq_endpoint *ep, aq_tstamp now,
                                const aq_datagram *d) {
  aq_ep_enter(ep, now);
  size_t step = d->segment > 0 ? d->segment : d->len;
  for (size_t off = 0; off < d->len; off += step) {
    size_t left = d->len - off;
    size_t len = left < step ? left : step;
    ep->stats.datagrams_received++;
    ep->stats.bytes_received += len;
    aq_demux_handle(ep, d, d->data + off, len);
  }
  aq_ep_settle(ep);
  return 0;
}

int aq_endpoint_handle_timeout(aq_endpoint *ep, aq_tstamp now) {
  aq_ep_enter(ep, now);
  aq_timer *t;
  while ((t = aq_timer_heap_first(&ep->link_timers, ep->now)) != NULL) {
    aq_timer_remove(&ep->link_timers, t);
    aq_link_timeout(aq_owner_of(t, aq_link, timer));
  }
  while ((t = aq_timer_heap_first(&ep->session_timers, ep->now)) != NULL) {
    aq_timer_remove(&ep->session_timers, t);
    aq_session_timeout(aq_owner_of(t, aq_session, timer));
  }
  aq_boot_timeout(ep);
  aq_cand_timeout(ep);
  aq_observe_timeout(ep);
  aq_tunnel_timeout(ep);
  aq_relay_idle(ep);
  aq_ep_settle(ep);
  aq_session_bury(ep);
  return 0;
}

aq_tstamp aq_endpoint_next_timeout(const aq_endpoint *ep) {
  aq_tstamp t = aq_timer_heap_next(&ep->link_timers);
  t = aq_time_min(t, aq_timer_heap_next(&ep->session_timers));
  t = aq_time_min(t, aq_boot_next(ep));
  t = aq_time_min(t, ep->publish_at);
  t = aq_time_min(t, aq_observe_next(ep));
  t = aq_time_min(t, aq_profile_next(ep));
  t = aq_time_min(t, aq_tunnel_next(ep));
  if (ep->relay != NULL) {
    t = aq_time_min(t, aq_relay_next_timeout(ep->relay));
  }
  return aq_time_min(t, aq_session_bury_at(ep));
}

static void count_sent(aq_endpoint *ep, const aq_transmit *t) {
  size_t segment = t->segment > 0 ? t->segment : t->len;
  ep->stats.bytes_sent += t->len;
  ep->stats.datagrams_sent +=
      segment > 0 ? (t->len + segment - 1) / segment : 0;
}

/* A lying coordinator must not aim more than a few Initials at a victim; what
 * is not sent here is lost for ngtcp2, which tries again later. Then as much
 * must be left, so that a copy gives way. */
static int may_send(aq_link *l, const aq_transmit *t, uint32_t copies) {
  size_t segment = t->segment > 0 ? t->segment : t->len;
  if (!l->unproven ||
      aq_guard_take_initial(&l->ep->guard, l->ep->now, &t->remote,
                            (t->len + segment - 1) / segment, copies)) {
    l->ep->stats.datagrams_repeated += copies;
    return 1;
  }
  if (copies == 0) {
    AQ_LIMIT_HIT(l->ep, limit_punch_target);
  }
  return 0;
}

/* What connections have to say; those over a tunnel to their relay. */
static int poll_links(aq_endpoint *ep, aq_transmit *t, uint8_t *buf,
                      size_t buflen) {
  _Static_assert(AQ_TUNNEL_ROOM >= AQ_CONN_MAX_UDP_PAYLOAD,
                 "every connection can write while there is a tunnel");
  size_t room = ep->ntunnel > 0 ? AQ_TUNNEL_ROOM : buflen;
  aq_list *node;
  while ((node = aq_list_pop_front(&ep->ready)) != NULL) {
    aq_link *l = aq_list_entry(node, aq_link, ready_node);
    if (l->c == NULL || l->doomed) {
      continue;
    }
    memset(t, 0, sizeof(*t));
    int rv = aq_conn_poll_transmit(l->c, ep->now, t, buf, room);
    aq_link_touch(l);
    if (rv == 1 && !may_send(l, t, aq_conn_take_repeated(l->c))) {
      AQ_RECORD(ep, aq_record_quic(ep, AQ_RECORD_QUIC_REFUSED, l, t->socket,
                                   &t->remote, buf, t->len, t->segment));
      aq_ep_settle(ep);
      continue;
    }
    if (rv == 1) {
      AQ_RECORD(ep, aq_record_quic(ep, AQ_RECORD_QUIC_SENT, l, t->socket,
                                   &t->remote, buf, t->len, t->segment));
      if (aq_tunnel_is_socket(t->socket) && !aq_tunnel_send(ep, t, buf)) {
        aq_ep_settle(ep);
        continue;
      }
      count_sent(ep, t);
      aq_ep_settle(ep); /* puts it at the back when it wants more */
      return 1;
    }
    /* It has nothing to say whatever it wants; its timer brings it back. */
    l->dirty = 2;
    aq_ep_settle(ep);
  }
  return 0;
}

int aq_endpoint_poll_transmit(aq_endpoint *ep, aq_tstamp now, aq_transmit *t,
                              uint8_t *buf, size_t buflen) {
  aq_ep_enter(ep, now);
  if (buflen < AQ_TRANSMIT_MAX) {
    return AQ_ERR_INVAL;
  }
  if (!aq_ring_is_empty(&ep->out_ring)) {
    const aq_out *o = &ep->out[aq_ring_pop(&ep->out_ring)];
    *t = o->t;
    memcpy(buf, o->data, o->t.len);
    count_sent(ep, t);
    return 1;
  }
  ep->relay_turn = !ep->relay_turn;
  if ((ep->relay_turn || aq_list_is_empty(&ep->ready)) &&
      aq_relay_poll(ep, t, buf)) {
    count_sent(ep, t);
    return 1;
  }
  if (poll_links(ep, t, buf, buflen)) {
    return 1;
  }
  if (aq_relay_poll(ep, t, buf)) {
    count_sent(ep, t);
    return 1;
  }
  return 0;
}

/* ---- the end
 * ------------------------------------------------------------------ */

int aq_endpoint_close(aq_endpoint *ep, aq_tstamp now, uint64_t code,
                      const char *reason) {
  aq_ep_enter(ep, now);
  if (ep->closing) {
    return 0;
  }
  ep->closing = 1;
  if (code > UINT64_C(0x3fffffffffffffff)) {
    code = UINT64_C(0x3fffffffffffffff);
  }
  aq_list_each_safe(node, &ep->sessions) {
    aq_session *s = aq_list_entry(node, aq_session, node);
    if (!s->over) {
      aq_trav_finish(s->trav, ep->now, AQ_ERR_CANCELLED);
      aq_session_touch(s);
    }
  }
  size_t len = reason != NULL ? strlen(reason) : 0;
  aq_list_each(node, &ep->links) {
    aq_link *l = aq_list_entry(node, aq_link, all_node);
    if (l->state != AQ_LINK_GONE && l->c != NULL && !l->doomed) {
      aq_link_close(l, 1, code, reason, len);
    }
  }
  aq_ep_settle(ep);
  return 0;
}

int aq_endpoint_is_drained(const aq_endpoint *ep) {
  if (!ep->closing || !aq_ring_is_empty(&ep->out_ring)) {
    return 0;
  }
  aq_list_each(node, &ep->links) {
    const aq_link *l = aq_list_entry(node, aq_link, all_node);
    if (l->c != NULL &&
        (l->state != AQ_LINK_GONE || aq_conn_wants_write(l->c))) {
      return 0;
    }
  }
  return 1;
}
