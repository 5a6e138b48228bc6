/* frame.c - the extension frames.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/frame.h"

#include "base/addr.h"
#include "base/wire.h"

#include <string.h>

typedef struct frame_row {
  uint32_t type;
  uint8_t kind;
  uint8_t family; /* 0: no address */
} frame_row;

static const frame_row frame_rows[] = {
    {AQ_FRAME_TYPE_ADD_ADDRESS, AQ_FRAME_ADD_ADDRESS, 4},
    {AQ_FRAME_TYPE_ADD_ADDRESS + 1, AQ_FRAME_ADD_ADDRESS, 6},
    {AQ_FRAME_TYPE_PUNCH_ME_NOW, AQ_FRAME_PUNCH_ME_NOW, 4},
    {AQ_FRAME_TYPE_PUNCH_ME_NOW + 1, AQ_FRAME_PUNCH_ME_NOW, 6},
    {AQ_FRAME_TYPE_REMOVE_ADDRESS, AQ_FRAME_REMOVE_ADDRESS, 0},
    {AQ_FRAME_TYPE_OBSERVED_ADDRESS, AQ_FRAME_OBSERVED_ADDRESS, 4},
    {AQ_FRAME_TYPE_OBSERVED_ADDRESS + 1, AQ_FRAME_OBSERVED_ADDRESS, 6},
};

#define FRAME_ROWS (sizeof(frame_rows) / sizeof(frame_rows[0]))
/* Every type of ours needs the four-byte varint. */
#define FRAME_TYPE_LEN 4

const char *aq_frame_name(aq_frame_kind kind) {
  switch (kind) {
  case AQ_FRAME_ADD_ADDRESS:
    return "ADD_ADDRESS";
  case AQ_FRAME_PUNCH_ME_NOW:
    return "PUNCH_ME_NOW";
  case AQ_FRAME_REMOVE_ADDRESS:
    return "REMOVE_ADDRESS";
  case AQ_FRAME_OBSERVED_ADDRESS:
    return "OBSERVED_ADDRESS";
  }
  return "unknown";
}

static const frame_row *frame_by_kind(aq_frame_kind kind, uint8_t family) {
  for (size_t i = 0; i < FRAME_ROWS; i++) {
    const frame_row *row = &frame_rows[i];
    if (row->kind == kind && (row->family == 0 || row->family == family)) {
      return row;
    }
  }
  return NULL;
}

static const frame_row *frame_by_type(uint64_t type) {
  for (size_t i = 0; i < FRAME_ROWS; i++) {
    if (frame_rows[i].type == type) {
      return &frame_rows[i];
    }
  }
  return NULL;
}

size_t aq_frame_format(aq_dialect dialect, uint8_t *out, size_t cap,
                       const aq_frame *f) {
  aq_addr a = f->addr;
  aq_addr_normalize(&a);
  const frame_row *row = frame_by_kind(f->kind, a.family);
  if (dialect != AQ_DIALECT_SEEMANN02 || row == NULL) {
    return 0;
  }
  aq_writer w;
  aq_writer_init(&w, out, cap);
  aq_write_varint(&w, row->type);
  aq_write_varint(&w, f->seq);
  if (f->kind == AQ_FRAME_PUNCH_ME_NOW) {
    aq_write_varint(&w, f->paired);
  }
  if (row->family != 0) {
    aq_write_bytes(&w, a.ip, row->family == 4 ? 4 : 16);
    aq_write_u16(&w, a.port);
  }
  return aq_writer_end(&w);
}

int aq_frame_parse(aq_dialect dialect, aq_frame *f, const uint8_t *data,
                   size_t len, size_t *used) {
  memset(f, 0, sizeof(*f));
  uint64_t type = 0;
  size_t n = aq_varint_get(&type, data, len);
  const frame_row *row = n == FRAME_TYPE_LEN ? frame_by_type(type) : NULL;
  if (dialect != AQ_DIALECT_SEEMANN02 || row == NULL) {
    return AQ_ERR_UNSUPPORTED;
  }
  aq_frame g = {.kind = (aq_frame_kind)row->kind};
  aq_reader r;
  aq_reader_init(&r, data + n, len - n);
  g.seq = aq_read_varint(&r);
  if (g.kind == AQ_FRAME_PUNCH_ME_NOW) {
    g.paired = aq_read_varint(&r);
  }
  if (row->family != 0) {
    g.addr.family = row->family;
    aq_read_bytes(&r, g.addr.ip, row->family == 4 ? 4 : 16);
    g.addr.port = aq_read_u16(&r);
    aq_addr_normalize(&g.addr);
  }
  if (r.err != 0) {
    return AQ_ERR_FORMAT;
  }
  *f = g;
  *used = n + r.off;
  return 0;
}
