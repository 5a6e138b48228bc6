/* test_idmap.c - a stale id is never another's.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/idmap.h"

static void test_life(void **state) {
  (void)state;
  util_heap heap = {0};
  aq_env env = util_heap_env(&heap);
  aq_mem mem;
  aq_mem_init(&mem, &env);
  aq_idmap m;
  aq_idmap_init(&m, &mem);
  int a, b;
  aq_id ida, idb, idc;
  assert_null(aq_idmap_get(&m, 0, 0));
  assert_null(aq_idmap_get(&m, 0, UINT64_MAX));
  assert_int_equal(aq_idmap_add(&m, 1, &a, &ida), 0);
  assert_int_equal(aq_idmap_add(&m, 2, &b, &idb), 0);
  assert_true(ida != 0 && idb != 0 && ida != idb);
  assert_ptr_equal(aq_idmap_get(&m, 1, ida), &a);
  assert_null(aq_idmap_get(&m, 2, ida));
  assert_null(aq_idmap_get(&m, 1, 0));
  uint32_t kind = 0;
  assert_ptr_equal(aq_idmap_find(&m, idb, &kind), &b);
  assert_int_equal(kind, 2);
  assert_ptr_equal(aq_idmap_remove(&m, ida), &a);
  assert_null(aq_idmap_remove(&m, ida));
  assert_null(aq_idmap_get(&m, 1, ida));
  assert_int_equal(aq_idmap_add(&m, 1, &b, &idc), 0);
  assert_true(idc != ida);
  assert_true((idc & 0xffffff) == (ida & 0xffffff)); /* the slot again */
  assert_null(aq_idmap_get(&m, 1, ida));
  assert_ptr_equal(aq_idmap_get(&m, 1, idc), &b);
  assert_null(aq_idmap_get(&m, 1, idc | UINT64_C(1) << 52));
  assert_int_equal(aq_idmap_count(&m), 2);
  aq_idmap_free(&m);
  assert_int_equal(heap.live, 0);
}

static void test_generations(void **state) {
  (void)state;
  aq_mem mem;
  aq_mem_init(&mem, NULL);
  aq_idmap m;
  aq_idmap_init(&m, &mem);
  int v;
  aq_id id;
  assert_int_equal(aq_idmap_add(&m, 0, &v, &id), 0);
  /* As if it had been used nearly as often as a generation can count. */
  m.slot[0].generation = AQ_ID_MAX_GENERATION - 1;
  id = (aq_id)(AQ_ID_MAX_GENERATION - 1) << 24;
  assert_ptr_equal(aq_idmap_remove(&m, id), &v);
  assert_int_equal(aq_idmap_add(&m, 0, &v, &id), 0);
  assert_true(id == (aq_id)AQ_ID_MAX_GENERATION << 24);
  assert_true(id < UINT64_C(1) << 52);
  assert_true((aq_id)(double)id == id);
  assert_ptr_equal(aq_idmap_remove(&m, id), &v);
  aq_id other;
  assert_int_equal(aq_idmap_add(&m, 0, &v, &other), 0);
  assert_true((other & 0xffffff) == 1); /* slot 0 is retired */
  assert_null(aq_idmap_get(&m, 0, id));
  aq_idmap_free(&m);
}

static void test_model(void **state) {
  (void)state;
  enum { N = 3000 };
  static struct {
    aq_id id;
    int live;
  } model[N];
  memset(model, 0, sizeof(model));
  aq_mem mem;
  aq_mem_init(&mem, NULL);
  aq_idmap m;
  aq_idmap_init(&m, &mem);
  uint64_t rnd = 1;
  size_t live = 0;
  for (int op = 0; op < 60000; op++) {
    size_t i = (size_t)(util_random(&rnd) % N);
    assert_ptr_equal(aq_idmap_get(&m, i % 3, model[i].id),
                     model[i].live ? &model[i] : NULL);
    if (model[i].live) {
      assert_ptr_equal(aq_idmap_remove(&m, model[i].id), &model[i]);
    } else {
      assert_int_equal(aq_idmap_add(&m, i % 3, &model[i], &model[i].id), 0);
    }
    model[i].live = !model[i].live;
    live = live + (model[i].live ? 1 : (size_t)-1);
    assert_int_equal(aq_idmap_count(&m), live);
  }
  size_t seen = 0;
  for (uint32_t kind = 0; kind < 3; kind++) {
    size_t cursor = 0;
    aq_id id;
    void *v;
    while ((v = aq_idmap_next(&m, kind, &cursor, &id)) != NULL) {
      assert_ptr_equal(aq_idmap_get(&m, kind, id), v);
      aq_idmap_remove(&m, id);
      seen++;
    }
  }
  assert_int_equal(seen, live);
  assert_int_equal(aq_idmap_count(&m), 0);
  aq_idmap_free(&m);
}

static void test_nomem(void **state) {
  (void)state;
  for (size_t fail = 1; fail < 6; fail++) {
    util_heap heap = {.fail_at = fail};
    aq_env env = util_heap_env(&heap);
    aq_mem mem;
    aq_mem_init(&mem, &env);
    aq_idmap m;
    aq_idmap_init(&m, &mem);
    int v;
    int failed = 0;
    aq_id ids[200] = {0};
    for (int i = 0; i < 200; i++) {
      int err = aq_idmap_add(&m, 0, &v, &ids[i]);
      assert_true(err == 0 || err == AQ_ERR_NOMEM);
      failed += err != 0;
    }
    assert_int_equal(failed, 1);
    assert_int_equal(aq_idmap_count(&m), 199);
    aq_idmap_free(&m);
    assert_int_equal(heap.live, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_life),
      cmocka_unit_test(test_generations),
      cmocka_unit_test(test_model),
      cmocka_unit_test(test_nomem),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
