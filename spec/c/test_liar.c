/* test_liar.c - a coordinator that lies beside one that doesn't: it offers what
 * nobody asked for, as much as it can, and the others still get through. Whole
 * endpoints with real cryptography, in virtual time.
 *
 * SPDX-License-Identifier: MIT */
#include "support/flow.h"
#include "support/world.h"

#include "quic/endpoint_int.h"

enum { LIAR, A, B, HONEST };

static const char *const ADDR[] = {"198.18.0.1:9000", "198.18.1.2:5000",
                                   "198.18.2.2:6000", "198.18.3.1:9000"};

/* ---- the stage -------------------------------------------------------------
 */

/* With |honest| 0 the liar is the only one. */
static world *stage_set(uint64_t seed, int honest) {
  world *w = world_new(seed);
  for (int i = LIAR; i <= HONEST; i++) {
    int coordinates = i == LIAR || i == HONEST;
    world_node *n = coordinates ? world_coordinator(w, (size_t)i, ADDR[i])
                                : world_node_init(w, (size_t)i, ADDR[i], NULL);
    n->params.can_relay = 1;
    if (!coordinates) {
      world_behind(n, world_nat_new(i == A ? "198.51.100.1" : "198.51.100.2",
                                    WORLD_EI, WORLD_APD, AQ_NAT_ALLOC_RANDOM));
    }
  }
  for (int i = A; i <= B; i++) {
    world_use_bootstrap(w->node[i], w->node[LIAR], 1);
    if (honest) {
      world_use_bootstrap(w->node[i], w->node[HONEST], 1);
    }
  }
  world_start_all(w);
  return w;
}

static world *stage(uint64_t seed, int honest) {
  world *w = stage_set(seed, honest);
  world_run(w, AQ_S);
  return w;
}

/* Another peer has the liar's only place. */
static world *stage_full(uint64_t seed) {
  world *w = stage_set(seed, 1);
  aq_endpoint *ep = w->node[LIAR]->ep;
  aq_coord_params p;
  aq_coord_params_init(&p);
  p.max_registrations = 1;
  p.allow_reserved = 1;
  aq_coord_del(ep->coord);
  assert_int_equal(aq_coord_new(&ep->coord, &p, &ep->env), 0);
  aq_coord_peer from = {.conn = 999999, .peer = {{1, 2, 3}}};
  aq_ctl m = {.type = AQ_CTL_REGISTER};
  aq_coord_msg out[AQ_COORD_OUT_MAX];
  uint8_t random[64] = {7};
  from.addr = util_addr("203.0.113.9:9");
  assert_int_equal(aq_coord_handle(ep->coord, w->now, &from, &m, NULL, random,
                                   out, &ep->stats),
                   1);
  assert_int_equal(out[0].m.type, AQ_CTL_REGISTERED);
  world_run(w, AQ_S);
  return w;
}

/* It serves nobody. */
static void deny(world *w) {
  for (int i = A; i <= B; i++) {
    aq_coord_forget(w->node[LIAR]->ep->coord, world_link(w, LIAR, i)->id);
  }
}

static uint32_t told;

/* Offers |to| an attempt with |peer|, the one that it calls |nonce|. */
static void lie_as(world *w, int to, const aq_peer_id *peer, aq_plan plan,
                   uint32_t nonce) {
  aq_ctl m = {.type = AQ_CTL_OFFER, .plan = plan, .expiry_ms = 300000};
  told++;
  m.peer = *peer;
  m.observed = w->node[to]->bound;
  memcpy(m.session, &told, sizeof(told));
  memcpy(m.nonce, &nonce, sizeof(nonce));
  m.cand_count = 1;
  m.cand[0].addr = util_addr("203.0.113.7:7000");
  m.cand[0].source = AQ_SOURCE_OBSERVED;
  m.cand[0].verified = 1;
  assert_int_equal(aq_ctl_send(world_link(w, LIAR, to), &m), 0);
  aq_ep_settle(w->node[LIAR]->ep);
}

/* ... a new one. */
static void lie(world *w, int to, const aq_peer_id *peer, aq_plan plan) {
  lie_as(w, to, peer, plan, told + 1);
}

/* Of |n| peers that nobody knows. */
static void lie_of_many(world *w, int to, unsigned n, aq_plan plan) {
  for (unsigned i = 0; i < n; i++) {
    aq_peer_id peer = {{0xaa, (uint8_t)told, (uint8_t)(told >> 8)}};
    lie(w, to, &peer, plan);
  }
  world_run(w, 100 * AQ_MS);
}

static void reach(world *w, aq_plan plan) {
  aq_id s, c;
  aq_endpoint *ep = w->node[A]->ep;
  w->node[A]->ep->shared.params.strategy = AQ_STRATEGY_STEPS;
  assert_int_equal(
      aq_session_start(ep, w->now, &w->node[B]->id, NULL, 0, 9 * AQ_S, &s, &c),
      0);
  aq_id via = world_link(w, A, HONEST)->id;
  if (plan == AQ_PLAN_RELAY) {
    aq_relay_step step;
    aq_relay_step_init(&step);
    step.via = via;
    assert_int_equal(aq_session_relay(ep, w->now, s, &step), 0);
  } else {
    aq_hard_step step;
    aq_hard_step_init(&step);
    step.via = via;
    assert_int_equal(aq_session_hard(ep, w->now, s, plan, &step), 0);
  }
  const aq_event *e = world_wait(w, w->node[A], AQ_EVENT_STEP_DONE, 8 * AQ_S);
  assert_non_null(e);
  assert_int_equal(e->error, 0);
}

/* ---- sessions and tunnels --------------------------------------------------
 */

static void tunnels_are_shared(void **state) {
  (void)state;
  world *w = stage(1, 1);
  aq_endpoint *b = w->node[B]->ep;
  lie_of_many(w, B, 100, AQ_PLAN_RELAY);
  assert_int_equal(b->ntunnel, AQ_MAX_TUNNELS / 2);
  assert_true(world_stats(w, B).limit_coordinator_share > 0);
  assert_int_equal(world_count(w->node[B], AQ_EVENT_LIMIT_HIT), 1);
  reach(w, AQ_PLAN_RELAY);
  assert_int_equal(b->ntunnel, AQ_MAX_TUNNELS / 2 + 1);
  world_del(w);
}

static void sessions_are_shared(void **state) {
  (void)state;
  world *w = stage(2, 1);
  aq_endpoint *b = w->node[B]->ep;
  lie_of_many(w, B, 150, AQ_PLAN_PUNCH);
  assert_int_equal(b->ntargets, AQ_MAX_TARGET_SESSIONS / 2);
  aq_statistics s = world_stats(w, B);
  assert_int_equal(s.offers_refused, 150 - AQ_MAX_TARGET_SESSIONS / 2);
  assert_int_equal(s.limit_coordinator_share, s.offers_refused);
  reach(w, AQ_PLAN_FRESH);
  world_del(w);
}

/* The liar hangs up, and we dial it again. */
static void hang_up(world *w) {
  aq_link *old = world_link(w, LIAR, B);
  aq_id id = world_link(w, B, LIAR)->id;
  aq_link_close(old, 1, 0, "", 0);
  aq_ep_settle(w->node[LIAR]->ep);
  for (int i = 0; i < 200; i++) {
    world_run(w, 10 * AQ_MS);
    const aq_boot *b = &w->node[B]->ep->boot[0];
    if (b->connected && b->link->id != id) {
      world_run(w, 10 * AQ_MS);
      return;
    }
  }
  fail_msg("the liar isn't dialed again");
}

/* Who comes again has what it had. */
static void a_share_outlives_its_connection(void **state) {
  (void)state;
  static const aq_plan plans[] = {AQ_PLAN_PUNCH, AQ_PLAN_RELAY};
  for (int i = 0; i < 2; i++) {
    world *w = stage(2, 1);
    aq_endpoint *b = w->node[B]->ep;
    for (int round = 0; round < 5; round++) {
      lie_of_many(w, B, 150, plans[i]);
      assert_true(b->ntunnel <= AQ_MAX_TUNNELS / 2);
      assert_true(b->ntargets <= AQ_MAX_TARGET_SESSIONS / 2);
      if (round == 0) {
        assert_int_equal(plans[i] == AQ_PLAN_RELAY ? b->ntunnel : b->ntargets,
                         plans[i] == AQ_PLAN_RELAY
                             ? AQ_MAX_TUNNELS / 2
                             : AQ_MAX_TARGET_SESSIONS / 2);
      }
      hang_up(w);
    }
    world_del(w);
  }
}

/* One attempt, ours or not, over and over: it has no more tunnels than it can
 * have asked for, and those of its offers are the liar's. */
static void an_attempt_has_few_tunnels(void **state) {
  (void)state;
  for (int ours = 0; ours < 2; ours++) {
    world *w = stage(2, 1);
    aq_endpoint *a = w->node[A]->ep;
    aq_peer_id x = {{0x00, 0x01}}; /* below ours: the peer's attempt wins */
    aq_id s, c;
    if (ours) {
      assert_int_equal(
          aq_session_start(a, w->now, &x, NULL, 0, 20 * AQ_S, &s, &c), 0);
    }
    uint32_t most = 0;
    for (int i = 0; i < 70; i++) {
      lie_as(w, A, &x, AQ_PLAN_RELAY, 1);
      world_run(w, (i & 1) * 12 * AQ_MS);
      most = a->ntunnel > most ? a->ntunnel : most;
      for (size_t k = 0; k < AQ_MAX_TUNNELS && a->tunnel != NULL; k++) {
        assert_true(!a->tunnel[k].used || a->tunnel[k].offered);
      }
    }
    assert_true(most > 0);
    assert_true(most <= AQ_MAX_ASKED);
    world_del(w);
  }
}

/* Who has one coordinator loses nothing by what others might want. */
static void the_only_one_has_all(void **state) {
  (void)state;
  world *w = stage(3, 0);
  aq_endpoint *b = w->node[B]->ep;
  lie_of_many(w, B, 100, AQ_PLAN_RELAY);
  assert_int_equal(b->ntunnel, AQ_MAX_TUNNELS);
  assert_int_equal(world_stats(w, B).limit_coordinator_share, 0);
  world_del(w);
}

/* ---- repairs ---------------------------------------------------------------
 */

typedef struct flows {
  flow f[2];
} flows;

static flows flows_open(world *w) {
  aq_endpoint *a = w->node[A]->ep, *b = w->node[B]->ep;
  aq_id ab = aq_endpoint_find_conn(a, &w->node[B]->id);
  aq_id ba = aq_endpoint_find_conn(b, &w->node[A]->id);
  return (flows){
      {flow_new(a, ab, b, ba, w->now), flow_new(b, ba, a, ab, w->now)}};
}

/* For |d|, during which the liar offers |plan| to both ten times a second. */
static void flows_run(world *w, flows *v, aq_duration d, int lying,
                      aq_plan plan) {
  aq_tstamp until = w->now + d;
  for (int i = 0; w->now < until; i++) {
    for (int k = 0; k < 2; k++) {
      (void)flow_turn(&v->f[k], w->now, v->f[k].written + 100);
    }
    if (lying && i % 10 == 0) {
      deny(w);
      lie(w, A, &w->node[B]->id, plan);
      lie(w, B, &w->node[A]->id, plan);
    }
    world_run(w, 10 * AQ_MS);
  }
}

/* Both NATs forget, while the liar keeps both peers busy. */
static void repairs_get_through(void **state) {
  (void)state;
  static const aq_plan plans[] = {AQ_PLAN_REPAIR, AQ_PLAN_RELAY, AQ_PLAN_PUNCH};
  for (int i = 0; i < 3; i++) {
    for (uint64_t seed = 1; seed <= 6; seed++) {
      world *w = stage(seed, 1);
      for (int k = A; k <= B; k++) {
        w->node[k]->ep->shared.params.enable_relay_fallback =
            plans[i] == AQ_PLAN_RELAY;
      }
      reach(w, AQ_PLAN_FRESH);
      world_run(w, AQ_S);
      flows v = flows_open(w);
      flows_run(w, &v, seed % 3 * AQ_S, 1, plans[i]);
      world_nat_rebind(w->node[A]->nat, NULL);
      world_nat_rebind(w->node[B]->nat, NULL);
      v.f[0].gap = v.f[1].gap = 0;
      flows_run(w, &v, 20 * AQ_S, 1, plans[i]);
      for (int k = 0; k < 2; k++) { /* be it silent still */
        aq_duration since = w->now - v.f[k].last;
        v.f[k].gap = since > v.f[k].gap ? since : v.f[k].gap;
      }
      print_message("plan %d seed %d: silent for %d and %d ms\n", (int)plans[i],
                    (int)seed, (int)(v.f[0].gap / AQ_MS),
                    (int)(v.f[1].gap / AQ_MS));
      for (int k = A; k <= B; k++) {
        assert_null(world_find(w->node[k], AQ_EVENT_CONNECTION_LOST));
        assert_true(v.f[k - A].gap < 5 * AQ_S);
      }
      flows_run(w, &v, 2 * AQ_S, 0, plans[i]);
      world_del(w);
    }
  }
}

/* The nearest coordinator has no place for us. That holds nothing up. */
static void a_full_one_holds_up_nothing(void **state) {
  (void)state;
  world *w = stage_full(3);
  assert_false(world_link(w, A, LIAR)->registered);
  assert_true(world_link(w, A, HONEST)->registered);
  reach(w, AQ_PLAN_FRESH);
  world_run(w, AQ_S);
  flows v = flows_open(w);
  flows_run(w, &v, AQ_S, 0, AQ_PLAN_PUNCH);
  world_nat_rebind(w->node[A]->nat, NULL);
  world_nat_rebind(w->node[B]->nat, NULL);
  v.f[0].gap = v.f[1].gap = 0;
  flows_run(w, &v, 5 * AQ_S, 0, AQ_PLAN_PUNCH);
  for (int k = 0; k < 2; k++) {
    assert_true(v.f[k].gap < AQ_S);
    assert_true(w->now - v.f[k].last < AQ_S);
  }
  assert_true(world_stats(w, A).repairs_completed +
                  world_stats(w, B).repairs_completed >
              0);
  world_del(w);
}

/* ---- "there is no such connection" ----------------------------------------
 */

static uint64_t lied_of; /* the request that was answered by a lie */

/* To each request of A's that it gets. */
static int says_gone(world *w, const aq_addr *from, const aq_addr *to,
                     uint8_t *data, size_t *len) {
  (void)from, (void)to, (void)data, (void)len;
  const aq_session *s;
  aq_list *node = aq_list_first(&w->node[A]->ep->sessions);
  if (node != NULL && (s = aq_list_entry(node, aq_session, node))->repair &&
      s->request > lied_of && s->via == world_link(w, A, LIAR)->id) {
    lied_of = s->request;
    aq_ctl m = {.type = AQ_CTL_ERROR, .error = AQ_CTL_ERR_NO_CONNECTION};
    m.request = s->request;
    assert_int_equal(aq_ctl_send(world_link(w, LIAR, A), &m), 0);
    aq_ep_settle(w->node[LIAR]->ep);
  }
  return 1;
}

/* B is cut off for 6 s. Who has another coordinator isn't talked out of it. */
static void one_word_ends_nothing(void **state) {
  (void)state;
  for (int honest = 0; honest < 2; honest++) {
    world *w = stage(5, honest);
    aq_id s, c;
    assert_int_equal(aq_session_start(w->node[A]->ep, w->now, &w->node[B]->id,
                                      NULL, 0, 9 * AQ_S, &s, &c),
                     0);
    world_wait_conn(w, A);
    world_run(w, 2 * AQ_S);
    flows v = flows_open(w);
    v.f[0].may_end = v.f[1].may_end = 1;
    flows_run(w, &v, AQ_S, 0, AQ_PLAN_PUNCH);
    lied_of = 0;
    w->node[B]->deaf = 1;
    w->tap = says_gone;
    flows_run(w, &v, 6 * AQ_S, 0, AQ_PLAN_PUNCH);
    w->node[B]->deaf = 0;
    flows_run(w, &v, 4 * AQ_S, 0, AQ_PLAN_PUNCH);
    assert_true(lied_of > 0);
    const aq_event *e = world_find(w->node[A], AQ_EVENT_CONNECTION_LOST);
    assert_int_equal(e == NULL, honest);
    if (honest) {
      assert_true(w->now - v.f[0].last < 100 * AQ_MS);
    }
    world_del(w);
  }
}

/* B is started anew, and all coordinators say so. */
static void what_all_say_is_so(void **state) {
  (void)state;
  for (int honest = 0; honest < 2; honest++) {
    world *w = stage(6, honest);
    aq_id s, c;
    assert_int_equal(aq_session_start(w->node[A]->ep, w->now, &w->node[B]->id,
                                      NULL, 0, 9 * AQ_S, &s, &c),
                     0);
    world_wait_conn(w, A);
    world_run(w, 2 * AQ_S);
    world_node_kill(w->node[B]);
    world_nat_rebind(w->node[B]->nat, NULL);
    world_node_start(w->node[B]);
    aq_tstamp start = w->now;
    aq_conn_ping(w->node[A]->ep, w->now, world_only_conn(w->node[A]));
    const aq_event *e =
        world_wait(w, w->node[A], AQ_EVENT_CONNECTION_LOST, 20 * AQ_S);
    assert_non_null(e);
    assert_int_equal(e->error, AQ_ERR_STATELESS_RESET);
    assert_true(w->now - start < 6 * AQ_S);
    world_del(w);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tunnels_are_shared),
      cmocka_unit_test(sessions_are_shared),
      cmocka_unit_test(the_only_one_has_all),
      cmocka_unit_test(a_share_outlives_its_connection),
      cmocka_unit_test(an_attempt_has_few_tunnels),
      cmocka_unit_test(repairs_get_through),
      cmocka_unit_test(a_full_one_holds_up_nothing),
      cmocka_unit_test(one_word_ends_nothing),
      cmocka_unit_test(what_all_say_is_so),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
