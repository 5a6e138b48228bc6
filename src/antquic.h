/* antquic.h - the public C interface of antquic.
 *
 * Layer:  0. Includes only libc; every other layer may include it.
 * Owner:  the caller owns what a *_new gives it, until the *_del.
 * Time:   aq_tstamp, nanoseconds of a monotonic clock, always passed in. Time
 *         never goes back: a smaller |now| than the last one is raised to it.
 * Thread: an endpoint and everything reached through it belongs to one thread
 *         at a time.
 * Spec:   docs/protocol.md, docs/architecture.md
 *
 * Words that are used below: borrowed (valid during the call only), copied
 * (the callee keeps its own), transferred (the callee owns it now).
 *
 * SPDX-License-Identifier: MIT */
#ifndef ANTQUIC_H
#define ANTQUIC_H

#include <stddef.h>
#include <stdint.h>

#include "antquic_maps.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AQ_VERSION "0.1.0"

typedef uint64_t aq_tstamp;
typedef uint64_t aq_duration;
/* aq_id names a connection, stream or session: 24 bits of slot, 28 bits of
 * generation. It fits a double exactly; 0 is never valid; a stale one gives
 * AQ_ERR_CLOSED. */
typedef uint64_t aq_id;

#define AQ_NEVER UINT64_MAX
#define AQ_US ((aq_duration)1000)
#define AQ_MS ((aq_duration)1000000)
#define AQ_S ((aq_duration)1000000000)

/* ---- errors: AQ_ERR_MAP in antquic_maps.h --------------------------------
 */

typedef enum aq_error {
  AQ_OK = 0,
#define X(name, value, text) AQ_ERR_##name = (value),
  AQ_ERR_MAP(X)
#undef X
} aq_error;

/* aq_error_name gives "TIMEOUT" for AQ_ERR_TIMEOUT; "UNKNOWN" for others. */
const char *aq_error_name(int err);
/* aq_error_text gives one English clause without a full stop. */
const char *aq_error_text(int err);
/* aq_error_at walks the table: index 0.. until NULL is returned. */
const char *aq_error_at(size_t index, int *value);

const char *aq_version(void);
/* "ngtcp2/1.24.0 wolfssl/5.9.2": what was linked. */
const char *aq_dependency_versions(void);

/* ---- addresses and identities ------------------------------------------ */

/* aq_addr is a UDP address. An IPv4-mapped IPv6 address is always stored as
 * IPv4 (protocol.md section 2). */
typedef struct aq_addr {
  uint8_t family; /* 0 none, 4 or 6 */
  uint16_t port;  /* host order */
  uint8_t ip[16]; /* network order; 4 or 16 bytes used, the rest zero */
  uint32_t scope; /* IPv6 zone index, 0 where none */
} aq_addr;

#define AQ_ADDR_STRLEN 72
/* aq_addr_parse reads "1.2.3.4:5", "[::1]:5". Returns 0 or AQ_ERR_ADDRESS. */
int aq_addr_parse(aq_addr *out, const char *text, size_t len);
/* aq_addr_format writes "1.2.3.4:5" or "[::1]:5", NUL-terminated. |buf| has
 * AQ_ADDR_STRLEN bytes. Returns |buf|. */
char *aq_addr_format(const aq_addr *a, char *buf);
int aq_addr_equal(const aq_addr *a, const aq_addr *b);

typedef struct aq_peer_id {
  uint8_t bytes[32];
} aq_peer_id;

/* aq_peer_id_parse reads 64 hex digits. Returns 0 or AQ_ERR_FORMAT. */
int aq_peer_id_parse(aq_peer_id *out, const char *hex, size_t len);
/* aq_peer_id_format writes 64 hex digits and a NUL. */
char *aq_peer_id_format(const aq_peer_id *id, char buf[65]);
int aq_peer_id_compare(const aq_peer_id *a, const aq_peer_id *b);

#define AQ_ED25519_KEY_LEN 32
#define AQ_MLDSA65_KEY_LEN 1952
/* aq_peer_id_from_key: SHA-256 over a label and the raw public key, see
 * docs/protocol.md. |len| is one of the two lengths above.
 * Returns 0 or AQ_ERR_INVAL. */
int aq_peer_id_from_key(aq_peer_id *out, const uint8_t *key, size_t len);

typedef struct aq_identity aq_identity;
/* aq_identity_generate makes a fresh Ed25519 key.
 * Returns 0, AQ_ERR_NOMEM or AQ_ERR_INTERNAL (no entropy). */
int aq_identity_generate(aq_identity **pid);
/* aq_identity_from_seed: the 32-byte RFC 8032 private key, copied. */
int aq_identity_from_seed(aq_identity **pid, const uint8_t seed[32]);
/* aq_identity_load reads a key file, and creates it (mode 0600, atomically)
 * when it doesn't exist and |create| is not 0. |why| (may be NULL, |whylen|
 * bytes) gets a sentence that names the file and what to do.
 * Returns 0, AQ_ERR_IDENTITY (readable by others, damaged, not a key) or
 * AQ_ERR_NETWORK (cannot be read or written). */
int aq_identity_load(aq_identity **pid, const char *path, int create, char *why,
                     size_t whylen);
/* aq_identity_del wipes the private key. NULL is allowed. */
void aq_identity_del(aq_identity *id);
const aq_peer_id *aq_identity_peer_id(const aq_identity *id);
/* The 32-byte raw Ed25519 public key, borrowed while |id| lives. */
const uint8_t *aq_identity_public_key(const aq_identity *id);

/* SHA-256 (FIPS 180-4) of data that comes in pieces. */
typedef struct aq_sha256 aq_sha256;
/* Returns 0, AQ_ERR_NOMEM or AQ_ERR_INTERNAL. */
int aq_sha256_new(aq_sha256 **ps);
void aq_sha256_del(aq_sha256 *s);
int aq_sha256_update(aq_sha256 *s, const uint8_t *data, size_t len);
/* The digest so far; more may be added afterwards. */
int aq_sha256_digest(aq_sha256 *s, uint8_t out[32]);

/* ---- enums the outside sees -------------------------------------------- */

typedef enum aq_role {
  AQ_ROLE_CLIENT,
  AQ_ROLE_SERVER,
  AQ_ROLE_BOOTSTRAP
} aq_role;

/* X(NAME, "lua name") */
#define AQ_PHASE_MAP(X)                                                        \
  X(IDLE, "idle")                                                              \
  X(DISCOVERY, "discovery")                                                    \
  X(COORDINATION, "coordination")                                              \
  X(SYNCHRONIZATION, "synchronization")                                        \
  X(PUNCHING, "punching")                                                      \
  X(VALIDATION, "validation")                                                  \
  X(CONNECTED, "connected")                                                    \
  X(FAILED, "failed")

typedef enum aq_phase {
#define X(name, text) AQ_PHASE_##name,
  AQ_PHASE_MAP(X)
#undef X
      AQ_PHASE__COUNT
} aq_phase;

#define AQ_STATE_MAP(X)                                                        \
  X(IDLE, "idle")                                                              \
  X(CONNECTING, "connecting")                                                  \
  X(CONNECTED, "connected")                                                    \
  X(MIGRATING, "migrating")                                                    \
  X(CLOSED, "closed")

typedef enum aq_state {
#define X(name, text) AQ_STATE_##name,
  AQ_STATE_MAP(X)
#undef X
      AQ_STATE__COUNT
} aq_state;

#define AQ_REASON_MAP(X)                                                       \
  X(NONE, "none")                                                              \
  X(TIMEOUT, "timeout")                                                        \
  X(CONNECTION_ESTABLISHED, "connection_established")                          \
  X(CONNECTION_CLOSED, "connection_closed")                                    \
  X(MIGRATION_COMPLETE, "migration_complete")                                  \
  X(MIGRATION_FAILED, "migration_failed")                                      \
  X(NETWORK_ERROR, "network_error")                                            \
  X(USER_CLOSED, "user_closed")

typedef enum aq_reason {
#define X(name, text) AQ_REASON_##name,
  AQ_REASON_MAP(X)
#undef X
      AQ_REASON__COUNT
} aq_reason;

#define AQ_SOURCE_MAP(X)                                                       \
  X(LOCAL, "local")       /* an address of an interface */                     \
  X(OBSERVED, "observed") /* server-reflexive */                               \
  X(PEER, "peer")         /* peer-reflexive */                                 \
  X(PREDICTED, "predicted")

typedef enum aq_source {
#define X(name, text) AQ_SOURCE_##name,
  AQ_SOURCE_MAP(X)
#undef X
      AQ_SOURCE__COUNT
} aq_source;

#define AQ_CAND_STATE_MAP(X)                                                   \
  X(NEW, "new")                                                                \
  X(VALIDATING, "validating")                                                  \
  X(VALID, "valid")                                                            \
  X(FAILED, "failed")                                                          \
  X(REMOVED, "removed")

typedef enum aq_cand_state {
#define X(name, text) AQ_CAND_##name,
  AQ_CAND_STATE_MAP(X)
#undef X
      AQ_CAND__COUNT
} aq_cand_state;

#define AQ_PAIR_STATE_MAP(X)                                                   \
  X(WAITING, "waiting")                                                        \
  X(IN_PROGRESS, "in_progress")                                                \
  X(SUCCEEDED, "succeeded")                                                    \
  X(FAILED, "failed")                                                          \
  X(CANCELLED, "cancelled")

typedef enum aq_pair_state {
#define X(name, text) AQ_PAIR_##name,
  AQ_PAIR_STATE_MAP(X)
#undef X
      AQ_PAIR__COUNT
} aq_pair_state;

/* aq_candidate: one address under which a peer may be reached. */
typedef struct aq_candidate {
  aq_addr addr;
  uint32_t priority; /* RFC 8445 section 5.1.2.1 */
  uint64_t seq;      /* ADD_ADDRESS sequence number */
  uint8_t source;    /* aq_source */
  uint8_t state;     /* aq_cand_state */
  uint8_t verified;  /* a coordinator saw it itself (protocol.md section 3) */
} aq_candidate;

#define AQ_MAX_CANDIDATES 32 /* per session and side; more is AQ_ERR_LIMIT */

typedef struct aq_pair_info {
  aq_addr local;
  aq_addr remote;
  uint64_t priority; /* RFC 8445 section 6.1.2.3 */
  uint8_t state;     /* aq_pair_state */
  uint8_t remote_source;
  uint8_t verified;
  uint8_t answered;  /* it echoed what we sent: it is really there */
  uint32_t sent;     /* punch datagrams sent on it */
  uint32_t received; /* authentic ones received */
  uint32_t refused;  /* not sent: a budget was spent, or it is forbidden */
  const char *limit; /* static, which one, as in aq_step_record; or NULL */
  uint8_t dialed;    /* a handshake was tried */
  int error;         /* that the last handshake ended with */
} aq_pair_info;

typedef enum aq_nat_rule {
#define X(name, text) AQ_NAT_##name,
  AQ_NAT_RULE_MAP(X)
#undef X
      AQ_NAT_RULE__COUNT
} aq_nat_rule;

typedef enum aq_nat_allocation {
#define X(name, text) AQ_NAT_ALLOC_##name,
  AQ_NAT_ALLOCATION_MAP(X)
#undef X
      AQ_NAT_ALLOC__COUNT
} aq_nat_allocation;

typedef enum aq_plan {
#define X(name, text) AQ_PLAN_##name,
  AQ_PLAN_MAP(X)
#undef X
      AQ_PLAN__COUNT
} aq_plan;

typedef enum aq_move {
#define X(name, text) AQ_MOVE_##name,
  AQ_MOVE_MAP(X)
#undef X
      AQ_MOVE__COUNT
} aq_move;

#define AQ_NAT_MAX_EXTERNAL 4
/* aq_nat_profile: what is known of the NAT in front of an endpoint. Zeroed:
 * nothing. Each member is measured or 0 (unknown). */
typedef struct aq_nat_profile {
  uint8_t mapping;     /* aq_nat_rule */
  uint8_t filtering;   /* aq_nat_rule */
  uint8_t allocation;  /* aq_nat_allocation */
  uint8_t hairpin;     /* 0 unknown, 1 no, 2 yes */
  int16_t step;        /* SEQUENTIAL: from one allocation to the next */
  uint16_t block_base; /* BLOCK */
  uint16_t block_size;
  uint16_t idle;     /* seconds a silent mapping was seen to live at least */
  uint16_t absolute; /* seconds after which it was seen to go though in use */
  uint8_t external_count; /* different external IPs that were seen */
  aq_addr external[AQ_NAT_MAX_EXTERNAL]; /* port 0; not told to peers */
  aq_addr last; /* the newest mapping; not told to peers */
} aq_nat_profile;

typedef enum aq_nat_test {
#define X(name, text) AQ_NAT_TEST_##name,
  AQ_NAT_TEST_MAP(X)
#undef X
      AQ_NAT_TEST__COUNT
} aq_nat_test;

/* aq_nat_evidence: one question that a profile rests on, asked |tries| times
 * from the socket |local| at |to|. */
typedef struct aq_nat_evidence {
  uint8_t test; /* aq_nat_test */
  uint8_t answered;
  uint8_t tries;
  uint8_t flags; /* who was to answer: 1 its other port, 2 its other address */
  uint8_t delay; /* after so many seconds */
  aq_tstamp at;  /* the first try */
  aq_addr local, to;
  aq_addr from; /* who answered */
  aq_addr seen; /* our address as that one saw it; of HAIRPIN: the sender's */
} aq_nat_evidence;

#define AQ_NAT_MAX_EVIDENCE 64
typedef struct aq_nat_report {
  aq_nat_profile profile;
  uint8_t complete;         /* mapping, filtering and allocation are known */
  uint8_t filtering_most;   /* aq_nat_rule: filtering is this or less strict */
  uint8_t hairpin_internal; /* what comes back has the private source */
  uint16_t idle_gone;       /* seconds: a silent mapping was gone; 0: never */
  uint8_t lifetime_known;   /* idle and idle_gone are as close as they get */
  aq_tstamp measured_at;    /* the end of the last run; 0: never */
  aq_duration keep_alive;   /* what connections get that ask for no other */
  size_t evidence_count;
  aq_nat_evidence evidence[AQ_NAT_MAX_EVIDENCE];
} aq_nat_report;

/* ---- the world the core may use ---------------------------------------- */

typedef enum aq_log_level {
  AQ_LOG_ERROR,
  AQ_LOG_WARN,
  AQ_LOG_INFO,
  AQ_LOG_DEBUG
} aq_log_level;

/* aq_env is what the core needs from outside; copied. Any member may be NULL:
 * the default is malloc, the system's entropy (wolfSSL) and silence. */
typedef struct aq_env {
  void *(*realloc)(void *user, void *ptr, size_t size); /* size 0 frees */
  int (*random)(void *user, uint8_t *out, size_t len);  /* 0 or an error */
  void (*trace)(void *user, aq_log_level level, const char *text);
  void *user;
} aq_env;

/* ---- endpoint parameters ------------------------------------------------ */

#define AQ_MAX_BOOTSTRAP 16
#define AQ_MAX_ALPN 8
#define AQ_MAX_ALPN_LEN 64
/* The protocol of connections that are for coordination alone. Every endpoint
 * speaks it besides its own, and offers it last to its bootstrap nodes. */
#define AQ_ALPN_COORDINATION "antquic-coordination/1"
#define AQ_MAX_SOCKETS 16

typedef struct aq_bootstrap_addr {
  aq_addr addr;
  uint8_t pinned; /* |peer| is the only key that is accepted there */
  aq_peer_id peer;
} aq_bootstrap_addr;

#define AQ_KEEP_ALIVE_AUTO AQ_NEVER

typedef enum aq_pqc {
  AQ_PQC_HYBRID, /* X25519MLKEM768, then X25519 */
  AQ_PQC_OFF     /* X25519 only */
} aq_pqc;

/* aq_endpoint_params: set up with aq_endpoint_params_init, then change what
 * is wanted. Everything is copied. */
typedef struct aq_endpoint_params {
  size_t size; /* sizeof(aq_endpoint_params), for growth */
  const aq_identity *identity;
  aq_role role;
  uint8_t can_coordinate;
  uint8_t enable_symmetric_nat;  /* ports may be guessed, for us and by us */
  uint8_t enable_relay_fallback; /* connections over a relay, by us and to us */
  uint8_t accept;                /* take connections of others */
  uint8_t allow_reserved; /* 198.18/15, 100.64/10, 2001:db8::/32 as candidates*/
  uint8_t always_retry;   /* address validation for every new connection */
  uint8_t strategy;       /* aq_strategy: who runs the steps of a session */
  uint8_t ask_accept;     /* a DECISION event before punching for somebody */
  uint8_t ask_candidates; /* new candidates wait 0.1 s for
                             aq_endpoint_hide_candidates before others hear */
  uint8_t nat_profile;    /* measure the NAT in front, docs/nat_profile.md */
  uint8_t can_relay;      /* if it coordinates, default 1 */
  aq_pqc pqc;
  uint32_t max_candidates;          /* 1..256, default 8 */
  uint32_t max_concurrent_attempts; /* 1..16, default 3 */
  aq_duration coordination_timeout; /* 0.1..300 s, default 10 s */
  aq_duration idle_timeout;         /* default 30 s; 0 is never */
  aq_duration keep_alive; /* 0 is off; default AQ_KEEP_ALIVE_AUTO: 5 to 25 s,
                             as the NAT's lifetimes allow; 15 s until known */
  aq_duration handshake_timeout; /* default 10 s */
  uint64_t stream_window;    /* bytes per stream, default 1 MiB, max 8 MiB */
  uint64_t conn_window;      /* bytes per connection, default 16 MiB */
  uint64_t max_streams_bidi; /* peer's open streams, default 1024 */
  uint64_t max_streams_uni;  /* default 1024 */
  size_t send_buffer;        /* bytes queued per stream, default 1 MiB */
  size_t datagram_queue;     /* datagrams kept per connection, default 256 */
  uint32_t max_connections;  /* default 65536 */
  uint32_t max_half_open;    /* default 1024 */
  uint64_t relay_rate; /* bytes a second that a tunnel over us may carry each
                          way, 1024..2^30, default 1 MiB */
  uint64_t relay_total_rate; /* ... that all of them may carry, 1024..2^34,
                                default 32 MiB; one peer an eighth each way */
  size_t bootstrap_count;
  aq_bootstrap_addr bootstrap[AQ_MAX_BOOTSTRAP];
  size_t alpn_count; /* default one: "antquic" */
  char alpn[AQ_MAX_ALPN][AQ_MAX_ALPN_LEN];
  size_t allow_count; /* with |allow|: only these keys; NULL is any */
  const aq_peer_id *allow;
} aq_endpoint_params;

void aq_endpoint_params_init(aq_endpoint_params *p);
/* aq_endpoint_params_check: the rules of mission.md's ConfigValidator. |why|
 * gets a sentence. Returns 0, AQ_ERR_CONFIG or AQ_ERR_ADDRESS. */
int aq_endpoint_params_check(const aq_endpoint_params *p, char *why,
                             size_t whylen);

typedef enum aq_strategy {
  AQ_STRATEGY_AUTO, /* C runs the default, as balanced.lua does */
  AQ_STRATEGY_STEPS /* the caller starts each step (aq_session_*) */
} aq_strategy;

/* ---- events ------------------------------------------------------------- */

typedef enum aq_event_kind {
#define X(name, text) AQ_EVENT_##name,
  AQ_EVENT_MAP(X)
#undef X
      AQ_EVENT__COUNT
} aq_event_kind;

const char *aq_event_name(aq_event_kind kind);
const char *aq_phase_name(aq_phase v);
const char *aq_state_name(aq_state v);
const char *aq_reason_name(aq_reason v);
const char *aq_source_name(aq_source v);
const char *aq_cand_state_name(aq_cand_state v);
const char *aq_pair_state_name(aq_pair_state v);
const char *aq_nat_rule_name(aq_nat_rule v);
const char *aq_nat_allocation_name(aq_nat_allocation v);
const char *aq_plan_name(aq_plan v);
const char *aq_move_name(aq_move v);
const char *aq_nat_test_name(aq_nat_test v);

/* aq_event: one thing that happened. Which members count depends on |kind|,
 * docs/events.md lists them; the others are zero. Readiness events (STREAM_*,
 * DATAGRAM_*) are edges that coalesce, so they are never lost; the others sit
 * in a ring of AQ_EVENT_RING, and when it is full the newest are dropped and
 * counted by one EVENTS_LOST. Half of it is for those that end or begin what
 * somebody may wait for: CONNECTION_*, DIAL_FAILED, TRAVERSAL_*, STEP_DONE,
 * DECISION, BOOTSTRAP_*, INTERFACES_CHANGED. */
typedef struct aq_event {
  aq_event_kind kind;
  aq_tstamp time;
  aq_id conn;
  aq_id stream;
  aq_id session;
  uint8_t has_peer;
  uint8_t fallback_available; /* TRAVERSAL_FAILED: a coordinator of ours relays,
                                 and relay fallback is enabled */
  uint8_t outgoing;           /* CONNECTION_*: we dialed */
  uint8_t relayed;            /* CONNECTION_*, PATH_CHANGED, PATH_VALIDATED,
                                 TRAVERSAL_SUCCEEDED: |addr| is the relay's */
  aq_peer_id peer;
  aq_addr addr;         /* remote, or what was observed */
  aq_addr local;        /* local side or who observed */
  aq_candidate cand;    /* CANDIDATE_* */
  uint32_t from, to;    /* phases or states */
  uint32_t reason;      /* aq_reason */
  int error;            /* aq_error */
  uint64_t value;       /* round id, count, app error code, decision id */
  aq_duration duration; /* rtt or total time */
  char text[120];       /* reason in words; limit's name; ALPN */
} aq_event;

#define AQ_EVENT_RING 1024

/* ---- endpoint: the sans-IO core ----------------------------------------- */

typedef struct aq_endpoint aq_endpoint;

/* aq_endpoint_new: |params| and |env| (may be NULL) are copied.
 * Returns 0, AQ_ERR_CONFIG, AQ_ERR_ADDRESS, AQ_ERR_NOMEM, AQ_ERR_TLS. */
int aq_endpoint_new(aq_endpoint **pep, const aq_endpoint_params *params,
                    const aq_env *env, aq_tstamp now);
/* aq_endpoint_del forgets everything at once, sends nothing. */
void aq_endpoint_del(aq_endpoint *ep);

/* aq_local_socket tells the core of a UDP socket that the host has. */
typedef struct aq_local_socket {
  uint32_t
      index; /* < AQ_MAX_SOCKETS, the host's name for it; extra ones above */
  aq_addr bound; /* as bound; the IP may be unspecified, the port not */
} aq_local_socket;
int aq_endpoint_add_socket(aq_endpoint *ep, aq_tstamp now,
                           const aq_local_socket *s);
/* Extra sockets: what the endpoint asks its host for while it runs, to look at
 * a NAT or to guess its ports. Their indices follow those of the host's own:
 * AQ_MAX_SOCKETS and up. A host that opens none says so each time; what needed
 * them then fails with a reason. */
#define AQ_MAX_EXTRA_SOCKETS 256
typedef struct aq_socket_request {
  uint8_t open; /* 1: open one at |bind|, whose port is 0; 0: close it */
  uint32_t index;
  aq_addr bind;
} aq_socket_request;
/* aq_endpoint_poll_socket gives the next request (1), or 0. */
int aq_endpoint_poll_socket(aq_endpoint *ep, aq_socket_request *out);
/* aq_endpoint_socket_opened answers a request to open: |bound| with its port,
 * copied; NULL when it can't be had. Others are ignored. */
void aq_endpoint_socket_opened(aq_endpoint *ep, aq_tstamp now, uint32_t index,
                               const aq_addr *bound);
/* aq_endpoint_set_local_addrs: a snapshot of the interfaces' addresses (port
 * ignored), copied. Called at start and whenever it changed. */
int aq_endpoint_set_local_addrs(aq_endpoint *ep, aq_tstamp now,
                                const aq_addr *v, size_t n);

/* aq_datagram: what a socket received. |len| may hold several datagrams of
 * |segment| bytes (the last may be shorter) when the kernel coalesced. */
typedef struct aq_datagram {
  uint32_t socket;
  aq_addr remote;
  aq_addr local; /* destination address, port of the socket */
  uint8_t ecn;   /* RFC 3168 codepoint */
  const uint8_t *data;
  size_t len;
  size_t segment; /* 0: one datagram */
} aq_datagram;
/* aq_endpoint_handle_datagram: |d| is borrowed. Bad bytes are dropped and
 * counted, so there is no error to return but AQ_ERR_NOMEM. */
int aq_endpoint_handle_datagram(aq_endpoint *ep, aq_tstamp now,
                                const aq_datagram *d);
int aq_endpoint_handle_timeout(aq_endpoint *ep, aq_tstamp now);
aq_tstamp aq_endpoint_next_timeout(const aq_endpoint *ep);

/* aq_transmit: what a socket is to send: |len| bytes as datagrams of
 * |segment| bytes, the last may be shorter. */
typedef struct aq_transmit {
  uint32_t socket;
  aq_addr remote;
  aq_addr local; /* source address; unspecified: the kernel's choice */
  uint8_t ecn;
  uint8_t ttl; /* 0: the socket's default */
  size_t len;
  size_t segment;
} aq_transmit;
#define AQ_TRANSMIT_MAX 65536
/* aq_endpoint_poll_transmit writes the next batch into |buf| (at least
 * AQ_TRANSMIT_MAX bytes). Returns 1, 0 when nothing is due, or an error. */
int aq_endpoint_poll_transmit(aq_endpoint *ep, aq_tstamp now, aq_transmit *t,
                              uint8_t *buf, size_t buflen);
/* aq_endpoint_poll_event returns 1 and an event, or 0. */
int aq_endpoint_poll_event(aq_endpoint *ep, aq_event *out);

const aq_peer_id *aq_endpoint_peer_id(const aq_endpoint *ep);

/* aq_endpoint_close starts closing every connection with |code|; complete
 * when aq_endpoint_is_drained is true (RFC 9000 section 10.2). */
int aq_endpoint_close(aq_endpoint *ep, aq_tstamp now, uint64_t code,
                      const char *reason);
int aq_endpoint_is_drained(const aq_endpoint *ep);

/* ---- bootstrap nodes ----------------------------------------------------- */

typedef struct aq_bootstrap_info {
  aq_addr addr;
  uint8_t connected;
  uint8_t can_coordinate; /* it said so */
  uint8_t has_peer;
  aq_peer_id peer;
  aq_id conn;
  aq_tstamp last_seen;         /* 0: never */
  aq_duration rtt;             /* 0: not measured */
  uint32_t coordination_count; /* successful ones */
  uint32_t failures;           /* in a row */
  aq_addr observed;            /* our address as it saw it; family 0: none */
  /* Requests that were not answered in time: in all, and since it answered
   * last; and when the last one was given up. */
  uint32_t coordination_failures, unanswered;
  aq_tstamp failed_at; /* 0: never */
  uint8_t can_relay;   /* it said so */
} aq_bootstrap_info;
int aq_endpoint_add_bootstrap(aq_endpoint *ep, aq_tstamp now,
                              const aq_bootstrap_addr *b);
int aq_endpoint_remove_bootstrap(aq_endpoint *ep, aq_tstamp now,
                                 const aq_addr *addr);
/* Returns how many there are; fills at most |max|. */
size_t aq_endpoint_get_bootstrap(const aq_endpoint *ep, aq_bootstrap_info *out,
                                 size_t max);
/* aq_endpoint_hide_candidates: the addresses of ours that nobody is told, at
 * most AQ_MAX_CANDIDATES, copied; replaces the last list. Returns 0 or
 * AQ_ERR_LIMIT. */
int aq_endpoint_hide_candidates(aq_endpoint *ep, aq_tstamp now,
                                const aq_addr *v, size_t n);
/* All of them, best first, hidden ones too. */
size_t aq_endpoint_get_candidates(const aq_endpoint *ep, aq_candidate *out,
                                  size_t max);

/* aq_endpoint_get_nat: what was measured of the NAT in front, and how. */
void aq_endpoint_get_nat(const aq_endpoint *ep, aq_nat_report *out);

/* ---- sessions: reaching a peer by its id --------------------------------- */

/* aq_session_start begins a traversal to |peer|. A running session to the
 * same peer is returned instead of a second one; with a connection that is
 * already there, *out_conn is set and no session is made. |known| are
 * addresses to try first. With AQ_STRATEGY_STEPS nothing happens until a
 * step is started. Returns 0, AQ_ERR_LIMIT, AQ_ERR_INVAL (own id),
 * AQ_ERR_CLOSED. */
int aq_session_start(aq_endpoint *ep, aq_tstamp now, const aq_peer_id *peer,
                     const aq_addr *known, size_t nknown, aq_duration timeout,
                     aq_id *out_session, aq_id *out_conn);

/* Steps. One at a time; each ends with a STEP_DONE event whose |error| is 0
 * or says why. Limits are clamped in C, whatever is asked. */
typedef struct aq_dial_step {
  size_t count; /* 1..8 */
  aq_addr addrs[8];
  aq_duration spacing; /* between starts, 0.25 s at most (RFC 8305) */
  aq_duration timeout; /* 50 ms..30 s, default 10 s */
  uint8_t keep;        /* at the time-out the dials go on for a while, beside
                          the steps that follow */
} aq_dial_step;
int aq_session_dial(aq_endpoint *ep, aq_tstamp now, aq_id session,
                    const aq_dial_step *step);
/* aq_coordinate_step: the connections |via| of coordinators are asked in this
 * order, or the best ones when there are none. The next one is asked when one
 * has answered with an error, is lost, or has kept silent for |hedge|. Whoever
 * answers first is followed, the others hear that it is over. */
#define AQ_MAX_ASKED 4           /* at a time */
#define AQ_HEDGE_AUTO UINT64_MAX /* 0.2 s, or three round trips to it */
typedef struct aq_coordinate_step {
  size_t count;
  aq_id via[AQ_MAX_BOOTSTRAP];
  aq_duration hedge;   /* at most 10 s; 0: all are asked at once */
  aq_duration timeout; /* of the step; 0: coordination_timeout, which is also
                          the most */
} aq_coordinate_step;
void aq_coordinate_step_init(aq_coordinate_step *s);
/* AQ_ERR_INVAL also when one of |via| was never a coordinator's connection. */
int aq_session_coordinate(aq_endpoint *ep, aq_tstamp now, aq_id session,
                          const aq_coordinate_step *step);
typedef struct aq_punch_step {
  uint32_t rounds;         /* 1..16; datagrams per pair, default 6 */
  aq_duration spacing;     /* 10 ms..1 s between rounds, default 20 ms */
  uint8_t openers;         /* 0..2 low-TTL datagrams first, default 1 */
  uint8_t opener_ttl;      /* 1..8, default 2 */
  aq_duration opener_lead; /* opener to first full datagram, 0..50 ms */
  aq_duration timeout;
  size_t count; /* order of remote candidates; 0: by priority */
  aq_addr order[AQ_MAX_CANDIDATES];
} aq_punch_step;
void aq_punch_step_init(aq_punch_step *step);
int aq_session_punch(aq_endpoint *ep, aq_tstamp now, aq_id session,
                     const aq_punch_step *step);
/* aq_hard_step: a step with a plan of its own. It asks a coordinator that can
 * observe, and goes on to the end: both sides open new sockets, learn how they
 * are seen, tell each other and punch (docs/session.md). */
typedef struct aq_hard_step {
  aq_id via;        /* the coordinator's connection, or 0: the core's choice */
  uint32_t sockets; /* new ones of ours, at most 8 for fresh, 25 for predict,
                       256 for birthday; 0: what the plan needs */
  uint32_t probes;  /* guessed ports, 1..1024; 0: what the plan needs */
  aq_punch_step punch; /* openers and their TTL; of fresh the whole schedule */
} aq_hard_step;
void aq_hard_step_init(aq_hard_step *step);
/* |plan| is neither AQ_PLAN_PUNCH nor AQ_PLAN_RELAY. AQ_ERR_NOT_ALLOWED:
 * enable_symmetric_nat is off, and ports would be guessed. */
int aq_session_hard(aq_endpoint *ep, aq_tstamp now, aq_id session, aq_plan plan,
                    const aq_hard_step *step);
/* aq_relay_step: the connection goes over a coordinator that relays, still
 * encrypted between the peers, and moves to a direct path when one is found. */
#define AQ_UPGRADE_EVERY (5 * AQ_S)
#define AQ_UPGRADE_MAX (300 * AQ_S)
typedef struct aq_relay_step {
  aq_id via; /* the relay's connection, or 0: the core's choice */
  aq_duration upgrade_every; /* until a direct path is first tried, then twice
                                as long each time up to AQ_UPGRADE_MAX; at least
                                1 s; AQ_NEVER: not at all */
} aq_relay_step;
void aq_relay_step_init(aq_relay_step *step);
/* AQ_ERR_INVAL also when |via| is no coordinator's connection.
 * AQ_ERR_NOT_ALLOWED: enable_relay_fallback is off. */
int aq_session_relay(aq_endpoint *ep, aq_tstamp now, aq_id session,
                     const aq_relay_step *step);
/* aq_session_finish ends a session that no step connected. |error| is what
 * TRAVERSAL_FAILED will carry. */
int aq_session_finish(aq_endpoint *ep, aq_tstamp now, aq_id session, int error);
int aq_session_cancel(aq_endpoint *ep, aq_tstamp now, aq_id session);
/* aq_endpoint_decide answers a DECISION event: |accept| 0 refuses. */
int aq_endpoint_decide(aq_endpoint *ep, aq_tstamp now, uint64_t decision,
                       int accept);
/* aq_endpoint_set_punch_defaults: schedule used as target. Copied, clamped. */
void aq_endpoint_set_punch_defaults(aq_endpoint *ep, const aq_punch_step *step);

typedef struct aq_session_info {
  aq_peer_id peer;
  aq_phase phase;
  aq_state state; /* once connected that of its connection */
  uint8_t initiator;
  uint32_t attempt;
  aq_tstamp started;
  aq_id coordinator; /* connection, 0: none */
  aq_addr coordinator_addr;
  aq_duration coordination_time; /* request to answer; 0: none */
  aq_tstamp retry_at; /* sooner what was refused last is refused again; 0 */
  uint32_t punches_sent, punches_received, initials_sent;
  uint32_t same_nat; /* both share the public address */
  aq_plan plan;      /* of the agreement in force */
  aq_nat_profile local_profile, remote_profile;
  uint32_t steps_lost;
  size_t remote_count;
  aq_candidate remote[AQ_MAX_CANDIDATES];
} aq_session_info;
int aq_session_get_info(const aq_endpoint *ep, aq_id session,
                        aq_session_info *out);
/* Of the last attempt; kept with the session when it has ended. */
size_t aq_session_get_pairs(const aq_endpoint *ep, aq_id session,
                            aq_pair_info *out, size_t max);

/* What was tried, in order: the data of explain(). Kept with the session, and
 * with the connection that came of it. */
typedef struct aq_step_record {
  uint8_t step; /* 0 dial, 1 coordinate, 2 punch; 2 + aq_plan with a plan; or
                   AQ_STEP_MOVE: a connection went to another path */
  uint8_t won;
  int error; /* 0: worked */
  aq_tstamp started, ended;
  aq_addr addr; /* dialed, coordinator, or the pair that won */
  uint32_t sent, received;
  uint32_t attempt;
  uint32_t pairs;    /* punch: that were tried */
  uint32_t heard;    /* ... from which an authentic datagram came */
  uint32_t unusable; /* addresses of the peer that made no pair: forbidden, or
                        no socket reaches them */
  uint32_t refused;  /* datagrams that were not sent */
  const char *limit; /* static: the last reason for that, a counter of
                        aq_statistics without "limit_"; or NULL */
  char text[80];
  aq_addr before; /* move: where it went to until then; |addr| is the new one */
  uint8_t before_relayed, relayed; /* ... the address is a relay's */
  uint8_t move;                    /* ... aq_move: why */
} aq_step_record;
#define AQ_STEP_MOVE 255
/* More are counted in aq_session_info.steps_lost; of what moved a connection
 * the newest are kept. */
#define AQ_MAX_STEPS 32
size_t aq_explain(const aq_endpoint *ep, aq_id conn_or_session,
                  aq_step_record *out, size_t max);

/* ---- connections --------------------------------------------------------- */

/* aq_connect_addr dials an address. |expect| may be NULL: TLS tells who it
 * is. |alpn| is one of the endpoint's protocols, or NULL: any of them.
 * CONNECTION_ESTABLISHED or DIAL_FAILED follows with this |*out|. Returns 0,
 * AQ_ERR_ALPN (not one of ours, or the connection that is there has another),
 * AQ_ERR_ADDRESS, AQ_ERR_INVAL (own id), AQ_ERR_LIMIT, AQ_ERR_CLOSED. */
int aq_connect_addr(aq_endpoint *ep, aq_tstamp now, const aq_addr *addr,
                    const aq_peer_id *expect, const char *alpn,
                    aq_duration timeout, aq_id *out);

typedef struct aq_conn_info {
  aq_peer_id peer;
  uint8_t public_key[AQ_ED25519_KEY_LEN];
  char alpn[AQ_MAX_ALPN_LEN];
  aq_state state;
  uint8_t outgoing;
  uint8_t bootstrap;    /* made for a bootstrap node */
  uint8_t post_quantum; /* a hybrid group was negotiated */
  uint8_t extensions;   /* real extension frames may be sent */
  uint8_t control;      /* antquic control streams are there */
  aq_addr remote, local;
  aq_addr observed; /* our address as the peer sees it; family 0: unknown */
  aq_duration rtt, min_rtt, rttvar;
  uint64_t bytes_sent, bytes_received;
  uint64_t packets_sent, packets_received, packets_lost;
  uint64_t cwnd, bytes_in_flight;
  uint64_t datagrams_sent, datagrams_acked, datagrams_lost;
  uint64_t datagrams_received, datagrams_dropped;
  size_t max_datagram; /* payload bytes that fit now; 0: not supported */
  uint64_t max_udp_payload;
  aq_tstamp established, last_activity;
  aq_id session;   /* that made it, 0: none */
  size_t memory;   /* bytes buffered for it */
  uint8_t relayed; /* |remote| is the relay's address */
} aq_conn_info;
int aq_conn_get_info(const aq_endpoint *ep, aq_id conn, aq_conn_info *out);
/* aq_endpoint_find_conn gives the established connection to |peer|, or 0. */
aq_id aq_endpoint_find_conn(const aq_endpoint *ep, const aq_peer_id *peer);
size_t aq_endpoint_get_conns(const aq_endpoint *ep, aq_id *out, size_t max);
/* aq_conn_close: immediate close with an application error code and reason
 * (CONNECTION_CLOSE type 0x1d). Streams end with CLOSED. Idempotent. */
int aq_conn_close(aq_endpoint *ep, aq_tstamp now, aq_id conn, uint64_t code,
                  const char *reason, size_t len);
/* 1 when nothing is queued or in flight, 0 when there is, or an error. */
int aq_conn_is_flushed(const aq_endpoint *ep, aq_id conn);
/* aq_conn_ping sends a PING; the PATH's rtt in get_info is then fresh. */
int aq_conn_ping(aq_endpoint *ep, aq_tstamp now, aq_id conn);
/* |interval| is at least 1 s, or 0: off. */
int aq_conn_set_keep_alive(aq_endpoint *ep, aq_tstamp now, aq_id conn,
                           aq_duration interval);
/* aq_conn_update_keys starts a key update (RFC 9001 section 6).
 * AQ_ERR_AGAIN: the last one is not confirmed yet. */
int aq_conn_update_keys(aq_endpoint *ep, aq_tstamp now, aq_id conn);
/* Addresses announced to and by the peer with real frames. */
int aq_conn_add_address(aq_endpoint *ep, aq_tstamp now, aq_id conn,
                        const aq_addr *addr, uint64_t *seq);
int aq_conn_remove_address(aq_endpoint *ep, aq_tstamp now, aq_id conn,
                           uint64_t seq);
size_t aq_conn_get_remote_candidates(const aq_endpoint *ep, aq_id conn,
                                     aq_candidate *out, size_t max);

/* ---- streams ------------------------------------------------------------- */

/* aq_stream_open: AQ_ERR_AGAIN when the peer's limit is reached;
 * STREAMS_AVAILABLE follows. */
int aq_stream_open(aq_endpoint *ep, aq_tstamp now, aq_id conn, int uni,
                   int priority, aq_id *out);
/* aq_stream_accept takes the next stream that the peer opened;
 * AQ_ERR_AGAIN when there is none. */
int aq_stream_accept(aq_endpoint *ep, aq_id conn, aq_id *out);
/* aq_stream_write copies at most the room there is; *written may be less than
 * |len|, and 0 with AQ_ERR_AGAIN: STREAM_WRITABLE follows. |data| borrowed.
 * AQ_ERR_STREAM_STOPPED, AQ_ERR_STREAM_FINISHED, AQ_ERR_CLOSED. */
int aq_stream_write(aq_endpoint *ep, aq_tstamp now, aq_id stream,
                    const uint8_t *data, size_t len, size_t *written);
int aq_stream_finish(aq_endpoint *ep, aq_tstamp now, aq_id stream);
/* aq_stream_read moves at most |len| bytes; *nread 0 with 0 is the end.
 * AQ_ERR_AGAIN: STREAM_READABLE follows. AQ_ERR_STREAM_RESET with the code
 * in aq_stream_info.reset_code. */
int aq_stream_read(aq_endpoint *ep, aq_tstamp now, aq_id stream, uint8_t *buf,
                   size_t len, size_t *nread);
/* aq_stream_readable: how many bytes a read would give now. */
size_t aq_stream_readable(const aq_endpoint *ep, aq_id stream);
int aq_stream_reset(aq_endpoint *ep, aq_tstamp now, aq_id stream,
                    uint64_t code);
int aq_stream_stop(aq_endpoint *ep, aq_tstamp now, aq_id stream, uint64_t code);
int aq_stream_set_priority(aq_endpoint *ep, aq_id stream, int priority);
/* aq_stream_release: the application has no more use for it. What was written
 * is still delivered; an unfinished side is reset. The id becomes stale. */
int aq_stream_release(aq_endpoint *ep, aq_tstamp now, aq_id stream);

typedef struct aq_stream_info {
  int64_t id; /* the QUIC stream id */
  aq_id conn;
  uint8_t uni, incoming, finished, fin_received, fin_acked;
  uint64_t reset_code, stop_code;
  uint64_t bytes_written, bytes_read, bytes_acked;
  size_t send_queued, recv_queued;
  int priority;
} aq_stream_info;
int aq_stream_get_info(const aq_endpoint *ep, aq_id stream,
                       aq_stream_info *out);

/* ---- datagrams (RFC 9221) ------------------------------------------------ */

/* AQ_ERR_TOO_LARGE, AQ_ERR_UNSUPPORTED, AQ_ERR_AGAIN (queue is full). */
int aq_datagram_send(aq_endpoint *ep, aq_tstamp now, aq_id conn,
                     const uint8_t *data, size_t len);
/* AQ_ERR_AGAIN: DATAGRAM_READABLE follows. AQ_ERR_TOO_LARGE: |buflen| is too
 * small, *len says what is needed. */
int aq_datagram_receive(aq_endpoint *ep, aq_id conn, uint8_t *buf,
                        size_t buflen, size_t *len);

/* ---- statistics -----------------------------------------------------------
 */

typedef struct aq_statistics {
#define X(name) uint64_t name;
  AQ_STATS_MAP(X)
#undef X
} aq_statistics;
void aq_endpoint_get_statistics(const aq_endpoint *ep, aq_statistics *out);
/* What is alive now. */
typedef struct aq_usage {
  uint32_t connections, half_open, streams, sessions, events, registrations;
  size_t memory;
} aq_usage;
void aq_endpoint_get_usage(const aq_endpoint *ep, aq_usage *out);

/* ---- runtime: sockets and a private event loop (io) ---------------------- */

typedef struct aq_runtime aq_runtime;

/* aq_runtime_params: which addresses to bind. None: 0.0.0.0:0 and [::]:0, of
 * which the second may fail. */
typedef struct aq_runtime_params {
  size_t bind_count;
  aq_addr bind[AQ_MAX_SOCKETS];
  uint8_t no_gso, no_gro, no_ecn; /* for tests and odd kernels */
} aq_runtime_params;

/* aq_runtime_new makes the endpoint and opens its sockets. |why| gets a
 * sentence. Returns 0, or as aq_endpoint_new, or AQ_ERR_NETWORK. */
int aq_runtime_new(aq_runtime **prt, const aq_runtime_params *rp,
                   const aq_endpoint_params *params, const aq_env *env,
                   char *why, size_t whylen);
/* aq_runtime_del closes at once: CONNECTION_CLOSE is sent where possible. */
void aq_runtime_del(aq_runtime *rt);
aq_endpoint *aq_runtime_endpoint(aq_runtime *rt);
/* The monotonic clock of this runtime. */
aq_tstamp aq_runtime_now(const aq_runtime *rt);
/* aq_runtime_fd is readable when aq_runtime_step has work; -1 where the
 * system has no such thing. Before it is watched, step once. */
int aq_runtime_fd(const aq_runtime *rt);
/* Nanoseconds until aq_runtime_step must be called; AQ_NEVER. */
aq_duration aq_runtime_timeout(const aq_runtime *rt);
/* aq_runtime_step does what is due and never blocks: receive, time-outs,
 * send. Call it after verbs too, to send what they queued. The work of one
 * call is bounded. Returns 0, 1 when there is more to do now, or
 * AQ_ERR_NOMEM, AQ_ERR_INTERNAL. */
int aq_runtime_step(aq_runtime *rt);
/* aq_runtime_wait sends what is queued, blocks until there is work, |max|
 * passed or a signal came, then steps. Returns as aq_runtime_step. */
int aq_runtime_wait(aq_runtime *rt, aq_duration max);
/* aq_runtime_poll sends what is queued and blocks until one of |n| <=
 * AQ_MAX_POLL runtimes has work, |max| passed or a signal came; it steps none.
 * Returns 0 or AQ_ERR_INVAL. */
#define AQ_MAX_POLL 4096
int aq_runtime_poll(aq_runtime *const *v, size_t n, aq_duration max);
/* The monotonic clock that every runtime reads. */
aq_tstamp aq_clock_now(void);
/* aq_random_bytes: the system's random numbers. Returns 0 or
 * AQ_ERR_INTERNAL. */
int aq_random_bytes(uint8_t *out, size_t len);
/* Returns how many sockets; fills at most |max| with their real addresses. */
size_t aq_runtime_get_sockets(const aq_runtime *rt, aq_addr *out, size_t max);
/* aq_runtime_open_socket adds a local socket while running. |bind| may have
 * port 0. *index names it. */
int aq_runtime_open_socket(aq_runtime *rt, const aq_addr *bind,
                           uint32_t *index);

typedef struct aq_io_stats {
  uint64_t recv_calls, recv_datagrams, recv_bytes;
  uint64_t send_calls, send_datagrams, send_bytes;
  uint64_t send_blocked, send_errors, recv_errors;
  uint64_t scan_errors;  /* the interfaces could not be read */
  uint8_t gso, gro, ecn; /* in use */
} aq_io_stats;
void aq_runtime_get_stats(const aq_runtime *rt, aq_io_stats *out);

/* aq_fd_read reads what a descriptor of the program (a terminal, a pipe) has
 * now, and never waits: for programs that look at it between turns. |len| > 0.
 * *nread 0 with 0 is the end. AQ_ERR_AGAIN: nothing yet. AQ_ERR_UNSUPPORTED on
 * a system without poll, AQ_ERR_NETWORK when the read fails. */
int aq_fd_read(int fd, uint8_t *buf, size_t len, size_t *nread);

/* aq_file_replace writes |path| whole, mode 0600, so that after a crash at any
 * moment the old file is there or the new one: a file PATH.part, fsync, rename.
 * |data| is borrowed; |why| gets a sentence. Returns 0 or AQ_ERR_NETWORK (no
 * such folder, not allowed, disk full ...): then the old file is as it was. */
int aq_file_replace(const char *path, const uint8_t *data, size_t len,
                    char *why, size_t whylen);

#ifdef __cplusplus
}
#endif

#endif
