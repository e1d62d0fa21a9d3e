/* SPDX-License-Identifier: Apache-2.0 */
/* measure.c - distances of rows by element and metric, where the way of kernel.c (f32 by l2, cosine
 * and dot) does not serve: sums from code_float.c and code_int.c, then one expression.
 *
 *      f16    elements are exact in f32, and no sum of their squares leaves its range
 *      i8     sums are integers; distances are rounded once
 *      bit    the same
 *      l1     f32: beyond FLT_MAX it is computed again in double, and cut
 *
 * Equal rows are at exactly 0 by l2, l1, hamming and jaccard. */
#include <float.h>
#include <math.h>

#include "kernel/code_kernel.h"
#include "kernel/element.h"

#define MEASURE_BLOCK 64u /* as that of kernel.c */

static size_t measure_row_bytes(const pv__kernel_query *q) {
    return pv__element_bytes(pv__element_of(q->type), q->dims);
}

static pv__code_rows measure_rows(const pv__kernel_query *q, const uint8_t *const *rows, size_t n,
                                  size_t ahead) {
    const pv__code_rows r = {rows, n, n + ahead, measure_row_bytes(q)};
    return r;
}

/* What is no number, or too large for one: damage, or a sum beyond FLT_MAX. */
static void measure_settle(const pv__kernel_query *q, const uint8_t *const *rows, size_t n,
                           float *io) {
    for (size_t r = 0; r < n; r++) {
        if (PV_UNLIKELY(!(io[r] >= -FLT_MAX && io[r] <= FLT_MAX))) {
            io[r] = pv__measure_exact(q->type, q->metric, q->vector, rows[r], q->dims);
        }
    }
}

/* ---- f32, f16 -------------------------------------------------------------------------------- */

static void measure_f32_l1(const pv__kernel_query *q, const pv__code_rows *rows, float *out) {
    q->floats->l1(q->wide, q->dims, rows, out);
    measure_settle(q, rows->row, rows->n, out);
}

static void measure_f16_l2(const pv__kernel_query *q, const pv__code_rows *rows, float *out) {
    q->floats->half_l2sq(q->wide, q->dims, rows, out);
    for (size_t r = 0; r < rows->n; r++) {
        out[r] = sqrtf(out[r]);
    }
    measure_settle(q, rows->row, rows->n, out);
}

static void measure_f16_dot(const pv__kernel_query *q, const pv__code_rows *rows, float *out) {
    q->floats->half_dot(q->wide, q->dims, rows, out);
    for (size_t r = 0; r < rows->n; r++) {
        out[r] = 0.0f - out[r]; /* not -0 */
    }
    measure_settle(q, rows->row, rows->n, out);
}

static void measure_f16_cosine(const pv__kernel_query *q, const pv__code_rows *rows, float *out) {
    float norm2[MEASURE_BLOCK];
    q->floats->half_dot2(q->wide, q->dims, rows, out, norm2);
    for (size_t r = 0; r < rows->n; r++) {
        if (norm2[r] == 0.0f || q->exact) {
            out[r] = 1.0f;
            continue;
        }
        const float d = 1.0f - pv__unfused(out[r] * q->inv_norm / sqrtf(norm2[r]));
        out[r] = d < 0.0f ? 0.0f : d > 2.0f ? 2.0f : d;
    }
    measure_settle(q, rows->row, rows->n, out);
}

static void measure_f16_l1(const pv__kernel_query *q, const pv__code_rows *rows, float *out) {
    q->floats->half_l1(q->wide, q->dims, rows, out);
    measure_settle(q, rows->row, rows->n, out);
}

/* ---- i8, bit --------------------------------------------------------------------------------- */

static void measure_i8_l2(const pv__kernel_query *q, const pv__code_rows *rows, float *out) {
    int32_t sums[MEASURE_BLOCK];
    q->ints->i8_l2(q->vector, q->dims, rows, sums, NULL);
    for (size_t r = 0; r < rows->n; r++) {
        out[r] = (float)sqrt((double)sums[r]);
    }
}

static void measure_i8_dot(const pv__kernel_query *q, const pv__code_rows *rows, float *out) {
    int32_t sums[MEASURE_BLOCK];
    q->ints->i8_dot(q->vector, q->dims, rows, sums, NULL);
    for (size_t r = 0; r < rows->n; r++) {
        out[r] = (float)-sums[r];
    }
}

static void measure_i8_cosine(const pv__kernel_query *q, const pv__code_rows *rows, float *out) {
    int32_t dot[MEASURE_BLOCK], norm2[MEASURE_BLOCK];
    q->ints->i8_dot2(q->vector, q->dims, rows, dot, norm2);
    for (size_t r = 0; r < rows->n; r++) {
        const double norms = sqrt(q->norm2 * norm2[r]);
        const double d = norms > 0 ? 1.0 - dot[r] / norms : 1.0;
        out[r] = d < 0 ? 0.0f : (float)d;
    }
}

static void measure_i8_l1(const pv__kernel_query *q, const pv__code_rows *rows, float *out) {
    int32_t sums[MEASURE_BLOCK];
    q->ints->i8_l1(q->vector, q->dims, rows, sums, NULL);
    for (size_t r = 0; r < rows->n; r++) {
        out[r] = (float)sums[r];
    }
}

static void measure_hamming(const pv__kernel_query *q, const pv__code_rows *rows, float *out) {
    int32_t sums[MEASURE_BLOCK];
    q->ints->bit_xor(q->vector, rows->row_size, rows, sums, NULL);
    for (size_t r = 0; r < rows->n; r++) {
        out[r] = (float)sums[r];
    }
}

/* One rounding; two vectors without a bit are equal, so at 0. */
static void measure_jaccard(const pv__kernel_query *q, const pv__code_rows *rows, float *out) {
    int32_t both[MEASURE_BLOCK], either[MEASURE_BLOCK];
    q->ints->bit_both(q->vector, rows->row_size, rows, both, either);
    for (size_t r = 0; r < rows->n; r++) {
        out[r] = (float)(either[r] - both[r]) / (float)PV_MAX(either[r], 1);
    }
}

/* ---- the table ------------------------------------------------------------------------------- */

typedef struct measure_entry {
    uint32_t type, metric;
    pv__measure_fn distances; /* NULL: as kernel.c does it */
} measure_entry;

static const measure_entry *measure_find(uint32_t type, uint32_t metric) {
    static const measure_entry entries[] = {
        {PV_TYPE_F32, PV_METRIC_L2, NULL},
        {PV_TYPE_F32, PV_METRIC_COSINE, NULL},
        {PV_TYPE_F32, PV_METRIC_DOT, NULL},
        {PV_TYPE_F32, PV_METRIC_L1, measure_f32_l1},
        {PV_TYPE_F16, PV_METRIC_L2, measure_f16_l2},
        {PV_TYPE_F16, PV_METRIC_COSINE, measure_f16_cosine},
        {PV_TYPE_F16, PV_METRIC_DOT, measure_f16_dot},
        {PV_TYPE_F16, PV_METRIC_L1, measure_f16_l1},
        {PV_TYPE_I8, PV_METRIC_L2, measure_i8_l2},
        {PV_TYPE_I8, PV_METRIC_COSINE, measure_i8_cosine},
        {PV_TYPE_I8, PV_METRIC_DOT, measure_i8_dot},
        {PV_TYPE_I8, PV_METRIC_L1, measure_i8_l1},
        {PV_TYPE_BIT, PV_METRIC_HAMMING, measure_hamming},
        {PV_TYPE_BIT, PV_METRIC_JACCARD, measure_jaccard},
    };
    for (size_t i = 0; i < PV_COUNTOF(entries); i++) {
        if (entries[i].type == type && entries[i].metric == metric) {
            return &entries[i];
        }
    }
    return NULL;
}

bool pv__measure_exists(uint32_t type, uint32_t metric) {
    return measure_find(type, metric) != NULL;
}

size_t pv__kernel_query_room(uint32_t type, uint32_t dims) {
    return type == PV_TYPE_F16 ? dims * sizeof(float) : 0;
}

bool pv__kernel_query_of(pv__kernel_query *q, uint32_t cpu, uint32_t type, unsigned metric,
                         const void *vector, uint32_t dims, void *room) {
    const measure_entry *entry = measure_find(type, metric);
    if (!entry) {
        return false;
    }
    if (!entry->distances) {
        return pv__kernel_query_init(q, metric, vector, dims);
    }
    const pv__element *e = pv__element_of(type);
    *q = (pv__kernel_query){.vector = vector,
                            .dims = dims,
                            .type = type,
                            .metric = metric,
                            .distances = entry->distances,
                            .floats = pv__code_floats_table(cpu),
                            .ints = pv__code_ints_table(cpu)};
    q->wide = type == PV_TYPE_F32 ? vector : room;
    if (type == PV_TYPE_F16) {
        pv__element_widen(e, vector, dims, room);
    }
    if (metric == PV_METRIC_COSINE) {
        q->norm2 = pv__element_norm2(e, vector, dims);
        q->exact = q->norm2 == 0;
        q->inv_norm = q->exact ? 0 : (float)(1.0 / sqrt(q->norm2));
    }
    return true;
}

void pv__measure_block(const pv__kernel_query *q, const uint8_t *const *rows, size_t n,
                       size_t ahead, float *out) {
    const pv__code_rows r = measure_rows(q, rows, n, ahead);
    q->distances(q, &r, out);
}

/* ---- in double ------------------------------------------------------------------------------- */

/* To f32, cut to what the metric can give. */
static float measure_round(unsigned metric, double v) {
    const double least = metric == PV_METRIC_DOT ? -(double)FLT_MAX : 0;
    const double most = metric == PV_METRIC_COSINE ? 2 : (double)FLT_MAX;
    return (float)PV_MAX(PV_MIN(v, most), least);
}

float pv__measure_exact(uint32_t type, unsigned metric, const void *query, const void *row,
                        size_t dims) {
    const pv__element *e = pv__element_of(type);
    double l2 = 0, l1 = 0, dot = 0, q2 = 0, r2 = 0;
    for (size_t i = 0; i < dims; i += 8) {
        float a[8], b[8];
        const size_t n = PV_MIN(dims - i, (size_t)8);
        e->widen(query, i, n, a);
        e->widen(row, i, n, b);
        for (size_t k = 0; k < n; k++) {
            const double x = (double)a[k], y = (double)b[k];
            l2 += (x - y) * (x - y);
            l1 += fabs(x - y);
            dot += x * y;
            q2 += x * x;
            r2 += y * y;
        }
    }
    if (!(r2 <= DBL_MAX)) {
        return FLT_MAX; /* NaN or infinity: damage, farthest */
    }
    switch (metric) {
    case PV_METRIC_L2:
        return measure_round(metric, sqrt(l2));
    case PV_METRIC_DOT:
        return measure_round(metric, 0.0 - dot);
    case PV_METRIC_COSINE:
        return q2 == 0 || r2 == 0 ? 1.0f : measure_round(metric, 1.0 - dot / (sqrt(q2) * sqrt(r2)));
    case PV_METRIC_JACCARD: /* of 0 and 1: dot counts both */
        return q2 + r2 == 0 ? 0.0f : measure_round(metric, 1.0 - dot / (q2 + r2 - dot));
    default:
        return measure_round(metric, l1); /* of bits: those that differ */
    }
}

#undef MEASURE_BLOCK
