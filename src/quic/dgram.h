/* dgram.h - queues of application datagrams.
 *
 * Layer:  quic
 * Owner:  embedded in a connection; owns the nodes
 * Time:   none
 * Spec:   RFC 9221
 *
 * Both queues are bounded by params.datagram_queue: a full send queue says
 * AGAIN, a full receive queue drops its oldest and counts it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_DGRAM_H
#define AQ_QUIC_DGRAM_H

#include "base/mem.h"

typedef struct aq_dgram {
  struct aq_dgram *next;
  size_t len;
  uint8_t data[];
} aq_dgram;

typedef struct aq_dgram_queue {
  aq_mem mem;
  aq_dgram *head, *tail;
  size_t count, bytes, max;
} aq_dgram_queue;

void aq_dgram_queue_init(aq_dgram_queue *q, const aq_mem *mem, size_t max);
void aq_dgram_queue_free(aq_dgram_queue *q);
/* aq_dgram_push copies. Returns 0, AQ_ERR_AGAIN (full) or AQ_ERR_NOMEM. */
int aq_dgram_push(aq_dgram_queue *q, const uint8_t *data, size_t len);
/* aq_dgram_pop frees the oldest; the queue must not be empty. */
void aq_dgram_pop(aq_dgram_queue *q);

#endif
