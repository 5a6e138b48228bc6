/* versions.c - what was linked.
 *
 * SPDX-License-Identifier: MIT */
#include "antquic.h"

#include <stdio.h>

#include <ngtcp2/ngtcp2.h>
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

const char *aq_dependency_versions(void) {
  static char text[64];
  (void)snprintf(text, sizeof(text), "ngtcp2/%s wolfssl/%s",
                 ngtcp2_version(0)->version_str, wolfSSL_lib_version());
  return text;
}
