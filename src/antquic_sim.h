/* antquic_sim.h - whole endpoints in virtual time, on a network that is made of
 * hosts, NATs and links in memory.
 *
 * Layer:  0, beside antquic.h
 * Owner:  the caller owns what a *_new gives it; nodes belong to their sim
 * Time:   aq_tstamp of the simulation's own clock, which starts at 1 s and
 * moves only in aq_sim_step Thread: a simulation and its endpoints belong to
 * one thread at a time Spec:   docs/simulator.md
 *
 * The endpoints are the real ones: every line of the core runs but TLS and
 * packet protection, which are replaced by a handshake of the same messages and
 * sizes that proves nothing. So they can never talk to a real peer, and none of
 * them has a way to a real socket.
 *
 * One seed decides everything. The same calls with the same seed give the same
 * datagrams at the same nanoseconds.
 *
 * SPDX-License-Identifier: MIT */
#ifndef ANTQUIC_SIM_H
#define ANTQUIC_SIM_H

#include "antquic.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct aq_sim aq_sim;

/* A node is the internet, a NAT or a host: a small number, never reused. The
 * network is a tree: each node but the internet has a parent, which is the
 * internet or a NAT, and one link to it. */
typedef uint32_t aq_sim_node;
#define AQ_SIM_INTERNET ((aq_sim_node)0)
#define AQ_SIM_MAX_NODES 65536
#define AQ_SIM_MAX_ADDRS 8 /* of one node */

/* aq_sim_new: |env| (may be NULL) is copied; its |random| is not used. Returns
 * 0 or AQ_ERR_NOMEM. */
int aq_sim_new(aq_sim **ps, uint64_t seed, const aq_env *env);
/* aq_sim_del ends it. Endpoints that are still there become deaf and mute and
 * are the caller's to delete; the memory goes with the last of them. */
void aq_sim_del(aq_sim *s);
aq_tstamp aq_sim_now(const aq_sim *s);

/* ---- links ---------------------------------------------------------- */

/* What one direction of a link does to datagrams. All zero is a perfect link.
 */
typedef struct aq_sim_link {
  aq_duration delay;
  aq_duration jitter;        /* up to so much more, uniform; keeps the order */
  double loss;               /* mean share that is lost, 0..1 */
  double burst;              /* mean length of a run of losses; up to 1: none */
  double dup;                /* share that arrives twice */
  double reorder;            /* share that is held back for |reorder_delay| */
  aq_duration reorder_delay; /* 0: 10 ms */
  uint64_t rate;             /* bytes a second, 0: no limit */
  uint64_t queue;            /* bytes that may wait for it, 0: 64 KiB */
  uint32_t mtu;              /* bytes of an IP packet, 0: 1500 */
  uint8_t hops;              /* routers on the way, besides the two ends */
  uint8_t down;              /* swallows everything */
} aq_sim_link;

#define AQ_SIM_UP 1u   /* from the node to its parent */
#define AQ_SIM_DOWN 2u /* from the parent to the node */
#define AQ_SIM_BOTH 3u
/* aq_sim_link_check: 0, or AQ_ERR_INVAL for a share out of 0..1, a delay over
 * an hour or a burst over a million. */
int aq_sim_link_check(const aq_sim_link *link);
/* aq_sim_set_link changes the link of |node| from now on; what flies already
 * arrives. Returns 0 or AQ_ERR_INVAL (no such node, a link that fails the
 * check). */
int aq_sim_set_link(aq_sim *s, aq_sim_node node, unsigned directions,
                    const aq_sim_link *link);
/* The present one of one direction. Returns 0 or AQ_ERR_INVAL. */
int aq_sim_get_link(const aq_sim *s, aq_sim_node node, unsigned direction,
                    aq_sim_link *out);

/* ---- NATs ----------------------------------------------------------- */

/* RFC 4787 section 4.1. FLOW is Linux's netfilter: each flow has a mapping of
 * its own, that prefers the port of the newest one of the same source, then
 * the source's own, and may use a port for several flows to different places.
 */
typedef enum aq_sim_mapping {
  AQ_SIM_MAP_EI,
  AQ_SIM_MAP_AD,
  AQ_SIM_MAP_APD,
  AQ_SIM_MAP_FLOW,
  AQ_SIM_MAP_NONE /* no translation: a router, with a firewall if it filters */
} aq_sim_mapping;

typedef enum aq_sim_filtering {
  AQ_SIM_FILTER_EI,
  AQ_SIM_FILTER_AD,
  AQ_SIM_FILTER_APD
} aq_sim_filtering;

typedef enum aq_sim_ports {
  AQ_SIM_PORTS_PRESERVE,   /* the inner port where it is free, else random */
  AQ_SIM_PORTS_SEQUENTIAL, /* the last one and |step| */
  AQ_SIM_PORTS_RANDOM,
  AQ_SIM_PORTS_BLOCK /* each inner address has blocks of its own */
} aq_sim_ports;

typedef enum aq_sim_hairpin {
  AQ_SIM_HAIRPIN_NO,
  AQ_SIM_HAIRPIN_EXTERNAL, /* the source is seen as the outer address */
  AQ_SIM_HAIRPIN_INTERNAL  /* the source is seen as it is inside */
} aq_sim_hairpin;

typedef enum aq_sim_v6 {
  AQ_SIM_V6_OFF,     /* no IPv6 behind it */
  AQ_SIM_V6_OPEN,    /* global addresses, everything passes */
  AQ_SIM_V6_FIREWALL /* global addresses, stateful firewall */
} aq_sim_v6;

/* aq_sim_nat_params: set up with aq_sim_nat_params_init. */
typedef struct aq_sim_nat_params {
  aq_sim_mapping mapping;
  aq_sim_filtering filtering;
  aq_sim_ports ports;
  aq_sim_hairpin hairpin;
  aq_sim_v6 v6;
  uint16_t low, high;  /* outer ports; 1024..65535 */
  int32_t step;        /* SEQUENTIAL, BLOCK: not 0; BLOCK: 0 is random inside */
  uint16_t block_base; /* BLOCK: first port of the first block; 0: |low| */
  uint16_t block_size; /* BLOCK: 512 */
  uint16_t max_blocks; /* BLOCK: that one inner address may have; 1 */
  size_t naddr;        /* outer IPv4 addresses; 0: one is chosen */
  aq_addr addr[AQ_SIM_MAX_ADDRS]; /* their ports don't matter */
  uint8_t arbitrary; /* each mapping takes the next address; else each inner
                        address keeps one */
  uint8_t blocked;   /* no UDP passes */
  uint8_t poison;    /* an unsolicited datagram takes its tuple, because the
                        router believes that it is meant itself */
  uint8_t inbound_refresh; /* datagrams from outside keep a mapping alive; 1 */
  uint8_t inbound_session; /* one that was let in makes the flow back, so that
                              the answer leaves by the same port; 1 */
  uint8_t same_port;       /* FLOW: keeps to the port of the newest flow; 1 */
  aq_duration idle;        /* a mapping that is not used; 30 s */
  aq_duration absolute;    /* any mapping; 0: none */
  double background;       /* allocations of others, a second */
  uint32_t max_flows;      /* 65536; then new flows are dropped */
  aq_addr network; /* inner IPv4 network, /24; family 0: one is chosen */
} aq_sim_nat_params;

void aq_sim_nat_params_init(aq_sim_nat_params *p);
/* aq_sim_nat_type sets |p| up as a type of the NAT lab (docs/natlab.md), such
 * as "port_restr" or "linux_open". Returns 0 or AQ_ERR_INVAL (no such type). */
int aq_sim_nat_type(aq_sim_nat_params *p, const char *name);
/* Walks their names: index 0.. until NULL. */
const char *aq_sim_nat_type_at(size_t index);

/* aq_sim_add_nat puts a NAT behind |parent|. Returns 0, AQ_ERR_INVAL (no such
 * parent, a host, bad numbers), AQ_ERR_ADDRESS (an address that is taken),
 * AQ_ERR_LIMIT or AQ_ERR_NOMEM. */
int aq_sim_add_nat(aq_sim *s, aq_sim_node parent, const aq_sim_nat_params *p,
                   aq_sim_node *out);

/* ---- hosts ---------------------------------------------------------- */

typedef struct aq_sim_host_params {
  size_t naddr; /* 0: chosen, of the families that follow */
  aq_addr addr[AQ_SIM_MAX_ADDRS];
  uint8_t v4; /* 1 */
  uint8_t v6; /* 0; there must be IPv6 where it stands */
} aq_sim_host_params;

void aq_sim_host_params_init(aq_sim_host_params *p);
/* aq_sim_add_host: |p| may be NULL. Returns as aq_sim_add_nat. */
int aq_sim_add_host(aq_sim *s, aq_sim_node parent, const aq_sim_host_params *p,
                    aq_sim_node *out);
/* A node's addresses (a NAT's outer ones; port 0). Returns how many there are;
 * fills at most |max|. 0: no such node. */
size_t aq_sim_get_addrs(const aq_sim *s, aq_sim_node node, aq_addr *out,
                        size_t max);

/* ---- scripted faults ------------------------------------------------ */

/* All return 0, or AQ_ERR_INVAL when |node| is not what it takes. */

/* A NAT forgets all mappings. With |new_ports| one that preserves ports chooses
 * others from now on. */
int aq_sim_rebind(aq_sim *s, aq_sim_node nat, int new_ports);
/* A NAT forgets all and has another outer IPv4 address, in place of its first.
 * AQ_ERR_ADDRESS: it is taken. */
int aq_sim_renumber(aq_sim *s, aq_sim_node nat, const aq_addr *addr);
/* A NAT lets no UDP pass, or does again. */
int aq_sim_block(aq_sim *s, aq_sim_node nat, int on);
/* Others behind a NAT make |n| mappings. */
int aq_sim_burn(aq_sim *s, aq_sim_node nat, uint32_t n);
/* The link of any node swallows everything, or does no longer. */
int aq_sim_black_hole(aq_sim *s, aq_sim_node node, int on);
/* A host stops at once, its endpoints with it, without a word; or goes on as if
 * it had slept. */
int aq_sim_kill(aq_sim *s, aq_sim_node host, int on);
/* A host's interfaces change: it has these addresses in place of the old ones,
 * and its endpoints hear of it. AQ_ERR_ADDRESS, AQ_ERR_NOMEM. */
int aq_sim_set_addrs(aq_sim *s, aq_sim_node host, const aq_addr *v, size_t n);
/* A host moves to another network and has a new address there of each family
 * that it had and the network has. AQ_ERR_NOMEM. */
int aq_sim_move(aq_sim *s, aq_sim_node host, aq_sim_node parent);

/* ---- endpoints ------------------------------------------------------ */

typedef struct aq_sim_endpoint aq_sim_endpoint;

/* aq_sim_endpoint_new: |key|, 32 bytes, makes the identity (params->identity is
 * ignored), |rp| (may be NULL) says what to bind, as for aq_runtime_new. |why|
 * gets a sentence. Returns 0, AQ_ERR_INVAL (not a host), as aq_endpoint_new, or
 * AQ_ERR_ADDRESS (cannot be bound). */
int aq_sim_endpoint_new(aq_sim_endpoint **pe, aq_sim *s, aq_sim_node host,
                        const uint8_t key[32], const aq_runtime_params *rp,
                        const aq_endpoint_params *params, char *why,
                        size_t whylen);
/* aq_sim_endpoint_del closes at once: CONNECTION_CLOSE is sent where possible.
 * NULL is allowed. */
void aq_sim_endpoint_del(aq_sim_endpoint *e);
/* Borrowed. After verbs of antquic.h call aq_sim_endpoint_flush, or go on with
 * aq_sim_step, which does it. */
aq_endpoint *aq_sim_endpoint_core(aq_sim_endpoint *e);
aq_tstamp aq_sim_endpoint_now(const aq_sim_endpoint *e);
/* Sends what is queued and serves requests for sockets; no time passes.
 * Returns 0 or AQ_ERR_NOMEM. */
int aq_sim_endpoint_flush(aq_sim_endpoint *e);
/* 1 when aq_endpoint_poll_event would give one and its host is alive. */
int aq_sim_endpoint_has_events(const aq_sim_endpoint *e);
/* Nanoseconds until it must be told the time; AQ_NEVER. */
aq_duration aq_sim_endpoint_timeout(const aq_sim_endpoint *e);
/* As aq_runtime_get_sockets and aq_runtime_open_socket. */
size_t aq_sim_endpoint_get_sockets(const aq_sim_endpoint *e, aq_addr *out,
                                   size_t max);
int aq_sim_endpoint_open_socket(aq_sim_endpoint *e, const aq_addr *bind,
                                uint32_t *index);
void aq_sim_endpoint_get_stats(const aq_sim_endpoint *e, aq_io_stats *out);
/* The id of an endpoint with that key. Returns 0, AQ_ERR_NOMEM or
 * AQ_ERR_INTERNAL. */
int aq_sim_peer_id(aq_peer_id *out, const uint8_t key[32]);

/* aq_sim_step lets time pass until some endpoint has events for its host, or a
 * socket of aq_sim_udp_open a datagram, but not beyond |until|. Returns 1 when
 * one has, 0 when |until| came, AQ_ERR_NOMEM. */
int aq_sim_step(aq_sim *s, aq_tstamp until);

/* ---- bare sockets --------------------------------------------------- */

/* For what is no endpoint: a classifier, a stranger. */
/* Datagrams not received yet; more are dropped. */
#define AQ_SIM_UDP_QUEUE 256
#define AQ_SIM_UDP_MAX 1472 /* bytes in one */

/* |bind| as for an endpoint; *id names it, from 1, never reused. Returns 0,
 * AQ_ERR_INVAL, AQ_ERR_ADDRESS, AQ_ERR_LIMIT or AQ_ERR_NOMEM. */
int aq_sim_udp_open(aq_sim *s, aq_sim_node host, const aq_addr *bind,
                    uint32_t *id);
int aq_sim_udp_close(aq_sim *s, uint32_t id);
/* The address that it is bound to. */
int aq_sim_udp_bound(const aq_sim *s, uint32_t id, aq_addr *out);
/* |ttl| 0: 64. AQ_ERR_ADDRESS: no address of that family. AQ_ERR_TOO_LARGE. */
int aq_sim_udp_send(aq_sim *s, uint32_t id, const aq_addr *to, uint8_t ttl,
                    const uint8_t *data, size_t len);
/* AQ_ERR_AGAIN: nothing is there. |buf| has AQ_SIM_UDP_MAX bytes. */
int aq_sim_udp_receive(aq_sim *s, uint32_t id, aq_addr *from, uint8_t *buf,
                       size_t *len);

/* ---- what happened -------------------------------------------------- */

/* X(NAME, "lua name") */
#define AQ_SIM_FATE_MAP(X)                                                     \
  X(SENT, "sent")           /* by a host */                                    \
  X(FORWARDED, "forwarded") /* by a NAT, perhaps with other addresses */       \
  X(DELIVERED, "delivered") /* to a socket */                                  \
  X(LOST, "lost")           /* by a link's loss */                             \
  X(QUEUE, "queue")         /* a link's queue was full */                      \
  X(MTU, "mtu")             /* too large for a link */                         \
  X(DOWN, "down")           /* the link is a black hole */                     \
  X(TTL, "ttl")             /* it was used up */                               \
  X(NO_ROUTE, "no_route")   /* nobody has that address there */                \
  X(FILTERED, "filtered")   /* a NAT's filter, or no mapping */                \
  X(BLOCKED, "blocked")     /* the NAT lets no UDP pass */                     \
  X(NAT_FULL, "nat_full")   /* no port, or no room for another flow */         \
  X(HAIRPIN, "hairpin")     /* to the NAT's own outer address, from inside */  \
  X(NO_SOCKET, "no_socket") /* nobody listens on that port */                  \
  X(DEAD, "dead")           /* the host was killed */                          \
  X(OVERFLOW, "overflow")   /* the bare socket's queue was full */             \
  X(NO_MEMORY, "no_memory")

typedef enum aq_sim_fate {
#define X(name, text) AQ_SIM_FATE_##name,
  AQ_SIM_FATE_MAP(X)
#undef X
      AQ_SIM_FATE__COUNT
} aq_sim_fate;
const char *aq_sim_fate_name(aq_sim_fate fate);

/* X(NAME, "lua name"): by its first bytes. */
#define AQ_SIM_KIND_MAP(X)                                                     \
  X(OTHER, "other")                                                            \
  X(PROBE, "probe")                                                            \
  X(ANSWER, "answer")                                                          \
  X(OPENER, "opener")                                                          \
  X(OBSERVE, "observe")                                                        \
  X(INITIAL, "initial")                                                        \
  X(ZERO_RTT, "0rtt")                                                          \
  X(HANDSHAKE, "handshake")                                                    \
  X(RETRY, "retry")                                                            \
  X(VERSION, "version")                                                        \
  X(ONE_RTT, "1rtt")                                                           \
  X(TUNNEL, "tunnel")

typedef enum aq_sim_kind {
#define X(name, text) AQ_SIM_KIND_##name,
  AQ_SIM_KIND_MAP(X)
#undef X
      AQ_SIM_KIND__COUNT
} aq_sim_kind;
const char *aq_sim_kind_name(aq_sim_kind kind);

/* aq_sim_record: one thing that happened to one datagram. */
typedef struct aq_sim_record {
  aq_tstamp time;
  uint64_t datagram; /* a number of its own, which its copies share */
  aq_sim_node node;  /* where */
  uint8_t kind;      /* aq_sim_kind */
  uint8_t fate;      /* aq_sim_fate */
  uint8_t ttl;       /* that was left */
  uint16_t len;      /* of the UDP payload */
  aq_addr from, to;  /* as it left |node|, or as it was when it died */
} aq_sim_record;

/* Records not polled; the newest are dropped then. */
#define AQ_SIM_TRACE 65536
/* Off at first. Returns 0 or AQ_ERR_NOMEM. */
int aq_sim_set_trace(aq_sim *s, int on);
/* 1 and a record, or 0. */
int aq_sim_poll_trace(aq_sim *s, aq_sim_record *out);
/* A hash of every record since the trace was turned on, and of the payloads
 * that were sent: equal for equal runs. */
uint64_t aq_sim_trace_hash(const aq_sim *s);

/* Counters of what left, entered or died at a node, and of a NAT's tables. */
typedef struct aq_sim_counters {
  uint64_t fate[AQ_SIM_FATE__COUNT]; /* those of aq_sim_record with that node */
  uint64_t mappings_created, mappings_expired;
  uint32_t mappings, flows; /* now */
  uint64_t trace_lost;      /* of the whole simulation */
} aq_sim_counters;
int aq_sim_get_counters(const aq_sim *s, aq_sim_node node,
                        aq_sim_counters *out);

#ifdef __cplusplus
}
#endif

#endif
