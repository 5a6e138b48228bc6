/* test_attack_state.c - any message from anybody at any time: nodes that keep
 * to the format and to nothing else, while their applications dial, cancel,
 * step and close. What must hold is that nothing aborts, nothing is kept, and
 * each still connects afterwards.
 *
 * SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "quic/conn_int.h"
#include "quic/endpoint_int.h"

#define NODES 4
#define COORDINATOR 3

static const char *addr_of[] = {"198.18.0.1:1001", "198.18.1.1:1002",
                                "198.18.2.1:1003", "198.18.3.1:1004"};
static const char *victims[] = {"203.0.113.1:5000", "203.0.113.2:53",
                                "10.1.1.1:5000",    "[2001:db8::7]:4000",
                                "198.18.1.1:1002",  "127.0.0.1:80"};

typedef struct attacker {
  world *w;
  aq_rand r;
  uint8_t session[8][AQ_CTL_SESSION_LEN]; /* that were named so far */
  uint8_t key[8][AQ_PUNCH_KEY_LEN];
  uint32_t named;
  uint64_t request;
} attacker;

static uint64_t below(attacker *a, uint64_t n) {
  return aq_rand_below(&a->r, n);
}

static aq_addr any_addr(attacker *a) {
  size_t n = sizeof(victims) / sizeof(victims[0]);
  return util_addr(below(a, 3) == 0 ? addr_of[below(a, NODES)]
                                    : victims[below(a, n)]);
}

static aq_peer_id any_peer(attacker *a) {
  aq_peer_id id;
  if (below(a, 5) != 0) {
    return a->w->node[below(a, NODES)]->id;
  }
  memset(&id, (int)below(a, 4), sizeof(id));
  return id;
}

static uint64_t any_duration(attacker *a) {
  static const uint64_t v[] = {0, 1, 20, 1000, 100000, AQ_CTL_MAX_DURATION};
  return v[below(a, sizeof(v) / sizeof(v[0]))];
}

static void any_message(attacker *a, aq_ctl *m) {
  memset(m, 0, sizeof(*m));
  m->type = 1 + below(a, 9);
  m->request = below(a, 8);
  uint32_t at = (uint32_t)below(a, 8);
  if (below(a, 3) == 0) {
    memset(a->session[at], (int)(a->named & 0xff), AQ_CTL_SESSION_LEN);
    memset(a->key[at], (int)(a->named & 0xff), AQ_PUNCH_KEY_LEN);
    a->named++;
  }
  memcpy(m->session, a->session[at], sizeof(m->session));
  memcpy(m->key, a->key[at], sizeof(m->key));
  m->capabilities = below(a, 4);
  m->error = 1 + below(a, 7);
  m->retry_after_ms = any_duration(a);
  m->expiry_ms = any_duration(a);
  m->start_delay_us = any_duration(a);
  m->rtt_us = any_duration(a);
  m->peer = any_peer(a);
  if (below(a, 4) != 0) {
    m->observed = any_addr(a);
  }
  size_t n = below(a, 3) == 0 ? AQ_MAX_CANDIDATES : below(a, 5);
  for (m->cand_count = 0; m->cand_count < n; m->cand_count++) {
    aq_candidate *c = &m->cand[m->cand_count];
    c->addr = any_addr(a);
    c->addr.port = (uint16_t)(c->addr.port + below(a, 3));
    c->verified = (uint8_t)below(a, 2);
    c->source = (uint8_t)below(a, 4);
    c->priority = (uint32_t)aq_rand_u64(&a->r);
  }
}

static aq_link *any_link(attacker *a, int *node) {
  *node = (int)below(a, NODES);
  aq_endpoint *ep = a->w->node[*node]->ep;
  uint64_t skip = below(a, 4);
  aq_link *l = NULL;
  aq_list_each(at, &ep->links) {
    aq_link *m = aq_list_entry(at, aq_link, all_node);
    if (m->c != NULL && !m->doomed && !aq_conn_is_closed(m->c)) {
      l = m;
      if (skip-- == 0) {
        break;
      }
    }
  }
  return l;
}

static void say_anything(attacker *a) {
  int node;
  aq_ctl m;
  aq_link *l = any_link(a, &node);
  any_message(a, &m);
  if (l != NULL) {
    uint64_t request = 0;
    const aq_endpoint *ep = a->w->node[below(a, NODES)]->ep;
    aq_list_each(at, &ep->sessions) {
      request = aq_list_entry(at, aq_session, node)->trav->ask[0].request;
    }
    if (request != 0 && below(a, 2) == 0) {
      m.request = request;
    }
    (void)aq_ctl_send(l, &m);
    aq_ep_settle(a->w->node[node]->ep);
  }
}

/* A datagram with a good MAC, of a session that somebody has. */
static void punch_anything(attacker *a) {
  world_node *n = a->w->node[below(a, NODES)];
  aq_list_each(at, &n->ep->sessions) {
    aq_session *s = aq_list_entry(at, aq_session, node);
    const uint8_t *id = aq_trav_session(s->trav, below(a, AQ_MAX_ASKED));
    if (id == NULL) {
      continue;
    }
    const uint8_t *key = aq_trav_key(s->trav, id);
    aq_punch p;
    uint8_t buf[AQ_PUNCH_LEN];
    memset(&p, 0, sizeof(p));
    p.type = (uint8_t)(1 + below(a, 3));
    p.flags = (uint8_t)below(a, 2);
    p.seq =
        (uint32_t)(below(a, 4) == 0 ? UINT32_MAX - below(a, 3) : below(a, 100));
    p.echo = below(a, 2) ? s->trav->probe[below(a, AQ_TRAV_PROBE_LOG)].cookie
                         : below(a, 3);
    memcpy(p.session, id, sizeof(p.session));
    assert_int_equal(aq_punch_format(buf, &p, key, aq_crypto_mac16), 0);
    aq_addr from = any_addr(a);
    world_inject(a->w, &from, &n->bound, buf, sizeof(buf));
  }
}

static void frame_anything(attacker *a) {
  int node;
  aq_link *l = any_link(a, &node);
  if (l != NULL) {
    aq_frame f;
    memset(&f, 0, sizeof(f));
    f.kind = (aq_frame_kind)below(a, 4);
    f.seq = below(a, 40);
    f.addr = any_addr(a);
    (void)aq_conn_send_frame(l->c, &f);
    aq_link_touch(l);
    aq_ep_settle(a->w->node[node]->ep);
  }
}

static void step_anything(attacker *a, aq_endpoint *ep, aq_tstamp now,
                          aq_id id) {
  aq_dial_step d;
  aq_punch_step p;
  aq_coordinate_step c;
  memset(&d, 0, sizeof(d));
  aq_punch_step_init(&p);
  switch (below(a, 4)) {
  case 0:
    for (d.count = 0; d.count < below(a, 9); d.count++) {
      d.addrs[d.count] = any_addr(a);
    }
    d.timeout = any_duration(a);
    (void)aq_session_dial(ep, now, id, &d);
    break;
  case 1:
    aq_coordinate_step_init(&c);
    c.hedge = any_duration(a);
    c.timeout = any_duration(a) * AQ_MS;
    (void)aq_session_coordinate(ep, now, id, &c);
    break;
  case 2:
    p.rounds = (uint32_t)below(a, 40);
    p.spacing = any_duration(a);
    p.timeout = any_duration(a) * AQ_US;
    (void)aq_session_punch(ep, now, id, &p);
    break;
  default:
    (void)aq_session_finish(ep, now, id, AQ_ERR_PUNCHING_FAILED);
    break;
  }
}

static void act(attacker *a) {
  world *w = a->w;
  world_node *n = w->node[below(a, NODES)];
  aq_peer_id peer = any_peer(a);
  aq_addr addr = any_addr(a);
  aq_id id = 0, conn = 0;
  switch (below(a, 6)) {
  case 0:
    (void)aq_session_start(n->ep, w->now, &peer, &addr, below(a, 2),
                           below(a, 20) * AQ_S, &id, &conn);
    break;
  case 1:
    (void)aq_connect_addr(n->ep, w->now, &addr, below(a, 2) ? &peer : NULL,
                          NULL, AQ_S, &id);
    break;
  case 2:
    id = aq_endpoint_find_conn(n->ep, &peer);
    if (id != 0 && below(a, 3) == 0) {
      (void)aq_conn_close(n->ep, w->now, id, 1, "x", 1);
    }
    break;
  case 3:
    (void)aq_endpoint_decide(n->ep, w->now, 1 + below(a, 10), (int)below(a, 2));
    break;
  default:
    if (!aq_list_is_empty(&n->ep->sessions)) {
      id = aq_list_entry(aq_list_first(&n->ep->sessions), aq_session, node)->id;
      step_anything(a, n->ep, w->now, id);
    }
    break;
  }
}

static void run(uint64_t seed) {
  attacker a;
  memset(&a, 0, sizeof(a));
  world *w = world_new(seed);
  a.w = w;
  aq_rand_init(&a.r, seed * 7919 + 1);
  for (size_t i = 0; i < NODES; i++) {
    world_node *n = world_node_init(w, i, addr_of[i], NULL);
    if (i == COORDINATOR) {
      n->params.role = AQ_ROLE_BOOTSTRAP;
      n->params.enable_relay_fallback = 0;
    }
    n->params.can_coordinate = i == COORDINATOR || below(&a, 4) == 0;
    n->params.strategy = below(&a, 2) ? AQ_STRATEGY_STEPS : AQ_STRATEGY_AUTO;
    n->params.ask_accept = (uint8_t)below(&a, 2);
  }
  for (size_t i = 0; i < COORDINATOR; i++) {
    world_use_bootstrap(w->node[i], w->node[COORDINATOR], (int)below(&a, 2));
    if (i > 0 && below(&a, 2)) {
      world_use_bootstrap(w->node[i], w->node[0], (int)below(&a, 2));
    }
  }
  world_start_all(w);
  world_run(w, AQ_S);
  for (int i = 0; i < 250; i++) {
    switch (below(&a, 8)) {
    case 0:
    case 1:
      act(&a);
      break;
    case 2:
      punch_anything(&a);
      break;
    case 3:
      frame_anything(&a);
      break;
    default:
      say_anything(&a);
      break;
    }
    if (below(&a, 3) == 0) {
      world_run(w,
                below(&a, 2) ? below(&a, 40) * AQ_MS : below(&a, 1500) * AQ_MS);
    }
  }
  world_run(w, 90 * AQ_S);
  for (size_t i = 0; i < NODES; i++) {
    const aq_endpoint *ep = w->node[i]->ep;
    assert_int_equal(ep->nsessions, 0);
    assert_int_equal(ep->ntargets, 0);
    assert_int_equal(ep->nactive, 0);
    assert_int_equal(ep->narriving, 0);
    assert_int_equal(ep->limits.half_open, 0);
    size_t links = 0; /* without other names of one, which dials leave */
    aq_list_each(at, &ep->links) {
      links += aq_list_entry(at, aq_link, all_node)->state != AQ_LINK_FORWARD;
    }
    assert_in_range(links, 0, NODES - 1);
    assert_int_equal(aq_hash_count(&ep->contacts), links);
    assert_int_equal(aq_hash_count(&ep->punches), 0);
    assert_true(aq_hash_count(&ep->places) <= links);
    assert_true(aq_hash_count(&ep->cids) <= links * 16);
  }
  /* And who dials still gets through. */
  for (int i = 0; i < NODES; i++) {
    world_node *from = w->node[i], *to = w->node[(i + 1) % NODES];
    aq_id id = aq_endpoint_find_conn(from->ep, &to->id);
    world_clear(from);
    if (id == 0) {
      world_dial(w, i, (i + 1) % NODES, 1);
      assert_non_null(
          world_wait(w, from, AQ_EVENT_CONNECTION_ESTABLISHED, 10 * AQ_S));
    }
  }
  world_del(w);
}

static void test_any_message(void **state) {
  (void)state;
  const char *one = getenv("ANTQUIC_SEED");
  const char *many = getenv("ANTQUIC_SEEDS");
  if (one != NULL) {
    run(strtoull(one, NULL, 10));
    return;
  }
  uint64_t n = many != NULL ? strtoull(many, NULL, 10) : 40;
  for (uint64_t seed = 0; seed < n; seed++) {
    fprintf(stderr, "seed %llu\r", (unsigned long long)seed);
    run(seed);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_message)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
