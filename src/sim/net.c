/* net.c - the tree: nodes, their addresses, and the way of a datagram.
 *
 * SPDX-License-Identifier: MIT */
#include "sim/sim_int.h"

#include <string.h>

/* ---- addresses -------------------------------------------------------------
 */

static aq_addr plain_ip(const aq_addr *a) {
  aq_addr ip = *a;
  ip.port = 0;
  aq_addr_normalize(&ip);
  return ip;
}

/* |base| and |n| in its last 32 bits (IPv4: all of them). */
static aq_addr ip_add(const aq_addr *base, uint32_t n) {
  aq_addr a = *base;
  uint8_t *last = a.ip + (a.family == 4 ? 0 : 12);
  uint64_t v = (uint64_t)last[0] << 24 | (uint64_t)last[1] << 16 |
               (uint64_t)last[2] << 8 | last[3];
  v += n;
  for (int i = 0; i < 4; i++) {
    last[i] = (uint8_t)(v >> (24 - 8 * i));
  }
  return a;
}

/* A network of its own in the world's space: 24.x.y.0/24, 2600:n::/64. */
static aq_addr new_site(aq_sim *s, int family) {
  uint8_t ip[16] = {0};
  uint32_t n = ++s->sites;
  if (family == 4) {
    ip[0] = (uint8_t)(24 + (n >> 16));
    ip[1] = (uint8_t)(n >> 8);
    ip[2] = (uint8_t)n;
    return aq_addr_v4(ip, 0);
  }
  ip[0] = 0x26;
  ip[3] = (uint8_t)(n >> 16);
  ip[4] = (uint8_t)(n >> 8);
  ip[5] = (uint8_t)n;
  return aq_addr_v6(ip, 0);
}

static aq_vroute *route_of(const aq_vnode *net, const aq_addr *to);

aq_addr aq_vnet_choose(aq_vnode *net, int family) {
  aq_addr none = {0};
  aq_addr *base = family == 4 ? &net->net4 : &net->net6;
  uint32_t *next = family == 4 ? &net->next4 : &net->next6;
  if (base->family == 0) {
    return none;
  }
  for (;;) {
    aq_addr a;
    if (net->kind == AQ_VNODE_INTERNET) {
      /* Each site has a network of its own, as peers have. */
      aq_addr site = new_site(net->s, family);
      a = ip_add(&site, 2);
    } else {
      a = ip_add(base, 10 + (*next)++);
    }
    if (route_of(net, &a) == NULL) {
      return a;
    }
  }
}

/* ---- routes ----------------------------------------------------------------
 */

static uint64_t route_hash(const aq_vnode *net, const aq_addr *ip) {
  return aq_vhash_two(aq_vhash_ip(ip), net->id);
}

static aq_vroute *route_of(const aq_vnode *net, const aq_addr *to) {
  aq_ventry *e = aq_vtable_first(&net->s->routes, route_hash(net, to));
  for (; e != NULL; e = aq_vtable_next(e)) {
    aq_vroute *r = aq_owner_of(e, aq_vroute, by_ip);
    if (r->net == net && aq_addr_same_ip(&r->ip, to)) {
      return r;
    }
  }
  return NULL;
}

static int route_put(aq_vnode *net, aq_vnode *child, const aq_addr *ip) {
  aq_sim *s = net->s;
  if (route_of(net, ip) != NULL) {
    return AQ_ERR_ADDRESS;
  }
  aq_vroute *r = aq_mem_alloc(&s->mem, sizeof(*r));
  if (r == NULL || aq_vtable_reserve(&s->routes) != 0) {
    aq_mem_free(&s->mem, r);
    return AQ_ERR_NOMEM;
  }
  r->net = net;
  r->child = child;
  r->ip = *ip;
  aq_vtable_add(&s->routes, &r->by_ip, route_hash(net, ip));
  return 0;
}

/* Is |ip|, of a child of |net|, seen from |net|'s own network too? */
static int is_seen_above(const aq_vnode *net, const aq_addr *ip) {
  return net->kind == AQ_VNODE_NAT && aq_vnat_is_routed(net->nat, ip);
}

static void remove_one(aq_vnode *n, const aq_addr *ip) {
  aq_vnode *child = n;
  for (aq_vnode *net = n->parent; net != NULL; net = net->parent) {
    aq_vroute *r = route_of(net, ip);
    if (r != NULL && r->child == child) {
      aq_vtable_remove(&n->s->routes, &r->by_ip);
      aq_mem_free(&n->s->mem, r);
    }
    if (!is_seen_above(net, ip)) {
      return;
    }
    child = net;
  }
}

static int add_one(aq_vnode *n, const aq_addr *ip) {
  aq_vnode *child = n;
  for (aq_vnode *net = n->parent; net != NULL; net = net->parent) {
    int rv = route_put(net, child, ip);
    if (rv != 0) {
      remove_one(n, ip);
      return rv;
    }
    if (!is_seen_above(net, ip)) {
      break;
    }
    child = net;
  }
  return 0;
}

void aq_vroute_remove(aq_vnode *n) {
  for (size_t i = 0; i < n->naddr; i++) {
    remove_one(n, &n->addr[i]);
  }
}

int aq_vroute_add(aq_vnode *n) {
  for (size_t i = 0; i < n->naddr; i++) {
    int rv = add_one(n, &n->addr[i]);
    if (rv != 0) {
      while (i-- > 0) {
        remove_one(n, &n->addr[i]);
      }
      return rv;
    }
  }
  return 0;
}

size_t aq_sim_get_addrs(const aq_sim *s, aq_sim_node id, aq_addr *out,
                        size_t max) {
  const aq_vnode *n = aq_vnode_get(s, id);
  if (n == NULL) {
    return 0;
  }
  for (size_t i = 0; i < n->naddr && i < max; i++) {
    out[i] = n->addr[i];
  }
  return n->naddr;
}

/* ---- nodes -----------------------------------------------------------------
 */

static int new_node(aq_sim *s, aq_sim_node parent, aq_vkind kind,
                    aq_vnode **out) {
  aq_vnode *up = aq_vnode_get(s, parent);
  void *table = s->node;
  if (up == NULL || up->kind == AQ_VNODE_HOST) {
    return AQ_ERR_INVAL;
  }
  int rv = aq_mem_grow(&s->mem, &table, &s->nodecap, s->nnode + 1,
                       sizeof(*s->node), AQ_SIM_MAX_NODES);
  s->node = table;
  if (rv != 0) {
    return rv;
  }
  aq_vnode *n = aq_mem_alloc(&s->mem, sizeof(*n));
  if (n == NULL) {
    return AQ_ERR_NOMEM;
  }
  n->s = s;
  n->id = (aq_sim_node)s->nnode;
  n->kind = kind;
  n->parent = up;
  n->level = up->level + 1;
  aq_vlink_init(&n->up, aq_sim_seed(s));
  aq_vlink_init(&n->down, aq_sim_seed(s));
  aq_rand_init(&n->rand, aq_sim_seed(s));
  aq_list_init(&n->socks);
  aq_list_init(&n->endpoints);
  *out = n;
  return 0;
}

/* The last step of making: from here on |n| is the simulation's. */
static int join(aq_vnode *n, aq_sim_node *out) {
  aq_sim *s = n->s;
  int rv = aq_vroute_add(n);
  if (rv != 0) {
    if (n->nat != NULL) {
      aq_vnat_free(n->nat);
      aq_mem_free(&s->mem, n->nat);
    }
    aq_mem_free(&s->mem, n);
    return rv;
  }
  s->node[s->nnode++] = n;
  *out = n->id;
  return 0;
}

void aq_sim_host_params_init(aq_sim_host_params *p) {
  memset(p, 0, sizeof(*p));
  p->v4 = 1;
}

static int choose_host_addrs(aq_vnode *n, const aq_sim_host_params *p) {
  for (size_t i = 0; i < p->naddr; i++) {
    n->addr[n->naddr++] = plain_ip(&p->addr[i]);
  }
  if (p->naddr == 0 && p->v4) {
    n->addr[n->naddr++] = aq_vnet_choose(n->parent, 4);
  }
  if (p->naddr == 0 && p->v6) {
    n->addr[n->naddr++] = aq_vnet_choose(n->parent, 6);
  }
  for (size_t i = 0; i < n->naddr; i++) {
    const aq_addr *net =
        n->addr[i].family == 4 ? &n->parent->net4 : &n->parent->net6;
    if (n->addr[i].family == 0 || net->family == 0) {
      return AQ_ERR_ADDRESS;
    }
  }
  return n->naddr > 0 ? 0 : AQ_ERR_ADDRESS;
}

int aq_sim_add_host(aq_sim *s, aq_sim_node parent, const aq_sim_host_params *p,
                    aq_sim_node *out) {
  aq_sim_host_params def;
  aq_vnode *n;
  aq_sim_host_params_init(&def);
  p = p != NULL ? p : &def;
  if (p->naddr > AQ_SIM_MAX_ADDRS) {
    return AQ_ERR_LIMIT;
  }
  int rv = new_node(s, parent, AQ_VNODE_HOST, &n);
  if (rv != 0) {
    return rv;
  }
  rv = choose_host_addrs(n, p);
  if (rv != 0) {
    aq_mem_free(&s->mem, n);
    return rv;
  }
  return join(n, out);
}

/* The outer addresses of the NAT |n|; those of a pool are neighbours. */
static int choose_outer(aq_vnode *n, const aq_sim_nat_params *p) {
  size_t count = p->naddr > 0 ? p->naddr : 1;
  for (size_t i = 0; i < count; i++) {
    aq_addr *a = &n->addr[i];
    if (p->addr[i].family != 0) {
      *a = plain_ip(&p->addr[i]);
    } else {
      *a = i == 0 ? aq_vnet_choose(n->parent, 4)
                  : ip_add(&n->addr[0], (uint32_t)i);
    }
    if (a->family != 4) {
      return AQ_ERR_ADDRESS;
    }
  }
  n->naddr = count;
  return 0;
}

static int choose_nat_addrs(aq_vnode *n, const aq_sim_nat_params *p) {
  uint8_t lan[4] = {192, 168, (uint8_t)n->level, 0};
  int routed = p->mapping == AQ_SIM_MAP_NONE;
  if (!routed && choose_outer(n, p) != 0) {
    return AQ_ERR_ADDRESS;
  }
  if (p->network.family != 0) {
    n->net4 = plain_ip(&p->network);
  } else {
    n->net4 = routed ? new_site(n->s, 4) : aq_addr_v4(lan, 0);
  }
  if (p->v6 != AQ_SIM_V6_OFF) {
    if (n->parent->net6.family == 0) {
      return AQ_ERR_ADDRESS;
    }
    n->net6 = new_site(n->s, 6);
  }
  return n->net4.family == 4 ? 0 : AQ_ERR_INVAL;
}

static int check_nat(const aq_sim_nat_params *p) {
  return (unsigned)p->mapping <= AQ_SIM_MAP_NONE &&
                 (unsigned)p->filtering <= AQ_SIM_FILTER_APD &&
                 (unsigned)p->ports <= AQ_SIM_PORTS_BLOCK &&
                 (unsigned)p->hairpin <= AQ_SIM_HAIRPIN_INTERNAL &&
                 (unsigned)p->v6 <= AQ_SIM_V6_FIREWALL && p->low > 0 &&
                 p->low <= p->high && p->naddr <= AQ_SIM_MAX_ADDRS &&
                 p->idle > 0 && p->max_flows > 0 &&
                 (p->ports != AQ_SIM_PORTS_SEQUENTIAL || p->step != 0) &&
                 p->step >= -65535 && p->step <= 65535 &&
                 (p->ports != AQ_SIM_PORTS_BLOCK ||
                  (p->block_size > 0 && p->max_blocks > 0 &&
                   p->max_blocks <= AQ_SIM_MAX_BLOCKS)) &&
                 p->background >= 0 && p->background <= 1e6
             ? 0
             : AQ_ERR_INVAL;
}

int aq_sim_add_nat(aq_sim *s, aq_sim_node parent, const aq_sim_nat_params *p,
                   aq_sim_node *out) {
  aq_vnode *n;
  if (check_nat(p) != 0) {
    return AQ_ERR_INVAL;
  }
  int rv = new_node(s, parent, AQ_VNODE_NAT, &n);
  if (rv != 0) {
    return rv;
  }
  rv = choose_nat_addrs(n, p);
  if (rv == 0) {
    n->nat = aq_mem_alloc(&s->mem, sizeof(*n->nat));
    rv = n->nat != NULL ? 0 : AQ_ERR_NOMEM;
  }
  if (rv != 0) {
    aq_mem_free(&s->mem, n);
    return rv;
  }
  aq_vnat_init(n->nat, &s->mem, p, aq_sim_seed(s));
  n->nat->background = s->now;
  n->nat->p.naddr = n->naddr;
  memcpy(n->nat->p.addr, n->addr, sizeof(n->addr));
  return join(n, out);
}

/* ---- the way of a datagram --------------------------------------------------
 */

void aq_vnode_drop(aq_vnode *at, aq_vpacket *p, aq_sim_fate why) {
  aq_vtrace(at, p, why);
  aq_vpacket_free(at->s, p);
}

static void send_down(aq_vnode *net, aq_vpacket *p, aq_vnode *child) {
  aq_vlink_send(net, &child->down, p, child, NULL);
}

/* A router's part. Returns 0 when it was used up. */
static int take_hop(aq_vnode *at, aq_vpacket *p) {
  if (p->ttl <= 1) {
    aq_vnode_drop(at, p, AQ_SIM_FATE_TTL);
    return 0;
  }
  p->ttl--;
  return 1;
}

static void through_internet(aq_vnode *net, aq_vpacket *p) {
  if (!take_hop(net, p)) {
    return;
  }
  aq_vroute *r = route_of(net, &p->to);
  if (r == NULL) {
    aq_vnode_drop(net, p, AQ_SIM_FATE_NO_ROUTE);
  } else {
    send_down(net, p, r->child);
  }
}

int aq_vnode_has_addr(const aq_vnode *n, const aq_addr *ip) {
  for (size_t i = 0; i < n->naddr; i++) {
    if (aq_addr_same_ip(&n->addr[i], ip)) {
      return 1;
    }
  }
  return 0;
}

/* From a child of |nat|, for another child or the world. */
static void from_inside(aq_vnode *nat, aq_vpacket *p) {
  aq_vroute *r = route_of(nat, &p->to);
  if (r != NULL) {
    send_down(nat, p, r->child); /* the same network: no router */
    return;
  }
  int hairpin = aq_vnode_has_addr(nat, &p->to);
  aq_addr seen, to;
  aq_sim_fate fate;
  if (!take_hop(nat, p)) {
    return;
  }
  fate = (hairpin ? aq_vnat_hairpin : aq_vnat_out)(
      nat->nat, nat->s->now, &p->from, &p->to, &seen, &to);
  if (fate != AQ_SIM_FATE_FORWARDED) {
    aq_vnode_drop(nat, p, fate);
    return;
  }
  p->from = seen;
  p->to = to;
  aq_vtrace(nat, p, AQ_SIM_FATE_FORWARDED);
  if (!hairpin) {
    aq_vlink_send(nat, &nat->up, p, nat->parent, nat);
  } else if ((r = route_of(nat, &p->to)) != NULL) {
    send_down(nat, p, r->child);
  } else {
    aq_vnode_drop(nat, p, AQ_SIM_FATE_NO_ROUTE);
  }
}

static void from_outside(aq_vnode *nat, aq_vpacket *p) {
  aq_addr shown, inside;
  aq_sim_fate fate =
      aq_vnat_in(nat->nat, nat->s->now, &p->from, &p->to, &shown, &inside);
  if (fate != AQ_SIM_FATE_FORWARDED) {
    aq_vnode_drop(nat, p, fate);
    return;
  }
  if (!take_hop(nat, p)) {
    return;
  }
  p->from = shown;
  p->to = inside;
  aq_vroute *r = route_of(nat, &p->to);
  if (r == NULL) {
    aq_vnode_drop(nat, p, AQ_SIM_FATE_NO_ROUTE);
    return;
  }
  aq_vtrace(nat, p, AQ_SIM_FATE_FORWARDED);
  send_down(nat, p, r->child);
}

void aq_vnode_arrive(aq_vpacket *p) {
  aq_vnode *n = p->node;
  switch (n->kind) {
  case AQ_VNODE_INTERNET:
    through_internet(n, p);
    break;
  case AQ_VNODE_NAT:
    if (p->from_child != NULL) {
      from_inside(n, p);
    } else {
      from_outside(n, p);
    }
    break;
  case AQ_VNODE_HOST:
    aq_vhost_receive(n, p);
    break;
  }
}
