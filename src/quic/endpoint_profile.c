/* endpoint_profile.c - carries out what the measurement of the NAT asks for,
 * and hands its result on: to coordinators, sessions, connections and the
 * application.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include "base/addr.h"
#include "proto/natlife.h"

#include <string.h>

#define SLOTS (AQ_NATCHECK_SOCKETS + AQ_NATLIFE_SOCKETS)
/* While a session works, nothing new is measured; looked at again after. */
#define BUSY_PAUSE AQ_S

struct aq_profile {
  aq_natcheck check;
  aq_natlife life;
  uint32_t socket[SLOTS];              /* by slot; 0: none */
  uint8_t token[AQ_OBSERVE_TOKEN_LEN]; /* of the datagrams to ourselves */
  uint8_t key[AQ_OBSERVE_KEY_LEN];
  uint32_t seq;
  uint8_t stirred; /* something came in since the last turn */
  aq_tstamp next;
};

/* ---- what there is ---------------------------------------------------------
 */

static aq_profile *make(aq_endpoint *ep) {
  if (ep->nat == NULL && ep->shared.params.nat_profile) {
    aq_profile *p = aq_mem_alloc(&ep->mem, sizeof(*p));
    if (p == NULL) {
      return NULL; /* nothing is measured */
    }
    if (aq_crypto_random(&ep->env, p->token, sizeof(p->token)) != 0 ||
        aq_crypto_random(&ep->env, p->key, sizeof(p->key)) != 0) {
      aq_mem_free(&ep->mem, p);
      return NULL;
    }
    aq_natcheck_init(&p->check);
    aq_natlife_init(&p->life);
    p->next = AQ_NEVER;
    ep->nat = p;
  }
  return ep->nat;
}

void aq_profile_del(aq_endpoint *ep) {
  if (ep->nat != NULL) {
    aq_mem_wipe(ep->nat, sizeof(*ep->nat));
    aq_mem_free(&ep->mem, ep->nat);
    ep->nat = NULL;
  }
}

void aq_endpoint_get_nat(const aq_endpoint *ep, aq_nat_report *out) {
  const aq_profile *p = ep->nat;
  memset(out, 0, sizeof(*out));
  if (p != NULL) {
    const aq_natlife *l = &p->life;
    *out = p->check.report;
    out->profile = ep->profile;
    out->idle_gone = l->gone;
    out->lifetime_known = (uint8_t)aq_natlife_known(l);
    memcpy(out->evidence + out->evidence_count, l->evidence,
           l->nevidence * sizeof(l->evidence[0]));
    out->evidence_count += l->nevidence;
  }
  out->keep_alive = ep->shared.params.keep_alive == AQ_KEEP_ALIVE_AUTO
                        ? ep->shared.keep_alive
                        : ep->shared.params.keep_alive;
}

/* ---- what came in ----------------------------------------------------------
 */

static void insert(aq_nat_server *v, size_t n, const aq_boot *b) {
  aq_nat_server s;
  memset(&s, 0, sizeof(s));
  s.id = b->index;
  s.rtt = b->rtt;
  s.addr = b->link->remote;
  memcpy(s.alternate, b->alternate, b->alternate_count * sizeof(aq_addr));
  while (n > 0 && v[n - 1].rtt > s.rtt) {
    v[n] = v[n - 1];
    n--;
  }
  v[n] = s;
}

void aq_profile_boots(aq_endpoint *ep) {
  aq_nat_server v[AQ_MAX_BOOTSTRAP];
  size_t n = 0;
  int all = 1; /* nobody else is expected */
  int hope = ep->nboot == 0 || ep->stats.datagrams_received > 0;
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    const aq_boot *b = &ep->boot[i];
    if (!b->used) {
      continue;
    }
    if (b->connected && b->link != NULL && b->observes) {
      insert(v, n++, b);
    } else if (b->connected ? !b->link->registered : b->failures == 0) {
      all = 0;
    }
    hope |= b->connected || b->failures == 0;
  }
  aq_profile *p = n > 0 || !hope ? make(ep) : ep->nat;
  if (p == NULL) {
    return;
  }
  p->stirred = 1;
  if (!hope) {
    aq_natcheck_blocked(&p->check, ep->now);
  }
  aq_natcheck_servers(&p->check, ep->now, v, n, all);
}

void aq_profile_moved(aq_endpoint *ep) {
  if (ep->nat != NULL) {
    aq_natcheck_again(&ep->nat->check, ep->now);
    aq_natlife_start(&ep->nat->life, ep->now, NULL, 1);
    ep->nat->stirred = 1;
  }
}

void aq_profile_answered(aq_endpoint *ep, uint64_t cookie, const aq_addr *from,
                         const aq_addr *seen) {
  aq_profile *p = ep->nat;
  if (p != NULL &&
      (aq_natcheck_answered(&p->check, cookie, from, seen) ||
       aq_natlife_answered(&p->life, ep->now, cookie, from, seen))) {
    p->stirred = 1;
  }
}

static void opened(aq_endpoint *ep, uint32_t slot, const aq_addr *bound) {
  if (slot < AQ_NATCHECK_SOCKETS) {
    aq_natcheck_opened(&ep->nat->check, slot, bound);
  } else {
    aq_natlife_opened(&ep->nat->life, ep->now, slot, bound);
  }
}

void aq_profile_socket(aq_endpoint *ep, uint32_t index, const aq_addr *bound) {
  aq_profile *p = ep->nat;
  for (uint32_t i = 0; p != NULL && i < SLOTS; i++) {
    if (p->socket[i] == index) {
      if (bound == NULL) {
        p->socket[i] = 0;
      }
      opened(ep, i, bound);
      p->stirred = 1;
      return;
    }
  }
}

int aq_profile_hairpin(aq_endpoint *ep, const aq_datagram *d,
                       const uint8_t *data, size_t len, const aq_observe *o) {
  aq_profile *p = ep->nat;
  if (p == NULL || memcmp(o->token, p->token, sizeof(p->token)) != 0) {
    return 0;
  }
  if (aq_observe_verify(data, len, p->key, aq_crypto_mac16) != 0) {
    ep->stats.observes_bad++;
  } else {
    aq_profile_answered(ep, o->cookie, &d->remote, &d->remote);
  }
  return 1;
}

/* ---- what it wants done ----------------------------------------------------
 */

static void open_socket(aq_endpoint *ep, const aq_nat_action *a) {
  aq_profile *p = ep->nat;
  const aq_local_socket *like = aq_ep_socket_for(ep, &a->to);
  p->socket[a->slot] = 0;
  if (like == NULL ||
      aq_extra_open(ep, like, AQ_OWNER_PROFILE, &p->socket[a->slot]) != 0) {
    opened(ep, a->slot, NULL);
  }
}

static uint64_t ask(aq_endpoint *ep, const aq_nat_action *a) {
  aq_boot *b = &ep->boot[a->server];
  uint64_t cookie = 0;
  aq_ask_params q = {.owner = AQ_OWNER_PROFILE,
                     .socket = ep->nat->socket[a->slot],
                     .alternate = a->alternate,
                     .flags = a->flags,
                     .delay = a->delay};
  if (!b->used || aq_extra_get(ep, q.socket) == NULL) {
    return 0;
  }
  return aq_observe_ask(ep, b, &q, &cookie) == 0 ? cookie : 0;
}

/* To one of our own sockets by its outer address, as a coordinator saw it: who
 * lies about it aims this at a victim, and gets no more than the guard's. */
static uint64_t send_to_self(aq_endpoint *ep, const aq_nat_action *a) {
  aq_profile *p = ep->nat;
  uint32_t socket = p->socket[a->slot];
  aq_guard_request r;
  memset(&r, 0, sizeof(r));
  r.target = &a->to;
  r.allow_loopback = ep->loopback;
  r.allow_reserved = ep->shared.params.allow_reserved;
  r.session_key = UINT32_MAX - AQ_MAX_BOOTSTRAP;
  r.peer = &ep->self;
  r.len = AQ_OBSERVE_LEN;
  if (aq_extra_get(ep, socket) == NULL ||
      aq_guard_take(&ep->guard, ep->now, &r) != AQ_GUARD_OK) {
    return 0;
  }
  aq_observe o = {.seq = ++p->seq};
  memcpy(o.token, p->token, sizeof(o.token));
  return aq_observe_send(ep, socket, &a->to, &o, p->key);
}

static void asked(aq_endpoint *ep, uint32_t question, uint64_t cookie) {
  if (question < AQ_NATCHECK_QUESTIONS) {
    aq_natcheck_asked(&ep->nat->check, question, cookie);
  } else {
    aq_natlife_asked(&ep->nat->life, question, cookie);
  }
}

static void act(aq_endpoint *ep, const aq_nat_action *a) {
  aq_profile *p = ep->nat;
  switch (a->kind) {
  case AQ_NAT_OPEN:
    open_socket(ep, a);
    break;
  case AQ_NAT_CLOSE:
    aq_extra_release(ep, p->socket[a->slot]);
    p->socket[a->slot] = 0;
    break;
  case AQ_NAT_ASK:
    asked(ep, a->question, ask(ep, a));
    break;
  case AQ_NAT_SEND:
    asked(ep, a->question, send_to_self(ep, a));
    break;
  }
}

/* ---- who is told -----------------------------------------------------------
 */

/* Lifetimes matter where something has them. */
static int has_lifetime(const aq_nat_profile *p) {
  return p->mapping > AQ_NAT_NONE || p->filtering > AQ_NAT_ENDPOINT_INDEPENDENT;
}

/* The coordinator for lifetimes: the same as long as it is there. */
static void serve_life(aq_endpoint *ep) {
  aq_profile *p = ep->nat;
  const aq_natcheck *c = &p->check;
  const aq_nat_server *s = NULL;
  if (c->report.measured_at == 0 || !has_lifetime(&c->report.profile)) {
    return;
  }
  for (size_t i = 0; i < c->nknown; i++) {
    if (s == NULL || aq_addr_equal(&c->known[i].addr, &p->life.server.addr)) {
      s = &c->known[i];
    }
  }
  aq_natlife_start(&p->life, ep->now, s, 0);
}

static void keep_alive(aq_endpoint *ep) {
  const aq_natlife *l = &ep->nat->life;
  aq_duration interval = aq_natlife_keep_alive(l->alive, l->gone);
  if (ep->shared.params.keep_alive != AQ_KEEP_ALIVE_AUTO ||
      interval == ep->shared.keep_alive) {
    return;
  }
  ep->shared.keep_alive = interval;
  aq_list_each(node, &ep->links) {
    aq_link *link = aq_list_entry(node, aq_link, all_node);
    if (link->c != NULL && !link->keep_alive_set) {
      aq_conn_keep_alive(link->c, interval);
      aq_link_touch(link);
    }
  }
}

static void tell(aq_endpoint *ep) {
  const aq_natlife *l = &ep->nat->life;
  ep->profile = ep->nat->check.report.profile;
  ep->profile.idle = l->alive;
  ep->profile.absolute = l->absolute;
  keep_alive(ep);
  aq_ep_event(ep, AQ_EVENT_NAT_PROFILE_CHANGED)->addr = ep->profile.last;
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    aq_boot *b = &ep->boot[i];
    if (b->used && b->connected && b->link != NULL) {
      b->link->reg_gen = 0; /* so that it registers again */
      aq_link_touch(b->link);
    }
  }
  aq_list_each(node, &ep->sessions) {
    aq_session *s = aq_list_entry(node, aq_session, node);
    if (!s->over) {
      aq_trav_set_profile(s->trav, &ep->profile);
    }
  }
}

int aq_profile_turn(aq_endpoint *ep) {
  aq_profile *p = ep->nat;
  if (p == NULL || ep->closing || (!p->stirred && p->next > ep->now)) {
    return 0;
  }
  p->stirred = 0;
  aq_nat_action a;
  int busy = ep->nactive > 0 || ep->nrepairs > 0;
  if (!busy || p->check.stage != AQ_NATCHECK_IDLE ||
      p->check.report.measured_at == 0) {
    aq_natcheck_locals(&p->check, ep->disc.local, ep->disc.nlocal);
    while (aq_natcheck_poll(&p->check, ep->now, &a)) {
      act(ep, &a);
    }
    p->next = aq_natcheck_next(&p->check);
  } else {
    p->next = aq_time_max(aq_natcheck_next(&p->check), ep->now + BUSY_PAUSE);
  }
  serve_life(ep);
  while (aq_natlife_poll(&p->life, ep->now, busy, &a)) {
    act(ep, &a);
  }
  p->next = aq_time_min(p->next, aq_natlife_next(&p->life, ep->now, busy));
  int changed = aq_natcheck_take_change(&p->check);
  if (!(aq_natlife_take_change(&p->life) | changed)) {
    return 0;
  }
  tell(ep);
  return 1;
}

aq_tstamp aq_profile_next(const aq_endpoint *ep) {
  return ep->nat != NULL && !ep->closing ? ep->nat->next : AQ_NEVER;
}
