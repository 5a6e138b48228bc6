/* natlife.h - measures how long a NAT keeps a mapping, in the background: idle,
 * by answers that a coordinator delays; in use, by watching two mappings.
 *
 * Layer:  proto
 * Owner:  one aq_natlife of an endpoint; no allocation
 * Time:   |now| is passed in
 * Spec:   docs/nat_profile.md; RFC 4787 section 4.3
 *
 * Actions as in natcheck.h, with slots and questions of its own. A step looks
 * at one delay: three sockets talk with the coordinator twice, more than two
 * seconds apart (Linux keeps a flow longer once it is such), and then ask for
 * an answer after the delay. One that comes shows that the mapping lived; three
 * that don't, while the path works, that it was gone.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_NATLIFE_H
#define AQ_PROTO_NATLIFE_H

#include "proto/natcheck.h"

#define AQ_NATLIFE_PROBES 3  /* sockets of a step */
#define AQ_NATLIFE_WATCHES 2 /* mappings in use */
#define AQ_NATLIFE_SOCKETS (AQ_NATLIFE_PROBES + AQ_NATLIFE_WATCHES)
#define AQ_NATLIFE_EVIDENCE 16
#define AQ_NATLIFE_START (2 * AQ_S) /* after the first run of natcheck */
#define AQ_NATLIFE_AGAIN (7200 * AQ_S)
#define AQ_NATLIFE_WATCH (600 * AQ_S) /* how long a mapping is watched */
/* The second one starts so much later: one that goes by age goes later, too,
 * and a NAT that restarts forgets both at once. */
#define AQ_NATLIFE_STAGGER (60 * AQ_S)
#define AQ_NATLIFE_FIRST 10 /* seconds, doubled up to the most */
#define AQ_NATLIFE_MOST 180

typedef enum aq_natlife_stage {
  AQ_NATLIFE_OFF,
  AQ_NATLIFE_IDLE, /* the next step at |at| */
  AQ_NATLIFE_OPENING,
  AQ_NATLIFE_TALK,
  AQ_NATLIFE_TALK_AGAIN,
  AQ_NATLIFE_HELD,
  AQ_NATLIFE_CHECK
} aq_natlife_stage;

typedef struct aq_natlife_socket {
  uint8_t slot; /* aq_natcheck_slot */
  uint8_t asks; /* takes part in this round */
  uint8_t answered, tries;
  aq_addr bound, from, seen;
  aq_tstamp next;
  uint64_t cookie[AQ_NATCHECK_TRIES];
  /* of a watch */
  aq_tstamp opened; /* 0: not yet */
  aq_addr first;
  aq_tstamp gone; /* when another address was seen; 0: not */
} aq_natlife_socket;

typedef struct aq_natlife {
  aq_natlife_stage stage;
  uint8_t has_server, failures;
  aq_nat_server server;
  aq_natlife_socket socket[AQ_NATLIFE_SOCKETS];
  aq_tstamp at; /* of IDLE, of the end of OPENING, of TALK_AGAIN */
  aq_tstamp watch_at[AQ_NATLIFE_WATCHES]; /* they begin; AQ_NEVER */
  uint16_t delay;                         /* of this step */
  uint16_t low, high;             /* where this measurement has got to */
  uint16_t alive, gone, absolute; /* seconds; 0: not known */
  uint8_t changed;
  uint8_t again; /* this measurement is not the first */
  uint8_t nevidence;
  aq_nat_evidence evidence[AQ_NATLIFE_EVIDENCE]; /* the newest */
} aq_natlife;

void aq_natlife_init(aq_natlife *l);
/* aq_natlife_start begins, or goes on with another server; NULL: there is none
 * now. |afresh|: what is known is of another network. */
void aq_natlife_start(aq_natlife *l, aq_tstamp now, const aq_nat_server *s,
                      int afresh);
/* As aq_natcheck_poll; while |busy| nothing new begins. */
int aq_natlife_poll(aq_natlife *l, aq_tstamp now, int busy, aq_nat_action *out);
aq_tstamp aq_natlife_next(const aq_natlife *l, aq_tstamp now, int busy);
void aq_natlife_opened(aq_natlife *l, aq_tstamp now, uint32_t slot,
                       const aq_addr *bound);
void aq_natlife_asked(aq_natlife *l, uint32_t question, uint64_t cookie);
int aq_natlife_answered(aq_natlife *l, aq_tstamp now, uint64_t cookie,
                        const aq_addr *from, const aq_addr *seen);
/* 1: alive and gone are as close as they get. */
int aq_natlife_known(const aq_natlife *l);
/* 1 once after each change. */
int aq_natlife_take_change(aq_natlife *l);

/* What connections should use: half of what a silent mapping was seen to live,
 * 5 to 25 s; 15 s while nothing is known. */
aq_duration aq_natlife_keep_alive(uint16_t alive, uint16_t gone);

#endif
