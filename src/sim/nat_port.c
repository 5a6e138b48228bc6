/* nat_port.c - which outer address and port a new mapping gets.
 *
 * SPDX-License-Identifier: MIT */
#include "sim/sim_int.h"

#include <math.h>

#define RANDOM_TRIES 64
#define MAX_USERS 65536

static uint32_t span_of(const aq_vnat *n) {
  return (uint32_t)(n->p.high - n->p.low) + 1;
}

/* Netfilter asks whether this tuple is free, others whether the port is. */
static int is_free(const aq_vnat *n, const aq_addr *outer,
                   const aq_addr *remote) {
  if (n->p.mapping == AQ_SIM_MAP_FLOW) {
    return aq_vnat_find_flow(n, outer, remote) == NULL;
  }
  return aq_vnat_find_outer(n, outer) == NULL &&
         aq_vnat_find_flow(n, outer, remote) == NULL;
}

/* ---- users ------------------------------------------------------------------
 */

static aq_vuser *user_of(aq_vnat *n, const aq_addr *inside) {
  for (size_t i = 0; i < n->nuser; i++) {
    if (aq_addr_same_ip(&n->user[i].ip, inside)) {
      return &n->user[i];
    }
  }
  void *table = n->user;
  int rv = aq_mem_grow(&n->mem, &table, &n->usercap, n->nuser + 1,
                       sizeof(*n->user), MAX_USERS);
  n->user = table;
  if (rv != 0) {
    return NULL;
  }
  aq_vuser *u = &n->user[n->nuser];
  *u = (aq_vuser){.ip = *inside};
  u->pool = (uint32_t)(n->nuser++ % n->p.naddr);
  return u;
}

int aq_vnat_pool(aq_vnat *n, const aq_addr *inside, uint32_t *pool) {
  *pool = 0;
  if (n->p.naddr <= 1) {
    return 0;
  }
  if (n->p.arbitrary) {
    *pool = n->turn++ % (uint32_t)n->p.naddr;
    return 0;
  }
  const aq_vuser *u = user_of(n, inside);
  if (u == NULL) {
    return AQ_ERR_NOMEM;
  }
  *pool = u->pool;
  return 0;
}

/* ---- background
 * ----------------------------------------------------------------
 */

/* Poisson's distribution; from a mean of 64 on the normal one is near enough.
 */
static uint64_t poisson(aq_rand *r, double mean) {
  if (mean >= 64) {
    double sum = 0;
    for (int i = 0; i < 12; i++) {
      sum += aq_rand_double(r);
    }
    double v = mean + (sum - 6) * sqrt(mean) + 0.5;
    return v > 0 ? (uint64_t)v : 0;
  }
  double limit = exp(-mean), p = aq_rand_double(r);
  uint64_t k = 0;
  for (; p > limit; k++) {
    p *= aq_rand_double(r);
  }
  return k;
}

void aq_vnat_burn(aq_vnat *n, uint64_t count) {
  int64_t span = span_of(n);
  int64_t by = (int64_t)(count % (uint64_t)span) * n->p.step % span;
  n->seq = (uint32_t)(((int64_t)n->seq + by + span) % span);
}

static void count_background(aq_vnat *n, aq_tstamp now) {
  double passed = (double)aq_time_since(now, n->background) * 1e-9;
  n->background = now;
  if (n->p.background > 0 && passed > 0) {
    aq_vnat_burn(n, poisson(&n->rand, n->p.background * passed));
  }
}

/* ---- ports
 * ---------------------------------------------------------------------
 */

static int try_port(const aq_vnat *n, aq_addr *outer, const aq_addr *remote,
                    uint32_t port) {
  outer->port = (uint16_t)port;
  return is_free(n, outer, remote);
}

static int choose_random(aq_vnat *n, aq_addr *outer, const aq_addr *remote,
                         uint32_t low, uint32_t span) {
  for (int i = 0; i < RANDOM_TRIES; i++) {
    if (try_port(n, outer, remote,
                 low + (uint32_t)aq_rand_below(&n->rand, span))) {
      return 1;
    }
  }
  uint32_t start = (uint32_t)aq_rand_below(&n->rand, span);
  for (uint32_t i = 0; i < span; i++) {
    if (try_port(n, outer, remote, low + (start + i) % span)) {
      return 1;
    }
  }
  return 0;
}

/* From |*seq| on by steps; where they don't meet every port, by ones. */
static int choose_next(aq_vnat *n, aq_addr *outer, const aq_addr *remote,
                       uint32_t low, uint32_t span, uint32_t *seq) {
  int64_t step = n->p.step % (int64_t)span;
  for (uint32_t i = 0; i < span; i++) {
    uint32_t port = low + *seq;
    *seq = (uint32_t)(((int64_t)*seq + step + (int64_t)span) % (int64_t)span);
    if (try_port(n, outer, remote, port)) {
      return 1;
    }
  }
  for (uint32_t i = 0; i < span; i++) {
    if (try_port(n, outer, remote, low + (*seq + i) % span)) {
      return 1;
    }
  }
  return 0;
}

static int choose_preserved(aq_vnat *n, aq_addr *outer, const aq_addr *remote,
                            uint32_t inner) {
  uint32_t low = n->p.low, span = span_of(n);
  uint32_t port = inner;
  if (n->shift > 0 && inner >= low && inner - low < span) {
    port = low + (inner - low + n->shift) % span;
  }
  return try_port(n, outer, remote, port) ||
         choose_random(n, outer, remote, low, span);
}

/* ---- blocks
 * ----------------------------------------------------------------------
 */

static int is_block_taken(const aq_vnat *n, uint32_t pool, uint16_t first) {
  for (size_t i = 0; i < n->nuser; i++) {
    const aq_vuser *u = &n->user[i];
    for (uint16_t b = 0; b < u->nblock && u->pool == pool; b++) {
      if (u->block[b] == first) {
        return 1;
      }
    }
  }
  return 0;
}

/* Another block for |u|: the first free one. */
static int add_block(aq_vnat *n, aq_vuser *u) {
  uint32_t base = n->p.block_base > 0 ? n->p.block_base : n->p.low;
  if (u->nblock >= n->p.max_blocks) {
    return 0;
  }
  for (uint32_t first = base; first + n->p.block_size - 1 <= n->p.high;
       first += n->p.block_size) {
    if (!is_block_taken(n, u->pool, (uint16_t)first)) {
      u->block[u->nblock++] = (uint16_t)first;
      u->seq = 0;
      return 1;
    }
  }
  return 0;
}

static int choose_in_block(aq_vnat *n, aq_addr *outer, const aq_addr *remote,
                           aq_vuser *u, uint16_t first) {
  if (n->p.step == 0) {
    return choose_random(n, outer, remote, first, n->p.block_size);
  }
  return choose_next(n, outer, remote, first, n->p.block_size, &u->seq);
}

static aq_sim_fate choose_block(aq_vnat *n, aq_addr *outer,
                                const aq_addr *inside, const aq_addr *remote) {
  aq_vuser *u = user_of(n, inside);
  if (u == NULL) {
    return AQ_SIM_FATE_NO_MEMORY;
  }
  *outer = n->p.addr[u->pool];
  for (uint16_t b = 0; b < u->nblock || add_block(n, u); b++) {
    if (choose_in_block(n, outer, remote, u, u->block[b])) {
      return AQ_SIM_FATE_FORWARDED;
    }
  }
  return AQ_SIM_FATE_NAT_FULL;
}

aq_sim_fate aq_vnat_choose(aq_vnat *n, aq_tstamp now, const aq_addr *inside,
                           const aq_addr *remote, uint32_t pool,
                           aq_addr *outer) {
  uint32_t low = n->p.low, span = span_of(n);
  int found = 0;
  *outer = n->p.addr[pool];
  switch (n->p.ports) {
  case AQ_SIM_PORTS_PRESERVE:
    found = choose_preserved(n, outer, remote, inside->port);
    break;
  case AQ_SIM_PORTS_RANDOM:
    found = choose_random(n, outer, remote, low, span);
    break;
  case AQ_SIM_PORTS_SEQUENTIAL:
    count_background(n, now);
    found = choose_next(n, outer, remote, low, span, &n->seq);
    break;
  case AQ_SIM_PORTS_BLOCK:
    return choose_block(n, outer, inside, remote);
  }
  return found ? AQ_SIM_FATE_FORWARDED : AQ_SIM_FATE_NAT_FULL;
}
