/* SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "base/addr.h"
#include "quic/endpoint_int.h"

static int node_random(void *user, uint8_t *out, size_t len) {
  world_node *n = user;
  for (size_t i = 0; i < len; i++) {
    out[i] = (uint8_t)aq_rand_u64(&n->rand);
  }
  return 0;
}

static void *node_realloc(void *user, void *ptr, size_t size) {
  world_node *n = user;
  if (size == 0) {
    n->live -= ptr != NULL;
    free(ptr);
    return NULL;
  }
  if (++n->allocs == n->fail_at) {
    return NULL;
  }
  void *p = realloc(ptr, size);
  n->live += ptr == NULL && p != NULL;
  return p;
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
  assert_int_equal(n->live, 0);
}

void world_del(world *w) {
  for (size_t i = 0; i < WORLD_NODES; i++) {
    if (w->node[i] != NULL) {
      world_node_kill(w->node[i]);
      aq_identity_del(w->node[i]->identity);
      free(w->node[i]->nat);
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
  n->params.nat_profile = 0; /* who counts datagrams counts its own */
  n->params.can_relay = 0;   /* what connects is direct, unless a test says */
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
  aq_env env = {node_realloc, node_random, NULL, n};
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

world_nat *world_behind(world_node *n, world_nat *nat) {
  n->nat = nat;
  return nat;
}

void world_add_second(world_node *n, const char *addr) {
  n->second = util_addr(addr);
  aq_local_socket s = {1, n->second};
  assert_int_equal(aq_endpoint_add_socket(n->ep, n->w->now, &s), 0);
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

/* Extra sockets have ports from 30000 on. */
static aq_addr extra_addr(const world_node *n, uint32_t index) {
  aq_addr a = n->bound;
  a.port = (uint16_t)(30000 + index);
  return a;
}

static void serve_sockets(world_node *n) {
  aq_socket_request r;
  while (aq_endpoint_poll_socket(n->ep, &r)) {
    aq_addr a = extra_addr(n, r.index);
    if (r.open) {
      aq_endpoint_socket_opened(n->ep, n->w->now, r.index,
                                n->no_extra ? NULL : &a);
    }
  }
}

static void send_one(world_node *n, const aq_transmit *t, uint8_t *data,
                     size_t len) {
  world *w = n->w;
  aq_addr from = t->socket == 1                ? n->second
                 : t->socket >= AQ_MAX_SOCKETS ? extra_addr(n, t->socket)
                                               : n->bound;
  n->tx_packets++;
  n->tx_bytes += len;
  if (n->deaf) {
    return;
  }
  if (n->nat != NULL) {
    from = world_nat_out(n->nat, &from, &t->remote);
  } else if (n->outside.family != 0) {
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
  serve_sockets(n);
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

static void give(world_node *n, const world_packet *p, uint32_t socket,
                 const aq_addr *local) {
  uint8_t *copy = util_exact(p->data, p->len);
  aq_datagram d = {socket, p->from, *local, 0, copy, p->len, 0};
  n->rx_packets++;
  n->rx_bytes += p->len;
  assert_int_equal(aq_endpoint_handle_datagram(n->ep, n->w->now, &d), 0);
  free(copy);
}

static void deliver_nat(world_node *n, const world_packet *p) {
  aq_addr inside;
  if (p->ttl == 0 && world_nat_in(n->nat, &p->from, &p->to, &inside)) {
    give(n, p, inside.port >= 30000 + AQ_MAX_SOCKETS ? inside.port - 30000u : 0,
         &inside);
  }
}

static void deliver(world *w, const world_packet *p) {
  for (size_t i = 0; i < WORLD_NODES; i++) {
    world_node *n = w->node[i];
    if (n == NULL || n->ep == NULL || n->deaf) {
      continue;
    }
    if (n->nat != NULL) {
      if (world_nat_has(n->nat, &p->to)) {
        deliver_nat(n, p);
        return;
      }
      continue;
    }
    const aq_addr *at = n->outside.family != 0 ? &n->outside : &n->bound;
    uint32_t socket =
        n->second.family != 0 && aq_addr_equal(&n->second, &p->to);
    if (!socket && p->to.port >= 30000 + AQ_MAX_SOCKETS &&
        aq_addr_same_ip(&n->bound, &p->to)) {
      socket = p->to.port - 30000u;
    }
    if (!socket && !aq_addr_equal(at, &p->to)) {
      continue;
    }
    if (p->ttl > 0) {
      return; /* dies on the way, as it should */
    }
    if (n->outside.family != 0 && !has_pin(n, &p->from)) {
      return;
    }
    aq_addr local = socket >= AQ_MAX_SOCKETS ? p->to
                    : socket                 ? n->second
                                             : n->bound;
    give(n, p, socket, &local);
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

/* ---- what most tests do ---- */

aq_statistics world_stats(const world *w, int n) {
  aq_statistics s;
  aq_endpoint_get_statistics(w->node[n]->ep, &s);
  return s;
}

struct aq_link *world_link(world *w, int from, int to) {
  aq_endpoint *ep = w->node[from]->ep;
  aq_link *l = aq_link_get(ep, aq_endpoint_find_conn(ep, &w->node[to]->id));
  assert_non_null(l);
  return l;
}

world_node *world_coordinator(world *w, size_t at, const char *addr) {
  world_node *n = world_node_init(w, at, addr, NULL);
  n->params.role = AQ_ROLE_BOOTSTRAP;
  n->params.can_coordinate = 1;
  n->params.enable_relay_fallback = 0;
  return n;
}

void world_start_all(world *w) {
  for (size_t i = 0; i < WORLD_NODES; i++) {
    if (w->node[i] != NULL) {
      world_node_start(w->node[i]);
    }
  }
}

aq_id world_dial(world *w, int from, int to, int pinned) {
  aq_id id = 0;
  assert_int_equal(
      aq_connect_addr(w->node[from]->ep, w->now, &w->node[to]->bound,
                      pinned ? &w->node[to]->id : NULL, NULL, 5 * AQ_S, &id),
      0);
  assert_true(id != 0);
  return id;
}

const aq_event *world_wait_conn(world *w, int n) {
  const aq_event *e =
      world_wait(w, w->node[n], AQ_EVENT_CONNECTION_ESTABLISHED, 10 * AQ_S);
  if (e == NULL) {
    const aq_event *f = world_find(w->node[n], AQ_EVENT_DIAL_FAILED);
    fail_msg("no connection: %s", f != NULL ? f->text : "no event");
  }
  return e;
}

/* One message there and back. */
void world_talk(world *w, int from, aq_id conn, int to) {
  world_node *a = w->node[from], *b = w->node[to];
  aq_id s = 0, t = 0;
  size_t n = 0;
  uint8_t buf[16];
  assert_int_equal(aq_stream_open(a->ep, w->now, conn, 0, 0, &s), 0);
  assert_int_equal(
      aq_stream_write(a->ep, w->now, s, (const uint8_t *)"hello", 5, &n), 0);
  assert_int_equal(n, 5);
  assert_int_equal(aq_stream_finish(a->ep, w->now, s), 0);
  world_clear(b);
  assert_non_null(world_wait(w, b, AQ_EVENT_STREAM_INCOMING, 5 * AQ_S));
  aq_id other = aq_endpoint_find_conn(b->ep, &a->id);
  assert_true(other != 0);
  assert_int_equal(world_find(b, AQ_EVENT_STREAM_INCOMING)->conn, other);
  while (t != world_find(b, AQ_EVENT_STREAM_INCOMING)->stream) {
    assert_int_equal(aq_stream_accept(b->ep, other, &t), 0);
  }
  assert_int_equal(aq_stream_read(b->ep, w->now, t, buf, sizeof(buf), &n), 0);
  assert_int_equal(n, 5);
  assert_memory_equal(buf, "hello", 5);
  aq_stream_info info;
  assert_int_equal(aq_stream_get_info(b->ep, t, &info), 0);
  assert_int_equal(info.conn, other);
  assert_int_equal(aq_stream_release(b->ep, w->now, t), 0);
  assert_int_equal(aq_stream_release(a->ep, w->now, s), 0);
  assert_int_equal(aq_stream_release(a->ep, w->now, s), AQ_ERR_CLOSED);
}

aq_id world_only_conn(world_node *n) {
  aq_id v[4];
  assert_int_equal(aq_endpoint_get_conns(n->ep, v, 4), 1);
  return v[0];
}

void world_dump(const world_node *n) {
  for (size_t i = 0; i < n->nevent; i++) {
    const aq_event *e = &n->event[i];
    char buf[AQ_ADDR_STRLEN];
    fprintf(stderr, "%8.3f %s conn %llx session %llx %s %s %s\n",
            (double)e->time / 1e9, aq_event_name(e->kind),
            (unsigned long long)e->conn, (unsigned long long)e->session,
            aq_addr_format(&e->addr, buf),
            e->error ? aq_error_name(e->error) : "", e->text);
  }
}
