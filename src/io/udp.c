/* SPDX-License-Identifier: MIT */
#include "io/udp.h"

#include "base/addr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fail(aq_udp *u, const aq_addr *bind, const char *what, char *why,
                size_t whylen) {
  char text[AQ_ADDR_STRLEN];
  int err = errno;
  aq_udp_close(u);
  if (whylen > 0) {
    snprintf(why, whylen, "cannot %s UDP %s: %s", what,
             aq_addr_format(bind, text), strerror(err));
  }
  return AQ_ERR_NETWORK;
}

static int set_nonblocking(int fd) {
  int flags = fcntl(fd, F_GETFL, 0);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return -1;
  }
  flags = fcntl(fd, F_GETFD, 0);
  if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) != 0) {
    return -1;
  }
  return 0;
}

int aq_udp_open(aq_udp *u, const aq_addr *bind_addr,
                const aq_runtime_params *rp, aq_io_stats *stats, char *why,
                size_t whylen) {
  struct sockaddr_storage ss;
  socklen_t len;
  int one = 1;
  memset(u, 0, sizeof(*u));
  u->fd = -1;
  u->stats = stats;
  len = aq_addr_to_sockaddr(&ss, bind_addr, 0);
  if (len == 0) {
    if (whylen > 0) {
      snprintf(why, whylen, "the address to bind has no family");
    }
    return AQ_ERR_ADDRESS;
  }
  u->fd = socket(ss.ss_family, SOCK_DGRAM, 0);
  if (u->fd < 0) {
    return fail(u, bind_addr, "open", why, whylen);
  }
  if (set_nonblocking(u->fd) != 0) {
    return fail(u, bind_addr, "set up", why, whylen);
  }
  /* Without it [::]:p would take 0.0.0.0:p too, or clash with it. */
  if (ss.ss_family == AF_INET6 &&
      setsockopt(u->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0) {
    return fail(u, bind_addr, "set up", why, whylen);
  }
  if (bind(u->fd, (struct sockaddr *)&ss, len) != 0) {
    return fail(u, bind_addr, "bind", why, whylen);
  }
  len = sizeof(ss);
  if (getsockname(u->fd, (struct sockaddr *)&ss, &len) != 0 ||
      aq_addr_from_sockaddr(&u->bound, (struct sockaddr *)&ss, len) != 0) {
    return fail(u, bind_addr, "name", why, whylen);
  }
  aq_udp_setup(u, rp);
  return 0;
}

void aq_udp_close(aq_udp *u) {
  if (u->fd >= 0) {
    close(u->fd);
    u->fd = -1;
  }
}

static int is_again(int err) {
#if EAGAIN != EWOULDBLOCK
  if (err == EWOULDBLOCK) {
    return 1;
  }
#endif
  return err == EAGAIN;
}

/* A batch may be refused where single datagrams are not: the interface can't
 * split it (EIO), or the kernel doesn't know the option (EINVAL). EINVAL and
 * EMSGSIZE also mean that a segment doesn't fit the interface. */
static int is_batch_refusal(int err) {
  return err == EIO || err == EINVAL || err == EMSGSIZE || err == EOPNOTSUPP;
}

static size_t count_segments(size_t len, size_t segment) {
  return segment == 0 ? 1 : (len + segment - 1) / segment;
}

int aq_udp_send(aq_udp *u, const aq_transmit *t, const uint8_t *buf,
                size_t *off) {
  size_t segment = t->segment == 0 ? t->len : t->segment;
  size_t single_until = 0; /* up to here one by one */
  int suspect = 0;         /* the errno that a batch gave */
  int retried = 0;
  while (*off < t->len) {
    size_t max = *off < single_until ? segment : aq_udp_send_max(u, segment);
    size_t len = t->len - *off < max ? t->len - *off : max;
    int err = aq_udp_send_once(u, t, buf + *off, len);
    u->stats->send_calls++;
    if (err == 0) {
      u->stats->send_datagrams += count_segments(len, segment);
      u->stats->send_bytes += len;
      if ((suspect == EIO || suspect == EINVAL || suspect == EOPNOTSUPP) &&
          u->gso) {
        u->gso = 0; /* the same datagrams do go out alone */
        u->stats->gso = 0;
      }
    } else if (is_again(err)) {
      u->stats->send_blocked++;
      return AQ_ERR_AGAIN;
    } else if (err == EINTR) {
      continue;
    } else if (len > segment && is_batch_refusal(err)) {
      suspect = err;
      single_until = *off + len;
      continue;
    } else if (err == ECONNREFUSED && !retried) {
      retried = 1; /* an old ICMP error was reported, nothing was sent */
      continue;
    } else {
      u->stats->send_errors++;
    }
    *off += len;
    retried = 0;
  }
  return 0;
}
