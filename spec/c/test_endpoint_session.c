/* test_endpoint_session.c - reaching peers by their id through a coordinator,
 * in virtual time.
 *
 * SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "base/addr.h"

#define A 0
#define B 1
#define C 2

static const char *addr_of[] = {"198.18.0.1:1001", "198.18.1.1:1002",
                                "198.18.2.1:1003"};

/* ---- coordinated
 * --------------------------------------------------------------------------------
 */

static world *three(uint64_t seed, int nat) {
  world *w = world_new(seed);
  world_node *c = world_coordinator(w, C, addr_of[C]);
  if (nat) {
    world_node_init(w, A, "10.0.0.2:1001", "198.18.10.1:5001");
    world_node_init(w, B, "10.1.0.2:1002", "198.18.11.1:5002");
  } else {
    world_node_init(w, A, addr_of[A], NULL);
    world_node_init(w, B, addr_of[B], NULL);
  }
  for (int i = A; i <= B; i++) {
    w->node[i]->params.role = AQ_ROLE_CLIENT;
    world_use_bootstrap(w->node[i], c, i == A);
  }
  return w;
}

static void wait_registered(world *w, int nodes) {
  aq_tstamp until = w->now + 5 * AQ_S;
  for (;;) {
    aq_usage u;
    aq_endpoint_get_usage(w->node[C]->ep, &u);
    int ready = (int)u.registrations >= nodes;
    for (int i = A; i <= B && w->node[i]->ep != NULL; i++) {
      aq_bootstrap_info b;
      ready &= aq_endpoint_get_bootstrap(w->node[i]->ep, &b, 1) == 1 &&
               b.connected && b.can_coordinate && b.observed.family == 4;
    }
    if (ready) {
      return;
    }
    assert_true(world_turn(w, until));
  }
}

static aq_id start_session(world *w, int from, int to) {
  aq_id s = 0, c = 0;
  assert_int_equal(aq_session_start(w->node[from]->ep, w->now, &w->node[to]->id,
                                    NULL, 0, 10 * AQ_S, &s, &c),
                   0);
  assert_true(s != 0 && c == 0);
  return s;
}

static void by_id(int nat, uint64_t seed) {
  world *w = three(seed, nat);
  w->delay = 25 * AQ_MS;
  world_start_all(w);
  wait_registered(w, 2);
  /* A bootstrap node's connection is not the application's. */
  assert_int_equal(world_count(w->node[A], AQ_EVENT_CONNECTION_ESTABLISHED), 0);
  assert_int_equal(world_count(w->node[A], AQ_EVENT_BOOTSTRAP_CONNECTED), 1);
  assert_int_equal(aq_endpoint_get_conns(w->node[A]->ep, NULL, 0), 0);
  world_run(w, 2 * AQ_S); /* the search for the path's MTU is over */
  aq_tstamp from = w->now;
  aq_id s = start_session(w, A, B);
  const aq_event *e =
      world_wait(w, w->node[A], AQ_EVENT_TRAVERSAL_SUCCEEDED, 10 * AQ_S);
  if (e == NULL) {
    world_dump(w->node[A]);
    world_dump(w->node[B]);
  }
  assert_non_null(e);
  aq_duration took = w->now - from;
  assert_int_equal(e->session, s);
  aq_id conn = world_only_conn(w->node[A]);
  assert_int_equal(e->conn, conn);
  /* RTT to the coordinator, RTT between the peers, 5 ms. */
  if (!nat && took > 105 * AQ_MS) {
    world_dump(w->node[A]);
    world_dump(w->node[B]);
  }
  if (!nat) {
    assert_true(took <= 105 * AQ_MS);
  }
  assert_true(took <= 300 * AQ_MS);
  assert_non_null(
      world_wait(w, w->node[B], AQ_EVENT_CONNECTION_INCOMING, AQ_S));
  aq_conn_info info;
  assert_int_equal(aq_conn_get_info(w->node[A]->ep, conn, &info), 0);
  assert_int_equal(info.session, s);
  const world_node *b = w->node[B];
  assert_true(
      aq_addr_equal(&info.remote, b->outside.family ? &b->outside : &b->bound));
  aq_step_record steps[AQ_MAX_STEPS];
  size_t n = aq_explain(w->node[A]->ep, conn, steps, AQ_MAX_STEPS);
  assert_true(n >= 2);
  int won = 0;
  for (size_t i = 0; i < n; i++) {
    won += steps[i].won;
  }
  assert_true(won >= 1);
  aq_statistics st;
  aq_endpoint_get_statistics(w->node[A]->ep, &st);
  assert_int_equal(st.total_attempts, 1);
  assert_int_equal(st.successful_connections, 1);
  assert_int_equal(st.coordinations_completed, 1);
  assert_true(st.coordination_time_total_ns >= 50 * AQ_MS);
  world_talk(w, A, conn, B);
  /* The coordinator dies; the connection goes on. */
  world_node_kill(w->node[C]);
  world_run(w, 60 * AQ_S);
  assert_non_null(world_find(w->node[A], AQ_EVENT_BOOTSTRAP_LOST));
  assert_null(world_find(w->node[A], AQ_EVENT_CONNECTION_LOST));
  world_talk(w, A, world_only_conn(w->node[A]), B);
  /* And comes back. */
  world_clear(w->node[A]);
  world_node_start(w->node[C]);
  assert_non_null(
      world_wait(w, w->node[A], AQ_EVENT_BOOTSTRAP_CONNECTED, 45 * AQ_S));
  world_del(w);
}

static void test_by_id(void **state) {
  (void)state;
  by_id(0, 30);
}

static void test_by_id_behind_nats(void **state) {
  (void)state;
  for (uint64_t seed = 31; seed < 41; seed++) {
    by_id(1, seed);
  }
}

/* Both ask for each other at once. */
static void test_both_by_id(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    world *w = three(7000 + seed, (int)(seed & 1));
    w->jitter = 5 * AQ_MS;
    world_start_all(w);
    wait_registered(w, 2);
    aq_id sa = start_session(w, A, B);
    world_run(w, aq_rand_below(&w->rand, 120) * AQ_MS);
    aq_id sb = 0, cb = 0;
    assert_int_equal(aq_session_start(w->node[B]->ep, w->now, &w->node[A]->id,
                                      NULL, 0, 10 * AQ_S, &sb, &cb),
                     0);
    assert_true(sa != 0 && (sb != 0) != (cb != 0));
    world_run(w, 8 * AQ_S);
    if (aq_endpoint_find_conn(w->node[A]->ep, &w->node[B]->id) == 0) {
      fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
      world_dump(w->node[A]);
      world_dump(w->node[B]);
    }
    assert_int_equal(world_count(w->node[A], AQ_EVENT_CONNECTION_LOST), 0);
    assert_int_equal(world_count(w->node[B], AQ_EVENT_CONNECTION_LOST), 0);
    world_talk(w, A, world_only_conn(w->node[A]), B);
    world_talk(w, B, world_only_conn(w->node[B]), A);
    world_del(w);
  }
}

static void test_unknown_target(void **state) {
  (void)state;
  world *w = three(50, 0);
  world_node_start(w->node[C]);
  world_node_start(w->node[A]);
  wait_registered(w, 1);
  start_session(w, A, B);
  const aq_event *e =
      world_wait(w, w->node[A], AQ_EVENT_TRAVERSAL_FAILED, 15 * AQ_S);
  assert_non_null(e);
  assert_int_equal(e->error, AQ_ERR_UNKNOWN_TARGET);
  aq_step_record steps[AQ_MAX_STEPS];
  assert_true(aq_explain(w->node[A]->ep, e->session, steps, AQ_MAX_STEPS) >= 1);
  assert_true(steps[0].error != 0);
  world_run(w, 70 * AQ_S); /* and is forgotten */
  assert_int_equal(aq_explain(w->node[A]->ep, e->session, steps, AQ_MAX_STEPS),
                   0);
  world_del(w);
}

static void test_target_refuses(void **state) {
  (void)state;
  world *w = three(51, 0);
  w->node[B]->params.allow = &w->node[C]->id;
  w->node[B]->params.allow_count = 1;
  world_start_all(w);
  wait_registered(w, 2);
  uint64_t before = w->node[B]->tx_packets;
  start_session(w, A, B);
  const aq_event *e =
      world_wait(w, w->node[A], AQ_EVENT_TRAVERSAL_FAILED, 15 * AQ_S);
  assert_non_null(e);
  assert_int_equal(e->error, AQ_ERR_NOT_ALLOWED);
  aq_statistics s;
  aq_endpoint_get_statistics(w->node[B]->ep, &s);
  assert_int_equal(s.punches_sent + s.openers_sent + s.punches_answered, 0);
  assert_true(s.offers_received >= 1 && s.offers_refused == s.offers_received);
  assert_true(w->node[B]->tx_packets - before < 30);
  world_del(w);
}

static void decide(int accept) {
  world *w = three(52, 0);
  w->node[B]->params.ask_accept = 1;
  world_start_all(w);
  wait_registered(w, 2);
  start_session(w, A, B);
  const aq_event *e = world_wait(w, w->node[B], AQ_EVENT_DECISION, 15 * AQ_S);
  assert_non_null(e);
  assert_memory_equal(&e->peer, &w->node[A]->id, 32);
  assert_int_equal(aq_endpoint_decide(w->node[B]->ep, w->now, e->value, accept),
                   0);
  assert_int_equal(aq_endpoint_decide(w->node[B]->ep, w->now, e->value, accept),
                   AQ_ERR_EXPIRED);
  world_wait(w, w->node[A],
             accept ? AQ_EVENT_TRAVERSAL_SUCCEEDED : AQ_EVENT_TRAVERSAL_FAILED,
             15 * AQ_S);
  const aq_event *f = world_find(w->node[A], AQ_EVENT_TRAVERSAL_FAILED);
  if (accept) {
    assert_null(f);
    world_talk(w, A, world_only_conn(w->node[A]), B);
  } else if (f != NULL) {
    /* A may have been connected before the refusal came (nothing is between
     * them): else it hears why not. */
    assert_int_equal(f->error, AQ_ERR_REFUSED);
  }
  world_del(w);
}

static void test_decision(void **state) {
  (void)state;
  decide(1);
  decide(0);
}

static void test_no_bootstrap(void **state) {
  (void)state;
  world *w = three(53, 0);
  world_node_start(w->node[A]); /* its coordinator is down */
  start_session(w, A, B);
  aq_tstamp from = w->now;
  const aq_event *e =
      world_wait(w, w->node[A], AQ_EVENT_TRAVERSAL_FAILED, 30 * AQ_S);
  assert_non_null(e);
  assert_int_equal(e->error, AQ_ERR_NO_BOOTSTRAP_NODES);
  assert_true(w->now - from <= 10 * AQ_S);
  world_del(w);
}

/* The application wants the bootstrap node itself. */
static void test_connect_to_bootstrap(void **state) {
  (void)state;
  world *w = three(54, 0);
  world_start_all(w);
  wait_registered(w, 2);
  aq_id id = world_dial(w, A, C, 0);
  const aq_event *e = world_wait_conn(w, A);
  assert_int_equal(e->conn, id);
  aq_statistics s;
  aq_endpoint_get_statistics(w->node[A]->ep, &s);
  assert_int_equal(s.connections_dialed, 1); /* the one that was there */
  world_talk(w, A, id, C);
  aq_conn_info info;
  assert_int_equal(aq_conn_get_info(w->node[A]->ep, id, &info), 0);
  assert_true(info.bootstrap);
  world_del(w);
}

/* enable_symmetric_nat off: no port is guessed, by us or for a peer. */
static void test_no_guessing(void **state) {
  (void)state;
  for (int off = A; off <= B; off++) {
    world *w = three(63, 0);
    w->node[A]->params.strategy = AQ_STRATEGY_STEPS;
    w->node[off]->params.enable_symmetric_nat = 0;
    world_start_all(w);
    wait_registered(w, 2);
    aq_endpoint *ep = w->node[A]->ep;
    aq_id s = start_session(w, A, B);
    aq_hard_step step;
    aq_hard_step_init(&step);
    int rv = aq_session_hard(ep, w->now, s, AQ_PLAN_BIRTHDAY, &step);
    assert_int_equal(rv, off == A ? AQ_ERR_NOT_ALLOWED : 0);
    if (off == A) {
      assert_int_equal(aq_session_hard(ep, w->now, s, AQ_PLAN_PREDICT, &step),
                       AQ_ERR_NOT_ALLOWED);
      assert_int_equal(aq_session_hard(ep, w->now, s, AQ_PLAN_FRESH, &step),
                       0); /* guesses nothing */
    } else {
      world_run(w, 2 * AQ_S);
      aq_statistics st;
      aq_endpoint_get_statistics(w->node[B]->ep, &st);
      assert_int_equal(st.offers_refused, 1);
      assert_int_equal(st.extra_sockets_opened, 0);
    }
    world_del(w);
  }
}

static void test_attempts_wait(void **state) {
  (void)state;
  world *w = three(62, 0);
  w->node[A]->params.max_concurrent_attempts = 2;
  w->delay = 50 * AQ_MS;
  world_node_start(w->node[C]);
  world_node_start(w->node[A]);
  wait_registered(w, 1);
  world_run(w, AQ_S);
  aq_id s[6], c;
  for (int i = 0; i < 6; i++) {
    aq_peer_id peer = {{(uint8_t)(1 + i)}};
    assert_int_equal(aq_session_start(w->node[A]->ep, w->now, &peer, NULL, 0,
                                      20 * AQ_S, &s[i], &c),
                     0);
  }
  world_flush(w);
  aq_statistics st;
  aq_endpoint_get_statistics(w->node[A]->ep, &st);
  assert_int_equal(st.coordinations_requested, 2);
  world_run(w, 150 * AQ_MS);
  aq_endpoint_get_statistics(w->node[A]->ep, &st);
  assert_int_equal(st.coordinations_requested, 4);
  world_run(w, 25 * AQ_S);
  assert_int_equal(world_count(w->node[A], AQ_EVENT_TRAVERSAL_FAILED), 6);
  world_del(w);
}

/* ---- the state of a session whose connection lives
 * ------------------------------------------------------------------------- */

static world *connected_by_id(uint64_t seed, aq_id *session) {
  world *w = three(seed, 1);
  world_start_all(w);
  wait_registered(w, 2);
  *session = start_session(w, A, B);
  assert_non_null(
      world_wait(w, w->node[A], AQ_EVENT_TRAVERSAL_SUCCEEDED, 10 * AQ_S));
  world_run(w, 2 * AQ_S);
  world_clear(w->node[A]);
  world_clear(w->node[B]);
  return w;
}

/* The next change of state at |n|. */
static const aq_event *state_change(world *w, world_node *n, aq_state from,
                                    aq_state to, aq_reason reason) {
  const aq_event *e =
      world_wait(w, n, AQ_EVENT_SESSION_STATE_CHANGED, 60 * AQ_S);
  assert_non_null(e);
  assert_int_equal(e->from, from);
  assert_int_equal(e->to, to);
  assert_int_equal(e->reason, reason);
  assert_true(e->session != 0 && e->has_peer && e->text[0] != 0);
  n->event[e - n->event].kind = AQ_EVENT__COUNT; /* seen */
  return e;
}

static aq_state session_state(const world_node *n, aq_id session) {
  aq_session_info info;
  assert_int_equal(aq_session_get_info(n->ep, session, &info), 0);
  assert_int_equal(info.phase, AQ_PHASE_CONNECTED);
  return info.state;
}

/* A's NAT gives it another port: B sees it move. */
static void test_state_of_a_move(void **state) {
  (void)state;
  aq_id s;
  world *w = connected_by_id(70, &s);
  world_node *b = w->node[B];
  w->node[A]->outside = util_addr("198.18.10.1:5055");
  assert_true(aq_addr_equal(&b->pin[0], &w->node[C]->bound));
  b->pin[b->npin++] = w->node[A]->outside; /* full cone */
  aq_id conn = world_only_conn(w->node[A]);
  assert_int_equal(aq_conn_ping(w->node[A]->ep, w->now, conn), 0);
  const aq_event *e = state_change(w, b, AQ_STATE_CONNECTED, AQ_STATE_MIGRATING,
                                   AQ_REASON_NONE);
  assert_int_equal(session_state(b, e->session), AQ_STATE_MIGRATING);
  state_change(w, b, AQ_STATE_MIGRATING, AQ_STATE_CONNECTED,
               AQ_REASON_MIGRATION_COMPLETE);
  assert_int_equal(session_state(b, e->session), AQ_STATE_CONNECTED);
  world_talk(w, A, conn, B);
  world_del(w);
}

static int deaf_place(world *w, const aq_addr *from, const aq_addr *to,
                      uint8_t *data, size_t *len) {
  (void)from, (void)data, (void)len;
  return !aq_addr_equal(to, (const aq_addr *)w->user);
}

/* The same, but nothing reaches the new place; A comes back. */
static void test_state_of_a_move_that_fails(void **state) {
  (void)state;
  aq_id s;
  world *w = connected_by_id(71, &s);
  world_node *a = w->node[A], *b = w->node[B];
  aq_addr home = a->outside, away = util_addr("198.18.10.1:5055");
  w->tap = deaf_place;
  w->user = &away;
  b->pin[b->npin++] = away;
  a->outside = away;
  aq_id conn = world_only_conn(a);
  assert_int_equal(aq_conn_ping(a->ep, w->now, conn), 0);
  state_change(w, b, AQ_STATE_CONNECTED, AQ_STATE_MIGRATING, AQ_REASON_NONE);
  a->outside = home;
  state_change(w, b, AQ_STATE_MIGRATING, AQ_STATE_CONNECTED,
               AQ_REASON_MIGRATION_FAILED);
  world_talk(w, A, conn, B);
  world_del(w);
}

static void end_of_connection(int how) {
  aq_id s;
  world *w = connected_by_id(72, &s);
  world_node *a = w->node[A], *b = w->node[B];
  assert_int_equal(session_state(a, s), AQ_STATE_CONNECTED);
  if (how == 0) {
    aq_conn_close(a->ep, w->now, world_only_conn(a), 0, "", 0);
    state_change(w, a, AQ_STATE_CONNECTED, AQ_STATE_CLOSED,
                 AQ_REASON_USER_CLOSED);
    state_change(w, b, AQ_STATE_CONNECTED, AQ_STATE_CLOSED,
                 AQ_REASON_CONNECTION_CLOSED);
  } else if (how == 1) { /* nothing is due and nothing comes */
    aq_conn_set_keep_alive(a->ep, w->now, world_only_conn(a), 0);
    aq_conn_set_keep_alive(b->ep, w->now, world_only_conn(b), 0);
    state_change(w, a, AQ_STATE_CONNECTED, AQ_STATE_CLOSED, AQ_REASON_TIMEOUT);
  } else {
    b->deaf = 1; /* a PING of A is not answered, and no other path is found */
    state_change(w, a, AQ_STATE_CONNECTED, AQ_STATE_MIGRATING, AQ_REASON_NONE);
    assert_int_equal(session_state(a, s), AQ_STATE_MIGRATING);
    state_change(w, a, AQ_STATE_MIGRATING, AQ_STATE_CLOSED,
                 AQ_REASON_MIGRATION_FAILED);
  }
  assert_int_equal(session_state(a, s), AQ_STATE_CLOSED);
  world_del(w);
}

static void test_state_of_an_end(void **state) {
  (void)state;
  end_of_connection(0);
  end_of_connection(1);
  end_of_connection(2);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_by_id),
      cmocka_unit_test(test_by_id_behind_nats),
      cmocka_unit_test(test_both_by_id),
      cmocka_unit_test(test_unknown_target),
      cmocka_unit_test(test_target_refuses),
      cmocka_unit_test(test_decision),
      cmocka_unit_test(test_no_bootstrap),
      cmocka_unit_test(test_connect_to_bootstrap),
      cmocka_unit_test(test_attempts_wait),
      cmocka_unit_test(test_no_guessing),
      cmocka_unit_test(test_state_of_a_move),
      cmocka_unit_test(test_state_of_a_move_that_fails),
      cmocka_unit_test(test_state_of_an_end),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
