/* SPDX-License-Identifier: Apache-2.0 */
/* test_vector_idmap.c - keys to slots. */
#include "support/test_support.h"

#include <stdio.h>
#include <string.h>

#include "vector/vector.h"

#define T_OWNER 4u

typedef struct t_world {
    pv__mem mem;
    pv__store *store;
    pv__txn *txn;
    pv__idmap map;
    pv_error err;
} t_world;

static int t_setup(void **state) {
    static t_world world;
    t_world *w = &world;
    memset(w, 0, sizeof *w);
    const pv_error none = PV_ERROR_INIT;
    w->err = none;
    test_mem_init(&w->mem);
    const pv__store_opts opts = {
        .path = ":memory:", .mem = &w->mem, .create = true, .no_threads = true};
    uint64_t root = 0;
    test_assert_ok(pv__store_open(&opts, &w->store, &w->err), &w->err);
    test_assert_ok(pv__txn_begin(w->store, PV__TXN_WRITE, &w->txn, &w->err), &w->err);
    test_assert_ok(pv__idmap_create(w->txn, T_OWNER, &root, &w->err), &w->err);
    pv__idmap_init(&w->map, w->txn, T_OWNER, root);
    *state = w;
    return 0;
}

static int t_teardown(void **state) {
    t_world *w = *state;
    pv__idmap_done(&w->map);
    pv__txn_rollback(w->txn);
    test_assert_ok(pv__store_close(w->store, &w->err), &w->err);
    test_mem_done(&w->mem);
    return 0;
}

static pv__bytes t_text(const char *s) {
    const pv__bytes b = {(const uint8_t *)s, strlen(s)};
    return b;
}

static void test_idmap__keeps_text_keys(void **state) {
    t_world *w = *state;
    bool found = true, replaced = true;
    uint32_t slot = 99;
    test_assert_ok(pv__idmap_get(&w->map, t_text("a"), &slot, &found, &w->err), &w->err);
    assert_true(!found && slot == 99);
    test_assert_ok(pv__idmap_put(&w->map, t_text("a"), 1, &replaced, &w->err), &w->err);
    assert_false(replaced);
    test_assert_ok(
        pv__idmap_put(&w->map, t_text("a"), PV__SLOTS_PER_COLLECTION_MAX - 1, &replaced, &w->err),
        &w->err);
    assert_true(replaced);
    test_assert_ok(pv__idmap_get(&w->map, t_text("a"), &slot, &found, &w->err), &w->err);
    assert_true(found && slot == PV__SLOTS_PER_COLLECTION_MAX - 1);
    test_assert_ok(pv__idmap_del(&w->map, t_text("a"), &found, &w->err), &w->err);
    assert_true(found);
    test_assert_ok(pv__idmap_del(&w->map, t_text("a"), &found, &w->err), &w->err);
    assert_false(found);
}

static void test_idmap__keys_out_of_bounds_are_refused(void **state) {
    t_world *w = *state;
    char key[PV__KEY_BYTES_MAX + 2];
    memset(key, 'k', sizeof key);
    key[PV__KEY_BYTES_MAX + 1] = 0;
    bool found = false;
    uint32_t slot = 0;
    const pv__bytes longest = {(uint8_t *)key, PV__KEY_BYTES_MAX};
    test_assert_ok(pv__idmap_put(&w->map, longest, 5, NULL, &w->err), &w->err);
    test_assert_ok(pv__idmap_get(&w->map, longest, &slot, &found, &w->err), &w->err);
    assert_true(found && slot == 5);
    test_assert_rc(pv__idmap_put(&w->map, t_text(key), 5, NULL, &w->err), PV_ERR_LIMIT, NULL);
    test_assert_rc(pv__idmap_get(&w->map, t_text(key), &slot, &found, &w->err), PV_ERR_LIMIT, NULL);
    test_assert_rc(pv__idmap_put(&w->map, t_text(""), 5, NULL, &w->err), PV_ERR_MISUSE, NULL);
    test_assert_rc(pv__idmap_del(&w->map, t_text(""), &found, &w->err), PV_ERR_MISUSE, NULL);
}

static void test_idmap__numbers_are_walked_in_their_order(void **state) {
    t_world *w = *state;
    uint8_t buf[8];
    for (uint32_t i = 0; i < 3000; i++) { /* 7919 is prime to 3000: every number once */
        const uint64_t id = (uint64_t)(i * 7919u % 3000u) * 0x100000001u;
        test_assert_ok(
            pv__idmap_put(&w->map, pv__idmap_key_u64(buf, id), i * 7919u % 3000u, NULL, &w->err),
            &w->err);
    }
    pv__cursor *cursor = NULL;
    bool valid = false;
    uint32_t n = 0, slot = 0;
    test_assert_ok(pv__cursor_new(&w->map.tree, &cursor, &w->err), &w->err);
    test_assert_ok(pv__cursor_first(cursor, &valid, &w->err), &w->err);
    for (; valid; n++) {
        const pv__bytes key = pv__cursor_key(cursor);
        assert_int_equal(key.size, 8);
        assert_true(pv__get64be(key.data) == (uint64_t)n * 0x100000001u);
        test_assert_ok(pv__idmap_cursor_slot(&w->map, cursor, &slot, &w->err), &w->err);
        assert_int_equal(slot, n);
        test_assert_ok(pv__cursor_next(cursor, &valid, &w->err), &w->err);
    }
    assert_int_equal(n, 3000);
    pv__cursor_free(cursor);
    test_assert_ok(pv__idmap_drop(&w->map, &w->err), &w->err);
}

static void test_idmap__values_that_are_no_slots_are_damage(void **state) {
    t_world *w = *state;
    static const uint8_t value[5] = {255, 255, 255, 255, 1};
    uint32_t slot = 7;
    bool found = false;
    for (size_t size = 0; size <= sizeof value; size++) {
        const pv__bytes v = {value, size};
        test_assert_ok(pv__tree_put(&w->map.tree, t_text("x"), v, NULL, &w->err), &w->err);
        test_assert_rc(pv__idmap_get(&w->map, t_text("x"), &slot, &found, &w->err), PV_ERR_CORRUPT,
                       NULL);
    }
    assert_int_equal(slot, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_idmap__keeps_text_keys, t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_idmap__keys_out_of_bounds_are_refused, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_idmap__numbers_are_walked_in_their_order, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_idmap__values_that_are_no_slots_are_damage, t_setup,
                                        t_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
