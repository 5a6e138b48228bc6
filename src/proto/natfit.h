/* natfit.h - how a NAT gives out ports, from a row of fresh sockets and what
 * each was mapped to.
 *
 * Layer:  proto
 * Owner:  values of the caller
 * Time:   none
 * Spec:   docs/nat_profile.md; RFC 4787 section 4.2
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_NATFIT_H
#define AQ_PROTO_NATFIT_H

#include "antquic.h"

#define AQ_NATFIT_MAX 16
/* Fewer observations than this say nothing but "preserving". */
#define AQ_NATFIT_MIN 6
/* Others behind the NAT open mappings too: so many between two of ours are
 * taken for that. */
#define AQ_NATFIT_NOISE 32
#define AQ_NATFIT_MAX_STEP 64
/* A subscriber's block of a carrier's NAT has at most so many ports. */
#define AQ_NATFIT_MAX_BLOCK 8192

typedef struct aq_natfit {
  size_t n; /* at most AQ_NATFIT_MAX */
  struct {
    uint16_t own, outer;
  } port[AQ_NATFIT_MAX]; /* in the order in which they were opened */
} aq_natfit;

/* aq_natfit_judge fills allocation, step, block_base and block_size; unknown
 * where the observations are too few. */
void aq_natfit_judge(const aq_natfit *f, aq_nat_profile *out);

#endif
