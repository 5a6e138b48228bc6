/* identity.h - an Ed25519 key pair and its encodings.
 *
 * Layer:  quic
 * Owner:  whoever made it; aq_identity_del wipes it
 * Time:   none
 * Spec:   RFC 8032, RFC 8410, RFC 5958; docs/protocol.md section 1
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_QUIC_IDENTITY_H
#define AQ_QUIC_IDENTITY_H

#include "antquic.h"

struct aq_identity {
  uint8_t seed[32];
  uint8_t public_key[32];
  aq_peer_id peer;
};

#define AQ_SPKI_LEN 44
#define AQ_PKCS8_LEN 83
#define AQ_TLS_KEY_LEN 82

/* aq_identity_from_seed_null: a public key that is a hash of |seed|, so that
 * nobody can sign with it: for aq_endpoint_new_null. Returns as
 * aq_identity_from_seed. */
int aq_identity_from_seed_null(aq_identity **pid, const uint8_t seed[32]);

/* The DER SubjectPublicKeyInfo of a raw key. */
void aq_identity_spki(uint8_t out[AQ_SPKI_LEN], const uint8_t key[32]);
/* The raw key inside an SPKI, borrowed; NULL when it is not exactly the one
 * encoding that DER allows for an Ed25519 key. */
const uint8_t *aq_identity_spki_key(const uint8_t *spki, size_t len);
/* The DER private key with its public key (RFC 5958), and as wolfSSL reads it.
 * Wipe them after use. */
void aq_identity_pkcs8(uint8_t out[AQ_PKCS8_LEN], const aq_identity *id);
void aq_identity_tls_key(uint8_t out[AQ_TLS_KEY_LEN], const aq_identity *id);
/* aq_identity_from_pkcs8 reads that, or the form without public key (RFC 8410
 * section 7). Returns 0, AQ_ERR_IDENTITY, or as aq_identity_from_seed. */
int aq_identity_from_pkcs8(aq_identity **pid, const uint8_t *der, size_t len);

#endif
