/* SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <stdio.h>
#include <string.h>

static int is_same_node(const aq_boot *b, const aq_addr *addr) {
  return b->used && aq_addr_equal(&b->conf.addr, addr);
}

int aq_endpoint_add_bootstrap(aq_endpoint *ep, aq_tstamp now,
                              const aq_bootstrap_addr *conf) {
  aq_ep_enter(ep, now);
  aq_addr_kind kind = aq_addr_classify(&conf->addr);
  if (conf->addr.port == 0 || kind == AQ_ADDR_NONE ||
      kind == AQ_ADDR_UNSPECIFIED || kind == AQ_ADDR_MULTICAST ||
      kind == AQ_ADDR_BROADCAST) {
    return AQ_ERR_ADDRESS;
  }
  aq_boot *b = NULL;
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    if (is_same_node(&ep->boot[i], &conf->addr)) {
      return AQ_ERR_INVAL;
    }
    if (b == NULL && !ep->boot[i].used) {
      b = &ep->boot[i];
    }
  }
  if (b == NULL) {
    return AQ_ERR_LIMIT;
  }
  memset(b, 0, sizeof(*b));
  b->used = 1;
  b->index = (uint32_t)(b - ep->boot);
  b->conf = *conf;
  b->has_peer = conf->pinned;
  b->peer = conf->peer;
  b->backoff = AQ_BOOT_BACKOFF_MIN;
  b->retry_at = ep->now;
  ep->nboot++;
  aq_boot_timeout(ep);
  aq_ep_settle(ep);
  return 0;
}

int aq_endpoint_remove_bootstrap(aq_endpoint *ep, aq_tstamp now,
                                 const aq_addr *addr) {
  aq_ep_enter(ep, now);
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    aq_boot *b = &ep->boot[i];
    if (!is_same_node(b, addr)) {
      continue;
    }
    aq_link *l = b->link;
    b->link = NULL;
    b->used = 0;
    ep->nboot--;
    if (l != NULL) {
      l->boot = NULL;
      if (!l->reported && !l->user) {
        aq_link_close(l, 1, 0, "", 0);
      }
      aq_session_coordinators(ep, l, NULL);
    }
    aq_profile_boots(ep);
    aq_ep_settle(ep);
    return 0;
  }
  return AQ_ERR_INVAL;
}

size_t aq_endpoint_get_bootstrap(const aq_endpoint *ep, aq_bootstrap_info *out,
                                 size_t max) {
  size_t n = 0;
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    const aq_boot *b = &ep->boot[i];
    if (!b->used) {
      continue;
    }
    if (n < max) {
      aq_bootstrap_info *o = &out[n];
      memset(o, 0, sizeof(*o));
      o->addr = b->conf.addr;
      o->connected = b->connected;
      o->can_coordinate = b->can_coordinate;
      o->can_relay = b->relays;
      o->has_peer = b->has_peer;
      o->peer = b->peer;
      o->last_seen = b->last_seen;
      o->rtt = b->rtt;
      o->coordination_count = b->coordination_count;
      o->failures = b->failures;
      o->coordination_failures = b->coordination_failures;
      o->unanswered = b->unanswered;
      o->failed_at = b->failed_at;
      o->observed = b->observed;
      if (b->connected && b->link != NULL) {
        aq_conn_info info;
        memset(&info, 0, sizeof(info));
        aq_conn_get_info_of(b->link->c, ep->now, &info);
        o->conn = b->link->pub;
        o->rtt = info.rtt;
        o->last_seen = aq_time_max(b->last_seen, info.last_activity);
        if (b->link->observed.family != 0) {
          o->observed = b->link->observed;
        }
      }
    }
    n++;
  }
  return n;
}

/* ---- dialing
 * ------------------------------------------------------------------ */

static void back_off(aq_endpoint *ep, aq_boot *b) {
  aq_duration jitter = aq_rand_below(&ep->rand, b->backoff / 4 + 1);
  b->retry_at = aq_time_add(ep->now, b->backoff + jitter);
  b->backoff =
      aq_time_clamp(b->backoff * 2, AQ_BOOT_BACKOFF_MIN, AQ_BOOT_BACKOFF_MAX);
}

/* The connection to that peer that is there anyway. */
static aq_link *known_link(aq_endpoint *ep, const aq_boot *b) {
  if (!b->conf.pinned) {
    return NULL;
  }
  aq_contact *k = aq_contact_find(ep, &b->conf.peer);
  aq_link *l = k != NULL ? k->exposed : NULL;
  return l != NULL && !aq_tunnel_is_socket(l->socket) ? l : NULL;
}

static void dial(aq_endpoint *ep, aq_boot *b) {
  aq_link *l = known_link(ep, b);
  b->retry_at = AQ_NEVER;
  if (l != NULL && l->boot == NULL) {
    aq_boot_up(b, l);
    return;
  }
  aq_dial_params p;
  memset(&p, 0, sizeof(p));
  p.addr = &b->conf.addr;
  p.expect = b->conf.pinned ? &b->conf.peer : NULL;
  p.coordination = 1;
  p.timeout = AQ_BOOT_DIAL_TIMEOUT;
  p.rtt = b->rtt; /* where it was there before: it may be back in a moment */
  p.socket = UINT32_MAX;
  int rv = aq_link_dial(ep, &p, &l);
  if (rv != 0) {
    aq_boot_down(ep, b, rv, aq_error_text(rv));
    return;
  }
  l->boot = b;
  b->link = l;
}

void aq_boot_timeout(aq_endpoint *ep) {
  if (ep->closing || ep->nboot == 0) {
    return;
  }
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    aq_boot *b = &ep->boot[i];
    if (b->used && b->link == NULL && b->retry_at <= ep->now &&
        aq_ep_socket_for(ep, &b->conf.addr) != NULL) {
      dial(ep, b);
    }
  }
}

aq_tstamp aq_boot_next(const aq_endpoint *ep) {
  aq_tstamp t = AQ_NEVER;
  if (ep->closing || ep->nboot == 0) {
    return t;
  }
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    const aq_boot *b = &ep->boot[i];
    if (b->used && b->link == NULL &&
        aq_ep_socket_for(ep, &b->conf.addr) != NULL) {
      t = aq_time_min(t, b->retry_at);
    }
  }
  return t;
}

/* ---- what becomes of it
 * -------------------------------------------------------- */

static aq_event *boot_event(aq_endpoint *ep, const aq_boot *b,
                            aq_event_kind kind) {
  aq_event *e = aq_ep_event(ep, kind);
  e->addr = b->conf.addr;
  if (b->has_peer) {
    aq_ep_event_peer(e, &b->peer);
  }
  e->conn = b->link != NULL ? b->link->pub : 0;
  e->duration = b->rtt;
  return e;
}

int aq_boot_says_so(const aq_link *l) {
  return aq_conn_has_control(l->c) &&
         (aq_conn_remote_params(l->c)->control_flags &
          AQ_CONTROL_FLAG_COORDINATES) != 0;
}

void aq_boot_up(aq_boot *b, aq_link *l) {
  aq_endpoint *ep = l->ep;
  b->link = l;
  l->boot = b;
  b->connected = 1;
  b->retry_at = AQ_NEVER;
  b->backoff = AQ_BOOT_BACKOFF_MIN;
  b->failures = 0;
  b->has_peer = 1;
  b->peer = l->peer;
  b->rtt = aq_link_rtt(l);
  b->last_seen = ep->now;
  /* It need not say so again in REGISTERED before it may be asked. */
  b->can_coordinate = (uint8_t)aq_boot_says_so(l);
  boot_event(ep, b, AQ_EVENT_BOOTSTRAP_CONNECTED);
  aq_ctl_register(l);
  aq_session_coordinators(ep, NULL, b);
  aq_link_touch(l);
}

void aq_boot_soon(aq_endpoint *ep, aq_boot *b) {
  aq_duration jitter = aq_rand_below(&ep->rand, AQ_BOOT_SPREAD);
  b->retry_at = aq_time_min(b->retry_at, aq_time_add(ep->now, jitter));
}

void aq_boot_down(aq_endpoint *ep, aq_boot *b, int error, const char *why) {
  int was = b->connected;
  aq_link *l = b->link;
  if (l != NULL) {
    l->boot = NULL;
  }
  b->connected = 0;
  b->can_coordinate = 0;
  b->observes = b->relays = 0;
  if (!was) {
    b->failures++;
  }
  back_off(ep, b);
  if (was && error == AQ_ERR_STATELESS_RESET) {
    aq_boot_soon(ep, b); /* it was started anew */
  }
  if (was || b->failures == 1) {
    aq_event *e = boot_event(ep, b, AQ_EVENT_BOOTSTRAP_LOST);
    e->error = error;
    e->value = b->failures;
    snprintf(e->text, sizeof(e->text), "%s", why);
  }
  b->link = NULL;
  aq_session_coordinators(ep, l, b);
  aq_profile_boots(ep);
}

void aq_boot_later(aq_endpoint *ep, aq_boot *b, const aq_peer_id *peer) {
  b->link = NULL;
  b->has_peer = 1;
  b->peer = *peer;
  back_off(ep, b);
}

void aq_boot_direct(aq_link *l) {
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    aq_boot *b = &l->ep->boot[i];
    if (b->used && b->link == NULL && b->has_peer &&
        aq_peer_id_compare(&b->peer, &l->peer) == 0) {
      b->retry_at = l->ep->now;
    }
  }
}

void aq_boot_registered(aq_endpoint *ep, aq_boot *b, const aq_ctl *m) {
  static const uint8_t none[AQ_CTL_TOKEN_LEN];
  b->can_coordinate = (m->capabilities & AQ_CTL_CAP_COORDINATE) != 0;
  b->relays = (m->capabilities & AQ_CTL_CAP_RELAY) != 0;
  b->last_seen = ep->now;
  b->rtt = aq_link_rtt(b->link);
  if (m->observed.family != 0) {
    b->observed = m->observed;
  }
  b->observes = memcmp(m->token, none, sizeof(none)) != 0;
  memcpy(b->token, m->token, sizeof(b->token));
  memcpy(b->observe_key, m->observe_key, sizeof(b->observe_key));
  b->alternate_count = m->alternate_count;
  memcpy(b->alternate, m->alternate, sizeof(b->alternate));
  int first = !b->link->registered;
  b->link->registered = 1;
  aq_session_coordinators(ep, NULL, NULL);
  if (first) {
    aq_repair_retry(ep);
  }
  aq_profile_boots(ep);
}

void aq_boot_unanswered(aq_endpoint *ep, aq_boot *b) {
  b->coordination_failures++;
  b->unanswered++;
  b->failed_at = ep->now;
}

static int is_better(const aq_boot *a, const aq_boot *b, uint32_t used) {
  int a_used = used >> a->index & 1, b_used = used >> b->index & 1;
  if (a_used != b_used) {
    return b_used;
  }
  if (a->link->repair.suspected != b->link->repair.suspected) {
    return b->link->repair.suspected; /* it is silent now */
  }
  if (a->link->registered != b->link->registered) {
    return a->link->registered; /* the other may have no room for us, ever */
  }
  if (a->unanswered != b->unanswered) {
    return a->unanswered < b->unanswered;
  }
  return a->rtt < b->rtt;
}

aq_boot *aq_boot_best(aq_endpoint *ep, uint32_t tried, uint32_t used,
                      int relay) {
  aq_boot *best = NULL;
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    aq_boot *b = &ep->boot[i];
    if (!b->used || !b->connected || !b->can_coordinate ||
        (relay && !b->relays) || (tried & (1u << b->index))) {
      continue;
    }
    b->rtt = aq_link_rtt(b->link);
    if (best == NULL || is_better(b, best, used)) {
      best = b;
    }
  }
  return best;
}

aq_boot *aq_boot_of_conn(aq_endpoint *ep, aq_id conn) {
  const aq_link *l = aq_link_get(ep, conn);
  return l != NULL && l->boot != NULL && l->boot->connected ? l->boot : NULL;
}

uint32_t aq_boot_number(const aq_link *l) {
  return l->boot != NULL ? l->boot->index : AQ_MAX_BOOTSTRAP;
}

int aq_boot_hope(const aq_endpoint *ep, uint32_t tried, int relay) {
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    const aq_boot *b = &ep->boot[i];
    if (!b->used || (tried & (1u << b->index))) {
      continue;
    }
    int able = relay ? b->relays : b->can_coordinate;
    if (b->connected ? (aq_conn_has_control(b->link->c) &&
                        (able || !b->link->registered))
                     : b->failures == 0) {
      return 1;
    }
  }
  return 0;
}
