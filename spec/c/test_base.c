/* test_base.c - errors, time, memory, tables, timers, lists, rings, random.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/hash.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/rand.h"
#include "base/ring.h"
#include "base/time.h"
#include "base/trace.h"
#include "base/window.h"

static void test_errors(void **state) {
  (void)state;
  size_t n = 0;
  int value = 0;
  const char *name;
  for (; (name = aq_error_at(n, &value)) != NULL; n++) {
    assert_true(value < 0);
    assert_string_equal(aq_error_name(value), name);
    assert_string_not_equal(aq_error_text(value), "unknown error");
    size_t len = strlen(aq_error_text(value));
    assert_true(len > 0 && aq_error_text(value)[len - 1] != '.');
    int other = 0;
    for (size_t k = 0; k < n; k++) {
      assert_non_null(aq_error_at(k, &other));
      assert_int_not_equal(other, value);
    }
  }
  assert_true(n > 40);
  assert_null(aq_error_at(SIZE_MAX, NULL));
  assert_string_equal(aq_error_name(AQ_ERR_TIMEOUT), "TIMEOUT");
  assert_string_equal(aq_error_name(-9999), "UNKNOWN");
  assert_string_equal(aq_error_name(1), "UNKNOWN");
}

static void test_names(void **state) {
  (void)state;
  assert_string_equal(aq_event_name(AQ_EVENT_EVENTS_LOST), "events_lost");
  assert_string_equal(aq_event_name(AQ_EVENT__COUNT), "unknown");
  assert_string_equal(aq_phase_name(AQ_PHASE_PUNCHING), "punching");
  assert_string_equal(aq_phase_name(AQ_PHASE__COUNT), "unknown");
  assert_string_equal(aq_state_name(AQ_STATE_MIGRATING), "migrating");
  assert_string_equal(aq_reason_name(AQ_REASON_USER_CLOSED), "user_closed");
  assert_string_equal(aq_source_name(AQ_SOURCE_PREDICTED), "predicted");
  assert_string_equal(aq_cand_state_name(AQ_CAND_VALID), "valid");
  assert_string_equal(aq_pair_state_name(AQ_PAIR_CANCELLED), "cancelled");
  assert_string_equal(aq_pair_state_name((aq_pair_state)-1), "unknown");
  assert_string_equal(aq_version(), AQ_VERSION);
}

static void test_window(void **state) {
  (void)state;
  aq_window w = {0};
  assert_true(aq_window_take(&w, 0));
  assert_false(aq_window_take(&w, 0));
  assert_true(aq_window_take(&w, 5));
  assert_true(aq_window_take(&w, 3)); /* late, but new */
  assert_false(aq_window_take(&w, 3));
  assert_false(aq_window_take(&w, 5));
  assert_true(aq_window_take(&w, 5 + 63));
  assert_false(aq_window_take(&w, 5)); /* the last that is remembered */
  assert_false(aq_window_take(&w, 4)); /* unknown, and so refused */
  assert_true(aq_window_take(&w, 6));
  assert_true(aq_window_take(&w, 68 + 64)); /* all that is older is gone */
  assert_true(aq_window_take(&w, 69));
  assert_false(aq_window_take(&w, 68));
  assert_true(aq_window_take(&w, UINT32_MAX));
  assert_false(aq_window_take(&w, UINT32_MAX));
}

static void test_time(void **state) {
  (void)state;
  assert_true(aq_time_add(1, 2) == 3);
  assert_true(aq_time_add(AQ_NEVER, 0) == AQ_NEVER);
  assert_true(aq_time_add(5, AQ_NEVER) == AQ_NEVER);
  assert_true(aq_time_add(AQ_NEVER - 1, 5) == AQ_NEVER);
  assert_true(aq_time_since(5, 3) == 2);
  assert_true(aq_time_since(3, 5) == 0);
  assert_true(aq_time_until(3, 5) == 2);
  assert_true(aq_time_until(5, 3) == 0);
  assert_true(aq_time_until(5, AQ_NEVER) == AQ_NEVER);
  assert_true(aq_time_mul(AQ_S, 3) == 3 * AQ_S);
  assert_true(aq_time_mul(UINT64_C(1) << 40, UINT64_C(1) << 40) == AQ_NEVER);
  assert_true(aq_time_mul(5, 0) == 0);
  assert_true(aq_time_clamp(5, 1, 3) == 3);
  assert_true(aq_time_clamp(0, 1, 3) == 1);
  assert_true(aq_time_min(1, 2) == 1 && aq_time_max(1, 2) == 2);
}

static void test_memory(void **state) {
  (void)state;
  util_heap heap = {0};
  aq_env env = util_heap_env(&heap);
  aq_mem mem;
  aq_mem_init(&mem, &env);
  uint8_t *p = aq_mem_alloc(&mem, 100);
  for (int i = 0; i < 100; i++) {
    assert_int_equal(p[i], 0);
  }
  memset(p, 7, 100);
  aq_mem_wipe(p + 10, 20);
  assert_int_equal(p[9], 7);
  assert_int_equal(p[10] + p[29], 0);
  assert_int_equal(p[30], 7);
  aq_mem_free(&mem, p);
  assert_null(aq_mem_array(&mem, SIZE_MAX / 2, 3));
  char *s = aq_mem_dup(&mem, "abc", 3);
  assert_string_equal(s, "abc");
  aq_mem_free(&mem, s);
  aq_mem_free(&mem, NULL);

  uint32_t *v = NULL;
  size_t cap = 0;
  void *table = v;
  assert_int_equal(aq_mem_grow(&mem, &table, &cap, 9, 4, 20), 0);
  assert_int_equal(cap, 16);
  v = table;
  for (size_t i = 0; i < cap; i++) {
    assert_int_equal(v[i], 0);
    v[i] = 5;
  }
  assert_int_equal(aq_mem_grow(&mem, &table, &cap, 17, 4, 20), 0);
  assert_int_equal(cap, 20);
  v = table;
  assert_int_equal(v[15], 5);
  assert_int_equal(v[16], 0);
  assert_int_equal(aq_mem_grow(&mem, &table, &cap, 21, 4, 20), AQ_ERR_LIMIT);
  assert_int_equal(
      aq_mem_grow(&mem, &table, &cap, SIZE_MAX / 2, 16, SIZE_MAX / 2),
      AQ_ERR_NOMEM);
  heap.fail_at = heap.calls + 1;
  assert_int_equal(aq_mem_grow(&mem, &table, &cap, 21, 4, 99), AQ_ERR_NOMEM);
  assert_ptr_equal(table, v);
  assert_int_equal(cap, 20);
  aq_mem_free(&mem, table);
  assert_int_equal(heap.live, 0);

  aq_mem_init(&mem, NULL);
  p = aq_mem_alloc(&mem, 0);
  assert_non_null(p);
  aq_mem_free(&mem, p);
}

typedef struct item {
  int v;
  aq_list link;
} item;

static void test_list(void **state) {
  (void)state;
  aq_list l;
  item it[4];
  aq_list_init(&l);
  assert_null(aq_list_first(&l));
  assert_null(aq_list_pop_front(&l));
  for (int i = 0; i < 4; i++) {
    it[i].v = i;
    aq_list_init(&it[i].link);
    assert_false(aq_list_is_linked(&it[i].link));
    aq_list_push_back(&l, &it[i].link);
  }
  int sum = 0;
  aq_list_each(node, &l) {
    sum = sum * 10 + aq_list_entry(node, item, link)->v;
  }
  assert_int_equal(sum, 123);
  aq_list_each_safe(node, &l) {
    if (aq_list_entry(node, item, link)->v % 2 == 0) {
      aq_list_remove(node);
      aq_list_remove(node);
    }
  }
  assert_ptr_equal(aq_list_first(&l), &it[1].link);
  aq_list_push_back(&l, &it[2].link);
  assert_ptr_equal(aq_list_pop_front(&l), &it[1].link);
  assert_ptr_equal(aq_list_pop_front(&l), &it[3].link);
  assert_ptr_equal(aq_list_pop_front(&l), &it[2].link);
  assert_null(aq_list_pop_front(&l));
  assert_true(aq_list_is_empty(&l));
}

static void test_ring(void **state) {
  (void)state;
  aq_ring r;
  int v[3];
  int in = 0;
  int out = 0;
  aq_ring_init(&r, 3);
  for (int round = 0; round < 50; round++) {
    while (!aq_ring_is_full(&r)) {
      v[aq_ring_push(&r)] = in++;
    }
    for (size_t i = 0; i < r.count; i++) {
      assert_int_equal(v[aq_ring_at(&r, i)], out + (int)i);
    }
    for (int k = 0; k <= round % 3; k++) {
      assert_int_equal(v[aq_ring_pop(&r)], out++);
    }
  }
}

/* What CPython 3.11, which hashes bytes by SipHash-1-3, gives under the zero
 * key (PYTHONHASHSEED=0). */
static void test_siphash_vectors(void **state) {
  (void)state;
  const struct {
    const char *hex;
    uint64_t hash;
  } rows[] = {
      {"61", UINT64_C(0x407448d2b89b1813)},
      {"0001020304050607", UINT64_C(0xead411e67ebe2eea)},
      {"000102030405060708090a0b0c0d0e", UINT64_C(0xf30eb725bb91c9ea)},
      {"616e747175696320636f6e6e656374696f6e206964",
       UINT64_C(0x48c419ad21a8f3c8)},
  };
  uint64_t zero[2] = {0, 0};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    uint8_t data[32];
    size_t n = util_hex(data, sizeof(data), rows[i].hex);
    assert_true(aq_siphash(zero, data, n) == rows[i].hash);
  }
}

static void test_siphash(void **state) {
  (void)state;
  uint64_t salt[2] = {1, 2};
  uint8_t data[20] = {0};
  uint64_t base = aq_siphash(salt, data, sizeof(data));
  int total = 0;
  for (int bit = 0; bit < 160; bit++) {
    data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    int n = __builtin_popcountll(base ^ aq_siphash(salt, data, sizeof(data)));
    data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_true(n > 8 && n < 56);
    total += n;
  }
  assert_true(total > 160 * 30 && total < 160 * 34);
  for (size_t len = 0; len < 20; len++) {
    assert_true(aq_siphash(salt, data, len) != aq_siphash(salt, data, len + 1));
  }
  uint64_t other[2] = {1, 3};
  assert_true(base != aq_siphash(other, data, sizeof(data)));
}

static void test_hash(void **state) {
  (void)state;
  util_heap heap = {0};
  aq_env env = util_heap_env(&heap);
  aq_mem mem;
  aq_mem_init(&mem, &env);
  aq_hash h;
  uint64_t salt[2] = {42, 43};
  aq_hash_init(&h, &mem, salt);
  assert_null(aq_hash_get(&h, "x", 1));
  assert_null(aq_hash_remove(&h, "x", 1));

  enum { N = 5000 };
  static uint8_t model[N];
  static int value[N];
  uint64_t rnd = 7;
  size_t count = 0;
  memset(model, 0, sizeof(model));
  for (int op = 0; op < 100000; op++) {
    uint32_t key = (uint32_t)(util_random(&rnd) % N);
    size_t len = 1 + key % 20;
    uint8_t bytes[20] = {0};
    memcpy(bytes + (len > 4 ? len - 4 : 0), &key, len < 4 ? len : 4);
    if (len < 4) { /* short keys would not be unique */
      len = 4;
      memcpy(bytes, &key, 4);
    }
    switch (util_random(&rnd) % 3) {
    case 0:
      assert_int_equal(aq_hash_put(&h, bytes, len, &value[key]), 0);
      count += !model[key];
      model[key] = 1;
      break;
    case 1:
      assert_ptr_equal(aq_hash_remove(&h, bytes, len),
                       model[key] ? &value[key] : NULL);
      count -= model[key];
      model[key] = 0;
      break;
    default:
      assert_ptr_equal(aq_hash_get(&h, bytes, len),
                       model[key] ? &value[key] : NULL);
      break;
    }
    assert_int_equal(aq_hash_count(&h), count);
  }
  size_t seen = 0;
  size_t cursor = 0;
  while (aq_hash_next(&h, &cursor) != NULL) {
    seen++;
  }
  assert_int_equal(seen, count);
  uint8_t big[33] = {0};
  assert_int_equal(aq_hash_put(&h, big, 33, big), AQ_ERR_INVAL);
  assert_null(aq_hash_get(&h, big, 33));
  assert_int_equal(aq_hash_put(&h, big, 32, big), 0);
  assert_ptr_equal(aq_hash_get(&h, big, 32), big);
  assert_int_equal(aq_hash_put(&h, "", 0, big), 0);
  assert_ptr_equal(aq_hash_get(&h, "", 0), big);
  aq_hash_free(&h);
  assert_int_equal(heap.live, 0);
}

static void test_hash_nomem(void **state) {
  (void)state;
  util_heap heap = {.fail_at = 2};
  aq_env env = util_heap_env(&heap);
  aq_mem mem;
  aq_mem_init(&mem, &env);
  aq_hash h;
  uint64_t salt[2] = {1, 1};
  aq_hash_init(&h, &mem, salt);
  int failed = 0;
  int there = 0;
  for (int i = 0; i < 30; i++) {
    int err = aq_hash_put(&h, &i, sizeof(i), &h);
    failed += err == AQ_ERR_NOMEM;
    there += err == 0;
    assert_int_equal(aq_hash_count(&h), there);
    assert_true((aq_hash_get(&h, &i, sizeof(i)) != NULL) == (err == 0));
  }
  assert_int_equal(failed, 1);
  assert_int_equal(there, 29);
  aq_hash_free(&h);
  assert_int_equal(heap.live, 0);
}

static void test_timers(void **state) {
  (void)state;
  enum { N = 2000 };
  static aq_timer t[N];
  static aq_tstamp want[N];
  memset(t, 0, sizeof(t));
  aq_mem mem;
  aq_mem_init(&mem, NULL);
  aq_timer_heap h;
  aq_timer_heap_init(&h, &mem);
  assert_true(aq_timer_heap_next(&h) == AQ_NEVER);
  assert_null(aq_timer_heap_first(&h, AQ_NEVER));
  for (int i = 0; i < N; i++) {
    want[i] = AQ_NEVER;
  }
  uint64_t rnd = 3;
  for (int op = 0; op < 40000; op++) {
    size_t i = (size_t)(util_random(&rnd) % N);
    uint64_t r = util_random(&rnd) % 10;
    want[i] = r == 0 ? AQ_NEVER : util_random(&rnd) % 1000;
    if (r == 1) {
      want[i] = AQ_NEVER;
      aq_timer_remove(&h, &t[i]);
    } else {
      assert_int_equal(aq_timer_set(&h, &t[i], want[i]), 0);
    }
    if (op % 97 == 0) {
      aq_tstamp least = AQ_NEVER;
      for (int k = 0; k < N; k++) {
        least = aq_time_min(least, want[k]);
      }
      assert_true(aq_timer_heap_next(&h) == least);
    }
  }
  aq_tstamp last = 0;
  aq_timer *first;
  while ((first = aq_timer_heap_first(&h, 2000)) != NULL) {
    assert_true(first->deadline >= last);
    assert_true(want[first - t] == first->deadline);
    last = first->deadline;
    aq_timer_remove(&h, first);
    assert_int_equal(first->pos, 0);
  }
  assert_int_equal(h.count, 0);
  assert_int_equal(aq_timer_set(&h, &t[0], 50), 0);
  assert_null(aq_timer_heap_first(&h, 49));
  assert_ptr_equal(aq_timer_heap_first(&h, 50), &t[0]);
  aq_timer_heap_free(&h);
}

static void test_timers_nomem(void **state) {
  (void)state;
  util_heap heap = {0};
  aq_env env = util_heap_env(&heap);
  aq_mem mem;
  aq_mem_init(&mem, &env);
  aq_timer_heap h;
  aq_timer_heap_init(&h, &mem);
  assert_int_equal(aq_timer_heap_reserve(&h, 100), 0);
  heap.fail_at = heap.calls + 1;
  static aq_timer t[200];
  memset(t, 0, sizeof(t));
  int failed = 0;
  for (int i = 0; i < 200; i++) {
    int err = aq_timer_set(&h, &t[i], (aq_tstamp)i);
    assert_true(err == 0 || (err == AQ_ERR_NOMEM && t[i].pos == 0));
    assert_true(err == 0 || i >= 100);
    failed += err != 0;
  }
  assert_int_equal(failed, 1);
  aq_timer_heap_free(&h);
  assert_int_equal(heap.live, 0);
}

static void test_random(void **state) {
  (void)state;
  aq_rand a, b;
  aq_rand_init(&a, 0);
  aq_rand_init(&b, 0);
  size_t bucket[10] = {0};
  for (int i = 0; i < 10000; i++) {
    assert_true(aq_rand_u64(&a) == aq_rand_u64(&b));
    bucket[aq_rand_below(&a, 10)]++;
    aq_rand_below(&b, 10);
    double d = aq_rand_double(&a);
    aq_rand_double(&b);
    assert_true(d >= 0 && d < 1);
  }
  for (int i = 0; i < 10; i++) {
    assert_true(bucket[i] > 800 && bucket[i] < 1200);
  }
  assert_true(aq_rand_below(&a, 0) == 0);
  assert_true(aq_rand_below(&a, 1) == 0);
  aq_rand_init(&b, 1);
  aq_rand_init(&a, 0);
  assert_true(aq_rand_u64(&a) != aq_rand_u64(&b));
}

static char traced[AQ_TRACE_MAX];

static void on_trace(void *user, aq_log_level level, const char *text) {
  *(int *)user = (int)level;
  snprintf(traced, sizeof(traced), "%s", text);
}

static void test_trace(void **state) {
  (void)state;
  int level = -1;
  aq_env env = {.trace = on_trace, .user = &level};
  aq_trace(&env, AQ_LOG_INFO, "trav %d: %s", 3, "hello");
  assert_string_equal(traced, "trav 3: hello");
  assert_int_equal(level, AQ_LOG_INFO);
  aq_trace(&env, AQ_LOG_WARN, "%0700d", 1);
  assert_int_equal(strlen(traced), AQ_TRACE_MAX - 1);
  env.trace = NULL;
  aq_trace(&env, AQ_LOG_INFO, "silence");
  aq_trace(NULL, AQ_LOG_INFO, "silence");
  assert_int_equal(level, AQ_LOG_WARN);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_errors),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_window),
      cmocka_unit_test(test_time),
      cmocka_unit_test(test_memory),
      cmocka_unit_test(test_list),
      cmocka_unit_test(test_ring),
      cmocka_unit_test(test_siphash_vectors),
      cmocka_unit_test(test_siphash),
      cmocka_unit_test(test_hash),
      cmocka_unit_test(test_hash_nomem),
      cmocka_unit_test(test_timers),
      cmocka_unit_test(test_timers_nomem),
      cmocka_unit_test(test_random),
      cmocka_unit_test(test_trace),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
