/* laq_util.c - the functions of the module that need no endpoint.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq.h"

#define RANDOM_MAX 1024

static int util_version(lua_State *L) {
  lua_pushstring(L, aq_version());
  lua_pushstring(L, aq_dependency_versions());
  return 2;
}

static int util_errors(lua_State *L) {
  const char *name;
  int value = 0;
  lua_newtable(L);
  for (size_t i = 0; (name = aq_error_at(i, &value)) != NULL; i++) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
  }
  return 1;
}

static int util_error_text(lua_State *L) {
  const char *wanted = luaL_checkstring(L, 1);
  const char *name;
  int value = 0;
  for (size_t i = 0; (name = aq_error_at(i, &value)) != NULL; i++) {
    if (strcmp(name, wanted) == 0) {
      lua_pushstring(L, aq_error_text(value));
      return 1;
    }
  }
  lua_pushnil(L);
  return 1;
}

#define TEXT(name, text) text,
#define LIST(map)                                                              \
  { map(TEXT) NULL }

static void set_list(lua_State *L, const char *name, const char *const *v) {
  lua_newtable(L);
  for (int i = 0; v[i]; i++) {
    lua_pushstring(L, v[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, name);
}

static int util_names(lua_State *L) {
  static const char *const events[] = LIST(AQ_EVENT_MAP);
  static const char *const phases[] = LIST(AQ_PHASE_MAP);
  static const char *const states[] = LIST(AQ_STATE_MAP);
  static const char *const reasons[] = LIST(AQ_REASON_MAP);
  static const char *const sources[] = LIST(AQ_SOURCE_MAP);
  static const char *const cand_states[] = LIST(AQ_CAND_STATE_MAP);
  static const char *const pair_states[] = LIST(AQ_PAIR_STATE_MAP);
  lua_newtable(L);
  set_list(L, "events", events);
  set_list(L, "phases", phases);
  set_list(L, "states", states);
  set_list(L, "reasons", reasons);
  set_list(L, "sources", sources);
  set_list(L, "candidate_states", cand_states);
  set_list(L, "pair_states", pair_states);
  return 1;
}

static int util_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)aq_clock_now() / 1e9);
  return 1;
}

static int util_sleep(lua_State *L) {
  luaL_checknumber(L, 1);
  aq_runtime_poll(NULL, 0, laq_opt_seconds(L, 1, 0));
  return 0;
}

static int util_hex(lua_State *L) {
  static const char digits[] = "0123456789abcdef";
  size_t len = 0;
  const char *s = luaL_checklstring(L, 1, &len);
  laq_buffer b;
  uint8_t *out = laq_scratch(L, &b, 2 * len + 1);
  for (size_t i = 0; i < len; i++) {
    out[2 * i] = (uint8_t)digits[(uint8_t)s[i] >> 4];
    out[2 * i + 1] = (uint8_t)digits[(uint8_t)s[i] & 15];
  }
  laq_pushscratch(L, &b, 2 * len);
  return 1;
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int util_unhex(lua_State *L) {
  size_t len = 0;
  const char *s = luaL_checklstring(L, 1, &len);
  laq_buffer b;
  uint8_t *out;
  for (size_t i = 0; i < len; i++) {
    if (hex_value(s[i]) < 0) {
      return laq_fail(L, AQ_ERR_FORMAT, "not hexadecimal");
    }
  }
  if (len % 2 != 0) {
    return laq_fail(L, AQ_ERR_FORMAT, "an odd number of hexadecimal digits");
  }
  out = laq_scratch(L, &b, len / 2 + 1);
  for (size_t i = 0; i < len / 2; i++) {
    out[i] = (uint8_t)(hex_value(s[2 * i]) * 16 + hex_value(s[2 * i + 1]));
  }
  laq_pushscratch(L, &b, len / 2);
  return 1;
}

static int util_addr_parse(lua_State *L) {
  aq_addr a;
  const char *text;
  if (laq_check_addr(L, 1, &a, &text) != 0) {
    return laq_bad_addr(L, text);
  }
  laq_push_addr(L, &a);
  return 1;
}

static int util_addr_split(lua_State *L) {
  aq_addr a;
  char buf[AQ_ADDR_STRLEN];
  const char *text;
  const char *from = buf;
  const char *colon;
  if (laq_check_addr(L, 1, &a, &text) != 0) {
    return laq_bad_addr(L, text);
  }
  aq_addr_format(&a, buf);
  colon = strrchr(buf, ':');
  if (a.family == 6) {
    from++;
    colon--;
  }
  lua_pushlstring(L, from, (size_t)(colon - from));
  laq_pushint(L, a.port);
  laq_pushint(L, a.family);
  return 3;
}

static int util_peer_id_from_key(lua_State *L) {
  size_t len = 0;
  const char *key = luaL_checklstring(L, 1, &len);
  aq_peer_id id;
  int rc = aq_peer_id_from_key(&id, (const uint8_t *)key, len);
  if (rc != 0) {
    return laq_fail(L, rc, "a key has 32 or 1952 bytes");
  }
  lua_pushlstring(L, (const char *)id.bytes, sizeof(id.bytes));
  return 1;
}

static int util_random(lua_State *L) {
  uint8_t buf[RANDOM_MAX];
  size_t n = (size_t)laq_opt_range(L, 1, 0, 0, RANDOM_MAX);
  int rc = aq_random_bytes(buf, n);
  if (rc != 0) {
    return laq_fail(L, rc, "no random numbers");
  }
  lua_pushlstring(L, (const char *)buf, n);
  return 1;
}

static const luaL_Reg functions[] = {
    {"version", util_version},
    {"errors", util_errors},
    {"error_text", util_error_text},
    {"names", util_names},
    {"now", util_now},
    {"sleep", util_sleep},
    {"hex", util_hex},
    {"unhex", util_unhex},
    {"addr_parse", util_addr_parse},
    {"addr_split", util_addr_split},
    {"peer_id_from_key", util_peer_id_from_key},
    {"random", util_random},
    {NULL, NULL}};

void laq_open_util(lua_State *L) {
  laq_setfuncs(L, functions, 0);
}

const char *laq_step_name(uint64_t step) {
  return step == 0              ? "dial"
         : step == 1            ? "coordinate"
         : step == AQ_STEP_MOVE ? "move"
                                : aq_plan_name((aq_plan)(step - 2));
}

void laq_push_profile(lua_State *L, const aq_nat_profile *p) {
  lua_createtable(L, 0, 8);
  if (p->mapping != 0) {
    laq_set_string(L, "mapping", aq_nat_rule_name((aq_nat_rule)p->mapping));
  }
  if (p->filtering != 0) {
    laq_set_string(L, "filtering", aq_nat_rule_name((aq_nat_rule)p->filtering));
  }
  if (p->allocation != 0) {
    laq_set_string(L, "allocation",
                   aq_nat_allocation_name((aq_nat_allocation)p->allocation));
  }
  if (p->step != 0) {
    lua_pushinteger(L, p->step);
    lua_setfield(L, -2, "step");
  }
  if (p->block_size != 0) {
    laq_set_int(L, "block_size", p->block_size);
  }
}
