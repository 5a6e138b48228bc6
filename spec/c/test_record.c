/* test_record.c - what is written down of attempts, at both ends, and what
 * becomes of it when nobody reads it.
 *
 * SPDX-License-Identifier: MIT */
#include "support/world.h"

#include "antquic_record.h"

#define A 0
#define B 1
#define C 2
#define D 3
#define MAX 8192

typedef struct tape {
  size_t n;
  aq_record_entry v[MAX];
} tape;

static tape tape_a, tape_b;

static void drain(world_node *n, tape *t) {
  aq_record_entry e;
  while (aq_endpoint_poll_record(n->ep, &e)) {
    assert_true(t->n < MAX);
    t->v[t->n++] = e;
  }
}

static const aq_record_entry *find(const tape *t, aq_record_kind kind,
                                   const char *type) {
  for (size_t i = 0; i < t->n; i++) {
    const aq_record_entry *e = &t->v[i];
    if (e->kind == kind &&
        (type == NULL || (e->type != NULL && strcmp(e->type, type) == 0))) {
      return e;
    }
  }
  return NULL;
}

/* A and B behind NATs, and one or two coordinators. */
static world *peers(uint64_t seed, int coordinators) {
  static const char *where[] = {"198.18.2.1:1003", "198.18.3.1:1004"};
  world *w = world_new(seed);
  world_node_init(w, A, "10.0.0.2:1001", "198.18.10.1:5001");
  world_node_init(w, B, "10.1.0.2:1002", "198.18.11.1:5002");
  for (int i = 0; i < coordinators; i++) {
    world_node *c = world_coordinator(w, (size_t)(C + i), where[i]);
    world_use_bootstrap(w->node[A], c, 0);
  }
  world_use_bootstrap(w->node[B], w->node[C + coordinators - 1], 0);
  w->node[A]->params.role = w->node[B]->params.role = AQ_ROLE_CLIENT;
  return w;
}

static aq_id reach(world *w) {
  aq_id s = 0, c = 0;
  world_run(w, 2 * AQ_S);
  assert_int_equal(aq_session_start(w->node[A]->ep, w->now, &w->node[B]->id,
                                    NULL, 0, 10 * AQ_S, &s, &c),
                   0);
  assert_non_null(
      world_wait(w, w->node[A], AQ_EVENT_TRAVERSAL_SUCCEEDED, 10 * AQ_S));
  world_run(w, AQ_S);
  return s;
}

/* The entry of |from| that the entry |e| of the other side came of. */
static const aq_record_entry *origin(const tape *from,
                                     const aq_record_entry *e) {
  for (size_t i = 0; i < from->n; i++) {
    const aq_record_entry *o = &from->v[i];
    if (e->kind == AQ_RECORD_PUNCH_RECEIVED &&
        o->kind == AQ_RECORD_PUNCH_SENT && o->seq == e->seq &&
        o->initiator == e->initiator && strcmp(o->type, e->type) == 0 &&
        memcmp(o->punch_session, e->punch_session, 8) == 0) {
      return o;
    }
    if (e->kind == AQ_RECORD_QUIC_RECEIVED && o->kind == AQ_RECORD_QUIC_SENT &&
        o->mark == e->mark && o->len == e->len) {
      return o;
    }
  }
  return NULL;
}

static void each_has_an_origin(const tape *to, const tape *from,
                               aq_record_kind kind, const aq_addr *sender) {
  size_t n = 0;
  for (size_t i = 0; i < to->n; i++) {
    const aq_record_entry *e = &to->v[i];
    if (e->kind != kind || !aq_addr_equal(&e->remote, sender)) {
      continue;
    }
    const aq_record_entry *o = origin(from, e);
    assert_non_null(o);
    assert_true(o->time < e->time);
    n++;
  }
  assert_true(n > 0);
}

static void both_sides_tell_the_same(void **state) {
  (void)state;
  world *w = peers(7, 1);
  tape_a.n = tape_b.n = 0;
  world_start_all(w);
  assert_int_equal(aq_endpoint_record(w->node[A]->ep, 1), 0);
  assert_int_equal(aq_endpoint_record(w->node[B]->ep, 1), 0);
  aq_id s = reach(w);
  drain(w->node[A], &tape_a);
  drain(w->node[B], &tape_b);
  world_node *a = w->node[A], *b = w->node[B];
  each_has_an_origin(&tape_b, &tape_a, AQ_RECORD_PUNCH_RECEIVED, &a->outside);
  each_has_an_origin(&tape_a, &tape_b, AQ_RECORD_PUNCH_RECEIVED, &b->outside);
  each_has_an_origin(&tape_b, &tape_a, AQ_RECORD_QUIC_RECEIVED, &a->outside);
  each_has_an_origin(&tape_a, &tape_b, AQ_RECORD_QUIC_RECEIVED, &b->outside);
  const aq_record_entry *e = find(&tape_a, AQ_RECORD_PUNCH_SENT, "opener");
  assert_non_null(e);
  assert_int_equal(e->session, s);
  assert_int_equal(e->ttl, 2);
  assert_true(aq_addr_equal(&e->local, &a->bound));
  assert_true(aq_addr_equal(&e->remote, &b->outside));
  e = find(&tape_a, AQ_RECORD_CONTROL_SENT, "REQUEST");
  assert_non_null(e);
  assert_int_equal(e->session, s);
  assert_true(e->count > 0);
  assert_int_equal(e[1].kind, AQ_RECORD_CANDIDATE);
  e = find(&tape_a, AQ_RECORD_CONTROL_RECEIVED, "ANSWER");
  assert_non_null(e);
  assert_int_equal(e->session, s);
  assert_true(e->has_punch_session);
  assert_true(aq_addr_equal(&e->addr, &a->outside));
  assert_true(e[1].verified && aq_addr_equal(&e[1].addr, &b->outside));
  assert_non_null(find(&tape_b, AQ_RECORD_CONTROL_RECEIVED, "OFFER"));
  assert_non_null(find(&tape_a, AQ_RECORD_FRAME_RECEIVED, "OBSERVED_ADDRESS"));
  assert_non_null(find(&tape_a, AQ_RECORD_DIAL, NULL));
  e = find(&tape_a, AQ_RECORD_DIAL_ENDED, NULL);
  assert_non_null(e);
  assert_int_equal(e->error, 0);
  assert_int_equal(e->session, s);
  assert_null(find(&tape_a, AQ_RECORD_LOST, NULL));
  /* However much is said later, only the first of it is told. */
  aq_id conn = world_only_conn(a);
  for (int i = 0; i < 100; i++) {
    world_talk(w, A, conn, B);
    drain(a, &tape_a);
  }
  size_t n = 0;
  for (size_t i = 0; i < tape_a.n; i++) {
    e = &tape_a.v[i];
    n += e->conn == conn &&
         (e->kind == AQ_RECORD_QUIC_SENT || e->kind == AQ_RECORD_QUIC_RECEIVED);
  }
  assert_int_equal(n, AQ_RECORD_PER_CONN);
  world_del(w);
}

static void nobody_records(void **state) {
  (void)state;
  world *w = peers(8, 1);
  world_start_all(w);
  aq_record_entry e;
  aq_usage off, on;
  reach(w);
  assert_int_equal(aq_endpoint_poll_record(w->node[A]->ep, &e), 0);
  aq_endpoint_get_usage(w->node[A]->ep, &off);
  assert_int_equal(aq_endpoint_record(w->node[A]->ep, 1), 0);
  assert_int_equal(aq_endpoint_record(w->node[A]->ep, 1), 0);
  aq_endpoint_get_usage(w->node[A]->ep, &on);
  assert_true(on.memory > off.memory);
  assert_int_equal(aq_endpoint_record(w->node[A]->ep, 0), 0);
  aq_endpoint_get_usage(w->node[A]->ep, &on);
  assert_int_equal(on.memory, off.memory);
  world_del(w); /* looks for what was not freed */
}

static void no_memory_for_it(void **state) {
  (void)state;
  world *w = peers(9, 1);
  world_start_all(w);
  w->node[A]->fail_at = w->node[A]->allocs + 1;
  assert_int_equal(aq_endpoint_record(w->node[A]->ep, 1), AQ_ERR_NOMEM);
  reach(w);
  world_del(w);
}

/* Whoever sends rubbish fills the ring, and no more than that. */
static void a_full_ring(void **state) {
  (void)state;
  world *w = peers(10, 1);
  world_start_all(w);
  world_run(w, AQ_S);
  world_node *a = w->node[A];
  tape_a.n = 0;
  assert_int_equal(aq_endpoint_record(a->ep, 1), 0);
  uint8_t rubbish[40] = {1, 1};
  aq_addr from = w->node[C]->bound;
  for (int i = 0; i < AQ_RECORD_RING + 100; i++) {
    aq_datagram d = {0, from, a->bound, 0, rubbish, sizeof(rubbish), 0};
    aq_endpoint_handle_datagram(a->ep, w->now, &d);
  }
  aq_statistics st;
  aq_endpoint_get_statistics(a->ep, &st);
  assert_int_equal(st.limit_record, 100);
  world_flush(w);
  const aq_event *hit = NULL;
  for (size_t i = 0; i < a->nevent; i++) {
    if (a->event[i].kind == AQ_EVENT_LIMIT_HIT) {
      hit = &a->event[i];
    }
  }
  assert_non_null(hit);
  assert_string_equal(hit->text, "limit_record");
  drain(a, &tape_a);
  assert_int_equal(tape_a.n, AQ_RECORD_RING + 1);
  assert_int_equal(tape_a.v[AQ_RECORD_RING].kind, AQ_RECORD_LOST);
  assert_int_equal(tape_a.v[AQ_RECORD_RING].count, 100);
  assert_string_equal(tape_a.v[0].text, "unknown session");
  /* And it goes on. */
  rubbish[3] = 1;
  aq_datagram d = {0, from, a->bound, 0, rubbish, sizeof(rubbish), 0};
  aq_endpoint_handle_datagram(a->ep, w->now, &d);
  tape_a.n = 0;
  drain(a, &tape_a);
  assert_int_equal(tape_a.n, 1);
  assert_string_equal(tape_a.v[0].text, "malformed");
  world_del(w);
}

/* Half read, the gap is told where it is. */
static void a_gap_in_the_middle(void **state) {
  (void)state;
  world *w = peers(11, 1);
  world_start_all(w);
  world_run(w, AQ_S);
  world_node *a = w->node[A];
  assert_int_equal(aq_endpoint_record(a->ep, 1), 0);
  uint8_t rubbish[40] = {1, 1};
  aq_datagram d = {0, w->node[C]->bound, a->bound, 0, rubbish, 40, 0};
  aq_record_entry e;
  for (int i = 0; i < AQ_RECORD_RING + 5; i++) {
    aq_endpoint_handle_datagram(a->ep, w->now, &d);
  }
  for (int i = 0; i < 10; i++) {
    assert_int_equal(aq_endpoint_poll_record(a->ep, &e), 1);
  }
  aq_endpoint_handle_datagram(a->ep, w->now, &d);
  tape_a.n = 0;
  drain(a, &tape_a);
  assert_int_equal(tape_a.n, AQ_RECORD_RING - 10 + 2);
  assert_int_equal(tape_a.v[tape_a.n - 2].kind, AQ_RECORD_LOST);
  assert_int_equal(tape_a.v[tape_a.n - 2].count, 5);
  assert_int_equal(tape_a.v[tape_a.n - 1].kind, AQ_RECORD_PUNCH_DROPPED);
  world_del(w);
}

/* A coordinator that can't help is a step of its own in the explanation. */
static void another_coordinator_is_asked(void **state) {
  (void)state;
  world *w = peers(12, 2); /* B is known to the second one alone */
  world_start_all(w);
  aq_id s = reach(w);
  aq_step_record v[AQ_MAX_STEPS];
  size_t n = aq_explain(w->node[A]->ep, s, v, AQ_MAX_STEPS);
  assert_true(n >= 3);
  size_t asked = 0;
  for (size_t i = 0; i < n; i++) {
    if (v[i].step != 1) {
      continue;
    }
    asked++;
    assert_int_equal(v[i].attempt, 1);
    if (v[i].error == AQ_ERR_UNKNOWN_TARGET) {
      assert_true(aq_addr_equal(&v[i].addr, &w->node[C]->bound));
      assert_string_equal(
          v[i].text, "coordinator: the coordinator does not know the target");
    } else {
      assert_int_equal(v[i].error, 0);
      assert_true(aq_addr_equal(&v[i].addr, &w->node[D]->bound));
    }
  }
  assert_int_equal(asked, 2);
  world_del(w);
}

/* What became of each pair is known after the end, too. */
static void pairs_are_kept(void **state) {
  (void)state;
  world *w = peers(13, 1);
  world_start_all(w);
  aq_id s = reach(w);
  aq_session_info info;
  assert_int_equal(aq_session_get_info(w->node[A]->ep, s, &info), 0);
  assert_int_equal(info.phase, AQ_PHASE_CONNECTED);
  aq_pair_info v[8];
  size_t n = aq_session_get_pairs(w->node[A]->ep, s, v, 8);
  assert_int_equal(n, 1); /* the private address makes no pair */
  assert_int_equal(v[0].state, AQ_PAIR_SUCCEEDED);
  assert_true(v[0].sent > 0 && v[0].dialed && v[0].refused == 0);
  aq_step_record r[AQ_MAX_STEPS];
  size_t steps = aq_explain(w->node[A]->ep, s, r, AQ_MAX_STEPS);
  size_t punched = 0;
  for (size_t i = 0; i < steps; i++) {
    if (r[i].step == 2) {
      punched++;
      assert_int_equal(r[i].pairs, 1);
      assert_int_equal(r[i].unusable, 1);
      assert_int_equal(r[i].heard, r[i].received > 0);
    }
  }
  assert_int_equal(punched, 1);
  world_run(w, 70 * AQ_S);
  assert_int_equal(aq_session_get_pairs(w->node[A]->ep, s, v, 8), 0);
  world_del(w);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(both_sides_tell_the_same),
      cmocka_unit_test(nobody_records),
      cmocka_unit_test(no_memory_for_it),
      cmocka_unit_test(a_full_ring),
      cmocka_unit_test(a_gap_in_the_middle),
      cmocka_unit_test(another_coordinator_is_asked),
      cmocka_unit_test(pairs_are_kept),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
