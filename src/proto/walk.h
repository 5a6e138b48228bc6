/* walk.h - finds the extension frames among the frames of a 1-RTT packet.
 *
 * Layer:  proto
 * Owner:  the plaintext is borrowed
 * Time:   none
 * Spec:   RFC 9000 section 19, RFC 9221 section 4; docs/protocol.md section 2
 *
 * The bytes are authenticated and hostile. What is not understood exactly is
 * not touched: the walk ends and the transport judges the packet.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_WALK_H
#define AQ_PROTO_WALK_H

#include "proto/frame.h"

/* aq_walk: set |data| and |len|, the rest zero. */
typedef struct aq_walk {
  const uint8_t *data;
  size_t len;
  size_t off; /* of the frame that is looked at next */
  aq_dialect dialect;
} aq_walk;

/* aq_walk_next looks for the next extension frame. Returns
 *   1                   it stands at [*off, *off + *len)
 *   0                   the end: every frame was understood
 *   AQ_ERR_FORMAT       an extension frame at w->off is cut short:
 *                       FRAME_ENCODING_ERROR
 *   AQ_ERR_UNSUPPORTED  an unknown or a cut ordinary frame at w->off: leave
 *                       the packet to the transport, which reports it
 * After an error the walk is over; do not call again. */
int aq_walk_next(aq_walk *w, size_t *off, size_t *len);

/* aq_walk_find_datagram looks for the first DATAGRAM frame (0x30, 0x31) whose
 * payload is exactly |payload|. Returns 1 and where the frame begins and how
 * long its header is (the payload follows), 0 when there is none, or as
 * aq_walk_next. Extension frames are passed over. */
int aq_walk_find_datagram(const uint8_t *pt, size_t len, const uint8_t *payload,
                          size_t plen, size_t *off, size_t *hdrlen);

#endif
