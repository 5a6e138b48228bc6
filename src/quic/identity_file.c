/* identity_file.c - the key file: PEM, PKCS #8 with the public key (RFC 5958),
 * so that damage is noticed; created 0600, refused when others can read it.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/coding.h>

#include "quic/crypto.h"
#include "quic/identity.h"

#define PEM_BEGIN "-----BEGIN PRIVATE KEY-----"
#define PEM_END "-----END PRIVATE KEY-----"
#define FILE_MAX 1024

static int say(char *why, size_t len, int rv, const char *fmt, const char *path,
               const char *more) {
  if (why && len) {
    (void)snprintf(why, len, fmt, path, more);
  }
  return rv;
}

static int pem_to_identity(aq_identity **pid, const char *text, size_t len) {
  const char *begin, *end;
  uint8_t der[128];
  word32 derlen = sizeof(der);
  int rv = AQ_ERR_IDENTITY;

  if (memchr(text, 0, len) || !(begin = strstr(text, PEM_BEGIN))) {
    return rv;
  }
  begin += strlen(PEM_BEGIN);
  end = strstr(begin, PEM_END);
  if (end && Base64_Decode((const byte *)begin, (word32)(end - begin), der,
                           &derlen) == 0) {
    rv = aq_identity_from_pkcs8(pid, der, derlen);
  }
  aq_crypto_wipe(der, sizeof(der));
  return rv;
}

static int load(aq_identity **pid, int fd, const char *path, char *why,
                size_t whylen) {
  struct stat st;
  char text[FILE_MAX + 1];
  size_t len = 0;
  ssize_t n;
  int rv;

  if (fstat(fd, &st) != 0) {
    return say(why, whylen, AQ_ERR_NETWORK, "cannot read key file %s: %s", path,
               strerror(errno));
  }
  if (!S_ISREG(st.st_mode)) {
    return say(why, whylen, AQ_ERR_IDENTITY, "key file %s is not a file%s",
               path, "");
  }
  if (st.st_mode & 077) {
    return say(why, whylen, AQ_ERR_IDENTITY,
               "key file %s can be read by others%s", path,
               "; run chmod 600 on it, or make a new key");
  }
  while (len < FILE_MAX && (n = read(fd, text + len, FILE_MAX - len)) > 0) {
    len += (size_t)n;
  }
  text[len] = 0;
  rv = pem_to_identity(pid, text, len);
  aq_crypto_wipe(text, sizeof(text));
  if (rv == AQ_ERR_IDENTITY) {
    return say(why, whylen, rv,
               "key file %s is damaged or not an Ed25519 private key%s", path,
               "; restore it, or delete it to get a new identity");
  }
  return rv == 0
             ? 0
             : say(why, whylen, rv, "key file %s: %s", path, aq_error_text(rv));
}

static int write_all(int fd, const char *text, size_t len) {
  while (len) {
    ssize_t n = write(fd, text, len);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return -1;
    }
    text += n;
    len -= (size_t)n;
  }
  return fsync(fd);
}

static size_t identity_to_pem(char *out, size_t cap, const aq_identity *id) {
  uint8_t der[AQ_PKCS8_LEN];
  byte b64[160];
  word32 b64len = sizeof(b64);
  int n;

  aq_identity_pkcs8(der, id);
  if (Base64_Encode(der, sizeof(der), b64, &b64len) != 0) {
    return 0;
  }
  n = snprintf(out, cap, PEM_BEGIN "\n%.*s" PEM_END "\n", (int)b64len, b64);
  aq_crypto_wipe(der, sizeof(der));
  aq_crypto_wipe(b64, sizeof(b64));
  return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

/* A complete file appears under |path| or none: write aside, then link, which
 * fails when somebody else was first. */
static int create_file(const aq_identity *id, const char *path) {
  char text[FILE_MAX], temp[4096];
  size_t len = identity_to_pem(text, sizeof(text), id);
  int fd, rv = -1, saved;

  if (!len ||
      snprintf(temp, sizeof(temp), "%s.XXXXXX", path) >= (int)sizeof(temp)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  fd = mkstemp(temp);
  if (fd >= 0) {
    rv = fchmod(fd, 0600) == 0 && write_all(fd, text, len) == 0 &&
                 link(temp, path) == 0
             ? 0
             : -1;
    saved = errno;
    (void)close(fd);
    (void)unlink(temp);
    errno = saved;
  }
  aq_crypto_wipe(text, sizeof(text));
  return rv;
}

int aq_identity_load(aq_identity **pid, const char *path, int create, char *why,
                     size_t whylen) {
  int rv, fd, tries;

  *pid = NULL;
  for (tries = 0; tries < 2; tries++) {
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
      rv = load(pid, fd, path, why, whylen);
      (void)close(fd);
      return rv;
    }
    if (errno != ENOENT || !create) {
      return say(why, whylen, AQ_ERR_NETWORK, "cannot open key file %s: %s",
                 path, strerror(errno));
    }
    rv = aq_identity_generate(pid);
    if (rv != 0) {
      return say(why, whylen, rv, "cannot make a key for %s: %s", path,
                 aq_error_text(rv));
    }
    if (create_file(*pid, path) == 0) {
      return 0;
    }
    aq_identity_del(*pid);
    *pid = NULL;
    if (errno != EEXIST) {
      break;
    }
  }
  return say(why, whylen, AQ_ERR_NETWORK, "cannot create key file %s: %s", path,
             strerror(errno));
}
