/* trav_timeout.c - time: the table of deadlines and what each does.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/time.h"

#include <stdio.h>

aq_tstamp aq_trav_next_timeout(const aq_trav *t) {
  aq_tstamp next = AQ_NEVER;
  for (int i = 0; i < AQ_TRAV_TIMER__COUNT; i++) {
    next = aq_time_min(next, t->timer[i]);
  }
  return next;
}

static void session_due(aq_trav *t) {
  char text[80];
  snprintf(text, sizeof(text), "out of time in phase %s",
           aq_phase_name((aq_phase)t->phase));
  aq_trav_blame(t, AQ_ERR_TIMEOUT, text);
  aq_trav_fail(t, t->error, t->why);
}

static void phase_due(aq_trav *t) {
  char text[80] = "no datagram of the peer came through";
  if (t->hard.stage) {
    aq_trav_hard_late(t, text, sizeof(text));
  }
  switch (t->phase) {
  case AQ_PHASE_SYNCHRONIZATION:
    if (t->hard.stage) {
      aq_trav_attempt_failed(t, AQ_ERR_PUNCHING_FAILED, text);
    } else {
      aq_trav_attempt_failed(t, AQ_ERR_TIMEOUT,
                             "nobody decided whether to take part");
    }
    break;
  case AQ_PHASE_PUNCHING:
    aq_trav_attempt_failed(t, AQ_ERR_PUNCHING_FAILED, text);
    break;
  case AQ_PHASE_VALIDATION:
    aq_trav_attempt_failed(
        t, AQ_ERR_VALIDATION_TIMEOUT,
        t->plan == AQ_PLAN_RELAY
            ? "no handshake finished over the relay"
            : "an address answered, but no handshake finished");
    break;
  default:
    break;
  }
}

static void step_due(aq_trav *t) {
  if (t->step != AQ_TRAV_STEP_DIAL) {
    return;
  }
  int error = aq_trav_worse(t->step_error, AQ_ERR_UNREACHABLE);
  /* The C strategy lets its dials run on beside the coordination. */
  if (t->p.strategy == AQ_STRATEGY_STEPS && !t->known.keep) {
    aq_trav_hangup(t, 1, AQ_ERR_UNREACHABLE);
  }
  aq_trav_attempt_failed(t, error, "no known address answered in time");
}

static void request_due(aq_trav *t) {
  int none = t->ask_error == AQ_OK;
  if (none && !t->asked && t->p.strategy == AQ_STRATEGY_AUTO) {
    aq_trav_asks_end(t, 0, AQ_ERR_NO_BOOTSTRAP_NODES, "nobody was reached");
    aq_trav_attempt_failed(t, AQ_ERR_NO_BOOTSTRAP_NODES,
                           "no bootstrap node answered; is UDP blocked?");
    return;
  }
  int error = aq_trav_worse(AQ_ERR_TIMEOUT, t->ask_error);
  const char *why = none ? "the coordinator did not answer" : t->ask_why;
  aq_trav_asks_end(t, 1, AQ_ERR_TIMEOUT, "no answer");
  aq_trav_attempt_failed(t, error, why);
}

static void fire(aq_trav *t, aq_trav_timer timer) {
  t->timer[timer] = AQ_NEVER;
  switch (timer) {
  case AQ_TRAV_TIMER_SESSION:
    session_due(t);
    break;
  case AQ_TRAV_TIMER_PHASE:
    phase_due(t);
    break;
  case AQ_TRAV_TIMER_STEP:
    step_due(t);
    break;
  case AQ_TRAV_TIMER_REQUEST:
    request_due(t);
    break;
  case AQ_TRAV_TIMER_HEDGE:
    aq_trav_ask_more(t);
    break;
  case AQ_TRAV_TIMER_RETRY:
    aq_trav_auto_retry(t);
    break;
  case AQ_TRAV_TIMER_DECISION:
    aq_trav_decide(t, t->now, 1);
    break;
  case AQ_TRAV_TIMER_START:
    aq_trav_start_punch(t);
    break;
  case AQ_TRAV_TIMER_LEAD:
    aq_trav_lead_over(t);
    break;
  case AQ_TRAV_TIMER_PROBE:
    aq_trav_send_probes(t);
    break;
  case AQ_TRAV_TIMER_KNOWN:
    aq_trav_dial_known(t);
    break;
  case AQ_TRAV_TIMER_DIAL:
    aq_trav_dials_due(t);
    break;
  case AQ_TRAV_TIMER_LOOK:
    aq_trav_hard_look_due(t);
    break;
  case AQ_TRAV_TIMER_GUESS:
    aq_trav_guess_due(t);
    break;
  case AQ_TRAV_TIMER_WATCH:
    aq_trav_watch_due(t);
    break;
  case AQ_TRAV_TIMER__COUNT:
    break;
  }
}

void aq_trav_handle_timeout(aq_trav *t, aq_tstamp now) {
  aq_trav_clock(t, now);
  for (;;) {
    int due = AQ_TRAV_TIMER__COUNT;
    for (int i = 0; i < AQ_TRAV_TIMER__COUNT; i++) {
      if (t->timer[i] <= t->now &&
          (due == AQ_TRAV_TIMER__COUNT || t->timer[i] < t->timer[due])) {
        due = i;
      }
    }
    if (due == AQ_TRAV_TIMER__COUNT) {
      return;
    }
    fire(t, (aq_trav_timer)due);
  }
}
