/* trav_recv.c - arrivals: punches, ends of dials, candidates.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/addr.h"
#include "base/time.h"
#include "proto/disc.h"
#include "proto/guard.h"

#include <stdio.h>
#include <string.h>

/* ---- punches ---------------------------------------------------------------
 */

/* A captured datagram that comes again, from wherever, is neither answered nor
 * dialed. */
static int is_replay(aq_trav *t, uint32_t seq) {
  int again = !aq_window_take(&t->peer_seq, seq);
  t->replays += again;
  return again;
}

static int take_cookie(aq_trav *t, const aq_addr *from, uint64_t echo,
                       aq_duration *rtt) {
  for (size_t i = 0; echo && i < AQ_TRAV_PROBE_LOG; i++) {
    if (t->probe[i].cookie == echo) {
      *rtt = aq_time_since(t->now, t->probe[i].sent);
      t->probe[i].cookie = 0;
      t->rtt = *rtt;
      t->rtt_measured = 1;
      return 1;
    }
  }
  return aq_trav_guess_echo(t, from, echo);
}

static aq_trav_pair *learn_pair(aq_trav *t, uint32_t socket,
                                const aq_addr *from) {
  const aq_local_socket *sock = NULL;
  aq_local_socket extra;
  for (size_t i = 0; i < t->p.nsock && !sock; i++) {
    sock = t->p.sock[i].index == socket ? &t->p.sock[i] : NULL;
  }
  if (!sock && aq_trav_hard_socket(t, socket, &extra)) {
    sock = &extra;
  }
  aq_candidate c;
  memset(&c, 0, sizeof(c));
  c.addr = *from;
  c.source = AQ_SOURCE_PEER;
  c.state = AQ_CAND_NEW;
  c.priority = aq_cand_priority(AQ_SOURCE_PEER, 65535);
  int known = 0; /* and now heard on another socket of ours */
  for (size_t i = 0; i < t->nremote && !known; i++) {
    if (aq_addr_equal(&t->remote[i].addr, from)) {
      c = t->remote[i];
      known = 1;
    }
  }
  aq_trav_pair *p = sock ? aq_trav_pair_add(t, sock, &c) : NULL;
  if (p) {
    p->state = AQ_PAIR_IN_PROGRESS;
    if (t->rec_punch) {
      t->record[t->rec_punch - 1].pairs++;
    }
  }
  if (p && !known) {
    aq_event spare;
    aq_event *e = aq_trav_note(t, AQ_EVENT_CANDIDATE_DISCOVERED, &spare);
    e->addr = *from;
    e->cand = c;
  }
  return p;
}

static void hear(aq_trav *t, aq_trav_pair *p, aq_duration rtt) {
  p->received++;
  t->punches_received++;
  if (t->rec_punch) {
    t->record[t->rec_punch - 1].received++;
  }
  aq_trav_guess_stop(t);
  if (p->heard) {
    return;
  }
  p->heard = 1;
  if (t->rec_punch) {
    t->record[t->rec_punch - 1].heard++;
  }
  aq_event spare;
  aq_event *e = aq_trav_note(t, AQ_EVENT_CANDIDATE_VALIDATED, &spare);
  aq_trav_fill_validated(t, e, &p->remote, rtt);
  aq_trav_pair_soon(t, p);
}

static void validate(aq_trav *t, aq_trav_pair *p) {
  if (t->p.repair ? !t->p.mover : !t->initiator) {
    aq_trav_move(t, AQ_PHASE_VALIDATION, "an authentic punch came");
    return;
  }
  for (size_t i = 0; i < AQ_TRAV_MAX_DIALS; i++) {
    aq_trav_dial *d = &t->dial[i];
    if (d->id && !d->known && &t->pair[d->pair] == p) {
      d->heard = 1;
      aq_trav_move(t, AQ_PHASE_VALIDATION, "an authentic punch came");
      return;
    }
  }
  if (p->state != AQ_PAIR_FAILED) {
    aq_trav_dial_pair(t, p);
  }
}

static int hears_punches(aq_trav *t) {
  if (t->phase == AQ_PHASE_SYNCHRONIZATION &&
      t->timer[AQ_TRAV_TIMER_START] != AQ_NEVER) {
    /* The peer was faster: there is no use in waiting. */
    aq_trav_start_punch(t);
  } else if (t->phase == AQ_PHASE_SYNCHRONIZATION) {
    aq_trav_hard_early(t);
  }
  return t->phase == AQ_PHASE_PUNCHING || t->phase == AQ_PHASE_VALIDATION;
}

int aq_trav_handle_punch(aq_trav *t, aq_tstamp now, uint32_t socket,
                         const aq_addr *from, const aq_punch *p) {
  aq_trav_clock(t, now);
  int by_initiator = (p->flags & AQ_PUNCH_FLAG_INITIATOR) != 0;
  if (t->over || from->family == 0 || from->port == 0 ||
      by_initiator == t->initiator || !aq_trav_key(t, p->session) ||
      t->plan == AQ_PLAN_RELAY || !hears_punches(t) ||
      !aq_trav_settle(t, p->session) || is_replay(t, p->seq)) {
    return 0;
  }
  aq_duration rtt = 0;
  if (p->type == AQ_PUNCH_ANSWER) {
    if (!take_cookie(t, from, p->echo, &rtt)) {
      return 0;
    }
  }
  aq_trav_pair *pair = aq_trav_pair_find(t, socket, from);
  if (!pair) {
    pair = learn_pair(t, socket, from);
  }
  if (!pair) {
    return 0;
  }
  hear(t, pair, rtt);
  if (p->type != AQ_PUNCH_ANSWER) {
    aq_trav_answer(t, pair, p);
  }
  pair->answered_us |= p->type == AQ_PUNCH_ANSWER;
  validate(t, pair);
  return p->type == AQ_PUNCH_ANSWER;
}

static void not_sent(aq_trav *t, aq_guard_verdict v) {
  t->punches_sent -= t->punches_sent > 0;
  if (t->rec_punch) {
    aq_step_record *r = &t->record[t->rec_punch - 1];
    r->refused++;
    r->limit = aq_guard_name(v);
    r->sent -= r->sent > 0;
  }
}

void aq_trav_handle_refused(aq_trav *t, aq_tstamp now, uint32_t socket,
                            const aq_addr *addr, aq_guard_verdict v) {
  aq_trav_clock(t, now);
  aq_trav_pair *p = aq_trav_pair_find(t, socket, addr);
  if (t->over) {
    return;
  }
  if (!p) { /* a guess */
    if (aq_trav_hard_guesses(t)) {
      not_sent(t, v);
      aq_trav_guess_refused(t, v);
    }
    return;
  }
  p->refused++;
  p->limit = aq_guard_name(v);
  if (p->sent) {
    p->sent--;
    not_sent(t, v);
  }
  if (v == AQ_GUARD_FORBIDDEN &&
      (p->state == AQ_PAIR_WAITING || p->state == AQ_PAIR_IN_PROGRESS)) {
    p->state = AQ_PAIR_FAILED;
    p->left = 0;
    p->next = AQ_NEVER;
    aq_trav_cand_state(t, addr, AQ_CAND_FAILED);
  }
}

/* ---- dials and other ways
 * ---------------------------------------------------- */

void aq_trav_handle_dial(aq_trav *t, aq_tstamp now, uint32_t dial, int error,
                         aq_duration rtt) {
  aq_trav_clock(t, now);
  aq_trav_dial *d = aq_trav_dial_find(t, dial);
  if (t->over || !d || !d->told) {
    return;
  }
  if (error == AQ_ERR_UNREACHABLE && d->heard) {
    error = AQ_ERR_VALIDATION_FAILED; /* it was there, and is not */
  }
  if (error) {
    aq_trav_dial_ended(t, d, error);
  } else {
    aq_addr addr = d->addr;
    aq_trav_win(t, dial, &addr, rtt);
  }
}

void aq_trav_handle_connected(aq_trav *t, aq_tstamp now, const aq_addr *remote,
                              aq_duration rtt) {
  aq_trav_clock(t, now);
  if (!t->over) {
    aq_trav_win(t, 0, remote, rtt);
  }
}

void aq_trav_handle_arriving(aq_trav *t, aq_tstamp now) {
  aq_trav_clock(t, now);
  if (t->over || t->initiator || t->originator || t->p.repair) {
    return; /* who wants it as well tries on its own */
  }
  if (t->phase == AQ_PHASE_PUNCHING) {
    aq_trav_move(t, AQ_PHASE_VALIDATION, "the peer's handshake began");
  }
  if (t->phase == AQ_PHASE_VALIDATION) {
    t->timer[AQ_TRAV_TIMER_PHASE] = AQ_NEVER;
  }
}

static void candidate_gone(aq_trav *t, const aq_addr *addr) {
  for (size_t i = 0; i < t->nremote; i++) {
    if (aq_addr_equal(&t->remote[i].addr, addr)) {
      t->remote[i].state = AQ_CAND_REMOVED;
    }
  }
  for (size_t i = 0; i < t->npair; i++) {
    aq_trav_pair *p = &t->pair[i];
    if (aq_addr_equal(&p->remote, addr) && !p->heard) {
      p->next = AQ_NEVER;
      p->left = 0;
      p->state = p->dialed ? p->state : AQ_PAIR_CANCELLED;
    }
  }
}

void aq_trav_handle_candidate(aq_trav *t, aq_tstamp now,
                              const aq_candidate *c) {
  aq_trav_clock(t, now);
  if (t->over) {
    return;
  }
  if (c->state == AQ_CAND_REMOVED) {
    candidate_gone(t, &c->addr);
    return;
  }
  for (size_t i = 0; i < t->nremote; i++) {
    if (aq_addr_equal(&t->remote[i].addr, &c->addr)) {
      t->remote[i].state = AQ_CAND_NEW;
      return;
    }
  }
  if (t->nremote == AQ_MAX_CANDIDATES) {
    return;
  }
  aq_candidate *r = &t->remote[t->nremote++];
  *r = *c;
  r->verified = 0; /* the peer says so, nobody else */
  aq_event spare;
  aq_event *e = aq_trav_note(t, AQ_EVENT_CANDIDATE_DISCOVERED, &spare);
  e->addr = c->addr;
  e->cand = *r;
  if (t->plan != AQ_PLAN_RELAY &&
      (t->phase == AQ_PHASE_PUNCHING || t->phase == AQ_PHASE_VALIDATION)) {
    aq_trav_pairs_more(t, r);
  }
}
