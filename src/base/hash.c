/* hash.c - open addressing with linear probing and backward-shift removal.
 *
 * SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include <assert.h>
#include <string.h>

uint64_t aq_mix64(uint64_t x) {
  x ^= x >> 30;
  x *= UINT64_C(0xbf58476d1ce4e5b9);
  x ^= x >> 27;
  x *= UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

static uint64_t sip_rotl(uint64_t x, unsigned n) {
  return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[4]) {
  v[0] += v[1];
  v[1] = sip_rotl(v[1], 13) ^ v[0];
  v[0] = sip_rotl(v[0], 32);
  v[2] += v[3];
  v[3] = sip_rotl(v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = sip_rotl(v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = sip_rotl(v[1], 17) ^ v[2];
  v[2] = sip_rotl(v[2], 32);
}

static uint64_t sip_load(const uint8_t *p, size_t n) {
  uint64_t x = 0;
  for (size_t i = 0; i < n; i++) {
    x |= (uint64_t)p[i] << (8 * i);
  }
  return x;
}

uint64_t aq_siphash(const uint64_t salt[2], const void *data, size_t len) {
  const uint8_t *p = data;
  uint64_t v[4] = {salt[0] ^ UINT64_C(0x736f6d6570736575),
                   salt[1] ^ UINT64_C(0x646f72616e646f6d),
                   salt[0] ^ UINT64_C(0x6c7967656e657261),
                   salt[1] ^ UINT64_C(0x7465646279746573)};
  size_t left = len;
  for (; left >= 8; left -= 8, p += 8) {
    uint64_t word = sip_load(p, 8);
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
  }
  uint64_t last = (uint64_t)len << 56 | sip_load(p, left);
  v[3] ^= last;
  sip_round(v);
  v[0] ^= last;
  v[2] ^= 0xff;
  for (int i = 0; i < 3; i++) {
    sip_round(v);
  }
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void aq_hash_init(aq_hash *h, const aq_mem *mem, const uint64_t salt[2]) {
  *h = (aq_hash){.mem = *mem, .salt = {salt[0], salt[1]}};
}

void aq_hash_free(aq_hash *h) {
  aq_mem_free(&h->mem, h->entry);
  h->entry = NULL;
  h->cap = 0;
  h->count = 0;
}

/* The entry that holds the key, or the empty one where it would go. */
static aq_hash_entry *hash_find(const aq_hash *h, uint32_t tag, const void *key,
                                size_t keylen) {
  size_t i = tag & (h->cap - 1);
  for (;; i = (i + 1) & (h->cap - 1)) {
    aq_hash_entry *e = &h->entry[i];
    if (e->value == NULL ||
        (e->tag == tag && e->keylen == keylen &&
         (keylen == 0 || memcmp(e->key, key, keylen) == 0))) {
      return e;
    }
  }
}

static int hash_grow(aq_hash *h) {
  size_t cap = h->cap > 0 ? h->cap * 2 : 16;
  aq_hash_entry *table = aq_mem_array(&h->mem, cap, sizeof(*table));
  if (table == NULL) {
    return AQ_ERR_NOMEM;
  }
  for (size_t i = 0; i < h->cap; i++) {
    if (h->entry[i].value == NULL) {
      continue;
    }
    size_t at = h->entry[i].tag & (cap - 1);
    while (table[at].value != NULL) {
      at = (at + 1) & (cap - 1);
    }
    table[at] = h->entry[i];
  }
  aq_mem_free(&h->mem, h->entry);
  h->entry = table;
  h->cap = cap;
  return 0;
}

int aq_hash_put(aq_hash *h, const void *key, size_t keylen, void *value) {
  assert(value != NULL);
  if (keylen > AQ_HASH_MAX_KEY) {
    return AQ_ERR_INVAL;
  }
  uint32_t tag = (uint32_t)aq_siphash(h->salt, key, keylen);
  if (h->cap > 0) {
    aq_hash_entry *e = hash_find(h, tag, key, keylen);
    if (e->value != NULL) {
      e->value = value;
      return 0;
    }
  }
  if ((h->count + 1) * 4 > h->cap * 3) {
    int err = hash_grow(h);
    if (err != 0) {
      return err;
    }
  }
  aq_hash_entry *e = hash_find(h, tag, key, keylen);
  e->value = value;
  e->tag = tag;
  e->keylen = (uint8_t)keylen;
  if (keylen > 0) {
    memcpy(e->key, key, keylen);
  }
  h->count++;
  return 0;
}

void *aq_hash_get(const aq_hash *h, const void *key, size_t keylen) {
  if (h->count == 0 || keylen > AQ_HASH_MAX_KEY) {
    return NULL;
  }
  uint32_t tag = (uint32_t)aq_siphash(h->salt, key, keylen);
  return hash_find(h, tag, key, keylen)->value;
}

void *aq_hash_remove(aq_hash *h, const void *key, size_t keylen) {
  if (h->count == 0 || keylen > AQ_HASH_MAX_KEY) {
    return NULL;
  }
  uint32_t tag = (uint32_t)aq_siphash(h->salt, key, keylen);
  aq_hash_entry *e = hash_find(h, tag, key, keylen);
  void *value = e->value;
  if (value == NULL) {
    return NULL;
  }
  /* Close the gap: pull back what may stand in it, so that no search ends
   * early and no tombstones pile up. */
  size_t mask = h->cap - 1;
  size_t gap = (size_t)(e - h->entry);
  for (size_t i = (gap + 1) & mask; h->entry[i].value != NULL;
       i = (i + 1) & mask) {
    size_t home = h->entry[i].tag & mask;
    if (((i - home) & mask) >= ((i - gap) & mask)) {
      h->entry[gap] = h->entry[i];
      gap = i;
    }
  }
  memset(&h->entry[gap], 0, sizeof(h->entry[gap]));
  h->count--;
  return value;
}

size_t aq_hash_count(const aq_hash *h) {
  return h->count;
}

void *aq_hash_next(const aq_hash *h, size_t *cursor) {
  while (*cursor < h->cap) {
    void *value = h->entry[(*cursor)++].value;
    if (value != NULL) {
      return value;
    }
  }
  return NULL;
}
