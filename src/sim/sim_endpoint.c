/* sim_endpoint.c - an endpoint on a host: the part that io/runtime.c has for a
 * real one.
 *
 * SPDX-License-Identifier: MIT */
#include "sim/sim_int.h"

#include <stdio.h>
#include <string.h>

/* Closing may send this much, and no more. */
#define FAREWELL_SENDS 4096
/* Batches of one turn: what is more goes out with the next. */
#define MAX_SENDS 65536

static void set_why(char *why, size_t whylen, const char *text) {
  if (whylen > 0) {
    snprintf(why, whylen, "%s", text);
  }
}

/* ---- what the core has of the world -----------------------------------------
 */

static void *env_realloc(void *user, void *ptr, size_t size) {
  const aq_sim_endpoint *e = user;
  return e->s->mem.realloc(e->s->mem.user, ptr, size);
}

static int env_random(void *user, uint8_t *out, size_t len) {
  aq_sim_endpoint *e = user;
  while (len > 0) {
    uint64_t v = aq_rand_u64(&e->rand);
    size_t n = len < sizeof(v) ? len : sizeof(v);
    memcpy(out, &v, n);
    out += n;
    len -= n;
  }
  return 0;
}

static void env_trace(void *user, aq_log_level level, const char *text) {
  const aq_sim_endpoint *e = user;
  if (e->s->env.trace != NULL) {
    e->s->env.trace(e->s->env.user, level, text);
  }
}

/* ---- sockets
 * -----------------------------------------------------------------
 */

static int open_socket(aq_sim_endpoint *e, const aq_addr *bind, uint32_t index,
                       aq_addr *bound) {
  aq_vsock *k = NULL;
  int rv = aq_vsock_open(e->host, bind, &k);
  if (rv != 0) {
    return rv;
  }
  k->ep = e;
  k->index = index;
  e->sock[index] = k;
  *bound = k->bound;
  return 0;
}

int aq_sim_endpoint_open_socket(aq_sim_endpoint *e, const aq_addr *bind,
                                uint32_t *index) {
  aq_local_socket local;
  memset(&local, 0, sizeof(local));
  local.index = (uint32_t)e->nsock;
  if (e->s->closed) {
    return AQ_ERR_CLOSED;
  }
  if (e->nsock == AQ_MAX_SOCKETS) {
    return AQ_ERR_LIMIT;
  }
  int rv = open_socket(e, bind, local.index, &local.bound);
  if (rv != 0) {
    return rv;
  }
  rv = aq_endpoint_add_socket(e->ep, e->s->now, &local);
  if (rv != 0) {
    aq_vsock_close(e->sock[local.index]);
    e->sock[local.index] = NULL;
    return rv;
  }
  *index = local.index;
  e->nsock++;
  aq_vend_touch(e);
  return 0;
}

size_t aq_sim_endpoint_get_sockets(const aq_sim_endpoint *e, aq_addr *out,
                                   size_t max) {
  for (size_t i = 0; i < e->nsock && i < max; i++) {
    out[i] = e->sock[i]->bound;
  }
  return e->nsock;
}

int aq_vend_addresses(aq_sim_endpoint *e) {
  return aq_endpoint_set_local_addrs(e->ep, e->s->now, e->host->addr,
                                     e->host->naddr);
}

/* ---- life
 * ----------------------------------------------------------------------
 */

static int open_all(aq_sim_endpoint *e, const aq_runtime_params *rp, char *why,
                    size_t whylen) {
  static const uint8_t any[16];
  aq_addr def[2] = {aq_addr_v4(any, 0), aq_addr_v6(any, 0)};
  size_t n = rp != NULL ? rp->bind_count : 0;
  uint32_t index;
  int opened = 0;
  for (size_t i = 0; i < (n > 0 ? n : 2); i++) {
    int rv =
        aq_sim_endpoint_open_socket(e, n > 0 ? &rp->bind[i] : &def[i], &index);
    if (rv != 0 && (n > 0 || rv != AQ_ERR_ADDRESS)) {
      set_why(why, whylen, "cannot bind the address");
      return rv;
    }
    opened += rv == 0;
  }
  return opened > 0 ? 0 : AQ_ERR_ADDRESS;
}

int aq_sim_endpoint_new(aq_sim_endpoint **pe, aq_sim *s, aq_sim_node node,
                        const uint8_t key[32], const aq_runtime_params *rp,
                        const aq_endpoint_params *params, char *why,
                        size_t whylen) {
  aq_vnode *host = aq_vnode_get(s, node);
  *pe = NULL;
  set_why(why, whylen, "");
  if (host == NULL || host->kind != AQ_VNODE_HOST || s->closed) {
    set_why(why, whylen, "there is no such host");
    return AQ_ERR_INVAL;
  }
  int rv = aq_endpoint_params_check(params, why, whylen);
  if (rv != 0) {
    return rv;
  }
  if (rp != NULL && rp->bind_count > AQ_MAX_SOCKETS) {
    set_why(why, whylen, "too many addresses to bind");
    return AQ_ERR_CONFIG;
  }
  aq_sim_endpoint *e = aq_mem_alloc(&s->mem, sizeof(*e));
  if (e == NULL) {
    set_why(why, whylen, "out of memory");
    return AQ_ERR_NOMEM;
  }
  e->s = s;
  e->host = host;
  s->refs++;
  aq_rand_init(&e->rand, aq_rand_u64(&host->rand));
  aq_list_push_back(&s->endpoints, &e->node);
  aq_list_push_back(&host->endpoints, &e->of_host);
  aq_list_init(&e->touched);
  aq_env env = {env_realloc, env_random, env_trace, e};
  rv = aq_endpoint_new_null(&e->ep, params, key, &env, s->now);
  if (rv != 0) {
    set_why(why, whylen, aq_error_text(rv));
  } else {
    rv = open_all(e, rp, why, whylen);
  }
  if (rv == 0) {
    rv = aq_vend_addresses(e);
  }
  if (rv != 0) {
    aq_sim_endpoint_del(e);
    return rv;
  }
  aq_vend_touch(e);
  *pe = e;
  return 0;
}

static int flush(aq_sim_endpoint *e, int max);

void aq_sim_endpoint_del(aq_sim_endpoint *e) {
  if (e == NULL) {
    return;
  }
  aq_sim *s = e->s;
  if (e->ep != NULL && e->nsock > 0 && !s->closed && !e->host->dead &&
      aq_endpoint_close(e->ep, s->now, 0, "") == 0) {
    flush(e, FAREWELL_SENDS);
  }
  for (size_t i = 0; i < AQ_SIM_ENDPOINT_SOCKETS; i++) {
    if (e->sock[i] != NULL) {
      aq_vsock_close(e->sock[i]);
    }
  }
  aq_timer_remove(&s->timers, &e->timer);
  aq_list_remove(&e->node);
  aq_list_remove(&e->of_host);
  aq_list_remove(&e->touched);
  if (e->ep != NULL) {
    aq_endpoint_del(e->ep);
  }
  aq_mem_free(&s->mem, e);
  aq_sim_unref(s);
}

/* ---- turning
 * --------------------------------------------------------------------
 */

void aq_vend_touch(aq_sim_endpoint *e) {
  if (!aq_list_is_linked(&e->touched) && !e->host->dead) {
    aq_list_push_back(&e->s->touched, &e->touched);
  }
}

void aq_vend_receive(aq_sim_endpoint *e, uint32_t index, const aq_vpacket *p) {
  aq_datagram d = {.socket = index,
                   .remote = p->from,
                   .local = p->to,
                   .ecn = p->ecn,
                   .data = p->data,
                   .len = p->len};
  e->stats.recv_calls++;
  e->stats.recv_datagrams++;
  e->stats.recv_bytes += p->len;
  aq_vend_touch(e);
  aq_endpoint_handle_datagram(e->ep, e->s->now, &d);
}

int aq_vend_timeout(aq_sim_endpoint *e) {
  aq_vend_touch(e);
  return aq_endpoint_handle_timeout(e->ep, e->s->now);
}

static void send_batch(aq_sim_endpoint *e, const aq_transmit *t) {
  const uint8_t *data = e->s->buf;
  size_t step = t->segment > 0 ? t->segment : t->len;
  aq_vsock *k = t->socket < AQ_SIM_ENDPOINT_SOCKETS ? e->sock[t->socket] : NULL;
  e->stats.send_calls++;
  for (size_t off = 0; off < t->len; off += step) {
    size_t len = t->len - off < step ? t->len - off : step;
    int rv = k != NULL ? aq_vsock_send(k, &t->local, &t->remote, t->ttl, t->ecn,
                                       data + off, len)
                       : AQ_ERR_INVAL;
    if (rv != 0) {
      e->stats.send_errors++;
      continue;
    }
    e->stats.send_datagrams++;
    e->stats.send_bytes += len;
  }
}

static int flush(aq_sim_endpoint *e, int max) {
  aq_transmit t;
  int rv = 0;
  for (int i = 0; i < max; i++) {
    rv = aq_endpoint_poll_transmit(e->ep, e->s->now, &t, e->s->buf,
                                   sizeof(e->s->buf));
    if (rv != 1) {
      return rv;
    }
    send_batch(e, &t);
  }
  return 0;
}

/* The sockets that the endpoint asks for or gives back. */
static void serve_sockets(aq_sim_endpoint *e) {
  aq_socket_request r;
  while (aq_endpoint_poll_socket(e->ep, &r)) {
    if (r.index < AQ_MAX_SOCKETS || r.index >= AQ_SIM_ENDPOINT_SOCKETS) {
      continue;
    }
    aq_addr bound;
    int had = e->sock[r.index] != NULL;
    if (!r.open && had) {
      aq_vsock_close(e->sock[r.index]);
      e->sock[r.index] = NULL;
    } else if (r.open) {
      int rv = had ? AQ_ERR_ADDRESS : open_socket(e, &r.bind, r.index, &bound);
      aq_endpoint_socket_opened(e->ep, e->s->now, r.index,
                                rv == 0 ? &bound : NULL);
    }
  }
}

int aq_sim_endpoint_flush(aq_sim_endpoint *e) {
  if (e->s->closed || e->host->dead) {
    return 0;
  }
  aq_list_remove(&e->touched);
  serve_sockets(e);
  int rv = flush(e, MAX_SENDS);
  return rv != 0 ? rv
                 : aq_timer_set(&e->s->timers, &e->timer,
                                aq_endpoint_next_timeout(e->ep));
}

/* ---- looking
 * ---------------------------------------------------------------------
 */

aq_endpoint *aq_sim_endpoint_core(aq_sim_endpoint *e) {
  return e->ep;
}

aq_tstamp aq_sim_endpoint_now(const aq_sim_endpoint *e) {
  return e->s->now;
}

aq_duration aq_sim_endpoint_timeout(const aq_sim_endpoint *e) {
  return aq_time_until(e->s->now, aq_endpoint_next_timeout(e->ep));
}

void aq_sim_endpoint_get_stats(const aq_sim_endpoint *e, aq_io_stats *out) {
  *out = e->stats;
}

int aq_sim_peer_id(aq_peer_id *out, const uint8_t key[32]) {
  return aq_endpoint_null_id(out, key);
}
