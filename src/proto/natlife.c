/* SPDX-License-Identifier: MIT */
#include "proto/natlife.h"

#include "base/addr.h"
#include "base/time.h"
#include "proto/observe.h"

#include <string.h>

#define OPEN_WAIT AQ_S
#define TALK_GAP (2500 * AQ_MS)
#define TRIES 3
#define RETRY (30 * AQ_S)
#define BETWEEN AQ_S
#define FAILURES 3
#define KEEP_MIN 5
#define KEEP_MAX 25
#define KEEP_UNKNOWN 15

void aq_natlife_init(aq_natlife *l) {
  memset(l, 0, sizeof(*l));
  l->at = l->watch_at[0] = l->watch_at[1] = AQ_NEVER;
}

aq_duration aq_natlife_keep_alive(uint16_t alive, uint16_t gone) {
  uint16_t half = alive / 2;
  if (gone == 0 && alive < 2 * KEEP_UNKNOWN) {
    half = KEEP_UNKNOWN;
  }
  return (half < KEEP_MIN   ? KEEP_MIN
          : half > KEEP_MAX ? KEEP_MAX
                            : half) *
         AQ_S;
}

/* ---- sockets ---------------------------------------------------------------
 */

static int is_watch(size_t i) {
  return i >= AQ_NATLIFE_PROBES;
}

static void close_socket(aq_natlife_socket *s) {
  uint8_t was = s->slot;
  memset(s, 0, sizeof(*s));
  if (was != AQ_NATCHECK_SLOT_WANTED && was != AQ_NATCHECK_SLOT_FREE) {
    s->slot = AQ_NATCHECK_SLOT_CLOSING;
  }
}

static void close_probes(aq_natlife *l) {
  for (size_t i = 0; i < AQ_NATLIFE_PROBES; i++) {
    close_socket(&l->socket[i]);
  }
}

static void close_watches(aq_natlife *l) {
  for (size_t i = AQ_NATLIFE_PROBES; i < AQ_NATLIFE_SOCKETS; i++) {
    close_socket(&l->socket[i]);
  }
}

static aq_duration patience(const aq_natlife *l) {
  return aq_time_clamp(l->server.rtt * 2 + 200 * AQ_MS, 300 * AQ_MS, 2 * AQ_S);
}

/* An answer from there would say something. */
static int is_running(const aq_natlife *l, size_t i) {
  const aq_natlife_socket *s = &l->socket[i];
  return s->slot == AQ_NATCHECK_SLOT_OPEN && l->has_server &&
         (is_watch(i) ? s->gone == 0
                      : l->stage >= AQ_NATLIFE_TALK && s->asks && !s->answered);
}

static int may_ask(const aq_natlife *l, size_t i) {
  int once = !is_watch(i) && l->stage == AQ_NATLIFE_HELD;
  return is_running(l, i) && l->socket[i].tries < (once ? 1 : TRIES);
}

/* A question is still to be asked, or its answer may still come. */
static int is_pending(const aq_natlife *l, size_t i, aq_tstamp now) {
  return is_running(l, i) && (l->socket[i].next > now || may_ask(l, i));
}

/* ---- idle: one step after the other ----------------------------------------
 */

/* The next delay to look at; 0: it is known well enough. */
static uint16_t next_delay(const aq_natlife *l) {
  uint16_t near = l->low / 8 > 2 ? l->low / 8 : 2;
  if (l->high == 0) {
    uint16_t d = l->low == 0 ? AQ_NATLIFE_FIRST : 2 * l->low;
    d = d > AQ_NATLIFE_MOST ? AQ_NATLIFE_MOST : d;
    return d > l->low ? d : 0;
  }
  return l->high - l->low > near ? (uint16_t)((l->high + l->low) / 2) : 0;
}

static void record(aq_natlife *l, const aq_nat_evidence *e) {
  if (l->nevidence == AQ_NATLIFE_EVIDENCE) {
    memmove(l->evidence, l->evidence + 1,
            (AQ_NATLIFE_EVIDENCE - 1) * sizeof(*e));
    l->nevidence--;
  }
  l->evidence[l->nevidence++] = *e;
}

/* Each socket that |asked| before, or with |first| each that is open. */
static void start_round(aq_natlife *l, aq_natlife_stage stage, int first,
                        aq_tstamp now) {
  l->stage = stage;
  for (size_t i = 0; i < AQ_NATLIFE_PROBES; i++) {
    aq_natlife_socket *s = &l->socket[i];
    s->asks = (uint8_t)(s->slot == AQ_NATCHECK_SLOT_OPEN &&
                        (first || s->answered || stage == AQ_NATLIFE_CHECK));
    s->answered = s->tries = 0;
    s->next = now;
    memset(s->cookie, 0, sizeof(s->cookie));
  }
}

static int round_over(const aq_natlife *l, aq_tstamp now, int *answered) {
  int over = 1;
  *answered = 0;
  for (size_t i = 0; i < AQ_NATLIFE_PROBES; i++) {
    *answered += l->socket[i].asks && l->socket[i].answered;
    over = over && !is_pending(l, i, now);
  }
  return over;
}

static void step_over(aq_natlife *l, aq_tstamp now, int known) {
  close_probes(l);
  l->stage = AQ_NATLIFE_IDLE;
  l->failures = known ? 0 : (uint8_t)(l->failures + 1);
  if (l->failures >= FAILURES) { /* not now */
    l->failures = 0;
    l->at = aq_time_add(now, AQ_NATLIFE_AGAIN);
  } else if (!known) {
    l->at = aq_time_add(now, RETRY);
  } else if (next_delay(l) != 0) {
    l->at = aq_time_add(now, BETWEEN);
  } else {
    l->at = aq_time_add(now, AQ_NATLIFE_AGAIN);
  }
}

static void learnt(aq_natlife *l, aq_tstamp now, int lived) {
  aq_nat_evidence e;
  memset(&e, 0, sizeof(e));
  e.test = AQ_NAT_TEST_IDLE;
  e.delay = (uint8_t)l->delay;
  e.answered = (uint8_t)lived;
  e.at = now > l->delay * AQ_S ? now - l->delay * AQ_S : 0;
  e.to = l->server.addr;
  for (size_t i = 0; i < AQ_NATLIFE_PROBES; i++) {
    const aq_natlife_socket *s = &l->socket[i];
    e.tries += s->asks;
    if (s->asks && (s->answered || e.local.family == 0)) {
      e.local = s->bound;
      e.from = lived ? s->from : e.from;
      e.seen = lived ? s->seen : e.seen;
    }
  }
  record(l, &e);
  *(lived ? &l->low : &l->high) = l->delay;
  if (!l->again || next_delay(l) == 0) { /* else what was found before stands */
    l->changed |= l->alive != l->low || l->gone != l->high;
    l->alive = l->low;
    l->gone = l->high;
  }
  if (lived && l->delay == AQ_NATLIFE_FIRST && !l->again) {
    l->watch_at[0] = now;
    l->watch_at[1] = aq_time_add(now, AQ_NATLIFE_STAGGER);
  }
  step_over(l, now, 1);
}

static void start_step(aq_natlife *l, aq_tstamp now) {
  if (next_delay(l) == 0) { /* it is old */
    l->again = 1;
    l->low = l->high = 0;
  }
  l->delay = next_delay(l);
  l->stage = AQ_NATLIFE_OPENING;
  l->at = aq_time_add(now, OPEN_WAIT);
  for (size_t i = 0; i < AQ_NATLIFE_PROBES; i++) {
    l->socket[i].slot = AQ_NATCHECK_SLOT_WANTED;
  }
}

static int pending(const aq_natlife *l) {
  int n = 0;
  for (size_t i = 0; i < AQ_NATLIFE_PROBES; i++) {
    n += l->socket[i].slot == AQ_NATCHECK_SLOT_WANTED ||
         l->socket[i].slot == AQ_NATCHECK_SLOT_OPENING;
  }
  return n;
}

static void advance_step(aq_natlife *l, aq_tstamp now, int busy) {
  int answered;
  switch (l->stage) {
  case AQ_NATLIFE_OFF:
    return;
  case AQ_NATLIFE_IDLE:
    if (l->at <= now && l->has_server && !busy) {
      start_step(l, now);
    }
    return;
  case AQ_NATLIFE_OPENING:
    if (pending(l) == 0 || l->at <= now) {
      l->at = aq_time_add(now, TALK_GAP);
      start_round(l, AQ_NATLIFE_TALK, 1, now);
    }
    return;
  default:
    break;
  }
  int over = round_over(l, now, &answered);
  if (l->stage == AQ_NATLIFE_HELD && answered > 0) {
    learnt(l, now, 1);
  } else if (!over) {
    return;
  } else if (l->stage == AQ_NATLIFE_HELD) {
    start_round(l, AQ_NATLIFE_CHECK, 0, now);
  } else if (answered == 0) {
    step_over(l, now, 0); /* the path is gone, not the mapping */
  } else if (l->stage == AQ_NATLIFE_CHECK) {
    learnt(l, now, 0);
  } else if (l->stage == AQ_NATLIFE_TALK_AGAIN) {
    start_round(l, AQ_NATLIFE_HELD, 0, now);
  } else if (l->at <= now) {
    start_round(l, AQ_NATLIFE_TALK_AGAIN, 0, now);
  }
}

/* ---- in use: two mappings are watched --------------------------------------
 */

/* Often enough that it isn't the silence that ends it. */
static aq_duration watch_gap(const aq_natlife *l) {
  return aq_natlife_keep_alive(l->alive, 1);
}

static void watched(aq_natlife *l, aq_tstamp now) {
  aq_natlife_socket *a = &l->socket[AQ_NATLIFE_PROBES], *b = a + 1;
  aq_duration gap = watch_gap(l);
  if (a->gone == 0 || b->gone == 0) {
    return;
  }
  aq_duration age_a = a->gone - a->opened, age_b = b->gone - b->opened;
  aq_duration apart = age_a > age_b ? age_a - age_b : age_b - age_a;
  if (apart <= 2 * gap) {
    aq_duration age = aq_time_min(age_a, age_b);
    aq_nat_evidence e;
    memset(&e, 0, sizeof(e));
    e.test = AQ_NAT_TEST_ABSOLUTE;
    e.answered = 1;
    e.tries = 2;
    e.at = now;
    e.local = a->bound;
    e.to = l->server.addr;
    e.from = a->from;
    e.seen = a->seen;
    record(l, &e);
    l->absolute = (uint16_t)(age / AQ_S);
    l->changed = 1;
  } /* else the NAT forgot all it had, or something else moved */
  close_watches(l);
}

static void advance_watches(aq_natlife *l, aq_tstamp now, int busy) {
  for (size_t i = AQ_NATLIFE_PROBES; i < AQ_NATLIFE_SOCKETS; i++) {
    aq_natlife_socket *s = &l->socket[i];
    aq_tstamp *begin = &l->watch_at[i - AQ_NATLIFE_PROBES];
    if (*begin <= now && l->has_server && !busy) {
      *begin = AQ_NEVER;
      s->slot = AQ_NATCHECK_SLOT_WANTED;
    }
    if (s->opened != 0 && s->gone == 0 && s->tries == TRIES && s->next <= now) {
      close_watches(l); /* the path is gone: nothing can be said */
      return;
    }
  }
  aq_natlife_socket *last = &l->socket[AQ_NATLIFE_SOCKETS - 1];
  if (last->opened != 0 &&
      aq_time_since(now, last->opened) >= AQ_NATLIFE_WATCH) {
    close_watches(l); /* it lasts: good enough */
  }
}

static void watch_answered(aq_natlife *l, aq_natlife_socket *s, aq_tstamp now) {
  s->tries = 0;
  s->next = aq_time_add(now, watch_gap(l));
  if (s->first.family == 0) {
    s->first = s->seen;
  } else if (!aq_addr_equal(&s->first, &s->seen)) {
    s->gone = now;
    watched(l, now);
  }
}

/* ---- in and out ------------------------------------------------------------
 */

static int poll_slots(aq_natlife *l, aq_nat_action *out) {
  for (uint32_t i = 0; i < AQ_NATLIFE_SOCKETS; i++) {
    aq_natlife_socket *s = &l->socket[i];
    out->slot = AQ_NATCHECK_SOCKETS + i;
    if (s->slot == AQ_NATCHECK_SLOT_WANTED) {
      s->slot = AQ_NATCHECK_SLOT_OPENING;
      out->kind = AQ_NAT_OPEN;
      out->to = l->server.addr;
      return 1;
    } else if (s->slot == AQ_NATCHECK_SLOT_CLOSING) {
      s->slot = AQ_NATCHECK_SLOT_FREE;
      out->kind = AQ_NAT_CLOSE;
      return 1;
    }
  }
  return 0;
}

int aq_natlife_poll(aq_natlife *l, aq_tstamp now, int busy,
                    aq_nat_action *out) {
  advance_step(l, now, busy);
  advance_watches(l, now, busy);
  memset(out, 0, sizeof(*out));
  if (poll_slots(l, out)) {
    return 1;
  }
  for (uint32_t i = 0; i < AQ_NATLIFE_SOCKETS; i++) {
    aq_natlife_socket *s = &l->socket[i];
    if (!may_ask(l, i) || s->next > now) {
      continue;
    }
    out->kind = AQ_NAT_ASK;
    out->slot = AQ_NATCHECK_SOCKETS + i;
    out->question = AQ_NATCHECK_QUESTIONS + i;
    out->server = l->server.id;
    out->to = l->server.addr;
    if (!is_watch(i) && l->stage == AQ_NATLIFE_HELD) {
      out->delay = (uint8_t)l->delay;
    }
    s->tries++;
    s->next = aq_time_add(now, patience(l) + out->delay * AQ_S);
    return 1;
  }
  return 0;
}

aq_tstamp aq_natlife_next(const aq_natlife *l, aq_tstamp now, int busy) {
  aq_tstamp t = AQ_NEVER;
  if (l->has_server) {
    t = aq_time_min(l->watch_at[0], l->watch_at[1]);
    t = l->stage == AQ_NATLIFE_IDLE ? aq_time_min(t, l->at) : t;
    if (busy) { /* looked at again */
      t = aq_time_max(t, now + AQ_S);
    }
  }
  if ((l->stage == AQ_NATLIFE_OPENING || l->stage == AQ_NATLIFE_TALK) &&
      l->at > now) {
    t = aq_time_min(t, l->at);
  }
  for (size_t i = 0; i < AQ_NATLIFE_SOCKETS; i++) {
    if (is_pending(l, i, now)) {
      t = aq_time_min(t, l->socket[i].next);
    }
  }
  const aq_natlife_socket *last = &l->socket[AQ_NATLIFE_SOCKETS - 1];
  if (last->opened != 0) {
    t = aq_time_min(t, aq_time_add(last->opened, AQ_NATLIFE_WATCH));
  }
  return t;
}

void aq_natlife_start(aq_natlife *l, aq_tstamp now, const aq_nat_server *s,
                      int afresh) {
  int other =
      s == NULL || !l->has_server || !aq_addr_equal(&s->addr, &l->server.addr);
  if (afresh) {
    l->changed |= l->alive != 0 || l->gone != 0 || l->absolute != 0;
    l->alive = l->gone = l->absolute = 0;
    l->low = l->high = 0;
    l->again = l->failures = 0;
    l->nevidence = 0;
  }
  if (other || afresh) { /* what waits for its answers waits in vain */
    close_probes(l);
    close_watches(l);
    l->watch_at[0] = l->watch_at[1] = AQ_NEVER;
    if (l->stage != AQ_NATLIFE_IDLE || afresh) {
      l->stage = AQ_NATLIFE_IDLE;
      l->at = aq_time_add(now, AQ_NATLIFE_START);
    }
  }
  l->has_server = s != NULL;
  if (s != NULL) {
    l->server = *s;
  }
}

void aq_natlife_opened(aq_natlife *l, aq_tstamp now, uint32_t slot,
                       const aq_addr *bound) {
  uint32_t i = slot - AQ_NATCHECK_SOCKETS;
  if (i >= AQ_NATLIFE_SOCKETS ||
      l->socket[i].slot != AQ_NATCHECK_SLOT_OPENING) {
    return;
  }
  aq_natlife_socket *s = &l->socket[i];
  s->slot = bound != NULL ? AQ_NATCHECK_SLOT_OPEN : AQ_NATCHECK_SLOT_FREE;
  if (bound != NULL) {
    s->bound = *bound;
    s->next = s->opened = now;
  }
}

void aq_natlife_asked(aq_natlife *l, uint32_t question, uint64_t cookie) {
  uint32_t i = question - AQ_NATCHECK_QUESTIONS;
  if (i < AQ_NATLIFE_SOCKETS && l->socket[i].tries > 0) {
    aq_natlife_socket *s = &l->socket[i];
    s->cookie[(s->tries - 1) % AQ_NATCHECK_TRIES] = cookie;
  }
}

int aq_natlife_answered(aq_natlife *l, aq_tstamp now, uint64_t cookie,
                        const aq_addr *from, const aq_addr *seen) {
  for (size_t i = 0; cookie != 0 && i < AQ_NATLIFE_SOCKETS; i++) {
    aq_natlife_socket *s = &l->socket[i];
    for (size_t k = 0; k < AQ_NATCHECK_TRIES; k++) {
      if (s->cookie[k] != cookie) {
        continue;
      }
      s->cookie[k] = 0;
      s->from = *from;
      s->seen = *seen;
      if (is_watch(i)) {
        watch_answered(l, s, now);
      } else if (s->asks) {
        s->answered = 1;
      }
      return 1;
    }
  }
  return 0;
}

int aq_natlife_known(const aq_natlife *l) {
  return l->again || next_delay(l) == 0;
}

int aq_natlife_take_change(aq_natlife *l) {
  int was = l->changed;
  l->changed = 0;
  return was;
}
