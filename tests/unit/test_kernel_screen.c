/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernel_screen.c - kernel/screen.h on every instruction set that this CPU has: no pair within
 * its bound is ever dropped, whatever the values; ordinary pairs beyond it are. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "kernel/screen.h"
#include "os/sys.h"
#include "support/test_support.h"

#define T_DIMS_MAX 1000u
#define T_QUERIES 30u

static const unsigned t_metrics[] = {PV_METRIC_L2, PV_METRIC_COSINE, PV_METRIC_DOT};
static test_rng t_rng;
static float *t_queries, *t_groups, *t_panels;
static uint8_t *t_rows;

/* The i-th table that screens and that this CPU can run, NULL at the end. */
static const pv__kernel *t_kernel(size_t i) {
    const uint32_t cpu = pv__sys_cpu();
    for (size_t at = 0; pv__kernel_at(at); at++) {
        const pv__kernel *k = pv__kernel_at(at);
        if ((k->cpu & cpu) == k->cpu && pv__screen_can(k) && i-- == 0) {
            return k;
        }
    }
    return NULL;
}

static int t_setup(void **state) {
    (void)state;
    test_rng_init(&t_rng, test_seed());
    t_queries = malloc(T_QUERIES * T_DIMS_MAX * sizeof(float));
    t_groups = aligned_alloc(64, (T_QUERIES + 12) * T_DIMS_MAX * 16 * sizeof(float));
    t_panels = aligned_alloc(64, PV__SCREEN_ROWS_MAX * T_DIMS_MAX * sizeof(float));
    t_rows = malloc(PV__SCREEN_ROWS_MAX * (T_DIMS_MAX * sizeof(float) + 4));
    return 0;
}

static int t_teardown(void **state) {
    (void)state;
    free(t_queries);
    free(t_groups);
    free(t_panels);
    free(t_rows);
    return 0;
}

enum { T_NORMAL, T_FAR, T_NEAR_QUERY, T_SCALES, T_WHOLE, T_DAMAGED, T_KINDS };

static float t_value(int kind, size_t vector, size_t i) {
    static const float scale[] = {0x1p-149f, 1e-30f, 1e-12f, 0x1p-40f, 1, 0x1p40f, 1e18f, 1e38f};
    const float g = test_rng_gauss(&t_rng);
    switch (kind) {
    case T_FAR:
        return 1000.0f + g * 0.01f;
    case T_SCALES:
        return g * scale[vector % PV_COUNTOF(scale)];
    case T_WHOLE: /* many equal distances */
        return vector % 11 == 3 ? 0 : (float)((int)test_rng_below(&t_rng, 3) - 1);
    case T_DAMAGED:
        return vector % 5 == 0 && i % 7 == 0 ? (vector % 2 ? INFINITY : NAN) : g;
    default:
        return g;
    }
}

static void t_fill(int kind, size_t dims, size_t rows, size_t stride) {
    for (size_t q = 0; q < T_QUERIES; q++) {
        for (size_t i = 0; i < dims; i++) {
            t_queries[q * dims + i] = t_value(kind == T_DAMAGED ? T_NORMAL : kind, q + 3, i);
        }
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < dims; i++) {
            float v = t_value(kind, r, i);
            if (kind == T_NEAR_QUERY) {
                v = t_queries[r % T_QUERIES * dims + i];
                v = r % 3 == 0 ? v : nextafterf(v, r % 3 == 1 ? INFINITY : -INFINITY);
            }
            memcpy(t_rows + r * stride + i * sizeof v, &v, sizeof v);
        }
    }
}

/* Bounds are distances that occur, and the odd ones. */
static float t_bound(size_t i, const float *distances, size_t n) {
    static const float odd[] = {INFINITY, 0, -1, FLT_MAX, -FLT_MAX, 2, 1e-30f};
    return i % 4 == 3 ? odd[i / 4 % PV_COUNTOF(odd)] : distances[test_rng_below(&t_rng, n)];
}

/* How many bits were set; each pair within the bound must have one. */
static size_t t_judge(const pv__kernel *k, unsigned metric, size_t dims, size_t n, size_t stride) {
    static pv__screen s;
    static float distances[T_QUERIES][PV__SCREEN_ROWS_MAX];
    const uint8_t *rows[PV__SCREEN_ROWS_MAX];
    pv__kernel_query q[T_QUERIES];
    double norm2[T_QUERIES];
    size_t bits = 0;
    for (size_t i = 0; i < T_QUERIES; i++) {
        assert_true(pv__kernel_query_init(&q[i], metric, t_queries + i * dims, (uint32_t)dims));
        pv__kernel_scan(k, &q[i], t_rows, stride, n, distances[i]);
    }
    for (size_t r = 0; r < n; r++) {
        rows[r] = t_rows + r * stride;
    }
    assert_true(pv__screen_group_bytes(k, dims, T_QUERIES) >= T_QUERIES * dims * sizeof(float));
    pv__screen_groups(k, q, T_QUERIES, t_groups, norm2);
    s.kernel = k;
    s.metric = metric;
    s.dims = (uint32_t)dims;
    s.panels = t_panels;
    pv__screen_fill(&s, &q[0], rows, n);
    for (size_t first = 0; first < T_QUERIES; first += k->screen_queries) {
        const size_t wide = PV_MIN(T_QUERIES - first, (size_t)k->screen_queries);
        float bounds[12];
        uint64_t out[12][PV__SCREEN_ROWS_MAX / 64];
        size_t set = 0;
        for (size_t i = 0; i < wide; i++) {
            bounds[i] = t_bound(first + i, distances[first + i], n);
        }
        const size_t told = pv__screen_run(&s, t_groups, norm2, first, wide, bounds, out[0]);
        for (size_t i = 0; i < wide; i++) {
            for (size_t r = 0; r < PV__SCREEN_ROWS_MAX; r++) {
                const bool bit = out[i][r / 64] >> (r % 64) & 1;
                assert_true(r < n || !bit);
                set += bit;
                if (r < n && !bit && distances[first + i][r] <= bounds[i]) {
                    fail_msg("%s metric %u dims %zu rows %zu: distance %.9g within %.9g dropped",
                             k->name, metric, dims, n, (double)distances[first + i][r],
                             (double)bounds[i]);
                }
            }
        }
        assert_int_equal(told, set);
        bits += set;
    }
    return bits;
}

static void test_screen__no_pair_within_its_bound_is_dropped(void **state) {
    (void)state;
    static const size_t sizes[] = {1,  2,  3,  4,   5,   15,  16,        17,
                                   31, 33, 64, 100, 128, 385, T_DIMS_MAX};
    for (size_t at = 0; t_kernel(at); at++) {
        const pv__kernel *k = t_kernel(at);
        for (size_t d = 0; d < PV_COUNTOF(sizes); d++) {
            for (int kind = 0; kind < T_KINDS; kind++) {
                const size_t most = pv__screen_rows(k, sizes[d]);
                const size_t stride = sizes[d] * sizeof(float) + (d + (size_t)kind) % 4;
                t_fill(kind, sizes[d], most, stride);
                for (size_t m = 0; m < PV_COUNTOF(t_metrics); m++) {
                    t_judge(k, t_metrics[m], sizes[d], 1 + test_rng_below(&t_rng, most), stride);
                    t_judge(k, t_metrics[m], sizes[d], most, stride);
                }
            }
        }
    }
}

/* Else it would be easy. */
static void test_screen__pairs_beyond_the_bound_are_dropped(void **state) {
    (void)state;
    static pv__screen s;
    enum { DIMS = 100, ROWS = 512 };
    for (size_t at = 0; t_kernel(at); at++) {
        const pv__kernel *k = t_kernel(at);
        for (size_t m = 0; m < PV_COUNTOF(t_metrics); m++) {
            float d[ROWS], sorted[ROWS], bounds[12];
            const uint8_t *rows[ROWS];
            pv__kernel_query q;
            double norm2[1];
            uint64_t out[PV__SCREEN_ROWS_MAX / 64];
            t_fill(T_NORMAL, DIMS, ROWS, DIMS * sizeof(float));
            assert_true(pv__kernel_query_init(&q, t_metrics[m], t_queries, DIMS));
            pv__kernel_scan(k, &q, t_rows, DIMS * sizeof(float), ROWS, d);
            memcpy(sorted, d, sizeof d);
            for (size_t i = 1; i < ROWS; i++) {
                for (size_t j = i; j > 0 && sorted[j] < sorted[j - 1]; j--) {
                    const float x = sorted[j];
                    sorted[j] = sorted[j - 1];
                    sorted[j - 1] = x;
                }
            }
            for (size_t r = 0; r < ROWS; r++) {
                rows[r] = t_rows + r * DIMS * sizeof(float);
            }
            s.kernel = k;
            s.metric = t_metrics[m];
            s.dims = DIMS;
            s.panels = t_panels;
            assert_int_equal(pv__screen_rows(k, DIMS), ROWS);
            pv__screen_groups(k, &q, 1, t_groups, norm2);
            pv__screen_fill(&s, &q, rows, ROWS);
            for (size_t i = 0; i < ROWS; i += 37) {
                bounds[0] = sorted[i];
                assert_in_range(pv__screen_run(&s, t_groups, norm2, 0, 1, bounds, out), i + 1,
                                i + 5);
            }
        }
    }
}

static void test_screen__sizes(void **state) {
    (void)state;
    assert_false(pv__screen_can(pv__kernel_table(0)));
    for (size_t at = 0; t_kernel(at); at++) {
        const pv__kernel *k = t_kernel(at);
        for (size_t dims = 1; dims <= 16384; dims = dims * 3 / 2 + 1) {
            const size_t rows = pv__screen_rows(k, dims);
            assert_true(rows >= k->screen_rows && rows <= PV__SCREEN_ROWS_MAX);
            assert_int_equal(rows % k->screen_rows, 0);
        }
        assert_int_equal(pv__screen_group_bytes(k, 16384, 65536), 0);
        assert_int_equal(pv__screen_group_bytes(k, 3, k->screen_queries + 1),
                         2 * k->screen_queries * 3 * sizeof(float));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_screen__no_pair_within_its_bound_is_dropped),
        cmocka_unit_test(test_screen__pairs_beyond_the_bound_are_dropped),
        cmocka_unit_test(test_screen__sizes),
    };
    return cmocka_run_group_tests(tests, t_setup, t_teardown);
}
