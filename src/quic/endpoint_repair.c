/* endpoint_repair.c - connections whose path was lost: noticed, told, moved to
 * another one.
 *
 * A path is suspected when an answer is due and nothing came for |patience|.
 * Who only receives can't know that anything is due, but when data came and
 * then nothing more while a stream is open, it asks by a PING, which is then
 * what is due; each further question waits twice as long. An idle connection
 * asks nothing.
 *
 * Once suspected, both peers do the same: they wake their coordinators, ask one
 * of them for a new path (plan REPAIR: new sockets at both ends, openers first)
 * and the QUIC client moves the connection there, after path validation.
 *
 * The client of a connection that goes over a relay tries the same, with pauses
 * that double, although nothing is wrong: an upgrade.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <stdio.h>
#include <string.h>

/* Between questions to a path or a coordinator that is silent; and after a
 * while, when hardly anybody waits any more. */
#define TICK AQ_S
#define TICK_SLOW (15 * AQ_S)
#define SLOW_AFTER (60 * AQ_S)
/* Pause after a failed attempt, but for the first: doubles from the first to
 * the second, plus up to a quarter at random. */
#define BACKOFF_MIN (500 * AQ_MS)
#define BACKOFF_MAX (16 * AQ_S)
/* A peer that says that it has no such connection is not believed before. */
#define GONE_AFTER (2 * AQ_S)
/* The peer follows to the new path when a packet comes over it that is more
 * than a validation. We may have none but a PING; and one may be lost. */
#define NUDGES 3
/* So often in a row a peer that is busy is asked the same again. */
#define BUSY_TRIES 3
/* Questions of a receiver stop when they would be this far apart. */
#define ASK_MAX (8 * AQ_S)

/* ---- how long silence may last ---------------------------------------------
 */

/* Three probe time-outs, but a second at most unless the path is slow; none
 * where it is known that nothing passes. */
static aq_duration patience(const aq_link *l) {
  if (aq_tunnel_is_over(l->ep, l->socket)) {
    return 0;
  }
  aq_duration pto = aq_conn_pto(l->c);
  aq_duration most = aq_time_max(AQ_S, pto + pto / 2);
  if (l->repair.hurry) { /* our address changed: an answer would surprise */
    return aq_time_clamp(2 * pto, 50 * AQ_MS, most);
  }
  return aq_time_clamp(3 * pto, 300 * AQ_MS, most);
}

static aq_tstamp suspect_at(const aq_link *l) {
  aq_tstamp due = aq_conn_due_since(l->c);
  return due == AQ_NEVER ? due : aq_time_add(due, patience(l));
}

static aq_tstamp wary_at(const aq_link *l) {
  aq_tstamp due = aq_conn_due_since(l->c);
  return due == AQ_NEVER ? due : aq_time_add(due, patience(l) / 2);
}

static aq_tstamp ask_at(const aq_link *l) {
  if (l->repair.flows == 0 || aq_conn_due_since(l->c) != AQ_NEVER) {
    return AQ_NEVER;
  }
  return aq_time_add(aq_conn_heard_at(l->c), patience(l) << l->repair.asks);
}

int aq_link_is_silent(const aq_link *l) {
  return suspect_at(l) <= l->ep->now;
}

void aq_link_ping(aq_link *l) {
  aq_conn_ping_now(l->c, l->ep->now);
  aq_link_touch(l);
}

/* Our mappings at the coordinators may be gone as well, and they say where we
 * are seen now. Who was lost may be there again. */
static void wake_coordinators(aq_endpoint *ep) {
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    aq_boot *b = &ep->boot[i];
    if (!b->used || aq_time_since(ep->now, b->woken) < TICK) {
      continue;
    }
    b->woken = ep->now;
    if (b->connected) {
      aq_link_ping(b->link);
    } else if (b->link == NULL) {
      aq_boot_soon(ep, b);
    }
  }
}

static aq_duration tick_of(const aq_link *l) {
  aq_duration since = aq_time_since(l->ep->now, l->repair.since);
  return since < SLOW_AFTER ? TICK : TICK_SLOW;
}

static int is_watched(const aq_link *l) {
  return l->state == AQ_LINK_EXPOSED && l->confirmed && !l->doomed &&
         !aq_conn_is_closed(l->c) && !l->ep->closing;
}

/* ---- an attempt ------------------------------------------------------------
 */

static int is_home(const aq_link *l) {
  return l->socket == l->repair.home_socket &&
         aq_addr_equal(&l->remote, &l->repair.home);
}

void aq_repair_joined(aq_link *l, aq_session *s) {
  aq_repair *r = &l->repair;
  s->repair = 1;
  l->ep->nrepairs += s->initiator; /* a peer's have the bound of targets */
  s->conn = l->id;
  r->began = l->ep->now;
  r->session = s->id;
  r->dial = 0;
  r->home_socket = l->socket;
  r->home = l->remote;
  r->upgrade = (uint8_t)aq_tunnel_is_socket(l->socket);
  if (r->upgrade) {
    l->ep->stats.upgrades_started++;
  } else {
    l->ep->stats.repairs_started++;
  }
}

/* With its peer. What a coordinator says of another attempt doesn't keep a
 * suspected path waiting for long. */
static int is_busy(const aq_link *l) {
  aq_session *s = l->contact->session; /* its end touches |l| */
  if (s != NULL && !s->over && !s->initiator && !s->repair &&
      l->repair.suspected && aq_turn_is_over(s)) {
    aq_trav_finish(s->trav, l->ep->now, AQ_ERR_CANCELLED);
    aq_session_touch(s);
  }
  return s != NULL;
}

/* A coordinator is public: what it hears from us tells it where we are. While
 * it is silent itself nothing is asked: all of that would come at once later,
 * when it is heard again, and leave no request of ours for what is needed then.
 */
static int may_begin(const aq_link *l) {
  if (l->boot != NULL || is_busy(l) || l->repair.next_at > l->ep->now ||
      !aq_conn_has_control(l->c)) {
    return 0;
  }
  const aq_boot *b = aq_boot_best(l->ep, 0, 0, 0);
  /* Until it is registered it isn't known to relay. */
  return b != NULL && b->link->registered && !b->link->repair.suspected;
}

/* New sockets alone bring those two NATs together, as far as is known. */
static int is_easy(const aq_link *l) {
  int sure;
  const aq_nat_profile *me = &l->ep->profile, *you = &l->repair.theirs;
  return aq_trav_repair_how(me, you) == AQ_PLAN_FRESH &&
         aq_trav_choose(me, you, &sure) != AQ_TRAV_HOPELESS;
}

/* Every other attempt to leave a dead path is over a relay; the first one when
 * it went over one, or when a direct one takes long, if it can be had at all.
 * What is coordinated is between the peers themselves, see endpoint_ctl.c. */
static int wants_relay(const aq_link *l) {
  int first = aq_tunnel_is_socket(l->socket) || !is_easy(l);
  int turn = (l->repair.turn & 1) != first;
  return turn && l->repair.suspected && !l->is_registrant &&
         aq_session_may_relay(l->ep);
}

static void begin(aq_link *l) {
  aq_repair *r = &l->repair;
  aq_session *s;
  if (l->ep->nrepairs >= AQ_MAX_REPAIRS) {
    AQ_LIMIT_HIT(l->ep, limit_repairs_at_once);
    return;
  }
  r->next_at = aq_time_add(l->ep->now, TICK);
  if (aq_session_repair(l, wants_relay(l), &s) == 0) {
    aq_repair_joined(l, s);
  }
}

int aq_repair_move(aq_session *s, const aq_trav_action *a) {
  aq_endpoint *ep = s->ep;
  aq_link *l = aq_link_get(ep, s->conn);
  const aq_local_socket *sock = aq_ep_socket(ep, a->socket);
  if (l == NULL || sock == NULL || l->repair.session != s->id ||
      l->boot != NULL || !is_watched(l)) {
    return AQ_ERR_CLOSED;
  }
  int rv = aq_conn_migrate(l->c, ep->now, sock->index, &sock->bound, &a->addr);
  if (rv == 0) {
    l->repair.dial = a->dial;
    aq_link_touch(l);
  }
  return rv;
}

void aq_repair_take(aq_link *l, const aq_link *other) {
  const aq_local_socket *sock = aq_ep_socket(l->ep, other->socket);
  if (!l->client || !is_watched(l) || !aq_tunnel_is_socket(l->socket) ||
      sock == NULL || aq_tunnel_is_socket(sock->index)) {
    return;
  }
  aq_addr to = *aq_conn_proven(other->c);
  if (aq_conn_migrate(l->c, l->ep->now, sock->index, &sock->bound, &to) == 0) {
    aq_link_touch(l);
  }
}

/* It was restarted. A coordinator might lie, so the others are asked as well,
 * and a connection that may live yet is asked for once more. */
void aq_repair_gone(aq_session *s, const aq_link *via, int forgotten) {
  aq_link *l = aq_link_get(s->ep, s->conn);
  if (l == NULL || !l->repair.suspected || !is_watched(l)) {
    return;
  }
  l->repair.forgotten |= (uint8_t)forgotten;
  if (!aq_turn_missed(l, via) || !l->repair.forgotten) {
    return;
  }
  if (aq_time_since(s->ep->now, aq_conn_heard_at(l->c)) < GONE_AFTER) {
    l->repair.gone = 1;
    return;
  }
  l->close_error = AQ_ERR_STATELESS_RESET;
  snprintf(l->close_text, sizeof(l->close_text),
           "the peer has no such connection any more");
  aq_link_close(l, 0, NGTCP2_NO_ERROR, "", 0);
}

void aq_repair_busy(const aq_session *s) {
  aq_link *l = aq_link_get(s->ep, s->conn);
  if (l != NULL) {
    l->repair.busy = 1;
  }
}

/* Those that there was no room for. */
static void next_in_line(aq_endpoint *ep) {
  aq_list_each(node, &ep->links) {
    aq_link *l = aq_list_entry(node, aq_link, all_node);
    if (l->repair.suspected && l->repair.session == 0) {
      aq_link_touch(l);
    }
  }
}

void aq_repair_ended(aq_session *s) {
  aq_endpoint *ep = s->ep;
  if (s->initiator && ep->nrepairs-- == AQ_MAX_REPAIRS) {
    next_in_line(ep);
  }
  aq_link *l = aq_link_get(ep, s->conn);
  if (l == NULL || l->repair.session != s->id) {
    return;
  }
  aq_repair *r = &l->repair;
  r->session = 0;
  r->dial = 0;
  if (s->info.phase == AQ_PHASE_CONNECTED) {
    if (!r->upgrade) {
      ep->stats.repairs_completed++;
    } else if (!aq_tunnel_is_socket(l->socket)) {
      ep->stats.upgrades_completed++;
    }
    r->failures = r->turn = 0;
    r->next_at = aq_time_add(ep->now, TICK);
  } else if (r->upgrade && !r->suspected) {
    r->next_at = ep->now; /* it has a timer of its own */
    r->upgrade_at = aq_time_max(r->upgrade_at, s->info.retry_at);
  } else {
    aq_duration wait = r->failures == 0
                           ? 0
                           : aq_time_clamp(BACKOFF_MIN << (r->failures - 1),
                                           BACKOFF_MIN, BACKOFF_MAX);
    ep->stats.repairs_failed += !r->upgrade;
    r->failures += r->failures < 7;
    r->turn += !r->busy || r->failures > BUSY_TRIES;
    wait += aq_rand_below(&ep->rand, wait / 4 + 1);
    r->next_at = aq_time_add(ep->now, wait);
    if (r->gone) {
      r->next_at =
          aq_time_max(ep->now, aq_time_add(aq_conn_heard_at(l->c), GONE_AFTER));
    }
  }
  r->gone = r->busy = 0;
  if (!l->doomed) {
    aq_link_touch(l);
  }
}

void aq_repair_lost(aq_link *l) {
  aq_session *s = aq_session_get(l->ep, l->repair.session);
  if (s != NULL && !s->over) {
    aq_trav_finish(s->trav, l->ep->now, AQ_ERR_PEER_NOT_CONNECTED);
    aq_session_touch(s);
  }
}

/* ---- what happens on the path ----------------------------------------------
 */

/* What became of the attempt that runs. */
static void follow(aq_link *l) {
  aq_repair *r = &l->repair;
  aq_session *s = aq_session_get(l->ep, r->session);
  if (s == NULL || s->over || aq_conn_is_migrating(l->c)) {
    return;
  }
  uint32_t dial = r->dial;
  r->dial = 0;
  if (!is_home(l) && l->client) {
    r->nudges = NUDGES;
    r->moved_at = r->nudge_at = l->ep->now;
  }
  if (!is_home(l) && dial != 0) {
    aq_trav_handle_dial(s->trav, l->ep->now, dial, 0, aq_link_rtt(l));
  } else if (!is_home(l)) {
    aq_addr remote, local;
    (void)aq_tunnel_show(l, &remote, &local);
    aq_trav_handle_connected(s->trav, l->ep->now, &remote, aq_link_rtt(l));
  } else if (dial != 0) {
    aq_trav_handle_dial(s->trav, l->ep->now, dial, AQ_ERR_VALIDATION_FAILED, 0);
  } else {
    return;
  }
  aq_session_touch(s);
}

void aq_repair_tell(aq_link *l, const aq_addr *before, int relayed) {
  const aq_repair *r = &l->repair;
  aq_step_record step;
  aq_addr at;
  memset(&step, 0, sizeof(step));
  step.step = AQ_STEP_MOVE;
  step.won = 1;
  step.started = step.ended = l->ep->now;
  step.before = *before;
  step.before_relayed = (uint8_t)relayed;
  step.relayed = (uint8_t)aq_tunnel_show(l, &step.addr, &at);
  if (r->suspected || r->told) {
    step.started = r->since;
    step.move = AQ_MOVE_SILENCE;
  } else if (r->session != 0) {
    step.started = r->began;
    step.move = r->upgrade && !step.relayed ? AQ_MOVE_DIRECT_PATH
                                            : AQ_MOVE_PEER_SILENCE;
  } else {
    step.move =
        relayed && !step.relayed ? AQ_MOVE_DIRECT_PATH : AQ_MOVE_PEER_MOVED;
  }
  aq_link_add_steps(l, &step, 1);
}

void aq_repair_retry(aq_endpoint *ep) {
  aq_list_each(node, &ep->links) {
    aq_link *l = aq_list_entry(node, aq_link, all_node);
    if (l->repair.suspected && l->boot == NULL) {
      l->repair.next_at = aq_time_min(l->repair.next_at, ep->now);
      l->repair.failures = l->repair.turn = 0;
      aq_link_touch(l);
    }
  }
}

static void heard_again(aq_link *l) {
  aq_repair *r = &l->repair;
  aq_session *s = aq_session_get(l->ep, r->session);
  r->suspected = r->hurry = 0;
  r->failures = r->turn = 0;
  r->back = is_home(l) || r->session == 0;
  /* Once datagrams came through, the QUIC client may be moving already. */
  if (s != NULL && !s->over && s->initiator && is_home(l) &&
      aq_trav_phase(s->trav) != AQ_PHASE_VALIDATION) {
    s->via = 0; /* its coordinator is not to blame */
    aq_trav_finish(s->trav, l->ep->now, AQ_ERR_CANCELLED);
    aq_session_touch(s);
  }
  if (l->boot != NULL) {
    aq_repair_retry(l->ep);
  }
}

static void suspect(aq_link *l) {
  aq_repair *r = &l->repair;
  aq_endpoint *ep = l->ep;
  if (!r->suspected) {
    r->suspected = 1;
    r->back = r->forgotten = 0;
    r->since = ep->now;
  }
  if (aq_time_since(ep->now, r->pinged) >= tick_of(l)) {
    /* The transport's own probes get rarer and rarer. */
    r->pinged = ep->now;
    aq_link_ping(l);
  }
  if (l->boot == NULL) {
    wake_coordinators(ep);
  }
  if (may_begin(l)) {
    begin(l);
  }
  r->told |= r->session != 0;
}

static void ask(aq_link *l) {
  aq_repair *r = &l->repair;
  if ((r->flows & AQ_CONN_FLOW_DATAGRAM) == 0 && !aq_conn_awaits_data(l->c)) {
    r->flows = 0;
    return;
  }
  if (r->asks == 0) {
    wake_coordinators(l->ep);
  }
  r->asks++;
  if (patience(l) << r->asks > ASK_MAX) {
    r->flows = 0; /* whatever is still to come, it takes its time */
  }
  aq_link_ping(l);
}

/* ---- from a relay to a direct path -----------------------------------------
 */

/* When that is due; AQ_NEVER: it is direct, or not ours to do. */
static aq_tstamp upgrade_at(aq_link *l) {
  aq_repair *r = &l->repair;
  if (!l->client || !aq_tunnel_is_socket(l->socket)) {
    r->upgrade_at = 0;
    return AQ_NEVER;
  }
  if (r->upgrade_at == 0) {
    const aq_session *s = aq_session_get(l->ep, l->session);
    if (r->upgrade_every == 0) {
      r->upgrade_every = s != NULL && s->upgrade_every != 0 ? s->upgrade_every
                                                            : AQ_UPGRADE_EVERY;
    }
    r->upgrade_gap = r->upgrade_every;
    r->upgrade_at = aq_time_add(l->ep->now, r->upgrade_gap);
  }
  return r->session == 0 && !r->suspected
             ? aq_time_max(r->upgrade_at, r->next_at)
             : AQ_NEVER;
}

static void upgrade(aq_link *l) {
  aq_repair *r = &l->repair;
  r->upgrade_gap = aq_time_min(aq_time_mul(r->upgrade_gap, 2),
                               aq_time_max(AQ_UPGRADE_MAX, r->upgrade_every));
  aq_duration jitter = aq_rand_below(&l->ep->rand, r->upgrade_gap / 8 + 1);
  r->upgrade_at = aq_time_add(l->ep->now, r->upgrade_gap + jitter);
  if (may_begin(l)) {
    begin(l);
  }
}

/* Our address has changed, and with it what is possible. */
static void upgrade_soon(aq_link *l) {
  aq_repair *r = &l->repair;
  if (r->upgrade_at != 0 && r->upgrade_every != AQ_NEVER) {
    r->upgrade_gap = r->upgrade_every;
    r->upgrade_at = aq_time_min(r->upgrade_at, aq_time_add(l->ep->now, TICK));
    aq_link_touch(l);
  }
}

void aq_repair_look(aq_link *l) {
  aq_repair *r = &l->repair;
  r->check_at = AQ_NEVER;
  if (!is_watched(l)) {
    return;
  }
  unsigned flows = aq_conn_take_flow(l->c);
  if (flows != 0) {
    r->flows = (uint8_t)flows;
    r->asks = 0;
  }
  if (r->session != 0) {
    follow(l);
  }
  if (r->suspected && aq_conn_heard_at(l->c) > r->since) {
    heard_again(l);
  }
  if (!r->suspected && r->session == 0) {
    r->told = 0;
  }
  if (aq_conn_heard_at(l->c) > r->moved_at) {
    r->nudges = 0;
  }
  aq_tstamp at = r->suspected ? 0 : wary_at(l);
  int wary = at <= l->ep->now;
  aq_conn_spare(l->c, wary);
  aq_tstamp nudge_at = r->nudges > 0 ? r->nudge_at : AQ_NEVER;
  if (!r->suspected) {
    r->check_at = aq_time_min(wary ? suspect_at(l) : at, ask_at(l));
    r->check_at = aq_time_min(r->check_at, upgrade_at(l));
    r->check_at = aq_time_min(r->check_at, nudge_at);
    return;
  }
  r->check_at = aq_time_min(nudge_at, aq_time_add(r->pinged, tick_of(l)));
  if (may_begin(l) && l->ep->nrepairs < AQ_MAX_REPAIRS) {
    r->check_at = l->ep->now;
  } else if (r->session == 0 && r->next_at > l->ep->now) {
    r->check_at = aq_time_min(r->check_at, r->next_at);
  }
}

static void nudge(aq_link *l) {
  aq_repair *r = &l->repair;
  r->nudges--;
  r->nudge_at = aq_time_add(
      l->ep->now, aq_time_clamp(aq_link_rtt(l), 50 * AQ_MS, 150 * AQ_MS));
  aq_link_ping(l);
}

void aq_repair_due(aq_link *l) {
  if (!is_watched(l)) {
    return;
  }
  if (l->repair.nudges > 0 && l->repair.nudge_at <= l->ep->now) {
    nudge(l);
  }
  if (l->repair.suspected || suspect_at(l) <= l->ep->now) {
    suspect(l);
  } else if (ask_at(l) <= l->ep->now) {
    ask(l);
  } else if (upgrade_at(l) <= l->ep->now) {
    upgrade(l);
  }
}

void aq_repair_hurry(aq_link *l) {
  if (is_watched(l)) {
    l->repair.hurry = 1;
    aq_link_ping(l);
  }
}

void aq_repair_moved(aq_endpoint *ep) {
  aq_list_each(node, &ep->links) {
    aq_link *l = aq_list_entry(node, aq_link, all_node);
    if (l->c != NULL) {
      aq_repair_hurry(l);
      upgrade_soon(l);
    }
  }
}

int aq_repair_is_on(const aq_link *l) {
  return l->repair.told;
}
