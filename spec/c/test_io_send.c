/* test_io_send.c - what aq_udp_send makes of the system's answers. The system
 * call is replaced by a script, because loopback never refuses anything.
 *
 * SPDX-License-Identifier: MIT */
#include "antquic.h"

#include "base/addr.h"
#include "io/udp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEGMENT 1000

typedef struct call {
  size_t off, len;
} call;

static uint8_t payload[AQ_TRANSMIT_MAX];
static int answers[64]; /* errno of each call, 0: sent */
static size_t answer_count;
static call calls[256];
static size_t call_count;
static int real;       /* no script: what is not refused goes out */
static size_t refused; /* of the real calls */

size_t aq_udp_send_max(const aq_udp *u, size_t segment) {
  return u->gso && !real ? 10 * segment : segment;
}

/* Sends every third, and finds the socket full the other times. */
static int send_some(aq_udp *u, const aq_transmit *t, const uint8_t *data,
                     size_t len) {
  struct sockaddr_storage ss;
  socklen_t sslen = aq_addr_to_sockaddr(&ss, &t->remote, 0);
  if (call_count++ % 3 != 0) {
    refused++;
    return EAGAIN;
  }
  return sendto(u->fd, data, len, 0, (struct sockaddr *)&ss, sslen) < 0 ? errno
                                                                        : 0;
}

int aq_udp_send_once(aq_udp *u, const aq_transmit *t, const uint8_t *data,
                     size_t len) {
  size_t i;
  if (real) {
    return send_some(u, t, data, len);
  }
  i = call_count++;
  assert_true(i < sizeof(calls) / sizeof(calls[0]));
  calls[i].off = (size_t)(data - payload);
  calls[i].len = len;
  return i < answer_count ? answers[i] : 0;
}

typedef struct fixture {
  aq_io_stats stats;
  aq_udp u;
  aq_transmit t;
  size_t off;
} fixture;

static void begin(fixture *f, size_t len) {
  memset(f, 0, sizeof(*f));
  f->u.fd = -1;
  f->u.gso = 1;
  f->u.stats = &f->stats;
  f->stats.gso = 1;
  f->t.len = len;
  f->t.segment = SEGMENT;
  memset(answers, 0, sizeof(answers));
  answer_count = 0;
  call_count = 0;
}

static void script(int err) {
  answers[answer_count++] = err;
}

static int run(fixture *f) {
  return aq_udp_send(&f->u, &f->t, payload, &f->off);
}

static void test_in_batches(void **state) {
  fixture f;
  (void)state;
  begin(&f, 25 * SEGMENT + 1);
  assert_int_equal(run(&f), 0);
  assert_int_equal(call_count, 3);
  assert_int_equal(calls[2].off, 20 * SEGMENT);
  assert_int_equal(calls[2].len, 5 * SEGMENT + 1);
  assert_int_equal(f.stats.send_datagrams, 26);
}

/* A full socket: the rest follows from where it stopped. */
static void test_full(void **state) {
  fixture f;
  (void)state;
  begin(&f, 25 * SEGMENT);
  script(0);
  script(EAGAIN);
  assert_int_equal(run(&f), AQ_ERR_AGAIN);
  assert_int_equal(f.off, 10 * SEGMENT);
  assert_int_equal(f.stats.send_blocked, 1);
  assert_int_equal(f.stats.send_errors, 0);
  assert_int_equal(run(&f), 0);
  assert_int_equal(calls[2].off, 10 * SEGMENT);
  assert_int_equal(f.off, 25 * SEGMENT);
  assert_int_equal(f.stats.send_bytes, 25 * SEGMENT);
}

static void test_interrupted(void **state) {
  fixture f;
  (void)state;
  begin(&f, SEGMENT);
  script(EINTR);
  script(EINTR);
  assert_int_equal(run(&f), 0);
  assert_int_equal(call_count, 3);
  assert_int_equal(f.stats.send_datagrams, 1);
}

/* The interface can't split batches: all goes out singly, for good. */
static void test_no_offload(void **state) {
  int errors[] = {EIO, EINVAL, EOPNOTSUPP};
  (void)state;
  for (size_t i = 0; i < 3; i++) {
    fixture f;
    begin(&f, 15 * SEGMENT);
    script(errors[i]);
    assert_int_equal(run(&f), 0);
    assert_int_equal(call_count, 16);
    assert_int_equal(f.stats.send_datagrams, 15);
    assert_int_equal(f.stats.send_errors, 0);
    assert_false(f.u.gso);
    assert_false(f.stats.gso);
  }
}

/* The datagrams themselves are too large: they are lost, batching stays. */
static void test_too_large(void **state) {
  int errors[] = {EINVAL, EMSGSIZE};
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    fixture f;
    begin(&f, 2 * SEGMENT);
    script(errors[i]);
    script(EMSGSIZE);
    script(EMSGSIZE);
    assert_int_equal(run(&f), 0);
    assert_int_equal(call_count, 3);
    assert_int_equal(f.stats.send_errors, 2);
    assert_int_equal(f.stats.send_datagrams, 0);
    assert_true(f.u.gso);
  }
}

/* Only the batch's length was at fault: the next one is tried as a batch. */
static void test_batch_too_large(void **state) {
  fixture f;
  (void)state;
  begin(&f, 20 * SEGMENT);
  script(EMSGSIZE);
  assert_int_equal(run(&f), 0);
  assert_int_equal(call_count, 1 + 10 + 1);
  assert_int_equal(f.stats.send_datagrams, 20);
  assert_true(f.u.gso);
}

static void test_unreachable(void **state) {
  int errors[] = {ENETUNREACH, EHOSTUNREACH, EPERM, EACCES, ENOBUFS};
  (void)state;
  for (size_t i = 0; i < 5; i++) {
    fixture f;
    begin(&f, 20 * SEGMENT);
    script(errors[i]);
    assert_int_equal(run(&f), 0);
    assert_int_equal(call_count, 2);
    assert_int_equal(f.stats.send_errors, 1);
    assert_int_equal(f.stats.send_datagrams, 10);
    assert_true(f.u.gso);
  }
}

/* An ICMP error of an earlier datagram: nothing was sent, so once more. */
static void test_refused_before(void **state) {
  fixture f;
  (void)state;
  begin(&f, SEGMENT);
  script(ECONNREFUSED);
  assert_int_equal(run(&f), 0);
  assert_int_equal(call_count, 2);
  assert_int_equal(f.stats.send_datagrams, 1);
  begin(&f, SEGMENT);
  script(ECONNREFUSED);
  script(ECONNREFUSED);
  assert_int_equal(run(&f), 0);
  assert_int_equal(call_count, 2);
  assert_int_equal(f.stats.send_errors, 1);
}

/* ---- a whole endpoint over such a socket ------------------------------------
 */

#define BULK (2 * 1024 * 1024)

typedef struct node {
  aq_identity *id;
  aq_runtime *rt;
  aq_endpoint *ep;
  aq_id conn;
} node;

static void open_node(node *n) {
  aq_endpoint_params p;
  aq_runtime_params rp;
  char why[256] = "";
  memset(n, 0, sizeof(*n));
  memset(&rp, 0, sizeof(rp));
  assert_int_equal(aq_identity_generate(&n->id), 0);
  aq_endpoint_params_init(&p);
  p.identity = n->id;
  p.role = AQ_ROLE_SERVER;
  p.accept = 1;
  rp.bind_count = 1;
  assert_int_equal(aq_addr_parse(&rp.bind[0], "127.0.0.1:0", 11), 0);
  if (aq_runtime_new(&n->rt, &rp, &p, NULL, why, sizeof(why)) != 0) {
    fail_msg("%s", why);
  }
  n->ep = aq_runtime_endpoint(n->rt);
}

static void turn(node *n) {
  aq_event e;
  assert_true(aq_runtime_step(n->rt) >= 0);
  while (aq_endpoint_poll_event(n->ep, &e) == 1) {
    if (e.kind == AQ_EVENT_CONNECTION_ESTABLISHED) {
      n->conn = e.conn;
    }
    assert_int_not_equal(e.kind, AQ_EVENT_CONNECTION_LOST);
  }
}

static uint8_t byte_at(size_t i) {
  return (uint8_t)(i * 13 + i / 257);
}

static size_t write_some(node *n, aq_id stream, size_t sent) {
  uint8_t buf[4096];
  size_t len = BULK - sent < sizeof(buf) ? BULK - sent : sizeof(buf);
  size_t written = 0;
  for (size_t i = 0; i < len; i++) {
    buf[i] = byte_at(sent + i);
  }
  if (len > 0) {
    aq_stream_write(n->ep, aq_clock_now(), stream, buf, len, &written);
  }
  return written;
}

static size_t read_some(node *n, aq_id stream, size_t received) {
  uint8_t buf[65536];
  size_t len = 0;
  if (stream != 0) {
    aq_stream_read(n->ep, aq_clock_now(), stream, buf, sizeof(buf), &len);
  }
  for (size_t i = 0; i < len; i++) {
    assert_int_equal(buf[i], byte_at(received + i));
  }
  return len;
}

static void test_full_runtime(void **state) {
  node client;
  node server;
  aq_addr to;
  aq_io_stats stats;
  aq_id id = 0;
  aq_id out = 0;
  aq_id in = 0;
  size_t sent = 0;
  size_t received = 0;
  aq_tstamp end = aq_clock_now() + 60 * AQ_S;
  (void)state;
  real = 1;
  refused = 0;
  open_node(&client);
  open_node(&server);
  aq_runtime_get_sockets(server.rt, &to, 1);
  assert_int_equal(
      aq_connect_addr(client.ep, aq_clock_now(), &to, NULL, NULL, 0, &id), 0);
  while (received < BULK) {
    aq_runtime *v[2];
    size_t n;
    v[0] = client.rt;
    v[1] = server.rt;
    assert_true(aq_clock_now() < end);
    turn(&client);
    turn(&server);
    if (client.conn != 0 && out == 0) {
      assert_int_equal(
          aq_stream_open(client.ep, aq_clock_now(), id, 1, 0, &out), 0);
    }
    while (out != 0 && (n = write_some(&client, out, sent)) > 0) {
      sent += n;
    }
    if (server.conn != 0 && in == 0) {
      aq_stream_accept(server.ep, server.conn, &in);
    }
    while ((n = read_some(&server, in, received)) > 0) {
      received += n;
    }
    aq_runtime_poll(v, 2, 20 * AQ_MS);
  }
  assert_int_equal(received, BULK);
  aq_runtime_get_stats(client.rt, &stats);
  assert_true(stats.send_blocked > 10);
  assert_int_equal(stats.send_errors, 0);
  assert_true(refused >= stats.send_blocked);
  aq_runtime_del(client.rt);
  aq_runtime_del(server.rt);
  aq_identity_del(client.id);
  aq_identity_del(server.id);
  real = 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_in_batches),
      cmocka_unit_test(test_full),
      cmocka_unit_test(test_interrupted),
      cmocka_unit_test(test_no_offload),
      cmocka_unit_test(test_too_large),
      cmocka_unit_test(test_batch_too_large),
      cmocka_unit_test(test_unreachable),
      cmocka_unit_test(test_refused_before),
      cmocka_unit_test(test_full_runtime),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
