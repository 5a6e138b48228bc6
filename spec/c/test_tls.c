/* The TLS handshake between two bare ngtcp2 connections in memory: who is
 * accepted, who is not, and which error each side has. Everything is played
 * with the null TLS of the simulator as well, which must do the same in
 * datagrams of the same sizes.
 *
 * SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "quic/crypto.h"
#include "quic/crypto_null.h"
#include "quic/identity.h"
#include "quic/tls.h"

typedef struct side {
  aq_tls tls;
  ngtcp2_conn *conn;
  size_t remote_params_len;
  unsigned seed;
  int dead;
} side;

#define SENT_MAX 64
static int is_null;
static size_t sent[SENT_MAX], nsent; /* sizes of all datagrams, in order */
static uint64_t crypto[2][4];        /* bytes of each side's levels */

static struct sockaddr_in addr_of[2];
static ngtcp2_path path_of[2];

static size_t local_params(void *owner, uint8_t *out, size_t cap) {
  side *s = owner;
  ngtcp2_ssize n =
      ngtcp2_conn_encode_local_transport_params2(s->conn, out, cap);
  return n > 0 ? (size_t)n : 0;
}

static int remote_params(void *owner, const uint8_t *blob, size_t len) {
  side *s = owner;
  s->remote_params_len = len;
  return ngtcp2_conn_decode_and_set_remote_transport_params(s->conn, blob,
                                                            len) == 0
             ? 0
             : AQ_ERR_PROTOCOL;
}

static const aq_tls_hooks hooks = {local_params, remote_params, NULL, NULL};

static int cb_client_initial(ngtcp2_conn *c, void *u) {
  (void)c;
  return aq_tls_client_initial(&((side *)u)->tls);
}

static int cb_recv_client_initial(ngtcp2_conn *c, const ngtcp2_cid *dcid,
                                  void *u) {
  (void)c;
  return aq_tls_recv_client_initial(&((side *)u)->tls, dcid);
}

static int cb_crypto(ngtcp2_conn *c, ngtcp2_encryption_level level,
                     uint64_t off, const uint8_t *data, size_t len, void *u) {
  uint64_t *heard = &crypto[ngtcp2_conn_is_server2(c)][level];
  *heard = off + len > *heard ? off + len : *heard;
  return aq_tls_recv_crypto_data(&((side *)u)->tls, level, data, len);
}

static int cb_retry(ngtcp2_conn *c, const ngtcp2_pkt_hd *hd, void *u) {
  (void)c;
  return aq_tls_recv_retry(&((side *)u)->tls, hd);
}

static void cb_rand(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx) {
  (void)ctx;
  memset(dest, 1, len);
}

static int cb_new_cid(ngtcp2_conn *c, ngtcp2_cid *cid,
                      ngtcp2_stateless_reset_token *token, size_t len,
                      void *u) {
  static uint8_t n;
  (void)c;
  (void)u;
  cid->datalen = len;
  memset(cid->data, ++n, len);
  memset(token->data, n, sizeof(token->data));
  return 0;
}

static int cb_update_key(ngtcp2_conn *c, uint8_t *rx, uint8_t *tx,
                         ngtcp2_crypto_aead_ctx *rxa, uint8_t *rxiv,
                         ngtcp2_crypto_aead_ctx *txa, uint8_t *txiv,
                         const uint8_t *crx, const uint8_t *ctx, size_t len,
                         void *u) {
  (void)c;
  return aq_tls_update_key(&((side *)u)->tls, rx, tx, rxa, rxiv, txa, txiv, crx,
                           ctx, len);
}

static int cb_challenge(ngtcp2_conn *c, ngtcp2_path_challenge_data *d,
                        void *u) {
  (void)c;
  (void)u;
  memset(d->data, 3, sizeof(d->data));
  return 0;
}

static void fill(ngtcp2_callbacks *cb, ngtcp2_settings *st,
                 ngtcp2_transport_params *tp) {
  memset(cb, 0, sizeof(*cb));
  if (is_null) {
    aq_null_set_callbacks(cb);
  } else {
    aq_crypto_set_callbacks(cb);
  }
  cb->client_initial = cb_client_initial;
  cb->recv_client_initial = cb_recv_client_initial;
  cb->recv_crypto_data = cb_crypto;
  cb->recv_retry = cb_retry;
  cb->rand = cb_rand;
  cb->get_new_connection_id2 = cb_new_cid;
  cb->update_key = cb_update_key;
  cb->get_path_challenge_data2 = cb_challenge;
  ngtcp2_settings_default(st);
  st->initial_ts = AQ_S;
  ngtcp2_transport_params_default(tp);
  tp->initial_max_data = 100000;
}

static ngtcp2_path *path_from(int me) {
  ngtcp2_path *p = &path_of[me];
  p->local.addr = (ngtcp2_sockaddr *)&addr_of[me];
  p->local.addrlen = sizeof(addr_of[me]);
  p->remote.addr = (ngtcp2_sockaddr *)&addr_of[!me];
  p->remote.addrlen = sizeof(addr_of[!me]);
  return p;
}

static void make_client(side *s, aq_tls_ctx *ctx, const char *alpn,
                        const aq_peer_id *expect) {
  ngtcp2_callbacks cb;
  ngtcp2_settings st;
  ngtcp2_transport_params tp;
  ngtcp2_cid dcid = {16, {9}}, scid = {8, {8}};
  memset(s, 0, sizeof(*s));
  fill(&cb, &st, &tp);
  assert_int_equal(ngtcp2_conn_client_new(&s->conn, &dcid, &scid, path_from(0),
                                          NGTCP2_PROTO_VER_V1, &cb, &st, &tp,
                                          NULL, s),
                   0);
  assert_int_equal(aq_tls_init(&s->tls, ctx, 0, alpn, expect, &hooks, s), 0);
  s->tls.conn = s->conn;
  ngtcp2_conn_set_tls_native_handle(s->conn, s->tls.ssl);
}

static void make_server(side *s, aq_tls_ctx *ctx, const uint8_t *pkt,
                        size_t len) {
  ngtcp2_callbacks cb;
  ngtcp2_settings st;
  ngtcp2_transport_params tp;
  ngtcp2_cid scid = {8, {7}};
  ngtcp2_pkt_hd hd;
  memset(s, 0, sizeof(*s));
  assert_int_equal(ngtcp2_accept(&hd, pkt, len), 0);
  fill(&cb, &st, &tp);
  tp.original_dcid = hd.dcid;
  tp.original_dcid_present = 1;
  assert_int_equal(ngtcp2_conn_server_new(&s->conn, &hd.scid, &scid,
                                          path_from(1), hd.version, &cb, &st,
                                          &tp, NULL, s),
                   0);
  assert_int_equal(aq_tls_init(&s->tls, ctx, 1, NULL, NULL, &hooks, s), 0);
  s->tls.conn = s->conn;
  ngtcp2_conn_set_tls_native_handle(s->conn, s->tls.ssl);
}

static void feed(side *to, int index, const uint8_t *pkt, size_t len) {
  ngtcp2_pkt_info pi = {0};
  assert_true(nsent < SENT_MAX);
  sent[nsent++] = len;
  if (to->dead || ngtcp2_conn_read_pkt(to->conn, path_from(index), &pi, pkt,
                                       len, AQ_S) != 0) {
    to->dead = 1;
  }
}

/* Runs both until nothing moves. Returns with the connections' errors in
 * their |tls|. */
static void run(side *c, side *s, aq_tls_ctx *server_ctx) {
  uint8_t buf[1500];
  ngtcp2_pkt_info pi;
  ngtcp2_path_storage ps;
  int moved, i;
  ngtcp2_path_storage_zero(&ps);
  for (i = 0; i < 50; i++) {
    moved = 0;
    for (;;) {
      ngtcp2_ssize n = c->dead ? 0
                               : ngtcp2_conn_write_pkt(c->conn, &ps.path, &pi,
                                                       buf, sizeof(buf), AQ_S);
      if (n <= 0) {
        break;
      }
      moved = 1;
      if (!s->conn) {
        make_server(s, server_ctx, buf, (size_t)n);
      }
      feed(s, 1, buf, (size_t)n);
    }
    for (;;) {
      ngtcp2_ssize n = !s->conn || s->dead
                           ? 0
                           : ngtcp2_conn_write_pkt(s->conn, &ps.path, &pi, buf,
                                                   sizeof(buf), AQ_S);
      if (n <= 0) {
        break;
      }
      moved = 1;
      feed(c, 0, buf, (size_t)n);
    }
    if (!moved) {
      break;
    }
  }
}

static void done(side *s) {
  aq_tls_free(&s->tls);
  ngtcp2_conn_del(s->conn);
}

static aq_tls_ctx *context(aq_identity **id, const char *alpn, aq_pqc pqc,
                           const aq_peer_id *allow, size_t n) {
  aq_endpoint_params p;
  aq_tls_ctx *ctx;
  static uint8_t seed[32];
  seed[0]++;
  assert_int_equal(
      (is_null ? aq_identity_from_seed_null : aq_identity_from_seed)(id, seed),
      0);
  aq_endpoint_params_init(&p);
  p.identity = *id;
  p.pqc = pqc;
  p.alpn_count = 1;
  strcpy(p.alpn[0], alpn);
  p.allow = allow;
  p.allow_count = n;
  if (is_null) {
    aq_mem mem;
    aq_mem_init(&mem, NULL);
    assert_int_equal(aq_tls_ctx_new_null(&ctx, &p, &mem), 0);
  } else {
    assert_int_equal(aq_tls_ctx_new(&ctx, &p), 0);
  }
  assert_int_equal(aq_tls_ctx_is_null(ctx), is_null);
  return ctx;
}

typedef struct outcome {
  int client_ok, server_ok, client_error, server_error, pq;
  int client_alert, server_alert;
} outcome;

typedef struct scenario {
  const char *client_alpn, *server_alpn;
  aq_pqc client_pqc, server_pqc;
  int expect; /* 0 none, 1 right, 2 wrong */
  int allow;  /* 0 any, 1 the client, 2 somebody else, 3 nobody */
} scenario;

static outcome play_one(const scenario *sc) {
  aq_identity *ci, *si;
  aq_peer_id other = {{1}}, list[1];
  aq_tls_ctx *cc = context(&ci, sc->client_alpn, sc->client_pqc, NULL, 0), *sx;
  side c, s = {0};
  outcome o = {0};
  list[0] = sc->allow == 1 ? *aq_identity_peer_id(ci) : other;
  sx = context(&si, sc->server_alpn, sc->server_pqc, sc->allow ? list : NULL,
               sc->allow == 3 ? 0 : 1);
  make_client(&c, cc, sc->client_alpn,
              sc->expect == 0   ? NULL
              : sc->expect == 1 ? aq_identity_peer_id(si)
                                : &other);
  run(&c, &s, sx);
  o.client_ok = ngtcp2_conn_get_handshake_completed2(c.conn) && !c.dead;
  o.server_ok = ngtcp2_conn_get_handshake_completed2(s.conn) && !s.dead;
  o.client_error = c.tls.error;
  o.server_error = s.tls.error;
  o.client_alert = aq_tls_alert(&c.tls);
  o.server_alert = aq_tls_alert(&s.tls);
  o.pq = c.tls.post_quantum + 2 * s.tls.post_quantum;
  if (o.client_ok && o.server_ok) {
    assert_memory_equal(&c.tls.peer, aq_identity_peer_id(si), 32);
    assert_memory_equal(&s.tls.peer, aq_identity_peer_id(ci), 32);
    assert_memory_equal(s.tls.peer_key, aq_identity_public_key(ci), 32);
    assert_string_equal(c.tls.alpn, sc->client_alpn);
    assert_string_equal(s.tls.alpn, sc->client_alpn);
    assert_true(c.remote_params_len > 0 && s.remote_params_len > 0);
    aq_tls_shrink(&c.tls); /* a ticket or other late data does no harm */
    assert_int_equal(aq_tls_recv_crypto_data(&c.tls,
                                             NGTCP2_ENCRYPTION_LEVEL_1RTT,
                                             (const uint8_t *)"x", 1),
                     0);
  }
  done(&c);
  done(&s);
  aq_tls_ctx_del(cc);
  aq_tls_ctx_del(sx);
  aq_identity_del(ci);
  aq_identity_del(si);
  return o;
}

static outcome play(const scenario *sc) {
  size_t sizes[SENT_MAX], n;
  uint64_t bytes[2][4];
  nsent = 0;
  memset(crypto, 0, sizeof(crypto));
  is_null = 0;
  outcome real = play_one(sc);
  n = nsent;
  memcpy(sizes, sent, sizeof(sizes));
  memcpy(bytes, crypto, sizeof(bytes));
  nsent = 0;
  memset(crypto, 0, sizeof(crypto));
  is_null = 1;
  outcome null = play_one(sc);
  assert_memory_equal(&null, &real, sizeof(real));
  assert_int_equal(nsent, n);
  assert_memory_equal(sent, sizes, n * sizeof(*sizes));
  assert_memory_equal(crypto, bytes, sizeof(bytes));
  return real;
}

static void both_prove_their_keys(void **state) {
  scenario sc = {"chat/1", "chat/1", AQ_PQC_HYBRID, AQ_PQC_HYBRID, 1, 1};
  outcome o = play(&sc);
  (void)state;
  assert_true(o.client_ok && o.server_ok);
  assert_int_equal(o.pq, 3);
}

static void anybody_when_not_pinned(void **state) {
  scenario sc = {"a", "a", AQ_PQC_HYBRID, AQ_PQC_HYBRID, 0, 0};
  outcome o = play(&sc);
  (void)state;
  assert_true(o.client_ok && o.server_ok);
}

static void falls_back_to_x25519(void **state) {
  scenario sc = {"a", "a", AQ_PQC_HYBRID, AQ_PQC_OFF, 1, 0};
  outcome o = play(&sc);
  (void)state;
  assert_true(o.client_ok && o.server_ok);
  assert_int_equal(o.pq, 0);
  sc.client_pqc = AQ_PQC_OFF;
  sc.server_pqc = AQ_PQC_HYBRID;
  o = play(&sc);
  assert_true(o.client_ok && o.server_ok);
  assert_int_equal(o.pq, 0);
}

static void wrong_key_is_refused_by_the_client(void **state) {
  scenario sc = {"a", "a", AQ_PQC_HYBRID, AQ_PQC_HYBRID, 2, 0};
  outcome o = play(&sc);
  (void)state;
  assert_false(o.client_ok || o.server_ok);
  assert_int_equal(o.client_error, AQ_ERR_WRONG_KEY);
}

static void allow_list_is_asked_in_the_handshake(void **state) {
  scenario sc = {"a", "a", AQ_PQC_HYBRID, AQ_PQC_HYBRID, 1, 2};
  outcome o = play(&sc);
  (void)state;
  assert_false(o.server_ok);
  assert_int_equal(o.server_error, AQ_ERR_NOT_ALLOWED);
  sc.allow = 3; /* an empty list allows nobody */
  o = play(&sc);
  assert_false(o.server_ok);
  assert_int_equal(o.server_error, AQ_ERR_NOT_ALLOWED);
}

static void no_common_alpn(void **state) {
  scenario sc = {"a", "b", AQ_PQC_HYBRID, AQ_PQC_HYBRID, 1, 0};
  outcome o = play(&sc);
  (void)state;
  assert_false(o.client_ok || o.server_ok);
  assert_int_equal(o.server_error, AQ_ERR_ALPN);
}

/* ---- the null handshake alone ----------------------------------------------
 */

/* A message of |type| whose body is |body|, to the server or the client. */
static int give(side *to, ngtcp2_encryption_level level, uint8_t type,
                const uint8_t *body, size_t len) {
  uint8_t m[5000] = {type, (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                     (uint8_t)len};
  assert_true(len + 4 <= sizeof(m));
  memcpy(m + 4, body, len);
  return aq_tls_recv_crypto_data(&to->tls, level, m, len + 4);
}

/* A client and a server that have not heard of each other. */
static void strangers(side *c, side *s, aq_tls_ctx *ctx) {
  uint8_t buf[1500];
  ngtcp2_pkt_info pi;
  ngtcp2_path_storage ps;
  ngtcp2_path_storage_zero(&ps);
  make_client(c, ctx, "a", NULL);
  ngtcp2_ssize n =
      ngtcp2_conn_write_pkt(c->conn, &ps.path, &pi, buf, sizeof(buf), AQ_S);
  assert_true(n >= 1200);
  make_server(s, ctx, buf, (size_t)n);
}

static void malformed_messages_are_clean_errors(void **state) {
  static const struct {
    int server, level; /* 0 Initial, 1 Handshake */
    uint8_t type, body[40];
    size_t len;
    int error;
  } rows[] = {
      {1, 0, 2, {0}, 40, AQ_ERR_TLS},        /* a ServerHello for a server */
      {1, 1, 1, {0}, 40, AQ_ERR_TLS},        /* at the wrong level */
      {1, 0, 1, {0}, 31, AQ_ERR_TLS},        /* no room for the random */
      {1, 0, 1, {[33] = 1}, 40, AQ_ERR_TLS}, /* a list of 256 bytes */
      {1, 0, 1, {[34] = 1, [35] = 'b'}, 40, AQ_ERR_ALPN},
      {1, 0, 1, {[34] = 1, [35] = 'a'}, 38, AQ_ERR_PROTOCOL}, /* no params */
      {0, 0, 1, {0}, 40, AQ_ERR_TLS},
      {0, 0, 2, {0}, 20, AQ_ERR_TLS},
      {0, 1, 8, {0}, 20, AQ_ERR_TLS}, /* before the ServerHello */
  };
  aq_identity *id;
  (void)state;
  is_null = 1;
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    aq_tls_ctx *ctx = context(&id, "a", AQ_PQC_HYBRID, NULL, 0);
    side c, s;
    strangers(&c, &s, ctx);
    side *to = rows[i].server ? &s : &c;
    assert_int_equal(give(to,
                          rows[i].level ? NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE
                                        : NGTCP2_ENCRYPTION_LEVEL_INITIAL,
                          rows[i].type, rows[i].body, rows[i].len),
                     NGTCP2_ERR_CRYPTO);
    assert_int_equal(to->tls.error, rows[i].error);
    assert_int_not_equal(aq_tls_alert(&to->tls), 0);
    done(&c);
    done(&s);
    aq_tls_ctx_del(ctx);
    aq_identity_del(id);
  }
}

static void no_bytes_do_harm(void **state) {
  static const uint8_t order[2][6] = {{2, 8, 13, 11, 15, 20}, {1, 11, 15, 20}};
  aq_rand r;
  aq_identity *id;
  (void)state;
  is_null = 1;
  aq_tls_ctx *ctx = context(&id, "a", AQ_PQC_OFF, NULL, 0);
  aq_rand_init(&r, 1);
  for (int round = 0; round < 1000; round++) {
    side v[2];
    strangers(&v[0], &v[1], ctx);
    for (int i = 0; i < 2; i++) {
      int rv = 0;
      for (int k = 0; k < 6 && rv == 0; k++) {
        uint8_t body[3000];
        size_t len = (size_t)aq_rand_below(&r, k == 0 ? 3000 : 80);
        for (size_t b = 0; b < len; b++) {
          body[b] = (uint8_t)(b > 40 ? aq_rand_u64(&r) : aq_rand_below(&r, 3));
        }
        rv = give(&v[i],
                  k == 0 ? NGTCP2_ENCRYPTION_LEVEL_INITIAL
                         : NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE,
                  order[i][k], body, len);
        assert_true(rv == 0 || rv == NGTCP2_ERR_CRYPTO);
        assert_true(rv == 0 || v[i].tls.error != 0);
      }
      assert_false(ngtcp2_conn_get_handshake_completed2(v[i].conn));
      done(&v[i]);
    }
  }
  aq_tls_ctx_del(ctx);
  aq_identity_del(id);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(both_prove_their_keys),
      cmocka_unit_test(anybody_when_not_pinned),
      cmocka_unit_test(falls_back_to_x25519),
      cmocka_unit_test(wrong_key_is_refused_by_the_client),
      cmocka_unit_test(allow_list_is_asked_in_the_handshake),
      cmocka_unit_test(no_common_alpn),
      cmocka_unit_test(malformed_messages_are_clean_errors),
      cmocka_unit_test(no_bytes_do_harm),
  };
  int i;
  for (i = 0; i < 2; i++) {
    addr_of[i].sin_family = AF_INET;
    addr_of[i].sin_port = htons((uint16_t)(1000 + i));
    addr_of[i].sin_addr.s_addr = htonl(0x7f000001);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
