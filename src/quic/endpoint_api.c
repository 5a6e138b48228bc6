/* endpoint_api.c - the public calls by id: connections, streams, datagrams,
 * statistics.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <stdio.h>
#include <string.h>

#define AQ_MAX_VARINT UINT64_C(0x3fffffffffffffff)

static uint64_t clamp_code(uint64_t code) {
  return code < AQ_MAX_VARINT ? code : AQ_MAX_VARINT;
}

/* ---- dialing
 * ------------------------------------------------------------------ */

static int alpn_fits(const aq_link *l, const char *alpn) {
  aq_conn_info info;
  memset(&info, 0, sizeof(info));
  aq_conn_get_info_of(l->c, l->ep->now, &info);
  return alpn != NULL ? strcmp(info.alpn, alpn) == 0
                      : aq_tls_ctx_has_alpn(l->ep->shared.tls, info.alpn);
}

/* A connection or dial that is there already and serves as well. */
static aq_link *reusable(aq_endpoint *ep, const aq_addr *addr,
                         const aq_peer_id *expect) {
  if (expect != NULL) {
    const aq_contact *k = aq_contact_find(ep, expect);
    if (k == NULL) {
      return NULL;
    }
    return k->exposed;
  }
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    aq_boot *b = &ep->boot[i];
    if (b->used && b->connected && aq_addr_equal(&b->conf.addr, addr)) {
      return b->link;
    }
  }
  return NULL;
}

/* The dial to a bootstrap node that runs already. */
static aq_link *boot_dial(aq_endpoint *ep, const aq_addr *addr,
                          const aq_peer_id *expect) {
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    aq_boot *b = &ep->boot[i];
    if (!b->used || b->connected || b->link == NULL || b->link->user ||
        !aq_addr_equal(&b->conf.addr, addr)) {
      continue;
    }
    if (expect == NULL ||
        (b->conf.pinned && aq_peer_id_compare(&b->conf.peer, expect) == 0)) {
      return b->link;
    }
  }
  return NULL;
}

int aq_connect_addr(aq_endpoint *ep, aq_tstamp now, const aq_addr *addr,
                    const aq_peer_id *expect, const char *alpn,
                    aq_duration timeout, aq_id *out) {
  aq_ep_enter(ep, now);
  *out = 0;
  if (ep->closing) {
    return AQ_ERR_CLOSED;
  }
  if (alpn != NULL && !aq_tls_ctx_has_alpn(ep->shared.tls, alpn)) {
    return AQ_ERR_ALPN;
  }
  if (expect != NULL && aq_peer_id_compare(expect, &ep->self) == 0) {
    return AQ_ERR_INVAL;
  }
  aq_addr to = *addr;
  aq_addr_normalize(&to);
  aq_addr_kind kind = aq_addr_classify(&to);
  if (kind == AQ_ADDR_NONE || kind == AQ_ADDR_UNSPECIFIED ||
      kind == AQ_ADDR_MULTICAST || kind == AQ_ADDR_BROADCAST) {
    return AQ_ERR_ADDRESS;
  }
  aq_link *l = reusable(ep, &to, expect);
  if (l != NULL) {
    if (!alpn_fits(l, alpn)) {
      return AQ_ERR_ALPN;
    }
    aq_pair_report(l, l->pub);
    *out = l->pub;
    return 0;
  }
  l = alpn == NULL ? boot_dial(ep, &to, expect) : NULL;
  if (l == NULL) {
    aq_dial_params p;
    memset(&p, 0, sizeof(p));
    p.addr = &to;
    p.expect = expect;
    p.alpn = alpn;
    p.timeout = timeout > 0 ? timeout : ep->shared.params.handshake_timeout;
    p.socket = UINT32_MAX;
    int rv = aq_link_dial(ep, &p, &l);
    if (rv != 0) {
      aq_ep_settle(ep);
      return rv;
    }
  }
  l->user = 1;
  *out = l->pub;
  aq_ep_settle(ep);
  return 0;
}

/* ---- connections
 * ---------------------------------------------------------------- */

static aq_link *open_link(aq_endpoint *ep, aq_id id) {
  aq_link *l = aq_link_get(ep, id);
  return l != NULL && l->c != NULL && !l->doomed && l->state != AQ_LINK_GONE &&
                 l->state != AQ_LINK_DUP_WAIT
             ? l
             : NULL;
}

int aq_conn_get_info(const aq_endpoint *ep, aq_id conn, aq_conn_info *out) {
  const aq_link *l = aq_link_get(ep, conn);
  if (l == NULL || l->c == NULL || l->doomed) {
    return AQ_ERR_CLOSED;
  }
  memset(out, 0, sizeof(*out));
  aq_conn_get_info_of(l->c, ep->now, out);
  aq_addr remote, local;
  if (aq_tunnel_show(l, &remote, &local)) {
    out->relayed = 1;
    out->remote = remote;
    out->local = local;
  }
  out->bootstrap = l->boot != NULL;
  out->outgoing = l->client;
  out->session = l->session;
  out->observed = l->observed;
  if (l->state == AQ_LINK_GONE) {
    out->state = AQ_STATE_CLOSED;
  } else if (l->state != AQ_LINK_EXPOSED) {
    out->state = AQ_STATE_CONNECTING;
  } else if (l->migrating && out->state == AQ_STATE_CONNECTED) {
    out->state = AQ_STATE_MIGRATING; /* another path is sought */
  }
  if (l->exposed_at != 0) {
    out->established = l->exposed_at;
  }
  return 0;
}

aq_id aq_endpoint_find_conn(const aq_endpoint *ep, const aq_peer_id *peer) {
  const aq_contact *k = aq_contact_find(ep, peer);
  return k != NULL && k->exposed != NULL ? k->exposed->pub : 0;
}

size_t aq_endpoint_get_conns(const aq_endpoint *ep, aq_id *out, size_t max) {
  size_t n = 0;
  aq_list_each(node, &ep->links) {
    const aq_link *l = aq_list_entry(node, aq_link, all_node);
    if (l->state == AQ_LINK_EXPOSED && l->reported) {
      if (n < max) {
        out[n] = l->pub;
      }
      n++;
    }
  }
  return n;
}

int aq_conn_close(aq_endpoint *ep, aq_tstamp now, aq_id conn, uint64_t code,
                  const char *reason, size_t len) {
  aq_ep_enter(ep, now);
  aq_link *l = open_link(ep, conn);
  if (l == NULL) {
    l = aq_link_get(ep, conn);
    if (l != NULL && l->state == AQ_LINK_DUP_WAIT) {
      l->user = 0; /* nobody asks any more what will replace it */
    }
    return l != NULL ? 0 : AQ_ERR_CLOSED;
  }
  aq_link_close(l, 1, clamp_code(code), reason != NULL ? reason : "",
                reason != NULL ? len : 0);
  aq_ep_settle(ep);
  return 0;
}

int aq_conn_is_flushed(const aq_endpoint *ep, aq_id conn) {
  const aq_link *l = aq_link_get(ep, conn);
  if (l == NULL || l->c == NULL || l->state == AQ_LINK_GONE) {
    return AQ_ERR_CLOSED;
  }
  return aq_conn_flushed(l->c);
}

int aq_conn_ping(aq_endpoint *ep, aq_tstamp now, aq_id conn) {
  aq_ep_enter(ep, now);
  aq_link *l = open_link(ep, conn);
  if (l == NULL) {
    return AQ_ERR_CLOSED;
  }
  aq_conn_ping_now(l->c, ep->now);
  aq_link_touch(l);
  aq_ep_settle(ep);
  return 0;
}

int aq_conn_set_keep_alive(aq_endpoint *ep, aq_tstamp now, aq_id conn,
                           aq_duration interval) {
  aq_ep_enter(ep, now);
  aq_link *l = open_link(ep, conn);
  if (l == NULL) {
    return AQ_ERR_CLOSED;
  }
  l->keep_alive_set = 1;
  aq_conn_keep_alive(l->c, interval);
  aq_link_touch(l);
  aq_ep_settle(ep);
  return 0;
}

int aq_conn_update_keys(aq_endpoint *ep, aq_tstamp now, aq_id conn) {
  aq_ep_enter(ep, now);
  aq_link *l = open_link(ep, conn);
  if (l == NULL) {
    return AQ_ERR_CLOSED;
  }
  if (l->state != AQ_LINK_EXPOSED) {
    return AQ_ERR_AGAIN; /* there are no 1-RTT keys yet, maybe */
  }
  int rv = aq_conn_key_update(l->c, ep->now);
  aq_link_touch(l);
  aq_ep_settle(ep);
  return rv;
}

/* ---- streams
 * -------------------------------------------------------------------- */

static aq_stream *get_stream(const aq_endpoint *ep, aq_id id) {
  return aq_idmap_get(&ep->ids, AQ_KIND_STREAM, id);
}

static aq_link *link_of(const aq_endpoint *ep, aq_stream *s) {
  return aq_idmap_get(&ep->ids, AQ_KIND_CONN, aq_conn_id(aq_stream_conn(s)));
}

/* The connection of |s| changed, and |s| may be gone: |l| was asked before. */
static int changed(aq_endpoint *ep, aq_link *l, int rv) {
  if (l != NULL) {
    aq_link_touch(l);
  }
  aq_ep_settle(ep);
  return rv;
}

int aq_stream_open(aq_endpoint *ep, aq_tstamp now, aq_id conn, int uni,
                   int priority, aq_id *out) {
  aq_ep_enter(ep, now);
  aq_link *l = open_link(ep, conn);
  if (l == NULL) {
    return AQ_ERR_CLOSED;
  }
  if (l->state != AQ_LINK_EXPOSED) {
    return AQ_ERR_AGAIN;
  }
  return changed(ep, l, aq_conn_open_stream(l->c, uni, priority, out));
}

int aq_stream_accept(aq_endpoint *ep, aq_id conn, aq_id *out) {
  aq_link *l = aq_link_get(ep, conn);
  if (l == NULL || l->c == NULL || l->doomed) {
    return AQ_ERR_CLOSED;
  }
  if (l->state != AQ_LINK_EXPOSED && l->state != AQ_LINK_GONE) {
    return AQ_ERR_AGAIN;
  }
  int rv = aq_conn_accept_stream(l->c, out);
  if (rv == AQ_ERR_AGAIN && l->state == AQ_LINK_GONE) {
    rv = AQ_ERR_CLOSED;
  }
  return changed(ep, l, rv);
}

int aq_stream_write(aq_endpoint *ep, aq_tstamp now, aq_id stream,
                    const uint8_t *data, size_t len, size_t *written) {
  aq_ep_enter(ep, now);
  *written = 0;
  aq_stream *s = get_stream(ep, stream);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  aq_link *l = link_of(ep, s);
  return changed(ep, l, aq_stream_put(s, data, len, written));
}

int aq_stream_finish(aq_endpoint *ep, aq_tstamp now, aq_id stream) {
  aq_ep_enter(ep, now);
  aq_stream *s = get_stream(ep, stream);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  aq_link *l = link_of(ep, s);
  return changed(ep, l, aq_stream_put_fin(s));
}

int aq_stream_read(aq_endpoint *ep, aq_tstamp now, aq_id stream, uint8_t *buf,
                   size_t len, size_t *nread) {
  aq_ep_enter(ep, now);
  *nread = 0;
  aq_stream *s = get_stream(ep, stream);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  aq_link *l = link_of(ep, s);
  return changed(ep, l, aq_stream_get(s, buf, len, nread));
}

size_t aq_stream_readable(const aq_endpoint *ep, aq_id stream) {
  const aq_stream *s = get_stream(ep, stream);
  return s != NULL ? aq_stream_waiting(s) : 0;
}

int aq_stream_reset(aq_endpoint *ep, aq_tstamp now, aq_id stream,
                    uint64_t code) {
  aq_ep_enter(ep, now);
  aq_stream *s = get_stream(ep, stream);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  aq_link *l = link_of(ep, s);
  return changed(ep, l, aq_stream_reset_now(s, clamp_code(code)));
}

int aq_stream_stop(aq_endpoint *ep, aq_tstamp now, aq_id stream,
                   uint64_t code) {
  aq_ep_enter(ep, now);
  aq_stream *s = get_stream(ep, stream);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  aq_link *l = link_of(ep, s);
  return changed(ep, l, aq_stream_stop_now(s, clamp_code(code)));
}

int aq_stream_set_priority(aq_endpoint *ep, aq_id stream, int priority) {
  aq_stream *s = get_stream(ep, stream);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  aq_stream_priority(s, priority);
  return 0;
}

int aq_stream_release(aq_endpoint *ep, aq_tstamp now, aq_id stream) {
  aq_ep_enter(ep, now);
  aq_stream *s = get_stream(ep, stream);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  aq_link *l = link_of(ep, s);
  aq_ready_event *r = aq_hash_get(&ep->readies, &stream, sizeof(stream));
  if (r != NULL) {
    aq_ep_ready_drop(r);
  }
  aq_stream_drop(s);
  return changed(ep, l, 0);
}

int aq_stream_get_info(const aq_endpoint *ep, aq_id stream,
                       aq_stream_info *out) {
  aq_stream *s = get_stream(ep, stream);
  if (s == NULL) {
    return AQ_ERR_CLOSED;
  }
  memset(out, 0, sizeof(*out));
  aq_stream_info_of(s, out);
  const aq_link *l = link_of(ep, s);
  if (l != NULL) {
    out->conn = l->pub;
  }
  return 0;
}

/* ---- datagrams
 * -------------------------------------------------------------------- */

int aq_datagram_send(aq_endpoint *ep, aq_tstamp now, aq_id conn,
                     const uint8_t *data, size_t len) {
  aq_ep_enter(ep, now);
  aq_link *l = open_link(ep, conn);
  if (l == NULL) {
    return AQ_ERR_CLOSED;
  }
  if (l->state != AQ_LINK_EXPOSED) {
    return AQ_ERR_AGAIN;
  }
  return changed(ep, l, aq_conn_datagram_send(l->c, data, len));
}

int aq_datagram_receive(aq_endpoint *ep, aq_id conn, uint8_t *buf,
                        size_t buflen, size_t *len) {
  *len = 0;
  aq_link *l = aq_link_get(ep, conn);
  if (l == NULL || l->c == NULL || l->doomed) {
    return AQ_ERR_CLOSED;
  }
  if (l->state != AQ_LINK_EXPOSED && l->state != AQ_LINK_GONE) {
    return AQ_ERR_AGAIN;
  }
  int rv = aq_conn_datagram_receive(l->c, buf, buflen, len);
  return rv == AQ_ERR_AGAIN && l->state == AQ_LINK_GONE ? AQ_ERR_CLOSED : rv;
}

/* ---- figures
 * ------------------------------------------------------------------------ */

void aq_endpoint_get_statistics(const aq_endpoint *ep, aq_statistics *out) {
  *out = ep->stats;
}

void aq_endpoint_get_usage(const aq_endpoint *ep, aq_usage *out) {
  memset(out, 0, sizeof(*out));
  size_t forwards = 0;
  aq_list_each(node, &ep->links) {
    const aq_link *l = aq_list_entry(node, aq_link, all_node);
    if (l->c == NULL) {
      forwards++;
      continue;
    }
    aq_conn_info info;
    memset(&info, 0, sizeof(info));
    aq_conn_get_info_of(l->c, ep->now, &info);
    out->memory += info.memory + sizeof(*l);
  }
  out->connections = ep->nlinks - (uint32_t)forwards;
  out->half_open = ep->limits.half_open;
  out->sessions = ep->nsessions;
  size_t others = ep->nlinks + ep->nsessions + ep->ntombs;
  out->streams = (uint32_t)(aq_idmap_count(&ep->ids) - others);
  out->events = (uint32_t)ep->ring.count;
  out->registrations = ep->coord != NULL ? aq_coord_count(ep->coord) : 0;
  out->memory += sizeof(*ep) + (AQ_EVENT_RING + 1) * sizeof(aq_event) +
                 ep->nsessions * sizeof(aq_trav) +
                 (ep->out != NULL ? AQ_OUT_RING * sizeof(aq_out) : 0) +
                 (ep->record != NULL ? sizeof(*ep->record) : 0);
}
