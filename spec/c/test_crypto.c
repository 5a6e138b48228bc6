/* Packet protection: forgeries, hashes, MACs, reset tokens, entropy.
 *
 * SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "quic/crypto.h"

static void hex(uint8_t *out, const char *text) {
  size_t i, n = strlen(text) / 2;
  for (i = 0; i < n; i++) {
    char b[3] = {text[2 * i], text[2 * i + 1], 0};
    out[i] = (uint8_t)strtoul(b, NULL, 16);
  }
}

/* FIPS 180-4 example "abc" */
static void sha256_vector(void **state) {
  uint8_t want[32], got[32];
  aq_sha256 *s;
  (void)state;
  hex(want, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert_int_equal(
      aq_crypto_sha256(got, (const uint8_t *)"a", 1, (const uint8_t *)"bc", 2),
      0);
  assert_memory_equal(got, want, 32);
  assert_int_equal(aq_sha256_new(&s), 0);
  assert_int_equal(aq_sha256_update(s, (const uint8_t *)"ab", 2), 0);
  assert_int_equal(aq_sha256_digest(s, got), 0);
  assert_memory_not_equal(got, want, 32);
  assert_int_equal(aq_sha256_update(s, (const uint8_t *)"c", 1), 0);
  assert_int_equal(aq_sha256_digest(s, got), 0);
  assert_memory_equal(got, want, 32);
  aq_sha256_del(s);
}

/* RFC 4231 test case 2, cut to 16 bytes */
static void mac_vector(void **state) {
  uint8_t want[16], got[16];
  (void)state;
  hex(want, "5bdcc146bf60754e6a042426089575c7");
  assert_int_equal(
      aq_crypto_mac16(got, (const uint8_t *)"Jefe", 4,
                      (const uint8_t *)"what do ya want for nothing?", 28),
      0);
  assert_memory_equal(got, want, 16);
}

static void reset_tokens_depend_on_cid_and_secret(void **state) {
  aq_crypto_secrets a, b;
  ngtcp2_cid x = {8, {1, 2, 3, 4, 5, 6, 7, 8}}, y = x;
  uint8_t t1[16], t2[16];
  (void)state;
  y.data[7] = 9;
  assert_int_equal(aq_crypto_secrets_init(&a, NULL, (uint8_t[32]){1}), 0);
  assert_int_equal(aq_crypto_secrets_init(&b, NULL, (uint8_t[32]){1}), 0);
  assert_memory_equal(a.reset, b.reset, sizeof(a.reset)); /* after a restart */
  assert_memory_not_equal(a.token, b.token, sizeof(a.token));
  assert_int_equal(aq_crypto_secrets_init(&b, NULL, (uint8_t[32]){2}), 0);
  assert_int_equal(aq_crypto_reset_token(t1, &a, &x), 0);
  assert_int_equal(aq_crypto_reset_token(t2, &a, &x), 0);
  assert_memory_equal(t1, t2, 16);
  assert_int_equal(aq_crypto_reset_token(t2, &a, &y), 0);
  assert_memory_not_equal(t1, t2, 16);
  assert_int_equal(aq_crypto_reset_token(t2, &b, &x), 0);
  assert_memory_not_equal(t1, t2, 16);
}

static int fixed_random(void *user, uint8_t *out, size_t len) {
  memset(out, *(int *)user, len);
  return *(int *)user ? 0 : -1;
}

static void entropy_is_the_environments(void **state) {
  int byte = 7;
  aq_env env = {.random = fixed_random, .user = &byte};
  uint8_t out[8], same[8] = {7, 7, 7, 7, 7, 7, 7, 7};
  (void)state;
  assert_int_equal(aq_crypto_random(&env, out, 8), 0);
  assert_memory_equal(out, same, 8);
  byte = 0;
  assert_int_equal(aq_crypto_random(&env, out, 8), AQ_ERR_INTERNAL);
}

/* ---- AEAD and header protection through ngtcp2's own callbacks ------------
 */

static void make_keys(uint16_t suite, const uint8_t *secret, size_t len,
                      ngtcp2_crypto_aead_ctx *aead,
                      ngtcp2_crypto_cipher_ctx *hp, uint8_t iv[12]) {
  ngtcp2_crypto_ctx ctx;
  assert_int_equal(aq_crypto_ctx_for_suite(&ctx, suite), 0);
  assert_int_equal(aq_crypto_make_keys(&ctx, secret, len, NULL, aead, hp, iv),
                   0);
}

/* RFC 9001 appendix A.5: ChaCha20-Poly1305 short header packet */
static void chacha_vector(void **state) {
  uint8_t secret[32], iv[12], want_iv[12], mask[5], sample[16], want[5];
  uint8_t nonce[12], aad[4], out[17], ct[17];
  ngtcp2_crypto_aead_ctx a;
  ngtcp2_crypto_cipher_ctx h;
  ngtcp2_callbacks cb = {0};
  ngtcp2_crypto_ctx ctx;
  (void)state;
  aq_crypto_set_callbacks(&cb);
  assert_int_equal(aq_crypto_ctx_for_suite(&ctx, 0x1303), 0);
  hex(secret,
      "9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b");
  make_keys(0x1303, secret, 32, &a, &h, iv);
  hex(want_iv, "e0459b3474bdd0e44a41c144");
  assert_memory_equal(iv, want_iv, 12);
  hex(nonce, "e0459b3474bdd0e46d417eb0");
  hex(aad, "4200bff4");
  out[0] = 0x01; /* PING */
  assert_int_equal(cb.encrypt(out, &ctx.aead, &a, out, 1, nonce, 12, aad, 4),
                   0);
  hex(ct, "655e5cd55c41f69080575d7999c25a5bfb");
  assert_memory_equal(out, ct, 17);
  hex(sample, "5e5cd55c41f69080575d7999c25a5bfb");
  hex(want, "aefefe7d03");
  assert_int_equal(cb.hp_mask(mask, &ctx.hp, &h, sample), 0);
  assert_memory_equal(mask, want, 5);
  cb.delete_crypto_aead_ctx(NULL, &a, NULL);
  cb.delete_crypto_cipher_ctx(NULL, &h, NULL);
}

/* Each single-bit forgery of ciphertext, tag and header is refused, for each
 * suite. */
static void forgeries(void **state) {
  static const uint16_t ids[] = {0x1301, 0x1302, 0x1303};
  static const size_t secret_len[] = {32, 48, 32};
  ngtcp2_callbacks cb = {0};
  size_t i, bit;
  (void)state;
  aq_crypto_set_callbacks(&cb);
  for (i = 0; i < 3; i++) {
    uint8_t secret[48], iv[12], text[100], sealed[116], out[116], aad[13];
    ngtcp2_crypto_ctx ctx;
    ngtcp2_crypto_aead_ctx a;
    ngtcp2_crypto_cipher_ctx h;
    memset(secret, (int)i + 1, sizeof(secret));
    memset(text, 0x5a, sizeof(text));
    memset(aad, 0x40, sizeof(aad));
    assert_int_equal(aq_crypto_ctx_for_suite(&ctx, ids[i]), 0);
    make_keys(ids[i], secret, secret_len[i], &a, &h, iv);
    assert_int_equal(cb.encrypt(sealed, &ctx.aead, &a, text, sizeof(text), iv,
                                12, aad, sizeof(aad)),
                     0);
    assert_int_equal(cb.decrypt(out, &ctx.aead, &a, sealed, sizeof(sealed), iv,
                                12, aad, sizeof(aad)),
                     0);
    assert_memory_equal(out, text, sizeof(text));
    for (bit = 0; bit < 8 * sizeof(sealed); bit++) {
      sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
      assert_int_not_equal(cb.decrypt(out, &ctx.aead, &a, sealed,
                                      sizeof(sealed), iv, 12, aad, sizeof(aad)),
                           0);
      sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (bit = 0; bit < 8 * sizeof(aad); bit++) {
      aad[bit / 8] ^= (uint8_t)(1u << bit % 8);
      assert_int_not_equal(cb.decrypt(out, &ctx.aead, &a, sealed,
                                      sizeof(sealed), iv, 12, aad, sizeof(aad)),
                           0);
      aad[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (bit = 0; bit < 16; bit++) { /* shorter than a tag */
      assert_int_not_equal(
          cb.decrypt(out, &ctx.aead, &a, sealed, bit, iv, 12, aad, sizeof(aad)),
          0);
    }
    cb.delete_crypto_aead_ctx(NULL, &a, NULL);
    cb.delete_crypto_cipher_ctx(NULL, &h, NULL);
  }
}

static void unknown_suite(void **state) {
  ngtcp2_crypto_ctx ctx;
  (void)state;
  assert_int_equal(aq_crypto_ctx_for_suite(&ctx, 0x1304), AQ_ERR_UNSUPPORTED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sha256_vector),
      cmocka_unit_test(mac_vector),
      cmocka_unit_test(reset_tokens_depend_on_cid_and_secret),
      cmocka_unit_test(entropy_is_the_environments),
      cmocka_unit_test(chacha_vector),
      cmocka_unit_test(forgeries),
      cmocka_unit_test(unknown_suite),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
