/* Connections in the simulator whose path is lost: NATs of all kinds forget or
 * get another address while data flow. How long nothing comes, and whether
 * every byte does.
 *
 * With arguments it measures instead of testing:
 *   test_sim_repair sweep SEEDS [PAIR]   PAIR like port_restr:linux
 *   test_sim_repair guess SEEDS [PAIR]   pairs that need a guess; the
 *                                        coordinator relays
 *   test_sim_repair alone SEEDS [PAIR]   ... and it doesn't
 *
 * SPDX-License-Identifier: MIT */
#include "base/addr.h"
#include "base/rand.h"
#include "support/sim_net.h"

#include <stdio.h>

/* ---- what flows -----------------------------------------------------------
 */

typedef enum load {
  LOAD_BOTH,      /* a stream each way */
  LOAD_CLIENT,    /* a stream from the connection's QUIC client */
  LOAD_SERVER,    /* ... from its server */
  LOAD_DATAGRAMS, /* datagrams each way */
  LOAD_TICKS,     /* datagrams from the server alone */
  LOADS
} load;
static const char *const LOAD_NAMES[] = {"both", "client", "server",
                                         "datagrams", "ticks"};

/* A stream whose byte at offset i is a function of i, or datagrams. */
typedef struct flow {
  int from, to;
  int loose; /* datagrams */
  aq_id out, in;
  uint64_t written, read;
  aq_tstamp last; /* when something came */
  aq_duration gap;
  int broken; /* a byte that is not what was sent */
} flow;

static uint8_t byte_at(uint64_t i) {
  return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static aq_id conn_of(sim_pair *w, int i) {
  return aq_endpoint_find_conn(sim_core(w, i), &w->id[1 - i]);
}

static void came(sim_pair *w, flow *f) {
  aq_tstamp now = aq_sim_now(w->s);
  aq_duration gap = now - f->last;
  f->gap = f->gap > gap ? f->gap : gap;
  f->last = now;
}

static void flow_write(sim_pair *w, flow *f, size_t len) {
  aq_endpoint *ep = sim_core(w, f->from);
  aq_tstamp now = aq_sim_now(w->s);
  uint8_t buf[4096];
  size_t n = 0;
  if (f->loose) {
    memset(buf, 7, 200);
    (void)aq_datagram_send(ep, now, conn_of(w, f->from), buf, 200);
    return;
  }
  for (size_t i = 0; i < len; i++) {
    buf[i] = byte_at(f->written + i);
  }
  (void)aq_stream_write(ep, now, f->out, buf, len, &n);
  f->written += n;
}

static void flow_read(sim_pair *w, flow *f) {
  aq_endpoint *ep = sim_core(w, f->to);
  aq_id conn = conn_of(w, f->to);
  uint8_t buf[4096];
  size_t n = 0;
  while (f->loose && aq_datagram_receive(ep, conn, buf, sizeof(buf), &n) == 0) {
    came(w, f);
  }
  if (f->loose || (f->in == 0 && aq_stream_accept(ep, conn, &f->in) != 0)) {
    f->in = 0;
    return;
  }
  while (aq_stream_read(ep, aq_sim_now(w->s), f->in, buf, sizeof(buf), &n) ==
             0 &&
         n > 0) {
    for (size_t i = 0; i < n; i++) {
      f->broken |= buf[i] != byte_at(f->read + i);
    }
    f->read += n;
    came(w, f);
  }
}

static flow flow_open(sim_pair *w, int from, int loose) {
  flow f = {.from = from, .to = 1 - from, .loose = loose};
  f.last = aq_sim_now(w->s);
  if (!loose) {
    sim_ok(aq_stream_open(sim_core(w, from), f.last, conn_of(w, from), 1, 0,
                          &f.out));
  }
  return f;
}

/* A is the client, since it dials. */
static int flows_open(sim_pair *w, load what, flow f[2]) {
  int n = 0;
  int loose = what == LOAD_DATAGRAMS || what == LOAD_TICKS;
  if (what != LOAD_SERVER && what != LOAD_TICKS) {
    f[n++] = flow_open(w, SIM_A, loose);
  }
  if (what != LOAD_CLIENT) {
    f[n++] = flow_open(w, SIM_B, loose);
  }
  return n;
}

/* Runs for |d|; every 10 ms each of |n| flows gets |len| bytes. */
static void flows_run(sim_pair *w, flow *f, int n, aq_duration d, size_t len) {
  aq_tstamp until = aq_sim_now(w->s) + d;
  while (aq_sim_now(w->s) < until) {
    for (int i = 0; i < n && len > 0; i++) {
      flow_write(w, &f[i], len);
    }
    aq_tstamp step = aq_sim_now(w->s) + 10 * AQ_MS;
    int more;
    do {
      sim_run(w, 0);
      for (int i = 0; i < n; i++) {
        flow_read(w, &f[i]);
      }
      more = aq_sim_step(w->s, step);
    } while (more == 1);
  }
}

static aq_duration flows_gap(sim_pair *w, flow *f, int n) {
  aq_duration worst = 0;
  for (int i = 0; i < n; i++) {
    aq_tstamp last = f[i].last;
    came(w, &f[i]);
    f[i].last = last;
    worst = worst > f[i].gap ? worst : f[i].gap;
  }
  return worst;
}

/* ---- what happens ---------------------------------------------------------
 */

typedef enum kind { REBIND, SHIFT, RENUMBER, KINDS } kind;
static const char *const KIND_NAMES[] = {"rebind", "shift", "renumber"};
enum { WHO_A = 1, WHO_B = 2, WHO_BOTH = 3 };
static const char *const WHO_NAMES[] = {"", "a", "b", "both"};

static void happen(sim_pair *w, kind k, int who, uint32_t number) {
  for (int i = SIM_A; i <= SIM_B; i++) {
    char text[32];
    if ((who & (1 << i)) == 0) {
      continue;
    }
    snprintf(text, sizeof(text), "25.%d.%u.%u:0", 10 + i,
             (unsigned)(number / 200), (unsigned)(1 + number % 200));
    aq_addr to = util_addr(text);
    int rc = k == RENUMBER ? aq_sim_renumber(w->s, w->nat[i], &to)
                           : aq_sim_rebind(w->s, w->nat[i], k == SHIFT);
    if (rc != 0 && rc != AQ_ERR_INVAL) {
      sim_ok(rc);
    }
  }
}

typedef struct trial {
  const char *a, *b;
  aq_duration delay; /* one way, between the peers */
  double loss;       /* on it */
  load what;
  uint64_t seed;
  int guess; /* the NATs are measured, and each event has a world of its own */
  int event;
  int relay; /* the coordinator does */
} trial;

/* The conditions follow from the seed: 30 of them have all. */
static trial trial_of(const char *a, const char *b, unsigned seed) {
  static const double LOSS[] = {0, 0.02, 0.05};
  unsigned k = seed - 1;
  trial t = {a,
             b,
             k & 1 ? 50 * AQ_MS : 25 * AQ_MS,
             LOSS[k / 2 % 3],
             (load)(k % LOADS),
             seed,
             0,
             0,
             0};
  return t;
}

/* Each kind, of a, of b, of both. */
#define EVENTS (3 * KINDS)
typedef struct outcome {
  int connected, events;
  int lost;    /* the connection ended */
  int intact;  /* what was written came, as it was */
  int relayed; /* before, after */
  int direct;
  aq_duration gap[EVENTS];
} outcome;

static void say(const trial *t, int event, const char *what, aq_duration gap) {
  printf("  %s:%s, seed %d (%s, %d ms, loss %.2f), %s of %s: %s, %.2f s\n",
         t->a, t->b, (int)t->seed, LOAD_NAMES[t->what], (int)(t->delay / AQ_MS),
         t->loss, KIND_NAMES[event % KINDS], WHO_NAMES[1 + event / KINDS], what,
         (double)gap / AQ_S);
}

static int ended(sim_pair *w) {
  return conn_of(w, SIM_A) == 0 || conn_of(w, SIM_B) == 0;
}

static int is_relayed(sim_pair *w) {
  aq_conn_info info;
  memset(&info, 0, sizeof(info));
  (void)aq_conn_get_info(sim_core(w, SIM_A), conn_of(w, SIM_A), &info);
  return info.relayed;
}

static void try(const trial *t, outcome *o, int loud) {
  const size_t len = 300;
  aq_sim_link link = {.delay = t->delay / 2, .loss = t->loss / 2};
  static sim_pair w;
  flow f[2];
  aq_rand r;
  memset(o, 0, sizeof(*o));
  aq_rand_init(&r, t->seed);
  sim_pair_init(&w, t->seed, t->a, t->b, t->delay / 2, NULL);
  w.params[SIM_C].can_relay = (uint8_t)t->relay;
  if (t->guess) {
    sim_pair_measures(&w);
  }
  sim_pair_start(&w);
  o->connected = sim_connect(&w, 10 * AQ_S);
  for (int i = SIM_A; i <= SIM_B; i++) {
    sim_ok(aq_sim_set_link(w.s, w.nat[i], AQ_SIM_BOTH, &link));
  }
  int n = o->connected ? flows_open(&w, t->what, f) : 0;
  /* The budget of the guesses that made it is there again. */
  flows_run(&w, f, n, t->guess && !t->relay ? 25 * AQ_S : AQ_S, len);
  o->relayed = o->connected && is_relayed(&w);
  while (o->connected && o->events < (t->guess ? 1 : EVENTS) && !o->lost) {
    int at = o->events++, i = at + t->event;
    flows_run(&w, f, n, aq_rand_below(&r, 300) * AQ_MS, len);
    for (int k = 0; k < n; k++) {
      f[k].gap = 0;
      f[k].last = aq_sim_now(w.s);
    }
    happen(&w, (kind)(i % KINDS), 1 + i / KINDS,
           (uint32_t)(t->seed % 1000) * EVENTS + (uint32_t)i);
    flows_run(&w, f, n, 5 * AQ_S, len);
    o->gap[at] = flows_gap(&w, f, n);
    o->lost = ended(&w);
    if (loud && (o->lost || o->gap[at] >= 3 * AQ_S)) {
      say(t, i, o->lost ? "the connection ended" : "slow", o->gap[at]);
    }
  }
  o->direct = !o->lost && o->connected && !is_relayed(&w);
  flows_run(&w, f, o->lost ? 0 : n, 5 * AQ_S, 0);
  o->intact = !o->lost;
  for (int i = 0; i < n; i++) {
    o->intact &= !f[i].broken && f[i].read == f[i].written;
  }
  sim_pair_end(&w);
}

/* ---- tests ----------------------------------------------------------------
 */

static void goes_well(const trial *t) {
  const char *a = t->a, *b = t->b;
  unsigned seed = (unsigned)t->seed;
  outcome o;
  try(t, &o, 1);
  if (!o.connected || o.lost || !o.intact) {
    fail_msg("%s:%s, seed %u: connected %d, lost %d, intact %d", a, b, seed,
             o.connected, o.lost, o.intact);
  }
  for (int i = 0; i < o.events; i++) {
    if (o.gap[i] >= 3 * AQ_S) {
      fail_msg("%s:%s, seed %u: slow", a, b, seed);
    }
  }
}

static void lives_on(const char *a, const char *b, unsigned seed) {
  trial t = trial_of(a, b, seed);
  goes_well(&t);
}

/* The coordinator takes over where it relays, else ports are guessed anew. */
static void guesses_live_on(const char *a, const char *b, int relay,
                            unsigned seed, int event) {
  trial t = trial_of(a, b, seed);
  t.guess = 1;
  t.relay = relay;
  t.event = event;
  goes_well(&t);
}

static void all_kinds_of_nats_live_on(void **state) {
  static const char *const PAIRS[][2] = {
      {"none", "port_restr"},     {"fw_only", "full_cone"},
      {"full_cone", "none"},      {"addr_restr", "sym_adf"},
      {"port_restr", "linux"},    {"linux", "linux_open"},
      {"linux_open", "linux"},    {"linux_open", "linux_open"},
      {"sym_rand", "addr_restr"}, {"port_restr", "sym_eif"},
      {"sym_eif", "adm_apdf"},    {"adm_adf", "full_cone"},
  };
  unsigned seeds = getenv("ANTQUIC_VALGRIND") != NULL ? 1 : 6;
  (void)state;
  for (size_t i = 0; i < sizeof(PAIRS) / sizeof(PAIRS[0]); i++) {
    for (unsigned k = 1; k <= seeds; k++) {
      lives_on(PAIRS[i][0], PAIRS[i][1], k);
    }
  }
}

static void who_needs_a_guess_lives_on(void **state) {
  static const struct {
    const char *a, *b;
    int alone; /* without a relay, too */
  } PAIRS[] = {
      {"sym_rand", "port_restr", 1}, {"linux", "adm_apdf", 1},
      {"sym_seq", "fw_only", 1},     {"linux_open", "sym_seq", 1},
      {"adm_adf", "linux", 1},       {"sym_rand", "sym_rand", 0},
  };
  int all = getenv("ANTQUIC_VALGRIND") == NULL;
  (void)state;
  for (size_t i = 0; i < sizeof(PAIRS) / sizeof(PAIRS[0]); i++) {
    for (unsigned k = 1; k <= (all ? 3 : 1); k++) {
      for (int event = 0; event < (all ? EVENTS : 1); event++) {
        guesses_live_on(PAIRS[i].a, PAIRS[i].b, 1, k, event);
        if (PAIRS[i].alone) {
          guesses_live_on(PAIRS[i].a, PAIRS[i].b, 0, k, event);
        }
      }
    }
  }
}

/* Seeds with which a connection once was too slow, or lost. */
static void what_failed_once(void **state) {
  static const struct {
    const char *a, *b;
    unsigned seed;
  } ONCE[] = {
      {"port_restr", "sym_eif", 1},     /* answers were out of budget */
      {"port_restr", "sym_eif", 18},    /* data in a batch for another path */
      {"port_restr", "sym_eif", 180},   /* one connection ID too many */
      {"linux_open", "linux_open", 36}, /* no probe left to validate with */
      {"linux", "linux_open", 42},      /* HINTs lost, so openers late, twice */
      {"linux_open", "linux_open", 88},
      {"linux_open", "linux_open", 258}, /* the peer had asked too often */
  };
  (void)state;
  for (size_t i = 0; i < sizeof(ONCE) / sizeof(ONCE[0]); i++) {
    lives_on(ONCE[i].a, ONCE[i].b, ONCE[i].seed);
  }
  /* Its client did not suspect the path yet; and a challenge went to a relay
   * that did not know the new address yet. */
  guesses_live_on("linux", "adm_apdf", 1, 38, 3);
  guesses_live_on("sym_seq", "port_restr", 1, 6, 2);
}

/* One peer's process ends without a word and begins anew, as the same peer. The
 * other one hears within 3 s that the connection is gone, though it is the
 * coordinator alone that it can reach. */
static void a_restarted_peer_is_noticed(void **state) {
  (void)state;
  for (int who = SIM_A; who <= SIM_B; who++) {
    static sim_pair w;
    int left = 1 - who;
    sim_pair_init(&w, 1, "port_restr", "linux", 25 * AQ_MS, NULL);
    sim_pair_start(&w);
    assert_true(sim_connect(&w, 10 * AQ_S));
    flow f = flow_open(&w, left, 0);
    flows_run(&w, &f, 1, AQ_S, 100);
    sim_ok(aq_sim_kill(w.s, w.host[who], 1));
    aq_sim_endpoint_del(w.e[who]);
    sim_ok(aq_sim_kill(w.s, w.host[who], 0));
    sim_ok(sim_pair_add(&w, who));
    aq_tstamp until = aq_sim_now(w.s) + 3 * AQ_S;
    while (conn_of(&w, left) != 0 && aq_sim_now(w.s) < until) {
      flow_write(&w, &f, 100);
      sim_run(&w, 10 * AQ_MS);
    }
    assert_true(sim_wait(&w, left, AQ_EVENT_CONNECTION_LOST, 1, 0));
    assert_int_equal(w.last[left][AQ_EVENT_CONNECTION_LOST].error,
                     AQ_ERR_STATELESS_RESET);
    sim_pair_end(&w);
  }
}

/* Who takes no connections still lets those that it has be repaired. */
static void who_does_not_accept_takes_part(void **state) {
  static sim_pair w;
  (void)state;
  sim_pair_init(&w, 1, "port_restr", "linux", 25 * AQ_MS, NULL);
  w.params[SIM_A].accept = 0;
  sim_pair_start(&w);
  assert_true(sim_connect(&w, 10 * AQ_S));
  flow f = flow_open(&w, SIM_B, 0); /* its server asks first */
  flows_run(&w, &f, 1, AQ_S, 100);
  happen(&w, SHIFT, WHO_B, 0);
  f.gap = 0;
  flows_run(&w, &f, 1, 5 * AQ_S, 100);
  aq_statistics st;
  aq_endpoint_get_statistics(sim_core(&w, SIM_A), &st);
  assert_true(flows_gap(&w, &f, 1) < 3 * AQ_S);
  assert_int_equal(st.offers_refused, 0);
  assert_true(st.offers_received > 0);
  sim_pair_end(&w);
}

/* Two coordinators, and the one that both peers would ask first dies in the
 * moment in which both NATs forget: the other one is asked as well. */
static void a_dead_coordinator_costs_little(void **state) {
  (void)state;
  for (int who = WHO_A; who <= WHO_BOTH; who++) {
    static sim_pair w;
    aq_sim_node host;
    aq_addr addr;
    aq_runtime_params rp = {.bind_count = 1};
    uint8_t key[32] = {7};
    char why[100];
    aq_sim_link far = {.delay = 5 * AQ_MS};
    sim_pair_init(&w, 1, "port_restr", "linux", 12 * AQ_MS, NULL);
    sim_ok(aq_sim_add_host(w.s, AQ_SIM_INTERNET, NULL, &host));
    sim_ok(aq_sim_set_link(w.s, host, AQ_SIM_BOTH, &far));
    aq_sim_get_addrs(w.s, host, &addr, 1);
    addr.port = rp.bind[0].port = 9000;
    rp.bind[0].family = 4;
    sim_ok(aq_sim_endpoint_new(&w.other, w.s, host, key, &rp, &w.params[SIM_C],
                               why, sizeof(why)));
    for (int i = SIM_A; i <= SIM_B; i++) {
      w.params[i].bootstrap_count = 2;
      w.params[i].bootstrap[1].addr = addr;
    }
    sim_pair_start(&w);
    assert_true(sim_connect(&w, 10 * AQ_S));
    flow f[2] = {flow_open(&w, SIM_A, 0), flow_open(&w, SIM_B, 0)};
    flows_run(&w, f, 2, AQ_S, 100);
    sim_ok(aq_sim_kill(w.s, w.host[SIM_C], 1));
    happen(&w, SHIFT, who, 0);
    f[0].gap = f[1].gap = 0;
    flows_run(&w, f, 2, 5 * AQ_S, 100);
    assert_true(flows_gap(&w, f, 2) < 2 * AQ_S);
    sim_pair_end(&w);
  }
}

/* Nobody is there to coordinate for 10 s; the connection is moved soon after
 * somebody is again. */
static void it_waits_for_its_coordinator(void **state) {
  (void)state;
  for (int restarted = 0; restarted <= 1; restarted++) {
    static sim_pair w;
    sim_pair_init(&w, 1, "port_restr", "linux", 12 * AQ_MS, NULL);
    sim_pair_start(&w);
    assert_true(sim_connect(&w, 10 * AQ_S));
    flow f[2] = {flow_open(&w, SIM_A, 0), flow_open(&w, SIM_B, 0)};
    flows_run(&w, f, 2, AQ_S, 100);
    sim_ok(aq_sim_kill(w.s, w.host[SIM_C], 1));
    happen(&w, SHIFT, WHO_BOTH, 0);
    flows_run(&w, f, 2, 10 * AQ_S, 100);
    if (restarted) {
      aq_sim_endpoint_del(w.e[SIM_C]);
    }
    sim_ok(aq_sim_kill(w.s, w.host[SIM_C], 0));
    if (restarted) {
      sim_ok(sim_pair_add(&w, SIM_C));
    }
    f[0].gap = f[1].gap = 0;
    f[0].last = f[1].last = aq_sim_now(w.s);
    flows_run(&w, f, 2, 6 * AQ_S, 100);
    assert_true(!ended(&w) && flows_gap(&w, f, 2) < 3 * AQ_S);
    sim_pair_end(&w);
  }
}

/* The one coordinator, which relays, ends, with a word or without, and is there
 * again |pause| later. Gives how long after that bytes come again both ways. */
static aq_duration comes_back(uint64_t seed, aq_duration pause, int clean) {
  static sim_pair w;
  sim_pair_init(&w, seed, "sym_rand", "sym_rand", 12 * AQ_MS, NULL);
  w.params[SIM_C].can_relay = 1;
  sim_pair_start(&w);
  assert_true(sim_connect(&w, 25 * AQ_S));
  flow f[2] = {flow_open(&w, SIM_A, 0), flow_open(&w, SIM_B, 0)};
  flows_run(&w, f, 2, AQ_S, 100);
  assert_true(is_relayed(&w));
  if (clean) {
    aq_endpoint_close(sim_core(&w, SIM_C), aq_sim_now(w.s), 0, "");
    sim_run(&w, 20 * AQ_MS);
  }
  sim_ok(aq_sim_kill(w.s, w.host[SIM_C], 1));
  aq_sim_endpoint_del(w.e[SIM_C]);
  w.e[SIM_C] = NULL;
  flows_run(&w, f, 2, pause, 100);
  aq_tstamp back = aq_sim_now(w.s);
  sim_ok(aq_sim_kill(w.s, w.host[SIM_C], 0));
  sim_ok(sim_pair_add(&w, SIM_C));
  uint64_t before[2] = {f[0].read, f[1].read};
  while (aq_sim_now(w.s) < back + 30 * AQ_S &&
         (f[0].read == before[0] || f[1].read == before[1])) {
    flows_run(&w, f, 2, 10 * AQ_MS, 100);
  }
  aq_duration took = aq_sim_now(w.s) - back;
  flows_run(&w, f, 2, 3 * AQ_S, 100);
  flows_run(&w, f, 2, 3 * AQ_S, 0);
  assert_false(ended(&w) || !is_relayed(&w));
  for (int i = 0; i < 2; i++) {
    assert_true(!f[i].broken && f[i].read == f[i].written);
  }
  sim_pair_end(&w);
  return took;
}

static void a_relay_that_was_restarted_is_used_soon(void **state) {
  static const aq_duration PAUSES[] = {200 * AQ_MS, AQ_S,      3 * AQ_S,
                                       8 * AQ_S,    12 * AQ_S, 20 * AQ_S};
  int all = getenv("ANTQUIC_VALGRIND") == NULL;
  aq_duration worst = 0;
  (void)state;
  for (int clean = 0; clean < 2; clean++) {
    for (size_t i = 0; i < (all ? sizeof(PAUSES) / sizeof(PAUSES[0]) : 1);
         i++) {
      for (uint64_t seed = 1; seed <= (all ? 4 : 1); seed++) {
        aq_duration took = comes_back(seed, PAUSES[i], clean);
        worst = worst > took ? worst : took;
      }
    }
  }
  print_message("at most %.2f s later\n", (double)worst / AQ_S);
  assert_true(worst < 2 * AQ_S);
}

/* ---- measuring ------------------------------------------------------------
 */

static const char *const TYPES[] = {
    "none",     "fw_only",      "full_cone",  "addr_restr", "port_restr",
    "linux",    "linux_reject", "linux_open", "adm_apdf",   "adm_adf",
    "sym_rand", "sym_seq",      "sym_eif",    "sym_adf"};
#define NTYPES (sizeof(TYPES) / sizeof(TYPES[0]))

typedef struct tally {
  size_t n, cap;
  aq_duration *gap;
  unsigned slow, lost, incomplete, unconnected, relayed, direct;
} tally;

static void count(tally *y, const trial *t, const outcome *o) {
  if (y->n + EVENTS > y->cap) {
    y->cap = 2 * y->cap + EVENTS;
    y->gap = realloc(y->gap, y->cap * sizeof(*y->gap));
    assert_non_null(y->gap);
  }
  for (int i = 0; i < o->events; i++) {
    y->gap[y->n++] = o->gap[i];
    y->slow += o->gap[i] >= 3 * AQ_S;
  }
  y->lost += (unsigned)o->lost;
  y->incomplete += o->connected && !o->lost && !o->intact &&
                   t->what != LOAD_DATAGRAMS && t->what != LOAD_TICKS;
  y->unconnected += !o->connected;
  y->relayed += o->relayed;
  y->direct += o->direct;
}

static int by_size(const void *a, const void *b) {
  aq_duration x = *(const aq_duration *)a, y = *(const aq_duration *)b;
  return x < y ? -1 : x > y;
}

static double at(const tally *y, double p) {
  return y->n == 0
             ? 0
             : (double)y->gap[(size_t)(p * (double)(y->n - 1) + 0.5)] / AQ_S;
}

static void tell(const char *name, tally *y) {
  if (y->n > 0) {
    qsort(y->gap, y->n, sizeof(*y->gap), by_size);
  }
  printf("%-24s %6zu events: p50 %.2f, p95 %.2f, p99 %.2f, at most %.2f s; "
         "%u over 3 s, %u lost, %u incomplete, %u never connected, "
         "%u relayed at first, %u direct in the end\n",
         name, y->n, at(y, 0.5), at(y, 0.95), at(y, 0.99), at(y, 1), y->slow,
         y->lost, y->incomplete, y->unconnected, y->relayed, y->direct);
  fflush(stdout);
}

/* One gives a port to each destination, and the other one filters by port. */
static int needs_guess(const char *a, const char *b) {
  static const char *const HARD[] = {"adm_apdf", "adm_adf", "sym_rand",
                                     "sym_seq", "sym_adf"};
  static const char *const STRICT[] = {"fw_only", "port_restr", "linux",
                                       "linux_reject", "linux_open"};
  int hard[2] = {0}, strict[2] = {0};
  for (size_t i = 0; i < sizeof(HARD) / sizeof(HARD[0]); i++) {
    hard[0] |= strcmp(a, HARD[i]) == 0;
    hard[1] |= strcmp(b, HARD[i]) == 0;
    strict[0] |= strcmp(a, STRICT[i]) == 0;
    strict[1] |= strcmp(b, STRICT[i]) == 0;
  }
  return (hard[0] && strict[1]) || (hard[1] && strict[0]);
}

static void sweep(unsigned seeds, const char *only, int guess) {
  tally all = {0};
  for (size_t a = 0; a < NTYPES; a++) {
    for (size_t b = 0; b < NTYPES; b++) {
      char name[64];
      tally mine = {0};
      if (needs_guess(TYPES[a], TYPES[b]) != (guess > 0)) {
        continue;
      }
      snprintf(name, sizeof(name), "%s:%s", TYPES[a], TYPES[b]);
      for (unsigned k = 1; k <= seeds && (!only || !strcmp(only, name)); k++) {
        trial t = trial_of(TYPES[a], TYPES[b], k);
        t.guess = guess > 0;
        t.relay = guess == 1;
        for (; t.event < (guess ? EVENTS : 1); t.event++) {
          outcome o;
          try(&t, &o, 1);
          count(&mine, &t, &o);
          count(&all, &t, &o);
        }
      }
      if (mine.n > 0) {
        tell(name, &mine);
      }
      free(mine.gap);
    }
  }
  tell("all", &all);
  free(all.gap);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_kinds_of_nats_live_on),
      cmocka_unit_test(who_needs_a_guess_lives_on),
      cmocka_unit_test(what_failed_once),
      cmocka_unit_test(a_restarted_peer_is_noticed),
      cmocka_unit_test(a_dead_coordinator_costs_little),
      cmocka_unit_test(it_waits_for_its_coordinator),
      cmocka_unit_test(a_relay_that_was_restarted_is_used_soon),
      cmocka_unit_test(who_does_not_accept_takes_part),
  };
  if (argc > 2 && strcmp(argv[1], "sweep") == 0) {
    sweep((unsigned)atoi(argv[2]), argc > 3 ? argv[3] : NULL, 0);
    return 0;
  }
  if (argc > 2 && strcmp(argv[1], "guess") == 0) {
    sweep((unsigned)atoi(argv[2]), argc > 3 ? argv[3] : NULL, 1);
    return 0;
  }
  if (argc > 2 && strcmp(argv[1], "alone") == 0) {
    sweep((unsigned)atoi(argv[2]), argc > 3 ? argv[3] : NULL, 2);
    return 0;
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
