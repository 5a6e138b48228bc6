/* sim_net.h - networks of the simulator for tests: two peers behind NATs and a
 * coordinator, or bare sockets that ask what they look like.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_SPEC_SIM_NET_H
#define AQ_SPEC_SIM_NET_H

#include "antquic_sim.h"
#include "support/util.h"

enum { SIM_A, SIM_B, SIM_C, SIM_PEERS };

typedef struct sim_pair {
  aq_sim *s;
  aq_sim_node nat[2], host[SIM_PEERS];
  aq_sim_endpoint *e[SIM_PEERS];
  aq_sim_endpoint *other; /* one more, whose events don't matter; or NULL */
  aq_peer_id id[SIM_PEERS];
  aq_addr coordinator;
  int measures; /* the coordinator has two addresses and ports, to measure */
  aq_endpoint_params params[SIM_PEERS]; /* before sim_pair_start */
  unsigned count[SIM_PEERS][AQ_EVENT__COUNT];
  aq_event last[SIM_PEERS][AQ_EVENT__COUNT];
} sim_pair;

/* Fails the test when |rc| is an error. */
void sim_ok(int rc);

/* |a| and |b| are types of NAT; each peer's NAT has a link of |delay|, the
 * coordinator's host none. Nothing runs yet. */
void sim_pair_init(sim_pair *w, uint64_t seed, const char *a, const char *b,
                   aq_duration delay, const aq_env *env);
/* Before sim_pair_start: the peers can measure their NATs. */
void sim_pair_measures(sim_pair *w);
/* Makes the three endpoints; until both peers are registered and know their
 * outer addresses. */
void sim_pair_start(sim_pair *w);
int sim_pair_add(sim_pair *w, int i); /* one endpoint; an error of the core */
void sim_pair_end(sim_pair *w);
aq_endpoint *sim_core(sim_pair *w, int i);
/* Lets time pass until peer |i| has had |kind| |n| times. Returns 0 when that
 * takes longer than |max|. */
int sim_wait(sim_pair *w, int i, aq_event_kind kind, unsigned n,
             aq_duration max);
void sim_run(sim_pair *w, aq_duration d);
/* A session from A to B. Returns 1 when both ends have the connection. */
int sim_connect(sim_pair *w, aq_duration max);

/* A bare socket on a host that asks for a port. */
uint32_t sim_udp(aq_sim *s, aq_sim_node host, const char *bind);
/* Sends and lets time pass until |to| has a datagram from somebody: his
 * address, or family 0 when none came in 100 ms. */
aq_addr sim_seen(aq_sim *s, uint32_t from, const aq_addr *dst, uint32_t to);
/* The address of a socket on a host that has one address of that family. */
aq_addr sim_addr(const aq_sim *s, aq_sim_node host, uint32_t udp);

#endif
