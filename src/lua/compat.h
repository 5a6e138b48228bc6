/* compat.h - one spelling of the Lua API for 5.1, LuaJIT and 5.2 to 5.4.
 *
 * Layer:  lua
 * Owner:  none; macros and inline functions
 * Time:   none
 * Spec:   the reference manuals' sections 8
 *
 * SPDX-License-Identifier: MIT */
#ifndef LAQ_COMPAT_H
#define LAQ_COMPAT_H

#include <lauxlib.h>
#include <lua.h>

#include <stdint.h>
#include <string.h>

/* 2^53: what a double counts to. */
#define LAQ_INT_MAX ((uint64_t)1 << 53)

#if LUA_VERSION_NUM >= 504
#define laq_newuserdata(L, size) lua_newuserdatauv((L), (size), 0)
#else
#define laq_newuserdata(L, size) lua_newuserdata((L), (size))
#endif

#if LUA_VERSION_NUM >= 502
#define laq_rawlen(L, i) ((size_t)lua_rawlen((L), (i)))
#define laq_checkversion(L) luaL_checkversion(L)
#define laq_setfuncs luaL_setfuncs
#define laq_setmetatable luaL_setmetatable
#define laq_testudata luaL_testudata
#else
#define laq_rawlen(L, i) lua_objlen((L), (i))
#define laq_checkversion(L) ((void)(L))

static inline void laq_setfuncs(lua_State *L, const luaL_Reg *l, int nup) {
  luaL_checkstack(L, nup + 2, "too many upvalues");
  for (; l->name != NULL; l++) {
    for (int i = 0; i < nup; i++) {
      lua_pushvalue(L, -nup);
    }
    lua_pushcclosure(L, l->func, nup);
    lua_setfield(L, -(nup + 2), l->name);
  }
  lua_pop(L, nup);
}

static inline void laq_setmetatable(lua_State *L, const char *name) {
  luaL_getmetatable(L, name);
  lua_setmetatable(L, -2);
}

static inline void *laq_testudata(lua_State *L, int arg, const char *name) {
  void *p = lua_touserdata(L, arg);
  int same;
  if (p == NULL || !lua_getmetatable(L, arg)) {
    return NULL;
  }
  luaL_getmetatable(L, name);
  same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same ? p : NULL;
}
#endif

/* laq_pushint pushes an integer where Lua has them, else a number; beyond the
 * largest it stays at that. */
static inline void laq_pushint(lua_State *L, uint64_t v) {
#if LUA_VERSION_NUM >= 503
  lua_pushinteger(L, v > INT64_MAX ? INT64_MAX : (lua_Integer)v);
#else
  lua_pushnumber(L, (lua_Number)v);
#endif
}

/* laq_toint reads a whole number. Returns 0 when the value is not one. */
static inline int laq_toint(lua_State *L, int arg, int64_t *out) {
#if LUA_VERSION_NUM >= 503
  int ok = 0;
  if (lua_type(L, arg) == LUA_TNUMBER) {
    *out = lua_tointegerx(L, arg, &ok);
  }
  return ok;
#else
  lua_Number n;
  if (lua_type(L, arg) != LUA_TNUMBER) {
    return 0;
  }
  n = lua_tonumber(L, arg);
  if (!(n >= -9007199254740992.0 && n <= 9007199254740992.0)) {
    return 0;
  }
  *out = (int64_t)n;
  return (lua_Number)*out == n;
#endif
}

/* Bytes that become a string: laq_scratch gives |size| of them, then
 * laq_pushscratch makes a string of the first |len|. Nothing may be left on
 * the stack in between. */
#if LUA_VERSION_NUM >= 502
typedef luaL_Buffer laq_buffer;
static inline uint8_t *laq_scratch(lua_State *L, laq_buffer *b, size_t size) {
  return (uint8_t *)luaL_buffinitsize(L, b, size);
}
static inline void laq_pushscratch(lua_State *L, laq_buffer *b, size_t len) {
  (void)L;
  luaL_pushresultsize(b, len);
}
#else
typedef void *laq_buffer;
static inline uint8_t *laq_scratch(lua_State *L, laq_buffer *b, size_t size) {
  *b = lua_newuserdata(L, size);
  return *b;
}
static inline void laq_pushscratch(lua_State *L, laq_buffer *b, size_t len) {
  lua_pushlstring(L, *b, len);
  lua_remove(L, -2);
}
#endif

#endif
