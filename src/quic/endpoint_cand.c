/* endpoint_cand.c - our own candidates: what discovery found, and which of it
 * others are told. Who decides that gets a moment to do so; silence means all.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <string.h>

/* How long new candidates are kept back with ask_candidates. */
#define HOLD (100 * AQ_MS)

size_t aq_endpoint_get_candidates(const aq_endpoint *ep, aq_candidate *out,
                                  size_t max) {
  size_t n = ep->disc.ncand;
  for (size_t i = 0; i < n && i < max; i++) {
    out[i] = ep->disc.cand[i];
  }
  return n;
}

size_t aq_ep_published(const aq_endpoint *ep, aq_candidate *out, size_t max) {
  size_t n = ep->npublished < max ? ep->npublished : max;
  memcpy(out, ep->published, n * sizeof(*out));
  return n;
}

static int is_hidden(const aq_endpoint *ep, const aq_addr *a) {
  for (size_t i = 0; i < ep->nhidden; i++) {
    if (aq_addr_equal(&ep->hidden[i], a)) {
      return 1;
    }
  }
  return 0;
}

/* Connections learn of it when they next have something to do; the
 * coordinators, which strangers ask, at once. */
static void publish(aq_endpoint *ep) {
  ep->publish_at = AQ_NEVER;
  ep->npublished = 0;
  for (size_t i = 0; i < ep->disc.ncand; i++) {
    const aq_candidate *c = &ep->disc.cand[i];
    if (ep->npublished < AQ_MAX_CANDIDATES && !is_hidden(ep, &c->addr)) {
      ep->published[ep->npublished++] = *c;
    }
  }
  ep->cand_gen++;
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    if (ep->boot[i].used && ep->boot[i].connected) {
      aq_link_touch(ep->boot[i].link);
    }
  }
}

void aq_ep_disc_changed(aq_endpoint *ep) {
  aq_disc_change c;
  int any = 0;
  while (aq_disc_poll_change(&ep->disc, &c)) {
    aq_event *e = aq_ep_event(ep, c.removed ? AQ_EVENT_CANDIDATE_REMOVED
                                            : AQ_EVENT_CANDIDATE_DISCOVERED);
    e->cand = c.cand;
    e->addr = c.cand.addr;
    any = 1;
  }
  if (!any) {
    return;
  }
  if (!ep->shared.params.ask_candidates) {
    publish(ep);
  } else if (ep->publish_at == AQ_NEVER) {
    ep->publish_at = ep->now + HOLD;
  }
}

void aq_cand_timeout(aq_endpoint *ep) {
  if (ep->publish_at <= ep->now) {
    publish(ep);
  }
}

int aq_endpoint_hide_candidates(aq_endpoint *ep, aq_tstamp now,
                                const aq_addr *v, size_t n) {
  aq_ep_enter(ep, now);
  if (n > AQ_MAX_CANDIDATES) {
    return AQ_ERR_LIMIT;
  }
  int same = n == ep->nhidden;
  for (size_t i = 0; i < n; i++) {
    same = same && aq_addr_equal(&ep->hidden[i], &v[i]);
    ep->hidden[i] = v[i];
  }
  ep->nhidden = n;
  if (!same || ep->publish_at != AQ_NEVER) {
    publish(ep);
    aq_ep_settle(ep);
  }
  return 0;
}
