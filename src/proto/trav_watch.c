/* trav_watch.c - a coordinator that dies in the middle of an attempt: noticed,
 * and another one is asked in its place.
 *
 * What was agreed on needs its coordinator until both sides have heard all that
 * the other one says through it. The initiator has it watched until then. With
 * new sockets the same step begins anew through another one, which is one
 * request more of the same attempt; a plain punch ends, since its pairs are the
 * caller's choice.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/time.h"

#include <string.h>

/* How often it is looked at. */
#define WATCH_GAP (100 * AQ_MS)

/* Who sprays has the peer's HINT, and the peer needs none of ours. */
static int needs_coordinator(const aq_trav *t) {
  const aq_trav_hard *h = &t->hard;
  if (t->over || !t->initiator || t->settled || !t->synced || !t->nagreed ||
      !t->agreed[0].request) {
    return 0;
  }
  if (aq_trav_has_plan(t->step)) {
    return h->stage != AQ_HARD_IDLE &&
           (h->stage != AQ_HARD_RUNNING || h->role != AQ_HARD_SPRAYER);
  }
  return t->phase == AQ_PHASE_PUNCHING;
}

void aq_trav_watch(aq_trav *t) {
  t->timer[AQ_TRAV_TIMER_WATCH] = t->initiator ? t->now + WATCH_GAP : AQ_NEVER;
}

void aq_trav_watch_due(aq_trav *t) {
  t->timer[AQ_TRAV_TIMER_WATCH] = AQ_NEVER;
  if (!needs_coordinator(t)) {
    return;
  }
  aq_trav_drop(t, AQ_TRAV_WATCH, 0);
  aq_trav_action *a = aq_trav_push(t, AQ_TRAV_WATCH);
  if (a) {
    a->conn = t->agreed[0].coordinator;
    /* Once it has our HINTs, and we have the peer's, it may as well die. */
    a->wait = t->hard.stage != AQ_HARD_RUNNING;
  }
  aq_trav_watch(t);
}

static void ask_another(aq_trav *t, int error, const char *why) {
  if (!t->rec_punch) { /* nothing else would tell of it */
    t->rec_punch = aq_trav_record_open(t, (aq_trav_step)t->step, NULL);
  }
  aq_trav_record_close(t, t->rec_punch, error, why);
  t->rec_punch = 0;
  aq_trav_cancel(t, error);
  t->synced = 0;
  if (t->phase != AQ_PHASE_SYNCHRONIZATION) {
    aq_trav_move(t, AQ_PHASE_SYNCHRONIZATION, why);
  }
  aq_trav_ask_again(t);
}

void aq_trav_coordinator_failed(aq_trav *t, aq_id conn, int error,
                                const char *why) {
  if (!needs_coordinator(t) || t->agreed[0].coordinator != conn) {
    return;
  }
  if (aq_trav_has_plan(t->step)) {
    ask_another(t, error, why);
  } else {
    aq_trav_cancel(t, error);
    aq_trav_attempt_failed(t, AQ_ERR_PUNCHING_FAILED, why);
  }
}

void aq_trav_handle_silent(aq_trav *t, aq_tstamp now, aq_id conn) {
  aq_trav_clock(t, now);
  aq_trav_coordinator_failed(t, conn, AQ_ERR_TIMEOUT,
                             "the coordinator keeps silent, so does the peer");
}
