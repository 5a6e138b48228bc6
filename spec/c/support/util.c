/* util.c - small things that tests share.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

static int util_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t util_hex(uint8_t *out, size_t cap, const char *hex) {
  size_t n = 0;
  while (*hex != '\0') {
    if (*hex == ' ' || *hex == '\n' || *hex == '\t') {
      hex++;
      continue;
    }
    int hi = util_digit(hex[0]);
    int lo = hi < 0 ? -1 : util_digit(hex[1]);
    assert_true(hi >= 0 && lo >= 0);
    assert_true(n < cap);
    out[n++] = (uint8_t)(hi << 4 | lo);
    hex += 2;
  }
  return n;
}

aq_addr util_addr(const char *text) {
  aq_addr a;
  assert_int_equal(aq_addr_parse(&a, text, strlen(text)), 0);
  return a;
}

uint8_t *util_exact(const uint8_t *data, size_t len) {
  uint8_t *p = malloc(len > 0 ? len : 1);
  assert_non_null(p);
  if (len > 0) {
    memcpy(p, data, len);
  }
  return p;
}

void util_assert_addr(const aq_addr *a, const char *text) {
  char buf[AQ_ADDR_STRLEN];
  assert_string_equal(aq_addr_format(a, buf), text);
}

void *util_heap_realloc(void *user, void *ptr, size_t size) {
  util_heap *h = user;
  if (size == 0) {
    h->live -= ptr != NULL;
    free(ptr);
    return NULL;
  }
  if (++h->calls == h->fail_at) {
    return NULL;
  }
  void *p = realloc(ptr, size);
  h->live += p != NULL && ptr == NULL;
  return p;
}

aq_env util_heap_env(util_heap *h) {
  return (aq_env){.realloc = util_heap_realloc, .user = h};
}

int util_mac(uint8_t out[16], const uint8_t *key, size_t keylen,
             const uint8_t *data, size_t len) {
  uint64_t h[2] = {UINT64_C(0xcbf29ce484222325), UINT64_C(0x84222325cbf29ce4)};
  for (size_t i = 0; i < keylen + len; i++) {
    uint8_t b = i < keylen ? key[i] : data[i - keylen];
    for (int k = 0; k < 2; k++) {
      h[k] = (h[k] ^ b) * UINT64_C(0x100000001b3);
      h[k] ^= h[k] >> (29 + k);
    }
  }
  memcpy(out, h, 16);
  return 0;
}

uint64_t util_random(uint64_t *state) {
  uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}
