/* trav_dial.c - dials: numbers that stand for QUIC handshakes.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/addr.h"
#include "base/time.h"

#include <stdio.h>
#include <string.h>

#define WHICH_KNOWN 1u
#define WHICH_PAIR 2u

/* How often the way to one address is validated to move a connection; each time
 * costs connection IDs. The first is given up after this and two round trips.
 */
#define MOVES 2
#define VALIDATION (300 * AQ_MS)

static unsigned which_of(const aq_trav_dial *d) {
  return d->known ? WHICH_KNOWN : WHICH_PAIR;
}

aq_trav_dial *aq_trav_dial_find(aq_trav *t, uint32_t id) {
  for (size_t i = 0; id && i < AQ_TRAV_MAX_DIALS; i++) {
    if (t->dial[i].id == id) {
      return &t->dial[i];
    }
  }
  return NULL;
}

uint32_t aq_trav_dials(const aq_trav *t, unsigned which) {
  uint32_t n = 0;
  for (size_t i = 0; i < AQ_TRAV_MAX_DIALS; i++) {
    n += t->dial[i].id && (which_of(&t->dial[i]) & which);
  }
  return n;
}

static void rearm(aq_trav *t) {
  aq_tstamp next = AQ_NEVER;
  for (size_t i = 0; i < AQ_TRAV_MAX_DIALS; i++) {
    if (t->dial[i].id) {
      next = aq_time_min(next, t->dial[i].deadline);
    }
  }
  t->timer[AQ_TRAV_TIMER_DIAL] = next;
}

/* Before a handshake has a sample of its own, its first probe time-out is three
 * times this (RFC 9002 section 6.2.2). A lost Initial shall cost a round trip
 * and RETRY, so it is a third of that. The way over the coordinator is about
 * twice the straight one. */
#define RETRY (33 * AQ_MS)

aq_duration aq_trav_first_rtt(const aq_trav *t) {
  if (!t->rtt) {
    return 0;
  }
  int whole = t->rtt_measured || t->plan == AQ_PLAN_RELAY;
  aq_duration straight = whole ? t->rtt : t->rtt / 2;
  return aq_time_clamp((straight + RETRY) / 3, 10 * AQ_MS, AQ_S);
}

static aq_trav_dial *start(aq_trav *t, const aq_addr *addr, uint32_t socket,
                           uint8_t verified, aq_duration timeout) {
  aq_trav_dial *d = NULL;
  for (size_t i = 0; i < AQ_TRAV_MAX_DIALS && !d; i++) {
    d = t->dial[i].id ? NULL : &t->dial[i];
  }
  if (!d) {
    return NULL;
  }
  aq_trav_action *a = aq_trav_push(t, AQ_TRAV_DIAL);
  if (!a) {
    return NULL;
  }
  memset(d, 0, sizeof(*d));
  d->id = ++t->next_dial;
  d->addr = *addr;
  d->socket = socket;
  d->deadline = aq_time_add(t->now, timeout);
  d->record = aq_trav_record_open(t, AQ_TRAV_STEP_DIAL, addr);
  a->dial = d->id;
  a->addr = *addr;
  a->socket = socket;
  a->verified = verified;
  a->timeout = timeout;
  a->rtt = aq_trav_first_rtt(t);
  if (d->record) {
    t->record[d->record - 1].sent = 1;
  }
  t->initials_sent += !t->p.repair;
  rearm(t);
  return d;
}

static void say(aq_trav *t, const aq_trav_dial *d, const char *what) {
  if (d->record) {
    aq_step_record *r = &t->record[d->record - 1];
    snprintf(r->text, sizeof(r->text), "%s", what);
  }
}

/* A connection is moved to one place at a time, and only to one that echoed
 * what was sent there. */
static int may_dial(const aq_trav *t, const aq_trav_pair *pair) {
  if (t->p.repair) {
    return t->p.mover && pair->answered_us && aq_trav_dials(t, WHICH_PAIR) == 0;
  }
  return t->initiator && aq_trav_dials(t, WHICH_PAIR) < AQ_TRAV_DIALS_AT_ONCE;
}

void aq_trav_dial_pair(aq_trav *t, aq_trav_pair *pair) {
  if (!may_dial(t, pair) || pair->dialed ||
      t->dials_used >= AQ_TRAV_MAX_DIALS) {
    return;
  }
  aq_duration timeout = aq_trav_patience(t, AQ_TRAV_DIAL_TIMEOUT);
  if (t->p.repair && t->dials_used + 1 < MOVES) {
    /* QUIC would repeat a lost challenge a second later. */
    timeout = aq_time_min(timeout, VALIDATION + 2 * t->rtt);
  }
  aq_trav_dial *d =
      start(t, &pair->remote, pair->socket, pair->verified, timeout);
  if (!d) {
    return;
  }
  d->pair = (uint32_t)(pair - t->pair);
  d->heard = pair->heard;
  pair->dialed = 1;
  t->dials_used++;
  say(t, d,
      t->p.repair   ? "path validation"
      : pair->heard ? "an address that answered"
                    : "the address that the coordinator saw");
  if (d->heard) {
    aq_trav_move(t, AQ_PHASE_VALIDATION, "an authentic punch came");
  }
}

/* Dials addresses that answered, as far as slots are free. */
static void dial_heard(aq_trav *t) {
  for (size_t i = 0; i < t->npair; i++) {
    aq_trav_pair *p = &t->pair[i];
    if (p->heard && !p->dialed && p->state != AQ_PAIR_FAILED) {
      aq_trav_dial_pair(t, p);
    }
  }
}

int aq_trav_dial_relay(aq_trav *t, const aq_addr *relay) {
  aq_trav_dial *d =
      start(t, relay, AQ_TRAV_HOME, 1, AQ_TRAV_VALIDATION_TIMEOUT);
  if (d) {
    aq_trav_action *a = &t->action[(t->action_head + t->action_count - 1) %
                                   AQ_TRAV_MAX_ACTIONS];
    a->relay = d->relay = 1;
    t->dials_used++;
    say(t, d, t->p.repair ? "path validation" : "the peer, over the relay");
  }
  return d != NULL;
}

static void known_ended(aq_trav *t) {
  if (aq_trav_dials(t, WHICH_KNOWN) ||
      t->timer[AQ_TRAV_TIMER_KNOWN] != AQ_NEVER) {
    return;
  }
  if (t->waiting) {
    aq_trav_fail(t, t->error, t->why);
  } else if (t->step == AQ_TRAV_STEP_DIAL) {
    aq_trav_attempt_failed(t, t->step_error, "no known address answered");
  }
}

void aq_trav_dial_known(aq_trav *t) {
  t->timer[AQ_TRAV_TIMER_KNOWN] = AQ_NEVER;
  while (t->known_next < t->known.count) {
    const aq_addr *addr = &t->known.addrs[t->known_next];
    const aq_local_socket *sock = NULL;
    for (size_t i = 0; i < t->p.nsock && !sock; i++) {
      sock = t->p.sock[i].bound.family == addr->family ? &t->p.sock[i] : NULL;
    }
    aq_trav_dial *d = NULL;
    if (sock) {
      d = start(t, addr, sock->index, 0, t->known.timeout);
      if (!d) { /* every slot is taken: wait for one */
        t->timer[AQ_TRAV_TIMER_KNOWN] = t->now + AQ_TRAV_KNOWN_SPACING;
        return;
      }
      d->known = 1;
      say(t, d, "a known address");
    } else {
      uint32_t r = aq_trav_record_open(t, AQ_TRAV_STEP_DIAL, addr);
      aq_trav_record_close(t, r, AQ_ERR_NETWORK,
                           "no socket of its address family");
      t->step_error = aq_trav_worse(t->step_error, AQ_ERR_NETWORK);
      aq_trav_blame(t, AQ_ERR_NETWORK, "no socket of its address family");
    }
    t->known_next++;
    if (d && t->known.spacing && t->known_next < t->known.count) {
      t->timer[AQ_TRAV_TIMER_KNOWN] = aq_time_add(t->now, t->known.spacing);
      return;
    }
  }
  known_ended(t);
}

/* The owner need not go on with it, or not begin. */
static void call_off(aq_trav *t, const aq_trav_dial *d) {
  if (!d->told) {
    aq_trav_drop(t, AQ_TRAV_DIAL, d->id);
    return;
  }
  aq_trav_action *a = aq_trav_push(t, AQ_TRAV_HANGUP);
  if (a) {
    a->dial = d->id;
    a->addr = d->addr;
  }
}

void aq_trav_hangup(aq_trav *t, unsigned which, int error) {
  for (size_t i = 0; i < AQ_TRAV_MAX_DIALS; i++) {
    aq_trav_dial *d = &t->dial[i];
    if (!d->id || !(which_of(d) & which)) {
      continue;
    }
    call_off(t, d);
    aq_trav_record_close(t, d->record, error, NULL);
    if (!d->known && !d->relay &&
        t->pair[d->pair].state == AQ_PAIR_IN_PROGRESS) {
      t->pair[d->pair].state = AQ_PAIR_CANCELLED;
    }
    memset(d, 0, sizeof(*d));
  }
  if (which & WHICH_KNOWN) {
    t->timer[AQ_TRAV_TIMER_KNOWN] = AQ_NEVER;
    t->known_next = t->known.count;
  }
  rearm(t);
}

static int hears(const aq_trav *t) {
  for (size_t i = 0; i < AQ_TRAV_MAX_DIALS; i++) {
    if (t->dial[i].id && t->dial[i].heard) {
      return 1;
    }
  }
  return 0;
}

void aq_trav_dial_ended(aq_trav *t, aq_trav_dial *d, int error) {
  aq_trav_dial was = *d;
  char text[80], addr[AQ_ADDR_STRLEN];
  aq_trav_record_close(t, d->record, error, NULL);
  memset(d, 0, sizeof(*d));
  rearm(t);
  snprintf(text, sizeof(text), "%s: %s", aq_addr_format(&was.addr, addr),
           aq_error_text(error));
  aq_trav_blame(t, error, text);
  if (was.known) {
    t->step_error = aq_trav_worse(t->step_error, error);
    known_ended(t);
    return;
  }
  if (was.relay) {
    int lost = error == AQ_ERR_VALIDATION_FAILED && t->dials_used < MOVES;
    if (!t->p.repair || !lost || !aq_trav_dial_relay(t, &was.addr)) {
      aq_trav_attempt_failed(t, error, text);
    }
    return;
  }
  aq_trav_pair *p = &t->pair[was.pair];
  p->error = error;
  if (!was.heard && error == AQ_ERR_UNREACHABLE) {
    p->dialed = 0; /* it may still answer */
  } else if (t->p.repair && t->dials_used < MOVES) {
    p->dialed = 0; /* datagrams were lost */
  } else {
    p->state = AQ_PAIR_FAILED;
    aq_trav_cand_state(t, &p->remote, AQ_CAND_FAILED);
  }
  dial_heard(t);
  if (t->phase == AQ_PHASE_VALIDATION && !hears(t)) {
    aq_trav_move(t, AQ_PHASE_PUNCHING, "the handshake failed");
  }
  if (t->p.repair && p->state == AQ_PAIR_FAILED) {
    p->left = 0; /* more probes would change nothing */
    p->next = AQ_NEVER;
    aq_trav_send_probes(t);
    return;
  }
  aq_trav_check_spent(t);
}

void aq_trav_dials_due(aq_trav *t) {
  for (size_t i = 0; i < AQ_TRAV_MAX_DIALS && !t->over; i++) {
    aq_trav_dial *d = &t->dial[i];
    if (!d->id || d->deadline > t->now) {
      continue;
    }
    call_off(t, d);
    aq_trav_dial_ended(
        t, d, d->heard ? AQ_ERR_VALIDATION_TIMEOUT : AQ_ERR_UNREACHABLE);
  }
}
