/* bootstrap.h - the connections to bootstrap nodes: dialed, kept, measured.
 *
 * Layer:  quic
 * Owner:  an array inside aq_endpoint
 * Time:   ep->now; retry deadlines are looked at in aq_boot_timeout
 * Spec:   docs/protocol.md section 3
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_BOOTSTRAP_H
#define AQ_QUIC_BOOTSTRAP_H

#include "proto/ctl.h"

/* Pause before a lost or failed node is dialed again: doubles from the first
 * to the second, plus up to a quarter at random. */
#define AQ_BOOT_BACKOFF_MIN (500 * AQ_MS)
#define AQ_BOOT_BACKOFF_MAX (30 * AQ_S)
/* When it is to be soon: all its peers would come at once. */
#define AQ_BOOT_SPREAD (250 * AQ_MS)
/* Long enough for two lost Initials, short enough to say why a user waits. */
#define AQ_BOOT_DIAL_TIMEOUT (3 * AQ_S)

struct aq_link;

typedef struct aq_boot {
  aq_bootstrap_addr conf;
  uint8_t used, connected, can_coordinate, has_peer;
  uint8_t relays; /* it said so in its REGISTERED */
  uint32_t index; /* bit in aq_session.tried */
  aq_peer_id peer;
  struct aq_link *link; /* dialing or connected */
  aq_tstamp retry_at;   /* AQ_NEVER while there is a link */
  aq_duration backoff;
  aq_tstamp last_seen, woken;
  aq_duration rtt;
  uint32_t coordination_count, failures;
  uint32_t coordination_failures, unanswered; /* in all; since an answer */
  aq_tstamp failed_at;
  aq_addr observed;
  /* For observation datagrams, from its REGISTERED. */
  uint8_t observes;
  uint8_t token[AQ_CTL_TOKEN_LEN];
  uint8_t observe_key[AQ_PUNCH_KEY_LEN];
  uint32_t observe_seq;
  size_t alternate_count;
  aq_addr alternate[AQ_CTL_MAX_ALTERNATES];
} aq_boot;

/* Dials what is due. */
void aq_boot_timeout(aq_endpoint *ep);
aq_tstamp aq_boot_next(const aq_endpoint *ep);
/* 1: the peer said in the handshake that it coordinates. */
int aq_boot_says_so(const struct aq_link *l);
/* aq_boot_up: |l| is the connection to |b| now. */
void aq_boot_up(aq_boot *b, struct aq_link *l);
/* aq_boot_down: its link failed or was lost. */
void aq_boot_down(aq_endpoint *ep, aq_boot *b, int error, const char *why);
/* It is dialed soon: somebody waits for it, or it is there again. */
void aq_boot_soon(aq_endpoint *ep, aq_boot *b);
/* Its peer was met, but the connection that stays goes over a relay; and that
 * is direct now. */
void aq_boot_later(aq_endpoint *ep, aq_boot *b, const aq_peer_id *peer);
void aq_boot_direct(struct aq_link *l);
/* A REGISTERED came on the node's connection. */
void aq_boot_registered(aq_endpoint *ep, aq_boot *b, const aq_ctl *m);
/* A request to it was given up without an answer. */
void aq_boot_unanswered(aq_endpoint *ep, aq_boot *b);
/* The best connected coordinator that is not in |tried|, and relays if |relay|:
 * one that is not in |used|, that isn't silent now, that has registered us,
 * that answers, with the least rtt, in this order.
 */
aq_boot *aq_boot_best(aq_endpoint *ep, uint32_t tried, uint32_t used,
                      int relay);
/* The one that is connected over |conn|, or NULL. */
aq_boot *aq_boot_of_conn(aq_endpoint *ep, aq_id conn);
/* The index of the boot that |l| leads to, AQ_MAX_BOOTSTRAP: none. It is the
 * same when that is dialed again. */
uint32_t aq_boot_number(const struct aq_link *l);
/* 1 when some node that is not in |tried| may still become a coordinator, or a
 * relay if |relay|: it is being dialed, waits for its turn, or has not said yet
 * what it can do. */
int aq_boot_hope(const aq_endpoint *ep, uint32_t tried, int relay);

#endif
