/* conn_close.c - how a connection ends, and what it says about it.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/conn_int.h"

#include "base/trace.h"

#include <stdio.h>
#include <string.h>

/* RFC 9000 section 20.1 */
#define ERROR_CRYPTO 0x0100 /* + TLS alert */
#define ERROR_CRYPTO_LAST 0x01ff

/* RFC 8446 section 6 */
#define ALERT_BAD_CERTIFICATE 42
#define ALERT_UNSUPPORTED_CERTIFICATE 43
#define ALERT_CERTIFICATE_UNKNOWN 46
#define ALERT_UNKNOWN_CA 48
#define ALERT_ACCESS_DENIED 49
#define ALERT_NO_APPLICATION_PROTOCOL 120

/* Cut, and without control characters: it may be the peer's. */
static void copy_text(char *out, size_t cap, const char *text, size_t len) {
  size_t n = 0;
  for (size_t i = 0; i < len && n + 1 < cap; i++) {
    unsigned char ch = (unsigned char)text[i];
    out[n++] = ch < 0x20 || ch == 0x7f ? '.' : (char)ch;
  }
  out[n] = '\0';
}

void aq_conn_end(aq_conn *c, int error, uint64_t code, const char *text,
                 size_t textlen) {
  if (!aq_conn_is_open(c)) {
    return;
  }
  c->phase = AQ_CONN_DRAINING;
  c->close_error = error;
  c->close_code = code;
  copy_text(c->close_text, sizeof(c->close_text), text, textlen);
  c->linger_until = c->now;
  c->say_closed = 1;
  c->dirty = 0;
}

static void end_with(aq_conn *c, int error, uint64_t code, const char *text) {
  aq_conn_end(c, error, code, text, strlen(text));
}

static aq_tstamp three_pto(const aq_conn *c) {
  aq_duration pto = ngtcp2_conn_get_pto2(c->q);
  return aq_time_add(c->now, aq_time_mul(pto, 3));
}

void aq_conn_shut(aq_conn *c, const ngtcp2_ccerr *err, int error,
                  const char *text) {
  if (!aq_conn_is_open(c)) {
    return;
  }
  ngtcp2_path_storage ps;
  ngtcp2_pkt_info pi = {0};
  ngtcp2_path_storage_zero(&ps);
  aq_tstamp until = three_pto(c);
  uint8_t *pkt = aq_mem_alloc(&c->mem, AQ_CONN_CLOSE_MAX);
  ngtcp2_ssize n = 0;
  aq_carrier_begin_packet(&c->carrier);
  if (pkt != NULL) {
    n = ngtcp2_conn_write_connection_close(c->q, &ps.path, &pi, pkt,
                                           AQ_CONN_CLOSE_MAX, err, c->now);
  }
  end_with(c, error, err->error_code, text);
  if (n <= 0) {
    aq_mem_free(&c->mem, pkt);
    return; /* nothing was said yet, so nothing needs to be taken back */
  }
  c->phase = AQ_CONN_CLOSING;
  c->linger_until = until;
  c->close_pkt = pkt;
  c->close_pending = 1;
  c->dirty = 1;
  aq_transmit *t = &c->close_transmit;
  t->socket = aq_conn_path_socket(c, &ps.path);
  aq_conn_read_path(c, &ps.path);
  t->remote = c->remote;
  t->local = c->local;
  t->ecn = (uint8_t)pi.ecn;
  t->len = t->segment = (size_t)n;
}

void aq_conn_closing_heard(aq_conn *c) {
  c->last_activity = c->now;
  if (c->close_pkt == NULL || c->now >= c->linger_until) {
    return;
  }
  /* RFC 9000 section 10.2.1: limit the rate; answer the 1st, 2nd, 4th, ... */
  c->close_heard++;
  if ((c->close_heard & (c->close_heard - 1)) == 0) {
    c->close_pending = 1;
    c->dirty = 1;
  }
}

int aq_conn_closing_transmit(aq_conn *c, aq_transmit *t, uint8_t *buf,
                             size_t cap) {
  c->dirty = 0;
  if (!c->close_pending || c->close_transmit.len > cap) {
    return 0;
  }
  c->close_pending = 0;
  *t = c->close_transmit;
  memcpy(buf, c->close_pkt, t->len);
  return 1;
}

/* ---- what the peer said ------------------------------------------------- */

static int error_of_alert(uint64_t alert) {
  switch (alert) {
  case ALERT_BAD_CERTIFICATE:
  case ALERT_UNSUPPORTED_CERTIFICATE:
  case ALERT_CERTIFICATE_UNKNOWN:
  case ALERT_UNKNOWN_CA:
  case ALERT_ACCESS_DENIED:
    return AQ_ERR_NOT_ALLOWED;
  case ALERT_NO_APPLICATION_PROTOCOL:
    return AQ_ERR_ALPN;
  default:
    return AQ_ERR_TLS;
  }
}

static void on_draining(aq_conn *c) {
  const ngtcp2_ccerr *e = ngtcp2_conn_get_ccerr2(c->q);
  aq_tstamp until = three_pto(c);
  int error = AQ_ERR_PEER_CLOSED;
  char text[64] = "closed by the peer";
  int app = e->type == NGTCP2_CCERR_TYPE_APPLICATION;
  if (!app && e->error_code >= ERROR_CRYPTO &&
      e->error_code <= ERROR_CRYPTO_LAST) {
    error = error_of_alert(e->error_code - ERROR_CRYPTO);
    snprintf(text, sizeof(text), "the peer raised TLS alert %u",
             (unsigned)(e->error_code - ERROR_CRYPTO));
  } else if (!app && e->error_code != 0) {
    snprintf(text, sizeof(text), "the peer found transport error 0x%llx",
             (unsigned long long)e->error_code);
  }
  if (e->reasonlen > 0) {
    aq_conn_end(c, error, e->error_code, (const char *)e->reason, e->reasonlen);
  } else {
    end_with(c, error, e->error_code, text);
  }
  c->linger_until = until;
}

/* ---- what ngtcp2 said --------------------------------------------------- */

static void shut_for_fault(aq_conn *c) {
  ngtcp2_ccerr e;
  ngtcp2_ccerr_default(&e);
  ngtcp2_ccerr_set_transport_error(
      &e, c->fault_code, (const uint8_t *)c->fault_text, strlen(c->fault_text));
  aq_conn_shut(c, &e, c->fault, c->fault_text);
}

static void shut_for_tls(aq_conn *c, int rv) {
  ngtcp2_ccerr e;
  int error = c->tls.error != 0 ? c->tls.error : AQ_ERR_TLS;
  int param = ngtcp2_conn_get_tls_error2(c->q);
  uint8_t alert = aq_tls_alert(&c->tls);
  ngtcp2_ccerr_default(&e);
  if (alert != 0) {
    ngtcp2_ccerr_set_tls_alert(&e, alert, NULL, 0);
  } else {
    ngtcp2_ccerr_set_liberr(&e, param != 0 ? param : rv, NULL, 0);
  }
  aq_conn_shut(c, &e, error, aq_error_text(error));
}

static int error_of_liberr(int rv) {
  switch (rv) {
  case NGTCP2_ERR_NOMEM:
    return AQ_ERR_NOMEM;
  case NGTCP2_ERR_CALLBACK_FAILURE:
  case NGTCP2_ERR_INTERNAL:
  case NGTCP2_ERR_INVALID_ARGUMENT:
  case NGTCP2_ERR_INVALID_STATE:
    return AQ_ERR_INTERNAL;
  case NGTCP2_ERR_NO_VIABLE_PATH:
    return AQ_ERR_NETWORK;
  default:
    return AQ_ERR_PROTOCOL;
  }
}

static void shut_for_liberr(aq_conn *c, int rv) {
  ngtcp2_ccerr e;
  char text[96];
  int error = error_of_liberr(rv);
  ngtcp2_ccerr_default(&e);
  ngtcp2_ccerr_set_liberr(&e, rv, NULL, 0);
  snprintf(text, sizeof(text), "%s (%s)", aq_error_text(error),
           ngtcp2_strerror(rv));
  aq_conn_shut(c, &e, error, text);
}

void aq_conn_on_liberr(aq_conn *c, int rv) {
  if (!aq_conn_is_open(c)) {
    return;
  }
  aq_trace(&c->shared->env, AQ_LOG_DEBUG, "connection: %s",
           ngtcp2_strerror(rv));
  if (c->stateless_reset) {
    end_with(c, AQ_ERR_STATELESS_RESET, 0,
             aq_error_text(AQ_ERR_STATELESS_RESET));
    return;
  }
  switch (rv) {
  case NGTCP2_ERR_DRAINING:
    on_draining(c);
    return;
  case NGTCP2_ERR_IDLE_CLOSE:
    if (c->phase == AQ_CONN_HANDSHAKE) {
      int error = c->heard ? AQ_ERR_TIMEOUT : AQ_ERR_UNREACHABLE;
      end_with(c, error, 0, aq_error_text(error));
    } else {
      end_with(c, AQ_ERR_IDLE_TIMEOUT, 0, aq_error_text(AQ_ERR_IDLE_TIMEOUT));
    }
    return;
  case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
    if (c->heard) {
      ngtcp2_ccerr e;
      ngtcp2_ccerr_default(&e);
      aq_conn_shut(c, &e, AQ_ERR_TIMEOUT, "the handshake took too long");
    } else {
      end_with(c, AQ_ERR_UNREACHABLE, 0, aq_error_text(AQ_ERR_UNREACHABLE));
    }
    return;
  case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
    end_with(c, AQ_ERR_VERSION, 0, aq_error_text(AQ_ERR_VERSION));
    return;
  default:
    break;
  }
  if (c->fault != 0) {
    shut_for_fault(c);
  } else if (rv == NGTCP2_ERR_CRYPTO || c->tls.error != 0 ||
             aq_tls_alert(&c->tls) != 0) {
    shut_for_tls(c, rv);
  } else {
    shut_for_liberr(c, rv);
  }
}

void aq_conn_close_with(aq_conn *c, aq_tstamp now, int app, uint64_t code,
                        const char *reason, size_t len) {
  ngtcp2_ccerr e;
  char text[120] = "";
  aq_conn_clock(c, now);
  if (!aq_conn_is_open(c)) {
    return;
  }
  if (reason == NULL) {
    len = 0;
  }
  /* So that the packet surely holds it. */
  len = len > 1000 ? 1000 : len;
  ngtcp2_ccerr_default(&e);
  if (code > NGTCP2_MAX_VARINT) {
    code = NGTCP2_MAX_VARINT;
  }
  if (app) {
    ngtcp2_ccerr_set_application_error(&e, code, (const uint8_t *)reason, len);
  } else {
    ngtcp2_ccerr_set_transport_error(&e, code, (const uint8_t *)reason, len);
  }
  copy_text(text, sizeof(text), reason != NULL ? reason : "", len);
  aq_conn_shut(c, &e, 0, text);
}

aq_tstamp aq_conn_linger_until(const aq_conn *c) {
  return aq_conn_is_open(c) ? AQ_NEVER : c->linger_until;
}
