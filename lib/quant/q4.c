/* SPDX-License-Identifier: Apache-2.0 */
/* q4.c - 4 bits an element of the rotated vector (Q4), or 1 (B1).
 *
 *      row     n / 2 bytes of nibbles (order: code_kernel.h), B1: n / 8 of bits | factors, 16 bytes
 *      query   header of 64 bytes | n bytes u = c + 64, c in -63..63 | n f32, work space
 *
 * n is dims up to a multiple of 64. Elements of a rotated vector y are nearly normal with variance
 * |y|^2 / n, so that one set of 16 levels, the best one for that distribution, suits every vector.
 * With L the levels of a row:
 *
 *      row      y  ~  unit * L     unit = |y|^2 / (y . L): what is lost, e = unit * L - y, is
 *                                  orthogonal to y, and dots with it have no bias (RaBitQ)
 *      query    q  ~  unit * c     7 bits: a fortieth of the row's error
 *
 * From a vector:  |q - y|^2  ~  |q|^2 + |y|^2 - 2 unit_q unit (c . L). As e has a random direction
 * after a random rotation, the error of q . y has deviation |e| |q'| / sqrt(n - 1), where q' is the
 * part of q that is orthogonal to y.
 *
 * From a row: the exact distance of the two decoded vectors. On average that is |e_a|^2 + |e_b|^2
 * (Q4: about 1 in 50 of the squared norms) too large, but never negative, 0 for equal codes, and a
 * metric, which pruning relies on.
 *
 * Cosine: norms are 1. A vector of zeros has unit 0 and norm 1, and so is at 2 to all queries.
 *
 * Centred: y is the rotated difference to a mean, the book (dims f32; cosine: of the normalised
 * vectors), so that what is lost is a share of that difference. |q - y|^2 is the same for both.
 * For dot the query stays as it is, q . x = q . mean + q . y, and rows have a fifth factor, the
 * appended coordinate. Cosine: the normalised vectors under l2; a vector of zeros, which is not on
 * the sphere, has the norm NaN, for which distances are set to 2.
 *
 * Everything is integers or in one fixed order but nothing else: see code.h. */
#include <float.h>
#include <math.h>

#include "quant/four.h"
#include "quant/kinds.h"

typedef struct q4_factors {
    float unit, norm2;
    int32_t sum, sum2; /* of levels and their squares */
} q4_factors;
PV_STATIC_ASSERT(sizeof(q4_factors) == 16, q4_factors_are_four_words);

#define Q4_EXTRA_AT sizeof(q4_factors) /* of the fifth factor */

typedef struct q4_query {
    uint32_t form; /* PV__CODE_FORM_ */
    float unit;
    float norm2; /* |q|^2, from a row that of the decoded vector */
    float extra; /* FORM_AUG */
    float along; /* FORM_DOT: q . mean; from a row x: (|x|^2 - |y|^2) / 2, see q4_along */
    bool row;
    uint8_t pad[43];
} q4_query;
PV_STATIC_ASSERT(sizeof(q4_query) == 64, q4_query_is_one_line);

static uint32_t q4_padded(const pv__code *c) { return PV_ALIGN_UP(c->dims, 64u); }

/* Of one row without its factors. */
static uint32_t q4_code_bytes(const pv__code *c) {
    return c->kind == PV__CODE_B1 ? q4_padded(c) / 8 : q4_padded(c) / 2;
}

static void q4_sizes(pv__code *c) {
    const uint32_t n = q4_padded(c);
    c->row_size = q4_code_bytes(c) + (uint32_t)sizeof(q4_factors);
    c->row_size += c->centred && c->metric == PV_METRIC_DOT ? 4u : 0;
    c->book_bytes = c->centred ? PV_ALIGN_UP(c->dims * (uint32_t)sizeof(float), 64u) : 0;
    c->query_bytes = (uint32_t)sizeof(q4_query) + n + n * (uint32_t)sizeof(float);
    c->scratch_bytes = n * (2 * (uint32_t)sizeof(float) + 1);
}

/* What is to be rotated of a vector: the difference to the mean. False: a vector of zeros under
 * cosine. */
static bool q4_centre(const pv__code *c, const float *vector, float *y) {
    const bool good = pv__code_plain(c, vector, y) != 1.0f || c->metric != PV_METRIC_COSINE;
    c->kernel->less(y, c->dims, c->book);
    return good;
}

/* y, dims elements: rotated, scaled to be near 1; its squared norm and the scale. */
static float q4_rotate(const pv__code *c, float *y, float *out_scale) {
    const uint32_t n = q4_padded(c);
    float low, high;
    c->kernel->range(y, c->dims, &low, &high);
    *out_scale = pv__code_scale(low, high);
    memset(y + c->dims, 0, (n - c->dims) * sizeof *y);
    if (*out_scale != 1.0f) {
        c->kernel->times(y, c->dims, *out_scale, y);
    }
    pv__code_rotate(c->kernel, y, n, c->seed);
    const uint8_t *row = (const void *)y;
    float norm2 = 0;
    c->kernel->dot(y, n, &(pv__code_rows){&row, 1, 1, n}, &norm2);
    return norm2;
}

/* The unit and the squared length of a vector, from those of the scaled one. */
static void q4_unscale(const pv__code *c, float norm2, float scale, double *io_unit,
                       double *out_length2) {
    if (c->metric == PV_METRIC_COSINE && !c->centred) {
        *io_unit /= norm2 > 0 ? sqrt((double)norm2) : 1.0;
        *out_length2 = 1;
    } else {
        *io_unit /= (double)scale;
        *out_length2 = (double)norm2 / (double)scale / (double)scale;
    }
}

/* |x|^2 of a vector, for the appended coordinate. */
static double q4_norm2(const float *v, uint32_t dims) {
    double sum = 0;
    for (uint32_t i = 0; i < dims; i++) {
        sum += pv__unfused_double((double)v[i] * (double)v[i]);
    }
    return sum;
}

/* Of n indices of levels to n / 2 bytes. */
static void q4_pack(const uint8_t *index, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n;) {
        const size_t half = n - i >= 128 ? 64 : 32;
        for (size_t k = 0; k < half; k++) {
            out[i / 2 + k] = (uint8_t)(index[i + k] | index[i + half + k] << 4);
        }
        i += 2 * half;
    }
}

/* B1: a bit for each element, set where it is not negative; levels are 1 and -1. */
static void q4_pack_signs(const float *y, size_t n, uint8_t *out, float *level, q4_factors *f) {
    memset(out, 0, n / 8);
    for (size_t i = 0; i < n; i++) {
        const bool set = y[i] >= 0.0f;
        out[i / 8] = (uint8_t)(out[i / 8] | (unsigned)set << i % 8);
        level[i] = set ? 1.0f : -1.0f;
        f->sum += set ? 1 : -1;
    }
    f->sum2 = (int32_t)n;
}

static void q4_encode(const pv__code *c, const void *vector, void *scratch, uint8_t *row) {
    static const int8_t levels[16] = {PV__CODE_LEVELS};
    const uint32_t n = q4_padded(c);
    float *const y = scratch, *const level = y + n;
    uint8_t *const index = (uint8_t *)(level + n);
    float scale, dot = 0;
    bool good = true;
    if (c->centred) {
        good = q4_centre(c, vector, y);
    } else {
        memcpy(y, vector, c->dims * sizeof *y);
    }
    const float norm2 = q4_rotate(c, y, &scale);
    const double deviation = sqrt((double)norm2 / n);
    const float fit = deviation > 0 ? (float)((double)PV__CODE_LEVEL_UNIT / deviation) : 0.0f;
    q4_factors f = {0, 0, 0, 0};
    if (c->kind == PV__CODE_B1) {
        q4_pack_signs(y, n, row, level, &f);
    } else {
        c->kernel->levels(y, n, fit, index, level);
        q4_pack(index, n, row);
        for (uint32_t i = 0; i < n; i++) {
            const int32_t l = levels[index[i]];
            f.sum += l;
            f.sum2 += l * l;
        }
    }
    const uint8_t *const at = (const void *)level;
    c->kernel->dot(y, n, &(pv__code_rows){&at, 1, 1, n}, &dot);
    double unit = norm2 > 0 ? (double)norm2 / (double)dot : 0.0, length2;
    q4_unscale(c, norm2, scale, &unit, &length2);
    f.unit = good ? pv__code_round(unit) : 0.0f;
    f.norm2 = good ? pv__code_round(length2) : nanf("");
    memcpy(row + q4_code_bytes(c), &f, sizeof f);
    if (c->centred && c->metric == PV_METRIC_DOT) {
        const float extra = pv__code_extra(c, q4_norm2(vector, c->dims));
        memcpy(row + q4_code_bytes(c) + Q4_EXTRA_AT, &extra, sizeof extra);
    }
}

static uint8_t *q4_codes(void *query) { return (uint8_t *)query + sizeof(q4_query); }

static void q4_query_of(const pv__code *c, const void *vector, void *query) {
    const uint32_t n = q4_padded(c);
    uint8_t *const codes = q4_codes(query);
    float *const y = (void *)(codes + n);
    q4_query *q = query;
    memset(q, 0, sizeof *q);
    float scale, low, high;
    int32_t sum, sum2;
    bool good = true;
    if (c->centred && c->metric != PV_METRIC_DOT) {
        good = q4_centre(c, vector, y);
    } else {
        memcpy(y, vector, c->dims * sizeof *y);
    }
    if (c->centred && c->metric == PV_METRIC_DOT) {
        const uint8_t *mean = c->book;
        c->kernel->dot(y, c->dims, &(pv__code_rows){&mean, 1, 1, c->book_bytes}, &q->along);
    }
    const float norm2 = q4_rotate(c, y, &scale);
    c->kernel->range(y, n, &low, &high);
    const float most = PV_MAX(high, -low);
    const pv__code_grid grid = {1.0f, 0.0f, most > 0 ? PV__CODE_LEVEL_MAX / most : 0.0f};
    c->kernel->quantise(y, n, &grid, (void *)codes, &sum, &sum2);
    for (uint32_t i = 0; i < n; i += 64) { /* c + 64, byte by byte: none of them borrows */
        uint64_t word[8];
        memcpy(word, codes + i, sizeof word);
        for (unsigned k = 0; k < 8; k++) { /* compilers make it wide */
            word[k] = (word[k] ^ 0x8080808080808080u) - 0x4040404040404040u;
        }
        memcpy(codes + i, word, sizeof word);
    }
    double unit = (double)most / PV__CODE_LEVEL_MAX, length2;
    q4_unscale(c, norm2, scale, &unit, &length2);
    q->form = c->metric == PV_METRIC_DOT ? PV__CODE_FORM_DOT : PV__CODE_FORM_L2;
    q->unit = good ? pv__code_round(unit) : 0.0f;
    q->norm2 = good ? pv__code_round(length2) : nanf("");
}

/* The appended coordinate of a row. */
static float q4_extra(const pv__code *c, const uint8_t *row) {
    float v;
    memcpy(&v, row + q4_code_bytes(c) + (c->centred ? Q4_EXTRA_AT : 4), sizeof v);
    return c->centred ? v : pv__code_extra(c, (double)v);
}

/* What x . z of two centred rows is more than the product of their differences to the mean: half of
 * |x|^2 - |y|^2 for each of the two. */
static float q4_along(const pv__code *c, const uint8_t *row) {
    const float e = q4_extra(c, row);
    float norm2;
    memcpy(&norm2, row + q4_code_bytes(c) + 4, sizeof norm2);
    return (pv__unfused(c->norm2_max - pv__unfused(e * e)) - norm2) * 0.5f;
}

/* Does it take more than one number of the query? */
static bool q4_is_link(const pv__code *c, const q4_query *q) {
    return c->centred && q->row && q->form == PV__CODE_FORM_DOT;
}

static void q4_query_row(const pv__code *c, const uint8_t *row, void *query) {
    const uint32_t n = q4_padded(c);
    uint8_t *const codes = q4_codes(query);
    q4_query *q = query;
    q4_factors f;
    memcpy(&f, row + q4_code_bytes(c), sizeof f);
    for (uint32_t i = 0; c->kind == PV__CODE_B1 && i < n; i++) {
        codes[i] = row[i / 8] >> i % 8 & 1 ? 65 : 63;
    }
    if (c->kind != PV__CODE_B1) {
        c->kernel->unfold(row, n, codes);
    }
    memset(q, 0, sizeof *q);
    q->form = c->metric == PV_METRIC_DOT ? PV__CODE_FORM_AUG : PV__CODE_FORM_L2;
    q->row = true;
    q->unit = f.unit;
    const float decoded2 = pv__unfused(f.unit * f.unit) * (float)f.sum2;
    q->norm2 = pv__unfused(decoded2) > f.norm2 ? decoded2 : f.norm2;
    q->extra = c->metric == PV_METRIC_DOT ? q4_extra(c, row) : 0.0f;
    q->along = c->metric == PV_METRIC_DOT && c->centred ? q4_along(c, row) : 0.0f;
}

/* The expressions of q4_finish in double. */
static float q4_slow(const pv__code *c, const q4_query *q, int32_t sum, const uint8_t *row) {
    q4_factors f;
    memcpy(&f, row + q4_code_bytes(c), sizeof f);
    const int32_t cross = sum - 64 * f.sum;
    const double unit = (double)f.unit, q_unit = (double)q->unit;
    const double product = pv__unfused_double(pv__unfused_double(unit * q_unit) * cross);
    if (q->form == PV__CODE_FORM_DOT) {
        const double more = q4_is_link(c, q) ? (double)q4_along(c, row) : 0.0;
        return pv__code_round(0.0 - (product + ((double)q->along + more)));
    }
    if (c->metric == PV_METRIC_COSINE && (isnan(f.norm2) || isnan(q->norm2))) {
        return 2.0f;
    }
    double norm2 = (double)f.norm2, q_norm2 = (double)q->norm2;
    if (q->row) {
        const double decoded2 = pv__unfused_double(unit * unit) * f.sum2;
        norm2 = PV_MAX(norm2, decoded2);
    }
    double d = PV_MAX((q_norm2 + norm2) - 2 * product, 0.0);
    if (q->form == PV__CODE_FORM_AUG) {
        const float e = q->extra - q4_extra(c, row);
        d += pv__unfused_double((double)e * (double)e);
    }
    return pv__code_round(d);
}

/* io: distances; those that are not finite are computed again. */
static PV_COLD void q4_redo(const pv__code *c, const q4_query *q, const uint8_t *const *rows,
                            size_t n, const int32_t *sums, float *io) {
    for (size_t i = 0; i < n; i++) {
        if (!(io[i] >= -FLT_MAX && io[i] <= FLT_MAX)) {
            io[i] = q4_slow(c, q, sums[i], rows[i]);
        }
    }
}

/* The fifth factors of four rows. */
PV__KERNEL_INLINE pv__four q4_extras(const uint8_t *const p[4]) {
    float extra[4];
    for (unsigned i = 0; i < 4; i++) {
        memcpy(&extra[i], p[i] + Q4_EXTRA_AT, sizeof extra[i]);
    }
    return pv__four_load(extra);
}

/* Four rows: p are their factors, sums those of the kernel. False: not all are finite. */
PV__KERNEL_INLINE bool q4_finish(const pv__code *c, const q4_query *q, unsigned form, bool row,
                                 const uint8_t *const p[4], const int32_t *sums, float *out) {
    pv__four word[4];
    pv__four_turn(p, word);
    const pv__four unit = word[0], norm2 = word[1];
    const pv__four cross =
        pv__four_from(pv__four_less(sums, pv__four_times64(pv__four_bits(word[2]))));
    pv__four d;
    if (form == PV__CODE_FORM_DOT) {
        pv__four along = pv__four_set(q->along);
        if (row) {
            pv__four e = q4_extras(p);
            e = pv__four_sub(pv__four_set(c->norm2_max), pv__four_mul(e, e));
            e = pv__four_mul(pv__four_sub(e, norm2), pv__four_set(0.5f));
            along = pv__four_add(along, e);
        }
        d = pv__four_mul(pv__four_mul(pv__four_set(q->unit), unit), cross);
        d = pv__four_sub(pv__four_set(0.0f), pv__four_add(d, along));
    } else {
        pv__four length2 = norm2;
        if (row) {
            const pv__four decoded2 =
                pv__four_mul(pv__four_mul(unit, unit), pv__four_from(pv__four_bits(word[3])));
            length2 = pv__four_max(norm2, decoded2);
        }
        d = pv__four_mul(pv__four_mul(pv__four_set(2 * q->unit), unit), cross);
        d = pv__four_sub(pv__four_add(pv__four_set(q->norm2), length2), d);
        d = pv__four_positive(d);
        if (form == PV__CODE_FORM_AUG) {
            pv__four e =
                pv__four_root(pv__four_positive(pv__four_sub(pv__four_set(c->norm2_max), norm2)));
            e = c->centred ? q4_extras(p) : e;
            e = pv__four_sub(pv__four_set(q->extra), e);
            d = pv__four_add(d, pv__four_mul(e, e));
        }
    }
    pv__four_store(out, d);
    return pv__four_finite(d);
}

PV__KERNEL_INLINE void q4_finish_rows(const pv__code *c, const q4_query *q, unsigned form, bool row,
                                      const pv__code_rows *rows, int32_t *sums, float *out) {
    const uint32_t at = q4_code_bytes(c);
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        const uint8_t *const *row_at = rows->row + r;
        const uint8_t *const p[4] = {row_at[0] + at, row_at[1] + at, row_at[2] + at,
                                     row_at[3] + at};
        if (PV_UNLIKELY(!q4_finish(c, q, form, row, p, sums + r, out + r))) {
            q4_redo(c, q, row_at, 4, sums + r, out + r);
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
        if (PV_UNLIKELY(!q4_finish(c, q, form, row, p, sums + r, d))) {
            q4_redo(c, q, rows->row + r, rows->n - r, sums + r, d);
        }
        memcpy(out + r, d, (rows->n - r) * sizeof *d);
    }
}

static void q4_finish_all(const pv__code *c, const void *query, const pv__code_rows *rows,
                          int32_t *sums, float *out) {
    const q4_query *q = query;
    if (q4_is_link(c, q)) {
        q4_finish_rows(c, q, PV__CODE_FORM_DOT, true, rows, sums, out);
    } else if (q->form == PV__CODE_FORM_DOT) {
        q4_finish_rows(c, q, PV__CODE_FORM_DOT, false, rows, sums, out);
    } else if (q->form == PV__CODE_FORM_AUG) {
        q4_finish_rows(c, q, PV__CODE_FORM_AUG, true, rows, sums, out);
    } else if (q->row) {
        q4_finish_rows(c, q, PV__CODE_FORM_L2, true, rows, sums, out);
    } else {
        q4_finish_rows(c, q, PV__CODE_FORM_L2, false, rows, sums, out);
    }
}

static void q4_distances(const pv__code *c, const void *query, const pv__code_rows *rows,
                         float *out) {
    int32_t sums[PV__CODE_BLOCK + 4];
    (c->kind == PV__CODE_B1 ? c->kernel->bits : c->kernel->nibble)(
        (const uint8_t *)query + sizeof(q4_query), q4_padded(c), rows, sums);
    q4_finish_all(c, query, rows, sums, out);
}

/* A mean of 0 on both sides: what is made of it is 0, and nothing is rounded. */
static void q4_panel_rows(const pv__code *c, const uint8_t *const *rows, size_t n,
                          pv__code_panel_rows *out) {
    for (size_t r = 0; r < n; r++) {
        q4_factors f;
        memcpy(&f, rows[r] + q4_code_bytes(c), sizeof f);
        const float decoded2 = pv__unfused(f.unit * f.unit) * (float)f.sum2;
        out->mean[r] = out->tilt[r] = 0.0f;
        out->step[r] = f.unit;
        out->spread[r] = pv__unfused(decoded2) > f.norm2 ? decoded2 : f.norm2;
        out->sum[r] = f.sum;
        out->shift[r] = 0;
    }
}

static bool q4_panel_query(const pv__code *c, const void *query, pv__code_panel_query *out) {
    const q4_query *q = query;
    *out = (pv__code_panel_query){
        .step2 = 2 * q->unit, .spread = q->norm2, .offset = c->kernel->i8_bias - 64};
    return q->form == PV__CODE_FORM_L2 && q->row;
}

/* Of the signs there is no panel: no graph is built from them. */
static uint32_t q4_panel_bytes(const pv__code *c) {
    return c->kind == PV__CODE_B1 ? 0 : q4_padded(c);
}

static float q4_sigma(const pv__code *c, const void *query, const uint8_t *row, float distance) {
    const q4_query *q = query;
    const double n = (double)q4_padded(c);
    q4_factors f;
    memcpy(&f, row + q4_code_bytes(c), sizeof f);
    const double q_norm2 = (double)q->norm2, norm2 = (double)f.norm2;
    const double decoded2 = (double)f.unit * (double)f.unit * f.sum2;
    const double lost2 = PV_MAX(decoded2 - norm2, 0.0);
    if (isnan(norm2) || isnan(q_norm2)) {
        return 0.0f; /* a vector of zeros */
    }
    /* what is orthogonal to the row in the query, by the estimate itself and its own error */
    double dot = -(double)distance - (double)q->along;
    if (q->form != PV__CODE_FORM_DOT) {
        dot = (q_norm2 + norm2 - (double)distance) / 2;
    }
    const double along2 = norm2 > 0 ? PV_MIN(dot * dot / norm2, q_norm2) : 0.0;
    const double doubt = sqrt(lost2 * q_norm2 / (n - 1));
    const double across2 =
        PV_MIN(q_norm2 - along2 + (norm2 > 0 ? 2 * sqrt(along2 / norm2) * doubt : 0.0), q_norm2);
    const double grid = (double)q->unit * (double)q->unit / 12;
    const double sigma = sqrt(lost2 * across2 / (n - 1) + decoded2 * grid);
    const double rounding = (q_norm2 + norm2) * 0x1p-21;
    return pv__code_round((q->form == PV__CODE_FORM_DOT ? 1 : 2) * sigma + rounding);
}

/* The mean of the sample, drawn towards the origin by as much as chance may have moved it (James
 * and Stein): one vector is no mean, and about it codes would be worse than about the origin. */
static int q4_train(const pv__code *c, pv__mem *mem, const float *sample, size_t n,
                    const pv__code_stop *stop, void *book, pv_error *err) {
    (void)stop; /* it is over in a moment */
    const size_t bytes = 2 * c->dims * sizeof(double) + c->dims * sizeof(float);
    double *const sum = pv__alloc_zero(mem, bytes), *const sum2 = sum + c->dims;
    float *const v = (float *)(sum2 + c->dims), *mean = book;
    if (!sum) {
        return pv__err_nomem(err, bytes);
    }
    for (size_t r = 0; r < n; r++) {
        (void)pv__code_plain(c, sample + r * c->dims, v);
        for (uint32_t i = 0; i < c->dims; i++) {
            sum[i] += (double)v[i];
            sum2[i] += pv__unfused_double((double)v[i] * (double)v[i]);
        }
    }
    double length2 = 0, spread = 0;
    for (uint32_t i = 0; i < c->dims; i++) {
        sum[i] /= (double)n;
        const double square = pv__unfused_double(sum[i] * sum[i]);
        length2 += square;
        spread += PV_MAX(sum2[i] / (double)n - square, 0.0);
    }
    const double chance = n > 1 ? spread / (double)(n - 1) : length2;
    const double keep = length2 > chance ? 1 - chance / length2 : 0.0;
    memset(book, 0, c->book_bytes);
    for (uint32_t i = 0; i < c->dims; i++) {
        mean[i] = pv__code_round(sum[i] * keep);
    }
    pv__alloc_free(mem, sum, bytes);
    return 0;
}

const pv__code_ops *pv__code_q4(void) {
    static const pv__code_ops ops = {
        .types = PV__CODE_OF_NUMBERS,
        .metrics = PV__CODE_OF_FLOATS,
        .sizes = q4_sizes,
        .encode = q4_encode,
        .query = q4_query_of,
        .query_row = q4_query_row,
        .distances = q4_distances,
        .panel_bytes = q4_panel_bytes,
        .nibbles = true,
        .panel_rows = q4_panel_rows,
        .panel_query = q4_panel_query,
        .finish = q4_finish_all,
        .sigma = q4_sigma,
        .train = q4_train,
    };
    return &ops;
}

#undef Q4_EXTRA_AT
