/* crypto.c - packet protection straight on wolfCrypt, without the EVP layer:
 * two thirds of its cost per packet (docs/performance.md).
 *
 * SPDX-License-Identifier: MIT */
#include "quic/crypto.h"

#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/sha256.h>

#define TAG_LEN 16
#define IV_LEN 12
#define MAX_KEY 32
#define MAX_SECRET 48

typedef struct suite {
  uint16_t id;
  uint8_t chacha;
  uint8_t keylen;
  int hash; /* wolfCrypt's hash type */
  uint64_t max_encryption, max_decryption_failure;
} suite;

/* RFC 9001 section 6.6 and appendix B: limits for packets up to 2^16 bytes of
 * AES-GCM (encryption 2^23, integrity 2^52) and of ChaCha20-Poly1305 (only the
 * packet number space limits encryption, integrity 2^36). */
static const suite suites[] = {
    {0x1301, 0, 16, WC_SHA256, 1ull << 23, 1ull << 52},
    {0x1302, 0, 32, WC_SHA384, 1ull << 23, 1ull << 52},
    {0x1303, 1, 32, WC_SHA256, 1ull << 62, 1ull << 36},
};

typedef struct aead_ctx {
  Aes aes;              /* first: wolfCrypt wants it aligned */
  uint8_t key[MAX_KEY]; /* ChaCha20-Poly1305 */
  uint8_t chacha;
  aq_crypto_tap tap;
} aead_ctx;

typedef struct hp_ctx {
  Aes aes;
  uint8_t key[MAX_KEY];
  uint8_t chacha;
} hp_ctx;

void aq_crypto_wipe(void *p, size_t len) {
  wc_ForceZero(p, len);
}

int aq_crypto_random(const aq_env *env, uint8_t *out, size_t len) {
  if (env && env->random) {
    return env->random(env->user, out, len) == 0 ? 0 : AQ_ERR_INTERNAL;
  }
  return wolfSSL_RAND_bytes(out, (int)len) == 1 ? 0 : AQ_ERR_INTERNAL;
}

/* ---- hashes ---------------------------------------------------------------
 */

struct aq_sha256 {
  wc_Sha256 sha;
};

int aq_sha256_new(aq_sha256 **ps) {
  aq_sha256 *s = XMALLOC(sizeof(*s), NULL, DYNAMIC_TYPE_SHA);
  *ps = s;
  if (!s) {
    return AQ_ERR_NOMEM;
  }
  if (wc_InitSha256(&s->sha) != 0) {
    XFREE(s, NULL, DYNAMIC_TYPE_SHA);
    *ps = NULL;
    return AQ_ERR_INTERNAL;
  }
  return 0;
}

void aq_sha256_del(aq_sha256 *s) {
  if (s) {
    wc_Sha256Free(&s->sha);
    XFREE(s, NULL, DYNAMIC_TYPE_SHA);
  }
}

int aq_sha256_update(aq_sha256 *s, const uint8_t *data, size_t len) {
  while (len) {
    word32 n = len > (1u << 30) ? 1u << 30 : (word32)len;
    if (wc_Sha256Update(&s->sha, data, n) != 0) {
      return AQ_ERR_INTERNAL;
    }
    data += n;
    len -= n;
  }
  return 0;
}

int aq_sha256_digest(aq_sha256 *s, uint8_t out[32]) {
  return wc_Sha256GetHash(&s->sha, out) == 0 ? 0 : AQ_ERR_INTERNAL;
}

int aq_crypto_sha256(uint8_t out[32], const uint8_t *a, size_t alen,
                     const uint8_t *b, size_t blen) {
  aq_sha256 s;
  int rv;
  if (wc_InitSha256(&s.sha) != 0) {
    return AQ_ERR_INTERNAL;
  }
  rv = aq_sha256_update(&s, a, alen);
  if (rv == 0) {
    rv = aq_sha256_update(&s, b, blen);
  }
  if (rv == 0) {
    rv = aq_sha256_digest(&s, out);
  }
  wc_Sha256Free(&s.sha);
  return rv;
}

static int hmac_sha256(uint8_t out[32], const uint8_t *key, size_t keylen,
                       const uint8_t *data, size_t len) {
  Hmac h;
  int rv = wc_HmacInit(&h, NULL, INVALID_DEVID);
  if (rv != 0) {
    return AQ_ERR_INTERNAL;
  }
  rv = wc_HmacSetKey(&h, WC_SHA256, key, (word32)keylen);
  if (rv == 0) {
    rv = wc_HmacUpdate(&h, data, (word32)len);
  }
  if (rv == 0) {
    rv = wc_HmacFinal(&h, out);
  }
  wc_HmacFree(&h);
  return rv == 0 ? 0 : AQ_ERR_INTERNAL;
}

int aq_crypto_mac16(uint8_t out[16], const uint8_t *key, size_t keylen,
                    const uint8_t *data, size_t len) {
  uint8_t full[32];
  int rv = hmac_sha256(full, key, keylen, data, len);
  memcpy(out, full, 16);
  aq_crypto_wipe(full, sizeof(full));
  return rv;
}

int aq_crypto_secrets_init(aq_crypto_secrets *s, const aq_env *env,
                           const uint8_t seed[32]) {
  static const char label[] = "antquic stateless reset";
  int rv = hmac_sha256(s->reset, seed, 32, (const uint8_t *)label,
                       sizeof(label) - 1);
  return rv ? rv : aq_crypto_random(env, s->token, sizeof(s->token));
}

int aq_crypto_reset_token(uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN],
                          const aq_crypto_secrets *s, const ngtcp2_cid *cid) {
  return aq_crypto_mac16(token, s->reset, sizeof(s->reset), cid->data,
                         cid->datalen);
}

/* ---- packet protection ----------------------------------------------------
 */

static int on_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *ctx,
                      const uint8_t *plaintext, size_t len,
                      const uint8_t *nonce, size_t noncelen, const uint8_t *aad,
                      size_t aadlen) {
  aead_ctx *a = ctx->native_handle;
  int rv;
  (void)aead;
  if (a->tap.sealing) {
    if (dest != plaintext) {
      memmove(dest, plaintext, len);
      plaintext = dest;
    }
    a->tap.sealing(a->tap.owner, dest, len);
  }
  if (a->chacha) {
    rv = wc_ChaCha20Poly1305_Encrypt(a->key, nonce, aad, (word32)aadlen,
                                     plaintext, (word32)len, dest, dest + len);
  } else {
    rv = wc_AesGcmEncrypt(&a->aes, dest, plaintext, (word32)len, nonce,
                          (word32)noncelen, dest + len, TAG_LEN, aad,
                          (word32)aadlen);
  }
  return rv == 0 ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int on_decrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *in,
                      size_t len, const uint8_t *nonce, size_t noncelen,
                      const uint8_t *aad, size_t aadlen) {
  aead_ctx *a = ctx->native_handle;
  int rv;
  (void)aead;
  if (len < TAG_LEN) {
    return NGTCP2_ERR_DECRYPT;
  }
  len -= TAG_LEN;
  if (a->chacha) {
    rv = wc_ChaCha20Poly1305_Decrypt(a->key, nonce, aad, (word32)aadlen, in,
                                     (word32)len, in + len, dest);
  } else {
    rv = wc_AesGcmDecrypt(&a->aes, dest, in, (word32)len, nonce,
                          (word32)noncelen, in + len, TAG_LEN, aad,
                          (word32)aadlen);
  }
  if (rv != 0) {
    return NGTCP2_ERR_DECRYPT;
  }
  if (a->tap.opened && a->tap.opened(a->tap.owner, dest, len) != 0) {
    return NGTCP2_ERR_DECRYPT;
  }
  return 0;
}

/* RFC 9001 section 5.4.4: counter and nonce are the sample. */
static int chacha_mask(uint8_t *dest, const hp_ctx *h, const uint8_t *sample) {
  static const uint8_t zero[NGTCP2_HP_MASKLEN];
  ChaCha c;
  word32 counter = (word32)sample[0] | (word32)sample[1] << 8 |
                   (word32)sample[2] << 16 | (word32)sample[3] << 24;
  int rv = wc_Chacha_SetKey(&c, h->key, MAX_KEY);
  if (rv == 0) {
    rv = wc_Chacha_SetIV(&c, sample + 4, counter);
  }
  if (rv == 0) {
    rv = wc_Chacha_Process(&c, dest, zero, sizeof(zero));
  }
  aq_crypto_wipe(&c, sizeof(c));
  return rv;
}

static int on_hp_mask(uint8_t *dest, const ngtcp2_crypto_cipher *hp,
                      const ngtcp2_crypto_cipher_ctx *ctx,
                      const uint8_t *sample) {
  hp_ctx *h = ctx->native_handle;
  uint8_t block[16];
  (void)hp;
  if (h->chacha) {
    return chacha_mask(dest, h, sample) == 0 ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
  }
  if (wc_AesEcbEncrypt(&h->aes, block, sample, sizeof(block)) != 0) {
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  memcpy(dest, block, NGTCP2_HP_MASKLEN);
  return 0;
}

static void aead_free(ngtcp2_crypto_aead_ctx *ctx) {
  aead_ctx *a = ctx->native_handle;
  if (a) {
    wc_AesFree(&a->aes);
    aq_crypto_wipe(a, sizeof(*a));
    XFREE(a, NULL, DYNAMIC_TYPE_AES);
    ctx->native_handle = NULL;
  }
}

static void hp_free(ngtcp2_crypto_cipher_ctx *ctx) {
  hp_ctx *h = ctx->native_handle;
  if (h) {
    wc_AesFree(&h->aes);
    aq_crypto_wipe(h, sizeof(*h));
    XFREE(h, NULL, DYNAMIC_TYPE_AES);
    ctx->native_handle = NULL;
  }
}

static void on_delete_aead(ngtcp2_conn *conn, ngtcp2_crypto_aead_ctx *ctx,
                           void *user_data) {
  (void)conn;
  (void)user_data;
  aead_free(ctx);
}

static void on_delete_cipher(ngtcp2_conn *conn, ngtcp2_crypto_cipher_ctx *ctx,
                             void *user_data) {
  (void)conn;
  (void)user_data;
  hp_free(ctx);
}

void aq_crypto_set_callbacks(ngtcp2_callbacks *cb) {
  cb->encrypt = on_encrypt;
  cb->decrypt = on_decrypt;
  cb->hp_mask = on_hp_mask;
  cb->delete_crypto_aead_ctx = on_delete_aead;
  cb->delete_crypto_cipher_ctx = on_delete_cipher;
}

static int aead_make(ngtcp2_crypto_aead_ctx *ctx, const suite *s,
                     const uint8_t *key, const aq_crypto_tap *tap) {
  aead_ctx *a = XMALLOC(sizeof(*a), NULL, DYNAMIC_TYPE_AES);
  if (!a) {
    return -1;
  }
  memset(a, 0, sizeof(*a));
  ctx->native_handle = a;
  a->chacha = s->chacha;
  if (tap) {
    a->tap = *tap;
  }
  if (s->chacha) {
    memcpy(a->key, key, s->keylen);
    return 0;
  }
  if (wc_AesInit(&a->aes, NULL, INVALID_DEVID) != 0 ||
      wc_AesGcmSetKey(&a->aes, key, s->keylen) != 0) {
    aead_free(ctx);
    return -1;
  }
  return 0;
}

static int hp_make(ngtcp2_crypto_cipher_ctx *ctx, const suite *s,
                   const uint8_t *key) {
  hp_ctx *h = XMALLOC(sizeof(*h), NULL, DYNAMIC_TYPE_AES);
  if (!h) {
    return -1;
  }
  memset(h, 0, sizeof(*h));
  ctx->native_handle = h;
  h->chacha = s->chacha;
  memcpy(h->key, key, s->keylen);
  if (!s->chacha && (wc_AesInit(&h->aes, NULL, INVALID_DEVID) != 0 ||
                     wc_AesSetKeyDirect(&h->aes, key, s->keylen, NULL,
                                        AES_ENCRYPTION) != 0)) {
    hp_free(ctx);
    return -1;
  }
  return 0;
}

/* ---- key derivation -------------------------------------------------------
 */

/* RFC 8446 section 7.1, with the empty context that QUIC uses. wolfCrypt's
 * HKDF is called directly: the EVP way seeds a random generator each time. */
static int expand_label(uint8_t *out, size_t outlen, const suite *s,
                        const uint8_t *secret, size_t len, const char *label) {
  uint8_t info[64];
  size_t n = strlen(label);
  info[0] = (uint8_t)(outlen >> 8);
  info[1] = (uint8_t)outlen;
  info[2] = (uint8_t)(6 + n);
  memcpy(info + 3, "tls13 ", 6);
  memcpy(info + 9, label, n);
  info[9 + n] = 0;
  return wc_HKDF_Expand(s->hash, secret, (word32)len, info, (word32)(10 + n),
                        out, (word32)outlen);
}

typedef struct packet_keys {
  uint8_t key[MAX_KEY], hp[MAX_KEY], iv[IV_LEN];
} packet_keys;

static int derive(packet_keys *k, const suite *s, const uint8_t *secret,
                  size_t len) {
  return expand_label(k->key, s->keylen, s, secret, len, "quic key") == 0 &&
                 expand_label(k->iv, IV_LEN, s, secret, len, "quic iv") == 0 &&
                 expand_label(k->hp, s->keylen, s, secret, len, "quic hp") == 0
             ? 0
             : -1;
}

static void fill_ctx(ngtcp2_crypto_ctx *ctx, const suite *s) {
  memset(ctx, 0, sizeof(*ctx));
  ctx->aead.native_handle = (void *)(uintptr_t)s;
  ctx->aead.max_overhead = TAG_LEN;
  ctx->md.native_handle = (void *)(uintptr_t)s;
  ctx->hp.native_handle = (void *)(uintptr_t)s;
  ctx->max_encryption = s->max_encryption;
  ctx->max_decryption_failure = s->max_decryption_failure;
}

int aq_crypto_ctx_for_suite(ngtcp2_crypto_ctx *ctx, uint16_t id) {
  size_t i;
  for (i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
    if (suites[i].id == id) {
      fill_ctx(ctx, &suites[i]);
      return 0;
    }
  }
  return AQ_ERR_UNSUPPORTED;
}

/* RFC 9001 section 5.2: Initial secrets of version 1. */
static int initial_secrets(uint8_t client[32], uint8_t server[32],
                           const ngtcp2_cid *dcid) {
  static const uint8_t salt[] = {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34,
                                 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8,
                                 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a};
  uint8_t initial[32];
  return wc_HKDF_Extract(WC_SHA256, salt, sizeof(salt), dcid->data,
                         (word32)dcid->datalen, initial) == 0 &&
                 expand_label(client, 32, &suites[0], initial, 32,
                              "client in") == 0 &&
                 expand_label(server, 32, &suites[0], initial, 32,
                              "server in") == 0
             ? 0
             : -1;
}

/* RFC 9001 section 5.8: the fixed key of the Retry integrity tag. */
static int set_retry_key(ngtcp2_conn *conn) {
  static const uint8_t key[16] = {0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66,
                                  0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54,
                                  0xe3, 0x68, 0xc8, 0x4e};
  ngtcp2_crypto_aead aead = {.native_handle = (void *)(uintptr_t)&suites[0],
                             .max_overhead = TAG_LEN};
  ngtcp2_crypto_aead_ctx ctx = {0};
  if (aead_make(&ctx, &suites[0], key, NULL) != 0) {
    return -1;
  }
  ngtcp2_conn_set_retry_aead(conn, &aead, &ctx);
  return 0;
}

int aq_crypto_install_initial(ngtcp2_conn *conn, int server,
                              const ngtcp2_cid *client_dcid) {
  const suite *s = &suites[0];
  uint8_t cs[32], ss[32];
  packet_keys rx, tx;
  ngtcp2_crypto_ctx ctx;
  ngtcp2_crypto_aead_ctx rxa = {0}, txa = {0};
  ngtcp2_crypto_cipher_ctx rxh = {0}, txh = {0};

  fill_ctx(&ctx, s);
  ngtcp2_conn_set_initial_crypto_ctx(conn, &ctx);
  if (initial_secrets(cs, ss, client_dcid) != 0 ||
      derive(&rx, s, server ? cs : ss, 32) != 0 ||
      derive(&tx, s, server ? ss : cs, 32) != 0 ||
      aead_make(&rxa, s, rx.key, NULL) != 0 || hp_make(&rxh, s, rx.hp) != 0 ||
      aead_make(&txa, s, tx.key, NULL) != 0 || hp_make(&txh, s, tx.hp) != 0 ||
      ngtcp2_conn_install_initial_key(conn, &rxa, rx.iv, &rxh, &txa, tx.iv,
                                      &txh, IV_LEN) != 0) {
    aead_free(&rxa);
    aead_free(&txa);
    hp_free(&rxh);
    hp_free(&txh);
    return -1;
  }
  if (!server && !ngtcp2_conn_after_retry2(conn)) {
    return set_retry_key(conn);
  }
  return 0;
}

int aq_crypto_make_keys(const ngtcp2_crypto_ctx *ctx, const uint8_t *secret,
                        size_t len, const aq_crypto_tap *tap,
                        ngtcp2_crypto_aead_ctx *aead,
                        ngtcp2_crypto_cipher_ctx *hp, uint8_t iv[IV_LEN]) {
  const suite *s = ctx->aead.native_handle;
  packet_keys k;
  int rv = -1;

  aead->native_handle = NULL;
  hp->native_handle = NULL;
  if (s && len <= MAX_SECRET && derive(&k, s, secret, len) == 0 &&
      aead_make(aead, s, k.key, tap) == 0 && hp_make(hp, s, k.hp) == 0) {
    memcpy(iv, k.iv, IV_LEN);
    rv = 0;
  } else {
    aead_free(aead);
  }
  aq_crypto_wipe(&k, sizeof(k));
  return rv;
}

int aq_crypto_put_key(ngtcp2_conn *conn, ngtcp2_encryption_level level, int rx,
                      const uint8_t *secret, size_t len,
                      const ngtcp2_crypto_aead_ctx *aead, const uint8_t iv[12],
                      const ngtcp2_crypto_cipher_ctx *hp) {
  if (level == NGTCP2_ENCRYPTION_LEVEL_1RTT) {
    return rx ? ngtcp2_conn_install_rx_key(conn, secret, len, aead, iv, IV_LEN,
                                           hp)
              : ngtcp2_conn_install_tx_key(conn, secret, len, aead, iv, IV_LEN,
                                           hp);
  }
  return rx ? ngtcp2_conn_install_rx_handshake_key(conn, aead, iv, IV_LEN, hp)
            : ngtcp2_conn_install_tx_handshake_key(conn, aead, iv, IV_LEN, hp);
}

int aq_crypto_install_key(ngtcp2_conn *conn, ngtcp2_encryption_level level,
                          int rx, const uint8_t *secret, size_t len,
                          const aq_crypto_tap *tap) {
  int app = level == NGTCP2_ENCRYPTION_LEVEL_1RTT;
  uint8_t iv[IV_LEN];
  ngtcp2_crypto_aead_ctx a;
  ngtcp2_crypto_cipher_ctx h;

  if (aq_crypto_make_keys(ngtcp2_conn_get_crypto_ctx2(conn), secret, len,
                          app ? tap : NULL, &a, &h, iv) != 0) {
    return -1;
  }
  if (aq_crypto_put_key(conn, level, rx, secret, len, &a, iv, &h) != 0) {
    aead_free(&a);
    hp_free(&h);
    return -1;
  }
  return 0;
}

int aq_crypto_next_key(ngtcp2_conn *conn, uint8_t *next_secret,
                       const uint8_t *secret, size_t len,
                       ngtcp2_crypto_aead_ctx *ctx, uint8_t *iv,
                       const aq_crypto_tap *tap) {
  const suite *s = ngtcp2_conn_get_crypto_ctx2(conn)->aead.native_handle;
  uint8_t key[MAX_KEY];
  int rv = -1;
  if (expand_label(next_secret, len, s, secret, len, "quic ku") == 0 &&
      expand_label(key, s->keylen, s, next_secret, len, "quic key") == 0 &&
      expand_label(iv, IV_LEN, s, next_secret, len, "quic iv") == 0) {
    rv = aead_make(ctx, s, key, tap);
  }
  aq_crypto_wipe(key, sizeof(key));
  return rv;
}

void aq_crypto_drop_key(ngtcp2_crypto_aead_ctx *ctx) {
  aead_free(ctx);
}
