/* SPDX-License-Identifier: Apache-2.0 */
/* test_tree.c - put, get and delete, one by one and against a sorted array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/tree_kit.h"

/* ---- single operations ----------------------------------------------------------------------- */

static void test_tree__empty_tree_has_nothing(void **state) {
    (void)state;
    t_tree t;
    bool found = true;
    t_tree_open(&t);
    assert_int_equal(pv__tree_get(&t.tree, pv__bytes_of("a", 1), &t.buf, &found, &t.err), 0);
    assert_false(found);
    t_del(&t, "a", 1, false);
    assert_int_equal(t_check(&t), 0);
    t_tree_close(&t);
}

static void test_tree__put_replaces_and_says_so(void **state) {
    (void)state;
    t_tree t;
    bool replaced = true;
    t_tree_open(&t);
    pv__bytes key = pv__bytes_of("key", 3), one = pv__bytes_of("one", 3);
    assert_int_equal(pv__tree_put(&t.tree, key, one, &replaced, &t.err), 0);
    assert_false(replaced);
    assert_int_equal(pv__tree_put(&t.tree, key, one, &replaced, &t.err), 0);
    assert_true(replaced);
    const size_t sizes[] = {0,    1,    300,  299,    2000,   2019, 2020,
                            5000, 5001, 5001, 300000, 300001, 7,    0};
    for (size_t i = 0; i < PV_COUNTOF(sizes); i++) {
        t_put(&t, "key", 3, i, sizes[i]);
        t_expect(&t, "key", 3, i, sizes[i]);
        assert_int_equal(t_check(&t), 1);
    }
    t_shape s;
    t_shape_of(&t, &s);
    assert_int_equal(t_pages_owned(&t, s.page_max + 100), 1);
    t_tree_close(&t);
}

static void test_tree__get_appends_and_null_asks_for_existence(void **state) {
    (void)state;
    t_tree t;
    bool found = false;
    t_tree_open(&t);
    t_put(&t, "k", 1, 1, 10);
    pv__buf_clear(&t.value);
    pv__buf_add_text(&t.value, "before");
    assert_int_equal(pv__tree_get(&t.tree, pv__bytes_of("k", 1), &t.value, &found, &t.err), 0);
    assert_true(found);
    assert_int_equal(t.value.len, 16);
    assert_memory_equal(t.value.data, "before", 6);
    found = false;
    assert_int_equal(pv__tree_get(&t.tree, pv__bytes_of("k", 1), NULL, &found, &t.err), 0);
    assert_true(found);
    t_tree_close(&t);
}

static void test_tree__limits_are_refused_without_harm(void **state) {
    (void)state;
    t_tree t;
    bool flag = true;
    static uint8_t long_key[PV__TREE_KEY_MAX + 1];
    t_tree_open(&t);
    pv__bytes none = pv__bytes_of("", 0), longer = pv__bytes_of(long_key, sizeof(long_key));
    pv__bytes one = pv__bytes_of("1", 1);
    assert_int_equal(pv__tree_put(&t.tree, none, one, &flag, &t.err), PV_ERR_MISUSE);
    assert_int_equal(pv__tree_get(&t.tree, none, NULL, &flag, &t.err), PV_ERR_MISUSE);
    assert_int_equal(pv__tree_del(&t.tree, none, &flag, &t.err), PV_ERR_MISUSE);
    assert_int_equal(pv__tree_put(&t.tree, longer, one, &flag, &t.err), PV_ERR_LIMIT);
    assert_int_equal(pv__tree_get(&t.tree, longer, NULL, &flag, &t.err), PV_ERR_LIMIT);
    assert_int_equal(pv__tree_del(&t.tree, longer, &flag, &t.err), PV_ERR_LIMIT);
    pv__bytes huge = pv__bytes_of(long_key, (size_t)PV__TREE_VALUE_MAX + 1);
    assert_int_equal(pv__tree_put(&t.tree, one, huge, &flag, &t.err), PV_ERR_LIMIT);
    assert_true(flag); /* outputs stay untouched on failure */
    t_put(&t, long_key, PV__TREE_KEY_MAX, 1, 5);
    t_expect(&t, long_key, PV__TREE_KEY_MAX, 1, 5);
    t_tree_commit(&t); /* not doomed */
    assert_int_equal(t_check(&t), 1);
    t_tree_close(&t);
}

static void test_tree__write_in_a_read_transaction_is_refused(void **state) {
    (void)state;
    t_tree t;
    t_tree_open(&t);
    t_put(&t, "k", 1, 1, 10);
    assert_int_equal(pv__txn_commit(t.txn, NULL, &t.err), 0);
    assert_int_equal(pv__txn_begin(t.store, 0, &t.txn, &t.err), 0);
    t.tree.txn = t.txn;
    t_expect(&t, "k", 1, 1, 10);
    pv__bytes key = pv__bytes_of("l", 1);
    assert_int_not_equal(pv__tree_put(&t.tree, key, key, NULL, &t.err), 0);
    assert_int_not_equal(pv__tree_del(&t.tree, pv__bytes_of("k", 1), NULL, &t.err), 0);
    t_expect(&t, "k", 1, 1, 10);
    t_tree_close(&t);
}

static void test_tree__longest_value_is_kept(void **state) {
    (void)state;
    t_tree t;
    t_shape s;
    t_tree_open(&t);
    t_put(&t, "big", 3, 1, PV__TREE_VALUE_MAX);
    t_put(&t, "bigger", 6, 2, 262064);          /* one full overflow page */
    t_put(&t, "biggest", 7, 3, 262064 * 2 + 1); /* a last page with one byte */
    t_expect(&t, "big", 3, 1, PV__TREE_VALUE_MAX);
    t_expect(&t, "bigger", 6, 2, 262064);
    t_expect(&t, "biggest", 7, 3, 262064 * 2 + 1);
    t_shape_of(&t, &s);
    assert_int_equal(s.overflow, 257 + 1 + 3);
    assert_int_equal(t_check(&t), 3);
    t_del(&t, "big", 3, true);
    t_del(&t, "bigger", 6, true);
    t_del(&t, "biggest", 7, true);
    assert_int_equal(t_pages_owned(&t, s.page_max + 10), 1);
    t_tree_close(&t);
}

static void test_tree__same_value_again_dirties_nothing(void **state) {
    (void)state;
    t_tree t;
    t_tree_open(&t);
    t_put(&t, "k", 1, 1, 100);
    t_tree_commit(&t);
    t_put(&t, "k", 1, 1, 100);
    assert_false(pv__txn_is_dirty(t.txn));
    t_tree_close(&t);
}

/* ---- against a sorted array ------------------------------------------------------------------ */

#define T_MODEL_MAX 600

typedef struct t_entry {
    uint16_t key_size;
    uint8_t key[PV__TREE_KEY_MAX];
    uint64_t seed;
    size_t size;
} t_entry;

typedef struct t_model {
    t_entry *entries[T_MODEL_MAX];
    size_t count;
} t_model;

static size_t t_model_find(const t_model *m, const uint8_t *key, size_t size, bool *out_found) {
    size_t i = 0;
    int order = 1;
    for (; i < m->count; i++) {
        order = pv__bytes_order(pv__bytes_of(m->entries[i]->key, m->entries[i]->key_size),
                                pv__bytes_of(key, size));
        if (order >= 0) {
            break;
        }
    }
    *out_found = i < m->count && order == 0;
    return i;
}

static void t_model_put(t_model *m, const uint8_t *key, size_t key_size, uint64_t seed,
                        size_t size) {
    bool found = false;
    size_t i = t_model_find(m, key, key_size, &found);
    if (!found) {
        memmove(&m->entries[i + 1], &m->entries[i], (m->count - i) * sizeof(m->entries[0]));
        m->entries[i] = malloc(sizeof(t_entry));
        assert_non_null(m->entries[i]);
        m->count++;
    }
    memcpy(m->entries[i]->key, key, key_size);
    m->entries[i]->key_size = (uint16_t)key_size;
    m->entries[i]->seed = seed;
    m->entries[i]->size = size;
}

static void t_model_del(t_model *m, size_t i) {
    free(m->entries[i]);
    memmove(&m->entries[i], &m->entries[i + 1], (m->count - i - 1) * sizeof(m->entries[0]));
    m->count--;
}

static void t_model_clear(t_model *m) {
    while (m->count > 0) {
        free(m->entries[--m->count]);
    }
}

static void t_model_copy(t_model *to, const t_model *from) {
    t_model_clear(to);
    for (size_t i = 0; i < from->count; i++) {
        to->entries[i] = malloc(sizeof(t_entry));
        assert_non_null(to->entries[i]);
        *to->entries[i] = *from->entries[i];
    }
    to->count = from->count;
}

/* Keys by style: tiny alphabet, long shared prefix, big-endian numbers, any bytes, very long. */
static size_t t_random_key(uint64_t *rng, unsigned style, uint8_t *out) {
    size_t size = 0;
    switch (style) {
    case 0:
        size = 1 + t_rand_below(rng, 7);
        for (size_t i = 0; i < size; i++) {
            out[i] = (uint8_t)('a' + t_rand_below(rng, 2));
        }
        return size;
    case 1:
        size = 200 + t_rand_below(rng, 3) * 400;
        memset(out, 'p', size);
        for (size_t i = 0; i < 4; i++) {
            out[size++] = (uint8_t)('0' + t_rand_below(rng, 4));
        }
        return size;
    case 2: {
        uint64_t key = t_key64(t_rand_below(rng, 400));
        memcpy(out, &key, 8);
        return 8;
    }
    case 3:
        size = 1 + t_rand_below(rng, 40);
        t_value_fill(out, size, t_rand_below(rng, 500));
        return size;
    default:
        size = PV__TREE_KEY_MAX - t_rand_below(rng, 3);
        t_value_fill(out, size, t_rand_below(rng, 300));
        return size;
    }
}

static size_t t_random_size(uint64_t *rng) {
    switch (t_rand_below(rng, 40)) {
    case 0:
        return t_rand_below(rng, 200000);
    case 1:
    case 2:
        return t_rand_below(rng, 9000);
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
        return 900 + t_rand_below(rng, 1200);
    case 9:
        return 0;
    default:
        return t_rand_below(rng, 120);
    }
}

static void t_model_compare(t_tree *t, const t_model *m) {
    pv__cursor *c = NULL;
    bool valid = false;
    assert_int_equal(t_check(t), m->count);
    assert_int_equal(pv__cursor_new(&t->tree, &c, &t->err), 0);
    assert_int_equal(pv__cursor_first(c, &valid, &t->err), 0);
    for (size_t i = 0; i < m->count; i++) {
        const t_entry *e = m->entries[i];
        assert_true(valid);
        pv__bytes key = pv__cursor_key(c);
        assert_int_equal(key.size, e->key_size);
        assert_memory_equal(key.data, e->key, e->key_size);
        t_expect(t, e->key, e->key_size, e->seed, e->size);
        assert_int_equal(pv__cursor_next(c, &valid, &t->err), 0);
    }
    assert_false(valid);
    pv__cursor_free(c);
}

static void t_model_run(t_tree *t, uint64_t seed, unsigned ops) {
    uint64_t rng = seed;
    t_model m = {{0}, 0}, saved = {{0}, 0};
    uint8_t key[PV__TREE_KEY_MAX];
    const unsigned style = (unsigned)(seed % 5);
    const uint64_t del_share = 20 + t_rand_below(&rng, 50);
    for (unsigned i = 0; i < ops; i++) {
        const uint64_t what = t_rand_below(&rng, 1000);
        bool found = false;
        if (what < 10) {
            t_tree_commit(t);
            t_model_copy(&saved, &m);
        } else if (what < 16) {
            t_tree_rollback(t);
            t_model_copy(&m, &saved);
        } else if (what < 40) {
            assert_int_equal(pv__txn_pause(t->txn, &t->err), 0);
        } else if (what < 40 + del_share * 9 && m.count > 0) {
            size_t size = t_random_key(&rng, style, key);
            size_t at = t_model_find(&m, key, size, &found);
            if (!found && t_rand_below(&rng, 3)) { /* mostly one that is there */
                at = t_rand_below(&rng, m.count);
                size = m.entries[at]->key_size;
                memcpy(key, m.entries[at]->key, size);
                found = true;
            }
            t_del(t, key, size, found);
            if (found) {
                t_model_del(&m, at);
            }
        } else {
            const size_t size = t_random_key(&rng, style, key), value = t_random_size(&rng);
            t_put(t, key, size, seed + i, value);
            t_model_put(&m, key, size, seed + i, value);
            t_expect(t, key, size, seed + i, value);
        }
        if (i % 100 == 99) {
            t_model_compare(t, &m);
        }
    }
    t_model_compare(t, &m);
    while (m.count > 0) { /* down to nothing, from both ends and the middle */
        const size_t at = t_rand_below(&rng, m.count);
        t_del(t, m.entries[at]->key, m.entries[at]->key_size, true);
        t_model_del(&m, at);
    }
    assert_int_equal(t_check(t), 0);
    assert_int_equal(t_pages_owned(t, 2000), 1);
    t_model_clear(&saved);
}

static void test_tree__is_a_sorted_map(void **state) {
    (void)state;
    uint64_t from = 1, to = 201;
    t_seeds(&from, &to);
    for (uint64_t seed = from; seed < to; seed++) {
        t_tree t;
        t_tree_open(&t);
        t_tree_commit(&t);
        print_message("seed %llu\r", (unsigned long long)seed); /* stays when it fails */
        t_model_run(&t, seed, 500);
        t_tree_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree__empty_tree_has_nothing),
        cmocka_unit_test(test_tree__put_replaces_and_says_so),
        cmocka_unit_test(test_tree__get_appends_and_null_asks_for_existence),
        cmocka_unit_test(test_tree__limits_are_refused_without_harm),
        cmocka_unit_test(test_tree__write_in_a_read_transaction_is_refused),
        cmocka_unit_test(test_tree__longest_value_is_kept),
        cmocka_unit_test(test_tree__same_value_again_dirties_nothing),
        cmocka_unit_test(test_tree__is_a_sorted_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
