/* disc.h - discovery: which addresses are ours. Interfaces' addresses plus what
 * others observed, as a bounded candidate set with sequence numbers.
 *
 * Layer:  proto
 * Owner:  one per endpoint, embedded; no allocation
 * Time:   |now| is passed in
 * Spec:   RFC 8445 section 5.1; docs/protocol.md sections 2 and 3;
 *         draft-ietf-quic-address-discovery
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_DISC_H
#define AQ_PROTO_DISC_H

#include "antquic.h"

#define AQ_DISC_MAX_LOCAL 32
#define AQ_DISC_MAX_OBSERVERS 64
#define AQ_DISC_MAX_CAND 256

typedef struct aq_observation {
  uint8_t used, trusted; /* trusted: a configured bootstrap node */
  aq_id conn;            /* observer */
  aq_addr observer;
  aq_addr addr; /* of us, as it saw it */
  uint32_t socket;
  uint64_t seq; /* the observer's; older ones are ignored */
  aq_tstamp at;
} aq_observation;

typedef struct aq_disc_change {
  uint8_t removed;
  aq_candidate cand;
} aq_disc_change;

/* Whoever polls knows at most AQ_DISC_MAX_CAND candidates that are gone now,
 * and there are as many that it doesn't know yet: the queue can't overflow. */
#define AQ_DISC_MAX_CHANGE ((size_t)2 * AQ_DISC_MAX_CAND)

typedef struct aq_disc {
  uint32_t max_candidates;
  uint8_t allow_reserved, allow_loopback;
  size_t nsock;
  aq_local_socket sock[AQ_MAX_SOCKETS];
  size_t nlocal;
  aq_addr local[AQ_DISC_MAX_LOCAL];
  aq_observation obs[AQ_DISC_MAX_OBSERVERS];
  size_t ncand;
  aq_candidate cand[AQ_DISC_MAX_CAND]; /* best first */
  uint32_t base[AQ_DISC_MAX_CAND];     /* the socket of each */
  uint64_t next_seq;
  size_t nchange;
  aq_disc_change change[AQ_DISC_MAX_CHANGE];
  aq_addr kept[AQ_MAX_SOCKETS]; /* what was last confirmed, by socket index */
  uint64_t observed_ignored;    /* lies, reserved, over the bound */
} aq_disc;

/* aq_disc_init: |max_candidates| is cut to 1..AQ_DISC_MAX_CAND. When there are
 * more addresses, the best stay, but observed ones get half of the places: an
 * address that the outside can use is worth more than a tenth interface. */
void aq_disc_init(aq_disc *d, uint32_t max_candidates, int allow_reserved);
void aq_disc_add_socket(aq_disc *d, aq_tstamp now, const aq_local_socket *s);
/* aq_disc_set_local: a new snapshot. Returns 1 when it changed something. */
int aq_disc_set_local(aq_disc *d, aq_tstamp now, const aq_addr *v, size_t n);
/* aq_disc_observe: |conn|'s peer at |observer| saw us at |addr|. It becomes a
 * candidate once two observers of different IP agree or |trusted|.
 * Returns 1 when the candidates changed, 0 when not. */
int aq_disc_observe(aq_disc *d, aq_tstamp now, aq_id conn,
                    const aq_addr *observer, uint32_t socket, uint64_t seq,
                    const aq_addr *addr, int trusted);
/* aq_disc_forget: the observer is gone; what only it saw is removed, except
 * that the last observed address stays until another one replaces it. */
int aq_disc_forget(aq_disc *d, aq_tstamp now, aq_id conn);
/* aq_disc_poll_change gives changes in order (1), or 0. */
int aq_disc_poll_change(aq_disc *d, aq_disc_change *out);

/* RFC 8445 section 5.1.2.1. |local_pref| 0..65535. */
uint32_t aq_cand_priority(aq_source source, uint32_t local_pref);
/* RFC 8445 section 6.1.2.3, in 64 bits without overflow. */
uint64_t aq_pair_priority(uint32_t initiator, uint32_t target);

#endif
