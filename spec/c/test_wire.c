/* test_wire.c - cursors and varints.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/wire.h"

/* RFC 9000 appendix A.1. */
static void test_varint_examples(void **state) {
  (void)state;
  const struct {
    const char *hex;
    uint64_t v;
  } rows[] = {
      {"c2197c5eff14e88c", UINT64_C(151288809941952652)},
      {"9d7f3e7d", 494878333},
      {"7bbd", 15293},
      {"25", 37},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    uint8_t in[8];
    uint8_t out[8];
    size_t n = util_hex(in, sizeof(in), rows[i].hex);
    uint64_t v = 0;
    assert_int_equal(aq_varint_get(&v, in, n), n);
    assert_true(v == rows[i].v);
    assert_int_equal(aq_varint_put(out, v), n);
    assert_memory_equal(in, out, n);
    for (size_t k = 0; k < n; k++) {
      uint8_t *cut = util_exact(in, k);
      assert_int_equal(aq_varint_get(&v, cut, k), 0);
      free(cut);
    }
  }
  /* Not the shortest form of 37, and still 37. */
  uint64_t v = 0;
  assert_int_equal(aq_varint_get(&v, (const uint8_t[]){0x40, 0x25}, 2), 2);
  assert_true(v == 37);
}

static void test_varint_edges(void **state) {
  (void)state;
  for (int bit = 0; bit < 62; bit++) {
    for (int d = -1; d <= 1; d++) {
      uint64_t v = (UINT64_C(1) << bit) + (uint64_t)(int64_t)d;
      uint64_t back = ~v;
      uint8_t b[8];
      size_t n = aq_varint_put(b, v);
      assert_int_equal(n, aq_varint_len(v));
      assert_int_equal(n, v < 64 ? 1 : v < 16384 ? 2 : v < (1u << 30) ? 4 : 8);
      assert_int_equal(aq_varint_get(&back, b, n), n);
      assert_true(back == v);
    }
  }
  assert_int_equal(aq_varint_len(AQ_VARINT_MAX), 8);
  assert_int_equal(aq_varint_len(AQ_VARINT_MAX + 1), 0);
}

static void test_round_trip(void **state) {
  (void)state;
  uint8_t buf[64];
  aq_writer w;
  aq_writer_init(&w, buf, sizeof(buf));
  aq_write_u8(&w, 0x12);
  aq_write_u16(&w, 0x3456);
  aq_write_u32(&w, 0x789abcde);
  aq_write_u64(&w, UINT64_C(0xf0123456789abcde));
  aq_write_varint(&w, 15293);
  aq_write_bytes(&w, "xyz", 3);
  aq_write_bytes(&w, NULL, 0);
  size_t n = aq_writer_end(&w);
  assert_int_equal(n, 20);
  uint8_t *in = util_exact(buf, n);
  aq_reader r;
  aq_reader_init(&r, in, n);
  assert_int_equal(aq_read_u8(&r), 0x12);
  assert_int_equal(aq_read_u16(&r), 0x3456);
  assert_int_equal(aq_read_u32(&r), 0x789abcde);
  assert_true(aq_read_u64(&r) == UINT64_C(0xf0123456789abcde));
  assert_true(aq_read_varint(&r) == 15293);
  char s[4] = {0};
  aq_read_bytes(&r, s, 3);
  assert_string_equal(s, "xyz");
  assert_int_equal(r.err, 0);
  assert_int_equal(aq_reader_left(&r), 0);
  free(in);
}

static void test_reader_sticks(void **state) {
  (void)state;
  uint8_t data[4] = {1, 2, 3, 4};
  aq_reader r;
  aq_reader_init(&r, data, 4);
  assert_int_equal(aq_read_u8(&r), 1);
  assert_true(aq_read_u64(&r) == 0);
  assert_int_equal(r.err, AQ_ERR_FORMAT);
  assert_int_equal(aq_read_u8(&r), 0);
  assert_int_equal(aq_reader_left(&r), 0);
  uint8_t out[3] = {9, 9, 9};
  aq_read_bytes(&r, out, 3);
  assert_int_equal(out[0] + out[1] + out[2], 0);

  aq_reader_init(&r, data, 4);
  aq_read_skip(&r, UINT64_MAX);
  assert_int_equal(r.err, AQ_ERR_FORMAT);
  aq_reader_init(&r, data, 4);
  aq_read_u8(&r); /* off + n would wrap */
  aq_read_skip(&r, UINT64_MAX);
  assert_int_equal(r.err, AQ_ERR_FORMAT);
  aq_reader_init(&r, data, 4);
  assert_null(aq_read_view(&r, 5));
  aq_reader_init(&r, data, 4);
  assert_ptr_equal(aq_read_view(&r, 4), data);
  assert_int_equal(r.err, 0);
  aq_reader_init(&r, NULL, 0);
  assert_true(aq_read_varint(&r) == 0);
  assert_int_equal(r.err, AQ_ERR_FORMAT);
}

static void test_writer_sticks(void **state) {
  (void)state;
  uint8_t *out = util_exact((const uint8_t[3]){0}, 3);
  aq_writer w;
  aq_writer_init(&w, out, 3);
  aq_write_u16(&w, 7);
  aq_write_u16(&w, 7);
  assert_int_equal(w.err, AQ_ERR_TOO_LARGE);
  aq_write_u8(&w, 7);
  assert_int_equal(aq_writer_end(&w), 0);
  assert_int_equal(w.off, 2);
  aq_writer_init(&w, out, 3);
  aq_write_varint(&w, AQ_VARINT_MAX + 1);
  assert_int_equal(aq_writer_end(&w), 0);
  aq_writer_init(&w, NULL, 0);
  aq_write_u8(&w, 1);
  assert_int_equal(w.err, AQ_ERR_TOO_LARGE);
  free(out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_varint_examples),
      cmocka_unit_test(test_varint_edges),
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_reader_sticks),
      cmocka_unit_test(test_writer_sticks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
