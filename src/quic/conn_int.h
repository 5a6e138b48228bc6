/* conn_int.h - the connection's struct, for src/quic/conn*.c and stream.c.
 *
 * Layer:  quic
 * Owner:  see conn.h
 * Time:   |now| only grows: conn_clock
 * Spec:   RFC 9000
 *
 * The callbacks of ngtcp2 (conn_cb.c) translate and queue, no more; whatever
 * must call ngtcp2 because of them is done by aq_conn_settle, after ngtcp2 has
 * returned.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_CONN_INT_H
#define AQ_QUIC_CONN_INT_H

#include "base/list.h"
#include "base/mem.h"
#include "base/time.h"
#include "quic/carrier.h"
#include "quic/conn.h"
#include "quic/dgram.h"
#include "quic/stream.h"

/* Connection IDs that may wait to become a notice. ngtcp2 keeps at most 8 of
 * ours, so that one call can add 8 and remove 8. */
#define AQ_CONN_CID_NOTICES 24
/* Unread bytes of the control stream, and unsent ones. */
#define AQ_CONN_CONTROL_MAX ((size_t)65536)
#define AQ_CONN_TOKEN_MAX 256
/* Room for a CONNECTION_CLOSE packet. */
#define AQ_CONN_CLOSE_MAX 1500
/* Local addresses that a client uses; those of paths long left make room. */
#define AQ_CONN_PATHS 4
/* Transmits that may go out again, and the longest of them; others are left to
 * the probe time-out. */
#define AQ_AGAIN_MAX 4
#define AQ_AGAIN_BYTES 4096

typedef enum aq_conn_phase {
  AQ_CONN_HANDSHAKE,
  AQ_CONN_OPEN,
  AQ_CONN_CLOSING,  /* we said it: repeat it when asked */
  AQ_CONN_DRAINING, /* the peer said it: be silent */
} aq_conn_phase;

typedef struct aq_again aq_again;

typedef struct aq_conn_cid_notice {
  ngtcp2_cid cid;
  uint8_t added;
} aq_conn_cid_notice;

/* Grouped by what belongs together; the padding is less than a cache line. */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
struct aq_conn {
  aq_conn_shared *shared;
  aq_mem mem;
  ngtcp2_mem nmem;
  ngtcp2_conn *q;
  aq_tls tls;
  aq_id id;
  aq_tstamp now;
  uint8_t phase; /* aq_conn_phase */
  uint8_t client;
  size_t unpaced; /* bytes of the initial burst that are used up */
  uint8_t dirty;  /* poll_transmit may have something to say */

  /* said by callbacks, done by aq_conn_settle */
  uint8_t completed, confirmed, stateless_reset;
  uint8_t new_token;            /* a server owes one */
  uint8_t was_confirmed;        /* the handshake is */
  uint8_t may_update;           /* and a packet was written after: keys may */
  uint64_t give_bidi, give_uni; /* streams the peer may open anew */
  uint64_t give_data;           /* bytes nobody will read */
  int fault;                    /* aq_error of a callback */
  uint64_t fault_code;          /* and the transport error code to send */
  const char *fault_text;

  /* waiting notices */
  aq_conn_cid_notice cid[AQ_CONN_CID_NOTICES];
  size_t cid_count;
  uint8_t say_established, say_confirmed, say_path, say_token, say_closed;
  uint8_t say_control, say_streams, say_dgram_rx, say_dgram_tx;
  aq_list edges;    /* aq_stream.edge_link */
  aq_list incoming; /* aq_stream.wait_link, not yet accepted */

  /* streams */
  aq_list streams;
  aq_list dead; /* aq_stream.all_link: to be freed by aq_conn_settle */
  aq_list ready[AQ_PRIORITY_LEVELS];
  uint32_t ready_mask;
  aq_list blocked;
  uint8_t conn_blocked;        /* the connection's credit held a stream back */
  uint8_t want_bidi, want_uni; /* open said AGAIN */
  uint64_t tx_unsent;          /* bytes queued in all streams */
  uint64_t tx_unacked;         /* bytes and ends not yet acknowledged */
  size_t chunk_bytes;
  aq_chunk *pool;
  size_t pool_count;

  /* control streams */
  uint8_t has_control;
  aq_stream *control_tx, *control_rx;
  uint8_t *control;
  size_t control_len, control_cap;

  /* datagrams */
  aq_dgram_queue dgram_tx, dgram_rx;
  uint8_t dgram_supported, dgram_want, dgram_turn;
  uint64_t dgram_next_id, dgram_sent, dgram_acked, dgram_lost;
  uint64_t dgram_received, dgram_dropped;

  aq_carrier carrier;
  aq_tparams remote_params;
  uint8_t have_remote_params;

  /* client: the local address of each socket, as ngtcp2 knows it */
  struct {
    uint32_t socket;
    aq_addr local;
  } path[AQ_CONN_PATHS];
  size_t path_count;
  aq_addr remote, local; /* of the current path */
  /* Where the peer was when it last proved to be there: the path in use may be
   * one that it only claims, until its validation is over. */
  aq_addr proven;
  /* Paths that were: ngtcp2 goes back to them without another validation. */
  struct {
    aq_addr remote;
    aq_tstamp at;
  } was_proven[AQ_CONN_PATHS];
  size_t was_next;
  /* The path is suspected: probes are saved, see aq_conn_spare. */
  uint8_t sparing;
  uint8_t allowed;    /* ... but so many packets may go, to another one */
  aq_tstamp probe_at; /* the next packet for the path in use */
  uint8_t moving; /* client: the path that it wants to move to is validated */
  uint8_t strays; /* the packet just written validates another path */
  aq_tstamp strayed_at;
  uint32_t socket;
  ngtcp2_cid odcid; /* server: what the client made up for us */

  uint8_t token[AQ_CONN_TOKEN_MAX];
  size_t token_len;
  aq_tstamp established, last_activity;
  uint64_t counted_packets, counted_pings; /* by ngtcp2, taken from the peer */
  aq_tstamp heard_at;                      /* on the path in use */
  aq_tstamp due; /* since when an answer is owed to us; 0: nothing is */
  uint8_t flows; /* AQ_CONN_FLOW_*, since the last look */
  uint8_t heard; /* any packet of the peer was taken */

  /* conn_again.c */
  aq_list again; /* aq_again */
  size_t again_count;
  aq_duration expected_rtt; /* of a handshake whose packets go out again */
  uint8_t answered;         /* a client's ClientHello was */
  uint8_t control_written;  /* in the transmit that is being made */
  uint64_t taken, given;    /* bytes; of use while the handshake runs */
  uint8_t copied;           /* ... copies among them, which ngtcp2 ignores */
  uint32_t repeated;        /* copies since the last look */

  /* the end */
  int close_error;
  uint64_t close_code;
  char close_text[120];
  uint8_t *close_pkt;
  aq_transmit close_transmit;
  uint8_t close_pending;
  uint32_t close_heard; /* packets since, for the exponential back-off */
  aq_tstamp linger_until;
};

/* conn.c */
void aq_conn_clock(aq_conn *c, aq_tstamp now);
void aq_conn_settle(aq_conn *c);
void aq_conn_cid_notify(aq_conn *c, const ngtcp2_cid *cid, int added);
int aq_conn_is_open(const aq_conn *c);
/* The current path's addresses, as ngtcp2 has them. */
void aq_conn_read_path(aq_conn *c, const ngtcp2_path *path);

/* conn_params.c: the hooks that TLS calls. */
extern const aq_tls_hooks aq_conn_tls_hooks;

/* conn_cb.c */
void aq_conn_set_callbacks(ngtcp2_callbacks *cb);
void aq_conn_fault(aq_conn *c, int err, uint64_t code, const char *text);

/* conn_path.c */
void aq_conn_make_path(const aq_conn *c, ngtcp2_path_storage *ps,
                       uint32_t socket, const aq_addr *local,
                       const aq_addr *remote);
/* The peer has proven to be at |remote|. */
void aq_conn_note_proven(aq_conn *c, const aq_addr *remote);
/* The path in use has changed: has the peer proven lately to be there? */
void aq_conn_recall_proven(aq_conn *c);
/* How many packets may be written now; less than all when it is sparing. */
size_t aq_conn_may_write(aq_conn *c);
/* Another path wants up to |n| packets. */
void aq_conn_allow(aq_conn *c, uint8_t n);
/* A datagram of |len| bytes was written: not a bare acknowledgement? */
void aq_conn_note_written(aq_conn *c, size_t len);
/* After packets went out or came in, on the path in use: is an answer owed? */
void aq_conn_note_due(aq_conn *c, uint64_t in_flight, int heard);

/* conn_again.c */
/* The datagram just written is one that a connection is waited for with: of a
 * handshake that is expected, or with bytes of the control stream. */
int aq_conn_again_wants(const aq_conn *c, const uint8_t *bytes);
/* |t| goes out again unless it is acknowledged soon. */
void aq_conn_again_keep(aq_conn *c, const aq_transmit *t, const uint8_t *bytes);
void aq_conn_again_drop(aq_conn *c);
/* A packet of the peer was taken; |in_flight| bytes still wait for theirs. */
void aq_conn_again_heard(aq_conn *c, uint64_t in_flight);
aq_tstamp aq_conn_again_next(const aq_conn *c);
/* 1: a copy that is due stands in |t| and |buf|. */
int aq_conn_again_poll(aq_conn *c, aq_transmit *t, uint8_t *buf);
/* How many bytes may go to an address that nobody has proven yet, copies
 * included (RFC 9000 section 8.1). */
uint64_t aq_conn_unproven_room(const aq_conn *c);

/* conn_close.c */
/* A result of ngtcp2_conn_read_pkt, _handle_expiry or _write that is not 0. */
void aq_conn_on_liberr(aq_conn *c, int rv);
/* aq_conn_shut sends CONNECTION_CLOSE and remembers why. */
void aq_conn_shut(aq_conn *c, const ngtcp2_ccerr *err, int error,
                  const char *text);
/* aq_conn_end without a packet. */
void aq_conn_end(aq_conn *c, int error, uint64_t code, const char *text,
                 size_t textlen);
void aq_conn_closing_heard(aq_conn *c);
int aq_conn_closing_transmit(aq_conn *c, aq_transmit *t, uint8_t *buf,
                             size_t cap);

/* conn_stream.c */
/* Returns 0 or AQ_ERR_NOMEM. */
int aq_conn_on_control(aq_conn *c, const uint8_t *data, size_t len, int fin);
/* The peer ended a control stream: a connection error. */
void aq_conn_on_control_gone(aq_conn *c);
int aq_conn_open_control(aq_conn *c);
/* aq_conn_stream_opened: the peer opened one. NULL: no memory. */
aq_stream *aq_conn_stream_opened(aq_conn *c, int64_t qid);
void aq_conn_stream_closed(aq_conn *c, aq_stream *s);
/* The peer gets its credit for a stream back. */
void aq_conn_give_stream(aq_conn *c, int64_t qid);

/* conn_info.c */
size_t aq_conn_max_datagram(const aq_conn *c);
/* The socket that |path| was made for. */
uint32_t aq_conn_path_socket(const aq_conn *c, const ngtcp2_path *path);

#endif
