/* trav_hard.c - plans with new sockets: opened, observed, hinted, and put to
 * use.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/addr.h"
#include "base/hash.h"
#include "base/time.h"
#include "proto/disc.h"

#include <stdio.h>
#include <string.h>

void aq_hard_step_init(aq_hard_step *s) {
  memset(s, 0, sizeof(*s));
  aq_punch_step_init(&s->punch);
}

/* ---- sockets ---------------------------------------------------------------
 */

static void go(aq_trav *t);

/* Somebody waits for the connection: an attempt to repair it that comes to
 * nothing makes room for the next one, with other sockets. But each has more
 * time than the one before: one of the hosts may be slow. Guesses cost too much
 * to begin anew. */
static aq_duration bounded(const aq_trav *t, aq_duration wait,
                           aq_duration least) {
  if (!t->p.repair || t->hard.how != AQ_PLAN_FRESH) {
    return wait;
  }
  least = aq_time_add(least << (t->p.patient & 7), aq_time_mul(t->rtt, 2));
  return aq_time_min(wait, least);
}

int aq_trav_hard_guesses(const aq_trav *t) {
  return t->hard.stage != AQ_HARD_IDLE &&
         (t->hard.role == AQ_HARD_OPENER || t->hard.role == AQ_HARD_SPRAYER);
}

void aq_trav_give_up(aq_trav *t, int error, const char *why) {
  if (!t->initiator) {
    aq_trav_veto(t, 0, AQ_ERR_OVERLOADED);
  }
  aq_trav_attempt_failed(t, error, why);
}

static const char *plan_of(aq_trav *t, uint32_t *sockets, uint32_t *guesses) {
  aq_trav_hard *h = &t->hard;
  h->how = t->plan != AQ_PLAN_REPAIR
               ? t->plan
               : aq_trav_repair_how(&t->p.profile, &t->remote_profile);
  if (h->how != AQ_PLAN_FRESH) {
    return h->how == t->plan || (t->p.plans >> h->how & 1)
               ? aq_trav_guess_plan(t, sockets, guesses)
               : "ports may not be guessed here";
  }
  uint32_t n = t->initiator ? h->step.sockets : 0;
  if (n == 0 && t->p.profile.external_count > 1) {
    n = AQ_HARD_MAX_LOOKS; /* so that all our addresses are seen */
  }
  h->role = AQ_HARD_MEET;
  *guesses = 0;
  *sockets = n < 1 ? 1 : n > AQ_HARD_MAX_LOOKS ? AQ_HARD_MAX_LOOKS : n;
  return NULL;
}

static const aq_candidate *verified(const aq_trav *t) {
  for (size_t i = 0; i < t->nremote; i++) {
    if (t->remote[i].verified) {
      return &t->remote[i];
    }
  }
  return NULL;
}

void aq_trav_hard_begin(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  uint32_t sockets, guesses;
  const aq_candidate *seen = verified(t);
  if (t->plan == AQ_PLAN_PUNCH) {
    aq_trav_attempt_failed(t, AQ_ERR_COORDINATION_FAILED,
                           "the coordinator agreed on another plan");
    return;
  }
  const char *why = plan_of(t, &sockets, &guesses);
  if (why || !seen) {
    aq_trav_attempt_failed(t, AQ_ERR_PUNCHING_FAILED,
                           why ? why : "the coordinator does not see the peer");
    return;
  }
  h->salt = t->rng = aq_mix64(t->rng + 1);
  t->timer[AQ_TRAV_TIMER_START] = AQ_NEVER; /* of an agreement before */
  t->timer[AQ_TRAV_TIMER_PHASE] =
      aq_time_add(t->now, bounded(t, AQ_TRAV_SYNC_TIMEOUT, AQ_S));
  aq_trav_watch(t);
  aq_trav_action *a = aq_trav_push(t, AQ_TRAV_OPEN);
  if (a) {
    a->conn = t->agreed[0].coordinator;
    a->addr = seen->addr;
    a->count = h->pending = sockets;
    a->guesses = guesses;
    h->stage = AQ_HARD_ASKING;
  }
}

void aq_trav_handle_allowed(aq_trav *t, aq_tstamp now, const char *limit) {
  aq_trav_clock(t, now);
  aq_trav_hard *h = &t->hard;
  if (t->over || h->stage != AQ_HARD_ASKING) {
    return;
  }
  if (limit) {
    char text[80];
    snprintf(text, sizeof(text), "a limit of ours was reached: %s", limit);
    aq_trav_give_up(t, AQ_ERR_RATE_LIMITED, text);
  } else if (h->pending) {
    h->stage = AQ_HARD_OPENING;
  } else {
    h->stage = AQ_HARD_WAITING;
    go(t);
  }
}

void aq_trav_hard_end(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  if (h->stage == AQ_HARD_RUNNING && aq_trav_hard_guesses(t)) {
    t->guessed_at = t->now;
  }
  t->timer[AQ_TRAV_TIMER_LOOK] = t->timer[AQ_TRAV_TIMER_GUESS] = AQ_NEVER;
  aq_trav_drop(t, AQ_TRAV_OBSERVE, 0);
  aq_trav_drop(t, AQ_TRAV_HINT, 0);
  aq_trav_drop(t, AQ_TRAV_TUNNEL, 0);
  if (h->stage != AQ_HARD_IDLE && !aq_trav_drop(t, AQ_TRAV_OPEN, 0)) {
    aq_trav_push(t, AQ_TRAV_CLOSE);
  }
  h->stage = AQ_HARD_IDLE;
  h->pending = h->nsock = h->nlook = h->nhint = h->hints_due = 0;
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
        a->conn = t->agreed[0].coordinator;
        a->socket = h->sock[i].index;
      }
    }
  }
  h->tries++;
  /* The answer to the last one may be far away. */
  aq_duration gap = h->tries < AQ_HARD_LOOK_TRIES
                        ? AQ_HARD_LOOK_GAP
                        : aq_time_max(AQ_HARD_LOOK_GAP, t->rtt);
  t->timer[AQ_TRAV_TIMER_LOOK] = aq_time_add(t->now, gap);
}

static void begin_looking(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  h->stage = AQ_HARD_LOOKING;
  h->nlook = h->role != AQ_HARD_MEET ? 1 : h->nsock;
  h->tries = 0;
  memset(h->look, 0, sizeof(h->look));
  look(t);
  if (h->role == AQ_HARD_OPENER) { /* right after: the next ports are ours */
    aq_trav_guess_open(t);
  }
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
    aq_trav_give_up(t, AQ_ERR_LIMIT, "no new socket could be opened");
    return;
  }
  if (h->role == AQ_HARD_OPENER && t->p.repair) {
    h->stage = AQ_HARD_WAITING; /* it is a new socket that guesses */
    go(t);
  } else {
    begin_looking(t);
  }
}

/* Both sides have what they need. */
static void go(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  if (h->stage != AQ_HARD_WAITING || !h->nhint) {
    return;
  }
  if (h->role == AQ_HARD_MEET && h->nhint < h->hints_due) {
    t->timer[AQ_TRAV_TIMER_LOOK] = aq_time_add(t->now, AQ_HARD_HINT_GAP);
    return;
  }
  t->timer[AQ_TRAV_TIMER_LOOK] = AQ_NEVER;
  if (h->role == AQ_HARD_OPENER) {
    begin_looking(t);
    return;
  }
  h->stage = AQ_HARD_RUNNING;
  if (h->role == AQ_HARD_SPRAYER) {
    aq_trav_guess_spray(t);
    return;
  }
  aq_trav_hard_punch(t);
}

void aq_trav_hard_punch(aq_trav *t) {
  t->punch = t->initiator ? t->hard.step.punch : t->schedule;
  t->punch.timeout = aq_time_add(bounded(t, t->punch.timeout, 400 * AQ_MS),
                                 t->p.patient ? t->rtt : 0);
  aq_trav_start_punch(t);
}

static void tell(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  for (uint32_t i = 0; i < h->nlook; i++) {
    aq_hard_look *look = &h->look[i];
    aq_trav_action *a = look->cookie ? aq_trav_push(t, AQ_TRAV_HINT) : NULL;
    if (a) {
      a->conn = t->agreed[0].coordinator;
      a->hint.plan = t->plan;
      a->hint.cookie = look->cookie;
      a->hint.step = t->p.profile.allocation == AQ_NAT_ALLOC_SEQUENTIAL
                         ? t->p.profile.step
                         : 0;
      a->hint.count = h->role == AQ_HARD_MEET ? h->nlook : h->nsock;
      look->cookie = 0;
    }
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

/* The peer knows; those that were not seen are left out. */
static void told(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  h->meet_at = aq_time_add(t->now, t->rtt / 2);
  t->timer[AQ_TRAV_TIMER_LOOK] = AQ_NEVER;
  if (h->role != AQ_HARD_OPENER) {
    h->stage = AQ_HARD_WAITING;
    go(t);
    return;
  }
  /* Until the HINT is there, each guess went out, and the last one came. */
  h->stage = AQ_HARD_RUNNING;
  aq_duration most = AQ_HARD_PROBES * AQ_MS + 2 * t->rtt + AQ_HARD_GRACE;
  aq_tstamp *phase = &t->timer[AQ_TRAV_TIMER_PHASE];
  *phase = aq_time_min(*phase, t->now + most);
}

void aq_trav_hard_tell(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  if (h->stage != AQ_HARD_LOOKING ||
      (h->role == AQ_HARD_OPENER && h->opened < h->nsock)) {
    return;
  }
  tell(t);
  if (all_seen(h)) {
    told(t);
  }
}

void aq_trav_handle_observed(aq_trav *t, aq_tstamp now, uint32_t socket,
                             uint64_t cookie, const aq_addr *addr) {
  aq_trav_clock(t, now);
  aq_trav_hard *h = &t->hard;
  if (t->over || h->stage != AQ_HARD_LOOKING || addr->family == 0) {
    return;
  }
  for (uint32_t i = 0; i < h->nlook; i++) {
    if (h->sock[i].index == socket && h->look[i].seen.family == 0) {
      h->look[i].seen = *addr;
      h->look[i].cookie = cookie;
      aq_trav_hard_tell(t);
      return;
    }
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
    go(t);
  } else if (h->stage == AQ_HARD_LOOKING && h->tries < AQ_HARD_LOOK_TRIES) {
    look(t);
  } else if (h->stage == AQ_HARD_LOOKING) {
    for (uint32_t i = 0; i < h->nlook; i++) {
      if (h->look[i].seen.family != 0) {
        told(t); /* those have to do */
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
  if (!t->over && t->synced && m->plan == t->plan) {
    aq_trav_hinted(t, m->session, conn);
  }
  if (t->over || !t->synced || conn != t->agreed[0].coordinator ||
      m->plan != t->plan || m->plan == AQ_PLAN_PUNCH ||
      m->observed.family == 0 ||
      memcmp(m->session, t->agreed[0].session, sizeof(m->session)) != 0 ||
      h->nhint == AQ_HARD_MAX_LOOKS) {
    return;
  }
  h->hint[h->nhint++] = m->observed;
  h->hints_due =
      m->count < AQ_HARD_MAX_LOOKS ? (uint32_t)m->count : AQ_HARD_MAX_LOOKS;
  /* What the peer says of its NAT, within reason. */
  h->hint_step = m->step < -64 || m->step > 64 ? 0 : (int32_t)m->step;
  go(t);
}

void aq_trav_hard_late(const aq_trav *t, char *out, size_t cap) {
  const aq_trav_hard *h = &t->hard;
  static const char *const WHY[] = {
      [AQ_HARD_IDLE] = "",
      [AQ_HARD_ASKING] = "the new sockets were not there in time",
      [AQ_HARD_OPENING] = "the new sockets were not there in time",
      [AQ_HARD_LOOKING] = "the coordinator did not say in time how it sees us",
      [AQ_HARD_WAITING] = "the peer did not tell of a new socket",
      [AQ_HARD_RUNNING] = "no datagram of the peer came through",
  };
  if (h->stage == AQ_HARD_RUNNING && h->role == AQ_HARD_OPENER) {
    snprintf(out, cap, "the peer guessed none of the ports of %u sockets",
             (unsigned)h->nsock);
  } else if (h->stage == AQ_HARD_RUNNING && h->role == AQ_HARD_SPRAYER) {
    snprintf(out, cap, "none of %u guessed ports answered%s%s",
             (unsigned)h->guess.next, h->limit ? "; ended by the limit " : "",
             h->limit ? h->limit : "");
  } else {
    snprintf(out, cap, "%s", WHY[h->stage]);
  }
}

int aq_trav_hard_waits(const aq_trav *t) {
  return t->timer[AQ_TRAV_TIMER_GUESS] != AQ_NEVER ||
         (aq_trav_hard_guesses(t) && t->hard.role == AQ_HARD_OPENER);
}

/* ---- punching --------------------------------------------------------------
 */

static void add(aq_trav *t, uint32_t sock, const aq_addr *to, aq_source source,
                uint32_t rank) {
  const aq_trav_hard *h = &t->hard;
  aq_candidate c;
  aq_local_socket s = {h->sock[sock].index, h->bound};
  memset(&c, 0, sizeof(c));
  c.addr = *to;
  c.source = (uint8_t)source;
  c.verified = 1;
  c.priority = aq_cand_priority(source, 65535 - rank);
  s.bound.port = h->sock[sock].port;
  if (to->family != s.bound.family || !aq_trav_may_target(t, to)) {
    return;
  }
  aq_trav_pair *p = aq_trav_pair_add(t, &s, &c);
  if (p && source == AQ_SOURCE_PREDICTED) {
    p->guess = 1;
  }
}

/* Each new socket meets one of the peer's. Where the peer's have several IPs,
 * a flow to us may take another one than that to the coordinator did: then each
 * port may be at each IP. */
static void meet(aq_trav *t) {
  const aq_trav_hard *h = &t->hard;
  uint32_t n = h->nsock > h->nhint ? h->nsock : h->nhint;
  for (uint32_t i = 0; i < n; i++) {
    add(t, i % h->nsock, &h->hint[i % h->nhint], AQ_SOURCE_OBSERVED, i);
  }
  for (uint32_t i = 0; i < n; i++) {
    aq_addr to = h->hint[i % h->nhint];
    for (uint32_t k = 0; k < h->nhint; k++) {
      aq_addr other = h->hint[k];
      other.port = to.port;
      if (!aq_addr_same_ip(&other, &to) &&
          !aq_trav_pair_find(t, h->sock[i % h->nsock].index, &other)) {
        add(t, i % h->nsock, &other, AQ_SOURCE_PREDICTED, i);
      }
    }
  }
}

/* Both NATs count: our k-th socket gets the k-th port after ours, and goes to
 * the k-th after the peer's. */
static void parallel(aq_trav *t) {
  const aq_trav_hard *h = &t->hard;
  aq_hard_guess g = {.sequence = 1, .base = h->hint[0].port};
  g.step = h->hint_step ? h->hint_step : 1;
  for (uint32_t i = 1; i < h->nsock && i <= AQ_HARD_WINDOW; i++) {
    aq_addr to = h->hint[0];
    to.port = aq_trav_guess_port(&g, i - 1);
    if (to.port) {
      add(t, i, &to, AQ_SOURCE_PREDICTED, i);
    }
  }
}

void aq_trav_hard_pairs(aq_trav *t) {
  if (t->hard.nsock == 0) {
    return;
  }
  if (t->hard.nhint && t->hard.role == AQ_HARD_MEET) {
    meet(t);
  } else if (t->hard.nhint && t->hard.role == AQ_HARD_PARALLEL) {
    parallel(t);
  }
}

aq_duration aq_trav_hard_lead(const aq_trav *t) {
  if (t->hard.stage != AQ_HARD_RUNNING || aq_trav_hard_guesses(t)) {
    return 0;
  }
  aq_duration lead = aq_time_until(t->now, t->hard.meet_at);
  return t->p.patient ? aq_time_add(lead, t->rtt) : lead;
}

void aq_trav_hard_early(aq_trav *t) {
  if (t->hard.stage == AQ_HARD_WAITING && t->hard.nhint) {
    t->hard.hints_due = t->hard.nhint;
    go(t);
  }
}
