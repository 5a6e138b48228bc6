/* world.h - whole endpoints in virtual time: datagrams fly between them with
 * delay, loss and NATs, and an attacker may look and inject. Deterministic for
 * a seed; nothing waits.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_SPEC_WORLD_H
#define AQ_SPEC_WORLD_H

#include "base/rand.h"
#include "support/util.h"
#include "support/world_nat.h"

#define WORLD_NODES 8
#define WORLD_EVENTS 8192
#define WORLD_PINHOLES 256
#define WORLD_SEEN 1024

typedef struct world world;

typedef struct world_node {
  world *w;
  aq_endpoint *ep;
  aq_identity *identity;
  aq_peer_id id;
  aq_endpoint_params params;
  aq_addr bound;   /* its socket */
  aq_addr second;  /* and another, index 1, without a NAT; family 0: none */
  aq_addr outside; /* behind a NAT (port-restricted cone): its public address */
  size_t npin;
  aq_addr pin[WORLD_PINHOLES];
  world_nat *nat; /* owned, or NULL; one that keeps flows, for |bound| and
                     extra sockets */
  int no_extra;   /* it can't open extra sockets */
  int deaf;       /* nothing reaches it and nothing leaves it */
  aq_rand rand;
  size_t allocs, live; /* of its memory */
  size_t fail_at;      /* the allocation, from 1, that gives nothing */
  size_t nevent;
  aq_event event[WORLD_EVENTS];
  uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes;
} world_node;

typedef struct world_packet {
  struct world_packet *next;
  aq_tstamp at;
  aq_addr from, to;
  uint8_t ttl;
  size_t len;
  uint8_t data[];
} world_packet;

typedef struct world_seen {
  aq_addr to;
  uint64_t packets, bytes, initials;
} world_seen;

struct world {
  aq_tstamp now;
  aq_duration delay; /* one way */
  aq_duration jitter;
  unsigned loss; /* per mille */
  aq_rand rand;
  world_node *node[WORLD_NODES];
  world_packet *head;
  size_t nseen; /* what went to addresses that nobody has */
  world_seen seen[WORLD_SEEN];
  /* Sees every datagram before it flies; returns 0 to lose it. */
  int (*tap)(world *w, const aq_addr *from, const aq_addr *to, uint8_t *data,
             size_t *len);
  void *user;
};

world *world_new(uint64_t seed);
void world_del(world *w);

/* world_node_init gives parameters to change before world_node_start. |addr| is
 * of the socket; |outside| (may be NULL) puts it behind a NAT. */
world_node *world_node_init(world *w, size_t at, const char *addr,
                            const char *outside);
void world_node_start(world_node *n);
/* The NAT is the node's from now on; gives it. */
world_nat *world_behind(world_node *n, world_nat *nat);
void world_add_second(world_node *n, const char *addr);
/* Forgets everything at once, as a crash does; start it again if wanted. */
void world_node_kill(world_node *n);
void world_use_bootstrap(world_node *n, const world_node *coordinator,
                         int pinned);

/* Drains all nodes. */
void world_flush(world *w);
/* One turn, not past |until|. Returns 0 when nothing happens before it. */
int world_turn(world *w, aq_tstamp until);
void world_run(world *w, aq_duration d);
/* Until |n| has an event of |kind| after the first |skip|; gives it, or NULL
 * after |max|. */
const aq_event *world_wait(world *w, world_node *n, aq_event_kind kind,
                           aq_duration max);
const aq_event *world_find(const world_node *n, aq_event_kind kind);
size_t world_count(const world_node *n, aq_event_kind kind);
void world_clear(world_node *n);
/* An attacker's datagram. */
void world_inject(world *w, const aq_addr *from, const aq_addr *to,
                  const uint8_t *data, size_t len);
const world_seen *world_seen_at(const world *w, const aq_addr *to);

/* world_node_init of one that coordinates, and does not relay. */
world_node *world_coordinator(world *w, size_t at, const char *addr);

/* What most tests do; each fails the test when it can't. */
void world_start_all(world *w);
aq_statistics world_stats(const world *w, int n);
/* The connection of two nodes, as |from| has it. */
struct aq_link *world_link(world *w, int from, int to);
aq_id world_dial(world *w, int from, int to, int pinned);
const aq_event *world_wait_conn(world *w, int n);
/* One message from |from| on |conn| arrives at |to|. */
void world_talk(world *w, int from, aq_id conn, int to);
/* The one connection that the application has. */
aq_id world_only_conn(world_node *n);
void world_dump(const world_node *n);

#endif
