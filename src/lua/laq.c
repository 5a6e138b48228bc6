/* laq.c - arguments in, values out.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq.h"

#include <stdio.h>

#define CODE_MAX (((uint64_t)1 << 62) - 1)
#define CENTURY 3.2e9 /* seconds */

/* ---- results ---------------------------------------------------------------
 */

int laq_fail(lua_State *L, int rc, const char *what) {
  lua_pushnil(L);
  if (what) {
    lua_pushfstring(L, "%s: %s", what, aq_error_text(rc));
  } else {
    lua_pushstring(L, aq_error_text(rc));
  }
  lua_pushstring(L, aq_error_name(rc));
  return 3;
}

int laq_fail_text(lua_State *L, int rc, const char *why) {
  if (why[0] == '\0') {
    return laq_fail(L, rc, NULL);
  }
  lua_pushnil(L);
  lua_pushstring(L, why);
  lua_pushstring(L, aq_error_name(rc));
  return 3;
}

int laq_result(lua_State *L, int rc, const char *what) {
  if (rc < 0) {
    return laq_fail(L, rc, what);
  }
  lua_pushboolean(L, 1);
  return 1;
}

int laq_bad_addr(lua_State *L, const char *text) {
  lua_pushnil(L);
  lua_pushfstring(
      L, "\"%s\" is not an address: write \"192.0.2.1:4433\" or \"[::1]:4433\"",
      text);
  lua_pushstring(L, aq_error_name(AQ_ERR_ADDRESS));
  return 3;
}

/* ---- arguments --------------------------------------------------------------
 */

static int wrong_type(lua_State *L, int arg, const char *wanted) {
  const char *text =
      lua_pushfstring(L, "%s expected, got %s", wanted, luaL_typename(L, arg));
  return luaL_argerror(L, arg, text);
}

aq_id laq_check_id(lua_State *L, int arg) {
  int64_t v = 0;
  if (!laq_toint(L, arg, &v)) {
    wrong_type(L, arg, "id");
  }
  return v > 0 ? (aq_id)v : 0;
}

uint64_t laq_opt_code(lua_State *L, int arg, uint64_t def) {
  int64_t v = 0;
  if (lua_isnoneornil(L, arg)) {
    return def;
  }
  if (!laq_toint(L, arg, &v)) {
    wrong_type(L, arg, "integer");
  }
  luaL_argcheck(L, v >= 0 && (uint64_t)v <= CODE_MAX, arg,
                "not in 0 to 2^62-1");
  return (uint64_t)v;
}

int64_t laq_opt_range(lua_State *L, int arg, int64_t def, int64_t lo,
                      int64_t hi) {
  int64_t v = 0;
  if (lua_isnoneornil(L, arg)) {
    return def;
  }
  if (!laq_toint(L, arg, &v)) {
    wrong_type(L, arg, "integer");
  }
  luaL_argcheck(L, v >= lo && v <= hi, arg, "out of range");
  return v;
}

int64_t laq_opt_clamped(lua_State *L, int arg, int64_t def, int64_t lo,
                        int64_t hi) {
  lua_Number v;
  if (lua_isnoneornil(L, arg)) {
    return def;
  }
  if (lua_type(L, arg) != LUA_TNUMBER) {
    wrong_type(L, arg, "number");
  }
  v = lua_tonumber(L, arg);
  luaL_argcheck(L, v == v, arg, "not a number");
  return v <= (lua_Number)lo ? lo : v >= (lua_Number)hi ? hi : (int64_t)v;
}

aq_duration laq_seconds(lua_Number s) {
  if (!(s > 0)) {
    return 0;
  }
  return s > CENTURY ? AQ_NEVER : (aq_duration)(s * 1e9);
}

aq_duration laq_opt_seconds(lua_State *L, int arg, aq_duration def) {
  lua_Number s;
  if (lua_isnoneornil(L, arg)) {
    return def;
  }
  if (lua_type(L, arg) != LUA_TNUMBER) {
    wrong_type(L, arg, "seconds");
  }
  s = lua_tonumber(L, arg);
  luaL_argcheck(L, s == s, arg, "not a number");
  return laq_seconds(s);
}

void laq_check_peer(lua_State *L, int arg, aq_peer_id *out) {
  size_t len = 0;
  const char *s;
  if (lua_type(L, arg) != LUA_TSTRING) {
    wrong_type(L, arg, "peer id");
  }
  s = lua_tolstring(L, arg, &len);
  luaL_argcheck(L, len == sizeof(out->bytes), arg,
                "a peer id has 32 bytes (core.unhex reads hexadecimal)");
  memcpy(out->bytes, s, sizeof(out->bytes));
}

int laq_check_addr(lua_State *L, int arg, aq_addr *out, const char **text) {
  size_t len = 0;
  if (lua_type(L, arg) != LUA_TSTRING) {
    wrong_type(L, arg, "address");
  }
  *text = lua_tolstring(L, arg, &len);
  return aq_addr_parse(out, *text, len);
}

int laq_opt_addrs(lua_State *L, int arg, aq_addr *out, int max,
                  const char *what) {
  size_t n;
  if (lua_isnoneornil(L, arg)) {
    return 0;
  }
  if (lua_type(L, arg) != LUA_TTABLE) {
    return luaL_error(L, "%s must be a list of addresses, not a %s", what,
                      luaL_typename(L, arg));
  }
  n = laq_rawlen(L, arg);
  if (n > (size_t)max) {
    return luaL_error(L, "%s has more than %d addresses", what, max);
  }
  for (size_t i = 0; i < n; i++) {
    const char *text;
    size_t len = 0;
    lua_rawgeti(L, arg, (int)i + 1);
    if (lua_type(L, -1) != LUA_TSTRING) {
      return luaL_error(L, "%s[%d] must be a string, not a %s", what,
                        (int)i + 1, luaL_typename(L, -1));
    }
    text = lua_tolstring(L, -1, &len);
    if (aq_addr_parse(&out[i], text, len) != 0) {
      laq_bad_addr(L, text);
      return -1;
    }
    lua_pop(L, 1);
  }
  return (int)n;
}

int laq_field(lua_State *L, int table, const char *name) {
  lua_pushstring(L, name);
  lua_rawget(L, table);
  return lua_type(L, -1);
}

/* ---- values
 * ------------------------------------------------------------------ */

void laq_set_int(lua_State *L, const char *name, uint64_t v) {
  laq_pushint(L, v);
  lua_setfield(L, -2, name);
}

void laq_set_bool(lua_State *L, const char *name, int v) {
  lua_pushboolean(L, v);
  lua_setfield(L, -2, name);
}

void laq_set_time(lua_State *L, const char *name, uint64_t ns) {
  lua_pushnumber(L, (lua_Number)ns / 1e9);
  lua_setfield(L, -2, name);
}

void laq_set_string(lua_State *L, const char *name, const char *v) {
  lua_pushstring(L, v);
  lua_setfield(L, -2, name);
}

void laq_set_peer(lua_State *L, const char *name, const aq_peer_id *id) {
  lua_pushlstring(L, (const char *)id->bytes, sizeof(id->bytes));
  lua_setfield(L, -2, name);
}

void laq_push_addr(lua_State *L, const aq_addr *a) {
  char buf[AQ_ADDR_STRLEN];
  lua_pushstring(L, aq_addr_format(a, buf));
}

void laq_set_addr(lua_State *L, const char *name, const aq_addr *a) {
  if (a->family != 0) {
    laq_push_addr(L, a);
    lua_setfield(L, -2, name);
  }
}

void laq_set_some(lua_State *L, const char *name, uint64_t v) {
  if (v != 0) {
    laq_set_int(L, name, v);
  }
}

void laq_set_id(lua_State *L, const char *name, aq_id id) {
  laq_set_some(L, name, id);
}

void laq_set_text(lua_State *L, const char *name, const char *v) {
  if (v != NULL && v[0] != '\0') {
    laq_set_string(L, name, v);
  }
}

void laq_set_error(lua_State *L, const char *name, int err) {
  if (err != 0) {
    laq_set_string(L, name, aq_error_name(err));
  }
}

void laq_push_candidate(lua_State *L, const aq_candidate *c) {
  lua_createtable(L, 0, 6);
  laq_set_addr(L, "addr", &c->addr);
  laq_set_int(L, "priority", c->priority);
  laq_set_int(L, "seq", c->seq);
  laq_set_string(L, "source", aq_source_name(c->source));
  laq_set_string(L, "state", aq_cand_state_name(c->state));
  laq_set_bool(L, "verified", c->verified);
}

void laq_push_candidates(lua_State *L, const aq_candidate *v, size_t n) {
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    laq_push_candidate(L, &v[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
}
