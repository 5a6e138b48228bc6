/* trav_choose.c - which plan brings two NATs together, by what is known of
 * them; what lua/antquic/policy/plan.lua does.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/trav_hard.h"

int aq_trav_is_hard(const aq_nat_profile *p) {
  return p->mapping == AQ_NAT_ADDRESS_DEPENDENT ||
         p->mapping == AQ_NAT_ADDRESS_AND_PORT_DEPENDENT;
}

static int is_pool(const aq_nat_profile *p) {
  return p->external_count > 1 && p->allocation == AQ_NAT_ALLOC_PRESERVING;
}

static int lets_in(const aq_nat_profile *p) {
  return p->filtering == AQ_NAT_ENDPOINT_INDEPENDENT;
}

static int in_sequence(const aq_nat_profile *p) {
  return p->allocation == AQ_NAT_ALLOC_SEQUENTIAL;
}

uint8_t aq_trav_choose(const aq_nat_profile *mine, const aq_nat_profile *theirs,
                       int *sure) {
  const aq_nat_profile *hard = mine, *easy = theirs;
  int pool = is_pool(hard) || is_pool(easy);
  int known =
      hard->mapping != AQ_NAT_UNKNOWN && easy->mapping != AQ_NAT_UNKNOWN;
  *sure = known;
  if (!aq_trav_is_hard(hard) || is_pool(hard)) {
    hard = theirs;
    easy = mine;
  }
  if (lets_in(hard) || lets_in(easy)) {
    return AQ_PLAN_PUNCH;
  }
  if (!aq_trav_is_hard(hard) || is_pool(hard)) {
    return pool ? AQ_PLAN_FRESH : AQ_PLAN_PUNCH;
  }
  if (pool || aq_trav_is_hard(easy)) {
    *sure = in_sequence(hard) && in_sequence(easy);
    return *sure ? AQ_PLAN_PREDICT
           : hard->allocation == AQ_NAT_ALLOC_UNKNOWN ||
                   easy->allocation == AQ_NAT_ALLOC_UNKNOWN
               ? AQ_PLAN_PUNCH
               : AQ_TRAV_HOPELESS;
  }
  if (easy->filtering == AQ_NAT_ADDRESS_DEPENDENT) {
    return AQ_PLAN_PUNCH;
  }
  *sure = known && easy->filtering != AQ_NAT_UNKNOWN &&
          hard->filtering != AQ_NAT_UNKNOWN;
  return in_sequence(hard) || hard->allocation == AQ_NAT_ALLOC_BLOCK
             ? AQ_PLAN_PREDICT
             : AQ_PLAN_BIRTHDAY;
}

uint8_t aq_trav_repair_how(const aq_nat_profile *mine,
                           const aq_nat_profile *theirs) {
  int sure;
  uint8_t how = aq_trav_choose(mine, theirs, &sure);
  int guess = how == AQ_PLAN_PREDICT || how == AQ_PLAN_BIRTHDAY;
  return guess && sure ? how : AQ_PLAN_FRESH;
}
