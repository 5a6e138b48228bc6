/* udp_send_linux.c - one sendmsg with its control messages: batch, source,
 * ECN, TTL. A file of its own, so that a test can put another in its place.
 *
 * SPDX-License-Identifier: MIT */
#if defined(__linux__)
#define _GNU_SOURCE /* struct in6_pktinfo */

#include "io/udp.h"

#include "base/addr.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* Linux UDP_MAX_SEGMENTS; newer kernels allow 128. */
#define GSO_SEGMENTS 64
/* What a UDP datagram carries at most: 65535 less the IPv4 and UDP headers. */
#define GSO_BYTES (65535 - 28)

#define ECN_MASK 3

typedef union control {
  struct cmsghdr align;
  char bytes[256];
} control;

static void put(struct msghdr *m, int level, int type, const void *data,
                size_t len) {
  struct cmsghdr *c =
      (struct cmsghdr *)((char *)m->msg_control + m->msg_controllen);
  memset(c, 0, CMSG_SPACE(len));
  c->cmsg_level = level;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN(len);
  memcpy(CMSG_DATA(c), data, len);
  m->msg_controllen += CMSG_SPACE(len);
}

static void put_source(struct msghdr *m, const aq_addr *local) {
  static const uint8_t unspecified[16];
  if (memcmp(local->ip, unspecified, sizeof(unspecified)) == 0) {
    return;
  }
  if (local->family == 4) {
    struct in_pktinfo info;
    memset(&info, 0, sizeof(info));
    memcpy(&info.ipi_spec_dst, local->ip, 4);
    put(m, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
  } else if (local->family == 6) {
    struct in6_pktinfo info;
    memset(&info, 0, sizeof(info));
    memcpy(&info.ipi6_addr, local->ip, 16);
    info.ipi6_ifindex = local->scope;
    put(m, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
  }
}

size_t aq_udp_send_max(const aq_udp *u, size_t segment) {
  size_t n;
  if (!u->gso || segment == 0 || segment > GSO_BYTES / 2) {
    return segment;
  }
  n = GSO_BYTES / segment;
  return (n < GSO_SEGMENTS ? n : GSO_SEGMENTS) * segment;
}

int aq_udp_send_once(aq_udp *u, const aq_transmit *t, const uint8_t *data,
                     size_t len) {
  struct sockaddr_storage ss;
  struct iovec iov;
  struct msghdr m;
  control space;
  int v4 = u->bound.family == 4;
  memset(&m, 0, sizeof(m));
  m.msg_name = &ss;
  m.msg_namelen = aq_addr_to_sockaddr(&ss, &t->remote, 0);
  if (m.msg_namelen == 0 || t->remote.family != u->bound.family) {
    return EAFNOSUPPORT;
  }
  iov.iov_base = (void *)(uintptr_t)data;
  iov.iov_len = len;
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  m.msg_control = space.bytes;
  if (t->local.family == u->bound.family) {
    put_source(&m, &t->local);
  }
  if (t->segment != 0 && len > t->segment) {
    uint16_t segment = (uint16_t)t->segment;
    put(&m, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment));
  }
  if (t->ecn != 0 && u->ecn) {
    int tos = t->ecn & ECN_MASK;
    put(&m, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &tos,
        sizeof(tos));
  }
  if (t->ttl != 0) {
    int ttl = t->ttl;
    put(&m, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_HOPLIMIT, &ttl,
        sizeof(ttl));
  }
  if (m.msg_controllen == 0) {
    m.msg_control = NULL;
  }
  return sendmsg(u->fd, &m, 0) < 0 ? errno : 0;
}

#else
typedef int aq_udp_send_linux_unused; /* a translation unit can't be empty */
#endif
