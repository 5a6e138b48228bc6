/* test_trav_relay.c - the way over a relay, one session alone: who dials, what
 * each failure comes to, and several coordinators at once.
 *
 * SPDX-License-Identifier: MIT */
#include "support/alone.h"

static const aq_addr RELAY = {4, 9000, {198, 18, 0, 1}, 0};

static aq_ctl message(uint64_t type, uint8_t mark) {
  aq_ctl m = alone_message(type, mark);
  m.plan = AQ_PLAN_RELAY;
  return m;
}

static void asked(void) {
  aq_trav_init(&T, 0, &P);
  assert_int_equal(aq_trav_step_relay(&T, 0, 7), 0);
  alone_drain(0);
  assert_int_equal(alone_action(AQ_TRAV_REQUEST)->plan, AQ_PLAN_RELAY);
  alone_requested(0, 7, 1);
}

static void answered(void) {
  aq_ctl m = message(AQ_CTL_ANSWER, 9);
  asked();
  aq_trav_handle_answer(&T, 0, 7, &m);
  alone_drain(0);
  assert_int_equal(alone_action(AQ_TRAV_TUNNEL)->conn, 7);
  assert_memory_equal(alone_action(AQ_TRAV_TUNNEL)->session, m.session, 8);
}

static void offered(void) {
  aq_ctl m = message(AQ_CTL_OFFER, 9);
  aq_trav_init_target(&T, 0, &P, &m, 7, 0, AQ_NEVER);
  aq_trav_handle_timeout(&T, 0);
  alone_drain(0);
  assert_int_equal(alone_count(AQ_TRAV_TUNNEL), 1);
}

static void tunnel_is_there(void) {
  aq_trav_handle_tunnel(&T, 0, &RELAY, 0);
  alone_drain(0);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_VALIDATION);
}

/* Nothing is punched and no address of the peer's gets anything. */
static void the_initiator_dials_once(void **state) {
  (void)state;
  answered();
  tunnel_is_there();
  assert_int_equal(nactions, 1);
  const aq_trav_action *a = alone_action(AQ_TRAV_DIAL);
  assert_true(a->relay && aq_addr_equal(&a->addr, &RELAY));
  /* The way over the coordinator is the way. */
  assert_int_equal(a->rtt, (T.rtt + 33 * AQ_MS) / 3);
  uint32_t dial = a->dial;
  aq_candidate c = {.addr = util_addr("20.0.0.3:1")};
  aq_trav_handle_candidate(&T, AQ_MS, &c);
  aq_punch p = alone_punch(AQ_PUNCH_PROBE, 1, 5);
  aq_addr from = util_addr("20.0.0.2:5000");
  assert_int_equal(aq_trav_handle_punch(&T, AQ_MS, 0, &from, &p), 0);
  alone_drain(AQ_MS);
  assert_int_equal(nactions, 0);
  aq_trav_handle_dial(&T, 2 * AQ_MS, dial, 0, AQ_MS);
  alone_drain(2 * AQ_MS);
  alone_step_ended(2 + AQ_PLAN_RELAY, 0);
  assert_true(aq_trav_is_over(&T));
}

static void the_target_waits(void **state) {
  (void)state;
  offered();
  tunnel_is_there();
  assert_int_equal(nactions, 0);
  assert_int_equal(aq_trav_next_timeout(&T), AQ_TRAV_VALIDATION_TIMEOUT);
  aq_trav_handle_timeout(&T, AQ_TRAV_VALIDATION_TIMEOUT);
  alone_drain(AQ_TRAV_VALIDATION_TIMEOUT);
  assert_int_equal(alone_action(AQ_TRAV_DONE)->error,
                   AQ_ERR_VALIDATION_TIMEOUT);
}

/* A connection that is there is moved by its client, whoever asked. */
static void the_mover_moves_it(void **state) {
  (void)state;
  for (int mover = 0; mover < 2; mover++) {
    P.repair = 1;
    P.mover = (uint8_t)mover;
    offered();
    tunnel_is_there();
    assert_int_equal(alone_count(AQ_TRAV_DIAL), mover);
    answered();
    tunnel_is_there();
    assert_int_equal(alone_count(AQ_TRAV_DIAL), mover);
  }
}

/* The way over the tunnel is validated twice at most: datagrams are lost. */
static void a_move_is_tried_twice(void **state) {
  (void)state;
  P.repair = P.mover = 1;
  answered();
  tunnel_is_there();
  for (int i = 0; i < 2; i++) {
    assert_int_equal(alone_count(AQ_TRAV_DIAL), 1);
    aq_trav_handle_dial(&T, 0, alone_action(AQ_TRAV_DIAL)->dial,
                        AQ_ERR_VALIDATION_FAILED, 0);
    alone_drain(0);
  }
  alone_step_ended(2 + AQ_PLAN_RELAY, AQ_ERR_VALIDATION_FAILED);
}

static void without_a_tunnel_it_ends(void **state) {
  (void)state;
  answered();
  aq_trav_handle_tunnel(&T, 0, NULL, AQ_ERR_LIMIT);
  alone_drain(0);
  alone_step_ended(2 + AQ_PLAN_RELAY, AQ_ERR_LIMIT);
  assert_int_equal(alone_count(AQ_TRAV_CANCEL), 1);
  assert_int_equal(alone_count(AQ_TRAV_CLOSE), 1);
  assert_true(aq_trav_is_between(&T));
  offered();
  aq_trav_handle_tunnel(&T, 0, NULL, AQ_ERR_LIMIT);
  alone_drain(0);
  assert_int_equal(alone_action(AQ_TRAV_VETO)->conn, 7);
  assert_int_equal(alone_action(AQ_TRAV_DONE)->error, AQ_ERR_LIMIT);
}

static void a_handshake_that_fails_ends_the_step(void **state) {
  (void)state;
  answered();
  tunnel_is_there();
  aq_trav_handle_dial(&T, AQ_MS, alone_action(AQ_TRAV_DIAL)->dial,
                      AQ_ERR_WRONG_KEY, 0);
  alone_drain(AQ_MS);
  alone_step_ended(2 + AQ_PLAN_RELAY, AQ_ERR_WRONG_KEY);
  assert_int_equal(alone_count(AQ_TRAV_CANCEL), 1);
  assert_int_equal(alone_count(AQ_TRAV_CLOSE), 1);
  answered();
  tunnel_is_there();
  aq_tstamp late = AQ_TRAV_VALIDATION_TIMEOUT;
  aq_trav_handle_timeout(&T, late);
  alone_drain(late);
  assert_int_equal(alone_count(AQ_TRAV_HANGUP), 1);
  const aq_event *e = alone_event(AQ_EVENT_STEP_DONE);
  assert_true(e != NULL && e->error != 0);
}

/* What was asked for is what is followed. */
static void nobody_else_chooses_the_relay(void **state) {
  (void)state;
  aq_ctl m = message(AQ_CTL_ANSWER, 9);
  alone_coordinated(0, &m);
  alone_drain(0);
  assert_int_equal(alone_count(AQ_TRAV_TUNNEL), 0);
  alone_step_ended(1, AQ_ERR_COORDINATION_FAILED);
  m = alone_message(AQ_CTL_ANSWER, 9);
  asked();
  aq_trav_handle_answer(&T, 0, 7, &m);
  alone_drain(0);
  assert_int_equal(alone_count(AQ_TRAV_TUNNEL), 0);
  alone_step_ended(2 + AQ_PLAN_RELAY, AQ_ERR_COORDINATION_FAILED);
}

/* The target has a tunnel over each coordinator that was asked, until one of
 * them is called off. */
static void several_coordinators(void **state) {
  (void)state;
  aq_ctl first = message(AQ_CTL_OFFER, 9), second = message(AQ_CTL_OFFER, 10);
  memcpy(second.nonce, first.nonce, sizeof(first.nonce));
  for (int order = 0; order < 2; order++) {
    offered();
    tunnel_is_there();
    aq_trav_handle_offer(&T, 0, &second, 8);
    alone_drain(0);
    assert_int_equal(alone_action(AQ_TRAV_TUNNEL)->conn, 8);
    assert_int_equal(alone_count(AQ_TRAV_CLOSE), 0);
    tunnel_is_there();
    aq_trav_handle_cancel(&T, 0, order ? 7 : 8,
                          order ? first.session : second.session);
    assert_false(aq_trav_is_over(&T));
    aq_trav_handle_cancel(&T, 0, order ? 8 : 7,
                          order ? second.session : first.session);
    assert_true(aq_trav_is_over(&T));
  }
  /* Another attempt of the peer's: the tunnels before are given back. */
  offered();
  tunnel_is_there();
  second.nonce[0] ^= 1;
  aq_trav_handle_offer(&T, 0, &second, 8);
  alone_drain(0);
  assert_int_equal(alone_count(AQ_TRAV_CLOSE), 1);
  assert_int_equal(alone_count(AQ_TRAV_TUNNEL), 1);
}

/* ---- the C strategy --------------------------------------------------------
 */

/* Runs until a REQUEST is wanted; its plan. */
static int next_plan(aq_tstamp *now) {
  for (int i = 0; i < 200; i++) {
    alone_drain(*now);
    if (alone_count(AQ_TRAV_REQUEST) > 0) {
      return alone_action(AQ_TRAV_REQUEST)->plan;
    }
    if (aq_trav_is_over(&T)) {
      return -1;
    }
    *now = aq_trav_next_timeout(&T);
    aq_trav_handle_timeout(&T, *now);
  }
  return -2;
}

static void it_asks_once_and_goes_on(void **state) {
  (void)state;
  for (int relay = 0; relay < 2; relay++) {
    aq_tstamp now = 0;
    uint64_t request = 0;
    int plans[8], n = 0;
    P.strategy = AQ_STRATEGY_AUTO;
    P.timeout = 60 * AQ_S;
    aq_trav_init(&T, 0, &P);
    aq_trav_set_relay(&T, relay);
    while (n < 8 && (plans[n] = next_plan(&now)) >= 0) {
      alone_requested(now, 7, ++request);
      if (plans[n] == AQ_PLAN_RELAY) {
        aq_trav_handle_error(&T, now, 7, request, AQ_ERR_NOT_ALLOWED, 0);
        /* There is no other coordinator. */
        aq_trav_handle_unasked(&T, now, T.next_ask, AQ_ERR_NO_BOOTSTRAP_NODES);
      } else {
        aq_ctl m = alone_message(AQ_CTL_ANSWER, (uint8_t)(20 + n));
        m.request = request;
        aq_trav_handle_answer(&T, now, 7, &m);
      }
      n++;
    }
    assert_int_equal(n, 3 + relay);
    for (int i = 0; i < n; i++) {
      assert_int_equal(plans[i],
                       relay && i == 1 ? AQ_PLAN_RELAY : AQ_PLAN_PUNCH);
    }
    /* That no relay was to be had is not why it isn't direct. */
    assert_int_equal(alone_action(AQ_TRAV_DONE)->error, AQ_ERR_PUNCHING_FAILED);
  }
}

#define TEST(name) cmocka_unit_test_setup(name, alone_setup)

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(the_initiator_dials_once),
      TEST(the_target_waits),
      TEST(the_mover_moves_it),
      TEST(a_move_is_tried_twice),
      TEST(without_a_tunnel_it_ends),
      TEST(a_handshake_that_fails_ends_the_step),
      TEST(nobody_else_chooses_the_relay),
      TEST(several_coordinators),
      TEST(it_asks_once_and_goes_on),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
