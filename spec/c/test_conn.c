/* Two connections in virtual time: the handshake, streams, datagrams, control
 * streams, and every way to end.
 *
 * SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "quic/conn_int.h"
#include "support/conn_pair.h"

#define CLIENT PAIR_CLIENT
#define SERVER PAIR_SERVER

static void establish(conn_pair *p) {
  assert_int_equal(conn_pair_dial(p), 0);
  assert_true(conn_pair_run(p, 10 * AQ_S, conn_pair_both_confirmed));
  for (int i = 0; i < 2; i++) {
    assert_int_equal(p->side[i].seen[AQ_NOTICE_ESTABLISHED], 1);
    assert_int_equal(p->side[i].seen[AQ_NOTICE_CLOSED], 0);
  }
}

static aq_conn_info info_of(conn_pair *p, int side) {
  aq_conn_info i;
  aq_conn_get_info_of(p->side[side].conn, p->now, &i);
  return i;
}

/* ---- handshake ------------------------------------------------------------
 */

static void test_handshake(void **state) {
  conn_pair p;
  (void)state;
  conn_pair_init(&p, NULL);
  aq_peer_id server = *aq_identity_peer_id(p.side[SERVER].identity);
  p.expect = &server;
  establish(&p);
  assert_int_equal(
      aq_peer_id_compare(aq_conn_peer(p.side[CLIENT].conn), &server), 0);
  assert_int_equal(
      aq_peer_id_compare(aq_conn_peer(p.side[SERVER].conn),
                         aq_identity_peer_id(p.side[CLIENT].identity)),
      0);
  conn_pair_run(&p, AQ_S, NULL);
  for (int i = 0; i < 2; i++) {
    aq_conn_info n = info_of(&p, i);
    ngtcp2_cid cids[32];
    assert_string_equal(n.alpn, "antquic");
    assert_int_equal(n.state, AQ_STATE_CONNECTED);
    assert_int_equal(n.outgoing, i == CLIENT);
    assert_true(n.extensions);
    assert_true(n.control);
    assert_true(n.post_quantum);
    assert_true(n.rtt >= 20 * AQ_MS && n.rtt < 60 * AQ_MS);
    assert_true(n.max_datagram > 1100);
    assert_int_equal(n.max_udp_payload, 1452);
    assert_int_equal(aq_conn_get_cids(p.side[i].conn, cids, 32),
                     p.side[i].cids);
    assert_true(aq_conn_flushed(p.side[i].conn));
  }
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_TOKEN], 1);
  size_t len = 0;
  aq_conn_get_token(p.side[CLIENT].conn, &len);
  assert_true(len > 16);
  conn_pair_free(&p);
}

static void test_handshake_with_loss(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 12; seed++) {
    conn_pair p;
    conn_pair_init(&p, NULL);
    aq_rand_init(&p.rand, seed);
    p.loss = 150;
    p.dup = 100;
    p.reorder = 200;
    p.handshake_timeout = 60 * AQ_S;
    assert_int_equal(conn_pair_dial(&p), 0);
    assert_true(conn_pair_run(&p, 60 * AQ_S, conn_pair_both_confirmed));
    conn_pair_free(&p);
  }
}

static void test_wrong_key(void **state) {
  conn_pair p;
  aq_peer_id other = {{1, 2, 3}};
  (void)state;
  conn_pair_init(&p, NULL);
  p.expect = &other;
  assert_int_equal(conn_pair_dial(&p), 0);
  assert_true(conn_pair_run(&p, 10 * AQ_S, conn_pair_both_closed));
  assert_int_equal(p.side[CLIENT].closed.error, AQ_ERR_WRONG_KEY);
  assert_int_equal(p.side[SERVER].closed.error, AQ_ERR_NOT_ALLOWED);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_ESTABLISHED], 0);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_ESTABLISHED], 0);
  assert_null(aq_conn_peer(p.side[CLIENT].conn));
  conn_pair_free(&p);
}

static const aq_peer_id nobody = {{9}};
static void tune_allow(conn_pair *p) {
  p->side[SERVER].params.allow = &nobody;
  p->side[SERVER].params.allow_count = 1;
}

static void test_not_allowed(void **state) {
  conn_pair p;
  (void)state;
  conn_pair_init(&p, tune_allow);
  assert_int_equal(conn_pair_dial(&p), 0);
  assert_true(conn_pair_run(&p, 10 * AQ_S, conn_pair_both_closed));
  assert_int_equal(p.side[SERVER].closed.error, AQ_ERR_NOT_ALLOWED);
  assert_int_equal(p.side[CLIENT].closed.error, AQ_ERR_NOT_ALLOWED);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_ESTABLISHED], 0);
  conn_pair_free(&p);
}

static void tune_alpn(conn_pair *p) {
  strcpy(p->side[CLIENT].params.alpn[0], "other");
}

static void test_alpn_mismatch(void **state) {
  conn_pair p;
  (void)state;
  conn_pair_init(&p, tune_alpn);
  assert_int_equal(conn_pair_dial(&p), 0);
  assert_true(conn_pair_run(&p, 10 * AQ_S, conn_pair_both_closed));
  assert_int_equal(p.side[CLIENT].closed.error, AQ_ERR_ALPN);
  assert_int_equal(p.side[SERVER].closed.error, AQ_ERR_ALPN);
  conn_pair_free(&p);
}

static int client_closed(conn_pair *p) {
  return p->side[CLIENT].seen[AQ_NOTICE_CLOSED] > 0;
}

static void test_unreachable(void **state) {
  conn_pair p;
  (void)state;
  conn_pair_init(&p, NULL);
  p.cut = 1;
  p.handshake_timeout = 3 * AQ_S;
  aq_tstamp start = p.now;
  assert_int_equal(conn_pair_dial(&p), 0);
  assert_true(conn_pair_run(&p, 60 * AQ_S, client_closed));
  assert_int_equal(p.side[CLIENT].closed.error, AQ_ERR_UNREACHABLE);
  assert_true(p.now - start >= 3 * AQ_S && p.now - start < 4 * AQ_S);
  conn_pair_free(&p);
}

/* ---- what goes out again ------------------------------------------------ */

/* A client that sends its two Initials and is not heard of again may be
 * somebody else: three times what it sent is all that it is answered with. */
static void test_copies_do_not_amplify(void **state) {
  conn_pair p;
  (void)state;
  conn_pair_init(&p, NULL);
  p.initial_rtt = 20 * AQ_MS;
  p.pass_to[SERVER] = 3;
  p.drop_to[CLIENT] = 1000;
  assert_int_equal(conn_pair_dial(&p), 0);
  conn_pair_run(&p, 5 * AQ_S, NULL);
  uint64_t copies = aq_conn_take_repeated(p.side[SERVER].conn);
  assert_true(copies > 0);
  assert_in_range(p.side[SERVER].bytes, 2 * 1200, 3 * 2 * 1200);
  conn_pair_free(&p);
}

/* Each lost once, and nobody waits for a probe time-out. */
static void test_a_lost_flight_comes_again(void **state) {
  for (int to = 0; to < 2; to++) {
    conn_pair p;
    (void)state;
    conn_pair_init(&p, NULL);
    p.initial_rtt = AQ_S; /* so the first time-out would be after 3 s */
    p.drop_to[to] = 2;
    aq_tstamp start = p.now;
    assert_int_equal(conn_pair_dial(&p), 0);
    assert_true(conn_pair_run(&p, 10 * AQ_S, conn_pair_both_confirmed));
    assert_true(p.now - start < AQ_S);
    conn_pair_free(&p);
  }
}

/* ---- bulk data ---------------------------------------------------------- */

typedef struct bulk {
  uint64_t total;
  aq_id id[2];
  uint64_t written[2], read[2];
  int ended[2], fin[2], bad;
  int paused; /* side that does not read, -1 none */
  int uneven; /* read in odd sizes */
  unsigned again;
} bulk;

static void bulk_write(conn_pair *p, bulk *b, int side) {
  uint8_t buf[4099];
  aq_stream *s = conn_pair_stream(p, side, b->id[side]);
  while (s != NULL && b->written[side] < b->total) {
    size_t n = sizeof(buf), done = 0;
    if (n > b->total - b->written[side]) {
      n = (size_t)(b->total - b->written[side]);
    }
    for (size_t i = 0; i < n; i++) {
      buf[i] = conn_pair_byte((uint64_t)side, b->written[side] + i);
    }
    int err = aq_stream_put(s, buf, n, &done);
    b->written[side] += done;
    if (err != 0) {
      b->again += err == AQ_ERR_AGAIN;
      return;
    }
  }
  if (s != NULL && b->written[side] == b->total && !b->fin[side]) {
    b->fin[side] = aq_stream_put_fin(s) == 0;
  }
}

static void bulk_read(conn_pair *p, bulk *b, int side) {
  uint8_t buf[7001];
  aq_stream *s = conn_pair_stream(p, side, b->id[side]);
  while (s != NULL && !b->ended[side] && b->paused != side) {
    size_t n = 0;
    int err = aq_stream_get(s, buf, sizeof(buf), &n);
    if (err != 0) {
      return;
    }
    if (n == 0) {
      b->ended[side] = 1;
    }
    for (size_t i = 0; i < n; i++) {
      b->bad += buf[i] != conn_pair_byte((uint64_t)(1 - side), b->read[side]++);
    }
  }
}

static int is_established(const aq_conn *c) {
  aq_conn_info info;
  aq_conn_get_info_of(c, 0, &info);
  return info.state == AQ_STATE_CONNECTED;
}

static void bulk_app(conn_pair *p, void *user) {
  bulk *b = user;
  for (int i = 0; i < 2; i++) {
    aq_conn *c = p->side[i].conn;
    if (b->id[i] == 0 && c != NULL && i == CLIENT && is_established(c)) {
      assert_int_equal(aq_conn_open_stream(c, 0, 0, &b->id[i]), 0);
    }
    if (b->id[i] == 0 && c != NULL && i == SERVER) {
      aq_conn_accept_stream(c, &b->id[i]);
    }
    bulk_write(p, b, i);
    bulk_read(p, b, i);
  }
}

static int bulk_done(conn_pair *p) {
  bulk *b = p->user;
  return b->ended[0] && b->ended[1];
}

static int both_flushed(conn_pair *p) {
  return aq_conn_flushed(p->side[0].conn) && aq_conn_flushed(p->side[1].conn);
}

static void bulk_check(conn_pair *p, bulk *b) {
  assert_int_equal(b->bad, 0);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(b->read[i], b->total);
    assert_int_equal(b->written[i], b->total);
  }
  assert_true(conn_pair_run(p, 30 * AQ_S, both_flushed));
  for (int i = 0; i < 2; i++) {
    aq_stream *s = conn_pair_stream(p, i, b->id[i]);
    aq_stream_info n;
    aq_stream_info_of(s, &n);
    assert_true(n.fin_received && n.fin_acked && n.finished);
    assert_int_equal(n.bytes_acked, b->total);
    assert_int_equal(n.send_queued, 0);
    assert_int_equal(p->side[i].seen[AQ_NOTICE_STREAM_CLOSED], 1);
    aq_stream_drop(s);
    assert_null(conn_pair_stream(p, i, b->id[i]));
    assert_int_equal(p->side[i].conn->chunk_bytes, 0);
  }
}

static void run_bulk(uint64_t total, unsigned loss, unsigned dup,
                     unsigned reorder) {
  conn_pair p;
  bulk b = {.total = total, .paused = -1};
  conn_pair_init(&p, NULL);
  p.loss = loss;
  p.dup = dup;
  p.reorder = reorder;
  p.app = bulk_app;
  p.user = &b;
  assert_int_equal(conn_pair_dial(&p), 0);
  assert_true(conn_pair_run(&p, 600 * AQ_S, bulk_done));
  bulk_check(&p, &b);
  conn_pair_free(&p);
}

static void test_bulk(void **state) {
  (void)state;
  run_bulk(10u << 20, 0, 0, 0);
}

static void test_bulk_bad_link(void **state) {
  (void)state;
  run_bulk(10u << 20, 20, 10, 20);
}

static void test_back_pressure(void **state) {
  conn_pair p;
  bulk b = {.total = 12u << 20, .paused = SERVER};
  (void)state;
  conn_pair_init(&p, NULL);
  p.app = bulk_app;
  p.user = &b;
  assert_int_equal(conn_pair_dial(&p), 0);
  conn_pair_run(&p, 20 * AQ_S, NULL);
  /* Window and send buffer are full, both of 1 MiB, and that is all. */
  assert_true(b.again > 0);
  assert_int_equal(b.written[CLIENT], 2u << 20);
  assert_int_equal(aq_stream_waiting(conn_pair_stream(&p, SERVER, b.id[1])),
                   1u << 20);
  for (int i = 0; i < 2; i++) {
    assert_true(info_of(&p, i).memory < (1u << 20) + (256u << 10));
  }
  unsigned writable = p.side[CLIENT].seen[AQ_NOTICE_STREAM_WRITABLE];
  b.paused = -1;
  assert_true(conn_pair_run(&p, 600 * AQ_S, bulk_done));
  assert_true(p.side[CLIENT].seen[AQ_NOTICE_STREAM_WRITABLE] > writable);
  bulk_check(&p, &b);
  conn_pair_free(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_handshake),
      cmocka_unit_test(test_handshake_with_loss),
      cmocka_unit_test(test_wrong_key),
      cmocka_unit_test(test_not_allowed),
      cmocka_unit_test(test_alpn_mismatch),
      cmocka_unit_test(test_unreachable),
      cmocka_unit_test(test_copies_do_not_amplify),
      cmocka_unit_test(test_a_lost_flight_comes_again),
      cmocka_unit_test(test_bulk),
      cmocka_unit_test(test_bulk_bad_link),
      cmocka_unit_test(test_back_pressure),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
