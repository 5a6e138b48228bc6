/* guard.c - what may be sent to whom: forbidden targets and punch budgets.
 *
 * Two kinds of budget. A rate is a token bucket: a burst, then so many per
 * second. A quota is full again only after a pause without any datagram, so in
 * no span as long as the pause does more than the quota go out, which a token
 * bucket can't promise.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/guard.h"

#include "base/addr.h"
#include "base/hash.h"
#include "base/time.h"

#include <string.h>

typedef struct guard_limit {
  double burst;
  double per_second; /* a rate; 0: a quota */
  aq_duration pause; /* of a quota */
} guard_limit;

/* A target: nine datagrams are a round of openers, six probes and two more,
 * and 600 bytes are less than one unvalidated QUIC server may send for one
 * Initial, so a peer gains nothing by naming a victim to us. */
static const guard_limit limit_target = {9, 0, 10 * AQ_S};
static const guard_limit limit_target_bytes = {600, 0, 10 * AQ_S};
/* A /24 or /48: one session's eight candidates in one network, seven datagrams
 * each, pass at once. */
static const guard_limit limit_prefix = {64, 32, 0};
/* A requesting peer. */
static const guard_limit limit_peer = {200, 100, 0};
/* A session, in all: eight candidates, seven datagrams, three attempts are
 * 168. */
static const guard_limit limit_session = {200, 0, 300 * AQ_S};
/* Session keys are our own numbers, so another session may have a slot to
 * itself once the first was quiet for so long. */
#define GUARD_SESSION_QUIET (5 * AQ_S)
/* An endpoint. */
static const guard_limit limit_endpoint = {400, 200, 0};

/* Full-sized datagrams to an IP: a ClientHello with a post-quantum key share is
 * two, and it may be sent four times. */
static const guard_limit limit_initial = {8, 0, 10 * AQ_S};

/* Guessed ports: 1024 against 256 sockets hit with 98 %, and may cost a NAT
 * that shares its IP as many entries. */
static const guard_limit limit_guess = {AQ_GUARD_GUESSES, 0,
                                        AQ_GUARD_GUESS_PAUSE};
static const guard_limit limit_guess_rate = {40, 1000, 0};
#define GUARD_GUESS_LEASE (10 * AQ_S)

const char *aq_guard_name(aq_guard_verdict v) {
  switch (v) {
  case AQ_GUARD_OK:
    return "ok";
  case AQ_GUARD_FORBIDDEN:
    return "punch_forbidden";
  case AQ_GUARD_SESSION:
    return "punch_session";
  case AQ_GUARD_TARGET:
    return "punch_target";
  case AQ_GUARD_PREFIX:
    return "punch_prefix";
  case AQ_GUARD_PEER:
    return "punch_peer";
  case AQ_GUARD_ENDPOINT:
    return "punch_endpoint";
  case AQ_GUARD_GUESS_TARGET:
    return "guess_target";
  case AQ_GUARD_GUESS_PEER:
    return "guess_peer";
  case AQ_GUARD_GUESS_ENDPOINT:
    return "guess_endpoint";
  case AQ_GUARD_GUESS_RATE:
    return "guess_rate";
  case AQ_GUARD_GUESS_BUSY:
    return "guess_busy";
  }
  return "unknown";
}

/* ---- classes of addresses ------------------------------------------------ */

/* UDP services above 1023 that answer strangers, often with more than they
 * got: SSDP, WS-Discovery, mDNS, LLMNR, memcached. */
static int guard_is_service(uint16_t port) {
  static const uint16_t services[] = {1900, 3702, 5353, 5355, 11211};
  if (port < 1024) {
    return 1;
  }
  for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
    if (services[i] == port) {
      return 1;
    }
  }
  return 0;
}

static int guard_kind_allowed(const aq_guard_request *r, aq_addr_kind kind) {
  switch (kind) {
  case AQ_ADDR_GLOBAL:
    return 1;
  case AQ_ADDR_PRIVATE:
  case AQ_ADDR_ULA:
    return r->same_nat || r->allow_private;
  case AQ_ADDR_CGNAT:
    return r->same_nat || r->allow_private || r->allow_reserved;
  case AQ_ADDR_BENCHMARK:
  case AQ_ADDR_DOCUMENTATION:
    return r->allow_reserved;
  case AQ_ADDR_LOOPBACK:
    return r->allow_loopback;
  case AQ_ADDR_NONE:
  case AQ_ADDR_UNSPECIFIED:
  case AQ_ADDR_LINK_LOCAL:
  case AQ_ADDR_MULTICAST:
  case AQ_ADDR_BROADCAST:
  case AQ_ADDR_RESERVED:
  case AQ_ADDR_TRANSLATED:
    return 0;
  }
  return 0;
}

aq_guard_verdict aq_guard_classify(const aq_guard_request *r) {
  if (r->target->port == 0 ||
      (!r->verified && guard_is_service(r->target->port)) ||
      !guard_kind_allowed(r, aq_addr_classify(r->target))) {
    return AQ_GUARD_FORBIDDEN;
  }
  return AQ_GUARD_OK;
}

/* ---- budgets ------------------------------------------------------------- */

/* What is still spent at |now|. */
static double bucket_spent(const aq_bucket *b, const guard_limit *l,
                           aq_tstamp now) {
  aq_duration gone = aq_time_since(now, b->last);
  if (l->per_second == 0) {
    return gone >= l->pause ? 0 : b->spent;
  }
  double spent = b->spent - (double)gone * l->per_second / 1e9;
  return spent > 0 ? spent : 0;
}

void aq_guard_init(aq_guard *g, uint64_t salt) {
  g->salt = salt;
}

/* One budget that a datagram must fit. */
typedef struct guard_due {
  aq_bucket *bucket; /* shared by all keys of its slot: never larger */
  const guard_limit *limit;
  uint64_t key;
  double cost;
  aq_guard_verdict verdict;
} guard_due;

/* A claimed address counts by its IP alone, or a liar could name one victim
 * under 65535 ports. One that a coordinator saw counts with its port, since
 * many peers can share an IP, and so does loopback: there is no third party. */
static uint64_t guard_target_key(const aq_guard *g, const aq_guard_request *r,
                                 const aq_addr *a, int loopback) {
  if (r->verified || loopback) {
    return aq_addr_hash(a, g->salt);
  }
  return aq_addr_hash_prefix(a, 128, g->salt);
}

static aq_bucket *guard_session(aq_guard *g, aq_tstamp now, uint64_t key) {
  aq_bucket *b = &g->session[key % AQ_GUARD_SLOTS];
  if (b->key != key && aq_time_since(now, b->last) >= GUARD_SESSION_QUIET) {
    b->spent = 0;
  }
  return b;
}

static size_t guard_dues(aq_guard *g, aq_tstamp now, const aq_guard_request *r,
                         guard_due due[6]) {
  aq_addr a = *r->target;
  aq_addr_normalize(&a);
  int loopback = aq_addr_classify(&a) == AQ_ADDR_LOOPBACK;
  uint64_t salt[2] = {g->salt, aq_mix64(g->salt + 1)};
  size_t n = 0;
  uint64_t key = guard_target_key(g, r, &a, loopback);
  due[n++] = (guard_due){&g->target[key % AQ_GUARD_TARGETS], &limit_target, key,
                         1, AQ_GUARD_TARGET};
  due[n++] =
      (guard_due){&g->target_bytes[key % AQ_GUARD_TARGETS], &limit_target_bytes,
                  key, (double)r->len, AQ_GUARD_TARGET};
  if (!loopback) {
    key = aq_addr_hash_prefix(&a, a.family == 4 ? 24 : 48, g->salt);
    due[n++] = (guard_due){&g->prefix[key % AQ_GUARD_SLOTS], &limit_prefix, key,
                           1, AQ_GUARD_PREFIX};
  }
  if (r->peer != NULL) {
    key = aq_siphash(salt, r->peer->bytes, sizeof(r->peer->bytes));
    due[n++] = (guard_due){&g->peer[key % AQ_GUARD_SLOTS], &limit_peer, key, 1,
                           AQ_GUARD_PEER};
  }
  key = aq_siphash(salt, &r->session_key, sizeof(r->session_key));
  due[n++] = (guard_due){guard_session(g, now, key), &limit_session, key, 1,
                         AQ_GUARD_SESSION};
  due[n++] =
      (guard_due){&g->endpoint, &limit_endpoint, 0, 1, AQ_GUARD_ENDPOINT};
  return n;
}

static aq_guard_verdict guard_fits(const guard_due *due, size_t n,
                                   aq_tstamp now) {
  for (size_t i = 0; i < n; i++) {
    double spent = bucket_spent(due[i].bucket, due[i].limit, now);
    if (spent + due[i].cost > due[i].limit->burst) {
      return due[i].verdict;
    }
  }
  return AQ_GUARD_OK;
}

/* All or nothing: what is refused is not paid for anywhere. */
static aq_guard_verdict guard_pay(const guard_due *due, size_t n,
                                  aq_tstamp now) {
  aq_guard_verdict verdict = guard_fits(due, n, now);
  for (size_t i = 0; verdict == AQ_GUARD_OK && i < n; i++) {
    aq_bucket *b = due[i].bucket;
    b->spent = bucket_spent(b, due[i].limit, now) + due[i].cost;
    b->last = aq_time_max(b->last, now);
    b->key = due[i].key;
  }
  return verdict;
}

aq_guard_verdict aq_guard_take(aq_guard *g, aq_tstamp now,
                               const aq_guard_request *r) {
  guard_due due[6];
  aq_guard_verdict verdict = aq_guard_classify(r);
  if (verdict != AQ_GUARD_OK) {
    return verdict;
  }
  return guard_pay(due, guard_dues(g, now, r, due), now);
}

/* ---- guessed ports --------------------------------------------------------
 */

static size_t guess_dues(aq_guard *g, const aq_guard_request *r, double cost,
                         guard_due due[3]) {
  aq_addr a = *r->target;
  aq_addr_normalize(&a);
  uint64_t salt[2] = {g->salt, aq_mix64(g->salt + 1)};
  size_t n = 0;
  uint64_t key = aq_addr_hash_prefix(&a, 128, g->salt);
  due[n++] = (guard_due){&g->guess_target[key % AQ_GUARD_SLOTS], &limit_guess,
                         key, cost, AQ_GUARD_GUESS_TARGET};
  if (r->peer != NULL) {
    key = aq_siphash(salt, r->peer->bytes, sizeof(r->peer->bytes));
    due[n++] = (guard_due){&g->guess_peer[key % AQ_GUARD_SLOTS], &limit_guess,
                           key, cost, AQ_GUARD_GUESS_PEER};
  }
  due[n++] = (guard_due){&g->guess_endpoint, &limit_guess, 0, cost,
                         AQ_GUARD_GUESS_ENDPOINT};
  return n;
}

aq_guard_verdict aq_guard_begin_guess(aq_guard *g, aq_tstamp now,
                                      const aq_guard_request *r,
                                      uint32_t count) {
  guard_due due[3];
  int many = count > AQ_GUARD_GUESS_FEW;
  if (many && g->guess_holder != 0 && g->guess_holder != r->session_key &&
      now < g->guess_until) {
    return AQ_GUARD_GUESS_BUSY;
  }
  aq_guard_verdict verdict =
      guard_fits(due, guess_dues(g, r, (double)(count + 1) / 2, due), now);
  if (verdict == AQ_GUARD_OK && many) {
    g->guess_holder = r->session_key;
    g->guess_until = aq_time_add(now, GUARD_GUESS_LEASE);
  }
  return verdict;
}

aq_tstamp aq_guard_guess_at(aq_guard *g, aq_tstamp now,
                            const aq_guard_request *r, uint32_t count) {
  guard_due due[3];
  size_t n = guess_dues(g, r, (double)(count + 1) / 2, due);
  aq_tstamp at = now;
  if (count > AQ_GUARD_GUESS_FEW && g->guess_holder != 0 &&
      g->guess_holder != r->session_key) {
    at = aq_time_max(at, g->guess_until);
  }
  for (size_t i = 0; i < n; i++) {
    if (guard_fits(&due[i], 1, now) != AQ_GUARD_OK) {
      at = aq_time_max(at,
                       aq_time_add(due[i].bucket->last, due[i].limit->pause));
    }
  }
  return at;
}

void aq_guard_end_guess(aq_guard *g, uint32_t session_key) {
  if (g->guess_holder == session_key) {
    g->guess_holder = 0;
  }
}

aq_guard_verdict aq_guard_take_guess(aq_guard *g, aq_tstamp now,
                                     const aq_guard_request *r) {
  guard_due due[4];
  aq_guard_verdict verdict = aq_guard_classify(r);
  if (verdict != AQ_GUARD_OK) {
    return verdict;
  }
  size_t n = guess_dues(g, r, 1, due);
  due[n++] =
      (guard_due){&g->guess_rate, &limit_guess_rate, 0, 1, AQ_GUARD_GUESS_RATE};
  return guard_pay(due, n, now);
}

int aq_guard_take_initial(aq_guard *g, aq_tstamp now, const aq_addr *target,
                          size_t count, size_t leave) {
  aq_addr a = *target;
  aq_addr_normalize(&a);
  if (aq_addr_classify(&a) == AQ_ADDR_LOOPBACK) {
    return 1;
  }
  uint64_t key = aq_addr_hash_prefix(&a, 128, g->salt);
  aq_bucket *b = &g->initial[key % AQ_GUARD_SLOTS];
  double spent = bucket_spent(b, &limit_initial, now);
  if (spent + (double)(count + leave) > limit_initial.burst) {
    return 0;
  }
  b->spent = spent + (double)count;
  b->last = aq_time_max(b->last, now);
  b->key = key;
  return 1;
}

static void give_back(aq_bucket *b, uint64_t key) {
  if (b->key == key) {
    b->spent = 0;
  }
}

void aq_guard_answered(aq_guard *g, const aq_addr *target) {
  aq_addr a = *target;
  aq_addr_normalize(&a);
  uint64_t ip = aq_addr_hash_prefix(&a, 128, g->salt);
  uint64_t keys[2] = {ip, aq_addr_hash(&a, g->salt)};
  give_back(&g->initial[ip % AQ_GUARD_SLOTS], ip);
  for (size_t i = 0; i < 2; i++) {
    give_back(&g->target[keys[i] % AQ_GUARD_TARGETS], keys[i]);
    give_back(&g->target_bytes[keys[i] % AQ_GUARD_TARGETS], keys[i]);
  }
}
