/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernel.c - every instruction set that this CPU has against double precision, against each
 * other, and at the edges of f32 and of memory. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "kernel/kernel.h"
#include "os/sys.h"

#define T_DIMS_MAX 1536u
#define T_ROWS 13u
#define T_QUERIES 7u

static const unsigned t_metrics[] = {PV_METRIC_L2, PV_METRIC_COSINE, PV_METRIC_DOT};

static uint64_t t_state = 20260509;
static float t_random(void) {
    t_state = t_state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(t_state >> 32) * 0x1p-31f;
}

/* The i-th table that this CPU can run, NULL at the end. */
static const pv__kernel *t_kernel(size_t i) {
    const uint32_t cpu = pv__sys_cpu();
    for (size_t at = 0; pv__kernel_at(at); at++) {
        const pv__kernel *k = pv__kernel_at(at);
        if ((k->cpu & cpu) == k->cpu && i-- == 0) {
            return k;
        }
    }
    return NULL;
}

/* Sizes worth testing: 1..67, then common ones. */
static uint32_t t_dims(size_t i) {
    static const uint32_t more[] = {100, 128, 384, 385, 768, 1535, T_DIMS_MAX, 0};
    return i < 67 ? (uint32_t)i + 1 : more[i - 67];
}

typedef struct t_truth {
    double distance, tolerance;
} t_truth;

/* Distance in double, and how far f32 may be off: the bound of kernel.h carried through the root or
 * the quotient, and some roundings of the result. */
static t_truth t_truth_of(unsigned metric, const float *q, const uint8_t *row, uint32_t dims) {
    double l2 = 0, dot = 0, terms = 0, q2 = 0, r2 = 0;
    for (uint32_t i = 0; i < dims; i++) {
        float v;
        memcpy(&v, row + i * sizeof v, sizeof v);
        const double a = (double)q[i], b = (double)v;
        l2 += (a - b) * (a - b);
        dot += a * b;
        terms += fabs(a * b);
        q2 += a * a;
        r2 += b * b;
    }
    const double bound = ((double)dims / 16 + 8) * 0x1p-24;
    t_truth t = {0, 0};
    if (metric == PV_METRIC_L2) {
        t.distance = sqrt(l2);
        t.tolerance = t.distance * (bound + 0x1p-22);
    } else if (metric == PV_METRIC_DOT) {
        t.distance = -dot;
        t.tolerance = terms * bound + fabs(dot) * 0x1p-22 + FLT_MIN;
    } else {
        const double norms = sqrt(q2) * sqrt(r2);
        t.distance = norms > 0 ? 1 - dot / norms : 1;
        t.tolerance = norms > 0 ? terms / norms * bound + bound + 0x1p-21 : 0;
    }
    return t;
}

static void t_compare(const pv__kernel *k, unsigned metric, uint32_t dims, float got, t_truth t) {
    if (!(fabs((double)got - t.distance) <= t.tolerance)) {
        fail_msg("%s metric %u, %u dims: %.9g instead of %.9g, allowed %.3g", k->name, metric, dims,
                 (double)got, t.distance, t.tolerance);
    }
}

typedef struct t_data {
    float *queries;  /* T_QUERIES * T_DIMS_MAX */
    uint8_t *memory; /* room for T_ROWS rows at any alignment */
} t_data;

static int t_setup(void **state) {
    t_data *d = calloc(1, sizeof *d);
    d->queries = malloc(T_QUERIES * T_DIMS_MAX * sizeof(float));
    d->memory = malloc(T_ROWS * (T_DIMS_MAX * sizeof(float) + 8) + 64);
    for (size_t i = 0; i < T_QUERIES * T_DIMS_MAX; i++) {
        d->queries[i] = t_random();
    }
    *state = d;
    return 0;
}

static int t_teardown(void **state) {
    t_data *d = *state;
    free(d->queries);
    free(d->memory);
    free(d);
    return 0;
}

/* T_ROWS random rows, `stride` bytes apart, beginning `shift` bytes off an aligned address. */
static uint8_t *t_rows(t_data *d, uint32_t dims, size_t shift, size_t stride) {
    uint8_t *rows = d->memory + shift;
    for (size_t r = 0; r < T_ROWS; r++) {
        for (uint32_t i = 0; i < dims; i++) {
            const float v = t_random();
            memcpy(rows + r * stride + i * sizeof v, &v, sizeof v);
        }
    }
    return rows;
}

static void test_kernel__distances_are_within_the_stated_bound(void **state) {
    t_data *d = *state;
    for (size_t at = 0; t_kernel(at); at++) {
        const pv__kernel *k = t_kernel(at);
        for (size_t s = 0; t_dims(s); s++) {
            const uint32_t dims = t_dims(s);
            const size_t stride = dims * sizeof(float) + s % 8, shift = s % 5;
            const uint8_t *rows = t_rows(d, dims, shift, stride);
            for (size_t m = 0; m < PV_COUNTOF(t_metrics); m++) {
                float out[T_ROWS];
                pv__kernel_query q;
                assert_true(pv__kernel_query_init(&q, t_metrics[m], d->queries, dims));
                pv__kernel_scan(k, &q, rows, stride, T_ROWS, out);
                for (size_t r = 0; r < T_ROWS; r++) {
                    const uint8_t *row = rows + r * stride;
                    t_compare(k, t_metrics[m], dims, out[r],
                              t_truth_of(t_metrics[m], d->queries, row, dims));
                }
            }
        }
    }
}

/* Of one table: pair, gather and many give what scan gives. */
static void t_same_bits(t_data *d, const pv__kernel *k, unsigned metric, uint32_t dims,
                        const uint8_t *rows, size_t stride) {
    float scan[T_ROWS], gather[T_ROWS], many[T_QUERIES * (T_ROWS + 1)];
    const uint8_t *row[T_ROWS];
    pv__kernel_query q[T_QUERIES];
    for (size_t r = 0; r < T_ROWS; r++) {
        row[r] = rows + r * stride;
    }
    for (size_t i = 0; i < T_QUERIES; i++) {
        pv__kernel_query_init(&q[i], metric, d->queries + i * dims, dims);
        many[i * (T_ROWS + 1) + T_ROWS] = 77.0f;
    }
    for (size_t count = 1; count <= T_QUERIES; count++) {
        pv__kernel_many(k, q, count, row, T_ROWS, many, T_ROWS + 1);
        for (size_t i = 0; i < count; i++) {
            pv__kernel_scan(k, &q[i], rows, stride, T_ROWS, scan);
            pv__kernel_gather(k, &q[i], row, T_ROWS, gather);
            assert_memory_equal(scan, gather, sizeof scan);
            assert_memory_equal(scan, many + i * (T_ROWS + 1), sizeof scan);
            assert_true(many[i * (T_ROWS + 1) + T_ROWS] == 77.0f); /* between rows of out */
        }
    }
    for (size_t n = 1; n <= T_ROWS; n++) { /* addresses behind the rows, which nobody may read */
        const uint8_t *ahead[T_ROWS + PV__KERNEL_AHEAD];
        float near[T_ROWS];
        uint64_t bits[(T_ROWS + 63) / 64];
        for (size_t i = 0; i < n + PV__KERNEL_AHEAD; i++) {
            ahead[i] = i < n ? row[i] : (const uint8_t *)(uintptr_t)64;
        }
        pv__kernel_scan(k, &q[0], rows, stride, n, scan);
        pv__kernel_near(k, &q[0], ahead, n, n % 2 == 0, INFINITY, near, bits);
        assert_memory_equal(scan, near, n * sizeof *near);
    }
    for (size_t r = 0; r < T_ROWS; r++) {
        pv__kernel_scan(k, &q[0], rows, stride, T_ROWS, scan);
        const float one = pv__kernel_pair(k, &q[0], row[r]);
        assert_memory_equal(&one, &scan[r], sizeof one);
    }
}

static void test_kernel__every_function_gives_the_same_bits(void **state) {
    t_data *d = *state;
    for (size_t at = 0; t_kernel(at); at++) {
        for (size_t s = 0; t_dims(s); s += s < 67 ? 3 : 1) {
            const uint32_t dims = t_dims(s);
            const uint8_t *rows = t_rows(d, dims, 0, dims * sizeof(float));
            for (size_t m = 0; m < PV_COUNTOF(t_metrics); m++) {
                t_same_bits(d, t_kernel(at), t_metrics[m], dims, rows, dims * sizeof(float));
            }
        }
    }
}

static void test_kernel__every_fused_table_gives_the_same_bits(void **state) {
    t_data *d = *state;
    const pv__kernel *first = t_kernel(1);
    for (size_t at = 2; first && t_kernel(at); at++) {
        for (size_t s = 0; t_dims(s); s++) {
            const uint32_t dims = t_dims(s);
            const size_t stride = dims * sizeof(float);
            const uint8_t *rows = t_rows(d, dims, 0, stride);
            for (size_t m = 0; m < PV_COUNTOF(t_metrics); m++) {
                float a[T_ROWS], b[T_ROWS];
                pv__kernel_query q;
                pv__kernel_query_init(&q, t_metrics[m], d->queries, dims);
                pv__kernel_scan(first, &q, rows, stride, T_ROWS, a);
                pv__kernel_scan(t_kernel(at), &q, rows, stride, T_ROWS, b);
                assert_memory_equal(a, b, sizeof a);
            }
        }
    }
}

static void test_kernel__many_rows_cross_blocks(void **state) {
    (void)state;
    enum { n = 333, dims = 9 };
    float rows[n * dims], queries[4 * dims], out[4 * n], one[n];
    const uint8_t *row[n];
    for (size_t r = 0; r < n; r++) {
        row[r] = (const uint8_t *)(rows + r * dims);
    }
    for (size_t i = 0; i < PV_COUNTOF(rows); i++) {
        rows[i] = t_random();
    }
    for (size_t i = 0; i < PV_COUNTOF(queries); i++) {
        queries[i] = t_random();
    }
    for (size_t at = 0; t_kernel(at); at++) {
        for (size_t m = 0; m < PV_COUNTOF(t_metrics); m++) {
            pv__kernel_query q[4];
            for (size_t i = 0; i < 4; i++) {
                pv__kernel_query_init(&q[i], t_metrics[m], queries + i * dims, dims);
            }
            pv__kernel_many(t_kernel(at), q, 4, row, n, out, n);
            for (size_t i = 0; i < 4; i++) {
                pv__kernel_scan(t_kernel(at), &q[i], rows, dims * sizeof(float), n, one);
                assert_memory_equal(one, out + i * n, sizeof one);
            }
            for (size_t r = 0; r < n; r++) {
                t_compare(t_kernel(at), t_metrics[m], dims, out[r],
                          t_truth_of(t_metrics[m], queries, (uint8_t *)(rows + r * dims), dims));
            }
            pv__kernel_many(t_kernel(at), q, 0, row, n, NULL, n);
            pv__kernel_scan(t_kernel(at), q, rows, dims * sizeof(float), 0, NULL);
        }
    }
}

static void test_kernel__nothing_behind_a_row_or_query_is_touched(void **state) {
    (void)state;
    const size_t page = 65536; /* a multiple of every page size */
    uint8_t *q_end =
        mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *r_end =
        mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(q_end != MAP_FAILED && r_end != MAP_FAILED);
    assert_int_equal(mprotect(q_end + page, page, PROT_NONE), 0);
    assert_int_equal(mprotect(r_end + page, page, PROT_NONE), 0);
    for (uint32_t dims = 1; dims <= 70; dims++) {
        const size_t stride = dims * sizeof(float);
        const float *query = (const void *)(q_end + page - stride);
        const uint8_t *rows = r_end + page - 9 * stride;
        float out[4 * 9];
        const uint8_t *row[9];
        for (size_t r = 0; r < 9; r++) {
            row[r] = rows + r * stride;
        }
        for (size_t at = 0; t_kernel(at); at++) {
            for (size_t m = 0; m < PV_COUNTOF(t_metrics); m++) {
                pv__kernel_query q[4];
                for (size_t i = 0; i < 4; i++) {
                    pv__kernel_query_init(&q[i], t_metrics[m], query, dims);
                }
                pv__kernel_scan(t_kernel(at), q, rows, stride, 9, out);
                pv__kernel_many(t_kernel(at), q, 4, row, 9, out, 9);
            }
        }
    }
    munmap(q_end, 2 * page);
    munmap(r_end, 2 * page);
}

static void test_kernel__zero_vectors(void **state) {
    (void)state;
    enum { dims = 21 };
    float zero[dims] = {0}, one[dims], out = -1;
    for (size_t i = 0; i < dims; i++) {
        one[i] = 2.0f;
    }
    for (size_t at = 0; t_kernel(at); at++) {
        const pv__kernel *k = t_kernel(at);
        pv__kernel_query q;
        pv__kernel_query_init(&q, PV_METRIC_COSINE, one, dims);
        assert_true(pv__kernel_pair(k, &q, zero) == 1.0f);
        assert_true(pv__kernel_pair(k, &q, one) <= 0x1p-20f);
        pv__kernel_query_init(&q, PV_METRIC_COSINE, zero, dims);
        assert_true(pv__kernel_pair(k, &q, one) == 1.0f);
        assert_true(pv__kernel_pair(k, &q, zero) == 1.0f);
        pv__kernel_query_init(&q, PV_METRIC_L2, one, dims);
        assert_true(pv__kernel_pair(k, &q, one) == 0.0f);
        pv__kernel_query_init(&q, PV_METRIC_DOT, zero, dims);
        out = pv__kernel_pair(k, &q, one);
        assert_true(out == 0.0f && !signbit(out));
        pv__kernel_query_init(&q, PV_METRIC_DOT, one, dims);
        assert_true(pv__kernel_pair(k, &q, one) == -4.0f * dims);
    }
}

/* Vectors of one magnitude each, from denormal to the largest: what squares cannot hold. */
static void test_kernel__values_out_of_range_are_computed_in_double(void **state) {
    (void)state;
    enum { dims = 37, scales = 9 };
    static const float scale[scales] = {0x1p-149f, 1e-42f, 1e-37f, 1e-25f, 1e-12f,
                                        1e12f,     1e18f,  1e25f,  3e38f};
    float rows[scales * 2 * dims];
    for (size_t r = 0; r < scales * 2; r++) {
        for (size_t i = 0; i < dims; i++) {
            rows[r * dims + i] = t_random() * scale[r % scales];
        }
        rows[r * dims] = scale[r % scales]; /* no row of denormals is all zero */
    }
    for (size_t at = 0; t_kernel(at); at++) {
        for (size_t m = 0; m < PV_COUNTOF(t_metrics); m++) {
            for (size_t i = 0; i < scales * 2; i++) {
                float out[scales * 2];
                pv__kernel_query q;
                pv__kernel_query_init(&q, t_metrics[m], rows + i * dims, dims);
                pv__kernel_scan(t_kernel(at), &q, rows, dims * sizeof(float), scales * 2, out);
                for (size_t r = 0; r < scales * 2; r++) {
                    t_truth t = t_truth_of(t_metrics[m], rows + i * dims,
                                           (uint8_t *)(rows + r * dims), dims);
                    assert_true(isfinite(out[r]));
                    if (fabs(t.distance) > (double)FLT_MAX) {
                        assert_true(out[r] == (t.distance < 0 ? -FLT_MAX : FLT_MAX));
                        continue;
                    }
                    t.tolerance += 0x1p-149; /* a denormal result is rounded to its grid */
                    t_compare(t_kernel(at), t_metrics[m], dims, out[r], t);
                }
            }
        }
    }
}

static void test_kernel__damaged_rows_are_farthest_never_nan(void **state) {
    (void)state;
    enum { dims = 19 };
    const float bad[] = {NAN, INFINITY, -INFINITY};
    float row[dims], query[dims];
    for (size_t i = 0; i < dims; i++) {
        row[i] = t_random();
        query[i] = t_random();
    }
    for (size_t at = 0; t_kernel(at); at++) {
        for (size_t m = 0; m < PV_COUNTOF(t_metrics); m++) {
            for (size_t b = 0; b < PV_COUNTOF(bad); b++) {
                pv__kernel_query q;
                float copy[dims];
                memcpy(copy, row, sizeof row);
                copy[b * 9] = bad[b];
                pv__kernel_query_init(&q, t_metrics[m], query, dims);
                assert_true(pv__kernel_pair(t_kernel(at), &q, copy) == FLT_MAX);
            }
        }
    }
}

/* Against a scan of all: distances of every size, what has to be computed in double, damage, and
 * bounds at, below and above single distances. */
static void test_kernel__near_rows_are_those_within_the_bound(void **state) {
    enum { NEAR_DIMS = 19, NEAR_ROWS = 150 };
    static float rows[NEAR_ROWS][NEAR_DIMS];
    float query[NEAR_DIMS], all[NEAR_ROWS], out[NEAR_ROWS];
    const uint8_t *row[NEAR_ROWS + PV__KERNEL_AHEAD];
    (void)state;
    for (size_t r = 0; r < PV_COUNTOF(row); r++) {
        row[r] = (const uint8_t *)rows[PV_MIN(r, (size_t)NEAR_ROWS - 1)];
    }
    for (size_t i = 0; i < NEAR_DIMS; i++) {
        query[i] = t_random();
    }
    for (size_t r = 0; r < NEAR_ROWS; r++) {
        static const float far[] = {1e-30f, 1e-22f, 1e-17f, 1e-3f, 1, 1e3f, 1e18f, 1e25f, FLT_MAX};
        const float scale = r < 110 ? 1.0f : far[r % PV_COUNTOF(far)];
        for (size_t i = 0; i < NEAR_DIMS; i++) {
            rows[r][i] = r == 20             ? query[i]
                         : r == 40           ? 0.0f
                         : (r > 60 && i > 1) ? query[i]
                                             : query[i] + t_random() * scale;
        }
    }
    rows[50][3] = NAN;
    rows[51][4] = INFINITY;
    rows[52][18] = -INFINITY;
    for (size_t at = 0; t_kernel(at); at++) {
        const pv__kernel *k = t_kernel(at);
        for (size_t m = 0; m < PV_COUNTOF(t_metrics); m++) {
            pv__kernel_query q;
            assert_true(pv__kernel_query_init(&q, t_metrics[m], query, NEAR_DIMS));
            pv__kernel_scan(k, &q, rows, sizeof rows[0], NEAR_ROWS, all);
            for (size_t b = 0; b < 3 * NEAR_ROWS + 6; b++) {
                static const float special[] = {-1, 0, 1e-20f, 1e19f, FLT_MAX, INFINITY};
                const size_t n = b < 20 ? b + 1 : NEAR_ROWS;
                const float d = all[b / 3 % NEAR_ROWS];
                const float bound = b >= 3 * NEAR_ROWS ? special[b - 3 * NEAR_ROWS]
                                    : b % 3 == 0       ? d
                                                 : nextafterf(d, b % 3 == 1 ? -INFINITY : INFINITY);
                uint64_t bits[(NEAR_ROWS + 63) / 64] = {0};
                pv__kernel_near(k, &q, row, n, b % 2, bound, out, bits);
                for (size_t r = 0; r < n; r++) {
                    const bool near = bits[r / 64] >> (r % 64) & 1;
                    assert_int_equal(near, all[r] <= bound);
                    assert_true(!near || memcmp(&out[r], &all[r], sizeof out[r]) == 0);
                }
            }
        }
    }
}

static void test_kernel__table_needs_all_its_cpu_bits(void **state) {
    (void)state;
    assert_string_equal(pv__kernel_table(0)->name, "scalar");
    assert_ptr_equal(pv__kernel_at(0), pv__kernel_table(0));
    assert_null(pv__kernel_at(9));
    assert_string_equal(pv__kernel_table(PV__CPU_VNNI | PV__CPU_BF16)->name, "scalar");
    for (size_t i = 0; pv__kernel_at(i); i++) {
        assert_ptr_equal(pv__kernel_table(pv__kernel_at(i)->cpu), pv__kernel_at(i));
    }
#if PV__KERNEL_X86
    assert_string_equal(pv__kernel_table(PV__CPU_AVX512)->name, "scalar"); /* without AVX2 */
    assert_string_equal(pv__kernel_table(PV__CPU_AVX2 | PV__CPU_VNNI)->name, "avx2");
#endif
}

static void test_kernel__unknown_metric_is_refused(void **state) {
    (void)state;
    const float v = 1;
    pv__kernel_query q;
    assert_false(pv__kernel_query_init(&q, 0, &v, 1));
    assert_false(pv__kernel_query_init(&q, 4, &v, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernel__distances_are_within_the_stated_bound),
        cmocka_unit_test(test_kernel__every_function_gives_the_same_bits),
        cmocka_unit_test(test_kernel__every_fused_table_gives_the_same_bits),
        cmocka_unit_test(test_kernel__many_rows_cross_blocks),
        cmocka_unit_test(test_kernel__nothing_behind_a_row_or_query_is_touched),
        cmocka_unit_test(test_kernel__zero_vectors),
        cmocka_unit_test(test_kernel__values_out_of_range_are_computed_in_double),
        cmocka_unit_test(test_kernel__damaged_rows_are_farthest_never_nan),
        cmocka_unit_test(test_kernel__near_rows_are_those_within_the_bound),
        cmocka_unit_test(test_kernel__table_needs_all_its_cpu_bits),
        cmocka_unit_test(test_kernel__unknown_metric_is_refused),
    };
    printf("seed %llu\n", (unsigned long long)t_state);
    return cmocka_run_group_tests(tests, t_setup, t_teardown);
}
