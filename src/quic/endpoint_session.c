/* endpoint_session.c - sessions: begun, ended, remembered; the public calls.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <stdio.h>
#include <string.h>

aq_session *aq_session_get(const aq_endpoint *ep, aq_id id) {
  return aq_idmap_get(&ep->ids, AQ_KIND_SESSION, id);
}

int aq_session_allowed(const aq_endpoint *ep, const aq_peer_id *peer) {
  const aq_endpoint_params *p = &ep->shared.params;
  if (p->allow == NULL) {
    return 1;
  }
  for (size_t i = 0; i < p->allow_count; i++) {
    if (aq_peer_id_compare(&p->allow[i], peer) == 0) {
      return 1;
    }
  }
  return 0;
}

/* ---- begin
 * ------------------------------------------------------------------- */

static int session_new(aq_endpoint *ep, aq_contact *k, aq_session **out) {
  if (ep->nsessions >= AQ_MAX_SESSIONS) {
    return AQ_ERR_LIMIT;
  }
  aq_session *s = aq_mem_alloc(&ep->mem, sizeof(*s));
  if (s == NULL) {
    return AQ_ERR_NOMEM;
  }
  s->ep = ep;
  s->contact = k;
  s->peer = k->id;
  aq_list_init(&s->dirty_node);
  aq_list_init(&s->node);
  /* Not zeroed: aq_trav_init does. */
  s->trav = aq_mem_resize(&ep->mem, NULL, sizeof(*s->trav));
  if (s->trav == NULL ||
      aq_timer_heap_reserve(&ep->session_timers, ep->nsessions + 1) != 0 ||
      aq_idmap_add(&ep->ids, AQ_KIND_SESSION, s, &s->id) != 0) {
    aq_mem_free(&ep->mem, s->trav);
    aq_mem_free(&ep->mem, s);
    return AQ_ERR_NOMEM;
  }
  k->session = s;
  aq_list_push_back(&ep->sessions, &s->node);
  ep->nsessions++;
  *out = s;
  return 0;
}

int aq_session_may_relay(aq_endpoint *ep) {
  return ep->shared.params.enable_relay_fallback &&
         aq_boot_best(ep, 0, 0, 1) != NULL;
}

static void fill_params(aq_session *s, aq_trav_params *p) {
  aq_endpoint *ep = s->ep;
  const aq_endpoint_params *ec = &ep->shared.params;
  memset(p, 0, sizeof(*p));
  p->self = ep->self;
  p->peer = s->peer;
  p->strategy = ec->strategy;
  p->allow_loopback = ep->loopback;
  p->allow_reserved = ec->allow_reserved;
  p->timeout = AQ_SESSION_TIMEOUT;
  p->coordination_timeout = ec->coordination_timeout;
  p->nlocal = aq_ep_published(ep, p->local, AQ_MAX_CANDIDATES);
  p->nsock = ep->nsock;
  memcpy(p->sock, ep->sock, ep->nsock * sizeof(ep->sock[0]));
  p->profile = ep->profile;
  p->relay = (uint8_t)aq_session_may_relay(ep);
  p->max_attempts = UINT32_MAX; /* as long as there is time */
  for (int plan = AQ_PLAN_PUNCH; plan < AQ_PLAN__COUNT; plan++) {
    p->plans |= (uint8_t)(aq_hard_allowed(ep, (uint64_t)plan) << plan);
  }
  p->seed = aq_rand_u64(&ep->rand);
}

int aq_session_begin(aq_endpoint *ep, aq_contact *k, const aq_addr *known,
                     size_t nknown, aq_duration timeout, aq_session **out) {
  aq_session *s;
  int rv = session_new(ep, k, &s);
  if (rv != 0) {
    return rv;
  }
  aq_trav_params p;
  fill_params(s, &p);
  s->initiator = 1;
  s->upgrade_every = AQ_UPGRADE_EVERY;
  for (size_t i = 0; i < nknown && p.nknown < 8; i++) {
    p.known[p.nknown] = known[i];
    aq_addr_normalize(&p.known[p.nknown]);
    s->known[p.nknown] = p.known[p.nknown];
    p.nknown++;
  }
  s->nknown = p.nknown;
  if (timeout > 0) {
    p.timeout = timeout;
  }
  aq_trav_init(s->trav, ep->now, &p);
  aq_trav_set_punch(s->trav, &ep->punch);
  ep->stats.total_attempts++;
  aq_session_touch(s);
  *out = s;
  return 0;
}

/* The connection is there, so that neither the policy nor the application is
 * asked about it. */
static void fill_repair(aq_session *s, aq_trav_params *p, const aq_link *l) {
  fill_params(s, p);
  p->strategy = AQ_STRATEGY_STEPS;
  p->repair = 1;
  p->mover = l->client;
  p->patient = l->repair.failures;
  p->timeout = AQ_REPAIR_TIMEOUT;
}

int aq_session_repair(aq_link *l, int relay, aq_session **out) {
  aq_endpoint *ep = l->ep;
  aq_session *s;
  int rv = session_new(ep, l->contact, &s);
  if (rv != 0) {
    return rv;
  }
  aq_trav_params p;
  aq_hard_step step;
  fill_repair(s, &p, l);
  s->initiator = 1;
  s->used = aq_turn_used(l, relay);
  aq_hard_step_init(&step);
  step.punch = ep->punch;
  aq_trav_init(s->trav, ep->now, &p);
  if (relay) {
    (void)aq_trav_step_relay(s->trav, ep->now, 0);
  } else {
    (void)aq_trav_step_hard(s->trav, ep->now, AQ_PLAN_REPAIR, &step);
  }
  aq_session_touch(s);
  *out = s;
  return 0;
}

int aq_session_accept(aq_endpoint *ep, aq_contact *k, aq_link *via,
                      const aq_ctl *offer) {
  aq_session *s;
  int rv = session_new(ep, k, &s);
  if (rv != 0) {
    return rv;
  }
  aq_trav_params p;
  int repairs = offer->plan == AQ_PLAN_REPAIR || offer->plan == AQ_PLAN_RELAY;
  aq_link *l = repairs ? k->exposed : NULL;
  if (l != NULL) {
    fill_repair(s, &p, l);
    aq_repair_joined(l, s);
  } else {
    fill_params(s, &p);
  }
  s->info.coordinator_addr = via->remote;
  ep->ntargets++;
  int ask = ep->shared.params.ask_accept && l == NULL;
  aq_trav_init_target(s->trav, ep->now, &p, offer, via->id, ask,
                      aq_time_add(ep->now, AQ_DECISION_WAIT));
  aq_trav_set_punch(s->trav, &ep->punch);
  if (ask) {
    s->decision = ++ep->next_decision;
    aq_event *e = aq_ep_event(ep, AQ_EVENT_DECISION);
    e->session = s->id;
    e->conn = via->pub;
    aq_ep_event_peer(e, &s->peer);
    e->value = s->decision;
    e->duration = AQ_DECISION_WAIT;
    snprintf(e->text, sizeof(e->text), "accept");
  }
  aq_session_touch(s);
  return 0;
}

/* ---- end
 * ----------------------------------------------------------------------- */

static aq_step_record *copy_steps(aq_endpoint *ep, const aq_step_record *v,
                                  size_t n) {
  aq_step_record *c = n > 0 ? aq_mem_array(&ep->mem, n, sizeof(*v)) : NULL;
  if (c != NULL) {
    memcpy(c, v, n * sizeof(*v));
  }
  return c;
}

static void keep_pairs(aq_session *s) {
  aq_pair_info v[AQ_TRAV_MAX_PAIRS];
  size_t n = aq_trav_get_pairs(s->trav, v, AQ_TRAV_MAX_PAIRS);
  s->pairs = n > 0 ? aq_mem_array(&s->ep->mem, n, sizeof(*v)) : NULL;
  if (s->pairs != NULL) {
    memcpy(s->pairs, v, n * sizeof(*v));
    s->npairs = n;
  }
}

void aq_link_add_steps(aq_link *l, const aq_step_record *v, size_t n) {
  aq_step_record all[2 * AQ_MAX_STEPS];
  size_t have = l->nsteps;
  if (have > 0) {
    memcpy(all, l->steps, have * sizeof(*v));
  }
  memcpy(all + have, v, n * sizeof(*v));
  size_t keep = have + n < AQ_MAX_STEPS ? have + n : AQ_MAX_STEPS;
  aq_step_record *c = copy_steps(l->ep, all + have + n - keep, keep);
  if (c != NULL) {
    aq_mem_free(&l->ep->mem, l->steps);
    l->steps = c;
    l->nsteps = keep;
  }
}

static void keep_steps(aq_session *s) {
  aq_endpoint *ep = s->ep;
  aq_step_record v[AQ_MAX_STEPS];
  size_t n = aq_trav_get_steps(s->trav, v, AQ_MAX_STEPS);
  if (n > AQ_MAX_STEPS) {
    n = AQ_MAX_STEPS;
  }
  aq_link *l = s->conn != 0 ? aq_link_get(ep, s->conn) : NULL;
  if (s->repair) {
    if (l != NULL) {
      aq_link_add_steps(l, v, n);
    }
    return;
  }
  s->steps = copy_steps(ep, v, n);
  s->nsteps = s->steps != NULL ? n : 0;
  if (l != NULL && l->steps == NULL) {
    l->steps = copy_steps(ep, v, n);
    l->nsteps = l->steps != NULL ? n : 0;
  }
}

/* What the peer said of its NAT decides how the connection is repaired. */
static void keep_profile(const aq_session *s) {
  aq_link *l = s->conn != 0 ? aq_link_get(s->ep, s->conn) : NULL;
  if (l != NULL && s->info.remote_profile.mapping != AQ_NAT_UNKNOWN) {
    l->repair.theirs = s->info.remote_profile;
  }
}

static void fill_info(const aq_session *s, aq_session_info *out) {
  aq_addr coordinator = s->info.coordinator_addr;
  aq_trav_get_info(s->trav, out);
  out->coordinator_addr = coordinator;
  const aq_link *l = aq_link_get(s->ep, out->coordinator);
  out->coordinator = l != NULL ? l->pub : 0;
}

void aq_session_end(aq_session *s) {
  aq_endpoint *ep = s->ep;
  fill_info(s, &s->info);
  keep_steps(s);
  keep_pairs(s);
  keep_profile(s);
  if (s->info.phase != AQ_PHASE_CONNECTED) {
    aq_turn_failed(s);
  }
  if (s->repair) {
    aq_repair_ended(s);
  } else if (s->info.phase == AQ_PHASE_CONNECTED) {
    if (s->initiator) {
      const aq_link *l = aq_link_get(ep, s->conn);
      ep->stats.successful_connections++;
      if (l != NULL && aq_tunnel_is_socket(l->socket)) {
        ep->stats.relayed_connections++;
      } else {
        ep->stats.direct_connections++;
      }
    }
  } else if (s->initiator) {
    ep->stats.failed_attempts++;
  }
  s->over = 1;
  s->ended = ep->now;
  s->nwant = 0;
  if (!s->initiator) {
    ep->ntargets--;
  }
  aq_mem_wipe(s->trav, sizeof(*s->trav));
  aq_mem_free(&ep->mem, s->trav);
  s->trav = NULL;
  aq_hard_close(s);
  aq_session_end_active(s);
  aq_timer_remove(&ep->session_timers, &s->timer);
  aq_list_remove(&s->dirty_node);
  aq_list_remove(&s->node);
  ep->nsessions--;
  aq_contact *k = s->contact;
  s->contact = NULL;
  k->session = NULL;
  aq_contact_release(ep, k);
  aq_list_push_back(&ep->tombs, &s->node);
  ep->ntombs++;
  if (s->repair) {
    aq_session_free(s); /* its connection has what there is to tell */
  } else if (ep->ntombs > AQ_MAX_TOMBS) {
    aq_session_free(aq_list_entry(aq_list_first(&ep->tombs), aq_session, node));
  }
}

void aq_session_free(aq_session *s) {
  aq_endpoint *ep = s->ep;
  if (s->over) {
    ep->ntombs--;
  }
  if (s->trav != NULL) {
    aq_mem_wipe(s->trav, sizeof(*s->trav));
    aq_mem_free(&ep->mem, s->trav);
  }
  aq_timer_remove(&ep->session_timers, &s->timer);
  aq_list_remove(&s->node);
  aq_list_remove(&s->dirty_node);
  aq_idmap_remove(&ep->ids, s->id);
  aq_mem_free(&ep->mem, s->steps);
  aq_mem_free(&ep->mem, s->pairs);
  aq_mem_free(&ep->mem, s);
}

aq_tstamp aq_session_bury_at(const aq_endpoint *ep) {
  const aq_list *node = aq_list_first(&ep->tombs);
  if (node == NULL) {
    return AQ_NEVER;
  }
  return aq_time_add(aq_list_entry(node, aq_session, node)->ended,
                     AQ_TOMB_LIFE);
}

void aq_session_bury(aq_endpoint *ep) {
  while (aq_session_bury_at(ep) <= ep->now) {
    aq_session_free(aq_list_entry(aq_list_first(&ep->tombs), aq_session, node));
  }
}

/* ---- once connected
 * --------------------------------------------------------------------- */

static void tell_state(aq_link *l, aq_state to, aq_reason reason,
                       const char *text) {
  if (l->session == 0) {
    return; /* of a dial by address */
  }
  aq_event *e = aq_ep_event(l->ep, AQ_EVENT_SESSION_STATE_CHANGED);
  e->session = l->session;
  e->conn = l->pub;
  e->outgoing = l->client;
  aq_ep_event_peer(e, &l->peer);
  e->from = l->migrating ? AQ_STATE_MIGRATING : AQ_STATE_CONNECTED;
  e->to = to;
  e->reason = reason;
  snprintf(e->text, sizeof(e->text), "%s", text);
}

void aq_session_moving(aq_link *l) {
  int moving = aq_conn_is_migrating(l->c) || aq_repair_is_on(l);
  if (moving == l->migrating) {
    return;
  }
  aq_conn_info info;
  aq_conn_get_info_of(l->c, l->ep->now, &info);
  if (moving) {
    tell_state(l, AQ_STATE_MIGRATING, AQ_REASON_NONE,
               aq_repair_is_on(l) ? "nothing is heard; another path is sought"
                                  : "another path is validated");
    l->home_remote = *aq_conn_proven(l->c);
    l->home_local = info.local;
  } else if (aq_addr_equal(&l->home_remote, &info.remote) &&
             aq_addr_equal(&l->home_local, &info.local) && l->repair.back) {
    tell_state(l, AQ_STATE_CONNECTED, AQ_REASON_NONE,
               "the old path answers again");
  } else if (aq_addr_equal(&l->home_remote, &info.remote) &&
             aq_addr_equal(&l->home_local, &info.local)) {
    tell_state(l, AQ_STATE_CONNECTED, AQ_REASON_MIGRATION_FAILED,
               "the new path was not validated; the old one stays");
  } else {
    tell_state(l, AQ_STATE_CONNECTED, AQ_REASON_MIGRATION_COMPLETE,
               "the new path is validated");
  }
  l->migrating = (uint8_t)moving;
}

void aq_session_lost(aq_link *l, int error, aq_reason reason,
                     const char *text) {
  if (l->migrating && reason == AQ_REASON_TIMEOUT) {
    reason = AQ_REASON_MIGRATION_FAILED;
  }
  tell_state(l, AQ_STATE_CLOSED, reason, *text ? text : aq_error_text(error));
  l->migrating = 0;
}

/* ---- public
 * ---------------------------------------------------------------------- */

int aq_session_start(aq_endpoint *ep, aq_tstamp now, const aq_peer_id *peer,
                     const aq_addr *known, size_t nknown, aq_duration timeout,
                     aq_id *out_session, aq_id *out_conn) {
  aq_ep_enter(ep, now);
  *out_session = 0;
  *out_conn = 0;
  if (ep->closing) {
    return AQ_ERR_CLOSED;
  }
  if (aq_peer_id_compare(peer, &ep->self) == 0) {
    return AQ_ERR_INVAL;
  }
  if (!aq_session_allowed(ep, peer)) {
    return AQ_ERR_NOT_ALLOWED;
  }
  aq_contact *k = aq_contact_make(ep, peer);
  if (k == NULL) {
    return AQ_ERR_NOMEM;
  }
  if (k->exposed != NULL) {
    *out_conn = k->exposed->pub;
    if (!k->exposed->reported) {
      aq_pair_report(k->exposed, k->exposed->pub);
    }
    return 0;
  }
  if (k->session != NULL && !k->session->over && k->session->initiator) {
    *out_session = k->session->id;
    return 0;
  }
  if (k->session != NULL) {
    /* The peer is reaching for us already, and that goes on; now it is ours
     * to tell of as well, and to try again. */
    k->session->initiator = 1;
    k->session->decision = 0;
    ep->ntargets--;
    ep->stats.total_attempts++;
    *out_session = k->session->id;
    aq_trav_want(k->session->trav, ep->now, timeout);
    aq_session_touch(k->session);
    aq_ep_settle(ep);
    return 0;
  }
  aq_session *s;
  int rv = aq_session_begin(ep, k, known, nknown, timeout, &s);
  if (rv != 0) {
    aq_contact_release(ep, k);
    return rv;
  }
  *out_session = s->id;
  aq_ep_settle(ep);
  return 0;
}

static aq_session *running(aq_endpoint *ep, aq_tstamp now, aq_id id) {
  aq_ep_enter(ep, now);
  aq_session *s = aq_session_get(ep, id);
  return s != NULL && !s->over ? s : NULL;
}

static int stepped(aq_session *s, int rv) {
  aq_session_touch(s);
  aq_ep_settle(s->ep);
  return rv;
}

int aq_session_dial(aq_endpoint *ep, aq_tstamp now, aq_id session,
                    const aq_dial_step *step) {
  aq_session *s = running(ep, now, session);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  /* What the application names itself needs no coordinator's word. */
  s->nknown = step->count < 8 ? step->count : 8;
  memcpy(s->known, step->addrs, s->nknown * sizeof(s->known[0]));
  return stepped(s, aq_trav_step_dial(s->trav, ep->now, step));
}

int aq_session_coordinate(aq_endpoint *ep, aq_tstamp now, aq_id session,
                          const aq_coordinate_step *step) {
  aq_session *s = running(ep, now, session);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  /* One that is lost meanwhile is no reason not to ask the others. */
  for (size_t i = 0; i < step->count && i < AQ_MAX_BOOTSTRAP; i++) {
    const aq_link *l = aq_link_get(ep, step->via[i]);
    if (l != NULL && l->boot == NULL) {
      return AQ_ERR_INVAL;
    }
  }
  return stepped(s, aq_trav_step_coordinate(s->trav, ep->now, step));
}

int aq_session_punch(aq_endpoint *ep, aq_tstamp now, aq_id session,
                     const aq_punch_step *step) {
  aq_session *s = running(ep, now, session);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  return stepped(s, aq_trav_step_punch(s->trav, ep->now, step));
}

int aq_session_hard(aq_endpoint *ep, aq_tstamp now, aq_id session, aq_plan plan,
                    const aq_hard_step *step) {
  aq_session *s = running(ep, now, session);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  if (!aq_hard_allowed(ep, plan)) {
    return AQ_ERR_NOT_ALLOWED;
  }
  if (step->via != 0 && aq_boot_of_conn(ep, step->via) == NULL) {
    return AQ_ERR_INVAL;
  }
  return stepped(s, aq_trav_step_hard(s->trav, ep->now, plan, step));
}

int aq_session_relay(aq_endpoint *ep, aq_tstamp now, aq_id session,
                     const aq_relay_step *step) {
  aq_session *s = running(ep, now, session);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  if (!ep->shared.params.enable_relay_fallback) {
    return AQ_ERR_NOT_ALLOWED;
  }
  if (step->via != 0 && aq_boot_of_conn(ep, step->via) == NULL) {
    return AQ_ERR_INVAL;
  }
  s->upgrade_every = aq_time_max(step->upgrade_every, AQ_S);
  return stepped(s, aq_trav_step_relay(s->trav, ep->now, step->via));
}

int aq_session_finish(aq_endpoint *ep, aq_tstamp now, aq_id session,
                      int error) {
  aq_session *s = running(ep, now, session);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  aq_trav_finish(s->trav, ep->now, error);
  return stepped(s, 0);
}

int aq_session_cancel(aq_endpoint *ep, aq_tstamp now, aq_id session) {
  return aq_session_finish(ep, now, session, AQ_ERR_CANCELLED);
}

int aq_endpoint_decide(aq_endpoint *ep, aq_tstamp now, uint64_t decision,
                       int accept) {
  aq_ep_enter(ep, now);
  aq_list_each(node, &ep->sessions) {
    aq_session *s = aq_list_entry(node, aq_session, node);
    if (!s->over && s->decision == decision && decision != 0) {
      s->decision = 0;
      aq_trav_decide(s->trav, ep->now, accept);
      return stepped(s, 0);
    }
  }
  return AQ_ERR_EXPIRED;
}

void aq_endpoint_set_punch_defaults(aq_endpoint *ep,
                                    const aq_punch_step *step) {
  ep->punch = *step;
  aq_trav_clamp_punch(&ep->punch);
}

static aq_state state_of_conn(const aq_endpoint *ep, aq_id conn) {
  aq_conn_info info;
  int rv = aq_conn_get_info(ep, conn, &info);
  return rv == 0 ? info.state : AQ_STATE_CLOSED;
}

int aq_session_get_info(const aq_endpoint *ep, aq_id session,
                        aq_session_info *out) {
  const aq_session *s = aq_session_get(ep, session);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  if (s->over) {
    *out = s->info;
    if (out->state == AQ_STATE_CONNECTED) {
      out->state = state_of_conn(ep, s->conn);
    }
    return 0;
  }
  fill_info(s, out);
  return 0;
}

size_t aq_session_get_pairs(const aq_endpoint *ep, aq_id session,
                            aq_pair_info *out, size_t max) {
  const aq_session *s = aq_session_get(ep, session);
  if (s == NULL) {
    return 0;
  }
  if (!s->over) {
    return aq_trav_get_pairs(s->trav, out, max);
  }
  for (size_t i = 0; i < s->npairs && i < max; i++) {
    out[i] = s->pairs[i];
  }
  return s->npairs;
}

size_t aq_explain(const aq_endpoint *ep, aq_id id, aq_step_record *out,
                  size_t max) {
  const aq_session *s = aq_session_get(ep, id);
  const aq_step_record *v = NULL;
  size_t n = 0;
  if (s != NULL && !s->over) {
    return aq_trav_get_steps(s->trav, out, max);
  }
  if (s != NULL) {
    v = s->steps;
    n = s->nsteps;
  } else {
    const aq_link *l = aq_link_get(ep, id);
    if (l != NULL) {
      v = l->steps;
      n = l->nsteps;
    }
  }
  for (size_t i = 0; i < n && i < max; i++) {
    out[i] = v[i];
  }
  return n;
}
