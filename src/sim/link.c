/* link.c - what one direction of a link does: rate and queue, loss, delay,
 * order, copies.
 *
 * SPDX-License-Identifier: MIT */
#include "sim/sim_int.h"

#include <string.h>

#define MTU 1500
#define QUEUE 65536
#define REORDER_DELAY (10 * AQ_MS)
#define UDP_HEADERS_4 28
#define UDP_HEADERS_6 48

void aq_vlink_init(aq_vlink *l, uint64_t seed) {
  memset(l, 0, sizeof(*l));
  aq_rand_init(&l->rand, seed);
}

static int is_share(double v) {
  return v >= 0 && v <= 1;
}

int aq_sim_link_check(const aq_sim_link *p) {
  return is_share(p->loss) && is_share(p->dup) && is_share(p->reorder) &&
                 p->burst >= 0 && p->burst <= 1e6 && p->delay <= 3600 * AQ_S &&
                 p->jitter <= 3600 * AQ_S && p->reorder_delay <= 3600 * AQ_S
             ? 0
             : AQ_ERR_INVAL;
}

static int happens(aq_vlink *l, double share) {
  return share > 0 && aq_rand_double(&l->rand) < share;
}

/* Gilbert's model: runs of losses of the mean length |burst|, so often that the
 * mean share is |loss|. */
static int loses(aq_vlink *l) {
  double loss = l->p.loss;
  if (loss <= 0 || l->p.burst <= 1 || loss >= 1) {
    return happens(l, loss);
  }
  double leave = 1 / l->p.burst;
  double enter = leave * loss / (1 - loss);
  l->losing = (uint8_t)happens(l, l->losing ? 1 - leave : enter);
  return l->losing;
}

/* When the last byte has left, or AQ_NEVER: no room in the queue. */
static aq_tstamp leaves(aq_vlink *l, aq_tstamp now, size_t bytes) {
  uint64_t room = l->p.queue > 0 ? l->p.queue : QUEUE;
  if (l->p.rate == 0) {
    return now;
  }
  double waiting = (double)aq_time_since(l->busy, now) * 1e-9;
  if (waiting * (double)l->p.rate + (double)bytes > (double)room) {
    return AQ_NEVER;
  }
  l->busy = aq_time_max(l->busy, now) +
            (aq_duration)((double)bytes * 1e9 / (double)l->p.rate);
  return l->busy;
}

static aq_tstamp arrives(aq_vlink *l, aq_tstamp left) {
  aq_tstamp at = left + l->p.delay;
  if (l->p.jitter > 0) {
    at += aq_rand_below(&l->rand, l->p.jitter + 1);
  }
  if (happens(l, l->p.reorder)) {
    return at + (l->p.reorder_delay > 0 ? l->p.reorder_delay : REORDER_DELAY);
  }
  l->last_arrival = aq_time_max(l->last_arrival, at);
  return l->last_arrival;
}

/* A host gets its datagrams from the heap alone, so that it is never fed while
 * it, or another, is being drained. */
static void pass(aq_vnode *at, aq_vpacket *p, aq_tstamp when) {
  aq_sim *s = at->s;
  p->at = when;
  if (when <= s->now && p->node->kind != AQ_VNODE_HOST) {
    aq_vnode_arrive(p);
  } else {
    aq_vpacket_fly(s, p);
  }
}

static void copy(aq_vnode *at, aq_vlink *l, const aq_vpacket *p,
                 aq_tstamp left) {
  aq_vpacket *q = aq_vpacket_new(at->s, p->len);
  if (q == NULL) {
    return;
  }
  uint8_t *data = q->data;
  uint32_t room = q->room;
  *q = *p;
  q->data = data;
  q->room = room;
  memcpy(q->data, p->data, p->len);
  pass(at, q, arrives(l, left));
}

void aq_vlink_send(aq_vnode *at, aq_vlink *l, aq_vpacket *p, aq_vnode *to,
                   aq_vnode *child) {
  uint32_t mtu = l->p.mtu > 0 ? l->p.mtu : MTU;
  size_t bytes =
      p->len + (size_t)(p->to.family == 4 ? UDP_HEADERS_4 : UDP_HEADERS_6);
  if (l->p.down) {
    aq_vnode_drop(at, p, AQ_SIM_FATE_DOWN);
    return;
  }
  if (bytes > mtu) {
    aq_vnode_drop(at, p, AQ_SIM_FATE_MTU);
    return;
  }
  aq_tstamp left = leaves(l, at->s->now, bytes);
  if (left == AQ_NEVER) {
    aq_vnode_drop(at, p, AQ_SIM_FATE_QUEUE);
    return;
  }
  if (loses(l)) {
    aq_vnode_drop(at, p, AQ_SIM_FATE_LOST);
    return;
  }
  if (p->ttl <= l->p.hops) {
    aq_vnode_drop(at, p, AQ_SIM_FATE_TTL);
    return;
  }
  p->ttl = (uint8_t)(p->ttl - l->p.hops);
  p->node = to;
  p->from_child = child;
  if (happens(l, l->p.dup)) {
    copy(at, l, p, left);
  }
  pass(at, p, arrives(l, left));
}
