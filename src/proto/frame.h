/* frame.h - the extension frames: ADD_ADDRESS, PUNCH_ME_NOW, REMOVE_ADDRESS
 * and OBSERVED_ADDRESS. Codec only.
 *
 * Layer:  proto
 * Owner:  values of the caller
 * Time:   none
 * Spec:   docs/protocol.md section 2; draft-seemann-quic-nat-traversal-02,
 *         draft-ietf-quic-address-discovery-00
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_FRAME_H
#define AQ_PROTO_FRAME_H

#include "antquic.h"

/* The generations of the draft use the same numbers for other bodies, so a
 * frame is read by what was negotiated and never by guess. */
typedef enum aq_dialect { AQ_DIALECT_SEEMANN02 } aq_dialect;

typedef enum aq_frame_kind {
  AQ_FRAME_ADD_ADDRESS,
  AQ_FRAME_PUNCH_ME_NOW,
  AQ_FRAME_REMOVE_ADDRESS,
  AQ_FRAME_OBSERVED_ADDRESS
} aq_frame_kind;

#define AQ_FRAME_TYPE_ADD_ADDRESS 0x3d7e90u  /* IPv4; + 1: IPv6 */
#define AQ_FRAME_TYPE_PUNCH_ME_NOW 0x3d7e92u /* IPv4; + 1: IPv6 */
#define AQ_FRAME_TYPE_REMOVE_ADDRESS 0x3d7e94u
#define AQ_FRAME_TYPE_OBSERVED_ADDRESS 0x9f81a6u /* IPv4; + 1: IPv6 */

/* type 4, two varints of 8, IP 16, port 2: 38 */
#define AQ_FRAME_MAX 40

typedef struct aq_frame {
  aq_frame_kind kind;
  uint64_t seq;    /* sequence number; PUNCH_ME_NOW: the round */
  uint64_t paired; /* PUNCH_ME_NOW: sequence number it is paired with */
  aq_addr addr;    /* not in REMOVE_ADDRESS */
} aq_frame;

const char *aq_frame_name(aq_frame_kind kind);

/* aq_frame_format writes a whole frame with its type. Returns its length, or 0
 * when |cap| is too small or a member is out of range (our bug). */
size_t aq_frame_format(aq_dialect dialect, uint8_t *out, size_t cap,
                       const aq_frame *f);

/* aq_frame_parse reads the frame that starts at |data|; an IPv4-mapped address
 * comes out as IPv4. Returns 0 and *used, or with |f| zeroed:
 *   AQ_ERR_FORMAT       one of ours, cut short: FRAME_ENCODING_ERROR
 *   AQ_ERR_UNSUPPORTED  not one of ours, or its type is not in the shortest
 *                       form: leave it to the transport */
int aq_frame_parse(aq_dialect dialect, aq_frame *f, const uint8_t *data,
                   size_t len, size_t *used);

#endif
