/* mem.c - the only file that names the C library's allocator.
 *
 * SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static void *mem_default(void *user, void *ptr, size_t size) {
  (void)user;
  if (size == 0) {
    free(ptr);
    return NULL;
  }
  return realloc(ptr, size);
}

void aq_mem_init(aq_mem *m, const aq_env *env) {
  *m = (aq_mem){.realloc = mem_default};
  if (env != NULL && env->realloc != NULL) {
    m->realloc = env->realloc;
    m->user = env->user;
  }
}

void *aq_mem_alloc(const aq_mem *m, size_t size) {
  if (size == 0) {
    size = 1;
  }
  void *p = m->realloc(m->user, NULL, size);
  if (p != NULL) {
    memset(p, 0, size);
  }
  return p;
}

void *aq_mem_array(const aq_mem *m, size_t n, size_t size) {
  if (size != 0 && n > SIZE_MAX / size) {
    return NULL;
  }
  return aq_mem_alloc(m, n * size);
}

void *aq_mem_resize(const aq_mem *m, void *ptr, size_t size) {
  return size == 0 ? NULL : m->realloc(m->user, ptr, size);
}

void *aq_mem_dup(const aq_mem *m, const void *data, size_t len) {
  if (len == SIZE_MAX) {
    return NULL;
  }
  char *p = m->realloc(m->user, NULL, len + 1);
  if (p != NULL) {
    if (len > 0) {
      memcpy(p, data, len);
    }
    p[len] = '\0';
  }
  return p;
}

void aq_mem_free(const aq_mem *m, void *ptr) {
  if (ptr != NULL) {
    m->realloc(m->user, ptr, 0);
  }
}

/* The compiler can't know what a volatile pointer points to, so the call
 * stays; byte by byte through a volatile one costs twenty times as much. */
static void *(*const volatile wipe_with)(void *, int, size_t) = memset;

void aq_mem_wipe(void *ptr, size_t len) {
  if (len > 0) {
    wipe_with(ptr, 0, len);
  }
}

int aq_mem_grow(const aq_mem *m, void **parray, size_t *pcap, size_t need,
                size_t elem, size_t max) {
  if (need <= *pcap) {
    return 0;
  }
  if (need > max) {
    return AQ_ERR_LIMIT;
  }
  size_t cap = *pcap > 0 ? *pcap : 8;
  while (cap < need) {
    cap = cap > max / 2 ? max : cap * 2;
  }
  if (cap > max) {
    cap = max;
  }
  if (elem != 0 && cap > SIZE_MAX / elem) {
    return AQ_ERR_NOMEM;
  }
  char *p = aq_mem_resize(m, *parray, cap * elem);
  if (p == NULL) {
    return AQ_ERR_NOMEM;
  }
  memset(p + *pcap * elem, 0, (cap - *pcap) * elem);
  *parray = p;
  *pcap = cap;
  return 0;
}
