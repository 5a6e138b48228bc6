/* disc.c - which addresses are ours.
 *
 * Whatever changes, the wanted set is computed anew (disc_update) and compared
 * with the present one; the differences are the changes that are polled.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/disc.h"

#include "base/addr.h"

#include <assert.h>
#include <string.h>

/* A candidate that ought to be in the set. */
typedef struct disc_want {
  aq_addr addr;
  uint32_t base;
  uint32_t priority;
  uint8_t source;
  uint8_t held; /* the present set has it */
} disc_want;

#define DISC_MAX_WANT                                                          \
  (AQ_MAX_SOCKETS * AQ_DISC_MAX_LOCAL + AQ_DISC_MAX_OBSERVERS + AQ_MAX_SOCKETS)

typedef struct disc_wants {
  size_t n;
  disc_want v[DISC_MAX_WANT];
} disc_wants;

/* ---- priorities ---------------------------------------------------------- */

uint32_t aq_cand_priority(aq_source source, uint32_t local_pref) {
  /* Type preferences of RFC 8445 section 5.1.2.2; a guess is worth less than
   * anything that was seen, and more than a relay (0). */
  static const uint8_t type_pref[AQ_SOURCE__COUNT] = {
      [AQ_SOURCE_LOCAL] = 126,
      [AQ_SOURCE_PEER] = 110,
      [AQ_SOURCE_OBSERVED] = 100,
      [AQ_SOURCE_PREDICTED] = 75,
  };
  uint32_t type = (size_t)source < AQ_SOURCE__COUNT ? type_pref[source] : 0;
  uint32_t local = local_pref > 65535 ? 65535 : local_pref;
  /* 256 minus the component id, which is always 1 here. */
  return type << 24 | local << 8 | 255;
}

uint64_t aq_pair_priority(uint32_t initiator, uint32_t target) {
  /* Priorities are under 2^31 (RFC 8445 section 5.1.2), else the sum wraps. */
  uint64_t g = initiator > INT32_MAX ? INT32_MAX : initiator;
  uint64_t d = target > INT32_MAX ? INT32_MAX : target;
  uint64_t min = g < d ? g : d;
  uint64_t max = g < d ? d : g;
  return (min << 32) + 2 * max + (g > d ? 1 : 0);
}

/* The better the reach, the higher; earlier interfaces before later ones. */
static uint32_t disc_local_pref(const aq_addr *a, size_t order) {
  uint32_t pref = 0;
  switch (aq_addr_classify(a)) {
  case AQ_ADDR_GLOBAL:
    pref = a->family == 6 ? 60000 : 50000;
    break;
  case AQ_ADDR_BENCHMARK:
  case AQ_ADDR_DOCUMENTATION:
    pref = 40000;
    break;
  case AQ_ADDR_PRIVATE:
    pref = 30000;
    break;
  case AQ_ADDR_ULA:
  case AQ_ADDR_CGNAT:
    pref = 20000;
    break;
  default:
    pref = 10000;
    break;
  }
  return pref - (uint32_t)(order > 9999 ? 9999 : order);
}

/* ---- which addresses can be candidates ----------------------------------- */

static int disc_usable(const aq_disc *d, const aq_addr *a) {
  switch (aq_addr_classify(a)) {
  case AQ_ADDR_GLOBAL:
  case AQ_ADDR_PRIVATE:
  case AQ_ADDR_ULA:
    return 1;
  case AQ_ADDR_CGNAT:
  case AQ_ADDR_BENCHMARK:
  case AQ_ADDR_DOCUMENTATION:
    return d->allow_reserved;
  case AQ_ADDR_LOOPBACK:
    return d->allow_loopback;
  default:
    return 0;
  }
}

static void disc_want_add(disc_wants *w, const aq_addr *a, uint32_t base,
                          aq_source source, size_t order) {
  for (size_t i = 0; i < w->n; i++) {
    /* The same address twice, or observed as it is: redundant (RFC 8445
     * section 5.1.3). */
    if (aq_addr_equal(&w->v[i].addr, a)) {
      return;
    }
  }
  assert(w->n < DISC_MAX_WANT);
  w->v[w->n++] = (disc_want){
      .addr = *a,
      .base = base,
      .priority = aq_cand_priority(source, disc_local_pref(a, order)),
      .source = (uint8_t)source,
  };
}

static void disc_want_hosts(const aq_disc *d, disc_wants *w) {
  for (size_t i = 0; i < d->nsock; i++) {
    const aq_local_socket *s = &d->sock[i];
    if (aq_addr_classify(&s->bound) != AQ_ADDR_UNSPECIFIED) {
      if (disc_usable(d, &s->bound)) {
        disc_want_add(w, &s->bound, s->index, AQ_SOURCE_LOCAL, i);
      }
      continue;
    }
    for (size_t k = 0; k < d->nlocal; k++) {
      aq_addr a = d->local[k];
      a.port = s->bound.port;
      if (a.family == s->bound.family && disc_usable(d, &a) &&
          aq_addr_classify(&a) != AQ_ADDR_LOOPBACK) {
        disc_want_add(w, &a, s->index, AQ_SOURCE_LOCAL, i * 64 + k);
      }
    }
  }
}

/* Is |o| believed: by who says it, or by a second one elsewhere? */
static int disc_confirmed(const aq_disc *d, const aq_observation *o) {
  if (o->trusted) {
    return 1;
  }
  for (size_t i = 0; i < AQ_DISC_MAX_OBSERVERS; i++) {
    const aq_observation *p = &d->obs[i];
    if (p->used && p->socket == o->socket &&
        aq_addr_equal(&p->addr, &o->addr) &&
        !aq_addr_same_ip(&p->observer, &o->observer)) {
      return 1;
    }
  }
  return 0;
}

static void disc_want_observed(aq_disc *d, disc_wants *w) {
  uint8_t live[AQ_MAX_SOCKETS] = {0};
  aq_tstamp newest[AQ_MAX_SOCKETS] = {0};
  for (size_t i = 0; i < AQ_DISC_MAX_OBSERVERS; i++) {
    const aq_observation *o = &d->obs[i];
    if (!o->used || !disc_confirmed(d, o)) {
      continue;
    }
    disc_want_add(w, &o->addr, o->socket, AQ_SOURCE_OBSERVED, o->socket);
    if (!live[o->socket] || o->at >= newest[o->socket]) {
      d->kept[o->socket] = o->addr;
      newest[o->socket] = o->at;
    }
    live[o->socket] = 1;
  }
  for (uint32_t s = 0; s < AQ_MAX_SOCKETS; s++) {
    if (!live[s] && d->kept[s].family != 0) {
      disc_want_add(w, &d->kept[s], s, AQ_SOURCE_OBSERVED, s);
    }
  }
}

/* ---- the set ------------------------------------------------------------- */

/* Sorts by priority, best first; equal ones keep their order. */
static void disc_sort(disc_want *v, size_t n) {
  for (size_t i = 1; i < n; i++) {
    disc_want x = v[i];
    size_t k = i;
    while (k > 0 && v[k - 1].priority < x.priority) {
      v[k] = v[k - 1];
      k--;
    }
    v[k] = x;
  }
}

/* Cuts to max_candidates; see aq_disc_init. Local ones stand before observed
 * ones, since they were added first and have the higher type preference. */
static void disc_cut(const aq_disc *d, disc_wants *w) {
  size_t max = d->max_candidates;
  if (w->n <= max) {
    return;
  }
  size_t local = 0;
  while (local < w->n && w->v[local].source == AQ_SOURCE_LOCAL) {
    local++;
  }
  size_t observed = w->n - local;
  size_t half = (max + 1) / 2;
  size_t keep_observed = observed < half ? observed : half;
  if (keep_observed + local < max) {
    keep_observed = max - local;
  }
  size_t keep_local = max - keep_observed;
  memmove(&w->v[keep_local], &w->v[local], keep_observed * sizeof(w->v[0]));
  w->n = max;
}

static void disc_push_change(aq_disc *d, const aq_candidate *c, int removed) {
  if (removed) {
    /* Nobody heard of it yet: nobody needs to hear that it is gone. */
    for (size_t i = 0; i < d->nchange; i++) {
      if (!d->change[i].removed && d->change[i].cand.seq == c->seq) {
        d->nchange--;
        memmove(&d->change[i], &d->change[i + 1],
                (d->nchange - i) * sizeof(d->change[0]));
        return;
      }
    }
  }
  assert(d->nchange < AQ_DISC_MAX_CHANGE);
  d->change[d->nchange++] = (aq_disc_change){(uint8_t)removed, *c};
}

static int disc_remove_unwanted(aq_disc *d, disc_wants *w) {
  int changed = 0;
  size_t kept = 0;
  for (size_t i = 0; i < d->ncand; i++) {
    disc_want *found = NULL;
    for (size_t k = 0; k < w->n && found == NULL; k++) {
      if (w->v[k].source == d->cand[i].source && w->v[k].base == d->base[i] &&
          aq_addr_equal(&w->v[k].addr, &d->cand[i].addr)) {
        found = &w->v[k];
      }
    }
    if (found != NULL) {
      found->held = 1;
      d->cand[kept] = d->cand[i];
      d->base[kept++] = d->base[i];
      continue;
    }
    aq_candidate gone = d->cand[i];
    gone.state = AQ_CAND_REMOVED;
    disc_push_change(d, &gone, 1);
    changed = 1;
  }
  d->ncand = kept;
  return changed;
}

/* Inserts behind all that are as good or better. */
static void disc_insert(aq_disc *d, const disc_want *w) {
  aq_candidate c = {
      .addr = w->addr,
      .priority = w->priority,
      .seq = d->next_seq++,
      .source = w->source,
      .state = AQ_CAND_NEW,
  };
  size_t at = d->ncand++;
  while (at > 0 && d->cand[at - 1].priority < c.priority) {
    d->cand[at] = d->cand[at - 1];
    d->base[at] = d->base[at - 1];
    at--;
  }
  d->cand[at] = c;
  d->base[at] = w->base;
  disc_push_change(d, &c, 0);
}

/* Computes the set anew. Returns 1 when it changed. */
static int disc_update(aq_disc *d) {
  disc_wants w;
  w.n = 0;
  disc_want_hosts(d, &w);
  disc_want_observed(d, &w);
  disc_sort(w.v, w.n);
  disc_cut(d, &w);
  int changed = disc_remove_unwanted(d, &w);
  for (size_t i = 0; i < w.n; i++) {
    if (!w.v[i].held) {
      disc_insert(d, &w.v[i]);
      changed = 1;
    }
  }
  return changed;
}

/* ---- what is told -------------------------------------------------------- */

void aq_disc_init(aq_disc *d, uint32_t max_candidates, int allow_reserved) {
  memset(d, 0, sizeof(*d));
  d->max_candidates = max_candidates == 0                 ? 1
                      : max_candidates > AQ_DISC_MAX_CAND ? AQ_DISC_MAX_CAND
                                                          : max_candidates;
  d->allow_reserved = allow_reserved != 0;
}

void aq_disc_add_socket(aq_disc *d, aq_tstamp now, const aq_local_socket *s) {
  (void)now;
  if (s->index >= AQ_MAX_SOCKETS) {
    return;
  }
  size_t at = 0;
  while (at < d->nsock && d->sock[at].index != s->index) {
    at++;
  }
  if (at == d->nsock) {
    d->nsock++; /* indices differ, so there are at most AQ_MAX_SOCKETS */
  }
  /* What was seen of another socket under this index is about that one. */
  d->kept[s->index] = (aq_addr){0};
  for (size_t i = 0; i < AQ_DISC_MAX_OBSERVERS; i++) {
    if (d->obs[i].socket == s->index) {
      d->obs[i].used = 0;
    }
  }
  d->sock[at] = *s;
  aq_addr_normalize(&d->sock[at].bound);
  d->allow_loopback = 0;
  for (size_t i = 0; i < d->nsock; i++) {
    if (aq_addr_classify(&d->sock[i].bound) == AQ_ADDR_LOOPBACK) {
      d->allow_loopback = 1;
    }
  }
  disc_update(d);
}

int aq_disc_set_local(aq_disc *d, aq_tstamp now, const aq_addr *v, size_t n) {
  (void)now;
  d->nlocal = 0;
  for (size_t i = 0; i < n && d->nlocal < AQ_DISC_MAX_LOCAL; i++) {
    aq_addr a = v[i];
    aq_addr_normalize(&a);
    a.port = 0;
    if (disc_usable(d, &a)) {
      d->local[d->nlocal++] = a;
    }
  }
  return disc_update(d);
}

/* The observer's own slot, a free one, or the oldest that is not trusted. */
static aq_observation *disc_slot(aq_disc *d, aq_id conn) {
  aq_observation *pick = NULL;
  for (size_t i = 0; i < AQ_DISC_MAX_OBSERVERS; i++) {
    aq_observation *o = &d->obs[i];
    if (o->used && o->conn == conn) {
      return o;
    }
    if (!o->used) {
      if (pick == NULL || pick->used) {
        pick = o;
      }
    } else if (!o->trusted &&
               (pick == NULL || (pick->used && o->at < pick->at))) {
      pick = o;
    }
  }
  return pick;
}

int aq_disc_observe(aq_disc *d, aq_tstamp now, aq_id conn,
                    const aq_addr *observer, uint32_t socket, uint64_t seq,
                    const aq_addr *addr, int trusted) {
  aq_addr a = *addr;
  aq_addr_normalize(&a);
  aq_observation *o = NULL;
  if (socket >= AQ_MAX_SOCKETS) {
    return 0; /* one for a while, that nobody is told of */
  }
  if (a.port != 0 && disc_usable(d, &a)) {
    o = disc_slot(d, conn);
  }
  if (o == NULL) {
    d->observed_ignored++;
    return 0;
  }
  if (o->used && o->conn == conn && seq <= o->seq) {
    return 0;
  }
  *o = (aq_observation){
      .used = 1,
      .trusted = trusted != 0,
      .conn = conn,
      .observer = *observer,
      .addr = a,
      .socket = socket,
      .seq = seq,
      .at = now,
  };
  aq_addr_normalize(&o->observer);
  return disc_update(d);
}

int aq_disc_forget(aq_disc *d, aq_tstamp now, aq_id conn) {
  (void)now;
  for (size_t i = 0; i < AQ_DISC_MAX_OBSERVERS; i++) {
    if (d->obs[i].used && d->obs[i].conn == conn) {
      d->obs[i].used = 0;
      return disc_update(d);
    }
  }
  return 0;
}

int aq_disc_poll_change(aq_disc *d, aq_disc_change *out) {
  if (d->nchange == 0) {
    return 0;
  }
  *out = d->change[0];
  d->nchange--;
  memmove(&d->change[0], &d->change[1], d->nchange * sizeof(d->change[0]));
  return 1;
}
