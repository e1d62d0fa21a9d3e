/* SPDX-License-Identifier: Apache-2.0 */
/* test_quant_bound.c - quant/bound.h on every instruction set that this CPU has: what a kernel
 * says is never outside of what a code says for certain, whatever the values; where the rounding of
 * codes is at its worst and all of it counts, there is nothing to spare; and ordinary rows that are
 * far are passed over. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "kernel/code_kernel.h"
#include "os/sys.h"
#include "quant/bound.h"
#include "support/test_support.h"

static const unsigned t_metrics[] = {PV_METRIC_L2, PV_METRIC_COSINE, PV_METRIC_DOT};
static test_rng t_rng;

enum { T_ROWS = 32, T_QUERIES = 6, T_DIMS_MAX = 768 };

/* ---- data ---- */

enum {
    T_NORMAL, /* queries near rows and far from them */
    T_FAR,    /* a large mean: f32 is as coarse as the grid */
    T_SCALES, /* from below the normal range to nearly FLT_MAX */
    T_MIXED,  /* all of these in one vector */
    T_HEAVY,  /* a few elements are all there is: wide steps */
    T_SPARSE,
    T_WHOLE, /* ties */
    T_SAME,  /* constant: step 0 */
    T_CLOSE, /* rows are the query but for the last bits */
    T_KINDS
};

static float t_vectors[T_ROWS + T_QUERIES][T_DIMS_MAX];

static float t_value(int kind, size_t vector, size_t i) {
    static const float scale[] = {0x1p-149f, 1e-38f,  1e-30f, 0x1p-45f, 1e-3f,
                                  1,         0x1p40f, 1e18f,  1e30f,    1e37f};
    const float g = test_rng_gauss(&t_rng);
    switch (kind) {
    case T_FAR:
        return 10000.0f + g * (vector % 3 == 0 ? 0.001f : 0.1f);
    case T_SCALES:
        return g * scale[vector % PV_COUNTOF(scale)];
    case T_MIXED:
        return g * scale[(vector + i * 7) % (PV_COUNTOF(scale) - vector % 5)];
    case T_HEAVY:
        return g * g * g * (i % 64 == vector % 64 ? 30.0f : 0.1f);
    case T_SPARSE:
        return (i * 31 + vector) % 17 == 0 ? g : 0.0f;
    case T_WHOLE:
        return vector % 11 == 3 ? 0.0f : (float)((int)test_rng_below(&t_rng, 3) - 1);
    case T_SAME:
        return vector % 7 == 0 ? 0.0f : vector % 7 == 1 ? -0.0f : scale[vector % 7] * 3.7f;
    default:
        return g;
    }
}

static void t_fill(int kind, uint32_t dims) {
    for (size_t v = 0; v < T_ROWS + T_QUERIES; v++) {
        for (size_t i = 0; i < dims; i++) {
            t_vectors[v][i] = t_value(kind, v, i);
        }
    }
    for (size_t r = 0; r < T_ROWS; r++) {
        for (size_t i = 0; i < dims && kind == T_NORMAL && r % 4 == 0; i++) {
            t_vectors[r][i] = t_vectors[T_ROWS + r % T_QUERIES][i] + 0.1f * t_vectors[r][i];
        }
        for (size_t i = 0; i < dims && kind == T_CLOSE; i++) {
            const float v = t_vectors[T_ROWS + r % T_QUERIES][i];
            t_vectors[r][i] = r % 3 == 0 ? v : nextafterf(v, r % 3 == 1 ? INFINITY : -INFINITY);
        }
    }
}

/* As elements of a type; out: an element each T_DIMS_MAX * 4 bytes. */
static void t_store(const pv__code *c, const float *v, void *out) {
    if (c->type == PV_TYPE_F32) {
        memcpy(out, v, c->dims * sizeof *v);
    } else if (c->type == PV_TYPE_F16) {
        c->floats->halves(v, c->dims, 1.0f, out);
    } else {
        for (uint32_t i = 0; i < c->dims; i++) {
            const float x = v[i] * 50;
            ((int8_t *)out)[i] = (int8_t)(x < -128 ? -128 : x > 127 ? 127 : x);
        }
    }
}

/* ---- a set of rows ---- */

typedef struct t_rows {
    pv__code code;
    uint32_t cpu;
    uint8_t elements[T_ROWS + T_QUERIES][T_DIMS_MAX * 4];
    uint8_t codes[T_ROWS][T_DIMS_MAX + 16];
    const uint8_t *row[T_ROWS], *vector[T_ROWS];
    void *query, *scratch;
} t_rows;

static t_rows t_set;

static void t_make(uint32_t cpu, uint32_t type, uint32_t metric, uint32_t dims) {
    t_rows *s = &t_set;
    const pv__code_spec spec = {
        .kind = PV__CODE_SQ8, .metric = metric, .dims = dims, .type = type, .norm2_max = 1};
    s->cpu = cpu;
    assert_true(pv__code_init(&s->code, &spec, cpu));
    assert_true(pv__bound_can(&s->code));
    s->query = aligned_alloc(64, PV_ALIGN_UP(s->code.query_bytes, 64u));
    s->scratch = aligned_alloc(64, PV_ALIGN_UP(s->code.scratch_bytes, 64u) + 64);
    for (size_t v = 0; v < T_ROWS + T_QUERIES; v++) {
        t_store(&s->code, t_vectors[v], s->elements[v]);
        if (v < T_ROWS) {
            pv__code_encode(&s->code, s->elements[v], s->scratch, s->codes[v]);
            s->row[v] = s->codes[v];
            s->vector[v] = s->elements[v];
        }
    }
}

static void t_unmake(void) {
    free(t_set.query);
    free(t_set.scratch);
}

/* What kernels say of one query and all rows. */
static void t_measure(const uint8_t *query, float *out) {
    static float room[T_DIMS_MAX];
    pv__kernel_query q;
    const pv__code *c = &t_set.code;
    assert_true(pv__kernel_query_of(&q, t_set.cpu, c->type, c->metric, query, c->dims, room));
    pv__kernel_gather(pv__kernel_table(t_set.cpu), &q, t_set.vector, T_ROWS, out);
}

/* How many rows of those are passed over that are farther than the i-th nearest. */
static size_t t_judge(const char *name, size_t query, float within, const float *distances) {
    const pv__code *c = &t_set.code;
    pv__bound b;
    float low[T_ROWS], high[T_ROWS];
    size_t over = 0;
    if (!pv__bound_init(&b, c, t_set.elements[T_ROWS + query], t_set.query)) {
        return 0;
    }
    pv__bound_within(&b, within);
    for (size_t n = 1; n <= T_ROWS; n += n < 9 ? 1 : 23) { /* 1 to 9, 32 */
        const uint32_t bits = pv__bound_rows(&b, t_set.row, n, T_ROWS, low, high);
        assert_true(n == 32 || bits >> n == 0);
        over = 0;
        for (size_t r = 0; r < n; r++) {
            if (!(bits >> r & 1u)) {
                over++;
                if (distances[r] <= within) {
                    fail_msg("%s type %u metric %u dims %u: %.9g within %.9g is passed over", name,
                             c->type, c->metric, c->dims, (double)distances[r], (double)within);
                }
            } else if (!(low[r] <= distances[r] && distances[r] <= high[r])) {
                fail_msg("%s type %u metric %u dims %u: %.9g is not in %.9g to %.9g", name, c->type,
                         c->metric, c->dims, (double)distances[r], (double)low[r], (double)high[r]);
            }
        }
    }
    return over;
}

/* The i-th set of instructions, scalar first. */
static bool t_cpu(size_t i, uint32_t *out_cpu, const char **out_name) {
    const uint32_t cpu = pv__sys_cpu();
    for (size_t at = 0; pv__code_kernel_at(at); at++) {
        const pv__code_kernel *k = pv__code_kernel_at(at);
        if ((k->cpu & cpu) == k->cpu && i-- == 0) {
            *out_cpu = k->cpu;
            *out_name = k->name;
            return true;
        }
    }
    return false;
}

/* ---- tests ---- */

static int t_setup(void **state) {
    (void)state;
    test_rng_init(&t_rng, test_seed());
    return 0;
}

static void t_all(const char *name) {
    static const float odd[] = {INFINITY, FLT_MAX, 0, -1, 2, 1e-30f, -FLT_MAX};
    for (size_t q = 0; q < T_QUERIES; q++) {
        float distances[T_ROWS];
        t_measure(t_set.elements[T_ROWS + q], distances);
        for (size_t i = 0; i < T_ROWS; i++) {
            t_judge(name, q, distances[i], distances);
            t_judge(name, q, nextafterf(distances[i], -INFINITY), distances);
        }
        for (size_t i = 0; i < PV_COUNTOF(odd); i++) {
            t_judge(name, q, odd[i], distances);
        }
    }
}

static void test_bound__holds_whatever_the_values(void **state) {
    (void)state;
    static const uint32_t sizes[] = {1, 2, 3, 5, 16, 31, 64, 100, T_DIMS_MAX};
    static const uint32_t types[] = {PV_TYPE_F32, PV_TYPE_F16, PV_TYPE_I8};
    uint32_t cpu = 0;
    const char *name = NULL;
    for (size_t d = 0; d < PV_COUNTOF(sizes); d++) {
        for (int kind = 0; kind < T_KINDS; kind++) {
            t_fill(kind, sizes[d]);
            for (size_t m = 0; m < PV_COUNTOF(t_metrics) * PV_COUNTOF(types); m++) {
                for (size_t at = 0; t_cpu(at, &cpu, &name); at++) {
                    t_make(cpu, types[m % 3], t_metrics[m / 3], sizes[d]);
                    t_all(name);
                    t_unmake();
                }
            }
        }
    }
}

/* Elements lie half a step off the grid, and the query on it, on the other side of all of them:
 * what is lost of the row is all that there is between the two. A bound that is 2 % too small
 * fails. */
static void t_worst(uint32_t dims, size_t vector, bool dot) {
    float *q = t_vectors[T_ROWS + vector % T_QUERIES], *x = t_vectors[vector];
    for (uint32_t i = 0; i < dims; i++) {
        const int k = i < 2 ? (i == 0 ? -128 : 127) : (int)test_rng_below(&t_rng, 255) - 128;
        x[i] = i < 2 ? (float)k : (float)k + 0.5f; /* goes to the even one */
        q[i] = i < 2 ? (float)k : (float)(k % 2 == 0 ? k + 1 : k);
        if (dot) { /* the error times the query is a sum of equal signs */
            q[i] = i < 2 ? (i == 0 ? -1.0f : 1.0f) : k % 2 == 0 ? 1.0f : -1.0f;
        }
    }
}

static void test_bound__holds_where_all_of_it_is_needed(void **state) {
    (void)state;
    static const uint32_t sizes[] = {64, 100, T_DIMS_MAX};
    uint32_t cpu = 0;
    const char *name = NULL;
    for (size_t d = 0; d < PV_COUNTOF(sizes); d++) {
        for (size_t m = 0; m < PV_COUNTOF(t_metrics); m++) {
            const bool dot = t_metrics[m] == PV_METRIC_DOT;
            for (size_t v = 0; v < T_ROWS; v++) {
                t_worst(sizes[d], v % T_QUERIES, dot);
                memcpy(t_vectors[v], t_vectors[v % T_QUERIES], sizeof t_vectors[v]);
            }
            for (size_t at = 0; t_cpu(at, &cpu, &name); at++) {
                t_make(cpu, PV_TYPE_F32, t_metrics[m], sizes[d]);
                t_all(name);
                /* And not much more than that. */
                for (size_t q = 0; q < T_QUERIES && !dot; q++) {
                    float distances[T_ROWS];
                    t_measure(t_set.elements[T_ROWS + q], distances);
                    assert_true(distances[q] > 0);
                    const float less =
                        distances[q] * (t_metrics[m] == PV_METRIC_L2 ? 0.9f : 0.8f) - 1e-4f;
                    assert_true(t_judge(name, q, less, distances) > 0);
                }
                t_unmake();
            }
        }
    }
}

/* Else it would be easy. */
static void test_bound__passes_over_what_is_far(void **state) {
    (void)state;
    uint32_t cpu = 0;
    const char *name = NULL;
    for (size_t at = 0; t_cpu(at, &cpu, &name); at++) {
        for (size_t m = 0; m < PV_COUNTOF(t_metrics); m++) {
            size_t over = 0, far = 0;
            t_fill(T_NORMAL, 100);
            t_make(cpu, PV_TYPE_F32, t_metrics[m], 100);
            for (size_t q = 0; q < T_QUERIES; q++) {
                float distances[T_ROWS];
                t_measure(t_set.elements[T_ROWS + q], distances);
                for (size_t i = 0; i < T_ROWS; i++) {
                    for (size_t r = 0; r < T_ROWS; r++) {
                        far += distances[r] > distances[i];
                    }
                    over += t_judge(name, q, distances[i], distances);
                }
            }
            assert_true(over * 100 >= far * 80);
            t_unmake();
        }
    }
}

static void test_bound__of_nothing_nothing_is_known(void **state) {
    (void)state;
    pv__bound b;
    memset(t_vectors, 0, sizeof t_vectors);
    t_make(0, PV_TYPE_F32, PV_METRIC_COSINE, 16);
    assert_false(pv__bound_init(&b, &t_set.code, t_set.elements[T_ROWS], t_set.query));
    t_unmake();
    const pv__code_spec other = {.kind = PV__CODE_Q4, .metric = PV_METRIC_L2, .dims = 64};
    pv__code c;
    assert_true(pv__code_init(&c, &other, 0));
    assert_false(pv__bound_can(&c));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound__holds_whatever_the_values),
        cmocka_unit_test(test_bound__holds_where_all_of_it_is_needed),
        cmocka_unit_test(test_bound__passes_over_what_is_far),
        cmocka_unit_test(test_bound__of_nothing_nothing_is_known),
    };
    return cmocka_run_group_tests(tests, t_setup, NULL);
}
