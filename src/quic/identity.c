/* identity.c - Ed25519 keys and the peer ids made from them.
 *
 * SPDX-License-Identifier: MIT */
#include "quic/identity.h"

#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/memory.h>

#include "quic/crypto.h"

/* protocol.md section 1: the label keeps ids of the two kinds of key apart. */
static const char label_v1[] = "AUTONOMI_PEER_ID_V1:";
static const char label_v2[] = "AUTONOMI_PEER_ID_V2:";

int aq_peer_id_from_key(aq_peer_id *out, const uint8_t *key, size_t len) {
  const char *label;
  if (len == AQ_ED25519_KEY_LEN) {
    label = label_v1;
  } else if (len == AQ_MLDSA65_KEY_LEN) {
    label = label_v2;
  } else {
    return AQ_ERR_INVAL;
  }
  return aq_crypto_sha256(out->bytes, (const uint8_t *)label, strlen(label),
                          key, len);
}

int aq_identity_from_seed(aq_identity **pid, const uint8_t seed[32]) {
  aq_identity *id;
  ed25519_key key;
  int rv;

  *pid = NULL;
  id = XMALLOC(sizeof(*id), NULL, DYNAMIC_TYPE_ED25519);
  if (!id) {
    return AQ_ERR_NOMEM;
  }
  memset(id, 0, sizeof(*id));
  memcpy(id->seed, seed, sizeof(id->seed));
  if (wc_ed25519_init(&key) != 0) {
    XFREE(id, NULL, DYNAMIC_TYPE_ED25519);
    return AQ_ERR_INTERNAL;
  }
  rv = wc_ed25519_import_private_only(id->seed, sizeof(id->seed), &key);
  if (rv == 0) {
    rv = wc_ed25519_make_public(&key, id->public_key, sizeof(id->public_key));
  }
  wc_ed25519_free(&key);
  if (rv == 0) {
    rv = aq_peer_id_from_key(&id->peer, id->public_key, sizeof(id->public_key));
  }
  if (rv != 0) {
    aq_identity_del(id);
    return AQ_ERR_INTERNAL;
  }
  *pid = id;
  return 0;
}

int aq_identity_from_seed_null(aq_identity **pid, const uint8_t seed[32]) {
  static const char label[] = "antquic null identity";
  aq_identity *id = XMALLOC(sizeof(*id), NULL, DYNAMIC_TYPE_ED25519);
  int rv;
  *pid = NULL;
  if (!id) {
    return AQ_ERR_NOMEM;
  }
  memcpy(id->seed, seed, sizeof(id->seed));
  rv = aq_crypto_sha256(id->public_key, (const uint8_t *)label,
                        sizeof(label) - 1, seed, 32);
  if (rv == 0) {
    rv = aq_peer_id_from_key(&id->peer, id->public_key, sizeof(id->public_key));
  }
  if (rv != 0) {
    aq_identity_del(id);
    return rv;
  }
  *pid = id;
  return 0;
}

int aq_identity_generate(aq_identity **pid) {
  uint8_t seed[32];
  int rv = aq_crypto_random(NULL, seed, sizeof(seed));
  *pid = NULL;
  if (rv == 0) {
    rv = aq_identity_from_seed(pid, seed);
  }
  aq_crypto_wipe(seed, sizeof(seed));
  return rv;
}

void aq_identity_del(aq_identity *id) {
  if (!id) {
    return;
  }
  aq_crypto_wipe(id, sizeof(*id));
  XFREE(id, NULL, DYNAMIC_TYPE_ED25519);
}

const aq_peer_id *aq_identity_peer_id(const aq_identity *id) {
  return &id->peer;
}

const uint8_t *aq_identity_public_key(const aq_identity *id) {
  return id->public_key;
}

/* RFC 8410 section 4: AlgorithmIdentifier 1.3.101.112, BIT STRING of 32. */
static const uint8_t spki_prefix[AQ_SPKI_LEN - 32] = {
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
void aq_identity_spki(uint8_t out[AQ_SPKI_LEN], const uint8_t key[32]) {
  memcpy(out, spki_prefix, sizeof(spki_prefix));
  memcpy(out + sizeof(spki_prefix), key, 32);
}

const uint8_t *aq_identity_spki_key(const uint8_t *spki, size_t len) {
  if (len != AQ_SPKI_LEN ||
      memcmp(spki, spki_prefix, sizeof(spki_prefix)) != 0) {
    return NULL;
  }
  return spki + sizeof(spki_prefix);
}

/* RFC 5958: OneAsymmetricKey version 1 holds both halves. */
static const uint8_t pkcs8_prefix[16] = {0x30, 0x51, 0x02, 0x01, 0x01, 0x30,
                                         0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
                                         0x04, 0x22, 0x04, 0x20};
static const uint8_t pkcs8_middle[3] = {0x81, 0x21, 0x00};

void aq_identity_pkcs8(uint8_t out[AQ_PKCS8_LEN], const aq_identity *id) {
  memcpy(out, pkcs8_prefix, 16);
  memcpy(out + 16, id->seed, 32);
  memcpy(out + 48, pkcs8_middle, 3);
  memcpy(out + 51, id->public_key, 32);
}

/* wolfSSL 5.9 signs only with a key that has its public half, and reads that
 * in this older encoding alone: version 0, [1] without the unused-bits byte. */
void aq_identity_tls_key(uint8_t out[AQ_TLS_KEY_LEN], const aq_identity *id) {
  memcpy(out, pkcs8_prefix, 16);
  out[1] = AQ_TLS_KEY_LEN - 2;
  out[4] = 0;
  memcpy(out + 16, id->seed, 32);
  out[48] = 0x81;
  out[49] = 0x20;
  memcpy(out + 50, id->public_key, 32);
}

int aq_identity_from_pkcs8(aq_identity **pid, const uint8_t *der, size_t len) {
  static const uint8_t v0_prefix[16] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30,
                                        0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
                                        0x04, 0x22, 0x04, 0x20};
  int rv;
  *pid = NULL;
  if (len == 48 && memcmp(der, v0_prefix, 16) == 0) {
    return aq_identity_from_seed(pid, der + 16);
  }
  if (len != AQ_PKCS8_LEN || memcmp(der, pkcs8_prefix, 16) != 0 ||
      memcmp(der + 48, pkcs8_middle, 3) != 0) {
    return AQ_ERR_IDENTITY;
  }
  rv = aq_identity_from_seed(pid, der + 16);
  if (rv == 0 && memcmp((*pid)->public_key, der + 51, 32) != 0) {
    aq_identity_del(*pid);
    *pid = NULL;
    return AQ_ERR_IDENTITY;
  }
  return rv;
}
