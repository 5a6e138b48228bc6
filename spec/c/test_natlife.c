/* test_natlife.c - lifetimes of mappings, measured against NATs that have known
 * ones, in virtual time.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/addr.h"
#include "base/rand.h"
#include "proto/natlife.h"

#define FLYING 64

typedef struct bench {
  aq_rand rand;
  aq_natlife life;
  aq_tstamp now;
  aq_duration rtt, idle, absolute; /* of the NAT; AQ_NEVER: none */
  unsigned loss;                   /* per mille, each way */
  int deaf, busy;
  uint16_t next_port;
  struct {
    uint16_t outer;
    aq_tstamp made, used;
  } mapping[AQ_NATLIFE_SOCKETS];
  size_t nflying, nopen;
  struct {
    aq_tstamp at, leaves;
    uint64_t cookie;
    uint32_t slot;
    uint16_t outer;
  } flying[FLYING];
  uint64_t asked, cookie;
} bench;

static aq_nat_server server(const char *addr) {
  aq_nat_server s;
  memset(&s, 0, sizeof(s));
  s.id = 1;
  s.rtt = 20 * AQ_MS;
  s.addr = util_addr(addr);
  return s;
}

static bench *bench_new(uint64_t seed, aq_duration idle) {
  bench *b = calloc(1, sizeof(*b));
  assert_non_null(b);
  aq_rand_init(&b->rand, seed);
  aq_natlife_init(&b->life);
  b->now = 1000 * AQ_S;
  b->rtt = 20 * AQ_MS;
  b->idle = idle;
  b->absolute = AQ_NEVER;
  b->next_port = 20000;
  aq_nat_server s = server("203.0.113.1:9000");
  aq_natlife_start(&b->life, b->now, &s, 0);
  return b;
}

static int lost(bench *b) {
  return b->deaf || aq_rand_below(&b->rand, 1000) < b->loss;
}

static int is_alive(const bench *b, uint32_t i, aq_tstamp at) {
  return b->mapping[i].outer != 0 && at - b->mapping[i].used < b->idle &&
         at - b->mapping[i].made < b->absolute;
}

static void ask(bench *b, const aq_nat_action *a, uint64_t cookie) {
  uint32_t i = a->slot - AQ_NATCHECK_SOCKETS;
  if (!is_alive(b, i, b->now)) {
    b->mapping[i].outer = b->next_port++;
    b->mapping[i].made = b->now;
  }
  b->mapping[i].used = b->now;
  if (lost(b) || lost(b)) {
    return;
  }
  assert_true(b->nflying < FLYING);
  b->flying[b->nflying].cookie = cookie;
  b->flying[b->nflying].slot = i;
  b->flying[b->nflying].outer = b->mapping[i].outer;
  b->flying[b->nflying].leaves = b->now + a->delay * AQ_S;
  b->flying[b->nflying++].at = b->now + b->rtt + a->delay * AQ_S;
}

static void drain(bench *b) {
  aq_nat_action a;
  int turns = 0;
  while (aq_natlife_poll(&b->life, b->now, b->busy, &a)) {
    aq_addr bound = util_addr("0.0.0.0:40000");
    uint32_t i = a.slot - AQ_NATCHECK_SOCKETS;
    assert_true(i < AQ_NATLIFE_SOCKETS && ++turns < 100);
    if (a.kind == AQ_NAT_OPEN) {
      memset(&b->mapping[i], 0, sizeof(b->mapping[i]));
      b->nopen++;
      aq_natlife_opened(&b->life, b->now, a.slot, &bound);
    } else if (a.kind == AQ_NAT_CLOSE) {
      b->nopen--;
    } else {
      b->asked++;
      aq_natlife_asked(&b->life, a.question, ++b->cookie);
      ask(b, &a, b->cookie);
    }
  }
}

static void deliver(bench *b, size_t k) {
  uint32_t i = b->flying[k].slot;
  aq_addr from = util_addr("203.0.113.1:9000"), seen = util_addr("192.0.2.1:1");
  /* The mapping must still be there when the answer comes. */
  if (b->mapping[i].outer == b->flying[k].outer &&
      is_alive(b, i, b->flying[k].at)) {
    seen.port = b->flying[k].outer;
    aq_natlife_answered(&b->life, b->now, b->flying[k].cookie, &from, &seen);
  }
  b->flying[k] = b->flying[--b->nflying];
}

static void run(bench *b, aq_duration d) {
  aq_tstamp until = b->now + d;
  for (int turns = 0;; turns++) {
    assert_true(turns < 200000); /* it spins */
    drain(b);
    size_t k = b->nflying;
    for (size_t i = 0; i < b->nflying; i++) {
      k = k == b->nflying || b->flying[i].at < b->flying[k].at ? i : k;
    }
    aq_tstamp t = aq_natlife_next(&b->life, b->now, b->busy);
    int arrives = k < b->nflying && b->flying[k].at <= t;
    t = arrives ? b->flying[k].at : t;
    if (t > until) {
      b->now = until;
      return;
    }
    assert_true(arrives || t > b->now || turns == 0 ||
                b->life.stage != AQ_NATLIFE_IDLE);
    b->now = t > b->now ? t : b->now;
    if (arrives) {
      deliver(b, k);
    }
  }
}

/* What is found holds the truth, closely, whatever it is. */
static void test_idle(void **state) {
  (void)state;
  for (unsigned loss = 0; loss <= 30; loss += 30) {
    for (int s = 2; s < 400; s += s < 40 ? 1 : 17) {
      bench *b = bench_new((uint64_t)s + loss, (uint64_t)s * AQ_S + AQ_S / 2);
      b->loss = loss;
      run(b, 2400 * AQ_S);
      const aq_natlife *l = &b->life;
      if (s >= AQ_NATLIFE_MOST) {
        assert_int_equal(l->alive, AQ_NATLIFE_MOST);
        assert_int_equal(l->gone, 0);
      } else {
        assert_true(l->alive <= s && l->gone > s);
        assert_true(l->gone - l->alive <= 2 || l->gone - l->alive <= s / 7);
      }
      assert_int_equal(l->absolute, 0);
      assert_true(b->asked < 1000);
      assert_int_equal(b->nopen, 0);
      free(b);
    }
  }
}

static void test_keep_alive(void **state) {
  (void)state;
  assert_int_equal(aq_natlife_keep_alive(0, 0), 15 * AQ_S);
  assert_int_equal(aq_natlife_keep_alive(10, 0), 15 * AQ_S);
  assert_int_equal(aq_natlife_keep_alive(20, 0), 15 * AQ_S);
  assert_int_equal(aq_natlife_keep_alive(40, 0), 20 * AQ_S);
  assert_int_equal(aq_natlife_keep_alive(180, 0), 25 * AQ_S);
  assert_int_equal(aq_natlife_keep_alive(20, 30), 10 * AQ_S);
  assert_int_equal(aq_natlife_keep_alive(8, 10), 5 * AQ_S);
  assert_int_equal(aq_natlife_keep_alive(0, 2), 5 * AQ_S);
}

static void test_absolute(void **state) {
  (void)state;
  for (unsigned s = 50; s <= 500; s += 75) {
    bench *b = bench_new(s, 45 * AQ_S);
    b->absolute = s * AQ_S;
    run(b, 1500 * AQ_S);
    assert_true(b->life.absolute >= s && b->life.absolute <= s + 26);
    int found = 0;
    for (size_t i = 0; i < b->life.nevidence; i++) {
      found += b->life.evidence[i].test == AQ_NAT_TEST_ABSOLUTE;
    }
    assert_int_equal(found, 1);
    free(b);
  }
  /* A NAT that forgets everything at once has no such lifetime. */
  bench *b = bench_new(9, 200 * AQ_S);
  run(b, 200 * AQ_S);
  for (size_t i = 0; i < AQ_NATLIFE_SOCKETS; i++) {
    b->mapping[i].outer = 0;
  }
  run(b, 1500 * AQ_S);
  assert_int_equal(b->life.absolute, 0);
  free(b);
}

/* Silence of the path is no death of a mapping; and nobody hammers. */
static void test_dead_path(void **state) {
  (void)state;
  bench *b = bench_new(1, 60 * AQ_S + AQ_S / 2);
  b->deaf = 1;
  run(b, 3600 * AQ_S);
  assert_int_equal(b->life.alive, 0);
  assert_int_equal(b->life.gone, 0);
  assert_true(b->asked <= 3 * 3 * 3);
  b->deaf = 0;
  run(b, 3 * 3600 * AQ_S);
  assert_true(b->life.alive >= 50 && b->life.gone > 60);
  free(b);
  /* The path goes while an answer is held back. */
  b = bench_new(1, 60 * AQ_S + AQ_S / 2);
  run(b, 20 * AQ_S);
  b->deaf = 1;
  b->nflying = 0;
  run(b, 60 * AQ_S);
  b->deaf = 0;
  assert_int_equal(b->life.gone, 0);
  run(b, 1500 * AQ_S);
  assert_true(b->life.alive <= 60 && b->life.gone > 60);
  free(b);
}

static void test_life(void **state) {
  (void)state;
  bench *b = bench_new(1, 60 * AQ_S + AQ_S / 2);
  /* Nothing begins while a connection is being made. */
  b->busy = 1;
  run(b, 100 * AQ_S);
  assert_int_equal(b->asked, 0);
  b->busy = 0;
  run(b, 1500 * AQ_S);
  assert_true(b->life.alive >= 50);
  assert_int_equal(aq_natlife_take_change(&b->life), 1);
  assert_int_equal(aq_natlife_take_change(&b->life), 0);
  /* Measured again in its time; what was known stands until then. */
  b->idle = 20 * AQ_S + AQ_S / 2;
  uint64_t asked = b->asked;
  run(b, 5000 * AQ_S);
  assert_int_equal(b->asked, asked);
  run(b, 3000 * AQ_S);
  assert_true(b->life.alive <= 20 && b->life.gone > 20);
  assert_int_equal(aq_natlife_take_change(&b->life), 1);
  /* The coordinator goes in the middle; another network. */
  aq_nat_server other = server("203.0.113.2:9000");
  aq_natlife_start(&b->life, b->now, NULL, 1);
  run(b, 100 * AQ_S);
  assert_int_equal(b->life.alive, 0);
  assert_int_equal(b->nopen, 0);
  aq_natlife_start(&b->life, b->now, &other, 0);
  run(b, 30 * AQ_S);
  aq_natlife_start(&b->life, b->now, NULL, 0);
  run(b, AQ_S);
  assert_int_equal(b->nopen, 0);
  aq_natlife_start(&b->life, b->now, &other, 0);
  run(b, 1500 * AQ_S);
  assert_true(b->life.alive <= 20 && b->life.gone > 20);
  free(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_idle),     cmocka_unit_test(test_keep_alive),
      cmocka_unit_test(test_absolute), cmocka_unit_test(test_dead_path),
      cmocka_unit_test(test_life),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
