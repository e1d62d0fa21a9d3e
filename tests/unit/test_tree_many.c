/* SPDX-License-Identifier: Apache-2.0 */
/* test_tree_many.c - keys looked up side by side give what as many gets give, however they are
 * spread, and damage is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/tree_kit.h"

#define T_KEYS 5000u
#define T_ROUNDS 600u

enum { T_DENSE, T_SPARSE, T_TEXTS, T_ONE_PREFIX, T_CLUSTERS, T_SHAPES };

/* Key number n of a shape; every other one is in the tree. */
static pv__bytes t_key(unsigned shape, uint64_t n, uint8_t *buf) {
    size_t size = 0;
    uint64_t state = n * 77 + 1;
    switch (shape) {
    case T_DENSE:
        pv__put32be(buf, (uint32_t)n);
        return pv__bytes_of(buf, 4);
    case T_SPARSE:
        pv__put64be(buf, n * n * 1000003);
        return pv__bytes_of(buf, 8);
    case T_ONE_PREFIX: /* the first 8 bytes tell nothing */
        size = (size_t)snprintf((char *)buf, 64, "a-long-prefix-%llu", (unsigned long long)n);
        return pv__bytes_of(buf, size);
    case T_CLUSTERS:
        pv__put32be(buf, (uint32_t)(n % 7 == 0 ? n : 0x40000000u + n));
        return pv__bytes_of(buf, 4);
    default: /* 1 to 40 bytes, and the number so that they differ */
        size = 1 + (size_t)t_rand_below(&state, 36);
        for (size_t i = 0; i < size; i++) {
            buf[i] = (uint8_t)t_rand(&state);
        }
        pv__put32be(buf + size, (uint32_t)n);
        return pv__bytes_of(buf, size + 4);
    }
}

static size_t t_size(uint64_t n) { return n % 301 == 0 ? 5000 : n % 70; }

static void t_fill(t_tree *t, unsigned shape, uint64_t keys) {
    uint8_t buf[64];
    for (uint64_t n = 0; n < keys; n += 2) {
        const pv__bytes key = t_key(shape, n, buf);
        t_put(t, key.data, key.size, n, t_size(n));
    }
}

static void t_compare(t_tree *t, unsigned shape, const uint64_t *numbers, size_t count) {
    uint8_t buf[PV__TREE_MANY][64], value[8192];
    pv__bytes keys[PV__TREE_MANY] = {{NULL, 0}};
    pv__tree_seen seen[PV__TREE_MANY];
    for (size_t i = 0; i < count; i++) {
        keys[i] = t_key(shape, numbers[i], buf[i]);
    }
    assert_int_equal(pv__tree_get_many(&t->tree, keys, count, seen, &t->err), 0);
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        pv__buf_clear(&t->buf);
        assert_int_equal(pv__tree_get(&t->tree, keys[i], &t->buf, &found, &t->err), 0);
        assert_int_equal(seen[i].found, found);
        if (found) {
            assert_int_equal(seen[i].is_long, t->buf.len > PV__CELL_INLINE_MAX - keys[i].size);
        }
        if (found && !seen[i].is_long) {
            t_value_fill(value, t_size(numbers[i]), numbers[i]);
            assert_int_equal(seen[i].value.size, t_size(numbers[i]));
            assert_memory_equal(seen[i].value.data, value, seen[i].value.size);
        }
    }
}

static void test_many__answers_are_those_of_get(void **state) {
    (void)state;
    for (unsigned shape = 0; shape < T_SHAPES; shape++) {
        for (uint64_t keys = 0; keys <= T_KEYS;
             keys = keys * 9 + 3) { /* from empty to three levels */
            t_tree t;
            uint64_t r = 7 + shape, seen = 0;
            t_tree_open(&t);
            t_fill(&t, shape, keys);
            for (unsigned round = 0; round < T_ROUNDS; round++) {
                uint64_t numbers[PV__TREE_MANY];
                const size_t count = (size_t)t_rand_below(&r, PV__TREE_MANY + 1);
                for (size_t i = 0; i < count; i++) {
                    numbers[i] = t_rand_below(&r, keys + 3);
                }
                t_compare(&t, shape, numbers, count);
                seen += count;
            }
            assert_true(seen > T_ROUNDS);
            t_tree_close(&t);
        }
    }
}

static void test_many__keys_have_their_limits(void **state) {
    (void)state;
    static uint8_t big[PV__TREE_KEY_MAX + 1];
    pv__bytes keys[2] = {pv__bytes_of("a", 1), pv__bytes_of("", 0)};
    pv__tree_seen seen[2];
    t_tree t;
    t_tree_open(&t);
    assert_int_equal(pv__tree_get_many(&t.tree, keys, 2, seen, &t.err), PV_ERR_MISUSE);
    memset(big, 'z', sizeof big);
    keys[1] = pv__bytes_of(big, sizeof big);
    assert_int_equal(pv__tree_get_many(&t.tree, keys, 2, seen, &t.err), PV_ERR_LIMIT);
    t_tree_close(&t);
}

/* Bytes of any node overwritten: found as damage or without a difference, never read beyond. */
static void test_many__damage_is_told(void **state) {
    (void)state;
    t_tree t;
    t_shape s;
    uint64_t r = 99, told = 0;
    t_tree_open(&t);
    t_fill(&t, T_DENSE, T_KEYS);
    t_shape_of(&t, &s);
    for (unsigned round = 0; round < 3000; round++) {
        const uint64_t id = 2 + t_rand_below(&r, s.page_max - 1);
        const size_t at = PV__PAGE_HEAD + (size_t)t_rand_below(&r, round % 2 ? 40 : PV__TNODE_ROOM);
        uint8_t buf[PV__TREE_MANY][64], *page = NULL;
        pv__bytes keys[PV__TREE_MANY] = {{NULL, 0}};
        pv__tree_seen seen[PV__TREE_MANY];
        assert_int_equal(pv__page_write(t.txn, id, PV__PAGE_ANY, &page, &t.err), 0);
        if (pv__page_kind(page) != PV__PAGE_TREE) {
            continue;
        }
        const uint8_t before = page[at];
        page[at] = (uint8_t)t_rand(&r);
        for (size_t i = 0; i < PV__TREE_MANY; i++) {
            keys[i] = t_key(T_DENSE, t_rand_below(&r, T_KEYS), buf[i]);
        }
        const int rc = pv__tree_get_many(&t.tree, keys, PV__TREE_MANY, seen, &t.err);
        assert_true(rc == 0 || rc == PV_ERR_CORRUPT);
        told += rc != 0;
        page[at] = before;
    }
    assert_true(told > 10);
    t_tree_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many__answers_are_those_of_get),
        cmocka_unit_test(test_many__keys_have_their_limits),
        cmocka_unit_test(test_many__damage_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
