/* test_ctl.c - the control messages.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/wire.h"
#include "proto/ctl.h"

#define PROFILE_LEN 15
/* A profile of nothing; a token and a key of zeros. */
#define NOBODY " 000000000000000000000000000000"
#define NOTOKEN                                                                \
  " 0000000000000000"                                                          \
  "0000000000000000000000000000000000000000000000000000000000000000 "

static void fill(uint8_t *p, size_t n, uint8_t first) {
  for (size_t i = 0; i < n; i++) {
    p[i] = (uint8_t)(first + i);
  }
}

/* A message with every member of |type| set, |cands| candidates. */
static aq_ctl message(uint64_t type, size_t cands) {
  aq_ctl m = {.type = type};
  int answer = type == AQ_CTL_ANSWER;
  int offer = answer || type == AQ_CTL_OFFER;
  int request = type == AQ_CTL_REQUEST;
  if (request || answer || type == AQ_CTL_ERROR || type == AQ_CTL_CANCEL) {
    m.request = 16384;
  }
  if (offer || request) {
    fill(m.nonce, sizeof(m.nonce), 0x10);
    fill(m.peer.bytes, sizeof(m.peer.bytes), 0x80);
  }
  if (offer || type == AQ_CTL_VETO || type == AQ_CTL_CANCEL) {
    fill(m.session, sizeof(m.session), 0xa0);
  }
  if (offer) {
    fill(m.key, sizeof(m.key), 0x40);
    m.expiry_ms = 10000;
    m.start_delay_us = 25000;
    m.rtt_us = AQ_CTL_MAX_DURATION;
  }
  if (type == AQ_CTL_REGISTER || type == AQ_CTL_REGISTERED) {
    m.capabilities = AQ_CTL_CAP_COORDINATE | AQ_CTL_CAP_RELAY;
  }
  if (offer || type == AQ_CTL_REGISTERED) {
    m.observed = util_addr("198.18.0.1:8080");
  }
  if (type == AQ_CTL_VETO || type == AQ_CTL_ERROR) {
    m.error = AQ_CTL_ERR_RATE_LIMITED;
  }
  if (type == AQ_CTL_ERROR) {
    m.retry_after_ms = 1500;
  }
  if (offer || request || type == AQ_CTL_REGISTER) {
    m.profile = (aq_nat_profile){.mapping = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT,
                                 .filtering = AQ_NAT_ADDRESS_DEPENDENT,
                                 .allocation = AQ_NAT_ALLOC_BLOCK,
                                 .hairpin = 2,
                                 .step = -2,
                                 .block_base = 40000,
                                 .block_size = 1024,
                                 .idle = 30,
                                 .absolute = 65535,
                                 .external_count = AQ_NAT_MAX_EXTERNAL};
  }
  if (offer || request || type == AQ_CTL_HINT) {
    m.plan = AQ_PLAN_BIRTHDAY;
  }
  if (type == AQ_CTL_REGISTERED) {
    fill(m.token, sizeof(m.token), 0x30);
    fill(m.observe_key, sizeof(m.observe_key), 0xc0);
    m.alternate_count = cands < AQ_CTL_MAX_ALTERNATES ? cands : 3;
    for (size_t i = 0; i < m.alternate_count; i++) {
      m.alternate[i] = util_addr(i ? "[2001:db8::3]:9001" : "198.18.0.1:9001");
    }
  }
  if (type == AQ_CTL_HINT) {
    fill(m.session, sizeof(m.session), 0xa0);
    m.observed = util_addr("198.18.0.9:61000");
    m.cookie = UINT64_C(0x8899aabbccddeeff);
    m.step = cands % 2 ? -4096 : (int64_t)cands;
    m.count = 256;
  }
  if (offer || request || type == AQ_CTL_REGISTER) {
    m.cand_count = cands;
    for (size_t i = 0; i < cands; i++) {
      m.cand[i].addr =
          util_addr(i % 2 ? "[2001:db8::1]:5" : "198.51.100.7:4433");
      m.cand[i].addr.port = (uint16_t)(1000 + i);
      m.cand[i].source = (uint8_t)(i % AQ_SOURCE__COUNT);
      m.cand[i].verified = i % 3 == 0;
      m.cand[i].priority = 0x7e000000u + (uint32_t)i;
    }
  }
  return m;
}

static void assert_same(const aq_ctl *a, const aq_ctl *b) {
  assert_true(a->type == b->type && a->request == b->request);
  assert_memory_equal(a->nonce, b->nonce, sizeof(a->nonce));
  assert_memory_equal(a->session, b->session, sizeof(a->session));
  assert_memory_equal(a->key, b->key, sizeof(a->key));
  assert_memory_equal(&a->peer, &b->peer, sizeof(a->peer));
  assert_true(a->capabilities == b->capabilities && a->error == b->error);
  assert_true(a->retry_after_ms == b->retry_after_ms);
  assert_true(a->expiry_ms == b->expiry_ms && a->rtt_us == b->rtt_us);
  assert_true(a->start_delay_us == b->start_delay_us);
  assert_true(aq_addr_equal(&a->observed, &b->observed));
  assert_memory_equal(&a->profile, &b->profile, sizeof(a->profile));
  assert_memory_equal(a->token, b->token, sizeof(a->token));
  assert_memory_equal(a->observe_key, b->observe_key, sizeof(a->observe_key));
  assert_int_equal(a->alternate_count, b->alternate_count);
  for (size_t i = 0; i < a->alternate_count; i++) {
    assert_true(aq_addr_equal(&a->alternate[i], &b->alternate[i]));
  }
  assert_true(a->plan == b->plan && a->cookie == b->cookie);
  assert_true(a->step == b->step && a->count == b->count);
  assert_int_equal(a->cand_count, b->cand_count);
  for (size_t i = 0; i < a->cand_count; i++) {
    assert_true(aq_addr_equal(&a->cand[i].addr, &b->cand[i].addr));
    assert_int_equal(a->cand[i].source, b->cand[i].source);
    assert_int_equal(a->cand[i].verified, b->cand[i].verified);
    assert_int_equal(a->cand[i].priority, b->cand[i].priority);
  }
}

static void test_round_trip(void **state) {
  (void)state;
  const size_t counts[] = {0, 1, 3, AQ_MAX_CANDIDATES};
  for (uint64_t type = AQ_CTL_REGISTER; type <= AQ_CTL_HINT; type++) {
    for (size_t c = 0; c < 4; c++) {
      static aq_ctl m;
      static aq_ctl back;
      uint8_t buf[AQ_CTL_MAX];
      m = message(type, counts[c]);
      size_t n = aq_ctl_format(buf, sizeof(buf), &m);
      assert_true(n > 0);
      uint8_t *p = util_exact(buf, n);
      size_t used = 0;
      assert_int_equal(aq_ctl_parse(&back, p, n, &used), 1);
      assert_int_equal(used, n);
      assert_same(&back, &m);
      free(p);
      for (size_t cut = 0; cut < n; cut++) {
        p = util_exact(buf, cut);
        used = 99;
        assert_int_equal(aq_ctl_parse(&back, p, cut, &used), 0);
        assert_int_equal(used, 99);
        assert_int_equal(aq_ctl_format(p, cut, &m), 0);
        free(p);
      }
    }
  }
}

/* The length says that the body ends early or late. */
static void test_wrong_length(void **state) {
  (void)state;
  for (uint64_t type = AQ_CTL_REGISTER; type <= AQ_CTL_HINT; type++) {
    static aq_ctl m;
    uint8_t buf[AQ_CTL_MAX];
    m = message(type, 2);
    size_t n = aq_ctl_format(buf, sizeof(buf), &m);
    uint64_t body = 0;
    size_t head = 1 + aq_varint_get(&body, buf + 1, n - 1);
    for (size_t len = 0; len <= body + 3; len++) {
      uint8_t again[AQ_CTL_MAX] = {(uint8_t)type};
      size_t h = 1 + aq_varint_put(again + 1, len);
      memcpy(again + h, buf + head, len < body ? len : body);
      uint8_t *p = util_exact(again, h + len);
      size_t used = 0;
      aq_ctl zero = {0};
      int r = aq_ctl_parse(&m, p, h + len, &used);
      assert_int_equal(r, len == body ? 1 : AQ_ERR_FORMAT);
      if (r != 1) {
        assert_memory_equal(&m, &zero, sizeof(m));
      }
      free(p);
    }
  }
}

static int parse_hex(aq_ctl *m, const char *hex, size_t *used) {
  uint8_t data[512];
  size_t n = util_hex(data, sizeof(data), hex);
  uint8_t *p = util_exact(data, n);
  int r = aq_ctl_parse(m, p, n, used);
  free(p);
  return r;
}

static void test_stream(void **state) {
  (void)state;
  static aq_ctl m;
  size_t used = 0;
  assert_int_equal(parse_hex(&m, "08 00 08 00", &used), 1);
  assert_true(m.type == AQ_CTL_ACCEPTED);
  assert_int_equal(used, 2);
  /* Unknown types are skipped, whole. */
  assert_int_equal(parse_hex(&m, "0b 03 aabbcc 08 00", &used), 2);
  assert_int_equal(used, 5);
  assert_int_equal(parse_hex(&m, "00 00", &used), 2);
  assert_int_equal(parse_hex(&m, "ffffffffffffffff 01 aa", &used), 2);
  assert_int_equal(used, 10);
  assert_int_equal(parse_hex(&m, "0b 03 aabb", &used), 0);
  /* Too long, known or not, as soon as the length is there. */
  assert_int_equal(parse_hex(&m, "0b 4801", &used), AQ_ERR_TOO_LARGE);
  assert_int_equal(parse_hex(&m, "01 4801", &used), AQ_ERR_TOO_LARGE);
  assert_int_equal(parse_hex(&m, "01 ffffffffffffffff", &used),
                   AQ_ERR_TOO_LARGE);
  assert_int_equal(parse_hex(&m, "0b 4800", &used), 0);
  assert_int_equal(aq_ctl_parse(&m, NULL, 0, &used), 0);
}

static void test_malformed(void **state) {
  (void)state;
  const char *const bad[] = {
      "01 02 00 21", /* 33 candidates announced */
      "01 0a 00 c0ffffffffffffff 00",
      "01 1d 00 01 04 00000001 04 01020304 0005" NOBODY, /* unknown source */
      "01 1d 00 01 40 00000001 04 01020304 0005" NOBODY,
      "01 17 00 01 00 00000001 00" NOBODY, /* candidate without address */
      "01 1d 00 01 00 00000001 05 01020304 0005" NOBODY, /* family 5 */
      "01 11 00 00 05 0000000000000000000000000000",     /* no such mapping */
      "01 11 00 00 00 0500000000000000000000000000",     /* ... filtering */
      "01 11 00 00 00 0005000000000000000000000000",     /* ... allocation */
      "01 11 00 00 00 0000030000000000000000000000",     /* ... hairpin */
      "01 11 00 00 00 0000000000000000000000000005",     /* five externals */
      "0a 16 a0a1a2a3a4a5a6a7 05 0011223344556677 00 00 44 00 00", /* plan */
      "0a 15 a0a1a2a3a4a5a6a7 00 0011223344556677 00 6001 00", /* step 4097 */
      "0a 15 a0a1a2a3a4a5a6a7 00 0011223344556677 00 00 4401", /* count 1025 */
      "02 2b 00 00" NOTOKEN "04", /* four alternates */
      "02 02 00 07",
      "02 07 00 04 01020304 00",         /* cut port */
      "07 0b 00 00 c000000100000000 00", /* left over */
      "07 0a 00 00 c000000100000000",    /* 2^32 ms */
      "08 01 00",                        /* ACCEPTED has no body */
  };
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    static aq_ctl m;
    size_t used = 0;
    if (parse_hex(&m, bad[i], &used) != AQ_ERR_FORMAT) {
      fail_msg("taken: %s", bad[i]);
    }
  }
  static aq_ctl m;
  size_t used = 0;
  assert_int_equal(
      parse_hex(&m, "01 1d 00 01 83 00000001 04 01020304 0005" NOBODY, &used),
      1);
  assert_int_equal(m.cand[0].source, AQ_SOURCE_PREDICTED);
  assert_int_equal(m.cand[0].verified, 1);
  /* IPv4-mapped comes out as IPv4; an unknown own address is none. */
  assert_int_equal(
      parse_hex(
          &m, "02 3d 00 06 00000000000000000000ffff7f000001 0050" NOTOKEN "00",
          &used),
      1);
  util_assert_addr(&m.observed, "127.0.0.1:80");
  assert_int_equal(parse_hex(&m, "02 2b 03 00" NOTOKEN "00", &used), 1);
  assert_int_equal(m.observed.family, 0);
}

/* One candidate more than there may be, all there. */
static void test_too_many(void **state) {
  (void)state;
  static const uint8_t cand[] = {0, 0x7e, 0, 0, 1, 4, 198, 18, 0, 1, 0, 5};
  for (uint8_t count = AQ_MAX_CANDIDATES; count <= AQ_MAX_CANDIDATES + 1;
       count++) {
    static aq_ctl m;
    uint8_t body[2 + 33 * sizeof(cand) + PROFILE_LEN] = {0, count};
    uint8_t data[512] = {AQ_CTL_REGISTER};
    size_t n = 2;
    for (uint8_t i = 0; i < count; i++, n += sizeof(cand)) {
      memcpy(body + n, cand, sizeof(cand));
    }
    n += PROFILE_LEN;
    size_t head = 1 + aq_varint_put(data + 1, n);
    memcpy(data + head, body, n);
    size_t used = 0;
    assert_int_equal(aq_ctl_parse(&m, data, head + n, &used),
                     count > AQ_MAX_CANDIDATES ? AQ_ERR_FORMAT : 1);
  }
}

static void test_out_of_range(void **state) {
  (void)state;
  uint8_t buf[AQ_CTL_MAX];
  static aq_ctl m;
  m = message(AQ_CTL_REGISTER, AQ_MAX_CANDIDATES);
  m.cand_count = AQ_MAX_CANDIDATES + 1;
  assert_int_equal(aq_ctl_format(buf, sizeof(buf), &m), 0);
  m = message(AQ_CTL_REGISTER, 1);
  m.cand[0].source = AQ_SOURCE__COUNT;
  assert_int_equal(aq_ctl_format(buf, sizeof(buf), &m), 0);
  m = message(AQ_CTL_REGISTER, 1);
  m.cand[0].addr.family = 0;
  assert_int_equal(aq_ctl_format(buf, sizeof(buf), &m), 0);
  m = message(AQ_CTL_ERROR, 0);
  m.retry_after_ms = AQ_CTL_MAX_DURATION + 1;
  assert_int_equal(aq_ctl_format(buf, sizeof(buf), &m), 0);
  m = message(AQ_CTL_ERROR, 0);
  m.request = AQ_VARINT_MAX + 1;
  assert_int_equal(aq_ctl_format(buf, sizeof(buf), &m), 0);
  m = (aq_ctl){.type = 0};
  assert_int_equal(aq_ctl_format(buf, sizeof(buf), &m), 0);
  m.type = AQ_CTL_HINT + 1;
  assert_int_equal(aq_ctl_format(buf, sizeof(buf), &m), 0);
  m = message(AQ_CTL_HINT, 0);
  m.step = 4097;
  assert_int_equal(aq_ctl_format(buf, sizeof(buf), &m), 0);
  m = message(AQ_CTL_HINT, 0);
  m.count = 1025;
  assert_int_equal(aq_ctl_format(buf, sizeof(buf), &m), 0);
  m = message(AQ_CTL_HINT, 0);
  m.plan = AQ_PLAN__COUNT;
  assert_int_equal(aq_ctl_format(buf, sizeof(buf), &m), 0);
  m = message(AQ_CTL_REGISTERED, 0);
  m.alternate_count = AQ_CTL_MAX_ALTERNATES + 1;
  assert_int_equal(aq_ctl_format(buf, sizeof(buf), &m), 0);
}

static void test_errors(void **state) {
  (void)state;
  for (uint64_t wire = 1; wire <= AQ_CTL_ERR_INTERNAL; wire++) {
    assert_true(aq_ctl_error_wire(aq_ctl_error_code(wire)) == wire);
  }
  assert_int_equal(aq_ctl_error_code(AQ_CTL_ERR_REFUSED), AQ_ERR_REFUSED);
  assert_int_equal(aq_ctl_error_code(0), AQ_ERR_COORDINATION_FAILED);
  assert_int_equal(aq_ctl_error_code(UINT64_MAX), AQ_ERR_COORDINATION_FAILED);
  assert_int_equal(aq_ctl_error_wire(AQ_ERR_NOMEM), AQ_CTL_ERR_INTERNAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip), cmocka_unit_test(test_wrong_length),
      cmocka_unit_test(test_stream),     cmocka_unit_test(test_malformed),
      cmocka_unit_test(test_too_many),   cmocka_unit_test(test_out_of_range),
      cmocka_unit_test(test_errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
