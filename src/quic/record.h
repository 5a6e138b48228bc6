/* record.h - fills the ring of antquic_record.h.
 *
 * Layer:  quic
 * Owner:  part of aq_endpoint; ep->record is NULL while nobody records
 * Time:   ep->now
 * Spec:   docs/record.md
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_RECORD_H
#define AQ_QUIC_RECORD_H

#include "antquic_record.h"
#include "base/ring.h"
#include "proto/frame.h"
#include "proto/punch.h"

typedef struct aq_record {
  aq_ring ring;
  uint64_t lost;
  aq_record_entry entry[AQ_RECORD_RING + 1]; /* one more: for what is lost */
} aq_record;

/* All that it costs when nobody records. */
#define AQ_RECORD(ep, call)                                                    \
  do {                                                                         \
    if ((ep)->record != NULL) {                                                \
      call;                                                                    \
    }                                                                          \
  } while (0)

struct aq_link;
struct aq_session;

/* |s| may be NULL: nobody's. |why| is static or NULL. */
void aq_record_punch(aq_endpoint *ep, aq_record_kind kind,
                     const struct aq_session *s, uint32_t socket,
                     const aq_addr *remote, uint8_t ttl, const aq_punch *p,
                     const char *why);
void aq_record_dial(const struct aq_session *s, aq_record_kind kind, aq_id conn,
                    uint32_t socket, const aq_addr *remote, int error);
/* |data| are datagrams of |segment| bytes; |l| may be NULL. */
void aq_record_quic(aq_endpoint *ep, aq_record_kind kind, struct aq_link *l,
                    uint32_t socket, const aq_addr *remote, const uint8_t *data,
                    size_t len, size_t segment);
void aq_record_control(struct aq_link *l, aq_record_kind kind, const aq_ctl *m);
/* |addr|: what was observed, NULL in a question. */
void aq_record_observe(aq_endpoint *ep, aq_record_kind kind, uint32_t socket,
                       const aq_addr *remote, uint8_t flags,
                       const aq_addr *addr);
void aq_record_frame(struct aq_link *l, aq_record_kind kind, const aq_frame *f);

#endif
