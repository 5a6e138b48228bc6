/* test_repair.c - connections whose path is lost: NATs forget, get another
 * address, or nothing passes for a while. Whole endpoints in virtual time.
 *
 * SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "base/addr.h"
#include "quic/endpoint_int.h"

enum { C, A, B };

/* ---- a connection and a stream over it ------------------------------------
 */

static world *start(uint64_t seed, world_nat *a, world_nat *b) {
  world *w = world_new(seed);
  world_node *c = world_node_init(w, C, "198.18.0.1:9000", NULL);
  c->params.role = AQ_ROLE_BOOTSTRAP;
  c->params.can_coordinate = 1;
  c->params.enable_relay_fallback = 0;
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

/* A stream whose byte at offset i is a function of i. */
typedef struct flow {
  int from, to;
  aq_id out, in;
  uint64_t written, read, limit;
  aq_tstamp last; /* when something came */
  aq_duration gap;
} flow;

static uint8_t byte_at(uint64_t i) {
  return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static flow flow_open(world *w, int from, int to) {
  flow f = {.from = from, .to = to, .last = w->now};
  assert_int_equal(aq_stream_open(w->node[from]->ep, w->now,
                                  world_only_conn(w->node[from]), 1, 0, &f.out),
                   0);
  return f;
}

static void flow_write(world *w, flow *f, size_t len) {
  uint8_t buf[4096];
  size_t n = 0;
  for (size_t i = 0; i < len; i++) {
    buf[i] = byte_at(f->written + i);
  }
  int rv = aq_stream_write(w->node[f->from]->ep, w->now, f->out, buf, len, &n);
  assert_true(rv == 0 || rv == AQ_ERR_AGAIN);
  f->written += n;
}

static void flow_read(world *w, flow *f) {
  world_node *n = w->node[f->to];
  uint8_t buf[4096];
  size_t got = 0;
  if (f->in == 0 && aq_stream_accept(n->ep, world_only_conn(n), &f->in) != 0) {
    f->in = 0;
    return;
  }
  while (aq_stream_read(n->ep, w->now, f->in, buf, sizeof(buf), &got) == 0 &&
         got > 0) {
    for (size_t i = 0; i < got; i++) {
      assert_int_equal(buf[i], byte_at(f->read + i));
    }
    f->read += got;
    f->gap = f->gap > w->now - f->last ? f->gap : w->now - f->last;
    f->last = w->now;
  }
}

/* Runs for |d|; |every| 10 ms the flow gets |len| bytes. */
static void flow_run(world *w, flow *f, aq_duration d, size_t len) {
  aq_tstamp until = w->now + d;
  while (w->now < until) {
    if (len > 0) {
      flow_write(w, f, len);
    }
    aq_tstamp step = w->now + 10 * AQ_MS;
    while (world_turn(w, step)) {
      flow_read(w, f);
    }
    world_flush(w);
    flow_read(w, f);
  }
}

static aq_statistics stats(world *w, int n) {
  aq_statistics s;
  aq_endpoint_get_statistics(w->node[n]->ep, &s);
  return s;
}

/* What was written is there, in order, within |d|. */
static void flow_settles(world *w, flow *f, aq_duration d) {
  flow_run(w, f, d, 0);
  if (f->read != f->written) {
    world_dump(w->node[A]);
    fprintf(stderr, "--\n");
    world_dump(w->node[B]);
  }
  assert_int_equal(f->read, f->written);
  for (int i = A; i <= B; i++) {
    assert_null(world_find(w->node[i], AQ_EVENT_CONNECTION_LOST));
  }
}

static int verbose;

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

static void lives_on(uint64_t seed, world_nat *a, world_nat *b, int who,
                     int renumber, int from, size_t len) {
  world *w = start(seed, a, b);
  flow f = flow_open(w, from, from == A ? B : A);
  flow_run(w, &f, AQ_S, len);
  assert_true(f.read > 0);
  f.gap = 0;
  rebind(w, who, renumber);
  flow_run(w, &f, 4 * AQ_S, len);
  print_message("seed %d who %d renumber %d from %d len %d: gap %d ms\n",
                (int)seed, who, renumber, from, (int)len, (int)(f.gap / AQ_MS));
  flow_settles(w, &f, 5 * AQ_S);
  if (verbose) {
    world_dump(w->node[A]);
    fprintf(stderr, "--\n");
    world_dump(w->node[B]);
  }
  assert_true(stats(w, A).repairs_completed <= 2);
  assert_true(f.gap < 3 * AQ_S);
  world_del(w);
}

static void two_cones(void **state) {
  (void)state;
  for (int from = A; from <= B; from++) {
    for (int who = BOTH; who <= B; who++) {
      for (int renumber = 0; renumber < 2 && who != 0; renumber++) {
        lives_on(10, cone(A), cone(B), who, renumber, from, 500);
        lives_on(10, cone(A), cone(B), who, renumber, from, 4096);
      }
    }
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_cones),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
