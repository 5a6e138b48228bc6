/* wire.h - bounded cursors over bytes: network order and QUIC varints.
 *
 * Layer:  base
 * Owner:  the buffer is borrowed by the cursor
 * Time:   none
 * Spec:   RFC 9000 section 16
 *
 * Both cursors are sticky: after the first failure |err| stays set, reads give
 * zero and writes do nothing, so a codec checks once at its end.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_WIRE_H
#define AQ_BASE_WIRE_H

#include "antquic.h"

#define AQ_VARINT_MAX ((UINT64_C(1) << 62) - 1)

typedef struct aq_reader {
  const uint8_t *data;
  size_t len;
  size_t off;
  int err; /* 0 or AQ_ERR_FORMAT: more was asked than there is */
} aq_reader;

void aq_reader_init(aq_reader *r, const uint8_t *data, size_t len);
size_t aq_reader_left(const aq_reader *r);
uint8_t aq_read_u8(aq_reader *r);
uint16_t aq_read_u16(aq_reader *r);
uint32_t aq_read_u32(aq_reader *r);
uint64_t aq_read_u64(aq_reader *r);
uint64_t aq_read_varint(aq_reader *r);
/* aq_read_bytes copies |n| bytes; zeroes |out| on failure. */
void aq_read_bytes(aq_reader *r, void *out, size_t n);
/* aq_read_view gives |n| bytes in place, borrowed; NULL on failure. */
const uint8_t *aq_read_view(aq_reader *r, uint64_t n);
void aq_read_skip(aq_reader *r, uint64_t n);

typedef struct aq_writer {
  uint8_t *data;
  size_t cap;
  size_t off;
  int err; /* 0 or AQ_ERR_TOO_LARGE */
} aq_writer;

void aq_writer_init(aq_writer *w, uint8_t *data, size_t cap);
void aq_write_u8(aq_writer *w, uint8_t v);
void aq_write_u16(aq_writer *w, uint16_t v);
void aq_write_u32(aq_writer *w, uint32_t v);
void aq_write_u64(aq_writer *w, uint64_t v);
/* aq_write_varint: shortest form; over AQ_VARINT_MAX is an error. */
void aq_write_varint(aq_writer *w, uint64_t v);
void aq_write_bytes(aq_writer *w, const void *p, size_t n);
/* aq_writer_end gives the bytes written, 0 when anything failed. */
size_t aq_writer_end(const aq_writer *w);

/* Bytes of the shortest form: 1, 2, 4 or 8; 0 when it can't be encoded. */
size_t aq_varint_len(uint64_t v);
/* aq_varint_get reads one at |data|. Returns its length, 0 when truncated. */
size_t aq_varint_get(uint64_t *v, const uint8_t *data, size_t len);
/* aq_varint_put writes the shortest form; there must be room for 8 bytes.
 * Returns its length. */
size_t aq_varint_put(uint8_t *out, uint64_t v);

#endif
