/* What one connection does on several paths at once.
 *
 * SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/addr.h"
#include "quic/conn_int.h"
#include "support/conn_pair.h"

#define CLIENT PAIR_CLIENT
#define SERVER PAIR_SERVER

static void establish(conn_pair *p, size_t mtu) {
  conn_pair_init(p, NULL);
  p->mtu = mtu;
  assert_int_equal(conn_pair_dial(p), 0);
  assert_true(conn_pair_run(p, 10 * AQ_S, conn_pair_both_confirmed));
  conn_pair_run(p, AQ_S, NULL);
}

/* Data for the path in use must not go where another path is validated, be it
 * in the same batch: it would be lost, and hold the window. */
static void validation_goes_alone(void **state) {
  static uint8_t big[500000], out[65536];
  static const uint8_t ip[4] = {198, 51, 100, 9};
  aq_addr local = aq_addr_v4(ip, 7000), elsewhere = aq_addr_v4(ip, 9999);
  conn_pair p;
  aq_transmit t;
  aq_id id = 0;
  size_t n = 0;
  int there = 0;
  (void)state;
  establish(&p, 1300); /* all packets are as long as one that validates */
  aq_conn *c = p.side[CLIENT].conn;
  assert_int_equal(aq_conn_open_stream(c, 1, 0, &id), 0);
  aq_stream_put(conn_pair_stream(&p, CLIENT, id), big, sizeof(big), &n);
  assert_int_equal(aq_conn_migrate(c, p.now, 1, &local, &elsewhere), 0);
  while (aq_conn_poll_transmit(c, p.now, &t, out, sizeof(out))) {
    if (aq_addr_equal(&t.remote, &elsewhere)) {
      assert_int_equal(t.socket, 1);
      assert_int_equal(t.len, 1200);
      there++;
    }
  }
  assert_in_range(there, 1, 2);
  conn_pair_free(&p);
}

static void turns(conn_pair *p, aq_tstamp until) {
  while (conn_pair_turn(p, until)) {
  }
}

/* Nothing is heard and the window is full. Whenever another path turns up, its
 * validation can be sent at once. */
static void a_probe_is_left_for_another_path(void **state) {
  static uint8_t big[500000], out[65536];
  static const uint8_t ip[4] = {198, 51, 100, 9};
  aq_addr local = aq_addr_v4(ip, 7000), elsewhere = aq_addr_v4(ip, 9999);
  (void)state;
  for (aq_duration after = 500 * AQ_MS; after < 12 * AQ_S;
       after += 130 * AQ_MS) {
    conn_pair p;
    aq_transmit t;
    aq_id id = 0;
    size_t n = 0;
    int there = 0;
    establish(&p, 1300);
    aq_conn *c = p.side[CLIENT].conn;
    assert_int_equal(aq_conn_open_stream(c, 1, 0, &id), 0);
    aq_stream_put(conn_pair_stream(&p, CLIENT, id), big, sizeof(big), &n);
    turns(&p, p.now + 50 * AQ_MS);
    p.cut = 1;
    aq_tstamp cut = p.now;
    turns(&p, cut + 200 * AQ_MS);
    aq_conn_spare(c, 1);
    /* Whoever keeps it alive asks each second. */
    for (aq_tstamp at = cut + AQ_S; at < cut + after; at += AQ_S) {
      turns(&p, at);
      aq_conn_ping_now(c, p.now);
    }
    turns(&p, cut + after);
    assert_int_equal(ngtcp2_conn_get_cwnd_left2(c->q), 0);
    assert_int_equal(aq_conn_migrate(c, p.now, 1, &local, &elsewhere), 0);
    while (aq_conn_poll_transmit(c, p.now, &t, out, sizeof(out))) {
      there += aq_addr_equal(&t.remote, &elsewhere);
    }
    if (there == 0) {
      fail_msg("nothing goes there after %d ms", (int)(after / AQ_MS));
    }
    /* And nothing but the probe that is due goes where nothing is heard, so
     * that the validation can be repeated. */
    aq_tstamp until = p.now + aq_conn_pto(c);
    int here = 0;
    while (aq_conn_next_timeout(c) < until) {
      aq_tstamp at = aq_time_max(p.now, aq_conn_next_timeout(c));
      p.now = at;
      aq_conn_handle_timeout(c, at);
      while (aq_conn_poll_transmit(c, at, &t, out, sizeof(out))) {
        here += !aq_addr_equal(&t.remote, &elsewhere);
      }
    }
    assert_in_range(here, 0, 1);
    conn_pair_free(&p);
  }
}

static void one_id_fewer_is_promised_than_kept(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, 0);
  for (int i = 0; i < 2; i++) {
    ngtcp2_conn *q = p.side[i].conn->q;
    const ngtcp2_transport_params *ours =
        ngtcp2_conn_get_local_transport_params2(q);
    const ngtcp2_transport_params *theirs =
        ngtcp2_conn_get_remote_transport_params2(q);
    assert_int_equal(theirs->active_connection_id_limit,
                     ours->active_connection_id_limit - 1);
    assert_int_equal(ngtcp2_conn_get_scid2(q, NULL),
                     theirs->active_connection_id_limit);
  }
  conn_pair_free(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(validation_goes_alone),
      cmocka_unit_test(a_probe_is_left_for_another_path),
      cmocka_unit_test(one_id_fewer_is_promised_than_kept),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
