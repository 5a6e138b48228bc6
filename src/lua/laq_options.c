/* laq_options.c - the one table that core.endpoint takes.
 *
 * The Lua side has checked it and knows better words; here the types are
 * checked again, because a script may come here directly.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq.h"

#include <stdio.h>

typedef enum field_type { BOOL, U32, U64, SIZE, SECONDS } field_type;

typedef struct field {
  const char *name;
  field_type type;
  size_t offset;
} field;

#define F(name, type)                                                          \
  { #name, type, offsetof(aq_endpoint_params, name) }
static const field fields[] = {
    F(can_coordinate, BOOL),
    F(enable_symmetric_nat, BOOL),
    F(enable_relay_fallback, BOOL),
    F(accept, BOOL),
    F(allow_reserved, BOOL),
    F(always_retry, BOOL),
    F(ask_accept, BOOL),
    F(ask_candidates, BOOL),
    F(nat_profile, BOOL),
    F(can_relay, BOOL),
    F(max_candidates, U32),
    F(max_concurrent_attempts, U32),
    F(max_connections, U32),
    F(max_half_open, U32),
    F(relay_rate, U64),
    F(relay_total_rate, U64),
    F(coordination_timeout, SECONDS),
    F(idle_timeout, SECONDS),
    F(keep_alive, SECONDS),
    F(handshake_timeout, SECONDS),
    F(stream_window, U64),
    F(conn_window, U64),
    F(max_streams_bidi, U64),
    F(max_streams_uni, U64),
    F(send_buffer, SIZE),
    F(datagram_queue, SIZE),
};
#undef F
#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

static int bad(lua_State *L, int rc, const char *format, const char *a) {
  lua_pushnil(L);
  lua_pushfstring(L, format, a);
  lua_pushstring(L, aq_error_name(rc));
  return 3;
}

static void wrong(lua_State *L, const char *name, const char *wanted) {
  luaL_error(L, "option '%s' must be %s, not a %s", name, wanted,
             luaL_typename(L, -1));
}

static int read_integer(lua_State *L, const field *f, void *to) {
  int64_t v = 0;
  if (!laq_toint(L, -1, &v)) {
    wrong(L, f->name, "an integer");
  }
  if (v < 0 || (f->type == U32 && v > (int64_t)UINT32_MAX)) {
    return bad(L, AQ_ERR_CONFIG, "option '%s' is out of range", f->name);
  }
  if (f->type == U32) {
    *(uint32_t *)to = (uint32_t)v;
  } else if (f->type == U64) {
    *(uint64_t *)to = (uint64_t)v;
  } else {
    *(size_t *)to = (size_t)v;
  }
  return 0;
}

/* The value is on top of the stack. Returns 0 or 3. */
static int read_field(lua_State *L, const field *f, aq_endpoint_params *p) {
  void *to = (char *)p + f->offset;
  if (f->type == BOOL) {
    if (!lua_isboolean(L, -1)) {
      wrong(L, f->name, "a boolean");
    }
    *(uint8_t *)to = (uint8_t)lua_toboolean(L, -1);
    return 0;
  }
  if (f->type == SECONDS) {
    lua_Number s;
    if (lua_type(L, -1) != LUA_TNUMBER) {
      wrong(L, f->name, "a number of seconds");
    }
    s = lua_tonumber(L, -1);
    if (!(s >= 0)) {
      return bad(L, AQ_ERR_CONFIG, "option '%s' is negative or NaN", f->name);
    }
    *(aq_duration *)to = laq_seconds(s);
    return 0;
  }
  return read_integer(L, f, to);
}

int laq_option_choice(lua_State *L, int t, const char *name,
                      const char *const *choices, int def) {
  int found = -1;
  if (laq_field(L, t, name) == LUA_TNIL) {
    found = def;
  } else if (lua_type(L, -1) == LUA_TSTRING) {
    const char *s = lua_tostring(L, -1);
    for (int i = 0; choices[i]; i++) {
      if (strcmp(choices[i], s) == 0) {
        found = i;
      }
    }
    if (found < 0) {
      luaL_error(L, "option '%s' can't be \"%s\"", name, s);
    }
  } else {
    wrong(L, name, "a string");
  }
  lua_pop(L, 1);
  return found;
}

/* A list option: pushes it and returns its length, or pushes nil, returns -1
 * when it is absent. */
static int open_list(lua_State *L, int t, const char *name, size_t max) {
  size_t n;
  int type = laq_field(L, t, name);
  if (type == LUA_TNIL) {
    return -1;
  }
  if (type != LUA_TTABLE) {
    wrong(L, name, "a list");
  }
  n = laq_rawlen(L, -1);
  if (n > max) {
    luaL_error(L, "option '%s' has more than %d entries", name, (int)max);
  }
  return (int)n;
}

static const char *entry_string(lua_State *L, const char *name, int i,
                                size_t *len) {
  if (lua_type(L, -1) != LUA_TSTRING) {
    luaL_error(L, "option '%s[%d]' must be a string, not a %s", name, i,
               luaL_typename(L, -1));
  }
  return lua_tolstring(L, -1, len);
}

static void read_alpn(lua_State *L, int t, aq_endpoint_params *p) {
  int n = open_list(L, t, "alpn", AQ_MAX_ALPN);
  for (int i = 1; i <= n; i++) {
    size_t len = 0;
    const char *s;
    lua_rawgeti(L, -1, i);
    s = entry_string(L, "alpn", i, &len);
    if (len == 0 || len >= AQ_MAX_ALPN_LEN || strlen(s) != len) {
      luaL_error(L, "option 'alpn[%d]' must have 1 to %d bytes and no NUL", i,
                 AQ_MAX_ALPN_LEN - 1);
    }
    memset(p->alpn[i - 1], 0, AQ_MAX_ALPN_LEN);
    memcpy(p->alpn[i - 1], s, len);
    lua_pop(L, 1);
  }
  if (n > 0) {
    p->alpn_count = (size_t)n;
  }
  lua_pop(L, 1);
}

static void read_peer(lua_State *L, const char *name, int i, aq_peer_id *out) {
  size_t len = 0;
  const char *s = entry_string(L, name, i, &len);
  if (len != sizeof(out->bytes)) {
    luaL_error(L, "option '%s[%d]': a peer id has 32 bytes", name, i);
  }
  memcpy(out->bytes, s, len);
}

static int read_bootstrap(lua_State *L, int t, aq_endpoint_params *p) {
  int n = open_list(L, t, "bootstrap_nodes", AQ_MAX_BOOTSTRAP);
  for (int i = 1; i <= n; i++) {
    aq_bootstrap_addr *b = &p->bootstrap[i - 1];
    const char *text;
    size_t len = 0;
    int entry;
    lua_rawgeti(L, -1, i);
    if (lua_type(L, -1) != LUA_TTABLE) {
      luaL_error(L, "option 'bootstrap_nodes[%d]' must be a table", i);
    }
    entry = lua_gettop(L);
    laq_field(L, entry, "addr");
    text = entry_string(L, "bootstrap_nodes", i, &len);
    if (aq_addr_parse(&b->addr, text, len) != 0) {
      return laq_bad_addr(L, text);
    }
    lua_pop(L, 1);
    b->pinned = laq_field(L, entry, "peer") != LUA_TNIL;
    if (b->pinned) {
      read_peer(L, "bootstrap_nodes", i, &b->peer);
    }
    lua_pop(L, 2);
  }
  if (n > 0) {
    p->bootstrap_count = (size_t)n;
  }
  lua_pop(L, 1);
  return 0;
}

/* Leaves one value on the stack: the memory of the list. */
static void read_allow(lua_State *L, int t, aq_endpoint_params *p) {
  aq_peer_id *v;
  int n = open_list(L, t, "allow", INT32_MAX / sizeof(aq_peer_id));
  if (n < 0) {
    return;
  }
  v = laq_newuserdata(L, (size_t)(n + 1) * sizeof(*v));
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, -2, i);
    read_peer(L, "allow", i, &v[i - 1]);
    lua_pop(L, 1);
  }
  lua_remove(L, -2);
  p->allow = v;
  p->allow_count = (size_t)n;
}

static int read_switch(lua_State *L, int t, const char *name) {
  int v;
  if (laq_field(L, t, name) != LUA_TNIL && !lua_isboolean(L, -1)) {
    wrong(L, name, "a boolean");
  }
  v = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return v;
}

static void on_trace(void *user, aq_log_level level, const char *text) {
  static const char *const names[] = {"error", "warn", "info", "debug"};
  const aq_log_level *max = user;
  if (level <= *max) {
    fprintf(stderr, "antquic: %s: %s\n", names[level], text);
  }
}

void laq_option_trace(lua_State *L, int t, aq_env *env) {
  static const char *const choices[] = {"error", "warn", "info", "debug", NULL};
  static aq_log_level levels[] = {AQ_LOG_ERROR, AQ_LOG_WARN, AQ_LOG_INFO,
                                  AQ_LOG_DEBUG};
  int i = laq_option_choice(L, t, "trace", choices, -1);
  memset(env, 0, sizeof(*env));
  if (i >= 0) {
    env->trace = on_trace;
    env->user = &levels[i];
  }
}

int laq_options(lua_State *L, int t, aq_endpoint_params *p,
                aq_runtime_params *rp) {
  static const char *const roles[] = {"client", "server", "bootstrap", NULL};
  static const char *const strategies[] = {"auto", "steps", NULL};
  static const char *const pqc[] = {"hybrid", "off", NULL};
  int n;
  int rc;
  luaL_checktype(L, t, LUA_TTABLE);
  aq_endpoint_params_init(p);
  memset(rp, 0, sizeof(*rp));
  for (size_t i = 0; i < FIELD_COUNT; i++) {
    if (laq_field(L, t, fields[i].name) != LUA_TNIL &&
        (rc = read_field(L, &fields[i], p)) != 0) {
      return rc;
    }
    lua_pop(L, 1);
  }
  p->role = (aq_role)laq_option_choice(L, t, "role", roles, (int)p->role);
  p->strategy =
      (uint8_t)laq_option_choice(L, t, "strategy", strategies, p->strategy);
  p->pqc = (aq_pqc)laq_option_choice(L, t, "pqc", pqc, (int)p->pqc);
  rp->no_gso = (uint8_t)read_switch(L, t, "no_gso");
  rp->no_gro = (uint8_t)read_switch(L, t, "no_gro");
  rp->no_ecn = (uint8_t)read_switch(L, t, "no_ecn");
  read_alpn(L, t, p);
  rc = read_bootstrap(L, t, p);
  if (rc != 0) {
    return rc;
  }
  laq_field(L, t, "bind");
  n = laq_opt_addrs(L, lua_gettop(L), rp->bind, AQ_MAX_SOCKETS,
                    "option 'bind'");
  if (n < 0) {
    return 3;
  }
  rp->bind_count = (size_t)n;
  lua_pop(L, 1);
  read_allow(L, t, p);
  return 0;
}

void laq_option_identity(lua_State *L, int t, aq_endpoint_params *p) {
  laq_field(L, t, "identity");
  if (!laq_testudata(L, -1, LAQ_IDENTITY)) {
    wrong(L, "identity", "an identity");
  }
  p->identity = laq_to_identity(L, -1);
}
