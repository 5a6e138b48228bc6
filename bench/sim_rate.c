/* How many connection attempts the simulator makes in a second of one
 * processor.
 *
 * An attempt is a whole one: a new simulation with new NATs, three new
 * endpoints (two peers and their coordinator), both registrations, the session
 * from its start to the direct connection at both ends, and the end of it all.
 * With "warm" the coordinator, the peers and their registrations stay, and an
 * attempt is the session alone, through NATs that have forgotten the last one.
 *
 * usage: sim_rate [TYPE [TYPE [ATTEMPTS [cold|warm]]]]
 *
 * SPDX-License-Identifier: MIT */
#include "antquic_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { A, B, C, NODES };

typedef struct world {
  aq_sim *s;
  aq_sim_node nat[2], host[NODES];
  aq_sim_endpoint *e[NODES];
  aq_peer_id id[NODES];
  unsigned events[NODES][AQ_EVENT__COUNT];
} world;

static void die(const char *what, int rc) {
  fprintf(stderr, "%s: %s\n", what, aq_error_name(rc));
  exit(1);
}

static void must(const char *what, int rc) {
  if (rc != 0) {
    die(what, rc);
  }
}

static void add_peer(world *w, int i, const char *type) {
  aq_sim_link link = {.delay = 10 * AQ_MS};
  aq_sim_nat_params p;
  must(type, aq_sim_nat_type(&p, type));
  must("nat", aq_sim_add_nat(w->s, AQ_SIM_INTERNET, &p, &w->nat[i]));
  must("link", aq_sim_set_link(w->s, w->nat[i], AQ_SIM_BOTH, &link));
  must("host", aq_sim_add_host(w->s, w->nat[i], NULL, &w->host[i]));
}

static void add_endpoint(world *w, int i, const aq_addr *coordinator) {
  aq_endpoint_params p;
  aq_runtime_params rp = {0};
  uint8_t key[32];
  char why[200];
  memset(key, 'a' + i, sizeof(key));
  must("id", aq_sim_peer_id(&w->id[i], key));
  aq_endpoint_params_init(&p);
  p.accept = 1;
  if (i == C) {
    p.role = AQ_ROLE_BOOTSTRAP;
    p.can_coordinate = 1;
    p.enable_relay_fallback = 0;
    rp.bind_count = 1;
    rp.bind[0].family = 4;
    rp.bind[0].port = 9000;
  } else {
    p.bootstrap_count = 1;
    p.bootstrap[0].addr = *coordinator;
    p.bootstrap[0].pinned = 1;
    p.bootstrap[0].peer = w->id[C];
  }
  int rc = aq_sim_endpoint_new(&w->e[i], w->s, w->host[i], key, &rp, &p, why,
                               sizeof(why));
  if (rc != 0) {
    die(why, rc);
  }
}

static void drain(world *w) {
  aq_event ev;
  for (int i = 0; i < NODES; i++) {
    while (aq_endpoint_poll_event(aq_sim_endpoint_core(w->e[i]), &ev)) {
      w->events[i][ev.kind]++;
    }
  }
}

/* Until |n| endpoints from A on have had |kind|. */
static void run(world *w, aq_event_kind kind, int n) {
  aq_tstamp until = aq_sim_now(w->s) + 20 * AQ_S;
  for (;;) {
    int done = 1;
    drain(w);
    for (int i = 0; i < n; i++) {
      done &= w->events[i][kind] > 0;
    }
    if (done) {
      return;
    }
    int rc = aq_sim_step(w->s, until);
    if (rc <= 0) {
      die("no end", rc < 0 ? rc : AQ_ERR_TIMEOUT);
    }
  }
}

static void begin(world *w, uint64_t seed, const char *a, const char *b) {
  aq_addr c;
  memset(w, 0, sizeof(*w));
  must("sim", aq_sim_new(&w->s, seed, NULL));
  add_peer(w, A, a);
  add_peer(w, B, b);
  must("host", aq_sim_add_host(w->s, AQ_SIM_INTERNET, NULL, &w->host[C]));
  aq_sim_get_addrs(w->s, w->host[C], &c, 1);
  c.port = 9000;
  add_endpoint(w, C, NULL);
  add_endpoint(w, A, &c);
  add_endpoint(w, B, &c);
  run(w, AQ_EVENT_ADDRESS_OBSERVED, 2);
}

static void attempt(world *w) {
  aq_id session = 0, conn = 0;
  memset(w->events, 0, sizeof(w->events));
  must("start",
       aq_session_start(aq_sim_endpoint_core(w->e[A]), aq_sim_now(w->s),
                        &w->id[B], NULL, 0, 10 * AQ_S, &session, &conn));
  run(w, AQ_EVENT_TRAVERSAL_SUCCEEDED, 2);
}

static void end(world *w) {
  for (int i = 0; i < NODES; i++) {
    aq_sim_endpoint_del(w->e[i]);
  }
  aq_sim_del(w->s);
}

/* The connection is closed; NATs forget but for the ways to the coordinator,
 * which the peers keep up. */
static void forget(world *w) {
  aq_endpoint *ep = aq_sim_endpoint_core(w->e[A]);
  aq_id conn = aq_endpoint_find_conn(ep, &w->id[B]);
  must("close", aq_conn_close(ep, aq_sim_now(w->s), conn, 0, "", 0));
  aq_tstamp until = aq_sim_now(w->s) + 40 * AQ_S;
  while (aq_sim_now(w->s) < until && aq_sim_step(w->s, until) >= 0) {
    drain(w);
  }
}

int main(int argc, char **argv) {
  const char *a = argc > 1 ? argv[1] : "port_restr";
  const char *b = argc > 2 ? argv[2] : "port_restr";
  int n = argc > 3 ? atoi(argv[3]) : 2000;
  int warm = argc > 4 && strcmp(argv[4], "warm") == 0;
  world w;
  clock_t start = clock();
  for (int i = 0; i < n; i++) {
    if (!warm || i == 0) {
      begin(&w, (uint64_t)i, a, b);
    }
    attempt(&w);
    if (!warm || i == n - 1) {
      end(&w);
    } else {
      forget(&w);
    }
  }
  double s = (double)(clock() - start) / CLOCKS_PER_SEC;
  printf("%s %s %s: %d attempts in %.2f s, %.0f a second\n", a, b,
         warm ? "warm" : "cold", n, s, n / s);
  return 0;
}
