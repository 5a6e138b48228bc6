/* laq_sim.h - what the simulator's part of the binding shares.
 *
 * Layer:  lua
 * Owner:  see laq.h
 * Time:   float seconds outside, aq_tstamp inside
 * Spec:   lua/antquic/core_sim_meta.lua is the contract
 *
 * SPDX-License-Identifier: MIT */
#ifndef LAQ_LAQ_SIM_H
#define LAQ_LAQ_SIM_H

#include "lua/laq.h"

/* An address without a port. Returns 0 or AQ_ERR_ADDRESS. */
int laq_sim_parse_ip(const char *text, aq_addr *out);
/* nil, a sentence with |text|, "ADDRESS". Returns 3. */
int laq_sim_bad_ip(lua_State *L, const char *text);
void laq_sim_push_ip(lua_State *L, const aq_addr *a);
/* A list of IPs, or one, on top of the stack, which is popped. Returns how
 * many, or -1 with laq_sim_bad_ip's three values pushed. */
int laq_sim_read_ips(lua_State *L, aq_addr *out, const char *what);
/* The table at |t| over what |link| is. Raises on wrong types. */
void laq_sim_read_link(lua_State *L, int t, aq_sim_link *link);
void laq_sim_push_link(lua_State *L, const aq_sim_link *link);
/* The table at |t| over the defaults, or over its field "type". Raises on wrong
 * types; returns 0, or 3 with laq_sim_bad_ip's three values pushed. */
int laq_sim_read_nat(lua_State *L, int t, aq_sim_nat_params *p);
void laq_sim_push_nat(lua_State *L, const aq_sim_nat_params *p);

#endif
