/* idmap.c - ids with a generation.
 *
 * SPDX-License-Identifier: MIT */
#include "base/idmap.h"

#include <assert.h>

void aq_idmap_init(aq_idmap *m, const aq_mem *mem) {
  *m = (aq_idmap){.mem = *mem};
}

void aq_idmap_free(aq_idmap *m) {
  aq_mem mem = m->mem;
  aq_mem_free(&mem, m->slot);
  aq_idmap_init(m, &mem);
}

static aq_id idmap_id(const aq_idmap *m, size_t slot) {
  return (aq_id)m->slot[slot].generation << AQ_ID_SLOT_BITS | slot;
}

int aq_idmap_add(aq_idmap *m, uint32_t kind, void *value, aq_id *out) {
  assert(value != NULL);
  size_t at;
  if (m->free_head != 0) {
    at = m->free_head - 1;
    m->free_head = m->slot[at].next_kind;
  } else {
    void *table = m->slot;
    int err = aq_mem_grow(&m->mem, &table, &m->cap, m->used + 1,
                          sizeof(m->slot[0]), AQ_ID_MAX_SLOTS);
    if (err != 0) {
      return err;
    }
    m->slot = table;
    at = m->used++;
    m->slot[at].generation = 1;
  }
  m->slot[at].value = value;
  m->slot[at].next_kind = kind;
  m->count++;
  *out = idmap_id(m, at);
  return 0;
}

void *aq_idmap_find(const aq_idmap *m, aq_id id, uint32_t *kind) {
  size_t at = (size_t)(id & (AQ_ID_MAX_SLOTS - 1));
  if (at >= m->used || m->slot[at].value == NULL ||
      m->slot[at].generation != id >> AQ_ID_SLOT_BITS) {
    return NULL;
  }
  if (kind != NULL) {
    *kind = m->slot[at].next_kind;
  }
  return m->slot[at].value;
}

void *aq_idmap_get(const aq_idmap *m, uint32_t kind, aq_id id) {
  uint32_t k = 0;
  void *value = aq_idmap_find(m, id, &k);
  return k == kind ? value : NULL;
}

void *aq_idmap_remove(aq_idmap *m, aq_id id) {
  void *value = aq_idmap_find(m, id, NULL);
  if (value == NULL) {
    return NULL;
  }
  size_t at = (size_t)(id & (AQ_ID_MAX_SLOTS - 1));
  aq_idmap_slot *s = &m->slot[at];
  s->value = NULL;
  m->count--;
  if (s->generation < AQ_ID_MAX_GENERATION) {
    s->generation++;
    s->next_kind = m->free_head;
    m->free_head = (uint32_t)at + 1;
  }
  return value;
}

size_t aq_idmap_count(const aq_idmap *m) {
  return m->count;
}

void *aq_idmap_next(const aq_idmap *m, uint32_t kind, size_t *cursor,
                    aq_id *id) {
  while (*cursor < m->used) {
    size_t at = (*cursor)++;
    if (m->slot[at].value != NULL && m->slot[at].next_kind == kind) {
      if (id != NULL) {
        *id = idmap_id(m, at);
      }
      return m->slot[at].value;
    }
  }
  return NULL;
}
