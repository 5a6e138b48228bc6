/* test_attack.c - attacks by those who have a key or a role: peers, peers in
 * numbers, coordinators that lie. What is counted is what they gain.
 *
 * SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "quic/conn_int.h"
#include "quic/endpoint_int.h"

#define A 0
#define B 1
#define C 2
#define D 3

static const char *addr_of[] = {"198.18.0.1:1001", "198.18.1.1:1002",
                                "198.18.2.1:1003", "198.18.3.1:1004"};

static world *some(uint64_t seed, size_t n) {
  world *w = world_new(seed);
  for (size_t i = 0; i < n; i++) {
    world_node_init(w, i, addr_of[i], NULL);
  }
  return w;
}

/* A and B use C as their coordinator. */
static world *trio_with(uint64_t seed, aq_pqc pqc) {
  world *w = some(seed, 3);
  world_node *c = w->node[C];
  c->params.role = AQ_ROLE_BOOTSTRAP;
  c->params.can_coordinate = 1;
  c->params.enable_relay_fallback = 0;
  for (int i = A; i <= B; i++) {
    w->node[i]->params.role = AQ_ROLE_CLIENT;
    w->node[i]->params.pqc = pqc;
    world_use_bootstrap(w->node[i], c, 1);
  }
  world_start_all(w);
  world_run(w, 2 * AQ_S);
  return w;
}

static world *trio(uint64_t seed) {
  return trio_with(seed, AQ_PQC_OFF);
}

static void push(world *w, int node, aq_link *l) {
  aq_link_touch(l);
  aq_ep_settle(w->node[node]->ep);
}

/* ---- a peer that claims another's address
 * ---------------------------------------- */

static aq_addr victim;
static int spoofing;
static uint64_t told_off; /* datagrams of others than C to the victim */
static uint64_t claimed;  /* bytes that came from there, as it seems */

static int spoof(world *w, const aq_addr *from, const aq_addr *to,
                 uint8_t *data, size_t *len) {
  if (aq_addr_equal(to, &victim) && !aq_addr_equal(from, &w->node[C]->bound)) {
    told_off++;
  }
  if (spoofing && aq_addr_equal(from, &w->node[A]->bound) &&
      aq_addr_equal(to, &w->node[C]->bound)) {
    claimed += *len;
    world_inject(w, &victim, to, data, *len);
    return 0;
  }
  return 1;
}

/* A sends its packets from a victim's address. Until that path is validated,
 * which never happens, C vouches for it to nobody. */
static void unproven_path(int asker, int target) {
  world *w = trio(1);
  victim = util_addr("203.0.113.9:53");
  told_off = claimed = 0;
  w->tap = spoof;
  spoofing = 1;
  aq_link *l = world_link(w, A, C);
  aq_conn_ping_now(l->c, w->now);
  push(w, A, l);
  world_run(w, 15 * AQ_MS);
  assert_true(aq_addr_equal(&world_link(w, C, A)->remote, &victim));
  aq_id s, conn;
  assert_int_equal(aq_session_start(w->node[asker]->ep, w->now,
                                    &w->node[target]->id, NULL, 0, 5 * AQ_S, &s,
                                    &conn),
                   0);
  world_run(w, 200 * AQ_MS);
  aq_statistics st;
  aq_endpoint_get_statistics(w->node[C]->ep, &st);
  assert_true(st.coordinator_offers > 0);
  world_run(w, 6 * AQ_S);
  assert_int_equal(told_off, 0);
  /* C itself sends at most thrice of what it got (RFC 9000 section 8). */
  const world_seen *seen = world_seen_at(w, &victim);
  assert_true(seen == NULL || seen->bytes <= 3 * claimed);
  world_del(w);
}

static void test_unproven_path_of_asker(void **state) {
  (void)state;
  unproven_path(A, B);
}

static void test_unproven_path_of_target(void **state) {
  (void)state;
  unproven_path(B, A);
}

static uint64_t hello, flight; /* bytes of A to B, and of what B answers */

static int one_initial(world *w, const aq_addr *from, const aq_addr *to,
                       uint8_t *data, size_t *len) {
  if ((data[0] & 0x80) == 0 || aq_addr_equal(from, &w->node[C]->bound) ||
      aq_addr_equal(to, &w->node[C]->bound)) {
    return 1;
  }
  if (aq_addr_equal(from, &w->node[B]->bound)) {
    flight += *len;
    return 0;
  }
  if (hello > 0) {
    return 0;
  }
  hello = *len;
  return 1;
}

/* B expects A's handshake, and an Initial comes from there: whoever sent it. */
static void test_unproven_handshake(void **state) {
  (void)state;
  world *w = trio(1);
  hello = flight = 0;
  w->tap = one_initial;
  aq_id s, conn;
  assert_int_equal(aq_session_start(w->node[A]->ep, w->now, &w->node[B]->id,
                                    NULL, 0, 5 * AQ_S, &s, &conn),
                   0);
  world_run(w, 6 * AQ_S);
  assert_in_range(hello, 1200, 1500);
  assert_in_range(flight, 1, 3 * hello);
  world_del(w);
}

/* ---- peers that talk too much
 * ---------------------------------------------------- */

static void observe(world *w, int from, int to, uint64_t seq,
                    const char *addr) {
  aq_frame f;
  uint8_t buf[AQ_FRAME_MAX];
  memset(&f, 0, sizeof(f));
  f.kind = AQ_FRAME_OBSERVED_ADDRESS;
  f.seq = seq;
  f.addr = util_addr(addr);
  size_t n = aq_frame_format(AQ_DIALECT_SEEMANN02, buf, sizeof(buf), &f);
  aq_link *l = world_link(w, from, to);
  (void)aq_carrier_queue_raw(&l->c->carrier, buf, n, 0);
  l->c->dirty = 1;
  push(w, from, l);
}

static void test_observation_flood(void **state) {
  (void)state;
  world *w = some(2, 2);
  world_start_all(w);
  world_dial(w, A, B, 1);
  world_wait_conn(w, A);
  world_run(w, AQ_S);
  world_clear(w->node[B]);
  for (uint64_t i = 0; i < 2000; i++) {
    observe(w, A, B, 1000 + i, i & 1 ? "203.0.113.1:1" : "203.0.113.2:2");
    if (i % 20 == 19) {
      world_run(w, 25 * AQ_MS);
    }
  }
  aq_statistics st;
  aq_endpoint_get_statistics(w->node[B]->ep, &st);
  assert_true(st.observed_address_received > 1000);
  assert_in_range(world_count(w->node[B], AQ_EVENT_ADDRESS_OBSERVED), 1, 60);
  world_del(w);
}

static void register_as(world *w, const char *addr) {
  aq_ctl m;
  memset(&m, 0, sizeof(m));
  m.type = AQ_CTL_REGISTERED;
  m.capabilities = AQ_CTL_CAP_COORDINATE;
  m.observed = util_addr(addr);
  aq_link *l = world_link(w, C, B);
  (void)aq_ctl_send(l, &m);
  push(w, C, l);
}

/* REGISTERED may be there before the first frame: it is told of then, and not
 * again by the frame. A flood of either is held down alike. */
static void test_observed_by_registration(void **state) {
  (void)state;
  const aq_event_kind kind = AQ_EVENT_ADDRESS_OBSERVED;
  world *w = trio(5);
  assert_int_equal(world_count(w->node[B], kind), 1);
  aq_link *l = world_link(w, B, C);
  l->obs_frames = 0;
  l->obs_seen = 0;
  memset(&l->observed, 0, sizeof(l->observed));
  world_clear(w->node[B]);
  register_as(w, "203.0.113.7:7");
  world_run(w, AQ_S);
  assert_int_equal(world_count(w->node[B], kind), 1);
  const aq_event *e = world_find(w->node[B], kind);
  aq_addr seen = util_addr("203.0.113.7:7");
  assert_true(aq_addr_equal(&e->addr, &seen) && e->conn == l->pub);
  observe(w, C, B, 1000, "203.0.113.7:7");
  world_run(w, AQ_S);
  assert_int_equal(world_count(w->node[B], kind), 1);
  assert_true(l->obs_frames);
  l->obs_frames = 0;
  world_clear(w->node[B]);
  for (int i = 0; i < 100; i++) {
    register_as(w, i & 1 ? "203.0.113.1:1" : "203.0.113.2:2");
    world_run(w, 20 * AQ_MS);
  }
  assert_in_range(world_count(w->node[B], kind), 20, 32);
  world_del(w);
}

/* Two peers that agree on ever new addresses of B don't make B a nuisance to
 * its coordinator, which would hang up. */
static void test_flapping_candidates(void **state) {
  (void)state;
  world *w = some(3, 4);
  world_node *c = w->node[C];
  c->params.role = AQ_ROLE_BOOTSTRAP;
  c->params.can_coordinate = 1;
  c->params.enable_relay_fallback = 0;
  world_use_bootstrap(w->node[B], c, 1);
  world_start_all(w);
  world_run(w, AQ_S);
  world_dial(w, A, B, 1);
  world_dial(w, D, B, 1);
  world_run(w, AQ_S);
  world_clear(w->node[B]);
  aq_statistics was, st;
  aq_endpoint_get_statistics(w->node[B]->ep, &was);
  for (uint64_t i = 0; i < 1000; i++) {
    char addr[32];
    snprintf(addr, sizeof(addr), "203.0.113.7:%u", 2000 + (unsigned)i);
    observe(w, A, B, 1000 + i, addr);
    observe(w, D, B, 1000 + i, addr);
    world_run(w, 4 * AQ_MS);
  }
  world_run(w, 2 * AQ_S);
  aq_endpoint_get_statistics(w->node[B]->ep, &st);
  assert_null(world_find(w->node[B], AQ_EVENT_BOOTSTRAP_LOST));
  assert_in_range(st.control_messages_sent - was.control_messages_sent, 0, 60);
  assert_in_range(st.add_address_sent - was.add_address_sent, 0, 300);
  /* And the coordinator knows the last set. */
  aq_link *l = world_link(w, B, C);
  aq_conn_ping_now(l->c, w->now);
  push(w, B, l);
  world_run(w, AQ_S);
  assert_int_equal(l->reg_gen, w->node[B]->ep->cand_gen);
  world_del(w);
}

/* Chatter never costs the application an event that it waits for. */
static void test_events_that_stay(void **state) {
  (void)state;
  world *w = some(4, 1);
  world_start_all(w);
  aq_endpoint *ep = w->node[A]->ep;
  for (int i = 0; i < 3 * AQ_EVENT_RING; i++) {
    aq_ep_event(ep, AQ_EVENT_ADDRESS_OBSERVED);
    aq_ep_event(ep, AQ_EVENT_PATH_CHANGED);
    aq_ep_event(ep, AQ_EVENT_CANDIDATE_DISCOVERED);
    aq_ep_event(ep, AQ_EVENT_PHASE_TRANSITION);
  }
  for (int i = 0; i < 100; i++) {
    aq_ep_event(ep, AQ_EVENT_CONNECTION_LOST)->conn = 7;
  }
  aq_event e;
  int lost = 0, told = 0;
  while (aq_endpoint_poll_event(ep, &e)) {
    lost += e.kind == AQ_EVENT_CONNECTION_LOST && e.conn == 7;
    told += e.kind == AQ_EVENT_EVENTS_LOST;
  }
  assert_int_equal(lost, 100);
  assert_true(told > 0);
  world_del(w);
}

/* Thousands who ask for one peer at once through an honest coordinator. */
static void test_many_askers(void **state) {
  (void)state;
  aq_coord *c;
  aq_coord_params p;
  aq_statistics st;
  aq_coord_msg out[AQ_COORD_OUT_MAX];
  uint8_t random[AQ_CTL_SESSION_LEN + AQ_PUNCH_KEY_LEN];
  memset(&st, 0, sizeof(st));
  aq_coord_params_init(&p);
  assert_int_equal(aq_coord_new(&c, &p, NULL), 0);
  aq_coord_peer target = {.conn = 1, .rtt = AQ_MS};
  target.peer.bytes[0] = 1;
  target.addr = util_addr("20.0.0.1:5000");
  size_t offers = 0;
  for (uint32_t i = 0; i < 1000; i++) {
    aq_coord_peer from = {.conn = 100 + i, .rtt = AQ_MS};
    from.peer.bytes[1] = (uint8_t)(i >> 8);
    from.peer.bytes[2] = (uint8_t)i;
    from.peer.bytes[3] = 9;
    from.addr = util_addr("20.0.1.1:5000");
    aq_ctl m;
    memset(&m, 0, sizeof(m));
    m.type = AQ_CTL_REGISTER;
    memset(random, (int)i, sizeof(random));
    if (i == 0) {
      aq_coord_handle(c, AQ_S, &target, &m, NULL, random, out, &st);
    }
    aq_coord_handle(c, AQ_S, &from, &m, NULL, random, out, &st);
    m.type = AQ_CTL_REQUEST;
    m.request = i;
    m.peer = target.peer;
    size_t n = aq_coord_handle(c, AQ_S + i * AQ_MS, &from, &m, &target, random,
                               out, &st);
    assert_true(n >= 1); /* never silence */
    offers += n == 2;
  }
  /* 50 at once and 50 in the second; a target takes 100 a second. */
  assert_in_range(offers, 50, 101);
  aq_coord_del(c);
}

/* ---- a coordinator that lies to an initiator
 * ----------------------------------------- */

static aq_session *only_session(world *w, int n) {
  aq_endpoint *ep = w->node[n]->ep;
  assert_false(aq_list_is_empty(&ep->sessions));
  return aq_list_entry(aq_list_first(&ep->sessions), aq_session, node);
}

static uint64_t request_of(const aq_session *s) {
  return s->trav->ask[0].sent ? s->trav->ask[0].request : 0;
}

/* What C itself says to it doesn't count. */
static void deafen(aq_session *s) {
  s->trav->ask[0].request = 0;
  s->trav->agreed[0].request = 0;
}

static aq_ctl forged_answer(const aq_session *s, unsigned count, int same) {
  aq_ctl m;
  memset(&m, 0, sizeof(m));
  m.type = AQ_CTL_ANSWER;
  m.request = request_of(s);
  m.peer = s->peer;
  memset(m.session, 0x51, sizeof(m.session));
  memset(m.key, 0x52, sizeof(m.key));
  m.rtt_us = 1;
  m.expiry_ms = UINT64_MAX;
  m.start_delay_us = UINT64_MAX;
  m.observed = util_addr("198.18.0.1:1001");
  for (m.cand_count = 0; m.cand_count < count; m.cand_count++) {
    aq_candidate *c = &m.cand[m.cand_count];
    c->addr = util_addr("203.0.113.1:5000");
    c->addr.ip[3] = same ? 1 : (uint8_t)(m.cand_count + 1);
    c->addr.port = (uint16_t)(5000 + m.cand_count);
    c->verified = 1;
    c->source = AQ_SOURCE_OBSERVED;
    c->priority = 1000;
  }
  return m;
}

static void sum_seen(const world *w, uint64_t *initials, uint64_t *bytes) {
  *initials = *bytes = 0;
  for (size_t i = 0; i < w->nseen; i++) {
    *initials += w->seen[i].initials;
    *bytes += w->seen[i].bytes;
  }
}

/* Starts a session to nobody at A; C answers with lies whenever it is asked. */
static uint64_t lies(world *w, unsigned count, int same, int wrong_peer) {
  aq_id id, conn;
  aq_peer_id nobody;
  memset(&nobody, 0x77, sizeof(nobody));
  assert_int_equal(aq_session_start(w->node[A]->ep, w->now, &nobody, NULL, 0,
                                    30 * AQ_S, &id, &conn),
                   0);
  uint64_t asked = 0;
  for (int i = 0; i < 6000; i++) {
    if (aq_list_is_empty(&w->node[A]->ep->sessions)) {
      break;
    }
    aq_session *s = only_session(w, A);
    if (request_of(s) != 0 && aq_trav_phase(s->trav) == AQ_PHASE_COORDINATION) {
      aq_ctl m = forged_answer(s, count, same);
      m.peer.bytes[0] ^= (uint8_t)wrong_peer;
      memset(m.session, (int)(0x60 + asked), sizeof(m.session));
      asked++;
      aq_session_answer(world_link(w, A, C), &m);
      deafen(s);
      aq_ep_settle(w->node[A]->ep);
      if (wrong_peer) {
        return asked;
      }
    }
    world_run(w, 10 * AQ_MS);
  }
  return asked;
}

static void test_answer_of_lies(void **state) {
  (void)state;
  for (int k = 0; k < 4; k++) {
    int same = k & 1;
    world *w = trio_with(5, k & 2 ? AQ_PQC_HYBRID : AQ_PQC_OFF);
    uint64_t initials, bytes;
    uint64_t attempts = lies(w, 32, same, 0);
    assert_in_range(attempts, 1, 16);
    sum_seen(w, &initials, &bytes);
    print_message("answer of lies: %llu attempts, %llu Initials, %llu bytes\n",
                  (unsigned long long)attempts, (unsigned long long)initials,
                  (unsigned long long)bytes);
    /* One verified address an attempt, and 8 Initials in 10 s; all attempts
     * together take 30. */
    assert_in_range(initials, 1, 24);
    world_del(w);
  }
}

static void test_answer_for_another(void **state) {
  (void)state;
  world *w = trio(6);
  lies(w, 32, 0, 1);
  world_run(w, 60 * AQ_S);
  assert_int_equal(w->nseen, 0);
  world_del(w);
}

/* The coordinator knows the punch key, and sends probes from addresses of
 * others. */
static void test_forged_punches(void **state) {
  (void)state;
  world *w = trio(7);
  aq_id id, conn;
  aq_peer_id nobody;
  memset(&nobody, 0x77, sizeof(nobody));
  assert_int_equal(aq_session_start(w->node[A]->ep, w->now, &nobody, NULL, 0,
                                    30 * AQ_S, &id, &conn),
                   0);
  aq_session *s = only_session(w, A);
  assert_true(request_of(s) != 0);
  aq_ctl m = forged_answer(s, 1, 1);
  aq_session_answer(world_link(w, A, C), &m);
  deafen(s);
  aq_ep_settle(w->node[A]->ep);
  for (uint32_t i = 1; i <= 300; i++) {
    aq_punch p;
    uint8_t buf[AQ_PUNCH_LEN];
    memset(&p, 0, sizeof(p));
    p.type = AQ_PUNCH_PROBE;
    memcpy(p.session, m.session, sizeof(p.session));
    p.seq = i;
    p.echo = i;
    assert_int_equal(aq_punch_format(buf, &p, m.key, aq_crypto_mac16), 0);
    aq_addr from = util_addr("203.0.114.1:9000");
    from.ip[3] = (uint8_t)(1 + i % 40);
    world_inject(w, &from, &w->node[A]->bound, buf, sizeof(buf));
    world_run(w, 20 * AQ_MS);
  }
  world_run(w, 30 * AQ_S);
  uint64_t initials, bytes;
  sum_seen(w, &initials, &bytes);
  print_message("forged punches: %llu Initials, %llu bytes, %zu addresses\n",
                (unsigned long long)initials, (unsigned long long)bytes,
                w->nseen);
  /* Eight dials an attempt, of 3 s each. */
  assert_in_range(initials, 0, 3 * AQ_TRAV_MAX_DIALS * 12);
  for (size_t i = 0; i < w->nseen; i++) {
    assert_in_range(w->seen[i].initials, 0, 3 * 12);
  }
  world_del(w);
}

/* ---- one key, many connections
 * --------------------------------------------------- */

static void test_many_of_one_key(void **state) {
  (void)state;
  world *w = some(8, 2);
  world_start_all(w);
  world_dial(w, A, B, 1);
  world_wait_conn(w, A);
  world_run(w, AQ_S);
  aq_id first = world_only_conn(w->node[B]);
  world_clear(w->node[B]);
  aq_usage u;
  uint64_t peak = 0;
  for (int i = 0; i < 300; i++) {
    aq_id id;
    aq_endpoint *ep = w->node[A]->ep;
    (void)aq_connect_addr(ep, w->now, &w->node[B]->bound, NULL, NULL, 5 * AQ_S,
                          &id);
    world_run(w, 10 * AQ_MS);
    aq_endpoint_get_usage(w->node[B]->ep, &u);
    peak = u.connections > peak ? u.connections : peak;
  }
  print_message("many of one key: %llu at once\n", (unsigned long long)peak);
  world_run(w, 10 * AQ_S);
  assert_null(world_find(w->node[B], AQ_EVENT_CONNECTION_LOST));
  assert_null(world_find(w->node[B], AQ_EVENT_CONNECTION_ESTABLISHED));
  assert_int_equal(world_only_conn(w->node[B]), first);
  aq_endpoint_get_usage(w->node[B]->ep, &u);
  assert_int_equal(u.connections, 1);
  world_del(w);
}

/* ---- any frame, from a peer with a key
 * ------------------------------------------------ */

static size_t put_varint(uint8_t *p, aq_rand *r) {
  switch (aq_rand_below(r, 4)) {
  case 0:
    p[0] = (uint8_t)aq_rand_below(r, 64);
    return 1;
  case 1:
    p[0] = (uint8_t)(0x40 | aq_rand_below(r, 64));
    p[1] = (uint8_t)aq_rand_u64(r);
    return 2;
  case 2:
    p[0] = (uint8_t)(0x80 | aq_rand_below(r, 64));
    break;
  default:
    p[0] = (uint8_t)aq_rand_below(r, 8);
    return 1;
  }
  p[1] = p[2] = 0;
  p[3] = (uint8_t)aq_rand_u64(r);
  return 4;
}

static size_t any_frame(uint8_t out[AQ_FRAME_MAX], aq_rand *r) {
  static const uint8_t types[] = {0x01, 0x04, 0x05, 0x06, 0x07, 0x0a, 0x0e,
                                  0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x16,
                                  0x18, 0x19, 0x1a, 0x1b, 0x1e, 0x30, 0x02};
  size_t n = 0;
  out[n++] = types[aq_rand_below(r, sizeof(types))];
  while (n + 4 < AQ_FRAME_MAX && aq_rand_below(r, 5) != 0) {
    n += put_varint(out + n, r);
  }
  while (n < AQ_FRAME_MAX && aq_rand_below(r, 3) == 0) {
    out[n++] = (uint8_t)aq_rand_u64(r);
  }
  if (out[0] == 0x1a || out[0] == 0x1b) {
    n = 9; /* PATH_CHALLENGE and PATH_RESPONSE hold eight bytes */
  } else if (out[0] == 0x19 && aq_rand_below(r, 2)) {
    n = 2;
    out[1] = (uint8_t)aq_rand_below(r, 9);
  }
  return n;
}

static void test_any_frame(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 150; seed++) {
    world *w = some(1000 + seed, 2);
    world_start_all(w);
    world_dial(w, A, B, 1);
    world_wait_conn(w, A);
    world_run(w, AQ_S);
    aq_rand r;
    aq_rand_init(&r, seed);
    int from = seed & 1 ? B : A, to = seed & 1 ? A : B;
    for (int i = 0; i < 60; i++) {
      aq_id id = aq_endpoint_find_conn(w->node[from]->ep, &w->node[to]->id);
      if (id == 0) {
        break;
      }
      uint8_t buf[AQ_FRAME_MAX];
      memset(buf, 0, sizeof(buf));
      size_t n = any_frame(buf, &r);
      aq_link *l = aq_link_get(w->node[from]->ep, id);
      (void)aq_carrier_queue_raw(&l->c->carrier, buf, n, 0);
      l->c->dirty = 1;
      push(w, from, l);
      world_run(w, aq_rand_below(&r, 30) * AQ_MS);
    }
    world_run(w, 5 * AQ_S);
    aq_usage u;
    aq_endpoint_get_usage(w->node[to]->ep, &u);
    assert_true(u.memory < 4000000);
    world_del(w);
  }
}

/* PATH_CHALLENGE and RETIRE_CONNECTION_ID without end: what is sent for it is
 * less than what came, and nothing is kept. */
static void test_churn(void **state) {
  (void)state;
  world *w = some(9, 2);
  world_start_all(w);
  world_dial(w, A, B, 1);
  world_wait_conn(w, A);
  world_run(w, AQ_S);
  aq_usage before, u;
  aq_endpoint_get_usage(w->node[B]->ep, &before);
  uint64_t tx = w->node[B]->tx_bytes, rx = w->node[B]->rx_bytes;
  for (int i = 0; i < 2000; i++) {
    uint8_t challenge[9] = {0x1a,      1, 2, 3, 4, 5, 6, (uint8_t)(i >> 8),
                            (uint8_t)i};
    aq_id id = aq_endpoint_find_conn(w->node[A]->ep, &w->node[B]->id);
    assert_true(id != 0);
    aq_link *l = aq_link_get(w->node[A]->ep, id);
    (void)aq_carrier_queue_raw(&l->c->carrier, challenge, 9, 0);
    l->c->dirty = 1;
    push(w, A, l);
    world_run(w, 2 * AQ_MS);
  }
  world_run(w, AQ_S);
  aq_endpoint_get_usage(w->node[B]->ep, &u);
  print_message("challenges: %llu bytes came, %llu went\n",
                (unsigned long long)(w->node[B]->rx_bytes - rx),
                (unsigned long long)(w->node[B]->tx_bytes - tx));
  assert_true(u.memory < before.memory + 100000);
  world_del(w);
}

static uint64_t spoofed_bytes;

static int spoof_to_b(world *w, const aq_addr *from, const aq_addr *to,
                      uint8_t *data, size_t *len) {
  if (aq_addr_equal(from, &w->node[A]->bound) &&
      aq_addr_equal(to, &w->node[B]->bound)) {
    spoofed_bytes += *len;
    world_inject(w, &victim, to, data, *len);
    return 0;
  }
  return 1;
}

/* PATH_CHALLENGE from another's address: RFC 9000 section 8.2.2. */
static void test_spoofed_challenges(void **state) {
  (void)state;
  world *w = some(11, 2);
  world_start_all(w);
  world_dial(w, A, B, 1);
  world_wait_conn(w, A);
  world_run(w, AQ_S);
  victim = util_addr("203.0.113.9:5000");
  spoofed_bytes = 0;
  w->tap = spoof_to_b;
  for (int i = 0; i < 500; i++) {
    uint8_t challenge[9] = {0x1a,      1, 2, 3, 4, 5, 6, (uint8_t)(i >> 8),
                            (uint8_t)i};
    aq_link *l = world_link(w, A, B);
    (void)aq_carrier_queue_raw(&l->c->carrier, challenge, 9, 0);
    l->c->dirty = 1;
    push(w, A, l);
    world_run(w, 2 * AQ_MS);
  }
  world_run(w, AQ_S);
  const world_seen *seen = world_seen_at(w, &victim);
  uint64_t got = seen != NULL ? seen->bytes : 0;
  print_message("spoofed challenges: %llu bytes came, %llu to the victim\n",
                (unsigned long long)spoofed_bytes, (unsigned long long)got);
  assert_true(got <= 3 * spoofed_bytes);
  world_del(w);
}

/* A asks for much and moves to another's address: until that is validated, B
 * sends at most three times what came from there (RFC 9000 section 9.3). */
static void test_stolen_stream(void **state) {
  (void)state;
  world *w = some(12, 2);
  world_start_all(w);
  world_dial(w, A, B, 1);
  world_wait_conn(w, A);
  world_run(w, AQ_S);
  static uint8_t big[200000];
  aq_id conn = aq_endpoint_find_conn(w->node[B]->ep, &w->node[A]->id), s;
  size_t n;
  assert_int_equal(aq_stream_open(w->node[B]->ep, w->now, conn, 0, 0, &s), 0);
  victim = util_addr("203.0.113.9:5000");
  spoofed_bytes = 0;
  w->tap = spoof_to_b;
  for (int i = 0; i < 200; i++) {
    (void)aq_stream_write(w->node[B]->ep, w->now, s, big, sizeof(big), &n);
    aq_link *l = world_link(w, A, B);
    aq_conn_ping_now(l->c, w->now);
    push(w, A, l);
    world_run(w, 5 * AQ_MS);
  }
  world_run(w, 5 * AQ_S);
  const world_seen *seen = world_seen_at(w, &victim);
  uint64_t got = seen != NULL ? seen->bytes : 0;
  print_message("stolen stream: %llu bytes came, %llu to the victim\n",
                (unsigned long long)spoofed_bytes, (unsigned long long)got);
  assert_true(got > 0 && got <= 3 * spoofed_bytes);
  world_del(w);
}

/* ---- a key update at once
 * ------------------------------------------------------------ */

static void test_early_key_update(void **state) {
  (void)state;
  world *w = some(10, 2);
  world_start_all(w);
  aq_id id = world_dial(w, A, B, 1);
  for (int i = 0; i < 40; i++) {
    (void)aq_conn_update_keys(w->node[A]->ep, w->now, id);
    aq_id other = aq_endpoint_find_conn(w->node[B]->ep, &w->node[A]->id);
    if (other != 0) {
      (void)aq_conn_update_keys(w->node[B]->ep, w->now, other);
    }
    world_run(w, 5 * AQ_MS);
  }
  world_run(w, AQ_S);
  assert_true(aq_endpoint_find_conn(w->node[B]->ep, &w->node[A]->id) != 0);
  world_talk(w, A, id, B);
  world_del(w);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unproven_path_of_asker),
      cmocka_unit_test(test_unproven_path_of_target),
      cmocka_unit_test(test_unproven_handshake),
      cmocka_unit_test(test_observation_flood),
      cmocka_unit_test(test_observed_by_registration),
      cmocka_unit_test(test_flapping_candidates),
      cmocka_unit_test(test_events_that_stay),
      cmocka_unit_test(test_many_askers),
      cmocka_unit_test(test_answer_of_lies),
      cmocka_unit_test(test_answer_for_another),
      cmocka_unit_test(test_forged_punches),
      cmocka_unit_test(test_many_of_one_key),
      cmocka_unit_test(test_any_frame),
      cmocka_unit_test(test_churn),
      cmocka_unit_test(test_spoofed_challenges),
      cmocka_unit_test(test_stolen_stream),
      cmocka_unit_test(test_early_key_update),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
