/* How connections end, move and live on: close, time-outs, resets, key updates,
 * a peer's new address, and memory that runs out.
 *
 * SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "quic/conn_int.h"
#include "support/conn_pair.h"

#define CLIENT PAIR_CLIENT
#define SERVER PAIR_SERVER

static void establish(conn_pair *p, void (*tune)(conn_pair *p)) {
  conn_pair_init(p, tune);
  assert_int_equal(conn_pair_dial(p), 0);
  assert_true(conn_pair_run(p, 10 * AQ_S, conn_pair_both_confirmed));
}

static void close_at(conn_pair *p, int side, int app, uint64_t code,
                     const char *why) {
  aq_conn_close_with(p->side[side].conn, p->now, app, code, why, strlen(why));
  conn_pair_drain(p, side);
}

/* Sends text on a fresh stream and sees it arrive. */
static void exchange(conn_pair *p, int from) {
  aq_id id = 0;
  uint8_t buf[8];
  size_t n = 0;
  assert_int_equal(aq_conn_open_stream(p->side[from].conn, 1, 0, &id), 0);
  aq_stream *s = conn_pair_stream(p, from, id);
  assert_int_equal(aq_stream_put(s, (const uint8_t *)"hi", 2, &n), 0);
  aq_stream_put_fin(s);
  conn_pair_run(p, 3 * AQ_S, NULL);
  assert_int_equal(aq_conn_accept_stream(p->side[1 - from].conn, &id), 0);
  aq_stream *t = conn_pair_stream(p, 1 - from, id);
  assert_int_equal(aq_stream_get(t, buf, sizeof(buf), &n), 0);
  assert_int_equal(n, 2);
  aq_stream_drop(t);
  aq_stream_drop(s);
}

/* ---- close -----------------------------------------------------------------
 */

static void test_close(void **state) {
  (void)state;
  for (int by = 0; by < 2; by++) {
    for (int app = 0; app < 2; app++) {
      conn_pair p;
      establish(&p, NULL);
      close_at(&p, by, app, 1234, "bye\nbye");
      assert_int_equal(p.side[by].seen[AQ_NOTICE_CLOSED], 1);
      assert_int_equal(p.side[by].closed.error, 0);
      assert_true(aq_conn_is_closed(p.side[by].conn));
      conn_pair_run(&p, AQ_S, NULL);
      pair_side *o = &p.side[1 - by];
      assert_int_equal(o->seen[AQ_NOTICE_CLOSED], 1);
      assert_int_equal(o->closed.error, AQ_ERR_PEER_CLOSED);
      assert_int_equal(o->closed.code, 1234);
      assert_string_equal(o->closed.text, "bye.bye");
      for (int i = 0; i < 2; i++) {
        aq_tstamp until = aq_conn_linger_until(p.side[i].conn);
        assert_true(until < p.now + 10 * AQ_S && until > 1000 * AQ_S);
        assert_int_equal(aq_conn_next_timeout(p.side[i].conn), AQ_NEVER);
      }
      conn_pair_free(&p);
    }
  }
}

/* The first CONNECTION_CLOSE is lost: what the other sends draws another. */
static void test_close_is_repeated(void **state) {
  conn_pair p;
  aq_id id = 0;
  size_t n = 0;
  (void)state;
  establish(&p, NULL);
  p.drop_to[SERVER] = 1;
  close_at(&p, CLIENT, 1, 5, "x");
  conn_pair_run(&p, 5 * AQ_MS, NULL);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_CLOSED], 0);
  aq_conn_open_stream(p.side[SERVER].conn, 1, 0, &id);
  aq_stream_put(conn_pair_stream(&p, SERVER, id), (const uint8_t *)"a", 1, &n);
  conn_pair_run(&p, 50 * AQ_MS, NULL);
  assert_int_equal(p.side[SERVER].closed.code, 5);
  conn_pair_free(&p);
}

/* Closing answers ever less, draining nothing. */
static void test_closing_is_quiet(void **state) {
  conn_pair p;
  uint8_t junk[100] = {0x40};
  static uint8_t buf[AQ_TRANSMIT_MAX];
  aq_transmit t;
  (void)state;
  establish(&p, NULL);
  close_at(&p, CLIENT, 1, 5, "x");
  aq_conn *c = p.side[CLIENT].conn;
  int answers = 0;
  assert_int_equal(aq_conn_poll_transmit(c, p.now, &t, buf, sizeof(buf)), 1);
  for (int i = 0; i < 1000; i++) {
    aq_conn_handle_packet(c, p.now, 0, &p.side[CLIENT].bound,
                          &p.side[SERVER].addr, 0, junk, sizeof(junk));
    answers += aq_conn_poll_transmit(c, p.now, &t, buf, sizeof(buf));
  }
  assert_int_equal(answers, 10);
  aq_tstamp over = aq_conn_linger_until(c);
  assert_int_equal(aq_conn_handle_packet(c, over, 0, &p.side[CLIENT].bound,
                                         &p.side[SERVER].addr, 0, junk, 100),
                   AQ_CONN_OK);
  assert_int_equal(aq_conn_poll_transmit(c, over, &t, buf, sizeof(buf)), 0);
  conn_pair_free(&p);
}

static int server_begun(conn_pair *p) {
  return p->side[SERVER].conn != NULL;
}

static void test_close_in_handshake(void **state) {
  conn_pair p;
  (void)state;
  /* Before anything was sent. */
  conn_pair_init(&p, NULL);
  assert_int_equal(conn_pair_dial(&p), 0);
  close_at(&p, CLIENT, 1, 9, "early");
  conn_pair_run(&p, AQ_S, NULL);
  assert_int_equal(p.side[CLIENT].packets, 0);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_CLOSED], 1);
  assert_true(aq_conn_linger_until(p.side[CLIENT].conn) <= p.now);
  conn_pair_free(&p);
  /* The client, then the server, in the middle. */
  for (int by = 0; by < 2; by++) {
    conn_pair_init(&p, NULL);
    assert_int_equal(conn_pair_dial(&p), 0);
    assert_true(conn_pair_run(&p, AQ_S, server_begun));
    close_at(&p, by, 1, 9, "early");
    conn_pair_run(&p, 2 * AQ_S, NULL);
    assert_int_equal(p.side[by].closed.error, 0);
    assert_int_equal(p.side[1 - by].seen[AQ_NOTICE_CLOSED], 1);
    assert_int_equal(p.side[1 - by].closed.error, AQ_ERR_PEER_CLOSED);
    conn_pair_free(&p);
  }
}

/* Everything may be asked of a closed connection. */
static void test_verbs_after_close(void **state) {
  conn_pair p;
  aq_id id = 0, other = 0;
  uint8_t buf[16] = {0};
  size_t n = 0;
  aq_conn_info i;
  (void)state;
  establish(&p, NULL);
  aq_conn *c = p.side[CLIENT].conn;
  assert_int_equal(aq_conn_open_stream(c, 0, 0, &id), 0);
  aq_stream *s = conn_pair_stream(&p, CLIENT, id);
  aq_stream_put(s, buf, 16, &n);
  conn_pair_run(&p, AQ_S, NULL);
  assert_int_equal(aq_conn_accept_stream(p.side[SERVER].conn, &other), 0);
  close_at(&p, CLIENT, 1, 0, "");
  close_at(&p, CLIENT, 1, 1, "again");
  conn_pair_run(&p, AQ_S, NULL);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_CLOSED], 1);
  assert_int_equal(aq_stream_put(s, buf, 1, &n), AQ_ERR_CLOSED);
  assert_int_equal(aq_stream_put_fin(s), AQ_ERR_CLOSED);
  assert_int_equal(aq_stream_get(s, buf, 1, &n), AQ_ERR_CLOSED);
  assert_int_equal(aq_stream_reset_now(s, 1), AQ_ERR_CLOSED);
  assert_int_equal(aq_stream_stop_now(s, 1), AQ_ERR_CLOSED);
  assert_int_equal(aq_conn_open_stream(c, 0, 0, &id), AQ_ERR_CLOSED);
  assert_int_equal(aq_conn_accept_stream(c, &id), AQ_ERR_CLOSED);
  assert_int_equal(aq_conn_datagram_send(c, buf, 1), AQ_ERR_CLOSED);
  assert_int_equal(aq_conn_datagram_receive(c, buf, 1, &n), AQ_ERR_CLOSED);
  assert_int_equal(aq_conn_control_write(c, buf, 1), AQ_ERR_CLOSED);
  assert_int_equal(aq_conn_key_update(c, p.now), AQ_ERR_CLOSED);
  aq_conn_ping_now(c, p.now);
  aq_conn_keep_alive(c, AQ_S);
  aq_conn_handle_timeout(c, p.now);
  aq_conn_get_info_of(c, p.now, &i);
  assert_int_equal(i.state, AQ_STATE_CLOSED);
  /* What had arrived can still be read, then it says so. */
  aq_stream *t = conn_pair_stream(&p, SERVER, other);
  assert_int_equal(aq_stream_get(t, buf, 16, &n), 0);
  assert_int_equal(n, 16);
  assert_int_equal(aq_stream_get(t, buf, 16, &n), AQ_ERR_CLOSED);
  aq_stream_drop(t);
  aq_stream_drop(s);
  conn_pair_free(&p);
}

/* ---- silence ------------------------------------------------------------ */

static void tune_no_keep_alive(conn_pair *p) {
  for (int i = 0; i < 2; i++) {
    p->side[i].params.keep_alive = 0;
    p->side[i].params.idle_timeout = 5 * AQ_S;
  }
}

static void test_idle_timeout(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, tune_no_keep_alive);
  aq_tstamp start = p.now;
  assert_true(conn_pair_run(&p, 60 * AQ_S, conn_pair_both_closed));
  assert_true(p.now - start >= 5 * AQ_S && p.now - start < 7 * AQ_S);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(p.side[i].closed.error, AQ_ERR_IDLE_TIMEOUT);
    assert_true(aq_conn_linger_until(p.side[i].conn) <= p.now);
  }
  conn_pair_free(&p);
}

static void tune_keep_alive(conn_pair *p) {
  tune_no_keep_alive(p);
  p->side[CLIENT].params.keep_alive = 2 * AQ_S;
}

static void test_keep_alive(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, tune_keep_alive);
  conn_pair_run(&p, 60 * AQ_S, NULL);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_CLOSED], 0);
  exchange(&p, SERVER);
  /* The peer is gone: then it does time out. */
  p.cut = 1;
  assert_true(conn_pair_run(&p, 60 * AQ_S, conn_pair_both_closed));
  assert_int_equal(p.side[CLIENT].closed.error, AQ_ERR_IDLE_TIMEOUT);
  conn_pair_free(&p);
}

static int client_closed(conn_pair *p) {
  return p->side[CLIENT].seen[AQ_NOTICE_CLOSED] > 0;
}

/* One packet of the server arrives and no other: it was reachable. */
static void test_handshake_timeout(void **state) {
  conn_pair p;
  (void)state;
  conn_pair_init(&p, NULL);
  p.handshake_timeout = 2 * AQ_S;
  p.pass_to[CLIENT] = 2;
  aq_tstamp start = p.now;
  assert_int_equal(conn_pair_dial(&p), 0);
  assert_true(conn_pair_run(&p, 60 * AQ_S, client_closed));
  assert_true(p.now - start >= 2 * AQ_S && p.now - start < 3 * AQ_S);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_ESTABLISHED], 0);
  assert_int_equal(p.side[CLIENT].closed.error, AQ_ERR_TIMEOUT);
  conn_pair_run(&p, AQ_S, NULL);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_ESTABLISHED], 0);
  conn_pair_free(&p);
}

/* The server has forgotten everything and says so. */
static void test_stateless_reset(void **state) {
  conn_pair p;
  uint8_t pkt[64];
  uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN];
  (void)state;
  establish(&p, NULL);
  conn_pair_run(&p, AQ_S, NULL);
  const ngtcp2_cid *dcid = ngtcp2_conn_get_dcid2(p.side[CLIENT].conn->q);
  assert_int_equal(
      aq_crypto_reset_token(token, &p.side[SERVER].shared.secrets, dcid), 0);
  memset(pkt, 0x55, sizeof(pkt));
  memcpy(pkt + sizeof(pkt) - sizeof(token), token, sizeof(token));
  uint8_t bad[64];
  memcpy(bad, pkt, sizeof(bad));
  bad[63] ^= 1;
  aq_conn *c = p.side[CLIENT].conn;
  aq_conn_handle_packet(c, p.now, 0, &p.side[CLIENT].bound,
                        &p.side[SERVER].addr, 0, bad, sizeof(bad));
  assert_false(aq_conn_is_closed(c));
  aq_conn_handle_packet(c, p.now, 0, &p.side[CLIENT].bound,
                        &p.side[SERVER].addr, 0, pkt, sizeof(pkt));
  conn_pair_drain(&p, CLIENT);
  assert_int_equal(p.side[CLIENT].closed.error, AQ_ERR_STATELESS_RESET);
  conn_pair_free(&p);
}

/* The clock of the caller steps back; suspended for ten seconds it goes on. */
static void test_clock(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, NULL);
  p.now -= AQ_S;
  exchange(&p, CLIENT);
  p.now += 10 * AQ_S;
  exchange(&p, SERVER);
  assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_CLOSED], 0);
  conn_pair_free(&p);
}

/* ---- keys and paths ----------------------------------------------------- */

/* Asks until it may: a packet must have passed since the last one. */
static int update_keys(conn_pair *p, int side) {
  int rv = AQ_ERR_AGAIN;
  for (int i = 0; i < 3 && rv == AQ_ERR_AGAIN; i++) {
    rv = aq_conn_key_update(p->side[side].conn, p->now);
    if (rv == AQ_ERR_AGAIN) {
      conn_pair_run(p, AQ_S, NULL);
    }
  }
  return rv;
}

static void test_key_update(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, NULL);
  conn_pair_run(&p, 5 * AQ_S, NULL);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(update_keys(&p, i % 2), 0);
    assert_int_equal(aq_conn_key_update(p.side[i % 2].conn, p.now),
                     AQ_ERR_AGAIN);
    exchange(&p, i % 2);
    exchange(&p, 1 - i % 2);
  }
  for (int i = 0; i < 2; i++) {
    assert_int_equal(p.side[i].seen[AQ_NOTICE_CLOSED], 0);
  }
  conn_pair_free(&p);
}

/* Asks in every state of a handshake; only a confirmed one may say yes. */
static int asked_early(conn_pair *p) {
  for (int i = 0; i < 2; i++) {
    if (p->side[i].conn != NULL && !p->side[i].seen[AQ_NOTICE_CONFIRMED]) {
      assert_int_equal(aq_conn_key_update(p->side[i].conn, p->now),
                       AQ_ERR_AGAIN);
    }
  }
  return conn_pair_both_confirmed(p);
}

static void test_key_update_early(void **state) {
  conn_pair p;
  (void)state;
  conn_pair_init(&p, NULL);
  assert_int_equal(conn_pair_dial(&p), 0);
  assert_true(conn_pair_run(&p, 10 * AQ_S, asked_early));
  assert_int_equal(update_keys(&p, CLIENT), 0);
  exchange(&p, CLIENT);
  conn_pair_free(&p);
}

static void test_rebinding(void **state) {
  conn_pair p;
  aq_conn_info i;
  (void)state;
  establish(&p, NULL);
  for (int k = 0; k < 3; k++) {
    conn_pair_run(&p, 2 * AQ_S, NULL);
    p.side[CLIENT].addr.port = (uint16_t)(50000 + k);
    if (k == 2) {
      p.side[CLIENT].addr.ip[3] = 77;
    }
    exchange(&p, CLIENT);
    exchange(&p, SERVER);
    assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_PATH_CHANGED], k + 1);
    assert_true(aq_addr_equal(&p.side[SERVER].moved_to, &p.side[CLIENT].addr));
    aq_conn_get_info_of(p.side[SERVER].conn, p.now, &i);
    assert_true(aq_addr_equal(&i.remote, &p.side[CLIENT].addr));
    assert_int_equal(p.side[CLIENT].seen[AQ_NOTICE_PATH_CHANGED], 0);
  }
  conn_pair_free(&p);
}

static void test_migration(void **state) {
  conn_pair p;
  aq_conn_info i;
  (void)state;
  establish(&p, NULL);
  conn_pair_run(&p, AQ_S, NULL);
  pair_side *c = &p.side[CLIENT];
  const uint8_t ip[4] = {198, 51, 100, 9};
  c->second = aq_addr_v4(ip, 7000);
  assert_int_equal(
      aq_conn_migrate(c->conn, p.now, 1, &c->second, &p.side[SERVER].addr), 0);
  assert_int_equal(aq_conn_migrate(p.side[SERVER].conn, p.now, 0,
                                   &p.side[SERVER].addr, &c->second),
                   AQ_ERR_INVAL);
  exchange(&p, CLIENT);
  exchange(&p, SERVER);
  assert_int_equal(c->seen[AQ_NOTICE_PATH_CHANGED], 1);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_PATH_CHANGED], 1);
  assert_true(aq_addr_equal(&p.side[SERVER].moved_to, &c->second));
  aq_conn_get_info_of(c->conn, p.now, &i);
  assert_true(aq_addr_equal(&i.local, &c->second));
  /* The first socket may go now. */
  c->addr.port = 1;
  exchange(&p, CLIENT);
  exchange(&p, SERVER);
  conn_pair_free(&p);
}

/* The new path is dead: the old one stays. */
static void test_migration_fails(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, NULL);
  conn_pair_run(&p, AQ_S, NULL);
  pair_side *c = &p.side[CLIENT];
  const uint8_t ip[4] = {198, 51, 100, 9};
  aq_addr dead = aq_addr_v4(ip, 7000);
  aq_addr nobody = aq_addr_v4(ip, 9999);
  assert_int_equal(aq_conn_migrate(c->conn, p.now, 1, &dead, &nobody), 0);
  exchange(&p, CLIENT);
  exchange(&p, SERVER);
  conn_pair_run(&p, 10 * AQ_S, NULL);
  exchange(&p, CLIENT);
  assert_int_equal(c->seen[AQ_NOTICE_PATH_CHANGED], 0);
  assert_int_equal(c->seen[AQ_NOTICE_CLOSED], 0);
  conn_pair_free(&p);
}

static void tune_loopback(conn_pair *p) {
  const uint8_t ip[4] = {127, 0, 0, 1};
  for (int i = 0; i < 2; i++) {
    p->side[i].addr = p->side[i].bound = aq_addr_v4(ip, (uint16_t)(4000 + i));
  }
}

static void bulk_through(conn_pair *p) {
  static uint8_t big[500000];
  aq_id id = 0;
  size_t n = 0;
  assert_int_equal(aq_conn_open_stream(p->side[CLIENT].conn, 1, 0, &id), 0);
  aq_stream_put(conn_pair_stream(p, CLIENT, id), big, sizeof(big), &n);
  conn_pair_run(p, 10 * AQ_S, NULL);
  assert_int_equal(aq_conn_accept_stream(p->side[SERVER].conn, &id), 0);
  assert_int_equal(aq_stream_waiting(conn_pair_stream(p, SERVER, id)),
                   sizeof(big));
}

static void test_path_mtu(void **state) {
  static const struct {
    void (*tune)(conn_pair *p);
    size_t mtu;
    uint64_t want;
  } row[] = {{NULL, 0, 1452},
             {NULL, 1400, 1342},
             {NULL, 1300, 1200},
             {tune_loopback, 0, AQ_CONN_MAX_UDP_PAYLOAD},
             {tune_loopback, 9000, 8952},
             {tune_loopback, 1300, 1200}};
  (void)state;
  for (size_t k = 0; k < sizeof(row) / sizeof(*row); k++) {
    conn_pair p;
    aq_conn_info i;
    conn_pair_init(&p, row[k].tune);
    p.mtu = row[k].mtu;
    assert_int_equal(conn_pair_dial(&p), 0);
    conn_pair_run(&p, 10 * AQ_S, NULL);
    bulk_through(&p);
    aq_conn_get_info_of(p.side[CLIENT].conn, p.now, &i);
    assert_int_equal(i.max_udp_payload, row[k].want);
    conn_pair_free(&p);
  }
}

/* A packet that an attacker copied to another address moves nobody. */
static void test_copied_from_elsewhere(void **state) {
  conn_pair p;
  aq_conn_info i;
  uint8_t junk[1200];
  (void)state;
  establish(&p, NULL);
  conn_pair_run(&p, 2 * AQ_S, NULL);
  aq_addr elsewhere = p.side[CLIENT].addr;
  elsewhere.ip[3] = 99;
  memset(junk, 0x41, sizeof(junk));
  for (int k = 0; k < 100; k++) {
    aq_conn_handle_packet(p.side[SERVER].conn, p.now, 0, &p.side[SERVER].bound,
                          &elsewhere, 0, junk, sizeof(junk));
  }
  conn_pair_run(&p, AQ_S, NULL);
  aq_conn_get_info_of(p.side[SERVER].conn, p.now, &i);
  assert_true(aq_addr_equal(&i.remote, &p.side[CLIENT].addr));
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_PATH_CHANGED], 0);
  conn_pair_free(&p);
}

/* What is said soon after the handshake is not held back by pacing. */
static void test_first_words(void **state) {
  conn_pair p;
  const uint8_t word[600] = {0};
  const uint8_t *data = NULL;
  (void)state;
  conn_pair_init(&p, NULL);
  p.delay = 50 * AQ_MS;
  assert_int_equal(conn_pair_dial(&p), 0);
  aq_tstamp start = p.now;
  while (!p.side[CLIENT].seen[AQ_NOTICE_ESTABLISHED]) {
    assert_true(conn_pair_turn(&p, p.now + AQ_S));
  }
  assert_int_equal(p.now - start, 2 * p.delay);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(
        aq_conn_control_write(p.side[CLIENT].conn, word, sizeof(word)), 0);
    conn_pair_turn(&p, p.now + 10 * AQ_US);
  }
  conn_pair_run(&p, p.delay, NULL);
  assert_int_equal(aq_conn_control_peek(p.side[SERVER].conn, &data),
                   5 * sizeof(word));
  conn_pair_free(&p);
}

/* ---- memory runs out ---------------------------------------------------- */

static long budget;
static long live;
static void *limited(void *user, void *ptr, size_t size) {
  (void)user;
  if (size == 0) {
    live -= ptr != NULL;
    free(ptr);
    return NULL;
  }
  if (budget == 0) {
    return NULL;
  }
  if (budget > 0) {
    budget--;
  }
  live += ptr == NULL;
  return realloc(ptr, size);
}

static void tune_limited(conn_pair *p) {
  p->env.realloc = limited;
}

/* Fails the |n|-th allocation and all after it, during a short life. Returns 1
 * when nothing failed. */
static int short_life(long n) {
  conn_pair p;
  aq_id id = 0;
  static uint8_t big[50000];
  size_t done = 0;
  budget = -1;
  live = 0;
  conn_pair_init(&p, tune_limited);
  budget = n;
  if (conn_pair_dial(&p) == 0) {
    conn_pair_run(&p, 500 * AQ_MS, NULL);
    aq_conn *c = p.side[CLIENT].conn;
    if (aq_conn_open_stream(c, 0, 0, &id) == 0) {
      aq_stream *s = conn_pair_stream(&p, CLIENT, id);
      aq_stream_put(s, big, sizeof(big), &done);
      aq_stream_put_fin(s);
    }
    aq_frame f = {.kind = AQ_FRAME_REMOVE_ADDRESS, .seq = 1};
    aq_conn_send_frame(c, &f);
    aq_conn_control_write(c, big, 5000);
    aq_conn_datagram_send(c, big, 100);
    conn_pair_run(&p, 500 * AQ_MS, NULL);
    aq_conn_close_with(c, p.now, 1, 0, "", 0);
    conn_pair_run(&p, 500 * AQ_MS, NULL);
  }
  int whole = budget > 0;
  conn_pair_free(&p);
  assert_int_equal(live, 0);
  return whole;
}

static void test_memory_runs_out(void **state) {
  long n = 0;
  (void)state;
  while (!short_life(n)) {
    n++;
  }
  assert_true(n > 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_close),
      cmocka_unit_test(test_close_is_repeated),
      cmocka_unit_test(test_closing_is_quiet),
      cmocka_unit_test(test_close_in_handshake),
      cmocka_unit_test(test_verbs_after_close),
      cmocka_unit_test(test_idle_timeout),
      cmocka_unit_test(test_keep_alive),
      cmocka_unit_test(test_handshake_timeout),
      cmocka_unit_test(test_stateless_reset),
      cmocka_unit_test(test_clock),
      cmocka_unit_test(test_key_update),
      cmocka_unit_test(test_key_update_early),
      cmocka_unit_test(test_rebinding),
      cmocka_unit_test(test_migration),
      cmocka_unit_test(test_migration_fails),
      cmocka_unit_test(test_path_mtu),
      cmocka_unit_test(test_copied_from_elsewhere),
      cmocka_unit_test(test_first_words),
      cmocka_unit_test(test_memory_runs_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
