/* stream.c - the two byte queues of a stream, and who may send next.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/stream.h"

#include "quic/conn_int.h"

#include <assert.h>
#include <string.h>

/* ---- chunks ----------------------------------------------------------------
 */

static aq_chunk *chunk_new(aq_conn *c, size_t want) {
  size_t cap = want < AQ_CHUNK_MIN   ? AQ_CHUNK_MIN
               : want > AQ_CHUNK_MAX ? AQ_CHUNK_MAX
                                     : want;
  aq_chunk *k = NULL;
  if (cap == AQ_CHUNK_MAX && c->pool != NULL) {
    k = c->pool;
    c->pool = k->next;
    c->pool_count--;
  } else {
    k = aq_mem_resize(&c->mem, NULL, sizeof(*k) + cap);
    if (k == NULL) {
      return NULL;
    }
  }
  k->next = NULL;
  k->off = 0;
  k->len = 0;
  k->cap = (uint32_t)cap;
  c->chunk_bytes += cap;
  return k;
}

static void chunk_del(aq_conn *c, aq_chunk *k) {
  c->chunk_bytes -= k->cap;
  if (k->cap == AQ_CHUNK_MAX && c->pool_count < AQ_CHUNK_POOL) {
    k->next = c->pool;
    c->pool = k;
    c->pool_count++;
    return;
  }
  aq_mem_free(&c->mem, k);
}

/* Returns how much was appended: less than |len| when memory ran out. */
static size_t bytes_append(aq_conn *c, aq_bytes *b, const uint8_t *data,
                           size_t len) {
  size_t done = 0;
  while (done < len) {
    aq_chunk *k = b->tail;
    if (k == NULL || k->len == k->cap) {
      /* A queue that goes on growing gets full chunks. */
      size_t want = k != NULL ? AQ_CHUNK_MAX : len - done;
      k = chunk_new(c, want);
      if (k == NULL) {
        break;
      }
      k->off = b->end;
      if (b->tail != NULL) {
        b->tail->next = k;
      } else {
        b->head = k;
      }
      b->tail = k;
    }
    size_t n = k->cap - k->len;
    if (n > len - done) {
      n = len - done;
    }
    memcpy(k->data + k->len, data + done, n);
    k->len += (uint32_t)n;
    b->end += n;
    done += n;
  }
  return done;
}

/* Frees the chunks that lie wholly before |begin|. */
static void bytes_trim(aq_conn *c, aq_bytes *b, uint64_t begin) {
  b->begin = begin;
  while (b->head != NULL && b->head->off + b->head->len <= begin) {
    aq_chunk *k = b->head;
    b->head = k->next;
    if (b->head == NULL) {
      b->tail = NULL;
    }
    chunk_del(c, k);
  }
}

static void bytes_free(aq_conn *c, aq_bytes *b) {
  while (b->head != NULL) {
    aq_chunk *k = b->head;
    b->head = k->next;
    chunk_del(c, k);
  }
  b->tail = NULL;
  b->begin = b->end;
}

/* ---- life -------------------------------------------------------------------
 */

aq_stream *aq_stream_new(aq_conn *c, int64_t qid, int incoming, int control) {
  aq_stream *s = aq_mem_alloc(&c->mem, sizeof(*s));
  if (s == NULL) {
    return NULL;
  }
  s->conn = c;
  s->qid = qid;
  s->uni = !ngtcp2_is_bidi_stream(qid);
  s->incoming = (uint8_t)(incoming != 0);
  s->control = (uint8_t)(control != 0);
  s->sends = !(s->uni && incoming);
  s->receives = !(s->uni && !incoming);
  aq_list_init(&s->all_link);
  aq_list_init(&s->ready_link);
  aq_list_init(&s->edge_link);
  aq_list_init(&s->wait_link);
  if (!control &&
      aq_idmap_add(c->shared->streams, AQ_KIND_STREAM, s, &s->id) != 0) {
    aq_mem_free(&c->mem, s);
    return NULL;
  }
  aq_list_push_back(&c->streams, &s->all_link);
  return s;
}

/* What is queued no longer counts for the connection. */
static void stream_forget_tx(aq_stream *s) {
  aq_conn *c = s->conn;
  if (s->forgotten) {
    return;
  }
  s->forgotten = 1;
  c->tx_unsent -= s->tx.end - s->tx_sent;
  c->tx_unacked -= s->tx.end - s->tx.begin;
  if (s->finished && !s->fin_acked) {
    c->tx_unacked--;
    s->fin_acked = 1;
  }
  s->tx_sent = s->tx.end;
  s->tx_at = NULL;
}

void aq_stream_del(aq_stream *s) {
  aq_conn *c = s->conn;
  stream_forget_tx(s);
  bytes_free(c, &s->tx);
  bytes_free(c, &s->rx);
  if (s->id != 0) {
    aq_idmap_remove(c->shared->streams, s->id);
  }
  if (aq_list_is_linked(&s->wait_link)) {
    aq_list_remove(&s->wait_link);
  }
  aq_list_remove(&s->all_link);
  aq_list_remove(&s->edge_link);
  s->finished = 0;
  s->reset_sent = 1;
  aq_stream_schedule(s);
  if (c->control_tx == s) {
    c->control_tx = NULL;
  }
  if (c->control_rx == s) {
    c->control_rx = NULL;
  }
  aq_mem_free(&c->mem, s);
}

void aq_stream_edge(aq_stream *s, unsigned edge) {
  if (s->control || s->released) {
    return;
  }
  s->edges |= (uint8_t)edge;
  if (!aq_list_is_linked(&s->edge_link)) {
    aq_list_push_back(&s->conn->edges, &s->edge_link);
  }
}

/* ---- scheduling --------------------------------------------------------- */

static unsigned stream_level(const aq_stream *s) {
  int p = s->priority;
  if (s->control) {
    return AQ_PRIORITY_LEVELS - 1;
  }
  p = p < AQ_PRIORITY_MIN ? AQ_PRIORITY_MIN : p;
  p = p > AQ_PRIORITY_MAX ? AQ_PRIORITY_MAX : p;
  return (unsigned)(p - AQ_PRIORITY_MIN);
}

/* Is there something that it would send now? */
static int wants_send(const aq_stream *s) {
  if (!s->sends || s->reset_sent || s->stopped || s->quic_closed) {
    return 0;
  }
  if (s->frames_old + s->frames_new >= AQ_STREAM_FRAMES_MAX) {
    return 0; /* until some are acknowledged */
  }
  return s->tx.end > s->tx_sent || (s->finished && !s->fin_sent);
}

static void stream_unlist(aq_stream *s) {
  aq_conn *c = s->conn;
  if (!aq_list_is_linked(&s->ready_link)) {
    return;
  }
  aq_list_remove(&s->ready_link);
  unsigned level = stream_level(s);
  if (aq_list_is_empty(&c->ready[level])) {
    c->ready_mask &= ~(UINT32_C(1) << level);
  }
}

void aq_stream_schedule(aq_stream *s) {
  aq_conn *c = s->conn;
  if (!wants_send(s)) {
    stream_unlist(s);
    s->blocked = 0;
    return;
  }
  if (aq_list_is_linked(&s->ready_link)) {
    return;
  }
  unsigned level = stream_level(s);
  aq_list_push_back(&c->ready[level], &s->ready_link);
  c->ready_mask |= UINT32_C(1) << level;
  c->dirty = 1;
}

void aq_stream_block(aq_stream *s) {
  stream_unlist(s);
  s->blocked = 1;
  aq_list_push_back(&s->conn->blocked, &s->ready_link);
}

void aq_stream_unblock(aq_stream *s) {
  if (!s->blocked) {
    return;
  }
  s->blocked = 0;
  aq_list_remove(&s->ready_link);
  aq_stream_schedule(s);
}

aq_stream *aq_stream_next_ready(aq_conn *c) {
  if (c->ready_mask == 0) {
    return NULL;
  }
  unsigned level = 31u - (unsigned)__builtin_clz(c->ready_mask);
  aq_list *node = aq_list_first(&c->ready[level]);
  assert(node != NULL);
  return aq_list_entry(node, aq_stream, ready_link);
}

size_t aq_stream_vec(aq_stream *s, ngtcp2_vec *v, size_t nv, size_t max,
                     size_t *len) {
  size_t n = 0;
  uint64_t at = s->tx_sent;
  aq_chunk *k = s->tx_at != NULL ? s->tx_at : s->tx.head;
  *len = 0;
  while (k != NULL && k->off + k->len <= at) {
    k = k->next;
  }
  s->tx_at = k;
  for (; k != NULL && n < nv && *len < max; k = k->next) {
    size_t skip = (size_t)(at - k->off);
    size_t have = k->len - skip;
    if (have == 0) {
      break;
    }
    if (have > max - *len) {
      have = max - *len;
    }
    v[n].base = k->data + skip;
    v[n].len = have;
    n++;
    *len += have;
    at += have;
  }
  return n;
}

void aq_stream_sent(aq_stream *s, size_t len, int fin) {
  aq_conn *c = s->conn;
  s->tx_sent += len;
  s->frames_new++;
  c->tx_unsent -= len;
  if (fin) {
    s->fin_sent = 1;
    s->fin_bare = len == 0;
  }
  /* Round robin: behind those of the same priority. */
  stream_unlist(s);
  aq_stream_schedule(s);
}

/* ---- what the peer did -------------------------------------------------- */

int aq_stream_on_data(aq_stream *s, const uint8_t *data, size_t len, int fin) {
  aq_conn *c = s->conn;
  if (s->control) {
    return aq_conn_on_control(c, data, len, fin);
  }
  if (fin) {
    s->fin_received = 1;
  }
  if (s->released || s->stop_sent) {
    c->give_data += len;
  } else if (bytes_append(c, &s->rx, data, len) != len) {
    return AQ_ERR_NOMEM;
  }
  aq_stream_edge(s, AQ_EDGE_READABLE);
  return 0;
}

void aq_stream_on_acked(aq_stream *s, uint64_t upto, size_t len) {
  aq_conn *c = s->conn;
  if (s->forgotten) {
    return;
  }
  if (upto > s->tx.begin && upto <= s->tx_sent) {
    c->tx_unacked -= upto - s->tx.begin;
    if (s->tx_at != NULL && s->tx_at->off + s->tx_at->len <= upto) {
      s->tx_at = NULL; /* it goes */
    }
    bytes_trim(c, &s->tx, upto);
    if (upto >= s->frames_mark) {
      s->frames_old = s->frames_new;
      s->frames_new = 0;
      s->frames_mark = s->tx_sent;
      aq_stream_schedule(s);
    }
  }
  /* An end that travelled without data is acknowledged without data. */
  if (s->fin_sent && !s->fin_acked && upto == s->tx.end &&
      (!s->fin_bare || len == 0)) {
    s->fin_acked = 1;
    c->tx_unacked--;
  }
  if (s->want_write &&
      s->tx.end - s->tx.begin <= c->shared->params.send_buffer / 2) {
    s->want_write = 0;
    aq_stream_edge(s, AQ_EDGE_WRITABLE);
  }
}

void aq_stream_on_reset(aq_stream *s, uint64_t code) {
  if (s->control) {
    aq_conn_on_control_gone(s->conn);
    return;
  }
  if (s->reset_received || s->end_read) {
    return;
  }
  s->reset_received = 1;
  s->reset_code = code;
  aq_stream_edge(s, AQ_EDGE_READABLE);
}

void aq_stream_on_stopped(aq_stream *s, uint64_t code) {
  if (s->control) {
    aq_conn_on_control_gone(s->conn);
    return;
  }
  s->stopped = 1;
  s->stop_code = code;
  aq_stream_forget_tx(s);
  aq_stream_edge(s, AQ_EDGE_WRITABLE);
}

void aq_stream_on_closed(aq_stream *s) {
  s->quic_closed = 1;
  aq_stream_forget_tx(s);
  bytes_free(s->conn, &s->tx);
  aq_stream_edge(s, AQ_EDGE_CLOSED);
}

size_t aq_stream_read_bytes(aq_stream *s, uint8_t *buf, size_t len) {
  size_t done = 0;
  while (done < len && s->rx.head != NULL) {
    aq_chunk *k = s->rx.head;
    size_t skip = (size_t)(s->rx.begin - k->off);
    size_t n = k->len - skip;
    if (n > len - done) {
      n = len - done;
    }
    memcpy(buf + done, k->data + skip, n);
    done += n;
    bytes_trim(s->conn, &s->rx, s->rx.begin + n);
  }
  return done;
}

size_t aq_stream_discard_rx(aq_stream *s) {
  size_t n = (size_t)(s->rx.end - s->rx.begin);
  bytes_free(s->conn, &s->rx);
  return n;
}

size_t aq_stream_append(aq_stream *s, const uint8_t *data, size_t len) {
  size_t n = bytes_append(s->conn, &s->tx, data, len);
  s->conn->tx_unsent += n;
  s->conn->tx_unacked += n;
  return n;
}

void aq_stream_forget_tx(aq_stream *s) {
  stream_forget_tx(s);
  stream_unlist(s);
  s->blocked = 0;
  s->want_write = 0;
}

void aq_stream_priority(aq_stream *s, int priority) {
  int listed = aq_list_is_linked(&s->ready_link) && !s->blocked;
  if (listed) {
    stream_unlist(s);
  }
  s->priority = priority;
  if (listed) {
    aq_stream_schedule(s);
  }
}
