/* natcheck.h - measures the NAT in front of an endpoint with observation
 * datagrams: how it maps, filters and gives out ports, and whether it hairpins.
 *
 * Layer:  proto
 * Owner:  one aq_natcheck of an endpoint; no allocation
 * Time:   |now| is passed in
 * Spec:   docs/nat_profile.md, docs/protocol.md section 7; RFC 4787, RFC 5780
 *
 * It asks for actions (open a socket, ask a coordinator from it, send to
 * another one's outer address) and hears what came of them. A run opens a row
 * of fresh sockets, so that nothing that was sent before is in the way, and
 * closes them. Nothing it says is guessed: a test that could not be made leaves
 * its member unknown.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_NATCHECK_H
#define AQ_PROTO_NATCHECK_H

#include "proto/natfit.h"

#define AQ_NATCHECK_SOCKETS 12
#define AQ_NATCHECK_SERVERS 4
#define AQ_NATCHECK_LOCALS 32
#define AQ_NATCHECK_QUESTIONS 32
#define AQ_NATCHECK_TRIES 4
/* A run sends no more than this, whatever is lost: the row, three sockets at
 * four places, three tries each; two filter and two hairpin questions. */
#define AQ_NATCHECK_DATAGRAMS (3 * 12 + 3 * 3 * 4 + 2 * 4 + 2 * 2)
/* From the start of one run to the next, at least; and how long a profile is
 * believed. */
#define AQ_NATCHECK_PAUSE (10 * AQ_S)
#define AQ_NATCHECK_REFRESH (1800 * AQ_S)
/* After a run that could not finish: doubles from the first to the second. */
#define AQ_NATCHECK_RETRY (30 * AQ_S)
/* So long the first run waits for further coordinators. */
#define AQ_NATCHECK_GATHER (100 * AQ_MS)

/* One coordinator. |id| is the user's name for it. */
typedef struct aq_nat_server {
  uint32_t id;
  aq_duration rtt;
  aq_addr addr;
  aq_addr alternate[3]; /* other port, other IP, both; family 0: none */
} aq_nat_server;

typedef enum aq_nat_action_kind {
  AQ_NAT_OPEN,  /* a socket |slot|, fit for |to| */
  AQ_NAT_CLOSE, /* ... is needed no longer */
  AQ_NAT_ASK,   /* from |slot| to |server|'s |alternate| (0: main address) */
  AQ_NAT_SEND   /* from |slot| a hairpin datagram to |to| */
} aq_nat_action_kind;

typedef struct aq_nat_action {
  aq_nat_action_kind kind;
  uint32_t slot;
  uint32_t question; /* for aq_natcheck_asked */
  uint32_t server;
  uint32_t alternate;
  uint8_t flags, delay;
  aq_addr to;
} aq_nat_action;

typedef enum aq_nat_answer {
  AQ_NAT_WAITING,
  AQ_NAT_ANSWERED,
  AQ_NAT_SILENT,
  AQ_NAT_IMPOSSIBLE /* it could not be sent */
} aq_nat_answer;

typedef struct aq_nat_question {
  aq_nat_evidence e;
  uint8_t answer; /* aq_nat_answer */
  uint8_t most;   /* tries */
  uint32_t slot, server, alternate;
  aq_duration spacing, patience; /* to the next try; after the last */
  aq_tstamp next;
  uint64_t cookie[AQ_NATCHECK_TRIES];
} aq_nat_question;

typedef enum aq_natcheck_stage {
  AQ_NATCHECK_IDLE,
  AQ_NATCHECK_OPENING,
  AQ_NATCHECK_ROW,  /* allocation: every socket asks the same address */
  AQ_NATCHECK_PROBE /* mapping, filtering and hairpin at once */
} aq_natcheck_stage;

typedef enum aq_natcheck_slot {
  AQ_NATCHECK_SLOT_FREE,
  AQ_NATCHECK_SLOT_WANTED,
  AQ_NATCHECK_SLOT_OPENING,
  AQ_NATCHECK_SLOT_OPEN,
  AQ_NATCHECK_SLOT_CLOSING
} aq_natcheck_slot;

typedef struct aq_natcheck {
  size_t nknown; /* who may be asked now */
  aq_nat_server known[AQ_NATCHECK_SERVERS];
  size_t nserver; /* who is asked in this run */
  aq_nat_server server[AQ_NATCHECK_SERVERS];
  size_t nlocal;
  aq_addr local[AQ_NATCHECK_LOCALS];
  aq_natcheck_stage stage;
  uint8_t slot[AQ_NATCHECK_SOCKETS];
  aq_addr bound[AQ_NATCHECK_SOCKETS];
  size_t base; /* the server of this run */
  size_t nquestion;
  aq_nat_question question[AQ_NATCHECK_QUESTIONS];
  uint8_t retried;      /* mapping was looked at from fresh ports again */
  aq_tstamp run_at;     /* the next run; AQ_NEVER */
  aq_tstamp started;    /* the last or current one; 0: never */
  aq_tstamp deadline;   /* of OPENING */
  aq_duration retry;    /* pause after a run that could not finish */
  uint8_t changed;      /* take with aq_natcheck_take_change */
  aq_nat_report report; /* without the evidence of what runs now */
} aq_natcheck;

void aq_natcheck_init(aq_natcheck *n);

/* aq_natcheck_servers: the coordinators that may be asked now, copied, the
 * nearest first; |all|: no further one is expected soon. */
void aq_natcheck_servers(aq_natcheck *n, aq_tstamp now, const aq_nat_server *v,
                         size_t count, int all);
/* Our own addresses, copied; ports don't count. */
void aq_natcheck_locals(aq_natcheck *n, const aq_addr *v, size_t count);
/* aq_natcheck_again: something changed, what is known may be wrong. */
void aq_natcheck_again(aq_natcheck *n, aq_tstamp now);

/* aq_natcheck_blocked: no coordinator could be reached, and nothing came in at
 * all. It counts until a run knows better. */
void aq_natcheck_blocked(aq_natcheck *n, aq_tstamp now);

/* aq_natcheck_poll gives the next action (1), or 0. Call it after each of the
 * others, and at aq_natcheck_next. */
int aq_natcheck_poll(aq_natcheck *n, aq_tstamp now, aq_nat_action *out);
aq_tstamp aq_natcheck_next(const aq_natcheck *n);
/* What came of OPEN: |bound| with its port, or NULL. */
void aq_natcheck_opened(aq_natcheck *n, uint32_t slot, const aq_addr *bound);
/* What came of ASK and SEND: the cookie that went out; 0: nothing did. */
void aq_natcheck_asked(aq_natcheck *n, uint32_t question, uint64_t cookie);
/* An answer: |from| says that it saw |seen|. Returns 1 when it was waited
 * for. */
int aq_natcheck_answered(aq_natcheck *n, uint64_t cookie, const aq_addr *from,
                         const aq_addr *seen);

/* 1 once after each change of the profile. */
int aq_natcheck_take_change(aq_natcheck *n);

#endif
