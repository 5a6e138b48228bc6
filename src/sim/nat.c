/* nat.c - one NAT as a state machine: mappings, and the flows that filters ask
 * for (RFC 4787).
 *
 * A mapping says what an inner address is outside; a flow is a mapping and one
 * remote address. Which mapping a new flow has is the kind of mapping; which
 * flows let a datagram in is the kind of filtering. A router that filters
 * without translating has mappings whose two sides are equal.
 *
 * SPDX-License-Identifier: MIT */
#include "sim/sim_int.h"

#include <string.h>

#define NAME_TRIES 64

/* ---- life ------------------------------------------------------------------
 */

void aq_sim_nat_params_init(aq_sim_nat_params *p) {
  memset(p, 0, sizeof(*p));
  p->filtering = AQ_SIM_FILTER_APD;
  p->low = 1024;
  p->high = 65535;
  p->step = 1;
  p->block_size = 512;
  p->max_blocks = 1;
  p->inbound_refresh = 1;
  p->inbound_session = 1;
  p->same_port = 1;
  p->idle = 30 * AQ_S;
  p->max_flows = 65536;
}

void aq_vnat_init(aq_vnat *n, const aq_mem *mem, const aq_sim_nat_params *p,
                  uint64_t seed) {
  memset(n, 0, sizeof(*n));
  n->p = *p;
  n->mem = *mem;
  aq_rand_init(&n->rand, seed);
  aq_vtable_init(&n->maps_in, mem);
  aq_vtable_init(&n->maps_out, mem);
  aq_vtable_init(&n->flows_in, mem);
  aq_vtable_init(&n->flows_out, mem);
  aq_list_init(&n->maps_used);
  aq_list_init(&n->maps_born);
  aq_list_init(&n->flows_used);
  n->seq = (uint32_t)aq_rand_below(&n->rand, (uint64_t)(p->high - p->low) + 1);
}

static uint64_t pair_hash(const aq_addr *a, const aq_addr *remote) {
  return aq_vhash_two(aq_vhash_addr(a), aq_vhash_addr(remote));
}

static void flow_free(aq_vnat *n, aq_vflow *f) {
  if (f->map != NULL) {
    aq_vtable_remove(&n->flows_in, &f->by_inside);
    aq_list_remove(&f->of_map);
  }
  aq_vtable_remove(&n->flows_out, &f->by_outer);
  aq_list_remove(&f->used);
  aq_mem_free(&n->mem, f);
}

static void map_free(aq_vnat *n, aq_vmap *m) {
  aq_list_each_safe(node, &m->flows) {
    flow_free(n, aq_list_entry(node, aq_vflow, of_map));
  }
  aq_vtable_remove(&n->maps_in, &m->by_inside);
  aq_vtable_remove(&n->maps_out, &m->by_outer);
  aq_list_remove(&m->used);
  aq_list_remove(&m->born);
  aq_mem_free(&n->mem, m);
}

void aq_vnat_forget(aq_vnat *n) {
  aq_list_each_safe(node, &n->maps_born) {
    map_free(n, aq_list_entry(node, aq_vmap, born));
  }
  aq_list_each_safe(node, &n->flows_used) {
    flow_free(n, aq_list_entry(node, aq_vflow, used));
  }
  n->nuser = 0;
}

void aq_vnat_free(aq_vnat *n) {
  aq_vnat_forget(n);
  aq_vtable_free(&n->maps_in);
  aq_vtable_free(&n->maps_out);
  aq_vtable_free(&n->flows_in);
  aq_vtable_free(&n->flows_out);
  aq_mem_free(&n->mem, n->user);
}

/* ---- time ------------------------------------------------------------------
 */

/* The lists are in order of their times, so that only what goes is looked at.
 */
void aq_vnat_expire(aq_vnat *n, aq_tstamp now) {
  aq_list *node;
  while ((node = aq_list_first(&n->maps_used)) != NULL) {
    aq_vmap *m = aq_list_entry(node, aq_vmap, used);
    if (aq_time_add(m->last, n->p.idle) > now) {
      break;
    }
    n->expired++;
    map_free(n, m);
  }
  while (n->p.absolute > 0 && (node = aq_list_first(&n->maps_born)) != NULL) {
    aq_vmap *m = aq_list_entry(node, aq_vmap, born);
    if (aq_time_add(m->created, n->p.absolute) > now) {
      break;
    }
    n->expired++;
    map_free(n, m);
  }
  while ((node = aq_list_first(&n->flows_used)) != NULL) {
    aq_vflow *f = aq_list_entry(node, aq_vflow, used);
    if (aq_time_add(f->last, n->p.idle) > now) {
      break;
    }
    flow_free(n, f);
  }
}

static void map_use(aq_vnat *n, aq_vmap *m, aq_tstamp now) {
  m->last = now;
  aq_list_remove(&m->used);
  aq_list_push_back(&n->maps_used, &m->used);
}

static void flow_use(aq_vnat *n, aq_vflow *f, aq_tstamp now) {
  f->last = now;
  aq_list_remove(&f->used);
  aq_list_push_back(&n->flows_used, &f->used);
  if (f->map != NULL) {
    map_use(n, f->map, now);
  }
}

/* ---- finding ----------------------------------------------------------------
 */

aq_vmap *aq_vnat_find_outer(const aq_vnat *n, const aq_addr *outer) {
  aq_ventry *e = aq_vtable_first(&n->maps_out, aq_vhash_addr(outer));
  for (; e != NULL; e = aq_vtable_next(e)) {
    aq_vmap *m = aq_owner_of(e, aq_vmap, by_outer);
    if (aq_addr_equal(&m->outer, outer)) {
      return m;
    }
  }
  return NULL;
}

aq_vflow *aq_vnat_find_flow(const aq_vnat *n, const aq_addr *outer,
                            const aq_addr *remote) {
  aq_ventry *e = aq_vtable_first(&n->flows_out, pair_hash(outer, remote));
  for (; e != NULL; e = aq_vtable_next(e)) {
    aq_vflow *f = aq_owner_of(e, aq_vflow, by_outer);
    if (aq_addr_equal(&f->outer, outer) && aq_addr_equal(&f->remote, remote)) {
      return f;
    }
  }
  return NULL;
}

static aq_vflow *find_flow_inside(const aq_vnat *n, const aq_addr *inside,
                                  const aq_addr *remote) {
  aq_ventry *e = aq_vtable_first(&n->flows_in, pair_hash(inside, remote));
  for (; e != NULL; e = aq_vtable_next(e)) {
    aq_vflow *f = aq_owner_of(e, aq_vflow, by_inside);
    if (aq_addr_equal(&f->map->inside, inside) &&
        aq_addr_equal(&f->shown, remote)) {
      return f;
    }
  }
  return NULL;
}

int aq_vnat_is_routed(const aq_vnat *n, const aq_addr *a) {
  return a->family == 6 || n->p.mapping == AQ_SIM_MAP_NONE;
}

static aq_sim_filtering filter_of(const aq_vnat *n, const aq_addr *a) {
  if (a->family == 4) {
    return n->p.filtering;
  }
  return n->p.v6 == AQ_SIM_V6_OPEN ? AQ_SIM_FILTER_EI : AQ_SIM_FILTER_APD;
}

/* Everything passes and nothing is remembered. */
static int is_open_router(const aq_vnat *n, const aq_addr *a) {
  return aq_vnat_is_routed(n, a) && filter_of(n, a) == AQ_SIM_FILTER_EI;
}

static int fits(const aq_vnat *n, const aq_vmap *m, const aq_addr *remote,
                uint32_t pool) {
  switch (n->p.mapping) {
  case AQ_SIM_MAP_AD:
    return aq_addr_same_ip(&m->remote, remote);
  case AQ_SIM_MAP_APD:
    return aq_addr_equal(&m->remote, remote);
  case AQ_SIM_MAP_FLOW:
    return n->p.same_port && aq_addr_same_ip(&m->outer, &n->p.addr[pool]);
  default:
    return 1;
  }
}

/* The mapping that a new flow from |inside| to |remote| has, NULL: a new one.
 * The newest is asked first, and alone: when its tuple is taken, by another
 * inside or because the router believes that it is its own, there must be a new
 * one (netfilter's find_appropriate_src). */
static aq_vmap *find_map(const aq_vnat *n, const aq_addr *inside,
                         const aq_addr *remote, uint32_t pool) {
  aq_ventry *e = aq_vtable_first(&n->maps_in, aq_vhash_addr(inside));
  for (; e != NULL; e = aq_vtable_next(e)) {
    aq_vmap *m = aq_owner_of(e, aq_vmap, by_inside);
    if (aq_addr_equal(&m->inside, inside) &&
        (aq_vnat_is_routed(n, inside) || fits(n, m, remote, pool))) {
      return aq_vnat_find_flow(n, &m->outer, remote) == NULL ? m : NULL;
    }
  }
  return NULL;
}

/* ---- making
 * ------------------------------------------------------------------
 */

static aq_vmap *map_new(aq_vnat *n, aq_tstamp now, const aq_addr *inside,
                        const aq_addr *outer, const aq_addr *remote) {
  if (aq_vtable_reserve(&n->maps_in) != 0 ||
      aq_vtable_reserve(&n->maps_out) != 0) {
    return NULL;
  }
  aq_vmap *m = aq_mem_alloc(&n->mem, sizeof(*m));
  if (m == NULL) {
    return NULL;
  }
  m->inside = *inside;
  m->outer = *outer;
  m->remote = *remote;
  m->created = m->last = now;
  aq_list_init(&m->flows);
  aq_vtable_add(&n->maps_in, &m->by_inside, aq_vhash_addr(inside));
  aq_vtable_add(&n->maps_out, &m->by_outer, aq_vhash_addr(outer));
  aq_list_push_back(&n->maps_used, &m->used);
  aq_list_push_back(&n->maps_born, &m->born);
  n->created++;
  return m;
}

/* |m| NULL: a tuple that the router takes for its own. |shown|: the remote
 * address as the inside has it. */
static aq_vflow *flow_new(aq_vnat *n, aq_tstamp now, aq_vmap *m,
                          const aq_addr *outer, const aq_addr *remote,
                          const aq_addr *shown) {
  if (n->flows_out.count >= n->p.max_flows ||
      aq_vtable_reserve(&n->flows_in) != 0 ||
      aq_vtable_reserve(&n->flows_out) != 0) {
    return NULL;
  }
  aq_vflow *f = aq_mem_alloc(&n->mem, sizeof(*f));
  if (f == NULL) {
    return NULL;
  }
  f->map = m;
  f->outer = *outer;
  f->remote = *remote;
  f->shown = *shown;
  f->last = now;
  aq_list_push_back(&n->flows_used, &f->used);
  aq_vtable_add(&n->flows_out, &f->by_outer, pair_hash(outer, remote));
  if (m != NULL) {
    aq_vtable_add(&n->flows_in, &f->by_inside, pair_hash(&m->inside, shown));
    aq_list_push_back(&m->flows, &f->of_map);
  } else {
    aq_list_init(&f->of_map);
  }
  return f;
}

/* ---- the three ways
 * -----------------------------------------------------------
 */

/* The mapping for a flow that is not there yet. */
static aq_sim_fate map_for(aq_vnat *n, aq_tstamp now, const aq_addr *from,
                           const aq_addr *to, aq_vmap **out) {
  uint32_t pool = 0;
  int routed = aq_vnat_is_routed(n, from);
  aq_addr outer = *from;
  if (!routed && aq_vnat_pool(n, from, &pool) != 0) {
    return AQ_SIM_FATE_NO_MEMORY;
  }
  *out = find_map(n, from, to, pool);
  if (*out != NULL) {
    return AQ_SIM_FATE_FORWARDED;
  }
  if (!routed) {
    aq_sim_fate fate = aq_vnat_choose(n, now, from, to, pool, &outer);
    if (fate != AQ_SIM_FATE_FORWARDED) {
      return fate;
    }
  }
  *out = map_new(n, now, from, &outer, to);
  return *out != NULL ? AQ_SIM_FATE_FORWARDED : AQ_SIM_FATE_NO_MEMORY;
}

aq_sim_fate aq_vnat_out(aq_vnat *n, aq_tstamp now, const aq_addr *from,
                        const aq_addr *to, aq_addr *seen, aq_addr *real) {
  aq_vmap *m = NULL;
  *real = *to;
  if (n->p.blocked) {
    return AQ_SIM_FATE_BLOCKED;
  }
  if (is_open_router(n, from)) {
    *seen = *from;
    return AQ_SIM_FATE_FORWARDED;
  }
  aq_vnat_expire(n, now);
  aq_vflow *f = find_flow_inside(n, from, to);
  if (f != NULL) {
    flow_use(n, f, now);
    *seen = f->outer;
    *real = f->remote;
    return AQ_SIM_FATE_FORWARDED;
  }
  if (n->flows_out.count >= n->p.max_flows) {
    return AQ_SIM_FATE_NAT_FULL;
  }
  aq_sim_fate fate = map_for(n, now, from, to, &m);
  if (fate != AQ_SIM_FATE_FORWARDED) {
    return fate;
  }
  *seen = m->outer;
  if (flow_new(n, now, m, &m->outer, to, to) == NULL) {
    return AQ_SIM_FATE_NO_MEMORY;
  }
  map_use(n, m, now);
  return AQ_SIM_FATE_FORWARDED;
}

static int has_remote_ip(const aq_vmap *m, const aq_addr *ip) {
  aq_list_each(node, &m->flows) {
    if (aq_addr_same_ip(&aq_list_entry(node, aq_vflow, of_map)->remote, ip)) {
      return 1;
    }
  }
  return 0;
}

/* The newest mapping behind |outer| that lets |from| in; NULL: none does. */
static aq_vmap *admits(const aq_vnat *n, const aq_addr *outer,
                       const aq_addr *from) {
  aq_sim_filtering filter = filter_of(n, outer);
  aq_ventry *e = aq_vtable_first(&n->maps_out, aq_vhash_addr(outer));
  if (filter == AQ_SIM_FILTER_APD) {
    return NULL; /* only a flow of its own */
  }
  for (; e != NULL; e = aq_vtable_next(e)) {
    aq_vmap *m = aq_owner_of(e, aq_vmap, by_outer);
    if (aq_addr_equal(&m->outer, outer) &&
        (filter == AQ_SIM_FILTER_EI || has_remote_ip(m, from))) {
      return m;
    }
  }
  return NULL;
}

/* The inside has a flow of its own to |from|, by another outer port: netfilter
 * then shows it another port of |from|, so that both can be told apart. Returns
 * 0 when none was found. */
static int other_name(aq_vnat *n, const aq_addr *inside, const aq_addr *from,
                      aq_addr *shown) {
  *shown = *from;
  for (int i = 0; i < NAME_TRIES; i++) {
    if (find_flow_inside(n, inside, shown) == NULL) {
      return 1;
    }
    shown->port = (uint16_t)(1024 + aq_rand_below(&n->rand, 65536 - 1024));
  }
  *shown = *from;
  return 0;
}

/* |from| was let in by the filter, to |m|. */
static void let_in(aq_vnat *n, aq_tstamp now, aq_vmap *m, const aq_addr *from,
                   aq_addr *shown) {
  if (n->p.inbound_session && other_name(n, &m->inside, from, shown)) {
    /* No room: it is passed on all the same, and not remembered. */
    flow_new(n, now, m, &m->outer, from, shown);
  }
  if (n->p.inbound_refresh) {
    map_use(n, m, now);
  }
}

aq_sim_fate aq_vnat_in(aq_vnat *n, aq_tstamp now, const aq_addr *from,
                       const aq_addr *to, aq_addr *shown, aq_addr *inside) {
  *shown = *from;
  *inside = *to;
  if (n->p.blocked) {
    return AQ_SIM_FATE_BLOCKED;
  }
  if (is_open_router(n, to)) {
    return AQ_SIM_FATE_FORWARDED;
  }
  aq_vnat_expire(n, now);
  aq_vflow *f = aq_vnat_find_flow(n, to, from);
  if (f != NULL) {
    if (f->map == NULL || n->p.inbound_refresh) {
      flow_use(n, f, now);
    }
    if (f->map == NULL) {
      return AQ_SIM_FATE_FILTERED;
    }
    *shown = f->shown;
    *inside = f->map->inside;
    return AQ_SIM_FATE_FORWARDED;
  }
  aq_vmap *m = admits(n, to, from);
  if (m == NULL) {
    if (n->p.poison && !aq_vnat_is_routed(n, to)) {
      flow_new(n, now, NULL, to, from, from); /* no room: it isn't taken */
    }
    return AQ_SIM_FATE_FILTERED;
  }
  let_in(n, now, m, from, shown);
  *inside = m->inside;
  return AQ_SIM_FATE_FORWARDED;
}

aq_sim_fate aq_vnat_hairpin(aq_vnat *n, aq_tstamp now, const aq_addr *from,
                            const aq_addr *to, aq_addr *seen, aq_addr *inside) {
  if (n->p.blocked) {
    return AQ_SIM_FATE_BLOCKED;
  }
  if (n->p.hairpin == AQ_SIM_HAIRPIN_NO) {
    return AQ_SIM_FATE_HAIRPIN;
  }
  aq_vnat_expire(n, now);
  const aq_vmap *target = aq_vnat_find_outer(n, to);
  if (target == NULL) {
    return AQ_SIM_FATE_HAIRPIN;
  }
  aq_addr real;
  *inside = target->inside;
  *seen = *from;
  return n->p.hairpin == AQ_SIM_HAIRPIN_EXTERNAL
             ? aq_vnat_out(n, now, from, to, seen, &real)
             : AQ_SIM_FATE_FORWARDED;
}
