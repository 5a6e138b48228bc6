/* trav_ask.c - requests to coordinators: who is asked, when the next one is
 * asked as well, and what they say when they can't help.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/time.h"

#include <stdio.h>
#include <string.h>

/* The peer's last guess may have been later than ours. */
#define GUESS_SLACK (500 * AQ_MS)

void aq_coordinate_step_init(aq_coordinate_step *s) {
  memset(s, 0, sizeof(*s));
  s->hedge = AQ_HEDGE_AUTO;
}

static void clamp(const aq_trav *t, aq_coordinate_step *s) {
  aq_duration most = t->p.coordination_timeout;
  s->timeout = s->timeout ? aq_time_clamp(s->timeout, 50 * AQ_MS, most) : most;
  if (s->hedge != AQ_HEDGE_AUTO) {
    s->hedge = aq_time_clamp(s->hedge, 0, AQ_TRAV_MAX_HEDGE);
  }
  if (s->count > AQ_MAX_BOOTSTRAP) {
    s->count = AQ_MAX_BOOTSTRAP;
  }
}

size_t aq_trav_asks(const aq_trav *t) {
  size_t n = 0;
  for (size_t i = 0; i < AQ_MAX_ASKED; i++) {
    n += t->ask[i].id != 0;
  }
  return n;
}

/* Which request runs; AQ_MAX_ASKED: none. */
static size_t find_unsent(const aq_trav *t, uint32_t id) {
  size_t i = 0;
  while (i < AQ_MAX_ASKED && (!id || t->ask[i].id != id || t->ask[i].sent)) {
    i++;
  }
  return i;
}

static size_t find_sent(const aq_trav *t, aq_id conn, uint64_t request) {
  size_t i = 0;
  for (; i < AQ_MAX_ASKED; i++) {
    const aq_trav_ask *a = &t->ask[i];
    if (a->id && a->sent && a->conn == conn && a->request == request) {
      break;
    }
  }
  return i;
}

int aq_trav_wants(const aq_trav *t, uint32_t ask) {
  return find_unsent(t, ask) < AQ_MAX_ASKED;
}

int aq_trav_is_asked(const aq_trav *t, aq_id conn, uint64_t request) {
  if (t->over || request == 0) {
    return 0;
  }
  return find_sent(t, conn, request) < AQ_MAX_ASKED ||
         (t->nagreed && t->agreed[0].coordinator == conn &&
          t->agreed[0].request == request);
}

/* ---- asking ----------------------------------------------------------------
 */

static void ask_end(aq_trav *t, aq_trav_ask *a, int cancel, int error,
                    const char *why) {
  aq_trav_record_close(t, a->record, error, why);
  if (!a->sent) {
    aq_trav_drop(t, AQ_TRAV_REQUEST, a->id);
  } else if (cancel) {
    aq_trav_action *out = aq_trav_push(t, AQ_TRAV_CANCEL);
    if (out) {
      out->conn = a->conn;
      out->request = a->request;
      /* Who was merely slower than another has not failed. */
      out->error = aq_time_since(t->now, a->at) >= a->patience
                       ? AQ_ERR_TIMEOUT
                       : AQ_ERR_CANCELLED;
    }
  }
  memset(a, 0, sizeof(*a));
}

void aq_trav_asks_end(aq_trav *t, int cancel, int error, const char *why) {
  for (size_t i = 0; i < AQ_MAX_ASKED; i++) {
    if (t->ask[i].id) {
      ask_end(t, &t->ask[i], cancel, error, why);
    }
  }
}

/* One coordinator observes for both sides of a plan with new sockets, so the
 * next one is asked in place of the one before, not beside it. */
static int one_at_a_time(const aq_trav *t) {
  return t->hard.wanted != AQ_PLAN_PUNCH;
}

/* Asks one more, if there is one. Without a list that is the owner's choice,
 * which it may |wait| for. */
static void ask_next(aq_trav *t, int wait) {
  aq_coordinate_step *s = &t->coordinate;
  aq_trav_ask *a = NULL;
  for (size_t i = 0; i < AQ_MAX_ASKED && !a; i++) {
    a = t->ask[i].id ? NULL : &t->ask[i];
  }
  if (s->count && t->via_next == s->count &&
      (one_at_a_time(t) || t->p.strategy == AQ_STRATEGY_AUTO)) {
    s->count = 0; /* any other one will do */
    wait = 0;
  }
  if (!a || (s->count && t->via_next == s->count)) {
    return;
  }
  for (size_t i = 0; i < AQ_MAX_ASKED && !s->count; i++) {
    if (t->ask[i].id && !t->ask[i].sent) {
      return; /* the owner is looking for one already */
    }
  }
  aq_trav_action *out = aq_trav_push(t, AQ_TRAV_REQUEST);
  if (!out) {
    return;
  }
  /* What nobody sends is no part of the story, but for the one that is waited
   * for: there may be nobody to ask after one who has answered. */
  if (wait && aq_trav_asks(t) == 0) {
    a->record = aq_trav_record_open(t, AQ_TRAV_STEP_COORDINATE, NULL);
  }
  a->id = ++t->next_ask;
  out->ask = a->id;
  out->attempt = t->attempt;
  out->conn = s->count ? s->via[t->via_next++] : 0;
  out->wait = (uint8_t)wait;
  out->plan = t->hard.wanted;
}

void aq_trav_ask_more(aq_trav *t) {
  ask_next(t, 1);
}

void aq_trav_ask_again(aq_trav *t) {
  t->coordinate.count = 0;
  aq_trav_move(t, AQ_PHASE_COORDINATION, "another coordinator is asked");
  t->timer[AQ_TRAV_TIMER_REQUEST] = aq_time_add(t->now, t->coordinate.timeout);
  ask_next(t, 0);
}

void aq_trav_request(aq_trav *t, const aq_coordinate_step *s) {
  if (s) {
    t->coordinate = *s;
  } else {
    aq_coordinate_step_init(&t->coordinate);
  }
  clamp(t, &t->coordinate);
  t->attempt++;
  t->step = AQ_TRAV_STEP_COORDINATE;
  t->timer[AQ_TRAV_TIMER_STEP] = AQ_NEVER;
  t->timer[AQ_TRAV_TIMER_RETRY] = AQ_NEVER;
  t->synced = 0;
  t->sync_error = t->ask_error = AQ_OK;
  if (t->hard.wanted != AQ_PLAN_RELAY) { /* of what that stands in for */
    t->retry_at = 0;
  }
  t->asked = 0;
  t->via_next = 0;
  if (t->nagreed) {
    t->agreed[0].request = 0; /* of an attempt that is over */
  }
  aq_trav_move(t, AQ_PHASE_COORDINATION, "a request is sent");
  t->timer[AQ_TRAV_TIMER_REQUEST] = aq_time_add(t->now, t->coordinate.timeout);
  ask_next(t, 1);
}

void aq_trav_request_plan(aq_trav *t, aq_plan plan, aq_id via) {
  aq_coordinate_step s;
  aq_coordinate_step_init(&s);
  s.count = via != 0;
  s.via[0] = via;
  t->hard.wanted = (uint8_t)plan;
  aq_trav_request(t, &s);
}

/* It was, or will be: the step has all its time. */
static void reached(aq_trav *t) {
  if (!t->asked) {
    t->asked = 1;
    t->timer[AQ_TRAV_TIMER_REQUEST] =
        aq_time_add(t->phase_since, t->coordinate.timeout);
  }
}

void aq_trav_handle_queued(aq_trav *t, aq_tstamp now, uint32_t ask) {
  aq_trav_clock(t, now);
  if (!t->over && aq_trav_wants(t, ask)) {
    reached(t);
  }
}

void aq_trav_handle_requested(aq_trav *t, aq_tstamp now, uint32_t ask,
                              aq_id conn, const aq_addr *coordinator,
                              aq_duration rtt, uint64_t request) {
  aq_trav_clock(t, now);
  size_t i = find_unsent(t, ask);
  if (t->over || i == AQ_MAX_ASKED) {
    return;
  }
  aq_trav_ask *a = &t->ask[i];
  a->sent = 1;
  reached(t);
  a->conn = conn;
  a->request = request;
  a->at = t->now;
  a->patience = aq_time_max(AQ_TRAV_PATIENCE, aq_time_mul(rtt, 3));
  for (size_t k = 0; k < AQ_MAX_ASKED && one_at_a_time(t); k++) {
    if (t->ask[k].sent && k != i) {
      ask_end(t, &t->ask[k], 1, AQ_ERR_TIMEOUT, "no answer so far");
    }
  }
  if (!a->record) {
    a->record = aq_trav_record_open(t, AQ_TRAV_STEP_COORDINATE, coordinator);
  } else {
    t->record[a->record - 1].addr = *coordinator;
  }
  aq_event spare;
  aq_event *e = aq_trav_note(t, AQ_EVENT_COORDINATION_REQUESTED, &spare);
  e->conn = conn;
  e->addr = *coordinator;
  e->value = t->attempt;
  aq_duration hedge = t->coordinate.hedge;
  hedge = hedge == AQ_HEDGE_AUTO ? a->patience : hedge;
  if (hedge == 0) {
    ask_next(t, 1);
  } else {
    t->timer[AQ_TRAV_TIMER_HEDGE] = aq_time_add(t->now, hedge);
  }
}

/* ---- what comes of it ------------------------------------------------------
 */

static void blame_ask(aq_trav *t, int error, const char *why) {
  if (aq_trav_worse(t->ask_error, error) == error) {
    t->ask_error = error;
    snprintf(t->ask_why, sizeof(t->ask_why), "%s", why);
  }
}

/* One request came to nothing. */
static void ask_failed(aq_trav *t, aq_trav_ask *a, int error, const char *why,
                       int wait) {
  ask_end(t, a, 0, error, why);
  blame_ask(t, error, why);
  ask_next(t, wait);
  if (aq_trav_asks(t) == 0) {
    aq_trav_attempt_failed(t, t->ask_error, t->ask_why);
  }
}

void aq_trav_handle_unasked(aq_trav *t, aq_tstamp now, uint32_t ask,
                            int error) {
  aq_trav_clock(t, now);
  size_t i = find_unsent(t, ask);
  if (t->over || i == AQ_MAX_ASKED || !error) {
    return;
  }
  aq_trav_ask *a = &t->ask[i];
  const char *why = error == AQ_ERR_UNSUPPORTED ? "no coordinator here relays"
                                                : aq_error_text(error);
  if (t->coordinate.count) {
    ask_failed(t, a, error, why, 0);
    return;
  }
  /* There is nobody else; those who were asked may still answer. */
  ask_end(t, a, 0, error, why);
  if (aq_trav_asks(t) == 0) {
    blame_ask(t, error, why);
    aq_trav_attempt_failed(t, t->ask_error, t->ask_why);
  }
}

void aq_trav_handle_lost(aq_trav *t, aq_tstamp now, aq_id conn) {
  aq_trav_clock(t, now);
  for (size_t i = 0; i < AQ_MAX_ASKED && !t->over; i++) {
    aq_trav_ask *a = &t->ask[i];
    if (a->id && a->sent && a->conn == conn) {
      ask_failed(t, a, AQ_ERR_PEER_NOT_CONNECTED,
                 "the connection to the coordinator was lost", 1);
      return; /* each is asked once */
    }
  }
  aq_trav_coordinator_failed(t, conn, AQ_ERR_PEER_NOT_CONNECTED,
                             "the connection to the coordinator was lost");
}

/* What |error| means here: it is told of an allow-list and of plans alike. */
static const char *meaning_of(const aq_trav *t, int error) {
  if (error != AQ_ERR_NOT_ALLOWED) {
    return aq_error_text(error);
  }
  switch (t->hard.wanted) {
  case AQ_PLAN_RELAY:
    return "it or the peer allows us no relay";
  case AQ_PLAN_PREDICT:
  case AQ_PLAN_BIRTHDAY:
    return "the peer allows us no guessing of ports";
  default:
    return aq_error_text(error);
  }
}

void aq_trav_handle_error(aq_trav *t, aq_tstamp now, aq_id conn,
                          uint64_t request, int error,
                          aq_duration retry_after) {
  aq_trav_clock(t, now);
  if (!error || !aq_trav_is_asked(t, conn, request)) {
    return;
  }
  char text[80];
  snprintf(text, sizeof(text), "coordinator: %s", meaning_of(t, error));
  if (retry_after) {
    aq_trav_retry_at(t, t->now + aq_time_clamp(retry_after, 0, 60 * AQ_S));
  }
  if (error == AQ_ERR_OVERLOADED && t->guessed_at) {
    /* The target's budget for guesses is no larger than ours. */
    aq_trav_retry_at(t, t->guessed_at + AQ_GUARD_GUESS_PAUSE + GUESS_SLACK);
  }
  size_t asked = find_sent(t, conn, request);
  if (asked == AQ_MAX_ASKED) { /* the target's veto, after the answer */
    t->agreed[0].request = 0;
    if (t->synced) {
      if (!t->rec_punch && !aq_trav_has_plan(t->step)) { /* or nothing tells */
        uint32_t r = aq_trav_record_open(t, AQ_TRAV_STEP_COORDINATE, NULL);
        aq_trav_record_close(t, r, error, text);
      }
      aq_trav_attempt_failed(t, error, text);
    }
    return;
  }
  /* Whoever may still come won't be waited for: this one has answered. */
  for (size_t i = 0; i < AQ_MAX_ASKED && !t->coordinate.count; i++) {
    if (t->ask[i].id && !t->ask[i].sent) {
      ask_end(t, &t->ask[i], 0, AQ_ERR_CANCELLED, NULL);
    }
  }
  ask_failed(t, &t->ask[asked], error, text, 0);
}

void aq_trav_handle_answer(aq_trav *t, aq_tstamp now, aq_id conn,
                           const aq_ctl *answer) {
  aq_trav_clock(t, now);
  size_t i = find_sent(t, conn, answer->request);
  if (t->over || i == AQ_MAX_ASKED ||
      aq_peer_id_compare(&answer->peer, &t->p.peer) != 0) {
    return;
  }
  t->coordination_time = aq_time_since(t->now, t->ask[i].at);
  ask_end(t, &t->ask[i], 0, AQ_OK, "answered");
  aq_trav_asks_end(t, 1, AQ_ERR_CANCELLED, "another one answered first");
  aq_trav_take_answer(t, answer, conn, answer->request);
}

void aq_trav_retry_at(aq_trav *t, aq_tstamp at) {
  t->retry_at = aq_time_max(t->retry_at, at);
}

void aq_trav_cancel(aq_trav *t, int error) {
  aq_trav_asks_end(t, 1, AQ_ERR_CANCELLED, NULL);
  if (!t->nagreed || !t->agreed[0].request) {
    return;
  }
  aq_trav_action *out = aq_trav_push(t, AQ_TRAV_CANCEL);
  if (out) {
    out->conn = t->agreed[0].coordinator;
    out->request = t->agreed[0].request;
    out->error = error;
    memcpy(out->session, t->agreed[0].session, sizeof(out->session));
  }
  t->agreed[0].request = 0;
}
