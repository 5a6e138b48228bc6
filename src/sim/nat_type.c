/* nat_type.c - the types of the NAT lab (spec/natlab/types.lua) as parameters.
 *
 * SPDX-License-Identifier: MIT */
#include "sim/sim_int.h"

#include <string.h>

typedef struct type {
  const char *name;
  aq_sim_mapping mapping;
  aq_sim_filtering filtering;
  aq_sim_ports ports;
  aq_sim_hairpin hairpin;
  uint8_t poison;
} type;

#define M(x) AQ_SIM_MAP_##x
#define F(x) AQ_SIM_FILTER_##x
#define P(x) AQ_SIM_PORTS_##x
#define H(x) AQ_SIM_HAIRPIN_##x
static const type types[] = {
    {"none", M(NONE), F(EI), P(PRESERVE), H(NO), 0},
    {"fw_only", M(NONE), F(APD), P(PRESERVE), H(NO), 0},
    {"fw_v6", M(NONE), F(EI), P(PRESERVE), H(NO), 0},
    {"full_cone", M(EI), F(EI), P(RANDOM), H(NO), 0},
    {"full_cone_hp", M(EI), F(EI), P(RANDOM), H(EXTERNAL), 0},
    {"addr_restr", M(EI), F(AD), P(RANDOM), H(NO), 0},
    {"port_restr", M(EI), F(APD), P(RANDOM), H(NO), 0},
    {"port_restr_hp", M(EI), F(APD), P(RANDOM), H(EXTERNAL), 0},
    {"linux", M(FLOW), F(APD), P(PRESERVE), H(NO), 0},
    {"linux_reject", M(FLOW), F(APD), P(PRESERVE), H(NO), 0},
    {"linux_open", M(FLOW), F(APD), P(PRESERVE), H(NO), 1},
    {"adm_apdf", M(AD), F(APD), P(RANDOM), H(NO), 0},
    {"adm_adf", M(AD), F(AD), P(RANDOM), H(NO), 0},
    {"sym_rand", M(APD), F(APD), P(RANDOM), H(NO), 0},
    {"sym_seq", M(APD), F(APD), P(SEQUENTIAL), H(NO), 0},
    {"sym_eif", M(APD), F(EI), P(RANDOM), H(NO), 0},
    {"sym_adf", M(APD), F(AD), P(RANDOM), H(NO), 0},
    {"pool_arb", M(FLOW), F(APD), P(PRESERVE), H(NO), 0},
    {"udp_blocked", M(FLOW), F(APD), P(PRESERVE), H(NO), 0},
};

const char *aq_sim_nat_type_at(size_t index) {
  return index < sizeof(types) / sizeof(types[0]) ? types[index].name : NULL;
}

/* What the table has no column for, as the lab's rules say it. */
static void set_rest(aq_sim_nat_params *p, const char *name) {
  if (p->ports == AQ_SIM_PORTS_RANDOM && p->mapping != AQ_SIM_MAP_APD) {
    p->low = 20000;
    p->high = 59999;
  } else if (p->ports == AQ_SIM_PORTS_SEQUENTIAL) {
    p->low = 20000;
    p->high = 22047;
  }
  if (strcmp(name, "fw_v6") == 0) {
    p->v6 = AQ_SIM_V6_FIREWALL;
  } else if (strcmp(name, "pool_arb") == 0) {
    p->arbitrary = 1;
    p->naddr = 2;
  } else if (strcmp(name, "udp_blocked") == 0) {
    p->blocked = 1;
  }
}

int aq_sim_nat_type(aq_sim_nat_params *p, const char *name) {
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
    const type *t = &types[i];
    if (strcmp(t->name, name) == 0) {
      aq_sim_nat_params_init(p);
      p->mapping = t->mapping;
      p->filtering = t->filtering;
      p->ports = t->ports;
      p->hairpin = t->hairpin;
      p->poison = t->poison;
      set_rest(p, name);
      return 0;
    }
  }
  return AQ_ERR_INVAL;
}
