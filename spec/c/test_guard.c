/* test_guard.c - forbidden targets and punch budgets.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/addr.h"
#include "proto/guard.h"

static aq_guard guard;

static void fresh(uint64_t salt) {
  memset(&guard, 0, sizeof(guard));
  aq_guard_init(&guard, salt);
}
static const aq_peer_id asker = {.bytes = {1}};

static aq_guard_request request(const aq_addr *target) {
  return (aq_guard_request){
      .target = target, .session_key = 1, .peer = &asker, .len = 40};
}

/* What a row's flags turn on, one at a time. */
enum { NAT = 1, PRIV = 2, LOOP = 4, RES = 8, SEEN = 16, NONE = 0 };

/* |allows| are the flags of which each, alone, makes the target allowed;
 * ALWAYS: allowed without any. */
enum { ALWAYS = 32 };

static const struct {
  const char *text;
  int allows;
} targets[] = {
    {"8.8.8.8:4433", ALWAYS},
    {"1.1.1.1:65535", ALWAYS},
    {"[2606:4700::1]:4433", ALWAYS},
    {"8.8.8.8:1024", ALWAYS},
    {"8.8.8.8:0", NONE},
    {"8.8.8.8:1023", SEEN},
    {"8.8.8.8:53", SEEN},
    {"8.8.8.8:123", SEEN},
    {"8.8.8.8:443", SEEN},
    {"8.8.8.8:1900", SEEN},
    {"8.8.8.8:3702", SEEN},
    {"8.8.8.8:5353", SEEN},
    {"8.8.8.8:5355", SEEN},
    {"8.8.8.8:11211", SEEN},
    {"0.0.0.0:4433", NONE},
    {"0.1.2.3:4433", NONE},
    {"10.0.0.1:4433", NAT | PRIV},
    {"172.16.5.5:4433", NAT | PRIV},
    {"172.31.255.255:4433", NAT | PRIV},
    {"172.32.0.1:4433", ALWAYS},
    {"192.168.1.1:4433", NAT | PRIV},
    {"192.168.1.1:53", NONE},
    {"100.64.0.1:4433", NAT | PRIV | RES},
    {"100.127.255.1:4433", NAT | PRIV | RES},
    {"127.0.0.1:4433", LOOP},
    {"127.1.2.3:4433", LOOP},
    {"127.0.0.1:22", NONE},
    {"169.254.169.254:4433", NONE},
    {"169.254.1.1:80", NONE},
    {"192.0.0.10:4433", NONE},
    {"192.0.2.1:4433", RES},
    {"198.51.100.1:4433", RES},
    {"203.0.113.1:4433", RES},
    {"198.18.0.1:4433", RES},
    {"198.19.255.1:4433", RES},
    {"198.20.0.1:4433", ALWAYS},
    {"192.88.99.1:4433", NONE},
    {"224.0.0.1:4433", NONE},
    {"224.0.0.251:5353", NONE},
    {"239.255.255.250:1900", NONE},
    {"240.0.0.1:4433", NONE},
    {"255.255.255.255:4433", NONE},
    {"[::]:4433", NONE},
    {"[::1]:4433", LOOP},
    {"[::2]:4433", NONE},
    {"[::127.0.0.1]:4433", NONE},
    {"[::ffff:127.0.0.1]:4433", LOOP},
    {"[::ffff:10.0.0.1]:4433", NAT | PRIV},
    {"[::ffff:169.254.169.254]:4433", NONE},
    {"[::ffff:224.0.0.1]:4433", NONE},
    {"[::ffff:8.8.8.8]:4433", ALWAYS},
    {"[64:ff9b::7f00:1]:4433", NONE},
    {"[64:ff9b::808:808]:4433", NONE},
    {"[2002:7f00:1::1]:4433", NONE},
    {"[2002:a9fe:a9fe::1]:4433", NONE},
    {"[2001::1]:4433", NONE},
    {"[2001:db8::1]:4433", RES},
    {"[3fff::1]:4433", RES},
    {"[2001:2::1]:4433", RES},
    {"[100::1]:4433", NONE},
    {"[fc00::1]:4433", NAT | PRIV},
    {"[fd12:3456::1]:4433", NAT | PRIV},
    {"[fe80::1]:4433", NONE},
    {"[fe80::1%2]:4433", NONE},
    {"[ff02::1]:4433", NONE},
    {"[ff0e::1]:4433", NONE},
};

static void test_targets(void **state) {
  (void)state;
  size_t n = sizeof(targets) / sizeof(targets[0]);
  assert_true(n >= 60);
  for (size_t i = 0; i < n; i++) {
    aq_addr a = util_addr(targets[i].text);
    for (int flag = 0; flag <= SEEN; flag = flag == 0 ? 1 : flag * 2) {
      aq_guard_request r = request(&a);
      r.same_nat = flag == NAT;
      r.allow_private = flag == PRIV;
      r.allow_loopback = flag == LOOP;
      r.allow_reserved = flag == RES;
      r.verified = flag == SEEN;
      int want = targets[i].allows == ALWAYS || (targets[i].allows & flag);
      if ((aq_guard_classify(&r) == AQ_GUARD_OK) != want) {
        fail_msg("%s with flag %d: want %d", targets[i].text, flag, want);
      }
      fresh(i);
      assert_int_equal(aq_guard_take(&guard, AQ_S, &r) == AQ_GUARD_OK, want);
    }
  }
  /* Not normalized by anybody before. */
  aq_addr mapped = {.family = 6,
                    .port = 4433,
                    .ip = {[10] = 255, [11] = 255, [12] = 127, [15] = 1}};
  aq_guard_request r = request(&mapped);
  assert_int_equal(aq_guard_classify(&r), AQ_GUARD_FORBIDDEN);
  aq_addr none = {.port = 4433};
  r.target = &none;
  r.verified = r.allow_loopback = r.allow_private = r.allow_reserved = 1;
  assert_int_equal(aq_guard_classify(&r), AQ_GUARD_FORBIDDEN);
}

/* Whatever is asked, when, and on whose behalf: in no 10 s does a claimed
 * address get more than nine datagrams and 600 bytes. */
static void test_victim(void **state) {
  (void)state;
  uint64_t rnd = 11;
  for (int trial = 0; trial < 20; trial++) {
    fresh(util_random(&rnd));
    enum { MAX = 4096 };
    static aq_tstamp at[MAX];
    static size_t bytes[MAX];
    size_t sent = 0;
    aq_tstamp now = 12345 * AQ_S;
    for (int i = 0; i < 10000; i++) {
      aq_addr a = util_addr("8.8.8.8:4433");
      a.port = (uint16_t)(2000 + util_random(&rnd) % 3000);
      if (util_random(&rnd) % 4 == 0) {
        a.ip[3] = (uint8_t)util_random(&rnd); /* somebody else */
      }
      aq_peer_id peer = {.bytes = {(uint8_t)util_random(&rnd)}};
      aq_guard_request r = request(&a);
      r.session_key = (uint32_t)util_random(&rnd) % 50;
      r.peer = &peer;
      r.len = 20 + util_random(&rnd) % 80;
      if (aq_guard_take(&guard, now, &r) == AQ_GUARD_OK && a.ip[3] == 8) {
        assert_true(sent < MAX);
        at[sent] = now;
        bytes[sent++] = r.len;
      }
      now += util_random(&rnd) % (20 * AQ_MS);
    }
    assert_true(sent >= 9);
    for (size_t i = 0; i < sent; i++) {
      size_t count = 0;
      size_t sum = 0;
      for (size_t k = i; k < sent && at[k] < at[i] + 10 * AQ_S; k++) {
        count++;
        sum += bytes[k];
      }
      assert_true(count <= 9 && sum <= 600);
    }
  }
}

static void test_target_figures(void **state) {
  (void)state;
  aq_addr a = util_addr("8.8.8.8:4433");
  aq_guard_request r = request(&a);
  fresh(1);
  for (int i = 0; i < 9; i++) {
    assert_int_equal(aq_guard_take(&guard, AQ_S, &r), AQ_GUARD_OK);
  }
  assert_int_equal(aq_guard_take(&guard, AQ_S, &r), AQ_GUARD_TARGET);
  assert_int_equal(aq_guard_take(&guard, 11 * AQ_S - 1, &r), AQ_GUARD_TARGET);
  assert_int_equal(aq_guard_take(&guard, 11 * AQ_S, &r), AQ_GUARD_OK);

  fresh(1);
  r.len = 200;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(aq_guard_take(&guard, AQ_S, &r), AQ_GUARD_OK);
  }
  assert_int_equal(aq_guard_take(&guard, AQ_S, &r), AQ_GUARD_TARGET);
  r.len = 1200; /* an Initial */
  fresh(1);
  assert_int_equal(aq_guard_take(&guard, AQ_S, &r), AQ_GUARD_TARGET);

  /* A claimed address counts with all its ports, a verified one by port. */
  for (int verified = 0; verified < 2; verified++) {
    fresh(1);
    r.len = 40;
    r.verified = (uint8_t)verified;
    int ok = 0;
    for (uint16_t port = 0; port < 30; port++) {
      a.port = (uint16_t)(4000 + port);
      ok += aq_guard_take(&guard, AQ_S, &r) == AQ_GUARD_OK;
    }
    assert_int_equal(ok, verified ? 30 : 9);
  }
}

/* Eight candidates, an opener and six rounds 20 ms apart, three attempts far
 * enough from each other: a normal session is never in the way of a limit. */
static void test_normal_session(void **state) {
  (void)state;
  const char *const nets[][8] = {
      {"8.8.8.1:5000", "8.8.8.2:5000", "8.8.8.3:5000", "8.8.8.4:5000",
       "8.8.8.5:5000", "8.8.8.6:5000", "8.8.8.7:5000", "8.8.8.8:5000"},
      {"8.8.8.1:5000", "8.1.8.2:5000", "1.8.8.3:5000", "2.8.8.4:5000",
       "[2606::1]:5000", "[2607::1]:5000", "[2608::1]:5000", "9.9.9.9:5000"},
  };
  int shared = 0;
  for (uint64_t salt = 0; salt < 200; salt++) {
    int refused = 0;
    fresh(salt);
    for (int attempt = 0; attempt < 3; attempt++) {
      for (int round = 0; round < 7; round++) {
        for (int c = 0; c < 8; c++) {
          aq_addr a = util_addr(nets[salt % 2][c]);
          aq_guard_request r = request(&a);
          aq_tstamp now = (aq_tstamp)attempt * 12 * AQ_S +
                          (aq_tstamp)round * 20 * AQ_MS + AQ_S;
          aq_guard_verdict v = aq_guard_take(&guard, now, &r);
          assert_true(v == AQ_GUARD_OK || v == AQ_GUARD_TARGET);
          refused += v != AQ_GUARD_OK;
        }
      }
    }
    shared += refused > 0;
  }
  /* Two of eight targets share one of 1024 slots in 2.7 % of the salts. */
  assert_true(shared <= 14);
}

static int take_many(aq_tstamp now, int n, aq_guard_verdict *last, int spread,
                     int peers, int sessions) {
  int ok = 0;
  static uint32_t serial;
  for (int i = 0; i < n; i++) {
    serial++;
    aq_addr a = aq_addr_v4(
        (const uint8_t[4]){8, (uint8_t)(spread ? serial >> 8 : 1),
                           (uint8_t)(spread ? serial : 1), (uint8_t)serial},
        4433);
    aq_peer_id peer = {.bytes = {(uint8_t)(peers ? serial : 0),
                                 (uint8_t)(peers ? serial >> 8 : 0)}};
    aq_guard_request r = request(&a);
    r.peer = &peer;
    r.session_key = sessions ? serial : 0;
    *last = aq_guard_take(&guard, now, &r);
    ok += *last == AQ_GUARD_OK;
  }
  return ok;
}

static void test_other_figures(void **state) {
  (void)state;
  aq_guard_verdict v;
  fresh(3);
  assert_int_equal(take_many(AQ_S, 65, &v, 0, 1, 1), 64);
  assert_int_equal(v, AQ_GUARD_PREFIX);
  int ok = take_many(2 * AQ_S, 64, &v, 0, 1, 1);
  assert_int_equal(ok, 32);
  assert_int_equal(v, AQ_GUARD_PREFIX);

  fresh(3);
  assert_int_equal(take_many(AQ_S, 201, &v, 1, 0, 1), 200);
  assert_int_equal(v, AQ_GUARD_PEER);
  assert_int_equal(take_many(2 * AQ_S, 300, &v, 1, 0, 1), 100);

  fresh(3);
  assert_int_equal(take_many(AQ_S, 201, &v, 1, 1, 0), 200);
  assert_int_equal(v, AQ_GUARD_SESSION);
  assert_int_equal(take_many(60 * AQ_S, 10, &v, 1, 1, 0), 0);

  fresh(3);
  assert_int_equal(take_many(AQ_S, 600, &v, 1, 1, 1), 400);
  assert_int_equal(v, AQ_GUARD_ENDPOINT);
  ok = take_many(2 * AQ_S, 600, &v, 1, 1, 1);
  assert_int_equal(ok, 200);

  /* 10 000 requests naming 1000 victims in 10 s: the endpoint's rate holds. */
  fresh(4);
  ok = 0;
  for (int i = 0; i < 100; i++) {
    ok += take_many(AQ_S + (aq_tstamp)i * 100 * AQ_MS, 100, &v, 1, 1, 1);
  }
  assert_true(ok <= 400 + 10 * 200);
  assert_true(ok >= 1900);
}

/* What is refused by one limit is not paid for in another. */
static void test_all_or_nothing(void **state) {
  (void)state;
  aq_addr victim = util_addr("8.8.8.8:4433");
  aq_addr other = util_addr("8.8.8.9:4433");
  aq_guard_request r = request(&victim);
  fresh(3);
  for (int i = 0; i < 9; i++) {
    assert_int_equal(aq_guard_take(&guard, AQ_S, &r), AQ_GUARD_OK);
  }
  for (int i = 0; i < 1000; i++) {
    assert_int_equal(aq_guard_take(&guard, AQ_S, &r), AQ_GUARD_TARGET);
  }
  r.target = &other;
  assert_int_equal(aq_guard_take(&guard, AQ_S, &r), AQ_GUARD_OK);
}

static void test_session_slots(void **state) {
  (void)state;
  /* Far more sessions than slots, one after the other: each has its own. */
  fresh(9);
  uint64_t rnd = 1;
  for (uint32_t session = 0; session < 3000; session++) {
    for (uint32_t i = 0; i < 10; i++) {
      uint64_t ip = util_random(&rnd);
      aq_addr a = aq_addr_v4(
          (const uint8_t[4]){8, (uint8_t)ip, (uint8_t)(ip >> 8), 1}, 4433);
      aq_peer_id peer = {.bytes = {(uint8_t)session, (uint8_t)(session >> 8)}};
      aq_guard_request r = request(&a);
      r.session_key = session;
      r.peer = &peer;
      aq_guard_verdict v =
          aq_guard_take(&guard, AQ_S + session * 100 * AQ_MS, &r);
      assert_int_not_equal(v, AQ_GUARD_SESSION);
    }
  }
}

static void test_clock_back(void **state) {
  (void)state;
  aq_addr a = util_addr("8.8.8.8:4433");
  aq_guard_request r = request(&a);
  fresh(1);
  int ok = 0;
  for (int i = 0; i < 100; i++) {
    ok += aq_guard_take(&guard, (aq_tstamp)(100 - i) * AQ_S, &r) == AQ_GUARD_OK;
  }
  assert_int_equal(ok, 9);
}

/* Guesses: 1024 to an IP, whatever the ports, for a peer, of the endpoint,
 * until 20 s passed without any; 40 at once, then 1000 a second. */
static size_t guess_all(aq_tstamp from, aq_tstamp until, const char *ip,
                        const aq_peer_id *peer, aq_guard_verdict *last) {
  size_t sent = 0;
  aq_addr a = util_addr(ip);
  aq_guard_request r = request(&a);
  r.peer = peer;
  for (aq_tstamp now = from; now < until; now += AQ_MS / 4) {
    a.port = (uint16_t)(2000 + sent);
    *last = aq_guard_take_guess(&guard, now, &r);
    sent += *last == AQ_GUARD_OK;
  }
  return sent;
}

static void test_guesses(void **state) {
  (void)state;
  static const aq_peer_id peers[] = {{.bytes = {1}}, {.bytes = {2}}};
  aq_guard_verdict v;
  fresh(1);
  size_t first = guess_all(AQ_S, AQ_S + AQ_S / 2, "8.8.8.8:1", &peers[0], &v);
  assert_in_range(first, 535, 540);
  assert_int_equal(v, AQ_GUARD_GUESS_RATE);
  assert_int_equal(guess_all(2 * AQ_S, 19 * AQ_S, "8.8.8.8:1", &peers[0], &v),
                   1024 - first);
  assert_int_equal(v, AQ_GUARD_GUESS_TARGET);
  assert_int_equal(guess_all(19 * AQ_S, 20 * AQ_S, "8.8.4.4:1", &peers[0], &v),
                   0);
  assert_int_equal(v, AQ_GUARD_GUESS_PEER);
  assert_int_equal(guess_all(19 * AQ_S, 20 * AQ_S, "8.8.4.4:1", &peers[1], &v),
                   0);
  assert_int_equal(v, AQ_GUARD_GUESS_ENDPOINT);
  /* Simple punching has its own. */
  aq_addr a = util_addr("8.8.8.8:5000");
  aq_guard_request r = request(&a);
  assert_int_equal(aq_guard_take(&guard, 19 * AQ_S, &r), AQ_GUARD_OK);
  /* Whoever begins needs half of it. */
  assert_int_equal(aq_guard_begin_guess(&guard, 19 * AQ_S, &r, 1024),
                   AQ_GUARD_GUESS_TARGET);
  aq_tstamp at = aq_guard_guess_at(&guard, 19 * AQ_S, &r, 1024);
  assert_in_range(at, 20 * AQ_S, 40 * AQ_S);
  assert_int_not_equal(aq_guard_begin_guess(&guard, at - 1, &r, 1024), 0);
  assert_int_equal(aq_guard_begin_guess(&guard, at, &r, 1024), 0);
  aq_guard_end_guess(&guard, r.session_key);
  assert_int_equal(aq_guard_begin_guess(&guard, 60 * AQ_S, &r, 1024), 0);
  assert_int_equal(aq_guard_guess_at(&guard, 60 * AQ_S, &r, 1024), 60 * AQ_S);
  r.session_key = 2;
  assert_int_equal(aq_guard_guess_at(&guard, 60 * AQ_S, &r, 1024), 70 * AQ_S);
  assert_int_equal(aq_guard_guess_at(&guard, 60 * AQ_S, &r, 64), 60 * AQ_S);
  assert_int_equal(aq_guard_begin_guess(&guard, 60 * AQ_S, &r, 1024),
                   AQ_GUARD_GUESS_BUSY);
  assert_int_equal(aq_guard_begin_guess(&guard, 60 * AQ_S, &r, 64), 0);
  assert_int_equal(aq_guard_begin_guess(&guard, 71 * AQ_S, &r, 1024), 0);
  aq_guard_end_guess(&guard, 1); /* not his any more */
  r.session_key = 3;
  assert_int_equal(aq_guard_begin_guess(&guard, 71 * AQ_S, &r, 1024),
                   AQ_GUARD_GUESS_BUSY);
  aq_guard_end_guess(&guard, 2);
  assert_int_equal(aq_guard_begin_guess(&guard, 71 * AQ_S, &r, 1024), 0);
  assert_int_equal(guess_all(80 * AQ_S, 85 * AQ_S, "8.8.8.8:1", &peers[0], &v),
                   1024);
  /* Ports of services are forbidden. */
  static const uint16_t ports[] = {0, 53, 1023, 1900, 5353, 11211};
  for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
    a.port = ports[i];
    assert_int_equal(aq_guard_take_guess(&guard, 200 * AQ_S, &r),
                     AQ_GUARD_FORBIDDEN);
  }
}

static void test_names(void **state) {
  (void)state;
  for (int v = AQ_GUARD_OK; v <= AQ_GUARD_GUESS_BUSY; v++) {
    assert_string_not_equal(aq_guard_name((aq_guard_verdict)v), "unknown");
  }
  assert_string_equal(aq_guard_name((aq_guard_verdict)99), "unknown");
}

static void who_answers_is_no_victim(void **state) {
  static aq_guard g;
  aq_addr a = util_addr("198.51.100.7:5000");
  aq_addr b = util_addr("198.51.100.8:5000");
  aq_guard_request r = {
      .target = &a, .verified = 1, .allow_reserved = 1, .len = 40};
  (void)state;
  aq_guard_init(&g, 7);
  for (int i = 0; i < 9; i++) {
    assert_int_equal(aq_guard_take(&g, AQ_S, &r), AQ_GUARD_OK);
  }
  assert_int_equal(aq_guard_take_initial(&g, AQ_S, &a, 8, 0), 1);
  aq_guard_answered(&g, &b);
  assert_int_equal(aq_guard_take(&g, AQ_S, &r), AQ_GUARD_TARGET);
  assert_int_equal(aq_guard_take_initial(&g, AQ_S, &a, 1, 0), 0);
  aq_guard_answered(&g, &a);
  assert_int_equal(aq_guard_take(&g, AQ_S, &r), AQ_GUARD_OK);
  assert_int_equal(aq_guard_take_initial(&g, AQ_S, &a, 8, 0), 1);
}

static void initials_to_one_ip_are_few(void **state) {
  static aq_guard g;
  aq_addr a = util_addr("198.51.100.7:5000"),
          b = util_addr("198.51.100.7:6000");
  aq_addr other = util_addr("198.51.100.8:5000"),
          home = util_addr("127.0.0.1:5000");
  aq_tstamp now = AQ_S;
  (void)state;
  aq_guard_init(&g, 7);
  assert_int_equal(aq_guard_take_initial(&g, now, &a, 2, 0), 1);
  assert_int_equal(aq_guard_take_initial(&g, now, &b, 4, 0), 1);
  assert_int_equal(aq_guard_take_initial(&g, now, &a, 3, 0), 0);
  assert_int_equal(aq_guard_take_initial(&g, now, &a, 1, 2), 0);
  assert_int_equal(aq_guard_take_initial(&g, now, &a, 2, 0), 1);
  assert_int_equal(aq_guard_take_initial(&g, now, &a, 1, 0), 0);
  assert_int_equal(aq_guard_take_initial(&g, now + 9 * AQ_S, &b, 1, 0), 0);
  assert_int_equal(aq_guard_take_initial(&g, now, &other, 8, 0), 1);
  assert_int_equal(aq_guard_take_initial(&g, now, &home, 100, 0), 1);
  assert_int_equal(aq_guard_take_initial(&g, now + 10 * AQ_S, &a, 8, 0), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_targets),
      cmocka_unit_test(test_victim),
      cmocka_unit_test(test_target_figures),
      cmocka_unit_test(test_normal_session),
      cmocka_unit_test(test_other_figures),
      cmocka_unit_test(test_all_or_nothing),
      cmocka_unit_test(test_session_slots),
      cmocka_unit_test(test_clock_back),
      cmocka_unit_test(test_guesses),
      cmocka_unit_test(test_names),
      cmocka_unit_test(initials_to_one_ip_are_few),
      cmocka_unit_test(who_answers_is_no_victim),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
