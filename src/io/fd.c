/* fd.c - descriptors of the program, read without waiting.
 *
 * SPDX-License-Identifier: MIT */
#include "antquic.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

int aq_fd_read(int fd, uint8_t *buf, size_t len, size_t *nread) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  *nread = 0;
  if (poll(&p, 1, 0) <= 0) {
    return AQ_ERR_AGAIN;
  }
  ssize_t n = read(fd, buf, len);
  if (n < 0) {
    return errno == EAGAIN || errno == EINTR ? AQ_ERR_AGAIN : AQ_ERR_NETWORK;
  }
  *nread = (size_t)n;
  return 0;
}
