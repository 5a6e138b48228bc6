/* endpoint_repair.c - connections whose path was lost: noticed, told, moved to
 * a new one.
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
 * SPDX-License-Identifier: MIT */
#include "quic/endpoint_int.h"

#include <stdio.h>
#include <string.h>

/* Between questions to a path or a coordinator that is silent. */
#define TICK AQ_S
/* Pause after a failed attempt: doubles from the first to the second. */
#define BACKOFF_MIN AQ_S
#define BACKOFF_MAX (16 * AQ_S)
/* One attempt: coordinator, new sockets, punching, path validation. */
#define ATTEMPT_TIMEOUT (5 * AQ_S)
/* Questions of a receiver stop when they would be this far apart. */
#define ASK_MAX (8 * AQ_S)

/* ---- how long silence may last ---------------------------------------------
 */

/* Three probe time-outs, but a second at most unless the path is slow. */
static aq_duration patience(const aq_link *l) {
  aq_duration pto = aq_conn_pto(l->c);
  aq_duration most = aq_time_max(AQ_S, pto + pto / 2);
  if (l->repair.hurry) {
    /* Our address has changed, so that an answer would be a surprise. */
    return aq_time_clamp(2 * pto, 50 * AQ_MS, most);
  }
  return aq_time_clamp(3 * pto, 300 * AQ_MS, most);
}

static aq_tstamp next_question(const aq_link *l) {
  aq_duration wait = patience(l) << l->repair.asks;
  return wait > ASK_MAX ? AQ_NEVER
                        : aq_time_add(aq_conn_heard_at(l->c), wait);
}

static void ping(aq_link *l) {
  aq_conn_ping_now(l->c, l->ep->now);
  aq_link_touch(l);
}

/* Our mappings at the coordinators went with the others, and a coordinator
 * answers where we are seen now. */
static void wake_coordinators(aq_endpoint *ep) {
  for (size_t i = 0; i < AQ_MAX_BOOTSTRAP; i++) {
    aq_boot *b = &ep->boot[i];
    if (b->used && b->connected && b->link != NULL &&
        aq_time_since(ep->now, b->woken) >= TICK / 2) {
      b->woken = ep->now;
      ping(b->link);
    }
  }
}
