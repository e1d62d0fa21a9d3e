/* SPDX-License-Identifier: Apache-2.0 */
/* test_tree_finger.c - a finger only saves the way: whatever the keys, the pages are the same bytes
 * as without one, and so are the answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/tree_kit.h"

enum { T_ASCENDING, T_DESCENDING, T_RANDOM, T_CLUSTERS, T_LAST_AGAIN, T_PATTERNS };

#define T_KEYS 6000u
#define T_RUN 16u

static void t_ok(int rc) { assert_int_equal(rc, 0); }

static uint64_t t_pattern(unsigned pattern, uint64_t i, uint64_t *state) {
    switch (pattern) {
    case T_ASCENDING:
        return i;
    case T_DESCENDING:
        return T_KEYS - i;
    case T_RANDOM:
        return t_rand_below(state, T_KEYS);
    case T_CLUSTERS:
        return t_rand_below(state, 8) * 1000000 + i;
    default:
        return i - i % 3; /* the same key up to three times */
    }
}

static size_t t_value_size(uint64_t i) { return i % 501 == 0 ? 3000 : i % 90; }

/* Pages of both trees, which have had the same ids, are equal. */
static void t_same_pages(t_tree *a, t_tree *b) {
    t_shape s;
    t_shape_of(a, &s);
    for (uint64_t id = 2; id <= s.page_max; id++) {
        const uint8_t *x = NULL, *y = NULL;
        pv_error err = PV_ERROR_INIT;
        const int rc = pv__page_read(a->txn, id, PV__PAGE_ANY, &x, &err);
        assert_int_equal(pv__page_read(b->txn, id, PV__PAGE_ANY, &y, &err), rc);
        if (rc == 0) { /* behind the tag of the database */
            assert_int_equal(pv__page_size(x), pv__page_size(y));
            assert_int_equal(memcmp(x + 8, y + 8, pv__page_size(x) - 8), 0);
        }
    }
}

static void test_finger__changes_are_those_of_a_put(void **state) {
    (void)state;
    for (unsigned pattern = 0; pattern < T_PATTERNS; pattern++) {
        t_tree plain, near;
        pv__finger finger;
        uint64_t r = 42;
        uint8_t value[4096];
        finger.depth = 0;
        t_tree_open(&plain);
        t_tree_open(&near);
        for (uint64_t i = 0; i < T_KEYS; i++) {
            const uint64_t key = t_key64(t_pattern(pattern, i, &r));
            const pv__bytes k = {(const uint8_t *)&key, 8}, v = {value, t_value_size(i)};
            bool before = false, after = false, found = false;
            t_value_fill(value, v.size, i);
            t_ok(pv__tree_put(&plain.tree, k, v, &before, &plain.err));
            t_ok(pv__tree_get_near(&near.tree, &finger, k, NULL, &found, &near.err));
            t_ok(pv__tree_put_near(&near.tree, &finger, k, v, &after, &near.err));
            assert_int_equal(before, after);
            assert_int_equal(before, found);
            if (i % 50 == 0) {
                t_ok(pv__txn_pause(near.txn, &near.err));
            }
            if (i % 700 == 699) { /* behind its back */
                bool gone = false;
                t_ok(pv__tree_del(&plain.tree, k, &gone, &plain.err));
                t_ok(pv__tree_del(&near.tree, k, &gone, &near.err));
            }
        }
        assert_int_equal(t_check(&plain), t_check(&near));
        t_same_pages(&plain, &near);
        t_tree_close(&near);
        t_tree_close(&plain);
    }
}

static void test_finger__runs_are_those_of_puts(void **state) {
    (void)state;
    for (unsigned pattern = 0; pattern < T_PATTERNS; pattern++) {
        t_tree plain, near;
        pv__finger finger;
        uint64_t r = 43, keys[T_RUN];
        static uint8_t values[T_RUN][4096];
        pv__bytes k[T_RUN], v[T_RUN];
        finger.depth = 0;
        t_tree_open(&plain);
        t_tree_open(&near);
        for (uint64_t i = 0; i < T_KEYS;) {
            const size_t n = 1 + (size_t)t_rand_below(&r, T_RUN);
            size_t first = n, replaced = 0;
            for (size_t j = 0; j < n; j++, i++) {
                bool before = false;
                keys[j] = t_key64(t_pattern(pattern, i, &r));
                k[j] = pv__bytes_of(&keys[j], 8);
                v[j] = pv__bytes_of(values[j], t_value_size(i));
                t_value_fill(values[j], v[j].size, i);
                t_ok(pv__tree_put(&plain.tree, k[j], v[j], &before, &plain.err));
                first = before ? PV_MIN(first, j) : first;
            }
            t_ok(pv__tree_put_run(&near.tree, &finger, k, v, n, &replaced, &near.err));
            assert_int_equal(replaced, first);
            if (i % 3 == 0) {
                t_ok(pv__txn_pause(near.txn, &near.err));
            }
        }
        assert_int_equal(t_check(&plain), t_check(&near));
        t_same_pages(&plain, &near);
        t_tree_close(&near);
        t_tree_close(&plain);
    }
}

/* The same refusals as put, in a run that has begun well. */
static void test_finger__keys_and_values_have_their_limits(void **state) {
    (void)state;
    static uint8_t big[PV__TREE_KEY_MAX + 1];
    t_tree t;
    pv__finger finger;
    size_t replaced = 0;
    finger.depth = 0;
    t_tree_open(&t);
    const pv__bytes value = pv__bytes_of("v", 1);
    pv__bytes keys[3] = {pv__bytes_of("a", 1), pv__bytes_of("b", 1), pv__bytes_of("", 0)};
    const pv__bytes values[3] = {value, value, value};
    assert_int_equal(pv__tree_put_run(&t.tree, &finger, keys, values, 3, &replaced, &t.err),
                     PV_ERR_MISUSE);
    memset(big, 'z', sizeof big);
    keys[2] = pv__bytes_of(big, sizeof big);
    assert_int_equal(pv__tree_put_run(&t.tree, &finger, keys, values, 3, &replaced, &t.err),
                     PV_ERR_LIMIT);
    keys[2] = pv__bytes_of(big, sizeof big - 1);
    t_ok(pv__tree_put_run(&t.tree, &finger, keys, values, 3, &replaced, &t.err));
    assert_int_equal(replaced, 0);
    assert_int_equal(t_check(&t), 3);
    t_tree_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finger__changes_are_those_of_a_put),
        cmocka_unit_test(test_finger__runs_are_those_of_puts),
        cmocka_unit_test(test_finger__keys_and_values_have_their_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
