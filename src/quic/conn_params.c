/* conn_params.c - transport parameters, and the hooks that TLS calls.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/conn_int.h"

#include "base/wire.h"

#include <string.h>

/* What the transport must believe that the peer takes, so that extension
 * frames can ride in DATAGRAM frames. */
#define CARRIER_DATAGRAM 65535
/* A smaller limit of the peer would not let an extension frame through. */
#define CARRIER_DATAGRAM_MIN 128

static size_t hook_local_params(void *owner, uint8_t *out, size_t cap) {
  const aq_conn *c = owner;
  ngtcp2_transport_params p = *ngtcp2_conn_get_local_transport_params2(c->q);
  /* When one migration interrupts another, ngtcp2 counts an ID that it has
   * retired, and would close for one that is too many. */
  p.active_connection_id_limit--;
  ngtcp2_ssize n = ngtcp2_transport_params_encode(out, cap, &p);
  if (n < 0) {
    return 0;
  }
  aq_tparams t = {
      .has_nat = 1,
      .nat_empty = c->client,
      .nat_limit = c->shared->params.max_concurrent_attempts,
      .has_rfc = 1,
      .has_discovery = 1,
      .discovery = AQ_DISCOVERY_BOTH,
      .has_control = 1,
      .control_version = AQ_CONTROL_VERSION,
      .control_flags =
          (c->shared->dials > 0 ? AQ_CONTROL_FLAG_DIALING : 0) |
          (c->shared->coordinates ? AQ_CONTROL_FLAG_COORDINATES : 0),
  };
  size_t ours = aq_tparams_format(out + n, cap - (size_t)n, &t);
  return ours == 0 ? 0 : (size_t)n + ours;
}

/* Which frames may go which way: docs/protocol.md section 2. */
static void negotiate(aq_conn *c) {
  const aq_tparams *r = &c->remote_params;
  unsigned add = 1u << AQ_FRAME_ADD_ADDRESS | 1u << AQ_FRAME_REMOVE_ADDRESS;
  unsigned punch = 1u << AQ_FRAME_PUNCH_ME_NOW;
  unsigned observed = 1u << AQ_FRAME_OBSERVED_ADDRESS;
  unsigned rx = 0, tx = 0;
  if (r->has_rfc) {
    rx = tx = add | punch;
  } else if (r->has_nat) {
    rx = c->client ? add : punch;
    tx = c->client ? punch : add;
  }
  if (r->has_discovery) {
    rx |= r->discovery != 1 ? observed : 0;
    tx |= r->discovery != 0 ? observed : 0;
  }
  c->carrier.rx_kinds = (uint8_t)rx;
  c->carrier.tx_kinds = (uint8_t)tx;
  c->has_control = r->has_control && r->control_version >= AQ_CONTROL_VERSION;
  c->dgram_supported = r->has_max_datagram && r->max_datagram > 2;
}

/* Copies |blob| with max_datagram_frame_size replaced. Returns the length. */
static size_t with_datagrams(uint8_t *out, size_t cap, const uint8_t *blob,
                             size_t len) {
  aq_reader r;
  aq_writer w;
  aq_reader_init(&r, blob, len);
  aq_writer_init(&w, out, cap);
  while (aq_reader_left(&r) > 0) {
    size_t start = r.off;
    uint64_t id = aq_read_varint(&r);
    aq_read_skip(&r, aq_read_varint(&r));
    if (r.err != 0) {
      return 0;
    }
    if (id != AQ_TPARAM_MAX_DATAGRAM) {
      aq_write_bytes(&w, blob + start, r.off - start);
    }
  }
  aq_write_varint(&w, AQ_TPARAM_MAX_DATAGRAM);
  aq_write_varint(&w, aq_varint_len(CARRIER_DATAGRAM));
  aq_write_varint(&w, CARRIER_DATAGRAM);
  return aq_writer_end(&w);
}

static int give_params(aq_conn *c, const uint8_t *blob, size_t len) {
  int rv = ngtcp2_conn_decode_and_set_remote_transport_params(c->q, blob, len);
  if (rv != 0) {
    ngtcp2_conn_set_tls_error(c->q, rv);
    return rv == NGTCP2_ERR_NOMEM ? AQ_ERR_NOMEM : AQ_ERR_PROTOCOL;
  }
  return 0;
}

static int hook_remote_params(void *owner, const uint8_t *blob, size_t len) {
  aq_conn *c = owner;
  if (c->have_remote_params) {
    return 0;
  }
  if (aq_tparams_scan(&c->remote_params, blob, len) != 0) {
    ngtcp2_conn_set_tls_error(c->q, NGTCP2_ERR_MALFORMED_TRANSPORT_PARAM);
    return AQ_ERR_PROTOCOL;
  }
  c->have_remote_params = 1;
  negotiate(c);
  if (c->remote_params.has_max_datagram &&
      c->remote_params.max_datagram >= CARRIER_DATAGRAM_MIN) {
    return give_params(c, blob, len);
  }
  uint8_t *copy = aq_mem_alloc(&c->mem, len + 16);
  if (copy == NULL) {
    return AQ_ERR_NOMEM;
  }
  size_t n = with_datagrams(copy, len + 16, blob, len);
  int err = n == 0 ? AQ_ERR_PROTOCOL : give_params(c, copy, n);
  aq_mem_free(&c->mem, copy);
  return err;
}

static void hook_sealing(void *owner, uint8_t *plaintext, size_t len) {
  aq_conn *c = owner;
  if (c->carrier.packet_count > 0) {
    aq_carrier_seal(&c->carrier, plaintext, len);
  }
}

static int hook_opened(void *owner, uint8_t *plaintext, size_t len) {
  aq_carrier_open(&((aq_conn *)owner)->carrier, plaintext, len);
  return 0;
}

const aq_tls_hooks aq_conn_tls_hooks = {
    .local_params = hook_local_params,
    .remote_params = hook_remote_params,
    .sealing = hook_sealing,
    .opened = hook_opened,
};
