/* wire.c - bounded cursors over bytes.
 *
 * SPDX-License-Identifier: MIT */
#include "base/wire.h"

#include <string.h>

void aq_reader_init(aq_reader *r, const uint8_t *data, size_t len) {
  /* Arithmetic on NULL is undefined, even + 0. */
  static const uint8_t nothing[1] = {0};
  *r = (aq_reader){.data = len > 0 ? data : nothing, .len = len};
}

size_t aq_reader_left(const aq_reader *r) {
  return r->err != 0 ? 0 : r->len - r->off;
}

/* Gives |n| bytes in place and moves on, or NULL and fails for good. */
static const uint8_t *reader_take(aq_reader *r, uint64_t n) {
  if (r->err != 0 || n > r->len - r->off) {
    r->err = AQ_ERR_FORMAT;
    return NULL;
  }
  const uint8_t *p = r->data + r->off;
  r->off += (size_t)n;
  return p;
}

static uint64_t reader_number(aq_reader *r, size_t n) {
  const uint8_t *p = reader_take(r, n);
  uint64_t v = 0;
  for (size_t i = 0; p != NULL && i < n; i++) {
    v = v << 8 | p[i];
  }
  return v;
}

uint8_t aq_read_u8(aq_reader *r) {
  return (uint8_t)reader_number(r, 1);
}

uint16_t aq_read_u16(aq_reader *r) {
  return (uint16_t)reader_number(r, 2);
}

uint32_t aq_read_u32(aq_reader *r) {
  return (uint32_t)reader_number(r, 4);
}

uint64_t aq_read_u64(aq_reader *r) {
  return reader_number(r, 8);
}

uint64_t aq_read_varint(aq_reader *r) {
  uint64_t v = 0;
  size_t n =
      r->err != 0 ? 0 : aq_varint_get(&v, r->data + r->off, r->len - r->off);
  if (n == 0) {
    r->err = AQ_ERR_FORMAT;
    return 0;
  }
  r->off += n;
  return v;
}

void aq_read_bytes(aq_reader *r, void *out, size_t n) {
  const uint8_t *p = reader_take(r, n);
  if (n == 0) {
    return;
  }
  if (p == NULL) {
    memset(out, 0, n);
  } else {
    memcpy(out, p, n);
  }
}

const uint8_t *aq_read_view(aq_reader *r, uint64_t n) {
  return reader_take(r, n);
}

void aq_read_skip(aq_reader *r, uint64_t n) {
  reader_take(r, n);
}

void aq_writer_init(aq_writer *w, uint8_t *data, size_t cap) {
  *w = (aq_writer){.data = data, .cap = cap};
}

void aq_write_bytes(aq_writer *w, const void *p, size_t n) {
  if (w->err != 0 || n > w->cap - w->off) {
    w->err = AQ_ERR_TOO_LARGE;
    return;
  }
  if (n > 0) {
    memcpy(w->data + w->off, p, n);
    w->off += n;
  }
}

static void writer_number(aq_writer *w, uint64_t v, size_t n) {
  uint8_t b[8];
  for (size_t i = 0; i < n; i++) {
    b[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
  }
  aq_write_bytes(w, b, n);
}

void aq_write_u8(aq_writer *w, uint8_t v) {
  writer_number(w, v, 1);
}

void aq_write_u16(aq_writer *w, uint16_t v) {
  writer_number(w, v, 2);
}

void aq_write_u32(aq_writer *w, uint32_t v) {
  writer_number(w, v, 4);
}

void aq_write_u64(aq_writer *w, uint64_t v) {
  writer_number(w, v, 8);
}

void aq_write_varint(aq_writer *w, uint64_t v) {
  uint8_t b[8];
  if (v > AQ_VARINT_MAX) {
    w->err = AQ_ERR_TOO_LARGE;
    return;
  }
  aq_write_bytes(w, b, aq_varint_put(b, v));
}

size_t aq_writer_end(const aq_writer *w) {
  return w->err != 0 ? 0 : w->off;
}

size_t aq_varint_len(uint64_t v) {
  if (v < 0x40) {
    return 1;
  }
  if (v < 0x4000) {
    return 2;
  }
  if (v < 0x40000000) {
    return 4;
  }
  return v <= AQ_VARINT_MAX ? 8 : 0;
}

size_t aq_varint_get(uint64_t *v, const uint8_t *data, size_t len) {
  if (len == 0) {
    return 0;
  }
  size_t n = (size_t)1 << (data[0] >> 6);
  if (n > len) {
    return 0;
  }
  uint64_t x = data[0] & 0x3f;
  for (size_t i = 1; i < n; i++) {
    x = x << 8 | data[i];
  }
  *v = x;
  return n;
}

size_t aq_varint_put(uint8_t *out, uint64_t v) {
  static const uint8_t prefix[9] = {0, 0, 0x40, 0, 0x80, 0, 0, 0, 0xc0};
  size_t n = aq_varint_len(v);
  for (size_t i = 0; i < n; i++) {
    out[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
  }
  out[0] |= prefix[n];
  return n;
}
