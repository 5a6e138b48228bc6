/* walk.c - finds the extension frames among the frames of a 1-RTT packet.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/walk.h"

#include "base/wire.h"

#include <string.h>

/* First byte of a varint of four bytes whose next six bits are 0: so begin all
 * types of ours and no type of RFC 9000 or 9221. */
#define WALK_OURS 0x80
/* More ACK ranges than fit any packet: stop before counting them. */
#define WALK_MAX_ACK_RANGES 65536

/* How an ordinary frame goes on after its type byte. */
typedef enum walk_shape {
  WALK_UNKNOWN,
  WALK_NUMBERS,  /* |n| varints */
  WALK_NUMBERED, /* |n| varints, a length varint and as many bytes */
  WALK_FIXED,    /* |n| bytes */
  WALK_ACK,      /* |n| ECN counts at the end */
  WALK_STREAM,
  WALK_NEW_CID,
  WALK_REST /* all that is left */
} walk_shape;

typedef struct walk_row {
  uint8_t shape;
  uint8_t n;
} walk_row;

#define WALK_TYPES 0x32
static const walk_row walk_rows[WALK_TYPES] = {
    [0x00] = {WALK_FIXED, 0},    /* PADDING */
    [0x01] = {WALK_FIXED, 0},    /* PING */
    [0x02] = {WALK_ACK, 0},      /* ACK */
    [0x03] = {WALK_ACK, 3},      /* ACK with ECN */
    [0x04] = {WALK_NUMBERS, 3},  /* RESET_STREAM */
    [0x05] = {WALK_NUMBERS, 2},  /* STOP_SENDING */
    [0x06] = {WALK_NUMBERED, 1}, /* CRYPTO */
    [0x07] = {WALK_NUMBERED, 0}, /* NEW_TOKEN */
    [0x08] = {WALK_STREAM, 0},   /* STREAM, with its three flags */
    [0x09] = {WALK_STREAM, 0},   [0x0a] = {WALK_STREAM, 0},
    [0x0b] = {WALK_STREAM, 0},   [0x0c] = {WALK_STREAM, 0},
    [0x0d] = {WALK_STREAM, 0},   [0x0e] = {WALK_STREAM, 0},
    [0x0f] = {WALK_STREAM, 0},   [0x10] = {WALK_NUMBERS, 1}, /* MAX_DATA */
    [0x11] = {WALK_NUMBERS, 2}, /* MAX_STREAM_DATA */
    [0x12] = {WALK_NUMBERS, 1}, /* MAX_STREAMS */
    [0x13] = {WALK_NUMBERS, 1},  [0x14] = {WALK_NUMBERS, 1}, /* DATA_BLOCKED */
    [0x15] = {WALK_NUMBERS, 2}, /* STREAM_DATA_BLOCKED */
    [0x16] = {WALK_NUMBERS, 1}, /* STREAMS_BLOCKED */
    [0x17] = {WALK_NUMBERS, 1},  [0x18] = {WALK_NEW_CID, 0},
    [0x19] = {WALK_NUMBERS, 1},  /* RETIRE_CONNECTION_ID */
    [0x1a] = {WALK_FIXED, 8},    /* PATH_CHALLENGE */
    [0x1b] = {WALK_FIXED, 8},    /* PATH_RESPONSE */
    [0x1c] = {WALK_NUMBERED, 2}, /* CONNECTION_CLOSE */
    [0x1d] = {WALK_NUMBERED, 1}, /* CONNECTION_CLOSE of the application */
    [0x1e] = {WALK_FIXED, 0},    /* HANDSHAKE_DONE */
    [0x30] = {WALK_REST, 0},     /* DATAGRAM */
    [0x31] = {WALK_NUMBERED, 0}, /* DATAGRAM with length */
};

static void walk_numbers(aq_reader *r, uint64_t n) {
  while (n-- > 0 && r->err == 0) {
    aq_read_varint(r);
  }
}

static void walk_ack(aq_reader *r, unsigned ecn) {
  walk_numbers(r, 2);
  uint64_t ranges = aq_read_varint(r);
  if (ranges > WALK_MAX_ACK_RANGES) {
    r->err = AQ_ERR_FORMAT;
    return;
  }
  walk_numbers(r, 1 + 2 * ranges + ecn);
}

static void walk_stream(aq_reader *r, uint8_t type) {
  aq_read_varint(r);
  if (type & 0x04) {
    aq_read_varint(r);
  }
  if (type & 0x02) {
    aq_read_skip(r, aq_read_varint(r));
  } else {
    aq_read_skip(r, aq_reader_left(r));
  }
}

static void walk_new_cid(aq_reader *r) {
  walk_numbers(r, 2);
  uint8_t cidlen = aq_read_u8(r);
  if (cidlen < 1 || cidlen > 20) {
    r->err = AQ_ERR_FORMAT;
  }
  aq_read_skip(r, (uint64_t)cidlen + 16);
}

/* Steps over the ordinary frame at |off|. Returns its length, 0 when it is
 * unknown or cut. */
static size_t walk_ordinary(const uint8_t *data, size_t len) {
  uint8_t type = data[0];
  if (type >= WALK_TYPES) {
    return 0;
  }
  walk_row row = walk_rows[type];
  aq_reader r;
  aq_reader_init(&r, data + 1, len - 1);
  switch ((walk_shape)row.shape) {
  case WALK_UNKNOWN:
    return 0;
  case WALK_NUMBERS:
    walk_numbers(&r, row.n);
    break;
  case WALK_NUMBERED:
    walk_numbers(&r, row.n);
    aq_read_skip(&r, aq_read_varint(&r));
    break;
  case WALK_FIXED:
    aq_read_skip(&r, row.n);
    break;
  case WALK_ACK:
    walk_ack(&r, row.n);
    break;
  case WALK_STREAM:
    walk_stream(&r, type);
    break;
  case WALK_NEW_CID:
    walk_new_cid(&r);
    break;
  case WALK_REST:
    return len;
  }
  return r.err != 0 ? 0 : 1 + r.off;
}

/* How many bytes at |p| are PADDING. */
static size_t walk_padding(const uint8_t *p, size_t len) {
  size_t i = 0;
  for (; len - i >= 8; i += 8) {
    uint64_t word;
    memcpy(&word, p + i, 8);
    if (word != 0) {
      break;
    }
  }
  while (i < len && p[i] == 0) {
    i++;
  }
  return i;
}

int aq_walk_next(aq_walk *w, size_t *off, size_t *len) {
  while (w->off < w->len) {
    const uint8_t *p = w->data + w->off;
    size_t left = w->len - w->off;
    if (*p == 0) {
      w->off += walk_padding(p, left);
      continue;
    }
    if (*p == WALK_OURS) {
      aq_frame f;
      size_t used = 0;
      int err = aq_frame_parse(w->dialect, &f, p, left, &used);
      if (err != 0) {
        return err;
      }
      *off = w->off;
      *len = used;
      w->off += used;
      return 1;
    }
    size_t n = walk_ordinary(p, left);
    if (n == 0) {
      return AQ_ERR_UNSUPPORTED;
    }
    w->off += n;
  }
  return 0;
}

/* The payload of the DATAGRAM frame of |n| bytes at |p| begins at the result;
 * the frame was stepped over, so it is whole. */
static size_t walk_datagram_header(const uint8_t *p, size_t n) {
  uint64_t ignored = 0;
  return p[0] == 0x30 ? 1 : 1 + aq_varint_get(&ignored, p + 1, n - 1);
}

int aq_walk_find_datagram(const uint8_t *pt, size_t len, const uint8_t *payload,
                          size_t plen, size_t *off, size_t *hdrlen) {
  size_t at = 0;
  while (at < len) {
    const uint8_t *p = pt + at;
    size_t n = 0;
    if (*p == 0) {
      n = walk_padding(p, len - at);
    } else if (*p == WALK_OURS) {
      aq_frame f;
      int err = aq_frame_parse(AQ_DIALECT_SEEMANN02, &f, p, len - at, &n);
      if (err != 0) {
        return err;
      }
    } else {
      n = walk_ordinary(p, len - at);
      if (n == 0) {
        return AQ_ERR_UNSUPPORTED;
      }
    }
    if (*p == 0x30 || *p == 0x31) {
      size_t h = walk_datagram_header(p, n);
      if (n - h == plen && (plen == 0 || memcmp(p + h, payload, plen) == 0)) {
        *off = at;
        *hdrlen = h;
        return 1;
      }
    }
    at += n;
  }
  return 0;
}
