/* test_relay_attack.c - relays under attack, and relays that fail: strangers,
 * replays, nesting, lies, floods, deaths, rebinding. Whole endpoints with real
 * cryptography, in virtual time.
 *
 * SPDX-License-Identifier: MIT */
#include "support/flow.h"
#include "support/world.h"

#include "base/addr.h"
#include "quic/endpoint_int.h"

enum { C, A, B, D }; /* D is one more peer, or one more coordinator */

static const char *const ADDR[] = {"198.18.0.1:9000", "198.18.1.1:5000",
                                   "198.18.2.1:6000", "198.18.3.1:7000"};
static const char VICTIM[] = "203.0.113.7:7000";

/* ---- the stage -------------------------------------------------------------
 */

/* Between A and B themselves nothing passes while it is set. */
static int is_blocked;
static uint64_t passed; /* tunnel datagrams that C sent to |watched| */
static aq_addr watched;
static size_t ncaught;
static struct {
  aq_addr from, to;
  size_t len;
  uint8_t data[1500];
} caught[64]; /* tunnel datagrams of A */

static int of(const world *w, int n, const aq_addr *a) {
  return w->node[n] != NULL && aq_addr_same_ip(&w->node[n]->bound, a);
}

static int tap(world *w, const aq_addr *from, const aq_addr *to, uint8_t *data,
               size_t *len) {
  int tunnel = data[0] == AQ_TUNNEL_TYPE;
  passed += tunnel && of(w, C, from) && aq_addr_equal(to, &watched);
  if (tunnel && of(w, A, from) && ncaught < 64) {
    caught[ncaught].from = *from;
    caught[ncaught].to = *to;
    caught[ncaught].len = *len;
    memcpy(caught[ncaught++].data, data, *len);
  }
  return !is_blocked || !((of(w, A, from) && of(w, B, to)) ||
                          (of(w, B, from) && of(w, A, to)));
}

static world *stage(int coordinators) {
  world *w = world_new(1);
  is_blocked = 1;
  ncaught = 0;
  passed = 0;
  w->tap = tap;
  watched = util_addr(VICTIM);
  for (int i = C; i <= D; i++) {
    int coordinates = i == C || (i == D && coordinators > 1);
    world_node *n = coordinates ? world_coordinator(w, (size_t)i, ADDR[i])
                                : world_node_init(w, (size_t)i, ADDR[i], NULL);
    n->params.can_relay = 1;
    n->params.strategy = AQ_STRATEGY_STEPS;
  }
  for (int i = A; i <= D; i++) {
    for (int c = C; c <= D && w->node[i]->params.role != AQ_ROLE_BOOTSTRAP;
         c += D) {
      if (w->node[c]->params.role == AQ_ROLE_BOOTSTRAP) {
        world_use_bootstrap(w->node[i], w->node[c], 1);
      }
    }
  }
  world_start_all(w);
  world_run(w, AQ_S);
  return w;
}

/* A asks for |to| over a relay. */
static void ask(world *w, int to, aq_duration every) {
  aq_id s, c;
  aq_relay_step step;
  aq_relay_step_init(&step);
  step.upgrade_every = every;
  aq_endpoint *ep = w->node[A]->ep;
  step.via = world_link(w, A, C)->id;
  assert_int_equal(
      aq_session_start(ep, w->now, &w->node[to]->id, NULL, 0, 8 * AQ_S, &s, &c),
      0);
  assert_int_equal(aq_session_relay(ep, w->now, s, &step), 0);
}

static aq_conn_info info_of(world *w, int from, int to) {
  aq_conn_info i;
  aq_endpoint *ep = w->node[from]->ep;
  memset(&i, 0, sizeof(i));
  aq_id conn = aq_endpoint_find_conn(ep, &w->node[to]->id);
  assert_int_equal(aq_conn_get_info(ep, conn, &i), 0);
  return i;
}

static void over_relay(world *w, int to, aq_duration every) {
  ask(w, to, every);
  world_run(w, AQ_S);
  assert_true(info_of(w, A, to).relayed && info_of(w, to, A).relayed);
}

static flow flow_open(world *w, int from, int to) {
  aq_endpoint *a = w->node[from]->ep, *b = w->node[to]->ep;
  return flow_new(a, aq_endpoint_find_conn(a, &w->node[to]->id), b,
                  aq_endpoint_find_conn(b, &w->node[from]->id), w->now);
}

/* |len| bytes more each 10 ms on each of |n| flows, for |d|. */
static void flow_run(world *w, flow *f, int n, aq_duration d, size_t len) {
  aq_tstamp until = w->now + d;
  while (w->now < until) {
    for (int i = 0; i < n; i++) {
      (void)flow_turn(&f[i], w->now, f[i].written + len);
    }
    world_run(w, 10 * AQ_MS);
  }
}

static void flow_settles(world *w, flow *f, int n, aq_duration d) {
  flow_run(w, f, n, d, 0);
  for (int i = 0; i < n; i++) {
    assert_true(f[i].read > 0);
    assert_int_equal(f[i].read, f[i].written);
  }
}

static void nothing_was_lost(world *w) {
  for (int i = A; i <= B; i++) {
    assert_null(world_find(w->node[i], AQ_EVENT_CONNECTION_LOST));
  }
}

static uint8_t *tunnel_id(world *w, int n) {
  return w->node[n]->ep->tunnel[0].id;
}

static size_t forge(uint8_t *out, const uint8_t *id, uint8_t first) {
  memset(out, 0x55, 1209);
  out[0] = AQ_TUNNEL_TYPE;
  memcpy(out + 1, id, AQ_TUNNEL_ID_LEN);
  out[AQ_TUNNEL_HEAD] = first;
  return 1209;
}

/* ---- strangers -------------------------------------------------------------
 */

static void a_stranger_gets_nothing_through(void **state) {
  (void)state;
  world *w = stage(1);
  over_relay(w, B, AQ_NEVER);
  flow f = flow_open(w, A, B);
  flow_run(w, &f, 1, AQ_S, 1000);
  aq_statistics c = world_stats(w, C), b = world_stats(w, B);
  aq_addr stranger = util_addr(VICTIM);
  uint8_t d[1500];
  size_t len = forge(d, tunnel_id(w, A), 0x40);
  for (int i = 0; i < 100; i++) {
    world_inject(w, &stranger, &w->node[C]->bound, d, len);
    world_inject(w, &stranger, &w->node[B]->bound, d, len);
  }
  /* An unknown tunnel, from an end; one that is too long. */
  d[1] ^= 1;
  world_inject(w, &w->node[A]->bound, &w->node[C]->bound, d, len);
  d[1] ^= 1;
  memset(d + len, 1, sizeof(d) - len);
  world_inject(w, &w->node[A]->bound, &w->node[C]->bound, d, 1473);
  world_run(w, 50 * AQ_MS);
  assert_int_equal(world_stats(w, C).relay_dropped - c.relay_dropped, 102);
  assert_int_equal(world_stats(w, B).datagrams_dropped_unknown -
                       b.datagrams_dropped_unknown,
                   100);
  assert_null(world_seen_at(w, &stranger)); /* nobody answers */
  flow_run(w, &f, 1, AQ_S, 1000);
  flow_settles(w, &f, 1, AQ_S);
  nothing_was_lost(w);
  world_del(w);
}

static void replays_and_rubbish_change_nothing(void **state) {
  (void)state;
  world *w = stage(1);
  over_relay(w, B, AQ_NEVER);
  flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
  flow_run(w, f, 2, AQ_S, 2000);
  assert_int_equal(ncaught, 64);
  aq_addr stranger = util_addr(VICTIM);
  uint8_t d[1500];
  aq_rand r;
  aq_rand_init(&r, 7);
  for (int turn = 0; turn < 20; turn++) {
    for (size_t i = 0; i < ncaught; i++) {
      world_inject(w, &caught[i].from, &caught[i].to, caught[i].data,
                   caught[i].len);
      world_inject(w, &stranger, &caught[i].to, caught[i].data, caught[i].len);
    }
    for (int i = 0; i < 20; i++) { /* on the way to C, where it may be seen */
      size_t len = forge(d, tunnel_id(w, A), (uint8_t)aq_rand_u64(&r));
      d[AQ_TUNNEL_HEAD] |= 0x40;
      world_inject(w, &w->node[A]->bound, &w->node[C]->bound, d, len);
    }
    flow_run(w, f, 2, 100 * AQ_MS, 2000);
  }
  flow_settles(w, f, 2, 2 * AQ_S);
  assert_null(world_seen_at(w, &stranger));
  nothing_was_lost(w);
  world_del(w);
}

/* A tunnel carries QUIC and nothing else: neither at the relay nor at the end
 * does what is inside reach what such a datagram would reach. */
static void nothing_is_nested(void **state) {
  (void)state;
  world *w = stage(1);
  over_relay(w, B, AQ_NEVER);
  uint8_t d[1500];
  for (uint8_t type = 0; type < 0x40; type++) {
    size_t len = forge(d, tunnel_id(w, A), type);
    aq_statistics c = world_stats(w, C), b = world_stats(w, B);
    world_inject(w, &w->node[A]->bound, &w->node[C]->bound, d, len);
    world_inject(w, &w->node[C]->bound, &w->node[B]->bound, d, len);
    world_run(w, 20 * AQ_MS);
    assert_int_equal(world_stats(w, C).datagrams_dropped_malformed,
                     c.datagrams_dropped_malformed + 1);
    assert_int_equal(world_stats(w, B).datagrams_dropped_malformed,
                     b.datagrams_dropped_malformed + 1);
    assert_int_equal(world_stats(w, C).relay_datagrams, c.relay_datagrams);
  }
  world_del(w);
}

/* Whoever writes A's packets anew, with a victim's address as their source, has
 * C answer there at most as path validation allows; no tunnel ends there. */
static aq_addr copy_from;
static int copying;
static int copier(world *w, const aq_addr *from, const aq_addr *to,
                  uint8_t *data, size_t *len) {
  if (copying && of(w, A, from) && of(w, C, to)) {
    world_inject(w, &copy_from, to, data, *len);
    return 0; /* it is faster */
  }
  return tap(w, from, to, data, len);
}

static void nobody_aims_the_relay(void **state) {
  (void)state;
  world *w = stage(1);
  over_relay(w, B, AQ_NEVER);
  flow f = flow_open(w, B, A);
  flow_run(w, &f, 1, AQ_S, 3000);
  copy_from = watched = util_addr(VICTIM);
  copying = 1;
  w->tap = copier;
  flow_run(w, &f, 1, 2 * AQ_S, 3000);
  copying = 0;
  assert_int_equal(passed, 0);
  const world_seen *s = world_seen_at(w, &watched);
  assert_true(s == NULL || s->bytes < 4000);
  flow_run(w, &f, 1, 8 * AQ_S, 3000);
  flow_settles(w, &f, 1, 2 * AQ_S);
  world_del(w);
}

/* ---- lies ------------------------------------------------------------------
 */

/* The relay passes everything to another peer than the one that is asked for.
 */
static void another_key_is_refused(void **state) {
  (void)state;
  world *w = stage(1);
  ask(w, B, AQ_NEVER);
  aq_endpoint *c = w->node[C]->ep, *d = w->node[D]->ep;
  while (aq_relay_count(c->relay) == 0) {
    world_run(w, AQ_MS);
  }
  while (w->node[A]->ep->ntunnel == 0) {
    world_run(w, AQ_MS);
  }
  uint8_t id[AQ_TUNNEL_ID_LEN];
  aq_tunnel *t;
  memcpy(id, tunnel_id(w, A), sizeof(id));
  aq_id a = world_link(w, C, A)->id;
  assert_true(aq_relay_close(c->relay, id, a) != 0);
  assert_int_equal(
      aq_relay_open(c->relay, w->now, id, a, world_link(w, C, D)->id), 0);
  assert_int_equal(aq_tunnel_open(d, world_link(w, D, C)->id, id, 5, 0, &t), 0);
  const aq_event *e = world_wait(w, w->node[A], AQ_EVENT_STEP_DONE, 5 * AQ_S);
  assert_non_null(e);
  assert_int_equal(e->error, AQ_ERR_WRONG_KEY);
  assert_int_equal(aq_endpoint_find_conn(w->node[A]->ep, &w->node[D]->id), 0);
  assert_int_equal(aq_endpoint_find_conn(d, &w->node[A]->id), 0);
  world_del(w);
}

static void say(world *w, int to, const aq_ctl *m) {
  assert_int_equal(aq_ctl_send(world_link(w, C, to), m), 0);
  aq_ep_settle(w->node[C]->ep);
}

/* A coordinator offers a tunnel of an id that is in use, or one although it
 * said that it doesn't relay. */
static void nobody_is_relayed_unasked(void **state) {
  (void)state;
  world *w = stage(1);
  over_relay(w, B, AQ_NEVER);
  aq_ctl m = {.type = AQ_CTL_OFFER, .plan = AQ_PLAN_RELAY, .expiry_ms = 9000};
  m.peer = w->node[D]->id;
  m.observed = w->node[B]->bound;
  memcpy(m.session, tunnel_id(w, B), sizeof(m.session));
  say(w, B, &m);
  world_run(w, 50 * AQ_MS);
  assert_int_equal(aq_endpoint_find_conn(w->node[B]->ep, &m.peer), 0);
  /* B's veto ends the tunnel that has the id; there is another one soon. */
  world_run(w, 5 * AQ_S);
  assert_int_equal(w->node[B]->ep->ntunnel, 1);
  assert_true(info_of(w, A, B).relayed);
  memset(m.session, 9, sizeof(m.session));
  memset(m.nonce, 9, sizeof(m.nonce));
  w->node[B]->ep->boot[0].relays = 0;
  aq_statistics b = world_stats(w, B);
  say(w, B, &m);
  world_run(w, 50 * AQ_MS);
  assert_int_equal(world_stats(w, B).offers_refused, b.offers_refused + 1);
  assert_int_equal(w->node[B]->ep->ntunnel, 1);
  nothing_was_lost(w);
  world_del(w);
}

/* One coordinator offers to take the connection to another one over itself, or
 * elsewhere: then it could end it, and tunnels would lead through tunnels. */
static void no_coordinator_moves_another(void **state) {
  (void)state;
  world *w = stage(2);
  aq_plan plans[] = {AQ_PLAN_RELAY, AQ_PLAN_REPAIR};
  for (int i = 0; i < 2; i++) {
    aq_ctl m = {.type = AQ_CTL_OFFER, .plan = plans[i], .expiry_ms = 9000};
    aq_statistics b = world_stats(w, B);
    m.peer = w->node[D]->id;
    m.observed = w->node[B]->bound;
    memset(m.session, 7 + i, sizeof(m.session));
    say(w, B, &m);
    world_run(w, AQ_S);
    assert_int_equal(world_stats(w, B).offers_refused, b.offers_refused + 1);
    assert_int_equal(world_stats(w, B).repairs_started, 0);
    assert_int_equal(w->node[B]->ep->ntunnel, 0);
    assert_int_equal(w->node[B]->ep->nsessions, 0);
  }
  world_del(w);
}

/* The relay offers itself to both ends of a direct connection that lives: then
 * it would go on as long as the relay likes. */
static void a_live_path_stays_direct(void **state) {
  (void)state;
  world *w = stage(1);
  is_blocked = 0;
  world_dial(w, A, B, 1);
  world_run(w, AQ_S);
  flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
  flow_run(w, f, 2, AQ_S, 1000);
  aq_ctl m = {.type = AQ_CTL_OFFER, .plan = AQ_PLAN_RELAY, .expiry_ms = 9000};
  memset(m.session, 7, sizeof(m.session));
  assert_int_equal(aq_relay_open(w->node[C]->ep->relay, w->now, m.session,
                                 world_link(w, C, A)->id,
                                 world_link(w, C, B)->id),
                   0);
  for (int i = A; i <= B; i++) {
    m.peer = w->node[i == A ? B : A]->id;
    m.observed = w->node[i]->bound;
    say(w, i, &m);
  }
  flow_run(w, f, 2, AQ_S, 1000);
  assert_false(info_of(w, A, B).relayed || info_of(w, B, A).relayed);
  assert_int_equal(world_stats(w, A).offers_refused, 1);
  assert_int_equal(w->node[A]->ep->ntunnel, 0);
  flow_settles(w, f, 2, AQ_S);
  world_del(w);
}

/* A is registered with D, and moves that connection into a tunnel that D is an
 * end of: D vouches for no address that exists in itself alone, and relays
 * nothing to it. */
static void who_hides_is_not_coordinated(void **state) {
  (void)state;
  world *w = stage(2);
  const uint8_t id[AQ_TUNNEL_ID_LEN] = {1, 2, 3},
                second[AQ_TUNNEL_ID_LEN] = {4};
  aq_endpoint *a = w->node[A]->ep, *c = w->node[C]->ep, *d = w->node[D]->ep;
  aq_tunnel *of_a, *of_d;
  world_dial(w, D, C, 1);
  world_run(w, AQ_S);
  aq_link *l = world_link(w, A, D);
  assert_int_equal(aq_relay_open(c->relay, w->now, id, world_link(w, C, A)->id,
                                 world_link(w, C, D)->id),
                   0);
  assert_int_equal(aq_relay_open(d->relay, w->now, second,
                                 world_link(w, D, B)->id,
                                 world_link(w, D, A)->id),
                   0);
  assert_int_equal(aq_tunnel_open(a, world_link(w, A, C)->id, id, 5, 0, &of_a),
                   0);
  assert_int_equal(aq_tunnel_open(d, world_link(w, D, C)->id, id, 5, 0, &of_d),
                   0);
  assert_int_equal(aq_conn_migrate(l->c, w->now, of_a->sock.index,
                                   &of_a->sock.bound, &of_a->peer),
                   0);
  aq_link_touch(l);
  aq_ep_settle(a);
  world_run(w, AQ_S);
  assert_true(aq_tunnel_is_socket(world_link(w, D, A)->socket));
  aq_statistics before = world_stats(w, D);
  uint8_t data[1500];
  size_t len = forge(data, second, 0x40);
  world_inject(w, &w->node[B]->bound, &w->node[D]->bound, data, len);
  aq_id s, conn;
  aq_coordinate_step step;
  aq_coordinate_step_init(&step);
  step.count = 1;
  step.via[0] = world_link(w, B, D)->id;
  aq_endpoint *b = w->node[B]->ep;
  assert_int_equal(aq_session_start(b, w->now, &w->node[A]->id, NULL, 0,
                                    5 * AQ_S, &s, &conn),
                   0);
  assert_int_equal(aq_session_coordinate(b, w->now, s, &step), 0);
  const aq_event *e = world_wait(w, w->node[B], AQ_EVENT_STEP_DONE, 4 * AQ_S);
  assert_non_null(e);
  assert_int_equal(e->error, AQ_ERR_UNKNOWN_TARGET);
  assert_int_equal(world_stats(w, D).coordinator_offers,
                   before.coordinator_offers);
  assert_int_equal(world_stats(w, D).relay_dropped, before.relay_dropped + 1);
  assert_int_equal(world_stats(w, D).relay_datagrams, before.relay_datagrams);
  world_del(w);
}

/* Whoever is at the other end of one tunnel takes nothing away from others. */
static void each_tunnel_has_its_bounds(void **state) {
  (void)state;
  world *w = stage(1);
  aq_limits *l = &w->node[B]->ep->limits;
  const aq_addr a = util_addr("[100::102:304:506:708]:1"),
                b = util_addr("[100::102:304:506:709]:1");
  for (int i = 0; i < AQ_LIMIT_TUNNEL; i++) {
    assert_int_equal(aq_limits_admit(l, &a, 0, 1024), AQ_ADMIT_YES);
    aq_limits_open(l, &a);
  }
  assert_int_equal(aq_limits_admit(l, &a, 1, 1024), AQ_ADMIT_PREFIX);
  assert_int_equal(aq_limits_admit(l, &b, 0, 1024), AQ_ADMIT_YES);
  for (int i = 0; i < AQ_LIMIT_RESET_PER_IP; i++) {
    assert_true(aq_limits_reset(l, w->now, &a));
    assert_true(aq_limits_version(l, w->now, &a));
  }
  assert_false(aq_limits_reset(l, w->now, &a));
  assert_false(aq_limits_version(l, w->now, &a));
  assert_true(aq_limits_reset(l, w->now, &b));
  assert_true(aq_limits_version(l, w->now, &b));
  for (int i = 0; i < AQ_LIMIT_TUNNEL; i++) {
    aq_limits_done(l, &a);
  }
  assert_int_equal(aq_limits_admit(l, &a, 0, 1024), AQ_ADMIT_YES);
  /* It is what a tunnel's packets come from. */
  over_relay(w, B, AQ_NEVER);
  assert_int_equal(
      memcmp(&world_link(w, B, A)->remote.ip, a.ip, sizeof(a.ip) / 2), 0);
  world_del(w);
}

/* B says no. */
static void the_target_decides(void **state) {
  (void)state;
  for (int accept = 0; accept < 2; accept++) {
    world *w = stage(1);
    w->node[B]->ep->shared.params.ask_accept = 1;
    ask(w, B, AQ_NEVER);
    const aq_event *e = world_wait(w, w->node[B], AQ_EVENT_DECISION, 5 * AQ_S);
    assert_non_null(e);
    assert_int_equal(
        aq_endpoint_decide(w->node[B]->ep, w->now, e->value, accept), 0);
    e = world_wait(w, w->node[A], AQ_EVENT_STEP_DONE, 5 * AQ_S);
    assert_non_null(e);
    assert_int_equal(e->error, accept ? 0 : AQ_ERR_REFUSED);
    world_run(w, 4 * AQ_S);
    assert_int_equal(aq_relay_count(w->node[C]->ep->relay), accept);
    assert_int_equal(w->node[A]->ep->ntunnel, accept);
    assert_int_equal(w->node[B]->ep->ntunnel, accept);
    world_del(w);
  }
}

/* ---- many, and too much ----------------------------------------------------
 */

static void two_at_once(void **state) {
  (void)state;
  world *w = stage(1);
  over_relay(w, B, AQ_NEVER);
  over_relay(w, D, AQ_NEVER);
  assert_int_equal(w->node[A]->ep->ntunnel, 2);
  assert_int_equal(aq_relay_count(w->node[C]->ep->relay), 2);
  flow f[4] = {flow_open(w, A, B), flow_open(w, B, A), flow_open(w, A, D),
               flow_open(w, D, A)};
  flow_run(w, f, 4, 2 * AQ_S, 3000);
  flow_settles(w, f, 4, 2 * AQ_S);
  /* Each has its own end. */
  aq_endpoint *a = w->node[A]->ep;
  aq_conn_close(a, w->now, aq_endpoint_find_conn(a, &w->node[D]->id), 0, "", 0);
  flow_run(w, f, 2, 6 * AQ_S, 3000);
  flow_settles(w, f, 2, AQ_S);
  assert_int_equal(aq_relay_count(w->node[C]->ep->relay), 1);
  assert_int_equal(a->ntunnel, 1);
  world_del(w);
}

/* More than the relay lets pass: it slows down, and all of it arrives. */
static void more_than_the_rate(void **state) {
  (void)state;
  world *w = stage(1);
  world_node_kill(w->node[C]);
  w->node[C]->params.relay_rate = 100000;
  world_node_start(w->node[C]);
  world_run(w, 20 * AQ_S); /* they register anew */
  over_relay(w, B, AQ_NEVER);
  flow f = flow_open(w, A, B);
  aq_tstamp start = w->now;
  while (!flow_turn(&f, w->now, 1000000)) {
    world_run(w, 10 * AQ_MS);
    assert_true(w->now - start < 60 * AQ_S);
  }
  /* 0.25 MiB at once, and then 100 kB a second. */
  assert_true(w->now - start > 7 * AQ_S);
  assert_true(world_stats(w, C).limit_relay_rate > 0);
  assert_int_equal(world_count(w->node[C], AQ_EVENT_LIMIT_HIT), 1);
  nothing_was_lost(w);
  world_del(w);
}

/* Tunnels of A's that nobody else knows of: C takes them for agreed. */
static void make_tunnels(world *w, int to, uint8_t first, uint8_t n) {
  for (uint8_t i = first; i < first + n; i++) {
    const uint8_t id[AQ_TUNNEL_ID_LEN] = {0xee, i};
    assert_int_equal(aq_relay_open(w->node[C]->ep->relay, w->now, id,
                                   world_link(w, C, A)->id,
                                   world_link(w, C, to)->id),
                     0);
  }
}

/* A (or |from|) sends 1.2 MB a second over |n| of them. */
static void flood(world *w, int from, uint8_t first, uint8_t n) {
  uint8_t d[1500], id[AQ_TUNNEL_ID_LEN] = {0xee};
  for (int i = 0; i < 10; i++) {
    id[1] = (uint8_t)(first + i % n);
    size_t len = forge(d, id, 0x40);
    world_inject(w, &w->node[from]->bound, &w->node[C]->bound, d, len);
  }
}

static world *slow_stage(uint64_t rate, uint64_t total) {
  world *w = stage(1);
  world_node_kill(w->node[C]);
  w->node[C]->params.relay_rate = rate;
  w->node[C]->params.relay_total_rate = total;
  world_node_start(w->node[C]);
  world_run(w, 20 * AQ_S); /* they register anew */
  return w;
}

/* A has eight tunnels to B and fills them all: what C sends B stays under A's
 * share, and a pair that has one tunnel loses nothing. */
static void one_peer_takes_its_share(void **state) {
  (void)state;
  enum { E = D + 1 };
  world *w = slow_stage(100000, 800000);
  world_node *e = world_node_init(w, E, "198.18.4.1:8000", NULL);
  e->params.strategy = AQ_STRATEGY_STEPS;
  world_use_bootstrap(e, w->node[C], 1);
  world_node_start(e);
  world_run(w, AQ_S);
  /* D and E have one between them. */
  const uint8_t id[AQ_TUNNEL_ID_LEN] = {0xdd};
  assert_int_equal(aq_relay_open(w->node[C]->ep->relay, w->now, id,
                                 world_link(w, C, D)->id,
                                 world_link(w, C, E)->id),
                   0);
  make_tunnels(w, B, 0, 8);
  aq_statistics c = world_stats(w, C);
  uint64_t before = w->node[B]->rx_bytes, to_e = w->node[E]->rx_bytes;
  uint8_t d[1500];
  size_t len = forge(d, id, 0x40);
  for (int i = 0; i < 1000; i++) { /* 10 s */
    flood(w, A, 0, 8);
    if (i % 2 == 0) {
      world_inject(w, &w->node[D]->bound, &w->node[C]->bound, d, len);
    }
    world_run(w, 10 * AQ_MS);
  }
  assert_in_range(w->node[B]->rx_bytes - before, 1000000,
                  AQ_RELAY_BURST + 1000000 + 5000);
  assert_in_range(w->node[E]->rx_bytes - to_e, 500 * len, 501 * len + 5000);
  aq_statistics s = world_stats(w, C);
  assert_in_range(s.limit_relay_peer_rate - c.limit_relay_peer_rate, 8000,
                  10000);
  assert_int_equal(s.limit_relay_total_rate, 0);
  assert_int_equal(world_count(w->node[C], AQ_EVENT_LIMIT_HIT), 1);
  nothing_was_lost(w);
  world_del(w);
}

/* Two flood each other; whoever they are, C sends no more than it may. */
static void all_peers_have_a_bound(void **state) {
  (void)state;
  world *w = slow_stage(100000, 100000);
  make_tunnels(w, B, 0, 8);
  uint64_t before = w->node[A]->rx_bytes + w->node[B]->rx_bytes;
  for (int i = 0; i < 1000; i++) {
    flood(w, A, 0, 8);
    flood(w, B, 0, 8);
    world_run(w, 10 * AQ_MS);
  }
  assert_in_range(w->node[A]->rx_bytes + w->node[B]->rx_bytes - before, 1000000,
                  AQ_RELAY_BURST + 1000000 + 10000);
  assert_true(world_stats(w, C).limit_relay_total_rate > 1000);
  nothing_was_lost(w);
  world_del(w);
}

/* ---- what fails ------------------------------------------------------------
 */

/* The relay is gone: another one takes over, or the connection ends. */
static void the_relay_dies(void **state) {
  (void)state;
  world *w = stage(2);
  over_relay(w, B, AQ_UPGRADE_EVERY);
  flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
  flow_run(w, f, 2, AQ_S, 1000);
  world_node_kill(w->node[C]);
  f[0].gap = f[1].gap = 0;
  flow_run(w, f, 2, 20 * AQ_S, 1000);
  flow_settles(w, f, 2, 2 * AQ_S);
  nothing_was_lost(w);
  assert_true(info_of(w, A, B).relayed);
  aq_addr other = w->node[D]->bound, now = info_of(w, A, B).remote;
  assert_true(aq_addr_equal(&other, &now));
  assert_true(f[0].gap < 3 * AQ_S && f[1].gap < 3 * AQ_S);
  world_node_kill(w->node[D]);
  (void)flow_turn(&f[0], w->now, f[0].written + 1000);
  assert_non_null(
      world_wait(w, w->node[A], AQ_EVENT_CONNECTION_LOST, 40 * AQ_S));
  world_del(w);
}

/* A direct path dies for good: the relay is what is left, until it is back. */
static void a_direct_path_dies(void **state) {
  (void)state;
  world *w = stage(1);
  is_blocked = 0;
  over_relay(w, B, AQ_UPGRADE_EVERY);
  flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
  flow_run(w, f, 2, 7 * AQ_S, 1000);
  assert_false(info_of(w, A, B).relayed);
  is_blocked = 1;
  f[0].gap = f[1].gap = 0;
  flow_run(w, f, 2, 12 * AQ_S, 1000);
  assert_true(info_of(w, A, B).relayed && info_of(w, B, A).relayed);
  for (int i = A; i <= B; i++) { /* what is told of it is told of real ones */
    aq_step_record r[AQ_MAX_STEPS];
    aq_endpoint *ep = w->node[i]->ep;
    aq_id conn = aq_endpoint_find_conn(ep, &w->node[i == A ? B : A]->id);
    size_t n = aq_explain(ep, conn, r, AQ_MAX_STEPS);
    assert_true(n > 0);
    for (size_t k = 0; k < n; k++) {
      assert_true(r[k].addr.family != 6);
    }
  }
  assert_true(f[0].gap < 8 * AQ_S && f[1].gap < 8 * AQ_S);
  is_blocked = 0;
  flow_run(w, f, 2, 12 * AQ_S, 1000);
  assert_false(info_of(w, A, B).relayed);
  flow_settles(w, f, 2, 2 * AQ_S);
  nothing_was_lost(w);
  assert_int_equal(world_stats(w, A).upgrades_completed, 2);
  world_del(w);
}

/* B's connection to the relay ends, and A hears of it. */
static void one_end_leaves_the_relay(void **state) {
  (void)state;
  world *w = stage(1);
  over_relay(w, B, AQ_NEVER);
  aq_link *l = world_link(w, C, B);
  aq_conn_close(w->node[C]->ep, w->now, l->pub, 0, "", 0);
  world_run(w, 100 * AQ_MS);
  assert_int_equal(aq_relay_count(w->node[C]->ep->relay), 0);
  aq_endpoint *a = w->node[A]->ep;
  aq_link *of_a = aq_link_get(a, aq_endpoint_find_conn(a, &w->node[B]->id));
  assert_true(of_a->repair.hurry || of_a->repair.suspected);
  world_del(w);
}

/* ---- a peer that becomes a coordinator -------------------------------------
 */

/* Has |n| a coordinator of that peer? */
static const aq_boot *boot_of(world *w, int n, int peer) {
  aq_endpoint *ep = w->node[n]->ep;
  const aq_link *l = world_link(w, n, peer);
  const aq_boot *b = l != NULL ? l->boot : NULL;
  return b != NULL && b->connected && b >= ep->boot ? b : NULL;
}

/* A relayed peer is named as a bootstrap node: it is reached directly, and so
 * is the connection that there is. |asker| made it, so A is its QUIC client or
 * its server. */
static void it_is_named(int asker, int pinned, int blocked) {
  world *w = stage(1);
  world_node_kill(w->node[B]);
  w->node[B]->params.can_coordinate = 1;
  world_node_start(w->node[B]);
  world_run(w, 20 * AQ_S);
  int other = asker == A ? B : A;
  aq_id s, c;
  aq_relay_step step;
  aq_relay_step_init(&step);
  step.upgrade_every = AQ_NEVER;
  aq_endpoint *ep = w->node[asker]->ep;
  assert_int_equal(aq_session_start(ep, w->now, &w->node[other]->id, NULL, 0,
                                    8 * AQ_S, &s, &c),
                   0);
  assert_int_equal(aq_session_relay(ep, w->now, s, &step), 0);
  world_run(w, AQ_S);
  assert_true(info_of(w, A, B).relayed);
  flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
  flow_run(w, f, 2, AQ_S, 1000);
  is_blocked = blocked;
  aq_bootstrap_addr node = {.addr = w->node[B]->bound,
                            .pinned = (uint8_t)pinned,
                            .peer = w->node[B]->id};
  assert_int_equal(aq_endpoint_add_bootstrap(w->node[A]->ep, w->now, &node), 0);
  flow_run(w, f, 2, 4 * AQ_S, 1000);
  assert_int_equal(info_of(w, A, B).relayed, blocked);
  assert_int_equal(info_of(w, B, A).relayed, blocked);
  const aq_boot *b = boot_of(w, A, B);
  assert_int_equal(b != NULL, !blocked);
  assert_int_equal(aq_coord_count(w->node[B]->ep->coord), !blocked);
  if (b != NULL) {
    assert_true(b->can_coordinate);
    assert_true(b->link->registered);
    aq_addr seen = b->observed;
    assert_true(aq_addr_equal(&seen, &w->node[A]->bound));
  }
  flow_settles(w, f, 2, 2 * AQ_S);
  nothing_was_lost(w);
  world_del(w);
}

static void a_relayed_peer_is_named(void **state) {
  (void)state;
  for (int pinned = 0; pinned < 2; pinned++) {
    for (int blocked = 0; blocked < 2; blocked++) {
      it_is_named(A, pinned, blocked);
      it_is_named(B, pinned, blocked);
    }
  }
}

/* The NAT of an end forgets: the tunnel follows the connection to the relay. */
static void a_nat_rebinds(void **state) {
  (void)state;
  for (int renumber = 0; renumber < 2; renumber++) {
    world *w = world_new(3);
    is_blocked = 0;
    for (int i = C; i <= B; i++) {
      world_node *n = i == C ? world_coordinator(w, C, ADDR[C])
                             : world_node_init(w, (size_t)i, ADDR[i], NULL);
      n->params.strategy = AQ_STRATEGY_STEPS;
      n->params.can_relay = 1;
      if (i != C) {
        world_use_bootstrap(n, w->node[C], 1);
        world_behind(n,
                     world_nat_new(i == A ? "198.51.100.1" : "198.51.100.2",
                                   WORLD_APD, WORLD_APD, AQ_NAT_ALLOC_RANDOM));
      }
    }
    world_start_all(w);
    world_run(w, AQ_S);
    over_relay(w, B, AQ_NEVER);
    flow f[2] = {flow_open(w, A, B), flow_open(w, B, A)};
    flow_run(w, f, 2, AQ_S, 1000);
    f[0].gap = f[1].gap = 0;
    world_nat_rebind(w->node[A]->nat, renumber ? "198.51.100.11" : NULL);
    flow_run(w, f, 2, 5 * AQ_S, 1000);
    flow_settles(w, f, 2, 2 * AQ_S);
    nothing_was_lost(w);
    assert_true(f[0].gap < 3 * AQ_S && f[1].gap < 3 * AQ_S);
    assert_true(info_of(w, A, B).relayed);
    world_del(w);
  }
}

/* Nobody uses it any more: both ends are told, and have no other one until the
 * connection is used again; then they have it at once. */
static void an_idle_tunnel_ends(void **state) {
  (void)state;
  for (int from = A; from <= B; from++) {
    world *w = world_new(1);
    is_blocked = 1;
    w->tap = tap;
    for (int i = C; i <= B; i++) {
      world_node *n = i == C ? world_coordinator(w, C, ADDR[C])
                             : world_node_init(w, (size_t)i, ADDR[i], NULL);
      n->params.can_relay = 1;
      n->params.strategy = AQ_STRATEGY_STEPS;
      if (i != C) {
        n->params.keep_alive = 0;
        n->params.idle_timeout = 600 * AQ_S;
        world_use_bootstrap(n, w->node[C], 1);
      }
    }
    world_start_all(w);
    world_run(w, AQ_S);
    over_relay(w, B, AQ_NEVER);
    flow f = flow_open(w, from, from == A ? B : A);
    flow_run(w, &f, 1, AQ_S, 1000);
    flow_settles(w, &f, 1, 70 * AQ_S);
    assert_int_equal(aq_relay_count(w->node[C]->ep->relay), 0);
    for (int i = A; i <= B; i++) {
      assert_int_equal(w->node[i]->ep->ntunnel, 1);
      assert_true(w->node[i]->ep->tunnel[0].over);
    }
    aq_statistics c = world_stats(w, C);
    world_run(w, 60 * AQ_S);
    assert_int_equal(world_stats(w, C).coordinator_requests,
                     c.coordinator_requests);
    f.gap = 0;
    f.last = w->now;
    flow_run(w, &f, 1, AQ_S, 1000);
    flow_settles(w, &f, 1, AQ_S);
    print_message("silent for %d ms\n", (int)(f.gap / AQ_MS));
    assert_true(f.gap < 500 * AQ_MS);
    assert_int_equal(world_stats(w, C).relay_dropped, c.relay_dropped);
    assert_int_equal(aq_relay_count(w->node[C]->ep->relay), 1);
    nothing_was_lost(w);
    world_del(w);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_stranger_gets_nothing_through),
      cmocka_unit_test(replays_and_rubbish_change_nothing),
      cmocka_unit_test(nothing_is_nested),
      cmocka_unit_test(nobody_aims_the_relay),
      cmocka_unit_test(another_key_is_refused),
      cmocka_unit_test(nobody_is_relayed_unasked),
      cmocka_unit_test(no_coordinator_moves_another),
      cmocka_unit_test(a_live_path_stays_direct),
      cmocka_unit_test(who_hides_is_not_coordinated),
      cmocka_unit_test(each_tunnel_has_its_bounds),
      cmocka_unit_test(the_target_decides),
      cmocka_unit_test(two_at_once),
      cmocka_unit_test(more_than_the_rate),
      cmocka_unit_test(one_peer_takes_its_share),
      cmocka_unit_test(all_peers_have_a_bound),
      cmocka_unit_test(the_relay_dies),
      cmocka_unit_test(a_direct_path_dies),
      cmocka_unit_test(one_end_leaves_the_relay),
      cmocka_unit_test(a_relayed_peer_is_named),
      cmocka_unit_test(a_nat_rebinds),
      cmocka_unit_test(an_idle_tunnel_ends),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
