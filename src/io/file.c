/* file.c - small files that are replaced whole.
 *
 * SPDX-License-Identifier: MIT */
#include "antquic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_LEN 4096

static int say(char *why, size_t whylen, const char *path) {
  if (whylen > 0) {
    snprintf(why, whylen, "%s: %s", path, strerror(errno));
  }
  return AQ_ERR_NETWORK;
}

static int write_all(int fd, const uint8_t *data, size_t len) {
  while (len > 0) {
    ssize_t n = write(fd, data, len);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return -1;
    }
    data += n;
    len -= (size_t)n;
  }
  return fsync(fd);
}

/* The new name must survive a crash, too. Not every file system can; the file
 * itself is whole either way. */
static void sync_folder(const char *path) {
  char folder[PATH_LEN];
  const char *slash = strrchr(path, '/');
  size_t len = slash != NULL ? (size_t)(slash - path) : 0;
  snprintf(folder, sizeof(folder), "%.*s", len > 0 ? (int)len : 1,
           slash == NULL ? "."
           : len > 0     ? path
                         : "/");
  int fd = open(folder, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    (void)fsync(fd);
    close(fd);
  }
}

int aq_file_replace(const char *path, const uint8_t *data, size_t len,
                    char *why, size_t whylen) {
  char part[PATH_LEN];
  int n = snprintf(part, sizeof(part), "%s.part", path);
  if (n < 0 || (size_t)n >= sizeof(part)) {
    errno = ENAMETOOLONG;
    return say(why, whylen, path);
  }
  unlink(part); /* what a crash left, or a link that somebody laid there */
  int fd =
      open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) {
    return say(why, whylen, part);
  }
  int bad = write_all(fd, data, len) != 0;
  int saved = errno;
  if (close(fd) != 0 && !bad) {
    saved = errno;
    bad = 1;
  }
  if (bad) {
    unlink(part);
    errno = saved;
    return say(why, whylen, part);
  }
  if (rename(part, path) != 0) {
    saved = errno;
    unlink(part);
    errno = saved;
    return say(why, whylen, path);
  }
  sync_folder(path);
  return 0;
}
