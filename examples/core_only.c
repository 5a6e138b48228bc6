/* core_only.c - antquic from C, without Lua: two endpoints in one process talk
 * over real sockets on loopback. The second one sends a line on a stream, the
 * first one echoes it, both close.
 *
 *   cc core_only.c -lantquic ... (the build makes it: build/release/core_only)
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "antquic.h"

typedef struct node {
  aq_runtime *rt;
  aq_endpoint *ep;
  aq_identity *id;
  aq_id stream; /* the one that is read */
  int done;
} node;

static int start(node *n, aq_role role) {
  aq_endpoint_params p;
  aq_runtime_params rp = {0};
  char why[256] = "";
  int rv = aq_identity_generate(&n->id);

  aq_endpoint_params_init(&p);
  p.identity = n->id;
  p.role = role;
  p.accept = role == AQ_ROLE_SERVER;
  p.can_coordinate = 0;
  rp.bind_count = 1;
  if (rv == 0) {
    rv = aq_addr_parse(&rp.bind[0], "127.0.0.1:0", 11);
  }
  if (rv == 0) {
    rv = aq_runtime_new(&n->rt, &rp, &p, NULL, why, sizeof(why));
  }
  if (rv != 0) {
    fprintf(stderr, "cannot start: %s %s\n", aq_error_text(rv), why);
    return rv;
  }
  n->ep = aq_runtime_endpoint(n->rt);
  return 0;
}

static void stop(node *n) {
  aq_runtime_del(n->rt);
  aq_identity_del(n->id);
}

static void send_hello(node *n, aq_id conn) {
  static const char line[] = "hello from C\n";
  aq_tstamp now = aq_runtime_now(n->rt);
  size_t written = 0;
  if (aq_stream_open(n->ep, now, conn, 0, 0, &n->stream) == 0 &&
      aq_stream_write(n->ep, now, n->stream, (const uint8_t *)line,
                      strlen(line), &written) == 0) {
    (void)aq_stream_finish(n->ep, now, n->stream);
  }
}

/* Reads what is there; |echo| writes it back and finishes at the end. */
static void read_some(node *n, aq_id stream, int echo) {
  aq_tstamp now = aq_runtime_now(n->rt);
  uint8_t buf[256];
  size_t len, written;
  while (aq_stream_read(n->ep, now, stream, buf, sizeof(buf), &len) == 0) {
    if (len == 0) { /* the end */
      if (echo) {
        (void)aq_stream_finish(n->ep, now, stream);
      }
      n->done = !echo;
      return;
    }
    if (echo) {
      (void)aq_stream_write(n->ep, now, stream, buf, len, &written);
    } else {
      printf("echoed: %.*s", (int)len, (const char *)buf);
    }
  }
}

static void handle_events(node *n, int echo) {
  aq_event ev;
  aq_id s;
  char a[AQ_ADDR_STRLEN];
  while (aq_endpoint_poll_event(n->ep, &ev)) {
    switch (ev.kind) {
    case AQ_EVENT_CONNECTION_ESTABLISHED:
      printf("%s: connected to %s\n", echo ? "server" : "client",
             aq_addr_format(&ev.addr, a));
      if (!echo) {
        send_hello(n, ev.conn);
      }
      break;
    case AQ_EVENT_STREAM_INCOMING:
      while (aq_stream_accept(n->ep, ev.conn, &s) == 0) {
        read_some(n, s, echo);
      }
      break;
    case AQ_EVENT_STREAM_READABLE:
      read_some(n, ev.stream, echo);
      break;
    case AQ_EVENT_DIAL_FAILED:
    case AQ_EVENT_CONNECTION_LOST:
      fprintf(stderr, "lost: %s\n", ev.text);
      n->done = -1;
      break;
    default:
      break;
    }
  }
}

int main(void) {
  node server = {0}, client = {0};
  aq_addr addr;
  aq_id conn;
  int rv = 1, turns;

  if (start(&server, AQ_ROLE_SERVER) != 0 ||
      start(&client, AQ_ROLE_SERVER) != 0) {
    return 1;
  }
  (void)aq_runtime_get_sockets(server.rt, &addr, 1);
  rv = aq_connect_addr(client.ep, aq_runtime_now(client.rt), &addr,
                       aq_endpoint_peer_id(server.ep), NULL, 5 * AQ_S, &conn);
  for (turns = 0; rv == 0 && !client.done && turns < 2000; turns++) {
    (void)aq_runtime_step(server.rt);
    handle_events(&server, 1);
    (void)aq_runtime_step(server.rt);
    (void)aq_runtime_wait(client.rt, 5 * AQ_MS);
    handle_events(&client, 0);
    (void)aq_runtime_step(client.rt);
  }
  rv = client.done == 1 ? 0 : 1;
  stop(&client);
  stop(&server);
  puts(rv == 0 ? "ok" : "failed");
  return rv;
}
