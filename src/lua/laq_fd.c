/* laq_fd.c - descriptors and small files of the program.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq.h"

#define READ_MAX 65536

static int fd_read(lua_State *L) {
  lua_Integer fd = luaL_checkinteger(L, 1);
  size_t max = (size_t)laq_opt_range(L, 2, READ_MAX, 1, READ_MAX);
  size_t n = 0;
  laq_buffer b;
  luaL_argcheck(L, fd >= 0 && fd <= 0x7fffffff, 1, "not a descriptor");
  uint8_t *out = laq_scratch(L, &b, max);
  int rc = aq_fd_read((int)fd, out, max, &n);
  if (rc != 0) {
    return laq_fail(L, rc, NULL);
  }
  if (n == 0) {
    lua_pushnil(L);
    return 1;
  }
  laq_pushscratch(L, &b, n);
  return 1;
}

static int file_replace(lua_State *L) {
  size_t len = 0;
  const char *path = luaL_checkstring(L, 1);
  const char *data = luaL_checklstring(L, 2, &len);
  char why[512] = "";
  int rc = aq_file_replace(path, (const uint8_t *)data, len, why, sizeof(why));
  if (rc == 0) {
    lua_pushboolean(L, 1);
    return 1;
  }
  return laq_fail_text(L, rc, why);
}

void laq_open_fd(lua_State *L) {
  lua_pushcfunction(L, fd_read);
  lua_setfield(L, -2, "fd_read");
  lua_pushcfunction(L, file_replace);
  lua_setfield(L, -2, "file_replace");
}
