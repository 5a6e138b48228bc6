/* endpoint_int.h - the endpoint's structs and what its files share.
 *
 * Layer:  quic
 * Owner:  aq_endpoint owns links, contacts and sessions
 * Time:   ep->now is the last |now| of a public call; never goes back
 * Spec:   docs/architecture.md
 *
 * How one call runs: a public function calls aq_ep_enter, works, and ends with
 * aq_ep_settle. Work on a connection or session marks it dirty; settle drains
 * the notices and actions of what is dirty until nothing is, and only then
 * frees what was doomed. So nobody holds a pointer that is freed under him,
 * and the cost is in what changed, never in how many connections there are.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_ENDPOINT_INT_H
#define AQ_QUIC_ENDPOINT_INT_H

#include "base/hash.h"
#include "base/heap.h"
#include "base/idmap.h"
#include "base/list.h"
#include "base/rand.h"
#include "base/ring.h"
#include "base/time.h"
#include "base/trace.h"
#include "base/window.h"
#include "proto/coord.h"
#include "proto/disc.h"
#include "proto/guard.h"
#include "proto/observe.h"
#include "proto/relay.h"
#include "proto/trav.h"
#include "proto/trav_int.h"
#include "quic/bootstrap.h"
#include "quic/conn.h"
#include "quic/crypto.h"
#include "quic/demux.h"
#include "quic/endpoint.h"
#include "quic/limits.h"
#include "quic/record.h"
#include "quic/tls.h"

/* Kinds in ep->ids; streams are any other kind. */
#define AQ_KIND_CONN 0xc0u
#define AQ_KIND_SESSION 0x5eu

#define AQ_MAX_SESSIONS 256        /* running, initiator's and target's */
#define AQ_MAX_TARGET_SESSIONS 128 /* of those: punching for others */
#define AQ_MAX_TOMBS 64            /* ended sessions that explain may ask for */
#define AQ_TOMB_LIFE (60 * AQ_S)
#define AQ_MAX_REMOTE_CANDS 32 /* announced by one peer; more: it is closed */
#define AQ_MAX_ANNOUNCED 16    /* of ours, to one peer */
#define AQ_MAX_TOKENS 64       /* NEW_TOKENs kept */
#define AQ_MAX_TOKEN_LEN 256
#define AQ_OUT_RING 256
#define AQ_OUT_LEN 1280
#define AQ_CTL_RATE 100.0 /* control messages a second, from one peer */
#define AQ_CTL_BURST 200.0
#define AQ_OBS_RATE 5.0 /* new addresses of ours a second, from one peer */
#define AQ_OBS_BURST 20.0
#define AQ_SYNC_RATE 5.0 /* times a second that one is told our candidates */
#define AQ_SYNC_BURST 20.0
#define AQ_CAND_RATE                                                           \
  10.0 /* changes of its candidates a second, from one peer */
#define AQ_CAND_BURST 64.0
/* How long a connection waits for AQ_CTL_ACCEPTED, or a dial that was closed as
 * a duplicate for the connection that replaced it. */
#define AQ_ACCEPT_WAIT (3 * AQ_S)
#define AQ_DECISION_WAIT (100 * AQ_MS)
/* What a session gets that nobody set a time for. */
#define AQ_SESSION_TIMEOUT (30 * AQ_S)

typedef struct aq_link aq_link;
typedef struct aq_profile aq_profile;
typedef struct aq_contact aq_contact;
typedef struct aq_session aq_session;

typedef enum aq_link_state {
  AQ_LINK_DIALING,     /* client, handshake runs */
  AQ_LINK_ARRIVING,    /* server, handshake runs */
  AQ_LINK_WAIT_ACCEPT, /* client, complete; the server decides */
  AQ_LINK_HELD,        /* complete; another connection may be the one */
  AQ_LINK_EXPOSED,     /* the connection to this peer */
  AQ_LINK_DUP_WAIT,    /* closed as duplicate; the other one is expected */
  AQ_LINK_FORWARD,     /* its id now means another link */
  AQ_LINK_GONE         /* closed; answers late packets, then goes */
} aq_link_state;

/* aq_ready_event: readiness of one stream that poll_event has not told yet. */
typedef struct aq_ready_event {
  aq_list node; /* in link->events */
  aq_id stream;
  uint32_t bits; /* 1 << (kind - AQ_NOTICE_STREAM_INCOMING) */
  uint64_t code;
  int error;
  aq_link *link;
} aq_ready_event;

/* Observation datagrams, endpoint_observe.c. */
#define AQ_OBSERVE_RATE 30.0 /* answers a second, to one registered peer */
#define AQ_OBSERVE_BURST 64.0
#define AQ_OBSERVE_SEEN 16          /* cookies that HINTs may name */
#define AQ_OBSERVE_LATER 512        /* delayed answers of an endpoint */
#define AQ_OBSERVE_LATER_EACH 4     /* ... to one registered peer */
#define AQ_MAX_ASKS 512             /* questions of ours that wait */
#define AQ_ASK_LIFE (3 * AQ_S)      /* beyond the delay that was asked for */
#define AQ_OWNER_PROFILE UINT64_MAX /* who asks: the NAT profile */

/* aq_watch: what a coordinator keeps to answer one registered peer. */
typedef struct aq_watch {
  uint8_t token[AQ_OBSERVE_TOKEN_LEN];
  uint8_t key[AQ_OBSERVE_KEY_LEN];
  aq_rate rate;
  aq_window seq;
  uint32_t later;
  uint32_t next;
  struct {
    uint64_t cookie;
    aq_addr addr;
  } seen[AQ_OBSERVE_SEEN];
} aq_watch;

/* aq_later: an answer that waits for its time. */
typedef struct aq_later {
  aq_tstamp at; /* AQ_NEVER: free */
  aq_id link;
  uint32_t socket;
  aq_addr local, to;
  uint8_t data[AQ_OBSERVE_LEN];
} aq_later;

/* aq_ask: one question of ours. */
typedef struct aq_ask {
  uint64_t cookie; /* 0: free */
  uint64_t owner;  /* a session's id or AQ_OWNER_PROFILE */
  uint32_t socket;
  uint8_t flags;
  aq_addr to;
  aq_tstamp sent, until;
} aq_ask;

typedef struct aq_remote_cand {
  aq_candidate v[AQ_MAX_REMOTE_CANDS];
  size_t n;
} aq_remote_cand;

/* aq_repair: is the path of a connection alive? endpoint_repair.c. */
#define AQ_REPAIR_TIMEOUT (5 * AQ_S) /* of one attempt */
#define AQ_MAX_REPAIRS 64            /* attempts at once; more wait */
#define AQ_REPAIR_RATE 1.0           /* a second, that a peer may ask for */
#define AQ_REPAIR_BURST 8.0
/* ... of those that guess ports. */
#define AQ_REPAIR_GUESS_RATE (1.0 / 30)
#define AQ_REPAIR_GUESS_BURST 4.0
/* aq_asker: what one coordinator offered for a connection. endpoint_offer.c. */
typedef struct aq_asker {
  aq_rate rate, guess_rate;
  aq_tstamp failed_at[2]; /* an attempt came to nothing, or one over a relay;
                             0: none did */
  aq_tstamp missed_at;    /* it said that the peer is gone; 0: never */
} aq_asker;
typedef struct aq_repair {
  uint8_t flows; /* AQ_CONN_FLOW_*: more of it may come */
  uint8_t asks;  /* PINGs because it did not */
  uint8_t hurry; /* our address has changed */
  uint8_t suspected;
  uint8_t told;      /* the application is: state MIGRATING */
  uint8_t back;      /* the path answered again by itself */
  uint8_t forgotten; /* a coordinator says: the peer has no such connection */
  uint8_t gone;      /* ... and all of them that they can't reach it */
  uint8_t busy;      /* the peer may take part soon */
  uint8_t failures;
  uint8_t turn;  /* of a relay or not: grows, but not where the peer was busy */
  uint32_t dial; /* of the attempt: a path that is being validated */
  aq_id session; /* the attempt that runs, 0: none */
  aq_tstamp since;   /* suspected */
  aq_tstamp began;   /* the newest attempt */
  aq_tstamp pinged;  /* because of that */
  aq_tstamp next_at; /* no attempt before */
  aq_tstamp check_at;
  uint8_t nudges;     /* left, see NUDGES */
  aq_tstamp moved_at; /* to the path in use, by us */
  aq_tstamp nudge_at;
  aq_asker *asker;      /* AQ_MAX_BOOTSTRAP, NULL until somebody offered */
  uint32_t home_socket; /* the path when the attempt began */
  aq_addr home;
  uint8_t upgrade; /* ... was relayed: it is to become direct */
  aq_duration upgrade_every, upgrade_gap; /* see aq_relay_step */
  aq_tstamp upgrade_at;                   /* of a relayed one; 0: not set yet */
  aq_nat_profile theirs; /* the peer's, as the last attempt told; or nothing */
} aq_repair;

/* aq_link: what the endpoint knows of one connection. */
struct aq_link {
  aq_endpoint *ep;
  aq_conn *c; /* NULL: FORWARD */
  aq_id id;   /* the connection's own */
  aq_id pub;  /* the application's name for it; may be an older dial's id */
  aq_link_state state;
  uint8_t client, user, reported, doomed, half_open, dirty, confirmed;
  uint8_t told_flag; /* server: the peer was told that we are dialing */
  uint8_t told_known;
  uint8_t unproven;      /* a dial to where a coordinator said; no answer yet */
  uint8_t registered;    /* REGISTERED came */
  uint8_t is_registrant; /* REGISTERed with us */
  uint8_t coordinates;   /* it said that it can */
  uint8_t obs_frames;    /* OBSERVED_ADDRESS came as a frame */
  uint8_t keep_alive_set; /* the application chose it */
  uint32_t socket;
  aq_addr local, remote;
  uint8_t migrating;
  aq_addr home_local, home_remote; /* the path before */
  aq_tstamp created, completed, told_at, exposed_at, deadline, last_seen;
  aq_timer timer;
  aq_list ready_node, dirty_node, doom_node, all_node, loose_node;
  aq_list events, events_node;
  uint32_t conn_bits; /* readiness of the connection itself */
  ngtcp2_cid *cid;
  size_t ncid, cidcap;
  /* who */
  uint8_t has_peer;
  aq_peer_id peer;
  aq_contact *contact;
  aq_list contact_node;
  aq_boot *boot;
  aq_id target;     /* FORWARD: the link that is meant */
  aq_list forwards; /* links whose target this is */
  aq_list fwd_node;
  int close_error; /* why we closed it, when the notice can't say */
  char close_text[80];
  aq_tstamp pinged; /* someone is held behind this one since then; 0: no */
  uint64_t ping_bytes;
  /* session */
  aq_id session;
  uint32_t dial;
  aq_step_record *steps;
  size_t nsteps;
  uint32_t recorded; /* datagrams, up to AQ_RECORD_PER_CONN */
  /* extension frames and control */
  aq_rate ctl_rate, obs_rate, cand_rate, sync_rate, reg_rate;
  uint64_t obs_seq; /* ours, of OBSERVED_ADDRESS */
  uint64_t obs_seen;
  aq_addr observed; /* us, as the peer sees it */
  aq_addr told_observed;
  aq_addr place; /* under which it is in ep->places */
  uint64_t told_gen;
  uint64_t reg_gen;
  uint64_t *announced;
  size_t nannounced;
  uint64_t next_user_seq;
  aq_remote_cand *rcand;
  aq_watch *watch; /* of a registrant, NULL before it registered */
  aq_repair repair;
};

/* aq_contact: all that concerns one proven or wanted peer. */
struct aq_contact {
  aq_peer_id id;
  aq_link *exposed;
  aq_list members; /* dialing (pinned), waiting, held, dup-waiting links */
  aq_session *session;
};

struct aq_session {
  aq_endpoint *ep;
  aq_id id;
  aq_contact *contact;
  aq_peer_id peer;
  uint8_t initiator, over, dirty, active, doomed;
  uint8_t repair;            /* for |conn|, whose path was lost; not told of */
  aq_duration upgrade_every; /* of a relay step */
  uint8_t plan;              /* aq_plan of this attempt */
  uint32_t tried;            /* boots asked in this attempt */
  uint32_t used;             /* boots whose answer led to nothing so far */
  uint32_t attempt;
  aq_id via;         /* whose word is in force or asked for, 0: nobody's */
  uint32_t via_boot; /* aq_boot_number of that */
  aq_tstamp turn_at; /* ... since then */
  uint8_t nonce[AQ_CTL_NONCE_LEN]; /* of this attempt's REQUESTs */
  uint64_t request;                /* the newest that was sent */
  size_t nwant; /* REQUESTs that wait for a slot or a coordinator */
  struct {
    uint32_t ask;
    aq_id via;
    uint8_t wait;
  } want[AQ_MAX_ASKED];
  size_t nhashed; /* session ids in ep->punches */
  uint8_t hashed[AQ_MAX_ASKED][AQ_CTL_SESSION_LEN];
  uint64_t decision;
  aq_id conn; /* that came of it */
  aq_timer timer;
  aq_list dirty_node, node;
  aq_tstamp ended;
  size_t ndial;
  struct {
    uint32_t dial;
    aq_id link;
  } dials[AQ_TRAV_MAX_DIALS];
  size_t nknown;
  aq_addr known[8];
  aq_session_info info; /* once over */
  size_t nsteps;
  aq_step_record *steps; /* once over */
  size_t npairs;
  aq_pair_info *pairs; /* once over */
  aq_trav *trav;       /* NULL once over */
};

typedef struct aq_out {
  aq_transmit t;
  uint8_t data[AQ_OUT_LEN];
} aq_out;

/* aq_extra: a socket that the endpoint asked for. It belongs to |owner| (a
 * session's id, or another number that its user knows) and to the connections
 * that run over it, and closes when all of them are gone. */
typedef enum aq_extra_state {
  AQ_EXTRA_FREE,
  AQ_EXTRA_WANTED, /* not asked for yet */
  AQ_EXTRA_OPENING,
  AQ_EXTRA_OPEN,
  AQ_EXTRA_CLOSING /* the host was not told yet */
} aq_extra_state;

typedef struct aq_extra {
  uint8_t state; /* aq_extra_state */
  uint8_t again; /* CLOSING, and wanted once it is closed */
  uint32_t links;
  uint64_t owner; /* 0: nobody any more */
  aq_local_socket sock;
} aq_extra;

/* aq_tunnel: one that we are an end of, a socket whose index follows those of
 * the extra ones. It belongs to |owner| (a session's id) and to the connections
 * that run over it. endpoint_tunnel.c. */
#define AQ_MAX_TUNNELS 64
typedef struct aq_tunnel {
  uint8_t used;
  uint8_t carried; /* something may be under way */
  uint8_t offered; /* it was the coordinator's idea, or the peer's */
  uint8_t over;    /* the relay passes nothing on any more */
  uint8_t id[AQ_TUNNEL_ID_LEN];
  uint32_t links;
  uint64_t owner;       /* 0: nobody any more */
  aq_id via;            /* the connection to the relay */
  uint32_t via_boot;    /* aq_boot_number of that */
  aq_addr relay, local; /* ... its ends, when it was used last */
  aq_local_socket sock; /* as connections see it: addresses that */
  aq_addr peer;         /* exist here alone */
  aq_tstamp close_at;   /* AQ_NEVER: somebody needs it */
} aq_tunnel;

/* Datagrams that a relay passes on, and as many as go out at once. */
#define AQ_RELAY_RING 512
#define AQ_RELAY_LEN 1472 /* what fits Ethernet over IPv4; longer: dropped */
#define AQ_RELAY_BATCH 40 /* less than AQ_TRANSMIT_MAX */
typedef struct aq_relay_out {
  uint32_t socket;
  uint32_t len;
  aq_addr local, remote;
  uint8_t data[AQ_RELAY_LEN];
} aq_relay_out;

typedef struct aq_saved_token {
  aq_addr addr;
  uint16_t len;
  uint8_t data[AQ_MAX_TOKEN_LEN];
} aq_saved_token;

struct aq_endpoint {
  aq_env env;
  aq_mem mem;
  aq_conn_shared shared;
  aq_statistics stats;
  aq_peer_id self;
  aq_tstamp now;
  uint8_t closing, settling;
  aq_rand rand;
  uint64_t salt[2];

  aq_idmap ids; /* connections, sessions, streams */
  aq_hash cids; /* connection id -> link */
  aq_hash contacts;
  aq_hash places;  /* remote address -> link, for stateless resets */
  aq_hash punches; /* punch session -> aq_session */
  aq_hash readies; /* stream -> aq_ready_event */
  aq_timer_heap link_timers, session_timers;
  aq_list links, tombs, sessions;
  aq_list ready, dirty, dirty_sessions, doomed, readable;
  aq_list loose; /* unfinished dials without an expected key */
  uint32_t nlinks, nsessions, ntargets, ntombs, narriving;
  uint32_t nactive; /* sessions in coordination or punching, but repairs */
  uint32_t nrepairs;

  size_t nsock;
  aq_local_socket sock[AQ_MAX_SOCKETS];
  uint8_t loopback; /* some socket is bound to loopback */
  aq_hash watches;  /* token -> link */
  aq_later *later;  /* AQ_OBSERVE_LATER, NULL until the first */
  aq_tstamp later_at;
  aq_ask *ask;     /* AQ_MAX_ASKS, NULL until the first */
  aq_extra *extra; /* AQ_MAX_EXTRA_SOCKETS, NULL until the first is wanted */
  uint32_t nextra, extra_todo;
  aq_profile *nat; /* NULL until there is somebody to ask */
  uint32_t ntunnel;
  aq_tunnel *tunnel; /* AQ_MAX_TUNNELS, NULL until the first */

  aq_disc disc;
  uint64_t cand_gen; /* grows when our published candidates change */
  size_t npublished; /* what others are told, best first */
  aq_candidate published[AQ_MAX_CANDIDATES];
  size_t nhidden; /* what the application keeps to itself */
  aq_addr hidden[AQ_MAX_CANDIDATES];
  aq_tstamp publish_at; /* new candidates wait for a decision until then */
  aq_coord *coord;
  aq_relay *relay; /* NULL: we don't */
  aq_ring relay_ring;
  aq_relay_out *relay_out; /* AQ_RELAY_RING, NULL until the first */
  uint8_t relay_turn;      /* it takes turns with our own connections */
  aq_punch_step punch;
  aq_nat_profile profile; /* what was measured, as others are told */

  size_t nboot;
  aq_boot boot[AQ_MAX_BOOTSTRAP];

  uint64_t next_request, next_decision;
  size_t ntoken;
  aq_saved_token *token;

  aq_ring ring;
  aq_event *event;
  uint64_t events_lost;
  aq_ring out_ring;
  aq_out *out;
  aq_record *record; /* NULL: nobody records */

  /* No secrets: from here on nothing is wiped in the end. */
  aq_limits limits;
  aq_guard guard;
  aq_guard answer_guard; /* answers have a budget of their own */
};

/* ---- endpoint.c -----------------------------------------------------------
 */

void aq_ep_enter(aq_endpoint *ep, aq_tstamp now);
void aq_ep_settle(aq_endpoint *ep);
/* The socket to reach |to| with; NULL when none is of its family. */
const aq_local_socket *aq_ep_socket_for(const aq_endpoint *ep,
                                        const aq_addr *to);
const aq_local_socket *aq_ep_socket(const aq_endpoint *ep, uint32_t index);

/* ---- endpoint_sock.c: extra sockets ----------------------------------------
 */

/* aq_extra_open asks for a socket like |like|, with a port of its own.
 * Returns 0, AQ_ERR_LIMIT or AQ_ERR_NOMEM. */
int aq_extra_open(aq_endpoint *ep, const aq_local_socket *like, uint64_t owner,
                  uint32_t *index);
/* aq_extra_share gives one like |like|, but for |except|, that nobody but
 * connections has, and the fewest of them; it belongs to |owner| as well from
 * now on. NULL: there is none. */
#define AQ_EXTRA_SHARED 128 /* from so many sockets on moves share */
const aq_local_socket *aq_extra_share(aq_endpoint *ep,
                                      const aq_local_socket *like,
                                      uint32_t except, uint64_t owner);
const aq_local_socket *aq_extra_get(const aq_endpoint *ep, uint32_t index);
/* The owner needs it no longer; connections may. */
void aq_extra_release(aq_endpoint *ep, uint32_t index);
void aq_extra_release_all(aq_endpoint *ep, uint64_t owner);
/* A connection runs over |index| from now on, or no longer; others than extra
 * sockets are ignored. */
void aq_extra_hold(aq_endpoint *ep, uint32_t index);
void aq_extra_drop(aq_endpoint *ep, uint32_t index);

/* ---- endpoint_tunnel.c: as an end of tunnels -------------------------------
 */

/* Does |index| name a tunnel, be it gone? */
int aq_tunnel_is_socket(uint32_t index);
/* ... one that its relay has ended? */
int aq_tunnel_is_over(const aq_endpoint *ep, uint32_t index);
aq_tunnel *aq_tunnel_get(const aq_endpoint *ep, uint32_t index);
aq_tunnel *aq_tunnel_find(const aq_endpoint *ep,
                          const uint8_t id[AQ_TUNNEL_ID_LEN]);
/* aq_tunnel_open: the tunnel |id| over the relay at |via|, which |offered| it.
 * Returns 0, AQ_ERR_PEER_NOT_CONNECTED, AQ_ERR_INVAL (the id is in use),
 * AQ_ERR_LIMIT or AQ_ERR_NOMEM. */
int aq_tunnel_open(aq_endpoint *ep, aq_id via,
                   const uint8_t id[AQ_TUNNEL_ID_LEN], uint64_t owner,
                   int offered, aq_tunnel **out);
/* The owner needs none any longer, |but| those agreed on there, if that isn't
 * NULL; connections may. */
void aq_tunnel_release(aq_endpoint *ep, uint64_t owner, const aq_trav *but);
/* As aq_extra_hold and aq_extra_drop, which call them. */
void aq_tunnel_hold(aq_endpoint *ep, uint32_t index);
void aq_tunnel_drop(aq_endpoint *ep, uint32_t index);
aq_tstamp aq_tunnel_next(const aq_endpoint *ep);
void aq_tunnel_timeout(aq_endpoint *ep);
/* The relay at |via| says that it is over; or |via| is gone. */
void aq_tunnel_cancelled(aq_link *via, const uint8_t id[AQ_TUNNEL_ID_LEN]);
void aq_tunnel_lost(aq_endpoint *ep, const aq_link *via);
/* aq_tunnel_send turns what goes over a tunnel, |t| in |buf|, into what goes to
 * the relay. |buf| has room: AQ_TUNNEL_ROOM is less than AQ_TRANSMIT_MAX.
 * Returns 1, or 0: it is lost. */
#define AQ_TUNNEL_ROOM (65507 - 64 * AQ_TUNNEL_HEAD)
int aq_tunnel_send(aq_endpoint *ep, aq_transmit *t, uint8_t *buf);
void aq_tunnel_datagram(aq_endpoint *ep, const aq_datagram *d,
                        const uint8_t *data, size_t len);
/* What the outside is told of the path of |l|: over a tunnel the way to the
 * relay, and 1. */
int aq_tunnel_show(const aq_link *l, aq_addr *remote, aq_addr *local);

/* ---- endpoint_relay.c: as a relay ------------------------------------------
 */

int aq_relay_init(aq_endpoint *ep); /* 0 or AQ_ERR_NOMEM */
/* May |from| have a tunnel to |to|? Returns 0 or an aq_ctl_error, counted. */
uint64_t aq_relay_asked(aq_endpoint *ep, const aq_link *from,
                        const aq_link *to);
void aq_relay_agreed(aq_endpoint *ep, const aq_link *from, const aq_link *to,
                     const uint8_t id[AQ_TUNNEL_ID_LEN]);
/* As a relay or an end: |conn|, if it is there, is told that it is over. */
void aq_relay_tell_over(aq_endpoint *ep, aq_id conn,
                        const uint8_t id[AQ_TUNNEL_ID_LEN]);
/* |l| wants the tunnel no longer; or is gone. The other end is told. */
void aq_relay_over(aq_link *l, const uint8_t id[AQ_TUNNEL_ID_LEN]);
void aq_relay_gone(aq_link *l);
/* Tunnels that nobody uses end, and both ends are told. */
void aq_relay_idle(aq_endpoint *ep);
void aq_relay_datagram(aq_endpoint *ep, const aq_datagram *d,
                       const uint8_t id[AQ_TUNNEL_ID_LEN], const uint8_t *data,
                       size_t len);
/* The next batch that is passed on: 1, or 0. */
int aq_relay_poll(aq_endpoint *ep, aq_transmit *t, uint8_t *buf);

/* ---- endpoint_observe.c: observation datagrams -----------------------------
 */

/* As coordinator: what REGISTERED tells |l| so that it may ask. */
void aq_observe_grant(aq_link *l, aq_ctl *registered);
void aq_observe_forget(aq_link *l);
/* Where the datagram with |cookie| came from; family 0: not seen. */
aq_addr aq_observe_seen(const aq_link *l, uint64_t cookie);
void aq_observe_datagram(aq_endpoint *ep, const aq_datagram *d,
                         const uint8_t *data, size_t len);
void aq_observe_timeout(aq_endpoint *ep);
aq_tstamp aq_observe_next(const aq_endpoint *ep);
/* aq_observe_ask asks |b|, from |socket|, at its main address (|alternate| 0)
 * or one of its others, to answer after |delay| seconds from where |flags| say.
 * The answer is an ADDRESS_OBSERVED whose value is the cookie, made here.
 * Returns 0, AQ_ERR_UNSUPPORTED (it can't, or has no such address),
 * AQ_ERR_NOT_ALLOWED (the guard), AQ_ERR_LIMIT or AQ_ERR_INTERNAL. */
typedef struct aq_ask_params {
  uint64_t owner;
  uint32_t socket;
  uint32_t alternate;
  uint8_t flags, delay;
} aq_ask_params;
int aq_observe_ask(aq_endpoint *ep, aq_boot *b, const aq_ask_params *p,
                   uint64_t *cookie);
/* Sends an ASK; |o| has all but its type and its cookie, which is made here.
 * Returns the cookie, or 0 when nothing was sent. */
uint64_t aq_observe_send(aq_endpoint *ep, uint32_t socket, const aq_addr *to,
                         aq_observe *o, const uint8_t *key);
/* Forgets the questions of |owner|. */
void aq_observe_drop(aq_endpoint *ep, uint64_t owner);

/* ---- endpoint_hard.c: sessions with plans ----------------------------------
 */

/* The socket over which the coordinator at |conn| sees us. */
uint32_t aq_hard_home(aq_endpoint *ep, aq_id conn);
void aq_hard_open(aq_session *s, const aq_trav_action *a);
void aq_hard_close(aq_session *s);
void aq_hard_observe(aq_session *s, const aq_trav_action *a);
void aq_hard_hint(aq_session *s, const aq_trav_action *a);
/* What came of them; |owner| may be somebody else than a session. */
void aq_hard_opened(aq_endpoint *ep, uint64_t owner, uint32_t index,
                    const aq_addr *bound);
void aq_hard_observed(aq_endpoint *ep, uint64_t owner, uint32_t socket,
                      uint64_t cookie, const aq_addr *addr);
void aq_hard_hinted(aq_link *l, const aq_ctl *m);
/* Be an end of the tunnel of |s|. */
void aq_hard_tunnel(aq_session *s, const aq_trav_action *a);
/* May a session, ours or a peer's, follow |plan|? */
int aq_hard_allowed(const aq_endpoint *ep, uint64_t plan);

/* ---- endpoint_profile.c: the NAT in front of us ----------------------------
 */

void aq_profile_del(aq_endpoint *ep);
/* Coordinators came, went, or said more. */
void aq_profile_boots(aq_endpoint *ep);
/* Our addresses changed, inside or outside. */
void aq_profile_moved(aq_endpoint *ep);
/* The question with |cookie| was answered by |from|. */
void aq_profile_answered(aq_endpoint *ep, uint64_t cookie, const aq_addr *from,
                         const aq_addr *seen);
/* A socket of ours is there; |bound| NULL: it can't be had. */
void aq_profile_socket(aq_endpoint *ep, uint32_t index, const aq_addr *bound);
/* 1 when the datagram is one that we sent to ourselves, or pretends to be. */
int aq_profile_hairpin(aq_endpoint *ep, const aq_datagram *d,
                       const uint8_t *data, size_t len, const aq_observe *o);
/* Does what is due. Returns 1 when links and sessions were touched. */
int aq_profile_turn(aq_endpoint *ep);
aq_tstamp aq_profile_next(const aq_endpoint *ep);

/* ---- endpoint_event.c -----------------------------------------------------
 */

/* aq_ep_event gives a zeroed event with its time, which is queued; when the
 * ring is full a scratch one that is counted as lost. */
aq_event *aq_ep_event(aq_endpoint *ep, aq_event_kind kind);
void aq_ep_event_peer(aq_event *e, const aq_peer_id *peer);
/* aq_ep_limit tells of a limit's first hit. */
void aq_ep_limit(aq_endpoint *ep, const char *name);
#define AQ_LIMIT_HITS(ep, counter, n)                                          \
  do {                                                                         \
    uint64_t hits = (n);                                                       \
    if (hits > 0 && (ep)->stats.counter == 0) {                                \
      aq_ep_limit((ep), #counter);                                             \
    }                                                                          \
    (ep)->stats.counter += hits;                                               \
  } while (0)
#define AQ_LIMIT_HIT(ep, counter) AQ_LIMIT_HITS(ep, counter, 1)
void aq_ep_ready(aq_link *l, const aq_notice *n);
void aq_ep_ready_forget(aq_link *l);
void aq_ep_ready_drop(aq_ready_event *r);
void aq_ep_readable(aq_link *l); /* the link was exposed */

/* ---- endpoint_link.c: life of links, their notices and timers -------------
 */

typedef struct aq_dial_params {
  const aq_addr *addr;
  const aq_peer_id *expect;
  const char *alpn;
  int coordination; /* to a bootstrap node */
  aq_duration timeout, rtt;
  uint32_t socket; /* UINT32_MAX: any of the right family */
} aq_dial_params;
/* Returns 0 or AQ_ERR_ADDRESS, AQ_ERR_LIMIT, AQ_ERR_NOMEM, AQ_ERR_TLS. */
int aq_link_dial(aq_endpoint *ep, const aq_dial_params *p, aq_link **out);
/* As server; NULL when it can't be made. */
aq_link *aq_link_accept(aq_endpoint *ep, const aq_datagram *d,
                        const ngtcp2_pkt_hd *hd, const ngtcp2_cid *odcid,
                        int token_type);
void aq_link_touch(aq_link *l); /* marks it dirty */
void aq_link_settle(aq_link *l);
void aq_link_timeout(aq_link *l);
/* aq_link_drop forgets it without a word; freed when settled. */
void aq_link_drop(aq_link *l);
void aq_link_free(aq_link *l);
void aq_link_close(aq_link *l, int app, uint64_t code, const char *reason,
                   size_t len);
/* aq_link_get follows forwards; NULL when stale. */
aq_link *aq_link_get(const aq_endpoint *ep, aq_id id);
aq_duration aq_link_rtt(const aq_link *l);

/* Which link has that remote address; for the exposed ones. */
aq_link *aq_place_get(const aq_endpoint *ep, const aq_addr *remote);
void aq_place_set(aq_link *l);
void aq_place_clear(aq_link *l);

/* What becomes of the connection that a session came to. */
void aq_session_moving(aq_link *l);
void aq_session_lost(aq_link *l, int error, aq_reason reason, const char *text);

/* ---- endpoint_repair.c: connections whose path was lost --------------------
 */

/* aq_repair_look notes what happened on |l| and when to look again. */
void aq_repair_look(aq_link *l);
void aq_repair_due(aq_link *l); /* l->repair.check_at is due */
/* Our own address has changed: every path is asked whether it lives. */
void aq_repair_moved(aq_endpoint *ep);
int aq_repair_is_on(const aq_link *l);
/* A coordinator answers again: what waits for it need not wait longer. */
void aq_repair_retry(aq_endpoint *ep);
/* aq_link_is_silent: 1 when an answer is due for longer than it should take. */
int aq_link_is_silent(const aq_link *l);
void aq_link_ping(aq_link *l);
/* There is reason to believe that the path is dead: it is asked. */
void aq_repair_hurry(aq_link *l);
/* |other| has proven to be of the same peer, and won't stay: where |l| goes
 * over a relay, it takes the other one's path, if that is ours to do. */
void aq_repair_take(aq_link *l, const aq_link *other);
/* |s| is an attempt for |l| from now on. */
void aq_repair_joined(aq_link *l, aq_session *s);
/* Instead of a dial. Returns 0 or as aq_conn_migrate, AQ_ERR_CLOSED. */
int aq_repair_move(aq_session *s, const aq_trav_action *a);
/* |via| says that the peer of the attempt |s| has |forgotten| the connection,
 * or that it doesn't know the peer. */
void aq_repair_gone(aq_session *s, const aq_link *via, int forgotten);
/* The peer vetoed the attempt |s|: not now. */
void aq_repair_busy(const aq_session *s);
void aq_repair_ended(aq_session *s);
void aq_repair_lost(aq_link *l); /* the connection ended */
/* |l| has another path now; until then it was to |before|. For aq_explain. */
void aq_repair_tell(aq_link *l, const aq_addr *before, int relayed);

/* ---- endpoint_pair.c: one connection per pair of peers --------------------
 */

aq_contact *aq_contact_find(const aq_endpoint *ep, const aq_peer_id *id);
aq_contact *aq_contact_make(aq_endpoint *ep, const aq_peer_id *id);
void aq_contact_release(aq_endpoint *ep, aq_contact *k); /* frees when empty */
void aq_contact_join(aq_contact *k, aq_link *l);
void aq_contact_leave(aq_link *l);
/* The handshake of |l| is complete: expose, hold or wait. */
void aq_pair_complete(aq_link *l);
void aq_pair_accepted(aq_link *l); /* AQ_CTL_ACCEPTED came */
void aq_pair_deadline(aq_link *l); /* l->deadline is due */
void aq_pair_alive(aq_link *l);    /* bytes came after the ping */
void aq_pair_hangup(aq_link *l);   /* forgets an unfinished dial */
/* |l| is closed or dropped and leaves its contact. */
void aq_pair_gone(aq_link *l, const aq_notice *why);
/* CONNECTION_ESTABLISHED once more, for an id |as| that now means |l|. */
void aq_pair_report(aq_link *l, aq_id as);

/* ---- endpoint_ctl.c: control stream, coordinator, frames ------------------
 */

void aq_ctl_drain(aq_link *l);
int aq_ctl_send(aq_link *l, const aq_ctl *m);
void aq_ctl_register(aq_link *l);
void aq_ctl_accepted(aq_link *l);
void aq_link_violation(aq_link *l, const char *why);

/* ---- endpoint_frame.c ------------------------------------------------------
 */

void aq_frame_received(aq_link *l, const aq_frame *f);
void aq_frame_send_observed(aq_link *l);
/* The peer sees us at |addr|: a frame of it says so, or its REGISTERED before
 * the first frame. 0 when it says so too often, then it counts for nothing. */
int aq_link_observed(aq_link *l, const aq_addr *addr, uint64_t seq);
/* aq_frame_sync announces our candidates as far as they changed. */
void aq_frame_sync(aq_link *l);
void aq_ep_disc_changed(aq_endpoint *ep);
/* What others are told of us: at most |max|, best first. */
size_t aq_ep_published(const aq_endpoint *ep, aq_candidate *out, size_t max);
void aq_cand_timeout(aq_endpoint *ep);

/* ---- endpoint_act.c: sessions ----------------------------------------------
 */

void aq_session_touch(aq_session *s);
/* What moved a connection, beside what made it; the oldest make room. */
void aq_link_add_steps(aq_link *l, const aq_step_record *v, size_t n);
/* Keeps ep->punches in step with the session ids that are agreed on. */
void aq_session_rehash(aq_session *s);
void aq_session_drive(aq_session *s);
void aq_session_timeout(aq_session *s);
uint32_t aq_session_key(const aq_session *s); /* its name for the guard */
/* What the guard has to know of |a|; and a refusal of its, counted. */
void aq_session_guard(const aq_session *s, const aq_trav_action *a,
                      aq_guard_request *r);
void aq_session_limited(aq_endpoint *ep, aq_guard_verdict v);
void aq_session_answer(aq_link *l, const aq_ctl *m);
void aq_session_error(aq_link *l, const aq_ctl *m);
void aq_session_cancelled(aq_link *l, const aq_ctl *m);
/* The dial |l| of a session ended. */
void aq_session_dialed(aq_link *l, int error);
void aq_session_connected(aq_session *s, aq_link *l);
/* The session that expects a handshake from |remote|, or NULL. */
aq_session *aq_session_expecting(const aq_endpoint *ep, uint32_t socket,
                                 const aq_addr *remote);
void aq_session_punched(aq_endpoint *ep, const aq_datagram *d,
                        const uint8_t *data, size_t len);
/* A coordinator came or went (|lost| may be NULL): requests that wait look
 * again. |again| may be asked once more in the attempts that run; or NULL. */
void aq_session_coordinators(aq_endpoint *ep, const aq_link *lost,
                             const aq_boot *again);
/* Gives back the slot of an attempt and the punch key's place. */
void aq_session_end_active(aq_session *s);

/* ---- endpoint_offer.c: what coordinators offer -----------------------------
 */

void aq_session_offer(aq_link *l, const aq_ctl *m);
void aq_session_veto(aq_link *l, const uint8_t *session, int error);
/* May the coordinator with that number, whose offers hold |held| of |max|, of
 * which |in_all| are taken, have one more? */
int aq_offer_fits(aq_endpoint *ep, uint32_t boot, uint32_t held,
                  uint32_t in_all, uint32_t max);
/* The attempt |s| has the word of |via| from now on; it came to nothing, or
 * another one's is in force; it has had its time. */
void aq_turn_taken(aq_session *s, const aq_link *via);
void aq_turn_failed(const aq_session *s);
int aq_turn_is_over(const aq_session *s);
/* |via| says that the peer of |l| is gone. 1: so did every coordinator that is
 * heard, since the path is suspected. */
int aq_turn_missed(aq_link *l, const aq_link *via);
/* Boots that an attempt for |l| rather leaves out: one of its kind came to
 * nothing through each, later than through others. */
uint32_t aq_turn_used(const aq_link *l, int relay);

/* ---- endpoint_session.c: their life, and the public calls ------------------
 */

void aq_session_end(aq_session *s);
/* As target of an offer that was found good. */
int aq_session_accept(aq_endpoint *ep, aq_contact *k, aq_link *via,
                      const aq_ctl *offer);
void aq_session_free(aq_session *s);
void aq_session_bury(aq_endpoint *ep); /* tombs that are old enough */
aq_tstamp aq_session_bury_at(const aq_endpoint *ep);
aq_session *aq_session_get(const aq_endpoint *ep, aq_id id);
int aq_session_allowed(const aq_endpoint *ep, const aq_peer_id *peer);
/* aq_session_repair begins an attempt for the connection |l|: to a direct path,
 * or over a relay. Returns 0, AQ_ERR_LIMIT, AQ_ERR_NOMEM. */
int aq_session_repair(aq_link *l, int relay, aq_session **out);
/* Relay fallback is enabled, and a connected coordinator relays. */
int aq_session_may_relay(aq_endpoint *ep);
/* Begins as initiator; the caller looked for a running one before. */
int aq_session_begin(aq_endpoint *ep, aq_contact *k, const aq_addr *known,
                     size_t nknown, aq_duration timeout, aq_session **out);

#endif
