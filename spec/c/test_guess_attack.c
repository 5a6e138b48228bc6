/* test_guess_attack.c - whoever wants to aim guessed ports at somebody: a
 * coordinator that lies, a peer, a policy of our own. Counted at the victim.
 *
 * SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "base/addr.h"
#include "quic/endpoint_int.h"

enum { C, A, B };

/* ---- the victim ---------------------------------------------------------- */

#define MOST_SEEN 8192
static const char VICTIM[] = "203.0.113.66";
static struct {
  size_t n;
  aq_tstamp at[MOST_SEEN];
  uint16_t port[MOST_SEEN];
  size_t bytes;
  uint16_t least;
  size_t services;
} seen;

static int is_service(uint16_t port) {
  return port < 1024 || port == 1900 || port == 3702 || port == 5353 ||
         port == 5355 || port == 11211;
}

static int at_victim(world *w, const aq_addr *from, const aq_addr *to,
                     uint8_t *data, size_t *len) {
  (void)from;
  (void)data;
  char text[AQ_ADDR_STRLEN];
  aq_addr_format(to, text);
  if (strncmp(text, VICTIM, sizeof(VICTIM) - 1) != 0) {
    return 1;
  }
  assert_true(seen.n < MOST_SEEN);
  seen.at[seen.n] = w->now;
  seen.port[seen.n++] = to->port;
  seen.bytes += *len;
  seen.services += (size_t)is_service(to->port);
  return 1;
}

static size_t most_in(aq_duration span) {
  size_t most = 0;
  for (size_t i = 0, k = 0; i < seen.n; i++) {
    while (seen.at[i] - seen.at[k] >= span) {
      k++;
    }
    most = i - k + 1 > most ? i - k + 1 : most;
  }
  return most;
}

/* ---- the stage ----------------------------------------------------------- */

static world *start(int ask) {
  world *w = world_new(5);
  memset(&seen, 0, sizeof(seen));
  world_node *c = world_coordinator(w, C, "198.18.0.1:9000");
  c->params.can_relay = 1;
  for (int i = A; i <= B; i++) {
    world_node *n = world_node_init(
        w, (size_t)i, i == A ? "198.18.1.2:5000" : "198.18.2.2:6000", NULL);
    n->params.strategy = AQ_STRATEGY_STEPS;
    n->params.ask_accept = (uint8_t)(ask && i == B);
    world_use_bootstrap(n, c, 1);
  }
  world_start_all(w);
  world_run(w, AQ_S);
  w->tap = at_victim;
  return w;
}

/* What they say of their NATs. */
static void say(world *w, int n, aq_nat_rule mapping) {
  aq_endpoint *ep = w->node[n]->ep;
  aq_ep_enter(ep, w->now);
  memset(&ep->profile, 0, sizeof(ep->profile));
  ep->profile.mapping = (uint8_t)mapping;
  aq_ctl_register(ep->boot[0].link);
  aq_ep_settle(ep);
  world_run(w, AQ_S);
}

static aq_id reach(world *w, aq_plan plan, const aq_hard_step *step) {
  aq_hard_step s;
  aq_id session = 0, conn = 0;
  aq_endpoint *ep = w->node[A]->ep;
  aq_hard_step_init(&s);
  assert_int_equal(aq_session_start(ep, w->now, &w->node[B]->id, NULL, 0,
                                    5 * AQ_S, &session, &conn),
                   0);
  assert_int_equal(
      aq_session_hard(ep, w->now, session, plan, step != NULL ? step : &s), 0);
  return session;
}

/* The coordinator's HINT arrives at A, with what it makes up. */
static void hint(world *w, int n, aq_plan plan, const char *addr, int64_t step,
                 uint64_t count) {
  aq_endpoint *ep = w->node[n]->ep;
  aq_ctl m;
  memset(&m, 0, sizeof(m));
  m.type = AQ_CTL_HINT;
  aq_ep_enter(ep, w->now);
  aq_list_each(node, &ep->sessions) {
    aq_session *s = aq_list_entry(node, aq_session, node);
    const uint8_t *id = aq_trav_session(s->trav, 0);
    if (id != NULL) {
      memcpy(m.session, id, sizeof(m.session));
    }
  }
  m.plan = plan;
  m.observed = util_addr(addr);
  m.step = step;
  m.count = count;
  m.cookie = 1;
  aq_hard_hinted(ep->boot[0].link, &m);
  aq_ep_settle(ep);
}

/* ---- a coordinator that lies --------------------------------------------- */

/* For a minute, whatever we try, it says that the peer's new socket is at the
 * victim's. */
static void a_liar_spends_the_budget_and_no_more(void **state) {
  (void)state;
  world *w = start(0);
  say(w, A, AQ_NAT_ENDPOINT_INDEPENDENT);
  say(w, B, AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
  aq_tstamp until = w->now + 70 * AQ_S;
  int tries = 0;
  while (w->now < until) {
    aq_id s =
        reach(w, tries % 4 == 3 ? AQ_PLAN_PREDICT : AQ_PLAN_BIRTHDAY, NULL);
    world_run(w, 25 * AQ_MS); /* the answer is there, B's own HINT not yet */
    hint(w, A, tries % 4 == 3 ? AQ_PLAN_PREDICT : AQ_PLAN_BIRTHDAY,
         "203.0.113.66:40000", 1, 256);
    world_run(w, 3 * AQ_S);
    aq_session_cancel(w->node[A]->ep, w->now, s);
    world_run(w, AQ_S);
    tries++;
  }
  aq_statistics s = world_stats(w, A);
  uint64_t refused = s.limit_guess_target + s.limit_guess_peer +
                     s.limit_guess_endpoint + s.limit_guess_busy;
  print_message("%d tries: %zu datagrams, %zu bytes, at most %zu in 20 s, %zu "
                "in 1 s, %llu refused\n",
                tries, seen.n, seen.bytes, most_in(20 * AQ_S), most_in(AQ_S),
                (unsigned long long)refused);
  assert_true(seen.n > 1000);
  assert_true(most_in(20 * AQ_S) <= AQ_GUARD_GUESSES);
  assert_true(most_in(AQ_S) <= 1040);
  assert_int_equal(seen.services, 0);
  assert_int_equal(seen.bytes, seen.n * AQ_PUNCH_LEN);
  assert_true(refused > 0);
  assert_non_null(world_find(w->node[A], AQ_EVENT_LIMIT_HIT));
  /* No port twice in one attempt. */
  static uint8_t used[65536];
  memset(used, 0, sizeof(used));
  for (size_t i = 0; i < seen.n && seen.at[i] < seen.at[0] + 2 * AQ_S; i++) {
    assert_int_equal(used[seen.port[i]]++, 0);
  }
  world_del(w);
}

static aq_nat_profile profile_of(aq_nat_rule mapping) {
  aq_nat_profile p = {.mapping = (uint8_t)mapping,
                      .filtering = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT,
                      .allocation = AQ_NAT_ALLOC_RANDOM};
  return p;
}

static void dial_over_relay(world *w) {
  aq_endpoint *ep = w->node[A]->ep;
  aq_relay_step step;
  aq_id session, conn;
  aq_relay_step_init(&step);
  step.upgrade_every = AQ_NEVER;
  assert_int_equal(aq_session_start(ep, w->now, &w->node[B]->id, NULL, 0,
                                    5 * AQ_S, &session, &conn),
                   0);
  assert_int_equal(aq_session_relay(ep, w->now, session, &step), 0);
}

/* A connection that is there is to be repaired by guessing ports, every two
 * seconds, at the victim's. One that lives on a direct path costs nothing; for
 * one over a relay there is a rate beside the budget. */
static void a_liar_repairs_all_the_time(void **state) {
  (void)state;
  enum { DIRECT, OFF, RELAYED, CASES };
  for (int k = 0; k < CASES; k++) {
    world *w = start(0);
    aq_endpoint *ep = w->node[A]->ep;
    if (k == DIRECT) {
      world_dial(w, A, B, 1);
    } else {
      dial_over_relay(w);
    }
    aq_id conn = world_wait_conn(w, A)->conn;
    world_run(w, AQ_S);
    ep->profile = profile_of(AQ_NAT_ENDPOINT_INDEPENDENT);
    ep->shared.params.enable_symmetric_nat = k != OFF;
    memset(&seen, 0, sizeof(seen));
    for (int i = 0; i < 50; i++) {
      aq_ctl m = {.type = AQ_CTL_OFFER, .plan = AQ_PLAN_REPAIR};
      m.expiry_ms = 9000;
      m.peer = w->node[B]->id;
      m.profile = profile_of(AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
      m.observed = w->node[A]->bound;
      m.cand_count = m.cand[0].verified = 1;
      m.cand[0].source = AQ_SOURCE_OBSERVED;
      m.cand[0].addr = util_addr("203.0.113.66:5000");
      memset(m.session, 7 + i, sizeof(m.session));
      memset(m.nonce, 7 + i, sizeof(m.nonce));
      assert_int_equal(aq_ctl_send(world_link(w, C, A), &m), 0);
      aq_ep_settle(w->node[C]->ep);
      world_run(w, 60 * AQ_MS);
      hint(w, A, AQ_PLAN_REPAIR, "203.0.113.66:40000", 1, 256);
      world_run(w, 2 * AQ_S - 60 * AQ_MS);
    }
    aq_statistics s = world_stats(w, A);
    if (k == RELAYED) {
      print_message(
          "%zu datagrams, at most %zu in 20 s; %llu offers too many\n", seen.n,
          most_in(20 * AQ_S), (unsigned long long)s.limit_repair_guesses);
      assert_true(seen.n > 1000 && seen.n <= 7 * AQ_HARD_PROBES);
      assert_true(most_in(20 * AQ_S) <= AQ_GUARD_GUESSES);
      assert_int_equal(seen.services, 0);
      assert_in_range(s.limit_repair_guesses, 40, 46);
    } else {
      assert_int_equal(seen.n, 0);
      assert_int_equal(s.extra_sockets_opened, 0);
      assert_true(s.offers_refused >= 50);
    }
    assert_in_range(ep->nextra, 0, 1);
    world_talk(w, A, conn, B); /* and it lives */
    world_del(w);
  }
}

/* Nothing that may never be tried is tried. */
static void forbidden_places_get_nothing(void **state) {
  (void)state;
  static const char *const places[] = {
      "127.0.0.1:4000",   "10.1.2.3:4000",        "169.254.169.254:4000",
      "224.0.0.251:4000", "255.255.255.255:4000", "0.0.0.0:4000",
      "[ff02::1]:4000",   "192.168.1.1:4000"};
  for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
    for (int k = 0; k < 3; k++) {
      static const aq_plan plans[] = {AQ_PLAN_FRESH, AQ_PLAN_PREDICT,
                                      AQ_PLAN_BIRTHDAY};
      world *w = start(0);
      say(w, A, AQ_NAT_ENDPOINT_INDEPENDENT);
      say(w, B, AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
      w->node[B]->deaf = 1; /* nothing else to be sent to */
      w->node[B]->deaf = 0;
      reach(w, plans[k], NULL);
      world_run(w, 25 * AQ_MS);
      for (int again = 0; again < 20; again++) {
        hint(w, A, plans[k], places[i], 1, 1);
      }
      world_run(w, 50 * AQ_MS);
      aq_addr place = util_addr(places[i]);
      for (size_t n = 0; n < w->nseen; n++) {
        assert_false(aq_addr_same_ip(&w->seen[n].to, &place));
      }
      world_del(w);
    }
  }
}

/* HINTs that belong to nothing. */
static void hints_out_of_place_are_ignored(void **state) {
  (void)state;
  world *w = start(0);
  say(w, A, AQ_NAT_ENDPOINT_INDEPENDENT);
  say(w, B, AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
  /* No session at all. */
  hint(w, A, AQ_PLAN_BIRTHDAY, "203.0.113.66:40000", 1, 256);
  /* Simple punching was agreed on, or another plan. */
  aq_id session = 0, conn = 0;
  aq_endpoint *ep = w->node[A]->ep;
  aq_coordinate_step step;
  aq_coordinate_step_init(&step);
  assert_int_equal(aq_session_start(ep, w->now, &w->node[B]->id, NULL, 0,
                                    5 * AQ_S, &session, &conn),
                   0);
  assert_int_equal(aq_session_coordinate(ep, w->now, session, &step), 0);
  world_run(w, 25 * AQ_MS);
  for (int plan = 0; plan < AQ_PLAN__COUNT; plan++) {
    for (int i = 0; i < 1000; i++) {
      hint(w, A, (aq_plan)plan, "203.0.113.66:40000", INT64_MAX, UINT64_MAX);
    }
  }
  world_run(w, AQ_S);
  assert_int_equal(seen.n, 0);
  assert_int_equal(world_stats(w, A).guesses_sent, 0);
  world_del(w);
}

/* A flood of HINTs in a plan that meets: eight count. */
static void a_flood_of_hints(void **state) {
  (void)state;
  world *w = start(0);
  reach(w, AQ_PLAN_FRESH, NULL);
  world_run(w, 25 * AQ_MS);
  for (int i = 0; i < 1000; i++) {
    char text[40];
    snprintf(text, sizeof(text), "%s:%d", VICTIM, 20000 + i);
    hint(w, A, AQ_PLAN_FRESH, text, INT64_MIN, UINT64_MAX);
  }
  world_run(w, 20 * AQ_S);
  print_message("%zu datagrams for 1000 HINTs\n", seen.n);
  /* An opener and a round for each, and one dial, unasked. */
  assert_in_range(seen.n, 1, 8 * 9 + 8);
  world_del(w);
}

/* ---- peers --------------------------------------------------------------- */

/* Who has not said yes sends nothing, and who says no never does. */
static void nothing_is_sent_without_consent(void **state) {
  (void)state;
  for (int role = 0; role < 2; role++) {
    world *w = start(1);
    say(w, A,
        role ? AQ_NAT_ENDPOINT_INDEPENDENT : AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
    say(w, B,
        role ? AQ_NAT_ADDRESS_AND_PORT_DEPENDENT : AQ_NAT_ENDPOINT_INDEPENDENT);
    reach(w, AQ_PLAN_BIRTHDAY, NULL);
    const aq_event *e = world_wait(w, w->node[B], AQ_EVENT_DECISION, AQ_S);
    assert_non_null(e);
    hint(w, B, AQ_PLAN_BIRTHDAY, "203.0.113.66:40000", 1, 256);
    world_run(w, 50 * AQ_MS);
    aq_statistics s = world_stats(w, B);
    assert_int_equal(s.guesses_sent + s.openers_sent + s.punches_sent, 0);
    assert_int_equal(s.extra_sockets_opened, 0);
    assert_int_equal(aq_endpoint_decide(w->node[B]->ep, w->now, e->value, 0),
                     0);
    world_run(w, 5 * AQ_S);
    s = world_stats(w, B);
    assert_int_equal(s.guesses_sent + s.openers_sent + s.punches_sent, 0);
    assert_int_equal(seen.n, 0);
    e = world_find(w->node[A], AQ_EVENT_STEP_DONE);
    assert_non_null(e);
    assert_int_equal(e->error, AQ_ERR_REFUSED);
    world_del(w);
  }
}

/* enable_symmetric_nat = false: neither for us nor for others. */
static void guessing_can_be_forbidden(void **state) {
  (void)state;
  world *w = start(0);
  say(w, A, AQ_NAT_ENDPOINT_INDEPENDENT);
  say(w, B, AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
  w->node[B]->ep->shared.params.enable_symmetric_nat = 0;
  aq_id s = reach(w, AQ_PLAN_BIRTHDAY, NULL);
  world_run(w, 2 * AQ_S);
  assert_int_equal(world_stats(w, B).offers_refused, 1);
  assert_int_equal(world_stats(w, B).extra_sockets_opened, 0);
  const aq_event *e = world_find(w->node[A], AQ_EVENT_STEP_DONE);
  assert_non_null(e);
  assert_int_equal(e->error, AQ_ERR_NOT_ALLOWED);
  aq_hard_step step;
  aq_hard_step_init(&step);
  aq_endpoint *ep = w->node[A]->ep;
  ep->shared.params.enable_symmetric_nat = 0;
  assert_int_equal(aq_session_hard(ep, w->now, s, AQ_PLAN_PREDICT, &step),
                   AQ_ERR_NOT_ALLOWED);
  assert_int_equal(aq_session_hard(ep, w->now, s, AQ_PLAN_BIRTHDAY, &step),
                   AQ_ERR_NOT_ALLOWED);
  assert_int_equal(aq_session_hard(ep, w->now, s, AQ_PLAN_FRESH, &step), 0);
  assert_int_equal(aq_session_hard(ep, w->now, s, AQ_PLAN_PUNCH, &step),
                   AQ_ERR_INVAL);
  world_del(w);
}

/* ---- a policy ------------------------------------------------------------ */

/* Asks for the moon. */
static void what_a_policy_asks_is_clamped(void **state) {
  (void)state;
  for (int role = 0; role < 2; role++) {
    world *w = start(0);
    say(w, A,
        role ? AQ_NAT_ENDPOINT_INDEPENDENT : AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
    say(w, B,
        role ? AQ_NAT_ADDRESS_AND_PORT_DEPENDENT : AQ_NAT_ENDPOINT_INDEPENDENT);
    aq_hard_step step;
    aq_hard_step_init(&step);
    step.sockets = step.probes = UINT32_MAX;
    step.punch.opener_ttl = 255;
    step.punch.openers = 255;
    step.punch.rounds = UINT32_MAX;
    step.punch.timeout = AQ_NEVER;
    aq_hard_step *s = &step;
    reach(w, AQ_PLAN_BIRTHDAY, s);
    if (role) {
      world_run(w, 25 * AQ_MS);
      hint(w, A, AQ_PLAN_BIRTHDAY, "203.0.113.66:40000", 1, UINT64_MAX);
    }
    world_run(w, 5 * AQ_S);
    aq_statistics st = world_stats(w, A);
    assert_true(st.guesses_sent <= AQ_GUARD_GUESSES);
    assert_true(st.openers_sent <= 256 && st.extra_sockets_opened <= 256);
    assert_true(role ? seen.n > 900 : st.openers_sent == 256);
    world_run(w, 10 * AQ_S);
    assert_int_equal(w->node[A]->ep->nextra,
                     aq_endpoint_find_conn(w->node[A]->ep, &w->node[B]->id) != 0
                         ? 1 - role
                         : 0);
    world_del(w);
  }
}

/* Two at a time. */
static void one_birthday_at_a_time(void **state) {
  (void)state;
  world *w = start(0);
  say(w, A, AQ_NAT_ENDPOINT_INDEPENDENT);
  say(w, B, AQ_NAT_ADDRESS_AND_PORT_DEPENDENT);
  aq_addr a = util_addr("203.0.113.66:40000");
  aq_guard_request other = {.target = &a, .session_key = 77};
  aq_guard *g = &w->node[A]->ep->guard;
  assert_int_equal(aq_guard_begin_guess(g, w->now, &other, 1024), 0);
  reach(w, AQ_PLAN_BIRTHDAY, NULL);
  const aq_event *e = world_wait(w, w->node[A], AQ_EVENT_STEP_DONE, AQ_S);
  assert_non_null(e);
  assert_int_equal(e->error, AQ_ERR_RATE_LIMITED);
  assert_non_null(strstr(e->text, "guess_busy"));
  assert_int_equal(world_stats(w, A).limit_guess_busy, 1);
  aq_guard_end_guess(g, 77);
  world_run(w, 100 * AQ_MS); /* B's sockets are closed */
  reach(w, AQ_PLAN_BIRTHDAY, NULL);
  world_run(w, 3 * AQ_S);
  assert_true(aq_endpoint_find_conn(w->node[A]->ep, &w->node[B]->id) != 0);
  world_del(w);
}

/* A session's memory stays small: no table of guesses. */
static void a_session_is_small(void **state) {
  (void)state;
  print_message("a session: %zu bytes, of those for plans %zu\n",
                sizeof(aq_trav), sizeof(aq_trav_hard));
  assert_true(sizeof(aq_trav_hard) <= 4096);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_liar_spends_the_budget_and_no_more),
      cmocka_unit_test(a_liar_repairs_all_the_time),
      cmocka_unit_test(forbidden_places_get_nothing),
      cmocka_unit_test(hints_out_of_place_are_ignored),
      cmocka_unit_test(a_flood_of_hints),
      cmocka_unit_test(nothing_is_sent_without_consent),
      cmocka_unit_test(guessing_can_be_forbidden),
      cmocka_unit_test(what_a_policy_asks_is_clamped),
      cmocka_unit_test(one_birthday_at_a_time),
      cmocka_unit_test(a_session_is_small),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
