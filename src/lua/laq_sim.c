/* laq_sim.c - a simulation's userdata: its network, its clock, its endpoints.
 *
 * A node is an integer, as ids are. An endpoint keeps its simulation alive by
 * itself, so either may be collected first.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq_sim.h"

#include <stdio.h>

typedef struct laq_sim {
  aq_sim *s; /* NULL: closed */
} laq_sim;

/* ---- arguments
 * ---------------------------------------------------------------
 */

static laq_sim *check_any(lua_State *L) {
  laq_sim *box = laq_testudata(L, 1, LAQ_SIM);
  if (!box) {
    luaL_error(L, "bad argument #1 (%s expected, got %s)", LAQ_SIM,
               luaL_typename(L, 1));
  }
  return box;
}

static aq_sim *check(lua_State *L) {
  laq_sim *box = check_any(L);
  if (!box->s) {
    luaL_error(L, "attempt to use a closed simulation");
  }
  return box->s;
}

static aq_sim_node check_node(lua_State *L, int arg) {
  return (aq_sim_node)laq_opt_range(L, arg, -1, 0, UINT32_MAX);
}

/* ---- life
 * --------------------------------------------------------------------
 */

static int sim_close(lua_State *L) {
  laq_sim *box = check_any(L);
  aq_sim *s = box->s;
  box->s = NULL;
  aq_sim_del(s);
  return 0;
}

static int sim_tostring(lua_State *L) {
  lua_pushstring(L, check_any(L)->s ? LAQ_SIM : LAQ_SIM "{closed}");
  return 1;
}

static int core_sim(lua_State *L) {
  laq_sim *box;
  aq_env env;
  uint64_t seed = 0;
  int rc;
  lua_settop(L, 1);
  memset(&env, 0, sizeof(env));
  if (!lua_isnil(L, 1)) {
    luaL_checktype(L, 1, LUA_TTABLE);
    laq_field(L, 1, "seed");
    seed = (uint64_t)laq_opt_range(L, 2, 0, INT64_MIN, INT64_MAX);
    laq_option_trace(L, 1, &env);
  }
  box = laq_newuserdata(L, sizeof(*box));
  box->s = NULL;
  laq_setmetatable(L, LAQ_SIM);
  rc = aq_sim_new(&box->s, seed, &env);
  return rc == 0 ? 1 : laq_fail(L, rc, "cannot make the simulation");
}

static int core_sim_peer_id(lua_State *L) {
  size_t len = 0;
  const char *key = luaL_checklstring(L, 1, &len);
  aq_peer_id id;
  luaL_argcheck(L, len == 32, 1, "a key has 32 bytes");
  int rc = aq_sim_peer_id(&id, (const uint8_t *)key);
  if (rc != 0) {
    return laq_fail(L, rc, NULL);
  }
  lua_pushlstring(L, (const char *)id.bytes, sizeof(id.bytes));
  return 1;
}

static int core_sim_nat_types(lua_State *L) {
  const char *name;
  lua_newtable(L);
  for (size_t i = 0; (name = aq_sim_nat_type_at(i)) != NULL; i++) {
    lua_pushstring(L, name);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

/* ---- the network
 * ----------------------------------------------------------------
 */

static int push_node(lua_State *L, int rc, aq_sim_node node, const char *what) {
  if (rc != 0) {
    return laq_fail(L, rc, what);
  }
  laq_pushint(L, node);
  return 1;
}

/* Where the table says it stands: "nat" or "parent", or the internet. */
static aq_sim_node read_parent(lua_State *L, int t) {
  aq_sim_node node = AQ_SIM_INTERNET;
  if (laq_field(L, t, "nat") == LUA_TNIL) {
    lua_pop(L, 1);
    laq_field(L, t, "parent");
  }
  node = (aq_sim_node)laq_opt_range(L, lua_gettop(L), 0, 0, UINT32_MAX);
  lua_pop(L, 1);
  return node;
}

/* Sets the link of a new node as the table's field "link" says. */
static int read_new_link(lua_State *L, int t, aq_sim_link *link) {
  int has = laq_field(L, t, "link") != LUA_TNIL;
  memset(link, 0, sizeof(*link));
  if (has) {
    laq_sim_read_link(L, lua_gettop(L), link);
  }
  lua_pop(L, 1);
  return has;
}

static int sim_nat(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_nat_params p;
  aq_sim_link link;
  aq_sim_node node = 0;
  int has_link, rc;
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  rc = laq_sim_read_nat(L, 2, &p);
  if (rc != 0) {
    return rc;
  }
  has_link = read_new_link(L, 2, &link);
  rc = aq_sim_add_nat(s, read_parent(L, 2), &p, &node);
  if (rc == 0 && has_link) {
    rc = aq_sim_set_link(s, node, AQ_SIM_BOTH, &link);
  }
  return push_node(L, rc, node, "cannot add the NAT");
}

static int sim_host(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_host_params p;
  aq_sim_link link;
  aq_sim_node node = 0;
  int n, has_link, rc;
  aq_sim_host_params_init(&p);
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_newtable(L);
    lua_replace(L, 2);
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  if (laq_field(L, 2, "address") == LUA_TNIL) {
    lua_pop(L, 1);
    laq_field(L, 2, "addresses");
  }
  n = laq_sim_read_ips(L, p.addr, "'address'");
  if (n < 0) {
    return 3;
  }
  p.naddr = (size_t)n;
  if (laq_field(L, 2, "v4") != LUA_TNIL) {
    p.v4 = (uint8_t)lua_toboolean(L, -1);
  }
  laq_field(L, 2, "v6");
  p.v6 = (uint8_t)lua_toboolean(L, -1);
  lua_pop(L, 2);
  has_link = read_new_link(L, 2, &link);
  rc = aq_sim_add_host(s, read_parent(L, 2), &p, &node);
  if (rc == 0 && has_link) {
    rc = aq_sim_set_link(s, node, AQ_SIM_BOTH, &link);
  }
  return push_node(L, rc, node, "cannot add the host");
}

static int core_sim_nat_type(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  aq_sim_nat_params p;
  if (aq_sim_nat_type(&p, name) != 0) {
    return laq_fail(L, AQ_ERR_INVAL, "no such type of NAT");
  }
  laq_sim_push_nat(L, &p);
  return 1;
}

static int sim_get_link(lua_State *L) {
  static const char *const names[] = {"up", "down", NULL};
  static const unsigned directions[] = {AQ_SIM_UP, AQ_SIM_DOWN};
  aq_sim *s = check(L);
  aq_sim_node node = check_node(L, 2);
  unsigned which = directions[luaL_checkoption(L, 3, "up", names)];
  aq_sim_link link;
  int rc = aq_sim_get_link(s, node, which, &link);
  if (rc != 0) {
    return laq_fail(L, rc, "no such link");
  }
  laq_sim_push_link(L, &link);
  return 1;
}

static int sim_addresses(lua_State *L) {
  aq_sim *s = check(L);
  aq_addr v[AQ_SIM_MAX_ADDRS];
  size_t n = aq_sim_get_addrs(s, check_node(L, 2), v, AQ_SIM_MAX_ADDRS);
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    laq_sim_push_ip(L, &v[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static int sim_link(lua_State *L) {
  static const char *const names[] = {"both", "up", "down", NULL};
  static const unsigned directions[] = {AQ_SIM_BOTH, AQ_SIM_UP, AQ_SIM_DOWN};
  aq_sim *s = check(L);
  aq_sim_node node = check_node(L, 2);
  unsigned which = directions[luaL_checkoption(L, 4, "both", names)];
  aq_sim_link link;
  memset(&link, 0, sizeof(link));
  laq_sim_read_link(L, 3, &link);
  return laq_result(L, aq_sim_set_link(s, node, which, &link),
                    "cannot set the link");
}

/* ---- faults
 * ------------------------------------------------------------------
 */

/* true unless a false stands there. */
static int opt_on(lua_State *L, int arg) {
  return lua_isnoneornil(L, arg) || lua_toboolean(L, arg);
}

static int sim_rebind(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_node node = check_node(L, 2);
  return laq_result(L, aq_sim_rebind(s, node, opt_on(L, 3)), "cannot rebind");
}

static int sim_renumber(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_node node = check_node(L, 2);
  const char *text = luaL_checkstring(L, 3);
  aq_addr a;
  if (laq_sim_parse_ip(text, &a) != 0) {
    return laq_sim_bad_ip(L, text);
  }
  return laq_result(L, aq_sim_renumber(s, node, &a), "cannot renumber");
}

static int sim_block(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_node node = check_node(L, 2);
  return laq_result(L, aq_sim_block(s, node, opt_on(L, 3)), "cannot block");
}

static int sim_black_hole(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_node node = check_node(L, 2);
  return laq_result(L, aq_sim_black_hole(s, node, opt_on(L, 3)),
                    "cannot cut the link");
}

static int sim_kill(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_node node = check_node(L, 2);
  return laq_result(L, aq_sim_kill(s, node, opt_on(L, 3)), "cannot kill");
}

static int sim_burn(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_node node = check_node(L, 2);
  uint32_t n = (uint32_t)laq_opt_range(L, 3, 1, 0, UINT32_MAX);
  return laq_result(L, aq_sim_burn(s, node, n), "cannot burn ports");
}

static int sim_set_addresses(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_node node = check_node(L, 2);
  aq_addr v[AQ_SIM_MAX_ADDRS];
  int n;
  lua_settop(L, 3);
  n = laq_sim_read_ips(L, v, "addresses");
  if (n < 0) {
    return 3;
  }
  return laq_result(L, aq_sim_set_addrs(s, node, v, (size_t)n),
                    "cannot change the addresses");
}

static int sim_move(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_node node = check_node(L, 2);
  return laq_result(L, aq_sim_move(s, node, check_node(L, 3)), "cannot move");
}

/* ---- endpoints and time
 * ------------------------------------------------------------
 */

static int sim_endpoint(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_node node = check_node(L, 2);
  aq_endpoint_params params;
  aq_runtime_params rp;
  char why[256] = "";
  uint8_t key[32];
  size_t len = 0;
  const char *text;
  laq_endpoint *e;
  int rc;
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  laq_field(L, 3, "key");
  text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
  if (len != sizeof(key)) {
    return luaL_error(L, "option 'key' must be a string of 32 bytes");
  }
  memcpy(key, text, sizeof(key));
  rc = laq_options(L, 3, &params, &rp);
  if (rc != 0) {
    return rc;
  }
  e = laq_new_endpoint(L);
  rc = aq_sim_endpoint_new(&e->sim, s, node, key, &rp, &params, why,
                           sizeof(why));
  if (rc != 0) {
    return laq_fail_text(L, rc, why);
  }
  e->ep = aq_sim_endpoint_core(e->sim);
  return 1;
}

static int sim_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)aq_sim_now(check(L)) / 1e9);
  return 1;
}

/* Upwards: the clock that Lua reads then is not before what Lua asked for. */
static aq_tstamp opt_deadline(lua_State *L, int arg) {
  lua_Number v = lua_isnoneornil(L, arg) ? 0 : luaL_checknumber(L, arg);
  aq_tstamp t = laq_opt_seconds(L, arg, AQ_NEVER);
  while (t < AQ_NEVER && (lua_Number)t / 1e9 < v) {
    t++;
  }
  return t;
}

static int sim_step(lua_State *L) {
  aq_sim *s = check(L);
  aq_tstamp until = opt_deadline(L, 2);
  int rc = aq_sim_step(s, until);
  if (rc == 0 && until == AQ_NEVER) {
    return laq_fail(L, AQ_ERR_TIMEOUT, "nothing will ever happen");
  }
  if (rc < 0) {
    return laq_fail(L, rc, "cannot turn the simulation");
  }
  lua_pushnumber(L, (lua_Number)aq_sim_now(s) / 1e9);
  lua_pushboolean(L, rc);
  return 2;
}

/* ---- bare sockets
 * --------------------------------------------------------------
 */

static int sim_udp_open(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_node node = check_node(L, 2);
  aq_addr bind;
  const char *text;
  uint32_t id = 0;
  if (laq_check_addr(L, 3, &bind, &text) != 0) {
    return laq_bad_addr(L, text);
  }
  int rc = aq_sim_udp_open(s, node, &bind, &id);
  return push_node(L, rc, id, "cannot open the socket");
}

static int sim_udp_close(lua_State *L) {
  aq_sim *s = check(L);
  return laq_result(L, aq_sim_udp_close(s, check_node(L, 2)), "cannot close");
}

static int sim_udp_bound(lua_State *L) {
  aq_sim *s = check(L);
  aq_addr a;
  int rc = aq_sim_udp_bound(s, check_node(L, 2), &a);
  if (rc != 0) {
    return laq_fail(L, rc, "no such socket");
  }
  laq_push_addr(L, &a);
  return 1;
}

static int sim_udp_send(lua_State *L) {
  aq_sim *s = check(L);
  uint32_t id = check_node(L, 2);
  aq_addr to;
  const char *text;
  size_t len = 0;
  const char *data = luaL_checklstring(L, 4, &len);
  uint8_t ttl = (uint8_t)laq_opt_range(L, 5, 0, 0, 255);
  if (laq_check_addr(L, 3, &to, &text) != 0) {
    return laq_bad_addr(L, text);
  }
  return laq_result(
      L, aq_sim_udp_send(s, id, &to, ttl, (const uint8_t *)data, len),
      "cannot send");
}

static int sim_udp_receive(lua_State *L) {
  aq_sim *s = check(L);
  uint8_t buf[AQ_SIM_UDP_MAX];
  aq_addr from;
  size_t len = 0;
  int rc = aq_sim_udp_receive(s, check_node(L, 2), &from, buf, &len);
  if (rc != 0) {
    return laq_fail(L, rc, NULL);
  }
  lua_pushlstring(L, (const char *)buf, len);
  laq_push_addr(L, &from);
  return 2;
}

/* ---- what happened
 * ----------------------------------------------------------------
 */

static int sim_trace(lua_State *L) {
  aq_sim *s = check(L);
  return laq_result(L, aq_sim_set_trace(s, opt_on(L, 2)), "cannot trace");
}

static int sim_poll_trace(lua_State *L) {
  aq_sim_record r;
  if (!aq_sim_poll_trace(check(L), &r)) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, 0, 9);
  laq_set_time(L, "time", r.time);
  laq_set_int(L, "datagram", r.datagram);
  laq_set_int(L, "node", r.node);
  laq_set_string(L, "kind", aq_sim_kind_name((aq_sim_kind)r.kind));
  laq_set_string(L, "fate", aq_sim_fate_name((aq_sim_fate)r.fate));
  laq_set_int(L, "ttl", r.ttl);
  laq_set_int(L, "len", r.len);
  laq_set_addr(L, "from", &r.from);
  laq_set_addr(L, "to", &r.to);
  return 1;
}

static int sim_trace_hash(lua_State *L) {
  char hex[17];
  snprintf(hex, sizeof(hex), "%016llx",
           (unsigned long long)aq_sim_trace_hash(check(L)));
  lua_pushstring(L, hex);
  return 1;
}

static int sim_counters(lua_State *L) {
  aq_sim *s = check(L);
  aq_sim_counters c;
  int rc = aq_sim_get_counters(s, check_node(L, 2), &c);
  if (rc != 0) {
    return laq_fail(L, rc, "no such node");
  }
  lua_createtable(L, 0, AQ_SIM_FATE__COUNT + 5);
  for (int i = 0; i < AQ_SIM_FATE__COUNT; i++) {
    laq_set_int(L, aq_sim_fate_name((aq_sim_fate)i), c.fate[i]);
  }
  laq_set_int(L, "mappings_created", c.mappings_created);
  laq_set_int(L, "mappings_expired", c.mappings_expired);
  laq_set_int(L, "mappings", c.mappings);
  laq_set_int(L, "flows", c.flows);
  laq_set_int(L, "trace_lost", c.trace_lost);
  return 1;
}

/* ---- opening
 * ------------------------------------------------------------------
 */

static const luaL_Reg methods[] = {{"close", sim_close},
                                   {"nat", sim_nat},
                                   {"host", sim_host},
                                   {"addresses", sim_addresses},
                                   {"link", sim_link},
                                   {"get_link", sim_get_link},
                                   {"rebind", sim_rebind},
                                   {"renumber", sim_renumber},
                                   {"block", sim_block},
                                   {"black_hole", sim_black_hole},
                                   {"kill", sim_kill},
                                   {"burn", sim_burn},
                                   {"set_addresses", sim_set_addresses},
                                   {"move", sim_move},
                                   {"endpoint", sim_endpoint},
                                   {"now", sim_now},
                                   {"step", sim_step},
                                   {"udp_open", sim_udp_open},
                                   {"udp_close", sim_udp_close},
                                   {"udp_bound", sim_udp_bound},
                                   {"udp_send", sim_udp_send},
                                   {"udp_receive", sim_udp_receive},
                                   {"trace", sim_trace},
                                   {"poll_trace", sim_poll_trace},
                                   {"trace_hash", sim_trace_hash},
                                   {"counters", sim_counters},
                                   {NULL, NULL}};
static const luaL_Reg meta[] = {{"__gc", sim_close},
                                {"__close", sim_close},
                                {"__tostring", sim_tostring},
                                {NULL, NULL}};
static const luaL_Reg functions[] = {{"sim", core_sim},
                                     {"sim_peer_id", core_sim_peer_id},
                                     {"sim_nat_types", core_sim_nat_types},
                                     {"sim_nat_type", core_sim_nat_type},
                                     {NULL, NULL}};

void laq_open_sim(lua_State *L) {
  luaL_newmetatable(L, LAQ_SIM);
  lua_pushliteral(L, LAQ_SIM); /* 5.1 and 5.2 don't set it */
  lua_setfield(L, -2, "__name");
  laq_setfuncs(L, meta, 0);
  lua_newtable(L);
  laq_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  laq_setfuncs(L, functions, 0);
}
