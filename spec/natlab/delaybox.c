/* delaybox.c - delay, jitter (so reordering) and random loss in front of
 * kernel NATs. netem is often missing; NFQUEUE is not. A packet's verdict is
 * held until its time has come.
 *
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "labtool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_QUEUES 16

typedef struct {
  unsigned number;   /* NFQUEUE number */
  uint64_t delay;    /* ns added to every packet */
  uint64_t jitter;   /* up to so many ns more, uniform */
  unsigned permille; /* packets lost of a thousand */
} queue;

typedef struct {
  uint64_t due;
  uint32_t id;
  uint16_t number;
} held;

static queue queues[MAX_QUEUES];
static int queue_count;
static held *heap; /* min-heap by due */
static size_t heap_len, heap_cap;
static int nl_fd;
static uint64_t rng_state;

static uint64_t rng(void) { /* xorshift64: loss and jitter only */
  rng_state ^= rng_state << 13;
  rng_state ^= rng_state >> 7;
  rng_state ^= rng_state << 17;
  return rng_state;
}

static void heap_push(held h) {
  size_t i = heap_len++;

  if (heap_len > heap_cap) {
    heap_cap = heap_cap ? heap_cap * 2 : 1024;
    heap = realloc(heap, heap_cap * sizeof *heap);
    if (!heap) {
      abort();
    }
  }
  while (i > 0 && heap[(i - 1) / 2].due > h.due) {
    heap[i] = heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  heap[i] = h;
}

static held heap_pop(void) {
  held top = heap[0];
  held last = heap[--heap_len];
  size_t i = 0;

  for (;;) {
    size_t c = 2 * i + 1;

    if (c >= heap_len) {
      break;
    }
    if (c + 1 < heap_len && heap[c + 1].due < heap[c].due) {
      c++;
    }
    if (heap[c].due >= last.due) {
      break;
    }
    heap[i] = heap[c];
    i = c;
  }
  heap[i] = last;
  return top;
}

typedef struct {
  union {
    struct nlmsghdr h;
    char bytes[256];
  } u;
} message;

static void message_init(message *m, unsigned type, unsigned number) {
  struct nfgenmsg *g;

  memset(m, 0, sizeof *m);
  m->u.h.nlmsg_len = NLMSG_LENGTH(sizeof *g);
  m->u.h.nlmsg_type = (uint16_t)((NFNL_SUBSYS_QUEUE << 8) | type);
  m->u.h.nlmsg_flags = NLM_F_REQUEST;
  g = NLMSG_DATA(&m->u.h);
  g->nfgen_family = AF_UNSPEC;
  g->res_id = htons((uint16_t)number);
}

static void message_attr(message *m, uint16_t type, const void *data,
                         size_t len) {
  size_t at = NLMSG_ALIGN(m->u.h.nlmsg_len);
  struct nlattr a = {.nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + len)};

  memcpy(m->u.bytes + at, &a, sizeof a);
  memcpy(m->u.bytes + at + NLA_HDRLEN, data, len);
  m->u.h.nlmsg_len = (uint32_t)(at + NLA_HDRLEN + NLA_ALIGN(len));
}

/* message_send returns 0 or, when |acked|, the errno the kernel answered. */
static int message_send(message *m, int acked) {
  char buf[1024];

  m->u.h.nlmsg_flags |= acked ? NLM_F_ACK : 0;
  if (send(nl_fd, m->u.bytes, m->u.h.nlmsg_len, 0) < 0) {
    return errno;
  }
  while (acked) {
    const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)buf;
    ssize_t n = recv(nl_fd, buf, sizeof buf, 0);

    if (n < 0) {
      return errno;
    }
    if (n >= (ssize_t)NLMSG_LENGTH(4) && h->nlmsg_type == NLMSG_ERROR) {
      return -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
    }
  }
  return 0;
}

static void verdict(unsigned number, uint32_t id, uint32_t what) {
  struct nfqnl_msg_verdict_hdr v = {htonl(what), htonl(id)};
  message m;

  message_init(&m, NFQNL_MSG_VERDICT, number);
  message_attr(&m, NFQA_VERDICT_HDR, &v, sizeof v);
  message_send(&m, 0);
}

/* queue_open takes a queue over. Returns 0 or an errno. */
static int queue_open(const queue *q) {
  struct nfqnl_msg_config_cmd bind_cmd = {.command = NFQNL_CFG_CMD_BIND};
  struct nfqnl_msg_config_params params = {htonl(0), NFQNL_COPY_META};
  uint32_t max_len = htonl(65536);
  uint32_t gso = htonl(NFQA_CFG_F_GSO);
  message m;
  int err;

  message_init(&m, NFQNL_MSG_CONFIG, q->number);
  message_attr(&m, NFQA_CFG_CMD, &bind_cmd, sizeof bind_cmd);
  err = message_send(&m, 1);
  if (err) {
    return err;
  }
  message_init(&m, NFQNL_MSG_CONFIG, q->number);
  message_attr(&m, NFQA_CFG_PARAMS, &params, sizeof params);
  message_attr(&m, NFQA_CFG_QUEUE_MAXLEN, &max_len, sizeof max_len);
  message_attr(&m, NFQA_CFG_FLAGS, &gso, sizeof gso);
  message_attr(&m, NFQA_CFG_MASK, &gso, sizeof gso);
  return message_send(&m, 1);
}

static void packet(const struct nlmsghdr *h, uint64_t now) {
  const struct nfgenmsg *g = NLMSG_DATA(h);
  const char *p = (const char *)g + NLMSG_ALIGN(sizeof *g);
  const char *end = (const char *)h + h->nlmsg_len;
  unsigned number = ntohs(g->res_id);
  const queue *q = NULL;
  uint32_t id = 0;

  for (int i = 0; i < queue_count; i++) {
    q = queues[i].number == number ? &queues[i] : q;
  }
  while (p + NLA_HDRLEN <= end) {
    const struct nlattr *a = (const struct nlattr *)(const void *)p;

    if ((a->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR) {
      const struct nfqnl_msg_packet_hdr *ph = (const void *)(p + NLA_HDRLEN);
      id = ntohl(ph->packet_id);
    }
    if (a->nla_len < NLA_HDRLEN) {
      break;
    }
    p += NLA_ALIGN(a->nla_len);
  }
  if (!q) {
    return;
  }
  if (q->permille && rng() % 1000 < q->permille) {
    verdict(number, id, NF_DROP);
    return;
  }
  heap_push((held){
      .due = now + q->delay + (q->jitter ? rng() % (q->jitter + 1) : 0),
      .id = id,
      .number = (uint16_t)number,
  });
}

static void wait_and_read(void) {
  static char buf[1 << 18];
  struct timespec ts = {.tv_sec = 1};
  struct pollfd pfd = {.fd = nl_fd, .events = POLLIN};
  ssize_t n;

  if (heap_len) {
    uint64_t now = lab_now();
    uint64_t left = heap[0].due > now ? heap[0].due - now : 0;

    ts.tv_sec = (time_t)(left / 1000000000u);
    ts.tv_nsec = (long)(left % 1000000000u);
  }
  if (ppoll(&pfd, 1, &ts, NULL) <= 0) {
    return;
  }
  while ((n = recv(nl_fd, buf, sizeof buf, MSG_DONTWAIT)) > 0) {
    const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)buf;
    unsigned left = (unsigned)n;
    uint64_t now = lab_now();

    for (; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
      if (h->nlmsg_type == ((NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET)) {
        packet(h, now);
      }
    }
  }
}

int lab_delay_main(int count, char **specs) {
  int big = 16 << 20;
  int on = 1;

  nl_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  if (nl_fd < 0 || getrandom(&rng_state, sizeof rng_state, 0) < 0) {
    perror("netlink");
    return 1;
  }
  rng_state |= 1;
  setsockopt(nl_fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big);
  setsockopt(nl_fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
  prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
  for (int i = 0; i < count && i < MAX_QUEUES; i++) {
    unsigned number = 0, delay = 0, jitter = 0, loss = 0;
    int err;

    if (sscanf(specs[i], "%u:%u:%u:%u", &number, &delay, &jitter, &loss) < 2) {
      fprintf(stderr, "delay: expected QUEUE:MS[:MS[:PERMILLE]]: %s\n",
              specs[i]);
      return 2;
    }
    queues[queue_count++] = (queue){
        .number = number,
        .delay = delay * 1000000ull,
        .jitter = jitter * 1000000ull,
        .permille = loss,
    };
    err = queue_open(&queues[queue_count - 1]);
    if (err) {
      fprintf(stderr, "delay: queue %u: %s\n", number, strerror(err));
      return 1;
    }
  }
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    uint64_t now = lab_now();

    while (heap_len && heap[0].due <= now) {
      held h = heap_pop();
      verdict(h.number, h.id, NF_ACCEPT);
    }
    wait_and_read();
  }
}
