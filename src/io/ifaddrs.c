/* SPDX-License-Identifier: MIT */
#if defined(__linux__)
#define _GNU_SOURCE /* what uv.h needs of pthread.h */
#endif

#include "io/ifaddrs.h"

#include "base/addr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#if defined(__linux__)
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#endif

static void add(aq_ifaddrs *out, const aq_addr *a) {
  aq_addr copy = *a;
  copy.port = 0;
  for (size_t i = 0; i < out->count; i++) {
    if (aq_addr_equal(&out->v[i], &copy)) {
      return;
    }
  }
  if (out->count < AQ_IFADDRS_MAX) {
    out->v[out->count++] = copy;
  }
}

static int compare(const void *a, const void *b) {
  return aq_addr_cmp(a, b);
}

static int is_wanted(const aq_addr *a, const aq_addr *bound, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (bound[i].family == a->family &&
        aq_addr_classify(&bound[i]) == AQ_ADDR_UNSPECIFIED) {
      return 1;
    }
  }
  return 0;
}

int aq_ifaddrs_scan(aq_ifaddrs *out, const aq_addr *bound, size_t n) {
  uv_interface_address_t *list = NULL;
  int count = 0;
  int rc;
  memset(out, 0, sizeof(*out));
  for (size_t i = 0; i < n; i++) {
    if (bound[i].family != 0 &&
        aq_addr_classify(&bound[i]) != AQ_ADDR_UNSPECIFIED) {
      add(out, &bound[i]);
    }
  }
  rc = uv_interface_addresses(&list, &count);
  if (rc == 0) {
    for (int i = 0; i < count; i++) {
      aq_addr a;
      if (!list[i].is_internal &&
          aq_addr_from_sockaddr(&a, (struct sockaddr *)&list[i].address,
                                sizeof(list[i].address)) == 0 &&
          is_wanted(&a, bound, n)) {
        add(out, &a);
      }
    }
    uv_free_interface_addresses(list, count);
  }
  qsort(out->v, out->count, sizeof(out->v[0]), compare);
  return rc == 0 ? 0 : AQ_ERR_NETWORK;
}

int aq_ifaddrs_equal(const aq_ifaddrs *a, const aq_ifaddrs *b) {
  if (a->count != b->count) {
    return 0;
  }
  for (size_t i = 0; i < a->count; i++) {
    if (aq_addr_cmp(&a->v[i], &b->v[i]) != 0) {
      return 0;
    }
  }
  return 1;
}

#if defined(__linux__)

int aq_ifwatch_open(void) {
  struct sockaddr_nl nl;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
                  NETLINK_ROUTE);
  if (fd < 0) {
    return -1;
  }
  memset(&nl, 0, sizeof(nl));
  nl.nl_family = AF_NETLINK;
  nl.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (bind(fd, (struct sockaddr *)&nl, sizeof(nl)) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

int aq_ifwatch_drain(int fd) {
  char buf[8192];
  int changed = 0;
  for (int i = 0; i < 64; i++) {
    ssize_t n = recv(fd, buf, sizeof(buf), 0);
    if (n > 0 || (n < 0 && (errno == ENOBUFS || errno == EINTR))) {
      changed = 1; /* ENOBUFS: messages were lost, so something changed */
      continue;
    }
    break;
  }
  return changed;
}

#else

int aq_ifwatch_open(void) {
  return -1;
}

int aq_ifwatch_drain(int fd) {
  (void)fd;
  return 0;
}

#endif

void aq_ifwatch_close(int fd) {
  if (fd >= 0) {
    close(fd);
  }
}
