/* endpoint_pair.c - one connection per pair of peers.
 *
 * Both may dial each other at once. Call S the connection whose client has the
 * smaller peer id, G the other one. Each server tells in its handshake whether
 * it has dials running (the flag). Then, on both sides alike:
 *   - either flag set: S stays;
 *   - neither: the one that was complete when the other's first packet came.
 * A client that may lose (it is G's and the server's flag was set, or somebody
 * is arriving at it right now) does not tell its application before the server
 * sent ACCEPTED. So nothing that was written is ever lost.
 *
 * A second connection of a peer that has one already is held: the older one is
 * pinged, and closes the newer one by answering or makes room by silence.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <stdio.h>
#include <string.h>

#define AQ_HOLD_MIN (100 * AQ_MS)
#define AQ_HOLD_MAX AQ_S

/* ---- contacts ---------------------------------------------------------------
 */

aq_contact *aq_contact_find(const aq_endpoint *ep, const aq_peer_id *id) {
  return aq_hash_get(&ep->contacts, id->bytes, sizeof(id->bytes));
}

aq_contact *aq_contact_make(aq_endpoint *ep, const aq_peer_id *id) {
  aq_contact *k = aq_contact_find(ep, id);
  if (k != NULL) {
    return k;
  }
  k = aq_mem_alloc(&ep->mem, sizeof(*k));
  if (k == NULL) {
    return NULL;
  }
  k->id = *id;
  aq_list_init(&k->members);
  if (aq_hash_put(&ep->contacts, id->bytes, sizeof(id->bytes), k) != 0) {
    aq_mem_free(&ep->mem, k);
    return NULL;
  }
  return k;
}

void aq_contact_release(aq_endpoint *ep, aq_contact *k) {
  if (k->exposed == NULL && k->session == NULL &&
      aq_list_is_empty(&k->members)) {
    aq_hash_remove(&ep->contacts, k->id.bytes, sizeof(k->id.bytes));
    aq_mem_free(&ep->mem, k);
  }
}

void aq_contact_join(aq_contact *k, aq_link *l) {
  l->contact = k;
  aq_list_push_back(&k->members, &l->contact_node);
}

void aq_contact_leave(aq_link *l) {
  aq_contact *k = l->contact;
  if (k == NULL) {
    return;
  }
  l->contact = NULL;
  aq_list_remove(&l->contact_node);
  if (k->exposed == l) {
    k->exposed = NULL;
  }
  aq_contact_release(l->ep, k);
}

static aq_link *member(aq_list *node) {
  return aq_list_entry(node, aq_link, contact_node);
}

/* An own dial that may still become the connection. */
static aq_link *own_dial(const aq_contact *k) {
  aq_link *dialing = NULL;
  aq_list_each(node, &k->members) {
    aq_link *m = member(node);
    if (m->state == AQ_LINK_WAIT_ACCEPT) {
      return m;
    }
    if (m->state == AQ_LINK_DIALING) {
      dialing = m;
    }
  }
  return dialing;
}

static aq_link *first_held(const aq_contact *k) {
  aq_list_each(node, &k->members) {
    if (member(node)->state == AQ_LINK_HELD) {
      return member(node);
    }
  }
  return NULL;
}

/* A dial without an expected key may be to the same peer: the address says
 * whether to treat it so. */
static void adopt_loose(aq_contact *k, const aq_link *l) {
  aq_list_each_safe(node, &l->ep->loose) {
    aq_link *m = aq_list_entry(node, aq_link, loose_node);
    if (m->contact == NULL && aq_addr_equal(&m->remote, &l->remote)) {
      aq_contact_join(k, m);
    }
  }
}

/* ---- what the application hears
 * ------------------------------------------------ */

static aq_event *conn_event(aq_link *l, aq_event_kind kind, aq_id as) {
  aq_event *e = aq_ep_event(l->ep, kind);
  e->conn = as;
  e->session = l->session;
  e->relayed = (uint8_t)aq_tunnel_show(l, &e->addr, &e->local);
  if (l->has_peer) {
    aq_ep_event_peer(e, &l->peer);
  }
  return e;
}

static void tell_established(aq_link *l, aq_id as) {
  aq_conn_info info;
  memset(&info, 0, sizeof(info));
  aq_conn_get_info_of(l->c, l->ep->now, &info);
  aq_event *e = conn_event(l, AQ_EVENT_CONNECTION_ESTABLISHED, as);
  e->outgoing = l->client || l->user;
  e->duration = info.rtt;
  e->value = as != l->pub ? l->pub : 0;
  snprintf(e->text, sizeof(e->text), "%s", info.alpn);
}

void aq_pair_report(aq_link *l, aq_id as) {
  if (!l->reported) {
    l->reported = 1;
    aq_ep_readable(l);
  }
  tell_established(l, as);
}

/* The application knows the protocol: it is one of those it named. */
static int speaks_ours(const aq_link *l) {
  aq_conn_info info;
  memset(&info, 0, sizeof(info));
  aq_conn_get_info_of(l->c, l->ep->now, &info);
  return aq_tls_ctx_has_alpn(l->ep->shared.tls, info.alpn);
}

static void first_report(aq_link *l) {
  const aq_session *s = aq_session_get(l->ep, l->session);
  int asked = l->client || l->user || (s != NULL && s->initiator);
  if (l->client && l->boot != NULL && l->user && !speaks_ours(l)) {
    /* The node coordinates, but the application's protocol is not its. */
    aq_event *e = conn_event(l, AQ_EVENT_DIAL_FAILED, l->pub);
    e->error = AQ_ERR_ALPN;
    e->outgoing = 1;
    snprintf(e->text, sizeof(e->text), "%s", aq_error_text(AQ_ERR_ALPN));
    l->user = 0;
  }
  if (l->client && l->boot != NULL && !l->user && l->session == 0) {
    return; /* ours alone, until the application asks for it */
  }
  if (!asked && !speaks_ours(l)) {
    return; /* it came for coordination alone */
  }
  l->reported = 1;
  if (!asked) {
    conn_event(l, AQ_EVENT_CONNECTION_INCOMING, l->pub);
  }
  tell_established(l, l->pub);
  aq_ep_readable(l);
}

static void dial_failed(aq_link *l, int error, const char *text,
                        uint64_t code) {
  aq_endpoint *ep = l->ep;
  ep->stats.connections_failed++;
  if (l->user) {
    aq_event *e = conn_event(l, AQ_EVENT_DIAL_FAILED, l->pub);
    e->error = error;
    e->value = code;
    e->outgoing = 1;
    e->duration = aq_time_since(ep->now, l->created);
    snprintf(e->text, sizeof(e->text), "%s", text);
  }
  if (l->session != 0) {
    aq_session_dialed(l, error);
  }
  if (l->boot != NULL) {
    aq_boot_down(ep, l->boot, error, text);
  }
}

static aq_reason reason_of(int error) {
  switch (error) {
  case AQ_OK:
    return AQ_REASON_USER_CLOSED;
  case AQ_ERR_PEER_CLOSED:
  case AQ_ERR_DUPLICATE:
    return AQ_REASON_CONNECTION_CLOSED;
  case AQ_ERR_IDLE_TIMEOUT:
  case AQ_ERR_TIMEOUT:
    return AQ_REASON_TIMEOUT;
  default:
    return AQ_REASON_NETWORK_ERROR;
  }
}

static void tell_lost(aq_link *l, const aq_notice *n) {
  if (n->error != 0) {
    l->ep->stats.connections_lost++;
  }
  if (!l->reported) {
    return;
  }
  aq_session_lost(l, n->error, reason_of(n->error), n->text);
  aq_event *e = conn_event(l, AQ_EVENT_CONNECTION_LOST, l->pub);
  e->error = n->error;
  e->value = n->code;
  e->outgoing = l->client;
  e->reason = reason_of(n->error);
  e->duration = aq_time_since(l->ep->now, l->exposed_at);
  snprintf(e->text, sizeof(e->text), "%s", n->text);
}

/* ---- one stays
 * ------------------------------------------------------------------- */

/* The id of |m|, a dial of the application, means |l| from now on. */
static void forward(aq_link *m, aq_link *l) {
  if (m->boot != NULL) {
    aq_boot *b = m->boot;
    m->boot = NULL;
    if (aq_tunnel_is_socket(l->socket)) {
      aq_boot_later(l->ep, b, &l->peer); /* once it is direct */
    } else if (l->boot == NULL) {
      aq_boot_up(b, l);
    } else {
      b->link = NULL; /* two entries are one node: the first one keeps it */
      aq_boot_down(l->ep, b, AQ_ERR_DUPLICATE, "the same node twice");
    }
  }
  if (!m->user || m->target != 0) {
    return;
  }
  m->target = l->id;
  aq_list_push_back(&l->forwards, &m->fwd_node);
  if (!l->reported && !l->user) {
    l->pub = m->pub;
    l->user = 1;
  } else {
    aq_pair_report(l, m->pub);
  }
}

/* |l| won't be the connection to its peer. */
static void put_away(aq_link *l, aq_link *winner) {
  aq_link_state was = l->state;
  if (was != AQ_LINK_DIALING) {
    aq_repair_take(winner, l);
  }
  forward(l, winner);
  aq_contact_leave(l);
  l->deadline = AQ_NEVER;
  if (was == AQ_LINK_DIALING) {
    aq_link_drop(l); /* without a word: the peer knows nothing of it */
    return;
  }
  l->state = AQ_LINK_GONE;
  if (was != AQ_LINK_DUP_WAIT) {
    aq_link_close(l, 0, NGTCP2_NO_ERROR, "duplicate", 9);
  }
  l->deadline = aq_time_add(l->ep->now, AQ_ACCEPT_WAIT);
}

static void expose(aq_link *l) {
  aq_endpoint *ep = l->ep;
  aq_contact *k = l->contact;
  aq_list_remove(&l->contact_node);
  k->exposed = l;
  l->state = AQ_LINK_EXPOSED;
  l->exposed_at = ep->now;
  l->deadline = AQ_NEVER;
  aq_place_set(l);
  aq_session *s = k->session;
  if (s != NULL && s->repair) {
    s = NULL; /* of the connection before */
  }
  if (s != NULL && !s->over) {
    if (l->session == 0) {
      l->session = s->id;
    }
    s->conn = l->id;
  }
  aq_list_each_safe(node, &k->members) {
    put_away(member(node), l);
  }
  ep->stats.connections_established++;
  if (!l->client) {
    ep->stats.connections_accepted++;
    aq_ctl_accepted(l);
  }
  aq_frame_send_observed(l);
  if (l->boot != NULL) {
    aq_boot_up(l->boot, l);
  }
  first_report(l);
  if (s != NULL && !s->over) {
    s->conn = l->pub;
    aq_session_connected(s, l);
  }
  aq_link_touch(l);
}

/* How long to wait for a dial of ours that goes before an arrival. */
static aq_duration grace(const aq_link *l) {
  return aq_time_clamp(3 * aq_link_rtt(l), AQ_HOLD_MIN, AQ_HOLD_MAX);
}

static void hold(aq_link *l, aq_tstamp deadline) {
  l->state = AQ_LINK_HELD;
  l->deadline = deadline;
}

static void hold_behind(aq_link *l, aq_link *older) {
  aq_endpoint *ep = l->ep;
  aq_conn_info info;
  memset(&info, 0, sizeof(info));
  aq_conn_get_info_of(older->c, ep->now, &info);
  if (older->pinged == 0) {
    older->pinged = ep->now > 0 ? ep->now : 1;
    older->ping_bytes = info.bytes_received;
    aq_conn_ping_now(older->c, ep->now);
    aq_link_touch(older);
  }
  aq_duration pto = info.rtt + 4 * info.rttvar + 25 * AQ_MS;
  hold(l, aq_time_add(ep->now, aq_time_max(AQ_S, 3 * pto)));
}

/* Did the server of this client's link say that it is dialing somebody? */
static int remote_flag(const aq_link *l) {
  const aq_tparams *t = aq_conn_remote_params(l->c);
  return t != NULL && t->has_control &&
         (t->control_flags & AQ_CONTROL_FLAG_DIALING) != 0;
}

static void complete_client(aq_link *l, aq_contact *k) {
  aq_endpoint *ep = l->ep;
  int larger = aq_peer_id_compare(&ep->self, &l->peer) > 0;
  if (k->exposed != NULL) {
    hold_behind(l, k->exposed);
  } else if (aq_conn_has_control(l->c) &&
             ((larger && remote_flag(l)) || ep->narriving > 0)) {
    l->state = AQ_LINK_WAIT_ACCEPT;
    l->deadline = aq_time_add(ep->now, AQ_ACCEPT_WAIT);
  } else {
    expose(l);
  }
}

static void complete_server(aq_link *l, aq_contact *k) {
  aq_endpoint *ep = l->ep;
  if (k->exposed != NULL) {
    hold_behind(l, k->exposed);
    return;
  }
  adopt_loose(k, l);
  aq_link *d = own_dial(k);
  if (d == NULL || !aq_conn_has_control(l->c)) {
    expose(l);
    return;
  }
  int larger = aq_peer_id_compare(&ep->self, &l->peer) > 0;
  if (d->state == AQ_LINK_DIALING) {
    /* The peer was told to wait: then ours, which goes before, gets a little
     * time. Otherwise it has told its application already. */
    if (!larger && l->told_flag) {
      hold(l, aq_time_add(ep->now, grace(l)));
    } else {
      expose(l);
    }
    return;
  }
  int flagged = l->told_flag || remote_flag(d);
  int ours = flagged ? !larger : d->completed <= l->told_at;
  if (ours) {
    hold(l, AQ_NEVER); /* until the peer has accepted or closed ours */
  } else {
    expose(l);
  }
}

void aq_pair_complete(aq_link *l) {
  if (l->client) {
    complete_client(l, l->contact);
  } else {
    complete_server(l, l->contact);
  }
}

void aq_pair_accepted(aq_link *l) {
  if (l->state != AQ_LINK_WAIT_ACCEPT && l->state != AQ_LINK_HELD) {
    return;
  }
  aq_link *older = l->contact->exposed;
  if (older == NULL) {
    expose(l);
  } else if (l->client) {
    /* The peer has only this one: what we take for the connection is one that
     * it has forgotten. */
    older->close_error = AQ_ERR_DUPLICATE;
    snprintf(older->close_text, sizeof(older->close_text),
             "the peer has replaced it");
    aq_link_close(older, 0, NGTCP2_NO_ERROR, "duplicate", 9);
  }
}

void aq_pair_alive(aq_link *l) {
  l->pinged = 0;
  aq_list_each_safe(node, &l->contact->members) {
    aq_link *m = member(node);
    if (m->state == AQ_LINK_HELD) {
      put_away(m, l);
    }
  }
}

void aq_pair_deadline(aq_link *l) {
  aq_contact *k = l->contact;
  switch (l->state) {
  case AQ_LINK_WAIT_ACCEPT:
    expose(l);
    break;
  case AQ_LINK_HELD:
    if (k->exposed != NULL) {
      k->exposed->close_error = AQ_ERR_DUPLICATE;
      snprintf(k->exposed->close_text, sizeof(k->exposed->close_text),
               "silent while the peer made a new connection");
      aq_link_close(k->exposed, 0, NGTCP2_NO_ERROR, "duplicate", 9);
    } else if (own_dial(k) == NULL || own_dial(k)->state == AQ_LINK_DIALING) {
      expose(l);
    }
    break;
  case AQ_LINK_DUP_WAIT:
    l->state = AQ_LINK_GONE;
    l->deadline = aq_time_add(l->ep->now, AQ_MS);
    aq_contact_leave(l);
    dial_failed(l, AQ_ERR_DUPLICATE, aq_error_text(AQ_ERR_DUPLICATE), 0);
    break;
  default:
    break;
  }
}

/* ---- the end of one
 * -------------------------------------------------------------- */

/* After an own dial or the connection is gone: who waits for that? */
static void next_in_line(aq_contact *k) {
  if (k->exposed != NULL || own_dial(k) != NULL) {
    return;
  }
  aq_link *h = first_held(k);
  if (h != NULL && !h->ep->closing) {
    expose(h);
  }
}

static void lost(aq_link *l, const aq_notice *n) {
  aq_contact *k = l->contact;
  aq_boot *b = l->boot;
  aq_repair_lost(l);
  l->state = AQ_LINK_GONE;
  k->exposed = NULL;
  l->contact = NULL;
  aq_place_clear(l);
  tell_lost(l, n);
  if (b != NULL) {
    aq_boot_down(l->ep, b, n->error, n->text);
  }
  aq_session_coordinators(l->ep, l, NULL);
  aq_tunnel_lost(l->ep, l);
  next_in_line(k);
  aq_contact_release(l->ep, k);
}

void aq_pair_gone(aq_link *l, const aq_notice *n) {
  aq_contact *k = l->contact;
  aq_link_state was = l->state;
  if (was == AQ_LINK_EXPOSED) {
    lost(l, n);
    return;
  }
  l->state = AQ_LINK_GONE;
  if (was == AQ_LINK_ARRIVING || k == NULL) {
    if (l->client) {
      dial_failed(l, n->error ? n->error : AQ_ERR_CANCELLED, n->text, n->code);
    } else if (n->error == AQ_ERR_NOT_ALLOWED || n->error == AQ_ERR_TLS ||
               n->error == AQ_ERR_ALPN) {
      l->ep->stats.handshakes_refused++;
    }
    aq_contact_leave(l);
    return;
  }
  if (l->client && n->error == AQ_ERR_DUPLICATE) {
    l->state = AQ_LINK_DUP_WAIT;
    if (k->exposed != NULL) {
      put_away(l, k->exposed);
      return;
    }
    l->deadline = aq_time_add(l->ep->now, AQ_ACCEPT_WAIT);
    next_in_line(k);
    return;
  }
  aq_list_remove(&l->contact_node);
  l->contact = NULL;
  if (l->client) {
    dial_failed(l, n->error ? n->error : AQ_ERR_CANCELLED, n->text, n->code);
  }
  next_in_line(k);
  aq_contact_release(l->ep, k);
}

void aq_pair_hangup(aq_link *l) {
  aq_endpoint *ep = l->ep;
  aq_contact *k = l->contact;
  if (k != NULL) {
    aq_list_remove(&l->contact_node);
    l->contact = NULL;
  }
  aq_link_drop(l);
  if (k != NULL) {
    next_in_line(k);
    aq_contact_release(ep, k);
  }
}
