/* laq_session.c - reaching a peer by its id.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq.h"

#define NOW(e) laq_now(e)
#define SESSION_TIMEOUT (30 * AQ_S)

static int session_start(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_addr known[AQ_MAX_CANDIDATES];
  aq_peer_id peer;
  aq_duration timeout = laq_opt_seconds(L, 4, SESSION_TIMEOUT);
  aq_id session = 0;
  aq_id conn = 0;
  int n;
  int rc;
  laq_check_peer(L, 2, &peer);
  lua_settop(L, 4);
  n = laq_opt_addrs(L, 3, known, AQ_MAX_CANDIDATES, "known");
  if (n < 0) {
    return 3;
  }
  rc = aq_session_start(e->ep, NOW(e), &peer, known, (size_t)n, timeout,
                        &session, &conn);
  if (rc != 0) {
    return laq_fail(L, rc, "cannot start a session");
  }
  if (session != 0) {
    laq_pushint(L, session);
  } else {
    lua_pushboolean(L, 0);
  }
  if (conn != 0) {
    laq_pushint(L, conn);
    return 2;
  }
  return 1;
}

static int session_dial(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  aq_dial_step step;
  int n;
  memset(&step, 0, sizeof(step));
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  laq_field(L, 3, "spacing");
  step.spacing = laq_opt_seconds(L, 4, 250 * AQ_MS);
  laq_field(L, 3, "timeout");
  step.timeout = laq_opt_seconds(L, 5, 10 * AQ_S);
  laq_field(L, 3, "addrs");
  n = laq_opt_addrs(L, 6, step.addrs, 8, "addrs");
  if (n < 0) {
    return 3;
  }
  step.count = (size_t)n;
  laq_field(L, 3, "keep");
  step.keep = (uint8_t)lua_toboolean(L, -1);
  return laq_result(L, aq_session_dial(e->ep, NOW(e), id, &step),
                    "cannot dial");
}

static int session_coordinate(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  aq_coordinate_step step;
  aq_coordinate_step_init(&step);
  lua_settop(L, 5);
  if (!lua_isnil(L, 3)) {
    luaL_checktype(L, 3, LUA_TTABLE);
    for (; step.count < AQ_MAX_BOOTSTRAP; step.count++) {
      lua_rawgeti(L, 3, (int)step.count + 1);
      if (lua_isnil(L, -1)) {
        break;
      }
      step.via[step.count] = laq_check_id(L, lua_gettop(L));
      lua_pop(L, 1);
    }
  }
  step.timeout = laq_opt_seconds(L, 4, 10 * AQ_S);
  step.hedge = laq_opt_seconds(L, 5, step.hedge);
  return laq_result(L, aq_session_coordinate(e->ep, NOW(e), id, &step),
                    "cannot coordinate");
}

int laq_punch_step(lua_State *L, int arg, aq_punch_step *step) {
  int top;
  int n;
  aq_punch_step_init(step);
  if (lua_isnoneornil(L, arg)) {
    return 0;
  }
  luaL_checktype(L, arg, LUA_TTABLE);
  top = lua_gettop(L);
  luaL_checkstack(L, 10, "punch step");
  laq_field(L, arg, "rounds");
  laq_field(L, arg, "spacing");
  laq_field(L, arg, "openers");
  laq_field(L, arg, "opener_ttl");
  laq_field(L, arg, "opener_lead");
  laq_field(L, arg, "timeout");
  laq_field(L, arg, "order");
  step->rounds =
      (uint32_t)laq_opt_clamped(L, top + 1, step->rounds, 0, UINT32_MAX);
  step->spacing = laq_opt_seconds(L, top + 2, step->spacing);
  step->openers = (uint8_t)laq_opt_clamped(L, top + 3, step->openers, 0, 255);
  step->opener_ttl =
      (uint8_t)laq_opt_clamped(L, top + 4, step->opener_ttl, 0, 255);
  step->opener_lead = laq_opt_seconds(L, top + 5, step->opener_lead);
  step->timeout = laq_opt_seconds(L, top + 6, step->timeout);
  n = laq_opt_addrs(L, top + 7, step->order, AQ_MAX_CANDIDATES, "order");
  if (n < 0) {
    return -1;
  }
  step->count = (size_t)n;
  lua_settop(L, top);
  return n;
}

static int session_punch(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  aq_punch_step step;
  if (laq_punch_step(L, 3, &step) < 0) {
    return 3;
  }
  return laq_result(L, aq_session_punch(e->ep, NOW(e), id, &step),
                    "cannot punch");
}

static aq_plan check_plan(lua_State *L, int arg) {
  const char *name = luaL_checkstring(L, arg);
  for (int i = 0; i < AQ_PLAN__COUNT; i++) {
    if (strcmp(name, aq_plan_name((aq_plan)i)) == 0) {
      return (aq_plan)i;
    }
  }
  luaL_argerror(L, arg, "not a plan");
  return AQ_PLAN_PUNCH;
}

static int session_hard(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  aq_plan plan = check_plan(L, 3);
  aq_hard_step step;
  aq_hard_step_init(&step);
  luaL_checktype(L, 4, LUA_TTABLE);
  lua_settop(L, 4);
  if (laq_punch_step(L, 4, &step.punch) < 0) {
    return 3;
  }
  if (laq_field(L, 4, "via") != LUA_TNIL) {
    step.via = laq_check_id(L, 5);
  }
  laq_field(L, 4, "sockets");
  laq_field(L, 4, "probes");
  step.sockets = (uint32_t)laq_opt_range(L, 6, 0, 0, UINT32_MAX);
  step.probes = (uint32_t)laq_opt_range(L, 7, 0, 0, UINT32_MAX);
  return laq_result(L, aq_session_hard(e->ep, NOW(e), id, plan, &step),
                    aq_plan_name(plan));
}

static int session_relay(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  aq_relay_step step;
  aq_relay_step_init(&step);
  lua_settop(L, 3);
  if (!lua_isnil(L, 3)) {
    luaL_checktype(L, 3, LUA_TTABLE);
    if (laq_field(L, 3, "via") != LUA_TNIL) {
      step.via = laq_check_id(L, 4);
    }
    if (laq_field(L, 3, "upgrade_every") == LUA_TBOOLEAN &&
        !lua_toboolean(L, 5)) {
      step.upgrade_every = AQ_NEVER;
    } else {
      step.upgrade_every = laq_opt_seconds(L, 5, step.upgrade_every);
    }
  }
  return laq_result(L, aq_session_relay(e->ep, NOW(e), id, &step),
                    "cannot relay");
}

static int set_punch_defaults(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_punch_step step;
  if (laq_punch_step(L, 2, &step) < 0) {
    return 3;
  }
  aq_endpoint_set_punch_defaults(e->ep, &step);
  lua_pushboolean(L, 1);
  return 1;
}

static int error_value(const char *code) {
  const char *name;
  int value = 0;
  for (size_t i = 0; (name = aq_error_at(i, &value)) != NULL; i++) {
    if (strcmp(name, code) == 0) {
      return value;
    }
  }
  return 0;
}

static int session_finish(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  int error = error_value(luaL_optstring(L, 3, "TRAVERSAL_FAILED"));
  luaL_argcheck(L, error != 0, 3, "not an error code");
  return laq_result(L, aq_session_finish(e->ep, NOW(e), id, error),
                    "cannot finish the session");
}

static int session_cancel(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  return laq_result(L, aq_session_cancel(e->ep, NOW(e), id),
                    "cannot cancel the session");
}

/* Only what is known. */
static void set_profile(lua_State *L, const char *name,
                        const aq_nat_profile *p) {
  laq_push_profile(L, p);
  if (p->block_size != 0) {
    laq_set_int(L, "block_base", p->block_base);
  }
  if (p->hairpin != 0) {
    laq_set_bool(L, "hairpin", p->hairpin == 2);
  }
  laq_set_some(L, "external_count", p->external_count);
  lua_setfield(L, -2, name);
}

static int session_info(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_session_info s;
  int rc = aq_session_get_info(e->ep, laq_check_id(L, 2), &s);
  if (rc != 0) {
    return laq_fail(L, rc, "session");
  }
  lua_createtable(L, 0, 14);
  laq_set_peer(L, "peer", &s.peer);
  laq_set_string(L, "phase", aq_phase_name(s.phase));
  laq_set_string(L, "state", aq_state_name(s.state));
  laq_set_bool(L, "initiator", s.initiator);
  laq_set_int(L, "attempt", s.attempt);
  laq_set_time(L, "started", s.started);
  laq_set_id(L, "coordinator", s.coordinator);
  laq_set_addr(L, "coordinator_addr", &s.coordinator_addr);
  if (s.coordination_time != 0) {
    laq_set_time(L, "coordination_time", s.coordination_time);
  }
  if (s.retry_at != 0) {
    laq_set_time(L, "retry_at", s.retry_at);
  }
  laq_set_int(L, "punches_sent", s.punches_sent);
  laq_set_int(L, "punches_received", s.punches_received);
  laq_set_int(L, "initials_sent", s.initials_sent);
  laq_set_bool(L, "same_nat", s.same_nat != 0);
  laq_set_string(L, "plan", aq_plan_name(s.plan));
  set_profile(L, "local_profile", &s.local_profile);
  set_profile(L, "remote_profile", &s.remote_profile);
  laq_set_int(L, "steps_lost", s.steps_lost);
  laq_push_candidates(L, s.remote,
                      s.remote_count < AQ_MAX_CANDIDATES ? s.remote_count
                                                         : AQ_MAX_CANDIDATES);
  lua_setfield(L, -2, "remote");
  return 1;
}

static int session_pairs(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  size_t max = aq_session_get_pairs(e->ep, id, NULL, 0);
  aq_pair_info *v = laq_newuserdata(L, (max + 1) * sizeof(*v));
  size_t n = aq_session_get_pairs(e->ep, id, v, max);
  n = n < max ? n : max;
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    lua_createtable(L, 0, 12);
    laq_set_addr(L, "local_addr", &v[i].local);
    laq_set_addr(L, "remote", &v[i].remote);
    laq_set_int(L, "priority", v[i].priority);
    laq_set_string(L, "state", aq_pair_state_name(v[i].state));
    laq_set_string(L, "remote_source", aq_source_name(v[i].remote_source));
    laq_set_bool(L, "verified", v[i].verified);
    laq_set_bool(L, "answered", v[i].answered);
    laq_set_int(L, "sent", v[i].sent);
    laq_set_int(L, "received", v[i].received);
    laq_set_int(L, "refused", v[i].refused);
    laq_set_text(L, "limit", v[i].limit);
    laq_set_bool(L, "dialed", v[i].dialed);
    laq_set_error(L, "error", v[i].error);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static int decide(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  uint64_t id = laq_opt_code(L, 2, 0);
  int accept;
  luaL_checktype(L, 3, LUA_TBOOLEAN);
  accept = lua_toboolean(L, 3);
  return laq_result(L, aq_endpoint_decide(e->ep, NOW(e), id, accept),
                    "cannot decide");
}

static int explain(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_step_record v[AQ_MAX_STEPS];
  size_t n = aq_explain(e->ep, laq_check_id(L, 2), v, AQ_MAX_STEPS);
  n = n < AQ_MAX_STEPS ? n : AQ_MAX_STEPS;
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    lua_createtable(L, 0, 15);
    laq_set_string(L, "step", laq_step_name(v[i].step));
    laq_set_bool(L, "won", v[i].won);
    laq_set_error(L, "error", v[i].error);
    laq_set_time(L, "started", v[i].started);
    if (v[i].ended != 0) {
      laq_set_time(L, "ended", v[i].ended);
    }
    laq_set_addr(L, "addr", &v[i].addr);
    laq_set_int(L, "sent", v[i].sent);
    laq_set_int(L, "received", v[i].received);
    laq_set_int(L, "attempt", v[i].attempt);
    if (v[i].step == AQ_STEP_MOVE) {
      laq_set_addr(L, "before", &v[i].before);
      laq_set_bool(L, "before_relayed", v[i].before_relayed);
      laq_set_bool(L, "relayed", v[i].relayed);
      laq_set_string(L, "move", aq_move_name((aq_move)v[i].move));
    } else if (v[i].step >= 2) {
      laq_set_int(L, "pairs", v[i].pairs);
      laq_set_int(L, "heard", v[i].heard);
      laq_set_int(L, "unusable", v[i].unusable);
      laq_set_int(L, "refused", v[i].refused);
      laq_set_text(L, "limit", v[i].limit);
    }
    laq_set_text(L, "text", v[i].text);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

const luaL_Reg laq_session_methods[] = {
    {"session_start", session_start},
    {"session_dial", session_dial},
    {"session_coordinate", session_coordinate},
    {"session_punch", session_punch},
    {"session_hard", session_hard},
    {"session_relay", session_relay},
    {"session_finish", session_finish},
    {"session_cancel", session_cancel},
    {"session_info", session_info},
    {"session_pairs", session_pairs},
    {"set_punch_defaults", set_punch_defaults},
    {"decide", decide},
    {"explain", explain},
    {NULL, NULL}};
