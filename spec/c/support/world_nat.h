/* world_nat.h - NATs for world.h that keep flows: mapping, filtering and
 * allocation of ports by rule.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_SPEC_WORLD_NAT_H
#define AQ_SPEC_WORLD_NAT_H

#include "base/rand.h"
#include "support/util.h"

#define WORLD_FLOWS 4096

typedef enum world_rule { WORLD_EI, WORLD_AD, WORLD_APD } world_rule;

typedef struct world_flow {
  aq_addr inside, remote, outside;
} world_flow;

typedef struct world_nat {
  world_rule mapping, filtering;
  aq_nat_allocation allocation;
  int step;
  uint16_t low, size;   /* ports that it gives: RANDOM, BLOCK; or the first */
  uint16_t next;        /* SEQUENTIAL */
  unsigned naddr, turn; /* several: taken in turn by new flows */
  aq_addr addr[4];      /* external IPs */
  unsigned background;  /* allocations of others before each new flow */
  aq_rand rand;
  size_t nflow;
  world_flow flow[WORLD_FLOWS];
} world_nat;

/* One with the external address |ip|, "198.51.100.7". */
world_nat *world_nat_new(const char *ip, world_rule mapping,
                         world_rule filtering, aq_nat_allocation allocation);
/* A datagram leaves: the source that the world sees. */
aq_addr world_nat_out(world_nat *n, const aq_addr *inside,
                      const aq_addr *remote);
/* One arrives: 1 and where it goes, 0 when it is dropped. */
int world_nat_in(world_nat *n, const aq_addr *from, const aq_addr *to,
                 aq_addr *inside);
/* It forgets its flows: new ones get other ports. With |ip| it also has another
 * address from now on. */
void world_nat_rebind(world_nat *n, const char *ip);
int world_nat_has(const world_nat *n, const aq_addr *ip);
/* What a perfect measurement would find. */
aq_nat_profile world_nat_profile(const world_nat *n);

#endif
