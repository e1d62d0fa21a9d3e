/* SPDX-License-Identifier: Apache-2.0 */
/* i8.c - rows of signed bytes as they are stored: nothing is lost.
 *
 *      row     dims bytes | zeros up to a multiple of 4 | sum i32 | norm2 i32 | extra f32 | 0
 *      query   header of 64 bytes | dims bytes, + 128 but for l1 | zeros up to a multiple of 64
 *
 * sum and norm2 are those of the elements and of their squares; extra is that of f32.c for dot. All
 * sums are exact integers below 2^31, and a distance is rounded once (with l1: twice). */
#include <math.h>

#include "quant/kinds.h"

enum { I8_FACTORS = 16, I8_FORM_COSINE = PV__CODE_FORM_L1 + 1 };

typedef struct i8_factors {
    int32_t sum, norm2;
    float extra;
    uint32_t zero;
} i8_factors;
PV_STATIC_ASSERT(sizeof(i8_factors) == I8_FACTORS, i8_factors_are_four_words);

typedef struct i8_query {
    uint32_t form; /* PV__CODE_FORM_, or that of cosine */
    i8_factors f;
    uint8_t pad[44];
} i8_query;
PV_STATIC_ASSERT(sizeof(i8_query) == 64, i8_query_is_one_line);

static uint32_t i8_bytes(const pv__code *c) { return PV_ALIGN_UP(c->dims, 4u); }

static void i8_sizes(pv__code *c) {
    c->row_size = i8_bytes(c) + I8_FACTORS;
    c->query_bytes = (uint32_t)sizeof(i8_query) + PV_ALIGN_UP(c->dims, 64u);
}

static i8_factors i8_factors_of(const pv__code *c, const uint8_t *row) {
    i8_factors f = {0, 0, 0, 0};
    for (uint32_t i = 0; i < c->dims; i++) {
        const int32_t v = (int8_t)row[i];
        f.sum += v;
        f.norm2 += v * v;
    }
    f.extra = c->metric == PV_METRIC_DOT ? pv__code_extra(c, (double)f.norm2) : 0.0f;
    return f;
}

static i8_factors i8_get(const pv__code *c, const uint8_t *row) {
    i8_factors f;
    memcpy(&f, row + i8_bytes(c), sizeof f);
    return f;
}

static void i8_encode(const pv__code *c, const void *vector, void *scratch, uint8_t *row) {
    const i8_factors f = i8_factors_of(c, vector);
    (void)scratch;
    memcpy(row, vector, c->dims);
    memset(row + c->dims, 0, i8_bytes(c) - c->dims);
    memcpy(row + i8_bytes(c), &f, sizeof f);
}

static void i8_query_make(const pv__code *c, uint32_t dot_form, const uint8_t *row, i8_factors f,
                          void *query) {
    i8_query *q = query;
    uint8_t *const codes = (uint8_t *)query + sizeof *q;
    memset(q, 0, sizeof *q);
    q->f = f;
    q->form = c->metric == PV_METRIC_DOT      ? dot_form
              : c->metric == PV_METRIC_L1     ? (uint32_t)PV__CODE_FORM_L1
              : c->metric == PV_METRIC_COSINE ? (uint32_t)I8_FORM_COSINE
                                              : (uint32_t)PV__CODE_FORM_L2;
    const uint8_t flip = q->form == PV__CODE_FORM_L1 ? 0 : 0x80;
    for (uint32_t i = 0; i < c->dims; i++) {
        codes[i] = row[i] ^ flip;
    }
    memset(codes + c->dims, 0, PV_ALIGN_UP(c->dims, 64u) - c->dims);
}

static void i8_query_of(const pv__code *c, const void *vector, void *query) {
    i8_query_make(c, PV__CODE_FORM_DOT, vector, i8_factors_of(c, vector), query);
}

static void i8_query_row(const pv__code *c, const uint8_t *row, void *query) {
    i8_query_make(c, PV__CODE_FORM_AUG, row, i8_get(c, row), query);
}

static float i8_finish(const i8_query *q, const i8_factors *f, int32_t dot) {
    if (q->form == PV__CODE_FORM_DOT) {
        return (float)-dot;
    }
    if (q->form == I8_FORM_COSINE) { /* equal vectors: the root of a square, exact */
        const double norms = sqrt((double)q->f.norm2 * (double)f->norm2);
        const double d = norms > 0 ? 2.0 - 2.0 * (dot / norms) : 2.0;
        return d > 0 ? (float)d : 0.0f;
    }
    const float d = (float)(q->f.norm2 + f->norm2 - 2 * dot);
    const float e = q->f.extra - f->extra;
    return q->form == PV__CODE_FORM_AUG ? d + pv__unfused(e * e) : d;
}

static void i8_distances(const pv__code *c, const void *query, const pv__code_rows *rows,
                         float *out) {
    const i8_query *q = query;
    const uint8_t *const codes = (const uint8_t *)query + sizeof *q;
    int32_t sums[PV__CODE_BLOCK];
    if (q->form == PV__CODE_FORM_L1) {
        c->ints->i8_l1(codes, c->dims, rows, sums, NULL);
        for (size_t r = 0; r < rows->n; r++) {
            out[r] = (float)sums[r] * (float)sums[r];
        }
        return;
    }
    c->kernel->i8(codes, c->dims, rows, sums);
    for (size_t r = 0; r < rows->n; r++) {
        const i8_factors f = i8_get(c, rows->row[r]);
        out[r] = i8_finish(q, &f, sums[r] - c->kernel->i8_bias * f.sum);
    }
}

/* Roundings to f32 alone. */
static float i8_sigma(const pv__code *c, const void *query, const uint8_t *row, float distance) {
    (void)c;
    (void)query;
    (void)row;
    return fabsf(distance) * 0x1p-22f;
}

const pv__code_ops *pv__code_i8(void) {
    static const pv__code_ops ops = {
        .types = 1u << PV_TYPE_I8,
        .metrics = PV__CODE_OF_FLOATS | 1u << PV_METRIC_L1,
        .as_stored = true,
        .sizes = i8_sizes,
        .encode = i8_encode,
        .query = i8_query_of,
        .query_row = i8_query_row,
        .distances = i8_distances,
        .sigma = i8_sigma,
    };
    return &ops;
}
