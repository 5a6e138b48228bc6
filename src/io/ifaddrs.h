/* ifaddrs.h - the addresses of the interfaces, and when they change.
 *
 * Layer:  io
 * Owner:  embedded; the watch holds a descriptor until aq_ifwatch_close
 * Time:   none; the caller scans now and then as well
 * Spec:   rtnetlink(7) on Linux; elsewhere there is no watch
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_IO_IFADDRS_H
#define AQ_IO_IFADDRS_H

#include "antquic.h"

#define AQ_IFADDRS_MAX 64

typedef struct aq_ifaddrs {
  size_t count;
  aq_addr v[AQ_IFADDRS_MAX]; /* sorted, port 0 */
} aq_ifaddrs;

/* aq_ifaddrs_scan takes the addresses under which one of the |n| bound
 * sockets can be reached: those of real interfaces for a socket that is bound
 * to no address, and its own address for one that is. Addresses beyond
 * AQ_IFADDRS_MAX are left out.
 * Returns 0 or AQ_ERR_NETWORK (|out| then has the sockets' own addresses). */
int aq_ifaddrs_scan(aq_ifaddrs *out, const aq_addr *bound, size_t n);
int aq_ifaddrs_equal(const aq_ifaddrs *a, const aq_ifaddrs *b);

/* aq_ifwatch_open gives a non-blocking descriptor that becomes readable when
 * an address or interface changes, or -1 where there is none. */
int aq_ifwatch_open(void);
/* aq_ifwatch_drain empties it. Returns 1 when something had changed. */
int aq_ifwatch_drain(int fd);
/* -1 is allowed. */
void aq_ifwatch_close(int fd);

#endif
