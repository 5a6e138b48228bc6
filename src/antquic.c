/* antquic.c - what the public header promises and no layer owns: the version,
 * the names of its enums, and the parameters' defaults and rules.
 *
 * SPDX-License-Identifier: MIT */
#include "antquic.h"

#include "antquic_record.h"
#include "base/addr.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *aq_version(void) {
  return AQ_VERSION;
}

/* ---- names --------------------------------------------------------------- */

#define NAMES(map)                                                             \
  { map(NAME) }
#define NAME(name, text) text,

static const char *const event_names[] = NAMES(AQ_EVENT_MAP);
static const char *const phase_names[] = NAMES(AQ_PHASE_MAP);
static const char *const state_names[] = NAMES(AQ_STATE_MAP);
static const char *const reason_names[] = NAMES(AQ_REASON_MAP);
static const char *const source_names[] = NAMES(AQ_SOURCE_MAP);
static const char *const cand_names[] = NAMES(AQ_CAND_STATE_MAP);
static const char *const pair_names[] = NAMES(AQ_PAIR_STATE_MAP);
static const char *const rule_names[] = NAMES(AQ_NAT_RULE_MAP);
static const char *const test_names[] = NAMES(AQ_NAT_TEST_MAP);
static const char *const allocation_names[] = NAMES(AQ_NAT_ALLOCATION_MAP);
static const char *const plan_names[] = NAMES(AQ_PLAN_MAP);
static const char *const move_names[] = NAMES(AQ_MOVE_MAP);
static const char *const record_names[] = NAMES(AQ_RECORD_MAP);

#undef NAME
#undef NAMES

#define PICK(names, v)                                                         \
  ((size_t)(v) < sizeof(names) / sizeof((names)[0]) ? (names)[v] : "unknown")

const char *aq_event_name(aq_event_kind kind) {
  return PICK(event_names, kind);
}

const char *aq_phase_name(aq_phase v) {
  return PICK(phase_names, v);
}

const char *aq_state_name(aq_state v) {
  return PICK(state_names, v);
}

const char *aq_reason_name(aq_reason v) {
  return PICK(reason_names, v);
}

const char *aq_source_name(aq_source v) {
  return PICK(source_names, v);
}

const char *aq_cand_state_name(aq_cand_state v) {
  return PICK(cand_names, v);
}

const char *aq_pair_state_name(aq_pair_state v) {
  return PICK(pair_names, v);
}

const char *aq_nat_rule_name(aq_nat_rule v) {
  return PICK(rule_names, v);
}

const char *aq_nat_allocation_name(aq_nat_allocation v) {
  return PICK(allocation_names, v);
}

const char *aq_nat_test_name(aq_nat_test v) {
  return PICK(test_names, v);
}

const char *aq_plan_name(aq_plan v) {
  return PICK(plan_names, v);
}

const char *aq_move_name(aq_move v) {
  return PICK(move_names, v);
}

const char *aq_record_name(aq_record_kind v) {
  return PICK(record_names, v);
}

/* ---- parameters ---------------------------------------------------------- */

#define MIB ((uint64_t)1024 * 1024)
/* ngtcp2 gives up a connection when 8000 STREAM frames of one stream wait for
 * retransmission; 8 MiB in full packets stay under it. */
#define MAX_STREAM_WINDOW (8 * MIB)
#define MAX_CONN_WINDOW (1024 * MIB)
/* RFC 9000 section 4.6: a stream count can't exceed 2^60. */
#define MAX_STREAMS (UINT64_C(1) << 60)
/* An hour: longer idle or handshake times are a unit's mistake. */
#define MAX_IDLE (3600 * AQ_S)

void aq_endpoint_params_init(aq_endpoint_params *p) {
  *p = (aq_endpoint_params){
      .size = sizeof(*p),
      .role = AQ_ROLE_SERVER,
      .enable_symmetric_nat = 1,
      .enable_relay_fallback = 1,
      .accept = 1,
      .nat_profile = 1,
      .can_relay = 1,
      .strategy = AQ_STRATEGY_AUTO,
      .pqc = AQ_PQC_HYBRID,
      .max_candidates = 8,
      .max_concurrent_attempts = 3,
      .coordination_timeout = 10 * AQ_S,
      .idle_timeout = 30 * AQ_S,
      .keep_alive = AQ_KEEP_ALIVE_AUTO,
      .handshake_timeout = 10 * AQ_S,
      .stream_window = MIB,
      .conn_window = 16 * MIB,
      .max_streams_bidi = 1024,
      .max_streams_uni = 1024,
      .send_buffer = (size_t)MIB,
      .datagram_queue = 256,
      .max_connections = 65536,
      .max_half_open = 1024,
      .relay_rate = MIB,
      .relay_total_rate = 32 * MIB,
      .alpn_count = 1,
      .alpn = {"antquic"},
  };
}

typedef struct check {
  char *why;
  size_t whylen;
} check;

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static int
check_fail(const check *c, int err, const char *format, ...) {
  if (c->why != NULL && c->whylen > 0) {
    va_list ap;
    va_start(ap, format);
    vsnprintf(c->why, c->whylen, format, ap);
    va_end(ap);
  }
  return err;
}

static int check_range(const check *c, const char *name, uint64_t v,
                       uint64_t lo, uint64_t hi) {
  if (v >= lo && v <= hi) {
    return 0;
  }
  return check_fail(
      c, AQ_ERR_CONFIG, "%s is %llu, but must be from %llu to %llu", name,
      (unsigned long long)v, (unsigned long long)lo, (unsigned long long)hi);
}

static int check_duration(const check *c, const char *name, aq_duration v,
                          aq_duration lo, aq_duration hi) {
  if (v >= lo && v <= hi) {
    return 0;
  }
  return check_fail(c, AQ_ERR_CONFIG, "%s is %g s, but must be from %g to %g s",
                    name, (double)v / 1e9, (double)lo / 1e9, (double)hi / 1e9);
}

static int check_bootstrap_addr(const check *c, const aq_addr *a) {
  char text[AQ_ADDR_STRLEN];
  aq_addr_format(a, text);
  if (a->family != 4 && a->family != 6) {
    return check_fail(c, AQ_ERR_ADDRESS, "a bootstrap node has no address");
  }
  if (a->port == 0) {
    return check_fail(c, AQ_ERR_ADDRESS, "bootstrap node %s has port 0", text);
  }
  aq_addr_kind kind = aq_addr_classify(a);
  if (kind == AQ_ADDR_UNSPECIFIED || kind == AQ_ADDR_MULTICAST ||
      kind == AQ_ADDR_BROADCAST) {
    return check_fail(c, AQ_ERR_ADDRESS,
                      "bootstrap node %s is not the address of one host (%s)",
                      text, aq_addr_kind_name(kind));
  }
  return 0;
}

static int check_bootstrap(const check *c, const aq_endpoint_params *p) {
  if (p->bootstrap_count > AQ_MAX_BOOTSTRAP) {
    return check_fail(c, AQ_ERR_CONFIG, "more than %d bootstrap nodes",
                      AQ_MAX_BOOTSTRAP);
  }
  for (size_t i = 0; i < p->bootstrap_count; i++) {
    aq_addr a = p->bootstrap[i].addr;
    aq_addr_normalize(&a);
    int err = check_bootstrap_addr(c, &a);
    if (err != 0) {
      return err;
    }
    for (size_t k = 0; k < i; k++) {
      aq_addr b = p->bootstrap[k].addr;
      aq_addr_normalize(&b);
      if (aq_addr_equal(&a, &b)) {
        char text[AQ_ADDR_STRLEN];
        return check_fail(c, AQ_ERR_ADDRESS, "bootstrap node %s is given twice",
                          aq_addr_format(&a, text));
      }
    }
  }
  return 0;
}

static int check_role(const check *c, const aq_endpoint_params *p) {
  switch (p->role) {
  case AQ_ROLE_CLIENT:
    if (p->bootstrap_count == 0) {
      return check_fail(c, AQ_ERR_CONFIG,
                        "a client needs at least one bootstrap node");
    }
    return 0;
  case AQ_ROLE_SERVER:
    if (p->can_coordinate && p->bootstrap_count == 0) {
      return check_fail(c, AQ_ERR_CONFIG,
                        "a coordinating server needs a bootstrap node");
    }
    return 0;
  case AQ_ROLE_BOOTSTRAP:
    if (p->enable_relay_fallback) {
      return check_fail(c, AQ_ERR_CONFIG,
                        "a bootstrap node can't use relay fallback");
    }
    return 0;
  }
  return check_fail(c, AQ_ERR_CONFIG, "unknown role %d", (int)p->role);
}

static int check_alpn(const check *c, const aq_endpoint_params *p) {
  int err =
      check_range(c, "the number of ALPN names", p->alpn_count, 1, AQ_MAX_ALPN);
  if (err != 0) {
    return err;
  }
  for (size_t i = 0; i < p->alpn_count; i++) {
    if (p->alpn[i][0] == '\0' ||
        memchr(p->alpn[i], '\0', AQ_MAX_ALPN_LEN) == NULL) {
      return check_fail(c, AQ_ERR_CONFIG,
                        "an ALPN name must have 1 to %d bytes",
                        AQ_MAX_ALPN_LEN - 1);
    }
    if (strchr(p->alpn[i], ',') != NULL) {
      return check_fail(c, AQ_ERR_CONFIG, "ALPN name %s has a comma in it",
                        p->alpn[i]);
    }
    for (size_t k = 0; k < i; k++) {
      if (strcmp(p->alpn[i], p->alpn[k]) == 0) {
        return check_fail(c, AQ_ERR_CONFIG, "ALPN name %s is given twice",
                          p->alpn[i]);
      }
    }
  }
  return 0;
}

static int check_limits(const check *c, const aq_endpoint_params *p) {
  const struct {
    const char *name;
    uint64_t v, lo, hi;
  } rows[] = {
      {"max_candidates", p->max_candidates, 1, 256},
      {"max_concurrent_attempts", p->max_concurrent_attempts, 1, 16},
      {"strategy", p->strategy, AQ_STRATEGY_AUTO, AQ_STRATEGY_STEPS},
      {"pqc", (uint64_t)p->pqc, AQ_PQC_HYBRID, AQ_PQC_OFF},
      {"stream_window", p->stream_window, 1024, MAX_STREAM_WINDOW},
      {"conn_window", p->conn_window, p->stream_window, MAX_CONN_WINDOW},
      {"max_streams_bidi", p->max_streams_bidi, 0, MAX_STREAMS},
      {"max_streams_uni", p->max_streams_uni, 0, MAX_STREAMS},
      {"send_buffer", p->send_buffer, 1, MAX_CONN_WINDOW},
      {"datagram_queue", p->datagram_queue, 1, 65536},
      {"max_connections", p->max_connections, 1, 1u << 24},
      {"max_half_open", p->max_half_open, 1, 1u << 24},
      {"relay_rate", p->relay_rate, 1024, 1u << 30},
      {"relay_total_rate", p->relay_total_rate, 1024, UINT64_C(1) << 34},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    int err = check_range(c, rows[i].name, rows[i].v, rows[i].lo, rows[i].hi);
    if (err != 0) {
      return err;
    }
  }
  if (p->max_concurrent_attempts > p->max_candidates) {
    return check_fail(c, AQ_ERR_CONFIG,
                      "max_concurrent_attempts (%u) is more than "
                      "max_candidates (%u)",
                      p->max_concurrent_attempts, p->max_candidates);
  }
  return 0;
}

static int check_times(const check *c, const aq_endpoint_params *p) {
  int err = check_duration(c, "coordination_timeout", p->coordination_timeout,
                           100 * AQ_MS, 300 * AQ_S);
  if (err == 0) {
    err = check_duration(c, "handshake_timeout", p->handshake_timeout,
                         10 * AQ_MS, MAX_IDLE);
  }
  if (err == 0 && p->idle_timeout != 0) {
    err = check_duration(c, "idle_timeout", p->idle_timeout, 10 * AQ_MS,
                         MAX_IDLE);
  }
  if (err == 0 && p->keep_alive != 0 && p->keep_alive != AQ_KEEP_ALIVE_AUTO) {
    err = check_duration(c, "keep_alive", p->keep_alive, 10 * AQ_MS, MAX_IDLE);
  }
  return err;
}

int aq_endpoint_params_check(const aq_endpoint_params *p, char *why,
                             size_t whylen) {
  check c = {why, whylen};
  if (why != NULL && whylen > 0) {
    why[0] = '\0';
  }
  if (p->size != sizeof(*p)) {
    return check_fail(&c, AQ_ERR_CONFIG,
                      "the parameters are of another version; set them up "
                      "with aq_endpoint_params_init");
  }
  int err = check_role(&c, p);
  if (err == 0) {
    err = check_bootstrap(&c, p);
  }
  if (err == 0) {
    err = check_limits(&c, p);
  }
  if (err == 0) {
    err = check_times(&c, p);
  }
  if (err == 0) {
    err = check_alpn(&c, p);
  }
  if (err == 0 && p->allow_count > 0 && p->allow == NULL) {
    err = check_fail(&c, AQ_ERR_CONFIG, "allow_count without keys to allow");
  }
  return err;
}
