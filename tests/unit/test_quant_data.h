/* SPDX-License-Identifier: Apache-2.0 */
/* test_quant_data.h - random vectors, aligned memory, and distances in double. */
#ifndef TEST_QUANT_DATA_H
#define TEST_QUANT_DATA_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/code_kernel.h"
#include "os/sys.h"
#include "quant/code.h"

static const unsigned t_metrics[] = {PV_METRIC_L2, PV_METRIC_COSINE, PV_METRIC_DOT};

static uint64_t t_state = 20261123;
static uint32_t t_bits(void) {
    t_state = t_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(t_state >> 32);
}
static double t_uniform(void) { return (t_bits() + 0.5) * 0x1p-32; }
/* Sum of twelve: near enough to normal, and without functions whose last bit a library chooses. */
static float t_normal(void) {
    double sum = -6;
    for (int i = 0; i < 12; i++) {
        sum += t_uniform();
    }
    return (float)sum;
}

static void *t_aligned(size_t size) {
    void *p = aligned_alloc(64, (size + 127) & ~(size_t)63);
    assert_non_null(p);
    return p;
}

/* What an estimate stands for, in double, from the vectors; extra: the appended coordinate. */
static inline double t_truth(unsigned metric, const float *a, const float *b, uint32_t dims,
                             bool rows, double norm2_max) {
    double l2 = 0, dot = 0, a2 = 0, b2 = 0;
    for (uint32_t i = 0; i < dims; i++) {
        const double x = (double)a[i], y = (double)b[i];
        l2 += (x - y) * (x - y);
        dot += x * y;
        a2 += x * x;
        b2 += y * y;
    }
    if (metric == PV_METRIC_L2) {
        return l2;
    }
    if (metric == PV_METRIC_COSINE) {
        return a2 == 0 || b2 == 0 ? 2 : 2 - 2 * dot / (sqrt(a2) * sqrt(b2));
    }
    if (!rows) {
        return -dot;
    }
    const double e = sqrt(fmax(0, norm2_max - a2)) - sqrt(fmax(0, norm2_max - b2));
    return l2 + e * e;
}

#endif
