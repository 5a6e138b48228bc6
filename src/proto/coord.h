/* coord.h - the coordinator's role: who is registered, and one answer and one
 * offer per request.
 *
 * Layer:  proto
 * Owner:  aq_endpoint, when can_coordinate; allocates through aq_env.realloc in
 *         aq_coord_new only (a table for |max| registrations)
 * Time:   |now| is passed in
 * Spec:   docs/protocol.md section 3
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_COORD_H
#define AQ_PROTO_COORD_H

#include "proto/ctl.h"

typedef struct aq_coord aq_coord;

typedef struct aq_coord_params {
  uint32_t max_registrations; /* default 65536; grows by doubling up to it */
  uint32_t per_asker_rate;    /* requests per second of one asker, 10 */
  uint32_t per_pair_rate;     /* per second of one pair, 1 (burst 3) */
  uint64_t expiry_ms;         /* of an attempt, 10 000 */
  uint8_t allow_reserved;
} aq_coord_params;
void aq_coord_params_init(aq_coord_params *p);

int aq_coord_new(aq_coord **pc, const aq_coord_params *p, const aq_env *env);
void aq_coord_del(aq_coord *c);

/* aq_coord_msg is a message that is to be sent on |conn|'s control stream. */
typedef struct aq_coord_msg {
  aq_id conn;
  aq_ctl m;
} aq_coord_msg;
#define AQ_COORD_OUT_MAX 3

/* What the endpoint knows of the connection a message came on: proven by TLS
 * and measured, never claimed. */
typedef struct aq_coord_peer {
  aq_id conn;
  aq_peer_id peer;
  aq_addr addr;    /* as seen now */
  aq_duration rtt; /* smoothed */
} aq_coord_peer;

/* aq_coord_handle feeds one control message of a registered or registering
 * peer. |random| are fresh random bytes: session id and key. |target_rtt| is
 * asked by the endpoint for the connection aq_coord_lookup gives. Messages to
 * send are put into |out| (AQ_COORD_OUT_MAX). Returns how many; a bad or
 * limited request gives an ERROR message, never silence. */
size_t aq_coord_handle(aq_coord *c, aq_tstamp now, const aq_coord_peer *from,
                       const aq_ctl *m, const aq_coord_peer *target,
                       const uint8_t random[AQ_CTL_SESSION_LEN +
                                            AQ_PUNCH_KEY_LEN],
                       aq_coord_msg *out, aq_statistics *stats);
/* aq_coord_lookup: the connection on which |peer| is registered, or 0. The
 * endpoint fills |target| of aq_coord_handle from it before a REQUEST. */
aq_id aq_coord_lookup(const aq_coord *c, const aq_peer_id *peer);
/* aq_coord_forget: the connection is gone, its registration with it. */
void aq_coord_forget(aq_coord *c, aq_id conn);
uint32_t aq_coord_count(const aq_coord *c);

#endif
