/* labtool.c - the NAT lab's agent: Lua says what, this process does what Lua
 * can't: makes network namespaces, runs programs and opens UDP sockets inside
 * them, and waits for all of it at once.
 *
 * Namespaces have no name: they live as descriptors of this process, and every
 * child dies with it. So nothing is left behind however the lab ends: when Lua
 * goes away stdin closes; when this process is killed the kernel does the rest.
 * No command can change the namespace the agent was started in.
 *
 * Requests are lines "ID COMMAND ARG...", answers "ID ok ..." or "ID err TEXT",
 * events "0 KIND ...". Words are percent-encoded.
 *
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "labtool.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_NS 4096
#define MAX_SOCKS 2048
#define MAX_WAITS 4096
#define MAX_WORDS 256

typedef struct {
  int fd; /* -1: slot is free */
} udp_sock;

typedef struct {
  uint64_t request; /* 0: slot is free */
  uint64_t due;     /* when to answer, or to give up */
  int fd;           /* "ready": connected socket; -1: plain timer */
} waiting;

static int root_ns, signal_fd;
static int ns_fds[MAX_NS];
static int ns_count;
static udp_sock socks[MAX_SOCKS];
static waiting waits[MAX_WAITS];
static lab_buffer input, output;

uint64_t lab_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- text ------------------------------------------------------------- */

void lab_append(lab_buffer *b, const char *data, size_t len) {
  if (b->len + len + 1 > b->cap) {
    b->cap = (b->len + len + 1) * 2;
    b->data = realloc(b->data, b->cap);
    if (!b->data) {
      abort();
    }
  }
  memcpy(b->data + b->len, data, len);
  b->len += len;
  b->data[b->len] = '\0';
}

void lab_say(const char *fmt, ...) {
  char line[1024];
  va_list ap;
  int n;

  va_start(ap, fmt);
  n = vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  lab_append(&output, line,
             (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

void lab_say_encoded(const char *data, size_t len) {
  static const char hex[] = "0123456789ABCDEF";

  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)data[i];
    char code[3] = {'%', hex[c >> 4], hex[c & 15]};

    if (c <= ' ' || c >= 0x7f || c == '%') {
      lab_append(&output, code, 3);
    } else {
      lab_append(&output, data + i, 1);
    }
  }
}

static int hex_digit(char c) {
  return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* decode resolves %XX in place and returns the length. */
static size_t decode(char *s) {
  char *to = s;
  const char *from = s;

  while (*from) {
    if (from[0] == '%' && from[1] && from[2]) {
      *to++ = (char)(hex_digit(from[1]) << 4 | hex_digit(from[2]));
      from += 3;
    } else {
      *to++ = *from++;
    }
  }
  *to = '\0';
  return (size_t)(to - s);
}

void lab_answer_errno(uint64_t id, const char *what, int err) {
  lab_say("%" PRIu64 " err ", id);
  lab_say_encoded(what, strlen(what));
  lab_say(":%%20");
  lab_say_encoded(strerror(err), strlen(strerror(err)));
  lab_say("\n");
}

/* ---- namespaces ------------------------------------------------------- */

bool lab_ns_exists(long ns) {
  return ns >= 0 && ns < ns_count && ns_fds[ns] >= 0;
}

int lab_ns_enter(long ns) {
  return !lab_ns_exists(ns)                ? ENOENT
         : setns(ns_fds[ns], CLONE_NEWNET) ? errno
                                           : 0;
}

void lab_ns_leave(void) {
  if (setns(root_ns, CLONE_NEWNET)) {
    perror("labtool: cannot return to the first namespace");
    abort();
  }
}

static void cmd_ns(uint64_t id) {
  int fd = -1;
  int slot = 0;

  while (slot < ns_count && ns_fds[slot] >= 0) {
    slot++;
  }
  if (slot == MAX_NS || unshare(CLONE_NEWNET)) {
    lab_answer_errno(id, "new network namespace",
                     slot == MAX_NS ? ENFILE : errno);
    return;
  }
  fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  lab_ns_leave();
  if (fd < 0) {
    lab_answer_errno(id, "new network namespace", errno);
    return;
  }
  ns_fds[slot] = fd;
  ns_count += slot == ns_count;
  lab_say("%" PRIu64 " ok %d /proc/%d/fd/%d\n", id, slot, getpid(), fd);
}

static void cmd_nsdel(uint64_t id, long ns) {
  if (!lab_ns_exists(ns)) {
    lab_answer_errno(id, "nsdel", ENOENT);
    return;
  }
  close(ns_fds[ns]);
  ns_fds[ns] = -1;
  lab_say("%" PRIu64 " ok\n", id);
}

static int write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  int err = fd < 0 || write(fd, text, strlen(text)) < 0 ? errno : 0;

  if (fd >= 0) {
    close(fd);
  }
  return err;
}

/* cmd_sysctl writes name/value pairs; names are paths below /proc/sys. */
static void cmd_sysctl(uint64_t id, long ns, char **words, int count) {
  char path[256] = "";
  int err = lab_ns_enter(ns);

  for (int i = 0; !err && i + 1 < count; i += 2) {
    snprintf(path, sizeof path, "/proc/sys/%s", words[i]);
    err = strncmp(words[i], "net/", 4) ? EPERM : write_file(path, words[i + 1]);
  }
  lab_ns_leave();
  if (err) {
    lab_answer_errno(id, path, err);
  } else {
    lab_say("%" PRIu64 " ok\n", id);
  }
}

/* cmd_neigh makes address resolution of every device retry within 5 ms: a new
 * veth drops its first packets and one lost ARP request costs a second. */
static void cmd_neigh(uint64_t id, long ns) {
  static const char *const families[] = {"4", "6"};
  static const char *const values[][2] = {{"retrans_time_ms", "5"},
                                          {"mcast_solicit", "100"},
                                          {"ucast_solicit", "100"}};
  int err = lab_ns_enter(ns);

  for (int f = 0; !err && f < 2; f++) {
    char path[512];
    const struct dirent *e;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/sys/net/ipv%s/neigh", families[f]);
    dir = opendir(path);
    while (dir && (e = readdir(dir))) {
      for (int v = 0; e->d_name[0] != '.' && v < 3; v++) {
        snprintf(path, sizeof path, "/proc/sys/net/ipv%s/neigh/%s/%s",
                 families[f], e->d_name, values[v][0]);
        write_file(path, values[v][1]);
      }
    }
    if (dir) {
      closedir(dir);
    }
  }
  lab_ns_leave();
  if (err) {
    lab_answer_errno(id, "neigh", err);
  } else {
    lab_say("%" PRIu64 " ok\n", id);
  }
}

/* ---- sockets ---------------------------------------------------------- */

typedef union {
  struct sockaddr sa;
  struct sockaddr_in in4;
  struct sockaddr_in6 in6;
} address;

static socklen_t parse_address(address *a, const char *ip, const char *port) {
  memset(a, 0, sizeof *a);
  if (inet_pton(AF_INET, ip, &a->in4.sin_addr) == 1) {
    a->in4.sin_family = AF_INET;
    a->in4.sin_port = htons((uint16_t)atoi(port));
    return sizeof a->in4;
  }
  if (inet_pton(AF_INET6, ip, &a->in6.sin6_addr) == 1) {
    a->in6.sin6_family = AF_INET6;
    a->in6.sin6_port = htons((uint16_t)atoi(port));
    return sizeof a->in6;
  }
  return 0;
}

static int socket_in(long ns, int family) {
  int err = lab_ns_enter(ns);
  int fd = -1;

  if (!err) {
    fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    err = fd < 0 ? errno : 0;
  }
  lab_ns_leave();
  errno = err;
  return fd;
}

/* cmd_udp opens a socket: answers its number and local port. */
static void cmd_udp(uint64_t id, long ns, const char *ip, const char *port) {
  address a;
  socklen_t len = parse_address(&a, ip, port);
  int slot = 0;
  int fd;

  while (slot < MAX_SOCKS && socks[slot].fd >= 0) {
    slot++;
  }
  if (!len || slot == MAX_SOCKS) {
    lab_answer_errno(id, "udp", len ? EMFILE : EINVAL);
    return;
  }
  fd = socket_in(ns, a.sa.sa_family);
  if (fd < 0 || bind(fd, &a.sa, len) || getsockname(fd, &a.sa, &len)) {
    lab_answer_errno(id, "udp", errno);
    if (fd >= 0) {
      close(fd);
    }
    return;
  }
  socks[slot].fd = fd;
  lab_say("%" PRIu64 " ok %d %u\n", id, slot, ntohs(a.in4.sin_port));
}

/* cmd_send: SOCKET IP PORT TTL DATA. Errors of the network are not errors:
 * the datagram is lost, as any other may be. */
static void cmd_send(uint64_t id, char **w, size_t len) {
  int slot = atoi(w[0]);
  int ttl = atoi(w[3]);
  address a;
  socklen_t alen = parse_address(&a, w[1], w[2]);
  bool v4 = a.sa.sa_family == AF_INET;

  if (slot < 0 || slot >= MAX_SOCKS || socks[slot].fd < 0 || !alen) {
    lab_answer_errno(id, "send", EBADF);
    return;
  }
  setsockopt(socks[slot].fd, v4 ? IPPROTO_IP : IPPROTO_IPV6,
             v4 ? IP_TTL : IPV6_UNICAST_HOPS, &ttl, sizeof ttl);
  if (sendto(socks[slot].fd, w[4], len, 0, &a.sa, alen) < 0 &&
      (errno == EBADF || errno == EINVAL)) {
    lab_answer_errno(id, "send", errno);
    return;
  }
  lab_say("%" PRIu64 " ok\n", id);
}

static void cmd_close(uint64_t id, int slot) {
  if (slot < 0 || slot >= MAX_SOCKS || socks[slot].fd < 0) {
    lab_answer_errno(id, "close", EBADF);
    return;
  }
  close(socks[slot].fd);
  socks[slot].fd = -1;
  lab_say("%" PRIu64 " ok\n", id);
}

static void sock_readable(int slot) {
  char data[2048], ip[INET6_ADDRSTRLEN];
  address a;

  for (;;) {
    socklen_t len = sizeof a;
    ssize_t n = recvfrom(socks[slot].fd, data, sizeof data, 0, &a.sa, &len);
    bool v4 = a.sa.sa_family == AF_INET;

    if (n < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return;
      }
      continue; /* a pending ICMP error */
    }
    inet_ntop(a.sa.sa_family,
              v4 ? (void *)&a.in4.sin_addr : (void *)&a.in6.sin6_addr, ip,
              sizeof ip);
    lab_say("0 dgram %d %.6f %s %u ", slot, (double)lab_now() / 1e9, ip,
            ntohs(v4 ? a.in4.sin_port : a.in6.sin6_port));
    lab_say_encoded(data, (size_t)n);
    lab_say("\n");
  }
}

/* ---- waiting ---------------------------------------------------------- */

static void wait_add(uint64_t id, double seconds, int fd) {
  for (int i = 0; i < MAX_WAITS; i++) {
    if (waits[i].request == 0) {
      waits[i] = (waiting){
          .request = id,
          .due = lab_now() + (uint64_t)(seconds * 1e9),
          .fd = fd,
      };
      return;
    }
  }
  lab_answer_errno(id, "too many timers", ENOSPC);
  if (fd >= 0) {
    close(fd);
  }
}

/* cmd_cancel forgets the timer of request |other|: it gets no answer. */
static void cmd_cancel(uint64_t id, uint64_t other) {
  for (int i = 0; i < MAX_WAITS; i++) {
    if (waits[i].request == other && waits[i].fd < 0) {
      waits[i].request = 0;
    }
  }
  lab_say("%" PRIu64 " ok\n", id);
}

/* cmd_ready answers when |ip| says "port unreachable", so the way to it and
 * back works. */
static void cmd_ready(uint64_t id, long ns, const char *ip, double limit) {
  address a;
  socklen_t len = parse_address(&a, ip, "9");
  int fd = len ? socket_in(ns, a.sa.sa_family) : -1;

  if (fd < 0 || connect(fd, &a.sa, len)) {
    lab_answer_errno(id, "ready", len ? errno : EINVAL);
    if (fd >= 0) {
      close(fd);
    }
    return;
  }
  wait_add(id, limit, fd);
}

/* waits_step answers what is due and returns ms until the next step. */
static int waits_step(void) {
  uint64_t now = lab_now();
  int64_t next = 1000000000;

  for (int i = 0; i < MAX_WAITS; i++) {
    waiting *w = &waits[i];
    int64_t left = (int64_t)(w->due - now);

    if (w->request == 0) {
      continue;
    }
    if (w->fd >= 0) {
      bool up = send(w->fd, "?", 1, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED;

      if (!up && left > 0) {
        next = next < 2000000 ? next : 2000000;
        continue;
      }
      close(w->fd);
      lab_say("%" PRIu64 " %s\n", w->request,
              up ? "ok" : "err the%20gateway%20does%20not%20answer");
      w->request = 0;
    } else if (left <= 0) {
      lab_say("%" PRIu64 " ok %.6f\n", w->request, (double)now / 1e9);
      w->request = 0;
    } else {
      next = next < left ? next : left;
    }
  }
  return (int)((next + 999999) / 1000000);
}

/* ---- the loop --------------------------------------------------------- */

static void dispatch(uint64_t id, const char *cmd, char **w, const size_t *len,
                     int n) {
  long ns = n > 0 ? atol(w[0]) : -1;

  if (!strcmp(cmd, "ns")) {
    cmd_ns(id);
  } else if (!strcmp(cmd, "now")) {
    lab_say("%" PRIu64 " ok %.6f\n", id, (double)lab_now() / 1e9);
  } else if (!strcmp(cmd, "timer") && n == 1) {
    wait_add(id, atof(w[0]), -1);
  } else if (!strcmp(cmd, "cancel") && n == 1) {
    cmd_cancel(id, strtoull(w[0], NULL, 10));
  } else if (!strcmp(cmd, "nsdel") && n == 1) {
    cmd_nsdel(id, ns);
  } else if (!strcmp(cmd, "neigh") && n == 1) {
    cmd_neigh(id, ns);
  } else if (!strcmp(cmd, "sysctl") && n >= 3) {
    cmd_sysctl(id, ns, w + 1, n - 1);
  } else if (!strcmp(cmd, "ready") && n == 3) {
    cmd_ready(id, ns, w[1], atof(w[2]));
  } else if (!strcmp(cmd, "udp") && n == 3) {
    cmd_udp(id, ns, w[1], w[2]);
  } else if (!strcmp(cmd, "send") && n == 5) {
    cmd_send(id, w, len[4]);
  } else if (!strcmp(cmd, "close") && n == 1) {
    cmd_close(id, atoi(w[0]));
  } else if (!strcmp(cmd, "run") && n >= 3) {
    lab_proc_start(id, ns, true, w + 1, len[1]);
  } else if (!strcmp(cmd, "spawn") && n >= 2) {
    lab_proc_start(id, ns, false, w + 1, 0);
  } else if (!strcmp(cmd, "kill") && n == 2) {
    lab_proc_kill(id, atol(w[0]), atoi(w[1]));
  } else if (!strcmp(cmd, "write") && n == 2) {
    lab_proc_write(id, atol(w[0]), w[1], len[1]);
  } else if (!strcmp(cmd, "eof") && n == 1) {
    lab_proc_write(id, atol(w[0]), NULL, 0);
  } else {
    lab_answer_errno(id, cmd, EINVAL);
  }
}

static void request(char *line) {
  char *words[MAX_WORDS + 3] = {NULL};
  size_t lens[MAX_WORDS + 3] = {0};
  int n = 0;

  /* an empty word is an empty argument, so no strtok */
  for (char *at = line; at && n < MAX_WORDS + 2; n++) {
    char *space = strchr(at, ' ');

    if (space) {
      *space = '\0';
    }
    words[n] = at;
    lens[n] = decode(at);
    at = space ? space + 1 : NULL;
  }
  if (n >= 2) {
    dispatch(strtoull(words[0], NULL, 10), words[1], words + 2, lens + 2,
             n - 2);
  }
}

/* input_read returns false when Lua has gone. */
static bool input_read(void) {
  char data[65536];
  ssize_t n = read(STDIN_FILENO, data, sizeof data);
  size_t from = 0;
  char *nl;

  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
    return false;
  }
  lab_append(&input, data, n > 0 ? (size_t)n : 0);
  while ((nl = memchr(input.data + from, '\n', input.len - from))) {
    *nl = '\0';
    request(input.data + from);
    from = (size_t)(nl - input.data) + 1;
  }
  memmove(input.data, input.data + from, input.len - from);
  input.len -= from;
  return true;
}

static bool output_write(void) {
  ssize_t n = write(STDOUT_FILENO, output.data, output.len);

  if (n < 0) {
    return errno == EAGAIN || errno == EINTR;
  }
  memmove(output.data, output.data + n, output.len - (size_t)n);
  output.len -= (size_t)n;
  return true;
}

static struct pollfd pollset[LAB_MAX_PROCS * 2 + MAX_SOCKS + 3];

static int poll_collect(void) {
  int n = 0;

  pollset[n++] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
  pollset[n++] = (struct pollfd){.fd = signal_fd, .events = POLLIN};
  pollset[n++] =
      (struct pollfd){.fd = output.len ? STDOUT_FILENO : -1, .events = POLLOUT};
  n += lab_proc_collect(pollset + n);
  for (int i = 0; i < MAX_SOCKS; i++) {
    if (socks[i].fd >= 0) {
      pollset[n++] = (struct pollfd){.fd = socks[i].fd, .events = POLLIN};
    }
  }
  return n;
}

static bool poll_handle(void) {
  int n = 3 + lab_proc_handle(pollset + 3, pollset[1].revents ? signal_fd : -1);

  for (int i = 0; i < MAX_SOCKS; i++) {
    if (socks[i].fd >= 0 && pollset[n++].revents) {
      sock_readable(i);
    }
  }
  return !pollset[0].revents || input_read();
}

int lab_agent_main(void) {
  sigset_t set;
  struct rlimit files;
  bool alive = true;

  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  root_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (signal_fd < 0 || root_ns < 0) {
    perror("labtool");
    return 1;
  }
  prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK);
  for (int i = 0; i < MAX_SOCKS; i++) {
    socks[i].fd = -1;
  }
  while (alive) {
    int timeout = waits_step();
    int n = poll_collect();

    if (poll(pollset, (nfds_t)n, timeout) < 0 && errno != EINTR) {
      perror("labtool: poll");
      break;
    }
    alive = poll_handle();
    alive = (output.len == 0 || output_write()) && alive;
  }
  lab_proc_kill_all();
  return 0;
}

/* flush is a command of its own and no request: the kernel takes its time. */
static int flush_main(char **names, int count) {
  int err = lab_flush_conntrack();

  err = err ? err : lab_flush_sets("nat", names, count);
  if (err) {
    fprintf(stderr, "flush: %s\n", strerror(err));
  }
  return err != 0;
}

int main(int argc, char **argv) {
  if (argc == 2 && !strcmp(argv[1], "agent")) {
    return lab_agent_main();
  }
  if (argc >= 3 && !strcmp(argv[1], "delay")) {
    return lab_delay_main(argc - 2, argv + 2);
  }
  if (argc >= 2 && !strcmp(argv[1], "flush")) {
    return flush_main(argv + 2, argc - 2);
  }
  fprintf(stderr, "usage: labtool agent | labtool flush [SET]... | labtool "
                  "delay QUEUE:MS[:JITTER_MS"
                  "[:LOSS_PERMILLE]]...\n");
  return 2;
}
