/* trav_hard.c - plans with new sockets: opened, observed, hinted, and put to
 * use.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/addr.h"
#include "base/time.h"
#include "proto/disc.h"

#include <string.h>

void aq_hard_step_init(aq_hard_step *s) {
  memset(s, 0, sizeof(*s));
  aq_punch_step_init(&s->punch);
}

/* ---- sockets ---------------------------------------------------------------
 */

static uint32_t sockets_of(const aq_trav *t) {
  uint32_t n = t->initiator ? t->hard.step.sockets : 0;
  return n < 1 ? 1 : n > AQ_HARD_MAX_LOOKS ? AQ_HARD_MAX_LOOKS : n;
}

void aq_trav_hard_begin(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  if (t->plan == AQ_PLAN_PUNCH) {
    aq_trav_attempt_failed(t, AQ_ERR_COORDINATION_FAILED,
                           "the coordinator agreed on another plan");
    return;
  }
  t->timer[AQ_TRAV_TIMER_PHASE] = aq_time_add(t->now, AQ_TRAV_SYNC_TIMEOUT);
  aq_trav_action *a = aq_trav_push(t, AQ_TRAV_OPEN);
  if (a) {
    a->conn = t->coordinator;
    a->count = h->pending = sockets_of(t);
    h->stage = AQ_HARD_OPENING;
  }
}

void aq_trav_hard_end(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  t->timer[AQ_TRAV_TIMER_LOOK] = AQ_NEVER;
  aq_trav_drop(t, AQ_TRAV_OBSERVE, 0);
  aq_trav_drop(t, AQ_TRAV_HINT, 0);
  if (h->stage != AQ_HARD_IDLE && !aq_trav_drop(t, AQ_TRAV_OPEN, 0)) {
    aq_trav_push(t, AQ_TRAV_CLOSE);
  }
  h->stage = AQ_HARD_IDLE;
  h->pending = h->nsock = h->nlook = h->nhint = h->hints_due = 0;
  h->hinted = 0;
}

int aq_trav_hard_socket(const aq_trav *t, uint32_t index,
                        aq_local_socket *out) {
  const aq_trav_hard *h = &t->hard;
  for (uint32_t i = 0; i < h->nsock; i++) {
    if (h->sock[i].index == index) {
      out->index = index;
      out->bound = h->bound;
      out->bound.port = h->sock[i].port;
      return 1;
    }
  }
  return 0;
}

/* ---- observed and told -----------------------------------------------------
 */

static void look(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  aq_trav_drop(t, AQ_TRAV_OBSERVE, 0);
  for (uint32_t i = 0; i < h->nlook; i++) {
    if (h->look[i].seen.family == 0) {
      aq_trav_action *a = aq_trav_push(t, AQ_TRAV_OBSERVE);
      if (a) {
        a->conn = t->coordinator;
        a->socket = h->sock[i].index;
      }
    }
  }
  h->tries++;
  t->timer[AQ_TRAV_TIMER_LOOK] = aq_time_add(t->now, AQ_HARD_LOOK_GAP);
}

void aq_trav_handle_opened(aq_trav *t, aq_tstamp now, uint32_t index,
                           const aq_addr *bound) {
  aq_trav_clock(t, now);
  aq_trav_hard *h = &t->hard;
  if (t->over || h->stage != AQ_HARD_OPENING || h->pending == 0) {
    return;
  }
  h->pending--;
  if (bound && h->nsock < AQ_MAX_EXTRA_SOCKETS) {
    h->bound = *bound;
    h->sock[h->nsock].index = index;
    h->sock[h->nsock++].port = bound->port;
  }
  if (h->pending) {
    return;
  }
  if (!h->nsock) {
    aq_trav_attempt_failed(t, AQ_ERR_LIMIT, "no new socket could be opened");
    return;
  }
  h->stage = AQ_HARD_LOOKING;
  h->nlook = h->nsock < AQ_HARD_MAX_LOOKS ? h->nsock : AQ_HARD_MAX_LOOKS;
  h->tries = 0;
  memset(h->look, 0, sizeof(h->look));
  look(t);
}

static void meet(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  if (h->stage != AQ_HARD_WAITING || !h->nhint) {
    return;
  }
  if (h->nhint < h->hints_due) {
    t->timer[AQ_TRAV_TIMER_LOOK] = aq_time_add(t->now, AQ_HARD_HINT_GAP);
    return;
  }
  t->timer[AQ_TRAV_TIMER_LOOK] = AQ_NEVER;
  h->stage = AQ_HARD_RUNNING;
  t->punch = t->initiator ? h->step.punch : t->schedule;
  aq_trav_clamp_punch(&t->punch);
  aq_trav_start_punch(t);
}

static void tell(aq_trav *t, uint64_t cookie) {
  aq_trav_action *a = aq_trav_push(t, AQ_TRAV_HINT);
  if (a) {
    a->conn = t->coordinator;
    a->hint.plan = t->plan;
    a->hint.cookie = cookie;
    a->hint.count = t->hard.nlook;
  }
}

static int all_seen(const aq_trav_hard *h) {
  for (uint32_t i = 0; i < h->nlook; i++) {
    if (h->look[i].seen.family == 0) {
      return 0;
    }
  }
  return 1;
}

/* Those that were seen have to do. */
static void looked(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  if (h->hinted) {
    return;
  }
  h->hinted = 1;
  h->meet_at = aq_time_add(t->now, t->rtt / 2);
  if (h->stage == AQ_HARD_LOOKING) {
    h->stage = AQ_HARD_WAITING;
    t->timer[AQ_TRAV_TIMER_LOOK] = AQ_NEVER;
    meet(t);
  }
}

void aq_trav_handle_observed(aq_trav *t, aq_tstamp now, uint32_t socket,
                             uint64_t cookie, const aq_addr *addr) {
  aq_trav_clock(t, now);
  aq_trav_hard *h = &t->hard;
  if (t->over || h->stage < AQ_HARD_LOOKING || addr->family == 0) {
    return;
  }
  for (uint32_t i = 0; i < h->nlook; i++) {
    if (h->sock[i].index == socket && h->look[i].seen.family == 0) {
      h->look[i].seen = *addr;
      tell(t, cookie);
      break;
    }
  }
  if (all_seen(h)) {
    looked(t);
  }
}

void aq_trav_handle_unobserved(aq_trav *t, aq_tstamp now, int error) {
  aq_trav_clock(t, now);
  if (!t->over && t->hard.stage == AQ_HARD_LOOKING) {
    aq_trav_attempt_failed(t, error,
                           "the coordinator can't observe new sockets");
  }
}

void aq_trav_hard_look_due(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  if (h->stage == AQ_HARD_WAITING) {
    h->hints_due = h->nhint; /* the rest is lost, or late */
    meet(t);
  } else if (h->stage == AQ_HARD_LOOKING && h->tries < AQ_HARD_LOOK_TRIES) {
    look(t);
  } else if (h->stage == AQ_HARD_LOOKING) {
    for (uint32_t i = 0; i < h->nlook; i++) {
      if (h->look[i].seen.family != 0) {
        looked(t);
        return;
      }
    }
    aq_trav_attempt_failed(t, AQ_ERR_PUNCHING_FAILED,
                           "the coordinator did not say how it sees us");
  }
}

void aq_trav_handle_hint(aq_trav *t, aq_tstamp now, aq_id conn,
                         const aq_ctl *m) {
  aq_trav_clock(t, now);
  aq_trav_hard *h = &t->hard;
  if (t->over || !t->synced || conn != t->coordinator || m->plan != t->plan ||
      m->plan == AQ_PLAN_PUNCH || m->observed.family == 0 ||
      memcmp(m->session, t->session, sizeof(t->session)) != 0 ||
      h->nhint == AQ_HARD_MAX_LOOKS) {
    return;
  }
  h->hint[h->nhint++] = m->observed;
  h->hints_due =
      m->count < AQ_HARD_MAX_LOOKS ? (uint32_t)m->count : AQ_HARD_MAX_LOOKS;
  meet(t);
}

const char *aq_trav_hard_late(const aq_trav *t) {
  switch (t->hard.stage) {
  case AQ_HARD_OPENING:
    return "the new sockets were not there in time";
  case AQ_HARD_LOOKING:
    return "the coordinator did not say in time how it sees us";
  case AQ_HARD_WAITING:
    return "the peer did not tell of a new socket";
  default:
    return NULL;
  }
}

/* ---- punching --------------------------------------------------------------
 */

void aq_trav_hard_pairs(aq_trav *t) {
  const aq_trav_hard *h = &t->hard;
  uint32_t n = h->nsock > h->nhint ? h->nsock : h->nhint;
  for (uint32_t i = 0; h->nhint && i < n; i++) {
    aq_candidate c;
    aq_local_socket sock = {0, h->bound};
    memset(&c, 0, sizeof(c));
    c.addr = h->hint[i % h->nhint];
    c.source = AQ_SOURCE_OBSERVED;
    c.verified = 1;
    c.priority = aq_cand_priority(AQ_SOURCE_OBSERVED, 65535 - i);
    sock.index = h->sock[i % h->nsock].index;
    sock.bound.port = h->sock[i % h->nsock].port;
    if (c.addr.family == sock.bound.family && aq_trav_may_target(t, &c.addr)) {
      aq_trav_pair_add(t, &sock, &c);
    }
  }
}

aq_duration aq_trav_hard_lead(const aq_trav *t) {
  return t->hard.stage == AQ_HARD_RUNNING
             ? aq_time_until(t->now, t->hard.meet_at)
             : 0;
}

void aq_trav_hard_early(aq_trav *t) {
  if (t->hard.stage == AQ_HARD_WAITING && t->hard.nhint) {
    t->hard.hints_due = t->hard.nhint;
    meet(t);
  }
}
