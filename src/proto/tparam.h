/* tparam.h - the extension transport parameters.
 *
 * Layer:  proto
 * Owner:  values of the caller
 * Time:   none
 * Spec:   docs/protocol.md section 2; RFC 9000 section 18
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_TPARAM_H
#define AQ_PROTO_TPARAM_H

#include "antquic.h"

#define AQ_TPARAM_NAT_TRAVERSAL UINT64_C(0x3d7e9f0bca12fea6)
#define AQ_TPARAM_RFC_FRAMES UINT64_C(0x3d7e9f0bca12fea8)
#define AQ_TPARAM_ADDRESS_DISCOVERY UINT64_C(0x9f81a176)
/* Drawn at random from the 62 bits that are free for anybody (RFC 9000 section
 * 22.3), and not one of the reserved 31 * N + 27. */
#define AQ_TPARAM_CONTROL UINT64_C(0x13e08779c0015c18)
#define AQ_TPARAM_MAX_DATAGRAM UINT64_C(0x20) /* RFC 9221 section 3 */

#define AQ_CONTROL_VERSION 1u
/* This endpoint has outgoing dials in progress. */
#define AQ_CONTROL_FLAG_DIALING 0x01u
/* This endpoint coordinates: it takes a REQUEST as soon as it is connected. */
#define AQ_CONTROL_FLAG_COORDINATES 0x02u

/* address_discovery: 0 I send reports, 1 I take them, 2 both. */
#define AQ_DISCOVERY_BOTH 2u

/* What aq_tparams_format needs at most. */
#define AQ_TPARAMS_MAX 96

typedef struct aq_tparams {
  uint8_t has_nat;
  uint8_t nat_empty;  /* as a QUIC client sends it */
  uint64_t nat_limit; /* of a server: concurrent attempts */
  uint8_t has_rfc;
  uint8_t has_discovery;
  uint64_t discovery;
  uint8_t has_control;
  uint64_t control_version;
  uint64_t control_flags;
  uint8_t has_max_datagram;
  uint64_t max_datagram;
} aq_tparams;

/* aq_tparams_format writes the parameters that are set, to be appended to the
 * transport's own; max_datagram must be set only when the transport did not
 * write it. Returns the length (0 when none is set), or 0 when |cap| is too
 * small or a number is over 2^62 - 1 (our bug). */
size_t aq_tparams_format(uint8_t *out, size_t cap, const aq_tparams *t);

/* aq_tparams_scan reads a whole blob and takes what it knows. Returns 0, or
 * with |t| zeroed AQ_ERR_FORMAT (cut, one of ours twice, or a bad value):
 * TRANSPORT_PARAMETER_ERROR. */
int aq_tparams_scan(aq_tparams *t, const uint8_t *data, size_t len);

#endif
