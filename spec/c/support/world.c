/* SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "base/addr.h"

static int node_random(void *user, uint8_t *out, size_t len) {
  world_node *n = user;
  for (size_t i = 0; i < len; i++) {
    out[i] = (uint8_t)aq_rand_u64(&n->rand);
  }
  return 0;
}

world *world_new(uint64_t seed) {
  world *w = calloc(1, sizeof(*w));
  assert_non_null(w);
  aq_rand_init(&w->rand, seed);
  w->now = AQ_S;
  w->delay = 10 * AQ_MS;
  return w;
}

void world_node_kill(world_node *n) {
  aq_endpoint_del(n->ep);
  n->ep = NULL;
}

void world_del(world *w) {
  for (size_t i = 0; i < WORLD_NODES; i++) {
    if (w->node[i] != NULL) {
      world_node_kill(w->node[i]);
      aq_identity_del(w->node[i]->identity);
      free(w->node[i]);
    }
  }
  while (w->head != NULL) {
    world_packet *p = w->head;
    w->head = p->next;
    free(p);
  }
  free(w);
}

world_node *world_node_init(world *w, size_t at, const char *addr,
                            const char *outside) {
  world_node *n = calloc(1, sizeof(*n));
  assert_non_null(n);
  uint8_t seed[32];
  n->w = w;
  w->node[at] = n;
  aq_rand_init(&n->rand, aq_rand_u64(&w->rand));
  node_random(n, seed, sizeof(seed));
  assert_int_equal(aq_identity_from_seed(&n->identity, seed), 0);
  n->id = *aq_identity_peer_id(n->identity);
  n->bound = util_addr(addr);
  if (outside != NULL) {
    n->outside = util_addr(outside);
  }
  aq_endpoint_params_init(&n->params);
  n->params.identity = n->identity;
  n->params.role = AQ_ROLE_SERVER;
  n->params.can_coordinate = 0;
  n->params.accept = 1;
  n->params.allow_reserved = 1;
  n->params.pqc = AQ_PQC_OFF;
  return n;
}

void world_use_bootstrap(world_node *n, const world_node *coordinator,
                         int pinned) {
  aq_bootstrap_addr *b = &n->params.bootstrap[n->params.bootstrap_count++];
  b->addr = coordinator->bound;
  b->pinned = (uint8_t)pinned;
  b->peer = coordinator->id;
}

void world_node_start(world_node *n) {
  aq_env env = {NULL, node_random, NULL, n};
  char why[200] = "";
  if (aq_endpoint_params_check(&n->params, why, sizeof(why)) != 0) {
    fail_msg("params: %s", why);
  }
  assert_int_equal(aq_endpoint_new(&n->ep, &n->params, &env, n->w->now), 0);
  aq_local_socket s = {0, n->bound};
  assert_int_equal(aq_endpoint_add_socket(n->ep, n->w->now, &s), 0);
  assert_int_equal(aq_endpoint_set_local_addrs(n->ep, n->w->now, &n->bound, 1),
                   0);
}

/* ---- flying
 * -------------------------------------------------------------------- */

static void enqueue(world *w, const aq_addr *from, const aq_addr *to,
                    uint8_t ttl, const uint8_t *data, size_t len) {
  world_packet *p = malloc(sizeof(*p) + len);
  assert_non_null(p);
  p->at = w->now + w->delay;
  if (w->jitter > 0) {
    p->at += aq_rand_below(&w->rand, w->jitter);
  }
  p->from = *from;
  p->to = *to;
  p->ttl = ttl;
  p->len = len;
  memcpy(p->data, data, len);
  world_packet **at = &w->head;
  while (*at != NULL && (*at)->at <= p->at) {
    at = &(*at)->next;
  }
  p->next = *at;
  *at = p;
}

void world_inject(world *w, const aq_addr *from, const aq_addr *to,
                  const uint8_t *data, size_t len) {
  enqueue(w, from, to, 0, data, len);
}

static int has_pin(const world_node *n, const aq_addr *a) {
  for (size_t i = 0; i < n->npin; i++) {
    if (aq_addr_equal(&n->pin[i], a)) {
      return 1;
    }
  }
  return 0;
}

static void send_one(world_node *n, const aq_transmit *t, uint8_t *data,
                     size_t len) {
  world *w = n->w;
  aq_addr from = n->bound;
  n->tx_packets++;
  n->tx_bytes += len;
  if (n->deaf) {
    return;
  }
  if (n->outside.family != 0) {
    from = n->outside;
    if (!has_pin(n, &t->remote) && n->npin < WORLD_PINHOLES) {
      n->pin[n->npin++] = t->remote;
    }
  }
  if (w->tap != NULL && !w->tap(w, &from, &t->remote, data, &len)) {
    return;
  }
  if (w->loss > 0 && aq_rand_below(&w->rand, 1000) < w->loss) {
    return;
  }
  enqueue(w, &from, &t->remote, t->ttl, data, len);
}

static uint8_t out_buf[AQ_TRANSMIT_MAX];

static void flush_node(world_node *n) {
  aq_transmit t;
  int rv;
  int turns = 0;
  while ((rv = aq_endpoint_poll_transmit(n->ep, n->w->now, &t, out_buf,
                                         sizeof(out_buf))) == 1) {
    size_t step = t.segment > 0 ? t.segment : t.len;
    assert_true(t.len > 0 && ++turns < 100000);
    for (size_t off = 0; off < t.len; off += step) {
      size_t len = t.len - off < step ? t.len - off : step;
      send_one(n, &t, out_buf + off, len);
    }
  }
  assert_int_equal(rv, 0);
  aq_event e;
  while (aq_endpoint_poll_event(n->ep, &e)) {
    if (n->nevent < WORLD_EVENTS) {
      n->event[n->nevent++] = e;
    }
  }
}

void world_flush(world *w) {
  for (size_t i = 0; i < WORLD_NODES; i++) {
    if (w->node[i] != NULL && w->node[i]->ep != NULL) {
      flush_node(w->node[i]);
    }
  }
}

static void see(world *w, const world_packet *p) {
  world_seen *s = NULL;
  for (size_t i = 0; i < w->nseen; i++) {
    if (aq_addr_equal(&w->seen[i].to, &p->to)) {
      s = &w->seen[i];
    }
  }
  if (s == NULL) {
    if (w->nseen == WORLD_SEEN) {
      return;
    }
    s = &w->seen[w->nseen++];
    s->to = p->to;
  }
  s->packets++;
  s->bytes += p->len;
  if (p->len >= 1200) {
    s->initials++;
  }
}

const world_seen *world_seen_at(const world *w, const aq_addr *to) {
  for (size_t i = 0; i < w->nseen; i++) {
    if (aq_addr_equal(&w->seen[i].to, to)) {
      return &w->seen[i];
    }
  }
  return NULL;
}

static void deliver(world *w, const world_packet *p) {
  for (size_t i = 0; i < WORLD_NODES; i++) {
    world_node *n = w->node[i];
    if (n == NULL || n->ep == NULL || n->deaf) {
      continue;
    }
    const aq_addr *at = n->outside.family != 0 ? &n->outside : &n->bound;
    if (!aq_addr_equal(at, &p->to)) {
      continue;
    }
    if (p->ttl > 0) {
      return; /* dies on the way, as it should */
    }
    if (n->outside.family != 0 && !has_pin(n, &p->from)) {
      return;
    }
    uint8_t *copy = util_exact(p->data, p->len);
    aq_datagram d = {0, p->from, n->bound, 0, copy, p->len, 0};
    n->rx_packets++;
    n->rx_bytes += p->len;
    assert_int_equal(aq_endpoint_handle_datagram(n->ep, w->now, &d), 0);
    free(copy);
    return;
  }
  see(w, p);
}

static aq_tstamp next_time(const world *w) {
  aq_tstamp t = w->head != NULL ? w->head->at : AQ_NEVER;
  for (size_t i = 0; i < WORLD_NODES; i++) {
    if (w->node[i] != NULL && w->node[i]->ep != NULL) {
      aq_tstamp n = aq_endpoint_next_timeout(w->node[i]->ep);
      t = n < t ? n : t;
    }
  }
  return t;
}

int world_turn(world *w, aq_tstamp until) {
  world_flush(w);
  aq_tstamp t = next_time(w);
  if (t > until) {
    w->now = until;
    return 0;
  }
  if (t > w->now) {
    w->now = t;
  }
  while (w->head != NULL && w->head->at <= w->now) {
    world_packet *p = w->head;
    w->head = p->next;
    deliver(w, p);
    free(p);
  }
  for (size_t i = 0; i < WORLD_NODES; i++) {
    if (w->node[i] != NULL && w->node[i]->ep != NULL &&
        aq_endpoint_next_timeout(w->node[i]->ep) <= w->now) {
      aq_endpoint_handle_timeout(w->node[i]->ep, w->now);
    }
  }
  return 1;
}

void world_run(world *w, aq_duration d) {
  aq_tstamp until = w->now + d;
  int turns = 0;
  while (world_turn(w, until)) {
    assert_true(++turns < 3000000); /* it spins */
  }
  world_flush(w);
}

const aq_event *world_find(const world_node *n, aq_event_kind kind) {
  for (size_t i = 0; i < n->nevent; i++) {
    if (n->event[i].kind == kind) {
      return &n->event[i];
    }
  }
  return NULL;
}

const aq_event *world_wait(world *w, world_node *n, aq_event_kind kind,
                           aq_duration max) {
  aq_tstamp until = w->now + max;
  int turns = 0;
  world_flush(w);
  while (world_find(n, kind) == NULL && world_turn(w, until)) {
    world_flush(w);
    assert_true(++turns < 3000000);
  }
  return world_find(n, kind);
}

size_t world_count(const world_node *n, aq_event_kind kind) {
  size_t c = 0;
  for (size_t i = 0; i < n->nevent; i++) {
    c += n->event[i].kind == kind;
  }
  return c;
}

void world_clear(world_node *n) {
  n->nevent = 0;
}
