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

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAB_MAX_PROCS 1024
#define LAB_HERE (-1) /* "spawn" only: the namespace of the agent itself */

typedef struct {
  char *data;
  size_t len, cap;
} lab_buffer;

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

/* lab_append copies |data| to the end of the buffer; no memory is an abort. */
void lab_append(lab_buffer *b, const char *data, size_t len);

/* lab_say queues text for Lua; lab_say_encoded one percent-encoded word;
 * lab_answer_errno a whole failed answer to request |id|. */
__attribute__((format(printf, 1, 2))) void lab_say(const char *fmt, ...);
void lab_say_encoded(const char *data, size_t len);
void lab_answer_errno(uint64_t id, const char *what, int err);

/* lab_ns_enter moves this process into namespace |ns|, lab_ns_leave back to
 * where it was started. Returns 0 or an errno. */
bool lab_ns_exists(long ns);
int lab_ns_enter(long ns);
void lab_ns_leave(void);

/* Commands, each answers request |id|. lab_proc_start runs a program: with
 * |run| the first word (|len| bytes) is its input and the answer comes at its
 * end; without, the answer is its pid, and its lines and end are events. */
void lab_proc_start(uint64_t id, long ns, bool run, char **words, size_t len);
void lab_proc_kill(uint64_t id, long pid, int sig);
/* lab_proc_write writes to its standard input; NULL closes that. */
void lab_proc_write(uint64_t id, long pid, const char *text, size_t len);

/* lab_proc_collect fills in at most 2 * LAB_MAX_PROCS entries and returns how
 * many; lab_proc_handle takes the same ones back after poll. */
int lab_proc_collect(struct pollfd *pfds);
int lab_proc_handle(const struct pollfd *pfds, int signal_fd);
void lab_proc_kill_all(void);

#endif
