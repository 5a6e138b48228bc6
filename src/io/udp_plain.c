/* udp_plain.c - one datagram a call, for systems whose batching is not known
 * to us. The source address is the kernel's choice, and the TTL of openers is
 * set for the socket around the call.
 *
 * SPDX-License-Identifier: MIT */
#if !defined(__linux__)

#include "io/udp.h"

#include "base/addr.h"

#include <errno.h>
#include <string.h>

void aq_udp_setup(aq_udp *u, const aq_runtime_params *rp) {
  int size = AQ_UDP_BUFFER;
  int one = 1;
  (void)rp;
  while (size >= 65536 &&
         setsockopt(u->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) != 0) {
    size /= 2;
  }
  size = AQ_UDP_BUFFER;
  while (size >= 65536 &&
         setsockopt(u->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) != 0) {
    size /= 2;
  }
#ifdef IP_DONTFRAG
  if (u->bound.family == 4) {
    setsockopt(u->fd, IPPROTO_IP, IP_DONTFRAG, &one, sizeof(one));
  }
#endif
#ifdef IPV6_DONTFRAG
  if (u->bound.family == 6) {
    setsockopt(u->fd, IPPROTO_IPV6, IPV6_DONTFRAG, &one, sizeof(one));
  }
#endif
  (void)one;
}

size_t aq_udp_send_max(const aq_udp *u, size_t segment) {
  (void)u;
  return segment;
}

int aq_udp_send_once(aq_udp *u, const aq_transmit *t, const uint8_t *data,
                     size_t len) {
  struct sockaddr_storage ss;
  socklen_t sslen = aq_addr_to_sockaddr(&ss, &t->remote, 0);
  int level = u->bound.family == 4 ? IPPROTO_IP : IPPROTO_IPV6;
  int name = u->bound.family == 4 ? IP_TTL : IPV6_UNICAST_HOPS;
  int ttl = t->ttl;
  int old = 0;
  int err;
  socklen_t oldlen = sizeof(old);
  if (sslen == 0 || t->remote.family != u->bound.family) {
    return EAFNOSUPPORT;
  }
  if (ttl != 0 && (getsockopt(u->fd, level, name, &old, &oldlen) != 0 ||
                   setsockopt(u->fd, level, name, &ttl, sizeof(ttl)) != 0)) {
    return errno; /* with the full TTL it would do harm */
  }
  err = sendto(u->fd, data, len, 0, (struct sockaddr *)&ss, sslen) < 0 ? errno
                                                                       : 0;
  if (ttl != 0) {
    setsockopt(u->fd, level, name, &old, sizeof(old));
  }
  return err;
}

int aq_udp_recv(aq_udp *u, uint8_t *buf, aq_datagram *d) {
  struct sockaddr_storage ss;
  socklen_t sslen = sizeof(ss);
  ssize_t n;
  do {
    n = recvfrom(u->fd, buf, AQ_UDP_RECV_MAX, 0, (struct sockaddr *)&ss,
                 &sslen);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return 0;
  }
  u->stats->recv_calls++;
  if (n < 0 ||
      aq_addr_from_sockaddr(&d->remote, (struct sockaddr *)&ss, sslen) != 0) {
    u->stats->recv_errors++;
    return AQ_ERR_NETWORK;
  }
  d->local = u->bound;
  d->ecn = 0;
  d->segment = 0;
  d->data = buf;
  d->len = (size_t)n;
  u->stats->recv_bytes += d->len;
  u->stats->recv_datagrams++;
  return 1;
}

#else
typedef int aq_udp_plain_unused; /* a translation unit can't be empty */
#endif
