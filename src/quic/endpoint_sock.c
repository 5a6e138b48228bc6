/* endpoint_sock.c - extra sockets: asked for, owned, shared with the
 * connections that came of them, given back.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <string.h>

static aq_extra *extra_at(const aq_endpoint *ep, uint32_t index) {
  if (ep->extra == NULL || index < AQ_MAX_SOCKETS ||
      index >= AQ_MAX_SOCKETS + AQ_MAX_EXTRA_SOCKETS) {
    return NULL;
  }
  aq_extra *x = &ep->extra[index - AQ_MAX_SOCKETS];
  return x->state != AQ_EXTRA_FREE ? x : NULL;
}

/* A place for one more: a free one, or one that is free once the host has
 * closed what is there. */
static aq_extra *place(aq_endpoint *ep) {
  aq_extra *later = NULL;
  for (uint32_t i = 0; i < AQ_MAX_EXTRA_SOCKETS; i++) {
    aq_extra *x = &ep->extra[i];
    if (x->state == AQ_EXTRA_FREE) {
      memset(x, 0, sizeof(*x));
      x->state = AQ_EXTRA_WANTED;
      x->sock.index = AQ_MAX_SOCKETS + i;
      ep->nextra++;
      return x;
    }
    if (later == NULL && x->state == AQ_EXTRA_CLOSING && !x->again) {
      later = x;
    }
  }
  if (later != NULL) {
    later->again = 1;
  }
  return later;
}

int aq_extra_open(aq_endpoint *ep, const aq_local_socket *like, uint64_t owner,
                  uint32_t *index) {
  if (ep->extra == NULL) {
    ep->extra = aq_mem_array(&ep->mem, AQ_MAX_EXTRA_SOCKETS, sizeof(aq_extra));
    if (ep->extra == NULL) {
      return AQ_ERR_NOMEM;
    }
  }
  aq_extra *x = place(ep);
  if (x == NULL) {
    AQ_LIMIT_HIT(ep, limit_extra_sockets);
    return AQ_ERR_LIMIT;
  }
  x->owner = owner;
  x->sock.bound = like->bound;
  x->sock.bound.port = 0;
  ep->extra_todo++;
  *index = x->sock.index;
  return 0;
}

const aq_local_socket *aq_extra_share(aq_endpoint *ep,
                                      const aq_local_socket *like,
                                      uint32_t except, uint64_t owner) {
  aq_extra *best = NULL;
  for (uint32_t i = 0; ep->extra != NULL && i < AQ_MAX_EXTRA_SOCKETS; i++) {
    aq_extra *x = &ep->extra[i];
    if (x->state == AQ_EXTRA_OPEN && x->owner == 0 && x->links > 0 &&
        x->sock.index != except && x->sock.bound.family == like->bound.family &&
        aq_addr_same_ip(&x->sock.bound, &like->bound) &&
        (best == NULL || x->links < best->links)) {
      best = x;
    }
  }
  if (best == NULL) {
    return NULL;
  }
  best->owner = owner;
  return &best->sock;
}

const aq_local_socket *aq_extra_get(const aq_endpoint *ep, uint32_t index) {
  const aq_extra *x = extra_at(ep, index);
  return x != NULL && x->state == AQ_EXTRA_OPEN ? &x->sock : NULL;
}

static void give_back(aq_endpoint *ep, aq_extra *x) {
  if (x->owner != 0 || x->links != 0) {
    return;
  }
  if (x->state == AQ_EXTRA_CLOSING) {
    ep->extra_todo -= x->again;
    x->again = 0;
    return;
  }
  if (x->state == AQ_EXTRA_WANTED) { /* the host never heard of it */
    x->state = AQ_EXTRA_FREE;
    ep->nextra--;
    ep->extra_todo--;
  } else if (x->state == AQ_EXTRA_OPEN) {
    x->state = AQ_EXTRA_CLOSING;
    ep->extra_todo++;
  } /* OPENING: closed when it is there */
}

void aq_extra_release(aq_endpoint *ep, uint32_t index) {
  aq_extra *x = extra_at(ep, index);
  if (x != NULL) {
    x->owner = 0;
    give_back(ep, x);
  }
}

void aq_extra_release_all(aq_endpoint *ep, uint64_t owner) {
  for (uint32_t i = 0; ep->nextra > 0 && i < AQ_MAX_EXTRA_SOCKETS; i++) {
    aq_extra *x = &ep->extra[i];
    if (x->state != AQ_EXTRA_FREE && x->owner == owner) {
      x->owner = 0;
      give_back(ep, x);
    }
  }
}

void aq_extra_hold(aq_endpoint *ep, uint32_t index) {
  aq_extra *x = extra_at(ep, index);
  if (x != NULL) {
    x->links++;
  } else {
    aq_tunnel_hold(ep, index);
  }
}

void aq_extra_drop(aq_endpoint *ep, uint32_t index) {
  aq_extra *x = extra_at(ep, index);
  if (x != NULL && x->links > 0) {
    x->links--;
    give_back(ep, x);
  } else if (x == NULL) {
    aq_tunnel_drop(ep, index);
  }
}

int aq_endpoint_poll_socket(aq_endpoint *ep, aq_socket_request *out) {
  for (uint32_t i = 0; ep->extra_todo > 0 && i < AQ_MAX_EXTRA_SOCKETS; i++) {
    aq_extra *x = &ep->extra[i];
    if (x->state != AQ_EXTRA_WANTED && x->state != AQ_EXTRA_CLOSING) {
      continue;
    }
    memset(out, 0, sizeof(*out));
    out->index = x->sock.index;
    ep->extra_todo--;
    if (x->state == AQ_EXTRA_WANTED) {
      out->open = 1;
      out->bind = x->sock.bound;
      x->state = AQ_EXTRA_OPENING;
    } else if (x->again) {
      x->again = 0;
      x->state = AQ_EXTRA_WANTED;
    } else {
      x->state = AQ_EXTRA_FREE;
      ep->nextra--;
    }
    return 1;
  }
  return 0;
}

void aq_endpoint_socket_opened(aq_endpoint *ep, aq_tstamp now, uint32_t index,
                               const aq_addr *bound) {
  aq_extra *x = extra_at(ep, index);
  if (x == NULL || x->state != AQ_EXTRA_OPENING) {
    return;
  }
  aq_ep_enter(ep, now);
  uint64_t owner = x->owner;
  if (bound == NULL || bound->port == 0) {
    x->state = AQ_EXTRA_FREE;
    ep->nextra--;
    bound = NULL;
  } else {
    x->state = AQ_EXTRA_OPEN;
    x->sock.bound = *bound;
    ep->stats.extra_sockets_opened++;
    give_back(ep, x);
  }
  if (owner == AQ_OWNER_PROFILE) {
    aq_profile_socket(ep, index, bound);
  } else {
    aq_hard_opened(ep, owner, index, bound);
  }
  aq_ep_settle(ep);
}
