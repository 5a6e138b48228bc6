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

/* A cursor of its own, and not an aq_reader, since every received packet comes
 * through here: it must be cheap without help of the linker. */
typedef struct walk_at {
  const uint8_t *p; /* NULL: cut */
  const uint8_t *end;
} walk_at;

static inline void at_skip(walk_at *a, uint64_t n) {
  if (a->p != NULL) {
    a->p = n <= (uint64_t)(a->end - a->p) ? a->p + n : NULL;
  }
}

static inline void at_numbers(walk_at *a, uint64_t n) {
  while (n-- > 0 && a->p != NULL) {
    at_skip(a, a->p < a->end ? UINT64_C(1) << (*a->p >> 6) : 1);
  }
}

static inline uint64_t at_number(walk_at *a) {
  if (a->p == NULL || a->p == a->end) {
    a->p = NULL;
    return 0;
  }
  const uint8_t *p = a->p;
  size_t n = (size_t)1 << (*p >> 6);
  at_skip(a, n);
  if (a->p == NULL) {
    return 0;
  }
  uint64_t v = *p & 0x3f;
  for (size_t i = 1; i < n; i++) {
    v = v << 8 | p[i];
  }
  return v;
}

static void walk_ack(walk_at *a, unsigned ecn) {
  at_numbers(a, 2);
  uint64_t ranges = at_number(a);
  if (ranges > WALK_MAX_ACK_RANGES) {
    a->p = NULL;
    return;
  }
  at_numbers(a, 1 + 2 * ranges + ecn);
}

static void walk_stream(walk_at *a, uint8_t type) {
  at_numbers(a, type & 0x04 ? 2 : 1);
  if (type & 0x02) {
    at_skip(a, at_number(a));
  } else if (a->p != NULL) {
    a->p = a->end;
  }
}

static void walk_new_cid(walk_at *a) {
  at_numbers(a, 2);
  if (a->p == NULL || a->p == a->end || *a->p < 1 || *a->p > 20) {
    a->p = NULL;
    return;
  }
  at_skip(a, 1 + (uint64_t)*a->p + 16);
}

/* Steps over the ordinary frame at |data|. Returns its length, 0 when it is
 * unknown or cut. */
static size_t walk_ordinary(const uint8_t *data, size_t len) {
  uint8_t type = data[0];
  if (type >= WALK_TYPES) {
    return 0;
  }
  walk_row row = walk_rows[type];
  walk_at a = {data + 1, data + len};
  switch ((walk_shape)row.shape) {
  case WALK_UNKNOWN:
    return 0;
  case WALK_NUMBERS:
    at_numbers(&a, row.n);
    break;
  case WALK_NUMBERED:
    at_numbers(&a, row.n);
    at_skip(&a, at_number(&a));
    break;
  case WALK_FIXED:
    at_skip(&a, row.n);
    break;
  case WALK_ACK:
    walk_ack(&a, row.n);
    break;
  case WALK_STREAM:
    walk_stream(&a, type);
    break;
  case WALK_NEW_CID:
    walk_new_cid(&a);
    break;
  case WALK_REST:
    return len;
  }
  return a.p != NULL ? (size_t)(a.p - data) : 0;
}

/* How many bytes at |p| are PADDING. */
static size_t walk_padding(const uint8_t *p, size_t len) {
  size_t i = 0;
  for (; len - i >= 32; i += 32) {
    uint64_t w[4];
    memcpy(w, p + i, sizeof(w));
    if ((w[0] | w[1] | w[2] | w[3]) != 0) {
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
