/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_best.c - the nearest of many are what sorting all of them gives: distances of several
 * shapes, in any order, with a stop and without, for every instruction set. */
#include <float.h>

#include "ann/best.h"
#include "test_quant_data.h"

enum { T_MOST = 3000, T_SELF = 77 };

typedef struct t_case {
    pv__code code;
    pv__best_rule rule;
    pv__best best;
    pv__hit all[T_MOST];
    size_t n;
} t_case;

static void t_begin(t_case *t, const pv__code_kernel *kernel, uint32_t keep, uint32_t at) {
    const size_t room = pv__best_room(keep);
    memset(t, 0, sizeof *t);
    t->code.kernel = kernel;
    t->rule = (pv__best_rule){.code = &t->code, .keep = keep, .at = at, .stop = 1.15f};
    t->rule.hits = t_aligned(room * sizeof *t->rule.hits);
    t->rule.bytes = t_aligned(room);
    t->best.distances = t_aligned(room * sizeof(float));
    t->best.ids = t_aligned(room * sizeof(uint32_t));
}

static void t_end(t_case *t) {
    free(t->rule.hits);
    free(t->rule.bytes);
    free(t->best.distances);
    free(t->best.ids);
}

/* Shapes: 0 normal about 1; 1 few values; 2 all equal; 3 over many powers; 4 zeros and one far;
 * 5 as little apart as can be; 6 to the end of f32. */
static float t_distance(unsigned shape) {
    switch (shape) {
    case 0:
        return fabsf(1 + t_normal() / 8);
    case 1:
        return (float)(t_bits() % 3);
    case 2:
        return 0.25f;
    case 3:
        return ldexpf(1, (int)(t_bits() % 200) - 100);
    case 4:
        return t_bits() % 100 == 0 ? 1e30f : 0;
    case 5:
        return (float)(t_bits() % 999) * FLT_TRUE_MIN;
    default:
        return t_bits() % 2 == 0 ? FLT_MAX : (float)t_uniform() * FLT_MAX;
    }
}

static void t_shuffle(t_case *t) {
    for (size_t i = t->n; i > 1; i--) {
        const size_t k = t_bits() % i;
        const pv__hit h = t->all[k];
        t->all[k] = t->all[i - 1];
        t->all[i - 1] = h;
    }
}

/* Some at a time, and now and then what is beyond any bound. */
static void t_collect(t_case *t) {
    pv__best_clear(&t->best);
    for (size_t i = 0; i < t->n;) {
        float d[PV__CODE_PANEL_ROWS];
        uint32_t ids[PV__CODE_PANEL_ROWS];
        const size_t some = 1 + t_bits() % PV__CODE_PANEL_ROWS, n = PV_MIN(t->n - i, some);
        for (size_t k = 0; k < PV__CODE_PANEL_ROWS; k++) {
            d[k] = k < n ? t->all[i + k].distance : INFINITY;
            ids[k] = k < n ? t->all[i + k].slot : 0;
        }
        pv__best_add(&t->rule, &t->best, d, ids, t_bits() % 2 == 0 ? n : PV__CODE_PANEL_ROWS);
        if (t_bits() % 16 == 0) {
            pv__best_tighten(&t->rule, &t->best);
        }
        i += n;
    }
}

static int t_order(const void *a, const void *b) {
    const pv__hit x = *(const pv__hit *)a, y = *(const pv__hit *)b;
    return pv__hit_less(x, y) ? -1 : pv__hit_less(y, x) ? 1 : 0;
}

/* What has to come out, in t->all. */
static size_t t_want(t_case *t) {
    size_t n = 0;
    qsort(t->all, t->n, sizeof *t->all, t_order);
    for (size_t i = 0; i < t->n; i++) {
        t->all[n] = t->all[i];
        n += t->all[i].slot != T_SELF ? 1u : 0u;
    }
    n = PV_MIN(n, (size_t)t->rule.keep);
    while (t->rule.at > 0 && n > t->rule.at &&
           t->all[n - 1].distance > t->rule.stop * t->all[t->rule.at - 1].distance) {
        n--;
    }
    return n;
}

static void t_run(const pv__code_kernel *kernel, unsigned shape, uint32_t keep, uint32_t at,
                  size_t n) {
    static t_case t;
    t_begin(&t, kernel, keep, at);
    t.n = n;
    for (size_t i = 0; i < n; i++) {
        t.all[i] = (pv__hit){t_distance(shape), (uint32_t)i};
    }
    t_shuffle(&t);
    t_collect(&t);
    const size_t got = pv__best_take(&t.rule, &t.best, T_SELF), want = t_want(&t);
    if (got != want || memcmp(t.rule.hits, t.all, want * sizeof *t.all) != 0) {
        fail_msg("%s: shape %u, keep %u, at %u, %zu: %zu are %zu", kernel->name, shape, keep, at, n,
                 want, got);
    }
    t_end(&t);
}

static void test_ann_best__is_what_sorting_gives(void **state) {
    static const uint32_t keeps[] = {1, 4, 33, 64, 200, 500};
    static const size_t counts[] = {0, 1, 2, 31, 100, 290, 700, T_MOST};
    (void)state;
    for (size_t at = 0; pv__code_kernel_at(at); at++) {
        const pv__code_kernel *kernel = pv__code_kernel_at(at);
        for (unsigned shape = 0; (kernel->cpu & pv__sys_cpu()) == kernel->cpu && shape < 7;
             shape++) {
            for (size_t k = 0; k < PV_COUNTOF(keeps); k++) {
                for (size_t n = 0; n < PV_COUNTOF(counts); n++) {
                    t_run(kernel, shape, keeps[k], 0, counts[n]);
                    t_run(kernel, shape, keeps[k], PV_MIN(keeps[k], 32u), counts[n]);
                }
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_best__is_what_sorting_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
