/* conn_write.c - fills packets: extension frames, the control stream,
 * datagrams and streams, as many packets of one size as may go at once.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/conn_int.h"

#include "base/addr.h"

#include <string.h>

/* Linux takes 64 segments and one UDP payload's length per call. */
#define WRITE_MAX_PACKETS 64
#define WRITE_MAX_BYTES 65507
#define WRITE_INITIAL_BURST 12000 /* ten packets of 1200, RFC 9002 7.2 */
#define WRITE_VECS 8
/* Streams that one packet may hold: bounds the work of a call. */
#define WRITE_MAX_STREAMS 256

typedef struct write_packet {
  aq_conn *c;
  ngtcp2_path *path;
  ngtcp2_pkt_info *pi;
  uint8_t *dest;
  size_t cap;
  ngtcp2_tstamp ts;
  uint64_t credit; /* of the connection, RFC 9000 section 4.1 */
  uint32_t flags;
  int streams;
} write_packet;

/* Each step returns the length of a finished packet, NGTCP2_ERR_WRITE_MORE
 * when there is room for more, 0 when nothing can go, or an error. */

static ngtcp2_ssize write_extension(write_packet *w, int slot) {
  aq_carrier *cr = &w->c->carrier;
  int accepted = 0;
  ngtcp2_vec v = {cr->out[slot].bytes, cr->out[slot].len};
  uint64_t id = aq_carrier_offer(cr, slot);
  ngtcp2_ssize n = ngtcp2_conn_writev_datagram(
      w->c->q, w->path, w->pi, w->dest, w->cap, &accepted,
      NGTCP2_WRITE_DATAGRAM_FLAG_MORE, id, &v, 1, w->ts);
  aq_carrier_result(cr, slot, accepted);
  return n;
}

static ngtcp2_ssize write_datagram(write_packet *w) {
  aq_conn *c = w->c;
  aq_dgram *d = c->dgram_tx.head;
  int accepted = 0;
  ngtcp2_vec v = {d->data, d->len};
  ngtcp2_ssize n = ngtcp2_conn_writev_datagram(
      c->q, w->path, w->pi, w->dest, w->cap, &accepted,
      NGTCP2_WRITE_DATAGRAM_FLAG_MORE, c->dgram_next_id, &v, 1, w->ts);
  if (accepted) {
    c->dgram_next_id++;
    c->dgram_sent++;
    aq_dgram_pop(&c->dgram_tx);
    if (c->dgram_want && c->dgram_tx.count <= c->dgram_tx.max / 2) {
      c->dgram_want = 0;
      c->say_dgram_tx = 1;
    }
  }
  return n;
}

static ngtcp2_ssize write_stream(write_packet *w, aq_stream *s) {
  aq_conn *c = w->c;
  ngtcp2_vec v[WRITE_VECS];
  ngtcp2_ssize took = -1;
  size_t len = 0;
  size_t nv = aq_stream_vec(s, v, WRITE_VECS, w->cap, &len);
  int fin = s->finished && s->tx_sent + len == s->tx.end;
  if (len > 0 && w->credit == 0) {
    c->conn_blocked = 1;
    aq_stream_block(s);
    return NGTCP2_ERR_WRITE_MORE;
  }
  ngtcp2_ssize n =
      ngtcp2_conn_writev_stream(c->q, w->path, w->pi, w->dest, w->cap, &took,
                                NGTCP2_WRITE_STREAM_FLAG_MORE | w->flags |
                                    (fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0),
                                s->qid, v, nv, w->ts);
  if (took >= 0) {
    c->control_written |= s->control;
    c->flows |= s->control ? 0 : AQ_CONN_FLOW_STREAM;
    w->credit -= (uint64_t)took < w->credit ? (uint64_t)took : w->credit;
    aq_stream_sent(s, (size_t)took, fin && (size_t)took == len);
    return n;
  }
  switch (n) {
  case NGTCP2_ERR_STREAM_DATA_BLOCKED:
    aq_stream_block(s);
    return NGTCP2_ERR_WRITE_MORE;
  case NGTCP2_ERR_STREAM_NOT_FOUND:
  case NGTCP2_ERR_STREAM_SHUT_WR:
    aq_stream_forget_tx(s);
    return NGTCP2_ERR_WRITE_MORE;
  default:
    return n;
  }
}

/* A datagram that no longer fits the path would block all behind it. */
static void drop_large_datagrams(aq_conn *c) {
  while (c->dgram_tx.head != NULL &&
         c->dgram_tx.head->len > aq_conn_max_datagram(c)) {
    c->dgram_sent++;
    c->dgram_lost++;
    aq_dgram_pop(&c->dgram_tx);
  }
}

static ngtcp2_ssize write_next(write_packet *w) {
  aq_conn *c = w->c;
  int slot = aq_carrier_next(&c->carrier);
  if (slot >= 0) {
    return write_extension(w, slot);
  }
  aq_stream *s =
      w->streams < WRITE_MAX_STREAMS ? aq_stream_next_ready(c) : NULL;
  int dgram = c->dgram_tx.head != NULL;
  if (dgram && (s == NULL || (c->dgram_turn && !s->control))) {
    return write_datagram(w);
  }
  if (s != NULL) {
    w->streams++;
    return write_stream(w, s);
  }
  return ngtcp2_conn_writev_stream(c->q, w->path, w->pi, w->dest, w->cap, NULL,
                                   w->flags, -1, NULL, 0, w->ts);
}

static int same_path(const ngtcp2_path *a, const ngtcp2_path *b) {
  return a->user_data == b->user_data && ngtcp2_path_eq(a, b);
}

static ngtcp2_ssize write_one(ngtcp2_conn *q, ngtcp2_path *path,
                              ngtcp2_pkt_info *pi, uint8_t *dest, size_t cap,
                              ngtcp2_tstamp ts, void *user) {
  aq_conn *c = user;
  write_packet w = {.c = c, .path = path, .pi = pi, .dest = dest, .cap = cap};
  w.ts = ts;
  ngtcp2_ssize n;
  if (c->phase == AQ_CONN_HANDSHAKE) {
    return ngtcp2_conn_write_pkt(q, path, pi, dest, cap, ts);
  }
  if (c->strays) { /* a batch has one path, and ngtcp2 doesn't look */
    return 0;
  }
  w.credit = ngtcp2_conn_get_max_data_left2(q);
  /* Full packets go out as one batch, if they are equally long. */
  size_t mtu = ngtcp2_conn_get_path_max_tx_udp_payload_size2(q);
  if (c->ready_mask != 0 && c->tx_unsent + c->dgram_tx.bytes >= mtu) {
    w.flags = NGTCP2_WRITE_STREAM_FLAG_PADDING;
  }
  drop_large_datagrams(c);
  c->dgram_turn = !c->dgram_turn;
  aq_carrier_begin_packet(&c->carrier);
  do {
    n = write_next(&w);
  } while (n == NGTCP2_ERR_WRITE_MORE);
  aq_carrier_begin_packet(&c->carrier);
  c->strays = n > 0 && !same_path(path, ngtcp2_conn_get_path2(q));
  return n;
}

static void transmit_fill(aq_conn *c, aq_transmit *t, const ngtcp2_path *path,
                          const ngtcp2_pkt_info *pi, size_t len,
                          size_t segment) {
  memset(t, 0, sizeof(*t));
  t->socket = aq_conn_path_socket(c, path);
  aq_addr_from_sockaddr(&t->remote, (const struct sockaddr *)path->remote.addr,
                        path->remote.addrlen);
  aq_addr_from_sockaddr(&t->local, (const struct sockaddr *)path->local.addr,
                        path->local.addrlen);
  t->ecn = (uint8_t)pi->ecn;
  t->len = len;
  t->segment = segment;
}

/* The first packets go without pacing (RFC 9002 section 7.7: a burst up to the
 * initial window), so that what follows a handshake at once, a request to a
 * coordinator most of all, does not wait. */
static void pace(aq_conn *c, ngtcp2_ssize n) {
  if (c->unpaced < WRITE_INITIAL_BURST) {
    c->unpaced += n > 0 ? (size_t)n : 0;
    return;
  }
  ngtcp2_conn_update_pkt_tx_time(c->q, c->now);
}

static uint64_t in_flight(const aq_conn *c) {
  ngtcp2_conn_info i;
  ngtcp2_conn_get_conn_info2(c->q, &i);
  return i.bytes_in_flight;
}

int aq_conn_poll_transmit(aq_conn *c, aq_tstamp now, aq_transmit *t,
                          uint8_t *buf, size_t cap) {
  aq_conn_clock(c, now);
  aq_conn_settle(c);
  if (!aq_conn_is_open(c)) {
    return aq_conn_closing_transmit(c, t, buf, cap);
  }
  ngtcp2_path_storage ps;
  ngtcp2_pkt_info pi = {0};
  size_t segment = 0;
  size_t mtu = ngtcp2_conn_get_path_max_tx_udp_payload_size2(c->q);
  size_t room = ngtcp2_conn_get_send_quantum2(c->q);
  size_t probe = ngtcp2_conn_get_max_tx_udp_payload_size2(c->q);
  room = room < mtu ? mtu : room;
  room = room < probe ? probe : room; /* or it would never be tried */
  room = room > WRITE_MAX_BYTES ? WRITE_MAX_BYTES : room;
  room = room > cap ? cap : room;
  if (room < mtu) {
    return 0; /* the caller's buffer is smaller than documented */
  }
  if (aq_conn_again_poll(c, t, buf)) {
    return 1;
  }
  size_t packets = aq_conn_may_write(c);
  if (aq_conn_unproven_room(c) / mtu < packets) {
    packets = (size_t)(aq_conn_unproven_room(c) / mtu);
  }
  if (packets == 0) {
    c->dirty = 0;
    return 0;
  }
  ngtcp2_path_storage_zero(&ps);
  c->strays = 0;
  uint64_t before = in_flight(c);
  c->control_written = 0;
  ngtcp2_ssize n = ngtcp2_conn_write_aggregate_pkt2(
      c->q, &ps.path, &pi, buf, room, &segment, write_one,
      packets < WRITE_MAX_PACKETS ? packets : WRITE_MAX_PACKETS, c->now);
  pace(c, n);
  c->may_update = n >= 0 && c->was_confirmed;
  if (n < 0) {
    aq_conn_on_liberr(c, (int)n);
    return aq_conn_closing_transmit(c, t, buf, cap);
  }
  if (n == 0) {
    c->dirty = 0;
    return 0;
  }
  c->strayed_at = c->strays ? c->now : c->strayed_at;
  uint64_t after = in_flight(c);
  aq_conn_note_due(c, after, 0);
  aq_conn_note_written(c, (size_t)n);
  transmit_fill(c, t, &ps.path, &pi, (size_t)n, segment);
  c->given += (size_t)n;
  if (after > before && aq_conn_again_wants(c, buf)) {
    aq_conn_again_keep(c, t, buf);
  }
  return 1;
}

int aq_conn_wants_write(const aq_conn *c) {
  return c->dirty != 0;
}
