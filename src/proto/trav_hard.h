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

typedef enum aq_hard_stage {
  AQ_HARD_IDLE,
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
} aq_hard_look;

typedef struct aq_trav_hard {
  uint8_t wanted;    /* aq_plan of the next REQUEST, as initiator */
  aq_hard_step step; /* ... and how; clamped */
  uint8_t stage;     /* aq_hard_stage */
  uint32_t pending;  /* sockets that are being opened */
  uint32_t nsock;
  aq_addr bound; /* of the new sockets, but for the port */
  aq_hard_socket sock[AQ_MAX_EXTRA_SOCKETS];
  uint32_t nlook, tries;
  aq_hard_look look[AQ_HARD_MAX_LOOKS];
  uint8_t hinted;    /* ours are all out */
  aq_tstamp meet_at; /* the peer has them by then */
  uint32_t nhint, hints_due;
  aq_addr hint[AQ_HARD_MAX_LOOKS]; /* the peer's */
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
/* Why the preparations did not end in time. */
const char *aq_trav_hard_late(const struct aq_trav *t);

#endif
