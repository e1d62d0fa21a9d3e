/* SPDX-License-Identifier: Apache-2.0 */
/* f32.c - rows of plain elements (cosine: normalised).
 *
 *      row     dims f32 | extra f32, not for l2
 *      query   header of 64 bytes | dims f32
 *
 * extra: for dot the appended coordinate (code.h); for cosine 0, but 1 for a vector of zeros: with
 * both extras added to |a - b|^2 it is at |b|^2 + 1 = 2 to others and at 1 + 1 to its like. */
#include <float.h>
#include <math.h>

#include "quant/kinds.h"

typedef struct f32_query {
    uint32_t form; /* PV__CODE_FORM_ */
    float extra;
    uint8_t pad[56];
} f32_query;
PV_STATIC_ASSERT(sizeof(f32_query) == 64, f32_query_is_one_line);

static bool f32_has_extra(const pv__code *c) {
    return c->metric == PV_METRIC_COSINE || c->metric == PV_METRIC_DOT;
}

static void f32_sizes(pv__code *c) {
    const uint32_t elements = c->dims * (uint32_t)sizeof(float);
    c->row_size = elements + (f32_has_extra(c) ? (uint32_t)sizeof(float) : 0);
    c->query_bytes = (uint32_t)sizeof(f32_query) + PV_ALIGN_UP(elements, 64u);
    c->scratch_bytes = PV_ALIGN_UP(elements, 64u);
}

static float *f32_elements(void *query) { return (void *)((uint8_t *)query + sizeof(f32_query)); }

static float f32_load(const uint8_t *p) {
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}

static float f32_norm2(const pv__code *c, const float *v) {
    const uint8_t *row = (const void *)v;
    float norm2 = 0;
    c->kernel->dot(v, c->dims, &(pv__code_rows){&row, 1, 1, c->row_size}, &norm2);
    return norm2;
}

float pv__code_plain(const pv__code *c, const float *vector, float *out) {
    if (c->metric != PV_METRIC_COSINE) {
        memcpy(out, vector, c->dims * sizeof *out);
        return c->metric == PV_METRIC_DOT ? pv__code_extra(c, (double)f32_norm2(c, out)) : 0.0f;
    }
    float low, high;
    c->kernel->range(vector, c->dims, &low, &high);
    const float scale = pv__code_scale(low, high);
    if (scale != 1.0f) {
        c->kernel->times(vector, c->dims, scale, out);
        vector = out;
    }
    const float norm2 = f32_norm2(c, vector);
    const float inv = norm2 == 0.0f ? 1.0f : (float)(1.0 / sqrt((double)norm2));
    c->kernel->times(vector, c->dims, inv, out);
    return norm2 == 0.0f ? 1.0f : 0.0f;
}

static void f32_encode(const pv__code *c, const void *vector, void *scratch, uint8_t *row) {
    const size_t elements = c->dims * sizeof(float);
    const float extra = pv__code_plain(c, vector, scratch);
    memcpy(row, scratch, elements);
    if (f32_has_extra(c)) {
        memcpy(row + elements, &extra, sizeof extra);
    }
}

static uint32_t f32_form(const pv__code *c, uint32_t dot_form) {
    return c->metric == PV_METRIC_DOT  ? dot_form
           : c->metric == PV_METRIC_L1 ? (uint32_t)PV__CODE_FORM_L1
                                       : (uint32_t)PV__CODE_FORM_L2;
}

static void f32_query_of(const pv__code *c, const void *vector, void *query) {
    f32_query *q = query;
    memset(q, 0, sizeof *q);
    q->form = f32_form(c, PV__CODE_FORM_DOT);
    q->extra = pv__code_plain(c, vector, f32_elements(query));
}

static void f32_query_row(const pv__code *c, const uint8_t *row, void *query) {
    const size_t elements = c->dims * sizeof(float);
    f32_query *q = query;
    memset(q, 0, sizeof *q);
    q->form = f32_form(c, PV__CODE_FORM_AUG);
    q->extra = f32_has_extra(c) ? f32_load(row + elements) : 0.0f;
    memcpy(f32_elements(query), row, elements);
}

/* What f32 could not hold, again in double. */
static PV_COLD float f32_slow(const pv__code *c, const f32_query *q, const float *v,
                              const uint8_t *row) {
    double sum = 0;
    for (uint32_t i = 0; i < c->dims; i++) {
        const double a = (double)v[i], b = (double)f32_load(row + i * sizeof(float));
        const double d = q->form == PV__CODE_FORM_DOT  ? a * b
                         : q->form == PV__CODE_FORM_L1 ? fabs(a - b)
                                                       : (a - b) * (a - b);
        sum += pv__unfused_double(d);
    }
    return pv__code_round(q->form == PV__CODE_FORM_DOT  ? 0.0 - sum
                          : q->form == PV__CODE_FORM_L1 ? sum * sum
                                                        : sum);
}

static float f32_finish(const pv__code *c, const f32_query *q, const uint8_t *row, float sum) {
    if (q->form == PV__CODE_FORM_DOT) {
        return 0.0f - sum; /* not -0 */
    }
    if (q->form == PV__CODE_FORM_L1) {
        return sum * sum;
    }
    if (c->metric == PV_METRIC_COSINE) {
        return sum + (q->extra + f32_load(row + c->dims * sizeof(float)));
    }
    if (c->metric == PV_METRIC_DOT) {
        const float d = q->extra - f32_load(row + c->dims * sizeof(float));
        return sum + pv__unfused(d * d);
    }
    return sum;
}

static void f32_distances(const pv__code *c, const void *query, const pv__code_rows *rows,
                          float *out) {
    const f32_query *q = query;
    const float *v = (const void *)((const uint8_t *)query + sizeof *q);
    (q->form == PV__CODE_FORM_DOT  ? c->kernel->dot
     : q->form == PV__CODE_FORM_L1 ? c->floats->l1
                                   : c->kernel->l2sq)(v, c->dims, rows, out);
    for (size_t r = 0; r < rows->n; r++) {
        const float d = f32_finish(c, q, rows->row[r], out[r]);
        out[r] = d >= -FLT_MAX && d <= FLT_MAX ? d : f32_slow(c, q, v, rows->row[r]);
    }
}

/* Nothing but rounding: dims / 16 + 8 of them in the sum, and those of the normalisation. */
static float f32_sigma(const pv__code *c, const void *query, const uint8_t *row, float distance) {
    const f32_query *q = query;
    const float *v = (const void *)((const uint8_t *)query + sizeof *q);
    double terms = fabs((double)distance);
    if (q->form == PV__CODE_FORM_DOT) {
        terms = 0;
        for (uint32_t i = 0; i < c->dims; i++) {
            terms += fabs((double)v[i] * (double)f32_load(row + i * sizeof(float)));
        }
    }
    return pv__code_round(terms * ((double)c->dims / 16 + 16) * 0x1p-24);
}

const pv__code_ops *pv__code_f32(void) {
    static const pv__code_ops ops = {
        .types = PV__CODE_OF_NUMBERS,
        .metrics = PV__CODE_OF_FLOATS | 1u << PV_METRIC_L1,
        .sizes = f32_sizes,
        .encode = f32_encode,
        .query = f32_query_of,
        .query_row = f32_query_row,
        .distances = f32_distances,
        .sigma = f32_sigma,
    };
    return &ops;
}
