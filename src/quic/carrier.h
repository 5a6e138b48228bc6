/* carrier.h - extension frames on an unmodified transport.
 *
 * Layer:  quic
 * Owner:  embedded in a connection
 * Time:   none
 * Spec:   docs/protocol.md section 2; RFC 9000 section 13.3
 *
 * The transport library knows no extension frames. So one is given to it as
 * the payload of a DATAGRAM frame, and just before the packet is sealed that
 * frame's header becomes PADDING. A received one is taken out of the opened
 * packet and becomes PING and PADDING. Nothing outside this file and its
 * caller knows.
 *
 * Frames of a packet count only when the transport accepted the packet: until
 * then they are tentative, because a replayed packet opens as well.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_CARRIER_H
#define AQ_QUIC_CARRIER_H

#include "base/mem.h"
#include "proto/frame.h"

#define AQ_CARRIER_MAX_OUT 64 /* unacknowledged frames per connection */
#define AQ_CARRIER_MAX_IN 256 /* received and not yet taken */
#define AQ_CARRIER_ID (UINT64_C(1) << 62) /* in every datagram id of ours */

typedef enum aq_carried_state {
  AQ_CARRIED_FREE,
  AQ_CARRIED_QUEUED,
  AQ_CARRIED_SENT
} aq_carried_state;

typedef struct aq_carried {
  uint8_t state; /* aq_carried_state */
  uint8_t kind;  /* aq_frame_kind, or AQ_CARRIED_RAW */
  uint8_t len;
  uint8_t retransmit; /* when lost */
  uint64_t seq;
  uint64_t order; /* of queueing: the oldest goes first */
  uint64_t id;    /* datagram id of the last sending */
  uint8_t bytes[AQ_FRAME_MAX];
} aq_carried;
#define AQ_CARRIED_RAW 0xff

typedef struct aq_carrier {
  aq_mem mem;
  aq_carried *out;
  size_t out_cap;
  size_t out_count; /* not free */
  size_t queued;
  uint64_t next_id, next_order;
  /* the packet that is being written */
  size_t packet_count;
  uint16_t packet[AQ_CARRIER_MAX_OUT]; /* slots */
  /* received */
  aq_frame *in;
  size_t in_cap, in_head, in_count;
  size_t tentative;         /* of in_count: the newest, not yet confirmed */
  uint64_t tentative_fault; /* transport error code; 0 none */
  const char *tentative_why;
  uint64_t overflow; /* frames that were dropped for want of room */
  uint8_t rx_kinds;  /* negotiated: 1 << aq_frame_kind */
  uint8_t tx_kinds;
} aq_carrier;

void aq_carrier_init(aq_carrier *cr, const aq_mem *mem);
void aq_carrier_free(aq_carrier *cr);

/* aq_carrier_queue: what a newer one makes untrue is withdrawn. Returns 0,
 * AQ_ERR_LIMIT (AQ_CARRIER_MAX_OUT are unacknowledged), AQ_ERR_INVAL (can't be
 * encoded) or AQ_ERR_NOMEM. */
int aq_carrier_queue(aq_carrier *cr, const aq_frame *f);
/* aq_carrier_queue_raw queues bytes as they are: PING, or in tests anything. */
int aq_carrier_queue_raw(aq_carrier *cr, const uint8_t *bytes, size_t len,
                         int retransmit);

/* aq_carrier_next gives the slot of the oldest queued frame that is not in the
 * packet being written, or -1. */
int aq_carrier_next(const aq_carrier *cr);
void aq_carrier_begin_packet(aq_carrier *cr);
/* aq_carrier_offer: the slot goes into the packet being written; gives its
 * datagram id. aq_carrier_result: was it taken? */
uint64_t aq_carrier_offer(aq_carrier *cr, int slot);
void aq_carrier_result(aq_carrier *cr, int slot, int accepted);
/* Both ignore ids that are not the last of a frame. */
void aq_carrier_acked(aq_carrier *cr, uint64_t id);
/* Returns 1 when it was queued again. */
int aq_carrier_lost(aq_carrier *cr, uint64_t id);

/* The two hooks on a packet's plaintext. */
void aq_carrier_seal(aq_carrier *cr, uint8_t *plaintext, size_t len);
void aq_carrier_open(aq_carrier *cr, uint8_t *plaintext, size_t len);
/* aq_carrier_settle keeps (|accepted|) or forgets what is tentative. Returns 0
 * or the transport error code to close with, and a sentence. */
uint64_t aq_carrier_settle(aq_carrier *cr, int accepted, const char **why);
/* 1 and a received frame, or 0. */
int aq_carrier_take(aq_carrier *cr, aq_frame *out);

#endif
