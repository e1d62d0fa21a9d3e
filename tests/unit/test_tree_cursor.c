/* SPDX-License-Identifier: Apache-2.0 */
/* test_tree_cursor.c - walking both ways, seeking, and walking while the tree changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "support/tree_kit.h"

static uint64_t t_key_of(const pv__cursor *c) {
    pv__bytes key = pv__cursor_key(c);
    assert_int_equal(key.size, 8);
    return pv__get64be(key.data);
}

static pv__cursor *t_cursor(t_tree *t) {
    pv__cursor *c = NULL;
    assert_int_equal(pv__cursor_new(&t->tree, &c, &t->err), 0);
    return c;
}

static bool t_move(t_tree *t, pv__cursor *c, int (*move)(pv__cursor *, bool *, pv_error *)) {
    bool valid = false;
    int rc = move(c, &valid, &t->err);
    if (rc) {
        fail_msg("cursor: %s", t->err.message);
    }
    return valid;
}

static bool t_seek(t_tree *t, pv__cursor *c, uint64_t n) {
    bool valid = false;
    uint64_t key = t_key64(n);
    assert_int_equal(pv__cursor_seek(c, pv__bytes_of(&key, 8), &valid, &t->err), 0);
    return valid;
}

static void t_fill(t_tree *t, uint64_t count, uint64_t step) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t key = t_key64(i * step);
        t_put(t, &key, 8, i, 30);
    }
}

static void test_cursor__empty_tree_has_no_place(void **state) {
    (void)state;
    t_tree t;
    t_tree_open(&t);
    pv__cursor *c = t_cursor(&t);
    assert_false(t_move(&t, c, pv__cursor_first));
    assert_false(t_move(&t, c, pv__cursor_last));
    assert_false(t_move(&t, c, pv__cursor_next));
    assert_false(t_move(&t, c, pv__cursor_prev));
    assert_false(t_seek(&t, c, 1));
    assert_int_equal(pv__cursor_key(c).size, 0);
    assert_int_equal(pv__cursor_value(c, &t.value, &t.err), PV_ERR_MISUSE);
    pv__cursor_free(c);
    pv__cursor_free(NULL);
    t_tree_close(&t);
}

static void test_cursor__walks_both_ways_and_turns_at_the_ends(void **state) {
    (void)state;
    t_tree t;
    t_tree_open(&t);
    t_fill(&t, 5000, 1);
    pv__cursor *c = t_cursor(&t);
    for (uint64_t i = 0; i < 5000; i++) { /* a new cursor stands before the first key */
        assert_true(t_move(&t, c, pv__cursor_next));
        assert_int_equal(t_key_of(c), i);
    }
    assert_false(t_move(&t, c, pv__cursor_next));
    assert_false(t_move(&t, c, pv__cursor_next));
    for (uint64_t i = 5000; i-- > 0;) {
        assert_true(t_move(&t, c, pv__cursor_prev));
        assert_int_equal(t_key_of(c), i);
    }
    assert_false(t_move(&t, c, pv__cursor_prev));
    assert_false(t_move(&t, c, pv__cursor_prev));
    assert_true(t_move(&t, c, pv__cursor_next));
    assert_int_equal(t_key_of(c), 0);
    assert_true(t_move(&t, c, pv__cursor_last));
    assert_int_equal(t_key_of(c), 4999);
    assert_true(t_move(&t, c, pv__cursor_prev));
    assert_true(t_move(&t, c, pv__cursor_next));
    assert_int_equal(t_key_of(c), 4999);
    pv__cursor_free(c);
    t_tree_close(&t);
}

static void test_cursor__seek_finds_the_next_key_at_or_above(void **state) {
    (void)state;
    t_tree t;
    bool valid = false;
    static const uint8_t longer[PV__TREE_KEY_MAX + 1];
    t_tree_open(&t);
    t_fill(&t, 4000, 10);
    pv__cursor *c = t_cursor(&t);
    for (uint64_t n = 0; n <= 39990; n += 7) {
        assert_true(t_seek(&t, c, n));
        assert_int_equal(t_key_of(c), (n + 9) / 10 * 10);
    }
    assert_false(t_seek(&t, c, 39991));
    assert_true(t_move(&t, c, pv__cursor_prev)); /* after the last: back to it */
    assert_int_equal(t_key_of(c), 39990);
    assert_int_equal(pv__cursor_seek(c, pv__bytes_of("", 0), &valid, &t.err), 0);
    assert_true(valid);
    assert_int_equal(t_key_of(c), 0);
    assert_true(t_seek(&t, c, 101));
    assert_true(t_move(&t, c, pv__cursor_prev));
    assert_int_equal(t_key_of(c), 100);
    assert_int_equal(pv__cursor_seek(c, pv__bytes_of(longer, sizeof(longer)), &valid, &t.err),
                     PV_ERR_LIMIT);
    assert_int_equal(t_key_of(c), 100);
    pv__cursor_free(c);
    t_tree_close(&t);
}

static void test_cursor__value_is_appended_or_gone(void **state) {
    (void)state;
    t_tree t;
    t_tree_open(&t);
    t_put(&t, "a", 1, 1, 50);
    t_put(&t, "b", 1, 2, 50000);
    pv__cursor *c = t_cursor(&t);
    assert_true(t_move(&t, c, pv__cursor_first));
    assert_true(t_move(&t, c, pv__cursor_next));
    pv__buf_clear(&t.value);
    pv__buf_add_text(&t.value, "xy");
    assert_int_equal(pv__cursor_value(c, &t.value, &t.err), 0);
    assert_int_equal(t.value.len, 50002);
    static uint8_t want[50000];
    t_value_fill(want, sizeof(want), 2);
    assert_memory_equal(t.value.data + 2, want, sizeof(want));
    t_del(&t, "b", 1, true);
    assert_int_equal(pv__cursor_value(c, &t.value, &t.err), PV_ERR_NOTFOUND);
    assert_int_equal(t.value.len, 50002);
    t_put(&t, "b", 1, 3, 7); /* the key is the position */
    pv__buf_clear(&t.value);
    assert_int_equal(pv__cursor_value(c, &t.value, &t.err), 0);
    assert_int_equal(t.value.len, 7);
    pv__cursor_free(c);
    t_tree_close(&t);
}

static void test_cursor__deleting_behind_it_visits_every_key_once(void **state) {
    (void)state;
    t_tree t;
    uint64_t i = 0;
    t_tree_open(&t);
    t_fill(&t, 20000, 1);
    pv__cursor *c = t_cursor(&t);
    while (t_move(&t, c, pv__cursor_next)) {
        assert_int_equal(t_key_of(c), i);
        t_del(&t, pv__cursor_key(c).data, 8, true); /* the key of the cursor itself */
        i++;
        if (i % 5 == 0) {
            assert_int_equal(pv__txn_pause(t.txn, &t.err), 0);
        }
    }
    assert_int_equal(i, 20000);
    assert_int_equal(t_check(&t), 0);
    pv__cursor_free(c);
    t_tree_close(&t);
}

static void test_cursor__follows_the_keys_through_any_change(void **state) {
    (void)state;
    enum { KEYS = 3000, STEPS = 30000 };
    static bool there[KEYS];
    for (uint64_t seed = 1; seed <= 4; seed++) {
        t_tree t;
        uint64_t rng = seed;
        int64_t at = -1; /* the model's cursor: the key, -1 before all, KEYS after all */
        memset(there, 0, sizeof(there));
        t_tree_open(&t);
        pv__cursor *c = t_cursor(&t);
        print_message("seed %llu\r", (unsigned long long)seed);
        for (unsigned step = 0; step < STEPS; step++) {
            const uint64_t what = t_rand_below(&rng, 100), n = t_rand_below(&rng, KEYS);
            const uint64_t key = t_key64(n);
            if (what < 30) {
                t_put(&t, &key, 8, step, t_rand_below(&rng, 200));
                there[n] = true;
            } else if (what < 45) {
                t_del(&t, &key, 8, there[n]);
                there[n] = false;
            } else if (what < 50) {
                assert_int_equal(pv__txn_pause(t.txn, &t.err), 0);
            } else if (what < 52) {
                bool valid = t_seek(&t, c, n);
                for (at = (int64_t)n; at < KEYS && !there[at]; at++) {
                }
                assert_int_equal(valid, at < KEYS);
            } else {
                const bool forward = what < 77;
                if (forward) {
                    for (at += at < KEYS; at < KEYS && !there[at]; at++) {
                    }
                } else {
                    for (at -= at >= 0; at >= 0 && !there[at]; at--) {
                    }
                }
                assert_int_equal(t_move(&t, c, forward ? pv__cursor_next : pv__cursor_prev),
                                 at >= 0 && at < KEYS);
                if (at >= 0 && at < KEYS) {
                    assert_int_equal(t_key_of(c), at);
                }
            }
        }
        t_check(&t);
        pv__cursor_free(c);
        t_tree_close(&t);
    }
}

static void test_cursor__works_in_a_read_transaction(void **state) {
    (void)state;
    t_tree t;
    uint64_t n = 0;
    t_tree_open(&t);
    t_fill(&t, 3000, 1);
    assert_int_equal(pv__txn_commit(t.txn, NULL, &t.err), 0);
    assert_int_equal(pv__txn_begin(t.store, 0, &t.txn, &t.err), 0);
    t.tree.txn = t.txn;
    pv__cursor *c = t_cursor(&t);
    while (t_move(&t, c, pv__cursor_next)) {
        assert_int_equal(t_key_of(c), n++);
        if (n % 10 == 0) {
            assert_int_equal(pv__txn_pause(t.txn, &t.err), 0);
        }
    }
    assert_int_equal(n, 3000);
    pv__cursor_free(c);
    t_tree_close(&t);
}

static void test_cursor__out_of_memory_is_reported(void **state) {
    (void)state;
    t_tree t;
    t_tree_open(&t);
    pv__cursor *c = (pv__cursor *)&t;
    t.mem.fail_at = t.mem.calls + 1;
    assert_int_equal(pv__cursor_new(&t.tree, &c, &t.err), PV_ERR_NOMEM);
    assert_null(c);
    t_tree_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor__empty_tree_has_no_place),
        cmocka_unit_test(test_cursor__walks_both_ways_and_turns_at_the_ends),
        cmocka_unit_test(test_cursor__seek_finds_the_next_key_at_or_above),
        cmocka_unit_test(test_cursor__value_is_appended_or_gone),
        cmocka_unit_test(test_cursor__deleting_behind_it_visits_every_key_once),
        cmocka_unit_test(test_cursor__follows_the_keys_through_any_change),
        cmocka_unit_test(test_cursor__works_in_a_read_transaction),
        cmocka_unit_test(test_cursor__out_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
