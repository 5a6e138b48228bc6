/* hash.h - table from short byte keys to pointers, safe against chosen keys.
 *
 * Layer:  base
 * Owner:  keys are copied, values are borrowed; grows through aq_mem
 * Time:   none
 * Spec:   SipHash-1-3 with a random salt decides the bucket, so that a peer
 *         that picks its keys (connection ids) can't pick collisions
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_HASH_H
#define AQ_BASE_HASH_H

#include "base/mem.h"

#define AQ_HASH_MAX_KEY 32

typedef struct aq_hash_entry {
  void *value; /* NULL: empty */
  uint32_t tag;
  uint8_t keylen;
  uint8_t key[AQ_HASH_MAX_KEY];
} aq_hash_entry;

typedef struct aq_hash {
  aq_mem mem;
  uint64_t salt[2];
  aq_hash_entry *entry;
  size_t cap; /* 0 or a power of two */
  size_t count;
} aq_hash;

/* aq_hash_init: |salt| should be random. Nothing is allocated yet. */
void aq_hash_init(aq_hash *h, const aq_mem *mem, const uint64_t salt[2]);
void aq_hash_free(aq_hash *h);
/* aq_hash_put inserts or replaces. |value| must not be NULL.
 * Returns 0, AQ_ERR_INVAL (key longer than AQ_HASH_MAX_KEY) or
 * AQ_ERR_NOMEM (nothing changed). */
int aq_hash_put(aq_hash *h, const void *key, size_t keylen, void *value);
void *aq_hash_get(const aq_hash *h, const void *key, size_t keylen);
/* aq_hash_remove gives the value that was there, or NULL. */
void *aq_hash_remove(aq_hash *h, const void *key, size_t keylen);
size_t aq_hash_count(const aq_hash *h);
/* aq_hash_next walks: start with *cursor 0, until NULL. The table must not be
 * changed meanwhile. */
void *aq_hash_next(const aq_hash *h, size_t *cursor);

/* aq_siphash is SipHash-1-3 of |len| bytes. */
uint64_t aq_siphash(const uint64_t salt[2], const void *data, size_t len);
/* aq_mix64 scrambles a number (a bijection; the SplitMix64 finisher). */
uint64_t aq_mix64(uint64_t x);

#endif
