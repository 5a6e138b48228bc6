/* test_io.c - sockets on the loopback interface: what goes out comes in, with
 * its addresses, ECN and batches.
 *
 * SPDX-License-Identifier: MIT */
#include "antquic.h"

#include "base/addr.h"
#include "io/ifaddrs.h"
#include "io/udp.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct pair {
  aq_io_stats sa, sb;
  aq_udp a, b;
} pair;

static uint8_t buffer[AQ_UDP_RECV_MAX];
static uint8_t payload[AQ_TRANSMIT_MAX];

static aq_addr parse(const char *text) {
  aq_addr a;
  assert_int_equal(aq_addr_parse(&a, text, strlen(text)), 0);
  return a;
}

static void open_pair(pair *p, const char *a, const char *b,
                      const aq_runtime_params *rp) {
  static const aq_runtime_params none;
  char why[160] = "";
  aq_addr at = parse(a);
  memset(p, 0, sizeof(*p));
  if (aq_udp_open(&p->a, &at, rp ? rp : &none, &p->sa, why, sizeof(why)) != 0) {
    fail_msg("%s", why);
  }
  at = parse(b);
  if (aq_udp_open(&p->b, &at, rp ? rp : &none, &p->sb, why, sizeof(why)) != 0) {
    fail_msg("%s", why);
  }
  for (size_t i = 0; i < sizeof(payload); i++) {
    payload[i] = (uint8_t)(i * 7 + i / 251);
  }
}

static void close_pair(pair *p) {
  aq_udp_close(&p->a);
  aq_udp_close(&p->b);
}

static int has_ipv6(void) {
  static const aq_runtime_params none;
  aq_io_stats stats;
  aq_udp u;
  char why[160];
  aq_addr at = parse("[::1]:0");
  int ok = aq_udp_open(&u, &at, &none, &stats, why, sizeof(why)) == 0;
  aq_udp_close(&u);
  return ok;
}

/* Waits for the next datagrams; fails after two seconds. */
static void receive(aq_udp *u, aq_datagram *d) {
  struct pollfd p = {u->fd, POLLIN, 0};
  int rc;
  memset(d, 0, sizeof(*d));
  rc = aq_udp_recv(u, buffer, d);
  for (int i = 0; rc != 1 && i < 20; i++) {
    poll(&p, 1, 100);
    rc = aq_udp_recv(u, buffer, d);
  }
  assert_int_equal(rc, 1);
}

static aq_transmit transmit_to(const aq_addr *remote, size_t len,
                               size_t segment) {
  aq_transmit t;
  memset(&t, 0, sizeof(t));
  t.remote = *remote;
  t.len = len;
  t.segment = segment;
  return t;
}

static void send_all(aq_udp *u, const aq_transmit *t) {
  size_t off = 0;
  assert_int_equal(aq_udp_send(u, t, payload, &off), 0);
  assert_int_equal(off, t->len);
}

static void one_datagram(const char *a, const char *b) {
  pair p;
  aq_datagram d;
  aq_transmit t;
  open_pair(&p, a, b, NULL);
  assert_int_not_equal(p.a.bound.port, 0);
  t = transmit_to(&p.b.bound, 1200, 0);
  send_all(&p.a, &t);
  receive(&p.b, &d);
  assert_int_equal(d.len, 1200);
  assert_int_equal(d.segment, 0);
  assert_memory_equal(d.data, payload, 1200);
  assert_true(aq_addr_equal(&d.remote, &p.a.bound));
  assert_true(aq_addr_equal(&d.local, &p.b.bound));
  assert_int_equal(d.ecn, 0);
  assert_int_equal(p.sa.send_datagrams, 1);
  assert_int_equal(p.sb.recv_bytes, 1200);
  assert_int_equal(aq_udp_recv(&p.b, buffer, &d), 0);
  close_pair(&p);
}

static void test_one_v4(void **state) {
  (void)state;
  one_datagram("127.0.0.1:0", "127.0.0.1:0");
}

static void test_one_v6(void **state) {
  (void)state;
  if (!has_ipv6()) {
    skip();
  }
  one_datagram("[::1]:0", "[::1]:0");
}

/* An IPv6 socket leaves the port of the same number to IPv4. */
static void test_v6_only(void **state) {
  pair p;
  char text[64];
  (void)state;
  if (!has_ipv6()) {
    skip();
  }
  open_pair(&p, "[::]:0", "127.0.0.1:0", NULL);
  close_pair(&p);
  snprintf(text, sizeof(text), "[::]:%u", p.b.bound.port);
  open_pair(&p, text, "0.0.0.0:0", NULL);
  aq_udp_close(&p.b);
  snprintf(text, sizeof(text), "0.0.0.0:%u", p.a.bound.port);
  {
    static const aq_runtime_params none;
    aq_addr at = parse(text);
    char why[160] = "";
    assert_int_equal(aq_udp_open(&p.b, &at, &none, &p.sb, why, sizeof(why)), 0);
  }
  close_pair(&p);
}

static void test_bind_taken(void **state) {
  static const aq_runtime_params none;
  pair p;
  aq_udp again;
  char why[160] = "";
  (void)state;
  open_pair(&p, "127.0.0.1:0", "127.0.0.1:0", NULL);
  assert_int_equal(
      aq_udp_open(&again, &p.a.bound, &none, &p.sa, why, sizeof(why)),
      AQ_ERR_NETWORK);
  assert_int_equal(again.fd, -1);
  assert_non_null(strstr(why, "127.0.0.1:"));
  assert_non_null(strstr(why, "in use"));
  close_pair(&p);
}

static void test_ecn(void **state) {
  pair p;
  aq_datagram d;
  (void)state;
  for (int family = 4; family <= 6; family += 2) {
    const char *at = family == 4 ? "127.0.0.1:0" : "[::1]:0";
    if (family == 6 && !has_ipv6()) {
      continue;
    }
    open_pair(&p, at, at, NULL);
    if (!p.a.ecn || !p.b.ecn) {
      close_pair(&p);
      skip();
    }
    for (uint8_t ecn = 0; ecn <= 3; ecn++) {
      aq_transmit t = transmit_to(&p.b.bound, 100, 0);
      t.ecn = ecn;
      send_all(&p.a, &t);
      receive(&p.b, &d);
      assert_int_equal(d.ecn, ecn);
    }
    close_pair(&p);
  }
}

static void test_no_ecn(void **state) {
  aq_runtime_params rp;
  pair p;
  aq_datagram d;
  aq_transmit t;
  (void)state;
  memset(&rp, 0, sizeof(rp));
  rp.no_ecn = 1;
  open_pair(&p, "127.0.0.1:0", "127.0.0.1:0", &rp);
  t = transmit_to(&p.b.bound, 100, 0);
  t.ecn = 2;
  send_all(&p.a, &t);
  receive(&p.b, &d);
  assert_int_equal(d.ecn, 0);
  close_pair(&p);
}

#if defined(__linux__)
/* The source is the one that was asked for, and the destination is told. */
static void test_addresses(void **state) {
  pair p;
  aq_datagram d;
  aq_transmit t;
  aq_addr to;
  (void)state;
  open_pair(&p, "0.0.0.0:0", "0.0.0.0:0", NULL);
  to = parse("127.0.0.5:1");
  to.port = p.b.bound.port;
  t = transmit_to(&to, 50, 0);
  t.local = parse("127.0.0.9:0");
  send_all(&p.a, &t);
  receive(&p.b, &d);
  assert_true(aq_addr_equal(&d.local, &to));
  t.local.port = p.a.bound.port;
  assert_true(aq_addr_equal(&d.remote, &t.local));
  close_pair(&p);
}
#endif

/* Receives until |len| bytes came, whatever the batches, and checks that all
 * datagrams are |segment| long but the last. */
static void receive_batch(aq_udp *u, size_t len, size_t segment) {
  size_t got = 0;
  while (got < len) {
    aq_datagram d;
    size_t each;
    receive(u, &d);
    each = d.segment == 0 ? d.len : d.segment;
    assert_true(each == segment || got + d.len == len);
    assert_memory_equal(d.data, payload + got, d.len);
    got += d.len;
  }
  assert_int_equal(got, len);
}

static void batch(const char *at, const aq_runtime_params *rp, size_t len,
                  size_t segment) {
  pair p;
  aq_transmit t;
  open_pair(&p, at, at, rp);
  t = transmit_to(&p.b.bound, len, segment);
  send_all(&p.a, &t);
  receive_batch(&p.b, len, segment);
  assert_int_equal(p.sa.send_bytes, len);
  assert_int_equal(p.sa.send_datagrams, (len + segment - 1) / segment);
  assert_int_equal(p.sb.recv_datagrams, (len + segment - 1) / segment);
  if (p.a.gso) {
    assert_true(p.sa.send_calls < p.sa.send_datagrams);
  } else {
    assert_int_equal(p.sa.send_calls, p.sa.send_datagrams);
  }
  close_pair(&p);
}

static void test_batches(void **state) {
  aq_runtime_params rp;
  (void)state;
  memset(&rp, 0, sizeof(rp));
  batch("127.0.0.1:0", NULL, 44 * 1452, 1452);
  batch("127.0.0.1:0", NULL, 44 * 1452 + 17, 1452);
  batch("127.0.0.1:0", NULL, 65536, 1200);    /* more than one call takes */
  batch("127.0.0.1:0", NULL, 130 * 100, 100); /* more than 64 segments */
  if (has_ipv6()) {
    batch("[::1]:0", NULL, 44 * 1452 + 1, 1452);
  }
  rp.no_gso = 1;
  batch("127.0.0.1:0", &rp, 20 * 1200 + 5, 1200);
  rp.no_gro = 1;
  batch("127.0.0.1:0", &rp, 20 * 1200 + 5, 1200);
  rp.no_gso = 0;
  batch("127.0.0.1:0", &rp, 20 * 1200 + 5, 1200);
}

/* What can't be sent is lost, counted, and stops nothing. */
static void test_refused(void **state) {
  pair p;
  aq_transmit t;
  aq_datagram d;
  aq_addr far;
  (void)state;
  open_pair(&p, "127.0.0.1:0", "127.0.0.1:0", NULL);
  t = transmit_to(&p.b.bound, 65536, 0); /* no datagram is that long */
  send_all(&p.a, &t);
  assert_int_equal(p.sa.send_errors, 1);
  assert_int_equal(p.sa.send_datagrams, 0);
  far = parse("[::1]:9"); /* the wrong family for the socket */
  t = transmit_to(&far, 100, 0);
  send_all(&p.a, &t);
  assert_int_equal(p.sa.send_errors, 2);
  far = parse("255.255.255.255:9"); /* forbidden without SO_BROADCAST */
  t = transmit_to(&far, 3000, 1000);
  send_all(&p.a, &t);
  assert_true(p.sa.send_errors > 2);
  t = transmit_to(&p.b.bound, 100, 0);
  send_all(&p.a, &t);
  receive(&p.b, &d);
  assert_int_equal(d.len, 100);
  close_pair(&p);
}

/* A port where nobody listens answers with ICMP: not an error of ours. */
static void test_unreachable(void **state) {
  pair p;
  aq_transmit t;
  aq_datagram d;
  aq_addr closed;
  (void)state;
  open_pair(&p, "127.0.0.1:0", "127.0.0.1:0", NULL);
  closed = p.b.bound;
  aq_udp_close(&p.b);
  for (int i = 0; i < 5; i++) {
    t = transmit_to(&closed, 100, 0);
    send_all(&p.a, &t);
    assert_true(aq_udp_recv(&p.a, buffer, &d) <= 0);
  }
  t = transmit_to(&p.a.bound, 100, 0);
  send_all(&p.a, &t);
  receive(&p.a, &d);
  assert_int_equal(d.len, 100);
  aq_udp_close(&p.a);
}

static void test_ifaddrs(void **state) {
  aq_ifaddrs a;
  aq_ifaddrs b;
  aq_addr bound[2];
  (void)state;
  bound[0] = parse("127.0.0.1:4433");
  assert_int_equal(aq_ifaddrs_scan(&a, bound, 1), 0);
  assert_int_equal(a.count, 1);
  assert_int_equal(a.v[0].port, 0);
  assert_true(aq_addr_same_ip(&a.v[0], &bound[0]));
  bound[0] = parse("0.0.0.0:1");
  bound[1] = parse("[::]:1");
  assert_int_equal(aq_ifaddrs_scan(&a, bound, 1), 0);
  assert_int_equal(aq_ifaddrs_scan(&b, bound, 2), 0);
  for (size_t i = 0; i < a.count; i++) {
    assert_int_equal(a.v[i].family, 4);
  }
  assert_true(b.count >= a.count);
  for (size_t i = 0; i < b.count; i++) {
    assert_int_not_equal(aq_addr_classify(&b.v[i]), AQ_ADDR_LOOPBACK);
    assert_int_not_equal(aq_addr_classify(&b.v[i]), AQ_ADDR_UNSPECIFIED);
  }
  assert_true(aq_ifaddrs_equal(&b, &b));
  if (b.count > 0) {
    a = b;
    a.v[0].ip[0] ^= 1;
    assert_false(aq_ifaddrs_equal(&a, &b));
  }
  assert_int_equal(aq_ifaddrs_scan(&a, bound, 0), 0);
  assert_int_equal(a.count, 0);
}

static void test_ifwatch(void **state) {
  int fd = aq_ifwatch_open();
  (void)state;
  if (fd < 0) {
    skip();
  }
  assert_int_equal(aq_ifwatch_drain(fd), 0);
  aq_ifwatch_close(fd);
  aq_ifwatch_close(-1);
}

/* An ICMP error of an earlier datagram: told once, and it goes on. */
static void test_recv_error(void **state) {
  (void)state;
  pair p;
  aq_datagram d;
  open_pair(&p, "127.0.0.1:0", "127.0.0.1:0", NULL);
  aq_addr gone = p.b.bound;
  struct sockaddr_storage ss;
  socklen_t len = aq_addr_to_sockaddr(&ss, &gone, 0);
  aq_udp_close(&p.b);
  assert_int_equal(connect(p.a.fd, (struct sockaddr *)&ss, len), 0);
  assert_int_equal(send(p.a.fd, "x", 1, 0), 1);
  struct pollfd waiting = {p.a.fd, POLLIN, 0};
  assert_int_equal(poll(&waiting, 1, 2000), 1);
  assert_int_equal(aq_udp_recv(&p.a, buffer, &d), AQ_ERR_NETWORK);
  assert_int_equal(p.sa.recv_errors, 1);
  assert_int_equal(aq_udp_recv(&p.a, buffer, &d), 0);
  assert_int_equal(p.sa.recv_errors, 1);
  close_pair(&p);
}

static void test_clock(void **state) {
  aq_tstamp a = aq_clock_now();
  aq_tstamp b;
  uint8_t r[2][32];
  (void)state;
  aq_runtime_poll(NULL, 0, 3 * AQ_MS);
  b = aq_clock_now();
  assert_true(b >= a + 3 * AQ_MS);
  assert_true(b < a + 2 * AQ_S);
  assert_int_equal(aq_runtime_poll(NULL, AQ_MAX_POLL + 1, 0), AQ_ERR_INVAL);
  assert_int_equal(aq_random_bytes(r[0], 32), 0);
  assert_int_equal(aq_random_bytes(r[1], 32), 0);
  assert_memory_not_equal(r[0], r[1], 32);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_one_v4),
    cmocka_unit_test(test_one_v6),
    cmocka_unit_test(test_v6_only),
    cmocka_unit_test(test_bind_taken),
    cmocka_unit_test(test_ecn),
    cmocka_unit_test(test_no_ecn),
#if defined(__linux__)
    cmocka_unit_test(test_addresses),
#endif
    cmocka_unit_test(test_batches),
    cmocka_unit_test(test_refused),
    cmocka_unit_test(test_unreachable),
    cmocka_unit_test(test_ifaddrs),
    cmocka_unit_test(test_ifwatch),
    cmocka_unit_test(test_recv_error),
    cmocka_unit_test(test_clock),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
