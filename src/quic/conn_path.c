/* conn_path.c - the paths of a connection: made, left, and whether the one in
 * use still carries anything.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/conn_int.h"

#include "base/addr.h"

void aq_conn_make_path(const aq_conn *c, ngtcp2_path_storage *ps,
                       uint32_t socket, const aq_addr *local,
                       const aq_addr *remote) {
  struct sockaddr_storage l, r;
  aq_addr any = {.family = remote->family, .port = local->port};
  const aq_addr *from = local;
  for (size_t i = 0; i < c->path_count; i++) {
    /* A client's path has one local address per socket, so that a packet is
     * never on an unknown path because of how the kernel tells addresses. */
    if (c->path[i].socket == socket) {
      from = &c->path[i].local;
    }
  }
  if (from->family != remote->family) {
    any.port = from->port;
    from = &any;
  }
  socklen_t ln = aq_addr_to_sockaddr(&l, from, 0);
  socklen_t rn = aq_addr_to_sockaddr(&r, remote, 0);
  ngtcp2_path_storage_init(ps, (const ngtcp2_sockaddr *)&l, ln,
                           (const ngtcp2_sockaddr *)&r, rn,
                           (void *)((uintptr_t)socket + 1));
}

/* The entry of |socket|, whose address is |local| now: an index is used again
 * for another socket when the first one is closed. */
static void know_path(aq_conn *c, uint32_t socket, const aq_addr *local) {
  size_t at = 0;
  while (at < c->path_count && c->path[at].socket != socket) {
    at++;
  }
  if (at == AQ_CONN_PATHS) {
    at = c->path[0].socket == c->socket;
    for (size_t i = at; i + 1 < AQ_CONN_PATHS; i++) {
      c->path[i] = c->path[i + 1]; /* the oldest one that is not in use */
    }
    at = AQ_CONN_PATHS - 1;
  } else if (at == c->path_count) {
    c->path_count++;
  }
  c->path[at].socket = socket;
  c->path[at].local = *local;
}

/* As ngtcp2 does: for so long a path that was validated needs no other. */
#define PROVEN_LIFE (600 * AQ_S)

void aq_conn_note_proven(aq_conn *c, const aq_addr *remote) {
  c->proven = *remote;
  size_t at = c->was_next++ % AQ_CONN_PATHS;
  c->was_proven[at].remote = *remote;
  c->was_proven[at].at = c->now;
}

void aq_conn_recall_proven(aq_conn *c) {
  for (size_t i = 0; i < c->was_next && i < AQ_CONN_PATHS; i++) {
    if (aq_time_since(c->now, c->was_proven[i].at) < PROVEN_LIFE &&
        aq_addr_equal(&c->was_proven[i].remote, &c->remote)) {
      c->proven = c->remote;
    }
  }
}

int aq_conn_migrate(aq_conn *c, aq_tstamp now, uint32_t socket,
                    const aq_addr *local, const aq_addr *remote) {
  ngtcp2_path_storage ps;
  aq_conn_clock(c, now);
  if (!c->client || c->phase != AQ_CONN_OPEN) {
    return AQ_ERR_INVAL;
  }
  know_path(c, socket, local);
  aq_conn_make_path(c, &ps, socket, local, remote);
  int rv = ngtcp2_conn_initiate_migration(c->q, &ps.path, c->now);
  c->dirty = 1;
  switch (rv) {
  case 0:
    /* At once, when it was there before. */
    c->moving = !ngtcp2_path_eq(ngtcp2_conn_get_path2(c->q), &ps.path);
    aq_conn_allow(c, 2);
    return 0;
  case NGTCP2_ERR_CONN_ID_BLOCKED:
    return AQ_ERR_AGAIN;
  case NGTCP2_ERR_NOMEM:
    return AQ_ERR_NOMEM;
  default:
    return AQ_ERR_INVAL;
  }
}

/* ---- probes for another path -----------------------------------------------
 */

/* A probe time-out gives two packets beyond the window, and one has to be left
 * for another path whenever it is wanted. Time-outs double, so that the next
 * one comes before the silence has, twice as long to be sure. */
static aq_duration next_probe(const aq_conn *c) {
  aq_duration silence = c->due != 0 ? aq_time_since(c->now, c->due) : 0;
  return 2 * aq_time_add(silence, aq_conn_pto(c));
}

void aq_conn_spare(aq_conn *c, int on) {
  if (c->sparing == (on != 0)) {
    return;
  }
  c->sparing = (uint8_t)(on != 0);
  c->allowed = 0;
  c->dirty |= !c->sparing;
  c->probe_at = aq_time_add(c->now, next_probe(c));
}

size_t aq_conn_may_write(aq_conn *c) {
  if (!c->sparing || ngtcp2_conn_get_cwnd_left2(c->q) > 0) {
    return SIZE_MAX;
  }
  if (c->allowed > 0) {
    return 1;
  }
  if (c->now < c->probe_at) {
    return 0;
  }
  c->probe_at = aq_time_add(c->now, next_probe(c));
  return 1;
}

void aq_conn_allow(aq_conn *c, uint8_t n) {
  c->allowed = c->allowed > n ? c->allowed : n;
}

/* What validates a path fills a packet of 1200 bytes (RFC 9000 8.2.1). */
void aq_conn_note_written(aq_conn *c, size_t len) {
  c->allowed -= c->allowed > 0 && len >= NGTCP2_MAX_UDP_PAYLOAD_SIZE;
}

/* ---- does it carry anything? ----------------------------------------------
 */

void aq_conn_note_due(aq_conn *c, uint64_t in_flight, int heard) {
  if (heard) {
    c->heard_at = c->now;
  }
  if (in_flight == 0) {
    c->due = 0;
  } else if (heard || c->due == 0) {
    c->due = c->now > 0 ? c->now : 1;
  }
}

aq_tstamp aq_conn_due_since(const aq_conn *c) {
  return c->phase == AQ_CONN_OPEN && c->due != 0 ? c->due : AQ_NEVER;
}

aq_tstamp aq_conn_heard_at(const aq_conn *c) {
  return c->heard_at;
}

aq_duration aq_conn_pto(const aq_conn *c) {
  return ngtcp2_conn_get_pto2(c->q);
}

unsigned aq_conn_take_flow(aq_conn *c) {
  unsigned flows = c->flows;
  c->flows = 0;
  return c->phase == AQ_CONN_OPEN ? flows : 0;
}

int aq_conn_awaits_data(const aq_conn *c) {
  if (c->phase != AQ_CONN_OPEN) {
    return 0;
  }
  aq_list_each(node, &c->streams) {
    const aq_stream *s = aq_list_entry(node, aq_stream, all_link);
    if (s->receives && !s->control && !s->fin_received && !s->reset_received &&
        !s->stop_sent && !s->released) {
      return 1;
    }
  }
  return 0;
}
