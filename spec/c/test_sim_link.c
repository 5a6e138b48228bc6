/* The simulator's links: what each parameter does, by numbers.
 *
 * SPDX-License-Identifier: MIT */
#include "base/addr.h"
#include "support/sim_net.h"

#define COUNT 20000

typedef struct lab {
  aq_sim *s;
  aq_sim_node host[2];
  uint32_t udp[2];
  aq_addr at[2];
} lab;

static void lab_init(lab *l, uint64_t seed, const aq_sim_link *down) {
  sim_ok(aq_sim_new(&l->s, seed, NULL));
  for (int i = 0; i < 2; i++) {
    sim_ok(aq_sim_add_host(l->s, AQ_SIM_INTERNET, NULL, &l->host[i]));
    l->udp[i] = sim_udp(l->s, l->host[i], "0.0.0.0:1000");
    l->at[i] = sim_addr(l->s, l->host[i], l->udp[i]);
  }
  sim_ok(aq_sim_set_link(l->s, l->host[1], AQ_SIM_DOWN, down));
}

static void post(lab *l, uint32_t number, size_t len, uint8_t ttl) {
  uint8_t buf[AQ_SIM_UDP_MAX] = {0};
  memcpy(buf, &number, sizeof(number));
  sim_ok(aq_sim_udp_send(l->s, l->udp[0], &l->at[1], ttl, buf, len));
}

/* The next number that arrives before |until|, -1: none. */
static int64_t receive(lab *l, aq_tstamp until) {
  uint8_t buf[AQ_SIM_UDP_MAX];
  aq_addr from;
  size_t len;
  uint32_t number;
  assert_true(aq_sim_step(l->s, until) >= 0);
  if (aq_sim_udp_receive(l->s, l->udp[1], &from, buf, &len) != 0) {
    return -1;
  }
  memcpy(&number, buf, sizeof(number));
  return number;
}

typedef struct flow {
  uint32_t arrived, copies, late; /* late: after one with a higher number */
  uint32_t runs;                  /* runs of losses */
  uint8_t seen[COUNT];
  aq_duration least, most;
} flow;

/* One datagram of 100 bytes each |gap|. */
static void measure(lab *l, aq_duration gap, flow *f) {
  aq_tstamp start = aq_sim_now(l->s);
  int64_t highest = -1, n;
  memset(f, 0, sizeof(*f));
  f->least = AQ_NEVER;
  for (uint32_t i = 0; i < COUNT; i++) {
    aq_tstamp next =
        i + 1 < COUNT ? start + (i + 1) * gap : start + 3600 * AQ_S;
    post(l, i, 100, 0);
    while ((n = receive(l, next)) >= 0) {
      aq_duration took = aq_sim_now(l->s) - (start + (uint64_t)n * gap);
      f->least = took < f->least ? took : f->least;
      f->most = took > f->most ? took : f->most;
      f->copies += f->seen[n];
      f->arrived += !f->seen[n];
      f->seen[n] = 1;
      f->late += n < highest;
      highest = n > highest ? n : highest;
    }
  }
  for (uint32_t i = 0; i < COUNT; i++) {
    f->runs += !f->seen[i] && (i == 0 || f->seen[i - 1]);
  }
}

static flow f;

static void a_perfect_link_takes_no_time(void **state) {
  aq_sim_link p = {0};
  lab l;
  (void)state;
  lab_init(&l, 1, &p);
  measure(&l, AQ_MS, &f);
  assert_int_equal(f.arrived, COUNT);
  assert_int_equal(f.most, 0);
  assert_int_equal(f.late + f.copies, 0);
  aq_sim_del(l.s);
}

static void delay_and_jitter(void **state) {
  aq_sim_link p = {.delay = 20 * AQ_MS, .jitter = 10 * AQ_MS};
  lab l;
  (void)state;
  lab_init(&l, 2, &p);
  measure(&l, 20 * AQ_MS, &f);
  assert_int_equal(f.arrived, COUNT);
  assert_in_range(f.least, 20 * AQ_MS, 20 * AQ_MS + 100 * AQ_US);
  assert_in_range(f.most, 30 * AQ_MS - 100 * AQ_US, 30 * AQ_MS);
  aq_sim_del(l.s);
  lab_init(&l, 2, &p);
  measure(&l, AQ_MS, &f); /* jitter alone keeps the order */
  assert_int_equal(f.late, 0);
  assert_in_range(f.most, 20 * AQ_MS, 30 * AQ_MS);
  aq_sim_del(l.s);
}

static void loss_alone_and_in_runs(void **state) {
  static const struct {
    double loss, burst;
    double wide; /* four deviations of the share in so many datagrams */
    double run; /* mean length of a run: of independent losses 1 / (1 - loss) */
  } rows[] = {
      {0.01, 0, 0.003, 1.01}, {0.25, 1, 0.0125, 1.33}, {0.05, 4, 0.017, 4},
      {0.25, 10, 0.054, 10},  {1, 0, 0, COUNT},
  };
  (void)state;
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    aq_sim_link p = {.loss = rows[i].loss, .burst = rows[i].burst};
    lab l;
    lab_init(&l, 3 + i, &p);
    measure(&l, AQ_MS, &f);
    double lost = 1 - (double)f.arrived / COUNT;
    double run = lost * COUNT / f.runs;
    assert_true(lost >= rows[i].loss - rows[i].wide);
    assert_true(lost <= rows[i].loss + rows[i].wide);
    assert_true(run > 0.85 * rows[i].run && run < 1.15 * rows[i].run);
    aq_sim_del(l.s);
  }
}

static void copies_and_disorder(void **state) {
  aq_sim_link p = {.delay = 5 * AQ_MS, .dup = 0.1};
  lab l;
  (void)state;
  lab_init(&l, 9, &p);
  measure(&l, AQ_MS, &f);
  assert_int_equal(f.arrived, COUNT);
  assert_in_range(f.copies, COUNT / 10 - 250, COUNT / 10 + 250);
  aq_sim_del(l.s);
  p.dup = 0;
  p.reorder = 0.2;
  lab_init(&l, 9, &p);
  measure(&l, 20 * AQ_MS, &f); /* held back for 10 ms: nobody overtakes */
  assert_int_equal(f.late, 0);
  assert_int_equal(f.most, 15 * AQ_MS);
  aq_sim_del(l.s);
  lab_init(&l, 9, &p);
  measure(&l, 2 * AQ_MS, &f);
  assert_int_equal(f.arrived, COUNT);
  assert_in_range(f.late, COUNT / 5 - 350, COUNT / 5 + 350);
  aq_sim_del(l.s);
}

static void a_rate_and_its_queue(void **state) {
  /* 128 bytes on the wire each; the queue has room for ten. */
  aq_sim_link p = {.rate = 128000, .queue = 1280};
  lab l;
  (void)state;
  lab_init(&l, 1, &p);
  measure(&l, 2 * AQ_MS, &f);
  assert_int_equal(f.arrived, COUNT);
  assert_int_equal(f.least, AQ_MS);
  assert_int_equal(f.most, AQ_MS);
  aq_sim_del(l.s);
  lab_init(&l, 1, &p); /* twice what it can */
  measure(&l, AQ_MS / 2, &f);
  assert_in_range(f.arrived, COUNT / 2, COUNT / 2 + 15);
  assert_in_range(f.most, 9 * AQ_MS, 10 * AQ_MS);
  aq_sim_counters c;
  sim_ok(aq_sim_get_counters(l.s, AQ_SIM_INTERNET, &c));
  assert_int_equal(c.fate[AQ_SIM_FATE_QUEUE], COUNT - f.arrived);
  aq_sim_del(l.s);
}

static int arrives(lab *l, size_t len, uint8_t ttl) {
  post(l, 1, len, ttl);
  return receive(l, aq_sim_now(l->s) + AQ_S) >= 0;
}

static void mtu_hops_and_black_holes(void **state) {
  aq_sim_link p = {0};
  lab l;
  aq_sim_counters c;
  (void)state;
  lab_init(&l, 1, &p);
  assert_true(arrives(&l, 1472, 0)); /* 1500 with its headers */
  p.mtu = 1400;
  sim_ok(aq_sim_set_link(l.s, l.host[1], AQ_SIM_DOWN, &p));
  assert_false(arrives(&l, 1373, 0));
  assert_true(arrives(&l, 1372, 0));
  /* The internet is one router, then four more. */
  p.hops = 4;
  sim_ok(aq_sim_set_link(l.s, l.host[1], AQ_SIM_DOWN, &p));
  assert_false(arrives(&l, 100, 5));
  assert_true(arrives(&l, 100, 6));
  sim_ok(aq_sim_black_hole(l.s, l.host[1], 1));
  assert_false(arrives(&l, 100, 0));
  sim_ok(aq_sim_black_hole(l.s, l.host[1], 0));
  assert_true(arrives(&l, 100, 0));
  sim_ok(aq_sim_get_counters(l.s, AQ_SIM_INTERNET, &c));
  assert_int_equal(c.fate[AQ_SIM_FATE_MTU], 1);
  assert_int_equal(c.fate[AQ_SIM_FATE_TTL], 1);
  assert_int_equal(c.fate[AQ_SIM_FATE_DOWN], 1);
  aq_sim_del(l.s);
}

static void directions_are_set_alone(void **state) {
  aq_sim_link up = {.delay = 30 * AQ_MS}, down = {.delay = 50 * AQ_MS}, got;
  aq_sim_link bad = {.loss = 1.5};
  lab l;
  (void)state;
  lab_init(&l, 1, &down);
  sim_ok(aq_sim_set_link(l.s, l.host[0], AQ_SIM_UP, &up));
  post(&l, 0, 100, 0);
  assert_int_equal(receive(&l, AQ_NEVER), 0);
  assert_int_equal(aq_sim_now(l.s), AQ_S + 80 * AQ_MS);
  sim_ok(aq_sim_get_link(l.s, l.host[0], AQ_SIM_UP, &got));
  assert_int_equal(got.delay, 30 * AQ_MS);
  sim_ok(aq_sim_get_link(l.s, l.host[0], AQ_SIM_DOWN, &got));
  assert_int_equal(got.delay, 0);
  assert_int_equal(aq_sim_set_link(l.s, l.host[0], AQ_SIM_UP, &bad),
                   AQ_ERR_INVAL);
  assert_int_equal(aq_sim_set_link(l.s, AQ_SIM_INTERNET, AQ_SIM_UP, &up),
                   AQ_ERR_INVAL);
  assert_int_equal(aq_sim_get_link(l.s, 99, AQ_SIM_UP, &got), AQ_ERR_INVAL);
  aq_sim_del(l.s);
}

static void bare_sockets_have_bounds(void **state) {
  aq_sim_link p = {0};
  lab l;
  aq_sim_counters c;
  aq_addr from, nowhere = util_addr("9.9.9.9:9"),
                six = util_addr("[2600::1]:9");
  uint8_t buf[2000];
  size_t len;
  (void)state;
  memset(buf, 0, sizeof(buf));
  lab_init(&l, 1, &p);
  for (uint32_t i = 0; i < AQ_SIM_UDP_QUEUE + 5; i++) {
    post(&l, i, 4, 0);
  }
  assert_int_equal(aq_sim_step(l.s, 2 * AQ_S), 1);
  assert_int_equal(aq_sim_step(l.s, 2 * AQ_S), 1); /* still there */
  for (uint32_t i = 0; i < AQ_SIM_UDP_QUEUE; i++) {
    assert_int_equal(receive(&l, 2 * AQ_S), i);
  }
  assert_int_equal(receive(&l, 2 * AQ_S), -1);
  sim_ok(aq_sim_get_counters(l.s, l.host[1], &c));
  assert_int_equal(c.fate[AQ_SIM_FATE_OVERFLOW], 5);
  assert_int_equal(aq_sim_udp_send(l.s, l.udp[0], &l.at[1], 0, buf, 1473),
                   AQ_ERR_TOO_LARGE);
  assert_int_equal(aq_sim_udp_send(l.s, l.udp[0], &six, 0, buf, 1),
                   AQ_ERR_ADDRESS);
  sim_ok(aq_sim_udp_send(l.s, l.udp[0], &nowhere, 0, buf, 1));
  l.at[1].port++;
  sim_ok(aq_sim_udp_send(l.s, l.udp[0], &l.at[1], 0, buf, 1));
  aq_sim_step(l.s, 3 * AQ_S);
  sim_ok(aq_sim_get_counters(l.s, AQ_SIM_INTERNET, &c));
  assert_int_equal(c.fate[AQ_SIM_FATE_NO_ROUTE], 1);
  sim_ok(aq_sim_get_counters(l.s, l.host[1], &c));
  assert_int_equal(c.fate[AQ_SIM_FATE_NO_SOCKET], 1);
  aq_addr taken = util_addr("0.0.0.0:1000"), other = util_addr("1.2.3.4:0");
  uint32_t id;
  assert_int_equal(aq_sim_udp_open(l.s, l.host[0], &taken, &id),
                   AQ_ERR_ADDRESS);
  assert_int_equal(aq_sim_udp_open(l.s, l.host[0], &other, &id),
                   AQ_ERR_ADDRESS);
  assert_int_equal(aq_sim_udp_open(l.s, AQ_SIM_INTERNET, &taken, &id),
                   AQ_ERR_INVAL);
  sim_ok(aq_sim_udp_close(l.s, l.udp[0]));
  assert_int_equal(aq_sim_udp_close(l.s, l.udp[0]), AQ_ERR_INVAL);
  sim_ok(aq_sim_udp_open(l.s, l.host[0], &taken, &id));
  assert_int_equal(aq_sim_udp_receive(l.s, id, &from, buf, &len), AQ_ERR_AGAIN);
  aq_sim_del(l.s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_perfect_link_takes_no_time),
      cmocka_unit_test(delay_and_jitter),
      cmocka_unit_test(loss_alone_and_in_runs),
      cmocka_unit_test(copies_and_disorder),
      cmocka_unit_test(a_rate_and_its_queue),
      cmocka_unit_test(mtu_hops_and_black_holes),
      cmocka_unit_test(directions_are_set_alone),
      cmocka_unit_test(bare_sockets_have_bounds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
