/* process.c - the programs that the agent runs in its namespaces.
 *
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "labtool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
  pid_t pid;        /* 0: slot is free */
  uint64_t request; /* "run": whom to answer; 0: "spawn", lines are events */
  int in, out, err; /* our pipe ends, -1 when closed */
  bool reaped;
  int status;
  lab_buffer out_text, err_text;
} process;

static process procs[LAB_MAX_PROCS];

static void child_exec(long ns, const int fds[3], char **argv, pid_t parent) {
  sigset_t none;

  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent || (ns != LAB_HERE && lab_ns_enter(ns))) {
    _exit(126);
  }
  setpgid(0, 0); /* an interrupt at the terminal is for Lua, not for us */
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGINT, SIG_DFL);
  signal(SIGHUP, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
  for (int i = 0; i < 3; i++) {
    dup2(fds[i], i);
  }
  execvp(argv[0], argv);
  fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
  _exit(127);
}

static void close_all(int *fds, int count) {
  for (int i = 0; i < count; i++) {
    if (fds[i] >= 0) {
      close(fds[i]);
    }
  }
}

/* stdin_of makes the child's standard input: a file that holds |text|, or a
 * pipe whose writing end goes to |*ours|. Returns -1 with errno set. */
static int stdin_of(const char *text, size_t len, int *ours) {
  int fds[2];

  *ours = -1;
  if (!text) {
    if (pipe2(fds, O_CLOEXEC)) {
      return -1;
    }
    *ours = fds[1];
    return fds[0];
  }
  fds[0] = memfd_create("stdin", MFD_CLOEXEC);
  if (fds[0] >= 0 && (write(fds[0], text, len) != (ssize_t)len ||
                      lseek(fds[0], 0, SEEK_SET) != 0)) {
    close(fds[0]);
    return -1;
  }
  return fds[0];
}

/* start runs |argv| in |ns|. Returns the process or NULL with errno set. */
static process *start(long ns, uint64_t request, const char *text, size_t len,
                      char **argv) {
  int fds[6] = {-1, -1, -1, -1, -1, -1}; /* child's 0..2, ours 0..2 */
  pid_t parent = getpid();
  int slot = 0;
  process *p;

  while (slot < LAB_MAX_PROCS && procs[slot].pid) {
    slot++;
  }
  if (slot == LAB_MAX_PROCS || (ns != LAB_HERE && !lab_ns_exists(ns))) {
    errno = slot == LAB_MAX_PROCS ? EAGAIN : ENOENT;
    return NULL;
  }
  p = &procs[slot];
  fds[0] = stdin_of(text, len, &fds[3]);
  for (int i = 1; i < 3 && fds[0] >= 0; i++) {
    int ends[2];

    if (pipe2(ends, O_CLOEXEC)) {
      close_all(fds, 6);
      return NULL;
    }
    fds[3 + i] = ends[0];
    fds[i] = ends[1];
  }
  *p = (process){.pid = fds[0] < 0 ? -1 : fork(), .request = request};
  if (p->pid == 0) {
    child_exec(ns, fds, argv, parent);
  }
  close_all(fds, 3);
  if (p->pid < 0) {
    p->pid = 0;
    close_all(fds + 3, 3);
    return NULL;
  }
  p->in = fds[3];
  p->out = fds[4];
  p->err = fds[5];
  fcntl(p->out, F_SETFL, O_NONBLOCK);
  fcntl(p->err, F_SETFL, O_NONBLOCK);
  return p;
}

static process *find(long pid) {
  for (int i = 0; i < LAB_MAX_PROCS; i++) {
    if (pid > 0 && procs[i].pid == pid && !procs[i].reaped) {
      return &procs[i];
    }
  }
  return NULL;
}

/* lines_out reports whole lines (all that is left with |rest|) as events. */
static void lines_out(const process *p, const char *kind, lab_buffer *b,
                      bool rest) {
  size_t from = 0;

  for (size_t i = 0; i < b->len; i++) {
    if (b->data[i] == '\n' || (rest && i + 1 == b->len)) {
      size_t end = b->data[i] == '\n' ? i : i + 1;

      lab_say("0 %s %d ", kind, p->pid);
      lab_say_encoded(b->data + from, end - from);
      lab_say("\n");
      from = i + 1;
    }
  }
  if (from) {
    memmove(b->data, b->data + from, b->len - from);
    b->len -= from;
  }
}

static void proc_read(process *p, int *fd, lab_buffer *b, const char *kind) {
  char data[16384];
  ssize_t n;

  while ((n = read(*fd, data, sizeof data)) > 0) {
    lab_append(b, data, (size_t)n);
  }
  if (n == 0 || errno != EAGAIN) {
    close(*fd);
    *fd = -1;
  }
  if (!p->request) {
    lines_out(p, kind, b, *fd < 0);
  }
}

/* proc_finish reports a process that is gone and whose output is complete. */
static void proc_finish(process *p) {
  int code =
      WIFEXITED(p->status) ? WEXITSTATUS(p->status) : 128 + WTERMSIG(p->status);

  if (p->request) {
    lab_say("%" PRIu64 " ok %d ", p->request, code);
    lab_say_encoded(p->out_text.data ? p->out_text.data : "", p->out_text.len);
    lab_say_encoded(p->err_text.data ? p->err_text.data : "", p->err_text.len);
    lab_say("\n");
  } else {
    lab_say("0 exit %d %d\n", p->pid, code);
  }
  if (p->in >= 0) {
    close(p->in);
  }
  free(p->out_text.data);
  free(p->err_text.data);
  *p = (process){.pid = 0};
}

static void procs_reap(int signal_fd) {
  struct signalfd_siginfo info;

  while (signal_fd >= 0 && read(signal_fd, &info, sizeof info) > 0) {
  }
  for (int i = 0; i < LAB_MAX_PROCS; i++) {
    process *p = &procs[i];

    if (p->pid && !p->reaped && waitpid(p->pid, &p->status, WNOHANG) > 0) {
      p->reaped = true;
    }
  }
}

void lab_proc_kill(uint64_t id, long pid, int sig) {
  const process *p = find(pid);

  if (!p) {
    lab_answer_errno(id, "kill", ESRCH);
    return;
  }
  kill(p->pid, sig);
  lab_say("%" PRIu64 " ok\n", id);
}

void lab_proc_write(uint64_t id, long pid, const char *text, size_t len) {
  process *p = find(pid);

  if (!p || p->in < 0) {
    lab_answer_errno(id, "write", ESRCH);
    return;
  }
  if (text && write(p->in, text, len) != (ssize_t)len) {
    lab_answer_errno(id, "write", errno);
    return;
  }
  if (!text) {
    close(p->in);
    p->in = -1;
  }
  lab_say("%" PRIu64 " ok\n", id);
}

void lab_proc_start(uint64_t id, long ns, bool run, char **w, size_t len0) {
  const process *p;

  if (run && ns == LAB_HERE) {
    lab_answer_errno(id, w[1], EPERM);
    return;
  }
  p = run ? start(ns, id, w[0], len0, w + 1) : start(ns, 0, NULL, 0, w);
  if (!p) {
    lab_answer_errno(id, run ? w[1] : w[0], errno);
  } else if (!run) {
    lab_say("%" PRIu64 " ok %d\n", id, p->pid);
  }
}

int lab_proc_collect(struct pollfd *pfds) {
  int n = 0;

  for (int i = 0; i < LAB_MAX_PROCS; i++) {
    if (procs[i].pid) {
      pfds[n++] = (struct pollfd){.fd = procs[i].out, .events = POLLIN};
      pfds[n++] = (struct pollfd){.fd = procs[i].err, .events = POLLIN};
    }
  }
  return n;
}

int lab_proc_handle(const struct pollfd *pfds, int signal_fd) {
  int n = 0;

  for (int i = 0; i < LAB_MAX_PROCS; i++) {
    process *p = &procs[i];

    if (!p->pid) {
      continue;
    }
    if (pfds[n++].revents && p->out >= 0) {
      proc_read(p, &p->out, &p->out_text, "line");
    }
    if (pfds[n++].revents && p->err >= 0) {
      proc_read(p, &p->err, &p->err_text, "stderr");
    }
  }
  procs_reap(signal_fd);
  for (int i = 0; i < LAB_MAX_PROCS; i++) {
    process *p = &procs[i];

    if (p->pid && p->reaped && p->out < 0 && p->err < 0) {
      proc_finish(p);
    }
  }
  return n;
}

void lab_proc_kill_all(void) {
  for (int i = 0; i < LAB_MAX_PROCS; i++) {
    if (procs[i].pid && !procs[i].reaped) {
      kill(procs[i].pid, SIGKILL);
      waitpid(procs[i].pid, NULL, 0);
    }
  }
}
