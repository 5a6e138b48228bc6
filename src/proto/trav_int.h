/* trav_int.h - the session's struct and what its files share.
 *
 * Layer:  proto
 * Owner:  aq_endpoint embeds struct aq_trav; only trav*.c touch its members
 * Time:   absolute deadlines in ->timer, one per aq_trav_timer; the next one
 *         is their minimum
 * Spec:   docs/session.md (states), docs/protocol.md sections 3 to 6
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_TRAV_INT_H
#define AQ_PROTO_TRAV_INT_H

#include "proto/trav.h"

/* Time-outs of phases; they end a phase and never advance one. */
#define AQ_TRAV_DISCOVERY_TIMEOUT (10 * AQ_S)
#define AQ_TRAV_SYNC_TIMEOUT (3 * AQ_S)
#define AQ_TRAV_PUNCH_TIMEOUT (5 * AQ_S)
#define AQ_TRAV_VALIDATION_TIMEOUT (5 * AQ_S)

/* Of the C strategy: how long known addresses get before the coordinator is
 * asked as well, and the life of one dial. */
#define AQ_TRAV_KNOWN_HEADSTART (300 * AQ_MS)
#define AQ_TRAV_KNOWN_SPACING (100 * AQ_MS)
#define AQ_TRAV_DIAL_TIMEOUT (3 * AQ_S)

#define AQ_TRAV_DIALS_AT_ONCE 3
#define AQ_TRAV_PROBE_LOG 64

/* Slots of the two rings that only actions and events which must not be lost
 * may use. */
#define AQ_TRAV_ACTION_RESERVE 32
#define AQ_TRAV_EVENT_RESERVE 16

typedef enum aq_trav_timer {
  AQ_TRAV_TIMER_SESSION,  /* the whole session */
  AQ_TRAV_TIMER_PHASE,    /* the phase in force */
  AQ_TRAV_TIMER_STEP,     /* the running step */
  AQ_TRAV_TIMER_REQUEST,  /* no answer of the coordinator */
  AQ_TRAV_TIMER_RETRY,    /* the back-off is over */
  AQ_TRAV_TIMER_DECISION, /* the application said nothing: yes */
  AQ_TRAV_TIMER_START,    /* the start delay is over: openers */
  AQ_TRAV_TIMER_LEAD,     /* the openers' lead is over: dial and probe */
  AQ_TRAV_TIMER_PROBE,    /* the next probe of some pair */
  AQ_TRAV_TIMER_KNOWN,    /* the next known address is dialed */
  AQ_TRAV_TIMER_DIAL,     /* the oldest dial's time-out */
  AQ_TRAV_TIMER__COUNT
} aq_trav_timer;

typedef enum aq_trav_step {
  AQ_TRAV_STEP_DIAL,
  AQ_TRAV_STEP_COORDINATE,
  AQ_TRAV_STEP_PUNCH,
  AQ_TRAV_STEP_NONE
} aq_trav_step;

/* aq_trav_pair: one local socket and one remote address. */
typedef struct aq_trav_pair {
  aq_addr local;
  aq_addr remote;
  uint32_t socket;
  uint64_t priority;
  uint8_t state; /* aq_pair_state */
  uint8_t source;
  uint8_t verified;
  uint8_t is_private; /* no openers */
  uint8_t heard;      /* an authentic datagram came from it */
  uint8_t dialed;
  uint8_t left;   /* probes still to send */
  uint8_t round;  /* gap in force, see aq_trav_gap */
  uint32_t rank;  /* order of the step's list; less is first */
  aq_tstamp next; /* of the next probe, AQ_NEVER */
  uint32_t sent, received, answered;
} aq_trav_pair;

typedef struct aq_trav_dial {
  uint32_t id; /* 0: free */
  uint8_t known; /* of a dial step, not of a pair */
  uint8_t told;  /* its DIAL action was polled */
  uint32_t pair; /* index, when not known */
  uint32_t record;
  aq_addr addr;
  uint32_t socket;
  aq_tstamp deadline;
} aq_trav_dial;

typedef struct aq_trav_probe {
  uint64_t cookie; /* 0: none */
  aq_tstamp sent;
  uint32_t pair;
} aq_trav_probe;

struct aq_trav {
  aq_trav_params p;
  aq_punch_step schedule; /* default of this session, clamped */
  aq_punch_step punch;    /* of the running punch step */

  /* Where it stands. Only aq_trav_move writes phase and state. */
  uint8_t phase;      /* aq_phase */
  uint8_t state;      /* aq_state */
  uint8_t initiator;  /* the role now */
  uint8_t originator; /* our application asked for the session */
  uint8_t over;
  uint8_t step; /* aq_trav_step */
  uint32_t attempt;
  aq_tstamp started, phase_since, step_since;
  aq_tstamp timer[AQ_TRAV_TIMER__COUNT];
  int error; /* the most telling one so far */
  uint64_t rng;

  /* Coordination. */
  uint8_t requested; /* a REQUEST is running */
  uint8_t has_key;
  uint8_t synced;  /* an answer or offer waits for its start, or was used */
  uint8_t decided; /* the application accepted, or wasn't asked */
  uint8_t same_nat, private_ok;
  aq_id coordinator;
  uint64_t request;
  aq_tstamp requested_at, start_at, expires;
  aq_duration coordination_time, rtt;
  aq_addr observed;
  uint8_t session[AQ_CTL_SESSION_LEN];
  uint8_t key[AQ_PUNCH_KEY_LEN];
  size_t nremote;
  aq_candidate remote[AQ_MAX_CANDIDATES];

  /* Punching. */
  size_t npair;
  aq_trav_pair pair[AQ_TRAV_MAX_PAIRS];
  uint32_t seq; /* of the last datagram sent */
  uint32_t peer_seq;
  uint64_t peer_seen; /* window behind peer_seq: replays are ignored */
  uint32_t nprobe;
  aq_trav_probe probe[AQ_TRAV_PROBE_LOG];
  uint32_t gap_factor;
  uint32_t dials_used; /* in this attempt */
  aq_tstamp punch_until;
  uint32_t punches_sent, punches_received, initials_sent;

  /* Dials. */
  aq_trav_dial dial[AQ_TRAV_MAX_DIALS];
  uint32_t next_dial;
  aq_dial_step known;
  size_t known_next;

  /* What was tried. */
  size_t nrecord;
  aq_step_record record[AQ_MAX_STEPS];
  uint32_t rec_coordinate, rec_punch; /* index + 1 of the running one */
  uint64_t records_lost;

  /* Out. DONE stands outside of the ring, so it can't be lost. */
  uint32_t action_head, action_count;
  aq_trav_action action[AQ_TRAV_MAX_ACTIONS];
  aq_trav_action done;
  uint8_t done_due, done_told;
  uint32_t event_head, event_count;
  aq_event event[AQ_TRAV_MAX_EVENTS];
  uint64_t actions_lost, events_lost;
};

#endif
