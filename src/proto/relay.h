/* relay.h - the relay's role: which tunnels there are, between whom, and how
 * much each, each peer and all together may carry.
 *
 * Layer:  proto
 * Owner:  aq_endpoint, when it relays; allocates through aq_env.realloc: one
 *         block for each tunnel, and one for each peer that has had one
 * Time:   |now| is passed in
 * Spec:   docs/protocol.md section 9
 *
 * It knows connections by their ids. Where their peers are, and whether a
 * datagram came from there, is its owner's business.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_RELAY_H
#define AQ_PROTO_RELAY_H

#include "proto/tunnel.h"

#define AQ_RELAY_TUNNELS 1024        /* of a relay */
#define AQ_RELAY_EACH 32             /* of one peer, as either end */
#define AQ_RELAY_IDLE (60 * AQ_S)    /* without a datagram: it ends */
#define AQ_RELAY_BURST (256u * 1024) /* bytes, or a quarter of a second's */
/* What one peer may send, and may get, is an eighth of what all may, but at
 * least what a tunnel may. */
#define AQ_RELAY_SHARE 8

typedef struct aq_relay aq_relay;
typedef struct aq_relay_tunnel aq_relay_tunnel;

/* |rate|: bytes a second in each direction of a tunnel, |total|: of all of
 * them together; 1..2^34. Returns 0 or AQ_ERR_NOMEM. |env| may be NULL. */
int aq_relay_new(aq_relay **pr, uint64_t rate, uint64_t total,
                 const aq_env *env);
void aq_relay_del(aq_relay *r);

/* May there be one more tunnel between |a| and |b|? Returns 0 or an
 * aq_ctl_error: OVERLOADED (the relay is full), RATE_LIMITED (one of them has
 * too many). */
uint64_t aq_relay_admit(const aq_relay *r, aq_id a, aq_id b);
/* aq_relay_open: a tunnel between the connections |a| and |b|. One with that id
 * and these ends may be there already. Returns 0, AQ_ERR_LIMIT (the id is
 * another tunnel's, or there are AQ_RELAY_TUNNELS) or AQ_ERR_NOMEM. */
int aq_relay_open(aq_relay *r, aq_tstamp now,
                  const uint8_t id[AQ_TUNNEL_ID_LEN], aq_id a, aq_id b);
/* A tunnel and its ends; NULL: unknown. Good until a tunnel ends. */
aq_relay_tunnel *aq_relay_find(const aq_relay *r,
                               const uint8_t id[AQ_TUNNEL_ID_LEN],
                               aq_id end[2]);
/* aq_relay_take: |len| bytes from end |from| (0 or 1) want to pass. What is
 * over one bound is not counted against the others. */
typedef enum aq_relay_verdict {
  AQ_RELAY_OK,
  AQ_RELAY_OVER_TUNNEL,
  AQ_RELAY_OVER_PEER, /* who sends or who gets it, with all their tunnels */
  AQ_RELAY_OVER_TOTAL
} aq_relay_verdict;
aq_relay_verdict aq_relay_take(aq_relay *r, aq_tstamp now, aq_relay_tunnel *t,
                               int from, size_t len);
/* aq_relay_close ends a tunnel of |conn|'s. Returns the other end's connection,
 * or 0: it has none of that id. */
aq_id aq_relay_close(aq_relay *r, const uint8_t id[AQ_TUNNEL_ID_LEN],
                     aq_id conn);
/* aq_relay_forget: |conn| is gone. Ends one of its tunnels and gives that and
 * the other end's connection; 0 when there are no more, and |conn| is
 * forgotten. */
aq_id aq_relay_forget(aq_relay *r, aq_id conn, uint8_t id[AQ_TUNNEL_ID_LEN]);
/* aq_relay_expire ends one that is idle and gives it. Returns 1, or 0: none
 * is. */
int aq_relay_expire(aq_relay *r, aq_tstamp now, uint8_t id[AQ_TUNNEL_ID_LEN],
                    aq_id end[2]);
/* When the next one will be; AQ_NEVER: there is none. */
aq_tstamp aq_relay_next_timeout(const aq_relay *r);
/* How many tunnels there are. */
uint32_t aq_relay_count(const aq_relay *r);

#endif
