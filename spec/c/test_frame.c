/* test_frame.c - the extension frames, byte for byte.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/wire.h"
#include "proto/frame.h"

#define DIALECT AQ_DIALECT_SEEMANN02

static void test_examples(void **state) {
  (void)state;
  const struct {
    const char *hex;
    aq_frame f;
    const char *addr;
  } rows[] = {
      {"803d7e90 05 c6120001 1f90",
       {AQ_FRAME_ADD_ADDRESS, 5, 0, {0}},
       "198.18.0.1:8080"},
      {"803d7e91 4100 20010db8000000000000000000000001 0001",
       {AQ_FRAME_ADD_ADDRESS, 256, 0, {0}},
       "[2001:db8::1]:1"},
      {"803d7e92 01 02 c6120001 1f90",
       {AQ_FRAME_PUNCH_ME_NOW, 1, 2, {0}},
       "198.18.0.1:8080"},
      {"803d7e93 00 ffffffffffffffff 20010db8000000000000000000000001 ffff",
       {AQ_FRAME_PUNCH_ME_NOW, 0, AQ_VARINT_MAX, {0}},
       "[2001:db8::1]:65535"},
      {"803d7e94 3f", {AQ_FRAME_REMOVE_ADDRESS, 63, 0, {0}}, NULL},
      {"809f81a6 09 01020304 0005",
       {AQ_FRAME_OBSERVED_ADDRESS, 9, 0, {0}},
       "1.2.3.4:5"},
      {"809f81a7 09 20010db8000000000000000000000001 0005",
       {AQ_FRAME_OBSERVED_ADDRESS, 9, 0, {0}},
       "[2001:db8::1]:5"},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    uint8_t want[AQ_FRAME_MAX];
    uint8_t got[AQ_FRAME_MAX];
    size_t n = util_hex(want, sizeof(want), rows[i].hex);
    aq_frame f = rows[i].f;
    if (rows[i].addr != NULL) {
      f.addr = util_addr(rows[i].addr);
    }
    assert_int_equal(aq_frame_format(DIALECT, got, sizeof(got), &f), n);
    assert_memory_equal(got, want, n);
    for (size_t cap = 0; cap < n; cap++) {
      uint8_t *small = util_exact(got, cap);
      assert_int_equal(aq_frame_format(DIALECT, small, cap, &f), 0);
      free(small);
    }
    aq_frame back;
    size_t used = 0;
    uint8_t *whole = util_exact(want, n);
    assert_int_equal(aq_frame_parse(DIALECT, &back, whole, n, &used), 0);
    free(whole);
    assert_int_equal(used, n);
    assert_int_equal(back.kind, f.kind);
    assert_true(back.seq == f.seq && back.paired == f.paired);
    assert_true(aq_addr_equal(&back.addr, &f.addr));
    for (size_t cut = 0; cut < n; cut++) {
      uint8_t *part = util_exact(want, cut);
      assert_int_equal(aq_frame_parse(DIALECT, &back, part, cut, &used),
                       cut < 4 ? AQ_ERR_UNSUPPORTED : AQ_ERR_FORMAT);
      assert_true(back.seq == 0 && back.addr.family == 0);
      free(part);
    }
  }
}

static void test_following_bytes(void **state) {
  (void)state;
  uint8_t data[64];
  size_t n = util_hex(data, sizeof(data), "803d7e943f 01 00 00");
  aq_frame f;
  size_t used = 0;
  assert_int_equal(aq_frame_parse(DIALECT, &f, data, n, &used), 0);
  assert_int_equal(used, 5);
}

static void test_mapped(void **state) {
  (void)state;
  uint8_t data[64];
  size_t n = util_hex(data, sizeof(data),
                      "803d7e91 00 00000000000000000000ffff7f000001 0050");
  aq_frame f;
  size_t used = 0;
  assert_int_equal(aq_frame_parse(DIALECT, &f, data, n, &used), 0);
  util_assert_addr(&f.addr, "127.0.0.1:80");
  /* Sent as what it is. */
  f.addr = (aq_addr){.family = 6,
                     .port = 80,
                     .ip = {[10] = 255, [11] = 255, [12] = 127, [15] = 1}};
  n = aq_frame_format(DIALECT, data, sizeof(data), &f);
  assert_int_equal(n, 4 + 1 + 4 + 2);
  assert_int_equal(data[3], 0x90);
}

static void test_not_ours(void **state) {
  (void)state;
  const char *const others[] = {
      "01",
      "803d7e95000000000000",
      "803d7e8f000000000000",
      "809f81a8000000000000",
      "809f81a5000000000000",
      "c0000000003d7e90 05 c6120001 1f90", /* not the shortest form */
      "3d7e90",
  };
  for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
    uint8_t data[64];
    size_t n = util_hex(data, sizeof(data), others[i]);
    aq_frame f;
    size_t used = 0;
    assert_int_equal(aq_frame_parse(DIALECT, &f, data, n, &used),
                     AQ_ERR_UNSUPPORTED);
  }
  uint8_t data[64];
  size_t n = util_hex(data, sizeof(data), "803d7e943f");
  aq_frame f;
  size_t used = 0;
  assert_int_equal(aq_frame_parse((aq_dialect)7, &f, data, n, &used),
                   AQ_ERR_UNSUPPORTED);
}

static void test_out_of_range(void **state) {
  (void)state;
  uint8_t out[AQ_FRAME_MAX];
  aq_frame f = {.kind = AQ_FRAME_REMOVE_ADDRESS, .seq = AQ_VARINT_MAX + 1};
  assert_int_equal(aq_frame_format(DIALECT, out, sizeof(out), &f), 0);
  f = (aq_frame){.kind = AQ_FRAME_ADD_ADDRESS, .seq = 1}; /* no address */
  assert_int_equal(aq_frame_format(DIALECT, out, sizeof(out), &f), 0);
  f.addr = util_addr("1.2.3.4:5");
  assert_int_equal(aq_frame_format((aq_dialect)7, out, sizeof(out), &f), 0);
  f.kind = (aq_frame_kind)99;
  assert_int_equal(aq_frame_format(DIALECT, out, sizeof(out), &f), 0);
}

static void test_names(void **state) {
  (void)state;
  assert_string_equal(aq_frame_name(AQ_FRAME_ADD_ADDRESS), "ADD_ADDRESS");
  assert_string_equal(aq_frame_name(AQ_FRAME_OBSERVED_ADDRESS),
                      "OBSERVED_ADDRESS");
  assert_string_equal(aq_frame_name((aq_frame_kind)99), "unknown");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_examples),        cmocka_unit_test(test_mapped),
      cmocka_unit_test(test_following_bytes), cmocka_unit_test(test_not_ours),
      cmocka_unit_test(test_out_of_range),    cmocka_unit_test(test_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
