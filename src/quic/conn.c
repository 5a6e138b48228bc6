/* conn.c - life of a connection: made, fed, told the time, drained.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/conn_int.h"

#include "base/addr.h"

#include "quic/token.h"

#include <assert.h>
#include <string.h>

/* Long enough that nobody guesses it (RFC 9000 section 7.2 wants 8). */
#define FIRST_DCID_LEN 16
#define MAX_UDP_PAYLOAD 1452
#define ACTIVE_CID_LIMIT 8
#define STREAM_WINDOW_MAX (8u << 20)

static const uint16_t probes[] = {1406, 1342, 1444, 1452};
/* No device is in the way: 4096 - 48, a jumbo frame, almost the most. */
static const uint16_t probes_loopback[] = {1452, 4048, 8952,
                                           AQ_CONN_MAX_UDP_PAYLOAD};

/* ---- memory for ngtcp2 -------------------------------------------------- */

static void *mem_malloc(size_t size, void *user) {
  return aq_mem_resize(user, NULL, size == 0 ? 1 : size);
}

static void mem_free(void *ptr, void *user) {
  aq_mem_free(user, ptr);
}

static void *mem_calloc(size_t n, size_t size, void *user) {
  return aq_mem_array(user, n == 0 ? 1 : n, size == 0 ? 1 : size);
}

static void *mem_realloc(void *ptr, size_t size, void *user) {
  return aq_mem_resize(user, ptr, size == 0 ? 1 : size);
}

/* ---- settings ----------------------------------------------------------- */

static void make_settings(aq_conn *c, ngtcp2_settings *s, aq_tstamp now,
                          const aq_conn_params *p) {
  ngtcp2_settings_default(s);
  s->initial_ts = now;
  s->cc_algo = NGTCP2_CC_ALGO_CUBIC;
  s->rand_ctx.native_handle = c;
  if (p->initial_rtt != 0) {
    s->initial_rtt = p->initial_rtt;
  }
  s->handshake_timeout = p->handshake_timeout != 0
                             ? p->handshake_timeout
                             : c->shared->params.handshake_timeout;
  s->max_window = 0;
  s->max_stream_window = 0;
  if (aq_addr_classify(&p->remote) == AQ_ADDR_LOOPBACK) {
    s->max_tx_udp_payload_size = AQ_CONN_MAX_UDP_PAYLOAD;
    s->pmtud_probes = probes_loopback;
    s->pmtud_probeslen = sizeof(probes_loopback) / sizeof(*probes_loopback);
  } else {
    s->max_tx_udp_payload_size = MAX_UDP_PAYLOAD;
    s->pmtud_probes = probes;
    s->pmtud_probeslen = sizeof(probes) / sizeof(*probes);
  }
  s->token = p->token;
  s->tokenlen = p->tokenlen;
}

static void make_params(const aq_conn *c, ngtcp2_transport_params *t) {
  const aq_endpoint_params *p = &c->shared->params;
  uint64_t window = p->stream_window;
  if (window > STREAM_WINDOW_MAX) {
    window = STREAM_WINDOW_MAX;
  }
  ngtcp2_transport_params_default(t);
  t->initial_max_stream_data_bidi_local = window;
  t->initial_max_stream_data_bidi_remote = window;
  t->initial_max_stream_data_uni = window;
  t->initial_max_data = p->conn_window;
  t->initial_max_streams_bidi = p->max_streams_bidi;
  t->initial_max_streams_uni = p->max_streams_uni + 1; /* control */
  t->max_idle_timeout = p->idle_timeout;
  t->active_connection_id_limit = ACTIVE_CID_LIMIT;
  t->max_datagram_frame_size = 65535;
}

/* ---- making one --------------------------------------------------------- */

static void init_lists(aq_conn *c) {
  aq_list_init(&c->edges);
  aq_list_init(&c->incoming);
  aq_list_init(&c->streams);
  aq_list_init(&c->dead);
  aq_list_init(&c->blocked);
  aq_list_init(&c->again);
  for (size_t i = 0; i < AQ_PRIORITY_LEVELS; i++) {
    aq_list_init(&c->ready[i]);
  }
}

static aq_conn *conn_alloc(aq_conn_shared *shared, aq_tstamp now,
                           const aq_conn_params *p) {
  aq_mem mem;
  aq_mem_init(&mem, &shared->env);
  aq_conn *c = aq_mem_alloc(&mem, sizeof(*c));
  if (c == NULL) {
    return NULL;
  }
  c->mem = mem;
  c->shared = shared;
  c->id = p->id;
  c->now = now;
  c->dirty = 1;
  c->remote = p->remote;
  c->local = p->local;
  c->socket = p->socket;
  c->nmem.user_data = &c->mem;
  c->nmem.malloc = mem_malloc;
  c->nmem.free = mem_free;
  c->nmem.calloc = mem_calloc;
  c->nmem.realloc = mem_realloc;
  c->linger_until = AQ_NEVER;
  c->expected_rtt = p->initial_rtt;
  init_lists(c);
  aq_carrier_init(&c->carrier, &c->mem);
  aq_dgram_queue_init(&c->dgram_tx, &c->mem, shared->params.datagram_queue);
  aq_dgram_queue_init(&c->dgram_rx, &c->mem, shared->params.datagram_queue);
  return c;
}

static int random_cid(aq_conn *c, ngtcp2_cid *cid, size_t len) {
  uint8_t bytes[NGTCP2_MAX_CIDLEN];
  int err = aq_crypto_random(&c->shared->env, bytes, len);
  if (err == 0) {
    ngtcp2_cid_init(cid, bytes, len);
  }
  return err;
}

/* Common end of both constructors. */
static int conn_ready(aq_conn *c, aq_conn **pc, int rv, int err) {
  if (rv != 0 || err != 0) {
    aq_conn_del(c);
    return err != 0                 ? err
           : rv == NGTCP2_ERR_NOMEM ? AQ_ERR_NOMEM
                                    : AQ_ERR_INTERNAL;
  }
  c->tls.conn = c->q;
  ngtcp2_conn_set_tls_native_handle(c->q, c->tls.ssl);
  aq_duration keep_alive = c->shared->params.keep_alive;
  if (keep_alive == AQ_KEEP_ALIVE_AUTO) {
    keep_alive = c->shared->keep_alive;
  }
  if (keep_alive != 0) {
    aq_conn_keep_alive(c, keep_alive);
  }
  *pc = c;
  return 0;
}

int aq_conn_new_client(aq_conn **pc, aq_conn_shared *shared, aq_tstamp now,
                       const aq_conn_params *p) {
  ngtcp2_callbacks cb;
  ngtcp2_settings settings;
  ngtcp2_transport_params params;
  ngtcp2_path_storage ps;
  ngtcp2_cid scid, dcid;
  int rv = 0;
  *pc = NULL;
  aq_conn *c = conn_alloc(shared, now, p);
  if (c == NULL) {
    return AQ_ERR_NOMEM;
  }
  c->client = 1;
  aq_conn_make_path(c, &ps, p->socket, &p->local, &p->remote);
  aq_addr_from_sockaddr(&c->local, (const struct sockaddr *)ps.path.local.addr,
                        ps.path.local.addrlen);
  c->path[0].socket = p->socket;
  c->path[0].local = c->local;
  c->path_count = 1;
  const char *alpn =
      p->alpn != NULL ? p->alpn : aq_tls_ctx_alpn(shared->tls, p->coordination);
  int err = aq_tls_init(&c->tls, shared->tls, 0, alpn, p->expect,
                        &aq_conn_tls_hooks, c);
  if (err == 0) {
    err = random_cid(c, &scid, AQ_CID_LEN);
  }
  if (err == 0) {
    err = random_cid(c, &dcid, FIRST_DCID_LEN);
  }
  if (err == 0) {
    aq_conn_set_callbacks(&cb);
    aq_tls_set_callbacks(shared->tls, &cb);
    make_settings(c, &settings, now, p);
    make_params(c, &params);
    rv = ngtcp2_conn_client_new(&c->q, &dcid, &scid, &ps.path,
                                NGTCP2_PROTO_VER_V1, &cb, &settings, &params,
                                &c->nmem, c);
    aq_conn_cid_notify(c, &scid, 1);
  }
  return conn_ready(c, pc, rv, err);
}

int aq_conn_new_server(aq_conn **pc, aq_conn_shared *shared, aq_tstamp now,
                       const aq_conn_params *p) {
  ngtcp2_callbacks cb;
  ngtcp2_settings settings;
  ngtcp2_transport_params params;
  ngtcp2_path_storage ps;
  ngtcp2_cid scid;
  int rv = 0;
  *pc = NULL;
  aq_conn *c = conn_alloc(shared, now, p);
  if (c == NULL) {
    return AQ_ERR_NOMEM;
  }
  c->odcid = p->hd->dcid;
  int err =
      aq_tls_init(&c->tls, shared->tls, 1, NULL, NULL, &aq_conn_tls_hooks, c);
  if (err == 0) {
    err = random_cid(c, &scid, AQ_CID_LEN);
  }
  if (err == 0) {
    aq_conn_make_path(c, &ps, p->socket, &p->local, &p->remote);
    aq_conn_set_callbacks(&cb);
    aq_tls_set_callbacks(shared->tls, &cb);
    make_settings(c, &settings, now, p);
    settings.token = p->hd->token;
    settings.tokenlen = p->hd->tokenlen;
    settings.token_type = (ngtcp2_token_type)p->token_type;
    if (p->token_type == NGTCP2_TOKEN_TYPE_UNKNOWN) {
      settings.token = NULL; /* it proved nothing */
      settings.tokenlen = 0;
    }
    make_params(c, &params);
    params.original_dcid_present = 1;
    params.original_dcid = p->hd->dcid;
    if (p->retry_odcid != NULL) {
      params.original_dcid = *p->retry_odcid;
      params.retry_scid = p->hd->dcid;
      params.retry_scid_present = 1;
    }
    params.stateless_reset_token_present = 1;
    err = aq_crypto_reset_token(params.stateless_reset_token, &shared->secrets,
                                &scid);
  }
  if (err == 0) {
    rv = ngtcp2_conn_server_new(&c->q, &p->hd->scid, &scid, &ps.path,
                                p->hd->version, &cb, &settings, &params,
                                &c->nmem, c);
    aq_conn_cid_notify(c, &scid, 1);
    aq_conn_cid_notify(c, &c->odcid, 1);
  }
  return conn_ready(c, pc, rv, err);
}

static void free_streams(aq_list *list) {
  aq_list *node = NULL;
  while ((node = aq_list_first(list)) != NULL) {
    aq_stream_del(aq_list_entry(node, aq_stream, all_link));
  }
}

void aq_conn_del(aq_conn *c) {
  if (c == NULL) {
    return;
  }
  ngtcp2_conn_del(c->q);
  aq_tls_free(&c->tls);
  free_streams(&c->streams);
  free_streams(&c->dead);
  while (c->pool != NULL) {
    aq_chunk *k = c->pool;
    c->pool = k->next;
    aq_mem_free(&c->mem, k);
  }
  aq_conn_again_drop(c);
  aq_dgram_queue_free(&c->dgram_tx);
  aq_dgram_queue_free(&c->dgram_rx);
  aq_carrier_free(&c->carrier);
  aq_mem_free(&c->mem, c->control);
  aq_mem_free(&c->mem, c->close_pkt);
  aq_mem mem = c->mem;
  aq_mem_free(&mem, c);
}

/* ---- fed ---------------------------------------------------------------- */

void aq_conn_clock(aq_conn *c, aq_tstamp now) {
  if (now > c->now) {
    c->now = now;
  }
}

void aq_conn_cid_notify(aq_conn *c, const ngtcp2_cid *cid, int added) {
  assert(c->cid_count < AQ_CONN_CID_NOTICES);
  c->cid[c->cid_count].cid = *cid;
  c->cid[c->cid_count].added = (uint8_t)(added != 0);
  c->cid_count++;
}

/* NEW_TOKEN, RFC 9000 section 8.1.3. */
static void submit_token(aq_conn *c) {
  uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN];
  const ngtcp2_path *path = ngtcp2_conn_get_path2(c->q);
  aq_addr remote;
  aq_addr_from_sockaddr(&remote, (const struct sockaddr *)path->remote.addr,
                        path->remote.addrlen);
  ngtcp2_ssize n = aq_token_make(token, c->shared, &remote, c->now);
  if (n > 0) {
    ngtcp2_conn_submit_new_token(c->q, token, (size_t)n);
    c->dirty = 1;
  }
}

static void on_completed(aq_conn *c) {
  c->completed = 0;
  c->phase = AQ_CONN_OPEN;
  c->established = c->now;
  aq_conn_note_proven(c, &c->remote);
  aq_conn_again_drop(c);
  c->say_established = 1;
  c->dirty = 1;
  if (c->has_control) {
    int err = aq_conn_open_control(c);
    if (err != 0) {
      aq_conn_fault(c, err, 0x0a, "no control stream is possible");
    }
  }
  if (!c->client) {
    /* RFC 9001 section 4.1.2: complete is confirmed for a server. */
    c->confirmed = 1;
    c->new_token = 1;
  }
}

static void unblock_streams(aq_conn *c) {
  if (!c->conn_blocked || ngtcp2_conn_get_max_data_left2(c->q) == 0) {
    return;
  }
  c->conn_blocked = 0;
  aq_list *node = NULL;
  while ((node = aq_list_first(&c->blocked)) != NULL) {
    aq_stream_unblock(aq_list_entry(node, aq_stream, ready_link));
  }
}

static void give_back(aq_conn *c) {
  if (c->give_bidi > 0) {
    ngtcp2_conn_extend_max_streams_bidi(c->q, (size_t)c->give_bidi);
  }
  if (c->give_uni > 0) {
    ngtcp2_conn_extend_max_streams_uni(c->q, (size_t)c->give_uni);
  }
  if (c->give_data > 0) {
    ngtcp2_conn_extend_max_offset(c->q, c->give_data);
  }
  c->give_bidi = c->give_uni = c->give_data = 0;
}

void aq_conn_settle(aq_conn *c) {
  free_streams(&c->dead);
  if (!aq_conn_is_open(c)) {
    return;
  }
  if (c->completed) {
    on_completed(c);
  }
  if (c->confirmed) {
    c->confirmed = 0;
    c->say_confirmed = 1;
    c->was_confirmed = 1;
    aq_tls_shrink(&c->tls);
    ngtcp2_conn_set_tls_native_handle(c->q, NULL);
  }
  if (c->new_token && c->phase == AQ_CONN_OPEN) {
    c->new_token = 0;
    submit_token(c);
  }
  give_back(c);
  unblock_streams(c);
  if (c->fault != 0) {
    aq_conn_on_liberr(c, NGTCP2_ERR_CALLBACK_FAILURE);
    return;
  }
  const ngtcp2_path *path = ngtcp2_conn_get_path2(c->q);
  aq_addr remote = c->remote, local = c->local;
  uint32_t socket = c->socket;
  aq_conn_read_path(c, path);
  if (c->phase == AQ_CONN_OPEN &&
      (!aq_addr_equal(&remote, &c->remote) || socket != c->socket ||
       (c->client && !aq_addr_equal(&local, &c->local)))) {
    c->say_path = 1;
    aq_conn_recall_proven(c);
    aq_conn_again_drop(c);
  }
}

/* What the transport counted tells if it took the packet; extension frames,
 * each of which it saw as a PING, count when it did. Returns 1 when it did. */
static int settle_packet(aq_conn *c, const ngtcp2_conn_info *i) {
  const char *why = "";
  int heard = i->pkt_recv > c->counted_packets;
  if (heard) {
    c->heard = 1;
    c->last_activity = c->now;
  }
  uint64_t code =
      aq_carrier_settle(&c->carrier, i->ping_recv > c->counted_pings, &why);
  if (code != 0) {
    aq_conn_fault(c, AQ_ERR_PROTOCOL, code, why);
  }
  c->counted_packets = i->pkt_recv;
  c->counted_pings = i->ping_recv;
  return heard;
}

aq_conn_verdict aq_conn_handle_packet(aq_conn *c, aq_tstamp now,
                                      uint32_t socket, const aq_addr *local,
                                      const aq_addr *remote, uint8_t ecn,
                                      const uint8_t *data, size_t len) {
  ngtcp2_path_storage ps;
  ngtcp2_pkt_info pi = {.ecn = ecn};
  ngtcp2_conn_info info;
  aq_conn_clock(c, now);
  if (!aq_conn_is_open(c)) {
    aq_conn_closing_heard(c);
    return AQ_CONN_OK;
  }
  aq_conn_make_path(c, &ps, socket, local, remote);
  c->taken += len;
  int rv = ngtcp2_conn_read_pkt(c->q, &ps.path, &pi, data, len, c->now);
  if (rv == NGTCP2_ERR_RETRY) {
    return AQ_CONN_SEND_RETRY;
  }
  if (rv == NGTCP2_ERR_DROP_CONN) {
    return AQ_CONN_DROP;
  }
  ngtcp2_conn_get_conn_info2(c->q, &info);
  int heard = settle_packet(c, &info);
  c->dirty = 1;
  if (rv != 0) {
    aq_conn_on_liberr(c, rv);
  }
  aq_conn_settle(c);
  int here = socket == c->socket && aq_addr_equal(remote, &c->remote);
  if (heard && !here) {
    aq_conn_allow(c, 1);
  }
  aq_conn_note_due(c, info.bytes_in_flight, heard && here);
  if (heard) {
    aq_conn_again_heard(c, info.bytes_in_flight);
  }
  return AQ_CONN_OK;
}

void aq_conn_handle_timeout(aq_conn *c, aq_tstamp now) {
  aq_conn_clock(c, now);
  c->dirty |= aq_conn_is_open(c) && aq_conn_again_next(c) <= c->now;
  if (!aq_conn_is_open(c) || ngtcp2_conn_get_expiry2(c->q) > c->now) {
    return;
  }
  int rv = ngtcp2_conn_handle_expiry(c->q, c->now);
  c->dirty = 1;
  /* The challenge is repeated after a probe time-out or later; what goes before
   * would go to the old path. */
  if (aq_time_since(c->now, c->strayed_at) >= aq_conn_pto(c)) {
    aq_conn_allow(c, c->moving);
  }
  if (rv != 0) {
    aq_conn_on_liberr(c, rv);
  }
  aq_conn_settle(c);
}

aq_tstamp aq_conn_next_timeout(const aq_conn *c) {
  return aq_conn_is_open(c)
             ? aq_time_min(ngtcp2_conn_get_expiry2(c->q), aq_conn_again_next(c))
             : AQ_NEVER;
}

/* ---- verbs -------------------------------------------------------------- */

void aq_conn_keep_alive(aq_conn *c, aq_duration interval) {
  if (aq_conn_is_open(c)) {
    /* Oftener than this it would be a flood. */
    interval = interval ? aq_time_max(interval, AQ_S) : 0;
    ngtcp2_conn_set_keep_alive_timeout(c->q, interval);
  }
}

int aq_conn_key_update(aq_conn *c, aq_tstamp now) {
  aq_conn_clock(c, now);
  if (!aq_conn_is_open(c)) {
    return AQ_ERR_CLOSED;
  }
  /* Earlier ngtcp2 would abort: it asserts that the handshake is behind it. */
  int rv = c->may_update ? ngtcp2_conn_initiate_key_update(c->q, c->now)
                         : NGTCP2_ERR_INVALID_STATE;
  c->dirty = 1;
  if (rv == NGTCP2_ERR_INVALID_STATE) {
    /* ngtcp2 makes the next keys when a packet passes: let one pass. */
    aq_conn_ping_now(c, now);
    return AQ_ERR_AGAIN;
  }
  return rv == 0 ? 0 : AQ_ERR_INTERNAL;
}
