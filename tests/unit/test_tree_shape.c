/* SPDX-License-Identifier: Apache-2.0 */
/* test_tree_shape.c - how full the nodes are after many operations, that every page comes back,
 * and bulk load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "support/tree_kit.h"

/* ---- shape ----------------------------------------------------------------------------------- */

static double t_leaf_fill(const t_shape *s) {
    return (double)s->leaf_bytes / (double)(s->leaves * PV__TNODE_ROOM);
}

#define T_MANY 200000u

static void test_tree__ascending_inserts_fill_the_nodes(void **state) {
    (void)state;
    t_tree t;
    t_shape s;
    t_tree_open(&t);
    for (uint64_t i = 0; i < T_MANY; i++) {
        uint64_t key = t_key64(i);
        t_put(&t, &key, 8, i, 8);
    }
    assert_int_equal(t_check(&t), T_MANY);
    t_shape_of(&t, &s);
    assert_true(t_leaf_fill(&s) > 0.98);
    assert_true(s.inner <= 3); /* two would not do: the lower ones are full as well */
    assert_int_equal(s.depth, 3);
    for (uint64_t i = 0; i < T_MANY; i += 97) {
        uint64_t key = t_key64(i);
        t_expect(&t, &key, 8, i, 8);
    }
    /* From the old end, as a queue does: nodes are merged and given back. */
    for (uint64_t i = 0; i < T_MANY; i++) {
        uint64_t key = t_key64(i);
        t_del(&t, &key, 8, true);
    }
    assert_int_equal(t_pages_owned(&t, s.page_max + 10), 1);
    t_tree_close(&t);
}

static void test_tree__descending_inserts_fill_the_nodes(void **state) {
    (void)state;
    t_tree t;
    t_shape s;
    t_tree_open(&t);
    for (uint64_t i = T_MANY; i-- > 0;) {
        uint64_t key = t_key64(i);
        t_put(&t, &key, 8, i, 8);
    }
    assert_int_equal(t_check(&t), T_MANY);
    t_shape_of(&t, &s);
    assert_true(t_leaf_fill(&s) > 0.95);
    assert_int_equal(s.depth, 3);
    t_tree_close(&t);
}

static void test_tree__interleaved_sequences_fill_the_nodes(void **state) {
    (void)state;
    t_tree t;
    t_shape s;
    t_tree_open(&t);
    for (uint64_t i = 0; i < 10000; i++) {
        for (uint64_t group = 0; group < 8; group++) {
            uint64_t key[2] = {t_key64(group * 1000), t_key64(i)};
            t_put(&t, key, 16, i, 10);
        }
    }
    assert_int_equal(t_check(&t), 80000);
    t_shape_of(&t, &s);
    assert_true(t_leaf_fill(&s) > 0.90);
    t_tree_close(&t);
}

static void test_tree__random_inserts_and_deletes_keep_nodes_filled(void **state) {
    (void)state;
    t_tree t;
    t_shape s;
    t_tree_open(&t);
    for (uint64_t i = 0; i < T_MANY; i++) {
        uint64_t key = pv__mix64(i);
        t_put(&t, &key, 8, i, 8);
    }
    assert_int_equal(t_check(&t), T_MANY);
    t_shape_of(&t, &s);
    assert_true(t_leaf_fill(&s) > 0.60);
    assert_true(s.least_used >= PV__TNODE_LEAST);
    for (uint64_t i = 0; i < T_MANY; i++) {
        if (i % 10) {
            uint64_t key = pv__mix64(i);
            t_del(&t, &key, 8, true);
        }
    }
    assert_int_equal(t_check(&t), T_MANY / 10);
    t_shape_of(&t, &s);
    assert_true(s.least_used >= PV__TNODE_LEAST);
    assert_true(t_leaf_fill(&s) > 0.40);
    for (uint64_t i = 0; i < T_MANY; i += 10) {
        uint64_t key = pv__mix64(i);
        t_expect(&t, &key, 8, i, 8);
        t_del(&t, &key, 8, true);
    }
    assert_int_equal(t_pages_owned(&t, s.page_max * 4), 1);
    t_tree_close(&t);
}

static void test_tree__nodes_of_big_cells_stay_filled(void **state) {
    (void)state;
    t_tree t;
    t_shape s;
    uint64_t rng = 7;
    t_tree_open(&t);
    for (unsigned round = 0; round < 6000; round++) {
        uint64_t key = t_rand_below(&rng, 1000);
        if (t_rand_below(&rng, 2)) {
            t_put(&t, &key, 8, round, 1000 + t_rand_below(&rng, 1014));
        } else {
            bool found = false;
            assert_int_equal(pv__tree_del(&t.tree, pv__bytes_of(&key, 8), &found, &t.err), 0);
        }
    }
    t_check(&t);
    t_shape_of(&t, &s);
    assert_true(s.least_used >= (PV__TNODE_ROOM - PV__CELL_MAX - 2) / 2);
    t_tree_close(&t);
}

static void test_tree__separators_are_cut_short(void **state) {
    (void)state;
    t_tree t;
    t_shape s;
    uint8_t key[PV__TREE_KEY_MAX];
    t_tree_open(&t);
    for (uint64_t i = 0; i < 3000; i++) { /* the difference is in the first bytes */
        memset(key, 'z', sizeof(key));
        uint64_t first = pv__mix64(i);
        memcpy(key, &first, 8);
        t_put(&t, key, 500, i, 4);
    }
    assert_int_equal(t_check(&t), 3000);
    t_shape_of(&t, &s);
    assert_int_equal(s.inner, 1);
    assert_true(s.inner_bytes / s.leaves < 20);
    t_tree_close(&t);
}

static void test_tree__one_insert_changes_few_bytes(void **state) {
    (void)state;
    t_tree t;
    uint8_t before[PV__TNODE_SIZE];
    const uint8_t *page = NULL;
    uint64_t rng = 3;
    t_tree_open(&t);
    for (unsigned i = 0; i < 150; i++) { /* one leaf, so that the root is the page */
        uint64_t key = t_rand(&rng);
        assert_int_equal(pv__page_read(t.txn, t.tree.root, PV__PAGE_TREE, &page, &t.err), 0);
        memcpy(before, page, sizeof(before));
        t_put(&t, &key, 8, i, 30);
        assert_int_equal(pv__page_read(t.txn, t.tree.root, PV__PAGE_TREE, &page, &t.err), 0);
        unsigned changed = 0;
        for (unsigned b = PV__TNODE_BODY + 2 * (i + 1); b < sizeof(before); b++) {
            changed += before[b] != page[b];
        }
        assert_true(changed <= 4 + 8 + 30);
    }
    t_tree_close(&t);
}

/* ---- drop and bulk load ---------------------------------------------------------------------- */

static void test_tree__drop_gives_back_every_page(void **state) {
    (void)state;
    t_tree t;
    t_shape s;
    t_tree_open(&t);
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t key = pv__mix64(i);
        t_put(&t, &key, 8, i, i % 1000 == 0 ? 300000 : i % 100 == 0 ? 5000 : 20);
    }
    t_shape_of(&t, &s);
    assert_true(s.overflow > 200);
    assert_int_equal(pv__tree_drop(&t.tree, &t.err), 0);
    assert_int_equal(t_pages_owned(&t, s.page_max + 10), 0);
    t_tree_close(&t);
}

typedef struct t_source {
    uint64_t i, count, fail_at;
    bool disorder;
    uint64_t key;
    uint8_t value[6000];
} t_source;

static size_t t_source_size(uint64_t i) { return i % 50 == 0 ? 6000 : i % 7 * 20; }

static int t_source_next(void *ctx, pv__bytes *key, pv__bytes *value, bool *end, pv_error *err) {
    t_source *s = ctx;
    if (s->i == s->count) {
        *end = true;
        return 0;
    }
    if (s->fail_at && s->i == s->fail_at) {
        return pv__err(err, PV_ERR_CANCELLED, "enough");
    }
    s->key = t_key64(s->disorder && s->i == 500 ? 499 : s->i);
    t_value_fill(s->value, t_source_size(s->i), s->i);
    *key = pv__bytes_of(&s->key, 8);
    *value = pv__bytes_of(s->value, t_source_size(s->i));
    s->i++;
    return 0;
}

static void test_tree__bulk_load_equals_inserts(void **state) {
    (void)state;
    const uint64_t counts[] = {0, 1, 2, 100, 1000, 20000, 20001};
    const unsigned fills[] = {100, 90, 40};
    static t_source source;
    for (size_t f = 0; f < PV_COUNTOF(fills); f++) {
        for (size_t n = 0; n < PV_COUNTOF(counts); n++) {
            t_tree t;
            t_shape s;
            t_tree_open(&t);
            memset(&source, 0, sizeof(source));
            source.count = counts[n];
            assert_int_equal(pv__tree_bulk_load(&t.tree, t_source_next, &source, fills[f], &t.err),
                             0);
            assert_int_equal(t_check(&t), counts[n]);
            t_shape_of(&t, &s);
            if (counts[n] >= 20000) {
                assert_true(t_leaf_fill(&s) > fills[f] / 100.0 - 0.04);
                assert_true(t_leaf_fill(&s) <= fills[f] / 100.0);
            }
            assert_int_equal(t_pages_owned(&t, s.page_max + 10), s.leaves + s.inner + s.overflow);
            for (uint64_t i = 0; i < counts[n]; i++) {
                uint64_t key = t_key64(i);
                t_expect(&t, &key, 8, i, t_source_size(i));
            }
            for (uint64_t i = 0; i < counts[n]; i += 3) { /* it takes changes like any other */
                uint64_t key = t_key64(i);
                t_del(&t, &key, 8, true);
                key = t_key64(1000000 - i);
                t_put(&t, &key, 8, i, 40);
            }
            t_check(&t);
            t_tree_close(&t);
        }
    }
}

static void test_tree__long_separators_make_a_deep_tree(void **state) {
    (void)state;
    t_tree t;
    t_shape s;
    t_tree_open(&t);
    uint8_t key[PV__TREE_KEY_MAX];
    memset(key, 'k', sizeof(key)); /* separators cannot be cut */
    for (uint64_t i = 0; i < 4000; i++) {
        uint64_t last = t_key64(i * 2);
        memcpy(key + sizeof(key) - 8, &last, 8);
        t_put(&t, key, sizeof(key), i, 3);
    }
    assert_int_equal(t_check(&t), 4000);
    t_shape_of(&t, &s);
    assert_true(s.depth >= 4);
    for (uint64_t i = 0; i < 4000; i += 2) {
        uint64_t last = t_key64(i * 2);
        memcpy(key + sizeof(key) - 8, &last, 8);
        t_del(&t, key, sizeof(key), true);
    }
    assert_int_equal(t_check(&t), 2000);
    for (uint64_t i = 1; i < 4000; i += 2) {
        uint64_t last = t_key64(i * 2);
        memcpy(key + sizeof(key) - 8, &last, 8);
        t_del(&t, key, sizeof(key), true);
    }
    assert_int_equal(t_pages_owned(&t, s.page_max + 10), 1);
    t_tree_close(&t);
}

static void test_tree__bulk_load_refuses_what_is_wrong(void **state) {
    (void)state;
    t_tree t;
    static t_source source;
    t_tree_open(&t);
    t_tree_commit(&t);
    assert_int_equal(pv__tree_bulk_load(&t.tree, t_source_next, &source, 39, &t.err),
                     PV_ERR_MISUSE);
    assert_int_equal(pv__tree_bulk_load(&t.tree, t_source_next, &source, 101, &t.err),
                     PV_ERR_MISUSE);
    memset(&source, 0, sizeof(source));
    source.count = 1000;
    source.disorder = true;
    assert_int_equal(pv__tree_bulk_load(&t.tree, t_source_next, &source, 100, &t.err),
                     PV_ERR_MISUSE);
    assert_int_equal(pv__txn_commit(t.txn, NULL, &t.err), PV_ERR_MISUSE); /* doomed */
    assert_int_equal(pv__txn_begin(t.store, PV__TXN_WRITE, &t.txn, &t.err), 0);
    t.tree.txn = t.txn;
    memset(&source, 0, sizeof(source));
    source.count = 1000;
    source.fail_at = 700;
    assert_int_equal(pv__tree_bulk_load(&t.tree, t_source_next, &source, 100, &t.err),
                     PV_ERR_CANCELLED);
    assert_string_equal(t.err.message, "enough");
    t_tree_rollback(&t);
    t_put(&t, "x", 1, 1, 1);
    assert_int_equal(pv__tree_bulk_load(&t.tree, t_source_next, &source, 100, &t.err),
                     PV_ERR_MISUSE); /* not empty */
    assert_int_equal(t_check(&t), 1);
    t_tree_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree__ascending_inserts_fill_the_nodes),
        cmocka_unit_test(test_tree__descending_inserts_fill_the_nodes),
        cmocka_unit_test(test_tree__interleaved_sequences_fill_the_nodes),
        cmocka_unit_test(test_tree__random_inserts_and_deletes_keep_nodes_filled),
        cmocka_unit_test(test_tree__nodes_of_big_cells_stay_filled),
        cmocka_unit_test(test_tree__separators_are_cut_short),
        cmocka_unit_test(test_tree__one_insert_changes_few_bytes),
        cmocka_unit_test(test_tree__drop_gives_back_every_page),
        cmocka_unit_test(test_tree__bulk_load_equals_inserts),
        cmocka_unit_test(test_tree__long_separators_make_a_deep_tree),
        cmocka_unit_test(test_tree__bulk_load_refuses_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
