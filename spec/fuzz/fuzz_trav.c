/* fuzz_trav.c - one session and a stream of calls in any order, with what must
 * hold after each.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/addr.h"
#include "proto/disc.h"
#include "proto/guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const aq_addr COORDINATOR = {4, 9000, {198, 18, 0, 1}, 0};

#define MUST(x)                                                                \
  do {                                                                         \
    if (!(x)) {                                                                \
      fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #x);    \
      abort();                                                                 \
    }                                                                          \
  } while (0)

static const uint8_t *in;
static size_t left;

static uint8_t u8(void) {
  if (!left) {
    return 0;
  }
  left--;
  return *in++;
}

static uint64_t u64(void) {
  uint64_t v = 0;
  for (int i = 0; i < 8; i++) {
    v = v << 8 | u8();
  }
  return v;
}

/* Few different ones, so that they meet again; some are forbidden. */
static aq_addr some_addr(void) {
  static const uint8_t v4[8][4] = {
      {20, 0, 0, 1},  {20, 0, 0, 2},    {10, 0, 0, 1},   {127, 0, 0, 1},
      {224, 0, 0, 1}, {192, 168, 1, 1}, {198, 18, 0, 1}, {0, 0, 0, 0}};
  static const uint8_t v6[2][16] = {{0x20, 0x01, 0x0d, 0xb8, 1},
                                    {0x2a, 0x00, 1, 1}};
  uint8_t b = u8();
  uint16_t port = (uint16_t)(b >> 3 ? 1000 + (b >> 3) : u8());
  return b & 4 ? aq_addr_v6(v6[b & 1], port) : aq_addr_v4(v4[b & 7], port);
}

typedef struct world {
  aq_trav t;
  aq_tstamp now;
  uint64_t request;
  uint8_t phase;
  int done, poll;
  uint32_t dials[64]; /* polled and neither hung up nor ended */
  size_t ndial;
  uint32_t asked; /* sockets of the last OPEN that were not reported */
  uint8_t allowed;
  uint32_t next_socket;
  uint64_t guesses; /* probes to guessed ports in one plan */
} world;

static void dial_gone(world *w, uint32_t dial) {
  for (size_t i = 0; i < w->ndial; i++) {
    if (w->dials[i] == dial) {
      w->dials[i] = w->dials[--w->ndial];
      return;
    }
  }
  MUST(!"a dial that was never started");
}

static void check_action(world *w, const aq_trav_action *a) {
  MUST(!w->done);
  switch (a->kind) {
  case AQ_TRAV_DIAL:
    MUST(w->ndial < AQ_TRAV_MAX_DIALS);
    MUST(a->dial != 0 && a->timeout != 0 && a->addr.family != 0);
    w->dials[w->ndial++] = a->dial;
    break;
  case AQ_TRAV_HANGUP:
    dial_gone(w, a->dial);
    break;
  case AQ_TRAV_PUNCH:
    MUST(a->addr.family != 0 && a->addr.port != 0);
    MUST(a->ttl <= 9);
    w->guesses += a->guess;
    MUST(w->guesses <= AQ_HARD_PROBES + AQ_MAX_EXTRA_SOCKETS);
    MUST(a->punch.type >= AQ_PUNCH_PROBE && a->punch.type <= AQ_PUNCH_OPENER);
    break;
  case AQ_TRAV_CANCEL:
    MUST(a->request != 0 && a->conn != 0);
    break;
  case AQ_TRAV_VETO:
    MUST(a->conn != 0 && a->error != 0); /* its agreement may be forgotten */
    break;
  case AQ_TRAV_OPEN:
    MUST(a->count <= AQ_MAX_EXTRA_SOCKETS && a->guesses <= AQ_HARD_PROBES);
    MUST(a->addr.family != 0);
    w->asked = a->count;
    w->allowed = 0;
    w->guesses = 0;
    break;
  case AQ_TRAV_OBSERVE:
    MUST(a->socket >= AQ_MAX_SOCKETS);
    break;
  case AQ_TRAV_HINT:
    MUST(a->hint.plan != AQ_PLAN_PUNCH && a->hint.plan < AQ_PLAN__COUNT);
    MUST(a->hint.cookie != 0 && a->hint.count <= AQ_MAX_EXTRA_SOCKETS);
    break;
  case AQ_TRAV_CLOSE:
    w->asked = 0;
    break;
  case AQ_TRAV_WATCH:
    MUST(a->conn != 0);
    break;
  case AQ_TRAV_TUNNEL:
    MUST(w->t.plan == AQ_PLAN_RELAY && a->conn != 0);
    break;
  case AQ_TRAV_DONE:
    MUST(aq_trav_is_over(&w->t));
    MUST((a->error == 0) == (aq_trav_phase(&w->t) == AQ_PHASE_CONNECTED));
    if (a->dial) {
      dial_gone(w, a->dial);
    }
    MUST(w->ndial == 0);
    w->done = 1;
    break;
  default:
    break;
  }
}

static void drain(world *w) {
  aq_trav_action a;
  aq_event e;
  while (aq_trav_poll_action(&w->t, w->now, &a)) {
    check_action(w, &a);
    if (a.kind == AQ_TRAV_REQUEST) {
      uint8_t b = u8();
      if (b & 1) {
        aq_trav_handle_requested(&w->t, w->now, a.ask, a.conn ? a.conn : 7,
                                 &COORDINATOR, b * AQ_MS, ++w->request);
      } else if (b & 2) {
        aq_trav_handle_unasked(&w->t, w->now, a.ask, AQ_ERR_PEER_NOT_CONNECTED);
      }
    } else if (a.kind == AQ_TRAV_TUNNEL) {
      uint8_t b = u8();
      if (b & 3) {
        aq_trav_handle_tunnel(&w->t, w->now, &COORDINATOR,
                              b & 4 ? AQ_ERR_LIMIT : 0);
      }
    }
  }
  while (aq_trav_poll_event(&w->t, &e)) {
    if (e.kind == AQ_EVENT_PHASE_TRANSITION && w->t.events_lost == 0) {
      MUST(e.from == w->phase);
      w->phase = (uint8_t)e.to;
    }
    MUST(memchr(e.text, 0, sizeof(e.text)) != NULL);
  }
}

static int is_rule(unsigned from, unsigned to) {
  size_t n;
  const aq_trav_rule *r = aq_trav_rules(&n);
  for (size_t i = 0; i < n; i++) {
    if (r[i].from == from && r[i].to == to) {
      return 1;
    }
  }
  return 0;
}

/* Not instrumented: it is most of the work, and tells nothing of the code. */
__attribute__((no_sanitize("coverage"))) static void check(world *w) {
  const aq_trav *t = &w->t;
  MUST(t->npair <= AQ_TRAV_MAX_PAIRS && t->nremote <= AQ_MAX_CANDIDATES);
  MUST(t->action_count <= AQ_TRAV_MAX_ACTIONS);
  MUST(t->event_count <= AQ_TRAV_MAX_EVENTS);
  MUST(t->nrecord <= AQ_MAX_STEPS);
  MUST(t->hard.nsock <= AQ_MAX_EXTRA_SOCKETS);
  MUST(t->hard.nlook <= AQ_HARD_MAX_LOOKS &&
       t->hard.nhint <= AQ_HARD_MAX_LOOKS);
  MUST(t->hard.stage != AQ_HARD_RUNNING || t->hard.role != AQ_HARD_SPRAYER ||
       t->hard.guess.next <= t->hard.guess.count);
  MUST(aq_trav_dials(t, 2) <= AQ_TRAV_DIALS_AT_ONCE);
  MUST(t->dials_used <= AQ_TRAV_MAX_DIALS);
  MUST(t->phase < AQ_PHASE__COUNT);
  int end = t->phase == AQ_PHASE_CONNECTED || t->phase == AQ_PHASE_FAILED;
  MUST(end == aq_trav_is_over(t));
  if (end) {
    MUST(aq_trav_next_timeout(t) == AQ_NEVER);
    MUST(aq_trav_dials(t, 3) == 0);
  } else if (t->p.timeout) {
    MUST(aq_trav_next_timeout(t) != AQ_NEVER);
  }
  MUST(aq_trav_asks(t) == 0 || t->phase == AQ_PHASE_COORDINATION);
  /* Who doesn't drain has asked nobody, and waits for the step's time-out. */
  MUST((t->phase == AQ_PHASE_COORDINATION) <=
       (aq_trav_asks(t) > 0 || t->actions_lost > 0));
  MUST(t->nagreed <= AQ_MAX_ASKED && (!t->synced || t->nagreed > 0));
  MUST(!t->initiator || !t->synced || t->nagreed == 1);
  MUST(!t->settled || t->nagreed <= 1);
  for (size_t i = 0; i < t->nagreed; i++) {
    MUST(aq_trav_key(t, aq_trav_session(t, i)) == t->agreed[i].key);
  }
  MUST(aq_trav_session(t, t->nagreed) == NULL);
  /* What was handed out is still in the table, and nothing else is. */
  for (size_t i = 0; i < AQ_TRAV_MAX_DIALS; i++) {
    const aq_trav_dial *d = &t->dial[i];
    MUST(!d->id || d->known || d->relay || d->pair < t->npair);
    MUST(!d->id || !d->relay || t->plan == AQ_PLAN_RELAY);
    MUST(!d->id || t->initiator || (t->p.repair && t->p.mover));
  }
}

static void look(const world *w) {
  aq_session_info info;
  aq_pair_info pairs[4];
  aq_step_record steps[4];
  aq_trav_get_info(&w->t, &info);
  MUST(info.remote_count <= AQ_MAX_CANDIDATES);
  MUST(aq_trav_get_pairs(&w->t, pairs, 4) == w->t.npair);
  MUST(aq_trav_get_steps(&w->t, steps, 4) == w->t.nrecord);
}

static aq_nat_profile some_profile(void) {
  aq_nat_profile p;
  memset(&p, 0, sizeof(p));
  uint8_t b = u8();
  p.mapping = b & 3;
  p.filtering = b >> 2 & 3;
  p.allocation = (b >> 4) % AQ_NAT_ALLOC__COUNT;
  if (u8() & 1) {
    p.step = (int16_t)u64();
    p.block_base = (uint16_t)u64();
    p.block_size = (uint16_t)u64();
  }
  p.last = some_addr();
  return p;
}

static aq_ctl some_ctl(world *w, uint64_t type) {
  aq_ctl m = {.type = type, .request = w->request, .peer = w->t.p.peer};
  uint8_t b = u8();
  m.request -= b >> 6;
  memset(m.nonce, b >> 2 & 3, sizeof(m.nonce));
  if (b == 0xff) {
    m.peer.bytes[0] ^= 1;
  }
  if (b == 0xfe) {
    m.request ^= 1;
  }
  memset(m.session, b & 7, sizeof(m.session));
  memset(m.key, b & 7, sizeof(m.key));
  m.rtt_us = b & 8 ? u64() : 50000;
  m.start_delay_us = b & 16 ? u64() : 0;
  m.expiry_ms = b & 32 ? u64() : 10000;
  m.observed = some_addr();
  m.plan = w->t.plan;
  b = u8();
  if (b & 1) {
    m.plan = (b >> 1) % AQ_PLAN__COUNT; /* the codec refuses others */
    m.profile = some_profile();
  }
  m.cand_count = u8() % (AQ_MAX_CANDIDATES + 1);
  for (size_t i = 0; i < m.cand_count; i++) {
    uint8_t c = u8();
    m.cand[i].addr = some_addr();
    m.cand[i].verified = c & 1;
    m.cand[i].source = (c >> 1) % AQ_SOURCE__COUNT;
    m.cand[i].priority = c & 64 ? (uint32_t)u64() : 0;
  }
  return m;
}

static void some_punch(world *w) {
  aq_punch p = {.type = (uint8_t)(1 + u8() % 3)};
  uint8_t b = u8();
  aq_addr from = some_addr();
  p.flags = b & 1;
  p.seq = b & 2 ? (uint32_t)u64() : u8();
  p.echo = b & 4 ? u64() : w->t.probe[u8() % AQ_TRAV_PROBE_LOG].cookie;
  const uint8_t *session = aq_trav_session(&w->t, b >> 4 & 3);
  if (session && !(b & 8)) {
    memcpy(p.session, session, sizeof(p.session));
  }
  aq_trav_handle_punch(&w->t, w->now, u8() & 3, &from, &p);
}

/* What is heard of new sockets: allowed or not, open or not, seen where. */
static void some_socket(world *w) {
  aq_trav *t = &w->t;
  aq_addr a = some_addr();
  uint8_t b = u8();
  switch (b & 7) {
  case 0:
    aq_trav_handle_allowed(t, w->now, b & 8 ? "a limit" : NULL);
    break;
  case 1:
    aq_trav_handle_allowed(t, w->now, NULL);
    w->allowed = 1;
    break;
  case 2:
  case 3: /* all that were asked for, some of which can't be had */
    for (uint32_t i = 0; w->allowed && i < w->asked; i++) {
      a.port = (uint16_t)(20000 + i);
      aq_trav_handle_opened(t, w->now, AQ_MAX_SOCKETS + w->next_socket++ % 256,
                            b >> 3 && i % (b >> 3) == 0 ? NULL : &a);
    }
    w->asked = 0;
    break;
  case 4: /* one too many, or of another time */
    aq_trav_handle_opened(t, w->now, AQ_MAX_SOCKETS + (b >> 3), &a);
    break;
  case 5:
    aq_trav_handle_unobserved(t, w->now, AQ_ERR_UNSUPPORTED);
    break;
  default:
    if (t->hard.nsock) {
      aq_trav_handle_observed(t, w->now,
                              t->hard.sock[(b >> 3) % t->hard.nsock].index,
                              u64() | 1, &a);
    }
    break;
  }
}

static void some_hint(world *w) {
  aq_ctl m = some_ctl(w, AQ_CTL_HINT);
  uint8_t b = u8();
  const uint8_t *session = aq_trav_session(&w->t, b >> 3 & 1);
  if (session) {
    memcpy(m.session, session, sizeof(m.session));
  }
  m.count = b & 1 ? u64() : 1;
  m.step = b & 2 ? (int64_t)u64() : 1;
  aq_trav_handle_hint(&w->t, w->now, b & 4 ? 1 : w->t.agreed[0].coordinator,
                      &m);
}

static void some_hard_step(world *w) {
  aq_hard_step s;
  aq_hard_step_init(&s);
  uint8_t b = u8();
  if (b & 1) {
    s.sockets = (uint32_t)u64();
    s.probes = (uint32_t)u64();
  }
  s.via = b & 2 ? 7 : 0;
  aq_trav_step_hard(&w->t, w->now, (aq_plan)(b >> 2 & 7), &s);
}

static void some_relay(world *w) {
  uint8_t b = u8();
  switch (b & 3) {
  case 0:
    aq_trav_set_relay(&w->t, b >> 2 & 1);
    break;
  case 1:
    aq_trav_handle_tunnel(&w->t, w->now, &COORDINATOR,
                          b & 4 ? AQ_ERR_LIMIT : 0);
    break;
  default:
    aq_trav_step_relay(&w->t, w->now, b & 4 ? 7 : 0);
    break;
  }
}

static aq_punch_step some_step(void) {
  aq_punch_step s;
  aq_punch_step_init(&s);
  if (u8() & 1) {
    s.rounds = u8();
    s.spacing = u64();
    s.openers = u8();
    s.opener_ttl = u8();
    s.opener_lead = u64();
    s.timeout = u64();
    s.count = u8() & 3;
    for (size_t i = 0; i < s.count; i++) {
      s.order[i] = some_addr();
    }
  }
  return s;
}

static void some_time(world *w) {
  uint8_t b = u8();
  aq_tstamp next = aq_trav_next_timeout(&w->t);
  if (b & 1 && next != AQ_NEVER) {
    w->now = next > w->now ? next : w->now;
  } else {
    w->now += (aq_duration)b * b * AQ_MS / 8;
  }
  aq_trav_handle_timeout(&w->t, w->now);
  /* Everything that was due is done. */
  MUST(aq_trav_next_timeout(&w->t) > w->now);
}

static void some_dial_end(world *w) {
  static const int errors[] = {0, AQ_ERR_WRONG_KEY, AQ_ERR_UNREACHABLE,
                               AQ_ERR_TLS};
  uint8_t b = u8();
  uint32_t dial = b;
  int error = errors[b & 3];
  size_t i = w->ndial ? (b >> 2) % w->ndial : 0;
  if (w->ndial && b < 250) {
    dial = w->dials[i];
  } else if (aq_trav_dial_find(&w->t, dial)) {
    return;
  }
  int live = aq_trav_dial_find(&w->t, dial) != NULL;
  aq_trav_handle_dial(&w->t, w->now, dial, error, u64());
  if (live && error) {
    dial_gone(w, dial);
  }
}

/* Mostly of a request that runs. */
static aq_id some_conn(const world *w) {
  uint8_t b = u8();
  const aq_trav_ask *a = &w->t.ask[b % AQ_MAX_ASKED];
  return a->sent && b < 200 ? a->conn : b % 8;
}

static void operate(world *w) {
  aq_trav *t = &w->t;
  aq_ctl m;
  memset(&m, 0, sizeof(m));
  aq_punch_step s;
  aq_dial_step d;
  aq_coordinate_step c;
  aq_addr a;
  aq_id conn;
  uint8_t b; /* one call takes one byte: compilers differ in the order */
  switch (u8() % 27) {
  case 0:
    memset(&d, 0, sizeof(d));
    d.count = u8() % 10;
    for (size_t i = 0; i < d.count && i < 8; i++) {
      d.addrs[i] = some_addr();
    }
    d.spacing = u8() & 1 ? u64() : 0;
    d.timeout = u8() & 1 ? u64() : AQ_S;
    aq_trav_step_dial(t, w->now, &d);
    break;
  case 1:
    aq_coordinate_step_init(&c);
    c.count = u8() % 20;
    for (size_t i = 0; i < c.count && i < AQ_MAX_BOOTSTRAP; i++) {
      c.via[i] = 1 + i % 6;
    }
    c.hedge = u8() & 1 ? u64() : c.hedge;
    c.timeout = u8() & 1 ? u64() : AQ_S;
    aq_trav_step_coordinate(t, w->now, &c);
    break;
  case 2:
    s = some_step();
    aq_trav_step_punch(t, w->now, u8() & 1 ? &s : NULL);
    break;
  case 3:
    if (u8() == 1) {
      aq_trav_finish(t, w->now, u8() & 1 ? AQ_ERR_CANCELLED : 0);
    }
    break;
  case 4:
    aq_trav_decide(t, w->now, u8() & 1);
    break;
  case 5:
    s = some_step();
    aq_trav_set_punch(t, &s);
    break;
  case 6:
    b = u8();
    aq_trav_handle_requested(t, w->now, b & 31, 1 + (b >> 5) % 7, &COORDINATOR,
                             u64(), ++w->request);
    break;
  case 7:
  case 8:
    m = some_ctl(w, AQ_CTL_ANSWER);
    conn = some_conn(w);
    aq_trav_handle_answer(t, w->now, conn, &m);
    break;
  case 9:
    m = some_ctl(w, AQ_CTL_OFFER);
    aq_trav_handle_offer(t, w->now, &m, 9 + (u8() & 1));
    break;
  case 10:
    b = u8();
    conn = some_conn(w);
    aq_trav_handle_error(t, w->now, conn, w->request - (b >> 6), -(int)(b % 50),
                         u64());
    break;
  case 11:
    if (u8() & 1) {
      b = u8();
      const uint8_t *session = aq_trav_session(t, b & 3);
      aq_trav_handle_cancel(t, w->now, 9 + (b >> 2 & 1),
                            session ? session : m.session);
    }
    break;
  case 12:
    a = some_addr();
    b = u8();
    aq_trav_handle_refused(t, w->now, b & 3, &a,
                           (aq_guard_verdict)((b >> 2) % 7));
    break;
  case 13:
    some_dial_end(w);
    break;
  case 14:
    if (u8() == 2) {
      a = some_addr();
      aq_trav_handle_connected(t, w->now, &a, u64());
    }
    break;
  case 15: {
    aq_candidate c = {.addr = some_addr()};
    c.state = u8() % AQ_CAND__COUNT;
    c.source = u8() % AQ_SOURCE__COUNT;
    aq_trav_handle_candidate(t, w->now, &c);
    break;
  }
  case 16:
    some_punch(w);
    break;
  case 17:
    w->poll = u8() & 1;
    break;
  case 20:
    some_hard_step(w);
    break;
  case 21:
  case 22:
    some_socket(w);
    break;
  case 23:
    some_hint(w);
    break;
  case 24:
    some_relay(w);
    break;
  case 18:
    aq_trav_want(t, w->now, u8() & 1 ? AQ_S + u64() % (60 * AQ_S) : 0);
    break;
  case 19:
    aq_trav_handle_lost(t, w->now, some_conn(w));
    break;
  case 25:
    aq_trav_handle_silent(t, w->now, some_conn(w));
    break;
  case 26:
    aq_trav_handle_queued(t, w->now, t->next_ask);
    break;
  default:
    some_time(w);
    break;
  }
}

static world W;

static void begin(void) {
  uint8_t b = u8();
  aq_trav_params p;
  memset(&p, 0, sizeof(p));
  memset(p.self.bytes, b & 1 ? 1 : 3, 32);
  memset(p.peer.bytes, 2, 32);
  p.strategy = b & 2 ? AQ_STRATEGY_AUTO : AQ_STRATEGY_STEPS;
  p.allow_private = b & 4;
  p.allow_loopback = p.allow_reserved = b & 8;
  p.timeout = b & 16 ? 20 * AQ_S : 0;
  p.nsock = 1 + (b >> 6);
  for (size_t i = 0; i < p.nsock; i++) {
    static const uint8_t any[16] = {0};
    p.sock[i].index = (uint32_t)i;
    p.sock[i].bound = i & 1 ? aq_addr_v6(any, 4000) : aq_addr_v4(any, 4000);
  }
  p.nlocal = u8() & 3;
  for (size_t i = 0; i < p.nlocal; i++) {
    p.local[i].addr = some_addr();
    p.local[i].priority = aq_cand_priority(AQ_SOURCE_LOCAL, (uint32_t)i);
  }
  p.nknown = u8() % 9;
  for (size_t i = 0; i < p.nknown; i++) {
    p.known[i] = some_addr();
  }
  p.max_attempts = u8() & 3;
  uint8_t kind = u8();
  p.repair = kind & 1;
  p.mover = kind >> 1 & 1;
  p.relay = kind >> 2 & 1;
  p.plans = kind >> 3;
  p.profile = some_profile();
  p.seed = b;
  memset(&W, 0, sizeof(W));
  W.now = AQ_S;
  W.poll = 1;
  if (b & 32) {
    W.t.p.peer = p.peer;
    aq_ctl m = some_ctl(&W, AQ_CTL_OFFER);
    m.peer = p.peer;
    int wait = u8() & 1;
    aq_tstamp deadline = u8() & 1 ? W.now + AQ_S : AQ_NEVER;
    aq_trav_init_target(&W.t, W.now, &p, &m, 9, wait, deadline);
  } else {
    aq_trav_init(&W.t, W.now, &p);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  in = data;
  left = size;
  begin();
  check(&W);
  while (left) {
    uint8_t before = W.t.phase;
    operate(&W);
    /* One call may move twice (an early punch ends the wait and is heard). */
    MUST(W.t.phase == before || is_rule(before, W.t.phase) ||
         (before != AQ_PHASE_CONNECTED && before != AQ_PHASE_FAILED));
    check(&W);
    if (left % 16 == 0) {
      look(&W);
    }
    if (W.poll) {
      drain(&W);
    }
  }
  /* Left alone, every session with a time-out ends. */
  for (int i = 0; i < 10000 && !W.t.over; i++) {
    aq_tstamp next = aq_trav_next_timeout(&W.t);
    if (next == AQ_NEVER) {
      MUST(W.t.p.timeout == 0);
      break;
    }
    W.now = next > W.now ? next : W.now;
    aq_trav_handle_timeout(&W.t, W.now);
    check(&W);
    drain(&W);
  }
  if (W.t.p.timeout) {
    MUST(W.t.over);
    drain(&W);
    MUST(W.done);
  }
  return 0;
}
