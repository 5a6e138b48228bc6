/* labtool.h - what the two halves of the NAT lab's helper share.
 *
 * Layer:  none; a test tool, never linked into the module
 * Owner:  the lab's agent process
 * Time:   CLOCK_MONOTONIC, nanoseconds
 * Spec:   spec/natlab/README.md
 *
 * SPDX-License-Identifier: MIT */
#ifndef NATLAB_LABTOOL_H
#define NATLAB_LABTOOL_H

#include <stdint.h>

/* lab_now returns the monotonic clock in nanoseconds. It can't fail. */
uint64_t lab_now(void);

/* lab_agent_main serves requests on stdin until it is closed, then kills every
 * process it started. Returns the process's exit status. */
int lab_agent_main(void);

/* lab_delay_main holds packets of NFQUEUE queues back; |specs| (borrowed) are
 * QUEUE:DELAY_MS:JITTER_MS:LOSS_PERMILLE. Returns the exit status. */
int lab_delay_main(int count, char **specs);

/* lab_flush_conntrack forgets every flow of the current network namespace.
 * Returns 0 or a positive errno. */
int lab_flush_conntrack(void);

/* lab_flush_sets empties the sets and maps |names| (borrowed) of the nftables
 * table ip |table|. Returns 0 or a positive errno; sets before the failing one
 * stay as they were. */
int lab_flush_sets(const char *table, char **names, int count);

#endif
