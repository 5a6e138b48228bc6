/* laq_identity.c - keys and digests: the two small userdata.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq.h"

#include <stdio.h>

typedef struct laq_identity {
  aq_identity *id; /* NULL: not made, or collected */
} laq_identity;

typedef struct laq_sha256 {
  aq_sha256 *s;
} laq_sha256;

/* ---- identity
 * ---------------------------------------------------------------- */

/* The box is there, with its metatable, before there is something in it. */
static laq_identity *identity_box(lua_State *L) {
  laq_identity *box = laq_newuserdata(L, sizeof(*box));
  box->id = NULL;
  laq_setmetatable(L, LAQ_IDENTITY);
  return box;
}

const aq_identity *laq_to_identity(lua_State *L, int arg) {
  laq_identity *box = luaL_checkudata(L, arg, LAQ_IDENTITY);
  if (!box->id) {
    luaL_error(L, "attempt to use a collected identity");
  }
  return box->id;
}

static int identity_generate(lua_State *L) {
  laq_identity *box = identity_box(L);
  int rc = aq_identity_generate(&box->id);
  return rc == 0 ? 1 : laq_fail(L, rc, "cannot make a key");
}

static int identity_from_seed(lua_State *L) {
  size_t len = 0;
  const char *seed = luaL_checklstring(L, 1, &len);
  laq_identity *box;
  int rc;
  luaL_argcheck(L, len == 32, 1, "a seed has 32 bytes");
  box = identity_box(L);
  rc = aq_identity_from_seed(&box->id, (const uint8_t *)seed);
  return rc == 0 ? 1 : laq_fail(L, rc, "cannot make a key");
}

static int identity_load(lua_State *L) {
  size_t len = 0;
  const char *path = luaL_checklstring(L, 1, &len);
  int create = lua_toboolean(L, 2);
  char why[512] = "";
  laq_identity *box;
  int rc;
  luaL_argcheck(L, strlen(path) == len, 1, "the path has a NUL byte");
  box = identity_box(L);
  rc = aq_identity_load(&box->id, path, create, why, sizeof(why));
  if (rc == 0) {
    return 1;
  }
  if (why[0] == '\0') {
    return laq_fail(L, rc, path);
  }
  lua_pushnil(L);
  lua_pushstring(L, why);
  lua_pushstring(L, aq_error_name(rc));
  return 3;
}

static int is_identity(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, laq_testudata(L, 1, LAQ_IDENTITY) != NULL);
  return 1;
}

static int identity_peer_id(lua_State *L) {
  const aq_peer_id *id = aq_identity_peer_id(laq_to_identity(L, 1));
  lua_pushlstring(L, (const char *)id->bytes, sizeof(id->bytes));
  return 1;
}

static int identity_public_key(lua_State *L) {
  const uint8_t *key = aq_identity_public_key(laq_to_identity(L, 1));
  lua_pushlstring(L, (const char *)key, AQ_ED25519_KEY_LEN);
  return 1;
}

static int identity_gc(lua_State *L) {
  laq_identity *box = luaL_checkudata(L, 1, LAQ_IDENTITY);
  aq_identity *id = box->id;
  box->id = NULL;
  if (id) {
    aq_identity_del(id);
  }
  return 0;
}

static int identity_tostring(lua_State *L) {
  laq_identity *box = luaL_checkudata(L, 1, LAQ_IDENTITY);
  char hex[65];
  if (!box->id) {
    lua_pushliteral(L, LAQ_IDENTITY "{collected}");
    return 1;
  }
  aq_peer_id_format(aq_identity_peer_id(box->id), hex);
  lua_pushfstring(L, LAQ_IDENTITY "{peer=%s}", hex);
  return 1;
}

/* ---- SHA-256
 * ------------------------------------------------------------------ */

static aq_sha256 *check_sha256(lua_State *L) {
  laq_sha256 *box = luaL_checkudata(L, 1, LAQ_SHA256);
  if (!box->s) {
    luaL_error(L, "attempt to use a collected digest");
  }
  return box->s;
}

static int sha256_new(lua_State *L) {
  laq_sha256 *box = laq_newuserdata(L, sizeof(*box));
  int rc;
  box->s = NULL;
  laq_setmetatable(L, LAQ_SHA256);
  rc = aq_sha256_new(&box->s);
  return rc == 0 ? 1 : laq_fail(L, rc, "SHA-256");
}

static int sha256_update(lua_State *L) {
  aq_sha256 *s = check_sha256(L);
  size_t len = 0;
  const char *data = luaL_checklstring(L, 2, &len);
  int rc = aq_sha256_update(s, (const uint8_t *)data, len);
  if (rc != 0) {
    return laq_fail(L, rc, "SHA-256");
  }
  lua_settop(L, 1);
  return 1;
}

static int sha256_digest(lua_State *L) {
  uint8_t out[32];
  int rc = aq_sha256_digest(check_sha256(L), out);
  if (rc != 0) {
    return laq_fail(L, rc, "SHA-256");
  }
  lua_pushlstring(L, (const char *)out, sizeof(out));
  return 1;
}

static int sha256_hex(lua_State *L) {
  uint8_t out[32];
  char hex[65];
  aq_peer_id id;
  int rc = aq_sha256_digest(check_sha256(L), out);
  if (rc != 0) {
    return laq_fail(L, rc, "SHA-256");
  }
  memcpy(id.bytes, out, sizeof(out)); /* also 32 bytes in hexadecimal */
  lua_pushstring(L, aq_peer_id_format(&id, hex));
  return 1;
}

static int sha256_gc(lua_State *L) {
  laq_sha256 *box = luaL_checkudata(L, 1, LAQ_SHA256);
  aq_sha256 *s = box->s;
  box->s = NULL;
  if (s) {
    aq_sha256_del(s);
  }
  return 0;
}

/* ---- opening
 * -------------------------------------------------------------------- */

static const luaL_Reg identity_methods[] = {{"peer_id", identity_peer_id},
                                            {"public_key", identity_public_key},
                                            {NULL, NULL}};
static const luaL_Reg identity_meta[] = {
    {"__gc", identity_gc}, {"__tostring", identity_tostring}, {NULL, NULL}};
static const luaL_Reg sha256_methods[] = {{"update", sha256_update},
                                          {"digest", sha256_digest},
                                          {"hex", sha256_hex},
                                          {NULL, NULL}};
static const luaL_Reg sha256_meta[] = {{"__gc", sha256_gc}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"identity_generate", identity_generate},
                                     {"identity_from_seed", identity_from_seed},
                                     {"identity_load", identity_load},
                                     {"is_identity", is_identity},
                                     {"sha256_new", sha256_new},
                                     {NULL, NULL}};

static void make_type(lua_State *L, const char *name, const luaL_Reg *meta,
                      const luaL_Reg *methods) {
  luaL_newmetatable(L, name);
  lua_pushstring(L, name); /* 5.1 and 5.2 don't set it */
  lua_setfield(L, -2, "__name");
  laq_setfuncs(L, meta, 0);
  lua_newtable(L);
  laq_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

void laq_open_identity(lua_State *L) {
  make_type(L, LAQ_IDENTITY, identity_meta, identity_methods);
  make_type(L, LAQ_SHA256, sha256_meta, sha256_methods);
  laq_setfuncs(L, functions, 0);
}
