/* udp.h - a non-blocking UDP socket that sends and receives batches.
 *
 * Layer:  io
 * Owner:  embedded; aq_udp_open acquires the descriptor, aq_udp_close gives it
 *         back
 * Time:   none; nothing here blocks
 * Spec:   RFC 9000 section 14 (no fragmentation), RFC 9002/3168 (ECN);
 *         Linux udp(7): UDP_SEGMENT, UDP_GRO
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_IO_UDP_H
#define AQ_IO_UDP_H

#include "antquic.h"

#define AQ_UDP_BUFFER (4 * 1024 * 1024) /* asked for each direction */
#define AQ_UDP_RECV_MAX 65536           /* a coalesced batch fits */

typedef struct aq_udp {
  int fd; /* -1: closed */
  uint8_t gso, gro, ecn;
  aq_addr bound;
  aq_io_stats *stats; /* borrowed */
} aq_udp;

/* aq_udp_open binds a socket to |bind|, whose port may be 0; u->bound is the
 * real one. An IPv6 socket takes IPv6 alone. |rp| has the switches, |stats| is
 * borrowed until close. |why| gets a sentence. On failure u->fd is -1.
 * Returns 0, AQ_ERR_ADDRESS (no family) or AQ_ERR_NETWORK. */
int aq_udp_open(aq_udp *u, const aq_addr *bind, const aq_runtime_params *rp,
                aq_io_stats *stats, char *why, size_t whylen);
/* aq_udp_close is idempotent. */
void aq_udp_close(aq_udp *u);

/* aq_udp_recv fills |d| from one system call; d->data points into |buf|, which
 * has AQ_UDP_RECV_MAX bytes; d->socket is left alone.
 * Returns 1, 0 (nothing is there) or AQ_ERR_NETWORK (counted; try again: an
 * ICMP error of some earlier datagram, or one that was cut). */
int aq_udp_recv(aq_udp *u, uint8_t *buf, aq_datagram *d);

/* aq_udp_send sends |t|'s bytes from *off on and moves *off. What the network
 * refuses (too large, unreachable, forbidden) is dropped and counted, as it
 * might have been lost further away.
 * Returns 0 (all is done) or AQ_ERR_AGAIN (wait until writable, call again). */
int aq_udp_send(aq_udp *u, const aq_transmit *t, const uint8_t *buf,
                size_t *off);

/* Parts that depend on the system: udp_linux.c, udp_send_linux.c, udp_plain.c.
 */

/* aq_udp_setup sets what the system offers: no fragmentation, batches, ECN,
 * destination addresses. Nothing of it is fatal. */
void aq_udp_setup(aq_udp *u, const aq_runtime_params *rp);
/* aq_udp_send_max: how many bytes one aq_udp_send_once takes at |segment|. */
size_t aq_udp_send_max(const aq_udp *u, size_t segment);
/* aq_udp_send_once makes one system call. Returns 0 or the errno. */
int aq_udp_send_once(aq_udp *u, const aq_transmit *t, const uint8_t *data,
                     size_t len);

#endif
