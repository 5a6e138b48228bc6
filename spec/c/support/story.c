/* SPDX-License-Identifier: MIT */
#include "support/story.h"

#include "base/addr.h"
#include "quic/conn_int.h"
#include "quic/endpoint_int.h"

#define A STORY_A
#define B STORY_B
#define C STORY_C

static const char *addr_of[] = {"198.18.0.1:1001", "198.18.1.1:1002",
                                "198.18.2.1:1003"};

/* ---- the stage ---- */

static world *pair_of(void) {
  world *w = world_new(1);
  world_node_init(w, A, addr_of[A], NULL);
  world_node_init(w, B, addr_of[B], NULL);
  return w;
}

static world *trio_of(void) {
  world *w = pair_of();
  world_node *c = world_coordinator(w, C, addr_of[C]);
  for (int i = A; i <= B; i++) {
    w->node[i]->params.role = AQ_ROLE_CLIENT;
    world_use_bootstrap(w->node[i], c, 1);
  }
  return w;
}

/* From now on is counted. */
aq_statistics story_base[WORLD_NODES];
static void from_here(world *w) {
  for (int i = 0; i < WORLD_NODES; i++) {
    memset(&story_base[i], 0, sizeof(story_base[i]));
    if (w->node[i] != NULL && w->node[i]->ep != NULL) {
      aq_endpoint_get_statistics(w->node[i]->ep, &story_base[i]);
      world_clear(w->node[i]);
    }
  }
}

static world *at_rest(world *w) {
  world_start_all(w);
  from_here(w);
  return w;
}

/* A datagram to B from somebody else. */
static void stranger_sends(world *w, const uint8_t *data, size_t len) {
  aq_addr from = util_addr("198.19.0.1:5000");
  world_inject(w, &from, &w->node[B]->bound, data, len);
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

static void say(world *w, int from, int to, const aq_ctl *m) {
  assert_int_equal(aq_ctl_send(world_link(w, from, to), m), 0);
  aq_ep_settle(w->node[from]->ep);
}

static void send_frame(world *w, int from, int to, const aq_frame *f) {
  aq_link *l = world_link(w, from, to);
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

world *story_nothing(void) {
  world *w = at_rest(pair_of());
  world_run(w, 60 * AQ_S);
  return w;
}

world *story_dialed(void) {
  world *w = at_rest(pair_of());
  world_dial(w, A, B, 1);
  world_wait_conn(w, A);
  world_run(w, AQ_S);
  return w;
}

world *story_talk(void) {
  world *w = connected_pair();
  world_talk(w, A, world_only_conn(w->node[A]), B);
  return w;
}

world *story_nobody_there(void) {
  world *w = pair_of();
  world_start_all(w);
  world_node_kill(w->node[B]);
  from_here(w);
  world_dial(w, A, B, 1);
  world_run(w, 10 * AQ_S);
  return w;
}

world *story_peer_dies(void) {
  world *w = connected_pair();
  w->node[B]->deaf = 1;
  world_run(w, 60 * AQ_S);
  return w;
}

world *story_closed_by_us(void) {
  world *w = connected_pair();
  aq_conn_close(w->node[A]->ep, w->now, world_only_conn(w->node[A]), 1, "", 0);
  world_run(w, 5 * AQ_S);
  return w;
}

world *story_not_allowed(void) {
  world *w = pair_of();
  w->node[B]->params.allow = &w->node[B]->id;
  w->node[B]->params.allow_count = 1;
  at_rest(w);
  world_dial(w, A, B, 1);
  world_run(w, 10 * AQ_S);
  return w;
}

world *story_with_retry(void) {
  world *w = pair_of();
  w->node[B]->params.always_retry = 1;
  at_rest(w);
  world_dial(w, A, B, 1);
  world_wait_conn(w, A);
  world_run(w, AQ_S);
  return w;
}

/* B as it was before it knew A. */
world *story_lost_state(void) {
  world *w = connected_pair();
  world_node_kill(w->node[B]);
  world_node_start(w->node[B]);
  aq_conn_ping(w->node[A]->ep, w->now, world_only_conn(w->node[A]));
  from_here(w);
  world_run(w, 5 * AQ_S);
  return w;
}

world *story_resets_asked_for(void) {
  world *w = at_rest(pair_of());
  uint8_t pkt[100] = {0x40};
  for (int i = 0; i < 100; i++) {
    pkt[1] = (uint8_t)i;
    stranger_sends(w, pkt, sizeof(pkt));
  }
  world_run(w, 100 * AQ_MS);
  return w;
}

world *story_other_version(void) {
  world *w = at_rest(pair_of());
  uint8_t pkt[1200] = {0xc0, 0x7a, 0x7a, 0x7a, 0x7a, 8, 1, 2,
                       3,    4,    5,    6,    7,    8, 0};
  stranger_sends(w, pkt, sizeof(pkt));
  world_run(w, AQ_S);
  return w;
}

world *story_malformed(void) {
  world *w = at_rest(pair_of());
  static const uint8_t cut[] = {0x40, 1, 2};      /* no whole connection ID */
  static const uint8_t punch[] = {0x01, 0x02, 3}; /* another punch version */
  stranger_sends(w, cut, sizeof(cut));
  stranger_sends(w, punch, sizeof(punch));
  world_run(w, AQ_S);
  return w;
}

world *story_unknown(void) {
  world *w = at_rest(pair_of());
  uint8_t initial[100] = {0xc0, 0, 0, 0, 1, 8}; /* too short for an Initial */
  uint8_t punch[AQ_PUNCH_LEN] = {0x01, 0x01};   /* of no session */
  stranger_sends(w, initial, sizeof(initial));
  stranger_sends(w, punch, sizeof(punch));
  world_run(w, AQ_S);
  return w;
}

/* ---- stories: bounds of connections ---- */

world *story_half_open_full(void) {
  world *w = at_rest(pair_of());
  aq_addr elsewhere = util_addr("198.19.7.7:1");
  for (uint32_t i = 0; i < w->node[B]->params.max_half_open; i++) {
    elsewhere.ip[2] = (uint8_t)i;
    aq_limits_open(&w->node[B]->ep->limits, &elsewhere);
  }
  world_dial(w, A, B, 1);
  world_run(w, AQ_S);
  return w;
}

world *story_prefix_full(void) {
  world *w = at_rest(pair_of());
  for (int i = 0; i < AQ_LIMIT_PREFIX; i++) {
    aq_limits_open(&w->node[B]->ep->limits, &w->node[A]->bound);
  }
  world_dial(w, A, B, 1);
  world_run(w, AQ_S);
  return w;
}

world *story_no_more_connections(void) {
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

world *story_nobody_polls(void) {
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

world *story_announced_by_hand(void) {
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

world *story_too_many_announced(void) {
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

world *story_frames_pile_up(void) {
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

world *story_punch_me(void) {
  world *w = connected_pair();
  aq_frame f = {.kind = AQ_FRAME_PUNCH_ME_NOW, .seq = 1};
  f.addr = util_addr("198.18.55.5:55");
  send_frame(w, A, B, &f);
  world_run(w, AQ_S);
  return w;
}

world *story_moved(void) {
  world *w = connected_pair();
  w->node[A]->bound = util_addr("198.18.0.1:4444");
  aq_conn_ping(w->node[A]->ep, w->now, world_only_conn(w->node[A]));
  world_run(w, AQ_S);
  return w;
}

/* ---- stories: traversal ---- */

world *story_registering(void) {
  world *w = trio_of();
  world_node_start(w->node[C]);
  from_here(w);
  world_node_start(w->node[A]);
  world_run(w, 2 * AQ_S);
  return w;
}

world *story_traversed(void) {
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

world *story_punched_in_vain(void) {
  world *w = registered_trio(trio_of());
  w->tap = no_quic;
  reach(w, &w->node[B]->id);
  world_run(w, 9 * AQ_S);
  return w;
}

world *story_unknown_target(void) {
  world *w = registered_trio(trio_of());
  aq_peer_id nobody = {{9}};
  reach(w, &nobody);
  world_run(w, 9 * AQ_S);
  return w;
}

world *story_refused(void) {
  world *w = trio_of();
  w->node[B]->params.allow = &w->node[C]->id;
  w->node[B]->params.allow_count = 1;
  registered_trio(w);
  reach(w, &w->node[B]->id);
  world_run(w, 9 * AQ_S);
  return w;
}

world *story_asked_too_often(void) {
  world *w = registered_trio(trio_of());
  aq_ctl m = {.type = AQ_CTL_REQUEST};
  m.peer.bytes[0] = 9;
  for (m.request = 1000; m.request < 1074; m.request++) {
    say(w, A, C, &m);
  }
  world_run(w, AQ_S);
  return w;
}

world *story_forged_punch(void) {
  world *w = registered_trio(trio_of());
  w->tap = no_quic;
  reach(w, &w->node[B]->id);
  world_run(w, 200 * AQ_MS);
  from_here(w);
  const aq_contact *k = aq_contact_find(w->node[B]->ep, &w->node[A]->id);
  uint8_t bad[AQ_PUNCH_LEN] = {0x01, 0x01, 0x01};
  memcpy(bad + 4, aq_trav_session(k->session->trav, 0), 8);
  stranger_sends(w, bad, sizeof(bad));
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

world *story_one_target(void) {
  aq_ctl m = lie(1, "203.0.114.7:5000", 8, 0, 0);
  return lied(&m, 1, 0);
}

world *story_one_prefix(void) {
  aq_ctl m = lie(1, "203.0.114.7:5000", 32, 1, 0);
  return lied(&m, 1, 0);
}

world *story_one_session(void) {
  aq_ctl m = lie(1, "203.0.114.7:5000", 32, 0, 1);
  return lied(&m, 1, 0);
}

world *story_one_peer(void) {
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

world *story_many_peers(void) {
  static aq_ctl m[16];
  for (int i = 0; i < 16; i++) {
    char addr[24];
    snprintf(addr, sizeof(addr), "203.%d.114.7:5000", i);
    m[i] = lie((uint8_t)(1 + i), addr, 32, 0, 1);
  }
  return lied(m, 16, AQ_MS);
}

world *story_forbidden(void) {
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

world *story_observed(void) {
  world *w = observing();
  assert_int_equal(ask(w, 0), 0);
  world_run(w, AQ_S);
  return w;
}

world *story_observed_too_often(void) {
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

world *story_spoilt_question(void) {
  world *w = observing();
  flipped = 0;
  w->tap = spoil;
  assert_int_equal(ask(w, 0), 0);
  world_run(w, AQ_S);
  return w;
}

/* A recorder that nobody empties. */
world *story_full_record(void) {
  world *w = at_rest(pair_of());
  world_node *a = w->node[A];
  assert_int_equal(aq_endpoint_record(a->ep, 1), 0);
  uint8_t rubbish[40] = {1, 1};
  for (int i = 0; i < AQ_RECORD_RING + 5; i++) {
    aq_datagram d = {0, w->node[B]->bound, a->bound, 0, rubbish, 40, 0};
    aq_endpoint_handle_datagram(a->ep, w->now, &d);
  }
  return w;
}

/* What goes to B is held, and comes in one batch. */
static size_t held, held_segment;
static uint8_t held_data[4096];
static int hold(world *w, const aq_addr *from, const aq_addr *to, uint8_t *data,
                size_t *len) {
  (void)from;
  if (!aq_addr_equal(to, &w->node[B]->bound)) {
    return 1;
  }
  held_segment = held == 0 ? *len : held_segment;
  if (held + *len <= sizeof(held_data) && held % held_segment == 0) {
    memcpy(held_data + held, data, *len);
    held += *len;
  }
  return 0;
}

/* 512 frames. */
world *story_frames_at_once(void) {
  static const uint8_t remove[] = {0x80, 0x3d, 0x7e, 0x94, 0x05};
  world *w = connected_pair();
  aq_link *l = world_link(w, A, B);
  uint8_t many[AQ_FRAME_MAX];
  for (size_t i = 0; i < sizeof(many); i++) {
    many[i] = remove[i % sizeof(remove)];
  }
  for (int i = 0; i < 64; i++) {
    assert_int_equal(
        aq_carrier_queue_raw(&l->c->carrier, many, sizeof(many), 0), 0);
  }
  l->c->dirty = 1;
  aq_link_touch(l);
  held = 0;
  w->tap = hold;
  aq_ep_settle(w->node[A]->ep);
  world_flush(w);
  w->tap = NULL;
  aq_datagram d = {0,    w->node[A]->bound, w->node[B]->bound, 0, held_data,
                   held, held_segment};
  aq_endpoint_handle_datagram(w->node[B]->ep, w->now, &d);
  return w;
}

/* C changes its mind |n| times between two settlings of B. */
static world *offers(int n, aq_plan plan) {
  world *w = trio_of();
  w->node[C]->params.can_relay = 1;
  registered_trio(w);
  for (int i = 0; i < n; i++) {
    aq_ctl m = lie(7, "203.0.114.7:5000", 1, 0, 0);
    m.plan = plan;
    memset(m.session, i, sizeof(m.session));
    memset(m.nonce, i, sizeof(m.nonce));
    aq_session_offer(world_link(w, B, C), &m);
  }
  aq_ep_settle(w->node[B]->ep);
  return w;
}

world *story_offers_at_once(void) {
  return offers(50, AQ_PLAN_PUNCH);
}

world *story_relays_at_once(void) {
  return offers(170, AQ_PLAN_RELAY);
}

/* One datagram of B's session comes twice. C gave the key away. */
world *story_punched_twice(void) {
  aq_ctl m = lie(1, "203.0.114.7:5000", 1, 0, 0);
  world *w = registered_trio(trio_of());
  say(w, C, B, &m);
  world_run(w, 30 * AQ_MS);
  from_here(w);
  aq_punch p = {
      .type = AQ_PUNCH_PROBE, .flags = AQ_PUNCH_FLAG_INITIATOR, .seq = 1};
  memcpy(p.session, m.session, sizeof(p.session));
  p.echo = 1;
  uint8_t data[AQ_PUNCH_LEN];
  assert_int_equal(aq_punch_format(data, &p, m.key, aq_crypto_mac16), 0);
  stranger_sends(w, data, sizeof(data));
  stranger_sends(w, data, sizeof(data));
  world_flush(w);
  w->node[C]->deaf = 1;
  world_run(w, 15 * AQ_MS);
  return w;
}

/* A tells B that it comes from nowhere. */
world *story_observed_nowhere(void) {
  world *w = connected_pair();
  aq_frame f = {.kind = AQ_FRAME_OBSERVED_ADDRESS, .seq = 9};
  f.addr = util_addr("127.0.0.1:1");
  send_frame(w, A, B, &f);
  world_run(w, AQ_S);
  return w;
}

world *story_extra_sockets(void) {
  world *w = at_rest(pair_of());
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
world *story_met_afresh(void) {
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

world *story_predicted(void) {
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

world *story_one_ip_guessed(void) {
  world *w = guessing(1);
  spend(w, 1000, addr_of[B], &w->node[C]->id);
  return guess(w, AQ_PLAN_BIRTHDAY);
}

world *story_one_peer_guessed(void) {
  world *w = guessing(1);
  spend(w, 1000, "198.18.7.7:7", &w->node[B]->id);
  return guess(w, AQ_PLAN_BIRTHDAY);
}

world *story_all_guessed(void) {
  world *w = guessing(1);
  spend(w, 1000, "198.18.7.7:7", &w->node[C]->id);
  return guess(w, AQ_PLAN_BIRTHDAY);
}

world *story_another_guesses(void) {
  world *w = guessing(1);
  aq_addr a = util_addr("198.18.7.7:7");
  aq_guard_request r = {.target = &a, .session_key = 1};
  assert_int_equal(
      aq_guard_begin_guess(&w->node[A]->ep->guard, w->now, &r, 1024), 0);
  return guess(w, AQ_PLAN_BIRTHDAY);
}

world *story_guessed_at_once(void) {
  world *w = guessing(1);
  spend(w, 120, "198.18.7.7:7777", &w->node[C]->id);
  return guess(w, AQ_PLAN_PREDICT);
}

/* ---- stories: repairs ---- */

static world *linked(world *w) {
  world_start_all(w);
  world_run(w, AQ_S);
  reach(w, &w->node[B]->id);
  assert_non_null(
      world_wait(w, w->node[A], AQ_EVENT_TRAVERSAL_SUCCEEDED, 8 * AQ_S));
  world_run(w, 2 * AQ_S);
  from_here(w);
  return w;
}

static void ping(world *w) {
  aq_conn_ping(w->node[A]->ep, w->now, world_only_conn(w->node[A]));
}

world *story_repaired(void) {
  world *w = trio_of();
  for (int i = A; i <= B; i++) {
    world_behind(w->node[i],
                 world_nat_new(i == A ? "198.51.100.1" : "198.51.100.2",
                               WORLD_EI, WORLD_APD, AQ_NAT_ALLOC_RANDOM));
  }
  linked(w);
  world_nat_rebind(w->node[A]->nat, NULL);
  world_nat_rebind(w->node[B]->nat, NULL);
  ping(w);
  world_run(w, 20 * AQ_S); /* until B's keep-alive: C can't reach it before */
  return w;
}

world *story_repair_in_vain(void) {
  world *w = linked(trio_of());
  w->node[B]->deaf = 1;
  ping(w);
  world_run(w, 10 * AQ_S);
  return w;
}

world *story_too_many_repairs(void) {
  world *w = linked(trio_of());
  w->node[B]->deaf = 1;
  w->node[A]->ep->nrepairs = AQ_MAX_REPAIRS; /* so many run */
  ping(w);
  world_run(w, AQ_S);
  w->node[A]->ep->nrepairs = 0;
  return w;
}

world *story_repairs_asked_for(void) {
  world *w = linked(trio_of());
  for (int i = 0; i < 14; i++) {
    aq_ctl m = lie((uint8_t)(1 + i), "203.0.114.7:5000", 1, 0, 0);
    m.peer = w->node[A]->id;
    m.plan = AQ_PLAN_REPAIR;
    m.cand[0].verified = 1;
    say(w, C, B, &m);
  }
  world_run(w, 50 * AQ_MS);
  return w;
}

/* ---- stories: relays ---- */

/* A asks for B over C, and the connection stays there for |every|. */
static world *over_relay(uint64_t rate, aq_duration every) {
  world *w = trio_of();
  w->node[C]->params.can_relay = 1;
  w->node[C]->params.relay_rate = rate;
  w->node[A]->params.strategy = AQ_STRATEGY_STEPS;
  registered_trio(w);
  aq_relay_step step;
  aq_id s, c;
  aq_relay_step_init(&step);
  step.upgrade_every = every;
  aq_endpoint *ep = w->node[A]->ep;
  assert_int_equal(
      aq_session_start(ep, w->now, &w->node[B]->id, NULL, 0, 8 * AQ_S, &s, &c),
      0);
  assert_int_equal(aq_session_relay(ep, w->now, s, &step), 0);
  world_wait_conn(w, A);
  world_run(w, AQ_S);
  return w;
}

/* B could guess ports for that connection. */
world *story_guesses_asked_for(void) {
  world *w = over_relay(1 << 20, AQ_NEVER);
  aq_nat_profile p = {.mapping = AQ_NAT_ENDPOINT_INDEPENDENT,
                      .filtering = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT};
  w->node[B]->ep->profile = p;
  from_here(w);
  for (int i = 0; i < 6; i++) {
    aq_ctl m = lie((uint8_t)(1 + i), "203.0.114.7:5000", 1, 0, 0);
    m.peer = w->node[A]->id;
    m.plan = AQ_PLAN_REPAIR;
    m.cand[0].verified = 1;
    m.profile = p;
    m.profile.mapping = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT;
    say(w, C, B, &m);
  }
  world_run(w, 50 * AQ_MS);
  return w;
}

world *story_relayed(void) {
  return over_relay(1 << 20, AQ_NEVER);
}

world *story_upgraded(void) {
  world *w = over_relay(1 << 20, 2 * AQ_S);
  from_here(w);
  world_run(w, 10 * AQ_S);
  return w;
}

/* Until C passes on no more. */
world *story_relay_flooded(void) {
  world *w = over_relay(1024, AQ_NEVER);
  from_here(w);
  aq_id conn = world_only_conn(w->node[A]);
  uint8_t data[1000] = {0};
  while (w->node[C]->ep->stats.limit_relay_rate == 0) {
    aq_datagram_send(w->node[A]->ep, w->now, conn, data, sizeof(data));
    world_run(w, 5 * AQ_MS);
  }
  return w;
}

/* A sends over two tunnels until C may pass on no more for it, or at all. */
static world *spent(aq_relay_verdict why) {
  world *w = trio_of();
  w->node[C]->params.can_relay = 1;
  w->node[C]->params.relay_rate = 1 << 20;
  w->node[C]->params.relay_total_rate =
      why == AQ_RELAY_OVER_PEER ? 8 << 20 : 1024;
  registered_trio(w);
  uint8_t data[1200] = {AQ_TUNNEL_TYPE};
  data[AQ_TUNNEL_HEAD] = 0x40;
  for (uint8_t i = 0; i < 2; i++) {
    data[1] = i;
    assert_int_equal(aq_relay_open(w->node[C]->ep->relay, w->now, data + 1,
                                   world_link(w, C, A)->id,
                                   world_link(w, C, B)->id),
                     0);
  }
  for (int i = 0; i < 300; i++) {
    data[1] = i & 1;
    world_inject(w, &w->node[A]->bound, &w->node[C]->bound, data, sizeof(data));
    world_run(w, 100 * AQ_US);
  }
  world_run(w, AQ_S);
  return w;
}

world *story_relay_peer_flooded(void) {
  return spent(AQ_RELAY_OVER_PEER);
}

world *story_relay_all_flooded(void) {
  return spent(AQ_RELAY_OVER_TOTAL);
}

/* It knows the tunnel, and isn't one of its ends. */
world *story_relay_stranger(void) {
  world *w = over_relay(1 << 20, AQ_NEVER);
  from_here(w);
  uint8_t data[1200] = {AQ_TUNNEL_TYPE};
  memcpy(data + 1, w->node[A]->ep->tunnel[0].id, AQ_TUNNEL_ID_LEN);
  data[AQ_TUNNEL_HEAD] = 0x40;
  aq_addr from = util_addr("198.19.0.1:5000");
  world_inject(w, &from, &w->node[C]->bound, data, sizeof(data));
  world_run(w, AQ_S);
  return w;
}

world *story_relay_refuses(void) {
  world *w = trio_of();
  w->node[C]->params.can_relay = 1;
  registered_trio(w);
  aq_endpoint *c = w->node[C]->ep;
  for (uint8_t i = 0; i < AQ_RELAY_EACH; i++) {
    uint8_t id[AQ_TUNNEL_ID_LEN] = {i};
    assert_int_equal(
        aq_relay_open(c->relay, w->now, id, world_link(w, C, A)->id, 7), 0);
  }
  aq_ctl m = {.type = AQ_CTL_REQUEST, .plan = AQ_PLAN_RELAY};
  m.peer = w->node[B]->id;
  say(w, A, C, &m);
  world_run(w, AQ_S);
  return w;
}

/* C has offered B all that is C's share, and offers one more. */
world *story_too_much_of_one_coordinator(void) {
  world *w = trio_of();
  w->node[C]->params.can_relay = 1;
  world_use_bootstrap(w->node[B], world_coordinator(w, 3, "198.18.3.1:1004"),
                      1);
  registered_trio(w);
  for (uint8_t i = 0; i <= AQ_MAX_TUNNELS / 2; i++) {
    aq_ctl m = lie(1 + i, "203.0.114.7:5000", 1, 0, 0);
    m.peer.bytes[0] = i;
    m.plan = AQ_PLAN_RELAY;
    say(w, C, B, &m);
  }
  world_run(w, 50 * AQ_MS);
  return w;
}

/* We are an end of so many. */
world *story_tunnels(void) {
  world *w = registered_trio(trio_of());
  aq_endpoint *ep = w->node[A]->ep;
  aq_tunnel *t;
  for (uint8_t i = 0; i <= AQ_MAX_TUNNELS; i++) {
    uint8_t id[AQ_TUNNEL_ID_LEN] = {i};
    assert_int_equal(aq_tunnel_open(ep, world_link(w, A, C)->id, id, 5, 0, &t),
                     i < AQ_MAX_TUNNELS ? 0 : AQ_ERR_LIMIT);
  }
  return w;
}
