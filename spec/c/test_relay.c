/* test_relay.c - connections over a relay: made, used, moved to a direct path,
 * refused; and what strangers, liars and floods can do to it. Whole endpoints
 * in the simulator.
 *
 * SPDX-License-Identifier: MIT */
#include "base/addr.h"
#include "quic/endpoint_int.h"
#include "support/flow.h"
#include "support/sim_net.h"

enum { A = SIM_A, B = SIM_B, C = SIM_C };

static aq_statistics stats(sim_pair *w, int i) {
  aq_statistics s;
  aq_endpoint_get_statistics(sim_core(w, i), &s);
  return s;
}

/* Two peers that no punching brings together, and a coordinator that relays. */
static void init(sim_pair *w, uint64_t seed) {
  sim_pair_init(w, seed, "sym_rand", "sym_rand", 15 * AQ_MS, NULL);
  w->params[C].can_relay = 1;
}

static aq_id conn_of(sim_pair *w, int from, int to) {
  return aq_endpoint_find_conn(sim_core(w, from), &w->id[to]);
}

static aq_conn_info info_of(sim_pair *w, int from, int to) {
  aq_conn_info i;
  memset(&i, 0, sizeof(i));
  sim_ok(aq_conn_get_info(sim_core(w, from), conn_of(w, from, to), &i));
  return i;
}

static void join(sim_pair *w) {
  assert_true(sim_connect(w, 25 * AQ_S));
  sim_run(w, AQ_S);
}

static sim_pair *relayed(uint64_t seed) {
  sim_pair *w = calloc(1, sizeof(*w));
  init(w, seed);
  sim_pair_start(w);
  join(w);
  assert_true(info_of(w, A, B).relayed && info_of(w, B, A).relayed);
  return w;
}

static void done(sim_pair *w) {
  sim_pair_end(w);
  free(w);
}

/* ---- bytes -----------------------------------------------------------------
 */

static flow flow_open(sim_pair *w, int from, int to) {
  return flow_new(sim_core(w, from), conn_of(w, from, to), sim_core(w, to),
                  conn_of(w, to, from), aq_sim_now(w->s));
}

/* Until each flow has brought |total| bytes. Returns 0 after |max|. */
static int flow_all(sim_pair *w, flow *f, int n, uint64_t total,
                    aq_duration max) {
  aq_tstamp until = aq_sim_now(w->s) + max;
  while (aq_sim_now(w->s) < until) {
    int all = 1;
    for (int i = 0; i < n; i++) {
      all &= flow_turn(&f[i], aq_sim_now(w->s), total);
    }
    if (all) {
      return 1;
    }
    sim_run(w, 5 * AQ_MS);
  }
  return 0;
}

/* ---- made and used ---------------------------------------------------------
 */

static void a_pair_that_nothing_else_connects(void **state) {
  (void)state;
  sim_pair *w = relayed(1);
  aq_conn_info a = info_of(w, A, B), b = info_of(w, B, A);
  /* Nobody is told of an address that doesn't exist. */
  assert_true(aq_addr_equal(&a.remote, &w->coordinator));
  assert_true(aq_addr_equal(&b.remote, &w->coordinator));
  assert_int_equal(a.local.family, 4);
  assert_int_equal(b.local.family, 4);
  assert_int_equal(a.observed.family, 0);
  const aq_event *e = &w->last[A][AQ_EVENT_CONNECTION_ESTABLISHED];
  assert_true(e->relayed && aq_addr_equal(&e->addr, &w->coordinator));
  e = &w->last[B][AQ_EVENT_TRAVERSAL_SUCCEEDED];
  assert_true(e->relayed && aq_addr_equal(&e->addr, &w->coordinator));
  aq_statistics s = stats(w, A);
  assert_int_equal(s.successful_connections, 1);
  assert_int_equal(s.relayed_connections, 1);
  assert_int_equal(s.direct_connections, 0);
  assert_int_equal(s.limit_punch_forbidden, 0);
  s = stats(w, C);
  assert_int_equal(s.relay_tunnels_opened, 1);
  assert_int_equal(s.relay_tunnels_refused, 0);
  assert_true(s.relay_datagrams > 4 && s.relay_bytes > 4 * 1200);
  assert_int_equal(s.relay_dropped, 0);
  /* What was tried says how it came about. */
  aq_step_record r[AQ_MAX_STEPS];
  size_t n = aq_explain(sim_core(w, A), conn_of(w, A, B), r, AQ_MAX_STEPS);
  int won = 0;
  for (size_t i = 0; i < n; i++) {
    if (r[i].step == 2 + AQ_PLAN_RELAY) {
      won += r[i].won;
      assert_true(aq_addr_equal(&r[i].addr, &w->coordinator));
    }
    assert_true(r[i].addr.family != 6);
  }
  assert_int_equal(won, 1);
  done(w);
}

static void a_record_has_real_addresses(void **state) {
  (void)state;
  sim_pair w;
  aq_record_entry e;
  size_t n = 0;
  init(&w, 1);
  sim_pair_start(&w);
  sim_ok(aq_endpoint_record(sim_core(&w, A), 1));
  join(&w);
  while (aq_endpoint_poll_record(sim_core(&w, A), &e)) {
    n += e.kind == AQ_RECORD_QUIC_SENT || e.kind == AQ_RECORD_QUIC_RECEIVED ||
         e.kind == AQ_RECORD_DIAL;
    assert_true(e.remote.family != 6 && e.local.family != 6);
  }
  assert_true(n > 10);
  sim_pair_end(&w);
}

static void a_megabyte_each_way(void **state) {
  (void)state;
  sim_pair *w = relayed(2);
  flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
  assert_true(flow_all(w, f, 2, 1024 * 1024, 30 * AQ_S));
  aq_statistics s = stats(w, C);
  assert_true(s.relay_bytes > 2 * 1024 * 1024);
  assert_true(info_of(w, A, B).relayed);
  done(w);
}

static int established(sim_pair *w) {
  return w->count[A][AQ_EVENT_CONNECTION_ESTABLISHED] > 0;
}

/* The step, as policies have it. */
static void a_step_of_the_caller(void **state) {
  (void)state;
  sim_pair w;
  aq_id session = 0, conn = 0;
  init(&w, 3);
  w.params[A].strategy = AQ_STRATEGY_STEPS;
  sim_pair_start(&w);
  sim_ok(aq_session_start(sim_core(&w, A), aq_sim_now(w.s), &w.id[B], NULL, 0,
                          10 * AQ_S, &session, &conn));
  aq_relay_step step;
  aq_relay_step_init(&step);
  aq_tstamp start = aq_sim_now(w.s);
  sim_ok(aq_session_relay(sim_core(&w, A), start, session, &step));
  assert_true(sim_wait(&w, A, AQ_EVENT_STEP_DONE, 1, 5 * AQ_S));
  const aq_event *e = &w.last[A][AQ_EVENT_STEP_DONE];
  assert_int_equal(e->value, 2 + AQ_PLAN_RELAY);
  assert_int_equal(e->error, 0);
  assert_true(established(&w));
  /* A round trip to the relay, and one over it. */
  assert_in_range(aq_sim_now(w.s) - start, 90 * AQ_MS, 95 * AQ_MS);
  sim_pair_end(&w);
}

static int step_error(sim_pair *w) {
  aq_id session = 0, conn = 0;
  aq_relay_step step;
  unsigned before = w->count[A][AQ_EVENT_STEP_DONE];
  aq_relay_step_init(&step);
  sim_ok(aq_session_start(sim_core(w, A), aq_sim_now(w->s), &w->id[B], NULL, 0,
                          10 * AQ_S, &session, &conn));
  int rv = aq_session_relay(sim_core(w, A), aq_sim_now(w->s), session, &step);
  if (rv != 0) {
    return rv;
  }
  assert_true(sim_wait(w, A, AQ_EVENT_STEP_DONE, before + 1, 9 * AQ_S));
  return w->last[A][AQ_EVENT_STEP_DONE].error;
}

/* Whoever doesn't want relays has none, and the asker hears why at once. */
static void refused(void **state) {
  (void)state;
  static const struct {
    int a, b, c; /* is it switched on there? */
    int error;
  } rows[] = {
      {0, 1, 1, AQ_ERR_NOT_ALLOWED},
      {1, 0, 1, AQ_ERR_NOT_ALLOWED},
      {1, 1, 0, AQ_ERR_UNSUPPORTED},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    sim_pair w;
    init(&w, 4);
    w.params[A].strategy = AQ_STRATEGY_STEPS;
    w.params[A].enable_relay_fallback = (uint8_t)rows[i].a;
    w.params[B].enable_relay_fallback = (uint8_t)rows[i].b;
    w.params[C].can_relay = (uint8_t)rows[i].c;
    sim_pair_start(&w);
    aq_tstamp start = aq_sim_now(w.s);
    assert_int_equal(step_error(&w), rows[i].error);
    assert_true(aq_sim_now(w.s) - start < 100 * AQ_MS);
    sim_run(&w, 4 * AQ_S);
    /* The answer and the target's veto cross. */
    assert_in_range(stats(&w, C).relay_datagrams, 0, rows[i].b ? 0 : 2);
    assert_int_equal(sim_core(&w, A)->ntunnel, 0);
    assert_int_equal(sim_core(&w, B)->ntunnel, 0);
    if (rows[i].c) {
      assert_int_equal(aq_relay_count(sim_core(&w, C)->relay), 0);
    }
    sim_pair_end(&w);
  }
}

/* The default strategy says whether there was something to fall back on. */
static void fallback_is_told(void **state) {
  (void)state;
  for (int relays = 0; relays < 2; relays++) {
    sim_pair w;
    init(&w, 5);
    w.params[C].can_relay = (uint8_t)relays;
    w.params[B].enable_relay_fallback = 0;
    sim_pair_start(&w);
    assert_false(sim_connect(&w, 25 * AQ_S));
    const aq_event *e = &w.last[A][AQ_EVENT_TRAVERSAL_FAILED];
    assert_int_equal(e->fallback_available, relays);
    assert_int_equal(e->error, AQ_ERR_PUNCHING_FAILED);
    sim_pair_end(&w);
  }
}

/* ---- moved to a direct path, and back --------------------------------------
 */

/* Two that could be direct begin over the relay. */
static sim_pair *relayed_between(uint64_t seed, const char *a, const char *b,
                                 aq_duration every) {
  sim_pair *w = calloc(1, sizeof(*w));
  aq_id session = 0, conn = 0;
  aq_relay_step step;
  sim_pair_init(w, seed, a, b, 15 * AQ_MS, NULL);
  sim_pair_measures(w);
  w->params[C].can_relay = 1;
  w->params[A].strategy = AQ_STRATEGY_STEPS;
  sim_pair_start(w);
  aq_relay_step_init(&step);
  step.upgrade_every = every;
  sim_ok(aq_session_start(sim_core(w, A), aq_sim_now(w->s), &w->id[B], NULL, 0,
                          10 * AQ_S, &session, &conn));
  sim_ok(aq_session_relay(sim_core(w, A), aq_sim_now(w->s), session, &step));
  assert_true(sim_wait(w, A, AQ_EVENT_CONNECTION_ESTABLISHED, 1, 5 * AQ_S));
  assert_true(sim_wait(w, B, AQ_EVENT_CONNECTION_ESTABLISHED, 1, 5 * AQ_S));
  assert_true(info_of(w, A, B).relayed && info_of(w, B, A).relayed);
  return w;
}

static sim_pair *relayed_first(uint64_t seed, aq_duration every) {
  return relayed_between(seed, "port_restr", "port_restr", every);
}

static void it_becomes_direct(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 8; seed++) {
    sim_pair *w = relayed_first(seed, AQ_UPGRADE_EVERY);
    aq_tstamp start = aq_sim_now(w->s);
    flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
    aq_id conn = conn_of(w, A, B);
    /* It moves in the middle of them. */
    uint64_t total = 0;
    while (info_of(w, A, B).relayed && total < 100 * 65536) {
      total += 65536;
      assert_true(flow_all(w, f, 2, total, 5 * AQ_S));
    }
    assert_in_range(aq_sim_now(w->s) - start, 5 * AQ_S, 6 * AQ_S);
    total += 1024 * 1024;
    assert_true(flow_all(w, f, 2, total, 20 * AQ_S));
    sim_run(w, 5 * AQ_S);
    /* The same connection, and a real address. */
    assert_true(conn_of(w, A, B) == conn);
    for (int i = A; i <= B; i++) {
      aq_conn_info info = info_of(w, i, !i);
      assert_false(info.relayed);
      assert_int_equal(info.remote.family, 4);
      assert_false(aq_addr_equal(&info.remote, &w->coordinator));
      assert_int_equal(info.state, AQ_STATE_CONNECTED);
      assert_int_equal(w->count[i][AQ_EVENT_CONNECTION_LOST], 0);
      const aq_event *e = &w->last[i][AQ_EVENT_PATH_CHANGED];
      assert_int_equal(w->count[i][AQ_EVENT_PATH_CHANGED], 1);
      assert_true(!e->relayed && aq_addr_equal(&e->addr, &info.remote));
      assert_int_equal(stats(w, i).upgrades_started, 1);
      assert_int_equal(stats(w, i).upgrades_completed, 1);
      assert_int_equal(stats(w, i).repairs_started, 0);
      assert_int_equal(sim_core(w, i)->ntunnel, 0);
    }
    /* Each sees the other now, and says so. */
    assert_int_equal(info_of(w, A, B).observed.family, 4);
    assert_int_equal(aq_relay_count(sim_core(w, C)->relay), 0);
    uint64_t passed = stats(w, C).relay_datagrams;
    sim_run(w, 60 * AQ_S);
    assert_int_equal(stats(w, C).relay_datagrams, passed);
    assert_int_equal(stats(w, A).upgrades_started, 1);
    done(w);
  }
}

/* Ports have to be guessed for it, by either end, each of which may be the one
 * that moves the connection. */
static void it_becomes_direct_by_a_guess(void **state) {
  (void)state;
  static const char *const PAIRS[][2] = {
      {"sym_rand", "port_restr"}, {"port_restr", "sym_rand"},
      {"sym_seq", "fw_only"},     {"linux", "sym_seq"},
      {"adm_apdf", "linux_open"}, {"fw_only", "adm_adf"},
      {"sym_seq", "sym_seq"},
  };
  for (size_t i = 0; i < sizeof(PAIRS) / sizeof(PAIRS[0]); i++) {
    for (uint64_t seed = 1; seed <= 4; seed++) {
      sim_pair *w =
          relayed_between(seed, PAIRS[i][0], PAIRS[i][1], AQ_UPGRADE_EVERY);
      flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
      aq_id conn = conn_of(w, A, B);
      aq_tstamp until = aq_sim_now(w->s) + 12 * AQ_S;
      uint64_t total = 0;
      while (info_of(w, A, B).relayed && aq_sim_now(w->s) < until) {
        total += 16384;
        assert_true(flow_all(w, f, 2, total, 5 * AQ_S));
      }
      sim_run(w, 5 * AQ_S);
      assert_true(flow_all(w, f, 2, total + 65536, 5 * AQ_S));
      assert_true(conn_of(w, A, B) == conn);
      for (int k = A; k <= B; k++) {
        aq_statistics s = stats(w, k);
        assert_false(info_of(w, k, !k).relayed);
        assert_int_equal(w->count[k][AQ_EVENT_CONNECTION_LOST], 0);
        assert_in_range(s.upgrades_started, 1, 2);
        assert_int_equal(s.upgrades_completed, 1);
        assert_true(s.guesses_sent <= AQ_GUARD_GUESSES);
        assert_int_equal(sim_core(w, k)->ntunnel, 0);
        /* One socket is the connection's; three look for lifetimes. */
        assert_in_range(sim_core(w, k)->nextra, 1, 4);
      }
      assert_true(stats(w, A).guesses_sent + stats(w, B).guesses_sent > 0);
      done(w);
    }
  }
}

/* Who doesn't guess stays there, whichever side it is. */
static void it_stays_relayed_without_guesses(void **state) {
  (void)state;
  for (int who = A; who <= B; who++) {
    sim_pair *w = relayed_between(1, "sym_rand", "port_restr", AQ_S);
    sim_core(w, who)->shared.params.enable_symmetric_nat = 0;
    sim_run(w, 60 * AQ_S);
    assert_true(info_of(w, A, B).relayed);
    assert_true(stats(w, A).upgrades_started >= 4);
    assert_int_equal(stats(w, A).guesses_sent + stats(w, B).guesses_sent, 0);
    assert_int_equal(stats(w, A).openers_sent + stats(w, B).openers_sent, 0);
    assert_int_equal(w->count[A][AQ_EVENT_CONNECTION_LOST], 0);
    done(w);
  }
}

/* What can't be is tried ever more rarely, and costs the connection nothing. */
static void it_stays_relayed(void **state) {
  (void)state;
  sim_pair *w = relayed(9);
  uint64_t before = stats(w, A).upgrades_started;
  flow f = flow_open(w, A, B);
  for (int i = 0; i < 60; i++) {
    assert_true(flow_all(w, &f, 1, f.written + 1000, AQ_S));
    sim_run(w, 5 * AQ_S);
  }
  /* 5, 10, 20, 40, 80, 160 s. */
  assert_in_range(stats(w, A).upgrades_started - before, 5, 7);
  assert_int_equal(stats(w, A).upgrades_completed, 0);
  assert_int_equal(w->count[A][AQ_EVENT_CONNECTION_LOST], 0);
  assert_true(info_of(w, A, B).relayed);
  done(w);
  w = relayed_first(9, AQ_NEVER);
  sim_run(w, 600 * AQ_S);
  assert_int_equal(stats(w, A).upgrades_started, 0);
  assert_true(info_of(w, A, B).relayed);
  done(w);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_pair_that_nothing_else_connects),
      cmocka_unit_test(a_record_has_real_addresses),
      cmocka_unit_test(a_megabyte_each_way),
      cmocka_unit_test(a_step_of_the_caller),
      cmocka_unit_test(refused),
      cmocka_unit_test(fallback_is_told),
      cmocka_unit_test(it_becomes_direct),
      cmocka_unit_test(it_becomes_direct_by_a_guess),
      cmocka_unit_test(it_stays_relayed_without_guesses),
      cmocka_unit_test(it_stays_relayed),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
