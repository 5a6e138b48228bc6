/* endpoint_offer.c - what coordinators offer us, and that none of them takes
 * more than its share.
 *
 * A coordinator may lie: it can offer attempts that nobody asked for, as often
 * as it likes. So while there are others, each holds at most as many sessions
 * and tunnels as are left free; what it offers about one of our connections has
 * a rate of its own there; and those that offer attempts for one connection
 * take turns.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <string.h>

/* An attempt is not displaced sooner by the word of a coordinator that came to
 * nothing later than this one's. */
#define TURN (2 * AQ_S)

void aq_session_veto(aq_link *l, const uint8_t *session, int error) {
  aq_ctl m;
  memset(&m, 0, sizeof(m));
  m.type = AQ_CTL_VETO;
  memcpy(m.session, session, sizeof(m.session));
  m.error = aq_ctl_error_wire(error);
  (void)aq_ctl_send(l, &m);
}

static void refuse(aq_link *l, const aq_ctl *m, int error) {
  l->ep->stats.offers_refused++;
  aq_session_veto(l, m->session, error);
}

/* ---- shares ----------------------------------------------------------------
 */

int aq_offer_fits(aq_endpoint *ep, uint32_t boot, uint32_t held,
                  uint32_t in_all, uint32_t max) {
  int alone =
      boot < AQ_MAX_BOOTSTRAP && aq_boot_best(ep, 1u << boot, 0, 0) == NULL;
  if (in_all >= max) {
    return 0;
  }
  if (alone || held < max - in_all) {
    return 1;
  }
  AQ_LIMIT_HIT(ep, limit_coordinator_share);
  return 0;
}

static int has_room(aq_endpoint *ep, const aq_link *l) {
  uint32_t held = 0, boot = aq_boot_number(l);
  aq_list_each(node, &ep->sessions) {
    const aq_session *s = aq_list_entry(node, aq_session, node);
    held += !s->initiator && s->via != 0 && s->via_boot == boot;
  }
  return aq_offer_fits(ep, boot, held, ep->ntargets, AQ_MAX_TARGET_SESSIONS);
}

/* ---- attempts for one of our connections -----------------------------------
 */

static aq_asker *asker_of(aq_link *l, aq_id via) {
  aq_repair *r = &l->repair;
  const aq_boot *b = aq_boot_of_conn(l->ep, via);
  if (b == NULL) {
    return NULL;
  }
  if (r->asker == NULL) {
    r->asker = aq_mem_array(&l->ep->mem, AQ_MAX_BOOTSTRAP, sizeof(*r->asker));
  }
  return r->asker != NULL ? &r->asker[b->index] : NULL;
}

static aq_tstamp failed_at(const aq_link *l, aq_id via) {
  const aq_boot *b = aq_boot_of_conn(l->ep, via);
  if (b == NULL || l->repair.asker == NULL) {
    return 0;
  }
  const aq_asker *a = &l->repair.asker[b->index];
  return aq_time_max(a->failed_at[0], a->failed_at[1]);
}

void aq_turn_taken(aq_session *s, const aq_link *via) {
  s->via = via->id;
  s->via_boot = aq_boot_number(via);
  s->turn_at = s->ep->now;
}

void aq_turn_failed(const aq_session *s) {
  aq_link *l = s->contact->exposed;
  aq_asker *a = l != NULL && s->via != 0 ? asker_of(l, s->via) : NULL;
  if (a != NULL) {
    a->failed_at[s->plan == AQ_PLAN_RELAY] = s->ep->now;
    aq_link_touch(l); /* another one may have waited */
  }
}

int aq_turn_is_over(const aq_session *s) {
  return aq_time_since(s->ep->now, s->turn_at) >= TURN;
}

int aq_turn_missed(aq_link *l, const aq_link *via) {
  aq_endpoint *ep = l->ep;
  aq_asker *a = asker_of(l, via->id);
  if (a == NULL) {
    return 0;
  }
  a->missed_at = ep->now;
  for (uint32_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    const aq_boot *b = &ep->boot[i];
    if (b->used && b->connected && b->can_coordinate &&
        !b->link->repair.suspected &&
        l->repair.asker[i].missed_at < aq_time_max(l->repair.since, 1)) {
      return 0;
    }
  }
  return 1;
}

uint32_t aq_turn_used(const aq_link *l, int relay) {
  const aq_asker *a = l->repair.asker;
  aq_tstamp first = AQ_NEVER;
  uint32_t used = 0;
  for (uint32_t i = 0; a != NULL && i < AQ_MAX_BOOTSTRAP; i++) {
    if (l->ep->boot[i].used && l->ep->boot[i].can_coordinate) {
      first = aq_time_min(first, a[i].failed_at[relay]);
    }
  }
  for (uint32_t i = 0; first != AQ_NEVER && i < AQ_MAX_BOOTSTRAP; i++) {
    used |= (uint32_t)(a[i].failed_at[relay] > first) << i;
  }
  return used;
}

static int wanted(aq_link *l, const aq_link *via) {
  aq_asker *a = asker_of(l, via->id);
  if (a != NULL &&
      aq_rate_take(&a->rate, l->ep->now, AQ_REPAIR_RATE, AQ_REPAIR_BURST)) {
    return 1;
  }
  AQ_LIMIT_HIT(l->ep, limit_repairs);
  return 0;
}

/* Whoever coordinates is not reached through others: neither a coordinator of
 * ours, nor a peer that we are one of, over a relay. */
static int may_move(const aq_link *l, uint64_t plan) {
  return l->boot == NULL && !(plan == AQ_PLAN_RELAY && l->is_registrant);
}

/* A relay's word is not enough to leave it. */
static int is_direct(const aq_link *l) {
  return !l->repair.suspected && !aq_tunnel_is_socket(l->socket);
}

static int may_guess(aq_link *l, const aq_link *via) {
  aq_asker *a = asker_of(l, via->id);
  if (!aq_hard_allowed(l->ep, AQ_PLAN_BIRTHDAY)) {
    return AQ_ERR_NOT_ALLOWED;
  }
  if (is_direct(l)) {
    aq_link_ping(l); /* is it so? */
    return AQ_ERR_OVERLOADED;
  }
  if (a != NULL && aq_rate_take(&a->guess_rate, l->ep->now,
                                AQ_REPAIR_GUESS_RATE, AQ_REPAIR_GUESS_BURST)) {
    return 0;
  }
  AQ_LIMIT_HIT(l->ep, limit_repair_guesses);
  return AQ_ERR_OVERLOADED;
}

/* |via| offers to move |l|. Returns 0, or why not. */
static int moving(aq_link *l, const aq_link *via, const aq_ctl *m) {
  if (!may_move(l, m->plan)) {
    return AQ_ERR_NOT_ALLOWED;
  }
  if (l->client && !l->repair.suspected) {
    aq_link_ping(l); /* is it so? */
  }
  if (m->plan == AQ_PLAN_RELAY) {
    return l->client && is_direct(l) ? AQ_ERR_OVERLOADED : 0;
  }
  return aq_trav_repair_how(&l->ep->profile, &m->profile) == AQ_PLAN_FRESH
             ? 0
             : may_guess(l, via);
}

/* May |via| displace the attempt |s| for |l|, if there is one? */
static int has_turn(const aq_link *l, const aq_session *s, const aq_link *via) {
  if (s == NULL || s->over || s->via == 0 || s->via == via->id ||
      aq_turn_is_over(s) || failed_at(l, via->id) <= failed_at(l, s->via)) {
    return 1;
  }
  AQ_LIMIT_HIT(l->ep, limit_repairs);
  return 0;
}

/* |via| offers an attempt with the peer of |l|, |moves|: to move that, and |s|
 * may be one that runs. Returns 0, or why not. */
static int may_try(aq_link *l, const aq_session *s, const aq_link *via,
                   const aq_ctl *m, int moves) {
  if (!wanted(l, via) || !has_turn(l, s, via)) {
    return AQ_ERR_OVERLOADED;
  }
  return moves ? moving(l, via, m) : 0;
}

/* ---- an offer --------------------------------------------------------------
 */

/* To the attempt that runs. */
static void hand_on(aq_session *s, aq_link *l, const aq_ctl *m) {
  aq_trav_handle_offer(s->trav, s->ep->now, m, l->id);
  const uint8_t *id = aq_trav_session(s->trav, 0);
  if (s->via != l->id && id != NULL &&
      memcmp(id, m->session, sizeof(m->session)) == 0) {
    aq_turn_failed(s);
    aq_turn_taken(s, l);
  }
  aq_session_rehash(s);
  aq_session_touch(s);
}

/* What is over, or is another thing than to move the connection that there is,
 * makes room. */
static aq_session *running(aq_contact *k, int moves) {
  aq_session *s = k->session;
  if (s == NULL || s->over) {
    return NULL;
  }
  if (moves && !s->repair && !s->initiator) {
    aq_trav_finish(s->trav, s->ep->now, AQ_ERR_CANCELLED);
  }
  /* The CANCEL of the last attempt may have come with it. */
  if (aq_trav_is_over(s->trav)) {
    aq_session_drive(s);
    return NULL;
  }
  return s;
}

/* Are offers of this kind for us? Returns 0, or why not. */
static int is_welcome(const aq_link *l, const aq_contact *k, const aq_ctl *m,
                      int moves) {
  const aq_endpoint *ep = l->ep;
  if (m->plan == AQ_PLAN_REPAIR &&
      (k == NULL || (k->exposed == NULL && aq_list_is_empty(&k->members)))) {
    return AQ_ERR_STATELESS_RESET;
  }
  if ((!ep->shared.params.accept && !moves) || ep->closing) {
    return AQ_ERR_REFUSED;
  }
  if (!aq_session_allowed(ep, &m->peer) || !aq_hard_allowed(ep, m->plan) ||
      (m->plan == AQ_PLAN_RELAY && !l->boot->relays)) {
    return AQ_ERR_NOT_ALLOWED;
  }
  return 0;
}

void aq_session_offer(aq_link *l, const aq_ctl *m) {
  aq_endpoint *ep = l->ep;
  ep->stats.offers_received++;
  if (aq_peer_id_compare(&m->peer, &ep->self) == 0) {
    return;
  }
  aq_contact *k = aq_contact_find(ep, &m->peer);
  int moves = k != NULL && k->exposed != NULL &&
              (m->plan == AQ_PLAN_REPAIR || m->plan == AQ_PLAN_RELAY);
  int error = is_welcome(l, k, m, moves);
  if (error == 0 && k != NULL && k->exposed != NULL) {
    error = may_try(k->exposed, k->session, l, m, moves);
  }
  if (error != 0) {
    refuse(l, m, error);
    return;
  }
  aq_session *s = k != NULL ? running(k, moves) : NULL;
  if (s != NULL) {
    hand_on(s, l, m);
    return;
  }
  k = aq_contact_make(ep, &m->peer);
  if (k == NULL || !has_room(ep, l) || aq_session_accept(ep, k, l, m) != 0) {
    refuse(l, m, AQ_ERR_OVERLOADED);
    if (k != NULL) {
      aq_contact_release(ep, k);
    }
    return;
  }
  aq_turn_taken(k->session, l);
  aq_session_rehash(k->session);
}
