/* trav_auto.c - the default strategy in C: what lua/antquic/policy/balanced.lua
 * does, for those who have no Lua. spec/sim/auto_spec.lua compares the two.
 *
 * Known addresses; a coordinator and the plan that both NATs call for; again
 * after a pause.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/hash.h"
#include "base/time.h"

#include <stdio.h>
#include <string.h>

/* As in strategy.lua. */
#define KNOWN_HEADSTART (300 * AQ_MS)
#define KNOWN_SPACING (100 * AQ_MS)
#define REACH (3 * AQ_S)
#define UNKNOWN_PAUSE (400 * AQ_MS)
#define UNKNOWN_TRIES 3
#define BACKOFF_MAX (30 * AQ_S)
#define HOPELESS_ROUNDS 4
#define HOPELESS_TIMEOUT (700 * AQ_MS)
#define DOUBT_TRIES 4
#define DOUBT_PAUSE (300 * AQ_MS)
#define UNMEASURED_TIMEOUT AQ_S
#define SOCKETS 8

/* ---- steps -----------------------------------------------------------------
 */

static void ask(aq_trav *t) {
  t->automatic.stage = AQ_AUTO_ASK;
  t->automatic.how = AQ_PLAN_PUNCH;
  t->hard.wanted = AQ_PLAN_PUNCH;
  aq_trav_request(t, NULL);
  aq_tstamp *due = &t->timer[AQ_TRAV_TIMER_REQUEST];
  *due = aq_time_min(*due, aq_time_add(t->now, REACH));
}

void aq_trav_auto_start(aq_trav *t) {
  if (!t->p.nknown) {
    ask(t);
    return;
  }
  aq_dial_step s;
  memset(&s, 0, sizeof(s));
  s.count = t->p.nknown;
  memcpy(s.addrs, t->p.known, s.count * sizeof(s.addrs[0]));
  s.spacing = KNOWN_SPACING;
  s.timeout = AQ_TRAV_DIAL_TIMEOUT;
  t->automatic.stage = AQ_AUTO_DIAL;
  aq_trav_dial_step(t, &s, KNOWN_HEADSTART);
}

/* 0: it is not allowed here. */
static int follow(aq_trav *t, uint8_t plan, aq_auto_stage stage) {
  aq_hard_step s;
  if (!(t->p.plans >> plan & 1)) {
    return 0;
  }
  aq_hard_step_init(&s);
  s.via = t->nagreed ? t->agreed[0].coordinator : 0;
  s.punch = t->schedule;
  if (plan == AQ_PLAN_FRESH && t->p.profile.external_count > 1) {
    s.sockets = SOCKETS;
  }
  t->automatic.stage = stage;
  t->automatic.plan = plan;
  aq_trav_hard_request(t, (aq_plan)plan, &s);
  return 1;
}

void aq_trav_auto_answered(aq_trav *t) {
  aq_trav_auto *a = &t->automatic;
  int sure;
  uint8_t how = aq_trav_choose(&t->p.profile, &t->remote_profile, &sure);
  if (a->stage == AQ_AUTO_AGAIN) {
    a->how = how;
    if (how == AQ_TRAV_HOPELESS ||
        (!follow(t, how == AQ_PLAN_PUNCH ? AQ_PLAN_FRESH : how, AQ_AUTO_LAST) &&
         !follow(t, AQ_PLAN_FRESH, AQ_AUTO_LAST))) {
      aq_trav_attempt_failed(t, AQ_ERR_PUNCHING_FAILED, t->why);
    }
    return;
  }
  a->how = how;
  a->taken = how == AQ_PLAN_PUNCH;
  if (sure && how != AQ_PLAN_PUNCH && how != AQ_TRAV_HOPELESS) {
    a->taken = 1;
    if (follow(t, how, AQ_AUTO_PLAN)) {
      return;
    }
  }
  aq_punch_step s = t->schedule;
  if (how != AQ_PLAN_PUNCH) {
    s.rounds = HOPELESS_ROUNDS;
    s.timeout = HOPELESS_TIMEOUT;
  } else if (t->p.profile.mapping == AQ_NAT_UNKNOWN ||
             t->remote_profile.mapping == AQ_NAT_UNKNOWN) {
    s.timeout = UNMEASURED_TIMEOUT;
  }
  a->stage = AQ_AUTO_PUNCH;
  t->step = AQ_TRAV_STEP_PUNCH;
  aq_trav_arm(t, &s);
  aq_trav_kick(t);
}

/* ---- what follows a failure ------------------------------------------------
 */

static void give_up(aq_trav *t) {
  if (aq_trav_dials(t, 1) || t->timer[AQ_TRAV_TIMER_KNOWN] != AQ_NEVER) {
    t->waiting = 1; /* for the end of the last known dial */
    aq_trav_move(t, AQ_PHASE_DISCOVERY, "only known addresses are left");
    return;
  }
  aq_trav_fail(t, t->error, t->why);
}

/* What a moment's patience may mend. */
static int is_passing(int error) {
  switch (error) {
  case AQ_ERR_PUNCHING_FAILED:
  case AQ_ERR_RATE_LIMITED:
  case AQ_ERR_EXPIRED:
  case AQ_ERR_OVERLOADED:
  case AQ_ERR_PEER_NOT_CONNECTED:
  case AQ_ERR_TIMEOUT:
  case AQ_ERR_VALIDATION_TIMEOUT:
  case AQ_ERR_VALIDATION_FAILED:
  case AQ_ERR_COORDINATION_FAILED:
  case AQ_ERR_CANCELLED: /* by the peer */
    return 1;
  default:
    return 0;
  }
}

static int relay_may_help(int error) {
  return error == AQ_ERR_PUNCHING_FAILED || error == AQ_ERR_NO_CANDIDATES ||
         error == AQ_ERR_VALIDATION_TIMEOUT ||
         error == AQ_ERR_VALIDATION_FAILED;
}

/* How long until another attempt may do better; AQ_NEVER: it won't. */
static aq_duration pause_of(aq_trav *t, int error) {
  aq_trav_auto *a = &t->automatic;
  if (a->how == AQ_TRAV_HOPELESS) {
    return DOUBT_PAUSE;
  }
  if (error == AQ_ERR_UNKNOWN_TARGET && a->unknown + 1 < UNKNOWN_TRIES) {
    return UNKNOWN_PAUSE * ++a->unknown;
  }
  if (!is_passing(error) || a->failures + 1 >= t->p.max_attempts) {
    return AQ_NEVER;
  }
  uint32_t n = a->failures++;
  aq_duration d = n < 5 ? AQ_S << n : BACKOFF_MAX;
  t->rng = aq_mix64(t->rng + t->attempt);
  return aq_time_max(d, aq_time_until(t->now, t->retry_at)) +
         t->rng % 200 * AQ_MS;
}

static void attempt_over(aq_trav *t, int error, int final, const char *why) {
  aq_trav_auto *a = &t->automatic;
  t->initiator = 1;
  t->synced = 0;
  t->hard.wanted = AQ_PLAN_PUNCH;
  if (t->p.relay && !a->relayed && relay_may_help(error)) {
    a->relayed = 1;
    a->stage = AQ_AUTO_RELAY;
    a->final = (uint8_t) final;
    a->error = error;
    aq_trav_move(t, AQ_PHASE_DISCOVERY, why);
    aq_trav_relay_request(t, 0);
    return;
  }
  aq_duration pause = final ? AQ_NEVER : pause_of(t, error);
  aq_tstamp at = aq_time_add(t->now, pause);
  if (at >= t->timer[AQ_TRAV_TIMER_SESSION]) {
    give_up(t);
    return;
  }
  char text[120];
  snprintf(text, sizeof(text), "%s; another try in %.1f s", why,
           (double)pause / AQ_S);
  aq_trav_move(t, AQ_PHASE_DISCOVERY, text);
  t->timer[AQ_TRAV_TIMER_RETRY] = at;
}

/* What has been learnt of the NATs meanwhile, or new sockets. */
static void insist(aq_trav *t, const char *why) {
  if (!(t->p.plans >> AQ_PLAN_FRESH & 1) || !t->nagreed) {
    attempt_over(t, AQ_ERR_PUNCHING_FAILED, 0, why);
    return;
  }
  t->automatic.stage = AQ_AUTO_AGAIN;
  aq_trav_request_plan(t, AQ_PLAN_PUNCH, t->agreed[0].coordinator);
}

static int has_failed(int error) {
  return error == AQ_ERR_PUNCHING_FAILED || error == AQ_ERR_UNSUPPORTED ||
         error == AQ_ERR_LIMIT;
}

/* Nothing can help; but a filter that isn't known may let somebody in, when no
 * datagram is lost; and it does, where one was heard. */
static void hopeless(aq_trav *t, int error, const char *why) {
  aq_trav_auto *a = &t->automatic;
  int doubt = t->p.profile.filtering == AQ_NAT_UNKNOWN ||
              t->remote_profile.filtering == AQ_NAT_UNKNOWN;
  for (size_t i = 0; i < t->npair; i++) {
    a->heard |= t->pair[i].heard;
  }
  if (doubt && a->heard) {
    a->how = AQ_PLAN_PUNCH;
    attempt_over(t, error, 0, why);
    return;
  }
  uint32_t enough = doubt ? DOUBT_TRIES : 1;
  aq_trav_blame(t, AQ_ERR_PUNCHING_FAILED,
                "both NATs give ports by destination, and not in sequence");
  attempt_over(t, AQ_ERR_PUNCHING_FAILED, ++a->hopeless >= enough, t->why);
}

static void punch_failed(aq_trav *t, int error, const char *why) {
  aq_trav_auto *a = &t->automatic;
  if (!has_failed(error)) {
    attempt_over(t, error, 0, why);
  } else if (a->how == AQ_TRAV_HOPELESS) {
    hopeless(t, error, why);
  } else if (a->taken || !follow(t, a->how, AQ_AUTO_FOLLOW)) {
    insist(t, why);
  }
}

static void resume(aq_trav *t, int error, const char *why) {
  aq_trav_auto *a = &t->automatic;
  switch ((aq_auto_stage)a->stage) {
  case AQ_AUTO_DIAL:
    ask(t);
    return;
  case AQ_AUTO_ASK:
  case AQ_AUTO_PLAN:
    attempt_over(t, error, 0, why);
    return;
  case AQ_AUTO_PUNCH:
    punch_failed(t, error, why);
    return;
  case AQ_AUTO_FOLLOW:
    if (error == AQ_ERR_NOT_ALLOWED) {
      insist(t, why);
    } else {
      attempt_over(t, error, 0, why);
    }
    return;
  case AQ_AUTO_LAST:
    if (error == AQ_ERR_NOT_ALLOWED && a->plan != AQ_PLAN_FRESH &&
        follow(t, AQ_PLAN_FRESH, AQ_AUTO_LAST)) {
      return;
    }
    /* fall through */
  case AQ_AUTO_AGAIN:
    if (a->how == AQ_TRAV_HOPELESS) {
      hopeless(t, error, why);
      return;
    }
    attempt_over(t, has_failed(error) ? AQ_ERR_PUNCHING_FAILED : error, 0, why);
    return;
  case AQ_AUTO_RELAY: {
    int again = error == AQ_ERR_OVERLOADED || error == AQ_ERR_RATE_LIMITED ||
                error == AQ_ERR_TIMEOUT;
    attempt_over(t, a->error, a->final, why);
    a->relayed = (uint8_t)!again;
    return;
  }
  }
}

void aq_trav_auto_failed(aq_trav *t, uint8_t step, int error, const char *why) {
  if (aq_trav_has_plan(step) && t->initiator) {
    aq_trav_cancel(t, AQ_ERR_CANCELLED); /* nobody need wait */
  }
  t->step = AQ_TRAV_STEP_NONE;
  t->timer[AQ_TRAV_TIMER_STEP] = AQ_NEVER;
  if (!t->initiator) { /* the peer's attempt, which may do for ours */
    int sure;
    t->automatic.stage = AQ_AUTO_PUNCH;
    t->automatic.how = aq_trav_choose(&t->p.profile, &t->remote_profile, &sure);
    t->automatic.taken = 1;
    t->initiator = 1;
    t->synced = 0;
  }
  if (t->phase == AQ_PHASE_PUNCHING || t->phase == AQ_PHASE_VALIDATION) {
    aq_trav_move(t, AQ_PHASE_SYNCHRONIZATION, why);
  }
  t->timer[AQ_TRAV_TIMER_START] = AQ_NEVER;
  t->timer[AQ_TRAV_TIMER_PHASE] = AQ_NEVER;
  resume(t, error, why);
}

void aq_trav_auto_retry(aq_trav *t) {
  ask(t);
}
