/* trav_plan.c - the punch step: which pairs, in which order, when.
 *
 * Both sides first send low-TTL openers, which open their own NAT and die on
 * the way, and nothing else before the other side's opener is out as well:
 * a NAT that hears a full datagram before its own host has spoken may give
 * that host another port (protocol.md section 4).
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/addr.h"
#include "base/hash.h"
#include "base/time.h"
#include "proto/disc.h"

#include <stdio.h>
#include <string.h>

/* How much later than our opener the other side's may be: unequal delays to
 * the coordinator, waiting for a processor. */
#define SKEW (12 * AQ_MS)
/* The target's first full datagram is later by this, so that it finds the
 * initiator's NAT opened even when the initiator is the late one: some NATs
 * would give up the port that the target was told. Where a port must be learnt
 * from the first datagram, or guessed, there is none to give up. */
#define TARGET_DELAY (10 * AQ_MS)
/* A round trip that is only estimated holds no probe back for longer. */
#define MAX_GAP (500 * AQ_MS)
/* After the last probe, the answer may still be on its way. */
#define GRACE (500 * AQ_MS)

void aq_punch_step_init(aq_punch_step *s) {
  memset(s, 0, sizeof(*s));
  s->rounds = 6;
  s->spacing = 20 * AQ_MS;
  s->openers = 1;
  s->opener_ttl = 2;
  s->opener_lead = 5 * AQ_MS;
  s->timeout = AQ_TRAV_PUNCH_TIMEOUT;
}

void aq_trav_clamp_punch(aq_punch_step *s) {
  s->rounds = s->rounds < 1 ? 1 : s->rounds > 16 ? 16 : s->rounds;
  s->spacing = aq_time_clamp(s->spacing, 10 * AQ_MS, AQ_S);
  s->openers = s->openers > 2 ? 2 : s->openers;
  s->opener_ttl = s->opener_ttl < 1 ? 1 : s->opener_ttl > 8 ? 8 : s->opener_ttl;
  s->opener_lead = aq_time_clamp(s->opener_lead, 0, 50 * AQ_MS);
  s->timeout = s->timeout == 0
                   ? AQ_TRAV_PUNCH_TIMEOUT
                   : aq_time_clamp(s->timeout, 100 * AQ_MS, 30 * AQ_S);
  if (s->count > AQ_MAX_CANDIDATES) {
    s->count = AQ_MAX_CANDIDATES;
  }
}

/* Two gaps of |spacing|, then each is f times the one before; f is the least
 * that spreads the rounds over about AQ_TRAV_COVER. So early probes come
 * close together and a loss or a late peer is met too: 0, 20, 40, 140, 640,
 * 3140 ms with the defaults. */
aq_duration aq_trav_gap(const aq_punch_step *s, uint32_t round) {
  uint64_t factor = 2;
  for (; factor < 8; factor++) {
    aq_duration sum = 0, gap = s->spacing;
    for (uint32_t k = 0; k + 1 < s->rounds; k++) {
      gap = k < 2 ? s->spacing : aq_time_mul(gap, factor);
      sum = aq_time_add(sum, gap);
    }
    if (sum >= AQ_TRAV_COVER / 5 * 4) {
      break;
    }
  }
  aq_duration gap = s->spacing;
  for (uint32_t k = 2; k <= round; k++) {
    gap = aq_time_mul(gap, factor);
  }
  return gap;
}

/* ---- pairs ----------------------------------------------------------------
 */

int aq_trav_is_private(const aq_addr *a) {
  switch (aq_addr_classify(a)) {
  case AQ_ADDR_PRIVATE:
  case AQ_ADDR_ULA:
  case AQ_ADDR_CGNAT:
  case AQ_ADDR_LOOPBACK:
    return 1;
  default:
    return 0;
  }
}

int aq_trav_may_target(const aq_trav *t, const aq_addr *a) {
  if (a->port == 0) {
    return 0;
  }
  switch (aq_addr_classify(a)) {
  case AQ_ADDR_GLOBAL:
    return 1;
  case AQ_ADDR_LOOPBACK:
    return t->p.allow_loopback;
  case AQ_ADDR_PRIVATE:
  case AQ_ADDR_ULA:
    return t->private_ok;
  case AQ_ADDR_CGNAT:
    return t->private_ok || t->p.allow_reserved;
  case AQ_ADDR_BENCHMARK:
  case AQ_ADDR_DOCUMENTATION:
    return t->p.allow_reserved;
  default:
    return 0;
  }
}

static int socket_reaches(const aq_local_socket *s, const aq_addr *remote) {
  if (s->bound.family != remote->family) {
    return 0;
  }
  aq_addr_kind bound = aq_addr_classify(&s->bound);
  if (bound == AQ_ADDR_UNSPECIFIED) {
    return 1;
  }
  return (bound == AQ_ADDR_LOOPBACK) ==
         (aq_addr_classify(remote) == AQ_ADDR_LOOPBACK);
}

static uint32_t local_priority(const aq_trav *t, uint8_t family) {
  for (size_t i = 0; i < t->p.nlocal; i++) {
    if (t->p.local[i].addr.family == family) {
      return t->p.local[i].priority;
    }
  }
  return aq_cand_priority(AQ_SOURCE_LOCAL, 65535);
}

static uint32_t order_of(const aq_trav *t, const aq_addr *a) {
  for (size_t i = 0; i < t->punch.count; i++) {
    if (aq_addr_equal(&t->punch.order[i], a)) {
      return (uint32_t)i;
    }
  }
  return AQ_MAX_CANDIDATES;
}

aq_trav_pair *aq_trav_pair_find(aq_trav *t, uint32_t socket,
                                const aq_addr *remote) {
  for (size_t i = 0; i < t->npair; i++) {
    if (t->pair[i].socket == socket &&
        aq_addr_equal(&t->pair[i].remote, remote)) {
      return &t->pair[i];
    }
  }
  return NULL;
}

int aq_trav_expects(const aq_trav *t, const aq_addr *remote) {
  for (size_t i = 0; i < t->npair; i++) {
    if (aq_addr_equal(&t->pair[i].remote, remote)) {
      return 1;
    }
  }
  return 0;
}

aq_trav_pair *aq_trav_pair_add(aq_trav *t, const aq_local_socket *sock,
                               const aq_candidate *c) {
  if (t->npair == AQ_TRAV_MAX_PAIRS) {
    return NULL;
  }
  uint32_t mine = local_priority(t, c->addr.family);
  uint32_t theirs =
      c->priority ? c->priority : aq_cand_priority((aq_source)c->source, 65535);
  aq_trav_pair *p = &t->pair[t->npair++];
  memset(p, 0, sizeof(*p));
  p->local = sock->bound;
  p->remote = c->addr;
  p->socket = sock->index;
  p->priority = t->initiator ? aq_pair_priority(mine, theirs)
                             : aq_pair_priority(theirs, mine);
  p->state = AQ_PAIR_WAITING;
  p->source = c->source;
  p->verified = c->verified;
  p->is_private = (uint8_t)aq_trav_is_private(&c->addr);
  p->rank = order_of(t, &c->addr);
  p->next = AQ_NEVER;
  return p;
}

static void pairs_of(aq_trav *t, const aq_candidate *c) {
  if (c->state == AQ_CAND_REMOVED || !aq_trav_may_target(t, &c->addr)) {
    return;
  }
  for (size_t i = 0; i < t->p.nsock; i++) {
    const aq_local_socket *s = &t->p.sock[i];
    if (!socket_reaches(s, &c->addr)) {
      continue;
    }
    aq_trav_pair *p = aq_trav_pair_find(t, s->index, &c->addr);
    if (p) {
      p->verified |= c->verified;
    } else {
      aq_trav_pair_add(t, s, c);
    }
  }
}

void aq_trav_pairs_more(aq_trav *t, const aq_candidate *c) {
  size_t first = t->npair;
  pairs_of(t, c);
  for (size_t i = first; i < t->npair; i++) {
    t->pair[i].state = AQ_PAIR_IN_PROGRESS;
    t->pair[i].left = (uint8_t)t->punch.rounds;
    aq_trav_pair_soon(t, &t->pair[i]);
  }
}

/* Less is first: the caller's order, host candidates behind one NAT, what a
 * coordinator saw, then RFC 8445's priority. */
static int pair_before(const aq_trav *t, const aq_trav_pair *a,
                       const aq_trav_pair *b) {
  if (a->rank != b->rank) {
    return a->rank < b->rank;
  }
  if (t->same_nat && a->is_private != b->is_private) {
    return a->is_private;
  }
  if (a->verified != b->verified) {
    return a->verified;
  }
  return a->priority > b->priority;
}

static void sort_pairs(aq_trav *t) {
  for (size_t i = 1; i < t->npair; i++) {
    aq_trav_pair p = t->pair[i];
    size_t k = i;
    for (; k > 0 && pair_before(t, &p, &t->pair[k - 1]); k--) {
      t->pair[k] = t->pair[k - 1];
    }
    t->pair[k] = p;
  }
}

void aq_trav_set_remote(aq_trav *t, const aq_ctl *m) {
  t->nremote = 0;
  t->same_nat = 0;
  t->observed = m->observed;
  for (size_t i = 0; i < m->cand_count && i < AQ_MAX_CANDIDATES; i++) {
    const aq_candidate *c = &m->cand[i];
    t->remote[t->nremote] = *c;
    t->remote[t->nremote].state = AQ_CAND_NEW;
    t->nremote++;
    if (c->verified && aq_addr_same_ip(&c->addr, &m->observed)) {
      t->same_nat = 1;
    }
  }
  /* A coordinator inside our private network sees private addresses. */
  t->private_ok = t->same_nat || t->p.allow_private ||
                  (m->observed.family && aq_trav_is_private(&m->observed));
}

const aq_candidate *aq_trav_cand_state(aq_trav *t, const aq_addr *addr,
                                       aq_cand_state state) {
  for (size_t i = 0; i < t->nremote; i++) {
    aq_candidate *c = &t->remote[i];
    if (!aq_addr_equal(&c->addr, addr)) {
      continue;
    }
    /* One local socket that reached it is enough. */
    if (c->state != AQ_CAND_VALID && c->state != AQ_CAND_REMOVED) {
      c->state = (uint8_t)state;
    }
    return c;
  }
  return NULL;
}

/* ---- the schedule ---------------------------------------------------------
 */

aq_trav_action *aq_trav_punch(aq_trav *t, uint8_t type) {
  aq_trav_action *a = aq_trav_push(t, AQ_TRAV_PUNCH);
  if (!a) {
    return NULL;
  }
  a->punch.type = type;
  a->punch.flags = t->initiator ? AQ_PUNCH_FLAG_INITIATOR : 0;
  memcpy(a->punch.session, t->agreed[0].session, sizeof(a->punch.session));
  a->punch.seq = ++t->seq;
  t->punches_sent++;
  if (t->rec_punch) {
    t->record[t->rec_punch - 1].sent++;
  }
  return a;
}

static aq_trav_action *punch(aq_trav *t, aq_trav_pair *pair, uint8_t type) {
  aq_trav_action *a = aq_trav_punch(t, type);
  if (a) {
    a->socket = pair->socket;
    a->addr = pair->remote;
    a->guess = pair->guess;
    a->verified = pair->verified && !pair->guess;
    pair->sent++;
  }
  return a;
}

static void probe(aq_trav *t, aq_trav_pair *pair, uint8_t type, uint8_t ttl) {
  aq_trav_action *a = punch(t, pair, type);
  if (!a) {
    return;
  }
  a->ttl = ttl;
  if (pair->guess) {
    a->punch.echo = aq_addr_hash(&pair->remote, t->hard.salt) | 1;
    return;
  }
  t->rng = aq_mix64(t->rng + t->seq);
  a->punch.echo = t->rng | 1; /* 0 is none */
  aq_trav_probe *log = &t->probe[t->nprobe++ % AQ_TRAV_PROBE_LOG];
  log->cookie = a->punch.echo;
  log->sent = t->now;
}

void aq_trav_answer(aq_trav *t, aq_trav_pair *pair, const aq_punch *of) {
  if (pair->answered >= AQ_TRAV_MAX_ANSWERS) {
    return;
  }
  aq_trav_action *a = punch(t, pair, AQ_PUNCH_ANSWER);
  if (a) {
    a->punch.echo = of->echo;
    pair->answered++;
  }
}

void aq_trav_arm(aq_trav *t, const aq_punch_step *s) {
  t->punch = *s;
  aq_trav_clamp_punch(&t->punch);
  t->timer[AQ_TRAV_TIMER_START] = aq_time_max(t->now, t->start_at);
}

void aq_trav_begin(aq_trav *t) {
  if (t->plan == AQ_PLAN_RELAY) {
    aq_trav_relay_begin(t);
  } else if (t->plan == AQ_PLAN_PUNCH) {
    aq_trav_arm(t, &t->schedule);
  } else {
    aq_trav_hard_begin(t);
  }
}

void aq_trav_kick(aq_trav *t) {
  if (t->timer[AQ_TRAV_TIMER_START] <= t->now) {
    aq_trav_start_punch(t);
  }
}

aq_duration aq_trav_patience(const aq_trav *t, aq_duration timeout) {
  return aq_time_max(timeout, aq_time_min(4 * t->rtt, 10 * AQ_S));
}

/* Nobody knows the port that one of the NATs will give, as far as is known. */
static int has_unknown_port(const aq_trav *t) {
  return aq_trav_is_hard(&t->p.profile) || aq_trav_is_hard(&t->remote_profile);
}

/* The lead is longer where the way to the peer is so short that it would not
 * make up for a late opener there. Through the coordinator it is rtt / 2, and
 * straight it may well be half of that. */
static aq_duration lead_of(const aq_trav *t, uint32_t openers) {
  if (!openers) {
    return 0;
  }
  aq_duration lead = t->punch.opener_lead;
  if (lead + t->rtt / 4 < SKEW) {
    lead = SKEW - t->rtt / 4;
  }
  int waits =
      !t->initiator && !(t->plan == AQ_PLAN_PUNCH && has_unknown_port(t));
  return waits ? lead + TARGET_DELAY : lead;
}

static uint32_t send_openers(aq_trav *t) {
  uint32_t n = 0;
  for (size_t i = 0; i < t->npair; i++) {
    if (t->pair[i].is_private) {
      continue;
    }
    /* One hop more for the second: it must pass our own NATs, however many. */
    for (unsigned k = 0; k < t->punch.openers; k++) {
      probe(t, &t->pair[i], AQ_PUNCH_OPENER,
            (uint8_t)(t->punch.opener_ttl + k));
      n++;
    }
  }
  return n;
}

static void start_pair(aq_trav *t, aq_trav_pair *p) {
  if (p->state == AQ_PAIR_WAITING) {
    p->state = AQ_PAIR_IN_PROGRESS;
    aq_trav_cand_state(t, &p->remote, AQ_CAND_VALIDATING);
    p->left = (uint8_t)t->punch.rounds;
    p->next = t->now;
  }
}

static void make_pairs(aq_trav *t) {
  t->npair = 0;
  t->nprobe = 0;
  t->dials_used = 0;
  memset(t->probe, 0, sizeof(t->probe));
  if (t->hard.stage != AQ_HARD_IDLE) {
    aq_trav_hard_pairs(t);
    return;
  }
  for (size_t i = 0; i < t->nremote; i++) {
    pairs_of(t, &t->remote[i]);
  }
  sort_pairs(t);
}

void aq_trav_open_early(aq_trav *t) {
  t->punch = t->schedule;
  make_pairs(t);
  send_openers(t);
}

/* How many addresses of the peer there is nothing to be done with. */
static uint32_t count_unusable(const aq_trav *t) {
  uint32_t n = 0;
  for (size_t i = 0; i < t->nremote; i++) {
    n += t->remote[i].state != AQ_CAND_REMOVED &&
         !aq_trav_expects(t, &t->remote[i].addr);
  }
  return n;
}

void aq_trav_start_punch(aq_trav *t) {
  t->timer[AQ_TRAV_TIMER_START] = AQ_NEVER;
  make_pairs(t);
  t->rec_punch =
      aq_trav_record_open(t,
                          t->hard.stage != AQ_HARD_IDLE
                              ? (aq_trav_step)(AQ_TRAV_STEP_PUNCH + t->plan)
                              : AQ_TRAV_STEP_PUNCH,
                          NULL);
  if (t->rec_punch) {
    aq_step_record *r = &t->record[t->rec_punch - 1];
    r->pairs = (uint32_t)t->npair;
    r->unusable = count_unusable(t);
  }
  if (t->npair == 0 && !aq_trav_hard_guesses(t)) {
    aq_trav_attempt_failed(
        t, AQ_ERR_NO_CANDIDATES,
        "the peer's addresses are private or loopback, or it has none");
    return;
  }
  t->punch_until = t->now + aq_trav_patience(t, t->punch.timeout);
  aq_event spare;
  aq_event *e = aq_trav_note(t, AQ_EVENT_HOLE_PUNCHING_STARTED, &spare);
  e->value = t->npair;
  aq_trav_move(t, AQ_PHASE_PUNCHING, "the start delay is over");
  aq_trav_watch(t);
  aq_duration lead =
      aq_time_max(lead_of(t, send_openers(t)), aq_trav_hard_lead(t));
  t->timer[AQ_TRAV_TIMER_LEAD] = t->now + lead;
  if (!lead) {
    aq_trav_lead_over(t);
    return;
  }
  /* Inside one network there is no NAT that could be spoilt. */
  for (size_t i = 0; i < t->npair; i++) {
    if (t->pair[i].is_private) {
      start_pair(t, &t->pair[i]);
    }
  }
  aq_trav_send_probes(t);
}

void aq_trav_lead_over(aq_trav *t) {
  t->timer[AQ_TRAV_TIMER_LEAD] = AQ_NEVER;
  uint8_t dialed[7] = {0}; /* by family */
  for (size_t i = 0; i < t->npair; i++) {
    aq_trav_pair *p = &t->pair[i];
    if (p->state == AQ_PAIR_FAILED) {
      continue;
    }
    start_pair(t, p);
    /* The one address that may get a QUIC Initial unasked: the coordinator
     * itself saw the peer there. */
    if (t->initiator && p->verified && !p->guess && !dialed[p->remote.family]) {
      dialed[p->remote.family] = 1;
      aq_trav_dial_pair(t, p);
    }
  }
  aq_trav_send_probes(t);
}

static void rearm_probes(aq_trav *t) {
  aq_tstamp next = AQ_NEVER;
  for (size_t i = 0; i < t->npair; i++) {
    next = aq_time_min(next, t->pair[i].next);
  }
  t->timer[AQ_TRAV_TIMER_PROBE] = next;
}

/* The next probe of |p| goes when an answer to the last one could have come. To
 * a way inside one network that says nothing; and where a port must be learnt
 * from a probe or guessed, all waits for one. */
static aq_duration gap_of(const aq_trav *t, const aq_trav_pair *p) {
  aq_duration gap = aq_trav_gap(&t->punch, p->round);
  if (p->is_private || t->plan != AQ_PLAN_PUNCH || has_unknown_port(t)) {
    return gap;
  }
  return aq_time_max(gap, aq_time_min(t->rtt, MAX_GAP));
}

void aq_trav_send_probes(aq_trav *t) {
  for (size_t i = 0; i < t->npair; i++) {
    aq_trav_pair *p = &t->pair[i];
    if (p->next > t->now) {
      continue;
    }
    probe(t, p, AQ_PUNCH_PROBE, 0);
    p->left--;
    p->next = p->left ? t->now + gap_of(t, p) : AQ_NEVER;
    p->round++;
  }
  rearm_probes(t);
  aq_trav_check_spent(t);
}

void aq_trav_pair_soon(aq_trav *t, aq_trav_pair *p) {
  if (p->left < AQ_TRAV_PROBES_AFTER_HIT) {
    p->left = AQ_TRAV_PROBES_AFTER_HIT;
  }
  p->round = 0;
  aq_duration gap = p->sent > 0 ? gap_of(t, p) : t->punch.spacing;
  p->next = aq_time_min(p->next, t->now + gap);
  rearm_probes(t);
}

void aq_trav_stop_punching(aq_trav *t) {
  t->timer[AQ_TRAV_TIMER_LEAD] = AQ_NEVER;
  t->timer[AQ_TRAV_TIMER_PROBE] = AQ_NEVER;
  t->timer[AQ_TRAV_TIMER_GUESS] = AQ_NEVER;
  for (size_t i = 0; i < t->npair; i++) {
    aq_trav_pair *p = &t->pair[i];
    p->next = AQ_NEVER;
    p->left = 0;
    if (p->state == AQ_PAIR_WAITING || p->state == AQ_PAIR_IN_PROGRESS) {
      p->state = AQ_PAIR_CANCELLED;
    }
  }
  aq_trav_hangup(t, 2, AQ_ERR_CANCELLED);
  aq_trav_drop(t, AQ_TRAV_PUNCH, 0);
}

void aq_trav_check_spent(aq_trav *t) {
  if (t->phase != AQ_PHASE_PUNCHING ||
      t->timer[AQ_TRAV_TIMER_LEAD] != AQ_NEVER ||
      t->timer[AQ_TRAV_TIMER_PROBE] != AQ_NEVER || aq_trav_dials(t, 2) ||
      aq_trav_hard_waits(t)) {
    return;
  }
  aq_tstamp *phase = &t->timer[AQ_TRAV_TIMER_PHASE];
  *phase = aq_time_min(*phase, t->now + aq_time_max(GRACE, 2 * t->rtt));
}
