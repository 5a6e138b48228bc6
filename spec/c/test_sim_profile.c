/* test_sim_profile.c - an endpoint behind each type of the NAT lab, in the
 * simulator, finds out what it is behind; lifetimes too.
 *
 * SPDX-License-Identifier: MIT */
#include "base/addr.h"
#include "support/sim_net.h"

#define EI AQ_NAT_ENDPOINT_INDEPENDENT
#define AD AQ_NAT_ADDRESS_DEPENDENT
#define APD AQ_NAT_ADDRESS_AND_PORT_DEPENDENT
#define NONE AQ_NAT_NONE
#define UNKNOWN AQ_NAT_UNKNOWN
#define ALLOC(x) AQ_NAT_ALLOC_##x

typedef struct type {
  const char *name;
  uint8_t mapping, filtering, allocation, hairpin, externals;
} type;

static const type types[] = {
    {"none", NONE, EI, ALLOC(PRESERVING), 0, 1},
    {"fw_only", NONE, APD, ALLOC(PRESERVING), 0, 1},
    {"fw_v6", NONE, APD, ALLOC(PRESERVING), 0, 1},
    {"full_cone", EI, EI, ALLOC(RANDOM), 1, 1},
    {"full_cone_hp", EI, EI, ALLOC(RANDOM), 2, 1},
    {"addr_restr", EI, AD, ALLOC(RANDOM), 1, 1},
    {"port_restr", EI, APD, ALLOC(RANDOM), 1, 1},
    {"port_restr_hp", EI, APD, ALLOC(RANDOM), 2, 1},
    {"linux", EI, APD, ALLOC(PRESERVING), 1, 1},
    {"linux_reject", EI, APD, ALLOC(PRESERVING), 1, 1},
    {"linux_open", EI, APD, ALLOC(PRESERVING), 1, 1},
    {"adm_apdf", AD, APD, ALLOC(RANDOM), 1, 1},
    {"adm_adf", AD, AD, ALLOC(RANDOM), 1, 1},
    {"sym_rand", APD, APD, ALLOC(RANDOM), 1, 1},
    {"sym_seq", APD, APD, ALLOC(SEQUENTIAL), 1, 1},
    {"sym_eif", APD, EI, ALLOC(RANDOM), 1, 1},
    {"sym_adf", APD, AD, ALLOC(RANDOM), 1, 1},
    {"pool_arb", APD, APD, ALLOC(PRESERVING), 1, 2},
    {"udp_blocked", UNKNOWN, NONE, ALLOC(UNKNOWN), 0, 0},
};

enum { C, D, A, COUNT };

typedef struct lab {
  aq_sim *s;
  aq_sim_node nat, host[COUNT];
  aq_sim_endpoint *e[COUNT];
  aq_endpoint_params params; /* of the peer */
} lab;

static void add(lab *l, int i, const aq_endpoint_params *p,
                const aq_runtime_params *rp) {
  uint8_t key[32] = {(uint8_t)(i + 1)};
  char why[200] = "";
  if (aq_sim_endpoint_new(&l->e[i], l->s, l->host[i], key, rp, p, why,
                          sizeof(why)) != 0) {
    fail_msg("%s", why);
  }
}

/* A coordinator with two addresses and two ports. */
static void add_coordinator(lab *l, int i, int family) {
  aq_sim_host_params hp;
  aq_endpoint_params p;
  aq_runtime_params rp;
  char text[2][40];
  aq_sim_host_params_init(&hp);
  hp.naddr = 2;
  for (int k = 0; k < 2; k++) {
    snprintf(text[k], sizeof(text[k]),
             family == 4 ? "198.18.%d.%d:0" : "[2001:db8:%d::%d]:0", 200 + i,
             2 + k);
    hp.addr[k] = util_addr(text[k]);
  }
  sim_ok(aq_sim_add_host(l->s, AQ_SIM_INTERNET, &hp, &l->host[i]));
  memset(&rp, 0, sizeof(rp));
  for (int k = 0; k < 4; k++) {
    rp.bind[k] = hp.addr[k / 2];
    rp.bind[k].port = (uint16_t)(9000 + k % 2);
  }
  rp.bind_count = 4;
  aq_endpoint_params_init(&p);
  p.role = AQ_ROLE_BOOTSTRAP;
  p.enable_relay_fallback = 0;
  p.allow_reserved = 1;
  add(l, i, &p, &rp);
  aq_bootstrap_addr *b = &l->params.bootstrap[l->params.bootstrap_count++];
  b->addr = rp.bind[0];
}

static void lab_init(lab *l, const aq_sim_nat_params *np, int family,
                     uint64_t seed) {
  aq_sim_host_params hp;
  aq_sim_link link = {.delay = 5 * AQ_MS};
  memset(l, 0, sizeof(*l));
  aq_endpoint_params_init(&l->params);
  l->params.role = AQ_ROLE_CLIENT;
  l->params.allow_reserved = 1;
  sim_ok(aq_sim_new(&l->s, seed, NULL));
  for (int i = C; i <= D; i++) {
    add_coordinator(l, i, family);
  }
  sim_ok(aq_sim_add_nat(l->s, AQ_SIM_INTERNET, np, &l->nat));
  sim_ok(aq_sim_set_link(l->s, l->nat, AQ_SIM_BOTH, &link));
  aq_sim_host_params_init(&hp);
  hp.v4 = family == 4;
  hp.v6 = family == 6;
  sim_ok(aq_sim_add_host(l->s, l->nat, &hp, &l->host[A]));
  add(l, A, &l->params, NULL);
}

static void lab_end(lab *l) {
  for (int i = 0; i < COUNT; i++) {
    aq_sim_endpoint_del(l->e[i]);
  }
  aq_sim_del(l->s);
}

static aq_nat_report run(lab *l, aq_duration d) {
  aq_tstamp until = aq_sim_now(l->s) + d;
  aq_event e;
  aq_nat_report r;
  while (aq_sim_step(l->s, until) == 1) {
    for (int i = 0; i < COUNT; i++) {
      while (aq_endpoint_poll_event(aq_sim_endpoint_core(l->e[i]), &e)) {
      }
    }
  }
  aq_endpoint_get_nat(aq_sim_endpoint_core(l->e[A]), &r);
  return r;
}

static void test_types(void **state) {
  (void)state;
  size_t count = 0;
  while (aq_sim_nat_type_at(count) != NULL) {
    count++;
  }
  assert_int_equal(count, sizeof(types) / sizeof(types[0]));
  for (size_t i = 0; i < count; i++) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
      const type *t = &types[i];
      aq_sim_nat_params np;
      lab l;
      sim_ok(aq_sim_nat_type(&np, t->name));
      lab_init(&l, &np, strcmp(t->name, "fw_v6") == 0 ? 6 : 4, seed);
      aq_nat_report r = run(&l, 4 * AQ_S);
      if (r.profile.mapping != t->mapping ||
          r.profile.filtering != t->filtering ||
          r.profile.allocation != t->allocation ||
          r.profile.hairpin != t->hairpin ||
          r.profile.external_count != t->externals ||
          (t->allocation == ALLOC(SEQUENTIAL) && r.profile.step != 1)) {
        fail_msg("%s, seed %d: %s, %s, %s %d, hairpin %d, %d outside", t->name,
                 (int)seed, aq_nat_rule_name(r.profile.mapping),
                 aq_nat_rule_name(r.profile.filtering),
                 aq_nat_allocation_name(r.profile.allocation), r.profile.step,
                 r.profile.hairpin, r.profile.external_count);
      }
      lab_end(&l);
    }
  }
}

/* A tenth is lost, others allocate too, and it is found out all the same. */
static void test_loss(void **state) {
  (void)state;
  static const char *const names[] = {"full_cone", "addr_restr", "port_restr",
                                      "sym_rand", "sym_seq"};
  for (size_t i = 0; i < 5; i++) {
    size_t k = 0;
    while (strcmp(types[k].name, names[i]) != 0) {
      k++;
    }
    int right = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
      aq_sim_nat_params np;
      aq_sim_link link = {.delay = 20 * AQ_MS, .loss = 0.05};
      lab l;
      sim_ok(aq_sim_nat_type(&np, names[i]));
      np.background = 20;
      lab_init(&l, &np, 4, seed);
      sim_ok(aq_sim_set_link(l.s, l.nat, AQ_SIM_BOTH, &link));
      aq_nat_report r = run(&l, 8 * AQ_S);
      right += r.profile.mapping == types[k].mapping &&
               r.profile.filtering == types[k].filtering &&
               r.profile.allocation == types[k].allocation;
      lab_end(&l);
    }
    assert_true(right >= 38);
  }
}

static void test_lifetimes(void **state) {
  (void)state;
  static const uint16_t idle[] = {8, 30, 65, 120, 400};
  for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
    aq_sim_nat_params np;
    lab l;
    sim_ok(aq_sim_nat_type(&np, "port_restr"));
    np.idle = idle[i] * AQ_S;
    np.absolute = i == 2 ? 75 * AQ_S : 0;
    lab_init(&l, &np, 4, i + 1);
    aq_nat_report r = run(&l, 1500 * AQ_S);
    uint16_t lives = i == 4 ? 180 : idle[i];
    assert_true(r.lifetime_known);
    assert_true(r.profile.idle <= lives);
    assert_in_range(r.profile.idle, lives - lives / 6 - 3, lives);
    if (i == 4) {
      assert_int_equal(r.idle_gone, 0);
    } else {
      assert_in_range(r.idle_gone, lives, lives + lives / 6 + 3);
    }
    assert_true((r.profile.absolute != 0) == (i == 2));
    if (i == 2) {
      assert_in_range(r.profile.absolute, 75, 75 + 26);
    }
    aq_duration half = r.profile.idle / 2 * AQ_S;
    assert_int_equal(r.keep_alive, half < 5 * AQ_S    ? 5 * AQ_S
                                   : half > 25 * AQ_S ? 25 * AQ_S
                                                      : half);
    lab_end(&l);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_types),
      cmocka_unit_test(test_loss),
      cmocka_unit_test(test_lifetimes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
