/* Keys, peer ids and key files.
 *
 * SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "antquic.h"

static char dir[] = "/tmp/aq-identity-XXXXXX";
static char path[128], why[256];

static int setup(void **state) {
  (void)state;
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof(path), "%s/key.pem", dir);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  (void)unlink(path);
  return rmdir(dir);
}

static void write_file(const char *text, size_t len, mode_t mode) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_int_equal(fwrite(text, 1, len, f), len);
  assert_int_equal(fclose(f), 0);
  assert_int_equal(chmod(path, mode), 0);
}

static size_t read_file(char *buf, size_t cap) {
  FILE *f = fopen(path, "r");
  size_t n;
  assert_non_null(f);
  n = fread(buf, 1, cap, f);
  fclose(f);
  return n;
}

static void peer_id_vectors(void **state) {
  uint8_t zero[AQ_MLDSA65_KEY_LEN] = {0};
  aq_peer_id id;
  char hex[65];
  (void)state;
  assert_int_equal(aq_peer_id_from_key(&id, zero, 32), 0);
  assert_string_equal(
      aq_peer_id_format(&id, hex),
      "deb05ac81dfea3780bded3d94394d96d26cac002def8bcc30c276e7bed5fb3b6");
  assert_int_equal(aq_peer_id_from_key(&id, zero, sizeof(zero)), 0);
  assert_string_equal(
      aq_peer_id_format(&id, hex),
      "64750714b20ec2838270ed9a1d0b69954997eea2d290385f0786855425fa8f8e");
  assert_int_equal(aq_peer_id_from_key(&id, zero, 31), AQ_ERR_INVAL);
  assert_int_equal(aq_peer_id_from_key(&id, zero, 0), AQ_ERR_INVAL);
}

/* RFC 8032 section 7.1, test 1 */
static void public_key_of_seed(void **state) {
  static const uint8_t seed[32] = {
      0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a,
      0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32,
      0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60};
  static const uint8_t public_key[32] = {
      0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe,
      0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6,
      0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a};
  aq_identity *id;
  aq_peer_id want;
  (void)state;
  assert_int_equal(aq_identity_from_seed(&id, seed), 0);
  assert_memory_equal(aq_identity_public_key(id), public_key, 32);
  assert_int_equal(aq_peer_id_from_key(&want, public_key, 32), 0);
  assert_memory_equal(aq_identity_peer_id(id), &want, sizeof(want));
  aq_identity_del(id);
  aq_identity_del(NULL);
}

static void created_once_and_loaded(void **state) {
  aq_identity *a, *b;
  struct stat st;
  (void)state;
  (void)unlink(path);
  assert_int_equal(aq_identity_load(&a, path, 0, why, sizeof(why)),
                   AQ_ERR_NETWORK);
  assert_non_null(strstr(why, path));
  assert_int_equal(aq_identity_load(&a, path, 1, why, sizeof(why)), 0);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_int_equal(aq_identity_load(&b, path, 1, why, sizeof(why)), 0);
  assert_memory_equal(aq_identity_peer_id(a), aq_identity_peer_id(b), 32);
  aq_identity_del(a);
  aq_identity_del(b);
}

static void refused_when_others_can_read(void **state) {
  static const mode_t modes[] = {0644, 0640, 0604, 0620, 0601};
  aq_identity *id;
  size_t i;
  (void)state;
  (void)unlink(path);
  assert_int_equal(aq_identity_load(&id, path, 1, why, sizeof(why)), 0);
  aq_identity_del(id);
  for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
    assert_int_equal(chmod(path, modes[i]), 0);
    assert_int_equal(aq_identity_load(&id, path, 1, why, sizeof(why)),
                     AQ_ERR_IDENTITY);
    assert_null(id);
    assert_non_null(strstr(why, "chmod 600"));
  }
}

/* Every character of the file is damaged in turn: either it is refused, or it
 * is still the same key (white space); never another identity. */
static void damage_never_gives_another_key(void **state) {
  char good[512], bad[512];
  size_t len, i;
  aq_identity *id, *other;
  (void)state;
  (void)unlink(path);
  assert_int_equal(aq_identity_load(&id, path, 1, why, sizeof(why)), 0);
  len = read_file(good, sizeof(good));
  for (i = 0; i < len; i++) {
    memcpy(bad, good, len);
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    write_file(bad, len, 0600);
    if (aq_identity_load(&other, path, 1, why, sizeof(why)) == 0) {
      assert_memory_equal(aq_identity_peer_id(other), aq_identity_peer_id(id),
                          32);
      aq_identity_del(other);
    }
    write_file(good, i, 0600); /* truncated */
    if (aq_identity_load(&other, path, 1, why, sizeof(why)) == 0) {
      assert_memory_equal(aq_identity_peer_id(other), aq_identity_peer_id(id),
                          32);
      aq_identity_del(other);
    }
  }
  write_file("", 0, 0600);
  assert_int_equal(aq_identity_load(&other, path, 1, why, sizeof(why)),
                   AQ_ERR_IDENTITY);
  assert_non_null(strstr(why, "damaged"));
  assert_int_equal(aq_identity_load(&other, dir, 1, why, sizeof(why)),
                   AQ_ERR_IDENTITY);
  aq_identity_del(id);
}

/* RFC 8410 section 10.3: a version 0 key, as openssl genpkey writes it. */
static void plain_pkcs8_is_read(void **state) {
  static const char pem[] =
      "-----BEGIN PRIVATE KEY-----\n"
      "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
      "-----END PRIVATE KEY-----\n";
  static const uint8_t public_key[32] = {
      0x19, 0xbf, 0x44, 0x09, 0x69, 0x84, 0xcd, 0xfe, 0x85, 0x41, 0xba,
      0xc1, 0x67, 0xdc, 0x3b, 0x96, 0xc8, 0x50, 0x86, 0xaa, 0x30, 0xb6,
      0xb6, 0xcb, 0x0c, 0x5c, 0x38, 0xad, 0x70, 0x31, 0x66, 0xe1};
  aq_identity *id;
  (void)state;
  write_file(pem, sizeof(pem) - 1, 0600);
  assert_int_equal(aq_identity_load(&id, path, 0, why, sizeof(why)), 0);
  assert_memory_equal(aq_identity_public_key(id), public_key, 32);
  aq_identity_del(id);
}

static void generated_keys_differ(void **state) {
  aq_identity *a, *b;
  (void)state;
  assert_int_equal(aq_identity_generate(&a), 0);
  assert_int_equal(aq_identity_generate(&b), 0);
  assert_int_not_equal(
      aq_peer_id_compare(aq_identity_peer_id(a), aq_identity_peer_id(b)), 0);
  aq_identity_del(a);
  aq_identity_del(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(peer_id_vectors),
      cmocka_unit_test(public_key_of_seed),
      cmocka_unit_test(created_once_and_loaded),
      cmocka_unit_test(refused_when_others_can_read),
      cmocka_unit_test(damage_never_gives_another_key),
      cmocka_unit_test(plain_pkcs8_is_read),
      cmocka_unit_test(generated_keys_differ),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
