/* SPDX-License-Identifier: Apache-2.0 */
/* test_quant_panel.c - distances of a panel are the bits that one row and one query give: for every
 * kind that builds graphs, metric, instruction set, number of rows and of queries. */
#include <float.h>

#include "test_quant_kit.h"

enum { T_ROWS = PV__CODE_PANEL_ROWS, T_QUERIES = 27 };

static const unsigned t_kinds[] = {PV__CODE_F32, PV__CODE_F16, PV__CODE_SQ8, PV__CODE_Q4,
                                   PV__CODE_Q4 | T_CENTRED};
static const uint32_t t_dims[] = {1,  3,  4,   5,   15,  16,  17,  63,
                                  64, 65, 100, 128, 130, 384, 768, 1537};

/* Vectors of ordinary size; every eighth of zeros, and some at the edges of f32 where asked. */
static void t_fill(t_set *s, bool extreme) {
    for (size_t i = 0; i < s->n; i++) {
        for (uint32_t d = 0; d < s->code.dims; d++) {
            const float edge = extreme && i % 5 == 3 ? FLT_MAX / 4 : 1.0f;
            s->vectors[i * s->code.dims + d] = i % 8 == 7 ? 0.0f : edge * (t_normal() + 0.5f) / 8;
        }
    }
    t_encode(s);
}

static void t_panel(t_set *s, size_t n, size_t queries) {
    const pv__code *c = &s->code;
    const size_t stride = pv__code_panel_query_bytes(c);
    uint8_t *memory = t_aligned(queries * stride);
    uint8_t *whole = t_aligned(c->query_bytes);
    const uint8_t *query[T_QUERIES];
    float got[T_QUERIES * T_ROWS], want[T_ROWS];
    pv__code_panel p = {.n = n, .turned = t_aligned(pv__code_panel_bytes(c) + 1)};
    assert_true(stride % 64 == 0);
    memcpy(p.rows, s->rows, n * sizeof *p.rows);
    for (size_t q = 0; q < queries; q++) {
        query[q] = memory + q * stride;
        pv__code_query_row(c, s->rows[s->n - 1 - q], whole);
        memcpy(memory + q * stride, whole, PV_MIN(stride, (size_t)c->query_bytes));
    }
    pv__code_panel_fill(c, &p);
    pv__code_panel_distances(c, &p, query, queries, got);
    for (size_t q = 0; q < queries; q++) {
        const float *d = got + q * T_ROWS;
        pv__code_query_row(c, s->rows[s->n - 1 - q], whole);
        pv__code_distances(c, whole, s->rows, n, want);
        if (memcmp(want, d, n * sizeof *want) != 0) {
            fail_msg("%s: kind %u, metric %u, %u dims, %zu rows, query %zu of %zu", c->kernel->name,
                     c->kind, c->metric, c->dims, n, q, queries);
        }
        for (size_t r = 0; r < T_ROWS; r++) {
            assert_true(r < n || d[r] == INFINITY);
        }
    }
    free(p.turned);
    free(memory);
    free(whole);
}

static void test_quant_panel__is_what_single_distances_are(void **state) {
    static const size_t rows[] = {1, 2, 5, 31, 32}, queries[] = {1, 3, 4, 12, 13, T_QUERIES};
    (void)state;
    for (size_t at = 0; t_kernel(at); at++) {
        for (size_t d = 0; d < PV_COUNTOF(t_dims); d++) {
            for (size_t k = 0; k < PV_COUNTOF(t_kinds); k++) {
                t_set s;
                t_open(&s, t_kinds[k], t_metrics[(d + k) % 3], t_dims[d], T_ROWS + 3,
                       t_kernel(at)->cpu, 8.0f);
                t_state = d + 1;
                t_fill(&s, false);
                for (size_t i = 0; i < PV_COUNTOF(rows); i++) {
                    t_panel(&s, rows[i], queries[(i + d) % PV_COUNTOF(queries)]);
                }
                t_close(&s);
            }
        }
    }
}

/* Squares beyond f32, which the wide expression does not hold. */
static void test_quant_panel__edges_of_f32(void **state) {
    (void)state;
    for (size_t at = 0; t_kernel(at); at++) {
        for (size_t k = 0; k < PV_COUNTOF(t_kinds); k++) {
            t_set s;
            t_open(&s, t_kinds[k], t_metrics[k % 3], 100, T_ROWS + 3, t_kernel(at)->cpu, FLT_MAX);
            t_state = k + 1;
            t_fill(&s, true);
            t_panel(&s, T_ROWS, T_QUERIES);
            t_close(&s);
        }
    }
}

/* Counted and kept, to another place, where they are, and to before it. */
static void test_quant_panel__within_a_bound(void **state) {
    enum { most = 131, room = most + 8 + PV__CODE_KEEP_BEHIND };
    float d[room], out[room];
    uint32_t ids[room], out_ids[room];
    (void)state;
    for (size_t at = 0; t_kernel(at); at++) {
        const pv__code c = {.kernel = t_kernel(at)};
        for (uint32_t n = 0; n <= most; n++) {
            for (unsigned round = 0; round < 4; round++) {
                float want[most], bound = (float)(t_bits() % 8);
                uint32_t want_ids[most];
                const size_t shift = round * 2;
                size_t count = 0;
                for (uint32_t i = 0; i < n; i++) {
                    d[shift + i] = t_bits() % 9 == 0 ? INFINITY : (float)(t_bits() % 8);
                    ids[shift + i] = t_bits();
                    want[count] = d[shift + i];
                    want_ids[count] = ids[shift + i];
                    count += d[shift + i] <= bound ? 1u : 0u;
                }
                float *const to = round == 0 ? out : d;
                uint32_t *const to_ids = round == 0 ? out_ids : ids;
                assert_int_equal(pv__code_count_within(&c, d + shift, n, bound), count);
                assert_int_equal(
                    pv__code_keep_within(&c, d + shift, ids + shift, n, bound, to, to_ids), count);
                assert_memory_equal(to, want, count * sizeof *want);
                assert_memory_equal(to_ids, want_ids, count * sizeof *want_ids);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quant_panel__is_what_single_distances_are),
        cmocka_unit_test(test_quant_panel__edges_of_f32),
        cmocka_unit_test(test_quant_panel__within_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
