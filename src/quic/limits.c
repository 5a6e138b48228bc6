/* SPDX-License-Identifier: MIT */
#include "quic/limits.h"

#include "proto/tunnel.h"

#include <string.h>

void aq_limits_init(aq_limits *l, uint64_t salt) {
  memset(l, 0, sizeof(*l));
  l->salt = salt;
}

/* The other ends of tunnels must not have one bound together. */
static size_t prefix_slot(const aq_limits *l, const aq_addr *a) {
  unsigned bits = a->family == 4 ? 24 : aq_tunnel_is_addr(a) ? 128 : 48;
  return aq_addr_hash_prefix(a, bits, l->salt) % AQ_LIMIT_SLOTS;
}

aq_admit aq_limits_admit(const aq_limits *l, const aq_addr *from, int proven,
                         uint32_t max_half_open) {
  uint32_t of_prefix = l->prefix[prefix_slot(l, from)];
  if (l->half_open >= max_half_open) {
    return AQ_ADMIT_HALF_OPEN;
  }
  if (of_prefix >=
      (aq_tunnel_is_addr(from) ? AQ_LIMIT_TUNNEL : AQ_LIMIT_PREFIX)) {
    return AQ_ADMIT_PREFIX;
  }
  if (!proven && (l->half_open >= AQ_LIMIT_RETRY_ABOVE ||
                  of_prefix >= AQ_LIMIT_PREFIX_UNPROVEN)) {
    return AQ_ADMIT_RETRY;
  }
  return AQ_ADMIT_YES;
}

void aq_limits_open(aq_limits *l, const aq_addr *from) {
  l->half_open++;
  l->prefix[prefix_slot(l, from)]++;
}

void aq_limits_done(aq_limits *l, const aq_addr *from) {
  size_t slot = prefix_slot(l, from);
  if (l->half_open > 0) {
    l->half_open--;
  }
  if (l->prefix[slot] > 0) {
    l->prefix[slot]--;
  }
}

/* |all| pays only when the address may, so that one flooder who is over its
 * own bound can't use up everybody's. */
static int take_two(aq_limits *l, aq_rate *ip, aq_rate *all, aq_tstamp now,
                    const aq_addr *to, double per_ip, double in_all) {
  unsigned bits = to->family == 4 ? 32 : aq_tunnel_is_addr(to) ? 128 : 64;
  size_t slot = aq_addr_hash_prefix(to, bits, l->salt) % AQ_LIMIT_IP_SLOTS;
  return aq_rate_take(&ip[slot], now, per_ip, per_ip) &&
         aq_rate_take(all, now, in_all, in_all);
}

int aq_limits_reset(aq_limits *l, aq_tstamp now, const aq_addr *to) {
  return take_two(l, l->reset_ip, &l->reset_all, now, to, AQ_LIMIT_RESET_PER_IP,
                  AQ_LIMIT_RESET_ALL);
}

int aq_limits_version(aq_limits *l, aq_tstamp now, const aq_addr *to) {
  return take_two(l, l->vn_ip, &l->vn_all, now, to, AQ_LIMIT_VN_PER_IP,
                  AQ_LIMIT_VN_ALL);
}
