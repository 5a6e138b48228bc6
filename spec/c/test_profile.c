/* test_profile.c - endpoints measure the NAT in front of them: whole ones, in
 * virtual time; who is told, and what a coordinator that lies can do with it.
 *
 * SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "base/addr.h"
#include "proto/natcheck.h"
#include "quic/endpoint_int.h"

enum { C, D, A, B };

/* Two coordinators, the first with a second port, and a peer behind |nat|. */
static world *start(world_nat *nat) {
  static const char *addr[] = {"198.18.0.1:9000", "198.18.3.1:9000"};
  world *w = world_new(11);
  for (size_t i = C; i <= D; i++) {
    world_coordinator(w, i, addr[i]);
  }
  world_node *a = world_node_init(w, A, "192.168.1.2:5000", NULL);
  a->params.nat_profile = 1;
  world_use_bootstrap(a, w->node[C], 1);
  world_use_bootstrap(a, w->node[D], 1);
  if (nat != NULL) {
    world_behind(a, nat);
  }
  world_start_all(w);
  world_add_second(w->node[C], "198.18.0.1:9001");
  return w;
}

static aq_nat_report report(world *w) {
  aq_nat_report r;
  aq_endpoint_get_nat(w->node[A]->ep, &r);
  return r;
}

/* What the world's NATs are, as far as one port beside the first can tell: a
 * filter that is milder than the strictest is bounded only. */
static void test_kinds(void **state) {
  (void)state;
  static const aq_nat_allocation how[] = {
      AQ_NAT_ALLOC_PRESERVING, AQ_NAT_ALLOC_SEQUENTIAL, AQ_NAT_ALLOC_RANDOM};
  for (int m = WORLD_EI; m <= WORLD_APD; m++) {
    for (int f = WORLD_EI; f <= WORLD_APD; f++) {
      for (size_t k = m > WORLD_EI; k < 3; k++) {
        world_nat *nat =
            world_nat_new("198.51.100.7", (world_rule)m, (world_rule)f, how[k]);
        world *w = start(nat);
        aq_nat_profile want = world_nat_profile(nat);
        world_run(w, 2 * AQ_S);
        aq_nat_report r = report(w);
        assert_int_equal(r.profile.mapping, want.mapping);
        assert_int_equal(r.profile.allocation, want.allocation);
        assert_int_equal(r.profile.step, want.step);
        assert_int_equal(r.profile.external_count, 1);
        util_assert_addr(&r.profile.external[0], "198.51.100.7:0");
        if (f == WORLD_APD) {
          assert_int_equal(r.profile.filtering, want.filtering);
          assert_true(r.complete);
        } else {
          assert_int_equal(r.profile.filtering, AQ_NAT_UNKNOWN);
          assert_int_equal(r.filtering_most, AQ_NAT_ADDRESS_DEPENDENT);
        }
        assert_in_range(world_count(w->node[A], AQ_EVENT_NAT_PROFILE_CHANGED),
                        1, 3);
        assert_int_equal(w->node[A]->ep->nextra, 0); /* all given back */
        world_del(w);
      }
    }
  }
}

static void test_public(void **state) {
  (void)state;
  world *w = start(NULL);
  world_run(w, 2 * AQ_S);
  aq_nat_report r = report(w);
  assert_int_equal(r.profile.mapping, AQ_NAT_NONE);
  assert_int_equal(r.profile.allocation, AQ_NAT_ALLOC_PRESERVING);
  assert_int_equal(r.profile.hairpin, 0);
  world_del(w);
}

/* It is in REGISTER and REQUEST, and so the other side has it. */
static void test_told(void **state) {
  (void)state;
  world *w = start(
      world_nat_new("198.51.100.7", WORLD_EI, WORLD_APD, AQ_NAT_ALLOC_RANDOM));
  world_node *b = world_node_init(w, B, "198.18.5.5:6000", NULL);
  world_use_bootstrap(b, w->node[C], 1);
  world_node_start(b);
  world_run(w, 2 * AQ_S);
  aq_id session = 0, conn = 0;
  assert_int_equal(aq_session_start(b->ep, w->now, &w->node[A]->id, NULL, 0,
                                    5 * AQ_S, &session, &conn),
                   0);
  assert_non_null(world_wait(w, b, AQ_EVENT_TRAVERSAL_SUCCEEDED, 5 * AQ_S));
  aq_session_info info;
  assert_int_equal(aq_session_get_info(b->ep, session, &info), 0);
  assert_int_equal(info.remote_profile.mapping, AQ_NAT_ENDPOINT_INDEPENDENT);
  assert_int_equal(info.remote_profile.filtering,
                   AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
  assert_int_equal(info.remote_profile.external_count, 1);
  world_del(w);
}

static void test_switched_off(void **state) {
  (void)state;
  world *w = world_new(3);
  world_node *c = world_node_init(w, C, "198.18.0.1:9000", NULL);
  c->params.role = AQ_ROLE_BOOTSTRAP;
  c->params.enable_relay_fallback = 0;
  world_node *a = world_node_init(w, A, "192.168.1.2:5000", NULL);
  world_use_bootstrap(a, c, 1);
  world_start_all(w);
  world_run(w, 60 * AQ_S);
  assert_int_equal(a->ep->stats.observes_sent, 0);
  assert_int_equal(report(w).measured_at, 0);
  assert_int_equal(report(w).keep_alive, 15 * AQ_S);
  world_del(w);
}

/* A host that opens no sockets: nothing is known, and nothing breaks. */
static void test_no_sockets(void **state) {
  (void)state;
  world *w = world_new(3);
  world_node *c = world_node_init(w, C, "198.18.0.1:9000", NULL);
  c->params.role = AQ_ROLE_BOOTSTRAP;
  c->params.enable_relay_fallback = 0;
  world_node *a = world_node_init(w, A, "192.168.1.2:5000", NULL);
  a->params.nat_profile = 1;
  a->no_extra = 1;
  world_use_bootstrap(a, c, 1);
  world_start_all(w);
  world_run(w, 3600 * AQ_S);
  assert_int_equal(a->ep->stats.observes_sent, 0);
  assert_int_equal(report(w).measured_at, 0);
  assert_int_equal(a->ep->nextra, 0);
  world_del(w);
}

static void test_blocked(void **state) {
  (void)state;
  world *w = start(NULL);
  w->node[A]->deaf = 1;
  assert_non_null(
      world_wait(w, w->node[A], AQ_EVENT_NAT_PROFILE_CHANGED, 20 * AQ_S));
  assert_int_equal(report(w).profile.filtering, AQ_NAT_NONE);
  w->node[A]->deaf = 0;
  world_run(w, 60 * AQ_S);
  assert_int_equal(report(w).profile.mapping, AQ_NAT_NONE);
  assert_true(report(w).profile.filtering != AQ_NAT_NONE);
  world_del(w);
}

/* The network changes: measured again, and the change is told. */
static void test_moved(void **state) {
  (void)state;
  world_nat *nat =
      world_nat_new("198.51.100.7", WORLD_EI, WORLD_APD, AQ_NAT_ALLOC_RANDOM);
  world *w = start(nat);
  world_run(w, 15 * AQ_S);
  nat->mapping = WORLD_APD;
  world_nat_rebind(nat, "198.51.100.9");
  world_clear(w->node[A]);
  world_run(w, 60 * AQ_S);
  aq_nat_report r = report(w);
  assert_int_equal(r.profile.mapping, AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
  util_assert_addr(&r.profile.external[0], "198.51.100.9:0");
  assert_non_null(world_find(w->node[A], AQ_EVENT_NAT_PROFILE_CHANGED));
  world_del(w);
}

/* Lifetimes are learnt by datagrams of its own, few a minute, and connections
 * follow; but not one whose interval the application chose. */
static void test_lifetime(void **state) {
  (void)state;
  world *w = start(
      world_nat_new("198.51.100.7", WORLD_EI, WORLD_APD, AQ_NAT_ALLOC_RANDOM));
  aq_endpoint *ep = w->node[A]->ep;
  world_run(w, 20 * AQ_S);
  uint64_t before = ep->stats.observes_sent;
  world_run(w, 1000 * AQ_S);
  aq_nat_report r = report(w);
  assert_int_equal(r.profile.idle, 180); /* this NAT never forgets */
  assert_int_equal(r.idle_gone, 0);
  assert_int_equal(r.profile.absolute, 0);
  assert_int_equal(r.keep_alive, 25 * AQ_S);
  assert_true(r.lifetime_known);
  assert_in_range(ep->stats.observes_sent - before, 20, 200);
  world_del(w);
}

/* ---- a coordinator that lies ------------------------------------------------
 */

static aq_addr victim_addr;
static const aq_boot *liar;

/* It says that it sees every socket at the victim's address. */
static int lie(world *w, const aq_addr *from, const aq_addr *to, uint8_t *data,
               size_t *len) {
  aq_observe o;
  (void)w;
  (void)from;
  (void)to;
  if (*len == AQ_OBSERVE_LEN && data[0] == AQ_OBSERVE_TELL &&
      aq_observe_peek(&o, data, *len) == 0 &&
      memcmp(o.token, liar->token, sizeof(o.token)) == 0) {
    uint16_t port = o.addr.port;
    o.addr = victim_addr;
    o.addr.port = port;
    assert_int_equal(
        aq_observe_format(data, &o, liar->observe_key, aq_crypto_mac16), 0);
  }
  return 1;
}

static uint64_t at_victim(const world *w) {
  uint64_t n = 0;
  for (size_t i = 0; i < w->nseen; i++) {
    n += aq_addr_same_ip(&w->seen[i].to, &victim_addr) ? w->seen[i].packets : 0;
  }
  return n;
}

static void test_liar(void **state) {
  (void)state;
  victim_addr = util_addr("203.0.113.77:7777");
  for (int how = 0; how < 2; how++) {
    world *w = start(world_nat_new("198.51.100.7", WORLD_EI, WORLD_APD,
                                   AQ_NAT_ALLOC_RANDOM));
    aq_endpoint *ep = w->node[A]->ep;
    assert_non_null(
        world_wait(w, w->node[A], AQ_EVENT_BOOTSTRAP_CONNECTED, 5 * AQ_S));
    world_run(w, 15 * AQ_S);
    liar = &ep->boot[0];
    if (how == 0) {
      w->tap = lie;
    }
    uint64_t count[300] = {0};
    for (int i = 0; i < 300; i++) {
      if (how == 1) { /* its other addresses are the victim's */
        for (size_t k = 0; k < AQ_CTL_MAX_ALTERNATES; k++) {
          ep->boot[0].alternate[k] = victim_addr;
          ep->boot[0].alternate[k].port = (uint16_t)(7000 + k);
        }
        ep->boot[0].alternate_count = AQ_CTL_MAX_ALTERNATES;
        aq_profile_boots(ep);
      }
      aq_profile_moved(ep); /* and it makes us look as often as it can */
      world_run(w, AQ_S);
      count[i] = at_victim(w);
      uint64_t since = i >= 10 ? count[i - 10] : 0;
      assert_true(count[i] - since <= 9);
    }
    assert_true(count[299] > 9); /* it was tried */
    world_del(w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_kinds),      cmocka_unit_test(test_public),
      cmocka_unit_test(test_told),       cmocka_unit_test(test_switched_off),
      cmocka_unit_test(test_no_sockets), cmocka_unit_test(test_blocked),
      cmocka_unit_test(test_moved),      cmocka_unit_test(test_lifetime),
      cmocka_unit_test(test_liar),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
