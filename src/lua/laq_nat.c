/* laq_nat.c - the NAT profile as a table.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq.h"

static void push_evidence(lua_State *L, const aq_nat_evidence *v, size_t n) {
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    const aq_nat_evidence *e = &v[i];
    lua_createtable(L, 0, 10);
    laq_set_string(L, "test", aq_nat_test_name((aq_nat_test)e->test));
    laq_set_bool(L, "answered", e->answered);
    laq_set_int(L, "tries", e->tries);
    laq_set_bool(L, "other_port", e->flags & 1);
    laq_set_bool(L, "other_address", e->flags & 2);
    laq_set_int(L, "delay", e->delay);
    laq_set_time(L, "at", e->at);
    laq_set_addr(L, "local_addr", &e->local);
    laq_set_addr(L, "to", &e->to);
    laq_set_addr(L, "from", &e->from);
    laq_set_addr(L, "seen", &e->seen);
    lua_rawseti(L, -2, (int)i + 1);
  }
}

static int ep_nat_profile(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  int brief = lua_toboolean(L, 2);
  aq_nat_report *r = laq_newuserdata(L, sizeof(*r));
  const aq_nat_profile *p = &r->profile;
  aq_endpoint_get_nat(e->ep, r);
  lua_createtable(L, 0, 20);
  laq_set_string(L, "mapping", aq_nat_rule_name((aq_nat_rule)p->mapping));
  laq_set_string(L, "filtering", aq_nat_rule_name((aq_nat_rule)p->filtering));
  laq_set_string(L, "filtering_most",
                 aq_nat_rule_name((aq_nat_rule)r->filtering_most));
  laq_set_string(L, "allocation",
                 aq_nat_allocation_name((aq_nat_allocation)p->allocation));
  if (p->step != 0) {
    lua_pushinteger(L, p->step);
    lua_setfield(L, -2, "step");
  }
  if (p->block_size != 0) {
    laq_set_int(L, "block_base", p->block_base);
    laq_set_int(L, "block_size", p->block_size);
  }
  if (p->hairpin != 0) {
    laq_set_bool(L, "hairpin", p->hairpin == 2);
    laq_set_bool(L, "hairpin_internal", r->hairpin_internal);
  }
  laq_set_some(L, "idle", p->idle);
  laq_set_some(L, "idle_gone", r->idle_gone);
  laq_set_some(L, "absolute", p->absolute);
  laq_set_bool(L, "lifetime_known", r->lifetime_known);
  laq_set_bool(L, "complete", r->complete);
  if (r->measured_at != 0) {
    laq_set_time(L, "measured_at", r->measured_at);
  }
  laq_set_time(L, "keep_alive", r->keep_alive);
  laq_set_addr(L, "last", &p->last);
  lua_createtable(L, p->external_count, 0);
  for (int i = 0; i < p->external_count; i++) {
    laq_push_addr(L, &p->external[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "external");
  push_evidence(L, r->evidence, brief ? 0 : r->evidence_count);
  lua_setfield(L, -2, "evidence");
  return 1;
}

const luaL_Reg laq_nat_methods[] = {{"nat_profile", ep_nat_profile},
                                    {NULL, NULL}};
