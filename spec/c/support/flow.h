/* flow.h - streams of known bytes between two endpoints: byte i of one is a
 * function of i, so that what is missing, twice or out of order is seen.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_SPEC_FLOW_H
#define AQ_SPEC_FLOW_H

#include "antquic.h"

typedef struct flow {
  aq_endpoint *from, *to;
  aq_id in_conn, out, in;
  uint64_t written, read;
  aq_tstamp last;  /* when something came, */
  aq_duration gap; /* and the longest time without */
  uint8_t may_end; /* the connection may: then nothing more is written */
} flow;

/* On the connection |out_conn| of |from|, which |to| calls |in_conn|. */
flow flow_new(aq_endpoint *from, aq_id out_conn, aq_endpoint *to, aq_id in_conn,
              aq_tstamp now);
/* Writes what there is room for, until |total| bytes are written; reads and
 * checks what is there. Returns 1 when all |total| came. */
int flow_turn(flow *f, aq_tstamp now, uint64_t total);

#endif
