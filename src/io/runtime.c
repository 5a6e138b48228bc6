/* runtime.c - turns an endpoint with real sockets and a real clock.
 *
 * The loop is private and only ever run without waiting: it tells which
 * descriptors are ready. Deadlines are the endpoint's and this file's own, so
 * that aq_runtime_timeout and a host's loop see the same ones.
 *
 * SPDX-License-Identifier: MIT */
#if defined(__linux__)
#define _GNU_SOURCE /* ppoll */
#endif

#include "antquic.h"

#include "base/addr.h"
#include "base/mem.h"
#include "base/time.h"
#include "base/trace.h"
#include "io/ifaddrs.h"
#include "io/udp.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

/* Bounds of one turn, so that neither side starves the other or the host. */
#define RECV_CALLS_PER_SOCKET 32
#define SENDS_PER_TURN 64
/* Scans without a hint: rarely where the system tells of changes. */
#define SCAN_WATCHED (5 * AQ_S)
#define SCAN_BLIND (1 * AQ_S)
/* Changes come in bursts (an address, its route, its duplicate detection). */
#define SCAN_SETTLE (20 * AQ_MS)
/* While the socket is full its readiness wakes us; this is the long stop. */
#define BLOCKED_RETRY (1 * AQ_MS)
/* Closing may send this much, and no more. */
#define FAREWELL_SENDS 4096
/* Our own sockets have the first indices, those that the endpoint asks for the
 * rest. */
#define MAX_SLOTS (AQ_MAX_SOCKETS + AQ_MAX_EXTRA_SOCKETS)

typedef struct slot {
  uv_poll_t poll;
  aq_runtime *rt;
  aq_udp udp;
  uint8_t readable;
  uint8_t writable;
  uint8_t watching; /* uv events asked for */
} slot;

struct aq_runtime {
  aq_mem mem;
  aq_env env;
  aq_runtime_params params;
  aq_endpoint *ep;
  uv_loop_t loop;
  uint8_t has_loop;
  uint8_t has_ifpoll;
  uint8_t dirty; /* a handle changed: the loop must run to tell the system */
  uint8_t more;  /* the last turn left work */
  uint8_t if_changed;
  pid_t pid;
  uv_poll_t ifpoll;
  int ifwatch;
  aq_tstamp next_scan;
  aq_ifaddrs addrs;
  size_t count;           /* of our own */
  size_t top;             /* behind the highest index in use */
  slot *slots[MAX_SLOTS]; /* NULL: none of that index */
  aq_io_stats stats;
  aq_transmit pending; /* what a full socket did not take */
  size_t pending_off;
  uint8_t has_pending;
  uint8_t recv_buf[AQ_UDP_RECV_MAX];
  uint8_t send_buf[AQ_TRANSMIT_MAX];
};

/* ---- the clock ------------------------------------------------------------
 */

aq_tstamp aq_clock_now(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (aq_tstamp)ts.tv_sec * AQ_S + (aq_tstamp)ts.tv_nsec;
}

int aq_random_bytes(uint8_t *out, size_t len) {
  return uv_random(NULL, NULL, out, len, 0, NULL) == 0 ? 0 : AQ_ERR_INTERNAL;
}

aq_tstamp aq_runtime_now(const aq_runtime *rt) {
  (void)rt;
  return aq_clock_now();
}

/* ---- handles --------------------------------------------------------------
 */

static void on_socket(uv_poll_t *handle, int status, int events) {
  slot *s = handle->data;
  if (status < 0) {
    s->readable = 1; /* reading tells, and clears, what is wrong */
    s->writable = 1;
    return;
  }
  s->readable |= (events & UV_READABLE) != 0;
  s->writable |= (events & UV_WRITABLE) != 0;
}

static void on_interfaces(uv_poll_t *handle, int status, int events) {
  aq_runtime *rt = handle->data;
  (void)status;
  (void)events;
  if (aq_ifwatch_drain(rt->ifwatch)) {
    rt->if_changed = 1;
  }
}

static int watch(slot *s, int events) {
  if (s->watching == events) {
    return 0;
  }
  s->watching = (uint8_t)events;
  s->rt->dirty = 1;
  return uv_poll_start(&s->poll, events, on_socket) == 0 ? 0 : AQ_ERR_NETWORK;
}

static void on_slot_closed(uv_handle_t *handle) {
  slot *s = handle->data;
  aq_udp_close(&s->udp);
  aq_mem_free(&s->rt->mem, s);
}

static void set_why(char *why, size_t whylen, const char *text) {
  if (whylen > 0) {
    snprintf(why, whylen, "%s", text);
  }
}

/* A bound socket that is watched, in |*ps|. */
static int make_slot(aq_runtime *rt, const aq_addr *bind, slot **ps, char *why,
                     size_t whylen) {
  slot *s;
  int rc;
  s = aq_mem_alloc(&rt->mem, sizeof(*s));
  if (!s) {
    set_why(why, whylen, "out of memory");
    return AQ_ERR_NOMEM;
  }
  s->rt = rt;
  rc = aq_udp_open(&s->udp, bind, &rt->params, &rt->stats, why, whylen);
  if (rc != 0) {
    aq_mem_free(&rt->mem, s);
    return rc;
  }
  if (uv_poll_init(&rt->loop, &s->poll, s->udp.fd) != 0) {
    set_why(why, whylen, "the event loop refused the socket");
    aq_udp_close(&s->udp);
    aq_mem_free(&rt->mem, s);
    return AQ_ERR_NETWORK;
  }
  s->poll.data = s; /* from here on closing the handle frees |s| */
  rc = watch(s, UV_READABLE);
  if (rc != 0) {
    set_why(why, whylen, "the event loop refused the socket");
    uv_close((uv_handle_t *)&s->poll, on_slot_closed);
    return rc;
  }
  *ps = s;
  return 0;
}

static void put_slot(aq_runtime *rt, size_t index, slot *s) {
  rt->slots[index] = s;
  if (index >= rt->top) {
    rt->top = index + 1;
  }
}

static int open_slot(aq_runtime *rt, const aq_addr *bind, char *why,
                     size_t whylen) {
  aq_local_socket local;
  slot *s;
  int rc;
  if (rt->count == AQ_MAX_SOCKETS) {
    set_why(why, whylen, "too many sockets");
    return AQ_ERR_LIMIT;
  }
  rc = make_slot(rt, bind, &s, why, whylen);
  if (rc == 0) {
    memset(&local, 0, sizeof(local));
    local.index = (uint32_t)rt->count;
    local.bound = s->udp.bound;
    rc = aq_endpoint_add_socket(rt->ep, aq_clock_now(), &local);
    if (rc != 0) {
      set_why(why, whylen, "the endpoint refused the socket");
      uv_close((uv_handle_t *)&s->poll, on_slot_closed);
    }
  }
  if (rc != 0) {
    return rc;
  }
  put_slot(rt, rt->count++, s);
  rt->stats.gso |= s->udp.gso;
  rt->stats.gro |= s->udp.gro;
  rt->stats.ecn |= s->udp.ecn;
  return 0;
}

static void close_slot(aq_runtime *rt, size_t index) {
  slot *s = rt->slots[index];
  if (s == NULL) {
    return;
  }
  rt->slots[index] = NULL;
  while (rt->top > 0 && rt->slots[rt->top - 1] == NULL) {
    rt->top--;
  }
  uv_close((uv_handle_t *)&s->poll, on_slot_closed);
  rt->dirty = 1;
}

/* The sockets that the endpoint asks for or gives back. */
static void serve_sockets(aq_runtime *rt) {
  aq_socket_request r;
  char why[160] = "its index is taken";
  while (aq_endpoint_poll_socket(rt->ep, &r)) {
    slot *s = NULL;
    if (r.index < AQ_MAX_SOCKETS || r.index >= MAX_SLOTS) {
      continue;
    }
    if (!r.open) {
      close_slot(rt, r.index);
      continue;
    }
    if (rt->slots[r.index] == NULL &&
        make_slot(rt, &r.bind, &s, why, sizeof(why)) == 0) {
      put_slot(rt, r.index, s);
    } else {
      aq_trace(&rt->env, AQ_LOG_WARN, "extra socket: %s", why);
    }
    aq_endpoint_socket_opened(rt->ep, aq_clock_now(), r.index,
                              s != NULL ? &s->udp.bound : NULL);
  }
}

/* ---- interfaces ------------------------------------------------------------
 */

static int scan(aq_runtime *rt, aq_tstamp now, int first) {
  aq_addr bound[AQ_MAX_SOCKETS];
  aq_ifaddrs found;
  rt->if_changed = 0;
  rt->next_scan = now + (rt->has_ifpoll ? SCAN_WATCHED : SCAN_BLIND);
  for (size_t i = 0; i < rt->count; i++) {
    bound[i] = rt->slots[i]->udp.bound;
  }
  if (aq_ifaddrs_scan(&found, bound, rt->count) != 0) {
    rt->stats.scan_errors++;
    if (!first) {
      return 0; /* what was known stays */
    }
  }
  if (!first && aq_ifaddrs_equal(&found, &rt->addrs)) {
    return 0;
  }
  rt->addrs = found;
  return aq_endpoint_set_local_addrs(rt->ep, now, found.v, found.count);
}

static void start_ifwatch(aq_runtime *rt) {
  rt->ifwatch = aq_ifwatch_open();
  if (rt->ifwatch < 0) {
    return;
  }
  if (uv_poll_init(&rt->loop, &rt->ifpoll, rt->ifwatch) != 0) {
    aq_ifwatch_close(rt->ifwatch);
    rt->ifwatch = -1;
    return;
  }
  rt->ifpoll.data = rt;
  rt->has_ifpoll = 1;
  uv_poll_start(&rt->ifpoll, UV_READABLE, on_interfaces);
}

/* ---- making ----------------------------------------------------------------
 */

static int open_default(aq_runtime *rt, char *why, size_t whylen) {
  static const uint8_t any[16];
  aq_addr v4 = aq_addr_v4(any, 0);
  aq_addr v6 = aq_addr_v6(any, 0);
  int rc4 = open_slot(rt, &v4, why, whylen);
  int rc6 = open_slot(rt, &v6, rc4 == 0 ? NULL : why, rc4 == 0 ? 0 : whylen);
  return rc4 == 0 || rc6 == 0 ? 0 : rc4;
}

static int start(aq_runtime *rt, const aq_endpoint_params *params,
                 const aq_env *env, char *why, size_t whylen) {
  int rc;
  if (aq_endpoint_params_check(params, why, whylen) != 0) {
    return aq_endpoint_params_check(params, NULL, 0);
  }
  rc = aq_endpoint_new(&rt->ep, params, env, aq_clock_now());
  if (rc != 0) {
    set_why(why, whylen, aq_error_text(rc));
    return rc;
  }
  if (uv_loop_init(&rt->loop) != 0) {
    set_why(why, whylen, "cannot make an event loop");
    return AQ_ERR_NETWORK;
  }
  rt->has_loop = 1;
  if (rt->params.bind_count == 0) {
    rc = open_default(rt, why, whylen);
  }
  for (size_t i = 0; rc == 0 && i < rt->params.bind_count; i++) {
    rc = open_slot(rt, &rt->params.bind[i], why, whylen);
  }
  if (rc != 0) {
    return rc;
  }
  start_ifwatch(rt);
  rc = scan(rt, aq_clock_now(), 1);
  if (rc == 0) {
    rc = aq_runtime_step(rt); /* the descriptors are registered from here on */
  }
  if (rc < 0) {
    set_why(why, whylen, aq_error_text(rc));
    return rc;
  }
  return 0;
}

int aq_runtime_new(aq_runtime **prt, const aq_runtime_params *rp,
                   const aq_endpoint_params *params, const aq_env *env,
                   char *why, size_t whylen) {
  aq_mem mem;
  aq_runtime *rt;
  int rc;
  *prt = NULL;
  set_why(why, whylen, "");
  if (rp && rp->bind_count > AQ_MAX_SOCKETS) {
    set_why(why, whylen, "too many addresses to bind");
    return AQ_ERR_CONFIG;
  }
  aq_mem_init(&mem, env);
  rt = aq_mem_alloc(&mem, sizeof(*rt));
  if (!rt) {
    set_why(why, whylen, "out of memory");
    return AQ_ERR_NOMEM;
  }
  rt->mem = mem;
  rt->ifwatch = -1;
  rt->pid = getpid();
  if (env) {
    rt->env = *env;
  }
  if (rp) {
    rt->params = *rp;
  }
  rc = start(rt, params, env, why, whylen);
  if (rc != 0) {
    aq_runtime_del(rt);
    return rc;
  }
  *prt = rt;
  return 0;
}

int aq_runtime_open_socket(aq_runtime *rt, const aq_addr *bind,
                           uint32_t *index) {
  char why[160];
  int rc = open_slot(rt, bind, why, sizeof(why));
  if (rc != 0) {
    aq_trace(&rt->env, AQ_LOG_WARN, "open socket: %s", why);
    return rc;
  }
  *index = (uint32_t)(rt->count - 1);
  rc = scan(rt, aq_clock_now(), 1);
  uv_run(&rt->loop, UV_RUN_NOWAIT);
  rt->dirty = 0;
  return rc;
}

/* ---- a turn -----------------------------------------------------------------
 */

static int receive(aq_runtime *rt, size_t index) {
  slot *s = rt->slots[index];
  aq_datagram d;
  for (int i = 0; i < RECV_CALLS_PER_SOCKET; i++) {
    int rc = aq_udp_recv(&s->udp, rt->recv_buf, &d);
    if (rc == 0) {
      s->readable = 0;
      return 0;
    }
    if (rc < 0 || d.len == 0) {
      continue;
    }
    d.socket = (uint32_t)index;
    rc = aq_endpoint_handle_datagram(rt->ep, aq_clock_now(), &d);
    if (rc != 0) {
      return rc;
    }
  }
  rt->more = 1;
  return 0;
}

/* Returns 0 when |t| is gone, AQ_ERR_AGAIN when its socket is full. */
static int send_pending(aq_runtime *rt) {
  slot *s;
  if (rt->pending.socket >= rt->top || rt->slots[rt->pending.socket] == NULL) {
    rt->has_pending = 0;
    rt->stats.send_errors++;
    return 0;
  }
  s = rt->slots[rt->pending.socket];
  if (aq_udp_send(&s->udp, &rt->pending, rt->send_buf, &rt->pending_off) != 0) {
    s->writable = 0;
    watch(s, UV_READABLE | UV_WRITABLE);
    return AQ_ERR_AGAIN;
  }
  rt->has_pending = 0;
  watch(s, UV_READABLE);
  if (!s->udp.gso && s->udp.bound.family != 0 && rt->stats.gso) {
    rt->stats.gso = 0;
    for (size_t i = 0; i < rt->count; i++) {
      rt->stats.gso |= rt->slots[i]->udp.gso;
    }
  }
  return 0;
}

/* Returns 0 when nothing is due, 1 when |max| batches went out and more may
 * follow, AQ_ERR_AGAIN when a socket is full, or the endpoint's error. */
static int transmit(aq_runtime *rt, int max) {
  for (int i = 0; i < max; i++) {
    int rc;
    if (!rt->has_pending) {
      rc = aq_endpoint_poll_transmit(rt->ep, aq_clock_now(), &rt->pending,
                                     rt->send_buf, sizeof(rt->send_buf));
      if (rc <= 0) {
        return rc;
      }
      rt->pending_off = 0;
      rt->has_pending = 1;
    }
    rc = send_pending(rt);
    if (rc != 0) {
      return rc;
    }
  }
  return 1;
}

static void note_interfaces(aq_runtime *rt, aq_tstamp now) {
  if (rt->if_changed) {
    rt->if_changed = 0;
    rt->next_scan = aq_time_min(rt->next_scan, now + SCAN_SETTLE);
  }
}

static void look_for_more(aq_runtime *rt) {
  for (size_t i = 0; i < rt->top; i++) {
    rt->more |= rt->slots[i] != NULL && rt->slots[i]->readable;
  }
}

int aq_runtime_step(aq_runtime *rt) {
  aq_tstamp now;
  int rc = 0;
  rt->more = 0;
  uv_run(&rt->loop, UV_RUN_NOWAIT);
  rt->dirty = 0;
  now = aq_clock_now();
  note_interfaces(rt, now);
  if (now >= rt->next_scan) {
    rc = scan(rt, now, 0);
  }
  for (size_t i = 0; rc == 0 && i < rt->top; i++) {
    if (rt->slots[i] != NULL && rt->slots[i]->readable) {
      rc = receive(rt, i);
    }
  }
  now = aq_clock_now();
  if (rc == 0 && aq_endpoint_next_timeout(rt->ep) <= now) {
    rc = aq_endpoint_handle_timeout(rt->ep, now);
  }
  serve_sockets(rt);
  if (rc == 0) {
    rc = transmit(rt, SENDS_PER_TURN);
    rt->more |= rc == 1;
    rc = rc == 1 || rc == AQ_ERR_AGAIN ? 0 : rc;
  }
  if (rt->dirty) {
    uv_run(&rt->loop, UV_RUN_NOWAIT);
    rt->dirty = 0;
  }
  look_for_more(rt);
  return rc != 0 ? rc : rt->more;
}

/* ---- waiting
 * ----------------------------------------------------------------- */

int aq_runtime_fd(const aq_runtime *rt) {
  return uv_backend_fd(&rt->loop);
}

aq_duration aq_runtime_timeout(const aq_runtime *rt) {
  aq_tstamp now = aq_clock_now();
  aq_duration t = aq_time_until(now, aq_endpoint_next_timeout(rt->ep));
  if (rt->more) {
    return 0;
  }
  if (rt->has_pending && t < BLOCKED_RETRY) {
    t = BLOCKED_RETRY;
  }
  return aq_time_min(t, aq_time_until(now, rt->next_scan));
}

/* What verbs queued goes out before anybody sleeps; an error comes again, and
 * is told, in the next turn. */
static void flush(aq_runtime *rt) {
  serve_sockets(rt);
  if (transmit(rt, SENDS_PER_TURN) == 1) {
    rt->more = 1;
  }
  if (rt->dirty) {
    uv_run(&rt->loop, UV_RUN_NOWAIT);
    rt->dirty = 0;
  }
}

int aq_runtime_poll(aq_runtime *const *v, size_t n, aq_duration max) {
  struct pollfd p[AQ_MAX_POLL];
  if (n > AQ_MAX_POLL) {
    return AQ_ERR_INVAL;
  }
  for (size_t i = 0; i < n; i++) {
    flush(v[i]);
    look_for_more(v[i]);
    max = aq_time_min(max, aq_runtime_timeout(v[i]));
    p[i].fd = aq_runtime_fd(v[i]);
    p[i].events = POLLIN;
    p[i].revents = 0;
  }
  if (max == 0) {
    return 0;
  }
#if defined(__linux__)
  {
    /* Pacing asks for less than a millisecond at a time. */
    struct timespec ts;
    ts.tv_sec = (time_t)(max / AQ_S);
    ts.tv_nsec = (long)(max % AQ_S);
    ppoll(p, (nfds_t)n, max == AQ_NEVER ? NULL : &ts, NULL);
  }
#else
  {
    aq_duration ms = max / AQ_MS + (max % AQ_MS != 0);
    poll(p, (nfds_t)n, ms > 60000 ? 60000 : (int)ms);
  }
#endif
  return 0;
}

int aq_runtime_wait(aq_runtime *rt, aq_duration max) {
  aq_runtime_poll(&rt, 1, max);
  return aq_runtime_step(rt);
}

/* ---- the end
 * ------------------------------------------------------------------ */

static void say_farewell(aq_runtime *rt) {
  if (aq_endpoint_close(rt->ep, aq_clock_now(), 0, "") != 0) {
    return;
  }
  transmit(rt, FAREWELL_SENDS);
}

/* In a forked child the loop's descriptor still is the parent's: what we did
 * to it the parent would feel. Only our copies of the descriptors are closed,
 * and the loop's memory is given up. */
static void abandon(aq_runtime *rt) {
  for (size_t i = 0; i < rt->top; i++) {
    if (rt->slots[i] != NULL) {
      aq_udp_close(&rt->slots[i]->udp);
    }
  }
  if (rt->has_loop) {
    close(uv_backend_fd(&rt->loop));
  }
  aq_ifwatch_close(rt->ifwatch);
  if (rt->ep) {
    aq_endpoint_del(rt->ep);
  }
}

void aq_runtime_del(aq_runtime *rt) {
  aq_mem mem;
  if (!rt) {
    return;
  }
  if (rt->pid != getpid()) {
    abandon(rt);
    return;
  }
  if (rt->has_loop) {
    if (rt->count > 0) {
      say_farewell(rt);
    }
    for (size_t i = 0; i < rt->top; i++) {
      if (rt->slots[i] != NULL) {
        uv_close((uv_handle_t *)&rt->slots[i]->poll, on_slot_closed);
      }
    }
    if (rt->has_ifpoll) {
      uv_close((uv_handle_t *)&rt->ifpoll, NULL);
    }
    uv_run(&rt->loop, UV_RUN_DEFAULT); /* only closing handles are left */
    uv_loop_close(&rt->loop);
  }
  aq_ifwatch_close(rt->ifwatch);
  if (rt->ep) {
    aq_endpoint_del(rt->ep);
  }
  mem = rt->mem;
  aq_mem_wipe(rt->recv_buf, sizeof(rt->recv_buf));
  aq_mem_free(&mem, rt);
}

/* ---- looking
 * -------------------------------------------------------------------- */

aq_endpoint *aq_runtime_endpoint(aq_runtime *rt) {
  return rt->ep;
}

size_t aq_runtime_get_sockets(const aq_runtime *rt, aq_addr *out, size_t max) {
  for (size_t i = 0; i < rt->count && i < max; i++) {
    out[i] = rt->slots[i]->udp.bound;
  }
  return rt->count;
}

void aq_runtime_get_stats(const aq_runtime *rt, aq_io_stats *out) {
  *out = rt->stats;
}
