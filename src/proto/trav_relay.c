/* trav_relay.c - the way over a relay: no punching, one dial through a tunnel.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/time.h"

#include <string.h>

void aq_relay_step_init(aq_relay_step *s) {
  s->via = 0;
  s->upgrade_every = AQ_UPGRADE_EVERY;
}

void aq_trav_set_relay(aq_trav *t, int on) {
  t->p.relay = (uint8_t)(on != 0);
}

void aq_trav_relay_request(aq_trav *t, aq_id via) {
  aq_trav_request_plan(t, AQ_PLAN_RELAY, via);
  t->step = AQ_TRAV_STEP_PUNCH + AQ_PLAN_RELAY;
}

void aq_trav_relay_begin(aq_trav *t) {
  t->timer[AQ_TRAV_TIMER_START] = AQ_NEVER; /* of an agreement before */
  t->timer[AQ_TRAV_TIMER_PHASE] = aq_time_add(t->now, AQ_TRAV_SYNC_TIMEOUT);
  aq_trav_action *a = aq_trav_push(t, AQ_TRAV_TUNNEL);
  if (a) {
    a->conn = t->agreed[0].coordinator;
    memcpy(a->session, t->agreed[0].session, sizeof(a->session));
  }
}

void aq_trav_handle_tunnel(aq_trav *t, aq_tstamp now, const aq_addr *relay,
                           int error) {
  aq_trav_clock(t, now);
  if (t->over || t->plan != AQ_PLAN_RELAY ||
      t->phase != AQ_PHASE_SYNCHRONIZATION) {
    return;
  }
  if (error) {
    aq_trav_give_up(t, error, "no tunnel could be opened here");
    return;
  }
  t->rec_punch = aq_trav_record_open(
      t, (aq_trav_step)(AQ_TRAV_STEP_PUNCH + AQ_PLAN_RELAY), relay);
  aq_trav_move(t, AQ_PHASE_VALIDATION, "the tunnel is there");
  t->dials_used = 0;
  int dials = t->p.repair ? t->p.mover : t->initiator;
  if (dials && !aq_trav_dial_relay(t, relay)) {
    aq_trav_attempt_failed(t, AQ_ERR_LIMIT, "no dial is free");
  }
}
