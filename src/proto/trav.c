/* trav.c - a session's life: its start, the steps, the C strategy.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/addr.h"
#include "base/hash.h"
#include "base/time.h"

#include <stdio.h>
#include <string.h>

void aq_trav_clock(aq_trav *t, aq_tstamp now) {
  t->now = aq_time_max(t->now, now);
}

static void init(aq_trav *t, aq_tstamp now, const aq_trav_params *p) {
  memset(t, 0, sizeof(*t));
  t->p = *p;
  t->now = t->started = t->phase_since = now;
  t->rng = aq_mix64(p->seed + 1);
  t->step = AQ_TRAV_STEP_NONE;
  if (t->p.nlocal > AQ_MAX_CANDIDATES) {
    t->p.nlocal = AQ_MAX_CANDIDATES;
  }
  if (t->p.nsock > AQ_MAX_SOCKETS) {
    t->p.nsock = AQ_MAX_SOCKETS;
  }
  if (t->p.nknown > 8) {
    t->p.nknown = 8;
  }
  if (t->p.max_attempts == 0) {
    t->p.max_attempts = 3;
  }
  if (t->p.coordination_timeout == 0) {
    t->p.coordination_timeout = 10 * AQ_S;
  }
  for (int i = 0; i < AQ_TRAV_TIMER__COUNT; i++) {
    t->timer[i] = AQ_NEVER;
  }
  if (p->timeout) {
    t->timer[AQ_TRAV_TIMER_SESSION] = aq_time_add(now, p->timeout);
  }
  aq_punch_step_init(&t->schedule);
}

/* The families take turns, each in the caller's order (RFC 8305 section 4): one
 * that doesn't work here costs one spacing, not one for each of its addresses.
 */
static void interleave(aq_dial_step *s) {
  aq_addr out[8];
  size_t n = 0;
  uint8_t used[8] = {0}, last = 0;
  while (n < s->count) {
    size_t pick = s->count;
    for (size_t i = 0; i < s->count; i++) {
      if (!used[i] && (pick == s->count || (s->addrs[pick].family == last &&
                                            s->addrs[i].family != last))) {
        pick = i;
      }
    }
    used[pick] = 1;
    last = s->addrs[pick].family;
    out[n++] = s->addrs[pick];
  }
  memcpy(s->addrs, out, n * sizeof(out[0]));
}

void aq_trav_dial_step(aq_trav *t, const aq_dial_step *s,
                       aq_duration headstart) {
  t->known = *s;
  interleave(&t->known);
  t->known_next = 0;
  t->step = AQ_TRAV_STEP_DIAL;
  t->step_error = AQ_OK;
  t->timer[AQ_TRAV_TIMER_STEP] = aq_time_add(t->now, headstart);
  if (t->phase == AQ_PHASE_IDLE) {
    aq_trav_move(t, AQ_PHASE_DISCOVERY, "a dial of known addresses starts");
  }
  aq_trav_dial_known(t);
}

void aq_trav_init(aq_trav *t, aq_tstamp now, const aq_trav_params *p) {
  init(t, now, p);
  t->initiator = t->originator = t->decided = 1;
  if (p->strategy == AQ_STRATEGY_AUTO) {
    aq_trav_auto_start(t);
  }
}

/* ---- steps -----------------------------------------------------------------
 */

static int may_step(const aq_trav *t) {
  return !t->over && t->p.strategy == AQ_STRATEGY_STEPS &&
         t->step == AQ_TRAV_STEP_NONE;
}

static int is_between(const aq_trav *t) {
  return t->phase == AQ_PHASE_IDLE || t->phase == AQ_PHASE_DISCOVERY ||
         t->phase == AQ_PHASE_SYNCHRONIZATION;
}

int aq_trav_step_dial(aq_trav *t, aq_tstamp now, const aq_dial_step *s) {
  aq_trav_clock(t, now);
  if (!may_step(t) || !t->initiator || !is_between(t) || s->count == 0) {
    return AQ_ERR_INVAL;
  }
  aq_dial_step d = *s;
  d.count = d.count > 8 ? 8 : d.count;
  d.spacing = aq_time_clamp(d.spacing, 0, 250 * AQ_MS);
  d.timeout = d.timeout ? aq_time_clamp(d.timeout, 50 * AQ_MS, 30 * AQ_S)
                        : AQ_TRAV_DISCOVERY_TIMEOUT;
  aq_duration timeout = d.timeout;
  if (d.keep) {
    d.timeout = aq_time_max(timeout, AQ_TRAV_DIAL_TIMEOUT);
  }
  aq_trav_dial_step(t, &d, timeout);
  return 0;
}

int aq_trav_step_coordinate(aq_trav *t, aq_tstamp now,
                            const aq_coordinate_step *s) {
  aq_trav_clock(t, now);
  if (!may_step(t)) {
    return AQ_ERR_INVAL;
  }
  if (!t->initiator) { /* the peer's request did it already */
    t->step = AQ_TRAV_STEP_COORDINATE;
    aq_trav_step_done(t, AQ_OK, "the peer asked for us");
    return 0;
  }
  if (!is_between(t)) {
    return AQ_ERR_INVAL;
  }
  t->hard.wanted = AQ_PLAN_PUNCH;
  aq_trav_request(t, s);
  return 0;
}

int aq_trav_step_punch(aq_trav *t, aq_tstamp now, const aq_punch_step *s) {
  aq_trav_clock(t, now);
  if (!may_step(t)) {
    return AQ_ERR_INVAL;
  }
  if (!t->initiator) { /* runs already, as the peer's target */
    t->step = AQ_TRAV_STEP_PUNCH;
    return 0;
  }
  if (t->sync_error) {
    t->step = AQ_TRAV_STEP_PUNCH;
    aq_trav_step_done(t, t->sync_error, aq_error_text(t->sync_error));
    t->sync_error = AQ_OK;
    return 0;
  }
  if (!t->synced || t->phase != AQ_PHASE_SYNCHRONIZATION) {
    return AQ_ERR_INVAL;
  }
  t->step = AQ_TRAV_STEP_PUNCH;
  aq_trav_arm(t, s ? s : &t->schedule);
  aq_trav_kick(t);
  return 0;
}

void aq_trav_hard_request(aq_trav *t, aq_plan plan, const aq_hard_step *s) {
  t->hard.step = *s;
  aq_trav_clamp_punch(&t->hard.step.punch);
  aq_trav_request_plan(t, plan, s->via);
  t->step = (uint8_t)(AQ_TRAV_STEP_PUNCH + plan);
}

static int may_plan(const aq_trav *t) {
  return may_step(t) && (!t->initiator || is_between(t));
}

int aq_trav_step_hard(aq_trav *t, aq_tstamp now, aq_plan plan,
                      const aq_hard_step *s) {
  aq_trav_clock(t, now);
  if (!may_plan(t) || plan == AQ_PLAN_PUNCH || plan >= AQ_PLAN_RELAY) {
    return AQ_ERR_INVAL;
  }
  if (t->initiator) {
    aq_trav_hard_request(t, plan, s);
  } else {
    t->step = AQ_TRAV_STEP_PUNCH; /* the peer's attempt runs already */
  }
  return 0;
}

int aq_trav_step_relay(aq_trav *t, aq_tstamp now, aq_id via) {
  aq_trav_clock(t, now);
  if (!may_plan(t)) {
    return AQ_ERR_INVAL;
  }
  if (t->initiator) {
    aq_trav_relay_request(t, via);
  } else {
    t->step = AQ_TRAV_STEP_PUNCH; /* the peer's attempt runs already */
  }
  return 0;
}

void aq_trav_finish(aq_trav *t, aq_tstamp now, int error) {
  aq_trav_clock(t, now);
  if (!t->over) {
    error = error ? error : AQ_ERR_CANCELLED;
    aq_trav_fail(t, error, error == t->error ? t->why : NULL);
  }
}

void aq_trav_want(aq_trav *t, aq_tstamp now, aq_duration timeout) {
  aq_trav_clock(t, now);
  if (t->over || t->originator) {
    return;
  }
  t->originator = 1;
  if (timeout) {
    t->timer[AQ_TRAV_TIMER_SESSION] = aq_time_add(t->now, timeout);
  }
  aq_trav_decide(t, now, 1);
}

void aq_trav_set_punch(aq_trav *t, const aq_punch_step *s) {
  t->schedule = *s;
  aq_trav_clamp_punch(&t->schedule);
  if (t->phase == AQ_PHASE_SYNCHRONIZATION && !t->initiator) {
    t->punch = t->schedule; /* it has not begun */
  }
}

/* ---- what follows a failure
 * -------------------------------------------------- */

static int is_final(int error) {
  return error == AQ_ERR_REFUSED || error == AQ_ERR_NOT_ALLOWED ||
         error == AQ_ERR_INVAL || error == AQ_ERR_UNSUPPORTED;
}

static void step_failed(aq_trav *t, uint8_t step, int error, const char *why) {
  if (step == AQ_TRAV_STEP_DIAL && !is_final(error)) {
    aq_trav_step_done(t, error, why);
    return;
  }
  if (step == AQ_TRAV_STEP_PUNCH && t->initiator && !is_final(error)) {
    /* What was agreed is still there: another schedule may do. */
    aq_trav_move(t, AQ_PHASE_SYNCHRONIZATION, why);
    t->timer[AQ_TRAV_TIMER_START] = AQ_NEVER;
    t->timer[AQ_TRAV_TIMER_PHASE] = AQ_NEVER;
    aq_trav_step_done(t, error, why);
    return;
  }
  if (step > AQ_TRAV_STEP_PUNCH && t->initiator) {
    aq_trav_cancel(t, AQ_ERR_CANCELLED); /* the target need not wait for us */
  }
  /* The agreement is void; a punch step that comes now hears why. */
  if (step != AQ_TRAV_STEP_PUNCH && t->synced) {
    t->sync_error = error;
  }
  t->initiator = 1;
  t->synced = 0;
  aq_trav_move(t, AQ_PHASE_DISCOVERY, why);
  aq_trav_step_done(t, error, why);
}

void aq_trav_attempt_failed(aq_trav *t, int error, const char *why) {
  uint8_t step = t->step;
  int relay = step == AQ_TRAV_STEP_PUNCH + AQ_PLAN_RELAY;
  if (!relay || t->error == AQ_OK) { /* why it isn't direct tells more */
    aq_trav_blame(t, error, why);
  }
  if (!t->rec_punch && aq_trav_has_plan(step) &&
      t->synced) { /* in its preparations */
    t->rec_punch = aq_trav_record_open(t, (aq_trav_step)step, NULL);
  }
  aq_trav_record_close(t, t->rec_punch, error, why);
  t->rec_punch = 0;
  if (relay) {
    aq_trav_push(t, AQ_TRAV_CLOSE);
  }
  t->move_error = error;
  if (!t->originator) {
    aq_trav_fail(t, error, why);
  } else if (t->p.strategy == AQ_STRATEGY_STEPS) {
    step_failed(t, step, error, why);
  } else {
    aq_trav_auto_failed(t, step, error, why);
  }
  t->move_error = AQ_OK;
}

/* ---- what can be asked
 * --------------------------------------------------------- */

aq_phase aq_trav_phase(const aq_trav *t) {
  return (aq_phase)t->phase;
}

int aq_trav_is_over(const aq_trav *t) {
  return t->over;
}

int aq_trav_is_between(const aq_trav *t) {
  return !t->over && t->step == AQ_TRAV_STEP_NONE && t->initiator &&
         is_between(t);
}

void aq_trav_set_profile(aq_trav *t, const aq_nat_profile *p) {
  t->p.profile = *p;
}

int aq_trav_allows_private(const aq_trav *t) {
  return t->private_ok;
}

void aq_trav_get_info(const aq_trav *t, aq_session_info *out) {
  memset(out, 0, sizeof(*out));
  out->peer = t->p.peer;
  out->phase = (aq_phase)t->phase;
  out->state = (aq_state)t->state;
  out->initiator = t->initiator;
  out->attempt = t->attempt;
  out->started = t->started;
  out->coordinator = t->nagreed ? t->agreed[0].coordinator : 0;
  out->coordination_time = t->coordination_time;
  out->retry_at = t->retry_at;
  out->punches_sent = t->punches_sent;
  out->punches_received = t->punches_received;
  out->initials_sent = t->initials_sent;
  out->same_nat = t->same_nat;
  out->plan = (aq_plan)t->plan;
  out->local_profile = t->p.profile;
  out->remote_profile = t->remote_profile;
  out->steps_lost = (uint32_t)t->records_lost;
  out->remote_count = t->nremote;
  memcpy(out->remote, t->remote, t->nremote * sizeof(t->remote[0]));
}

size_t aq_trav_get_pairs(const aq_trav *t, aq_pair_info *out, size_t max) {
  for (size_t i = 0; i < t->npair && i < max; i++) {
    const aq_trav_pair *p = &t->pair[i];
    memset(&out[i], 0, sizeof(out[i]));
    out[i].local = p->local;
    out[i].remote = p->remote;
    out[i].priority = p->priority;
    out[i].state = p->state;
    out[i].remote_source = p->source;
    out[i].verified = p->verified;
    out[i].sent = p->sent;
    out[i].received = p->received;
    out[i].answered = p->answered_us;
    out[i].refused = p->refused;
    out[i].limit = p->limit;
    out[i].dialed = p->dialed;
    out[i].error = p->error;
  }
  return t->npair;
}

/* ---- as target
 * ------------------------------------------------------------------- */

void aq_trav_init_target(aq_trav *t, aq_tstamp now, const aq_trav_params *p,
                         const aq_ctl *offer, aq_id coordinator,
                         int wait_decision, aq_tstamp deadline) {
  init(t, now, p);
  t->decided = !wait_decision;
  if (wait_decision) {
    t->timer[AQ_TRAV_TIMER_DECISION] = deadline;
  }
  /* The punching starts with the next time-out, be it due now: so that the
   * owner can set the schedule first. */
  aq_trav_take_offer(t, offer, coordinator);
}

void aq_trav_decide(aq_trav *t, aq_tstamp now, int accept) {
  aq_trav_clock(t, now);
  if (t->over || t->decided) {
    return;
  }
  t->decided = 1;
  t->timer[AQ_TRAV_TIMER_DECISION] = AQ_NEVER;
  if (!accept) {
    for (size_t i = 0; i < t->nagreed; i++) {
      aq_trav_veto(t, i, AQ_ERR_REFUSED);
    }
    aq_trav_fail(t, AQ_ERR_REFUSED, "refused here");
  } else if (t->now >= t->expires) {
    aq_trav_fail(t, AQ_ERR_EXPIRED, "the offer expired before it was accepted");
  } else {
    aq_trav_begin(t);
    aq_trav_kick(t);
  }
}
