/* dgram.c - queues of application datagrams.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/dgram.h"

#include <assert.h>
#include <string.h>

void aq_dgram_queue_init(aq_dgram_queue *q, const aq_mem *mem, size_t max) {
  memset(q, 0, sizeof(*q));
  q->mem = *mem;
  q->max = max;
}

void aq_dgram_queue_free(aq_dgram_queue *q) {
  while (q->head != NULL) {
    aq_dgram_pop(q);
  }
}

int aq_dgram_push(aq_dgram_queue *q, const uint8_t *data, size_t len) {
  if (q->count >= q->max) {
    return AQ_ERR_AGAIN;
  }
  aq_dgram *d = aq_mem_resize(&q->mem, NULL, sizeof(*d) + len);
  if (d == NULL) {
    return AQ_ERR_NOMEM;
  }
  d->next = NULL;
  d->len = len;
  if (len > 0) {
    memcpy(d->data, data, len);
  }
  if (q->tail != NULL) {
    q->tail->next = d;
  } else {
    q->head = d;
  }
  q->tail = d;
  q->count++;
  q->bytes += len;
  return 0;
}

void aq_dgram_pop(aq_dgram_queue *q) {
  aq_dgram *d = q->head;
  assert(d != NULL);
  q->head = d->next;
  if (q->head == NULL) {
    q->tail = NULL;
  }
  q->count--;
  q->bytes -= d->len;
  aq_mem_free(&q->mem, d);
}
