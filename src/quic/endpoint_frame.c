/* endpoint_frame.c - extension frames: what peers see of us, what we announce,
 * what they announce.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include "base/addr.h"

#include <string.h>

static int is_current(const aq_endpoint *ep, uint64_t seq) {
  for (size_t i = 0; i < ep->npublished; i++) {
    if (ep->published[i].seq == seq) {
      return 1;
    }
  }
  return 0;
}

static int is_announced(const aq_link *l, uint64_t seq) {
  for (size_t i = 0; i < l->nannounced; i++) {
    if (l->announced[i] == seq) {
      return 1;
    }
  }
  return 0;
}

static int queue(aq_link *l, const aq_frame *f) {
  int rv = aq_conn_send_frame(l->c, f);
  if (rv == AQ_ERR_LIMIT) {
    AQ_LIMIT_HIT(l->ep, limit_extension_frames);
  } else if (rv == 0) {
    AQ_RECORD(l->ep, aq_record_frame(l, AQ_RECORD_FRAME_SENT, f));
  }
  return rv;
}

static int announce(aq_link *l, const aq_addr *addr, uint64_t seq) {
  aq_endpoint *ep = l->ep;
  if (l->announced == NULL) {
    l->announced =
        aq_mem_array(&ep->mem, AQ_MAX_ANNOUNCED, sizeof(*l->announced));
    if (l->announced == NULL) {
      return AQ_ERR_NOMEM;
    }
  }
  if (l->nannounced == AQ_MAX_ANNOUNCED) {
    AQ_LIMIT_HIT(ep, limit_candidates);
    return AQ_ERR_LIMIT;
  }
  aq_frame f;
  memset(&f, 0, sizeof(f));
  f.kind = AQ_FRAME_ADD_ADDRESS;
  f.seq = seq;
  f.addr = *addr;
  int rv = queue(l, &f);
  if (rv == 0) {
    l->announced[l->nannounced++] = seq;
    ep->stats.add_address_sent++;
  }
  return rv;
}

static int withdraw(aq_link *l, uint64_t seq) {
  aq_frame f;
  memset(&f, 0, sizeof(f));
  f.kind = AQ_FRAME_REMOVE_ADDRESS;
  f.seq = seq;
  int rv = queue(l, &f);
  if (rv != 0) {
    return rv;
  }
  l->ep->stats.remove_address_sent++;
  for (size_t i = 0; i < l->nannounced; i++) {
    if (l->announced[i] == seq) {
      l->announced[i] = l->announced[--l->nannounced];
      break;
    }
  }
  return 0;
}

/* Sequence numbers of addresses that the application announced itself; apart
 * from those of discovery. */
#define AQ_USER_SEQ (UINT64_C(1) << 40)

void aq_frame_sync(aq_link *l) {
  aq_endpoint *ep = l->ep;
  if (l->told_gen == ep->cand_gen) {
    return;
  }
  if (l->told_gen != 0 &&
      !aq_rate_take(&l->sync_rate, ep->now, AQ_SYNC_RATE, AQ_SYNC_BURST)) {
    return; /* the next time that something happens on it */
  }
  l->told_gen = ep->cand_gen;
  for (size_t i = l->nannounced; i-- > 0;) {
    uint64_t seq = l->announced[i];
    if (seq < AQ_USER_SEQ && !is_current(ep, seq)) {
      int rv = withdraw(l, seq);
      if (rv == AQ_ERR_LIMIT) {
        l->told_gen = 0; /* when earlier ones are acknowledged */
      }
      if (rv != 0) {
        return;
      }
    }
  }
  for (size_t i = 0; i < ep->npublished; i++) {
    const aq_candidate *c = &ep->published[i];
    int rv = is_announced(l, c->seq) ? 0 : announce(l, &c->addr, c->seq);
    if (rv != 0) {
      if (rv == AQ_ERR_LIMIT && l->nannounced < AQ_MAX_ANNOUNCED) {
        l->told_gen = 0; /* when earlier ones are acknowledged */
      }
      return;
    }
  }
}

void aq_frame_send_observed(aq_link *l) {
  if (aq_addr_equal(&l->told_observed, &l->remote) ||
      aq_tunnel_is_socket(l->socket)) {
    return;
  }
  aq_frame f;
  memset(&f, 0, sizeof(f));
  f.kind = AQ_FRAME_OBSERVED_ADDRESS;
  f.seq = l->obs_seq;
  f.addr = l->remote;
  if (queue(l, &f) == 0) {
    l->obs_seq++;
    l->told_observed = l->remote;
    l->ep->stats.observed_address_sent++;
  }
}

int aq_conn_add_address(aq_endpoint *ep, aq_tstamp now, aq_id conn,
                        const aq_addr *addr, uint64_t *seq) {
  aq_ep_enter(ep, now);
  aq_link *l = aq_link_get(ep, conn);
  if (l == NULL || l->state != AQ_LINK_EXPOSED) {
    return AQ_ERR_CLOSED;
  }
  uint64_t next = AQ_USER_SEQ + l->next_user_seq;
  int rv = announce(l, addr, next);
  if (rv == 0) {
    l->next_user_seq++;
    *seq = next;
    aq_link_touch(l);
    aq_ep_settle(ep);
  }
  return rv;
}

int aq_conn_remove_address(aq_endpoint *ep, aq_tstamp now, aq_id conn,
                           uint64_t seq) {
  aq_ep_enter(ep, now);
  aq_link *l = aq_link_get(ep, conn);
  if (l == NULL || l->state != AQ_LINK_EXPOSED) {
    return AQ_ERR_CLOSED;
  }
  if (!is_announced(l, seq)) {
    return AQ_ERR_INVAL;
  }
  int rv = withdraw(l, seq);
  if (rv == 0) {
    aq_link_touch(l);
    aq_ep_settle(ep);
  }
  return rv;
}

/* ---- what the peer says
 * ----------------------------------------------------------- */

int aq_link_observed(aq_link *l, const aq_addr *addr, uint64_t seq) {
  aq_endpoint *ep = l->ep;
  int news = !aq_addr_equal(&l->observed, addr);
  if (aq_tunnel_is_socket(l->socket)) {
    return 0; /* whoever is behind a relay doesn't see us */
  }
  if (news && !aq_rate_take(&l->obs_rate, ep->now, AQ_OBS_RATE, AQ_OBS_BURST)) {
    AQ_LIMIT_HIT(ep, limit_extension_frames);
    return 0; /* no path changes so often */
  }
  if (news && l->boot != NULL && l->observed.family != 0) {
    aq_repair_moved(ep);
    if (!aq_addr_same_ip(&l->observed, addr)) {
      aq_profile_moved(ep);
    }
  }
  l->observed = *addr;
  if (l->boot != NULL) {
    l->boot->observed = *addr;
  }
  if (news) {
    aq_event *e = aq_ep_event(ep, AQ_EVENT_ADDRESS_OBSERVED);
    e->conn = l->pub;
    aq_ep_event_peer(e, &l->peer);
    e->addr = *addr;
    e->local = l->remote;
    e->value = seq;
  }
  if (aq_disc_observe(&ep->disc, ep->now, l->id, aq_conn_proven(l->c),
                      l->socket, seq, addr, l->boot != NULL)) {
    aq_ep_disc_changed(ep);
  }
  ep->stats.observed_address_ignored = ep->disc.observed_ignored;
  return 1;
}

static void observed(aq_link *l, const aq_frame *f) {
  l->ep->stats.observed_address_received++;
  if (l->obs_frames && f->seq <= l->obs_seen) {
    return; /* an older one that was late */
  }
  if (aq_link_observed(l, &f->addr, f->seq)) {
    l->obs_frames = 1;
    l->obs_seen = f->seq;
  }
}

static aq_session *session_of(const aq_link *l) {
  aq_session *s = l->contact != NULL ? l->contact->session : NULL;
  return s != NULL && !s->over ? s : NULL;
}

/* What a peer announces faster is kept, but moves nothing. */
static void tell_session(aq_link *l, const aq_candidate *c) {
  aq_session *s = session_of(l);
  if (!aq_rate_take(&l->cand_rate, l->ep->now, AQ_CAND_RATE, AQ_CAND_BURST)) {
    AQ_LIMIT_HIT(l->ep, limit_extension_frames);
  } else if (s != NULL) {
    aq_trav_handle_candidate(s->trav, l->ep->now, c);
    aq_session_touch(s);
  }
}

static void added(aq_link *l, const aq_frame *f) {
  aq_endpoint *ep = l->ep;
  ep->stats.add_address_received++;
  if (l->rcand == NULL) {
    l->rcand = aq_mem_alloc(&ep->mem, sizeof(*l->rcand));
    if (l->rcand == NULL) {
      return;
    }
  }
  for (size_t i = 0; i < l->rcand->n; i++) {
    if (l->rcand->v[i].seq == f->seq) {
      return; /* sent again */
    }
  }
  if (l->rcand->n == AQ_MAX_REMOTE_CANDS) {
    AQ_LIMIT_HIT(ep, limit_extension_frames);
    aq_link_violation(l, "too many addresses were announced");
    return;
  }
  aq_candidate *c = &l->rcand->v[l->rcand->n++];
  memset(c, 0, sizeof(*c));
  c->addr = f->addr;
  c->seq = f->seq;
  c->source = AQ_SOURCE_OBSERVED;
  c->state = AQ_CAND_NEW;
  c->priority = aq_cand_priority(AQ_SOURCE_OBSERVED,
                                 (uint32_t)(65535 - (l->rcand->n & 0xff)));
  tell_session(l, c);
}

static void removed(aq_link *l, const aq_frame *f) {
  l->ep->stats.remove_address_received++;
  for (size_t i = 0; l->rcand != NULL && i < l->rcand->n; i++) {
    aq_candidate *c = &l->rcand->v[i];
    if (c->seq == f->seq) {
      c->state = AQ_CAND_REMOVED;
      tell_session(l, c);
      *c = l->rcand->v[--l->rcand->n];
      return;
    }
  }
}

void aq_frame_received(aq_link *l, const aq_frame *f) {
  if (aq_conn_is_closed(l->c)) {
    return; /* an earlier frame of the same packet was one too many */
  }
  AQ_RECORD(l->ep, aq_record_frame(l, AQ_RECORD_FRAME_RECEIVED, f));
  switch (f->kind) {
  case AQ_FRAME_OBSERVED_ADDRESS:
    observed(l, f);
    break;
  case AQ_FRAME_ADD_ADDRESS:
    added(l, f);
    break;
  case AQ_FRAME_REMOVE_ADDRESS:
    removed(l, f);
    break;
  case AQ_FRAME_PUNCH_ME_NOW:
    /* Anybody could aim us with it: only a coordinator's offer, which both
     * sides' keys vouch for, makes us send anything. */
    l->ep->stats.punch_me_now_received++;
    break;
  }
}

size_t aq_conn_get_remote_candidates(const aq_endpoint *ep, aq_id conn,
                                     aq_candidate *out, size_t max) {
  const aq_link *l = aq_link_get(ep, conn);
  if (l == NULL || l->rcand == NULL) {
    return 0;
  }
  for (size_t i = 0; i < l->rcand->n && i < max; i++) {
    out[i] = l->rcand->v[i];
  }
  return l->rcand->n;
}
