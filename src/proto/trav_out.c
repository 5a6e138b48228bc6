/* trav_out.c - actions, events and the records of what was tried.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_int.h"

#include "base/time.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- actions
 * ----------------------------------------------------------------- Punches may
 * use all slots but AQ_TRAV_ACTION_RESERVE. The reserve is enough for the rest,
 * however long nobody polls: a dial or request that was not polled is taken
 * back instead of being hung up or cancelled, so at most AQ_TRAV_MAX_DIALS of
 * DIAL and of HANGUP wait at a time. */

static aq_trav_action *action_at(aq_trav *t, uint32_t i) {
  return &t->action[(t->action_head + i) % AQ_TRAV_MAX_ACTIONS];
}

aq_trav_action *aq_trav_push(aq_trav *t, aq_trav_action_kind kind) {
  uint32_t room = AQ_TRAV_MAX_ACTIONS;
  assert(!t->over);
  if (kind == AQ_TRAV_PUNCH) {
    room -= AQ_TRAV_ACTION_RESERVE;
  }
  if (t->action_count >= room) {
    t->actions_lost++;
    return NULL;
  }
  aq_trav_action *a = action_at(t, t->action_count++);
  memset(a, 0, sizeof(*a));
  a->kind = kind;
  return a;
}

uint32_t aq_trav_drop(aq_trav *t, aq_trav_action_kind kind, uint32_t of) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < t->action_count; i++) {
    aq_trav_action *a = action_at(t, i);
    if (a->kind == kind && (!of || a->dial == of || a->ask == of)) {
      continue;
    }
    if (kept != i) {
      *action_at(t, kept) = *a;
    }
    kept++;
  }
  uint32_t dropped = t->action_count - kept;
  t->action_count = kept;
  return dropped;
}

int aq_trav_poll_action(aq_trav *t, aq_tstamp now, aq_trav_action *out) {
  aq_trav_clock(t, now);
  if (t->action_count) {
    *out = *action_at(t, 0);
    t->action_head = (t->action_head + 1) % AQ_TRAV_MAX_ACTIONS;
    t->action_count--;
    if (out->kind == AQ_TRAV_DIAL) {
      aq_trav_dial *d = aq_trav_dial_find(t, out->dial);
      if (d) {
        d->told = 1;
      }
    }
    return 1;
  }
  if (t->done_due && !t->done_told) {
    t->done_told = 1;
    *out = t->done;
    return 1;
  }
  return 0;
}

/* ---- events
 * ------------------------------------------------------------------ */

static aq_event *event_push(aq_trav *t, aq_event_kind kind) {
  uint32_t at = (t->event_head + t->event_count) % AQ_TRAV_MAX_EVENTS;
  if (t->event_count == AQ_TRAV_MAX_EVENTS) {
    /* The oldest goes: how it ended tells more than how it began. */
    t->event_head = (t->event_head + 1) % AQ_TRAV_MAX_EVENTS;
    t->event_count--;
    t->events_lost++;
  }
  t->event_count++;
  aq_event *e = &t->event[at];
  memset(e, 0, sizeof(*e));
  e->kind = kind;
  e->time = t->now;
  return e;
}

aq_event *aq_trav_tell(aq_trav *t, aq_event_kind kind) {
  return event_push(t, kind);
}

aq_event *aq_trav_note(aq_trav *t, aq_event_kind kind, aq_event *spare) {
  if (t->event_count >= AQ_TRAV_MAX_EVENTS - AQ_TRAV_EVENT_RESERVE) {
    t->events_lost++;
    memset(spare, 0, sizeof(*spare));
    return spare;
  }
  return event_push(t, kind);
}

int aq_trav_poll_event(aq_trav *t, aq_event *out) {
  if (!t->event_count) {
    return 0;
  }
  *out = t->event[t->event_head];
  t->event_head = (t->event_head + 1) % AQ_TRAV_MAX_EVENTS;
  t->event_count--;
  return 1;
}

void aq_trav_step_done(aq_trav *t, int error, const char *why) {
  uint8_t step = t->step;
  t->step = AQ_TRAV_STEP_NONE;
  t->timer[AQ_TRAV_TIMER_STEP] = AQ_NEVER;
  if (step == AQ_TRAV_STEP_NONE || t->p.strategy != AQ_STRATEGY_STEPS) {
    return;
  }
  aq_event *e = aq_trav_tell(t, AQ_EVENT_STEP_DONE);
  e->value = step;
  e->error = error;
  snprintf(e->text, sizeof(e->text), "%s", why ? why : "");
}

/* ---- records
 * ----------------------------------------------------------------- */

uint32_t aq_trav_record_open(aq_trav *t, aq_trav_step step,
                             const aq_addr *addr) {
  if (t->nrecord == AQ_MAX_STEPS) {
    t->records_lost++;
    return 0;
  }
  aq_step_record *r = &t->record[t->nrecord++];
  memset(r, 0, sizeof(*r));
  r->step = (uint8_t)step;
  r->started = t->now;
  r->attempt = t->attempt;
  if (addr) {
    r->addr = *addr;
  }
  return (uint32_t)t->nrecord;
}

void aq_trav_record_close(aq_trav *t, uint32_t record, int error,
                          const char *why) {
  if (!record) {
    return;
  }
  aq_step_record *r = &t->record[record - 1];
  r->ended = t->now;
  r->error = error;
  if (why && *why) {
    snprintf(r->text, sizeof(r->text), "%s", why);
  }
}

size_t aq_trav_get_steps(const aq_trav *t, aq_step_record *out, size_t max) {
  size_t n = t->nrecord < max ? t->nrecord : max;
  memcpy(out, t->record, n * sizeof(*out));
  return t->nrecord;
}
