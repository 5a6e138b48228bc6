/* test_walk.c - every ordinary frame is stepped over exactly, ours are found.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/wire.h"
#include "proto/walk.h"

/* Whole frames of RFC 9000 section 19 and RFC 9221 that do not end a packet. */
static const char *const ordinary[] = {
    "00",                             /* PADDING */
    "000000000000000000000000000000", /* PADDING */
    "01",                             /* PING */
    "02 05 00 00 03",                 /* ACK, one range */
    "02 4005 7fff 02 03 00 01 00 40ff",
    "02 4005 00 05 03 00 01 01 02 02 40ff 03 03 04 04",
    /* six */                               /* ACK, three ranges */
    "03 05 00 00 03 01 02 03",              /* ACK with ECN */
    "03 05 00 01 03 00 00 9d7f3e7d 02 03",  /* ACK with ECN, two ranges */
    "04 04 7bbd 25",                        /* RESET_STREAM */
    "05 04 7bbd",                           /* STOP_SENDING */
    "06 00 04 803d7e90",                    /* CRYPTO */
    "07 05 803d7e9000",                     /* NEW_TOKEN */
    "0a 04 05 803d7e9000",                  /* STREAM with length */
    "0b 04 00",                             /* and FIN */
    "0e 04 4100 05 803d7e9000",             /* and offset */
    "0f 04 c000000000000000 05 803d7e9000", /* all three */
    "10 7bbd",                              /* MAX_DATA */
    "11 04 7bbd",                           /* MAX_STREAM_DATA */
    "12 40ff",                              /* MAX_STREAMS */
    "13 3f",
    "14 00",          /* DATA_BLOCKED */
    "15 04 9d7f3e7d", /* STREAM_DATA_BLOCKED */
    "16 01",          /* STREAMS_BLOCKED */
    "17 01",
    "18 02 00 01 aa 000102030405060708090a0b0c0d0e0f", /* NEW_CONNECTION_ID */
    "18 4002 01 14 803d7e90803d7e90803d7e90803d7e90803d7e90"
    "000102030405060708090a0b0c0d0e0f",
    "19 02",               /* RETIRE_CONNECTION_ID */
    "1a 803d7e90803d7e90", /* PATH_CHALLENGE */
    "1b 809f81a6809f81a6", /* PATH_RESPONSE */
    "1c 0a 06 03 627965",  /* CONNECTION_CLOSE */
    "1c 0a 00 00",
    "1d 4100 03 627965", /* of the application */
    "1e",                /* HANDSHAKE_DONE */
    "31 05 803d7e9000",  /* DATAGRAM with length */
    "31 00",
};

/* Frames that reach to the end of the packet. */
static const char *const last[] = {
    "08 04 803d7e9000", "09 04",         "0c 04 05 803d7e9000",
    "0d 04 05",         "30 803d7e9000", "30",
};

static const char *const ours[] = {
    "803d7e90 05 c6120001 1f90",
    "803d7e91 4100 20010db8000000000000000000000001 0001",
    "803d7e92 01 02 c6120001 1f90",
    "803d7e93 00 05 20010db8000000000000000000000001 ffff",
    "803d7e94 3f",
    "809f81a6 09 01020304 0005",
    "809f81a7 09 20010db8000000000000000000000001 0005",
};

#define COUNT(v) (sizeof(v) / sizeof((v)[0]))

/* Puts frames into one buffer; the walker must find exactly |found|. */
static int walk_count(const uint8_t *data, size_t len, size_t *found) {
  uint8_t *p = util_exact(data, len);
  aq_walk w = {.data = p, .len = len};
  size_t off = 0;
  size_t n = 0;
  int r;
  *found = 0;
  while ((r = aq_walk_next(&w, &off, &n)) == 1) {
    assert_true(n > 0 && off + n <= len);
    assert_int_equal(p[off], 0x80);
    (*found)++;
  }
  assert_true(w.off <= len);
  free(p);
  return r;
}

static void test_each_alone(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(ordinary) + COUNT(last); i++) {
    const char *hex =
        i < COUNT(ordinary) ? ordinary[i] : last[i - COUNT(ordinary)];
    uint8_t data[128];
    size_t found = 0;
    size_t n = util_hex(data, sizeof(data), hex);
    if (walk_count(data, n, &found) != 0 || found != 0) {
      fail_msg("not stepped over: %s", hex);
    }
  }
}

/* A frame of ours stands right behind an ordinary one: it is found only when
 * the ordinary one's length was right to the byte. */
static void test_exact(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(ordinary); i++) {
    for (size_t k = 0; k < COUNT(ours); k++) {
      uint8_t data[256];
      size_t n = util_hex(data, sizeof(data), ordinary[i]);
      size_t m = util_hex(data + n, sizeof(data) - n, ours[k]);
      size_t after = util_hex(data + n + m, sizeof(data) - n - m, "0100");
      aq_walk w = {.data = data, .len = n + m + after};
      size_t off = 0;
      size_t len = 0;
      assert_int_equal(aq_walk_next(&w, &off, &len), 1);
      if (off != n || len != m) {
        fail_msg("wrong place behind: %s", ordinary[i]);
      }
      assert_int_equal(aq_walk_next(&w, &off, &len), 0);
    }
  }
}

static void test_last_hides(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(last); i++) {
    uint8_t data[256];
    size_t n = util_hex(data, sizeof(data), last[i]);
    n += util_hex(data + n, sizeof(data) - n, ours[0]);
    size_t found = 0;
    /* What follows is payload, or cut numbers of it. */
    int r = walk_count(data, n, &found);
    assert_int_equal(found, 0);
    assert_int_equal(r, 0);
  }
}

static void test_truncation(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(ordinary); i++) {
    uint8_t data[128];
    size_t n = util_hex(data, sizeof(data), ordinary[i]);
    size_t found = 0;
    for (size_t cut = 1; cut < n && data[0] != 0; cut++) {
      assert_int_equal(walk_count(data, cut, &found), AQ_ERR_UNSUPPORTED);
      assert_int_equal(found, 0);
    }
  }
  for (size_t i = 0; i < COUNT(ours); i++) {
    uint8_t data[128];
    data[0] = 1;
    size_t n = 1 + util_hex(data + 1, sizeof(data) - 1, ours[i]);
    size_t found = 0;
    for (size_t cut = 2; cut < n; cut++) {
      assert_int_equal(walk_count(data, cut, &found),
                       cut < 5 ? AQ_ERR_UNSUPPORTED : AQ_ERR_FORMAT);
      assert_int_equal(found, 0);
    }
  }
}

static void test_hostile(void **state) {
  (void)state;
  const char *const bad[] = {
      "1f", /* unknown types */
      "20",
      "2f",
      "32",
      "3f",
      "4000",
      "7fff",
      "8000",
      "80000000",
      "c000000000000000",
      "02 05 00 ffffffffffffffff 03", /* more ranges than there are bytes */
      "02 05 00 bfffffff 03",
      "06 00 ffffffffffffffff 00", /* longer than the packet */
      "0a 00 ffffffffffffffff 00",
      "07 7fff 00",
      "31 ffffffffffffffff 00",
      "1c 00 00 ffffffffffffffff",
      "18 02 00 00 000102030405060708090a0b0c0d0e0f", /* CID of 0 bytes */
      "18 02 00 15 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      "000102030405060708090a0b0c0d0e0f", /* of 21 */
      "18 02 00 ff aa",
      "803d7e95 00 00000000 0000",
      "80000001",
  };
  for (size_t i = 0; i < COUNT(bad); i++) {
    uint8_t data[128];
    size_t n = util_hex(data, sizeof(data), bad[i]);
    size_t found = 0;
    if (walk_count(data, n, &found) != AQ_ERR_UNSUPPORTED || found != 0) {
      fail_msg("taken: %s", bad[i]);
    }
  }
  size_t found = 0;
  assert_int_equal(walk_count(NULL, 0, &found), 0);
}

/* Random packets of whole frames: the walker finds just ours, in order. */
static void test_random_packets(void **state) {
  (void)state;
  uint64_t rnd = 5;
  for (int round = 0; round < 3000; round++) {
    uint8_t data[2048];
    size_t at[64];
    size_t want = 0;
    size_t n = 0;
    int frames = (int)(util_random(&rnd) % 30);
    for (int i = 0; i < frames; i++) {
      uint64_t r = util_random(&rnd);
      if (r % 4 == 0) {
        at[want++] = n;
        n += util_hex(data + n, sizeof(data) - n, ours[(r >> 8) % COUNT(ours)]);
      } else {
        n += util_hex(data + n, sizeof(data) - n,
                      ordinary[(r >> 8) % COUNT(ordinary)]);
      }
    }
    if (util_random(&rnd) % 2) {
      n += util_hex(data + n, sizeof(data) - n,
                    last[util_random(&rnd) % COUNT(last)]);
    }
    uint8_t *p = util_exact(data, n);
    aq_walk w = {.data = p, .len = n};
    for (size_t i = 0; i < want; i++) {
      size_t off = 0;
      size_t len = 0;
      assert_int_equal(aq_walk_next(&w, &off, &len), 1);
      assert_int_equal(off, at[i]);
    }
    size_t off = 0;
    size_t len = 0;
    assert_int_equal(aq_walk_next(&w, &off, &len), 0);
    free(p);
  }
}

static void test_find_datagram(void **state) {
  (void)state;
  uint8_t payload[64];
  uint8_t data[256];
  size_t off = 0;
  size_t hdr = 0;
  size_t plen = util_hex(payload, sizeof(payload), ours[0]);
  /* The bytes also stand in a STREAM and in a longer DATAGRAM before. */
  size_t n = util_hex(data, sizeof(data),
                      "0a 04 0b 803d7e9005c61200011f90"
                      "31 0c 803d7e9005c61200011f9000"
                      "803d7e943f 31 400b 803d7e9005c61200011f90 01");
  assert_int_equal(aq_walk_find_datagram(data, n, payload, plen, &off, &hdr),
                   1);
  assert_int_equal(off, 3 + 11 + 2 + 12 + 5);
  assert_int_equal(hdr, 3);
  assert_memory_equal(data + off + hdr, payload, plen);
  /* Without length, to the end of the packet. */
  n = util_hex(data, sizeof(data), "01 00 00 30 803d7e9005c61200011f90");
  assert_int_equal(aq_walk_find_datagram(data, n, payload, plen, &off, &hdr),
                   1);
  assert_int_equal(off, 3);
  assert_int_equal(hdr, 1);
  /* Not there, cut, unknown. */
  n = util_hex(data, sizeof(data), "01 31 0b 803d7e9005c61200011f91 00");
  assert_int_equal(aq_walk_find_datagram(data, n, payload, plen, &off, &hdr),
                   0);
  n = util_hex(data, sizeof(data), "01 31 0b 803d7e9005c61200011f");
  assert_int_equal(aq_walk_find_datagram(data, n, payload, plen, &off, &hdr),
                   AQ_ERR_UNSUPPORTED);
  n = util_hex(data, sizeof(data), "803d7e90 05");
  assert_int_equal(aq_walk_find_datagram(data, n, payload, plen, &off, &hdr),
                   AQ_ERR_FORMAT);
  n = util_hex(data, sizeof(data), "01 31 00");
  assert_int_equal(aq_walk_find_datagram(data, n, NULL, 0, &off, &hdr), 1);
  assert_int_equal(off, 1);
  assert_int_equal(hdr, 2);
}

/* What the carrier does on receipt: the packet that is left holds only what a
 * transport that knows no extension understands. */
static void test_overwrite(void **state) {
  (void)state;
  uint8_t data[256];
  size_t n = 0;
  for (size_t i = 0; i < COUNT(ours); i++) {
    n += util_hex(data + n, sizeof(data) - n, ours[i]);
    n += util_hex(data + n, sizeof(data) - n, "02 05 00 00 03");
  }
  aq_walk w = {.data = data, .len = n};
  size_t off = 0;
  size_t len = 0;
  while (aq_walk_next(&w, &off, &len) == 1) {
    memset(data + off, 0, len);
    data[off] = 1;
  }
  size_t found = 0;
  assert_int_equal(walk_count(data, n, &found), 0);
  assert_int_equal(found, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_alone),
      cmocka_unit_test(test_exact),
      cmocka_unit_test(test_last_hides),
      cmocka_unit_test(test_truncation),
      cmocka_unit_test(test_hostile),
      cmocka_unit_test(test_random_packets),
      cmocka_unit_test(test_find_datagram),
      cmocka_unit_test(test_overwrite),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
