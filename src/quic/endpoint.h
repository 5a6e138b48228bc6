/* endpoint.h - the sans-IO core: owns connections, sessions, discovery and the
 * coordinator; the verbs of antquic.h.
 *
 * Layer:  quic
 * Owner:  the caller of aq_endpoint_new
 * Time:   |now| is passed in; clamped so that it never goes back
 * Spec:   docs/architecture.md
 *
 * Files: endpoint.c (life, the five verbs, timers), endpoint_conn.c (notices of
 * connections, duplicates), endpoint_act.c (carries out what sessions ask),
 * endpoint_api.c (public calls by id), bootstrap.c, demux.c (connection IDs,
 * Initial, Retry, version negotiation, stateless reset), limits.c (half-open).
 * endpoint_int.h has the struct, for those files only.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_ENDPOINT_H
#define AQ_QUIC_ENDPOINT_H

#include "antquic.h"

/* Everything public is in antquic.h; this is for src/sim alone. */

/* aq_endpoint_new_null makes an endpoint as aq_endpoint_new does, but for its
 * TLS: handshakes show keys without proof and packets are clear
 * (tls_null.c). |key| makes the identity (aq_identity_from_seed_null);
 * params->identity is ignored. It must never be given a real datagram: no
 * runtime takes an endpoint that it didn't make itself. */
int aq_endpoint_new_null(aq_endpoint **pep, const aq_endpoint_params *params,
                         const uint8_t key[32], const aq_env *env,
                         aq_tstamp now);
/* The id of such an endpoint. Returns 0, AQ_ERR_NOMEM or AQ_ERR_INTERNAL. */
int aq_endpoint_null_id(aq_peer_id *out, const uint8_t key[32]);
/* 1 when aq_endpoint_poll_event would give one. */
int aq_endpoint_has_events(const aq_endpoint *ep);

#endif
