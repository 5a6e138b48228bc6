/* test_params.c - defaults and rules of the endpoint's parameters.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

static aq_endpoint_params params(void) {
  aq_endpoint_params p;
  memset(&p, 0xaa, sizeof(p));
  aq_endpoint_params_init(&p);
  return p;
}

static void add_node(aq_endpoint_params *p, const char *addr) {
  p->bootstrap[p->bootstrap_count++].addr = util_addr(addr);
}

static int check(const aq_endpoint_params *p, const char *expect) {
  char why[160];
  memset(why, 'x', sizeof(why));
  int err = aq_endpoint_params_check(p, why, sizeof(why));
  assert_int_equal(aq_endpoint_params_check(p, NULL, 0), err);
  if (err == 0) {
    assert_string_equal(why, "");
  } else if (expect != NULL && strstr(why, expect) == NULL) {
    fail_msg("said: %s; expected: %s", why, expect);
  }
  return err;
}

static void test_defaults(void **state) {
  (void)state;
  aq_endpoint_params p = params();
  assert_int_equal(check(&p, NULL), 0);
  assert_int_equal(p.role, AQ_ROLE_SERVER);
  assert_int_equal(p.can_coordinate, 0);
  assert_int_equal(p.max_candidates, 8);
  assert_int_equal(p.max_concurrent_attempts, 3);
  assert_true(p.coordination_timeout == 10 * AQ_S);
  assert_true(p.enable_symmetric_nat && p.enable_relay_fallback && p.accept);
  assert_string_equal(p.alpn[0], "antquic");
  assert_int_equal(p.bootstrap_count, 0);
}

static void test_roles(void **state) {
  (void)state;
  aq_endpoint_params p = params();
  p.role = AQ_ROLE_CLIENT;
  assert_int_equal(check(&p, "client needs"), AQ_ERR_CONFIG);
  add_node(&p, "8.8.8.8:4433");
  assert_int_equal(check(&p, NULL), 0);
  p = params();
  p.can_coordinate = 1;
  assert_int_equal(check(&p, "coordinating server"), AQ_ERR_CONFIG);
  add_node(&p, "8.8.8.8:4433");
  assert_int_equal(check(&p, NULL), 0);
  p = params();
  p.role = AQ_ROLE_BOOTSTRAP;
  assert_int_equal(check(&p, "relay"), AQ_ERR_CONFIG);
  p.enable_relay_fallback = 0;
  assert_int_equal(check(&p, NULL), 0);
  p.can_coordinate = 1;
  assert_int_equal(check(&p, NULL), 0);
  p.role = (aq_role)9;
  assert_int_equal(check(&p, "role"), AQ_ERR_CONFIG);
}

static void test_bootstrap(void **state) {
  (void)state;
  const char *const bad[] = {
      "8.8.8.8:0",      "0.0.0.0:4433",         "[::]:4433",
      "224.0.0.1:4433", "255.255.255.255:4433", "[ff02::1]:4433"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    aq_endpoint_params p = params();
    add_node(&p, "8.8.8.8:4433");
    add_node(&p, bad[i]);
    assert_int_equal(check(&p, bad[i]), AQ_ERR_ADDRESS);
  }
  aq_endpoint_params p = params();
  add_node(&p, "127.0.0.1:4433");
  add_node(&p, "127.0.0.1:4434");
  add_node(&p, "[::1]:4433");
  assert_int_equal(check(&p, NULL), 0);
  add_node(&p, "127.0.0.1:4434");
  assert_int_equal(check(&p, "twice"), AQ_ERR_ADDRESS);
  /* The same, IPv4-mapped. */
  p.bootstrap[3].addr =
      (aq_addr){.family = 6,
                .port = 4433,
                .ip = {[10] = 255, [11] = 255, [12] = 127, [15] = 1}};
  assert_int_equal(check(&p, "twice"), AQ_ERR_ADDRESS);
  p.bootstrap[3].addr = (aq_addr){0};
  assert_int_equal(check(&p, "no address"), AQ_ERR_ADDRESS);
  p = params();
  p.bootstrap_count = AQ_MAX_BOOTSTRAP + 1;
  assert_int_equal(check(&p, "bootstrap"), AQ_ERR_CONFIG);
}

/* Sets one field to |v|. */
#define SET(field, v)                                                          \
  do {                                                                         \
    aq_endpoint_params p = params();                                           \
    p.max_concurrent_attempts = 1;                                             \
    p.field = (v);                                                             \
    assert_int_equal(check(&p, #field), want);                                 \
  } while (0)

static void test_ranges(void **state) {
  (void)state;
  int want = 0;
  SET(max_candidates, 1);
  SET(max_candidates, 256);
  SET(coordination_timeout, 100 * AQ_MS);
  SET(coordination_timeout, 300 * AQ_S);
  SET(max_concurrent_attempts, 1);
  SET(max_concurrent_attempts, 8);
  SET(idle_timeout, 0);
  SET(keep_alive, 0);
  SET(stream_window, 8 * 1024 * 1024);
  want = AQ_ERR_CONFIG;
  SET(max_candidates, 0);
  SET(max_candidates, 257);
  SET(coordination_timeout, 100 * AQ_MS - 1);
  SET(coordination_timeout, 300 * AQ_S + 1);
  SET(coordination_timeout, AQ_NEVER);
  SET(max_concurrent_attempts, 0);
  SET(max_concurrent_attempts, 17);
  SET(max_concurrent_attempts, 9); /* more than max_candidates */
  SET(stream_window, 8 * 1024 * 1024 + 1);
  SET(stream_window, 0);
  SET(conn_window, 1024 * 1024 - 1); /* less than stream_window */
  SET(max_streams_bidi, (UINT64_C(1) << 60) + 1);
  SET(max_streams_uni, UINT64_MAX);
  SET(send_buffer, 0);
  SET(datagram_queue, 0);
  SET(max_connections, 0);
  SET(max_half_open, 0);
  SET(relay_rate, 1023);
  SET(relay_rate, (1u << 30) + 1);
  SET(relay_total_rate, 1023);
  SET(relay_total_rate, (UINT64_C(1) << 34) + 1);
  SET(idle_timeout, 1);
  SET(idle_timeout, AQ_NEVER);
  SET(keep_alive, 1);
  SET(handshake_timeout, 0);
  SET(strategy, 2);
  SET(pqc, (aq_pqc)2);
}

static void test_times(void **state) {
  (void)state;
  aq_endpoint_params p = params();
  assert_int_equal(p.coordination_timeout, 10 * AQ_S);
  assert_int_equal(p.handshake_timeout, 10 * AQ_S);
  assert_int_equal(p.idle_timeout, 30 * AQ_S);
  assert_int_equal(p.keep_alive, AQ_KEEP_ALIVE_AUTO);
}

/* Where |max_candidates| leaves room the attempts have a bound of their own. */
static void test_attempts(void **state) {
  (void)state;
  aq_endpoint_params p = params();
  p.max_candidates = 256;
  p.max_concurrent_attempts = 16;
  assert_int_equal(check(&p, NULL), 0);
  p.max_concurrent_attempts = 17;
  assert_int_equal(check(&p, "from 1 to 16"), AQ_ERR_CONFIG);
  p.max_candidates = p.max_concurrent_attempts = 4;
  assert_int_equal(check(&p, NULL), 0);
  p.max_candidates = 3;
  assert_int_equal(check(&p, "is more than max_candidates"), AQ_ERR_CONFIG);
}

static void test_others(void **state) {
  (void)state;
  aq_endpoint_params p = params();
  p.size--;
  assert_int_equal(check(&p, "version"), AQ_ERR_CONFIG);
  p = params();
  p.alpn_count = 0;
  assert_int_equal(check(&p, "ALPN"), AQ_ERR_CONFIG);
  p.alpn_count = AQ_MAX_ALPN + 1;
  assert_int_equal(check(&p, "ALPN"), AQ_ERR_CONFIG);
  p.alpn_count = 2;
  assert_int_equal(check(&p, "ALPN"), AQ_ERR_CONFIG); /* an empty one */
  strcpy(p.alpn[1], "antquic");
  assert_int_equal(check(&p, "twice"), AQ_ERR_CONFIG);
  strcpy(p.alpn[1], "chat");
  assert_int_equal(check(&p, NULL), 0);
  memset(p.alpn[1], 'a', AQ_MAX_ALPN_LEN);
  assert_int_equal(check(&p, "ALPN"), AQ_ERR_CONFIG);
  p = params();
  p.allow_count = 1;
  assert_int_equal(check(&p, "allow"), AQ_ERR_CONFIG);
  aq_peer_id id = {{1}};
  p.allow = &id;
  assert_int_equal(check(&p, NULL), 0);
  /* A short buffer is filled, not overrun. */
  p = params();
  p.max_candidates = 0;
  char *why = malloc(8);
  assert_int_equal(aq_endpoint_params_check(&p, why, 8), AQ_ERR_CONFIG);
  assert_int_equal(strlen(why), 7);
  free(why);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_defaults),  cmocka_unit_test(test_roles),
      cmocka_unit_test(test_bootstrap), cmocka_unit_test(test_ranges),
      cmocka_unit_test(test_attempts),  cmocka_unit_test(test_times),
      cmocka_unit_test(test_others),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
