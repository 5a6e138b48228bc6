/* endpoint_hard.c - what sessions with plans need beside punches: extra
 * sockets, how a coordinator sees them, HINTs.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <string.h>

uint32_t aq_hard_home(aq_endpoint *ep, aq_id conn) {
  const aq_boot *b = aq_boot_of_conn(ep, conn);
  return b != NULL ? b->link->socket : 0;
}

/* A server whose peers all move would run out of sockets: above so many, who
 * moves there shares one with another. Its client needs another one than it
 * has. */
static const aq_local_socket *share(const aq_session *s,
                                    const aq_trav_action *a,
                                    const aq_local_socket *like) {
  const aq_link *l = aq_link_get(s->ep, s->conn);
  int may = s->repair && l != NULL && a->count == 1 && a->guesses == 0;
  return may && s->ep->nextra >= AQ_EXTRA_SHARED
             ? aq_extra_share(s->ep, like, l->socket, s->id)
             : NULL;
}

void aq_hard_open(aq_session *s, const aq_trav_action *a) {
  aq_endpoint *ep = s->ep;
  const aq_boot *b = aq_boot_of_conn(ep, a->conn);
  /* One through which the coordinator can be asked. */
  const aq_local_socket *like =
      b != NULL ? aq_ep_socket(ep, b->link->socket) : NULL;
  aq_guard_request r;
  aq_guard_verdict v = AQ_GUARD_OK;
  if (a->guesses > 0) {
    aq_session_guard(s, a, &r);
    v = aq_guard_begin_guess(&ep->guard, ep->now, &r, a->guesses);
    aq_session_limited(ep, v);
    if (v != AQ_GUARD_OK) {
      aq_trav_retry_at(s->trav,
                       aq_guard_guess_at(&ep->guard, ep->now, &r, a->guesses));
    }
  }
  aq_trav_handle_allowed(s->trav, ep->now,
                         v != AQ_GUARD_OK ? aq_guard_name(v) : NULL);
  for (uint32_t i = 0; v == AQ_GUARD_OK && i < a->count; i++) {
    uint32_t index;
    const aq_local_socket *shared = like != NULL ? share(s, a, like) : NULL;
    if (shared != NULL) {
      aq_trav_handle_opened(s->trav, ep->now, shared->index, &shared->bound);
    } else if (like == NULL || aq_extra_open(ep, like, s->id, &index) != 0) {
      aq_trav_handle_opened(s->trav, ep->now, 0, NULL);
    }
  }
}

void aq_hard_close(aq_session *s) {
  aq_extra_release_all(s->ep, s->id);
  aq_tunnel_release(s->ep, s->id, NULL);
  aq_observe_drop(s->ep, s->id);
  aq_guard_end_guess(&s->ep->guard, aq_session_key(s));
}

void aq_hard_opened(aq_endpoint *ep, uint64_t owner, uint32_t index,
                    const aq_addr *bound) {
  aq_session *s = aq_session_get(ep, owner);
  if (s != NULL && !s->over) {
    aq_trav_handle_opened(s->trav, ep->now, index, bound);
    aq_session_touch(s);
  }
}

void aq_hard_observe(aq_session *s, const aq_trav_action *a) {
  aq_endpoint *ep = s->ep;
  aq_boot *b = aq_boot_of_conn(ep, a->conn);
  aq_ask_params p = {.owner = s->id, .socket = a->socket};
  uint64_t cookie;
  int rv = b != NULL ? aq_observe_ask(ep, b, &p, &cookie)
                     : AQ_ERR_PEER_NOT_CONNECTED;
  if (rv != 0) {
    aq_trav_handle_unobserved(s->trav, ep->now, rv);
  }
}

void aq_hard_observed(aq_endpoint *ep, uint64_t owner, uint32_t socket,
                      uint64_t cookie, const aq_addr *addr) {
  aq_session *s = aq_session_get(ep, owner);
  if (s != NULL && !s->over) {
    aq_trav_handle_observed(s->trav, ep->now, socket, cookie, addr);
    aq_session_touch(s);
  }
}

void aq_hard_hint(aq_session *s, const aq_trav_action *a) {
  aq_endpoint *ep = s->ep;
  const uint8_t *id = aq_trav_session(s->trav, 0);
  aq_link *l = aq_link_get(ep, a->conn);
  if (id == NULL || l == NULL) {
    return;
  }
  aq_ctl m;
  memset(&m, 0, sizeof(m));
  m.type = AQ_CTL_HINT;
  memcpy(m.session, id, sizeof(m.session));
  m.plan = a->hint.plan;
  m.cookie = a->hint.cookie;
  m.step = a->hint.step;
  m.count = a->hint.count;
  if (aq_ctl_send(l, &m) == 0) {
    ep->stats.hints_sent++;
  }
}

void aq_hard_hinted(aq_link *l, const aq_ctl *m) {
  aq_endpoint *ep = l->ep;
  aq_session *s = aq_hash_get(&ep->punches, m->session, sizeof(m->session));
  if (s == NULL || s->over) {
    return;
  }
  ep->stats.hints_received++;
  aq_trav_handle_hint(s->trav, ep->now, l->id, m);
  aq_session_touch(s);
}

void aq_hard_tunnel(aq_session *s, const aq_trav_action *a) {
  aq_endpoint *ep = s->ep;
  aq_tunnel *t = NULL;
  aq_tunnel_release(ep, s->id, s->trav);
  if (aq_trav_key(s->trav, a->session) == NULL) {
    return; /* others were agreed on since */
  }
  int rv =
      aq_tunnel_open(ep, a->conn, a->session, s->id, !s->trav->initiator, &t);
  aq_trav_handle_tunnel(s->trav, ep->now, rv == 0 ? &t->relay : NULL, rv);
}

int aq_hard_allowed(const aq_endpoint *ep, uint64_t plan) {
  if (plan == AQ_PLAN_RELAY) {
    return ep->shared.params.enable_relay_fallback;
  }
  return ep->shared.params.enable_symmetric_nat ||
         (plan != AQ_PLAN_PREDICT && plan != AQ_PLAN_BIRTHDAY);
}
