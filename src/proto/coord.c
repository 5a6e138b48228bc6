/* coord.c - the coordinator's role.
 *
 * Work per message is O(1): two hash tables of registrations, and two fixed
 * tables of four-way sets, of running attempts and of the pairs' budgets. What
 * is pushed out of a set early costs a veto or a repeated answer its way, and
 * nothing else.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/coord.h"

#include "base/addr.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/time.h"
#include "proto/disc.h"

#include <string.h>

#define WAYS 4
#define RECENT 8
#define PAIR_BURST 3
#define PAIR_SLOTS 4096
#define MAX_ATTEMPTS 4096
#define MIN_ATTEMPTS 64
/* HINTs that are passed on in one attempt; more are dropped. */
#define MAX_HINTS 16

typedef struct budget {
  uint64_t key;
  uint64_t tokens; /* thousandths */
  aq_tstamp last;
  uint8_t used;
} budget;

typedef struct attempt {
  uint8_t used;
  aq_tstamp at, expires;
  aq_peer_id asker, target;
  aq_id asker_conn, target_conn;
  uint64_t request;
  uint8_t nonce[AQ_CTL_NONCE_LEN];
  uint8_t session[AQ_CTL_SESSION_LEN];
  uint8_t key[AQ_PUNCH_KEY_LEN];
  aq_duration asker_rtt, target_rtt;
  uint8_t plan; /* aq_plan */
  uint8_t hints;
} attempt;

typedef struct registration {
  aq_peer_id peer;
  aq_id conn;
  uint64_t capabilities;
  budget rate;             /* of its requests */
  budget offers;           /* to it: many who ask together don't drown it */
  uint16_t recent[RECENT]; /* attempts it asked for, index + 1 */
  uint8_t recent_next;
  aq_nat_profile profile;
  size_t ncand;
  aq_candidate cand[AQ_MAX_CANDIDATES];
} registration;

struct aq_coord {
  aq_coord_params p;
  aq_mem mem;
  int salted;
  uint64_t salt[2];
  aq_hash by_peer, by_conn;
  attempt *attempts;
  uint32_t nattempt; /* a power of two; 0: nobody has asked yet */
  budget *pairs;
};

void aq_coord_params_init(aq_coord_params *p) {
  memset(p, 0, sizeof(*p));
  p->max_registrations = 65536;
  p->per_asker_rate = 10;
  p->per_asker_burst = 64;
  p->per_pair_rate = 1;
  p->per_target_rate = 50;
  p->expiry_ms = 10000;
}

int aq_coord_new(aq_coord **pc, const aq_coord_params *p, const aq_env *env) {
  aq_mem mem;
  *pc = NULL;
  if (!p->max_registrations || !p->per_asker_rate || !p->per_asker_burst ||
      !p->per_pair_rate || !p->per_target_rate || !p->expiry_ms) {
    return AQ_ERR_INVAL;
  }
  aq_mem_init(&mem, env);
  aq_coord *c = aq_mem_alloc(&mem, sizeof(*c));
  if (!c) {
    return AQ_ERR_NOMEM;
  }
  c->p = *p;
  c->mem = mem;
  if (env && env->random) {
    c->salted = env->random(env->user, (uint8_t *)c->salt, 16) == 0;
  }
  aq_hash_init(&c->by_peer, &mem, c->salt);
  aq_hash_init(&c->by_conn, &mem, c->salt);
  *pc = c;
  return 0;
}

/* The tables of attempts: most who may coordinate are never asked to. */
static int make_tables(aq_coord *c) {
  uint32_t n = MIN_ATTEMPTS;
  while (n < MAX_ATTEMPTS && n < c->p.max_registrations / 16) {
    n *= 2;
  }
  if (!c->pairs) {
    c->pairs = aq_mem_array(&c->mem, PAIR_SLOTS, sizeof(budget));
  }
  if (c->pairs && !c->attempts) {
    c->attempts = aq_mem_array(&c->mem, n, sizeof(attempt));
    c->nattempt = c->attempts ? n : 0;
  }
  return c->attempts ? 0 : AQ_ERR_NOMEM;
}

void aq_coord_del(aq_coord *c) {
  if (!c) {
    return;
  }
  size_t cursor = 0;
  for (void *r; (r = aq_hash_next(&c->by_peer, &cursor));) {
    aq_mem_free(&c->mem, r);
  }
  aq_hash_free(&c->by_peer);
  aq_hash_free(&c->by_conn);
  /* One that is not in use was never, or was wiped when it ended. */
  for (uint32_t i = 0; c->attempts && i < c->nattempt; i++) {
    if (c->attempts[i].used) {
      aq_mem_wipe(&c->attempts[i], sizeof(attempt));
    }
  }
  aq_mem_free(&c->mem, c->attempts);
  aq_mem_free(&c->mem, c->pairs);
  aq_mem mem = c->mem;
  aq_mem_free(&mem, c);
}

static registration *of_peer(const aq_coord *c, const aq_peer_id *peer) {
  return aq_hash_get(&c->by_peer, peer->bytes, sizeof(peer->bytes));
}

static registration *of_conn(const aq_coord *c, aq_id conn) {
  return aq_hash_get(&c->by_conn, &conn, sizeof(conn));
}

aq_id aq_coord_lookup(const aq_coord *c, const aq_peer_id *peer) {
  const registration *r = of_peer(c, peer);
  return r ? r->conn : 0;
}

void aq_coord_forget(aq_coord *c, aq_id conn) {
  registration *r = aq_hash_remove(&c->by_conn, &conn, sizeof(conn));
  if (r) {
    aq_hash_remove(&c->by_peer, r->peer.bytes, sizeof(r->peer.bytes));
    aq_mem_free(&c->mem, r);
  }
}

uint32_t aq_coord_count(const aq_coord *c) {
  return (uint32_t)aq_hash_count(&c->by_conn);
}

/* ---- budgets ----------------------------------------------------------------
 */

/* Takes one token of |burst|, which come at |rate| a second. Returns 0, or how
 * many milliseconds to wait. */
static uint64_t pay(budget *b, aq_tstamp now, uint32_t rate, uint32_t burst) {
  uint64_t full = (uint64_t)burst * 1000;
  aq_duration idle = aq_time_since(now, b->last);
  uint64_t gained = idle / AQ_S > full / 1000
                        ? full
                        : idle / AQ_US * rate / 1000; /* thousandths */
  if (!b->used || gained >= full - b->tokens) {
    b->tokens = full;
    b->last = now;
  } else if (gained) {
    b->tokens += gained;
    b->last = now;
  }
  b->used = 1;
  if (b->tokens >= 1000) {
    b->tokens -= 1000;
    return 0;
  }
  uint64_t wait = (1000 - b->tokens + rate - 1) / rate;
  return wait ? wait : 1;
}

static uint64_t pair_hash(const aq_coord *c, const aq_peer_id *a,
                          const aq_peer_id *b) {
  uint8_t both[64];
  int less = aq_peer_id_compare(a, b) < 0;
  memcpy(both, less ? a->bytes : b->bytes, 32);
  memcpy(both + 32, less ? b->bytes : a->bytes, 32);
  return aq_siphash(c->salt, both, sizeof(both));
}

/* The budget of asker -> target. With four busier ones in its set, the oldest
 * is shared: stricter, never looser. */
static budget *pair_budget(aq_coord *c, uint64_t hash, aq_tstamp now) {
  budget *set = &c->pairs[hash % (PAIR_SLOTS / WAYS) * WAYS];
  aq_duration refill = AQ_S * PAIR_BURST / c->p.per_pair_rate;
  budget *best = &set[0];
  for (int i = 0; i < WAYS; i++) {
    if (set[i].used && set[i].key == hash) {
      return &set[i];
    }
    if (!set[i].used || set[i].last < best->last) {
      best = &set[i];
    }
    if (!best->used) {
      break;
    }
  }
  if (!best->used || aq_time_since(now, best->last) >= refill) {
    memset(best, 0, sizeof(*best));
    best->key = hash;
  }
  return best;
}

/* ---- attempts
 * ---------------------------------------------------------------- */

static attempt *attempt_of_pair(aq_coord *c, aq_tstamp now, const aq_peer_id *a,
                                const aq_peer_id *b) {
  attempt *set = &c->attempts[pair_hash(c, a, b) % (c->nattempt / WAYS) * WAYS];
  for (int i = 0; i < WAYS; i++) {
    attempt *t = &set[i];
    if (t->used && t->expires > now &&
        ((!aq_peer_id_compare(&t->asker, a) &&
          !aq_peer_id_compare(&t->target, b)) ||
         (!aq_peer_id_compare(&t->asker, b) &&
          !aq_peer_id_compare(&t->target, a)))) {
      return t;
    }
  }
  return NULL;
}

static attempt *attempt_new(aq_coord *c, aq_tstamp now, const aq_peer_id *a,
                            const aq_peer_id *b) {
  attempt *best = attempt_of_pair(c, now, a, b);
  attempt *set = &c->attempts[pair_hash(c, a, b) % (c->nattempt / WAYS) * WAYS];
  for (int i = 0; i < WAYS && !best; i++) {
    best = set[i].used && set[i].expires > now ? NULL : &set[i];
  }
  for (int i = 0; i < WAYS && !best; i++) {
    best = &set[0];
    for (int k = 1; k < WAYS; k++) {
      best = set[k].at < best->at ? &set[k] : best;
    }
  }
  memset(best, 0, sizeof(*best));
  best->used = 1;
  best->at = now;
  return best;
}

/* A session id's first two bytes say where its attempt is kept. */
static void session_mark(const aq_coord *c, uint8_t *session, uint32_t index) {
  session[0] = (uint8_t)((index >> 8) ^ c->salt[0]);
  session[1] = (uint8_t)(index ^ c->salt[1]);
}

static attempt *attempt_of_session(aq_coord *c, aq_tstamp now,
                                   const uint8_t *session) {
  uint32_t index = (uint32_t)(uint8_t)(session[0] ^ c->salt[0]) << 8 |
                   (uint8_t)(session[1] ^ c->salt[1]);
  if (index >= c->nattempt) {
    return NULL;
  }
  attempt *t = &c->attempts[index];
  return t->used && t->expires > now &&
                 memcmp(t->session, session, sizeof(t->session)) == 0
             ? t
             : NULL;
}

static attempt *attempt_of_request(aq_coord *c, aq_tstamp now,
                                   const registration *r, uint64_t request) {
  for (int i = 0; i < RECENT; i++) {
    attempt *t = r->recent[i] ? &c->attempts[r->recent[i] - 1] : NULL;
    if (t && t->used && t->expires > now && t->request == request &&
        t->asker_conn == r->conn) {
      return t;
    }
  }
  return NULL;
}

/* ---- candidates
 * -------------------------------------------------------------- */

/* What a peer claims is only forwarded, and only when it can be somebody's. */
static int is_sane(const aq_coord *c, const aq_addr *seen, const aq_addr *a) {
  if (a->port == 0) {
    return 0;
  }
  switch (aq_addr_classify(a)) {
  case AQ_ADDR_GLOBAL:
  case AQ_ADDR_PRIVATE:
  case AQ_ADDR_ULA:
  case AQ_ADDR_CGNAT:
    return 1;
  case AQ_ADDR_BENCHMARK:
  case AQ_ADDR_DOCUMENTATION:
    return c->p.allow_reserved;
  case AQ_ADDR_LOOPBACK:
    return aq_addr_classify(seen) == AQ_ADDR_LOOPBACK;
  default:
    return 0;
  }
}

static size_t sanitize(const aq_coord *c, const aq_addr *seen,
                       const aq_candidate *in, size_t n, aq_candidate *out) {
  size_t kept = 0;
  for (size_t i = 0; i < n && kept < AQ_MAX_CANDIDATES - 1; i++) {
    if (is_sane(c, seen, &in[i].addr)) {
      out[kept] = in[i];
      out[kept].state = AQ_CAND_NEW;
      out[kept++].verified = 0;
    }
  }
  return kept;
}

/* The address that we see ourselves first, then the claimed ones. */
static void put_candidates(aq_ctl *m, const aq_addr *seen,
                           const aq_candidate *in, size_t n) {
  aq_candidate *first = &m->cand[m->cand_count++];
  first->addr = *seen;
  first->addr.scope = 0;
  first->source = AQ_SOURCE_OBSERVED;
  first->verified = 1;
  first->priority = aq_cand_priority(AQ_SOURCE_OBSERVED, 65535);
  for (size_t i = 0; i < n && m->cand_count < AQ_MAX_CANDIDATES; i++) {
    if (!aq_addr_equal(&in[i].addr, seen)) {
      m->cand[m->cand_count++] = in[i];
    }
  }
}

/* ---- messages
 * ------------------------------------------------------------------ */

static size_t put_error(aq_coord_msg *out, aq_id conn, uint64_t request,
                        uint64_t error, uint64_t retry_ms) {
  memset(out, 0, sizeof(*out));
  out->conn = conn;
  out->m.type = AQ_CTL_ERROR;
  out->m.request = request;
  out->m.error = error;
  out->m.retry_after_ms = retry_ms;
  return 1;
}

static size_t do_register(aq_coord *c, const aq_coord_peer *from,
                          const aq_ctl *m, aq_coord_msg *out,
                          aq_statistics *stats) {
  registration *r = of_peer(c, &from->peer);
  registration *other = of_conn(c, from->conn);
  if (other && other != r) { /* cannot be: a connection has one peer */
    aq_coord_forget(c, from->conn);
  }
  if (r && r->conn != from->conn) {
    /* A newer connection of the same peer. */
    if (aq_hash_put(&c->by_conn, &from->conn, sizeof(from->conn), r)) {
      return put_error(out, from->conn, 0, AQ_CTL_ERR_OVERLOADED, 1000);
    }
    aq_hash_remove(&c->by_conn, &r->conn, sizeof(r->conn));
    r->conn = from->conn;
  }
  if (!r) {
    r = aq_coord_count(c) < c->p.max_registrations
            ? aq_mem_alloc(&c->mem, sizeof(*r))
            : NULL;
    if (!r) {
      return put_error(out, from->conn, 0, AQ_CTL_ERR_OVERLOADED, 5000);
    }
    r->peer = from->peer;
    r->conn = from->conn;
    if (aq_hash_put(&c->by_peer, r->peer.bytes, sizeof(r->peer.bytes), r) ||
        aq_hash_put(&c->by_conn, &r->conn, sizeof(r->conn), r)) {
      aq_hash_remove(&c->by_peer, r->peer.bytes, sizeof(r->peer.bytes));
      aq_mem_free(&c->mem, r);
      return put_error(out, from->conn, 0, AQ_CTL_ERR_OVERLOADED, 1000);
    }
    stats->coordinator_registrations++;
  }
  r->capabilities = m->capabilities;
  r->profile = m->profile;
  r->ncand = sanitize(c, &from->addr, m->cand, m->cand_count, r->cand);
  memset(out, 0, sizeof(*out));
  out->conn = from->conn;
  out->m.type = AQ_CTL_REGISTERED;
  out->m.capabilities =
      AQ_CTL_CAP_COORDINATE | (c->p.relays ? AQ_CTL_CAP_RELAY : 0);
  out->m.observed = from->addr;
  return 1;
}

/* Who has the shorter way to us waits for the other. */
static uint64_t start_delay_us(aq_duration mine, aq_duration theirs) {
  return theirs > mine ? (theirs - mine) / 2 / AQ_US : 0;
}

static void put_common(const aq_coord *c, aq_coord_msg *out, const attempt *t,
                       aq_tstamp now) {
  (void)c;
  memset(out, 0, sizeof(*out));
  memcpy(out->m.nonce, t->nonce, sizeof(t->nonce));
  memcpy(out->m.session, t->session, sizeof(t->session));
  memcpy(out->m.key, t->key, sizeof(t->key));
  out->m.plan = t->plan;
  out->m.expiry_ms = aq_time_until(now, t->expires) / AQ_MS;
  out->m.rtt_us = aq_time_add(t->asker_rtt, t->target_rtt) / AQ_US;
}

static void put_answer(aq_coord *c, aq_coord_msg *out, const attempt *t,
                       aq_tstamp now, const aq_coord_peer *asker,
                       const aq_coord_peer *target) {
  const registration *r = of_conn(c, target->conn);
  put_common(c, out, t, now);
  out->conn = asker->conn;
  out->m.type = AQ_CTL_ANSWER;
  out->m.request = t->request;
  out->m.peer = t->target;
  out->m.observed = asker->addr;
  out->m.start_delay_us = start_delay_us(t->asker_rtt, t->target_rtt);
  out->m.profile = r->profile;
  put_candidates(&out->m, &target->addr, r->cand, r->ncand);
}

static void put_offer(aq_coord *c, aq_coord_msg *out, const attempt *t,
                      aq_tstamp now, const aq_coord_peer *asker,
                      const aq_coord_peer *target, const aq_candidate *cand,
                      size_t ncand) {
  put_common(c, out, t, now);
  out->conn = target->conn;
  out->m.type = AQ_CTL_OFFER;
  out->m.peer = t->asker;
  out->m.observed = target->addr;
  out->m.start_delay_us = start_delay_us(t->target_rtt, t->asker_rtt);
  const registration *r = of_conn(c, asker->conn);
  if (r) {
    out->m.profile = r->profile;
  }
  put_candidates(&out->m, &asker->addr, cand, ncand);
}

static size_t refuse(aq_coord_msg *out, const aq_coord_peer *from,
                     const aq_ctl *m, uint64_t error, uint64_t retry_ms,
                     aq_statistics *stats) {
  stats->coordinator_refused++;
  if (error == AQ_CTL_ERR_RATE_LIMITED) {
    stats->limit_coordinator_rate++;
  }
  return put_error(out, from->conn, m->request, error, retry_ms);
}

/* How long after |t| the other one's request may have crossed its offer. A
 * connection is repaired soon after it was made or repaired, too: that attempt
 * is over then. */
static aq_duration crossing(const attempt *t, const aq_ctl *m) {
  if (t->plan != AQ_PLAN_REPAIR && m->plan != AQ_PLAN_REPAIR) {
    return AQ_COORD_CROSSING;
  }
  aq_duration rtt = aq_time_add(t->asker_rtt, t->target_rtt);
  return t->plan != m->plan
             ? 0
             : aq_time_clamp(2 * rtt, 200 * AQ_MS, AQ_COORD_CROSSING);
}

static size_t do_request(aq_coord *c, aq_tstamp now, const aq_coord_peer *from,
                         const aq_ctl *m, const aq_coord_peer *target,
                         const uint8_t *random, aq_coord_msg *out,
                         aq_statistics *stats) {
  stats->coordinator_requests++;
  registration *me = of_conn(c, from->conn);
  if (!me || !aq_peer_id_compare(&from->peer, &m->peer)) {
    return refuse(out, from, m, AQ_CTL_ERR_NOT_ALLOWED, 0, stats);
  }
  uint64_t wait =
      pay(&me->rate, now, c->p.per_asker_rate, c->p.per_asker_burst);
  if (wait) {
    return refuse(out, from, m, AQ_CTL_ERR_RATE_LIMITED, wait, stats);
  }
  registration *you = of_peer(c, &m->peer);
  if (!you || !target || target->conn != you->conn) {
    return refuse(out, from, m, AQ_CTL_ERR_UNKNOWN_TARGET, 0, stats);
  }
  if (make_tables(c) != 0) {
    return refuse(out, from, m, AQ_CTL_ERR_OVERLOADED, 1000, stats);
  }
  attempt *t = attempt_of_request(c, now, me, m->request);
  if (t && !aq_peer_id_compare(&t->target, &m->peer)) {
    put_answer(c, out, t, now, from, target); /* it was sent twice */
    return 1;
  }
  t = attempt_of_pair(c, now, &from->peer, &m->peer);
  if (t && !aq_peer_id_compare(&t->asker, &m->peer) &&
      aq_time_since(now, t->at) < crossing(t, m) &&
      aq_peer_id_compare(&m->peer, &from->peer) < 0) {
    put_offer(c, out, t, now, target, from, you->cand, you->ncand);
    return 1;
  }
  uint64_t hash = pair_hash(c, &from->peer, &m->peer) +
                  (aq_peer_id_compare(&from->peer, &m->peer) < 0);
  wait = pay(pair_budget(c, hash, now), now, c->p.per_pair_rate, PAIR_BURST);
  if (wait) {
    return refuse(out, from, m, AQ_CTL_ERR_RATE_LIMITED, wait, stats);
  }
  wait = pay(&you->offers, now, c->p.per_target_rate, c->p.per_target_rate);
  if (wait) {
    return refuse(out, from, m, AQ_CTL_ERR_RATE_LIMITED, wait, stats);
  }
  t = attempt_new(c, now, &from->peer, &m->peer);
  t->expires = aq_time_add(now, aq_time_mul(AQ_MS, c->p.expiry_ms));
  t->asker = from->peer;
  t->target = m->peer;
  t->asker_conn = from->conn;
  t->target_conn = target->conn;
  t->request = m->request;
  t->plan = (uint8_t)m->plan;
  me->profile = m->profile; /* newer than that of its registration */
  t->asker_rtt = from->rtt;
  t->target_rtt = target->rtt;
  memcpy(t->nonce, m->nonce, sizeof(t->nonce));
  memcpy(t->session, random, sizeof(t->session));
  memcpy(t->key, random + sizeof(t->session), sizeof(t->key));
  uint32_t index = (uint32_t)(t - c->attempts);
  session_mark(c, t->session, index);
  me->recent[me->recent_next++ % RECENT] = (uint16_t)(index + 1);
  aq_candidate claimed[AQ_MAX_CANDIDATES];
  size_t n = sanitize(c, &from->addr, m->cand, m->cand_count, claimed);
  put_offer(c, &out[0], t, now, from, target, n ? claimed : me->cand,
            n ? n : me->ncand);
  put_answer(c, &out[1], t, now, from, target);
  stats->coordinator_offers++;
  return 2;
}

static size_t do_veto(aq_coord *c, aq_tstamp now, const aq_coord_peer *from,
                      const aq_ctl *m, aq_coord_msg *out,
                      aq_statistics *stats) {
  attempt *t = attempt_of_session(c, now, m->session);
  if (!t || aq_peer_id_compare(&t->target, &from->peer)) {
    return 0; /* over meanwhile, or not its business */
  }
  aq_id conn = t->asker_conn;
  uint64_t request = t->request;
  aq_mem_wipe(t, sizeof(*t));
  if (!of_conn(c, conn)) {
    return 0;
  }
  uint64_t error = m->error == AQ_CTL_ERR_OVERLOADED ||
                           m->error == AQ_CTL_ERR_NOT_ALLOWED ||
                           m->error == AQ_CTL_ERR_EXPIRED ||
                           m->error == AQ_CTL_ERR_NO_CONNECTION
                       ? m->error
                       : AQ_CTL_ERR_REFUSED;
  stats->coordinator_refused++;
  return put_error(out, conn, request, error, 0);
}

static size_t do_cancel(aq_coord *c, aq_tstamp now, const aq_coord_peer *from,
                        const aq_ctl *m, aq_coord_msg *out) {
  attempt *t = attempt_of_session(c, now, m->session);
  const registration *me = of_conn(c, from->conn);
  if (!t && me) {
    t = attempt_of_request(c, now, me, m->request);
  }
  if (!t || aq_peer_id_compare(&t->asker, &from->peer)) {
    return 0;
  }
  memset(out, 0, sizeof(*out));
  out->conn = t->target_conn;
  out->m.type = AQ_CTL_CANCEL;
  memcpy(out->m.session, t->session, sizeof(t->session));
  aq_mem_wipe(t, sizeof(*t));
  return of_conn(c, out->conn) ? 1 : 0;
}

static size_t do_hint(aq_coord *c, aq_tstamp now, const aq_coord_peer *from,
                      const aq_ctl *m, aq_coord_msg *out,
                      aq_statistics *stats) {
  attempt *t = attempt_of_session(c, now, m->session);
  if (!t || t->hints >= MAX_HINTS) {
    return 0;
  }
  aq_id other = t->target_conn;
  if (from->conn == t->target_conn) {
    other = t->asker_conn;
  } else if (from->conn != t->asker_conn) {
    return 0; /* not its business */
  }
  t->hints++;
  memset(out, 0, sizeof(*out));
  out->conn = other;
  out->m = *m;
  stats->coordinator_hints++;
  return of_conn(c, other) ? 1 : 0;
}

size_t
aq_coord_handle(aq_coord *c, aq_tstamp now, const aq_coord_peer *from,
                const aq_ctl *m, const aq_coord_peer *target,
                const uint8_t random[AQ_CTL_SESSION_LEN + AQ_PUNCH_KEY_LEN],
                aq_coord_msg *out, aq_statistics *stats) {
  if (!c->salted && aq_coord_count(c) == 0) {
    /* No random function: the first registration's bytes, which nobody ever
     * sees, do as salt. */
    memcpy(c->salt, random, sizeof(c->salt));
    c->salted = m->type == AQ_CTL_REGISTER;
    memcpy(c->by_peer.salt, c->salt, sizeof(c->salt));
    memcpy(c->by_conn.salt, c->salt, sizeof(c->salt));
  }
  switch (m->type) {
  case AQ_CTL_REGISTER:
    return do_register(c, from, m, out, stats);
  case AQ_CTL_REQUEST:
    return do_request(c, now, from, m, target, random, out, stats);
  case AQ_CTL_VETO:
    return do_veto(c, now, from, m, out, stats);
  case AQ_CTL_CANCEL:
    return do_cancel(c, now, from, m, out);
  case AQ_CTL_HINT:
    return do_hint(c, now, from, m, out, stats);
  default:
    return 0;
  }
}
