/* test_hard.c - plans with new sockets: whole endpoints behind NATs that simple
 * punching doesn't get through, in virtual time.
 *
 * SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "base/addr.h"
#include "quic/endpoint_int.h"

enum { C, A, B };

/* A coordinator, and two peers that registered; each behind |nat| or, with
 * NULL, none. */
static world *start(uint64_t seed, world_nat *a, world_nat *b) {
  world *w = world_new(seed);
  world_node *c = world_coordinator(w, C, "198.18.0.1:9000");
  for (int i = A; i <= B; i++) {
    world_node *n = world_node_init(
        w, (size_t)i, i == A ? "198.18.1.2:5000" : "198.18.2.2:6000", NULL);
    n->params.strategy = AQ_STRATEGY_STEPS;
    world_use_bootstrap(n, c, 1);
    world_behind(n, i == A ? a : b);
  }
  world_start_all(w);
  world_run(w, AQ_S);
  for (int i = A; i <= B; i++) {
    assert_non_null(world_find(w->node[i], AQ_EVENT_BOOTSTRAP_CONNECTED));
    world_clear(w->node[i]);
  }
  return w;
}

static world_nat *cone(const char *ip) {
  return world_nat_new(ip, WORLD_EI, WORLD_APD, AQ_NAT_ALLOC_RANDOM);
}

static aq_id reach(world *w, aq_plan plan, const aq_hard_step *step) {
  aq_hard_step s;
  aq_id session = 0, conn = 0;
  world_node *a = w->node[A];
  aq_hard_step_init(&s);
  assert_int_equal(aq_session_start(a->ep, w->now, &w->node[B]->id, NULL, 0,
                                    10 * AQ_S, &session, &conn),
                   0);
  assert_int_equal(
      aq_session_hard(a->ep, w->now, session, plan, step != NULL ? step : &s),
      0);
  return session;
}

static void connected(world *w, int from) {
  const aq_event *e = world_wait_conn(w, from);
  world_talk(w, from, e->conn, from == A ? B : A);
}

static const aq_event *step_done(world *w) {
  const aq_event *e = world_wait(w, w->node[A], AQ_EVENT_STEP_DONE, 10 * AQ_S);
  assert_non_null(e);
  return e;
}

/* ---- fresh --------------------------------------------------------------- */

static void fresh_sockets_meet(void **state) {
  (void)state;
  world *w = start(1, cone("198.51.100.1"), cone("198.51.100.2"));
  aq_tstamp began = w->now;
  reach(w, AQ_PLAN_FRESH, NULL);
  connected(w, A);
  /* Request, observation, hint, handshake: about six ways of 10 ms. */
  assert_true(w->now - began < 250 * AQ_MS);
  for (int i = A; i <= B; i++) {
    aq_statistics s = world_stats(w, i);
    assert_int_equal(s.extra_sockets_opened, 1);
    assert_int_equal(s.observes_received, 1);
    assert_int_equal(s.hints_sent, 1);
    assert_int_equal(s.hints_received, 1);
    assert_int_equal(s.openers_sent, 1);
    /* The connection runs over the new socket, and keeps it. */
    aq_id conn = world_only_conn(w->node[i]);
    const aq_link *l = aq_link_get(w->node[i]->ep, conn);
    assert_true(l->socket >= AQ_MAX_SOCKETS);
    assert_int_equal(w->node[i]->ep->nextra, 1);
  }
  assert_int_equal(world_stats(w, C).coordinator_hints, 2);
  aq_step_record r[AQ_MAX_STEPS];
  size_t n =
      aq_explain(w->node[A]->ep, world_only_conn(w->node[A]), r, AQ_MAX_STEPS);
  assert_true(n >= 2);
  assert_int_equal(r[1].step, 2 + AQ_PLAN_FRESH);
  assert_int_equal(r[1].won, 1);
  aq_conn_close(w->node[A]->ep, w->now, world_only_conn(w->node[A]), 0, "", 0);
  world_run(w, 10 * AQ_S);
  assert_int_equal(w->node[A]->ep->nextra, 0);
  assert_int_equal(w->node[B]->ep->nextra, 0);
  world_del(w);
}

/* A lost question is asked again. */
static int lose;
static int lose_asks(world *w, const aq_addr *from, const aq_addr *to,
                     uint8_t *data, size_t *len) {
  (void)w;
  (void)from;
  (void)to;
  if (*len == AQ_OBSERVE_LEN && data[0] == AQ_OBSERVE_ASK && lose > 0) {
    lose--;
    return 0;
  }
  return 1;
}

static void a_lost_question_is_asked_again(void **state) {
  (void)state;
  world *w = start(2, cone("198.51.100.1"), cone("198.51.100.2"));
  lose = 4;
  w->tap = lose_asks;
  reach(w, AQ_PLAN_FRESH, NULL);
  connected(w, A);
  assert_int_equal(lose, 0);
  assert_int_equal(
      world_stats(w, A).observes_sent + world_stats(w, B).observes_sent, 6);
  world_del(w);
}

static void without_new_sockets_it_says_so(void **state) {
  (void)state;
  for (int who = A; who <= B; who++) {
    world *w = start(3, cone("198.51.100.1"), cone("198.51.100.2"));
    w->node[who]->no_extra = 1;
    aq_tstamp began = w->now;
    reach(w, AQ_PLAN_FRESH, NULL);
    const aq_event *e = step_done(w);
    assert_int_equal(e->value, 2 + AQ_PLAN_FRESH);
    assert_int_equal(e->error, who == A ? AQ_ERR_LIMIT : AQ_ERR_OVERLOADED);
    assert_string_equal(e->text, who == A ? "no new socket could be opened"
                                          : "coordinator: overloaded");
    assert_true(w->now - began < AQ_S);
    world_run(w, AQ_S);
    assert_int_equal(w->node[A]->ep->nextra, 0);
    assert_int_equal(w->node[B]->ep->nextra, 0);
    world_del(w);
  }
}

/* ---- guesses -------------------------------------------------------------
 */

static world_nat *symmetric(const char *ip, aq_nat_allocation how) {
  return world_nat_new(ip, WORLD_APD, WORLD_APD, how);
}

/* Both have measured their NAT, and say so. */
static world *measured(uint64_t seed, world_nat *a, world_nat *b) {
  world *w = start(seed, a, b);
  for (int i = A; i <= B; i++) {
    world_node *n = w->node[i];
    aq_ep_enter(n->ep, w->now);
    n->ep->profile = world_nat_profile(n->nat);
    aq_ctl_register(n->ep->boot[0].link);
    aq_ep_settle(n->ep);
  }
  world_run(w, AQ_S);
  return w;
}

static void hit(aq_plan plan, aq_nat_allocation how, int flip, int hits) {
  int ok = 0;
  uint64_t most = 0;
  aq_tstamp longest = 0;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    world_nat *hard = symmetric("198.51.100.1", how);
    hard->background = how == AQ_NAT_ALLOC_SEQUENTIAL ? seed % 2 : 0;
    if (how == AQ_NAT_ALLOC_BLOCK) {
      hard->low = 30720;
      hard->size = 1024;
    }
    aq_rand_init(&hard->rand, seed);
    world_nat *easy = cone("198.51.100.2");
    world *w = measured(seed, flip ? easy : hard, flip ? hard : easy);
    aq_tstamp began = w->now;
    reach(w, plan, NULL);
    const aq_event *e =
        world_wait(w, w->node[A], AQ_EVENT_CONNECTION_ESTABLISHED, 5 * AQ_S);
    ok += e != NULL;
    if (e != NULL) {
      longest = w->now - began > longest ? w->now - began : longest;
      world_talk(w, A, e->conn, B);
    }
    aq_statistics s = world_stats(w, flip ? A : B);
    most = s.guesses_sent > most ? s.guesses_sent : most;
    assert_true(s.guesses_sent <= 1024);
    assert_int_equal(world_stats(w, flip ? B : A).guesses_sent, 0);
    world_del(w);
  }
  print_message("%s, %s: %d of 20, at most %llu probes, %.3f s\n",
                aq_plan_name(plan), aq_nat_allocation_name(how), ok,
                (unsigned long long)most, (double)longest / 1e9);
  assert_true(ok >= hits);
  assert_true(longest < 3 * AQ_S);
}

static void a_birthday_hits(void **state) {
  (void)state;
  hit(AQ_PLAN_BIRTHDAY, AQ_NAT_ALLOC_RANDOM, 0, 19);
  hit(AQ_PLAN_BIRTHDAY, AQ_NAT_ALLOC_RANDOM, 1, 19);
}

static void a_sequence_is_predicted(void **state) {
  (void)state;
  hit(AQ_PLAN_PREDICT, AQ_NAT_ALLOC_SEQUENTIAL, 0, 20);
  hit(AQ_PLAN_PREDICT, AQ_NAT_ALLOC_SEQUENTIAL, 1, 20);
}

static void a_block_is_searched(void **state) {
  (void)state;
  hit(AQ_PLAN_BIRTHDAY, AQ_NAT_ALLOC_BLOCK, 0, 20);
  hit(AQ_PLAN_PREDICT, AQ_NAT_ALLOC_BLOCK, 1, 20);
}

/* Others open flows between the observation and our own, up to eight. */
static world_nat *busy;
static int burst;
static int others_open(world *w, const aq_addr *from, const aq_addr *to,
                       uint8_t *data, size_t *len) {
  (void)w;
  (void)to;
  if (*len == AQ_OBSERVE_LEN && data[0] == AQ_OBSERVE_ASK &&
      world_nat_has(busy, from)) {
    busy->next = (uint16_t)(busy->next + burst * busy->step);
  }
  return 1;
}

static void others_may_open_flows_meanwhile(void **state) {
  (void)state;
  static const int steps[] = {1, -1, 2, 10};
  for (burst = 0; burst <= 8; burst++) {
    for (int k = 0; k < 4; k++) {
      busy = symmetric("198.51.100.1", AQ_NAT_ALLOC_SEQUENTIAL);
      busy->step = steps[k];
      world *w = measured(1, busy, cone("198.51.100.2"));
      w->tap = others_open;
      reach(w, AQ_PLAN_PREDICT, NULL);
      connected(w, A);
      assert_true(world_stats(w, B).guesses_sent <= 2 * AQ_HARD_WINDOW);
      world_del(w);
    }
  }
}

/* The sign is not known: both ways are tried. */
static void an_unknown_step_is_tried_both_ways(void **state) {
  (void)state;
  for (int step = -1; step <= 1; step += 2) {
    world_nat *nat = symmetric("198.51.100.1", AQ_NAT_ALLOC_SEQUENTIAL);
    nat->step = step;
    world *w = measured(1, nat, cone("198.51.100.2"));
    w->node[A]->ep->profile.step = 0;
    reach(w, AQ_PLAN_PREDICT, NULL);
    connected(w, A);
    world_del(w);
  }
}

static void two_quiet_sequences_meet(void **state) {
  (void)state;
  world *w = measured(1, symmetric("198.51.100.1", AQ_NAT_ALLOC_SEQUENTIAL),
                      symmetric("198.51.100.2", AQ_NAT_ALLOC_SEQUENTIAL));
  w->node[B]->nat->next = 40000;
  reach(w, AQ_PLAN_PREDICT, NULL);
  connected(w, A);
  world_del(w);
}

static void what_cannot_be_is_not_tried(void **state) {
  (void)state;
  static const struct {
    world_rule a, b;
    const char *why;
  } rows[] = {
      {WORLD_APD, WORLD_APD, "both NATs give ports by destination"},
      {WORLD_AD, WORLD_APD, "both NATs give ports by destination"},
      {WORLD_EI, WORLD_EI, "there is nothing to guess"},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    world *w = measured(1,
                        world_nat_new("198.51.100.1", rows[i].a, WORLD_APD,
                                      AQ_NAT_ALLOC_RANDOM),
                        world_nat_new("198.51.100.2", rows[i].b, WORLD_APD,
                                      AQ_NAT_ALLOC_RANDOM));
    aq_tstamp began = w->now;
    reach(w, AQ_PLAN_BIRTHDAY, NULL);
    const aq_event *e = step_done(w);
    assert_int_equal(e->error, AQ_ERR_PUNCHING_FAILED);
    assert_non_null(strstr(e->text, rows[i].why));
    assert_true(w->now - began < 100 * AQ_MS);
    world_run(w, AQ_S);
    for (int n = A; n <= B; n++) {
      aq_statistics s = world_stats(w, n);
      assert_int_equal(s.openers_sent + s.guesses_sent + s.punches_sent, 0);
      assert_int_equal(s.extra_sockets_opened, 0);
    }
    world_del(w);
  }
}

static void a_pool_of_addresses(void **state) {
  (void)state;
  for (int flip = 0; flip < 2; flip++) {
    for (unsigned turn = 0; turn < 4; turn++) {
      world_nat *pool = world_nat_new("198.51.100.1", WORLD_APD, WORLD_APD,
                                      AQ_NAT_ALLOC_PRESERVING);
      pool->addr[1] = util_addr("198.51.100.9:1");
      world_nat *easy = cone("198.51.100.2");
      world *w = measured(1, flip ? easy : pool, flip ? pool : easy);
      pool->naddr = 2;
      pool->turn = turn;
      w->node[flip ? B : A]->ep->profile.external_count = 2;
      reach(w, AQ_PLAN_FRESH, NULL);
      connected(w, A);
      world_del(w);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fresh_sockets_meet),
      cmocka_unit_test(a_lost_question_is_asked_again),
      cmocka_unit_test(without_new_sockets_it_says_so),
      cmocka_unit_test(a_birthday_hits),
      cmocka_unit_test(a_sequence_is_predicted),
      cmocka_unit_test(a_block_is_searched),
      cmocka_unit_test(others_may_open_flows_meanwhile),
      cmocka_unit_test(an_unknown_step_is_tried_both_ways),
      cmocka_unit_test(two_quiet_sequences_meet),
      cmocka_unit_test(what_cannot_be_is_not_tried),
      cmocka_unit_test(a_pool_of_addresses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
