/* udp_linux.c - what a socket is set up with, and receiving: batches, ECN and
 * the destination by control messages.
 *
 * SPDX-License-Identifier: MIT */
#if defined(__linux__)
#define _GNU_SOURCE /* struct in6_pktinfo */

#include "io/udp.h"

#include "base/addr.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/utsname.h>

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define ECN_MASK 3

static int set_int(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof(value));
}

/* The plain option is cut to the system's limit; a privileged process may go
 * above that with the FORCE one. */
static void set_buffer(int fd, int name, int force) {
  int got = 0;
  socklen_t len = sizeof(got);
  set_int(fd, SOL_SOCKET, name, AQ_UDP_BUFFER);
  if (getsockopt(fd, SOL_SOCKET, name, &got, &len) == 0 &&
      got < AQ_UDP_BUFFER) {
    set_int(fd, SOL_SOCKET, force, AQ_UDP_BUFFER);
  }
}

/* Linux 7.0 to 7.1.4 damage batches whose segments are all equally long. */
static int kernel_damages_gso(void) {
  struct utsname name;
  unsigned major = 0, minor = 0, patch = 0;
  if (uname(&name) != 0 ||
      sscanf(name.release, "%u.%u.%u", &major, &minor, &patch) < 2) {
    return 0;
  }
  return major == 7 && (minor == 0 || (minor == 1 && patch < 5));
}

static int has_gso(int fd) {
  int value = 0;
  socklen_t len = sizeof(value);
  return getsockopt(fd, SOL_UDP, UDP_SEGMENT, &value, &len) == 0 &&
         !kernel_damages_gso();
}

void aq_udp_setup(aq_udp *u, const aq_runtime_params *rp) {
  int fd = u->fd;
  set_buffer(fd, SO_RCVBUF, SO_RCVBUFFORCE);
  set_buffer(fd, SO_SNDBUF, SO_SNDBUFFORCE);
  if (u->bound.family == 4) {
    set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
    u->ecn = !rp->no_ecn && set_int(fd, IPPROTO_IP, IP_RECVTOS, 1) == 0;
  } else {
    set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    u->ecn = !rp->no_ecn && set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) == 0;
  }
  u->gro = !rp->no_gro && set_int(fd, SOL_UDP, UDP_GRO, 1) == 0;
  u->gso = !rp->no_gso && has_gso(fd);
}

typedef union control {
  struct cmsghdr align;
  char bytes[256];
} control;

/* ---- receiving ------------------------------------------------------------
 */

static int cmsg_int(const struct cmsghdr *c) {
  int value = 0;
  if (c->cmsg_len >= CMSG_LEN(sizeof(value))) {
    memcpy(&value, CMSG_DATA(c), sizeof(value));
  } else if (c->cmsg_len >= CMSG_LEN(1)) {
    value = *CMSG_DATA(c); /* IP_TOS comes as one byte */
  }
  return value;
}

static void take(const aq_udp *u, const struct cmsghdr *c, aq_datagram *d) {
  if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
    int segment = cmsg_int(c);
    d->segment = segment > 0 ? (size_t)segment : 0;
  } else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) ||
             (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)) {
    d->ecn = u->ecn ? (uint8_t)(cmsg_int(c) & ECN_MASK) : 0;
  } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(c), sizeof(info));
    memcpy(d->local.ip, &info.ipi_addr, 4);
  } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
    struct in6_pktinfo info;
    memcpy(&info, CMSG_DATA(c), sizeof(info));
    memcpy(d->local.ip, &info.ipi6_addr, 16);
    d->local.scope = (uint32_t)info.ipi6_ifindex;
    aq_addr_normalize(&d->local);
  }
}

int aq_udp_recv(aq_udp *u, uint8_t *buf, aq_datagram *d) {
  struct sockaddr_storage ss;
  struct iovec iov = {buf, AQ_UDP_RECV_MAX};
  struct msghdr m;
  control space;
  ssize_t n;
  memset(&m, 0, sizeof(m));
  m.msg_name = &ss;
  m.msg_namelen = sizeof(ss);
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  m.msg_control = space.bytes;
  m.msg_controllen = sizeof(space.bytes);
  do {
    n = recvmsg(u->fd, &m, 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return 0;
  }
  u->stats->recv_calls++;
  if (n < 0 || (m.msg_flags & MSG_TRUNC) != 0 ||
      aq_addr_from_sockaddr(&d->remote, (struct sockaddr *)&ss,
                            m.msg_namelen) != 0) {
    u->stats->recv_errors++;
    return AQ_ERR_NETWORK;
  }
  d->local = u->bound;
  d->ecn = 0;
  d->segment = 0;
  d->data = buf;
  d->len = (size_t)n;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    take(u, c, d);
  }
  if (d->segment >= d->len) {
    d->segment = 0;
  }
  u->stats->recv_bytes += d->len;
  u->stats->recv_datagrams +=
      d->segment == 0 ? 1 : (d->len + d->segment - 1) / d->segment;
  return 1;
}

#else
typedef int aq_udp_linux_unused; /* a translation unit can't be empty */
#endif
