/* stream.h - the two byte queues of a stream, and who may send next.
 *
 * Layer:  quic
 * Owner:  the connection owns its streams; a stream owns its chunks
 * Time:   none
 * Spec:   RFC 9000 sections 2 to 4
 *
 * Bounds: the send queue by params.send_buffer; the receive queue by the
 * stream's flow-control window, which opens only as the application reads.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_STREAM_H
#define AQ_QUIC_STREAM_H

#include <ngtcp2/ngtcp2.h>

#include "base/list.h"
#include "quic/conn.h"

#define AQ_CHUNK_MIN 1024
#define AQ_CHUNK_MAX 16384
/* Idle chunks of AQ_CHUNK_MAX that a connection keeps for its next use. */
#define AQ_CHUNK_POOL 8

typedef struct aq_chunk {
  struct aq_chunk *next;
  uint64_t off; /* in the stream, of data[0] */
  uint32_t len; /* bytes used */
  uint32_t cap;
  uint8_t data[];
} aq_chunk;

/* Bytes [head->off, end) of a stream. */
typedef struct aq_bytes {
  aq_chunk *head, *tail;
  uint64_t begin; /* the first byte that is still wanted */
  uint64_t end;
} aq_bytes;

/* STREAM frames of one stream that may be unacknowledged: ngtcp2 ends the
 * connection when 8000 of them wait for retransmission. */
#define AQ_STREAM_FRAMES_MAX 6000

/* Priorities are clamped to this range; a higher one is sent first. */
#define AQ_PRIORITY_MIN (-16)
#define AQ_PRIORITY_MAX 15
#define AQ_PRIORITY_LEVELS 32

/* Edges that wait to become a notice. */
#define AQ_EDGE_READABLE 0x01u
#define AQ_EDGE_WRITABLE 0x02u
#define AQ_EDGE_CLOSED 0x04u
#define AQ_EDGE_INCOMING 0x08u

struct aq_stream {
  aq_conn *conn;
  aq_id id;
  int64_t qid;
  uint64_t bytes_read, reset_code, stop_code;
  aq_bytes tx, rx;
  aq_chunk *tx_at; /* chunk that holds tx_sent, NULL: look from tx.head */
  uint64_t tx_sent;
  /* An upper bound of the frames in flight: |frames_old| end at or before
   * |frames_mark|, |frames_new| after it. */
  uint64_t frames_mark;
  uint32_t frames_old, frames_new;
  int priority;
  uint8_t uni, incoming, control;
  uint8_t sends, receives; /* which sides there are */
  uint8_t finished, fin_sent, fin_acked;
  uint8_t fin_bare;  /* the end was sent without data */
  uint8_t forgotten; /* what is queued no longer counts */
  uint8_t reset_sent, stopped, stop_sent;
  uint8_t fin_received, reset_received, end_read;
  uint8_t blocked;     /* by flow control: not in a ready list */
  uint8_t want_write;  /* AGAIN was returned */
  uint8_t quic_closed; /* ngtcp2 has forgotten it */
  uint8_t released;    /* the application has forgotten it */
  uint8_t edges;
  aq_list all_link;   /* conn->streams */
  aq_list ready_link; /* conn->ready[level] or conn->blocked */
  aq_list edge_link;  /* conn->edges */
  aq_list wait_link;  /* conn->incoming */
};

/* aq_stream_new makes one and puts it into the id map (not for |control|).
 * Returns NULL when there is no memory. */
aq_stream *aq_stream_new(aq_conn *c, int64_t qid, int incoming, int control);
/* aq_stream_del frees it; ngtcp2 must have forgotten it or be going away. */
void aq_stream_del(aq_stream *s);

/* What ngtcp2's callbacks tell. 0 or AQ_ERR_NOMEM. */
int aq_stream_on_data(aq_stream *s, const uint8_t *data, size_t len, int fin);
/* |upto| is the end of what is acknowledged without gaps; |len| as ngtcp2
 * said: 0 for an end without data. */
void aq_stream_on_acked(aq_stream *s, uint64_t upto, size_t len);
void aq_stream_on_reset(aq_stream *s, uint64_t code);
void aq_stream_on_stopped(aq_stream *s, uint64_t code);
void aq_stream_on_closed(aq_stream *s);

/* aq_stream_schedule puts it into its ready list, or takes it out. */
void aq_stream_schedule(aq_stream *s);
void aq_stream_block(aq_stream *s);
void aq_stream_unblock(aq_stream *s);
/* The ready stream that comes next, NULL when none. */
aq_stream *aq_stream_next_ready(aq_conn *c);
/* aq_stream_vec describes unsent bytes, |max| at most; *len their sum. */
size_t aq_stream_vec(aq_stream *s, ngtcp2_vec *v, size_t nv, size_t max,
                     size_t *len);
/* aq_stream_sent: ngtcp2 took |len| bytes (and the end). */
void aq_stream_sent(aq_stream *s, size_t len, int fin);

void aq_stream_edge(aq_stream *s, unsigned edge);

/* aq_stream_append queues bytes; less than |len| when memory ran out. */
size_t aq_stream_append(aq_stream *s, const uint8_t *data, size_t len);
/* aq_stream_read_bytes moves received bytes out. */
size_t aq_stream_read_bytes(aq_stream *s, uint8_t *buf, size_t len);
/* aq_stream_discard_rx drops them; returns how many. */
size_t aq_stream_discard_rx(aq_stream *s);
/* aq_stream_forget_tx: nothing of it will be sent any more. */
void aq_stream_forget_tx(aq_stream *s);

#endif
