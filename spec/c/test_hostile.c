/* test_hostile.c - attacks on the wire against whole endpoints: floods, lies,
 * forgeries, replays. What is counted is what goes out, and to whom.
 *
 * SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "quic/conn_int.h"
#include "quic/endpoint_int.h"

#include <time.h>

#define A 0
#define B 1
#define C 2

static const char *addr_of[] = {"198.18.0.1:1001", "198.18.1.1:1002",
                                "198.18.2.1:1003"};

static world *pair_of(uint64_t seed) {
  world *w = world_new(seed);
  world_node_init(w, A, addr_of[A], NULL);
  world_node_init(w, B, addr_of[B], NULL);
  return w;
}

static world *trio_of(uint64_t seed) {
  world *w = pair_of(seed);
  world_node *c = world_coordinator(w, C, addr_of[C]);
  for (int i = A; i <= B; i++) {
    w->node[i]->params.role = AQ_ROLE_CLIENT;
    world_use_bootstrap(w->node[i], c, 1);
  }
  return w;
}

static aq_id connect_to(world *w, int from, int to) {
  aq_id id = 0;
  assert_int_equal(aq_connect_addr(w->node[from]->ep, w->now,
                                   &w->node[to]->bound, &w->node[to]->id, NULL,
                                   5 * AQ_S, &id),
                   0);
  assert_non_null(
      world_wait(w, w->node[from], AQ_EVENT_CONNECTION_ESTABLISHED, 10 * AQ_S));
  world_run(w, AQ_S);
  assert_true(aq_endpoint_find_conn(w->node[to]->ep, &w->node[from]->id) != 0);
  return id;
}

static aq_usage usage_of(const world_node *n) {
  aq_usage u;
  aq_endpoint_get_usage(n->ep, &u);
  return u;
}

/* The connection between A and B is closed by B for a violation. */
static void assert_violation(world *w) {
  const aq_event *e =
      world_wait(w, w->node[B], AQ_EVENT_CONNECTION_LOST, 10 * AQ_S);
  assert_non_null(e);
  assert_int_equal(e->error, AQ_ERR_PROTOCOL);
  e = world_wait(w, w->node[A], AQ_EVENT_CONNECTION_LOST, 10 * AQ_S);
  assert_non_null(e);
  assert_int_equal(e->error, AQ_ERR_PEER_CLOSED);
  assert_true(e->value == NGTCP2_PROTOCOL_VIOLATION ||
              e->value == NGTCP2_FRAME_ENCODING_ERROR);
}

/* ---- floods
 * ---------------------------------------------------------------------- */

/* A genuine first flight of one who never answers: the datagram's length. */
static size_t first_flight(aq_endpoint *attacker, aq_tstamp now,
                           const aq_addr *to, uint8_t *buf) {
  static uint8_t big[AQ_TRANSMIT_MAX];
  aq_transmit t;
  aq_id id;
  assert_int_equal(aq_connect_addr(attacker, now, to, NULL, NULL, AQ_S, &id),
                   0);
  assert_int_equal(
      aq_endpoint_poll_transmit(attacker, now, &t, big, sizeof(big)), 1);
  assert_true(t.len >= 1200 && t.len <= 1500);
  memcpy(buf, big, t.len);
  aq_link *l = aq_link_get(attacker, id);
  aq_link_drop(l);
  aq_ep_settle(attacker);
  return t.len;
}

static void test_spoofed_initials(void **state) {
  (void)state;
  world *w = pair_of(1);
  world_start_all(w);
  world *other = world_new(2);
  world_node *attacker = world_node_init(other, 0, "198.18.66.6:666", NULL);
  world_node_start(attacker);
  world_node *b = w->node[B];
  uint8_t pkt[1500];
  size_t peak = 0;
  uint64_t in = 0;
  aq_tstamp until = w->now;
  aq_tstamp began = w->now;
  for (int i = 0; i < 20000; i++) {
    size_t len = first_flight(attacker->ep, other->now, &b->bound, pkt);
    aq_addr from = util_addr("198.19.0.1:5000");
    from.ip[2] = (uint8_t)(i >> 8);
    from.ip[3] = (uint8_t)i;
    in += len;
    world_inject(w, &from, &b->bound, pkt, len);
    until += 50 * AQ_US; /* 20 000 a second */
    other->now += 50 * AQ_US;
    if (i % 100 == 99) {
      world_run(w, until - w->now);
      aq_usage u = usage_of(b);
      assert_true(u.half_open <= b->params.max_half_open);
      peak = u.memory + u.connections * 80000u > peak
                 ? u.memory + u.connections * 80000u
                 : peak;
      assert_true(u.connections <= b->params.max_half_open + 8);
    }
    if (i == 10000) {
      /* One who really lives there still gets in. */
      aq_id id;
      assert_int_equal(aq_connect_addr(w->node[A]->ep, w->now, &b->bound,
                                       &b->id, NULL, 5 * AQ_S, &id),
                       0);
    }
  }
  const aq_event *e =
      world_wait(w, w->node[A], AQ_EVENT_CONNECTION_ESTABLISHED, 2 * AQ_S);
  assert_non_null(e);
  assert_true(e->time - began < 2 * AQ_S);
  assert_true(b->tx_bytes <= 3 * in);
  aq_statistics s = world_stats(w, B);
  assert_true(s.retries_sent > 10000);
  assert_true(usage_of(b).half_open <= 65);
  /* And all of it is forgotten. */
  world_run(w, 30 * AQ_S);
  assert_int_equal(usage_of(b).half_open, 0);
  assert_int_equal(usage_of(b).connections, 1);
  world_del(other);
  world_del(w);
}

static uint8_t stolen[1500];
static size_t stolen_len;

/* Keeps A's first Initial that carries a token. */
static int steal_token(world *w, const aq_addr *from, const aq_addr *to,
                       uint8_t *data, size_t *len) {
  (void)to;
  if (stolen_len == 0 && aq_addr_equal(from, &w->node[A]->bound) &&
      *len >= 1200 && (data[0] & 0xf0) == 0xc0) {
    size_t at = 6 + data[5];
    at += 1 + data[at];
    if (data[at] != 0) {
      memcpy(stolen, data, *len);
      stolen_len = *len;
      return 0; /* and A's own is lost */
    }
  }
  return 1;
}

/* A Retry token is good from the address that it was sent to, for 10 s. */
static void test_stolen_token(void **state) {
  (void)state;
  for (int late = 0; late < 2; late++) {
    world *w = pair_of(50);
    w->node[B]->params.always_retry = 1;
    stolen_len = 0;
    w->tap = steal_token;
    world_start_all(w);
    aq_id id;
    assert_int_equal(aq_connect_addr(w->node[A]->ep, w->now, &w->node[B]->bound,
                                     NULL, NULL, 5 * AQ_S, &id),
                     0);
    while (stolen_len == 0) {
      assert_true(world_turn(w, w->now + AQ_S));
    }
    world_node_kill(w->node[A]);
    aq_addr from = late ? w->node[A]->bound : util_addr("198.18.66.6:1001");
    world_run(w, late ? 11 * AQ_S : AQ_MS);
    uint64_t tx = w->node[B]->tx_bytes;
    world_inject(w, &from, &w->node[B]->bound, stolen, stolen_len);
    world_run(w, AQ_S);
    assert_int_equal(usage_of(w->node[B]).connections, 0);
    assert_int_equal(world_stats(w, B).handshakes_refused, 1);
    /* CONNECTION_CLOSE with INVALID_TOKEN, RFC 9000 section 8.1.3 */
    assert_in_range(w->node[B]->tx_bytes - tx, 1, stolen_len);
    world_del(w);
  }
  /* The subject is there: the same bytes from A and in time get an answer. */
  world *w = pair_of(50);
  w->node[B]->params.always_retry = 1;
  stolen_len = 0;
  w->tap = steal_token;
  world_start_all(w);
  aq_id id;
  assert_int_equal(aq_connect_addr(w->node[A]->ep, w->now, &w->node[B]->bound,
                                   NULL, NULL, 5 * AQ_S, &id),
                   0);
  while (stolen_len == 0) {
    assert_true(world_turn(w, w->now + AQ_S));
  }
  world_inject(w, &w->node[A]->bound, &w->node[B]->bound, stolen, stolen_len);
  assert_non_null(
      world_wait(w, w->node[A], AQ_EVENT_CONNECTION_ESTABLISHED, 500 * AQ_MS));
  world_del(w);
}

static void test_garbage(void **state) {
  (void)state;
  world *w = pair_of(3);
  world_node *b = w->node[B];
  world_start_all(w);
  connect_to(w, A, B);
  uint64_t in = 0, out = b->tx_bytes;
  uint8_t pkt[1500];
  for (int i = 0; i < 20000; i++) {
    size_t len = aq_rand_below(&w->rand, sizeof(pkt));
    for (size_t j = 0; j < len; j++) {
      pkt[j] = (uint8_t)aq_rand_u64(&w->rand);
    }
    if (len > 6 && i % 4 == 0) {
      memcpy(pkt, "\xc0\x00\x00\x00\x01\x08", 6);
    }
    aq_addr from = i % 2 ? w->node[A]->bound : util_addr("198.18.9.9:99");
    in += len;
    world_inject(w, &from, &b->bound, pkt, len);
    if (i % 500 == 0) {
      world_run(w, 20 * AQ_MS);
    }
  }
  world_run(w, AQ_S);
  assert_null(world_find(b, AQ_EVENT_CONNECTION_LOST));
  assert_null(world_find(w->node[A], AQ_EVENT_CONNECTION_LOST));
  assert_true(b->tx_bytes - out < in / 10);
  assert_true(world_stats(w, B).datagrams_dropped_malformed > 1000);
  world_del(w);
}

static void test_reset_flood(void **state) {
  (void)state;
  world *w = pair_of(4);
  world_node *b = w->node[B];
  world_start_all(w);
  uint8_t pkt[200] = {0x40};
  for (int i = 0; i < 10000; i++) {
    memcpy(pkt + 1, &i, sizeof(i));
    aq_addr from = util_addr("198.19.0.1:5000");
    from.ip[2] = (uint8_t)(i >> 8);
    from.ip[3] = (uint8_t)i;
    world_inject(w, &from, &b->bound, pkt, i % 2 ? sizeof(pkt) : 21);
  }
  world_run(w, AQ_S / 2);
  aq_statistics s = world_stats(w, B);
  assert_in_range(s.stateless_resets_sent, 50, 150);
  assert_true(s.limit_stateless_reset > 0);
  assert_int_equal(world_count(b, AQ_EVENT_LIMIT_HIT), 1);
  /* Every one is smaller than what asked for it. */
  assert_true(b->tx_bytes <= s.stateless_resets_sent * 64);
  world_del(w);
}

/* Two nodes that know nothing of each other and a packet between them. */
static void test_reset_loop(void **state) {
  (void)state;
  world *w = pair_of(5);
  world_start_all(w);
  uint8_t pkt[1200] = {0x40, 9, 9, 9};
  world_inject(w, &w->node[A]->bound, &w->node[B]->bound, pkt, sizeof(pkt));
  world_run(w, 10 * AQ_S);
  uint64_t sent = world_stats(w, A).stateless_resets_sent +
                  world_stats(w, B).stateless_resets_sent;
  assert_in_range(sent, 1, 30);
  uint64_t tx = w->node[A]->tx_packets + w->node[B]->tx_packets;
  world_run(w, 10 * AQ_S);
  assert_int_equal(w->node[A]->tx_packets + w->node[B]->tx_packets, tx);
  world_del(w);
}

/* ---- lies
 * ------------------------------------------------------------------------------
 */

static aq_ctl offer_naming(world *w, const char *victim, uint32_t n) {
  aq_ctl m;
  memset(&m, 0, sizeof(m));
  m.type = AQ_CTL_OFFER;
  for (size_t i = 0; i < sizeof(m.session); i++) {
    m.session[i] = (uint8_t)aq_rand_u64(&w->rand);
  }
  for (size_t i = 0; i < sizeof(m.key); i++) {
    m.key[i] = (uint8_t)aq_rand_u64(&w->rand);
  }
  for (size_t i = 0; i < sizeof(m.peer.bytes); i++) {
    m.peer.bytes[i] = (uint8_t)aq_rand_u64(&w->rand);
  }
  m.expiry_ms = 10000;
  m.rtt_us = 20000;
  m.observed = w->node[B]->bound;
  for (m.cand_count = 0; m.cand_count < n; m.cand_count++) {
    aq_candidate *c = &m.cand[m.cand_count];
    c->addr = util_addr(victim);
    c->addr.port = (uint16_t)(c->addr.port + m.cand_count);
    c->source = AQ_SOURCE_OBSERVED;
    c->priority = 1000;
  }
  return m;
}

static uint64_t sent_to_ip(const world *w, const char *ip, uint64_t *bytes) {
  aq_addr a = util_addr(ip);
  uint64_t n = 0;
  *bytes = 0;
  for (size_t i = 0; i < w->nseen; i++) {
    if (aq_addr_same_ip(&w->seen[i].to, &a)) {
      n += w->seen[i].packets;
      *bytes += w->seen[i].bytes;
    }
  }
  return n;
}

/* A coordinator that turned bad sends offer after offer that name a victim. */
static void test_lying_offers(void **state) {
  (void)state;
  world *w = trio_of(10);
  world_start_all(w);
  world_run(w, 2 * AQ_S);
  aq_tstamp began = w->now;
  for (int i = 0; i < 1000; i++) {
    aq_link *l = aq_link_get(
        w->node[C]->ep, aq_endpoint_find_conn(w->node[C]->ep, &w->node[B]->id));
    if (l == NULL) {
      break; /* B has had enough of it */
    }
    aq_ctl m = offer_naming(w, "203.0.114.7:5000", 8);
    (void)aq_ctl_send(l, &m);
    aq_ep_settle(w->node[C]->ep);
    world_run(w, 9 * AQ_MS);
  }
  assert_true(w->now - began <= 9500 * AQ_MS);
  assert_true(world_stats(w, B).offers_received >= 200);
  uint64_t bytes;
  uint64_t n = sent_to_ip(w, "203.0.114.7:1", &bytes);
  /* It did ask, so the subject is there; and the budget held. */
  assert_in_range(n, 1, 9);
  assert_true(bytes <= 600);
  aq_statistics s = world_stats(w, B);
  assert_true(s.limit_punch_target > 0);
  assert_int_equal(s.connections_dialed, 1);
  assert_true(usage_of(w->node[B]).sessions <= AQ_MAX_TARGET_SESSIONS);
  world_del(w);
}

/* What came to hosts of 203.0.0.0/8. */
static uint64_t sent_to_victims(const world *w) {
  uint64_t n = 0;
  for (size_t i = 0; i < w->nseen; i++) {
    n += w->seen[i].to.ip[0] == 203 ? w->seen[i].packets : 0;
  }
  return n;
}

/* Many victims: the endpoint's own bucket holds, and that of a /24. */
static void test_many_victims(void **state) {
  (void)state;
  world *w = trio_of(11);
  world_start_all(w);
  world_run(w, 2 * AQ_S);
  uint64_t before =
      world_stats(w, B).punches_sent + world_stats(w, B).openers_sent;
  for (int i = 0; i < 500; i++) {
    aq_link *l = aq_link_get(
        w->node[C]->ep, aq_endpoint_find_conn(w->node[C]->ep, &w->node[B]->id));
    if (l == NULL) {
      break;
    }
    char victim[32];
    snprintf(victim, sizeof(victim), "203.%d.%d.7:5000", 1 + i % 100,
             120 + i / 100);
    aq_ctl m = offer_naming(w, victim, 1);
    (void)aq_ctl_send(l, &m);
    aq_ep_settle(w->node[C]->ep);
    world_run(w, 10 * AQ_MS);
  }
  aq_statistics s = world_stats(w, B);
  uint64_t sent = s.punches_sent + s.openers_sent - before;
  assert_true(sent > 50);
  assert_true(sent <= 400 + 200 * 5);
  assert_in_range(sent_to_victims(w), 50, 400 + 200 * 5);
  world_del(w);
}

static void test_one_network(void **state) {
  (void)state;
  world *w = trio_of(17);
  world_start_all(w);
  world_run(w, 2 * AQ_S);
  for (int i = 0; i < 250; i++) {
    aq_link *l = aq_link_get(
        w->node[C]->ep, aq_endpoint_find_conn(w->node[C]->ep, &w->node[B]->id));
    if (l == NULL) {
      break; /* B has had enough of it */
    }
    char victim[32];
    snprintf(victim, sizeof(victim), "203.0.114.%d:5000", 1 + i);
    aq_ctl m = offer_naming(w, victim, 1);
    (void)aq_ctl_send(l, &m);
    aq_ep_settle(w->node[C]->ep);
    world_run(w, 20 * AQ_MS);
  }
  assert_in_range(sent_to_victims(w), 50, 64 + 32 * 5);
  assert_true(world_stats(w, B).limit_punch_prefix > 0);
  world_del(w);
}

/* It says that the peer is behind our NAT, and names hosts of our network: each
 * gets what a stranger would, and none at a port of a service. */
static void test_hosts_of_our_network(void **state) {
  (void)state;
  world *w = trio_of(18);
  world_start_all(w);
  world_run(w, 2 * AQ_S);
  w->nseen = 0;
  for (int i = 0; i < 100; i++) {
    aq_link *l = aq_link_get(
        w->node[C]->ep, aq_endpoint_find_conn(w->node[C]->ep, &w->node[B]->id));
    if (l == NULL) {
      break;
    }
    aq_ctl m = offer_naming(w, "10.1.2.3:5000", 8);
    for (uint32_t k = 0; k < 7; k++) {
      m.cand[k].addr.ip[3] = (uint8_t)(k + 1);
      m.cand[k].addr.port = k == 0 ? 53 : 5000;
    }
    m.cand[7].addr = w->node[B]->bound;
    m.cand[7].addr.port = 6000;
    m.cand[7].verified = 1;
    (void)aq_ctl_send(l, &m);
    aq_ep_settle(w->node[C]->ep);
    world_run(w, 90 * AQ_MS);
  }
  uint64_t all = 0;
  for (uint32_t k = 0; k < 7; k++) {
    char host[32];
    uint64_t bytes;
    snprintf(host, sizeof(host), "10.1.2.%u:1", k + 1);
    uint64_t n = sent_to_ip(w, host, &bytes);
    assert_true(n <= (k == 0 ? 0 : 9) && bytes <= 600);
    all += n;
  }
  assert_true(all > 0);
  world_del(w);
}

/* Addresses that nobody may be made to knock at. */
static void test_forbidden_targets(void **state) {
  (void)state;
  static const char *const bad[] = {
      "127.0.0.1:5000",    "169.254.169.254:5000", "224.0.0.1:5000",
      "255.255.255.255:9", "0.0.0.0:5000",         "192.168.1.1:5000",
      "10.1.2.3:5000",     "203.0.114.9:53",       "203.0.114.9:123",
      "203.0.114.9:80",    "172.16.0.9:5000"};
  world *w = trio_of(12);
  world_start_all(w);
  world_run(w, 2 * AQ_S);
  w->nseen = 0;
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    aq_ctl m = offer_naming(w, bad[i], 1);
    assert_int_equal(aq_ctl_send(world_link(w, C, B), &m), 0);
    aq_ep_settle(w->node[C]->ep);
    world_run(w, AQ_S);
  }
  assert_int_equal(w->nseen, 0);
  assert_int_equal(world_stats(w, B).offers_received,
                   sizeof(bad) / sizeof(bad[0]));
  world_del(w);
}

/* Who is nobody's coordinator is not listened to. */
static void test_offer_of_a_stranger(void **state) {
  (void)state;
  world *w = pair_of(13);
  world_start_all(w);
  connect_to(w, A, B);
  aq_ctl m = offer_naming(w, "203.0.114.7:5000", 8);
  assert_int_equal(aq_ctl_send(world_link(w, A, B), &m), 0);
  aq_ep_settle(w->node[A]->ep);
  world_run(w, 2 * AQ_S);
  assert_int_equal(world_stats(w, B).offers_received, 0);
  assert_int_equal(w->nseen, 0);
  world_del(w);
}

static void test_lying_observer(void **state) {
  (void)state;
  world *w = pair_of(14);
  world_start_all(w);
  connect_to(w, A, B);
  aq_addr victim = util_addr("203.0.114.7:5000");
  aq_frame f;
  memset(&f, 0, sizeof(f));
  f.kind = AQ_FRAME_OBSERVED_ADDRESS;
  f.seq = 100;
  f.addr = victim;
  aq_link *l = world_link(w, A, B);
  assert_int_equal(aq_conn_send_frame(l->c, &f), 0);
  aq_link_touch(l);
  aq_ep_settle(w->node[A]->ep);
  world_run(w, AQ_S);
  /* B knows that A said so, and doesn't tell others. */
  aq_conn_info info;
  assert_int_equal(
      aq_conn_get_info(w->node[B]->ep,
                       aq_endpoint_find_conn(w->node[B]->ep, &w->node[A]->id),
                       &info),
      0);
  assert_true(aq_addr_equal(&info.observed, &victim));
  aq_candidate c[32];
  size_t n = aq_endpoint_get_candidates(w->node[B]->ep, c, 32);
  for (size_t i = 0; i < n; i++) {
    assert_false(aq_addr_equal(&c[i].addr, &victim));
  }
  assert_int_equal(w->nseen, 0);
  world_del(w);
}

static void test_announcements(void **state) {
  (void)state;
  world *w = pair_of(15);
  world_start_all(w);
  connect_to(w, A, B);
  aq_link *l = world_link(w, A, B);
  aq_frame f;
  memset(&f, 0, sizeof(f));
  f.kind = AQ_FRAME_PUNCH_ME_NOW;
  f.seq = 1;
  f.addr = util_addr("203.0.114.7:5000");
  assert_int_equal(aq_conn_send_frame(l->c, &f), 0);
  f.kind = AQ_FRAME_ADD_ADDRESS;
  for (int i = 0; i < 31; i++) {
    f.seq = 1000 + (uint64_t)i;
    assert_int_equal(aq_conn_send_frame(l->c, &f), 0);
    aq_link_touch(l);
    aq_ep_settle(w->node[A]->ep);
    world_run(w, 50 * AQ_MS);
  }
  aq_statistics s = world_stats(w, B);
  assert_int_equal(s.punch_me_now_received, 1);
  assert_true(s.add_address_received >= 31);
  assert_int_equal(w->nseen, 0); /* nothing was sent because of it */
  for (int i = 0; i < 3; i++) {
    f.seq = 2000 + (uint64_t)i;
    (void)aq_conn_send_frame(l->c, &f);
  }
  aq_link_touch(l);
  aq_ep_settle(w->node[A]->ep);
  assert_violation(w);
  assert_int_equal(world_stats(w, B).limit_extension_frames, 1);
  assert_int_equal(w->nseen, 0);
  world_del(w);
}

/* A million announcements that are taken back at once: nothing grows, nothing
 * is sent, and another peer is met meanwhile as fast as ever. */
static void test_announcement_flood(void **state) {
  (void)state;
  world *w = pair_of(16);
  world_node_init(w, C, addr_of[C], NULL);
  world_start_all(w);
  connect_to(w, A, B);
  aq_link *l = world_link(w, B, A);
  aq_frame f;
  memset(&f, 0, sizeof(f));
  f.addr = util_addr("203.0.114.7:5000");
  clock_t began = clock();
  for (int i = 0; i < 1000000; i++) {
    f.seq = 1000 + (uint64_t)i / 2;
    f.kind = i % 2 == 0 ? AQ_FRAME_ADD_ADDRESS : AQ_FRAME_REMOVE_ADDRESS;
    aq_frame_received(l, &f);
  }
  assert_true(clock() - began < 20 * CLOCKS_PER_SEC);
  assert_true(l->rcand->n <= AQ_MAX_REMOTE_CANDS);
  assert_true(sizeof(*l->rcand) <= 4096);
  aq_statistics s = world_stats(w, B);
  assert_true(s.add_address_received >= 500000);
  assert_true(s.limit_extension_frames > 999000);
  assert_int_equal(w->nseen, 0);
  aq_tstamp then = w->now;
  aq_id id = 0;
  assert_int_equal(aq_connect_addr(w->node[B]->ep, w->now, &w->node[C]->bound,
                                   &w->node[C]->id, NULL, 5 * AQ_S, &id),
                   0);
  assert_non_null(
      world_wait(w, w->node[B], AQ_EVENT_CONNECTION_ESTABLISHED, 5 * AQ_S));
  assert_true(w->now - then < AQ_S);
  world_del(w);
}

/* ---- control stream
 * ---------------------------------------------------------------------- */

static void control_bytes(const uint8_t *data, size_t len) {
  world *w = pair_of(20);
  world_start_all(w);
  connect_to(w, A, B);
  aq_link *l = world_link(w, A, B);
  assert_int_equal(aq_conn_control_write(l->c, data, len), 0);
  aq_link_touch(l);
  aq_ep_settle(w->node[A]->ep);
  assert_violation(w);
  world_del(w);
}

static void test_control_oversized(void **state) {
  (void)state;
  /* type 3, length 2049 */
  const uint8_t big[] = {0x03, 0x48, 0x01, 0};
  control_bytes(big, sizeof(big));
  /* an unknown type may not be longer either */
  const uint8_t unknown[] = {0x3e, 0x80, 0x10, 0, 0, 0};
  control_bytes(unknown, sizeof(unknown));
}

static void test_control_malformed(void **state) {
  (void)state;
  const uint8_t cut[] = {0x03, 0x02, 0x01, 0x02}; /* a REQUEST of two bytes */
  control_bytes(cut, sizeof(cut));
}

static void test_control_flood(void **state) {
  (void)state;
  world *w = trio_of(21);
  world_start_all(w);
  world_run(w, 2 * AQ_S);
  aq_link *l = aq_link_get(
      w->node[A]->ep, aq_endpoint_find_conn(w->node[A]->ep, &w->node[C]->id));
  for (int i = 0; i < 400; i++) {
    aq_ctl m;
    memset(&m, 0, sizeof(m));
    m.type = AQ_CTL_REQUEST;
    m.request = 1000 + (uint64_t)i;
    m.peer = w->node[B]->id;
    (void)aq_ctl_send(l, &m);
  }
  aq_ep_settle(w->node[A]->ep);
  const aq_event *e =
      world_wait(w, w->node[C], AQ_EVENT_CONNECTION_LOST, 5 * AQ_S);
  assert_non_null(e);
  assert_int_equal(e->error, AQ_ERR_PROTOCOL);
  /* B was asked as often as one pair may ask. */
  assert_true(world_stats(w, B).offers_received <= 10);
  assert_true(world_stats(w, C).limit_coordinator_rate > 0);
  world_del(w);
}

/* ---- frames
 * --------------------------------------------------------------------------------
 */

/* Sends |len| bytes as if they were an extension frame. */
static int send_raw(world *w, const uint8_t *bytes, size_t len) {
  aq_link *l = world_link(w, A, B);
  int rv = aq_carrier_queue_raw(&l->c->carrier, bytes, len, 0);
  l->c->dirty = 1;
  aq_link_touch(l);
  aq_ep_settle(w->node[A]->ep);
  return rv;
}

static void test_truncated_frames(void **state) {
  (void)state;
  aq_frame v[5];
  memset(v, 0, sizeof(v));
  v[0].kind = AQ_FRAME_ADD_ADDRESS;
  v[0].addr = util_addr("203.0.114.7:5000");
  v[0].seq = 20000;
  v[1].kind = AQ_FRAME_ADD_ADDRESS;
  v[1].addr = util_addr("[2001:db8::7]:5000");
  v[2].kind = AQ_FRAME_PUNCH_ME_NOW;
  v[2].addr = v[0].addr;
  v[2].seq = 300;
  v[3].kind = AQ_FRAME_REMOVE_ADDRESS;
  v[3].seq = 70000;
  v[4].kind = AQ_FRAME_OBSERVED_ADDRESS;
  v[4].addr = v[1].addr;
  for (size_t i = 0; i < 5; i++) {
    uint8_t buf[AQ_FRAME_MAX];
    size_t full =
        aq_frame_format(AQ_DIALECT_SEEMANN02, buf, sizeof(buf), &v[i]);
    assert_true(full > 4);
    for (size_t len = 4; len < full; len++) {
      world *w = pair_of(30 + i);
      world_start_all(w);
      connect_to(w, A, B);
      assert_int_equal(send_raw(w, buf, len), 0);
      assert_violation(w);
      assert_int_equal(w->nseen, 0);
      world_del(w);
    }
  }
}

/* ---- punches
 * ----------------------------------------------------------------------------------
 */

static uint8_t caught[AQ_PUNCH_LEN];
static int have_caught;

/* Lets B hear one probe of A and nothing of its QUIC, so that B's session goes
 * on. */
static int catch_probe(world *w, const aq_addr *from, const aq_addr *to,
                       uint8_t *data, size_t *len) {
  if (aq_addr_equal(from, &w->node[A]->bound) &&
      aq_addr_equal(to, &w->node[B]->bound)) {
    if (*len == AQ_PUNCH_LEN && data[0] == AQ_PUNCH_PROBE && !have_caught) {
      memcpy(caught, data, *len);
      have_caught = 1;
      return 1;
    }
    return 0;
  }
  return 1;
}

static void test_punch_replay_and_forgery(void **state) {
  (void)state;
  world *w = trio_of(40);
  have_caught = 0;
  w->tap = catch_probe;
  world_start_all(w);
  world_run(w, 2 * AQ_S);
  aq_id s, c;
  assert_int_equal(aq_session_start(w->node[A]->ep, w->now, &w->node[B]->id,
                                    NULL, 0, 8 * AQ_S, &s, &c),
                   0);
  for (int i = 0; i < 1000 && world_stats(w, B).punches_received == 0; i++) {
    world_run(w, AQ_MS);
  }
  assert_int_equal(world_stats(w, B).punches_received, 1);
  assert_int_equal(usage_of(w->node[B]).sessions, 1);
  world_run(w, 2 * AQ_MS);
  w->nseen = 0;
  aq_addr thief = util_addr("203.0.114.66:6666");
  /* The same one again, from elsewhere, ten times. */
  for (int i = 0; i < 10; i++) {
    world_inject(w, &thief, &w->node[B]->bound, caught, sizeof(caught));
  }
  /* Every bit of it turned. */
  for (size_t i = 0; i < sizeof(caught) * 8; i++) {
    if (i == 6) {
      continue; /* 0x40: a QUIC packet then, and its answer a reset */
    }
    uint8_t forged[AQ_PUNCH_LEN];
    memcpy(forged, caught, sizeof(forged));
    forged[i / 8] ^= (uint8_t)(1u << i % 8);
    world_inject(w, &thief, &w->node[B]->bound, forged, sizeof(forged));
  }
  /* Every length of it. */
  for (size_t len = 1; len < sizeof(caught); len++) {
    world_inject(w, &thief, &w->node[B]->bound, caught, len);
  }
  assert_int_equal(usage_of(w->node[B]).sessions, 1);
  world_run(w, 100 * AQ_MS);
  assert_int_equal(usage_of(w->node[B]).sessions, 1); /* it was listening */
  assert_int_equal(w->nseen, 0);
  aq_statistics st = world_stats(w, B);
  assert_true(st.punches_received >= 11);
  assert_true(st.punches_bad >= 200);
  world_del(w);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_garbage),
      cmocka_unit_test(test_stolen_token),
      cmocka_unit_test(test_reset_flood),
      cmocka_unit_test(test_reset_loop),
      cmocka_unit_test(test_lying_offers),
      cmocka_unit_test(test_many_victims),
      cmocka_unit_test(test_one_network),
      cmocka_unit_test(test_hosts_of_our_network),
      cmocka_unit_test(test_forbidden_targets),
      cmocka_unit_test(test_offer_of_a_stranger),
      cmocka_unit_test(test_lying_observer),
      cmocka_unit_test(test_announcements),
      cmocka_unit_test(test_announcement_flood),
      cmocka_unit_test(test_control_oversized),
      cmocka_unit_test(test_control_malformed),
      cmocka_unit_test(test_control_flood),
      cmocka_unit_test(test_truncated_frames),
      cmocka_unit_test(test_punch_replay_and_forgery),
      cmocka_unit_test(test_spoofed_initials),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
