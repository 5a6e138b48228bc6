/* tls_null.c - a handshake without cryptography, for endpoints in virtual time.
 *
 * It has the messages of TLS 1.3 as this project uses it, in their order, at
 * their levels and of their sizes, so that datagrams, losses and retries are
 * those of a real handshake. A key is shown and not proved, and the secrets
 * come from what everybody can read.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/tls_int.h"

#include "base/wire.h"
#include "quic/crypto_null.h"
#include "quic/identity.h"

#include <string.h>

#define PARAMS_MAX 512
#define MESSAGE_MAX 2304 /* a ClientHello with the longest list and params */
#define HEADER_LEN 4
#define RANDOM_LEN 32

/* The handshake types of TLS 1.3 (RFC 8446 section 4). */
enum {
  CLIENT_HELLO = 1,
  SERVER_HELLO = 2,
  EXTENSIONS = 8,
  CERTIFICATE = 11,
  CERT_REQUEST = 13,
  CERT_VERIFY = 15,
  FINISHED = 20
};

/* Sizes on the wire as wolfSSL writes them, measured: with a list of protocols
 * or parameters those come on top (spec/c/test_tls.c compares). */
#define HELLO_LEN_HYBRID 1401
#define HELLO_LEN_CLASSIC 179
#define ANSWER_LEN_HYBRID 1178
#define ANSWER_LEN_CLASSIC 90
#define EXTENSIONS_LEN 27
#define EXTENSIONS_LEN_GROUPS 37 /* and the groups that the client lacks */
#define CERT_REQUEST_LEN 15
#define CERTIFICATE_LEN 57
#define CERT_VERIFY_LEN 72
#define FINISHED_LEN 36

#define ALERT_UNEXPECTED 10
#define ALERT_BAD_CERTIFICATE 42
#define ALERT_DECODE 50
#define ALERT_INTERNAL 80
#define ALERT_MISSING_EXTENSION 109
#define ALERT_NO_PROTOCOL 120

struct aq_tls_null {
  uint8_t expects; /* the type of the next message; 0: none */
  uint8_t hybrid;
  char protocols[(AQ_MAX_ALPN + 1) * (AQ_MAX_ALPN_LEN + 1)];
  uint8_t random[2][RANDOM_LEN]; /* client's, server's */
  size_t len;
  uint8_t data[MESSAGE_MAX]; /* a message that is not whole yet */
};

/* ---- contexts ---------------------------------------------------------------
 */

int aq_tls_ctx_new_null(aq_tls_ctx **pctx, const aq_endpoint_params *p,
                        const aq_mem *mem) {
  aq_tls_ctx *ctx = aq_mem_alloc(mem, sizeof(*ctx));
  *pctx = NULL;
  if (!ctx) {
    return AQ_ERR_NOMEM;
  }
  ctx->is_null = 1;
  ctx->mem = *mem;
  memcpy(ctx->public_key, p->identity->public_key, sizeof(ctx->public_key));
  aq_tls_ctx_fill(ctx, p);
  if (p->allow) {
    ctx->allow =
        aq_mem_dup(mem, p->allow, p->allow_count * sizeof(*ctx->allow));
    if (!ctx->allow) {
      aq_tls_null_ctx_del(ctx);
      return AQ_ERR_NOMEM;
    }
    ctx->allow_count = p->allow_count;
  }
  *pctx = ctx;
  return 0;
}

void aq_tls_null_ctx_del(aq_tls_ctx *ctx) {
  aq_mem mem = ctx->mem;
  aq_mem_free(&mem, ctx->allow);
  aq_mem_free(&mem, ctx);
}

int aq_tls_null_init(aq_tls *t, const char *protocols) {
  aq_tls_null *n = aq_mem_alloc(&t->ctx->mem, sizeof(*n));
  size_t len = strlen(protocols);
  t->null = n;
  if (!n) {
    return AQ_ERR_NOMEM;
  }
  if (len >= sizeof(n->protocols)) {
    aq_tls_null_shrink(t);
    return AQ_ERR_TLS;
  }
  memcpy(n->protocols, protocols, len + 1);
  n->hybrid = t->ctx->pqc != AQ_PQC_OFF;
  n->expects = t->server ? CLIENT_HELLO : SERVER_HELLO;
  return 0;
}

void aq_tls_null_shrink(aq_tls *t) {
  aq_mem_free(&t->ctx->mem, t->null);
  t->null = NULL;
}

/* ---- writing ----------------------------------------------------------------
 */

/* Always false, so that the caller can end with it. */
static int fail(aq_tls *t, uint8_t alert, int error) {
  ngtcp2_conn_set_tls_alert(t->conn, alert);
  if (!t->error) {
    t->error = error;
  }
  return 0;
}

static void begin(aq_writer *w, uint8_t *buf, uint8_t type, size_t len) {
  aq_writer_init(w, buf, len);
  aq_write_u8(w, type);
  aq_write_u8(w, 0);
  aq_write_u16(w, (uint16_t)(len - HEADER_LEN));
}

/* The rest of the message is zero. */
static int submit(aq_tls *t, ngtcp2_encryption_level level, aq_writer *w) {
  int rv;
  if (w->err != 0) {
    return fail(t, ALERT_INTERNAL, AQ_ERR_TLS);
  }
  memset(w->data + w->off, 0, w->cap - w->off);
  rv = ngtcp2_conn_submit_crypto_data(t->conn, level, w->data, w->cap);
  if (rv != 0) {
    ngtcp2_conn_set_tls_error(t->conn, rv);
    t->error = rv == NGTCP2_ERR_NOMEM ? AQ_ERR_NOMEM : AQ_ERR_TLS;
    return 0;
  }
  return 1;
}

static int install(aq_tls *t, ngtcp2_encryption_level level, int rx) {
  const aq_crypto_tap tap = {t->hooks->sealing, t->hooks->opened, t->owner};
  uint8_t secret[AQ_NULL_SECRET_LEN];
  int from_client = (rx != 0) == (t->server != 0);
  aq_null_secret(secret, t->null->random[0], sizeof(t->null->random),
                 (uint64_t)level << 8 | (uint64_t)from_client << 4 | 3);
  if (aq_null_install_key(t->conn, &t->ctx->mem, level, rx, secret, &tap) !=
      0) {
    return fail(t, ALERT_INTERNAL, AQ_ERR_NOMEM);
  }
  return 1;
}

static void set_suite(aq_tls *t) {
  ngtcp2_crypto_ctx ctx;
  aq_null_fill_ctx(&ctx);
  ngtcp2_conn_set_crypto_ctx(t->conn, &ctx);
}

/* The randoms need not be: what a connection ID says is as good. */
static void make_random(aq_tls *t) {
  const ngtcp2_cid *cid = ngtcp2_conn_get_dcid2(t->conn);
  aq_null_secret(t->null->random[t->server], cid->data, cid->datalen,
                 4 + t->server);
}

/* The list of protocols as ALPN has it: a length before each. */
static size_t list_len(const char *protocols) {
  return strlen(protocols) + 1;
}

int aq_tls_null_client_initial(aq_tls *t) {
  aq_tls_null *n = t->null;
  uint8_t params[PARAMS_MAX], buf[MESSAGE_MAX];
  size_t plen = t->hooks->local_params(t->owner, params, sizeof(params));
  size_t alen = strlen(n->protocols);
  size_t len = (n->hybrid ? HELLO_LEN_HYBRID : HELLO_LEN_CLASSIC) +
               list_len(n->protocols) + plen;
  aq_writer w;
  if (plen == 0 || len > sizeof(buf)) {
    t->error = AQ_ERR_TLS;
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  make_random(t);
  begin(&w, buf, CLIENT_HELLO, len);
  aq_write_bytes(&w, n->random[0], RANDOM_LEN);
  aq_write_u8(&w, n->hybrid);
  aq_write_u16(&w, (uint16_t)alen);
  aq_write_bytes(&w, n->protocols, alen);
  aq_write_u16(&w, (uint16_t)plen);
  aq_write_bytes(&w, params, plen);
  return submit(t, NGTCP2_ENCRYPTION_LEVEL_INITIAL, &w)
             ? 0
             : NGTCP2_ERR_CALLBACK_FAILURE;
}

/* Certificate, CertificateVerify and Finished: the same for both sides. */
static int send_key(aq_tls *t) {
  static const struct {
    uint8_t type, len;
  } rest[] = {{CERT_VERIFY, CERT_VERIFY_LEN}, {FINISHED, FINISHED_LEN}};
  uint8_t buf[CERT_VERIFY_LEN];
  aq_writer w;
  begin(&w, buf, CERTIFICATE, CERTIFICATE_LEN);
  aq_write_bytes(&w, t->ctx->public_key, sizeof(t->ctx->public_key));
  if (!submit(t, NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE, &w)) {
    return 0;
  }
  for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
    begin(&w, buf, rest[i].type, rest[i].len);
    if (!submit(t, NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE, &w)) {
      return 0;
    }
  }
  return 1;
}

static int send_server_flight(aq_tls *t) {
  aq_tls_null *n = t->null;
  uint8_t params[PARAMS_MAX], buf[MESSAGE_MAX];
  size_t plen, alen = strlen(t->alpn);
  aq_writer w;
  make_random(t);
  begin(&w, buf, SERVER_HELLO,
        n->hybrid ? ANSWER_LEN_HYBRID : ANSWER_LEN_CLASSIC);
  aq_write_bytes(&w, n->random[1], RANDOM_LEN);
  aq_write_u8(&w, n->hybrid);
  if (!submit(t, NGTCP2_ENCRYPTION_LEVEL_INITIAL, &w)) {
    return 0;
  }
  set_suite(t);
  if (!install(t, NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE, 1) ||
      !install(t, NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE, 0)) {
    return 0;
  }
  plen = t->hooks->local_params(t->owner, params, sizeof(params));
  begin(&w, buf, EXTENSIONS,
        (t->ctx->pqc != AQ_PQC_OFF && !n->hybrid ? EXTENSIONS_LEN_GROUPS
                                                 : EXTENSIONS_LEN) +
            alen + plen);
  aq_write_u8(&w, (uint8_t)alen);
  aq_write_bytes(&w, t->alpn, alen);
  aq_write_u16(&w, (uint16_t)plen);
  aq_write_bytes(&w, params, plen);
  if (plen == 0 || !submit(t, NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE, &w)) {
    return fail(t, ALERT_INTERNAL, AQ_ERR_TLS);
  }
  begin(&w, buf, CERT_REQUEST, CERT_REQUEST_LEN);
  return submit(t, NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE, &w) && send_key(t) &&
         install(t, NGTCP2_ENCRYPTION_LEVEL_1RTT, 0);
}

/* ---- reading ----------------------------------------------------------------
 */

static int take_params(aq_tls *t, const uint8_t *blob, size_t len) {
  int rv;
  if (!blob || len == 0) {
    return fail(t, ALERT_MISSING_EXTENSION, AQ_ERR_PROTOCOL);
  }
  t->params_done = 1;
  rv = t->hooks->remote_params(t->owner, blob, len);
  if (rv != 0) {
    t->error = rv;
    return 0;
  }
  return 1;
}

/* The first of the client's list that is in ours, as wolfSSL does it. */
static int choose_protocol(aq_tls *t, const char *offered, size_t len) {
  const char *end = offered + len;
  while (offered < end) {
    const char *comma = memchr(offered, ',', (size_t)(end - offered));
    size_t n = (size_t)((comma ? comma : end) - offered);
    if (n > 0 && n < sizeof(t->alpn)) {
      memcpy(t->alpn, offered, n);
      t->alpn[n] = 0;
      if (aq_tls_ctx_has_alpn(t->ctx, t->alpn) ||
          strcmp(t->alpn, AQ_ALPN_COORDINATION) == 0) {
        return 1;
      }
    }
    offered += n + 1;
  }
  t->alpn[0] = 0;
  return fail(t, ALERT_NO_PROTOCOL, AQ_ERR_ALPN);
}

static int on_client_hello(aq_tls *t, aq_reader *r) {
  aq_tls_null *n = t->null;
  const uint8_t *random = aq_read_view(r, RANDOM_LEN);
  uint8_t hybrid = aq_read_u8(r);
  size_t alen = aq_read_u16(r);
  const uint8_t *list = aq_read_view(r, alen);
  size_t plen = aq_read_u16(r);
  const uint8_t *params = aq_read_view(r, plen);
  if (!random || !list || !params || r->err != 0) {
    return fail(t, ALERT_DECODE, AQ_ERR_TLS);
  }
  memcpy(n->random[0], random, RANDOM_LEN);
  n->hybrid = n->hybrid && hybrid;
  n->expects = CERTIFICATE;
  return choose_protocol(t, (const char *)list, alen) &&
         take_params(t, params, plen) && send_server_flight(t);
}

static int on_server_hello(aq_tls *t, aq_reader *r) {
  aq_tls_null *n = t->null;
  const uint8_t *random = aq_read_view(r, RANDOM_LEN);
  uint8_t hybrid = aq_read_u8(r);
  if (!random || r->err != 0) {
    return fail(t, ALERT_DECODE, AQ_ERR_TLS);
  }
  memcpy(n->random[1], random, RANDOM_LEN);
  n->hybrid = n->hybrid && hybrid;
  n->expects = EXTENSIONS;
  set_suite(t);
  return install(t, NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE, 1) &&
         install(t, NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE, 0);
}

static int on_extensions(aq_tls *t, aq_reader *r) {
  size_t alen = aq_read_u8(r);
  const uint8_t *name = aq_read_view(r, alen);
  size_t plen = aq_read_u16(r);
  const uint8_t *params = aq_read_view(r, plen);
  if (!name || !params || r->err != 0 || alen >= sizeof(t->alpn)) {
    return fail(t, ALERT_DECODE, AQ_ERR_TLS);
  }
  if (alen == 0) {
    return fail(t, ALERT_NO_PROTOCOL, AQ_ERR_ALPN);
  }
  memcpy(t->alpn, name, alen);
  t->alpn[alen] = 0;
  t->null->expects = CERT_REQUEST;
  return take_params(t, params, plen);
}

static int on_certificate(aq_tls *t, aq_reader *r) {
  const uint8_t *key = aq_read_view(r, AQ_ED25519_KEY_LEN);
  if (!key) {
    return fail(t, ALERT_DECODE, AQ_ERR_TLS);
  }
  t->null->expects = CERT_VERIFY;
  return aq_tls_take_key(t, key) ? 1 : fail(t, ALERT_BAD_CERTIFICATE, t->error);
}

static int on_finished(aq_tls *t) {
  t->null->expects = 0;
  t->post_quantum = t->null->hybrid;
  if (!t->have_peer || !t->params_done) {
    return fail(t, ALERT_INTERNAL, AQ_ERR_TLS);
  }
  if (!t->server &&
      (!send_key(t) || !install(t, NGTCP2_ENCRYPTION_LEVEL_1RTT, 0))) {
    return 0;
  }
  if (!install(t, NGTCP2_ENCRYPTION_LEVEL_1RTT, 1)) {
    return 0;
  }
  ngtcp2_conn_tls_handshake_completed(t->conn);
  return 1;
}

static int on_message(aq_tls *t, uint8_t type, const uint8_t *body,
                      size_t len) {
  aq_reader r;
  aq_reader_init(&r, body, len);
  switch (type) {
  case CLIENT_HELLO:
    return on_client_hello(t, &r);
  case SERVER_HELLO:
    return on_server_hello(t, &r);
  case EXTENSIONS:
    return on_extensions(t, &r);
  case CERT_REQUEST:
    t->null->expects = CERTIFICATE;
    return 1;
  case CERTIFICATE:
    return on_certificate(t, &r);
  case CERT_VERIFY:
    t->null->expects = FINISHED;
    return 1;
  default:
    return on_finished(t);
  }
}

static int is_initial(uint8_t type) {
  return type == CLIENT_HELLO || type == SERVER_HELLO;
}

/* Takes whole messages from the front; what is left waits for more. */
static int drain(aq_tls *t, ngtcp2_encryption_level level) {
  aq_tls_null *n = t->null;
  size_t off = 0;
  while (n->len - off >= HEADER_LEN) {
    const uint8_t *m = n->data + off;
    size_t len = (size_t)m[1] << 16 | (size_t)m[2] << 8 | m[3];
    if (n->expects == 0 || m[0] != n->expects ||
        is_initial(m[0]) != (level == NGTCP2_ENCRYPTION_LEVEL_INITIAL)) {
      return fail(t, ALERT_UNEXPECTED, AQ_ERR_TLS);
    }
    if (len > MESSAGE_MAX - HEADER_LEN) {
      return fail(t, ALERT_DECODE, AQ_ERR_TLS);
    }
    if (n->len - off < HEADER_LEN + len) {
      break;
    }
    if (!on_message(t, m[0], m + HEADER_LEN, len)) {
      return 0;
    }
    off += HEADER_LEN + len;
  }
  memmove(n->data, n->data + off, n->len - off);
  n->len -= off;
  return 1;
}

int aq_tls_null_recv_crypto_data(aq_tls *t, ngtcp2_encryption_level level,
                                 const uint8_t *data, size_t len) {
  aq_tls_null *n = t->null;
  if (!n) {
    return 0; /* shrunk: nothing after the handshake matters to us */
  }
  while (len > 0) {
    size_t room = sizeof(n->data) - n->len;
    size_t part = len < room ? len : room;
    memcpy(n->data + n->len, data, part);
    n->len += part;
    data += part;
    len -= part;
    if (!drain(t, level)) {
      return NGTCP2_ERR_CRYPTO;
    }
  }
  return 0;
}
