/* laq_sim_tables.c - links, NATs and IPs as tables and strings.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq_sim.h"

#include <stdio.h>

/* ---- IPs --------------------------------------------------------------------
 */

/* An address without a port. Returns 0 or AQ_ERR_ADDRESS. */
int laq_sim_parse_ip(const char *text, aq_addr *out) {
  char buf[AQ_ADDR_STRLEN];
  int n =
      snprintf(buf, sizeof(buf), strchr(text, ':') ? "[%s]:0" : "%s:0", text);
  return n < (int)sizeof(buf) ? aq_addr_parse(out, buf, (size_t)n)
                              : AQ_ERR_ADDRESS;
}

int laq_sim_bad_ip(lua_State *L, const char *text) {
  lua_pushnil(L);
  lua_pushfstring(
      L, "\"%s\" is not an IP address: write \"192.0.2.1\" or \"2001:db8::1\"",
      text);
  lua_pushstring(L, aq_error_name(AQ_ERR_ADDRESS));
  return 3;
}

void laq_sim_push_ip(lua_State *L, const aq_addr *a) {
  char buf[AQ_ADDR_STRLEN];
  const char *from = buf;
  aq_addr_format(a, buf);
  char *end = strrchr(buf, ':');
  if (a->family == 6) {
    from++;
    end--;
  }
  lua_pushlstring(L, from, (size_t)(end - from));
}

/* A list of IPs, or one, on top of the stack, which is popped. Returns how
 * many, or -1 with bad_ip's three values pushed. */
int laq_sim_read_ips(lua_State *L, aq_addr *out, const char *what) {
  int list = lua_gettop(L);
  int one = lua_type(L, list) == LUA_TSTRING;
  size_t n = one ? 1 : 0;
  if (!one && !lua_isnil(L, list)) {
    if (lua_type(L, list) != LUA_TTABLE) {
      return luaL_error(L, "%s must be an address or a list of them", what);
    }
    n = laq_rawlen(L, list);
  }
  if (n > AQ_SIM_MAX_ADDRS) {
    return luaL_error(L, "%s: more than %d addresses", what, AQ_SIM_MAX_ADDRS);
  }
  for (size_t i = 0; i < n; i++) {
    if (one) {
      lua_pushvalue(L, list);
    } else {
      lua_rawgeti(L, list, (int)i + 1);
    }
    if (lua_type(L, -1) != LUA_TSTRING) {
      return luaL_error(L, "%s must be strings", what);
    }
    if (laq_sim_parse_ip(lua_tostring(L, -1), &out[i]) != 0) {
      laq_sim_bad_ip(L, lua_tostring(L, -1));
      return -1;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return (int)n;
}

/* ---- fields of tables
 * ------------------------------------------------------------
 */

typedef enum field_type {
  SHARE,   /* double */
  SECONDS, /* aq_duration */
  BOOL,
  U8,
  U16,
  U32,
  I32,
  U64
} field_type;

typedef struct field {
  const char *name;
  field_type type;
  size_t offset;
} field;

static void read_number(lua_State *L, const field *f, char *to) {
  int64_t v = 0;
  if (f->type == SHARE || f->type == SECONDS) {
    if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) >= 0)) {
      luaL_error(L, "'%s' must be a number that is not negative", f->name);
    }
    if (f->type == SHARE) {
      *(double *)(void *)to = lua_tonumber(L, -1);
    } else {
      *(aq_duration *)(void *)to = laq_seconds(lua_tonumber(L, -1));
    }
    return;
  }
  if (!laq_toint(L, -1, &v) || (v < 0 && f->type != I32) ||
      (f->type == U8 && v > UINT8_MAX) || (f->type == U16 && v > UINT16_MAX) ||
      (f->type == U32 && v > UINT32_MAX) ||
      (f->type == I32 && (v > INT32_MAX || v < INT32_MIN))) {
    luaL_error(L, "'%s' must be an integer that fits", f->name);
  }
  if (f->type == U8) {
    *(uint8_t *)(void *)to = (uint8_t)v;
  } else if (f->type == U16) {
    *(uint16_t *)(void *)to = (uint16_t)v;
  } else if (f->type == U32) {
    *(uint32_t *)(void *)to = (uint32_t)v;
  } else if (f->type == I32) {
    *(int32_t *)(void *)to = (int32_t)v;
  } else {
    *(uint64_t *)(void *)to = (uint64_t)v;
  }
}

static void read_fields(lua_State *L, int t, const field *f, size_t n,
                        void *out) {
  for (size_t i = 0; i < n; i++) {
    if (laq_field(L, t, f[i].name) != LUA_TNIL) {
      char *to = (char *)out + f[i].offset;
      if (f[i].type == BOOL) {
        if (!lua_isboolean(L, -1)) {
          luaL_error(L, "'%s' must be a boolean", f[i].name);
        }
        *(uint8_t *)to = (uint8_t)lua_toboolean(L, -1);
      } else {
        read_number(L, &f[i], to);
      }
    }
    lua_pop(L, 1);
  }
}

#define COUNT(v) (sizeof(v) / sizeof((v)[0]))
#define F(type, name)                                                          \
  { #name, type, offsetof(aq_sim_link, name) }
static const field link_fields[] = {
    F(SECONDS, delay), F(SECONDS, jitter), F(SHARE, loss),
    F(SHARE, burst),   F(SHARE, dup),      F(SHARE, reorder),
    F(U64, rate),      F(U64, queue),      F(SECONDS, reorder_delay),
    F(U32, mtu),       F(BOOL, down),      F(U8, hops),
};
#undef F
#define F(type, name)                                                          \
  { #name, type, offsetof(aq_sim_nat_params, name) }
static const field nat_fields[] = {
    F(U16, low),          F(U16, high),
    F(I32, step),         F(U16, block_base),
    F(U16, block_size),   F(U16, max_blocks),
    F(BOOL, arbitrary),   F(BOOL, blocked),
    F(BOOL, poison),      F(BOOL, inbound_refresh),
    F(BOOL, same_port),   F(BOOL, inbound_session),
    F(SECONDS, idle),     F(SECONDS, absolute),
    F(SHARE, background), F(U32, max_flows),
};
#undef F

void laq_sim_read_link(lua_State *L, int t, aq_sim_link *link) {
  luaL_checktype(L, t, LUA_TTABLE);
  read_fields(L, t, link_fields, COUNT(link_fields), link);
  if (aq_sim_link_check(link) != 0) {
    luaL_error(L, "a link's loss, dup and reorder are from 0 to 1, its delay, "
                  "jitter and reorder_delay at most an hour, its burst at most "
                  "a million");
  }
}

static void push_fields(lua_State *L, const field *f, size_t n,
                        const void *from) {
  for (size_t i = 0; i < n; i++) {
    const char *at = (const char *)from + f[i].offset;
    switch (f[i].type) {
    case SHARE:
      lua_pushnumber(L, *(const double *)(const void *)at);
      break;
    case SECONDS:
      lua_pushnumber(L, (lua_Number) * (const aq_duration *)(const void *)at /
                            1e9);
      break;
    case BOOL:
      lua_pushboolean(L, *(const uint8_t *)at);
      break;
    case U8:
      lua_pushinteger(L, *(const uint8_t *)at);
      break;
    case U16:
      lua_pushinteger(L, *(const uint16_t *)(const void *)at);
      break;
    case U32:
      laq_pushint(L, *(const uint32_t *)(const void *)at);
      break;
    case I32:
      lua_pushinteger(L, *(const int32_t *)(const void *)at);
      break;
    case U64:
      laq_pushint(L, *(const uint64_t *)(const void *)at);
      break;
    }
    lua_setfield(L, -2, f[i].name);
  }
}

void laq_sim_push_link(lua_State *L, const aq_sim_link *link) {
  lua_createtable(L, 0, 12);
  push_fields(L, link_fields, COUNT(link_fields), link);
}

/* ---- NATs
 * ---------------------------------------------------------------------
 */

static const char *const mapping_names[] = {"ei",   "ad",   "apd",
                                            "flow", "none", NULL};
static const char *const filtering_names[] = {"ei", "ad", "apd", NULL};
static const char *const ports_names[] = {"preserve", "sequential", "random",
                                          "block", NULL};
static const char *const hairpin_names[] = {"no", "external", "internal", NULL};
static const char *const v6_names[] = {"off", "open", "firewall", NULL};

static void read_nat_choices(lua_State *L, int t, aq_sim_nat_params *p) {
  p->mapping = (aq_sim_mapping)laq_option_choice(L, t, "mapping", mapping_names,
                                                 (int)p->mapping);
  p->filtering = (aq_sim_filtering)laq_option_choice(
      L, t, "filtering", filtering_names, (int)p->filtering);
  p->ports = (aq_sim_ports)laq_option_choice(L, t, "ports", ports_names,
                                             (int)p->ports);
  p->hairpin = (aq_sim_hairpin)laq_option_choice(L, t, "hairpin", hairpin_names,
                                                 (int)p->hairpin);
  p->v6 = (aq_sim_v6)laq_option_choice(L, t, "v6", v6_names, (int)p->v6);
}

int laq_sim_read_nat(lua_State *L, int t, aq_sim_nat_params *p) {
  int n;
  aq_sim_nat_params_init(p);
  if (laq_field(L, t, "type") != LUA_TNIL &&
      (lua_type(L, -1) != LUA_TSTRING ||
       aq_sim_nat_type(p, lua_tostring(L, -1)) != 0)) {
    return luaL_error(L, "'type' is not one of core.sim_nat_types()");
  }
  lua_pop(L, 1);
  read_nat_choices(L, t, p);
  read_fields(L, t, nat_fields, COUNT(nat_fields), p);
  laq_field(L, t, "addresses");
  n = laq_sim_read_ips(L, p->addr, "'addresses'");
  if (n < 0) {
    return 3;
  }
  p->naddr = n > 0 ? (size_t)n : p->naddr;
  if (laq_field(L, t, "pool") != LUA_TNIL && n == 0) {
    p->naddr = (size_t)laq_opt_range(L, lua_gettop(L), 1, 1, AQ_SIM_MAX_ADDRS);
  }
  lua_pop(L, 1);
  laq_field(L, t, "network");
  n = laq_sim_read_ips(L, &p->network, "'network'");
  if (n < 0) {
    return 3;
  }
  return 0;
}

void laq_sim_push_nat(lua_State *L, const aq_sim_nat_params *p) {
  lua_createtable(L, 0, 26);
  push_fields(L, nat_fields, COUNT(nat_fields), p);
  laq_set_string(L, "mapping", mapping_names[p->mapping]);
  laq_set_string(L, "filtering", filtering_names[p->filtering]);
  laq_set_string(L, "ports", ports_names[p->ports]);
  laq_set_string(L, "hairpin", hairpin_names[p->hairpin]);
  laq_set_string(L, "v6", v6_names[p->v6]);
  laq_set_int(L, "pool", p->naddr > 0 ? p->naddr : 1);
}
