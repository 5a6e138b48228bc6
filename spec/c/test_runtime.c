/* test_runtime.c - endpoints on real sockets, from C alone.
 *
 * SPDX-License-Identifier: MIT */
#if defined(__linux__)
#define _GNU_SOURCE
#endif

#include "antquic.h"
#include "quic/endpoint_int.h"

#include <dirent.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <uv.h>

/* In place of libuv's, which can't be made to fail. */
static int no_interfaces;
int uv_interface_addresses(uv_interface_address_t **list, int *count) {
  int (*real)(uv_interface_address_t **, int *);
  if (no_interfaces) {
    return UV_EMFILE;
  }
  *(void **)&real = dlsym(RTLD_NEXT, "uv_interface_addresses");
  return real(list, count);
}

typedef struct node {
  aq_identity *id;
  aq_runtime *rt;
  aq_endpoint *ep;
  aq_id conn; /* of the last CONNECTION_ESTABLISHED */
  int established, lost;
  int error; /* of the last CONNECTION_LOST */
} node;

static aq_addr parse(const char *text) {
  aq_addr a;
  assert_int_equal(aq_addr_parse(&a, text, strlen(text)), 0);
  return a;
}

static int try_open(node *n, const char *bind, char *why, size_t whylen) {
  aq_endpoint_params p;
  aq_runtime_params rp;
  int rc;
  memset(n, 0, sizeof(*n));
  memset(&rp, 0, sizeof(rp));
  assert_int_equal(aq_identity_generate(&n->id), 0);
  aq_endpoint_params_init(&p);
  p.identity = n->id;
  p.role = AQ_ROLE_SERVER;
  p.accept = 1;
  rp.bind_count = 1;
  rp.bind[0] = parse(bind);
  rc = aq_runtime_new(&n->rt, &rp, &p, NULL, why, whylen);
  n->ep = rc == 0 ? aq_runtime_endpoint(n->rt) : NULL;
  return rc;
}

static void open_node(node *n) {
  char why[256] = "";
  if (try_open(n, "127.0.0.1:0", why, sizeof(why)) != 0) {
    fail_msg("%s", why);
  }
}

static void close_node(node *n) {
  aq_runtime_del(n->rt);
  aq_identity_del(n->id);
}

static aq_addr address(const node *n) {
  aq_addr a;
  assert_int_equal(aq_runtime_get_sockets(n->rt, &a, 1), 1);
  return a;
}

static void drain(node *n) {
  aq_event e;
  while (aq_endpoint_poll_event(n->ep, &e) == 1) {
    if (e.kind == AQ_EVENT_CONNECTION_ESTABLISHED) {
      n->established++;
      n->conn = e.conn;
    } else if (e.kind == AQ_EVENT_CONNECTION_LOST) {
      n->lost++;
      n->error = e.error;
    }
  }
}

/* Turns both until |*flag| or ten seconds. */
static void drive(node *a, node *b, const int *flag) {
  aq_runtime *v[2];
  size_t count = 0;
  aq_tstamp end = aq_clock_now() + 10 * AQ_S;
  v[count++] = a->rt;
  if (b) {
    v[count++] = b->rt;
  }
  while (!*flag) {
    assert_true(aq_clock_now() < end);
    assert_true(aq_runtime_step(a->rt) >= 0);
    drain(a);
    if (b) {
      assert_true(aq_runtime_step(b->rt) >= 0);
      drain(b);
    }
    if (!*flag) {
      aq_runtime_poll(v, count, 50 * AQ_MS);
    }
  }
}

static void connect_nodes(node *client, node *server) {
  aq_addr to = address(server);
  aq_id id = 0;
  assert_int_equal(
      aq_connect_addr(client->ep, aq_clock_now(), &to, NULL, NULL, 0, &id), 0);
  drive(client, server, &client->established);
  drive(client, server, &server->established);
}

static size_t open_descriptors(void) {
  size_t n = 0;
  DIR *d = opendir("/proc/self/fd");
  if (!d) {
    return 0;
  }
  while (readdir(d)) {
    n++;
  }
  closedir(d);
  return n;
}

/* Nothing stays behind, whether it worked or not. */
static void test_life(void **state) {
  char why[256] = "";
  node n;
  node again;
  size_t before;
  (void)state;
  open_node(&n); /* what libraries open once is open from here on */
  close_node(&n);
  before = open_descriptors();
  for (int i = 0; i < 20; i++) {
    open_node(&n);
    close_node(&n);
  }
  assert_int_equal(open_descriptors(), before);
  assert_int_equal(try_open(&n, "192.0.2.77:0", why, sizeof(why)),
                   AQ_ERR_NETWORK);
  assert_non_null(strstr(why, "192.0.2.77"));
  assert_null(n.rt);
  close_node(&n);
  assert_int_equal(open_descriptors(), before);
  open_node(&n);
  {
    char text[AQ_ADDR_STRLEN];
    aq_addr a = address(&n);
    aq_addr_format(&a, text);
    assert_int_equal(try_open(&again, text, why, sizeof(why)), AQ_ERR_NETWORK);
    assert_non_null(strstr(why, text));
    close_node(&again);
  }
  close_node(&n);
  assert_int_equal(open_descriptors(), before);
}

/* A wait ends on time, also in less than a millisecond. */
static void test_wait(void **state) {
  node n;
  aq_tstamp from;
  aq_duration best = AQ_NEVER;
  (void)state;
  open_node(&n);
  aq_runtime_wait(n.rt, 0);
  for (int i = 0; i < 20; i++) {
    aq_duration took;
    from = aq_clock_now();
    assert_true(aq_runtime_wait(n.rt, 200 * AQ_US) >= 0);
    took = aq_clock_now() - from;
    if (took >= 200 * AQ_US && took < best) {
      best = took;
    }
  }
#if defined(__linux__)
  assert_true(best < 1 * AQ_MS);
#else
  assert_true(best < 20 * AQ_MS);
#endif
  close_node(&n);
}

/* The descriptor is quiet when there is nothing, readable when there is. */
static void test_descriptor(void **state) {
  node client;
  node server;
  struct pollfd p;
  aq_addr to;
  aq_id id = 0;
  (void)state;
  open_node(&client);
  open_node(&server);
  p.fd = aq_runtime_fd(server.rt);
  p.events = POLLIN;
  if (p.fd < 0) {
    close_node(&client);
    close_node(&server);
    skip();
  }
  aq_runtime_step(server.rt);
  assert_int_equal(poll(&p, 1, 0), 0);
  to = address(&server);
  assert_int_equal(
      aq_connect_addr(client.ep, aq_clock_now(), &to, NULL, NULL, 0, &id), 0);
  assert_true(aq_runtime_step(client.rt) >= 0);
  assert_int_equal(poll(&p, 1, 1000), 1);
  aq_runtime_step(server.rt);
  assert_int_equal(poll(&p, 1, 0), 0);
  close_node(&client);
  close_node(&server);
}

/* What a verb queued is not kept back by somebody who only waits. */
static void test_wait_sends(void **state) {
  node client;
  node server;
  aq_id stream = 0;
  aq_id accepted = 0;
  aq_tstamp end = aq_clock_now() + 5 * AQ_S;
  size_t n = 0;
  (void)state;
  open_node(&client);
  open_node(&server);
  connect_nodes(&client, &server);
  assert_int_equal(
      aq_stream_open(client.ep, aq_clock_now(), client.conn, 1, 0, &stream), 0);
  assert_int_equal(aq_stream_write(client.ep, aq_clock_now(), stream,
                                   (const uint8_t *)"x", 1, &n),
                   0);
  assert_int_equal(aq_runtime_poll(&client.rt, 1, 0), 0);
  while (aq_stream_accept(server.ep, server.conn, &accepted) != 0) {
    assert_true(aq_clock_now() < end);
    assert_true(aq_runtime_wait(server.rt, 20 * AQ_MS) >= 0);
    drain(&server);
  }
  close_node(&client);
  close_node(&server);
}

static void test_farewell(void **state) {
  node client;
  node server;
  (void)state;
  open_node(&client);
  open_node(&server);
  connect_nodes(&client, &server);
  close_node(&client);
  drive(&server, NULL, &server.lost);
  assert_int_equal(server.error, AQ_ERR_PEER_CLOSED);
  close_node(&server);
}

/* What a forked child does with its copy the parent must not feel. */
static void test_fork(void **state) {
  node client;
  node server;
  pid_t child;
  int status = 0;
  uint8_t byte = 0;
  size_t n = 0;
  aq_id stream = 0;
  aq_id accepted = 0;
  aq_tstamp end;
  (void)state;
  open_node(&client);
  open_node(&server);
  connect_nodes(&client, &server);
  child = fork();
  if (child == 0) {
    aq_runtime_del(client.rt);
    aq_runtime_del(server.rt);
    _exit(0);
  }
  assert_true(child > 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(
      aq_stream_open(client.ep, aq_clock_now(), client.conn, 1, 0, &stream), 0);
  assert_int_equal(aq_stream_write(client.ep, aq_clock_now(), stream,
                                   (const uint8_t *)"x", 1, &n),
                   0);
  end = aq_clock_now() + 5 * AQ_S;
  while (byte != 'x') {
    aq_runtime *v[2];
    v[0] = client.rt;
    v[1] = server.rt;
    assert_true(aq_clock_now() < end);
    aq_runtime_step(client.rt);
    aq_runtime_step(server.rt);
    drain(&client);
    drain(&server);
    if (accepted == 0) {
      aq_stream_accept(server.ep, server.conn, &accepted);
    }
    if (accepted != 0) {
      aq_stream_read(server.ep, aq_clock_now(), accepted, &byte, 1, &n);
    }
    aq_runtime_poll(v, 2, 20 * AQ_MS);
  }
  assert_int_equal(server.lost, 0);
  assert_int_equal(client.lost, 0);
  close_node(&client);
  close_node(&server);
}

/* The host's side of extra sockets: real ones, with a port of their own, that
 * send and receive, and are closed when they are given back. */
static void test_extra_sockets(void **state) {
  (void)state;
  node n;
  aq_socket_request none;
  uint32_t index[AQ_MAX_EXTRA_SOCKETS];
  open_node(&n);
  size_t before = open_descriptors();
  aq_local_socket like = *aq_ep_socket(n.ep, 0);
  for (size_t i = 0; i < AQ_MAX_EXTRA_SOCKETS; i++) {
    assert_int_equal(aq_extra_open(n.ep, &like, 5, &index[i]), 0);
  }
  assert_true(aq_runtime_step(n.rt) >= 0);
  assert_int_equal(aq_endpoint_poll_socket(n.ep, &none), 0);
  assert_int_equal(open_descriptors() - before, AQ_MAX_EXTRA_SOCKETS);
  const aq_local_socket *a = aq_ep_socket(n.ep, index[0]);
  const aq_local_socket *b = aq_ep_socket(n.ep, index[255]);
  assert_true(a != NULL && b != NULL && a->bound.port != b->bound.port);
  assert_true(a->bound.port != 0 && a->bound.port != like.bound.port);
  aq_statistics s;
  aq_endpoint_get_statistics(n.ep, &s);
  uint64_t received = s.datagrams_received;
  uint8_t data[4] = {0};
  aq_ep_enter(n.ep, aq_clock_now());
  assert_true(aq_demux_out(n.ep, index[0], NULL, &b->bound, 0, data, 4));
  aq_tstamp end = aq_clock_now() + 5 * AQ_S;
  while (s.datagrams_received == received) {
    assert_true(aq_clock_now() < end);
    aq_runtime_wait(n.rt, 10 * AQ_MS);
    aq_endpoint_get_statistics(n.ep, &s);
  }
  aq_extra_release_all(n.ep, 5);
  assert_true(aq_runtime_step(n.rt) >= 0);
  assert_true(aq_runtime_step(n.rt) >= 0);
  assert_int_equal(open_descriptors(), before);
  close_node(&n);
}

/* Without a scan only what a socket is bound to is known: nothing here. */
static void test_no_interfaces(void **state) {
  (void)state;
  node n;
  aq_io_stats stats;
  char why[256] = "";
  no_interfaces = 1;
  int rc = try_open(&n, "0.0.0.0:0", why, sizeof(why));
  no_interfaces = 0;
  assert_int_equal(rc, 0);
  aq_runtime_get_stats(n.rt, &stats);
  assert_int_equal(stats.scan_errors, 1);
  assert_int_equal(aq_endpoint_get_candidates(n.ep, NULL, 0), 0);
  close_node(&n);
  open_node(&n);
  aq_runtime_get_stats(n.rt, &stats);
  assert_int_equal(stats.scan_errors, 0);
  assert_int_equal(aq_endpoint_get_candidates(n.ep, NULL, 0), 1);
  close_node(&n);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_life),
      cmocka_unit_test(test_wait),
      cmocka_unit_test(test_descriptor),
      cmocka_unit_test(test_wait_sends),
      cmocka_unit_test(test_farewell),
      cmocka_unit_test(test_fork),
      cmocka_unit_test(test_extra_sockets),
      cmocka_unit_test(test_no_interfaces),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
