/* endpoint_event.c - what poll_event tells: a ring of things that happened,
 * and readiness that coalesces per stream.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <stdio.h>
#include <string.h>

/* These end or begin something, and somebody may wait for that. Peers and
 * coordinators can make the others happen as often as they like: those leave
 * half of the ring to these. */
static int is_awaited(aq_event_kind kind) {
  switch (kind) {
  case AQ_EVENT_CONNECTION_ESTABLISHED:
  case AQ_EVENT_CONNECTION_INCOMING:
  case AQ_EVENT_CONNECTION_LOST:
  case AQ_EVENT_DIAL_FAILED:
  case AQ_EVENT_TRAVERSAL_SUCCEEDED:
  case AQ_EVENT_TRAVERSAL_FAILED:
  case AQ_EVENT_STEP_DONE:
  case AQ_EVENT_DECISION:
  case AQ_EVENT_BOOTSTRAP_CONNECTED:
  case AQ_EVENT_BOOTSTRAP_LOST:
  case AQ_EVENT_INTERFACES_CHANGED:
    return 1;
  default:
    return 0;
  }
}

aq_event *aq_ep_event(aq_endpoint *ep, aq_event_kind kind) {
  /* The last place is kept for EVENTS_LOST. */
  size_t at = AQ_EVENT_RING;
  size_t keep = is_awaited(kind) ? 0 : AQ_EVENT_RING / 2;
  if (ep->ring.count + 1 + keep >= ep->ring.cap) {
    if (ep->events_lost++ == 0) {
      ep->stats.limit_events++;
    }
  } else {
    if (ep->events_lost > 0) {
      aq_event *lost = &ep->event[aq_ring_push(&ep->ring)];
      memset(lost, 0, sizeof(*lost));
      lost->kind = AQ_EVENT_EVENTS_LOST;
      lost->time = ep->now;
      lost->value = ep->events_lost;
      ep->events_lost = 0;
    }
    if (ep->ring.count + 1 < ep->ring.cap) {
      at = aq_ring_push(&ep->ring);
    } else {
      ep->events_lost++;
    }
  }
  aq_event *e = &ep->event[at]; /* one more than the ring: the scratch one */
  memset(e, 0, sizeof(*e));
  e->kind = kind;
  e->time = ep->now;
  return e;
}

void aq_ep_event_peer(aq_event *e, const aq_peer_id *peer) {
  e->has_peer = 1;
  e->peer = *peer;
}

void aq_ep_limit(aq_endpoint *ep, const char *name) {
  aq_event *e = aq_ep_event(ep, AQ_EVENT_LIMIT_HIT);
  snprintf(e->text, sizeof(e->text), "%s", name);
  aq_trace(&ep->env, AQ_LOG_WARN, "limit hit: %s", name);
}

/* ---- readiness ------------------------------------------------------------
 */

static unsigned bit_of(aq_notice_kind kind) {
  return 1u << (kind - AQ_NOTICE_STREAM_INCOMING);
}

static void link_has_events(aq_link *l) {
  if (l->state != AQ_LINK_EXPOSED && l->state != AQ_LINK_GONE) {
    return; /* the application doesn't know of it yet */
  }
  if (l->reported && !aq_list_is_linked(&l->events_node)) {
    aq_list_push_back(&l->ep->readable, &l->events_node);
  }
}

void aq_ep_readable(aq_link *l) {
  if (l->conn_bits || !aq_list_is_empty(&l->events)) {
    link_has_events(l);
  }
}

static int is_of_connection(aq_notice_kind kind) {
  return kind == AQ_NOTICE_STREAMS_AVAILABLE ||
         kind == AQ_NOTICE_DATAGRAM_READABLE ||
         kind == AQ_NOTICE_DATAGRAM_WRITABLE;
}

void aq_ep_ready(aq_link *l, const aq_notice *n) {
  aq_endpoint *ep = l->ep;
  if (is_of_connection(n->kind)) {
    l->conn_bits |= bit_of(n->kind);
    link_has_events(l);
    return;
  }
  aq_ready_event *r = aq_hash_get(&ep->readies, &n->stream, sizeof(n->stream));
  if (r == NULL) {
    r = aq_mem_alloc(&ep->mem, sizeof(*r));
    if (r == NULL ||
        aq_hash_put(&ep->readies, &n->stream, sizeof(n->stream), r) != 0) {
      aq_mem_free(&ep->mem, r);
      ep->events_lost++;
      return;
    }
    r->stream = n->stream;
    r->link = l;
    aq_list_push_back(&l->events, &r->node);
  }
  r->bits |= bit_of(n->kind);
  if (n->kind == AQ_NOTICE_STREAM_CLOSED) {
    r->code = n->code;
    r->error = n->error;
  }
  link_has_events(l);
}

void aq_ep_ready_drop(aq_ready_event *r) {
  aq_endpoint *ep = r->link->ep;
  aq_list_remove(&r->node);
  aq_hash_remove(&ep->readies, &r->stream, sizeof(r->stream));
  aq_mem_free(&ep->mem, r);
}

void aq_ep_ready_forget(aq_link *l) {
  aq_list *node;
  while ((node = aq_list_first(&l->events)) != NULL) {
    aq_ep_ready_drop(aq_list_entry(node, aq_ready_event, node));
  }
  l->conn_bits = 0;
  aq_list_remove(&l->events_node);
}

/* The order in which one stream's readiness is told, and what it is called. */
static const struct {
  aq_notice_kind notice;
  aq_event_kind event;
} ready_order[] = {
    {AQ_NOTICE_STREAM_INCOMING, AQ_EVENT_STREAM_INCOMING},
    {AQ_NOTICE_STREAM_READABLE, AQ_EVENT_STREAM_READABLE},
    {AQ_NOTICE_STREAM_WRITABLE, AQ_EVENT_STREAM_WRITABLE},
    {AQ_NOTICE_STREAM_CLOSED, AQ_EVENT_STREAM_CLOSED},
    {AQ_NOTICE_STREAMS_AVAILABLE, AQ_EVENT_STREAMS_AVAILABLE},
    {AQ_NOTICE_DATAGRAM_READABLE, AQ_EVENT_DATAGRAM_READABLE},
    {AQ_NOTICE_DATAGRAM_WRITABLE, AQ_EVENT_DATAGRAM_WRITABLE},
};

/* Takes the first of |*bits| in that order. */
static int take_bit(uint32_t *bits, aq_event_kind *kind) {
  for (size_t i = 0; i < sizeof(ready_order) / sizeof(ready_order[0]); i++) {
    uint32_t bit = bit_of(ready_order[i].notice);
    if (*bits & bit) {
      *bits &= ~bit;
      *kind = ready_order[i].event;
      return 1;
    }
  }
  return 0;
}

static int poll_link(aq_link *l, aq_event *out) {
  memset(out, 0, sizeof(*out));
  out->time = l->ep->now;
  out->conn = l->pub;
  if (take_bit(&l->conn_bits, &out->kind)) {
    return 1;
  }
  aq_list *node = aq_list_first(&l->events);
  if (node == NULL) {
    return 0;
  }
  aq_ready_event *r = aq_list_entry(node, aq_ready_event, node);
  int some = take_bit(&r->bits, &out->kind);
  out->stream = r->stream;
  if (out->kind == AQ_EVENT_STREAM_CLOSED) {
    out->value = r->code;
    out->error = r->error;
  }
  if (r->bits == 0) {
    aq_ep_ready_drop(r);
  }
  return some;
}

int aq_endpoint_has_events(const aq_endpoint *ep) {
  /* A link in |readable| has something to tell: it is taken out when not. */
  return !aq_ring_is_empty(&ep->ring) || ep->events_lost > 0 ||
         !aq_list_is_empty(&ep->readable);
}

int aq_endpoint_poll_event(aq_endpoint *ep, aq_event *out) {
  if (!aq_ring_is_empty(&ep->ring)) {
    *out = ep->event[aq_ring_pop(&ep->ring)];
    return 1;
  }
  if (ep->events_lost > 0) {
    memset(out, 0, sizeof(*out));
    out->kind = AQ_EVENT_EVENTS_LOST;
    out->time = ep->now;
    out->value = ep->events_lost;
    ep->events_lost = 0;
    return 1;
  }
  aq_list *node;
  while ((node = aq_list_pop_front(&ep->readable)) != NULL) {
    aq_link *l = aq_list_entry(node, aq_link, events_node);
    if (poll_link(l, out)) {
      /* To the back: one busy connection doesn't starve the others. */
      aq_ep_readable(l);
      return 1;
    }
  }
  return 0;
}
