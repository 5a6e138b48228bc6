/* coord.h - the coordinator's role: who is registered, and one answer and one
 * offer per request.
 *
 * Layer:  proto
 * Owner:  aq_endpoint, when can_coordinate; allocates through aq_env.realloc:
 *         the fixed tables with the first REQUEST, and one block per
 *         registration
 * Time:   |now| is passed in
 * Spec:   docs/protocol.md section 3
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_COORD_H
#define AQ_PROTO_COORD_H

#include "proto/ctl.h"

typedef struct aq_coord aq_coord;

typedef struct aq_coord_params {
  uint32_t max_registrations; /* default 65536 */
  uint32_t per_asker_rate;    /* requests per second of one asker, 10 */
  uint32_t per_asker_burst;   /* ... and at once: all whom it plays with, 64 */
  uint32_t per_pair_rate;     /* per second of one pair, 1 (burst 3) */
  uint32_t per_target_rate;   /* offers per second to one target, 50 */
  uint64_t expiry_ms;         /* of an attempt, 10 000 */
  uint8_t allow_reserved;
  uint8_t relays; /* it says so in REGISTERED */
} aq_coord_params;
void aq_coord_params_init(aq_coord_params *p);

/* aq_coord_new: |p| and |env| (may be NULL) are copied.
 * Returns 0, AQ_ERR_INVAL (a limit is 0) or AQ_ERR_NOMEM. */
int aq_coord_new(aq_coord **pc, const aq_coord_params *p, const aq_env *env);
void aq_coord_del(aq_coord *c);

/* aq_coord_msg is a message that is to be sent on |conn|'s control stream. */
typedef struct aq_coord_msg {
  aq_id conn;
  aq_ctl m;
} aq_coord_msg;
#define AQ_COORD_OUT_MAX 3
#define AQ_COORD_CROSSING (2 * AQ_S)

/* What the endpoint knows of the connection a message came on: proven by TLS
 * and measured, never claimed. */
typedef struct aq_coord_peer {
  aq_id conn;
  aq_peer_id peer;
  aq_addr addr;    /* as seen now */
  aq_duration rtt; /* smoothed */
} aq_coord_peer;

/* aq_coord_handle feeds one control message of a registered or registering
 * peer. Types that no peer sends to a coordinator are ignored. Two requests
 * that cross (each peer asks for the other within AQ_COORD_CROSSING) end on
 * one attempt, whose initiator has the smaller id: the larger one's request is
 * answered with the OFFER again, the smaller one's replaces the attempt.
 * Of a HINT |m|'s observed is what the endpoint itself saw, never the peer's
 * word; it is passed on to the other side of its attempt.
 * |random| are fresh random bytes: session id and key. |target_rtt| is asked by
 * the endpoint for the connection aq_coord_lookup gives. Messages to send are
 * put into |out| (AQ_COORD_OUT_MAX). Returns how many; a bad or limited request
 * gives an ERROR message, never silence. */
size_t
aq_coord_handle(aq_coord *c, aq_tstamp now, const aq_coord_peer *from,
                const aq_ctl *m, const aq_coord_peer *target,
                const uint8_t random[AQ_CTL_SESSION_LEN + AQ_PUNCH_KEY_LEN],
                aq_coord_msg *out, aq_statistics *stats);
/* aq_coord_lookup: the connection on which |peer| is registered, or 0. The
 * endpoint fills |target| of aq_coord_handle from it before a REQUEST. */
aq_id aq_coord_lookup(const aq_coord *c, const aq_peer_id *peer);
/* aq_coord_forget: the connection is gone, its registration with it. */
void aq_coord_forget(aq_coord *c, aq_id conn);
uint32_t aq_coord_count(const aq_coord *c);

#endif
