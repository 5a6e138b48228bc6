/* crypto_null.c - see crypto_null.h.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/crypto_null.h"

#include "base/addr.h"
#include "base/hash.h"
#include "base/rand.h"
#include "base/time.h"
#include "base/wire.h"

#include <ngtcp2/ngtcp2_crypto.h>
#include <string.h>

#define TAG_LEN 16
#define IV_LEN 12

typedef struct null_key {
  uint64_t key;
  aq_crypto_tap tap;
  aq_mem mem;
} null_key;

/* Any address will do: ngtcp2 asks only that it isn't NULL. */
static const uint8_t suite;

/* ---- the tag ---------------------------------------------------------------
 */

static uint64_t load64(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, sizeof(v));
  return v;
}

/* Words are folded by a bijection of each, so that a single changed bit always
 * changes the sum. */
static uint64_t fold(uint64_t sum, const uint8_t *p, size_t len) {
  uint64_t last = len;
  for (; len >= 8; p += 8, len -= 8) {
    sum = (sum ^ load64(p)) * UINT64_C(0x9e3779b97f4a7c15);
    sum ^= sum >> 32;
  }
  for (size_t i = 0; i < len; i++) {
    last = last << 8 | p[i];
  }
  return aq_mix64(sum ^ last);
}

static void make_tag(uint8_t tag[TAG_LEN], const null_key *k,
                     const uint8_t *data, size_t len, const uint8_t *nonce,
                     size_t noncelen, const uint8_t *aad, size_t aadlen) {
  uint64_t sum = fold(k->key, nonce, noncelen);
  sum = fold(sum, aad, aadlen);
  uint64_t half[2] = {fold(sum, data, len), 0};
  half[1] = aq_mix64(half[0] ^ k->key);
  memcpy(tag, half, TAG_LEN);
}

static int on_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *ctx,
                      const uint8_t *plaintext, size_t len,
                      const uint8_t *nonce, size_t noncelen, const uint8_t *aad,
                      size_t aadlen) {
  const null_key *k = ctx->native_handle;
  (void)aead;
  if (dest != plaintext && len > 0) {
    memmove(dest, plaintext, len);
  }
  if (k->tap.sealing) {
    k->tap.sealing(k->tap.owner, dest, len);
  }
  make_tag(dest + len, k, dest, len, nonce, noncelen, aad, aadlen);
  return 0;
}

static int on_decrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *in,
                      size_t len, const uint8_t *nonce, size_t noncelen,
                      const uint8_t *aad, size_t aadlen) {
  const null_key *k = ctx->native_handle;
  uint8_t tag[TAG_LEN];
  (void)aead;
  if (len < TAG_LEN) {
    return NGTCP2_ERR_DECRYPT;
  }
  len -= TAG_LEN;
  make_tag(tag, k, in, len, nonce, noncelen, aad, aadlen);
  if (memcmp(tag, in + len, TAG_LEN) != 0) {
    return NGTCP2_ERR_DECRYPT;
  }
  if (dest != in && len > 0) {
    memmove(dest, in, len);
  }
  if (k->tap.opened && k->tap.opened(k->tap.owner, dest, len) != 0) {
    return NGTCP2_ERR_DECRYPT;
  }
  return 0;
}

static int on_hp_mask(uint8_t *dest, const ngtcp2_crypto_cipher *hp,
                      const ngtcp2_crypto_cipher_ctx *ctx,
                      const uint8_t *sample) {
  (void)hp;
  (void)ctx;
  (void)sample;
  memset(dest, 0, NGTCP2_HP_MASKLEN);
  return 0;
}

/* ---- contexts ---------------------------------------------------------------
 */

void aq_null_drop_key(ngtcp2_crypto_aead_ctx *ctx) {
  null_key *k = ctx->native_handle;
  if (k) {
    aq_mem mem = k->mem;
    aq_mem_free(&mem, k);
    ctx->native_handle = NULL;
  }
}

static void on_delete_aead(ngtcp2_conn *conn, ngtcp2_crypto_aead_ctx *ctx,
                           void *user_data) {
  (void)conn;
  (void)user_data;
  aq_null_drop_key(ctx);
}

static void on_delete_cipher(ngtcp2_conn *conn, ngtcp2_crypto_cipher_ctx *ctx,
                             void *user_data) {
  (void)conn;
  (void)ctx; /* a header mask needs none */
  (void)user_data;
}

void aq_null_set_callbacks(ngtcp2_callbacks *cb) {
  cb->encrypt = on_encrypt;
  cb->decrypt = on_decrypt;
  cb->hp_mask = on_hp_mask;
  cb->delete_crypto_aead_ctx = on_delete_aead;
  cb->delete_crypto_cipher_ctx = on_delete_cipher;
}

void aq_null_fill_ctx(ngtcp2_crypto_ctx *ctx) {
  memset(ctx, 0, sizeof(*ctx));
  ctx->aead.native_handle = (void *)(uintptr_t)&suite;
  ctx->aead.max_overhead = TAG_LEN;
  ctx->md.native_handle = (void *)(uintptr_t)&suite;
  ctx->hp.native_handle = (void *)(uintptr_t)&suite;
  ctx->max_encryption = UINT64_C(1) << 23; /* those of the real first choice */
  ctx->max_decryption_failure = UINT64_C(1) << 52;
}

/* ---- keys -------------------------------------------------------------------
 */

void aq_null_secret(uint8_t out[AQ_NULL_SECRET_LEN], const uint8_t *data,
                    size_t len, uint64_t label) {
  aq_rand r;
  aq_rand_init(&r, fold(aq_mix64(label), data, len));
  for (size_t i = 0; i < AQ_NULL_SECRET_LEN; i += 8) {
    uint64_t v = aq_rand_u64(&r);
    memcpy(out + i, &v, 8);
  }
}

static uint64_t key_of(const uint8_t *secret, size_t len) {
  return fold(UINT64_C(0x6e756c6c), secret, len);
}

/* The fixed key of the Retry integrity tag. */
static uint64_t retry_key(void) {
  static const uint8_t zero[AQ_NULL_SECRET_LEN];
  return key_of(zero, sizeof(zero));
}

/* A context and an IV from a secret. Returns 0 or -1. */
static int key_make(ngtcp2_crypto_aead_ctx *ctx, uint8_t iv[IV_LEN],
                    const aq_mem *mem, const uint8_t *secret, size_t len,
                    const aq_crypto_tap *tap) {
  null_key *k = aq_mem_alloc(mem, sizeof(*k));
  ctx->native_handle = k;
  if (!k) {
    return -1;
  }
  k->mem = *mem;
  k->key = key_of(secret, len);
  if (tap) {
    k->tap = *tap;
  }
  if (iv) {
    memcpy(iv, secret, IV_LEN);
  }
  return 0;
}

int aq_null_install_initial(ngtcp2_conn *conn, const aq_mem *mem, int server,
                            const ngtcp2_cid *dcid) {
  uint8_t secret[AQ_NULL_SECRET_LEN];
  uint8_t iv[IV_LEN];
  ngtcp2_crypto_ctx ctx;
  ngtcp2_crypto_aead_ctx rx = {0}, tx = {0}, retry = {0};
  ngtcp2_crypto_cipher_ctx hp = {0};
  aq_null_fill_ctx(&ctx);
  ngtcp2_conn_set_initial_crypto_ctx(conn, &ctx);
  aq_null_secret(secret, dcid->data, dcid->datalen, 1);
  if (key_make(&rx, iv, mem, secret, sizeof(secret), NULL) != 0 ||
      key_make(&tx, iv, mem, secret, sizeof(secret), NULL) != 0 ||
      ngtcp2_conn_install_initial_key(conn, &rx, iv, &hp, &tx, iv, &hp,
                                      IV_LEN) != 0) {
    aq_null_drop_key(&rx);
    aq_null_drop_key(&tx);
    return -1;
  }
  if (!server && !ngtcp2_conn_after_retry2(conn)) {
    memset(secret, 0, sizeof(secret));
    if (key_make(&retry, NULL, mem, secret, sizeof(secret), NULL) != 0) {
      return -1;
    }
    ngtcp2_conn_set_retry_aead(conn, &ctx.aead, &retry);
  }
  return 0;
}

int aq_null_install_key(ngtcp2_conn *conn, const aq_mem *mem,
                        ngtcp2_encryption_level level, int rx,
                        const uint8_t secret[AQ_NULL_SECRET_LEN],
                        const aq_crypto_tap *tap) {
  int app = level == NGTCP2_ENCRYPTION_LEVEL_1RTT;
  size_t len = AQ_NULL_SECRET_LEN;
  uint8_t iv[IV_LEN];
  ngtcp2_crypto_aead_ctx a = {0};
  ngtcp2_crypto_cipher_ctx h = {0};
  if (key_make(&a, iv, mem, secret, len, app ? tap : NULL) != 0) {
    return -1;
  }
  if (aq_crypto_put_key(conn, level, rx, secret, len, &a, iv, &h) != 0) {
    aq_null_drop_key(&a);
    return -1;
  }
  return 0;
}

int aq_null_next_key(const aq_mem *mem, uint8_t *next_secret,
                     const uint8_t *secret, size_t len,
                     ngtcp2_crypto_aead_ctx *ctx, uint8_t *iv,
                     const aq_crypto_tap *tap) {
  if (len != AQ_NULL_SECRET_LEN) {
    return -1;
  }
  aq_null_secret(next_secret, secret, len, 2);
  return key_make(ctx, iv, mem, next_secret, len, tap);
}

/* ---- tokens
 * ------------------------------------------------------------------
 */

#define TOKEN_LEN_NEW NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN
#define TOKEN_LEN_RETRY NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2

/* What only this server can have made. */
static uint64_t token_proof(const uint8_t *token, size_t len,
                            const uint8_t secret[32], const ngtcp2_cid *scid) {
  uint64_t sum = fold(fold(1, secret, 32), token, len);
  return scid ? fold(sum, scid->data, scid->datalen) : sum;
}

size_t aq_null_token(uint8_t *out, const uint8_t secret[32],
                     const ngtcp2_cid *scid, const aq_addr *remote,
                     const ngtcp2_cid *odcid, aq_tstamp now) {
  size_t len = scid ? TOKEN_LEN_RETRY : TOKEN_LEN_NEW;
  aq_writer w;
  memset(out, 0, len);
  aq_writer_init(&w, out, len);
  aq_write_u8(&w, scid ? NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2
                       : NGTCP2_CRYPTO_TOKEN_MAGIC_REGULAR);
  aq_write_u64(&w, now);
  aq_write_u64(&w, aq_addr_hash(remote, 0));
  if (scid) {
    aq_write_u8(&w, (uint8_t)odcid->datalen);
    aq_write_bytes(&w, odcid->data, odcid->datalen);
  }
  aq_write_u64(&w, token_proof(out, w.off, secret, scid));
  return len;
}

int aq_null_token_read(const uint8_t *token, size_t len,
                       const uint8_t secret[32], const ngtcp2_cid *scid,
                       const aq_addr *remote, aq_tstamp now, ngtcp2_cid *odcid,
                       aq_duration *age) {
  aq_reader r;
  aq_reader_init(&r, token, len);
  aq_read_skip(&r, 1);
  *age = aq_time_since(now, aq_read_u64(&r));
  uint64_t place = aq_read_u64(&r);
  if (scid) {
    size_t n = aq_read_u8(&r);
    const uint8_t *cid = n <= NGTCP2_MAX_CIDLEN ? aq_read_view(&r, n) : NULL;
    if (cid == NULL) {
      return AQ_ERR_FORMAT;
    }
    ngtcp2_cid_init(odcid, cid, n);
  }
  size_t signed_len = r.off;
  if (aq_read_u64(&r) != token_proof(token, signed_len, secret, scid) ||
      r.err != 0 || len != (scid ? TOKEN_LEN_RETRY : TOKEN_LEN_NEW)) {
    return AQ_ERR_FORMAT;
  }
  return place == aq_addr_hash(remote, 0) ? 0 : AQ_ERR_ADDRESS;
}

ngtcp2_ssize aq_null_write_retry(uint8_t *out, size_t cap,
                                 const ngtcp2_pkt_hd *hd,
                                 const ngtcp2_cid *scid, const uint8_t *token,
                                 size_t len) {
  const null_key zero = {.key = retry_key()};
  const ngtcp2_crypto_aead_ctx ctx = {.native_handle =
                                          (void *)(uintptr_t)&zero};
  ngtcp2_crypto_ctx c;
  aq_null_fill_ctx(&c);
  return ngtcp2_pkt_write_retry(out, cap, hd->version, &hd->scid, scid,
                                &hd->dcid, token, len, on_encrypt, &c.aead,
                                &ctx);
}

ngtcp2_ssize aq_null_write_close(uint8_t *out, size_t cap,
                                 const ngtcp2_pkt_hd *hd, uint64_t code) {
  uint8_t secret[AQ_NULL_SECRET_LEN];
  null_key key = {0};
  const ngtcp2_crypto_aead_ctx ctx = {.native_handle = &key};
  const ngtcp2_crypto_cipher_ctx hp = {0};
  ngtcp2_crypto_ctx c;
  aq_null_fill_ctx(&c);
  aq_null_secret(secret, hd->dcid.data, hd->dcid.datalen, 1);
  key.key = key_of(secret, sizeof(secret));
  return ngtcp2_pkt_write_connection_close(
      out, cap, hd->version, &hd->scid, &hd->dcid, code, NULL, 0, on_encrypt,
      &c.aead, &ctx, secret, on_hp_mask, &c.hp, &hp);
}
