/* util.h - small things that tests share: hex, addresses, exact copies,
 * an allocator that fails on demand.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SPEC_SUPPORT_UTIL_H
#define SPEC_SUPPORT_UTIL_H

#include "antquic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* util_hex reads hex digits, skipping blanks; fails the test on others. */
size_t util_hex(uint8_t *out, size_t cap, const char *hex);
/* util_addr parses or fails the test. */
aq_addr util_addr(const char *text);
/* util_exact copies |len| bytes to a block of just that size, so that one byte
 * too far is seen by AddressSanitizer. Free it. */
uint8_t *util_exact(const uint8_t *data, size_t len);
void util_assert_addr(const aq_addr *a, const char *text);

/* An allocator for an aq_env: |fail_at| is the number of the allocation (from
 * 1) that gives NULL, 0 for none; |live| counts blocks. */
typedef struct util_heap {
  size_t calls;
  size_t fail_at;
  size_t live;
} util_heap;
void *util_heap_realloc(void *user, void *ptr, size_t size);
aq_env util_heap_env(util_heap *h);

/* A stand-in for HMAC: depends on every bit of key and data. */
int util_mac(uint8_t out[16], const uint8_t *key, size_t keylen,
             const uint8_t *data, size_t len);

/* util_random gives the next of a fixed stream of numbers. */
uint64_t util_random(uint64_t *state);

#endif
