/* relay.c - the relay's role.
 *
 * A datagram costs two looks into a hash table: between whom, and how much. The
 * tunnels stand in the order of their last datagram, so that the idle ones are
 * found at the front.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/relay.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/time.h"

#include <string.h>

typedef struct tunnel {
  aq_list node; /* the longest idle first */
  uint8_t id[AQ_TUNNEL_ID_LEN];
  aq_id end[2];
  aq_tstamp used;    /* its last datagram */
  uint64_t room[2];  /* bytes that may pass at once, from either end */
  aq_tstamp fill[2]; /* ... as it was then */
} tunnel;

struct aq_relay {
  aq_mem mem;
  uint64_t rate, burst;
  aq_hash by_id;
  aq_list tunnels;
};

int aq_relay_new(aq_relay **pr, uint64_t rate, const aq_env *env) {
  aq_mem mem;
  uint64_t salt[2] = {0, 0};
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
  r->rate = rate;
  r->burst = rate / 4 > AQ_RELAY_BURST ? rate / 4 : AQ_RELAY_BURST;
  aq_hash_init(&r->by_id, &mem, salt);
  aq_list_init(&r->tunnels);
  *pr = r;
  return 0;
}

static tunnel *find(const aq_relay *r, const uint8_t *id) {
  return aq_hash_get(&r->by_id, id, AQ_TUNNEL_ID_LEN);
}

static void end(aq_relay *r, tunnel *t) {
  aq_hash_remove(&r->by_id, t->id, sizeof(t->id));
  aq_list_remove(&t->node);
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
  aq_hash_free(&r->by_id);
  aq_mem mem = r->mem;
  aq_mem_free(&mem, r);
}

uint32_t aq_relay_count(const aq_relay *r) {
  return (uint32_t)aq_hash_count(&r->by_id);
}

uint64_t aq_relay_admit(const aq_relay *r, aq_id a, aq_id b) {
  uint32_t of_a = 0, of_b = 0;
  if (aq_relay_count(r) >= AQ_RELAY_TUNNELS) {
    return AQ_CTL_ERR_OVERLOADED;
  }
  aq_list_each(node, &r->tunnels) {
    const tunnel *t = aq_list_entry(node, tunnel, node);
    of_a += t->end[0] == a || t->end[1] == a;
    of_b += t->end[0] == b || t->end[1] == b;
  }
  return of_a >= AQ_RELAY_EACH || of_b >= AQ_RELAY_EACH
             ? AQ_CTL_ERR_RATE_LIMITED
             : 0;
}

int aq_relay_open(aq_relay *r, aq_tstamp now,
                  const uint8_t id[AQ_TUNNEL_ID_LEN], aq_id a, aq_id b) {
  tunnel *t = find(r, id);
  if (t) {
    return t->end[0] == a && t->end[1] == b ? 0 : AQ_ERR_LIMIT;
  }
  if (aq_relay_count(r) >= AQ_RELAY_TUNNELS) {
    return AQ_ERR_LIMIT;
  }
  t = aq_mem_alloc(&r->mem, sizeof(*t));
  if (!t || aq_hash_put(&r->by_id, id, AQ_TUNNEL_ID_LEN, t)) {
    aq_mem_free(&r->mem, t);
    return AQ_ERR_NOMEM;
  }
  memcpy(t->id, id, sizeof(t->id));
  t->end[0] = a;
  t->end[1] = b;
  t->used = t->fill[0] = t->fill[1] = now;
  t->room[0] = t->room[1] = r->burst;
  aq_list_push_back(&r->tunnels, &t->node);
  return 0;
}

int aq_relay_ends(const aq_relay *r, const uint8_t id[AQ_TUNNEL_ID_LEN],
                  aq_id end[2]) {
  const tunnel *t = find(r, id);
  if (t) {
    end[0] = t->end[0];
    end[1] = t->end[1];
  }
  return t != NULL;
}

/* What came since then; a fraction of a byte is not lost. */
static void refill(const aq_relay *r, tunnel *t, int from, aq_tstamp now) {
  aq_duration since = aq_time_since(now, t->fill[from]);
  uint64_t gained =
      since / AQ_S > r->burst / r->rate ? r->burst : since * r->rate / AQ_S;
  if (gained >= r->burst - t->room[from]) {
    t->room[from] = r->burst;
    t->fill[from] = now;
  } else if (gained) {
    t->room[from] += gained;
    t->fill[from] += gained * AQ_S / r->rate;
  }
}

int aq_relay_take(aq_relay *r, aq_tstamp now,
                  const uint8_t id[AQ_TUNNEL_ID_LEN], int from, size_t len) {
  tunnel *t = find(r, id);
  if (!t) {
    return 0;
  }
  t->used = aq_time_max(t->used, now);
  aq_list_remove(&t->node);
  aq_list_push_back(&r->tunnels, &t->node);
  refill(r, t, from, now);
  if (t->room[from] < len) {
    return 0;
  }
  t->room[from] -= len;
  return 1;
}

aq_id aq_relay_close(aq_relay *r, const uint8_t id[AQ_TUNNEL_ID_LEN],
                     aq_id conn) {
  tunnel *t = find(r, id);
  if (!t || (t->end[0] != conn && t->end[1] != conn)) {
    return 0;
  }
  aq_id other = t->end[t->end[0] == conn];
  end(r, t);
  return other;
}

aq_id aq_relay_forget(aq_relay *r, aq_id conn, uint8_t id[AQ_TUNNEL_ID_LEN]) {
  aq_list_each(node, &r->tunnels) {
    tunnel *t = aq_list_entry(node, tunnel, node);
    if (t->end[0] == conn || t->end[1] == conn) {
      memcpy(id, t->id, AQ_TUNNEL_ID_LEN);
      return aq_relay_close(r, id, conn);
    }
  }
  return 0;
}

aq_tstamp aq_relay_next_timeout(const aq_relay *r) {
  const aq_list *node = aq_list_first(&r->tunnels);
  return node ? aq_time_add(aq_list_entry(node, tunnel, node)->used,
                            AQ_RELAY_IDLE)
              : AQ_NEVER;
}

void aq_relay_timeout(aq_relay *r, aq_tstamp now) {
  while (aq_relay_next_timeout(r) <= now) {
    end(r, aq_list_entry(aq_list_first(&r->tunnels), tunnel, node));
  }
}
