/* SPDX-License-Identifier: Apache-2.0 */
/* test_quant_link.c - distances that links are chosen by: for dot the product of two rows, with the
 * same bits everywhere. */
#include "test_quant_kit.h"

enum { T_LINK_ROWS = 20 };

/* No graph is built from signs. */
static const unsigned t_link_kinds[] = {PV__CODE_F32, PV__CODE_F16, PV__CODE_SQ8, PV__CODE_Q4,
                                        PV__CODE_Q4 | T_CENTRED};

/* Vectors about a mean of 1 and 0 in turn, within the length that codes are made for. */
static void t_link_set(t_set *s, unsigned kind, unsigned metric, uint32_t dims, uint32_t cpu) {
    t_state = dims * 31 + kind;
    t_open(s, kind, metric, dims, T_LINK_ROWS, cpu, (float)dims * 8);
    for (size_t i = 0; i < s->n * dims; i++) {
        s->vectors[i] = (float)(i % 2) + 0.7f * t_normal();
    }
    t_encode(s);
}

/* Six deviations of what the code loses of a product: of two rows, and where they are coded as
 * differences to a mean, of what is left of them. */
static double t_link_allowed(const pv__code *c, double a2, double b2) {
    const double n = (double)PV_ALIGN_UP(c->dims, 64u);
    const double share = c->kind == PV__CODE_F32   ? 1e-6
                         : c->kind == PV__CODE_F16 ? 1e-3
                         : c->kind == PV__CODE_SQ8 ? 0.02
                                                   : 1.5 / sqrt(n) + 0.03;
    return share * sqrt(a2 * b2) + 1e-5;
}

static void t_link_row(t_set *s, size_t q, const float *out) {
    const pv__code *c = &s->code;
    for (size_t i = 0; i < s->n; i++) {
        double dot = 0, a2 = 0, b2 = 0;
        for (uint32_t d = 0; d < c->dims; d++) {
            const double a = (double)s->vectors[q * c->dims + d];
            const double b = (double)s->vectors[i * c->dims + d];
            dot += a * b;
            a2 += a * a;
            b2 += b * b;
        }
        if (!(fabs((double)out[i] + dot) <= t_link_allowed(c, a2, b2))) {
            fail_msg("kind %u centred %d, %u dims, rows %zu and %zu: %.9g, not %.9g", c->kind,
                     c->centred, c->dims, q, i, (double)out[i], -dot);
        }
    }
}

static void test_quant_link__dot_is_the_product_of_two_rows(void **state) {
    (void)state;
    for (size_t k = 0; k < PV_COUNTOF(t_link_kinds); k++) {
        for (uint32_t dims = 16; dims < 600; dims += 83) {
            t_set s, scalar;
            t_link_set(&s, t_link_kinds[k], PV_METRIC_DOT, dims, pv__sys_cpu());
            t_link_set(&scalar, t_link_kinds[k], PV_METRIC_DOT, dims, 0);
            for (size_t q = 0; q < s.n; q++) {
                float out[T_LINK_ROWS], same[T_LINK_ROWS];
                pv__code_query_link(&s.code, s.rows[q], s.query);
                pv__code_distances(&s.code, s.query, s.rows, s.n, out);
                t_link_row(&s, q, out);
                pv__code_query_link(&scalar.code, scalar.rows[q], scalar.query);
                pv__code_distances(&scalar.code, scalar.query, scalar.rows, s.n, same);
                if (s.code.kind != PV__CODE_F32 && s.code.kind != PV__CODE_F16) {
                    assert_memory_equal(out, same, sizeof out);
                }
            }
            t_close(&s);
            t_close(&scalar);
        }
    }
}

static void test_quant_link__other_metrics_are_as_from_a_row(void **state) {
    (void)state;
    for (size_t k = 0; k < PV_COUNTOF(t_link_kinds); k++) {
        for (unsigned m = PV_METRIC_L2; m <= PV_METRIC_COSINE; m++) {
            t_set s;
            t_link_set(&s, t_link_kinds[k], m, 70, pv__sys_cpu());
            for (size_t q = 0; q < s.n; q++) {
                float out[T_LINK_ROWS], same[T_LINK_ROWS];
                pv__code_query_link(&s.code, s.rows[q], s.query);
                pv__code_distances(&s.code, s.query, s.rows, s.n, out);
                pv__code_query_row(&s.code, s.rows[q], s.query);
                pv__code_distances(&s.code, s.query, s.rows, s.n, same);
                assert_memory_equal(out, same, sizeof out);
            }
            t_close(&s);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quant_link__dot_is_the_product_of_two_rows),
        cmocka_unit_test(test_quant_link__other_metrics_are_as_from_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
