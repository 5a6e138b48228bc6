/* test_tunnel.c - tunnel datagrams, and which of them a relay passes on.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "proto/relay.h"

static const uint8_t ID[AQ_TUNNEL_ID_LEN] = {1, 2, 3, 4, 5, 6, 7, 8};

/* ---- datagrams -------------------------------------------------------------
 */

static void batches_keep_their_packets(void **state) {
  (void)state;
  static uint8_t was[6500], buf[6500 + 65 * AQ_TUNNEL_HEAD];
  for (size_t i = 0; i < sizeof(was); i++) {
    was[i] = (uint8_t)(0x40 | (i * 7));
  }
  for (size_t step = 0; step <= 1300; step += 100) {
    for (size_t len = 1; len <= sizeof(was); len += 433) {
      size_t segment = step, real = step > 0 ? step : len, at = 0;
      memcpy(buf, was, len);
      size_t n = aq_tunnel_wrap(buf, len, &segment, ID);
      size_t packets = (len + real - 1) / real;
      assert_int_equal(n, len + packets * AQ_TUNNEL_HEAD);
      for (size_t off = 0; off < len; off += real) {
        size_t part = len - off < real ? len - off : real, got;
        const uint8_t *id, *packet;
        assert_int_equal(
            aq_tunnel_read(buf + at, part + AQ_TUNNEL_HEAD, &id, &packet, &got),
            0);
        assert_int_equal(got, part);
        assert_memory_equal(id, ID, sizeof(ID));
        assert_memory_equal(packet, was + off, part);
        at += step > 0 ? segment : n;
      }
    }
  }
}

static void what_is_inside_is_quic(void **state) {
  (void)state;
  uint8_t d[32] = {AQ_TUNNEL_TYPE};
  const uint8_t *id, *packet;
  size_t n;
  assert_false(aq_tunnel_is(d, 0));
  assert_true(aq_tunnel_is(d, 1));
  for (unsigned first = 0; first < 256; first++) {
    d[AQ_TUNNEL_HEAD] = (uint8_t)first;
    assert_int_equal(aq_tunnel_read(d, sizeof(d), &id, &packet, &n),
                     first >= 0x40 ? 0 : AQ_ERR_FORMAT);
  }
  for (size_t len = 0; len <= AQ_TUNNEL_HEAD; len++) {
    assert_int_equal(aq_tunnel_read(d, len, &id, &packet, &n), AQ_ERR_FORMAT);
  }
  d[0] = AQ_TUNNEL_TYPE + 1;
  assert_int_equal(aq_tunnel_read(d, sizeof(d), &id, &packet, &n),
                   AQ_ERR_FORMAT);
}

/* ---- the table -------------------------------------------------------------
 */

#define ANY (UINT64_C(1) << 34)

static aq_relay *relay_of(uint64_t rate, uint64_t total) {
  aq_relay *r;
  assert_int_equal(aq_relay_new(&r, rate, total, NULL), 0);
  return r;
}

static aq_relay *relay(uint64_t rate) {
  return relay_of(rate, ANY);
}

static aq_relay_verdict take(aq_relay *r, aq_tstamp now, const uint8_t *id,
                             int from, size_t len) {
  aq_id end[2];
  aq_relay_tunnel *t = aq_relay_find(r, id, end);
  assert_non_null(t);
  return aq_relay_take(r, now, t, from, len);
}

static const uint8_t *nth(unsigned i) {
  static uint8_t id[AQ_TUNNEL_ID_LEN];
  id[0] = (uint8_t)i;
  id[1] = (uint8_t)(i >> 8);
  return id;
}

static void a_tunnel_has_two_ends(void **state) {
  (void)state;
  aq_relay *r = relay(1 << 20);
  aq_id end[2];
  assert_null(aq_relay_find(r, ID, end));
  assert_int_equal(aq_relay_open(r, 0, ID, 5, 6), 0);
  assert_int_equal(aq_relay_open(r, 0, ID, 5, 6), 0); /* once more */
  assert_int_equal(aq_relay_open(r, 0, ID, 5, 7), AQ_ERR_LIMIT);
  assert_int_equal(aq_relay_count(r), 1);
  assert_non_null(aq_relay_find(r, ID, end));
  assert_true(end[0] == 5 && end[1] == 6);
  assert_int_equal(aq_relay_close(r, ID, 7), 0); /* not its business */
  assert_int_equal(aq_relay_close(r, ID, 6), 5);
  assert_int_equal(aq_relay_close(r, ID, 6), 0);
  assert_int_equal(aq_relay_open(r, 0, ID, 5, 6), 0);
  assert_int_equal(aq_relay_close(r, ID, 5), 6);
  assert_int_equal(aq_relay_count(r), 0);
  aq_relay_del(r);
}

static void who_goes_takes_its_tunnels_along(void **state) {
  (void)state;
  aq_relay *r = relay(1 << 20);
  uint8_t id[AQ_TUNNEL_ID_LEN];
  for (unsigned i = 0; i < 6; i++) {
    assert_int_equal(
        aq_relay_open(r, 0, nth(i), i & 1 ? 5 : 9, i & 1 ? 9 + i : 5), 0);
  }
  assert_int_equal(aq_relay_open(r, 0, nth(7), 11, 12), 0);
  unsigned n = 0;
  while (aq_relay_forget(r, 5, id) != 0) {
    n++;
  }
  assert_int_equal(n, 6);
  assert_int_equal(aq_relay_count(r), 1);
  aq_relay_del(r);
}

static void they_are_bounded(void **state) {
  (void)state;
  aq_relay *r = relay(1 << 20);
  unsigned n = 0;
  for (; n < AQ_RELAY_EACH; n++) {
    assert_int_equal(aq_relay_admit(r, 5, 100 + n), 0);
    assert_int_equal(aq_relay_open(r, 0, nth(n), 5, 100 + n), 0);
  }
  assert_int_equal(aq_relay_admit(r, 5, 4), AQ_CTL_ERR_RATE_LIMITED);
  assert_int_equal(aq_relay_admit(r, 4, 5), AQ_CTL_ERR_RATE_LIMITED);
  for (; n < AQ_RELAY_TUNNELS; n++) {
    assert_int_equal(aq_relay_admit(r, 1000 + n, 3000 + n), 0);
    assert_int_equal(aq_relay_open(r, 0, nth(n), 1000 + n, 3000 + n), 0);
  }
  assert_int_equal(aq_relay_admit(r, 1, 2), AQ_CTL_ERR_OVERLOADED);
  assert_int_equal(aq_relay_open(r, 0, nth(n), 1, 2), AQ_ERR_LIMIT);
  aq_relay_del(r);
}

static void the_idle_ones_end(void **state) {
  (void)state;
  aq_relay *r = relay(1 << 20);
  assert_int_equal(aq_relay_next_timeout(r), AQ_NEVER);
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(aq_relay_open(r, i * AQ_S, nth(i), 10 + i, 20 + i), 0);
  }
  assert_int_equal(take(r, 50 * AQ_S, nth(0), 0, 100), AQ_RELAY_OK);
  assert_int_equal(aq_relay_next_timeout(r), 61 * AQ_S);
  uint8_t id[AQ_TUNNEL_ID_LEN];
  aq_id end[2];
  assert_int_equal(aq_relay_expire(r, 61 * AQ_S - 1, id, end), 0);
  assert_int_equal(aq_relay_count(r), 3);
  for (unsigned i = 1; i < 3; i++) {
    assert_int_equal(aq_relay_expire(r, 62 * AQ_S, id, end), 1);
    assert_memory_equal(id, nth(i), sizeof(id));
    assert_true(end[0] == 10 + i && end[1] == 20 + i);
  }
  assert_int_equal(aq_relay_expire(r, 62 * AQ_S, id, end), 0);
  assert_int_equal(aq_relay_next_timeout(r), 110 * AQ_S);
  assert_int_equal(aq_relay_expire(r, 110 * AQ_S, id, end), 1);
  assert_int_equal(aq_relay_count(r), 0);
  assert_int_equal(aq_relay_next_timeout(r), AQ_NEVER);
  aq_relay_del(r);
}

/* What passes in |seconds| when there is always more. */
static uint64_t passes(aq_relay *r, int from, int seconds, aq_duration gap) {
  uint64_t n = 0;
  for (aq_tstamp t = 0; t < (aq_tstamp)seconds * AQ_S; t += gap) {
    while (take(r, AQ_S + t, ID, from, 1000) == AQ_RELAY_OK) {
      n += 1000;
    }
  }
  return n;
}

static void the_rate_holds_each_way(void **state) {
  (void)state;
  static const uint64_t rates[] = {1024, 100000, 1 << 20, 50000000, 1 << 30};
  static const aq_duration gaps[] = {AQ_MS, 37 * AQ_MS, 3 * AQ_S};
  for (size_t i = 0; i < 5; i++) {
    for (size_t k = 0; k < 3; k++) {
      if (rates[i] > 50000000 && k == 0) {
        continue; /* it takes long */
      }
      uint64_t burst =
          rates[i] / 4 > AQ_RELAY_BURST ? rates[i] / 4 : AQ_RELAY_BURST;
      uint64_t way[2];
      for (int from = 0; from < 2; from++) {
        aq_relay *r = relay(rates[i]);
        assert_int_equal(aq_relay_open(r, AQ_S, ID, 5, 6), 0);
        way[from] = passes(r, from, 9, gaps[k]);
        aq_relay_del(r);
      }
      uint64_t one = way[0];
      assert_true(one <= burst + 9 * rates[i] && one + 1000 > burst);
      if (gaps[k] < AQ_S / 10) {
        assert_true(one + rates[i] / 10 + 2000 > burst + 89 * rates[i] / 10);
      }
      assert_int_equal(one, way[1]);
    }
  }
}

/* What passes from one end of each tunnel |first| to |last| in |seconds|, when
 * there is always more on all of them; *over says why the rest doesn't. */
static uint64_t all_pass(aq_relay *r, unsigned first, unsigned last, int from,
                         aq_tstamp start, int seconds, aq_relay_verdict *over) {
  uint64_t n = 0;
  for (aq_tstamp t = 0; t < (aq_tstamp)seconds * AQ_S; t += 5 * AQ_MS) {
    for (unsigned i = first; i <= last; i++) {
      aq_relay_verdict v;
      while ((v = take(r, start + t, nth(i), from, 1000)) == AQ_RELAY_OK) {
        n += 1000;
      }
      *over = v;
    }
  }
  return n;
}

/* However many tunnels it has, and however often it makes new ones. */
static void a_peer_has_a_share(void **state) {
  (void)state;
  const uint64_t rate = 1 << 20, total = 32 << 20, share = 4 << 20;
  aq_relay_verdict over;
  for (int from = 0; from < 2; from++) { /* it sends, or gets */
    aq_relay *r = relay_of(rate, total);
    for (unsigned i = 0; i < AQ_RELAY_EACH; i++) {
      assert_int_equal(aq_relay_open(r, AQ_S, nth(i), 5, 100 + i), 0);
    }
    assert_int_equal(aq_relay_open(r, AQ_S, nth(99), 6, 7), 0);
    uint64_t n = all_pass(r, 0, AQ_RELAY_EACH - 1, from, AQ_S, 5, &over);
    assert_int_equal(over, AQ_RELAY_OVER_PEER);
    assert_in_range(n, 5 * share, 5 * share + share / 4);
    /* The others have theirs. */
    assert_int_equal(take(r, 6 * AQ_S, nth(99), 0, 200000), AQ_RELAY_OK);
    uint8_t id[AQ_TUNNEL_ID_LEN];
    for (unsigned i = 0; i < AQ_RELAY_EACH; i++) {
      assert_int_equal(aq_relay_close(r, nth(i), 5), 100 + i);
      assert_int_equal(aq_relay_open(r, 6 * AQ_S, nth(i), 5, 100 + i), 0);
    }
    n = all_pass(r, 0, AQ_RELAY_EACH - 1, from, 6 * AQ_S, 1, &over);
    assert_true(n < share + share / 100);
    /* Until its connection ends. */
    while (aq_relay_forget(r, 5, id) != 0) {
    }
    assert_int_equal(aq_relay_open(r, 7 * AQ_S, ID, 5, 100), 0);
    assert_int_equal(take(r, 7 * AQ_S, ID, 0, AQ_RELAY_BURST), AQ_RELAY_OK);
    aq_relay_del(r);
  }
  /* It is never less than what one tunnel may. */
  aq_relay *r = relay_of(rate, rate);
  assert_int_equal(aq_relay_open(r, AQ_S, ID, 5, 6), 0);
  assert_true(passes(r, 0, 9, AQ_MS) > 8 * rate);
  aq_relay_del(r);
}

/* Whoever they are. */
static void all_have_a_bound(void **state) {
  (void)state;
  const uint64_t total = 4 << 20;
  aq_relay *r = relay_of(1 << 20, total);
  aq_relay_verdict over;
  for (unsigned i = 0; i < 100; i++) {
    assert_int_equal(aq_relay_open(r, AQ_S, nth(i), 100 + i, 200 + i), 0);
  }
  uint64_t n = all_pass(r, 0, 99, 0, AQ_S, 5, &over);
  assert_int_equal(over, AQ_RELAY_OVER_TOTAL);
  assert_in_range(n, 5 * total, 5 * total + total / 4);
  aq_relay_del(r);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(batches_keep_their_packets),
      cmocka_unit_test(what_is_inside_is_quic),
      cmocka_unit_test(a_tunnel_has_two_ends),
      cmocka_unit_test(who_goes_takes_its_tunnels_along),
      cmocka_unit_test(they_are_bounded),
      cmocka_unit_test(the_idle_ones_end),
      cmocka_unit_test(the_rate_holds_each_way),
      cmocka_unit_test(a_peer_has_a_share),
      cmocka_unit_test(all_have_a_bound),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
