/* test_endpoint_chaos.c - endpoints that are used, killed, cut off and starved
 * of memory at random; afterwards they must agree and have forgotten the rest.
 *
 * SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "base/addr.h"

#define A 0
#define B 1
#define C 2

static world *chaos_world(uint64_t seed) {
  static const char *const addr[] = {"198.18.0.1:1001", "198.18.1.1:1002",
                                     "198.18.2.1:1003"};
  world *w = world_new(seed);
  for (size_t i = 0; i < 3; i++) {
    world_node *n = world_node_init(w, i, addr[i], NULL);
    n->params.idle_timeout = 6 * AQ_S;
    n->params.keep_alive = 2 * AQ_S;
    n->params.handshake_timeout = 3 * AQ_S;
  }
  w->node[C]->params.role = AQ_ROLE_BOOTSTRAP;
  w->node[C]->params.can_coordinate = 1;
  w->node[C]->params.enable_relay_fallback = 0;
  for (int i = A; i <= B; i++) {
    w->node[i]->params.role = AQ_ROLE_CLIENT;
    world_use_bootstrap(w->node[i], w->node[C], i == A);
  }
  w->loss = 20;
  w->jitter = 8 * AQ_MS;
  return w;
}

#define CHAOS_IDS 64
static aq_id ids[3][CHAOS_IDS];

static aq_id any_id(world *w, int i) {
  return ids[i][aq_rand_below(&w->rand, CHAOS_IDS)];
}

static void keep_id(world *w, int i, aq_id id) {
  ids[i][aq_rand_below(&w->rand, CHAOS_IDS)] = id;
}

/* Whatever the id is or was of. */
static void use_id(world *w, int i, aq_id id) {
  aq_endpoint *ep = w->node[i]->ep;
  static uint8_t buf[4096];
  aq_id out = 0;
  size_t n = 0;
  aq_conn_info ci;
  aq_session_info si;
  aq_stream_info ti;
  aq_step_record steps[AQ_MAX_STEPS];
  switch (aq_rand_below(&w->rand, 12)) {
  case 0:
    if (aq_stream_open(ep, w->now, id, (int)aq_rand_below(&w->rand, 2), 0,
                       &out) == 0) {
      keep_id(w, i, out);
    }
    break;
  case 1:
    aq_stream_write(ep, w->now, id, buf, sizeof(buf), &n);
    break;
  case 2:
    aq_stream_read(ep, w->now, id, buf, sizeof(buf), &n);
    break;
  case 3:
    aq_stream_finish(ep, w->now, id);
    break;
  case 4:
    aq_stream_reset(ep, w->now, id, 3);
    break;
  case 5:
    aq_stream_release(ep, w->now, id);
    break;
  case 6:
    if (aq_stream_accept(ep, id, &out) == 0) {
      keep_id(w, i, out);
    }
    break;
  case 7:
    aq_datagram_send(ep, w->now, id, buf, 500);
    break;
  case 8:
    aq_datagram_receive(ep, id, buf, sizeof(buf), &n);
    break;
  case 9:
    aq_conn_get_info(ep, id, &ci);
    aq_session_get_info(ep, id, &si);
    aq_stream_get_info(ep, id, &ti);
    aq_explain(ep, id, steps, AQ_MAX_STEPS);
    break;
  case 10:
    aq_conn_ping(ep, w->now, id);
    aq_conn_update_keys(ep, w->now, id);
    break;
  default:
    aq_session_cancel(ep, w->now, id);
    break;
  }
}

static uint64_t restarts;

static void restart(world *w, int i) {
  world_node *n = w->node[i];
  if (n->ep != NULL) {
    restarts++;
    world_node_kill(n);
  } else {
    world_node_start(n);
  }
}

static void one_act(world *w) {
  int i = (int)aq_rand_below(&w->rand, 3);
  int j = (int)((unsigned)i + 1 + aq_rand_below(&w->rand, 2)) % 3;
  world_node *n = w->node[i];
  aq_id id = 0, conn = 0;
  uint64_t what = aq_rand_below(&w->rand, 40);
  if (n->ep == NULL) {
    restart(w, i);
    return;
  }
  if (what < 4) {
    if (aq_connect_addr(n->ep, w->now, &w->node[j]->bound,
                        what & 1 ? &w->node[j]->id : NULL, NULL, 0, &id) == 0) {
      keep_id(w, i, id);
    }
  } else if (what < 8) {
    if (aq_session_start(n->ep, w->now, &w->node[j]->id, &w->node[j]->bound,
                         what & 1, 5 * AQ_S, &id, &conn) == 0) {
      keep_id(w, i, id != 0 ? id : conn);
    }
  } else if (what == 8) {
    restart(w, i);
  } else if (what == 9) {
    n->deaf = !n->deaf;
  } else if (what == 10) {
    aq_conn_close(n->ep, w->now, any_id(w, i), 1, "chaos", 5);
  } else if (what == 11) {
    aq_addr v[2] = {n->bound, util_addr("198.18.77.1:1")};
    v[1].ip[3] = (uint8_t)aq_rand_below(&w->rand, 256);
    aq_endpoint_set_local_addrs(n->ep, w->now, v, 2);
  } else if (what == 12) {
    aq_endpoint_remove_bootstrap(n->ep, w->now, &w->node[C]->bound);
  } else if (what == 13 && i != C) {
    aq_endpoint_add_bootstrap(n->ep, w->now, &n->params.bootstrap[0]);
  } else {
    use_id(w, i, any_id(w, i));
  }
  for (size_t k = 0; k < n->nevent; k++) {
    if (n->event[k].conn != 0 && aq_rand_below(&w->rand, 4) == 0) {
      keep_id(w, i, n->event[k].conn);
    }
    if (n->event[k].stream != 0 && aq_rand_below(&w->rand, 4) == 0) {
      keep_id(w, i, n->event[k].stream);
    }
  }
  world_clear(n);
}

/* After it all: does each pair see the same? */
static void assert_agree(world *w) {
  for (int i = 0; i < 3; i++) {
    for (int j = 0; j < i; j++) {
      aq_conn_info x, y;
      aq_id a = aq_endpoint_find_conn(w->node[i]->ep, &w->node[j]->id);
      aq_id b = aq_endpoint_find_conn(w->node[j]->ep, &w->node[i]->id);
      assert_int_equal(a != 0, b != 0);
      if (a != 0) {
        assert_int_equal(aq_conn_get_info(w->node[i]->ep, a, &x), 0);
        assert_int_equal(aq_conn_get_info(w->node[j]->ep, b, &y), 0);
        assert_int_equal(x.outgoing, !y.outgoing);
        assert_int_equal(x.state, AQ_STATE_CONNECTED);
      }
    }
    aq_usage u;
    aq_endpoint_get_usage(w->node[i]->ep, &u);
    assert_true(u.connections <= 2);
    assert_int_equal(u.half_open + u.sessions, 0);
  }
}

/* What happened in all worlds, so that the chaos is known to have been some. */
static uint64_t established, lost, succeeded, failed;

static void sum(const world *w) {
  for (int i = 0; i < 3; i++) {
    aq_statistics s;
    aq_endpoint_get_statistics(w->node[i]->ep, &s);
    established += s.connections_established;
    lost += s.connections_lost;
    succeeded += s.successful_connections;
    failed += s.failed_attempts;
  }
}

static void test_chaos(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    world *w = chaos_world(seed);
    memset(ids, 0, sizeof(ids));
    world_start_all(w);
    for (int step = 0; step < 400; step++) {
      one_act(w);
      world_run(w, aq_rand_below(&w->rand, 60) * AQ_MS);
    }
    for (int i = 0; i < 3; i++) {
      w->node[i]->deaf = 0;
      if (w->node[i]->ep == NULL) {
        world_node_start(w->node[i]);
      }
    }
    w->loss = 0;
    world_run(w, 40 * AQ_S);
    assert_agree(w);
    sum(w);
    /* Anybody can be reached again. */
    world_clear(w->node[A]);
    world_clear(w->node[B]);
    if (aq_endpoint_find_conn(w->node[A]->ep, &w->node[B]->id) == 0) {
      world_dial(w, A, B, 1);
      world_wait_conn(w, A);
      world_run(w, AQ_S);
    }
    aq_id c = aq_endpoint_find_conn(w->node[A]->ep, &w->node[B]->id);
    world_talk(w, A, c, B);
    world_del(w);
  }
  print_message("%d established, %d lost, %d sessions won, %d failed, "
                "%d restarts\n",
                (int)established, (int)lost, (int)succeeded, (int)failed,
                (int)restarts);
  assert_true(established > 300 && lost > 50 && succeeded > 20 && failed > 5);
}

/* The |fail_at|-th allocation of |who| fails, whenever that is. Returns 0 when
 * it didn't come to that. */
static int starve(int who, size_t fail_at) {
  world *w = chaos_world(77);
  w->loss = 0;
  world_node *n = w->node[who];
  for (int i = 0; i < 3; i++) {
    if (i != who) {
      world_node_start(w->node[i]);
    }
  }
  world_node_start(n);
  n->fail_at = n->allocs + fail_at;
  world_run(w, 2 * AQ_S);
  aq_id s, c;
  int rv = aq_session_start(w->node[A]->ep, w->now, &w->node[B]->id, NULL, 0,
                            5 * AQ_S, &s, &c);
  assert_true(rv == 0 || rv == AQ_ERR_NOMEM);
  world_run(w, 10 * AQ_S);
  int met = n->allocs >= n->fail_at;
  n->fail_at = 0;
  /* It costs what it hit, never the endpoint. */
  world_run(w, 20 * AQ_S);
  if (aq_endpoint_find_conn(w->node[A]->ep, &w->node[B]->id) == 0) {
    world_clear(w->node[A]);
    world_dial(w, A, B, 1);
    world_wait_conn(w, A);
    world_run(w, AQ_S);
  }
  world_talk(w, A, aq_endpoint_find_conn(w->node[A]->ep, &w->node[B]->id), B);
  world_del(w);
  return met;
}

static void test_memory_runs_out(void **state) {
  (void)state;
  for (int who = 0; who < 3; who++) {
    size_t at = 1;
    while (starve(who, at)) {
      at += at < 200 ? 3 : 17;
    }
    assert_true(at > 100);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_chaos),
      cmocka_unit_test(test_memory_runs_out),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
