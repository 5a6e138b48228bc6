/* laq.h - what the files of the binding share.
 *
 * Layer:  lua
 * Owner:  an endpoint's userdata owns its runtime; nothing else holds a pointer
 *         into the core
 * Time:   float seconds outside, aq_tstamp inside
 * Spec:   lua/antquic/core_meta.lua is the contract
 *
 * Three rules keep this layer safe: arguments are read before the core is
 * called (a Lua error then leaves nothing half done), scratch memory is the
 * stack's or Lua's, and nothing calls Lua.
 *
 * SPDX-License-Identifier: MIT */
#ifndef LAQ_LAQ_H
#define LAQ_LAQ_H

#include "antquic.h"
#include "antquic_sim.h"
#include "lua/compat.h"

#define LAQ_ENDPOINT "antquic.core.endpoint"
#define LAQ_IDENTITY "antquic.core.identity"
#define LAQ_SHA256 "antquic.core.sha256"
#define LAQ_SIM "antquic.core.sim"

/* One of the two hosts: real sockets and a real clock, or a simulation. */
typedef struct laq_endpoint {
  aq_runtime *rt;
  aq_sim_endpoint *sim;
  aq_endpoint *ep; /* NULL: closed */
} laq_endpoint;

/* laq_new_endpoint pushes a box that is closed: something is put into it
 * later, so that it is never lost. */
laq_endpoint *laq_new_endpoint(lua_State *L);
aq_tstamp laq_now(const laq_endpoint *e);

/* laq_check gives the open endpoint at argument 1 of a method, whose upvalue 1
 * is the metatable; it raises when it is another type or closed. */
laq_endpoint *laq_check(lua_State *L);

/* laq_fail pushes nil, "<what>: <text of rc>" (only the text when |what| is
 * NULL) and the code. Returns 3. */
int laq_fail(lua_State *L, int rc, const char *what);
/* laq_result pushes true for 0, else as laq_fail. */
int laq_result(lua_State *L, int rc, const char *what);
/* laq_bad_addr: nil, a sentence with |text|, "ADDRESS". Returns 3. */
int laq_bad_addr(lua_State *L, const char *text);

/* Arguments. The check_* raise on the wrong type. */
aq_id laq_check_id(lua_State *L, int arg);
/* 0 to 2^62-1 (a QUIC varint); |def| when absent. */
uint64_t laq_opt_code(lua_State *L, int arg, uint64_t def);
int64_t laq_opt_range(lua_State *L, int arg, int64_t def, int64_t lo,
                      int64_t hi);
/* Any number but NaN, held to |lo| and |hi|; whole. */
int64_t laq_opt_clamped(lua_State *L, int arg, int64_t def, int64_t lo,
                        int64_t hi);
/* Seconds to nanoseconds: |def| when absent, 0 when negative, AQ_NEVER beyond
 * a century; NaN raises. */
aq_duration laq_opt_seconds(lua_State *L, int arg, aq_duration def);
void laq_check_peer(lua_State *L, int arg, aq_peer_id *out);
/* laq_check_addr: *text is borrowed from the stack. Returns 0 or
 * AQ_ERR_ADDRESS. */
int laq_check_addr(lua_State *L, int arg, aq_addr *out, const char **text);
/* laq_opt_addrs reads a list of at most |max| addresses at |arg|, which may
 * be nil. On a bad one it pushes laq_bad_addr's three values and returns -1;
 * else it returns the count. |what| names the argument in errors. */
int laq_opt_addrs(lua_State *L, int arg, aq_addr *out, int max,
                  const char *what);
/* laq_field pushes t[name] without metamethods and returns its type. */
int laq_field(lua_State *L, int table, const char *name);
aq_duration laq_seconds(lua_Number s);

/* laq_set_* set a field of the table on top of the stack. */
void laq_set_int(lua_State *L, const char *name, uint64_t v);
void laq_set_bool(lua_State *L, const char *name, int v);
void laq_set_time(lua_State *L, const char *name, uint64_t ns);
void laq_set_string(lua_State *L, const char *name, const char *v);
void laq_set_peer(lua_State *L, const char *name, const aq_peer_id *id);
/* Nothing is set when the address has no family, the number or id is 0, the
 * text is empty or NULL, or the error is 0. */
void laq_set_addr(lua_State *L, const char *name, const aq_addr *a);
void laq_set_some(lua_State *L, const char *name, uint64_t v);
void laq_set_id(lua_State *L, const char *name, aq_id id);
void laq_set_text(lua_State *L, const char *name, const char *v);
void laq_set_error(lua_State *L, const char *name, int err);
void laq_push_candidate(lua_State *L, const aq_candidate *c);
void laq_push_candidates(lua_State *L, const aq_candidate *v, size_t n);
void laq_push_addr(lua_State *L, const aq_addr *a);

/* laq_to_identity raises when the value at |arg| is none. Borrowed. */
const aq_identity *laq_to_identity(lua_State *L, int arg);

/* laq_options reads the table at |arg|, but for the identity. What it allocates
 * are userdata on the stack: they must stay there while |p| is used. On a value
 * that is wrong in a way which the caller can't know before, it pushes nil,
 * message, code and returns 3; else it returns 0. */
int laq_options(lua_State *L, int arg, aq_endpoint_params *p,
                aq_runtime_params *rp);
/* The option "identity": it stays on the stack, and so alive. */
void laq_option_identity(lua_State *L, int arg, aq_endpoint_params *p);
/* The option "trace": sets |env| up with it alone. */
void laq_option_trace(lua_State *L, int arg, aq_env *env);
/* The index of the string t[name] among |choices| (NULL ends them), |def| when
 * absent. Raises when it is none of them. */
int laq_option_choice(lua_State *L, int t, const char *name,
                      const char *const *choices, int def);
/* laq_fail_text pushes nil, |why| (or what |rc| means when that is empty) and
 * the code. Returns 3. */
int laq_fail_text(lua_State *L, int rc, const char *why);
/* laq_push_event makes the table of one event. */
void laq_push_event(lua_State *L, const aq_endpoint *ep, const aq_event *e);
/* laq_punch_step reads the table at |arg| (may be nil) over the defaults.
 * Returns as laq_opt_addrs. */
int laq_punch_step(lua_State *L, int arg, aq_punch_step *step);
/* "dial", "coordinate", or the name of a plan: each is a step of its own.
 * |step| is that of aq_step_record and of AQ_EVENT_STEP_DONE. */
const char *laq_step_name(uint64_t step);
/* What is known of a NAT, but for addresses and ports. */
void laq_push_profile(lua_State *L, const aq_nat_profile *p);

/* The methods, by file. */
extern const luaL_Reg laq_endpoint_methods[];
extern const luaL_Reg laq_conn_methods[];
extern const luaL_Reg laq_stream_methods[];
extern const luaL_Reg laq_nat_methods[];
extern const luaL_Reg laq_session_methods[];
extern const luaL_Reg laq_record_methods[];
/* The functions of the module. laq_open_* push nothing and fill the table on
 * top of the stack. */
void laq_open_identity(lua_State *L);
void laq_open_endpoint(lua_State *L);
void laq_open_util(lua_State *L);
void laq_open_fd(lua_State *L);
void laq_open_sim(lua_State *L);

#endif
