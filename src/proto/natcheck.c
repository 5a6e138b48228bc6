/* natcheck.c - the measurement: sockets in a row, then one question each.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/natcheck.h"

#include "base/addr.h"
#include "base/time.h"
#include "proto/observe.h"

#include <string.h>

/* The host opens sockets within a turn. */
#define OPEN_WAIT AQ_S
#define TRIES 3
/* Silence is an answer where the NAT may filter: one more, close together. */
#define FILTER_TRIES 4
#define FILTER_SPACING (60 * AQ_MS)
#define HAIRPIN_TRIES 2
#define RETRY_MAX AQ_NATCHECK_REFRESH

void aq_natcheck_init(aq_natcheck *n) {
  memset(n, 0, sizeof(*n));
  n->run_at = AQ_NEVER;
  n->retry = AQ_NATCHECK_RETRY;
}

/* ---- what there is to ask --------------------------------------------------
 */

static int has_alternate(const aq_nat_server *s, size_t i) {
  return s->alternate[i].family == s->addr.family;
}

/* What |s| makes possible as the one that is asked. */
static int worth(const aq_nat_server *s) {
  return 2 * (has_alternate(s, 1) || has_alternate(s, 2)) + has_alternate(s, 0);
}

static size_t pick_base(const aq_natcheck *n) {
  size_t best = 0;
  for (size_t i = 1; i < n->nserver; i++) {
    if (worth(&n->server[i]) > worth(&n->server[best])) {
      best = i;
    }
  }
  return best;
}

/* How much a set of servers can tell: an address of its own is most. */
static int value(const aq_nat_server *v, size_t count) {
  int best = 0, ips = 0;
  for (size_t i = 0; i < count; i++) {
    best = worth(&v[i]) > best ? worth(&v[i]) : best;
    ips |= i > 0 && !aq_addr_same_ip(&v[i].addr, &v[0].addr);
  }
  return best + 4 * ips;
}

static aq_tstamp not_before(const aq_natcheck *n, aq_tstamp at) {
  return n->started == 0
             ? at
             : aq_time_max(at, aq_time_add(n->started, AQ_NATCHECK_PAUSE));
}

void aq_natcheck_servers(aq_natcheck *n, aq_tstamp now, const aq_nat_server *v,
                         size_t count, int all) {
  int before = value(n->known, n->nknown), had = n->nknown > 0;
  if (count > AQ_NATCHECK_SERVERS) {
    count = AQ_NATCHECK_SERVERS;
  }
  /* One family: a NAT is in front of one. IPv4 has the harder ones. */
  n->nknown = 0;
  uint8_t family = 6;
  for (size_t i = 0; i < count; i++) {
    family = v[i].addr.family == 4 ? 4 : family;
  }
  for (size_t i = 0; i < count; i++) {
    if (v[i].addr.family == family) {
      n->known[n->nknown++] = v[i];
    }
  }
  if (n->nknown == 0) {
    return;
  }
  if (n->started == 0) {
    aq_tstamp at = all ? now : aq_time_add(now, AQ_NATCHECK_GATHER);
    n->run_at = had ? aq_time_min(n->run_at, at) : at;
  } else if (!n->report.complete && value(n->known, n->nknown) > before) {
    n->run_at = aq_time_min(n->run_at, not_before(n, now));
  }
}

void aq_natcheck_locals(aq_natcheck *n, const aq_addr *v, size_t count) {
  n->nlocal = count < AQ_NATCHECK_LOCALS ? count : AQ_NATCHECK_LOCALS;
  memcpy(n->local, v, n->nlocal * sizeof(*v));
}

static void close_slots(aq_natcheck *n) {
  for (size_t i = 0; i < AQ_NATCHECK_SOCKETS; i++) {
    if (n->slot[i] == AQ_NATCHECK_SLOT_WANTED) {
      n->slot[i] = AQ_NATCHECK_SLOT_FREE;
    } else if (n->slot[i] != AQ_NATCHECK_SLOT_FREE) {
      n->slot[i] = AQ_NATCHECK_SLOT_CLOSING;
    }
  }
}

void aq_natcheck_again(aq_natcheck *n, aq_tstamp now) {
  if (n->started == 0) {
    return; /* the first run is still to come */
  }
  if (n->stage != AQ_NATCHECK_IDLE) { /* half of it is about another network */
    n->stage = AQ_NATCHECK_IDLE;
    close_slots(n);
    n->run_at = AQ_NEVER;
  }
  n->retry = AQ_NATCHECK_RETRY;
  n->run_at = aq_time_min(n->run_at, not_before(n, now));
}

/* ---- questions -------------------------------------------------------------
 */

/* To |server|, at its address |alternate| (0: the one it is known by). */
static aq_nat_question *add_at(aq_natcheck *n, aq_nat_test test, uint32_t slot,
                               size_t server, uint32_t alternate,
                               aq_tstamp now) {
  if (n->nquestion == AQ_NATCHECK_QUESTIONS) {
    return NULL;
  }
  const aq_nat_server *s = &n->server[server];
  aq_nat_question *q = &n->question[n->nquestion++];
  memset(q, 0, sizeof(*q));
  q->e.test = (uint8_t)test;
  q->e.local = n->bound[slot];
  q->e.to = alternate == 0 ? s->addr : s->alternate[alternate - 1];
  q->slot = slot;
  q->server = (uint32_t)server;
  q->alternate = alternate;
  q->most = TRIES;
  q->next = now;
  q->spacing = q->patience =
      aq_time_clamp(s->rtt + s->rtt / 2 + 30 * AQ_MS, FILTER_SPACING, AQ_S);
  return q;
}

static aq_nat_question *add(aq_natcheck *n, aq_nat_test test, uint32_t slot,
                            aq_tstamp now) {
  return add_at(n, test, slot, n->base, 0, now);
}

static void add_filtering(aq_natcheck *n, uint32_t slot, uint8_t flags,
                          aq_tstamp now) {
  aq_nat_question *q = add(n, AQ_NAT_TEST_FILTERING, slot, now);
  if (q != NULL) {
    q->e.flags = flags;
    q->most = FILTER_TRIES;
    q->spacing = FILTER_SPACING;
  }
}

static const aq_nat_question *find(const aq_natcheck *n, aq_nat_test test,
                                   uint32_t slot) {
  for (size_t i = 0; i < n->nquestion; i++) {
    if (n->question[i].e.test == test && n->question[i].slot == slot) {
      return &n->question[i];
    }
  }
  return NULL;
}

/* Where the row saw that socket; NULL when nobody answered it. */
static const aq_addr *outer(const aq_natcheck *n, uint32_t slot) {
  const aq_nat_question *q = find(n, AQ_NAT_TEST_ALLOCATION, slot);
  return q != NULL && q->answer == AQ_NAT_ANSWERED ? &q->e.seen : NULL;
}

static int waiting(const aq_natcheck *n, int test) {
  for (size_t i = 0; i < n->nquestion; i++) {
    if (n->question[i].answer == AQ_NAT_WAITING &&
        (test < 0 || n->question[i].e.test == test)) {
      return 1;
    }
  }
  return 0;
}

/* ---- judging ---------------------------------------------------------------
 */

static int is_own(const aq_natcheck *n, const aq_nat_question *q) {
  if (q->e.seen.port != q->e.local.port) {
    return 0;
  }
  if (aq_addr_classify(&q->e.seen) == AQ_ADDR_LOOPBACK) {
    return 1;
  }
  for (size_t i = 0; i < n->nlocal; i++) {
    if (aq_addr_same_ip(&n->local[i], &q->e.seen)) {
      return 1;
    }
  }
  return 0;
}

/* No NAT: every observation is an address of ours. */
static int all_own(const aq_natcheck *n) {
  int any = 0;
  for (size_t i = 0; i < n->nquestion; i++) {
    const aq_nat_question *q = &n->question[i];
    if (q->answer == AQ_NAT_ANSWERED && q->e.test != AQ_NAT_TEST_HAIRPIN) {
      any = 1;
      if (!is_own(n, q)) {
        return 0;
      }
    }
  }
  return any;
}

/* Is what another |place| of the coordinators saw of |slot| the same as in the
 * row? 1, 0, or -1: none of that kind answered. */
static int same_at(const aq_natcheck *n, uint32_t slot, int other_addr) {
  int same = -1;
  const aq_addr *first = outer(n, slot);
  for (size_t i = 0; first != NULL && i < n->nquestion; i++) {
    const aq_nat_question *q = &n->question[i];
    int other = !aq_addr_same_ip(&q->e.to, &n->server[n->base].addr);
    if (q->e.test == AQ_NAT_TEST_MAPPING && q->slot == slot &&
        q->answer == AQ_NAT_ANSWERED && other == other_addr) {
      int equal = aq_addr_equal(&q->e.seen, first);
      same = same == 0 ? 0 : equal;
    }
  }
  return same;
}

static aq_nat_rule mapping_of(const aq_natcheck *n, uint32_t slot) {
  int port = same_at(n, slot, 0), addr = same_at(n, slot, 1);
  if (addr == 1 && port != 0) {
    return AQ_NAT_ENDPOINT_INDEPENDENT;
  } else if (addr == 0 && port == 1) {
    return AQ_NAT_ADDRESS_DEPENDENT;
  } else if (addr == 0 || port == 0) {
    /* With no second port to ask: the stricter of the two that it can be. */
    return AQ_NAT_ADDRESS_AND_PORT_DEPENDENT;
  }
  return AQ_NAT_UNKNOWN;
}

/* One socket under several IPs: what one flow gets says nothing of the next. */
static int is_pool(const aq_natcheck *n) {
  for (size_t i = 0; i < n->nquestion; i++) {
    const aq_nat_question *q = &n->question[i];
    const aq_addr *first = outer(n, q->slot);
    if (q->e.test == AQ_NAT_TEST_MAPPING && q->answer == AQ_NAT_ANSWERED &&
        first != NULL && !aq_addr_same_ip(&q->e.seen, first)) {
      return 1;
    }
  }
  return 0;
}

/* What most of the sockets saw: another host that holds a port makes the best
 * NAT look strict, and chance makes a strict one look mild. */
static aq_nat_rule judge_mapping(const aq_natcheck *n) {
  if (all_own(n)) {
    return AQ_NAT_NONE;
  } else if (is_pool(n)) {
    return AQ_NAT_ADDRESS_AND_PORT_DEPENDENT;
  }
  aq_nat_rule v[3];
  size_t count = 0;
  for (uint32_t i = 0; i < AQ_NATCHECK_SOCKETS && count < 3; i++) {
    aq_nat_rule r = mapping_of(n, i);
    size_t at = count;
    if (r == AQ_NAT_UNKNOWN) {
      continue;
    }
    for (; at > 0 && v[at - 1] > r; at--) {
      v[at] = v[at - 1];
    }
    v[at] = r;
    count++;
  }
  return count > 0 ? v[count / 2] : AQ_NAT_UNKNOWN;
}

/* Did the place that |flags| name answer when it was asked itself? If not, its
 * silence says nothing of the NAT. */
static int is_reachable(const aq_natcheck *n, uint8_t flags) {
  const aq_addr *place = &n->server[n->base].alternate[flags - 1];
  for (size_t i = 0; i < n->nquestion; i++) {
    const aq_nat_question *q = &n->question[i];
    if (q->e.test == AQ_NAT_TEST_MAPPING && q->answer == AQ_NAT_ANSWERED &&
        aq_addr_equal(&q->e.to, place)) {
      return 1;
    }
  }
  return 0;
}

/* Does it let the other port in, the other address? 1, 0, -1: not known. */
static int passes(const aq_natcheck *n, int other_addr) {
  for (size_t i = 0; i < n->nquestion; i++) {
    const aq_nat_question *q = &n->question[i];
    if (q->e.test == AQ_NAT_TEST_FILTERING &&
        (q->e.flags != AQ_OBSERVE_OTHER_PORT) == other_addr &&
        q->answer != AQ_NAT_WAITING) {
      if (q->answer == AQ_NAT_ANSWERED) {
        return 1;
      }
      return q->answer == AQ_NAT_SILENT && is_reachable(n, q->e.flags) ? 0 : -1;
    }
  }
  return -1;
}

static void judge_filtering(const aq_natcheck *n, aq_nat_report *r) {
  int port = passes(n, 0), addr = passes(n, 1);
  uint8_t rule = AQ_NAT_UNKNOWN, most = AQ_NAT_UNKNOWN;
  if (addr == 1) {
    rule = AQ_NAT_ENDPOINT_INDEPENDENT;
  } else if (port == 0) {
    rule = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT;
  } else if (port == 1 && addr == 0) {
    rule = AQ_NAT_ADDRESS_DEPENDENT;
  } else if (port == 1) {
    most = AQ_NAT_ADDRESS_DEPENDENT; /* nobody could try another address */
  }
  r->profile.filtering = rule;
  r->filtering_most = rule != AQ_NAT_UNKNOWN ? rule : most;
}

static void judge_allocation(const aq_natcheck *n, aq_nat_profile *p) {
  aq_natfit f;
  memset(&f, 0, sizeof(f));
  for (size_t i = 0; i < n->nquestion; i++) {
    const aq_nat_question *q = &n->question[i];
    if (q->e.test == AQ_NAT_TEST_ALLOCATION && q->answer == AQ_NAT_ANSWERED) {
      f.port[f.n].own = q->e.local.port;
      f.port[f.n++].outer = q->e.seen.port;
      p->last = q->e.seen;
    }
  }
  aq_natfit_judge(&f, p);
}

static void judge_external(const aq_natcheck *n, aq_nat_profile *p) {
  p->external_count = 0;
  for (size_t i = 0; i < n->nquestion; i++) {
    const aq_nat_question *q = &n->question[i];
    size_t k = 0;
    if (q->answer != AQ_NAT_ANSWERED || q->e.test == AQ_NAT_TEST_HAIRPIN) {
      continue;
    }
    while (k < p->external_count &&
           !aq_addr_same_ip(&p->external[k], &q->e.seen)) {
      k++;
    }
    if (k == p->external_count && k < AQ_NAT_MAX_EXTERNAL) {
      p->external[k] = q->e.seen;
      p->external[k].port = 0;
      p->external_count++;
    }
  }
}

static void judge_hairpin(const aq_natcheck *n, aq_nat_report *r) {
  r->profile.hairpin = 0;
  r->hairpin_internal = 0;
  for (size_t i = 0; i < n->nquestion; i++) {
    const aq_nat_question *q = &n->question[i];
    if (q->e.test != AQ_NAT_TEST_HAIRPIN) {
      continue;
    }
    const aq_addr *own = outer(n, q->slot);
    if (q->answer == AQ_NAT_ANSWERED) {
      r->profile.hairpin = 2;
      r->hairpin_internal =
          (uint8_t)(own == NULL || !aq_addr_same_ip(own, &q->e.seen));
    } else if (q->answer == AQ_NAT_SILENT && r->profile.hairpin == 0) {
      r->profile.hairpin = 1;
    }
  }
}

static void judge(aq_natcheck *n, aq_nat_report *r) {
  aq_nat_profile *p = &r->profile;
  p->mapping = (uint8_t)judge_mapping(n);
  judge_filtering(n, r);
  judge_allocation(n, p);
  judge_external(n, p);
  judge_hairpin(n, r);
  r->complete = p->mapping != AQ_NAT_UNKNOWN &&
                p->filtering != AQ_NAT_UNKNOWN &&
                p->allocation != AQ_NAT_ALLOC_UNKNOWN;
}

/* Does the part that others are told differ? */
static int differs(const aq_nat_profile *a, const aq_nat_profile *b) {
  aq_nat_profile x = *a, y = *b;
  memset(&x.last, 0, sizeof(x.last));
  memset(&y.last, 0, sizeof(y.last));
  return memcmp(&x, &y, sizeof(x)) != 0;
}

/* ---- stages ----------------------------------------------------------------
 */

static void start_run(aq_natcheck *n, aq_tstamp now) {
  n->run_at = AQ_NEVER;
  n->started = now;
  n->nserver = n->nknown;
  memcpy(n->server, n->known, sizeof(n->server));
  n->base = pick_base(n);
  n->stage = AQ_NATCHECK_OPENING;
  n->deadline = aq_time_add(now, OPEN_WAIT);
  n->nquestion = 0;
  n->retried = 0;
  for (size_t i = 0; i < AQ_NATCHECK_SOCKETS; i++) {
    n->slot[i] = AQ_NATCHECK_SLOT_WANTED;
  }
}

static void start_row(aq_natcheck *n, aq_tstamp now) {
  n->stage = AQ_NATCHECK_ROW;
  for (uint32_t i = 0; i < AQ_NATCHECK_SOCKETS; i++) {
    if (n->slot[i] == AQ_NATCHECK_SLOT_OPEN) {
      add(n, AQ_NAT_TEST_ALLOCATION, i, now);
    }
  }
}

/* The next socket from |from| on that the row saw. */
static uint32_t answered_slot(const aq_natcheck *n, uint32_t from) {
  while (from < AQ_NATCHECK_SOCKETS && outer(n, from) == NULL) {
    from++;
  }
  return from;
}

/* From |slot|, everywhere that can tell something about mapping. */
static void ask_mapping(aq_natcheck *n, uint32_t slot, aq_tstamp now) {
  const aq_nat_server *base = &n->server[n->base];
  int port = 0, addr = 0;
  for (uint32_t i = 0; i < 3; i++) {
    if (has_alternate(base, i)) {
      add_at(n, AQ_NAT_TEST_MAPPING, slot, n->base, i + 1, now);
      port |= i == 0;
    }
  }
  /* Another coordinator too: of two that differ, one may agree by chance. */
  for (size_t i = 0; i < n->nserver; i++) {
    int other = !aq_addr_same_ip(&n->server[i].addr, &base->addr);
    if (i != n->base && !(other ? addr : port)) {
      add_at(n, AQ_NAT_TEST_MAPPING, slot, i, 0, now);
      addr |= other;
      port |= !other;
    }
  }
}

static void ask_hairpin(aq_natcheck *n, uint32_t a, uint32_t b, aq_tstamp now) {
  uint32_t from[2] = {a, b}, to[2] = {b, a};
  for (int i = 0; i < 2; i++) {
    const aq_addr *target = outer(n, to[i]);
    aq_nat_question *q = add(n, AQ_NAT_TEST_HAIRPIN, from[i], now);
    if (q != NULL) {
      q->e.to = *target;
      q->most = HAIRPIN_TRIES;
      q->spacing = FILTER_SPACING;
    }
  }
}

static void start_probe(aq_natcheck *n, aq_tstamp now) {
  const aq_nat_server *base = &n->server[n->base];
  n->stage = AQ_NATCHECK_PROBE;
  uint32_t slot = answered_slot(n, 0);
  if (slot == AQ_NATCHECK_SOCKETS) {
    return; /* nobody answered: nothing to compare with */
  }
  ask_mapping(n, slot, now);
  /* Each filter question from a socket that talked to one address only. */
  slot = answered_slot(n, slot + 1);
  if (has_alternate(base, 0) && slot < AQ_NATCHECK_SOCKETS) {
    add_filtering(n, slot, AQ_OBSERVE_OTHER_PORT, now);
    slot = answered_slot(n, slot + 1);
  }
  if (slot < AQ_NATCHECK_SOCKETS &&
      (has_alternate(base, 2) || has_alternate(base, 1))) {
    add_filtering(
        n, slot,
        has_alternate(base, 2) ? AQ_OBSERVE_FLAGS : AQ_OBSERVE_OTHER_ADDR, now);
    slot = answered_slot(n, slot + 1);
  }
  uint32_t second = answered_slot(n, slot + 1);
  if (second < AQ_NATCHECK_SOCKETS && !all_own(n)) {
    ask_hairpin(n, slot, second, now);
  }
}

/* A NAT that keeps ports must give another one where a second host has it, to
 * that destination alone: looked at again from fresh ports before it is called
 * what it then seems to be. */
static void retry_mapping(aq_natcheck *n, aq_tstamp now) {
  if (n->retried || waiting(n, AQ_NAT_TEST_MAPPING)) {
    return;
  }
  aq_nat_rule r = judge_mapping(n);
  if (r != AQ_NAT_ADDRESS_DEPENDENT && r != AQ_NAT_ADDRESS_AND_PORT_DEPENDENT) {
    return;
  }
  n->retried = 1;
  uint32_t slot = AQ_NATCHECK_SOCKETS;
  for (int i = 0; i < 2 && slot > 0; i++) {
    do { /* the last ones: the first were used for something */
      slot--;
    } while (slot > 0 && outer(n, slot) == NULL);
    if (slot > 0 && find(n, AQ_NAT_TEST_MAPPING, slot) == NULL &&
        find(n, AQ_NAT_TEST_FILTERING, slot) == NULL &&
        find(n, AQ_NAT_TEST_HAIRPIN, slot) == NULL) {
      ask_mapping(n, slot, now);
    }
  }
}

static void publish(aq_natcheck *n, const aq_nat_report *r) {
  n->changed |= (uint8_t)differs(&r->profile, &n->report.profile);
  n->report = *r;
}

/* Mapping and allocation are there long before the silence of a filter has
 * lasted long enough; who connects now can use them. */
static void publish_early(aq_natcheck *n) {
  if (n->report.profile.mapping != AQ_NAT_UNKNOWN ||
      waiting(n, AQ_NAT_TEST_MAPPING)) {
    return;
  }
  aq_nat_report r = n->report;
  r.profile.mapping = (uint8_t)judge_mapping(n);
  judge_allocation(n, &r.profile);
  judge_external(n, &r.profile);
  publish(n, &r);
}

static void finish(aq_natcheck *n, aq_tstamp now) {
  aq_nat_report r = n->report;
  int seen = answered_slot(n, 0) < AQ_NATCHECK_SOCKETS;
  n->stage = AQ_NATCHECK_IDLE;
  close_slots(n);
  if (seen) {
    judge(n, &r);
    r.measured_at = now;
    r.evidence_count = n->nquestion;
    for (size_t i = 0; i < n->nquestion; i++) {
      r.evidence[i] = n->question[i].e;
    }
    publish(n, &r);
  }
  /* With what it lacks, another run won't help: a new server starts one. */
  if (seen) {
    n->retry = AQ_NATCHECK_RETRY;
    n->run_at = aq_time_add(now, AQ_NATCHECK_REFRESH);
  } else {
    n->run_at = aq_time_add(now, n->retry);
    n->retry = aq_time_min(n->retry * 2, RETRY_MAX);
  }
}

void aq_natcheck_blocked(aq_natcheck *n, aq_tstamp now) {
  if (n->report.measured_at == 0) {
    aq_nat_report r = n->report;
    r.profile.filtering = r.filtering_most = AQ_NAT_NONE;
    r.measured_at = now;
    publish(n, &r);
  }
}

static int opening(const aq_natcheck *n) {
  int pending = 0;
  for (size_t i = 0; i < AQ_NATCHECK_SOCKETS; i++) {
    pending += n->slot[i] == AQ_NATCHECK_SLOT_WANTED ||
               n->slot[i] == AQ_NATCHECK_SLOT_OPENING;
  }
  return pending;
}

static void advance(aq_natcheck *n, aq_tstamp now) {
  if (n->stage == AQ_NATCHECK_IDLE && n->run_at <= now) {
    if (n->nknown > 0) {
      start_run(n, now);
    } else {
      n->run_at = AQ_NEVER; /* a server that comes starts it */
    }
  }
  if (n->stage == AQ_NATCHECK_OPENING &&
      (opening(n) == 0 || n->deadline <= now)) {
    start_row(n, now);
  }
  for (size_t i = 0; i < n->nquestion; i++) {
    aq_nat_question *q = &n->question[i];
    if (q->answer == AQ_NAT_WAITING && q->e.tries == q->most &&
        q->next <= now) {
      q->answer = AQ_NAT_SILENT;
    }
  }
  if (n->stage == AQ_NATCHECK_ROW && !waiting(n, -1)) {
    start_probe(n, now);
  }
  if (n->stage == AQ_NATCHECK_PROBE) {
    retry_mapping(n, now);
    publish_early(n);
    if (!waiting(n, -1)) {
      finish(n, now);
    }
  }
}

/* ---- in and out ------------------------------------------------------------
 */

static int poll_slots(aq_natcheck *n, aq_nat_action *out) {
  for (uint32_t i = 0; i < AQ_NATCHECK_SOCKETS; i++) {
    if (n->slot[i] == AQ_NATCHECK_SLOT_WANTED) {
      n->slot[i] = AQ_NATCHECK_SLOT_OPENING;
      out->kind = AQ_NAT_OPEN;
      out->to = n->server[n->base].addr;
    } else if (n->slot[i] == AQ_NATCHECK_SLOT_CLOSING) {
      n->slot[i] = AQ_NATCHECK_SLOT_FREE;
      out->kind = AQ_NAT_CLOSE;
    } else {
      continue;
    }
    out->slot = i;
    return 1;
  }
  return 0;
}

static int poll_questions(aq_natcheck *n, aq_tstamp now, aq_nat_action *out) {
  for (uint32_t i = 0; i < n->nquestion; i++) {
    aq_nat_question *q = &n->question[i];
    if (q->answer != AQ_NAT_WAITING || q->next > now || q->e.tries >= q->most) {
      continue;
    }
    if (q->e.tries++ == 0) {
      q->e.at = now;
    }
    q->next =
        aq_time_add(now, q->e.tries == q->most ? q->patience : q->spacing);
    out->kind = q->e.test == AQ_NAT_TEST_HAIRPIN ? AQ_NAT_SEND : AQ_NAT_ASK;
    out->slot = q->slot;
    out->question = i;
    out->server = n->server[q->server].id;
    out->alternate = q->alternate;
    out->flags = q->e.flags;
    out->to = q->e.to;
    return 1;
  }
  return 0;
}

int aq_natcheck_poll(aq_natcheck *n, aq_tstamp now, aq_nat_action *out) {
  advance(n, now);
  memset(out, 0, sizeof(*out));
  return poll_slots(n, out) || poll_questions(n, now, out);
}

aq_tstamp aq_natcheck_next(const aq_natcheck *n) {
  aq_tstamp t = n->stage == AQ_NATCHECK_IDLE      ? n->run_at
                : n->stage == AQ_NATCHECK_OPENING ? n->deadline
                                                  : AQ_NEVER;
  for (size_t i = 0; n->stage != AQ_NATCHECK_IDLE && i < n->nquestion; i++) {
    if (n->question[i].answer == AQ_NAT_WAITING) {
      t = aq_time_min(t, n->question[i].next);
    }
  }
  return t;
}

void aq_natcheck_opened(aq_natcheck *n, uint32_t slot, const aq_addr *bound) {
  if (slot >= AQ_NATCHECK_SOCKETS ||
      n->slot[slot] != AQ_NATCHECK_SLOT_OPENING) {
    return;
  }
  n->slot[slot] = bound != NULL ? AQ_NATCHECK_SLOT_OPEN : AQ_NATCHECK_SLOT_FREE;
  if (bound != NULL) {
    n->bound[slot] = *bound;
  }
}

void aq_natcheck_asked(aq_natcheck *n, uint32_t question, uint64_t cookie) {
  if (question >= n->nquestion) {
    return;
  }
  aq_nat_question *q = &n->question[question];
  if (cookie == 0) {
    q->answer = AQ_NAT_IMPOSSIBLE;
  } else if (q->e.tries > 0) {
    q->cookie[q->e.tries - 1] = cookie;
  }
}

int aq_natcheck_answered(aq_natcheck *n, uint64_t cookie, const aq_addr *from,
                         const aq_addr *seen) {
  for (size_t i = 0; cookie != 0 && i < n->nquestion; i++) {
    aq_nat_question *q = &n->question[i];
    for (size_t k = 0; k < AQ_NATCHECK_TRIES; k++) {
      if (q->cookie[k] != cookie) {
        continue;
      }
      if (q->answer == AQ_NAT_WAITING) {
        q->answer = AQ_NAT_ANSWERED;
        q->e.answered = 1;
        q->e.from = *from;
        q->e.seen = *seen;
      }
      return 1;
    }
  }
  return 0;
}

int aq_natcheck_take_change(aq_natcheck *n) {
  int was = n->changed;
  n->changed = 0;
  return was;
}
