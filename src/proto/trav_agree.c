/* trav_agree.c - what coordinators agreed on with us: answers and offers, the
 * session ids and keys in them, and which one counts.
 *
 * An initiator follows the first answer. Its target may get the offers of
 * several coordinators (one nonce), and can't know which answer came first
 * there. So it hears the datagrams of each, sends with the newest, since who
 * asks one more had no answer so far, and drops those that are cancelled. The
 * first datagram of the initiator settles it; where new sockets are wanted its
 * first HINT does, too.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/time.h"

#include <string.h>

/* No coordinator makes peers wait longer than this for each other. */
#define MAX_START_DELAY (2 * AQ_S)
#define MAX_RTT (10 * AQ_S)

static aq_duration capped(uint64_t n, aq_duration unit, aq_duration max) {
  return n > max / unit ? max : n * unit;
}

static size_t find(const aq_trav *t, const uint8_t *session) {
  size_t i = 0;
  while (i < t->nagreed && memcmp(t->agreed[i].session, session,
                                  sizeof(t->agreed[i].session)) != 0) {
    i++;
  }
  return i;
}

const uint8_t *aq_trav_session(const aq_trav *t, size_t i) {
  return i < t->nagreed ? t->agreed[i].session : NULL;
}

const uint8_t *aq_trav_key(const aq_trav *t,
                           const uint8_t session[AQ_CTL_SESSION_LEN]) {
  size_t i = find(t, session);
  return i < t->nagreed ? t->agreed[i].key : NULL;
}

/* |m| is in force; the older ones stay behind it. */
static void add(aq_trav *t, const aq_ctl *m, aq_id coordinator,
                uint64_t request) {
  if (t->nagreed == AQ_MAX_ASKED) {
    t->nagreed--; /* no honest peer asks more at a time: the oldest goes */
  }
  memmove(&t->agreed[1], &t->agreed[0], t->nagreed * sizeof(t->agreed[0]));
  t->nagreed++;
  aq_trav_agreed *a = &t->agreed[0];
  a->coordinator = coordinator;
  a->request = request;
  memcpy(a->session, m->session, sizeof(a->session));
  memcpy(a->key, m->key, sizeof(a->key));
  t->peer_seq = (aq_window){0};
  t->sync_error = AQ_OK;
  t->rtt = capped(m->rtt_us, AQ_US, MAX_RTT);
  t->rtt_measured = 0;
  t->start_at = t->now + capped(m->start_delay_us, AQ_US, MAX_START_DELAY);
  t->expires = m->expiry_ms ? t->now + capped(m->expiry_ms, AQ_MS, 300 * AQ_S)
                            : AQ_NEVER;
  t->plan = (uint8_t)m->plan;
  t->remote_profile = m->profile;
  aq_trav_set_remote(t, m);
}

/* A new attempt: datagrams of an older session id find no session. Both sides
 * start their schedules anew with it, so nothing is lost with them. */
static void adopt(aq_trav *t, const aq_ctl *m, aq_id coordinator,
                  uint64_t request) {
  aq_trav_hard_end(t);
  if (t->nagreed && t->plan == AQ_PLAN_RELAY) {
    aq_trav_push(t, AQ_TRAV_CLOSE); /* its tunnels */
  }
  t->nagreed = 0;
  t->settled = 0;
  memcpy(t->nonce, m->nonce, sizeof(t->nonce));
  add(t, m, coordinator, request);
  t->synced = 1;
}

static void synchronized(aq_trav *t) {
  aq_event spare;
  aq_event *e = aq_trav_note(t, AQ_EVENT_COORDINATION_SYNCHRONIZED, &spare);
  e->conn = t->agreed[0].coordinator;
  e->value = t->attempt;
  e->duration = t->coordination_time;
}

void aq_trav_take_answer(aq_trav *t, const aq_ctl *m, aq_id coordinator,
                         uint64_t request) {
  aq_trav_move(t, AQ_PHASE_SYNCHRONIZATION, "the coordinator answered");
  adopt(t, m, coordinator, request);
  synchronized(t);
  if ((t->plan == AQ_PLAN_RELAY) != (t->hard.wanted == AQ_PLAN_RELAY)) {
    aq_trav_attempt_failed(t, AQ_ERR_COORDINATION_FAILED,
                           "the coordinator agreed on another plan");
    return;
  }
  if (t->step == AQ_TRAV_STEP_PUNCH + AQ_PLAN_RELAY) {
    aq_trav_relay_begin(t);
    return;
  }
  if (t->step > AQ_TRAV_STEP_PUNCH) {
    aq_trav_hard_begin(t);
    return;
  }
  aq_trav_step_done(t, AQ_OK, "");
  if (t->p.strategy == AQ_STRATEGY_AUTO) {
    aq_trav_auto_answered(t);
  }
}

void aq_trav_take_offer(aq_trav *t, const aq_ctl *m, aq_id coordinator) {
  t->attempt++;
  aq_trav_record_close(t, t->rec_punch, AQ_ERR_CANCELLED,
                       "a newer offer of the peer");
  t->rec_punch = 0;
  aq_trav_move(t, AQ_PHASE_SYNCHRONIZATION, "an offer came");
  adopt(t, m, coordinator, 0);
  synchronized(t);
  if (t->decided) {
    aq_trav_begin(t);
  } else {
    t->timer[AQ_TRAV_TIMER_PHASE] =
        aq_time_add(t->start_at, AQ_TRAV_SYNC_TIMEOUT);
  }
}

/* Begins anew, as target, with what is in force now. */
static void begin_again(aq_trav *t, const char *why) {
  aq_trav_record_close(t, t->rec_punch, AQ_ERR_CANCELLED, why);
  t->rec_punch = 0;
  aq_trav_move(t, AQ_PHASE_SYNCHRONIZATION, "a newer offer came");
  aq_trav_hard_end(t);
  aq_trav_begin(t);
  aq_trav_kick(t);
}

/* The attempt that we are the target of comes through one more coordinator. */
static void take_another(aq_trav *t, const aq_ctl *m, aq_id coordinator) {
  add(t, m, coordinator, 0);
  if (!t->decided) {
    return;
  }
  if (t->plan == AQ_PLAN_PUNCH && t->phase == AQ_PHASE_PUNCHING &&
      aq_time_since(t->now, t->phase_since) < AQ_TRAV_SAME_START) {
    for (size_t i = 0; i < t->nremote; i++) {
      aq_trav_pairs_more(t, &t->remote[i]);
    }
    return;
  }
  begin_again(t, "the peer asked another coordinator");
}

/* The roles change: the peer's attempt goes on, ours is forgotten. */
static void become_target(aq_trav *t, const aq_ctl *m, aq_id coordinator) {
  aq_trav_hangup(t, 3, AQ_ERR_DUPLICATE);
  aq_trav_asks_end(t, 0, AQ_OK, "the peer asked for us");
  t->timer[AQ_TRAV_TIMER_RETRY] = AQ_NEVER;
  t->waiting = 0;
  if (t->step == AQ_TRAV_STEP_DIAL) {
    aq_trav_step_done(t, AQ_ERR_CANCELLED, "the peer asked for us");
  } else if (t->step == AQ_TRAV_STEP_COORDINATE) {
    aq_trav_step_done(t, AQ_OK, "the peer asked for us");
  }
  if (t->p.strategy == AQ_STRATEGY_AUTO) {
    t->step = AQ_TRAV_STEP_PUNCH;
  }
  t->initiator = 0;
  aq_trav_take_offer(t, m, coordinator);
  aq_trav_kick(t);
}

static int is_live(const aq_trav *t) {
  return aq_trav_asks(t) ||
         (t->synced &&
          (t->phase == AQ_PHASE_SYNCHRONIZATION ||
           t->phase == AQ_PHASE_PUNCHING || t->phase == AQ_PHASE_VALIDATION));
}

/* Whoever moves the connection has found that nothing comes of this attempt,
 * and asks anew; requests that cross come closer together. */
static int is_given_up(const aq_trav *t) {
  return t->p.repair && !aq_trav_asks(t) &&
         aq_time_since(t->now, t->phase_since) >= AQ_S;
}

void aq_trav_handle_offer(aq_trav *t, aq_tstamp now, const aq_ctl *offer,
                          aq_id coordinator) {
  aq_trav_clock(t, now);
  int same = t->nagreed && offer->plan == t->plan &&
             memcmp(offer->nonce, t->nonce, sizeof(t->nonce)) == 0;
  if (t->over || aq_peer_id_compare(&offer->peer, &t->p.peer) != 0 ||
      find(t, offer->session) < t->nagreed) {
    return;
  }
  if (!t->initiator && same && t->synced) {
    /* Punching goes on through any of them. New sockets are seen by one, so the
     * initiator has left the other: but for one whose datagrams fly. */
    if (!t->settled || t->hard.stage == AQ_HARD_WAITING) {
      take_another(t, offer, coordinator);
    }
  } else if (!t->initiator) {
    aq_trav_take_offer(t, offer, coordinator);
    aq_trav_kick(t);
  } else if (!is_live(t) || is_given_up(t) ||
             aq_peer_id_compare(&t->p.self, &t->p.peer) > 0) {
    become_target(t, offer, coordinator);
  } else if (aq_trav_asks(t) && !same) {
    /* Ours goes on: the peer hears of it and becomes the target. Until then it
     * dials us, which may spoil a NAT of ours that wasn't opened. */
    adopt(t, offer, coordinator, 0);
    t->synced = 0;
    aq_trav_open_early(t);
  }
}

void aq_trav_hinted(aq_trav *t, const uint8_t session[AQ_CTL_SESSION_LEN],
                    aq_id conn) {
  size_t i = find(t, session);
  if (t->initiator || i == 0 || i >= t->nagreed || !t->decided ||
      t->agreed[i].coordinator != conn) {
    return;
  }
  aq_trav_agreed used = t->agreed[i];
  t->agreed[i] = t->agreed[0];
  t->agreed[0] = used;
  t->peer_seq = (aq_window){0};
  begin_again(t, "the peer uses another coordinator");
}

int aq_trav_settle(aq_trav *t, const uint8_t session[AQ_CTL_SESSION_LEN]) {
  size_t i = find(t, session);
  if (i == t->nagreed) {
    return 0;
  }
  if (i > 0) {
    t->agreed[0] = t->agreed[i];
    t->peer_seq = (aq_window){0};
  }
  t->nagreed = 1;
  t->settled = 1;
  return 1;
}

void aq_trav_veto(aq_trav *t, size_t i, int error) {
  aq_trav_action *a = aq_trav_push(t, AQ_TRAV_VETO);
  if (a) {
    a->conn = t->agreed[i].coordinator;
    memcpy(a->session, t->agreed[i].session, sizeof(a->session));
    a->error = error;
  }
}

void aq_trav_handle_cancel(aq_trav *t, aq_tstamp now, aq_id conn,
                           const uint8_t session[AQ_CTL_SESSION_LEN]) {
  aq_trav_clock(t, now);
  size_t i = find(t, session);
  if (t->over || t->initiator || i == t->nagreed ||
      t->agreed[i].coordinator != conn) {
    return;
  }
  if (t->nagreed == 1) {
    aq_trav_attempt_failed(t, AQ_ERR_CANCELLED, "the peer gave up");
    return;
  }
  t->nagreed--;
  memmove(&t->agreed[i], &t->agreed[i + 1],
          (t->nagreed - i) * sizeof(t->agreed[0]));
  if (i == 0 && t->decided && t->plan != AQ_PLAN_PUNCH) {
    begin_again(t, "that coordinator was too late");
  }
}
