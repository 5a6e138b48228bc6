/* test_trav_auto.c - the strategy in C, one session alone: which plan follows
 * from which NATs, and what from a failure. That it does what the policy
 * `balanced` does is in spec/sim/auto_spec.lua.
 *
 * SPDX-License-Identifier: MIT */
#include "support/alone.h"

static const aq_nat_profile UNKNOWN;
static aq_ctl M;
static aq_tstamp now;

static aq_nat_profile nat(aq_nat_rule mapping, aq_nat_rule filtering,
                          aq_nat_allocation allocation) {
  aq_nat_profile p = {.mapping = (uint8_t)mapping,
                      .filtering = (uint8_t)filtering,
                      .allocation = (uint8_t)allocation};
  return p;
}

static aq_nat_profile easy(void) {
  return nat(AQ_NAT_ENDPOINT_INDEPENDENT, AQ_NAT_ADDRESS_AND_PORT_DEPENDENT,
             AQ_NAT_ALLOC_PRESERVING);
}

static aq_nat_profile hard(aq_nat_allocation allocation) {
  return nat(AQ_NAT_ADDRESS_AND_PORT_DEPENDENT,
             AQ_NAT_ADDRESS_AND_PORT_DEPENDENT, allocation);
}

static int auto_setup(void **state) {
  alone_setup(state);
  P.strategy = AQ_STRATEGY_AUTO;
  P.plans = 0xff;
  P.max_attempts = 100;
  now = 0;
  return 0;
}

/* The newest REQUEST wants |plan|, and is answered by 7. */
static void answered(aq_plan plan, aq_nat_profile you) {
  assert_int_equal(alone_action(AQ_TRAV_REQUEST)->plan, plan);
  M = alone_message(AQ_CTL_ANSWER, (uint8_t)(T.next_ask + 1));
  M.request = T.next_ask;
  M.plan = plan;
  M.profile = you;
  alone_requested(now, 7, T.next_ask);
  aq_trav_handle_answer(&T, now, 7, &M);
  alone_drain(now);
}

static void start(aq_nat_profile me, aq_nat_profile you) {
  P.profile = me;
  aq_trav_init(&T, now, &P);
  alone_drain(now);
  answered(AQ_PLAN_PUNCH, you);
}

/* Time goes on until there is an action of |kind|. */
static const aq_trav_action *until(aq_trav_action_kind kind) {
  do {
    assert_int_not_equal(aq_trav_next_timeout(&T), AQ_NEVER);
    now = aq_trav_next_timeout(&T);
    aq_trav_handle_timeout(&T, now);
    alone_drain(now);
  } while (alone_count(kind) == 0);
  return alone_action(kind);
}

/* The target vetoes what was agreed on last. */
static void vetoed(int error) {
  aq_trav_handle_error(&T, now, 7, M.request, error, 0);
  alone_drain(now);
}

static void requests(aq_plan plan, aq_id conn) {
  assert_int_equal(alone_action(AQ_TRAV_REQUEST)->plan, plan);
  assert_int_equal(alone_action(AQ_TRAV_REQUEST)->conn, conn);
}

static void what_is_sure_is_done_at_once(void **state) {
  (void)state;
  static const struct {
    aq_nat_allocation allocation;
    aq_plan plan;
  } cases[] = {{AQ_NAT_ALLOC_RANDOM, AQ_PLAN_BIRTHDAY},
               {AQ_NAT_ALLOC_SEQUENTIAL, AQ_PLAN_PREDICT},
               {AQ_NAT_ALLOC_BLOCK, AQ_PLAN_PREDICT}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    start(hard(cases[i].allocation), easy());
    requests(cases[i].plan, 7);
    start(easy(), hard(cases[i].allocation));
    requests(cases[i].plan, 7);
    assert_int_equal(alone_count(AQ_TRAV_PUNCH), 0);
  }
  start(hard(AQ_NAT_ALLOC_SEQUENTIAL), hard(AQ_NAT_ALLOC_SEQUENTIAL));
  requests(AQ_PLAN_PREDICT, 7);
  /* A filter that lets in, or that does not mind the port. */
  aq_nat_profile open = easy();
  open.filtering = AQ_NAT_ENDPOINT_INDEPENDENT;
  start(hard(AQ_NAT_ALLOC_RANDOM), open);
  assert_true(alone_count(AQ_TRAV_PUNCH) > 0);
  open.filtering = AQ_NAT_ADDRESS_DEPENDENT;
  start(hard(AQ_NAT_ALLOC_RANDOM), open);
  assert_true(alone_count(AQ_TRAV_PUNCH) > 0);
}

static void a_pool_gets_several_sockets(void **state) {
  (void)state;
  aq_nat_profile pool = hard(AQ_NAT_ALLOC_PRESERVING);
  pool.external_count = 2;
  start(pool, easy());
  answered(AQ_PLAN_FRESH, easy());
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->count, 8);
}

static void two_hard_ones_get_one_punch_and_the_reason(void **state) {
  (void)state;
  start(hard(AQ_NAT_ALLOC_RANDOM), hard(AQ_NAT_ALLOC_RANDOM));
  assert_true(alone_count(AQ_TRAV_PUNCH) > 0);
  assert_int_equal(until(AQ_TRAV_DONE)->error, AQ_ERR_PUNCHING_FAILED);
  assert_true(now <= AQ_S);
  assert_non_null(strstr(T.why, "both NATs"));
  assert_int_equal(T.attempt, 1);
  /* A filter that nobody knows gets three more. */
  now = 0;
  aq_nat_profile wild = hard(AQ_NAT_ALLOC_RANDOM);
  wild.filtering = AQ_NAT_UNKNOWN;
  start(wild, hard(AQ_NAT_ALLOC_RANDOM));
  for (int i = 0; i < 3; i++) {
    until(AQ_TRAV_REQUEST);
    answered(AQ_PLAN_PUNCH, hard(AQ_NAT_ALLOC_RANDOM));
  }
  assert_int_equal(until(AQ_TRAV_DONE)->error, AQ_ERR_PUNCHING_FAILED);
  assert_int_equal(T.attempt, 4);
  /* That there is nothing to be done may show later. */
  now = 0;
  start(UNKNOWN, UNKNOWN);
  until(AQ_TRAV_REQUEST);
  wild = hard(AQ_NAT_ALLOC_RANDOM);
  aq_trav_set_profile(&T, &wild);
  answered(AQ_PLAN_PUNCH, wild);
  assert_int_equal(alone_action(AQ_TRAV_DONE)->error, AQ_ERR_PUNCHING_FAILED);
}

static void unknown_ones_are_looked_at_again_and_get_new_sockets(void **state) {
  (void)state;
  start(UNKNOWN, UNKNOWN);
  until(AQ_TRAV_REQUEST);
  assert_int_equal(now, AQ_S);
  requests(AQ_PLAN_PUNCH, 7);
  answered(AQ_PLAN_PUNCH, UNKNOWN);
  requests(AQ_PLAN_FRESH, 7);
  answered(AQ_PLAN_FRESH, UNKNOWN);
  vetoed(AQ_ERR_OVERLOADED);
  aq_tstamp failed = now;
  until(AQ_TRAV_REQUEST); /* again, after a pause */
  requests(AQ_PLAN_PUNCH, 0);
  assert_in_range(now - failed, AQ_S, AQ_S + 199 * AQ_MS);
  /* What has been learnt meanwhile counts. */
  now = 0;
  start(UNKNOWN, UNKNOWN);
  until(AQ_TRAV_REQUEST);
  aq_nat_profile wild = hard(AQ_NAT_ALLOC_RANDOM);
  aq_trav_set_profile(&T, &wild);
  answered(AQ_PLAN_PUNCH, easy());
  requests(AQ_PLAN_BIRTHDAY, 7);
}

static void advice_that_is_not_sure_follows_a_punch(void **state) {
  (void)state;
  aq_nat_profile wild = hard(AQ_NAT_ALLOC_RANDOM);
  wild.filtering = AQ_NAT_UNKNOWN;
  start(wild, easy());
  assert_true(alone_count(AQ_TRAV_PUNCH) > 0);
  until(AQ_TRAV_REQUEST);
  requests(AQ_PLAN_BIRTHDAY, 7);
  answered(AQ_PLAN_BIRTHDAY, easy());
  vetoed(AQ_ERR_NOT_ALLOWED); /* there */
  requests(AQ_PLAN_PUNCH, 7);
  answered(AQ_PLAN_PUNCH, easy());
  requests(AQ_PLAN_BIRTHDAY, 7);
  answered(AQ_PLAN_BIRTHDAY, easy());
  vetoed(AQ_ERR_NOT_ALLOWED);
  requests(AQ_PLAN_FRESH, 7);
}

static void nobody_may_guess(void **state) {
  (void)state;
  P.plans = 1 << AQ_PLAN_FRESH;
  start(hard(AQ_NAT_ALLOC_RANDOM), easy());
  assert_true(alone_count(AQ_TRAV_PUNCH) > 0);
  until(AQ_TRAV_REQUEST);
  requests(AQ_PLAN_PUNCH, 7);
  answered(AQ_PLAN_PUNCH, easy());
  requests(AQ_PLAN_FRESH, 7);
  P.plans = 0;
  now = 0;
  start(easy(), easy());
  until(AQ_TRAV_REQUEST);
  requests(AQ_PLAN_PUNCH, 0); /* a new attempt */
}

static void a_relay_is_asked_once_and_punching_goes_on(void **state) {
  (void)state;
  P.relay = 1;
  P.plans = 0;
  start(easy(), easy());
  until(AQ_TRAV_REQUEST);
  requests(AQ_PLAN_RELAY, 0);
  aq_trav_handle_unasked(&T, now, T.next_ask, AQ_ERR_UNSUPPORTED);
  alone_drain(now);
  until(AQ_TRAV_REQUEST);
  answered(AQ_PLAN_PUNCH, easy());
  until(AQ_TRAV_REQUEST);
  requests(AQ_PLAN_PUNCH, 0);
  /* Where nothing else can help it ends there. */
  now = 0;
  start(hard(AQ_NAT_ALLOC_RANDOM), hard(AQ_NAT_ALLOC_RANDOM));
  until(AQ_TRAV_REQUEST);
  requests(AQ_PLAN_RELAY, 0);
  aq_trav_handle_unasked(&T, now, T.next_ask, AQ_ERR_UNSUPPORTED);
  alone_drain(now);
  assert_int_equal(alone_action(AQ_TRAV_DONE)->error, AQ_ERR_PUNCHING_FAILED);
}

static void nobody_is_reached(void **state) {
  (void)state;
  aq_trav_init(&T, 0, &P);
  alone_drain(0);
  assert_int_equal(until(AQ_TRAV_DONE)->error, AQ_ERR_NO_BOOTSTRAP_NODES);
  assert_int_equal(now, 3 * AQ_S);
  /* Who waits for its turn, or was asked, has its time. */
  P.coordination_timeout = 5 * AQ_S;
  now = 0;
  aq_trav_init(&T, 0, &P);
  alone_drain(0);
  aq_trav_handle_queued(&T, AQ_S, T.next_ask);
  until(AQ_TRAV_REQUEST);
  assert_in_range(now, 6 * AQ_S, 6 * AQ_S + 199 * AQ_MS);
}

#define TEST(name) cmocka_unit_test_setup(name, auto_setup)

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(what_is_sure_is_done_at_once),
      TEST(a_pool_gets_several_sockets),
      TEST(two_hard_ones_get_one_punch_and_the_reason),
      TEST(unknown_ones_are_looked_at_again_and_get_new_sockets),
      TEST(advice_that_is_not_sure_follows_a_punch),
      TEST(nobody_may_guess),
      TEST(a_relay_is_asked_once_and_punching_goes_on),
      TEST(nobody_is_reached),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
