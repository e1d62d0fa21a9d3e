/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernel_types.c - distances of all pairs of element and metric: against plain ones, the same
 * bits on every instruction set and in every function, and at the ends of memory. */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>

#include <sys/mman.h>

#include "kernel/code_kernel.h"
#include "kernel/element.h"
#include "os/sys.h"
#include "quant/code.h"
#include "test_types_kit.h"

#define T_ROWS 13u
#define T_DIMS_MAX 16384u

/* Sets of CPU bits that this CPU has, fewest first; 0: scalar. */
static bool t_cpu(size_t i, uint32_t *out) {
    static const uint32_t sets[] = {
        0,
        PV__CPU_NEON,
        PV__CPU_NEON | PV__CPU_DOTPROD,
        PV__CPU_AVX2,
        PV__CPU_AVX2 | PV__CPU_AVX512,
        PV__CPU_AVX2 | PV__CPU_AVX512 | PV__CPU_VNNI,
        PV__CPU_AVX2 | PV__CPU_AVX512 | PV__CPU_VPOPCNT,
        PV__CPU_AVX2 | PV__CPU_AVX512 | PV__CPU_VNNI | PV__CPU_VPOPCNT,
    };
    for (size_t at = 0; at < sizeof sets / sizeof sets[0]; at++) {
        if ((sets[at] & pv__sys_cpu()) == sets[at] && i-- == 0) {
            *out = sets[at];
            return true;
        }
    }
    return false;
}

static uint32_t t_dims(size_t i) {
    static const uint32_t more[] = {96, 100, 127, 128, 129, 255, 384, 513, 768, 1000, 1536, 0};
    return i < 67 ? (uint32_t)i + 1 : more[i - 67];
}

/* How far a float distance may be from the plain one: bound of the sums, carried through. Integers
 * are rounded once. */
static double t_allowed(const t_space *s, uint32_t dims, double want) {
    if (s->type == PV_TYPE_I8 || s->type == PV_TYPE_BIT) {
        return fabs(want) * 0x1p-24 + (s->metric == PV_METRIC_COSINE ? 0x1p-25 : 0);
    }
    const double terms = s->metric == PV_METRIC_DOT || s->metric == PV_METRIC_COSINE ? dims : 0;
    return (fabs(want) + terms) * (dims / 16.0 + 16) * 0x1p-24;
}

typedef struct t_set {
    uint8_t *query;
    uint8_t *memory; /* rows, `stride` apart, from `shift` on */
    size_t bytes, stride, shift;
    const uint8_t *rows[T_ROWS];
    float room[T_DIMS_MAX];
} t_set;

static t_set *t_make(test_rng *rng, uint32_t type, uint32_t dims) {
    t_set *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->bytes = t_row_bytes(type, dims);
    s->shift = dims % 5;
    s->stride = s->bytes + dims % 3;
    s->query = malloc(s->bytes);
    s->memory = malloc(T_ROWS * s->stride + 8);
    t_random_row(rng, type, dims, 3, s->query);
    for (size_t r = 0; r < T_ROWS; r++) {
        uint8_t *row = s->memory + s->shift + r * s->stride;
        t_random_row(rng, type, dims, 3, row);
        s->rows[r] = row;
    }
    memcpy(s->memory + s->shift + 3 * s->stride, s->query, s->bytes);
    memset(s->memory + s->shift + 4 * s->stride, 0, s->bytes);
    return s;
}

static void t_free(t_set *s) {
    free(s->query);
    free(s->memory);
    free(s);
}

static void t_distances(t_set *s, const t_space *space, uint32_t dims, uint32_t cpu, float *out) {
    pv__kernel_query q;
    assert_true(pv__kernel_query_of(&q, cpu, space->type, space->metric, s->query, dims, s->room));
    pv__kernel_gather(pv__kernel_table(cpu), &q, s->rows, T_ROWS, out);
}

static void test_types__distances_are_the_plain_ones(void **state) {
    test_rng rng;
    (void)state;
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < T_SPACES; i++) {
        const t_space *space = &t_spaces[i];
        for (size_t d = 0; t_dims(d) != 0; d++) {
            t_set *s = t_make(&rng, space->type, t_dims(d));
            uint32_t cpu = 0;
            for (size_t c = 0; t_cpu(c, &cpu); c++) {
                float out[T_ROWS];
                t_distances(s, space, t_dims(d), cpu, out);
                for (size_t r = 0; r < T_ROWS; r++) {
                    const double want = t_plain(space, s->query, s->rows[r], t_dims(d));
                    if (!(fabs((double)out[r] - want) <= t_allowed(space, t_dims(d), want))) {
                        fail_msg("%s, %u dims, cpu %x: %.9g instead of %.9g", space->name,
                                 (unsigned)t_dims(d), (unsigned)cpu, (double)out[r], want);
                    }
                }
                assert_false(signbit(out[3]) && out[3] == 0.0f); /* never -0 */
            }
            t_free(s);
        }
    }
}

/* Where the scalar table has no other rounding: all but what kernel.c computes itself. */
static bool t_is_classic(const t_space *s) {
    return s->type == PV_TYPE_F32 && s->metric != PV_METRIC_L1;
}

static void test_types__every_instruction_set_gives_the_bits_of_the_scalar_one(void **state) {
    test_rng rng;
    (void)state;
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < T_SPACES; i++) {
        for (size_t d = 0; t_dims(d) != 0 && !t_is_classic(&t_spaces[i]); d++) {
            t_set *s = t_make(&rng, t_spaces[i].type, t_dims(d));
            float want[T_ROWS], got[T_ROWS];
            uint32_t cpu = 0;
            t_distances(s, &t_spaces[i], t_dims(d), 0, want);
            for (size_t c = 1; t_cpu(c, &cpu); c++) {
                t_distances(s, &t_spaces[i], t_dims(d), cpu, got);
                assert_memory_equal(got, want, sizeof want);
            }
            t_free(s);
        }
    }
}

static void test_types__every_function_gives_the_same_bits(void **state) {
    enum { rows = 150, dims = 41 };
    test_rng rng;
    (void)state;
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < T_SPACES; i++) {
        const t_space *space = &t_spaces[i];
        const pv__kernel *k = pv__kernel_table(pv__sys_cpu());
        const size_t bytes = t_row_bytes(space->type, dims);
        uint8_t *memory = malloc(rows * bytes);
        const uint8_t *row[rows + PV__KERNEL_AHEAD];
        float room[2][dims], one[rows], scan[rows], near[rows], many[2 * rows];
        uint64_t bits[(rows + 63) / 64];
        pv__kernel_query q[2];
        for (size_t r = 0; r < rows; r++) {
            t_random_row(&rng, space->type, dims, 3, memory + r * bytes);
        }
        for (size_t n = 0; n < 2; n++) {
            assert_true(pv__kernel_query_of(&q[n], pv__sys_cpu(), space->type, space->metric,
                                            memory + n * bytes, dims, room[n]));
        }
        for (size_t r = 0; r < rows; r++) {
            one[r] = pv__kernel_pair(k, &q[1], memory + r * bytes);
        }
        for (size_t r = 0; r < rows + PV__KERNEL_AHEAD; r++) { /* the last are not read */
            row[r] = r < rows ? memory + r * bytes : (const uint8_t *)(uintptr_t)64;
        }
        pv__kernel_scan(k, &q[1], memory, bytes, rows, scan);
        pv__kernel_many(k, q, 2, row, rows, many, rows);
        assert_memory_equal(scan, one, sizeof one);
        assert_memory_equal(many + rows, one, sizeof one);
        pv__kernel_near(k, &q[1], row, rows, space->type % 2, one[7], near, bits);
        for (size_t r = 0; r < rows; r++) {
            assert_int_equal(bits[r / 64] >> r % 64 & 1, one[r] <= one[7]);
            assert_true(one[r] > one[7] || near[r] == one[r]);
        }
        free(memory);
    }
}

/* Rows and query end where memory ends. */
static void test_types__nothing_behind_a_row_or_query_is_read(void **state) {
    const size_t page = 4096;
    test_rng rng;
    (void)state;
    test_rng_init(&rng, test_seed());
    uint8_t *map[2];
    for (size_t i = 0; i < 2; i++) {
        map[i] = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(map[i] != MAP_FAILED);
        assert_int_equal(mprotect(map[i] + page, page, PROT_NONE), 0);
    }
    for (size_t i = 0; i < T_SPACES; i++) {
        for (uint32_t dims = 1; dims <= 300; dims += dims < 70 ? 1 : 23) {
            const size_t bytes = t_row_bytes(t_spaces[i].type, dims);
            uint8_t *query = map[0] + page - bytes, *row = map[1] + page - bytes;
            uint32_t cpu = 0;
            t_random_row(&rng, t_spaces[i].type, dims, 2, query);
            t_random_row(&rng, t_spaces[i].type, dims, 2, row);
            for (size_t c = 0; t_cpu(c, &cpu); c++) {
                const uint8_t *rows[5] = {row, row, row, row, row};
                float room[300], out[5];
                pv__kernel_query q;
                assert_true(pv__kernel_query_of(&q, cpu, t_spaces[i].type, t_spaces[i].metric,
                                                query, dims, room));
                pv__kernel_gather(pv__kernel_table(cpu), &q, rows, 5, out);
                assert_true(out[0] == out[4]);
            }
        }
    }
    munmap(map[0], 2 * page);
    munmap(map[1], 2 * page);
}

static void test_types__the_largest_sums_fit(void **state) {
    static uint8_t low[T_DIMS_MAX], high[T_DIMS_MAX];
    const uint8_t *rows[2] = {low, high};
    uint32_t cpu = 0;
    (void)state;
    memset(low, 0x80, sizeof low);
    memset(high, 0x7F, sizeof high);
    for (size_t c = 0; t_cpu(c, &cpu); c++) {
        const pv__code_ints *ints = pv__code_ints_table(cpu);
        const pv__code_rows r = {rows, 2, 2, T_DIMS_MAX};
        int32_t out[2], out2[2];
        ints->i8_l2(low, T_DIMS_MAX, &r, out, NULL);
        assert_int_equal(out[0], 0);
        assert_int_equal(out[1], 255 * 255 * (int)T_DIMS_MAX);
        ints->i8_dot2(low, T_DIMS_MAX, &r, out, out2);
        assert_int_equal(out[0], 128 * 128 * (int)T_DIMS_MAX);
        assert_int_equal(out[1], -128 * 127 * (int)T_DIMS_MAX);
        assert_int_equal(out2[0], 128 * 128 * (int)T_DIMS_MAX);
        assert_int_equal(out2[1], 127 * 127 * (int)T_DIMS_MAX);
        ints->i8_l1(low, T_DIMS_MAX, &r, out, NULL);
        assert_int_equal(out[1], 255 * (int)T_DIMS_MAX);
        ints->bit_xor(low, T_DIMS_MAX, &r, out, NULL);
        assert_int_equal(out[1], 8 * (int)T_DIMS_MAX);
    }
}

static void test_types__l1_beyond_f32_is_cut_and_damage_is_farthest(void **state) {
    const float far[3] = {FLT_MAX, FLT_MAX, 0}, near[3] = {-FLT_MAX, 1, 0};
    const float bad[3] = {NAN, 0, 0}, query[3] = {-FLT_MAX, 0, 0};
    const uint8_t *rows[3] = {(const void *)far, (const void *)near, (const void *)bad};
    const uint16_t half[2] = {0x7C00, 0x3C00}, ok[2] = {0x3C00, 0x3C00};
    pv__kernel_query q;
    uint32_t cpu = 0;
    (void)state;
    for (size_t c = 0; t_cpu(c, &cpu); c++) {
        float out[3], room[3];
        assert_true(pv__kernel_query_of(&q, cpu, PV_TYPE_F32, PV_METRIC_L1, query, 3, room));
        pv__kernel_gather(pv__kernel_table(cpu), &q, rows, 3, out);
        assert_true(out[0] == FLT_MAX && out[1] == 1.0f && out[2] == FLT_MAX);
        for (unsigned m = PV_METRIC_L2; m <= PV_METRIC_L1; m++) {
            assert_true(pv__kernel_query_of(&q, cpu, PV_TYPE_F16, m, ok, 2, room));
            assert_true(pv__kernel_pair(pv__kernel_table(cpu), &q, half) == FLT_MAX);
        }
    }
}

static void test_types__what_does_not_go_together_is_refused(void **state) {
    pv__kernel_query q;
    float v[2] = {1, 2}, room[2];
    (void)state;
    assert_false(pv__measure_exists(PV_TYPE_BIT, PV_METRIC_L2));
    assert_false(pv__measure_exists(PV_TYPE_F32, PV_METRIC_HAMMING));
    assert_false(pv__measure_exists(PV_TYPE_BF16, PV_METRIC_L2));
    assert_false(pv__measure_exists(PV_TYPE_I8, PV_METRIC_JACCARD));
    assert_false(pv__kernel_query_of(&q, 0, PV_TYPE_BIT, PV_METRIC_DOT, v, 2, room));
    assert_false(pv__measure_exists(0, PV_METRIC_L2));
    assert_false(pv__measure_exists(77, 77));
    for (uint32_t kind = 0; kind < 12; kind++) {
        const pv__code_spec spec = {
            .kind = kind, .type = PV_TYPE_BIT, .metric = PV_METRIC_JACCARD, .dims = 64};
        pv__code c;
        assert_int_equal(pv__code_init(&c, &spec, 0), kind == PV__CODE_BIT);
        assert_int_equal(pv__code_goes(kind, PV_TYPE_F32, PV_METRIC_L1),
                         kind == PV__CODE_F32 || kind == PV__CODE_F16);
    }
}

static void test_types__bad_elements_are_found_at_their_place(void **state) {
    const pv__element *f16 = pv__element_of(PV_TYPE_F16), *bit = pv__element_of(PV_TYPE_BIT);
    uint16_t halves[40] = {0};
    uint8_t bits[3] = {0xFF, 0xFF, 0x80};
    size_t at = 0;
    (void)state;
    assert_false(f16->find_bad((const void *)halves, 40, &at));
    halves[37] = 0xFC00; /* -infinity */
    assert_true(f16->find_bad((const void *)halves, 40, &at));
    assert_int_equal(at, 37);
    halves[2] = 0x7E01; /* NaN */
    assert_true(f16->find_bad((const void *)halves, 40, &at));
    assert_int_equal(at, 2);
    assert_false(bit->find_bad(bits, 17, &at));
    assert_false(bit->find_bad(bits, 24, &at));
    bits[2] = 0x90;
    assert_true(bit->find_bad(bits, 17, &at));
    assert_int_equal(at, 19);
    assert_false(bit->find_bad(bits, 20, &at));
    assert_null(pv__element_of(PV_TYPE_I8)->find_bad);
}

/* ---- codes ----------------------------------------------------------------------------------- */

static void *t_block(size_t n) { return aligned_alloc(64, (n + 127) / 64 * 64); }

/* What a code of this space estimates, in its own scale, in double. */
static double t_scaled(const t_space *s, double d) {
    return s->metric == PV_METRIC_L2 || s->metric == PV_METRIC_L1 ? d * d
           : s->metric == PV_METRIC_COSINE                        ? 2 * d
                                                                  : d;
}

static void t_code(test_rng *rng, const t_space *space, uint32_t kind, uint32_t dims) {
    const pv__code_spec spec = {.kind = kind,
                                .type = space->type,
                                .metric = space->metric,
                                .dims = dims,
                                .norm2_max = 1e9f};
    t_set *s = t_make(rng, space->type, dims);
    float want[T_ROWS], got[T_ROWS], rows_want[T_ROWS];
    uint8_t *first = NULL;
    uint32_t cpu = 0;
    for (size_t c = 0; t_cpu(c, &cpu); c++) {
        pv__code code;
        assert_true(pv__code_init(&code, &spec, cpu));
        uint8_t *memory = t_block(T_ROWS * code.row_size), *query = t_block(code.query_bytes);
        uint8_t *scratch = t_block(code.scratch_bytes), *vector = t_block(s->bytes);
        const uint8_t *rows[T_ROWS];
        for (size_t r = 0; r < T_ROWS; r++) {
            rows[r] = memory + r * code.row_size;
            memcpy(vector, s->rows[r], s->bytes); /* aligned as rows of a column are */
            pv__code_encode(&code, vector, scratch, memory + r * code.row_size);
        }
        memcpy(vector, s->query, s->bytes);
        pv__code_query(&code, vector, query);
        pv__code_distances(&code, query, rows, T_ROWS, got);
        for (size_t r = 0; r < T_ROWS; r++) {
            const double plain = t_plain(space, s->query, s->rows[r], dims);
            const double truth = t_scaled(space, plain),
                         sigma = (double)pv__code_sigma(&code, query, rows[r]);
            const double own = kind == PV__CODE_SQ8 ? 8 * sigma + 1e-3 : 4 * sigma;
            if (!(fabs((double)got[r] - truth) <= own + fabs(truth) * 1e-5 + 2e-5 * (dims + 1))) {
                fail_msg("%s, code %s, %u dims, cpu %x, row %zu: %.9g instead of %.9g, sigma %.3g",
                         space->name, pv__code_name(kind), (unsigned)dims, (unsigned)cpu, r,
                         (double)got[r], truth, sigma);
            }
        }
        pv__code_query_row(&code, rows[3], query);
        float between[T_ROWS];
        pv__code_distances(&code, query, rows, T_ROWS, between);
        if (space->metric != PV_METRIC_DOT) {
            assert_true(between[3] == 0.0f || space->metric == PV_METRIC_COSINE);
            for (size_t r = 0; r < T_ROWS; r++) {
                assert_true(between[r] >= 0.0f);
            }
        }
        if (!first) {
            memcpy(want, got, sizeof want);
            memcpy(rows_want, between, sizeof between);
            first = memory;
        } else {
            assert_memory_equal(got, want, sizeof want); /* the scalar one's bits */
            assert_memory_equal(between, rows_want, sizeof between);
            assert_memory_equal(memory, first, T_ROWS * code.row_size);
            free(memory);
        }
        free(query);
        free(scratch);
        free(vector);
    }
    free(first);
    t_free(s);
}

static void test_types__codes_of_all_elements_and_metrics(void **state) {
    static const uint32_t dims[] = {1, 7, 8, 31, 64, 100, 131, 384};
    test_rng rng;
    (void)state;
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < T_SPACES; i++) {
        for (uint32_t kind = PV__CODE_F32; kind <= PV__CODE_BIT; kind++) {
            const bool lossy = kind == PV__CODE_Q4 || kind == PV__CODE_B1 || kind == PV__CODE_PQ;
            if (lossy || !pv__code_goes(kind, t_spaces[i].type, t_spaces[i].metric)) {
                continue; /* test_quant_code.c measures those */
            }
            for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
                t_code(&rng, &t_spaces[i], kind, dims[d]);
            }
        }
        const uint32_t kind = pv__code_default(t_spaces[i].type, t_spaces[i].metric);
        assert_true(pv__code_goes(kind, t_spaces[i].type, t_spaces[i].metric));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types__distances_are_the_plain_ones),
        cmocka_unit_test(test_types__every_instruction_set_gives_the_bits_of_the_scalar_one),
        cmocka_unit_test(test_types__every_function_gives_the_same_bits),
        cmocka_unit_test(test_types__nothing_behind_a_row_or_query_is_read),
        cmocka_unit_test(test_types__the_largest_sums_fit),
        cmocka_unit_test(test_types__l1_beyond_f32_is_cut_and_damage_is_farthest),
        cmocka_unit_test(test_types__what_does_not_go_together_is_refused),
        cmocka_unit_test(test_types__bad_elements_are_found_at_their_place),
        cmocka_unit_test(test_types__codes_of_all_elements_and_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
