/* world.c - life of a simulation, its clock, and what is in the air.
 *
 * SPDX-License-Identifier: MIT */
#include "sim/sim_int.h"

#include <string.h>

/* Turns at one and the same nanosecond: more means that something spins. */
#define MAX_TURNS 1000000

/* ---- life ------------------------------------------------------------------
 */

uint64_t aq_sim_seed(aq_sim *s) {
  return aq_rand_u64(&s->rand);
}

static aq_vnode *make_internet(aq_sim *s) {
  static const uint8_t net4[4] = {24}, net6[16] = {0x26};
  aq_vnode *n = aq_mem_alloc(&s->mem, sizeof(*n));
  if (n == NULL) {
    return NULL;
  }
  n->s = s;
  n->kind = AQ_VNODE_INTERNET;
  n->net4 = aq_addr_v4(net4, 0);
  n->net6 = aq_addr_v6(net6, 0);
  return n;
}

int aq_sim_new(aq_sim **ps, uint64_t seed, const aq_env *env) {
  aq_mem mem;
  *ps = NULL;
  aq_mem_init(&mem, env);
  aq_sim *s = aq_mem_alloc(&mem, sizeof(*s));
  if (s == NULL) {
    return AQ_ERR_NOMEM;
  }
  s->mem = mem;
  if (env != NULL) {
    s->env = *env;
  }
  s->env.random = NULL;
  s->now = AQ_S;
  s->refs = 1;
  aq_rand_init(&s->rand, seed);
  aq_vtable_init(&s->routes, &mem);
  aq_vtable_init(&s->ports, &mem);
  aq_timer_heap_init(&s->timers, &mem);
  aq_list_init(&s->endpoints);
  aq_list_init(&s->touched);
  aq_vnode *internet = make_internet(s);
  void *nodes = NULL;
  if (internet == NULL || aq_mem_grow(&mem, &nodes, &s->nodecap, 1,
                                      sizeof(*s->node), AQ_SIM_MAX_NODES)) {
    aq_mem_free(&mem, internet);
    aq_mem_free(&mem, s);
    return AQ_ERR_NOMEM;
  }
  s->node = nodes;
  s->node[s->nnode++] = internet;
  *ps = s;
  return 0;
}

static void free_list(aq_sim *s, aq_vpacket *p) {
  while (p != NULL) {
    aq_vpacket *next = p->next;
    aq_mem_free(&s->mem, p);
    p = next;
  }
}

static void empty_node(aq_vnode *n) {
  if (n->kind == AQ_VNODE_HOST) {
    aq_list_each_safe(at, &n->socks) {
      aq_vsock_close(aq_list_entry(at, aq_vsock, of_host));
    }
  }
  aq_vroute_remove(n);
}

static void free_node(aq_sim *s, aq_vnode *n) {
  if (n->nat != NULL) {
    aq_vnat_free(n->nat);
    aq_mem_free(&s->mem, n->nat);
  }
  aq_mem_free(&s->mem, n);
}

void aq_sim_unref(aq_sim *s) {
  if (--s->refs > 0) {
    return;
  }
  for (size_t i = 0; i < s->nnode; i++) {
    empty_node(s->node[i]);
  }
  for (size_t i = 0; i < s->nnode; i++) {
    free_node(s, s->node[i]);
  }
  for (size_t i = 0; i < s->nudp; i++) {
    aq_mem_free(&s->mem, s->udp[i]->in);
    aq_mem_free(&s->mem, s->udp[i]);
  }
  for (size_t i = 0; i < s->nfly; i++) {
    aq_mem_free(&s->mem, s->fly[i]);
  }
  free_list(s, s->free_small);
  free_list(s, s->free_large);
  aq_vtable_free(&s->routes);
  aq_vtable_free(&s->ports);
  aq_timer_heap_free(&s->timers);
  aq_mem_free(&s->mem, s->node);
  aq_mem_free(&s->mem, s->udp);
  aq_mem_free(&s->mem, s->fly);
  aq_mem_free(&s->mem, s->trace);
  aq_mem mem = s->mem;
  aq_mem_free(&mem, s);
}

void aq_sim_del(aq_sim *s) {
  if (s != NULL) {
    s->closed = 1;
    aq_sim_unref(s);
  }
}

aq_tstamp aq_sim_now(const aq_sim *s) {
  return s->now;
}

aq_vnode *aq_vnode_get(const aq_sim *s, aq_sim_node id) {
  return id < s->nnode ? s->node[id] : NULL;
}

/* ---- datagrams -------------------------------------------------------------
 */

aq_vpacket *aq_vpacket_new(aq_sim *s, size_t len) {
  int small = len <= AQ_SIM_SMALL;
  uint32_t room = small ? AQ_SIM_SMALL : AQ_SIM_LARGE;
  aq_vpacket **list = small ? &s->free_small : &s->free_large;
  aq_vpacket *p = *list;
  if (p != NULL) {
    *list = p->next;
    return p;
  }
  /* Not zeroed: all of it is written before it is read. */
  p = aq_mem_resize(&s->mem, NULL, sizeof(*p) + room);
  if (p != NULL) {
    p->room = room;
    p->data = (uint8_t *)(p + 1);
  }
  return p;
}

void aq_vpacket_free(aq_sim *s, aq_vpacket *p) {
  aq_vpacket **list = p->room == AQ_SIM_SMALL ? &s->free_small : &s->free_large;
  p->next = *list;
  *list = p;
}

static int is_before(const aq_vpacket *a, const aq_vpacket *b) {
  return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void aq_vpacket_fly(aq_sim *s, aq_vpacket *p) {
  void *table = s->fly;
  if (aq_mem_grow(&s->mem, &table, &s->flycap, s->nfly + 1, sizeof(*s->fly),
                  AQ_SIM_MAX_FLYING) != 0) {
    aq_vnode_drop(p->node, p, AQ_SIM_FATE_NO_MEMORY);
    return;
  }
  s->fly = table;
  p->order = s->order++;
  size_t i = s->nfly++;
  for (; i > 0 && is_before(p, s->fly[(i - 1) / 2]); i = (i - 1) / 2) {
    s->fly[i] = s->fly[(i - 1) / 2];
  }
  s->fly[i] = p;
}

static aq_vpacket *land(aq_sim *s) {
  aq_vpacket *first = s->fly[0];
  aq_vpacket *last = s->fly[--s->nfly];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= s->nfly) {
      break;
    }
    if (child + 1 < s->nfly && is_before(s->fly[child + 1], s->fly[child])) {
      child++;
    }
    if (!is_before(s->fly[child], last)) {
      break;
    }
    s->fly[i] = s->fly[child];
    i = child;
  }
  if (s->nfly > 0) {
    s->fly[i] = last;
  }
  return first;
}

/* ---- the clock -------------------------------------------------------------
 */

int aq_sim_endpoint_has_events(const aq_sim_endpoint *e) {
  return !e->host->dead && aq_endpoint_has_events(e->ep);
}

/* Drains what was fed. Returns 1 when somebody has events, or an error. */
static int settle(aq_sim *s) {
  int busy = s->udp_waiting > 0;
  aq_list *node;
  while ((node = aq_list_pop_front(&s->touched)) != NULL) {
    aq_sim_endpoint *e = aq_list_entry(node, aq_sim_endpoint, touched);
    int rv = aq_sim_endpoint_flush(e);
    if (rv != 0) {
      return rv;
    }
    busy |= aq_sim_endpoint_has_events(e);
  }
  return busy;
}

/* Returns 0 or AQ_ERR_NOMEM. */
static int turn(aq_sim *s) {
  aq_timer *t;
  while (s->nfly > 0 && s->fly[0]->at <= s->now) {
    aq_vnode_arrive(land(s));
  }
  while ((t = aq_timer_heap_first(&s->timers, s->now)) != NULL) {
    aq_sim_endpoint *e = aq_owner_of(t, aq_sim_endpoint, timer);
    aq_timer_remove(&s->timers, t);
    int rv = aq_vend_timeout(e);
    if (rv != 0) {
      return rv;
    }
  }
  return 0;
}

int aq_sim_step(aq_sim *s, aq_tstamp until) {
  int turns = 0;
  aq_list_each(node, &s->endpoints) {
    /* Verbs may have been called on any of them. */
    aq_vend_touch(aq_list_entry(node, aq_sim_endpoint, node));
  }
  int rv = settle(s);
  while (rv == 0) {
    aq_tstamp t = s->nfly > 0 ? s->fly[0]->at : AQ_NEVER;
    t = aq_time_min(t, aq_timer_heap_next(&s->timers));
    if (t > until || t == AQ_NEVER) {
      s->now = until == AQ_NEVER ? s->now : aq_time_max(s->now, until);
      return 0;
    }
    turns = t > s->now ? 0 : turns + 1;
    if (turns > MAX_TURNS) {
      return AQ_ERR_INTERNAL;
    }
    s->now = aq_time_max(s->now, t);
    rv = turn(s);
    if (rv == 0) {
      rv = settle(s);
    }
  }
  return rv;
}
