/* SPDX-License-Identifier: MIT */
#include "support/world_nat.h"

#include "base/addr.h"

world_nat *world_nat_new(const char *ip, world_rule mapping,
                         world_rule filtering, aq_nat_allocation allocation) {
  char text[64];
  world_nat *n = calloc(1, sizeof(*n));
  assert_non_null(n);
  snprintf(text, sizeof(text), "%s:1", ip);
  n->mapping = mapping;
  n->filtering = filtering;
  n->allocation = allocation;
  n->addr[0] = util_addr(text);
  n->naddr = 1;
  n->step = 1;
  n->low = 1024;
  n->size = 64512;
  n->next = 20000;
  aq_rand_init(&n->rand, 77);
  return n;
}

static int fits(world_rule rule, const aq_addr *flow, const aq_addr *remote) {
  return rule == WORLD_EI ||
         (rule == WORLD_AD && aq_addr_same_ip(flow, remote)) ||
         aq_addr_equal(flow, remote);
}

static int is_taken(const world_nat *n, const aq_addr *outside) {
  for (size_t i = 0; i < n->nflow; i++) {
    if (aq_addr_equal(&n->flow[i].outside, outside)) {
      return 1;
    }
  }
  return 0;
}

static uint16_t port_of(world_nat *n, const aq_addr *inside) {
  switch (n->allocation) {
  case AQ_NAT_ALLOC_SEQUENTIAL:
    n->next = (uint16_t)(n->next + n->step * (int)n->background);
    n->next = (uint16_t)(n->next + n->step);
    return n->next;
  case AQ_NAT_ALLOC_RANDOM:
  case AQ_NAT_ALLOC_BLOCK:
    return (uint16_t)(n->low + aq_rand_below(&n->rand, n->size));
  default:
    return inside->port;
  }
}

static aq_addr allocate(world_nat *n, const aq_addr *inside) {
  aq_addr a = n->addr[n->turn++ % n->naddr];
  do {
    a.port = port_of(n, inside);
  } while (is_taken(n, &a) && n->allocation != AQ_NAT_ALLOC_PRESERVING);
  return a;
}

aq_addr world_nat_out(world_nat *n, const aq_addr *inside,
                      const aq_addr *remote) {
  const world_flow *like = NULL;
  for (size_t i = 0; i < n->nflow; i++) {
    const world_flow *f = &n->flow[i];
    if (!aq_addr_equal(&f->inside, inside)) {
      continue;
    }
    if (aq_addr_equal(&f->remote, remote)) {
      return f->outside;
    }
    like = fits(n->mapping, &f->remote, remote) ? f : like;
  }
  assert_true(n->nflow < WORLD_FLOWS);
  aq_addr outside = like != NULL ? like->outside : allocate(n, inside);
  world_flow *f = &n->flow[n->nflow++];
  f->inside = *inside;
  f->remote = *remote;
  f->outside = outside;
  return outside;
}

int world_nat_in(world_nat *n, const aq_addr *from, const aq_addr *to,
                 aq_addr *inside) {
  for (size_t i = 0; i < n->nflow; i++) {
    const world_flow *f = &n->flow[i];
    if (aq_addr_equal(&f->outside, to) &&
        fits(n->filtering, &f->remote, from)) {
      *inside = f->inside;
      return 1;
    }
  }
  return 0;
}

void world_nat_rebind(world_nat *n, const char *ip) {
  n->nflow = 0;
  if (ip != NULL) {
    char text[64];
    snprintf(text, sizeof(text), "%s:1", ip);
    n->addr[0] = util_addr(text);
  }
}

int world_nat_has(const world_nat *n, const aq_addr *ip) {
  for (unsigned i = 0; i < n->naddr; i++) {
    if (aq_addr_same_ip(&n->addr[i], ip)) {
      return 1;
    }
  }
  return 0;
}

aq_nat_profile world_nat_profile(const world_nat *n) {
  static const uint8_t rule[] = {AQ_NAT_ENDPOINT_INDEPENDENT,
                                 AQ_NAT_ADDRESS_DEPENDENT,
                                 AQ_NAT_ADDRESS_AND_PORT_DEPENDENT};
  aq_nat_profile p;
  memset(&p, 0, sizeof(p));
  p.mapping = rule[n->mapping];
  p.filtering = rule[n->filtering];
  p.allocation = (uint8_t)n->allocation;
  if (n->allocation == AQ_NAT_ALLOC_SEQUENTIAL) {
    p.step = (int16_t)n->step;
  }
  if (n->allocation == AQ_NAT_ALLOC_BLOCK) {
    p.block_base = n->low;
    p.block_size = n->size;
  }
  p.external_count = (uint8_t)n->naddr;
  return p;
}
