/* guard.h - what may be sent to whom: forbidden targets and punch budgets.
 *
 * Layer:  proto
 * Owner:  one aq_guard per endpoint, embedded; no allocation
 * Time:   |now| is passed in
 * Spec:   docs/protocol.md section 6; the figures are reliability rules T1, T2
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_GUARD_H
#define AQ_PROTO_GUARD_H

#include "antquic.h"

typedef enum aq_guard_verdict {
  AQ_GUARD_OK,
  AQ_GUARD_FORBIDDEN, /* multicast, broadcast, unspecified, ... */
  AQ_GUARD_SESSION,
  AQ_GUARD_TARGET,
  AQ_GUARD_PREFIX,
  AQ_GUARD_PEER,
  AQ_GUARD_ENDPOINT,
  AQ_GUARD_GUESS_TARGET, /* of guessed ports, see below */
  AQ_GUARD_GUESS_PEER,
  AQ_GUARD_GUESS_ENDPOINT,
  AQ_GUARD_GUESS_RATE,
  AQ_GUARD_GUESS_BUSY
} aq_guard_verdict;

const char *aq_guard_name(aq_guard_verdict v);

/* Facts about one datagram that is to go out before the target has proven
 * anything. */
typedef struct aq_guard_request {
  const aq_addr *target;
  uint8_t verified;       /* a coordinator saw this address */
  uint8_t same_nat;       /* both peers have the same public address */
  uint8_t allow_private;  /* the policy allows private targets */
  uint8_t allow_loopback; /* the endpoint is bound to loopback */
  uint8_t allow_reserved;
  uint32_t session_key;   /* any number that names the session */
  const aq_peer_id *peer; /* on whose behalf */
  size_t len;
} aq_guard_request;

/* aq_guard_classify checks the address alone. */
aq_guard_verdict aq_guard_classify(const aq_guard_request *r);

/* Budgets: at most 9 datagrams and 600 bytes per target address in any 10 s
 * until it has answered; see guard.c for each figure. Zeroed is full. */
typedef struct aq_bucket {
  uint64_t key; /* who paid last */
  double spent;
  aq_tstamp last; /* when */
} aq_bucket;
#define AQ_GUARD_SLOTS 256
#define AQ_GUARD_TARGETS 1024
typedef struct aq_guard {
  aq_bucket endpoint;
  aq_bucket target[AQ_GUARD_TARGETS];
  aq_bucket target_bytes[AQ_GUARD_TARGETS];
  aq_bucket prefix[AQ_GUARD_SLOTS];
  aq_bucket peer[AQ_GUARD_SLOTS];
  aq_bucket session[AQ_GUARD_SLOTS];
  aq_bucket initial[AQ_GUARD_SLOTS];
  aq_bucket guess_rate, guess_endpoint;
  aq_bucket guess_target[AQ_GUARD_SLOTS];
  aq_bucket guess_peer[AQ_GUARD_SLOTS];
  uint32_t guess_holder; /* session_key; 0: nobody */
  aq_tstamp guess_until;
  uint64_t salt; /* random, so that nobody can choose collisions */
} aq_guard;
/* aq_guard_init: |g| is zeroed, as part of an endpoint that is. */
void aq_guard_init(aq_guard *g, uint64_t salt);
/* aq_guard_take classifies and pays. Only AQ_GUARD_OK allows the datagram. A
 * table slot that another key holds is shared with it: safe, never larger. */
aq_guard_verdict aq_guard_take(aq_guard *g, aq_tstamp now,
                               const aq_guard_request *r);

/* aq_guard_take_initial pays for |count| full-sized datagrams (QUIC Initials)
 * to an address that a coordinator vouched for and that has proven nothing: at
 * most 8 to an IP until 10 s passed without any. They may not go when fewer
 * than |leave| would be left. 1: send, 0: don't. */
int aq_guard_take_initial(aq_guard *g, aq_tstamp now, const aq_addr *target,
                          size_t count, size_t leave);

/* Guessed ports have a budget of their own, in place of that above: in any 20 s
 * at most 1024 datagrams to an IP, whatever the ports, as many on behalf of a
 * peer, and as many of the endpoint; 1000 a second. The caller knows that a
 * coordinator saw the IP, and that whoever it is for wants it.
 * aq_guard_take_guess classifies and pays for one; ports of services are
 * forbidden, but where the coordinator saw the port as well (|verified|).
 * aq_guard_begin_guess must allow |count| datagrams before the first: when less
 * than half of that is left, it is not worth to begin. More than
 * AQ_GUARD_GUESS_FEW are allowed to one session at a time, until
 * aq_guard_end_guess or 10 s have passed. */
#define AQ_GUARD_GUESSES 1024
#define AQ_GUARD_GUESS_PAUSE (20 * AQ_S)
#define AQ_GUARD_GUESS_FEW 64
aq_guard_verdict aq_guard_begin_guess(aq_guard *g, aq_tstamp now,
                                      const aq_guard_request *r,
                                      uint32_t count);
/* When it would allow them, should nothing be sent until then. */
aq_tstamp aq_guard_guess_at(aq_guard *g, aq_tstamp now,
                            const aq_guard_request *r, uint32_t count);
void aq_guard_end_guess(aq_guard *g, uint32_t session_key);
aq_guard_verdict aq_guard_take_guess(aq_guard *g, aq_tstamp now,
                                     const aq_guard_request *r);

/* aq_guard_answered: the address proved that it gets what is sent there, so it
 * is no victim: what was spent on it is given back. */
void aq_guard_answered(aq_guard *g, const aq_addr *target);

#endif
