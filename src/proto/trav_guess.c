/* trav_guess.c - openers and sprayer: many sockets wait behind a NAT that gives
 * each destination another port, and the other side guesses those ports.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/addr.h"
#include "base/hash.h"
#include "base/time.h"
#include "proto/guard.h"

#include <stdio.h>
#include <string.h>

/* ---- roles -----------------------------------------------------------------
 */

/* What is not known is what would help. */
static const char *role_of(aq_trav *t) {
  const aq_nat_profile *me = &t->p.profile, *you = &t->remote_profile;
  aq_trav_hard *h = &t->hard;
  if (!aq_trav_is_hard(me) && !aq_trav_is_hard(you)) {
    return "no NAT is known to give ports by destination: there is nothing to "
           "guess";
  }
  if (!aq_trav_is_hard(you)) {
    h->role = AQ_HARD_OPENER;
  } else if (!aq_trav_is_hard(me)) {
    h->role = AQ_HARD_SPRAYER;
  } else if (h->how == AQ_PLAN_PREDICT &&
             me->allocation == AQ_NAT_ALLOC_SEQUENTIAL &&
             you->allocation == AQ_NAT_ALLOC_SEQUENTIAL) {
    h->role = AQ_HARD_PARALLEL;
  } else {
    return "both NATs give ports by destination, and not in sequence";
  }
  return NULL;
}

static uint64_t draw(aq_trav *t) {
  t->rng = aq_mix64(t->rng + 1);
  return t->rng;
}

static uint32_t at_most(uint32_t wanted, uint32_t most) {
  return wanted == 0 || wanted > most ? most : wanted;
}

static int is_block(const aq_nat_profile *p) {
  return p->allocation == AQ_NAT_ALLOC_BLOCK && p->block_size != 0;
}

const char *aq_trav_guess_plan(aq_trav *t, uint32_t *sockets,
                               uint32_t *guesses) {
  aq_trav_hard *h = &t->hard;
  const char *why = role_of(t);
  if (why) {
    return why;
  }
  /* A target was not told: it takes what the plan needs. */
  uint32_t nsock = t->initiator ? h->step.sockets : 0;
  uint32_t nprobe = t->initiator ? h->step.probes : 0;
  const aq_nat_profile *hard =
      h->role == AQ_HARD_SPRAYER ? &t->remote_profile : &t->p.profile;
  if (is_block(hard)) {
    nsock = at_most(nsock, AQ_HARD_SOCKETS_BLOCK);
    nprobe = at_most(nprobe, hard->block_size);
  } else if (h->how == AQ_PLAN_PREDICT) {
    nsock = at_most(nsock, AQ_HARD_SOCKETS_PREDICT);
    nprobe = at_most(nprobe, 2 * AQ_HARD_WINDOW);
  } else {
    nsock = at_most(nsock, AQ_HARD_SOCKETS_BIRTHDAY);
  }
  /* A client moves its connection to another socket of its own. */
  *sockets = h->role == AQ_HARD_SPRAYER ? t->p.repair : nsock;
  *guesses =
      h->role == AQ_HARD_SPRAYER ? at_most(nprobe, AQ_HARD_PROBES) : nsock;
  h->guess.count = *guesses;
  h->guess.next = 0;
  if (h->role == AQ_HARD_PARALLEL) { /* openers, and probes of those sockets */
    *guesses = nsock * 7;
  }
  h->opened = 0;
  h->limit = NULL;
  return NULL;
}

/* ---- which ports -----------------------------------------------------------
 */

uint16_t aq_trav_guess_port(const aq_hard_guess *g, uint32_t k) {
  if (!g->sequence) {
    uint64_t at = ((uint64_t)g->factor * k + g->shift) % g->size;
    return (uint16_t)(g->low + at);
  }
  int32_t step = g->step ? g->step : 1;
  int32_t at;
  if (g->step) { /* what follows, then what came before */
    at = k < AQ_HARD_WINDOW ? (int32_t)k + 1
                            : (int32_t)AQ_HARD_WINDOW - (int32_t)k - 1;
  } else { /* either way, nearest first */
    at = k % 2 ? -(int32_t)(k / 2) - 1 : (int32_t)(k / 2) + 1;
  }
  int32_t port = g->base + at * step;
  return port < AQ_HARD_LOW_PORT || port > 65535 ? 0 : (uint16_t)port;
}

static uint32_t gcd(uint32_t a, uint32_t b) {
  while (b) {
    uint32_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}

static void shape(aq_trav *t) {
  aq_hard_guess *g = &t->hard.guess;
  const aq_nat_profile *you = &t->remote_profile;
  g->next = 0;
  g->low = AQ_HARD_LOW_PORT;
  g->size = 65536 - AQ_HARD_LOW_PORT;
  g->sequence = 0;
  if (is_block(you)) {
    g->low = you->block_base;
    g->size = you->block_size;
    if (g->low + g->size > 65536) {
      g->size = 65536 - g->low;
    }
  } else if (t->hard.how == AQ_PLAN_PREDICT) {
    g->sequence = 1;
    g->base = t->hard.hint[0].port;
    g->step = t->hard.hint_step;
  }
  if (g->count > g->size) {
    g->count = g->size;
  }
  do {
    g->factor = (uint32_t)(draw(t) % g->size);
  } while (g->size > 1 && gcd(g->factor, g->size) != 1);
  g->shift = (uint32_t)(draw(t) % g->size);
}

/* ---- sending ---------------------------------------------------------------
 */

static aq_trav_action *guess(aq_trav *t, uint32_t socket, const aq_addr *addr,
                             uint8_t type) {
  aq_trav_action *a = aq_trav_punch(t, type);
  if (a) {
    a->guess = 1;
    a->conn = t->agreed[0].coordinator;
    a->socket = socket;
    a->addr = *addr;
    a->punch.echo = aq_addr_hash(addr, t->hard.salt) | 1;
  }
  return a;
}

static int may_open(const aq_trav *t, const aq_addr *to) {
  return to->family == t->hard.bound.family && aq_trav_may_target(t, to);
}

/* Where the peer guesses from: where the coordinator sees it, or its new
 * socket. */
static const aq_addr *guesser(const aq_trav *t) {
  const aq_trav_hard *h = &t->hard;
  if (t->p.repair) {
    return h->nhint > 0 && may_open(t, &h->hint[0]) ? &h->hint[0] : NULL;
  }
  for (size_t i = 0; i < t->nremote; i++) {
    const aq_candidate *c = &t->remote[i];
    if (c->verified && may_open(t, &c->addr)) {
      return &c->addr;
    }
  }
  return NULL;
}

static void begin(aq_trav *t) {
  t->timer[AQ_TRAV_TIMER_GUESS] = t->now;
  aq_trav_hard_punch(t);
  aq_trav_guess_due(t);
}

void aq_trav_guess_open(aq_trav *t) {
  if (!guesser(t)) {
    aq_trav_attempt_failed(t, AQ_ERR_NO_CANDIDATES,
                           "no address of the peer was seen by the coordinator "
                           "in the family of the new sockets");
    return;
  }
  begin(t);
}

static void open_some(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  uint32_t n = h->opened ? AQ_HARD_BATCH : AQ_HARD_FIRST_BATCH;
  const aq_addr *to = guesser(t);
  for (; to && n && h->opened < h->nsock; n--) {
    aq_trav_action *a =
        guess(t, h->sock[h->opened++].index, to, AQ_PUNCH_OPENER);
    if (a) {
      a->ttl = t->punch.opener_ttl;
      a->verified = 1;
    }
  }
  if (h->opened < h->nsock) {
    t->timer[AQ_TRAV_TIMER_GUESS] = t->now + AQ_HARD_BATCH_GAP;
  } else {
    aq_trav_hard_tell(t);
  }
}

void aq_trav_guess_spray(aq_trav *t) {
  if (!aq_trav_may_target(t, &t->hard.hint[0])) {
    aq_trav_attempt_failed(t, AQ_ERR_NO_CANDIDATES,
                           "the peer's address may not be tried");
    return;
  }
  shape(t);
  begin(t);
}

static void spray_some(aq_trav *t) {
  aq_trav_hard *h = &t->hard;
  aq_hard_guess *g = &h->guess;
  for (uint32_t n = 0; n < AQ_HARD_BATCH && g->next < g->count;) {
    aq_addr to = h->hint[0];
    to.port = aq_trav_guess_port(g, g->next++);
    if (to.port >= AQ_HARD_LOW_PORT) {
      guess(t, h->nsock ? h->sock[0].index : AQ_TRAV_HOME, &to, AQ_PUNCH_PROBE);
      n++;
    }
  }
  if (g->next < g->count) {
    t->timer[AQ_TRAV_TIMER_GUESS] = t->now + AQ_HARD_BATCH_GAP;
  } else {
    aq_trav_check_spent(t);
  }
}

void aq_trav_guess_due(aq_trav *t) {
  t->timer[AQ_TRAV_TIMER_GUESS] = AQ_NEVER;
  if (t->hard.role == AQ_HARD_OPENER) {
    open_some(t);
  } else {
    spray_some(t);
  }
}

void aq_trav_guess_stop(aq_trav *t) {
  t->timer[AQ_TRAV_TIMER_GUESS] = AQ_NEVER;
}

void aq_trav_guess_refused(aq_trav *t, aq_guard_verdict v) {
  aq_trav_hard *h = &t->hard;
  if (v == AQ_GUARD_FORBIDDEN) {
    return; /* one port of a service, among many */
  }
  if (v == AQ_GUARD_GUESS_RATE) {
    /* Others of ours guess as well: that one goes again, with the next. */
    h->guess.next -= h->guess.next > 0;
    h->opened -= h->opened > 0;
    t->timer[AQ_TRAV_TIMER_GUESS] = t->now + AQ_HARD_BATCH_GAP;
    return;
  }
  h->limit = aq_guard_name(v);
  aq_trav_guess_stop(t);
  aq_trav_check_spent(t);
}

int aq_trav_guess_echo(const aq_trav *t, const aq_addr *from, uint64_t echo) {
  return t->hard.stage == AQ_HARD_RUNNING &&
         echo == (aq_addr_hash(from, t->hard.salt) | 1);
}
