/* test_observe.c - observation datagrams: the codec, and a coordinator that
 * answers registered peers and nobody else.
 *
 * SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "base/addr.h"
#include "quic/endpoint_int.h"

static int mac(uint8_t out[16], const uint8_t *key, size_t keylen,
               const uint8_t *data, size_t len) {
  return aq_crypto_mac16(out, key, keylen, data, len);
}

/* ---- codec --------------------------------------------------------------- */

static aq_observe sample(int tell, const char *addr) {
  aq_observe o = {.type = tell ? AQ_OBSERVE_TELL : AQ_OBSERVE_ASK,
                  .flags = AQ_OBSERVE_OTHER_ADDR,
                  .delay = AQ_OBSERVE_MAX_DELAY,
                  .token = {1, 2, 3, 4, 5, 6, 7, 8},
                  .seq = UINT32_MAX,
                  .cookie = UINT64_C(0xfedcba9876543211)};
  if (addr != NULL) {
    o.addr = util_addr(addr);
  }
  return o;
}

static void test_codec(void **state) {
  (void)state;
  static const uint8_t key[AQ_OBSERVE_KEY_LEN] = {9};
  const char *addrs[] = {NULL, "198.51.100.7:4433", "[2001:db8::7]:1"};
  for (int i = 0; i < 3; i++) {
    aq_observe o = sample(i > 0, addrs[i]), back;
    uint8_t buf[AQ_OBSERVE_LEN];
    assert_int_equal(aq_observe_format(buf, &o, key, mac), 0);
    assert_int_equal(aq_observe_peek(&back, buf, sizeof(buf)), 0);
    assert_memory_equal(&back, &o, sizeof(o));
    assert_int_equal(aq_observe_verify(buf, sizeof(buf), key, mac), 0);
    for (size_t bit = 0; bit < sizeof(buf) * 8; bit++) {
      buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
      assert_int_equal(aq_observe_verify(buf, sizeof(buf), key, mac),
                       AQ_ERR_WRONG_KEY);
      (void)aq_observe_peek(&back, buf, sizeof(buf));
      buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < sizeof(buf); len++) {
      uint8_t *p = util_exact(buf, len);
      assert_int_equal(aq_observe_peek(&back, p, len), AQ_ERR_FORMAT);
      assert_int_equal(aq_observe_verify(p, len, key, mac), AQ_ERR_WRONG_KEY);
      free(p);
    }
  }
}

static void assert_bad(const aq_observe *o, size_t at, uint8_t value) {
  static const uint8_t key[AQ_OBSERVE_KEY_LEN];
  uint8_t buf[AQ_OBSERVE_LEN];
  aq_observe back;
  assert_int_equal(aq_observe_format(buf, o, key, mac), 0);
  buf[at] = value;
  assert_int_equal(aq_observe_peek(&back, buf, sizeof(buf)), AQ_ERR_FORMAT);
}

static void test_malformed(void **state) {
  (void)state;
  aq_observe ask = sample(0, NULL), tell = sample(1, "198.51.100.7:4433");
  assert_bad(&ask, 0, 3);
  assert_bad(&ask, 0, 6);
  assert_bad(&ask, 1, 2);
  assert_bad(&ask, 3, AQ_OBSERVE_MAX_DELAY + 1);
  assert_bad(&ask, 24, 4); /* an ask has no address */
  assert_bad(&tell, 24, 0);
  assert_bad(&tell, 24, 5);
  assert_bad(&tell, 43, 1);
  assert_bad(&tell, 47, 1);
  tell.addr.port = 0;
  uint8_t buf[AQ_OBSERVE_LEN];
  static const uint8_t key[AQ_OBSERVE_KEY_LEN];
  aq_observe back;
  assert_int_equal(aq_observe_format(buf, &tell, key, mac), 0);
  assert_int_equal(aq_observe_peek(&back, buf, sizeof(buf)), AQ_ERR_FORMAT);
}

/* ---- endpoints ----------------------------------------------------------- */

enum { C, A };

/* A coordinator with two ports, and a peer behind a NAT that registered. */
static world *start(void) {
  world *w = world_new(7);
  world_node *c = world_coordinator(w, C, "198.18.0.1:9000");
  world_node *a = world_node_init(w, A, "198.18.1.2:5000", "198.18.9.9:7777");
  world_use_bootstrap(a, c, 1);
  world_start_all(w);
  world_add_second(c, "198.18.0.1:9001");
  assert_non_null(world_wait(w, a, AQ_EVENT_BOOTSTRAP_CONNECTED, 5 * AQ_S));
  world_run(w, AQ_S);
  assert_true(a->ep->boot[0].observes);
  world_clear(a);
  return w;
}

static int ask(world *w, const aq_ask_params *p, uint64_t *cookie) {
  aq_endpoint *ep = w->node[A]->ep;
  aq_ep_enter(ep, w->now);
  return aq_observe_ask(ep, &ep->boot[0], p, cookie);
}

static const aq_event *answer(world *w, uint64_t cookie, aq_duration max) {
  world_node *a = w->node[A];
  world_run(w, max);
  for (size_t i = 0; i < a->nevent; i++) {
    if (a->event[i].kind == AQ_EVENT_ADDRESS_OBSERVED &&
        a->event[i].value == cookie) {
      return &a->event[i];
    }
  }
  return NULL;
}

static void test_answered(void **state) {
  (void)state;
  world *w = start();
  aq_ask_params p = {.owner = 1};
  uint64_t cookie = 0;
  assert_int_equal(ask(w, &p, &cookie), 0);
  const aq_event *e = answer(w, cookie, AQ_S);
  assert_non_null(e);
  util_assert_addr(&e->addr, "198.18.9.9:7777");
  util_assert_addr(&e->local, "198.18.0.1:9000");
  assert_int_equal(e->duration, 20 * AQ_MS);
  assert_int_equal(world_stats(w, A).observes_sent, 1);
  assert_int_equal(world_stats(w, A).observes_received, 1);
  assert_int_equal(world_stats(w, C).observes_answered, 1);
  /* The coordinator can vouch for it now. */
  const aq_link *l = w->node[C]->ep->boot[0].link; /* it has none of its own */
  assert_null(l);
  aq_list_each(node, &w->node[C]->ep->links) {
    aq_addr seen =
        aq_observe_seen(aq_list_entry(node, aq_link, all_node), cookie);
    util_assert_addr(&seen, "198.18.9.9:7777");
  }
  world_del(w);
}

/* Its other port can't get through a NAT that filters by port, until something
 * went there. */
static void test_other_port(void **state) {
  (void)state;
  world *w = start();
  aq_ask_params p = {.owner = 1, .flags = AQ_OBSERVE_OTHER_PORT};
  uint64_t cookie = 0;
  util_assert_addr(&w->node[A]->ep->boot[0].alternate[0], "198.18.0.1:9001");
  assert_int_equal(w->node[A]->ep->boot[0].alternate_count, 1);
  assert_int_equal(ask(w, &p, &cookie), 0);
  assert_null(answer(w, cookie, AQ_S));
  assert_int_equal(world_stats(w, C).observes_answered, 1);
  aq_ask_params direct = {.owner = 1, .alternate = 1};
  assert_int_equal(ask(w, &direct, &cookie), 0);
  const aq_event *e = answer(w, cookie, AQ_S);
  assert_non_null(e);
  util_assert_addr(&e->local, "198.18.0.1:9001");
  assert_int_equal(ask(w, &p, &cookie), 0);
  e = answer(w, cookie, AQ_S);
  assert_non_null(e);
  util_assert_addr(&e->local, "198.18.0.1:9001");
  /* It has no other address, and says nothing. */
  p.flags = AQ_OBSERVE_OTHER_ADDR;
  assert_int_equal(ask(w, &p, &cookie), 0);
  assert_null(answer(w, cookie, AQ_S));
  direct.alternate = 2;
  assert_int_equal(ask(w, &direct, &cookie), AQ_ERR_UNSUPPORTED);
  world_del(w);
}

static void test_later(void **state) {
  (void)state;
  world *w = start();
  aq_ask_params p = {.owner = 1, .delay = 30};
  uint64_t cookie = 0;
  aq_tstamp sent = w->now;
  assert_int_equal(ask(w, &p, &cookie), 0);
  assert_null(answer(w, cookie, 29 * AQ_S));
  const aq_event *e = answer(w, cookie, 2 * AQ_S);
  assert_non_null(e);
  assert_int_equal(e->time - sent, 30 * AQ_S + 20 * AQ_MS);
  /* Four at a time; the fifth is dropped, and counted. */
  for (int i = 0; i < 5; i++) {
    assert_int_equal(ask(w, &p, &cookie), 0);
  }
  world_run(w, AQ_S);
  assert_int_equal(world_stats(w, C).limit_observe, 1);
  world_run(w, 40 * AQ_S);
  assert_int_equal(world_stats(w, A).observes_received, 5);
  world_del(w);
}

static void test_rate(void **state) {
  (void)state;
  world *w = start();
  aq_ask_params p = {.owner = 1};
  uint64_t cookie = 0;
  for (int i = 0; i < 200; i++) {
    assert_int_equal(ask(w, &p, &cookie), 0);
  }
  world_run(w, AQ_S);
  assert_in_range(world_stats(w, C).observes_answered, 64, 66);
  assert_int_equal(world_stats(w, C).observes_answered +
                       world_stats(w, C).limit_observe,
                   200);
  world_del(w);
}

/* Strangers, forgeries, and what was captured and comes again. */
static uint8_t captured[AQ_OBSERVE_LEN];
static int capture(world *w, const aq_addr *from, const aq_addr *to,
                   uint8_t *data, size_t *len) {
  (void)w;
  (void)from;
  (void)to;
  if (*len == AQ_OBSERVE_LEN && data[0] == AQ_OBSERVE_ASK) {
    memcpy(captured, data, sizeof(captured));
  }
  return 1;
}

static void test_hostile(void **state) {
  (void)state;
  world *w = start();
  aq_addr to = util_addr("198.18.0.1:9000"), victim = util_addr("198.18.7.7:9");
  aq_ask_params p = {.owner = 1};
  uint64_t cookie = 0;
  w->tap = capture;
  assert_int_equal(ask(w, &p, &cookie), 0);
  assert_non_null(answer(w, cookie, AQ_S));
  w->tap = NULL;
  uint64_t answered = world_stats(w, C).observes_answered;
  world_inject(w, &victim, &to, captured, sizeof(captured)); /* again */
  uint8_t forged[AQ_OBSERVE_LEN];
  memcpy(forged, captured, sizeof(forged));
  forged[15] ^= 1; /* another sequence number */
  world_inject(w, &victim, &to, forged, sizeof(forged));
  memcpy(forged, captured, sizeof(forged));
  forged[4] ^= 1; /* another token */
  world_inject(w, &victim, &to, forged, sizeof(forged));
  world_inject(w, &victim, &to, captured, sizeof(captured) - 1);
  world_run(w, AQ_S);
  assert_int_equal(world_stats(w, C).observes_answered, answered);
  assert_int_equal(world_stats(w, C).observes_bad, 2);
  assert_null(world_seen_at(w, &victim));
  /* An answer that nobody waits for. */
  uint8_t tell[AQ_OBSERVE_LEN];
  aq_boot *b = &w->node[A]->ep->boot[0];
  aq_observe o = sample(1, "198.18.7.7:9");
  memcpy(o.token, b->token, sizeof(o.token));
  assert_int_equal(aq_observe_format(tell, &o, b->observe_key, mac), 0);
  aq_addr from = util_addr("198.18.0.1:9000"),
          nat = util_addr("198.18.9.9:7777");
  world_inject(w, &from, &nat, tell, sizeof(tell));
  tell[40] ^= 1;
  world_inject(w, &from, &nat, tell, sizeof(tell));
  world_run(w, AQ_S);
  assert_int_equal(world_stats(w, A).observes_bad, 2);
  world_del(w);
}

/* The registration is gone, and with it what was promised. */
static void test_forgotten(void **state) {
  (void)state;
  world *w = start();
  aq_ask_params p = {.owner = 1, .delay = 20};
  uint64_t cookie = 0;
  assert_int_equal(ask(w, &p, &cookie), 0);
  world_run(w, AQ_S);
  assert_int_equal(aq_endpoint_close(w->node[A]->ep, w->now, 0, ""), 0);
  world_run(w, 60 * AQ_S);
  assert_int_equal(world_stats(w, C).observes_answered, 0);
  assert_int_equal(aq_hash_count(&w->node[C]->ep->watches), 0);
  assert_int_equal(ask(w, &p, &cookie), AQ_ERR_UNSUPPORTED);
  world_del(w);
}

/* ---- extra sockets ------------------------------------------------------- */

static void test_extra_sockets(void **state) {
  (void)state;
  world *w = start();
  aq_endpoint *ep = w->node[A]->ep;
  const aq_local_socket *like = aq_ep_socket(ep, 0);
  aq_socket_request r;
  uint32_t index[AQ_MAX_EXTRA_SOCKETS + 1];
  assert_int_equal(aq_endpoint_poll_socket(ep, &r), 0);
  for (int i = 0; i < AQ_MAX_EXTRA_SOCKETS; i++) {
    assert_int_equal(aq_extra_open(ep, like, 5, &index[i]), 0);
  }
  assert_int_equal(aq_extra_open(ep, like, 5, &index[AQ_MAX_EXTRA_SOCKETS]),
                   AQ_ERR_LIMIT);
  assert_int_equal(world_stats(w, A).limit_extra_sockets, 1);
  assert_null(aq_ep_socket(ep, index[0])); /* not open yet */
  aq_extra_release(ep, index[1]);          /* never asked for */
  for (int i = 0; i < AQ_MAX_EXTRA_SOCKETS - 1; i++) {
    assert_int_equal(aq_endpoint_poll_socket(ep, &r), 1);
    assert_true(r.open && r.bind.port == 0 && r.index >= AQ_MAX_SOCKETS);
    aq_addr bound = r.bind;
    bound.port = (uint16_t)(20000 + i);
    /* Every third can't be had. */
    aq_endpoint_socket_opened(ep, w->now, r.index, i % 3 ? &bound : NULL);
    assert_true((aq_ep_socket(ep, r.index) != NULL) == (i % 3 != 0));
  }
  assert_int_equal(aq_endpoint_poll_socket(ep, &r), 0);
  assert_int_equal(world_stats(w, A).extra_sockets_opened, ep->nextra);
  aq_endpoint_socket_opened(ep, w->now, index[0], &like->bound); /* not asked */
  aq_endpoint_socket_opened(ep, w->now, 3, &like->bound);
  /* A connection keeps one that its owner gave up. */
  uint32_t kept = 0;
  for (uint32_t i = 0; i < AQ_MAX_EXTRA_SOCKETS && kept == 0; i++) {
    kept =
        aq_ep_socket(ep, AQ_MAX_SOCKETS + i) != NULL ? AQ_MAX_SOCKETS + i : 0;
  }
  aq_extra_hold(ep, kept);
  uint32_t open = ep->nextra;
  aq_extra_release_all(ep, 5);
  uint32_t closed = 0;
  while (aq_endpoint_poll_socket(ep, &r)) {
    assert_int_equal(r.open, 0);
    assert_true(r.index != kept);
    closed++;
  }
  assert_int_equal(closed, open - 1);
  assert_int_equal(ep->nextra, 1);
  aq_extra_drop(ep, kept);
  assert_int_equal(aq_endpoint_poll_socket(ep, &r), 1);
  assert_int_equal(r.index, kept);
  assert_int_equal(ep->nextra, 0);
  /* Given up while it opens: closed once it is there. */
  assert_int_equal(aq_extra_open(ep, like, 5, &index[0]), 0);
  assert_int_equal(aq_endpoint_poll_socket(ep, &r), 1);
  aq_extra_release(ep, index[0]);
  assert_int_equal(aq_endpoint_poll_socket(ep, &r), 0);
  aq_addr bound = like->bound;
  bound.port = 33333;
  aq_endpoint_socket_opened(ep, w->now, index[0], &bound);
  assert_int_equal(aq_endpoint_poll_socket(ep, &r), 1);
  assert_int_equal(r.open, 0);
  assert_int_equal(ep->nextra, 0);
  world_del(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_codec),         cmocka_unit_test(test_malformed),
      cmocka_unit_test(test_answered),      cmocka_unit_test(test_other_port),
      cmocka_unit_test(test_later),         cmocka_unit_test(test_rate),
      cmocka_unit_test(test_hostile),       cmocka_unit_test(test_forgotten),
      cmocka_unit_test(test_extra_sockets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
