/* sim_net.c - see sim_net.h
 *
 * SPDX-License-Identifier: MIT */
#include "support/sim_net.h"

#include "base/addr.h"

void sim_ok(int rc) {
  if (rc != 0) {
    fail_msg("%s", aq_error_name(rc));
  }
}

/* ---- two peers and a coordinator ------------------------------------------
 */

static void add_peer(sim_pair *w, int i, const char *type, aq_duration delay) {
  aq_sim_link link = {.delay = delay};
  aq_sim_nat_params p;
  sim_ok(aq_sim_nat_type(&p, type));
  sim_ok(aq_sim_add_nat(w->s, AQ_SIM_INTERNET, &p, &w->nat[i]));
  sim_ok(aq_sim_set_link(w->s, w->nat[i], AQ_SIM_BOTH, &link));
  sim_ok(aq_sim_add_host(w->s, w->nat[i], NULL, &w->host[i]));
}

static void make_params(sim_pair *w, int i) {
  aq_endpoint_params *p = &w->params[i];
  uint8_t key[32];
  memset(key, 'a' + i, sizeof(key));
  sim_ok(aq_sim_peer_id(&w->id[i], key));
  aq_endpoint_params_init(p);
  p->accept = 1;
  if (i == SIM_C) {
    p->role = AQ_ROLE_BOOTSTRAP;
    p->can_coordinate = 1;
    p->enable_relay_fallback = 0;
    p->can_relay = 0; /* what connects is direct, unless a test says else */
    return;
  }
  p->bootstrap_count = 1;
  p->bootstrap[0].addr = w->coordinator;
  p->bootstrap[0].pinned = 1;
  p->bootstrap[0].peer = w->id[SIM_C];
}

void sim_pair_init(sim_pair *w, uint64_t seed, const char *a, const char *b,
                   aq_duration delay, const aq_env *env) {
  memset(w, 0, sizeof(*w));
  sim_ok(aq_sim_new(&w->s, seed, env));
  add_peer(w, SIM_A, a, delay);
  add_peer(w, SIM_B, b, delay);
  sim_ok(aq_sim_add_host(w->s, AQ_SIM_INTERNET, NULL, &w->host[SIM_C]));
  assert_int_equal(aq_sim_get_addrs(w->s, w->host[SIM_C], &w->coordinator, 1),
                   1);
  w->coordinator.port = 9000;
  for (int i = SIM_C; i >= SIM_A; i--) {
    make_params(w, i);
  }
}

void sim_pair_measures(sim_pair *w) {
  aq_sim_host_params hp;
  aq_sim_host_params_init(&hp);
  hp.naddr = 2;
  hp.addr[0] = util_addr("25.200.0.2:0");
  hp.addr[1] = util_addr("25.201.0.2:0");
  sim_ok(aq_sim_add_host(w->s, AQ_SIM_INTERNET, &hp, &w->host[SIM_C]));
  w->coordinator = hp.addr[0];
  w->coordinator.port = 9000;
  for (int i = SIM_A; i <= SIM_B; i++) {
    w->params[i].bootstrap[0].addr = w->coordinator;
  }
  w->measures = 1;
}

int sim_pair_add(sim_pair *w, int i) {
  aq_runtime_params rp = {.bind_count = i == SIM_C};
  uint8_t key[32];
  char why[200];
  memset(key, 'a' + i, sizeof(key));
  rp.bind[0].family = 4;
  rp.bind[0].port = 9000;
  if (i == SIM_C && w->measures) {
    rp.bind_count = 4;
    for (int k = 0; k < 4; k++) {
      rp.bind[k] = util_addr(k / 2 ? "25.201.0.2:0" : "25.200.0.2:0");
      rp.bind[k].port = (uint16_t)(9000 + k % 2);
    }
  }
  return aq_sim_endpoint_new(&w->e[i], w->s, w->host[i], key, &rp,
                             &w->params[i], why, sizeof(why));
}

/* Has the coordinator told it how it looks from there? */
static int is_known(sim_pair *w, int i) {
  aq_bootstrap_info b;
  return aq_endpoint_get_bootstrap(sim_core(w, i), &b, 1) >= 1 &&
         b.observed.family != 0;
}

void sim_pair_start(sim_pair *w) {
  sim_ok(sim_pair_add(w, SIM_C));
  sim_ok(sim_pair_add(w, SIM_A));
  sim_ok(sim_pair_add(w, SIM_B));
  for (int i = 0; i < 200 && !(is_known(w, SIM_A) && is_known(w, SIM_B)); i++) {
    sim_run(w, 100 * AQ_MS);
  }
  assert_true(is_known(w, SIM_A) && is_known(w, SIM_B));
  sim_run(w, 2 * AQ_S);
}

void sim_pair_end(sim_pair *w) {
  for (int i = 0; i < SIM_PEERS; i++) {
    aq_sim_endpoint_del(w->e[i]);
  }
  aq_sim_endpoint_del(w->other);
  aq_sim_del(w->s);
}

aq_endpoint *sim_core(sim_pair *w, int i) {
  return aq_sim_endpoint_core(w->e[i]);
}

static void drain(sim_pair *w) {
  aq_event ev;
  while (w->other != NULL &&
         aq_endpoint_poll_event(aq_sim_endpoint_core(w->other), &ev)) {
  }
  for (int i = 0; i < SIM_PEERS; i++) {
    while (w->e[i] != NULL && aq_endpoint_poll_event(sim_core(w, i), &ev)) {
      w->count[i][ev.kind]++;
      w->last[i][ev.kind] = ev;
    }
  }
}

int sim_wait(sim_pair *w, int i, aq_event_kind kind, unsigned n,
             aq_duration max) {
  aq_tstamp until = aq_sim_now(w->s) + max;
  for (;;) {
    drain(w);
    if (w->count[i][kind] >= n) {
      return 1;
    }
    if (aq_sim_step(w->s, until) != 1) {
      return 0;
    }
  }
}

void sim_run(sim_pair *w, aq_duration d) {
  aq_tstamp until = aq_sim_now(w->s) + d;
  do {
    drain(w);
  } while (aq_sim_step(w->s, until) == 1);
}

int sim_connect(sim_pair *w, aq_duration max) {
  aq_id session = 0, conn = 0;
  sim_ok(aq_session_start(sim_core(w, SIM_A), aq_sim_now(w->s), &w->id[SIM_B],
                          NULL, 0, max, &session, &conn));
  return sim_wait(w, SIM_A, AQ_EVENT_TRAVERSAL_SUCCEEDED, 1, max) &&
         sim_wait(w, SIM_B, AQ_EVENT_TRAVERSAL_SUCCEEDED, 1, max);
}

/* ---- bare sockets -----------------------------------------------------------
 */

uint32_t sim_udp(aq_sim *s, aq_sim_node host, const char *bind) {
  aq_addr a = util_addr(bind);
  uint32_t id = 0;
  sim_ok(aq_sim_udp_open(s, host, &a, &id));
  return id;
}

aq_addr sim_seen(aq_sim *s, uint32_t from, const aq_addr *dst, uint32_t to) {
  uint8_t buf[AQ_SIM_UDP_MAX];
  aq_addr who = {0};
  size_t len = 0;
  sim_ok(aq_sim_udp_send(s, from, dst, 0, (const uint8_t *)"hello", 5));
  assert_true(aq_sim_step(s, aq_sim_now(s) + 100 * AQ_MS) >= 0);
  if (aq_sim_udp_receive(s, to, &who, buf, &len) == 0) {
    assert_int_equal(len, 5);
    assert_memory_equal(buf, "hello", 5);
  }
  return who;
}

aq_addr sim_addr(const aq_sim *s, aq_sim_node host, uint32_t udp) {
  aq_addr v[AQ_SIM_MAX_ADDRS], bound;
  size_t n = aq_sim_get_addrs(s, host, v, AQ_SIM_MAX_ADDRS);
  sim_ok(aq_sim_udp_bound(s, udp, &bound));
  for (size_t i = 0; i < n; i++) {
    if (v[i].family == bound.family) {
      v[i].port = bound.port;
      return v[i];
    }
  }
  fail_msg("the host has no such address");
  return bound;
}
