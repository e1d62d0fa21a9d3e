/* SPDX-License-Identifier: Apache-2.0 */
/* test_value_compare.c - the total order over values (V4), and the sort that uses such orders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>

#include "test_value_random.h"
#include "value/compare.h"
#include "value/sort.h"

static pv__mem t_mem;

static int t_setup(void **state) {
    (void)state;
    pv__mem_init(&t_mem, NULL, 0);
    return 0;
}

static int t_teardown(void **state) {
    (void)state;
    return t_mem.bytes_used == 0 ? 0 : -1;
}

static int t_sign(int v) { return (v > 0) - (v < 0); }

#define T_POOL_MAX 400

/* Documents one after another in one buffer. */
typedef struct t_pool {
    pv__buf docs;
    size_t at[T_POOL_MAX + 1];
    size_t count;
} t_pool;

static void t_pool_add(t_pool *p, const char *json, size_t len) {
    pv_error err = PV_ERROR_INIT;
    assert_true(p->count < T_POOL_MAX);
    if (t_read(json, len, &p->docs, &err)) {
        fail_msg("%.*s: %s", (int)len, json, err.message);
    }
    p->at[++p->count] = p->docs.len;
}

static pv__value t_pool_value(const t_pool *p, size_t i) {
    return (pv__value){p->docs.data + p->at[i], p->at[i + 1] - p->at[i]};
}

/* Ascending; the values of one line are equal. */
static const char *const t_ladder[][4] = {
    {"null"},
    {"false"},
    {"true"},
    {"-1.7976931348623157e308"},
    {"-9223372036854777856.0"},
    {"-9223372036854775808", "-9223372036854775808.0"},
    {"-9223372036854775807"},
    {"-9223372036854774784.0", "-9223372036854774784"},
    {"-2"},
    {"-1.5"},
    {"-1", "-1.0", "-1e0"},
    {"-5e-324"},
    {"0", "-0", "0.0", "-0.0"},
    {"5e-324"},
    {"0.5"},
    {"1", "1.0"},
    {"1.0000000000000002"},
    {"2"},
    {"9007199254740992", "9007199254740992.0"},
    {"9007199254740993"},
    {"9007199254740994", "9007199254740994.0"},
    {"9223372036854774784.0", "9223372036854774784"},
    {"9223372036854775807"},
    {"9223372036854775808", "9223372036854775808.0"},
    {"1e300"},
    {"\"\""},
    {"\"\\u0000\""},
    {"\"A\""},
    {"\"a\"", "\"\\u0061\""},
    {"\"aa\""},
    {"\"b\""},
    {"\"\\u00e9\""},
    {"\"\\ud83d\\ude00\""},
    {"[]"},
    {"[null]"},
    {"[1]", "[1.0]"},
    {"[1,2]"},
    {"[1,[]]"},
    {"[2]"},
    {"[[]]"},
    {"[[1]]"},
    {"[{}]"},
    {"{}"},
    {"{\"\":9}"},
    {"{\"a\":1}", "{\"a\":1.0}"},
    {"{\"a\":1,\"b\":1}", "{\"b\":1,\"a\":1}"},
    {"{\"a\":1,\"b\":2}"},
    {"{\"a\":2}"},
    {"{\"aa\":0}"},
    {"{\"b\":0}"},
};

static void test_compare__ladder_is_in_order(void **state) {
    (void)state;
    t_pool p = {.count = 0};
    size_t rung[T_POOL_MAX];
    pv__buf_init(&p.docs, &t_mem);
    for (size_t i = 0; i < PV_COUNTOF(t_ladder); i++) {
        for (size_t k = 0; k < 4 && t_ladder[i][k]; k++) {
            rung[p.count] = i;
            t_pool_add(&p, t_ladder[i][k], strlen(t_ladder[i][k]));
        }
    }
    for (size_t i = 0; i < p.count; i++) {
        for (size_t k = 0; k < p.count; k++) {
            int want = (rung[i] > rung[k]) - (rung[i] < rung[k]);
            int got = pv__value_compare(t_pool_value(&p, i), t_pool_value(&p, k));
            if (t_sign(got) != want) {
                fail_msg("%s against %s: %d", t_ladder[rung[i]][0], t_ladder[rung[k]][0], got);
            }
        }
        pv__value none = {NULL, 0};
        assert_true(pv__value_compare(none, t_pool_value(&p, i)) < 0);
        assert_true(pv__value_compare(t_pool_value(&p, i), none) > 0);
        assert_int_equal(pv__value_compare(none, none), 0);
    }
    pv__buf_done(&p.docs);
}

static void test_compare__order_is_total(void **state) {
    (void)state;
    const uint64_t seed = 31337;
    print_message("seed %llu\n", (unsigned long long)seed);
    t_rng rng = {seed};
    t_pool p = {.count = 0};
    pv__buf text;
    pv__buf_init(&p.docs, &t_mem);
    pv__buf_init(&text, &t_mem);
    while (p.count < 220) {
        static const char *const small[] = {"1", "1.0", "[1]", "[1,1]", "{\"a\":1}", "{\"a\":[]}"};
        pv__buf_clear(&text);
        if (t_below(&rng, 2)) {
            t_random_json(&rng, &text, t_below(&rng, 4));
        } else {
            const char *s = small[t_below(&rng, 6)];
            pv__buf_add(&text, s, strlen(s));
        }
        t_pool_add(&p, (const char *)text.data, text.len);
    }
    static signed char order[220][220];
    for (size_t i = 0; i < p.count; i++) {
        for (size_t k = 0; k < p.count; k++) {
            pv__value a = t_pool_value(&p, i), b = t_pool_value(&p, k);
            order[i][k] = (signed char)t_sign(pv__value_compare(a, b));
        }
    }
    for (size_t i = 0; i < p.count; i++) {
        assert_int_equal(order[i][i], 0);
        for (size_t k = 0; k < p.count; k++) {
            assert_int_equal(order[i][k], -order[k][i]);
            for (size_t m = 0; m < p.count; m++) {
                if (order[i][k] <= 0 && order[k][m] <= 0) {
                    bool equal = order[i][k] == 0 && order[k][m] == 0;
                    assert_true(equal ? order[i][m] == 0 : order[i][m] < 0);
                }
            }
        }
    }
    pv__buf_done(&p.docs);
    pv__buf_done(&text);
}

/* Against 128-bit integers: the double times 2^k is a whole number. */
static void test_compare__int_and_double_are_exact(void **state) {
    (void)state;
    __extension__ typedef __int128 t_wide;
    const uint64_t seed = 64;
    print_message("seed %llu\n", (unsigned long long)seed);
    t_rng rng = {seed};
    for (unsigned round = 0; round < 200000; round++) {
        int64_t a = (int64_t)(t_next(&rng) >> t_below(&rng, 64)) * (t_below(&rng, 2) ? -1 : 1);
        double b = (double)a;
        switch (t_below(&rng, 4)) {
        case 0:
            b = nextafter(b, t_below(&rng, 2) ? HUGE_VAL : -HUGE_VAL);
            break;
        case 1:
            b += ((double)t_below(&rng, 9) - 4) / 8;
            break;
        case 2:
            a += (int64_t)t_below(&rng, 5) - (a > 0 ? 4 : 0);
            break;
        default:
            break;
        }
        /* Small ones have at most 3 bits behind the point, or a last bit of 2^-52 (next to 1) and
         * more: times 2^60 all are whole and fit 128 bits. Below that: next to 0, skipped. */
        if (fabs(b) >= 9.3e18 || (b != 0 && fabs(b) < 1.0 / 16)) {
            continue;
        }
        double scaled = ldexp(b, 60);
        t_wide x = (t_wide)a * ((t_wide)1 << 60), y = (t_wide)scaled;
        int want = (x > y) - (x < y);
        assert_int_equal(t_sign(pv__compare_i64_double(a, b)), want);
    }
}

static void test_compare__nan_and_infinities_have_their_place(void **state) {
    (void)state;
    double nan = (double)NAN, inf = HUGE_VAL;
    assert_int_equal(pv__compare_double(nan, nan), 0);
    assert_true(pv__compare_double(nan, -inf) < 0);
    assert_true(pv__compare_double(-inf, nan) > 0);
    assert_int_equal(pv__compare_double(-0.0, 0.0), 0);
    assert_true(pv__compare_double(-inf, -DBL_MAX) < 0);
    assert_true(pv__compare_i64_double(INT64_MIN, nan) > 0);
    assert_true(pv__compare_i64_double(INT64_MIN, -inf) > 0);
    assert_true(pv__compare_i64_double(INT64_MAX, inf) < 0);
    assert_true(pv__compare_i64_double(INT64_MAX, 9223372036854775808.0) < 0);
    assert_int_equal(pv__compare_i64_double(INT64_MIN, -9223372036854775808.0), 0);
    assert_int_equal(pv__compare_i64_double(0, -0.0), 0);
}

static void test_compare__classes(void **state) {
    (void)state;
    static const unsigned types[] = {PV__VALUE_NONE,  PV__VALUE_NULL,   PV__VALUE_FALSE,
                                     PV__VALUE_INT,   PV__VALUE_STRING, PV__VALUE_ARRAY,
                                     PV__VALUE_OBJECT};
    for (size_t i = 0; i < PV_COUNTOF(types); i++) {
        for (size_t k = 0; k < PV_COUNTOF(types); k++) {
            assert_int_equal(pv__value_same_class(types[i], types[k]), i == k);
        }
    }
    assert_true(pv__value_same_class(PV__VALUE_TRUE, PV__VALUE_FALSE));
    assert_true(pv__value_same_class(PV__VALUE_INT, PV__VALUE_DOUBLE));
}

static bool t_less(const void *ctx, uint32_t a, uint32_t b) {
    const uint32_t *keys = (const uint32_t *)ctx;
    return keys[a] < keys[b] || (keys[a] == keys[b] && a < b);
}

static void test_sort__every_length_and_pattern_is_sorted(void **state) {
    (void)state;
    t_rng rng = {5};
    uint32_t keys[300], items[300];
    for (size_t n = 0; n <= 300; n += n < 40 ? 1 : 13) {
        for (unsigned pattern = 0; pattern < 5; pattern++) {
            for (size_t i = 0; i < n; i++) {
                items[i] = (uint32_t)i;
                keys[i] = pattern == 0   ? (uint32_t)i
                          : pattern == 1 ? (uint32_t)(n - i)
                          : pattern == 2 ? 7
                          : pattern == 3 ? t_below(&rng, 10)
                                         : (uint32_t)t_next(&rng);
            }
            pv__sort_u32(items, n, t_less, keys);
            for (size_t i = 1; i < n; i++) {
                assert_true(t_less(keys, items[i - 1], items[i]));
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare__ladder_is_in_order),
        cmocka_unit_test(test_compare__order_is_total),
        cmocka_unit_test(test_compare__int_and_double_are_exact),
        cmocka_unit_test(test_compare__nan_and_infinities_have_their_place),
        cmocka_unit_test(test_compare__classes),
        cmocka_unit_test(test_sort__every_length_and_pattern_is_sorted),
    };
    return cmocka_run_group_tests(tests, t_setup, t_teardown);
}
