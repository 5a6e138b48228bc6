/* trace.c - what happened to each datagram, counted and recorded.
 *
 * SPDX-License-Identifier: MIT */
#include "sim/sim_int.h"

#include "base/hash.h"
#include "proto/observe.h"
#include "proto/punch.h"
#include "proto/tunnel.h"

#define TEXT(name, text) text,

const char *aq_sim_fate_name(aq_sim_fate fate) {
  static const char *const names[] = {AQ_SIM_FATE_MAP(TEXT)};
  return (size_t)fate < AQ_SIM_FATE__COUNT ? names[fate] : "unknown";
}

const char *aq_sim_kind_name(aq_sim_kind kind) {
  static const char *const names[] = {AQ_SIM_KIND_MAP(TEXT)};
  return (size_t)kind < AQ_SIM_KIND__COUNT ? names[kind] : "unknown";
}

static uint8_t long_kind(const uint8_t *data, size_t len) {
  static const uint8_t kinds[] = {AQ_SIM_KIND_INITIAL, AQ_SIM_KIND_ZERO_RTT,
                                  AQ_SIM_KIND_HANDSHAKE, AQ_SIM_KIND_RETRY};
  if (len >= 5 && data[1] == 0 && data[2] == 0 && data[3] == 0 &&
      data[4] == 0) {
    return AQ_SIM_KIND_VERSION;
  }
  return kinds[(data[0] >> 4) & 3];
}

uint8_t aq_vtrace_kind(const uint8_t *data, size_t len) {
  if (len == 0) {
    return AQ_SIM_KIND_OTHER;
  }
  if (data[0] & 0x80) {
    return long_kind(data, len);
  }
  if (data[0] & 0x40) {
    return AQ_SIM_KIND_ONE_RTT;
  }
  switch (data[0]) {
  case AQ_PUNCH_PROBE:
    return AQ_SIM_KIND_PROBE;
  case AQ_PUNCH_ANSWER:
    return AQ_SIM_KIND_ANSWER;
  case AQ_PUNCH_OPENER:
    return AQ_SIM_KIND_OPENER;
  case AQ_OBSERVE_ASK:
  case AQ_OBSERVE_TELL:
    return AQ_SIM_KIND_OBSERVE;
  case AQ_TUNNEL_TYPE:
    return AQ_SIM_KIND_TUNNEL;
  default:
    return AQ_SIM_KIND_OTHER;
  }
}

int aq_sim_set_trace(aq_sim *s, int on) {
  if (on && s->trace == NULL) {
    s->trace = aq_mem_array(&s->mem, AQ_SIM_TRACE, sizeof(*s->trace));
    if (s->trace == NULL) {
      return AQ_ERR_NOMEM;
    }
    aq_ring_init(&s->trace_ring, AQ_SIM_TRACE);
  }
  s->tracing = (uint8_t)(on != 0);
  return 0;
}

static void mix(aq_sim *s, uint64_t v) {
  s->trace_hash = aq_mix64(s->trace_hash ^ v) + v;
}

static void hash_record(aq_sim *s, const aq_sim_record *r,
                        const aq_vpacket *p) {
  static const uint64_t salt[2] = {1, 2};
  mix(s, r->time);
  mix(s, r->datagram);
  mix(s, (uint64_t)r->node << 32 | (uint64_t)r->kind << 24 |
             (uint64_t)r->fate << 16 | (uint64_t)r->ttl << 8);
  mix(s, r->len);
  mix(s, aq_addr_hash(&r->from, 3));
  mix(s, aq_addr_hash(&r->to, 3));
  if (r->fate == AQ_SIM_FATE_SENT) {
    mix(s, aq_siphash(salt, p->data, p->len));
  }
}

void aq_vtrace(aq_vnode *at, const aq_vpacket *p, aq_sim_fate fate) {
  aq_sim *s = at->s;
  at->fate[fate]++;
  if (!s->tracing) {
    return;
  }
  aq_sim_record r = {.time = s->now,
                     .datagram = p->id,
                     .node = at->id,
                     .kind = p->kind,
                     .fate = (uint8_t)fate,
                     .ttl = p->ttl,
                     .len = p->len,
                     .from = p->from,
                     .to = p->to};
  hash_record(s, &r, p);
  if (aq_ring_is_full(&s->trace_ring)) {
    s->trace_lost++;
    return;
  }
  s->trace[aq_ring_push(&s->trace_ring)] = r;
}

int aq_sim_poll_trace(aq_sim *s, aq_sim_record *out) {
  if (s->trace == NULL || aq_ring_is_empty(&s->trace_ring)) {
    return 0;
  }
  *out = s->trace[aq_ring_pop(&s->trace_ring)];
  return 1;
}

uint64_t aq_sim_trace_hash(const aq_sim *s) {
  return s->trace_hash;
}
