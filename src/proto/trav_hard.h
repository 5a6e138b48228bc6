/* trav_hard.h - the part of a session that works with new sockets: plans for
 * NATs that simple punching doesn't get through.
 *
 * Layer:  proto
 * Owner:  struct aq_trav embeds struct aq_trav_hard; only trav*.c touch it
 * Time:   two timers of aq_trav
 * Spec:   docs/session.md (plans), docs/protocol.md sections 3 and 7
 *
 * One way for all of them. New sockets are opened; the coordinator observes
 * some, and HINTs tell the other side where they are and that it may begin.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_TRAV_HARD_H
#define AQ_PROTO_TRAV_HARD_H

#include "proto/trav.h"

/* New sockets that a coordinator is asked about, and HINTs that are listened
 * to. */
#define AQ_HARD_MAX_LOOKS 8
/* An observation datagram is sent so often, this long apart. */
#define AQ_HARD_LOOK_TRIES 5
#define AQ_HARD_LOOK_GAP (200 * AQ_MS)
/* Further HINTs of the peer are waited for so long after the first. */
#define AQ_HARD_HINT_GAP (150 * AQ_MS)

/* Guessed ports go out in batches, 1000 a second. */
#define AQ_HARD_BATCH 10
#define AQ_HARD_BATCH_GAP (10 * AQ_MS)
#define AQ_HARD_FIRST_BATCH 30 /* of openers: what belongs together */
/* Ports of a sequence that are tried, on either side of the newest. */
#define AQ_HARD_WINDOW 20
#define AQ_HARD_SOCKETS_PREDICT 25
#define AQ_HARD_SOCKETS_BLOCK 64
#define AQ_HARD_SOCKETS_BIRTHDAY 256
#define AQ_HARD_PROBES 1024
#define AQ_HARD_LOW_PORT 1024 /* and up: where random ports are guessed */
/* The last answer may still be on its way. */
#define AQ_HARD_GRACE (400 * AQ_MS)

/* Both sides find their roles in both profiles and the plan. */
typedef enum aq_hard_role {
  AQ_HARD_MEET,    /* both: a new socket each, no guessing */
  AQ_HARD_OPENER,  /* our NAT gives each destination a port of its own */
  AQ_HARD_SPRAYER, /* the peer's does, ours not: we guess those ports */
  AQ_HARD_PARALLEL /* both do, in sequence */
} aq_hard_role;

typedef enum aq_hard_stage {
  AQ_HARD_IDLE,
  AQ_HARD_ASKING,  /* may we? */
  AQ_HARD_OPENING, /* sockets were asked for */
  AQ_HARD_LOOKING, /* the coordinator was asked how it sees them */
  AQ_HARD_WAITING, /* for the peer's HINTs */
  AQ_HARD_RUNNING  /* datagrams fly */
} aq_hard_stage;

typedef struct aq_hard_socket {
  uint32_t index;
  uint16_t port;
} aq_hard_socket;

/* One of the first sockets, as the coordinator sees it. */
typedef struct aq_hard_look {
  aq_addr seen; /* family 0: not told yet */
  uint64_t cookie;
} aq_hard_look;

/* The ports to be guessed, in the order that they are tried. Nothing is kept of
 * those that were: the cookie of a probe is a secret function of its address.
 */
typedef struct aq_hard_guess {
  uint8_t sequence; /* base +- k * step, else a walk through a range */
  uint32_t next, count;
  int32_t base, step;
  uint32_t low, size;     /* the range */
  uint32_t factor, shift; /* low + (factor * k + shift) % size: each one once */
} aq_hard_guess;

typedef struct aq_trav_hard {
  uint8_t wanted;    /* aq_plan of the next REQUEST, as initiator */
  aq_hard_step step; /* ... and how; clamped */
  uint8_t stage;     /* aq_hard_stage */
  uint8_t role;      /* aq_hard_role */
  uint8_t how;       /* aq_plan: the one agreed on, or what REPAIR calls for */
  uint32_t pending;  /* sockets that are being opened */
  uint32_t nsock;
  aq_addr bound; /* of the new sockets, but for the port */
  aq_hard_socket sock[AQ_MAX_EXTRA_SOCKETS];
  uint32_t nlook, tries;
  aq_hard_look look[AQ_HARD_MAX_LOOKS];
  aq_tstamp meet_at; /* the peer has them by then */
  uint32_t nhint, hints_due;
  aq_addr hint[AQ_HARD_MAX_LOOKS]; /* the peer's */
  int32_t hint_step;
  uint32_t opened; /* openers that are out */
  aq_hard_guess guess;
  uint64_t salt;     /* of the probes' cookies */
  const char *limit; /* that ended the guessing, NULL */
} aq_trav_hard;

struct aq_trav;

/* aq_trav_hard_begin starts the plan that was agreed on; consent is there. */
void aq_trav_hard_begin(struct aq_trav *t);
/* Ends it: sockets are given back, but those that a connection has. */
void aq_trav_hard_end(struct aq_trav *t);
/* Pairs of new sockets and hinted addresses. */
void aq_trav_hard_pairs(struct aq_trav *t);
/* How long the first full datagram has to wait, for the peer's openers. */
aq_duration aq_trav_hard_lead(const struct aq_trav *t);
/* A datagram of the peer came before we were ready for it. */
void aq_trav_hard_early(struct aq_trav *t);
/* Fills a local socket of ours with |index|; 0 when there is none. */
int aq_trav_hard_socket(const struct aq_trav *t, uint32_t index,
                        aq_local_socket *out);
void aq_trav_hard_look_due(struct aq_trav *t); /* LOOK is due */
/* Why the preparations, or the punching, did not end in time. */
void aq_trav_hard_late(const struct aq_trav *t, char *out, size_t cap);
/* 1: the pairs are not known before they hit. */
int aq_trav_hard_guesses(const struct aq_trav *t);
/* 1 while the phase may not be shortened: the peer is at work. */
int aq_trav_hard_waits(const struct aq_trav *t);
/* Punching starts with the schedule of the step, as target with our own. */
void aq_trav_hard_punch(struct aq_trav *t);
/* The openers are out, or were none: the HINTs may go. */
void aq_trav_hard_tell(struct aq_trav *t);

/* ---- trav_choose.c --------------------------------------------------------
 */

/* aq_trav_is_hard: each destination gets another port, as far as is known. */
int aq_trav_is_hard(const aq_nat_profile *p);
/* Gives the plan that two NATs call for, or this: nothing can help. |sure|:
 * what is known suffices to say so. The same for both sides. */
#define AQ_TRAV_HOPELESS AQ_PLAN__COUNT
uint8_t aq_trav_choose(const aq_nat_profile *mine, const aq_nat_profile *theirs,
                       int *sure);

/* What a repair does: FRESH, or as PREDICT or BIRTHDAY do, where that is sure
 * to be needed. The same for both sides. */
uint8_t aq_trav_repair_how(const aq_nat_profile *mine,
                           const aq_nat_profile *theirs);

/* ---- trav_guess.c ---------------------------------------------------------
 */

/* aq_trav_guess_plan finds the role of |plan|, how many sockets and how many
 * guesses it takes. Returns NULL, or why nothing can come of it. */
const char *aq_trav_guess_plan(struct aq_trav *t, uint32_t *sockets,
                               uint32_t *guesses);
void aq_trav_guess_open(struct aq_trav *t);  /* openers, from now on */
void aq_trav_guess_spray(struct aq_trav *t); /* the HINT is there */
void aq_trav_guess_due(struct aq_trav *t);   /* GUESS is due */
void aq_trav_guess_stop(struct aq_trav *t);
/* 1 when |echo| is the cookie of a guess that went to |from|. */
int aq_trav_guess_echo(const struct aq_trav *t, const aq_addr *from,
                       uint64_t echo);
/* The k-th port after |base|, 0 when there is none. */
uint16_t aq_trav_guess_port(const aq_hard_guess *g, uint32_t k);
/* The guard said |v| to a guess. */
void aq_trav_guess_refused(struct aq_trav *t, aq_guard_verdict v);

#endif
