/* trav.h - one session: reaching one peer, or being reached by it.
 *
 * Layer:  proto (no clock, socket, heap or randomness)
 * Owner:  aq_endpoint; the struct is embedded in the endpoint's session, and
 *         nothing is allocated after aq_trav_init
 * Time:   every entry point that can change state takes |now|;
 *         aq_trav_next_timeout is const and the only deadline
 * Spec:   docs/protocol.md sections 3 to 6
 *
 * The machine knows nothing of QUIC: a dial is a number that it asks for and
 * hears about. Rules are split by kind: trav_state.c (legal moves, the only
 * writer of ->phase), trav_ask.c (requests to coordinators), trav_agree.c
 * (what they said), trav_recv.c (other arrivals), trav_timeout.c (time),
 * trav_plan.c (steps, pairs, schedule), trav_hard.c (plans with new sockets),
 * trav_relay.c (over a relay), trav_watch.c (coordinators that die meanwhile),
 * trav_auto.c (the strategy in C), trav.c (the rest).
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_TRAV_H
#define AQ_PROTO_TRAV_H

#include "proto/ctl.h"
#include "proto/guard.h"
#include "proto/punch.h"

#define AQ_TRAV_MAX_PAIRS 64
#define AQ_TRAV_MAX_DIALS 8
#define AQ_TRAV_MAX_ACTIONS 160
#define AQ_TRAV_MAX_EVENTS 64

typedef struct aq_trav_params {
  aq_peer_id self, peer;
  uint8_t strategy;      /* aq_strategy */
  uint8_t allow_private; /* private targets although not the same NAT */
  uint8_t repair;  /* there is a connection: a dial moves it to another path */
  uint8_t mover;   /* ... which is ours to do, whoever asked: its client */
  uint8_t patient; /* attempts before this one that came to nothing */
  uint8_t relay;   /* the C strategy may use one, see aq_trav_set_relay */
  uint8_t allow_loopback, allow_reserved;
  uint8_t plans;                    /* ... and follow these: 1 << aq_plan */
  uint32_t max_attempts;            /* ... so often; default 3 */
  aq_duration timeout;              /* of the whole session */
  aq_duration coordination_timeout; /* of one request */
  size_t nlocal;
  aq_candidate local[AQ_MAX_CANDIDATES]; /* ours, best first */
  size_t nsock;
  aq_local_socket sock[AQ_MAX_SOCKETS];
  aq_nat_profile profile; /* ours */
  size_t nknown;
  aq_addr known[8]; /* to dial first */
  uint64_t seed;    /* random: back-off jitter, probe cookies */
} aq_trav_params;

/* In place of a socket: the one over which the coordinator in force sees us. */
#define AQ_TRAV_HOME (UINT32_MAX - 1)

typedef enum aq_trav_action_kind {
  AQ_TRAV_REQUEST, /* send a REQUEST through |conn| (0: the best coordinator
                      that this attempt has not asked); |ask|, |wait| */
  AQ_TRAV_CANCEL,  /* send |conn| a CANCEL for |request|, |session|; |error|
                      is AQ_ERR_TIMEOUT when it has kept silent for long */
  AQ_TRAV_VETO,    /* target refuses: send |conn| VETO of |session|, |error| */
  AQ_TRAV_PUNCH,   /* one punch datagram */
  AQ_TRAV_DIAL,    /* start a QUIC handshake to |addr| as client */
  AQ_TRAV_HANGUP,  /* forget the unfinished dial |dial| */
  AQ_TRAV_DONE,    /* over: |error| 0 and |dial|, or an error */
  AQ_TRAV_OPEN,    /* open |count| extra sockets like the one to |conn|; when
                      |guesses|, so many are going to be sent */
  AQ_TRAV_OBSERVE, /* ask |conn| how it sees |socket| */
  AQ_TRAV_HINT,    /* send |hint| to |conn| */
  AQ_TRAV_CLOSE,   /* give back the extra sockets that no connection has */
  AQ_TRAV_WATCH,   /* see that |conn| lives, where another could be asked; when
                      it owes no answer, by a PING if |wait| */
  AQ_TRAV_TUNNEL   /* be an end of the tunnel |session| over |conn| */
} aq_trav_action_kind;

/* What a HINT says (protocol.md 3.2), but for its session. */
typedef struct aq_trav_hint {
  uint64_t plan; /* aq_plan */
  uint64_t cookie;
  int64_t step;
  uint64_t count;
} aq_trav_hint;

typedef struct aq_trav_action {
  aq_trav_action_kind kind;
  aq_id conn;
  uint32_t socket;
  aq_addr addr;
  uint8_t ttl; /* 0: default */
  uint8_t verified;
  aq_punch punch;
  uint8_t guess;  /* of PUNCH: to, or for, a guessed port */
  uint8_t relay;  /* of DIAL: through the tunnel; |addr| is the relay's */
  uint8_t plan;   /* aq_plan of a REQUEST */
  uint32_t count; /* of OPEN */
  uint32_t guesses;
  aq_trav_hint hint;
  uint32_t dial;
  aq_duration rtt; /* what the handshake shall take its path for at first; 0:
                      no idea */
  aq_duration timeout;
  int error;
  uint32_t ask, attempt; /* of a REQUEST */
  uint8_t wait;          /* it waits for a coordinator that may still come; of
                            WATCH see there */
  uint64_t request;
  uint8_t session[AQ_CTL_SESSION_LEN];
} aq_trav_action;

/* struct aq_trav is in trav_int.h, for trav_*.c and for whoever embeds it;
 * others use the functions below. */
typedef struct aq_trav aq_trav;

/* As initiator: nothing happens before a step is started; the C strategy
 * starts by itself. Event fields conn/session/peer are set by the owner. */
void aq_trav_init(aq_trav *t, aq_tstamp now, const aq_trav_params *p);
/* As target: |offer| came. Its punching starts in aq_trav_handle_timeout, which
 * may be due at once. With |wait_decision| the punching waits for
 * aq_trav_decide, at most until |deadline| (then yes). */
void aq_trav_init_target(aq_trav *t, aq_tstamp now, const aq_trav_params *p,
                         const aq_ctl *offer, aq_id coordinator,
                         int wait_decision, aq_tstamp deadline);

/* Steps (AQ_STRATEGY_STEPS). 0 or AQ_ERR_INVAL (another one is running, or
 * the phase forbids it). */
int aq_trav_step_dial(aq_trav *t, aq_tstamp now, const aq_dial_step *s);
int aq_trav_step_coordinate(aq_trav *t, aq_tstamp now,
                            const aq_coordinate_step *s);
int aq_trav_step_punch(aq_trav *t, aq_tstamp now, const aq_punch_step *s);
int aq_trav_step_hard(aq_trav *t, aq_tstamp now, aq_plan plan,
                      const aq_hard_step *s);
int aq_trav_step_relay(aq_trav *t, aq_tstamp now, aq_id via);
void aq_trav_finish(aq_trav *t, aq_tstamp now, int error);
void aq_trav_decide(aq_trav *t, aq_tstamp now, int accept);
/* aq_trav_want: our application asks for the peer that already reaches for us.
 * The peer's attempt goes on, undecided no more; should it fail, ours follows,
 * for |timeout| (0: as long as it had) from now. */
void aq_trav_want(aq_trav *t, aq_tstamp now, aq_duration timeout);
/* The schedule a target uses, and the initiator without a step's own. Right
 * after aq_trav_init_target it still is the first attempt's. Clamped. */
void aq_trav_set_punch(aq_trav *t, const aq_punch_step *s);

/* 1: a coordinator of ours relays, and the C strategy may ask it to. */
void aq_trav_set_relay(aq_trav *t, int on);
/* A refusal that comes now holds until |at|. */
void aq_trav_retry_at(aq_trav *t, aq_tstamp at);
/* Our NAT is known better now. */
void aq_trav_set_profile(aq_trav *t, const aq_nat_profile *p);

/* Arrivals. */
/* The REQUEST of |ask| was sent on |conn|, whose round trip is |rtt|. */
void aq_trav_handle_requested(aq_trav *t, aq_tstamp now, uint32_t ask,
                              aq_id conn, const aq_addr *coordinator,
                              aq_duration rtt, uint64_t request);
/* It has to wait until other sessions are done. */
void aq_trav_handle_queued(aq_trav *t, aq_tstamp now, uint32_t ask);
/* It can't be: nobody is there to be asked, or not the one that is wanted. */
void aq_trav_handle_unasked(aq_trav *t, aq_tstamp now, uint32_t ask, int error);
/* The connection to a coordinator is gone; or it answers nothing (WATCH), and
 * there is another one that was not asked. */
void aq_trav_handle_lost(aq_trav *t, aq_tstamp now, aq_id conn);
void aq_trav_handle_silent(aq_trav *t, aq_tstamp now, aq_id conn);
void aq_trav_handle_answer(aq_trav *t, aq_tstamp now, aq_id conn,
                           const aq_ctl *answer);
/* An offer for a session that is there: the peer asked for us while we ask for
 * it (the smaller peer id stays initiator, protocol.md 3.4), or it asked once
 * more, or asked several coordinators in one attempt (3.3). */
void aq_trav_handle_offer(aq_trav *t, aq_tstamp now, const aq_ctl *offer,
                          aq_id coordinator);
void aq_trav_handle_error(aq_trav *t, aq_tstamp now, aq_id conn,
                          uint64_t request, int error, aq_duration retry_after);
void aq_trav_handle_cancel(aq_trav *t, aq_tstamp now, aq_id conn,
                           const uint8_t session[AQ_CTL_SESSION_LEN]);
/* An authentic punch datagram of this session's key. Returns 1 when it proves
 * that |from| gets what is sent there: it echoed a cookie. 0 otherwise. */
int aq_trav_handle_punch(aq_trav *t, aq_tstamp now, uint32_t socket,
                         const aq_addr *from, const aq_punch *p);
/* A PUNCH was not sent: the guard said |v|. */
void aq_trav_handle_refused(aq_trav *t, aq_tstamp now, uint32_t socket,
                            const aq_addr *addr, aq_guard_verdict v);
/* The dial ended: 0 and the handshake's rtt, or an error. */
void aq_trav_handle_dial(aq_trav *t, aq_tstamp now, uint32_t dial, int error,
                         aq_duration rtt);
/* A connection with the peer came up in another way (it dialed us). */
void aq_trav_handle_connected(aq_trav *t, aq_tstamp now, const aq_addr *remote,
                              aq_duration rtt);
/* The peer's handshake has begun here: a session that only the peer asked for
 * waits for the end of it, as long as it may last. */
void aq_trav_handle_arriving(aq_trav *t, aq_tstamp now);
/* The peer announced or withdrew an address with a frame while we work. */
void aq_trav_handle_candidate(aq_trav *t, aq_tstamp now, const aq_candidate *c);

/* What came of OPEN: it is allowed (NULL) or forbidden by |limit|, then once
 * for each socket: |bound| is NULL when it can't be had. Of OBSERVE: where the
 * coordinator sees |socket|, as the answer to |cookie|; or that it can't be
 * asked. */
void aq_trav_handle_allowed(aq_trav *t, aq_tstamp now, const char *limit);
void aq_trav_handle_opened(aq_trav *t, aq_tstamp now, uint32_t index,
                           const aq_addr *bound);
void aq_trav_handle_observed(aq_trav *t, aq_tstamp now, uint32_t socket,
                             uint64_t cookie, const aq_addr *addr);
void aq_trav_handle_unobserved(aq_trav *t, aq_tstamp now, int error);
/* The peer's HINT, by the coordinator |conn|. */
void aq_trav_handle_hint(aq_trav *t, aq_tstamp now, aq_id conn,
                         const aq_ctl *hint);

/* What came of TUNNEL: it is there, and |relay| is where the relay is; or an
 * error. */
void aq_trav_handle_tunnel(aq_trav *t, aq_tstamp now, const aq_addr *relay,
                           int error);

void aq_trav_handle_timeout(aq_trav *t, aq_tstamp now);
aq_tstamp aq_trav_next_timeout(const aq_trav *t);

/* aq_trav_first_rtt: what a handshake with the peer shall take the round trip
 * for before it has measured one; 0: no idea. */
aq_duration aq_trav_first_rtt(const aq_trav *t);
/* 1 when |remote| is an address of a pair that is being punched. */
int aq_trav_expects(const aq_trav *t, const aq_addr *remote);

/* 1 and the next, or 0. */
int aq_trav_poll_action(aq_trav *t, aq_tstamp now, aq_trav_action *out);
int aq_trav_poll_event(aq_trav *t, aq_event *out);

aq_phase aq_trav_phase(const aq_trav *t);
int aq_trav_is_over(const aq_trav *t);
/* 1 when it waits for its caller to start a step. */
int aq_trav_is_between(const aq_trav *t);
/* Fills everything but what only the endpoint knows. */
void aq_trav_get_info(const aq_trav *t, aq_session_info *out);
size_t aq_trav_get_pairs(const aq_trav *t, aq_pair_info *out, size_t max);
size_t aq_trav_get_steps(const aq_trav *t, aq_step_record *out, size_t max);
/* The session ids that are agreed on: one, or as target of an attempt that went
 * through several coordinators up to AQ_MAX_ASKED. The first is in force: what
 * is sent has it. NULL from |i| = their number on. */
const uint8_t *aq_trav_session(const aq_trav *t, size_t i);
/* The punch key of a session id; NULL when it isn't agreed on. */
const uint8_t *aq_trav_key(const aq_trav *t,
                           const uint8_t session[AQ_CTL_SESSION_LEN]);
/* 1 when |request| of ours to |conn| runs, or led to the session in force. */
int aq_trav_is_asked(const aq_trav *t, aq_id conn, uint64_t request);
/* 1 when the REQUEST of |ask| is still to be sent. */
int aq_trav_wants(const aq_trav *t, uint32_t ask);
/* 1: private targets are right here (the same NAT, the policy, or a coordinator
 * inside our private network); for aq_guard_request.allow_private. */
int aq_trav_allows_private(const aq_trav *t);

#endif
