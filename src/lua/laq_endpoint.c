/* laq_endpoint.c - the endpoint's userdata: life, turns and what it knows.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq.h"

#define NOW(e) laq_now(e)

/* ---- life
 * -------------------------------------------------------------------- */

/* As laq_check, without the demand that it be open. */
static laq_endpoint *check_any(lua_State *L) {
  laq_endpoint *e = lua_touserdata(L, 1);
  if (e != NULL && lua_getmetatable(L, 1)) {
    int same = lua_rawequal(L, -1, lua_upvalueindex(1));
    lua_pop(L, 1);
    if (same) {
      return e;
    }
  }
  luaL_error(L, "bad argument #1 (%s expected, got %s)", LAQ_ENDPOINT,
             luaL_typename(L, 1));
  return NULL;
}

laq_endpoint *laq_check(lua_State *L) {
  laq_endpoint *e = check_any(L);
  if (!e->ep) {
    luaL_error(L, "attempt to use a closed endpoint");
  }
  return e;
}

/* The same for what only real sockets have. */
static aq_runtime *check_real(lua_State *L, const char *what) {
  laq_endpoint *e = laq_check(L);
  if (!e->rt) {
    luaL_error(L, "%s: the endpoint lives in a simulation", what);
  }
  return e->rt;
}

aq_tstamp laq_now(const laq_endpoint *e) {
  return e->sim ? aq_sim_endpoint_now(e->sim) : aq_runtime_now(e->rt);
}

laq_endpoint *laq_new_endpoint(lua_State *L) {
  laq_endpoint *e = laq_newuserdata(L, sizeof(*e));
  memset(e, 0, sizeof(*e));
  laq_setmetatable(L, LAQ_ENDPOINT);
  return e;
}

static int ep_close(lua_State *L) {
  laq_endpoint *e = check_any(L);
  laq_endpoint had = *e;
  memset(e, 0, sizeof(*e));
  aq_runtime_del(had.rt);
  aq_sim_endpoint_del(had.sim);
  lua_pushboolean(L, 1);
  return 1;
}

static int ep_is_closed(lua_State *L) {
  lua_pushboolean(L, check_any(L)->ep == NULL);
  return 1;
}

static int ep_tostring(lua_State *L) {
  laq_endpoint *e = check_any(L);
  char hex[65];
  if (!e->ep) {
    lua_pushliteral(L, LAQ_ENDPOINT "{closed}");
    return 1;
  }
  aq_peer_id_format(aq_endpoint_peer_id(e->ep), hex);
  lua_pushfstring(L, LAQ_ENDPOINT "{peer=%s}", hex);
  return 1;
}

static int core_endpoint(lua_State *L) {
  aq_endpoint_params params;
  aq_runtime_params rp;
  aq_env env;
  char why[256] = "";
  laq_endpoint *e;
  int rc;
  lua_settop(L, 1);
  rc = laq_options(L, 1, &params, &rp);
  if (rc != 0) {
    return rc;
  }
  laq_option_trace(L, 1, &env);
  laq_option_identity(L, 1, &params);
  e = laq_new_endpoint(L);
  rc = aq_runtime_new(&e->rt, &rp, &params, &env, why, sizeof(why));
  if (rc == 0) {
    e->ep = aq_runtime_endpoint(e->rt);
    return 1;
  }
  return laq_fail_text(L, rc, why);
}

/* ---- turns
 * --------------------------------------------------------------------- */

static int push_more(lua_State *L, int rc) {
  if (rc < 0) {
    return laq_fail(L, rc, "cannot turn the endpoint");
  }
  lua_pushboolean(L, rc);
  return 1;
}

static int ep_step(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  return push_more(L, e->sim ? aq_sim_endpoint_flush(e->sim)
                             : aq_runtime_step(e->rt));
}

static int ep_wait(lua_State *L) {
  aq_runtime *rt = check_real(L, "wait");
  aq_duration max = laq_opt_seconds(L, 2, AQ_NEVER);
  return push_more(L, aq_runtime_wait(rt, max));
}

static int ep_pollfd(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  int fd = e->rt ? aq_runtime_fd(e->rt) : -1;
  if (fd < 0) {
    lua_pushnil(L);
  } else {
    lua_pushinteger(L, fd);
  }
  return 1;
}

static int ep_events(lua_State *L) {
  laq_check(L);
  lua_pushliteral(L, "r");
  return 1;
}

static int ep_has_events(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  if (!e->sim) {
    return luaL_error(L, "has_events: an endpoint of a simulation is expected");
  }
  lua_pushboolean(L, aq_sim_endpoint_has_events(e->sim));
  return 1;
}

static int ep_timeout(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_duration t =
      e->sim ? aq_sim_endpoint_timeout(e->sim) : aq_runtime_timeout(e->rt);
  if (t == AQ_NEVER) {
    lua_pushnil(L);
  } else {
    lua_pushnumber(L, (lua_Number)t / 1e9);
  }
  return 1;
}

static int ep_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)NOW(laq_check(L)) / 1e9);
  return 1;
}

/* Is its kind a key of one of the tables at 2 and 3? Without tables: yes. */
static int is_wanted(lua_State *L, const aq_event *ev) {
  int wanted = lua_isnoneornil(L, 2);
  for (int i = 2; i <= 3 && !wanted; i++) {
    lua_getfield(L, i, aq_event_name(ev->kind));
    wanted = !lua_isnil(L, -1);
    lua_pop(L, 1);
  }
  return wanted;
}

static int ep_poll(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_event ev;
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
  }
  while (aq_endpoint_poll_event(e->ep, &ev) == 1) {
    if (is_wanted(L, &ev)) {
      laq_push_event(L, e->ep, &ev);
      return 1;
    }
  }
  lua_pushnil(L);
  return 1;
}

static int core_wait(lua_State *L) {
  aq_runtime *v[AQ_MAX_POLL];
  aq_duration max = laq_opt_seconds(L, 2, AQ_NEVER);
  size_t n;
  luaL_checktype(L, 1, LUA_TTABLE);
  n = laq_rawlen(L, 1);
  luaL_argcheck(L, n <= AQ_MAX_POLL, 1, "more than 4096 endpoints");
  for (size_t i = 0; i < n; i++) {
    laq_endpoint *e;
    lua_rawgeti(L, 1, (int)i + 1);
    e = laq_testudata(L, -1, LAQ_ENDPOINT);
    lua_pop(L, 1);
    luaL_argcheck(L, e != NULL, 1, "not a list of endpoints");
    if (!e->ep) {
      return luaL_error(L, "attempt to use a closed endpoint");
    }
    luaL_argcheck(L, e->rt != NULL, 1, "an endpoint lives in a simulation");
    v[i] = e->rt;
  }
  aq_runtime_poll(v, n, max);
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- the whole endpoint
 * ------------------------------------------------------------ */

static int ep_peer_id(lua_State *L) {
  const aq_peer_id *id = aq_endpoint_peer_id(laq_check(L)->ep);
  lua_pushlstring(L, (const char *)id->bytes, sizeof(id->bytes));
  return 1;
}

static int ep_close_all(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  uint64_t code = laq_opt_code(L, 2, 0);
  const char *reason = luaL_optstring(L, 3, "");
  return laq_result(L, aq_endpoint_close(e->ep, NOW(e), code, reason),
                    "cannot close");
}

static int ep_drained(lua_State *L) {
  lua_pushboolean(L, aq_endpoint_is_drained(laq_check(L)->ep));
  return 1;
}

static int ep_sockets(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_addr v[AQ_MAX_SOCKETS];
  size_t n = e->sim ? aq_sim_endpoint_get_sockets(e->sim, v, AQ_MAX_SOCKETS)
                    : aq_runtime_get_sockets(e->rt, v, AQ_MAX_SOCKETS);
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    laq_push_addr(L, &v[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static int ep_open_socket(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_addr addr;
  const char *text;
  uint32_t index = 0;
  int rc;
  if (laq_check_addr(L, 2, &addr, &text) != 0) {
    return laq_bad_addr(L, text);
  }
  rc = e->sim ? aq_sim_endpoint_open_socket(e->sim, &addr, &index)
              : aq_runtime_open_socket(e->rt, &addr, &index);
  if (rc != 0) {
    return laq_fail(L, rc, "cannot open the socket");
  }
  laq_pushint(L, index);
  return 1;
}

static int ep_statistics(lua_State *L) {
  aq_statistics s;
  aq_endpoint_get_statistics(laq_check(L)->ep, &s);
  lua_createtable(L, 0, (int)(sizeof(s) / sizeof(uint64_t)));
#define X(name) laq_set_int(L, #name, s.name);
  AQ_STATS_MAP(X)
#undef X
  return 1;
}

static int ep_usage(lua_State *L) {
  aq_usage u;
  aq_endpoint_get_usage(laq_check(L)->ep, &u);
  lua_createtable(L, 0, 7);
  laq_set_int(L, "connections", u.connections);
  laq_set_int(L, "half_open", u.half_open);
  laq_set_int(L, "streams", u.streams);
  laq_set_int(L, "sessions", u.sessions);
  laq_set_int(L, "events", u.events);
  laq_set_int(L, "registrations", u.registrations);
  laq_set_int(L, "memory", u.memory);
  return 1;
}

static int ep_io_stats(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_io_stats s;
  if (e->sim) {
    aq_sim_endpoint_get_stats(e->sim, &s);
  } else {
    aq_runtime_get_stats(e->rt, &s);
  }
  lua_createtable(L, 0, 12);
  laq_set_int(L, "recv_calls", s.recv_calls);
  laq_set_int(L, "recv_datagrams", s.recv_datagrams);
  laq_set_int(L, "recv_bytes", s.recv_bytes);
  laq_set_int(L, "send_calls", s.send_calls);
  laq_set_int(L, "send_datagrams", s.send_datagrams);
  laq_set_int(L, "send_bytes", s.send_bytes);
  laq_set_int(L, "send_blocked", s.send_blocked);
  laq_set_int(L, "send_errors", s.send_errors);
  laq_set_int(L, "recv_errors", s.recv_errors);
  laq_set_int(L, "scan_errors", s.scan_errors);
  laq_set_bool(L, "gso", s.gso);
  laq_set_bool(L, "gro", s.gro);
  laq_set_bool(L, "ecn", s.ecn);
  return 1;
}

static int ep_candidates(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  size_t max = aq_endpoint_get_candidates(e->ep, NULL, 0);
  aq_candidate *v = laq_newuserdata(L, (max + 1) * sizeof(*v));
  size_t n = aq_endpoint_get_candidates(e->ep, v, max);
  laq_push_candidates(L, v, n < max ? n : max);
  return 1;
}

static int hide_candidates(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_addr v[AQ_MAX_CANDIDATES];
  int n;
  int rc;
  lua_settop(L, 2);
  n = laq_opt_addrs(L, 2, v, AQ_MAX_CANDIDATES, "hide_candidates");
  if (n < 0) {
    return 3;
  }
  rc = aq_endpoint_hide_candidates(e->ep, NOW(e), v, (size_t)n);
  if (rc != 0) {
    return laq_fail(L, rc, "cannot hide candidates");
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- bootstrap nodes
 * ------------------------------------------------------------ */

static void push_bootstrap(lua_State *L, const aq_bootstrap_info *b) {
  lua_createtable(L, 0, 14);
  laq_set_addr(L, "addr", &b->addr);
  laq_set_bool(L, "connected", b->connected);
  laq_set_bool(L, "can_coordinate", b->can_coordinate);
  laq_set_bool(L, "can_relay", b->can_relay);
  if (b->has_peer) {
    laq_set_peer(L, "peer", &b->peer);
  }
  laq_set_id(L, "conn", b->conn);
  if (b->last_seen != 0) {
    laq_set_time(L, "last_seen", b->last_seen);
  }
  if (b->rtt != 0) {
    laq_set_time(L, "rtt", b->rtt);
  }
  laq_set_int(L, "coordination_count", b->coordination_count);
  laq_set_int(L, "failures", b->failures);
  laq_set_int(L, "coordination_failures", b->coordination_failures);
  laq_set_int(L, "unanswered", b->unanswered);
  if (b->failed_at != 0) {
    laq_set_time(L, "failed_at", b->failed_at);
  }
  laq_set_addr(L, "observed", &b->observed);
}

static int ep_bootstrap_list(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_bootstrap_info v[AQ_MAX_BOOTSTRAP];
  size_t n = aq_endpoint_get_bootstrap(e->ep, v, AQ_MAX_BOOTSTRAP);
  n = n < AQ_MAX_BOOTSTRAP ? n : AQ_MAX_BOOTSTRAP;
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    push_bootstrap(L, &v[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static int ep_bootstrap_add(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_bootstrap_addr b;
  const char *text;
  memset(&b, 0, sizeof(b));
  if (laq_check_addr(L, 2, &b.addr, &text) != 0) {
    return laq_bad_addr(L, text);
  }
  if (!lua_isnoneornil(L, 3)) {
    laq_check_peer(L, 3, &b.peer);
    b.pinned = 1;
  }
  return laq_result(L, aq_endpoint_add_bootstrap(e->ep, NOW(e), &b),
                    "cannot add the bootstrap node");
}

static int ep_bootstrap_remove(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_addr addr;
  const char *text;
  if (laq_check_addr(L, 2, &addr, &text) != 0) {
    return laq_bad_addr(L, text);
  }
  return laq_result(L, aq_endpoint_remove_bootstrap(e->ep, NOW(e), &addr),
                    "cannot remove the bootstrap node");
}

/* ---- opening
 * --------------------------------------------------------------------- */

const luaL_Reg laq_endpoint_methods[] = {
    {"close", ep_close},
    {"is_closed", ep_is_closed},
    {"step", ep_step},
    {"wait", ep_wait},
    {"pollfd", ep_pollfd},
    {"events", ep_events},
    {"timeout", ep_timeout},
    {"now", ep_now},
    {"poll", ep_poll},
    {"has_events", ep_has_events},
    {"peer_id", ep_peer_id},
    {"close_all", ep_close_all},
    {"drained", ep_drained},
    {"sockets", ep_sockets},
    {"open_socket", ep_open_socket},
    {"statistics", ep_statistics},
    {"usage", ep_usage},
    {"io_stats", ep_io_stats},
    {"candidates", ep_candidates},
    {"hide_candidates", hide_candidates},
    {"bootstrap_list", ep_bootstrap_list},
    {"bootstrap_add", ep_bootstrap_add},
    {"bootstrap_remove", ep_bootstrap_remove},
    {NULL, NULL}};

static const luaL_Reg meta[] = {{"__gc", ep_close},
                                {"__close", ep_close},
                                {"__tostring", ep_tostring},
                                {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"endpoint", core_endpoint}, {"wait", core_wait}, {NULL, NULL}};

/* Stack: metatable, methods. The metatable is each one's upvalue. */
static void add_methods(lua_State *L, const luaL_Reg *l) {
  lua_pushvalue(L, -2);
  laq_setfuncs(L, l, 1);
}

void laq_open_endpoint(lua_State *L) {
  luaL_newmetatable(L, LAQ_ENDPOINT);
  lua_pushliteral(L, LAQ_ENDPOINT); /* 5.1 and 5.2 don't set it */
  lua_setfield(L, -2, "__name");
  lua_pushvalue(L, -1);
  laq_setfuncs(L, meta, 1);
  lua_newtable(L);
  add_methods(L, laq_endpoint_methods);
  add_methods(L, laq_session_methods);
  add_methods(L, laq_conn_methods);
  add_methods(L, laq_stream_methods);
  add_methods(L, laq_record_methods);
  add_methods(L, laq_nat_methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  laq_setfuncs(L, functions, 0);
}
