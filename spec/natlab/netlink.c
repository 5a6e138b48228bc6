/* netlink.c - forget NAT state: conntrack entries and nftables set elements.
 * nft(8) could do the second, but a process for each trial is too slow.
 *
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "labtool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
  char bytes[4096];
  size_t len;
  uint32_t seq;
} nl_batch;

/* batch_add starts a message and returns it, or NULL when the batch is full. */
static struct nlmsghdr *batch_add(nl_batch *b, uint16_t type, uint16_t flags,
                                  uint8_t family, uint16_t res_id) {
  size_t need = NLMSG_SPACE(sizeof(struct nfgenmsg));
  struct nlmsghdr *h = (struct nlmsghdr *)(void *)(b->bytes + b->len);
  struct nfgenmsg *g;

  if (b->len + need > sizeof b->bytes) {
    return NULL;
  }
  memset(h, 0, need);
  h->nlmsg_len = (uint32_t)need;
  h->nlmsg_type = type;
  h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
  h->nlmsg_seq = ++b->seq;
  g = NLMSG_DATA(h);
  g->nfgen_family = family;
  g->version = NFNETLINK_V0;
  g->res_id = htons(res_id);
  b->len += need;
  return h;
}

/* batch_string appends a string attribute. Returns 0 or ENOSPC. */
static int batch_string(nl_batch *b, struct nlmsghdr *h, uint16_t type,
                        const char *text) {
  size_t len = strlen(text) + 1;
  size_t need = NLA_HDRLEN + NLA_ALIGN(len);
  struct nlattr *a = (struct nlattr *)(void *)(b->bytes + b->len);

  if (b->len + need > sizeof b->bytes) {
    return ENOSPC;
  }
  memset(a, 0, need);
  a->nla_type = type;
  a->nla_len = (uint16_t)(NLA_HDRLEN + len);
  memcpy((char *)a + NLA_HDRLEN, text, len);
  h->nlmsg_len += (uint32_t)need;
  b->len += need;
  return 0;
}

/* batch_send sends the batch and waits for |acks| answers. Returns 0 or the
 * first errno the kernel reported. */
static int batch_send(const nl_batch *b, int acks) {
  char buf[8192];
  int err = 0;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

  if (fd < 0) {
    return errno;
  }
  if (send(fd, b->bytes, b->len, 0) < 0) {
    err = errno;
    close(fd);
    return err;
  }
  while (acks > 0) {
    ssize_t n = recv(fd, buf, sizeof buf, 0);
    struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
    unsigned left = n > 0 ? (unsigned)n : 0;

    if (n <= 0) {
      err = err ? err : errno;
      break;
    }
    for (; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
      if (h->nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *e = NLMSG_DATA(h);
        err = e->error && !err ? -e->error : err;
        acks -= e->error ? acks : 1; /* a failed batch is not acked on */
      }
    }
  }
  close(fd);
  return err;
}

int lab_flush_conntrack(void) {
  nl_batch b = {.len = 0};
  uint16_t type = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE;
  int err;

  batch_add(&b, type, NLM_F_ACK, AF_UNSPEC, 0);
  err = batch_send(&b, 1);
  return err == ENOENT ? 0 : err;
}

int lab_flush_sets(const char *table, char **names, int count) {
  nl_batch b = {.len = 0};
  uint16_t type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_DELSETELEM;

  if (count == 0) {
    return 0;
  }
  batch_add(&b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  for (int i = 0; i < count; i++) {
    struct nlmsghdr *h = batch_add(&b, type, NLM_F_ACK, NFPROTO_IPV4, 0);

    if (!h || batch_string(&b, h, NFTA_SET_ELEM_LIST_TABLE, table) ||
        batch_string(&b, h, NFTA_SET_ELEM_LIST_SET, names[i])) {
      return ENOSPC;
    }
  }
  if (!batch_add(&b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES)) {
    return ENOSPC;
  }
  return batch_send(&b, count);
}
