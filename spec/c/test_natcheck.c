/* test_natcheck.c - the measurement of NATs against NATs that are known, in
 * virtual time, with loss, noise, and coordinators that lack what it takes.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/addr.h"
#include "base/rand.h"
#include "proto/natcheck.h"
#include "proto/observe.h"

#include <time.h>

/* ---- a NAT and coordinators behind it --------------------------------------
 */

#define FLOWS 1024
#define FLYING 256

typedef struct flow {
  uint16_t own;
  aq_addr to; /* as far as the mapping looks at it */
  aq_addr outer;
} flow;

typedef struct flight {
  aq_tstamp at;
  uint64_t cookie;
  aq_addr from, seen;
} flight;

typedef struct bench {
  aq_rand rand;
  aq_natcheck check;
  aq_tstamp now;
  aq_duration rtt;
  /* the NAT */
  aq_nat_rule mapping, filtering; /* mapping NONE: no NAT */
  aq_nat_allocation allocation;
  int step, noise; /* mappings of others between two of ours, at most */
  uint16_t block_base, block_size;
  int hairpin;      /* 0 no, 1 external source, 2 private source */
  int pool;         /* two outer addresses, by turns */
  unsigned loss;    /* per mille, each way */
  uint16_t taken;   /* own port that another host holds towards ... */
  aq_addr taken_by; /* ... this one */
  /* the rest */
  int no_sockets, one_socket, refuses, dead_port;
  uint16_t next_own, next_outer;
  unsigned turn;
  size_t nflow, nsent, nflying, nopen;
  flow flow[FLOWS];
  struct {
    uint16_t own;
    aq_addr to;
  } sent[FLOWS];
  flight flying[FLYING];
  uint16_t slot[AQ_NATCHECK_SOCKETS];
  uint64_t asked, cookie;
} bench;

static aq_addr own_addr(uint16_t port) {
  aq_addr a = util_addr("192.168.1.10:1");
  a.port = port;
  return a;
}

static aq_nat_server server(int k, int port, int addr) {
  char text[40];
  aq_nat_server s;
  memset(&s, 0, sizeof(s));
  s.id = (uint32_t)k;
  snprintf(text, sizeof(text), "203.0.%d.1:9000", k);
  s.addr = util_addr(text);
  if (port) {
    s.alternate[0] = s.addr;
    s.alternate[0].port = 9001;
  }
  if (addr) {
    s.alternate[1] = s.addr;
    s.alternate[1].ip[3] = 2;
  }
  if (addr && port) {
    s.alternate[2] = s.alternate[1];
    s.alternate[2].port = 9001;
  }
  return s;
}

static bench *bench_new(uint64_t seed) {
  bench *b = calloc(1, sizeof(*b));
  assert_non_null(b);
  aq_rand_init(&b->rand, seed);
  aq_natcheck_init(&b->check);
  b->now = 1000 * AQ_S;
  b->rtt = 20 * AQ_MS;
  b->mapping = AQ_NAT_ENDPOINT_INDEPENDENT;
  b->filtering = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT;
  b->allocation = AQ_NAT_ALLOC_RANDOM;
  b->step = 1;
  b->next_outer = 20000;
  return b;
}

static uint16_t next_port(bench *b, uint16_t own) {
  switch (b->allocation) {
  case AQ_NAT_ALLOC_PRESERVING:
    return own;
  case AQ_NAT_ALLOC_SEQUENTIAL:
    b->next_outer =
        (uint16_t)(b->next_outer +
                   b->step * (1 + (int)aq_rand_below(&b->rand,
                                                     (uint64_t)b->noise + 1)));
    return b->next_outer;
  case AQ_NAT_ALLOC_BLOCK:
    return (uint16_t)(b->block_base + aq_rand_below(&b->rand, b->block_size));
  default:
    return (uint16_t)(1024 + aq_rand_below(&b->rand, 64512));
  }
}

static aq_addr outer_of(bench *b, uint16_t own, const aq_addr *to) {
  aq_addr key = *to;
  if (b->mapping == AQ_NAT_NONE) {
    return own_addr(own);
  }
  if (b->mapping != AQ_NAT_ADDRESS_AND_PORT_DEPENDENT) {
    key.port = 0;
  }
  if (b->mapping == AQ_NAT_ENDPOINT_INDEPENDENT) {
    memset(&key, 0, sizeof(key));
  }
  int special = own == b->taken && aq_addr_equal(to, &b->taken_by);
  if (special) {
    key = *to;
  }
  for (size_t i = 0; i < b->nflow; i++) {
    if (b->flow[i].own == own && aq_addr_equal(&b->flow[i].to, &key)) {
      return b->flow[i].outer;
    }
  }
  assert_true(b->nflow < FLOWS);
  flow *f = &b->flow[b->nflow++];
  f->own = own;
  f->to = key;
  f->outer = util_addr("198.51.100.1:1");
  f->outer.ip[3] = (uint8_t)(1 + (b->pool ? b->turn++ % 2 : 0));
  f->outer.port = special ? 61234 : next_port(b, own);
  return f->outer;
}

static int lets_in(const bench *b, uint16_t own, const aq_addr *from) {
  for (size_t i = 0; i < b->nsent; i++) {
    if (b->sent[i].own == own && (b->filtering == AQ_NAT_ENDPOINT_INDEPENDENT ||
                                  (aq_addr_same_ip(&b->sent[i].to, from) &&
                                   (b->filtering == AQ_NAT_ADDRESS_DEPENDENT ||
                                    b->sent[i].to.port == from->port)))) {
      return 1;
    }
  }
  return 0;
}

static int lost(bench *b) {
  return aq_rand_below(&b->rand, 1000) < b->loss;
}

static void fly(bench *b, uint64_t cookie, const aq_addr *from,
                const aq_addr *seen) {
  assert_true(b->nflying < FLYING);
  b->flying[b->nflying++] = (flight){b->now + b->rtt, cookie, *from, *seen};
}

/* What a question does on its way there and back. */
static void ask(bench *b, const aq_nat_action *a, uint64_t cookie) {
  uint16_t own = b->slot[a->slot];
  aq_addr to = a->to, seen = outer_of(b, own, &to), from = to;
  b->sent[b->nsent].own = own;
  b->sent[b->nsent++].to = to;
  assert_true(b->nsent < FLOWS);
  if (b->filtering == AQ_NAT_NONE || lost(b) || lost(b)) {
    return;
  }
  if (a->flags & AQ_OBSERVE_OTHER_PORT) {
    from.port = 9001;
  }
  if (a->flags & AQ_OBSERVE_OTHER_ADDR) {
    from.ip[3] = 2;
  }
  if ((b->dead_port && from.port == 9001) || !lets_in(b, own, &from)) {
    return;
  }
  fly(b, cookie, &from, &seen);
}

static void hairpin(bench *b, const aq_nat_action *a, uint64_t cookie) {
  uint16_t own = b->slot[a->slot];
  aq_addr source = b->hairpin == 2 ? own_addr(own) : outer_of(b, own, &a->to);
  if (b->hairpin && !lost(b)) {
    fly(b, cookie, &source, &source);
  }
}

static void act(bench *b, const aq_nat_action *a) {
  int refused = b->no_sockets || (b->one_socket && a->slot > 0);
  aq_addr bound = util_addr("0.0.0.0:1");
  switch (a->kind) {
  case AQ_NAT_OPEN:
    b->slot[a->slot] = bound.port =
        (uint16_t)(30000 + 7 * b->next_own++ % 20000);
    b->nopen += !refused;
    aq_natcheck_opened(&b->check, a->slot, refused ? NULL : &bound);
    break;
  case AQ_NAT_CLOSE:
    b->nopen -= !refused;
    break;
  case AQ_NAT_ASK:
  case AQ_NAT_SEND:
    if (b->refuses) {
      aq_natcheck_asked(&b->check, a->question, 0);
      return;
    }
    b->asked++;
    aq_natcheck_asked(&b->check, a->question, ++b->cookie);
    (a->kind == AQ_NAT_ASK ? ask : hairpin)(b, a, b->cookie);
    break;
  }
}

static void drain(bench *b) {
  aq_nat_action a;
  int turns = 0;
  while (aq_natcheck_poll(&b->check, b->now, &a)) {
    assert_true(++turns < 1000);
    act(b, &a);
  }
}

/* Until nothing happens before |until|. */
static void run_until(bench *b, aq_tstamp until) {
  for (int turns = 0;; turns++) {
    assert_true(turns < 100000);
    drain(b);
    size_t first = b->nflying;
    for (size_t i = 0; i < b->nflying; i++) {
      if (first == b->nflying || b->flying[i].at < b->flying[first].at) {
        first = i;
      }
    }
    aq_tstamp t = aq_natcheck_next(&b->check);
    int arrives = first < b->nflying && b->flying[first].at <= t;
    t = arrives ? b->flying[first].at : t;
    if (t > until) {
      b->now = until;
      return;
    }
    b->now = t > b->now ? t : b->now;
    if (arrives) {
      flight f = b->flying[first];
      b->flying[first] = b->flying[--b->nflying];
      assert_int_equal(
          aq_natcheck_answered(&b->check, f.cookie, &f.from, &f.seen), 1);
    }
  }
}

static const aq_nat_report *measure(bench *b, const aq_nat_server *v,
                                    size_t n) {
  aq_addr local = own_addr(0);
  aq_natcheck_locals(&b->check, &local, 1);
  aq_natcheck_servers(&b->check, b->now, v, n, 1);
  run_until(b, b->now + 8 * AQ_S);
  assert_int_equal(b->nopen, 0);
  return &b->check.report;
}

/* Two coordinators with all that can be had. */
static const aq_nat_report *measure_all(bench *b) {
  aq_nat_server v[2] = {server(1, 1, 1), server(2, 1, 1)};
  return measure(b, v, 2);
}

/* ---- what it finds ---------------------------------------------------------
 */

static void check_all(bench *b) {
  const aq_nat_report *r = measure_all(b);
  assert_int_equal(r->profile.mapping, b->mapping);
  assert_int_equal(r->profile.filtering, b->filtering);
  assert_int_equal(r->profile.allocation, b->allocation);
  assert_int_equal(r->filtering_most, b->filtering);
  assert_true(r->complete);
  if (b->allocation == AQ_NAT_ALLOC_SEQUENTIAL) {
    assert_int_equal(r->profile.step, b->step);
  }
  if (b->mapping == AQ_NAT_NONE) {
    assert_int_equal(r->profile.hairpin, 0); /* there is nothing to turn at */
  } else {
    assert_int_equal(r->profile.hairpin, b->hairpin ? 2 : 1);
    assert_int_equal(r->hairpin_internal, b->hairpin == 2);
  }
  assert_int_equal(aq_natcheck_take_change(&b->check), 1);
  assert_int_equal(aq_natcheck_take_change(&b->check), 0);
}

static void every_kind(unsigned loss, int noise, uint64_t seeds) {
  static const aq_nat_allocation kinds[] = {
      AQ_NAT_ALLOC_PRESERVING, AQ_NAT_ALLOC_SEQUENTIAL, AQ_NAT_ALLOC_RANDOM,
      AQ_NAT_ALLOC_BLOCK};
  for (uint64_t seed = 0; seed < seeds; seed++) {
    for (int m = AQ_NAT_NONE; m <= AQ_NAT_ADDRESS_AND_PORT_DEPENDENT; m++) {
      for (int f = AQ_NAT_ENDPOINT_INDEPENDENT;
           f <= AQ_NAT_ADDRESS_AND_PORT_DEPENDENT; f++) {
        /* One that keeps ports is independent, whatever it was meant to be. */
        int keeps = m <= AQ_NAT_ENDPOINT_INDEPENDENT;
        for (size_t k = !keeps; k < (m == AQ_NAT_NONE ? 1 : 4); k++) {
          bench *b = bench_new(seed * 1000 + (uint64_t)(100 * m + 10 * f) + k);
          b->mapping = (aq_nat_rule)m;
          b->filtering = (aq_nat_rule)f;
          b->allocation = kinds[k];
          b->step = (int[]){1, -1, 2, 10}[seed % 4];
          b->next_outer = seed % 2 ? 50000 : 20000;
          b->block_base = 32768;
          b->block_size = 2048;
          b->hairpin = (int)(seed % 3);
          b->loss = loss;
          b->noise = noise;
          check_all(b);
          free(b);
        }
      }
    }
  }
}

static void test_every_kind(void **state) {
  (void)state;
  every_kind(0, 0, 12);
  every_kind(0, 8, 12);
}

/* Each test is repeated often enough: of hundreds of measurements with one
 * datagram in twenty lost each way, all are right. */
static void test_loss(void **state) {
  (void)state;
  every_kind(20, 2, 12);
}

static void test_how_fast(void **state) {
  (void)state;
  bench *b = bench_new(1);
  aq_tstamp start = b->now;
  const aq_nat_report *r = measure_all(b);
  assert_true(r->measured_at - start < 300 * AQ_MS + 4 * b->rtt);
  assert_in_range(b->asked, 20, 35);
  assert_int_equal(r->evidence_count, 12 + 4 + 2 + 2);
  free(b);
  /* Mapping and allocation are there long before. */
  b = bench_new(1);
  aq_nat_server v[2] = {server(1, 1, 1), server(2, 1, 1)};
  aq_natcheck_servers(&b->check, b->now, v, 2, 1);
  run_until(b, b->now + 2 * b->rtt + AQ_MS);
  assert_int_equal(aq_natcheck_take_change(&b->check), 1);
  assert_int_equal(b->check.report.profile.mapping,
                   AQ_NAT_ENDPOINT_INDEPENDENT);
  assert_int_equal(b->check.report.profile.allocation, AQ_NAT_ALLOC_RANDOM);
  assert_int_equal(b->check.report.profile.filtering, AQ_NAT_UNKNOWN);
  free(b);
}

static void test_block(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 200; seed++) {
    bench *b = bench_new(seed);
    b->allocation = AQ_NAT_ALLOC_BLOCK;
    b->block_size = (uint16_t)(512u << seed % 4);
    b->block_base = (uint16_t)(1024 + (seed * 7919) % 50000);
    const aq_nat_profile *p = &measure_all(b)->profile;
    assert_int_equal(p->allocation, AQ_NAT_ALLOC_BLOCK);
    assert_in_range(p->block_size, b->block_size / 2, 4 * b->block_size);
    /* What was seen lies in it. */
    assert_true(p->last.port >= p->block_base &&
                p->last.port - p->block_base < p->block_size);
    free(b);
  }
}

/* A second host holds our port towards one of the places: that NAT is not
 * symmetric, and a look from another port shows it. */
static void test_port_overload(void **state) {
  (void)state;
  bench *b = bench_new(1);
  b->allocation = AQ_NAT_ALLOC_PRESERVING;
  b->taken = 30000; /* the first socket's */
  b->taken_by = server(1, 1, 1).alternate[1];
  const aq_nat_report *r = measure_all(b);
  assert_true(b->nflow > AQ_NATCHECK_SOCKETS); /* it was met */
  assert_int_equal(r->profile.mapping, AQ_NAT_ENDPOINT_INDEPENDENT);
  assert_int_equal(r->profile.allocation, AQ_NAT_ALLOC_PRESERVING);
  free(b);
}

static void test_pool(void **state) {
  (void)state;
  bench *b = bench_new(1);
  b->mapping = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT;
  b->allocation = AQ_NAT_ALLOC_PRESERVING;
  b->pool = 1;
  const aq_nat_profile *p = &measure_all(b)->profile;
  assert_int_equal(p->external_count, 2);
  assert_int_equal(p->external[0].port, 0);
  assert_int_equal(p->mapping, AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
  assert_int_equal(p->allocation, AQ_NAT_ALLOC_PRESERVING);
  free(b);
}

/* ---- what it can't know -----------------------------------------------------
 */

static void test_unknown(void **state) {
  (void)state;
  /* One place to ask: nothing to compare with. */
  bench *b = bench_new(1);
  aq_nat_server one = server(1, 0, 0);
  const aq_nat_report *r = measure(b, &one, 1);
  assert_int_equal(r->profile.mapping, AQ_NAT_UNKNOWN);
  assert_int_equal(r->profile.filtering, AQ_NAT_UNKNOWN);
  assert_int_equal(r->profile.allocation, AQ_NAT_ALLOC_RANDOM);
  assert_int_equal(r->profile.hairpin, 1);
  assert_int_equal(r->complete, 0);
  /* A second coordinator comes: looked at again, and not before the pause. */
  aq_nat_server two[2] = {server(1, 1, 0), server(2, 0, 0)};
  aq_tstamp started = b->check.started;
  aq_natcheck_servers(&b->check, b->now, two, 2, 1);
  run_until(b, started + AQ_NATCHECK_PAUSE + 5 * AQ_S);
  assert_int_equal(b->check.started, started + AQ_NATCHECK_PAUSE);
  assert_int_equal(r->profile.mapping, AQ_NAT_ENDPOINT_INDEPENDENT);
  assert_int_equal(r->profile.filtering, AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
  assert_int_equal(r->complete, 1);
  free(b);
  /* It passes the other port, and nobody has another address to try. */
  for (int f = AQ_NAT_ENDPOINT_INDEPENDENT; f <= AQ_NAT_ADDRESS_DEPENDENT;
       f++) {
    b = bench_new(1);
    b->filtering = (aq_nat_rule)f;
    r = measure(b, two, 2);
    assert_int_equal(r->profile.filtering, AQ_NAT_UNKNOWN);
    assert_int_equal(r->filtering_most, AQ_NAT_ADDRESS_DEPENDENT);
    free(b);
  }
  /* A mapping that differs between two single ports is one of two kinds. */
  b = bench_new(1);
  b->mapping = AQ_NAT_ADDRESS_DEPENDENT;
  two[0] = server(1, 0, 0);
  assert_int_equal(measure(b, two, 2)->profile.mapping,
                   AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
  free(b);
}

/* The coordinator's second port is behind a firewall of its own: its silence is
 * no filter of ours. */
static void test_dead_port(void **state) {
  (void)state;
  bench *b = bench_new(1);
  b->dead_port = 1;
  aq_nat_server v[2] = {server(1, 1, 0), server(2, 0, 0)};
  const aq_nat_report *r = measure(b, v, 2);
  assert_int_equal(r->profile.mapping, AQ_NAT_ENDPOINT_INDEPENDENT);
  assert_int_equal(r->profile.filtering, AQ_NAT_UNKNOWN);
  assert_int_equal(r->filtering_most, AQ_NAT_UNKNOWN);
  free(b);
}

/* There is no fresh port to look at the mapping again, and looking for one
 * ends. */
static void test_one_socket(void **state) {
  (void)state;
  bench *b = bench_new(1);
  clock_t start = clock();
  b->one_socket = 1;
  b->mapping = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT;
  assert_int_equal(measure_all(b)->profile.mapping,
                   AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
  assert_true(clock() - start < CLOCKS_PER_SEC);
  free(b);
}

static void test_nothing_works(void **state) {
  (void)state;
  for (int kind = 0; kind < 3; kind++) {
    bench *b = bench_new(1);
    b->no_sockets = kind == 0;
    b->refuses = kind == 1;
    b->filtering = kind == 2 ? AQ_NAT_NONE : b->filtering;
    const aq_nat_report *r = measure_all(b);
    assert_int_equal(r->measured_at, 0);
    assert_int_equal(aq_natcheck_take_change(&b->check), 0);
    assert_true(b->asked <= AQ_NATCHECK_DATAGRAMS);
    /* Again after 30 s, 60 s ... and it is over when it works. */
    uint64_t before = b->asked;
    run_until(b, b->now + 600 * AQ_S);
    assert_true(b->asked - before <= 5 * 36);
    b->no_sockets = b->refuses = 0;
    b->filtering = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT;
    run_until(b, b->now + 1000 * AQ_S);
    assert_true(r->complete);
    free(b);
  }
  bench *b = bench_new(1);
  aq_natcheck_blocked(&b->check, b->now);
  assert_int_equal(b->check.report.profile.filtering, AQ_NAT_NONE);
  assert_int_equal(aq_natcheck_take_change(&b->check), 1);
  assert_true(measure_all(b)->complete); /* and then it works after all */
  assert_int_equal(b->check.report.profile.filtering,
                   AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
  free(b);
}

/* ---- when -------------------------------------------------------------------
 */

static void test_when(void **state) {
  (void)state;
  bench *b = bench_new(1);
  /* Waits a little for the others. */
  aq_nat_server v[2] = {server(1, 1, 1), server(2, 1, 1)};
  aq_natcheck_servers(&b->check, b->now, v, 1, 0);
  assert_int_equal(aq_natcheck_next(&b->check), b->now + AQ_NATCHECK_GATHER);
  b->now += 10 * AQ_MS;
  aq_natcheck_servers(&b->check, b->now, v, 2, 1);
  assert_int_equal(aq_natcheck_next(&b->check), b->now);
  run_until(b, b->now + AQ_S);
  assert_int_equal(b->check.report.complete, 1);
  uint64_t first = b->asked;
  /* Nothing more until the profile is old. */
  run_until(b, b->now + AQ_NATCHECK_REFRESH - 2 * AQ_S);
  assert_int_equal(b->asked, first);
  run_until(b, b->now + 5 * AQ_S);
  assert_true(b->asked > first);
  /* The network changes again and again: a run in ten seconds. */
  aq_natcheck_take_change(&b->check);
  b->allocation = AQ_NAT_ALLOC_PRESERVING;
  uint64_t before = b->asked;
  for (int i = 0; i < 600; i++) {
    aq_natcheck_again(&b->check, b->now);
    run_until(b, b->now + 100 * AQ_MS);
  }
  assert_true(b->asked - before <= 7 * AQ_NATCHECK_DATAGRAMS);
  run_until(b, b->now + 20 * AQ_S);
  assert_int_equal(b->check.report.profile.allocation, AQ_NAT_ALLOC_PRESERVING);
  assert_int_equal(aq_natcheck_take_change(&b->check), 1);
  /* Coordinators that go and come by turns in the middle of a run. */
  for (int i = 0; i < 100; i++) {
    aq_natcheck_servers(&b->check, b->now, &v[i % 2], (size_t)(i % 3) / 1 % 2,
                        1);
    aq_natcheck_again(&b->check, b->now);
    run_until(b, b->now + 1234 * AQ_MS);
  }
  assert_int_equal(b->check.report.profile.mapping,
                   AQ_NAT_ENDPOINT_INDEPENDENT);
  free(b);
}

/* An order of the coordinators that changes in a run confuses nothing. */
static void test_order(void **state) {
  (void)state;
  for (int at = 0; at < 120; at += 5) {
    bench *b = bench_new(3);
    aq_nat_server v[2] = {server(1, 1, 1), server(2, 1, 1)};
    aq_nat_server w[2] = {v[1], v[0]};
    aq_natcheck_servers(&b->check, b->now, v, 2, 1);
    run_until(b, b->now + (aq_duration)at * AQ_MS);
    aq_natcheck_servers(&b->check, b->now, w, 2, 1);
    run_until(b, b->now + AQ_S);
    assert_int_equal(b->check.report.profile.filtering,
                     AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
    free(b);
  }
}

/* ---- fits -------------------------------------------------------------------
 */

static aq_nat_profile fit(const uint16_t *outer, size_t n) {
  aq_natfit f = {.n = n};
  aq_nat_profile p;
  memset(&p, 0, sizeof(p));
  for (size_t i = 0; i < n; i++) {
    f.port[i].own = (uint16_t)(40000 + 13 * i);
    f.port[i].outer = outer[i];
  }
  aq_natfit_judge(&f, &p);
  return p;
}

static void test_fit(void **state) {
  (void)state;
  /* The range ends and begins again; a datagram overtakes another. */
  const uint16_t wraps[] = {22040, 22041, 22043, 22044, 22047, 20000,
                            20001, 20002, 20004, 20003, 20005, 20006};
  aq_nat_profile p = fit(wraps, 12);
  assert_int_equal(p.allocation, AQ_NAT_ALLOC_SEQUENTIAL);
  assert_int_equal(p.step, 1);
  const uint16_t down[] = {5008, 5004, 5000, 4988, 4984, 4980, 4972, 4968};
  p = fit(down, 8);
  assert_int_equal(p.allocation, AQ_NAT_ALLOC_SEQUENTIAL);
  assert_int_equal(p.step, -4);
  p = fit(wraps, AQ_NATFIT_MIN - 1);
  assert_int_equal(p.allocation, AQ_NAT_ALLOC_UNKNOWN);
  p = fit(wraps, 0);
  assert_int_equal(p.allocation, AQ_NAT_ALLOC_UNKNOWN);
  /* The whole range, and a block at its very end. */
  aq_rand r;
  aq_rand_init(&r, 5);
  for (int i = 0; i < 1000; i++) {
    uint16_t v[12];
    for (int k = 0; k < 12; k++) {
      v[k] = (uint16_t)(20000 + aq_rand_below(&r, 40000));
    }
    assert_int_equal(fit(v, 12).allocation, AQ_NAT_ALLOC_RANDOM);
    for (int k = 0; k < 12; k++) {
      v[k] = (uint16_t)(65536 - 1 - aq_rand_below(&r, 300));
    }
    p = fit(v, 12);
    assert_int_equal(p.allocation, AQ_NAT_ALLOC_BLOCK);
    assert_true((uint32_t)p.block_base + p.block_size <= 65536);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_kind),
      cmocka_unit_test(test_loss),
      cmocka_unit_test(test_how_fast),
      cmocka_unit_test(test_block),
      cmocka_unit_test(test_port_overload),
      cmocka_unit_test(test_pool),
      cmocka_unit_test(test_unknown),
      cmocka_unit_test(test_dead_port),
      cmocka_unit_test(test_one_socket),
      cmocka_unit_test(test_nothing_works),
      cmocka_unit_test(test_when),
      cmocka_unit_test(test_order),
      cmocka_unit_test(test_fit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
