/* test_io_send.c - what aq_udp_send makes of the system's answers. The system
 * call is replaced by a script, because loopback never refuses anything.
 *
 * SPDX-License-Identifier: MIT */
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

size_t aq_udp_send_max(const aq_udp *u, size_t segment) {
  return u->gso ? 10 * segment : segment;
}

int aq_udp_send_once(aq_udp *u, const aq_transmit *t, const uint8_t *data,
                     size_t len) {
  size_t i = call_count++;
  (void)u;
  (void)t;
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
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
