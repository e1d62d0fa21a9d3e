/* SPDX-License-Identifier: Apache-2.0 */
/* f16.c - rows of binary16 (cosine: of the normalised vector).
 *
 *      row     dims f16 | up to a multiple of 4 | unit f32 | norm2 f32 | extra f32, not for l2
 *      query   header of 64 bytes | dims f32
 *
 * unit is a power of two for which the largest element of the row is just below 2^15: all of the
 * 11 bits of every element count, whatever the scale of the data. norm2 is the squared length of
 * what was encoded, extra that of f32.c. */
#include <float.h>
#include <math.h>

#include "kernel/half.h"
#include "quant/kinds.h"

typedef struct f16_query {
    uint32_t form; /* PV__CODE_FORM_ */
    float extra, norm2;
    uint8_t pad[52];
} f16_query;
PV_STATIC_ASSERT(sizeof(f16_query) == 64, f16_query_is_one_line);

static bool f16_has_extra(const pv__code *c) {
    return c->metric == PV_METRIC_COSINE || c->metric == PV_METRIC_DOT;
}

static void f16_sizes(pv__code *c) {
    const uint32_t elements = c->dims * (uint32_t)sizeof(float);
    c->row_size = PV__CODE_HALF_BYTES(c->dims) + (f16_has_extra(c) ? 12u : 8u);
    c->query_bytes = (uint32_t)sizeof(f16_query) + PV_ALIGN_UP(elements, 64u);
    c->scratch_bytes = PV_ALIGN_UP(elements, 64u);
}

static float *f16_elements(void *query) { return (void *)((uint8_t *)query + sizeof(f16_query)); }

static float f16_load(const uint8_t *p) {
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}

static float f16_extra(const pv__code *c, const uint8_t *row) {
    return f16_load(row + PV__CODE_HALF_BYTES(c->dims) + 8);
}

static float f16_norm2(const pv__code *c, const float *v) {
    const uint8_t *row = (const void *)v;
    float norm2 = 0;
    c->kernel->dot(v, c->dims, &(pv__code_rows){&row, 1, 1, c->dims * 4u}, &norm2);
    return PV_MIN(norm2, FLT_MAX);
}

static void f16_encode(const pv__code *c, const void *vector, void *scratch, uint8_t *row) {
    const uint32_t bytes = PV__CODE_HALF_BYTES(c->dims);
    float *const v = scratch;
    float low, high, extra;
    int exponent = 0;
    extra = pv__code_plain(c, vector, v);
    c->kernel->range(v, c->dims, &low, &high);
    (void)frexpf(PV_MAX(high, -low), &exponent);
    exponent = PV_MAX(PV_MIN(exponent - 15, 126), -126);
    const float unit = ldexpf(1.0f, exponent);
    memset(row + bytes - 4, 0, 4); /* what pads an odd number of elements */
    c->floats->halves(v, c->dims, ldexpf(1.0f, -exponent), row);
    const float norm2 = f16_norm2(c, v);
    memcpy(row + bytes, &unit, sizeof unit);
    memcpy(row + bytes + 4, &norm2, sizeof norm2);
    if (f16_has_extra(c)) {
        memcpy(row + bytes + 8, &extra, sizeof extra);
    }
}

static void f16_decode(const pv__code *c, const uint8_t *row, float *out) {
    const float unit = f16_load(row + PV__CODE_HALF_BYTES(c->dims));
    c->floats->widen(row, c->dims, out);
    for (uint32_t i = 0; i < c->dims; i++) {
        out[i] *= unit; /* a power of two */
    }
}

static uint32_t f16_form(const pv__code *c, uint32_t dot_form) {
    return c->metric == PV_METRIC_DOT  ? dot_form
           : c->metric == PV_METRIC_L1 ? (uint32_t)PV__CODE_FORM_L1
                                       : (uint32_t)PV__CODE_FORM_L2;
}

static void f16_query_of(const pv__code *c, const void *vector, void *query) {
    f16_query *q = query;
    memset(q, 0, sizeof *q);
    q->form = f16_form(c, PV__CODE_FORM_DOT);
    q->extra = pv__code_plain(c, vector, f16_elements(query));
    q->norm2 = f16_norm2(c, f16_elements(query));
}

static float f16_element(const pv__code *c, const uint8_t *row, uint32_t i) {
    uint16_t h;
    memcpy(&h, row + i * sizeof h, sizeof h);
    return pv__half_to_float(h) * f16_load(row + PV__CODE_HALF_BYTES(c->dims));
}

static void f16_query_row(const pv__code *c, const uint8_t *row, void *query) {
    f16_query *q = query;
    float *const v = f16_elements(query);
    memset(q, 0, sizeof *q);
    q->form = f16_form(c, PV__CODE_FORM_AUG);
    q->extra = f16_has_extra(c) ? f16_extra(c, row) : 0.0f;
    for (uint32_t i = 0; i < c->dims; i++) {
        v[i] = f16_element(c, row, i);
    }
}

/* What f32 could not hold, again in double. */
static PV_COLD float f16_slow(const pv__code *c, const f16_query *q, const float *v,
                              const uint8_t *row) {
    double sum = 0;
    for (uint32_t i = 0; i < c->dims; i++) {
        const double a = (double)v[i], b = (double)f16_element(c, row, i);
        const double d = q->form == PV__CODE_FORM_DOT  ? a * b
                         : q->form == PV__CODE_FORM_L1 ? fabs(a - b)
                                                       : (a - b) * (a - b);
        sum += pv__unfused_double(d);
    }
    return pv__code_round(q->form == PV__CODE_FORM_DOT  ? 0.0 - sum
                          : q->form == PV__CODE_FORM_L1 ? sum * sum
                                                        : sum);
}

static float f16_finish(const pv__code *c, const f16_query *q, const uint8_t *row, float sum) {
    if (q->form == PV__CODE_FORM_DOT) {
        return 0.0f - sum; /* not -0 */
    }
    if (q->form == PV__CODE_FORM_L1) {
        return sum * sum;
    }
    if (c->metric == PV_METRIC_COSINE) {
        return sum + (q->extra + f16_extra(c, row));
    }
    if (c->metric == PV_METRIC_DOT) {
        const float d = q->extra - f16_extra(c, row);
        return sum + pv__unfused(d * d);
    }
    return sum;
}

static void f16_distances(const pv__code *c, const void *query, const pv__code_rows *rows,
                          float *out) {
    const f16_query *q = query;
    const float *v = (const void *)((const uint8_t *)query + sizeof *q);
    (q->form == PV__CODE_FORM_DOT  ? c->floats->unit_dot
     : q->form == PV__CODE_FORM_L1 ? c->floats->unit_l1
                                   : c->floats->unit_l2sq)(v, c->dims, rows, out);
    for (size_t r = 0; r < rows->n; r++) {
        const float d = f16_finish(c, q, rows->row[r], out[r]);
        out[r] = d >= -FLT_MAX && d <= FLT_MAX ? d : f16_slow(c, q, v, rows->row[r]);
    }
}

/* An element moves by at most 2^-11 of its power of two, evenly: squared, by a sixth of 2^-22 of
 * its square on average. Errors of elements have nothing to do with each other, but large elements,
 * which move most, are those that differ most: twice as much for normal data. */
static float f16_sigma(const pv__code *c, const void *query, const uint8_t *row, float distance) {
    const f16_query *q = query;
    const double norm2 = (double)f16_load(row + PV__CODE_HALF_BYTES(c->dims) + 4);
    const double moved2 = norm2 / c->dims * 0x1p-22 / 6;
    if (q->form == PV__CODE_FORM_DOT) {
        return pv__code_round(sqrt((double)q->norm2 * moved2) +
                              sqrt((double)q->norm2 * norm2) * 0x1p-22);
    }
    if (q->form == PV__CODE_FORM_L1) { /* of a square: twice the sum's, times the sum */
        return pv__code_round(4 * sqrt((double)distance * moved2 * c->dims) +
                              (double)distance * 0x1p-20);
    }
    return pv__code_round(2 * sqrt((double)distance * moved2 * 2) + (double)distance * 0x1p-21);
}

const pv__code_ops *pv__code_f16(void) {
    static const pv__code_ops ops = {
        .types = PV__CODE_OF_NUMBERS,
        .metrics = PV__CODE_OF_FLOATS | 1u << PV_METRIC_L1,
        .sizes = f16_sizes,
        .encode = f16_encode,
        .decode = f16_decode,
        .query = f16_query_of,
        .query_row = f16_query_row,
        .distances = f16_distances,
        .sigma = f16_sigma,
    };
    return &ops;
}
