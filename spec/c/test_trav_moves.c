/* test_trav_moves.c - every legal move of the table in trav_state.c is taken,
 * and says why; every time-out ends its phase at its time; back-off.
 *
 * SPDX-License-Identifier: MIT */
#include "support/alone.h"

static uint8_t taken[AQ_PHASE__COUNT][AQ_PHASE__COUNT];
static aq_event last_state; /* SESSION_STATE_CHANGED */
static aq_addr KNOWN, PEER;

static aq_state state_of(uint32_t phase) {
  switch (phase) {
  case AQ_PHASE_IDLE:
    return AQ_STATE_IDLE;
  case AQ_PHASE_CONNECTED:
    return AQ_STATE_CONNECTED;
  case AQ_PHASE_FAILED:
    return AQ_STATE_CLOSED;
  default:
    return AQ_STATE_CONNECTING;
  }
}

/* Drains, and notes the moves: each has words, and where it changes the state
 * an event of that follows, with a reason at the ends. */
static void look(aq_tstamp now) {
  alone_drain(now);
  for (size_t i = 0; i < nevents; i++) {
    const aq_event *e = &events[i], *s = &events[i + 1];
    if (e->kind != AQ_EVENT_PHASE_TRANSITION) {
      continue;
    }
    assert_true(e->text[0] != 0);
    taken[e->from][e->to] = 1;
    if (state_of(e->from) == state_of(e->to)) {
      continue;
    }
    assert_true(i + 1 < nevents);
    assert_int_equal(s->kind, AQ_EVENT_SESSION_STATE_CHANGED);
    assert_int_equal(s->from, state_of(e->from));
    assert_int_equal(s->to, state_of(e->to));
    assert_string_equal(s->text, e->text);
    assert_int_equal(s->reason != AQ_REASON_NONE,
                     e->to == AQ_PHASE_CONNECTED || e->to == AQ_PHASE_FAILED);
    last_state = *s;
  }
}

/* ---- to each phase, from the beginning ---- */

static void in_idle(void) {
  aq_trav_init(&T, 0, &P);
}

static void in_discovery(void) {
  aq_dial_step d = {.count = 1, .addrs = {KNOWN}};
  in_idle();
  assert_int_equal(aq_trav_step_dial(&T, 0, &d), 0);
  look(0);
}

static void in_coordination(void) {
  in_idle();
  assert_int_equal(alone_coordinate(0, 7, 0), 0);
  look(0);
  alone_requested(0, 7, 1);
}

static void in_synchronization(void) {
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  in_coordination();
  aq_trav_handle_answer(&T, 0, 7, &m);
  look(0);
}

static void in_punching(void) {
  in_synchronization();
  assert_int_equal(aq_trav_step_punch(&T, 0, NULL), 0);
  aq_trav_handle_timeout(&T, 5 * AQ_MS);
  look(5 * AQ_MS);
}

static uint32_t in_validation(void) {
  in_punching();
  aq_addr from = PEER;
  from.port = 777;
  aq_punch p = alone_punch(AQ_PUNCH_PROBE, 1, 1234);
  aq_trav_handle_punch(&T, 10 * AQ_MS, 0, &from, &p);
  look(10 * AQ_MS);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_VALIDATION);
  return alone_action(AQ_TRAV_DIAL)->dial;
}

static void sync_to_validation(void) {
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  m.plan = AQ_PLAN_RELAY;
  in_idle();
  assert_int_equal(aq_trav_step_relay(&T, 0, 7), 0);
  look(0);
  alone_requested(0, 7, 1);
  aq_trav_handle_answer(&T, 0, 7, &m);
  look(0);
  assert_int_equal(alone_action(AQ_TRAV_TUNNEL)->conn, 7);
  aq_trav_handle_tunnel(&T, 0, &KNOWN, 0);
  look(0);
}

static void as_target(uint8_t mark) {
  aq_ctl m = alone_message(AQ_CTL_OFFER, mark);
  aq_trav_init_target(&T, 0, &P, &m, 7, 0, AQ_NEVER);
}

static void target_in_validation(void) {
  as_target(9);
  aq_trav_handle_timeout(&T, 0);
  aq_punch p = alone_punch(AQ_PUNCH_PROBE, 1, 1234);
  aq_trav_handle_punch(&T, AQ_MS, 0, &PEER, &p);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_VALIDATION);
}

/* ---- and out of it ---- */

static void arrive(void) {
  aq_trav_handle_connected(&T, 20 * AQ_MS, &PEER, AQ_MS);
}

static void finish(void) {
  aq_trav_finish(&T, 20 * AQ_MS, 0);
}

static void time_passes(void) {
  while (!aq_trav_is_over(&T)) {
    aq_tstamp next = aq_trav_next_timeout(&T);
    assert_true(next <= 60 * AQ_S);
    aq_trav_handle_timeout(&T, next);
    look(next);
  }
}

static void refuse(void) {
  aq_trav_handle_error(&T, 20 * AQ_MS, 7, 1, AQ_ERR_REFUSED, 0);
}

static void offer(void) {
  aq_ctl m = alone_message(AQ_CTL_OFFER, 8);
  aq_trav_handle_offer(&T, 20 * AQ_MS, &m, 7);
}

static void coordinate(void) {
  assert_int_equal(alone_coordinate(20 * AQ_MS, 7, 0), 0);
}

static void idle_to_connected(void) {
  in_idle();
  arrive();
}
static void idle_to_failed(void) {
  in_idle();
  finish();
}
static void idle_to_synchronization(void) {
  as_target(9);
}
static void discovery_to_coordination(void) {
  in_discovery();
  aq_trav_handle_dial(&T, AQ_MS, alone_action(AQ_TRAV_DIAL)->dial,
                      AQ_ERR_UNREACHABLE, 0);
  coordinate();
}
static void discovery_to_synchronization(void) {
  in_discovery();
  offer();
}
static void discovery_to_connected(void) {
  in_discovery();
  aq_trav_handle_dial(&T, AQ_MS, alone_action(AQ_TRAV_DIAL)->dial, 0, AQ_MS);
}
static void discovery_to_failed(void) {
  in_discovery();
  finish();
}
static void coordination_to_discovery(void) {
  in_coordination();
  refuse();
}
static void coordination_to_connected(void) {
  in_coordination();
  arrive();
}
static void coordination_to_failed(void) {
  in_coordination();
  finish();
}
static void synchronization_to_coordination(void) {
  in_synchronization();
  coordinate();
}
static void synchronization_to_discovery(void) {
  in_synchronization();
  refuse();
}
static void synchronization_to_connected(void) {
  in_synchronization();
  arrive();
}
static void synchronization_to_failed(void) {
  in_synchronization();
  finish();
}
static void punching_to_validation(void) {
  in_validation();
}
static void punching_to_synchronization(void) {
  in_punching();
  time_passes(); /* the step's end, long before the session's */
}
static void punching_to_discovery(void) {
  in_punching();
  refuse();
}
static void punching_to_connected(void) {
  in_punching();
  arrive();
}
static void punching_to_failed(void) {
  in_punching();
  finish();
}
static void validation_to_punching(void) {
  uint32_t dial = in_validation();
  aq_trav_handle_dial(&T, 20 * AQ_MS, dial, AQ_ERR_TLS, 0);
}
static void validation_to_synchronization(void) {
  target_in_validation();
  offer();
}
static void validation_to_discovery(void) {
  in_validation();
  refuse();
}
static void validation_to_connected(void) {
  uint32_t dial = in_validation();
  aq_trav_handle_dial(&T, 20 * AQ_MS, dial, 0, AQ_MS);
}
static void validation_to_failed(void) {
  in_validation();
  finish();
}

static const struct {
  aq_phase from, to;
  void (*take)(void);
} MOVES[] = {
    {AQ_PHASE_IDLE, AQ_PHASE_DISCOVERY, in_discovery},
    {AQ_PHASE_IDLE, AQ_PHASE_COORDINATION, in_coordination},
    {AQ_PHASE_IDLE, AQ_PHASE_SYNCHRONIZATION, idle_to_synchronization},
    {AQ_PHASE_IDLE, AQ_PHASE_CONNECTED, idle_to_connected},
    {AQ_PHASE_IDLE, AQ_PHASE_FAILED, idle_to_failed},
    {AQ_PHASE_DISCOVERY, AQ_PHASE_COORDINATION, discovery_to_coordination},
    {AQ_PHASE_DISCOVERY, AQ_PHASE_SYNCHRONIZATION,
     discovery_to_synchronization},
    {AQ_PHASE_DISCOVERY, AQ_PHASE_CONNECTED, discovery_to_connected},
    {AQ_PHASE_DISCOVERY, AQ_PHASE_FAILED, discovery_to_failed},
    {AQ_PHASE_COORDINATION, AQ_PHASE_SYNCHRONIZATION, in_synchronization},
    {AQ_PHASE_COORDINATION, AQ_PHASE_DISCOVERY, coordination_to_discovery},
    {AQ_PHASE_COORDINATION, AQ_PHASE_CONNECTED, coordination_to_connected},
    {AQ_PHASE_COORDINATION, AQ_PHASE_FAILED, coordination_to_failed},
    {AQ_PHASE_SYNCHRONIZATION, AQ_PHASE_PUNCHING, in_punching},
    {AQ_PHASE_SYNCHRONIZATION, AQ_PHASE_VALIDATION, sync_to_validation},
    {AQ_PHASE_SYNCHRONIZATION, AQ_PHASE_COORDINATION,
     synchronization_to_coordination},
    {AQ_PHASE_SYNCHRONIZATION, AQ_PHASE_DISCOVERY,
     synchronization_to_discovery},
    {AQ_PHASE_SYNCHRONIZATION, AQ_PHASE_CONNECTED,
     synchronization_to_connected},
    {AQ_PHASE_SYNCHRONIZATION, AQ_PHASE_FAILED, synchronization_to_failed},
    {AQ_PHASE_PUNCHING, AQ_PHASE_VALIDATION, punching_to_validation},
    {AQ_PHASE_PUNCHING, AQ_PHASE_SYNCHRONIZATION, punching_to_synchronization},
    {AQ_PHASE_PUNCHING, AQ_PHASE_DISCOVERY, punching_to_discovery},
    {AQ_PHASE_PUNCHING, AQ_PHASE_CONNECTED, punching_to_connected},
    {AQ_PHASE_PUNCHING, AQ_PHASE_FAILED, punching_to_failed},
    {AQ_PHASE_VALIDATION, AQ_PHASE_PUNCHING, validation_to_punching},
    {AQ_PHASE_VALIDATION, AQ_PHASE_SYNCHRONIZATION,
     validation_to_synchronization},
    {AQ_PHASE_VALIDATION, AQ_PHASE_DISCOVERY, validation_to_discovery},
    {AQ_PHASE_VALIDATION, AQ_PHASE_CONNECTED, validation_to_connected},
    {AQ_PHASE_VALIDATION, AQ_PHASE_FAILED, validation_to_failed},
};

static void every_legal_move_is_taken(void **state) {
  (void)state;
  size_t nrule, nmove = sizeof(MOVES) / sizeof(MOVES[0]);
  const aq_trav_rule *r = aq_trav_rules(&nrule);
  for (size_t i = 0; i < nmove; i++) {
    alone_setup(NULL);
    memset(taken, 0, sizeof(taken));
    MOVES[i].take();
    look(AQ_S);
    if (!taken[MOVES[i].from][MOVES[i].to]) {
      fail_msg("%s to %s was not taken", aq_phase_name(MOVES[i].from),
               aq_phase_name(MOVES[i].to));
    }
  }
  for (size_t i = 0; i < nrule; i++) {
    size_t k = 0;
    while (k < nmove &&
           (MOVES[k].from != r[i].from || MOVES[k].to != r[i].to)) {
      k++;
    }
    if (k == nmove) {
      fail_msg("no test takes %s to %s", aq_phase_name(r[i].from),
               aq_phase_name(r[i].to));
    }
  }
  assert_int_equal(nmove, nrule);
}

static void the_reason_tells_how_it_ended(void **state) {
  (void)state;
  in_punching();
  arrive();
  look(AQ_S);
  assert_int_equal(last_state.reason, AQ_REASON_CONNECTION_ESTABLISHED);
  in_punching();
  finish(); /* of the application */
  look(AQ_S);
  assert_int_equal(last_state.reason, AQ_REASON_USER_CLOSED);
  in_idle();
  time_passes();
  assert_int_equal(last_state.reason, AQ_REASON_TIMEOUT);
  in_punching();
  aq_trav_finish(&T, 20 * AQ_MS, AQ_ERR_PUNCHING_FAILED);
  look(AQ_S);
  assert_int_equal(last_state.reason, AQ_REASON_NETWORK_ERROR);
}

/* ---- time-outs ---- */

/* When the running step ends, and with what. */
static aq_tstamp step_end(int error) {
  for (;;) {
    aq_tstamp next = aq_trav_next_timeout(&T);
    assert_true(next < 60 * AQ_S);
    aq_trav_handle_timeout(&T, next);
    look(next);
    const aq_event *e = alone_event(AQ_EVENT_STEP_DONE);
    if (e != NULL) {
      assert_int_equal(e->error, error);
      return next;
    }
  }
}

static void discovery_has_ten_seconds(void **state) {
  (void)state;
  in_discovery();
  assert_int_equal(step_end(AQ_ERR_UNREACHABLE), 10 * AQ_S);
}

static void coordination_has_what_was_configured(void **state) {
  (void)state;
  in_coordination();
  assert_int_equal(step_end(AQ_ERR_TIMEOUT), 10 * AQ_S);
  P.coordination_timeout = 300 * AQ_MS;
  in_coordination();
  assert_int_equal(step_end(AQ_ERR_TIMEOUT), 300 * AQ_MS);
  /* A step may ask for less, never for more. */
  in_idle();
  assert_int_equal(alone_coordinate(0, 7, AQ_S), 0);
  assert_int_equal(step_end(AQ_ERR_TIMEOUT), 300 * AQ_MS);
}

static void synchronization_has_three_seconds(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_OFFER, 9);
  m.start_delay_us = 500000;
  aq_trav_init_target(&T, 0, &P, &m, 7, 1, AQ_NEVER);
  assert_int_equal(aq_trav_next_timeout(&T), 3500 * AQ_MS);
  aq_trav_handle_timeout(&T, 3500 * AQ_MS);
  look(3500 * AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_DONE)->error, AQ_ERR_TIMEOUT);
  assert_int_equal(last_state.reason, AQ_REASON_TIMEOUT);
}

static void punching_has_five_seconds(void **state) {
  (void)state;
  aq_punch_step s;
  aq_punch_step_init(&s);
  s.rounds = 16; /* they would take longer */
  s.spacing = AQ_S;
  in_synchronization();
  assert_int_equal(aq_trav_step_punch(&T, 0, &s), 0);
  assert_int_equal(step_end(AQ_ERR_PUNCHING_FAILED), 5 * AQ_S);
}

static void validation_has_five_seconds(void **state) {
  (void)state;
  target_in_validation();
  while (!aq_trav_is_over(&T)) {
    aq_tstamp next = aq_trav_next_timeout(&T);
    aq_trav_handle_timeout(&T, next);
    look(next);
  }
  assert_int_equal(T.now, 5 * AQ_S + AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_DONE)->error,
                   AQ_ERR_VALIDATION_TIMEOUT);
}

/* A peer so far away that the usual time would end before an answer. */
static void a_far_peer_has_four_round_trips(void **state) {
  (void)state;
  in_synchronization();
  T.rtt = 2 * AQ_S;
  assert_int_equal(aq_trav_step_punch(&T, 0, NULL), 0);
  aq_trav_handle_timeout(&T, 5 * AQ_MS);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_PUNCHING);
  assert_int_equal(T.punch_until, 8 * AQ_S);
  assert_int_equal(T.dial[0].deadline, 8 * AQ_S + 5 * AQ_MS);
}

/* Its end shows much later than the peer has it done, where datagrams are lost.
 * Who wants the peer as well tries on its own. */
static void a_handshake_that_arrives_is_waited_for(void **state) {
  (void)state;
  for (int ours = 0; ours < 2; ours++) {
    as_target(9);
    aq_trav_handle_timeout(&T, 0);
    if (ours) {
      aq_trav_want(&T, 0, 0);
    }
    assert_int_equal(aq_trav_phase(&T), AQ_PHASE_PUNCHING);
    aq_trav_handle_arriving(&T, AQ_MS);
    look(AQ_MS);
    assert_int_equal(aq_trav_phase(&T),
                     ours ? AQ_PHASE_PUNCHING : AQ_PHASE_VALIDATION);
    aq_trav_handle_timeout(&T, 6 * AQ_S);
    look(6 * AQ_S);
    assert_int_equal(aq_trav_phase(&T),
                     ours ? AQ_PHASE_DISCOVERY : AQ_PHASE_VALIDATION);
  }
  as_target(9);
  aq_trav_handle_timeout(&T, 0);
  aq_trav_handle_arriving(&T, AQ_MS);
  while (!aq_trav_is_over(&T)) {
    aq_trav_handle_timeout(&T, aq_trav_next_timeout(&T));
  }
  assert_int_equal(T.now, P.timeout);
}

/* The address that answered has a dial of 3 s for that. */
static void a_dial_that_hears_nothing_fails_the_validation(void **state) {
  (void)state;
  uint32_t dial = in_validation();
  aq_trav_handle_dial(&T, 20 * AQ_MS, dial, AQ_ERR_UNREACHABLE, 0);
  look(20 * AQ_MS);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_PUNCHING);
  assert_int_equal(T.error, AQ_ERR_VALIDATION_FAILED);
  dial = in_validation();
  while (aq_trav_phase(&T) == AQ_PHASE_VALIDATION) {
    aq_tstamp next = aq_trav_next_timeout(&T);
    aq_trav_handle_timeout(&T, next);
    look(next);
  }
  assert_int_equal(T.now, 10 * AQ_MS + 3 * AQ_S);
  assert_int_equal(T.error, AQ_ERR_VALIDATION_TIMEOUT);
}

/* ---- what is told when it can't work ---- */

static void an_attempt_without_addresses_says_so(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  m.cand[0].addr = util_addr("192.168.7.7:5000"); /* not our network */
  m.cand[0].verified = 0;
  in_coordination();
  aq_trav_handle_answer(&T, 0, 7, &m);
  look(0);
  assert_int_equal(aq_trav_step_punch(&T, 0, NULL), 0);
  look(0);
  alone_step_ended(2, AQ_ERR_NO_CANDIDATES);
}

static void a_coordinator_that_fails_ends_the_step(void **state) {
  (void)state;
  in_coordination();
  aq_trav_handle_error(&T, AQ_MS, 7, 1, aq_ctl_error_code(AQ_CTL_ERR_INTERNAL),
                       0);
  look(AQ_MS);
  alone_step_ended(1, AQ_ERR_COORDINATION_FAILED);
}

/* ---- back-off ---- */

/* The pause after the |n|-th attempt that a coordinator ended with |error|. */
static aq_duration pause_after(uint32_t n, int error, aq_duration wish) {
  aq_tstamp now = 0;
  P.strategy = AQ_STRATEGY_AUTO;
  P.max_attempts = 100;
  P.timeout = 3600 * AQ_S;
  aq_trav_init(&T, now, &P);
  for (uint32_t k = 1;; k++) {
    alone_drain(now);
    assert_int_equal(alone_count(AQ_TRAV_REQUEST), 1);
    assert_int_equal(T.attempt, k);
    alone_requested(now, 7, k);
    aq_trav_handle_error(&T, now, 7, k, error, wish);
    /* There is no other coordinator. */
    aq_trav_handle_unasked(&T, now, T.next_ask, AQ_ERR_NO_BOOTSTRAP_NODES);
    aq_tstamp next = aq_trav_next_timeout(&T);
    if (k == n) {
      return next - now;
    }
    now = next;
    aq_trav_handle_timeout(&T, now);
  }
}

static void back_off_doubles_from_one_to_thirty_seconds(void **state) {
  (void)state;
  static const int base[] = {1, 2, 4, 8, 16, 30, 30, 30};
  aq_duration least = AQ_S, most = 0;
  for (uint32_t n = 1; n <= 8; n++) {
    for (P.seed = 0; P.seed < 400; P.seed++) {
      aq_duration d = pause_after(n, AQ_ERR_OVERLOADED, 0);
      aq_duration jitter = d - (aq_duration)base[n - 1] * AQ_S;
      assert_in_range(jitter, 0, 199 * AQ_MS);
      least = jitter < least ? jitter : least;
      most = jitter > most ? jitter : most;
    }
  }
  assert_int_equal(least, 0);
  assert_int_equal(most, 199 * AQ_MS);
  /* A target that is not known yet may be registering. */
  assert_int_equal(pause_after(1, AQ_ERR_UNKNOWN_TARGET, 0), 400 * AQ_MS);
  assert_int_equal(pause_after(2, AQ_ERR_UNKNOWN_TARGET, 0), 800 * AQ_MS);
  assert_true(pause_after(3, AQ_ERR_UNKNOWN_TARGET, 0) > 3600 * AQ_S);
  /* A coordinator may ask for more. */
  assert_in_range(pause_after(1, AQ_ERR_RATE_LIMITED, 5 * AQ_S), 5 * AQ_S,
                  5 * AQ_S + 199 * AQ_MS);
  assert_in_range(pause_after(6, AQ_ERR_RATE_LIMITED, 5 * AQ_S), 30 * AQ_S,
                  30 * AQ_S + 199 * AQ_MS);
}

#define TEST(name) cmocka_unit_test_setup(name, alone_setup)

int main(int argc, char **argv) {
  KNOWN = util_addr("20.0.0.9:5000");
  PEER = util_addr("20.0.0.2:5000");
  const struct CMUnitTest tests[] = {
      TEST(every_legal_move_is_taken),
      TEST(the_reason_tells_how_it_ended),
      TEST(discovery_has_ten_seconds),
      TEST(coordination_has_what_was_configured),
      TEST(synchronization_has_three_seconds),
      TEST(punching_has_five_seconds),
      TEST(validation_has_five_seconds),
      TEST(a_far_peer_has_four_round_trips),
      TEST(a_handshake_that_arrives_is_waited_for),
      TEST(a_dial_that_hears_nothing_fails_the_validation),
      TEST(an_attempt_without_addresses_says_so),
      TEST(a_coordinator_that_fails_ends_the_step),
      TEST(back_off_doubles_from_one_to_thirty_seconds),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
