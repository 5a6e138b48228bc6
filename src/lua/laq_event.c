/* laq_event.c - an event as a table.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq.h"

/* What a kind has besides kind, time, conn, stream, session, peer, error. */
enum {
  ADDR = 1 << 0,
  LOCAL = 1 << 1,
  CAND = 1 << 2,
  PHASES = 1 << 3,
  STATES = 1 << 4,
  REASON = 1 << 5,
  OUTGOING = 1 << 6,
  FALLBACK = 1 << 7,
  TEXT = 1 << 8,
  ALPN = 1 << 9,
  RTT = 1 << 10,
  DURATION = 1 << 11,
  ROUND = 1 << 12,
  COUNT = 1 << 13,
  CODE = 1 << 14,
  STEP = 1 << 15,
  DECISION = 1 << 16,
  UNI = 1 << 17,
  ATTEMPT = 1 << 18,
  FAILURES = 1 << 19,
  EXISTING = 1 << 20,
  TARGETS = 1 << 21
};

#define K(name) [AQ_EVENT_##name]
static const uint32_t shape[] = {
    K(CANDIDATE_DISCOVERED) = CAND | ADDR,
    K(COORDINATION_REQUESTED) = ADDR | ROUND,
    K(COORDINATION_SYNCHRONIZED) = ADDR | ROUND | DURATION,
    K(HOLE_PUNCHING_STARTED) = COUNT | TARGETS,
    K(PATH_VALIDATED) = ADDR | LOCAL | RTT,
    K(CANDIDATE_VALIDATED) = CAND | ADDR | RTT,
    K(TRAVERSAL_SUCCEEDED) = ADDR | LOCAL | DURATION | ATTEMPT,
    K(CONNECTION_ESTABLISHED) = ADDR | LOCAL | OUTGOING | ALPN | RTT | EXISTING,
    K(TRAVERSAL_FAILED) = TEXT | FALLBACK | DURATION | ATTEMPT,
    K(CONNECTION_LOST) = ADDR | OUTGOING | REASON | CODE | TEXT | DURATION,
    K(PHASE_TRANSITION) = PHASES | REASON | TEXT,
    K(SESSION_STATE_CHANGED) = STATES | REASON | TEXT,
    K(CANDIDATE_REMOVED) = CAND | ADDR,
    K(ADDRESS_OBSERVED) = ADDR | LOCAL,
    K(BOOTSTRAP_CONNECTED) = ADDR | RTT,
    K(BOOTSTRAP_LOST) = ADDR | FAILURES | TEXT,
    K(CONNECTION_INCOMING) = ADDR | LOCAL,
    K(DIAL_FAILED) = ADDR | CODE | TEXT | DURATION,
    K(STREAM_INCOMING) = UNI,
    K(STREAM_READABLE) = 0,
    K(STREAM_WRITABLE) = 0,
    K(STREAM_CLOSED) = CODE | TEXT,
    K(STREAMS_AVAILABLE) = 0,
    K(DATAGRAM_READABLE) = 0,
    K(DATAGRAM_WRITABLE) = 0,
    K(PATH_CHANGED) = ADDR | LOCAL | RTT,
    K(STEP_DONE) = ADDR | STEP | DURATION | TEXT,
    K(DECISION) = DECISION | TEXT,
    K(LIMIT_HIT) = TEXT,
    K(INTERFACES_CHANGED) = COUNT,
    K(EVENTS_LOST) = COUNT,
    K(NAT_PROFILE_CHANGED) = ADDR,
};
#undef K

static void set_uni(lua_State *L, const aq_endpoint *ep, aq_id stream) {
  aq_stream_info info;
  if (stream != 0 && aq_stream_get_info(ep, stream, &info) == 0) {
    laq_set_bool(L, "uni", info.uni);
  }
}

/* The addresses that are punched to, each once; there is no room for them in
 * the event, so they are those of the session now. */
static void set_targets(lua_State *L, const aq_endpoint *ep, aq_id session) {
  size_t n = aq_session_get_pairs(ep, session, NULL, 0);
  aq_pair_info *v = laq_newuserdata(L, (n + 1) * sizeof(*v));
  int at = 0;
  n = aq_session_get_pairs(ep, session, v, n);
  lua_newtable(L);
  for (size_t i = 0; i < n; i++) {
    size_t k = 0;
    while (!aq_addr_equal(&v[k].remote, &v[i].remote)) {
      k++;
    }
    if (k == i) {
      char text[AQ_ADDR_STRLEN];
      lua_pushstring(L, aq_addr_format(&v[i].remote, text));
      lua_rawseti(L, -2, ++at);
    }
  }
  lua_setfield(L, -3, "targets");
  lua_pop(L, 1);
}

static void set_values(lua_State *L, const aq_event *e, uint32_t has) {
  if (has & ROUND) {
    laq_set_int(L, "round", e->value);
  }
  if (has & COUNT) {
    laq_set_int(L, "count", e->value);
  }
  if (has & CODE) {
    laq_set_int(L, "code", e->value);
  }
  if (has & DECISION) {
    laq_set_int(L, "decision", e->value);
  }
  if (has & ATTEMPT) {
    laq_set_int(L, "attempt", e->value);
  }
  if (has & FAILURES) {
    laq_set_int(L, "failures", e->value);
  }
  if (has & EXISTING) {
    laq_set_id(L, "existing", e->value);
  }
  if (has & STEP) {
    laq_set_string(L, "step", laq_step_name(e->value));
  }
  if ((has & RTT) && e->duration != 0) {
    laq_set_time(L, "rtt", e->duration);
  }
  if ((has & DURATION) && e->duration != 0) {
    laq_set_time(L, "duration", e->duration);
  }
  if (has & TEXT) {
    laq_set_text(L, "text", e->text);
  }
  if (has & ALPN) {
    laq_set_text(L, "alpn", e->text);
  }
}

static void set_changes(lua_State *L, const aq_event *e, uint32_t has) {
  if (has & PHASES) {
    laq_set_string(L, "from", aq_phase_name((aq_phase)e->from));
    laq_set_string(L, "to", aq_phase_name((aq_phase)e->to));
  }
  if (has & STATES) {
    laq_set_string(L, "from", aq_state_name((aq_state)e->from));
    laq_set_string(L, "to", aq_state_name((aq_state)e->to));
  }
  if ((has & REASON) && e->reason != AQ_REASON_NONE) {
    laq_set_string(L, "reason", aq_reason_name((aq_reason)e->reason));
  }
  if (has & OUTGOING) {
    laq_set_bool(L, "outgoing", e->outgoing);
  }
  if (has & FALLBACK) {
    laq_set_bool(L, "fallback_available", e->fallback_available);
  }
}

void laq_push_event(lua_State *L, const aq_endpoint *ep, const aq_event *e) {
  uint32_t has =
      (size_t)e->kind < sizeof(shape) / sizeof(shape[0]) ? shape[e->kind] : 0;
  lua_createtable(L, 0, 8);
  laq_set_string(L, "kind", aq_event_name(e->kind));
  laq_set_time(L, "time", e->time);
  laq_set_id(L, "conn", e->conn);
  laq_set_id(L, "stream", e->stream);
  laq_set_id(L, "session", e->session);
  laq_set_error(L, "error", e->error);
  if (e->has_peer) {
    laq_set_peer(L, "peer", &e->peer);
  }
  if (has & ADDR) {
    laq_set_addr(L, "addr", &e->addr);
  }
  if (e->relayed) {
    laq_set_bool(L, "relayed", 1);
  }
  if (has & LOCAL) {
    laq_set_addr(L, "local_addr", &e->local);
  }
  if (has & CAND) {
    laq_push_candidate(L, &e->cand);
    lua_setfield(L, -2, "candidate");
  }
  if (has & UNI) {
    set_uni(L, ep, e->stream);
  }
  if (has & TARGETS) {
    set_targets(L, ep, e->session);
  }
  set_changes(L, e, has);
  set_values(L, e, has);
}
