/* alone.h - one session without an endpoint: what tests of proto/trav share.
 * The globals are one session's, since a session is too large for the stack.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_SPEC_ALONE_H
#define AQ_SPEC_ALONE_H

#include "proto/trav_int.h"
#include "support/util.h"

extern aq_trav T;
extern aq_trav_params P;
extern const aq_addr COORDINATOR;

/* What the last alone_drain gave. */
extern aq_trav_action actions[AQ_TRAV_MAX_ACTIONS + 1];
extern aq_event events[AQ_TRAV_MAX_EVENTS];
extern size_t nactions, nevents;

/* For cmocka_unit_test_setup: parameters of steps, self < peer, one socket. */
int alone_setup(void **state);
/* An answer or offer with one verified candidate, 20.0.0.2:5000; |mark| fills
 * its nonce, session id and key. */
aq_ctl alone_message(uint64_t type, uint8_t mark);
void alone_add(aq_ctl *m, const char *addr);
/* A punch of the peer in the session that is in force. */
aq_punch alone_punch(uint8_t type, uint32_t seq, uint64_t echo);

void alone_drain(aq_tstamp now);
size_t alone_count(aq_trav_action_kind kind);
/* The first of its kind, or the test fails. */
const aq_trav_action *alone_action(aq_trav_action_kind kind);
/* The first of its kind, or NULL. */
const aq_event *alone_event(aq_event_kind kind);
void alone_step_ended(uint64_t step, int error);

/* The key in force. */
const uint8_t *alone_key(void);
/* A step that asks one coordinator, |via|, or the owner's choice (0); and its
 * newest REQUEST is sent on |conn|, 50 ms away. */
int alone_coordinate(aq_tstamp now, aq_id via, aq_duration timeout);
void alone_requested(aq_tstamp now, aq_id conn, uint64_t request);
/* As initiator, with an answer, at |now|: before the punch step, and in it. */
void alone_coordinated(aq_tstamp now, const aq_ctl *answer);
void alone_punching(aq_tstamp now, const aq_ctl *answer);

#endif
