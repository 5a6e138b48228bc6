/* SPDX-License-Identifier: MIT */
#include "support/alone.h"

const aq_addr COORDINATOR = {4, 9000, {198, 18, 0, 1}, 0};
aq_trav T;
aq_trav_params P;
aq_trav_action actions[AQ_TRAV_MAX_ACTIONS + 1];
aq_event events[AQ_TRAV_MAX_EVENTS];
size_t nactions, nevents;

int alone_setup(void **state) {
  (void)state;
  memset(&P, 0, sizeof(P));
  memset(P.self.bytes, 1, 32);
  memset(P.peer.bytes, 2, 32);
  P.strategy = AQ_STRATEGY_STEPS;
  P.timeout = 60 * AQ_S;
  P.nsock = 1;
  P.sock[0].bound = util_addr("0.0.0.0:4000");
  P.seed = 42;
  return 0;
}

aq_ctl alone_message(uint64_t type, uint8_t mark) {
  aq_ctl m = {.type = type, .request = 1, .peer = P.peer};
  memset(m.nonce, mark, sizeof(m.nonce));
  memset(m.session, mark, sizeof(m.session));
  memset(m.key, mark, sizeof(m.key));
  m.rtt_us = 50000;
  m.expiry_ms = 10000;
  m.observed = util_addr("20.0.0.1:4000");
  m.cand_count = 1;
  m.cand[0].addr = util_addr("20.0.0.2:5000");
  m.cand[0].source = AQ_SOURCE_OBSERVED;
  m.cand[0].verified = 1;
  return m;
}

void alone_add(aq_ctl *m, const char *text) {
  aq_candidate *c = &m->cand[m->cand_count++];
  c->addr = util_addr(text);
  c->source = AQ_SOURCE_LOCAL;
}

aq_punch alone_punch(uint8_t type, uint32_t seq, uint64_t echo) {
  aq_punch p = {.type = type, .seq = seq, .echo = echo};
  memcpy(p.session, aq_trav_session(&T, 0), sizeof(p.session));
  p.flags = T.initiator ? 0 : AQ_PUNCH_FLAG_INITIATOR;
  return p;
}

void alone_drain(aq_tstamp now) {
  nactions = nevents = 0;
  while (aq_trav_poll_action(&T, now, &actions[nactions])) {
    nactions++;
  }
  while (aq_trav_poll_event(&T, &events[nevents])) {
    nevents++;
  }
}

size_t alone_count(aq_trav_action_kind kind) {
  size_t n = 0;
  for (size_t i = 0; i < nactions; i++) {
    n += actions[i].kind == kind;
  }
  return n;
}

const aq_trav_action *alone_action(aq_trav_action_kind kind) {
  for (size_t i = 0; i < nactions; i++) {
    if (actions[i].kind == kind) {
      return &actions[i];
    }
  }
  fail_msg("no action of kind %d", kind);
  return NULL;
}

const aq_event *alone_event(aq_event_kind kind) {
  for (size_t i = 0; i < nevents; i++) {
    if (events[i].kind == kind) {
      return &events[i];
    }
  }
  return NULL;
}

void alone_step_ended(uint64_t step, int error) {
  const aq_event *e = alone_event(AQ_EVENT_STEP_DONE);
  assert_non_null(e);
  assert_int_equal(e->value, step);
  assert_int_equal(e->error, error);
}

const uint8_t *alone_key(void) {
  return aq_trav_key(&T, aq_trav_session(&T, 0));
}

int alone_coordinate(aq_tstamp now, aq_id via, aq_duration timeout) {
  aq_coordinate_step s;
  aq_coordinate_step_init(&s);
  s.via[0] = via;
  s.count = via != 0;
  s.timeout = timeout;
  return aq_trav_step_coordinate(&T, now, &s);
}

void alone_requested(aq_tstamp now, aq_id conn, uint64_t request) {
  aq_trav_handle_requested(&T, now, T.next_ask, conn, &COORDINATOR, 50 * AQ_MS,
                           request);
}

void alone_coordinated(aq_tstamp now, const aq_ctl *answer) {
  aq_trav_init(&T, now, &P);
  assert_int_equal(alone_coordinate(now, 7, 0), 0);
  alone_drain(now);
  assert_int_equal(alone_action(AQ_TRAV_REQUEST)->conn, 7);
  alone_requested(now, 7, 1);
  aq_trav_handle_answer(&T, now, 7, answer);
}

void alone_punching(aq_tstamp now, const aq_ctl *answer) {
  alone_coordinated(now, answer);
  assert_int_equal(aq_trav_step_punch(&T, now, NULL), 0);
}
