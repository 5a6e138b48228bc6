/* SPDX-License-Identifier: MIT */
#include "quic/record.h"

#include "quic/endpoint_int.h"

#include <string.h>

/* Of a datagram, whole: enough to find it again in the other side's record. */
#define MARK_BYTES 64

int aq_endpoint_record(aq_endpoint *ep, int on) {
  if (!on) {
    aq_mem_free(&ep->mem, ep->record);
    ep->record = NULL;
  } else if (ep->record == NULL) {
    ep->record = aq_mem_alloc(&ep->mem, sizeof(*ep->record));
    if (ep->record == NULL) {
      return AQ_ERR_NOMEM;
    }
    aq_ring_init(&ep->record->ring, AQ_RECORD_RING);
  }
  return 0;
}

static void tell_lost(aq_endpoint *ep, aq_record_entry *e) {
  memset(e, 0, sizeof(*e));
  e->kind = AQ_RECORD_LOST;
  e->time = ep->now;
  e->count = ep->record->lost;
  ep->record->lost = 0;
}

int aq_endpoint_poll_record(aq_endpoint *ep, aq_record_entry *out) {
  aq_record *r = ep->record;
  if (r == NULL) {
    return 0;
  }
  if (!aq_ring_is_empty(&r->ring)) {
    *out = r->entry[aq_ring_pop(&r->ring)];
    return 1;
  }
  if (r->lost > 0) {
    tell_lost(ep, out);
    return 1;
  }
  return 0;
}

/* Never NULL: what is lost goes where nobody reads it. */
static aq_record_entry *add(aq_endpoint *ep, aq_record_kind kind) {
  aq_record *r = ep->record;
  size_t at = AQ_RECORD_RING;
  /* Between a gap and what comes after it stands how much is missing. */
  if (r->lost > 0 && r->ring.count + 1 < r->ring.cap) {
    tell_lost(ep, &r->entry[aq_ring_push(&r->ring)]);
  }
  if (r->lost > 0 || aq_ring_is_full(&r->ring)) {
    r->lost++;
    AQ_LIMIT_HIT(ep, limit_record);
  } else {
    at = aq_ring_push(&r->ring);
  }
  aq_record_entry *e = &r->entry[at];
  memset(e, 0, sizeof(*e));
  e->kind = kind;
  e->time = ep->now;
  return e;
}

/* What goes over a tunnel goes to its relay. */
static void set_path(const aq_endpoint *ep, aq_record_entry *e, uint32_t socket,
                     const aq_addr *remote) {
  const aq_local_socket *s = aq_ep_socket(ep, socket);
  const aq_tunnel *t = aq_tunnel_get(ep, socket);
  e->socket = socket;
  e->remote = t != NULL ? t->relay : *remote;
  if (t != NULL) {
    e->local = t->local;
  } else if (s != NULL) {
    e->local = s->bound;
  }
}

void aq_record_punch(aq_endpoint *ep, aq_record_kind kind, const aq_session *s,
                     uint32_t socket, const aq_addr *remote, uint8_t ttl,
                     const aq_punch *p, const char *why) {
  aq_record_entry *e = add(ep, kind);
  e->session = s != NULL ? s->id : 0;
  set_path(ep, e, socket, remote);
  e->ttl = ttl;
  e->text = why;
  if (p != NULL) {
    e->has_punch_session = 1;
    memcpy(e->punch_session, p->session, sizeof(e->punch_session));
    e->type = aq_punch_name(p->type);
    e->initiator = (p->flags & AQ_PUNCH_FLAG_INITIATOR) != 0;
    e->seq = p->seq;
    e->cookie = p->echo;
  }
}

void aq_record_dial(const aq_session *s, aq_record_kind kind, aq_id conn,
                    uint32_t socket, const aq_addr *remote, int error) {
  aq_record_entry *e = add(s->ep, kind);
  e->session = s->id;
  e->conn = conn;
  set_path(s->ep, e, socket, remote);
  e->error = error;
}

/* The long header's type is not protected (RFC 9000 section 17.2). */
static const char *packet_name(uint8_t first) {
  static const char *const names[] = {"initial", "0rtt", "handshake", "retry"};
  return first & 0x80 ? names[first >> 4 & 3] : "1rtt";
}

void aq_record_quic(aq_endpoint *ep, aq_record_kind kind, aq_link *l,
                    uint32_t socket, const aq_addr *remote, const uint8_t *data,
                    size_t len, size_t segment) {
  static const uint64_t salt[2] = {0, 0}; /* the other side has the same */
  size_t step = segment > 0 ? segment : len;
  for (size_t off = 0; off < len; off += step) {
    size_t n = len - off < step ? len - off : step;
    if (l != NULL && l->recorded == AQ_RECORD_PER_CONN) {
      return;
    }
    aq_record_entry *e = add(ep, kind);
    if (l != NULL) {
      l->recorded++;
      e->conn = l->pub;
      e->session = l->session;
    }
    set_path(ep, e, socket, remote);
    e->len = (uint32_t)n;
    e->type = packet_name(data[off]);
    e->mark =
        (uint32_t)aq_siphash(salt, data + off, n < MARK_BYTES ? n : MARK_BYTES);
  }
}

static aq_record_entry *on_link(aq_link *l, aq_record_kind kind) {
  aq_record_entry *e = add(l->ep, kind);
  e->conn = l->pub;
  set_path(l->ep, e, l->socket, &l->remote);
  return e;
}

static aq_id session_of(const aq_link *l, const aq_ctl *m) {
  aq_list_each(node, &l->ep->sessions) {
    const aq_session *s = aq_list_entry(node, aq_session, node);
    if (!s->over && m->request != 0 &&
        ((l->boot != NULL && s->request == m->request) ||
         aq_trav_is_asked(s->trav, l->id, m->request))) {
      return s->id;
    }
  }
  return 0;
}

static int has_session(const aq_ctl *m) {
  static const uint8_t none[AQ_CTL_SESSION_LEN];
  return memcmp(m->session, none, sizeof(none)) != 0;
}

void aq_record_control(aq_link *l, aq_record_kind kind, const aq_ctl *m) {
  aq_record_entry *e = on_link(l, kind);
  e->type = aq_ctl_name(m->type);
  e->request = m->request;
  e->session = session_of(l, m);
  if (has_session(m)) {
    e->has_punch_session = 1;
    memcpy(e->punch_session, m->session, sizeof(e->punch_session));
  }
  e->addr = m->observed;
  e->count = m->type == AQ_CTL_HINT ? m->count : m->cand_count;
  e->plan = m->plan != AQ_PLAN_PUNCH ? aq_plan_name((aq_plan)m->plan) : NULL;
  e->profile = m->profile;
  e->rtt = m->rtt_us * AQ_US;
  e->delay = m->type == AQ_CTL_ERROR ? m->retry_after_ms * AQ_MS
                                     : m->start_delay_us * AQ_US;
  e->error = m->error != 0 ? aq_ctl_error_code(m->error) : 0;
  for (size_t i = 0; i < m->cand_count; i++) {
    const aq_candidate *c = &m->cand[i];
    e = on_link(l, AQ_RECORD_CANDIDATE);
    e->addr = c->addr;
    e->source = c->source;
    e->verified = c->verified;
    e->seq = i;
  }
}

void aq_record_frame(aq_link *l, aq_record_kind kind, const aq_frame *f) {
  aq_record_entry *e = on_link(l, kind);
  e->type = aq_frame_name(f->kind);
  e->seq = f->seq;
  e->addr = f->addr;
}

void aq_record_observe(aq_endpoint *ep, aq_record_kind kind, uint32_t socket,
                       const aq_addr *remote, uint8_t flags,
                       const aq_addr *addr) {
  aq_record_entry *e = add(ep, kind);
  set_path(ep, e, socket, remote);
  e->flags = flags;
  if (addr != NULL) {
    e->addr = *addr;
  }
}
