/* laq_conn.c - connections and their datagrams.
 *
 * SPDX-License-Identifier: MIT */
#include "lua/laq.h"

#define NOW(e) laq_now(e)
/* What nearly every datagram fits; larger ones are asked for by length. */
#define DATAGRAM_USUAL 2048

static int connect_addr(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_addr addr;
  aq_peer_id peer;
  const char *text;
  const char *alpn = luaL_optstring(L, 4, NULL);
  aq_duration timeout = laq_opt_seconds(L, 5, 0);
  int has_peer = !lua_isnoneornil(L, 3);
  aq_id id = 0;
  int rc;
  if (has_peer) {
    laq_check_peer(L, 3, &peer);
  }
  if (laq_check_addr(L, 2, &addr, &text) != 0) {
    return laq_bad_addr(L, text);
  }
  rc = aq_connect_addr(e->ep, NOW(e), &addr, has_peer ? &peer : NULL, alpn,
                       timeout, &id);
  if (rc != 0) {
    return laq_fail(L, rc, "cannot dial");
  }
  laq_pushint(L, id);
  return 1;
}

static int conns(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  size_t max = aq_endpoint_get_conns(e->ep, NULL, 0);
  aq_id *v = laq_newuserdata(L, (max + 1) * sizeof(*v));
  size_t n = aq_endpoint_get_conns(e->ep, v, max);
  n = n < max ? n : max;
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    laq_pushint(L, v[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static int find_conn(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_peer_id peer;
  aq_id id;
  laq_check_peer(L, 2, &peer);
  id = aq_endpoint_find_conn(e->ep, &peer);
  if (id == 0) {
    lua_pushnil(L);
  } else {
    laq_pushint(L, id);
  }
  return 1;
}

static void set_flags(lua_State *L, const aq_conn_info *c) {
  laq_set_bool(L, "outgoing", c->outgoing);
  laq_set_bool(L, "bootstrap", c->bootstrap);
  laq_set_bool(L, "post_quantum", c->post_quantum);
  laq_set_bool(L, "extensions", c->extensions);
  laq_set_bool(L, "control", c->control);
  laq_set_bool(L, "relayed", c->relayed);
}

static void set_counts(lua_State *L, const aq_conn_info *c) {
  laq_set_int(L, "bytes_sent", c->bytes_sent);
  laq_set_int(L, "bytes_received", c->bytes_received);
  laq_set_int(L, "packets_sent", c->packets_sent);
  laq_set_int(L, "packets_received", c->packets_received);
  laq_set_int(L, "packets_lost", c->packets_lost);
  laq_set_int(L, "cwnd", c->cwnd);
  laq_set_int(L, "bytes_in_flight", c->bytes_in_flight);
  laq_set_int(L, "datagrams_sent", c->datagrams_sent);
  laq_set_int(L, "datagrams_acked", c->datagrams_acked);
  laq_set_int(L, "datagrams_lost", c->datagrams_lost);
  laq_set_int(L, "datagrams_received", c->datagrams_received);
  laq_set_int(L, "datagrams_dropped", c->datagrams_dropped);
  laq_set_int(L, "max_datagram", c->max_datagram);
  laq_set_int(L, "max_udp_payload", c->max_udp_payload);
  laq_set_int(L, "memory", c->memory);
}

static int conn_info(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_conn_info c;
  int rc = aq_conn_get_info(e->ep, laq_check_id(L, 2), &c);
  if (rc != 0) {
    return laq_fail(L, rc, "connection");
  }
  lua_createtable(L, 0, 35);
  laq_set_peer(L, "peer", &c.peer);
  lua_pushlstring(L, (const char *)c.public_key, sizeof(c.public_key));
  lua_setfield(L, -2, "public_key");
  laq_set_string(L, "alpn", c.alpn);
  laq_set_string(L, "state", aq_state_name(c.state));
  set_flags(L, &c);
  laq_set_addr(L, "remote", &c.remote);
  laq_set_addr(L, "local_addr", &c.local);
  laq_set_addr(L, "observed", &c.observed);
  laq_set_time(L, "rtt", c.rtt);
  laq_set_time(L, "min_rtt", c.min_rtt);
  laq_set_time(L, "rttvar", c.rttvar);
  set_counts(L, &c);
  if (c.established != 0) {
    laq_set_time(L, "established", c.established);
  }
  if (c.last_activity != 0) {
    laq_set_time(L, "last_activity", c.last_activity);
  }
  laq_set_id(L, "session", c.session);
  return 1;
}

static int conn_close(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  uint64_t code = laq_opt_code(L, 3, 0);
  size_t len = 0;
  const char *reason = luaL_optlstring(L, 4, "", &len);
  return laq_result(L, aq_conn_close(e->ep, NOW(e), id, code, reason, len),
                    "cannot close the connection");
}

static int flushed(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  int rc = aq_conn_is_flushed(e->ep, laq_check_id(L, 2));
  if (rc < 0) {
    return laq_fail(L, rc, "connection");
  }
  lua_pushboolean(L, rc);
  return 1;
}

static int conn_ping(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  return laq_result(L, aq_conn_ping(e->ep, NOW(e), id), "cannot ping");
}

static int conn_keep_alive(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  aq_duration interval;
  luaL_checknumber(L, 3);
  interval = laq_opt_seconds(L, 3, 0);
  return laq_result(L, aq_conn_set_keep_alive(e->ep, NOW(e), id, interval),
                    "cannot set the keep-alive");
}

static int conn_update_keys(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  return laq_result(L, aq_conn_update_keys(e->ep, NOW(e), id),
                    "cannot update the keys");
}

static int conn_add_address(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  aq_addr addr;
  const char *text;
  uint64_t seq = 0;
  int rc;
  if (laq_check_addr(L, 3, &addr, &text) != 0) {
    return laq_bad_addr(L, text);
  }
  rc = aq_conn_add_address(e->ep, NOW(e), id, &addr, &seq);
  if (rc != 0) {
    return laq_fail(L, rc, "cannot announce the address");
  }
  laq_pushint(L, seq);
  return 1;
}

static int conn_remove_address(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  uint64_t seq;
  luaL_checknumber(L, 3);
  seq = laq_opt_code(L, 3, 0);
  return laq_result(L, aq_conn_remove_address(e->ep, NOW(e), id, seq),
                    "cannot withdraw the address");
}

static int conn_candidates(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  size_t max = aq_conn_get_remote_candidates(e->ep, id, NULL, 0);
  aq_candidate *v = laq_newuserdata(L, (max + 1) * sizeof(*v));
  size_t n = aq_conn_get_remote_candidates(e->ep, id, v, max);
  laq_push_candidates(L, v, n < max ? n : max);
  return 1;
}

/* ---- datagrams
 * --------------------------------------------------------------- */

static int datagram_send(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  size_t len = 0;
  const char *data = luaL_checklstring(L, 3, &len);
  return laq_result(
      L, aq_datagram_send(e->ep, NOW(e), id, (const uint8_t *)data, len),
      "cannot send the datagram");
}

static int datagram_receive(lua_State *L) {
  laq_endpoint *e = laq_check(L);
  aq_id id = laq_check_id(L, 2);
  uint8_t buf[DATAGRAM_USUAL];
  size_t len = 0;
  int rc = aq_datagram_receive(e->ep, id, buf, sizeof(buf), &len);
  if (rc == 0) {
    lua_pushlstring(L, (const char *)buf, len);
    return 1;
  }
  if (rc == AQ_ERR_TOO_LARGE) {
    laq_buffer b;
    size_t size = len;
    uint8_t *large = laq_scratch(L, &b, size);
    rc = aq_datagram_receive(e->ep, id, large, size, &len);
    if (rc == 0) {
      laq_pushscratch(L, &b, len);
      return 1;
    }
  }
  return laq_fail(L, rc, "no datagram");
}

const luaL_Reg laq_conn_methods[] = {
    {"connect_addr", connect_addr},
    {"conns", conns},
    {"find_conn", find_conn},
    {"conn_info", conn_info},
    {"conn_close", conn_close},
    {"flushed", flushed},
    {"conn_ping", conn_ping},
    {"conn_keep_alive", conn_keep_alive},
    {"conn_update_keys", conn_update_keys},
    {"conn_add_address", conn_add_address},
    {"conn_remove_address", conn_remove_address},
    {"conn_candidates", conn_candidates},
    {"datagram_send", datagram_send},
    {"datagram_receive", datagram_receive},
    {NULL, NULL}};
