/* ctl.c - the control messages.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/ctl.h"

#include "base/addr.h"
#include "base/wire.h"

#include <string.h>

/* The parts of which bodies are made, in the order in which they stand. */
typedef enum ctl_part {
  CTL_END,
  CTL_REQUEST_ID,
  CTL_NONCE,
  CTL_SESSION,
  CTL_KEY,
  CTL_PEER,
  CTL_CAPABILITIES,
  CTL_ERROR_CODE,
  CTL_RETRY,
  CTL_EXPIRY,
  CTL_START,
  CTL_RTT,
  CTL_OBSERVED,
  CTL_CANDIDATES,
  CTL_PLAN,
  CTL_PROFILE,
  CTL_TOKEN,
  CTL_OBSERVE_KEY,
  CTL_ALTERNATES,
  CTL_COOKIE,
  CTL_STEP,
  CTL_COUNT
} ctl_part;

#define CTL_MAX_PARTS 13
#define CTL_TYPES (AQ_CTL_HINT + 1)
/* No NAT gives ports in larger steps, and no peer has more sockets. */
#define CTL_MAX_STEP 4096
#define CTL_MAX_COUNT 1024

const char *aq_ctl_name(uint64_t type) {
  static const char *const names[CTL_TYPES] = {
      [AQ_CTL_REGISTER] = "REGISTER", [AQ_CTL_REGISTERED] = "REGISTERED",
      [AQ_CTL_REQUEST] = "REQUEST",   [AQ_CTL_ANSWER] = "ANSWER",
      [AQ_CTL_OFFER] = "OFFER",       [AQ_CTL_VETO] = "VETO",
      [AQ_CTL_ERROR] = "ERROR",       [AQ_CTL_ACCEPTED] = "ACCEPTED",
      [AQ_CTL_CANCEL] = "CANCEL",     [AQ_CTL_HINT] = "HINT",
  };
  return type < CTL_TYPES && names[type] != NULL ? names[type] : "unknown";
}

static const uint8_t ctl_bodies[CTL_TYPES][CTL_MAX_PARTS] = {
    [AQ_CTL_REGISTER] = {CTL_CAPABILITIES, CTL_CANDIDATES, CTL_PROFILE},
    [AQ_CTL_REGISTERED] = {CTL_CAPABILITIES, CTL_OBSERVED, CTL_TOKEN,
                           CTL_OBSERVE_KEY, CTL_ALTERNATES},
    [AQ_CTL_REQUEST] = {CTL_REQUEST_ID, CTL_NONCE, CTL_PEER, CTL_CANDIDATES,
                        CTL_PLAN, CTL_PROFILE},
    [AQ_CTL_ANSWER] = {CTL_REQUEST_ID, CTL_NONCE, CTL_SESSION, CTL_KEY,
                       CTL_PEER, CTL_EXPIRY, CTL_START, CTL_RTT, CTL_OBSERVED,
                       CTL_CANDIDATES, CTL_PLAN, CTL_PROFILE},
    [AQ_CTL_OFFER] = {CTL_NONCE, CTL_SESSION, CTL_KEY, CTL_PEER, CTL_EXPIRY,
                      CTL_START, CTL_RTT, CTL_OBSERVED, CTL_CANDIDATES,
                      CTL_PLAN, CTL_PROFILE},
    [AQ_CTL_VETO] = {CTL_SESSION, CTL_ERROR_CODE},
    [AQ_CTL_ERROR] = {CTL_REQUEST_ID, CTL_ERROR_CODE, CTL_RETRY},
    [AQ_CTL_ACCEPTED] = {CTL_END},
    [AQ_CTL_CANCEL] = {CTL_REQUEST_ID, CTL_SESSION},
    [AQ_CTL_HINT] = {CTL_SESSION, CTL_PLAN, CTL_COOKIE, CTL_OBSERVED, CTL_STEP,
                     CTL_COUNT},
};

/* A candidate's first byte: the source below, this bit for "verified". */
#define CTL_CAND_VERIFIED 0x80u

static int ctl_is_known(uint64_t type) {
  return type >= AQ_CTL_REGISTER && type < CTL_TYPES;
}

/* ---- writing ------------------------------------------------------------- */

static void write_addr(aq_writer *w, const aq_addr *addr) {
  aq_addr a = *addr;
  aq_addr_normalize(&a);
  aq_write_u8(w, a.family);
  if (a.family != 0) {
    aq_write_bytes(w, a.ip, a.family == 4 ? 4 : 16);
    aq_write_u16(w, a.port);
  }
}

static void write_duration(aq_writer *w, uint64_t v) {
  if (v > AQ_CTL_MAX_DURATION) {
    w->err = AQ_ERR_TOO_LARGE;
  }
  aq_write_varint(w, v);
}

static void write_candidates(aq_writer *w, const aq_ctl *m) {
  if (m->cand_count > AQ_MAX_CANDIDATES) {
    w->err = AQ_ERR_TOO_LARGE;
    return;
  }
  aq_write_varint(w, m->cand_count);
  for (size_t i = 0; i < m->cand_count; i++) {
    const aq_candidate *c = &m->cand[i];
    if (c->source >= AQ_SOURCE__COUNT || c->addr.family == 0) {
      w->err = AQ_ERR_TOO_LARGE;
      return;
    }
    aq_write_u8(w,
                (uint8_t)(c->source | (c->verified ? CTL_CAND_VERIFIED : 0)));
    aq_write_u32(w, c->priority);
    write_addr(w, &c->addr);
  }
}

static void write_profile(aq_writer *w, const aq_nat_profile *p) {
  aq_write_u8(w, p->mapping);
  aq_write_u8(w, p->filtering);
  aq_write_u8(w, p->allocation);
  aq_write_u8(w, p->hairpin);
  aq_write_u16(w, (uint16_t)p->step);
  aq_write_u16(w, p->block_base);
  aq_write_u16(w, p->block_size);
  aq_write_u16(w, p->idle);
  aq_write_u16(w, p->absolute);
  aq_write_u8(w, p->external_count);
}

static void write_alternates(aq_writer *w, const aq_ctl *m) {
  if (m->alternate_count > AQ_CTL_MAX_ALTERNATES) {
    w->err = AQ_ERR_TOO_LARGE;
    return;
  }
  aq_write_u8(w, (uint8_t)m->alternate_count);
  for (size_t i = 0; i < m->alternate_count; i++) {
    write_addr(w, &m->alternate[i]);
  }
}

/* Zigzag: small steps of either sign are short. */
static void write_step(aq_writer *w, int64_t step) {
  if (step > CTL_MAX_STEP || step < -CTL_MAX_STEP) {
    w->err = AQ_ERR_TOO_LARGE;
    return;
  }
  aq_write_varint(w, step < 0 ? (uint64_t)(-step) * 2 - 1 : (uint64_t)step * 2);
}

static void write_upto(aq_writer *w, uint64_t v, uint64_t max) {
  if (v > max) {
    w->err = AQ_ERR_TOO_LARGE;
  }
  aq_write_varint(w, v);
}

static void write_more(aq_writer *w, const aq_ctl *m, ctl_part part) {
  switch (part) {
  case CTL_PLAN:
    write_upto(w, m->plan, AQ_PLAN__COUNT - 1);
    return;
  case CTL_PROFILE:
    write_profile(w, &m->profile);
    return;
  case CTL_TOKEN:
    aq_write_bytes(w, m->token, sizeof(m->token));
    return;
  case CTL_OBSERVE_KEY:
    aq_write_bytes(w, m->observe_key, sizeof(m->observe_key));
    return;
  case CTL_ALTERNATES:
    write_alternates(w, m);
    return;
  case CTL_COOKIE:
    aq_write_u64(w, m->cookie);
    return;
  case CTL_STEP:
    write_step(w, m->step);
    return;
  case CTL_COUNT:
    write_upto(w, m->count, CTL_MAX_COUNT);
    return;
  default:
    return;
  }
}

static void write_part(aq_writer *w, const aq_ctl *m, ctl_part part) {
  switch (part) {
  case CTL_END:
    return;
  case CTL_REQUEST_ID:
    aq_write_varint(w, m->request);
    return;
  case CTL_NONCE:
    aq_write_bytes(w, m->nonce, sizeof(m->nonce));
    return;
  case CTL_SESSION:
    aq_write_bytes(w, m->session, sizeof(m->session));
    return;
  case CTL_KEY:
    aq_write_bytes(w, m->key, sizeof(m->key));
    return;
  case CTL_PEER:
    aq_write_bytes(w, m->peer.bytes, sizeof(m->peer.bytes));
    return;
  case CTL_CAPABILITIES:
    aq_write_varint(w, m->capabilities);
    return;
  case CTL_ERROR_CODE:
    aq_write_varint(w, m->error);
    return;
  case CTL_RETRY:
    write_duration(w, m->retry_after_ms);
    return;
  case CTL_EXPIRY:
    write_duration(w, m->expiry_ms);
    return;
  case CTL_START:
    write_duration(w, m->start_delay_us);
    return;
  case CTL_RTT:
    write_duration(w, m->rtt_us);
    return;
  case CTL_OBSERVED:
    write_addr(w, &m->observed);
    return;
  case CTL_CANDIDATES:
    write_candidates(w, m);
    return;
  default:
    write_more(w, m, part);
    return;
  }
}

size_t aq_ctl_format(uint8_t *out, size_t cap, const aq_ctl *m) {
  if (!ctl_is_known(m->type)) {
    return 0;
  }
  uint8_t body[AQ_CTL_MAX_BODY];
  aq_writer b;
  aq_writer_init(&b, body, sizeof(body));
  for (const uint8_t *p = ctl_bodies[m->type]; *p != CTL_END; p++) {
    write_part(&b, m, (ctl_part)*p);
  }
  if (b.err != 0) {
    return 0;
  }
  aq_writer w;
  aq_writer_init(&w, out, cap);
  aq_write_varint(&w, m->type);
  aq_write_varint(&w, b.off);
  aq_write_bytes(&w, body, b.off);
  return aq_writer_end(&w);
}

/* ---- reading ------------------------------------------------------------- */

static aq_addr read_addr(aq_reader *r) {
  aq_addr a = {.family = aq_read_u8(r)};
  if (a.family == 0) {
    return a;
  }
  if (a.family != 4 && a.family != 6) {
    r->err = AQ_ERR_FORMAT;
    return (aq_addr){0};
  }
  aq_read_bytes(r, a.ip, a.family == 4 ? 4 : 16);
  a.port = aq_read_u16(r);
  aq_addr_normalize(&a);
  return a;
}

static uint64_t read_duration(aq_reader *r) {
  uint64_t v = aq_read_varint(r);
  if (v > AQ_CTL_MAX_DURATION) {
    r->err = AQ_ERR_FORMAT;
  }
  return v;
}

static void read_candidates(aq_reader *r, aq_ctl *m) {
  uint64_t count = aq_read_varint(r);
  if (count > AQ_MAX_CANDIDATES) {
    r->err = AQ_ERR_FORMAT;
  }
  for (uint64_t i = 0; i < count && r->err == 0; i++) {
    aq_candidate *c = &m->cand[i];
    uint8_t info = aq_read_u8(r);
    c->source = (uint8_t)(info & ~CTL_CAND_VERIFIED);
    c->verified = (info & CTL_CAND_VERIFIED) != 0;
    c->priority = aq_read_u32(r);
    c->addr = read_addr(r);
    if (c->source >= AQ_SOURCE__COUNT || c->addr.family == 0) {
      r->err = AQ_ERR_FORMAT;
    }
    m->cand_count++;
  }
}

static uint8_t read_upto(aq_reader *r, uint8_t max) {
  uint8_t v = aq_read_u8(r);
  if (v > max) {
    r->err = AQ_ERR_FORMAT;
  }
  return v;
}

static void read_profile(aq_reader *r, aq_nat_profile *p) {
  p->mapping = read_upto(r, AQ_NAT_RULE__COUNT - 1);
  p->filtering = read_upto(r, AQ_NAT_RULE__COUNT - 1);
  p->allocation = read_upto(r, AQ_NAT_ALLOC__COUNT - 1);
  p->hairpin = read_upto(r, 2);
  p->step = (int16_t)aq_read_u16(r);
  p->block_base = aq_read_u16(r);
  p->block_size = aq_read_u16(r);
  p->idle = aq_read_u16(r);
  p->absolute = aq_read_u16(r);
  p->external_count = read_upto(r, AQ_NAT_MAX_EXTERNAL);
}

static void read_alternates(aq_reader *r, aq_ctl *m) {
  m->alternate_count = read_upto(r, AQ_CTL_MAX_ALTERNATES);
  for (size_t i = 0; i < m->alternate_count && r->err == 0; i++) {
    m->alternate[i] = read_addr(r);
  }
}

static uint64_t read_number(aq_reader *r, uint64_t max) {
  uint64_t v = aq_read_varint(r);
  if (v > max) {
    r->err = AQ_ERR_FORMAT;
    v = 0;
  }
  return v;
}

static int64_t read_step(aq_reader *r) {
  uint64_t v = read_number(r, 2 * CTL_MAX_STEP);
  return v % 2 ? -(int64_t)((v + 1) / 2) : (int64_t)(v / 2);
}

static void read_more(aq_reader *r, aq_ctl *m, ctl_part part) {
  switch (part) {
  case CTL_PLAN:
    m->plan = read_number(r, AQ_PLAN__COUNT - 1);
    return;
  case CTL_PROFILE:
    read_profile(r, &m->profile);
    return;
  case CTL_TOKEN:
    aq_read_bytes(r, m->token, sizeof(m->token));
    return;
  case CTL_OBSERVE_KEY:
    aq_read_bytes(r, m->observe_key, sizeof(m->observe_key));
    return;
  case CTL_ALTERNATES:
    read_alternates(r, m);
    return;
  case CTL_COOKIE:
    m->cookie = aq_read_u64(r);
    return;
  case CTL_STEP:
    m->step = read_step(r);
    return;
  case CTL_COUNT:
    m->count = read_number(r, CTL_MAX_COUNT);
    return;
  default:
    return;
  }
}

static void read_part(aq_reader *r, aq_ctl *m, ctl_part part) {
  switch (part) {
  case CTL_END:
    return;
  case CTL_REQUEST_ID:
    m->request = aq_read_varint(r);
    return;
  case CTL_NONCE:
    aq_read_bytes(r, m->nonce, sizeof(m->nonce));
    return;
  case CTL_SESSION:
    aq_read_bytes(r, m->session, sizeof(m->session));
    return;
  case CTL_KEY:
    aq_read_bytes(r, m->key, sizeof(m->key));
    return;
  case CTL_PEER:
    aq_read_bytes(r, m->peer.bytes, sizeof(m->peer.bytes));
    return;
  case CTL_CAPABILITIES:
    m->capabilities = aq_read_varint(r);
    return;
  case CTL_ERROR_CODE:
    m->error = aq_read_varint(r);
    return;
  case CTL_RETRY:
    m->retry_after_ms = read_duration(r);
    return;
  case CTL_EXPIRY:
    m->expiry_ms = read_duration(r);
    return;
  case CTL_START:
    m->start_delay_us = read_duration(r);
    return;
  case CTL_RTT:
    m->rtt_us = read_duration(r);
    return;
  case CTL_OBSERVED:
    m->observed = read_addr(r);
    return;
  case CTL_CANDIDATES:
    read_candidates(r, m);
    return;
  default:
    read_more(r, m, part);
    return;
  }
}

static int ctl_body_parse(aq_ctl *m, uint64_t type, const uint8_t *body,
                          size_t len) {
  aq_reader r;
  aq_reader_init(&r, body, len);
  m->type = type;
  for (const uint8_t *p = ctl_bodies[type]; *p != CTL_END && r.err == 0; p++) {
    read_part(&r, m, (ctl_part)*p);
  }
  if (r.err != 0 || aq_reader_left(&r) != 0) {
    memset(m, 0, sizeof(*m));
    return AQ_ERR_FORMAT;
  }
  return 1;
}

int aq_ctl_parse(aq_ctl *m, const uint8_t *data, size_t len, size_t *used) {
  memset(m, 0, sizeof(*m));
  uint64_t type = 0;
  uint64_t body = 0;
  size_t n = aq_varint_get(&type, data, len);
  size_t k = n > 0 ? aq_varint_get(&body, data + n, len - n) : 0;
  if (k == 0) {
    return 0;
  }
  if (body > AQ_CTL_MAX_BODY) {
    return AQ_ERR_TOO_LARGE;
  }
  if (body > len - n - k) {
    return 0;
  }
  int status = 2;
  if (ctl_is_known(type)) {
    status = ctl_body_parse(m, type, data + n + k, (size_t)body);
  }
  if (status > 0) {
    *used = n + k + (size_t)body;
  }
  return status;
}

/* ---- errors -------------------------------------------------------------- */

static const struct {
  uint8_t wire;
  int err;
} ctl_errors[] = {
    {AQ_CTL_ERR_UNKNOWN_TARGET, AQ_ERR_UNKNOWN_TARGET},
    {AQ_CTL_ERR_REFUSED, AQ_ERR_REFUSED},
    {AQ_CTL_ERR_RATE_LIMITED, AQ_ERR_RATE_LIMITED},
    {AQ_CTL_ERR_EXPIRED, AQ_ERR_EXPIRED},
    {AQ_CTL_ERR_NOT_ALLOWED, AQ_ERR_NOT_ALLOWED},
    {AQ_CTL_ERR_OVERLOADED, AQ_ERR_OVERLOADED},
    {AQ_CTL_ERR_INTERNAL, AQ_ERR_COORDINATION_FAILED},
    {AQ_CTL_ERR_NO_CONNECTION, AQ_ERR_STATELESS_RESET},
};

int aq_ctl_error_code(uint64_t wire) {
  for (size_t i = 0; i < sizeof(ctl_errors) / sizeof(ctl_errors[0]); i++) {
    if (ctl_errors[i].wire == wire) {
      return ctl_errors[i].err;
    }
  }
  return AQ_ERR_COORDINATION_FAILED;
}

uint64_t aq_ctl_error_wire(int err) {
  for (size_t i = 0; i < sizeof(ctl_errors) / sizeof(ctl_errors[0]); i++) {
    if (ctl_errors[i].err == err) {
      return ctl_errors[i].wire;
    }
  }
  return AQ_CTL_ERR_INTERNAL;
}
