/* test_addr.c - addresses and peer ids.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/addr.h"

static void test_text(void **state) {
  (void)state;
  const char *const same[] = {
      "1.2.3.4:5",        "0.0.0.0:0",           "255.255.255.255:65535",
      "[::]:0",           "[::1]:443",           "[2001:db8::1]:5",
      "[fe80::1%3]:9000", "[1:2:3:4:5:6:7:8]:9",
  };
  for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
    aq_addr a = util_addr(same[i]);
    util_assert_addr(&a, same[i]);
  }
  aq_addr a = util_addr("[::ffff:1.2.3.4]:5");
  util_assert_addr(&a, "1.2.3.4:5");
  a = util_addr("[2001:0DB8:0::0:1]:5");
  util_assert_addr(&a, "[2001:db8::1]:5");
  a = util_addr("[2001:db8::1%7]:5"); /* only link-local ones have a zone */
  util_assert_addr(&a, "[2001:db8::1]:5");
  a = util_addr("[fe80:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
  char buf[AQ_ADDR_STRLEN];
  assert_int_equal(strlen(aq_addr_format(&a, buf)), 58);
  a = (aq_addr){0};
  util_assert_addr(&a, "none");
}

static void test_bad_text(void **state) {
  (void)state;
  const char *const bad[] = {
      "",
      ":",
      "1.2.3.4",
      "1.2.3.4:",
      ":5",
      "1.2.3:5",
      "1.2.3.4.5:6",
      "1.2.3.256:5",
      "1..3.4:5",
      "01.2.3.4:5",
      "1.2.3.4:05",
      "1.2.3.4:65536",
      "1.2.3.4:-1",
      "1.2.3.4:+1",
      " 1.2.3.4:5",
      "1.2.3.4:5 ",
      "::1:5",
      "[::1]",
      "[::1]5",
      "[::1:5",
      "[]:5",
      "[::1%]:5",
      "[::1%x]:5",
      "[fe80::1%0]:5",
      "[fe80::1%4294967296]:5",
      "[1.2.3.4]:5",
      "[:::]:5",
      "host:5",
      "1.2.3.4:5:6",
      "0x1.2.3.4:5",
      "1.2.3.4:99999999999",
      "[1:2:3:4:5:6:7:8:9]:1",
      "1.2.3.4.:5",
      "[1111111111111111111111111111111111111111111111111111]:5",
  };
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    aq_addr a;
    if (aq_addr_parse(&a, bad[i], strlen(bad[i])) != AQ_ERR_ADDRESS) {
      fail_msg("taken: %s", bad[i]);
    }
    assert_int_equal(a.family, 0);
  }
  aq_addr a;
  assert_int_equal(aq_addr_parse(&a, "1.2.3.4:5\0", 10), AQ_ERR_ADDRESS);
  assert_int_equal(aq_addr_parse(&a, "[::1\0]:5", 8), AQ_ERR_ADDRESS);
  /* Only |len| bytes count. */
  assert_int_equal(aq_addr_parse(&a, "1.2.3.4:567", 9), 0);
  assert_int_equal(a.port, 5);
}

static void test_kinds(void **state) {
  (void)state;
  const struct {
    const char *text;
    aq_addr_kind kind;
  } rows[] = {
      {"0.0.0.0:1", AQ_ADDR_UNSPECIFIED},
      {"0.0.0.1:1", AQ_ADDR_RESERVED},
      {"0.255.255.255:1", AQ_ADDR_RESERVED},
      {"1.0.0.0:1", AQ_ADDR_GLOBAL},
      {"8.8.8.8:1", AQ_ADDR_GLOBAL},
      {"9.255.255.255:1", AQ_ADDR_GLOBAL},
      {"10.0.0.0:1", AQ_ADDR_PRIVATE},
      {"10.255.255.255:1", AQ_ADDR_PRIVATE},
      {"11.0.0.0:1", AQ_ADDR_GLOBAL},
      {"100.63.255.255:1", AQ_ADDR_GLOBAL},
      {"100.64.0.0:1", AQ_ADDR_CGNAT},
      {"100.127.255.255:1", AQ_ADDR_CGNAT},
      {"100.128.0.0:1", AQ_ADDR_GLOBAL},
      {"127.0.0.1:1", AQ_ADDR_LOOPBACK},
      {"127.255.255.254:1", AQ_ADDR_LOOPBACK},
      {"128.0.0.1:1", AQ_ADDR_GLOBAL},
      {"169.253.0.1:1", AQ_ADDR_GLOBAL},
      {"169.254.169.254:1", AQ_ADDR_LINK_LOCAL},
      {"172.15.255.255:1", AQ_ADDR_GLOBAL},
      {"172.16.0.0:1", AQ_ADDR_PRIVATE},
      {"172.31.255.255:1", AQ_ADDR_PRIVATE},
      {"172.32.0.0:1", AQ_ADDR_GLOBAL},
      {"192.0.0.8:1", AQ_ADDR_RESERVED},
      {"192.0.2.1:1", AQ_ADDR_DOCUMENTATION},
      {"192.88.99.1:1", AQ_ADDR_RESERVED},
      {"192.167.255.255:1", AQ_ADDR_GLOBAL},
      {"192.168.0.1:1", AQ_ADDR_PRIVATE},
      {"192.169.0.0:1", AQ_ADDR_GLOBAL},
      {"198.17.255.255:1", AQ_ADDR_GLOBAL},
      {"198.18.0.0:1", AQ_ADDR_BENCHMARK},
      {"198.19.255.255:1", AQ_ADDR_BENCHMARK},
      {"198.20.0.0:1", AQ_ADDR_GLOBAL},
      {"198.51.100.7:1", AQ_ADDR_DOCUMENTATION},
      {"203.0.113.7:1", AQ_ADDR_DOCUMENTATION},
      {"223.255.255.255:1", AQ_ADDR_GLOBAL},
      {"224.0.0.1:1", AQ_ADDR_MULTICAST},
      {"239.255.255.250:1", AQ_ADDR_MULTICAST},
      {"240.0.0.1:1", AQ_ADDR_RESERVED},
      {"255.255.255.254:1", AQ_ADDR_RESERVED},
      {"255.255.255.255:1", AQ_ADDR_BROADCAST},
      {"[::]:1", AQ_ADDR_UNSPECIFIED},
      {"[::1]:1", AQ_ADDR_LOOPBACK},
      {"[::2]:1", AQ_ADDR_TRANSLATED},
      {"[::127.0.0.1]:1", AQ_ADDR_TRANSLATED},
      {"[::ffff:127.0.0.1]:1", AQ_ADDR_LOOPBACK},
      {"[::ffff:169.254.1.1]:1", AQ_ADDR_LINK_LOCAL},
      {"[::ffff:224.0.0.1]:1", AQ_ADDR_MULTICAST},
      {"[64:ff9b::7f00:1]:1", AQ_ADDR_TRANSLATED},
      {"[64:ff9b:1::1]:1", AQ_ADDR_TRANSLATED},
      {"[100::1]:1", AQ_ADDR_RESERVED},
      {"[2001::1]:1", AQ_ADDR_TRANSLATED},
      {"[2001:2::1]:1", AQ_ADDR_BENCHMARK},
      {"[2001:20::1]:1", AQ_ADDR_RESERVED},
      {"[2001:1ff::1]:1", AQ_ADDR_RESERVED},
      {"[2001:200::1]:1", AQ_ADDR_GLOBAL},
      {"[2001:db8::1]:1", AQ_ADDR_DOCUMENTATION},
      {"[2002:7f00:1::]:1", AQ_ADDR_TRANSLATED},
      {"[2606:4700::1]:1", AQ_ADDR_GLOBAL},
      {"[3fff:0fff::1]:1", AQ_ADDR_DOCUMENTATION},
      {"[3fff:1000::1]:1", AQ_ADDR_GLOBAL},
      {"[4000::1]:1", AQ_ADDR_RESERVED},
      {"[fc00::1]:1", AQ_ADDR_ULA},
      {"[fdff::1]:1", AQ_ADDR_ULA},
      {"[fe00::1]:1", AQ_ADDR_RESERVED},
      {"[fe80::1]:1", AQ_ADDR_LINK_LOCAL},
      {"[febf::1]:1", AQ_ADDR_LINK_LOCAL},
      {"[fec0::1]:1", AQ_ADDR_ULA},
      {"[ff02::1]:1", AQ_ADDR_MULTICAST},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    aq_addr a = util_addr(rows[i].text);
    aq_addr_kind kind = aq_addr_classify(&a);
    if (kind != rows[i].kind) {
      fail_msg("%s is %s", rows[i].text, aq_addr_kind_name(kind));
    }
  }
  aq_addr none = {0};
  assert_int_equal(aq_addr_classify(&none), AQ_ADDR_NONE);
  /* A mapped one that nobody normalized. */
  aq_addr mapped = {.family = 6, .ip = {[10] = 255, [11] = 255, [12] = 127}};
  assert_int_equal(aq_addr_classify(&mapped), AQ_ADDR_LOOPBACK);
}

static void test_order(void **state) {
  (void)state;
  const char *const sorted[] = {
      "1.2.3.4:5", "1.2.3.4:6", "1.2.3.5:1",     "2.0.0.0:0",
      "[::1]:1",   "[::1]:2",   "[fe80::1%1]:1", "[fe80::1%2]:1",
  };
  enum { N = sizeof(sorted) / sizeof(sorted[0]) };
  for (int i = 0; i < N; i++) {
    for (int k = 0; k < N; k++) {
      aq_addr a = util_addr(sorted[i]);
      aq_addr b = util_addr(sorted[k]);
      int c = aq_addr_cmp(&a, &b);
      assert_true(i < k ? c < 0 : i > k ? c > 0 : c == 0);
      assert_int_equal(aq_addr_equal(&a, &b), i == k);
      assert_int_equal(aq_addr_hash(&a, 1) == aq_addr_hash(&b, 1),
                       i == k || (i > 5 && k > 5));
    }
  }
  aq_addr a = util_addr("10.1.2.3:4");
  aq_addr b = util_addr("10.1.2.200:9");
  assert_false(aq_addr_same_ip(&a, &b));
  assert_true(aq_addr_hash_prefix(&a, 24, 1) == aq_addr_hash_prefix(&b, 24, 1));
  assert_true(aq_addr_hash_prefix(&a, 25, 1) != aq_addr_hash_prefix(&b, 25, 1));
  assert_true(aq_addr_hash(&a, 1) != aq_addr_hash(&a, 2));
  b = a;
  b.port = 5;
  assert_true(aq_addr_same_ip(&a, &b));
}

static void test_sockaddr(void **state) {
  (void)state;
  const char *const texts[] = {"1.2.3.4:5", "[2001:db8::1]:6", "[fe80::1%3]:7"};
  for (size_t i = 0; i < 3; i++) {
    for (int mapped = 0; mapped < 2; mapped++) {
      aq_addr a = util_addr(texts[i]);
      struct sockaddr_storage ss;
      socklen_t len = aq_addr_to_sockaddr(&ss, &a, mapped);
      assert_int_equal(len, i == 0 && !mapped ? sizeof(struct sockaddr_in)
                                              : sizeof(struct sockaddr_in6));
      aq_addr back;
      assert_int_equal(
          aq_addr_from_sockaddr(&back, (struct sockaddr *)&ss, len), 0);
      util_assert_addr(&back, texts[i]);
      assert_int_equal(
          aq_addr_from_sockaddr(&back, (struct sockaddr *)&ss, len - 1),
          AQ_ERR_ADDRESS);
      assert_int_equal(aq_addr_from_sockaddr(&back, (struct sockaddr *)&ss, 0),
                       AQ_ERR_ADDRESS);
    }
  }
  struct sockaddr_storage ss;
  aq_addr none = {0};
  assert_int_equal(aq_addr_to_sockaddr(&ss, &none, 0), 0);
  ss.ss_family = AF_UNIX;
  assert_int_equal(
      aq_addr_from_sockaddr(&none, (struct sockaddr *)&ss, sizeof(ss)),
      AQ_ERR_ADDRESS);
}

static void test_make(void **state) {
  (void)state;
  aq_addr a = aq_addr_v4((const uint8_t[]){1, 2, 3, 4}, 5);
  util_assert_addr(&a, "1.2.3.4:5");
  a = aq_addr_v6((const uint8_t[16]){[15] = 1}, 5);
  util_assert_addr(&a, "[::1]:5");
  a = aq_addr_v6(
      (const uint8_t[16]){[10] = 255, [11] = 255, [12] = 1, [15] = 9}, 5);
  util_assert_addr(&a, "1.0.0.9:5");
}

static void test_peer_id(void **state) {
  (void)state;
  const char *hex =
      "deb05ac81dfea3780bded3d94394d96d26cac002def8bcc30c276e7bed5fb3b6";
  aq_peer_id id;
  aq_peer_id other;
  char buf[65];
  assert_int_equal(aq_peer_id_parse(&id, hex, 64), 0);
  assert_int_equal(id.bytes[0], 0xde);
  assert_int_equal(id.bytes[31], 0xb6);
  assert_string_equal(aq_peer_id_format(&id, buf), hex);
  for (size_t i = 0; i < 64; i++) {
    if (buf[i] >= 'a') {
      buf[i] = (char)(buf[i] - 32);
    }
  }
  assert_int_equal(aq_peer_id_parse(&other, buf, 64), 0);
  assert_int_equal(aq_peer_id_compare(&id, &other), 0);
  other.bytes[31]++;
  assert_true(aq_peer_id_compare(&id, &other) < 0);
  assert_true(aq_peer_id_compare(&other, &id) > 0);
  for (size_t len = 0; len < 70; len++) {
    char text[70];
    memset(text, 'a', sizeof(text));
    assert_int_equal(aq_peer_id_parse(&id, text, len),
                     len == 64 ? 0 : AQ_ERR_FORMAT);
  }
  char bad[64];
  memset(bad, '0', sizeof(bad));
  for (int at = 0; at < 64; at++) {
    bad[at] = "gG/:@`"[at % 6];
    assert_int_equal(aq_peer_id_parse(&id, bad, 64), AQ_ERR_FORMAT);
    bad[at] = '0';
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_text),     cmocka_unit_test(test_bad_text),
      cmocka_unit_test(test_kinds),    cmocka_unit_test(test_order),
      cmocka_unit_test(test_sockaddr), cmocka_unit_test(test_make),
      cmocka_unit_test(test_peer_id),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
