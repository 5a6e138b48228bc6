/* test_trav.c - one session alone: phases, steps, limits, what it refuses.
 * With AQ_WRITE_DOCS set it writes the diagram into docs/session.md.
 *
 * SPDX-License-Identifier: MIT */
#include "support/alone.h"

#include "proto/guard.h"

/* ---- the table
 * --------------------------------------------------------------- */

static void every_phase_can_be_reached_and_left(void **state) {
  (void)state;
  size_t n;
  const aq_trav_rule *r = aq_trav_rules(&n);
  int in[AQ_PHASE__COUNT] = {0}, out[AQ_PHASE__COUNT] = {0};
  for (size_t i = 0; i < n; i++) {
    assert_int_not_equal(r[i].from, r[i].to);
    assert_true(strlen(r[i].when) > 0);
    in[r[i].to]++;
    out[r[i].from]++;
    for (size_t k = 0; k < i; k++) {
      assert_false(r[k].from == r[i].from && r[k].to == r[i].to);
    }
  }
  for (int phase = 0; phase < AQ_PHASE__COUNT; phase++) {
    int end = phase == AQ_PHASE_CONNECTED || phase == AQ_PHASE_FAILED;
    assert_int_equal(out[phase] == 0, end);
    assert_int_equal(in[phase] == 0, phase == AQ_PHASE_IDLE);
  }
}

static void make_diagram(char *out, size_t cap) {
  size_t n, at;
  const aq_trav_rule *r = aq_trav_rules(&n);
  at = (size_t)snprintf(out, cap,
                        "```mermaid\nstateDiagram-v2\n  [*] --> idle\n");
  for (size_t i = 0; i < n; i++) {
    at += (size_t)snprintf(out + at, cap - at, "  %s --> %s: %s\n",
                           aq_phase_name(r[i].from), aq_phase_name(r[i].to),
                           r[i].when);
  }
  snprintf(out + at, cap - at, "  connected --> [*]\n  failed --> [*]\n```\n");
}

static void the_diagram_in_the_docs_is_the_table(void **state) {
  (void)state;
  static char diagram[8192], text[65536], fresh[65536];
  make_diagram(diagram, sizeof(diagram));
  const char *path = ANTQUIC_SOURCE_DIR "/docs/session.md";
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  size_t n = fread(text, 1, sizeof(text) - 1, f);
  fclose(f);
  text[n] = 0;
  char *start = strstr(text, "```mermaid\n");
  char *end = start ? strstr(start + 3, "```\n") : NULL;
  assert_non_null(end);
  if (getenv("AQ_WRITE_DOCS")) {
    snprintf(fresh, sizeof(fresh), "%.*s%s%s", (int)(start - text), text,
             diagram, end + 4);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(fresh, f);
    fclose(f);
    return;
  }
  end[4] = 0;
  assert_string_equal(start, diagram);
}

/* ---- steps
 * ---------------------------------------------------------------------- */

static void nothing_happens_before_a_step(void **state) {
  (void)state;
  aq_trav_init(&T, 0, &P);
  alone_drain(0);
  assert_int_equal(nactions, 0);
  assert_int_equal(nevents, 0);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_IDLE);
  assert_int_equal(aq_trav_next_timeout(&T), 60 * AQ_S);
  assert_null(aq_trav_session(&T, 0));
  assert_int_equal(aq_trav_step_punch(&T, 0, NULL), AQ_ERR_INVAL);
}

static void one_step_at_a_time(void **state) {
  (void)state;
  aq_dial_step d = {.count = 1};
  d.addrs[0] = util_addr("20.0.0.2:5000");
  aq_trav_init(&T, 0, &P);
  assert_int_equal(aq_trav_step_dial(&T, 0, &d), 0);
  assert_int_equal(aq_trav_step_dial(&T, 0, &d), AQ_ERR_INVAL);
  assert_int_equal(alone_coordinate(0, 0, 0), AQ_ERR_INVAL);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_DISCOVERY);
  alone_drain(0);
  uint32_t dial = alone_action(AQ_TRAV_DIAL)->dial;
  aq_trav_handle_dial(&T, AQ_MS, dial, AQ_ERR_WRONG_KEY, 0);
  alone_drain(AQ_MS);
  alone_step_ended(0, AQ_ERR_WRONG_KEY);
  assert_int_equal(alone_coordinate(AQ_MS, 0, 0), 0);
}

static void a_dial_step_spaces_and_clamps(void **state) {
  (void)state;
  aq_dial_step d = {.count = 99, .spacing = 9 * AQ_S, .timeout = 2 * AQ_S};
  for (int i = 0; i < 8; i++) {
    d.addrs[i] = util_addr("20.0.0.2:5000");
    d.addrs[i].port = (uint16_t)(5000 + i);
  }
  aq_trav_init(&T, 0, &P);
  assert_int_equal(aq_trav_step_dial(&T, 0, &d), 0);
  size_t dials = 0;
  for (aq_tstamp now = 0; now <= 2 * AQ_S - 1; now += 250 * AQ_MS) {
    aq_trav_handle_timeout(&T, now);
    alone_drain(now);
    dials += alone_count(AQ_TRAV_DIAL);
    assert_int_equal(dials, now / (250 * AQ_MS) + 1);
  }
  aq_trav_handle_timeout(&T, 2 * AQ_S);
  alone_drain(2 * AQ_S);
  assert_int_equal(alone_count(AQ_TRAV_HANGUP), 8);
  alone_step_ended(0, AQ_ERR_UNREACHABLE);
}

/* Happy eyeballs: the families take turns. */
static void a_dial_step_races_both_families(void **state) {
  (void)state;
  static const char *const given[] = {"20.0.0.2:1", "20.0.0.2:2", "20.0.0.2:3",
                                      "[2a00::1]:4", "[2a00::1]:5"};
  static const uint16_t want[] = {1, 4, 2, 5, 3};
  aq_dial_step d = {.count = 5, .spacing = 250 * AQ_MS, .timeout = 5 * AQ_S};
  for (int i = 0; i < 5; i++) {
    d.addrs[i] = util_addr(given[i]);
  }
  P.nsock = 2;
  P.sock[1].index = 1;
  P.sock[1].bound = util_addr("[::]:4000");
  aq_trav_init(&T, 0, &P);
  assert_int_equal(aq_trav_step_dial(&T, 0, &d), 0);
  for (int i = 0; i < 5; i++) {
    aq_tstamp now = (aq_tstamp)i * 250 * AQ_MS;
    aq_trav_handle_timeout(&T, now);
    alone_drain(now);
    assert_int_equal(alone_action(AQ_TRAV_DIAL)->addr.port, want[i]);
  }
}

static void a_coordinate_step_ends_with_the_answer(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_coordinated(5 * AQ_MS, &m);
  alone_drain(5 * AQ_MS);
  alone_step_ended(1, AQ_OK);
  assert_non_null(alone_event(AQ_EVENT_COORDINATION_REQUESTED));
  assert_true(aq_addr_equal(&alone_event(AQ_EVENT_COORDINATION_REQUESTED)->addr,
                            &COORDINATOR));
  aq_step_record step;
  assert_int_equal(aq_trav_get_steps(&T, &step, 1), 1);
  assert_true(aq_addr_equal(&step.addr, &COORDINATOR));
  assert_int_equal(alone_event(AQ_EVENT_COORDINATION_SYNCHRONIZED)->value, 1);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_SYNCHRONIZATION);
  assert_memory_equal(alone_key(), m.key, sizeof(m.key));
  /* It waits for the caller, with no deadline but the session's. */
  assert_int_equal(aq_trav_next_timeout(&T), 60 * AQ_S + 5 * AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_PUNCH), 0);
}

static void an_answer_to_something_else_is_ignored(void **state) {
  (void)state;
  aq_trav_init(&T, 0, &P);
  alone_coordinate(0, 7, 0);
  alone_requested(0, 7, 1);
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  m.request = 2;
  aq_trav_handle_answer(&T, 0, 7, &m);
  m.request = 1;
  m.peer.bytes[31] ^= 1;
  aq_trav_handle_answer(&T, 0, 7, &m);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_COORDINATION);
  assert_null(aq_trav_session(&T, 0));
}

static void a_punch_step_can_be_tried_again(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_punching(0, &m);
  aq_tstamp now = 0;
  size_t probes = 0, openers = 0;
  while (T.step == AQ_TRAV_STEP_PUNCH) {
    now = aq_trav_next_timeout(&T);
    aq_trav_handle_timeout(&T, now);
    alone_drain(now);
    for (size_t i = 0; i < nactions; i++) {
      probes += actions[i].kind == AQ_TRAV_PUNCH &&
                actions[i].punch.type == AQ_PUNCH_PROBE;
      openers += actions[i].kind == AQ_TRAV_PUNCH && actions[i].ttl == 2;
    }
  }
  alone_step_ended(2, AQ_ERR_PUNCHING_FAILED);
  const aq_event *moved = alone_event(AQ_EVENT_PHASE_TRANSITION);
  assert_non_null(moved);
  assert_int_equal(moved->reason, AQ_REASON_NETWORK_ERROR);
  assert_true(strlen(moved->text) > 0);
  assert_int_equal(probes, 6);
  assert_int_equal(openers, 1);
  assert_in_range(now, 3 * AQ_S, 4 * AQ_S);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_SYNCHRONIZATION);
  assert_int_equal(aq_trav_step_punch(&T, now, NULL), 0);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_PUNCHING);
  aq_trav_finish(&T, now, AQ_ERR_TRAVERSAL_FAILED);
  alone_drain(now);
  assert_int_equal(alone_action(AQ_TRAV_DONE)->error, AQ_ERR_TRAVERSAL_FAILED);
  assert_int_equal(alone_count(AQ_TRAV_CANCEL), 1);
  assert_int_equal(alone_event(AQ_EVENT_TRAVERSAL_FAILED)->error,
                   AQ_ERR_TRAVERSAL_FAILED);
  assert_int_equal(aq_trav_next_timeout(&T), AQ_NEVER);
}

static void a_veto_between_the_steps_is_told_by_the_next(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_coordinated(0, &m);
  aq_trav_handle_error(&T, 1, 7, 1, AQ_ERR_REFUSED, 0);
  alone_drain(1);
  aq_step_record r[AQ_MAX_STEPS];
  size_t n = aq_trav_get_steps(&T, r, AQ_MAX_STEPS);
  assert_true(n > 0 && r[n - 1].error == AQ_ERR_REFUSED);
  assert_int_equal(aq_trav_step_punch(&T, 2, NULL), 0);
  alone_drain(2);
  alone_step_ended(2, AQ_ERR_REFUSED);
  assert_int_equal(aq_trav_step_punch(&T, 3, NULL), AQ_ERR_INVAL);
}

static void a_request_that_times_out_is_cancelled(void **state) {
  (void)state;
  aq_trav_init(&T, 0, &P);
  alone_coordinate(0, 7, 200 * AQ_MS);
  alone_drain(0);
  alone_requested(0, 7, 1);
  aq_trav_handle_timeout(&T, 200 * AQ_MS);
  alone_drain(200 * AQ_MS);
  alone_step_ended(1, AQ_ERR_TIMEOUT);
  assert_int_equal(alone_count(AQ_TRAV_CANCEL), 1);
  alone_coordinate(200 * AQ_MS, 7, 200 * AQ_MS);
  /* One that nobody polled is taken back: there is nothing to cancel. */
  aq_trav_handle_timeout(&T, AQ_S);
  alone_drain(AQ_S);
  assert_int_equal(nactions, 0);
}

/* ---- whom it sends what
 * -------------------------------------------------------- */

static void only_the_verified_address_is_dialed_unasked(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_add(&m, "9.9.9.9:53000");
  alone_add(&m, "8.8.8.8:443");
  m.cand[m.cand_count++] = m.cand[0]; /* and again */
  m.cand[3].addr = util_addr("20.0.0.3:5000");
  alone_punching(0, &m);
  for (aq_tstamp now = 0; !aq_trav_is_over(&T) && now < 4 * AQ_S;
       now = aq_trav_next_timeout(&T)) {
    aq_trav_handle_timeout(&T, now);
    alone_drain(now);
    for (size_t i = 0; i < nactions; i++) {
      if (actions[i].kind == AQ_TRAV_DIAL) {
        aq_addr a = util_addr("20.0.0.2:5000");
        assert_true(aq_addr_equal(&actions[i].addr, &a));
        /* A third of half the way over the coordinator and 33 ms. */
        assert_int_equal(actions[i].rtt, (25 + 33) * AQ_MS / 3);
        assert_int_equal(actions[i].verified, 1);
      }
    }
  }
  assert_int_equal(T.initials_sent, 1);
}

static void what_is_only_claimed_is_never_dialed_unasked(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  m.cand[0].verified = 0;
  alone_coordinated(0, &m);
  /* Announced by the peer as verified, before the punching starts. */
  aq_candidate c = {.addr = util_addr("50.0.0.1:5000"), .verified = 1};
  aq_trav_handle_candidate(&T, 0, &c);
  assert_int_equal(aq_trav_step_punch(&T, 0, NULL), 0);
  assert_int_equal(T.npair, 2);
  for (aq_tstamp now = 0; now < 4 * AQ_S; now += 5 * AQ_MS) {
    aq_trav_handle_timeout(&T, now);
    alone_drain(now);
    assert_int_equal(alone_count(AQ_TRAV_DIAL), 0);
  }
  assert_true(T.punches_sent >= 14);
}

static void forbidden_targets_get_nothing(void **state) {
  (void)state;
  static const char *const bad[] = {
      "127.0.0.1:5000",   "10.1.2.3:5000",      "192.168.1.1:5000",
      "169.254.1.1:5000", "224.0.0.1:5000",     "255.255.255.255:5000",
      "0.0.0.0:5000",     "100.64.0.1:5000",    "198.18.0.1:5000",
      "240.0.0.1:5000",   "9.9.9.9:0",          "[fe80::1]:5000",
      "[::1]:5000",       "[2001:db8::1]:5000", "[ff02::1]:5000"};
  P.nsock = 2;
  P.sock[1].index = 1;
  P.sock[1].bound = util_addr("[::]:4000");
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    alone_add(&m, bad[i]);
  }
  alone_punching(0, &m);
  assert_int_equal(T.npair, 1);
  P.allow_private = P.allow_loopback = P.allow_reserved = 1;
  alone_punching(0, &m);
  /* + loopback x 2, private x 2, shared, benchmark and documentation. */
  assert_int_equal(T.npair, 8);
}

static void one_address_for_both_means_one_nat(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  m.observed = util_addr("20.0.0.2:6000");
  alone_add(&m, "192.168.1.7:5000");
  alone_punching(0, &m);
  assert_int_equal(T.same_nat, 1);
  assert_int_equal(T.npair, 2);
  alone_drain(0);
  /* The host candidate at once, without an opener. */
  aq_addr host = util_addr("192.168.1.7:5000");
  size_t probes = 0;
  for (size_t i = 0; i < nactions; i++) {
    if (aq_addr_equal(&actions[i].addr, &host)) {
      assert_int_equal(actions[i].kind, AQ_TRAV_PUNCH);
      assert_int_equal(actions[i].ttl, 0);
      probes++;
    }
  }
  assert_int_equal(probes, 1);
}

static void the_callers_order_goes_first(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_add(&m, "9.9.9.9:53000");
  alone_add(&m, "8.8.8.8:44300");
  alone_coordinated(0, &m);
  aq_punch_step s;
  aq_punch_step_init(&s);
  s.count = 2;
  s.order[0] = util_addr("8.8.8.8:44300");
  s.order[1] = util_addr("7.7.7.7:1"); /* nobody's */
  assert_int_equal(aq_trav_step_punch(&T, 0, &s), 0);
  assert_int_equal(T.npair, 3);
  assert_true(aq_addr_equal(&T.pair[0].remote, &s.order[0]));
  assert_int_equal(T.pair[1].verified, 1);
}

static void the_schedule_is_clamped_and_covers_three_seconds(void **state) {
  (void)state;
  aq_punch_step s;
  aq_punch_step_init(&s);
  aq_duration sum = 0;
  static const int at[] = {0, 20, 40, 140, 640, 3140};
  for (uint32_t k = 0; k < 6; k++) {
    assert_int_equal(sum, (aq_duration)at[k] * AQ_MS);
    sum += aq_trav_gap(&s, k);
  }
  memset(&s, 0xff, sizeof(s));
  aq_trav_clamp_punch(&s);
  assert_int_equal(s.rounds, 16);
  assert_int_equal(s.spacing, AQ_S);
  assert_int_equal(s.openers, 2);
  assert_int_equal(s.opener_ttl, 8);
  assert_int_equal(s.opener_lead, 50 * AQ_MS);
  assert_int_equal(s.count, AQ_MAX_CANDIDATES);
  memset(&s, 0, sizeof(s));
  aq_trav_clamp_punch(&s);
  assert_int_equal(s.rounds, 1);
  assert_int_equal(s.spacing, 10 * AQ_MS);
  assert_int_equal(s.opener_ttl, 1);
}

/* ---- punches
 * --------------------------------------------------------------------- */

static void a_probe_is_answered_dialed_and_followed(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_punching(0, &m);
  aq_trav_handle_timeout(&T, 5 * AQ_MS);
  alone_drain(5 * AQ_MS);
  aq_addr from = util_addr("20.0.0.2:777");
  aq_punch p = alone_punch(AQ_PUNCH_PROBE, 1, 1234);
  aq_trav_handle_punch(&T, 30 * AQ_MS, 0, &from, &p);
  alone_drain(30 * AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_PUNCH)->punch.type, AQ_PUNCH_ANSWER);
  assert_int_equal(alone_action(AQ_TRAV_PUNCH)->punch.echo, 1234);
  assert_true(aq_addr_equal(&alone_action(AQ_TRAV_PUNCH)->addr, &from));
  assert_true(aq_addr_equal(&alone_action(AQ_TRAV_DIAL)->addr, &from));
  assert_int_equal(alone_event(AQ_EVENT_CANDIDATE_DISCOVERED)->cand.source,
                   AQ_SOURCE_PEER);
  assert_non_null(alone_event(AQ_EVENT_CANDIDATE_VALIDATED));
  assert_int_equal(alone_event(AQ_EVENT_CANDIDATE_VALIDATED)->cand.source,
                   AQ_SOURCE_PEER);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_VALIDATION);
  /* At least three more probes on that pair. */
  size_t probes = 0;
  for (aq_tstamp now = 30 * AQ_MS; now < 200 * AQ_MS; now += AQ_MS) {
    aq_trav_handle_timeout(&T, now);
    alone_drain(now);
    for (size_t i = 0; i < nactions; i++) {
      probes += actions[i].kind == AQ_TRAV_PUNCH &&
                aq_addr_equal(&actions[i].addr, &from);
    }
  }
  assert_true(probes >= 3);
}

static void what_is_not_of_the_peer_is_not_heard(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_punching(0, &m);
  alone_drain(0);
  aq_addr from = util_addr("20.0.0.2:777");
  aq_punch p = alone_punch(AQ_PUNCH_PROBE, 5, 1);
  p.flags ^= AQ_PUNCH_FLAG_INITIATOR; /* ours, reflected */
  aq_trav_handle_punch(&T, 1, 0, &from, &p);
  p = alone_punch(AQ_PUNCH_PROBE, 5, 1);
  p.session[0] ^= 1;
  aq_trav_handle_punch(&T, 1, 0, &from, &p);
  p = alone_punch(AQ_PUNCH_ANSWER, 5, 99); /* to no probe of ours */
  aq_trav_handle_punch(&T, 1, 0, &from, &p);
  alone_drain(1);
  assert_int_equal(nactions, 0);
  assert_int_equal(T.punches_received, 0);
  /* A replay, from wherever. */
  p = alone_punch(AQ_PUNCH_PROBE, 6, 1);
  aq_trav_handle_punch(&T, 1, 0, &from, &p);
  aq_addr victim = util_addr("9.9.9.9:9999");
  aq_trav_handle_punch(&T, 1, 0, &victim, &p);
  p.seq = 3; /* late, but new */
  aq_trav_handle_punch(&T, 1, 0, &from, &p);
  aq_trav_handle_punch(&T, 1, 0, &victim, &p);
  alone_drain(1);
  assert_int_equal(T.punches_received, 2);
  assert_int_equal(T.replays, 2);
  for (size_t i = 0; i < nactions; i++) {
    assert_false(aq_addr_equal(&actions[i].addr, &victim));
  }
}

static void an_answer_measures_the_way(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_punching(0, &m);
  aq_trav_handle_timeout(&T, 5 * AQ_MS);
  alone_drain(5 * AQ_MS);
  uint64_t echo = 0;
  for (size_t i = 0; i < nactions; i++) {
    if (actions[i].kind == AQ_TRAV_PUNCH &&
        actions[i].punch.type == AQ_PUNCH_PROBE) {
      echo = actions[i].punch.echo;
    }
  }
  aq_punch p = alone_punch(AQ_PUNCH_ANSWER, 1, echo);
  aq_addr from = util_addr("20.0.0.2:5000");
  aq_trav_handle_punch(&T, 17 * AQ_MS, 0, &from, &p);
  alone_drain(17 * AQ_MS);
  assert_int_equal(alone_event(AQ_EVENT_CANDIDATE_VALIDATED)->duration,
                   12 * AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_PUNCH), 0); /* no answer to it */
  /* The same answer again says nothing. */
  p.seq = 2;
  aq_trav_handle_punch(&T, 18 * AQ_MS, 0, &from, &p);
  assert_int_equal(T.punches_received, 1);
}

static void dials_are_at_most_three_at_once_and_eight_in_all(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_punching(0, &m);
  uint32_t running[AQ_TRAV_MAX_DIALS] = {0};
  size_t nrunning = 0, total = 0;
  for (uint32_t k = 0; k < 40; k++) {
    aq_tstamp now = (k + 6) * AQ_MS;
    aq_addr from = util_addr("30.0.0.1:1000");
    from.port = (uint16_t)(1000 + k);
    aq_punch p = alone_punch(AQ_PUNCH_PROBE, k + 1, k + 1);
    aq_trav_handle_timeout(&T, now);
    aq_trav_handle_punch(&T, now, 0, &from, &p);
    alone_drain(now);
    for (size_t i = 0; i < nactions; i++) {
      if (actions[i].kind == AQ_TRAV_DIAL) {
        running[nrunning++] = actions[i].dial;
        total++;
      }
    }
    assert_true(nrunning <= 3);
    if (nrunning && k % 2) {
      aq_trav_handle_dial(&T, now, running[--nrunning], AQ_ERR_UNREACHABLE, 0);
      alone_drain(now);
      for (size_t i = 0; i < nactions; i++) {
        if (actions[i].kind == AQ_TRAV_DIAL) {
          running[nrunning++] = actions[i].dial;
          total++;
        }
      }
    }
  }
  assert_int_equal(total, AQ_TRAV_MAX_DIALS);
}

static void the_first_handshake_wins(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_punching(0, &m);
  aq_trav_handle_timeout(&T, 5 * AQ_MS);
  alone_drain(5 * AQ_MS);
  uint32_t first = alone_action(AQ_TRAV_DIAL)->dial;
  aq_addr from = util_addr("20.0.0.2:777");
  aq_punch p = alone_punch(AQ_PUNCH_PROBE, 1, 1234);
  aq_trav_handle_punch(&T, 30 * AQ_MS, 0, &from, &p);
  alone_drain(30 * AQ_MS);
  uint32_t second = alone_action(AQ_TRAV_DIAL)->dial;
  aq_trav_handle_dial(&T, 60 * AQ_MS, second, 0, 30 * AQ_MS);
  alone_drain(60 * AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_HANGUP), 1);
  assert_int_equal(alone_action(AQ_TRAV_HANGUP)->dial, first);
  assert_int_equal(alone_action(AQ_TRAV_DONE)->dial, second);
  assert_int_equal(actions[nactions - 1].kind, AQ_TRAV_DONE);
  alone_step_ended(2, AQ_OK);
  assert_int_equal(alone_event(AQ_EVENT_PATH_VALIDATED)->duration, 30 * AQ_MS);
  assert_int_equal(alone_event(AQ_EVENT_TRAVERSAL_SUCCEEDED)->duration,
                   60 * AQ_MS);
  const aq_event *e = alone_event(AQ_EVENT_SESSION_STATE_CHANGED);
  assert_int_equal(e->to, AQ_STATE_CONNECTED);
  assert_int_equal(e->reason, AQ_REASON_CONNECTION_ESTABLISHED);
  assert_true(strlen(e->text) > 0);
  aq_step_record r[AQ_MAX_STEPS];
  size_t n = aq_trav_get_steps(&T, r, AQ_MAX_STEPS), won = 0;
  for (size_t i = 0; i < n; i++) {
    won += r[i].won && r[i].step == 0;
  }
  assert_int_equal(won, 1);
  /* And nothing any more. */
  aq_trav_handle_dial(&T, 61 * AQ_MS, first, 0, 1);
  aq_trav_handle_punch(&T, 61 * AQ_MS, 0, &from, &p);
  aq_trav_handle_timeout(&T, 100 * AQ_S);
  alone_drain(100 * AQ_S);
  assert_int_equal(nactions + nevents, 0);
}

static void forbidden_by_the_guard_is_left_alone(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_add(&m, "9.9.9.9:53");
  alone_punching(0, &m);
  aq_addr bad = util_addr("9.9.9.9:53");
  aq_trav_handle_timeout(&T, 5 * AQ_MS);
  alone_drain(5 * AQ_MS);
  aq_trav_handle_refused(&T, 5 * AQ_MS, 0, &bad, AQ_GUARD_FORBIDDEN);
  aq_trav_handle_timeout(&T, 5 * AQ_MS + T.rtt);
  alone_drain(5 * AQ_MS + T.rtt);
  for (size_t i = 0; i < nactions; i++) {
    assert_false(aq_addr_equal(&actions[i].addr, &bad));
  }
  assert_int_equal(alone_count(AQ_TRAV_PUNCH), 1);
  assert_int_equal(T.remote[1].state, AQ_CAND_FAILED);
  aq_step_record r[AQ_MAX_STEPS];
  aq_trav_get_steps(&T, r, AQ_MAX_STEPS);
  assert_int_equal(r[1].step, AQ_TRAV_STEP_PUNCH);
  assert_int_equal(r[1].refused, 1);
  assert_string_equal(r[1].limit, "punch_forbidden");
  assert_string_equal(aq_trav_pair_find(&T, 0, &bad)->limit, "punch_forbidden");
}

/* Of two sockets that reach it only the one that was refused stands back. */
static void a_refusal_is_of_one_socket(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  P.nsock = 2;
  P.sock[1].index = 1;
  P.sock[1].bound = util_addr("0.0.0.0:4001");
  alone_punching(0, &m);
  aq_trav_handle_timeout(&T, 5 * AQ_MS);
  alone_drain(5 * AQ_MS);
  const aq_addr *to = &m.cand[0].addr;
  uint32_t sent = aq_trav_pair_find(&T, 0, to)->sent;
  aq_trav_handle_refused(&T, 5 * AQ_MS, 1, to, AQ_GUARD_FORBIDDEN);
  assert_int_equal(aq_trav_pair_find(&T, 0, to)->state, AQ_PAIR_IN_PROGRESS);
  assert_int_equal(aq_trav_pair_find(&T, 0, to)->sent, sent);
  assert_int_equal(aq_trav_pair_find(&T, 1, to)->state, AQ_PAIR_FAILED);
}

static void candidates_tell_what_became_of_them(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  aq_addr good = m.cand[0].addr;
  alone_add(&m, "20.0.0.3:5000");
  alone_punching(0, &m);
  assert_int_equal(T.remote[0].state, AQ_CAND_NEW);
  aq_trav_handle_timeout(&T, 5 * AQ_MS);
  alone_drain(5 * AQ_MS);
  assert_int_equal(T.remote[0].state, AQ_CAND_VALIDATING);
  assert_int_equal(T.remote[1].state, AQ_CAND_VALIDATING);
  aq_punch p = alone_punch(AQ_PUNCH_PROBE, 1, 1234);
  aq_trav_handle_punch(&T, 30 * AQ_MS, 0, &good, &p);
  alone_drain(30 * AQ_MS);
  const aq_event *e = alone_event(AQ_EVENT_CANDIDATE_VALIDATED);
  assert_non_null(e);
  assert_true(aq_addr_equal(&e->cand.addr, &good));
  assert_int_equal(e->cand.source, AQ_SOURCE_OBSERVED);
  assert_int_equal(e->cand.state, AQ_CAND_VALID);
  assert_int_equal(e->cand.verified, 1);
  assert_int_equal(T.remote[0].state, AQ_CAND_VALID);
  assert_int_equal(T.remote[1].state, AQ_CAND_VALIDATING);
}

static aq_pair_state pair_state(const char *remote) {
  aq_pair_info v[8];
  aq_addr a = util_addr(remote);
  size_t n = aq_trav_get_pairs(&T, v, 8);
  for (size_t i = 0; i < n; i++) {
    if (aq_addr_equal(&v[i].remote, &a)) {
      return v[i].state;
    }
  }
  fail_msg("no pair with %s", remote);
  return AQ_PAIR__COUNT;
}

static void pairs_tell_what_became_of_them(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_add(&m, "9.9.9.9:53");
  alone_add(&m, "8.8.8.8:4000");
  alone_punching(0, &m);
  alone_drain(0);
  assert_int_equal(pair_state("20.0.0.2:5000"), AQ_PAIR_WAITING);
  aq_trav_handle_timeout(&T, 5 * AQ_MS);
  alone_drain(5 * AQ_MS);
  uint32_t dial = alone_action(AQ_TRAV_DIAL)->dial;
  assert_int_equal(pair_state("20.0.0.2:5000"), AQ_PAIR_IN_PROGRESS);
  aq_addr bad = util_addr("9.9.9.9:53");
  aq_trav_handle_refused(&T, 5 * AQ_MS, 0, &bad, AQ_GUARD_FORBIDDEN);
  assert_int_equal(pair_state("9.9.9.9:53"), AQ_PAIR_FAILED);
  aq_trav_handle_dial(&T, 30 * AQ_MS, dial, 0, 25 * AQ_MS);
  assert_int_equal(pair_state("20.0.0.2:5000"), AQ_PAIR_SUCCEEDED);
  assert_int_equal(pair_state("8.8.8.8:4000"), AQ_PAIR_CANCELLED);
  assert_int_equal(pair_state("9.9.9.9:53"), AQ_PAIR_FAILED);
}

/* ---- bounds
 * ------------------------------------------------------------------------ */

static void nobody_polls_and_the_end_is_still_told(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  for (int i = 0; i < 31; i++) {
    alone_add(&m, "30.0.0.1:1000");
    m.cand[m.cand_count - 1].addr.port = (uint16_t)(1000 + i);
  }
  P.strategy = AQ_STRATEGY_AUTO;
  aq_trav_init(&T, 0, &P);
  alone_requested(0, 7, 1);
  aq_trav_handle_answer(&T, 0, 7, &m);
  for (uint32_t k = 0; k < 500; k++) {
    aq_addr from = util_addr("40.0.0.1:1000");
    from.port = (uint16_t)(1000 + k);
    aq_punch p = alone_punch(AQ_PUNCH_PROBE, k + 1, k + 1);
    aq_trav_handle_punch(&T, k * AQ_MS, 0, &from, &p);
    aq_trav_handle_timeout(&T, k * AQ_MS);
  }
  assert_true(T.actions_lost > 0);
  aq_trav_finish(&T, AQ_S, AQ_ERR_CANCELLED);
  alone_drain(AQ_S);
  assert_int_equal(actions[nactions - 1].kind, AQ_TRAV_DONE);
  assert_int_equal(alone_count(AQ_TRAV_DIAL), 0);   /* never heard of, */
  assert_int_equal(alone_count(AQ_TRAV_HANGUP), 0); /* nothing to end */
  assert_non_null(alone_event(AQ_EVENT_TRAVERSAL_FAILED));
  assert_int_equal(T.npair, AQ_TRAV_MAX_PAIRS);
}

static void time_never_goes_back(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_punching(AQ_S, &m);
  aq_trav_handle_timeout(&T, AQ_S + 5 * AQ_MS);
  aq_tstamp next = aq_trav_next_timeout(&T);
  aq_trav_handle_timeout(&T, 0);
  assert_int_equal(aq_trav_next_timeout(&T), next);
}

/* ---- the target
 * ----------------------------------------------------------------------- */

static void a_target_waits_for_its_decision(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_OFFER, 9);
  P.strategy = AQ_STRATEGY_AUTO;
  aq_trav_init_target(&T, 0, &P, &m, 7, 1, 100 * AQ_MS);
  alone_drain(0);
  assert_int_equal(nactions, 0);
  aq_addr from = util_addr("20.0.0.2:5000");
  aq_punch p = alone_punch(AQ_PUNCH_PROBE, 1, 1);
  aq_trav_handle_punch(&T, 1, 0, &from, &p);
  alone_drain(1);
  assert_int_equal(nactions, 0); /* no consent, no answer */
  aq_trav_handle_timeout(&T, 100 * AQ_MS);
  alone_drain(100 * AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_PUNCH)->punch.type, AQ_PUNCH_OPENER);
  aq_trav_decide(&T, 101 * AQ_MS, 0); /* too late */
  assert_false(aq_trav_is_over(&T));
  for (aq_tstamp now = AQ_S; !aq_trav_is_over(&T); now += 10 * AQ_MS) {
    aq_trav_handle_timeout(&T, now);
    alone_drain(now);
    assert_int_equal(alone_count(AQ_TRAV_DIAL), 0);
  }
  assert_int_equal(alone_action(AQ_TRAV_DONE)->error, AQ_ERR_PUNCHING_FAILED);
  assert_int_equal(alone_count(AQ_TRAV_CANCEL), 0);
}

static void the_owner_sets_the_targets_schedule(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_OFFER, 9);
  aq_punch_step s;
  aq_punch_step_init(&s);
  s.openers = 2;
  s.opener_ttl = 4;
  aq_trav_init_target(&T, 0, &P, &m, 7, 0, AQ_NEVER);
  aq_trav_set_punch(&T, &s);
  alone_drain(0);
  assert_int_equal(nactions, 0);
  assert_int_equal(aq_trav_next_timeout(&T), 0);
  aq_trav_handle_timeout(&T, 0);
  alone_drain(0);
  assert_int_equal(nactions, 2);
  assert_int_equal(actions[0].ttl, 4);
  assert_int_equal(actions[1].ttl, 5);
}

static void an_offer_that_is_accepted_too_late_is_dead(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_OFFER, 9);
  aq_trav_init_target(&T, 0, &P, &m, 7, 1, AQ_NEVER);
  aq_trav_decide(&T, 10 * AQ_S, 1);
  alone_drain(10 * AQ_S);
  assert_int_equal(alone_action(AQ_TRAV_DONE)->error, AQ_ERR_EXPIRED);
}

static void the_initiator_gives_up(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_OFFER, 9);
  aq_trav_init_target(&T, 0, &P, &m, 7, 0, AQ_NEVER);
  aq_trav_handle_cancel(&T, AQ_MS, 7, m.session);
  alone_drain(AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_DONE)->error, AQ_ERR_CANCELLED);
}

/* The peer's attempt is undecided when our application asks for the peer: that
 * decides it, and when it comes to nothing ours follows. */
static void a_target_that_is_wanted_tries_itself(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_OFFER, 9);
  P.strategy = AQ_STRATEGY_AUTO;
  aq_trav_init_target(&T, 0, &P, &m, 7, 1, AQ_S);
  aq_trav_want(&T, AQ_MS, 20 * AQ_S);
  alone_drain(AQ_MS);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_PUNCHING);
  aq_trav_handle_cancel(&T, 2 * AQ_MS, 7, m.session);
  alone_drain(2 * AQ_MS);
  assert_false(aq_trav_is_over(&T));
  aq_trav_handle_timeout(&T, 2 * AQ_S);
  alone_drain(2 * AQ_S);
  assert_int_equal(alone_count(AQ_TRAV_REQUEST), 1);
  aq_trav_handle_timeout(&T, 20 * AQ_S + AQ_MS);
  assert_true(aq_trav_is_over(&T));
}

/* The peer agrees on a plain punch with a delay, then on new sockets: the first
 * agreement's start is not the second one's. */
static void a_plan_forgets_the_start_of_the_last(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_OFFER, 9);
  m.start_delay_us = 500000;
  aq_trav_init_target(&T, 0, &P, &m, 7, 0, AQ_NEVER);
  m = alone_message(AQ_CTL_OFFER, 8);
  m.plan = AQ_PLAN_FRESH;
  aq_trav_handle_offer(&T, AQ_MS, &m, 7);
  alone_drain(AQ_MS);
  assert_int_equal(alone_action(AQ_TRAV_OPEN)->count, 1);
  aq_ctl hint = {.type = AQ_CTL_HINT, .plan = AQ_PLAN_FRESH, .count = 1};
  memcpy(hint.session, m.session, sizeof(hint.session));
  hint.observed = util_addr("20.0.0.2:6000");
  aq_trav_handle_hint(&T, 2 * AQ_MS, 7, &hint);
  aq_trav_handle_timeout(&T, AQ_S);
  alone_drain(AQ_S);
  assert_int_equal(nactions, 0);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_SYNCHRONIZATION);
}

/* ---- crossing, by hand
 * ------------------------------------------------------------------ */

static void the_larger_id_becomes_the_target(void **state) {
  (void)state;
  memset(P.self.bytes, 3, 32);
  aq_ctl answer = alone_message(AQ_CTL_ANSWER, 9);
  alone_punching(0, &answer);
  aq_trav_handle_timeout(&T, 5 * AQ_MS);
  alone_drain(5 * AQ_MS);
  aq_ctl offer = alone_message(AQ_CTL_OFFER, 8);
  aq_trav_handle_offer(&T, 6 * AQ_MS, &offer, 7);
  alone_drain(6 * AQ_MS);
  assert_int_equal(alone_count(AQ_TRAV_HANGUP), 1);
  assert_int_equal(T.initiator, 0);
  assert_memory_equal(alone_key(), offer.key, sizeof(offer.key));
  assert_int_equal(T.step, AQ_TRAV_STEP_PUNCH); /* the caller's step goes on */
  uint32_t attempt = T.attempt;
  aq_trav_handle_offer(&T, 7 * AQ_MS, &offer, 7); /* twice: nothing */
  assert_int_equal(T.attempt, attempt);
  aq_addr remote = util_addr("20.0.0.2:5000");
  aq_trav_handle_connected(&T, 50 * AQ_MS, &remote, AQ_MS);
  alone_drain(50 * AQ_MS);
  alone_step_ended(2, AQ_OK);
  assert_int_equal(alone_action(AQ_TRAV_DONE)->dial, 0);
}

static void the_smaller_id_goes_on_but_opens_its_nat(void **state) {
  (void)state;
  aq_trav_init(&T, 0, &P);
  alone_coordinate(0, 7, 0);
  alone_drain(0);
  alone_requested(0, 7, 1);
  aq_ctl offer = alone_message(AQ_CTL_OFFER, 8);
  aq_trav_handle_offer(&T, AQ_MS, &offer, 7);
  alone_drain(AQ_MS);
  assert_int_equal(nactions, 1);
  assert_int_equal(actions[0].punch.type, AQ_PUNCH_OPENER);
  assert_int_equal(T.initiator, 1);
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_COORDINATION);
  aq_ctl answer = alone_message(AQ_CTL_ANSWER, 9);
  aq_trav_handle_answer(&T, 2 * AQ_MS, 7, &answer);
  assert_memory_equal(alone_key(), answer.key, sizeof(answer.key));
  assert_int_equal(aq_trav_phase(&T), AQ_PHASE_SYNCHRONIZATION);
}

static void candidates_come_and_go_while_it_works(void **state) {
  (void)state;
  aq_ctl m = alone_message(AQ_CTL_ANSWER, 9);
  alone_punching(0, &m);
  aq_trav_handle_timeout(&T, 5 * AQ_MS);
  alone_drain(5 * AQ_MS);
  aq_candidate c = {.addr = util_addr("50.0.0.1:5000"), .verified = 1};
  aq_trav_handle_candidate(&T, 6 * AQ_MS, &c);
  aq_trav_handle_timeout(&T, 30 * AQ_MS);
  alone_drain(30 * AQ_MS);
  size_t probes = 0;
  for (size_t i = 0; i < nactions; i++) {
    assert_int_not_equal(actions[i].kind, AQ_TRAV_DIAL); /* only claimed */
    probes += aq_addr_equal(&actions[i].addr, &c.addr);
  }
  assert_int_equal(probes, 1);
  c.state = AQ_CAND_REMOVED;
  aq_trav_handle_candidate(&T, 31 * AQ_MS, &c);
  aq_trav_handle_timeout(&T, 3 * AQ_S);
  alone_drain(3 * AQ_S);
  for (size_t i = 0; i < nactions; i++) {
    assert_false(aq_addr_equal(&actions[i].addr, &c.addr));
  }
  for (int i = 0; i < 100; i++) {
    c.state = AQ_CAND_NEW;
    c.addr.port++;
    aq_trav_handle_candidate(&T, 3 * AQ_S, &c);
  }
  assert_int_equal(T.nremote, AQ_MAX_CANDIDATES);
}

#define TEST(name) cmocka_unit_test_setup(name, alone_setup)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(every_phase_can_be_reached_and_left),
      TEST(the_diagram_in_the_docs_is_the_table),
      TEST(nothing_happens_before_a_step),
      TEST(one_step_at_a_time),
      TEST(a_dial_step_spaces_and_clamps),
      TEST(a_dial_step_races_both_families),
      TEST(a_coordinate_step_ends_with_the_answer),
      TEST(an_answer_to_something_else_is_ignored),
      TEST(a_punch_step_can_be_tried_again),
      TEST(a_veto_between_the_steps_is_told_by_the_next),
      TEST(a_request_that_times_out_is_cancelled),
      TEST(only_the_verified_address_is_dialed_unasked),
      TEST(what_is_only_claimed_is_never_dialed_unasked),
      TEST(forbidden_targets_get_nothing),
      TEST(one_address_for_both_means_one_nat),
      TEST(the_callers_order_goes_first),
      TEST(the_schedule_is_clamped_and_covers_three_seconds),
      TEST(a_probe_is_answered_dialed_and_followed),
      TEST(what_is_not_of_the_peer_is_not_heard),
      TEST(an_answer_measures_the_way),
      TEST(dials_are_at_most_three_at_once_and_eight_in_all),
      TEST(the_first_handshake_wins),
      TEST(forbidden_by_the_guard_is_left_alone),
      TEST(nobody_polls_and_the_end_is_still_told),
      TEST(time_never_goes_back),
      TEST(a_target_waits_for_its_decision),
      TEST(the_owner_sets_the_targets_schedule),
      TEST(an_offer_that_is_accepted_too_late_is_dead),
      TEST(the_initiator_gives_up),
      TEST(a_target_that_is_wanted_tries_itself),
      TEST(a_refusal_is_of_one_socket),
      TEST(candidates_tell_what_became_of_them),
      TEST(pairs_tell_what_became_of_them),
      TEST(a_plan_forgets_the_start_of_the_last),
      TEST(the_larger_id_becomes_the_target),
      TEST(the_smaller_id_goes_on_but_opens_its_nat),
      TEST(candidates_come_and_go_while_it_works),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
