/* Extension frames between two connections on an unmodified transport.
 *
 * SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/addr.h"
#include "base/wire.h"
#include "quic/conn_int.h"
#include "support/conn_pair.h"

#define CLIENT PAIR_CLIENT
#define SERVER PAIR_SERVER

static void establish(conn_pair *p, void (*tune)(conn_pair *p)) {
  conn_pair_init(p, tune);
  assert_int_equal(conn_pair_dial(p), 0);
  assert_true(conn_pair_run(p, 10 * AQ_S, conn_pair_both_confirmed));
}

static aq_frame frame(aq_frame_kind kind, uint64_t seq) {
  aq_frame f = {.kind = kind, .seq = seq};
  const uint8_t v4[4] = {203, 0, 113, (uint8_t)seq};
  const uint8_t v6[16] = {0x20, 1, 0xd, 0xb8, 0, 0, (uint8_t)seq, 9};
  if (kind != AQ_FRAME_REMOVE_ADDRESS) {
    f.addr = seq % 2 ? aq_addr_v4(v4, 4433) : aq_addr_v6(v6, 4433);
  }
  if (kind == AQ_FRAME_PUNCH_ME_NOW) {
    f.paired = seq + 100;
  }
  return f;
}

static void expect_frame(const aq_frame *got, const aq_frame *want) {
  assert_int_equal(got->kind, want->kind);
  assert_int_equal(got->seq, want->seq);
  assert_int_equal(got->paired, want->paired);
  assert_true(aq_addr_equal(&got->addr, &want->addr));
}

static void send_frame(conn_pair *p, int side, aq_frame_kind kind,
                       uint64_t seq) {
  aq_frame f = frame(kind, seq);
  assert_int_equal(aq_conn_send_frame(p->side[side].conn, &f), 0);
}

/* ---- between connections ----------------------------------------------------
 */

static void test_all_kinds_both_ways(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, NULL);
  for (int side = 0; side < 2; side++) {
    for (uint64_t seq = 1; seq <= 2; seq++) {
      send_frame(&p, side, AQ_FRAME_OBSERVED_ADDRESS, seq);
      conn_pair_run(&p, 100 * AQ_MS, NULL);
      send_frame(&p, side, AQ_FRAME_ADD_ADDRESS, seq);
      send_frame(&p, side, AQ_FRAME_PUNCH_ME_NOW, seq);
      conn_pair_run(&p, 100 * AQ_MS, NULL);
      send_frame(&p, side, AQ_FRAME_REMOVE_ADDRESS, seq);
      conn_pair_run(&p, 100 * AQ_MS, NULL);
    }
    pair_side *other = &p.side[1 - side];
    assert_int_equal(other->nframes, 8);
    static const aq_frame_kind kinds[] = {
        AQ_FRAME_OBSERVED_ADDRESS, AQ_FRAME_ADD_ADDRESS, AQ_FRAME_PUNCH_ME_NOW,
        AQ_FRAME_REMOVE_ADDRESS};
    for (size_t i = 0; i < 8; i++) {
      aq_frame want = frame(kinds[i % 4], 1 + i / 4);
      expect_frame(&other->frames[i], &want);
    }
    assert_int_equal(p.side[side].conn->carrier.out_count, 0);
    assert_int_equal(other->seen[AQ_NOTICE_CLOSED], 0);
    /* None was taken for a datagram of the application. */
    assert_int_equal(other->conn->dgram_received, 0);
    assert_int_equal(p.side[side].conn->dgram_sent, 0);
  }
  conn_pair_free(&p);
}

/* Every frame arrives, some may arrive twice, none is invented. */
static void test_loss(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 10; seed++) {
    conn_pair p;
    unsigned count[64] = {0};
    establish(&p, NULL);
    aq_rand_init(&p.rand, seed);
    p.loss = 300;
    p.dup = 100;
    p.reorder = 100;
    for (uint64_t seq = 0; seq < 40; seq++) {
      send_frame(&p, CLIENT, AQ_FRAME_ADD_ADDRESS, seq);
      conn_pair_run(&p, 5 * AQ_MS, NULL);
    }
    conn_pair_run(&p, 15 * AQ_S, NULL);
    for (size_t i = 0; i < p.side[SERVER].nframes; i++) {
      aq_frame want = frame(AQ_FRAME_ADD_ADDRESS, p.side[SERVER].frames[i].seq);
      expect_frame(&p.side[SERVER].frames[i], &want);
      assert_true(want.seq < 40);
      count[want.seq]++;
    }
    for (int i = 0; i < 40; i++) {
      assert_true(count[i] >= 1 && count[i] <= 4);
    }
    assert_int_equal(p.side[CLIENT].conn->carrier.out_count, 0);
    conn_pair_free(&p);
  }
}

/* A copied packet opens as the first did, yet says nothing new. */
static void test_replay(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, NULL);
  p.replay = 1;
  for (uint64_t seq = 1; seq <= 20; seq++) {
    send_frame(&p, CLIENT, AQ_FRAME_ADD_ADDRESS, seq);
    conn_pair_run(&p, 100 * AQ_MS, NULL);
  }
  assert_int_equal(p.side[SERVER].nframes, 20);
  aq_conn_key_update(p.side[CLIENT].conn, p.now);
  send_frame(&p, CLIENT, AQ_FRAME_ADD_ADDRESS, 21);
  conn_pair_run(&p, AQ_S, NULL);
  send_frame(&p, SERVER, AQ_FRAME_ADD_ADDRESS, 22);
  conn_pair_run(&p, AQ_S, NULL);
  assert_int_equal(p.side[SERVER].nframes, 21);
  assert_int_equal(p.side[CLIENT].nframes, 1);
  conn_pair_free(&p);
}

/* Beside streams and datagrams, one of which looks like an extension frame. */
static void test_in_company(void **state) {
  conn_pair p;
  static uint8_t big[200000];
  uint8_t fake[AQ_FRAME_MAX], buf[64];
  size_t n = 0, got = 0;
  aq_id id = 0;
  (void)state;
  establish(&p, NULL);
  aq_conn *c = p.side[CLIENT].conn, *s = p.side[SERVER].conn;
  aq_frame f = frame(AQ_FRAME_ADD_ADDRESS, 7);
  size_t len = aq_frame_format(AQ_DIALECT_SEEMANN02, fake, sizeof(fake), &f);
  assert_int_equal(aq_conn_open_stream(c, 1, 0, &id), 0);
  aq_stream_put(conn_pair_stream(&p, CLIENT, id), big, sizeof(big), &n);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(aq_conn_datagram_send(c, fake, len), 0);
    send_frame(&p, CLIENT, AQ_FRAME_ADD_ADDRESS, 7);
  }
  conn_pair_run(&p, 2 * AQ_S, NULL);
  while (aq_conn_datagram_receive(s, buf, sizeof(buf), &n) == 0) {
    assert_int_equal(n, len);
    assert_memory_equal(buf, fake, len);
    got++;
  }
  assert_int_equal(got, 20);
  assert_int_equal(p.side[SERVER].nframes, 20);
  assert_int_equal(aq_conn_accept_stream(s, &id), 0);
  assert_int_equal(aq_stream_waiting(conn_pair_stream(&p, SERVER, id)),
                   sizeof(big));
  conn_pair_free(&p);
}

static void test_bound(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, NULL);
  p.cut = 1;
  aq_frame f = frame(AQ_FRAME_ADD_ADDRESS, 1);
  for (int i = 0; i < AQ_CARRIER_MAX_OUT; i++) {
    assert_int_equal(aq_conn_send_frame(p.side[CLIENT].conn, &f), 0);
  }
  assert_int_equal(aq_conn_send_frame(p.side[CLIENT].conn, &f), AQ_ERR_LIMIT);
  conn_pair_run(&p, 300 * AQ_MS, NULL);
  assert_int_equal(aq_conn_send_frame(p.side[CLIENT].conn, &f), AQ_ERR_LIMIT);
  p.cut = 0;
  conn_pair_run(&p, 5 * AQ_S, NULL);
  assert_int_equal(p.side[SERVER].nframes, AQ_CARRIER_MAX_OUT);
  assert_int_equal(aq_conn_send_frame(p.side[CLIENT].conn, &f), 0);
  conn_pair_free(&p);
}

/* What became untrue while its packet was lost is not sent again. */
static void test_stale(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, NULL);
  p.cut = 1;
  send_frame(&p, CLIENT, AQ_FRAME_OBSERVED_ADDRESS, 1);
  send_frame(&p, CLIENT, AQ_FRAME_ADD_ADDRESS, 5);
  send_frame(&p, CLIENT, AQ_FRAME_ADD_ADDRESS, 6);
  conn_pair_run(&p, 50 * AQ_MS, NULL);
  send_frame(&p, CLIENT, AQ_FRAME_OBSERVED_ADDRESS, 2);
  send_frame(&p, CLIENT, AQ_FRAME_REMOVE_ADDRESS, 5);
  p.cut = 0;
  conn_pair_run(&p, 5 * AQ_S, NULL);
  assert_int_equal(p.side[SERVER].nframes, 3);
  for (size_t i = 0; i < 3; i++) {
    const aq_frame *f = &p.side[SERVER].frames[i];
    assert_false(f->kind == AQ_FRAME_OBSERVED_ADDRESS && f->seq == 1);
    assert_false(f->kind == AQ_FRAME_ADD_ADDRESS && f->seq == 5);
  }
  conn_pair_free(&p);
}

static void test_ping_measures(void **state) {
  conn_pair p;
  aq_conn_info i;
  (void)state;
  establish(&p, NULL);
  conn_pair_run(&p, 5 * AQ_S, NULL);
  p.delay = 100 * AQ_MS;
  uint64_t sent = p.side[CLIENT].packets;
  for (int k = 0; k < 30; k++) {
    aq_conn_ping_now(p.side[CLIENT].conn, p.now);
    conn_pair_run(&p, AQ_S, NULL);
  }
  aq_conn_get_info_of(p.side[CLIENT].conn, p.now, &i);
  assert_true(i.rtt > 180 * AQ_MS && i.rtt < 240 * AQ_MS);
  assert_true(p.side[CLIENT].packets - sent >= 30);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_CLOSED], 0);
  assert_int_equal(p.side[SERVER].conn->dgram_received, 0);
  conn_pair_free(&p);
}

/* ---- a peer that does wrong --------------------------------------------- */

static void send_raw(conn_pair *p, int side, const uint8_t *bytes, size_t len) {
  aq_conn *c = p->side[side].conn;
  assert_int_equal(aq_carrier_queue_raw(&c->carrier, bytes, len, 1), 0);
  c->dirty = 1;
}

static void expect_closed(conn_pair *p, int by, uint64_t code) {
  conn_pair_run(p, AQ_S, NULL);
  assert_int_equal(p->side[by].seen[AQ_NOTICE_CLOSED], 1);
  assert_int_equal(p->side[by].closed.error, AQ_ERR_PROTOCOL);
  assert_int_equal(p->side[by].closed.code, code);
  assert_int_equal(p->side[1 - by].closed.error, AQ_ERR_PEER_CLOSED);
  assert_int_equal(p->side[1 - by].closed.code, code);
}

/* FRAME_ENCODING_ERROR for every way to cut every frame. The cut frame must end
 * the packet: it is sent where nothing follows it. */
static void test_truncated(void **state) {
  (void)state;
  for (int kind = 0; kind < 4; kind++) {
    uint8_t bytes[AQ_FRAME_MAX];
    aq_frame f = frame((aq_frame_kind)kind, 1);
    size_t len =
        aq_frame_format(AQ_DIALECT_SEEMANN02, bytes, sizeof(bytes), &f);
    for (size_t cut = 4; cut < len; cut++) {
      conn_pair p;
      establish(&p, NULL);
      conn_pair_run(&p, AQ_S, NULL);
      int side = (int)(cut % 2);
      send_raw(&p, side, bytes, cut);
      expect_closed(&p, 1 - side, 0x07);
      assert_int_equal(p.side[1 - side].nframes, 0);
      conn_pair_free(&p);
    }
  }
}

/* A good frame before a bad one in a packet is not believed either. */
static void test_good_before_bad(void **state) {
  conn_pair p;
  uint8_t bytes[AQ_FRAME_MAX];
  (void)state;
  aq_frame f = frame(AQ_FRAME_ADD_ADDRESS, 1);
  size_t len = aq_frame_format(AQ_DIALECT_SEEMANN02, bytes, sizeof(bytes), &f);
  establish(&p, NULL);
  conn_pair_run(&p, AQ_S, NULL);
  send_raw(&p, CLIENT, bytes, len);
  send_raw(&p, CLIENT, bytes, len - 1);
  expect_closed(&p, SERVER, 0x07);
  assert_int_equal(p.side[SERVER].nframes, 0);
  conn_pair_free(&p);
}

static void test_not_negotiated(void **state) {
  (void)state;
  for (int kind = 0; kind < 4; kind++) {
    for (int side = 0; side < 2; side++) {
      conn_pair p;
      establish(&p, NULL);
      conn_pair_run(&p, AQ_S, NULL);
      p.side[1 - side].conn->carrier.rx_kinds &= (uint8_t) ~(1u << kind);
      send_frame(&p, side, (aq_frame_kind)kind, 1);
      expect_closed(&p, 1 - side, 0x0a);
      assert_int_equal(p.side[1 - side].nframes, 0);
      conn_pair_free(&p);
    }
  }
}

static void test_send_without_negotiation(void **state) {
  conn_pair p;
  (void)state;
  establish(&p, NULL);
  aq_conn *c = p.side[CLIENT].conn;
  c->carrier.tx_kinds = 1u << AQ_FRAME_PUNCH_ME_NOW;
  aq_frame f = frame(AQ_FRAME_ADD_ADDRESS, 1);
  assert_int_equal(aq_conn_send_frame(c, &f), AQ_ERR_UNSUPPORTED);
  f = frame(AQ_FRAME_OBSERVED_ADDRESS, 1);
  assert_int_equal(aq_conn_send_frame(c, &f), AQ_ERR_UNSUPPORTED);
  f = frame(AQ_FRAME_PUNCH_ME_NOW, 1);
  assert_int_equal(aq_conn_send_frame(c, &f), 0);
  conn_pair_free(&p);
}

/* An unknown frame is the transport's to refuse. */
static void test_unknown_frame(void **state) {
  conn_pair p;
  const uint8_t bytes[] = {0x80, 0x12, 0x34, 0x56, 1, 2, 3};
  (void)state;
  establish(&p, NULL);
  conn_pair_run(&p, AQ_S, NULL);
  send_raw(&p, CLIENT, bytes, sizeof(bytes));
  conn_pair_run(&p, AQ_S, NULL);
  assert_int_equal(p.side[SERVER].closed.error, AQ_ERR_PROTOCOL);
  assert_int_equal(p.side[SERVER].closed.code, 0x07);
  conn_pair_free(&p);
}

/* ---- a peer of another make ---------------------------------------------- */

static uint64_t strip[6];
static size_t nstrip;

static int is_stripped(uint64_t id) {
  for (size_t i = 0; i < nstrip; i++) {
    if (strip[i] == id) {
      return 1;
    }
  }
  return 0;
}

/* The client's transport parameters without some. */
static size_t stripped_params(void *owner, uint8_t *out, size_t cap) {
  uint8_t all[1024];
  aq_reader r;
  aq_writer w;
  size_t len = aq_conn_tls_hooks.local_params(owner, all, sizeof(all));
  aq_reader_init(&r, all, len);
  aq_writer_init(&w, out, cap);
  while (aq_reader_left(&r) > 0) {
    size_t start = r.off;
    uint64_t id = aq_read_varint(&r);
    aq_read_skip(&r, aq_read_varint(&r));
    if (!is_stripped(id)) {
      aq_write_bytes(&w, all + start, r.off - start);
    }
  }
  return aq_writer_end(&w);
}

static void establish_stripped(conn_pair *p, aq_tls_hooks *hooks,
                               const uint64_t *ids, size_t n) {
  memcpy(strip, ids, n * sizeof(*ids));
  nstrip = n;
  *hooks = aq_conn_tls_hooks;
  hooks->local_params = stripped_params;
  conn_pair_init(p, NULL);
  assert_int_equal(conn_pair_dial(p), 0);
  p->side[CLIENT].conn->tls.hooks = hooks;
  assert_true(conn_pair_run(p, 10 * AQ_S, conn_pair_both_confirmed));
  conn_pair_run(p, AQ_S, NULL);
}

static void test_plain_peer(void **state) {
  static const uint64_t ids[] = {AQ_TPARAM_NAT_TRAVERSAL, AQ_TPARAM_RFC_FRAMES,
                                 AQ_TPARAM_ADDRESS_DISCOVERY, AQ_TPARAM_CONTROL,
                                 AQ_TPARAM_MAX_DATAGRAM};
  conn_pair p;
  aq_tls_hooks hooks;
  aq_conn_info i;
  aq_id id = 0;
  (void)state;
  establish_stripped(&p, &hooks, ids, 5);
  aq_conn *s = p.side[SERVER].conn;
  for (int kind = 0; kind < 4; kind++) {
    aq_frame f = frame((aq_frame_kind)kind, 1);
    assert_int_equal(aq_conn_send_frame(s, &f), AQ_ERR_UNSUPPORTED);
  }
  assert_int_equal(aq_conn_control_write(s, (const uint8_t *)"x", 1),
                   AQ_ERR_UNSUPPORTED);
  assert_int_equal(aq_conn_datagram_send(s, (const uint8_t *)"x", 1),
                   AQ_ERR_UNSUPPORTED);
  aq_conn_get_info_of(s, p.now, &i);
  assert_true(!i.extensions && !i.control && i.max_datagram == 0);
  assert_false(aq_conn_has_control(s));
  /* The first stream of each side is an application's. */
  assert_int_equal(aq_conn_open_stream(s, 1, 0, &id), 0);
  assert_int_equal(conn_pair_stream(&p, SERVER, id)->qid, 3);
  aq_conn_control_write(p.side[CLIENT].conn, (const uint8_t *)"x", 1);
  conn_pair_run(&p, AQ_S, NULL);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_STREAM_INCOMING], 1);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_CONTROL], 0);
  /* A ping needs no more than the transport. */
  aq_conn_ping_now(s, p.now);
  conn_pair_run(&p, AQ_S, NULL);
  assert_int_equal(p.side[SERVER].seen[AQ_NOTICE_CLOSED], 0);
  send_frame(&p, CLIENT, AQ_FRAME_ADD_ADDRESS, 1);
  expect_closed(&p, SERVER, 0x0a);
  conn_pair_free(&p);
}

/* Extension frames need no datagrams of the peer's application. */
static void test_peer_without_datagrams(void **state) {
  static const uint64_t ids[] = {AQ_TPARAM_MAX_DATAGRAM};
  conn_pair p;
  aq_tls_hooks hooks;
  (void)state;
  establish_stripped(&p, &hooks, ids, 1);
  send_frame(&p, SERVER, AQ_FRAME_ADD_ADDRESS, 1);
  send_frame(&p, SERVER, AQ_FRAME_OBSERVED_ADDRESS, 1);
  conn_pair_run(&p, AQ_S, NULL);
  assert_int_equal(p.side[CLIENT].nframes, 2);
  assert_int_equal(
      aq_conn_datagram_send(p.side[SERVER].conn, (const uint8_t *)"x", 1),
      AQ_ERR_UNSUPPORTED);
  assert_int_equal(
      aq_conn_datagram_send(p.side[CLIENT].conn, (const uint8_t *)"x", 1), 0);
  conn_pair_free(&p);
}

/* Without the parameter for all bodies the older draft's roles hold. */
static void test_roles_of_draft(void **state) {
  static const uint64_t ids[] = {AQ_TPARAM_RFC_FRAMES};
  conn_pair p;
  aq_tls_hooks hooks;
  (void)state;
  establish_stripped(&p, &hooks, ids, 1);
  aq_conn *s = p.side[SERVER].conn;
  aq_frame f = frame(AQ_FRAME_PUNCH_ME_NOW, 1);
  assert_int_equal(aq_conn_send_frame(s, &f), AQ_ERR_UNSUPPORTED);
  send_frame(&p, SERVER, AQ_FRAME_ADD_ADDRESS, 1);
  send_frame(&p, CLIENT, AQ_FRAME_PUNCH_ME_NOW, 1);
  conn_pair_run(&p, AQ_S, NULL);
  assert_int_equal(p.side[SERVER].nframes, 1);
  assert_int_equal(p.side[CLIENT].nframes, 1);
  send_frame(&p, CLIENT, AQ_FRAME_ADD_ADDRESS, 1);
  expect_closed(&p, SERVER, 0x0a);
  conn_pair_free(&p);
}

/* ---- the carrier alone ----------------------------------------------------
 */

/* A peer that floods can't make the receiver hold more than its bound. */
static void test_flood(void **state) {
  aq_carrier cr;
  aq_mem mem;
  uint8_t one[AQ_FRAME_MAX], packet[1400];
  const char *why = NULL;
  (void)state;
  aq_mem_init(&mem, NULL);
  aq_carrier_init(&cr, &mem);
  cr.rx_kinds = 0x0f;
  aq_frame f = frame(AQ_FRAME_ADD_ADDRESS, 1), out;
  size_t len = aq_frame_format(AQ_DIALECT_SEEMANN02, one, sizeof(one), &f);
  size_t taken = 0;
  for (int k = 0; k < 20; k++) {
    size_t n = 0;
    while (n + len <= sizeof(packet)) {
      memcpy(packet + n, one, len);
      n += len;
    }
    aq_carrier_open(&cr, packet, n);
    assert_int_equal(aq_carrier_settle(&cr, 1, &why), 0);
    for (int t = 0; t < 5; t++) {
      taken += (size_t)aq_carrier_take(&cr, &out);
      expect_frame(&out, &f);
    }
  }
  assert_true(cr.overflow > 0);
  assert_true(cr.in_cap <= AQ_CARRIER_MAX_IN);
  while (aq_carrier_take(&cr, &out)) {
    taken++;
  }
  assert_int_equal(taken + cr.overflow, 20 * (sizeof(packet) / len));
  aq_carrier_free(&cr);
}

/* The ring keeps order while it grows and wraps. */
static void test_ring_order(void **state) {
  aq_carrier cr;
  aq_mem mem;
  const char *why = NULL;
  uint64_t next_in = 1, next_out = 1;
  (void)state;
  aq_mem_init(&mem, NULL);
  aq_carrier_init(&cr, &mem);
  cr.rx_kinds = 0x0f;
  for (int k = 0; k < 400; k++) {
    int in = (k * 7) % 5, out = (k * 11) % 4;
    for (int i = 0; i < in; i++) {
      uint8_t bytes[AQ_FRAME_MAX];
      aq_frame f = {.kind = AQ_FRAME_REMOVE_ADDRESS, .seq = next_in++};
      size_t n =
          aq_frame_format(AQ_DIALECT_SEEMANN02, bytes, sizeof(bytes), &f);
      aq_carrier_open(&cr, bytes, n);
      assert_int_equal(bytes[0], 1);
      aq_carrier_settle(&cr, 1, &why);
    }
    aq_frame got;
    for (int i = 0; i < out && aq_carrier_take(&cr, &got); i++) {
      assert_int_equal(got.seq, next_out++);
    }
  }
  assert_int_equal(cr.overflow, 0);
  assert_true(next_out > 500 && cr.in_cap > 100);
  aq_carrier_free(&cr);
}

/* Only frames of an accepted packet count. */
static void test_tentative(void **state) {
  aq_carrier cr;
  aq_mem mem;
  aq_frame f = frame(AQ_FRAME_ADD_ADDRESS, 3), out;
  uint8_t bytes[AQ_FRAME_MAX];
  const char *why = NULL;
  (void)state;
  aq_mem_init(&mem, NULL);
  aq_carrier_init(&cr, &mem);
  cr.rx_kinds = 0x0f;
  size_t n = aq_frame_format(AQ_DIALECT_SEEMANN02, bytes, sizeof(bytes), &f);
  uint8_t copy[AQ_FRAME_MAX];
  memcpy(copy, bytes, n);
  aq_carrier_open(&cr, copy, n);
  assert_int_equal(aq_carrier_take(&cr, &out), 0);
  assert_int_equal(aq_carrier_settle(&cr, 0, &why), 0);
  assert_int_equal(aq_carrier_take(&cr, &out), 0);
  memcpy(copy, bytes, n);
  aq_carrier_open(&cr, copy, n - 1);
  assert_int_equal(aq_carrier_settle(&cr, 0, &why), 0);
  memcpy(copy, bytes, n);
  aq_carrier_open(&cr, copy, n - 1);
  assert_int_equal(aq_carrier_settle(&cr, 1, &why), 7);
  memcpy(copy, bytes, n);
  aq_carrier_open(&cr, copy, n);
  assert_int_equal(aq_carrier_settle(&cr, 1, &why), 0);
  assert_int_equal(aq_carrier_take(&cr, &out), 1);
  expect_frame(&out, &f);
  aq_carrier_free(&cr);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_kinds_both_ways),
      cmocka_unit_test(test_loss),
      cmocka_unit_test(test_replay),
      cmocka_unit_test(test_in_company),
      cmocka_unit_test(test_bound),
      cmocka_unit_test(test_stale),
      cmocka_unit_test(test_ping_measures),
      cmocka_unit_test(test_truncated),
      cmocka_unit_test(test_good_before_bad),
      cmocka_unit_test(test_not_negotiated),
      cmocka_unit_test(test_send_without_negotiation),
      cmocka_unit_test(test_unknown_frame),
      cmocka_unit_test(test_plain_peer),
      cmocka_unit_test(test_peer_without_datagrams),
      cmocka_unit_test(test_roles_of_draft),
      cmocka_unit_test(test_flood),
      cmocka_unit_test(test_ring_order),
      cmocka_unit_test(test_tentative),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
