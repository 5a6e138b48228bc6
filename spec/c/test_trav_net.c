/* test_trav_net.c - two sessions and a coordinator, through NATs, in virtual
 * time. Traces read as what happened.
 *
 * SPDX-License-Identifier: MIT */
#include "support/fake_net.h"

#include "base/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const fake_nat_kind *const KINDS[] = {NULL,
                                             &FAKE_FIREWALL,
                                             &FAKE_FULL_CONE,
                                             &FAKE_ADDR_RESTR,
                                             &FAKE_PORT_RESTR,
                                             &FAKE_LINUX,
                                             &FAKE_LINUX_OPEN,
                                             &FAKE_SYMMETRIC,
                                             &FAKE_SYM_EIF};
#define NKINDS (sizeof(KINDS) / sizeof(KINDS[0]))

static const char *name_of(const fake_nat_kind *k) {
  return k ? k->name : "none";
}

/* The theory: one working direction is enough, as the other side answers to
 * the source it saw. */
static int reaches(const fake_nat_kind *from, const fake_nat_kind *to) {
  if (!to || to->filtering == FAKE_EI) {
    return 1;
  }
  if (to->filtering == FAKE_AD) {
    return to->mapping == FAKE_EI;
  }
  return to->mapping == FAKE_EI && (!from || from->mapping == FAKE_EI);
}

static int punchable(const fake_nat_kind *a, const fake_nat_kind *b) {
  /* A reply of a strict symmetric NAT has yet another source: only a peer that
   * doesn't filter by port hears it. */
  int a_moves = a && a->mapping == FAKE_APD;
  int b_moves = b && b->mapping == FAKE_APD;
  int a_ports = a && a->filtering == FAKE_APD;
  int b_ports = b && b->filtering == FAKE_APD;
  if ((a_moves && b_ports) || (b_moves && a_ports)) {
    return 0;
  }
  return reaches(a, b) || reaches(b, a);
}

static void check_pair(const fake_nat_kind *i, const fake_nat_kind *t,
                       aq_duration way, int skew) {
  fake_world *w = fake_world_new(i, t);
  aq_duration late = (aq_duration)abs(skew) * AQ_MS;
  w->quiet = 1;
  w->between = w->peer[0].to_c = w->peer[1].to_c = way;
  w->peer[skew < 0 ? 0 : 1].late = late;
  fake_world_run(w, AQ_NEVER);
  int works = w->peer[0].error == AQ_OK && w->peer[0].done == 1;
  if (works != punchable(i, t)) {
    fail_msg("%s x %s, %d ms one way, skew %d ms: %s", name_of(i), name_of(t),
             (int)(way / AQ_MS), skew, aq_error_name(w->peer[0].error));
  }
  if (works) {
    assert_int_equal(w->peer[0].trav.attempt, 1);
    assert_int_equal(w->peer[1].error, AQ_OK);
    assert_int_equal(w->peer[1].done, 1);
    /* The wire's minimum, the lateness, and the openers' lead; a symmetric
     * target is first heard of when its probe arrives. */
    aq_duration extra =
        t && t->mapping == FAKE_APD ? way + 22 * AQ_MS : 15 * AQ_MS;
    if (w->peer[0].connected_at > 4 * way + late + extra) {
      fail_msg("%s x %s, %d ms one way, skew %d ms: after %d ms", name_of(i),
               name_of(t), (int)(way / AQ_MS), skew,
               (int)(w->peer[0].connected_at / AQ_MS));
    }
  } else {
    assert_int_equal(w->peer[0].trav.attempt, 3);
    assert_true(w->peer[0].over_at < 15 * AQ_S);
  }
  fake_world_del(w);
}

static void every_punchable_pair_connects_at_the_first_try(void **state) {
  (void)state;
  static const int ways[] = {0, 1, 5, 25};
  for (size_t way = 0; way < 4; way++) {
    for (int skew = -10; skew <= 10; skew += 2) {
      for (size_t i = 0; i < NKINDS; i++) {
        for (size_t t = 0; t < NKINDS; t++) {
          check_pair(KINDS[i], KINDS[t], (aq_duration)ways[way] * AQ_MS, skew);
        }
      }
    }
  }
}

static void a_poisoned_nat_needs_the_openers(void **state) {
  (void)state;
  /* The same world without openers fails: so the test above shows something. */
  fake_world *w = fake_world_new(&FAKE_LINUX_OPEN, &FAKE_LINUX_OPEN);
  w->quiet = 1;
  w->between = w->peer[0].to_c = w->peer[1].to_c = 0;
  w->peer[0].punch.openers = w->peer[1].punch.openers = 0;
  w->peer[1].late = 5 * AQ_MS;
  w->peer[0].timeout = 3 * AQ_S;
  fake_world_run(w, AQ_NEVER);
  assert_int_not_equal(w->peer[0].error, AQ_OK);
  fake_world_del(w);
}

static void check_trace(fake_world *w, const char *expected) {
  if (strcmp(w->trace, expected) != 0) {
    fputs(w->trace, stderr);
    fail_msg("the trace differs");
  }
}

static void golden_port_restricted(void **state) {
  (void)state;
  fake_world *w = fake_world_new(&FAKE_PORT_RESTR, &FAKE_PORT_RESTR);
  fake_world_run(w, 105 * AQ_MS);
  check_trace(w, "    0.0 I -> coordination: a request is sent\n"
                 "    0.0 I asks the coordinator for T\n"
                 "   50.0 T has an offer\n"
                 "   50.0 T -> synchronization: an offer came\n"
                 "   50.0 T -> punching: the start delay is over\n"
                 "   50.0 T opener to 198.51.100.1:20000\n"
                 "   50.0 I has the coordinator's answer\n"
                 "   50.0 I -> synchronization: the coordinator answered\n"
                 "   50.0 I -> punching: the start delay is over\n"
                 "   50.0 I opener to 198.51.100.2:21000\n"
                 "   55.0 I dials 198.51.100.2:21000\n"
                 "   55.0 I probe to 198.51.100.2:21000\n"
                 "   65.0 T probe to 198.51.100.1:20000\n"
                 "   80.0 T hears a probe from 198.51.100.1:20000\n"
                 "   80.0 T -> validation: an authentic punch came\n"
                 "   80.0 T answer to 198.51.100.1:20000\n"
                 "   90.0 I hears a probe from 198.51.100.2:21000\n"
                 "   90.0 I -> validation: an authentic punch came\n"
                 "   90.0 I answer to 198.51.100.2:21000\n"
                 "  105.0 I -> connected: a handshake finished\n"
                 "  105.0 I is done: ok\n");
  fake_world_del(w);
}

static void golden_symmetric_target(void **state) {
  (void)state;
  /* The coordinator saw T at another port than I will: I learns the right one
   * from T's probe and dials that. */
  fake_world *w = fake_world_new(&FAKE_FULL_CONE, &FAKE_SYMMETRIC);
  fake_world_run(w, 140 * AQ_MS);
  assert_non_null(strstr(w->trace, "   55.0 I dials 198.51.100.2:21000\n"
                                   "   55.0 I probe to 198.51.100.2:21000\n"
                                   "   65.0 T probe to 198.51.100.1:20000\n"));
  assert_non_null(strstr(w->trace,
                         "   90.0 I hears a probe from 198.51.100.2:21001\n"
                         "   90.0 I -> validation: an authentic punch came\n"
                         "   90.0 I answer to 198.51.100.2:21001\n"
                         "   90.0 I dials 198.51.100.2:21001\n"));
  assert_non_null(strstr(w->trace,
                         "  140.0 I -> connected: a handshake finished\n"
                         "  140.0 I hangs up 198.51.100.2:21000\n"
                         "  140.0 I is done: ok\n"));
  assert_int_equal(w->peer[0].error, AQ_OK);
  aq_pair_info pairs[AQ_TRAV_MAX_PAIRS];
  size_t n = aq_trav_get_pairs(&w->peer[0].trav, pairs, AQ_TRAV_MAX_PAIRS);
  assert_int_equal(n, 2);
  assert_int_equal(pairs[1].remote_source, AQ_SOURCE_PEER);
  assert_int_equal(pairs[1].state, AQ_PAIR_SUCCEEDED);
  assert_int_equal(pairs[0].state, AQ_PAIR_CANCELLED);
  fake_world_del(w);
}

/* Whatever the two ways to the coordinator are, both start together, and the
 * connection costs RTT(I,C) + RTT(I,T) + at most 15 ms, and what the start
 * waits for the side that is further away. */
static void the_time_is_the_wires_minimum(void **state) {
  (void)state;
  static const int ms[] = {1, 10, 25, 80};
  for (int a = 0; a < 4; a++) {
    for (int b = 0; b < 4; b++) {
      for (int between = 0; between < 4; between++) {
        fake_world *w = fake_world_new(&FAKE_LINUX_OPEN, &FAKE_LINUX_OPEN);
        w->quiet = 1;
        w->peer[0].to_c = (aq_duration)ms[a] * AQ_MS;
        w->peer[1].to_c = (aq_duration)ms[b] * AQ_MS;
        w->between = (aq_duration)ms[between] * AQ_MS;
        fake_world_run(w, AQ_NEVER);
        aq_duration bound =
            (aq_duration)(2 * ms[a] + 2 * ms[between] + 15) * AQ_MS;
        if (ms[b] > ms[a]) { /* T can't be reached sooner than it hears */
          bound += (aq_duration)(ms[b] - ms[a]) * AQ_MS;
        }
        assert_int_equal(w->peer[0].error, AQ_OK);
        assert_true(w->peer[0].connected_at <= bound);
        fake_world_del(w);
      }
    }
  }
}

static void peers_behind_one_nat_use_their_own_network(void **state) {
  (void)state;
  for (int hairpin = 0; hairpin < 2; hairpin++) {
    fake_world *w = fake_world_new(&FAKE_PORT_RESTR, &FAKE_PORT_RESTR);
    fake_nat_kind kind = FAKE_PORT_RESTR;
    kind.hairpin = hairpin;
    w->nat[0].kind = &kind;
    w->peer[1].nat = &w->nat[0];
    fake_world_run(w, AQ_NEVER);
    assert_int_equal(w->peer[0].error, AQ_OK);
    assert_int_equal(w->peer[0].trav.same_nat, 1);
    aq_addr host = w->peer[1].host;
    assert_true(aq_addr_equal(&w->peer[0].trav.done.addr, &host));
    /* 50 to the coordinator, then probe, answer or probe, dial: 4 ms of LAN. */
    assert_true(w->peer[0].connected_at <= 60 * AQ_MS);
    fake_world_del(w);
  }
}

/* In two networks behind one carrier's NAT: by its public address, where it
 * turns packets around. */
static void peers_behind_one_nat_meet_outside_of_it(void **state) {
  (void)state;
  for (int hairpin = 0; hairpin < 2; hairpin++) {
    fake_world *w = fake_world_new(&FAKE_PORT_RESTR, &FAKE_PORT_RESTR);
    fake_nat_kind kind = FAKE_PORT_RESTR;
    kind.hairpin = hairpin;
    w->nat[0].kind = &kind;
    w->peer[1].nat = &w->nat[0];
    w->peer[0].hides = w->peer[1].hides = 1;
    fake_world_run(w, AQ_NEVER);
    assert_int_equal(w->peer[0].error,
                     hairpin ? AQ_OK : AQ_ERR_PUNCHING_FAILED);
    if (hairpin) {
      assert_true(
          aq_addr_equal(&w->peer[0].trav.done.addr, &w->peer[1].observed));
      assert_true(w->peer[0].connected_at <= 100 * AQ_MS);
    }
    fake_world_del(w);
  }
}

static void private_addresses_of_another_network_get_nothing(void **state) {
  (void)state;
  fake_world *w = fake_world_new(&FAKE_PORT_RESTR, &FAKE_PORT_RESTR);
  fake_world_run(w, AQ_NEVER);
  assert_null(strstr(w->trace, "to 10."));
  assert_null(strstr(w->trace, "dials 10."));
  fake_world_del(w);
}

/* ---- both want each other
 * ---------------------------------------------------- */

static void check_crossing(int smaller_is_t, aq_duration second_starts,
                           aq_duration way_i, aq_duration way_t) {
  fake_world *w = fake_world_new(&FAKE_PORT_RESTR, &FAKE_LINUX_OPEN);
  w->peer[0].to_c = way_i;
  w->peer[1].to_c = way_t;
  w->peer[1].initiates = 1;
  w->peer[1].start = second_starts;
  if (smaller_is_t) {
    aq_peer_id id = w->peer[0].id;
    w->peer[0].id = w->peer[1].id;
    w->peer[1].id = id;
  }
  fake_world_run(w, AQ_NEVER);
  int ok = w->peer[0].error == AQ_OK && w->peer[1].error == AQ_OK &&
           w->peer[0].done == 1 && w->peer[1].done == 1;
  if (!ok || w->handshakes != 1) {
    fputs(w->trace, stderr);
    fail_msg("crossing: smaller %s, second after %d ms, ways %d and %d ms",
             smaller_is_t ? "T" : "I", (int)(second_starts / AQ_MS),
             (int)(way_i / AQ_MS), (int)(way_t / AQ_MS));
  }
  assert_true(w->peer[0].over_at < 2 * AQ_S);
  fake_world_del(w);
}

static void two_that_want_each_other_end_with_one_connection(void **state) {
  (void)state;
  static const int starts[] = {0,  1,  10, 24, 25, 26, 40, 49,  50,
                               51, 55, 60, 75, 79, 81, 99, 104, 106};
  static const int ways[] = {1, 25, 60};
  for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
    for (int i = 0; i < 3; i++) {
      for (int t = 0; t < 3; t++) {
        for (int smaller = 0; smaller < 2; smaller++) {
          check_crossing(smaller, (aq_duration)starts[s] * AQ_MS,
                         (aq_duration)ways[i] * AQ_MS,
                         (aq_duration)ways[t] * AQ_MS);
        }
      }
    }
  }
}

/* ---- decisions and errors
 * ------------------------------------------------------ */

static void a_target_may_refuse(void **state) {
  (void)state;
  fake_world *w = fake_world_new(&FAKE_PORT_RESTR, &FAKE_PORT_RESTR);
  w->peer[1].ask = 1;
  w->peer[1].accept = 0;
  w->peer[1].think = 10 * AQ_MS;
  fake_world_run(w, AQ_NEVER);
  assert_int_equal(w->peer[1].error, AQ_ERR_REFUSED);
  assert_int_equal(w->peer[0].error, AQ_ERR_REFUSED);
  /* 25 + 25 to the offer, 10 to think, 25 + 25 back. */
  assert_int_equal(w->peer[0].over_at, 110 * AQ_MS);
  assert_int_equal(w->peer[0].trav.attempt, 1);
  assert_null(strstr(w->trace, "T opener"));
  assert_null(strstr(w->trace, "T probe"));
  fake_world_del(w);
}

static void a_target_that_thinks_is_still_met(void **state) {
  (void)state;
  static const int think[] = {1, 100, 500, 1500};
  for (int i = 0; i < 4; i++) {
    fake_world *w = fake_world_new(&FAKE_PORT_RESTR, &FAKE_LINUX);
    w->peer[1].ask = 1;
    w->peer[1].think = (aq_duration)think[i] * AQ_MS;
    fake_world_run(w, AQ_NEVER);
    assert_int_equal(w->peer[0].error, AQ_OK);
    /* A punch between NATs that nobody knows lasts a second. */
    assert_int_equal(w->peer[0].trav.attempt, think[i] < 1000 ? 1 : 2);
    fake_world_del(w);
  }
}

static void an_unknown_target_is_asked_for_three_times(void **state) {
  (void)state;
  fake_world *w = fake_world_new(&FAKE_PORT_RESTR, &FAKE_PORT_RESTR);
  w->peer[1].mute = 1;
  fake_world_run(w, AQ_NEVER);
  assert_int_equal(w->peer[0].error, AQ_ERR_UNKNOWN_TARGET);
  assert_int_equal(w->peer[0].trav.attempt, 3);
  /* It may be registering: 0.4 s and 0.8 s, and three round trips. */
  assert_int_equal(w->peer[0].over_at, 1350 * AQ_MS);
  fake_world_del(w);
}

static void a_silent_coordinator_times_out(void **state) {
  (void)state;
  fake_world *w = fake_world_new(&FAKE_PORT_RESTR, &FAKE_PORT_RESTR);
  w->peer[0].mute = 1;
  w->peer[0].timeout = 12 * AQ_S;
  fake_world_run(w, AQ_NEVER);
  assert_int_equal(w->peer[0].error, AQ_ERR_TIMEOUT);
  assert_int_equal(w->peer[0].over_at, 12 * AQ_S);
  fake_world_del(w);
}

static void a_wrong_key_is_the_reason_that_is_told(void **state) {
  (void)state;
  fake_world *w = fake_world_new(NULL, NULL);
  w->peer[1].refuses_quic = AQ_ERR_WRONG_KEY;
  fake_world_run(w, AQ_NEVER);
  assert_int_equal(w->peer[0].error, AQ_ERR_WRONG_KEY);
  assert_non_null(strstr(w->peer[0].trav.why, "198.51.100.2:4001"));
  aq_step_record r[AQ_MAX_STEPS];
  size_t n = aq_trav_get_steps(&w->peer[0].trav, r, AQ_MAX_STEPS);
  size_t wrong = 0;
  for (size_t i = 0; i < n; i++) {
    wrong += r[i].step == 0 && r[i].error == AQ_ERR_WRONG_KEY;
    assert_true(r[i].ended >= r[i].started);
  }
  assert_true(wrong >= 1);
  fake_world_del(w);
}

static void an_unpunchable_pair_says_so(void **state) {
  (void)state;
  fake_world *w = fake_world_new(&FAKE_SYMMETRIC, &FAKE_PORT_RESTR);
  fake_world_run(w, AQ_NEVER);
  assert_int_equal(w->peer[0].error, AQ_ERR_PUNCHING_FAILED);
  assert_int_equal(w->peer[0].trav.attempt, 3);
  /* Each round takes a second; pauses of 1 s and 2 s, and up to 0.2 s more. */
  assert_true(w->peer[0].over_at > 6 * AQ_S);
  assert_true(w->peer[0].over_at < 7 * AQ_S);
  /* The target ends as well, and only once per offer. */
  assert_int_equal(w->peer[1].alive, 0);
  fake_world_del(w);
}

/* ---- known addresses
 * ---------------------------------------------------------------- */

static void a_known_address_needs_no_coordinator(void **state) {
  (void)state;
  fake_world *w = fake_world_new(&FAKE_PORT_RESTR, NULL);
  w->peer[0].mute = 1;
  w->peer[0].nknown = 2;
  w->peer[0].known[0] = fake_addr("198.51.100.77:9");
  w->peer[0].known[1] = w->peer[1].host;
  fake_world_run(w, AQ_NEVER);
  assert_int_equal(w->peer[0].error, AQ_OK);
  /* Second address after 100 ms, one round trip. */
  assert_int_equal(w->peer[0].connected_at, 150 * AQ_MS);
  assert_null(strstr(w->trace, "asks the coordinator"));
  fake_world_del(w);
}

static void a_stale_address_costs_a_short_head_start(void **state) {
  (void)state;
  fake_world *w = fake_world_new(&FAKE_PORT_RESTR, &FAKE_PORT_RESTR);
  w->peer[0].nknown = 1;
  w->peer[0].known[0] = fake_addr("198.51.100.77:9");
  fake_world_run(w, AQ_NEVER);
  assert_int_equal(w->peer[0].error, AQ_OK);
  assert_int_equal(w->peer[0].connected_at, 405 * AQ_MS);
  fake_world_del(w);
}

static void a_slow_known_address_still_wins(void **state) {
  (void)state;
  /* The coordinator is silent; the address is 400 ms away, beyond the head
   * start. */
  fake_world *w = fake_world_new(&FAKE_PORT_RESTR, NULL);
  w->peer[0].mute = 1;
  w->between = 400 * AQ_MS;
  w->peer[0].nknown = 1;
  w->peer[0].known[0] = w->peer[1].host;
  fake_world_run(w, AQ_NEVER);
  assert_int_equal(w->peer[0].error, AQ_OK);
  assert_int_equal(w->peer[0].connected_at, 800 * AQ_MS);
  fake_world_del(w);
}

/* ---- loss
 * ------------------------------------------------------------------------- */

static void a_lost_initial_is_repaired_by_the_dial(void **state) {
  (void)state;
  fake_world *w = fake_world_new(&FAKE_PORT_RESTR, &FAKE_PORT_RESTR);
  w->lost_dial_datagrams = 1;
  fake_world_run(w, AQ_NEVER);
  assert_int_equal(w->peer[0].error, AQ_OK);
  /* The coordinator's estimate of the way is 100 ms: again after 300 ms. */
  assert_true(w->peer[0].connected_at <= 405 * AQ_MS);
  fake_world_del(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_punchable_pair_connects_at_the_first_try),
      cmocka_unit_test(a_poisoned_nat_needs_the_openers),
      cmocka_unit_test(golden_port_restricted),
      cmocka_unit_test(golden_symmetric_target),
      cmocka_unit_test(the_time_is_the_wires_minimum),
      cmocka_unit_test(peers_behind_one_nat_use_their_own_network),
      cmocka_unit_test(peers_behind_one_nat_meet_outside_of_it),
      cmocka_unit_test(private_addresses_of_another_network_get_nothing),
      cmocka_unit_test(two_that_want_each_other_end_with_one_connection),
      cmocka_unit_test(a_target_may_refuse),
      cmocka_unit_test(a_target_that_thinks_is_still_met),
      cmocka_unit_test(an_unknown_target_is_asked_for_three_times),
      cmocka_unit_test(a_silent_coordinator_times_out),
      cmocka_unit_test(a_wrong_key_is_the_reason_that_is_told),
      cmocka_unit_test(an_unpunchable_pair_says_so),
      cmocka_unit_test(a_known_address_needs_no_coordinator),
      cmocka_unit_test(a_stale_address_costs_a_short_head_start),
      cmocka_unit_test(a_slow_known_address_still_wins),
      cmocka_unit_test(a_lost_initial_is_repaired_by_the_dial),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
