/* SPDX-License-Identifier: Apache-2.0 */
/* sq8.c - 8 bits an element, on a grid that spans the range of each vector.
 *
 *      row     dims bytes c in -128..127 | zeros up to a multiple of 4 | factors, 16 bytes
 *      query   header of 64 bytes | dims bytes u = c + 128 | zeros up to a multiple of 64
 *
 *      element i  ~  middle + step * c[i]  =  mean + step * (c[i] - shift)
 *
 * shift is the rounded mean of c, and mean = middle + step * shift. With the integers
 *
 *      sum   = sum (c - shift)             at most dims / 2
 *      sum2  = sum (c - shift)^2
 *      cross = sum (c_a - shift_a) * (c_b - shift_b)
 *
 * all of them exact, and dm = mean_a - mean_b, distances of two decoded vectors are
 *
 *      |a - b|^2 = dims * dm^2 + 2 dm (step_a sum_a - step_b sum_b)
 *                  + step_a^2 sum2_a + step_b^2 sum2_b - 2 step_a step_b cross
 *      a . b     = dims mean_a mean_b + mean_a step_b sum_b + mean_b step_a sum_a
 *                  + step_a step_b cross
 *
 * Nothing large cancels in the first, even where all vectors share a large mean or are sparse, and
 * equal codes are at exactly 0.
 *
 * Cosine: mean and step are divided by the length of the decoded vector. A vector of zeros has
 * middle 0, step 1, sum 0 and sum2 1, as if it had a unit coordinate of its own: 2 to everything.
 *
 * What f32 cannot hold (squares above FLT_MAX) is computed again in double from the same
 * integers. */
#include <float.h>
#include <math.h>

#include "quant/kinds.h"
#include "quant/sq8.h"

static void sq8_sizes(pv__code *c) {
    c->row_size = pv__sq8_bytes(c) + (uint32_t)sizeof(pv__sq8_factors);
    c->query_bytes = (uint32_t)sizeof(pv__sq8_query) + PV_ALIGN_UP(c->dims, 64u);
}

/* As words: mean, step, sum | shift << 16, sum2. */
static void sq8_put(const pv__sq8_factors *f, uint8_t *p) {
    uint32_t word[4];
    memcpy(&word[0], &f->mean, 4);
    memcpy(&word[1], &f->step, 4);
    word[2] = (uint32_t)(uint16_t)f->sum | (uint32_t)(uint16_t)f->shift << 16;
    word[3] = (uint32_t)f->sum2;
    memcpy(p, word, sizeof word);
}

/* Squared length of what was encoded, in double. */
static double sq8_norm2(const pv__code *c, double mean, double step, const pv__sq8_factors *f) {
    const double tilt = pv__unfused_double(step * f->sum);
    const double spread = pv__unfused_double(step * step) * f->sum2;
    const double inner = pv__unfused_double(mean * c->dims) + 2 * tilt;
    return pv__unfused_double(mean * inner) + pv__unfused_double(spread);
}

/* dims bytes of codes, and the factors. */
static void sq8_quantise(const pv__code *c, const float *vector, int8_t *codes,
                         pv__sq8_factors *f) {
    float low, high;
    c->kernel->range(vector, c->dims, &low, &high);
    const float scale = pv__code_scale(low, high);
    const double first = (double)low * (double)scale, last = (double)high * (double)scale;
    const float step_scaled = (float)((last - first) / 255);
    const float middle = (float)(first + 128 * (double)step_scaled);
    int32_t sum = 0, sum2 = 0;
    if (step_scaled > 0) {
        const pv__code_grid grid = {scale, middle, 1.0f / step_scaled};
        c->kernel->quantise(vector, c->dims, &grid, codes, &sum, &sum2);
    } else {
        memset(codes, 0, c->dims);
    }
    const int32_t dims = (int32_t)c->dims;
    const int32_t half = sum < 0 ? -(dims / 2) : dims / 2;
    const int32_t shift = (sum + half) / dims;
    f->shift = (int16_t)shift;
    f->sum = (int16_t)(sum - shift * dims);
    f->sum2 = sum2 - 2 * shift * sum + shift * shift * dims;
    double mean = (double)middle + pv__unfused_double((double)step_scaled * shift);
    double step = (double)step_scaled;
    if (c->metric == PV_METRIC_COSINE) {
        const double norm2 = sq8_norm2(c, mean, step, f);
        if (norm2 > 0) {
            mean /= sqrt(norm2);
            step /= sqrt(norm2);
        } else {
            *f = (pv__sq8_factors){.step = 1, .sum2 = 1};
            mean = 0;
            step = 1;
        }
    } else {
        mean /= (double)scale;
        step /= (double)scale;
    }
    f->mean = pv__code_round(mean);
    f->step = (float)step;
}

static void sq8_encode(const pv__code *c, const void *vector, void *scratch, uint8_t *row) {
    (void)scratch;
    const uint32_t bytes = pv__sq8_bytes(c);
    pv__sq8_factors f;
    sq8_quantise(c, vector, (void *)row, &f);
    memset(row + c->dims, 0, bytes - c->dims);
    sq8_put(&f, row + bytes);
}

static void sq8_decode(const pv__code *c, const uint8_t *row, float *out) {
    const int8_t *codes = (const void *)row;
    pv__sq8_factors f;
    pv__sq8_get(row + pv__sq8_bytes(c), &f);
    for (uint32_t i = 0; i < c->dims; i++) {
        out[i] = f.mean + pv__unfused(f.step * (float)(codes[i] - f.shift));
    }
}

/* Codes c are in their place; make them u, and fill the header. */
static void sq8_query_finish(const pv__code *c, uint32_t form, const pv__sq8_factors *f,
                             void *query) {
    pv__sq8_query *q = query;
    uint8_t *codes = pv__sq8_codes(query);
    memset(codes + c->dims, 0, PV_ALIGN_UP(c->dims, 64u) - c->dims);
    for (uint32_t i = 0; i < c->dims; i += 8) { /* the last word is within the padding */
        uint64_t word;
        memcpy(&word, codes + i, sizeof word);
        word ^= 0x8080808080808080u;
        memcpy(codes + i, &word, sizeof word);
    }
    memset(codes + c->dims, 0, PV_ALIGN_UP(c->dims, 64u) - c->dims);
    memset(q, 0, sizeof *q);
    q->form = form;
    q->f = *f;
    q->tilt = f->step * (float)f->sum;
    q->spread = pv__unfused(f->step * f->step) * (float)f->sum2;
    q->total = pv__unfused((float)c->dims * f->mean) + q->tilt;
    q->extra = pv__code_extra(c, sq8_norm2(c, (double)f->mean, (double)f->step, f));
    q->offset = f->shift + c->kernel->i8_bias;
}

static void sq8_query_of(const pv__code *c, const void *vector, void *query) {
    pv__sq8_factors f;
    sq8_quantise(c, vector, (void *)pv__sq8_codes(query), &f);
    sq8_query_finish(c, c->metric == PV_METRIC_DOT ? PV__CODE_FORM_DOT : PV__CODE_FORM_L2, &f,
                     query);
}

static void sq8_query_row(const pv__code *c, const uint8_t *row, void *query) {
    pv__sq8_factors f;
    pv__sq8_get(row + pv__sq8_bytes(c), &f);
    memcpy(pv__sq8_codes(query), row, c->dims);
    sq8_query_finish(c, c->metric == PV_METRIC_DOT ? PV__CODE_FORM_AUG : PV__CODE_FORM_L2, &f,
                     query);
}

/* The expressions below in double. */
static float sq8_slow(const pv__code *c, const pv__sq8_query *q, int32_t sum, const uint8_t *row) {
    pv__sq8_factors f;
    pv__sq8_get(row + pv__sq8_bytes(c), &f);
    const int32_t cross = pv__sq8_cross(c, q, sum, &f);
    const double step = (double)f.step, q_step = (double)q->f.step, dims = (double)c->dims;
    const double tilt = step * f.sum, q_tilt = q_step * q->f.sum;
    const double mean = (double)f.mean, q_mean = (double)q->f.mean;
    const double product = pv__unfused_double(pv__unfused_double(step * q_step) * cross);
    if (q->form == PV__CODE_FORM_DOT) {
        const double a = pv__unfused_double(mean * (pv__unfused_double(dims * q_mean) + q_tilt));
        return pv__code_round(0.0 - (a + pv__unfused_double(q_mean * tilt) + product));
    }
    const double dm = q_mean - mean;
    const double inner = pv__unfused_double(dims * dm) + 2 * (q_tilt - tilt);
    double d = pv__unfused_double(dm * inner) +
               pv__unfused_double(pv__unfused_double(step * step) * f.sum2);
    d += pv__unfused_double(pv__unfused_double(q_step * q_step) * q->f.sum2) - 2 * product;
    if (q->form == PV__CODE_FORM_AUG) {
        const float e = q->extra - pv__code_extra(c, sq8_norm2(c, mean, step, &f));
        d += pv__unfused_double((double)e * (double)e);
    }
    return d > 0 ? pv__code_round(d) : d <= 0 ? 0.0f : FLT_MAX;
}

/* io: distances; those that are not finite are computed again. */
static PV_COLD void sq8_redo(const pv__code *c, const pv__sq8_query *q, const uint8_t *const *rows,
                             size_t n, const int32_t *sums, float *io) {
    for (size_t i = 0; i < n; i++) {
        if (!(io[i] >= -FLT_MAX && io[i] <= FLT_MAX)) {
            io[i] = sq8_slow(c, q, sums[i], rows[i]);
        }
    }
}

/* Four rows: p are their factors, sums those of the kernel. False: not all are finite. */
PV__KERNEL_INLINE bool sq8_finish(const pv__code *c, const pv__sq8_query *q, unsigned form,
                                  const uint8_t *const p[4], const int32_t *sums, float *out) {
    pv__four word[4];
    pv__four_turn(p, word);
    const pv__four mean = word[0], step = word[1];
    const pv__four_int halves = pv__four_bits(word[2]); /* sum, shift: see sq8_cross */
    const pv__four tilt = pv__four_mul(step, pv__four_from(pv__four_low_half(halves)));
    const pv__four cross = pv__sq8_cross4(c, q, halves, sums);
    const pv__four dims = pv__four_set((float)c->dims);
    pv__four d;
    if (form == PV__CODE_FORM_DOT) {
        d = pv__four_mul(mean, pv__four_set(q->total));
        d = pv__four_add(d, pv__four_mul(pv__four_set(q->f.mean), tilt));
        d = pv__four_add(d, pv__four_mul(pv__four_mul(pv__four_set(q->f.step), step), cross));
        d = pv__four_sub(pv__four_set(0.0f), d);
    } else {
        const pv__four dm = pv__four_sub(pv__four_set(q->f.mean), mean);
        const pv__four turn = pv__four_sub(pv__four_set(q->tilt), tilt);
        const pv__four spread =
            pv__four_mul(pv__four_mul(step, step), pv__four_from(pv__four_bits(word[3])));
        d = pv__four_add(pv__four_mul(dims, dm), pv__four_add(turn, turn));
        d = pv__four_add(pv__four_mul(dm, d), pv__four_add(spread, pv__four_set(q->spread)));
        d = pv__four_sub(d, pv__four_mul(pv__four_mul(pv__four_set(2 * q->f.step), step), cross));
        d = pv__four_positive(d);
        if (form == PV__CODE_FORM_AUG) {
            pv__four norm2 = pv__four_add(pv__four_mul(dims, mean), pv__four_add(tilt, tilt));
            norm2 = pv__four_add(pv__four_mul(mean, norm2), spread);
            pv__four e = pv__four_sub(pv__four_set(c->norm2_max), norm2);
            e = pv__four_sub(pv__four_set(q->extra), pv__four_root(pv__four_positive(e)));
            d = pv__four_add(d, pv__four_mul(e, e));
        }
    }
    pv__four_store(out, d);
    return pv__four_finite(d);
}

PV__KERNEL_INLINE void sq8_finish_rows(const pv__code *c, const pv__sq8_query *q, unsigned form,
                                       const pv__code_rows *rows, int32_t *sums, float *out) {
    const uint32_t at = pv__sq8_bytes(c);
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        const uint8_t *const *row_at = rows->row + r;
        const uint8_t *const p[4] = {row_at[0] + at, row_at[1] + at, row_at[2] + at,
                                     row_at[3] + at};
        if (PV_UNLIKELY(!sq8_finish(c, q, form, p, sums + r, out + r))) {
            sq8_redo(c, q, row_at, 4, sums + r, out + r);
        }
    }
    if (r < rows->n) { /* what sticks out repeats the last row */
        const uint8_t *p[4];
        float d[4];
        for (size_t i = 0; i < 4; i++) {
            const size_t k = PV_MIN(r + i, rows->n - 1);
            p[i] = rows->row[k] + at;
            sums[r + i] = sums[k];
        }
        if (PV_UNLIKELY(!sq8_finish(c, q, form, p, sums + r, d))) {
            sq8_redo(c, q, rows->row + r, rows->n - r, sums + r, d);
        }
        memcpy(out + r, d, (rows->n - r) * sizeof *d);
    }
}

static void sq8_finish_all(const pv__code *c, const void *query, const pv__code_rows *rows,
                           int32_t *sums, float *out) {
    const pv__sq8_query *q = query;
    if (q->form == PV__CODE_FORM_L2) {
        sq8_finish_rows(c, q, PV__CODE_FORM_L2, rows, sums, out);
    } else if (q->form == PV__CODE_FORM_DOT) {
        sq8_finish_rows(c, q, PV__CODE_FORM_DOT, rows, sums, out);
    } else {
        sq8_finish_rows(c, q, PV__CODE_FORM_AUG, rows, sums, out);
    }
}

static void sq8_panel_rows(const pv__code *c, const uint8_t *const *rows, size_t n,
                           pv__code_panel_rows *out) {
    for (size_t r = 0; r < n; r++) {
        pv__sq8_factors f;
        pv__sq8_get(rows[r] + pv__sq8_bytes(c), &f);
        out->mean[r] = f.mean;
        out->step[r] = f.step;
        out->tilt[r] = f.step * (float)f.sum;
        out->spread[r] = pv__unfused(f.step * f.step) * (float)f.sum2;
        out->sum[r] = f.sum + (int32_t)c->dims * f.shift;
        out->shift[r] = f.shift;
    }
}

static bool sq8_panel_query(const pv__code *c, const void *query, pv__code_panel_query *out) {
    const pv__sq8_query *q = query;
    *out = (pv__code_panel_query){.dims = (float)c->dims,
                                  .mean = q->f.mean,
                                  .step2 = 2 * q->f.step,
                                  .tilt = q->tilt,
                                  .spread = q->spread,
                                  .offset = q->offset,
                                  .sum = q->f.sum};
    return q->form == PV__CODE_FORM_L2;
}

static void sq8_distances(const pv__code *c, const void *query, const pv__code_rows *rows,
                          float *out) {
    int32_t sums[PV__CODE_BLOCK + 4];
    c->kernel->i8((const uint8_t *)query + sizeof(pv__sq8_query), c->dims, rows, sums);
    sq8_finish_all(c, query, rows, sums, out);
}

/* Rounding to the grid moves an element by an error of variance step^2 / 12 that has nothing to do
 * with the others. With v = (step_a^2 + step_b^2) / 12, d = |a - b|^2 then has the variance 4 d v
 * and is dims * v too large on average; for cosine what moves a along itself is undone by its
 * length, which leaves 4 d v (1 - d / 4). a . b has |a|^2 step_b^2 / 12 + the like. */
static float sq8_sigma(const pv__code *c, const void *query, const uint8_t *row, float distance) {
    const pv__sq8_query *q = query;
    pv__sq8_factors f;
    pv__sq8_get(row + pv__sq8_bytes(c), &f);
    const double a = (double)q->f.step * (double)q->f.step / 12;
    const double b = (double)f.step * (double)f.step / 12;
    const double q_norm2 = sq8_norm2(c, (double)q->f.mean, (double)q->f.step, &q->f);
    const double norm2 = sq8_norm2(c, (double)f.mean, (double)f.step, &f);
    double variance, rounding;
    if (q->form == PV__CODE_FORM_DOT) {
        variance = q_norm2 * b + norm2 * a + (double)c->dims * a * b;
        rounding = sqrt(q_norm2 * norm2) * 0x1p-20;
    } else {
        const double bias = (double)c->dims * (a + b);
        const double d = (double)distance;
        const double turn = c->metric == PV_METRIC_COSINE ? PV_MAX(1 - d / 4, 0.0) : 1.0;
        variance = 4 * d * turn * (a + b) + 2 * bias * bias;
        rounding = (q_norm2 + norm2) * 0x1p-22;
    }
    return pv__code_round(sqrt(variance) + rounding);
}

const pv__code_ops *pv__code_sq8(void) {
    static const pv__code_ops ops = {
        .types = PV__CODE_OF_NUMBERS,
        .metrics = PV__CODE_OF_FLOATS,
        .sizes = sq8_sizes,
        .encode = sq8_encode,
        .decode = sq8_decode,
        .query = sq8_query_of,
        .query_row = sq8_query_row,
        .distances = sq8_distances,
        .panel_bytes = pv__sq8_bytes,
        .panel_rows = sq8_panel_rows,
        .panel_query = sq8_panel_query,
        .finish = sq8_finish_all,
        .sigma = sq8_sigma,
    };
    return &ops;
}
