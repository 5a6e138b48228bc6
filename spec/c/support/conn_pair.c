/* conn_pair.c - a client and a server connection in virtual time.
 *
 * SPDX-License-Identifier: MIT */
#include "support/conn_pair.h"

#include "base/addr.h"
#include "base/time.h"

#include <stdlib.h>
#include <string.h>

uint8_t conn_pair_byte(uint64_t seed, uint64_t off) {
  uint64_t x = (off + 1) * 0x9e3779b97f4a7c15u + seed * 0xbf58476d1ce4e5b9u;
  return (uint8_t)(x >> 56);
}

static void side_init(conn_pair *p, int i) {
  pair_side *s = &p->side[i];
  uint8_t seed[32];
  uint8_t ip[4] = {192, 0, 2, (uint8_t)(1 + i)};
  memset(seed, 7 + i, sizeof(seed));
  aq_endpoint_params_init(&s->params);
  if (aq_identity_from_seed(&s->identity, seed) != 0) {
    abort();
  }
  s->params.identity = s->identity;
  s->addr = aq_addr_v4(ip, (uint16_t)(4000 + i));
  s->bound = s->addr;
}

void conn_pair_init(conn_pair *p, void (*tune)(conn_pair *p)) {
  memset(p, 0, sizeof(*p));
  p->now = 1000 * AQ_S;
  p->delay = 10 * AQ_MS;
  aq_rand_init(&p->rand, 1);
  for (int i = 0; i < 2; i++) {
    side_init(p, i);
  }
  if (tune != NULL) {
    tune(p);
  }
  for (int i = 0; i < 2; i++) {
    pair_side *s = &p->side[i];
    aq_mem mem;
    aq_mem_init(&mem, &p->env);
    aq_idmap_init(&s->ids, &mem);
    s->shared.params = s->params;
    s->shared.env = p->env;
    s->shared.streams = &s->ids;
    if (aq_crypto_secrets_init(&s->shared.secrets, NULL, (uint8_t[32]){1}) !=
            0 ||
        aq_tls_ctx_new(&s->shared.tls, &s->params) != 0) {
      abort();
    }
  }
}

void conn_pair_free(conn_pair *p) {
  for (int i = 0; i < 2; i++) {
    pair_side *s = &p->side[i];
    aq_conn_del(s->conn);
    aq_tls_ctx_del(s->shared.tls);
    aq_idmap_free(&s->ids);
    aq_identity_del(s->identity);
  }
  while (p->head != NULL) {
    pair_packet *k = p->head;
    p->head = k->next;
    free(k);
  }
}

int conn_pair_dial(conn_pair *p) {
  pair_side *s = &p->side[PAIR_CLIENT];
  aq_conn_params q = {.id = 1,
                      .local = s->bound,
                      .remote = p->side[PAIR_SERVER].addr,
                      .expect = p->expect,
                      .initial_rtt = p->initial_rtt,
                      .handshake_timeout = p->handshake_timeout};
  int err = aq_conn_new_client(&s->conn, &s->shared, p->now, &q);
  if (err == 0) {
    conn_pair_drain(p, PAIR_CLIENT);
  }
  return err;
}

void conn_pair_drain(conn_pair *p, int side) {
  pair_side *s = &p->side[side];
  aq_notice n;
  while (s->conn != NULL && aq_conn_poll_notice(s->conn, &n)) {
    s->seen[n.kind]++;
    switch (n.kind) {
    case AQ_NOTICE_FRAME:
      if (s->nframes < PAIR_FRAMES) {
        s->frames[s->nframes++] = n.frame;
      }
      break;
    case AQ_NOTICE_CID_ADDED:
      s->cids++;
      break;
    case AQ_NOTICE_CID_REMOVED:
      s->cids--;
      break;
    case AQ_NOTICE_PATH_CHANGED:
      s->moved_to = n.remote;
      break;
    case AQ_NOTICE_CLOSED:
      s->closed = n;
      break;
    default:
      break;
    }
  }
}

static void enqueue(conn_pair *p, int from, const aq_transmit *t,
                    const uint8_t *data, size_t len, aq_tstamp at) {
  pair_packet *k = malloc(sizeof(*k) + len);
  if (k == NULL) {
    abort();
  }
  k->at = at;
  k->to = 1 - from;
  k->src = t->socket == 1 ? p->side[from].second : p->side[from].addr;
  k->dst = t->remote;
  k->ecn = t->ecn;
  k->len = len;
  memcpy(k->data, data, len);
  pair_packet **at_link = &p->head;
  while (*at_link != NULL && (*at_link)->at <= at) {
    at_link = &(*at_link)->next;
  }
  k->next = *at_link;
  *at_link = k;
  p->queued++;
}

static int chance(conn_pair *p, unsigned per_mille) {
  return per_mille > 0 && aq_rand_below(&p->rand, 1000) < per_mille;
}

static void post(conn_pair *p, int from, const aq_transmit *t,
                 const uint8_t *data, size_t len) {
  int to = 1 - from;
  aq_tstamp at = p->now + p->delay;
  if (p->cut || (p->mtu != 0 && len > p->mtu) || chance(p, p->loss)) {
    return;
  }
  if (p->drop_to[to] > 0) {
    p->drop_to[to]--;
    return;
  }
  if (p->pass_to[to] == 1) {
    return;
  }
  p->pass_to[to] -= p->pass_to[to] > 1;
  if (chance(p, p->reorder)) {
    at += aq_rand_below(&p->rand, 3 * p->delay + 1);
  }
  enqueue(p, from, t, data, len, at);
  if (chance(p, p->dup)) {
    enqueue(p, from, t, data, len, at + p->delay / 2);
  }
  if (p->replay) {
    enqueue(p, from, t, data, len, at + 1);
    enqueue(p, from, t, data, len, at + p->delay);
  }
}

static void send_all(conn_pair *p, int side) {
  static uint8_t buf[AQ_TRANSMIT_MAX];
  pair_side *s = &p->side[side];
  aq_transmit t;
  while (s->conn != NULL &&
         aq_conn_poll_transmit(s->conn, p->now, &t, buf, sizeof(buf)) == 1) {
    for (size_t off = 0; off < t.len; off += t.segment) {
      size_t n = t.len - off < t.segment ? t.len - off : t.segment;
      s->packets++;
      s->bytes += n;
      post(p, side, &t, buf + off, n);
    }
  }
  conn_pair_drain(p, side);
}

static void accept_first(conn_pair *p, const pair_packet *k) {
  pair_side *s = &p->side[PAIR_SERVER];
  ngtcp2_pkt_hd hd;
  if (ngtcp2_accept(&hd, k->data, k->len) != 0) {
    return;
  }
  aq_conn_params q = {.id = 1,
                      .local = s->bound,
                      .remote = k->src,
                      .initial_rtt = p->initial_rtt,
                      .hd = &hd};
  if (aq_conn_new_server(&s->conn, &s->shared, p->now, &q) != 0) {
    s->conn = NULL;
  }
}

/* Which socket has the address, -1: none any more. */
static int socket_of(const pair_side *s, const aq_addr *dst) {
  return aq_addr_equal(dst, &s->addr)     ? 0
         : aq_addr_equal(dst, &s->second) ? 1
                                          : -1;
}

static void deliver(conn_pair *p) {
  pair_packet *k = p->head;
  pair_side *s = &p->side[k->to];
  int socket = socket_of(s, &k->dst);
  p->head = k->next;
  p->queued--;
  if (s->conn == NULL && k->to == PAIR_SERVER) {
    accept_first(p, k);
  }
  if (s->conn != NULL && socket >= 0) {
    s->verdict = aq_conn_handle_packet(s->conn, p->now, (uint32_t)socket,
                                       socket == 1 ? &s->second : &s->bound,
                                       &k->src, k->ecn, k->data, k->len);
    conn_pair_drain(p, k->to);
    if (s->verdict != AQ_CONN_OK) {
      /* No Retry here: the client's next Initial begins anew. */
      aq_conn_del(s->conn);
      s->conn = NULL;
      s->cids = 0;
    }
  }
  free(k);
}

int conn_pair_turn(conn_pair *p, aq_tstamp until) {
  aq_tstamp next = p->now;
  if (p->app != NULL) {
    p->app(p, p->user);
  }
  send_all(p, 0);
  send_all(p, 1);
  next = p->head != NULL ? p->head->at : AQ_NEVER;
  for (int i = 0; i < 2; i++) {
    if (p->side[i].conn != NULL) {
      next = aq_time_min(next, aq_conn_next_timeout(p->side[i].conn));
    }
  }
  if (next > until) {
    p->now = until;
    return 0;
  }
  p->now = aq_time_max(p->now, next);
  while (p->head != NULL && p->head->at <= p->now) {
    deliver(p);
  }
  for (int i = 0; i < 2; i++) {
    aq_conn *c = p->side[i].conn;
    if (c != NULL && aq_conn_next_timeout(c) <= p->now) {
      aq_conn_handle_timeout(c, p->now);
      conn_pair_drain(p, i);
    }
  }
  return 1;
}

int conn_pair_run(conn_pair *p, aq_duration max, int (*done)(conn_pair *p)) {
  aq_tstamp until = p->now + max;
  for (;;) {
    if (done != NULL && done(p)) {
      return 1;
    }
    if (!conn_pair_turn(p, until)) {
      return done != NULL && done(p);
    }
  }
}

int conn_pair_both_confirmed(conn_pair *p) {
  return p->side[0].seen[AQ_NOTICE_CONFIRMED] > 0 &&
         p->side[1].seen[AQ_NOTICE_CONFIRMED] > 0;
}

int conn_pair_both_closed(conn_pair *p) {
  return p->side[0].seen[AQ_NOTICE_CLOSED] > 0 &&
         p->side[1].seen[AQ_NOTICE_CLOSED] > 0;
}

aq_stream *conn_pair_stream(conn_pair *p, int side, aq_id id) {
  return aq_idmap_get(&p->side[side].ids, AQ_KIND_STREAM, id);
}
