/* laq_record.c - what the endpoint saw, entry by entry.
 *
 * SPDX-License-Identifier: MIT */
#include "antquic_record.h"
#include "lua/laq.h"

static int ep_record(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  luaL_checktype(L, 2, LUA_TBOOLEAN);
  return laq_result(L, aq_endpoint_record(e->ep, lua_toboolean(L, 2)),
                    "cannot record");
}

static void set_punch(lua_State *L, const aq_record_entry *e) {
  laq_set_bool(L, "initiator", e->initiator);
  laq_set_int(L, "seq", e->seq);
  laq_set_some(L, "ttl", e->ttl);
  if (e->cookie != 0) {
    lua_pushlstring(L, (const char *)&e->cookie, sizeof(e->cookie));
    lua_setfield(L, -2, "cookie");
  }
}

static void set_quic(lua_State *L, const aq_record_entry *e) {
  laq_set_int(L, "len", e->len);
  laq_set_int(L, "mark", e->mark);
}

static void set_control(lua_State *L, const aq_record_entry *e) {
  laq_set_some(L, "request", e->request);
  laq_set_some(L, "count", e->count);
  laq_set_text(L, "plan", e->plan);
  if (e->profile.mapping != 0 || e->profile.filtering != 0 ||
      e->profile.allocation != 0) {
    laq_push_profile(L, &e->profile);
    lua_setfield(L, -2, "profile");
  }
  if (e->delay != 0) {
    laq_set_time(L, "delay", e->delay);
  }
  if (e->rtt != 0) {
    laq_set_time(L, "rtt", e->rtt);
  }
}

static void set_candidate(lua_State *L, const aq_record_entry *e) {
  laq_set_int(L, "seq", e->seq);
  laq_set_bool(L, "verified", e->verified);
  laq_set_string(L, "source", aq_source_name((aq_source)e->source));
}

static void set_rest(lua_State *L, const aq_record_entry *e) {
  switch (e->kind) {
  case AQ_RECORD_PUNCH_SENT:
  case AQ_RECORD_PUNCH_REFUSED:
  case AQ_RECORD_PUNCH_RECEIVED:
  case AQ_RECORD_PUNCH_DROPPED:
    set_punch(L, e);
    break;
  case AQ_RECORD_QUIC_SENT:
  case AQ_RECORD_QUIC_RECEIVED:
  case AQ_RECORD_QUIC_REFUSED:
    set_quic(L, e);
    break;
  case AQ_RECORD_CONTROL_SENT:
  case AQ_RECORD_CONTROL_RECEIVED:
    set_control(L, e);
    break;
  case AQ_RECORD_CANDIDATE:
    set_candidate(L, e);
    break;
  case AQ_RECORD_FRAME_SENT:
  case AQ_RECORD_FRAME_RECEIVED:
    laq_set_int(L, "seq", e->seq);
    break;
  case AQ_RECORD_OBSERVE_SENT:
  case AQ_RECORD_OBSERVE_RECEIVED:
    laq_set_some(L, "flags", e->flags);
    break;
  case AQ_RECORD_LOST:
    laq_set_int(L, "count", e->count);
    break;
  default:
    break;
  }
}

static int ep_poll_record(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_record_entry r;
  if (aq_endpoint_poll_record(e->ep, &r) != 1) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, 0, 16);
  laq_set_string(L, "kind", aq_record_name(r.kind));
  laq_set_time(L, "time", r.time);
  laq_set_text(L, "type", r.type);
  laq_set_id(L, "session", r.session);
  laq_set_id(L, "conn", r.conn);
  laq_set_addr(L, "local_addr", &r.local);
  laq_set_addr(L, "remote", &r.remote);
  laq_set_addr(L, "addr", &r.addr);
  if (r.kind != AQ_RECORD_LOST) {
    laq_set_int(L, "socket", r.socket);
  }
  if (r.has_punch_session) {
    lua_pushlstring(L, (const char *)r.punch_session, sizeof(r.punch_session));
    lua_setfield(L, -2, "punch_session");
  }
  laq_set_error(L, "error", r.error);
  laq_set_text(L, "text", r.text);
  set_rest(L, &r);
  return 1;
}

const luaL_Reg laq_record_methods[] = {
    {"record", ep_record}, {"poll_record", ep_poll_record}, {NULL, NULL}};
