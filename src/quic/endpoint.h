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

/* Everything public is in antquic.h. */

#endif
