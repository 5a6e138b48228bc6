/* table.c - see table.h.
 *
 * SPDX-License-Identifier: MIT */
#include "sim/table.h"

#include "base/hash.h"

#include <string.h>

void aq_vtable_init(aq_vtable *t, const aq_mem *mem) {
  *t = (aq_vtable){.mem = *mem};
}

void aq_vtable_free(aq_vtable *t) {
  aq_mem_free(&t->mem, t->bucket);
  t->bucket = NULL;
  t->cap = 0;
  t->count = 0;
}

static void link_at(aq_vtable *t, aq_ventry *e) {
  aq_ventry **at = &t->bucket[e->hash & (t->cap - 1)];
  e->next = *at;
  *at = e;
}

/* The order of equal hashes must stay: the chain is turned over twice. */
static void move_chain(aq_vtable *to, aq_ventry *chain) {
  aq_ventry *turned = NULL;
  while (chain != NULL) {
    aq_ventry *next = chain->next;
    chain->next = turned;
    turned = chain;
    chain = next;
  }
  while (turned != NULL) {
    aq_ventry *next = turned->next;
    link_at(to, turned);
    turned = next;
  }
}

int aq_vtable_reserve(aq_vtable *t) {
  if (t->count < t->cap) {
    return 0;
  }
  aq_vtable wide = *t;
  wide.cap = t->cap > 0 ? 2 * t->cap : 16;
  wide.bucket = aq_mem_array(&t->mem, wide.cap, sizeof(aq_ventry *));
  if (wide.bucket == NULL) {
    return AQ_ERR_NOMEM;
  }
  for (size_t i = 0; i < t->cap; i++) {
    move_chain(&wide, t->bucket[i]);
  }
  aq_mem_free(&t->mem, t->bucket);
  *t = wide;
  return 0;
}

void aq_vtable_add(aq_vtable *t, aq_ventry *e, uint64_t hash) {
  e->hash = hash;
  link_at(t, e);
  t->count++;
}

void aq_vtable_remove(aq_vtable *t, aq_ventry *e) {
  aq_ventry **at = &t->bucket[e->hash & (t->cap - 1)];
  while (*at != e) {
    at = &(*at)->next;
  }
  *at = e->next;
  e->next = NULL;
  t->count--;
}

static aq_ventry *same(aq_ventry *e, uint64_t hash) {
  while (e != NULL && e->hash != hash) {
    e = e->next;
  }
  return e;
}

aq_ventry *aq_vtable_first(const aq_vtable *t, uint64_t hash) {
  return t->cap > 0 ? same(t->bucket[hash & (t->cap - 1)], hash) : NULL;
}

aq_ventry *aq_vtable_next(const aq_ventry *e) {
  return same(e->next, e->hash);
}

static uint64_t word(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, sizeof(v));
  return v;
}

uint64_t aq_vhash_ip(const aq_addr *a) {
  if (a->family == 4) {
    return aq_mix64(word(a->ip));
  }
  return aq_mix64(aq_mix64(word(a->ip)) + word(a->ip + 8) + 6);
}

uint64_t aq_vhash_addr(const aq_addr *a) {
  return aq_vhash_two(aq_vhash_ip(a), a->port);
}

uint64_t aq_vhash_two(uint64_t a, uint64_t b) {
  return aq_mix64(a ^ (b * UINT64_C(0x9e3779b97f4a7c15)));
}
