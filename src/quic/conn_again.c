/* conn_again.c - what stands between two peers and their connection goes out
 * once more when nothing acknowledged it in time: a peer's first handshake
 * packets and what is said on the control stream.
 *
 * A lost tail is noticed by a probe time-out alone, three round trips after it
 * on a young connection. What is sent here are the same bytes, as a network
 * may duplicate them: the receiver knows the packet number and drops what it
 * has (RFC 9000 section 12.3), so nothing is said twice.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/conn_int.h"

#include "base/addr.h"

#include <string.h>

/* The wait before a copy: this, or a quarter of a round trip. */
#define WAIT (33 * AQ_MS)
/* The first one of a message: an offer must be at the target before the
 * initiator's dial is, which starts as soon as the answer came and takes half a
 * round trip, or it may spoil the target's NAT. */
#define WAIT_CONTROL (10 * AQ_MS)
/* Copies that time brings about, later and later: after 1, 2, 4, 7, 11 ...
 * waits. Where losses come in bursts, it is the number of packets that ends
 * one. A client's first ones go to where nobody may be, so that there are
 * fewer, and some are left for when the way opens. */
#define COPIES 10
#define COPIES_CLIENT 1
/* The way opens once or twice; more is somebody's play. */
#define NUDGES 3
#define APART (10 * AQ_MS)

struct aq_again {
  aq_list node;
  aq_tstamp at, sent; /* of the next copy, or AQ_NEVER; of the last one */
  aq_duration wait, gap;
  uint64_t upto;    /* of the control stream; 0: a packet of the handshake */
  uint8_t finished; /* ... after the peer's: a client's last one */
  uint8_t left, copies, nudges;
  aq_transmit t;
  uint8_t bytes[];
};

static void drop(aq_conn *c, aq_again *a) {
  aq_list_remove(&a->node);
  aq_mem_free(&c->mem, a);
  c->again_count--;
}

void aq_conn_again_drop(aq_conn *c) {
  aq_list *node;
  while ((node = aq_list_first(&c->again)) != NULL) {
    drop(c, aq_list_entry(node, aq_again, node));
  }
}

static aq_duration wait_of(const aq_conn *c) {
  ngtcp2_conn_info i;
  ngtcp2_conn_get_conn_info2(c->q, &i);
  /* A handshake expects its first probe time-out after a round trip. */
  aq_duration rtt =
      c->phase == AQ_CONN_HANDSHAKE ? 3 * c->expected_rtt : i.smoothed_rtt;
  return aq_time_max(WAIT, rtt / 4);
}

static int is_handshake(const uint8_t *bytes) {
  return (bytes[0] & 0x80) != 0;
}

int aq_conn_again_wants(const aq_conn *c, const uint8_t *bytes) {
  return is_handshake(bytes) ? c->expected_rtt > 0 : c->control_written;
}

void aq_conn_again_keep(aq_conn *c, const aq_transmit *t,
                        const uint8_t *bytes) {
  aq_again *a;
  if (t->len > AQ_AGAIN_BYTES || c->again_count == AQ_AGAIN_MAX ||
      (a = aq_mem_alloc(&c->mem, sizeof(*a) + t->len)) == NULL) {
    return; /* the probe time-out is still there */
  }
  memset(a, 0, sizeof(*a));
  a->t = *t;
  a->sent = c->now;
  a->wait = a->gap = wait_of(c);
  a->upto = is_handshake(bytes) ? 0 : c->control_tx->tx_sent;
  if (a->upto > 0) {
    a->gap = WAIT_CONTROL;
  }
  a->at = aq_time_add(c->now, a->gap);
  a->finished = c->client && c->answered && is_handshake(bytes);
  a->left = c->client && !c->answered ? COPIES_CLIENT : COPIES;
  memcpy(a->bytes, bytes, t->len);
  aq_list_push_back(&c->again, &a->node);
  c->again_count++;
}

aq_tstamp aq_conn_again_next(const aq_conn *c) {
  aq_tstamp next = AQ_NEVER;
  if (c->sparing && c->was_confirmed) {
    return next; /* the path in use is given up */
  }
  aq_list_each(node, &c->again) {
    next = aq_time_min(next, aq_list_entry(node, aq_again, node)->at);
  }
  return next;
}

uint64_t aq_conn_unproven_room(const aq_conn *c) {
  if (c->client || c->phase != AQ_CONN_HANDSHAKE || !c->copied) {
    return UINT64_MAX;
  }
  return c->taken * 3 > c->given ? c->taken * 3 - c->given : 0;
}

/* Where the peer has not proven to be, the transport sends little; copies would
 * make it much. */
static int may_go(const aq_conn *c, const aq_again *a) {
  return aq_conn_unproven_room(c) >= a->t.len &&
         (c->phase == AQ_CONN_HANDSHAKE ||
          aq_addr_equal(&a->t.remote, &c->proven));
}

int aq_conn_again_poll(aq_conn *c, aq_transmit *t, uint8_t *buf) {
  if (aq_conn_again_next(c) > c->now) {
    return 0;
  }
  aq_list_each(node, &c->again) {
    aq_again *a = aq_list_entry(node, aq_again, node);
    if (a->at > c->now) {
      continue;
    }
    a->left -= a->left > 0;
    a->gap = a->gap + (a->copies++ > 0 ? a->wait : 0);
    a->at = a->left > 0 ? aq_time_add(c->now, a->gap) : AQ_NEVER;
    a->sent = c->now;
    if (!may_go(c, a)) {
      continue;
    }
    c->given += a->t.len;
    c->repeated += (uint32_t)(a->t.segment > 0
                                  ? (a->t.len + a->t.segment - 1) / a->t.segment
                                  : 1);
    c->copied = 1;
    *t = a->t;
    memcpy(buf, a->bytes, a->t.len);
    return 1;
  }
  return 0;
}

static void hurry(aq_conn *c, aq_duration apart) {
  aq_list_each(node, &c->again) {
    aq_again *a = aq_list_entry(node, aq_again, node);
    if (a->nudges < NUDGES &&
        aq_time_since(c->now, a->sent) >= aq_time_min(apart, a->wait)) {
      a->nudges++;
      a->at = c->now;
      c->dirty = 1;
    }
  }
}

void aq_conn_nudge(aq_conn *c, aq_tstamp now) {
  aq_conn_clock(c, now);
  hurry(c, AQ_NEVER);
}

static int is_answered(const aq_conn *c, const aq_again *a,
                       uint64_t in_flight) {
  if (a->upto > 0) {
    return c->control_tx->tx.begin >= a->upto;
  }
  return a->finished ? c->was_confirmed
         : c->client ? c->answered
                     : in_flight == 0;
}

void aq_conn_again_heard(aq_conn *c, uint64_t in_flight) {
  aq_list_each_safe(node, &c->again) {
    aq_again *a = aq_list_entry(node, aq_again, node);
    if (is_answered(c, a, in_flight)) {
      drop(c, a);
    }
  }
  if (c->client && c->phase == AQ_CONN_HANDSHAKE) {
    hurry(c, APART); /* it has a part of the ClientHello */
  }
}

uint32_t aq_conn_take_repeated(aq_conn *c) {
  uint32_t n = c->repeated;
  c->repeated = 0;
  return n;
}
