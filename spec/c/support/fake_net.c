/* fake_net.c - see fake_net.h
 *
 * SPDX-License-Identifier: MIT */
#include "support/fake_net.h"

#include "base/addr.h"
#include "base/hash.h"
#include "base/time.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const fake_nat_kind
    FAKE_FULL_CONE = {"full_cone", FAKE_EI, FAKE_EI, 0, 0, 1},
    FAKE_ADDR_RESTR = {"addr_restr", FAKE_EI, FAKE_AD, 0, 0, 0},
    FAKE_PORT_RESTR = {"port_restr", FAKE_EI, FAKE_APD, 0, 0, 0},
    FAKE_LINUX = {"linux", FAKE_EI, FAKE_APD, 1, 0, 0},
    FAKE_LINUX_OPEN = {"linux_open", FAKE_EI, FAKE_APD, 1, 1, 0},
    FAKE_SYMMETRIC = {"symmetric", FAKE_APD, FAKE_APD, 0, 0, 0},
    FAKE_SYM_EIF = {"sym_eif", FAKE_APD, FAKE_EI, 0, 0, 0},
    FAKE_FIREWALL = {"firewall", FAKE_EI, FAKE_APD, 0, 0, 0};

enum { PUNCH, INITIAL, REPLY, FINISH, REFUSE, RESEND, CONTROL };
enum { COORDINATOR = 2 };

aq_addr fake_addr(const char *text) {
  aq_addr a;
  if (aq_addr_parse(&a, text, strlen(text))) {
    fprintf(stderr, "bad address %s\n", text);
    abort();
  }
  return a;
}

static void trace(fake_world *w, int who, const char *format, ...) {
  if (w->quiet || w->ntrace > sizeof(w->trace) - 256) {
    return;
  }
  char *at = w->trace + w->ntrace;
  size_t cap = sizeof(w->trace) - w->ntrace;
  int n =
      snprintf(at, cap, "%7.1f %s ", (double)w->now / 1e6, w->peer[who].name);
  va_list ap;
  va_start(ap, format);
  n += vsnprintf(at + n, cap - (size_t)n, format, ap);
  va_end(ap);
  n += snprintf(at + n, cap - (size_t)n, "\n");
  w->ntrace += (size_t)n;
}

static fake_item *schedule(fake_world *w, aq_tstamp at, int kind, int to) {
  if (w->nitem == FAKE_QUEUE) {
    fprintf(stderr, "the world's queue is full\n");
    abort();
  }
  fake_item *it = &w->item[w->nitem++];
  memset(it, 0, sizeof(*it));
  it->at = at;
  it->order = w->order++;
  it->kind = kind;
  it->to = to;
  return it;
}

/* ---- NATs --------------------------------------------------------------- */

static int fits(fake_rule rule, const aq_addr *flow, const aq_addr *remote) {
  return rule == FAKE_EI ||
         (rule == FAKE_AD && aq_addr_same_ip(flow, remote)) ||
         aq_addr_equal(flow, remote);
}

static int is_taken(const fake_nat *n, uint16_t port, const aq_addr *remote) {
  for (size_t i = 0; i < n->nflow; i++) {
    if (n->flow[i].port == port && aq_addr_equal(&n->flow[i].remote, remote)) {
      return 1;
    }
  }
  return 0;
}

static fake_flow *flow_add(fake_nat *n, const aq_addr *remote, uint16_t port) {
  if (n->nflow == FAKE_FLOWS) {
    fprintf(stderr, "a NAT is full\n");
    abort();
  }
  fake_flow *f = &n->flow[n->nflow++];
  memset(f, 0, sizeof(*f));
  f->remote = *remote;
  f->port = port;
  return f;
}

static uint16_t out_port(fake_nat *n, const aq_addr *src, const aq_addr *dst) {
  if (n->kind == &FAKE_FIREWALL) {
    return src->port;
  }
  if (n->kind->is_linux) {
    uint16_t port = src->port;
    while (is_taken(n, port, dst)) {
      port = n->next_port++;
    }
    return port;
  }
  for (size_t i = 0; i < n->nflow; i++) {
    if (aq_addr_equal(&n->flow[i].inside, src) &&
        fits(n->kind->mapping, &n->flow[i].remote, dst)) {
      return n->flow[i].port;
    }
  }
  return n->next_port++;
}

/* A datagram leaves; gives the source that the world sees. */
static aq_addr nat_out(fake_nat *n, const aq_addr *src, const aq_addr *dst) {
  if (!n->kind) {
    return *src;
  }
  aq_addr ext =
      aq_addr_v4(n->kind == &FAKE_FIREWALL ? src->ip : n->public_ip, src->port);
  for (size_t i = 0; i < n->nflow; i++) {
    fake_flow *f = &n->flow[i];
    if (!f->local && aq_addr_equal(&f->inside, src) &&
        aq_addr_equal(&f->remote, dst)) {
      ext.port = f->port;
      return ext;
    }
  }
  ext.port = out_port(n, src, dst);
  flow_add(n, dst, ext.port)->inside = *src;
  return ext;
}

/* A datagram arrives from outside; 1 and where it goes. */
static int nat_in(fake_nat *n, const aq_addr *from, const aq_addr *dst,
                  aq_addr *inside) {
  for (size_t i = 0; i < n->nflow; i++) {
    const fake_flow *f = &n->flow[i];
    if (!f->local && f->port == dst->port &&
        fits(n->kind->filtering, &f->remote, from)) {
      *inside = f->inside;
      return 1;
    }
  }
  if (n->kind->open && !is_taken(n, dst->port, from)) {
    flow_add(n, from, dst->port)->local = 1;
  }
  return 0;
}

static int has_ip(const fake_nat *n, const aq_addr *a) {
  return n->kind && memcmp(n->public_ip, a->ip, 4) == 0;
}

/* ---- datagrams -------------------------------------------------------------
 */

/* dispatch sends from |who|'s host to |dst|; the item waits in |it|'s place
 * until it arrives at the outside of the receiver. NULL: it died on the way. */
static fake_item *dispatch(fake_world *w, int who, const aq_addr *dst,
                           uint8_t ttl, int kind) {
  fake_peer *p = &w->peer[who];
  fake_peer *other = &w->peer[!who];
  int lan = p->nat && p->nat == other->nat;
  if (lan && aq_addr_equal(dst, &other->host)) {
    fake_item *it = schedule(w, w->now + w->lan, kind, !who);
    it->src = p->host;
    it->dst = *dst;
    return it;
  }
  if (aq_trav_is_private(dst)) {
    return NULL;
  }
  aq_addr src = nat_out(p->nat, &p->host, dst);
  if (ttl != 0) {
    return NULL; /* opened our NAT, died after a few hops */
  }
  if (lan && (!p->nat->kind->hairpin || !has_ip(p->nat, dst))) {
    return NULL;
  }
  fake_item *it = schedule(w, w->now + (lan ? w->lan : w->between), kind, !who);
  it->src = src;
  it->dst = *dst;
  return it;
}

static int authentic(fake_world *w, const fake_item *it) {
  const uint8_t *key = aq_trav_key(&w->peer[it->to].trav, it->punch.session);
  return w->peer[it->to].alive && key &&
         memcmp(key, it->key, sizeof(it->key)) == 0;
}

static void answer_dial(fake_world *w, const fake_item *it, int kind) {
  fake_item *r = dispatch(w, it->to, &it->src, 0, kind);
  if (r) {
    r->dial = it->dial;
    r->sent = it->sent;
  }
}

static void arrive(fake_world *w, fake_item *it) {
  fake_peer *p = &w->peer[it->to];
  char text[AQ_ADDR_STRLEN];
  aq_addr inside = it->dst;
  if (!aq_addr_equal(&it->dst, &p->host)) {
    if (!has_ip(p->nat, &it->dst) ||
        !nat_in(p->nat, &it->src, &it->dst, &inside)) {
      return;
    }
  } else if (p->nat->kind && !aq_trav_is_private(&it->dst) &&
             !nat_in(p->nat, &it->src, &it->dst, &inside)) {
    return; /* a firewall's host has a public address */
  }
  if (!aq_addr_equal(&inside, &p->host)) {
    return;
  }
  aq_addr_format(&it->src, text);
  switch (it->kind) {
  case PUNCH:
    if (authentic(w, it)) {
      trace(w, it->to, "hears %s from %s",
            it->punch.type == AQ_PUNCH_ANSWER ? "an answer" : "a probe", text);
      aq_trav_handle_punch(&p->trav, w->now, 0, &it->src, &it->punch);
    }
    break;
  case INITIAL:
    answer_dial(w, it, p->refuses_quic ? REFUSE : REPLY);
    break;
  case REPLY:
    if (p->alive && aq_trav_dial_find(&p->trav, it->dial)) {
      answer_dial(w, it, FINISH);
      p->connected_at = w->now;
      w->handshakes++;
      aq_trav_handle_dial(&p->trav, w->now, it->dial, 0, w->now - it->sent);
    }
    break;
  case REFUSE:
    if (p->alive) {
      aq_trav_handle_dial(&p->trav, w->now, it->dial,
                          w->peer[!it->to].refuses_quic, 0);
    }
    break;
  case FINISH:
    p->connected_at = w->now;
    if (p->alive) {
      aq_trav_handle_connected(&p->trav, w->now, &it->src, 0);
    }
    break;
  default:
    break;
  }
}

static void send_initial(fake_world *w, int who, uint32_t dial,
                         const aq_addr *addr, aq_tstamp first,
                         aq_duration pto) {
  if (w->lost_dial_datagrams) {
    w->lost_dial_datagrams--;
  } else {
    fake_item *it = dispatch(w, who, addr, 0, INITIAL);
    if (it) {
      it->dial = dial;
      it->sent = first;
    }
  }
  fake_item *again = schedule(w, w->now + pto, RESEND, who);
  again->dial = dial;
  again->dst = *addr;
  again->sent = first;
  again->order = w->order++;
  memcpy(again->key, &pto, sizeof(pto));
}

/* ---- control messages -------------------------------------------------------
 */

aq_id fake_conn(int who, int c) {
  return (aq_id)(100 + 10 * c + who);
}

static int who_of(aq_id conn) {
  return (int)(conn % 10);
}

static int coord_of(aq_id conn) {
  return (int)((conn - 100) / 10);
}

static aq_addr coord_addr(int c) {
  uint8_t ip[4] = {203, 0, 113, (uint8_t)(c + 1)};
  return aq_addr_v4(ip, 4433);
}

static aq_duration way(const fake_peer *p, int c) {
  return p->to_c + p->far[c];
}

static void control(fake_world *w, int by, int to, int via, const aq_ctl *m) {
  fake_peer *p = &w->peer[by == COORDINATOR ? to : by];
  if (p->mute || p->cut[via]) {
    return;
  }
  aq_tstamp at = w->now + way(p, via) + (by == COORDINATOR ? p->late : 0);
  fake_item *it = schedule(w, at, CONTROL, to);
  it->by = by;
  it->via = via;
  it->ctl = *m;
}

static aq_coord_peer coord_peer(const fake_world *w, int who, int c) {
  const fake_peer *p = &w->peer[who];
  aq_coord_peer at = {fake_conn(who, c), p->id, p->observed, 2 * way(p, c)};
  return at;
}

static void at_coordinator(fake_world *w, const fake_item *it) {
  aq_coord_msg out[AQ_COORD_OUT_MAX];
  aq_statistics stats = {0};
  uint8_t random[AQ_CTL_SESSION_LEN + AQ_PUNCH_KEY_LEN];
  for (size_t i = 0; i < sizeof(random); i++) {
    random[i] = (uint8_t)(w->rng = aq_mix64(w->rng + 1));
  }
  aq_coord *c = w->coord[it->via];
  if (w->dies[it->via] <= w->now) {
    return;
  }
  aq_coord_peer from = coord_peer(w, it->by, it->via);
  aq_coord_peer target = coord_peer(w, !it->by, it->via);
  int known = aq_coord_lookup(c, &it->ctl.peer) == target.conn;
  size_t n = aq_coord_handle(c, w->now, &from, &it->ctl, known ? &target : NULL,
                             random, out, &stats);
  for (size_t i = 0; i < n; i++) {
    control(w, COORDINATOR, who_of(out[i].conn), it->via, &out[i].m);
  }
}

static void params(fake_world *w, int who, aq_trav_params *p) {
  fake_peer *me = &w->peer[who];
  memset(p, 0, sizeof(*p));
  p->self = me->id;
  p->peer = w->peer[!who].id;
  p->strategy = me->strategy;
  p->allow_reserved = 1;
  p->timeout = me->timeout;
  p->coordination_timeout = 10 * AQ_S;
  p->nsock = 1;
  p->sock[0].bound = me->host;
  memset(p->sock[0].bound.ip, 0, 16);
  p->nknown = me->nknown;
  memcpy(p->known, me->known, sizeof(p->known));
  p->seed = (uint64_t)who + 1;
}

static void at_peer(fake_world *w, const fake_item *it) {
  fake_peer *p = &w->peer[it->to];
  const aq_ctl *m = &it->ctl;
  aq_id conn = fake_conn(it->to, it->via);
  switch (m->type) {
  case AQ_CTL_ANSWER:
    trace(w, it->to, "has the coordinator's answer");
    aq_trav_handle_answer(&p->trav, w->now, conn, m);
    break;
  case AQ_CTL_ERROR:
    trace(w, it->to, "hears from the coordinator: %s",
          aq_error_text(aq_ctl_error_code(m->error)));
    if (p->alive) {
      aq_trav_handle_error(&p->trav, w->now, conn, m->request,
                           aq_ctl_error_code(m->error),
                           m->retry_after_ms * AQ_MS);
    }
    break;
  case AQ_CTL_OFFER:
    if (p->connected_at) {
      break; /* an owner ignores offers of a peer that is connected */
    }
    trace(w, it->to, "has an offer");
    if (p->alive) {
      aq_trav_handle_offer(&p->trav, w->now, m, conn);
    } else {
      aq_trav_params tp;
      params(w, it->to, &tp);
      p->alive = 1;
      aq_trav_init_target(&p->trav, w->now, &tp, m, conn, p->ask, AQ_NEVER);
      aq_trav_set_punch(&p->trav, &p->punch);
      aq_trav_handle_timeout(&p->trav, w->now);
      p->decide_at = p->ask ? w->now + p->think : AQ_NEVER;
    }
    break;
  case AQ_CTL_CANCEL:
    trace(w, it->to, "hears that the other gave up");
    if (p->alive) {
      aq_trav_handle_cancel(&p->trav, w->now, conn, m->session);
    }
    break;
  default:
    break;
  }
}

/* ---- what sessions ask for
 * ----------------------------------------------------- */

/* The coordinators in their order, each once in an attempt. */
static int choose(fake_world *w, int who, const aq_trav_action *a) {
  fake_peer *p = &w->peer[who];
  if (p->attempt != a->attempt) {
    p->attempt = a->attempt;
    p->tried = 0;
  }
  for (int c = 0; c < w->ncoord; c++) {
    if (a->conn ? a->conn == fake_conn(who, c) : !(p->tried >> c & 1)) {
      return c;
    }
  }
  return -1;
}

static void act_request(fake_world *w, int who, const aq_trav_action *a) {
  fake_peer *p = &w->peer[who];
  int c = choose(w, who, a);
  if (c < 0) {
    aq_trav_handle_unasked(&p->trav, w->now, a->ask, AQ_ERR_NO_BOOTSTRAP_NODES);
    return;
  }
  p->tried |= 1u << c;
  aq_ctl m = {.type = AQ_CTL_REQUEST, .request = ++p->next_request};
  m.peer = w->peer[!who].id;
  m.nonce[0] = (uint8_t)(who + 1);
  m.nonce[1] = (uint8_t)a->attempt;
  trace(w, who,
        c ? "asks coordinator %d for %s" : "asks the coordinator%.0d for %s", c,
        w->peer[!who].name);
  aq_addr at = coord_addr(c);
  aq_trav_handle_requested(&p->trav, w->now, a->ask, fake_conn(who, c), &at,
                           2 * way(p, c), m.request);
  control(w, who, COORDINATOR, c, &m);
}

static void act_session(fake_world *w, int who, uint64_t type,
                        const aq_trav_action *a) {
  aq_ctl m = {.type = type, .request = a->request};
  m.error = aq_ctl_error_wire(a->error);
  memcpy(m.session, a->session, sizeof(m.session));
  w->peer[who].cancels += type == AQ_CTL_CANCEL;
  w->peer[who].silent += type == AQ_CTL_CANCEL && a->error == AQ_ERR_TIMEOUT;
  trace(w, who, type == AQ_CTL_VETO ? "refuses" : "tells that it gave up");
  control(w, who, COORDINATOR, coord_of(a->conn), &m);
}

static void act_punch(fake_world *w, int who, const aq_trav_action *a) {
  static const char *const names[] = {"", "probe", "answer", "opener"};
  char text[AQ_ADDR_STRLEN];
  trace(w, who, "%s to %s", names[a->punch.type],
        aq_addr_format(&a->addr, text));
  fake_item *it = dispatch(w, who, &a->addr, a->ttl, PUNCH);
  if (it) {
    it->punch = a->punch;
    const uint8_t *key = aq_trav_key(&w->peer[who].trav, a->punch.session);
    memcpy(it->key, key, key ? sizeof(it->key) : 0);
  }
}

static void act(fake_world *w, int who, const aq_trav_action *a) {
  fake_peer *p = &w->peer[who];
  char text[AQ_ADDR_STRLEN];
  switch (a->kind) {
  case AQ_TRAV_REQUEST:
    act_request(w, who, a);
    break;
  case AQ_TRAV_CANCEL:
    act_session(w, who, AQ_CTL_CANCEL, a);
    break;
  case AQ_TRAV_VETO:
    act_session(w, who, AQ_CTL_VETO, a);
    break;
  case AQ_TRAV_PUNCH:
    act_punch(w, who, a);
    break;
  case AQ_TRAV_DIAL:
    trace(w, who, "dials %s", aq_addr_format(&a->addr, text));
    send_initial(w, who, a->dial, &a->addr, w->now, a->rtt ? 3 * a->rtt : AQ_S);
    break;
  case AQ_TRAV_OPEN: /* sessions with plans need whole endpoints: world.h */
  case AQ_TRAV_OBSERVE:
  case AQ_TRAV_HINT:
  case AQ_TRAV_CLOSE:
  case AQ_TRAV_TUNNEL:
    fprintf(stderr, "this world has no extra sockets and no relay\n");
    abort();
  case AQ_TRAV_WATCH: /* its coordinators only die by losing connections */
    break;
  case AQ_TRAV_HANGUP:
    trace(w, who, "hangs up %s", aq_addr_format(&a->addr, text));
    break;
  case AQ_TRAV_DONE:
    p->done++;
    p->alive = 0;
    p->error = a->error;
    p->over_at = w->now;
    trace(w, who, "is done: %s", a->error ? aq_error_text(a->error) : "ok");
    break;
  }
}

void fake_drain(fake_world *w, int who) {
  fake_peer *p = &w->peer[who];
  if (!p->began && !p->alive) {
    return;
  }
  aq_event e;
  aq_trav_action a;
  do {
    while (aq_trav_poll_event(&p->trav, &e)) {
      if (e.kind == AQ_EVENT_PHASE_TRANSITION) {
        p->phases |= 1u << e.to;
        trace(w, who, "-> %s: %s", aq_phase_name((aq_phase)e.to), e.text);
      } else if (e.kind == AQ_EVENT_STEP_DONE) {
        p->step_error[e.value] = e.error;
        p->steps++;
        if (e.value == AQ_TRAV_STEP_COORDINATE && !e.error) {
          (void)aq_trav_step_punch(&p->trav, w->now, NULL);
        } else if (e.error) {
          aq_trav_finish(&p->trav, w->now, e.error);
        }
      }
    }
    if (!aq_trav_poll_action(&p->trav, w->now, &a)) {
      return;
    }
    act(w, who, &a);
  } while (1);
}

/* ---- the world
 * ------------------------------------------------------------------ */

static void register_peer(fake_world *w, int who, int c) {
  fake_peer *p = &w->peer[who];
  aq_addr at = coord_addr(c);
  p->observed = nat_out(p->nat, &p->host, &at);
  if (p->mute) {
    return;
  }
  aq_ctl m = {.type = AQ_CTL_REGISTER, .cand_count = !p->hides};
  m.cand[0].addr = p->host;
  m.cand[0].source = AQ_SOURCE_LOCAL;
  aq_coord_msg out[AQ_COORD_OUT_MAX];
  aq_statistics stats = {0};
  uint8_t random[AQ_CTL_SESSION_LEN + AQ_PUNCH_KEY_LEN] = {7};
  aq_coord_peer from = coord_peer(w, who, c);
  aq_coord_handle(w->coord[c], 0, &from, &m, NULL, random, out, &stats);
}

fake_world *fake_world_new(const fake_nat_kind *i, const fake_nat_kind *t) {
  fake_world *w = calloc(1, sizeof(*w));
  aq_coord_params cp;
  aq_coord_params_init(&cp);
  cp.allow_reserved = 1;
  cp.max_registrations = 64;
  if (!w) {
    abort();
  }
  for (int c = 0; c < FAKE_COORDS; c++) {
    if (aq_coord_new(&w->coord[c], &cp, NULL)) {
      abort();
    }
    w->dies[c] = AQ_NEVER;
  }
  w->ncoord = 1;
  w->between = 25 * AQ_MS;
  w->lan = AQ_MS;
  for (int k = 0; k < 2; k++) {
    fake_peer *p = &w->peer[k];
    const fake_nat_kind *kind = k ? t : i;
    uint8_t ip[4] = {198, 51, 100, (uint8_t)(k + 1)};
    p->name = k ? "T" : "I";
    memset(p->id.bytes, k + 1, 32);
    w->nat[k].kind = kind;
    w->nat[k].next_port = (uint16_t)(20000 + 1000 * k);
    memcpy(w->nat[k].public_ip, ip, 4);
    p->nat = &w->nat[k];
    p->host = kind && kind != &FAKE_FIREWALL
                  ? fake_addr(k ? "10.0.1.2:4001" : "10.0.0.2:4000")
                  : aq_addr_v4(ip, (uint16_t)(4000 + k));
    p->to_c = 25 * AQ_MS;
    p->initiates = k == 0;
    p->accept = 1;
    p->timeout = 30 * AQ_S;
    aq_coordinate_step_init(&p->asks);
    p->decide_at = AQ_NEVER;
    aq_punch_step_init(&p->punch);
  }
  return w;
}

void fake_world_del(fake_world *w) {
  for (int c = 0; c < FAKE_COORDS; c++) {
    aq_coord_del(w->coord[c]);
  }
  free(w);
}

static void begin(fake_world *w, int who) {
  fake_peer *p = &w->peer[who];
  aq_trav_params tp;
  params(w, who, &tp);
  p->began = p->alive = 1;
  aq_trav_init(&p->trav, w->now, &tp);
  aq_trav_set_punch(&p->trav, &p->punch);
  if (p->strategy == AQ_STRATEGY_STEPS) {
    (void)aq_trav_step_coordinate(&p->trav, w->now, &p->asks);
  }
}

static aq_tstamp next_of(const fake_world *w, int who) {
  const fake_peer *p = &w->peer[who];
  aq_tstamp next = p->decide_at;
  if (p->initiates && !p->began && !p->alive && !p->done) {
    next = aq_time_min(next, p->start);
  }
  return p->alive ? aq_time_min(next, aq_trav_next_timeout(&p->trav)) : next;
}

static void due(fake_world *w, int who) {
  fake_peer *p = &w->peer[who];
  if (p->initiates && !p->began && !p->alive && !p->done &&
      p->start <= w->now) {
    begin(w, who);
  }
  if (p->alive && p->decide_at <= w->now) {
    p->decide_at = AQ_NEVER;
    aq_trav_decide(&p->trav, w->now, p->accept);
  }
  if (p->alive) {
    aq_trav_handle_timeout(&p->trav, w->now);
  }
  fake_drain(w, who);
}

static void deliver(fake_world *w, fake_item *it) {
  if (it->kind == CONTROL) {
    if (it->to == COORDINATOR) {
      at_coordinator(w, it);
    } else if (!w->peer[it->to].cut[it->via]) {
      at_peer(w, it);
      fake_drain(w, it->to);
    }
  } else if (it->kind == RESEND) {
    fake_peer *p = &w->peer[it->to];
    aq_duration pto;
    memcpy(&pto, it->key, sizeof(pto));
    if (p->alive && aq_trav_dial_find(&p->trav, it->dial)) {
      send_initial(w, it->to, it->dial, &it->dst, it->sent, 2 * pto);
    }
  } else {
    arrive(w, it);
    fake_drain(w, it->to);
  }
}

void fake_world_run(fake_world *w, aq_tstamp until) {
  for (int c = 0; w->now == 0 && c < w->ncoord; c++) {
    if (aq_coord_count(w->coord[c]) == 0) {
      register_peer(w, 0, c);
      register_peer(w, 1, c);
    }
  }
  for (;;) {
    size_t first = w->nitem;
    aq_tstamp next = aq_time_min(next_of(w, 0), next_of(w, 1));
    for (size_t i = 0; i < w->nitem; i++) {
      if (first == w->nitem || w->item[i].at < w->item[first].at ||
          (w->item[i].at == w->item[first].at &&
           w->item[i].order < w->item[first].order)) {
        first = i;
      }
    }
    int item = first < w->nitem && w->item[first].at <= next;
    next = item ? w->item[first].at : next;
    if (next == AQ_NEVER || next > until) {
      w->now = until == AQ_NEVER ? w->now : until;
      return;
    }
    w->now = aq_time_max(w->now, next);
    if (item) {
      fake_item it = w->item[first];
      w->item[first] = w->item[--w->nitem];
      deliver(w, &it);
    } else {
      due(w, 0);
      due(w, 1);
    }
  }
}
