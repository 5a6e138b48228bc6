/* test_stats.c - the statistics are counted: each row is a story, the node that
 * is looked at, and exactly what moves there; nothing else may. Every counter
 * of AQ_STATS_MAP must be moved by some row, and each limit tells so once.
 *
 * SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "base/addr.h"
#include "quic/conn_int.h"
#include "quic/endpoint_int.h"

#define A 0
#define B 1
#define C 2

static const char *addr_of[] = {"198.18.0.1:1001", "198.18.1.1:1002",
                                "198.18.2.1:1003"};

static const struct {
  const char *name;
  size_t at;
} COUNTERS[] = {
#define X(name) {#name, offsetof(aq_statistics, name)},
    AQ_STATS_MAP(X)
#undef X
};
#define NCOUNTER (sizeof(COUNTERS) / sizeof(COUNTERS[0]))

static uint64_t value_of(const aq_statistics *s, size_t counter) {
  uint64_t v;
  memcpy(&v, (const char *)s + COUNTERS[counter].at, sizeof(v));
  return v;
}

/* ---- the stage ---- */

static world *pair_of(void) {
  world *w = world_new(1);
  world_node_init(w, A, addr_of[A], NULL);
  world_node_init(w, B, addr_of[B], NULL);
  return w;
}

static world *trio_of(void) {
  world *w = pair_of();
  world_node *c = world_node_init(w, C, addr_of[C], NULL);
  c->params.role = AQ_ROLE_BOOTSTRAP;
  c->params.can_coordinate = 1;
  c->params.enable_relay_fallback = 0;
  for (int i = A; i <= B; i++) {
    w->node[i]->params.role = AQ_ROLE_CLIENT;
    world_use_bootstrap(w->node[i], c, 1);
  }
  return w;
}

/* From now on is counted. */
static aq_statistics base[WORLD_NODES];
static void from_here(world *w) {
  for (int i = 0; i < WORLD_NODES; i++) {
    memset(&base[i], 0, sizeof(base[i]));
    if (w->node[i] != NULL && w->node[i]->ep != NULL) {
      aq_endpoint_get_statistics(w->node[i]->ep, &base[i]);
      world_clear(w->node[i]);
    }
  }
}

static world *connected_pair(void) {
  world *w = pair_of();
  world_start_all(w);
  world_dial(w, A, B, 1);
  world_wait_conn(w, A);
  world_run(w, 2 * AQ_S);
  from_here(w);
  return w;
}

static world *registered_trio(world *w) {
  world_start_all(w);
  world_run(w, 2 * AQ_S);
  from_here(w);
  return w;
}

static aq_link *link_to(world *w, int from, int to) {
  aq_endpoint *ep = w->node[from]->ep;
  aq_link *l = aq_link_get(ep, aq_endpoint_find_conn(ep, &w->node[to]->id));
  assert_non_null(l);
  return l;
}

static void say(world *w, int from, int to, const aq_ctl *m) {
  assert_int_equal(aq_ctl_send(link_to(w, from, to), m), 0);
  aq_ep_settle(w->node[from]->ep);
}

static void send_frame(world *w, int from, int to, const aq_frame *f) {
  aq_link *l = link_to(w, from, to);
  assert_int_equal(aq_conn_send_frame(l->c, f), 0);
  aq_link_touch(l);
  aq_ep_settle(w->node[from]->ep);
}

static void reach(world *w, const aq_peer_id *peer) {
  aq_id s, c;
  assert_int_equal(
      aq_session_start(w->node[A]->ep, w->now, peer, NULL, 0, 8 * AQ_S, &s, &c),
      0);
}

/* ---- stories: connections ---- */

static world *nothing(void) {
  world *w = pair_of();
  world_start_all(w);
  from_here(w);
  world_run(w, 60 * AQ_S);
  return w;
}

static world *dialed(void) {
  world *w = pair_of();
  world_start_all(w);
  from_here(w);
  world_dial(w, A, B, 1);
  world_wait_conn(w, A);
  world_run(w, AQ_S);
  return w;
}

static world *talk(void) {
  world *w = connected_pair();
  world_talk(w, A, world_only_conn(w->node[A]), B);
  return w;
}

static world *nobody_there(void) {
  world *w = pair_of();
  world_start_all(w);
  world_node_kill(w->node[B]);
  from_here(w);
  world_dial(w, A, B, 1);
  world_run(w, 10 * AQ_S);
  return w;
}

static world *peer_dies(void) {
  world *w = connected_pair();
  w->node[B]->deaf = 1;
  world_run(w, 60 * AQ_S);
  return w;
}

static world *closed_by_us(void) {
  world *w = connected_pair();
  aq_conn_close(w->node[A]->ep, w->now, world_only_conn(w->node[A]), 1, "", 0);
  world_run(w, 5 * AQ_S);
  return w;
}

static world *not_allowed(void) {
  world *w = pair_of();
  w->node[B]->params.allow = &w->node[B]->id;
  w->node[B]->params.allow_count = 1;
  world_start_all(w);
  from_here(w);
  world_dial(w, A, B, 1);
  world_run(w, 10 * AQ_S);
  return w;
}

static world *with_retry(void) {
  world *w = pair_of();
  w->node[B]->params.always_retry = 1;
  world_start_all(w);
  from_here(w);
  world_dial(w, A, B, 1);
  world_wait_conn(w, A);
  world_run(w, AQ_S);
  return w;
}

/* B as it was before it knew A. */
static world *lost_state(void) {
  world *w = connected_pair();
  world_node_kill(w->node[B]);
  world_node_start(w->node[B]);
  aq_conn_ping(w->node[A]->ep, w->now, world_only_conn(w->node[A]));
  from_here(w);
  world_run(w, 5 * AQ_S);
  return w;
}

static world *resets_asked_for(void) {
  world *w = pair_of();
  uint8_t pkt[100] = {0x40};
  world_start_all(w);
  from_here(w);
  for (int i = 0; i < 100; i++) {
    aq_addr from = util_addr("198.19.0.1:5000");
    pkt[1] = (uint8_t)i;
    world_inject(w, &from, &w->node[B]->bound, pkt, sizeof(pkt));
  }
  world_run(w, 100 * AQ_MS);
  return w;
}

static world *other_version(void) {
  world *w = pair_of();
  uint8_t pkt[1200] = {0xc0, 0x7a, 0x7a, 0x7a, 0x7a, 8, 1, 2,
                       3,    4,    5,    6,    7,    8, 0};
  aq_addr from = util_addr("198.19.0.1:5000");
  world_start_all(w);
  from_here(w);
  world_inject(w, &from, &w->node[B]->bound, pkt, sizeof(pkt));
  world_run(w, AQ_S);
  return w;
}

static world *malformed(void) {
  world *w = pair_of();
  static const uint8_t cut[] = {0x40, 1, 2};      /* no whole connection ID */
  static const uint8_t punch[] = {0x01, 0x02, 3}; /* another punch version */
  aq_addr from = util_addr("198.19.0.1:5000");
  world_start_all(w);
  from_here(w);
  world_inject(w, &from, &w->node[B]->bound, cut, sizeof(cut));
  world_inject(w, &from, &w->node[B]->bound, punch, sizeof(punch));
  world_run(w, AQ_S);
  return w;
}

static world *unknown(void) {
  world *w = pair_of();
  uint8_t initial[100] = {0xc0, 0, 0, 0, 1, 8}; /* too short for an Initial */
  uint8_t punch[AQ_PUNCH_LEN] = {0x01, 0x01};   /* of no session */
  aq_addr from = util_addr("198.19.0.1:5000");
  world_start_all(w);
  from_here(w);
  world_inject(w, &from, &w->node[B]->bound, initial, sizeof(initial));
  world_inject(w, &from, &w->node[B]->bound, punch, sizeof(punch));
  world_run(w, AQ_S);
  return w;
}

/* ---- stories: bounds of connections ---- */

static world *half_open_full(void) {
  world *w = pair_of();
  aq_addr elsewhere = util_addr("198.19.7.7:1");
  world_start_all(w);
  from_here(w);
  for (uint32_t i = 0; i < w->node[B]->params.max_half_open; i++) {
    elsewhere.ip[2] = (uint8_t)i;
    aq_limits_open(&w->node[B]->ep->limits, &elsewhere);
  }
  world_dial(w, A, B, 1);
  world_run(w, AQ_S);
  return w;
}

static world *prefix_full(void) {
  world *w = pair_of();
  world_start_all(w);
  from_here(w);
  for (int i = 0; i < AQ_LIMIT_PREFIX; i++) {
    aq_limits_open(&w->node[B]->ep->limits, &w->node[A]->bound);
  }
  world_dial(w, A, B, 1);
  world_run(w, AQ_S);
  return w;
}

static world *no_more_connections(void) {
  world *w = pair_of();
  w->node[B]->params.max_connections = 1;
  world_start_all(w);
  aq_id id;
  aq_addr nobody = util_addr("198.18.7.7:7");
  assert_int_equal(aq_connect_addr(w->node[B]->ep, w->now, &nobody, NULL, NULL,
                                   60 * AQ_S, &id),
                   0);
  from_here(w);
  assert_int_equal(aq_connect_addr(w->node[B]->ep, w->now, &w->node[A]->bound,
                                   NULL, NULL, AQ_S, &id),
                   AQ_ERR_LIMIT);
  world_dial(w, A, B, 1);
  world_run(w, 50 * AQ_MS);
  return w;
}

static world *nobody_polls(void) {
  world *w = world_new(1);
  world_node_init(w, A, "0.0.0.0:1001", NULL);
  world_start_all(w);
  from_here(w);
  for (int i = 0; i < 2000; i++) {
    aq_addr v = util_addr("198.18.0.1:0");
    v.ip[3] = (uint8_t)(1 + i % 2);
    aq_endpoint_set_local_addrs(w->node[A]->ep, w->now, &v, 1);
  }
  return w;
}

/* ---- stories: frames ---- */

static world *announced_by_hand(void) {
  world *w = connected_pair();
  aq_addr v = util_addr("198.18.55.5:55");
  uint64_t seq;
  aq_id conn = world_only_conn(w->node[A]);
  aq_endpoint *ep = w->node[A]->ep;
  assert_int_equal(aq_conn_add_address(ep, w->now, conn, &v, &seq), 0);
  world_run(w, AQ_S);
  assert_int_equal(aq_conn_remove_address(ep, w->now, conn, seq), 0);
  world_run(w, AQ_S);
  return w;
}

static world *too_many_announced(void) {
  world *w = connected_pair();
  aq_addr v = util_addr("198.18.55.5:55");
  uint64_t seq;
  aq_id conn = world_only_conn(w->node[A]);
  while (aq_conn_add_address(w->node[A]->ep, w->now, conn, &v, &seq) == 0) {
    v.port++;
    world_run(w, AQ_S);
  }
  return w;
}

static world *frames_pile_up(void) {
  world *w = connected_pair();
  aq_addr v = util_addr("198.18.55.5:55");
  uint64_t seq;
  aq_id conn = world_only_conn(w->node[A]);
  int rv, n = 0;
  w->node[B]->deaf = 1;
  while ((rv = aq_conn_add_address(w->node[A]->ep, w->now, conn, &v, &seq)) ==
         0) {
    assert_int_equal(aq_conn_remove_address(w->node[A]->ep, w->now, conn, seq),
                     0);
    assert_true(++n < 100);
  }
  assert_int_equal(rv, AQ_ERR_LIMIT);
  return w;
}

static world *punch_me(void) {
  world *w = connected_pair();
  aq_frame f = {.kind = AQ_FRAME_PUNCH_ME_NOW, .seq = 1};
  f.addr = util_addr("198.18.55.5:55");
  send_frame(w, A, B, &f);
  world_run(w, AQ_S);
  return w;
}

static world *moved(void) {
  world *w = connected_pair();
  w->node[A]->bound = util_addr("198.18.0.1:4444");
  aq_conn_ping(w->node[A]->ep, w->now, world_only_conn(w->node[A]));
  world_run(w, AQ_S);
  return w;
}

/* ---- stories: traversal ---- */

static world *registering(void) {
  world *w = trio_of();
  world_node_start(w->node[C]);
  from_here(w);
  world_node_start(w->node[A]);
  world_run(w, 2 * AQ_S);
  return w;
}

static world *traversed(void) {
  world *w = registered_trio(trio_of());
  reach(w, &w->node[B]->id);
  assert_non_null(
      world_wait(w, w->node[A], AQ_EVENT_TRAVERSAL_SUCCEEDED, 8 * AQ_S));
  return w;
}

/* Only the punches get through, so that they are answered. */
static int no_quic(world *w, const aq_addr *from, const aq_addr *to,
                   uint8_t *data, size_t *len) {
  (void)len;
  return aq_addr_equal(from, &w->node[C]->bound) ||
         aq_addr_equal(to, &w->node[C]->bound) || !(data[0] & 0x40);
}

static world *punched_in_vain(void) {
  world *w = registered_trio(trio_of());
  w->tap = no_quic;
  reach(w, &w->node[B]->id);
  world_run(w, 9 * AQ_S);
  return w;
}

static world *unknown_target(void) {
  world *w = registered_trio(trio_of());
  aq_peer_id nobody = {{9}};
  reach(w, &nobody);
  world_run(w, 9 * AQ_S);
  return w;
}

static world *refused(void) {
  world *w = trio_of();
  w->node[B]->params.allow = &w->node[C]->id;
  w->node[B]->params.allow_count = 1;
  registered_trio(w);
  reach(w, &w->node[B]->id);
  world_run(w, 9 * AQ_S);
  return w;
}

static world *asked_too_often(void) {
  world *w = registered_trio(trio_of());
  aq_ctl m = {.type = AQ_CTL_REQUEST};
  m.peer.bytes[0] = 9;
  for (m.request = 1000; m.request < 1020; m.request++) {
    say(w, A, C, &m);
  }
  world_run(w, AQ_S);
  return w;
}

static world *forged_punch(void) {
  world *w = registered_trio(trio_of());
  w->tap = no_quic;
  reach(w, &w->node[B]->id);
  world_run(w, 200 * AQ_MS);
  from_here(w);
  const aq_contact *k = aq_contact_find(w->node[B]->ep, &w->node[A]->id);
  uint8_t bad[AQ_PUNCH_LEN] = {0x01, 0x01, 0x01};
  memcpy(bad + 4, aq_trav_session(k->session->trav), 8);
  aq_addr from = util_addr("198.19.0.1:5000");
  world_inject(w, &from, &w->node[B]->bound, bad, sizeof(bad));
  world_flush(w);
  w->node[A]->deaf = 1;
  world_run(w, 15 * AQ_MS);
  return w;
}

/* ---- stories: punch budgets. C lies to B about who wants what. ---- */

static aq_ctl lie(uint8_t mark, const char *addr, uint32_t n, int step_ip,
                  int step_net) {
  aq_ctl m = {.type = AQ_CTL_OFFER, .expiry_ms = 10000, .rtt_us = 20000};
  memset(m.session, mark, sizeof(m.session));
  memset(m.key, mark, sizeof(m.key));
  memset(m.peer.bytes, mark, sizeof(m.peer.bytes));
  m.observed = util_addr(addr_of[B]);
  for (m.cand_count = 0; m.cand_count < n; m.cand_count++) {
    aq_candidate *c = &m.cand[m.cand_count];
    c->addr = util_addr(addr);
    c->addr.ip[3] = (uint8_t)(c->addr.ip[3] + step_ip * (int)m.cand_count);
    c->addr.ip[2] = (uint8_t)(c->addr.ip[2] + step_net * (int)m.cand_count);
    c->addr.port = (uint16_t)(c->addr.port + m.cand_count);
    c->source = AQ_SOURCE_OBSERVED;
  }
  return m;
}

static world *lied(const aq_ctl *m, size_t n, aq_duration apart) {
  world *w = registered_trio(trio_of());
  for (size_t i = 0; i < n; i++) {
    say(w, C, B, &m[i]);
    world_run(w, apart);
  }
  world_run(w, 5 * AQ_S);
  return w;
}

static world *one_target(void) {
  aq_ctl m = lie(1, "203.0.114.7:5000", 8, 0, 0);
  return lied(&m, 1, 0);
}

static world *one_prefix(void) {
  aq_ctl m = lie(1, "203.0.114.7:5000", 32, 1, 0);
  return lied(&m, 1, 0);
}

static world *one_session(void) {
  aq_ctl m = lie(1, "203.0.114.7:5000", 32, 0, 1);
  return lied(&m, 1, 0);
}

static world *one_peer(void) {
  aq_ctl m[8];
  for (int i = 0; i < 8; i += 2) {
    char addr[24];
    snprintf(addr, sizeof(addr), "203.%d.114.7:5000", i);
    m[i] = lie(1, addr, 32, 0, 1);
    memset(m[i].session, 1 + i, sizeof(m[i].session));
    m[i + 1] = m[i];
    m[i + 1].type = AQ_CTL_CANCEL;
  }
  return lied(m, 8, 100 * AQ_MS);
}

static world *many_peers(void) {
  static aq_ctl m[16];
  for (int i = 0; i < 16; i++) {
    char addr[24];
    snprintf(addr, sizeof(addr), "203.%d.114.7:5000", i);
    m[i] = lie((uint8_t)(1 + i), addr, 32, 0, 1);
  }
  return lied(m, 16, AQ_MS);
}

static world *forbidden(void) {
  aq_ctl m = lie(1, "203.0.114.7:53", 1, 0, 0);
  return lied(&m, 1, 0);
}

/* ---- stories: observation, extra sockets ---- */

static world *observing(void) {
  return registered_trio(trio_of());
}

static int ask(world *w, uint8_t delay) {
  aq_endpoint *ep = w->node[A]->ep;
  aq_ask_params p = {.owner = 1, .delay = delay};
  uint64_t cookie;
  aq_ep_enter(ep, w->now);
  return aq_observe_ask(ep, &ep->boot[0], &p, &cookie);
}

static world *observed(void) {
  world *w = observing();
  assert_int_equal(ask(w, 0), 0);
  world_run(w, AQ_S);
  return w;
}

static world *observed_too_often(void) {
  world *w = observing();
  for (int i = 0; i < 200; i++) {
    assert_int_equal(ask(w, 0), 0);
  }
  world_run(w, AQ_S);
  return w;
}

static uint8_t flipped; /* the datagram was spoilt */
static int spoil(world *w, const aq_addr *from, const aq_addr *to,
                 uint8_t *data, size_t *len) {
  (void)w, (void)from, (void)to;
  if (*len == AQ_OBSERVE_LEN && data[0] == AQ_OBSERVE_ASK && !flipped) {
    data[63] ^= 1;
    flipped = 1;
  }
  return 1;
}

static world *spoilt_question(void) {
  world *w = observing();
  flipped = 0;
  w->tap = spoil;
  assert_int_equal(ask(w, 0), 0);
  world_run(w, AQ_S);
  return w;
}

/* A recorder that nobody empties. */
static world *full_record(void) {
  world *w = pair_of();
  world_start_all(w);
  from_here(w);
  world_node *a = w->node[A];
  assert_int_equal(aq_endpoint_record(a->ep, 1), 0);
  uint8_t rubbish[40] = {1, 1};
  for (int i = 0; i < AQ_RECORD_RING + 5; i++) {
    aq_datagram d = {0, w->node[B]->bound, a->bound, 0, rubbish, 40, 0};
    aq_endpoint_handle_datagram(a->ep, w->now, &d);
  }
  return w;
}

static world *extra_sockets(void) {
  world *w = pair_of();
  world_start_all(w);
  from_here(w);
  aq_endpoint *ep = w->node[A]->ep;
  uint32_t index;
  for (int i = 0; i < AQ_MAX_EXTRA_SOCKETS; i++) {
    assert_int_equal(aq_extra_open(ep, aq_ep_socket(ep, 0), 5, &index), 0);
  }
  assert_int_equal(aq_extra_open(ep, aq_ep_socket(ep, 0), 5, &index),
                   AQ_ERR_LIMIT);
  world_flush(w); /* the host opens them */
  return w;
}

/* New sockets at both ends. */
static world *met_afresh(void) {
  world *w = trio_of();
  w->node[A]->params.strategy = AQ_STRATEGY_STEPS;
  registered_trio(w);
  aq_hard_step step;
  aq_id s, c;
  aq_hard_step_init(&step);
  aq_endpoint *ep = w->node[A]->ep;
  assert_int_equal(
      aq_session_start(ep, w->now, &w->node[B]->id, NULL, 0, 8 * AQ_S, &s, &c),
      0);
  assert_int_equal(aq_session_hard(ep, w->now, s, AQ_PLAN_FRESH, &step), 0);
  world_wait_conn(w, A);
  world_run(w, AQ_S);
  return w;
}

/* ---- stories: guessed ports ---- */

/* A's NAT keeps a port, B's gives each destination another one; so they say. */
static world *guessing(uint64_t seed) {
  world *w = trio_of();
  aq_rand_init(&w->rand, seed);
  w->node[A]->params.strategy = AQ_STRATEGY_STEPS;
  registered_trio(w);
  for (int i = A; i <= B; i++) {
    aq_endpoint *ep = w->node[i]->ep;
    aq_ep_enter(ep, w->now);
    ep->profile.mapping = i == A ? AQ_NAT_ENDPOINT_INDEPENDENT
                                 : AQ_NAT_ADDRESS_AND_PORT_DEPENDENT;
    aq_ctl_register(ep->boot[0].link);
    aq_ep_settle(ep);
  }
  world_run(w, AQ_S);
  from_here(w);
  return w;
}

static world *guess(world *w, aq_plan plan) {
  aq_endpoint *ep = w->node[A]->ep;
  aq_hard_step step;
  aq_id s, c;
  aq_hard_step_init(&step);
  assert_int_equal(
      aq_session_start(ep, w->now, &w->node[B]->id, NULL, 0, 2 * AQ_S, &s, &c),
      0);
  assert_int_equal(aq_session_hard(ep, w->now, s, plan, &step), 0);
  world_run(w, 5 * AQ_S);
  return w;
}

static world *predicted(void) {
  return guess(guessing(1), AQ_PLAN_PREDICT);
}

/* A has sent |n| guesses to |addr| on behalf of |peer|. */
static void spend(world *w, int n, const char *addr, const aq_peer_id *peer) {
  aq_addr a = util_addr(addr);
  aq_guard_request r = {
      .target = &a, .peer = peer, .verified = 1, .allow_reserved = 1};
  for (int i = 0; i < n; i++) {
    aq_tstamp at = w->now + (aq_tstamp)i / 40 * 50 * AQ_MS;
    assert_int_equal(aq_guard_take_guess(&w->node[A]->ep->guard, at, &r), 0);
  }
}

static world *one_ip_guessed(void) {
  world *w = guessing(1);
  spend(w, 1000, addr_of[B], &w->node[C]->id);
  return guess(w, AQ_PLAN_BIRTHDAY);
}

static world *one_peer_guessed(void) {
  world *w = guessing(1);
  spend(w, 1000, "198.18.7.7:7", &w->node[B]->id);
  return guess(w, AQ_PLAN_BIRTHDAY);
}

static world *all_guessed(void) {
  world *w = guessing(1);
  spend(w, 1000, "198.18.7.7:7", &w->node[C]->id);
  return guess(w, AQ_PLAN_BIRTHDAY);
}

static world *another_guesses(void) {
  world *w = guessing(1);
  aq_addr a = util_addr("198.18.7.7:7");
  aq_guard_request r = {.target = &a, .session_key = 1};
  assert_int_equal(
      aq_guard_begin_guess(&w->node[A]->ep->guard, w->now, &r, 1024), 0);
  return guess(w, AQ_PLAN_BIRTHDAY);
}

static world *guessed_at_once(void) {
  world *w = guessing(1);
  spend(w, 120, "198.18.7.7:7777", &w->node[C]->id);
  return guess(w, AQ_PLAN_PREDICT);
}

/* ---- what moves ---- */

#define IN "datagrams_received bytes_received "
#define OUT "datagrams_sent bytes_sent "
#define BOTH IN OUT
/* What each side of a new connection tells the other. */
#define TOLD                                                                   \
  "observed_address_sent=1 observed_address_received=1 add_address_sent=1 "    \
  "add_address_received=1 "
#define DIALED BOTH "connections_dialed=1 connections_established=1 "
#define ACCEPTED BOTH "connections_accepted=1 connections_established=1 "
/* A request and what came back. */
#define ASKED                                                                  \
  BOTH "coordinations_requested=1 coordinations_completed=1 "                  \
       "coordination_time_total_ns=20000000 "
/* A new socket of ours and one of the peer's. */
#define HINTED                                                                 \
  "extra_sockets_opened=1 observes_sent=1 observes_received=1 hints_sent=1 "   \
  "hints_received=1 "
#define NOT_GUESSED                                                            \
  ASKED "total_attempts=1 failed_attempts=1 control_messages_sent=2 "          \
        "control_messages_received=1 "
#define OFFERED BOTH "offers_received=1 control_messages_received=1 "

/* "name" moves, "name=3" by just that. What isn't named stays. */
static const struct row {
  const char *name;
  world *(*play)(void);
  int node;
  const char *moves;
} ROWS[] = {
    {"nothing happens", nothing, A, ""},
    {"a dial", dialed, A, DIALED TOLD "control_messages_received=1"},
    {"a dial, there", dialed, B, ACCEPTED TOLD "control_messages_sent=1"},
    {"a message", talk, A, OUT},
    {"a dial to nobody", nobody_there, A,
     OUT "connections_dialed=1 connections_failed=1"},
    {"the peer is gone", peer_dies, A, OUT "connections_lost=1"},
    {"a good-bye", closed_by_us, A, "datagrams_sent=1 bytes_sent"},
    {"a good-bye, there", closed_by_us, B,
     "datagrams_received=1 bytes_received connections_lost=1"},
    {"not on the list", not_allowed, A,
     DIALED "observed_address_sent=1 add_address_sent=1 connections_lost=1"},
    {"not on the list, there", not_allowed, B, BOTH "handshakes_refused=1"},
    {"with a Retry", with_retry, B,
     ACCEPTED TOLD "control_messages_sent=1 retries_sent=1"},
    {"it has forgotten us", lost_state, A, BOTH "connections_lost=1"},
    {"it has forgotten us, there", lost_state, B,
     BOTH "stateless_resets_sent=1"},
    {"resets are asked for", resets_asked_for, B,
     "datagrams_received=100 bytes_received=10000 datagrams_sent=10 bytes_sent "
     "stateless_resets_sent=10 limit_stateless_reset=90"},
    {"another version", other_version, B,
     "datagrams_received=1 bytes_received=1200 " OUT
     "version_negotiations_sent=1"},
    {"malformed", malformed, B,
     "datagrams_received=2 bytes_received=6 datagrams_dropped_malformed=2"},
    {"unknown", unknown, B,
     "datagrams_received=2 bytes_received=140 datagrams_dropped_unknown=2"},
    {"too many half-open", half_open_full, B,
     IN "datagrams_dropped_limit=1 limit_half_open=1"},
    {"too many of a prefix", prefix_full, B,
     IN "datagrams_dropped_limit=1 limit_prefix_half_open=1"},
    {"too many connections", no_more_connections, B,
     BOTH "datagrams_dropped_limit=1 limit_connections=2"},
    {"nobody polls", nobody_polls, A, "limit_events"},
    {"announced by hand", announced_by_hand, A,
     BOTH "add_address_sent=1 remove_address_sent=1"},
    {"announced by hand, there", announced_by_hand, B,
     BOTH "add_address_received=1 remove_address_received=1"},
    {"too many announced", too_many_announced, A,
     BOTH "add_address_sent=15 limit_candidates=1"},
    {"frames pile up", frames_pile_up, A,
     OUT "add_address_sent=64 remove_address_sent=64 limit_extension_frames=1"},
    {"PUNCH_ME_NOW", punch_me, B, BOTH "punch_me_now_received=1"},
    {"a move", moved, A, BOTH "observed_address_received=1"},
    {"a move, there", moved, B, BOTH "observed_address_sent=1"},
    {"registering", registering, A,
     DIALED TOLD "control_messages_sent=1 control_messages_received=2"},
    {"registering, there", registering, C,
     ACCEPTED TOLD "control_messages_sent=2 control_messages_received=1 "
                   "coordinator_registrations=1"},
    {"a traversal", traversed, A,
     ASKED "connections_dialed=1 connections_established=1 total_attempts=1 "
           "successful_connections=1 direct_connections=1 punches_sent=1 "
           "punches_received=2 punches_answered=1 openers_sent=1 "
           "observed_address_sent=1 add_address_sent=1 control_messages_sent=1 "
           "control_messages_received=1"},
    {"a traversal, at the target", traversed, B,
     OFFERED "punches_sent=1 punches_received=1 punches_answered=1 "
             "openers_sent=1"},
    {"a traversal, at the coordinator", traversed, C,
     BOTH "coordinator_requests=1 coordinator_offers=1 control_messages_sent=2 "
          "control_messages_received=1"},
    {"punched in vain", punched_in_vain, A,
     BOTH "connections_dialed=3 connections_failed=2 total_attempts=1 "
          "failed_attempts=1 coordinations_requested=3 "
          "coordinations_completed=3 coordination_time_total_ns=60000000 "
          "punches_sent punches_received punches_answered openers_sent=3 "
          "control_messages_sent=4 control_messages_received=3 "
          "limit_punch_target"},
    {"an unknown target", unknown_target, A,
     BOTH "total_attempts=1 failed_attempts=1 coordinations_requested=3 "
          "control_messages_sent=3 control_messages_received=3"},
    {"an unknown target, at the coordinator", unknown_target, C,
     BOTH "coordinator_requests=3 coordinator_refused=3 "
          "control_messages_sent=3 control_messages_received=3"},
    {"refused", refused, A,
     ASKED "total_attempts=1 failed_attempts=1 connections_dialed=1 "
           "punches_sent openers_sent=1 control_messages_sent=1 "
           "control_messages_received=2"},
    {"refused, at the target", refused, B,
     OFFERED "offers_refused=1 control_messages_sent=1 "
             "datagrams_dropped_unknown"},
    {"refused, at the coordinator", refused, C,
     BOTH "coordinator_requests=1 coordinator_offers=1 coordinator_refused=1 "
          "control_messages_sent=3 control_messages_received=2"},
    {"asked too often", asked_too_often, C,
     BOTH "coordinator_requests=20 coordinator_refused=20 "
          "control_messages_sent=20 control_messages_received=20 "
          "limit_coordinator_rate=10"},
    {"a forged punch", forged_punch, B,
     "datagrams_received=1 bytes_received=40 punches_bad=1"},
    {"one target", one_target, B,
     OFFERED "punches_sent=1 openers_sent=8 limit_punch_target"},
    {"one prefix", one_prefix, B,
     OFFERED "punches_sent openers_sent=32 limit_punch_prefix"},
    {"one session", one_session, B,
     OFFERED "punches_sent=168 openers_sent=32 limit_punch_session "
             "limit_punch_target"},
    {"one peer", one_peer, B,
     BOTH "offers_received=4 control_messages_received=8 punches_sent "
          "openers_sent limit_punch_peer"},
    {"many peers", many_peers, B,
     BOTH "offers_received=16 control_messages_received=16 punches_sent "
          "openers_sent limit_punch_endpoint"},
    {"a forbidden port", forbidden, B, OFFERED "limit_punch_forbidden"},
    {"an observation", observed, A, BOTH "observes_sent=1 observes_received=1"},
    {"an observation, at the coordinator", observed, C,
     BOTH "observes_answered=1"},
    {"observed too often", observed_too_often, C,
     BOTH "observes_answered=64 limit_observe=136"},
    {"a forged question", spoilt_question, C, IN "observes_bad=1"},
    {"extra sockets", extra_sockets, A,
     "limit_extra_sockets=1 extra_sockets_opened=256"},
    {"a full record", full_record, A,
     IN "datagrams_dropped_unknown limit_record=5"},
    {"met afresh", met_afresh, A,
     ASKED HINTED TOLD
     "total_attempts=1 successful_connections=1 direct_connections=1 "
     "connections_dialed=1 connections_established=1 "
     "punches_sent punches_received punches_answered openers_sent=1 "
     "control_messages_sent=2 control_messages_received=3"},
    {"met afresh, at the target", met_afresh, B,
     ACCEPTED HINTED TOLD
     "offers_received=1 punches_sent punches_received punches_answered "
     "openers_sent=1 control_messages_sent=2 control_messages_received=2"},
    {"met afresh, at the coordinator", met_afresh, C,
     BOTH "coordinator_requests=1 coordinator_offers=1 coordinator_hints=2 "
          "observes_answered=2 control_messages_sent=4 "
          "control_messages_received=3"},
    {"predicted", predicted, A,
     ASKED TOLD
     "total_attempts=1 successful_connections=1 direct_connections=1 "
     "connections_dialed=3 connections_established=1 hints_received=1 "
     "guesses_sent=20 punches_received punches_answered "
     "datagrams_dropped_unknown control_messages_sent=1 "
     "control_messages_received=3"},
    {"predicted, by them", predicted, B,
     ACCEPTED TOLD
     "offers_received=1 extra_sockets_opened=25 openers_sent=25 "
     "observes_sent=1 observes_received=1 hints_sent=1 punches_sent "
     "punches_received punches_answered limit_punch_target "
     "control_messages_sent=2 control_messages_received=1"},
    {"guesses to one IP", one_ip_guessed, A,
     NOT_GUESSED "limit_guess_target=1"},
    {"guesses for one peer", one_peer_guessed, A,
     NOT_GUESSED "limit_guess_peer=1"},
    {"guesses of one endpoint", all_guessed, A,
     NOT_GUESSED "limit_guess_endpoint=1"},
    {"another one guesses", another_guesses, A,
     NOT_GUESSED "limit_guess_busy=1"},
    {"guesses at once", guessed_at_once, A,
     ASKED TOLD
     "total_attempts=1 successful_connections=1 direct_connections=1 "
     "connections_dialed=3 connections_established=1 hints_received=1 "
     "guesses_sent punches_received punches_answered "
     "datagrams_dropped_unknown control_messages_sent=1 "
     "control_messages_received=3 limit_guess_rate"},
};
#define NROW (sizeof(ROWS) / sizeof(ROWS[0]))

/* Is |name| in |moves|? *want: by how much, -1 for any. */
static int is_named(const char *moves, const char *name, long long *want) {
  size_t len = strlen(name);
  for (const char *p = moves; (p = strstr(p, name)) != NULL; p += len) {
    if (p == moves || p[-1] == ' ') {
      if (p[len] == '=') {
        *want = strtoll(p + len + 1, NULL, 10);
        return 1;
      }
      if (p[len] == ' ' || p[len] == 0) {
        *want = -1;
        return 1;
      }
    }
  }
  return 0;
}

static size_t hits(const world_node *n, const char *limit) {
  size_t c = 0;
  for (size_t i = 0; i < n->nevent; i++) {
    c += n->event[i].kind == AQ_EVENT_LIMIT_HIT &&
         strcmp(n->event[i].text, limit) == 0;
  }
  return c;
}

static int check_row(const struct row *r) {
  int bad = 0;
  world *w = r->play();
  world_node *n = w->node[r->node];
  aq_statistics s;
  world_flush(w);
  aq_endpoint_get_statistics(n->ep, &s);
  for (size_t i = 0; i < NCOUNTER; i++) {
    const char *name = COUNTERS[i].name;
    long long moved =
        (long long)(value_of(&s, i) - value_of(&base[r->node], i));
    long long want = 0;
    int named = is_named(r->moves, name, &want);
    if (named ? moved == 0 || (want >= 0 && moved != want) : moved != 0) {
      print_error("%s: %s moved by %lld, not %lld\n", r->name, name, moved,
                  want);
      bad++;
    }
    if (strncmp(name, "limit_", 6) == 0 && strcmp(name, "limit_events") != 0 &&
        hits(n, name) != (moved > 0)) {
      print_error("%s: LIMIT_HIT of %s came %zu times\n", r->name, name,
                  hits(n, name));
      bad++;
    }
  }
  world_del(w);
  return bad;
}

static void what_happens_moves_its_counters_and_no_others(void **state) {
  (void)state;
  int bad = 0;
  for (size_t i = 0; i < NROW; i++) {
    bad += check_row(&ROWS[i]);
  }
  assert_int_equal(bad, 0);
}

static void every_counter_is_moved_by_a_row_and_left_by_another(void **state) {
  (void)state;
  int bad = 0;
  for (size_t i = 0; i < NCOUNTER; i++) {
    size_t moved = 0;
    long long want;
    for (size_t k = 0; k < NROW; k++) {
      moved += (size_t)is_named(ROWS[k].moves, COUNTERS[i].name, &want);
    }
    if (moved == 0 || moved == NROW) {
      print_error("no row moves %s\n", COUNTERS[i].name);
      bad++;
    }
  }
  assert_int_equal(bad, 0);
}

/* The rows name nothing that isn't there. */
static void every_name_is_a_counter(void **state) {
  (void)state;
  char text[1024], *save;
  for (size_t k = 0; k < NROW; k++) {
    snprintf(text, sizeof(text), "%s", ROWS[k].moves);
    for (char *p = strtok_r(text, " ", &save); p != NULL;
         p = strtok_r(NULL, " ", &save)) {
      p[strcspn(p, "=")] = 0;
      size_t i = 0;
      while (i < NCOUNTER && strcmp(COUNTERS[i].name, p) != 0) {
        i++;
      }
      if (i == NCOUNTER) {
        fail_msg("%s: %s is no counter", ROWS[k].name, p);
      }
    }
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_happens_moves_its_counters_and_no_others),
      cmocka_unit_test(every_counter_is_moved_by_a_row_and_left_by_another),
      cmocka_unit_test(every_name_is_a_counter),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
