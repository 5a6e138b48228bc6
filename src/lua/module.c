/* module.c - luaopen_antquic_core, the one exported symbol.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq.h"

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
int luaopen_antquic_core(lua_State *L);

int luaopen_antquic_core(lua_State *L) {
  laq_checkversion(L);
  lua_newtable(L);
  laq_open_util(L);
  laq_open_fd(L);
  laq_open_identity(L);
  laq_open_endpoint(L);
  laq_open_sim(L);
  return 1;
}
