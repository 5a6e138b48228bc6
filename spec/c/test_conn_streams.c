/* Streams by the thousand, how each side of one ends, priorities, datagrams
 * and control streams.
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

#include "quic/conn_int.h"
#include "support/conn_pair.h"

#define CLIENT PAIR_CLIENT
#define SERVER PAIR_SERVER

static void establish(conn_pair *p, void (*tune)(conn_pair *p)) {
  conn_pair_init(p, tune);
  assert_int_equal(conn_pair_dial(p), 0);
  assert_true(conn_pair_run(p, 10 * AQ_S, conn_pair_both_confirmed));
}

static aq_stream *open_at(conn_pair *p, int side, int uni, int priority) {
  aq_id id = 0;
  assert_int_equal(aq_conn_open_stream(p->side[side].conn, uni, priority, &id),
                   0);
  return conn_pair_stream(p, side, id);
}

static aq_stream *accept_at(conn_pair *p, int side) {
  aq_id id = 0;
  if (aq_conn_accept_stream(p->side[side].conn, &id) != 0) {
    return NULL;
  }
  return conn_pair_stream(p, side, id);
}

static void put_text(aq_stream *s, const char *text) {
  size_t n = 0;
  assert_int_equal(aq_stream_put(s, (const uint8_t *)text, strlen(text), &n),
                   0);
  assert_int_equal(n, strlen(text));
}

static void expect_text(aq_stream *s, const char *text) {
  uint8_t buf[256];
  size_t n = 0;
  assert_int_equal(aq_stream_get(s, buf, sizeof(buf), &n), 0);
  assert_int_equal(n, strlen(text));
  assert_memory_equal(buf, text, n);
}

static void expect_end(aq_stream *s) {
  uint8_t buf[1];
  size_t n = 9;
  assert_int_equal(aq_stream_get(s, buf, 1, &n), 0);
  assert_int_equal(n, 0);
}

static void settle(conn_pair *p) {
  conn_pair_run(p, AQ_S, NULL);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(p->side[i].seen[AQ_NOTICE_CLOSED], 0);
  }
}

/* ---- many ------------------------------------------------------------------
 */

#define MANY 1000
static aq_stream *many[MANY];
static aq_stream *many_there[MANY];

static void test_thousand_streams(void **state) {
  conn_pair p;
  char text[32];
  (void)state;
  establish(&p, NULL);
  p.loss = 10;
  for (int i = 0; i < MANY; i++) {
    many[i] = open_at(&p, CLIENT, 0, 0);
    snprintf(text, sizeof(text), "question %d", i);
    put_text(many[i], text);
    aq_stream_put_fin(many[i]);
  }
  settle(&p);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_STREAM_INCOMING], MANY);
  for (int i = 0; i < MANY; i++) {
    aq_stream *s = accept_at(&p, SERVER);
    aq_stream_info n;
    assert_non_null(s);
    aq_stream_info_of(s, &n);
    int index = (int)(n.id / 4);
    many_there[index] = s;
    snprintf(text, sizeof(text), "question %d", index);
    expect_text(s, text);
    expect_end(s);
    snprintf(text, sizeof(text), "answer %d", index);
    put_text(s, text);
    aq_stream_put_fin(s);
  }
  assert_null(accept_at(&p, SERVER));
  settle(&p);
  for (int i = 0; i < MANY; i++) {
    snprintf(text, sizeof(text), "answer %d", i);
    expect_text(many[i], text);
    expect_end(many[i]);
    aq_stream_drop(many[i]);
    aq_stream_drop(many_there[i]);
  }
  assert_int_equal(aq_idmap_count(&p.side[CLIENT].ids), 0);
  assert_int_equal(aq_idmap_count(&p.side[SERVER].ids), 0);
  assert_int_equal(p.side[SERVER].conn->chunk_bytes, 0);
  conn_pair_free(&p);
}

static void tune_few(conn_pair *p) {
  p->side[SERVER].params.max_streams_bidi = 3;
  p->side[SERVER].params.max_streams_uni = 2;
}

/* The peer's limit holds, says when it is lifted, and is lifted only when the
 * other application let go of a stream. */
static void test_stream_limit(void **state) {
  conn_pair p;
  aq_stream *s[3];
  aq_id id = 0;
  (void)state;
  establish(&p, tune_few);
  for (int i = 0; i < 3; i++) {
    s[i] = open_at(&p, CLIENT, 0, 0);
    put_text(s[i], "x");
    aq_stream_put_fin(s[i]);
  }
  open_at(&p, CLIENT, 1, 0);
  open_at(&p, CLIENT, 1, 0); /* the control stream took none of these */
  aq_conn *c = p.side[CLIENT].conn;
  assert_int_equal(aq_conn_open_stream(c, 0, 0, &id), AQ_ERR_AGAIN);
  assert_int_equal(aq_conn_open_stream(c, 1, 0, &id), AQ_ERR_AGAIN);
  settle(&p);
  aq_stream *there = accept_at(&p, SERVER);
  expect_text(there, "x");
  expect_end(there);
  aq_stream_put_fin(there);
  settle(&p);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_STREAMS_AVAILABLE], 0);
  aq_stream_drop(there);
  settle(&p);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_STREAMS_AVAILABLE], 1);
  assert_int_equal(aq_conn_open_stream(c, 0, 0, &id), 0);
  assert_int_equal(aq_conn_open_stream(c, 0, 0, &id), AQ_ERR_AGAIN);
  conn_pair_free(&p);
}

/* ---- ends --------------------------------------------------------------- */

static void test_reset(void **state) {
  conn_pair p;
  uint8_t buf[64];
  size_t n = 0;
  aq_stream_info info;
  (void)state;
  establish(&p, NULL);
  aq_stream *a = open_at(&p, CLIENT, 0, 0);
  put_text(a, "hello");
  settle(&p);
  aq_stream *b = accept_at(&p, SERVER);
  expect_text(b, "hello");
  assert_int_equal(aq_stream_reset_now(a, 77), 0);
  assert_int_equal(aq_stream_put(a, buf, 1, &n), AQ_ERR_STREAM_FINISHED);
  settle(&p);
  assert_int_equal(aq_stream_get(b, buf, sizeof(buf), &n), AQ_ERR_STREAM_RESET);
  aq_stream_info_of(b, &info);
  assert_int_equal(info.reset_code, 77);
  /* The other direction is untouched. */
  put_text(b, "still here");
  aq_stream_put_fin(b);
  settle(&p);
  expect_text(a, "still here");
  expect_end(a);
  settle(&p);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_STREAM_CLOSED], 1);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_STREAM_CLOSED], 1);
  conn_pair_free(&p);
}

static void test_stop(void **state) {
  conn_pair p;
  static uint8_t big[300000];
  uint8_t buf[64];
  size_t n = 0;
  aq_stream_info info;
  (void)state;
  establish(&p, NULL);
  aq_stream *a = open_at(&p, CLIENT, 0, 0);
  assert_int_equal(aq_stream_put(a, big, sizeof(big), &n), 0);
  settle(&p);
  aq_stream *b = accept_at(&p, SERVER);
  assert_int_equal(aq_stream_stop_now(b, 42), 0);
  assert_int_equal(aq_stream_waiting(b), 0);
  assert_int_equal(aq_stream_get(b, buf, sizeof(buf), &n), AQ_ERR_CLOSED);
  settle(&p);
  assert_int_equal(aq_stream_put(a, big, 1, &n), AQ_ERR_STREAM_STOPPED);
  assert_int_equal(aq_stream_put_fin(a), AQ_ERR_STREAM_STOPPED);
  aq_stream_info_of(a, &info);
  assert_int_equal(info.stop_code, 42);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_STREAM_WRITABLE], 1);
  assert_true(aq_conn_flushed(p.side[CLIENT].conn));
  aq_stream_put_fin(b);
  settle(&p);
  expect_end(a);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_STREAM_CLOSED], 1);
  assert_int_equal(p.side[CLIENT].conn->chunk_bytes, 0);
  conn_pair_free(&p);
}

/* Dropping an unfinished stream resets one side and stops the other; a
 * finished one is delivered although nobody holds it any more. */
static void test_drop(void **state) {
  conn_pair p;
  uint8_t buf[64];
  size_t n = 0;
  (void)state;
  establish(&p, NULL);
  aq_stream *a = open_at(&p, CLIENT, 0, 0);
  aq_stream *c = open_at(&p, CLIENT, 1, 0);
  put_text(a, "cut");
  put_text(c, "whole");
  aq_stream_put_fin(c);
  aq_id id = c->id;
  aq_stream_drop(c);
  assert_null(conn_pair_stream(&p, CLIENT, id));
  settle(&p);
  aq_stream *b = accept_at(&p, SERVER);
  aq_stream *d = accept_at(&p, SERVER);
  assert_int_equal(b->uni + d->uni, 1);
  if (b->uni) {
    aq_stream *t = b;
    b = d;
    d = t;
  }
  expect_text(d, "whole");
  expect_end(d);
  aq_stream_drop(a);
  settle(&p);
  expect_text(b, "cut");
  assert_int_equal(aq_stream_get(b, buf, sizeof(buf), &n), AQ_ERR_STREAM_RESET);
  assert_int_equal(aq_stream_put(b, buf, 1, &n), AQ_ERR_STREAM_STOPPED);
  aq_stream_drop(b);
  aq_stream_drop(d);
  settle(&p);
  assert_true(aq_list_is_empty(&p.side[SERVER].conn->dead));
  assert_int_equal(aq_idmap_count(&p.side[CLIENT].ids), 0);
  assert_int_equal(aq_idmap_count(&p.side[SERVER].ids), 0);
  /* Only the control stream is left. */
  assert_ptr_equal(p.side[CLIENT].conn->streams.next,
                   &p.side[CLIENT].conn->control_tx->all_link);
  assert_ptr_equal(p.side[CLIENT].conn->streams.next->next,
                   &p.side[CLIENT].conn->streams);
  conn_pair_free(&p);
}

/* Bytes that nobody reads don't eat the connection's window. */
static void test_credit_of_unread(void **state) {
  conn_pair p;
  static uint8_t big[1 << 20];
  size_t n = 0;
  (void)state;
  establish(&p, NULL);
  for (int i = 0; i < 40; i++) {
    aq_stream *a = open_at(&p, CLIENT, 1, 0);
    assert_int_equal(aq_stream_put(a, big, sizeof(big), &n), 0);
    assert_int_equal(n, sizeof(big));
    if (i % 2 == 0) {
      aq_stream_put_fin(a);
    }
    settle(&p);
    aq_stream *b = accept_at(&p, SERVER);
    assert_int_equal(aq_stream_waiting(b), sizeof(big));
    aq_stream_drop(b);
    aq_stream_drop(a);
  }
  settle(&p);
  assert_int_equal(p.side[SERVER].conn->chunk_bytes, 0);
  assert_int_equal(p.side[CLIENT].conn->chunk_bytes, 0);
  conn_pair_free(&p);
}

static void test_empty_stream(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, NULL);
  aq_stream *a = open_at(&p, SERVER, 1, 0);
  aq_stream_put_fin(a);
  settle(&p);
  aq_stream *b = accept_at(&p, CLIENT);
  assert_non_null(b);
  assert_true(b->uni && b->incoming);
  size_t n = 0;
  uint8_t x = 0;
  assert_int_equal(aq_stream_put(b, &x, 1, &n), AQ_ERR_INVAL);
  assert_int_equal(aq_stream_get(a, &x, 1, &n), AQ_ERR_INVAL);
  expect_end(b);
  conn_pair_free(&p);
}

/* A fin after everything was acknowledged; late, alone. */
static void test_late_fin(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, NULL);
  aq_stream *a = open_at(&p, CLIENT, 1, 0);
  put_text(a, "data");
  settle(&p);
  assert_true(aq_conn_flushed(p.side[CLIENT].conn));
  aq_stream_put_fin(a);
  assert_false(aq_conn_flushed(p.side[CLIENT].conn));
  settle(&p);
  assert_true(aq_conn_flushed(p.side[CLIENT].conn));
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_STREAM_CLOSED], 1);
  conn_pair_free(&p);
}

/* ---- priorities --------------------------------------------------------- */

static void test_priority(void **state) {
  conn_pair p;
  static uint8_t big[400000];
  size_t n = 0;
  (void)state;
  establish(&p, NULL);
  aq_stream *low = open_at(&p, CLIENT, 1, -5);
  aq_stream *equal[2] = {open_at(&p, CLIENT, 1, 0), open_at(&p, CLIENT, 1, 0)};
  aq_stream *high = open_at(&p, CLIENT, 1, 5);
  aq_stream_put(low, big, sizeof(big), &n);
  aq_stream_put(equal[0], big, sizeof(big), &n);
  aq_stream_put(equal[1], big, sizeof(big), &n);
  aq_stream_put(high, big, sizeof(big), &n);
  while (high->tx_sent < high->tx.end) {
    conn_pair_turn(&p, p.now + AQ_S);
    if (high->tx_sent < high->tx.end) {
      assert_int_equal(equal[0]->tx_sent, 0);
    }
  }
  while (equal[0]->tx_sent < 200000) {
    conn_pair_turn(&p, p.now + AQ_S);
    int64_t d = (int64_t)equal[0]->tx_sent - (int64_t)equal[1]->tx_sent;
    assert_true(d < 3000 && d > -3000);
    assert_int_equal(low->tx_sent, 0);
  }
  aq_stream_priority(low, 9);
  uint64_t before = equal[0]->tx_sent;
  while (low->tx_sent < low->tx.end) {
    conn_pair_turn(&p, p.now + AQ_S);
  }
  assert_true(equal[0]->tx_sent < before + 100000);
  conn_pair_free(&p);
}

/* ---- the connection's credit -------------------------------------------- */

static void tune_small_window(conn_pair *p) {
  p->side[SERVER].params.conn_window = 100000;
  p->side[SERVER].params.stream_window = 80000;
}

static void test_connection_credit(void **state) {
  conn_pair p;
  static uint8_t big[200000];
  static uint8_t buf[70000];
  aq_stream *a[3], *b[3];
  size_t n = 0;
  (void)state;
  establish(&p, tune_small_window);
  for (int i = 0; i < 3; i++) {
    a[i] = open_at(&p, CLIENT, 1, 0);
    assert_int_equal(aq_stream_put(a[i], big, sizeof(big), &n), 0);
    aq_stream_put_fin(a[i]);
  }
  aq_stream *empty = open_at(&p, CLIENT, 1, 0);
  settle(&p);
  /* An end without data needs no credit. */
  aq_stream_put_fin(empty);
  settle(&p);
  size_t held = 0, total = 0, ended = 0;
  for (int i = 0; i < 3; i++) {
    b[i] = accept_at(&p, SERVER);
    if (b[i] != NULL) {
      held += aq_stream_waiting(b[i]);
    }
  }
  assert_true(held <= 100000 && held > 90000);
  for (int turn = 0; turn < 200 && ended < 3; turn++) {
    for (int i = 0; i < 3; i++) {
      if (b[i] == NULL) {
        b[i] = accept_at(&p, SERVER);
        continue;
      }
      while (!b[i]->end_read &&
             aq_stream_get(b[i], buf, sizeof(buf), &n) == 0) {
        total += n;
        ended += n == 0 && !b[i]->sends;
      }
    }
    conn_pair_run(&p, 200 * AQ_MS, NULL);
  }
  assert_true(total == 600000 || total == 400000);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_CLOSED], 0);
  assert_true(aq_conn_flushed(p.side[CLIENT].conn) || total == 400000);
  conn_pair_free(&p);
}

/* Thousands of tiny frames of one stream are in flight when all are lost. */
static void test_many_tiny_writes(void **state) {
  conn_pair p;
  uint8_t buf[4096];
  size_t n = 0, got = 0, sent = 0;
  (void)state;
  establish(&p, NULL);
  static uint8_t big[1 << 20];
  aq_stream *warm = open_at(&p, CLIENT, 1, 0); /* opens the window */
  aq_stream_put(warm, big, sizeof(big), &n);
  settle(&p);
  aq_stream *a = open_at(&p, CLIENT, 1, 0);
  put_text(a, "x");
  settle(&p);
  p.cut = 1;
  uint64_t packets = p.side[CLIENT].packets;
  for (int k = 0; k < 20000; k++) {
    aq_stream_put(a, (const uint8_t *)"y", 1, &n);
    sent += n;
    /* No time passes: each turn sends a packet while the window lasts. */
    conn_pair_turn(&p, p.now + 5 * AQ_US);
  }
  assert_true(p.side[CLIENT].packets - packets > AQ_STREAM_FRAMES_MAX / 2);
  assert_true(a->tx_sent - a->tx.begin <= AQ_STREAM_FRAMES_MAX);
  assert_true(a->tx.end - a->tx.begin > 8000);
  p.cut = 0;
  conn_pair_run(&p, 20 * AQ_S, NULL);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_CLOSED], 0);
  accept_at(&p, SERVER);
  aq_stream *b = accept_at(&p, SERVER);
  while (aq_stream_get(b, buf, sizeof(buf), &n) == 0) {
    got += n;
  }
  assert_int_equal(got, sent + 1);
  conn_pair_free(&p);
}

/* ---- datagrams ---------------------------------------------------------- */

static void test_datagrams(void **state) {
  conn_pair p;
  uint8_t buf[2000] = {0};
  size_t n = 0;
  aq_conn_info i;
  (void)state;
  establish(&p, NULL);
  aq_conn *c = p.side[CLIENT].conn;
  for (int k = 0; k < 200; k++) {
    memset(buf, k, 64);
    assert_int_equal(aq_conn_datagram_send(c, buf, 64), 0);
  }
  uint64_t packets = p.side[CLIENT].packets;
  settle(&p);
  /* Several share a packet. */
  assert_true(p.side[CLIENT].packets - packets < 40);
  for (int k = 0; k < 200; k++) {
    assert_int_equal(
        aq_conn_datagram_receive(p.side[SERVER].conn, buf, sizeof(buf), &n), 0);
    assert_int_equal(n, 64);
    assert_int_equal(buf[0], k);
  }
  assert_int_equal(
      aq_conn_datagram_receive(p.side[SERVER].conn, buf, sizeof(buf), &n),
      AQ_ERR_AGAIN);
  aq_conn_get_info_of(c, p.now, &i);
  assert_int_equal(i.datagrams_sent, 200);
  assert_int_equal(i.datagrams_acked, 200);
  assert_int_equal(i.datagrams_lost, 0);
  /* The largest that fits, and one byte more. */
  assert_true(i.max_datagram > 1300 && i.max_datagram < sizeof(buf));
  assert_int_equal(aq_conn_datagram_send(c, buf, i.max_datagram + 1),
                   AQ_ERR_TOO_LARGE);
  assert_int_equal(aq_conn_datagram_send(c, buf, i.max_datagram), 0);
  assert_int_equal(aq_conn_datagram_send(c, buf, 0), 0);
  settle(&p);
  aq_conn *s = p.side[SERVER].conn;
  assert_int_equal(aq_conn_datagram_receive(s, buf, 10, &n), AQ_ERR_TOO_LARGE);
  assert_int_equal(n, i.max_datagram);
  assert_int_equal(aq_conn_datagram_receive(s, buf, sizeof(buf), &n), 0);
  assert_int_equal(n, i.max_datagram);
  assert_int_equal(aq_conn_datagram_receive(s, buf, sizeof(buf), &n), 0);
  assert_int_equal(n, 0);
  conn_pair_free(&p);
}

static void test_datagram_queues(void **state) {
  conn_pair p;
  uint8_t buf[1000] = {0};
  size_t n = 0;
  aq_conn_info i;
  (void)state;
  establish(&p, NULL);
  aq_conn *c = p.side[CLIENT].conn;
  for (int k = 0; k < 256; k++) {
    assert_int_equal(aq_conn_datagram_send(c, buf, sizeof(buf)), 0);
  }
  assert_int_equal(aq_conn_datagram_send(c, buf, sizeof(buf)), AQ_ERR_AGAIN);
  settle(&p);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_DATAGRAM_WRITABLE], 1);
  for (int k = 0; k < 100; k++) {
    buf[0] = (uint8_t)k;
    assert_int_equal(aq_conn_datagram_send(c, buf, sizeof(buf)), 0);
  }
  settle(&p);
  /* The oldest 100 were dropped and counted. */
  aq_conn *s = p.side[SERVER].conn;
  aq_conn_get_info_of(s, p.now, &i);
  assert_int_equal(i.datagrams_received, 356);
  assert_int_equal(i.datagrams_dropped, 100);
  int count = 0;
  while (aq_conn_datagram_receive(s, buf, sizeof(buf), &n) == 0) {
    count++;
  }
  assert_int_equal(count, 256);
  assert_int_equal(buf[0], 99);
  conn_pair_free(&p);
}

static void test_datagrams_lost_are_counted(void **state) {
  conn_pair p;
  uint8_t buf[1000] = {0};
  aq_conn_info i;
  size_t n = 0;
  int got = 0;
  (void)state;
  establish(&p, NULL);
  p.loss = 100;
  for (int k = 0; k < 2000; k++) {
    while (aq_conn_datagram_send(p.side[CLIENT].conn, buf, sizeof(buf)) != 0) {
      conn_pair_turn(&p, p.now + AQ_S);
    }
    while (aq_conn_datagram_receive(p.side[SERVER].conn, buf, sizeof(buf),
                                    &n) == 0) {
      got++;
    }
  }
  p.loss = 0;
  settle(&p);
  while (aq_conn_datagram_receive(p.side[SERVER].conn, buf, sizeof(buf), &n) ==
         0) {
    got++;
  }
  aq_conn_get_info_of(p.side[CLIENT].conn, p.now, &i);
  assert_int_equal(i.datagrams_sent, 2000);
  aq_conn_info there;
  aq_conn_get_info_of(p.side[SERVER].conn, p.now, &there);
  /* An acknowledgement may be lost for good with its packet. */
  assert_int_equal(got + there.datagrams_dropped, there.datagrams_received);
  assert_true(i.datagrams_acked <= there.datagrams_received);
  assert_true(i.datagrams_acked >= there.datagrams_received * 98 / 100);
  /* A loss may be spurious, so that both can be counted for one. */
  assert_true(i.datagrams_acked + i.datagrams_lost >= 2000);
  assert_true(got > 1600 && got < 1950);
  conn_pair_free(&p);
}

/* Neither starves the other. */
static void test_datagrams_beside_stream(void **state) {
  conn_pair p;
  static uint8_t big[1 << 20];
  uint8_t buf[1000] = {0};
  size_t n = 0;
  (void)state;
  establish(&p, NULL);
  aq_stream *a = open_at(&p, CLIENT, 1, 0);
  aq_stream_put(a, big, sizeof(big), &n);
  for (int k = 0; k < 250; k++) {
    assert_int_equal(
        aq_conn_datagram_send(p.side[CLIENT].conn, buf, sizeof(buf)), 0);
  }
  while (p.side[CLIENT].conn->dgram_tx.count > 50) {
    conn_pair_turn(&p, p.now + AQ_S);
  }
  assert_true(a->tx_sent > 100000 && a->tx_sent < 500000);
  conn_pair_free(&p);
}

/* ---- control streams ---------------------------------------------------- */

static void test_control(void **state) {
  conn_pair p;
  const uint8_t *data = NULL;
  aq_id id = 0;
  (void)state;
  establish(&p, NULL);
  aq_conn *c = p.side[CLIENT].conn, *s = p.side[SERVER].conn;
  assert_true(aq_conn_has_control(c) && aq_conn_has_control(s));
  assert_int_equal(aq_conn_control_write(c, (const uint8_t *)"ping", 4), 0);
  assert_int_equal(aq_conn_control_write(s, (const uint8_t *)"pong", 4), 0);
  settle(&p);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_CONTROL], 1);
  assert_int_equal(aq_conn_control_peek(s, &data), 4);
  assert_memory_equal(data, "ping", 4);
  aq_conn_control_consume(s, 1);
  assert_int_equal(aq_conn_control_peek(s, &data), 3);
  assert_memory_equal(data, "ing", 3);
  aq_conn_control_consume(s, 3);
  assert_int_equal(aq_conn_control_peek(c, &data), 4);
  /* The application sees nothing of them. */
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_STREAM_INCOMING], 0);
  assert_int_equal(aq_conn_accept_stream(s, &id), AQ_ERR_AGAIN);
  aq_stream *a = open_at(&p, CLIENT, 1, 0);
  assert_int_equal(a->qid, 6);
  conn_pair_free(&p);
}

static void test_control_much(void **state) {
  conn_pair p;
  uint8_t buf[1000];
  const uint8_t *data = NULL;
  uint64_t sent = 0, got = 0;
  (void)state;
  establish(&p, NULL);
  p.loss = 20;
  aq_conn *c = p.side[CLIENT].conn, *s = p.side[SERVER].conn;
  while (got < 3000000) {
    for (size_t i = 0; i < sizeof(buf); i++) {
      buf[i] = conn_pair_byte(5, sent + i);
    }
    if (sent < 3000000 && aq_conn_control_write(c, buf, sizeof(buf)) == 0) {
      sent += sizeof(buf);
      continue;
    }
    assert_true(conn_pair_turn(&p, p.now + 10 * AQ_S));
    size_t n = aq_conn_control_peek(s, &data);
    for (size_t i = 0; i < n; i++) {
      assert_int_equal(data[i], conn_pair_byte(5, got + i));
    }
    got += n;
    aq_conn_control_consume(s, n);
  }
  assert_int_equal(got, sent);
  conn_pair_free(&p);
}

static void end_control(conn_pair *p, int how) {
  aq_conn *c = p->side[CLIENT].conn;
  if (how == 0) {
    c->control_tx->finished = 1;
    c->tx_unacked++;
    aq_stream_schedule(c->control_tx);
  } else if (how == 1) {
    aq_stream_reset_now(c->control_tx, 0);
  } else {
    aq_stream_stop_now(c->control_rx, 0);
  }
}

static void test_control_ended_by_peer(void **state) {
  (void)state;
  for (int how = 0; how < 3; how++) {
    conn_pair p;
    establish(&p, NULL);
    aq_conn_control_write(p.side[SERVER].conn, (const uint8_t *)"x", 1);
    aq_conn_control_write(p.side[CLIENT].conn, (const uint8_t *)"x", 1);
    settle(&p);
    assert_non_null(p.side[CLIENT].conn->control_rx);
    end_control(&p, how);
    conn_pair_run(&p, AQ_S, NULL);
    assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_CLOSED], 1);
    assert_int_equal(p.side[SERVER].closed.error, AQ_ERR_PROTOCOL);
    assert_int_equal(p.side[SERVER].closed.code, 0x0a);
    assert_int_equal(p.side[CLIENT].closed.error, AQ_ERR_PEER_CLOSED);
    conn_pair_free(&p);
  }
}

/* Nobody consumes: the connection ends instead of growing. */
static void test_control_overflow(void **state) {
  conn_pair p;
  uint8_t buf[1000] = {0};
  (void)state;
  establish(&p, NULL);
  for (int i = 0; i < 300; i++) {
    if (aq_conn_control_write(p.side[CLIENT].conn, buf, sizeof(buf)) != 0) {
      conn_pair_turn(&p, p.now + AQ_S);
    }
  }
  conn_pair_run(&p, AQ_S, NULL);
  assert_int_equal(p.side[SERVER].closed.error, AQ_ERR_LIMIT);
  assert_true(p.side[SERVER].conn->control_len <= 65536);
  conn_pair_free(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_thousand_streams),
      cmocka_unit_test(test_stream_limit),
      cmocka_unit_test(test_reset),
      cmocka_unit_test(test_stop),
      cmocka_unit_test(test_drop),
      cmocka_unit_test(test_credit_of_unread),
      cmocka_unit_test(test_empty_stream),
      cmocka_unit_test(test_late_fin),
      cmocka_unit_test(test_priority),
      cmocka_unit_test(test_connection_credit),
      cmocka_unit_test(test_many_tiny_writes),
      cmocka_unit_test(test_datagrams),
      cmocka_unit_test(test_datagram_queues),
      cmocka_unit_test(test_datagrams_lost_are_counted),
      cmocka_unit_test(test_datagrams_beside_stream),
      cmocka_unit_test(test_control),
      cmocka_unit_test(test_control_much),
      cmocka_unit_test(test_control_ended_by_peer),
      cmocka_unit_test(test_control_overflow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
