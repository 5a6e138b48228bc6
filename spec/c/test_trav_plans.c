/* test_trav_plans.c - plans with new sockets, one session alone: who does what,
 * what is guessed, and how each of them ends when it can't go on.
 *
 * SPDX-License-Identifier: MIT */
#include "support/alone.h"

#include "proto/guard.h"

static aq_nat_profile nat(aq_nat_rule mapping, aq_nat_allocation allocation) {
  aq_nat_profile p = {.mapping = (uint8_t)mapping,
                      .allocation = (uint8_t)allocation};
  p.step = allocation == AQ_NAT_ALLOC_SEQUENTIAL ? 2 : 0;
  return p;
}

static const aq_nat_rule EASY = AQ_NAT_ENDPOINT_INDEPENDENT;
static const aq_nat_rule HARD = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT;
static aq_ctl M; /* the offer in force */

static void offered(aq_plan plan, aq_nat_profile me, aq_nat_profile you) {
  M = alone_message(AQ_CTL_OFFER, 9);
  M.plan = plan;
  M.profile = you;
  P.profile = me;
  aq_trav_init_target(&T, 0, &P, &M, 7, 0, AQ_NEVER);
  alone_drain(0);
}

/* Allowed, and every third can't be had. */
static void opened(uint32_t count) {
  aq_trav_handle_allowed(&T, 0, NULL);
  aq_addr a = util_addr("0.0.0.0:0");
  for (uint32_t i = 0; i < count; i++) {
    a.port = (uint16_t)(20000 + i);
    aq_trav_handle_opened(&T, 0, AQ_MAX_SOCKETS + i, i % 3 == 2 ? NULL : &a);
  }
}

static void observed(uint32_t socket, const char *addr) {
  aq_addr a = util_addr(addr);
  aq_trav_handle_observed(&T, AQ_MS, AQ_MAX_SOCKETS + socket, 77, &a);
}

static void hinted(const char *addr, uint64_t count, int64_t step) {
  aq_ctl m = {.type = AQ_CTL_HINT, .plan = M.plan, .count = count};
  memcpy(m.session, M.session, sizeof(m.session));
  m.observed = util_addr(addr);
  m.step = step;
  aq_trav_handle_hint(&T, 2 * AQ_MS, 7, &m);
}

static void failed(int error) {
  assert_int_equal(alone_action(AQ_TRAV_DONE)->error, error);
}

/* ---- who guesses ---- */

static void two_in_sequence_predict_each_other(void **state) {
  (void)state;
  aq_nat_profile seq = nat(HARD, AQ_NAT_ALLOC_SEQUENTIAL);
  offered(AQ_PLAN_PREDICT, seq, seq);
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->count, 25);
  opened(25);
  alone_drain(0);
  assert_int_equal(alone_count(AQ_TRAV_OBSERVE), 1);
  observed(0, "20.0.0.1:30000");
  alone_drain(AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_HINT)->hint.step, 2);
  assert_int_equal(alone_action(AQ_TRAV_HINT)->hint.count, 17);
  hinted("20.0.0.2:6000", 17, 3);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_PUNCHING);
  aq_pair_info v[32];
  size_t n = aq_trav_get_pairs(&T, v, 32);
  assert_int_equal(n, 16);
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(v[i].remote_source, AQ_SOURCE_PREDICTED);
    assert_int_equal((v[i].remote.port - 6000) % 3, 0);
    assert_in_range(v[i].remote.port, 6003, 6060);
  }
  alone_drain(2 * AQ_MS);
  for (size_t i = 0; i < nactions; i++) {
    if (actions[i].kind == AQ_TRAV_PUNCH) {
      assert_true(actions[i].guess && !actions[i].verified);
    }
  }
  assert_int_equal(alone_count(AQ_TRAV_DIAL), 0);
}

static void what_gives_no_ports_by_destination_is_not_guessed(void **state) {
  (void)state;
  aq_nat_profile easy = nat(EASY, AQ_NAT_ALLOC_PRESERVING);
  offered(AQ_PLAN_BIRTHDAY, easy, easy);
  assert_int_equal(alone_count(AQ_TRAV_OPEN), 0);
  failed(AQ_ERR_PUNCHING_FAILED);
  assert_non_null(
      strstr(alone_event(AQ_EVENT_TRAVERSAL_FAILED)->text, "nothing to guess"));
}

static void two_at_random_are_not_guessed(void **state) {
  (void)state;
  aq_nat_profile wild = nat(HARD, AQ_NAT_ALLOC_RANDOM);
  offered(AQ_PLAN_BIRTHDAY, wild, wild);
  assert_int_equal(alone_count(AQ_TRAV_OPEN), 0);
  failed(AQ_ERR_PUNCHING_FAILED);
}

/* ---- the opener ---- */

static void its_step_has_the_name_of_the_plan(void **state) {
  (void)state;
  offered(AQ_PLAN_BIRTHDAY, nat(HARD, AQ_NAT_ALLOC_RANDOM),
          nat(EASY, AQ_NAT_ALLOC_PRESERVING));
  opened(alone_action(AQ_TRAV_OPEN)->count);
  alone_drain(0);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_PUNCHING);
  aq_step_record steps[AQ_MAX_STEPS];
  size_t n = aq_trav_get_steps(&T, steps, AQ_MAX_STEPS);
  assert_int_not_equal(n, 0);
  assert_int_equal(steps[n - 1].step, AQ_TRAV_STEP_PUNCH + AQ_PLAN_BIRTHDAY);
}

/* ---- the sprayer ---- */

static void spraying(void) {
  offered(AQ_PLAN_BIRTHDAY, nat(EASY, AQ_NAT_ALLOC_PRESERVING),
          nat(HARD, AQ_NAT_ALLOC_RANDOM));
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->count, 0);
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->guesses, AQ_HARD_PROBES);
  aq_trav_handle_allowed(&T, 0, NULL);
  hinted("20.0.0.2:6000", 256, 0);
  alone_drain(2 * AQ_MS);
}

static void guesses_are_paced_bounded_and_each_once(void **state) {
  (void)state;
  static uint8_t seen[65536];
  memset(seen, 0, sizeof(seen));
  size_t total = 0;
  spraying();
  aq_tstamp now = 2 * AQ_MS;
  while (!aq_trav_is_over(&T)) {
    size_t n = 0;
    for (size_t i = 0; i < nactions; i++) {
      if (actions[i].kind == AQ_TRAV_PUNCH) {
        assert_true(actions[i].guess && actions[i].addr.port >= 1024);
        assert_int_equal(seen[actions[i].addr.port]++, 0);
        n++;
      }
    }
    assert_true(n <= AQ_HARD_BATCH);
    total += n;
    now = aq_trav_next_timeout(&T);
    aq_trav_handle_timeout(&T, now);
    alone_drain(now);
  }
  assert_int_equal(total, AQ_HARD_PROBES);
  assert_in_range(now, AQ_S, 3 * AQ_S);
}

static void a_limit_ends_the_guessing_a_port_does_not(void **state) {
  (void)state;
  spraying();
  aq_addr to = alone_action(AQ_TRAV_PUNCH)->addr;
  aq_trav_handle_refused(&T, 3 * AQ_MS, 0, &to, AQ_GUARD_FORBIDDEN);
  aq_trav_handle_timeout(&T, 12 * AQ_MS);
  alone_drain(12 * AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_PUNCH), AQ_HARD_BATCH);
  aq_trav_handle_refused(&T, 13 * AQ_MS, 0, &to, AQ_GUARD_GUESS_TARGET);
  aq_trav_handle_timeout(&T, 30 * AQ_MS);
  alone_drain(30 * AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_PUNCH), 0);
}

static void a_hint_that_may_not_be_tried_ends_it(void **state) {
  (void)state;
  offered(AQ_PLAN_BIRTHDAY, nat(EASY, AQ_NAT_ALLOC_PRESERVING),
          nat(HARD, AQ_NAT_ALLOC_RANDOM));
  aq_trav_handle_allowed(&T, 0, NULL);
  hinted("127.0.0.1:6000", 256, 0);
  alone_drain(2 * AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_PUNCH), 0);
  failed(AQ_ERR_NO_CANDIDATES);
}

/* ---- what can go wrong before ---- */

static void fresh(void) {
  offered(AQ_PLAN_FRESH, nat(EASY, AQ_NAT_ALLOC_RANDOM),
          nat(EASY, AQ_NAT_ALLOC_RANDOM));
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->count, 1);
}

static void a_limit_of_ours_is_told_to_the_peer(void **state) {
  (void)state;
  fresh();
  aq_trav_handle_allowed(&T, AQ_MS, "limit_guess");
  alone_drain(AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_VETO)->error, AQ_ERR_OVERLOADED);
  failed(AQ_ERR_RATE_LIMITED);
}

static void without_a_socket_it_ends(void **state) {
  (void)state;
  fresh();
  aq_trav_handle_allowed(&T, AQ_MS, NULL);
  aq_trav_handle_opened(&T, AQ_MS, AQ_MAX_SOCKETS, NULL);
  alone_drain(AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_VETO), 1);
  assert_int_equal(alone_count(AQ_TRAV_CLOSE), 1);
  failed(AQ_ERR_LIMIT);
}

static void a_coordinator_that_cant_look_ends_it(void **state) {
  (void)state;
  fresh();
  aq_trav_handle_allowed(&T, 0, NULL);
  opened(1);
  aq_trav_handle_unobserved(&T, AQ_MS, AQ_ERR_UNSUPPORTED);
  alone_drain(AQ_MS);
  failed(AQ_ERR_UNSUPPORTED);
}

static void a_lost_hint_is_not_waited_for_long(void **state) {
  (void)state;
  fresh();
  opened(1);
  observed(0, "20.0.0.1:30000");
  hinted("20.0.0.2:6000", 2, 0); /* of two */
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_SYNCHRONIZATION);
  aq_trav_handle_timeout(&T, 2 * AQ_MS + AQ_HARD_HINT_GAP);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_PUNCHING);
}

/* The peer's NAT has two addresses: each port may be at either. */
static void an_answer_from_the_other_address_counts(void **state) {
  (void)state;
  fresh();
  opened(1);
  observed(0, "20.0.0.1:30000");
  hinted("20.0.0.2:6000", 2, 0);
  hinted("20.0.0.3:6001", 2, 0);
  aq_tstamp now = aq_trav_next_timeout(&T);
  const aq_trav_action *a = NULL;
  for (int i = 0; i < 20 && a == NULL; i++) {
    aq_trav_handle_timeout(&T, now);
    alone_drain(now);
    for (size_t k = 0; k < nactions && a == NULL; k++) {
      a = actions[k].kind == AQ_TRAV_PUNCH && actions[k].guess ? &actions[k]
                                                               : NULL;
    }
    now = aq_trav_next_timeout(&T);
  }
  assert_non_null(a);
  aq_punch p = alone_punch(AQ_PUNCH_ANSWER, 1, a->punch.echo ^ 2);
  assert_false(aq_trav_handle_punch(&T, now, a->socket, &a->addr, &p));
  p = alone_punch(AQ_PUNCH_ANSWER, 2, a->punch.echo);
  assert_true(aq_trav_handle_punch(&T, now, a->socket, &a->addr, &p));
  assert_int_not_equal(T.hard.salt, 0);
}

static void nobody_that_the_coordinator_sees_gets_nothing(void **state) {
  (void)state;
  M = alone_message(AQ_CTL_OFFER, 9);
  M.plan = AQ_PLAN_FRESH;
  M.cand[0].verified = 0;
  aq_trav_init_target(&T, 0, &P, &M, 7, 0, AQ_NEVER);
  alone_drain(0);
  assert_int_equal(alone_count(AQ_TRAV_OPEN), 0);
  failed(AQ_ERR_PUNCHING_FAILED);
}

#define TEST(name) cmocka_unit_test_setup(name, alone_setup)

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(two_in_sequence_predict_each_other),
      TEST(what_gives_no_ports_by_destination_is_not_guessed),
      TEST(two_at_random_are_not_guessed),
      TEST(its_step_has_the_name_of_the_plan),
      TEST(guesses_are_paced_bounded_and_each_once),
      TEST(a_limit_ends_the_guessing_a_port_does_not),
      TEST(a_hint_that_may_not_be_tried_ends_it),
      TEST(a_limit_of_ours_is_told_to_the_peer),
      TEST(without_a_socket_it_ends),
      TEST(a_coordinator_that_cant_look_ends_it),
      TEST(a_lost_hint_is_not_waited_for_long),
      TEST(an_answer_from_the_other_address_counts),
      TEST(nobody_that_the_coordinator_sees_gets_nothing),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
