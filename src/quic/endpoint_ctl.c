/* endpoint_ctl.c - the control stream of a connection: registering, being
 * registered with, and what coordinators say.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include "base/addr.h"

#include <stdio.h>
#include <string.h>

void aq_link_violation(aq_link *l, const char *why) {
  aq_endpoint *ep = l->ep;
  l->close_error = AQ_ERR_PROTOCOL;
  snprintf(l->close_text, sizeof(l->close_text), "%s", why);
  aq_trace(&ep->env, AQ_LOG_WARN, "closing a connection: %s", why);
  aq_link_close(l, 0, NGTCP2_PROTOCOL_VIOLATION, why, strlen(why));
}

int aq_ctl_send(aq_link *l, const aq_ctl *m) {
  uint8_t buf[AQ_CTL_MAX];
  if (l == NULL || l->c == NULL || l->doomed || aq_conn_is_closed(l->c)) {
    return AQ_ERR_CLOSED;
  }
  size_t len = aq_ctl_format(buf, sizeof(buf), m);
  if (len == 0) {
    return AQ_ERR_INTERNAL;
  }
  int rv = aq_conn_control_write(l->c, buf, len);
  if (rv == 0) {
    AQ_RECORD(l->ep, aq_record_control(l, AQ_RECORD_CONTROL_SENT, m));
    l->ep->stats.control_messages_sent++;
    aq_link_touch(l);
  }
  return rv;
}

void aq_ctl_accepted(aq_link *l) {
  if (aq_conn_has_control(l->c)) {
    aq_ctl m;
    memset(&m, 0, sizeof(m));
    m.type = AQ_CTL_ACCEPTED;
    (void)aq_ctl_send(l, &m);
  }
}

void aq_ctl_register(aq_link *l) {
  aq_endpoint *ep = l->ep;
  l->reg_gen = ep->cand_gen;
  if (!aq_conn_has_control(l->c)) {
    return;
  }
  aq_ctl m;
  memset(&m, 0, sizeof(m));
  m.type = AQ_CTL_REGISTER;
  m.capabilities = (ep->coord != NULL ? AQ_CTL_CAP_COORDINATE : 0) |
                   (ep->relay != NULL ? AQ_CTL_CAP_RELAY : 0);
  m.profile = ep->profile;
  m.cand_count = aq_ep_published(ep, m.cand, AQ_MAX_CANDIDATES);
  (void)aq_ctl_send(l, &m);
}

/* ---- our role as coordinator
 * -------------------------------------------------- */

/* Not where its last packet came from: anybody can write a sender's address,
 * and what we vouch for is dialed unasked. */
static void fill_peer(aq_coord_peer *p, aq_link *l) {
  memset(p, 0, sizeof(*p));
  p->conn = l->id;
  p->peer = l->peer;
  p->addr = *aq_conn_proven(l->c);
  p->rtt = aq_link_rtt(l);
}

/* We vouch for where a peer is, so it must be connected itself, and have proven
 * to be there since it came out of a tunnel. */
static int coordinates_for(const aq_link *l) {
  return l->ep->coord != NULL && !aq_tunnel_is_socket(l->socket) &&
         !aq_tunnel_is_addr(aq_conn_proven(l->c));
}

/* A tunnel from |l| is wanted. Returns 1 when |m| was answered. */
static int refuse_tunnel(aq_link *l, const aq_ctl *m, const aq_link *to) {
  uint64_t error = aq_relay_asked(l->ep, l, to);
  if (error == 0) {
    return 0;
  }
  aq_ctl r;
  memset(&r, 0, sizeof(r));
  r.type = AQ_CTL_ERROR;
  r.request = m->request;
  r.error = error;
  r.retry_after_ms =
      error == AQ_CTL_ERR_NOT_ALLOWED ? 0 : AQ_RELAY_IDLE / AQ_MS;
  l->ep->stats.coordinator_refused++;
  (void)aq_ctl_send(l, &r);
  return 1;
}

static void coordinate(aq_link *l, const aq_ctl *m) {
  aq_endpoint *ep = l->ep;
  aq_ctl hint;
  aq_coord_peer from, target;
  const aq_coord_peer *to = NULL;
  aq_coord_msg out[AQ_COORD_OUT_MAX];
  uint8_t random[AQ_CTL_SESSION_LEN + AQ_PUNCH_KEY_LEN];
  memset(random, 0, sizeof(random));
  fill_peer(&from, l);
  if (m->type == AQ_CTL_REQUEST) {
    aq_link *t = aq_link_get(ep, aq_coord_lookup(ep->coord, &m->peer));
    if (t != NULL && t->c != NULL && !aq_conn_is_closed(t->c) &&
        coordinates_for(t)) {
      if (m->plan == AQ_PLAN_RELAY && refuse_tunnel(l, m, t)) {
        return;
      }
      fill_peer(&target, t);
      to = &target;
    }
  } else if (m->type == AQ_CTL_REGISTER) {
    l->is_registrant = 1;
  } else if (m->type == AQ_CTL_HINT) {
    hint = *m;
    hint.observed = aq_observe_seen(l, m->cookie);
    m = &hint;
  } else if (m->type == AQ_CTL_VETO || m->type == AQ_CTL_CANCEL) {
    aq_relay_over(l, m->session);
  }
  /* A session's id and key, or the salt of the tables. */
  if ((m->type == AQ_CTL_REQUEST || m->type == AQ_CTL_REGISTER) &&
      aq_crypto_random(&ep->env, random, sizeof(random)) != 0) {
    return;
  }
  uint64_t limited = ep->stats.limit_coordinator_rate;
  size_t n = aq_coord_handle(ep->coord, ep->now, &from, m, to, random, out,
                             &ep->stats);
  if (limited == 0 && ep->stats.limit_coordinator_rate > 0) {
    aq_ep_limit(ep, "limit_coordinator_rate");
  }
  for (size_t i = 0; i < n; i++) {
    aq_link *t = aq_link_get(ep, out[i].conn);
    if (t != NULL && out[i].m.type == AQ_CTL_REGISTERED) {
      aq_observe_grant(t, &out[i].m);
    }
    if (t == l && out[i].m.type == AQ_CTL_ANSWER &&
        out[i].m.plan == AQ_PLAN_RELAY && to != NULL) {
      aq_relay_agreed(ep, l, aq_link_get(ep, to->conn), out[i].m.session);
    }
    if (t != NULL) {
      (void)aq_ctl_send(t, &out[i].m);
    }
  }
  aq_mem_wipe(random, sizeof(random));
  aq_mem_wipe(out, sizeof(out));
}

/* Not a coordinator: say so, rather than nothing. */
static void decline(aq_link *l, const aq_ctl *m) {
  aq_ctl r;
  memset(&r, 0, sizeof(r));
  if (m->type == AQ_CTL_REGISTER) {
    r.type = AQ_CTL_REGISTERED;
    if (!aq_tunnel_is_socket(l->socket)) {
      r.observed = l->remote;
    }
  } else if (m->type == AQ_CTL_REQUEST) {
    r.type = AQ_CTL_ERROR;
    r.request = m->request;
    r.error = AQ_CTL_ERR_UNKNOWN_TARGET;
  } else {
    return;
  }
  (void)aq_ctl_send(l, &r);
}

/* ---- what came
 * ------------------------------------------------------------------- */

static void registered(aq_link *l, const aq_ctl *m) {
  aq_endpoint *ep = l->ep;
  if (l->boot == NULL || !l->boot->connected) {
    return;
  }
  l->coordinates = (m->capabilities & AQ_CTL_CAP_COORDINATE) != 0;
  if (m->observed.family != 0 && !l->obs_frames) {
    (void)aq_link_observed(l, &m->observed, l->obs_seen);
  }
  aq_boot_registered(ep, l->boot, m);
  if (!l->coordinates && aq_boot_says_so(l)) {
    l->reg_gen = 0; /* it doesn't know yet where we are: once more */
  }
}

static void message(aq_link *l, const aq_ctl *m) {
  /* Only a node that we chose may send us somewhere. */
  int ours = l->boot != NULL && l->boot->connected;
  switch (m->type) {
  case AQ_CTL_REGISTER:
  case AQ_CTL_REQUEST:
  case AQ_CTL_VETO:
    if (coordinates_for(l)) {
      coordinate(l, m);
    } else {
      decline(l, m);
    }
    break;
  case AQ_CTL_CANCEL:
  case AQ_CTL_HINT:
    if (ours && m->type == AQ_CTL_CANCEL) {
      aq_session_cancelled(l, m);
      aq_tunnel_cancelled(l, m->session);
    } else if (ours) {
      aq_hard_hinted(l, m);
    }
    if (coordinates_for(l)) {
      coordinate(l, m);
    }
    break;
  case AQ_CTL_REGISTERED:
    registered(l, m);
    break;
  case AQ_CTL_ANSWER:
    if (ours) {
      aq_session_answer(l, m);
    }
    break;
  case AQ_CTL_OFFER:
    if (ours) {
      aq_session_offer(l, m);
    }
    break;
  case AQ_CTL_ERROR:
    if (ours) {
      aq_session_error(l, m);
    }
    break;
  case AQ_CTL_ACCEPTED:
    if (l->client) {
      aq_pair_accepted(l);
    }
    break;
  default:
    break;
  }
}

void aq_ctl_drain(aq_link *l) {
  aq_endpoint *ep = l->ep;
  aq_ctl m;
  while (l->c != NULL && !l->doomed && l->has_peer &&
         !aq_conn_is_closed(l->c)) {
    const uint8_t *data;
    size_t used = 0;
    size_t len = aq_conn_control_peek(l->c, &data);
    int rv = len > 0 ? aq_ctl_parse(&m, data, len, &used) : 0;
    if (rv == 0) {
      return;
    }
    if (rv < 0) {
      aq_link_violation(l, rv == AQ_ERR_TOO_LARGE
                               ? "a control message is too long"
                               : "a control message is malformed");
      return;
    }
    ep->stats.control_messages_received++;
    if (!aq_rate_take(&l->ctl_rate, ep->now, AQ_CTL_RATE, AQ_CTL_BURST)) {
      aq_link_violation(l, "too many control messages");
      return;
    }
    aq_conn_control_consume(l->c, used);
    aq_link_touch(l);
    if (rv == 1) {
      AQ_RECORD(ep, aq_record_control(l, AQ_RECORD_CONTROL_RECEIVED, &m));
      message(l, &m);
    }
  }
}
