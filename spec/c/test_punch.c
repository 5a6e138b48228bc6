/* test_punch.c - punch datagrams.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "proto/punch.h"

static const uint8_t key[AQ_PUNCH_KEY_LEN] = {1, 2, 3, [31] = 9};

static aq_punch sample(void) {
  return (aq_punch){
      .type = AQ_PUNCH_PROBE,
      .flags = AQ_PUNCH_FLAG_INITIATOR,
      .session = {0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7},
      .seq = 7,
      .echo = UINT64_C(0x1122334455667788),
  };
}

static int failing_mac(uint8_t out[AQ_PUNCH_MAC_LEN], const uint8_t *k,
                       size_t keylen, const uint8_t *data, size_t len) {
  (void)k;
  (void)keylen;
  (void)data;
  (void)len;
  memset(out, 0, AQ_PUNCH_MAC_LEN);
  return AQ_ERR_INTERNAL;
}

static void test_layout(void **state) {
  (void)state;
  uint8_t out[AQ_PUNCH_LEN];
  uint8_t want[AQ_PUNCH_LEN];
  aq_punch p = sample();
  assert_int_equal(aq_punch_format(out, &p, key, util_mac), 0);
  size_t n = util_hex(want, sizeof(want),
                      "01 01 01 00 a0a1a2a3a4a5a6a7 00000007 1122334455667788");
  assert_int_equal(n, AQ_PUNCH_LEN - AQ_PUNCH_MAC_LEN);
  assert_memory_equal(out, want, n);
  uint8_t mac[AQ_PUNCH_MAC_LEN];
  util_mac(mac, key, sizeof(key), out, n);
  assert_memory_equal(out + n, mac, sizeof(mac));
  assert_int_equal(out[0] & 0xc0, 0); /* never taken for QUIC */
  assert_int_equal(aq_punch_format(out, &p, key, failing_mac), AQ_ERR_INTERNAL);
}

static void test_round_trip(void **state) {
  (void)state;
  for (uint8_t type = AQ_PUNCH_PROBE; type <= AQ_PUNCH_OPENER; type++) {
    uint8_t out[AQ_PUNCH_LEN];
    aq_punch p = sample();
    aq_punch back;
    p.type = type;
    p.flags = (uint8_t)(type % 2);
    assert_int_equal(aq_punch_format(out, &p, key, util_mac), 0);
    assert_int_equal(aq_punch_peek(&back, out, sizeof(out)), 0);
    assert_int_equal(back.type, p.type);
    assert_int_equal(back.flags, p.flags);
    assert_memory_equal(back.session, p.session, sizeof(p.session));
    assert_true(back.seq == p.seq && back.echo == p.echo);
    assert_int_equal(aq_punch_verify(out, sizeof(out), key, util_mac), 0);
  }
}

static void test_forgery(void **state) {
  (void)state;
  uint8_t out[AQ_PUNCH_LEN];
  aq_punch p = sample();
  assert_int_equal(aq_punch_format(out, &p, key, util_mac), 0);
  for (int bit = 0; bit < AQ_PUNCH_LEN * 8; bit++) {
    out[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_int_equal(aq_punch_verify(out, sizeof(out), key, util_mac),
                     AQ_ERR_WRONG_KEY);
    out[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  uint8_t other[AQ_PUNCH_KEY_LEN];
  memcpy(other, key, sizeof(key));
  other[31] ^= 1;
  assert_int_equal(aq_punch_verify(out, sizeof(out), other, util_mac),
                   AQ_ERR_WRONG_KEY);
  assert_int_equal(aq_punch_verify(out, sizeof(out), key, failing_mac),
                   AQ_ERR_WRONG_KEY);
  assert_int_equal(aq_punch_verify(out, sizeof(out), key, util_mac), 0);
}

static void test_lengths(void **state) {
  (void)state;
  uint8_t out[AQ_PUNCH_LEN + 8] = {0};
  aq_punch p = sample();
  aq_punch back;
  assert_int_equal(aq_punch_format(out, &p, key, util_mac), 0);
  for (size_t len = 0; len < sizeof(out); len++) {
    uint8_t *d = util_exact(out, len);
    int right = len == AQ_PUNCH_LEN;
    assert_int_equal(aq_punch_peek(&back, d, len), right ? 0 : AQ_ERR_FORMAT);
    assert_int_equal(aq_punch_verify(d, len, key, util_mac),
                     right ? 0 : AQ_ERR_WRONG_KEY);
    free(d);
  }
}

static void test_header(void **state) {
  (void)state;
  uint8_t out[AQ_PUNCH_LEN];
  aq_punch p = sample();
  aq_punch back;
  assert_int_equal(aq_punch_format(out, &p, key, util_mac), 0);
  for (int v = 0; v < 256; v++) {
    uint8_t d[AQ_PUNCH_LEN];
    memcpy(d, out, sizeof(d));
    d[0] = (uint8_t)v;
    assert_int_equal(aq_punch_peek(&back, d, sizeof(d)),
                     v >= 1 && v <= 3 ? 0 : AQ_ERR_FORMAT);
    memcpy(d, out, sizeof(d));
    d[1] = (uint8_t)v;
    assert_int_equal(aq_punch_peek(&back, d, sizeof(d)),
                     v == 1 ? 0 : AQ_ERR_FORMAT);
    memcpy(d, out, sizeof(d));
    d[3] = (uint8_t)v;
    assert_int_equal(aq_punch_peek(&back, d, sizeof(d)),
                     v == 0 ? 0 : AQ_ERR_FORMAT);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_layout),  cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_forgery), cmocka_unit_test(test_lengths),
      cmocka_unit_test(test_header),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
