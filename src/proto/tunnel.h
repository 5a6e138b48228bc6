/* tunnel.h - tunnel datagrams: a QUIC packet on its way over a relay.
 *
 * Layer:  proto
 * Owner:  values of the caller
 * Time:   none
 * Spec:   docs/protocol.md section 9
 *
 * Layout: type, id[8], then the QUIC packet and nothing else. The id is the
 * session id of the ANSWER and OFFER that agreed on the tunnel. The same bytes
 * go from an end to the relay and from there to the other end.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_TUNNEL_H
#define AQ_PROTO_TUNNEL_H

#include "proto/ctl.h"

#define AQ_TUNNEL_TYPE 0x06u
#define AQ_TUNNEL_ID_LEN AQ_CTL_SESSION_LEN
#define AQ_TUNNEL_HEAD (1 + AQ_TUNNEL_ID_LEN)

/* 1 when |data| may be one: its first byte says so. */
int aq_tunnel_is(const uint8_t *data, size_t len);
/* aq_tunnel_read gives the id and the packet inside, both borrowed. Returns 0,
 * or AQ_ERR_FORMAT: cut, or what is inside is no QUIC packet (another tunnel
 * datagram least of all). */
int aq_tunnel_read(const uint8_t *data, size_t len, const uint8_t **id,
                   const uint8_t **packet, size_t *packet_len);
/* aq_tunnel_wrap puts the header before each of the packets in |buf|: |len|
 * bytes in packets of |*segment| (0: one; the last may be shorter). |buf| has
 * room for what it becomes. Returns the new length and changes *segment. */
size_t aq_tunnel_wrap(uint8_t *buf, size_t len, size_t *segment,
                      const uint8_t id[AQ_TUNNEL_ID_LEN]);

/* aq_tunnel_addr: what stands for an end of a tunnel where an address is
 * needed, in the discard prefix 100::/64 (RFC 6666): nobody's, and no
 * candidate. aq_tunnel_is_addr: 1 when |a| is such a one. */
aq_addr aq_tunnel_addr(const uint8_t id[AQ_TUNNEL_ID_LEN], uint16_t port);
int aq_tunnel_is_addr(const aq_addr *a);

#endif
