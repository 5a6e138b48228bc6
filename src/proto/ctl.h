/* ctl.h - the control messages of docs/protocol.md, section 3: codec only.
 *
 * Layer:  proto (may include base/ and proto/)
 * Owner:  values of the caller; nothing is allocated
 * Time:   none
 * Spec:   docs/protocol.md section 3
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_PROTO_CTL_H
#define AQ_PROTO_CTL_H

#include "antquic.h"

/* A message is type varint, length varint, body. Unknown types are skipped,
 * a longer one than this is a connection error. */
#define AQ_CTL_MAX_BODY 2048
#define AQ_CTL_MAX (AQ_CTL_MAX_BODY + 16)
#define AQ_CTL_NONCE_LEN 16
#define AQ_CTL_SESSION_LEN 8
#define AQ_PUNCH_KEY_LEN 32

typedef enum aq_ctl_type {
  AQ_CTL_REGISTER = 0x01,   /* peer -> C: capabilities, candidates */
  AQ_CTL_REGISTERED = 0x02, /* C -> peer: capabilities, what C observed */
  AQ_CTL_REQUEST = 0x03,    /* I -> C: request, nonce, peer, candidates */
  AQ_CTL_ANSWER = 0x04,     /* C -> I: as an offer, with request */
  AQ_CTL_OFFER = 0x05,      /* C -> T: session, key, peer, candidates... */
  AQ_CTL_VETO = 0x06,       /* T -> C: session, error */
  AQ_CTL_ERROR = 0x07,      /* C -> I: request, error, retry_after */
  AQ_CTL_ACCEPTED = 0x08,   /* QUIC server -> client: this connection stays */
  AQ_CTL_CANCEL = 0x09,     /* I -> C -> T: request / session is over */
  AQ_CTL_HINT = 0x0a        /* I, T -> C -> the other: where a new socket is */
} aq_ctl_type;

#define AQ_CTL_TOKEN_LEN 8 /* of observation datagrams */
#define AQ_CTL_MAX_ALTERNATES 3

#define AQ_CTL_CAP_COORDINATE 0x01u
#define AQ_CTL_CAP_RELAY 0x02u

/* Typed errors on the wire (VETO, ERROR). */
typedef enum aq_ctl_error {
  AQ_CTL_ERR_UNKNOWN_TARGET = 1,
  AQ_CTL_ERR_REFUSED = 2,
  AQ_CTL_ERR_RATE_LIMITED = 3,
  AQ_CTL_ERR_EXPIRED = 4,
  AQ_CTL_ERR_NOT_ALLOWED = 5,
  AQ_CTL_ERR_OVERLOADED = 6,
  AQ_CTL_ERR_INTERNAL = 7,
  AQ_CTL_ERR_NO_CONNECTION = 8 /* a repair of what the target doesn't have */
} aq_ctl_error;

/* Durations on the wire are under 2^32 of their unit, so that turning them
 * into nanoseconds can't overflow; more is malformed. */
#define AQ_CTL_MAX_DURATION UINT64_C(0xffffffff)

/* aq_ctl is any control message; |type| says which members count. */
typedef struct aq_ctl {
  uint64_t type;
  uint64_t request; /* chosen by I, unique per connection to C */
  uint8_t nonce[AQ_CTL_NONCE_LEN];
  uint8_t session[AQ_CTL_SESSION_LEN]; /* chosen by C, names the punches */
  uint8_t key[AQ_PUNCH_KEY_LEN];       /* fresh, for the punch MAC */
  uint64_t capabilities;
  uint64_t error; /* aq_ctl_error */
  uint64_t retry_after_ms;
  uint64_t expiry_ms;      /* a duration, never wall clock */
  uint64_t start_delay_us; /* wait this long before the first datagram */
  uint64_t rtt_us;         /* C's estimate of the two peers' round trip:
                              the sum of its own to each */
  aq_peer_id peer;         /* T in REQUEST and ANSWER, I in OFFER */
  aq_addr observed;        /* REGISTERED: the receiver as C sees it; ANSWER and
                              OFFER: the same, so that both know whether they
                              share a public address; HINT: the sender's
                              socket, as C saw it (family 0 from the sender,
                              and when C has not seen the cookie) */
  uint64_t plan;           /* aq_plan */
  aq_nat_profile profile;  /* REGISTER, REQUEST: own; ANSWER, OFFER: the other
                              one's. No addresses. */
  uint8_t token[AQ_CTL_TOKEN_LEN]; /* REGISTERED: for observation datagrams */
  uint8_t observe_key[AQ_PUNCH_KEY_LEN];
  size_t alternate_count; /* REGISTERED: where C answers as well: other port,
                             other address, both */
  aq_addr alternate[AQ_CTL_MAX_ALTERNATES];
  uint64_t cookie; /* HINT: of the observation datagram that went from it */
  int64_t step;    /* HINT: further sockets' ports follow by this; 0: none */
  uint64_t count;  /* HINT: how many sockets wait */
  size_t cand_count;
  aq_candidate cand[AQ_MAX_CANDIDATES]; /* .addr .source .verified .priority */
} aq_ctl;

/* "REGISTER", "OFFER", ...; "unknown". */
const char *aq_ctl_name(uint64_t type);

/* aq_ctl_format writes one whole message. Returns its length, or 0 when |cap|
 * is too small or a member is out of range (our bug). */
size_t aq_ctl_format(uint8_t *out, size_t cap, const aq_ctl *m);

/* aq_ctl_parse reads one message from the head of a stream.
 * Returns 1 and *used when |m| holds a message, 0 when more bytes are needed,
 * 2 and *used when a message of an unknown type was skipped, or:
 *   AQ_ERR_FORMAT     malformed body: close the connection
 *   AQ_ERR_TOO_LARGE  longer than AQ_CTL_MAX_BODY: close the connection */
int aq_ctl_parse(aq_ctl *m, const uint8_t *data, size_t len, size_t *used);

/* aq_ctl_error_code maps a wire error to aq_error and back. */
int aq_ctl_error_code(uint64_t wire);
uint64_t aq_ctl_error_wire(int err);

#endif
