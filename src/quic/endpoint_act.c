/* endpoint_act.c - carries out what sessions ask: requests, punches, dials.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <stdio.h>
#include <string.h>

void aq_session_touch(aq_session *s) {
  if (!s->over && !aq_list_is_linked(&s->dirty_node)) {
    aq_list_push_back(&s->ep->dirty_sessions, &s->dirty_node);
  }
}

/* ---- requests to a coordinator
 * ------------------------------------------------- */

static int is_active_phase(aq_phase p) {
  return p == AQ_PHASE_COORDINATION || p == AQ_PHASE_SYNCHRONIZATION ||
         p == AQ_PHASE_PUNCHING || p == AQ_PHASE_VALIDATION;
}

static void wake_waiting(aq_endpoint *ep) {
  aq_list_each(node, &ep->sessions) {
    aq_session *s = aq_list_entry(node, aq_session, node);
    if (s->nwant > 0) {
      aq_session_touch(s);
    }
  }
}

/* Repairs have a bound of their own. */
static void set_active(aq_session *s, int active) {
  aq_endpoint *ep = s->ep;
  if (s->active == active || s->repair) {
    return;
  }
  s->active = (uint8_t)active;
  if (active) {
    ep->nactive++;
  } else {
    ep->nactive--;
    wake_waiting(ep);
  }
}

static int send_request(aq_session *s, aq_link *l, uint32_t ask) {
  aq_endpoint *ep = s->ep;
  aq_ctl m;
  memset(&m, 0, sizeof(m));
  m.type = AQ_CTL_REQUEST;
  m.request = ++ep->next_request;
  m.peer = s->peer;
  m.plan = s->plan;
  m.profile = ep->profile;
  memcpy(m.nonce, s->nonce, sizeof(m.nonce));
  m.cand_count = aq_ep_published(ep, m.cand, AQ_MAX_CANDIDATES);
  s->request = m.request;
  int rv = aq_ctl_send(l, &m);
  if (rv != 0) {
    return rv;
  }
  s->tried |= 1u << l->boot->index;
  aq_turn_taken(s, l);
  ep->stats.coordinations_requested++;
  aq_trav_handle_requested(s->trav, ep->now, ask, l->id, &l->remote,
                           aq_link_rtt(l), m.request);
  return 0;
}

static aq_link *choose_coordinator(aq_session *s, aq_id via) {
  aq_endpoint *ep = s->ep;
  aq_boot *b =
      via != 0 ? aq_boot_of_conn(ep, via)
               : aq_boot_best(ep, s->tried, s->used, s->plan == AQ_PLAN_RELAY);
  return b != NULL ? b->link : NULL;
}

/* Returns 1 when the wish |i| is no more. */
static int try_request(aq_session *s, size_t i) {
  aq_endpoint *ep = s->ep;
  uint32_t ask = s->want[i].ask;
  if (!aq_trav_wants(s->trav, ask)) {
    return 1; /* it has given up waiting */
  }
  if (!s->active && !s->repair &&
      ep->nactive >= ep->shared.params.max_concurrent_attempts) {
    aq_trav_handle_queued(s->trav, ep->now, ask);
    return 0; /* woken when another session is done */
  }
  aq_link *l = choose_coordinator(s, s->want[i].via);
  int rv = 0;
  if (l != NULL) {
    set_active(s, 1);
    rv = send_request(s, l, ask) != 0 ? AQ_ERR_COORDINATION_FAILED : 0;
  } else if (s->want[i].via != 0) {
    rv = AQ_ERR_PEER_NOT_CONNECTED;
  } else if (!s->want[i].wait ||
             !aq_boot_hope(ep, s->tried, s->plan == AQ_PLAN_RELAY)) {
    rv = s->plan == AQ_PLAN_RELAY && aq_boot_best(ep, 0, 0, 0) != NULL
             ? AQ_ERR_UNSUPPORTED
             : AQ_ERR_NO_BOOTSTRAP_NODES;
  } else {
    return 0;
  }
  if (rv != 0) {
    aq_trav_handle_unasked(s->trav, ep->now, ask, rv);
  }
  return 1;
}

/* Returns 1 when something came of it, which may have led to more actions. */
static int try_requests(aq_session *s) {
  size_t n = s->nwant;
  for (size_t i = n; i-- > 0;) {
    if (try_request(s, i)) {
      s->nwant--;
      memmove(&s->want[i], &s->want[i + 1],
              (s->nwant - i) * sizeof(s->want[0]));
    }
  }
  return s->nwant != n;
}

static void want_request(aq_session *s, const aq_trav_action *a) {
  if (s->attempt != a->attempt) {
    s->attempt = a->attempt;
    s->plan = a->plan;
    s->tried = 0;
    s->nwant = 0;
    if (aq_crypto_random(&s->ep->env, s->nonce, sizeof(s->nonce)) != 0) {
      aq_trav_handle_unasked(s->trav, s->ep->now, a->ask, AQ_ERR_INTERNAL);
      return;
    }
  }
  if (s->nwant == AQ_MAX_ASKED) { /* some that are wanted no more */
    (void)try_requests(s);
  }
  if (s->nwant < AQ_MAX_ASKED) {
    s->want[s->nwant].ask = a->ask;
    s->want[s->nwant].via = a->conn;
    s->want[s->nwant++].wait = a->wait;
  }
}

void aq_session_coordinators(aq_endpoint *ep, const aq_link *lost,
                             const aq_boot *again) {
  aq_list_each(node, &ep->sessions) {
    aq_session *s = aq_list_entry(node, aq_session, node);
    if (s->over) {
      continue;
    }
    if (again != NULL) {
      s->tried &= ~(1u << again->index);
    }
    aq_trav_set_relay(s->trav, aq_session_may_relay(ep));
    if (lost != NULL) {
      aq_trav_handle_lost(s->trav, ep->now, lost->id);
      aq_session_touch(s);
    } else if (s->nwant > 0) {
      aq_session_touch(s);
    }
  }
}

static void send_cancel(aq_session *s, const aq_trav_action *a) {
  aq_link *l = aq_link_get(s->ep, a->conn);
  if (l == NULL) {
    return;
  }
  if (a->error == AQ_ERR_TIMEOUT && l->boot != NULL) {
    aq_boot_unanswered(s->ep, l->boot);
  }
  aq_ctl m;
  memset(&m, 0, sizeof(m));
  m.type = AQ_CTL_CANCEL;
  m.request = a->request;
  memcpy(m.session, a->session, sizeof(m.session));
  (void)aq_ctl_send(l, &m);
}

/* A coordinator that is needed has to answer, be it to a PING. */
static void watch(aq_session *s, const aq_trav_action *a) {
  aq_endpoint *ep = s->ep;
  aq_boot *b = aq_boot_of_conn(ep, a->conn);
  if (b == NULL || aq_boot_best(ep, s->tried, 0, 0) == NULL) {
    return;
  }
  if (aq_link_is_silent(b->link)) {
    aq_trav_handle_silent(s->trav, ep->now, a->conn);
  } else if (a->wait && aq_conn_due_since(b->link->c) == AQ_NEVER) {
    aq_link_ping(b->link);
  }
}

/* ---- punches
 * --------------------------------------------------------------------- */

uint32_t aq_session_key(const aq_session *s) {
  return (uint32_t)(s->id ^ s->id >> 32);
}

void aq_session_guard(const aq_session *s, const aq_trav_action *a,
                      aq_guard_request *r) {
  memset(r, 0, sizeof(*r));
  r->target = &a->addr;
  r->verified = a->verified;
  r->allow_private = r->same_nat = (uint8_t)aq_trav_allows_private(s->trav);
  r->allow_loopback = s->ep->loopback;
  r->allow_reserved = s->ep->shared.params.allow_reserved;
  r->session_key = aq_session_key(s);
  r->peer = &s->peer;
}

void aq_session_limited(aq_endpoint *ep, aq_guard_verdict v) {
  switch (v) {
  case AQ_GUARD_OK:
    break;
  case AQ_GUARD_FORBIDDEN:
    AQ_LIMIT_HIT(ep, limit_punch_forbidden);
    break;
  case AQ_GUARD_SESSION:
    AQ_LIMIT_HIT(ep, limit_punch_session);
    break;
  case AQ_GUARD_TARGET:
    AQ_LIMIT_HIT(ep, limit_punch_target);
    break;
  case AQ_GUARD_PREFIX:
    AQ_LIMIT_HIT(ep, limit_punch_prefix);
    break;
  case AQ_GUARD_PEER:
    AQ_LIMIT_HIT(ep, limit_punch_peer);
    break;
  case AQ_GUARD_ENDPOINT:
    AQ_LIMIT_HIT(ep, limit_punch_endpoint);
    break;
  case AQ_GUARD_GUESS_TARGET:
    AQ_LIMIT_HIT(ep, limit_guess_target);
    break;
  case AQ_GUARD_GUESS_PEER:
    AQ_LIMIT_HIT(ep, limit_guess_peer);
    break;
  case AQ_GUARD_GUESS_ENDPOINT:
    AQ_LIMIT_HIT(ep, limit_guess_endpoint);
    break;
  case AQ_GUARD_GUESS_RATE:
    AQ_LIMIT_HIT(ep, limit_guess_rate);
    break;
  case AQ_GUARD_GUESS_BUSY:
    AQ_LIMIT_HIT(ep, limit_guess_busy);
    break;
  }
}

static void punch(aq_session *s, const aq_trav_action *a) {
  aq_endpoint *ep = s->ep;
  int is_answer = a->punch.type == AQ_PUNCH_ANSWER;
  aq_guard_request r;
  aq_session_guard(s, a, &r);
  r.len = AQ_PUNCH_LEN;
  aq_guard_verdict v =
      a->guess ? aq_guard_take_guess(&ep->guard, ep->now, &r)
               : aq_guard_take(is_answer ? &ep->answer_guard : &ep->guard,
                               ep->now, &r);
  if (v != AQ_GUARD_OK) {
    aq_session_limited(ep, v);
    AQ_RECORD(ep,
              aq_record_punch(ep, AQ_RECORD_PUNCH_REFUSED, s, a->socket,
                              &a->addr, a->ttl, &a->punch, aq_guard_name(v)));
    aq_trav_handle_refused(s->trav, ep->now, a->socket, &a->addr, v);
    return;
  }
  const uint8_t *key = aq_trav_key(s->trav, a->punch.session);
  uint8_t buf[AQ_PUNCH_LEN];
  if (key == NULL ||
      aq_punch_format(buf, &a->punch, key, aq_crypto_mac16) != 0 ||
      !aq_demux_out(
          ep, a->socket == AQ_TRAV_HOME ? aq_hard_home(ep, a->conn) : a->socket,
          NULL, &a->addr, a->ttl, buf, sizeof(buf))) {
    return;
  }
  AQ_RECORD(ep, aq_record_punch(ep, AQ_RECORD_PUNCH_SENT, s, a->socket,
                                &a->addr, a->ttl, &a->punch, NULL));
  if (is_answer) {
    ep->stats.punches_answered++;
  } else if (a->punch.type == AQ_PUNCH_OPENER) {
    ep->stats.openers_sent++;
  } else if (a->guess) {
    ep->stats.guesses_sent++;
  } else {
    ep->stats.punches_sent++;
  }
}

void aq_session_rehash(aq_session *s) {
  aq_endpoint *ep = s->ep;
  const uint8_t *id;
  for (size_t i = s->nhashed; i-- > 0;) {
    if (s->trav == NULL || aq_trav_key(s->trav, s->hashed[i]) == NULL) {
      aq_hash_remove(&ep->punches, s->hashed[i], sizeof(s->hashed[i]));
      memcpy(s->hashed[i], s->hashed[--s->nhashed], sizeof(s->hashed[i]));
    }
  }
  for (size_t i = 0; s->trav != NULL && s->nhashed < AQ_MAX_ASKED &&
                     (id = aq_trav_session(s->trav, i)) != NULL;
       i++) {
    if (aq_hash_get(&ep->punches, id, AQ_CTL_SESSION_LEN) == NULL &&
        aq_hash_put(&ep->punches, id, AQ_CTL_SESSION_LEN, s) == 0) {
      memcpy(s->hashed[s->nhashed++], id, AQ_CTL_SESSION_LEN);
    }
  }
}

static void address_answered(aq_session *s, const aq_addr *a, int echoed) {
  if (echoed) {
    aq_guard_answered(&s->ep->guard, a);
    aq_guard_answered(&s->ep->answer_guard, a);
  }
  for (size_t i = 0; i < s->ndial; i++) {
    aq_link *l = aq_idmap_get(&s->ep->ids, AQ_KIND_CONN, s->dials[i].link);
    if (l != NULL && l->c != NULL && aq_addr_equal(&l->remote, a)) {
      l->unproven &= !echoed;
      aq_conn_nudge(l->c, s->ep->now);
      aq_link_touch(l);
    }
  }
}

static void dropped(aq_endpoint *ep, const aq_session *s, const aq_datagram *d,
                    const aq_punch *p, const char *why) {
  aq_record_punch(ep, AQ_RECORD_PUNCH_DROPPED, s, d->socket, &d->remote, 0, p,
                  why);
}

void aq_session_punched(aq_endpoint *ep, const aq_datagram *d,
                        const uint8_t *data, size_t len) {
  aq_punch p;
  if (aq_punch_peek(&p, data, len) != 0) {
    ep->stats.datagrams_dropped_malformed++;
    AQ_RECORD(ep, dropped(ep, NULL, d, NULL, "malformed"));
    return;
  }
  aq_session *s = aq_hash_get(&ep->punches, p.session, sizeof(p.session));
  if (s == NULL || s->over) {
    ep->stats.datagrams_dropped_unknown++;
    AQ_RECORD(ep, dropped(ep, NULL, d, &p, "unknown session"));
    return;
  }
  const uint8_t *key = aq_trav_key(s->trav, p.session);
  if (key == NULL || aq_punch_verify(data, len, key, aq_crypto_mac16) != 0) {
    ep->stats.punches_bad++;
    AQ_RECORD(ep, dropped(ep, s, d, &p, "wrong key"));
    return;
  }
  AQ_RECORD(ep, aq_record_punch(ep, AQ_RECORD_PUNCH_RECEIVED, s, d->socket,
                                &d->remote, 0, &p, NULL));
  ep->stats.punches_received++;
  uint64_t replays = s->trav->replays;
  int echoed =
      aq_trav_handle_punch(s->trav, ep->now, d->socket, &d->remote, &p);
  ep->stats.punches_replayed += s->trav->replays - replays;
  address_answered(s, &d->remote, echoed);
  aq_session_touch(s);
}

/* ---- dials
 * ------------------------------------------------------------------------- */

static int is_known(const aq_session *s, const aq_addr *a) {
  for (size_t i = 0; i < s->nknown; i++) {
    if (aq_addr_equal(&s->known[i], a)) {
      return 1;
    }
  }
  return 0;
}

/* What we sent there was echoed, so it is nobody else's address. */
static int has_answered(const aq_session *s, const aq_addr *a) {
  aq_pair_info pairs[AQ_TRAV_MAX_PAIRS];
  size_t n = aq_trav_get_pairs(s->trav, pairs, AQ_TRAV_MAX_PAIRS);
  for (size_t i = 0; i < n && i < AQ_TRAV_MAX_PAIRS; i++) {
    if (pairs[i].answered && aq_addr_equal(&pairs[i].remote, a)) {
      return 1;
    }
  }
  return 0;
}

/* May a dial go to |a->addr|, as it is? What goes over a tunnel goes to a
 * coordinator of ours. */
static int may_dial(const aq_session *s, const aq_trav_action *a) {
  aq_guard_request r;
  aq_session_guard(s, a, &r);
  return is_known(s, &a->addr) || aq_guard_classify(&r) == AQ_GUARD_OK;
}

static void dial(aq_session *s, const aq_trav_action *action) {
  aq_endpoint *ep = s->ep;
  aq_trav_action real = *action, *a = &real;
  const uint8_t *id = a->relay ? aq_trav_session(s->trav, 0) : NULL;
  const aq_tunnel *t = id != NULL ? aq_tunnel_find(ep, id) : NULL;
  int rv = 0;
  if (t != NULL) {
    a->addr = t->peer;
    a->socket = t->sock.index;
  } else if (a->relay || !may_dial(s, a)) {
    AQ_LIMIT_HIT(ep, limit_punch_forbidden);
    rv = AQ_ERR_ADDRESS;
  }
  aq_link *l = NULL;
  aq_dial_params p;
  memset(&p, 0, sizeof(p));
  p.addr = &a->addr;
  p.expect = &s->peer;
  p.timeout = a->timeout;
  p.rtt = a->rtt;
  p.socket = a->socket;
  if (rv == 0) {
    rv = s->repair ? aq_repair_move(s, a) : aq_link_dial(ep, &p, &l);
  }
  if (rv != 0) {
    AQ_RECORD(ep, aq_record_dial(s, AQ_RECORD_DIAL_ENDED, 0, a->socket,
                                 &a->addr, rv));
    aq_trav_handle_dial(s->trav, ep->now, a->dial, rv, 0);
  }
  if (l == NULL) {
    return;
  }
  AQ_RECORD(ep,
            aq_record_dial(s, AQ_RECORD_DIAL, l->pub, l->socket, &a->addr, 0));
  l->session = s->id;
  l->dial = a->dial;
  l->unproven =
      t == NULL && !is_known(s, &a->addr) && !has_answered(s, &a->addr);
  size_t at = s->ndial < AQ_TRAV_MAX_DIALS ? s->ndial++ : 0;
  s->dials[at].dial = a->dial;
  s->dials[at].link = l->id;
}

static void hang_up(aq_session *s, uint32_t dial) {
  for (size_t i = 0; i < s->ndial; i++) {
    if (s->dials[i].dial == dial) {
      aq_link *l = aq_idmap_get(&s->ep->ids, AQ_KIND_CONN, s->dials[i].link);
      s->dials[i] = s->dials[--s->ndial];
      if (l != NULL && l->state == AQ_LINK_DIALING) {
        AQ_RECORD(s->ep,
                  aq_record_dial(s, AQ_RECORD_DIAL_ENDED, l->pub, l->socket,
                                 &l->remote, AQ_ERR_CANCELLED));
        aq_pair_hangup(l);
      }
      return;
    }
  }
}

void aq_session_dialed(aq_link *l, int error) {
  aq_session *s = aq_session_get(l->ep, l->session);
  if (s == NULL || s->over) {
    return;
  }
  for (size_t i = 0; i < s->ndial; i++) {
    if (s->dials[i].link == l->id) {
      s->dials[i] = s->dials[--s->ndial];
      break;
    }
  }
  AQ_RECORD(l->ep, aq_record_dial(s, AQ_RECORD_DIAL_ENDED, l->pub, l->socket,
                                  &l->remote, error));
  aq_trav_handle_dial(s->trav, l->ep->now, l->dial, error, 0);
  aq_session_touch(s);
}

void aq_session_connected(aq_session *s, aq_link *l) {
  aq_duration rtt = aq_link_rtt(l);
  if (l->session == s->id && l->client && l->dial != 0) {
    AQ_RECORD(l->ep, aq_record_dial(s, AQ_RECORD_DIAL_ENDED, l->pub, l->socket,
                                    &l->remote, 0));
    aq_trav_handle_dial(s->trav, l->ep->now, l->dial, 0, rtt);
  }
  if (!aq_trav_is_over(s->trav)) {
    aq_addr remote, local;
    (void)aq_tunnel_show(l, &remote, &local);
    aq_trav_handle_connected(s->trav, l->ep->now, &remote, rtt);
  }
  aq_session_touch(s);
}

aq_session *aq_session_expecting(const aq_endpoint *ep, uint32_t socket,
                                 const aq_addr *remote) {
  const aq_tunnel *t = aq_tunnel_get(ep, socket);
  if (t != NULL) {
    aq_session *of = aq_session_get(ep, t->owner);
    return of != NULL && !of->over ? of : NULL;
  }
  aq_list_each(node, &ep->sessions) {
    aq_session *s = aq_list_entry(node, aq_session, node);
    if (!s->over && aq_trav_expects(s->trav, remote)) {
      return s;
    }
  }
  return NULL;
}

/* ---- driving
 * ------------------------------------------------------------------------- */

static void act(aq_session *s, const aq_trav_action *a) {
  aq_link *l;
  switch (a->kind) {
  case AQ_TRAV_REQUEST:
    want_request(s, a);
    break;
  case AQ_TRAV_CANCEL:
    send_cancel(s, a);
    break;
  case AQ_TRAV_VETO:
    l = aq_link_get(s->ep, a->conn);
    s->ep->stats.offers_refused++;
    if (l != NULL) {
      aq_session_veto(l, a->session, a->error);
    }
    break;
  case AQ_TRAV_PUNCH:
    punch(s, a);
    break;
  case AQ_TRAV_DIAL:
    dial(s, a);
    break;
  case AQ_TRAV_HANGUP:
    hang_up(s, a->dial);
    break;
  case AQ_TRAV_OPEN:
    aq_hard_open(s, a);
    break;
  case AQ_TRAV_OBSERVE:
    aq_hard_observe(s, a);
    break;
  case AQ_TRAV_HINT:
    aq_hard_hint(s, a);
    break;
  case AQ_TRAV_CLOSE:
    aq_hard_close(s);
    break;
  case AQ_TRAV_WATCH:
    watch(s, a);
    break;
  case AQ_TRAV_TUNNEL:
    aq_hard_tunnel(s, a);
    break;
  case AQ_TRAV_DONE:
    break; /* aq_trav_is_over tells */
  }
}

/* A repair is no session of the application's. */
static int is_of_repair(aq_event_kind kind) {
  switch (kind) {
  case AQ_EVENT_SESSION_STATE_CHANGED:
  case AQ_EVENT_TRAVERSAL_SUCCEEDED:
  case AQ_EVENT_TRAVERSAL_FAILED:
  case AQ_EVENT_STEP_DONE:
    return 0;
  default:
    return 1;
  }
}

static void tell(aq_session *s, const aq_event *from) {
  aq_endpoint *ep = s->ep;
  if (s->repair && !is_of_repair(from->kind)) {
    return; /* the connection's own events tell */
  }
  aq_event *e = aq_ep_event(ep, from->kind);
  *e = *from;
  e->time = ep->now;
  e->session = s->id;
  e->outgoing = s->initiator;
  aq_ep_event_peer(e, &s->peer);
  switch (from->kind) {
  case AQ_EVENT_TRAVERSAL_SUCCEEDED:
  case AQ_EVENT_PATH_VALIDATED: {
    const aq_link *l = aq_link_get(ep, s->conn);
    if (l != NULL) {
      aq_addr remote;
      e->conn = l->pub;
      e->relayed = (uint8_t)aq_tunnel_show(l, &remote, &e->local);
    }
    break;
  }
  case AQ_EVENT_TRAVERSAL_FAILED:
    e->fallback_available = (uint8_t)aq_session_may_relay(ep);
    break;
  case AQ_EVENT_COORDINATION_REQUESTED:
  case AQ_EVENT_COORDINATION_SYNCHRONIZED: {
    const aq_link *l = aq_link_get(ep, e->conn);
    if (l != NULL) {
      e->addr = s->info.coordinator_addr = l->remote;
    }
    e->conn = l != NULL ? l->pub : 0;
    break;
  }
  default:
    break;
  }
}

/* What was too much between two settlings. */
static void count_lost(aq_session *s) {
  AQ_LIMIT_HITS(s->ep, limit_session_actions, s->trav->actions_lost);
  AQ_LIMIT_HITS(s->ep, limit_session_events, s->trav->events_lost);
  s->trav->actions_lost = s->trav->events_lost = 0;
}

static void carry_out(aq_session *s) {
  aq_trav_action a;
  do {
    while (aq_trav_poll_action(s->trav, s->ep->now, &a)) {
      act(s, &a);
    }
  } while (try_requests(s));
}

void aq_session_drive(aq_session *s) {
  aq_endpoint *ep = s->ep;
  aq_event e;
  if (s->over) {
    return;
  }
  aq_session_rehash(s);
  carry_out(s);
  while (aq_trav_poll_event(s->trav, &e)) {
    tell(s, &e);
  }
  aq_session_rehash(s);
  count_lost(s);
  if (s->repair && s->initiator && aq_trav_is_between(s->trav)) {
    aq_trav_finish(s->trav, ep->now, AQ_ERR_TRAVERSAL_FAILED);
  }
  if (aq_trav_is_over(s->trav)) {
    carry_out(s); /* what was queued last: CANCELs, hang-ups */
    count_lost(s);
    aq_session_end(s);
    return;
  }
  if (s->active && !is_active_phase(aq_trav_phase(s->trav))) {
    set_active(s, 0);
  }
  (void)aq_timer_set(&ep->session_timers, &s->timer,
                     aq_trav_next_timeout(s->trav));
}

void aq_session_timeout(aq_session *s) {
  if (!s->over) {
    aq_trav_handle_timeout(s->trav, s->ep->now);
    aq_session_touch(s);
  }
}

void aq_session_end_active(aq_session *s) {
  set_active(s, 0);
  aq_session_rehash(s);
}

/* ---- what coordinators say
 * --------------------------------------------------------------- */

static aq_session *by_request(aq_link *l, uint64_t request) {
  aq_list_each(node, &l->ep->sessions) {
    aq_session *s = aq_list_entry(node, aq_session, node);
    if (!s->over && aq_trav_is_asked(s->trav, l->id, request)) {
      return s;
    }
  }
  return NULL;
}

void aq_session_answer(aq_link *l, const aq_ctl *m) {
  aq_endpoint *ep = l->ep;
  aq_session *s = by_request(l, m->request);
  l->boot->unanswered = 0; /* be it too late */
  if (s == NULL || aq_trav_phase(s->trav) != AQ_PHASE_COORDINATION) {
    return;
  }
  aq_trav_handle_answer(s->trav, ep->now, l->id, m);
  aq_session_rehash(s); /* a HINT may be in the same packet */
  if (aq_trav_phase(s->trav) != AQ_PHASE_COORDINATION) {
    aq_session_info info;
    aq_trav_get_info(s->trav, &info);
    s->used |= 1u << l->boot->index;
    if (aq_boot_best(ep, s->used, 0, s->plan == AQ_PLAN_RELAY) == NULL) {
      s->used = 1u << l->boot->index; /* in turns */
    }
    ep->stats.coordinations_completed++;
    ep->stats.coordination_time_total_ns += info.coordination_time;
    l->boot->coordination_count++;
  }
  aq_session_touch(s);
}

/* A veto of the peer, which is not overloaded but isn't sure yet; or the
 * coordinator was restarted, and we are back sooner than the peer is. */
static int may_do_soon(const aq_ctl *m) {
  return (m->error == AQ_CTL_ERR_OVERLOADED && m->retry_after_ms == 0) ||
         m->error == AQ_CTL_ERR_UNKNOWN_TARGET;
}

void aq_session_error(aq_link *l, const aq_ctl *m) {
  aq_endpoint *ep = l->ep;
  aq_session *s = by_request(l, m->request);
  l->boot->unanswered = 0;
  if (s == NULL) {
    return;
  }
  if (s->repair && (m->error == AQ_CTL_ERR_NO_CONNECTION ||
                    m->error == AQ_CTL_ERR_UNKNOWN_TARGET)) {
    aq_repair_gone(s, l, m->error == AQ_CTL_ERR_NO_CONNECTION);
  }
  if (s->repair && s->plan == AQ_PLAN_RELAY && may_do_soon(m)) {
    aq_repair_busy(s);
  }
  uint64_t ms = m->retry_after_ms < 3600000 ? m->retry_after_ms : 3600000;
  aq_trav_handle_error(s->trav, ep->now, l->id, m->request,
                       aq_ctl_error_code(m->error), ms * AQ_MS);
  aq_session_touch(s);
}

void aq_session_cancelled(aq_link *l, const aq_ctl *m) {
  aq_list_each(node, &l->ep->sessions) {
    aq_session *s = aq_list_entry(node, aq_session, node);
    if (!s->over && aq_trav_key(s->trav, m->session) != NULL) {
      aq_trav_handle_cancel(s->trav, l->ep->now, l->id, m->session);
      aq_session_touch(s);
      return;
    }
  }
}
