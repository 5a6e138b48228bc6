/* test_disc.c - which addresses are ours.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/addr.h"
#include "proto/disc.h"

static aq_disc disc;

static void socket_add(uint32_t index, const char *bound) {
  aq_local_socket s = {.index = index, .bound = util_addr(bound)};
  aq_disc_add_socket(&disc, 0, &s);
}

static int local(int n, ...) {
  aq_addr v[64];
  va_list ap;
  va_start(ap, n);
  for (int i = 0; i < n; i++) {
    v[i] = util_addr(va_arg(ap, const char *));
  }
  va_end(ap);
  return aq_disc_set_local(&disc, 0, v, (size_t)n);
}

static int observe(aq_tstamp now, aq_id conn, const char *observer,
                   uint64_t seq, const char *addr, int trusted) {
  aq_addr o = util_addr(observer);
  aq_addr a = util_addr(addr);
  return aq_disc_observe(&disc, now, conn, &o, 0, seq, &a, trusted);
}

/* The present set, best first, as "source addr, source addr". */
static const char *set(void) {
  static char text[4096];
  char buf[AQ_ADDR_STRLEN];
  size_t n = 0;
  text[0] = '\0';
  for (size_t i = 0; i < disc.ncand; i++) {
    n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s %s",
                          i > 0 ? ", " : "",
                          aq_source_name((aq_source)disc.cand[i].source),
                          aq_addr_format(&disc.cand[i].addr, buf));
  }
  return text;
}

/* Changes since the last call, as "+addr -addr". */
static const char *changes(void) {
  static char text[4096];
  char buf[AQ_ADDR_STRLEN];
  size_t n = 0;
  aq_disc_change c;
  text[0] = '\0';
  while (aq_disc_poll_change(&disc, &c)) {
    n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%c%s",
                          n > 0 ? " " : "", c.removed ? '-' : '+',
                          aq_addr_format(&c.cand.addr, buf));
  }
  return text;
}

static void test_hosts(void **state) {
  (void)state;
  aq_disc_init(&disc, 8, 0);
  socket_add(0, "0.0.0.0:5000");
  socket_add(1, "[::]:6000");
  assert_string_equal(set(), "");
  assert_int_equal(local(9, "127.0.0.1:0", "192.168.1.5:0", "[::1]:0",
                         "[fe80::1%2]:0", "169.254.3.4:0", "8.8.8.8:0",
                         "[2606::1]:0", "100.64.0.1:0", "[fd00::1]:0"),
                   1);
  assert_string_equal(set(), "local [2606::1]:6000, local 8.8.8.8:5000, "
                             "local 192.168.1.5:5000, local [fd00::1]:6000");
  assert_string_equal(
      changes(),
      "+[2606::1]:6000 +8.8.8.8:5000 +192.168.1.5:5000 +[fd00::1]:6000");
  assert_int_equal(
      local(4, "[fd00::1]:0", "8.8.8.8:0", "[2606::1]:0", "192.168.1.5:0"), 0);
  assert_string_equal(changes(), "");
  assert_int_equal(local(2, "8.8.8.8:0", "192.168.1.6:0"), 1);
  assert_string_equal(changes(), "-[2606::1]:6000 -192.168.1.5:5000 "
                                 "-[fd00::1]:6000 +192.168.1.6:5000");
}

static void test_bound(void **state) {
  (void)state;
  /* Loopback only when that is what a socket is bound to. */
  aq_disc_init(&disc, 8, 0);
  socket_add(0, "127.0.0.1:5000");
  local(2, "127.0.0.1:0", "192.168.1.5:0");
  assert_string_equal(set(), "local 127.0.0.1:5000");
  socket_add(1, "0.0.0.0:6000");
  assert_string_equal(set(), "local 192.168.1.5:6000, local 127.0.0.1:5000");
  socket_add(0, "192.168.1.5:5001"); /* bound anew */
  assert_string_equal(set(), "local 192.168.1.5:5001, local 192.168.1.5:6000");
  socket_add(AQ_MAX_SOCKETS, "192.168.1.9:5001"); /* not a socket */
  assert_int_equal(disc.nsock, 2);
  aq_disc_init(&disc, 8, 0);
  socket_add(0, "[fe80::1%2]:5000");
  assert_string_equal(set(), "");
}

static void test_reserved(void **state) {
  (void)state;
  for (int allow = 0; allow < 2; allow++) {
    aq_disc_init(&disc, 8, allow);
    socket_add(0, "0.0.0.0:5000");
    local(1, "198.18.0.5:0");
    assert_string_equal(set(), allow ? "local 198.18.0.5:5000" : "");
    observe(1, 1, "8.8.8.8:1", 1, "100.64.1.1:7", 1);
    assert_string_equal(
        set(), allow ? "local 198.18.0.5:5000, observed 100.64.1.1:7" : "");
    assert_int_equal(disc.observed_ignored, allow ? 0 : 1);
  }
}

static void test_agreement(void **state) {
  (void)state;
  aq_disc_init(&disc, 8, 0);
  socket_add(0, "0.0.0.0:5000");
  local(1, "192.168.1.5:0");
  changes();
  /* One stranger is not believed, nor two of one IP; two of two are. */
  assert_int_equal(observe(1, 1, "9.9.9.9:1", 1, "8.8.8.8:77", 0), 0);
  assert_int_equal(observe(1, 2, "9.9.9.9:2", 1, "8.8.8.8:77", 0), 0);
  assert_int_equal(observe(1, 3, "9.9.9.8:1", 1, "8.8.8.8:78", 0), 0);
  assert_string_equal(changes(), "");
  assert_int_equal(observe(1, 4, "9.9.9.7:1", 1, "8.8.8.8:77", 0), 1);
  assert_string_equal(changes(), "+8.8.8.8:77");
  assert_int_equal(disc.base[1], 0);
  assert_int_equal(disc.cand[1].source, AQ_SOURCE_OBSERVED);
  /* A trusted one alone. */
  assert_int_equal(observe(2, 5, "9.9.9.6:1", 1, "8.8.4.4:99", 1), 1);
  assert_string_equal(changes(), "+8.8.4.4:99");
  /* An older number changes nothing, a newer one replaces. */
  assert_int_equal(observe(3, 5, "9.9.9.6:1", 1, "8.8.4.4:11", 1), 0);
  assert_int_equal(observe(3, 5, "9.9.9.6:1", 0, "8.8.4.4:12", 1), 0);
  assert_int_equal(observe(3, 5, "9.9.9.6:1", 2, "8.8.4.4:13", 1), 1);
  assert_string_equal(changes(), "-8.8.4.4:99 +8.8.4.4:13");
  /* What can't be true is not even kept. */
  uint64_t ignored = disc.observed_ignored;
  const char *const lies[] = {
      "127.0.0.1:5",       "224.0.0.1:5", "0.0.0.0:5",   "169.254.169.254:80",
      "255.255.255.255:5", "8.8.8.8:0",   "[fe80::1]:5", "[ff02::1]:5"};
  for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
    assert_int_equal(observe(4, 5, "9.9.9.6:1", 10 + i, lies[i], 1), 0);
    assert_int_equal(disc.observed_ignored, ignored + i + 1);
  }
  aq_addr a = util_addr("8.8.8.8:1");
  assert_int_equal(aq_disc_observe(&disc, 1, 9, &a, AQ_MAX_SOCKETS, 1, &a, 1),
                   0);
  assert_string_equal(changes(), "");
}

static void test_redundant(void **state) {
  (void)state;
  /* No NAT: what is observed is what the socket has. */
  aq_disc_init(&disc, 8, 0);
  socket_add(0, "0.0.0.0:5000");
  local(1, "8.8.8.8:0");
  assert_int_equal(observe(1, 1, "9.9.9.9:1", 1, "8.8.8.8:5000", 1), 0);
  assert_string_equal(set(), "local 8.8.8.8:5000");
  /* IPv4-mapped is IPv4. */
  aq_addr o = util_addr("9.9.9.9:1");
  aq_addr mapped = {.family = 6,
                    .port = 5000,
                    .ip = {[10] = 255, [11] = 255, [12] = 8, 8, 8, 8}};
  assert_int_equal(aq_disc_observe(&disc, 1, 1, &o, 0, 2, &mapped, 1), 0);
  assert_int_equal(disc.ncand, 1);
}

static void test_forget(void **state) {
  (void)state;
  aq_disc_init(&disc, 8, 0);
  socket_add(0, "0.0.0.0:5000");
  observe(1, 1, "9.9.9.1:1", 1, "8.8.8.8:1", 1);
  observe(2, 2, "9.9.9.2:1", 1, "8.8.8.8:2", 1);
  changes();
  assert_int_equal(aq_disc_forget(&disc, 3, 77), 0);
  assert_int_equal(aq_disc_forget(&disc, 3, 1), 1);
  assert_string_equal(changes(), "-8.8.8.8:1");
  /* The last one stays until another replaces it. */
  assert_int_equal(aq_disc_forget(&disc, 4, 2), 0);
  assert_string_equal(set(), "observed 8.8.8.8:2");
  assert_int_equal(observe(5, 3, "9.9.9.3:1", 1, "8.8.8.8:3", 0), 0);
  assert_string_equal(set(), "observed 8.8.8.8:2");
  assert_int_equal(observe(6, 4, "9.9.9.4:1", 1, "8.8.8.8:3", 0), 1);
  assert_string_equal(changes(), "-8.8.8.8:2 +8.8.8.8:3");
}

static void test_bound_of_set(void **state) {
  (void)state;
  /* Many interfaces don't push out what the outside sees. */
  aq_disc_init(&disc, 4, 0);
  socket_add(0, "0.0.0.0:5000");
  local(6, "10.0.0.1:0", "10.0.0.2:0", "10.0.0.3:0", "10.0.0.4:0", "10.0.0.5:0",
        "8.8.8.8:0");
  assert_string_equal(set(), "local 8.8.8.8:5000, local 10.0.0.1:5000, "
                             "local 10.0.0.2:5000, local 10.0.0.3:5000");
  observe(1, 1, "9.9.9.1:1", 1, "8.8.4.4:1", 1);
  assert_string_equal(set(), "local 8.8.8.8:5000, local 10.0.0.1:5000, "
                             "local 10.0.0.2:5000, observed 8.8.4.4:1");
  for (uint64_t i = 2; i < 6; i++) {
    char text[32];
    snprintf(text, sizeof(text), "8.8.4.4:%d", (int)i);
    observe(1, i, "9.9.9.1:1", 1, text, 1);
  }
  assert_int_equal(disc.ncand, 4);
  assert_int_equal(disc.cand[1].source, AQ_SOURCE_LOCAL);
  assert_int_equal(disc.cand[2].source, AQ_SOURCE_OBSERVED);
  assert_int_equal(disc.cand[3].source, AQ_SOURCE_OBSERVED);
  aq_disc_init(&disc, 0, 0);
  assert_int_equal(disc.max_candidates, 1);
  aq_disc_init(&disc, 9999, 0);
  assert_int_equal(disc.max_candidates, AQ_DISC_MAX_CAND);
}

static void test_full_ledger(void **state) {
  (void)state;
  aq_disc_init(&disc, 8, 0);
  socket_add(0, "0.0.0.0:5000");
  /* More strangers than slots: the trusted one is never pushed out. */
  observe(1, 1, "9.9.9.1:1", 1, "8.8.8.8:1", 1);
  for (uint64_t i = 2; i < 500; i++) {
    char text[32];
    snprintf(text, sizeof(text), "8.8.4.4:%d", (int)i);
    assert_int_equal(observe(i, i, "9.9.9.9:1", 1, text, 0), 0);
  }
  assert_string_equal(set(), "observed 8.8.8.8:1");
  /* All trusted and full: one more is counted, not kept. */
  aq_disc_init(&disc, 8, 0);
  for (uint64_t i = 0; i < AQ_DISC_MAX_OBSERVERS; i++) {
    observe(1, i + 1, "9.9.9.9:1", 1, "8.8.8.8:5", 1);
  }
  assert_int_equal(disc.observed_ignored, 0);
  assert_int_equal(observe(1, 999, "9.9.9.9:1", 1, "8.8.8.8:6", 1), 0);
  assert_int_equal(disc.observed_ignored, 1);
}

/* Nobody polls while everything changes: the queue stays bounded, and then
 * tells exactly how to get from what was known to what is. */
static void test_coalesce(void **state) {
  (void)state;
  uint64_t rnd = 1;
  static aq_candidate known[2 * AQ_DISC_MAX_CAND];
  size_t nknown = 0;
  aq_disc_init(&disc, 256, 0);
  for (uint32_t i = 0; i < AQ_MAX_SOCKETS; i++) {
    aq_local_socket s = {.index = i, .bound = util_addr("0.0.0.0:5000")};
    s.bound.port = (uint16_t)(5000 + i);
    aq_disc_add_socket(&disc, 0, &s);
  }
  for (int round = 0; round < 2000; round++) {
    aq_addr v[40];
    size_t n = (size_t)(util_random(&rnd) % 40);
    for (size_t i = 0; i < n; i++) {
      v[i] = aq_addr_v4(
          (const uint8_t[4]){10, 0, 0, (uint8_t)(util_random(&rnd) % 60)}, 0);
    }
    aq_disc_set_local(&disc, 0, v, n);
    size_t polls = (size_t)(util_random(&rnd) % 200);
    if (round % 10 == 9) {
      polls = SIZE_MAX;
    }
    aq_disc_change c;
    while (polls-- > 0 && aq_disc_poll_change(&disc, &c)) {
      size_t k = 0;
      while (k < nknown && known[k].seq != c.cand.seq) {
        k++;
      }
      assert_int_equal(k < nknown, c.removed);
      if (c.removed) {
        assert_int_equal(c.cand.state, AQ_CAND_REMOVED);
        known[k] = known[--nknown];
      } else {
        assert_true(nknown < 2 * AQ_DISC_MAX_CAND);
        known[nknown++] = c.cand;
      }
    }
    if (round % 10 == 9) {
      assert_int_equal(nknown, disc.ncand);
      for (size_t i = 0; i < disc.ncand; i++) {
        size_t k = 0;
        while (k < nknown && known[k].seq != disc.cand[i].seq) {
          k++;
        }
        assert_true(k < nknown);
        assert_true(aq_addr_equal(&known[k].addr, &disc.cand[i].addr));
        assert_true(i == 0 ||
                    disc.cand[i - 1].priority >= disc.cand[i].priority);
      }
    }
  }
}

static void test_priorities(void **state) {
  (void)state;
  assert_int_equal(aq_cand_priority(AQ_SOURCE_LOCAL, 65535),
                   126u << 24 | 65535u << 8 | 255);
  assert_int_equal(aq_cand_priority(AQ_SOURCE_OBSERVED, 0), 100u << 24 | 255);
  assert_int_equal(aq_cand_priority(AQ_SOURCE_PEER, 1 << 20),
                   110u << 24 | 65535u << 8 | 255);
  assert_true(aq_cand_priority(AQ_SOURCE_LOCAL, 0) >
              aq_cand_priority(AQ_SOURCE_PEER, 65535));
  assert_true(aq_cand_priority(AQ_SOURCE_OBSERVED, 0) >
              aq_cand_priority(AQ_SOURCE_PREDICTED, 65535));
  assert_true(aq_cand_priority(AQ_SOURCE_LOCAL, 65535) < UINT32_C(1) << 31);
  assert_true(aq_pair_priority(2, 1) ==
              (UINT64_C(1) << 32) + 2 * UINT64_C(2) + 1);
  assert_true(aq_pair_priority(1, 2) == (UINT64_C(1) << 32) + 4);
  assert_true(aq_pair_priority(0, 0) == 0);
  uint64_t top = aq_pair_priority(UINT32_MAX, UINT32_MAX);
  assert_true(top == ((uint64_t)INT32_MAX << 32) + 2 * (uint64_t)INT32_MAX);
  assert_true(top > aq_pair_priority(INT32_MAX - 1, INT32_MAX));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hosts),        cmocka_unit_test(test_bound),
      cmocka_unit_test(test_reserved),     cmocka_unit_test(test_agreement),
      cmocka_unit_test(test_redundant),    cmocka_unit_test(test_forget),
      cmocka_unit_test(test_bound_of_set), cmocka_unit_test(test_full_ledger),
      cmocka_unit_test(test_coalesce),     cmocka_unit_test(test_priorities),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
