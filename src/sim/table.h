/* table.h - a hash table of things that hold their own links.
 *
 * Layer:  sim
 * Owner:  entries are embedded in the caller's objects and borrowed
 * Time:   none
 * Spec:   none
 *
 * Several entries may have the same hash: the caller compares. The newest comes
 * first. Nobody chooses keys to do harm here, so the hash is a cheap one.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_SIM_TABLE_H
#define AQ_SIM_TABLE_H

#include "base/mem.h"
#include "base/owner.h"

typedef struct aq_ventry {
  struct aq_ventry *next;
  uint64_t hash;
} aq_ventry;

typedef struct aq_vtable {
  aq_mem mem;
  aq_ventry **bucket;
  size_t cap; /* 0 or a power of two */
  size_t count;
} aq_vtable;

void aq_vtable_init(aq_vtable *t, const aq_mem *mem);
/* aq_vtable_free forgets the entries. */
void aq_vtable_free(aq_vtable *t);
/* aq_vtable_reserve makes room for one more, so that the next add can't fail.
 * Returns 0 or AQ_ERR_NOMEM. */
int aq_vtable_reserve(aq_vtable *t);
void aq_vtable_add(aq_vtable *t, aq_ventry *e, uint64_t hash);
void aq_vtable_remove(aq_vtable *t, aq_ventry *e);
/* The newest entry with that hash, and the next older one; NULL at the end. */
aq_ventry *aq_vtable_first(const aq_vtable *t, uint64_t hash);
aq_ventry *aq_vtable_next(const aq_ventry *e);

/* Hashes of an address with its port, of its IP alone, and of two things. */
uint64_t aq_vhash_addr(const aq_addr *a);
uint64_t aq_vhash_ip(const aq_addr *a);
uint64_t aq_vhash_two(uint64_t a, uint64_t b);

#endif
