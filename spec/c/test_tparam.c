/* test_tparam.c - the extension transport parameters.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/wire.h"
#include "proto/tparam.h"

static int scan(aq_tparams *t, const char *hex) {
  uint8_t data[256];
  size_t n = util_hex(data, sizeof(data), hex);
  uint8_t *p = util_exact(data, n);
  int err = aq_tparams_scan(t, p, n);
  free(p);
  return err;
}

#define CLIENT_HEX                                                             \
  "fd7e9f0bca12fea6 00 fd7e9f0bca12fea8 00 c00000009f81a176 01 02 "            \
  "d3e08779c0015c18 02 01 01"
#define SERVER_HEX "fd7e9f0bca12fea6 01 08"

static void test_examples(void **state) {
  (void)state;
  uint8_t want[AQ_TPARAMS_MAX];
  uint8_t got[AQ_TPARAMS_MAX];
  aq_tparams t = {
      .has_nat = 1,
      .nat_empty = 1,
      .has_rfc = 1,
      .has_discovery = 1,
      .discovery = AQ_DISCOVERY_BOTH,
      .has_control = 1,
      .control_version = AQ_CONTROL_VERSION,
      .control_flags = AQ_CONTROL_FLAG_DIALING,
  };
  size_t n = util_hex(want, sizeof(want), CLIENT_HEX);
  assert_int_equal(aq_tparams_format(got, sizeof(got), &t), n);
  assert_memory_equal(got, want, n);
  for (size_t cap = 0; cap < n; cap++) {
    uint8_t *small = util_exact(got, cap);
    assert_int_equal(aq_tparams_format(small, cap, &t), 0);
    free(small);
  }
  aq_tparams back;
  assert_int_equal(scan(&back, CLIENT_HEX), 0);
  assert_memory_equal(&back, &t, sizeof(t));

  t = (aq_tparams){.has_nat = 1, .nat_limit = 8};
  n = util_hex(want, sizeof(want), SERVER_HEX);
  assert_int_equal(aq_tparams_format(got, sizeof(got), &t), n);
  assert_memory_equal(got, want, n);
  assert_int_equal(scan(&back, SERVER_HEX), 0);
  assert_true(back.has_nat && !back.nat_empty && back.nat_limit == 8);
}

/* Among parameters of RFC 9000, unknown and reserved ones. */
static void test_among_others(void **state) {
  (void)state;
  aq_tparams t;
  assert_int_equal(
      scan(&t, "01 02 7530 2002 45c0 0f 08 0102030405060708 0c00 1b 03 aabbcc "
               "fd7e9f0bca12fea6 02 4100 c0000000ff73db00 04 00000001"),
      0);
  assert_true(t.has_nat && t.nat_limit == 256);
  assert_true(t.has_max_datagram && t.max_datagram == 1472);
  assert_false(t.has_rfc || t.has_discovery || t.has_control);
  assert_int_equal(aq_tparams_scan(&t, NULL, 0), 0);
  assert_false(t.has_nat);
}

static void test_largest(void **state) {
  (void)state;
  aq_tparams t = {
      .has_nat = 1,
      .nat_limit = AQ_VARINT_MAX,
      .has_rfc = 1,
      .has_discovery = 1,
      .discovery = 2,
      .has_control = 1,
      .control_version = AQ_VARINT_MAX,
      .control_flags = AQ_VARINT_MAX,
      .has_max_datagram = 1,
      .max_datagram = AQ_VARINT_MAX,
  };
  uint8_t out[AQ_TPARAMS_MAX];
  size_t n = aq_tparams_format(out, sizeof(out), &t);
  assert_true(n > 0);
  aq_tparams back;
  assert_int_equal(aq_tparams_scan(&back, out, n), 0);
  assert_memory_equal(&back, &t, sizeof(t));
  for (size_t cut = 1; cut < n; cut++) {
    uint8_t *part = util_exact(out, cut);
    int err = aq_tparams_scan(&back, part, cut);
    free(part);
    /* A cut between two parameters is a shorter list; nothing else is. */
    int whole = cut == 17 || cut == 26 || cut == 36 || cut == 61;
    assert_int_equal(err, whole ? 0 : AQ_ERR_FORMAT);
    assert_true(err == 0 || !back.has_nat);
  }
  t.nat_limit++;
  assert_int_equal(aq_tparams_format(out, sizeof(out), &t), 0);
  t = (aq_tparams){0};
  assert_int_equal(aq_tparams_format(out, sizeof(out), &t), 0);
}

static void test_malformed(void **state) {
  (void)state;
  const char *const bad[] = {
      "fd7e9f0bca12fea6 00 fd7e9f0bca12fea6 00", /* twice */
      "fd7e9f0bca12fea6 00 fd7e9f0bca12fea6 01 08",
      "fd7e9f0bca12fea6 01 08 fd7e9f0bca12fea6 00",
      "fd7e9f0bca12fea8 00 fd7e9f0bca12fea8 00",
      "c00000009f81a176 01 02 c00000009f81a176 01 02",
      "d3e08779c0015c18 02 01 01 d3e08779c0015c18 02 01 01",
      "20 01 05 20 01 05",
      "fd7e9f0bca12fea6 02 0808", /* bytes left over */
      "fd7e9f0bca12fea6 01 40",   /* cut number */
      "fd7e9f0bca12fea8 01 00",   /* not empty */
      "c00000009f81a176 01 03",   /* out of range */
      "c00000009f81a176 00",
      "d3e08779c0015c18 01 01", /* flags missing */
      "d3e08779c0015c18 00",
      "20 00",
      "01", /* no length */
      "01 05 00",
      "01 ffffffffffffffff 00", /* hostile lengths */
      "fd7e9f0bca12fea6 ffffffffffffffff 00",
      "40",
  };
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    aq_tparams t;
    memset(&t, 0xaa, sizeof(t));
    if (scan(&t, bad[i]) != AQ_ERR_FORMAT) {
      fail_msg("taken: %s", bad[i]);
    }
    aq_tparams zero = {0};
    assert_memory_equal(&t, &zero, sizeof(t));
  }
  /* A later version of antquic_control may say more. */
  aq_tparams t;
  assert_int_equal(scan(&t, "d3e08779c0015c18 05 02 01 aabbcc"), 0);
  assert_true(t.has_control && t.control_version == 2);
}

static void test_control_id(void **state) {
  (void)state;
  assert_true(AQ_TPARAM_CONTROL <= AQ_VARINT_MAX);
  assert_true(AQ_TPARAM_CONTROL % 31 != 27); /* RFC 9000 section 18.1 */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_examples),   cmocka_unit_test(test_among_others),
      cmocka_unit_test(test_largest),    cmocka_unit_test(test_malformed),
      cmocka_unit_test(test_control_id),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
