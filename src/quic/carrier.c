/* carrier.c - extension frames on an unmodified transport.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/carrier.h"

#include "proto/walk.h"

#include <assert.h>
#include <string.h>

#define FRAME_PING 0x01
#define FRAME_PADDING 0x00

/* RFC 9000 section 20.1 */
#define ERROR_FRAME_ENCODING 0x07
#define ERROR_PROTOCOL_VIOLATION 0x0a

void aq_carrier_init(aq_carrier *cr, const aq_mem *mem) {
  memset(cr, 0, sizeof(*cr));
  cr->mem = *mem;
}

void aq_carrier_free(aq_carrier *cr) {
  aq_mem_free(&cr->mem, cr->out);
  aq_mem_free(&cr->mem, cr->in);
  cr->out = NULL;
  cr->in = NULL;
}

/* ---- sending --------------------------------------------------------------
 */

static void carrier_drop(aq_carrier *cr, aq_carried *s) {
  assert(s->state != AQ_CARRIED_FREE);
  if (s->state == AQ_CARRIED_QUEUED) {
    cr->queued--;
  }
  s->state = AQ_CARRIED_FREE;
  cr->out_count--;
}

static aq_carried *carrier_slot(aq_carrier *cr, int *err) {
  for (size_t i = 0; i < cr->out_cap; i++) {
    if (cr->out[i].state == AQ_CARRIED_FREE) {
      return &cr->out[i];
    }
  }
  size_t had = cr->out_cap;
  *err = aq_mem_grow(&cr->mem, (void **)&cr->out, &cr->out_cap, had + 1,
                     sizeof(*cr->out), AQ_CARRIER_MAX_OUT);
  return *err == 0 ? &cr->out[had] : NULL;
}

static int carrier_add(aq_carrier *cr, aq_carried *frame) {
  int err = 0;
  aq_carried *s = carrier_slot(cr, &err);
  if (s == NULL) {
    return err;
  }
  frame->state = AQ_CARRIED_QUEUED;
  frame->order = cr->next_order++;
  *s = *frame;
  cr->queued++;
  cr->out_count++;
  return 0;
}

/* Does |f| make the frame in |s| untrue? */
static int carrier_replaces(const aq_frame *f, const aq_carried *s) {
  switch (f->kind) {
  case AQ_FRAME_OBSERVED_ADDRESS:
    return s->kind == AQ_FRAME_OBSERVED_ADDRESS;
  case AQ_FRAME_REMOVE_ADDRESS:
    return s->kind == AQ_FRAME_ADD_ADDRESS && s->seq == f->seq;
  default:
    return 0;
  }
}

int aq_carrier_queue(aq_carrier *cr, const aq_frame *f) {
  aq_carried frame = {.kind = (uint8_t)f->kind, .seq = f->seq, .retransmit = 1};
  size_t n = aq_frame_format(AQ_DIALECT_SEEMANN02, frame.bytes,
                             sizeof(frame.bytes), f);
  if (n == 0) {
    return AQ_ERR_INVAL;
  }
  frame.len = (uint8_t)n;
  for (size_t i = 0; i < cr->out_cap; i++) {
    aq_carried *s = &cr->out[i];
    if (s->state != AQ_CARRIED_FREE && carrier_replaces(f, s)) {
      carrier_drop(cr, s);
    }
  }
  return carrier_add(cr, &frame);
}

int aq_carrier_queue_raw(aq_carrier *cr, const uint8_t *bytes, size_t len,
                         int retransmit) {
  aq_carried frame = {.kind = AQ_CARRIED_RAW,
                      .retransmit = (uint8_t)(retransmit != 0)};
  if (len == 0 || len > sizeof(frame.bytes)) {
    return AQ_ERR_INVAL;
  }
  memcpy(frame.bytes, bytes, len);
  frame.len = (uint8_t)len;
  return carrier_add(cr, &frame);
}

int aq_carrier_next(const aq_carrier *cr) {
  int best = -1;
  if (cr->queued == 0 || cr->packet_count == AQ_CARRIER_MAX_OUT) {
    return -1;
  }
  for (size_t i = 0; i < cr->out_cap; i++) {
    if (cr->out[i].state == AQ_CARRIED_QUEUED &&
        (best < 0 || cr->out[i].order < cr->out[best].order)) {
      best = (int)i;
    }
  }
  return best;
}

void aq_carrier_begin_packet(aq_carrier *cr) {
  cr->packet_count = 0;
}

uint64_t aq_carrier_offer(aq_carrier *cr, int slot) {
  cr->packet[cr->packet_count++] = (uint16_t)slot;
  return AQ_CARRIER_ID | cr->next_id;
}

void aq_carrier_result(aq_carrier *cr, int slot, int accepted) {
  aq_carried *s = &cr->out[slot];
  if (!accepted) {
    cr->packet_count--;
    return;
  }
  s->state = AQ_CARRIED_SENT;
  s->id = AQ_CARRIER_ID | cr->next_id++;
  cr->queued--;
}

static aq_carried *carrier_by_id(aq_carrier *cr, uint64_t id) {
  for (size_t i = 0; i < cr->out_cap; i++) {
    if (cr->out[i].state == AQ_CARRIED_SENT && cr->out[i].id == id) {
      return &cr->out[i];
    }
  }
  return NULL;
}

void aq_carrier_acked(aq_carrier *cr, uint64_t id) {
  aq_carried *s = carrier_by_id(cr, id);
  if (s != NULL) {
    carrier_drop(cr, s);
  }
}

int aq_carrier_lost(aq_carrier *cr, uint64_t id) {
  aq_carried *s = carrier_by_id(cr, id);
  if (s == NULL) {
    return 0;
  }
  if (!s->retransmit) {
    carrier_drop(cr, s);
    return 0;
  }
  s->state = AQ_CARRIED_QUEUED;
  cr->queued++;
  return 1;
}

void aq_carrier_seal(aq_carrier *cr, uint8_t *plaintext, size_t len) {
  for (size_t i = 0; i < cr->packet_count; i++) {
    const aq_carried *s = &cr->out[cr->packet[i]];
    size_t off = 0, hdrlen = 0;
    if (aq_walk_find_datagram(plaintext, len, s->bytes, s->len, &off,
                              &hdrlen) == 1) {
      memset(plaintext + off, FRAME_PADDING, hdrlen);
    }
  }
}

/* ---- receiving -------------------------------------------------------------
 */

static void carrier_fault(aq_carrier *cr, uint64_t code, const char *why) {
  if (cr->tentative_fault == 0) {
    cr->tentative_fault = code;
    cr->tentative_why = why;
  }
}

static void carrier_keep(aq_carrier *cr, const aq_frame *f) {
  if (cr->in_count == cr->in_cap) {
    size_t had = cr->in_cap;
    if (aq_mem_grow(&cr->mem, (void **)&cr->in, &cr->in_cap, had + 1,
                    sizeof(*cr->in), AQ_CARRIER_MAX_IN) != 0) {
      cr->overflow++;
      return;
    }
    /* The ring was full: what had wrapped goes behind what had not. */
    size_t tail = cr->in_cap - had;
    size_t wrapped = cr->in_head;
    if (wrapped > tail) {
      memmove(cr->in + cr->in_head + tail, cr->in + cr->in_head,
              (had - cr->in_head) * sizeof(*cr->in));
      cr->in_head += tail;
    } else {
      memcpy(cr->in + had, cr->in, wrapped * sizeof(*cr->in));
    }
  }
  cr->in[(cr->in_head + cr->in_count) % cr->in_cap] = *f;
  cr->in_count++;
  cr->tentative++;
}

static void carrier_receive(aq_carrier *cr, const uint8_t *data, size_t len) {
  aq_frame f;
  size_t used = 0;
  if (aq_frame_parse(AQ_DIALECT_SEEMANN02, &f, data, len, &used) != 0) {
    carrier_fault(cr, ERROR_FRAME_ENCODING, "malformed extension frame");
    return;
  }
  if ((cr->rx_kinds & (1u << f.kind)) == 0) {
    carrier_fault(cr, ERROR_PROTOCOL_VIOLATION,
                  "extension frame that was not negotiated");
    return;
  }
  carrier_keep(cr, &f);
}

static void carrier_erase(uint8_t *at, size_t len) {
  memset(at, FRAME_PADDING, len);
  at[0] = FRAME_PING;
}

void aq_carrier_open(aq_carrier *cr, uint8_t *plaintext, size_t len) {
  aq_walk w = {.data = plaintext, .len = len, .dialect = AQ_DIALECT_SEEMANN02};
  for (;;) {
    size_t off = 0, n = 0;
    int rv = aq_walk_next(&w, &off, &n);
    if (rv == 1) {
      carrier_receive(cr, plaintext + off, n);
      carrier_erase(plaintext + off, n);
      continue;
    }
    if (rv == AQ_ERR_FORMAT && w.off < len) {
      /* What follows can't be delimited: nothing of it may be believed. */
      if (cr->rx_kinds != 0) {
        carrier_fault(cr, ERROR_FRAME_ENCODING, "malformed extension frame");
      } else {
        carrier_fault(cr, ERROR_PROTOCOL_VIOLATION,
                      "extension frame that was not negotiated");
      }
      carrier_erase(plaintext + w.off, len - w.off);
    }
    return;
  }
}

uint64_t aq_carrier_settle(aq_carrier *cr, int accepted, const char **why) {
  uint64_t fault = accepted ? cr->tentative_fault : 0;
  if (fault != 0) {
    *why = cr->tentative_why;
  }
  if (!accepted || fault != 0) {
    cr->in_count -= cr->tentative;
  }
  cr->tentative = 0;
  cr->tentative_fault = 0;
  return fault;
}

int aq_carrier_take(aq_carrier *cr, aq_frame *out) {
  if (cr->in_count == cr->tentative) {
    return 0;
  }
  *out = cr->in[cr->in_head];
  cr->in_head = (cr->in_head + 1) % cr->in_cap;
  cr->in_count--;
  return 1;
}
