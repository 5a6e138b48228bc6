/* conn_notice.c - what a connection tells its owner, in this order: connection
 * IDs, establishment, frames, streams, datagrams, the rest, the end.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/conn_int.h"

#include <string.h>

static int take_cid(aq_conn *c, aq_notice *out) {
  if (c->cid_count == 0) {
    return 0;
  }
  out->kind = c->cid[0].added ? AQ_NOTICE_CID_ADDED : AQ_NOTICE_CID_REMOVED;
  out->cid = c->cid[0].cid;
  c->cid_count--;
  memmove(&c->cid[0], &c->cid[1], c->cid_count * sizeof(c->cid[0]));
  return 1;
}

static int take_flag(uint8_t *flag, aq_notice *out, aq_notice_kind kind) {
  if (!*flag) {
    return 0;
  }
  *flag = 0;
  out->kind = kind;
  return 1;
}

static int take_edge(aq_conn *c, aq_notice *out) {
  static const struct {
    uint8_t edge;
    aq_notice_kind kind;
  } order[] = {{AQ_EDGE_INCOMING, AQ_NOTICE_STREAM_INCOMING},
               {AQ_EDGE_READABLE, AQ_NOTICE_STREAM_READABLE},
               {AQ_EDGE_WRITABLE, AQ_NOTICE_STREAM_WRITABLE},
               {AQ_EDGE_CLOSED, AQ_NOTICE_STREAM_CLOSED}};
  aq_list *node = aq_list_first(&c->edges);
  if (node == NULL) {
    return 0;
  }
  aq_stream *s = aq_list_entry(node, aq_stream, edge_link);
  for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
    if (s->edges & order[i].edge) {
      s->edges &= (uint8_t)~order[i].edge;
      out->kind = order[i].kind;
      break;
    }
  }
  out->stream = s->id;
  if (s->edges == 0) {
    aq_list_remove(&s->edge_link);
  }
  return 1;
}

static int take_end(aq_conn *c, aq_notice *out) {
  if (!take_flag(&c->say_closed, out, AQ_NOTICE_CLOSED)) {
    return 0;
  }
  out->error = c->close_error;
  out->code = c->close_code;
  memcpy(out->text, c->close_text, sizeof(out->text));
  return 1;
}

int aq_conn_poll_notice(aq_conn *c, aq_notice *out) {
  memset(out, 0, sizeof(*out));
  out->remote = c->remote;
  out->local = c->local;
  if (take_cid(c, out) ||
      take_flag(&c->say_established, out, AQ_NOTICE_ESTABLISHED) ||
      take_flag(&c->say_confirmed, out, AQ_NOTICE_CONFIRMED)) {
    return 1;
  }
  if (aq_carrier_take(&c->carrier, &out->frame)) {
    out->kind = AQ_NOTICE_FRAME;
    return 1;
  }
  return take_flag(&c->say_control, out, AQ_NOTICE_CONTROL) ||
         take_edge(c, out) ||
         take_flag(&c->say_streams, out, AQ_NOTICE_STREAMS_AVAILABLE) ||
         take_flag(&c->say_dgram_rx, out, AQ_NOTICE_DATAGRAM_READABLE) ||
         take_flag(&c->say_dgram_tx, out, AQ_NOTICE_DATAGRAM_WRITABLE) ||
         take_flag(&c->say_path, out, AQ_NOTICE_PATH_CHANGED) ||
         take_flag(&c->say_token, out, AQ_NOTICE_TOKEN) || take_end(c, out);
}
