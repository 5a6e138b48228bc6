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

#include "base/window.h"
#include "proto/trav_hard.h"

/* Time-outs of phases; they end a phase and never advance one. That of
 * DISCOVERY is what a dial step gets that names none; COORDINATION has the
 * endpoint's coordination_timeout. */
#define AQ_TRAV_DISCOVERY_TIMEOUT (10 * AQ_S)
#define AQ_TRAV_SYNC_TIMEOUT (3 * AQ_S)
#define AQ_TRAV_PUNCH_TIMEOUT (5 * AQ_S)
#define AQ_TRAV_VALIDATION_TIMEOUT (5 * AQ_S)

/* Between two known addresses, where no dial is free; and the life of one dial.
 */
#define AQ_TRAV_KNOWN_SPACING (100 * AQ_MS)
#define AQ_TRAV_DIAL_TIMEOUT (3 * AQ_S)

/* Of pairs, not of known addresses. */
#define AQ_TRAV_DIALS_AT_ONCE 3
/* Probes that follow the first authentic datagram of a pair: what was sent
 * before may have met a closed NAT. */
#define AQ_TRAV_PROBES_AFTER_HIT 3
/* Answers to one address; no honest peer sends more probes. */
#define AQ_TRAV_MAX_ANSWERS 32
/* The probes of one attempt are spread over this long. */
#define AQ_TRAV_COVER (3 * AQ_S)
#define AQ_TRAV_PROBE_LOG 64

/* A coordinator that has not answered after this, or after three of its round
 * trips, may be dead: the next one is asked beside it. */
#define AQ_TRAV_PATIENCE (200 * AQ_MS)
#define AQ_TRAV_MAX_HEDGE (10 * AQ_S)
/* One attempt's offers through several coordinators, so much apart, share one
 * schedule; for a later one it starts anew. */
#define AQ_TRAV_SAME_START (100 * AQ_MS)

/* Slots of the two rings that only actions and events which must not be lost
 * may use. */
#define AQ_TRAV_ACTION_RESERVE 64
#define AQ_TRAV_EVENT_RESERVE 16

typedef enum aq_trav_timer {
  AQ_TRAV_TIMER_SESSION,  /* the whole session */
  AQ_TRAV_TIMER_PHASE,    /* the phase in force */
  AQ_TRAV_TIMER_STEP,     /* the running step */
  AQ_TRAV_TIMER_REQUEST,  /* no answer of any coordinator */
  AQ_TRAV_TIMER_HEDGE,    /* no answer yet: another one is asked as well */
  AQ_TRAV_TIMER_RETRY,    /* the back-off is over */
  AQ_TRAV_TIMER_DECISION, /* the application said nothing: yes */
  AQ_TRAV_TIMER_START,    /* the start delay is over: openers */
  AQ_TRAV_TIMER_LEAD,     /* the openers' lead is over: dial and probe */
  AQ_TRAV_TIMER_PROBE,    /* the next probe of some pair */
  AQ_TRAV_TIMER_KNOWN,    /* the next known address is dialed */
  AQ_TRAV_TIMER_DIAL,     /* the oldest dial's time-out */
  AQ_TRAV_TIMER_LOOK,     /* no answer of an observer, or no HINT */
  AQ_TRAV_TIMER_GUESS,    /* the next openers or guesses */
  AQ_TRAV_TIMER_WATCH,    /* does the coordinator still live? */
  AQ_TRAV_TIMER__COUNT
} aq_trav_timer;

/* Numbers of aq_step_record; a step that follows a plan is PUNCH + plan. */
typedef enum aq_trav_step {
  AQ_TRAV_STEP_DIAL,
  AQ_TRAV_STEP_COORDINATE,
  AQ_TRAV_STEP_PUNCH,
  AQ_TRAV_STEP_NONE = AQ_TRAV_STEP_PUNCH + AQ_PLAN__COUNT
} aq_trav_step;

/* A step with a plan of its own, from the request to the end. */
static inline int aq_trav_has_plan(uint8_t step) {
  return step > AQ_TRAV_STEP_PUNCH && step < AQ_TRAV_STEP_NONE;
}

/* aq_trav_pair: one local socket and one remote address. */
typedef struct aq_trav_pair {
  aq_addr local;
  aq_addr remote;
  uint32_t socket;
  uint64_t priority;
  uint8_t state; /* aq_pair_state */
  uint8_t source;
  uint8_t verified;    /* the coordinator saw it */
  uint8_t guess;       /* ... but guessed its port */
  uint8_t is_private;  /* no openers */
  uint8_t heard;       /* an authentic datagram came from it */
  uint8_t answered_us; /* ... that echoed what was sent there: no spoofing */
  uint8_t dialed;
  uint8_t left;   /* probes still to send */
  uint8_t round;  /* gap in force, see aq_trav_gap */
  uint32_t rank;  /* order of the step's list; less is first */
  aq_tstamp next; /* of the next probe, AQ_NEVER */
  uint32_t sent, received, answered;
  uint32_t refused;  /* by the guard */
  const char *limit; /* static: why, the last time */
  int error;         /* of its last dial */
} aq_trav_pair;

typedef struct aq_trav_dial {
  uint32_t id;   /* 0: free */
  uint8_t known; /* of a dial step, not of a pair */
  uint8_t told;  /* its DIAL action was polled */
  uint8_t heard; /* its address had answered with an authentic punch */
  uint8_t relay; /* through a tunnel: neither known nor of a pair */
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

/* aq_trav_ask: one REQUEST of the coordinate step. */
typedef struct aq_trav_ask {
  uint32_t id; /* 0: free */
  uint32_t record;
  uint8_t sent;
  aq_id conn;       /* from here on once it is sent */
  uint64_t request; /* never 0 */
  aq_tstamp at;
  aq_duration patience;
} aq_trav_ask;

/* aq_trav_agreed: a session id and its key, and who gave them out. */
typedef struct aq_trav_agreed {
  aq_id coordinator;
  uint64_t request; /* ours that led to it; 0: the peer's did, or it is over */
  uint8_t session[AQ_CTL_SESSION_LEN];
  uint8_t key[AQ_PUNCH_KEY_LEN];
} aq_trav_agreed;

/* aq_trav_auto: where the strategy in C stands, and what it waits for. */
typedef enum aq_auto_stage {
  AQ_AUTO_DIAL,   /* known addresses */
  AQ_AUTO_ASK,    /* a coordinator */
  AQ_AUTO_PLAN,   /* the plan that the profiles are sure of */
  AQ_AUTO_PUNCH,  /* a punch */
  AQ_AUTO_FOLLOW, /* the plan that they advise, after it */
  AQ_AUTO_AGAIN,  /* the coordinator, once more */
  AQ_AUTO_LAST,   /* new sockets */
  AQ_AUTO_RELAY
} aq_auto_stage;

typedef struct aq_trav_auto {
  uint8_t stage;   /* aq_auto_stage */
  uint8_t how;     /* aq_plan that the profiles advise */
  uint8_t taken;   /* it was tried, or it is the punch */
  uint8_t plan;    /* aq_plan of the running step */
  uint8_t final;   /* what is said when the relay fails, too */
  int error;       /* ... and why */
  uint8_t relayed; /* a relay was asked for, in vain */
  uint32_t unknown, failures, hopeless; /* attempts that ended so */
  uint8_t heard; /* a filter that wasn't known does let somebody in */
} aq_trav_auto;

struct aq_trav {
  aq_trav_params p;
  aq_trav_auto automatic;
  aq_punch_step schedule; /* default of this session, clamped */
  aq_punch_step punch;    /* of the running punch step */

  /* Where it stands. Only aq_trav_move writes phase and state. */
  uint8_t phase;      /* aq_phase */
  uint8_t state;      /* aq_state */
  uint8_t initiator;  /* the role now */
  uint8_t originator; /* our application asked for the session */
  uint8_t over;
  uint8_t step;    /* aq_trav_step */
  uint8_t waiting; /* nothing but known dials is left to hope for */
  uint32_t attempt;
  aq_tstamp now; /* of the last call; time never goes back */
  aq_tstamp started, phase_since;
  aq_tstamp timer[AQ_TRAV_TIMER__COUNT];
  int error;      /* the most telling one so far */
  int step_error; /* of the running dial step */
  int move_error; /* the failure that the next moves come of, 0: none */
  int sync_error; /* what ended a coordination that had worked, 0: nothing */
  aq_tstamp retry_at; /* sooner the same is refused again; 0: nobody said so */
  aq_tstamp guessed_at; /* the last guessing ended; 0: there was none */
  uint64_t rng;

  /* Coordination: asking. */
  aq_coordinate_step coordinate; /* clamped */
  size_t via_next;               /* of its list */
  uint32_t next_ask;
  uint8_t asked; /* a request of this attempt was sent, or waits for its turn */
  aq_trav_ask ask[AQ_MAX_ASKED];
  int ask_error; /* the most telling one of this step */
  char ask_why[80];

  /* Coordination: agreed. */
  uint8_t synced;  /* an answer or offer waits for its start, or was used */
  uint8_t settled; /* a datagram told which session the peer uses */
  uint8_t decided; /* the application accepted, or wasn't asked */
  uint8_t same_nat, private_ok;
  size_t nagreed;
  aq_trav_agreed agreed[AQ_MAX_ASKED]; /* newest first */
  uint8_t nonce[AQ_CTL_NONCE_LEN];     /* of the attempt that they belong to */
  aq_tstamp start_at, expires;
  aq_duration coordination_time;
  aq_duration rtt;      /* to the peer: over the coordinator, until measured */
  uint8_t rtt_measured; /* by the answer to a probe */
  aq_addr observed;
  uint8_t plan;                  /* aq_plan that was agreed on */
  aq_nat_profile remote_profile; /* as the peer says */
  size_t nremote;
  aq_candidate remote[AQ_MAX_CANDIDATES];

  /* Punching. */
  size_t npair;
  aq_trav_pair pair[AQ_TRAV_MAX_PAIRS];
  uint32_t seq;       /* of the last datagram sent */
  aq_window peer_seq; /* replays are ignored */
  uint32_t nprobe;
  aq_trav_probe probe[AQ_TRAV_PROBE_LOG];
  uint64_t replays;
  uint32_t dials_used; /* in this attempt */
  aq_tstamp punch_until;
  uint32_t punches_sent, punches_received, initials_sent;
  aq_trav_hard hard;

  /* Dials. */
  aq_trav_dial dial[AQ_TRAV_MAX_DIALS];
  uint32_t next_dial;
  aq_dial_step known;
  size_t known_next;

  /* What was tried. */
  size_t nrecord;
  aq_step_record record[AQ_MAX_STEPS];
  uint32_t rec_punch; /* index + 1 of the running one */
  uint64_t records_lost;
  char why[80]; /* belongs to ->error */

  /* Out. DONE stands outside of the ring, so it can't be lost. */
  uint32_t action_head, action_count;
  aq_trav_action action[AQ_TRAV_MAX_ACTIONS];
  aq_trav_action done;
  uint8_t done_due, done_told;
  uint32_t event_head, event_count;
  aq_event event[AQ_TRAV_MAX_EVENTS];
  uint64_t actions_lost, events_lost;
};

/* ---- trav_state.c -------------------------------------------------------- */

/* aq_trav_rule: one legal move, and when it happens. */
typedef struct aq_trav_rule {
  aq_phase from, to;
  const char *when;
} aq_trav_rule;
/* The table of legal moves; docs/session.md is made from it. */
const aq_trav_rule *aq_trav_rules(size_t *n);
/* aq_trav_move is the only writer of phase and state. It cleans up what the
 * phase that is left had running, arms the time-out of the next one and queues
 * the events. A move to the same phase does nothing. */
void aq_trav_move(aq_trav *t, aq_phase to, const char *why);
/* aq_trav_win: connected, by our dial |dial| or by the peer's (0). */
void aq_trav_win(aq_trav *t, uint32_t dial, const aq_addr *addr,
                 aq_duration rtt);
/* aq_trav_fail ends the session. |error| is not 0. */
void aq_trav_fail(aq_trav *t, int error, const char *why);
/* aq_trav_blame keeps the most telling error. */
void aq_trav_blame(aq_trav *t, int error, const char *why);
/* Fills a CANDIDATE_VALIDATED of |addr|. */
void aq_trav_fill_validated(aq_trav *t, aq_event *e, const aq_addr *addr,
                            aq_duration rtt);
/* aq_trav_worse gives the one that tells a user more. */
int aq_trav_worse(int a, int b);

/* ---- trav_out.c: what leaves the machine --------------------------------- */

/* aq_trav_push gives a zeroed action, or NULL when there is no room for one
 * of this kind (counted). */
aq_trav_action *aq_trav_push(aq_trav *t, aq_trav_action_kind kind);
/* aq_trav_drop takes back actions of |kind| that were not polled, of that dial
 * or ask when |of| isn't 0. Returns how many. */
uint32_t aq_trav_drop(aq_trav *t, aq_trav_action_kind kind, uint32_t of);
/* aq_trav_tell queues an event that must be kept, aq_trav_note one that may
 * be lost when nobody polls. Never NULL: a lost one is written to |spare|. */
aq_event *aq_trav_tell(aq_trav *t, aq_event_kind kind);
aq_event *aq_trav_note(aq_trav *t, aq_event_kind kind, aq_event *spare);
void aq_trav_step_done(aq_trav *t, int error, const char *why);
/* Records: 0 is none, so that it can be kept in a zeroed member. */
uint32_t aq_trav_record_open(aq_trav *t, aq_trav_step step,
                             const aq_addr *addr);
void aq_trav_record_close(aq_trav *t, uint32_t record, int error,
                          const char *why);

/* ---- trav_plan.c: steps, pairs, schedule --------------------------------- */

void aq_trav_clamp_punch(aq_punch_step *s);
/* aq_trav_gap: how long after probe |round| (from 0) the next one goes. */
aq_duration aq_trav_gap(const aq_punch_step *s, uint32_t round);
/* aq_trav_patience: |timeout|, but four round trips at least, 10 s at most:
 * however far the peer is, a lost datagram must not be the end of it. */
aq_duration aq_trav_patience(const aq_trav *t, aq_duration timeout);
int aq_trav_is_private(const aq_addr *a);
int aq_trav_may_target(const aq_trav *t, const aq_addr *a);
/* aq_trav_arm sets the start of the punch step that is wanted now. */
void aq_trav_arm(aq_trav *t, const aq_punch_step *s);
/* What was agreed on begins, as target. */
void aq_trav_begin(aq_trav *t);
void aq_trav_kick(aq_trav *t);        /* starts it when there is no delay */
void aq_trav_start_punch(aq_trav *t); /* START is due: openers */
/* Openers alone, for an offer that is not followed. */
void aq_trav_open_early(aq_trav *t);
void aq_trav_lead_over(aq_trav *t);   /* LEAD is due: dials, probes */
void aq_trav_send_probes(aq_trav *t); /* PROBE is due */
/* A punch datagram to be filled in; NULL when there is no room. */
aq_trav_action *aq_trav_punch(aq_trav *t, uint8_t type);
void aq_trav_answer(aq_trav *t, aq_trav_pair *pair, const aq_punch *probe);
/* aq_trav_pair_find gives NULL or the pair; aq_trav_pair_add NULL when there
 * is no room. */
aq_trav_pair *aq_trav_pair_find(aq_trav *t, uint32_t socket,
                                const aq_addr *remote);
aq_trav_pair *aq_trav_pair_add(aq_trav *t, const aq_local_socket *sock,
                               const aq_candidate *c);
/* The pairs of a candidate while it punches: what is new is probed soon. */
void aq_trav_pairs_more(aq_trav *t, const aq_candidate *c);
void aq_trav_pair_soon(aq_trav *t, aq_trav_pair *pair);
void aq_trav_stop_punching(aq_trav *t);
void aq_trav_set_remote(aq_trav *t, const aq_ctl *m);
/* aq_trav_cand_state notes what became of the peer's candidate |addr|, and
 * gives it; NULL when it never announced it. */
const aq_candidate *aq_trav_cand_state(aq_trav *t, const aq_addr *addr,
                                       aq_cand_state state);

/* ---- trav_dial.c ----------------------------------------------------------
 */

void aq_trav_dial_pair(aq_trav *t, aq_trav_pair *pair);
void aq_trav_dial_known(aq_trav *t); /* KNOWN is due */
aq_trav_dial *aq_trav_dial_find(aq_trav *t, uint32_t id);
/* One through the tunnel over |relay|. Returns 0 when there is no room. */
int aq_trav_dial_relay(aq_trav *t, const aq_addr *relay);
/* which: 1 known, 2 of this attempt, 3 all. */
uint32_t aq_trav_dials(const aq_trav *t, unsigned which);
void aq_trav_hangup(aq_trav *t, unsigned which, int error);
void aq_trav_dial_ended(aq_trav *t, aq_trav_dial *d, int error);
void aq_trav_dials_due(aq_trav *t); /* DIAL is due */

/* ---- trav_ask.c ------------------------------------------------------------
 */

/* aq_trav_request starts the requests of one attempt; NULL: the best
 * coordinators, one after the other. */
void aq_trav_request(aq_trav *t, const aq_coordinate_step *s);
/* The same for |plan|, at |via| first; 0: at any. */
void aq_trav_request_plan(aq_trav *t, aq_plan plan, aq_id via);
void aq_trav_ask_more(aq_trav *t); /* HEDGE is due */
/* aq_trav_asks_end forgets the requests that run, with a CANCEL to who was
 * asked when |cancel|. */
void aq_trav_asks_end(aq_trav *t, int cancel, int error, const char *why);
size_t aq_trav_asks(const aq_trav *t); /* how many run */
/* aq_trav_cancel tells everybody who may be at work for us, once; |error| is
 * AQ_ERR_TIMEOUT when the one that agreed keeps silent. */
void aq_trav_cancel(aq_trav *t, int error);
/* One more, whom this attempt has not asked, in place of the one that agreed.
 */
void aq_trav_ask_again(aq_trav *t);

/* ---- trav_watch.c ----------------------------------------------------------
 */

/* From here on the initiator needs its coordinator. */
void aq_trav_watch(aq_trav *t);
void aq_trav_watch_due(aq_trav *t); /* WATCH is due */
/* The coordinator |conn| is not there any more; does nothing where it isn't
 * needed. */
void aq_trav_coordinator_failed(aq_trav *t, aq_id conn, int error,
                                const char *why);

/* ---- trav_agree.c ----------------------------------------------------------
 */

/* aq_trav_take_offer: from here on the target of |m|, which was accepted. */
void aq_trav_take_offer(aq_trav *t, const aq_ctl *m, aq_id coordinator);
/* The answer |m| to our |request|. */
void aq_trav_take_answer(aq_trav *t, const aq_ctl *m, aq_id coordinator,
                         uint64_t request);
/* A HINT of |session| came by |conn|, to the target: the same. */
void aq_trav_hinted(aq_trav *t, const uint8_t session[AQ_CTL_SESSION_LEN],
                    aq_id conn);
/* A datagram of |session| came: that is the one that the peer uses. 0 when it
 * isn't agreed on. */
int aq_trav_settle(aq_trav *t, const uint8_t session[AQ_CTL_SESSION_LEN]);
/* aq_trav_veto: as target, agreed[|i|] is off because of |error|. */
void aq_trav_veto(aq_trav *t, size_t i, int error);

/* ---- trav_relay.c ----------------------------------------------------------
 */

/* Asks for a relay: |via|, or 0 for any. */
void aq_trav_relay_request(aq_trav *t, aq_id via);
/* The plan that was agreed on, RELAY; consent is there. */
void aq_trav_relay_begin(aq_trav *t);

/* ---- trav_auto.c -----------------------------------------------------------
 */

void aq_trav_auto_start(aq_trav *t);
void aq_trav_auto_retry(aq_trav *t);    /* RETRY is due */
void aq_trav_auto_answered(aq_trav *t); /* a coordinator was */
/* What the strategy does when |step| came to nothing. */
void aq_trav_auto_failed(aq_trav *t, uint8_t step, int error, const char *why);

/* ---- trav.c, trav_timeout.c -----------------------------------------------
 */

void aq_trav_clock(aq_trav *t, aq_tstamp now);
/* What a dial step and one with new sockets do. */
void aq_trav_dial_step(aq_trav *t, const aq_dial_step *s,
                       aq_duration headstart);
void aq_trav_hard_request(aq_trav *t, aq_plan plan, const aq_hard_step *s);
/* aq_trav_attempt_failed: the running step or attempt came to nothing; what
 * is next depends on the strategy. */
void aq_trav_attempt_failed(aq_trav *t, int error, const char *why);
/* aq_trav_give_up: we can't do our part of what was agreed on. As target we
 * tell the peer, which would wait. */
void aq_trav_give_up(aq_trav *t, int error, const char *why);
/* Nothing can come of this attempt any more; looks and then shortens the
 * phase. */
void aq_trav_check_spent(aq_trav *t);

#endif
