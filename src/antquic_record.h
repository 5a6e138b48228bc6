/* antquic_record.h - what an endpoint saw and did, entry by entry, for who
 * wants to know afterwards why an attempt went as it did.
 *
 * Layer:  0, as antquic.h
 * Owner:  the endpoint holds a ring of AQ_RECORD_RING entries while recording
 * Time:   of the call in which it happened
 * Spec:   docs/record.md
 *
 * Entries hold no key, nonce or payload, but addresses and session ids as they
 * are: who writes them down renames them (lua/antquic/record).
 *
 * SPDX-License-Identifier: MIT */
#ifndef ANTQUIC_RECORD_H
#define ANTQUIC_RECORD_H

#include "antquic.h"

#ifdef __cplusplus
extern "C" {
#endif

/* X(NAME, "name"); docs/record.md says which members each has. */
#define AQ_RECORD_MAP(X)                                                       \
  X(PUNCH_SENT, "punch_sent")                                                  \
  X(PUNCH_REFUSED, "punch_refused") /* by a budget or as forbidden */          \
  X(PUNCH_RECEIVED, "punch_received")                                          \
  X(PUNCH_DROPPED, "punch_dropped") /* nobody's, or its MAC is wrong */        \
  X(DIAL, "dial")                                                              \
  X(DIAL_ENDED, "dial_ended")                                                  \
  X(QUIC_SENT, "quic_sent") /* the first AQ_RECORD_PER_CONN, either way */     \
  X(QUIC_RECEIVED, "quic_received")                                            \
  X(QUIC_REFUSED, "quic_refused") /* not sent: the budget of Initials */       \
  X(CONTROL_SENT, "control_sent")                                              \
  X(CONTROL_RECEIVED, "control_received")                                      \
  X(CANDIDATE, "candidate") /* of the control message before it */             \
  X(FRAME_SENT, "frame_sent")                                                  \
  X(FRAME_RECEIVED, "frame_received")                                          \
  X(OBSERVE_SENT, "observe_sent") /* how does the coordinator see a socket? */ \
  X(OBSERVE_RECEIVED, "observe_received")                                      \
  X(LOST, "lost") /* entries that nobody polled in time */

typedef enum aq_record_kind {
#define X(name, text) AQ_RECORD_##name,
  AQ_RECORD_MAP(X)
#undef X
      AQ_RECORD__COUNT
} aq_record_kind;

const char *aq_record_name(aq_record_kind kind);

typedef struct aq_record_entry {
  aq_record_kind kind;
  aq_tstamp time;
  aq_id session; /* of ours, 0: none */
  aq_id conn;    /* 0: none */
  aq_addr local; /* the socket as bound */
  aq_addr remote;
  aq_addr addr;     /* what it speaks of: observed, announced */
  const char *type; /* static: which punch, control message, frame, packet */
  uint8_t has_punch_session; /* 8 bytes that both peers and C know */
  uint8_t punch_session[8];
  uint8_t ttl;       /* 0: the socket's default */
  uint8_t initiator; /* a punch of the initiator's */
  uint8_t verified;  /* CANDIDATE */
  uint8_t source;    /* CANDIDATE: aq_source */
  uint32_t socket;
  uint32_t len;    /* QUIC_*: bytes */
  uint32_t mark;   /* QUIC_*: the same datagram has the same one at both ends */
  uint64_t seq;    /* punch, frame; CANDIDATE: its place in the list */
  uint64_t cookie; /* punch: an answer has that of its probe */
  uint64_t request;       /* control message */
  uint64_t count;         /* control message: candidates; HINT: sockets; LOST:
                             entries */
  const char *plan;       /* control message: static, or NULL */
  aq_nat_profile profile; /* control message: all unknown where it has none */
  uint8_t flags;          /* OBSERVE_SENT: from where the answer is to come */
  aq_duration delay;      /* control message: start delay; ERROR: retry after */
  aq_duration rtt;        /* control message: the coordinator's estimate */
  int error;
  const char *text; /* static: the budget, or why it was dropped; or NULL */
} aq_record_entry;

#define AQ_RECORD_RING 4096
/* Of one connection's datagrams: the handshake, and what comes first. */
#define AQ_RECORD_PER_CONN 64

/* aq_endpoint_record turns it on or off; off, the ring is freed with what it
 * holds. Returns 0 or AQ_ERR_NOMEM. */
int aq_endpoint_record(aq_endpoint *ep, int on);
/* aq_endpoint_poll_record returns 1 and the oldest entry, or 0. When the ring
 * is full the newest are dropped, counted in limit_record, and told by one
 * LOST. */
int aq_endpoint_poll_record(aq_endpoint *ep, aq_record_entry *out);

#ifdef __cplusplus
}
#endif

#endif
