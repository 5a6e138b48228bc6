/* relay.c - the relay's role.
 *
 * A datagram costs one look into a hash table. The tunnels stand in the order
 * of their last datagram, so that the idle ones are found at the front.
 *
 * A peer's budget lives as long as its connection: who ends its tunnels and
 * makes new ones has no more than before.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/relay.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/rate.h"
#include "base/time.h"

#include <string.h>

typedef struct peer {
  aq_id conn;
  uint32_t tunnels;
  aq_rate sent, got;
} peer;

struct aq_relay_tunnel {
  aq_list node; /* the longest idle first */
  uint8_t id[AQ_TUNNEL_ID_LEN];
  peer *end[2];
  aq_tstamp used;  /* its last datagram */
  aq_rate rate[2]; /* from either end */
};
typedef aq_relay_tunnel tunnel;

/* Bytes a second, and as many at once. */
typedef struct bound {
  double rate, burst;
} bound;

struct aq_relay {
  aq_mem mem;
  bound each, share, total;
  aq_rate all;
  aq_hash by_id, by_conn;
  aq_list tunnels;
};

static bound bound_of(uint64_t rate) {
  uint64_t burst = rate / 4 > AQ_RELAY_BURST ? rate / 4 : AQ_RELAY_BURST;
  return (bound){(double)rate, (double)burst};
}

int aq_relay_new(aq_relay **pr, uint64_t rate, uint64_t total,
                 const aq_env *env) {
  aq_mem mem;
  uint64_t salt[2] = {0, 0};
  uint64_t share = total / AQ_RELAY_SHARE;
  *pr = NULL;
  aq_mem_init(&mem, env);
  aq_relay *r = aq_mem_alloc(&mem, sizeof(*r));
  if (!r) {
    return AQ_ERR_NOMEM;
  }
  if (env && env->random) { /* ids are random, and the relay's own */
    (void)env->random(env->user, (uint8_t *)salt, sizeof(salt));
  }
  r->mem = mem;
  r->each = bound_of(rate);
  r->share = bound_of(share > rate ? share : rate);
  r->total = bound_of(total);
  aq_hash_init(&r->by_id, &mem, salt);
  aq_hash_init(&r->by_conn, &mem, salt);
  aq_list_init(&r->tunnels);
  *pr = r;
  return 0;
}

static tunnel *find(const aq_relay *r, const uint8_t *id) {
  return aq_hash_get(&r->by_id, id, AQ_TUNNEL_ID_LEN);
}

static peer *peer_of(const aq_relay *r, aq_id conn) {
  return aq_hash_get(&r->by_conn, &conn, sizeof(conn));
}

static peer *peer_make(aq_relay *r, aq_id conn) {
  peer *p = peer_of(r, conn);
  if (p) {
    return p;
  }
  p = aq_mem_alloc(&r->mem, sizeof(*p));
  if (p && aq_hash_put(&r->by_conn, &conn, sizeof(conn), p)) {
    aq_mem_free(&r->mem, p);
    return NULL;
  }
  if (p) {
    p->conn = conn;
  }
  return p;
}

static void end(aq_relay *r, tunnel *t) {
  aq_hash_remove(&r->by_id, t->id, sizeof(t->id));
  aq_list_remove(&t->node);
  t->end[0]->tunnels--;
  t->end[1]->tunnels--;
  aq_mem_free(&r->mem, t);
}

void aq_relay_del(aq_relay *r) {
  if (!r) {
    return;
  }
  aq_list *node;
  while ((node = aq_list_first(&r->tunnels))) {
    end(r, aq_list_entry(node, tunnel, node));
  }
  size_t cursor = 0;
  for (void *p; (p = aq_hash_next(&r->by_conn, &cursor));) {
    aq_mem_free(&r->mem, p);
  }
  aq_hash_free(&r->by_id);
  aq_hash_free(&r->by_conn);
  aq_mem mem = r->mem;
  aq_mem_free(&mem, r);
}

uint32_t aq_relay_count(const aq_relay *r) {
  return (uint32_t)aq_hash_count(&r->by_id);
}

static int is_full(const aq_relay *r, aq_id conn) {
  const peer *p = peer_of(r, conn);
  return p && p->tunnels >= AQ_RELAY_EACH;
}

uint64_t aq_relay_admit(const aq_relay *r, aq_id a, aq_id b) {
  if (aq_relay_count(r) >= AQ_RELAY_TUNNELS) {
    return AQ_CTL_ERR_OVERLOADED;
  }
  return is_full(r, a) || is_full(r, b) ? AQ_CTL_ERR_RATE_LIMITED : 0;
}

int aq_relay_open(aq_relay *r, aq_tstamp now,
                  const uint8_t id[AQ_TUNNEL_ID_LEN], aq_id a, aq_id b) {
  tunnel *t = find(r, id);
  if (t) {
    return t->end[0]->conn == a && t->end[1]->conn == b ? 0 : AQ_ERR_LIMIT;
  }
  if (aq_relay_count(r) >= AQ_RELAY_TUNNELS) {
    return AQ_ERR_LIMIT;
  }
  peer *of_a = peer_make(r, a), *of_b = of_a ? peer_make(r, b) : NULL;
  t = of_b ? aq_mem_alloc(&r->mem, sizeof(*t)) : NULL;
  if (!t || aq_hash_put(&r->by_id, id, AQ_TUNNEL_ID_LEN, t)) {
    aq_mem_free(&r->mem, t);
    return AQ_ERR_NOMEM;
  }
  memcpy(t->id, id, sizeof(t->id));
  t->end[0] = of_a;
  t->end[1] = of_b;
  of_a->tunnels++;
  of_b->tunnels++;
  t->used = now;
  aq_list_push_back(&r->tunnels, &t->node);
  return 0;
}

static void tell_ends(const tunnel *t, aq_id end[2]) {
  end[0] = t->end[0]->conn;
  end[1] = t->end[1]->conn;
}

aq_relay_tunnel *aq_relay_find(const aq_relay *r,
                               const uint8_t id[AQ_TUNNEL_ID_LEN],
                               aq_id end[2]) {
  tunnel *t = find(r, id);
  if (t) {
    tell_ends(t, end);
  }
  return t;
}

static int has_room(aq_rate *r, const bound *b, aq_tstamp now, size_t len) {
  return aq_rate_left(r, now, b->rate, b->burst) >= (double)len;
}

aq_relay_verdict aq_relay_take(aq_relay *r, aq_tstamp now, aq_relay_tunnel *t,
                               int from, size_t len) {
  aq_rate *sent = &t->end[from]->sent, *got = &t->end[!from]->got;
  t->used = aq_time_max(t->used, now);
  aq_list_remove(&t->node);
  aq_list_push_back(&r->tunnels, &t->node);
  if (!has_room(&t->rate[from], &r->each, now, len)) {
    return AQ_RELAY_OVER_TUNNEL;
  }
  if (!has_room(sent, &r->share, now, len) ||
      !has_room(got, &r->share, now, len)) {
    return AQ_RELAY_OVER_PEER;
  }
  if (!has_room(&r->all, &r->total, now, len)) {
    return AQ_RELAY_OVER_TOTAL;
  }
  aq_rate *all[] = {&t->rate[from], sent, got, &r->all};
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
    all[i]->tokens -= (double)len;
  }
  return AQ_RELAY_OK;
}

aq_id aq_relay_close(aq_relay *r, const uint8_t id[AQ_TUNNEL_ID_LEN],
                     aq_id conn) {
  tunnel *t = find(r, id);
  if (!t || (t->end[0]->conn != conn && t->end[1]->conn != conn)) {
    return 0;
  }
  aq_id other = t->end[t->end[0]->conn == conn]->conn;
  end(r, t);
  return other;
}

aq_id aq_relay_forget(aq_relay *r, aq_id conn, uint8_t id[AQ_TUNNEL_ID_LEN]) {
  peer *p = peer_of(r, conn);
  if (!p) {
    return 0;
  }
  aq_list_each(node, &r->tunnels) {
    tunnel *t = aq_list_entry(node, tunnel, node);
    if (t->end[0] == p || t->end[1] == p) {
      memcpy(id, t->id, AQ_TUNNEL_ID_LEN);
      return aq_relay_close(r, id, conn);
    }
  }
  aq_hash_remove(&r->by_conn, &conn, sizeof(conn));
  aq_mem_free(&r->mem, p);
  return 0;
}

aq_tstamp aq_relay_next_timeout(const aq_relay *r) {
  const aq_list *node = aq_list_first(&r->tunnels);
  return node ? aq_time_add(aq_list_entry(node, tunnel, node)->used,
                            AQ_RELAY_IDLE)
              : AQ_NEVER;
}

int aq_relay_expire(aq_relay *r, aq_tstamp now, uint8_t id[AQ_TUNNEL_ID_LEN],
                    aq_id ends[2]) {
  if (aq_relay_next_timeout(r) > now) {
    return 0;
  }
  tunnel *t = aq_list_entry(aq_list_first(&r->tunnels), tunnel, node);
  memcpy(id, t->id, AQ_TUNNEL_ID_LEN);
  tell_ends(t, ends);
  end(r, t);
  return 1;
}
