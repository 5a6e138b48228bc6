/* A server behind a NAT, with as many peers as a game has: its address changes,
 * and all of its connections are to be moved.
 *
 * SPDX-License-Identifier: MIT */
#include "base/addr.h"
#include "support/sim_net.h"

#define PEERS 64
#define SERVER 0
#define COORDINATOR (PEERS + 1)
#define ALL (PEERS + 2)

static aq_sim *S;
static aq_sim_node nat[ALL], host[ALL];
static aq_sim_endpoint *E[ALL];
static aq_peer_id id[ALL];

static aq_endpoint *core(int i) {
  return aq_sim_endpoint_core(E[i]);
}

static void run(aq_duration d) {
  aq_tstamp until = aq_sim_now(S) + d;
  aq_event ev;
  do {
    for (int i = 0; i < ALL; i++) {
      while (E[i] != NULL && aq_endpoint_poll_event(core(i), &ev)) {
      }
    }
  } while (aq_sim_step(S, until) == 1);
}

static void add(int i, int peers, aq_addr *coordinator) {
  aq_sim_link link = {.delay = 12 * AQ_MS};
  aq_runtime_params rp = {.bind_count = i == COORDINATOR};
  aq_sim_nat_params np;
  aq_endpoint_params p;
  uint8_t key[32] = {(uint8_t)(i + 1)};
  char why[100];
  sim_ok(aq_sim_peer_id(&id[i], key));
  aq_endpoint_params_init(&p);
  p.accept = 1;
  if (i == COORDINATOR) {
    sim_ok(aq_sim_add_host(S, AQ_SIM_INTERNET, NULL, &host[i]));
    aq_sim_get_addrs(S, host[i], coordinator, 1);
    coordinator->port = rp.bind[0].port = 9000;
    rp.bind[0].family = 4;
    p.role = AQ_ROLE_BOOTSTRAP;
    p.can_coordinate = 1;
    p.enable_relay_fallback = 0;
  } else if (i <= peers) {
    sim_ok(aq_sim_nat_type(&np, i == SERVER ? "port_restr" : "linux"));
    sim_ok(aq_sim_add_nat(S, AQ_SIM_INTERNET, &np, &nat[i]));
    sim_ok(aq_sim_set_link(S, nat[i], AQ_SIM_BOTH, &link));
    sim_ok(aq_sim_add_host(S, nat[i], NULL, &host[i]));
    p.bootstrap_count = 1;
    p.bootstrap[0].addr = *coordinator;
    p.bootstrap[0].pinned = 1;
    p.bootstrap[0].peer = id[COORDINATOR];
  } else {
    return;
  }
  sim_ok(
      aq_sim_endpoint_new(&E[i], S, host[i], key, &rp, &p, why, sizeof(why)));
}

static void connect_all(int peers) {
  for (int i = 1; i <= peers; i++) {
    aq_id session, conn;
    sim_ok(aq_session_start(core(i), aq_sim_now(S), &id[SERVER], NULL, 0,
                            10 * AQ_S, &session, &conn));
    run(300 * AQ_MS);
  }
  for (int i = 1; i <= peers; i++) {
    assert_true(aq_endpoint_find_conn(core(SERVER), &id[i]) != 0);
  }
}

/* A datagram each 20 ms from |from| to |to|; whether one came. */
static int talk(int from, int to) {
  uint8_t buf[200] = {1};
  size_t n;
  int came = 0;
  (void)aq_datagram_send(core(from), aq_sim_now(S),
                         aq_endpoint_find_conn(core(from), &id[to]), buf, 100);
  while (aq_datagram_receive(core(to),
                             aq_endpoint_find_conn(core(to), &id[from]), buf,
                             sizeof(buf), &n) == 0) {
    came = 1;
  }
  return came;
}

static void all_are_moved(void **state) {
  int peers = getenv("ANTQUIC_VALGRIND") != NULL ? 8 : PEERS;
  aq_addr to = util_addr("25.9.9.9:0"), coordinator;
  aq_tstamp last[ALL][2];
  aq_statistics st;
  (void)state;
  memset(E, 0, sizeof(E));
  sim_ok(aq_sim_new(&S, 1, NULL));
  add(COORDINATOR, peers, &coordinator);
  for (int i = SERVER; i <= peers; i++) {
    add(i, peers, &coordinator);
  }
  run(5 * AQ_S);
  connect_all(peers);
  aq_tstamp begin = aq_sim_now(S);
  for (int i = 1; i <= peers; i++) {
    last[i][0] = last[i][1] = begin;
  }
  for (int k = 0; k < 300; k++) {
    if (k == 50) {
      sim_ok(aq_sim_renumber(S, nat[SERVER], &to));
    }
    for (int i = 1; i <= peers; i++) {
      for (int back = 0; back < 2; back++) {
        if (talk(back ? i : SERVER, back ? SERVER : i)) {
          last[i][back] = aq_sim_now(S);
        }
        assert_true(aq_sim_now(S) - last[i][back] < 3 * AQ_S);
      }
    }
    run(20 * AQ_MS);
  }
  aq_endpoint_get_statistics(core(SERVER), &st);
  assert_int_equal(st.repairs_completed, peers);
  assert_int_equal(st.limit_repairs_at_once, 0);
  for (int i = 0; i < ALL; i++) {
    aq_sim_endpoint_del(E[i]);
  }
  aq_sim_del(S);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_are_moved),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
