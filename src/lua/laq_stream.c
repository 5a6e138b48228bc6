/* laq_stream.c - streams.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq.h"

#define NOW(e) laq_now(e)
#define READ_MAX ((int64_t)1 << 20)
#define PRIORITY_MAX 1000000

static int stream_open(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id conn = laq_check_id(L, 2);
  int uni = lua_toboolean(L, 3);
  int priority = (int)laq_opt_range(L, 4, 0, -PRIORITY_MAX, PRIORITY_MAX);
  aq_id id = 0;
  int rc = aq_stream_open(e->ep, NOW(e), conn, uni, priority, &id);
  if (rc != 0) {
    return laq_fail(L, rc, "cannot open a stream");
  }
  laq_pushint(L, id);
  return 1;
}

static int stream_accept(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = 0;
  int rc = aq_stream_accept(e->ep, laq_check_id(L, 2), &id);
  if (rc != 0) {
    return laq_fail(L, rc, "no stream to accept");
  }
  laq_pushint(L, id);
  return 1;
}

static int stream_write(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  size_t len = 0;
  const char *data = luaL_checklstring(L, 3, &len);
  size_t from = (size_t)laq_opt_range(L, 4, 1, 1, INT64_MAX) - 1;
  size_t written = 0;
  int rc;
  luaL_argcheck(L, from <= len, 4, "beyond the end of the data");
  if (from == len) {
    laq_pushint(L, 0);
    return 1;
  }
  rc = aq_stream_write(e->ep, NOW(e), id, (const uint8_t *)data + from,
                       len - from, &written);
  if (rc != 0) {
    return laq_fail(L, rc, "cannot write");
  }
  laq_pushint(L, written);
  return 1;
}

/* Nothing is there: the end, an error, or it has yet to come. */
static int read_nothing(lua_State *L, laq_endpoint *e, aq_id id) {
  uint8_t byte;
  size_t n = 0;
  int rc = aq_stream_read(e->ep, NOW(e), id, &byte, 1, &n);
  if (rc != 0) {
    return laq_fail(L, rc, "cannot read");
  }
  if (n == 0) {
    lua_pushnil(L); /* alone: the end */
  } else {
    lua_pushlstring(L, (const char *)&byte, n);
  }
  return 1;
}

static int stream_read(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  size_t max = (size_t)laq_opt_range(L, 3, READ_MAX, 0, INT64_MAX);
  size_t size = aq_stream_readable(e->ep, id);
  size_t n = 0;
  laq_buffer b;
  uint8_t *to;
  int rc;
  max = max < (size_t)READ_MAX ? max : (size_t)READ_MAX;
  if (max == 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  if (size == 0) {
    return read_nothing(L, e, id);
  }
  size = size < max ? size : max;
  to = laq_scratch(L, &b, size);
  rc = aq_stream_read(e->ep, NOW(e), id, to, size, &n);
  if (rc != 0) {
    return laq_fail(L, rc, "cannot read");
  }
  laq_pushscratch(L, &b, n);
  return 1;
}

static int stream_readable(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  laq_pushint(L, aq_stream_readable(e->ep, laq_check_id(L, 2)));
  return 1;
}

static int stream_finish(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  return laq_result(L, aq_stream_finish(e->ep, NOW(e), id),
                    "cannot finish the stream");
}

static int stream_reset(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  uint64_t code = laq_opt_code(L, 3, 0);
  return laq_result(L, aq_stream_reset(e->ep, NOW(e), id, code),
                    "cannot reset the stream");
}

static int stream_stop(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  uint64_t code = laq_opt_code(L, 3, 0);
  return laq_result(L, aq_stream_stop(e->ep, NOW(e), id, code),
                    "cannot stop the stream");
}

static int stream_priority(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  int priority;
  luaL_checknumber(L, 3);
  priority = (int)laq_opt_range(L, 3, 0, -PRIORITY_MAX, PRIORITY_MAX);
  return laq_result(L, aq_stream_set_priority(e->ep, id, priority),
                    "cannot set the priority");
}

static int stream_release(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  return laq_result(L, aq_stream_release(e->ep, NOW(e), id),
                    "cannot release the stream");
}

static int stream_info(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_stream_info s;
  int rc = aq_stream_get_info(e->ep, laq_check_id(L, 2), &s);
  if (rc != 0) {
    return laq_fail(L, rc, "stream");
  }
  lua_createtable(L, 0, 15);
  laq_set_int(L, "id", (uint64_t)s.id);
  laq_set_id(L, "conn", s.conn);
  laq_set_bool(L, "uni", s.uni);
  laq_set_bool(L, "incoming", s.incoming);
  laq_set_bool(L, "finished", s.finished);
  laq_set_bool(L, "fin_received", s.fin_received);
  laq_set_bool(L, "fin_acked", s.fin_acked);
  laq_set_int(L, "reset_code", s.reset_code);
  laq_set_int(L, "stop_code", s.stop_code);
  laq_set_int(L, "bytes_written", s.bytes_written);
  laq_set_int(L, "bytes_read", s.bytes_read);
  laq_set_int(L, "bytes_acked", s.bytes_acked);
  laq_set_int(L, "send_queued", s.send_queued);
  laq_set_int(L, "recv_queued", s.recv_queued);
  lua_pushinteger(L, s.priority);
  lua_setfield(L, -2, "priority");
  return 1;
}

const luaL_Reg laq_stream_methods[] = {
    {"stream_open", stream_open},         {"stream_accept", stream_accept},
    {"stream_write", stream_write},       {"stream_read", stream_read},
    {"stream_readable", stream_readable}, {"stream_finish", stream_finish},
    {"stream_reset", stream_reset},       {"stream_stop", stream_stop},
    {"stream_priority", stream_priority}, {"stream_release", stream_release},
    {"stream_info", stream_info},         {NULL, NULL}};
