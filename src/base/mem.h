/* mem.h - all memory of the core goes through an aq_mem.
 *
 * Layer:  base
 * Owner:  an aq_mem is copied from an aq_env; blocks belong to whoever asked
 * Time:   none
 * Spec:   none
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_MEM_H
#define AQ_BASE_MEM_H

#include "antquic.h"

typedef struct aq_mem {
  void *(*realloc)(void *user, void *ptr, size_t size); /* size 0 frees */
  void *user;
} aq_mem;

/* aq_mem_init takes env->realloc; the C library's when |env| or it is NULL. */
void aq_mem_init(aq_mem *m, const aq_env *env);

/* aq_mem_alloc gives |size| zeroed bytes (at least one), or NULL. */
void *aq_mem_alloc(const aq_mem *m, size_t size);
/* aq_mem_array gives |n| zeroed elements of |size|; NULL also on overflow. */
void *aq_mem_array(const aq_mem *m, size_t n, size_t size);
/* aq_mem_resize keeps the contents, new bytes are not zeroed. NULL: the old
 * block is untouched. |size| must not be 0. */
void *aq_mem_resize(const aq_mem *m, void *ptr, size_t size);
/* aq_mem_dup copies |len| bytes and adds a NUL. */
void *aq_mem_dup(const aq_mem *m, const void *data, size_t len);
/* aq_mem_free: NULL is allowed. */
void aq_mem_free(const aq_mem *m, void *ptr);
/* aq_mem_wipe zeroes in a way that the compiler does not remove. */
void aq_mem_wipe(void *ptr, size_t len);

/* aq_mem_grow makes room for |need| elements of |elem| bytes in the array
 * *parray of *pcap elements, by doubling and to |max| at most; new elements
 * are zeroed. Returns 0, or with the array untouched:
 *   AQ_ERR_LIMIT  |need| is more than |max|
 *   AQ_ERR_NOMEM  no memory, or the size does not fit size_t */
int aq_mem_grow(const aq_mem *m, void **parray, size_t *pcap, size_t need,
                size_t elem, size_t max);

#endif
