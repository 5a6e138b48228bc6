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

/* A peer that lies: one nonce with two plans is two attempts. */
static void sockets_of_a_plan_end_with_it(void **state) {
  (void)state;
  offered(AQ_PLAN_BIRTHDAY, nat(HARD, AQ_NAT_ALLOC_RANDOM),
          nat(EASY, AQ_NAT_ALLOC_PRESERVING));
  opened(alone_action(AQ_TRAV_OPEN)->count);
  alone_drain(0);
  assert_true(T.hard.nsock > 1);
  aq_ctl m = M;
  m.plan = AQ_PLAN_PUNCH;
  m.session[0] ^= 1;
  aq_trav_handle_offer(&T, AQ_MS, &m, 8);
  assert_int_equal(T.attempt, 2);
  assert_int_equal(T.hard.nsock, 0);
  alone_drain(AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_CLOSE), 1);
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

/* ---- a repair that guesses ---- */

static aq_nat_profile strict(aq_nat_rule mapping, aq_nat_allocation how) {
  aq_nat_profile p = nat(mapping, how);
  p.filtering = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT;
  return p;
}

static void repaired(aq_nat_profile me, aq_nat_profile you) {
  P.repair = P.mover = 1;
  P.plans = 1 << AQ_PLAN_BIRTHDAY;
  offered(AQ_PLAN_REPAIR, me, you);
}

/* The peer guesses from a new socket, so that is where our openers go. */
static void a_repairs_opener_waits_for_the_hint(void **state) {
  (void)state;
  repaired(strict(HARD, AQ_NAT_ALLOC_RANDOM),
           strict(EASY, AQ_NAT_ALLOC_PRESERVING));
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->count, 256);
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->guesses, 256);
  opened(256);
  alone_drain(0);
  assert_int_equal(nactions, 0);
  hinted("20.0.0.2:7000", 1, 0);
  alone_drain(2 * AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_OBSERVE), 1);
  aq_addr to = util_addr("20.0.0.2:7000");
  assert_int_equal(alone_action(AQ_TRAV_PUNCH)->punch.type, AQ_PUNCH_OPENER);
  assert_true(aq_addr_equal(&alone_action(AQ_TRAV_PUNCH)->addr, &to));
  /* A hit is moved to once it has echoed what we sent. */
  aq_addr from = to;
  aq_punch p = alone_punch(AQ_PUNCH_PROBE, 1, 5);
  aq_trav_handle_punch(&T, 50 * AQ_MS, AQ_MAX_SOCKETS + 4, &from, &p);
  aq_trav_handle_timeout(&T, 80 * AQ_MS);
  alone_drain(80 * AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_DIAL), 0);
  uint64_t cookie = 0;
  for (size_t i = 0; i < nactions; i++) {
    if (actions[i].kind == AQ_TRAV_PUNCH &&
        actions[i].punch.type == AQ_PUNCH_PROBE) {
      cookie = actions[i].punch.echo;
    }
  }
  assert_true(cookie != 0);
  p = alone_punch(AQ_PUNCH_ANSWER, 2, cookie);
  aq_trav_handle_punch(&T, 90 * AQ_MS, AQ_MAX_SOCKETS + 4, &from, &p);
  alone_drain(90 * AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_DIAL)->socket, AQ_MAX_SOCKETS + 4);
}

/* A client can move to another socket only. */
static void a_repairs_sprayer_has_a_new_socket(void **state) {
  (void)state;
  repaired(strict(EASY, AQ_NAT_ALLOC_PRESERVING),
           strict(HARD, AQ_NAT_ALLOC_RANDOM));
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->count, 1);
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->guesses, AQ_HARD_PROBES);
  opened(1);
  observed(0, "20.0.0.1:30000");
  alone_drain(AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_HINT)->hint.plan, AQ_PLAN_REPAIR);
  hinted("20.0.0.2:6000", 256, 0);
  alone_drain(2 * AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_PUNCH), AQ_HARD_BATCH);
  for (size_t i = 0; i < nactions; i++) {
    assert_int_equal(actions[i].socket, AQ_MAX_SOCKETS);
  }
}

/* Where it isn't needed, isn't known to be, or isn't wanted. */
static void a_repair_guesses_only_where_it_must(void **state) {
  (void)state;
  aq_nat_profile hard = strict(HARD, AQ_NAT_ALLOC_RANDOM);
  aq_nat_profile easy = strict(EASY, AQ_NAT_ALLOC_PRESERVING);
  aq_nat_profile unknown = nat(EASY, AQ_NAT_ALLOC_PRESERVING);
  aq_nat_profile pairs[][2] = {{easy, easy}, {hard, unknown}, {hard, hard}};
  for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
    repaired(pairs[i][0], pairs[i][1]);
    assert_int_equal(alone_action(AQ_TRAV_OPEN)->count, 1);
    assert_int_equal(alone_action(AQ_TRAV_OPEN)->guesses, 0);
  }
  P.plans = 0;
  offered(AQ_PLAN_REPAIR, hard, easy);
  assert_int_equal(alone_count(AQ_TRAV_OPEN), 0);
  failed(AQ_ERR_PUNCHING_FAILED);
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

/* ---- a coordinator that dies ---- */

/* Initiator of a plan |plan|; the coordinator 7 has answered. */
static void asked(aq_plan plan) {
  aq_hard_step s;
  aq_hard_step_init(&s);
  s.via = 7;
  P.profile = nat(EASY, AQ_NAT_ALLOC_RANDOM);
  M = alone_message(AQ_CTL_ANSWER, 9);
  M.plan = plan;
  M.profile = nat(plan == AQ_PLAN_BIRTHDAY ? HARD : EASY, AQ_NAT_ALLOC_RANDOM);
  aq_trav_init(&T, 0, &P);
  assert_int_equal(aq_trav_step_hard(&T, 0, plan, &s), 0);
  alone_drain(0);
  assert_int_equal(alone_action(AQ_TRAV_REQUEST)->conn, 7);
  alone_requested(0, 7, 1);
}

static void who_keeps_silent_is_replaced_before_it_answers(void **state) {
  (void)state;
  asked(AQ_PLAN_FRESH);
  aq_trav_handle_timeout(&T, 200 * AQ_MS);
  alone_drain(200 * AQ_MS);
  const aq_trav_action *a = alone_action(AQ_TRAV_REQUEST);
  assert_true(a->conn == 0 && a->plan == AQ_PLAN_FRESH && a->attempt == 1);
  assert_int_equal(alone_count(AQ_TRAV_CANCEL), 0); /* there may be nobody */
  alone_requested(200 * AQ_MS, 8, 2);
  alone_drain(200 * AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_CANCEL)->conn, 7);
  assert_int_equal(alone_action(AQ_TRAV_CANCEL)->error, AQ_ERR_TIMEOUT);
  aq_trav_handle_answer(&T, 210 * AQ_MS, 7, &M); /* too late */
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_COORDINATION);
  M.request = 2;
  aq_trav_handle_answer(&T, 220 * AQ_MS, 8, &M);
  alone_drain(220 * AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->conn, 8);
}

static void who_dies_after_the_answer_is_replaced(void **state) {
  (void)state;
  for (int lost = 0; lost < 2; lost++) {
    asked(AQ_PLAN_FRESH);
    aq_trav_handle_answer(&T, 0, 7, &M);
    alone_drain(0);
    opened(1);
    alone_drain(0);
    aq_trav_handle_timeout(&T, 100 * AQ_MS);
    alone_drain(100 * AQ_MS);
    assert_int_equal(alone_action(AQ_TRAV_WATCH)->conn, 7);
    assert_true(alone_action(AQ_TRAV_WATCH)->wait);
    aq_trav_handle_silent(&T, 110 * AQ_MS, 8); /* not its business */
    alone_drain(110 * AQ_MS);
    assert_int_equal(nactions, 0);
    if (lost) {
      aq_trav_handle_lost(&T, 120 * AQ_MS, 7);
    } else {
      aq_trav_handle_silent(&T, 120 * AQ_MS, 7);
    }
    alone_drain(120 * AQ_MS);
    assert_int_equal(alone_count(AQ_TRAV_CLOSE), 1);
    assert_int_equal(alone_action(AQ_TRAV_CANCEL)->error,
                     lost ? AQ_ERR_PEER_NOT_CONNECTED : AQ_ERR_TIMEOUT);
    assert_int_equal(alone_action(AQ_TRAV_REQUEST)->conn, 0);
    assert_null(alone_event(AQ_EVENT_STEP_DONE));
    alone_requested(120 * AQ_MS, 8, 2);
    M.request = 2;
    aq_trav_handle_answer(&T, 130 * AQ_MS, 8, &M);
    alone_drain(130 * AQ_MS);
    assert_int_equal(alone_action(AQ_TRAV_OPEN)->conn, 8);
    /* What became of the first is told. */
    aq_step_record r[8];
    size_t n = aq_trav_get_steps(&T, r, 8);
    assert_int_equal(n, 3);
    assert_int_equal(r[1].step, AQ_TRAV_STEP_PUNCH + AQ_PLAN_FRESH);
    assert_true(r[1].error != 0);
  }
}

static void without_another_one_it_ends(void **state) {
  (void)state;
  asked(AQ_PLAN_FRESH);
  aq_trav_handle_lost(&T, AQ_MS, 7);
  alone_drain(AQ_MS);
  uint32_t ask = alone_action(AQ_TRAV_REQUEST)->ask;
  assert_false(alone_action(AQ_TRAV_REQUEST)->wait);
  aq_trav_handle_unasked(&T, AQ_MS, ask, AQ_ERR_NO_BOOTSTRAP_NODES);
  alone_drain(AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_REQUEST), 0);
  alone_step_ended(AQ_TRAV_STEP_PUNCH + AQ_PLAN_FRESH,
                   AQ_ERR_NO_BOOTSTRAP_NODES);
}

/* It has the peer's HINT, and the peer waits for none. */
static void a_sprayer_needs_no_coordinator(void **state) {
  (void)state;
  asked(AQ_PLAN_BIRTHDAY);
  aq_trav_handle_answer(&T, 0, 7, &M);
  aq_trav_handle_allowed(&T, 0, NULL);
  hinted("20.0.0.2:6000", 256, 0);
  aq_trav_handle_silent(&T, 10 * AQ_MS, 7);
  for (aq_tstamp now = 20 * AQ_MS; now < 300 * AQ_MS; now += 10 * AQ_MS) {
    aq_trav_handle_timeout(&T, now);
    alone_drain(now);
    assert_int_equal(alone_count(AQ_TRAV_WATCH), 0);
    assert_true(alone_count(AQ_TRAV_PUNCH) > 0);
  }
}

static void a_punch_that_nobody_hears_of_ends_early(void **state) {
  (void)state;
  M = alone_message(AQ_CTL_ANSWER, 9);
  alone_punching(0, &M);
  aq_trav_handle_timeout(&T, 100 * AQ_MS);
  alone_drain(100 * AQ_MS);
  assert_true(alone_action(AQ_TRAV_WATCH)->wait);
  aq_trav_handle_silent(&T, 300 * AQ_MS, 7);
  alone_drain(300 * AQ_MS);
  alone_step_ended(AQ_TRAV_STEP_PUNCH, AQ_ERR_PUNCHING_FAILED);
  /* Once the peer was heard that is no reason. */
  alone_punching(0, &M);
  aq_trav_handle_timeout(&T, 50 * AQ_MS);
  aq_punch p = alone_punch(AQ_PUNCH_PROBE, 1, 0);
  (void)aq_trav_handle_punch(&T, 60 * AQ_MS, 0, &M.cand[0].addr, &p);
  alone_drain(60 * AQ_MS);
  aq_trav_handle_timeout(&T, 100 * AQ_MS);
  aq_trav_handle_silent(&T, 300 * AQ_MS, 7);
  alone_drain(300 * AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_WATCH), 0);
  assert_null(alone_event(AQ_EVENT_STEP_DONE));
}

/* The target: the same attempt comes through 8, then the one of 7 was late. */
static void replaced(void) {
  fresh();
  opened(1);
  alone_drain(0);
  assert_int_equal(alone_action(AQ_TRAV_OBSERVE)->conn, 7);
  aq_ctl m = M;
  memset(m.session, 10, sizeof(m.session));
  aq_trav_handle_offer(&T, AQ_MS, &m, 8);
  alone_drain(AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_CLOSE), 1);
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->conn, 8);
}

static void a_target_follows_to_another_coordinator_and_back(void **state) {
  (void)state;
  replaced();
  aq_trav_handle_cancel(&T, AQ_MS, 7, M.session);
  alone_drain(AQ_MS);
  assert_int_equal(nactions, 0); /* what nobody uses */
  aq_ctl m = {.type = AQ_CTL_HINT, .plan = M.plan, .count = 1};
  memcpy(m.session, M.session, sizeof(m.session));
  m.observed = util_addr("20.0.0.2:6000");
  aq_trav_handle_hint(&T, AQ_MS, 7, &m); /* of one that is cancelled */
  alone_drain(AQ_MS);
  assert_int_equal(nactions, 0);

  replaced();
  aq_trav_handle_hint(&T, AQ_MS, 8, &m); /* by another than it came from */
  alone_drain(AQ_MS);
  assert_int_equal(nactions, 0);
  aq_trav_handle_hint(&T, AQ_MS, 7, &m);
  alone_drain(AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->conn, 7);
  assert_int_equal(T.hard.nhint, 1);

  replaced();
  memset(m.session, 10, sizeof(m.session));
  aq_trav_handle_cancel(&T, AQ_MS, 8, m.session);
  alone_drain(AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->conn, 7);
  aq_trav_handle_cancel(&T, AQ_MS, 7, M.session);
  alone_drain(AQ_MS);
  failed(AQ_ERR_CANCELLED);
}

#define TEST(name) cmocka_unit_test_setup(name, alone_setup)

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(two_in_sequence_predict_each_other),
      TEST(what_gives_no_ports_by_destination_is_not_guessed),
      TEST(two_at_random_are_not_guessed),
      TEST(its_step_has_the_name_of_the_plan),
      TEST(sockets_of_a_plan_end_with_it),
      TEST(guesses_are_paced_bounded_and_each_once),
      TEST(a_limit_ends_the_guessing_a_port_does_not),
      TEST(a_hint_that_may_not_be_tried_ends_it),
      TEST(a_repairs_opener_waits_for_the_hint),
      TEST(a_repairs_sprayer_has_a_new_socket),
      TEST(a_repair_guesses_only_where_it_must),
      TEST(a_limit_of_ours_is_told_to_the_peer),
      TEST(without_a_socket_it_ends),
      TEST(a_coordinator_that_cant_look_ends_it),
      TEST(a_lost_hint_is_not_waited_for_long),
      TEST(an_answer_from_the_other_address_counts),
      TEST(nobody_that_the_coordinator_sees_gets_nothing),
      TEST(who_keeps_silent_is_replaced_before_it_answers),
      TEST(who_dies_after_the_answer_is_replaced),
      TEST(without_another_one_it_ends),
      TEST(a_sprayer_needs_no_coordinator),
      TEST(a_punch_that_nobody_hears_of_ends_early),
      TEST(a_target_follows_to_another_coordinator_and_back),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
