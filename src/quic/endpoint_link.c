/* endpoint_link.c - the endpoint's side of one connection: made, settled after
 * every change, timed, freed.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <stdio.h>
#include <string.h>

/* How long a closed connection's last data can still be read at least. */
#define AQ_LINGER_MIN AQ_S

aq_link *aq_link_get(const aq_endpoint *ep, aq_id id) {
  aq_link *l = aq_idmap_get(&ep->ids, AQ_KIND_CONN, id);
  while (l != NULL && l->target != 0) {
    l = aq_idmap_get(&ep->ids, AQ_KIND_CONN, l->target);
  }
  return l;
}

aq_duration aq_link_rtt(const aq_link *l) {
  aq_conn_info info;
  memset(&info, 0, sizeof(info));
  aq_conn_get_info_of(l->c, l->ep->now, &info);
  return info.rtt;
}

static int add_cid(aq_link *l, const ngtcp2_cid *cid) {
  aq_endpoint *ep = l->ep;
  if (aq_hash_get(&ep->cids, cid->data, cid->datalen) == l) {
    return 0;
  }
  void *v = l->cid;
  int rv =
      aq_mem_grow(&ep->mem, &v, &l->cidcap, l->ncid + 1, sizeof(*l->cid), 64);
  l->cid = v;
  if (rv == 0) {
    rv = aq_hash_put(&ep->cids, cid->data, cid->datalen, l);
  }
  if (rv == 0) {
    l->cid[l->ncid++] = *cid;
  }
  return rv;
}

static void remove_cid(aq_link *l, const ngtcp2_cid *cid) {
  for (size_t i = 0; i < l->ncid; i++) {
    if (ngtcp2_cid_eq(&l->cid[i], cid)) {
      aq_hash_remove(&l->ep->cids, cid->data, cid->datalen);
      l->cid[i] = l->cid[--l->ncid];
      return;
    }
  }
}

/* ---- places ----------------------------------------------------------------
 */

#define AQ_PLACE_LEN 19

static void place_key(uint8_t key[AQ_PLACE_LEN], const aq_addr *a) {
  key[0] = a->family;
  key[1] = (uint8_t)(a->port >> 8);
  key[2] = (uint8_t)a->port;
  memcpy(key + 3, a->ip, sizeof(a->ip));
}

aq_link *aq_place_get(const aq_endpoint *ep, const aq_addr *remote) {
  uint8_t key[AQ_PLACE_LEN];
  place_key(key, remote);
  return aq_hash_get(&ep->places, key, sizeof(key));
}

void aq_place_clear(aq_link *l) {
  uint8_t key[AQ_PLACE_LEN];
  if (l->place.family != 0 && aq_place_get(l->ep, &l->place) == l) {
    place_key(key, &l->place);
    aq_hash_remove(&l->ep->places, key, sizeof(key));
  }
  l->place.family = 0;
}

void aq_place_set(aq_link *l) {
  uint8_t key[AQ_PLACE_LEN];
  aq_place_clear(l);
  if (aq_place_get(l->ep, &l->remote) != NULL) {
    return;
  }
  place_key(key, &l->remote);
  /* Without it a reset is not understood and silence ends the connection. */
  if (aq_hash_put(&l->ep->places, key, sizeof(key), l) == 0) {
    l->place = l->remote;
  }
}

/* ---- making ----------------------------------------------------------------
 */

static aq_link *link_new(aq_endpoint *ep) {
  aq_link *l = aq_mem_alloc(&ep->mem, sizeof(*l));
  if (l == NULL) {
    return NULL;
  }
  l->ep = ep;
  l->created = ep->now;
  l->deadline = l->repair.check_at = AQ_NEVER;
  aq_list *nodes[] = {&l->ready_node,  &l->dirty_node,   &l->doom_node,
                      &l->all_node,    &l->loose_node,   &l->events,
                      &l->events_node, &l->contact_node, &l->forwards,
                      &l->fwd_node};
  for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
    aq_list_init(nodes[i]);
  }
  /* A timer can then always be set. */
  if (aq_timer_heap_reserve(&ep->link_timers, ep->nlinks + 1) != 0 ||
      aq_idmap_add(&ep->ids, AQ_KIND_CONN, l, &l->id) != 0) {
    aq_mem_free(&ep->mem, l);
    return NULL;
  }
  l->pub = l->id;
  aq_list_push_back(&ep->links, &l->all_node);
  ep->nlinks++;
  return l;
}

static void take_token(aq_endpoint *ep, const aq_addr *to, aq_conn_params *p,
                       uint8_t *buf) {
  for (size_t i = 0; i < ep->ntoken; i++) {
    aq_saved_token *t = &ep->token[i];
    if (aq_addr_equal(&t->addr, to)) {
      memcpy(buf, t->data, t->len);
      p->token = buf;
      p->tokenlen = t->len;
      *t = ep->token[--ep->ntoken]; /* used once (RFC 9000 8.1.3) */
      return;
    }
  }
}

static void save_token(aq_link *l) {
  aq_endpoint *ep = l->ep;
  size_t len = 0;
  const uint8_t *data = aq_conn_get_token(l->c, &len);
  if (data == NULL || len == 0 || len > AQ_MAX_TOKEN_LEN ||
      aq_tunnel_is_socket(l->socket)) {
    return;
  }
  if (ep->token == NULL) {
    ep->token = aq_mem_array(&ep->mem, AQ_MAX_TOKENS, sizeof(*ep->token));
    if (ep->token == NULL) {
      return;
    }
  }
  size_t at = 0;
  while (at < ep->ntoken && !aq_addr_equal(&ep->token[at].addr, &l->remote)) {
    at++;
  }
  if (at == AQ_MAX_TOKENS) {
    at = aq_rand_below(&ep->rand, AQ_MAX_TOKENS);
  } else if (at == ep->ntoken) {
    ep->ntoken++;
  }
  ep->token[at].addr = l->remote;
  ep->token[at].len = (uint16_t)len;
  memcpy(ep->token[at].data, data, len);
}

int aq_link_dial(aq_endpoint *ep, const aq_dial_params *p, aq_link **out) {
  const aq_local_socket *s = p->socket != UINT32_MAX
                                 ? aq_ep_socket(ep, p->socket)
                                 : aq_ep_socket_for(ep, p->addr);
  if (s == NULL || p->addr->port == 0) {
    return AQ_ERR_ADDRESS;
  }
  if (ep->nlinks >= ep->shared.params.max_connections) {
    AQ_LIMIT_HIT(ep, limit_connections);
    return AQ_ERR_LIMIT;
  }
  aq_link *l = link_new(ep);
  if (l == NULL) {
    return AQ_ERR_NOMEM;
  }
  uint8_t token[AQ_MAX_TOKEN_LEN];
  aq_conn_params cp;
  memset(&cp, 0, sizeof(cp));
  cp.id = l->id;
  cp.socket = l->socket = s->index;
  aq_extra_hold(ep, l->socket);
  cp.local = l->local = s->bound;
  cp.remote = l->remote = *p->addr;
  cp.alpn = p->alpn;
  cp.coordination = (uint8_t)p->coordination;
  cp.expect = p->expect;
  cp.initial_rtt = p->rtt;
  cp.handshake_timeout = p->timeout;
  take_token(ep, p->addr, &cp, token);
  ep->shared.dials++;
  l->client = 1;
  l->half_open = 1;
  l->state = AQ_LINK_DIALING;
  int rv = aq_conn_new_client(&l->c, &ep->shared, ep->now, &cp);
  if (rv == 0 && p->expect != NULL) {
    l->has_peer = 1;
    l->peer = *p->expect;
    aq_contact *k = aq_contact_make(ep, p->expect);
    if (k == NULL) {
      rv = AQ_ERR_NOMEM;
    } else {
      aq_contact_join(k, l);
    }
  } else {
    aq_list_push_back(&ep->loose, &l->loose_node);
  }
  if (rv != 0) {
    aq_link_drop(l);
    return rv;
  }
  ep->stats.connections_dialed++;
  aq_link_touch(l);
  *out = l;
  return 0;
}

aq_link *aq_link_accept(aq_endpoint *ep, const aq_datagram *d,
                        const ngtcp2_pkt_hd *hd, const ngtcp2_cid *odcid,
                        int token_type) {
  aq_link *l = link_new(ep);
  if (l == NULL) {
    return NULL;
  }
  aq_session *s = aq_session_expecting(ep, d->socket, &d->remote);
  aq_conn_params cp;
  memset(&cp, 0, sizeof(cp));
  cp.id = l->id;
  cp.socket = l->socket = d->socket;
  aq_extra_hold(ep, l->socket);
  cp.local = l->local = d->local;
  cp.remote = l->remote = d->remote;
  cp.handshake_timeout = ep->shared.params.handshake_timeout;
  if (s != NULL) { /* the peer may have it done long before us */
    cp.initial_rtt = aq_trav_first_rtt(s->trav);
    cp.handshake_timeout =
        aq_time_max(cp.handshake_timeout, AQ_SESSION_TIMEOUT);
  }
  cp.hd = hd;
  cp.retry_odcid = odcid;
  cp.token_type = token_type;
  l->state = AQ_LINK_ARRIVING;
  l->half_open = 1;
  aq_limits_open(&ep->limits, &l->remote);
  ep->narriving++;
  /* The client goes on using the ID it chose until it has heard ours. */
  if (aq_conn_new_server(&l->c, &ep->shared, ep->now, &cp) != 0 ||
      add_cid(l, &hd->dcid) != 0) {
    aq_link_drop(l);
    return NULL;
  }
  if (s != NULL) {
    aq_trav_handle_arriving(s->trav, ep->now);
    aq_session_touch(s);
  }
  aq_link_touch(l);
  return l;
}

/* Leaves ARRIVING or DIALING: the counters of handshakes. */
static void handshake_over(aq_link *l) {
  aq_endpoint *ep = l->ep;
  if (!l->half_open) {
    return;
  }
  l->half_open = 0;
  aq_list_remove(&l->loose_node);
  if (l->client) {
    ep->shared.dials--;
  } else {
    ep->narriving--;
    aq_limits_done(&ep->limits, &l->remote);
  }
}

/* ---- unmaking --------------------------------------------------------------
 */

void aq_link_drop(aq_link *l) {
  if (l->doomed) {
    return;
  }
  handshake_over(l);
  aq_contact_leave(l);
  l->doomed = 1;
  aq_list_remove(&l->ready_node);
  aq_list_remove(&l->dirty_node);
  aq_timer_remove(&l->ep->link_timers, &l->timer);
  aq_list_push_back(&l->ep->doomed, &l->doom_node);
}

/* What only a connection needs; a forward goes on without. */
static void shed(aq_link *l) {
  aq_endpoint *ep = l->ep;
  aq_ep_ready_forget(l);
  aq_place_clear(l);
  for (size_t i = 0; i < l->ncid; i++) {
    if (aq_hash_get(&ep->cids, l->cid[i].data, l->cid[i].datalen) == l) {
      aq_hash_remove(&ep->cids, l->cid[i].data, l->cid[i].datalen);
    }
  }
  aq_mem_free(&ep->mem, l->cid);
  l->cid = NULL;
  l->ncid = l->cidcap = 0;
  aq_mem_free(&ep->mem, l->steps);
  aq_mem_free(&ep->mem, l->announced);
  aq_mem_free(&ep->mem, l->rcand);
  aq_mem_free(&ep->mem, l->repair.asker);
  l->repair.asker = NULL;
  aq_observe_forget(l);
  l->steps = NULL;
  l->announced = NULL;
  l->rcand = NULL;
  l->nsteps = l->nannounced = 0;
  aq_conn_del(l->c);
  l->c = NULL;
}

void aq_link_free(aq_link *l) {
  aq_endpoint *ep = l->ep;
  if (l->boot != NULL && l->boot->link == l) {
    l->boot->link = NULL;
  }
  if (l->c != NULL) {
    shed(l);
  }
  aq_extra_drop(ep, l->socket);
  l->socket = UINT32_MAX;
  aq_timer_remove(&ep->link_timers, &l->timer);
  if (l->target != 0 &&
      aq_idmap_get(&ep->ids, AQ_KIND_CONN, l->target) != NULL) {
    /* The id stays good as another name for the target. */
    l->state = AQ_LINK_FORWARD;
    l->doomed = 0;
    return;
  }
  aq_list *node;
  while ((node = aq_list_pop_front(&l->forwards)) != NULL) {
    aq_link *f = aq_list_entry(node, aq_link, fwd_node);
    f->target = 0;
    if (f->c == NULL && !f->doomed) {
      f->doomed = 1;
      aq_list_push_back(&ep->doomed, &f->doom_node);
    }
  }
  aq_list_remove(&l->fwd_node);
  aq_list_remove(&l->all_node);
  aq_list_remove(&l->doom_node);
  aq_list_remove(&l->ready_node);
  aq_list_remove(&l->dirty_node);
  aq_idmap_remove(&ep->ids, l->id);
  ep->nlinks--;
  aq_mem_free(&ep->mem, l);
}

void aq_link_close(aq_link *l, int app, uint64_t code, const char *reason,
                   size_t len) {
  if (l->c == NULL || l->doomed) {
    return;
  }
  aq_conn_close_with(l->c, l->ep->now, app, code, reason, len);
  aq_link_touch(l);
}

/* ---- settling ---------------------------------------------------------------
 */

void aq_link_touch(aq_link *l) {
  if (l->doomed || l->c == NULL) {
    return;
  }
  l->dirty = 1;
  if (!aq_list_is_linked(&l->dirty_node)) {
    aq_list_push_back(&l->ep->dirty, &l->dirty_node);
  }
}

static void arm(aq_link *l) {
  if (l->doomed || l->c == NULL) {
    return;
  }
  aq_tstamp t = l->deadline;
  if (l->state != AQ_LINK_GONE) {
    t = aq_time_min(t, aq_conn_next_timeout(l->c));
    t = aq_time_min(t, l->repair.check_at);
  }
  /* Reserved in link_new, so that it can't fail. */
  (void)aq_timer_set(&l->ep->link_timers, &l->timer, t);
}

static void on_established(aq_link *l) {
  const aq_peer_id *peer = aq_conn_peer(l->c);
  handshake_over(l);
  if (l->state != AQ_LINK_DIALING && l->state != AQ_LINK_ARRIVING) {
    return;
  }
  if (peer == NULL) { /* TLS demands a key, so this is our bug */
    aq_link_close(l, 0, NGTCP2_INTERNAL_ERROR, "", 0);
    return;
  }
  l->completed = l->last_seen = l->ep->now;
  l->peer = *peer;
  l->has_peer = 1;
  if (l->contact != NULL && aq_peer_id_compare(&l->contact->id, peer) != 0) {
    aq_contact_leave(l); /* an address was taken for another peer's */
  }
  if (l->contact == NULL) {
    aq_contact *k = aq_contact_make(l->ep, peer);
    if (k == NULL) {
      aq_link_close(l, 0, NGTCP2_INTERNAL_ERROR, "", 0);
      return;
    }
    aq_contact_join(k, l);
  }
  if (l->ep->closing) {
    return;
  }
  aq_pair_complete(l);
}

static void on_path_changed(aq_link *l, const aq_notice *n) {
  uint32_t socket = aq_conn_socket(l->c);
  aq_addr before, at;
  int relayed = aq_tunnel_show(l, &before, &at);
  l->remote = n->remote;
  l->local = n->local;
  aq_extra_hold(l->ep, socket);
  aq_extra_drop(l->ep, l->socket);
  l->socket = socket;
  if (l->state != AQ_LINK_EXPOSED) {
    return;
  }
  aq_place_set(l);
  aq_frame_send_observed(l);
  aq_repair_tell(l, &before, relayed);
  if (relayed && !aq_tunnel_is_socket(socket)) {
    aq_boot_direct(l);
  }
  if (l->reported) {
    aq_event *e = aq_ep_event(l->ep, AQ_EVENT_PATH_CHANGED);
    e->conn = l->pub;
    aq_ep_event_peer(e, &l->peer);
    e->relayed = (uint8_t)aq_tunnel_show(l, &e->addr, &e->local);
    e->duration = aq_link_rtt(l);
  }
}

static void on_closed(aq_link *l, aq_notice *n) {
  handshake_over(l);
  if (l->close_error != 0) {
    n->error = l->close_error;
    snprintf(n->text, sizeof(n->text), "%s", l->close_text);
  } else if (n->error == AQ_ERR_PEER_CLOSED && n->code == 0 &&
             strcmp(n->text, "duplicate") == 0) {
    n->error = AQ_ERR_DUPLICATE;
  }
  if (l->ep->coord != NULL && l->is_registrant) {
    aq_coord_forget(l->ep->coord, l->id);
    aq_relay_gone(l);
    aq_observe_forget(l);
    l->is_registrant = 0;
  }
  if (aq_disc_forget(&l->ep->disc, l->ep->now, l->id)) {
    aq_ep_disc_changed(l->ep);
  }
  if (l->state != AQ_LINK_GONE) {
    aq_pair_gone(l, n);
  }
  if (l->state == AQ_LINK_GONE) {
    l->deadline = aq_time_max(aq_conn_linger_until(l->c),
                              aq_time_add(l->ep->now, AQ_LINGER_MIN));
  }
}

static void on_notice(aq_link *l, aq_notice *n) {
  switch (n->kind) {
  case AQ_NOTICE_ESTABLISHED:
    on_established(l);
    break;
  case AQ_NOTICE_CONFIRMED:
    l->confirmed = 1;
    break;
  case AQ_NOTICE_CID_ADDED:
    if (add_cid(l, &n->cid) != 0) {
      aq_link_close(l, 0, NGTCP2_INTERNAL_ERROR, "", 0);
    }
    break;
  case AQ_NOTICE_CID_REMOVED:
    remove_cid(l, &n->cid);
    break;
  case AQ_NOTICE_FRAME:
    aq_frame_received(l, &n->frame);
    break;
  case AQ_NOTICE_CONTROL:
    aq_ctl_drain(l);
    break;
  case AQ_NOTICE_PATH_CHANGED:
    on_path_changed(l, n);
    break;
  case AQ_NOTICE_TOKEN:
    save_token(l);
    break;
  case AQ_NOTICE_CLOSED:
    on_closed(l, n);
    break;
  case AQ_NOTICE_NONE:
    break;
  default:
    aq_ep_ready(l, n);
    break;
  }
}

/* Somebody is held behind this connection: does it live? */
static void check_alive(aq_link *l) {
  aq_conn_info info;
  memset(&info, 0, sizeof(info));
  aq_conn_get_info_of(l->c, l->ep->now, &info);
  if (info.bytes_received > l->ping_bytes) {
    aq_pair_alive(l);
  }
}

void aq_link_settle(aq_link *l) {
  int wants_nothing = l->dirty == 2;
  l->dirty = 0;
  if (l->doomed || l->c == NULL) {
    return;
  }
  if (l->state == AQ_LINK_ARRIVING && !l->told_known &&
      aq_conn_remote_params(l->c)->has_control) {
    /* Our parameters were composed in the call that read theirs. */
    l->told_known = 1;
    l->told_flag = l->ep->shared.dials > 0;
    l->told_at = l->ep->now;
  }
  aq_notice n;
  while (l->c != NULL && !l->doomed && aq_conn_poll_notice(l->c, &n)) {
    on_notice(l, &n);
  }
  if (l->doomed || l->c == NULL) {
    return;
  }
  AQ_LIMIT_HITS(l->ep, limit_frames_received, aq_conn_take_frames_lost(l->c));
  if (l->state == AQ_LINK_EXPOSED && !aq_conn_is_closed(l->c)) {
    if (l->pinged != 0) {
      check_alive(l);
    }
    aq_repair_look(l);
    aq_session_moving(l);
    aq_frame_sync(l);
    /* Whoever makes our candidates flap doesn't make us flood: the last set is
     * told when something next happens on the connection. */
    if (l->boot != NULL && l->reg_gen != l->ep->cand_gen &&
        aq_rate_take(&l->reg_rate, l->ep->now, AQ_SYNC_RATE, AQ_SYNC_BURST)) {
      aq_ctl_register(l);
    }
  }
  if (!wants_nothing && aq_conn_wants_write(l->c) &&
      !aq_list_is_linked(&l->ready_node)) {
    aq_list_push_back(&l->ep->ready, &l->ready_node);
  }
  arm(l);
}

void aq_link_timeout(aq_link *l) {
  aq_endpoint *ep = l->ep;
  if (l->doomed || l->c == NULL) {
    return;
  }
  if (l->deadline <= ep->now) {
    l->deadline = AQ_NEVER;
    if (l->state == AQ_LINK_GONE) {
      aq_link_drop(l);
      return;
    }
    aq_pair_deadline(l);
  }
  if (!l->doomed && l->state != AQ_LINK_GONE &&
      aq_conn_next_timeout(l->c) <= ep->now) {
    aq_conn_handle_timeout(l->c, ep->now);
  }
  if (l->repair.check_at <= ep->now) {
    aq_repair_due(l);
  }
  aq_link_touch(l);
}
