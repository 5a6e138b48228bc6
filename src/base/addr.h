/* addr.h - addresses: their kinds, order, hash and socket form. Parsing and
 * formatting are in antquic.h.
 *
 * Layer:  base
 * Owner:  values of the caller
 * Time:   none
 * Spec:   RFC 6890 and the IANA special-purpose registries; RFC 4291
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_ADDR_H
#define AQ_BASE_ADDR_H

#include "antquic.h"

#include <netinet/in.h>
#include <sys/socket.h>

typedef enum aq_addr_kind {
  AQ_ADDR_NONE,          /* family is neither 4 nor 6 */
  AQ_ADDR_UNSPECIFIED,   /* 0.0.0.0, :: */
  AQ_ADDR_LOOPBACK,      /* 127/8, ::1 */
  AQ_ADDR_LINK_LOCAL,    /* 169.254/16, fe80::/10 */
  AQ_ADDR_PRIVATE,       /* RFC 1918 */
  AQ_ADDR_ULA,           /* fc00::/7; and fec0::/10, deprecated site-local */
  AQ_ADDR_CGNAT,         /* 100.64/10 */
  AQ_ADDR_MULTICAST,     /* 224/4, ff00::/8 */
  AQ_ADDR_BROADCAST,     /* 255.255.255.255 */
  AQ_ADDR_RESERVED,      /* 0/8, 192.0.0/24, 192.88.99/24, 240/4; 2001::/23,
                            IPv6 outside 2000::/3 */
  AQ_ADDR_BENCHMARK,     /* 198.18/15, 2001:2::/48 */
  AQ_ADDR_DOCUMENTATION, /* RFC 5737, 3849, 9637 */
  AQ_ADDR_TRANSLATED,    /* an IPv4 address inside: 64:ff9b::/96, ::/96,
                            2002::/16, 2001::/32 */
  AQ_ADDR_GLOBAL
} aq_addr_kind;

/* aq_addr_classify looks at the IP alone; an IPv4-mapped one counts as IPv4. */
aq_addr_kind aq_addr_classify(const aq_addr *a);
const char *aq_addr_kind_name(aq_addr_kind kind);

/* aq_addr_normalize turns an IPv4-mapped IPv6 address into IPv4, zeroes what
 * the family does not use, and drops the zone unless link-local. */
void aq_addr_normalize(aq_addr *a);

/* Order: family, IP, port, zone. <0, 0, >0. */
int aq_addr_cmp(const aq_addr *a, const aq_addr *b);
/* As aq_addr_equal without ports and zones. */
int aq_addr_same_ip(const aq_addr *a, const aq_addr *b);
/* A keyed 64-bit hash of IP and port; of the first |bits| of the IP alone. */
uint64_t aq_addr_hash(const aq_addr *a, uint64_t salt);
uint64_t aq_addr_hash_prefix(const aq_addr *a, unsigned bits, uint64_t salt);

/* aq_addr_v4 and aq_addr_v6 make an address; |ip| in network order, copied.
 * The result is normalized. */
aq_addr aq_addr_v4(const uint8_t ip[4], uint16_t port);
aq_addr aq_addr_v6(const uint8_t ip[16], uint16_t port);

/* aq_addr_to_sockaddr fills |ss|. With |mapped| IPv4 becomes ::ffff:a.b.c.d,
 * for a dual-stack socket. Returns the length, 0 for family 0. */
socklen_t aq_addr_to_sockaddr(struct sockaddr_storage *ss, const aq_addr *a,
                              int mapped);
/* aq_addr_from_sockaddr normalizes. Returns 0 or AQ_ERR_ADDRESS (another
 * family, or |len| too small). */
int aq_addr_from_sockaddr(aq_addr *a, const struct sockaddr *sa, socklen_t len);

#endif
