/* addr.c - addresses: kinds, order, hash and socket form.
 *
 * SPDX-License-Identifier: MIT */
#include "base/addr.h"

#include "base/hash.h"

#include <string.h>

static const uint8_t addr_mapped[12] = {[10] = 0xff, [11] = 0xff};

static size_t addr_iplen(const aq_addr *a) {
  return a->family == 4 ? 4 : a->family == 6 ? 16 : 0;
}

static int addr_is_link_local6(const uint8_t ip[16]) {
  return ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80;
}

void aq_addr_normalize(aq_addr *a) {
  if (a->family == 6 && memcmp(a->ip, addr_mapped, 12) == 0) {
    a->family = 4;
    memmove(a->ip, a->ip + 12, 4);
  }
  if (a->family == 4) {
    memset(a->ip + 4, 0, 12);
    a->scope = 0;
  } else if (a->family == 6) {
    if (!addr_is_link_local6(a->ip)) {
      a->scope = 0;
    }
  } else {
    memset(a, 0, sizeof(*a));
  }
}

/* A row of the registries: the first |bits| of |prefix|. */
typedef struct addr_row {
  uint8_t bits;
  uint8_t prefix[16];
  aq_addr_kind kind;
} addr_row;

/* The first match counts, so longer prefixes stand before those they are
 * part of. */
static const addr_row addr_rows4[] = {
    {32, {0}, AQ_ADDR_UNSPECIFIED},
    {8, {0}, AQ_ADDR_RESERVED},
    {8, {127}, AQ_ADDR_LOOPBACK},
    {8, {10}, AQ_ADDR_PRIVATE},
    {12, {172, 16}, AQ_ADDR_PRIVATE},
    {16, {192, 168}, AQ_ADDR_PRIVATE},
    {10, {100, 64}, AQ_ADDR_CGNAT},
    {16, {169, 254}, AQ_ADDR_LINK_LOCAL},
    {24, {192, 0, 2}, AQ_ADDR_DOCUMENTATION},
    {24, {198, 51, 100}, AQ_ADDR_DOCUMENTATION},
    {24, {203, 0, 113}, AQ_ADDR_DOCUMENTATION},
    {24, {192, 0, 0}, AQ_ADDR_RESERVED},
    {24, {192, 88, 99}, AQ_ADDR_RESERVED},
    {15, {198, 18}, AQ_ADDR_BENCHMARK},
    {4, {224}, AQ_ADDR_MULTICAST},
    {32, {255, 255, 255, 255}, AQ_ADDR_BROADCAST},
    {4, {240}, AQ_ADDR_RESERVED},
};

static const addr_row addr_rows6[] = {
    {128, {0}, AQ_ADDR_UNSPECIFIED},
    {128, {[15] = 1}, AQ_ADDR_LOOPBACK},
    {96, {0}, AQ_ADDR_TRANSLATED},
    {96, {0x00, 0x64, 0xff, 0x9b}, AQ_ADDR_TRANSLATED},
    {48, {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, AQ_ADDR_TRANSLATED},
    {16, {0x20, 0x02}, AQ_ADDR_TRANSLATED},
    {32, {0x20, 0x01, 0x00, 0x00}, AQ_ADDR_TRANSLATED},
    {48, {0x20, 0x01, 0x00, 0x02, 0x00, 0x00}, AQ_ADDR_BENCHMARK},
    {32, {0x20, 0x01, 0x0d, 0xb8}, AQ_ADDR_DOCUMENTATION},
    {23, {0x20, 0x01, 0x00}, AQ_ADDR_RESERVED},
    {20, {0x3f, 0xff, 0x00}, AQ_ADDR_DOCUMENTATION},
    {3, {0x20}, AQ_ADDR_GLOBAL},
    {7, {0xfc}, AQ_ADDR_ULA},
    {10, {0xfe, 0x80}, AQ_ADDR_LINK_LOCAL},
    {10, {0xfe, 0xc0}, AQ_ADDR_ULA},
    {8, {0xff}, AQ_ADDR_MULTICAST},
};

static int addr_bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits) {
  unsigned whole = bits / 8;
  unsigned rest = bits % 8;
  if (memcmp(a, b, whole) != 0) {
    return 0;
  }
  if (rest == 0) {
    return 1;
  }
  uint8_t mask = (uint8_t)(0xff00u >> rest);
  return (a[whole] & mask) == (b[whole] & mask);
}

static aq_addr_kind addr_lookup(const addr_row *rows, size_t n,
                                const uint8_t *ip, aq_addr_kind other) {
  for (size_t i = 0; i < n; i++) {
    if (addr_bits_equal(ip, rows[i].prefix, rows[i].bits)) {
      return rows[i].kind;
    }
  }
  return other;
}

aq_addr_kind aq_addr_classify(const aq_addr *a) {
  aq_addr n = *a;
  aq_addr_normalize(&n);
  if (n.family == 4) {
    return addr_lookup(addr_rows4, sizeof(addr_rows4) / sizeof(addr_rows4[0]),
                       n.ip, AQ_ADDR_GLOBAL);
  }
  if (n.family == 6) {
    return addr_lookup(addr_rows6, sizeof(addr_rows6) / sizeof(addr_rows6[0]),
                       n.ip, AQ_ADDR_RESERVED);
  }
  return AQ_ADDR_NONE;
}

const char *aq_addr_kind_name(aq_addr_kind kind) {
  switch (kind) {
  case AQ_ADDR_NONE:
    return "none";
  case AQ_ADDR_UNSPECIFIED:
    return "unspecified";
  case AQ_ADDR_LOOPBACK:
    return "loopback";
  case AQ_ADDR_LINK_LOCAL:
    return "link-local";
  case AQ_ADDR_PRIVATE:
    return "private";
  case AQ_ADDR_ULA:
    return "unique-local";
  case AQ_ADDR_CGNAT:
    return "carrier-grade NAT";
  case AQ_ADDR_MULTICAST:
    return "multicast";
  case AQ_ADDR_BROADCAST:
    return "broadcast";
  case AQ_ADDR_RESERVED:
    return "reserved";
  case AQ_ADDR_BENCHMARK:
    return "benchmark";
  case AQ_ADDR_DOCUMENTATION:
    return "documentation";
  case AQ_ADDR_TRANSLATED:
    return "translated";
  case AQ_ADDR_GLOBAL:
    return "global";
  }
  return "unknown";
}

int aq_addr_cmp(const aq_addr *a, const aq_addr *b) {
  if (a->family != b->family) {
    return a->family < b->family ? -1 : 1;
  }
  int c = memcmp(a->ip, b->ip, addr_iplen(a));
  if (c != 0) {
    return c;
  }
  if (a->port != b->port) {
    return a->port < b->port ? -1 : 1;
  }
  if (a->scope != b->scope) {
    return a->scope < b->scope ? -1 : 1;
  }
  return 0;
}

int aq_addr_equal(const aq_addr *a, const aq_addr *b) {
  return aq_addr_cmp(a, b) == 0;
}

int aq_addr_same_ip(const aq_addr *a, const aq_addr *b) {
  return a->family == b->family && memcmp(a->ip, b->ip, addr_iplen(a)) == 0;
}

uint64_t aq_addr_hash(const aq_addr *a, uint64_t salt) {
  uint64_t key[2] = {salt, aq_mix64(salt)};
  uint8_t b[19] = {a->family, (uint8_t)(a->port >> 8), (uint8_t)a->port};
  memcpy(b + 3, a->ip, 16);
  return aq_siphash(key, b, sizeof(b));
}

uint64_t aq_addr_hash_prefix(const aq_addr *a, unsigned bits, uint64_t salt) {
  uint64_t key[2] = {salt, aq_mix64(salt)};
  uint8_t b[18] = {a->family, (uint8_t)bits};
  unsigned max = (unsigned)addr_iplen(a) * 8;
  if (bits > max) {
    bits = max;
  }
  memcpy(b + 2, a->ip, (bits + 7) / 8);
  if (bits % 8 != 0) {
    b[2 + bits / 8] &= (uint8_t)(0xff00u >> (bits % 8));
  }
  return aq_siphash(key, b, sizeof(b));
}

aq_addr aq_addr_v4(const uint8_t ip[4], uint16_t port) {
  aq_addr a = {.family = 4, .port = port};
  memcpy(a.ip, ip, 4);
  return a;
}

aq_addr aq_addr_v6(const uint8_t ip[16], uint16_t port) {
  aq_addr a = {.family = 6, .port = port};
  memcpy(a.ip, ip, 16);
  aq_addr_normalize(&a);
  return a;
}

socklen_t aq_addr_to_sockaddr(struct sockaddr_storage *ss, const aq_addr *a,
                              int mapped) {
  memset(ss, 0, sizeof(*ss));
  if (a->family == 4 && !mapped) {
    struct sockaddr_in sin = {.sin_family = AF_INET,
                              .sin_port = htons(a->port)};
    memcpy(&sin.sin_addr, a->ip, 4);
    memcpy(ss, &sin, sizeof(sin));
    return sizeof(sin);
  }
  if (a->family != 4 && a->family != 6) {
    return 0;
  }
  struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons(a->port)};
  uint8_t *ip = (uint8_t *)&sin6.sin6_addr;
  if (a->family == 4) {
    memcpy(ip, addr_mapped, 12);
    memcpy(ip + 12, a->ip, 4);
  } else {
    memcpy(ip, a->ip, 16);
    sin6.sin6_scope_id = a->scope;
  }
  memcpy(ss, &sin6, sizeof(sin6));
  return sizeof(sin6);
}

int aq_addr_from_sockaddr(aq_addr *a, const struct sockaddr *sa,
                          socklen_t len) {
  memset(a, 0, sizeof(*a));
  sa_family_t family = AF_UNSPEC;
  if (len >= (socklen_t)sizeof(struct sockaddr)) {
    family = sa->sa_family;
  }
  if (family == AF_INET && len >= (socklen_t)sizeof(struct sockaddr_in)) {
    struct sockaddr_in sin;
    memcpy(&sin, sa, sizeof(sin));
    a->family = 4;
    a->port = ntohs(sin.sin_port);
    memcpy(a->ip, &sin.sin_addr, 4);
    return 0;
  }
  if (family == AF_INET6 && len >= (socklen_t)sizeof(struct sockaddr_in6)) {
    struct sockaddr_in6 sin6;
    memcpy(&sin6, sa, sizeof(sin6));
    a->family = 6;
    a->port = ntohs(sin6.sin6_port);
    memcpy(a->ip, &sin6.sin6_addr, 16);
    a->scope = sin6.sin6_scope_id;
    aq_addr_normalize(a);
    return 0;
  }
  return AQ_ERR_ADDRESS;
}
