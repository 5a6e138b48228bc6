/* conn.h - one QUIC connection: an ngtcp2_conn with its TLS, streams,
 * datagrams, control stream and extension frames. Fed and drained; nothing
 * calls back.
 *
 * Layer:  quic (no socket, no clock)
 * Owner:  aq_endpoint creates and deletes it; it owns its streams
 * Time:   |now| is passed to every entry point that can change state
 * Spec:   RFC 9000, 9001, 9002, 9221; docs/protocol.md sections 1 to 3
 *
 * After any call that takes |now|, drain aq_conn_poll_notice.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_CONN_H
#define AQ_QUIC_CONN_H

#include <ngtcp2/ngtcp2.h>

#include "base/idmap.h"
#include "proto/frame.h"
#include "proto/tparam.h"
#include "quic/crypto.h"
#include "quic/tls.h"

typedef struct aq_conn aq_conn;
typedef struct aq_stream aq_stream;

#define AQ_CID_LEN 8         /* of every connection ID that we choose */
#define AQ_KIND_STREAM 0x51u /* of streams in aq_conn_shared.streams */

/* What all connections of an endpoint share; borrowed, outlives them. */
typedef struct aq_conn_shared {
  aq_endpoint_params params;
  aq_env env;
  aq_tls_ctx *tls;
  aq_crypto_secrets secrets;
  aq_idmap *streams;      /* aq_id -> aq_stream */
  uint32_t dials;         /* outgoing handshakes now: antquic_control flag */
  uint8_t coordinates;    /* a coordinator: antquic_control flag */
  aq_duration keep_alive; /* where the parameter is AUTO */
} aq_conn_shared;

typedef struct aq_conn_params {
  aq_id id;
  uint32_t socket;
  aq_addr local, remote;
  /* client */
  const char *alpn;         /* NULL: all of the endpoint's own */
  uint8_t coordination;     /* offer AQ_ALPN_COORDINATION as well */
  const aq_peer_id *expect; /* NULL: any key */
  aq_duration initial_rtt;  /* 0: RFC 9002's 333 ms */
  aq_duration handshake_timeout;
  const uint8_t *token; /* from an earlier NEW_TOKEN, or NULL */
  size_t tokenlen;
  /* server: from the demultiplexer */
  const ngtcp2_pkt_hd *hd;
  const ngtcp2_cid *retry_odcid; /* original dcid when a Retry token proved
                                    the address, else NULL */
  int token_type;                /* ngtcp2_token_type of hd's token */
} aq_conn_params;

/* The first connection IDs (ours; for a server also the one that the client
 * made up) are told as AQ_NOTICE_CID_ADDED right after creation. The client's
 * is never told as removed: aq_conn_get_cids gives all when one is deleted.
 * Returns 0, AQ_ERR_NOMEM, AQ_ERR_TLS, AQ_ERR_INTERNAL. */
int aq_conn_new_client(aq_conn **pc, aq_conn_shared *shared, aq_tstamp now,
                       const aq_conn_params *p);
int aq_conn_new_server(aq_conn **pc, aq_conn_shared *shared, aq_tstamp now,
                       const aq_conn_params *p);
/* aq_conn_del frees it and its streams, whose ids become stale. */
void aq_conn_del(aq_conn *c);

/* All connection IDs that name it now. Returns how many, fills |max|. */
size_t aq_conn_get_cids(const aq_conn *c, ngtcp2_cid *out, size_t max);

typedef enum aq_conn_verdict {
  AQ_CONN_OK,
  AQ_CONN_SEND_RETRY, /* server: answer with Retry, delete the connection */
  AQ_CONN_DROP        /* delete it silently */
} aq_conn_verdict;
/* aq_conn_handle_packet feeds one UDP payload. */
aq_conn_verdict aq_conn_handle_packet(aq_conn *c, aq_tstamp now,
                                      uint32_t socket, const aq_addr *local,
                                      const aq_addr *remote, uint8_t ecn,
                                      const uint8_t *data, size_t len);
void aq_conn_handle_timeout(aq_conn *c, aq_tstamp now);
aq_tstamp aq_conn_next_timeout(const aq_conn *c);
/* The largest packet, on loopback. */
#define AQ_CONN_MAX_UDP_PAYLOAD 64900
/* 1: |t| and |buf| hold packets to send, 0: nothing now. |cap|: at least
 * AQ_CONN_MAX_UDP_PAYLOAD. */
int aq_conn_poll_transmit(aq_conn *c, aq_tstamp now, aq_transmit *t,
                          uint8_t *buf, size_t cap);
/* 1 when poll_transmit may have something to say. */
int aq_conn_wants_write(const aq_conn *c);

typedef enum aq_notice_kind {
  AQ_NOTICE_NONE,
  AQ_NOTICE_ESTABLISHED, /* handshake complete, key proven, streams work */
  AQ_NOTICE_CONFIRMED,   /* RFC 9001 4.1.2 */
  AQ_NOTICE_CID_ADDED,   /* |cid| now names this connection */
  AQ_NOTICE_CID_REMOVED,
  AQ_NOTICE_FRAME,   /* an extension frame, negotiated and well-formed */
  AQ_NOTICE_CONTROL, /* bytes wait in the control stream */
  AQ_NOTICE_STREAM_INCOMING,
  AQ_NOTICE_STREAM_READABLE,
  AQ_NOTICE_STREAM_WRITABLE,
  AQ_NOTICE_STREAM_CLOSED,
  AQ_NOTICE_STREAMS_AVAILABLE,
  AQ_NOTICE_DATAGRAM_READABLE,
  AQ_NOTICE_DATAGRAM_WRITABLE,
  AQ_NOTICE_PATH_CHANGED, /* |remote|: the peer moved, or we did */
  AQ_NOTICE_TOKEN,        /* a NEW_TOKEN: aq_conn_get_token */
  AQ_NOTICE_CLOSED        /* once, last: |error|, |code|, |text| */
} aq_notice_kind;

typedef struct aq_notice {
  aq_notice_kind kind;
  aq_id stream;
  ngtcp2_cid cid;
  aq_frame frame;
  aq_addr remote, local;
  int error;      /* CLOSED: 0 when we closed it ourselves */
  uint64_t code;  /* application or transport error code */
  char text[120]; /* the reason phrase or words of ours */
} aq_notice;
int aq_conn_poll_notice(aq_conn *c, aq_notice *out);

/* After CLOSED the connection may still have to answer packets (closing and
 * draining, RFC 9000 10.2): delete it when this time has come. */
aq_tstamp aq_conn_linger_until(const aq_conn *c);

aq_id aq_conn_id(const aq_conn *c);
void aq_conn_get_info_of(const aq_conn *c, aq_tstamp now, aq_conn_info *out);
const aq_tparams *aq_conn_remote_params(const aq_conn *c);
int aq_conn_is_closed(const aq_conn *c);
const aq_peer_id *aq_conn_peer(const aq_conn *c); /* NULL before proven */
uint32_t aq_conn_socket(const aq_conn *c);        /* of the path in use */
/* aq_conn_proven: where the peer has proven to be, by the handshake or by a
 * path validation; the path in use may be only claimed yet. Others may be told
 * of this one. */
const aq_addr *aq_conn_proven(const aq_conn *c);
/* Extension frames that came and found no room since the last call. */
uint64_t aq_conn_take_frames_lost(aq_conn *c);
/* The path in use is not proven yet, or we try to move to another one. */
int aq_conn_is_migrating(const aq_conn *c);
const uint8_t *aq_conn_get_token(const aq_conn *c, size_t *len);

/* Immediate close. |app|: CONNECTION_CLOSE 0x1d with an application code, else
 * 0x1c with a transport code. Pending CONNECTION_CLOSE comes out of
 * poll_transmit. */
void aq_conn_close_with(aq_conn *c, aq_tstamp now, int app, uint64_t code,
                        const char *reason, size_t len);
/* aq_conn_nudge: there is a sign that the way to the peer is open now. What
 * waits for an answer goes out once more. */
void aq_conn_nudge(aq_conn *c, aq_tstamp now);
/* How many datagrams went out again since the last call. */
uint32_t aq_conn_take_repeated(aq_conn *c);
void aq_conn_ping_now(aq_conn *c, aq_tstamp now);
void aq_conn_keep_alive(aq_conn *c, aq_duration interval);
/* AQ_ERR_AGAIN before the handshake is confirmed, and until a packet showed
 * that the last update was taken. */
int aq_conn_key_update(aq_conn *c, aq_tstamp now);
int aq_conn_flushed(const aq_conn *c);

/* ---- extension frames: the carrier's two functions ---------------------- */

/* aq_conn_send_frame queues one; it is retransmitted until acknowledged,
 * unless a newer one of its kind (OBSERVED_ADDRESS) or a REMOVE_ADDRESS of the
 * same sequence made it stale. Returns 0, AQ_ERR_UNSUPPORTED (not negotiated)
 * or AQ_ERR_LIMIT (too many unacknowledged). The other one is
 * AQ_NOTICE_FRAME. */
int aq_conn_send_frame(aq_conn *c, const aq_frame *f);

/* ---- control stream (docs/protocol.md section 3) ------------------------- */

/* aq_conn_has_control: both sides sent antquic_control. */
int aq_conn_has_control(const aq_conn *c);
/* Returns 0, AQ_ERR_UNSUPPORTED, AQ_ERR_AGAIN (more than 64 KiB wait). */
int aq_conn_control_write(aq_conn *c, const uint8_t *data, size_t len);
/* The unread bytes, borrowed until the next call; consume gives back credit. */
size_t aq_conn_control_peek(const aq_conn *c, const uint8_t **data);
void aq_conn_control_consume(aq_conn *c, size_t len);

/* ---- streams and datagrams: the public calls by pointer ----------------- */

/* Priorities -16 to 15 count, others are clamped; a higher one goes first.
 * A stream that the peer opened gives the peer its credit for another one back
 * when it is closed and dropped (aq_stream_drop). */
int aq_conn_open_stream(aq_conn *c, int uni, int priority, aq_id *out);
int aq_conn_accept_stream(aq_conn *c, aq_id *out);
aq_conn *aq_stream_conn(aq_stream *s);
int aq_stream_put(aq_stream *s, const uint8_t *data, size_t len,
                  size_t *written);
int aq_stream_put_fin(aq_stream *s);
int aq_stream_get(aq_stream *s, uint8_t *buf, size_t len, size_t *nread);
size_t aq_stream_waiting(const aq_stream *s);
int aq_stream_reset_now(aq_stream *s, uint64_t code);
int aq_stream_stop_now(aq_stream *s, uint64_t code);
void aq_stream_priority(aq_stream *s, int priority);
void aq_stream_drop(aq_stream *s);
void aq_stream_info_of(const aq_stream *s, aq_stream_info *out);
int aq_conn_datagram_send(aq_conn *c, const uint8_t *data, size_t len);
int aq_conn_datagram_receive(aq_conn *c, uint8_t *buf, size_t cap, size_t *len);

/* ---- paths ----------------------------------------------------------------
 */

/* aq_conn_migrate (client): validate |remote| from |socket|, which is bound to
 * |local|, then move there; nothing moves unless the peer proves to be there.
 * Another attempt that runs is given up. Returns 0 or AQ_ERR_INVAL (server, or
 * the socket of the path in use), AQ_ERR_AGAIN (no spare connection ID: the
 * peer gives 7, and new ones only over a path that works). */
int aq_conn_migrate(aq_conn *c, aq_tstamp now, uint32_t socket,
                    const aq_addr *local, const aq_addr *remote);
/* aq_conn_spare: the path seems dead. With a full congestion window the
 * transport sends nothing but what a probe time-out allows, path validation
 * included, and those get rarer. So of each two probes one is kept until there
 * is another path to validate. */
void aq_conn_spare(aq_conn *c, int on);
/* aq_conn_due_since: an answer of the peer is due since then: the later of the
 * last packet that came on the path in use and the first that waits for its
 * acknowledgement. AQ_NEVER: nothing waits. */
aq_tstamp aq_conn_due_since(const aq_conn *c);
/* When the last packet came on the path in use; 0: none did. */
aq_tstamp aq_conn_heard_at(const aq_conn *c);
aq_duration aq_conn_pto(const aq_conn *c);
/* aq_conn_take_flow: what the application's data did since the last call. */
#define AQ_CONN_FLOW_STREAM 1u   /* stream data came or went */
#define AQ_CONN_FLOW_DATAGRAM 2u /* a datagram came */
unsigned aq_conn_take_flow(aq_conn *c);
/* aq_conn_awaits_data: there is a stream that the peer has not ended and that
 * the application still reads. */
int aq_conn_awaits_data(const aq_conn *c);

#endif
