/* fault.c - what a script does to the network.
 *
 * SPDX-License-Identifier: MIT */
#include "sim/sim_int.h"

#include <string.h>

static aq_vnode *get(const aq_sim *s, aq_sim_node id, aq_vkind kind) {
  aq_vnode *n = aq_vnode_get(s, id);
  return n != NULL && n->kind == kind ? n : NULL;
}

/* Puts the node with the addresses |v| into |parent|; nothing has changed when
 * that fails. */
static int readdress(aq_vnode *n, aq_vnode *parent, const aq_addr *v,
                     size_t count) {
  aq_vnode *old_parent = n->parent;
  aq_addr old[AQ_SIM_MAX_ADDRS];
  size_t nold = n->naddr;
  memcpy(old, n->addr, sizeof(old));
  aq_vroute_remove(n);
  n->parent = parent;
  n->naddr = count;
  for (size_t i = 0; i < count; i++) {
    n->addr[i] = v[i];
    n->addr[i].port = 0;
  }
  int rv = aq_vroute_add(n);
  if (rv == 0) {
    return 0;
  }
  n->parent = old_parent;
  n->naddr = nold;
  memcpy(n->addr, old, sizeof(old));
  /* The routes that went a moment ago have their memory again, or the node is
   * nowhere. */
  return aq_vroute_add(n) == 0 ? rv : AQ_ERR_NOMEM;
}

/* ---- links ------------------------------------------------------------------
 */

int aq_sim_set_link(aq_sim *s, aq_sim_node id, unsigned directions,
                    const aq_sim_link *link) {
  aq_vnode *n = aq_vnode_get(s, id);
  if (n == NULL || n->kind == AQ_VNODE_INTERNET || directions == 0 ||
      directions > AQ_SIM_BOTH || aq_sim_link_check(link) != 0) {
    return AQ_ERR_INVAL;
  }
  if (directions & AQ_SIM_UP) {
    n->up.p = *link;
  }
  if (directions & AQ_SIM_DOWN) {
    n->down.p = *link;
  }
  return 0;
}

int aq_sim_get_link(const aq_sim *s, aq_sim_node id, unsigned direction,
                    aq_sim_link *out) {
  const aq_vnode *n = aq_vnode_get(s, id);
  if (n == NULL || n->kind == AQ_VNODE_INTERNET ||
      (direction != AQ_SIM_UP && direction != AQ_SIM_DOWN)) {
    return AQ_ERR_INVAL;
  }
  *out = direction == AQ_SIM_UP ? n->up.p : n->down.p;
  return 0;
}

int aq_sim_black_hole(aq_sim *s, aq_sim_node id, int on) {
  aq_vnode *n = aq_vnode_get(s, id);
  if (n == NULL || n->kind == AQ_VNODE_INTERNET) {
    return AQ_ERR_INVAL;
  }
  n->up.p.down = (uint8_t)(on != 0);
  n->down.p.down = (uint8_t)(on != 0);
  return 0;
}

/* ---- NATs -------------------------------------------------------------------
 */

int aq_sim_rebind(aq_sim *s, aq_sim_node id, int new_ports) {
  aq_vnode *n = get(s, id, AQ_VNODE_NAT);
  if (n == NULL) {
    return AQ_ERR_INVAL;
  }
  aq_vnat_forget(n->nat);
  if (new_ports) {
    uint32_t span = (uint32_t)(n->nat->p.high - n->nat->p.low) + 1;
    n->nat->shift = 1 + (uint32_t)aq_rand_below(&n->nat->rand, span - 1);
    n->nat->seq = (uint32_t)aq_rand_below(&n->nat->rand, span);
  }
  return 0;
}

int aq_sim_renumber(aq_sim *s, aq_sim_node id, const aq_addr *addr) {
  aq_vnode *n = get(s, id, AQ_VNODE_NAT);
  if (n == NULL || n->naddr == 0 || addr->family != 4) {
    return AQ_ERR_INVAL;
  }
  aq_addr v[AQ_SIM_MAX_ADDRS];
  memcpy(v, n->addr, sizeof(v));
  v[0] = *addr;
  int rv = readdress(n, n->parent, v, n->naddr);
  if (rv != 0) {
    return rv;
  }
  n->nat->p.addr[0] = n->addr[0];
  aq_vnat_forget(n->nat);
  return 0;
}

int aq_sim_block(aq_sim *s, aq_sim_node id, int on) {
  aq_vnode *n = get(s, id, AQ_VNODE_NAT);
  if (n == NULL) {
    return AQ_ERR_INVAL;
  }
  n->nat->p.blocked = (uint8_t)(on != 0);
  return 0;
}

int aq_sim_burn(aq_sim *s, aq_sim_node id, uint32_t count) {
  aq_vnode *n = get(s, id, AQ_VNODE_NAT);
  if (n == NULL) {
    return AQ_ERR_INVAL;
  }
  aq_vnat_burn(n->nat, count);
  return 0;
}

/* ---- hosts
 * -------------------------------------------------------------------
 */

int aq_sim_kill(aq_sim *s, aq_sim_node id, int on) {
  aq_vnode *n = get(s, id, AQ_VNODE_HOST);
  if (n == NULL) {
    return AQ_ERR_INVAL;
  }
  n->dead = (uint8_t)(on != 0);
  aq_list_each(node, &n->endpoints) {
    aq_sim_endpoint *e = aq_list_entry(node, aq_sim_endpoint, of_host);
    if (n->dead) {
      aq_timer_remove(&s->timers, &e->timer);
      aq_list_remove(&e->touched);
    } else {
      aq_vend_touch(e);
    }
  }
  return 0;
}

/* Puts |v| in place of the host's addresses, and tells the endpoints. */
static int change_addrs(aq_vnode *n, aq_vnode *parent, const aq_addr *v,
                        size_t count) {
  int rv = readdress(n, parent, v, count);
  if (rv != 0) {
    return rv;
  }
  aq_list_each(node, &n->endpoints) {
    aq_sim_endpoint *e = aq_list_entry(node, aq_sim_endpoint, of_host);
    rv = rv != 0 ? rv : aq_vend_addresses(e);
    aq_vend_touch(e);
  }
  return rv;
}

int aq_sim_set_addrs(aq_sim *s, aq_sim_node id, const aq_addr *v, size_t n) {
  aq_vnode *host = get(s, id, AQ_VNODE_HOST);
  if (host == NULL || n > AQ_SIM_MAX_ADDRS) {
    return AQ_ERR_INVAL;
  }
  return change_addrs(host, host->parent, v, n);
}

int aq_sim_move(aq_sim *s, aq_sim_node id, aq_sim_node parent) {
  aq_vnode *host = get(s, id, AQ_VNODE_HOST);
  aq_vnode *net = aq_vnode_get(s, parent);
  aq_addr v[AQ_SIM_MAX_ADDRS];
  size_t n = 0;
  if (host == NULL || net == NULL || net->kind == AQ_VNODE_HOST) {
    return AQ_ERR_INVAL;
  }
  for (int family = 4; family <= 6; family += 2) {
    int had = 0;
    for (size_t i = 0; i < host->naddr; i++) {
      had |= host->addr[i].family == family;
    }
    aq_addr a = aq_vnet_choose(net, family);
    if (had && a.family != 0) {
      v[n++] = a;
    }
  }
  return change_addrs(host, net, v, n);
}

/* ---- looking
 * -------------------------------------------------------------------
 */

int aq_sim_get_counters(const aq_sim *s, aq_sim_node id, aq_sim_counters *out) {
  const aq_vnode *n = aq_vnode_get(s, id);
  memset(out, 0, sizeof(*out));
  if (n == NULL) {
    return AQ_ERR_INVAL;
  }
  memcpy(out->fate, n->fate, sizeof(out->fate));
  out->trace_lost = s->trace_lost;
  if (n->nat != NULL) {
    aq_vnat_expire(n->nat, s->now);
    out->mappings_created = n->nat->created;
    out->mappings_expired = n->nat->expired;
    out->mappings = (uint32_t)n->nat->maps_in.count;
    out->flows = (uint32_t)n->nat->flows_out.count;
  }
  return 0;
}
