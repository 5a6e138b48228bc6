/* fake_net.h - a small world in virtual time: peers with sessions, NATs between
 * them, coordinators that may die. Deterministic; nothing waits.
 *
 * A dial is one round trip: "initial", "reply", and a "finish" that tells the
 * dialed side. Punches count as authentic when both ends hold one key.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_SPEC_FAKE_NET_H
#define AQ_SPEC_FAKE_NET_H

#include "proto/coord.h"
#include "proto/trav_int.h"

typedef enum fake_rule { FAKE_EI, FAKE_AD, FAKE_APD } fake_rule;

typedef struct fake_nat_kind {
  const char *name;
  fake_rule mapping, filtering;
  /* Linux' conntrack: ports are kept, a flow whose tuple is taken gets another
   * port; with |open| an unasked datagram takes the tuple. */
  int is_linux, open;
  int hairpin;
} fake_nat_kind;

extern const fake_nat_kind FAKE_FULL_CONE, FAKE_ADDR_RESTR, FAKE_PORT_RESTR,
    FAKE_LINUX, FAKE_LINUX_OPEN, FAKE_SYMMETRIC, FAKE_SYM_EIF, FAKE_FIREWALL;

#define FAKE_COORDS 4
#define FAKE_FLOWS 128
typedef struct fake_flow {
  aq_addr inside, remote;
  uint16_t port;
  int local; /* of the router itself: poison */
} fake_flow;

typedef struct fake_nat {
  const fake_nat_kind *kind; /* NULL: no NAT */
  uint8_t public_ip[4];
  uint16_t next_port;
  size_t nflow;
  fake_flow flow[FAKE_FLOWS];
} fake_nat;

typedef struct fake_peer {
  const char *name;
  aq_peer_id id;
  fake_nat *nat;
  aq_addr host; /* private, or public without a NAT */
  aq_tstamp start;
  aq_duration to_c;     /* one way */
  aq_duration late;     /* of messages from the coordinator, once more */
  int initiates;        /* asks for the other */
  int ask, accept;      /* the decision as a target */
  aq_duration think;    /* before it decides */
  int hides;            /* its private address */
  int refuses_quic;     /* answers dials with this error */
  int mute;             /* no coordinator can reach it, nor it a coordinator */
  int cut[FAKE_COORDS]; /* the same of one coordinator */
  aq_duration far[FAKE_COORDS]; /* one way, beyond to_c */
  uint8_t strategy;
  aq_coordinate_step asks; /* with AQ_STRATEGY_STEPS: this, then a punch */
  size_t nknown;
  aq_addr known[8];
  aq_duration timeout;
  aq_punch_step punch;
  /* While running. */
  int began, alive;
  aq_trav trav;
  uint64_t next_request;
  uint32_t attempt, tried; /* coordinators that this attempt asked */
  uint32_t cancels;        /* it sent */
  uint32_t silent;         /* of those, to who had kept silent */
  aq_addr observed;        /* by the coordinator */
  aq_tstamp connected_at, over_at;
  int error;
  uint32_t done;
  uint32_t phases; /* bit set of what it went through */
  aq_tstamp decide_at;
  int step_error[3], steps; /* last STEP_DONE by kind */
} fake_peer;

#define FAKE_QUEUE 512
typedef struct fake_item {
  aq_tstamp at;
  uint64_t order;
  int kind, to, by; /* 2 is coordinator |via| */
  int via;
  aq_addr src, dst;
  aq_punch punch;
  uint8_t key[AQ_PUNCH_KEY_LEN];
  uint32_t dial;
  aq_tstamp sent;
  aq_ctl ctl;
} fake_item;

typedef struct fake_world {
  aq_tstamp now;
  aq_duration between; /* one way from peer to peer */
  aq_duration lan;     /* one way behind one NAT */
  fake_nat nat[2];
  fake_peer peer[2];
  int ncoord; /* 1 unless changed before the start */
  aq_coord *coord[FAKE_COORDS];
  aq_tstamp dies[FAKE_COORDS]; /* without a word; AQ_NEVER */
  uint64_t rng, order;
  size_t nitem;
  fake_item item[FAKE_QUEUE];
  uint32_t lost_dial_datagrams; /* drop that many */
  uint32_t handshakes;          /* that finished */
  int quiet;                    /* no trace */
  size_t ntrace;
  char trace[32768];
} fake_world;

/* Two peers, I (who initiates, 10.0.0.2) and T (10.0.1.2), 25 ms everywhere.
 * Peer ids: I is the smaller one. */
fake_world *fake_world_new(const fake_nat_kind *i, const fake_nat_kind *t);
void fake_world_del(fake_world *w);
/* Runs until |until| or until nothing is left to do. */
void fake_world_run(fake_world *w, aq_tstamp until);
/* Drains the actions and events of a peer; fake_world_run does it. */
void fake_drain(fake_world *w, int who);
aq_addr fake_addr(const char *text);
/* The connection of |who| to coordinator |c|. */
aq_id fake_conn(int who, int c);

#endif
