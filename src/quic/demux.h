/* demux.h - whose datagram is this: connection IDs, new handshakes, and the
 * answers that need no connection.
 *
 * Layer:  quic
 * Owner:  part of aq_endpoint
 * Time:   ep->now
 * Spec:   RFC 9000 sections 5.2, 6, 8.1, 10.3; docs/protocol.md section 4
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_DEMUX_H
#define AQ_QUIC_DEMUX_H

#include "antquic.h"

/* aq_demux_handle takes one datagram (not coalesced by the kernel): |data| of
 * |d|'s socket and addresses. Borrowed. */
void aq_demux_handle(aq_endpoint *ep, const aq_datagram *d, const uint8_t *data,
                     size_t len);
/* aq_demux_out queues one datagram that belongs to no connection; |len| is at
 * most AQ_OUT_LEN. Dropped and counted when the ring is full. |local| may be
 * NULL: the kernel's choice. Returns 1 when it was queued. */
int aq_demux_out(aq_endpoint *ep, uint32_t socket, const aq_addr *local,
                 const aq_addr *to, uint8_t ttl, const uint8_t *data,
                 size_t len);

#endif
