/* The simulator's NATs: each type of the NAT lab is classified from behind it,
 * as RFC 4787 says, and each parameter has its effect.
 *
 * SPDX-License-Identifier: MIT */
#include "base/addr.h"
#include "support/sim_net.h"

/* One NAT, two hosts behind it, two servers of two ports each. */
typedef struct lab {
  aq_sim *s;
  aq_sim_node nat, host[2], site[2];
  uint32_t server[4]; /* (A, p), (A, q), (B, p), (B, q) */
  aq_addr at[4];
} lab;

static void add_servers(lab *l, int family) {
  aq_sim_host_params hp;
  aq_sim_host_params_init(&hp);
  hp.v4 = family == 4;
  hp.v6 = family == 6;
  for (int i = 0; i < 2; i++) {
    sim_ok(aq_sim_add_host(l->s, AQ_SIM_INTERNET, &hp, &l->site[i]));
  }
  for (int i = 0; i < 4; i++) {
    char bind[32];
    snprintf(bind, sizeof(bind), family == 4 ? "0.0.0.0:%d" : "[::]:%d",
             3478 + i % 2);
    l->server[i] = sim_udp(l->s, l->site[i / 2], bind);
    l->at[i] = sim_addr(l->s, l->site[i / 2], l->server[i]);
  }
}

static void lab_init(lab *l, const aq_sim_nat_params *p, int family) {
  aq_sim_host_params hp;
  aq_sim_host_params_init(&hp);
  hp.v4 = family == 4;
  hp.v6 = family == 6;
  memset(l, 0, sizeof(*l));
  sim_ok(aq_sim_new(&l->s, 7, NULL));
  sim_ok(aq_sim_add_nat(l->s, AQ_SIM_INTERNET, p, &l->nat));
  for (int i = 0; i < 2; i++) {
    sim_ok(aq_sim_add_host(l->s, l->nat, &hp, &l->host[i]));
  }
  add_servers(l, family);
}

static aq_sim_nat_params type(const char *name) {
  aq_sim_nat_params p;
  sim_ok(aq_sim_nat_type(&p, name));
  return p;
}

static void lab_of(lab *l, const char *name) {
  aq_sim_nat_params p = type(name);
  lab_init(l, &p, strcmp(name, "fw_v6") == 0 ? 6 : 4);
}

static uint32_t open_any(lab *l, int host) {
  aq_addr v[1];
  aq_sim_get_addrs(l->s, l->host[host], v, 1);
  return sim_udp(l->s, l->host[host],
                 v[0].family == 4 ? "0.0.0.0:0" : "[::]:0");
}

static aq_addr ask(lab *l, uint32_t udp, int server) {
  return sim_seen(l->s, udp, &l->at[server], l->server[server]);
}

/* Does an answer from |server| come in to |outer|, behind which |udp| is? */
static int answers(lab *l, int server, const aq_addr *outer, uint32_t udp) {
  return sim_seen(l->s, l->server[server], outer, udp).family != 0;
}

/* ---- the classifier: spec/natlab/classify.lua in virtual time --------------
 */

static const char *mapping_of(lab *l) {
  uint32_t udp = open_any(l, 0);
  aq_addr own = sim_addr(l->s, l->host[0], udp);
  aq_addr seen[3];
  for (int i = 0; i < 3; i++) {
    seen[i] = ask(l, udp, i);
    if (seen[i].family == 0) {
      return "blocked";
    }
  }
  if (!aq_addr_same_ip(&seen[0], &seen[1]) ||
      !aq_addr_same_ip(&seen[1], &seen[2])) {
    return "arbitrary address";
  }
  if (aq_addr_equal(&seen[0], &seen[1])) {
    if (!aq_addr_equal(&seen[1], &seen[2])) {
      return "ADM";
    }
    return aq_addr_equal(&seen[0], &own) ? "none" : "EIM";
  }
  return "APDM";
}

/* From a socket of its own, which has talked to server 0 only. */
static int passes(lab *l, int server) {
  uint32_t udp = open_any(l, 0);
  aq_addr outer = ask(l, udp, 0);
  return answers(l, server, &outer, udp);
}

static const char *filtering_of(lab *l) {
  return passes(l, 3) ? "EIF" : passes(l, 1) ? "ADF" : "APDF";
}

static const char *ports_of(lab *l, int *step) {
  int preserved = 1, same = 1, last = 0;
  *step = 0;
  for (int i = 0; i < 6; i++) {
    uint32_t udp = open_any(l, 0);
    int port = ask(l, udp, 0).port;
    preserved &= port == sim_addr(l->s, l->host[0], udp).port;
    if (i == 1) {
      *step = port - last;
    } else if (i > 1) {
      same &= port - last == *step;
    }
    last = port;
  }
  return preserved ? "preserve" : same ? "sequential" : "random";
}

static int hairpins(lab *l) {
  uint32_t one = open_any(l, 0), two = open_any(l, 0);
  aq_addr outer = ask(l, one, 0);
  ask(l, two, 0);
  return sim_seen(l->s, two, &outer, one).family != 0;
}

/* What spec/natlab/types.lua says that its classifier must find. */
static const struct {
  const char *name, *mapping, *filtering, *ports;
  int hairpin;
} wanted[] = {
    {"none", "none", "EIF", "preserve", -1},
    {"fw_only", "none", "APDF", "preserve", -1},
    {"fw_v6", "none", "APDF", "preserve", -1},
    {"full_cone", "EIM", "EIF", "random", 0},
    {"full_cone_hp", "EIM", "EIF", "random", 1},
    {"addr_restr", "EIM", "ADF", "random", 0},
    {"port_restr", "EIM", "APDF", "random", 0},
    {"port_restr_hp", "EIM", "APDF", "random", 1},
    {"linux", "EIM", "APDF", "preserve", 0},
    {"linux_reject", "EIM", "APDF", "preserve", 0},
    {"linux_open", "EIM", "APDF", "preserve", 0},
    {"adm_apdf", "ADM", "APDF", "random", 0},
    {"adm_adf", "ADM", "ADF", "random", 0},
    {"sym_rand", "APDM", "APDF", "random", 0},
    {"sym_seq", "APDM", "APDF", "sequential", 0},
    {"sym_eif", "APDM", "EIF", "random", 0},
    {"sym_adf", "APDM", "ADF", "random", 0},
    {"pool_arb", "arbitrary address", "APDF", "preserve", 0},
};

static void every_type_is_what_the_lab_says(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
    lab l;
    int step = 0;
    print_message("%s\n", wanted[i].name);
    lab_of(&l, wanted[i].name);
    assert_string_equal(mapping_of(&l), wanted[i].mapping);
    assert_string_equal(filtering_of(&l), wanted[i].filtering);
    assert_string_equal(ports_of(&l, &step), wanted[i].ports);
    if (wanted[i].hairpin >= 0) {
      assert_int_equal(hairpins(&l), wanted[i].hairpin);
    }
    aq_sim_del(l.s);
  }
}

static void every_type_has_a_row(void **state) {
  const char *name;
  (void)state;
  for (size_t i = 0; (name = aq_sim_nat_type_at(i)) != NULL; i++) {
    int found = strcmp(name, "udp_blocked") == 0;
    for (size_t k = 0; k < sizeof(wanted) / sizeof(wanted[0]); k++) {
      found |= strcmp(wanted[k].name, name) == 0;
    }
    assert_true(found);
  }
  aq_sim_nat_params p;
  assert_int_equal(aq_sim_nat_type(&p, "cone"), AQ_ERR_INVAL);
}

static void blocked_passes_nothing(void **state) {
  lab l;
  aq_sim_counters c;
  (void)state;
  lab_of(&l, "udp_blocked");
  assert_string_equal(mapping_of(&l), "blocked");
  sim_ok(aq_sim_get_counters(l.s, l.nat, &c));
  assert_int_equal(c.fate[AQ_SIM_FATE_BLOCKED], 1);
  sim_ok(aq_sim_block(l.s, l.nat, 0));
  assert_string_equal(mapping_of(&l), "EIM");
  sim_ok(aq_sim_block(l.s, l.nat, 1));
  assert_string_equal(mapping_of(&l), "blocked");
  aq_sim_del(l.s);
}

/* ---- ports ------------------------------------------------------------------
 */

static void steps_go_up_and_down(void **state) {
  static const int steps[] = {1, 2, 7, -1, -3};
  (void)state;
  for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
    aq_sim_nat_params p = type("sym_seq");
    lab l;
    int step = 0;
    p.step = steps[i];
    lab_init(&l, &p, 4);
    assert_string_equal(ports_of(&l, &step), "sequential");
    assert_int_equal(step, steps[i]);
    aq_sim_del(l.s);
  }
}

static void others_take_ports_meanwhile(void **state) {
  aq_sim_nat_params p = type("sym_seq");
  lab l;
  (void)state;
  p.low = 10000;
  p.high = 59999;
  lab_init(&l, &p, 4);
  uint32_t udp = open_any(&l, 0);
  int a = ask(&l, udp, 0).port;
  sim_ok(aq_sim_burn(l.s, l.nat, 5));
  int b = ask(&l, udp, 1).port;
  assert_int_equal((b - a + 50000) % 50000, 6);
  aq_sim_del(l.s);
  /* 100 a second for 10 s: Poisson, so within 6 deviations of 1000. */
  p.background = 100;
  lab_init(&l, &p, 4);
  udp = open_any(&l, 0);
  a = ask(&l, udp, 0).port;
  aq_sim_step(l.s, aq_sim_now(l.s) + 10 * AQ_S);
  b = ask(&l, udp, 1).port;
  int n = (b - a + 50000) % 50000;
  assert_in_range(n, 1000 - 190, 1000 + 190);
  aq_sim_del(l.s);
}

static void ports_run_out(void **state) {
  aq_sim_nat_params p = type("sym_seq");
  lab l;
  aq_sim_counters c;
  (void)state;
  p.low = 5000;
  p.high = 5002;
  lab_init(&l, &p, 4);
  for (int i = 0; i < 3; i++) {
    int port = ask(&l, open_any(&l, 0), 0).port;
    assert_in_range(port, 5000, 5002);
  }
  assert_int_equal(ask(&l, open_any(&l, 0), 0).family, 0);
  sim_ok(aq_sim_get_counters(l.s, l.nat, &c));
  assert_int_equal(c.fate[AQ_SIM_FATE_NAT_FULL], 1);
  assert_int_equal(c.mappings, 3);
  aq_sim_step(l.s, aq_sim_now(l.s) + 31 * AQ_S);
  assert_int_equal(ask(&l, open_any(&l, 0), 0).family, 4);
  aq_sim_del(l.s);
}

static void flows_are_limited(void **state) {
  aq_sim_nat_params p = type("port_restr");
  lab l;
  aq_sim_counters c;
  (void)state;
  p.max_flows = 2;
  lab_init(&l, &p, 4);
  uint32_t udp = open_any(&l, 0);
  assert_int_equal(ask(&l, udp, 0).family, 4);
  assert_int_equal(ask(&l, udp, 1).family, 4);
  assert_int_equal(ask(&l, udp, 2).family, 0);
  assert_int_equal(ask(&l, udp, 1).family, 4); /* those that are there work */
  sim_ok(aq_sim_get_counters(l.s, l.nat, &c));
  assert_int_equal(c.fate[AQ_SIM_FATE_NAT_FULL], 1);
  assert_int_equal(c.flows, 2);
  aq_sim_del(l.s);
}

static void each_inner_address_has_its_block(void **state) {
  aq_sim_nat_params p = type("sym_rand");
  lab l;
  (void)state;
  p.ports = AQ_SIM_PORTS_BLOCK;
  p.block_base = 2048;
  p.block_size = 64;
  p.step = 0;
  lab_init(&l, &p, 4);
  for (int host = 0; host < 2; host++) {
    int low = 2048 + 64 * host;
    for (int i = 0; i < 64; i++) {
      int port = ask(&l, open_any(&l, host), 0).port;
      assert_in_range(port, low, low + 63);
    }
    assert_int_equal(ask(&l, open_any(&l, host), 0).family, 0); /* used up */
  }
  aq_sim_del(l.s);
  /* In order, and a second block when the first is full. */
  p.step = 1;
  p.block_size = 2;
  p.max_blocks = 2;
  lab_init(&l, &p, 4);
  static const int ports[] = {2048, 2049, 2050, 2051};
  for (int i = 0; i < 4; i++) {
    assert_int_equal(ask(&l, open_any(&l, 0), 0).port, ports[i]);
  }
  assert_int_equal(ask(&l, open_any(&l, 0), 0).family, 0);
  assert_int_equal(ask(&l, open_any(&l, 1), 0).port, 2052);
  aq_sim_del(l.s);
}

static void a_pool_pairs_addresses(void **state) {
  aq_sim_nat_params p = type("port_restr");
  lab l;
  aq_addr v[2];
  (void)state;
  p.naddr = 2;
  lab_init(&l, &p, 4);
  assert_int_equal(aq_sim_get_addrs(l.s, l.nat, v, 2), 2);
  for (int host = 0; host < 2; host++) {
    for (int i = 0; i < 3; i++) {
      aq_addr seen = ask(&l, open_any(&l, host), i);
      assert_true(aq_addr_same_ip(&seen, &v[host]));
    }
  }
  aq_sim_del(l.s);
}

/* Two hosts behind Linux that use the same port. */
static void linux_shares_a_port(void **state) {
  lab l;
  (void)state;
  lab_of(&l, "linux");
  uint32_t one = sim_udp(l.s, l.host[0], "0.0.0.0:5000");
  uint32_t two = sim_udp(l.s, l.host[1], "0.0.0.0:5000");
  aq_addr a = ask(&l, one, 0);
  aq_addr b = ask(&l, two, 2); /* elsewhere: the same port */
  assert_int_equal(a.port, 5000);
  assert_int_equal(b.port, 5000);
  aq_addr c = ask(&l, two, 0); /* this tuple is taken */
  assert_int_not_equal(c.port, 5000);
  assert_true(answers(&l, 0, &a, one));
  assert_true(answers(&l, 0, &c, two));
  assert_true(answers(&l, 2, &b, two));
  /* The newest mapping of a source is what it goes on with. */
  aq_addr d = ask(&l, two, 1);
  assert_int_equal(d.port, c.port);
  aq_sim_del(l.s);
}

/* Research 2.3: the router believes that an early probe is meant itself, so the
 * tuple is taken when the inside sends there. */
static void open_linux_is_poisoned(void **state) {
  static const char *const names[] = {"linux", "linux_open"};
  (void)state;
  for (int open = 0; open < 2; open++) {
    lab l;
    lab_of(&l, names[open]);
    uint32_t udp = sim_udp(l.s, l.host[0], "0.0.0.0:5000");
    aq_addr outer = ask(&l, udp, 0);
    assert_int_equal(outer.port, 5000);
    assert_false(answers(&l, 2, &outer, udp)); /* too early */
    aq_addr late = ask(&l, udp, 2);
    assert_int_equal(late.port == 5000, !open);
    assert_int_equal(ask(&l, udp, 0).port, 5000); /* that flow goes on */
    assert_true(answers(&l, 2, &late, udp));
    if (open) {
      /* ... and new places see the new port (research 3.2). */
      assert_int_equal(ask(&l, udp, 1).port, late.port);
      aq_sim_step(l.s, aq_sim_now(l.s) + 31 * AQ_S);
      assert_int_equal(ask(&l, udp, 2).port, 5000); /* forgotten */
    }
    aq_sim_del(l.s);
  }
}

/* An opener opens the own NAT and dies before the other. */
static void openers_die_on_the_way(void **state) {
  lab l;
  aq_sim_counters c;
  (void)state;
  lab_of(&l, "port_restr");
  uint32_t udp = open_any(&l, 0);
  aq_addr outer = ask(&l, udp, 0);
  assert_false(answers(&l, 2, &outer, udp));
  sim_ok(aq_sim_udp_send(l.s, udp, &l.at[2], 2, (const uint8_t *)"x", 1));
  assert_int_equal(aq_sim_step(l.s, aq_sim_now(l.s) + AQ_S), 0);
  sim_ok(aq_sim_get_counters(l.s, AQ_SIM_INTERNET, &c));
  assert_int_equal(c.fate[AQ_SIM_FATE_TTL], 1);
  assert_true(answers(&l, 2, &outer, udp));
  /* With a TTL of one it dies in the NAT and opens nothing. */
  sim_ok(aq_sim_udp_send(l.s, udp, &l.at[3], 1, (const uint8_t *)"x", 1));
  aq_sim_step(l.s, aq_sim_now(l.s) + AQ_S);
  assert_false(answers(&l, 3, &outer, udp));
  aq_sim_del(l.s);
}

/* ---- time
 * --------------------------------------------------------------------- */

static void mappings_live_as_long_as_they_are_used(void **state) {
  aq_sim_nat_params p = type("port_restr");
  lab l;
  aq_sim_counters c;
  (void)state;
  p.idle = 10 * AQ_S;
  lab_init(&l, &p, 4);
  uint32_t udp = open_any(&l, 0);
  aq_addr outer = ask(&l, udp, 0);
  for (int i = 0; i < 4; i++) { /* from inside */
    aq_sim_step(l.s, aq_sim_now(l.s) + 9 * AQ_S);
    aq_addr again = ask(&l, udp, 0);
    assert_true(aq_addr_equal(&again, &outer));
  }
  for (int i = 0; i < 4; i++) { /* from outside */
    aq_sim_step(l.s, aq_sim_now(l.s) + 9 * AQ_S);
    assert_true(answers(&l, 0, &outer, udp));
  }
  aq_sim_step(l.s, aq_sim_now(l.s) + 10 * AQ_S);
  assert_false(answers(&l, 0, &outer, udp));
  sim_ok(aq_sim_get_counters(l.s, l.nat, &c));
  assert_int_equal(c.mappings, 0);
  assert_int_equal(c.mappings_created, 1);
  assert_int_equal(c.mappings_expired, 1);
  aq_sim_del(l.s);
}

static void inbound_need_not_refresh(void **state) {
  aq_sim_nat_params p = type("port_restr");
  lab l;
  (void)state;
  p.idle = 10 * AQ_S;
  p.inbound_refresh = 0;
  lab_init(&l, &p, 4);
  uint32_t udp = open_any(&l, 0);
  aq_addr outer = ask(&l, udp, 0);
  aq_sim_step(l.s, aq_sim_now(l.s) + 9 * AQ_S);
  assert_true(answers(&l, 0, &outer, udp));
  aq_sim_step(l.s, aq_sim_now(l.s) + 2 * AQ_S);
  assert_false(answers(&l, 0, &outer, udp));
  aq_sim_del(l.s);
}

static void a_stranger_need_not_refresh(void **state) {
  aq_sim_nat_params p = type("full_cone");
  lab l;
  (void)state;
  p.idle = 10 * AQ_S;
  p.inbound_refresh = 0;
  lab_init(&l, &p, 4);
  uint32_t udp = open_any(&l, 0);
  aq_addr outer = ask(&l, udp, 0);
  aq_sim_step(l.s, aq_sim_now(l.s) + 9 * AQ_S);
  assert_true(answers(&l, 1, &outer, udp));
  aq_sim_step(l.s, aq_sim_now(l.s) + 2 * AQ_S);
  assert_false(answers(&l, 1, &outer, udp));
  aq_sim_del(l.s);
}

static void absolute_lifetimes_end_what_is_used(void **state) {
  aq_sim_nat_params p = type("port_restr");
  lab l;
  (void)state;
  p.absolute = 25 * AQ_S;
  lab_init(&l, &p, 4);
  uint32_t udp = open_any(&l, 0);
  aq_addr outer = ask(&l, udp, 0);
  for (int i = 0; i < 2; i++) {
    aq_sim_step(l.s, aq_sim_now(l.s) + 10 * AQ_S);
    aq_addr again = ask(&l, udp, 0);
    assert_true(aq_addr_equal(&again, &outer));
  }
  aq_sim_step(l.s, aq_sim_now(l.s) + 10 * AQ_S);
  aq_addr again = ask(&l, udp, 0);
  assert_false(aq_addr_equal(&again, &outer));
  aq_sim_del(l.s);
}

/* ---- the rest
 * ------------------------------------------------------------------ */

/* APDM and EIF: netfilter answers by the port that was asked, a strict box by
 * another. */
static void answers_leave_by_the_same_port(void **state) {
  (void)state;
  for (int session = 0; session < 2; session++) {
    aq_sim_nat_params p = type("sym_eif");
    lab l;
    p.inbound_session = (uint8_t)session;
    lab_init(&l, &p, 4);
    uint32_t udp = open_any(&l, 0);
    aq_addr outer = ask(&l, udp, 0);
    assert_true(answers(&l, 2, &outer, udp));
    aq_addr back = ask(&l, udp, 2);
    assert_int_equal(aq_addr_equal(&back, &outer), session);
    aq_sim_del(l.s);
  }
}

/* It has sent there itself before: then it sees another port of the stranger,
 * and what it answers arrives all the same, from the port that was asked. */
static void two_ways_to_one_place_are_told_apart(void **state) {
  lab l;
  (void)state;
  lab_of(&l, "sym_eif");
  uint32_t udp = open_any(&l, 0);
  aq_addr outer = ask(&l, udp, 0);
  aq_addr other = ask(&l, udp, 2);
  assert_false(aq_addr_equal(&outer, &other));
  aq_addr shown = sim_seen(l.s, l.server[2], &outer, udp);
  assert_true(aq_addr_same_ip(&shown, &l.at[2]));
  assert_int_not_equal(shown.port, l.at[2].port);
  aq_addr back = sim_seen(l.s, udp, &shown, l.server[2]);
  assert_true(aq_addr_equal(&back, &outer));
  assert_true(answers(&l, 2, &other, udp));
  aq_sim_del(l.s);
}

static void hairpins_show_what_they_are_told_to(void **state) {
  (void)state;
  for (int internal = 0; internal < 2; internal++) {
    aq_sim_nat_params p = type("full_cone_hp");
    lab l;
    p.hairpin = internal ? AQ_SIM_HAIRPIN_INTERNAL : AQ_SIM_HAIRPIN_EXTERNAL;
    lab_init(&l, &p, 4);
    uint32_t one = open_any(&l, 0), two = open_any(&l, 1);
    aq_addr outer = ask(&l, one, 0), mine = ask(&l, two, 0);
    aq_addr inner = sim_addr(l.s, l.host[1], two);
    aq_addr seen = sim_seen(l.s, two, &outer, one);
    assert_true(aq_addr_equal(&seen, internal ? &inner : &mine));
    aq_sim_del(l.s);
  }
}

static void the_lan_needs_no_nat(void **state) {
  lab l;
  (void)state;
  lab_of(&l, "port_restr");
  uint32_t one = open_any(&l, 0), two = open_any(&l, 1);
  aq_addr a = sim_addr(l.s, l.host[0], one), b = sim_addr(l.s, l.host[1], two);
  aq_addr seen = sim_seen(l.s, one, &b, two);
  assert_true(aq_addr_equal(&seen, &a));
  aq_sim_del(l.s);
}

/* Home NATs behind a carrier's. */
static void nats_nest(void **state) {
  static const struct {
    const char *carrier, *mapping;
  } rows[] = {{"full_cone", "EIM"}, {"sym_rand", "APDM"}};
  (void)state;
  for (int i = 0; i < 2; i++) {
    aq_sim_nat_params home = type("port_restr"), p = type(rows[i].carrier);
    aq_sim_node nat;
    lab l;
    p.network = util_addr("100.64.0.0:0");
    lab_init(&l, &p, 4);
    sim_ok(aq_sim_add_nat(l.s, l.nat, &home, &nat));
    sim_ok(aq_sim_add_host(l.s, nat, NULL, &l.host[0]));
    aq_addr v[1];
    aq_sim_get_addrs(l.s, nat, v, 1);
    assert_int_equal(v[0].ip[0], 100);
    aq_sim_get_addrs(l.s, l.host[0], v, 1);
    assert_int_equal(v[0].ip[0], 192);
    assert_string_equal(mapping_of(&l), rows[i].mapping);
    assert_string_equal(filtering_of(&l), "APDF");
    aq_sim_del(l.s);
  }
}

static void ipv6_is_filtered_and_not_translated(void **state) {
  static const struct {
    aq_sim_v6 v6;
    const char *filtering;
  } rows[] = {{AQ_SIM_V6_OPEN, "EIF"}, {AQ_SIM_V6_FIREWALL, "APDF"}};
  (void)state;
  for (int i = 0; i < 2; i++) {
    aq_sim_nat_params p = type("sym_rand");
    lab l;
    p.v6 = rows[i].v6;
    lab_init(&l, &p, 6);
    assert_string_equal(mapping_of(&l), "none");
    assert_string_equal(filtering_of(&l), rows[i].filtering);
    aq_sim_del(l.s);
  }
  /* Behind a NAT without IPv6 there is none. */
  aq_sim_nat_params p = type("linux");
  aq_sim_host_params hp;
  aq_sim_node nat, host;
  aq_sim *s;
  sim_ok(aq_sim_new(&s, 1, NULL));
  sim_ok(aq_sim_add_nat(s, AQ_SIM_INTERNET, &p, &nat));
  aq_sim_host_params_init(&hp);
  hp.v6 = 1;
  assert_int_equal(aq_sim_add_host(s, nat, &hp, &host), AQ_ERR_ADDRESS);
  p.v6 = AQ_SIM_V6_OPEN;
  assert_int_equal(aq_sim_add_nat(s, nat, &p, &nat), AQ_ERR_ADDRESS);
  aq_sim_del(s);
}

/* ---- faults
 * -------------------------------------------------------------------- */

static void rebinding_changes_ports(void **state) {
  static const char *const names[] = {"port_restr", "linux", "sym_seq"};
  (void)state;
  for (int i = 0; i < 3; i++) {
    lab l;
    lab_of(&l, names[i]);
    uint32_t udp = open_any(&l, 0);
    aq_addr before = ask(&l, udp, 0);
    sim_ok(aq_sim_rebind(l.s, l.nat, 1));
    assert_false(answers(&l, 0, &before, udp));
    aq_addr after = ask(&l, udp, 0);
    assert_true(aq_addr_same_ip(&after, &before));
    assert_int_not_equal(after.port, before.port);
    assert_true(answers(&l, 0, &after, udp));
    aq_sim_del(l.s);
  }
  lab l;
  lab_of(&l, "linux");
  uint32_t udp = open_any(&l, 0);
  aq_addr before = ask(&l, udp, 0);
  sim_ok(aq_sim_rebind(l.s, l.nat,
                       0)); /* it forgets, and chooses the same again */
  assert_false(answers(&l, 0, &before, udp));
  aq_addr after = ask(&l, udp, 0);
  assert_true(aq_addr_equal(&after, &before));
  aq_sim_del(l.s);
}

static void renumbering_changes_the_address(void **state) {
  lab l;
  aq_addr to = util_addr("5.6.7.8:0"), v[1];
  (void)state;
  lab_of(&l, "linux");
  uint32_t udp = open_any(&l, 0);
  aq_addr before = ask(&l, udp, 0);
  sim_ok(aq_sim_renumber(l.s, l.nat, &to));
  assert_false(answers(&l, 0, &before, udp));
  aq_addr after = ask(&l, udp, 0);
  assert_true(aq_addr_same_ip(&after, &to));
  assert_true(answers(&l, 0, &after, udp));
  assert_int_equal(aq_sim_renumber(l.s, l.nat, &l.at[0]), AQ_ERR_ADDRESS);
  aq_sim_get_addrs(l.s, l.nat, v, 1);
  assert_true(aq_addr_same_ip(&v[0], &to));
  assert_int_equal(aq_sim_renumber(l.s, l.host[0], &to), AQ_ERR_INVAL);
  aq_sim_del(l.s);
}

static void bad_parameters_are_refused(void **state) {
  aq_sim *s;
  aq_sim_node n, host;
  (void)state;
  sim_ok(aq_sim_new(&s, 1, NULL));
  sim_ok(aq_sim_add_host(s, AQ_SIM_INTERNET, NULL, &host));
  aq_sim_nat_params good = type("linux"), p = good;
  assert_int_equal(aq_sim_add_nat(s, 77, &p, &n), AQ_ERR_INVAL);
  assert_int_equal(aq_sim_add_nat(s, host, &p, &n), AQ_ERR_INVAL);
  p.low = 10;
  p.high = 9;
  assert_int_equal(aq_sim_add_nat(s, 0, &p, &n), AQ_ERR_INVAL);
  p = good;
  p.ports = AQ_SIM_PORTS_SEQUENTIAL;
  p.step = 0;
  assert_int_equal(aq_sim_add_nat(s, 0, &p, &n), AQ_ERR_INVAL);
  p = good;
  p.idle = 0;
  assert_int_equal(aq_sim_add_nat(s, 0, &p, &n), AQ_ERR_INVAL);
  p = good;
  p.naddr = 1;
  aq_sim_get_addrs(s, host, p.addr, 1);
  assert_int_equal(aq_sim_add_nat(s, 0, &p, &n), AQ_ERR_ADDRESS);
  assert_int_equal(aq_sim_rebind(s, host, 1), AQ_ERR_INVAL);
  assert_int_equal(aq_sim_block(s, 99, 1), AQ_ERR_INVAL);
  assert_int_equal(aq_sim_kill(s, AQ_SIM_INTERNET, 1), AQ_ERR_INVAL);
  aq_sim_del(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_type_is_what_the_lab_says),
      cmocka_unit_test(every_type_has_a_row),
      cmocka_unit_test(blocked_passes_nothing),
      cmocka_unit_test(steps_go_up_and_down),
      cmocka_unit_test(others_take_ports_meanwhile),
      cmocka_unit_test(ports_run_out),
      cmocka_unit_test(flows_are_limited),
      cmocka_unit_test(each_inner_address_has_its_block),
      cmocka_unit_test(a_pool_pairs_addresses),
      cmocka_unit_test(linux_shares_a_port),
      cmocka_unit_test(open_linux_is_poisoned),
      cmocka_unit_test(openers_die_on_the_way),
      cmocka_unit_test(mappings_live_as_long_as_they_are_used),
      cmocka_unit_test(inbound_need_not_refresh),
      cmocka_unit_test(a_stranger_need_not_refresh),
      cmocka_unit_test(absolute_lifetimes_end_what_is_used),
      cmocka_unit_test(answers_leave_by_the_same_port),
      cmocka_unit_test(two_ways_to_one_place_are_told_apart),
      cmocka_unit_test(hairpins_show_what_they_are_told_to),
      cmocka_unit_test(the_lan_needs_no_nat),
      cmocka_unit_test(nats_nest),
      cmocka_unit_test(ipv6_is_filtered_and_not_translated),
      cmocka_unit_test(rebinding_changes_ports),
      cmocka_unit_test(renumbering_changes_the_address),
      cmocka_unit_test(bad_parameters_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
