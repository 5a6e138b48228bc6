/* conn_pair.h - a client and a server connection in virtual time, with a link
 * between them that loses, doubles and reorders. Deterministic.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_SPEC_CONN_PAIR_H
#define AQ_SPEC_CONN_PAIR_H

#include "base/rand.h"
#include "quic/conn.h"

#define PAIR_CLIENT 0
#define PAIR_SERVER 1
#define PAIR_FRAMES 512

typedef struct conn_pair conn_pair;

typedef struct pair_side {
  aq_endpoint_params params;
  aq_conn_shared shared;
  aq_idmap ids;
  aq_identity *identity;
  aq_conn *conn;
  aq_addr addr;   /* as the other side sees it */
  aq_addr bound;  /* as it sees itself */
  aq_addr second; /* of its socket 1, or none */
  unsigned seen[AQ_NOTICE_CLOSED + 1];
  aq_notice closed;
  aq_addr moved_to; /* of the last PATH_CHANGED */
  aq_frame frames[PAIR_FRAMES];
  size_t nframes;
  int cids;
  aq_conn_verdict verdict;
  uint64_t packets, bytes;
} pair_side;

typedef struct pair_packet {
  struct pair_packet *next;
  aq_tstamp at;
  int to;
  aq_addr src, dst;
  uint8_t ecn;
  size_t len;
  uint8_t data[];
} pair_packet;

struct conn_pair {
  pair_side side[2];
  aq_tstamp now;
  aq_duration delay;           /* one way */
  unsigned loss, dup, reorder; /* per mille */
  aq_rand rand;
  pair_packet *head;
  size_t queued;
  /* what the connections are made with */
  aq_env env;
  const aq_peer_id *expect;
  aq_duration handshake_timeout;
  aq_duration initial_rtt; /* not 0: the handshake is expected, on both sides */
  size_t mtu;              /* larger UDP payloads are lost; 0: none is */
  int replay;              /* deliver every packet twice more, later */
  int cut;                 /* lose everything */
  int drop_to[2];          /* lose the next n to that side */
  int pass_to[2];          /* not 0: after n - 1 more to that side lose all */
  /* called once per turn, may be NULL */
  void (*app)(conn_pair *p, void *user);
  void *user;
};

/* conn_pair_init: |tune| may change params before the contexts are made. */
void conn_pair_init(conn_pair *p, void (*tune)(conn_pair *p));
/* conn_pair_dial makes the client. Returns 0 or an aq_error. */
int conn_pair_dial(conn_pair *p);
void conn_pair_free(conn_pair *p);
/* One turn: all that is to be sent, then the next delivery or time-out, but not
 * past |until|. Returns 0 when nothing happens before it. */
int conn_pair_turn(conn_pair *p, aq_tstamp until);
/* Turns until |done| says so. Returns 1, or 0 after |max|. */
int conn_pair_run(conn_pair *p, aq_duration max, int (*done)(conn_pair *p));
void conn_pair_drain(conn_pair *p, int side);
int conn_pair_both_confirmed(conn_pair *p);
int conn_pair_both_closed(conn_pair *p);
aq_stream *conn_pair_stream(conn_pair *p, int side, aq_id id);
/* The byte at |off| of the test pattern |seed|. */
uint8_t conn_pair_byte(uint64_t seed, uint64_t off);

#endif
