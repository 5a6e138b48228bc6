/* endpoint_observe.c - observation datagrams: answered as coordinator, asked as
 * peer.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include "base/addr.h"

#include <string.h>

/* ---- as coordinator: who may ask -------------------------------------------
 */

/* The socket and source address for an answer that comes from elsewhere than
 * |local| of |socket|. Returns 0 when there is none. */
static int other_place(const aq_endpoint *ep, uint32_t socket,
                       const aq_addr *local, uint8_t flags,
                       uint32_t *out_socket, aq_addr *out_local) {
  int other_port = (flags & AQ_OBSERVE_OTHER_PORT) != 0;
  int other_addr = (flags & AQ_OBSERVE_OTHER_ADDR) != 0;
  for (size_t i = 0; i < ep->nsock; i++) {
    const aq_local_socket *s = &ep->sock[i];
    if (s->bound.family != local->family ||
        (s->bound.port != local->port) != other_port) {
      continue;
    }
    int any = aq_addr_classify(&s->bound) == AQ_ADDR_UNSPECIFIED;
    aq_addr from = any ? *local : s->bound;
    if (!other_addr) {
      if (!aq_addr_same_ip(&from, local) ||
          (s->index == socket && !other_port)) {
        continue;
      }
    } else if (any) {
      size_t k = 0;
      while (
          k < ep->disc.nlocal &&
          (ep->disc.local[k].family != local->family ||
           aq_addr_same_ip(&ep->disc.local[k], local) ||
           aq_addr_classify(&ep->disc.local[k]) != aq_addr_classify(local))) {
        k++;
      }
      if (k == ep->disc.nlocal) {
        continue;
      }
      from = ep->disc.local[k];
    } else if (aq_addr_same_ip(&from, local) ||
               aq_addr_classify(&from) != aq_addr_classify(local)) {
      continue;
    }
    from.port = s->bound.port;
    *out_socket = s->index;
    *out_local = from;
    return 1;
  }
  return 0;
}

static void put_alternates(const aq_link *l, aq_ctl *m) {
  static const uint8_t which[] = {AQ_OBSERVE_OTHER_PORT, AQ_OBSERVE_OTHER_ADDR,
                                  AQ_OBSERVE_OTHER_PORT |
                                      AQ_OBSERVE_OTHER_ADDR};
  m->alternate_count = AQ_CTL_MAX_ALTERNATES;
  for (size_t i = 0; i < sizeof(which); i++) {
    uint32_t socket;
    if (!other_place(l->ep, l->socket, &l->local, which[i], &socket,
                     &m->alternate[i])) {
      memset(&m->alternate[i], 0, sizeof(m->alternate[i]));
    }
  }
  while (m->alternate_count > 0 &&
         m->alternate[m->alternate_count - 1].family == 0) {
    m->alternate_count--;
  }
}

void aq_observe_grant(aq_link *l, aq_ctl *m) {
  aq_endpoint *ep = l->ep;
  if (l->watch == NULL) {
    aq_watch *w = aq_mem_alloc(&ep->mem, sizeof(*w));
    if (w == NULL) {
      return; /* without: it can still coordinate */
    }
    if (aq_crypto_random(&ep->env, w->token, sizeof(w->token)) != 0 ||
        aq_crypto_random(&ep->env, w->key, sizeof(w->key)) != 0 ||
        aq_hash_get(&ep->watches, w->token, sizeof(w->token)) != NULL ||
        aq_hash_put(&ep->watches, w->token, sizeof(w->token), l) != 0) {
      aq_mem_free(&ep->mem, w);
      return;
    }
    l->watch = w;
  }
  memcpy(m->token, l->watch->token, sizeof(m->token));
  memcpy(m->observe_key, l->watch->key, sizeof(m->observe_key));
  put_alternates(l, m);
}

void aq_observe_forget(aq_link *l) {
  aq_endpoint *ep = l->ep;
  if (l->watch == NULL) {
    return;
  }
  aq_hash_remove(&ep->watches, l->watch->token, sizeof(l->watch->token));
  aq_mem_wipe(l->watch, sizeof(*l->watch));
  aq_mem_free(&ep->mem, l->watch);
  l->watch = NULL;
  for (size_t i = 0; ep->later != NULL && i < AQ_OBSERVE_LATER; i++) {
    if (ep->later[i].at != AQ_NEVER && ep->later[i].link == l->id) {
      ep->later[i].at = AQ_NEVER;
    }
  }
}

aq_addr aq_observe_seen(const aq_link *l, uint64_t cookie) {
  static const aq_addr none;
  for (size_t i = 0; l->watch != NULL && i < AQ_OBSERVE_SEEN; i++) {
    if (cookie != 0 && l->watch->seen[i].cookie == cookie) {
      return l->watch->seen[i].addr;
    }
  }
  return none;
}

/* ---- as coordinator: answering ---------------------------------------------
 */

static void answer_later(aq_link *l, const aq_later *what) {
  aq_endpoint *ep = l->ep;
  if (ep->later == NULL) {
    ep->later = aq_mem_array(&ep->mem, AQ_OBSERVE_LATER, sizeof(*ep->later));
    for (size_t i = 0; ep->later != NULL && i < AQ_OBSERVE_LATER; i++) {
      ep->later[i].at = AQ_NEVER;
    }
  }
  for (size_t i = 0; ep->later != NULL && i < AQ_OBSERVE_LATER; i++) {
    if (ep->later[i].at == AQ_NEVER &&
        l->watch->later < AQ_OBSERVE_LATER_EACH) {
      ep->later[i] = *what;
      l->watch->later++;
      ep->later_at = aq_time_min(ep->later_at, what->at);
      return;
    }
  }
  AQ_LIMIT_HIT(ep, limit_observe);
}

static void give(aq_endpoint *ep, const aq_later *a) {
  if (aq_demux_out(ep, a->socket, &a->local, &a->to, 0, a->data,
                   sizeof(a->data))) {
    ep->stats.observes_answered++;
  }
}

static void asked(aq_endpoint *ep, const aq_datagram *d, const uint8_t *data,
                  size_t len, const aq_observe *o) {
  aq_link *l = aq_hash_get(&ep->watches, o->token, sizeof(o->token));
  if (l == NULL && aq_profile_hairpin(ep, d, data, len, o)) {
    return;
  }
  if (l == NULL) {
    ep->stats.datagrams_dropped_unknown++;
    return;
  }
  aq_watch *w = l->watch;
  /* A captured question that comes again, from wherever, is not answered. */
  if (aq_observe_verify(data, len, w->key, aq_crypto_mac16) != 0 ||
      !aq_window_take(&w->seq, o->seq)) {
    ep->stats.observes_bad++;
    return;
  }
  if (!aq_rate_take(&w->rate, ep->now, AQ_OBSERVE_RATE, AQ_OBSERVE_BURST)) {
    AQ_LIMIT_HIT(ep, limit_observe);
    return;
  }
  w->seen[w->next % AQ_OBSERVE_SEEN].cookie = o->cookie;
  w->seen[w->next++ % AQ_OBSERVE_SEEN].addr = d->remote;
  aq_later a;
  memset(&a, 0, sizeof(a));
  a.link = l->id;
  a.socket = d->socket;
  a.local = d->local;
  a.to = d->remote;
  if ((o->flags & AQ_OBSERVE_FLAGS) != 0 &&
      !other_place(ep, d->socket, &d->local, o->flags, &a.socket, &a.local)) {
    return; /* silence is what it means */
  }
  aq_observe tell = *o;
  tell.type = AQ_OBSERVE_TELL;
  tell.addr = d->remote;
  if (aq_observe_format(a.data, &tell, w->key, aq_crypto_mac16) != 0) {
    return;
  }
  if (o->delay == 0) {
    give(ep, &a);
  } else {
    a.at = aq_time_add(ep->now, o->delay * AQ_S);
    answer_later(l, &a);
  }
}

void aq_observe_timeout(aq_endpoint *ep) {
  if (ep->later_at > ep->now) {
    return;
  }
  aq_tstamp next = AQ_NEVER;
  for (size_t i = 0; i < AQ_OBSERVE_LATER; i++) {
    aq_later *a = &ep->later[i];
    if (a->at <= ep->now) {
      aq_link *l = aq_idmap_get(&ep->ids, AQ_KIND_CONN, a->link);
      if (l != NULL && l->watch != NULL && l->watch->later > 0) {
        l->watch->later--;
      }
      give(ep, a);
      a->at = AQ_NEVER;
    }
    next = aq_time_min(next, a->at);
  }
  ep->later_at = next;
}

aq_tstamp aq_observe_next(const aq_endpoint *ep) {
  return ep->later_at;
}

/* ---- as peer ---------------------------------------------------------------
 */

static aq_ask *ask_slot(aq_endpoint *ep) {
  if (ep->ask == NULL) {
    ep->ask = aq_mem_array(&ep->mem, AQ_MAX_ASKS, sizeof(*ep->ask));
  }
  for (size_t i = 0; ep->ask != NULL && i < AQ_MAX_ASKS; i++) {
    if (ep->ask[i].cookie == 0 || ep->ask[i].until <= ep->now) {
      return &ep->ask[i];
    }
  }
  AQ_LIMIT_HIT(ep, limit_observe);
  return NULL;
}

/* Its main address we know; others are the coordinator's word. */
static int may_ask(aq_endpoint *ep, const aq_boot *b, const aq_addr *to) {
  const aq_addr *main_addr = &b->link->remote;
  if (aq_addr_equal(to, main_addr)) {
    return 1;
  }
  aq_guard_request r;
  memset(&r, 0, sizeof(r));
  r.target = to;
  r.verified = (uint8_t)aq_addr_same_ip(to, main_addr);
  r.allow_private = (uint8_t)aq_trav_is_private(main_addr);
  r.allow_loopback = ep->loopback;
  r.allow_reserved = ep->shared.params.allow_reserved;
  r.session_key = UINT32_MAX - b->index;
  r.peer = &b->peer;
  r.len = AQ_OBSERVE_LEN;
  return aq_guard_take(&ep->guard, ep->now, &r) == AQ_GUARD_OK;
}

uint64_t aq_observe_send(aq_endpoint *ep, uint32_t socket, const aq_addr *to,
                         aq_observe *o, const uint8_t *key) {
  uint8_t buf[AQ_OBSERVE_LEN];
  o->type = AQ_OBSERVE_ASK;
  if (aq_crypto_random(&ep->env, (uint8_t *)&o->cookie, sizeof(o->cookie)) !=
      0) {
    return 0;
  }
  o->cookie |= 1; /* 0 is none */
  return aq_observe_format(buf, o, key, aq_crypto_mac16) == 0 &&
                 aq_demux_out(ep, socket, NULL, to, 0, buf, sizeof(buf))
             ? o->cookie
             : 0;
}

int aq_observe_ask(aq_endpoint *ep, aq_boot *b, const aq_ask_params *p,
                   uint64_t *cookie) {
  *cookie = 0;
  if (!b->connected || b->link == NULL || !b->observes ||
      p->alternate > b->alternate_count) {
    return AQ_ERR_UNSUPPORTED;
  }
  const aq_addr *to =
      p->alternate == 0 ? &b->link->remote : &b->alternate[p->alternate - 1];
  if (to->family == 0 || p->delay > AQ_OBSERVE_MAX_DELAY) {
    return AQ_ERR_UNSUPPORTED;
  }
  aq_ask *a = ask_slot(ep);
  if (a == NULL) {
    return AQ_ERR_LIMIT;
  }
  if (!may_ask(ep, b, to)) {
    return AQ_ERR_NOT_ALLOWED;
  }
  aq_observe o = {
      .flags = p->flags, .delay = p->delay, .seq = ++b->observe_seq};
  memcpy(o.token, b->token, sizeof(o.token));
  *cookie = aq_observe_send(ep, p->socket, to, &o, b->observe_key);
  if (*cookie == 0) {
    return AQ_ERR_INTERNAL;
  }
  memset(a, 0, sizeof(*a));
  a->cookie = *cookie;
  a->owner = p->owner;
  a->socket = p->socket;
  a->flags = p->flags;
  a->to = *to;
  a->sent = ep->now;
  a->until = aq_time_add(ep->now, AQ_ASK_LIFE + p->delay * AQ_S);
  ep->stats.observes_sent++;
  AQ_RECORD(ep, aq_record_observe(ep, AQ_RECORD_OBSERVE_SENT, p->socket, to,
                                  p->flags, NULL));
  return 0;
}

void aq_observe_drop(aq_endpoint *ep, uint64_t owner) {
  for (size_t i = 0; ep->ask != NULL && i < AQ_MAX_ASKS; i++) {
    if (ep->ask[i].cookie != 0 && ep->ask[i].owner == owner) {
      memset(&ep->ask[i], 0, sizeof(ep->ask[i]));
    }
  }
}

static aq_boot *boot_of(aq_endpoint *ep, const uint8_t *token) {
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    aq_boot *b = &ep->boot[i];
    if (b->used && b->observes &&
        memcmp(b->token, token, sizeof(b->token)) == 0) {
      return b;
    }
  }
  return NULL;
}

/* The answer to |a|, which is gone from the list. */
static void observed(aq_endpoint *ep, const aq_boot *b, const aq_ask *a,
                     const aq_datagram *d, const aq_addr *addr) {
  if (aq_addr_equal(&d->remote, &a->to)) { /* no victim, it answers */
    aq_guard_answered(&ep->guard, &a->to);
  }
  if (a->owner == AQ_OWNER_PROFILE) {
    aq_profile_answered(ep, a->cookie, &d->remote, addr);
  }
  aq_event *e = aq_ep_event(ep, AQ_EVENT_ADDRESS_OBSERVED);
  e->conn = b->link->pub;
  aq_ep_event_peer(e, &b->peer);
  e->addr = *addr;
  e->local = d->remote;
  e->value = a->cookie;
  e->duration = aq_time_since(ep->now, a->sent);
  aq_hard_observed(ep, a->owner, a->socket, a->cookie, addr);
}

static void told(aq_endpoint *ep, const aq_datagram *d, const uint8_t *data,
                 size_t len, const aq_observe *o) {
  aq_boot *b = boot_of(ep, o->token);
  if (b == NULL) {
    ep->stats.datagrams_dropped_unknown++;
    return;
  }
  if (aq_observe_verify(data, len, b->observe_key, aq_crypto_mac16) != 0) {
    ep->stats.observes_bad++;
    return;
  }
  for (size_t i = 0; ep->ask != NULL && i < AQ_MAX_ASKS; i++) {
    aq_ask *a = &ep->ask[i];
    if (a->cookie == o->cookie && a->cookie != 0 && a->socket == d->socket) {
      aq_ask was = *a;
      memset(a, 0, sizeof(*a));
      ep->stats.observes_received++;
      AQ_RECORD(ep, aq_record_observe(ep, AQ_RECORD_OBSERVE_RECEIVED, d->socket,
                                      &d->remote, was.flags, &o->addr));
      observed(ep, b, &was, d, &o->addr);
      return;
    }
  }
  ep->stats.observes_bad++; /* twice, or not asked for */
}

void aq_observe_datagram(aq_endpoint *ep, const aq_datagram *d,
                         const uint8_t *data, size_t len) {
  aq_observe o;
  if (aq_observe_peek(&o, data, len) != 0) {
    ep->stats.datagrams_dropped_malformed++;
  } else if (o.type == AQ_OBSERVE_ASK) {
    asked(ep, d, data, len, &o);
  } else {
    told(ep, d, data, len, &o);
  }
}
