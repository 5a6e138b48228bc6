/* conn_stream.c - streams, the control streams and datagrams of a connection.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/conn_int.h"

#include "base/wire.h"

#include <string.h>

/* RFC 9000 section 20.1 */
#define ERROR_PROTOCOL_VIOLATION 0x0a

/* ---- control streams ---------------------------------------------------- */

/* The first unidirectional stream of each side (docs/protocol.md section 3). */
static int64_t control_qid(const aq_conn *c, int ours) {
  return (c->client != 0) == (ours != 0) ? 2 : 3;
}

int aq_conn_open_control(aq_conn *c) {
  aq_stream *s = aq_stream_new(c, control_qid(c, 1), 0, 1);
  if (s == NULL) {
    return AQ_ERR_NOMEM;
  }
  if (ngtcp2_conn_open_uni_stream(c->q, &s->qid, s) != 0) {
    aq_stream_del(s);
    return AQ_ERR_PROTOCOL; /* the peer's limit allows not even one */
  }
  c->control_tx = s;
  return 0;
}

void aq_conn_on_control_gone(aq_conn *c) {
  aq_conn_fault(c, AQ_ERR_PROTOCOL, ERROR_PROTOCOL_VIOLATION,
                "the control stream was closed");
}

int aq_conn_on_control(aq_conn *c, const uint8_t *data, size_t len, int fin) {
  if (fin) {
    aq_conn_on_control_gone(c);
  }
  if (c->control_len + len > AQ_CONN_CONTROL_MAX) {
    aq_conn_fault(c, AQ_ERR_LIMIT, ERROR_PROTOCOL_VIOLATION,
                  "too much waits in the control stream");
    return 0;
  }
  if (len == 0) {
    return 0;
  }
  if (aq_mem_grow(&c->mem, (void **)&c->control, &c->control_cap,
                  c->control_len + len, 1, 2 * AQ_CONN_CONTROL_MAX) != 0) {
    return AQ_ERR_NOMEM;
  }
  memcpy(c->control + c->control_len, data, len);
  c->control_len += len;
  c->say_control = 1;
  return 0;
}

int aq_conn_has_control(const aq_conn *c) {
  return c->has_control && c->control_tx != NULL;
}

int aq_conn_control_write(aq_conn *c, const uint8_t *data, size_t len) {
  if (!aq_conn_is_open(c)) {
    return AQ_ERR_CLOSED;
  }
  aq_stream *s = c->control_tx;
  if (s == NULL) {
    return AQ_ERR_UNSUPPORTED;
  }
  if (s->tx.end - s->tx.begin + len > AQ_CONN_CONTROL_MAX) {
    return AQ_ERR_AGAIN;
  }
  if (aq_stream_append(s, data, len) != len) {
    /* A message cut in two would be worse than none. */
    aq_conn_fault(c, AQ_ERR_NOMEM, 0x01, "out of memory");
    c->dirty = 1;
    return AQ_ERR_NOMEM;
  }
  aq_stream_schedule(s);
  return 0;
}

size_t aq_conn_control_peek(const aq_conn *c, const uint8_t **data) {
  *data = c->control;
  return c->control_len;
}

void aq_conn_control_consume(aq_conn *c, size_t len) {
  if (len > c->control_len) {
    len = c->control_len;
  }
  if (len == 0) {
    return;
  }
  memmove(c->control, c->control + len, c->control_len - len);
  c->control_len -= len;
  if (!aq_conn_is_open(c)) {
    return;
  }
  if (c->control_rx != NULL) {
    ngtcp2_conn_extend_max_stream_offset(c->q, c->control_rx->qid, len);
  }
  ngtcp2_conn_extend_max_offset(c->q, len);
  c->dirty = 1;
}

/* ---- life of streams ---------------------------------------------------- */

static int is_local_stream(const aq_conn *c, int64_t qid) {
  return (qid & 1) == (c->client ? 0 : 1);
}

void aq_conn_give_stream(aq_conn *c, int64_t qid) {
  if (is_local_stream(c, qid)) {
    return;
  }
  if (ngtcp2_is_bidi_stream(qid)) {
    c->give_bidi++;
  } else {
    c->give_uni++;
  }
  c->dirty = 1;
}

aq_stream *aq_conn_stream_opened(aq_conn *c, int64_t qid) {
  int control = c->has_control && qid == control_qid(c, 0);
  aq_stream *s = aq_stream_new(c, qid, 1, control);
  if (s == NULL) {
    return NULL;
  }
  if (control) {
    c->control_rx = s;
    return s;
  }
  aq_list_push_back(&c->incoming, &s->wait_link);
  aq_stream_edge(s, AQ_EDGE_INCOMING);
  return s;
}

void aq_conn_stream_closed(aq_conn *c, aq_stream *s) {
  aq_stream_on_closed(s);
  if (s->control) {
    aq_conn_on_control_gone(c);
  }
  if (s->released) {
    aq_conn_give_stream(c, s->qid);
    aq_list_remove(&s->all_link);
    aq_list_push_back(&c->dead, &s->all_link);
  }
}

int aq_conn_open_stream(aq_conn *c, int uni, int priority, aq_id *out) {
  *out = 0;
  if (c->phase != AQ_CONN_OPEN) {
    return c->phase == AQ_CONN_HANDSHAKE ? AQ_ERR_AGAIN : AQ_ERR_CLOSED;
  }
  uint64_t left = uni ? ngtcp2_conn_get_streams_uni_left2(c->q)
                      : ngtcp2_conn_get_streams_bidi_left2(c->q);
  if (left == 0) {
    c->want_uni |= (uint8_t)(uni != 0);
    c->want_bidi |= (uint8_t)(uni == 0);
    return AQ_ERR_AGAIN;
  }
  int64_t guess = (uni ? 2 : 0) | (c->client ? 0 : 1);
  aq_stream *s = aq_stream_new(c, guess, 0, 0);
  if (s == NULL) {
    return AQ_ERR_NOMEM;
  }
  int rv = uni ? ngtcp2_conn_open_uni_stream(c->q, &s->qid, s)
               : ngtcp2_conn_open_bidi_stream(c->q, &s->qid, s);
  if (rv != 0) {
    aq_stream_del(s);
    return rv == NGTCP2_ERR_NOMEM ? AQ_ERR_NOMEM : AQ_ERR_INTERNAL;
  }
  s->priority = priority;
  *out = s->id;
  return 0;
}

int aq_conn_accept_stream(aq_conn *c, aq_id *out) {
  aq_list *node = aq_list_pop_front(&c->incoming);
  if (node == NULL) {
    *out = 0;
    return aq_conn_is_open(c) ? AQ_ERR_AGAIN : AQ_ERR_CLOSED;
  }
  *out = aq_list_entry(node, aq_stream, wait_link)->id;
  return 0;
}

aq_conn *aq_stream_conn(aq_stream *s) {
  return s->conn;
}

/* ---- a stream's verbs --------------------------------------------------- */

int aq_stream_put(aq_stream *s, const uint8_t *data, size_t len,
                  size_t *written) {
  aq_conn *c = s->conn;
  *written = 0;
  if (!s->sends) {
    return AQ_ERR_INVAL;
  }
  if (s->stopped) {
    return AQ_ERR_STREAM_STOPPED;
  }
  if (s->finished || s->reset_sent) {
    return AQ_ERR_STREAM_FINISHED;
  }
  if (!aq_conn_is_open(c) || s->quic_closed) {
    return AQ_ERR_CLOSED;
  }
  size_t used = (size_t)(s->tx.end - s->tx.begin);
  size_t max = c->shared->params.send_buffer;
  size_t room = used < max ? max - used : 0;
  if (room == 0 && len > 0) {
    s->want_write = 1;
    return AQ_ERR_AGAIN;
  }
  size_t n = len < room ? len : room;
  *written = aq_stream_append(s, data, n);
  aq_stream_schedule(s);
  return *written == 0 && n > 0 ? AQ_ERR_NOMEM : 0;
}

int aq_stream_put_fin(aq_stream *s) {
  aq_conn *c = s->conn;
  if (!s->sends) {
    return AQ_ERR_INVAL;
  }
  if (s->stopped) {
    return AQ_ERR_STREAM_STOPPED;
  }
  if (s->finished) {
    return 0;
  }
  if (s->reset_sent) {
    return AQ_ERR_STREAM_FINISHED;
  }
  if (!aq_conn_is_open(c) || s->quic_closed) {
    return AQ_ERR_CLOSED;
  }
  s->finished = 1;
  c->tx_unacked++;
  aq_stream_schedule(s);
  return 0;
}

static void give_credit(aq_stream *s, size_t len) {
  aq_conn *c = s->conn;
  if (len == 0 || !aq_conn_is_open(c)) {
    return;
  }
  if (!s->quic_closed && !s->stop_sent) {
    ngtcp2_conn_extend_max_stream_offset(c->q, s->qid, len);
  }
  ngtcp2_conn_extend_max_offset(c->q, len);
  c->dirty = 1;
}

int aq_stream_get(aq_stream *s, uint8_t *buf, size_t len, size_t *nread) {
  *nread = 0;
  if (!s->receives) {
    return AQ_ERR_INVAL;
  }
  size_t n = aq_stream_read_bytes(s, buf, len);
  if (n > 0 || (len == 0 && s->rx.end > s->rx.begin)) {
    *nread = n;
    s->bytes_read += n;
    give_credit(s, n);
    return 0;
  }
  if (s->reset_received) {
    return AQ_ERR_STREAM_RESET;
  }
  if (s->fin_received && !s->stop_sent) {
    s->end_read = 1;
    return 0;
  }
  if (s->stop_sent || !aq_conn_is_open(s->conn)) {
    return AQ_ERR_CLOSED;
  }
  return AQ_ERR_AGAIN;
}

size_t aq_stream_waiting(const aq_stream *s) {
  return (size_t)(s->rx.end - s->rx.begin);
}

int aq_stream_reset_now(aq_stream *s, uint64_t code) {
  aq_conn *c = s->conn;
  if (!s->sends || code > AQ_VARINT_MAX) {
    return AQ_ERR_INVAL;
  }
  if (!aq_conn_is_open(c)) {
    return AQ_ERR_CLOSED;
  }
  if (s->reset_sent || s->stopped || s->fin_acked || s->quic_closed) {
    return 0;
  }
  if (ngtcp2_conn_shutdown_stream_write(c->q, 0, s->qid, code) != 0) {
    return AQ_ERR_NOMEM;
  }
  s->reset_sent = 1;
  aq_stream_forget_tx(s);
  c->dirty = 1;
  return 0;
}

int aq_stream_stop_now(aq_stream *s, uint64_t code) {
  aq_conn *c = s->conn;
  if (!s->receives || code > AQ_VARINT_MAX) {
    return AQ_ERR_INVAL;
  }
  if (!aq_conn_is_open(c)) {
    return AQ_ERR_CLOSED;
  }
  if (s->stop_sent) {
    return 0;
  }
  size_t dropped = aq_stream_discard_rx(s);
  if (!s->quic_closed &&
      ngtcp2_conn_shutdown_stream_read(c->q, 0, s->qid, code) != 0) {
    return AQ_ERR_NOMEM;
  }
  s->stop_sent = 1;
  give_credit(s, dropped);
  c->dirty = 1;
  return 0;
}

void aq_stream_drop(aq_stream *s) {
  aq_conn *c = s->conn;
  if (s->released) {
    return;
  }
  if (aq_conn_is_open(c) && !s->quic_closed) {
    if (s->sends && !s->finished) {
      aq_stream_reset_now(s, 0);
    }
    if (s->receives && !s->fin_received && !s->reset_received) {
      aq_stream_stop_now(s, 0);
    }
  }
  give_credit(s, aq_stream_discard_rx(s));
  s->released = 1;
  s->edges = 0;
  aq_list_remove(&s->edge_link);
  aq_list_remove(&s->wait_link);
  aq_idmap_remove(c->shared->streams, s->id);
  s->id = 0;
  if (s->quic_closed) {
    aq_conn_give_stream(c, s->qid);
    aq_stream_del(s);
  }
}

void aq_stream_info_of(const aq_stream *s, aq_stream_info *out) {
  memset(out, 0, sizeof(*out));
  out->id = s->qid;
  out->conn = s->conn->id;
  out->uni = s->uni;
  out->incoming = s->incoming;
  out->finished = s->finished;
  out->fin_received = s->fin_received;
  out->fin_acked = s->finished && s->fin_acked;
  out->reset_code = s->reset_code;
  out->stop_code = s->stop_code;
  out->bytes_written = s->tx.end;
  out->bytes_read = s->bytes_read;
  out->bytes_acked = s->tx.begin;
  out->send_queued = s->forgotten ? 0 : (size_t)(s->tx.end - s->tx.begin);
  out->recv_queued = (size_t)(s->rx.end - s->rx.begin);
  out->priority = s->priority;
}

/* ---- datagrams ---------------------------------------------------------- */

int aq_conn_datagram_send(aq_conn *c, const uint8_t *data, size_t len) {
  if (c->phase != AQ_CONN_OPEN) {
    return c->phase == AQ_CONN_HANDSHAKE ? AQ_ERR_AGAIN : AQ_ERR_CLOSED;
  }
  if (!c->dgram_supported) {
    return AQ_ERR_UNSUPPORTED;
  }
  if (len > aq_conn_max_datagram(c)) {
    return AQ_ERR_TOO_LARGE;
  }
  int err = aq_dgram_push(&c->dgram_tx, data, len);
  if (err == AQ_ERR_AGAIN) {
    c->dgram_want = 1;
  }
  if (err == 0) {
    c->dirty = 1;
  }
  return err;
}

int aq_conn_datagram_receive(aq_conn *c, uint8_t *buf, size_t cap,
                             size_t *len) {
  const aq_dgram *d = c->dgram_rx.head;
  *len = 0;
  if (d == NULL) {
    return aq_conn_is_open(c) ? AQ_ERR_AGAIN : AQ_ERR_CLOSED;
  }
  *len = d->len;
  if (d->len > cap) {
    return AQ_ERR_TOO_LARGE;
  }
  if (d->len > 0) {
    memcpy(buf, d->data, d->len);
  }
  aq_dgram_pop(&c->dgram_rx);
  return 0;
}

/* ---- extension frames --------------------------------------------------- */

int aq_conn_send_frame(aq_conn *c, const aq_frame *f) {
  if (!aq_conn_is_open(c)) {
    return AQ_ERR_CLOSED;
  }
  if ((c->carrier.tx_kinds & (1u << f->kind)) == 0) {
    return AQ_ERR_UNSUPPORTED;
  }
  int err = aq_carrier_queue(&c->carrier, f);
  if (err == 0) {
    c->dirty = 1;
  }
  return err;
}

void aq_conn_ping_now(aq_conn *c, aq_tstamp now) {
  static const uint8_t ping = 0x01;
  aq_conn_clock(c, now);
  if (c->phase == AQ_CONN_OPEN &&
      aq_carrier_queue_raw(&c->carrier, &ping, 1, 0) == 0) {
    c->dirty = 1;
  }
}
