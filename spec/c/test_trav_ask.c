/* test_trav_ask.c - several coordinators: who is asked when, who is followed,
 * and that both peers end on one session whatever dies or comes late.
 *
 * SPDX-License-Identifier: MIT */
#include "support/alone.h"
#include "support/fake_net.h"

static const fake_nat_kind *const CONES[] = {NULL,
                                             &FAKE_FIREWALL,
                                             &FAKE_FULL_CONE,
                                             &FAKE_ADDR_RESTR,
                                             &FAKE_PORT_RESTR,
                                             &FAKE_LINUX};
#define NCONES (sizeof(CONES) / sizeof(CONES[0]))

/* ---- one machine -----------------------------------------------------------
 */

static aq_coordinate_step S;
static uint64_t next_request;

static int setup(void **state) {
  aq_coordinate_step_init(&S);
  next_request = 0;
  return alone_setup(state);
}

/* One nonce: one attempt. */
static aq_ctl message(uint64_t type, uint64_t request, uint8_t mark) {
  aq_ctl m = alone_message(type, mark);
  m.request = request;
  memset(m.nonce, 0, sizeof(m.nonce));
  return m;
}

typedef struct seen {
  size_t requests, cancels, vetoes, punches;
  uint32_t ask[8];
  aq_id asked[8];
  uint64_t cancelled[8];
  int cancel_error[8];
  aq_id vetoed[8];
  uint8_t punched; /* first byte of the session of the last */
  int step_done, step_error;
} seen;

/* Everything that is asked for is sent at once, 50 ms away, when |send|. */
static seen drain(aq_tstamp now, int send) {
  seen s;
  aq_trav_action a;
  aq_event e;
  memset(&s, 0, sizeof(s));
  while (aq_trav_poll_action(&T, now, &a)) {
    if (a.kind == AQ_TRAV_REQUEST) {
      s.ask[s.requests] = a.ask;
      s.asked[s.requests++] = a.conn;
      if (send) {
        aq_trav_handle_requested(&T, now, a.ask, a.conn ? a.conn : 50,
                                 &COORDINATOR, 50 * AQ_MS, ++next_request);
      }
    } else if (a.kind == AQ_TRAV_CANCEL) {
      s.cancel_error[s.cancels] = a.error;
      s.cancelled[s.cancels++] = a.request;
    } else if (a.kind == AQ_TRAV_VETO) {
      s.vetoed[s.vetoes++] = a.conn;
    } else if (a.kind == AQ_TRAV_PUNCH) {
      s.punches++;
      s.punched = a.punch.session[0];
    }
  }
  while (aq_trav_poll_event(&T, &e)) {
    if (e.kind == AQ_EVENT_STEP_DONE) {
      s.step_done++;
      s.step_error = e.error;
    }
  }
  return s;
}

static void ask(size_t count) {
  S.count = count;
  for (size_t i = 0; i < count && i < AQ_MAX_BOOTSTRAP; i++) {
    S.via[i] = (aq_id)(11 + i);
  }
  aq_trav_init(&T, 0, &P);
  assert_int_equal(aq_trav_step_coordinate(&T, 0, &S), 0);
}

static seen at(aq_tstamp now) {
  aq_trav_handle_timeout(&T, now);
  return drain(now, 1);
}

static void the_next_is_asked_after_the_hedge(void **state) {
  (void)state;
  ask(3);
  seen s = drain(0, 1);
  assert_int_equal(s.requests, 1);
  assert_int_equal(s.asked[0], 11);
  assert_int_equal(at(199 * AQ_MS).requests, 0);
  s = at(200 * AQ_MS);
  assert_int_equal(s.requests, 1);
  assert_int_equal(s.asked[0], 12);
  assert_int_equal(at(400 * AQ_MS).asked[0], 13);
  assert_int_equal(at(5 * AQ_S).requests, 0); /* there are no more */
  /* The second answers; the first kept silent, and so did the third. */
  aq_ctl m = message(AQ_CTL_ANSWER, 2, 9);
  aq_trav_handle_answer(&T, 5 * AQ_S, 12, &m);
  s = drain(5 * AQ_S, 1);
  assert_int_equal(s.step_done, 1);
  assert_int_equal(s.step_error, AQ_OK);
  assert_int_equal(s.cancels, 2);
  assert_int_equal(s.cancelled[0], 1);
  assert_int_equal(s.cancelled[1], 3);
  assert_int_equal(s.cancel_error[0], AQ_ERR_TIMEOUT);
  assert_int_equal(s.cancel_error[1], AQ_ERR_TIMEOUT);
  /* What comes late changes nothing. */
  m = message(AQ_CTL_ANSWER, 1, 8);
  aq_trav_handle_answer(&T, 5 * AQ_S, 11, &m);
  aq_trav_handle_error(&T, 5 * AQ_S, 13, 3, AQ_ERR_UNKNOWN_TARGET, 0);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_SYNCHRONIZATION);
  assert_int_equal(aq_trav_session(&T, 0)[0], 9);
  aq_session_info info;
  aq_trav_get_info(&T, &info);
  assert_int_equal(info.coordinator, 12);
  assert_int_equal(info.coordination_time, 4800 * AQ_MS);
  /* Each has its record. */
  aq_step_record r[AQ_MAX_STEPS];
  assert_int_equal(aq_trav_get_steps(&T, r, AQ_MAX_STEPS), 3);
  assert_int_equal(r[0].error, AQ_ERR_CANCELLED);
  assert_int_equal(r[1].error, AQ_OK);
  assert_int_equal(r[1].started, 200 * AQ_MS);
}

static void a_slow_way_has_more_patience(void **state) {
  (void)state;
  ask(2);
  aq_trav_action a;
  assert_true(aq_trav_poll_action(&T, 0, &a));
  aq_trav_handle_requested(&T, 0, a.ask, a.conn, &COORDINATOR, 300 * AQ_MS, 1);
  assert_int_equal(at(899 * AQ_MS).requests, 0);
  assert_int_equal(at(900 * AQ_MS).requests, 1);
}

static void whoever_was_only_slower_has_not_failed(void **state) {
  (void)state;
  S.hedge = 0;
  ask(3);
  seen s = drain(0, 1);
  assert_int_equal(s.requests, 3); /* all at once */
  aq_ctl m = message(AQ_CTL_ANSWER, 3, 9);
  aq_trav_handle_answer(&T, 199 * AQ_MS, 13, &m);
  s = drain(199 * AQ_MS, 1);
  assert_int_equal(s.cancels, 2);
  assert_int_equal(s.cancel_error[0], AQ_ERR_CANCELLED);
  assert_int_equal(s.cancel_error[1], AQ_ERR_CANCELLED);
}

static void so_many_at_a_time_and_each_once(void **state) {
  (void)state;
  S.hedge = 0;
  ask(99);
  seen s = drain(0, 1);
  assert_int_equal(s.requests, AQ_MAX_ASKED);
  size_t asked = s.requests;
  for (uint64_t request = 1; request < 16; request++) {
    aq_trav_handle_error(&T, AQ_MS, 10 + request, request,
                         AQ_ERR_UNKNOWN_TARGET, 0);
    s = drain(AQ_MS, 1);
    assert_int_equal(s.step_done, 0);
    assert_true(aq_trav_asks(&T) <= AQ_MAX_ASKED);
    asked += s.requests;
  }
  assert_int_equal(asked, AQ_MAX_BOOTSTRAP);
  aq_trav_handle_error(&T, AQ_MS, 26, 16, AQ_ERR_OVERLOADED, 0);
  s = drain(AQ_MS, 1);
  assert_int_equal(s.step_done, 1);
  assert_int_equal(s.step_error, AQ_ERR_UNKNOWN_TARGET); /* it tells more */
}

static void an_error_or_a_loss_asks_the_next_at_once(void **state) {
  (void)state;
  ask(4);
  drain(0, 1);
  aq_trav_handle_error(&T, 10 * AQ_MS, 12, 1, AQ_ERR_UNKNOWN_TARGET, 0);
  assert_int_equal(drain(10 * AQ_MS, 1).requests, 0); /* not its request */
  aq_trav_handle_error(&T, 10 * AQ_MS, 11, 1, AQ_ERR_UNKNOWN_TARGET, 0);
  assert_int_equal(drain(10 * AQ_MS, 1).asked[0], 12);
  aq_trav_handle_lost(&T, 20 * AQ_MS, 12);
  seen s = drain(20 * AQ_MS, 0);
  assert_int_equal(s.asked[0], 13);
  aq_trav_handle_unasked(&T, 30 * AQ_MS, s.ask[0], AQ_ERR_PEER_NOT_CONNECTED);
  s = drain(30 * AQ_MS, 1);
  assert_int_equal(s.asked[0], 14);
  aq_trav_handle_error(&T, 40 * AQ_MS, 14, 3, AQ_ERR_RATE_LIMITED, AQ_S);
  s = drain(40 * AQ_MS, 1);
  assert_int_equal(s.step_done, 1);
  assert_int_equal(s.step_error, AQ_ERR_UNKNOWN_TARGET);
  assert_int_equal(s.cancels, 0); /* nobody is at work for us */
}

static void the_owners_choice_is_hedged_too(void **state) {
  (void)state;
  ask(0);
  seen s = drain(0, 0);
  assert_int_equal(s.requests, 1);
  assert_int_equal(s.asked[0], 0);
  assert_int_equal(at(AQ_S).requests, 0); /* it waits for the first one */
  assert_true(aq_trav_wants(&T, s.ask[0]));
  aq_trav_handle_requested(&T, AQ_S, s.ask[0], 50, &COORDINATOR, 0, 1);
  next_request = 1;
  assert_false(aq_trav_wants(&T, s.ask[0]));
  aq_trav_handle_timeout(&T, 1200 * AQ_MS);
  s = drain(1200 * AQ_MS, 0);
  assert_int_equal(s.requests, 1);
  /* Nobody else is there: the first one may still answer, and is to blame. */
  aq_trav_handle_unasked(&T, 1200 * AQ_MS, s.ask[0], AQ_ERR_NO_BOOTSTRAP_NODES);
  assert_int_equal(drain(1200 * AQ_MS, 0).step_done, 0);
  s = at(10 * AQ_S);
  assert_int_equal(s.step_error, AQ_ERR_TIMEOUT);
  assert_int_equal(s.cancels, 1);
  assert_int_equal(s.cancel_error[0], AQ_ERR_TIMEOUT);
}

static void an_unknown_target_waits_for_nobody(void **state) {
  (void)state;
  ask(0);
  drain(0, 1);
  aq_trav_handle_timeout(&T, 200 * AQ_MS);
  seen s = drain(200 * AQ_MS, 0); /* the owner waits for another */
  assert_int_equal(s.requests, 1);
  aq_trav_handle_error(&T, 250 * AQ_MS, 50, 1, AQ_ERR_UNKNOWN_TARGET, 0);
  assert_false(aq_trav_wants(&T, s.ask[0]));
  s = drain(250 * AQ_MS, 0);
  assert_int_equal(s.requests, 1); /* one that is there now, or none */
  assert_int_equal(s.step_done, 0);
  aq_trav_handle_unasked(&T, 250 * AQ_MS, s.ask[0], AQ_ERR_NO_BOOTSTRAP_NODES);
  assert_int_equal(drain(250 * AQ_MS, 0).step_error, AQ_ERR_UNKNOWN_TARGET);
  /* That nobody else was there to ask is no step. */
  aq_step_record r[AQ_MAX_STEPS];
  assert_int_equal(aq_trav_get_steps(&T, r, AQ_MAX_STEPS), 1);
  assert_int_equal(r[0].error, AQ_ERR_UNKNOWN_TARGET);
}

static void giving_up_tells_everybody(void **state) {
  (void)state;
  S.hedge = 0;
  ask(3);
  drain(0, 1);
  aq_trav_finish(&T, 50 * AQ_MS, AQ_ERR_CANCELLED);
  seen s = drain(50 * AQ_MS, 0);
  assert_int_equal(s.cancels, 3);
  assert_false(aq_trav_is_asked(&T, 11, 1));
}

static void hostile_numbers_are_clamped(void **state) {
  (void)state;
  P.coordination_timeout = 5 * AQ_S;
  S.hedge = AQ_NEVER - 1;
  S.timeout = AQ_NEVER;
  ask(SIZE_MAX);
  drain(0, 1);
  assert_int_equal(aq_trav_next_timeout(&T), 5 * AQ_S);
  seen s = at(5 * AQ_S);
  assert_int_equal(s.step_error, AQ_ERR_TIMEOUT);
  S.hedge = AQ_HEDGE_AUTO;
  S.timeout = 1;
  ask(1);
  drain(0, 1);
  assert_int_equal(aq_trav_next_timeout(&T), 50 * AQ_MS);
}

/* ---- the target of several offers ------------------------------------------
 */

static aq_ctl offer(uint8_t mark) {
  return message(AQ_CTL_OFFER, 0, mark);
}

static void offered(uint8_t mark, int wait) {
  aq_ctl m = offer(mark);
  aq_trav_init_target(&T, 0, &P, &m, 10u + mark, wait, AQ_NEVER);
  aq_trav_handle_timeout(&T, 0);
}

static void another(aq_tstamp now, uint8_t mark) {
  aq_ctl m = offer(mark);
  aq_trav_handle_offer(&T, now, &m, 10u + mark);
}

static void cancel(aq_tstamp now, uint8_t mark) {
  aq_ctl m = offer(mark);
  aq_trav_handle_cancel(&T, now, 10u + mark, m.session);
}

static int hears(aq_tstamp now, uint8_t mark, uint32_t seq) {
  aq_punch p = {.type = AQ_PUNCH_PROBE, .seq = seq, .echo = seq};
  aq_addr from = fake_addr("20.0.0.2:5000");
  uint32_t before = T.punches_received;
  p.flags = AQ_PUNCH_FLAG_INITIATOR;
  memset(p.session, mark, sizeof(p.session));
  aq_trav_handle_punch(&T, now, 0, &from, &p);
  return T.punches_received > before;
}

static void the_target_hears_each_until_one_is_used(void **state) {
  (void)state;
  offered(1, 0);
  another(AQ_MS, 2);
  another(AQ_MS, 2); /* twice: nothing */
  another(2 * AQ_MS, 3);
  assert_int_equal(T.nagreed, 3);
  assert_int_equal(T.attempt, 1);
  seen s = drain(2 * AQ_MS, 0);
  assert_true(hears(30 * AQ_MS, 2, 1));
  assert_int_equal(T.nagreed, 1);
  assert_false(hears(30 * AQ_MS, 2, 1)); /* a replay */
  assert_false(hears(30 * AQ_MS, 3, 1)); /* the others are gone */
  assert_false(hears(30 * AQ_MS, 1, 1));
  s = drain(30 * AQ_MS, 0);
  assert_true(s.punches > 0);
  assert_int_equal(s.punched, 2);
  another(40 * AQ_MS, 4); /* too late: the initiator follows another */
  assert_int_equal(T.nagreed, 1);
  cancel(40 * AQ_MS, 3);
  assert_false(aq_trav_is_over(&T));
  cancel(40 * AQ_MS, 2);
  assert_true(aq_trav_is_over(&T));
}

static void a_cancelled_one_leaves_the_others(void **state) {
  (void)state;
  offered(1, 0);
  another(AQ_MS, 2);
  aq_ctl m = offer(2);
  aq_trav_handle_cancel(&T, 2 * AQ_MS, 11, m.session); /* of another's offer */
  assert_int_equal(T.nagreed, 2);
  cancel(2 * AQ_MS, 2);
  assert_int_equal(T.nagreed, 1);
  drain(2 * AQ_MS, 0);
  aq_trav_handle_timeout(&T, 50 * AQ_MS);
  assert_int_equal(drain(50 * AQ_MS, 0).punched, 1);
  assert_false(hears(51 * AQ_MS, 2, 1));
  assert_true(hears(51 * AQ_MS, 1, 1));
}

static void the_newest_is_sent_and_a_late_one_starts_anew(void **state) {
  (void)state;
  offered(1, 0);
  size_t early = drain(0, 0).punches;
  assert_int_equal(early, 1);
  /* Close behind: the schedule goes on. */
  another(10 * AQ_MS, 2);
  assert_int_equal(drain(10 * AQ_MS, 0).punches, 0);
  aq_trav_handle_timeout(&T, 30 * AQ_MS);
  assert_int_equal(drain(30 * AQ_MS, 0).punched, 2);
  /* A hedge later: the initiator begins now, and so do we. */
  another(200 * AQ_MS, 3);
  seen s = drain(200 * AQ_MS, 0);
  assert_int_equal(s.punches, 1);
  assert_int_equal(s.punched, 3);
  assert_int_equal(T.attempt, 1);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_PUNCHING);
}

static void keys_are_bounded(void **state) {
  (void)state;
  offered(1, 0);
  for (uint8_t mark = 2; mark < 100; mark++) {
    another(AQ_MS, mark);
    assert_true(T.nagreed <= AQ_MAX_ASKED);
  }
  assert_false(hears(30 * AQ_MS, 1, 1));
  assert_true(hears(30 * AQ_MS, 99, 1));
}

static void a_new_attempt_forgets_the_keys_of_the_last(void **state) {
  (void)state;
  offered(1, 0);
  another(AQ_MS, 2);
  aq_ctl m = offer(3);
  m.nonce[0] = 1;
  aq_trav_handle_offer(&T, 10 * AQ_MS, &m, 13);
  assert_int_equal(T.nagreed, 1);
  assert_int_equal(T.attempt, 2);
  cancel(11 * AQ_MS, 1);
  assert_false(aq_trav_is_over(&T));
}

static void a_veto_goes_to_each(void **state) {
  (void)state;
  offered(1, 1);
  another(AQ_MS, 2);
  assert_int_equal(drain(AQ_MS, 0).punches, 0); /* undecided */
  aq_trav_decide(&T, 2 * AQ_MS, 0);
  seen s = drain(2 * AQ_MS, 0);
  assert_int_equal(s.vetoes, 2);
  assert_int_equal(s.vetoed[0] + s.vetoed[1], 11 + 12);
}

/* ---- two machines, coordinators that die ------------------------------------
 */

static fake_world *world_of(const fake_nat_kind *i, const fake_nat_kind *t,
                            int ncoord) {
  fake_world *w = fake_world_new(i, t);
  w->ncoord = ncoord;
  w->quiet = 1;
  return w;
}

static void must_connect(fake_world *w, const char *what, aq_duration within) {
  if (w->peer[0].error || !w->peer[0].connected_at || w->handshakes != 1 ||
      !w->peer[1].connected_at || w->peer[0].connected_at > within ||
      w->peer[0].trav.attempt != 1) {
    print_error("%s: %s, %s: I %d at %.1f ms, attempt %u\n", what,
                w->nat[0].kind ? w->nat[0].kind->name : "none",
                w->nat[1].kind ? w->nat[1].kind->name : "none",
                w->peer[0].error, (double)w->peer[0].connected_at / 1e6,
                w->peer[0].trav.attempt);
    fail();
  }
}

static void a_dead_coordinator_costs_one_hedge(void **state) {
  (void)state;
  for (size_t k = 0; k < NCONES * NCONES; k++) {
    fake_world *w = world_of(CONES[k % NCONES], CONES[k / NCONES], 2);
    w->dies[0] = 0;
    fake_world_run(w, AQ_NEVER);
    must_connect(w, "dead", 305 * AQ_MS);
    assert_int_equal(w->peer[0].cancels, 1);
    assert_int_equal(w->peer[0].silent, 1);
    fake_world_del(w);
  }
}

static void two_of_three_dead_cost_two(void **state) {
  (void)state;
  fake_world *w = world_of(&FAKE_PORT_RESTR, &FAKE_PORT_RESTR, 3);
  w->dies[0] = w->dies[1] = 0;
  fake_world_run(w, AQ_NEVER);
  must_connect(w, "two dead", 505 * AQ_MS);
  fake_world_del(w);
}

/* It dies between the offer and the answer: the target has begun alone. */
static void it_dies_in_the_middle(void **state) {
  (void)state;
  for (size_t k = 0; k < NCONES * NCONES; k++) {
    for (int shift = 0; shift < 3; shift++) {
      fake_world *w = world_of(CONES[k % NCONES], CONES[k / NCONES], 2);
      w->peer[1].far[1] = (aq_duration)shift * 70 * AQ_MS;
      fake_world_run(w, 30 * AQ_MS);
      w->dies[0] = 0;
      w->peer[0].cut[0] = 1; /* its answer is lost as well */
      fake_world_run(w, AQ_NEVER);
      must_connect(w, "in the middle", 600 * AQ_MS);
      fake_world_del(w);
    }
  }
}

/* Several are asked at once. Who is near to whom decides which answer comes
 * first and in which order offers and cancels arrive; all must end well. */
static void asked_in_parallel_both_end_on_one_session(void **state) {
  (void)state;
  static const int ms[] = {0, 7, 40};
  for (size_t k = 0; k < NCONES * NCONES; k++) {
    for (int c = 0; c < 81; c++) {
      fake_world *w = world_of(CONES[k % NCONES], CONES[k / NCONES], 2);
      w->peer[0].far[0] = (aq_duration)ms[c % 3] * AQ_MS;
      w->peer[0].far[1] = (aq_duration)ms[c / 3 % 3] * AQ_MS;
      w->peer[1].far[0] = (aq_duration)ms[c / 9 % 3] * AQ_MS;
      w->peer[1].far[1] = (aq_duration)ms[c / 27] * AQ_MS;
      w->peer[0].strategy = AQ_STRATEGY_STEPS;
      w->peer[0].asks.hedge = 0;
      fake_world_run(w, AQ_NEVER);
      must_connect(w, "parallel", 400 * AQ_MS);
      assert_int_equal(w->peer[0].cancels, 1);
      assert_int_equal(w->peer[0].silent, 0);
      fake_world_del(w);
    }
  }
}

/* Both want each other, through coordinators in another order. Where neither
 * hears the other's request both may dial; one connection stays then (3.5). */
static void crossing_over_several_coordinators(void **state) {
  (void)state;
  for (size_t k = 0; k < NCONES * NCONES; k++) {
    for (int c = 0; c < 24; c++) {
      fake_world *w = world_of(CONES[k % NCONES], CONES[k / NCONES], 2);
      w->peer[1].initiates = 1;
      w->peer[1].start = (aq_duration)(c % 6) * 17 * AQ_MS;
      w->peer[c & 1].cut[0] = c % 4 >= 2;
      w->peer[0].far[1] = (aq_duration)(c / 6) * 15 * AQ_MS;
      fake_world_run(w, AQ_NEVER);
      if (w->peer[0].error || w->peer[1].error || !w->peer[0].connected_at ||
          !w->peer[1].connected_at || w->handshakes > 2) {
        print_error("crossing %d: %s, %s: %d, %d\n", c,
                    w->nat[0].kind ? w->nat[0].kind->name : "none",
                    w->nat[1].kind ? w->nat[1].kind->name : "none",
                    w->peer[0].error, w->peer[1].error);
        fail();
      }
      fake_world_del(w);
    }
  }
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_next_is_asked_after_the_hedge),
      TEST(a_slow_way_has_more_patience),
      TEST(whoever_was_only_slower_has_not_failed),
      TEST(so_many_at_a_time_and_each_once),
      TEST(an_error_or_a_loss_asks_the_next_at_once),
      TEST(the_owners_choice_is_hedged_too),
      TEST(an_unknown_target_waits_for_nobody),
      TEST(giving_up_tells_everybody),
      TEST(hostile_numbers_are_clamped),
      TEST(the_target_hears_each_until_one_is_used),
      TEST(a_cancelled_one_leaves_the_others),
      TEST(the_newest_is_sent_and_a_late_one_starts_anew),
      TEST(keys_are_bounded),
      TEST(a_new_attempt_forgets_the_keys_of_the_last),
      TEST(a_veto_goes_to_each),
      TEST(a_dead_coordinator_costs_one_hedge),
      TEST(two_of_three_dead_cost_two),
      TEST(it_dies_in_the_middle),
      TEST(asked_in_parallel_both_end_on_one_session),
      TEST(crossing_over_several_coordinators),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
