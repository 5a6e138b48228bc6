/* test_repair.c - connections whose path is lost: NATs forget, get another
 * address, or nothing passes for a while. Whole endpoints in virtual time.
 *
 * SPDX-License-Identifier: MIT */
#include "support/flow.h"
#include "support/world.h"

#include "base/addr.h"
#include "quic/endpoint_int.h"

enum { C, A, B };

/* ---- a connection and a stream over it ------------------------------------
 */

static world *start(uint64_t seed, world_nat *a, world_nat *b) {
  world *w = world_new(seed);
  world_node *c = world_coordinator(w, C, "198.18.0.1:9000");
  for (int i = A; i <= B; i++) {
    world_node *n = world_node_init(
        w, (size_t)i, i == A ? "198.18.1.2:5000" : "198.18.2.2:6000", NULL);
    world_use_bootstrap(n, c, 1);
    world_behind(n, i == A ? a : b);
  }
  world_start_all(w);
  world_run(w, AQ_S);
  aq_id session = 0, conn = 0;
  world_node *n = w->node[A];
  assert_int_equal(aq_session_start(n->ep, w->now, &w->node[B]->id, NULL, 0,
                                    10 * AQ_S, &session, &conn),
                   0);
  world_wait_conn(w, A);
  world_run(w, 2 * AQ_S);
  world_clear(w->node[A]);
  world_clear(w->node[B]);
  return w;
}

static world_nat *cone(int who) {
  return world_nat_new(who == A ? "198.51.100.1" : "198.51.100.2", WORLD_EI,
                       WORLD_APD, AQ_NAT_ALLOC_RANDOM);
}

static flow flow_open(world *w, int from, int to) {
  world_node *a = w->node[from], *b = w->node[to];
  return flow_new(a->ep, world_only_conn(a), b->ep, world_only_conn(b), w->now);
}

/* Runs for |d|; every 10 ms each of |n| flows gets |len| bytes. */
static void flow_run(world *w, flow *f, int n, aq_duration d, size_t len) {
  aq_tstamp until = w->now + d;
  while (w->now < until) {
    for (int i = 0; i < n; i++) {
      (void)flow_turn(&f[i], w->now, f[i].written + len);
    }
    aq_tstamp step = w->now + 10 * AQ_MS;
    int more;
    do {
      more = world_turn(w, step);
      for (int i = 0; i < n; i++) {
        (void)flow_turn(&f[i], w->now, f[i].written);
      }
    } while (more);
    world_flush(w);
  }
}

/* What was written is there, in order, within |d|. */
static void flow_settles(world *w, flow *f, int n, aq_duration d) {
  flow_run(w, f, n, d, 0);
  for (int i = 0; i < n; i++) {
    if (f[i].read != f[i].written) {
      world_dump(w->node[A]);
      fprintf(stderr, "--\n");
      world_dump(w->node[B]);
    }
    assert_int_equal(f[i].read, f[i].written);
  }
  for (int i = A; i <= B; i++) {
    assert_null(world_find(w->node[i], AQ_EVENT_CONNECTION_LOST));
  }
}

/* ---- rebinding and renumbering --------------------------------------------
 */

#define BOTH (-1)

static void rebind(world *w, int who, int renumber) {
  for (int i = A; i <= B; i++) {
    if (who == i || who == BOTH) {
      world_nat_rebind(w->node[i]->nat, !renumber ? NULL
                                        : i == A  ? "198.51.100.11"
                                                  : "198.51.100.12");
    }
  }
}

/* Streams of |len| bytes each 10 ms from A (1), B (2) or both (3) go on when
 * the NAT of |who| forgets or gets another address. Gives the longest silence.
 */
static aq_duration lives_on(uint64_t seed, world_nat *a, world_nat *b, int who,
                            int renumber, int from, size_t len) {
  world *w = start(seed, a, b);
  flow f[2];
  int n = 0;
  if (from & 1) {
    f[n++] = flow_open(w, A, B);
  }
  if (from & 2) {
    f[n++] = flow_open(w, B, A);
  }
  flow_run(w, f, n, AQ_S, len);
  for (int i = 0; i < n; i++) {
    assert_true(f[i].read > 0);
    f[i].gap = 0;
  }
  rebind(w, who, renumber);
  flow_run(w, f, n, 4 * AQ_S, len);
  flow_settles(w, f, n, 5 * AQ_S);
  aq_duration gap = f[0].gap > f[n - 1].gap ? f[0].gap : f[n - 1].gap;
  assert_true(gap < 3 * AQ_S);
  assert_true(world_stats(w, A).repairs_started <= 3);
  world_del(w);
  return gap;
}

static void two_cones(void **state) {
  (void)state;
  static const size_t lens[] = {500, 2000, 4096};
  for (int from = 1; from <= 3; from++) {
    for (int who = BOTH; who <= B; who++) {
      for (int i = 0; i < 6 && who != 0; i++) {
        lives_on((uint64_t)(10 + i), cone(A), cone(B), who, i & 1, from,
                 lens[i / 2]);
      }
    }
  }
}

/* It happens again and again to one connection. */
static void again_and_again(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 6; seed++) {
    world *w = start(seed, cone(A), cone(B));
    w->delay = 12 * AQ_MS;
    flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
    flow_run(w, f, 2, AQ_S, 2000);
    for (int i = 0; i < 12; i++) {
      f[0].gap = f[1].gap = 0;
      f[0].last = f[1].last = w->now;
      rebind(w, i % 3 == 2 ? BOTH : A + i % 3, 0);
      flow_run(w, f, 2, 4 * AQ_S, 2000);
      assert_true(f[0].gap < 3 * AQ_S && f[1].gap < 3 * AQ_S);
    }
    flow_settles(w, f, 2, 5 * AQ_S);
    world_del(w);
  }
}

/* Four of a hundred datagrams are lost, and it happens at any moment: a lost
 * PATH_CHALLENGE or PATH_RESPONSE must not cost the attempt. */
static void with_loss(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 24; seed++) {
    world *w = start(seed, cone(A), cone(B));
    w->delay = 12 * AQ_MS;
    w->jitter = seed & 1 ? 3 * AQ_MS : 0;
    w->loss = 40;
    flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
    flow_run(w, f, 2, AQ_S, 2000);
    for (int i = 0; i < 6; i++) {
      flow_run(w, f, 2, aq_rand_below(&w->rand, 200) * AQ_MS, 2000);
      f[0].gap = f[1].gap = 0;
      f[0].last = f[1].last = w->now;
      rebind(w, i % 3 == 2 ? BOTH : A + i % 3, i / 3);
      flow_run(w, f, 2, 4 * AQ_S, 2000);
      for (int k = 0; k < 2; k++) {
        assert_true(f[k].gap < 3 * AQ_S && w->now - f[k].last < AQ_S);
      }
    }
    flow_settles(w, f, 2, 5 * AQ_S);
    world_del(w);
  }
}

/* What the application sees of it. */
static void told(void **state) {
  (void)state;
  world *w = start(3, cone(A), cone(B));
  flow f = flow_open(w, A, B);
  flow_run(w, &f, 1, AQ_S, 500);
  rebind(w, BOTH, 1);
  flow_run(w, &f, 1, 2 * AQ_S, 500);
  for (int i = A; i <= B; i++) {
    world_node *n = w->node[i];
    aq_id conn = world_only_conn(n);
    const aq_event *e = world_find(n, AQ_EVENT_SESSION_STATE_CHANGED);
    assert_non_null(e);
    assert_int_equal(e->conn, conn);
    assert_int_equal(e->from, AQ_STATE_CONNECTED);
    assert_int_equal(e->to, AQ_STATE_MIGRATING);
    assert_int_equal(world_count(n, AQ_EVENT_SESSION_STATE_CHANGED), 2);
    while (++e < n->event + n->nevent &&
           e->kind != AQ_EVENT_SESSION_STATE_CHANGED) {
    }
    assert_int_equal(e->from, AQ_STATE_MIGRATING);
    assert_int_equal(e->to, AQ_STATE_CONNECTED);
    assert_int_equal(e->reason, AQ_REASON_MIGRATION_COMPLETE);
    assert_int_equal(world_count(n, AQ_EVENT_PATH_CHANGED), 1);
    /* The attempt is no session of the application's. */
    assert_null(world_find(n, AQ_EVENT_TRAVERSAL_SUCCEEDED));
    assert_null(world_find(n, AQ_EVENT_STEP_DONE));
    assert_int_equal(world_stats(w, i).repairs_completed, 1);
    assert_int_equal(world_stats(w, i).total_attempts, i == A);
    assert_int_equal(n->ep->nextra, 1);
    aq_step_record r[AQ_MAX_STEPS];
    size_t steps = aq_explain(n->ep, conn, r, AQ_MAX_STEPS), repair = 0;
    for (size_t k = 0; k < steps; k++) {
      repair += r[k].step == 2 + AQ_PLAN_REPAIR && r[k].won;
    }
    assert_int_equal(repair, 1);
    assert_true(r[0].step != 2 + AQ_PLAN_REPAIR); /* what made it comes first */
  }
  flow_settles(w, &f, 1, AQ_S);
  world_del(w);
}

/* Nothing is asked that nobody waits for. */
static void idle_is_quiet(void **state) {
  (void)state;
  world *w = start(4, cone(A), cone(B));
  world_run(w, 20 * AQ_S);
  aq_statistics a = world_stats(w, A);
  world_run(w, 60 * AQ_S);
  aq_statistics b = world_stats(w, A);
  /* Two connections, a keep-alive and its answer each 15 s, from both ends. */
  assert_true(b.datagrams_sent - a.datagrams_sent <= 2 * 5 * 2);
  assert_int_equal(b.repairs_started, 0);
  /* A stream that pauses: 0.3, 0.6, 1.2, 2.4 and 4.8 s after its last byte. */
  flow f = flow_open(w, A, B);
  flow_run(w, &f, 1, AQ_S, 500);
  a = world_stats(w, B);
  flow_run(w, &f, 1, 60 * AQ_S, 0);
  b = world_stats(w, B);
  assert_in_range(b.datagrams_sent - a.datagrams_sent, 5, 2 * 5 * 2 + 10);
  assert_int_equal(b.repairs_started, 0);
  world_del(w);
}

/* So many connections have a socket that they moved to. */
static void hold_sockets(world *w, int who, uint32_t n) {
  aq_endpoint *ep = w->node[who]->ep;
  uint32_t index;
  for (uint32_t i = 0; i < n; i++) {
    assert_int_equal(aq_extra_open(ep, &ep->sock[0], 99, &index), 0);
  }
  world_run(w, 100 * AQ_MS);
  for (uint32_t i = 0; i < AQ_MAX_EXTRA_SOCKETS; i++) {
    if (ep->extra[i].owner == 99) {
      assert_int_equal(ep->extra[i].state, AQ_EXTRA_OPEN);
      ep->extra[i].owner = 0;
      ep->extra[i].links = 1;
    }
  }
}

/* Who has many of them moves on, to one that another connection has. */
static void many_moved_connections_share(void **state) {
  (void)state;
  static const uint32_t HELD[] = {AQ_EXTRA_SHARED / 2, AQ_EXTRA_SHARED,
                                  AQ_MAX_EXTRA_SOCKETS};
  for (int who = A; who <= B; who++) {
    for (size_t i = 0; i < 3; i++) {
      world *w = start(8, cone(A), cone(B));
      aq_endpoint *ep = w->node[who]->ep;
      flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
      hold_sockets(w, who, HELD[i]);
      for (int k = 0; k < 3; k++) {
        flow_run(w, f, 2, AQ_S, 500);
        f[0].gap = f[1].gap = 0;
        rebind(w, BOTH, 0);
        flow_run(w, f, 2, 3 * AQ_S, 500);
        assert_true(f[0].gap < 2 * AQ_S && f[1].gap < 2 * AQ_S);
      }
      const aq_link *l = world_link(w, who, who == A ? B : A);
      uint32_t shared = ep->extra[l->socket - AQ_MAX_SOCKETS].links;
      assert_int_equal(shared, i == 0 ? 1 : 2);
      assert_int_equal(ep->nextra, HELD[i] + (i == 0));
      assert_int_equal(ep->stats.limit_extra_sockets, 0);
      flow_settles(w, f, 2, AQ_S);
      world_del(w);
    }
  }
}

static int nothing_passes(world *w, const aq_addr *from, const aq_addr *to,
                          uint8_t *data, size_t *len) {
  (void)w, (void)from, (void)to, (void)data, (void)len;
  return 0;
}

/* Nothing passes for a while, and the NATs forget nothing. */
static void black_hole(void **state) {
  (void)state;
  static const size_t lens[] = {500, 4096};
  for (int i = 0; i < 4; i++) {
    aq_duration hole = i & 1 ? 20 * AQ_S : 5 * AQ_S;
    world *w = start(5, cone(A), cone(B));
    flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
    flow_run(w, f, 2, AQ_S, lens[i / 2]);
    w->tap = nothing_passes;
    flow_run(w, f, 2, hole, lens[i / 2]);
    w->tap = NULL;
    f[0].gap = f[1].gap = 0;
    f[0].last = f[1].last = w->now;
    flow_run(w, f, 2, 5 * AQ_S, lens[i / 2]);
    flow_settles(w, f, 2, 5 * AQ_S);
    assert_true(f[0].gap < 2 * AQ_S && f[1].gap < 2 * AQ_S);
    world_del(w);
  }
}

/* ---- lies -----------------------------------------------------------------
 */

static const uint8_t KEY[AQ_PUNCH_KEY_LEN] = {1, 2, 3};
static const char VICTIM[] = "203.0.113.7:7000";
static uint32_t punches, challenges;

/* Whoever is there knows the key of the punches, and answers them. */
static int liar_answers(world *w, const aq_addr *from, const aq_addr *to,
                        uint8_t *data, size_t *len) {
  aq_addr victim = util_addr(VICTIM);
  if (!aq_addr_equal(to, &victim)) {
    return 1;
  }
  aq_punch p;
  if (*len != AQ_PUNCH_LEN || aq_punch_peek(&p, data, *len) != 0) {
    challenges++;
    return 1;
  }
  punches++;
  uint8_t buf[AQ_PUNCH_LEN];
  p.type = AQ_PUNCH_ANSWER;
  p.flags ^= AQ_PUNCH_FLAG_INITIATOR;
  p.seq = punches;
  assert_int_equal(aq_punch_format(buf, &p, KEY, aq_crypto_mac16), 0);
  world_inject(w, &victim, from, buf, sizeof(buf));
  return 1;
}

static void say(world *w, int to, const aq_ctl *m) {
  aq_endpoint *ep = w->node[C]->ep;
  aq_link *l = aq_link_get(ep, aq_endpoint_find_conn(ep, &w->node[to]->id));
  assert_int_equal(aq_ctl_send(l, m), 0);
  aq_ep_settle(ep);
}

/* A coordinator wants a connection moved to somebody who is not the peer. */
static void a_lie_moves_nothing(void **state) {
  (void)state;
  world *w = start(6, cone(A), cone(B));
  flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
  flow_run(w, f, 2, AQ_S, 500);
  aq_conn_info before, after;
  world_node *a = w->node[A];
  assert_int_equal(aq_conn_get_info(a->ep, world_only_conn(a), &before), 0);
  assert_int_equal(before.outgoing, 1); /* its client, who could be moved */
  w->tap = liar_answers;
  punches = challenges = 0;
  for (int i = 0; i < 3; i++) {
    aq_ctl m = {.type = AQ_CTL_OFFER, .expiry_ms = 10000, .rtt_us = 40000};
    memset(m.nonce, 7 + i, sizeof(m.nonce)); /* another attempt */
    memset(m.session, 7 + i, sizeof(m.session));
    memcpy(m.key, KEY, sizeof(m.key));
    m.peer = w->node[B]->id;
    m.plan = AQ_PLAN_REPAIR;
    m.observed = a->nat->addr[0];
    m.cand_count = 1;
    m.cand[0].addr = util_addr(VICTIM);
    m.cand[0].source = AQ_SOURCE_OBSERVED;
    m.cand[0].verified = 1;
    say(w, A, &m);
    aq_ctl h = {.type = AQ_CTL_HINT, .plan = AQ_PLAN_REPAIR, .count = 1};
    memcpy(h.session, m.session, sizeof(h.session));
    h.cookie = 1;
    h.observed = util_addr(VICTIM);
    say(w, A, &h);
    f[0].gap = f[1].gap = 0;
    flow_run(w, f, 2, 6 * AQ_S, 500);
    assert_true(f[0].gap < 100 * AQ_MS && f[1].gap < 100 * AQ_MS);
  }
  /* Tried, and not gone. An offer and its hint may come in one packet. */
  assert_int_equal(world_stats(w, A).hints_received, 3);
  aq_addr victim = util_addr(VICTIM);
  const world_seen *s = world_seen_at(w, &victim);
  assert_true(punches > 0 && challenges > 0);
  assert_in_range(s->packets - challenges, 1, 3 * 20);
  assert_in_range(challenges, 3, 3 * 8);
  assert_int_equal(aq_conn_get_info(a->ep, world_only_conn(a), &after), 0);
  assert_true(aq_addr_equal(&before.remote, &after.remote));
  assert_true(aq_addr_equal(&before.local, &after.local));
  assert_int_equal(after.state, AQ_STATE_CONNECTED);
  flow_settles(w, f, 2, AQ_S);
  world_del(w);
}

static uint64_t lied_of; /* the request that was answered by a lie */

/* The coordinator says that the peer has no such connection: for each of our
 * requests, but it does. */
static int says_gone(world *w, const aq_addr *from, const aq_addr *to,
                     uint8_t *data, size_t *len) {
  (void)from, (void)to, (void)data, (void)len;
  const aq_session *s;
  aq_list *node = aq_list_first(&w->node[A]->ep->sessions);
  if (node != NULL && (s = aq_list_entry(node, aq_session, node))->repair &&
      s->request > lied_of) {
    lied_of = s->request;
    aq_ctl m = {.type = AQ_CTL_ERROR, .error = AQ_CTL_ERR_NO_CONNECTION};
    m.request = s->request;
    say(w, A, &m);
  }
  return 1;
}

/* It is believed when nothing was heard of the peer for 2 s, and no sooner. */
static void a_lie_ends_only_what_is_silent(void **state) {
  (void)state;
  for (int seconds = 1; seconds <= 4; seconds += 3) {
    world *w = start(7, cone(A), cone(B));
    flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
    f[0].may_end = f[1].may_end = seconds > 1;
    flow_run(w, f, 2, AQ_S, 500);
    lied_of = 0;
    w->node[B]->deaf = 1;
    w->tap = says_gone;
    flow_run(w, f, 2, (aq_duration)seconds * AQ_S + 500 * AQ_MS, 500);
    w->node[B]->deaf = 0;
    flow_run(w, f, 2, AQ_S, 500);
    assert_true(lied_of > 0);
    const aq_event *e = world_find(w->node[A], AQ_EVENT_CONNECTION_LOST);
    if (seconds == 1) {
      assert_null(e);
      flow_settles(w, f, 2, 2 * AQ_S);
    } else {
      assert_non_null(e);
      assert_int_equal(e->error, AQ_ERR_STATELESS_RESET);
    }
    world_del(w);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_cones),
      cmocka_unit_test(again_and_again),
      cmocka_unit_test(told),
      cmocka_unit_test(with_loss),
      cmocka_unit_test(idle_is_quiet),
      cmocka_unit_test(many_moved_connections_share),
      cmocka_unit_test(black_hole),
      cmocka_unit_test(a_lie_moves_nothing),
      cmocka_unit_test(a_lie_ends_only_what_is_silent),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
