/* sim_int.h - the simulation's structs and what its files share.
 *
 * Layer:  sim
 * Owner:  aq_sim owns nodes, datagrams in flight and bare sockets; endpoints
 *         are their makers', and keep the aq_sim alive
 * Time:   s->now, moved by aq_sim_step alone
 * Spec:   docs/simulator.md
 *
 * How a datagram goes: a host sends it (host.c), a link takes time and chance
 * (link.c), a network finds the child that has the address or hands it to its
 * NAT (net.c, nat.c), until a host's socket gets it (host.c). What is in the
 * air waits in a heap by time and order (world.c).
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_SIM_SIM_INT_H
#define AQ_SIM_SIM_INT_H

#include "antquic_sim.h"

#include "base/addr.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/ring.h"
#include "base/time.h"
#include "quic/endpoint.h"
#include "sim/table.h"

#define AQ_SIM_MAX_FLYING ((size_t)1 << 20) /* datagrams; more are dropped */
#define AQ_SIM_MAX_SOCKETS ((size_t)1 << 20)
#define AQ_SIM_TTL 64
#define AQ_SIM_ENDPOINT_SOCKETS (AQ_MAX_SOCKETS + AQ_MAX_EXTRA_SOCKETS)
#define AQ_SIM_SMALL 128 /* payloads of the two sizes of buffers */
#define AQ_SIM_LARGE 1472
#define AQ_SIM_MAX_BLOCKS 16 /* port blocks of one inner address */

typedef struct aq_vnode aq_vnode;

/* One datagram. */
typedef struct aq_vpacket {
  struct aq_vpacket *next; /* in a list of free ones */
  aq_tstamp at;
  uint64_t order; /* of equal times */
  uint64_t id;
  aq_vnode *node;       /* where it arrives */
  aq_vnode *from_child; /* going up: from there; NULL: coming down */
  aq_addr from, to;
  uint32_t room;
  uint16_t len;
  uint8_t ttl, ecn, kind;
  uint8_t *data; /* behind this struct */
} aq_vpacket;

typedef struct aq_vlink {
  aq_sim_link p;
  aq_rand rand;
  aq_tstamp busy;         /* sends what is queued until then */
  aq_tstamp last_arrival; /* jitter keeps the order */
  uint8_t losing;         /* in a run of losses */
} aq_vlink;

/* ---- NATs ---- */

/* A mapping: what one inner address is outside. */
typedef struct aq_vmap {
  aq_ventry by_inside, by_outer;
  aq_list used, born; /* in the NAT's lists, by last use and by age */
  aq_list flows;
  aq_addr inside, outer;
  aq_addr remote; /* AD, APD: for whom it was made */
  aq_tstamp created, last;
} aq_vmap;

/* A mapping and one remote address: what filters ask for. */
typedef struct aq_vflow {
  aq_ventry by_inside, by_outer; /* with the remote address */
  aq_list used, of_map;
  aq_vmap *map; /* NULL: a poisoned tuple, the router believes it its own */
  aq_addr outer, remote;
  aq_addr shown; /* |remote| as the inside has it; nearly always the same */
  aq_tstamp last;
} aq_vflow;

/* An inner address that has an outer one, or blocks of ports. */
typedef struct aq_vuser {
  aq_addr ip;
  uint32_t pool; /* index of its outer address */
  uint16_t nblock;
  uint16_t block[AQ_SIM_MAX_BLOCKS]; /* first ports */
  uint32_t seq;                      /* in the last of them */
} aq_vuser;

typedef struct aq_vnat {
  aq_sim_nat_params p;
  aq_mem mem;
  aq_rand rand;
  aq_vtable maps_in, maps_out, flows_in, flows_out;
  aq_list maps_used, maps_born, flows_used;
  uint32_t seq;         /* the next sequential port */
  uint32_t turn;        /* arbitrary pool: the next address */
  uint32_t shift;       /* preserved ports are moved by so much */
  aq_tstamp background; /* counted until then */
  aq_vuser *user;
  size_t nuser, usercap;
  uint64_t created, expired;
} aq_vnat;

void aq_vnat_init(aq_vnat *n, const aq_mem *mem, const aq_sim_nat_params *p,
                  uint64_t seed);
void aq_vnat_free(aq_vnat *n);
void aq_vnat_forget(aq_vnat *n);
/* aq_vnat_out: |from| inside sends to |to|; gives both addresses as they are
 * outside. Returns an aq_sim_fate: FORWARDED, NAT_FULL, BLOCKED, NO_MEMORY. */
aq_sim_fate aq_vnat_out(aq_vnat *n, aq_tstamp now, const aq_addr *from,
                        const aq_addr *to, aq_addr *seen, aq_addr *real);
/* aq_vnat_in: |from| outside sends to |to|, an outer address (or an inner one
 * that is not translated); gives both addresses as they are inside. FORWARDED,
 * FILTERED, BLOCKED. */
aq_sim_fate aq_vnat_in(aq_vnat *n, aq_tstamp now, const aq_addr *from,
                       const aq_addr *to, aq_addr *shown, aq_addr *inside);
/* aq_vnat_hairpin: from inside to an outer address of this NAT; gives both
 * addresses as the receiver has them. */
aq_sim_fate aq_vnat_hairpin(aq_vnat *n, aq_tstamp now, const aq_addr *from,
                            const aq_addr *to, aq_addr *seen, aq_addr *inside);
/* Not translated: IPv6, and IPv4 of a NAT that is none. */
int aq_vnat_is_routed(const aq_vnat *n, const aq_addr *a);
void aq_vnat_expire(aq_vnat *n, aq_tstamp now);
/* nat.c, for nat_port.c: a mapping with that outer address; a flow. */
aq_vmap *aq_vnat_find_outer(const aq_vnat *n, const aq_addr *outer);
aq_vflow *aq_vnat_find_flow(const aq_vnat *n, const aq_addr *outer,
                            const aq_addr *remote);
/* nat_port.c: chooses an outer address for a new mapping. FORWARDED, NAT_FULL
 * or NO_MEMORY. */
aq_sim_fate aq_vnat_choose(aq_vnat *n, aq_tstamp now, const aq_addr *inside,
                           const aq_addr *remote, uint32_t pool,
                           aq_addr *outer);
/* The index of the outer address that |inside| has or gets now. Returns 0 or
 * AQ_ERR_NOMEM. */
int aq_vnat_pool(aq_vnat *n, const aq_addr *inside, uint32_t *pool);
void aq_vnat_burn(aq_vnat *n, uint64_t count);

/* ---- hosts ---- */

typedef struct aq_vudp aq_vudp;

/* A socket: of an endpoint (|ep|), or bare (|udp|). */
typedef struct aq_vsock {
  aq_ventry by_port;
  aq_list of_host;
  aq_vnode *host;
  aq_addr bound;
  aq_sim_endpoint *ep;
  uint32_t index;
  aq_vudp *udp;
} aq_vsock;

typedef struct aq_vdgram {
  aq_addr from;
  uint16_t len;
  uint8_t data[AQ_SIM_UDP_MAX];
} aq_vdgram;

struct aq_vudp {
  aq_vsock *sock; /* NULL: closed */
  aq_ring ring;
  aq_vdgram *in; /* made with the first datagram */
};

struct aq_sim_endpoint {
  aq_sim *s;
  aq_vnode *host;
  aq_endpoint *ep;
  aq_list node;    /* in s->endpoints */
  aq_list of_host; /* in the host's */
  aq_list touched; /* in s->touched */
  aq_timer timer;
  aq_rand rand;
  size_t nsock;                            /* of the first AQ_MAX_SOCKETS */
  aq_vsock *sock[AQ_SIM_ENDPOINT_SOCKETS]; /* by index */
  aq_io_stats stats;
};

/* ---- nodes ---- */

typedef enum aq_vkind {
  AQ_VNODE_INTERNET,
  AQ_VNODE_NAT,
  AQ_VNODE_HOST
} aq_vkind;

struct aq_vnode {
  aq_sim *s;
  aq_sim_node id;
  aq_vkind kind;
  aq_vnode *parent;
  uint32_t level; /* the internet is 0 */
  aq_vlink up, down;
  size_t naddr;
  aq_addr addr[AQ_SIM_MAX_ADDRS];
  uint64_t fate[AQ_SIM_FATE__COUNT];
  /* a network: of the internet or behind a NAT */
  aq_addr net4, net6; /* family 0: none */
  uint32_t next4, next6;
  aq_vnat *nat;
  /* a host */
  uint8_t dead;
  aq_rand rand;
  aq_list socks, endpoints;
};

/* A route: in |net| the child |child| leads to |ip|. */
typedef struct aq_vroute {
  aq_ventry by_ip;
  aq_vnode *net, *child;
  aq_addr ip;
} aq_vroute;

struct aq_sim {
  aq_env env;
  aq_mem mem;
  aq_rand rand;
  aq_tstamp now;
  uint32_t refs; /* the maker and each endpoint */
  uint8_t closed;
  uint64_t order, ids;
  aq_vnode **node;
  size_t nnode, nodecap;
  aq_vtable routes, ports;
  uint32_t sites;   /* networks that were given addresses */
  aq_vpacket **fly; /* a heap by time and order */
  size_t nfly, flycap;
  aq_vpacket *free_small, *free_large;
  aq_timer_heap timers;
  aq_list endpoints, touched;
  aq_vudp **udp;
  size_t nudp, udpcap;
  uint32_t udp_waiting; /* bare sockets with datagrams */
  aq_ring trace_ring;
  aq_sim_record *trace;
  uint64_t trace_lost, trace_hash;
  uint8_t tracing;
  uint8_t buf[AQ_TRANSMIT_MAX];
};

/* world.c */
/* A datagram with room for |len| bytes, or NULL. */
aq_vpacket *aq_vpacket_new(aq_sim *s, size_t len);
void aq_vpacket_free(aq_sim *s, aq_vpacket *p);
/* aq_vpacket_fly: it arrives at p->node at p->at. Takes it, also when there is
 * no room: then it is dropped. */
void aq_vpacket_fly(aq_sim *s, aq_vpacket *p);
aq_vnode *aq_vnode_get(const aq_sim *s, aq_sim_node id);
/* A number for a part of the simulation that has chance of its own. */
uint64_t aq_sim_seed(aq_sim *s);
void aq_sim_unref(aq_sim *s);

/* link.c */
void aq_vlink_init(aq_vlink *l, uint64_t seed);
/* aq_vlink_send: |p| goes through |l| to |to|; |child| as in aq_vpacket. Takes
 * it. */
void aq_vlink_send(aq_vnode *at, aq_vlink *l, aq_vpacket *p, aq_vnode *to,
                   aq_vnode *child);

/* net.c */
/* |p| arrived at p->node. Takes it. */
void aq_vnode_arrive(aq_vpacket *p);
int aq_vnode_has_addr(const aq_vnode *n, const aq_addr *ip);
void aq_vnode_drop(aq_vnode *at, aq_vpacket *p, aq_sim_fate why);
/* Routes to every address of |n|, from its parent up as far as they are seen.
 * AQ_ERR_ADDRESS: one is taken; AQ_ERR_NOMEM. Nothing is left behind then. */
int aq_vroute_add(aq_vnode *n);
void aq_vroute_remove(aq_vnode *n);
/* The next free address of a family in a network; family 0: none is to be had.
 */
aq_addr aq_vnet_choose(aq_vnode *net, int family);

/* host.c */
void aq_vhost_receive(aq_vnode *host, aq_vpacket *p);
/* Sends one datagram from |sock|. AQ_ERR_ADDRESS, AQ_ERR_TOO_LARGE or
 * AQ_ERR_NOMEM. */
int aq_vsock_send(aq_vsock *sock, const aq_addr *local, const aq_addr *to,
                  uint8_t ttl, uint8_t ecn, const uint8_t *data, size_t len);
/* Returns 0, AQ_ERR_ADDRESS (not an address of the host, or taken),
 * AQ_ERR_NOMEM. */
int aq_vsock_open(aq_vnode *host, const aq_addr *bind, aq_vsock **out);
void aq_vsock_close(aq_vsock *sock);

/* sim_endpoint.c */
void aq_vend_touch(aq_sim_endpoint *e);
void aq_vend_receive(aq_sim_endpoint *e, uint32_t index, const aq_vpacket *p);
int aq_vend_timeout(aq_sim_endpoint *e);
/* The host's addresses changed. */
int aq_vend_addresses(aq_sim_endpoint *e);

/* trace.c */
uint8_t aq_vtrace_kind(const uint8_t *data, size_t len);
void aq_vtrace(aq_vnode *at, const aq_vpacket *p, aq_sim_fate fate);

#endif
