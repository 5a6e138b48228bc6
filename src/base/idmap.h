/* idmap.h - ids with a generation: a stale one is never another's.
 *
 * Layer:  base
 * Owner:  holds pointers it does not own; its table grows through aq_mem
 * Time:   none
 * Spec:   none
 *
 * aq_id = generation (28 bits, from 1) << 24 | slot (24 bits). Kinds (a
 * connection, a stream, ...) share one map; asking with the wrong kind gives
 * NULL as a stale id does. A slot whose generations are used up is retired.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_IDMAP_H
#define AQ_BASE_IDMAP_H

#include "base/mem.h"

#define AQ_ID_SLOT_BITS 24
#define AQ_ID_GENERATION_BITS 28
#define AQ_ID_MAX_SLOTS ((size_t)1 << AQ_ID_SLOT_BITS)
#define AQ_ID_MAX_GENERATION (((uint32_t)1 << AQ_ID_GENERATION_BITS) - 1)

typedef struct aq_idmap_slot {
  void *value;         /* NULL: free */
  uint32_t generation; /* of the present or next use */
  uint32_t next_kind;  /* free: next free slot + 1; used: the kind */
} aq_idmap_slot;

typedef struct aq_idmap {
  aq_mem mem;
  aq_idmap_slot *slot;
  size_t cap;
  size_t used;  /* slots ever used */
  size_t count; /* values in the map */
  uint32_t free_head;
} aq_idmap;

void aq_idmap_init(aq_idmap *m, const aq_mem *mem);
/* aq_idmap_free forgets the table, not the values. */
void aq_idmap_free(aq_idmap *m);
/* aq_idmap_add: |value| must not be NULL, |kind| is any number.
 * Returns 0, AQ_ERR_NOMEM or AQ_ERR_LIMIT (every slot is taken). */
int aq_idmap_add(aq_idmap *m, uint32_t kind, void *value, aq_id *out);
/* NULL: never given out, stale, or of another kind. */
void *aq_idmap_get(const aq_idmap *m, uint32_t kind, aq_id id);
/* aq_idmap_find tells the kind too; |kind| may be NULL. */
void *aq_idmap_find(const aq_idmap *m, aq_id id, uint32_t *kind);
/* aq_idmap_remove makes |id| stale. Returns its value, or NULL. */
void *aq_idmap_remove(aq_idmap *m, aq_id id);
size_t aq_idmap_count(const aq_idmap *m);
/* aq_idmap_next walks values of |kind|: start with *cursor 0, until NULL. What
 * is removed or added during the walk does no harm. |id| may be NULL. */
void *aq_idmap_next(const aq_idmap *m, uint32_t kind, size_t *cursor,
                    aq_id *id);

#endif
