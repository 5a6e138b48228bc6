/* trav_state.c - phases: the legal moves and the only setter.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/addr.h"
#include "base/time.h"
#include "proto/disc.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* IDLE and the two ends apart, every phase can be left for FAILED (an error
 * nobody can repair, the session's time is over, finished by the caller) and
 * for CONNECTED (the peer's own dial arrived, or a known address answered). */
static const aq_trav_rule RULES[] = {
    {AQ_PHASE_IDLE, AQ_PHASE_DISCOVERY, "a dial of known addresses starts"},
    {AQ_PHASE_IDLE, AQ_PHASE_COORDINATION, "a request is sent"},
    {AQ_PHASE_IDLE, AQ_PHASE_SYNCHRONIZATION, "an offer came"},
    {AQ_PHASE_IDLE, AQ_PHASE_CONNECTED, "the peer dialed us"},
    {AQ_PHASE_IDLE, AQ_PHASE_FAILED, "finished or out of time"},
    {AQ_PHASE_DISCOVERY, AQ_PHASE_COORDINATION, "a request is sent"},
    {AQ_PHASE_DISCOVERY, AQ_PHASE_SYNCHRONIZATION, "an offer came"},
    {AQ_PHASE_DISCOVERY, AQ_PHASE_CONNECTED, "a known address answered"},
    {AQ_PHASE_DISCOVERY, AQ_PHASE_FAILED, "finished or out of time"},
    {AQ_PHASE_COORDINATION, AQ_PHASE_SYNCHRONIZATION,
     "the answer or an offer came"},
    {AQ_PHASE_COORDINATION, AQ_PHASE_DISCOVERY, "no answer; another try"},
    {AQ_PHASE_COORDINATION, AQ_PHASE_CONNECTED, "a dial was faster"},
    {AQ_PHASE_COORDINATION, AQ_PHASE_FAILED, "finished or out of time"},
    {AQ_PHASE_SYNCHRONIZATION, AQ_PHASE_PUNCHING, "the start delay is over"},
    {AQ_PHASE_SYNCHRONIZATION, AQ_PHASE_VALIDATION, "the tunnel is there"},
    {AQ_PHASE_SYNCHRONIZATION, AQ_PHASE_COORDINATION, "a request is sent"},
    {AQ_PHASE_SYNCHRONIZATION, AQ_PHASE_DISCOVERY,
     "refused or expired; another try"},
    {AQ_PHASE_SYNCHRONIZATION, AQ_PHASE_CONNECTED, "a dial was faster"},
    {AQ_PHASE_SYNCHRONIZATION, AQ_PHASE_FAILED, "finished or out of time"},
    {AQ_PHASE_PUNCHING, AQ_PHASE_VALIDATION, "an authentic punch came"},
    {AQ_PHASE_PUNCHING, AQ_PHASE_SYNCHRONIZATION,
     "a newer offer came, or the step ended"},
    {AQ_PHASE_PUNCHING, AQ_PHASE_DISCOVERY, "nothing answered; another try"},
    {AQ_PHASE_PUNCHING, AQ_PHASE_CONNECTED, "a handshake finished"},
    {AQ_PHASE_PUNCHING, AQ_PHASE_FAILED, "finished or out of time"},
    {AQ_PHASE_VALIDATION, AQ_PHASE_PUNCHING, "the handshake failed"},
    {AQ_PHASE_VALIDATION, AQ_PHASE_SYNCHRONIZATION,
     "a newer offer came, or the step ended"},
    {AQ_PHASE_VALIDATION, AQ_PHASE_DISCOVERY, "out of time; another try"},
    {AQ_PHASE_VALIDATION, AQ_PHASE_CONNECTED, "a handshake finished"},
    {AQ_PHASE_VALIDATION, AQ_PHASE_FAILED, "finished or out of time"},
};

const aq_trav_rule *aq_trav_rules(size_t *n) {
  *n = sizeof(RULES) / sizeof(RULES[0]);
  return RULES;
}

static int is_legal(aq_phase from, aq_phase to) {
  size_t n;
  const aq_trav_rule *r = aq_trav_rules(&n);
  for (size_t i = 0; i < n; i++) {
    if (r[i].from == from && r[i].to == to) {
      return 1;
    }
  }
  return 0;
}

static aq_state state_of(aq_phase phase) {
  switch (phase) {
  case AQ_PHASE_IDLE:
    return AQ_STATE_IDLE;
  case AQ_PHASE_CONNECTED:
    return AQ_STATE_CONNECTED;
  case AQ_PHASE_FAILED:
    return AQ_STATE_CLOSED;
  default:
    return AQ_STATE_CONNECTING;
  }
}

static aq_reason reason_of(const aq_trav *t, aq_phase to) {
  if (to == AQ_PHASE_CONNECTED) {
    return AQ_REASON_CONNECTION_ESTABLISHED;
  }
  int error = to == AQ_PHASE_FAILED ? t->error : t->move_error;
  switch (error) {
  case AQ_OK:
    return AQ_REASON_NONE; /* one step further */
  case AQ_ERR_CANCELLED:
    return AQ_REASON_USER_CLOSED;
  case AQ_ERR_TIMEOUT:
  case AQ_ERR_VALIDATION_TIMEOUT:
    return AQ_REASON_TIMEOUT;
  default:
    return AQ_REASON_NETWORK_ERROR;
  }
}

static int is_punching(unsigned phase) {
  return phase == AQ_PHASE_PUNCHING || phase == AQ_PHASE_VALIDATION;
}

static void leave(aq_trav *t, aq_phase to) {
  t->timer[AQ_TRAV_TIMER_PHASE] = AQ_NEVER;
  if (t->phase == AQ_PHASE_COORDINATION) {
    t->timer[AQ_TRAV_TIMER_REQUEST] = AQ_NEVER;
    t->timer[AQ_TRAV_TIMER_HEDGE] = AQ_NEVER;
    aq_trav_asks_end(t, 0, AQ_ERR_CANCELLED, NULL);
  } else if (t->phase == AQ_PHASE_SYNCHRONIZATION) {
    t->timer[AQ_TRAV_TIMER_START] = AQ_NEVER;
    t->timer[AQ_TRAV_TIMER_DECISION] = AQ_NEVER;
  }
  if (is_punching(t->phase) && !is_punching(to)) {
    aq_trav_stop_punching(t);
  }
  if (!is_punching(to)) {
    t->timer[AQ_TRAV_TIMER_WATCH] = AQ_NEVER;
    aq_trav_hard_end(t);
  }
}

static aq_tstamp phase_deadline(const aq_trav *t, aq_phase to) {
  switch (to) {
  case AQ_PHASE_PUNCHING:
    return t->punch_until;
  case AQ_PHASE_VALIDATION:
    return t->now + aq_trav_patience(t, AQ_TRAV_VALIDATION_TIMEOUT);
  default:
    /* In DISCOVERY and SYNCHRONIZATION a session may wait for its caller or for
     * a back-off. A step of dials and a request have timers of their own. */
    return AQ_NEVER;
  }
}

void aq_trav_move(aq_trav *t, aq_phase to, const char *why) {
  aq_phase from = (aq_phase)t->phase;
  if (from == to) {
    return;
  }
  assert(is_legal(from, to));
  leave(t, to);
  t->phase = (uint8_t)to;
  t->phase_since = t->now;
  t->timer[AQ_TRAV_TIMER_PHASE] = phase_deadline(t, to);
  aq_event *e = aq_trav_tell(t, AQ_EVENT_PHASE_TRANSITION);
  e->from = from;
  e->to = to;
  e->reason = reason_of(t, to);
  snprintf(e->text, sizeof(e->text), "%s", why);
  aq_state was = (aq_state)t->state;
  aq_state is = state_of(to);
  if (is != was) {
    t->state = (uint8_t)is;
    e = aq_trav_tell(t, AQ_EVENT_SESSION_STATE_CHANGED);
    e->from = was;
    e->to = is;
    e->reason = reason_of(t, to);
    snprintf(e->text, sizeof(e->text), "%s", why);
  }
}

/* ---- the two ends
 * ----------------------------------------------------------*/

/* How much an error tells a user; what is further on the way to a connection,
 * or about the identity, tells more. */
static int rank_of(int error) {
  switch (error) {
  case AQ_OK:
    return -1;
  case AQ_ERR_WRONG_KEY:
    return 100;
  case AQ_ERR_NOT_ALLOWED:
    return 95;
  case AQ_ERR_REFUSED:
    return 90;
  case AQ_ERR_ALPN:
  case AQ_ERR_VERSION:
  case AQ_ERR_TLS:
    return 80;
  case AQ_ERR_VALIDATION_FAILED:
  case AQ_ERR_VALIDATION_TIMEOUT:
    return 72;
  case AQ_ERR_PUNCHING_FAILED:
    return 70;
  case AQ_ERR_NO_CANDIDATES:
    return 65;
  case AQ_ERR_UNKNOWN_TARGET:
    return 60;
  case AQ_ERR_RATE_LIMITED:
  case AQ_ERR_OVERLOADED:
  case AQ_ERR_EXPIRED:
    return 50;
  case AQ_ERR_UNREACHABLE:
    return 45;
  case AQ_ERR_NO_BOOTSTRAP_NODES:
  case AQ_ERR_PEER_NOT_CONNECTED:
    return 40;
  case AQ_ERR_COORDINATION_FAILED:
    return 35;
  case AQ_ERR_TIMEOUT:
    return 10;
  default:
    return 30;
  }
}

int aq_trav_worse(int a, int b) {
  return rank_of(b) >= rank_of(a) ? b : a;
}

void aq_trav_blame(aq_trav *t, int error, const char *why) {
  if (rank_of(error) >= rank_of(t->error)) {
    t->error = error;
    snprintf(t->why, sizeof(t->why), "%s", why ? why : "");
  }
}

static void close_all(aq_trav *t, aq_phase to, int error, const char *why) {
  aq_trav_hangup(t, 3, to == AQ_PHASE_CONNECTED ? AQ_ERR_DUPLICATE : error);
  aq_trav_asks_end(t, 0, error, why);
  aq_trav_record_close(t, t->rec_punch, error, why);
  t->rec_punch = 0;
  if (t->step != AQ_TRAV_STEP_NONE) {
    aq_trav_step_done(t, error, why);
  }
  aq_trav_move(t, to, why);
  aq_trav_drop(t, AQ_TRAV_PUNCH, 0);
  for (int i = 0; i < AQ_TRAV_TIMER__COUNT; i++) {
    t->timer[i] = AQ_NEVER;
  }
}

static void over(aq_trav *t, int error, uint32_t dial, const aq_addr *addr) {
  t->over = 1;
  t->done.kind = AQ_TRAV_DONE;
  t->done.error = error;
  t->done.dial = dial;
  if (addr) {
    t->done.addr = *addr;
  }
  t->done_due = 1;
}

void aq_trav_fill_validated(aq_trav *t, aq_event *e, const aq_addr *addr,
                            aq_duration rtt) {
  const aq_candidate *c = aq_trav_cand_state(t, addr, AQ_CAND_VALID);
  if (c) {
    e->cand = *c;
  } else { /* the peer's datagrams showed it */
    e->cand.addr = *addr;
    e->cand.source = AQ_SOURCE_PEER;
    e->cand.state = AQ_CAND_VALID;
    e->cand.priority = aq_cand_priority(AQ_SOURCE_PEER, 65535);
  }
  e->addr = *addr;
  e->duration = rtt;
}

static void validated(aq_trav *t, const aq_addr *addr, aq_duration rtt) {
  aq_event spare;
  int heard = 0;
  for (size_t i = 0; i < t->npair; i++) {
    if (aq_addr_equal(&t->pair[i].remote, addr)) {
      heard |= t->pair[i].heard;
      t->pair[i].state = AQ_PAIR_SUCCEEDED;
    }
  }
  aq_event *e = aq_trav_note(t, AQ_EVENT_PATH_VALIDATED, &spare);
  e->addr = *addr;
  e->duration = rtt;
  if (!heard) {
    e = aq_trav_note(t, AQ_EVENT_CANDIDATE_VALIDATED, &spare);
    aq_trav_fill_validated(t, e, addr, rtt);
  }
}

void aq_trav_win(aq_trav *t, uint32_t dial, const aq_addr *addr,
                 aq_duration rtt) {
  aq_trav_dial *d = aq_trav_dial_find(t, dial);
  if (d) {
    if (d->record) {
      t->record[d->record - 1].won = 1;
    }
    aq_trav_record_close(t, d->record, 0, "");
    memset(d, 0, sizeof(*d));
  }
  if (t->rec_punch) {
    aq_step_record *r = &t->record[t->rec_punch - 1];
    r->won = 1;
    r->addr = *addr;
  }
  t->error = AQ_OK;
  validated(t, addr, rtt);
  close_all(t, AQ_PHASE_CONNECTED, AQ_OK,
            t->p.repair ? "the connection moved to it"
            : dial      ? "a handshake finished"
                        : "the peer dialed us");
  aq_event *e = aq_trav_tell(t, AQ_EVENT_TRAVERSAL_SUCCEEDED);
  e->addr = *addr;
  e->duration = aq_time_since(t->now, t->started);
  e->value = t->attempt;
  over(t, AQ_OK, dial, addr);
}

void aq_trav_fail(aq_trav *t, int error, const char *why) {
  char text[sizeof(t->why)];
  snprintf(text, sizeof(text), "%s", why && *why ? why : aq_error_text(error));
  t->error = error;
  /* The other side need not go on. */
  aq_trav_cancel(t, AQ_ERR_CANCELLED);
  close_all(t, AQ_PHASE_FAILED, error, text);
  aq_event *e = aq_trav_tell(t, AQ_EVENT_TRAVERSAL_FAILED);
  e->error = error;
  e->duration = aq_time_since(t->now, t->started);
  e->value = t->attempt;
  if (t->attempt) {
    snprintf(e->text, sizeof(e->text), "%s (attempts %u, punches %u, heard %u)",
             text, t->attempt, t->punches_sent, t->punches_received);
  } else {
    snprintf(e->text, sizeof(e->text), "%s", text);
  }
  over(t, error, 0, NULL);
}
