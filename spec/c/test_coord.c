/* test_coord.c - the coordinator: who is registered, what it says to whom.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/coord.h"

#include "base/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RANDOM_LEN (AQ_CTL_SESSION_LEN + AQ_PUNCH_KEY_LEN)

static aq_coord *C;
static aq_coord_params P;
static aq_statistics S;
static aq_coord_msg out[AQ_COORD_OUT_MAX];
static uint8_t dice;

static aq_addr addr(const char *text) {
  aq_addr a;
  assert_int_equal(aq_addr_parse(&a, text, strlen(text)), 0);
  return a;
}

static int setup(void **state) {
  (void)state;
  aq_coord_params_init(&P);
  P.max_registrations = 100;
  memset(&S, 0, sizeof(S));
  return aq_coord_new(&C, &P, NULL);
}

static int teardown(void **state) {
  (void)state;
  aq_coord_del(C);
  return 0;
}

/* Peer |n| has id n n n ..., connection 100 + n, address 20.0.0.n:5000. */
static aq_coord_peer peer(uint8_t n) {
  aq_coord_peer p = {.conn = 100u + n, .rtt = 20 * AQ_MS};
  memset(p.peer.bytes, n, 32);
  uint8_t ip[4] = {20, 0, 0, n};
  p.addr = aq_addr_v4(ip, 5000);
  return p;
}

static size_t feed(aq_tstamp now, const aq_coord_peer *from, const aq_ctl *m,
                   const aq_coord_peer *target) {
  uint8_t random[RANDOM_LEN];
  memset(random, ++dice, sizeof(random));
  return aq_coord_handle(C, now, from, m, target, random, out, &S);
}

static void join(uint8_t n) {
  aq_coord_peer p = peer(n);
  aq_ctl m = {.type = AQ_CTL_REGISTER, .cand_count = 1};
  m.cand[0].addr = addr("192.168.0.9:5000");
  m.cand[0].verified = 1; /* a lie */
  assert_int_equal(feed(0, &p, &m, NULL), 1);
  assert_int_equal(out[0].m.type, AQ_CTL_REGISTERED);
}

static size_t ask_for(aq_tstamp now, uint8_t from, uint8_t to, uint64_t request,
                      aq_plan plan) {
  aq_coord_peer p = peer(from), target = peer(to);
  aq_ctl m = {.type = AQ_CTL_REQUEST, .request = request, .peer = target.peer};
  m.plan = plan;
  memset(m.nonce, from, sizeof(m.nonce));
  int known = aq_coord_lookup(C, &target.peer) == target.conn;
  return feed(now, &p, &m, known ? &target : NULL);
}

static size_t ask(aq_tstamp now, uint8_t from, uint8_t to, uint64_t request) {
  return ask_for(now, from, to, request, AQ_PLAN_PUNCH);
}

static void is_error(size_t n, uint64_t error, uint64_t request) {
  assert_int_equal(n, 1);
  assert_int_equal(out[0].m.type, AQ_CTL_ERROR);
  assert_int_equal(out[0].m.error, error);
  assert_int_equal(out[0].m.request, request);
}

static void a_registration_is_told_its_address(void **state) {
  (void)state;
  join(1);
  aq_coord_peer p = peer(1);
  assert_int_equal(out[0].conn, p.conn);
  assert_true(aq_addr_equal(&out[0].m.observed, &p.addr));
  assert_int_equal(out[0].m.capabilities, AQ_CTL_CAP_COORDINATE);
  assert_int_equal(aq_coord_lookup(C, &p.peer), p.conn);
  assert_int_equal(aq_coord_count(C), 1);
  assert_int_equal(S.coordinator_registrations, 1);
  aq_coord_forget(C, p.conn);
  assert_int_equal(aq_coord_lookup(C, &p.peer), 0);
  assert_int_equal(aq_coord_count(C), 0);
}

static void a_newer_connection_replaces_the_older(void **state) {
  (void)state;
  join(1);
  aq_coord_peer p = peer(1);
  p.conn = 999;
  aq_ctl m = {.type = AQ_CTL_REGISTER};
  feed(0, &p, &m, NULL);
  assert_int_equal(aq_coord_lookup(C, &p.peer), 999);
  assert_int_equal(aq_coord_count(C), 1);
  aq_coord_forget(C, 101); /* the old one's end comes later */
  assert_int_equal(aq_coord_lookup(C, &p.peer), 999);
}

static void registrations_are_bounded(void **state) {
  (void)state;
  for (unsigned n = 1; n <= 100; n++) {
    join((uint8_t)n);
  }
  aq_coord_peer p = peer(101);
  aq_ctl m = {.type = AQ_CTL_REGISTER};
  is_error(feed(0, &p, &m, NULL), AQ_CTL_ERR_OVERLOADED, 0);
  assert_int_equal(aq_coord_count(C), 100);
  p = peer(100); /* who is there may speak again */
  assert_int_equal(feed(0, &p, &m, NULL), 1);
  assert_int_equal(out[0].m.type, AQ_CTL_REGISTERED);
}

static void a_request_gives_an_offer_and_an_answer(void **state) {
  (void)state;
  join(1);
  join(2);
  aq_coord_peer i = peer(1), t = peer(2);
  i.rtt = 20 * AQ_MS;
  t.rtt = 60 * AQ_MS;
  aq_ctl m = {.type = AQ_CTL_REQUEST, .request = 5, .peer = t.peer};
  memset(m.nonce, 0xab, sizeof(m.nonce));
  m.cand_count = 1;
  m.cand[0].addr = addr("10.0.0.2:4000");
  m.cand[0].verified = 1;
  assert_int_equal(feed(AQ_S, &i, &m, &t), 2);
  const aq_ctl *offer = &out[0].m, *answer = &out[1].m;
  assert_int_equal(out[0].conn, t.conn);
  assert_int_equal(out[1].conn, i.conn);
  assert_int_equal(offer->type, AQ_CTL_OFFER);
  assert_int_equal(answer->type, AQ_CTL_ANSWER);
  assert_int_equal(answer->request, 5);
  assert_memory_equal(answer->nonce, m.nonce, sizeof(m.nonce));
  assert_memory_equal(offer->nonce, m.nonce, sizeof(m.nonce));
  assert_memory_equal(offer->session, answer->session, AQ_CTL_SESSION_LEN);
  assert_memory_equal(offer->key, answer->key, AQ_PUNCH_KEY_LEN);
  assert_int_equal(aq_peer_id_compare(&offer->peer, &i.peer), 0);
  assert_int_equal(aq_peer_id_compare(&answer->peer, &t.peer), 0);
  assert_true(aq_addr_equal(&offer->observed, &t.addr));
  assert_true(aq_addr_equal(&answer->observed, &i.addr));
  assert_int_equal(offer->expiry_ms, 10000);
  assert_int_equal(offer->rtt_us, 80000);
  assert_int_equal(answer->rtt_us, 80000);
  /* T hears 20 ms later than I: I waits. */
  assert_int_equal(answer->start_delay_us, 20000);
  assert_int_equal(offer->start_delay_us, 0);
  /* What C saw comes first and is verified; what is claimed never is. */
  assert_int_equal(offer->cand_count, 2);
  assert_true(aq_addr_equal(&offer->cand[0].addr, &i.addr));
  assert_int_equal(offer->cand[0].verified, 1);
  assert_int_equal(offer->cand[0].source, AQ_SOURCE_OBSERVED);
  assert_int_equal(offer->cand[1].verified, 0);
  assert_true(aq_addr_equal(&answer->cand[0].addr, &t.addr));
  assert_int_equal(answer->cand[1].verified, 0);
  uint8_t wire[AQ_CTL_MAX];
  assert_true(aq_ctl_format(wire, sizeof(wire), offer) > 0);
  assert_true(aq_ctl_format(wire, sizeof(wire), answer) > 0);
  assert_int_equal(S.coordinator_offers, 1);
}

static void claimed_candidates_are_checked_and_bounded(void **state) {
  (void)state;
  static const char *const bad[] = {
      "224.0.0.1:1",  "0.0.0.0:1",     "127.0.0.1:1",
      "[::1]:1",      "[ff02::1]:1",   "255.255.255.255:1",
      "198.18.0.1:1", "169.254.0.1:1", "1.2.3.4:0"};
  join(1);
  join(2);
  aq_coord_peer i = peer(1), t = peer(2);
  aq_ctl m = {.type = AQ_CTL_REQUEST, .request = 1, .peer = t.peer};
  for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
    m.cand[m.cand_count++].addr = addr(bad[k]);
  }
  while (m.cand_count < AQ_MAX_CANDIDATES) {
    m.cand[m.cand_count].addr = addr("30.0.0.1:1");
    m.cand[m.cand_count].addr.port = (uint16_t)(1000 + m.cand_count);
    m.cand_count++;
  }
  feed(0, &i, &m, &t);
  assert_int_equal(out[0].m.cand_count, 1 + AQ_MAX_CANDIDATES - 9);
  for (size_t k = 0; k < out[0].m.cand_count; k++) {
    assert_int_equal(aq_addr_classify(&out[0].m.cand[k].addr), AQ_ADDR_GLOBAL);
  }
  /* All good ones: one less, for what C saw. */
  for (size_t k = 0; k < AQ_MAX_CANDIDATES; k++) {
    m.cand[k].addr = addr("30.0.0.1:1");
    m.cand[k].addr.port = (uint16_t)(1000 + k);
  }
  m.request = 2;
  feed(0, &i, &m, &t);
  assert_int_equal(out[0].m.cand_count, AQ_MAX_CANDIDATES);
  uint8_t wire[AQ_CTL_MAX];
  assert_true(aq_ctl_format(wire, sizeof(wire), &out[0].m) > 0);
}

static void loopback_is_for_those_on_loopback(void **state) {
  (void)state;
  join(2);
  aq_coord_peer i = peer(1), t = peer(2);
  i.addr = addr("127.0.0.1:4000");
  aq_ctl r = {.type = AQ_CTL_REGISTER, .cand_count = 1};
  r.cand[0].addr = addr("127.0.0.1:4001");
  feed(0, &i, &r, NULL);
  aq_ctl m = {.type = AQ_CTL_REQUEST, .request = 1, .peer = t.peer};
  feed(0, &i, &m, &t);
  assert_int_equal(out[0].m.cand_count, 2);
}

static void errors_are_typed(void **state) {
  (void)state;
  is_error(ask(0, 1, 2, 7), AQ_CTL_ERR_NOT_ALLOWED, 7); /* not registered */
  join(1);
  is_error(ask(0, 1, 2, 8), AQ_CTL_ERR_UNKNOWN_TARGET, 8);
  is_error(ask(0, 1, 1, 9), AQ_CTL_ERR_NOT_ALLOWED, 9); /* itself */
  assert_int_equal(S.coordinator_refused, 3);
  assert_int_equal(S.coordinator_requests, 3);
  join(2);
  aq_coord_peer i = peer(1), t = peer(2);
  t.conn = 4711; /* not where T is registered */
  aq_ctl m = {.type = AQ_CTL_REQUEST, .request = 10, .peer = t.peer};
  is_error(feed(0, &i, &m, &t), AQ_CTL_ERR_UNKNOWN_TARGET, 10);
}

static void one_pair_may_ask_three_times_then_once_a_second(void **state) {
  (void)state;
  join(1);
  join(2);
  join(3);
  for (uint64_t k = 1; k <= 3; k++) {
    assert_int_equal(ask(0, 1, 2, k), 2);
  }
  is_error(ask(0, 1, 2, 4), AQ_CTL_ERR_RATE_LIMITED, 4);
  assert_in_range(out[0].m.retry_after_ms, 1, 1000);
  assert_int_equal(S.limit_coordinator_rate, 1);
  assert_int_equal(ask(0, 1, 3, 5), 2); /* another pair */
  is_error(ask(999 * AQ_MS, 1, 2, 6), AQ_CTL_ERR_RATE_LIMITED, 6);
  assert_int_equal(ask(1001 * AQ_MS, 1, 2, 7), 2);
  is_error(ask(1002 * AQ_MS, 1, 2, 8), AQ_CTL_ERR_RATE_LIMITED, 8);
}

/* And 64 at once: a repair of each of its connections. */
static void one_asker_may_ask_ten_times_a_second(void **state) {
  (void)state;
  for (uint8_t n = 1; n < 60; n++) {
    join(n);
  }
  size_t good = 0;
  for (uint64_t k = 0; k < 2000; k++) { /* in two seconds */
    size_t n = ask(k * AQ_MS, 1, (uint8_t)(2 + (k + k / 100) % 50), k + 1);
    good += n == 2;
  }
  assert_in_range(good, 79, 85);
  /* Somebody else's flood costs nobody anything. */
  assert_int_equal(ask(2 * AQ_S, 55, 56, 1), 2);
}

static void a_request_that_comes_twice_is_answered_the_same(void **state) {
  (void)state;
  join(1);
  join(2);
  assert_int_equal(ask(0, 1, 2, 5), 2);
  aq_ctl first = out[1].m;
  assert_int_equal(ask(AQ_MS, 1, 2, 5), 1);
  assert_int_equal(out[0].m.type, AQ_CTL_ANSWER);
  assert_memory_equal(out[0].m.key, first.key, sizeof(first.key));
  assert_memory_equal(out[0].m.session, first.session, sizeof(first.session));
  assert_int_equal(S.coordinator_offers, 1);
  /* After its expiry it is a new one. */
  assert_int_equal(ask(11 * AQ_S, 1, 2, 5), 2);
}

static void crossing_requests_end_on_the_smaller_ones_attempt(void **state) {
  (void)state;
  join(1);
  join(2);
  /* The smaller first: the larger gets the offer again. */
  assert_int_equal(ask(0, 1, 2, 1), 2);
  aq_ctl offer = out[0].m;
  assert_int_equal(ask(AQ_S, 2, 1, 1), 1);
  assert_int_equal(out[0].m.type, AQ_CTL_OFFER);
  assert_int_equal(out[0].conn, 102);
  assert_memory_equal(out[0].m.session, offer.session, sizeof(offer.session));
  assert_memory_equal(out[0].m.key, offer.key, sizeof(offer.key));
  assert_int_equal(aq_peer_id_compare(&out[0].m.peer, &offer.peer), 0);
  /* The larger first: the smaller's own replaces it. */
  assert_int_equal(ask(10 * AQ_S, 2, 1, 2), 2);
  aq_ctl old = out[0].m;
  assert_int_equal(ask(10500 * AQ_MS, 1, 2, 2), 2);
  assert_int_equal(out[0].conn, 102);
  assert_memory_not_equal(out[0].m.key, old.key, sizeof(old.key));
  aq_coord_peer one = peer(1);
  aq_ctl veto = {.type = AQ_CTL_VETO, .error = AQ_CTL_ERR_REFUSED};
  memcpy(veto.session, old.session, sizeof(old.session));
  assert_int_equal(feed(10501 * AQ_MS, &one, &veto, NULL), 0); /* is gone */
  /* Two seconds later it is no crossing. */
  assert_int_equal(ask(30 * AQ_S, 1, 2, 3), 2);
  assert_int_equal(ask(32 * AQ_S, 2, 1, 3), 2);
}

/* What was made or repaired a moment ago is no attempt any more. */
static void a_repair_crosses_little(void **state) {
  (void)state;
  join(1);
  join(2);
  assert_int_equal(ask(0, 1, 2, 1), 2);
  assert_int_equal(ask_for(AQ_MS, 2, 1, 1, AQ_PLAN_REPAIR), 2);
  assert_int_equal(ask_for(10 * AQ_S, 1, 2, 2, AQ_PLAN_REPAIR), 2);
  assert_int_equal(ask_for(10050 * AQ_MS, 2, 1, 2, AQ_PLAN_REPAIR), 1);
  assert_int_equal(ask_for(10500 * AQ_MS, 2, 1, 3, AQ_PLAN_REPAIR), 2);
}

static void a_veto_reaches_the_asker_and_only_from_the_target(void **state) {
  (void)state;
  join(1);
  join(2);
  join(3);
  assert_int_equal(ask(0, 1, 2, 77), 2);
  aq_ctl veto = {.type = AQ_CTL_VETO, .error = AQ_CTL_ERR_REFUSED};
  memcpy(veto.session, out[0].m.session, sizeof(veto.session));
  aq_coord_peer stranger = peer(3), asker = peer(1), target = peer(2);
  assert_int_equal(feed(1, &stranger, &veto, NULL), 0);
  assert_int_equal(feed(1, &asker, &veto, NULL), 0);
  veto.session[7] ^= 1;
  assert_int_equal(feed(1, &target, &veto, NULL), 0);
  veto.session[7] ^= 1;
  is_error(feed(1, &target, &veto, NULL), AQ_CTL_ERR_REFUSED, 77);
  assert_int_equal(out[0].conn, asker.conn);
  assert_int_equal(feed(2, &target, &veto, NULL), 0); /* once */
  /* Any error code that a target invents is a refusal. */
  assert_int_equal(ask(AQ_S, 1, 2, 78), 2);
  memcpy(veto.session, out[0].m.session, sizeof(veto.session));
  veto.error = AQ_CTL_ERR_UNKNOWN_TARGET;
  is_error(feed(AQ_S, &target, &veto, NULL), AQ_CTL_ERR_REFUSED, 78);
  assert_int_equal(ask(2 * AQ_S, 1, 2, 79), 2);
  memcpy(veto.session, out[0].m.session, sizeof(veto.session));
  veto.error = AQ_CTL_ERR_NO_CONNECTION;
  is_error(feed(2 * AQ_S, &target, &veto, NULL), AQ_CTL_ERR_NO_CONNECTION, 79);
}

static void a_cancel_reaches_the_target(void **state) {
  (void)state;
  join(1);
  join(2);
  aq_coord_peer asker = peer(1), target = peer(2);
  assert_int_equal(ask(0, 1, 2, 5), 2);
  uint8_t session[AQ_CTL_SESSION_LEN];
  memcpy(session, out[0].m.session, sizeof(session));
  /* By request alone, as the asker may not have the answer yet. */
  aq_ctl m = {.type = AQ_CTL_CANCEL, .request = 5};
  assert_int_equal(feed(1, &target, &m, NULL), 0);
  assert_int_equal(feed(1, &asker, &m, NULL), 1);
  assert_int_equal(out[0].conn, target.conn);
  assert_int_equal(out[0].m.type, AQ_CTL_CANCEL);
  assert_memory_equal(out[0].m.session, session, sizeof(session));
  assert_int_equal(feed(1, &asker, &m, NULL), 0);
  /* By session. */
  assert_int_equal(ask(AQ_S, 1, 2, 6), 2);
  m.request = 0;
  memcpy(m.session, out[0].m.session, sizeof(session));
  assert_int_equal(feed(AQ_S, &asker, &m, NULL), 1);
}

static void messages_of_a_coordinator_are_ignored(void **state) {
  (void)state;
  join(1);
  aq_coord_peer p = peer(1);
  static const uint64_t types[] = {AQ_CTL_REGISTERED, AQ_CTL_ANSWER,
                                   AQ_CTL_OFFER,      AQ_CTL_ERROR,
                                   AQ_CTL_ACCEPTED,   99};
  for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
    aq_ctl m = {.type = types[k]};
    assert_int_equal(feed(0, &p, &m, NULL), 0);
  }
}

/* ---- memory
 * -------------------------------------------------------------------- */

static int allocations_left;
static size_t blocks;

static void *failing_realloc(void *user, void *ptr, size_t size) {
  (void)user;
  if (size == 0) {
    blocks -= ptr != NULL;
    free(ptr);
    return NULL;
  }
  if (allocations_left-- <= 0) {
    return NULL;
  }
  blocks += ptr == NULL;
  return realloc(ptr, size);
}

static void without_memory_it_says_overloaded(void **state) {
  (void)state;
  aq_env env = {.realloc = failing_realloc};
  int whole = 0, answers = 0, refusals = 0;
  for (int n = 0; n < 20; n++) {
    aq_coord *c;
    allocations_left = n;
    blocks = 0;
    if (aq_coord_new(&c, &P, &env) == 0) {
      uint8_t random[RANDOM_LEN] = {1};
      for (uint8_t k = 1; k <= 3; k++) {
        aq_coord_peer p = peer(k);
        aq_ctl m = {.type = AQ_CTL_REGISTER};
        assert_int_equal(aq_coord_handle(c, 0, &p, &m, NULL, random, out, &S),
                         1);
        int there = aq_coord_lookup(c, &p.peer) != 0;
        assert_int_equal(there, out[0].m.type == AQ_CTL_REGISTERED);
        whole += there;
      }
      aq_coord_peer asker = peer(1), target = peer(2);
      if (aq_coord_lookup(c, &asker.peer) && aq_coord_lookup(c, &target.peer)) {
        aq_ctl m = {.type = AQ_CTL_REQUEST, .request = 7, .peer = target.peer};
        size_t count =
            aq_coord_handle(c, 0, &asker, &m, &target, random, out, &S);
        answers += count == 2;
        refusals += count == 1 && out[0].m.error == AQ_CTL_ERR_OVERLOADED;
      }
      aq_coord_del(c);
    } else {
      assert_null(c);
    }
    assert_int_equal(blocks, 0);
  }
  assert_true(whole > 10);
  assert_true(answers > 5 && refusals >= 2); /* either of two tables */
}

static void bad_limits_are_refused(void **state) {
  (void)state;
  aq_coord *c;
  aq_coord_params p = P;
  p.per_pair_rate = 0;
  assert_int_equal(aq_coord_new(&c, &p, NULL), AQ_ERR_INVAL);
  aq_coord_del(NULL);
}

static void a_churn_of_peers_leaves_nothing(void **state) {
  (void)state;
  uint32_t rng = 1;
  for (int k = 0; k < 200000; k++) {
    rng = rng * 1664525u + 1013904223u;
    uint8_t n = (uint8_t)(1 + (rng >> 8) % 40);
    uint8_t other = (uint8_t)(1 + (rng >> 16) % 40);
    switch (rng >> 28) {
    case 0:
      aq_coord_forget(C, 100u + n);
      break;
    case 1:
    case 2:
      join(n);
      break;
    default: {
      size_t m = ask((aq_tstamp)k * 10 * AQ_MS, n, other, (uint64_t)k);
      assert_in_range(m, 1, 2);
    }
    }
    assert_true(aq_coord_count(C) <= 40);
  }
  for (uint8_t n = 1; n <= 40; n++) {
    aq_coord_forget(C, 100u + n);
  }
  assert_int_equal(aq_coord_count(C), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_registration_is_told_its_address),
      TEST(a_newer_connection_replaces_the_older),
      TEST(registrations_are_bounded),
      TEST(a_request_gives_an_offer_and_an_answer),
      TEST(claimed_candidates_are_checked_and_bounded),
      TEST(loopback_is_for_those_on_loopback),
      TEST(errors_are_typed),
      TEST(one_pair_may_ask_three_times_then_once_a_second),
      TEST(one_asker_may_ask_ten_times_a_second),
      TEST(a_request_that_comes_twice_is_answered_the_same),
      TEST(crossing_requests_end_on_the_smaller_ones_attempt),
      TEST(a_repair_crosses_little),
      TEST(a_veto_reaches_the_asker_and_only_from_the_target),
      TEST(a_cancel_reaches_the_target),
      TEST(messages_of_a_coordinator_are_ignored),
      TEST(without_memory_it_says_overloaded),
      TEST(bad_limits_are_refused),
      TEST(a_churn_of_peers_leaves_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
